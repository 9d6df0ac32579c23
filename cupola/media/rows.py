"""Pictures as rows of letters: `a` is blank, the other letters are colours of a palette, and every row has all its letters.

Rows of one length keep the pixel above a pixel at the same distance behind it in the text, which is how a small model learns shapes: on
icons of 12 x 12 it needs 72 bits a picture with a token a letter and 78 with merged ones, and 94% of what it draws is whole, not 22%
(LOG.md, 2026-11-25).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator

import numpy as np

from cupola.media.gbnf import letters as letter_class

BLANK = "a"
COLOURS = "bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
SAME = "Z"  # as in the frame before; clips only
_TO_INDEX = np.full(128, -2, np.int8)
_TO_INDEX[[ord(c) for c in BLANK + COLOURS]] = np.arange(-1, len(COLOURS))
_TO_LETTER = np.frombuffer((BLANK + COLOURS).encode(), np.uint8)


def text_of(index: np.ndarray) -> str:
    """(H, W) int8, -1 blank, as rows parted by spaces."""
    return " ".join(bytes(_TO_LETTER[row + 1]).decode() for row in index)


def index_of(text: str, width: int, height: int) -> np.ndarray:
    """(height, width) int8 of such rows; short ones are filled with blanks, long ones cut; unknown letters are blank."""
    out = np.full((height, width), -1, np.int8)
    for y, row in enumerate(text.split(" ")[:height]):
        codes = np.frombuffer(row[:width].encode("ascii", "replace"), np.uint8)
        found = _TO_INDEX[np.minimum(codes, 127)]
        out[y, : len(found)] = np.where(found == -2, -1, found)
    return out


def class_of(colours: int, more: str = "") -> str:
    """The letters of so many colours, and blank, as a GBNF character class."""
    return letter_class(BLANK + COLOURS[:colours] + more)


def rest_of_rows(given: str, width: int, height: int) -> str:
    """GBNF for what follows the rows `given` of a picture of this size; the rule `c` is a letter. "" when nothing does."""
    rows = given.split(" ") if given else [""]
    left = width - len(rows[-1])
    parts = [f"c{{{left}}}"] if left > 0 else []
    if height > len(rows):
        parts.append(f'(" " c{{{width}}}){{{height - len(rows)}}}')
    return " ".join(parts)


def same_shape(text: str, letters: str) -> str:
    """GBNF for rows, or a part of one, of just the lengths that `text` has."""
    parts = [f"c{{{len(row)}}}" for row in text.split(" ") if row]
    return "root ::= " + ' " " '.join(parts) + f"\nc ::= {letters}"


# --- what is alike ------------------------------------------------------------------------------------------------------------------------


def shifted(index: np.ndarray, reach: int = 1) -> np.ndarray:
    """(poses, H + 2 reach, W + 2 reach): the picture and its mirror image, moved by up to `reach` on a larger canvas."""
    h, w = index.shape
    poses = []
    for picture in (index, index[:, ::-1]):
        for dy in range(2 * reach + 1):
            for dx in range(2 * reach + 1):
                canvas = np.full((h + 2 * reach, w + 2 * reach), -1, np.int8)
                canvas[dy : dy + h, dx : dx + w] = picture
                poses.append(canvas)
    return np.stack(poses)


def rolled(index: np.ndarray) -> np.ndarray:
    """(poses, H, W): a tile and its mirror image, each begun at any quarter of its width and height: it tiles the same.

    32 poses where four divides both sides. Elsewhere each quarter comes with its way back, or a distance would depend on the order.
    """
    down, across = (sorted({step for q in range(4) for step in (q * n // 4, -(q * n // 4) % n)}) for n in index.shape)
    steps = [(y, x) for y in down for x in across]
    return np.stack([np.roll(p, step, (0, 1)) for p in (index, index[:, ::-1]) for step in steps])


def differing(one: np.ndarray, poses: np.ndarray) -> float:
    """The share of differing cells of all that are inked in either, at the best pose. one: (H, W); poses: (P, H, W)."""
    inked = ((one >= 0) | (poses >= 0)).sum((1, 2))
    differ = (one != poses).sum((1, 2))
    return float((differ / np.maximum(inked, 1)).min())


def patches(index: np.ndarray, wrap: bool) -> Iterator[str]:
    """The 3 x 3 patches of a picture wherever they lie, each the same for its mirror image; all-blank ones left out."""
    canvas = np.pad(index, 1, mode="wrap") if wrap else np.pad(index, 2, constant_values=-1)
    for window in np.lib.stride_tricks.sliding_window_view(canvas, (3, 3)).reshape(-1, 3, 3):
        if (window >= 0).any():
            key = min(window.tobytes(), window[:, ::-1].tobytes())
            yield _short(key)


@functools.lru_cache(1 << 16)
def _short(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=6).hexdigest()
