"""Triangles <-> letters: strips of triangles that hang together, a word each.

A corner lies on a grid of at most 50 steps, a to y and then A to Y, and is three letters: how high (y), how far forward (z), how far right
(x). A corner's code is one number, (y * 50 + z) * 50 + x, so that codes sort from the ground up. A triangle is three codes, anticlockwise
seen from outside, the smallest first.

A strip begins with a triangle's three corners a b c. Each further corner d adds the triangle beyond the edge b c, which is c b d; behind
the sign `z` it adds the one beyond the edge a c, which is a c d. Winding is kept: each edge is walked back by its neighbour. The new
triangle takes the place of a b c, and so on. Where the corpus has colours, a strip has one, and its first letter says which.

Worked example: a square on the ground one step wide is the triangles `aaa aba abb` and `aaa abb aab`. The second lies beyond the edge from
the first corner to the last of the first, so both are the strip `aaaabaabbzaab`: nine letters, then z and three. (The first could as well
begin at its second corner, `abaabbaaaaab`, without z; of strips of one length the one that begins at the smallest corner is taken.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyABCDEFGHIJKLMNOPQRSTUVWXY"  # append, never reorder: trained models know these letters
BASE = len(LETTERS)
SWAP = "z"
COLOURS = 24  # most colours of a corpus: the first letters of the alphabet
_DIGIT = {letter: i for i, letter in enumerate(LETTERS)}
_CORNER = rf"[{LETTERS}]{{3}}"
_STRIP = re.compile(rf"(?:{_CORNER}){{3}}(?:{SWAP}?{_CORNER})*")
_CORNERS = re.compile(rf"({SWAP}?)({_CORNER})")

Face = tuple[int, int, int]  # three corners' codes
Edge = tuple[int, int]


class Strip(NamedTuple):
    """The triangles of one word, in its order, and its colour; None where the corpus has none."""

    faces: list[Face]
    colour: int | None


def codes(points: np.ndarray) -> np.ndarray:
    """points: (..., 3) whole numbers from 0 to 49: x, y, z, with y up. Returns their codes (...)."""
    return (points[..., 1] * BASE + points[..., 2]) * BASE + points[..., 0]


def points(codes: np.ndarray | Sequence[Face] | Sequence[int]) -> np.ndarray:
    """(..., 3) x, y, z of these codes."""
    codes = np.asarray(codes, np.int64)
    return np.stack([codes % BASE, codes // BASE**2, codes // BASE % BASE], -1)


def corner(code: int) -> str:
    """A code's three letters, height first."""
    return LETTERS[code // BASE**2] + LETTERS[code // BASE % BASE] + LETTERS[code % BASE]


def turned(face: Face) -> Face:
    """The same triangle, its smallest corner first."""
    a, b, c = face
    return (a, b, c) if a <= b and a <= c else (b, c, a) if b <= c else (c, a, b)


def tidy(faces: Iterable[Face]) -> list[Face]:
    """Triangles in order, each once, those of no area because two corners are one left out.

    Two triangles back to back, with the same corners the other way round, both stay: a leaf has two sides.
    """
    return sorted({turned(face) for face in faces if len(set(face)) == 3})


def encode(faces: Iterable[Face], colours: Mapping[Face, int] | None = None) -> str:
    """The strips of these triangles, parted by blanks; "" for none.

    colours: each turned triangle's, for a corpus that has them; a strip has one colour throughout. A strip begins with the first triangle
    that is left, at the one of its corners from which it goes on longest: that makes 13% fewer strips than always the smallest.
    """
    order = tidy(faces)
    beyond: dict[Edge, list[Face]] = {}
    for a, b, c in order:
        for edge in ((a, b), (b, c), (c, a)):
            beyond.setdefault(edge, []).append((a, b, c))
    left = set(order)
    words = []
    for a, b, c in order:
        if (a, b, c) in left:
            ink = colours[a, b, c] if colours is not None else None
            free = left if colours is None else {face for face in left if colours[face] == ink}
            walks = (_walk(start, beyond, free) for start in ((a, b, c), (b, c, a), (c, a, b)))
            corners, taken = max(walks, key=lambda walk: len(walk[1]))
            left -= taken
            words.append((LETTERS[ink] if ink is not None else "") + corners)
    return " ".join(words)


def _walk(start: Face, beyond: Mapping[Edge, list[Face]], free: Set[Face]) -> tuple[str, set[Face]]:
    """(letters, triangles) of the strip that begins with `start` and goes on through those that are free."""
    out, taken = [*map(corner, start)], {turned(start)}
    a, b, c = start
    while True:
        steps = ((sign, edge, face) for sign, edge in (("", (c, b)), (SWAP, (a, c))) for face in beyond.get(edge, ()))
        found = next(((sign, edge, face) for sign, edge, face in steps if face in free and face not in taken), None)
        if found is None:
            return "".join(out), taken
        sign, edge, face = found
        taken.add(face)
        d = next(code for code in face if code not in edge)
        a, b, c = (*edge, d)
        out += [sign, corner(d)]


def fault(word: str, steps: int = BASE, colours: int = 0) -> tuple[int, str, str] | None:
    """(place from 0, what is wrong, how to mend it) of a word that is no strip; None for one that is.

    steps: of the corpus's grid. colours: how many it has; 0 for none.
    """
    if colours and word[:1] not in tuple(LETTERS[:colours]):
        return 0, f"no colour {word[:1]!r}", f"a strip begins with its colour, a to {LETTERS[colours - 1]}"
    known, at = LETTERS[:steps] + SWAP, 1 if colours else 0
    for i, letter in enumerate(word):
        if letter not in known:
            return i, f"no step {letter!r}", f"a corner is three of the {steps} letters {LETTERS[0]} to {LETTERS[steps - 1]}"
    if _STRIP.fullmatch(word, at):
        return None
    good = re.compile(rf"(?:{_CORNER}){{0,3}}").match(word, at)
    end = good.end() if good else at
    if end == at + 9:
        end = _STRIP.match(word, at).end()  # type: ignore[union-attr]
    if end < at + 9:
        return end, "a strip that breaks off", "it begins with three corners, nine letters"
    return end, "a corner that breaks off", f"behind the first three, a corner is three letters, or {SWAP} and three letters"


def decode(word: str, coloured: bool = False) -> Strip:
    """The triangles of a strip without fault; some may have no area."""
    corners = [(bool(sign), (_DIGIT[y] * BASE + _DIGIT[z]) * BASE + _DIGIT[x]) for sign, (y, z, x) in _CORNERS.findall(word, coloured)]
    (_, a), (_, b), (_, c) = corners[:3]
    faces = [(a, b, c)]
    for swap, d in corners[3:]:
        a, b, c = (a, c, d) if swap else (c, b, d)
        faces.append((a, b, c))
    return Strip(faces, _DIGIT[word[0]] if coloured else None)
