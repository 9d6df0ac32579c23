"""Tunes: ABC files <-> a notation that a model learns.

A file is read into events (`score.py`) and written from them in one of two notations, both without loss of what sounds: canonical ABC
(`abc.py`, `spell.py`) or bar words (`letters.py`). What is kept: metre, key, rhythm word, tempo, every note with its pitch, length and
ties, rests, chords, tuplets, grace notes (27% of the tunes of three old books have some), trills and rolls (20%), repeats, endings, changes
of metre and key, and where sections end. What is dropped is named in `abc.py`; a title becomes the document's name, never trained on.

The default is bar words: held-out tunes of those books need 412 bits each under an n-gram over bytes, canonical ABC 433 (420 and 444 over
tokens), mostly because a tune in bar words looks the same in every key.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from cupola.errors import ConfigError, DataError
from cupola.media import abc, engrave, letters, midi, spell, synth, tunegrammar
from cupola.media.base import Document, Pins, Plain, Problem
from cupola.media.score import WHOLE, Key, Score, bar_ticks, fullness, length, played, transpose
from cupola.media.text import read_blocks, write_text

LEAST_BARS = tunegrammar.LEAST
LOWEST, HIGHEST = 40, 101  # MIDI: a guitar's low E to a piccolo's F; real tunes lie in 55 to 93
_FIDDLE = range(-3, 17)  # steps from the G below middle C to the E two octaves above it: where variants stay
_MODE_NAMES = {"": "", "m": " minor", "dor": " dorian", "mix": " mixolydian", "phr": " phrygian", "lyd": " lydian", "loc": " locrian"}
_EXAMPLE = {
    "abc": (("R:jig", "M:6/8", "L:1/8", "Q:3/8=120", "K:D"), "D4"),
    "letters": (("jig", "sixeight", "eighth", "d", "3/8=120"), "jD"),
}


class UnevenBar(Problem):
    """A bar that does not fill its metre: the tune can be written and played, but not counted along with."""


class Tune(Plain):
    """Tunes of one voice.

    read then write keeps everything that sounds: the ABC that `write` makes reads back as the same notation, character for character.
    """

    name = "tune"
    suffixes = (".abc", *midi.SUFFIXES)
    unit = "bar"
    vocab_size = 1024
    scrub = False

    def __init__(self, notation: str = "letters"):
        if notation not in ("abc", "letters"):
            raise ConfigError(f"no notation {notation!r}", "tune", "abc or letters")
        self.notation = notation
        self.pretokenizer = "superbpe" if notation == "letters" else "sarvam-moe"  # both merge across bars (LOG.md, 2026-11-25)
        self._form = tunegrammar.LETTERS if notation == "letters" else tunegrammar.ABC

    def read(self, path: Path) -> Iterator[Document]:
        """The tunes of a file that can be read; `faults` names the others.

        Their group is the title without case, articles and punctuation, so that settings of one piece stay together. Raises DataError for a
        file that is not text or has no tune that can be read.
        """
        if path.suffix.lower() in midi.SUFFIXES:
            yield self._of_midi(path)
            return
        first: Problem | None = None
        tunes = good = 0
        for number, reading in enumerate(self._readings(path), start=1):
            tunes = number
            if reading.score is None or (problems := self._unplayable(reading)):
                first = first or (reading.problems or problems)[0]
                continue
            good += 1
            title = reading.titles[0] if reading.titles else ""
            group = _group(title) or f"{path.name} {number}"
            yield Document(self._print(reading.score), group, path.name, label=reading.score.rhythm or None, name=_name(title))
        if not tunes:
            raise DataError("no tune in it", str(path), "an ABC tune begins with a line X:1 and has a line K: before its music")
        if not good:
            raise DataError(f"none of its tunes can be read; the first: {first}", str(path), "mend it, or leave the file out")

    def _of_midi(self, path: Path) -> Document:
        """The one tune of a MIDI file: its melody."""
        score, title = midi.read(path)
        try:
            text = self._print(score)
        except (KeyError, ValueError, IndexError) as e:
            raise DataError(f"its rhythm cannot be written down: {e}", str(path), "quantise it to sixteenths, or leave it out") from None
        if problems := self.syntax(text):
            raise DataError(f"no tune: {problems[0].what}", str(path), problems[0].fix or "leave it out")
        return Document(text, _group(title) or path.name, path.name, label=score.rhythm or None, name=_name(title) or path.stem)

    def faults(self, path: Path) -> list[Problem]:
        """Why the tunes that `read` leaves out are left out: the first problem of each, with its line in the file; of MIDI none."""
        if path.suffix.lower() in midi.SUFFIXES:
            return []
        out = []
        for reading in self._readings(path):
            out += [*reading.problems, *(self._unplayable(reading) if reading.score else [])][:1]
        return out

    def check(self, text: str) -> list[Problem]:
        """Everything wrong with a notation: what `syntax` finds, then an UnevenBar for each bar that does not fill its metre.

        The first and last bar of a section or an ending may be short. Of real tunes 94% pass; 99.2% of their other bars are full.
        """
        reading = self._parse(text)
        problems = self._syntax(reading)
        if reading.score is None:
            return problems
        return problems + [self._uneven(text, reading, i) for i, full in fullness(reading.score) if not full]

    def syntax(self, text: str) -> list[Problem]:
        """What makes a notation invalid: what cannot be read, no or too few bars, notes that no instrument has."""
        return self._syntax(self._parse(text))

    def bars(self, text: str) -> tuple[int, int]:
        """(full bars, bars that have to be full); (0, 0) for what cannot be read."""
        score = self._parse(text).score
        counted = fullness(score) if score else []
        return sum(full for _, full in counted), len(counted)

    def bar_share(self, text: str) -> float:
        """The share of the bars that have to be full and are; 0 for what cannot be read, 1 where no bar has to be."""
        full, counted = self.bars(text)
        return full / counted if counted else float(self._parse(text).score is not None)

    def grammar(self, pins: Pins) -> str:
        """GBNF for what follows `pins.prompt`, which may be empty, or end in the header, at a bar's end or at a section's.

        What it admits has no `syntax` problem, and in bar words, where it counts, no UnevenBar behind the prompt. Raises ConfigError for a
        prompt that no tune begins with, and for impossible least and most.
        """
        form = self._form
        place = tunegrammar.letters_start(pins.prompt) if self.notation == "letters" else tunegrammar.abc_start(pins.prompt)
        whole = pins.prompt + tunegrammar.finish(form, place, *_EXAMPLE[self.notation])
        reading = self._parse(whole)
        if reading.score is None:
            fix = "end it in the header, or behind a whole bar"
            raise ConfigError(f"no tune begins with this: {reading.problems[0]}", "prompt", fix)
        start = tunegrammar.counting(pins.prompt, place, reading.score) if form.counted else tunegrammar.Start(*place)
        return tunegrammar.grammar(form, pins, start)

    def write(self, text: str, stem: Path, *, title: str = "") -> list[Path]:
        """`stem`.abc, .mid, .svg and .wav, which loops; .ogg where the sounds extra is installed.

        Uneven bars are written as they are; raises DataError for what `syntax` refuses to read.
        Raises MachineError without the music extra, or where a file cannot be written.
        """
        reading = self._parse(text)
        if reading.score is None:
            raise DataError(f"not a tune: {reading.problems[0]}", str(stem), "check it first")
        score, timbre = reading.score, "reed" if reading.score.rhythm in ("air", "song", "lament", "march", "waltz") else "pluck"
        paths = [stem.with_name(stem.name + suffix) for suffix in (".abc", ".mid", ".svg", ".wav")]
        write_text(paths[0], spell.print_file(score, title))
        synth.write_midi(score, paths[1], timbre, title)
        engrave.write_svg(score, paths[2], title)
        synth.write_wav(score, paths[3], timbre)
        ogg = synth.write_ogg(score, stem.with_name(f"{stem.name}.ogg"), timbre)
        return [*paths, ogg] if ogg else paths

    def variants(self, text: str) -> Iterator[str]:
        """The tune in the other keys of its mode with at most four sharps or three flats, where a fiddle's first position has its notes."""
        score = self._parse(text).score
        if score is None:
            return
        for key in _keys(score.key.mode):
            moved = transpose(score, key) if key != score.key else None
            if moved and all(p.step in _FIDDLE for bar in moved.bars for note in bar.notes for p in (*note.pitches, *note.graces)):
                yield self._print(moved)

    def distance(self, a: str, b: str) -> float:
        """1 minus the share of neighbouring note pairs, counted in steps from the tonic, that both tunes have in the same order.

        Rhythm, repeats, ornaments and key do not count. Two settings of a tune lie under 0.3, most unrelated tunes over 0.65; real tunes
        lie 0.56 from their nearest (median of 120 held out against 3,670).
        """
        if a == b:
            return 0.0
        x, y = self._melody(a), self._melody(b)
        if len(x) < 2 or len(y) < 2:
            return 0.0 if x == y else 1.0
        pairs = [[m[i : i + 2] for i in range(len(m) - 1)] for m in (x, y)]
        return 1 - 2 * _common(*pairs) / (len(x) + len(y) - 2)

    def shingles(self, text: str) -> set[str]:
        """Runs of four notes in steps from the tonic."""
        melody = self._melody(text)
        return {melody[i : i + 4] for i in range(len(melody) - 3)}

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Bars as written, without the lines between them; repeats are not played out."""
        return self._parse(text).spans

    def title(self, text: str) -> str:
        """Such as "jig in E dorian, 6/8, 32 bars", the bars counted as played."""
        score = self._parse(text).score
        if score is None:
            return "no tune"
        key = str(score.key._replace(mode="")) + _MODE_NAMES[score.key.mode]
        full = bar_ticks(score.metre)
        bars = [score.bars[i] for i in played(score)]
        count = round(sum(length(bar) for bar in bars) / full) if full else len(bars)
        metre = {"C": "4/4", "C|": "2/2", "none": "no metre"}.get(score.metre, score.metre)
        return f"{score.rhythm or 'tune'} in {key}, {metre}, {count} bars"

    def _print(self, score: Score) -> str:
        return letters.print_letters(score) if self.notation == "letters" else spell.print_abc(score)

    def _parse(self, text: str) -> abc.Reading:
        return _parse(self.notation, text)

    def _melody(self, text: str) -> str:
        return _melody(self.notation, text)

    def _readings(self, path: Path) -> Iterator[abc.Reading]:
        for line, tune in abc.split(read_blocks(path), str(path)):
            yield abc.parse(tune, line)

    def _syntax(self, reading: abc.Reading) -> list[Problem]:
        return reading.problems or self._unplayable(reading)

    def _unplayable(self, reading: abc.Reading) -> list[Problem]:
        """Of a tune that can be read: too few bars, notes too low or too high. Reading.problems stays empty for these."""
        score = reading.score
        if score is None:
            return []
        out = []
        if len(score.bars) < LEAST_BARS:
            out.append(Problem(*reading.place(-1), f"{len(score.bars)} bars", f"a tune has {LEAST_BARS} or more"))
        for i, bar in enumerate(score.bars):
            for pitch in (p for note in bar.notes for p in (*note.pitches, *note.graces)):
                if not LOWEST <= pitch.midi <= HIGHEST:
                    out.append(Problem(*reading.place(i), "a note that is too low or too high", "keep to the treble staff and around it"))
                    break
        return out

    def _uneven(self, text: str, reading: abc.Reading, i: int) -> Problem:
        bar, metre = list(reading.score.metres())[i]
        full, has = Fraction(bar_ticks(metre) or WHOLE, WHOLE), Fraction(length(bar)) / WHOLE
        parts = max(4, full.denominator, has.denominator) if metre in ("C", "C|") else max(int(metre.split("/")[1]), has.denominator)
        return UnevenBar(*reading.place(i), f"a bar of {has * parts}/{parts}", f"its metre has {full * parts}/{parts}")


@functools.lru_cache(maxsize=256)
def _parse(notation: str, text: str) -> abc.Reading:
    return letters.parse(text) if notation == "letters" else abc.parse(text, strict=True)


@functools.lru_cache(maxsize=4096)
def _melody(notation: str, text: str) -> str:
    """A letter a note: steps from the tonic; of a chord the highest, notes that are tied to counted once, rests left out."""
    score = _parse(notation, text).score
    if score is None:
        return ""
    out, key, tied = [], score.key, False
    for bar in score.bars:
        key = bar.key or key
        for note in bar.notes:
            if note.pitches and not tied:
                out.append(chr(0x100 + note.pitches[-1].step - key.tonic))
            tied = note.tie
    return "".join(out)


def _common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, a row at a time in the bits of one integer (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for i, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << i
    row = full = (1 << len(a)) - 1
    for item in b:
        hits = row & places.get(item, 0)
        row = (row + hits | row - hits) & full
    return len(a) - row.bit_count()


@functools.cache
def _keys(mode: str) -> list[Key]:
    keys = [Key(tonic, alter, mode) for tonic in range(7) for alter in (-1, 0, 1)]
    return [key for key in keys if -3 <= key.fifths <= 4]


def _name(title: str) -> str:
    """ "FOGGY DEW -- REEL., THE" -> "The Foggy Dew"."""
    title = re.sub(r"\s+--?\s.*|\s*[-,]*\s*$", "", re.sub(r"\s+", " ", title))
    article = re.search(r"[.,]*\s*,\s*(the|an?)\.?$", title, re.IGNORECASE)
    title = f"{article[1]} {title[: article.start()]}" if article else title
    return " ".join(word.capitalize() for word in title.split()) if title.isupper() else title.strip(" .,")


def _group(title: str) -> str:
    title = re.sub(r"\(.*?\)", "", _name(title).lower())
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^(the|an?)\s", "", title))
