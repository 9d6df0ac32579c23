import json

import pytest

from cupola.errors import ConfigError, DataError
from cupola.media.base import Pins
from cupola.media.lines import LONGEST_LINE, Lines, LinesOptions
from cupola.media.names import Names, NamesOptions

TALK = "Warden: Who walks the wall at night?\nMira: Only the wind, and I.\nWarden: Then walk on.\n"
PLAY = """SCENE I. A heath.

[Thunder.]

FIRST WITCH.
When shall we three meet again
In thunder, lightning, or in rain?

SECOND WITCH.
When the hurlyburly's done.

SCENE II. A camp.

DUNCAN.
What bloody man is that?

SOLDIER.
Doubtful it stood.
"""


def save(tmp_path, text, name="a.txt"):
    (tmp_path / name).write_text(text, "utf-8")
    return tmp_path / name


def fit(*paths, **options) -> Lines:
    return Lines().fit(list(paths), LinesOptions(**options), lambda group: False)


def texts(medium, path) -> list[str]:
    return [d.text for d in medium.read(path)]


def test_talk_is_a_line_an_utterance_and_comes_back(tmp_path):
    path = save(tmp_path, TALK)
    medium = fit(path)
    assert texts(medium, path) == ["lines\n" + TALK]
    txt, listing = medium.write("lines\n" + TALK, tmp_path / "out 🎈")
    assert texts(medium, txt) == ["lines\n" + TALK]
    assert json.loads(listing.read_text())[1] == {"speaker": "Mira", "text": "Only the wind, and I."}
    assert medium.promise(path).figures == {"pieces": 1, "identical": 1}
    assert medium.title("lines\n" + TALK) == "Warden, Mira"


def test_a_plays_speakers_stand_on_lines_of_their_own_and_scenes_are_pieces(tmp_path):
    path = save(tmp_path, PLAY)
    assert texts(fit(path), path) == [
        "lines\n[Thunder.]\nFirst Witch: When shall we three meet again In thunder, lightning, or in rain?\n"
        "Second Witch: When the hurlyburly's done.\n",
        "lines\nDuncan: What bloody man is that?\nSoldier: Doubtful it stood.\n",
    ]


def test_prose_is_a_paragraph_a_line(tmp_path):
    path = save(tmp_path, "It was a dark\nand stormy night.\n\nThe rain fell\nin torrents.\n")
    assert texts(fit(path), path) == ["lines\nIt was a dark and stormy night.\nThe rain fell in torrents.\n"]


def test_several_files_are_labels_and_long_scenes_are_cut(tmp_path):
    a, b = save(tmp_path, TALK * 4, "harbour.txt"), save(tmp_path, TALK * 4, "castle.txt")
    medium = fit(a, b, lines=4)
    assert medium.labels.known == ("castle", "harbour")
    assert [len(medium.spans(t)) for t in texts(medium, a)] == [4, 4, 4]
    assert {d.group for d in medium.read(a)} == {"harbour.txt"}
    assert medium.head("castle") == "lines castle\n"


def test_a_speech_without_end_is_parted_with_its_speaker(tmp_path):
    path = save(tmp_path, f"Mira: {'and on ' * 300}\nWarden: Stop.\n")
    (text,) = texts(fit(path), path)
    assert max(map(len, text.split("\n"))) <= LONGEST_LINE + 60
    assert "Warden: Stop." in text


def test_records_speak_under_their_name_and_where_picks_them(tmp_path):
    records = {"monsters": [
        {"name": "Ant, Giant", "text": "A very large ant that bites.", "book": {"name": "core"}, "url": "https://x y z .............."},
        {"name": "Bear", "text": ["Brown and cross in the spring.", "It climbs."], "book": {"name": "other"}},
    ]}  # fmt: skip
    path = save(tmp_path, json.dumps(records), "a.json")
    assert texts(fit(path), path) == ["lines\nAnt, Giant: A very large ant that bites.\n", "lines\nBear: Brown and cross in the spring.\n"]
    assert texts(fit(path, where={"book.name": "core"}), path) == ["lines\nAnt, Giant: A very large ant that bites.\n"]
    assert texts(fit(path, fields=("text",)), path)[1] == "lines\nBear: Brown and cross in the spring.\nBear: It climbs.\n"
    lines = save(tmp_path, "\n".join(json.dumps(r) for r in records["monsters"]), "a.jsonl")
    assert len(texts(fit(lines), lines)) == 2


@pytest.mark.parametrize(
    ("name", "data", "options", "what"),
    [
        ("a.json", b"{", {}, "not JSON"),
        ("a.json", b"[1, 2]", {}, "no list of records in it"),
        ("a.json", b'[{"name": "x", "n": 1}]', {}, "no record has a sentence of text; the first has n, name"),
        ("a.json", b'[{"name": "x"}]', {"where": {"book": "core"}}, "no record in it has what `where` asks for"),
        ("a.txt", b"Mira: caf\xe9\n", {}, "not UTF-8"),
        ("a.txt", b"only this\n", {}, "fewer than two lines in it"),
        ("a.txt", b"\x00\x01\x02", {}, "looks binary"),
    ],
)
def test_bad_files_say_what_and_where(tmp_path, name, data, options, what):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as e:
        fit(tmp_path / name, **options)
    assert what in str(e.value)
    assert name in str(e.value)


def test_flaws_are_speakers_without_speech_and_endless_lines():
    assert "nothing said" in Lines().check("lines\nMira: \nWarden: Hm.\n")[0].what
    assert "a line of 700 characters" in Lines().check(f"lines\n{'x' * 700}\n")[0].what
    assert "not a first line" in Lines().check("text\nhello\n")[0].what


def test_a_grammar_counts_lines_only_where_it_is_asked_to():
    assert "line+" in Lines().grammar(Pins())
    assert "line{2,5}" in Lines().grammar(Pins(least=2, most=5))
    assert "line{1,4}" in Lines().grammar(Pins(prompt="lines\nMira: Hm.\n", least=2, most=5))
    with pytest.raises(ConfigError, match="no lines begin with"):
        Lines().grammar(Pins(prompt="tune"))
    assert Lines().filling("lines\na\nb\nc\n", 6, 9).startswith('root ::= line "\\n" line\n')


# --- names ---


ELVES = [f"{a}{b}" for a in ("Ael", "Cor", "Lith", "Mor", "Thal") for b in ("ith", "rin", "dor", "wen", "ior", "as")]


def fit_names(*paths, **options) -> Names:
    return Names().fit(list(paths), NamesOptions(**options), lambda group: False)


def test_names_are_dealt_out_in_dozens_shuffled_the_same_way_every_time(tmp_path):
    path = save(tmp_path, "\n".join(ELVES) + "\n", "elf.txt")
    medium = fit_names(path)
    found = texts(medium, path)
    assert [t.count("\n") for t in found] == [13, 13]
    assert found == texts(Names().restore(medium.settings()), path)
    dealt = [n for t in found for n in t.split("\n")[1:-1]]
    assert dealt != sorted(dealt)
    assert set(dealt) <= set(ELVES)
    assert all(medium.check(t) == [] for t in found)


def test_lists_with_numbers_capitals_and_columns_are_read(tmp_path):
    last = save(tmp_path, "".join(f"{n.upper()}  1.0 1.0 {i}\n" for i, n in enumerate(ELVES)), "dist.all.last")
    table = save(tmp_path, "name,folk\n" + "".join(f"{n},elf\n" for n in ELVES), "x.csv")
    listing = save(tmp_path, json.dumps({"elf": ELVES, "dwarf": ["O'Brien", "anne-marie", "X Æ 12"]}), "x.json")
    assert set(Names()._names(last)) == set(ELVES)
    assert set(Names()._names(table)) == {*ELVES, "Name"}
    assert set(Names()._names(listing)) == {*ELVES, "O'Brien", "Anne-Marie"}


def test_kinds_are_labels_and_a_set_has_no_name_twice(tmp_path):
    paths = [save(tmp_path, "\n".join(ELVES * 1) + "\n", f"dist.{kind}.first") for kind in ("female", "male")]
    medium = fit_names(*paths, together=6)
    assert medium.labels.known == ("female first", "male first")
    found = [t for p in paths for t in texts(medium, p)]
    (path,) = medium.collect(found, tmp_path / "all")
    assert sorted(json.loads(path.read_text())["female first"]) == sorted(ELVES)
    txt, listing = medium.write(found[0], tmp_path / "out")
    assert json.loads(listing.read_text()) == txt.read_text().split()


def test_the_corpus_letters_are_the_grammars(tmp_path):
    path = save(tmp_path, "\n".join(f"Þó{n.lower()}" for n in ELVES) + "\n", "norse.txt")
    medium = fit_names(path)
    assert medium.firsts == "Þ"
    assert "ó" in medium.grammar(Pins())
    assert "name{5}" in medium.grammar(Pins(most=5))
    assert medium.syntax(texts(medium, path)[0].replace("Þ", "Q"))[0].what.startswith("no name: 'Q")


def test_order_counts_for_nothing_and_flaws_are_said(tmp_path):
    text = "names\n" + "\n".join(ELVES[:12]) + "\n"
    assert {Names().distance(text, v) for v in Names().variants(text)} == {0.0}
    assert Names().distance(text, "names\n" + "\n".join(ELVES[6:18]) + "\n") == 0.5
    assert "stands twice" in Names().check("names\nAel\nAel\n")[0].what
    assert "cannot be said" in Names().check("names\nBrrrt\nAel\n")[0].what


@pytest.mark.parametrize(("data", "what"), [(b"1\n2\n", "no names in it"), (b"Ael\nCor\n", "2 names"), (b"\xff\xfe\xff", "")])
def test_what_is_no_list_of_names_is_refused(tmp_path, data, what):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError) as e:
        list(Names().read(tmp_path / "a.txt"))
    assert what in str(e.value)
