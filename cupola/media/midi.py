"""MIDI files -> tunes of one voice: the melody by its track's name, else the highest voice, and of that the top line.

Notes are put on a grid of thirty-seconds (triplets are not kept), a later note ends the one before, and bars are filled by the file's own
metre. Dropped are all other voices, drums, dynamics, pedals and changes of tempo, metre and key after the first.
"""

from __future__ import annotations

import collections
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cupola.errors import DataError, MachineError
from cupola.media.score import MODES, SCALE, WHOLE, Bar, Key, Note, Pitch, Score, bar_ticks, parse_metre

SUFFIXES = (".mid", ".midi")
LARGEST = 8 << 20  # bytes
MOST_TRACKS, MOST_NOTES, LONGEST = 256, 50_000, 3600.0  # tracks and notes of a file; seconds
GRID = WHOLE // 32  # ticks
DRUMS = 9  # the channel that has no pitches
_MELODY = re.compile(r"melod|lead|vocal|voice|solo|tune|sing|right", re.I)
_LENGTHS = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)  # ticks that one note is written with


def read(path: Path) -> tuple[Score, str]:
    """(the melody of a file, its title). Raises DataError for what is no MIDI file, cut off, too large, or has no notes but drums."""
    file = _open(path)
    names, voices, metas = _voices(file, path)
    if not voices:
        raise DataError("no notes in it but drums", str(path), "give a file with a melody")
    notes = _top_line(_melody(names, voices))
    metre = metas.get("metre", "C")
    key = metas.get("key") or _guess_key([pitch for _, _, pitch in notes])
    bars = _bars(notes, bar_ticks(metre) or WHOLE, key)
    tempo = metas.get("tempo")
    title = metas.get("title", "")
    unit = WHOLE // 8 if min(note.length for bar in bars for note in bar.notes) >= GRID else WHOLE // 16
    return Score(metre, unit, key, tuple(bars), tempo=(1, 4, tempo) if tempo else None), title


def _open(path: Path) -> Any:
    try:
        import mido
    except ImportError:
        raise MachineError("mido is not installed: it reads MIDI files", "tune", 'pip install "cupola[music]"') from None
    fix = "export it again, or leave it out"
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(f"{size:,} bytes, more than the {LARGEST:,} that are read", str(path), "cut it into shorter files")
        with path.open("rb") as held:
            head = held.read(14)
        if head[:4] != b"MThd":
            raise DataError("no MIDI file: it does not begin with MThd", str(path), fix)
        if len(head) == 14 and struct.unpack(">H", head[10:12])[0] > MOST_TRACKS:
            raise DataError(f"{struct.unpack('>H', head[10:12])[0]:,} tracks, more than the {MOST_TRACKS} that are read", str(path), fix)
        return mido.MidiFile(str(path), clip=True)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, struct.error, mido.KeySignatureError) as e:
        raise DataError(f"damaged or cut off: {str(e) or type(e).__name__}", str(path), fix) from None


def _voices(file: Any, path: Path) -> tuple[dict[Any, str], dict[Any, list[tuple[int, int, int]]], dict[str, Any]]:
    """(names, notes as (start, end, pitch) in ticks of our own) of each voice, and what the file says of metre, key, tempo and title."""
    scale = WHOLE / 4 / max(1, file.ticks_per_beat)
    names: dict[Any, str] = {}
    voices: dict[Any, list[tuple[int, int, int]]] = collections.defaultdict(list)
    metas: dict[str, Any] = {}
    count = 0
    for number, track in enumerate(file.tracks):
        now, open_, name = 0, {}, ""
        for event in track:
            now += event.time
            if event.is_meta:
                name = event.name if event.type == "track_name" else name
                _meta(event, metas)
            elif event.type in ("note_on", "note_off") and event.channel != DRUMS:
                key = (number, event.channel)
                begun = open_.pop((event.channel, event.note), None)
                if begun is not None:
                    voices[key].append((_grid(begun * scale), _grid(now * scale), event.note))
                    count += 1
                if event.type == "note_on" and event.velocity > 0:
                    open_[event.channel, event.note] = now
                names[key] = name
        if now * scale / WHOLE * 4 * 0.5 > LONGEST * 4 or count > MOST_NOTES:
            raise DataError(f"{count:,} notes, or longer than an hour", str(path), "cut it into shorter files")
        if number == 0 and name and "title" not in metas:
            metas["title"] = name
    return names, voices, metas


def _grid(ticks: float) -> int:
    return round(ticks / GRID) * GRID


def _meta(event: Any, metas: dict[str, Any]) -> None:
    """Keep the first of each."""
    if event.type == "time_signature" and "metre" not in metas and (metre := parse_metre(f"{event.numerator}/{event.denominator}")):
        metas["metre"] = metre
    elif event.type == "set_tempo" and "tempo" not in metas:
        metas["tempo"] = min(400, max(20, round(60e6 / max(1, event.tempo))))
    elif event.type == "key_signature" and "key" not in metas:
        found = re.fullmatch(r"([A-G])([#b]?)(m?)", event.key)
        if found:
            metas["key"] = Key("CDEFGAB".index(found[1]), {"": 0, "#": 1, "b": -1}[found[2]], found[3])


def _melody(names: dict[Any, str], voices: dict[Any, list[tuple[int, int, int]]]) -> list[tuple[int, int, int]]:
    """The voice whose track is called a melody, else the highest of those that have at least a third as many notes as the fullest."""
    called = [key for key in voices if _MELODY.search(names.get(key, ""))]
    fullest = max(map(len, voices.values()))
    among = called or [key for key in voices if len(voices[key]) >= fullest / 3]
    return voices[max(among, key=lambda key: (sum(pitch for _, _, pitch in voices[key]) / len(voices[key]), len(voices[key])))]


def _top_line(notes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """One note at a time: of those that begin together the highest, and each ends where the next begins."""
    highest: dict[int, tuple[int, int, int]] = {}
    for start, end, pitch in notes:
        if start not in highest or pitch > highest[start][2]:
            highest[start] = (start, max(end, start + GRID), pitch)
    line = [highest[start] for start in sorted(highest)]
    ends = [start for start, _, _ in line[1:]] + [line[-1][1]]
    first = line[0][0] // WHOLE * WHOLE
    return [(start - first, min(end, until) - first, pitch) for (start, end, pitch), until in zip(line, ends, strict=True)]


def _guess_key(pitches: Sequence[int]) -> Key:
    """The major key, of at most four sharps or three flats, whose scale has the most of the notes; the fewest signs where it is a tie."""
    counts = collections.Counter(pitch % 12 for pitch in pitches)
    keys = [Key(tonic, alter, "") for tonic in range(7) for alter in (-1, 0, 1)]
    keys = [key for key in keys if -3 <= key.fifths <= 4]
    scale = {key: {(SCALE[step] + key.alters[step]) % 12 for step in range(7)} for key in keys}
    return max(keys, key=lambda key: (sum(counts[p] for p in scale[key]), -abs(key.fifths)))


def _pitch(midi: int, key: Key) -> Pitch:
    """A pitch as the key spells it; one outside of the scale by a sharp in keys of sharps, by a flat in keys of flats."""
    octave, within = divmod(midi - 60, 12)
    for step in range(7):
        for shift in (-1, 0, 1):
            if SCALE[step] + key.alters[step] + 12 * shift == within:
                return Pitch(7 * (octave + -shift) + step, key.alters[step]) if shift else Pitch(7 * octave + step, key.alters[step])
    if within in SCALE:
        return Pitch(7 * octave + SCALE.index(within), 0)
    sharp = key.fifths + MODES[key.mode] >= 0
    step = SCALE.index(within - 1) if sharp else SCALE.index(within + 1)
    return Pitch(7 * octave + step, 1 if sharp else -1)


def _bars(notes: list[tuple[int, int, int]], full: int, key: Key) -> list[Bar]:
    """Notes and the rests between them as full bars; what crosses a bar line is tied over it."""
    pieces: list[tuple[int, int | None]] = []  # (length, pitch or None for a rest)
    now = 0
    for start, end, pitch in notes:
        if start > now:
            pieces.append((start - now, None))
        pieces.append((end - start, pitch))
        now = end
    bars: list[list[Note]] = [[]]
    left = full
    for length, pitch in pieces:
        while length > 0:
            part = next((p for p in _LENGTHS if p <= min(length, left)), min(length, left))
            length, left = length - part, left - part
            pitches = (_pitch(pitch, key),) if pitch is not None else ()
            bars[-1].append(Note(pitches, part, tie=bool(pitches) and length > 0))
            if left == 0:
                bars.append([])
                left = full
    if bars[-1] and left:
        while left > 0:
            part = next(p for p in _LENGTHS if p <= left) if left >= GRID else left
            bars[-1].append(Note((), part))
            left -= part
    kept = [Bar(tuple(bar)) for bar in bars if bar]
    return [*kept[:-1], kept[-1].closed("||")] if kept else []
