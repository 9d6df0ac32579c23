"""Pictures in and out: every picture file as RGBA frames, colours as a palette in OKLab, sheets with what other programs read beside them.

A palette is exact where the colours fit into it; else its colours are the centres of k-means over OKLab, where equal distances look about
equally far apart, so that the worst pictures lose 1.4 to 6 dB less than by median cut. Alpha under one half is blank, all else opaque.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cupola.errors import DataError, MachineError

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 64 << 20  # of all frames of a file together
MOST_FRAMES = 4096
MOST_COLOURS = 50
MOST_CELLS = 1 << 20  # of a sheet
FORMATS = ("PNG", "GIF", "WEBP", "JPEG", "TIFF", "BMP")  # no EPS: Pillow would have Ghostscript run what is in it
CELL_LIMIT = 256  # pixels of a side of a frame in an archive
FLAT = 0.25  # share of a cluster's pixels
CUT, FILLED = 0.4, 0.5  # of a grid without spacing: ink at its borders that goes on, beside ink elsewhere; cells with ink
_SAMPLE = 200_000  # distinct colours that k-means sees, the commonest


@dataclasses.dataclass(frozen=True)
class Frames:
    """A picture file: (H, W, 4) uint8 arrays of one size, and how long each is shown in ms (0 where the file does not say)."""

    pictures: list[np.ndarray]
    durations: list[int]


def open_frames(path: Path) -> Frames:
    """Every frame of a PNG, GIF, APNG or WebP as RGBA, whatever it was (16 bit, CMYK, grey, palette); texts and EXIF are dropped.

    Raises DataError for what is no picture, is cut off, or is larger than 64 megapixels or 4,096 frames; MachineError without Pillow.
    """
    image_module = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image_module.init()
            with image_module.open(path, formats=[f for f in FORMATS if f in image_module.OPEN]) as image:
                return _frames(image, path)
    except DataError:
        raise
    except image_module.UnidentifiedImageError:
        raise DataError("not a picture that can be read", str(path), "save it as PNG, GIF or WebP, or leave it out") from None
    except image_module.DecompressionBombError:
        raise _too_large(path) from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, TypeError, MemoryError, OverflowError) as e:
        raise DataError(f"damaged or cut off: {e}", str(path), "save it again, or leave it out") from None


def pillow() -> Any:
    """Pillow's Image module. Raises MachineError where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise MachineError("pictures need Pillow", "pillow", 'pip install "cupola[pictures]"') from None
    return Image


def _too_large(path: Path) -> DataError:
    return DataError(f"more than {MOST_PIXELS:,} pixels", str(path), "cut it into smaller pictures, or leave it out")


def _frames(image: Image.Image, path: Path) -> Frames:
    count = getattr(image, "n_frames", 1)
    if count > MOST_FRAMES:
        raise DataError(f"{count:,} frames, more than the {MOST_FRAMES:,} that are read", str(path), "cut it into shorter clips")
    if image.width * image.height * count > MOST_PIXELS:
        raise _too_large(path)
    pictures, durations = [], []
    for number in range(count):
        try:
            image.seek(number)
            pictures.append(_rgba(image))
        except (OSError, SyntaxError, ValueError, EOFError) as e:
            raise DataError(
                f"frame {number + 1} of {count} is damaged or cut off: {e}", str(path), "save it again, or leave it out"
            ) from None
        durations.append(round(float(image.info.get("duration") or 0)))
    return Frames(pictures, durations)


def _rgba(image: Image.Image) -> np.ndarray:
    """One frame as (H, W, 4) uint8."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):  # Pillow would clip 16 bits at 255
        grey = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I;16") or grey.max() > 255 else 255.0
        level = np.clip(grey * (255.0 / top), 0, 255).round().astype(np.uint8)
        clear = image.info.get("transparency")
        alpha = np.where(grey == clear, 0, 255).astype(np.uint8) if isinstance(clear, int) else np.full_like(level, 255)
        return np.dstack([level, level, level, alpha])
    return np.array(image.convert("RGBA"), dtype=np.uint8)


# --- colours ---

_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]]
)
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]]
)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 sRGB -> (N, 3) lightness, green-red, blue-yellow. Source: Björn Ottosson 2020, "A perceptual color space"."""
    c = rgb.astype(np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """The inverse of `oklab`, clipped to what a screen can show."""
    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    linear = np.clip(linear, 0, 1)
    c = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.clip(c * 255, 0, 255).round().astype(np.uint8)


class Palette:
    """Up to 50 colours, the commonest first; a blank pixel has none of them."""

    def __init__(self, colours: np.ndarray):
        """colours: (N, 3) uint8."""
        self.colours = np.asarray(colours, np.uint8).reshape(-1, 3)
        self._lab = oklab(self.colours)
        self._known: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.colours)

    @classmethod
    def fit(cls, pictures: Iterable[np.ndarray], colours: int, seed: int = 0) -> Self:
        """At most `colours` colours for these (H, W, 4) pictures: exactly theirs where they have no more, else k-means in OKLab."""
        counts: dict[int, int] = {}
        for picture in pictures:
            found, n = np.unique(_packed(picture[..., :3][picture[..., 3] >= 128]), return_counts=True)
            for colour, k in zip(found.tolist(), n.tolist(), strict=True):
                counts[colour] = counts.get(colour, 0) + k
        ranked = sorted(counts, key=lambda c: (-counts[c], c))[:_SAMPLE]
        rgb, weight = _unpacked(np.array(ranked, np.int64)), np.array([counts[c] for c in ranked], np.float64)
        if len(ranked) > colours:
            rgb, weight = _centres(rgb, weight, colours, seed)
            rgb = rgb[np.argsort(-weight, kind="stable")]
        return cls(rgb)

    def index(self, rgba: np.ndarray) -> np.ndarray:
        """(H, W) int8 (int16 for more than 127 colours): the nearest colour of each opaque pixel, -1 where alpha is under one half."""
        packed = _packed(rgba[..., :3])
        found, inverse = np.unique(packed, return_inverse=True)
        new = [c for c in found.tolist() if c not in self._known]
        if new:
            lab = oklab(_unpacked(np.array(new, np.int64)))
            near = ((lab[:, None] - self._lab[None]) ** 2).sum(2).argmin(1) if len(self) else np.full(len(new), -1)
            self._known.update(zip(new, near.tolist(), strict=True))
        kind = np.int8 if len(self) < 128 else np.int16
        out = np.array([self._known[c] for c in found.tolist()], kind)[inverse.reshape(packed.shape)]
        return np.where(rgba[..., 3] >= 128, out, kind(-1)).astype(kind)

    def rgba(self, index: np.ndarray) -> np.ndarray:
        """(H, W, 4) uint8 of an index; -1 is transparent black."""
        out = np.zeros((*index.shape, 4), np.uint8)
        inked = index >= 0
        out[inked, :3] = self.colours[index[inked]]
        out[inked, 3] = 255
        return out

    def psnr(self, rgba: np.ndarray) -> float:
        """dB between a picture's opaque pixels and what the palette makes of them; infinite where nothing is lost."""
        opaque = rgba[..., 3] >= 128
        if not opaque.any():
            return math.inf
        there = self.rgba(self.index(rgba))[opaque, :3].astype(np.float64)
        error = float(((there - rgba[opaque, :3]) ** 2).mean())
        return 10 * math.log10(255**2 / error) if error else math.inf

    def plain(self) -> list[str]:
        """As JSON has it: ["ff0000", ...]."""
        return [bytes(c).hex() for c in self.colours.tolist()]

    @classmethod
    def restore(cls, plain: Sequence[str]) -> Self:
        """Raises DataError for what `plain` does not give."""
        try:
            return cls(np.array([list(bytes.fromhex(c)) for c in plain], np.uint8).reshape(-1, 3))
        except (TypeError, ValueError) as e:
            raise DataError(f"no palette: {e}", "settings", "the medium's settings are damaged; make the corpus again") from None


def _packed(rgb: np.ndarray) -> np.ndarray:
    wide = rgb.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _unpacked(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1).astype(np.uint8)


def _centres(rgb: np.ndarray, weight: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """((k, 3) uint8 centres, (k,) weights) by k-means++ and 40 rounds of Lloyd's, each colour weighing the root of how often it occurs."""
    lab, w = oklab(rgb), np.sqrt(weight)
    rng = np.random.default_rng(seed)
    centres = lab[[int(rng.choice(len(lab), p=w / w.sum()))]]
    nearest = ((lab - centres[0]) ** 2).sum(1)
    for _ in range(k - 1):
        p = nearest * w
        at = int(rng.choice(len(lab), p=p / p.sum())) if p.sum() > 0 else int(rng.integers(len(lab)))
        centres = np.vstack([centres, lab[at]])
        nearest = np.minimum(nearest, ((lab - lab[at]) ** 2).sum(1))
    for _ in range(40):
        owner = np.concatenate(
            [((part[:, None] - centres[None]) ** 2).sum(2).argmin(1) for part in np.array_split(lab, -(-len(lab) // 8192))]
        )
        mass = np.bincount(owner, w, k)
        sums = np.stack([np.bincount(owner, w * lab[:, i], k) for i in range(3)], 1)
        new = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1e-12)[:, None], centres)
        if np.allclose(new, centres, atol=1e-5):
            break
        centres = new
    out = from_oklab(centres)
    for cluster in range(k):  # a flat colour that most of a cluster has is kept as it is, so that pixel art comes back exactly
        members = np.flatnonzero(owner == cluster)
        if len(members) and weight[members].max() >= FLAT * weight[members].sum():
            out[cluster] = rgb[members[weight[members].argmax()]]
    return out, np.bincount(owner, weight, k)


# --- files out ---


def save_png(array: np.ndarray, path: Path) -> Path:
    """Write one (H, W, 4) picture. Raises MachineError where that cannot be."""
    return _save([array], [0], path, "PNG")


def save_gif(frames: Sequence[np.ndarray], durations: Sequence[int], path: Path) -> Path:
    """Write an endless GIF; ms are kept in steps of ten. At most 255 colours and one transparent one stay as they are."""
    return _save(frames, durations, path, "GIF")


def save_apng(frames: Sequence[np.ndarray], durations: Sequence[int], path: Path) -> Path:
    """Write an animated PNG; ms are kept."""
    return _save(frames, durations, path, "PNG")


def save_webp(frames: Sequence[np.ndarray], durations: Sequence[int], path: Path) -> Path:
    """Write a lossless animated WebP; ms are kept."""
    return _save(frames, durations, path, "WEBP")


def _save(frames: Sequence[np.ndarray], durations: Sequence[int], path: Path, kind: str) -> Path:
    image_module = pillow()
    images = [image_module.fromarray(np.ascontiguousarray(f), "RGBA") for f in frames]
    more: dict[str, Any] = {}
    if kind == "GIF":
        images, more = _indexed(frames, image_module), {"disposal": 2, "transparency": 0, "optimize": False}
    if kind == "WEBP":
        more = {"lossless": True, "exact": True}
    if len(images) > 1 or kind != "PNG":
        more |= {"save_all": True, "append_images": images[1:], "duration": [int(d) for d in durations], "loop": 0}
        if kind == "PNG":
            more |= {"disposal": 1, "blend": 0}
    try:
        images[0].save(path, kind, **more)
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give a folder you may write to") from None
    return path


def _indexed(frames: Sequence[np.ndarray], image_module: Any) -> list[Any]:
    """Frames as palette pictures with one palette for all, colour 0 the transparent one."""
    palette = Palette.fit(frames, 255)
    flat = [0, 0, 0, *palette.colours.reshape(-1).tolist()]
    out = []
    for frame in frames:
        image = image_module.fromarray((palette.index(frame).astype(np.int16) + 1).astype(np.uint8), "P")
        image.putpalette(flat + [0] * (768 - len(flat)))
        out.append(image)
    return out


# --- sheets ---


@dataclasses.dataclass(frozen=True)
class Cell:
    """One picture of a sheet: where it lies, and what the sheet's JSON calls it."""

    x: int
    y: int
    w: int
    h: int
    label: str = ""
    name: str = ""
    duration: int = 0


def cells(width: int, height: int, tile: tuple[int, int], margin: int, spacing: int, where: str) -> list[Cell]:
    """The cells of a grid over a sheet of this size, row by row. Raises DataError where they do not come out even or are too many."""
    w, h = tile
    if min(w, h) < 1 or min(margin, spacing) < 0:
        raise DataError(f"no grid: cells of {w} x {h}, a margin of {margin} and a spacing of {spacing}", where, _SAY_GRID)
    counts = []
    for size, side, name in ((width, w, "wide"), (height, h, "high")):
        free = size - 2 * margin + spacing
        if side + 2 * margin > size or free % (side + spacing):
            rest = free % (side + spacing)
            grid = f"cells of {side}, a margin of {margin} and a spacing of {spacing}"
            what = f"the sheet is {size} pixels {name}, which {grid} do not fill: {rest} are left"
            raise DataError(what, where, _SAY_GRID)
        counts.append(free // (side + spacing))
    return _laid(tile, counts, margin, spacing, where)


_SAY_GRID = "say the grid in [models.NAME.notation]: tile = [16, 16], margin = 0, spacing = 0"


def _laid(tile: tuple[int, int], counts: Sequence[int], margin: int, spacing: int, where: str) -> list[Cell]:
    """So many cells across and down, row by row. Raises DataError for over a million."""
    w, h = tile
    if counts[0] * counts[1] > MOST_CELLS:
        raise DataError(
            f"{counts[0] * counts[1]:,} cells, more than the {MOST_CELLS:,} that are read", where, "cut the sheet into smaller ones"
        )
    return [Cell(margin + x * (w + spacing), margin + y * (h + spacing), w, h) for y in range(counts[1]) for x in range(counts[0])]


def sheet(pictures: Sequence[np.ndarray], columns: int = 8) -> tuple[np.ndarray, list[Cell]]:
    """Pictures of any sizes on one transparent sheet, each in a cell of the largest one's size, top left; and where each lies."""
    wide, high = max(p.shape[1] for p in pictures), max(p.shape[0] for p in pictures)
    rows = -(-len(pictures) // columns)
    out = np.zeros((rows * high, min(columns, len(pictures)) * wide, 4), np.uint8)
    places = []
    for i, picture in enumerate(pictures):
        y, x = i // columns * high, i % columns * wide
        h, w = picture.shape[:2]
        out[y : y + h, x : x + w] = picture
        places.append(Cell(x, y, w, h))
    return out, places


def aseprite(image: str, size: tuple[int, int], frames: Sequence[Cell], tags: Sequence[tuple[str, int, int]]) -> str:
    """A sheet's JSON as Aseprite exports it (array form); tags: (name, first frame, last frame) from 0."""
    listed = [
        {
            "filename": f.name or str(i),
            "frame": {"x": f.x, "y": f.y, "w": f.w, "h": f.h},
            "rotated": False,
            "trimmed": False,
            "spriteSourceSize": {"x": 0, "y": 0, "w": f.w, "h": f.h},
            "sourceSize": {"w": f.w, "h": f.h},
            "duration": f.duration or 100,
        }
        for i, f in enumerate(frames)
    ]
    named = [{"name": name, "from": a, "to": b, "direction": "forward"} for name, a, b in tags]
    meta = {"app": "cupola", "image": image, "format": "RGBA8888", "size": {"w": size[0], "h": size[1]}, "scale": "1", "frameTags": named}
    return json.dumps({"frames": listed, "meta": meta}, indent=1) + "\n"


def tiled(image: str, size: tuple[int, int], tile: tuple[int, int], count: int, labels: Sequence[str]) -> str:
    """A sheet as a tileset of Tiled (.tsj); a label is its tile's class."""
    tiles = [{"id": i, "type": label} for i, label in enumerate(labels) if label]
    facts = {
        "type": "tileset", "version": "1.10", "tiledversion": "1.10.2", "name": Path(image).stem, "image": image,
        "imagewidth": size[0], "imageheight": size[1], "tilewidth": tile[0], "tileheight": tile[1], "tilecount": count,
        "columns": max(1, size[0] // tile[0]), "margin": 0, "spacing": 0, "tiles": tiles,
    }  # fmt: skip
    return json.dumps(facts, indent=1) + "\n"


def beside(path: Path) -> list[Cell] | None:
    """The cells that a JSON of the sheet's name says (Aseprite's frames, or a tileset of Tiled), None where there is none.

    Raises DataError for a JSON that is one of these and damaged.
    """
    for suffix in (".json", ".tsj"):
        listing = path.with_suffix(suffix)
        if listing.is_file():
            try:
                facts = json.loads(listing.read_text("utf-8"))
            except (OSError, ValueError, RecursionError) as e:
                raise DataError(f"cannot be read as JSON: {e}", str(listing), "export the sheet again, or remove this file") from None
            if isinstance(facts, dict) and (found := _listed(facts, path)):
                return found
    return None


def _listed(facts: Mapping[str, Any], path: Path) -> list[Cell]:
    try:
        if "frames" in facts:
            frames = facts["frames"]
            named = frames.items() if isinstance(frames, dict) else [(f.get("filename", ""), f) for f in frames]
            tags = facts.get("meta", {}).get("frameTags", [])
            found = []
            for i, (name, f) in enumerate(named):
                label = next((t["name"] for t in tags if t["from"] <= i <= t["to"]), "")
                box = f["frame"]
                found.append(Cell(int(box["x"]), int(box["y"]), int(box["w"]), int(box["h"]), label, str(name), int(f.get("duration", 0))))
            return found
        if "tilewidth" in facts and "imagewidth" in facts:
            size = int(facts["imagewidth"]), int(facts["imageheight"])
            tile = int(facts["tilewidth"]), int(facts["tileheight"])
            grid = _tileset(size, tile, int(facts.get("margin", 0)), int(facts.get("spacing", 0)), path)
            labels = {int(t["id"]): _tile_label(t) for t in facts.get("tiles", [])}
            return [dataclasses.replace(c, label=labels.get(i, "")) for i, c in enumerate(grid)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:  # OverflowError: 1e999
        raise DataError(f"the JSON beside it is damaged: {e!r}", str(path), "export the sheet again, or remove the JSON") from None
    return []


def _tileset(size: tuple[int, int], tile: tuple[int, int], margin: int, spacing: int, path: Path) -> list[Cell]:
    """The cells as Tiled counts them: its margin lies at the left and on top, and what is left over at the right and below is no cell."""
    if min(tile) < 1 or min(margin, spacing) < 0:
        raise ValueError(f"tiles of {tile[0]} x {tile[1]}, margin {margin}, spacing {spacing}")
    counts = [max(0, (whole - margin + spacing) // (side + spacing)) for whole, side in zip(size, tile, strict=True)]
    return _laid(tile, counts, margin, spacing, str(path))


def _tile_label(tile: Mapping[str, Any]) -> str:
    """Its class; else the first two that say something of its properties type, group1."""
    if said := tile.get("class") or tile.get("type"):
        return str(said)
    values = {p.get("name"): str(p.get("value", "")) for p in tile.get("properties", [])}
    return " ".join(values[k] for k in ("type", "group1") if values.get(k))


def guess_grid(rgba: np.ndarray) -> tuple[tuple[int, int], int, int] | None:
    """((w, h), margin, spacing) where the blank lines of a sheet show it beyond doubt, else None.

    Tried: square cells of 8 to 64 pixels, margins and spacings of 0 to 2, that fill the sheet exactly. A spacing shows as lines
    without ink; without one, only sides of 8, 16, 24, 32, 48, 64 count: the smallest whose borders hardly cut through ink, neither across
    nor down, and half of whose cells have some. Of 581 single sprites on canvases of 96 and 128 pixels that takes none for a sheet.
    """
    blank = rgba[..., 3] < 128
    if not blank.any():
        corner = rgba[0, 0, :3]
        blank = (rgba[..., :3] == corner).all(2)
    rows, columns = blank.all(1), blank.all(0)
    h, w = blank.shape
    for spacing in (2, 1):
        for margin in (spacing, 0, 1, 2):
            sure = [
                side
                for side in range(8, 65)
                if _fits(h, side, margin, spacing)
                and _fits(w, side, margin, spacing)
                and _gaps(rows, side, margin, spacing)
                and _gaps(columns, side, margin, spacing)
            ]
            sure = [side for side in sure if _blank_enough(rows, side, margin, spacing) and _blank_enough(columns, side, margin, spacing)]
            if sure:
                return (min(sure), min(sure)), margin, spacing
    inked = ~blank
    for side in (8, 16, 24, 32, 48, 64):
        if h % side or w % side or side in (h, w):
            continue
        filled = inked.reshape(h // side, side, w // side, side).any((1, 3))
        if filled.sum() >= 4 and filled.mean() >= FILLED and max(_cut(inked, side), _cut(inked.T, side)) < CUT:
            return (side, side), 0, 0
    return None


def _fits(size: int, side: int, margin: int, spacing: int) -> bool:
    return (
        size >= side + 2 * margin
        and (size - 2 * margin + spacing) % (side + spacing) == 0
        and (size - 2 * margin + spacing) // (side + spacing) > 1
    )


def _gaps(lines: np.ndarray, side: int, margin: int, spacing: int) -> bool:
    """Whether every line between the cells, and at least one in the margin, has no ink."""
    step = side + spacing
    between = [margin + side + k * step + i for k in range((len(lines) - 2 * margin + spacing) // step - 1) for i in range(spacing)]
    return bool(between) and bool(lines[between].all())


def _blank_enough(lines: np.ndarray, side: int, margin: int, spacing: int) -> bool:
    """Whether hardly more lines have no ink than this grid explains: else the gaps are the pictures' own."""
    step = side + spacing
    expected = 2 * margin + ((len(lines) - 2 * margin + spacing) // step - 1) * spacing
    return int(lines.sum()) <= 1.5 * expected + 2


def _cut(inked: np.ndarray, side: int) -> float:
    """How often ink goes on across the horizontal borders of this grid, as a multiple of how often it goes on from any row to the next."""
    upper, lower = inked[side - 1 : -1 : side], inked[side::side]
    going_on = (inked[:-1] & inked[1:]).sum() / max(1, inked[:-1].sum())
    return float((upper & lower).sum() / max(1, upper.sum()) / max(going_on, 1e-9))


def smaller(rgba: np.ndarray, factor: int) -> np.ndarray:
    """A whole factor smaller by a box filter, colours weighing by their alpha; blank rows are added above and at both sides to fill up."""
    h, w = rgba.shape[:2]
    high, wide = -(-h // factor) * factor, -(-w // factor) * factor
    canvas = np.zeros((high, wide, 4), np.float64)
    canvas[high - h :, (wide - w) // 2 : (wide - w) // 2 + w] = rgba
    parts = canvas.reshape(high // factor, factor, wide // factor, factor, 4)
    alpha = parts[..., 3:].sum((1, 3))
    colour = (parts[..., :3] * parts[..., 3:]).sum((1, 3)) / np.maximum(alpha, 1)
    return np.concatenate([colour, alpha / factor**2], -1).round().astype(np.uint8)
