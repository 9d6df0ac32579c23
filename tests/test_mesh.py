"""Meshes: files to strips and back, what is refused, what is the same mesh otherwise, and sprites made solid."""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tune import Grammar

from cupola.errors import ConfigError, DataError, MachineError, SourceError
from cupola.media import extrude, facets, meshfile, picture, strip
from cupola.media.base import Pins
from cupola.media.mesh import Mesh, MeshOptions
from cupola.sources import Source, fetch

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("PIL")
MESH = Mesh()
BOX = """v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1
f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 4 8 7 3\nf 1 5 8 4\nf 2 3 7 6\n"""


def everything(group: str) -> bool:
    return False


def box(low=(0, 0, 0), high=(1, 1, 1), first: int = 1) -> str:
    """An OBJ of a box, its vertices counted from `first`."""
    out = []
    for line in BOX.splitlines():
        kind, *rest = line.split()
        if kind == "v":
            out.append("v " + " ".join(str(low[i] if v == "0" else high[i]) for i, v in enumerate(rest)))
        else:
            out.append("f " + " ".join(str(int(v) + first - 1) for v in rest))
    return "\n".join(out) + "\n"


def table(width: float = 2.0) -> str:
    parts = [((-width, 1.0, -1), (width, 1.2, 1))] + [((x, 0, z), (x + 0.2, 1, z + 0.2)) for x in (-width, width - 0.2) for z in (-1, 0.8)]
    return "".join(box(low, high, 1 + 8 * i) for i, (low, high) in enumerate(parts))


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "things 📦").mkdir()
    return tmp_path / "things 📦"


def put(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def text_of(path: Path, medium: Mesh = MESH) -> str:
    (document,) = medium.read(path)
    return document.text


def refusal(path: Path, medium: Mesh = MESH) -> str:
    with pytest.raises(DataError) as caught:
        list(medium.read(path))
    assert path.name in str(caught.value)
    assert caught.value.fix
    return str(caught.value)


# --- files in


def test_a_mesh_becomes_a_header_and_strips_on_one_line(folder):
    (document,) = MESH.read(put(folder, "my box 📦.obj", BOX))
    head, body, end = document.text.split("\n")
    assert (head, end) == ("mesh", "")
    assert set(body) <= set(strip.LETTERS + "z ")
    assert (document.group, document.path, document.name) == ("my box 📦.obj", "my box 📦.obj", "my box 📦")
    assert MESH.check(document.text) == []
    assert MESH.title(document.text) == "mesh, 12 triangles, watertight"


def test_every_kind_of_file_gives_the_same_mesh(folder):
    solid = trimesh.load(put(folder, "a.obj", table()), process=False)
    text = text_of(folder / "a.obj")
    for kind in ("glb", "ply", "stl"):
        assert text_of(put(folder, f"b.{kind}", solid.export(file_type=kind))) == text
    for name, data in solid.scene().export(file_type="gltf").items():
        put(folder, name, data)
    assert text_of(folder / "model.gltf") == text


def test_where_it_stands_and_how_large_it_is_leaves_no_trace_unless_it_lies_on_the_grid_already(folder):
    solid = trimesh.load(put(folder, "a.obj", table()), process=False)
    moved = solid.copy()
    moved.apply_transform(trimesh.transformations.scale_and_translate(37.5, [100, -3, 8]))
    assert text_of(put(folder, "b.glb", moved.export(file_type="glb"))) == text_of(folder / "a.obj")
    small = text_of(put(folder, "c.obj", box((0, 0, 0), (10 / 49, 5 / 49, 5 / 49))))
    corners = strip.points([code for face in MESH._solid(small).faces for code in face])
    assert np.ptp(corners, axis=0).tolist() == [10, 5, 5]
    assert corners[:, 1].min() == 0


def test_a_scene_is_one_mesh_with_its_parts_where_the_scene_puts_them(folder):
    scene = trimesh.Scene()
    part = trimesh.creation.box()
    for x in (0, 3):
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix([x, 0, 0]))
    text = text_of(put(folder, "two.glb", scene.export(file_type="glb")))
    assert len(MESH._solid(text).faces) == 24
    assert np.ptp(strip.points([c for f in MESH._solid(text).faces for c in f])[:, 0]) == 49


def test_a_mirrored_part_is_not_inside_out(folder):
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box(), transform=np.diag([-1.0, 1, 1, 1]))
    triangles = meshfile.load(put(folder, "m.glb", scene.export(file_type="glb")))
    assert trimesh.Trimesh(triangles.vertices, triangles.faces, process=False).volume == pytest.approx(1)


def test_corners_are_welded_and_triangles_without_area_or_there_twice_go(folder):
    doubled = BOX + box(first=9) + "f 1 1 2\n"
    assert text_of(put(folder, "d.obj", doubled)) == text_of(put(folder, "s.obj", BOX))


def test_what_is_symmetric_stays_symmetric_on_the_grid():
    rng = np.random.default_rng(0)
    for _ in range(50):
        half = rng.random((7, 3))
        grid = facets.snap(np.concatenate([half, half * [-1, 1, 1]]), 50)
        assert len({tuple(r) for r in (grid[:7] + grid[7:])[:, :1].tolist()}) == 1
        assert facets.error(np.concatenate([half, half * [-1, 1, 1]]), grid) <= 0.5 * 3**0.5 / 49 + 1e-9


def test_an_open_mesh_is_fine_and_says_that_it_is_not_watertight(folder):
    path = put(folder, "open.obj", BOX.replace("f 1 4 3 2\n", ""))
    assert MESH.promise(path).figures["watertight"] == 0.0
    assert MESH.check(text_of(path)) == []
    assert "watertight" not in MESH.title(text_of(path))


def test_the_promise_is_measured(folder):
    path = put(folder, "box.obj", BOX)
    assert MESH.promise(path).figures == {"faces": 12, "exact": 1.0, "kept": 1.0, "vertex_error": 0.0, "watertight": 1.0}


def test_what_is_dropped_is_listed(folder):
    assert MESH.dropped(put(folder, "a.obj", BOX)) == []
    assert MESH.dropped(put(folder, "b.obj", "mtllib no.mtl\nvt 0 0\nvn 0 1 0\nusemtl red\n" + BOX)) == ["UV", "materials", "normals"]
    tree = {"asset": {"version": "2.0"}, "skins": [{}], "animations": [{}]}
    assert sorted(meshfile._scan_gltf(json.dumps(tree).encode(), Path("a.gltf"))) == ["animations", "rigs"]


# --- bad files


def test_a_coordinate_that_is_no_number_is_named_with_its_vertex(folder):
    assert "line 2: vertex 2 is at nan 0 0" in refusal(put(folder, "n.obj", BOX.replace("v 1 0 0", "v nan 0 0")))
    solid = trimesh.creation.box()
    solid.vertices[4] = np.inf
    assert "vertex 5 is at inf inf inf" in refusal(put(folder, "n.ply", solid.export(file_type="ply")))


PLY = """ply
format ascii 1.0
element vertex {}
property float x
property float y
property float z
element face {}
property list uchar int vertex_indices
end_header
0 0 0
1 0 0
0 1 0
3 0 1 2
"""


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.obj", "", "nothing in it"),
        ("a.obj", "  \n\n", "nothing in it"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nl 1 2 3\n", "no faces in it"),
        ("a.obj", "# only words\n", "no faces in it"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "line 4: a face names vertex 9, and there are 3"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -4\n", "line 4: a face names vertex 0, and there are 3"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "line 4: a face names vertex 0, which is no number from 1"),
        ("a.obj", "v 0 0\nf 1 1 1\n", "line 1: a vertex of 2 coordinates"),
        ("a.obj", bytes(range(256)) * 9, "looks binary"),
        ("a.obj", "v 0 0 0\nv 1e9 x 0\nv 0 1 0\nf 1 2 3\n", "not a obj mesh that can be read"),
        ("a.obj", "v 0 0 0\n" * 100_001 + "f 1 2 3\n", "100,001 vertices, more than the 100,000 vertices that are read"),
        ("a.obj", "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "all of its triangles are smaller than a step of the grid"),
        ("a.ply", "junk", "not a PLY file"),
        ("a.ply", PLY.format(1_000_000, 1), "1,000,000 vertices, more than"),
        ("a.ply", PLY.format(3, 9_000_000), "9,000,000 faces, more than"),
        ("a.ply", PLY.format(5, 1), "no triangles in it"),
        ("a.ply", PLY.format(3, 1).replace("3 0 1 2", "3 0 1 7"), "face 1 names a vertex that is not there (it has 3)"),
        ("a.stl", b"garbage" * 40, "not an STL file, or a truncated one"),
        ("a.stl", "solid x\nfacet garbage\nendsolid", "no triangles in it"),
        ("a.stl", bytes(80) + struct.pack("<I", 2) + bytes(50), "2 triangles are 184 bytes, and it has 134"),
        ("a.glb", b"glTF" + bytes(96), "truncated: it says 0 bytes and has 100"),
        ("a.glb", b"PK\3\4" + bytes(96), "not a GLB file"),
        ("a.gltf", "{nonsense", "its JSON is not glTF"),
        ("a.gltf", json.dumps({"nodes": [{"children": [1]}, {"children": [0]}]}), "nodes are their own children"),
        ("a.gltf", json.dumps({"accessors": [{"count": 10**12}]}), "1,000,000,000,000 vertices, more than"),
        ("a.gltf", json.dumps([1, 2]), "its JSON is not glTF"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_mesh_is_refused_by_name_and_place(folder, name, data, message):
    assert message in refusal(put(folder, name, data))


@pytest.mark.parametrize("cut", [4, 30, 300, -1])
def test_a_glb_that_breaks_off_is_refused(folder, cut):
    data = trimesh.creation.box().export(file_type="glb")
    assert any(word in refusal(put(folder, "cut 💔.glb", data[:cut])) for word in ("truncated", "not a GLB"))


def test_damaged_bytes_anywhere_give_an_error_or_a_mesh_but_no_crash(folder):
    rng = random.Random(0)
    for kind in ("glb", "ply", "stl", "obj"):
        data = trimesh.creation.box().export(file_type=kind)
        data = data.encode() if isinstance(data, str) else data
        for _ in range(25):
            broken = bytearray(data)
            for _ in range(3):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            with contextlib.suppress(DataError):
                assert MESH.syntax(text_of(put(folder, f"x.{kind}", bytes(broken)))) == []


def test_a_thousand_copies_of_one_part_are_counted_before_they_are_made(folder):
    ball = trimesh.creation.icosphere(subdivisions=3)
    scene = trimesh.Scene()
    for i in range(200):
        scene.add_geometry(ball, geom_name="ball", transform=trimesh.transformations.translation_matrix([i, 0, 0]))
    assert "vertices, more than the 100,000 vertices" in refusal(put(folder, "many.glb", scene.export(file_type="glb")))


@pytest.mark.parametrize("uri", ["../secret.bin", "..%2Fsecret.bin", "/etc/hostname", "http://example.org/secret.bin"])
def test_nothing_outside_its_folder_is_opened(folder, uri):
    for name, data in trimesh.creation.box().scene().export(file_type="gltf").items():
        put(folder, name, data)
    put(folder.parent, "secret.bin", (folder / "gltf_buffer_0.bin").read_bytes())
    tree = json.loads((folder / "model.gltf").read_text())
    assert len(MESH._solid(text_of(folder / "model.gltf")).faces) == 12
    tree["buffers"][0]["uri"] = uri
    assert f"no {uri} in its folder" in refusal(put(folder, "a.gltf", json.dumps(tree)))


def test_a_mesh_of_too_many_triangles_is_left_out_and_the_error_says_how_to_reduce_it(folder):
    path = put(folder, "ball.stl", trimesh.creation.icosphere(subdivisions=3).export(file_type="stl"))
    message = refusal(path)
    assert "1,280 triangles, more than the 400 that are read" in message
    assert "Decimate" in message
    assert "faces" in message
    assert (
        MESH.fit([put(folder, "a.obj", BOX)], MeshOptions(faces=2000), everything).check(text_of(path, _fitted(folder, faces=2000))) == []
    )


def _fitted(folder: Path, **options) -> Mesh:
    return MESH.fit(sorted(folder.iterdir()), MeshOptions(**options), everything)


def test_a_picture_is_no_mesh_unless_it_is_to_be_extruded(folder):
    assert "say extrude = true" in refusal(put(folder, "a.png", b"\x89PNG"))
    assert "not a mesh: its name ends in .txt" in refusal(put(folder, "a.txt", "x"))


def test_without_the_meshes_extra_it_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(MachineError, match=r'pip install "cupola\[meshes\]"'):
        list(MESH.read(put(folder, "a.obj", BOX)))


# --- what a corpus decides


def test_a_folder_is_fitted_past_its_bad_files_and_its_settings_travel(folder):
    put(folder, "a.obj", BOX), put(folder, "b.obj", "junk"), put(folder, "c.obj", table())
    made = _fitted(folder, steps=24)
    settings = made.settings()
    assert json.loads(json.dumps(settings)) == settings
    again = MESH.restore(settings)
    assert again.settings() == settings
    assert text_of(folder / "c.obj", again) == text_of(folder / "c.obj", made)
    assert set(text_of(folder / "c.obj", made).split("\n")[1]) <= set(strip.LETTERS[:24] + "z ")


@pytest.mark.parametrize(
    "damage", [{"steps": 99}, {"colours": [[1, 2]]}, {"labels": {}}, {"words": 3}, {"colours": [[0, 0, i] for i in range(30)]}]
)
def test_damaged_settings_are_refused(damage):
    with pytest.raises(DataError, match="make the corpus again"):
        MESH.restore({**MESH.settings(), **damage})
    with pytest.raises(DataError, match="make the corpus again"):
        MESH.restore({})


def test_a_folder_without_one_good_mesh_is_refused_with_the_first_reason(folder):
    put(folder, "b.obj", "junk")
    with pytest.raises(DataError, match=r"no mesh that can be read among 1 files; the first: no faces in it"):
        _fitted(folder)


def test_labels_are_the_words_that_several_names_share(folder):
    for name in ("deco_chair_1", "deco_office_chair", "deco_chair_open", "deco_lamp", "deco_sink", "deco_pot", "deco_sofa"):
        put(folder, f"{name}.obj", BOX)
    made = _fitted(folder)
    assert made.labels.known == ("chair",)
    assert text_of(folder / "deco_office_chair.obj", made).startswith("mesh chair\n")
    assert text_of(folder / "deco_lamp.obj", made).startswith("mesh\n")
    assert made.head("chair") == "mesh chair\n"
    with pytest.raises(ConfigError, match="no mesh is labelled 'sofa'"):
        made.head("sofa")


def coloured(folder: Path, count: int = 3) -> Mesh:
    """A fitted medium of boxes in `count` colours, and one file of two colours."""
    for i in range(count):
        solid = trimesh.load(put(folder, "tmp.obj", BOX), process=False)
        solid.visual.face_colors = [[40 * i, 255 - 30 * i, 90, 255]] * 6 + [[250, 20 * i, 10, 255]] * 6
        put(folder, f"c{i}.ply", solid.export(file_type="ply", vertex_normal=False))
    (folder / "tmp.obj").unlink()
    return _fitted(folder)


def test_colours_are_the_first_letter_of_a_strip_where_the_files_have_several(folder):
    made = coloured(folder)
    assert 2 <= len(made.colours) <= 24
    text = text_of(folder / "c1.ply", made)
    assert made.check(text) == []
    assert "colours, watertight" in made.title(text)
    assert made.syntax("mesh\naaaYaaYYY\n")[0].what == "a strip that breaks off"
    assert made.syntax("mesh\nYaaaYaaYYY\n")[0].what == "no colour 'Y'"
    variants = list(made.variants(text))
    assert variants
    assert all(made.syntax(v) == [] and made.distance(v, text) == 0.0 for v in variants)
    grey = _fitted_on(folder / "c1.ply", made)
    assert grey == text


def _fitted_on(path: Path, made: Mesh) -> str:
    return text_of(path, MESH.restore(made.settings()))


def test_one_colour_throughout_says_nothing_and_has_no_letter(folder):
    glb = MESH.write(text_of(put(folder, "a.obj", BOX)), folder / "b")[1]
    assert MESH.fit([glb], MeshOptions(), everything).colours == ()


def test_materials_and_textures_give_colours(folder):
    from PIL import Image

    put(folder, "m.mtl", "newmtl red\nKd 1 0 0\nnewmtl pic\nmap_Kd t.png\n")
    halves = Image.new("RGB", (4, 4), (10, 200, 30))
    halves.paste((0, 0, 90), (0, 0, 4, 2))
    halves.save(folder / "t.png")
    vertices, faces = BOX.strip().split("\n")[:8], BOX.strip().split("\n")[8:]
    mapped = [" ".join(["f", *(f"{v}/{v}" for v in line.split()[1:])]) for line in faces]
    head = ["mtllib m.mtl", *vertices, *["vt 0.5 0.1"] * 4, *["vt 0.4 0.2"] * 4]
    path = put(folder, "m.obj", "\n".join([*head, "usemtl pic", *mapped[:3], "usemtl red", *mapped[3:]]) + "\n")
    assert {tuple(c) for c in meshfile.load(path).colours.tolist()} == {(255, 0, 0), (10, 200, 30)}
    path = put(folder, "n.obj", "\n".join([*head[:9], "usemtl pic", *faces[:3], "usemtl red", *faces[3:]]) + "\n")
    assert {tuple(c) for c in meshfile.load(path).colours.tolist()} == {
        (255, 0, 0),
        (5, 100, 60),
    }  # the mean, where nothing says which part


def test_what_is_kept_apart_lends_no_colours(folder):
    coloured(folder)
    files = sorted(folder.glob("*.ply"))
    assert MESH.fit(files, MeshOptions(), lambda group: True).colours == ()


# --- what is valid


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1, column 1: no header"),
        ("mush\n", "line 1, column 1: no header"),
        ("mesh Box\naaaaaYaYa\n", "line 1, column 1: no header"),
        ("mesh\n\n", "line 2, column 1: a strip that breaks off"),
        ("mesh\naaaaaYaYa aaaaa9aYa\n", "line 2, column 16: no step '9'"),
        ("mesh\naaaaaYaYa  aaaaaYaYa\n", "line 2, column 11: a strip that breaks off"),
        ("mesh\naaaaaYaYab\n", "line 2, column 10: a corner that breaks off"),
        ("mesh\naaaaaYaYa\naaaaaYaYa\n", "line 3, column 1: a third line"),
    ],
)
def test_syntax_names_line_and_column(text, problem):
    assert str(MESH.syntax(text)[0]).startswith(problem)
    assert MESH.check(text) == MESH.syntax(text)
    with pytest.raises(DataError, match="not a mesh"):
        MESH.write(text, Path("a"))


def flaws(body: str) -> list[str]:
    assert MESH.syntax(f"mesh\n{body}\n") == []
    return [p.what for p in MESH.check(f"mesh\n{body}\n")]


def test_flaws_are_named_apart_from_what_is_invalid(folder):
    good = text_of(put(folder, "a.obj", table())).split("\n")[1]
    assert flaws(good) == []
    assert flaws("aaaaaYaYa") == ["1 triangles"]
    assert flaws(f"{good} aaaaaaaYa aaaaaaYaa aaaYYYYYY YYYYYYaaa")[0] == "4 of 64 are triangles without area"
    assert flaws(f"{good} {' '.join([good.split()[0][:9]] * 4)}")[0] == "4 of 64 are triangles that are there twice"
    assert flaws("aaaaYaaYYzaaY aabaYbaYczaac") == ["flat: it has no extent one way"]
    faces = [face for one in MESH._parsed(f"mesh\n{good}\n").strips for face in one.faces]
    inside_out = strip.encode([face[::-1] if i % 2 else face for i, face in enumerate(faces)])
    assert [what.partition(",")[0] for what in flaws(inside_out)] == ["0 edges of three triangles or more"]


@given(st.text("abYz \nmesh", max_size=50))
@settings(deadline=None, max_examples=60)
def test_any_text_is_looked_at_without_a_crash(body):
    for text in (body, "mesh\n" + body, "mesh\naaaaaYaYa" + body):
        MESH.check(text), MESH.spans(text), MESH.title(text), list(MESH.variants(text)), MESH.shingles(text)
        assert MESH.distance(text, text) == 0.0
        assert MESH.canonical(MESH.canonical(text)) == MESH.canonical(text)


def test_what_cannot_be_read_is_far_from_what_can(folder):
    text = text_of(put(folder, "a.obj", BOX))
    assert MESH.distance("?", "!") == 0.0
    assert MESH.distance("?", text) == 1.0
    assert MESH.shingles("?") == set()
    assert MESH.canonical("?") == "?"


# --- grammar


@pytest.mark.parametrize(
    "body", ["", "aa", "aaaaaYaYa", "aaaaaYaYaz", "aaaaaYaYazb", "aaaaaYaYabb", "aaaaaYaYabbb", "aaaaaYaYabbb ", "aaaaaYaYa aaaY"]
)
def test_all_that_the_grammar_admits_behind_a_prompt_can_be_read(body):
    prompt = "mesh\n" + body
    rng = random.Random(0)
    for pins in (Pins(prompt), Pins(prompt, least=4), Pins(prompt, least=3, most=5), Pins(prompt, most=2)):
        grammar = Grammar(MESH.grammar(pins))
        for _ in range(10):
            text = prompt + grammar.draw(rng)
            assert MESH.syntax(text) == [], text
            assert (pins.least or 1) <= len(MESH.spans(text)) <= (pins.most or 1000)


def test_a_prompt_may_end_in_the_header_and_only_labels_of_the_corpus_come(folder):
    made = MESH.restore({**MESH.settings(), "labels": {"by": "own", "known": ["chair", "table"]}})
    heads = {
        prompt + Grammar(made.grammar(Pins(prompt))).draw(random.Random(i)).split("\n")[0]
        for prompt in ("", "me", "mesh")
        for i in range(30)
    }
    assert heads == {"mesh", "mesh chair", "mesh table"}
    assert Grammar(made.grammar(Pins("mesh ch"))).draw(random.Random(0)).startswith("air\n")


def test_the_grammar_knows_the_steps_and_colours_of_the_corpus():
    made = MESH.restore({**MESH.settings(), "steps": 12, "colours": [[0, 0, 0], [255, 0, 0], [0, 0, 255]]})
    rng = random.Random(0)
    for prompt in ("", "mesh\nb", "mesh\nbaaalll", "mesh\nbaaalllaal"):
        for _ in range(10):
            assert made.syntax(prompt + Grammar(made.grammar(Pins(prompt))).draw(rng)) == []


def test_real_pieces_are_admitted_from_every_place_in_them(folder):
    text = text_of(put(folder, "a.obj", table()))
    for cut in (0, 2, 5, 6, 9, 14, 15, 18, 40, len(text) - 4):
        grammar = Grammar(MESH.grammar(Pins(text[:cut])).replace("*", "{0,999}"))  # its * goes no farther than three
        assert grammar.admits(text[cut:]), text[:cut]
        assert not grammar.admits(text[cut:-2])


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        (Pins("tune"), "no mesh begins with 'tune'"),
        (Pins("mesh\naaa9"), "no mesh begins with this prompt"),
        (Pins("mesh\naaaaaYaYa\n"), "no mesh begins with this prompt"),
        (Pins("mesh\naaaaaYaYa aa aaaaaYaYa"), "no mesh begins with this prompt"),
        (Pins("mesh\naaaaaYaYa aaa", most=1), "at most 1 strips"),
        (Pins(least=5, most=4), "at most 4 strips"),
    ],
)
def test_pins_that_cannot_be_kept_are_refused(pins, message):
    with pytest.raises(ConfigError, match=message):
        MESH.grammar(pins)


def test_strips_can_be_made_anew_and_everything_else_stays(folder):
    text = text_of(put(folder, "a.obj", table()))
    spans = MESH.spans(text)
    assert " ".join(text[a:b] for a, b in spans) == text.split("\n")[1]
    start, end = spans[1][0], spans[2][1]
    filling = Grammar(MESH.filling(text, start, end)).draw(random.Random(1))
    changed = text[:start] + filling + text[end:]
    assert MESH.syntax(changed) == []
    assert len(MESH.spans(changed)) == len(spans)


# --- the same mesh otherwise, and how far meshes are apart


def test_variants_are_turned_and_mirrored_and_count_as_the_same(folder):
    lopsided = box((0, 0, 0), (3, 1, 1)) + box((2, 1, 0), (3, 3, 0.7), first=9)
    text = text_of(put(folder, "l.obj", lopsided))
    variants = list(MESH.variants(text))
    assert len({text, *variants}) == 8
    for variant in variants:
        assert MESH.check(variant) == []
        assert MESH.canonical(variant) == variant
        assert MESH.distance(text, variant) == MESH.distance(variant, text) == 0.0
        assert MESH.shingles(variant) == MESH.shingles(text)
        corners = strip.points(MESH._solid(variant).faces).astype(float)
        assert np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() > 0  # not inside out
    assert {*MESH.variants(variants[2])} | {variants[2]} == {text, *variants}


def test_a_mesh_that_is_the_same_from_every_side_has_no_variants(folder):
    corners = "v 1 1 0\nv 0 1 1\nv -1 1 0\nv 0 1 -1\nv 0 2 0\nv 0 0 0\n"
    sides = "".join(f"f {b} {a} 5\nf {a} {b} 6\n" for a, b in ((1, 2), (2, 3), (3, 4), (4, 1)))
    text = text_of(put(folder, "octahedron.obj", corners + sides))
    assert MESH.check(text) == []
    assert list(MESH.variants(text)) == []


def test_like_meshes_are_near_and_other_ones_far(folder):
    one, wider, block = (text_of(put(folder, f"{i}.obj", data)) for i, data in enumerate((table(2), table(2.4), box((0, 0, 0), (1, 3, 1)))))
    assert 0 < MESH.distance(one, wider) == MESH.distance(wider, one) < 0.5 < MESH.distance(one, block) <= 1
    first = one.split("\n")[1].split()[0]
    moved = one.replace(first, first[:3] + first[3:6].replace("Y", "X", 1) + first[6:])
    assert MESH.distance(one, moved) < 0.3


def test_how_a_skin_is_cut_into_triangles_does_not_count(folder):
    other = BOX.replace("f 1 4 3 2", "f 1 4 3\nf 1 3 2").replace("f 5 6 7 8", "f 6 7 8\nf 6 8 5")
    a, b = text_of(put(folder, "a.obj", BOX)), text_of(put(folder, "b.obj", other))
    assert a != b
    assert MESH.distance(a, b) == 0.0


bodies = st.lists(st.lists(st.sampled_from("agmsyFLRY"), min_size=9, max_size=9).map("".join), min_size=2, max_size=8).map(" ".join)


@given(bodies, bodies)
@settings(deadline=None, max_examples=25)
def test_the_distance_is_symmetric_between_0_and_1_and_shingles_are_few(a, b):
    x, y = f"mesh\n{a}\n", f"mesh box\n{b}\n"
    assert 0 <= MESH.distance(x, y) <= 1
    assert MESH.distance(x, y) == pytest.approx(MESH.distance(y, x))
    assert len(MESH.shingles(x)) <= 200
    for variant in MESH.variants(x):
        assert MESH.shingles(variant) == MESH.shingles(x)
        assert MESH.distance(variant, x) == 0.0


# --- files out


def test_write_gives_a_turning_picture_a_glb_and_an_obj_that_read_back_the_same(folder):
    text = text_of(put(folder, "a.obj", table()))
    gif, glb, obj = MESH.write(text, folder / "my table 🪑 1.0")
    assert [p.name for p in (gif, glb, obj)] == ["my table 🪑 1.0.gif", "my table 🪑 1.0.glb", "my table 🪑 1.0.obj"]
    frames = picture.open_frames(gif)
    assert (len(frames.pictures), frames.pictures[0].shape, set(frames.durations)) == (24, (128, 128, 4), {80})
    assert text_of(glb) == text_of(obj) == text == MESH.canonical(text)
    solid = trimesh.load(glb, process=False)
    assert solid.bounds[0][1] == 0
    assert solid.extents.max() == pytest.approx(1)


def test_colours_come_back_from_glb_and_obj(folder):
    made = coloured(folder)
    text = text_of(folder / "c2.ply", made)
    _, glb, obj = made.write(text, folder / "out")
    assert text_of(glb, made) == text_of(obj, made) == text
    shown = {tuple(c) for c in meshfile.load(obj).colours.tolist()}
    assert shown <= set(made.colours)


def test_the_same_mesh_gives_the_same_bytes(folder):
    text = text_of(put(folder, "a.obj", table()))
    (folder / "b").mkdir()
    for a, b in zip(MESH.write(text, folder / "x"), MESH.write(text, folder / "b" / "x"), strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_whatever_the_grammar_admits_can_be_written(folder):
    rng = random.Random(3)
    for text in ["mesh\naaaaaaaaa\n", *["mesh\n" + Grammar(MESH.grammar(Pins("mesh\n"))).draw(rng) for _ in range(3)]]:
        assert all(path.stat().st_size for path in MESH.write(text, folder / "x"))


def test_a_folder_that_is_not_there_is_an_error_not_a_crash(folder):
    with pytest.raises(MachineError):
        MESH.write(text_of(put(folder, "a.obj", BOX)), folder / "no" / "a")


# --- sprites made solid


def closed(plate: extrude.Plate) -> bool:
    return facets.watertight(facets.tuples(strip.codes(plate.corners)))


def volume(plate: extrude.Plate) -> float:
    a, b, c = plate.corners.astype(float).transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_an_l_of_three_cells_is_twenty_triangles():
    plate = extrude.solid(np.array([[0, -1], [0, 0]]))
    assert len(plate.corners) == 20
    assert closed(plate)
    assert volume(plate) == pytest.approx(3 * extrude.DEPTH)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_every_sprite_becomes_a_skin_without_holes_around_exactly_its_cells(width, height, inks, seed):
    cells = np.random.default_rng(seed).integers(-1, inks, (height, width))
    if (cells < 0).all():
        return
    plate = extrude.solid(cells)
    assert closed(plate)
    assert volume(plate) == pytest.approx(extrude.DEPTH * (cells >= 0).sum())
    assert facets.flaws(facets.tuples(strip.codes(plate.corners)))[:2] == ([], [])
    front = plate.corners[(plate.corners[..., 2] == extrude.DEPTH).all(1)]
    area = np.zeros(inks)
    for face, ink in zip(front, plate.colours[(plate.corners[..., 2] == extrude.DEPTH).all(1)], strict=True):
        (ax, ay), (bx, by), (cx, cy) = face[:, :2].tolist()
        area[ink] += ((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    assert area.tolist() == [(cells == ink).sum() for ink in range(inks)]


def test_a_full_square_is_a_box_of_twelve_triangles_and_a_ring_has_its_hole():
    assert len(extrude.solid(np.zeros((8, 8), int)).corners) == 12
    ring = np.zeros((3, 3), int)
    ring[1, 1] = -1
    assert len(extrude.solid(ring).corners) == 32


def sprites(folder: Path, count: int = 6) -> Path:
    rng = np.random.default_rng(1)
    for i in range(count):
        art = np.zeros((8, 8, 4), np.uint8)
        art[1:7, 2:6] = [200, 60, 30, 255]
        art[rng.random((8, 8)) < 0.2] = [20, 60, 230, 255]
        picture.save_png(art, folder / f"gem_{i}.png")
    return folder


def test_pngs_alone_are_written_as_their_rows_from_which_the_triangles_follow(folder):
    made = _fitted(sprites(folder), extrude=True)
    paths = sorted(folder.iterdir())
    assert MESH.restore(made.settings()).settings() == made.settings()
    (document,) = made.read(paths[0])
    assert document.text.startswith("mesh")
    assert made.check(document.text) == []
    figures = made.promise(paths[0]).figures
    assert (figures["pieces"], figures["identical"], figures["watertight"]) == (1, 1.0, 1.0)
    gif, glb, obj, png = made.write(document.text, folder / "out 🎈")
    assert [path.suffix for path in (gif, glb, obj, png)] == [".gif", ".glb", ".obj", ".png"]
    assert len(meshfile.load(glb).faces) == len(meshfile.load(obj).faces) == figures["faces"]
    assert [d.text for d in made.read(png)] == [document.text]
    assert made.title(document.text).endswith(f"{figures['faces']:.0f} triangles")
    assert all(made.distance(document.text, variant) == 0 for variant in made.variants(document.text))
    with pytest.raises(DataError, match="triangles, where this corpus is of pictures"):
        list(made.read(glb))


def test_pngs_beside_meshes_are_read_as_plates_when_asked_for(folder):
    assert MeshOptions().suffixes(MESH.suffixes) == MESH.suffixes
    assert ".png" in MeshOptions(extrude=True).suffixes(MESH.suffixes)
    put(folder, "box.obj", BOX)
    made = _fitted(sprites(folder), extrude=True)
    assert ".png" in made.suffixes
    assert len(made.colours) == 2
    (document,) = made.read(folder / "gem_0.png")
    assert made.check(document.text) == []
    assert made.title(document.text).endswith("2 colours, watertight")
    assert MESH.restore(made.settings()).settings() == made.settings()
    assert made.canonical(document.text) == document.text
    figures = made.promise(folder / "gem_0.png").figures
    assert (figures["pieces"], figures["exact"], figures["watertight"]) == (1, 1.0, 1.0)
    _, glb, _ = made.write(document.text, folder / "out")
    assert text_of(glb, made).split("\n")[1] == document.text.split("\n")[1]


def test_a_png_that_is_none_is_passed_over_by_fit_and_named_by_read(folder):
    put(sprites(folder), "bad.png", b"\x89PNG\r\n\x1a\n" + bytes(20))
    made = _fitted(folder, extrude=True)
    with pytest.raises(DataError, match=r"bad\.png"):
        list(made.read(folder / "bad.png"))


# --- real meshes


def homedecor() -> list[Path]:
    """The Debian package's models, where they are: in $CUPOLA_MESHES, or in the cache of the recipe that was run here."""
    places = [os.environ.get("CUPOLA_MESHES"), Path(__file__).parent.parent / "recipes" / "meshes" / ".cupola" / "cache"]
    return sorted(path for place in places if place for path in Path(place).rglob("*.obj"))


@pytest.mark.slow
def test_the_furniture_of_minetest_comes_back_face_for_face():
    if not (files := homedecor()):
        pytest.skip("no meshes: set CUPOLA_MESHES to a folder with those of minetest-mod-homedecor")
    made = MESH.fit(files, MeshOptions(), everything)
    figures, documents = [], []
    for path in files:
        with contextlib.suppress(DataError):  # 27 of over 400 triangles
            documents += made.read(path)
            figures.append(made.promise(path).figures)
    assert len(documents) == 119
    assert all(f["exact"] == 1.0 and f["vertex_error"] < 0.018 for f in figures)
    assert sum(not made.check(d.text) for d in documents) / len(documents) >= 0.97
    assert {"door", "lamp", "cabinet"} <= {d.label for d in documents}


@pytest.mark.slow
def test_a_thousand_sprites_become_watertight_plates(tmp_path_factory):
    source = Source(
        source="pypi:urizen==0.2.5", include=("urizen/data/tilesets/*/colored.*",), exclude=("**/*fonts*/*",), licence="CC0-1.0"
    )
    try:
        found = fetch(source, Path(), Path(os.environ.get("CUPOLA_CACHE") or tmp_path_factory.mktemp("cache"))).files
    except SourceError as e:
        pytest.skip(f"out of reach: {e.what}")
    files = [path for path in found if path.suffix == ".png"]
    made = MESH.fit(files, MeshOptions(extrude=True), everything)
    documents = [document for path in files for document in made.read(path)]
    assert len(documents) > 900
    assert min(made.promise(path).figures["watertight"] for path in files) == 1.0
    assert sum(not made.check(d.text) for d in documents) / len(documents) >= 0.97
