"""Sprites, icons and tiles: pictures of up to 64 x 64 pixels <-> rows of letters, a letter a pixel.

`a` is blank and every other letter a colour of the corpus's palette (picture.Palette), the commonest colour first. A sprite of 6 x 3:

    sprite monster
    aabbaa abccba abaaba

Where a corpus has several sizes, the first word says which: "sprite b monster". An icon has one ink, which its header names; its rows
say only where it is:

    icon key ink y
    aabbaa abbbba abaaba

Colours beyond the palette's are put into the nearest in OKLab; alpha under one half is blank.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field
from scipy import ndimage

from cupola.errors import ConfigError, DataError
from cupola.media import picture, rows
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.gbnf import either, letters, quoted, rest
from cupola.media.labels import Labels
from cupola.media.picture import Cell, Palette
from cupola.media.text import word_spans, write_text

LARGEST = 64  # pixels of a side; a larger picture is a sheet
MOST_SIZES = 25
LEAST_INK = 0.02  # share of the cells
CONNECTED = 0.6  # share of the ink that the largest part has, parts being at most two pixels from each other; of real ones 98% have more
BACKGROUND = 1 / 3  # share of all pixels, in pictures without transparency
TILE = 16  # pixels of a floor or wall that is cut from a WAD


Side = Annotated[int, Field(ge=1, le=LARGEST)]


class SpriteOptions(Options):
    """[models.NAME.notation] of sprites and icons."""

    tile: tuple[Side, Side] | None = None  # width and height of a sheet's cells; None: what the JSON beside it says, or the picture shows
    margin: int = Field(0, ge=0)  # pixels around the cells of a sheet
    spacing: int = Field(0, ge=0)  # and between them
    colours: int = Field(31, ge=2, le=picture.MOST_COLOURS)  # of the palette
    background: str = "auto"  # a colour that is blank, such as "000000"; "auto": the commonest, where nothing is transparent; "none"


@dataclasses.dataclass(frozen=True)
class Found:
    """One picture of a file."""

    rgba: np.ndarray
    label: str
    name: str


class Sprite(Plain):
    """Pixel art. read then write keeps every pixel where the colours fit the palette; `promise` says what else is lost."""

    suffixes = (".png", ".gif", ".webp", ".apng", ".wad")
    unit = "row"
    pretokenizer = "gpt-2"
    vocab_size = 262  # a token a letter
    scrub = False
    options = SpriteOptions
    train: Mapping[str, float] = {"length": 320, "variants": 0.5}
    passing = 0.9

    def __init__(self, name: str = "sprite"):
        self.name = name
        self.sizes: tuple[tuple[int, int], ...] = ((16, 16),)
        self.palette = Palette(np.array([[0, 0, 0], [255, 255, 255], [200, 60, 50], [70, 150, 70], [60, 90, 190], [230, 190, 70]]))
        self.background: str | None = None
        self.labels = Labels()
        self.grid = SpriteOptions()
        self._parsed = functools.lru_cache(4096)(self._parse)
        self._posed = functools.lru_cache(2048)(self._poses)

    # --- what a corpus decides

    def fit(self, files: Sequence[Path], options: SpriteOptions, apart: Apart) -> Self:
        new = type(self)(self.name)
        new.grid = options
        found, owners, first = [], [], None
        for path in files:
            try:
                pieces = list(new._pictures(path))
            except DataError as e:
                first = first or e
                continue
            found += pieces
            owners += [path] * len(pieces)
        if not found:
            raise first or DataError("no picture in it", "", "give a folder of PNG files")
        new.background = _background([f.rgba for f in found], options.background)
        clear = [new._cleared(f.rgba) for f in found]
        clear = [c for c in clear if (c[..., 3] >= 128).any()]
        new.sizes = _sizes(clear)
        inks = [_one_ink(c) for c in clear] if self.name == "icon" else clear
        new.palette = Palette.fit(inks, options.colours)
        own = [f.label for f in found]
        new.labels = Labels.fit(owners, own if any(own) else ())
        return new

    def settings(self) -> dict[str, Any]:
        return {
            "sizes": [list(size) for size in self.sizes],
            "palette": self.palette.plain(),
            "background": self.background,
            "labels": self.labels.plain(),
            "sheet": self.grid.model_dump(mode="json"),
        }

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)(self.name)
        try:
            new.sizes = tuple((int(w), int(h)) for w, h in settings["sizes"])
            new.palette, new.labels = Palette.restore(settings["palette"]), Labels.restore(settings["labels"])
            new.background, new.grid = settings["background"], SpriteOptions(**settings["sheet"])
            wrong = new._damage()
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of {self.name}s: {e}", "settings", "they are damaged; make the corpus again") from None
        if wrong:
            raise DataError(f"no settings of {self.name}s: {wrong}", "settings", "they are damaged; make the corpus again")
        return new

    def _damage(self) -> str:
        """What no corpus can have decided; "" where there is nothing."""
        if not 1 <= len(self.sizes) <= MOST_SIZES or not all(1 <= side <= LARGEST for size in self.sizes for side in size):
            return f"sizes {self.sizes!r:.60}"
        if not 1 <= len(self.palette) <= picture.MOST_COLOURS:
            return f"a palette of {len(self.palette)} colours"
        if self.background is not None and not re.fullmatch("[0-9a-f]{6}", self.background):
            return f"a background {self.background!r:.40}"
        return ""

    # --- files in

    def read(self, path: Path) -> Iterator[Document]:
        """Its pictures, empty ones and repeated ones left out. Pictures of one outline are a group, so that recoloured ones stay together.

        Raises DataError for what is no picture, a sheet without a grid, and a picture larger than any that the corpus kept.
        """
        seen, large = set(), None
        for number, found in enumerate(self._pictures(path), start=1):
            index = self.palette.index(self._cleared(found.rgba))
            if not (index >= 0).any():
                continue
            size = self._size(index.shape[1], index.shape[0])
            if size is None:
                large = index.shape
                continue
            index = _placed(index, *self.sizes[size])
            label = self.labels.of(path, found.label)
            text = self._print(index, size, label)
            if text not in seen:
                seen.add(text)
                outline = rows.shifted(np.where(_trimmed(index) >= 0, 0, -1).astype(np.int8), 0)
                group = (
                    f"outline {min(p.tobytes() for p in outline).hex()[:400]}" if not (index >= 0).all() else f"{path.name} {found.name}"
                )
                name = f"{found.name or path.stem}{f' ({number})' if number > 1 and not found.name else ''}"
                yield Document(text, group, path.name, label=label or None, name=name)
        if large is not None and not seen:
            what = f"{large[1]} x {large[0]} pixels, larger than the sizes that this corpus keeps"
            raise DataError(what, str(path), f"at most {MOST_SIZES} sizes are kept, the commonest: leave it out, or make it smaller")
        if not seen:
            raise DataError("nothing in it but blank", str(path), "leave it out, or say another background in [models.NAME.notation]")

    def _pictures(self, path: Path) -> Iterator[Found]:
        if path.suffix.lower() == ".wad":
            yield from _from_wad(path)
            return
        frames = picture.open_frames(path)
        for number, frame in enumerate(frames.pictures, start=1):
            place = f"{path}" + (f", frame {number}" if len(frames.pictures) > 1 else "")
            for cell in self._cells(frame, path, place):
                part = frame[cell.y : cell.y + cell.h, cell.x : cell.x + cell.w]
                if part.size:
                    yield Found(part, cell.label, cell.name)

    def _cells(self, frame: np.ndarray, path: Path, place: str) -> list[Cell]:
        height, width = frame.shape[:2]
        tile = self.grid.tile
        if tile is not None and (width, height) != tile:
            return picture.cells(width, height, tile, self.grid.margin, self.grid.spacing, place)
        if listed := picture.beside(path):
            if bad := next(
                (c for c in listed if c.x < 0 or c.y < 0 or c.x + c.w > width or c.y + c.h > height or c.w < 1 or c.h < 1), None
            ):
                what = f"the JSON beside it names a cell at {bad.x}, {bad.y} of {bad.w} x {bad.h}, outside of its {width} x {height} pixels"
                raise DataError(what, place, "export sheet and JSON again, together")
            if large := next((c for c in listed if max(c.w, c.h) > LARGEST), None):
                raise DataError(f"a cell of {large.w} x {large.h} pixels", place, f"sprites have at most {LARGEST} pixels on a side")
            return listed
        if max(width, height) <= LARGEST:
            return [Cell(0, 0, width, height)]
        if grid := picture.guess_grid(frame):
            return picture.cells(width, height, *grid, place)
        what = f"{width} x {height} pixels: a sheet, and its grid does not show"
        fix = "say it in [models.NAME.notation]: tile = [16, 16], and margin and spacing where there are some"
        raise DataError(what, place, f"{fix}; a single sprite has at most {LARGEST} pixels on a side: make it smaller")

    def _cleared(self, rgba: np.ndarray) -> np.ndarray:
        """The picture with its background blank."""
        if self.background is None:
            return rgba
        out = rgba.copy()
        out[(rgba[..., :3] == np.frombuffer(bytes.fromhex(self.background), np.uint8)).all(2), 3] = 0
        return out

    def _size(self, width: int, height: int) -> int | None:
        """The smallest size that holds it, None if none does."""
        fits = [(w * h, i) for i, (w, h) in enumerate(self.sizes) if w >= width and h >= height]
        return min(fits)[1] if fits else None

    # --- notation

    def _header(self, size: int, label: str, ink: str = "") -> str:
        parts = [self.name, chr(ord("a") + size) if len(self.sizes) > 1 else "", label, f"ink {ink}" if ink else ""]
        return " ".join(part for part in parts if part) + "\n"

    def _print(self, index: np.ndarray, size: int, label: str) -> str:
        if self.name != "icon":
            return self._header(size, label) + rows.text_of(index) + "\n"
        ink = int(np.bincount(index[index >= 0]).argmax())
        mask = np.where(index >= 0, 0, -1).astype(np.int8)
        return self._header(size, label, rows.COLOURS[ink]) + rows.text_of(mask) + "\n"

    def _parse(self, text: str) -> tuple[np.ndarray, int, str] | Problem:
        """((H, W) int8 with the icon's ink in it, which size, label), or the first thing wrong."""
        head, newline, body = text.partition("\n")
        found = self._heading(head) if newline else Problem(1, 1, f"no line that begins with {self.name!r}", self._begin)
        if isinstance(found, Problem):
            return found
        size, ink, label = found
        width, height = self.sizes[size]
        if problem := _rows_problem(body, width, height, BINARY if self.name == "icon" else rows.COLOURS[: len(self.palette)]):
            return problem
        index = rows.index_of(body[:-1], width, height)
        if self.name == "icon":
            index = np.where(index >= 0, ink, -1).astype(np.int8)
        return index, size, label

    @property
    def _begin(self) -> str:
        return f"begin with {self.name!r} and a new line"

    def _heading(self, head: str) -> tuple[int, int, str] | Problem:
        """(which size, which ink, label) of a header without its new line, or what is wrong with it."""
        words = head.split(" ")
        if words[0] != self.name:
            return Problem(1, 1, f"no line that begins with {self.name!r}", self._begin)
        size, ink, given = 0, 0, words[1:]
        if len(self.sizes) > 1:
            size = ord(given[0]) - ord("a") if given and len(given[0]) == 1 else -1
            if not 0 <= size < len(self.sizes):
                return Problem(
                    1, len(self.name) + 2, "no size", f"the first word is a letter from a to {chr(ord('a') + len(self.sizes) - 1)}"
                )
            given = given[1:]
        if self.name == "icon":
            if len(given) < 2 or given[-2] != "ink" or given[-1] not in rows.COLOURS[: len(self.palette)] or len(given[-1]) != 1:
                return Problem(1, 1, "no ink", f"end the line with: ink {rows.COLOURS[0]}")
            ink, given = rows.COLOURS.index(given[-1]), given[:-2]
        label = " ".join(given)
        if label and label not in self.labels.known:
            return Problem(1, len(self.name) + 2, f"no label {label!r:.40}", f"use one of: {', '.join(self.labels.known[:8]) or 'none'}")
        return size, ink, label

    def syntax(self, text: str) -> list[Problem]:
        found = self._parsed(text)
        return [found] if isinstance(found, Problem) else []

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then an empty picture, or ink scattered in small parts."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return [found]
        inked = found[0] >= 0
        if inked.mean() < LEAST_INK:
            return [Problem(2, 1, "nearly nothing in it", "draw more")]
        if not inked.all() and (share := _largest_part(inked)) < CONNECTED:
            return [Problem(2, 1, f"scattered: its largest part has {share:.0%} of the ink", "connect the parts")]
        return []

    def canonical(self, text: str) -> str:
        found = self._parsed(text)
        return text if isinstance(found, Problem) else self._print(*found)

    def head(self, label: str) -> str:
        return self._header(0, self.labels.check(label, self.name)).rstrip("\n") + (" ink " if self.name == "icon" else "\n")

    def grammar(self, pins: Pins) -> str:
        letter = rows.class_of(1 if self.name == "icon" else len(self.palette))
        head, newline, body = pins.prompt.partition("\n")
        tails = [self._tail(head, body)] if newline else self._tails(head)
        if not tails or None in tails:
            such = self._header(0, "", rows.COLOURS[0] if self.name == "icon" else "")
            raise ConfigError(f"no {self.name} begins with {pins.prompt!r:.60}", "prompt", f"such as {such!r}")
        return f"root ::= {' | '.join(map(str, tails))}\nc ::= {letter}"

    def _tail(self, head: str, body: str) -> str | None:
        """What follows a whole header and the rows so far, None where nothing can."""
        found = self._heading(head)
        if isinstance(found, Problem):
            return None
        width, height = self.sizes[found[0]]
        whole = body.endswith("\n")
        if _rows_problem(body, width, height, BINARY if self.name == "icon" else rows.COLOURS[: len(self.palette)], begun=not whole):
            return None
        return quoted("") if whole else f'{rows.rest_of_rows(body, width, height)} "\\n"'

    def _tails(self, head: str) -> list[str | None]:
        """What may follow a header that ends anywhere, for each size."""
        inks = rows.COLOURS[: len(self.palette)]
        tails: list[str | None] = []
        for size, (width, height) in enumerate(self.sizes):
            body = f'"\\n" {rows.rest_of_rows("", width, height)} "\\n"'
            heads = [self._header(size, label)[:-1] + (" ink " if self.name == "icon" else "") for label in ("", *self.labels.known)]
            if left := rest(heads, head):
                tails.append(f"{either(left)} {letters(inks)} {body}" if self.name == "icon" else f"{either(left)} {body}")
            if self.name == "icon" and head[:-1] in heads and head[-1] in inks:
                tails.append(body)
        return tails

    def filling(self, text: str, start: int, end: int) -> str:
        return rows.same_shape(text[start:end], rows.class_of(1 if self.name == "icon" else len(self.palette)))

    def region(self, text: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[str, list[tuple[int, int]]]:
        spans = self.spans(text)
        width = spans[0][1] - spans[0][0] if spans else 0
        for (first, last), most, what in ((rows, len(spans), "row"), (columns, width, "column")):
            if not 1 <= first <= last <= most:
                raise DataError(
                    f"no {what}s {first} to {last}: it has {most}", "--columns", f"give numbers from 1 to {most}, the lower one first"
                )
        return text, [(start + columns[0] - 1, start + columns[1]) for start, _ in spans[rows[0] - 1 : rows[1]]]

    def room(self, text: str, more: int) -> str:
        """Its rows moved up by `more`, so that as many fit below."""
        spans = self.spans(text)
        if more >= len(spans):
            raise DataError(f"{more} rows more, and it has {len(spans)}", "--more", f"give at most {max(1, len(spans) - 1)}")
        return text[: spans[0][0]] + text[spans[more][0] :]

    def spans(self, text: str) -> list[tuple[int, int]]:
        return word_spans(text)

    def title(self, text: str) -> str:
        found = self._parsed(text)
        if isinstance(found, Problem):
            return f"no {self.name}"
        index, _, label = found
        colours = len(np.unique(index[index >= 0]))
        return f"{label or self.name}, {index.shape[1]} x {index.shape[0]}, {colours} colour{'' if colours == 1 else 's'}"

    # --- what is alike

    def variants(self, text: str) -> Iterator[str]:
        """Mirrored, and both moved by a pixel where nothing is lost; of a tile, mirrored, and both begun at their middles."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return
        index, size, label = found
        seen = {text}
        for other in _moved(index):
            if (printed := self._print(other, size, label)) not in seen:
                seen.add(printed)
                yield printed

    def distance(self, a: str, b: str) -> float:
        """The share of pixels that differ, of those inked in either, at the best of mirror image and shifts by one.

        Of tiles, which have no blank pixel: at the best of mirror image and quarters of the side. Of icons the ink's colour does not count.
        """
        if a == b:
            return 0.0
        x, y = self._posed(a), self._posed(b)
        if x is None or y is None:
            return 1.0
        (x, rolled_x), (y, rolled_y) = x, y
        if rolled_x is not None and rolled_y is not None and rolled_x.shape == rolled_y.shape:
            return rows.differing(rolled_x[0], rolled_y)
        if x.shape[1:] != y.shape[1:]:
            high, wide = (max(p.shape[k] for p in (x, y)) for k in (1, 2))
            x, y = (_canvas(p, high, wide) for p in (x, y))
        return min(rows.differing(x[4], y), rows.differing(y[4], x))  # 4: unmoved

    def _poses(self, text: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        """(moved by up to one, of a tile begun at any quarter) of a text that is valid."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return None
        index = self._plain(found[0])
        return rows.shifted(index), rows.rolled(index) if (index >= 0).all() else None

    def _plain(self, index: np.ndarray) -> np.ndarray:
        return np.where(index >= 0, 0, -1).astype(np.int8) if self.name == "icon" else index

    def shingles(self, text: str) -> set[str]:
        """Patches of 3 x 3 pixels, each the same for its mirror image."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return {text}
        return set(rows.patches(self._plain(found[0]), wrap=bool((found[0] >= 0).all())))

    # --- files out

    def rgba(self, text: str) -> np.ndarray:
        """(H, W, 4) uint8. Raises DataError for what is not valid."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            raise DataError(f"no {self.name}: {found}", self.name, "check it first")
        return self.palette.rgba(found[0])

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.png in its true size, blank pixels transparent."""
        return [picture.save_png(self.rgba(text), stem.with_name(f"{stem.name}.png"))]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """`stem`.png, all of them on a sheet; `stem`.json, which Aseprite and engines read beside it; `stem`.tsj, a tileset of Tiled."""
        order = sorted(texts, key=lambda t: self.title(t))
        labels = [self.title(t).partition(",")[0] for t in order]
        names = collections.Counter[str]()
        image, places = picture.sheet([self.rgba(t) for t in order], min(8, max(1, math.ceil(math.sqrt(len(order))))))
        listed = []
        for place, label in zip(places, labels, strict=True):
            names[label] += 1
            listed.append(dataclasses.replace(place, name=f"{label} {names[label]}", label=label))
        tags = [(label, labels.index(label), len(labels) - 1 - labels[::-1].index(label)) for label in dict.fromkeys(labels)]
        paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".json", ".tsj")]
        size = image.shape[1], image.shape[0]
        tile = max(p.w for p in places), max(p.h for p in places)
        picture.save_png(image, paths[0])
        write_text(paths[1], picture.aseprite(paths[0].name, size, listed, tags))
        write_text(paths[2], picture.tiled(paths[0].name, size, tile, len(order), labels))
        return paths

    def promise(self, path: Path) -> Promise:
        """pictures, identical (share), psnr and psnr_p5 (dB of the others), alpha_thresholded (share of half clear pixels)."""
        same, loss, half = [], [], []
        for found in self._pictures(path):
            clear = self._cleared(found.rgba)
            opaque = clear[..., 3] >= 128
            if not opaque.any():
                continue
            half.append(float(((clear[..., 3] > 0) & (clear[..., 3] < 255)).mean()))
            index = self.palette.index(clear)
            if self.name == "icon":  # one ink is all that its notation keeps
                index = np.where(index >= 0, np.bincount(index[index >= 0]).argmax(), -1)
            error = float(((self.palette.rgba(index)[opaque][:, :3].astype(np.float64) - clear[opaque][:, :3]) ** 2).mean())
            same.append(error == 0)
            if error:
                loss.append(10 * math.log10(255**2 / error))
        figures = {
            "pictures": float(len(same)),
            "identical": float(np.mean(same)) if same else 1.0,
            "alpha_thresholded": float(np.mean(half or [0])),
        }
        if loss:
            figures |= {"psnr": float(np.median(loss)), "psnr_p5": float(np.percentile(loss, 5))}
        return Promise(path.name, figures)


BINARY = rows.COLOURS[:1]


def _rows_problem(body: str, width: int, height: int, colours: str, begun: bool = False) -> Problem | None:
    """What keeps a body from being the rows of a picture of this size; `begun`: it may end anywhere."""
    if not begun and not body.endswith("\n"):
        return Problem(2, len(body) + 1, "no new line at the end", "end it with one")
    lines = body.removesuffix("\n").split(" ")
    allowed = set(rows.BLANK + colours)
    column = 1
    for y, row in enumerate(lines, start=1):
        if bad := next((x for x, letter in enumerate(row) if letter not in allowed), None):
            return Problem(2, column + bad, f"no colour {row[bad]!r} in row {y}", f"letters from a to {colours[-1]}")
        if row and row[0] not in allowed:
            return Problem(2, column, f"no colour {row[0]!r} in row {y}", f"letters from a to {colours[-1]}")
        if len(row) > width or (len(row) < width and not (begun and y == len(lines))):
            return Problem(2, column, f"row {y} has {len(row)} pixels", f"it should have {width}")
        column += len(row) + 1
    if len(lines) > height or (len(lines) < height and not begun):
        return Problem(2, 1, f"{len(lines)} rows", f"it should have {height}")
    return None


def _from_wad(path: Path) -> Iterator[Found]:
    """Floors and walls of a WAD: the middle 32 x 32 of each texture, halved; what has holes is left out."""
    from cupola.media.wad import Wad

    wad = Wad(path)
    for kind, textures in (("floor", wad.flats()), ("wall", wad.patches())):
        for name, rgba in textures:
            h, w = rgba.shape[:2]
            if min(h, w) < 2 * TILE or name.startswith("F_SKY"):
                continue
            y, x = (h - 2 * TILE) // 2, (w - 2 * TILE) // 2
            part = rgba[y : y + 2 * TILE, x : x + 2 * TILE]
            if (part[..., 3] == 255).all():
                stem = re.sub(r"[0-9_]+$", "", name).lower()  # the steps of one animation, and the styles of one door, are one family
                yield Found(picture.smaller(part, 2), kind, stem)


def _background(pictures: list[np.ndarray], wanted: str) -> str | None:
    """The colour that is blank, as six hexadecimal digits, or None. Raises ConfigError for what is no colour."""
    if wanted not in ("auto", "none"):
        if not re.fullmatch(r"#?[0-9a-fA-F]{6}", wanted):
            raise ConfigError(f"no colour {wanted!r}", "[models.NAME.notation] background", 'such as "000000", or "auto" or "none"')
        return wanted.removeprefix("#").lower()
    if wanted == "none" or any((p[..., 3] < 128).any() for p in pictures):
        return None
    counts: collections.Counter[int] = collections.Counter()
    for p in pictures:
        packed = p[..., 0].astype(np.int64) << 16 | p[..., 1].astype(np.int64) << 8 | p[..., 2]
        found, n = np.unique(packed, return_counts=True)
        counts.update(dict(zip(found.tolist(), n.tolist(), strict=True)))
    (colour, most), *_ = counts.most_common(1)
    return f"{colour:06x}" if most > BACKGROUND * counts.total() else None


def _sizes(pictures: list[np.ndarray]) -> tuple[tuple[int, int], ...]:
    counts = collections.Counter((p.shape[1], p.shape[0]) for p in pictures)
    often = [size for size, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:MOST_SIZES]
    return tuple(often)


def _one_ink(rgba: np.ndarray) -> np.ndarray:
    """The picture in its commonest colour alone."""
    found, n = np.unique(rgba[rgba[..., 3] >= 128][:, :3], axis=0, return_counts=True)
    out = rgba.copy()
    out[..., :3] = found[n.argmax()]
    return out


def _placed(index: np.ndarray, width: int, height: int) -> np.ndarray:
    """On a canvas of this size, at the bottom's middle."""
    h, w = index.shape
    out = np.full((height, width), -1, np.int8)
    x = (width - w) // 2
    out[height - h :, x : x + w] = index
    return out


def _trimmed(index: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(index >= 0)
    return index[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] if len(ys) else index


def _canvas(poses: np.ndarray, height: int, width: int) -> np.ndarray:
    """(P, H, W) -> (P, height, width), the pictures in the middle."""
    y, x = (height - poses.shape[1]) // 2, (width - poses.shape[2]) // 2
    out = np.full((len(poses), height, width), -1, np.int8)
    out[:, y : y + poses.shape[1], x : x + poses.shape[2]] = poses
    return out


def _largest_part(inked: np.ndarray) -> float:
    """The share of the ink in its largest part; pixels with at most one blank one between them hang together."""
    grown = ndimage.binary_dilation(inked, np.ones((3, 3)))
    parts, count = ndimage.label(grown, np.ones((3, 3)))
    sizes = np.bincount(parts[inked], minlength=count + 1)
    return float(sizes.max() / max(1, inked.sum()))


def _moved(index: np.ndarray) -> Iterator[np.ndarray]:
    if (index >= 0).all():
        h, w = index.shape
        for p in (index, index[:, ::-1]):
            for step in ((0, 0), (h // 2, 0), (0, w // 2), (h // 2, w // 2)):
                yield np.roll(p, step, (0, 1))
        return
    inked = index >= 0
    room = [0, *([-1] if not inked[0].any() else []), *([1] if not inked[-1].any() else [])]
    for p in (index, index[:, ::-1]):
        own = p >= 0
        across = [0, *([-1] if not own[:, 0].any() else []), *([1] if not own[:, -1].any() else [])]
        for dy in room:
            for dx in across:
                yield np.roll(p, (dy, dx), (0, 1))
