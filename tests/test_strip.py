"""Strips of letters: every set of triangles comes back, and what is no strip is named with its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.media import strip

codes = st.builds(lambda y, z, x: (y * strip.BASE + z) * strip.BASE + x, *[st.integers(0, 3)] * 3)
faces = st.lists(st.tuples(codes, codes, codes), max_size=60)
CUBE = [
    (0, 51, 50), (0, 1, 51), (2500, 2550, 2551), (2500, 2551, 2501), (0, 50, 2550), (0, 2550, 2500),
    (1, 2501, 2551), (1, 2551, 51), (0, 2500, 2501), (0, 2501, 1), (50, 51, 2551), (50, 2551, 2550),
]  # fmt: skip


def back(text: str, coloured: bool = False) -> list[strip.Strip]:
    return [strip.decode(word, coloured) for word in text.split()]


@given(faces)
@settings(deadline=None, max_examples=60)
def test_any_triangles_come_back_from_their_letters_with_their_winding(given_faces):
    text = strip.encode(given_faces)
    assert not any(strip.fault(word) for word in text.split())
    decoded = [strip.turned(face) for one in back(text) for face in one.faces]
    assert sorted(decoded) == strip.tidy(given_faces)


@given(faces)
@settings(deadline=None, max_examples=40)
def test_the_order_of_triangles_and_of_their_corners_leaves_no_trace(given_faces):
    moved = [(b, c, a) for a, b, c in reversed(given_faces)]
    assert strip.encode(moved) == strip.encode(given_faces)


@given(faces, st.data())
@settings(deadline=None, max_examples=40)
def test_every_strip_has_one_colour_and_every_triangle_keeps_its_own(given_faces, data):
    colours = {face: data.draw(st.integers(0, 2)) for face in strip.tidy(given_faces)}
    text = strip.encode(given_faces, colours)
    assert not any(strip.fault(word, colours=3) for word in text.split())
    assert {strip.turned(face): one.colour for one in back(text, True) for face in one.faces} == colours


def test_the_example_of_the_module_can_be_read_by_hand():
    assert strip.encode([(0, 50, 51), (0, 51, 1)]) == "aaaabaabbzaab"
    assert back("aaaabaabbzaab")[0].faces == [(0, 50, 51), (0, 51, 1)]
    assert [strip.turned(face) for face in back("abaabbaaaaab")[0].faces] == [(0, 50, 51), (0, 51, 1)]


def test_a_cube_is_one_strip_or_two():
    text = strip.encode(CUBE)
    assert len(text.split()) <= 2
    assert sorted(strip.turned(f) for one in back(text) for f in one.faces) == strip.tidy(CUBE)


def test_tidying_drops_what_has_no_area_or_is_there_twice_and_keeps_both_sides_of_a_leaf():
    assert strip.tidy([(3, 1, 2), (1, 2, 3), (2, 3, 1), (1, 1, 2), (3, 2, 1)]) == [(1, 2, 3), (1, 3, 2)]


def test_letters_say_height_then_depth_then_width():
    assert strip.corner(int(strip.codes(np.array([49, 0, 25])))) == "aAY"
    assert strip.points([int(strip.codes(np.array([1, 2, 3])))]).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("word", "place", "what"),
    [
        ("", 0, "a strip that breaks off"),
        ("aaabbb", 6, "a strip that breaks off"),
        ("aaabbbzccc", 6, "a strip that breaks off"),
        ("aaabb?ccc", 5, "no step '?'"),
        ("aaabbbcccd", 9, "a corner that breaks off"),
        ("aaabbbcccdddz", 12, "a corner that breaks off"),
        ("aaabbbccczzddd", 9, "a corner that breaks off"),
    ],
)
def test_what_is_no_strip_is_named_with_its_place(word, place, what):
    found = strip.fault(word)
    assert found is not None
    assert found[:2] == (place, what)
    coloured = strip.fault("b" + word, colours=3)
    assert coloured is not None
    assert coloured[:2] == (place + 1, what)


def test_letters_beyond_the_grid_and_colours_beyond_the_palette_are_named():
    assert strip.fault("aaabbbcch", steps=8) is None
    assert strip.fault("aaabbbcci", steps=8) == (8, "no step 'i'", "a corner is three of the 8 letters a to h")
    assert strip.fault("daaabbbccc", colours=3) == (0, "no colour 'd'", "a strip begins with its colour, a to c")


@given(st.text("abzYZ? ", max_size=30))
@settings(deadline=None)
def test_any_word_has_a_fault_or_can_be_read(word):
    if strip.fault(word) is None:
        assert len(strip.decode(word).faces) == (len(word.replace("z", "")) - 6) // 3
