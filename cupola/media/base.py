"""What a medium is: the contract between real files and everything that sees only text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """One piece of a corpus, in its medium's notation."""

    text: str
    group: str  # what must stay on one side of a split: a file, an author, a piece with its transpositions
    path: str  # the file it came from, relative to its source
    licence: str = ""
    label: str | None = None  # one word: monster, floor, jig
    name: str = ""  # what people call it: "The Foggy Dew"; never trained on


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Why a notation is not valid, and where; line and column count from 1."""

    line: int
    column: int
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.what}" + (f" ({self.fix})" if self.fix else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Pins:
    """What a person fixes before sampling; None leaves it to the model."""

    prompt: str = ""  # notation that the piece starts with
    least: int | None = None  # of the medium's units (bars, lines)
    most: int | None = None


class Medium(Protocol):
    """One kind of file. All methods are pure, need no network and are safe in threads."""

    name: str  # "tune"
    suffixes: tuple[str, ...]  # lower case, what `read` takes: (".abc",)
    unit: str  # what repaint and extend count: "bar", "line"
    pretokenizer: str  # a key of tokens.PRETOKENIZERS
    vocab_size: int  # a good default for a corpus of a megabyte or two
    scrub: bool  # secrets and e-mail addresses are replaced by placeholders (text and code)

    def read(self, path: Path) -> Iterator[Document]:
        """The documents of a file, canonical. Raises DataError naming file and byte or line when the file is not this medium."""
        ...

    def check(self, text: str) -> list[Problem]:
        """Everything wrong with a notation, what `syntax` finds first; empty means there is nothing to mend."""
        ...

    def syntax(self, text: str) -> list[Problem]:
        """What makes a notation invalid, so that `write` cannot take it; the rest of `check` are flaws in something that can be used."""
        ...

    def grammar(self, pins: Pins) -> str | None:
        """GBNF that admits only what `write` accepts, or None where any text is valid."""
        ...

    def write(self, text: str, stem: Path) -> list[Path]:
        """The files that other programs open, `stem` plus a suffix each; returns them, the notation's own file first."""
        ...

    def variants(self, text: str) -> Iterator[str]:
        """The same thing otherwise (mirrored, shifted, transposed), without the original."""
        ...

    def distance(self, a: str, b: str) -> float:
        """0 the same (variants count as the same), 1 nothing shared; symmetric."""
        ...

    def shingles(self, text: str) -> set[str]:
        """Overlapping pieces for near-duplicate search; the same for every variant of a piece."""
        ...

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) character offsets of each unit, in order, without overlap."""
        ...

    def title(self, text: str) -> str:
        """A short line for people: what this piece is, from its notation alone."""
        ...
