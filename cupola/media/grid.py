"""Maps as arrays of letters: words and rows, windows, walls around what is open, entrance, exit and the way between them.

A grid is (H, W) uint8, the code of a letter in each cell. The twelve letters with a role:

    x outside   w wall   f floor   d door   a water   l lava   t tree   m monster   i item   c chest or key   u entrance   s exit

A corpus may have further letters, each with one of these roles or none (see maps.py); `roles` arguments are (256,) uint8, a letter's code
-> its role's. What can be walked on is f, d, m, i, c, u and s; a letter without a role (DECORATION) too.

Worked example: the body "wwww wufw wwsw xwww" is four rows; from u one step right to f and one down to s: a path of 2.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

ROLES = "xwfdaltmicus"  # append, never reorder
WORDS = {
    "x": ("outside", "void", "empty", "nothing", "none"),
    "w": ("wall", "rock", "solid", "block", "stone"),
    "f": ("floor", "ground", "path", "grass", "corridor", "room"),
    "d": ("door", "gate"),
    "a": ("water", "river", "sea", "liquid"),
    "l": ("lava", "trap", "spikes", "hazard", "fire"),
    "t": ("tree", "plant", "forest"),
    "m": ("monster", "enemy", "npc", "creature", "mob"),
    "i": ("item", "pickup", "loot", "potion", "weapon"),
    "c": ("chest", "key", "treasure", "coin"),
    "u": ("entrance", "start", "player", "spawn", "entry", "hero"),
    "s": ("exit", "goal", "end", "stairs", "finish"),
}  # what a person may call a role, the usual word first
WALKABLE = "fdmicus"
THINGS = "mic"
X, W, F, D, A, L, T, M, I, C, U, S = map(ord, ROLES)  # noqa: E741
DECORATION = ord(".")  # the role of a letter without one: floor that nothing is put on
_WALK = np.zeros(256, bool)
_WALK[[*map(ord, WALKABLE), DECORATION]] = True
SAME = np.arange(256, dtype=np.uint8)  # the roles of letters that are roles
_EIGHT = np.ones((3, 3), bool)
LEAST_PATH = 4  # steps from entrance to exit; under that it is no level


def walkable(grid: np.ndarray, roles: np.ndarray = SAME) -> np.ndarray:
    """(H, W) bool."""
    return _WALK[roles[grid]]


# --- words


def body(grid: np.ndarray, full: bool = False) -> str:
    """Rows as words; without `full`, outside cells at their ends are dropped, and a row of nothing else is x."""
    rows = (row.tobytes().decode("ascii") for row in grid)
    return " ".join(rows if full else (row.rstrip("x") or "x" for row in rows))


def from_words(words: list[str]) -> np.ndarray:
    """Rows padded to the longest with outside. ASCII only."""
    width = max(map(len, words))
    return np.frombuffer("".join(word.ljust(width, "x") for word in words).encode("ascii"), np.uint8).reshape(len(words), width)


def trim(grid: np.ndarray) -> np.ndarray:
    """Without the rows and columns at its edges that are outside; (0, 0) where all is."""
    rows, columns = np.flatnonzero((grid != X).any(1)), np.flatnonzero((grid != X).any(0))
    if not rows.size:
        return grid[:0, :0]
    return grid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def filled(grid: np.ndarray) -> np.ndarray:
    """With the outside cells that walls and others keep apart from the outside made floor: for maps that draw floor as nothing."""
    parts, _ = ndimage.label(np.pad(grid == X, 1, constant_values=True))
    out = grid.copy()
    out[(grid == X) & (parts[1:-1, 1:-1] != parts[0, 0])] = F
    return out


def mirrors(grid: np.ndarray) -> list[np.ndarray]:
    """As it is, left and right changed, up and down, both."""
    return [grid, grid[:, ::-1], grid[::-1], grid[::-1, ::-1]]


def windows(grid: np.ndarray, size: tuple[int, int], overlap: bool = False) -> Iterator[tuple[int, int, np.ndarray]]:
    """(first row, first column, part): parts of at most `size` (width, height), side by side or each half a window on from the last.

    The last ones end where the map ends.
    """
    width, height = size
    for y in _starts(grid.shape[0], height, overlap):
        for x in _starts(grid.shape[1], width, overlap):
            yield y, x, grid[y : y + height, x : x + width]


def _starts(length: int, window: int, overlap: bool) -> list[int]:
    if length <= window:
        return [0]
    return [*range(0, length - window, max(1, window // 2) if overlap else window), length - window]


# --- what makes a level of a map


def walled(grid: np.ndarray) -> np.ndarray:
    """One cell wider on each side, and a wall wherever outside touches anything else but wall."""
    grid = np.pad(grid, 1, constant_values=X)
    out = grid.copy()
    out[(grid == X) & ndimage.binary_dilation((grid != X) & (grid != W), _EIGHT)] = W
    return out


def closed(grid: np.ndarray, roles: np.ndarray = SAME) -> np.ndarray:
    """Walls for all that lies at the edge or beside outside (corners count) and is neither."""
    kinds = roles[grid]
    outside = ndimage.binary_dilation(np.pad(kinds == X, 1, constant_values=True), _EIGHT)[1:-1, 1:-1]
    out = grid.copy()
    out[outside & (kinds != X)] = W
    return out


def joined(grid: np.ndarray, roles: np.ndarray = SAME, share: float = 0.6) -> np.ndarray | None:
    """Walls for all that does not hang together with the largest part that can be walked on.

    Walls that then touch nothing else become outside. None where that part is under `share` of what can be walked on.
    """
    walk, kinds = walkable(grid, roles), roles[grid]
    parts, count = ndimage.label(walk)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if sizes.max() < share * sizes.sum():
        return None
    main = parts == sizes.argmax()
    scenery, _ = ndimage.label((kinds != X) & (kinds != W) & ~(walk & ~main))
    kept = np.isin(scenery, np.unique(scenery[main]))
    out = grid.copy()
    out[~kept & (kinds != X)] = W
    out[(out == W) & ~ndimage.binary_dilation(kept, _EIGHT)] = X
    return out


def placed(grid: np.ndarray, roles: np.ndarray = SAME) -> np.ndarray | None:
    """With an entrance and an exit put where the map has none: on the two cells of floor that lie farthest apart.

    None where the way between them is shorter than LEAST_PATH steps, or there is none, or the map has more than one of either.
    """
    kinds, out = roles[grid], grid.copy()
    ends = [np.argwhere(kinds == letter) for letter in (U, S)]
    if max(map(len, ends)) > 1:
        return None
    if not all(map(len, ends)):
        parts, _ = ndimage.label(walkable(grid, roles))
        main = np.bincount(parts.ravel())
        main[0] = 0
        floor = (kinds == F) & (parts == main.argmax()) if len(main) > 1 else np.zeros_like(kinds, bool)
        if floor.sum() < 2:
            return None
        given = next((tuple(map(int, end[0])) for end in ends if len(end)), None)
        first = given or _farthest(walkable(grid, roles), floor, _any(floor))
        second = _farthest(walkable(grid, roles), floor, first)
        if given:
            out[second] = S if len(ends[0]) else U
        else:
            first, second = sorted((first, second), key=lambda cell: (cell[1] + cell[0], cell))
            out[first], out[second] = U, S
    return out if path(out, roles) >= LEAST_PATH else None


def apart(grid: np.ndarray, roles: np.ndarray = SAME) -> float:
    """The share of the cells that can be walked on that do not hang together with the largest part of them."""
    parts, count = ndimage.label(walkable(grid, roles))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return 1 - float(sizes.max() / sizes.sum()) if count else 0.0


def path(grid: np.ndarray, roles: np.ndarray = SAME) -> int:
    """Steps from the first entrance to the first exit; -1 where there is no way, or one of them is missing."""
    kinds = roles[grid]
    ends = [np.argwhere(kinds == letter) for letter in (U, S)]
    if not all(map(len, ends)):
        return -1
    start, goal = (tuple(map(int, end[0])) for end in ends)
    return int(steps(walkable(grid, roles), start)[goal])


def steps(walk: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """(H, W) int32 steps from `start` to each cell over those that can be walked on; -1 where none lead."""
    height, width = walk.shape
    wide = width + 2
    open_ = np.pad(walk, 1).ravel().tolist()
    out = [-1] * len(open_)
    at = (start[0] + 1) * wide + start[1] + 1
    out[at], front, distance = 0, [at], 0
    while front:
        distance += 1
        ahead = []
        for cell in front:
            for near in (cell - wide, cell - 1, cell + 1, cell + wide):
                if open_[near] and out[near] < 0:
                    out[near] = distance
                    ahead.append(near)
        front = ahead
    return np.array(out, np.int32).reshape(height + 2, wide)[1:-1, 1:-1]


def _any(mask: np.ndarray) -> tuple[int, int]:
    """A cell near the middle of those in the mask, so that it lies in the part that matters."""
    cells = np.argwhere(mask)
    y, x = cells[len(cells) // 2]
    return int(y), int(x)


def _farthest(walk: np.ndarray, floor: np.ndarray, start: tuple[int, int]) -> tuple[int, int]:
    away = np.where(floor, steps(walk, start), -1)
    y, x = np.unravel_index(int(away.argmax()), away.shape)
    return int(y), int(x)
