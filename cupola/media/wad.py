"""Doom's WAD files: maps, floors, walls, sprites and sounds by name.

A WAD is a header of 12 bytes (IWAD or PWAD, the number of lumps, where their directory is), the lumps, and the directory: 16 bytes a lump
(offset, size, name of at most 8 ASCII characters). An empty lump is a marker: floors lie between F_START and F_END, wall patches between
P_START and P_END, sprites between S_START and S_END, a map is the lumps THINGS, LINEDEFS, SIDEDEFS ... behind a marker with its name.

Worked example: `50 57 41 44  01 00 00 00  0c 00 00 00  00 00 00 00  00 00 00 00  4d 41 50 30 31 00 00 00` is a PWAD of one lump, whose
directory begins at byte 12 and names an empty lump MAP01.

Nothing in a file is believed: what points outside, or is longer than it can be, is a DataError naming lump and byte. A damaged directory
ends the whole file; a damaged lump is passed over by the iterators, which keep the error in `faults`.
Source: the Doom formats as the Unofficial Doom Specs have them (Matthew Fell, 1994).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from cupola.errors import DataError
from cupola.media.text import size_of

LARGEST = 512 << 20  # bytes of a file; Freedoom's have 28 million
MOST_LUMPS = 65_536
WIDEST = 4096  # pixels of a picture, either way
MOST_PIXELS = 4 << 20  # of one picture
MOST_POSTS = 256  # of one column of a picture
FLAT = 64  # a floor's width and height in pixels

# What a map is made of; int16 and uint16 as Doom reads them. Cast to int before multiplying: products overflow 16 bits.
RECORDS = {
    "THINGS": np.dtype([("x", "<i2"), ("y", "<i2"), ("angle", "<i2"), ("type", "<i2"), ("flags", "<i2")]),
    "LINEDEFS": np.dtype(
        [("start", "<u2"), ("end", "<u2"), ("flags", "<u2"), ("special", "<u2"), ("tag", "<u2"), ("right", "<u2"), ("left", "<u2")]
    ),
    "SIDEDEFS": np.dtype([("x", "<i2"), ("y", "<i2"), ("upper", "S8"), ("lower", "S8"), ("middle", "S8"), ("sector", "<u2")]),
    "VERTEXES": np.dtype([("x", "<i2"), ("y", "<i2")]),
    "SEGS": np.dtype([("start", "<u2"), ("end", "<u2"), ("angle", "<i2"), ("line", "<u2"), ("side", "<u2"), ("offset", "<i2")]),
    "SSECTORS": np.dtype([("count", "<u2"), ("first", "<u2")]),
    "NODES": np.dtype(
        [("x", "<i2"), ("y", "<i2"), ("dx", "<i2"), ("dy", "<i2"), ("boxes", "<i2", (8,)), ("right", "<u2"), ("left", "<u2")]
    ),
    "SECTORS": np.dtype(
        [
            *(("floor", "<i2"), ("ceiling", "<i2"), ("floor_texture", "S8"), ("ceiling_texture", "S8")),
            *(("light", "<i2"), ("special", "<i2"), ("tag", "<i2")),
        ]
    ),
}
_OF_MAPS = {*RECORDS, "REJECT", "BLOCKMAP", "BEHAVIOR", "SCRIPTS", "TEXTMAP", "DIALOGUE", "ZNODES", "ENDMAP"}

T = TypeVar("T")


class Lump(NamedTuple):
    """One entry of the directory; a marker has no size."""

    name: str
    offset: int
    size: int


class Wad:
    """A WAD file, its directory read and held against the file's length."""

    def __init__(self, path: Path):
        """Raises DataError for what is no WAD, a cut-off one, over 65,536 lumps or 512 MiB."""
        self.path = path
        self.faults: list[DataError] = []  # of the lumps that the iterators passed over
        if (size := size_of(path)) > LARGEST:
            raise self._fault(f"{size:,} bytes, more than the {LARGEST:,} that are read", "", "leave it out")
        try:
            self._data = path.read_bytes()
        except OSError as e:
            raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None
        self.lumps = self._directory()

    def bytes_of(self, lump: Lump) -> bytes:
        return self._data[lump.offset : lump.offset + lump.size]

    def find(self, name: str) -> Lump | None:
        """The last lump of this name, as Doom has it; None where there is none."""
        return next((lump for lump in reversed(self.lumps) if lump.name == name), None)

    def between(self, letter: str) -> list[Lump]:
        """The lumps with something in them between F_START (or FF_START) and F_END (or FF_END), for letter F; likewise P and S."""
        out, inside = [], False
        for lump in self.lumps:
            if lump.name in (f"{letter}_START", f"{letter}{letter}_START"):
                inside = True
            elif lump.name in (f"{letter}_END", f"{letter}{letter}_END"):
                inside = False
            elif inside and lump.size:
                out.append(lump)
        return out

    # --- maps

    def maps(self) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """(name, its lumps as arrays of RECORDS) of each map; a map in another engine's format, or without a lump, goes to `faults`."""
        for i, lump in enumerate(self.lumps[:-1]):
            if self.lumps[i + 1].name not in ("THINGS", "TEXTMAP") or lump.name in _OF_MAPS:
                continue
            parts = {}
            for part in self.lumps[i + 1 : i + 16]:
                if part.name not in _OF_MAPS or part.name in parts:
                    break
                parts[part.name] = part
            if (found := self._attempt(lambda at, parts=parts: self._map(at, parts), lump)) is not None:
                yield lump.name, found

    def _map(self, marker: Lump, parts: dict[str, Lump]) -> dict[str, np.ndarray]:
        if other := {"BEHAVIOR": "Hexen's", "TEXTMAP": "the UDMF"}.get(next((p for p in ("TEXTMAP", "BEHAVIOR") if p in parts), "")):
            raise self._fault(f"a map in {other} format", marker, "save it as a Doom map (Doom Builder: map options, game configuration)")
        out = {}
        for name, record in RECORDS.items():
            if (lump := parts.get(name)) is None:
                raise self._fault(f"a map without {name}", marker, "build its nodes and save it again")
            data = self.bytes_of(lump)
            if data[:4] in (b"XNOD", b"ZNOD", b"XGLN", b"ZGLN", b"xNd4"):
                raise self._fault("nodes in an extended format", lump, "build the nodes in the usual Doom format")
            if len(data) % record.itemsize:
                raise self._fault(
                    f"{len(data):,} bytes, which is no multiple of {record.itemsize}", lump, "it is cut off: fetch the file again"
                )
            out[name] = np.frombuffer(data, record)
        return out

    # --- pictures

    def palette(self) -> np.ndarray:
        """(256, 3) uint8: the first palette of PLAYPAL. Raises DataError where there is none."""
        lump = self.find("PLAYPAL")
        if lump is None or lump.size < 768:
            raise self._fault(
                "no palette (a lump PLAYPAL of 768 bytes or more)", lump or "", "read it beside the game's own WAD, which has one"
            )
        return np.frombuffer(self.bytes_of(lump)[:768], np.uint8).reshape(256, 3)

    def flats(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name, (64, 64, 4) uint8 RGBA) of each floor and ceiling."""
        palette = self._rgba()
        for lump in self.between("F"):
            if (indices := self._attempt(self._flat, lump)) is not None:
                yield lump.name, palette[indices]

    def patches(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name, (H, W, 4) uint8 RGBA) of each wall patch; where it is open, alpha is 0."""
        for name, pixels, _ in self._pictures("P"):
            yield name, pixels

    def sprites(self) -> Iterator[tuple[str, np.ndarray, tuple[int, int]]]:
        """(name, (H, W, 4) uint8 RGBA, (left, top)) of each sprite; the offsets say how far left of and above its foot it begins."""
        return self._pictures("S")

    def picture(self, lump: Lump) -> tuple[np.ndarray, tuple[int, int]]:
        """((H, W) int16 palette indices, -1 where nothing is; (left, top)). Raises DataError for what is no picture.

        A column is posts (first row, number of pixels, a spare byte, the pixels, a spare byte) until a first row of 255.
        """
        data = self.bytes_of(lump)
        if len(data) < 8:
            raise self._fault("no picture: under 8 bytes", lump, "leave it out")
        width, height, left, top = struct.unpack_from("<HHhh", data)
        if not (0 < width <= WIDEST and 0 < height <= WIDEST and width * height <= MOST_PIXELS and 8 + 4 * width <= len(data)):
            raise self._fault(f"no picture of {width} x {height} fits in its {len(data):,} bytes, or is read", lump, "leave it out")
        out = np.full((height, width), -1, np.int16)
        for x, at in enumerate(struct.unpack_from(f"<{width}I", data, 8)):
            self._column(data, at, out[:, x], lump)
        return out, (left, top)

    def _column(self, data: bytes, at: int, column: np.ndarray, lump: Lump) -> None:
        row = -1
        for _ in range(MOST_POSTS):
            if data[at : at + 1] == b"\xff":
                return
            if at + 4 > len(data) or at + 4 + data[at + 1] > len(data):
                break
            first, count = data[at], data[at + 1]
            row = row + first if first <= row else first  # taller than 254: a first row not below the last counts from there
            pixels = np.frombuffer(data, np.uint8, count, at + 3)[: max(0, len(column) - row)]
            column[row : row + len(pixels)] = pixels
            at += count + 4
        raise self._fault("a picture whose columns run past its end", (lump.name, lump.offset + at), "it is cut off: fetch the file again")

    def _pictures(self, letter: str) -> Iterator[tuple[str, np.ndarray, tuple[int, int]]]:
        palette = self._rgba()
        for lump in self.between(letter):
            if (found := self._attempt(self.picture, lump)) is not None:
                yield lump.name, palette[found[0]], found[1]

    def _flat(self, lump: Lump) -> np.ndarray:
        if lump.size < FLAT * FLAT:
            raise self._fault(f"a floor of {lump.size:,} bytes, of {FLAT * FLAT:,}", lump, "leave it out")
        return np.frombuffer(self.bytes_of(lump), np.uint8, FLAT * FLAT).reshape(FLAT, FLAT)

    def _rgba(self) -> np.ndarray:
        """(257, 4) uint8; the last, which index -1 finds too, is nothing."""
        out = np.zeros((257, 4), np.uint8)
        out[:256, :3] = self.palette()
        out[:256, 3] = 255
        return out

    # --- sounds

    def sounds(self) -> Iterator[tuple[str, int, np.ndarray]]:
        """(name, samples a second, (N,) float32 from -1 to 1) of each lump DS..., without the 16 samples of padding at both ends."""
        for lump in self.lumps:
            if lump.name.startswith("DS") and lump.size and (found := self._attempt(self._sound, lump)) is not None:
                yield lump.name, *found

    def _sound(self, lump: Lump) -> tuple[int, np.ndarray]:
        data = self.bytes_of(lump)
        kind, rate, count = struct.unpack_from("<HHI", data) if len(data) >= 8 else (0, 0, 0)
        if kind != 3 or not 1000 <= rate <= 48_000:
            raise self._fault(f"no sound that is read: format {kind}, {rate} samples a second", lump, "leave it out")
        if not 32 < count <= len(data) - 8:
            raise self._fault(f"a sound of {count:,} samples in {len(data):,} bytes", lump, "it is cut off: fetch the file again")
        samples = np.frombuffer(data, np.uint8, count - 32, 24)
        return rate, (samples.astype(np.float32) - 128) / 128

    # --- the file

    def _directory(self) -> list[Lump]:
        data = self._data
        if len(data) < 12 or data[:4] not in (b"IWAD", b"PWAD"):
            raise self._fault("not a WAD: it does not begin with IWAD or PWAD", "", "leave it out, or give it its right suffix")
        count, start = struct.unpack_from("<ii", data, 4)
        if not 0 <= count <= MOST_LUMPS:
            raise self._fault(
                f"says that it has {count:,} lumps; at most {MOST_LUMPS:,} are read", ("header", 4), "it is damaged: fetch it again"
            )
        if start < 12 or start + 16 * count > len(data):
            what = f"its directory of {count:,} lumps lies from byte {start:,} to {start + 16 * count:,}, but it has {len(data):,} bytes"
            raise self._fault(what, ("header", 8), "it is cut off: fetch it again")
        return [self._entry(start + 16 * i) for i in range(count)]

    def _entry(self, at: int) -> Lump:
        offset, size, raw = struct.unpack_from("<ii8s", self._data, at)
        name = raw.partition(b"\0")[0].decode("ascii", "replace").upper()
        if size and (offset < 0 or size < 0 or offset + size > len(self._data)):
            what = f"lies from byte {offset:,} to {offset + size:,}, but the file has {len(self._data):,} bytes"
            raise self._fault(what, (name, at), "the file is cut off or damaged: fetch it again")
        return Lump(name, offset, size)

    def _attempt(self, read: Callable[[Lump], T], lump: Lump) -> T | None:
        """What `read` makes of a lump, or None, and the error among the faults."""
        try:
            return read(lump)
        except DataError as e:
            self.faults.append(e)
            return None

    def _fault(self, what: str, lump: Lump | tuple[str, int] | str, fix: str) -> DataError:
        where = f"{self.path}, {lump[0]} at byte {lump[1]:,}" if lump else str(self.path)
        return DataError(what, where, fix)
