"""What a piece is called in a corpus (monster, weapon, floor): the word in its header that a person prompts by.

A file may say it itself (a JSON beside a sheet); else the folder says it, where files lie in several; else the first word of the file's
name. Only labels that several pieces share are kept: a name of one's own is a key to learn that piece by heart.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cupola.errors import ConfigError, DataError

LEAST = 3  # pieces that share a label; fewer, and it is not one
MOST = 200  # labels of a corpus, the commonest
WORDS = 3  # of a label, each at most 12 letters


def words(text: str) -> str:
    """Any name as at most three plain words of small letters: "Floating_Eye-02.png" is "floating eye"; "" where there is no letter."""
    text = re.sub(r"\.[A-Za-z0-9]{2,4}$", "", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    found = re.findall(r"[a-z]+", text.lower())
    return " ".join(word[:12] for word in found[:WORDS])


@dataclasses.dataclass(frozen=True)
class Labels:
    """Which labels a corpus has, and where a file's is found."""

    by: str = "none"  # "own": the file says it; "folder", "file": its name does; "none"
    known: tuple[str, ...] = ()  # sorted

    @classmethod
    def fit(cls, paths: Sequence[Path], own: Iterable[str] = ()) -> Self:
        """From the files, or from what they say themselves of each piece (`own`, one for every piece), which goes before."""
        said = [words(label) for label in own]
        if any(said):
            return cls("own", _common(said))
        folders = [words(path.parent.name) for path in paths]
        if len(set(folders)) > 1:
            return cls("folder", _common(folders))
        stems = [first_word(path) for path in paths]
        known = _common(stems)
        return cls("file", known) if len(known) > 1 else cls()

    def of(self, path: Path, own: str = "") -> str:
        """The label of a piece of this file; "" for none that is known."""
        label = {"own": words(own), "folder": words(path.parent.name), "file": first_word(path)}.get(self.by, "")
        return label if label in self.known else ""

    def check(self, label: str, medium: str) -> str:
        """The label as the corpus has it. Raises ConfigError for another, naming those there are."""
        wanted = words(label)
        if wanted in self.known:
            return wanted
        there = ", ".join(self.known[:20]) + (" ..." if len(self.known) > 20 else "")
        raise ConfigError(f"no {medium} is labelled {label!r}", "--label", f"there are: {there}" if there else "this corpus has no labels")

    def plain(self) -> dict[str, Any]:
        return {"by": self.by, "known": list(self.known)}

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> Self:
        """Raises DataError for what `plain` does not give."""
        try:
            return cls(str(plain["by"]), tuple(map(str, plain["known"])))
        except (KeyError, TypeError) as e:
            raise DataError(f"no labels: {e}", "settings", "the medium's settings are damaged; make the corpus again") from None


def first_word(path: Path) -> str:
    """The first word of a file's name: "goblin" of goblin_2.png."""
    return words(path.name).partition(" ")[0]


def _common(labels: Iterable[str]) -> tuple[str, ...]:
    counts = collections.Counter(label for label in labels if label)
    often = [label for label, n in counts.most_common(MOST) if n >= LEAST]
    return tuple(sorted(often))
