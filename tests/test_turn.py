"""The turning picture: what is in front hides what is behind, and what one sees is the mesh."""

from __future__ import annotations

import numpy as np
import pytest

from cupola.media import picture, turn

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SIDES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip


def inks(*colours: tuple[int, int, int], each: int = 12) -> np.ndarray:
    return np.repeat(np.array(colours, np.uint8), each, axis=0)


def test_a_turn_has_the_frames_that_were_asked_for_on_a_transparent_ground():
    frames = turn.frames(CORNERS, SIDES, inks((200, 100, 50)))
    assert len(frames) == 24
    assert {frame.shape for frame in frames} == {(128, 128, 4)}
    assert {int(a) for frame in frames for a in np.unique(frame[..., 3])} == {0, 255}
    assert all(frame[0, :, 3].max() == 0 for frame in frames)


def test_a_cube_looks_the_same_after_every_quarter_turn():
    frames = turn.frames(CORNERS, SIDES, inks((200, 100, 50)), count=8)
    assert (frames[0] != frames[2]).any(2).mean() < 0.02
    assert (frames[0] != frames[1]).any(2).mean() > 0.02


def test_a_cube_shows_three_sides_of_which_the_lid_is_the_lightest():
    frame = turn.frames(CORNERS, SIDES, inks((200, 200, 200)), count=1)[0]
    shades, counts = np.unique(frame[frame[..., 3] > 0][:, 0], return_counts=True)
    assert len(shades[counts > 50]) == 3
    top = frame[:, 64][frame[:, 64, 3] > 0][5]
    assert top[0] == shades.max()


def test_what_is_behind_is_hidden_whichever_comes_first():
    corners = np.concatenate([CORNERS, CORNERS * 0.4 + 0.3])
    sides = np.concatenate([SIDES, SIDES + 8])
    for order in (slice(None), slice(None, None, -1)):
        frames = turn.frames(corners, sides[order], inks((0, 0, 250), (250, 0, 0))[order], count=6)
        assert all((frame[..., 0] == 0).all() for frame in frames)  # the red cube is inside the blue one


def test_a_mesh_fills_its_picture_and_stays_inside_while_it_turns():
    for stretch in ([1, 1, 1], [9, 1, 1], [1, 30, 1], [0.01, 0.01, 0.02]):
        there = np.stack([frame[..., 3] > 0 for frame in turn.frames(CORNERS * stretch, SIDES, inks((9, 9, 9)))])
        assert not there[:, [0, -1]].any()
        assert not there[:, :, [0, -1]].any()
        rows, columns = there.any((0, 2)).sum(), there.any((0, 1)).sum()
        assert max(rows, columns) > 100


def test_triangles_without_area_and_seen_edge_on_are_no_trouble():
    frames = turn.frames(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]]), np.array([[0, 1, 2], [1, 1, 1]]), inks((9, 9, 9), each=2))
    assert all(frame.shape == (128, 128, 4) for frame in frames)


def test_24_colours_in_every_shade_fit_a_gif_exactly(tmp_path):
    pytest.importorskip("PIL")
    rng = np.random.default_rng(0)
    sides = rng.integers(0, 40, (300, 3))
    colours = rng.integers(0, 256, (24, 3))[rng.integers(0, 24, 300)].astype(np.uint8)
    frames = turn.frames(rng.random((40, 3)), sides, colours, count=6)
    assert len(np.unique(np.concatenate(frames).reshape(-1, 4), axis=0)) <= 256
    back = picture.open_frames(picture.save_gif(frames, [turn.MILLISECONDS] * 6, tmp_path / "a.gif"))
    assert back.durations == [turn.MILLISECONDS] * 6
    for made, read in zip(frames, back.pictures, strict=True):
        there = made[..., 3] > 0
        assert (there == (read[..., 3] > 0)).all()
        assert (made[there] == read[there]).all()
