"""Maps of a WAD as grids of letters: one cell is 64 map units, a door's width.

What a cell is comes from the sector under its centre, found as Doom finds it (down the BSP tree); outside is where an even number of
one-sided lines lies to the left. Too low to stand in (56 units) is wall, except doors; liquids are known by their floor's name; then
things by their number.
Source: the Unofficial Doom Specs (Matthew Fell, 1994); Freedoom follows them.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cupola.errors import DataError
from cupola.media.grid import A, C, D, F, I, L, M, T, W, X
from cupola.media.wad import Wad

CELL = 64  # map units
HEAD_ROOM = 56  # map units: Doom's player
MOST_CELLS = 1_000_000  # of one map: 65,536 units a side are 1,024 cells
NOWHERE = 0xFFFF  # a line's missing side
LEAF = 0x8000  # of a node's child: a subsector

OPENED_BY_HAND = [1, 26, 27, 28, 31, 32, 33, 34, 117, 118]  # line specials: the door is the sector behind the line
OPENED_AFAR = [2, 4, 16, 29, 42, 46, 50, 61, 63, 75, 76, 86, 90, 99, 103, 105, 106, *range(107, 117), 133, 134, 135, 136, 137]  # by tag
_MONSTERS = [7, 9, 16, 58, 64, 65, 66, 67, 68, 69, 71, 84, 3001, 3002, 3003, 3004, 3005, 3006]
_ITEMS = [17, 82, 2001, 2002, 2003, 2004, 2005, 2006, 2007, 2008, 2010, 2011, 2012, 2014, 2015, 2018, 2019, 2022, 2023, 2024, 2025, 2026]
_ITEMS += [2045, 2046, 2047, 2048, 2049]
_CHESTS = [5, 6, 8, 13, 38, 39, 40, 83, 2013]  # keys, backpack and the two great spheres
_TREES = [43, 47, 54]
THINGS = dict.fromkeys(_TREES, T) | dict.fromkeys(_ITEMS, I) | dict.fromkeys(_MONSTERS, M) | dict.fromkeys(_CHESTS, C)
_RANK = {T: 0, M: 1, I: 2, C: 3}  # of two things in a cell the rarer is kept
ONLY_WITH_OTHERS = 16  # a thing's flag: not in a game of one
WATER = (b"FWATER", b"NUKAGE", b"SLIME01", b"SLIME02", b"SLIME03", b"SLIME04", b"SLIME05", b"SLIME06", b"SLIME07", b"SLIME08")
LAVA = (b"LAVA", b"BLOOD", b"SLIME09", b"SLIME10", b"SLIME11", b"SLIME12")

# Themes by the ground that most of a window has; what begins with none of these has no theme.
THEMES = {
    "cave": ("RROCK", "SLIME13", "MFLR8_4", "MFLR8_3", "FLAT5_7", "FLAT5_8", "FLAT1_2"),
    "wild": ("GRASS", "FLAT10", "MFLR8_2", "FLAT5_3"),
    "stone": (
        "MFLR8_1",
        "FLAT5_4",
        "FLAT5_5",
        "FLAT8",
        "FLAT1_1",
        "DEM1",
        "FLOOR6",
        "FLOOR7_1",
        "FLAT1",
        "FLAT5",
        "GRNROCK",
        "SLIME14",
        "SLIME15",
    ),
    "wood": ("FLAT5_1", "FLAT5_2", "CEIL1_1", "FLOOR3_3", "CRATOP"),
    "tech": ("FLOOR", "FLAT", "CEIL", "TLITE", "COMP", "STEP", "GATE", "CONS", "SLIME16", "FLAT23", "FLAT14", "FLAT20", "FLAT22"),
}


class Raster(NamedTuple):
    """A map in cells, before it is cut into windows."""

    name: str
    grid: np.ndarray  # (H, W) uint8 letters
    ground: np.ndarray  # (H, W) int16 index into `textures`; -1 outside
    textures: list[str]

    def theme(self, rows: slice, columns: slice) -> str:
        """What the ground of a part mostly is: tech, stone, wood, cave or wild; "" where none of its floors says."""
        ground = self.ground[rows, columns]
        counts: collections.Counter[str] = collections.Counter()
        for index, n in zip(*np.unique(ground[ground >= 0], return_counts=True), strict=True):
            counts[_theme(self.textures[int(index)])] += int(n)
        counts.pop("", None)
        return max(sorted(counts), key=counts.__getitem__) if counts else ""


def rasters(wad: Wad) -> Iterator[Raster]:
    """The maps of a WAD. One whose numbers point outside its own lumps goes to `wad.faults`."""
    for name, lumps in wad.maps():
        try:
            yield raster(name, {key: _checked(key, lumps) for key in lumps})
        except DataError as e:
            wad.faults.append(DataError(e.what, f"{wad.path}, {name}", e.fix))


def raster(name: str, lumps: dict[str, np.ndarray]) -> Raster:
    """One map, its lumps as wad.RECORDS. Raises DataError for over a million cells."""
    points = np.stack([lumps["VERTEXES"]["x"], lumps["VERTEXES"]["y"]], 1).astype(np.int64)  # (N, 2)
    lines, sectors = lumps["LINEDEFS"], lumps["SECTORS"]
    used = points[np.concatenate([lines["start"], lines["end"]])]
    low, high = used.min(0) // CELL * CELL, used.max(0)
    width, height = ((high - low) // CELL + 1).tolist()
    if width * height > MOST_CELLS:
        raise DataError(f"{width:,} x {height:,} cells, more than {MOST_CELLS:,}", "", "leave this map out")
    xs, ys = low[0] + CELL * np.arange(width) + CELL // 2, (low[1] + CELL * np.arange(height) + CELL // 2)[::-1]  # north is up
    sector = np.where(_inside(points, lines, xs, ys), _sectors_at(lumps, xs, ys), -1)
    floors = sectors["floor_texture"]
    room = sectors["ceiling"].astype(int) - sectors["floor"]
    kind = np.where(room < HEAD_ROOM, W, F).astype(np.uint8)
    kind[[name.startswith(WATER) for name in floors.tolist()]] = A
    kind[[name.startswith(LAVA) for name in floors.tolist()]] = L
    doors = _doors(lumps, room)
    kind[doors] = D
    grid = np.append(kind, np.uint8(X))[sector]  # index -1 is the last: outside
    grid = _thin_doors(grid, lumps, points, doors, low)
    _put_things(grid, lumps["THINGS"], low)
    names, ground = np.unique(floors, return_inverse=True)
    return Raster(
        name, grid, np.append(ground, -1)[sector].astype(np.int16), [n.decode("ascii", "replace").upper() for n in names.tolist()]
    )


def _inside(points: np.ndarray, lines: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """(H, W) bool: an odd number of one-sided lines crosses the row to the left of the cell's centre."""
    single = (lines["right"] == NOWHERE) != (lines["left"] == NOWHERE)
    a, b = points[lines["start"][single]], points[lines["end"][single]]
    out = np.zeros((len(ys), len(xs)), bool)
    for row, y in enumerate(ys):
        crosses = (a[:, 1] <= y) != (b[:, 1] <= y)
        p, q = a[crosses], b[crosses]
        at = np.sort(p[:, 0] + (y - p[:, 1]) * (q[:, 0] - p[:, 0]) / (q[:, 1] - p[:, 1]))
        out[row] = np.searchsorted(at, xs) % 2 == 1
    return out


def _sectors_at(lumps: dict[str, np.ndarray], xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """(H, W) int: the sector at each cell's centre. All cells go down the tree together, a level a step."""
    nodes = {key: lumps["NODES"][key].astype(np.int64) for key in ("x", "y", "dx", "dy", "right", "left")}
    x, y = (axis.ravel() for axis in np.meshgrid(xs, ys))
    at = np.full(x.size, len(lumps["NODES"]) - 1 if len(lumps["NODES"]) else LEAF, np.int64)
    for _ in range(len(lumps["NODES"])):  # a tree is no deeper than that; a loop in a damaged one ends here
        moving = np.flatnonzero(at < LEAF)
        if not moving.size:
            break
        node = at[moving]
        dx, dy = x[moving] - nodes["x"][node], y[moving] - nodes["y"][node]
        left = dy * nodes["dx"][node] >= dx * nodes["dy"][node]
        at[moving] = np.where(left, nodes["left"][node], nodes["right"][node])
    if (at < LEAF).any():
        raise DataError("its NODES lead in a circle", "", "build its nodes and save it again")
    seg = lumps["SEGS"][lumps["SSECTORS"]["first"][at & ~LEAF]]
    line = lumps["LINEDEFS"][seg["line"]]
    side = np.where(seg["side"] == 0, line["right"], line["left"])
    return lumps["SIDEDEFS"]["sector"][side].astype(np.int64).reshape(len(ys), len(xs))


def _doors(lumps: dict[str, np.ndarray], room: np.ndarray) -> np.ndarray:
    """(S,) bool: sectors behind doors opened by hand, and closed ones that a line elsewhere opens."""
    lines, sectors = lumps["LINEDEFS"], lumps["SECTORS"]
    by_hand = lines[np.isin(lines["special"], OPENED_BY_HAND) & (lines["left"] != NOWHERE)]
    out = np.zeros(len(sectors), bool)
    out[lumps["SIDEDEFS"]["sector"][by_hand["left"]]] = True
    tags = lines["tag"][np.isin(lines["special"], OPENED_AFAR)].astype(np.int16)
    return out | (np.isin(sectors["tag"], tags[tags != 0]) & (room < HEAD_ROOM))


def _thin_doors(grid: np.ndarray, lumps: dict[str, np.ndarray], points: np.ndarray, doors: np.ndarray, low: np.ndarray) -> np.ndarray:
    """With the doors that lie between cell centres (most are 8 to 32 units thick) put along their middle."""
    lines, out = lumps["LINEDEFS"], grid.copy()
    sides = np.append(lumps["SIDEDEFS"]["sector"].astype(int), -1)
    of_line = [np.where(lines[side] == NOWHERE, -1, sides[np.minimum(lines[side], len(sides) - 1)]) for side in ("right", "left")]
    for door in np.flatnonzero(doors):
        its = lines[(of_line[0] == door) | (of_line[1] == door)]
        if not len(its):
            continue
        corners = points[np.concatenate([its["start"], its["end"]])]
        (x0, y0), (x1, y1) = ((corner - low).tolist() for corner in (corners.min(0), corners.max(0)))
        if min(x1 - x0, y1 - y0) >= CELL or max(x1 - x0, y1 - y0) > 8 * CELL:
            continue
        across = x1 - x0 < y1 - y0
        columns = (
            [(x0 + x1) // 2 // CELL]
            if across
            else range((x0 + CELL // 2) // CELL, max((x1 - CELL // 2) // CELL, (x0 + CELL // 2) // CELL) + 1)
        )
        rows = (
            range((y0 + CELL // 2) // CELL, max((y1 - CELL // 2) // CELL, (y0 + CELL // 2) // CELL) + 1)
            if across
            else [(y0 + y1) // 2 // CELL]
        )
        for row in rows:
            for column in columns:
                y, x = len(grid) - 1 - row, column
                if 0 <= y < grid.shape[0] and 0 <= x < grid.shape[1]:
                    out[y, x] = D
    return out


def _put_things(grid: np.ndarray, things: np.ndarray, low: np.ndarray) -> None:
    """Monsters, items, chests and trees onto floor cells."""
    things = things[(things["flags"] & ONLY_WITH_OTHERS) == 0]
    for kind, x, y in zip(things["type"].tolist(), things["x"].tolist(), things["y"].tolist(), strict=True):
        letter = THINGS.get(kind)
        row, column = len(grid) - 1 - (y - int(low[1])) // CELL, (x - int(low[0])) // CELL
        if letter is None or not (0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]):
            continue
        there = int(grid[row, column])
        if there == F or _RANK.get(there, 9) < _RANK[letter]:
            grid[row, column] = letter


def _checked(key: str, lumps: dict[str, np.ndarray]) -> np.ndarray:
    """The lump, if all that it points to is there. Raises DataError naming lump and entry."""
    array = lumps[key]
    pointers = {
        "LINEDEFS": [("start", "VERTEXES"), ("end", "VERTEXES"), ("right", "SIDEDEFS"), ("left", "SIDEDEFS")],
        "SIDEDEFS": [("sector", "SECTORS")],
        "SEGS": [("line", "LINEDEFS")],
        "SSECTORS": [("first", "SEGS")],
        "NODES": [("right", "NODES"), ("left", "NODES")],
    }
    if key in ("LINEDEFS", "SECTORS", "SSECTORS", "SEGS") and not len(array):
        raise DataError(f"an empty {key}", "", "build its nodes and save it again")
    for field, target in pointers.get(key, []):
        values, count = array[field].astype(int), len(lumps[target])
        wrong = (values >= count) & (values != NOWHERE) if target == "SIDEDEFS" else values >= count
        if key == "NODES":
            wrong = np.where(values & LEAF, (values & ~LEAF) >= len(lumps["SSECTORS"]), wrong)
        if wrong.any():
            at = int(np.argmax(wrong))
            leaf = key == "NODES" and int(values[at]) & LEAF
            there, count = ("SSECTORS", len(lumps["SSECTORS"])) if leaf else (target, count)
            entry = int(values[at]) & ~LEAF if leaf else int(values[at])
            what = f"{key} entry {at:,} points to entry {entry:,} of {there}, which has {count:,}"
            raise DataError(what, "", "the map is damaged: fetch it again")
    return array


def _theme(texture: str) -> str:
    best, theme = 0, ""
    for name, beginnings in THEMES.items():
        for beginning in beginnings:
            if texture.startswith(beginning) and len(beginning) > best:
                best, theme = len(beginning), name
    return theme
