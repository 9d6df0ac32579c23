"""Names: lists come in whole and are dealt out in dozens; what a grammar admits are names that are read again."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lines import admits, as_regex, save, texts

from cupola.errors import ConfigError, CupolaError, DataError
from cupola.media.base import Pins
from cupola.media.names import Names, NamesOptions
from cupola.sources import Source, fetch

ELVES = [f"{a}{b}" for a in ("Ael", "Cor", "Lith", "Mor", "Thal") for b in ("ith", "rin", "dor", "wen", "ior", "as")]
PLACES = ["O'Brien", "Anne-Marie", "Minas Tirith", "Baldur's Gate", "Saint-Jean d'Acre", "Port Royal"]


def fit(*paths, **options) -> Names:
    return Names().fit(list(paths), NamesOptions(**options), lambda group: False)


def listed(path) -> list[str]:
    return [name for _, names in Names()._lists(path) for name in names]


@pytest.fixture
def places(tmp_path) -> Names:
    """A medium whose names have hyphens, apostrophes and spaces."""
    return fit(save(tmp_path, "\n".join([*ELVES, *PLACES]) + "\n", "places.txt"))


def test_names_are_dealt_out_in_dozens_shuffled_the_same_way_every_time(tmp_path):
    path = save(tmp_path, "\n".join(ELVES) + "\n", "elf.txt")
    medium = fit(path)
    found = texts(medium, path)
    assert [t.count("\n") for t in found] == [13, 13]
    assert found == texts(Names().restore(medium.settings()), path)
    dealt = [n for t in found for n in t.split("\n")[1:-1]]
    assert dealt != sorted(dealt)
    assert set(dealt) <= set(ELVES)
    assert len(set(dealt)) == 24
    assert all(medium.check(t) == [] for t in found)
    assert len({d.group for d in medium.read(path)}) == 2
    assert medium.promise(path).figures == {"names": 30, "kept": 1, "dealt": 0.8}


def test_what_is_written_is_read_again_in_its_order(tmp_path):
    path = save(tmp_path, "\n".join(ELVES) + "\n", "elf.txt")
    medium = fit(path)
    for written in medium.write(texts(medium, path)[1], tmp_path / "out 🎈"):
        assert texts(medium, written) == [texts(medium, path)[1]]


def test_lists_with_figures_capitals_and_columns_are_read(tmp_path):
    last = save(tmp_path, "".join(f"{n.upper():14} 1.0  1.0 {i}\n" for i, n in enumerate(ELVES)), "dist.all.last")
    table = save(tmp_path, "Name,folk\n" + "".join(f'"{n}",elf\n' for n in [*ELVES, *PLACES]), "x.csv")
    tabs = save(tmp_path, "".join(f"{n}\tfemale\n" for n in PLACES), "tabs.txt")
    listing = save(tmp_path, json.dumps(["anne-marie", "O’Brien", "MINAS TIRITH", "van Aelith", "Zoe\u0308"]), "x.json")
    assert listed(last) == ELVES
    assert listed(table) == [*ELVES, *PLACES]
    assert listed(tabs) == PLACES
    assert listed(listing) == ["Anne-Marie", "O'Brien", "Minas Tirith", "Van Aelith", "Zoë"]


def test_what_is_no_name_is_left_out_and_never_cut_down_to_one(tmp_path):
    names = ["R2D2", "Agent Smith2", "Lord of the Rings", "It was dark.", "X", "A" * 25, "Mor--win", "-Ael", "# elves", "Aelith"]
    for path in (save(tmp_path, "\n".join(names), "a.txt"), save(tmp_path, json.dumps([*names, "X Æ 12"]), "a.json")):
        assert listed(path) == ["Aelith"]
    assert fit(path).promise(path).figures["kept"] == 1 / 11


def test_a_name_counts_once_in_whatever_capitals(tmp_path):
    path = save(tmp_path, "AELITH\naelith\nAelith\nMcAelith\n")
    assert listed(path) == ["Aelith", "McAelith"]


def test_kinds_are_labels_and_a_set_has_no_name_twice(tmp_path):
    paths = [save(tmp_path, "\n".join(ELVES) + "\n", f"dist.{kind}.first") for kind in ("female", "male")]
    medium = fit(*paths, together=6)
    assert medium.labels.known == ("female first", "male first")
    assert medium.head("male first") == "names male first\n"
    found = [t for p in paths for t in texts(medium, p)]
    (path,) = medium.collect(found, tmp_path / "all")
    assert sorted(json.loads(path.read_text())["female first"]) == sorted(ELVES)
    txt, listing = medium.write(found[0], tmp_path / "out")
    assert json.loads(listing.read_text()) == txt.read_text().split()


def test_the_lists_of_one_json_are_kinds_too(tmp_path):
    path = save(tmp_path, json.dumps({"elf": ELVES, "wood elf": ELVES[::-1], "few": ["Aelith"]}), "all.json")
    medium = fit(path, together=6)
    assert medium.labels.known == ("elf", "wood elf")
    assert [t.split("\n")[0] for t in texts(medium, path)] == ["names elf"] * 5 + ["names wood elf"] * 5
    assert len({d.group for d in medium.read(path)}) == 10


def test_the_corpus_letters_are_the_grammars(tmp_path):
    path = save(tmp_path, "\n".join(f"Þó{n.lower()}" for n in ELVES) + "\n", "norse.txt")
    medium = fit(path)
    assert medium.firsts == "Þ"
    assert "ó" in medium.grammar(Pins())
    assert "name{5}" in medium.grammar(Pins(most=5))
    assert "name{5,20}" in medium.grammar(Pins(least=5, most=20))
    assert "name{15}" in medium.grammar(Pins(least=15))
    assert medium.syntax(texts(medium, path)[0].replace("Þ", "Q"))[0].what.startswith("no name: 'Q")


def test_other_scripts_are_names_as_well(tmp_path):
    for names in (["Ольга", "Пётр", "Нгк"], ["明美", "太郎"], ["שרה", "דוד"], ["Ñandú", "Çelik"]):
        path = save(tmp_path, "\n".join([*names, *(name + names[0][1:] for name in names)]))
        medium = fit(path, together=4)
        (text,) = texts(medium, path)[:1]
        assert medium.check(text) == []
        assert admits(medium.grammar(Pins()), "names\n" + "".join(f"{n}\n" for n in text.split("\n")[1:-1]))


def test_order_counts_for_nothing_and_flaws_are_said():
    text = "names\n" + "\n".join(ELVES[:12]) + "\n"
    other = "names\n" + "\n".join(ELVES[6:18]) + "\n"
    assert {Names().distance(text, v) for v in Names().variants(text)} == {0.0}
    assert all(Names().shingles(text) == Names().shingles(v) and v != text for v in Names().variants(text))
    assert Names().distance(text, other) == Names().distance(other, text) == 0.5
    assert "stands twice" in Names().check("names\nAel\nAel\n")[0].what
    assert "cannot be said" in Names().check("names\nBrrt\nAel\n")[0].what
    assert "cannot be said" in Names().check("names\nAaael\nAel\n")[0].what
    assert "25 letters" in Names().check(f"names\n{'Ab' + 'ab' * 11 + 'c'}\n")[0].what
    assert "no names, or no new line" in Names().check("names\nAel")[0].what
    assert "no name: ''" in Names().check("names\nAel\n\nCor\n")[0].what


def test_settings_are_plain_json_and_come_back(places):
    said = json.loads(json.dumps(places.settings()))
    assert Names().restore(said).settings() == places.settings()
    assert Names().restore(said).grammar(Pins()) == places.grammar(Pins())
    for damaged in ({}, {**said, "options": 3}, {**said, "options": {"together": -1}}):
        with pytest.raises(DataError, match="damaged"):
            Names().restore(damaged)


@pytest.mark.parametrize("prompt", ["", "nam", "names\n", "names\nA", "names\nAel\nPort ", "names\nO'", "names\nAel\n"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_the_grammar_admits_is_read_again(prompt, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("w")
    medium = fit(save(folder, "\n".join([*ELVES, *PLACES]) + "\n", "places.txt"))
    text = prompt + data.draw(st.from_regex(as_regex(medium.grammar(Pins(prompt))), fullmatch=True))
    assert medium.syntax(text) == []
    assert text.count("\n") == 13
    if medium.check(text) == []:
        assert [texts(medium, path) for path in medium.write(text, folder / "a")] == [[text], [text]]


def test_the_grammar_takes_real_names_from_every_place_in_them(places):
    text = "names\n" + "".join(f"{name}\n" for name in [*PLACES, *ELVES[:6]])
    for cut in range(len(text) + 1):
        assert admits(places.grammar(Pins(text[:cut])), text[cut:]), text[:cut]
    assert not admits(places.grammar(Pins()), text.replace("Minas ", "Minas  "))
    assert not admits(places.grammar(Pins()), text + "Aelith\n")
    for start, end in places.spans(text):
        assert admits(places.filling(text, start, end), text[start:end])
    two = places.spans(text)[0][0], places.spans(text)[1][1]
    assert admits(places.filling(text, *two), "Aelith\nCorwen")


@pytest.mark.parametrize("prompt", ["name\n", "names elf\n", "names\n123\n", "names\nael", "names\nAel--", "names\nAel\n\n", "names\nQ"])
def test_a_prompt_that_no_list_begins_with_is_refused(places, prompt):
    with pytest.raises(ConfigError, match="no name"):
        places.grammar(Pins(prompt))


def test_more_names_than_are_asked_for_are_refused(places):
    with pytest.raises(ConfigError, match="at most 1 names, and 2 are there"):
        places.grammar(Pins("names\nAel\nCor\n", most=1))
    with pytest.raises(ConfigError, match="--label: no names is labelled 'orc'"):
        places.head("orc")


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.txt", b"1\n2\n", "no names in it"),
        ("a.txt", b"", "no names in it"),
        ("a.txt", b"Ael\nCor\n", "2 names"),
        ("a.txt", b"Ael\nAel\n" * 20, "1 names"),
        ("a.txt", b"\xff\xfe\xff", "which is not UTF-16"),
        ("a.txt", b"Jos\xe9\n", "if that byte should read 'é', the file is Windows-1252"),
        ("a.txt", b"Ael\x00\n", "looks binary"),
        ("a.txt", b"Ael\x07is\n", "no names in it"),
        ("a.txt", b"a" * 5_000_000, "no names in it"),
        ("a.txt", b"a" + b" ," * 2_500_000, "no names in it"),
        ("a.csv", b"a" * 5_000_000, "no CSV: field larger than field limit"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b'"Ael"', "no list of strings"),
        ("a.json", b"{}", "no list of strings"),
        ("a.json", b'["Ael", 3]', "no list of strings"),
        ("a.json", b'[{"name": "Ael"}]', "no list of strings"),
        ("a.json", b"[]", "no names in it"),
    ],
)
def test_what_is_no_list_of_names_is_refused(tmp_path, name, data, what):
    (tmp_path / name).write_bytes(data)
    started = time.process_time()
    with pytest.raises(DataError) as e:
        list(Names().read(tmp_path / name))
    assert what in str(e.value)
    assert name in str(e.value)
    assert time.process_time() - started < 10


def test_a_file_that_cannot_be_read_leaves_the_others(tmp_path):
    good, bad = save(tmp_path, "\n".join(ELVES), "good.txt"), tmp_path / "bad.txt"
    bad.write_bytes(b"Jos\xe9\n")
    assert len(texts(fit(bad, good), good)) == 2
    with pytest.raises(DataError, match="Windows-1252"):
        fit(bad)


# --- the real lists


@pytest.mark.slow
def test_the_census_is_read_whole_and_passes(tmp_path_factory):
    source = Source(source="pypi:names==0.3.0", include=["names/dist.*"], licence="MIT")
    try:
        paths = fetch(source, Path(), Path(os.environ.get("CUPOLA_CACHE") or tmp_path_factory.mktemp("cache"))).files
    except CupolaError as e:
        pytest.skip(f"no lists of names: {e}")
    medium = fit(*paths)
    found = [t for path in paths for t in texts(medium, path)]
    assert len(found) > 2000
    assert medium.labels.known == ("female first", "last", "male first")
    assert all(medium.syntax(t) == [] for t in found)
    assert sum(medium.check(t) == [] for t in found) > 0.99 * len(found)
    assert {medium.promise(path).figures["kept"] for path in paths} == {1}
    assert all(re.fullmatch(as_regex(medium.grammar(Pins())), t) for t in found[::50])
