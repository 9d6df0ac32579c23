"""ABC as people write it: what is read, what is dropped, what is refused and where."""

from __future__ import annotations

import pytest

from cupola.errors import DataError
from cupola.media import abc, letters
from cupola.media.score import Key, Pitch
from cupola.media.spell import print_abc, print_file

HEAD = "X:1\nT:Made up\nM:6/8\nL:1/8\nK:G\n"


def score(body: str, head: str = HEAD):
    reading = abc.parse(head + body)
    assert not reading.problems, reading.problems
    return reading.score


def canonical(body: str, head: str = HEAD) -> str:
    """The body, as we write it."""
    return print_abc(score(body, head)).split("\nK:", 1)[1].split("\n", 1)[1]


def midi(body: str, head: str = HEAD) -> list[list[int]]:
    return [[p.midi for note in bar.notes for p in note.pitches] for bar in score(body, head).bars]


def problems(text: str, **strict) -> list[str]:
    return [f"{p.line}:{p.column} {p.what}" for p in abc.parse(text, **strict).problems]


# --- what sounds is kept


def test_letters_are_pitches_and_the_key_has_its_sharps():
    assert midi("C,CcGc'f|F=F^F_BB||") == [[48, 60, 72, 67, 84, 78], [66, 65, 66, 70, 70]]


def test_an_accidental_holds_for_its_own_octave_to_the_bars_end_and_over_a_tie():
    assert midi("^cCc3|c6||") == [[73, 60, 73], [72]]
    assert midi("c3^c3-|c3c3||") == [[72, 73], [73, 72]]


def test_where_readers_of_abc_differ_what_we_write_says_the_accidental_again():
    assert canonical("^cCc4|c6||") == "^c=C^c4|c6||"


def test_accidentals_that_change_nothing_are_not_written():
    assert canonical("^f=c_BB2|^F6||") == "fc_BB2|F6||"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("G", Key(4, 0, "")),
        ("Am", Key(5, 0, "m")),
        ("E minor", Key(2, 0, "m")),
        ("A Mixolydian", Key(5, 0, "mix")),
        ("F#m", Key(3, 1, "m")),
        ("Bb", Key(6, -1, "")),
        ("D Dorian", Key(1, 0, "dor")),
        ("Gmaj", Key(4, 0, "")),
        ("C clef=treble", Key(0, 0, "")),
        ("Hp", Key(5, 0, "mix")),
    ],
)
def test_keys_are_read_as_people_write_them(written, key):
    assert abc.parse(HEAD.replace("K:G", f"K:{written}") + "A6||").score.key == key


def test_a_key_may_overrule_its_signature():
    assert midi("cfF||", HEAD.replace("K:G", "K:D =c ^g")) == [[72, 78, 66]]
    assert canonical("cd||", HEAD.replace("K:G", "K:D =c")) == "=cd||"


def test_lengths_are_kept_whatever_the_unit():
    assert canonical("A2B/c/d3/2e/4f3/4G//z/ABcABc||") == "A2B/c<de/<f/G/4z/ABcABc||"
    assert canonical("A4B2|A4B2||", HEAD.replace("L:1/8", "L:1/16")) == "A2B|A2B||"


def test_without_an_l_line_the_metre_says_the_unit():
    assert score("A6||", "M:6/8\nK:G\n").bars[0].notes[0].length == 6 * 32
    assert score("A4||", "M:2/4\nK:G\n").bars[0].notes[0].length == 4 * 16


def test_broken_pairs_are_read_at_every_strength_and_written_in_one_way():
    assert canonical("A>Bc<d|A3/2B/c/d3/2||") == "A>Bc<d|A>Bc<d||"
    assert [n.length for n in score("A>>Bc2||").bars[0].notes] == [56, 8, 64]
    assert canonical("A3/B/ {c}d>e||") == "A>B{c}d>e||"


def test_tuplets_have_the_standards_times_and_explicit_ones_are_kept():
    assert [n.tuplet for n in score("(3ABc(2de|(3:2:2A2B(5abcde||").bars[0].notes if n.tuplet] == [(3, 2, 3), (2, 3, 2)]
    assert canonical("(3:2:3ABcd3|(3:2:2A2B(9ABcABcABc||") == "(3ABcd3|(3:2:2A2B(9ABcABcABc||"


def test_chords_are_sorted_and_take_their_length_inside_or_outside():
    assert canonical("[eB]2[c2e2][Gd]-[Gd]||") == "[Be]2[ce]2[Gd]-[Gd]||"


def test_graces_trills_and_rolls_are_kept():
    assert canonical('{ga}b2~g T(a>b) "tr"c||') == "{ga}b2~gTa>bc||"


def test_ties_are_kept_and_ties_to_another_pitch_are_slurs():
    assert canonical("A3-A2B-|c6-|c3z3||") == "A3-A2B|c6-|c3z3||"


def test_rests_are_kept_and_whole_bars_of_rest_are_bars():
    assert canonical("z2x2AA|Z2|ABcABc||") == "z2z2AA|z6|z6|ABcABc||"


def test_changes_of_key_metre_and_unit_within_a_tune_are_kept():
    body = "ABcdef|[K:D][M:3/4]c2c2c2|\nL:1/16\nc4c4c2c2|\nK:Am\nM:6/8\nc12||"
    assert canonical(body) == "ABcdef|[M:3/4][K:D]c2c2c2|c2c2cc|[M:6/8][K:Am]c6||"


def test_tempo_is_kept_in_one_form():
    heads = [HEAD.replace("K:G", f"Q:{q}\nK:G") for q in ('3/8=120 "Slow"', "100", '"Allegro"', "1/4 = 9000")]
    assert [score("A6||", head).tempo for head in heads] == [(3, 8, 120), (3, 8, 100), None, None]


def test_rhythm_is_one_word():
    assert [score("A6||", HEAD.replace("K:G", f"R:{r}\nK:G")).rhythm for r in ("Slip Jig", "double jig", "REEL", "")] == [
        "slipjig",
        "jig",
        "reel",
        "",
    ]


# --- repeats and endings in every spelling


@pytest.mark.parametrize(
    ("body", "same"),
    [
        ("|:A6|B6:|", "A6|B6:|"),
        ("A6|B6::c6|d6:|", "A6|B6:|\nc6|d6:|"),
        ("A6|B6:|:c6|d6:|", "A6|B6:|\nc6|d6:|"),
        ("A6|B6:||:c6|d6:|", "A6|B6:|\nc6|d6:|"),
        ("A6|B6:|\n|:c6|d6|]", "A6|B6:|\nc6|d6||"),
        ("A6||B6|]", "A6||\nB6||"),
        ("A6|\n|B6|\n|c6|]", "A6|B6|c6||"),
        ("|:A6||B6:|", "A6|B6:|"),
        ("A6|B6|:c6:|", "A6|B6||\nc6:|"),
        ("|:A6|1B6:|2c6|]", "A6|1B6:|2c6||"),
        ("|:A6|[1B6:|[2c6:|", "A6|1B6:|2c6||"),
        ("A6|[1 B6 :|\n[2 c6 || d6 |]", "A6|1B6:|2c6||\nd6||"),
        ("|:A6|1B6|2c6||", "A6|1B6:|2c6||"),
        ('A6|B6"D.C."[|]:|', "A6|B6:|"),
        ("A6|B6", "A6|B6||"),
    ],
)
def test_repeats_and_endings_have_one_form(body, same):
    assert canonical(body) == same


# --- what is dropped


def test_lines_that_say_who_and_where_are_dropped_wherever_they_stand():
    head = "X:7\nT:One\nC:A. Maker\nZ:someone@example.org\nN:a note\nB:A book\nS:a source\nM:6/8\nL:1/8\nR:jig\nK:G\n"
    text = print_abc(score("A6|\nw:la la la\nN:more\nB6|[P:B]c6||\nW:verse\n% a comment", head))
    assert text == "R:jig\nM:6/8\nL:1/8\nK:G\nA6|B6|c6||"


def test_marks_that_change_neither_pitch_nor_length_are_dropped():
    assert canonical('"Am"(.A.B) !trill!vcud|"_p"H[uA"4"c]2 `B`\\\nSgPf !4!e y|+fermata+A6 $|]') == "ABcd|[Ac]2Bgfe|A6||"


def test_titles_are_kept_apart():
    assert abc.parse(HEAD.replace("T:Made up", "T:Made up\nT:or not") + "A6||").titles == ["Made up", "or not"]


# --- what is refused


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("A6|&B6||", "6:4 not ABC: '&'"),
        ("A6|\nB#6||", "7:2 not ABC: '#6'"),
        ("A3 >|B3||", "6:5 a bar line inside a pair or a tuplet"),
        (">A3||", "6:1 no note before '>'"),
        ("(3AB|c6||", "6:5 a bar line inside a pair or a tuplet"),
        ("(3(3ABcde||", "6:3 a tuplet inside a tuplet"),
        ("A2/3B||", "6:1 a length that is not a power of two of a whole note"),
        ("A6|2B6||", "6:5 ending 2 without ending 1"),
        ("A6|1,3B6:|2c6||", "6:3 no ending '1,3'"),
        ("[V:2]A6||", "6:1 several voices"),
        ("A6|[K:H]B6||", "6:4 no key 'H'"),
        ("A6|[M:4]B6||", "6:4 no metre '4'"),
        ("A6|\nL:0\nB6||", "7:1 no unit length '0'"),
        ("|", "6:1 no notes"),
        ("z6||", "6:4 no notes"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(body, what):
    assert what in problems(HEAD + body)


def test_header_faults_are_named_with_their_place():
    assert problems("X:1\nT:x\nM:6/8\nwhat is this\nK:G\nA6||", strict=True) == ["4:1 not a header line"]
    assert problems("X:1\nT:x\nM:6/8\nwhat is this\nK:G\nA6||") == []
    assert "2:1 no key 'X'" in problems("M:6/8\nK:X\nA6||")
    assert problems("X:1\nT:a") == ["2:3 no key", "2:3 no notes"]
    assert problems("") == ["1:1 no key", "1:1 no notes"]


def test_strict_reading_wants_every_repeat_closed_and_the_tune_ended():
    assert problems(HEAD + "A6|:B6||", strict=True) == ["6:5 a repeat that is never closed"]
    assert problems(HEAD + "A6|B6|", strict=True) == ["6:6 the tune breaks off"]
    assert problems(HEAD + "A6|:B6|") == []


# --- files


def test_a_file_holds_tunes_from_x_to_x_and_lines_are_counted_through():
    text = "% a book\nM:C\n\nX:1\nT:a\nK:G\nA6||\n\nX:2\nT:b\nK:D\nB6||\n"
    for size in (1, 3, 7, 1000):
        blocks = [text[i : i + size] for i in range(0, len(text), size)]
        assert list(abc.split(blocks, "f")) == [(4, "X:1\nT:a\nK:G\nA6||\n"), (9, "X:2\nT:b\nK:D\nB6||\n")]


def test_a_lone_tune_needs_no_number():
    assert list(abc.split(["M:C\nK:G\nA6||\n"], "f")) == [(1, "M:C\nK:G\nA6||\n")]


def test_a_file_without_end_and_without_tunes_is_given_up_early():
    def endless():
        for _ in range(10_000):
            yield "la " * 1000
        raise AssertionError("read to the end")

    with pytest.raises(DataError, match=r"big\.abc: a megabyte without a new tune"):
        list(abc.split(endless(), "big.abc"))


def test_the_file_for_people_has_beams_lines_and_both_signs_of_a_repeat():
    body = "G|" + "|".join(["GABcde"] * 4) + "|" + "|".join(["gfedcB"] * 3) + "|1G5:|2G6|]"
    assert print_file(score(body), "100% mine\nK:A").splitlines() == [
        "X:1", r"T:100\% mine K:A", "M:6/8", "L:1/8", "K:G",
        "|:G|GAB cde|GAB cde|GAB cde|GAB cde|", "gfe dcB|gfe dcB|gfe dcB|1 G5:|2 G6|]",
    ]  # fmt: skip


def test_pitches_far_up_and_down_keep_their_marks():
    assert canonical("C,,c''B,c'||") == "C,,c''B,c'||"
    assert Pitch(-14, 0).midi == 36


def test_prose_behind_an_empty_line_is_no_music():
    text = "X:1\nK:G\n\nABcd|\nefga||\n\nA word about this tune.\n\nX:2\nK:D\nB6||\nThe end."
    tunes = list(abc.split([text], "f"))
    assert tunes == [(1, "X:1\nK:G\n\nABcd|\nefga||\n"), (9, "X:2\nK:D\nB6||\nThe end.")]


@pytest.mark.parametrize(
    "nasty",
    [
        "A" + "9" * 5000,
        "A٣",
        "|:",
        "A/////////////////",
        "Z9999|A",
        "(9" * 50,
        "A|1B:|2c:|3d:|4e:|5f:|6g||",
        "{" * 20_000,
        "[A1111" * 2000,
        "[A" + "1111A" * 2000,
        "[A:" * 20_000,
        "?A" * 20_000,
        "A>",
    ],
)
@pytest.mark.parametrize("metre", ["6/8", "٣/4", "04/4", "99/4", "9" * 5000 + "/8", "3/0"])
def test_hostile_text_is_read_or_refused_never_a_crash(nasty, metre):
    for strict in (False, True):
        reading = abc.parse(f"M:{metre}\nQ:{'9' * 5000}\nL:1/8\nK:G\n{nasty}", strict=strict)
        assert (reading.score is None) == bool(reading.problems)
        if reading.score:
            assert letters.parse(letters.print_letters(reading.score)).score == reading.score
