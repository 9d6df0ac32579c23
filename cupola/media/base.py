"""What a medium is: the contract between real files and everything that sees only text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from cupola.config import Config
from cupola.errors import ConfigError, DataError


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


class Options(Config):
    """[models.NAME.notation] of a medium that leaves nothing to decide; the others' inherit it."""

    def suffixes(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        """The files that are read under these options, where `usual` are read without."""
        return usual


Apart = Callable[[str], bool]  # a group's name -> whether it is kept apart: nothing may be fitted on it


@dataclasses.dataclass(frozen=True, slots=True)
class Promise:
    """What a medium keeps of one file that it read, as numbers that a test and the card can hold: {"identical": 1.0}, {"psnr": 29.3}."""

    path: str
    figures: Mapping[str, float]


class Medium(Protocol):
    """One kind of file. All methods are pure, need no network and are safe in threads.

    The instance in MEDIA knows the kind; `fit` gives one that also has what a corpus decides (sizes, palette, alphabet, codebook), and
    `settings` and `restore` carry that as plain JSON in the corpus and the model folder. A medium with nothing to decide returns itself.
    """

    name: str  # "tune"
    suffixes: tuple[str, ...]  # lower case, what `read` takes: (".abc",)
    unit: str  # what repaint and extend count: "bar", "line"
    pretokenizer: str  # a key of tokens.PRETOKENIZERS
    vocab_size: int  # a good default for a corpus of a megabyte or two
    scrub: bool  # secrets and e-mail addresses are replaced by placeholders (text and code)
    options: type[Options]  # what [models.NAME.notation] may say
    train: Mapping[str, float]  # what [models.NAME.train] is where a project says nothing: {"length": 512, "variants": 0.9}
    seconds_per_unit: float | None  # of media in time, so that repaint takes seconds; None where units are counted
    passing: float  # the share of candidates that should pass `check`: `make` says when fewer do

    def fit(self, files: Sequence[Path], options: Any, apart: Apart) -> Medium:
        """This medium with what `files` and `options` decide. Files that cannot be read are passed over: `read` will name them.

        Raises DataError where none can be read, or where they do not go together, naming what to do.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """What `fit` decided, as plain JSON; {} where there is nothing."""
        ...

    def restore(self, settings: Mapping[str, Any]) -> Medium:
        """The fitted medium that said these `settings`. Raises DataError for settings that no such medium says."""
        ...

    def head(self, label: str) -> str:
        """The notation that a piece with this label begins with, to prompt a model by; raises ConfigError for one the corpus has not."""
        ...

    def filling(self, text: str, start: int, end: int) -> str | None:
        """GBNF for what may stand in place of text[start:end] (whole units) so that the piece stays valid; None where anything may."""
        ...

    def region(self, text: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[str, list[tuple[int, int]]]:
        """The piece with its rows written out in full, and the (start, end) of each of the rows' cells in these columns, from 1.

        Raises DataError where the medium has no columns, or the region lies outside.
        """
        ...

    def room(self, text: str, more: int) -> str:
        """The piece as `extend` goes on from it: of a medium with a fixed number of units without the first `more`, else as it is.

        Raises DataError where that would leave nothing.
        """
        ...

    def canonical(self, text: str) -> str:
        """The one form of this piece: what `read` gives of what `write` makes of it. A text that is not valid comes back as it is."""
        ...

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """All these pieces as one file that other programs open as a set (a sheet with its JSON); [] where no such thing is usual."""
        ...

    def promise(self, path: Path) -> Promise:
        """What is kept of this file on the way through the notation, measured; raises DataError as `read` does."""
        ...

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


class Plain:
    """What a medium says that has nothing to fit, no labels, no columns and no sets; the others write their own."""

    options: type[Options] = Options
    train: Mapping[str, float] = {}
    seconds_per_unit: float | None = None
    passing: float = 0.0
    name = ""

    def fit(self, files: Sequence[Path], options: Any, apart: Apart) -> Self:
        return self

    def settings(self) -> dict[str, Any]:
        return {}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        return self

    def head(self, label: str) -> str:
        raise ConfigError(f"a {self.name} has no labels", "--label", "give --prompt, the notation that the piece begins with")

    def filling(self, text: str, start: int, end: int) -> str | None:
        return None

    def region(self, text: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[str, list[tuple[int, int]]]:
        raise DataError(f"a {self.name} has no columns", "--columns", "leave it out: whole units are made anew")

    def room(self, text: str, more: int) -> str:
        return text

    def canonical(self, text: str) -> str:
        return text

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        return []

    def promise(self, path: Path) -> Promise:
        return Promise(path.name, {})
