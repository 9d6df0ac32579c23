"""Triangles on the grid: how a mesh comes to lie on it, turns and mirrors, what is wrong with one, and how alike two are.

Faces are triples of corner codes as strip.py has them. A mesh stands on the ground (y from 0) in the middle of the grid (x and z).

Worked example: on a grid of 13 steps a chair of 0.5 x 1 x 0.5 metres is scaled by 12 to 6 x 12 x 6 steps and lies at x and z from 3 to 9,
y from 0 to 12. A turn about the up axis takes z to x and 12 - x to z.
"""

from __future__ import annotations

import collections
import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cupola.media.strip import Face, codes, points, turned

CELLS = (16, 8)  # voxels along a mesh's largest side, and one (17, 9), so that a mirrored mesh fills the mirrored voxels
POSES = [(turn, mirror) for mirror in (False, True) for turn in range(4)]
MOST_SHINGLES = 200


class Flaws(NamedTuple):
    """What keeps triangles from being the skin of a solid thing. Each is a list of places in the given faces, or a plain fact."""

    no_area: list[int]
    double: list[int]
    crowded: int  # edges of three triangles or more
    crossed: int  # edges that two triangles walk the same way: one of them shows its inside
    flat: bool

    def edges(self) -> int:
        return self.crowded + self.crossed


def snap(vertices: np.ndarray, steps: int) -> np.ndarray:
    """Where these corners lie on a grid of `steps`: (N, 3) whole numbers, in the middle of x and z, y from 0.

    vertices: (N, 3), any unit, y up. The largest side is scaled to fill the grid; a mesh that lies on the grid already, at the scale by
    which we write (1 for the whole grid), keeps its size. What is symmetric stays so.
    """
    low, high = vertices.min(0), vertices.max(0)
    steady = (vertices - low) * (steps - 1)  # at the scale of `write`
    scale, middle = steps - 1, vertices - (low + high) / 2
    if steady.max() > steps - 1 + 1e-3 or np.abs(steady - steady.round()).max() >= 1e-3:
        largest = high - low >= (high - low).max() * (1 - 1e-9)
        odd = (steps - 1) % 2 and (np.abs(middle[:, largest]) <= 1e-9 * (high - low).max()).any()
        scale = (steps - 1 - odd) / max((high - low).max(), 1e-30)
    sides, away = ((high - low) * scale).round(6), (middle * scale).round(6)
    whole = np.floor(sides + 0.5).astype(np.int64)
    # An odd side has no middle: where a corner lies there (the top of a cone), the side is made even.
    even = np.minimum(2 * np.floor(sides / 2 + 0.5).astype(np.int64), (steps - 1) // 2 * 2)
    whole = np.where((away == 0).any(0), np.where(whole % 2, even, whole), whole)
    # From the middle outwards, so that both halves round alike: to whole steps from it, or to half ones where an odd side has none.
    out = np.sign(away) * np.where(whole % 2, np.floor(np.abs(away)) + 0.5, np.floor(np.abs(away) + 0.5))
    return np.clip(out + whole / 2, 0, whole).round().astype(np.int64) + _corner(whole, steps)


def error(vertices: np.ndarray, grid: np.ndarray) -> float:
    """The farthest that a corner was moved onto the grid, as a share of the largest side."""
    sides = np.ptp(vertices, axis=0)
    span = np.ptp(grid, axis=0)
    axis = int(np.argmax(sides))
    scale = span[axis] / max(sides[axis], 1e-30)
    moved = (vertices - vertices.min(0) - sides / 2) * scale - (grid - grid.min(0) - span / 2)
    return float(np.sqrt((moved**2).sum(1)).max() / max(span[axis], 1))


def settle(faces: Sequence[Face], steps: int) -> list[Face]:
    """The same triangles, in the same order, moved to where a mesh stands on the grid."""
    if not faces:
        return []
    grid = points(faces)
    low, high = grid.min((0, 1)), grid.max((0, 1))
    return tuples(codes(grid - low + _corner(high - low, steps)))


def pose(faces: Sequence[Face], turn: int, mirror: bool, steps: int) -> list[Face]:
    """Mirrored left to right, then turned by so many quarters about the up axis; in the order given, each its smallest corner first."""
    grid = points(faces)
    x, y, z = grid[..., 0], grid[..., 1], grid[..., 2]
    if mirror:
        x = steps - 1 - x
    for _ in range(turn):
        x, z = z, steps - 1 - x
    new = codes(np.stack([x, y, z], -1))
    return [turned(face) for face in tuples(new[:, ::-1] if mirror else new)]  # a mirror turns every triangle's winding about


def tuples(faces: np.ndarray) -> list[Face]:
    """(N, 3) vertices as plain tuples."""
    return [(a, b, c) for a, b, c in faces.tolist()]


def flaws(faces: Sequence[Face]) -> Flaws:
    """Of faces in any order."""
    no_area = [i for i, face in enumerate(faces) if len(set(face)) < 3]
    seen: set[Face] = set()
    double = []
    for i, face in enumerate(map(turned, faces)):
        if face in seen and len(set(face)) == 3:
            double.append(i)
        seen.add(face)
    good = [face for face in seen if len(set(face)) == 3]
    walked = collections.Counter(edge for a, b, c in good for edge in ((a, b), (b, c), (c, a)))
    both = collections.Counter()
    for (a, b), n in walked.items():
        both[min(a, b), max(a, b)] += n
    crowded = sum(n > 2 for n in both.values())
    crossed = sum(n == 2 and walked[a, b] != 1 for (a, b), n in both.items())
    flat = not good or bool((np.ptp(points(good).reshape(-1, 3), axis=0) == 0).any())
    return Flaws(no_area, double, crowded, crossed, flat)


def watertight(faces: Sequence[Face]) -> bool:
    """Whether the skin has no hole: every edge is walked as often one way as the other. Solids may touch along an edge."""
    walked = collections.Counter(edge for a, b, c in faces for edge in ((a, b), (b, c), (c, a)))
    return bool(walked) and all(walked.get((b, a)) == n for (a, b), n in walked.items())


def voxels(faces: Sequence[Face], cells: int) -> np.ndarray:
    """Which of (n, n, n) voxels, x y z with n = cells + 1, the skin goes through, the mesh standing in them at its own scale.

    Whole numbers throughout, rounded away from the middle: a turned or mirrored mesh fills exactly the turned or mirrored voxels.
    """
    grid = points(faces)  # (F, 3 corners, 3)
    low, high = grid.min((0, 1)), grid.max((0, 1))
    largest = max(int((high - low).max()), 1)
    twice = 2 * grid - (low + high)
    twice[..., 1] = 2 * (grid[..., 1] - low[1])  # y from the ground, x and z from the middle, in half steps
    wide = np.ptp(grid, axis=1).max(-1) * cells / largest  # voxels along each triangle's longest side
    full = np.zeros((cells + 1,) * 3, bool)
    for parts, some in _by_size(wide):
        weights = _weights(parts)  # (S, 3): samples all over a triangle, the same whichever corner is first
        at = weights @ twice[some]  # (F, S, 3) in halves of 1 / parts of a step
        cell = np.sign(at) * ((np.abs(at) * cells + parts * largest) // (2 * parts * largest))
        cell[..., [0, 2]] += cells // 2
        full[cell[..., 0], cell[..., 1], cell[..., 2]] = True
    return full


def poses(full: np.ndarray) -> Iterator[np.ndarray]:
    """A voxel set in its eight turns and mirrors."""
    for turn, mirror in POSES:
        other = full[::-1] if mirror else full
        yield np.rot90(other, turn, axes=(0, 2))


def bits(full: np.ndarray) -> int:
    """A voxel set as one number, a bit a voxel."""
    return int.from_bytes(np.packbits(full).tobytes(), "big")


def shingles(faces: Sequence[Face]) -> set[str]:
    """Triangles and corners as words that turns and mirrors leave alone, of the mesh wherever it stands; at most 200.

    A triangle's word is its three sides (how far up, and the two ways along the ground, the shorter first) and where its middle lies: how
    high, and how far from the middle; a corner's is the latter. The second of a word is a word of its own, up to the eighth, since a box
    has few. Of many, those of the smallest hash are kept.
    """
    if not faces:
        return set()
    grid = points(faces)
    low, high = grid.min((0, 1)), grid.max((0, 1))
    twice = 2 * grid - (low + high)
    twice[..., 1] = 2 * (grid[..., 1] - low[1])
    sides = np.abs(np.roll(grid, -1, axis=1) - grid)
    sides = np.stack([sides[..., 1], sides[..., [0, 2]].min(-1), sides[..., [0, 2]].max(-1)], -1)
    words = [f"{sorted(s)} {_place(m)}" for s, m in zip(sides.tolist(), twice.sum(1).tolist(), strict=True)]
    words += [_place(corner) for corner in np.unique(twice.reshape(-1, 3), axis=0).tolist()]
    out = {f"{word} {i}" for word, n in collections.Counter(words).items() for i in range(min(n, 8))}
    return set(sorted(out, key=_hash)[:MOST_SHINGLES])


def _place(at: list[int]) -> str:
    x, y, z = abs(at[0]), at[1], abs(at[2])
    return f"{y} {min(x, z)} {max(x, z)}"


def _hash(word: str) -> tuple[int, str]:
    return zlib.crc32(word.encode()), word


def _corner(sides: np.ndarray, steps: int) -> np.ndarray:
    """The lowest corner of a box of these sides that stands in the middle of the grid."""
    low = (steps - 1 - sides) // 2
    low[1] = 0
    return low


def _by_size(wide: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(parts, which): triangles that need samples at every 1 / parts of their sides."""
    parts = 2 ** np.ceil(np.log2(np.maximum(wide * 1.5, 1))).astype(np.int64)
    for n in np.unique(parts).tolist():
        yield n, np.flatnonzero(parts == n)


@functools.cache
def _weights(parts: int) -> np.ndarray:
    """(S, 3) whole shares of the three corners that add up to `parts`."""
    a, b = np.meshgrid(np.arange(parts + 1), np.arange(parts + 1), indexing="ij")
    a, b = a[a + b <= parts], b[a + b <= parts]
    return np.stack([a, b, parts - a - b], -1)
