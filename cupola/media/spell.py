"""Score -> ABC: the canonical text that a model learns, and the file that people read.

An accidental is written where the key and the bar so far do not give it; also where an accidental in another octave of the bar could be
taken for it, so that readers of ABC who let it hold in every octave play the same.
"""

from __future__ import annotations

import math
import re

from cupola.media.score import SIGNS, WHOLE, Bar, Note, Pitch, Score, beat_ends, default_tuplet, fullness, sections, written

_ACCIDENTAL = {alter: sign for sign, alter in SIGNS.items()}


def _header(score: Score) -> list[str]:
    lines = [f"R:{score.rhythm}"] if score.rhythm else []
    lines += [f"M:{score.metre}", f"L:1/{WHOLE // score.unit}"]
    lines += ["Q:{}/{}={}".format(*score.tempo)] if score.tempo else []
    return [*lines, f"K:{score.key}"]


def print_abc(score: Score) -> str:
    """The canonical ABC of a score: a line for each of R, M, L, Q and K, then a line a section. It ends without a newline."""
    lines, speller = _header(score), Speller(score)
    for first, last in sections(score):
        line = ""
        for i in range(first, last + 1):
            bar = score.bars[i]
            if bar.ending:
                line += f"[{bar.ending}" if i == first else str(bar.ending)
            line += "".join(speller.bar(bar)) + bar.close
        lines.append(line)
    return "\n".join(lines)


def print_file(score: Score, title: str = "", per_line: int = 4) -> str:
    """An ABC file of one tune: X and T, notes of a beat together, `per_line` full bars a line, repeats with both their signs."""
    lines, speller = ["X:1", f"T:{_one_line(title)}", *_header(score)], Speller(score)
    full = {i for i, is_full in fullness(score) if is_full}
    metres = [metre for _, metre in score.metres()]
    for first, last in sections(score):
        line = "|:" if score.bars[last].close == ":|" or any(bar.close == ":|" for bar in score.bars[first:last]) else ""
        count = 0
        for i in range(first, last + 1):
            bar = score.bars[i]
            if bar.ending:
                line += f"[{bar.ending} " if line in ("", "|:") else f"{bar.ending} "
            pieces, ends = speller.bar(bar), beat_ends(bar, metres[i], i == first)
            line += "".join(piece + " " * end for piece, end in zip(pieces, ends, strict=True)).rstrip()
            line += "|]" if i == len(score.bars) - 1 and bar.close == "||" else bar.close
            count += i in full
            if count == per_line and i < last and not score.bars[i + 1].ending:
                lines, line, count = [*lines, line], "", 0
        lines.append(line)
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+", " ", text).replace("%", r"\%").strip()


class Speller:
    """Writes the bars of a score, in order, as ABC."""

    def __init__(self, score: Score):
        self.unit, self.key, self.metre = score.unit, score.key, score.metre
        self.signs: dict[int, int] = {}  # of this bar: step -> alter
        self.tied: dict[int, int] = {}  # of the note before, if it is tied: without a sign of its own a pitch would take its accidental

    def bar(self, bar: Bar) -> list[str]:
        """A piece of ABC for each note (a broken pair's mark with its first), changes of metre and key in front of the first."""
        front = ""
        if bar.metre:
            self.metre, front = bar.metre, f"[M:{bar.metre}]"
        if bar.key:
            self.key, front = bar.key, front + f"[K:{bar.key}]"
        self.signs.clear()
        pieces = [self._note(note, *size) for note, size in zip(bar.notes, written(bar.notes, self.unit), strict=True)]
        return [front + pieces[0], *pieces[1:]]

    def _note(self, note: Note, ticks: int, mark: str) -> str:
        text = ""
        if note.tuplet:
            p, q, r = note.tuplet
            text = f"({p}" if (q, r) == (default_tuplet(p, self.metre), p) else f"({p}:{q}:{r}"
        if note.graces:
            text += "{" + "".join(self._pitch(pitch) for pitch in note.graces) + "}"
        pitches = "".join(self._pitch(pitch) for pitch in note.pitches) or "z"
        self.tied = {pitch.step: pitch.alter for pitch in note.pitches} if note.tie else {}
        text += note.ornament + (f"[{pitches}]" if len(note.pitches) > 1 else pitches)
        return text + _size(ticks, self.unit) + ("-" if note.tie else "") + mark

    def _pitch(self, pitch: Pitch) -> str:
        step, alter = pitch
        name, octave = "CDEFGAB"[step % 7], step // 7
        name = name + "," * -octave if octave < 1 else name.lower() + "'" * (octave - 1)
        plain = self.key.alters[step % 7]
        octaves = {a for other, a in self.signs.items() if other % 7 == step % 7}  # what an accidental in another octave may mean
        if alter == self.signs.get(step, plain) and octaves <= {alter} and self.tied.get(step, alter) == alter:
            return name
        self.signs[step] = alter
        return _ACCIDENTAL[alter] + name


def _size(ticks: int, unit: int) -> str:
    """A length as ABC has it: "" one unit, 2, 3/2, / a half, /4."""
    if ticks % unit == 0:
        return "" if ticks == unit else str(ticks // unit)
    over = unit // math.gcd(ticks, unit)
    number = ticks * over // unit
    return ("" if number == 1 else str(number)) + ("/" if over == 2 and number == 1 else f"/{over}")
