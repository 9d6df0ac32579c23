"""Levels: a person's own maps come back as they were, every level has a way through, and what a grammar admits can be drawn."""

import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import config
from cupola.errors import ConfigError, CupolaError, DataError, SourceError
from cupola.media import grid, tiles
from cupola.media.base import Pins
from cupola.media.level import Level, LevelOptions
from cupola.sources import Source, fetch

OWN = """\
#########
#@......#
#.##+####
#.#..o..#
#.#..M.>#
#########

  #####
###..<#
#.$...#
#>.~~.#
#######
"""
PLAIN = Level()
ROOM = "level\nwwwwwwww wuffffsw wwwwwwww\n"


def save(tmp_path, text, name="caves.txt"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, "utf-8", newline="\n")
    return path


def fit(*paths, **options) -> Level:
    return PLAIN.fit(list(paths), LevelOptions(**options), lambda group: False)


def texts(medium, path) -> list[str]:
    return [document.text for document in medium.read(path)]


@st.composite
def levels(draw):
    """Any map of the twelve letters with one entrance and one exit, canonical."""
    width, height = draw(st.integers(3, 24)), draw(st.integers(3, 16))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    cells = rng.choice([ord(c) for c in "xwwffffdaltmic"], (height, width)).astype(np.uint8)
    cells[0, 0], cells[-1, -1] = ord("w"), ord("w")  # its corners hold it
    cells[0, 1], cells[-1, -2] = ord("u"), ord("s")
    return "level\n" + grid.body(cells, full=True) + "\n"


# --- files in


def test_a_persons_maps_are_read_with_their_own_characters(tmp_path):
    path = save(tmp_path, OWN)
    medium = fit(path)
    first, second = medium.read(path)
    assert first.text == "level\nwwwwwwwww wuffffffw wfwwdwwww wfwffbffw wfwffmfsw wwwwwwwww\n"  # o has no role
    assert second.text == "level\nxxwwwww wwwffuw wfcfffw wsfaafw wwwwwww\n"
    assert (first.group, first.name, first.path) == ("caves.txt 1", "caves (1)", "caves.txt")
    assert first.group != second.group


def test_what_is_written_is_what_was_read_in_the_persons_characters(tmp_path):
    path = save(tmp_path, OWN.replace("@", "<"))
    medium = fit(path)
    for text, map_ in zip(texts(medium, path), OWN.replace("@", "<").split("\n\n"), strict=True):
        _, written, tmj, _ = medium.write(text, tmp_path / "out")
        assert written.read_text() == map_.rstrip("\n") + "\n"
        assert texts(medium, written) == texts(medium, tmj) == [text]


def test_a_player_is_an_entrance_but_not_beside_stairs(tmp_path):
    path = save(tmp_path, "#######\n#@...>#\n\n#######\n#<.@.>#\n")
    assert texts(fit(path), path) == ["level\nwwwwwww wufbfsw\n"]  # the other map has no way of 4 steps without @
    path = save(tmp_path, "#######\n#@...>#\n\n#######\n#<...>#\n")
    assert texts(fit(path), path) == ["level\nwwwwwww wufffsw\n"] * 2


def test_an_entrance_and_an_exit_are_put_on_the_two_cells_farthest_apart(tmp_path):
    path = save(tmp_path, "######\n#....#\n#.##.#\n#.#..#\n######\n")
    medium = fit(path)
    (text,) = texts(medium, path)
    assert text == "level\nwwwwww wffffw wfwwfw wfwffw wwwwww\n"  # left out of the notation, as no map of the corpus has them
    assert medium.check(text) == []
    assert grid.path(medium._cells(text)) == 8
    _, written, *_ = medium.write(text, tmp_path / "out")
    assert written.read_text().count("<") == written.read_text().count(">") == 1
    assert texts(medium, written) == [text]


def test_where_places_is_off_a_map_stays_as_it_is(tmp_path):
    path = save(tmp_path, "####\n#..#\n####\n")
    assert texts(fit(path, places=False), path) == ["level\nwwww wffw wwww\n"]
    assert Walk(fit(path, places=False).grammar(Pins())).admits("level\nwwww wffw wwww\n")


def test_a_map_with_two_entrances_is_left_out_and_named_with_their_places(tmp_path):
    path = save(tmp_path, OWN + "\n#######\n#<...<#\n#....>#\n#######\n")
    medium = fit(path)
    assert len(texts(medium, path)) == 2
    (fault,) = medium.faults(path)
    assert "caves.txt, map 3 (line 14): 2 of kind entrance: row 2, column 2 and row 2, column 6" in str(fault)
    alone = save(tmp_path, "#<...<#\n", "two.txt")
    with pytest.raises(DataError, match="2 of kind entrance"):
        texts(fit(alone), alone)


def test_a_map_without_a_way_is_left_out_and_named(tmp_path):
    path = save(tmp_path, "#########\n#<..#..>#\n#########\n")
    with pytest.raises(DataError, match="no way of 4 steps or more between an entrance and an exit"):
        texts(fit(path), path)


def test_a_map_larger_than_a_level_is_cut_into_closed_windows_of_one_group(tmp_path):
    rows = ["#" * 60] + ["#" + "." * 58 + "#"] * 38 + ["#" * 60]
    path = save(tmp_path, "\n".join(rows))
    medium = fit(path, size=[20, 10])
    documents = list(medium.read(path))
    assert len(documents) == 12
    assert {d.group for d in documents} == {"caves.txt"}
    for document in documents:
        assert medium.check(document.text) == []
        cells = medium._cells(document.text)
        assert cells.shape == (10, 20)
        assert set(map(int, (*cells[0], *cells[-1], *cells[:, 0], *cells[:, -1]))) == {ord("w")}


def test_uneven_rows_are_filled_up_with_outside_and_outside_around_is_left_out(tmp_path):
    path = save(tmp_path, "\n\n   #######\n   #<...>#\n   ####\n")
    assert texts(fit(path, full=False), path) == ["level\nwwwwwww wufffsw wwww\n"]
    assert texts(fit(path), path) == ["level\nwwwwwww wufffsw wwwwxxx\n"]


def test_a_folder_labels_its_maps(tmp_path):
    paths = [save(tmp_path, "#######\n#<...>#\n#######\n", f"{folder}/{i}.txt") for folder in ("ruins", "caves") for i in range(3)]
    medium = fit(*paths)
    assert [next(medium.read(path)).label for path in paths] == ["ruins"] * 3 + ["caves"] * 3
    assert medium.head("Ruins") == "level ruins\n"
    with pytest.raises(ConfigError, match="there are: caves, ruins"):
        medium.head("sewers")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no map in it"),
        ("###\n#\t#\n", "line 2: a tab in column 2"),
        ("".join(map(chr, range(0x3B1, 0x3B1 + 70))), "70 different characters, more than the 52 letters there are; the rarest: "),
    ],
)
def test_a_folder_of_nothing_but_a_bad_file_says_why(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        fit(save(tmp_path, text))
    assert message in str(caught.value)


def test_a_bad_file_among_good_ones_is_passed_over_by_fit_and_named_by_read(tmp_path):
    good, bad = save(tmp_path, OWN), save(tmp_path, "#\t#\n", "bad.txt")
    medium = fit(bad, good)
    assert len(texts(medium, good)) == 2
    with pytest.raises(DataError, match=r"bad.txt, line 1: a tab in column 2"):
        texts(medium, bad)


def test_a_character_that_the_corpus_did_not_have_is_named(tmp_path):
    medium = fit(save(tmp_path, OWN))
    with pytest.raises(DataError, match=r"new.txt, line 2, column 3: a character that this corpus has no letter for: '€'"):
        texts(medium, save(tmp_path, "#####\n#<€.>#", "new.txt"))


def test_fit_is_the_same_whatever_the_order_and_settings_restore_it(tmp_path):
    a, b = save(tmp_path, OWN), save(tmp_path, OWN.replace("#", "%"), "b.txt")
    medium = fit(a, b, symbols={"%": "wall"}, size=[30, 20], full=True)
    plain = json.loads(json.dumps(medium.settings()))
    assert fit(b, a, symbols={"%": "wall"}, size=[30, 20], full=True).settings() == medium.settings()
    again = Level().restore(plain)
    assert again.settings() == medium.settings()
    assert texts(again, b) == texts(medium, b)
    assert Level().restore(Level().settings()).settings() == Level().settings()


def test_a_size_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="windows of 2 x 16 cells"):
        fit(save(tmp_path, OWN), size=[2, 16])


@pytest.mark.parametrize("key", ["size", "alphabet", "labels", "full"])
def test_settings_that_are_damaged_are_refused(key):
    plain = Level().settings()
    del plain[key]
    with pytest.raises(DataError, match="make the corpus again"):
        Level().restore(plain)


def test_options_are_read_from_toml_and_an_unknown_one_is_named():
    options = config.parse(LevelOptions, {"size": [30, 20], "symbols": {"%": "wall"}}, "cupola.toml")
    assert options.size == (30, 20)
    with pytest.raises(ConfigError, match="did you mean 'symbols'"):
        config.parse(LevelOptions, {"symbol": {}}, "cupola.toml")


# --- Tiled


def tiled_file(tmp_path, name="a.tmj", tileset=None, rows=("1111111", "1222221", "1111111")):
    tileset = {"firstgid": 1, "name": "mine", "image": "mine.png", "tilecount": 9, "tilewidth": 8, "tileheight": 8} | (tileset or {})
    layer = {"type": "tilelayer", "width": len(rows[0]), "height": len(rows), "data": [int(c) for row in rows for c in row]}
    map_ = {"type": "map", "orientation": "orthogonal", "layers": [layer], "tilesets": [tileset]}
    return save(tmp_path, json.dumps(map_), name)


def test_a_tiled_map_is_written_with_its_own_tiles_and_ours_for_what_it_has_not(tmp_path):
    path = tiled_file(tmp_path)
    medium = fit(path, symbols={"1": "wall", "2": "floor"})
    (text,) = texts(medium, path)
    assert text == "level\nwwwwwww wfffffw wwwwwww\n"
    written = medium.write(text, tmp_path / "out")[2]
    map_ = json.loads(written.read_text())
    assert [t["name"] for t in map_["tilesets"]] == ["mine", "levels-tiles"]
    assert map_["layers"][0]["data"][:7] == [1] * 7
    assert map_["tilewidth"] == 8
    assert texts(medium, written) == [text]


def test_tiles_that_nothing_is_known_of_are_read_by_their_form_alone(tmp_path):
    path = tiled_file(tmp_path)
    medium = fit(path)
    (text,) = texts(medium, path)
    assert text == "level\nbbbbbbb beeeeeb bbbbbbb\n"
    assert medium.check(text) == []
    assert medium.title(text) == "level, 7 x 3, its floor unknown"
    written = medium.write(text, tmp_path / "out")[2]
    assert texts(medium, written) == [text]
    assert [t["name"] for t in json.loads(written.read_text())["tilesets"]] == ["mine"]


def test_a_tiled_map_with_other_tiles_is_refused(tmp_path):
    a, b = tiled_file(tmp_path), tiled_file(tmp_path, "b.tmj", {"name": "other"})
    medium = fit(a, b)
    assert len(texts(medium, a)) == 1
    with pytest.raises(DataError, match=r"b.tmj: a Tiled map with other tilesets than this corpus has\n  use the same tilesets"):
        texts(medium, b)


def test_what_we_write_for_tiled_can_be_a_corpus_itself(tmp_path):
    path = save(tmp_path, OWN)
    medium = fit(path)
    written = [medium.write(text, tmp_path / str(i))[2] for i, text in enumerate(texts(medium, path))]
    again = fit(*written)
    assert [again._as_text(again._cells(text)) for file in written for text in texts(again, file)] == [
        medium._as_text(medium._cells(text)) for text in texts(medium, path)
    ]


# --- check


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: not a first line: ''"),
        ("tune\nwww", "not a first line: 'tune' (it is level)"),
        ("level", "line 2, column 1: no rows"),
        ("level\n\n", "no rows"),
        ("level\nwww wQw\n", "line 2, column 6: no letter 'Q'"),
        ("level\nwww  www\n", "line 2, column 4: an empty row"),
        ("level\nwww\nwww\n", "line 2, column 4: a second line of rows"),
        ("level\n" + " ".join(["www"] * 65) + "\n", "65 rows; at most 64 are drawn"),
    ],
)
def test_what_cannot_be_drawn_is_named_with_its_place(text, message, tmp_path):
    assert message in str(PLAIN.syntax(text)[0])
    assert PLAIN.check(text) == PLAIN.syntax(text)
    with pytest.raises(DataError, match="not a level"):
        PLAIN.write(text, tmp_path / "a")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("wwwww wfffw wwwww", "no entrance"),
        ("wwwww wuffw wwwww", "no exit"),
        ("wwwwwww wuuffsw wwwwwww", "2 of kind entrance"),
        ("wwwwwwww wufwffsw wwwwwwww", "no way from the entrance to the exit"),
        ("wwwwwwww wufaffsw wwwwwwww", "no way from the entrance to the exit"),
        ("wwwwwww wuffsfw wwwwwww", "only 3 steps"),
        ("wwwwwwww wuffffsw wwwwwwww mmm", "3 of 3 monsters, items and chests are out of reach"),
        ("w" * 25 + " wuffffsw", "a row of 25 cells, of at most 24"),
    ],
)
def test_a_level_that_cannot_be_played_is_flawed_but_can_be_drawn(body, message):
    text = f"level\n{body}\n"
    assert PLAIN.syntax(text) == []
    assert message in str(PLAIN.check(text)[0])


@given(st.text("levl \nwfus~x", max_size=60))
@settings(deadline=None, max_examples=100)
def test_any_text_is_checked_without_a_crash(text):
    for body in (text, "level\n" + text):
        (
            PLAIN.check(body),
            PLAIN.spans(body),
            PLAIN.title(body),
            list(PLAIN.variants(body)),
            PLAIN.shingles(body),
            PLAIN.distance(body, ROOM),
        )


# --- grammar


class Walk:
    """The rules of a level's grammar: names, literals and classes in alternatives, nothing else."""

    def __init__(self, text):
        self.rules = {}
        for line in filter(None, text.split("\n")):
            name, body = line.split(" ::= ")
            self.rules[name] = [re.findall(r'"(?:\\.|[^"])*"|\[[^\]]+\]|[\w-]+', way) for way in self._ways(body)]

    def _ways(self, body):
        if body.startswith("("):
            heads, _, rest = body[1:].partition(")")
            return [head + rest for head in heads.split(" | ")]
        return body.split(" | ")

    def draw(self, rng, longest=20):
        out, todo, row = "", ["root"], 0
        while todo:
            item = todo.pop(0)
            if item in self.rules:
                ways = self.rules[item]
                ending = [way for way in ways if way[0].startswith('"')]
                todo = (rng.choice(ending) if ending and row > longest * rng.random() else rng.choice(ways)) + todo
            elif item[0] == '"':
                out += json.loads(item)
                row = 0 if out.endswith(" ") else row
            else:
                out, row = out + rng.choice(self.members(item)), row + 1
        return out

    def members(self, item):
        return re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), item[1:-1])

    def admits(self, text):
        """Each rule's ways begin differently, so one way is right."""
        todo = ["root"]
        while todo:
            item = todo.pop(0)
            if item in self.rules:
                ways = [way for way in self.rules[item] if self._begins(way, text)]
                if not ways:
                    return False
                todo = max(ways, key=lambda way: len(way[0])) + todo
            elif item[0] == '"':
                if not text.startswith(json.loads(item)):
                    return False
                text = text[len(json.loads(item)) :]
            elif text[:1] and text[0] in self.members(item):
                text = text[1:]
            else:
                return False
        return not text

    def _begins(self, way, text):
        first = way[0] if way else '""'
        if first in self.rules:
            return True
        return text.startswith(json.loads(first)) if first[0] == '"' else bool(text[:1]) and text[0] in self.members(first)


@pytest.mark.parametrize("prompt", ["", "lev", "level\n", "level\nwwww", "level\nwwww ", "level\nwwww wus ", "level\nwwww wsf", "level\nu"])
def test_all_that_the_grammar_admits_behind_a_prompt_is_a_level(prompt, tmp_path):
    rng = random.Random(1)
    for pins in (Pins(prompt), Pins(prompt, 6, 9), Pins(prompt, 5, 5), Pins(prompt, 20, 30)):
        walk = Walk(PLAIN.grammar(pins))
        for _ in range(8):
            text = prompt + walk.draw(rng)
            assert PLAIN.syntax(text) == [], text
            assert (pins.least or 3) <= len(PLAIN.spans(text)) <= (pins.most or 16)
            assert (text.count("u"), text.count("s")) == (1, 1)
            assert walk.admits(text[len(prompt) :])
    assert PLAIN.write(text, tmp_path / "a")


def test_the_grammar_admits_every_place_in_real_levels(tmp_path):
    path = save(tmp_path, OWN.replace("@", "<"))
    medium = fit(path)
    for text in texts(medium, path):
        for cut in range(len(text)):
            assert Walk(medium.grammar(Pins(text[:cut]))).admits(text[cut:]), text[:cut]
            assert not Walk(medium.grammar(Pins(text[:cut]))).admits(text[cut:-2])
            assert not Walk(medium.grammar(Pins(text[:cut]))).admits(text[cut:-1] + "us\n")


def test_the_grammar_is_small_and_says_the_labels_of_the_corpus(tmp_path):
    paths = [save(tmp_path, "#######\n#<...>#\n#######\n", f"{folder}/{i}.txt") for folder in ("ruins", "caves") for i in range(3)]
    rules = fit(*paths).grammar(Pins())
    assert rules.startswith('root ::= ("level caves\\n" | "level ruins\\n") rows\n')
    assert len(rules) < 8000


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        (Pins(least=9, most=8), "9 to 8 rows"),
        (Pins(most=99), "3 to 99 rows"),
        (Pins("once"), "no level begins with 'once'"),
        (Pins("level cave\n"), "no level begins with 'level cave'"),
        (Pins("level\nwQ"), "no row has Q"),
        (Pins("level\nww  w"), "no row has two spaces"),
        (Pins("level\nuwu"), "more than one u"),
        (Pins("level\nw w w w w", most=4), "the prompt leads to 5 rows, of at most 4"),
        (Pins("level\nw w w w ", most=4), "the prompt ends behind row 4, the last"),
        (Pins(ROOM), "a whole level, which nothing can follow"),
    ],
)
def test_pins_that_cannot_be_kept_are_refused(pins, message):
    with pytest.raises(ConfigError) as caught:
        PLAIN.grammar(pins)
    assert message in str(caught.value)


def test_rows_made_anew_are_as_many_and_hold_the_entrance_and_exit_that_the_others_have_not():
    rng = random.Random(2)
    text = "level\nwwwwwwww wuffffww wfffffsw wffwwffw wwwwwwww\n"
    spans = PLAIN.spans(text)
    for first, last, ends in ((1, 1, "u"), (2, 3, "s"), (1, 2, "us"), (3, 4, ""), (0, 4, "us")):
        start, end = spans[first][0], spans[last][1]
        walk = Walk(PLAIN.filling(text, start, end))
        for _ in range(10):
            new = walk.draw(rng)
            assert {c for c in "us" if c in new} == set(ends)
            changed = text[:start] + new + text[end:]
            assert PLAIN.syntax(changed) == []
            assert len(PLAIN.spans(changed)) == len(spans)
        assert walk.admits(text[start:end])


def test_a_region_is_the_cells_of_its_rows_and_columns():
    text = "level\nwwww wufsw x wwwww\n"
    full, spans = PLAIN.region(text, (2, 3), (2, 4))
    assert full == "level\nwwwwx wufsw xxxxx wwwww\n"
    assert [full[a:b] for a, b in spans] == ["ufs", "xxx"]
    assert (PLAIN._cells(full) == PLAIN._cells(text)).all()
    with pytest.raises(DataError, match="this level has 4 rows and 5 columns"):
        PLAIN.region(text, (2, 5), (1, 1))


# --- the same level otherwise, and how far levels are apart


@given(levels())
@settings(deadline=None, max_examples=40)
def test_every_level_survives_being_written_and_read(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("a")
    medium = Level()
    medium.places = False  # whether it can be played is another question
    assert medium._survives(text, folder)


@given(levels(), levels())
@settings(deadline=None, max_examples=25)
def test_variants_are_the_same_level_and_distance_is_symmetric(a, b):
    shingles = PLAIN.shingles(a)
    variants = list(PLAIN.variants(a))
    assert len({a, *variants}) == len(variants) + 1
    for variant in variants:
        assert PLAIN.syntax(variant) == []
        assert PLAIN.distance(a, variant) == 0.0
        assert PLAIN.shingles(variant) == shingles
        assert PLAIN.distance(variant, b) == pytest.approx(PLAIN.distance(a, b))
    assert 0 <= PLAIN.distance(a, b) == PLAIN.distance(b, a) <= 1
    assert len(shingles) > 0


def test_a_room_has_four_variants_and_one_off_is_near():
    text = "level\nwwwwwwww wuffffsw wfffwwww wwwww\n"
    assert len(list(PLAIN.variants(text))) == 7
    assert len(list(PLAIN.variants(ROOM))) == 1  # mirrored is changed
    moved = "level\nxwwwwwwww xwuffffsw xwfffwwww xwwwww\n"
    assert PLAIN.distance(text, moved) == 0.0
    assert PLAIN.distance(text, text.replace("fwwww", "mwwww")) == pytest.approx(1 / 29)
    assert PLAIN.distance(text, "level\naaaaa aaaaa\n") == 1.0


def test_an_empty_map_and_one_of_walls_have_a_shingle_too():
    for body in ("x", "w", "www www", "x x x"):
        assert PLAIN.shingles(f"level\n{body}\n")


def test_spans_are_the_rows():
    assert [ROOM[a:b] for a, b in PLAIN.spans(ROOM)] == ["wwwwwwww", "wuffffsw", "wwwwwwww"]
    assert PLAIN.spans("level") == []


def test_titles_say_what_the_level_is():
    assert PLAIN.title("level\nwwwwwwww wumiifsw wwwwwwww\n") == "level, 8 x 3, path 5, 1 monster, 2 items"
    assert PLAIN.title("?") == "no level"


# --- files out


def test_write_gives_a_picture_text_and_tiled_and_one_sheet_of_tiles(tmp_path):
    from PIL import Image

    paths = PLAIN.write(ROOM, tmp_path / "my level ★")
    assert [p.name for p in paths] == ["my level ★.png", "my level ★.txt", "my level ★.tmj", "levels-tiles.png"]
    assert paths[1].read_text() == "########\n#<....>#\n########\n"
    with Image.open(paths[0]) as shown, Image.open(paths[3]) as sheet:
        assert shown.size == (128, 48)
        assert sheet.size == (208, 64)
    before = paths[3].stat().st_mtime_ns
    PLAIN.write(ROOM, tmp_path / "b")
    assert paths[3].stat().st_mtime_ns == before


def test_in_tiled_every_cell_is_the_tile_that_the_picture_shows(tmp_path):
    text = "level\nwfdalt wmicus\n"
    map_ = json.loads(PLAIN.write(text, tmp_path / "a")[2].read_text())
    picture, sheet = tiles.picture(PLAIN._cells(text)), tiles.sheet()
    for at, gid in enumerate(map_["layers"][0]["data"]):
        y, x = divmod(at, 6)
        row, column = divmod(gid - 1, map_["tilesets"][0]["columns"])
        there = picture[y * 16 : y * 16 + 16, x * 16 : x * 16 + 16]
        assert (there == sheet[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]).all()


def test_a_set_is_one_text_file(tmp_path):
    (path,) = PLAIN.collect([ROOM, ROOM.replace("ff", "fm", 1)], tmp_path / "all")
    assert texts(PLAIN, path) == [ROOM, ROOM.replace("ff", "fm", 1)]


def test_a_folder_that_is_not_there_is_an_error_not_a_crash(tmp_path):
    with pytest.raises(CupolaError):
        PLAIN.write(ROOM, tmp_path / "no" / "a")


# --- real maps


@pytest.fixture(scope="module")
def freedoom(tmp_path_factory) -> list[Path]:
    """Its WADs, out of the package that has them."""
    source = Source(source="pypi:vizdoom==1.3.2", include=("vizdoom/freedoom*.wad",), licence="BSD-3-Clause")
    try:
        return fetch(source, Path(), Path(os.environ.get("CUPOLA_CACHE") or tmp_path_factory.mktemp("cache"))).files
    except SourceError as e:
        pytest.skip(f"out of reach: {e.what}")


@pytest.mark.slow
def test_all_of_freedoms_maps_are_levels_with_a_way_and_read_back_the_same(freedoom):
    medium = fit(*freedoom)
    documents = [document for path in freedoom for document in medium.read(path)]
    assert len(documents) > 2000
    assert len({document.group for document in documents}) == 68
    assert {document.label for document in documents} >= {"cave", "stone", "tech", "wild", "wood"}
    assert sum(not medium.check(document.text) for document in documents) == len(documents)
    figures = medium.promise(freedoom[0]).figures
    assert (figures["identical"], figures["solvable"]) == (1.0, 1.0)
    assert 20 <= figures["path"] <= 40
