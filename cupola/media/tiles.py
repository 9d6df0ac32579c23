"""The built-in tiles that levels are drawn with: 16 x 16 pixels, made by these few rules and not from anybody's pictures.

One tile a letter, in the order of alphabet.LETTERS, 13 in a row: the twelve roles, then for each further letter floor with a mark in a
colour of its own. The same sheet serves every set, so that all maps of a folder share one file in Tiled.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cupola.media.alphabet import LETTERS
from cupola.media.grid import ROLES, WORDS

TILE = 16  # pixels
COLUMNS = 13
NAME = "levels-tiles"  # of the tileset in Tiled
SHEET = f"{NAME}.png"

Colour = tuple[int, int, int]
FLOOR: Colour = (94, 84, 74)
STONE: Colour = (122, 122, 132)


def picture(grid: np.ndarray) -> np.ndarray:
    """(16 H, 16 W, 4) uint8 of a grid of letters."""
    height, width = grid.shape
    index = np.zeros(256, np.int64)
    index[[ord(c) for c in LETTERS]] = np.arange(len(LETTERS))
    return _tiles()[index[grid]].transpose(0, 2, 1, 3, 4).reshape(height * TILE, width * TILE, 4)


def sheet() -> np.ndarray:
    """(64, 208, 4) uint8: all tiles, 13 in a row."""
    tiles = _tiles()
    rows = [np.concatenate(list(tiles[i : i + COLUMNS]), 1) for i in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows, 0)


def tileset(first: int, roles: Mapping[str, str], characters: Mapping[str, str]) -> dict[str, Any]:
    """The sheet as Tiled embeds it, from gid `first` on; each tile of the set says its role and its character."""
    return {
        "firstgid": first, "name": NAME, "image": SHEET, "imagewidth": COLUMNS * TILE, "imageheight": len(LETTERS) // COLUMNS * TILE,
        "tilewidth": TILE, "tileheight": TILE, "tilecount": len(LETTERS), "columns": COLUMNS, "margin": 0, "spacing": 0,
        "tiles": [
            {"id": LETTERS.index(letter), "type": WORDS[role][0] if role else "decoration"}
            | {"properties": [{"name": "character", "type": "string", "value": characters.get(letter, "")}]}
            for letter, role in roles.items()
        ],
    }  # fmt: skip


@functools.cache
def _tiles() -> np.ndarray:
    """(52, 16, 16, 4) uint8."""
    draw: dict[str, Callable[[], np.ndarray]] = {
        "x": _outside, "w": _wall, "f": _floor, "d": _door, "a": lambda: _waves((44, 92, 160), (110, 168, 220)),
        "l": lambda: _waves((176, 52, 20), (250, 176, 60)), "t": _tree, "m": _monster, "i": _item, "c": _chest,
        "u": lambda: _stairs(up=True), "s": lambda: _stairs(up=False),
    }  # fmt: skip
    return np.stack([draw[c]() for c in ROLES] + [_mark(i) for i in range(len(LETTERS) - len(ROLES))])


def _plain(colour: Colour, grain: int, seed: int) -> np.ndarray:
    """A tile of one colour whose pixels differ by up to `grain`."""
    noise = np.random.default_rng(seed).integers(-grain, grain + 1, (TILE, TILE, 1))
    out = np.full((TILE, TILE, 4), 255, np.uint8)
    out[..., :3] = np.clip(np.array(colour) + noise, 0, 255)
    return out


def _disc(tile: np.ndarray, y: float, x: float, radius: float, colour: Colour) -> None:
    rows, columns = np.ogrid[:TILE, :TILE]
    tile[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2, :3] = colour


def _outside() -> np.ndarray:
    return _plain((20, 18, 24), 2, 0)


def _floor() -> np.ndarray:
    out = _plain(FLOOR, 7, 1)
    out[-1, :, :3] = out[:, -1, :3] = np.array(FLOOR) - 14  # joints, so that cells can be counted
    return out


def _wall() -> np.ndarray:
    """Courses of stone, lighter at the top edge."""
    out = _plain(STONE, 8, 2)
    for y in range(0, TILE, 4):
        out[y + 3, :, :3] = (74, 74, 84)
        out[y : y + 3, (y // 4 % 2) * 4 + 3 :: 8, :3] = (74, 74, 84)
    out[:2, :, :3] = (176, 176, 186)
    return out


def _door() -> np.ndarray:
    out = _floor()
    out[1:15, 2:14, :3] = (70, 40, 20)
    out[2:15, 3:13, :3] = (146, 92, 44)
    out[2:15, 6:10:3, :3] = (112, 68, 32)
    out[8:10, 11, :3] = (236, 200, 90)
    return out


def _waves(deep: Colour, crest: Colour) -> np.ndarray:
    out = _plain(deep, 5, 3)
    for y, x in ((3, 1), (6, 8), (10, 3), (13, 10)):
        out[y, [x % TILE, (x + 1) % TILE, (x + 4) % TILE, (x + 5) % TILE], :3] = crest
        out[y - 1, [(x + 2) % TILE, (x + 3) % TILE], :3] = crest
    return out


def _tree() -> np.ndarray:
    out = _plain((62, 96, 52), 6, 4)
    out[11:15, 7:9, :3] = (92, 60, 34)
    for y, x, radius, colour in ((6, 7.5, 5.4, (24, 66, 30)), (5, 6.5, 3.6, (48, 120, 50)), (4, 6, 1.6, (96, 168, 80))):
        _disc(out, y, x, radius, colour)
    return out


def _monster() -> np.ndarray:
    """A round head with two eyes and teeth."""
    out = _floor()
    _disc(out, 8, 7.5, 6.3, (60, 10, 16))
    _disc(out, 8, 7.5, 5.3, (190, 46, 52))
    for x in (5, 10):
        _disc(out, 6, x, 1.2, (255, 244, 200))
        out[6, x, :3] = 0
    out[10:12, 5:11, :3] = (40, 6, 10)
    out[10, 5:11:2, :3] = 255
    return out


def _item() -> np.ndarray:
    """A bottle."""
    out = _floor()
    out[2:4, 6:10, :3] = (190, 150, 96)
    out[4:7, 6:10, :3] = (150, 190, 200)
    _disc(out, 10, 7.5, 4.6, (24, 52, 60))
    _disc(out, 10, 7.5, 3.6, (64, 196, 170))
    out[8:10, 6, :3] = 255
    return out


def _chest() -> np.ndarray:
    out = _floor()
    out[3:14, 2:14, :3] = (66, 38, 12)
    out[4:7, 3:13, :3] = (196, 134, 50)
    out[8:13, 3:13, :3] = (162, 104, 36)
    out[6:10, 7:9, :3] = (250, 226, 120)
    return out


def _stairs(up: bool) -> np.ndarray:
    """Four steps and an arrow: light ones that point up, dark ones that point down."""
    out = _plain((206, 196, 160) if up else (46, 42, 52), 4, 5)
    edge = (128, 116, 84) if up else (112, 106, 124)
    out[3::4, :, :3] = edge
    for row in range(5):
        y = 4 + row if up else 11 - row
        out[y, 7 - row : 9 + row, :3] = (36, 120, 56) if up else (240, 196, 72)
    out[9:13, 6:10, :3] = (36, 120, 56) if up else out[9:13, 6:10, :3]
    if not up:
        out[3:7, 6:10, :3] = (240, 196, 72)
    return out


def _mark(number: int) -> np.ndarray:
    """Floor with a diamond, a square, a cross or a ring: what has no role."""
    out = _floor()
    colour = tuple(int(255 * part) for part in colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.6, 0.95))
    rows, columns = np.mgrid[:TILE, :TILE]
    y, x = abs(rows - 7.5), abs(columns - 7.5)
    shape = (y + x <= 5, np.maximum(y, x) <= 3.5, np.minimum(y, x) < 1.5, (y**2 + x**2 <= 25) & (y**2 + x**2 >= 7))[number % 4]
    out[shape & (np.maximum(y, x) <= 5), :3] = colour
    return out
