"""Rows of letters: spans and grammars fit the text they are of, and what is alike does not depend on where a picture lies."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.media import rows
from cupola.media.text import row_spans


@st.composite
def pictures(draw, least=-1, high=9):
    """(H, W) int8 of five colours; `least` 0: without a blank pixel."""
    h, w = draw(st.integers(2, high)), draw(st.integers(2, high))
    index = np.random.default_rng(draw(st.integers(0, 1 << 20))).integers(least, 5, (h, w)).astype(np.int8)
    index[0, 0] = 0
    return index


def admits(grammar: str, text: str) -> bool:
    """Whether a grammar of nothing but literals, counts and the class `c` takes this text."""
    root, letter = re.fullmatch(r"root ::= (.*)\nc ::= (\[.*\])", grammar).groups()
    return re.fullmatch(re.sub(r'"( *)"', r"\1", root.replace(" ", "").replace('""', '" "')).replace("c", letter), text) is not None


def test_fifty_colours_and_blank_have_a_letter_each_and_none_is_the_clips_own():
    index = np.arange(-1, 50, dtype=np.int8).reshape(3, 17)
    text = rows.text_of(index)
    assert len(set(text) - {" "}) == 51
    assert rows.SAME not in text
    assert not re.search(r"\d", text)
    assert (rows.index_of(text, 17, 3) == index).all()


@given(pictures(), st.integers(0, 30))
@settings(deadline=None, max_examples=30)
def test_spans_are_the_rows_wherever_the_body_begins(index, start):
    body = rows.text_of(index)
    spans = row_spans(start, body)
    assert (spans[0][0], spans[-1][1]) == (start, start + len(body))
    assert [("x" * start + body)[a:b] for a, b in spans] == body.split(" ")


@given(pictures())
@settings(deadline=None, max_examples=30)
def test_rows_made_anew_have_the_shape_of_the_old_ones_and_the_palettes_letters(index):
    body = rows.text_of(index)
    grammar = rows.same_shape(body, rows.class_of(5))
    assert admits(grammar, body)
    assert not admits(grammar, body[:-1])
    assert not admits(grammar, body.replace("b", "z"))


def test_a_part_of_a_row_is_made_anew_in_its_own_length():
    assert rows.same_shape("bca", "[a-c]") == "root ::= c{3}\nc ::= [a-c]"


def test_a_class_has_the_letters_of_the_palette_and_no_more():
    assert rows.class_of(1) == "[a-b]"
    assert rows.class_of(25) == "[a-z]"
    assert rows.class_of(26, rows.SAME) == "[AZa-z]"


def test_nothing_follows_a_whole_picture():
    assert rows.rest_of_rows("abc abc", 3, 2) == ""
    assert rows.rest_of_rows("", 3, 2) == 'c{3} (" " c{3}){1}'


# --- what is alike ---


@given(pictures(), st.integers(1, 2))
@settings(deadline=None, max_examples=30)
def test_a_picture_moved_within_reach_or_mirrored_differs_in_nothing(index, reach):
    h, w = index.shape
    canvas = np.full((h + 2 * reach, w + 2 * reach), -1, np.int8)
    canvas[0:h, 2 * reach : 2 * reach + w] = index[:, ::-1]
    assert rows.differing(canvas, rows.shifted(index, reach)) == 0


def test_the_share_that_differs_is_of_inked_cells_alone():
    one, other = np.full((2, 2, 10), -1, np.int8)
    one[:, :4], other[:, :3] = 0, 0
    other[0, 3] = 1
    assert rows.differing(one, other[None]) == pytest.approx(2 / 8)  # of eight cells with ink one has another colour and one none
    assert rows.differing(one, np.full((1, 2, 10), -1, np.int8)) == 1.0


@pytest.mark.parametrize("side", [4, 8, 12, 16])
def test_a_tile_is_the_same_begun_at_any_quarter_in_either_order(side):
    tile = np.random.default_rng(side).integers(0, 4, (side, side)).astype(np.int8)
    moved = np.roll(tile[:, ::-1], (side // 4, -side // 2), (0, 1))
    assert rows.differing(tile, rows.rolled(moved)) == rows.differing(moved, rows.rolled(tile)) == 0
    assert rows.rolled(tile).shape == (32, side, side)


@given(pictures())
@settings(deadline=None, max_examples=30)
def test_patches_are_the_same_wherever_a_picture_lies_and_for_its_mirror_image(index):
    found = set(rows.patches(index, wrap=False))
    assert found
    assert set(rows.patches(np.pad(index, ((3, 1), (0, 4)), constant_values=-1), wrap=False)) == found
    assert set(rows.patches(index[:, ::-1], wrap=False)) == found


@given(pictures(least=0), st.integers(0, 8), st.integers(0, 8))
@settings(deadline=None, max_examples=30)
def test_patches_of_a_tile_are_the_same_wherever_it_begins(index, down, across):
    assert set(rows.patches(np.roll(index, (down, across), (0, 1)), wrap=True)) == set(rows.patches(index, wrap=True))


def test_other_pictures_have_other_patches_and_blank_has_none():
    ring = np.full((5, 5), 0, np.int8)
    ring[1:4, 1:4] = -1
    assert set(rows.patches(ring, wrap=False)) != set(rows.patches(np.where(ring == 0, np.int8(1), ring), wrap=False))
    assert list(rows.patches(np.full((4, 4), -1, np.int8), wrap=False)) == []
