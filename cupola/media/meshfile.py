"""Mesh files <-> plain triangles: OBJ, GLB, glTF, PLY and STL, read safely through trimesh; GLB and OBJ written.

Corners are float64 in the file's own units, y up as in GLB and OBJ; PLY and STL have no say in it and are taken as they are. A scene is
one mesh, every part where the scene puts it. Nothing is fetched, and nothing outside the file's own folder is opened.
"""

from __future__ import annotations

import io
import json
import re
import urllib.parse
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cupola.errors import DataError, MachineError
from cupola.media import picture, turn
from cupola.media.text import size_of, write_text

SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".stl")
MOST_BYTES = 50_000_000
MOST_VERTICES = 100_000
MOST_PIXELS = 16_000_000  # of a texture whose colours are taken
_LESS = "make it simpler (Blender: the Decimate modifier), or leave it out"
_SKIN = (200, 200, 200)  # of a part that has no colour in a file whose other parts have
_GLTF_LOST = {"skins": "rigs", "animations": "animations", "cameras": "cameras"}


class Triangles(NamedTuple):
    """What is in a file."""

    vertices: np.ndarray  # (N, 3) float64
    faces: np.ndarray  # (F, 3) indices
    colours: np.ndarray | None  # (F, 3) uint8, sRGB; None where the file has none
    dropped: list[str]  # what else it holds, by name: "UV", "normals", "rigs"


def load(path: Path) -> Triangles:
    """The triangles of a mesh file. Raises DataError naming file and place, MachineError without trimesh."""
    suffix, size = path.suffix.lower(), size_of(path)
    if suffix not in SUFFIXES:
        raise DataError(f"not a mesh: its name ends in {suffix or 'nothing'}", str(path), f"a mesh is read from {' '.join(SUFFIXES)}")
    if size > MOST_BYTES:
        raise DataError(f"{size:,} bytes, more than the {MOST_BYTES:,} that are read", str(path), _LESS)
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None
    if not data.strip():
        raise DataError("nothing in it", str(path), "leave it out")
    dropped = {".obj": _scan_obj, ".ply": _scan_ply, ".stl": _scan_stl, ".glb": _scan_glb, ".gltf": _scan_gltf}[suffix](data, path)
    vertices, faces, colours = _joined(_parts(data, path, suffix, "materials" in dropped), path)
    return Triangles(vertices, faces, colours, sorted(set(dropped)))


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError:
        raise MachineError("meshes need trimesh", fix='pip install "cupola[meshes]"') from None
    return trimesh


def _parts(data: bytes, path: Path, suffix: str, materials: bool) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """(vertices, faces, colours) of every solid of a file, where its scene puts it."""
    trimesh = _trimesh()
    try:
        with warnings.catch_warnings():  # NumPy's, of textures that repeat
            warnings.simplefilter("ignore")
            kind = {"file_type": suffix[1:], "resolver": _beside(path), "process": False}
            scene = trimesh.load_scene(io.BytesIO(data), **kind)
            for node in scene.graph.nodes_geometry:
                transform, name = scene.graph[node]
                part = scene.geometry[name]
                if not isinstance(part, trimesh.Trimesh) or not len(part.faces):
                    continue
                faces = np.asarray(part.faces, np.int64)
                vertices = trimesh.transform_points(np.asarray(part.vertices, np.float64), transform)
                faces = faces[:, ::-1] if np.linalg.det(transform[:3, :3]) < 0 else faces  # a mirrored part is inside out
                yield vertices, faces, _colours(part, materials, linear=suffix in (".glb", ".gltf"))
    except (DataError, MachineError, MemoryError):
        raise
    except Exception as e:  # trimesh raises every kind for a file that is not what it says
        raise DataError(
            f"not a {suffix[1:]} mesh that can be read: {_first_line(e)}", str(path), "export it again, or leave it out"
        ) from None


def _joined(
    parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]], path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    all_vertices, all_faces, all_colours, count, number, coloured = [], [], [], 0, 0, False
    for vertices, faces, colours in parts:
        _sound(vertices, faces, number, path)
        all_vertices.append(vertices)
        all_faces.append(faces + count)
        all_colours.append(np.full((len(faces), 3), _SKIN, np.uint8) if colours is None else colours)
        coloured |= colours is not None
        count += len(vertices)
        number += len(vertices)
        if count > MOST_VERTICES:
            raise _too_many(count, path)
    if not all_faces:
        raise DataError("no triangles in it", str(path), "export it with faces (points, lines and curves are not read), or leave it out")
    return np.concatenate(all_vertices), np.concatenate(all_faces), np.concatenate(all_colours) if coloured else None


def _sound(vertices: np.ndarray, faces: np.ndarray, first: int, path: Path) -> None:
    """Raises DataError for coordinates and indices that cannot be."""
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise DataError("its vertices have no three coordinates", str(path), "export it again, or leave it out")
    wrong = ~np.isfinite(vertices).all(1) | (np.abs(vertices) > 1e30).any(1)
    if wrong.any():
        at = int(np.argmax(wrong))
        what = f"vertex {first + at + 1:,} is at {' '.join(f'{v:g}' for v in vertices[at])}"
        raise DataError(what, str(path), "mend or delete that vertex and export again, or leave the file out")
    if faces.min() < 0 or faces.max() >= len(vertices):
        at = int(np.argmax(((faces < 0) | (faces >= len(vertices))).any(1)))
        raise DataError(
            f"face {at + 1:,} names a vertex that is not there (it has {len(vertices):,})", str(path), "export it again, or leave it out"
        )


def _colours(part: Any, materials: bool, linear: bool) -> np.ndarray | None:
    """(F, 3) uint8 of a part's triangles: of the faces, else the mean of their corners' or of the texture there, else the material's."""
    visual = part.visual
    if visual.kind in ("vertex", "face"):
        return _shown(np.asarray(visual.face_colors)[:, :3], linear)
    if visual.kind != "texture" or not materials:  # trimesh gives parts with UV and no material a grey one
        return None
    material = visual.material
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if image is not None:
        if image.size[0] * image.size[1] > MOST_PIXELS:
            return None
        if visual.uv is None:
            return np.tile(np.asarray(image.convert("RGB")).mean((0, 1)).round().astype(np.uint8), (len(part.faces), 1))
        corners = np.asarray(visual.to_color().vertex_colors)[:, :3].astype(np.float64)
        return corners[part.faces].mean(1).round().astype(np.uint8)
    return _shown(np.tile(np.asarray(material.main_color)[:3].astype(np.uint8), (len(part.faces), 1)), linear)


def _shown(colours: np.ndarray, linear: bool) -> np.ndarray:
    """glTF's vertex and material colours are linear light; pictures, OBJ and PLY are sRGB already."""
    if not linear:
        return colours.astype(np.uint8)
    light = colours / 255
    shown = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (shown * 255).round().astype(np.uint8)


def _light(colours: np.ndarray) -> np.ndarray:
    """sRGB bytes as linear light, in bytes."""
    shown = colours / 255
    return (np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4) * 255).round().astype(np.uint8)


def _beside(path: Path) -> Any:
    """What a mesh names (materials, textures, buffers) is opened only from its own folder and below."""
    from trimesh.resolvers import FilePathResolver

    folder = path.resolve().parent

    class Beside(FilePathResolver):
        def get(self, name: str) -> bytes:
            target = (folder / urllib.parse.unquote(name)).resolve()
            if not target.is_relative_to(folder) or not target.is_file():
                raise FileNotFoundError(f"no {name} in its folder")
            if target.stat().st_size > MOST_BYTES:
                raise ValueError(f"{name} has more than {MOST_BYTES:,} bytes")
            return target.read_bytes()

    return Beside(str(path))


# --- colours ---


def few(samples: Sequence[np.ndarray], most: int) -> tuple[tuple[int, int, int], ...]:
    """At most `most` colours that stand for these (n, 3) samples; () where there is but one: then a colour says nothing."""
    if not samples or len(unique := np.unique(np.concatenate(samples), axis=0)) < 2:
        return ()
    if len(unique) > most:
        opaque = [np.dstack([some[None], np.full((1, len(some)), 255)]).astype(np.uint8) for some in samples if len(some)]
        palette = picture.Palette.fit(opaque, most)
        unique = np.unique(np.concatenate([palette.rgba(palette.index(some))[0, :, :3] for some in opaque]), axis=0)
    return tuple((int(r), int(g), int(b)) for r, g, b in unique)


def nearest(colours: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """(n,) the number of the palette's colour that is nearest to each of (n, 3)."""
    away = colours[:, None].astype(np.int64) - np.array(palette)
    return (away**2).sum(-1).argmin(1)


# --- what a file says before it is read ---


def _scan_obj(data: bytes, path: Path) -> list[str]:
    """What is dropped. Raises DataError with the line of a face that names a vertex that is not there, and for bytes that are not text."""
    if b"\0" in data[:4096]:
        raise DataError("looks binary", str(path), "leave it out, or give it its right suffix")
    count, faces, words = 0, [], set()
    for number, line in enumerate(re.sub(rb"\\\r?\n", b" ", data).split(b"\n"), start=1):
        word, *rest = line.split() or [b""]
        words.add(word)
        if word == b"v":
            count += 1
            if len(rest) < 3:
                raise _line(path, number, f"a vertex of {len(rest)} coordinates")
            if any(coordinate.lower().lstrip(b"+-")[:1] in (b"n", b"i") for coordinate in rest[:3]):
                raise _line(path, number, f"vertex {count:,} is at {b' '.join(rest[:3]).decode(errors='replace')[:60]}")
        elif word == b"f":
            corners = [corner.partition(b"/")[0] for corner in rest]
            if bad := [corner for corner in corners if not re.fullmatch(rb"-?[1-9]\d{0,8}", corner)]:
                raise _line(path, number, f"a face names vertex {bad[0].decode(errors='replace')[:20]}, which is no number from 1")
            indices = [int(corner) for corner in corners]
            faces.append((number, min(i if i > 0 else count + 1 + i for i in indices), max(indices)) if indices else (number, 0, 0))
    if count > MOST_VERTICES:
        raise _too_many(count, path)
    if not faces:
        raise DataError("no faces in it", str(path), "export it with faces (points, lines and curves are not read), or leave it out")
    for number, low, high in faces:
        if low < 1 or high > count:
            raise _line(path, number, f"a face names vertex {high if high > count else low}, and there are {count:,}")
    lost = {b"vt": "UV", b"vn": "normals", b"usemtl": "materials", b"l": "lines and points", b"p": "lines and points"}
    return [lost[word] for word in words if word in lost]


def _line(path: Path, number: int, what: str) -> DataError:
    return DataError(f"line {number:,}: {what}", str(path), "mend that line, or export it again")


def _scan_ply(data: bytes, path: Path) -> list[str]:
    head, end, _ = data[:64_000].partition(b"end_header")
    if not data.startswith(b"ply") or not end:
        raise DataError("not a PLY file: it has no PLY header", str(path), "export it again, or leave it out")
    for element, count in re.findall(rb"element\s+(\w+)\s+(\d+)", head):
        if int(count) > (MOST_VERTICES if element == b"vertex" else 4 * MOST_VERTICES):
            raise _too_many(int(count), path, "vertices" if element == b"vertex" else "faces")
    vertex = head.partition(b"element vertex")[2].partition(b"element")[0]
    names = set(re.findall(rb"property\s+\w+\s+(\w+)", vertex))
    lost = {b"nx": "normals", b"s": "UV", b"u": "UV", b"texture_u": "UV", b"quality": "vertex attributes"}
    return [lost[name] for name in names if name in lost]


def _scan_stl(data: bytes, path: Path) -> list[str]:
    count = int.from_bytes(data[80:84], "little") if len(data) >= 84 else 0
    if not data.lstrip().startswith(b"solid") or len(data) == 84 + 50 * count:  # binary files that begin with "solid" are common
        if len(data) != 84 + 50 * count or not count:
            what = f"not an STL file, or a truncated one: {count:,} triangles are {84 + 50 * count:,} bytes, and it has {len(data):,}"
            raise DataError(what, str(path), "export it again, or leave it out")
        if 3 * count > MOST_VERTICES:
            raise _too_many(3 * count, path)
    return ["normals"]


def _scan_glb(data: bytes, path: Path) -> list[str]:
    if data[:4] != b"glTF" or len(data) < 20:
        raise DataError("not a GLB file: its first four bytes are not glTF", str(path), "export it again, or leave it out")
    length, size = int.from_bytes(data[8:12], "little"), int.from_bytes(data[12:16], "little")
    if length != len(data):
        raise DataError(f"truncated: it says {length:,} bytes and has {len(data):,}", str(path), "copy or export it again")
    return _scan_gltf(data[20 : 20 + size], path)


def _scan_gltf(data: bytes, path: Path) -> list[str]:
    """Raises DataError where the JSON is none, counts too many vertices, or its nodes go round in circles (a node has one parent)."""
    try:
        tree = json.loads(data)
        accessors = [int(accessor["count"]) for accessor in tree.get("accessors", [])]
        parts = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
        shapes = [sum(accessors[p["attributes"]["POSITION"]] for p in mesh["primitives"]) for mesh in tree.get("meshes", [])]
        nodes = tree.get("nodes", [])
        placed = sum(shapes[node["mesh"]] for node in nodes if "mesh" in node)
        children = [child for node in nodes for child in node.get("children", [])]
        _no_circle(nodes, children)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
        raise DataError(f"its JSON is not glTF: {_first_line(e)}", str(path), "export it again, or leave it out") from None
    if max(placed, *shapes, 0, *(count // 8 for count in accessors), 0) > MOST_VERTICES:
        raise _too_many(max(placed, *shapes, *accessors), path)
    attributes = {name.partition("_")[0] for part in parts for name in part["attributes"]}
    lost = [word for key, word in _GLTF_LOST.items() if tree.get(key)]
    lost += [
        {"TEXCOORD": "UV", "NORMAL": "normals", "TANGENT": "normals"}[name]
        for name in attributes
        if name in ("TEXCOORD", "NORMAL", "TANGENT")
    ]
    lost += ["materials"] if any("material" in part for part in parts) else []
    lost += ["shape keys"] if any(part.get("targets") for part in parts) else []
    lost += ["lines and points"] if any(part.get("mode", 4) < 4 for part in parts) else []
    return lost


def _no_circle(nodes: list[Any], children: list[int]) -> None:
    if len(children) != len(set(children)):
        raise ValueError("a node has two parents")
    left = set(range(len(nodes))) - set(children)  # roots
    todo, seen = list(left), 0
    while todo:
        seen += 1
        todo += nodes[todo.pop()].get("children", [])
    if seen != len(nodes):
        raise ValueError("nodes are their own children")


def _too_many(count: int, path: Path, what: str = "vertices") -> DataError:
    return DataError(f"{count:,} {what}, more than the {MOST_VERTICES:,} vertices that are read", str(path), _LESS)


def _first_line(e: Exception) -> str:
    return (str(e).strip().split("\n")[0] or type(e).__name__)[:120]


# --- files out ---


def write_glb(vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, path: Path) -> Path:
    """A GLB with vertex colours. vertices: (N, 3); faces: (F, 3); colours: (F, 3) uint8 sRGB; raises MachineError if it cannot be written.

    A corner that triangles of two colours share is there once for each. The same mesh gives the same bytes: trimesh stamps no time.
    """
    trimesh = _trimesh()
    vertices, faces, corner_colours = _split(vertices, faces, _light(colours))
    opaque = np.full((len(vertices), 1), 255, np.uint8)
    solid = trimesh.Trimesh(vertices, faces, vertex_colors=np.hstack([corner_colours, opaque]), process=False)
    return _write(path, solid.export(file_type="glb"))


def write_obj(vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray | None, path: Path) -> Path:
    """An OBJ, with colours behind its vertices (Blender and MeshLab read them) where there are several."""
    if colours is not None:
        vertices, faces, corner_colours = _split(vertices, faces, colours)
        lines = [
            f"v {x:.6g} {y:.6g} {z:.6g} {r:.4g} {g:.4g} {b:.4g}"
            for (x, y, z), (r, g, b) in zip(vertices.tolist(), (corner_colours / 255).tolist(), strict=True)
        ]
    else:
        lines = [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    return write_text(path, "\n".join(lines) + "\n")


def _split(vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(vertices, faces, a colour for each vertex), every vertex of one colour."""
    keys = np.column_stack([faces.reshape(-1, 1), np.repeat(colours, 3, axis=0)])
    unique, index = np.unique(keys, axis=0, return_inverse=True)
    return vertices[unique[:, 0]], index.reshape(-1, 3), unique[:, 1:].astype(np.uint8)


def _write(path: Path, data: bytes) -> Path:
    try:
        path.write_bytes(data)
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give a folder you may write to") from None
    return path


def write_files(vertices: np.ndarray, triangles: np.ndarray, colours: np.ndarray, stem: Path, *, coloured: bool = True) -> list[Path]:
    """`stem`.gif, turning; `stem`.glb with a colour for each triangle (F, 3); `stem`.obj, which has them only if `coloured`."""
    gif, glb, obj = (stem.with_name(stem.name + suffix) for suffix in (".gif", ".glb", ".obj"))
    frames = turn.frames(vertices, triangles, colours)
    picture.save_gif(frames, [turn.MILLISECONDS] * len(frames), gif)
    write_glb(vertices, triangles, colours, glb)
    write_obj(vertices, triangles, colours if coloured else None, obj)
    return [gif, glb, obj]
