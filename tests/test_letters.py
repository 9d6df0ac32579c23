"""Bar words: what each letter means, and what is refused where."""

from __future__ import annotations

import pytest

from cupola.media import abc, letters
from cupola.media.spell import print_abc

HEAD = "jig sixeight eighth g\n"


def as_abc(words: str, head: str = HEAD) -> str:
    """The ABC of some bar words, without its header."""
    reading = letters.parse(head + words)
    assert not reading.problems, reading.problems
    return print_abc(reading.score).split("\nK:", 1)[1].split("\n", 1)[1]


def words(body: str, head: str = "R:jig\nM:6/8\nL:1/8\nK:G\n") -> str:
    reading = abc.parse(head + body)
    assert not reading.problems, reading.problems
    return letters.print_letters(reading.score).split("\n", 1)[1]


def problems(text: str) -> list[str]:
    return [f"{p.line}:{p.column} {p.what}" for p in letters.parse(text).problems]


@pytest.mark.parametrize(
    ("word", "same"),
    [
        ("jklmno", "GABcde"),
        ("cjq", "G,Gg"),
        ("jHhH jkljkl", "G/E/|GABGAB"),
        ("XnoB", "^de2"),
        ("YpXpp", "=f^^f^f"),
        ("nPoqQp", "d>eg<f"),
        ("VjklmB", "(3GABc2"),
        ("VBjkmC", "(2GAc3"),
        ("VCBBjBkm", "(3:2:2G2Ac"),
        ("VEjklmn", "(5GABcd"),
        ("GnGpTo", "{df}Te"),
        ("Ooj", "~eG"),
        ("jJlJnB", "[GBd]2"),
        ("jCL jBm", "G3-|G2c"),
        ("ZBZjjjj", "z2zGGGG"),
        ("UzAa", "b''E,,"),
        ("jCBjCBmmmmmmmmm", "G5G5ccccccccc"),
        ("jFDjjj", "G10GGG"),
    ],
)
def test_a_bar_word_is_its_bar(word, same):
    others = (" jklmnojklmno S", "|GABcdeGABcde||")  # so that an eighth is the commonest length, and the unit
    assert as_abc(word + others[0]) == same + others[1]
    assert words(same + others[1]) == word + others[0]


def test_the_documentation_example_is_true():
    text = letters.__doc__.split("\n\n")[1].replace("    ", "")
    assert problems(text) == []
    assert letters.print_letters(letters.parse(text).score) == text
    assert as_abc("jHhH XnoB jklmno S") == "G/E/|^de2|GABcde||"


def test_sections_repeats_endings_and_changes_are_words():
    body = "ABc|1d3:|2e3||\n[M:3/4][K:Am]ABc|d3:|"
    assert words(body) == "klm I nC R II oC S\nMthreefour Kam jkl mC R"
    assert as_abc(words(body)) == body


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("R:reel\nM:C|\nL:1/8\nQ:1/2=96\nK:F#m\n", "reel cut eighth fsm 1/2=96"),
        ("M:none\nL:1/8\nK:Bbmix\n", "free eighth bbmix"),
        ("M:12/8\nL:1/8\nK:Eb\n", "twelveeight eighth eb"),
    ],
)
def test_the_first_line_says_what_the_header_says(head, line):
    text = letters.print_letters(abc.parse(head + "ABcABc||").score)
    assert text.split("\n")[0] == line
    assert print_abc(letters.parse(text).score).startswith(head)


def test_a_tune_has_the_same_words_in_every_key():
    keys = {"G": "GABc^de", "D": "DEFG^AB", "Bb": "Bcde^fg"}
    assert {words(body + "||", f"M:6/8\nL:1/8\nK:{key}\n") for key, body in keys.items()} == {"jklmXno S"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (HEAD + "jjj j2 S", "2:6 no note: '2'"),
        (HEAD + "jjj jjj", "2:7 the tune breaks off"),
        (HEAD + "jjj jP S", "2:6 a bar ends inside a pair or a tuplet"),
        (HEAD + "jjj Vjk S", "2:7 a bar ends inside a pair or a tuplet"),
        (HEAD + "VjVkkk S", "2:3 a tuplet inside a tuplet"),
        (HEAD + "jjj II jjj S", "2:8 ending 2 without ending 1"),
        (HEAD + "jjj R R", "2:7 R without a bar before it"),
        (HEAD + "jjj Mnine jjj S", "2:5 no change of metre or key: 'Mnine'"),
        (HEAD + "XXXpj S", "2:1 XXXp is more than a double sharp or flat"),
        (HEAD + "jFFFFFFFFFFFFFFFFFFFFFFFF S", "2:1 no such length: 'jFFFFFFFFFFFFFFFFFFFFFFFF'"),
        (HEAD + "ZZZ S", "2:5 no notes"),
        (HEAD, "1:22 no notes"),
        ("jig sixeight g\njjj S", "1:1 not a first line: 'jig sixeight g'"),
        ("", "1:1 not a first line: ''"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, what):
    assert what in problems(text)


def test_a_rhythm_that_is_called_like_a_metre_and_a_ninth_ending_survive():
    endings = "A" + "".join(f"|{n}B:" for n in range(1, 9)) + "|9c||"
    score = abc.parse(f"R:common\nM:6/8\nL:1/8\nK:G\n{endings}").score
    assert letters.parse(letters.print_letters(score)).score == score
