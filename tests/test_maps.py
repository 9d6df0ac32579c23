"""Text maps, Tiled files and vaults as grids: what is read, what each character means, and what is refused."""

import collections
import json

import numpy as np
import pytest

from cupola.errors import ConfigError, DataError
from cupola.media import crawl, grid, maps
from cupola.media.alphabet import MOST, Alphabet


def save(tmp_path, text, name="cave.txt"):
    path = tmp_path / name
    path.write_text(text, "utf-8", newline="\n")
    return path


def tiled(cells=((1, 1), (2, 0)), **changes) -> dict:
    layer = {"type": "tilelayer", "width": len(cells[0]), "height": len(cells), "data": [gid for row in cells for gid in row]}
    tileset = {"firstgid": 1, "name": "dungeon", "image": "dungeon.png", "tilecount": 4, "tilewidth": 16, "tileheight": 16}
    tileset["tiles"] = [{"id": 0, "type": "Wall"}, {"id": 1, "properties": [{"name": "role", "type": "string", "value": "floor"}]}]
    return {"type": "map", "orientation": "orthogonal", "infinite": False, "layers": [layer], "tilesets": [tileset]} | changes


# --- text


def test_a_file_holds_many_maps_parted_by_empty_lines_and_signs(tmp_path):
    text = "###\n#.#\n\n\n####\n#..#\n=====\n;level 3\n#.\n##"
    found = maps.text_maps(save(tmp_path, text))
    assert [(m.line, m.rows) for m in found] == [(1, ["###", "#.#"]), (5, ["####", "#..#"]), (9, ["#.", "##"])]


def test_a_row_of_spaces_and_a_row_of_water_part_no_map(tmp_path):
    found = maps.text_maps(save(tmp_path, "####\n    \n~~~~\n====\n####"))
    assert [len(m.rows) for m in found] == [5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("###\n#.\t#\n", "line 2: a tab in column 3\n  a tab is as wide as each program likes: replace it by spaces"),
        ("###\n" + "#" * 100_000, "line 2: a row of 100,000 cells; at most 4,096 are read"),
        ("", "no map in it"),
        ("\n  \n\n", "no map in it"),
        ("#\n" * 5000, "a map of more than 4,096 rows"),
        ("##\x1b[0m#\n", "character U+001B in column 3"),
        ("These are the levels of my game, drawn by hand.\nPlease ask before you use them.\n", "reads like prose"),
    ],
)
def test_a_text_that_is_no_map_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        maps.text_maps(save(tmp_path, text))
    assert message in str(caught.value)
    assert "cave.txt" in str(caught.value)


# --- what characters mean


def fit(text, symbols=None, **more) -> Alphabet:
    return Alphabet.fit(collections.Counter(text.replace("\n", "")), {}, {}, symbols or {}, **more)


def test_the_usual_characters_have_their_roles():
    alphabet = fit("#####\n#@.+T~^#\n#M1!$<>#", stairs_and_player=True)
    assert {c: alphabet.roles[letter] for letter, c in alphabet.characters.items() if c in "#.+T~^M1!$<>@"} == {
        "#": "w", ".": "f", "+": "d", "T": "t", "~": "a", "^": "l", "M": "m", "1": "m", "!": "i", "$": "c", "<": "u", ">": "s", "@": "",
    }  # fmt: skip


def test_each_character_has_a_letter_of_its_own_and_the_commonest_of_a_role_has_the_roles():
    alphabet = fit("####%%.", {"%": "wall"})
    letters = alphabet.letter_of()
    assert letters["#"] == "w"
    assert letters["%"] == "b"
    assert alphabet.roles["b"] == "w"
    assert len(set(alphabet.characters.values())) == len(alphabet.letters)


def test_what_the_person_says_goes_before_custom():
    alphabet = fit("#.S", {"#": "water", "S": "exit"})
    assert alphabet.roles[alphabet.letter_of()["#"]] == "a"
    assert alphabet.roles[alphabet.letter_of()["S"]] == "s"


def test_capital_letters_are_monsters_only_where_signs_are_walls():
    assert fit("#.O").roles[fit("#.O").letter_of()["O"]] == "m"
    assert fit("WWFF").known is False
    assert fit("WWFF", {"W": "wall", "F": "floor"}).known


def test_a_space_is_floor_where_there_is_no_other_and_walls_enclose_it():
    alphabet = fit("#### \n#@ #")
    assert alphabet.enclosed
    rows = [["x" if c == " " else "w" for c in row] for row in ("    #", " ### ", " # # ", " ### ")]
    cells = grid.filled(np.array([[ord(c) for c in row] for row in rows], np.uint8))
    assert [bytes(row).decode() for row in cells] == ["xxxxw", "xwwwx", "xwfwx", "xwwwx"]


def test_more_characters_than_letters_are_named():
    with pytest.raises(DataError) as caught:
        fit("".join(map(chr, range(0x3B1, 0x3B1 + 70))))
    assert "letters for 41; without one: " in str(caught.value)
    assert "replace the rare ones" in str(caught.value)
    assert MOST == 52


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (
            {"%": "walll"},
            "symbols.%: no role 'walll'\n  one of outside, wall, floor, door, water, lava, tree, monster, item, chest, entrance, exit",
        ),
        ({"ab": "wall"}, "'ab' is neither a character nor the number of a tile"),
    ],
)
def test_symbols_that_say_nothing_are_refused(symbols, message):
    with pytest.raises(ConfigError) as caught:
        fit("#", symbols)
    assert message in str(caught.value)


# --- Tiled


@pytest.mark.parametrize("suffix", [".json", ".tmj"])
def test_a_tiled_map_gives_its_tiles_and_what_they_say(tmp_path, suffix):
    found = maps.tiled_map(save(tmp_path, json.dumps(tiled()), f"a{suffix}"))
    assert found.gids.tolist() == [[1, 1], [2, 0]]
    assert found.classes == {1: "Wall", 2: "floor"}
    alphabet = Alphabet.fit({}, {1: 2, 2: 1, 0: 1}, found.classes, {})
    assert alphabet.gids == {"w": 1, "f": 2, "x": 0}


TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!-- mine -->
<map version="1.10" orientation="orthogonal" width="2" height="2" infinite="0">
 <tileset firstgid="1" name="dungeon" tilewidth="16" tileheight="16" tilecount="4" columns="2">
  <image source="dungeon.png" width="32" height="32"/>
  <tile id="0" type="wall"/><tile id="1"><properties><property name="role" value="floor"/></properties></tile>
 </tileset>
 <layer id="1" name="map" width="2" height="2"><data encoding="csv">
1,1,
2,0
</data></layer></map>"""


def test_a_tmx_gives_the_same_as_its_json(tmp_path):
    found = maps.tiled_map(save(tmp_path, TMX, "a.tmx"))
    assert found.gids.tolist() == [[1, 1], [2, 0]]
    assert found.classes == {1: "wall", 2: "floor"}
    assert found.tilesets[0]["image"] == "dungeon.png"


def test_a_tileset_in_a_file_of_its_own_is_looked_up_beside_the_map(tmp_path):
    save(tmp_path, '<tileset name="d"><tile id="0" class="lava"/></tileset>', "d.tsx")
    found = maps.tiled_map(save(tmp_path, json.dumps(tiled(tilesets=[{"firstgid": 1, "source": "../x/d.tsx"}])), "a.tmj"))
    assert found.classes == {1: "lava"}
    assert found.tilesets == ({"firstgid": 1, "source": "../x/d.tsx"},)


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        ({"name": "hero"}, "JSON, but no Tiled map: it has no layers"),
        ([1, 2], "JSON, but no Tiled map"),
        ("{broken", "a.json, line 1, column 2: not JSON"),
        ("[" * 200_000, "no"),
        (tiled(infinite=True), "an infinite Tiled map\n  Map > Map Properties: untick Infinite"),
        (tiled(orientation="isometric"), "a Tiled map that is 'isometric'"),
        (tiled(layers=[{"type": "objectgroup"}]), "a Tiled map without a layer of tiles"),
        (tiled(layers=[{"type": "tilelayer", "width": 2, "height": 2, "data": "AAAA", "encoding": "base64"}]), 'Tile Layer Format: "CSV"'),
        (tiled(layers=[{"type": "tilelayer", "width": 2, "height": 2, "chunks": []}]), "in chunks, which infinite maps have"),
        (tiled(layers=[{"type": "tilelayer", "width": 9, "height": 2, "data": [1, 2]}]), "a Tiled layer of 9 x 2 with 2 cells"),
        (tiled(layers=[{"type": "tilelayer", "width": 1 << 40, "height": 2, "data": []}]), "1 to 4,096 either way are read"),
        (tiled(layers=[{"type": "tilelayer", "width": 1, "height": 1, "data": ["a"]}]), "cells that are no tile numbers"),
        (tiled(layers=[7]), "whose layers are no list of layers"),
        (tiled(tilesets=[{"name": "a"}]), "whose tilesets have no firstgid"),
    ],
)
def test_json_that_is_no_such_map_is_refused_with_what_to_do(tmp_path, map_, message):
    with pytest.raises(DataError) as caught:
        maps.tiled_map(save(tmp_path, map_ if isinstance(map_, str) else json.dumps(map_), "a.json"))
    assert message in str(caught.value)
    assert "a.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>" + TMX, "declares things of its own"),
        ("<map>", "not XML"),
        ("<tileset/>", "XML, but no Tiled map: it begins with <tileset>"),
        (TMX.replace('encoding="csv"', 'encoding="base64" compression="zlib"'), 'Tile Layer Format: "CSV"'),
        (TMX.replace('infinite="0"', 'infinite="1"'), "an infinite Tiled map"),
        (TMX.replace("2,0", "2,x"), "cells that are no tile numbers"),
    ],
)
def test_a_tmx_that_is_no_such_map_is_refused_with_what_to_do(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        maps.tiled_map(save(tmp_path, text, "a.tmx"))
    assert message in str(caught.value)


def test_a_map_written_for_tiled_reads_back(tmp_path):
    gids = np.array([[1, 2, 3], [0, 5, 0xA0000001]])
    text = maps.tiled_json(gids, [{"firstgid": 1, "source": "mine.tsx"}])
    found = maps.tiled_map(save(tmp_path, text, "a.tmj"))
    assert found.gids.tolist() == gids.tolist()
    assert json.loads(text)["tilesets"] == [{"firstgid": 1, "source": "mine.tsx"}]


# --- vaults


def vault(tmp_path, rules, *rows) -> list[str]:
    text = "NAME: mine\n" + rules + "\nMAP\n" + "\n".join(rows) + "\nENDMAP\n"
    ((_, _, cells),) = crawl.vaults(save(tmp_path, text, "a.des"))
    return [bytes(row).decode() for row in cells]


@pytest.mark.parametrize(
    ("rules", "rows", "out"),
    [
        ("", ["xcv.+", "w l1"], ["wwwfd", "axlmx"]),
        ("SUBST: ? = .:5 T x:20", ["?"], ["w"]),
        ("SUBST: A : x.., B = w", ["AB"], ["fa"]),
        ("NSUBST: A = 2:x / *:.", ["AAA"], ["fff"]),
        ("SUBST: A = B\nSUBST: B = w", ["A"], ["a"]),
        ("KFEAT: Z = w:3 granite_statue / floor\nKMONS: Y = rat / bat\nKITEM: W = any", ["ZYW"], ["wmi"]),
        ("KMONS: 1 = rat\nKFEAT: 1 = floor", ["1"], ["m"]),
        ("KFEAT: Z = \\\nclosed_door", ["Z"], ["d"]),
    ],
)
def test_a_vault_is_read_with_what_its_lines_say_before_it(tmp_path, rules, rows, out):
    assert vault(tmp_path, rules, *rows) == out


def test_what_a_vault_says_ends_with_it(tmp_path):
    text = "NAME: a\nSUBST: . = x\nMAP\n.\nENDMAP\nNAME: b\n  MAP\n.\n  ENDMAP\n"
    assert [(name, bytes(cells)) for name, _, cells in crawl.vaults(save(tmp_path, text, "a.des"))] == [("a", b"w"), ("b", b"f")]
