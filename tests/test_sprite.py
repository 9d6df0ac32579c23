"""Sprites and icons: every pixel comes back, what a grammar admits can be drawn, variants are the same picture."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import ConfigError, DataError
from cupola.media import picture, rows
from cupola.media.base import Pins
from cupola.media.labels import Labels
from cupola.media.sprite import Sprite, SpriteOptions
from cupola.sources import Source, SourceError, fetch

RED, BLUE, GREY = (200, 30, 30), (30, 30, 200), (90, 90, 90)
FACE = ["..rr..", ".rbbr.", "rbrrbr", "rrrrrr", ".r..r.", "......"]


def drawn(lines=FACE) -> np.ndarray:
    colours = {".": (0, 0, 0, 0), "r": (*RED, 255), "b": (*BLUE, 255), "g": (*GREY, 255)}
    return np.array([[colours[c] for c in line] for line in lines], np.uint8)


def folder(tmp_path, **pictures):
    for name, lines in pictures.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save_png(drawn(lines), path.with_suffix(".png"))
    return sorted(tmp_path.rglob("*.png"))


def fit(files, name="sprite", **options) -> Sprite:
    return Sprite(name).fit(files, SpriteOptions(**options), lambda group: False)


def texts(medium, files) -> list[str]:
    return [d.text for path in files for d in medium.read(path)]


@st.composite
def canvases(draw, high=8):
    h, w = draw(st.integers(3, high)), draw(st.integers(3, high))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    index = rng.integers(-1, 4, (h, w)).astype(np.int8)
    index[h // 2, w // 2] = 0
    return index


def medium_of(*sizes, name="sprite") -> Sprite:
    made = Sprite(name)
    made.sizes = sizes
    return made


# --- rows ---


@given(canvases())
@settings(deadline=None, max_examples=50)
def test_rows_say_every_pixel(index):
    assert (rows.index_of(rows.text_of(index), index.shape[1], index.shape[0]) == index).all()


def test_rows_that_are_too_short_or_long_or_odd_are_made_to_fit():
    assert rows.index_of("b? bbbb", 3, 3).tolist() == [[0, -1, -1], [0, 0, 0], [-1, -1, -1]]


@given(canvases(), st.integers(0, 200))
@settings(deadline=None, max_examples=50)
def test_what_follows_begun_rows_completes_them(index, at):
    body = rows.text_of(index)
    given_ = body[: at % (len(body) + 1)]
    grammar = rows.rest_of_rows(given_, index.shape[1], index.shape[0])
    left = index.shape[1] * index.shape[0] - len(given_.replace(" ", ""))
    counted = sum(int(n) for n in __import__("re").findall(r"^c\{(\d+)\}", grammar))
    more = __import__("re").search(r"c\{(\d+)\}\)\{(\d+)\}", grammar)
    assert counted + (int(more[1]) * int(more[2]) if more else 0) == left


# --- reading and writing ---


def test_a_sprite_is_its_rows_and_comes_back_pixel_for_pixel(tmp_path):
    files = folder(tmp_path, face=FACE)
    medium = fit(files)
    (document,) = medium.read(files[0])
    assert document.text == "sprite\naabbaa abccba bcbbcb bbbbbb abaaba aaaaaa\n"
    (path,) = medium.write(document.text, tmp_path / "out 🎈")
    assert (picture.open_frames(path).pictures[0] == drawn()).all()
    assert texts(medium, [path]) == [document.text]
    assert medium.promise(files[0]).figures == {"pictures": 1, "identical": 1, "alpha_thresholded": 0}
    assert medium.title(document.text) == "sprite, 6 x 6, 2 colours"


def test_folders_are_labels_and_a_label_is_a_prompt(tmp_path):
    other = [line.replace("r", "g") for line in FACE]
    files = folder(tmp_path, **{f"monsters__m{i}": FACE if i % 2 else other for i in range(4)}, **{f"items__i{i}": FACE for i in range(3)})
    medium = fit(files)
    assert medium.labels.known == ("items", "monsters")
    assert medium.head("Monsters") == "sprite monsters\n"
    assert {t.partition("\n")[0] for t in texts(medium, files)} == {"sprite monsters", "sprite items"}
    with pytest.raises(ConfigError, match="no sprite is labelled 'dragon'\n  there are: items, monsters"):
        medium.head("dragon")


def test_a_smaller_picture_stands_at_the_bottom_of_the_smallest_size_that_holds_it(tmp_path):
    wide = [line * 2 for line in FACE]
    files = folder(tmp_path, **{f"a{i}": FACE for i in range(3)}, b=["rr", "rr"], **{f"c{i}": wide for i in range(2)})
    medium = fit(files)
    assert medium.sizes == ((6, 6), (12, 6), (2, 2))
    medium.sizes = medium.sizes[:2]
    assert texts(medium, [p for p in files if p.stem == "b"]) == ["sprite a\naaaaaa aaaaaa aaaaaa aaaaaa aabbaa aabbaa\n"]
    wide = texts(medium, [p for p in files if p.stem == "c0"])[0]
    assert wide.startswith("sprite b\n")
    with pytest.raises(DataError, match="16 x 1 pixels, larger than the sizes that this corpus keeps"):
        list(medium.read(next(p for p in folder(tmp_path, big=["r" * 16]) if p.stem == "big")))


def test_an_icon_has_one_ink_and_says_which(tmp_path):
    files = folder(tmp_path, key=["rr..", ".r..", ".rrr"], lock=["bbbb", "b..b", "bbbb"])
    medium = fit(files, "icon")
    key = texts(medium, [files[0]])[0]
    assert key.split("\n")[1] == "bbaa abaa abbb"
    assert key.startswith("icon ink ")
    (path,) = medium.write(key, tmp_path / "out")
    assert (picture.open_frames(path).pictures[0] == drawn(["rr..", ".r..", ".rrr"])).all()
    blue = key.replace(f"ink {key[9]}", f"ink {'bc'.replace(key[9], '')}")
    assert medium.distance(key, blue) == 0.0  # the ink does not count


def test_a_background_that_fills_an_opaque_corpus_is_blank(tmp_path):
    image = drawn()
    image[image[..., 3] == 0] = (0, 0, 0, 255)
    picture.save_png(image, tmp_path / "a.png")
    medium = fit([tmp_path / "a.png"])
    assert medium.background == "000000"
    assert texts(medium, [tmp_path / "a.png"]) == ["sprite\naabbaa abccba bcbbcb bbbbbb abaaba aaaaaa\n"]
    assert "a" not in texts(fit([tmp_path / "a.png"], background="none"), [tmp_path / "a.png"])[0].partition("\n")[2]
    with pytest.raises(ConfigError, match="no colour 'sky'"):
        fit([tmp_path / "a.png"], background="sky")


def sheet_of(tmp_path, pictures, columns=3, name="sheet.png"):
    image, places = picture.sheet(pictures, columns)
    picture.save_png(image, tmp_path / name)
    return tmp_path / name, places


def test_a_sheet_is_cut_by_its_json_its_grid_or_what_shows(tmp_path):
    inked = [np.kron(drawn(), np.ones((3, 3, 1), np.uint8)) for _ in range(16)]  # 18 x 18, blank at the bottom
    for i, image in enumerate(inked):
        image[0, 6 + i % 4] = (i * 9, 0, 0, 255)
    path, places = sheet_of(tmp_path, inked, 4)
    with pytest.raises(DataError, match=r"72 x 72 pixels: a sheet, and its grid does not show\n  say it in \[models.NAME.notation\]"):
        fit([path])
    by_grid = texts(fit([path], tile=(18, 18), colours=50), [path])
    assert len(by_grid) == 16
    listed = [picture.Cell(c.x, c.y, c.w, c.h, "", f"f{i}") for i, c in enumerate(places)]
    path.with_suffix(".json").write_text(picture.aseprite("sheet.png", (72, 72), listed, [("walk", 0, 7), ("die", 8, 15)]))
    by_json = fit([path], colours=50)
    assert by_json.labels.known == ("die", "walk")
    assert len(texts(by_json, [path])) == 16


def test_what_is_collected_is_read_back_as_the_same_set(tmp_path):
    files = folder(tmp_path, **{f"monsters__m{i}": [*FACE[:-1], "." * i + "r" + "." * (5 - i)] for i in range(5)}, items__x=FACE)
    medium = fit(files)
    made = texts(medium, files)
    png, json_, tsj = medium.collect(made, tmp_path / "set")
    assert {p.suffix for p in (png, json_, tsj)} == {".png", ".json", ".tsj"}
    assert json.loads(json_.read_text())["meta"]["image"] == "set.png"
    assert json.loads(tsj.read_text())["tilecount"] == 6
    bodies = lambda some: sorted(t.partition("\n")[2] for t in some)  # noqa: E731
    assert bodies(texts(medium, [png])) == bodies(made)


@pytest.mark.parametrize(
    ("make", "options", "what"),
    [
        (lambda p: picture.save_png(drawn(["r" * 70] * 70), p), {"tile": (16, 16)}, "cells of 16.* do not fill: 6 are left"),
        (lambda p: p.write_bytes(b"GIF89a????"), {}, "damaged or cut off|not a picture"),
        (lambda p: picture.save_png(drawn(["...", "..."]), p), {}, "nothing in it but blank"),
    ],
)
def test_bad_files_are_named_with_what_to_do(tmp_path, make, options, what):
    make(tmp_path / "a b 🎈.png")
    good = folder(tmp_path, good=FACE)
    medium = fit([p for p in good if p.stem == "good"], **options) if "tile" not in options else Sprite()
    medium.grid = SpriteOptions(**options)
    with pytest.raises(DataError, match=what) as e:
        list(medium.read(tmp_path / "a b 🎈.png"))
    assert "a b 🎈.png" in str(e.value)


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_being_fitted(tmp_path):
    files = folder(tmp_path, good=FACE)
    (tmp_path / "bad.png").write_bytes(b"no")
    assert fit([tmp_path / "bad.png", *files]).sizes == ((6, 6),)
    with pytest.raises(DataError, match="not a picture"):
        fit([tmp_path / "bad.png"])


# --- notation ---


@given(canvases(), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_variants_are_the_same_picture(index, seed):
    medium = medium_of((index.shape[1], index.shape[0]))
    text = medium._print(index, 0, "")
    assert medium.syntax(text) == []
    for variant in medium.variants(text):
        assert variant != text
        assert medium.syntax(variant) == []
        assert medium.distance(text, variant) == 0.0
        assert medium.shingles(variant) == medium.shingles(text)


@given(canvases(), canvases())
@settings(deadline=None, max_examples=40)
def test_distance_is_symmetric_between_0_and_1(a, b):
    medium = medium_of((a.shape[1], a.shape[0]), (b.shape[1], b.shape[0]))
    x, y = medium._print(a, 0, ""), medium._print(b, 1, "")
    assert 0 <= medium.distance(x, y) <= 1
    assert medium.distance(x, y) == pytest.approx(medium.distance(y, x))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sprite\nbb bb\n", "row 1 has 2 pixels"),
        ("sprite\nbbb bbb bbb\n", "3 rows"),
        ("sprite\nbbb bZb\n", "no colour 'Z' in row 2"),
        ("sprite moon\nbbb bbb\n", "no label 'moon'"),
        ("icon\nbbb bbb\n", "no line that begins with 'sprite'"),
        ("sprite\nbbb bbb", "no new line at the end"),
    ],
)
def test_syntax_says_what_is_wrong(text, what):
    problems = medium_of((3, 2)).syntax(text)
    assert [what in p.what for p in problems] == [True]


def test_flaws_are_emptiness_and_scattered_ink():
    medium = medium_of((8, 8))
    dots = np.full((8, 8), -1, np.int8)
    assert "nearly nothing" in medium.check(medium._print(dots, 0, ""))[0].what
    dots[[0, 0, 7, 7], [0, 7, 0, 7]] = 0
    assert "scattered: its largest part has 25%" in medium.check(medium._print(dots, 0, ""))[0].what


def test_prompts_may_end_anywhere_and_impossible_ones_are_refused():
    medium = medium_of((3, 2))
    for prompt in ("", "spr", "sprite", "sprite\n", "sprite\nb", "sprite\nbbb", "sprite\nbbb b", "sprite\nbbb bbb\n"):
        assert "root ::=" in medium.grammar(Pins(prompt=prompt))
    assert medium.grammar(Pins(prompt="sprite\nbbb b")).startswith('root ::= c{2} "\\n"')
    for prompt in ("level", "sprite\nbbbb", "sprite\nb?"):
        with pytest.raises(ConfigError, match="no sprite begins with"):
            medium.grammar(Pins(prompt=prompt))


def test_a_region_is_the_cells_of_its_rows():
    medium = medium_of((3, 2))
    text, spans = medium.region("sprite\nabc bca\n", (1, 2), (2, 3))
    assert [text[a:b] for a, b in spans] == ["bc", "ca"]
    assert medium.filling(text, *spans[0]).startswith("root ::= c{2}")
    assert medium.filling(text, 7, 14).startswith('root ::= c{3} " " c{3}')
    with pytest.raises(DataError, match="no columns 2 to 4: it has 3"):
        medium.region(text, (1, 1), (2, 4))


# --- the real corpora ---


def source(text: str, *include: str, **more):
    try:
        return fetch(Source(source=text, licence="CC0-1.0", include=include, **more), cache(), cache())
    except SourceError as e:
        pytest.skip(str(e))


def cache():
    import tempfile
    from pathlib import Path

    folder_ = Path(os.environ.get("CUPOLA_TEST_CACHE", Path(tempfile.gettempdir()) / "cupola-test-cache"))
    folder_.mkdir(exist_ok=True)
    return folder_


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share", "psnr"), [("sprite", 0.4, 22), ("icon", 0.4, 22)])
def test_a_thousand_real_sprites_keep_their_promise(name, share, psnr, tmp_path):
    local = source("pypi:urizen==0.2.5", "urizen/data/tilesets/*/colored.*")
    files = [p for p in local.files if p.suffix == ".png" and "fonts" not in str(p)]
    medium = fit(files, name, colours=50)
    made = texts(medium, files)
    assert len(set(made)) > 950
    assert np.mean([not medium.check(t) for t in made]) > 0.97
    assert np.mean([medium.promise(p).figures["identical"] for p in files]) > share
    assert np.median([medium.promise(p).figures["psnr"] for p in files]) > psnr
    assert "actor enemy" in medium.labels.known
    (path,) = medium.write(made[7], tmp_path / "a")
    assert texts(medium, [path])[0].partition("\n")[2] == made[7].partition("\n")[2]


# --- prompts, settings and promises that are exact ---


@pytest.mark.parametrize("name", ["sprite", "icon"])
def test_a_prompt_may_end_at_any_letter_of_a_piece(name):
    medium = medium_of((3, 2), (4, 2), name=name)
    medium.labels = Labels("own", ("ink", "key"))
    for label in ("", "ink", "key"):
        index = np.array([[0, -1, 0, 0], [0, 0, -1, 0]], np.int8)
        text = medium._print(index, 1, label)
        assert medium.syntax(text) == []
        for end in range(len(text) + 1):
            assert medium.grammar(Pins(prompt=text[:end])).startswith("root ::= ")


@pytest.mark.parametrize("prompt", ["sprite moon\n", "sprite key x\n", "sprite key\nbb\n", "sprite key\nbbb\n", "sprite key\nbbb bb\n"])
def test_a_prompt_that_no_whole_piece_begins_with_is_refused(prompt):
    medium = medium_of((3, 2))
    medium.labels = Labels("own", ("key",))
    with pytest.raises(ConfigError, match="no sprite begins with"):
        medium.grammar(Pins(prompt=prompt))


@pytest.mark.parametrize("prompt", ["icon ink Z", "icon ink bb", "icon\nbbb", "icon moon ink b\n"])
def test_an_icon_without_an_ink_of_the_palette_is_refused(prompt):
    with pytest.raises(ConfigError, match=r"no icon begins with .*\n  such as 'icon ink b"):
        medium_of((3, 2), name="icon").grammar(Pins(prompt=prompt))


@pytest.mark.parametrize("side", [5, 6, 7, 9, 18])
def test_tiles_of_any_side_are_as_far_apart_in_either_order(side):
    medium, rng = medium_of((side, side)), np.random.default_rng(side)
    a, b = (medium._print(rng.integers(0, 3, (side, side)).astype(np.int8), 0, "") for _ in "ab")
    assert medium.distance(a, b) == medium.distance(b, a)
    assert {medium.distance(x, y) for v in medium.variants(a) for x, y in ((a, v), (v, a))} == {0.0}


@pytest.mark.parametrize(
    "damaged",
    [{"sizes": []}, {"sizes": [[0, 4]]}, {"sizes": [[4, 999]]}, {"palette": []}, {"background": "sky"}, {"sheet": {"tile": [0, 0]}}],
)
def test_damaged_settings_are_refused(damaged):
    with pytest.raises(DataError, match="no settings of sprites"):
        Sprite().restore(Sprite().settings() | damaged)


def test_an_icons_promise_counts_what_its_one_ink_loses(tmp_path):
    two = ["rrrr", "rbbr", "rrrr"]
    files = folder(tmp_path, a=two, b=[line.translate(str.maketrans("rb", "br")) for line in two])
    medium = fit(files, "icon", background="none")
    figures = medium.promise(files[0]).figures
    assert figures["identical"] == 0
    there = picture.open_frames(medium.write(texts(medium, files[:1])[0], tmp_path / "out")[0]).pictures[0]
    error = ((there[..., :3].astype(float) - drawn(two)[..., :3]) ** 2).mean()
    assert figures["psnr"] == pytest.approx(10 * np.log10(255**2 / error))


def test_a_large_single_picture_is_told_how_large_it_may_be(tmp_path):
    with pytest.raises(DataError, match="a single sprite has at most 64 pixels on a side"):
        fit(folder(tmp_path, big=["r" * 97] * 97))
