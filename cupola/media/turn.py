"""A mesh as a turning picture: a z-buffer in NumPy, no graphics card.

Each triangle is one flat colour by how it stands to a lamp at the viewer's left shoulder, in ten steps, so that the 255 colours of a GIF
hold every frame exactly, with 24 colours too; the back of a triangle is lit like its front. Behind the mesh the picture is transparent.

Worked example: of a cube that has turned by an eighth one sees two sides, one light and one dark, and the lid, lighter than both.
"""

from __future__ import annotations

import numpy as np

FRAMES = 24
SIZE = 128
MILLISECONDS = 80  # a frame: a turn takes two seconds
CLAY = (214, 150, 92)  # of a mesh without colours: stands out on white and on black
_TILT = np.radians(24)  # the camera looks down
_FILL = 0.94  # of the picture, by the widest that the mesh gets while turning
_LAMP = np.array([-0.4, 0.65, 0.65]) / np.linalg.norm([-0.4, 0.65, 0.65])
_SHADES = 10
_DARK = 0.45  # what is turned away keeps this share of its colour


def frames(vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, count: int = FRAMES, size: int = SIZE) -> list[np.ndarray]:
    """`count` pictures (size, size, 4) of uint8 RGBA: one turn about the up axis.

    vertices: (N, 3), y up. faces: (F, 3). colours: (F, 3) uint8. Alpha is 0 or 255.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    low, high = corners.min((0, 1)), corners.max((0, 1))
    corners = corners - (low + high) / 2
    round_about = np.hypot(corners[..., 0], corners[..., 2]).max()
    tall = np.abs(corners[..., 1]).max() * np.cos(_TILT) + round_about * np.sin(_TILT)
    corners = corners * (size * _FILL / 2 / max(round_about, tall, 1e-9))
    return [_frame(_seen(corners, 2 * np.pi * i / count + np.pi / 6), colours, size) for i in range(count)]


def _seen(corners: np.ndarray, angle: float) -> np.ndarray:
    """(F, 3 corners, 3): right, up and towards the viewer, after a turn by `angle` and the camera's tilt."""
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    x, z = x * np.cos(angle) + z * np.sin(angle), z * np.cos(angle) - x * np.sin(angle)
    return np.stack([x, y * np.cos(_TILT) - z * np.sin(_TILT), z * np.cos(_TILT) + y * np.sin(_TILT)], -1)


def _frame(seen: np.ndarray, colours: np.ndarray, size: int) -> np.ndarray:
    lit = _lit(seen, colours)
    nearest = np.full((size, size), -np.inf)
    which = np.full((size, size), -1, np.int64)
    middle = np.array([size / 2, size / 2])
    for i, (a, b, c) in enumerate(seen * [1, -1, 1]):  # picture rows run down
        _draw(i, a, b, c, middle, nearest, which)
    picture = np.zeros((size, size, 4), np.uint8)
    there = which >= 0
    picture[there, :3] = lit[which[there]]
    picture[there, 3] = 255
    return picture


def _draw(i: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, middle: np.ndarray, nearest: np.ndarray, which: np.ndarray) -> None:
    """Triangle `i` into the buffers, where nothing is nearer yet: those pixels whose middle lies in it."""
    low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)[:2] + middle), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c)[:2] + middle), which.shape[0]).astype(int)
    area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
    if (high <= low).any() or abs(area) < 1e-9:  # seen edge on
        return
    x = np.arange(low[0], high[0]) + (0.5 - middle[0])
    y = (np.arange(low[1], high[1]) + (0.5 - middle[1]))[:, None]
    of_b = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
    of_c = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
    depth = a[2] + of_b * (b[2] - a[2]) + of_c * (c[2] - a[2])
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    front = (of_b >= -1e-9) & (of_c >= -1e-9) & (of_b + of_c <= 1 + 1e-9) & (depth > nearest[part])
    nearest[part][front] = depth[front]
    which[part][front] = i


def _lit(seen: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(F, 3) uint8: each triangle's colour under the lamp."""
    across = np.cross(seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 0])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    across *= np.where(across[:, 2:] < 0, -1, 1)
    light = np.clip(across @ _LAMP, 0, 1)
    light = _DARK + (1 - _DARK) * np.round(light * (_SHADES - 1)) / (_SHADES - 1)
    return (colours * light[:, None]).round().astype(np.uint8)
