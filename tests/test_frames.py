"""Frames out of files: what a folder, a sheet or an archive holds is gathered whole, in order, and bad files are named."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest

from cupola.errors import DataError
from cupola.media import frames, picture
from cupola.media.frames import Grid

RED, BLUE = (200, 40, 40, 255), (40, 40, 200, 255)


def block(size=6, at=0, colour=RED) -> np.ndarray:
    """A block with a foot at `at`."""
    out = np.zeros((size, size, 4), np.uint8)
    out[: size - 1] = colour
    out[size - 1, at] = colour
    return out


def found(path, grid=None, most=8) -> list[frames.Clip]:
    return list(frames.clips(path, grid or Grid(), most))


def numbered(folder, names, sizes=(6, 6, 6)):
    return [picture.save_png(block(s, i), folder / n) for i, (n, s) in enumerate(zip(names, sizes, strict=True))]


def png(array) -> bytes:
    out = io.BytesIO()
    picture.pillow().fromarray(array, "RGBA").save(out, "PNG")
    return out.getvalue()


def archive(path, parts):
    path.write_bytes(b"".join(b"IMAGE %d %s\n" % (len(data), name.encode()) + data for name, data in parts))
    return path


def sprite(pixels, left, top) -> bytes:
    """A picture of Doom's of one post a column."""
    h, w = len(pixels), len(pixels[0])
    columns = [bytes([0, h, 0, *[pixels[y][x] for y in range(h)], 0, 255]) for x in range(w)]
    starts = [8 + 4 * w + sum(map(len, columns[:x])) for x in range(w)]
    return struct.pack("<HHhh", w, h, left, top) + struct.pack(f"<{w}I", *starts) + b"".join(columns)


def wad(path, sprites):
    lumps = [("PLAYPAL", bytes(range(256)) * 3), ("S_START", b""), *sprites, ("S_END", b"")]
    data, entries, at = b"", b"", 12
    for name, lump in lumps:
        entries += struct.pack("<ii8s", at + len(data), len(lump), name.encode())
        data += lump
    path.write_bytes(b"PWAD" + struct.pack("<ii", len(lumps), 12 + len(data)) + data + entries)
    return path


# --- animations


@pytest.mark.parametrize("save", [picture.save_gif, picture.save_apng, picture.save_webp])
def test_an_animation_gives_its_frames_and_times(tmp_path, save):
    suffix = {picture.save_gif: ".gif", picture.save_apng: ".png", picture.save_webp: ".webp"}[save]
    pictures = [block(at=i) for i in (0, 2, 4)]
    (clip,) = found(save(pictures, [50, 300, 120], tmp_path / f"walk{suffix}"))
    assert clip.durations == [50, 300, 120]
    assert all((a == b).all() for a, b in zip(clip.pictures, pictures, strict=True))
    assert (clip.group, clip.name) == (f"walk{suffix}", "walk")


def test_a_time_of_zero_is_a_tenth_of_a_second_as_browsers_have_it(tmp_path):
    (clip,) = found(picture.save_gif([block(at=0), block(at=3)], [0, 0], tmp_path / "a.gif"))
    assert clip.durations == [100, 100]


def test_a_frame_that_repeats_the_one_before_is_held_longer(tmp_path):
    paths = numbered(tmp_path, ["a1.png", "a2.png", "a3.png"])
    picture.save_png(block(6, 0), paths[1])
    (clip,) = found(paths[0])
    assert clip.durations == [240, 120]


def test_one_frame_is_no_clip_in_a_gif_and_in_a_picture(tmp_path):
    with pytest.raises(DataError, match="one frame is no clip") as e:
        found(picture.save_gif([block()], [100], tmp_path / "still.gif"))
    assert str(e.value).startswith(str(tmp_path / "still.gif"))
    with pytest.raises(DataError, match=r"one frame is no clip\n  number the pictures of a clip \(walk_1.png"):
        found(picture.save_png(block(), tmp_path / "still.png"))


def test_a_gif_that_is_cut_off_is_named_with_its_frame(tmp_path):
    path = picture.save_gif(
        [np.random.default_rng(i).integers(0, 256, (40, 40, 4), np.uint8) for i in range(4)], [100] * 4, tmp_path / "a.gif"
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(DataError, match="damaged or cut off") as e:
        found(path)
    assert "a.gif" in str(e.value)


def test_ten_thousand_frames_are_refused_by_the_limit_that_is_named(tmp_path):
    path = tmp_path / "long.gif"
    frame = b"\x21\xf9\x04\x00\x0a\x00\x00\x00" + b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00"
    path.write_bytes(b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00" + frame * 10_000 + b";")
    with pytest.raises(DataError, match="10,000 frames, more than the 4,096 that are read"):
        found(path)


def test_a_huge_canvas_is_refused_before_it_is_drawn(tmp_path):
    path = tmp_path / "huge.gif"
    head = b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + b"\x80\x00\x00\xff\xff\xff\x00\x00\x00"
    path.write_bytes(head + b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00;")
    with pytest.raises(DataError, match="more than 67,108,864 pixels"):
        found(path)


# --- numbered pictures


def test_numbered_pictures_come_with_the_first_of_them_and_gaps_do_not_matter(tmp_path):
    paths = numbered(tmp_path, ["walk_2.png", "walk_10.png", "walk_31.png"])
    (clip,) = found(paths[0])
    assert [int(np.flatnonzero(p[5, :, 3])[0]) for p in clip.pictures] == [0, 1, 2]  # by number: 2 goes before 10
    assert (clip.group, clip.name) == ("walk_2.png", "walk")
    assert found(paths[1]) == found(paths[2]) == []


def test_two_sequences_in_a_folder_are_two_clips(tmp_path):
    names = ["a 1.png", "a 2.png", "b-1.png", "b-2.png"]
    paths = numbered(tmp_path, names, (6,) * 4)
    assert [[c.name for c in found(p)] for p in paths] == [["a"], [], ["b"], []]


def test_a_picture_added_later_is_seen(tmp_path):
    paths = numbered(tmp_path, ["w1.png", "w2.png", "w4.png"])
    assert len(found(paths[0])[0].pictures) == 3
    picture.save_png(block(6, 5), tmp_path / "w3.png")
    assert len(found(paths[0])[0].pictures) == 4


def test_pictures_of_different_sizes_stand_on_the_bottoms_middle_of_a_common_box(tmp_path):
    (clip,) = found(numbered(tmp_path, ["a1.png", "a2.png", "a3.png"], (4, 6, 8))[0])
    assert {p.shape for p in clip.pictures} == {(8, 8, 4)}
    assert (clip.pictures[0][4:, 2:6] == block(4, 0)).all()


def test_a_damaged_picture_of_a_sequence_is_named_itself(tmp_path):
    paths = numbered(tmp_path, ["a1.png", "a2.png", "a3.png"])
    paths[1].write_bytes(paths[1].read_bytes()[:40])
    with pytest.raises(DataError) as e:
        found(paths[0])
    assert str(e.value).startswith(str(paths[1]))


def test_more_numbered_pictures_than_are_read_are_an_error_and_not_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "MOST_FRAMES", 2)
    with pytest.raises(DataError, match="3 numbered pictures, more than the 2 frames that are read"):
        found(numbered(tmp_path, ["a1.png", "a2.png", "a3.png"])[0])


# --- sheets


def sheet(path, grid):
    picture.save_png(np.concatenate([np.concatenate(row, 1) for row in grid]), path)
    return path


def listing(path, listed, tags=(), **more):
    path.with_suffix(".json").write_text(picture.aseprite(path.name, (12, 6), listed, tags) if not more else json.dumps(more), "utf-8")
    return path


def test_a_sheet_is_a_clip_a_row_without_its_blank_cells(tmp_path):
    blank = np.zeros((6, 6, 4), np.uint8)
    path = sheet(tmp_path / "s1.png", [[block(at=0), block(at=1), blank], [block(at=2), block(at=3), block(at=4)], [blank] * 3])
    sheet(tmp_path / "s2.png", [[block(at=0)] * 3])  # a number in its name makes no frame of a sheet whose grid is said
    clips = found(path, Grid((6, 6)))
    assert [len(c.pictures) for c in clips] == [2, 3]
    assert [c.group for c in clips] == ["s1.png 1", "s1.png 2"]


def test_a_grid_that_does_not_divide_is_named_with_what_is_left(tmp_path):
    path = sheet(tmp_path / "s.png", [[block(), block(at=1)]])
    with pytest.raises(DataError, match="12 pixels wide, which cells of 5, a margin of 0 and a spacing of 0 do not fill: 2 are left"):
        found(path, Grid((5, 6)))


def test_aseprites_tags_are_clips_and_labels_and_its_times_are_kept(tmp_path):
    path = sheet(tmp_path / "s.png", [[block(at=i) for i in range(5)]])
    listed = [picture.Cell(6 * i, 0, 6, 6, name=str(i), duration=70 + i) for i in range(5)]
    walk, run = found(listing(path, listed, [("walk", 0, 1), ("run", 2, 3)]))  # frame 4 has no tag
    assert (walk.label, walk.durations, run.label, run.durations) == ("walk", [70, 71], "run", [72, 73])


def test_trimmed_frames_stand_where_they_stood(tmp_path):
    path = sheet(tmp_path / "s.png", [[block(), block(at=1)]])
    facts = json.loads(picture.aseprite("s.png", (12, 6), [picture.Cell(0, 0, 6, 6), picture.Cell(6, 0, 6, 6)], []))
    for x, frame in enumerate(facts["frames"]):
        frame |= {"trimmed": True, "spriteSourceSize": {"x": x, "y": 1, "w": 6, "h": 6}, "sourceSize": {"w": 8, "h": 8}}
    (clip,) = found(listing(path, [], **facts))
    assert [(clip.pictures[x][1:7, x : x + 6] == block(at=x)).all() for x in (0, 1)] == [True, True]
    facts["frames"][0]["spriteSourceSize"]["x"] = 5
    with pytest.raises(DataError, match="trimmed frame what cannot be"):
        found(listing(path, [], **facts))


def test_a_json_that_points_outside_its_sheet_is_an_error(tmp_path):
    path = sheet(tmp_path / "s.png", [[block(), block(at=1)]])
    with pytest.raises(DataError, match="names a frame at 10, 0 of 6 x 6, outside of its 12 x 6 pixels"):
        found(listing(path, [picture.Cell(0, 0, 6, 6), picture.Cell(10, 0, 6, 6)]))


def test_a_tileset_is_a_sheet_and_its_classes_are_no_clips(tmp_path):
    path = sheet(tmp_path / "s.png", [[block(at=0), block(at=1)], [block(at=2), block(at=3)]])
    tiles = [{"id": i, "type": "floor"} for i in range(4)]
    listing(path, [], tilewidth=6, tileheight=6, imagewidth=12, imageheight=12, tiles=tiles)
    assert [len(c.pictures) for c in found(path)] == [2, 2]


# --- archives


def test_a_wads_frames_are_gathered_by_name_and_side_and_do_not_jitter(tmp_path):
    dot = [[1, 2, 3]]
    lumps = [(f"TROO{f}{n}", sprite(dot, 5 - i, 1 + i)) for i, f in enumerate("ABC") for n in ("1", "2")]
    clips = found(wad(tmp_path / "a.wad", lumps))
    assert [(c.group, c.label, c.name, len(c.pictures)) for c in clips] == [("sprite TROO", "monster", "troo", 3)] * 2
    first = [tuple(np.argwhere(p[..., 3])[0].tolist()) for p in clips[0].pictures]  # (row, column) of its first pixel
    assert first == [(2, 0), (1, 1), (0, 2)]  # each a pixel further right and up, as its offsets say


def test_two_frames_of_a_wad_are_two_states_and_no_clip(tmp_path):
    assert found(wad(tmp_path / "a.wad", [(f"COLU{f}0", sprite([[1]], 0, 0)) for f in "AB"])) == []


def test_offsets_that_would_take_gigabytes_are_passed_over(tmp_path):
    lumps = [(f"TROO{f}1", sprite([[1]], x, x)) for f, x in zip("ABC", (-32_000, 0, 32_000), strict=True)]
    assert found(wad(tmp_path / "a.wad", lumps)) == []


def test_an_archive_of_crossfires_is_clips_by_stem_and_facing(tmp_path):
    goblin = [(f"./arch/monster/goblin/goblin.1{f}{n}", png(block(at=n))) for f in (1, 5) for n in (3, 1, 2)]
    path = archive(tmp_path / "crossfire.base", [*goblin, ("arch/x/y.111", png(block())), ("help/logo", png(block()))])
    clips = found(path)
    assert [(c.label, c.name, len(c.pictures)) for c in clips] == [("monster", "goblin", 3)] * 2
    assert len({c.group for c in clips}) == 1
    assert [int(np.flatnonzero(p[5, :, 3])[0]) for p in clips[0].pictures] == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"nonsense\n", "byte 0 begins no picture"),
        (b"IMAGE 20 arch/x.111\nshort", "cut off in the picture arch/x.111, at byte 20"),
        (b"IMAGE 5 arch/x/y.111\nshort", "arch/x/y.111: not a picture, or damaged"),
    ],
)
def test_a_damaged_archive_is_named_with_its_place(tmp_path, data, what):
    path = tmp_path / "crossfire.base"
    path.write_bytes(data)
    with pytest.raises(DataError, match=what):
        found(path)


# --- one form


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(4, 4, [4]), (5, 4, [3, 2]), (7, 4, [4, 3]), (9, 4, [4, 3, 2]), (3, 2, [2]), (4, 3, [2, 2])]
)
def test_long_clips_are_cut_so_that_hardly_a_frame_is_lost(count, most, sizes):
    clip = frames.Clip([block(at=0)] * count, list(range(count)), "g", name="n")
    parts = list(frames.cut(clip, most))
    assert [len(p.pictures) for p in parts] == sizes
    assert [d for p in parts for d in p.durations] == list(range(sum(sizes)))


def test_what_fits_stays_as_it_is_and_the_rest_is_trimmed_and_made_smaller_by_a_whole_factor():
    small = frames.Clip([block(8)], [1], "g")
    assert frames.fitted(small, 8) is small
    wide = np.zeros((40, 40, 4), np.uint8)
    wide[3:19, 5:21] = BLUE
    clip = frames.fitted(frames.Clip([wide], [1], "g"), 16)
    assert clip is not None
    assert clip.pictures[0].shape == (16, 16, 4)
    clip = frames.fitted(frames.Clip([wide], [1], "g"), 12)
    assert clip is not None
    assert clip.pictures[0].shape == (8, 8, 4)
    assert (clip.pictures[0] == BLUE).all()
    assert frames.fitted(frames.Clip([np.zeros((8, 8, 4), np.uint8)], [1], "g"), 8) is None
