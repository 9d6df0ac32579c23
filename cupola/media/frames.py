"""Clips out of files: animated pictures, numbered pictures, sheets with their JSON or a clip a row, a game's archives.

Every clip has frames of one size. Worked example: walk_1.png, walk_2.png and walk_4.png lie in a folder (that 3 is missing is no matter).
The clip is read with walk_1.png; the other two give nothing, so that a folder gives it once. Pictures of different sizes are put at the
bottom's middle of a canvas that holds the largest, a WAD's sprites so that their feet stay where they are.

A frame that repeats the one before is shown with it for both their times, since the formats of animations keep no such frames either.
Longer clips than asked for are cut into several of one group.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cupola.errors import DataError
from cupola.media import picture
from cupola.media.text import size_of
from cupola.media.wad import Wad

ANIMATED = (".gif", ".webp", ".apng")
LEAST = 2  # frames of a clip
LEAST_IN_ARCHIVE = 3  # of a game's sprites, where two are often two states and no movement
UNSAID = 100  # ms of a frame that says 0, as browsers have it
SHORTEST, LONGEST = 10, 60_000  # ms that are told apart
WIDEST = 1024  # pixels of a side of aligned sprites: their offsets may say anything
LARGEST_ARCHIVE = 256 << 20  # bytes
_NUMBERED = re.compile(r"(.*?)[ ._-]?(\d{1,9})")
# Which of Doom's four-letter names are what; the rest are things.
_MONSTERS = "POSS SPOS CPOS SSWV TROO SARG SKUL HEAD BOSS BOS2 PAIN VILE SKEL FATT BSPI SPID CYBR KEEN PLAY BBRN"
_WEAPONS = "PUNG PISG PISF SHTG SHTF SHT2 CHGG CHGF MISG MISF SAWG PLSG PLSF BFGG BFGF"
_SHOTS = "BAL1 BAL2 BAL7 MISL PLSS PLSE BFS1 BFE1 BFE2 FATB FBXP MANF APLS APBX FIRE TFOG IFOG PUFF BLUD"
_ROLES = dict.fromkeys(_MONSTERS.split(), "monster") | dict.fromkeys(_WEAPONS.split(), "weapon") | dict.fromkeys(_SHOTS.split(), "shot")


@dataclasses.dataclass(frozen=True)
class Clip:
    """Frames of one size, (H, W, 4) uint8 each, and how long each is shown, in ms."""

    pictures: list[np.ndarray]
    durations: list[int]
    group: str
    label: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Grid:
    """How to read what does not say it itself: the cells of a sheet, a clip a row, and a frame's time."""

    tile: tuple[int, int] | None = None
    margin: int = 0
    spacing: int = 0
    held: int = 120  # ms


def clips(path: Path, grid: Grid, most: int) -> Iterator[Clip]:
    """The clips of a file, in parts of at most `most` frames; of numbered pictures with the first file, and nothing with the others.

    Raises DataError for what cannot be read, and for a picture that is no clip.
    """
    for clip in whole(path, grid):
        yield from cut(clip, most)


def whole(path: Path, grid: Grid) -> Iterator[Clip]:
    """The clips of a file, however long. Raises what `clips` raises."""
    suffix = path.suffix.lower()
    if suffix == ".wad":
        found = _of_wad(path, grid)
    elif suffix == ".base":
        found = _of_archive(path, grid)
    else:
        frames = picture.open_frames(path)
        if suffix in ANIMATED or len(frames.pictures) > 1:
            found = iter([_of_animation(path, frames)])
        else:
            found = _of_picture(path, frames.pictures[0], grid)
    for clip in found:
        yield _merged(clip)


# --- pictures ---


def _of_animation(path: Path, frames: picture.Frames) -> Clip:
    if len(frames.pictures) < LEAST:
        raise DataError("one frame is no clip", str(path), "give an animation, or use the medium sprite")
    return Clip(frames.pictures, [_shown(d) for d in frames.durations], path.name, name=path.stem)


def _shown(ms: int) -> int:
    """How long a frame is shown that says so many ms."""
    return min(max(ms, SHORTEST), LONGEST) if ms > 0 else UNSAID


def _of_picture(path: Path, image: np.ndarray, grid: Grid) -> Iterator[Clip]:
    """One picture: a sheet with its JSON, else a sheet of the given grid, else one of several numbered ones."""
    listed = picture.beside(path) or []
    if any(cell.name or cell.duration for cell in listed):  # Aseprite's frames; a tileset's cells have neither, and no order in time
        return _of_listing(path, image, listed, grid)
    if grid.tile is not None and (image.shape[1], image.shape[0]) != grid.tile:
        cells = picture.cells(image.shape[1], image.shape[0], grid.tile, grid.margin, grid.spacing, str(path))
        return _of_cells(path, image, cells, grid)
    if listed:
        return _of_cells(path, image, listed, grid)
    siblings = _siblings(path)
    if len(siblings) < LEAST:
        fix = "number the pictures of a clip (walk_1.png, walk_2.png), or say a sheet's grid in [models.NAME.notation]: tile = [16, 16]"
        raise DataError("one frame is no clip", str(path), fix)
    return iter([_of_numbered(siblings, grid)] if siblings[0] == path else [])


def _of_listing(path: Path, image: np.ndarray, listed: Sequence[picture.Cell], grid: Grid) -> Iterator[Clip]:
    """Aseprite's frames by their tags, which are labels too; all of them, where there is no tag."""
    height, width = image.shape[:2]
    sources = _sources(path, len(listed))
    runs: dict[str, list[tuple[np.ndarray, int]]] = collections.defaultdict(list)
    for cell, source in zip(listed, sources, strict=True):
        if cell.x < 0 or cell.y < 0 or cell.x + cell.w > width or cell.y + cell.h > height or min(cell.w, cell.h) < 1:
            what = f"its JSON names a frame at {cell.x}, {cell.y} of {cell.w} x {cell.h}, outside of its {width} x {height} pixels"
            raise DataError(what, str(path), "export sheet and JSON again, together")
        part = _untrimmed(image[cell.y : cell.y + cell.h, cell.x : cell.x + cell.w], source, path)
        runs[cell.label].append((part, _shown(cell.duration) if cell.duration else grid.held))
    tagged = any(runs)  # then frames without a tag belong to no clip
    found = [(label, run) for label, run in runs.items() if len(run) >= LEAST and (label or not tagged)]
    if not found:
        raise DataError("one frame is no clip", str(path), f"its JSON names no {LEAST} frames under one tag")
    for label, run in found:
        yield Clip(_same_size([p for p, _ in run]), [d for _, d in run], path.name, label, f"{path.stem} {label}".strip())


def _sources(path: Path, count: int) -> list[Mapping[str, Mapping[str, int]]]:
    """What Aseprite's JSON says of each frame before it was trimmed; {} where it does not."""
    try:
        frames = json.loads(path.with_suffix(".json").read_text("utf-8"))["frames"]
        listed = list(frames.values() if isinstance(frames, dict) else frames)
        return [f if f.get("trimmed") else {} for f in listed] if len(listed) == count else [{}] * count
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # `picture.beside` has already judged it
        return [{}] * count


def _untrimmed(part: np.ndarray, source: Mapping[str, Mapping[str, int]], path: Path) -> np.ndarray:
    """A frame with the blank rim that Aseprite took off."""
    if not source:
        return part
    try:
        x, y = int(source["spriteSourceSize"]["x"]), int(source["spriteSourceSize"]["y"])
        w, h = int(source["sourceSize"]["w"]), int(source["sourceSize"]["h"])
    except (KeyError, TypeError, ValueError):
        x = y = w = h = -1
    if not (0 <= x <= w - part.shape[1] and 0 <= y <= h - part.shape[0] and max(w, h) <= WIDEST):
        raise DataError("its JSON says of a trimmed frame what cannot be", str(path), "export sheet and JSON again, not trimmed")
    canvas = np.zeros((h, w, 4), np.uint8)
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas


def _of_cells(path: Path, image: np.ndarray, cells: Sequence[picture.Cell], grid: Grid) -> Iterator[Clip]:
    """A sheet, a clip a row; blank cells end nothing, they are passed over."""
    rows: dict[int, list[np.ndarray]] = collections.defaultdict(list)
    for cell in cells:
        part = image[cell.y : cell.y + cell.h, cell.x : cell.x + cell.w]
        if part.size and (part[..., 3] >= 128).any():
            rows[cell.y].append(part)
    found = [(number, parts) for number, parts in enumerate(rows.values(), start=1) if len(parts) >= LEAST]
    if not found:
        raise DataError("one frame is no clip", str(path), "a sheet has a clip a row: two cells or more that are not blank")
    for number, parts in found:
        yield Clip(_same_size(parts), [grid.held] * len(parts), f"{path.name} {number}", name=f"{path.stem} {number}")


# --- numbered pictures ---


def _of_numbered(paths: Sequence[Path], grid: Grid) -> Clip:
    """All these pictures as one clip. Raises DataError naming the one that cannot be read, or the limit that they pass."""
    if len(paths) > picture.MOST_FRAMES:
        what = f"{len(paths):,} numbered pictures, more than the {picture.MOST_FRAMES:,} frames that are read"
        raise DataError(what, str(paths[0]), "put each clip's pictures into a folder, or under a name, of their own")
    pictures, pixels = [], 0
    for path in paths:
        pictures.append(picture.open_frames(path).pictures[0])
        pixels += pictures[-1].shape[0] * pictures[-1].shape[1]
        if pixels > picture.MOST_PIXELS:
            what = f"this clip's pictures have more than {picture.MOST_PIXELS:,} pixels together"
            raise DataError(what, str(path), "make them smaller, or leave them out")
    name = _NUMBERED.fullmatch(paths[0].stem)
    return Clip(_same_size(pictures), [grid.held] * len(pictures), paths[0].name, name=(name[1] if name else "") or paths[0].parent.name)


def _siblings(path: Path) -> list[Path]:
    """All pictures of this one's sequence, by number; this one alone where it has none."""
    own = _NUMBERED.fullmatch(path.stem)
    if own is None:
        return [path]
    return _sequences(path.parent, path.parent.stat().st_mtime_ns).get((own[1], path.suffix.lower()), [path])


@functools.lru_cache(64)
def _sequences(folder: Path, changed: int) -> dict[tuple[str, str], list[Path]]:
    """(name without number, suffix) -> its pictures by number. Kept until the folder changes: each of its files asks for it."""
    found = collections.defaultdict(list)
    for path in folder.iterdir():
        if (match := _NUMBERED.fullmatch(path.stem)) and path.is_file():
            found[match[1], path.suffix.lower()].append((int(match[2]), path.name, path))
    return {key: [path for _, _, path in sorted(numbered)] for key, numbered in found.items()}


def _same_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """On one canvas, each at the bottom's middle."""
    high, wide = max(p.shape[0] for p in pictures), max(p.shape[1] for p in pictures)
    out = []
    for p in pictures:
        canvas = np.zeros((high, wide, 4), np.uint8)
        x = (wide - p.shape[1]) // 2
        canvas[high - p.shape[0] :, x : x + p.shape[1]] = p
        out.append(canvas)
    return out


# --- a game's archives ---


def _of_wad(path: Path, grid: Grid) -> Iterator[Clip]:
    """A game's sprites: frames A, B, C ... of one name and one side; what the other side is, is mirrored from the same lump.

    All sides of a name are one group, and so are those of a name in two files: Doom's games share most of theirs.
    """
    runs: dict[tuple[str, str], dict[str, tuple[np.ndarray, tuple[int, int]]]] = collections.defaultdict(dict)
    for name, rgba, (left, top) in Wad(path).sprites():
        for at in (4, 6):
            if len(name) > at + 1:
                shown = rgba if at == 4 else rgba[:, ::-1]
                offset = (left, top) if at == 4 else (rgba.shape[1] - left, top)
                runs[name[:4], name[at + 1]].setdefault(name[at], (shown, offset))
    for (name, side), frames in sorted(runs.items()):
        if len(frames) >= LEAST_IN_ARCHIVE and side in "012345":  # from 6 on a side is another's mirror image
            pictures = _aligned([frames[letter] for letter in sorted(frames)])
            if pictures:
                yield Clip(pictures, [grid.held] * len(pictures), f"sprite {name}", _ROLES.get(name, "thing"), name.lower())


def _aligned(frames: Sequence[tuple[np.ndarray, tuple[int, int]]]) -> list[np.ndarray]:
    """Frames on a canvas where their anchors coincide, so that a walk does not jump; [] where that would take more than WIDEST pixels."""
    left = max(x for _, (x, _) in frames)
    top = max(y for _, (_, y) in frames)
    wide = max(left - x + p.shape[1] for p, (x, _) in frames)
    high = max(top - y + p.shape[0] for p, (_, y) in frames)
    out = []
    for p, (x, y) in frames if max(wide, high) <= WIDEST else ():
        canvas = np.zeros((high, wide, 4), np.uint8)
        canvas[top - y : top - y + p.shape[0], left - x : left - x + p.shape[1]] = p
        out.append(canvas)
    return out


def _of_archive(path: Path, grid: Grid) -> Iterator[Clip]:
    """Crossfire's archive: names end in facing and frame, arch/monster/goblin/goblin.152 is facing 15, frame 2; the folder is the label."""
    runs: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = collections.defaultdict(list)
    for name, data in _archived(path):
        if found := re.fullmatch(r"(.+)/([^/]+)\.(\d)(\d)(\d)", name):
            rgba = _small_png(data, f"{path}, {name}")
            if rgba is not None:
                runs[f"{found[1]}/{found[2]}", found[3] + found[4]].append((name, rgba))
    for (stem, _), frames in sorted(runs.items()):
        if len(frames) >= LEAST_IN_ARCHIVE:
            folders = [part for part in stem.split("/")[:-1] if part not in (".", "arch")]
            pictures = _same_size([p for _, p in sorted(frames, key=lambda f: f[0])])
            yield Clip(pictures, [grid.held] * len(pictures), stem, folders[0] if folders else "", stem.rpartition("/")[2])


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, PNG) of an archive of lines "IMAGE <bytes> <path>" (or "IMAGE <number> <bytes> <path>"), each with so many bytes behind it.

    Raises DataError naming the byte or the picture where it is damaged.
    """
    if (size := size_of(path)) > LARGEST_ARCHIVE:
        raise DataError(f"{size:,} bytes, more than the {LARGEST_ARCHIVE:,} that are read", str(path), "leave it out")
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None
    at = 0
    while at < len(data):
        end = data.find(b"\n", at, at + 400)
        head = data[at:end].decode("latin-1").split(" ") if end > 0 else []
        if len(head) < 3 or head[0] != "IMAGE" or not head[-2].isdecimal():
            raise DataError(f"byte {at:,} begins no picture", str(path), "it is damaged, or no archive of crossfire's: fetch it again")
        size, name = int(head[-2]), head[-1]
        if end + 1 + size > len(data):
            raise DataError(f"cut off in the picture {name}, at byte {end + 1:,}", str(path), "fetch it again")
        yield name, data[end + 1 : end + 1 + size]
        at = end + 1 + size


def _small_png(data: bytes, where: str) -> np.ndarray | None:
    """(H, W, 4) uint8; None for one over 256 pixels on a side, which is no sprite. Raises DataError for what is no picture."""
    image_module = picture.pillow()
    try:
        with image_module.open(io.BytesIO(data)) as opened:
            if max(opened.size) > picture.CELL_LIMIT:
                return None
            return np.array(opened.convert("RGBA"), np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, image_module.DecompressionBombError) as e:
        raise DataError(f"not a picture, or damaged: {str(e)[:80]}", where, "fetch the archive again") from None


# --- one form ---


def _merged(clip: Clip) -> Clip:
    """Without frames that repeat the one before."""
    pictures, durations = [clip.pictures[0]], [clip.durations[0]]
    for p, d in zip(clip.pictures[1:], clip.durations[1:], strict=True):
        if (p == pictures[-1]).all():
            durations[-1] = min(durations[-1] + d, LONGEST)
        else:
            pictures.append(p)
            durations.append(d)
    return dataclasses.replace(clip, pictures=pictures, durations=durations)


def cut(clip: Clip, most: int) -> Iterator[Clip]:
    """In parts of at most `most` frames: 4 and 3 of 7, and 3 and 2 of 5, as a frame alone is no clip (it is dropped where `most` is 2)."""
    sizes = [min(most, len(clip.pictures) - at) for at in range(0, len(clip.pictures), most)]
    if len(sizes) > 1 and sizes[-1] == 1 and most > LEAST:
        sizes[-2:] = [most - 1, 2]
    at = 0
    for number, size in enumerate(sizes, start=1):
        if size >= LEAST:
            name = clip.name if len(sizes) == 1 else f"{clip.name} ({number})"
            yield dataclasses.replace(clip, pictures=clip.pictures[at : at + size], durations=clip.durations[at : at + size], name=name)
        at += size


def fitted(clip: Clip, size: int) -> Clip | None:
    """As it is where it fits into `size` x `size`; else trimmed to what its frames need, and made smaller by a whole factor if that is
    still too large. None if it is blank."""
    inked = np.any([p[..., 3] >= 128 for p in clip.pictures], axis=0)
    if not inked.any():
        return None
    if max(inked.shape) <= size:
        return clip
    ys, xs = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    box = [p[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] for p in clip.pictures]
    factor = -(-max(box[0].shape[:2]) // size)
    return dataclasses.replace(clip, pictures=[picture.smaller(p, factor) for p in box] if factor > 1 else box)
