"""Files of maps -> levels, for level.py: what a corpus of them holds, and each file's maps as grids that are closed, joined and whole.

A person's own map that fits a level is taken as it stands. What is cut out of a larger one, out of a WAD or a .des file is a window: all
that lies at its edge becomes wall, and so does what its largest part does not hang together with.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cupola.errors import DataError
from cupola.media import alphabet, crawl, doom, grid, maps, tiles
from cupola.media.alphabet import Alphabet
from cupola.media.base import Apart
from cupola.media.grid import LEAST_PATH, S, U
from cupola.media.wad import Wad

TEXT, TILED = (".txt", ".map", ".lvl"), (".json", ".tmj", ".tmx")
LEAST_OPEN = 40  # cells to walk on of a WAD's window; under that it is a corner of something
LEAST_WALK = 3  # of another's
LEAST_SHARE = 0.6  # of what can be walked on has to hang together


class Found(NamedTuple):
    """A level of a file."""

    cells: np.ndarray  # (H, W) letters
    group: str
    name: str
    own: str = ""  # the label that the file itself says


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the files of a corpus are read."""

    size: tuple[int, int]
    places: bool
    alphabet: Alphabet
    roles: np.ndarray  # the alphabet's table

    def levels(self, path: Path) -> Iterator[Found | DataError]:
        """What a file gives, and why of its other maps they are left out. Raises DataError for a file that cannot be read."""
        suffix = path.suffix.lower()
        if suffix == ".wad":
            yield from self._of_wad(path)
        elif suffix == ".des":
            yield from self._of_vaults(path)
        elif suffix in TILED:
            yield from self._of_map(self._letters_of_tiles(path), path, path.name, path.stem, str(path))
        else:
            yield from self._of_text(path)

    def _of_wad(self, path: Path) -> Iterator[Found | DataError]:
        wad = Wad(path)
        width, height = self.size
        for raster in doom.rasters(wad):
            whole = grid.walled(raster.grid)
            for y, x, part in grid.windows(whole, self.size, overlap=True):
                if (level := self._closed(part, LEAST_OPEN)) is not None:
                    theme = raster.theme(slice(max(y - 1, 0), y + height - 1), slice(max(x - 1, 0), x + width - 1))
                    yield Found(level, f"{path.name} {raster.name}", f"{raster.name} ({x}, {y})", theme)
        yield from wad.faults

    def _of_vaults(self, path: Path) -> Iterator[Found | DataError]:
        for name, _, vault in crawl.vaults(path):
            drawn = vault.copy()
            drawn[(drawn == U) | (drawn == S)] = grid.F  # stairs of a vault lead elsewhere
            for _, _, part in grid.windows(grid.walled(grid.trim(drawn)), self.size):
                if (level := self._closed(part, LEAST_WALK)) is not None:
                    yield Found(level, path.name, name, path.parent.name)

    def _of_text(self, path: Path) -> Iterator[Found | DataError]:
        found = maps.text_maps(path)
        for number, text in enumerate(found, start=1):
            name = path.stem if len(found) == 1 else f"{path.stem} ({number})"
            group = path.name if len(found) == 1 else f"{path.name} {number}"
            try:
                letters = self._letters_of_text(text, path)
            except DataError as e:
                yield e
                continue
            yield from self._of_map(letters, path, group, name, f"{path}, map {number} (line {text.line:,})")

    def _of_map(self, whole: np.ndarray, path: Path, group: str, name: str, where: str) -> Iterator[Found | DataError]:
        """A person's map: as it is where it fits, else its windows."""
        whole = grid.trim(whole)
        if not whole.size:
            yield DataError("a map without a cell", where, "draw one, or leave it out")
        elif whole.shape[0] <= self.size[1] and whole.shape[1] <= self.size[0]:
            level = self._finished(whole, where)
            yield level if isinstance(level, DataError) else Found(level, group, name)
        else:
            known = self.alphabet.known
            for y, x, part in grid.windows(whole, self.size):
                level = self._closed(part, LEAST_WALK, self.roles) if known else grid.trim(part)
                if level is not None and level.size:
                    yield Found(level, group, f"{name} ({x}, {y})")

    def _finished(self, level: np.ndarray, where: str) -> np.ndarray | DataError:
        """A whole map with its entrance and exit, or why it is none."""
        if not self.alphabet.known or not self.places:
            return level
        for end, what in ((U, "entrance"), (S, "exit")):
            cells = np.argwhere(self.roles[level] == end)
            if len(cells) > 1:
                (a, b), (c, d) = (cells[0] + 1).tolist(), (cells[1] + 1).tolist()
                what = f"{len(cells)} of kind {what}: row {a}, column {b} and row {c}, column {d} of the map"
                return DataError(
                    what, where, "leave one, or say in symbols that the character is something else; places = false reads it as it is"
                )
        if (done := grid.placed(level, self.roles)) is None:
            return DataError(
                f"no way of {LEAST_PATH} steps or more between an entrance and an exit", where, "mend it; places = false reads it as it is"
            )
        return done

    def _closed(self, part: np.ndarray, least: int, roles: np.ndarray = grid.SAME) -> np.ndarray | None:
        """A window as a level: walls around, one piece, entrance and exit; None where it is no level."""
        if grid.walkable(part, roles).sum() < least:
            return None
        level = grid.joined(grid.closed(part, roles), roles, LEAST_SHARE)
        if level is None or grid.walkable(level, roles).sum() < least:
            return None
        level = grid.trim(level)
        return grid.placed(level, roles) if self.places else level

    def _letters_of_text(self, text: maps.TextMap, path: Path) -> np.ndarray:
        rows = [row.rstrip() for row in text.rows]
        width, table = max(map(len, rows)), self.alphabet.letter_of()
        for y, row in enumerate(rows):
            for x, character in enumerate(row):
                if character not in table:
                    where = f"{path}, line {text.line + y:,}, column {x + 1:,}"
                    raise DataError(
                        f"a character that this corpus has no letter for: {character!r}",
                        where,
                        "make the corpus again with this file in it",
                    )
        letters = grid.from_words(["".join(table[c] for c in row).ljust(width, "x") for row in rows])
        return grid.filled(letters) if self.alphabet.enclosed else letters

    def _letters_of_tiles(self, path: Path) -> np.ndarray:
        tiled = maps.tiled_map(path)
        if not tiled.same_tiles(self.alphabet.tilesets, tiles.NAME) and tiled.tilesets_of_others(tiles.NAME):
            fix = "use the same tilesets in the same order in all maps of a corpus"
            raise DataError("a Tiled map with other tilesets than this corpus has", str(path), fix)
        table, letter_of = self.alphabet.letter_of_tile(), self.alphabet.letter_of()
        sheet = tiled.of_sheet(tiles.NAME)
        values, index = np.unique(tiled.gids, return_inverse=True)
        letters = []
        for gid in values.tolist():
            letter = letter_of.get(sheet[gid]) if gid in sheet else table.get(gid)
            if letter is None:
                raise DataError(
                    f"a tile that this corpus has no letter for: {gid}", str(path), "make the corpus again with this file in it"
                )
            letters.append(ord(letter))
        return np.array(letters, np.uint8)[index].reshape(tiled.gids.shape)


class Seen:
    """What the files of a corpus hold, gathered for `fit`."""

    def __init__(self) -> None:
        self.characters: collections.Counter[str] = collections.Counter()
        self.gids: collections.Counter[int] = collections.Counter()
        self.classes: dict[int, str] = {}
        self.tilesets: tuple[Mapping[str, Any], ...] | None = None
        self.drawn = self.stairs_and_player = False
        self.good: list[Path] = []
        self.own: list[str] = []
        self.first: DataError | None = None

    def look(self, path: Path, apart: Apart) -> None:
        """Add a file; one that cannot be read is passed over, the first error kept."""
        try:
            suffix = path.suffix.lower()
            {".wad": self._wad, ".des": self._vaults}.get(suffix, self._tiled if suffix in TILED else self._text)(path, apart)
            self.good.append(path)
        except DataError as e:
            self.first = self.first or e

    def _wad(self, path: Path, apart: Apart) -> None:
        wad = Wad(path)
        for raster in doom.rasters(wad):
            self.drawn = True
            if not apart(f"{path.name} {raster.name}"):
                self.own += [raster.theme(slice(y, y + 16), slice(x, x + 24)) for y, x, _ in grid.windows(raster.grid, (24, 16))]
        if not self.drawn:
            raise wad.faults[0] if wad.faults else DataError("a WAD without maps", str(path), "leave it out")

    def _vaults(self, path: Path, apart: Apart) -> None:
        if not (found := list(crawl.vaults(path))):
            raise DataError("no map in it", str(path), "a vault lies between the lines MAP and ENDMAP")
        self.drawn = True
        self.own += [] if apart(path.name) else [path.parent.name] * len(found)

    def _text(self, path: Path, apart: Apart) -> None:
        drawn = ["".join(text.rows) for text in maps.text_maps(path)]
        found = collections.Counter("".join(drawn))
        if len(found) > alphabet.MOST:
            rare = " ".join(c for c, _ in found.most_common()[alphabet.MOST :][:20])
            what = f"{len(found)} different characters, more than the {alphabet.MOST} letters there are; the rarest: {rare}"
            raise DataError(what, str(path), "replace these in the maps by commoner ones, or leave the file out")
        self.characters += found
        self.stairs_and_player |= any("<" in map_ and "@" in map_ for map_ in drawn)

    def _tiled(self, path: Path, apart: Apart) -> None:
        tiled = maps.tiled_map(path)
        others, sheet = tiled.tilesets_of_others(tiles.NAME), tiled.of_sheet(tiles.NAME)
        if others and self.tilesets is None:
            self.tilesets = tuple(others)
        if others and not tiled.same_tiles(self.tilesets or (), tiles.NAME):
            fix = "use the same tilesets in the same order in all maps of a corpus"
            raise DataError("a Tiled map with other tilesets than the maps before it", str(path), fix)
        for gid, n in zip(*map(np.ndarray.tolist, np.unique(tiled.gids, return_counts=True)), strict=True):
            if gid in sheet:
                self.characters[sheet[gid]] += n
            else:
                self.gids[gid] += n
        self.classes |= {gid: word for gid in self.gids if (word := tiled.classes.get(tiled.turned(gid), ""))}
