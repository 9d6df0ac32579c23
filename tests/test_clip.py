"""Clips: frames and times come back as they were, what a grammar admits can be written, and variants are the same clip."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import ConfigError, DataError, SourceError
from cupola.media import frames, picture
from cupola.media.base import Pins
from cupola.media.clip import Clip, ClipOptions
from cupola.media.labels import Labels
from cupola.media.text import write_text
from cupola.sources import Source, fetch

COLOURS = np.array([(0, 0, 0, 0), (200, 40, 40, 255), (40, 40, 200, 255), (240, 240, 240, 255)], np.uint8)
SMALL = Clip()  # 2 x 2, two frame times, one label
SMALL.size, SMALL.times, SMALL.labels = (2, 2), (50, 120), Labels("own", ("monster",))
GOOD = "clip monster ab\nbb ba\nZZ ab\n"


def walker(count=3, size=6) -> list[np.ndarray]:
    """A block with a foot that steps, standing clear of the right side and the top."""
    index = np.zeros((count, size, size), int)
    index[:, 1 : size - 1, 1 : size - 1] = 1
    for i in range(count):
        index[i, size - 1, 1 + i % (size - 2)] = 2
    return [COLOURS[frame] for frame in index]


def fit(*paths, **options) -> Clip:
    return Clip().fit(list(paths), ClipOptions(**options), lambda group: False)


def texts(medium, path) -> list[str]:
    return [document.text for document in medium.read(path)]


@st.composite
def clips(draw):
    """Any canonical clip of SMALL's kind, 5 x 4."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    count = draw(st.integers(2, 4))
    index = rng.integers(-1, 3, (count, 4, 5)).astype(np.int8)
    index[:, 0, 0] = np.arange(count) % 2  # so that no frame repeats the one before
    return MIDDLE._print(index, rng.integers(0, 2, count).tolist(), draw(st.sampled_from(["", "monster"])))


MIDDLE = SMALL.restore(SMALL.settings())
MIDDLE.size = (5, 4)


def expression(grammar: str) -> re.Pattern:
    """A grammar of clips as a regular expression: it has no rule that calls itself."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.split("\n"))

    def part(rule: str) -> str:
        out = ""
        for token in re.findall(r'"(?:\\.|[^"])*"|\[[^\]]*\]|\{[^}]*\}|[a-z]+|[()|?*]', rule):
            if token[0] == '"':
                out += f"(?:{re.escape(json.loads(token))})"
            elif token[0].isalpha():
                out += f"(?:{part(rules[token])})"
            else:
                out += "(?:" if token == "(" else token
        return out

    return re.compile(part(rules["root"]))


# --- files in and out


@pytest.mark.parametrize("times", [(100, 100, 100, 100), (100, 50, 240, 100), (33, 40, 33, 40)])
def test_what_is_written_is_read_back_the_same_from_every_file(tmp_path, times):
    path = picture.save_webp(walker(4), times, tmp_path / "walk 🎈.webp")
    medium = fit(path)
    (text,) = texts(medium, path)
    assert medium.times == tuple(sorted(set(times)))
    written = medium.write(text, tmp_path / "out")
    assert [p.name for p in written] == ["out.gif", "out.webp", "out.apng", "out-sheet.png", "out-sheet.json"]
    for again in written[:-1]:
        assert texts(medium, again) == [text]
    assert medium.promise(path).figures == {"clips": 1, "frames_kept": 1, "timing": 1, "identical": 1}


@given(clips())
@settings(deadline=None, max_examples=20)
def test_every_clip_survives_being_written_and_read(tmp_path_factory, text):
    stem = tmp_path_factory.mktemp("a") / "a"
    for path in MIDDLE.write(text, stem)[:4]:
        if not MIDDLE.check(text):
            (again,) = texts(MIDDLE, path)
            assert again.split("\n")[1:] == text.split("\n")[1:]
            assert MIDDLE._header(again.split("\n")[0])[0] == MIDDLE._header(text.split("\n")[0])[0]


def test_a_written_gif_keeps_times_and_transparency_for_other_programs(tmp_path):
    text = "clip ab\nbbaa aaaa\nZZbb ZZZZ\n"
    medium = SMALL.restore(SMALL.settings())
    medium.size = (4, 2)
    with picture.pillow().open(medium.write(text, tmp_path / "a")[0]) as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (2, 50, 0)
        assert np.array(gif.convert("RGBA"))[..., 3].tolist() == [[255, 255, 0, 0], [0, 0, 0, 0]]
        gif.seek(1)
        assert gif.info["duration"] == 120
        assert np.array(gif.convert("RGBA"))[..., 3].tolist() == [[255, 255, 255, 255], [0, 0, 0, 0]]


def test_clips_that_fit_are_taken_as_they_are_and_large_ones_made_smaller(tmp_path):
    path = picture.save_apng(walker(3), [100] * 3, tmp_path / "a.apng")
    assert fit(path).size == (6, 6)  # its blank rim is kept: a clip that floats goes on floating
    large = [np.kron(frame, np.ones((6, 6, 1), np.uint8)) for frame in walker(7, 8)]
    path = picture.save_apng(large, [100] * 7, tmp_path / "b.apng")
    medium = fit(path, most=3, size=12)
    assert [len(medium.spans(t)) for t in texts(medium, path)] == [3, 2, 2]
    assert max(medium.size) <= 12


def test_a_time_that_a_corpus_has_no_letter_for_gets_the_nearest(tmp_path):
    paths = [picture.save_webp(walker(2), [100 + 10 * i] * 2, tmp_path / f"a{chr(97 + i)}.webp") for i in range(25)]
    odd = picture.save_webp(walker(2), [600, 600], tmp_path / "odd.webp")
    medium = fit(*paths, odd)
    assert len(medium.times) == 25
    assert max(medium.times) == 340
    assert texts(medium, odd)[0].startswith("clip y\n")
    assert medium.promise(odd).figures["timing"] == 0.0


def test_files_that_do_not_say_their_time_have_the_rate_that_is_asked_for(tmp_path):
    paths = [picture.save_png(frame, tmp_path / f"w{i}.png") for i, frame in enumerate(walker(2))]
    assert fit(*paths).times == (120,)
    assert fit(*paths, rate=20).times == (50,)


def test_frames_that_look_the_same_in_the_corpuss_colours_are_one(tmp_path):
    a, b = walker(2)
    nearly = a.copy()
    nearly[1, 1, 0] -= 1
    path = picture.save_webp([a, nearly, b], [100, 100, 100], tmp_path / "a.webp")
    medium = fit(path, colours=2)
    (text,) = texts(medium, path)
    assert (len(medium.spans(text)), medium.times) == (2, (100, 200))
    assert texts(medium, medium.write(text, tmp_path / "b")[0]) == [text]


def test_labels_come_from_the_tags_of_a_sheet_and_go_back_there(tmp_path):
    image, places = picture.sheet([*walker(3)] * 3, 3)
    picture.save_png(image, tmp_path / "s.png")
    tags = [("walk", 0, 2), ("walk two", 3, 5), ("walk", 6, 8)]
    write_text(tmp_path / "s.json", picture.aseprite("s.png", (18, 18), places, tags))
    medium = Clip().fit([tmp_path / "s.png"], ClipOptions(), lambda group: False)
    medium.labels = Labels("own", ("walk",))
    text = texts(medium, tmp_path / "s.png")[0]
    assert text.startswith("clip walk a\n")
    *_, sheet, listing = medium.write(text, tmp_path / "t")
    assert texts(medium, sheet) == [text]
    assert json.loads(listing.read_text())["meta"]["frameTags"][0]["name"] == "walk"
    assert medium.head("walk") == "clip walk "
    with pytest.raises(ConfigError, match="there are: walk"):
        medium.head("fly")


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.wad", "crossfire.base"])
def test_a_file_that_is_no_clip_is_passed_over_by_fit_and_named_by_read(tmp_path, name):
    bad = tmp_path / name
    bad.write_bytes(b"GIF89a nonsense")
    good = picture.save_gif(walker(2), [100, 100], tmp_path / "good.gif")
    medium = fit(bad, good)
    assert len(texts(medium, good)) == 1
    with pytest.raises(DataError) as e:
        texts(medium, bad)
    assert str(e.value).startswith(str(bad))
    with pytest.raises(DataError):
        fit(bad)


def test_a_clip_that_cannot_be_learnt_from_says_why(tmp_path):
    good = picture.save_gif(walker(2), [100, 100], tmp_path / "good.gif")
    blank = picture.save_webp([walker(1)[0], np.zeros((6, 6, 4), np.uint8)], [100, 100], tmp_path / "blank.webp")
    large = picture.save_gif(walker(2, 12), [100, 100], tmp_path / "large.gif")
    medium = fit(good)
    for path, why in ((blank, "nearly nothing in this frame"), (large, "12 x 12 pixels, larger than this corpus's 6 x 6")):
        with pytest.raises(DataError, match=f"{path.name}: no clip in it that can be learnt from: {why}"):
            texts(medium, path)


# --- notation


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("clip\nbb ba\nZZ ab\n", (1, 1), "not a first line"),
        ("clip c\nbb ba\nZZ ab\n", (1, 1), "not a first line"),
        ("clip moon a\nbb ba\nZZ ab\n", (1, 6), "no label 'moon'"),
        ("clip  a\nbb ba\nZZ ab\n", (1, 6), "no label ''"),
        ("clip a\nbb ba\n", (3, 1), "too few frames"),
        ("clip a\nbb ba\nZZ ab", (3, 1), "no new line at the end"),
        ("clip a\nbZ ba\nZZ ab\n", (2, 2), "no colour 'Z'"),
        ("clip a\nbb ba\nZZ aY\n", (3, 5), "no colour 'Y'"),
        ("clip a\nbb ba\nZZ abb\n", (3, 4), "row 2 has 3 pixels"),
        ("clip a\nbb ba\nZZ\n", (3, 1), "1 rows"),
    ],
)
def test_a_fault_is_named_with_its_place(text, place, what):
    (problem,) = SMALL.syntax(text)
    assert (problem.line, problem.column) == place
    assert what in problem.what
    assert SMALL.check(text) == [problem]


def test_flaws_are_standing_still_emptiness_and_frames_that_have_nothing_in_common():
    assert SMALL.check(GOOD) == []
    for text, line, what in (
        ("clip a\nbb ba\nZZ ZZ\n", 3, "nothing moves"),
        ("clip a\naa aa\nbb bb\n", 2, "nearly nothing"),
        ("clip a\nbb ba\naa aa\n", 3, "nearly nothing"),
        ("clip a\nba ba\nab ab\n", 3, "hardly a pixel in common"),
    ):
        assert SMALL.syntax(text) == []
        assert [(p.line, what in p.what) for p in SMALL.check(text)] == [(line, True)]


@given(clips())
@settings(deadline=None, max_examples=40)
def test_a_clip_is_its_own_canonical_form(text):
    assert MIDDLE.syntax(text) == []
    assert MIDDLE.canonical(text) == text
    assert [text[a:b] for a, b in MIDDLE.spans(text)] == text.split("\n")[1:-1]


def test_the_canonical_form_has_no_frame_that_stands_still():
    assert SMALL.canonical("clip a\nbb ba\nZZ ZZ\nab ba\n") == "clip ba\nbb ba\naZ ZZ\n"  # 100 ms are nearest to 120
    assert SMALL.canonical("clip a\nbb ba\nbb ba\n") == "clip a\nbb ba\nbb ba\n"  # nothing is left to be a clip


# --- grammars


def test_every_real_piece_goes_on_from_every_prompt_under_the_grammar():
    for at in range(len(GOOD) + 1):
        assert expression(SMALL.grammar(Pins(prompt=GOOD[:at]))).fullmatch(GOOD[at:]), GOOD[:at]


@given(st.integers(0, len(GOOD)), st.integers(0, 1 << 20))
@settings(deadline=None, max_examples=60)
def test_what_a_grammar_admits_can_be_written(at, seed):
    found = expression(SMALL.grammar(Pins(prompt=GOOD[:at])))
    rng = np.random.default_rng(seed)
    for _ in range(200):  # letters by lot, kept where the grammar has them
        tried = "".join(c if c in " \n" else str(rng.choice(list("abcZ"))) if "\n" in GOOD[:at] else c for c in GOOD[at:])
        if found.fullmatch(tried):
            assert SMALL.syntax(GOOD[:at] + tried) == []


def test_prompts_that_no_clip_begins_with_are_refused():
    for prompt in ("level", "clip moon a\n", "clip c\n", "clip a\nbbb", "clip a\nb?", "clip a\nZ", "clip a\nbb b\n", "clip a\nbb ba ba"):
        with pytest.raises(ConfigError, match="no clip begins with"):
            SMALL.grammar(Pins(prompt=prompt))
    with pytest.raises(ConfigError, match="longer than 4 frames"):
        SMALL.grammar(Pins(prompt="clip a\n" + "bb ba\n" * 5))
    with pytest.raises(ConfigError, match="5 to 4 frames"):
        SMALL.grammar(Pins(least=5))


def test_the_number_of_frames_is_what_was_asked_for():
    found = expression(SMALL.grammar(Pins(least=3, most=3)))
    assert not found.fullmatch(GOOD)
    assert found.fullmatch("clip a\nbb ba\nZZ ab\nZZ ZZ\n")
    assert not found.fullmatch("clip a\nbb ba\nZZ ab\nZZ ZZ\nZZ ZZ\n")


def test_a_grammar_is_small():
    assert len(Clip().grammar(Pins()).split("\n")) == 6
    assert len(Clip().grammar(Pins())) < 300


def test_frames_and_cells_can_be_filled_anew_with_as_many():
    (a, b), (c, d) = SMALL.spans(GOOD)
    assert expression(SMALL.filling(GOOD, c, d)).fullmatch("Za bZ")
    assert not expression(SMALL.filling(GOOD, a, b)).fullmatch("Za bb")
    assert expression(SMALL.filling(GOOD, a, d)).fullmatch("ab bb\nZZ bZ")
    assert not expression(SMALL.filling(GOOD, a, d)).fullmatch("ab bb")
    assert expression(SMALL.filling(GOOD, b - 1, b)).fullmatch("b")
    assert not expression(SMALL.filling(GOOD, b - 1, b)).fullmatch("Z")  # a cell of the first frame has none before it


def test_a_region_is_the_cells_of_its_columns_in_every_row_of_its_frames():
    text, cells = SMALL.region(GOOD, (1, 2), (2, 2))
    assert text == GOOD
    assert [text[a:b] for a, b in cells] == ["b", "a", "Z", "b"]
    with pytest.raises(DataError, match="no columns 2 to 3: it has 2"):
        SMALL.region(GOOD, (1, 1), (2, 3))
    with pytest.raises(DataError, match="no frames 0 to 1: it has 2"):
        SMALL.region(GOOD, (0, 1), (1, 1))


# --- what is alike


@given(clips(), clips())
@settings(deadline=None, max_examples=25)
def test_variants_are_the_same_clip_and_distance_is_symmetric(a, b):
    shingles, variants = MIDDLE.shingles(a), list(MIDDLE.variants(a))
    assert len({a, *variants}) == len(variants) + 1
    for variant in variants:
        assert MIDDLE.syntax(variant) == []
        assert MIDDLE.distance(a, variant) == 0.0
        assert MIDDLE.shingles(variant) == shingles
        assert variant.split(" ")[:-1][:1] == ["clip"]
    assert 0 <= MIDDLE.distance(a, b) == MIDDLE.distance(b, a) <= 1


def test_a_clip_backwards_is_the_same_and_one_pixel_is_near():
    text = "clip a\nbb ba\nab bb\nbb bb\n"
    assert SMALL.distance(text, "clip b\nbb bb\nab bb\nbb ba\n") == 0.0
    assert SMALL.distance(text, "clip a\nbb ba\nab bb\nbb bc\n") == pytest.approx(1 / 12 * 12 / 10, abs=0.05)
    assert SMALL.distance(text, "clip a\ncc cc\nac cc\ncc cc\n") == 1.0


# --- sets and settings


def test_a_set_is_a_sheet_with_a_row_and_a_tag_a_clip(tmp_path):
    texts_ = [GOOD, "clip a\nbb ba\nab bb\nbb bb\n"]
    png, listing = SMALL.collect(texts_, tmp_path / "set")
    facts = json.loads(listing.read_text())
    assert [(t["name"], t["from"], t["to"]) for t in facts["meta"]["frameTags"]] == [("monster 1", 0, 1), ("clip 2", 2, 4)]
    assert [f["duration"] for f in facts["frames"]] == [50, 120, 50, 50, 50]
    assert picture.open_frames(png).pictures[0].shape == (4, 6, 4)
    again = texts(SMALL, png)
    assert again[0] == GOOD
    assert again[1].split("\n")[1] == "bb ba"
    assert SMALL.collect([], tmp_path / "none") == []


def test_settings_carry_everything_and_damaged_ones_are_refused(tmp_path):
    path = picture.save_gif(walker(4), [100, 50, 100, 100], tmp_path / "a.gif")
    medium = fit(path, rate=12, most=5)
    again = Clip().restore(json.loads(json.dumps(medium.settings())))
    assert again.settings() == medium.settings()
    assert texts(again, path) == texts(medium, path)
    for damage in ({"size": [1]}, {"times": []}, {"times": [3, 2]}, {"palette": ["x"]}, {"options": {"size": -1}}):
        with pytest.raises(DataError, match="make the corpus again"):
            Clip().restore({**medium.settings(), **damage})


# --- real clips


@pytest.fixture(scope="module")
def freedoom(tmp_path_factory) -> list[Path]:
    """Its WADs, out of the package that has them."""
    source = Source(source="pypi:vizdoom==1.3.2", include=("vizdoom/freedoom*.wad",), licence="BSD-3-Clause")
    try:
        return fetch(source, Path(), Path(os.environ.get("CUPOLA_CACHE") or tmp_path_factory.mktemp("cache"))).files
    except SourceError as e:
        pytest.skip(f"out of reach: {e.what}")


@pytest.mark.slow
def test_freedooms_frames_and_times_are_kept_and_its_clips_read_back_the_same(freedoom, tmp_path):
    medium = fit(*freedoom)
    documents = [document for path in freedoom for document in medium.read(path)]
    assert len(documents) > 450
    assert {d.label for d in documents} == {"monster", "shot", "thing", "weapon"}
    assert all(not medium.check(d.text) and medium.canonical(d.text) == d.text for d in documents)
    sides = {path.name: {d.group for d in medium.read(path)} for path in freedoom}
    assert sides["freedoom1.wad"] & sides["freedoom2.wad"]  # what both games have is one group
    for document in documents[::25]:
        assert texts(medium, medium.write(document.text, tmp_path / "a")[0])[0].split("\n")[1:] == document.text.split("\n")[1:]
    figures = medium.promise(freedoom[0]).figures
    assert figures["frames_kept"] > 0.93
    assert figures["timing"] == 1.0
    assert figures["psnr"] > 24
    assert frames.LEAST_IN_ARCHIVE == 3
