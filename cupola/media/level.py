"""Levels: maps of any kind <-> rows of letters.

Each cell is a letter with a role: x outside, w wall, f floor, d door, a water, l lava, t tree, m monster, i item, c chest or key,
u entrance, s exit (grid.py); a corpus's other characters or tiles have letters of their own (alphabet.py). A row is a word; outside cells
at its end are dropped, and a row of nothing else is x. All rows stand on one line, behind one that says the theme, if the corpus has any:

    level cave
    wwwww wufmw wwwdww xxwfsw xxwwww

Text maps, Tiled maps, WADs (68 maps of Freedoom give 2,550 windows) and vaults of Dungeon Crawl are read. What is larger than `size` is cut
into windows, which are then closed by walls. A person's own map that fits stays as it is, but that an entrance and an exit are put on the
two cells farthest apart where it has none.

Where no map of a corpus has any, u and s are not in the notation at all: whoever reads a level puts them where the rule puts them. So a
model has rooms to learn and nothing to get wrong that a breadth-first search gets right.
"""

from __future__ import annotations

import collections
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media import alphabet, gbnf, grid, levelfiles, levelgrammar, likeness, maps, tiles
from cupola.media.alphabet import Alphabet
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.grid import LEAST_PATH, S, U
from cupola.media.labels import Labels
from cupola.media.text import write_text

LEAST_ROWS = 3
MOST_APART = 0.4  # of what can be walked on: the rest of a level has to hang together, as every window of the corpus does
MOST_ROWS = 4  # times `size`: what is longer is not drawn at all
OWN_FIRST = 100_001  # gid of our own tiles beside a person's, for an entrance and exit that their tiles have not


class LevelOptions(Options):
    """[models.NAME.notation] of levels."""

    size: tuple[int, int] = (24, 16)  # cells across and down; a larger map is cut into windows
    symbols: dict[str, str] = Field(default_factory=dict)  # what a character, or a tile by its number, is: {"%" = "wall"}
    places: bool = True  # an entrance and an exit are put where a map has none
    full: bool = True  # rows keep the outside cells at their ends: what lies above a cell is always as far behind it in the text


class Level(Plain):
    """Maps of rooms. write then read is identical for every map that `check` passes, through text and through Tiled."""

    name = "level"
    suffixes = (*levelfiles.TEXT, *levelfiles.TILED, ".des", ".wad")
    unit = "row"
    pretokenizer = "superbpe"
    vocab_size = 262  # a token a cell (LOG.md, 2026-11-25): 209 bits a level, merged rows 271
    scrub = False
    options = LevelOptions
    train: Mapping[str, float] = {"length": 448, "variants": 0.5}
    passing = 0.6

    def __init__(self) -> None:
        self.size = (24, 16)
        self.places, self.full = True, True
        self.ends = True  # entrance and exit are in the notation
        self.alphabet = Alphabet()
        self.labels = Labels()
        self._roles = self.alphabet.table()

    # --- what a corpus decides

    def fit(self, files: Sequence[Path], options: LevelOptions, apart: Apart) -> Self:
        """Raises DataError where no file can be read, and for more characters than letters; ConfigError for options that mean nothing.

        The alphabet is of all files, for a held-out map has to be read too; labels are of those that are not apart.
        """
        if min(options.size) < LEAST_ROWS or max(options.size) > maps.WIDEST:
            raise ConfigError(
                f"windows of {options.size[0]} x {options.size[1]} cells", "size", f"use {LEAST_ROWS} or more, such as [24, 16]"
            )
        seen = levelfiles.Seen()
        for path in files:
            seen.look(path, apart)
        if not seen.good:
            raise seen.first or DataError("no file to read", "", "give a folder of maps: " + ", ".join(self.suffixes))
        new = type(self)()
        new.size, new.places, new.full = options.size, options.places, options.full
        new.alphabet = Alphabet.fit(
            seen.characters,
            seen.gids,
            seen.classes,
            options.symbols,
            tilesets=seen.tilesets or (),
            drawn=seen.drawn,
            stairs_and_player=seen.stairs_and_player,
        )
        new._roles = new.alphabet.table()
        of_text, of_tile = new.alphabet.letter_of(), new.alphabet.letter_of_tile()
        used = [*(of_text.get(c, "") for c in seen.characters), *(of_tile.get(g, "") for g in seen.gids)]
        new.ends = not new._counted or any(new.alphabet.roles.get(letter) in ("u", "s") for letter in used)
        new.labels = Labels.fit([path for path in seen.good if not apart(path.name)], seen.own if any(seen.own) else ())
        return new

    def settings(self) -> dict[str, Any]:
        plain = {"size": list(self.size), "places": self.places, "full": self.full, "ends": self.ends}
        return plain | {"alphabet": self.alphabet.plain(), "labels": self.labels.plain()}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            width, height = settings["size"]
            new.size, new.places, new.full = (int(width), int(height)), bool(settings["places"]), bool(settings["full"])
            new.ends = bool(settings["ends"])
            new.alphabet, new.labels = Alphabet.restore(settings["alphabet"]), Labels.restore(settings["labels"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of levels: {e}", "settings", "they are damaged; make the corpus again") from None
        new._roles = new.alphabet.table()
        return new

    # --- files in

    def read(self, path: Path) -> Iterator[Document]:
        """The levels of a file; `faults` names the maps that are left out. A map is the group of its windows, a .des file of its vaults.

        Raises DataError for a file that cannot be read, or none of whose maps can.
        """
        first: DataError | None = None
        some = False
        for found in self._levels(path):
            if isinstance(found, DataError):
                first = first or found
            else:
                some = True
                yield found
        if not some:
            raise first or DataError(
                "no map in it that is a level", str(path), "its maps are too small, or their rooms do not hang together"
            )

    def faults(self, path: Path) -> list[DataError]:
        """Why the maps of a file that `read` leaves out are left out."""
        return [found for found in self._levels(path) if isinstance(found, DataError)]

    def _levels(self, path: Path) -> Iterator[Document | DataError]:
        for found in levelfiles.Reading(self.size, self.places, self.alphabet, self._roles).levels(path):
            if isinstance(found, DataError):
                yield found
                continue
            label = self.labels.of(path, found.own)
            text = _header(label) + grid.body(self._written(found.cells), self.full) + "\n"
            yield Document(text, found.group, path.name, label=label or None, name=found.name)

    # --- notation

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then more or less than one entrance and exit, no way between them or one of under 4 steps, rows that are
        longer than a level's, and more than half of the monsters, items and chests out of reach."""
        if problems := self.syntax(text):
            return problems
        cells = self._cells(text)
        line = 2
        out = [
            Problem(line, start + 1, f"a row of {end - start} cells, of at most {self.size[0]}", "shorten it")
            for start, end in _within(text)
            if end - start > self.size[0]
        ]
        if not self._counted:
            return out
        kinds = self._roles[cells]
        if out == [] and not self.ends and not (kinds == U).any():
            return [Problem(line, 1, f"no two cells of floor with {LEAST_PATH} steps between them", "join the rooms")]
        for role, what in ((U, "entrance"), (S, "exit")):
            if (n := int((kinds == role).sum())) != 1:
                out.append(Problem(line, 1, f"no {what}" if not n else f"{n} of kind {what}", "a level has one"))
        if out:
            return out
        if (steps := grid.path(cells, self._roles)) < 0:
            return [Problem(line, 1, "no way from the entrance to the exit", "open a wall between them")]
        if steps < LEAST_PATH:
            out.append(Problem(line, 1, f"only {steps} steps from the entrance to the exit", f"put them {LEAST_PATH} or more apart"))
        if not self.ends and (apart := grid.apart(cells, self._roles)) > MOST_APART:
            out.append(Problem(line, 1, f"{apart:.0%} of what can be walked on is out of reach", "open a wall to it"))
        there, reached = self._things(cells)
        if reached * 2 < there:
            out.append(Problem(line, 1, f"{there - reached} of {there} monsters, items and chests are out of reach", "open a wall to them"))
        return out

    def syntax(self, text: str) -> list[Problem]:
        """A first line that no level of this corpus has, letters that it has not, no row, or more than can be drawn."""
        head, newline, rest = text.partition("\n")
        if head not in self._heads():
            return [Problem(1, 1, f"not a first line: {head[:40]!r}", "it is " + " or ".join(self._heads()[:4]))]
        line = rest.removesuffix("\n")
        if not newline or not line.strip():
            return [Problem(2, 1, "no rows", "write some words of letters")]
        if (at := line.find("\n")) >= 0:
            return [Problem(2, at + 1, "a second line of rows", "a space parts rows")]
        known = set(self.alphabet.letters)
        for at, letter in enumerate(line):
            if letter not in known and (letter != " " or at in (0, len(line) - 1) or line[at + 1] == " "):
                what = "an empty row" if letter == " " else f"no letter {letter!r}"
                return [Problem(2, at + 1, what, "a row of nothing is x" if letter == " " else f"use {self.alphabet.letters}")]
        words = line.split(" ")
        if len(words) > MOST_ROWS * self.size[1]:
            return [Problem(2, 1, f"{len(words)} rows; at most {MOST_ROWS * self.size[1]} are drawn", "leave some out")]
        return []

    @property
    def _counted(self) -> bool:
        """Whether a level has one entrance and one exit."""
        return self.alphabet.known and self.places

    def _heads(self) -> list[str]:
        return [_header(label)[:-1] for label in ("", *self.labels.known)]

    def _raw(self, text: str) -> np.ndarray:
        """(H, W) letters of a text that `syntax` passes, as written; rows past four times the width of a level are cut there."""
        return self._written(_cells(text.partition("\n")[2], MOST_ROWS * self.size[0]))

    def _cells(self, text: str) -> np.ndarray:
        """The same with entrance and exit, where the notation leaves them to the rule and the rule finds places."""
        cells = self._raw(text)
        placed = None if self.ends else grid.placed(cells, self._roles)
        return cells if placed is None else placed

    def _written(self, cells: np.ndarray) -> np.ndarray:
        """What of a level is in the notation: without entrance and exit where the rule puts them."""
        return cells if self.ends else np.where(np.isin(self._roles[cells], (U, S)), np.uint8(grid.F), cells)

    def _things(self, cells: np.ndarray) -> tuple[int, int]:
        """(monsters, items and chests; those that can be reached from the entrance)."""
        kinds = self._roles[cells]
        things = np.isin(kinds, [ord(c) for c in grid.THINGS])
        y, x = np.argwhere(kinds == U)[0].tolist()
        return int(things.sum()), int((things & (grid.steps(grid.walkable(cells, self._roles), (y, x)) >= 0)).sum())

    def head(self, label: str) -> str:
        return _header(self.labels.check(label, self.name))

    def grammar(self, pins: Pins) -> str:
        """GBNF for what follows the prompt: rows, with one entrance and one exit in all (just rows where the corpus has none).

        Raises ConfigError for a prompt that no level begins with, and for impossible least and most.
        """
        least, most = pins.least or LEAST_ROWS, pins.most or max(self.size[1], pins.least or 0)
        head, newline, given = pins.prompt.partition("\n")
        if least > most or most > MOST_ROWS * self.size[1]:
            raise ConfigError(f"{least} to {most} rows", "least, most", f"a level has up to {MOST_ROWS * self.size[1]}")
        heads = [f"{h}\n" for h in (self._heads()[1:] or self._heads())]
        if newline:
            if head not in self._heads():
                raise ConfigError(f"no level begins with {head[:40]!r}", "prompt", "begin it with " + " or ".join(self._heads()[:4]))
            return "\n".join([f"root ::= {_ROWS}", *self._rows(self._place(given), least, most, "\n")]) + "\n"
        if not (ways := gbnf.rest(heads, pins.prompt) or gbnf.rest([f"{h}\n" for h in self._heads()], pins.prompt)):
            raise ConfigError(f"no level begins with {head[:40]!r}", "prompt", "begin it with " + " or ".join(self._heads()[:4]))
        return "\n".join([f"root ::= {gbnf.either(ways)} {_ROWS}", *self._rows(self._place(""), least, most, "\n")]) + "\n"

    def _place(self, given: str) -> levelgrammar.Place:
        """Where a prompt's rows stop. Raises ConfigError for rows that no level begins with."""
        missing = "us" if self._counted and self.ends else ""
        if "\n" in given or (wrong := sorted(set(given) - set(self.alphabet.letters) - {" "})) or given.startswith(" ") or "  " in given:
            what = "a whole level, which nothing can follow" if "\n" in given else f"no row has {' '.join(wrong) or 'two spaces'}"
            raise ConfigError(what, "prompt", "end it in a row or behind one")
        for end in missing:
            if given.count(end) > 1:
                raise ConfigError(f"more than one {end}", "prompt", "a level has one entrance u and one exit s")
        missing = "".join(end for end in missing if end not in given)
        words = given.split(" ") if given else []
        return levelgrammar.Place(len([w for w in words if w]), bool(words) and bool(words[-1]), missing)

    def _rows(self, place: levelgrammar.Place, least: int, most: int, end: str) -> list[str]:
        if place.rows > most:
            raise ConfigError(f"the prompt leads to {place.rows} rows, of at most {most}", "prompt", "shorten it, or raise most")
        if place.rows == most and not place.within:
            raise ConfigError(f"the prompt ends behind row {most}, the last", "prompt", "leave out the space at its end, or raise most")
        return levelgrammar.rows(self._plain_letters(), place, max(least, place.rows), most, end)

    def _plain_letters(self) -> str:
        """Those that may stand any number of times."""
        return "".join(c for c in self.alphabet.letters if self.alphabet.roles[c] not in ("u", "s") or not self._counted)

    def filling(self, text: str, start: int, end: int) -> str | None:
        """Rows start..end anew, as many, with those of entrance and exit that the others have not."""
        inside = text[start:end].split(" ")
        outside = text[len(text.partition("\n")[0]) : start] + text[end:]
        if "\n" in text[start:end] or (len(inside) == 1 and (start, end) not in self.spans(text)):  # cells within a row
            return f"root ::= {gbnf.letters(self._plain_letters())}{{{end - start}}}"
        missing = "".join(c for c in "us" if c not in outside) if self._counted and self.ends else ""
        rules = self._rows(levelgrammar.Place(0, False, missing), len(inside), len(inside), "")
        return "\n".join([f"root ::= {_ROWS}", *rules]) + "\n"

    def region(self, text: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[str, list[tuple[int, int]]]:
        if problems := self.syntax(text):
            raise DataError(f"no level: {problems[0]}", "--columns", "check it first")
        cells = self._raw(text)
        height, width = cells.shape
        (top, bottom), (left, right) = rows, columns
        if not (1 <= top <= bottom <= height and 1 <= left <= right <= width):
            raise DataError(
                f"rows {top} to {bottom}, columns {left} to {right}", "--columns", f"this level has {height} rows and {width} columns"
            )
        head = text.partition("\n")[0] + "\n"
        at = [len(head) + y * (width + 1) for y in range(top - 1, bottom)]
        return head + grid.body(cells, full=True) + "\n", [(a + left - 1, a + right) for a in at]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Rows, without the spaces between them."""
        start = text.find("\n") + 1
        return [(start + a, start + b) for a, b in _within(text)] if start else []

    # --- the same level otherwise, and how far levels are apart

    def variants(self, text: str) -> Iterator[str]:
        """Left and right changed, up and down, both; and each of these with entrance and exit changed."""
        if self.syntax(text):
            return
        head, cells, seen = text.partition("\n")[0] + "\n", self._raw(text), {text, self.canonical(text)}
        for changed in (False, True) if self._counted and self.ends else (False,):
            for mirror in grid.mirrors(_turned(cells) if changed else cells):
                other = head + grid.body(mirror, self.full) + "\n"
                if other not in seen:
                    seen.add(other)
                    yield other

    def canonical(self, text: str) -> str:
        if self.syntax(text):
            return text
        return text.partition("\n")[0] + "\n" + grid.body(grid.trim(self._raw(text)), self.full) + "\n"

    def distance(self, a: str, b: str) -> float:
        """The share of cells that differ of those that are not outside, at the best of the mirrors and shifts by one."""
        return likeness.distance(a.partition("\n")[2], b.partition("\n")[2])

    def shingles(self, text: str) -> set[str]:
        """Squares of 3 x 3 cells, whichever way they are mirrored."""
        return likeness.patches(text.partition("\n")[2])

    def title(self, text: str) -> str:
        """Such as "cave, 24 x 16, path 31, 3 monsters, 2 items"."""
        if self.syntax(text):
            return "no level"
        cells = self._cells(text)
        label = text.partition("\n")[0].removeprefix(self.name).strip()
        parts = [label or "level", f"{cells.shape[1]} x {cells.shape[0]}"]
        if not self.alphabet.known:
            return ", ".join([*parts, "its floor unknown"])
        if (steps := grid.path(cells, self._roles)) >= 0:
            parts.append(f"path {steps}")
        counts = collections.Counter(self._roles[cells].ravel().tolist())
        for role, what in (("m", "monster"), ("i", "item"), ("c", "chest")):
            if n := counts[ord(role)]:
                parts.append(f"{n} {what}" + ("s" if n > 1 else ""))
        return ", ".join(parts)

    # --- files out

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.png, .txt and .tmj, and the sheet of tiles beside them if it is not there.

        Raises DataError for what `syntax` refuses, MachineError without the pictures extra or where a file cannot be written.
        """
        if problems := self.syntax(text):
            raise DataError(f"not a level: {problems[0]}", str(stem), "check it first")
        from cupola.media.picture import save_png

        cells = self._cells(text)
        paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".txt", ".tmj")]
        save_png(tiles.picture(self._shown(cells)), paths[0])
        write_text(paths[1], self._as_text(cells))
        write_text(paths[2], self._as_tiled(cells))
        if not (sheet := stem.with_name(tiles.SHEET)).exists():
            save_png(tiles.sheet(), sheet)
        return [*paths, sheet]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """All of them in one text file, parted by empty lines."""
        good = [text for text in texts if not self.syntax(text)]
        return (
            [write_text(stem.with_name(f"{stem.name}.txt"), "\n".join(self._as_text(self._cells(text)) for text in good))] if good else []
        )

    def promise(self, path: Path) -> Promise:
        """maps: levels that the file gives; identical: the share that reads back the same from text and from Tiled; solvable: the share
        whose exit can be reached; path: the median of steps to it (-1 where there is none)."""
        texts = [document.text for document in self.read(path)]
        with tempfile.TemporaryDirectory() as folder:
            same = sum(self._survives(text, Path(folder)) for text in texts)
        paths = [grid.path(self._cells(text), self._roles) for text in texts]
        solvable = sum(steps >= LEAST_PATH for steps in paths) / len(texts)
        return Promise(
            path.name, {"maps": len(texts), "identical": same / len(texts), "solvable": solvable, "path": float(np.median(paths))}
        )

    def _survives(self, text: str, folder: Path) -> bool:
        cells = self._cells(text)
        files = [write_text(folder / "a.txt", self._as_text(cells)), write_text(folder / "a.tmj", self._as_tiled(cells))]
        return all([d.text.partition("\n")[2] for d in self.read(file)] == [text.partition("\n")[2]] for file in files)

    def _as_text(self, cells: np.ndarray) -> str:
        characters = str.maketrans(dict(self.alphabet.characters))
        rows = [row.tobytes().decode("ascii").translate(characters) for row in cells]
        return "\n".join(row.rstrip() or row for row in rows) + "\n"  # an empty line would part the map: a row of spaces stays one

    def _as_tiled(self, cells: np.ndarray) -> str:
        """The person's tiles; for letters that those have no tile for, our own."""
        a = self.alphabet
        first = OWN_FIRST if a.tilesets else 1
        codes = np.zeros(256, np.int64)
        for letter in a.letters:
            codes[ord(letter)] = a.gids.get(letter, 0 if letter == "x" else first + alphabet.LETTERS.index(letter))
        gids = codes[cells]
        own = [tiles.tileset(first, a.roles, a.characters)] if not a.tilesets or (gids >= OWN_FIRST).any() else []
        return maps.tiled_json(gids, [*a.tilesets, *own], tiles.TILE)

    def _shown(self, cells: np.ndarray) -> np.ndarray:
        """Letters as they are drawn: a further wall is drawn as a wall."""
        return np.where(self._roles[cells] == grid.DECORATION, cells, self._roles[cells])


_ROWS = "rows"


def _header(label: str) -> str:
    return f"level {label}\n" if label else "level\n"


def _within(text: str) -> list[tuple[int, int]]:
    """(start, end) of the rows within the line behind the header."""
    out, start = [], 0
    line = text.partition("\n")[2].removesuffix("\n")
    for word in line.split(" ") if line else []:
        out.append((start, start + len(word)))
        start += len(word) + 1
    return out


def _turned(cells: np.ndarray) -> np.ndarray:
    """Entrance and exit changed."""
    out = cells.copy()
    out[cells == U], out[cells == S] = S, U
    return out


@functools.lru_cache(maxsize=512)
def _cells(body: str, most: int) -> np.ndarray:
    return grid.from_words([word[:most] for word in body.removesuffix("\n").split(" ")])
