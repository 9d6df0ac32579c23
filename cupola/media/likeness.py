"""How far two maps of letters are apart, and the small squares by which like ones are found.

Both take a map and its mirror images for the same, and an entrance for an exit.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cupola.media.grid import S, U, W, X, from_words, mirrors, trim


def distance(a: str, b: str) -> float:
    """1 minus the share of cells that are the same, of all that are outside in at most one of two bodies.

    The best of four mirror images, laid on each other at any two corners and up to one cell off. Symmetric; 0 for a variant.
    """
    if a == b:
        return 0.0
    x, y = _drawn(a), _drawn(b)
    if not x.size or not y.size:
        return 0.0 if x.size == y.size else 1.0
    (height, width), (ha, wa) = y.shape, x.shape
    down, right = max(ha - height, 0) + 1, max(wa - width, 0) + 1
    canvas = np.pad(y, ((down, down), (right, right)), constant_values=X)
    rows, columns = _places(height - ha, down), _places(width - wa, right)
    parts = sliding_window_view(canvas, x.shape)[np.ix_(rows, columns)].reshape(-1, 1, ha * wa)  # (places, 1, cells)
    others = np.stack(mirrors(x)).reshape(1, 4, ha * wa)
    there = others != X
    same = ((parts == others) & there).sum(2)
    either = int((x != X).sum()) + int((y != X).sum()) - ((parts != X) & there).sum(2)
    return float(1 - (same / either).max())


def _places(room: int, first: int) -> list[int]:
    """Where to lay one side of length n on another that is `room` longer: at either end, and one off."""
    return sorted({first + end + off for end in (0, room) for off in (-1, 0, 1)})


@functools.lru_cache(maxsize=4096)
def patches(body: str) -> set[str]:
    """Squares of 3 x 3 cells as nine letters, each the smallest of its four mirror images; those of wall or outside alone are left out."""
    cells = _drawn(body)
    if not cells.size:
        return {body.strip() or "x"}
    parts = sliding_window_view(np.pad(cells, 1, constant_values=X), (3, 3)).reshape(-1, 3, 3)
    plain = ((parts == W) | (parts == X)).all((1, 2))
    kept = parts[~plain] if not plain.all() else parts
    ways = np.stack([kept, kept[:, :, ::-1], kept[:, ::-1], kept[:, ::-1, ::-1]]).reshape(4, -1, 9)
    words = np.ascontiguousarray(ways).view("S9")[..., 0]  # (4, squares)
    return {word.decode("ascii") for word in np.unique(np.sort(words, 0)[0]).tolist()}


@functools.lru_cache(maxsize=4096)
def _drawn(body: str) -> np.ndarray:
    """The map without outside around it, exits as entrances; (0, 0) for what is no map."""
    words = body.split()
    if not words or not body.isascii():
        return np.zeros((0, 0), np.uint8)
    cells = trim(from_words([word[:4096] for word in words]))
    return np.where(cells == S, U, cells).astype(np.uint8)
