"""A sprite as a solid: its cells pushed out to a plate two cells thick, in as few triangles as leave no hole.

Corners are only where the outline bends or a colour begins, and triangles reach from corner to corner, on the front, the back and the
sides alike. Boxes merged from the cells would need more: each bend of the outline is worth half a box of twelve triangles that way, and
where a box ends in the middle of another's edge there is a crack (a T-junction). So the front is one outline with its holes, cut into
triangles along the shortest ways first; the back is the same from behind; each edge of the outline is one side of two triangles.

Worked example: an L of three cells has six corners: 4 triangles in front, 4 behind, 12 round about; two boxes would be 24.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

DEPTH = 2  # cells

Point = tuple[int, int]  # x, y in cells, y down as in pictures
Line = tuple[Point, Point]


class Plate(NamedTuple):
    """The triangles of one sprite, in cells, y up, standing on 0."""

    corners: np.ndarray  # (F, 3 corners, 3) int: x, y, z; anticlockwise from outside
    colours: np.ndarray  # (F,) the colour of the cell that each belongs to


def solid(inks: np.ndarray, depth: int = DEPTH) -> Plate:
    """inks: (h, w) a colour's number for each cell, negative for none. Cells that touch only at a corner hang together by an edge there."""
    grid = np.pad(inks[::-1], 1, constant_values=-1)  # the cell from (x, y) to (x + 1, y + 1), y up, is grid[y + 1, x + 1]
    regions, drawn = _regions(grid)
    corners: list[list[tuple[int, int, int]]] = []
    colours: list[int] = []
    outlines: dict[int, list[Line]] = {}
    for (p, q), left, right in _lines(regions):
        outlines.setdefault(left, []).append((p, q))
        if right < 0:
            near_p, near_q, far_p, far_q = (*p, depth), (*q, depth), (*p, 0), (*q, 0)
            corners += [[near_q, near_p, far_p], [near_q, far_p, far_q]]
            colours += [drawn[left]] * 2
    for region, lines in outlines.items():
        for face in _cut(lines, regions == region):
            corners += [[(*point, depth) for point in face], [(*point, 0) for point in reversed(face)]]
            colours += [drawn[region]] * 2
    return Plate(np.array(corners, np.int64).reshape(-1, 3, 3), np.array(colours, np.int64))


def _regions(grid: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(which region each cell is in, -1 for none; each region's colour): cells of one colour that share sides."""
    regions = np.full(grid.shape, -1)
    inks: list[int] = []
    for ink in np.unique(grid[grid >= 0]).tolist():
        labels, count = ndimage.label(grid == ink)
        regions[labels > 0] = labels[labels > 0] - 1 + len(inks)
        inks += [ink] * count
    return regions, inks


def _lines(regions: np.ndarray) -> list[tuple[Line, int, int]]:
    """Every straight part of an outline, ((from, to), region to its left, what is to its right): from corner to corner, each way round.

    Only those with a region to their left. A corner is where the four cells around a point are not two equal pairs side by side.
    """
    north_west, north_east = regions[1:, :-1], regions[1:, 1:]
    south_west, south_east = regions[:-1, :-1], regions[:-1, 1:]
    level = (north_west == north_east) & (south_west == south_east)
    upright = (north_west == south_west) & (north_east == south_east)
    bends = ~(level | upright)  # [y, x]
    out = []
    for across in (False, True):
        for i, row in enumerate(bends.T if across else bends):
            at = np.flatnonzero(row).tolist()
            for a, b in itertools.pairwise(at):
                if across:  # upwards: the left is at its left
                    line, left, right = ((i, a), (i, b)), int(regions[a + 1, i]), int(regions[a + 1, i + 1])
                else:  # to the right: the left is above it
                    line, left, right = ((a, i), (b, i)), int(regions[i + 1, a + 1]), int(regions[i, a + 1])
                if left != right:
                    out += [(line, left, right)] if left >= 0 else []
                    out += [((line[1], line[0]), right, left)] if right >= 0 else []
    return out


def _cut(lines: list[Line], inside: np.ndarray) -> list[tuple[Point, Point, Point]]:
    """A region cut into triangles, anticlockwise, by as many straight ways from corner to corner as do not cross, the shortest first.

    lines: its outline and those of its holes, the region to the left. inside: the padded cells that are in it.
    """
    corners = np.array(sorted({point for line in lines for point in line}))
    ways = [*lines]
    cuts = _ways(corners, np.array(lines), inside)
    crossing = _cross(cuts, cuts)
    free = np.ones(len(cuts), bool)
    for i in range(len(cuts)):
        if free[i]:
            free &= ~crossing[i]
            p, q = (tuple(point) for point in cuts[i].tolist())
            ways += [(p, q), (q, p)]
    return _faces(ways)


def _ways(corners: np.ndarray, lines: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(n, 2 ends, 2) straight ways through the region between two corners that no line or corner is in the way of, the shortest first."""
    first, second = np.triu_indices(len(corners), 1)
    ways = np.stack([corners[first], corners[second]], 1)
    known = {tuple(sorted(line)) for line in map(lambda line: [tuple(point) for point in line], lines.tolist())}
    fresh = [tuple(map(tuple, way)) not in known for way in ways.tolist()]
    ways = ways[np.array(fresh, bool)]
    middle = ways.sum(1) // 2 + 1  # the padded cell up and right of the middle, or around it
    ways = ways[inside[middle[:, 1], middle[:, 0]]]
    on = (_side(ways[:, None], corners) == 0) & (((corners - ways[:, None, 0]) * (corners - ways[:, None, 1])).sum(-1) < 0)
    ways = ways[~on.any(1) & ~_cross(ways, lines).any(1)]
    return ways[np.lexsort((*ways.reshape(-1, 4).T[::-1], ((ways[:, 0] - ways[:, 1]) ** 2).sum(-1)))]


def _side(ways: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Over 0 where the point lies to the left of the way, 0 on its line."""
    along, to = ways[..., 1, :] - ways[..., 0, :], point - ways[..., 0, :]
    return np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(len(a), len(b)) whether two ways cross; touching is not crossing."""
    a, b = a[:, None], b[None]
    return (_side(a, b[..., 0, :]) * _side(a, b[..., 1, :]) < 0) & (_side(b, a[..., 0, :]) * _side(b, a[..., 1, :]) < 0)


def _faces(ways: list[Line]) -> list[tuple[Point, Point, Point]]:
    """The triangles to the left of these ways: at every corner on along the first way clockwise from the one just come."""
    onward: dict[Point, list[tuple[float, Point]]] = {}
    for p, q in ways:
        onward.setdefault(p, []).append((math.atan2(q[1] - p[1], q[0] - p[0]), q))
    for around in onward.values():
        around.sort()
    left, faces = set(ways), []
    for way in ways:
        if way in left:
            face = [way[0]]
            while way in left:
                left.remove(way)
                p, q = way
                back = math.atan2(p[1] - q[1], p[0] - q[0])
                before = [point for angle, point in onward[q] if angle < back - 1e-9]
                way = (q, before[-1] if before else onward[q][-1][1])
                face.append(q)
            faces.append((face[0], face[1], face[2]))
    return faces
