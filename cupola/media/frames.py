"""Clips out of files: animated pictures, numbered pictures, sheets with their JSON, a game's archives; all as frames of one size."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cupola.errors import DataError
from cupola.media import picture

ANIMATED = (".gif", ".webp", ".apng")
LEAST, MOST = 2, 8
HELD = 120  # ms of a frame where a file does not say
_NUMBERED = re.compile(r"(.*?)[ ._-]?(\d+)")
_STEP = 100  # ms, of a frame that says 0: as browsers have it
# Which of Doom's four-letter names are what; the rest are things.
_MONSTERS = "POSS SPOS CPOS SSWV TROO SARG SKUL HEAD BOSS BOS2 PAIN VILE SKEL FATT BSPI SPID CYBR KEEN PLAY BBRN SSWV"
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


def clips(path: Path, tile: tuple[int, int] | None, margin: int, spacing: int, most: int) -> Iterator[Clip]:
    """The clips of a file; of numbered pictures all frames come with the first file, and nothing with the others.

    tile, margin, spacing: the grid of a sheet that has no JSON, a clip a row. Longer clips than `most` frames are cut into several.
    Raises DataError for what cannot be read, and for a picture that is no clip.
    """
    suffix = path.suffix.lower()
    if suffix == ".wad":
        found = _of_wad(path)
    elif suffix == ".base":
        found = _of_archive(path)
    else:
        frames = picture.open_frames(path)
        if suffix in ANIMATED or len(frames.pictures) > 1:
            found = iter([_of_animation(path, frames)])
        else:
            found = _of_picture(path, frames.pictures[0], tile, margin, spacing)
    for clip in found:
        yield from _cut(_merged(clip), most)


def _of_animation(path: Path, frames: picture.Frames) -> Clip:
    if len(frames.pictures) < LEAST:
        raise DataError("one frame is no clip", str(path), "give an animation, or use the medium sprite")
    return Clip(frames.pictures, [d or _STEP for d in frames.durations], path.name, name=path.stem)


def _of_picture(path: Path, image: np.ndarray, tile: tuple[int, int] | None, margin: int, spacing: int) -> Iterator[Clip]:
    if listed := picture.beside(path):
        runs: dict[str, list[picture.Cell]] = collections.defaultdict(list)
        for cell in listed:
            runs[cell.label].append(cell)
        for label, cells in runs.items():
            if len(cells) >= LEAST:
                pictures = [image[c.y : c.y + c.h, c.x : c.x + c.w] for c in cells]
                if any(not p.size for p in pictures):
                    raise DataError("its JSON names a frame outside of it", str(path), "export sheet and JSON again, together")
                durations = [c.duration or HELD for c in cells]
                yield Clip(_same_size(pictures), durations, path.name, "", f"{path.stem} {label}".strip())
        return
    siblings = _siblings(path)
    if len(siblings) >= LEAST:
        if siblings[0] == path:
            pictures = [picture.open_frames(p).pictures[0] for p in siblings]
            yield Clip(_same_size(pictures), [HELD] * len(pictures), path.name, name=_stem(path))
        return
    if tile is None:
        fix = "number the pictures of a clip (walk_1.png, walk_2.png), or say a sheet's grid in [models.NAME.notation]: tile = [16, 16]"
        raise DataError("one frame is no clip", str(path), fix)
    cells = picture.cells(image.shape[1], image.shape[0], tile, margin, spacing, str(path))
    rows: dict[int, list[np.ndarray]] = collections.defaultdict(list)
    for cell in cells:
        part = image[cell.y : cell.y + cell.h, cell.x : cell.x + cell.w]
        if (part[..., 3] >= 128).any():
            rows[cell.y].append(part)
    for number, parts in enumerate(rows.values(), start=1):
        if len(parts) >= LEAST:
            yield Clip(parts, [HELD] * len(parts), f"{path.name} {number}", name=f"{path.stem} {number}")


def _stem(path: Path) -> str:
    found = _NUMBERED.fullmatch(path.stem)
    return (found[1] if found else path.stem) or path.parent.name


def _siblings(path: Path) -> list[Path]:
    """All pictures of this one's sequence, by number; this one alone where it has none."""
    own = _NUMBERED.fullmatch(path.stem)
    if own is None:
        return [path]
    found = []
    for other in path.parent.iterdir():
        match = _NUMBERED.fullmatch(other.stem) if other.suffix.lower() == path.suffix.lower() else None
        if match and match[1] == own[1] and other.is_file():
            found.append((int(match[2]), other.name, other))
    return [other for _, _, other in sorted(found)][: picture.MOST_FRAMES]


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


def _of_wad(path: Path) -> Iterator[Clip]:
    """A game's sprites: frames A, B, C ... of one name and one side; what the other side is, is mirrored from the same lump."""
    from cupola.media.wad import Wad

    runs: dict[tuple[str, str], dict[str, tuple[np.ndarray, tuple[int, int]]]] = collections.defaultdict(dict)
    for name, rgba, (left, top) in Wad(path).sprites():
        for at in (4, 6):
            if len(name) > at + 1:
                picture_ = rgba if at == 4 else rgba[:, ::-1]
                offset = (left, top) if at == 4 else (rgba.shape[1] - left, top)
                runs[name[:4], name[at + 1]].setdefault(name[at], (picture_, offset))
    for (name, side), frames in sorted(runs.items()):
        order = sorted(frames)
        if len(order) >= 3 and side in "012345":  # from 6 on a side is another's mirror image
            label = _ROLES.get(name, "thing")
            yield Clip(_aligned([frames[f] for f in order]), [HELD] * len(order), f"{path.name} {name}", label, name.lower())


def _aligned(frames: Sequence[tuple[np.ndarray, tuple[int, int]]]) -> list[np.ndarray]:
    """Frames on a canvas where their anchors coincide, so that a walk does not jump."""
    left = max(x for _, (x, _) in frames)
    top = max(y for _, (_, y) in frames)
    wide = max(left - x + p.shape[1] for p, (x, _) in frames)
    high = max(top - y + p.shape[0] for p, (_, y) in frames)
    out = []
    for p, (x, y) in frames:
        canvas = np.zeros((high, wide, 4), np.uint8)
        canvas[top - y : top - y + p.shape[0], left - x : left - x + p.shape[1]] = p
        out.append(canvas)
    return out


def _of_archive(path: Path) -> Iterator[Clip]:
    """Crossfire's archive: "IMAGE <number> <path>" or "IMAGE <bytes> <path>", then a PNG; names end in facing and frame: goblin.152."""
    import io

    image_module = picture.pillow()
    data = path.read_bytes()
    runs: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = collections.defaultdict(list)
    at = 0
    while at < len(data):
        end = data.find(b"\n", at, at + 400)
        head = data[at:end].decode("latin-1").split(" ") if end > 0 else []
        if len(head) < 3 or head[0] != "IMAGE" or not head[-2].isdigit():
            raise DataError(f"byte {at:,} begins no picture", str(path), "it is damaged: install the package again")
        size, name = int(head[-2]), head[-1]
        part = data[end + 1 : end + 1 + size]
        if len(part) < size:
            raise DataError(f"cut off in the picture {name}", str(path), "it is damaged: install the package again")
        found = re.fullmatch(r"(.+)/([^/]+)\.(\d)(\d)(\d)", name)
        if found:
            with image_module.open(io.BytesIO(part)) as opened:
                rgba = np.array(opened.convert("RGBA"), np.uint8)
            if max(rgba.shape[:2]) <= picture.CELL_LIMIT:
                runs[f"{found[1]}/{found[2]}", found[3] + found[4]].append((name, rgba))
        at = end + 1 + size
    for (stem, _), frames in sorted(runs.items()):
        if len(frames) >= 3:
            folders = [part for part in stem.split("/")[:-1] if part not in (".", "arch")]
            label = folders[0] if folders else ""
            yield Clip(
                _same_size([p for _, p in sorted(frames, key=lambda f: f[0])]), [HELD] * len(frames), stem, label, stem.rpartition("/")[2]
            )


# --- one form ---


def _merged(clip: Clip) -> Clip:
    """Frames that repeat the one before are shown with it: the formats of animations keep no such frames either."""
    pictures, durations = [clip.pictures[0]], [clip.durations[0]]
    for p, d in zip(clip.pictures[1:], clip.durations[1:], strict=True):
        if (p == pictures[-1]).all():
            durations[-1] += d
        else:
            pictures.append(p)
            durations.append(d)
    return dataclasses.replace(clip, pictures=pictures, durations=durations)


def _cut(clip: Clip, most: int) -> Iterator[Clip]:
    """In runs of at most `most` frames; a last one of a single frame is dropped."""
    for number, at in enumerate(range(0, len(clip.pictures), most), start=1):
        part = clip.pictures[at : at + most]
        if len(part) >= LEAST:
            name = clip.name if len(clip.pictures) <= most else f"{clip.name} ({number})"
            yield dataclasses.replace(clip, pictures=part, durations=clip.durations[at : at + most], name=name)


def fitted(clip: Clip, size: int) -> Clip | None:
    """Trimmed to the box that all its frames need, and made smaller by a whole factor where that is over `size`; None if it is blank."""
    inked = np.any([p[..., 3] >= 128 for p in clip.pictures], axis=0)
    if not inked.any():
        return None
    ys, xs = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    box = [p[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] for p in clip.pictures]
    factor = -(-max(box[0].shape[:2]) // size)
    return dataclasses.replace(clip, pictures=[picture.smaller(p, factor) for p in box] if factor > 1 else box)
