"""Names of people and places: a document is a dozen names of one kind, a name a line.

    names elf
    Aelith
    Corrovane
    (ten more)

A single name is too short to be learnt as a document of its own, and a list in the order of the alphabet teaches the order: so the names of
a file are shuffled, always the same way, and dealt out in dozens. What is new is therefore asked of each name: `known` in a dozen says how
many the corpus has.
"""

from __future__ import annotations

import collections
import csv
import io
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media import gbnf
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.labels import Labels, words
from cupola.media.text import line_spans, read_text, write_text

SHORTEST, LONGEST = 2, 24  # letters
_NAME = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LIST_LINE = re.compile(r"([^\s\d,;]+)(?:[\s,;].*)?")


class NamesOptions(Options):
    """[models.NAME.notation] of names."""

    together: int = Field(12, ge=4, le=100)  # names of a document
    most: int = Field(20_000, ge=100)  # names of a file that are read: the first, which in lists by frequency are the commonest


class Names(Plain):
    """Lists of names. read then write keeps every name that is letters, hyphens and apostrophes; names in capitals are written as names."""

    name = "names"
    suffixes = (".txt", ".csv", ".first", ".last", ".json")
    unit = "name"
    pretokenizer = "gpt-2"
    vocab_size = 262
    scrub = False
    options = NamesOptions
    train: Mapping[str, float] = {"length": 160, "variants": 0.5}
    passing = 0.9

    def __init__(self) -> None:
        self.rules = NamesOptions()
        self.labels = Labels()
        self.letters = "abcdefghijklmnopqrstuvwxyz"
        self.firsts = self.letters.upper()

    def fit(self, files: Sequence[Path], options: NamesOptions, apart: Apart) -> Self:
        new = type(self)()
        new.rules = options
        found: dict[Path, list[str]] = {}
        first: DataError | None = None
        for path in files:
            try:
                found[path] = new._names(path)
            except DataError as e:
                first = first or e
        if not found:
            raise first or DataError("no names in it", "", "give a list, a name a line")
        every = [name for names in found.values() for name in names]
        new.firsts = "".join(sorted({name[0] for name in every}))
        new.letters = "".join(sorted({letter for name in every for letter in name[1:]}))
        own = [_kind(path) for path, names in found.items() for _ in range(len(names) // options.together)]
        new.labels = Labels.fit([], own) if len(set(own)) > 1 else Labels()
        return new

    def settings(self) -> dict[str, Any]:
        return {
            "labels": self.labels.plain(),
            "options": self.rules.model_dump(mode="json"),
            "letters": self.letters,
            "firsts": self.firsts,
        }

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            new.labels, new.rules = Labels.restore(settings["labels"]), NamesOptions(**settings["options"])
            new.letters, new.firsts = str(settings["letters"]), str(settings["firsts"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of names: {e}", "settings", "they are damaged; make the corpus again") from None
        return new

    def read(self, path: Path) -> Iterator[Document]:
        """Dozens of a file's names. Raises DataError for what is no list of names, or a shorter one than a dozen."""
        names, label = self._names(path), self.labels.of(path, _kind(path))
        random.Random(path.name).shuffle(names)
        size = self.rules.together
        if len(names) < size:
            raise DataError(f"{len(names)} names", str(path), f"a document has {size}: add some, or set together in [models.NAME.notation]")
        for number, at in enumerate(range(0, len(names) - size + 1, size), start=1):
            text = "\n".join([f"{self.name} {label}" if label else self.name, *names[at : at + size]]) + "\n"
            yield Document(text, f"{path.name} {number}", path.name, label=label or None, name=f"{names[at]}, {names[at + 1]} ...")

    def _names(self, path: Path) -> list[str]:
        text = read_text(path, 64 << 20)
        given = _of_json(text, path) if path.suffix.lower() == ".json" else _of_list(text, path)
        good = (name for name in given if SHORTEST <= len(name) <= LONGEST and _NAME.fullmatch(name))
        names = list(dict.fromkeys(map(_written, good)))
        if not names:
            raise DataError("no names in it", str(path), f"a name is {SHORTEST} to {LONGEST} letters, one a line")
        return names[: self.rules.most]

    # --- notation

    def syntax(self, text: str) -> list[Problem]:
        lines = text.removesuffix("\n").split("\n")
        head = lines[0]
        if head != self.name and not (head.startswith(f"{self.name} ") and head[len(self.name) + 1 :] in self.labels.known):
            return [Problem(1, 1, f"not a first line: {head!r:.40}", f"{self.name}, and a label that the corpus has")]
        if len(lines) < 2 or not text.endswith("\n"):
            return [Problem(len(lines), 1, "no names, or no new line at the end", "a name a line")]
        for number, name in enumerate(lines[1:], start=2):
            if len(name) < SHORTEST or name[0] not in self.firsts or set(name[1:]) - set(self.letters):
                return [Problem(number, 1, f"no name: {name!r:.40}", "two or more of the corpus's letters, a capital first")]
        return []

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then a name that stands twice, and letters that no name has three of in a row."""
        if problems := self.syntax(text):
            return problems
        names, seen = text.removesuffix("\n").split("\n")[1:], collections.Counter[str]()
        for number, name in enumerate(names, start=2):
            if len(name) > LONGEST:
                return [Problem(number, 1, f"{len(name)} letters", f"a name has at most {LONGEST}")]
            seen[name.lower()] += 1
            if seen[name.lower()] > 1:
                return [Problem(number, 1, f"{name} stands twice", "another name")]
            if re.search(r"(.)\1\1", name.lower()) or not re.search(r"[aeiouyáéíóúäöüåæø]", name.lower()):
                return [Problem(number, 1, f"{name} cannot be said", "another name")]
        return []

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)}\n"

    def grammar(self, pins: Pins) -> str:
        heads = [self.name, *(f"{self.name} {label}" for label in self.labels.known)]
        head, newline, body = pins.prompt.partition("\n")
        ways = rest_of(heads, head) if not newline else [""] if head in heads else []
        if not ways:
            raise ConfigError(f"no names begin with {pins.prompt!r:.60}", "prompt", f"begin with {heads[-1]!r} and a new line")
        count = pins.most or pins.least or self.rules.together
        left = max(0, count - body.count("\n") - (1 if body and not body.endswith("\n") else 0))
        start = gbnf.either(ways) + " " if not newline else ""
        open_ = f'l{{0,{LONGEST}}} "\\n" ' if body and not body.endswith("\n") else ""
        rules = f'l ::= {_class(self.letters)}\nname ::= {_class(self.firsts)} l+ "\\n"'
        return f"root ::= {start}{open_}name{{{left}}}\n{rules}"

    def filling(self, text: str, start: int, end: int) -> str:
        count = text[start:end].count("\n") + 1
        names = ' "\\n" '.join([f"{_class(self.firsts)} l+"] * count)
        return f"root ::= {names}\nl ::= {_class(self.letters)}"

    def spans(self, text: str) -> list[tuple[int, int]]:
        return line_spans(text)[1:]

    def title(self, text: str) -> str:
        names = text.removesuffix("\n").split("\n")[1:]
        return f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 3 else ", ".join(names) or "no names"

    def variants(self, text: str) -> Iterator[str]:
        """The same names in other orders: three of them."""
        head, *names = text.removesuffix("\n").split("\n")
        for seed in range(3):
            other = names[:]
            random.Random(seed).shuffle(other)
            if other != names:
                yield "\n".join([head, *other]) + "\n"

    def distance(self, a: str, b: str) -> float:
        """The share of the smaller list's names that the other does not have."""
        x, y = (set(t.removesuffix("\n").split("\n")[1:]) for t in (a, b))
        return 0.0 if a == b else 1.0 if not x or not y else 1 - len(x & y) / min(len(x), len(y))

    def shingles(self, text: str) -> set[str]:
        """The names."""
        return set(text.removesuffix("\n").split("\n")[1:]) or {text}

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.txt, a name a line, and `stem`.json, a list of strings."""
        names = text.removesuffix("\n").split("\n")[1:]
        return [
            write_text(stem.with_name(f"{stem.name}.txt"), "\n".join(names) + "\n"),
            write_text(stem.with_name(f"{stem.name}.json"), json.dumps(names, ensure_ascii=False) + "\n"),
        ]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """All names by label, none twice, as `stem`.json."""
        listed: dict[str, list[str]] = collections.defaultdict(list)
        for text in texts:
            head, *names = text.removesuffix("\n").split("\n")
            kind = head.removeprefix(self.name).strip() or self.name
            listed[kind] += [name for name in names if name not in listed[kind]]
        return [write_text(stem.with_name(f"{stem.name}.json"), json.dumps(listed, ensure_ascii=False, indent=1) + "\n")]

    def promise(self, path: Path) -> Promise:
        """names; kept (share of the list's entries that are names)."""
        text = read_text(path, 64 << 20)
        given = _of_json(text, path) if path.suffix.lower() == ".json" else _of_list(text, path)
        return Promise(path.name, {"names": float(len(self._names(path))), "kept": len(self._names(path)) / max(1, len(set(given)))})


def rest_of(heads: Sequence[str], given: str) -> list[str]:
    """What may follow a begun header, its new line included."""
    return gbnf.rest([f"{head}\n" for head in heads], given)


def _class(letters: str) -> str:
    """A character class of any letters, those beyond ASCII too."""
    return "[" + "".join("\\" + c if c in "-]^\\" else c for c in letters) + "]"


def _kind(path: Path) -> str:
    """What a list is a list of: its name without what all such names have ("dist.female.first" is "female first")."""
    parts = re.split(r"[._ -]+", path.name)
    return words(" ".join(p for p in parts if p not in ("dist", "all", "txt", "csv", "json", "names", "name", "list")))


def _written(name: str) -> str:
    """SMITH and smith as Smith; McKay stays."""
    name = name.replace("’", "'")
    if name.isupper() or name.islower():
        return "-".join("'".join(part.capitalize() for part in piece.split("'")) for piece in name.split("-"))
    return name[0].upper() + name[1:]


def _of_list(text: str, path: Path) -> list[str]:
    if path.suffix.lower() == ".csv":
        rows = list(csv.reader(io.StringIO(text)))
        return [row[0].strip() for row in rows if row and row[0].strip()]
    return [found[1] for line in text.split("\n") if (found := _LIST_LINE.fullmatch(line.strip()))]


def _of_json(text: str, path: Path) -> list[str]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON: {e}", str(path), "give a list of strings") from None
    listed = [name for value in facts.values() if isinstance(value, list) for name in value] if isinstance(facts, dict) else facts
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DataError("no list of strings", str(path), 'give ["Aelith", "Corrovane"], or lists by kind')
    return [name.strip() for name in listed]
