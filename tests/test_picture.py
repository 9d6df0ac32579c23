import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cupola.errors import DataError, MachineError
from cupola.media import picture
from cupola.media.picture import Cell, Palette, cells, guess_grid, open_frames
from cupola.media.text import write_text


def noise(h: int, w: int, colours: int = 6, seed: int = 0, blank: float = 0.3) -> np.ndarray:
    """(h, w, 4) of a few colours with holes."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (colours, 4)).astype(np.uint8)
    table[:, 3] = 255
    out = table[rng.integers(0, colours, (h, w))]
    out[rng.random((h, w)) < blank] = 0
    return out


def test_a_picture_comes_back_pixel_for_pixel(tmp_path):
    image = noise(9, 7)
    path = picture.save_png(image, tmp_path / "a b 🎈.png")
    assert (open_frames(path).pictures[0] == image).all()


@pytest.mark.parametrize("kind", ["gif", "apng", "webp"])
def test_an_animation_comes_back_with_its_times(tmp_path, kind):
    frames = [noise(8, 8, seed=i) for i in range(3)]
    path = getattr(picture, f"save_{kind}")(frames, [100, 50, 240], tmp_path / f"a.{kind}")
    back = open_frames(path)
    assert back.durations == [100, 50, 240]
    for a, b in zip(frames, back.pictures, strict=True):
        assert (a[..., 3] == b[..., 3]).all()
        assert (a[a[..., 3] > 0] == b[a[..., 3] > 0]).all()


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [("L", 200, (200, 200, 200)), ("CMYK", (0, 255, 255, 0), (255, 0, 0)), ("P", 3, None), ("1", 1, (255, 255, 255))],
)
def test_any_kind_of_colour_becomes_rgba(tmp_path, mode, value, wanted):
    image = Image.new(mode, (4, 4), value)
    image.save(tmp_path / "a.png", "TIFF" if mode == "CMYK" else "PNG")  # a TIFF under a PNG's name: what counts is what is in it
    (found,) = open_frames(tmp_path / "a.png").pictures
    assert found.shape == (4, 4, 4)
    assert wanted is None or np.abs(found[0, 0, :3].astype(int) - wanted).max() <= 2


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert open_frames(tmp_path / "a.png").pictures[0][0, :, 0].tolist() == [0, 128, 255]


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds nothing."""
    part = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))  # noqa: E731
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" * 10)) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a picture"),
        (b"GIF89a", "damaged or cut off|not a picture"),
        (b"hello there", "not a picture that can be read"),
        (bomb(9_000, 9_000), r"more than 67,108,864 pixels"),
        (bomb(60_000, 60_000), r"more than 67,108,864 pixels"),
        (bomb(20, 20), "damaged or cut off"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_file(tmp_path, data, what):
    path = tmp_path / "odd 🎈.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=what) as e:
        open_frames(path)
    assert str(path) in str(e.value)


def test_a_torn_png_and_a_torn_gif_say_where(tmp_path):
    whole = picture.save_png(noise(64, 64, 40), tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        open_frames(tmp_path / "a.png")
    whole = picture.save_gif([noise(40, 40, 30, seed=i) for i in range(6)], [100] * 6, tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        open_frames(tmp_path / "a.gif")


def test_too_many_frames_are_refused_by_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "MOST_FRAMES", 3)
    picture.save_gif([noise(4, 4, seed=i) for i in range(5)], [50] * 5, tmp_path / "a.gif")
    with pytest.raises(DataError, match="5 frames, more than the 3 that are read"):
        open_frames(tmp_path / "a.gif")


def test_a_folder_that_is_not_there_is_a_machine_error(tmp_path):
    with pytest.raises(MachineError, match="cannot be written"):
        picture.save_png(noise(4, 4), tmp_path / "no" / "a.png")


# --- palettes ---


@given(st.integers(1, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_a_palette_is_exact_where_the_colours_fit(colours, seed):
    image = noise(10, 10, colours, seed)
    palette = Palette.fit([image], 50)
    assert (palette.rgba(palette.index(image))[image[..., 3] > 0] == image[image[..., 3] > 0]).all()
    assert palette.psnr(image) == float("inf")
    assert (Palette.restore(palette.plain()).colours == palette.colours).all()


def test_too_many_colours_are_put_into_the_nearest_and_the_loss_is_said():
    image = noise(40, 40, 400, blank=0)
    few, more = (Palette.fit([image], n) for n in (8, 32))
    assert (len(few), len(more)) == (8, 32)
    assert 10 < few.psnr(image) < more.psnr(image) < 40
    assert (Palette.fit([image], 8).colours == few.colours).all()  # the same every time


def test_the_commonest_colour_comes_first_and_half_transparent_is_blank():
    image = np.zeros((4, 4, 4), np.uint8)
    image[:3] = (10, 20, 30, 255)
    image[3] = (200, 0, 0, 255)
    image[0, 0, 3] = 127
    palette = Palette.fit([image], 10)
    assert palette.plain() == ["0a141e", "c80000"]
    assert palette.index(image)[0].tolist() == [-1, 0, 0, 0]


def test_oklab_has_the_lightness_that_its_author_gives():
    lab = picture.oklab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8))
    assert lab[:, 0] == pytest.approx([1.0, 0.0, 0.628], abs=1e-3)
    assert (picture.from_oklab(lab) == [[255, 255, 255], [0, 0, 0], [255, 0, 0]]).all()


# --- sheets ---


def test_a_grid_is_cut_row_by_row_and_one_that_does_not_divide_says_the_numbers():
    assert cells(33, 17, (7, 7), 1, 1, "x")[4] == Cell(1, 9, 7, 7)
    with pytest.raises(DataError, match=r"33 pixels wide, which cells of 8, a margin of 0 and a spacing of 0 do not fill: 1 are left"):
        cells(33, 16, (8, 8), 0, 0, "x.png")


def test_a_grid_shows_by_its_empty_lines_or_by_what_its_borders_cut():
    spaced = np.zeros((53, 53, 4), np.uint8)
    for cell in cells(53, 53, (12, 12), 1, 1, "x"):
        spaced[cell.y : cell.y + 12, cell.x : cell.x + 12] = (9, 9, 9, 255)
    assert guess_grid(spaced) == ((12, 12), 1, 1)
    tight = np.zeros((96, 96, 4), np.uint8)
    for cell in cells(96, 96, (16, 16), 0, 0, "x"):
        tight[cell.y + 2 : cell.y + 14, cell.x + 2 : cell.x + 14] = (9, 9, 9, 255)
    assert guess_grid(tight) == ((16, 16), 0, 0)
    assert guess_grid(noise(97, 89, blank=0)) is None


def test_the_json_beside_a_sheet_is_read_back(tmp_path):
    image, places = picture.sheet([noise(8, 8, seed=i) for i in range(5)], 3)
    listed = [Cell(c.x, c.y, c.w, c.h, "", f"f{i}", 80) for i, c in enumerate(places)]
    picture.save_png(image, tmp_path / "s.png")
    write_text(tmp_path / "s.json", picture.aseprite("s.png", (24, 16), listed, [("walk", 0, 2), ("die", 3, 4)]))
    found = picture.beside(tmp_path / "s.png")
    assert [(c.x, c.y, c.label, c.name, c.duration) for c in found[2:4]] == [(16, 0, "walk", "f2", 80), (0, 8, "die", "f3", 80)]
    (tmp_path / "s.json").write_text(picture.tiled("s.png", (24, 16), (8, 8), 5, ["a", "a", "b", "b", "b"]))
    assert [c.label for c in picture.beside(tmp_path / "s.png")] == ["a", "a", "b", "b", "b", ""]


def test_a_damaged_json_beside_a_sheet_is_named(tmp_path):
    picture.save_png(noise(8, 8), tmp_path / "s.png")
    (tmp_path / "s.json").write_text('{"frames": [{"frame": {"x": 0}}]}')
    with pytest.raises(DataError, match="the JSON beside it is damaged"):
        picture.beside(tmp_path / "s.png")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        picture.beside(tmp_path / "s.png")
    (tmp_path / "s.json").write_text(json.dumps({"other": 1}))
    assert picture.beside(tmp_path / "s.png") is None


def test_smaller_by_a_whole_factor_keeps_the_colour_and_fills_up_with_blank():
    image = np.zeros((5, 4, 4), np.uint8)
    image[:] = (100, 50, 20, 255)
    out = picture.smaller(image, 2)
    assert out.shape == (3, 2, 4)
    assert out[0, 0].tolist() == [100, 50, 20, 128]
    assert out[2, 1].tolist() == [100, 50, 20, 255]


# --- hostile and unusual files ---


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ('{"frames": [{"frame": {"x": 1e999, "y": 0, "w": 1, "h": 1}}]}', "the JSON beside it is damaged"),
        ('{"tilewidth": 8, "tileheight": 8, "imagewidth": 16, "imageheight": 16, "spacing": -8}', "tiles of 8 x 8, margin 0, spacing -8"),
        ('{"tilewidth": 1, "tileheight": 1, "imagewidth": 1000000000, "imageheight": 9}', "9,000,000,000 cells, more than the 1,048,576"),
    ],
)
def test_a_json_that_lies_is_refused_at_once(tmp_path, facts, what):
    (tmp_path / "s.json").write_text(facts)
    with pytest.raises(DataError, match=what) as e:
        picture.beside(tmp_path / "s.png")
    assert "s.png" in str(e.value)


def test_what_tiled_leaves_over_at_the_right_is_no_cell(tmp_path):
    facts = {"tilewidth": 8, "tileheight": 8, "imagewidth": 19, "imageheight": 18, "spacing": 1}
    (tmp_path / "s.json").write_text(json.dumps(facts))
    assert [(c.x, c.y) for c in picture.beside(tmp_path / "s.png")] == [(0, 0), (9, 0), (0, 9), (9, 9)]


def test_postscript_under_a_pictures_name_is_not_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match="not a picture that can be read"):
        open_frames(tmp_path / "a.png")


def test_sixteen_bits_stay_dark_and_keep_their_clear_value(tmp_path):
    Image.fromarray(np.array([[200, 100]], np.uint16)).save(tmp_path / "a.png", transparency=100)
    assert open_frames(tmp_path / "a.png").pictures[0][0].tolist() == [[1, 1, 1, 255], [0, 0, 0, 0]]


def test_one_large_sprite_is_no_sheet():
    body = np.zeros((96, 96, 4), np.uint8)
    body[30:, 20:76] = (9, 9, 9, 255)
    lying = np.zeros((96, 96, 4), np.uint8)
    lying[82:, 10:86] = (9, 9, 9, 255)
    assert [guess_grid(p) for p in (body, lying, np.full((96, 96, 4), 255, np.uint8))] == [None] * 3
