"""Meshes: OBJ, GLB, glTF, PLY and STL files <-> strips of triangles in letters (strip.py).

    mesh tent
    aaaaaXaXXNyyaaazaXaaXXzNyy

is a tent on a square floor, six triangles in one strip. The first line is "mesh" and a label. A mesh is scaled by its largest side to a
grid of 50 steps, stands on the ground in the middle of it, and its corners are welded where they fall together; triangles of no area and
those that are there twice go. Kept are the triangles and which of their sides is outside, exactly as they lie on the grid; where the files
have colours, one of at most 24 for each strip. Dropped are UV, normals, materials, rigs and animations; `dropped` names those of a file.

Worked example: a square of two triangles is `aaaaYaaYYzaaY`, the corners left behind, left before, right before, and behind the edge from
the first to the last of them (z) right behind: nine letters for the first triangle, four for the second.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pydantic

from cupola.errors import ConfigError, DataError
from cupola.media import extrude, facets, gbnf, meshfile, meshnames, picture, strip, turn
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.labels import Labels
from cupola.media.plates import Plates
from cupola.media.sprite import Sprite, SpriteOptions
from cupola.media.strip import Face

LEAST_FACES = 4  # the fewest that enclose anything
LOST = 0.05  # share of triangles that may have no area or be there twice: they go when it is written
TANGLED = 0.3  # edges of three triangles, or walked the same way twice, for each triangle: all 119 real meshes have fewer
_HEADER = re.compile(r"mesh(?: [a-z]+)*")
_NO_STEPS = "the medium's settings are damaged; make the corpus again"


class MeshOptions(Options):
    """[models.NAME.notation] of meshes."""

    steps: int = pydantic.Field(strip.BASE, ge=4, le=strip.BASE)  # along the largest side
    faces: int = pydantic.Field(400, ge=LEAST_FACES, le=5000)  # triangles; a larger mesh is left out
    extrude: bool = False  # PNG sprites become meshes two cells thick
    tile: tuple[int, int] | None = (
        None  # width and height of a sprite sheet's cells; None: what the JSON beside it says, or the picture shows
    )
    margin: int = pydantic.Field(0, ge=0)  # pixels around the cells of a sheet
    spacing: int = pydantic.Field(0, ge=0)  # and between them

    def suffixes(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        return (*meshfile.SUFFIXES, ".png") if self.extrude else usual


class Parsed(NamedTuple):
    """A text's strips, each with where it begins and ends, or what is wrong with it."""

    strips: list[strip.Strip]
    spans: list[tuple[int, int]]
    problems: list[Problem]


class Solid(NamedTuple):
    """A mesh on the grid."""

    faces: list[Face]
    colours: dict[Face, int] | None  # of turned faces


class Mesh(Plain):
    """Meshes of a few hundred triangles. What `write` makes of a piece reads back as the same triangles."""

    name = "mesh"
    suffixes: tuple[str, ...] = meshfile.SUFFIXES
    unit = "strip"
    pretokenizer = "superbpe"
    vocab_size = 1024
    scrub = False
    options: type[Options] = MeshOptions
    train: Mapping[str, float] = {"length": 1024, "variants": 0.9}
    passing = 0.8

    def __init__(self) -> None:
        self.steps = strip.BASE
        self.most = 400  # triangles
        self.sprites: Sprite | None = None  # reads PNG where they are to become meshes
        self.colours: tuple[tuple[int, int, int], ...] = ()
        self.words: tuple[str, ...] = ()  # that label a file by its name, the commonest first
        self.labels = Labels()

    def fit(self, files: Sequence[Path], options: Any, apart: Apart) -> Self | Plates:
        """For pictures alone, of which `extrude` makes meshes, Plates: the same medium in another notation."""
        if options.extrude and files and all(path.suffix.lower() == ".png" for path in files):
            grid = SpriteOptions(tile=options.tile, margin=options.margin, spacing=options.spacing, colours=picture.MOST_COLOURS)
            return Plates(Sprite("mesh").fit(files, grid, apart), MeshOptions)
        made = type(self)()
        made.steps, made.most, made.suffixes = options.steps, options.faces, options.suffixes(made.suffixes)
        colours: list[np.ndarray] = []
        good, faults = [], []
        pictures = [path for path in files if path.suffix.lower() == ".png"]
        for path in files:
            try:
                inks = made._load(path)[1].colours if path not in pictures else None
                colours += [np.unique(inks, axis=0)] if inks is not None and not apart(path.name) else []
                good += [path] if path not in pictures else []
            except DataError as e:
                faults.append(e)
        if pictures and options.extrude:
            grid = SpriteOptions(tile=options.tile, margin=options.margin, spacing=options.spacing, colours=strip.COLOURS)
            try:
                made.sprites = Sprite().fit(pictures, grid, apart)
                colours.append(made.sprites.palette.colours)
            except DataError as e:
                faults.append(e)
        if not good and made.sprites is None:
            why = f"; the first: {faults[0].what}" if faults else ""
            fix = f"a mesh is read from {' '.join(made.suffixes)}"
            raise DataError(f"no mesh that can be read among {len(files)} files{why}", "sources", fix)
        made.words, made.labels = meshnames.label(good)
        if made.sprites is not None:
            made.labels = dataclasses.replace(made.labels, known=tuple(sorted({*made.labels.known, *made.sprites.labels.known})))
        made.colours = meshfile.few(colours, strip.COLOURS)
        return made

    def settings(self) -> dict[str, Any]:
        plain = {"steps": self.steps, "faces": self.most, "sprites": self.sprites.settings() if self.sprites is not None else None}
        colours = [list(colour) for colour in self.colours]
        return {**plain, "colours": colours, "words": list(self.words), "labels": self.labels.plain()}

    def restore(self, settings: Mapping[str, Any]) -> Self | Plates:
        if "plates" in settings:
            return Plates(Sprite("mesh").restore(settings["plates"]), MeshOptions)
        made = type(self)()
        try:
            made.sprites = Sprite().restore(settings["sprites"]) if settings["sprites"] is not None else None
            options = MeshOptions(steps=settings["steps"], faces=settings["faces"], extrude=made.sprites is not None)
            made.steps, made.most, made.suffixes = options.steps, options.faces, options.suffixes(made.suffixes)
            made.colours = tuple((int(r), int(g), int(b)) for r, g, b in settings["colours"])
            made.words = tuple(map(str, settings["words"]))
            made.labels = Labels.restore(settings["labels"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no mesh settings: {str(e).splitlines()[0]}", "settings", _NO_STEPS) from None
        if len(made.colours) > strip.COLOURS:
            raise DataError(f"{len(made.colours)} colours, of at most {strip.COLOURS}", "settings", _NO_STEPS)
        return made

    def read(self, path: Path) -> Iterator[Document]:
        """The mesh of a file, or of each sprite of a sheet. Raises DataError as meshfile.load does, and for too many triangles."""
        if path.suffix.lower() == ".png":
            yield from self._extruded(path)
            return
        solid, _, _ = self._load(path)
        label = self._label_of(path)
        yield Document(self._print(solid, label), path.name, path.name, label=label or None, name=meshnames.spoken(path))

    def promise(self, path: Path) -> Promise:
        """faces: on the grid. exact: whether they come back from letters, winding and all. kept: share of the file's triangles.

        vertex_error: the farthest that a corner moved onto the grid, as a share of the largest side. watertight: 1 without holes. Of a
        picture: its pieces, their faces (median), and the shares that are exact and watertight.
        """
        if path.suffix.lower() == ".png":
            texts = [piece.text for piece in self.read(path)]
            solids = [solid for text in texts if (solid := self._solid(text)) is not None]
            share = {"exact": [self.canonical(t) == t for t in texts], "watertight": [facets.watertight(s.faces) for s in solids]}
            faces = float(np.median([len(solid.faces) for solid in solids]))
            return Promise(path.name, {"pieces": len(texts), "faces": faces} | {k: float(np.mean(v)) for k, v in share.items()})
        solid, triangles, grid = self._load(path)
        back = self._solid(self._print(solid, ""))
        figures = {
            "faces": len(solid.faces),
            "exact": float(back is not None and back.faces == solid.faces and back.colours == solid.colours),
            "kept": len(solid.faces) / len(triangles.faces),
            "vertex_error": facets.error(triangles.vertices, grid),
            "watertight": float(facets.watertight(solid.faces)),
        }
        return Promise(path.name, figures)

    def dropped(self, path: Path) -> list[str]:
        """What a file holds that no strip does, by name: "UV", "normals", "rigs"."""
        return meshfile.load(path).dropped

    def syntax(self, text: str) -> list[Problem]:
        return self._parsed(text).problems

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then flaws: over 5% of the triangles without area or double, under four, flat, tangled edges."""
        parsed = self._parsed(text)
        if parsed.problems:
            return parsed.problems
        faces = [face for one in parsed.strips for face in one.faces]
        starts = [start for (start, _), one in zip(parsed.spans, parsed.strips, strict=True) for _ in one.faces]
        first = text.index("\n") + 1
        found = facets.flaws(faces)
        out = []
        for places, what in ((found.no_area, "triangles without area"), (found.double, "triangles that are there twice")):
            if len(places) > max(1, LOST * len(faces)):
                out.append(Problem(2, starts[places[0]] - first + 1, f"{len(places)} of {len(faces)} are {what}", "leave them out"))
        left = len(faces) - len(found.no_area) - len(found.double)
        if left < LEAST_FACES:
            out.append(Problem(2, 1, f"{left} triangles", f"a mesh has {LEAST_FACES} or more"))
        elif found.flat:
            out.append(Problem(2, 1, "flat: it has no extent one way", "spread it over all three axes"))
        if found.edges() > TANGLED * max(left, 1):
            what = f"{found.crowded} edges of three triangles or more, {found.crossed} walked twice the same way"
            out.append(Problem(2, 1, what, "an edge has two triangles, and each walks it the other way"))
        return out

    def grammar(self, pins: Pins) -> str:
        """GBNF for what follows `pins.prompt`, which may end anywhere in the header or a strip. Raises ConfigError for other prompts."""
        head, newline, body = pins.prompt.partition("\n")
        if not newline:
            heads = gbnf.rest(["mesh\n", *(f"mesh {label}\n" for label in self.labels.known)], head)
            if not heads:
                raise ConfigError(f"no mesh begins with {head[:40]!r}", "prompt", 'begin with "mesh", and a label if there are some')
            begun, there = f"{gbnf.either(heads)} strip", 1
        else:
            begun, there = self._going_on(head, body)
        least = max(0, (pins.least or 1) - there)
        if pins.most is not None and pins.most < max(there, pins.least or 1):
            what = f"at most {pins.most} strips, but the prompt and what is to be there at least are {max(there, pins.least or 1)}"
            raise ConfigError(what, "most", "ask for more, or for a shorter prompt")
        counts = f"{{{least},{pins.most - there}}}" if pins.most is not None else f"{{{least},}}" if least else "*"
        return f'root ::= {begun} (" " strip){counts} "\\n"\n{self._rules()}'

    def filling(self, text: str, start: int, end: int) -> str:
        inside = [span for span in self.spans(text) if start <= span[0] and span[1] <= end]
        more = f' (" " strip){{{len(inside) - 1}}}' if len(inside) > 1 else ""
        return f"root ::= strip{more}\n{self._rules()}"

    def head(self, label: str) -> str:
        return f"mesh {self.labels.check(label, self.name)}\n"

    def canonical(self, text: str) -> str:
        solid = self._solid(text)
        return self._print(solid, _header(text)) if solid is not None and solid.faces else text

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self._parsed(text).spans

    def variants(self, text: str) -> Iterator[str]:
        """Turned by quarters about the up axis, and mirrored."""
        solid = self._solid(text)
        if solid is None or not solid.faces:
            return
        seen = {text}
        for turns, mirror in facets.POSES[1:]:
            moved = facets.pose(solid.faces, turns, mirror, self.steps)
            colours = None if solid.colours is None else [solid.colours[face] for face in solid.faces]
            variant = self._print(_settled(moved, colours, self.steps), _header(text))
            if variant not in seen:
                seen.add(variant)
                yield variant

    def distance(self, a: str, b: str) -> float:
        """1 minus the share of voxels that both skins go through, of all that either does: the mean of a fine and a coarse grid.

        17 and 9 voxels along the largest side; the best of four turns, mirrored or not. How a skin is cut into triangles does not count.
        Of 119 real meshes two lie 0.9 apart (median), and each 0.6 from its nearest.
        """
        if a == b:
            return 0.0
        x, y = (_voxels(text, self.steps, len(self.colours)) for text in (a, b))
        if not x or not y:
            return 0.0 if x == y else 1.0
        return 1 - max(sum((p & q).bit_count() / (p | q).bit_count() for p, q in zip(x[0], pose, strict=True)) / len(pose) for pose in y)

    def shingles(self, text: str) -> set[str]:
        solid = self._solid(text)
        return facets.shingles(solid.faces) if solid is not None else set()

    def title(self, text: str) -> str:
        solid = self._solid(text)
        if solid is None:
            return "no mesh"
        whole = ", watertight" if facets.watertight(solid.faces) else ""
        colours = len(set(solid.colours.values())) if solid.colours is not None else 0
        inks = f", {colours} colour{'s' if colours > 1 else ''}" if colours else ""
        return f"{_header(text) or 'mesh'}, {len(solid.faces)} triangles{inks}{whole}"

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.gif, a turning picture; `stem`.glb with vertex colours; `stem`.obj. The largest possible side is 1 long.

        Raises DataError for what `syntax` refuses, MachineError without the meshes extra or where a file cannot be written.
        """
        parsed = self._parsed(text)
        if parsed.problems:
            raise DataError(f"not a mesh: {parsed.problems[0]}", str(stem), "check it first")
        solid = self._solid(text)
        faces = solid.faces if solid is not None and solid.faces else [face for one in parsed.strips for face in one.faces]
        used, index = np.unique(np.array(faces), return_inverse=True)
        vertices = (strip.points(used) - [(self.steps - 1) / 2, 0, (self.steps - 1) / 2]) / (self.steps - 1)
        colours = np.tile(np.array(turn.CLAY, np.uint8), (len(faces), 1))
        if self.colours and solid is not None and solid.faces:
            colours = np.array([self.colours[solid.colours[face]] for face in faces], np.uint8)
        return meshfile.write_files(vertices, index.reshape(-1, 3), colours, stem, coloured=bool(self.colours))

    def _load(self, path: Path) -> tuple[Solid, meshfile.Triangles, np.ndarray]:
        """(mesh, what the file holds, its corners on the grid). Raises DataError."""
        triangles = meshfile.load(path)
        grid = facets.snap(triangles.vertices, self.steps)
        faces = facets.tuples(strip.codes(grid)[triangles.faces])
        colours = None
        if self.colours:
            inks = triangles.colours if triangles.colours is not None else np.tile(np.array(turn.CLAY, np.uint8), (len(faces), 1))
            colours = meshfile.nearest(inks, self.colours)
        solid = _settled(faces, colours, self.steps)
        if not solid.faces:
            raise DataError("all of its triangles are smaller than a step of the grid", str(path), "leave it out")
        if len(solid.faces) > self.most:
            fix = "make it simpler (Blender: the Decimate modifier), or raise faces in [models.NAME.notation]; or leave it out"
            raise DataError(f"{len(solid.faces):,} triangles, more than the {self.most:,} that are read", str(path), fix)
        return solid, triangles, grid

    def _extruded(self, path: Path) -> Iterator[Document]:
        """The sprites of a picture, each a plate; those that need too many triangles are left out, unless all do."""
        if self.sprites is None:
            raise DataError("a picture, not a mesh", str(path), "say extrude = true in [models.NAME.notation], or leave it out")
        good, why = 0, ""
        side = max(max(size) for size in self.sprites.sizes)
        for piece in self.sprites.read(path):
            rgba = self.sprites.rgba(piece.text)
            inks = meshfile.nearest(rgba[..., :3].reshape(-1, 3), self.colours or (turn.CLAY,)).reshape(rgba.shape[:2])
            plate = extrude.solid(np.where(rgba[..., 3] > 0, inks, -1))
            corners = plate.corners * max(1, (self.steps - 1) // side)  # all sprites of a corpus at one scale
            if corners.max() >= self.steps or len(corners) > self.most:
                why = f"its sprites need {len(corners)} triangles, of at most {self.most}, or more than {self.steps - 1} steps"
                continue
            good += 1
            solid = _settled(facets.tuples(strip.codes(corners)), plate.colours.tolist() if self.colours else None, self.steps)
            yield dataclasses.replace(piece, text=self._print(solid, piece.label or ""))
        if not good:
            raise DataError(why, str(path), "raise faces in [models.NAME.notation], use smaller sprites, or leave it out")

    def _parsed(self, text: str) -> Parsed:
        return _parse(text, self.steps, len(self.colours))

    def _solid(self, text: str) -> Solid | None:
        return _solid(text, self.steps, len(self.colours))

    def _print(self, solid: Solid, label: str) -> str:
        return f"mesh{' ' * bool(label)}{label}\n{strip.encode(solid.faces, solid.colours)}\n"

    def _label_of(self, path: Path) -> str:
        return self.labels.of(path, meshnames.own(path, self.words))

    def _rules(self) -> str:
        colour = f"{gbnf.letters(strip.LETTERS[: len(self.colours)])} " if self.colours else ""
        step = gbnf.letters(strip.LETTERS[: self.steps])
        return f'strip ::= {colour}k{{9}} more*\nmore ::= "{strip.SWAP}"? k k k\nk ::= {step}\n'

    def _going_on(self, head: str, body: str) -> tuple[str, int]:
        """(GBNF for the rest of the strip that `body` ends in, strips so far with that one)."""
        whole, _, last = body.rpartition(" ")
        words = whole.split(" ") if whole or " " in body else []
        coloured = len(self.colours)
        if not _HEADER.fullmatch(head) or "\n" in body or any(strip.fault(word, self.steps, coloured) for word in words):
            raise ConfigError(
                "no mesh begins with this prompt", "prompt", "end it in the header or in a strip: letters, z, and single blanks"
            )
        letters = last[1:] if coloured else last
        a, missing = strip.LETTERS[0], 9 - len(letters)
        tail = (
            ""
            if not last
            else a * missing
            if missing > 0
            else a * (-len(letters.replace(strip.SWAP, "")) % 3 or 3 * last.endswith(strip.SWAP))
        )
        if last and strip.fault(last + tail, self.steps, coloured):
            raise ConfigError(f"no mesh begins with this prompt: {strip.fault(last + tail, self.steps, coloured)[1]}", "prompt", "mend it")  # type: ignore[index]
        begun = f"k{{{len(tail)}}} more*" if tail else "more*" if last else "strip"
        return begun, len(words) + 1


def _settled(faces: Sequence[Face], colours: Sequence[int] | None, steps: int) -> Solid:
    """Tidy and on its place; of a triangle that is there twice the first colour counts."""
    whole = [(face, i) for i, face in enumerate(faces) if len(set(face)) == 3]
    moved = facets.settle([face for face, _ in whole], steps)
    inks: dict[Face, int] = {}
    for face, (_, i) in zip(moved, whole, strict=True):
        inks.setdefault(strip.turned(face), int(colours[i]) if colours is not None else 0)
    return Solid(sorted(inks), inks if colours is not None else None)


@functools.lru_cache(maxsize=512)
def _parse(text: str, steps: int, colours: int) -> Parsed:
    head, newline, rest = text.partition("\n")
    if not _HEADER.fullmatch(head) or not newline:
        return Parsed([], [], [Problem(1, 1, "no header", 'the first line is "mesh" and a label of small letters')])
    body, at, strips, spans, problems = rest.removesuffix("\n"), len(head) + 1, [], [], []
    if "\n" in body:
        problems.append(Problem(3, 1, "a third line", "all strips stand on the second line, parted by blanks"))
    for word in re.split(r"[ \n]", body):
        if found := strip.fault(word, steps, colours):
            problems.append(Problem(2, at - len(head) + found[0], found[1], found[2]))
        else:
            strips.append(strip.decode(word, colours > 0))
            spans.append((at, at + len(word)))
        at += len(word) + 1
    return Parsed(strips, spans, problems)


@functools.lru_cache(maxsize=512)
def _solid(text: str, steps: int, colours: int) -> Solid | None:
    parsed = _parse(text, steps, colours)
    if parsed.problems:
        return None
    faces = [face for one in parsed.strips for face in one.faces]
    return _settled(faces, [one.colour or 0 for one in parsed.strips for _ in one.faces] if colours else None, steps)


@functools.lru_cache(maxsize=4096)
def _voxels(text: str, steps: int, colours: int) -> list[tuple[int, ...]]:
    """The fine and the coarse voxels of each of the eight poses; [] for a text without triangles."""
    solid = _solid(text, steps, colours)
    if solid is None or not solid.faces:
        return []
    return list(zip(*(map(facets.bits, facets.poses(facets.voxels(solid.faces, cells))) for cells in facets.CELLS), strict=True))


def _header(text: str) -> str:
    """The label of a text with a header; "" for none."""
    return text.partition("\n")[0].partition(" ")[2]
