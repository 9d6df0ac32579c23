"""The medium: files of tunes in, notation out and back, and everything that sampling, choosing and learning ask of it."""

from __future__ import annotations

import random
import re
import sys
import wave

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_score import real_tunes, scores, tune_files

from cupola.errors import ConfigError, DataError, MachineError
from cupola.media import Pins, letters, spell, synth, tunegrammar
from cupola.media.tune import Tune, UnevenBar, _group, _name

TUNES = {notation: Tune(notation) for notation in ("letters", "abc")}
BOOK = """% A little book
X:1
T:Door on the Hill, The
C:Nobody Real
Z:typed by someone@example.org
R:Jig
M:6/8
L:1/8
K:G
D|"G"G2B BAB|(dB)G GAB|c2e edc|BAG AFD|
G2B BAB|~d3 dge|dcB AGF|1 G3 G2:|2 G3 G2d||
|:g2e efg|fed d2B|c2e edc|BAG AFD|
G2B BAB|{f}gfe dge|dcB AGF|G3 G2:|

X:2
T:THE DOOR ON THE HILL -- JIG
N:another setting
M:6/8
L:1/8
K:A
E|A2c cBc|ecA ABc|d2f fed|cBA BGE|A2c cBc|eee eaf|edc BAG|A3 A2:|
|:a2f fga|gfe e2c|d2f fed|cBA BGE|A2c cBc|agf eaf|edc BAG|A3 A2:|

X:3
T:Broken
M:6/8
L:1/8
K:D
A6|& what|]

X:4
T:Two Wet Boots
R:reel
M:2/4
L:1/16
K:Edor
EFGA BedB|AFDF AdFA|EFGA Beef|dBAF E4:|
e2ef gfed|BABd e2ef|gfed BAFA|dBAF E4:|
"""


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "a little book 📖.abc"
    path.write_text(BOOK, "utf-8")
    return path


@pytest.fixture(params=TUNES)
def medium(request) -> Tune:
    return TUNES[request.param]


def texts(medium: Tune, book) -> list[str]:
    return [document.text for document in medium.read(book)]


# --- files in


def test_a_file_holds_many_tunes_and_gives_them_with_name_word_and_group(medium, book):
    documents = list(medium.read(book))
    assert [(d.name, d.label, d.path) for d in documents] == [
        ("The Door on the Hill", "jig", book.name),
        ("The Door On The Hill", None, book.name),
        ("Two Wet Boots", "reel", book.name),
    ]
    assert documents[0].group == documents[1].group != documents[2].group
    assert all(medium.check(d.text) == [] for d in documents)


def test_no_name_title_or_address_is_left_in_the_notation(medium, book):
    for text in texts(medium, book):
        assert not re.search(r"Nobody|someone|@|Door|setting|[TCZN]:", text)


def test_the_two_notations_of_a_tune():
    path = "M:6/8\nL:1/8\nK:G\nD|GAB c>de|(3gfe d2||"
    (bars,) = {letters.print_letters(TUNES["abc"]._parse(path).score)}
    assert bars == "sixeight eighth g\ng jklmPno VqponB S"


def test_a_tune_that_cannot_be_read_is_left_out_and_named_with_its_line(medium, book):
    assert [str(p) for p in medium.faults(book)] == ["line 29, column 4: not ABC: '&' (notes are A to G and a to g)"]


@pytest.mark.parametrize(
    ("title", "name", "group"),
    [
        ("Foggy Day, The", "The Foggy Day", "foggyday"),
        ("THE FOGGY DAY -- REEL.", "The Foggy Day", "foggyday"),
        ("A Foggy Day (2nd setting)", "A Foggy Day (2nd setting)", "foggyday"),
        ("Wake up, Susan", "Wake up, Susan", "wakeupsusan"),
        ("", "", ""),
    ],
)
def test_titles_in_their_many_spellings_are_one_group(title, name, group):
    assert (_name(title), _group(title)) == (name, group)


def test_tunes_without_a_title_are_groups_of_their_own(medium, tmp_path):
    (tmp_path / "x.abc").write_text(re.sub(r"T:.*\n", "", BOOK), "utf-8")
    assert len({d.group for d in medium.read(tmp_path / "x.abc")}) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"X:1\nK:D\n\x00\x01\x02\xff\xfe" * 50, "bin.abc"),
        ("X:1\nT:Caf\xe9\nK:D\nABcd|ABcd|ABcd|ABcd||\n".encode("latin-1"), "byte 9"),
        (b"", "no tune in it\n  an ABC tune begins with a line X:1 and has a line K: before its music"),
        (b"Just some words, no tune.\n", "no tune in it"),
        (b"X:1\nK:D\nA&B|]\nX:2\nK:D\nABcd|]\n", "none of its tunes can be read; the first: line 3, column 2: not ABC: '&'"),
    ],
)
def test_a_file_that_is_no_abc_is_refused_by_name(medium, tmp_path, data, message):
    (tmp_path / "bin.abc").write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(medium.read(tmp_path / "bin.abc"))
    assert "bin.abc" in str(caught.value)
    assert message in str(caught.value)


def test_an_unknown_notation_is_refused():
    with pytest.raises(ConfigError, match="no notation 'midi'"):
        Tune("midi")


# --- what is valid


def test_check_names_the_line_and_column_of_what_cannot_be_read():
    assert [str(p) for p in TUNES["abc"].check("M:6/8\nL:1/8\nK:G\nABc|d?e|f6|g6||")] == [
        "line 4, column 6: not ABC: '?' (notes are A to G and a to g)"
    ]
    assert [str(p) for p in TUNES["letters"].check("sixeight eighth g\njklmno j?k jF jF S")] == [
        "line 2, column 9: no note: '?k' (a note has a letter a to z, or Z for a rest)"
    ]


def test_too_few_bars_and_notes_beyond_every_instrument_are_problems(medium):
    few, low = "M:6/8\nL:1/8\nK:G\nABcdef|ABcdef||", "M:6/8\nL:1/8\nK:G\nABcdef|ABcdef|A,,,Bcdef|A6||"
    for body, what in ((few, "2 bars"), (low, "a note that is too low or too high")):
        text = medium._print(TUNES["abc"]._parse(body).score)
        assert [p.what for p in medium.syntax(text)] == [what]
        assert medium.check(text)[0].what == what


def test_bars_that_do_not_fill_their_metre_are_named_apart_from_what_is_invalid(medium):
    body = "M:6/8\nL:1/8\nK:G\nD|ABcdef|ABcde|ABcdef|1G5:|2G3G3||c7|ABcdef|Bz||"
    text = medium._print(TUNES["abc"]._parse(body).score)
    assert medium.syntax(text) == []
    found = medium.check(text)
    assert [(type(p), p.what, p.fix) for p in found] == [
        (UnevenBar, "a bar of 5/8", "its metre has 6/8"),
        (UnevenBar, "a bar of 7/8", "its metre has 6/8"),
    ]
    spans = medium.spans(text)
    assert found[0].column - 1 == spans[2][0] - (text.rfind("\n", 0, spans[2][0]) + 1)
    assert medium.bars(text) == (4, 6)
    assert medium.bar_share(text) == pytest.approx(4 / 6)


def test_what_cannot_be_read_has_no_bars(medium):
    assert medium.bars("?") == (0, 0)
    assert medium.bar_share("?") == 0.0


def test_a_tune_that_breaks_off_is_invalid(medium, book):
    for text in texts(medium, book):
        spans = medium.spans(text)
        assert any("breaks off" in p.what for p in medium.syntax(text[: spans[5][1]]))


@given(st.text(max_size=60))
def test_any_text_is_checked_without_a_crash(text):
    for medium in TUNES.values():
        for head in ("", "M:6/8\nL:1/8\nK:G\n", "sixeight eighth g\n"):
            assert medium.bars(head + text) >= (0, 0)
            medium.check(head + text), medium.spans(head + text), medium.title(head + text), list(medium.variants(head + text))


# --- grammar


class Grammar:
    """Draws texts from GBNF: literals, classes, groups, ? * + {m,n}, alternatives."""

    def __init__(self, text: str):
        self.rules = {}
        for line in filter(None, text.split("\n")):
            name, body = line.split(" ::= ", 1)
            self.rules[name] = self._alternatives(re.findall(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[\d,]+\}|[\w-]+|[()|?*+]', body))

    def _alternatives(self, tokens: list[str]) -> list:
        options = [[]]
        while tokens and tokens[0] != ")":
            token = tokens.pop(0)
            if token == "|":
                options.append([])
            elif token[0] in "?*+{":
                low, high = {"?": (0, 1), "*": (0, 3), "+": (1, 4)}.get(token[0]) or self._range(token)
                options[-1][-1] = (low, high, options[-1][-1])
            elif token == "(":
                options[-1].append(self._alternatives(tokens))
                tokens.pop(0)
            else:
                options[-1].append(token)
        return options

    def _range(self, token: str) -> tuple[int, int]:
        low, _, high = token.strip("{}").partition(",")
        return int(low), int(high or low)

    def draw(self, rng: random.Random, rule: str = "root") -> str:
        out, todo = [], [rule]
        while todo:
            item = todo.pop()
            if isinstance(item, list):
                todo += reversed(rng.choice(item))
            elif isinstance(item, tuple):
                todo += [item[2]] * min(rng.randint(item[0], item[1]), item[0] + 4)
            elif item[0] == '"':
                out.append(self._literal(item))
            elif item[0] == "[":
                out.append(rng.choice(self._members(item[1:-1])))
            else:
                todo.append(self.rules[item])
        return "".join(out)

    def admits(self, text: str) -> bool:
        """Whether a rule's root derives the text: all stacks at once, as llama.cpp does it."""
        stacks = self._expand([("root",)])
        for char in text:
            stacks = self._expand([rest for top, *tail in filter(None, stacks) for rest in self._eat(top, tuple(tail), char)])
        return () in stacks

    def _eat(self, top: str, tail: tuple, char: str) -> list[tuple]:
        if top[0] == "[":
            return [tail] if char in self._members(top[1:-1]) else []
        literal = self._literal(top)
        return [((f'"{literal[1:]}"', *tail) if literal[1:] else tail)] if literal[0] == char else []

    def _expand(self, todo: list[tuple]) -> list[tuple]:
        """The stacks that begin with a literal or a class, and the empty one."""
        done, seen = [], set()
        while todo:
            stack = todo.pop()
            key = repr(stack)
            if key in seen:
                continue
            seen.add(key)
            item = stack[0] if stack else None
            if item is None or (isinstance(item, str) and item[0] in '"['):
                done.append(stack)
            elif isinstance(item, str):
                todo.append((self.rules[item], *stack[1:]))
            elif isinstance(item, tuple):
                low, high, inner = item
                more = [(inner, (max(low - 1, 0), high - 1, inner), *stack[1:])] if high else []
                todo += more if low else [*more, stack[1:]]
            else:
                todo += [(*option, *stack[1:]) for option in item]
        return done

    def _literal(self, item: str) -> str:
        return item[1:-1].replace("\\n", "\n").replace('\\"', '"')

    def _members(self, inside: str) -> str:
        return re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), inside)


PROMPTS = {
    "letters": ["", "jig", "jig sixeight", "sixeight eighth ", "cut eighth d 1/2=90\njklm jklm jklm jklm R"] + [
        "cut eighth gm" + body for body in (
            "", "\n", "\njklm", "\njklm jklm ", "\njklm I", "\njklm I jklm", "\njklm I jklm R", "\njklm I jklm R II jklm", "\njklm R",
            "\njklm S\n", "\njklm I j R II k S\njk", "\njklm Mthreefour ",
        )
    ],
    "abc": ["", "R:jig", "R:jig\nM:6/8\n", "X:1\nT:Mine\nM:6/8"] + [
        "M:C|\nL:1/8\nK:Gm" + body for body in (
            "", "\n", "\nGABc|", "\n[GB]ABc", "\nGABc|1", "\nGABc|1ABcd", "\nGABc|1ABcd:|", "\nGABc|1ABcd:|2", "\nGABc|1A:|2Bc",
            "\nGABc:|", "\nGABc||\n", "\nA||B|c|[de]|]",
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize(("notation", "prompt"), [(n, p) for n, ps in PROMPTS.items() for p in ps])
def test_all_that_the_grammar_admits_behind_a_prompt_is_a_tune(notation, prompt):
    medium, rng = TUNES[notation], random.Random(1)
    for pins in (Pins(prompt), Pins(prompt, 6, 9), Pins(prompt, most=5), Pins(prompt, least=20)):
        grammar = Grammar(medium.grammar(pins))
        for _ in range(6):
            text = prompt + grammar.draw(rng)
            assert medium.syntax(text) == [], text
            count = len(medium.spans(text))
            assert max(4, pins.least or 0) <= count <= (pins.most or 10_000), text


REAL = """hornpipe cut eighth g
jPk lPjmPlnPljPl VjklVmnonBqPo GlmPlTkBjHPkHljLj I jPlnPljBjB R II jPlnPljC S
Kd jPk lPjmPlnPljPl ZBmJoBjD oFXnPm jPlnPljB R"""
COUNTED = [
    "jig sixeight eighth d\nn jklmno jklmno",
    "jig sixeight eighth d\nn jklmno jklmno I jklmno",
    "jig sixeight eighth d\nn jklmno jklmno jklmno jB R\n",
    "jig sixeight eighth d\nn jklmno jklmno jklmno jklm",
    "jig sixeight eighth d\nn jklmno jklmno jklmno ",
    "sixeight sixteenth d\n",
    "common eighth d\njklmnopq Msixeight jklmno Kg",
    "jig fiveeight",
    "seveneight eighth",
]


@pytest.mark.parametrize("prompt", [*PROMPTS["letters"], *COUNTED])
def test_every_bar_behind_a_prompt_in_bar_words_fills_its_metre(prompt):
    medium, rng = TUNES["letters"], random.Random(3)
    end = (prompt.count("\n") + 1, len(prompt.rpartition("\n")[2]))
    for pins in (Pins(prompt), Pins(prompt, 8, 12), Pins(prompt, most=8)):
        grammar = Grammar(medium.grammar(pins))
        for _ in range(8):
            text = prompt + grammar.draw(rng)
            assert [p for p in medium.check(text) if (p.line, p.column) > end] == [], text


@pytest.mark.parametrize("metre", ["free", "fiveeight", "oneone", "thirteensixteen"])
def test_a_prompt_in_any_metre_can_be_gone_on_with(metre):
    medium, rng = TUNES["letters"], random.Random(4)
    for unit in ("eighth", "sixteenth", "quarter"):
        prompt = f"{metre} {unit} g\n"
        grammar = Grammar(medium.grammar(Pins(prompt, most=9)))
        for _ in range(5):
            assert medium.syntax(prompt + grammar.draw(rng)) == []


def test_the_grammar_admits_real_tunes_from_every_place_in_them(book):
    medium = TUNES["letters"]
    _, jig, reel = texts(medium, book)
    for text in [jig.replace("\nqBoopq", "\nn qBoopq"), reel, REAL]:
        assert medium.check(text) == []
        head = text.index("\n")
        ends = [end for _, end in medium.spans(text)]
        for cut in (0, head, head + 1, ends[0], ends[0] + 1, ends[2], ends[3], ends[-2]):
            grammar = Grammar(medium.grammar(Pins(text[:cut])))
            assert grammar.admits(text[cut:]), (text[:cut], text[cut:])
            assert not grammar.admits(text[cut:-2])
            if cut < ends[3]:
                begin, end = medium.spans(text)[4]
                assert not grammar.admits(text[cut:begin] + text[begin:end] + "j" + text[end:])


def test_the_letters_of_lengths_are_those_of_the_notation():
    lengths = tunegrammar._LENGTHS | tunegrammar._LAST_LENGTHS
    assert lengths == {size: letters._length_letters(16 * size) for size in lengths}


@pytest.mark.parametrize("notation", TUNES)
def test_what_the_grammar_admits_can_be_written(notation, tmp_path):
    medium, rng = TUNES[notation], random.Random(2)
    for i in range(5):
        text = Grammar(medium.grammar(Pins(least=4, most=12))).draw(rng)
        assert len(medium.write(text, tmp_path / str(i))) == 5


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        (Pins(most=3), "at most 3 bars, but at least 4"),
        (Pins(least=9, most=8), "at most 8 bars, but at least 9"),
        (Pins("cut eighth g\njklm jklm jklm jklm jklm I", most=6), "the prompt leads to 7 bars, of at most 6"),
        (Pins("once upon a time"), "no tune begins with this: line 1, column 1: not a first line"),
        (Pins("cut eighth g\nj?"), "no tune begins with this: line 2, column 2: no note: '?'"),
        (Pins("cut eighth g\njklm II jklm"), "no tune begins with this: line 2, column 9: ending 2 without ending 1"),
    ],
)
def test_pins_that_cannot_be_kept_are_refused(pins, message):
    with pytest.raises(ConfigError) as caught:
        TUNES["letters"].grammar(pins)
    assert message in str(caught.value)


# --- the same tune otherwise, and how far tunes are apart


def test_variants_are_the_same_tune_in_other_keys_of_its_mode(medium, book):
    for text in texts(medium, book):
        variants = list(medium.variants(text))
        assert len(variants) == len({*variants, text}) - 1 >= 4
        for variant in variants:
            assert medium.check(variant) == []
            assert medium.distance(text, variant) == 0.0
            assert medium.shingles(text) == medium.shingles(variant)
            a, b = (synth.perform(medium._parse(t).score) for t in (text, variant))
            assert len({y.midi - x.midi for x, y in zip(a, b, strict=True)}) == 1
            assert all(55 <= s.midi <= 90 for s in b)


def test_two_settings_are_near_and_other_tunes_far(medium, book):
    one, other, boots = texts(medium, book)
    assert medium.distance(one, one) == 0.0
    assert medium.distance(one, other) == medium.distance(other, one) < 0.3
    assert medium.distance(one, boots) == medium.distance(boots, one) > 0.6


def test_the_distance_of_what_cannot_be_read_is_defined(medium, book):
    text = texts(medium, book)[0]
    assert medium.distance("?", "!") == 0.0
    assert medium.distance("?", text) == 1.0
    assert medium.shingles("?") == set()


@given(scores(), scores())
@settings(max_examples=20, deadline=None)
def test_the_distance_is_symmetric_and_between_0_and_1(a, b):
    for medium in TUNES.values():
        x, y = medium._print(a), medium._print(b)
        assert 0 <= medium.distance(x, y) == medium.distance(y, x) <= 1


# --- bars


def test_spans_are_the_bars_and_what_is_cut_out_can_be_put_back(medium, book):
    for text in texts(medium, book):
        spans = medium.spans(text)
        assert len(spans) == len(medium._parse(text).score.bars)
        assert all(a < b <= c for (a, b), (c, _) in zip(spans, [*spans[1:], (len(text), 0)], strict=True))
        for first, last in ((0, 0), (2, 5), (len(spans) - 1, len(spans) - 1)):
            gap = text[: spans[first][0]] + "\0" + text[spans[last][1] :]
            assert gap.replace("\0", text[spans[first][0] : spans[last][1]]) == text
        doubled = text[: spans[3][0]] + text[spans[1][0] : spans[2][1]] + text[spans[2][1] : spans[3][0]] + text[spans[3][0] :]
        assert medium.syntax(doubled) == []
        assert len(medium.spans(doubled)) == len(spans) + 2


def test_titles_say_what_the_tune_is(medium, book):
    assert [medium.title(text) for text in texts(medium, book)] == [
        "jig in G, 6/8, 32 bars", "tune in A, 6/8, 32 bars", "reel in E dorian, 2/4, 16 bars",
    ]  # fmt: skip
    assert medium.title("?") == "no tune"


# --- files out


def test_write_gives_five_files_that_say_the_same(medium, book, tmp_path):
    text = texts(medium, book)[0]
    abc, mid, svg, wav, ogg = files = medium.write(text, tmp_path / "my tune 🎵", title="Mine: 100%")
    assert [p.name for p in files] == [f"my tune 🎵{suffix}" for suffix in (".abc", ".mid", ".svg", ".wav", ".ogg")]
    assert ogg.read_bytes()[:4] == b"OggS"
    assert [d.text for d in medium.read(abc)] == [text]
    assert abc.read_text("utf-8").startswith("X:1\nT:Mine: 100\\%\nR:jig\nM:6/8\nL:1/8\nK:G\n|:D|G2B BAB|")
    assert "Mine: 100%" in svg.read_text("utf-8")
    assert svg.read_text("utf-8").count('class="measure"') == len(medium.spans(text))
    assert mid.read_bytes()[:4] == b"MThd"
    with wave.open(str(wav)) as sound:
        assert 20 < sound.getnframes() / sound.getframerate() < 60


def test_the_same_tune_gives_the_same_bytes(book, tmp_path):
    text = texts(TUNES["letters"], book)[0]
    (tmp_path / "b").mkdir()
    for a, b in zip(TUNES["letters"].write(text, tmp_path / "a"), TUNES["letters"].write(text, tmp_path / "b" / "a"), strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_both_notations_write_the_same_files(book, tmp_path):
    files = [medium.write(texts(medium, book)[2], tmp_path / name) for name, medium in TUNES.items()]
    for a, b in zip(*files, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_what_is_no_tune_is_not_written(medium, tmp_path):
    with pytest.raises(DataError, match="not a tune: line 1, column 1"):
        medium.write("?", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_without_the_music_extra_it_is_named(medium, book, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "verovio", None)
    with pytest.raises(MachineError, match=r'pip install "cupola\[music\]"'):
        medium.write(texts(medium, book)[0], tmp_path / "a")


def test_a_folder_that_is_not_there_is_an_error_not_a_crash(medium, book, tmp_path):
    with pytest.raises(MachineError, match="cannot be written"):
        medium.write(texts(medium, book)[0], tmp_path / "no" / "a")


# --- real tunes


def test_real_tunes_are_read_and_pass():
    if not (files := tune_files()):
        pytest.skip("no tune books: set CUPOLA_TUNES to a folder with them")
    medium = TUNES["letters"]
    documents = [document for path in files if "oneills" in str(path) for document in medium.read(path)]
    sample = documents[::10]
    assert len(documents) > 1900
    assert not [p for d in sample for p in medium.syntax(d.text)]
    assert sum(not medium.check(d.text) for d in sample) / len(sample) > 0.9


@pytest.mark.slow
def test_real_tunes_survive_being_written_and_read():
    for score in real_tunes(every=40):
        text = letters.print_letters(score)
        assert TUNES["letters"]._parse(text).score == TUNES["abc"]._parse(spell.print_file(score)).score
        assert {TUNES["letters"].distance(text, variant) for variant in TUNES["letters"].variants(text)} <= {0.0}


def test_a_prompt_that_opens_a_repeat_is_refused_because_nothing_would_close_it():
    with pytest.raises(ConfigError, match=r"line 4, column 3: a repeat that is never closed"):
        TUNES["abc"].grammar(Pins("M:C|\nL:1/8\nK:Gm\n|:GABc|"))
