"""Vaults of Dungeon Crawl Stone Soup (.des files) as grids of letters.

A vault is lines between MAP and ENDMAP; the lines before it change what its characters mean. Followed, in the order of the file: SUBST and
NSUBST (of several outcomes the likeliest; of an NSUBST what most cells get), KFEAT, KMONS and KITEM. Everything drawn by lot or by Lua is
left as it stands.

Worked example: "SUBST: ? = .:20 T" makes every ? a floor (weight 20 against 10), and "KMONS: 1 = rat" makes every 1 a monster.
Source: the syntax that comes with the game (docs/develop/levels/syntax.txt).
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cupola.media.grid import from_words
from cupola.media.text import read_text

LARGEST = 16 << 20  # bytes of a file
_USUAL = (
    dict.fromkeys("xXcvbmnoG", "w")
    | dict.fromkeys(".'\"_@", "f")
    | dict.fromkeys("+=", "d")
    | dict.fromkeys("wW", "a")
    | {"l": "l", "t": "t", "$": "c", " ": "x"}
    | dict.fromkeys("0123456789", "m")
    | dict.fromkeys("%*|defghijk", "i")
)  # stairs and all other characters: floor
_FEATURES = (  # the first that a feature's name holds
    ("door", "d"), ("water", "a"), ("lava", "l"), ("tree", "t"), ("mangrove", "t"), ("wall", "w"), ("statue", "w"), ("grate", "w"),
    ("rock", "w"), ("idol", "w"), ("stone", "w"), ("crystal", "w"),
)  # fmt: skip
_LINE = re.compile(r"\s*(SUBST|NSUBST|KFEAT|KMONS|KITEM|NAME)\s*:(.*)", re.DOTALL)


def vaults(path: Path) -> Iterator[tuple[str, int, np.ndarray]]:
    """(name, line of its MAP, grid) of each vault of the file. Raises DataError for what is no text."""
    name, start, rules, rows = "", 0, [], None
    for number, line in _lines(read_text(path, LARGEST)):
        word = line.strip()
        if rows is not None:
            if word == "ENDMAP":
                if any(row.strip() for row in rows):
                    yield name, start, _grid(rows, rules)
                rows = None
            else:
                rows.append(line.replace("\t", " "))
        elif word == "MAP":
            rows, start = [], number
        elif found := _LINE.match(line):
            if found[1] == "NAME":
                name, rules = found[2].strip(), []
            else:
                rules.append((found[1], found[2].strip()))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line), with those that end in a backslash joined to the next."""
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        first = first if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        yield first, held + line
        held = ""
    if held:
        yield first, held


def _grid(rows: list[str], rules: list[tuple[str, str]]) -> np.ndarray:
    meaning: dict[str, str] = {}
    for kind, rule in rules:
        if kind in ("SUBST", "NSUBST"):
            if table := dict(_substitutions(rule, several=kind == "NSUBST")):
                rows = [row.translate(str.maketrans(table)) for row in rows]
            continue
        keys, _, what = rule.partition("=")
        for key in keys.replace(" ", ""):
            letter = {"KMONS": "m", "KITEM": "i"}.get(kind) or _feature(what)
            if not (letter == "f" and meaning.get(key) in ("m", "i")):  # floor under a monster is a monster
                meaning[key] = letter
    table = _USUAL | meaning
    return from_words(["".join(table.get(c, "f") for c in row) for row in rows])


def _substitutions(rule: str, several: bool) -> Iterator[tuple[str, str]]:
    """(character, what most of them become): "a = bb c" is (a, b); of several, "a = 2:b / *:c" is (a, c)."""
    for part in re.split(r",(?=\s*\S+?\s*[=:])", rule):
        found = re.match(r"\s*(\S(?:\s*[^\s=:])*)\s*[=:]\s*(.+)", part)
        if not found:
            continue
        outcomes = found[2]
        if several:
            outcomes = re.sub(r"^\s*(\*|\d+)\s*[:=]", "", outcomes.split("/")[-1])
        weights: collections.Counter[str] = collections.Counter()
        for character, weight in re.findall(r"(\S)(?::(\d+))?", outcomes):
            weights[character] += int(weight or 10)
        if weights:
            best = max(weights, key=weights.__getitem__)  # the first of equals
            for key in found[1].replace(" ", ""):
                yield key, best


def _feature(text: str) -> str:
    """The role of the first of some features: "w:5 granite_statue / floor" is a wall."""
    first = text.split("/")[0].lower()
    return next((letter for word, letter in _FEATURES if word in first), "f")
