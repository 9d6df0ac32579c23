"""Real files <-> notation. One file a medium; MEDIA has one instance of each.

Everything after this stage (tokenizer, model, engine, ledger) sees text only.
"""

from __future__ import annotations

from cupola.media.base import Document, Medium, Pins, Problem
from cupola.media.clip import Clip
from cupola.media.code import Code
from cupola.media.effect import Effect
from cupola.media.level import Level
from cupola.media.lines import Lines
from cupola.media.mesh import Mesh
from cupola.media.names import Names
from cupola.media.sound import Sound
from cupola.media.sprite import Sprite
from cupola.media.text import Text
from cupola.media.tune import Tune

_KINDS: tuple[Medium, ...] = (
    Text(), Code(), Tune(), Sprite("icon"), Sprite("sprite"), Clip(), Level(), Mesh(), Effect(), Sound(), Lines(), Names(),
)  # fmt: skip
MEDIA: dict[str, Medium] = {medium.name: medium for medium in _KINDS}

__all__ = ["MEDIA", "Document", "Medium", "Pins", "Problem"]
