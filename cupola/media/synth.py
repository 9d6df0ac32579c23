"""Score -> what is heard: notes in time, a MIDI file, and a WAV file from a small synthesizer.

Repeats and endings are played as written, ties and tuplets exactly. Grace notes take a 1/32 note each from the note they stand before (at
most half of it); a trill alternates with the note above in 1/32 notes; a roll is note, above, note, below, note.

MIDI is written from the same performance, not by verovio, which plays endings wrongly: of 865 real tunes 92 came out otherwise.

Two timbres, both sums of partials computed once for each pitch and length: "pluck", a string whose higher partials die first, and "reed", a
steady pipe with a little vibrato. Every note begins and ends at zero, so that none clicks. A file has a root mean square of -18 dB of full
scale while it sounds, or less where its highest peak would pass -1 dB: nothing clips.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import io
import struct
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np

from cupola.errors import MachineError
from cupola.media.score import FIFTHS, MODES, WHOLE, Key, Note, Pitch, Score, bar_ticks, is_compound, played, played_lengths

RATE = 22_050  # samples a second: partials up to 11 kHz, and a minute is 2.6 MB
LOUDNESS, PEAK = 10 ** (-18 / 20), 10 ** (-1 / 20)
TIMBRES = ("pluck", "reed")
MIDI_TICKS = 960  # of a quarter note: a 1/256 note is 15, and so a triplet of any written length is a whole number
_PROGRAMS = {"pluck": 105, "reed": 73}  # General MIDI, from 0: banjo, flute
_SHORTEST = Fraction(1, 32)  # of a whole note: grace notes and the notes of a trill
_PACE = {"air": 0.6, "waltz": 0.9, "strathspey": 0.75, "hornpipe": 0.85, "clog": 0.8, "march": 0.85}  # of a reel's


@dataclasses.dataclass(frozen=True, slots=True)
class Sound:
    """One note as it is heard."""

    start: Fraction  # whole notes since the beginning
    length: Fraction  # whole notes
    midi: int


def tempo(score: Score) -> tuple[int, int, int]:
    """(3, 8, 120): 120 dotted quarters a minute. The score's own, or a usual one for its metre, unit and rhythm."""
    if score.tempo:
        return score.tempo
    pace = _PACE.get(score.rhythm, 1.0)
    if is_compound(score.metre):
        return 3, int(score.metre.split("/")[1]), round(112 * pace)
    if score.metre.startswith("3/"):
        return 1, int(score.metre.split("/")[1]), round(126 * pace)
    unit = WHOLE // score.unit
    return (4, unit, round(100 * pace)) if unit >= 8 else (2, unit, round(100 * pace))  # four units a beat, about a reel


def seconds_per_whole(score: Score) -> float:
    """How long a whole note sounds at the tune's tempo."""
    beat, unit, per_minute = tempo(score)
    return 60 / per_minute * unit / beat


def perform(score: Score) -> list[Sound]:
    """All notes in order of their start, repeats and endings played out."""
    keys, key = [], score.key
    for bar in score.bars:
        key = bar.key or key
        keys.append(key)
    sounds: list[Sound] = []
    now = Fraction(0)
    held: dict[int, int] = {}  # midi -> place in `sounds` of a note that is tied into the next
    for i in played(score):
        notes = score.bars[i].notes
        for note, ticks in zip(notes, played_lengths(notes), strict=True):
            length = Fraction(ticks) / WHOLE
            tied, held = held, {}
            for start, part, pitch in _figure(note, length, keys[i], set(tied)):
                if start == 0 and pitch in tied:
                    before = sounds[tied[pitch]]
                    sounds[tied[pitch]] = dataclasses.replace(before, length=before.length + part)
                    place = tied[pitch]
                else:
                    place = len(sounds)
                    sounds.append(Sound(now + start, part, pitch))
                if note.tie:
                    held[pitch] = place
            now += length
    return sounds


def _figure(note: Note, length: Fraction, key: Key, tied: set[int]) -> list[tuple[Fraction, Fraction, int]]:
    """(start, length, midi) of what is played for one note, from its own beginning."""
    if not note.pitches:
        return []
    top = max(note.pitches, key=lambda pitch: pitch.midi)
    graces = [pitch.midi for pitch in note.graces]
    if tied & {pitch.midi for pitch in note.pitches}:
        graces, ornament = [], ""  # it is sounding already
    else:
        ornament = note.ornament
    each = min(_SHORTEST, length / 2 / max(len(graces), 1))
    figure = [(each * i, each, midi) for i, midi in enumerate(graces)]
    start = each * len(graces)
    rest = length - start
    above, below = _beside(top, 1, key), _beside(top, -1, key)
    if ornament == "T" and rest >= 3 * _SHORTEST:
        count = int(rest / _SHORTEST) // 2 * 2 + 1
        turns = [top.midi if i % 2 == 0 else above for i in range(count)]
    elif ornament and rest >= 3 * _SHORTEST:
        turns = [top.midi, above, top.midi, below, top.midi]
    elif ornament:
        turns = [above, top.midi]
    else:
        turns = [top.midi]
    part = rest / len(turns)
    figure += [(start + part * i, part, midi) for i, midi in enumerate(turns)]
    return figure + [(start, rest, pitch.midi) for pitch in note.pitches if pitch is not top]


def _beside(pitch: Pitch, steps: int, key: Key) -> int:
    step = pitch.step + steps
    return Pitch(step, key.alters[step % 7]).midi


def write_midi(score: Score, path: Path, timbre: str = "pluck", title: str = "") -> Path:
    """The performance as a MIDI file of one track. Raises MachineError without mido, or where it cannot be written."""
    try:
        import mido
    except ImportError:
        raise MachineError("mido is not installed: it writes MIDI files", "tune", 'pip install "cupola[music]"') from None
    beat, unit, per_minute = tempo(score)
    track = mido.MidiTrack()
    name = title.encode("latin-1", "replace").decode("latin-1")
    track.append(mido.MetaMessage("track_name", name=name))
    track.append(mido.MetaMessage("set_tempo", tempo=round(60e6 / per_minute * unit / beat / 4)))
    track.append(mido.Message("program_change", program=_PROGRAMS[timbre]))
    track.append(mido.MetaMessage("key_signature", key=_signature(score.key)))
    events = [(at, 0, mido.MetaMessage("time_signature", numerator=top, denominator=bottom)) for at, top, bottom in _metres(score)]
    for sound in perform(score):
        start, end = (round(at * 4 * MIDI_TICKS) for at in (sound.start, sound.start + sound.length))
        on, off = (mido.Message(kind, note=sound.midi, velocity=loud) for kind, loud in (("note_on", 80), ("note_off", 0)))
        events += [(start, 2, on), (max(end, start + 1), 1, off)]  # at one time ends sort before beginnings
    now = 0
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=at - now))
        now = at
    file = mido.MidiFile(type=0, ticks_per_beat=MIDI_TICKS)
    file.tracks.append(track)
    try:
        file.save(str(path))
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give a folder you may write to") from None
    return path


def _signature(key: Key) -> str:
    """A key as MIDI names it, which knows major and minor only: other modes are the major key with their signs."""
    step = key.tonic if key.mode in ("", "m") else next(step for step in range(7) if (key.fifths - FIFTHS[step]) % 7 == 0)
    alter = (key.fifths + MODES["m" if key.mode == "m" else ""] - FIFTHS[step]) // 7
    return "CDEFGAB"[step] + ("b", "", "#")[alter + 1] + ("m" if key.mode == "m" else "")


def _metres(score: Score) -> list[tuple[int, int, int]]:
    """(MIDI ticks, top, bottom) of the metre and of each change; an upbeat is a bar of its own metre, as notation programs write it."""
    metres = [metre for _, metre in score.metres()]
    out: list[tuple[int, int, int]] = []
    now = Fraction(0)
    for number, i in enumerate(played(score)):
        parts = {"C": (4, 4), "C|": (2, 2), "none": (4, 4)}.get(metres[i]) or tuple(map(int, metres[i].split("/")))
        ticks = Fraction(sum(played_lengths(score.bars[i].notes))) / WHOLE
        if number == 0 and 0 < ticks < (bar_ticks(metres[i]) or 0) / WHOLE and ticks.denominator in (2, 4, 8, 16, 32):
            parts = (ticks.numerator, ticks.denominator)
        if not out or out[-1][1:] != parts:
            out.append((round(now * 4 * MIDI_TICKS), *parts))
        now += ticks
    return out


def samples(score: Score, timbre: str = "pluck") -> np.ndarray:
    """(n,) float32 in -1 to 1: the performance at RATE samples a second, with its last note's end."""
    scale = seconds_per_whole(score)
    sounds = perform(score)
    end = max((float(s.start + s.length) for s in sounds), default=0.0) * scale
    out = np.zeros(int(end * RATE) + RATE, dtype=np.float32)
    for sound in sounds:
        tone = _tone(timbre, sound.midi, max(int(float(sound.length) * scale * RATE), 1))
        at = int(float(sound.start) * scale * RATE)
        out[at : at + len(tone)] += tone[: len(out) - at]
    heard = out[np.abs(out) > 1e-4]
    if not len(heard):
        return out
    gain = min(LOUDNESS / float(np.sqrt(np.mean(heard.astype(np.float64) ** 2))), PEAK / float(np.abs(out).max()))
    return out * np.float32(gain)


@functools.lru_cache(maxsize=512)
def _tone(timbre: str, midi: int, count: int) -> np.ndarray:
    """One note that is held for `count` samples and rings a little longer: (count + release,) float32, zero at both ends."""
    hertz = 440.0 * 2 ** ((midi - 69) / 12)
    ring = int(RATE * (0.12 if timbre == "pluck" else 0.03))
    time = np.arange(count + ring, dtype=np.float64) / RATE
    partials = np.arange(1, min(12, int(0.45 * RATE / hertz)) + 1)
    if timbre == "pluck":
        strength = np.abs(np.sin(np.pi * partials * 0.21)) / partials**1.2  # plucked at about a fifth of the string
        decay = 2.2 + 0.55 * partials * (hertz / 440) ** 0.5
        tone = sum(s * np.exp(-d * time) * np.sin(2 * np.pi * hertz * k * time) for k, s, d in zip(partials, strength, decay, strict=True))
        attack = 0.003
    else:
        strength = np.where(partials % 2 == 1, 1.0, 0.45) / partials**1.6
        phase = 2 * np.pi * hertz * time + 0.06 * np.clip((time - 0.15) * 4, 0, 1) * np.sin(2 * np.pi * 5.2 * time) * hertz / 440
        tone = sum(s * np.sin(k * phase) for k, s in zip(partials, strength, strict=True))
        attack = 0.018
    rise = np.clip(time / attack, 0, 1)
    fall = np.clip((count + ring - 1 - np.arange(count + ring)) / max(ring, 1), 0, 1)
    tone = (tone * (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall)) / strength.sum()).astype(np.float32)
    tone.setflags(write=False)
    return tone


def loop(score: Score, heard: np.ndarray) -> tuple[int, int]:
    """(first sample, one past the last) between which the performance goes round: from the first full bar to the end of the last bar.

    An upbeat is played once. Both ends are moved by at most a hundredth of a second to where the wave crosses zero upwards, so that the
    step between them is no louder than the wave itself.
    """
    scale, full = seconds_per_whole(score), bar_ticks(score.metre)
    order = played(score)
    lengths = [sum(played_lengths(score.bars[i].notes)) for i in order]
    upbeat = lengths[0] if full and len(lengths) > 1 and lengths[0] < full else 0
    begin, end = (round(float(Fraction(ticks) / WHOLE) * scale * RATE) for ticks in (upbeat, sum(lengths)))
    return _at_zero(heard, begin), max(_at_zero(heard, begin) + 1, _at_zero(heard, min(end, len(heard) - 1)))


def _at_zero(heard: np.ndarray, at: int) -> int:
    """The nearest sample within a hundredth of a second at which the wave turns positive; `at` itself where there is none."""
    reach = RATE // 100
    low = max(1, at - reach)
    window = heard[low - 1 : at + reach]
    found = np.flatnonzero((window[:-1] <= 0) & (window[1:] > 0))
    return int(low + found[np.abs(found + low - at).argmin()]) if len(found) else at


def write_ogg(score: Score, path: Path, timbre: str = "pluck") -> Path | None:
    """The performance as OGG Vorbis; None, and no file, without the sounds extra. Raises MachineError where it cannot be written."""
    if importlib.util.find_spec("soundfile") is None:
        return None
    from cupola.media.audio import write_ogg as write

    return write(samples(score, timbre), RATE, path)


def write_wav(score: Score, path: Path, timbre: str = "pluck") -> Path:
    """The performance as a WAV file, mono, 16 bits, with loop points for whoever plays it round. Raises MachineError where that fails."""
    heard = samples(score, timbre)
    data = np.round(heard * 32767).astype("<i2").tobytes()
    begin, end = loop(score, heard)
    points = struct.pack("<9I", 0, 0, 10**9 // RATE, 60, 0, 0, 0, 1, 0) + struct.pack("<6I", 0, 0, begin, max(begin, end - 1), 0, 0)
    try:
        with io.BytesIO() as held:
            with wave.open(held, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(RATE)
                out.writeframes(data)
            whole = held.getvalue() + b"smpl" + struct.pack("<I", len(points)) + points
            path.write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give a folder you may write to") from None
    return path
