"""A tune as events: what a notation is parsed into and written from, and the order in which its bars are played.

Lengths are whole numbers of ticks, 256 to a whole note, as written, so that no length is ever rounded; a tuplet's notes keep their
written length and the first of them carries (p, q, r). Pitches are what sounds: the accidentals of key and bar are already in them.

Repeats are kept in one form. A section is a run of bars; its last bar closes with ":|" (played again) or "||". Endings are bars that begin
with an ending number: A |1 B :|2 C || plays A B A C. A repeat always goes back to the first bar of its own section.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

WHOLE = 256  # ticks in a whole note
SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones of C D E F G A B
MODES = {"": 0, "m": 3, "dor": 2, "mix": 1, "phr": 4, "lyd": -1, "loc": 5}  # fifths below the major key of the same tonic
SIGNS = {"^": 1, "^^": 2, "=": 0, "_": -1, "__": -2}  # accidentals as ABC writes them
FIFTHS = (0, 2, 4, -1, 1, 3, 5)  # sharps in the major keys of C D E F G A B

_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)(.*)")
_MODE = {"": "", "maj": "", "ion": "", "m": "m", "min": "m", "aeo": "m"} | {mode: mode for mode in MODES if len(mode) == 3}


class Pitch(NamedTuple):
    """A sounding pitch: diatonic steps above middle C (negative below) and semitones away from the natural note (-2 to 2)."""

    step: int
    alter: int

    @property
    def midi(self) -> int:
        return 60 + 12 * (self.step // 7) + SCALE[self.step % 7] + self.alter


class Key(NamedTuple):
    """A key: tonic 0 to 6 for C to B, its sharps (negative: flats), and a key of MODES."""

    tonic: int
    alter: int
    mode: str

    @property
    def fifths(self) -> int:
        """Sharps in the signature, negative for flats."""
        return FIFTHS[self.tonic] + 7 * self.alter - MODES[self.mode]

    @property
    def alters(self) -> tuple[int, ...]:
        """(7,) semitones that the signature adds to C D E F G A B."""
        return signature(self.fifths)

    def __str__(self) -> str:
        return "CDEFGAB"[self.tonic] + ("b", "", "#")[self.alter + 1] + self.mode


@functools.cache
def signature(fifths: int) -> tuple[int, ...]:
    """(7,) semitones that a signature of `fifths` sharps (negative: flats) adds to C D E F G A B; beyond 7 some are double."""
    alters = [0] * 7
    for i in range(abs(fifths)):
        alters[(3 + 4 * i if fifths > 0 else 6 + 3 * i) % 7] += 1 if fifths > 0 else -1
    return tuple(alters)


class Note(NamedTuple):
    """A note, a chord (several pitches, as written) or a rest (no pitches)."""

    pitches: tuple[Pitch, ...]
    length: int  # ticks, as written
    tie: bool = False  # held into the next note
    graces: tuple[Pitch, ...] = ()
    ornament: str = ""  # "T" a trill, "~" a roll
    tuplet: tuple[int, int, int] | None = None  # from this note on, r notes are played p in the time of q


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """What stands between two bar lines."""

    notes: tuple[Note, ...]
    close: str = "|"  # the line at its end: "|", "||" ends a section, ":|" ends it and plays it again
    ending: int = 0  # this bar begins the ending of that number
    metre: str = ""  # from this bar on; "" goes on as before
    key: Key | None = None

    def closed(self, close: str) -> Bar:
        """The same bar with another line at its end."""
        return self if close == self.close else dataclasses.replace(self, close=close)


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """A whole tune."""

    metre: str  # "6/8", "C", "C|", "none"
    unit: int  # ticks of the length that goes unwritten
    key: Key
    bars: tuple[Bar, ...]
    rhythm: str = ""  # "reel", "jig": one word or none
    tempo: tuple[int, int, int] | None = None  # (3, 8, 120): 120 dotted quarters a minute

    def metres(self) -> Iterator[tuple[Bar, str]]:
        """Each bar with the metre in force."""
        metre = self.metre
        for bar in self.bars:
            metre = bar.metre or metre
            yield bar, metre


def bar_ticks(metre: str) -> int | None:
    """How long a full bar of a metre is, in ticks; None for "none"."""
    if metre in ("C", "C|"):
        return WHOLE
    match = re.fullmatch(r"(\d+)/(\d+)", metre)
    return int(match[1]) * WHOLE // int(match[2]) if match else None


def beat_ticks(metre: str) -> int:
    """What is beamed together: half a bar of C, a beat of the others, all of 3/8."""
    if metre in ("C", "C|", "none"):
        return WHOLE // 2
    top, bottom = map(int, metre.split("/"))
    return WHOLE // bottom * (3 if top % 3 == 0 and bottom >= 8 else 1)


def is_compound(metre: str) -> bool:
    """Do its beats divide by three: 6/8, 9/8, 12/8?"""
    return metre in ("6/8", "9/8", "12/8", "6/4", "9/4", "6/16", "9/16", "12/16")


def parse_metre(value: str) -> str | None:
    """ "4/4" -> "C", "2/2" -> "C|", "3/4", "none"; None if it is no metre."""
    value = value.split()[0] if value.split() else "none"
    value = {"4/4": "C", "2/2": "C|"}.get(value, value)
    match = re.fullmatch(r"([1-9]|[12]\d|3[012])/(1|2|4|8|16|32)", value, re.ASCII)
    return value if match or value in ("C", "C|", "none") else None


def parse_key(value: str) -> tuple[Key, dict[int, int]] | None:
    """ "Edor" -> (E dorian, {}); "D =c" -> (D major, {0: 0}): letters whose signature is overruled. None if it is no key."""
    if value.startswith(("Hp", "HP")):
        return Key(5, 0, "mix"), {}  # the Highland pipes
    if value == "" or value.split()[0] == "none":
        return Key(0, 0, ""), {}
    match = _KEY.match(value)
    if not match:
        return None
    mode = "m" if match[3] == "m" else match[3].lower()[:3]
    rest = match[4] if mode in _MODE else match[3] + match[4]
    key = Key("CDEFGAB".index(match[1]), {"#": 1, "b": -1, "": 0}[match[2]], _MODE.get(mode, ""))
    if abs(key.fifths) > 7 or (mode not in _MODE and not re.match(r"cle|tre|bas|alt|exp|tra|oct|sta|sty", mode)):
        return None
    return key, {"cdefgab".index(m[2].lower()): SIGNS[m[1]] for m in re.finditer(r"(\^\^?|__?|=)([A-Ga-g])\b", rest)}


def parse_tempo(value: str, metre: str) -> tuple[int, int, int] | None:
    """ "3/8=120" or "120" (beats of the metre) -> (3, 8, 120); None where no number says how fast."""
    value = re.sub(r'"[^"]*"', "", value)
    if match := re.search(r"(\d{1,2})/(\d{1,2})\s*=\s*(\d{1,4})", value, re.ASCII):
        beat, unit, per_minute = int(match[1]), int(match[2]), int(match[3])
    elif match := re.fullmatch(r"\s*(\d{1,4})\s*", value, re.ASCII):
        beat, unit, per_minute = (3, 8, int(match[1])) if is_compound(metre) else (1, 4, int(match[1]))
    else:
        return None
    fits = 0 < beat <= 16 and unit in (1, 2, 4, 8, 16) and 20 <= per_minute <= 400
    return (beat, unit, per_minute) if fits else None


def default_tuplet(p: int, metre: str) -> int:
    """In the time of how many notes p stand when nothing says so (ABC 2.1, section 4.13)."""
    return {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}.get(p, 3 if is_compound(metre) else 2)


def played_lengths(notes: tuple[Note, ...]) -> list[Fraction | int]:
    """The ticks each note is played for: tuplets applied."""
    out: list[Fraction | int] = []
    left, p, q = 0, 1, 1
    for note in notes:
        if note.tuplet:
            p, q, left = note.tuplet
        out.append(Fraction(note.length * q, p) if left > 0 else note.length)
        left -= 1
    return out


def length(bar: Bar) -> Fraction | int:
    """The ticks a bar is played for."""
    total = sum(note.length for note in bar.notes)
    if not any(note.tuplet for note in bar.notes):
        return total
    return sum(played_lengths(bar.notes))


def sections(score: Score) -> list[tuple[int, int]]:
    """(first, last) bar of each section, both included. A bar that closes with "||" or ":|" ends one, unless another ending follows."""
    out, first = [], 0
    for i, bar in enumerate(score.bars):
        follows = i + 1 < len(score.bars) and score.bars[i + 1].ending > 1
        if bar.close != "|" and not (bar.close == ":|" and follows):
            out.append((first, i))
            first = i + 1
    if first < len(score.bars):
        out.append((first, len(score.bars) - 1))
    return out


def drop_false_ties(bars: list[Bar]) -> list[Bar]:
    """Bars without the ties whose next note shares no pitch with the tied one: those are slurs."""
    after: Note | None = None
    out = []
    for bar in reversed(bars):
        notes = list(bar.notes)
        for i in range(len(notes) - 1, -1, -1):
            if notes[i].tie and (after is None or not set(notes[i].pitches) & set(after.pitches)):
                notes[i] = notes[i]._replace(tie=False)
            after = notes[i]
        out.append(dataclasses.replace(bar, notes=tuple(notes)) if tuple(notes) != bar.notes else bar)
    return out[::-1]


def mend_repeats(bars: list[Bar], opens: list[int]) -> tuple[tuple[Bar, ...], list[tuple[int, str, str]]]:
    """Bars with their repeats in the one form of this module, and what could not be brought into it: (bar number, what, fix).

    opens: bars with "|:" before them. It begins a section, and takes the meaning from double bars between it and its ":|".
    The last ending ends its section however it was closed. A tune ends its last section.
    """
    closes, problems = [bar.close for bar in bars], []
    opens = sorted(set(opens))
    for at, after in zip(opens, [*opens, len(bars)][1:], strict=True):
        if at > 0 and closes[at - 1] == "|":
            closes[at - 1] = "||"
        back = next((i for i in range(at, after) if closes[i] == ":|"), None)
        if back is None and bars:
            problems.append((min(at, len(bars) - 1), "a repeat that is never closed", "|: needs its :|"))
        elif back is not None:
            closes[at:back] = ["|" if close == "||" else close for close in closes[at:back]]
    if bars and closes[-1] == "|":
        closes[-1] = "||"
    now = 0  # the ending we are in
    for i, bar in enumerate(bars):
        if bar.ending:
            if bar.ending != now + 1:
                problems.append(
                    (
                        i,
                        f"ending {bar.ending} without ending {bar.ending - 1}" if bar.ending > 1 else "ending 1 inside an ending",
                        "endings count from 1",
                    )
                )
            if now:
                closes[i - 1] = ":|"
            now = bar.ending
        follows = i + 1 < len(bars) and bars[i + 1].ending == now + 1
        if now and closes[i] != "|" and not follows:
            closes[i] = ":|" if now == 1 and closes[i] == ":|" else "||"
            now = 0
    return tuple(bar.closed(close) for bar, close in zip(bars, closes, strict=True)), problems


def played(score: Score) -> list[int]:
    """Bar numbers, from 0, in the order they are played: repeats and endings written out."""
    order: list[int] = []
    for first, last in sections(score):
        starts = [i for i in range(first, last + 1) if score.bars[i].ending]
        if not starts:
            order += list(range(first, last + 1)) * (2 if score.bars[last].close == ":|" else 1)
            continue
        body = list(range(first, starts[0]))
        for start, after in zip(starts, [*starts[1:], last + 1], strict=True):
            order += body + list(range(start, after))
        if len(starts) == 1 and score.bars[last].close == ":|":  # a first ending alone: the second time passes it by
            order += body
    return order


def beat_ends(bar: Bar, metre: str, upbeat: bool) -> list[bool]:
    """For each note, whether a beat ends with it. upbeat: a bar that is short lacks its beginning, not its end."""
    full, beat = bar_ticks(metre), beat_ticks(metre)
    at = max(0, full - length(bar)) if full and upbeat else 0
    ends = []
    for ticks in played_lengths(bar.notes):
        at += ticks
        ends.append(at % beat == 0)
    return ends


def fullness(score: Score) -> list[tuple[int, bool]]:
    """(bar number, is it full) for every bar that has to be full.

    The first and the last bar of a section or of an ending may be short (an upbeat, and what completes it): they are counted only when they
    are full or too long. Bars without a metre are not counted.
    """
    edges = set()
    for first, last in sections(score):
        edges |= {first, last}
        for i in range(first + 1, last + 1):
            if score.bars[i].ending:
                edges |= {i - 1, i}
    out = []
    for i, (bar, metre) in enumerate(score.metres()):
        full = bar_ticks(metre)
        if full is None:
            continue
        ticks = length(bar)
        if not (i in edges and ticks < full):
            out.append((i, ticks == full))
    return out


def written(notes: tuple[Note, ...], unit: int) -> list[tuple[int, str]]:
    """(ticks, mark) a note. Two notes of lengths 3:1 or 1:3 that make two units (or one) are a pair: equal lengths and ">" or "<"."""
    out: list[tuple[int, str]] = []
    inside = 0  # notes left in the tuplet
    i = 0
    while i < len(notes):
        note = notes[i]
        inside = note.tuplet[2] if note.tuplet else max(inside, 0)
        mark = ""
        if i + 1 < len(notes) and inside != 1 and not notes[i + 1].tuplet:
            a, b = note.length, notes[i + 1].length
            if a + b in (2 * unit, unit) and (a == 3 * b or b == 3 * a):
                mark = ">" if a > b else "<"
        if mark:
            out += [((a + b) // 2, mark), ((a + b) // 2, "")]
        else:
            out.append((note.length, ""))
        inside -= 2 if mark else 1
        i += 2 if mark else 1
    return out


def transpose(score: Score, key: Key) -> Score | None:
    """The same music in another key of the same mode, its tonic still between middle C and the B above. None if a sign would be triple."""
    steps, fifths = key.tonic - score.key.tonic, key.fifths - score.key.fifths

    def move_key(old: Key) -> Key:
        tonic = (old.tonic + steps) % 7
        return Key(tonic, (old.fifths + fifths + MODES[old.mode] - FIFTHS[tonic]) // 7, old.mode)

    here, there, bars = score.key, key, []
    for bar in score.bars:
        if bar.key:
            here, there = bar.key, move_key(bar.key)

        def move(pitch: Pitch, here: Key = here, there: Key = there) -> Pitch:
            step = pitch.step + steps
            return Pitch(step, pitch.alter - here.alters[pitch.step % 7] + there.alters[step % 7])

        notes = tuple(n._replace(pitches=tuple(map(move, n.pitches)), graces=tuple(map(move, n.graces))) for n in bar.notes)
        if any(abs(pitch.alter) > 2 for n in notes for pitch in (*n.pitches, *n.graces)) or abs(there.fifths) > 7:
            return None
        bars.append(dataclasses.replace(bar, notes=notes, key=there if bar.key else None))
    return dataclasses.replace(score, key=key, bars=tuple(bars))


def with_unit(score: Score) -> Score:
    """The same tune with the unit that leaves most lengths unwritten: the commonest of eighth, sixteenth and quarter, pairs as equal."""
    counts = dict.fromkeys((WHOLE // 8, WHOLE // 16, WHOLE // 4), 0)  # at a tie the first wins
    for bar in score.bars:
        for unit in counts:
            counts[unit] += sum(ticks == unit for ticks, _ in written(bar.notes, unit))
    return dataclasses.replace(score, unit=max(counts, key=lambda unit: counts[unit]))
