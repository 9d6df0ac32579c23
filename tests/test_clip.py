import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import ConfigError, DataError
from cupola.media import frames, picture
from cupola.media.base import Pins
from cupola.media.clip import Clip, ClipOptions
from cupola.media.picture import Palette


def walker(count: int = 3, size: int = 6, colour=(200, 40, 40)) -> list[np.ndarray]:
    """A block with a foot that steps."""
    out = []
    for i in range(count):
        frame = np.zeros((size, size, 4), np.uint8)
        frame[1 : size - 1, 1 : size - 1] = (*colour, 255)
        frame[size - 1, 1 + i % (size - 2)] = (20, 20, 20, 255)
        out.append(frame)
    return out


def fit(*paths, **options) -> Clip:
    return Clip().fit(list(paths), ClipOptions(**options), lambda group: False)


def texts(medium, path) -> list[str]:
    return [d.text for d in medium.read(path)]


@st.composite
def clips(draw):
    """(medium, text) of any frames on a small canvas."""
    medium = Clip()
    medium.size = (draw(st.integers(2, 6)), draw(st.integers(2, 6)))
    medium.times = (50, 120)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    count = draw(st.integers(2, 5))
    index = rng.integers(-1, 3, (count, medium.size[1], medium.size[0])).astype(np.int8)
    index[:, 0, 0] = 0
    return medium, medium._print(index, rng.integers(0, 2, count).tolist(), "")


# --- gathering frames ---


def test_an_animation_comes_back_frame_by_frame_with_its_times(tmp_path):
    path = picture.save_gif(walker(4), [100, 50, 240, 100], tmp_path / "walk 🎈.gif")
    medium = fit(path)
    (document,) = medium.read(path)
    assert document.text.split("\n")[0] == "clip " + "".join("abc"[medium.times.index(t)] for t in (100, 50, 240, 100))
    for again in medium.write(document.text, tmp_path / "out")[:3]:
        assert texts(medium, again) == [document.text]
    assert medium.promise(path).figures == {"clips": 1, "timing": 1, "identical": 1}
    assert medium.title(document.text) == "clip, 4 frames, 4 x 5, 0.49 s"


def test_numbered_pictures_are_one_clip_that_comes_with_the_first_file(tmp_path):
    paths = [picture.save_png(frame, tmp_path / f"step_{i * 5:02d}.png") for i, frame in enumerate(walker(3))]  # gaps are fine
    medium = fit(*paths)
    assert [len(texts(medium, path)) for path in paths] == [1, 0, 0]
    assert [d.name for d in medium.read(paths[0])] == ["step"]


def test_numbered_pictures_of_different_sizes_stand_on_one_ground(tmp_path):
    small, large = walker(1, 4)[0], walker(1, 6)[0]
    paths = [picture.save_png(f, tmp_path / f"a{i}.png") for i, f in enumerate([small, large])]
    (clip,) = frames.clips(paths[0], None, 0, 0, 8)
    assert {p.shape for p in clip.pictures} == {(6, 6, 4)}
    assert (clip.pictures[0][2:, 1:5] == small).all()


def test_a_sheet_is_a_clip_a_tag_or_a_clip_a_row(tmp_path):
    image, places = picture.sheet([*walker(3), *walker(2, colour=(0, 0, 250))], 3)
    picture.save_png(image, tmp_path / "s.png")
    assert len(texts(fit(tmp_path / "s.png", tile=(6, 6)), tmp_path / "s.png")) == 2
    with pytest.raises(DataError, match="cells of 7"):
        fit(tmp_path / "s.png", tile=(7, 7))
    listed = [picture.Cell(c.x, c.y, 6, 6, duration=70) for c in places]
    picture.save_text(picture.aseprite("s.png", (18, 12), listed, [("walk", 0, 2), ("run", 3, 4)]), tmp_path / "s.json")
    medium = fit(tmp_path / "s.png")
    assert [d.name for d in medium.read(tmp_path / "s.png")] == ["s walk", "s run"]
    assert medium.times == (70,)


def test_what_repeats_the_frame_before_is_held_longer_and_what_says_no_time_is_held_a_tenth(tmp_path):
    a, b = walker(2)
    path = picture.save_webp([a, a, b], [40, 60, 0], tmp_path / "a.webp")
    (clip,) = frames.clips(path, None, 0, 0, 8)
    assert clip.durations == [100, 100]


def test_long_clips_are_cut_and_large_ones_made_smaller(tmp_path):
    large = [np.kron(frame, np.ones((6, 6, 1), np.uint8)) for frame in walker(7, 8)]
    path = picture.save_apng(large, [100] * 7, tmp_path / "a.apng")
    medium = fit(path, most=3, size=12)
    found = texts(medium, path)
    assert [len(medium.spans(t)) for t in found] == [3, 3]  # and one frame over
    assert max(medium.size) <= 12


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.gif", b"GIF89a", "not a picture|damaged"),
        ("a.png", None, "one frame is no clip\n  number the pictures"),
        ("b.gif", None, "one frame is no clip\n  give an animation"),
        ("a.base", b"IMAGE 20 arch/x.111\nshort", "cut off in the picture arch/x.111"),
        ("a.base", b"nonsense\n", "byte 0 begins no picture"),
        ("a.wad", b"PWAD", "."),
    ],
)
def test_what_is_no_clip_says_why(tmp_path, name, data, what):
    path = tmp_path / name
    if data is None:
        (picture.save_gif(walker(1), [100], path) if name.endswith("gif") else picture.save_png(walker(1)[0], path))
    else:
        path.write_bytes(data)
    with pytest.raises(DataError, match=what):
        list(Clip().read(path))


def test_still_and_blank_clips_are_left_out(tmp_path):
    still = walker(1)[0]
    path = picture.save_webp([still, np.zeros_like(still)], [100, 100], tmp_path / "a.webp")
    with pytest.raises(DataError, match="no clip in it that moves and hangs together"):
        list(fit(path).read(path))


# --- notation ---


@given(clips())
@settings(deadline=None, max_examples=50)
def test_every_clip_is_its_own_canonical_form_and_has_variants_of_no_distance(pair):
    medium, text = pair
    assert medium.syntax(text) == []
    assert medium.canonical(text) == text
    index, paces, label = medium._parsed(text)
    assert medium._print(index, paces, label) == text
    shingles = medium.shingles(text)
    for variant in medium.variants(text):
        assert variant != text
        assert medium.distance(text, variant) == 0.0
        assert medium.shingles(variant) == shingles


@given(clips(), clips())
@settings(deadline=None, max_examples=25)
def test_distance_is_symmetric(a, b):
    medium, one = a
    index, paces, _ = b[0]._parsed(b[1])
    canvas = np.full((len(index), medium.size[1], medium.size[0]), -1, np.int8)
    h, w = min(canvas.shape[1], index.shape[1]), min(canvas.shape[2], index.shape[2])
    canvas[:, :h, :w] = index[:, :h, :w]
    other = medium._print(canvas, paces, "")
    assert medium.distance(one, other) == pytest.approx(medium.distance(other, one))


SMALL = Clip()
SMALL.size, SMALL.times = (2, 2), (50, 120)
GOOD = "clip a\nbb ba\nZZ ab\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("clip\nbb ba\nZZ ab\n", "not a first line"),
        ("clip c\nbb ba\nZZ ab\n", "not a first line"),
        ("clip moon a\nbb ba\nZZ ab\n", "no label 'moon'"),
        ("clip a\nbb ba\n", "too few frames"),
        ("clip a\nbZ ba\nZZ ab\n", "no colour 'Z'"),
        ("clip a\nbb ba\nZZ abb\n", "row 2 has 3 pixels"),
        ("clip a\nbb ba\nZZ\n", "1 rows"),
    ],
)
def test_syntax_says_what_is_wrong(text, what):
    assert [what in p.what for p in SMALL.syntax(text)] == [True]


def test_flaws_are_standing_still_emptiness_and_frames_that_have_nothing_in_common():
    assert SMALL.check(GOOD) == []
    assert "nothing moves" in SMALL.check("clip a\nbb ba\nZZ ZZ\n")[0].what
    assert "nearly nothing in this frame" in SMALL.check("clip a\nbb ba\naa aa\n")[0].what
    assert "hardly a pixel in common" in SMALL.check("clip a\nba ba\nab ab\n")[0].what


def test_prompts_may_end_anywhere_and_impossible_ones_are_refused():
    for at in range(len(GOOD) + 1):
        assert "root ::=" in SMALL.grammar(Pins(prompt=GOOD[:at]))
    for prompt in ("level", "clip a\nbbb", "clip a\n" + "bb ba\n" * 9):
        with pytest.raises(ConfigError):
            SMALL.grammar(Pins(prompt=prompt))
    assert "next{2,4}" in SMALL.grammar(Pins(least=3, most=5))


def test_a_set_is_a_sheet_with_a_row_and_a_tag_a_clip(tmp_path):
    path = picture.save_gif(walker(4), [100] * 4, tmp_path / "a.gif")
    medium = fit(path)
    (text,) = texts(medium, path)
    png, listing = medium.collect([text, text], tmp_path / "set")
    facts = json.loads(listing.read_text())
    assert [tag["name"] for tag in facts["meta"]["frameTags"]] == ["clip 1", "clip 2"]
    assert len(facts["frames"]) == 8
    assert picture.open_frames(png).pictures[0].shape[:2] == (2 * medium.size[1], 4 * medium.size[0])
    assert texts(medium, png) == [text, text]


def test_settings_carry_everything(tmp_path):
    path = picture.save_gif(walker(4), [100, 50, 100, 100], tmp_path / "a.gif")
    medium = fit(path)
    again = Clip().restore(medium.settings())
    assert again.settings() == medium.settings()
    assert texts(again, path) == texts(medium, path)
    with pytest.raises(DataError, match="make the corpus again"):
        Clip().restore({"size": [1, 2]})
    assert isinstance(again.palette, Palette)
