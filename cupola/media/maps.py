"""Maps as text and as Tiled files.

Text: a row a line, a character a cell; maps are parted by an empty line, or one of = or ; signs. Rows may be uneven: what is missing is
outside. A line of spaces is a row of outside.

    #####        reads as the rows "#####", "#<.>#", "#####"
    #<.>#
    #####

Tiled (.tmj, .json, .tmx): orthogonal maps with a fixed size and their cells in plain or CSV form; the first layer of tiles is the map,
other layers and objects are left out. A tile's class, or its property role, type or class, says what it is.
"""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cupola.errors import DataError
from cupola.media.text import read_text

LARGEST = 32 << 20  # bytes of a file
WIDEST = 4096  # cells of a map, either way
_PARTING = re.compile(r"(?:=+|;.*)?")  # an empty line too
_PROSE = re.compile(r"[a-z]{2,} [a-z]{2,}(?:,? [a-z]{2,}){2}")
_CSV = 'Map > Map Properties > Tile Layer Format: "CSV", then save it again'
_SAYS_ROLE = ("role", "type", "class")


# --- text


@dataclasses.dataclass(frozen=True)
class TextMap:
    """One map of a text file."""

    rows: list[str]
    line: int  # of its first row, from 1


def text_maps(path: Path) -> list[TextMap]:
    """The maps of a text file. Raises DataError for tabs, rows over 4,096 wide, prose, and a file without a map."""
    out: list[TextMap] = []
    rows: list[str] = []
    lines = read_text(path, LARGEST).split("\n")
    if sum(bool(_PROSE.search(line)) for line in lines) * 2 > sum(bool(line.strip()) for line in lines):
        raise DataError("reads like prose, not like maps", str(path), "leave it out")
    for number, line in enumerate([*lines, ""], start=1):
        if _PARTING.fullmatch(line) and not (len(set(line)) == 1 and rows and len(line) == len(rows[-1])):
            if any(row.strip() for row in rows):
                out.append(TextMap(rows, number - len(rows)))
            rows = []
            continue
        _check_row(line, number, path)
        rows.append(line)
        if len(rows) > WIDEST:
            raise DataError(f"a map of more than {WIDEST:,} rows", f"{path}, line {number:,}", "part it by empty lines")
    if not out:
        raise DataError("no map in it", str(path), "a map is rows of characters, one a line; an empty line parts two maps")
    return out


def _check_row(line: str, number: int, path: Path) -> None:
    if (at := line.find("\t")) >= 0:
        fix = "a tab is as wide as each program likes: replace it by spaces (expand OLD > NEW), or by the character that is meant"
        raise DataError(f"a tab in column {at + 1:,}", f"{path}, line {number:,}", fix)
    if len(line) > WIDEST:
        raise DataError(
            f"a row of {len(line):,} cells; at most {WIDEST:,} are read", f"{path}, line {number:,}", "cut the map into smaller ones"
        )
    if not line.isprintable():
        at = next(i for i, c in enumerate(line) if not c.isprintable())
        raise DataError(
            f"character U+{ord(line[at]):04X} in column {at + 1:,}", f"{path}, line {number:,}", "replace it by one that can be seen"
        )


# --- Tiled in


@dataclasses.dataclass(frozen=True)
class TiledMap:
    """The first tile layer of a Tiled map."""

    gids: np.ndarray  # (H, W) int64, 0 for no tile; the high bits say how it is turned
    tilesets: tuple[Mapping[str, Any], ...]  # as the file has them
    classes: Mapping[int, str]  # gid -> what its class or property says

    def same_tiles(self, tilesets: Sequence[Mapping[str, Any]], own: str) -> bool:
        """Whether its tilesets, but for our `own`, are these."""
        return [_key(t) for t in self.tilesets_of_others(own)] == [_key(t) for t in tilesets]

    def tilesets_of_others(self, own: str) -> list[Mapping[str, Any]]:
        return [t for t in self.tilesets if t.get("name") != own]

    def of_sheet(self, own: str) -> dict[int, str]:
        """gid -> character of the tiles of our `own` sheet."""
        return {
            int(t["firstgid"]) + int(tile["id"]): str(tile["properties"][0].get("value", ""))
            for t in self.tilesets
            if t.get("name") == own
            for tile in t.get("tiles", [])
            if tile.get("properties") and isinstance(tile["properties"][0], dict)
        }

    def turned(self, gid: int) -> int:
        """The gid without the bits that turn the tile."""
        return gid & 0x0FFFFFFF


def tiled_map(path: Path) -> TiledMap:
    """Raises DataError for what is no Tiled map, infinite ones, other than orthogonal ones, packed cells and counts that lie."""
    text = read_text(path, LARGEST)
    where = str(path)
    map_ = _from_xml(text, where) if path.suffix.lower() == ".tmx" else _from_json(text, where)
    if map_.get("orientation", "orthogonal") != "orthogonal":
        raise DataError(f"a Tiled map that is {str(map_['orientation'])[:20]!r}", where, "only orthogonal maps are read")
    if map_.get("infinite") in (True, 1, "1"):
        raise DataError("an infinite Tiled map", where, "Map > Map Properties: untick Infinite, then save it again")
    layer = next(_tile_layers(map_.get("layers"), where), None)
    if layer is None:
        raise DataError("a Tiled map without a layer of tiles", where, "draw it on a tile layer; objects and images are not read")
    tilesets = map_.get("tilesets", [])
    if not isinstance(tilesets, list) or not all(isinstance(t, dict) and isinstance(t.get("firstgid"), int) for t in tilesets):
        raise DataError("a Tiled map whose tilesets have no firstgid", where, "save it again in Tiled")
    return TiledMap(_cells(layer, where), tuple(map(_slim, tilesets)), _classes(tilesets, path))


def _from_json(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as e:
        raise DataError(f"not JSON: {e.msg}", f"{where}, line {e.lineno}, column {e.colno}", "mend it, or leave it out") from None
    except RecursionError:
        raise DataError("no Tiled map: its JSON lies too deep", where, "leave it out") from None
    if not isinstance(found, dict) or not isinstance(found.get("layers"), list):
        raise DataError("JSON, but no Tiled map: it has no layers", where, "in Tiled: File > Export As, JSON map files; or leave it out")
    return found


def _from_xml(text: str, where: str) -> dict[str, Any]:
    """A .tmx as the JSON form has it, so far as it is read here."""
    if "<!" in text.replace("<!--", ""):
        raise DataError("a .tmx that declares things of its own (<!...>), which Tiled never writes", where, "save it again in Tiled")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as e:
        raise DataError(f"not XML: {e}", where, "save it again in Tiled") from None
    if root.tag != "map":
        raise DataError(f"XML, but no Tiled map: it begins with <{root.tag[:20]}>", where, "save the map itself, not its tileset")
    return {
        "orientation": root.get("orientation", "orthogonal"),
        "infinite": root.get("infinite", "0"),
        "layers": [_xml_layer(element) for element in root.iter("layer")],
        "tilesets": [_xml_tileset(element, where) for element in root.iter("tileset")],
    }


def _xml_layer(element: ET.Element) -> dict[str, Any]:
    data = element.find("data")
    out: dict[str, Any] = {"type": "tilelayer"} | {key: _whole(element.get(key)) for key in ("width", "height")}
    if data is None:
        return out
    encoding = data.get("encoding")
    if encoding == "csv":
        return out | {"data": [_whole(part) for part in (data.text or "").split(",")]}
    if encoding is None and data.find("tile") is not None:
        return out | {"data": [_whole(tile.get("gid", "0")) for tile in data.iter("tile")]}
    return out | {"data": "", "encoding": encoding or ""} | ({"chunks": []} if data.find("chunk") is not None else {})


def _xml_tileset(element: ET.Element, where: str) -> dict[str, Any]:
    if (first := _whole(element.get("firstgid", "1"))) is None:
        raise DataError("a tileset whose firstgid is no number", where, "save it again in Tiled")
    out: dict[str, Any] = {"firstgid": first}
    if element.get("source"):
        return out | {"source": element.get("source")}
    for key, value in element.items():
        if key != "firstgid":
            out[key] = _whole(value) if _whole(value) is not None else value
    if (image := element.find("image")) is not None:
        out |= {"image": image.get("source", ""), "imagewidth": _whole(image.get("width")), "imageheight": _whole(image.get("height"))}
    out["tiles"] = [
        {"id": _whole(tile.get("id")), "type": tile.get("type") or tile.get("class") or ""}
        | {"properties": [{"name": p.get("name"), "value": p.get("value")} for p in tile.iter("property")]}
        for tile in element.iter("tile")
    ]
    return out


def _whole(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _tile_layers(layers: Any, where: str, depth: int = 0) -> Iterator[dict[str, Any]]:
    if not isinstance(layers, list) or depth > 20 or not all(isinstance(layer, dict) for layer in layers):
        raise DataError("a Tiled map whose layers are no list of layers", where, "save it again in Tiled")
    for layer in layers:
        if layer.get("type") == "tilelayer":
            yield layer
        elif layer.get("type") == "group":
            yield from _tile_layers(layer.get("layers", []), where, depth + 1)


def _cells(layer: dict[str, Any], where: str) -> np.ndarray:
    """(H, W) int64 of a layer's data."""
    if "chunks" in layer:
        raise DataError(
            "a Tiled layer in chunks, which infinite maps have", where, "Map > Map Properties: untick Infinite, then save it again"
        )
    data, width, height = layer.get("data"), layer.get("width"), layer.get("height")
    if isinstance(data, str) or layer.get("compression") or layer.get("encoding") not in (None, "csv"):
        raise DataError("a Tiled layer whose cells are packed (base64)", where, _CSV)
    if not (isinstance(width, int) and isinstance(height, int) and 0 < width <= WIDEST and 0 < height <= WIDEST):
        raise DataError(
            f"a Tiled layer of {str(width)[:12]} x {str(height)[:12]} cells; 1 to {WIDEST:,} either way are read", where, "mend its size"
        )
    if not isinstance(data, list) or len(data) != width * height:
        has = f"{len(data):,}" if isinstance(data, list) else "no"
        raise DataError(f"a Tiled layer of {width} x {height} with {has} cells", where, "save it again in Tiled")
    if not all(isinstance(gid, int) and not isinstance(gid, bool) and 0 <= gid < 1 << 32 for gid in data):
        raise DataError("a Tiled layer with cells that are no tile numbers", where, "save it again in Tiled")
    return np.array(data, np.int64).reshape(height, width)


def _classes(tilesets: Sequence[Mapping[str, Any]], path: Path) -> dict[int, str]:
    """gid -> what the tile's class or property says; tilesets in files of their own are looked up beside the map."""
    out: dict[int, str] = {}
    for tileset in tilesets:
        tiles = tileset.get("tiles") or (_outside_tiles(path.parent / Path(str(tileset["source"])).name) if tileset.get("source") else [])
        for tile in tiles if isinstance(tiles, list) else []:
            if not isinstance(tile, dict) or not isinstance(tile.get("id"), int):
                continue
            says = [p.get("value") for p in tile.get("properties") or [] if isinstance(p, dict) and p.get("name") in _SAYS_ROLE]
            word = next((w for w in (*says, tile.get("type"), tile.get("class")) if isinstance(w, str) and w), "")
            if word:
                out[int(tileset["firstgid"]) + tile["id"]] = word
    return out


def _outside_tiles(path: Path) -> list[Any]:
    """The tiles of a .tsx or .tsj; [] where it cannot be read, for then they say nothing."""
    try:
        text = read_text(path, LARGEST)
        if path.suffix.lower() == ".tsx":
            return [] if "<!" in text else _xml_tileset(ET.fromstring(text), str(path)).get("tiles", [])
        found = json.loads(text)
        return found.get("tiles", []) if isinstance(found, dict) else []
    except (DataError, ET.ParseError, ValueError, RecursionError):
        return []


def _key(tileset: Mapping[str, Any]) -> tuple[Any, Any]:
    return tileset["firstgid"], tileset.get("source") or tileset.get("name")


def _slim(tileset: Mapping[str, Any]) -> dict[str, Any]:
    """A tileset as it has to stand in a map that uses it, plain values only, and its tiles' classes."""
    out = {key: value for key, value in tileset.items() if isinstance(value, (str, int, float)) and value is not None}
    tiles = [
        {key: tile[key] for key in ("id", "type", "class", "properties") if tile.get(key)} | {"id": tile["id"]}
        for tile in tileset.get("tiles") or []
        if isinstance(tile, dict) and isinstance(tile.get("id"), int)
    ]
    return out | ({"tiles": tiles} if tiles else {})


# --- Tiled out


def tiled_json(gids: np.ndarray, tilesets: Sequence[Mapping[str, Any]], tile: int = 16) -> str:
    """A Tiled map (.tmj) of one layer; gids: (H, W), tile: pixels a cell where no tileset says."""
    height, width = gids.shape
    first = tilesets[0] if tilesets else {}
    across, down = (first.get(key) if isinstance(first.get(key), int) else tile for key in ("tilewidth", "tileheight"))
    rows = ",\n".join("      " + ",".join(map(str, row)) for row in gids.tolist())
    layer = {"id": 1, "name": "map", "type": "tilelayer", "visible": True, "opacity": 1, "x": 0, "y": 0, "width": width, "height": height}
    map_ = {
        "type": "map", "version": "1.10", "tiledversion": "1.10.2", "orientation": "orthogonal", "renderorder": "right-down",
        "infinite": False, "compressionlevel": -1, "width": width, "height": height, "tilewidth": across, "tileheight": down,
        "nextlayerid": 2, "nextobjectid": 1,
        "tilesets": list(tilesets), "layers": [layer | {"data": "CELLS"}],
    }  # fmt: skip
    return json.dumps(map_, indent=1).replace('"CELLS"', f"[\n{rows}\n   ]") + "\n"
