"""Secrets and e-mail addresses in a text, replaced by typed placeholders before anything is learnt from it."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator

_LONG = re.compile(r"[A-Za-z0-9+/_=.\-]{20,}")  # every token is a long run with a digit in it
_DIGIT = re.compile(r"\d")
_LOGIN = re.compile(r"://[^\s/@]+@")  # ://user:password@host
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:.{,8192}?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|(?:\s+[\w+/=]{16,})+)"
    r"|PuTTY-User-Key-File-\d:.{,8192}?(?:Private-MAC: \w+|\Z)",
    re.S,
)
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{40}")
_DOMAIN = re.compile(r"@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.)+([A-Za-z]{2,24})(?![\w(\[]|\.\w)")
_BEFORE = re.compile(r"[^\W_][\w.%+-]{0,63}\Z")
_TOP_DOMAINS = frozenset(
    ["com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "app", "dev", "xyz", "online", "example"]
)
_PLACEHOLDERS = {
    "AWS Access Key": "AWS_KEY",
    "Basic Auth Credentials": "PASSWORD",
    "JSON Web Token": "TOKEN",
}  # the rest by their own names


class Scrubber:
    """Replaces secrets and e-mail addresses by typed placeholders: "<EMAIL>", "<AWS_KEY>", "<PRIVATE_KEY>".

    What is a secret is detect-secrets' word, network addresses left out. Its plugins are asked directly: its own scan wants files, and may
    call the service that a token belongs to. They see only lines with a long run of letters and digits, a login in an address, or a
    password-like word beside something in quotes; asked about every line they take a second a megabyte, so a twentieth of that.
    """

    def __init__(self):
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
        from detect_secrets.filters import heuristic
        from detect_secrets.plugins import keyword
        from detect_secrets.plugins.base import RegexBasedDetector

        ours = ("Public IP (ipv4)", "Private Key")  # numbers of versions look like the first; of the second it sees the opening line only
        plugins = [kind() for name, kind in get_mapping_from_secret_type_to_class().items() if name not in ours]
        self._tokens = [plugin for plugin in plugins if isinstance(plugin, RegexBasedDetector)]
        self._entropy = [plugin for plugin in plugins if hasattr(plugin, "calculate_shannon_entropy")]
        self._keyword = keyword.KeywordDetector()
        self._words = re.compile("|".join(keyword.DENYLIST))  # in lower case: ignoring case takes twenty times as long
        self._heuristic = heuristic

    def __call__(self, text: str, found: collections.Counter[str]) -> str:
        """The text with placeholders; `found` counts them."""
        out, end = [], 0
        for start, stop, name in sorted([*_addresses(text), *self._secrets(text)]):
            if start >= end:  # what overlaps is one secret
                out += [text[end:start], f"<{name}>"]
                found[name] += 1
            end = max(end, stop)
        return "".join([*out, text[end:]])

    def _secrets(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, placeholder's name), in no order; some may overlap."""
        if "PRIVATE KEY" in text or "PuTTY-User" in text:
            yield from ((m.start(), m.end(), "PRIVATE_KEY") for m in _KEY_BLOCK.finditer(text) if _KEY_LINE.search(m[0]))
        runs = [m.start() for m in _LONG.finditer(text) if _DIGIT.search(m[0])]
        logins = [m.start() for m in _LOGIN.finditer(text)]
        for start, line in _lines(text, sorted(runs + logins)):
            yield from ((start + a, start + b, name) for a, b, name in [*self._known_tokens(line), *self._random_strings(line)])
        lower = text.lower()
        words = self._words.finditer(lower if len(lower) == len(text) else text)  # few letters grow in lower case
        for start, line in _lines(text, [m.start() for m in words]):
            yield from ((start + a, start + b, "SECRET") for a, b in self._passwords(line))

    def _known_tokens(self, line: str) -> Iterator[tuple[int, int, str]]:
        for plugin in self._tokens:
            said = set(plugin.analyze_string(line))
            name = _PLACEHOLDERS.get(plugin.secret_type) or re.sub(r"\W+", "_", plugin.secret_type).upper()
            for match in (match for pattern in plugin.denylist if said for match in pattern.finditer(line)):
                start, stop = _secret_span(match)
                if said & {match[0], *match.groups()} and not self._innocent(line[start:stop]):
                    tail = re.compile(r"[\w.=/+-]*").match(line, stop)  # some patterns leave the last part of a token
                    yield start, tail.end() if tail else stop, name

    def _random_strings(self, line: str) -> Iterator[tuple[int, int, str]]:
        for plugin in self._entropy if "=" in line or ":" in line else ():
            for match in plugin.regex.finditer(line):
                likely = len(match[2]) >= 20 and plugin.calculate_shannon_entropy(match[2]) > plugin.entropy_limit
                if likely and not self._harmless(match[2], line):
                    yield *match.span(2), "SECRET"

    def _passwords(self, line: str) -> Iterator[tuple[int, int]]:
        if len(line) > 2000 or not ('"' in line or "'" in line):
            return
        for value in set(self._keyword.analyze_string(line)):
            if len(value) >= 6 and not re.search(r"\s", value) and not self._harmless(value, line):  # a sentence in quotes is a message
                for quote in "\"'`":
                    if (at := line.find(f"{quote}{value}{quote}")) >= 0:
                        yield at + 1, at + 1 + len(value)

    def _innocent(self, value: str) -> bool:
        known = self._heuristic
        return known.is_sequential_string(value) or known.is_templated_secret(value) or known.is_prefixed_with_dollar_sign(value)

    def _harmless(self, value: str, line: str) -> bool:
        known = self._heuristic
        if self._innocent(value) or known.is_not_alphanumeric_string(value) or known.is_potential_uuid(value):
            return True
        return known.is_likely_id_string(value, line) or known.is_indirect_reference(line)


def _secret_span(match: re.Match[str]) -> tuple[int, int]:
    """Where the secret is in a plugin's match: its longest group, unless that is only the token's prefix; signs around it do not count."""
    best = max((g for g in range(1, match.re.groups + 1) if match[g]), key=lambda g: len(match[g]), default=0)
    if best and (len(match[best]) >= 10 or match[0].startswith("://")):
        return match.span(best)
    bare = match[0].strip(" \t\"'=:")
    start = match.start() + match[0].index(bare)
    return start, start + len(bare)


def _addresses(text: str) -> Iterator[tuple[int, int, str]]:
    """E-mail addresses. `x@y.shape` is a matrix product: a top-level domain has two letters or is well known, unless <> stand around."""
    for match in _DOMAIN.finditer(text):
        before = _BEFORE.search(text, max(0, match.start() - 64), match.start())
        if before is None or before[0] == "git":  # git@host is nobody's address
            continue
        bracketed = text[before.start() - 1 : before.start()] == "<" and text.startswith(">", match.end())
        top = match[1]
        if bracketed or top.lower() in _TOP_DOMAINS or (len(top) == 2 and top in (top.lower(), top.upper())):
            yield before.start(), match.end(), "EMAIL"


def _lines(text: str, places: list[int]) -> Iterator[tuple[int, str]]:
    """(start, line) for each line that holds one of `places`, which ascend."""
    end = -1
    for place in places:
        if place > end:
            start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
            end = len(text) if end < 0 else end
            yield start, text[start:end]
