"""What a mesh's file name says it is: a word that several names share is a label.

Worked example: of homedecor_kitchen_chair, homedecor_office_chair, homedecor_deck_chair_open and homedecor_kitchen_sink the label of the
first three is chair, as three names have it; homedecor is in nearly all, and open says how a chair is, not what it is.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from pathlib import Path

from cupola.media.labels import LEAST, Labels

# Words of names that say how a thing is, not what.
_HOW = """basic big bottom closed corner double end front half high large left long low middle new old open regular right round short side
single small square straight thick thin top steel wall wood wooden green red blue white black""".split()


def spoken(path: Path) -> str:
    """The name as people say it."""
    return re.sub(r"[_\s]+", " ", path.stem).strip() or path.name


def _in_name(path: Path) -> set[str]:
    return {word[:12] for word in re.findall(r"[a-z]{3,}", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem).lower()) if word not in _HOW}


def own(path: Path, words: Sequence[str]) -> str:
    """The first of these words that is in a file's name; "" for none."""
    there = _in_name(path)
    return next((word for word in words if word in there), "")


def label(files: Sequence[Path]) -> tuple[tuple[str, ...], Labels]:
    """By the folder where there are several; else by the words that several names share, the commonest first, but not nearly all.

    "homedecor_kitchen_chair.obj" among many that begin with homedecor is a kitchen, if there are more kitchen things than chairs.
    """
    if len({path.parent.name for path in files}) > 1:
        return (), Labels.fit(files)
    counts = collections.Counter(word for path in files for word in _in_name(path))
    words = sorted((word for word, n in counts.items() if LEAST <= n <= len(files) / 2), key=lambda word: (-counts[word], word))
    return tuple(words), Labels.fit(files, [own(path, words) for path in files])
