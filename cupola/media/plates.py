"""Meshes that are all sprites pushed out to plates: written as the sprites' own rows, from which the triangles follow.

    mesh thing key
    aabbaa abccba abaaba

A plate's triangles are a function of its cells (extrude.py), so a model draws the cells, and every mesh is whole, watertight and of one
thickness. As strips the same corpus would be four times as long, and a small model would tear the triangles apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cupola.errors import DataError
from cupola.media import extrude, facets, meshfile, strip
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.sprite import Sprite


class Plates(Plain):
    """What the medium mesh is for a corpus of pictures alone. `write` gives the same triangles for the same rows."""

    name = "mesh"
    suffixes = (".png",)
    unit = "row"
    pretokenizer = Sprite.pretokenizer
    vocab_size = Sprite.vocab_size
    scrub = False
    train: Mapping[str, float] = Sprite.train
    passing = 0.8

    def __init__(self, sprites: Sprite, options: type[Options]):
        """sprites: Sprite("mesh"), fitted: it reads the pictures and has the notation."""
        self.sprites, self.options = sprites, options

    def fit(self, files: Sequence[Path], options: Any, apart: Apart) -> Plates:
        return Plates(self.sprites.fit(files, options, apart), self.options)

    def settings(self) -> dict[str, Any]:
        return {"plates": self.sprites.settings()}

    def restore(self, settings: Mapping[str, Any]) -> Plates:
        return Plates(Sprite("mesh").restore(settings.get("plates", {})), self.options)

    def read(self, path: Path) -> Iterator[Document]:
        """Its pictures. Raises DataError as Sprite does, and for a file of triangles, which rows of cells cannot say."""
        if path.suffix.lower() not in self.suffixes:
            raise DataError("triangles, where this corpus is of pictures", str(path), "give a PNG, or train on meshes")
        yield from self.sprites.read(path)

    def syntax(self, text: str) -> list[Problem]:
        return self.sprites.syntax(text)

    def check(self, text: str) -> list[Problem]:
        return self.sprites.check(text)

    def grammar(self, pins: Pins) -> str:
        return self.sprites.grammar(pins)

    def head(self, label: str) -> str:
        return self.sprites.head(label)

    def filling(self, text: str, start: int, end: int) -> str:
        return self.sprites.filling(text, start, end)

    def region(self, text: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[str, list[tuple[int, int]]]:
        return self.sprites.region(text, rows, columns)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self.sprites.spans(text)

    def room(self, text: str, more: int) -> str:
        return self.sprites.room(text, more)

    def canonical(self, text: str) -> str:
        return self.sprites.canonical(text)

    def variants(self, text: str) -> Iterator[str]:
        return self.sprites.variants(text)

    def distance(self, a: str, b: str) -> float:
        return self.sprites.distance(a, b)

    def shingles(self, text: str) -> set[str]:
        return self.sprites.shingles(text)

    def title(self, text: str) -> str:
        if self.syntax(text):
            return "no mesh"
        corners, _ = self._triangles(text)
        return f"{text.partition(chr(10))[0].removeprefix('mesh').strip() or 'mesh'}, {len(corners)} triangles"

    def _triangles(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """((F, 3 corners, 3) cells, (F,) which colour)."""
        rgba = self.sprites.rgba(text)
        index = self.sprites.palette.index(rgba)
        plate = extrude.solid(index.astype(np.int64))
        return plate.corners, plate.colours

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.gif, a turning picture; `stem`.glb with vertex colours; `stem`.obj; and the picture itself, `stem`.png.

        Raises DataError for what is not valid or blank, MachineError without the meshes extra or where a file cannot be written.
        """
        corners, inks = self._triangles(text)
        if not len(corners):
            raise DataError("nothing in it but blank", str(stem), "check it first")
        side = max(max(size) for size in self.sprites.sizes)
        points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
        middle = (points.max(0) + points.min(0)) / 2
        vertices = (points - [middle[0], points[:, 1].min(), middle[2]]) / side
        files = meshfile.write_files(vertices, index.reshape(-1, 3), self.sprites.palette.colours[inks], stem)
        return [*files, *self.sprites.write(text, stem)]

    def promise(self, path: Path) -> Promise:
        """pieces; faces (median); watertight (share); identical (share of pictures whose cells all come back)."""
        texts = [document.text for document in self.read(path)]
        found = [self._triangles(text)[0] for text in texts]
        whole = [facets.watertight(facets.tuples(strip.codes(corners))) for corners in found if corners.max() < strip.BASE]
        figures = {"pieces": float(len(texts)), "faces": float(np.median([len(c) for c in found])), "watertight": float(np.mean(whole))}
        return Promise(path.name, figures | {"identical": self.sprites.promise(path).figures["identical"]})
