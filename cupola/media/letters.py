"""Bar words <-> Score: a notation of letters, in which a bar is one word and transposing a tune changes one word of its header.

    jig sixeight eighth g
    jHhH ghijBk lqpopq nljijk ljlkig ghijBk lqpnpq nljijk ljjjB R
    n qporqp qponlj qponml kjkljh ghijBk lqpopq nljijk ljjjB S

The first line says rhythm (if any), metre, unit, key, and tempo (if any; as in ABC, 3/8=120). Each other line is a section; its last word
is R (played again) or S (not). Endings begin with the words I, II, III; all but the last end with R. Where metre or key changes, a word M
or K with it stands before the bar: Mcut, Kam.

A bar is its notes, joined. A note is, in this order, with all but the pitch left out where it says nothing:

    V         the next three notes stand in the time of two; a number after it (L 1, B 2, C 3, D 4, E 5, F 6, W 7, H 8, N 9) for other
              tuplets: VE five in the usual time; VCBB three in the time of two, for two notes
    G pitch   a grace note, once for each
    T or O    a trill or a roll
    pitch     a to z, steps of the scale: j is the tonic between middle C and the B above it. X before it raises it a semitone from what
              the signature says, Y lowers it, U puts it an octave up, A down. Z instead is a rest. J joins the pitches of a chord
    length    none: one unit. B 2, C 3, D 4, F 6, N 3/2, H 1/2, W 1/4, E 1/8, I 1/16, K 1/32, M 1/64 units; several add up
    L         tied to the next note
    P or Q    with the next note a pair: long-short (ABC's >) or short-long (<)

An X or Y holds for its own note only. Worked example: the words jHhH and XnoB in G, with eighths for units, are ABC's G/E/ and ^de2.
"""

from __future__ import annotations

import re

from cupola.media.abc import MOST, Reading, locate
from cupola.media.score import (
    WHOLE,
    Bar,
    Key,
    Note,
    Pitch,
    Score,
    default_tuplet,
    drop_false_ties,
    mend_repeats,
    parse_key,
    parse_tempo,
    sections,
    with_unit,
    written,
)

TONIC = 9  # the tonic's letter, counted from a: with it every note of a fiddle's first position has a letter in every key
_NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "twentyone",
    "twentytwo",
    "twentythree",
    "twentyfour",
    "twentyfive",
    "twentysix",
    "twentyseven",
    "twentyeight",
    "twentynine",
    "thirty",
    "thirtyone",
    "thirtytwo",
]
METRES = {"common": "C", "cut": "C|", "free": "none"} | {
    _NUMBERS[n - 1] + _NUMBERS[d - 1]: f"{n}/{d}" for n in range(1, 33) for d in (1, 2, 4, 8, 16, 32) if (n, d) not in ((4, 4), (2, 2))
}
UNITS = {"eighth": WHOLE // 8, "sixteenth": WHOLE // 16, "quarter": WHOLE // 4}
ENDINGS = {word: n for n, word in enumerate("I II III IV V VI VII VIII IX".split(), start=1)}
_LENGTHS = {"F": 384, "D": 256, "C": 192, "B": 128, "N": 96, "H": 32, "W": 16, "E": 8, "I": 4, "K": 2, "M": 1}  # in 64ths of a unit
_COUNTS = {letter: i for i, letter in enumerate("LBCDEFWHN", start=1)}
_SPELT = {metre: word for word, metre in METRES.items()} | {unit: word for word, unit in UNITS.items()}
_LETTER = {count: letter for letter, count in _COUNTS.items()}
_PITCH = re.compile(r"([XY]{0,3})([UA]*)([a-z])")
_NOTE = re.compile(
    r"(?:V([LBCDEFWHN]{0,3}))?((?:G[XY]{0,3}[UA]*[a-z])*)([TO]?)(Z|[XY]{0,3}[UA]*[a-z](?:J[XY]{0,3}[UA]*[a-z])*)([FDCBNHWEIKM]*)(L?)([PQ]?)"
)


class _Reader:
    """One tune, read word by word."""

    def __init__(self, text: str):
        self.text, self.faults = text, []
        self.metre, self.unit, self.key, self.rhythm, self.tempo = "none", WHOLE // 8, Key(0, 0, ""), "", None
        self.bars: list[Bar] = []
        self.spans: list[tuple[int, int]] = []
        self.ending, self.changed_metre, self.changed_key = 0, "", None  # what the next bar begins with
        self.begin = -1  # where its change words begin
        head = text.find("\n") if "\n" in text else len(text)
        self._header(text[:head])
        self.first = (self.metre, self.key)
        for match in re.finditer(r"\S+", text[head:]):
            self._word(match[0], match.start() + head)
        if not any(note.pitches for bar in self.bars for note in bar.notes):
            self.faults.append((max(len(text) - 1, 0), "no notes", "bars come after the first line"))
        elif not re.search(r"\s[RS]\s*$", text):
            self.faults.append((len(text) - 1, "the tune breaks off", "its last word is R or S"))

    def _header(self, line: str) -> None:
        words = line.split()
        if len(words) > 1 and words[1] in METRES and re.fullmatch(r"[a-z]{1,16}", words[0]):
            self.rhythm = words.pop(0)
        self.metre = METRES.get(words.pop(0) if words else "", "")
        self.unit = UNITS.get(words.pop(0) if words else "", 0)
        key = parse_word_key(words.pop(0)) if words else None
        self.tempo = parse_tempo(words.pop(0), self.metre) if words else None
        if not self.metre or not self.unit or key is None or words:
            fix = "it says [rhythm] metre unit key [tempo], such as: reel cut eighth d"
            self.faults.append((0, f"not a first line: {line[:40]!r}", fix))
        self.metre, self.unit, self.key = self.metre or "none", self.unit or WHOLE // 8, key or self.key

    def _word(self, word: str, at: int) -> None:
        if word in ("R", "S"):
            if not self.bars or self.bars[-1].close != "|" or self.begin >= 0:
                self.faults.append((at, f"{word} without a bar before it", "it closes a section"))
            else:
                self.bars[-1] = self.bars[-1].closed(":|" if word == "R" else "||")
        elif word in ENDINGS:
            self.ending = ENDINGS[word]
        elif word[0] in "MK":
            self._change(word, at)
        else:
            self._bar(word, at)

    def _change(self, word: str, at: int) -> None:
        self.begin = at if self.begin < 0 else self.begin
        metre, key = METRES.get(word[1:]), parse_word_key(word[1:])
        if word[0] == "M" and metre:
            self.changed_metre = metre if metre != self.metre else ""
            self.metre = metre
        elif word[0] == "K" and key:
            self.changed_key = key if key != self.key else None
            self.key = key
        else:
            self.faults.append((at, f"no change of metre or key: {word[:20]!r}", "such as Mthreefour or Kam"))

    def _bar(self, word: str, at: int) -> None:
        notes: list[Note] = []
        place, left, half = 0, 0, ""
        while place < len(word):
            match = _NOTE.match(word, place)
            if match is None:
                self.faults.append((at + place, f"no note: {word[place : place + 12]!r}", "a note has a letter a to z, or Z for a rest"))
                break
            note, half = self._note(match, half, at + place)
            if note.tuplet and left > 0:
                self.faults.append((at + place, "a tuplet inside a tuplet", "end the first one before"))
            left = note.tuplet[2] - 1 if note.tuplet else left - 1
            notes.append(note)
            place = match.end()
        if half or left > 0:
            self.faults.append((at + place - 1, "a bar ends inside a pair or a tuplet", "its notes stand in one bar"))
        if notes:
            self.bars.append(Bar(tuple(notes), "|", self.ending, self.changed_metre, self.changed_key))
            self.spans.append((at if self.begin < 0 else self.begin, at + len(word)))
            self.ending, self.changed_metre, self.changed_key, self.begin = 0, "", None, -1

    def _note(self, match: re.Match, half: str, at: int) -> tuple[Note, str]:
        """The note, and the pair mark that its next note has to obey."""
        tuplet, graces, ornament, pitches, sizes, tie, mark = match.groups()
        size = sum(_LENGTHS[letter] for letter in sizes) or 64
        times = 2  # halves: a pair's long note has three, its short one one
        if half:
            times = times * (1 if half == "P" else 3) // 2
        if mark:
            times = times * (3 if mark == "P" else 1) / 2
        ticks = self.unit * size * times / 128
        if ticks != int(ticks) or not 0 < ticks <= 16 * WHOLE:
            self.faults.append((at, f"no such length: {match[0]!r}", "lengths are 1/256 of a whole note at least, 16 whole notes at most"))
        counts = None if tuplet is None else self._counts(tuplet)
        chord = () if pitches == "Z" else tuple(sorted({self._pitch(*p.groups(), at) for p in _PITCH.finditer(pitches)}))
        return Note(
            chord,
            int(ticks) or 1,
            bool(tie and chord),
            tuple(self._pitch(*p.groups(), at) for p in _PITCH.finditer(graces)),
            {"T": "T", "O": "~", "": ""}[ornament],
            counts,
        ), mark

    def _counts(self, letters: str) -> tuple[int, int, int]:
        p, q, r = (*(_COUNTS[letter] for letter in letters), 0, 0, 0)[:3]
        p = max(p, 2) if letters else 3
        return p, q or default_tuplet(p, self.metre), r or p

    def _pitch(self, signs: str, octaves: str, letter: str, at: int) -> Pitch:
        step = ord(letter) - ord("a") - TONIC + self.key.tonic + 7 * (octaves.count("U") - octaves.count("A"))
        alter = self.key.alters[step % 7] + signs.count("X") - signs.count("Y")
        if abs(alter) > 2:
            self.faults.append((at, f"{signs}{letter} is more than a double sharp or flat", "leave an X or Y out"))
        return Pitch(step, max(-2, min(alter, 2)))


def parse_word_key(word: str) -> Key | None:
    """ "g", "bbm" (B flat minor), "fsdor" (F sharp dorian) as a key; None if it is none."""
    match = re.fullmatch(r"([a-g])([sb]?)(|m|dor|mix|phr|lyd|loc)", word)
    parsed = parse_key(match[1].upper() + match[2].replace("s", "#") + match[3]) if match else None
    return parsed[0] if parsed else None


def parse(text: str) -> Reading:
    """Read one tune in bar words."""
    reader = _Reader(text)
    bars, mended = mend_repeats(drop_false_ties(reader.bars), [])
    faults = reader.faults + [(reader.spans[i][0], what, fix) for i, what, fix in mended]
    problems = [locate(text, *fault) for fault in sorted(faults)[:MOST]]
    metre, key = reader.first
    score = None if problems else with_unit(Score(metre, WHOLE // 8, key, bars, reader.rhythm, reader.tempo))
    return Reading(text, score, problems, [], reader.spans)


def print_letters(score: Score) -> str:
    """The bar words of a score. They end without a newline."""
    words = [score.rhythm] if score.rhythm else []
    words += [_SPELT[score.metre], _SPELT[score.unit], key_word(score.key)]
    words += ["{}/{}={}".format(*score.tempo)] if score.tempo else []
    lines = [" ".join(words)]
    key, metre = score.key, score.metre
    numerals = {n: word for word, n in ENDINGS.items()}
    for first, last in sections(score):
        words = []
        for bar in score.bars[first : last + 1]:
            metre, key = bar.metre or metre, bar.key or key
            words += [numerals[bar.ending]] if bar.ending else []
            words += [f"M{_SPELT[bar.metre]}"] if bar.metre else []
            words += [f"K{key_word(bar.key)}"] if bar.key else []
            words.append(_bar_word(bar, score.unit, key, metre))
            words += {"|": [], ":|": ["R"], "||": ["S"]}[bar.close]
        lines.append(" ".join(words))
    return "\n".join(lines)


def key_word(key: Key) -> str:
    """A key as one word: f sharp minor is "fsm"."""
    return str(key).lower().replace("#", "s")


def _bar_word(bar: Bar, unit: int, key: Key, metre: str) -> str:
    out = ""
    for note, (ticks, mark) in zip(bar.notes, written(bar.notes, unit), strict=True):
        if note.tuplet:
            p, q, r = note.tuplet
            usual = (q, r) == (default_tuplet(p, metre), p)
            out += "V" + ("" if usual and p == 3 else _LETTER[p] if usual else _LETTER[p] + _LETTER[q] + _LETTER[r])
        out += "".join("G" + _pitch_letters(pitch, key) for pitch in note.graces) + note.ornament.replace("~", "O")
        out += "J".join(_pitch_letters(pitch, key) for pitch in note.pitches) or "Z"
        out += _length_letters(ticks * 64 // unit) + ("L" if note.tie else "") + mark.replace(">", "P").replace("<", "Q")
    return out


def _pitch_letters(pitch: Pitch, key: Key) -> str:
    signs = pitch.alter - key.alters[pitch.step % 7]
    octaves, place = 0, pitch.step - key.tonic + TONIC
    while place < 0:
        place, octaves = place + 7, octaves - 1
    while place > 25:
        place, octaves = place - 7, octaves + 1
    return ("X" * signs or "Y" * -signs) + ("U" * octaves or "A" * -octaves) + chr(ord("a") + place)


def _length_letters(size: int) -> str:
    """A length in 64ths of a unit as letters: "" is one unit, otherwise a sum, largest first, that leaves no single unit over."""
    out = ""
    while size and not (size == 64 and not out):
        letter = next(letter for letter, value in _LENGTHS.items() if value <= size and size - value != 64)
        out, size = out + letter, size - _LENGTHS[letter]
    return out
