"""Scores: made-up ones of every shape, which both notations must give back; and what repeats and metres mean."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.media import abc, letters, spell
from cupola.media.score import MODES, Bar, Key, Note, Pitch, Score, drop_false_ties, fullness, length, played, transpose, with_unit

KEYS = [key for mode in MODES for tonic in range(7) for sharp in (-1, 0, 1) if abs((key := Key(tonic, sharp, mode)).fifths) <= 7]
METRES = ["C", "C|", "none", "2/4", "3/4", "6/8", "9/8", "12/8", "5/4", "3/2", "7/16"]
pitches = st.builds(Pitch, st.integers(-9, 24), st.integers(-2, 2))


def tune_files() -> list[Path]:
    """The three old tune books, where they are: in $CUPOLA_TUNES, or in the cache of the recipe that was run here."""
    places = [os.environ.get("CUPOLA_TUNES"), Path(__file__).parent.parent / "recipes" / "tunes" / ".cupola" / "cache"]
    return sorted(path for place in places if place for path in Path(place).rglob("*.abc"))


def real_tunes(every: int = 1) -> list[Score]:
    """The readable tunes of the old books, or one in `every`; skips the test where the books are not there."""
    files = tune_files()
    if not files:
        pytest.skip("no tune books: set CUPOLA_TUNES to a folder with them")
    texts = [text for path in files for _, text in abc.split([path.read_text("utf-8")], str(path))]
    return [reading.score for text in texts[::every] if (reading := abc.parse(text)).score]


@st.composite
def notes(draw, tuplet=None) -> Note:
    chord = tuple(sorted(set(draw(st.lists(pitches, max_size=3)))))
    ticks = draw(st.one_of(st.sampled_from([32, 16, 64, 48, 96, 8, 24, 128]), st.integers(1, 512)))
    graces = tuple(draw(st.lists(pitches, max_size=2))) if draw(st.integers(0, 5)) == 0 else ()
    ornament = draw(st.sampled_from(["", "", "", "T", "~"]))
    return Note(chord, ticks, bool(chord) and draw(st.booleans()), graces, ornament, tuplet)


@st.composite
def contents(draw) -> tuple[Note, ...]:
    out = []
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.integers(0, 4)) == 0:
            p = draw(st.integers(2, 9))
            usual = draw(st.booleans())
            r = p if usual else draw(st.integers(1, 9))
            q = draw(st.integers(1, 9))
            out += [draw(notes((p, q, r) if i == 0 else None)) for i in range(r)]
        else:
            out.append(draw(notes()))
    return tuple(out)


@st.composite
def scores(draw) -> Score:
    """Any score in its one form: sections with and without endings, changes of metre and key, tied chords, odd tuplets."""
    metre, key = draw(st.sampled_from(METRES)), draw(st.sampled_from(KEYS))
    bars: list[Bar] = []
    for _ in range(draw(st.integers(1, 3))):
        section = [Bar(draw(contents())) for _ in range(draw(st.integers(0, 3)))]
        endings = draw(st.integers(0, 3))
        if not endings:
            section.append(Bar(draw(contents()), draw(st.sampled_from(["||", ":|"]))))
        for number in range(1, endings + 1):
            close = draw(st.sampled_from(["||", ":|"])) if endings == 1 else "||" if number == endings else ":|"
            section += [Bar(draw(contents()), "|", number), Bar(draw(contents()), close)]
        bars += section
    bars[0] = Bar((Note((Pitch(4, 0),), 32), *bars[0].notes), bars[0].close, bars[0].ending)  # not only rests
    now = [metre, key]
    for i, bar in enumerate(bars):
        if draw(st.integers(0, 9)) == 0:
            other, after = draw(st.sampled_from(METRES)), draw(st.sampled_from(KEYS))
            bars[i] = Bar(bar.notes, bar.close, bar.ending, other if other != now[0] else "", after if after != now[1] else None)
            now = [other, after]
    tempo = draw(st.one_of(st.none(), st.tuples(st.sampled_from([1, 3]), st.sampled_from([2, 4, 8]), st.integers(20, 400))))
    rhythm = draw(st.sampled_from(["", "reel", "jig", "waltz"]))
    return with_unit(Score(metre, 32, key, tuple(drop_false_ties(bars)), rhythm, tempo))


def tune(body: str, header: str = "M:6/8\nL:1/8\nK:G\n") -> Score:
    """The score of a piece of ABC that is right."""
    reading = abc.parse(header + body)
    assert not reading.problems, reading.problems
    return reading.score


@settings(max_examples=100, deadline=None)
@given(scores())
def test_both_notations_and_the_file_give_back_the_same_score(score):
    for written, parse in (
        (spell.print_abc(score), lambda text: abc.parse(text, strict=True)),
        (letters.print_letters(score), letters.parse),
        (spell.print_file(score, "A tune"), lambda text: abc.parse(text, strict=True)),
    ):
        reading = parse(written)
        assert reading.problems == []
        assert reading.score == score
        assert len(reading.spans) == len(score.bars)


@pytest.mark.slow
def test_both_notations_and_the_file_give_back_real_tunes():
    for score in real_tunes(every=6):
        assert abc.parse(spell.print_abc(score), strict=True).score == score
        assert letters.parse(letters.print_letters(score)).score == score
        assert abc.parse(spell.print_file(score), strict=True).score == score


@settings(max_examples=50, deadline=None)
@given(scores(), st.sampled_from(KEYS))
def test_a_transposed_score_goes_back_to_what_it_was_and_sounds_the_same_distances_apart(score, key):
    there = transpose(score, key._replace(mode=score.key.mode)) if abs(key._replace(mode=score.key.mode).fifths) <= 7 else None
    if there is None:
        return
    assert transpose(there, score.key) == score
    moved = {p.midi - q.midi for a, b in zip(score.bars, there.bars, strict=True) for m, n in zip(a.notes, b.notes, strict=True)
             for p, q in zip(m.pitches, n.pitches, strict=True)}  # fmt: skip
    assert len(moved) <= 1


def test_sections_are_played_as_written():
    assert played(tune("A3B3|c6:|d6||e6:|")) == [0, 1, 0, 1, 2, 3, 3]


def test_each_ending_is_played_after_the_body():
    assert played(tune("A6|B6|1c6:|2d6||e6||")) == [0, 1, 2, 0, 1, 3, 4]
    assert played(tune("A6|1B6:|2c6:|3d6||")) == [0, 1, 0, 2, 0, 3]


def test_a_first_ending_alone_is_left_out_the_second_time():
    assert played(tune("A6|1B6:|c6||")) == [0, 1, 0, 2]


def test_bars_must_be_full_but_for_those_at_the_ends_of_sections_and_endings():
    score = tune("d|c3B3|A2G|c3B3|1G5:|2G3G2||B6|B7||")
    assert [i for i, full in fullness(score) if not full] == [2, 7]
    assert [i for i, _ in fullness(score)] == [1, 2, 3, 6, 7]


def test_a_tuplet_is_as_long_as_it_says():
    bars = tune("(3abcB2|(2cd A3|(5ABcde z2||").bars
    assert [length(bar) for bar in bars] == [4 * 32, 6 * 32, 5 * 32]
    assert length(tune("(5ABcde||", "M:C\nL:1/8\nK:D\n").bars[0]) == 64
    assert length(tune("(3:2:2A2B||").bars[0]) == Fraction(3 * 32 * 2, 3)


def test_the_unit_is_the_commonest_length_so_that_reels_in_2_4_look_like_reels_in_c():
    fast = tune("G/A/B/c/ d/c/B/A/|G/A/B/c/ d2||", "M:2/4\nL:1/8\nK:G\n")
    slow = tune("GABc dcBA|GABc d4||", "M:C|\nL:1/8\nK:G\n")
    assert letters.print_letters(fast).split("\n")[1] == letters.print_letters(slow).split("\n")[1] == "jklmnmlk jklmnD S"
    assert with_unit(tune("A>B c<d|A>B c<d||", "M:C\nL:1/8\nK:G\n")).unit == 32
