"""ABC -> Score, and what was wrong with it.

`parse` reads ABC as people write it (version 2.1 and the older habits of tune books) and keeps what sounds. It drops titles, number, book,
source, notes, history, words and every other line that says who or where; chord symbols and annotations in quotes; slurs, bowing and
fingering, staccato, accents, fermatas, segno and D.C. marks; beams, spacing and line breaks. Tunes of several voices are refused.

An accidental holds for its own pitch to the end of the bar, and over a tie. A tie to another pitch is a slur, and dropped.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator

from cupola.errors import DataError
from cupola.media.base import Problem
from cupola.media.score import (
    SIGNS,
    WHOLE,
    Bar,
    Key,
    Note,
    Pitch,
    Score,
    bar_ticks,
    default_tuplet,
    drop_false_ties,
    mend_repeats,
    parse_key,
    parse_metre,
    parse_tempo,
    with_unit,
)

_BODY = re.compile(
    r"""(?P<field>\[[A-Za-z]:[^\]\n]{0,200}\]|(?<=\n)[A-Za-z]:(?![|:])[^\n]*)
    |(?P<tuplet>\(([2-9])(?::(\d?))?(?::(\d?))?)
    |(?P<skip>[ \t\r\n\\`*$y]+|%[^\n]*|"[^"\n]*"|!\w[\w.()+<>:-]*!|\+[A-Za-z.]+\+|[.H-SU-Wh-w!()])
    |(?P<note>(\^\^?|__?|=)?([A-Ga-g])([,']*)(\d{0,4})(/{0,8})(\d{0,4}))
    |(?P<bar>(?:\[\||:*\||::+|:(?=\s*\[?[1-9]))(?:\[\||[|:\]])*(?:\s*\[(?=\d)|(?=\d))?(\d[\d,-]*)?)
    |(?P<broken>>{1,3}|<{1,3})
    |(?P<graces>\{([^}\n]{0,200})\})
    |(?P<tie>-)
    |(?P<ornament>[T~])
    |(?P<rest>[zx](\d{0,4})(/{0,8})(\d{0,4}))
    |(?P<chord>\[((?:[\^_=]*[A-Ga-g][,']*\d{0,4}(?:/{1,8}\d{0,4})?|[uv.T~()\ -]|"[^"\n]*")+)\](\d{0,4})(/{0,8})(\d{0,4}))
    |(?P<restbars>Z(\d{0,4}))
    |(?P<ending>\[(\d[\d,-]*))""",
    re.VERBOSE | re.ASCII,
)
LONGEST = 1_000_000  # characters of one tune
MOST = 100  # problems that are told of one tune
_TUNE = re.compile(r"^X:", re.MULTILINE)
_BEGUN = re.compile(r"^(?:X:|K:)", re.MULTILINE)
_HEAD = re.compile(r"([A-Za-z+]):([^\n%]*)")
_PITCH = re.compile(r"(\^\^?|__?|=)?([A-Ga-g])([,']*)(\d{0,4})(/{0,8})(\d{0,4})", re.ASCII)
_RHYTHM = {"doublejig": "jig", "singlejig": "jig", "highlandfling": "fling", "reels": "reel", "jigs": "jig"}  # one word for one dance
_CLOSES = {"|": 0, "||": 1, ":|": 2}  # of two lines in a row the stronger counts


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """A tune as it was read, in either notation."""

    text: str
    score: Score | None  # None: `problems` says why
    problems: list[Problem]
    titles: list[str]
    spans: list[tuple[int, int]]  # offsets of each bar in the text
    line: int = 1  # of its file that the text begins on

    def place(self, bar: int) -> tuple[int, int]:
        """Line and column, from 1, where a bar begins."""
        at = self.spans[bar][0]
        return self.text.count("\n", 0, at) + self.line, at - self.text.rfind("\n", 0, at)


class _Header:
    """The lines down to K:. `end` is where the body begins."""

    def __init__(self, text: str, strict: bool):
        self.text, self.end, self.problems = text, len(text), []
        self.titles: list[str] = []
        self.metre, self.rhythm, self.tempo, self.key, self.sharps = "none", "", None, None, {}
        self.unit: int | None = None
        at, tempo = 0, ""
        while at < len(text) and self.key is None:
            stop = text.find("\n", at)
            stop = len(text) if stop < 0 else stop
            if match := _HEAD.match(text, at, stop):
                tempo = match[2] if match[1] == "Q" else tempo
                self._field(match[1], match[2].strip(), at)
            elif strict and text[at:stop].strip() and text[at] != "%":
                self.problems.append((at, "not a header line", "header lines are a letter, a colon and a value, K: the last of them"))
            at = stop + 1
        if self.key is None:
            self.problems.append((max(len(text) - 1, 0), "no key", "the header ends with a line K:, such as K:D"))
            self.key = Key(0, 0, "")
        self.end = min(at, len(text))
        if self.unit is None:  # the standard's rule
            self.unit = WHOLE // 16 if (bar_ticks(self.metre) or WHOLE) < WHOLE * 3 // 4 else WHOLE // 8
        self.tempo = parse_tempo(tempo, self.metre)

    def _field(self, letter: str, value: str, at: int) -> None:
        if letter == "T" and value:
            self.titles.append(value)
        elif letter == "R":
            word = re.sub(r"[^a-z]", "", value.lower())[:16]
            self.rhythm = _RHYTHM.get(word, word)
        elif letter == "V" and not re.match(r"1\b|\s*$", value):
            self.problems.append((at, "several voices", "a tune is one voice"))
        elif letter in "MLK":
            self.change(letter, value, at)

    def change(self, letter: str, value: str, at: int) -> None:
        """Take an M:, L: or K: field, of the header or of the body."""
        if letter == "M":
            metre = parse_metre(value)
            if metre is None:
                self.problems.append((at, f"no metre {value!r}", "such as M:6/8, M:C, M:C| or M:none"))
            self.metre = metre or self.metre
        elif letter == "L":
            match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", value, re.ASCII)
            ticks = WHOLE * int(match[1]) / int(match[2]) if match and int(match[2]) else 0
            if not ticks or ticks != int(ticks):
                self.problems.append((at, f"no unit length {value!r}", "such as L:1/8"))
            self.unit = int(ticks) or WHOLE // 8
        else:
            parsed = parse_key(value)
            if parsed is None:
                self.problems.append((at, f"no key {value!r}", "such as K:D, K:Am or K:Edor, with at most seven sharps or flats"))
            self.key, self.sharps = parsed or (Key(0, 0, ""), {})


class _Body:
    """The bars after the header, in writing order."""

    def __init__(self, head: _Header):
        self.head, self.problems = head, head.problems
        self.bars: list[Bar] = []
        self.spans: list[tuple[int, int]] = []
        self.opens: list[int] = []  # bars that "|:" stands before
        self.notes: list[Note] = []
        self.signs: dict[int, int] = {}  # this bar's accidentals: step -> alter
        self.graces: tuple[Pitch, ...] = ()
        self.ornament, self.tuplet, self.left = "", None, 0
        self.broken = (1, 1)  # numerator and denominator for the next note's length
        self.ending, self.metre, self.key = 0, "", None  # what the next bar begins with
        self.begin = self.stop = -1  # offsets of the bar's text
        self._set_key()
        self._scan(head.text, head.end)

    def _set_key(self) -> None:
        self.alters = [self.head.sharps.get(i, alter) for i, alter in enumerate(self.head.key.alters)]
        self.signs.clear()

    def _scan(self, text: str, at: int) -> None:
        takes = {name: getattr(self, f"_{name}") for name in _BODY.groupindex}
        while at < len(text):
            match = _BODY.match(text, at)
            if match is None:
                stop = next((m.start() for m in _BODY.finditer(text, at)), len(text))
                shown = text[at:stop] if stop - at < 20 else text[at : at + 17] + "..."
                self.problems.append((at, f"not ABC: {shown!r}", "notes are A to G and a to g"))
                at = stop
                continue
            kind = match.lastgroup
            if kind not in ("skip", "bar", "ending"):
                self.begin = at if self.begin < 0 else self.begin
                self.stop = match.end()
            takes[kind](match, at)
            at = match.end()
        if self.notes:
            self._close("|", at)
        if not any(note.pitches for bar in self.bars for note in bar.notes):
            self.problems.append((max(at - 1, 0), "no notes", "music comes after the K: line"))

    def _skip(self, match: re.Match, at: int) -> None:
        pass

    def _field(self, match: re.Match, at: int) -> None:
        letter, value = match["field"].strip("[]")[0], match["field"].split(":", 1)[1].split("%")[0].strip(" ]\t\r")
        if letter == "V" and value[:1] != "1":
            self.problems.append((at, "several voices", "a tune is one voice"))
        if letter not in "MLK":
            return
        before = (self.head.metre, self.head.key)
        self.head.change(letter, value, at)
        if letter == "K":
            self._set_key()
        if self.head.metre != before[0]:
            self.metre = self.head.metre
        if self.head.key != before[1]:
            self.key = self.head.key

    def _ticks(self, number: str, slashes: str, divisor: str, at: int, times: tuple[int, int] = (1, 1)) -> int:
        """A length in ticks; says so if it is no whole number of them."""
        over = int(divisor) if divisor else 2 ** len(slashes)
        ticks, rest = divmod(self.head.unit * (int(number) if number else 1) * times[0], max(over, 1) * times[1])
        if rest or not 0 < ticks <= 16 * WHOLE:
            self.problems.append(
                (at, "a length that is not a power of two of a whole note", "lengths are 256ths of a whole note, 4,096 of them at most")
            )
        return ticks

    def _pitch(self, sign: str | None, name: str, octave: str) -> Pitch:
        step = "CDEFGABcdefgab".index(name) + 7 * (octave.count("'") - octave.count(","))
        if sign:
            self.signs[step] = SIGNS[sign]
        elif step not in self.signs and (last := self._last()) is not None and last.tie:
            for pitch in last.pitches:  # a tie carries an accidental over the bar line
                if pitch.step == step:
                    return pitch
        return Pitch(step, self.signs.get(step, self.alters[step % 7]))

    def _last(self) -> Note | None:
        """The note before this one, in the bar before if need be."""
        if self.notes:
            return self.notes[-1]
        return self.bars[-1].notes[-1] if self.bars else None

    def _note(self, match: re.Match, at: int) -> None:
        _, sign, name, octave, *size = match.groups()[_BODY.groupindex["note"] - 1 :][:7]
        self._add((self._pitch(sign, name, octave),), size, at)

    def _rest(self, match: re.Match, at: int) -> None:
        self._add((), match.groups()[_BODY.groupindex["rest"] :][:3], at)

    def _chord(self, match: re.Match, at: int) -> None:
        first = _BODY.groupindex["chord"]
        inner = [m.groups() for m in _PITCH.finditer(re.sub(r'"[^"]*"', "", match[first + 1]))]
        if not inner:
            self.problems.append((at, "an empty chord", "write the notes between [ and ]"))
            return
        pitches = sorted({self._pitch(*parts[:3]) for parts in inner})
        size = match.groups()[first + 1 :][:3]
        if inner[0][3] or inner[0][4]:  # [B2d2] is [Bd]2
            size = inner[0][3:]
        self._add(tuple(pitches), size, at)

    def _add(self, pitches: tuple[Pitch, ...], size: tuple[str, ...], at: int) -> None:
        ticks = self._ticks(*size, at, self.broken)
        self.notes.append(Note(pitches, ticks, False, self.graces, self.ornament, self.tuplet))
        self.graces, self.ornament, self.tuplet, self.broken = (), "", None, (1, 1)
        self.left -= 1

    def _restbars(self, match: re.Match, at: int) -> None:
        count = int(match[_BODY.groupindex["restbars"] + 1] or 1)
        full = bar_ticks(self.head.metre) or WHOLE
        for i in range(min(count, 64)):
            self.notes.append(Note((), full))
            if i < count - 1:
                self._close("|", at)

    def _tie(self, match: re.Match, at: int) -> None:
        if self.notes and self.notes[-1].pitches:
            self.notes[-1] = self.notes[-1]._replace(tie=True)

    def _broken(self, match: re.Match, at: int) -> None:
        marks = match["broken"]
        most, over = 2 ** (len(marks) + 1) - 1, 2 ** len(marks)
        long, short = (most, over), (1, over)
        here, self.broken = (long, short) if marks[0] == ">" else (short, long)
        if not self.notes:
            self.problems.append((at, f"no note before {marks!r}", "it stands between two notes of one bar"))
            return
        ticks, rest = divmod(self.notes[-1].length * here[0], here[1])
        if rest:
            self.problems.append(
                (at, "a length that is not a power of two of a whole note", "lengths are 256ths of a whole note, 4,096 of them at most")
            )
        self.notes[-1] = self.notes[-1]._replace(length=ticks)

    def _graces(self, match: re.Match, at: int) -> None:
        inside = match[_BODY.groupindex["graces"] + 1]
        self.graces += tuple(self._pitch(m[1], m[2], m[3]) for m in _PITCH.finditer(inside))

    def _ornament(self, match: re.Match, at: int) -> None:
        self.ornament = match["ornament"]

    def _tuplet(self, match: re.Match, at: int) -> None:
        p, q, r = (int(part) if part else 0 for part in match.groups()[_BODY.groupindex["tuplet"] :][:3])
        if self.left > 0:
            self.problems.append((at, "a tuplet inside a tuplet", "end the first one before"))
        self.tuplet = (p, q or default_tuplet(p, self.head.metre), r or p)
        self.left = r or p

    def _bar(self, match: re.Match, at: int) -> None:
        line, ending = match["bar"], match[_BODY.groupindex["bar"] + 1] or ""
        line = re.sub(r"\s*\[?\d.*|\s", "", line)
        double = "||" in line or "]" in line or "[|" in line
        self._close(":|" if re.search(r":\||^:", line) else "||" if double else "|", at)
        if line.endswith(("|:", "::")):
            self.opens.append(len(self.bars))
        if ending:
            self._begin_ending(ending, at)

    def _ending(self, match: re.Match, at: int) -> None:
        self._close("|", at)
        self._begin_ending(match[_BODY.groupindex["ending"] + 1], at)

    def _begin_ending(self, numbers: str, at: int) -> None:
        if not re.fullmatch(r"[1-9]", numbers):
            self.problems.append((at, f"no ending {numbers!r}", "endings have one number each: 1, 2, 3"))
            return
        self.ending = int(numbers)

    def _close(self, close: str, at: int) -> None:
        """End the bar. A line with no note before it belongs to the bar before."""
        if self.broken != (1, 1) or (self.left > 0 and self.notes):
            self.problems.append((at, "a bar line inside a pair or a tuplet", "its notes stand in one bar"))
        self.signs.clear()
        self.broken, self.left, self.tuplet = (1, 1), 0, None
        if not self.notes:
            if self.bars and not self.ending and _CLOSES[close] > _CLOSES[self.bars[-1].close]:
                self.bars[-1] = dataclasses.replace(self.bars[-1], close=close)
            return
        self.bars.append(Bar(tuple(self.notes), close, self.ending, self.metre, self.key))
        self.spans.append((self.begin, self.stop))
        self.notes, self.begin = [], -1
        self.ending, self.metre, self.key = 0, "", None


def parse(text: str, line: int = 1, strict: bool = False) -> Reading:
    """Read one tune, a header and a body.

    line: of the file it stands in, counted from 1, for its problems.
    strict: a tune that breaks off without a closing line, a "|:" without its ":|" and a header line that is none are problems too; tune
    books have many of them.
    """
    head = _Header(text, strict)
    first, rhythm, tempo = (head.metre, head.key), head.rhythm, head.tempo  # the body's own M: and K: change the header's
    body = _Body(head)
    bars, mended = mend_repeats(drop_false_ties(body.bars), body.opens)
    head.problems += [(body.spans[i][0], what, fix) for i, what, fix in mended if strict or "never closed" not in what]
    if strict and not re.search(r"(:\||\|\||\|\])\s*$", text):
        head.problems.append((max(len(text) - 1, 0), "the tune breaks off", "its last bar closes with || or :|"))
    problems = [locate(text, *fault, line=line) for fault in sorted(head.problems)[:MOST]]
    score = None if problems else with_unit(Score(first[0], WHOLE // 8, first[1], bars, rhythm, tempo))
    return Reading(text, score, problems, head.titles, body.spans, line)


def locate(text: str, at: int, what: str, fix: str, line: int = 1) -> Problem:
    """A problem at an offset of a text whose first line is the `line`th."""
    return Problem(text.count("\n", 0, at) + line, at - text.rfind("\n", 0, at), what, fix)


def split(blocks: Iterable[str], where: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each tune of a file that comes in pieces. A tune begins at X: and ends at an empty line behind its first music.

    What stands before the first X: is a tune if it has a K: line. Raises DataError naming `where` when there is none in the first megabyte.
    """
    held, line, seen = "", 1, 0  # seen: characters of `held` without a tune's beginning but at 0
    for block in blocks:
        held += block
        starts = [match.start() for match in _TUNE.finditer(held, max(seen, 1))]
        for start, stop in itertools.pairwise([0, *starts]):
            if _BEGUN.search(held, start, stop):
                yield line, _without_prose(held[start:stop])
            line += held.count("\n", start, stop)
        held = held[starts[-1] :] if starts else held
        seen = max(0, len(held) - 2)
        if len(held) > LONGEST:
            raise DataError("a megabyte without a new tune", where, "an ABC tune begins with a line X:1; leave the file out if it is none")
    if _BEGUN.search(held):
        yield line, _without_prose(held)


def _without_prose(tune: str) -> str:
    """The tune as far as the first empty line that follows a line behind K:."""
    lines, key, music = tune.split("\n"), False, False
    for i, text in enumerate(lines):
        if key and music and not text.strip():
            return "\n".join(lines[:i]) + "\n"
        music = key and (music or bool(text.strip()))
        key = key or text.startswith("K:")
    return tune
