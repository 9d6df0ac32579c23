"""WAD files: what is in them is found, and what they say wrongly is named."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import DataError
from cupola.media import doom, grid
from cupola.media.wad import RECORDS, Wad

POSTS = bytes([1, 2, 0, 7, 8, 0, 255])  # two pixels, from the second row on


def wad(lumps, kind=b"PWAD") -> bytes:
    body, directory = b"", b""
    for name, data in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(data), name.encode())
        body += data
    return kind + struct.pack("<ii", len(lumps), 12 + len(body)) + body + directory


def save(tmp_path, data):
    path = tmp_path / "game.wad"
    path.write_bytes(data)
    return path


def picture(columns=(POSTS, POSTS), height=4, left=3, top=-5) -> bytes:
    starts, at = [], 8 + 4 * len(columns)
    for column in columns:
        starts.append(at)
        at += len(column)
    return struct.pack(f"<HHhh{len(columns)}I", len(columns), height, left, top, *starts) + b"".join(columns)


def sound(samples, rate=11025, count=None, kind=3) -> bytes:
    data = bytes([128] * 16) + bytes(samples) + bytes([128] * 16)
    return struct.pack("<HHI", kind, rate, len(data) if count is None else count) + data


def records(name, *rows) -> bytes:
    return np.array([tuple(row) for row in rows], RECORDS[name]).tobytes()


def room(width=640, height=512, special=0, things=()) -> list[tuple[str, bytes]]:
    """A map of one rectangular room: one subsector, no node."""
    corners = [(0, 0), (0, height), (width, height), (width, 0)]
    return [
        ("MAP01", b""),
        ("THINGS", records("THINGS", *things) if things else b""),
        ("LINEDEFS", records("LINEDEFS", *[(i, (i + 1) % 4, 1, special, 0, i, 0xFFFF) for i in range(4)])),
        ("SIDEDEFS", records("SIDEDEFS", *[(0, 0, b"-", b"-", b"STONE", 0)] * 4)),
        ("VERTEXES", records("VERTEXES", *corners)),
        ("SEGS", records("SEGS", *[(i, (i + 1) % 4, 0, i, 0, 0) for i in range(4)])),
        ("SSECTORS", records("SSECTORS", (4, 0))),
        ("NODES", b""),
        ("SECTORS", records("SECTORS", (0, 128, b"RROCK01", b"CEIL1_1", 160, 0, 0))),
    ]


PLAYPAL = ("PLAYPAL", bytes(range(256)) * 3)


def test_lumps_are_found_by_name_and_the_last_of_a_name_counts(tmp_path):
    found = Wad(save(tmp_path, wad([("A", b"one"), ("MARK", b""), ("A", b"two")])))
    assert [lump.name for lump in found.lumps] == ["A", "MARK", "A"]
    assert found.bytes_of(found.find("A")) == b"two"
    assert found.find("B") is None


def test_floors_patches_and_sprites_come_in_the_colours_of_the_palette(tmp_path):
    lumps = [PLAYPAL, ("F_START", b""), ("GRASS", bytes([9] * 4096)), ("F_END", b"")]
    lumps += [("P_START", b""), ("BRICK", picture()), ("P_END", b""), ("S_START", b""), ("TROOA1", picture()), ("S_END", b"")]
    found = Wad(save(tmp_path, wad(lumps)))
    ((name, floor),) = found.flats()
    assert (name, floor.shape, floor[0, 0].tolist()) == ("GRASS", (64, 64, 4), [27, 28, 29, 255])
    ((name, pixels, offsets),) = found.sprites()
    assert (name, pixels.shape, offsets) == ("TROOA1", (4, 2, 4), (3, -5))
    assert pixels[:, 0].tolist() == [[0, 0, 0, 0], [21, 22, 23, 255], [24, 25, 26, 255], [0, 0, 0, 0]]
    assert [name for name, _ in found.patches()] == ["BRICK"]
    assert found.faults == []


def test_sounds_lose_their_padding_and_lie_between_minus_one_and_one(tmp_path):
    ((name, rate, samples),) = Wad(save(tmp_path, wad([("DSPISTOL", sound([0, 128, 255]))]))).sounds()
    assert (name, rate, samples.dtype) == ("DSPISTOL", 11025, np.float32)
    assert samples.tolist() == [-1.0, 0.0, 127 / 128]


@pytest.mark.parametrize(
    ("lump", "message"),
    [
        (("DSA", sound([1], count=900)), "DSA at byte 12: a sound of 900 samples in 41 bytes"),
        (("DSA", sound([1], kind=0)), "no sound that is read: format 0"),
        (("DSA", sound([1], rate=0)), "0 samples a second"),
        (("DSA", b"\3"), "no sound that is read"),
    ],
)
def test_a_damaged_sound_is_passed_over_and_named(tmp_path, lump, message):
    found = Wad(save(tmp_path, wad([lump, ("DSB", sound([1, 2]))])))
    assert [name for name, *_ in found.sounds()] == ["DSB"]
    assert message in str(found.faults[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (picture([POSTS[:4]]), "columns run past its end"),
        (struct.pack("<HHhhI", 1, 4, 0, 0, 1 << 31), "columns run past its end"),
        (picture([b"\0\0\0\0" * 400 + b"\xff"]), "columns run past its end"),
        (struct.pack("<HHhh", 4096, 4096, 0, 0) + bytes(4 * 4096), "no picture of 4096 x 4096"),
        (struct.pack("<HHhh", 60000, 3, 0, 0), "no picture of 60000 x 3 fits in its 8 bytes"),
        (b"\x89PNG", "under 8 bytes"),
    ],
)
def test_a_damaged_picture_is_passed_over_and_named_with_its_byte(tmp_path, data, message):
    found = Wad(save(tmp_path, wad([PLAYPAL, ("S_START", b""), ("BADA0", data), ("GOODA0", picture()), ("S_END", b"")])))
    assert [name for name, *_ in found.sprites()] == ["GOODA0"]
    assert message in str(found.faults[0])
    assert "game.wad, BADA0 at byte" in str(found.faults[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a WAD"),
        (b"PK\3\4" + bytes(40), "not a WAD: it does not begin with IWAD or PWAD"),
        (wad([("A", b"abc")])[:-3], "its directory of 1 lumps lies from byte 15 to 31, but it has 28 bytes"),
        (b"PWAD" + struct.pack("<ii", 1 << 30, 12), "says that it has 1,073,741,824 lumps"),
        (b"PWAD" + struct.pack("<ii", -4, 12), "says that it has -4 lumps"),
        (
            b"IWAD" + struct.pack("<iiii8s", 1, 12, 999, 10, b"THING"),
            "THING at byte 12: lies from byte 999 to 1,009, but the file has 28 bytes",
        ),
        (b"IWAD" + struct.pack("<iiii8s", 1, 12, 12, -1, b"THING"), "THING at byte 12: lies from byte 12 to 11"),
    ],
)
def test_a_wad_that_is_cut_off_or_lies_is_refused_by_lump_and_byte(tmp_path, data, message):
    with pytest.raises(DataError) as caught:
        Wad(save(tmp_path, data))
    assert message in str(caught.value)
    assert "game.wad" in str(caught.value)


def test_colours_without_a_palette_are_refused(tmp_path):
    with pytest.raises(DataError, match="no palette"):
        list(Wad(save(tmp_path, wad([("F_START", b""), ("F_END", b"")]))).flats())


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=60)
def test_any_bytes_behind_a_header_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("w") / "a.wad"
    path.write_bytes(b"PWAD" + data)
    try:
        found = Wad(path)
        list(found.maps()), list(found.sounds())
    except DataError:
        pass


# --- maps


def test_a_room_becomes_floor_inside_and_outside_around(tmp_path):
    things = [(96, 96, 0, 3001, 7), (608, 480, 0, 2011, 7), (300, 300, 0, 5, 7), (200, 200, 0, 3001, 16)]
    (raster,) = doom.rasters(Wad(save(tmp_path, wad(room(things=things)))))
    rows = [bytes(row).decode() for row in raster.grid]
    assert raster.name == "MAP01"
    assert rows[1] == "fffffffffix"  # north is up: the item lies in the corner of greatest x and y
    assert rows[7] == "fmffffffffx"  # the imp; what is only there in a game of several is not
    assert rows[4] == "ffffcfffffx"
    assert set("".join(rows)) == set("fmicx")
    assert raster.theme(slice(None), slice(None)) == "cave"


def test_a_room_too_low_is_wall_and_a_liquid_is_known_by_its_floor(tmp_path):
    for sector, letter in (((0, 40, b"FLOOR0_1"), "w"), ((0, 128, b"NUKAGE1"), "a"), ((0, 128, b"LAVA1"), "l")):
        lumps = dict(room()) | {"SECTORS": records("SECTORS", (*sector, b"-", 0, 0, 0))}
        (raster,) = doom.rasters(Wad(save(tmp_path, wad(list(lumps.items())))))
        assert chr(raster.grid[3, 3]) == letter


def test_an_int16_map_at_the_edge_of_the_world_does_not_overflow(tmp_path):
    """Node fields multiply to more than 16 bits: in a first version that put water everywhere."""
    lumps = dict(room(20_000, 20_000))
    lumps["NODES"] = records("NODES", (0, 10_000, 20_000, 0, [0] * 8, 0x8000, 0x8001))  # west to east: south is to its right
    lumps["SSECTORS"] = records("SSECTORS", (2, 0), (2, 1))
    lumps["SECTORS"] = records("SECTORS", (0, 128, b"RROCK01", b"-", 0, 0, 0), (0, 128, b"FWATER1", b"-", 0, 0, 0))
    lumps["SIDEDEFS"] = records("SIDEDEFS", *[(0, 0, b"-", b"-", b"-", i) for i in (0, 1, 0, 0)])
    (raster,) = doom.rasters(Wad(save(tmp_path, wad(list(lumps.items())))))
    half = raster.grid.shape[0] // 2
    assert set(raster.grid[1 : half - 1, :300].ravel().tolist()) == {grid.A}
    assert set(raster.grid[half + 1 :, :300].ravel().tolist()) == {grid.F}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LINEDEFS": records("LINEDEFS", (0, 99, 1, 0, 0, 0, 0xFFFF))}, "LINEDEFS entry 0 points to entry 99 of VERTEXES, which has 4"),
        ({"SIDEDEFS": records("SIDEDEFS", *[(0, 0, b"-", b"-", b"-", 7)] * 4)}, "SIDEDEFS entry 0 points to entry 7 of SECTORS"),
        ({"SSECTORS": records("SSECTORS", (4, 800))}, "SSECTORS entry 0 points to entry 800 of SEGS"),
        ({"NODES": records("NODES", (0, 0, 1, 1, [0] * 8, 0, 0))}, "its NODES lead in a circle"),
        ({"NODES": records("NODES", (0, 0, 1, 1, [0] * 8, 0x8005, 0x8000))}, "NODES entry 0 points to entry 5 of SSECTORS, which has 1"),
        ({"SSECTORS": b""}, "an empty SSECTORS"),
        ({"VERTEXES": bytes(7)}, "VERTEXES at byte"),
        ({"NODES": b"XNOD" + bytes(24)}, "nodes in an extended format"),
        ({"BEHAVIOR": b"ACS"}, "a map in Hexen's format"),
        ({"VERTEXES": records("VERTEXES", *[(x, y) for x in (-32000, 32000) for y in (-32000, 32000)])}, "1,001 x 1,001 cells"),
    ],
)  # fmt: skip
def test_a_damaged_map_is_passed_over_and_named(tmp_path, change, message):
    lumps = list((dict(room()) | change).items())
    if "BEHAVIOR" not in change:
        lumps += [("MAP02", b""), *room()[1:]]
    found = Wad(save(tmp_path, wad(lumps)))
    names = [raster.name for raster in doom.rasters(found)]
    assert names == ([] if "BEHAVIOR" in change else ["MAP02"])
    assert message in str(found.faults[0])
