"""MIDI files -> tunes of one voice: the melody by its track's name, else the highest voice, and of that the top line.

Time is put on a grid. A file whose notes stand where a notation would put them (exported, not played by hand) keeps every onset and length
exactly, down to sixty-fourths, and tuplets of three, five, six, seven or nine; one that was played by hand is put on sixteenths, or on
triplet eighths in the beats where those lie nearer. Upbeats and changes of metre are the file's own. Dropped are all other voices, drums,
dynamics, pedals, and changes of tempo and key after the first.

Worked example: at 480 ticks a quarter, notes that begin at 0, 160, 320 and 480 are three in the time of two eighths and a note on the next
beat: in bar words with eighths for units Vjklm, where j is the tonic.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import re
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from cupola.errors import DataError, MachineError
from cupola.media.score import MODES, SCALE, WHOLE, Bar, Key, Note, Pitch, Score, bar_ticks, is_compound, parse_metre, with_unit

SUFFIXES = (".mid", ".midi")
LARGEST = 1 << 20  # bytes: a symphony has 300,000; what is larger is not music, and each byte read takes a hundred of memory
MOST_TRACKS, MOST_NOTES, MOST_BARS, LONGEST = 256, 50_000, 4096, 3600.0  # of a file; seconds
DRUMS = 9  # the channel that has no pitches
BEAT, SIXTEENTH, GRID = WHOLE // 4, WHOLE // 16, WHOLE // 64  # ticks
_TRIPLET = Fraction(WHOLE, 48)  # the finest triplet that tells an exported file: of sixteenths, halved
_TUPLETS = ((5, 4), (6, 4), (7, 4), (9, 8))  # p in the time of q; (3, 2) is tried before all of them
_LENGTHS = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 4)  # ticks that one note is written with
_MELODY = re.compile(r"melod|lead|vocal|voice|solo|tune|sing|right", re.I)
_NO_TITLE = re.compile(r"\W*(untitled|unnamed|new|tempo|master|conductor|piano|track|part|staff|midi|instrument|seq)\W*\w{0,8}\W*", re.I)
_FIX = "export it again, or leave it out"


class Heard(NamedTuple):
    """A note in time, in ticks of our own (WHOLE to a whole note)."""

    start: Fraction
    end: Fraction
    pitch: int


class Piece(NamedTuple):
    """What sounds from one boundary to the next, in ticks from its bar's beginning."""

    start: Fraction
    end: Fraction
    pitch: int | None  # None: a rest
    tie: bool  # held into the next piece


@dataclasses.dataclass
class _Found:
    """What a file says, its times in ticks of our own."""

    names: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)  # of a voice: (track, channel)
    voices: dict[tuple[int, int], list[Heard]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    metres: list[tuple[Fraction, str]] = dataclasses.field(default_factory=list)
    tempos: list[tuple[Fraction, int]] = dataclasses.field(default_factory=list)  # microseconds a quarter
    key: Key | None = None
    title: str = ""
    end: Fraction = Fraction(0)


def read(path: Path) -> tuple[Score, str]:
    """(the melody of a file, its title). Raises DataError for what is no MIDI file, cut off, too large, or has no notes but drums."""
    file = _open(path)
    found = _listen(file, path)
    if not found.voices:
        raise DataError("no notes in it but drums", str(path), "give a file with a melody")
    _within(found, path)
    close = Fraction(3 * BEAT, 4 * file.ticks_per_beat)  # three quarters of the file's own tick: what counts as the same time
    line = _quantised(_top_line(_melody(found)), close)
    key = _key(found.key, [note.pitch for note in line])
    bars = _bars(line, found.metres, key, close)
    if len(bars) > MOST_BARS:
        raise DataError(f"{len(bars):,} bars, more than the {MOST_BARS:,} that are read", str(path), "cut it into shorter files")
    metre = bars[0].metre
    bars[0] = dataclasses.replace(bars[0], metre="")
    bars[-1] = bars[-1].closed("||")
    return with_unit(Score(metre, WHOLE // 8, key, tuple(bars), tempo=_tempo(found.tempos, metre))), found.title


# --- the file ---


def _open(path: Path) -> Any:
    try:
        import mido
    except ImportError:
        raise MachineError("mido is not installed: it reads MIDI files", "tune", 'pip install "cupola[music]"') from None
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(f"{size:,} bytes, more than the {LARGEST:,} that are read", str(path), "cut it into shorter files")
        with path.open("rb") as held:
            head = held.read(14)
        if head[:4] != b"MThd":
            raise DataError("no MIDI file: it does not begin with MThd", str(path), _FIX)
        tracks, division = struct.unpack(">Hh", head[10:14]) if len(head) == 14 else (0, 1)
        if tracks > MOST_TRACKS:
            raise DataError(f"{tracks:,} tracks, more than the {MOST_TRACKS} that are read", str(path), _FIX)
        if division <= 0:
            raise DataError("its time is counted in frames of film, not in beats", str(path), "export it with ticks a quarter note")
        return mido.MidiFile(str(path), clip=True)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, struct.error, mido.KeySignatureError) as e:
        raise DataError(f"damaged or cut off: {str(e) or type(e).__name__}", str(path), _FIX) from None


def _listen(file: Any, path: Path) -> _Found:
    """Everything of a file that a melody may need. Raises DataError for more than 50,000 notes."""
    found, count = _Found(), 0
    for number, track in enumerate(file.tracks):
        now, name = 0, ""
        begun: dict[tuple[int, int], int] = {}

        def put(channel: int, pitch: int, start: int, end: int, number: int = number) -> None:
            found.voices[number, channel].append(Heard(_ticks(start, file), _ticks(end, file), pitch))

        for event in track:
            now += event.time
            if event.type == "track_name":
                name = name or _decoded(event.name)
            elif event.is_meta:
                _meta(event, _ticks(now, file), found)
            elif event.type in ("note_on", "note_off") and event.channel != DRUMS:
                if (start := begun.pop((event.channel, event.note), None)) is not None:
                    put(event.channel, event.note, start, now)
                if event.type == "note_on" and event.velocity > 0:
                    begun[event.channel, event.note] = now
                    count += 1
        for (channel, pitch), start in begun.items():
            put(channel, pitch, start, now)
        found.names |= {voice: name for voice in found.voices if voice[0] == number}
        found.end = max(found.end, _ticks(now, file))
        if number == 0 and not _NO_TITLE.fullmatch(name):
            found.title = name
        if count > MOST_NOTES:
            raise DataError(f"{count:,} notes, more than the {MOST_NOTES:,} that are read", str(path), "cut it into shorter files")
    return found


def _ticks(at: int, file: Any) -> Fraction:
    return Fraction(at * BEAT, file.ticks_per_beat)


def _decoded(name: str) -> str:
    """A name that was taken for Latin-1, as what it more likely is."""
    with contextlib.suppress(UnicodeError):
        name = name.encode("latin-1").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _meta(event: Any, now: Fraction, found: _Found) -> None:
    if event.type == "time_signature" and (metre := parse_metre(f"{event.numerator}/{event.denominator}")):
        found.metres.append((now, metre))
    elif event.type == "set_tempo" and event.tempo > 0:
        found.tempos.append((now, event.tempo))
    elif event.type == "key_signature" and found.key is None and (said := re.fullmatch(r"([A-G])([#b]?)(m?)", event.key)):
        found.key = Key("CDEFGAB".index(said[1]), {"": 0, "#": 1, "b": -1}[said[2]], said[3])


def _within(found: _Found, path: Path) -> None:
    """Raises DataError for a file that plays longer than an hour."""
    seconds, before, pace = 0.0, Fraction(0), 500_000
    for at, tempo in [*sorted(found.tempos), (found.end, 0)]:
        seconds += float(at - before) / BEAT * pace / 1e6
        before, pace = at, tempo
    if seconds > LONGEST:
        what = f"plays for {seconds / 60:,.0f} minutes, more than the {LONGEST / 60:.0f} that are read"
        raise DataError(what, str(path), "cut it into shorter files")


def _tempo(tempos: Sequence[tuple[Fraction, int]], metre: str) -> tuple[int, int, int] | None:
    """The first tempo as a person says it: in dotted beats where the metre has those; None where the file says none, or no sane one."""
    if not tempos:
        return None
    quarters = 60e6 / min(tempos, key=lambda tempo: tempo[0])[1]
    beat, unit = (3, int(metre.split("/")[1])) if is_compound(metre) else (1, 4)
    per_minute = round(quarters * unit / 4 / beat)
    return (beat, unit, per_minute) if 20 <= per_minute <= 400 else None


# --- which notes ---


def _melody(found: _Found) -> list[Heard]:
    """The voice whose track is called a melody, else the highest of those that have at least a third as many notes as the fullest."""
    voices = found.voices
    called = [voice for voice in voices if _MELODY.search(found.names.get(voice, ""))]
    fullest = max(map(len, voices.values()))
    among = called or [voice for voice in voices if len(voices[voice]) >= fullest / 3]
    return voices[max(among, key=lambda voice: (sum(note.pitch for note in voices[voice]) / len(voices[voice]), len(voices[voice])))]


def _top_line(notes: Iterable[Heard]) -> list[Heard]:
    """One note at a time: of those that begin together the highest, without what begins under a higher note that is held on.

    A note that laps a little over the next is legato and ends where that begins; it is held on where it lasts for half of the next or more.
    """
    line: list[Heard] = []
    for note in sorted(notes, key=lambda note: (note.start, -note.pitch)):
        if line and line[-1].start == note.start:
            continue
        if line and line[-1].pitch > note.pitch and (line[-1].end - note.start) * 2 >= max(note.end - note.start, 1):
            continue
        if line and line[-1].end > note.start:
            line[-1] = line[-1]._replace(end=note.start)
        line.append(note)
    return line


# --- onto a grid ---


def _quantised(line: list[Heard], close: Fraction) -> list[Heard]:
    """The line with its onsets and ends where a notation can have them, or nearly: what is left over `_notes` puts right."""
    written = sum(_on(note.start, close) or _on(note.start, close, _TRIPLET) for note in line)
    by_hand = written * 2 < len(line)  # of notes played by hand a tenth to a third stand on either grid by chance
    if by_hand:
        line, close = _straightened(line), Fraction(0)
    out = []
    for note, after in zip(line, [*line[1:], None], strict=True):
        start, end = _at(note.start, close), _at(note.end, close)
        following = _at(after.start, close) if after else None
        if following is not None and end >= following - close:
            end = following
        kept = end == following or (not by_hand and end > start and (_on(end, close) or _on(end, close, _TRIPLET)))
        out.append(Heard(start, end if kept else _end(start, end, following), note.pitch))
    return [note for note in out if note.end > note.start]


def _on(time: Fraction, close: Fraction, grid: Fraction | int = GRID) -> bool:
    return abs(time - round(time / grid) * grid) <= close


def _at(time: Fraction, close: Fraction) -> Fraction:
    """The time on the grid where it is as good as there, else as it is."""
    return Fraction(round(time / GRID) * GRID) if _on(time, close) else time


def _end(start: Fraction, end: Fraction, following: Fraction | None) -> Fraction:
    """Where a note that ends between the grid's places ends in writing: one let go early, as fingers do, is held up to the next."""
    if following is not None and (following - end) * 2 <= following - start:
        return following
    end = max(start + SIXTEENTH, Fraction(-(-end // SIXTEENTH) * SIXTEENTH))
    return end if following is None else min(end, following)


def _straightened(line: list[Heard]) -> list[Heard]:
    """What was played by hand, on sixteenths, or in beats where that lies nearer on triplet eighths; of what falls together the highest."""
    beats: dict[int, list[Heard]] = collections.defaultdict(list)
    for note in line:
        beats[int((note.start + SIXTEENTH // 2) // BEAT)].append(note)
    slots: dict[Fraction, Heard] = {}
    for number, notes in beats.items():
        even, three = Fraction(SIXTEENTH), Fraction(BEAT, 3)
        off = {grid: sum(abs(note.start - round(note.start / grid) * grid) for note in notes) for grid in (even, three)}
        grid = three if len(notes) in (2, 3) and off[three] * 2 < off[even] else even
        for note in notes:
            start = max(Fraction(number * BEAT), round(note.start / grid) * grid)
            if start not in slots or slots[start].pitch < note.pitch:
                slots[start] = Heard(start, note.end + start - note.start, note.pitch)
    return [slots[start] for start in sorted(slots)]


def _bars(line: list[Heard], metres: Sequence[tuple[Fraction, str]], key: Key, close: Fraction) -> list[Bar]:
    """The line, and the rests in it, cut at the file's bar lines, from the bar with its first note on; a bar with a new metre says so.

    A file that begins with one bar of another metre, no longer than it, begins with an upbeat.
    """
    changes = {Fraction(round(at / GRID) * GRID): metre for at, metre in sorted(metres)}
    first = changes.setdefault(Fraction(0), "C")
    times = sorted(changes)
    if len(times) > 1 and times[1] <= (bar_ticks(first) or WHOLE) < (bar_ticks(changes[times[1]]) or WHOLE):
        first = changes[Fraction(0)] = changes.pop(times.pop(1))
        upbeat = sorted({Fraction(round(at / GRID) * GRID) for at, _ in metres if at > 0})[0]
    else:
        upbeat = None
    bars, said, start, metre = [], "", Fraction(0), first
    at = 0  # the first note that does not end before `start`
    while at < len(line) and len(bars) <= MOST_BARS:
        metre = changes.get(start, metre)
        full = bar_ticks(metre) or WHOLE
        end = min([start + full, *(time for time in times if start < time < start + full)])
        end = upbeat if upbeat is not None and start == 0 else end
        if bars or line[0].start < end:
            inside = _inside(line, at, start, end)
            bars.append(Bar(tuple(_notes(inside, key, close)), metre=metre if metre != said else ""))
            said = metre
        while at < len(line) and line[at].end <= end:
            at += 1
        start = end
    return bars


def _inside(line: list[Heard], at: int, start: Fraction, end: Fraction) -> list[Piece]:
    """What sounds in a bar, from its beginning to its end without a gap; `at`: the first note that may."""
    pieces, now = [], start
    for note in line[at:]:
        if note.start >= end:
            break
        if note.start > now:
            pieces.append(Piece(now - start, note.start - start, None, False))
            now = note.start
        until = min(note.end, end)
        pieces.append(Piece(now - start, until - start, note.pitch, note.end > end))
        now = until
    if now < end:
        pieces.append(Piece(now - start, end - start, None, False))
    return pieces


def _notes(pieces: list[Piece], key: Key, close: Fraction) -> list[Note]:
    """A bar's pieces as they are written, tuplets where the grid has no place for them."""
    out: list[Note] = []
    for run in _runs(pieces):
        written = _exact(run, key, close)
        if written is None:  # nothing that is written like this: to the nearest place on the grid
            snapped = [p._replace(start=_nearest(p.start), end=_nearest(p.end)) for p in run]
            written = [note for p in snapped if p.end > p.start for note in _plain(p, key)]
        out += written
    return out


def _nearest(time: Fraction) -> Fraction:
    return Fraction(round(time / GRID) * GRID)


def _runs(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Pieces parted where one ends on the grid."""
    runs: list[list[Piece]] = [[]]
    for piece in pieces:
        runs[-1].append(piece)
        if piece.end % GRID == 0:
            runs.append([])
    return [run for run in runs if run]


def _exact(run: list[Piece], key: Key, close: Fraction) -> list[Note] | None:
    """A run from grid to grid as plain notes and tuplets, parted at its beats where it has to be; None where that cannot be."""
    if len(run) == 1:
        return _plain(run[0], key)
    if triplet := _tuplet(run, 3, 2, key, close):
        return triplet
    for step in (BEAT, BEAT // 2, BEAT // 4):
        cut = _cut(run, step)
        if len(cut) > len(run):
            parts = [_exact(part, key, close) for part in _runs(cut)]
            if all(part is not None for part in parts):
                return [note for part in parts for note in part or []]
            break
    return next((notes for p, q in _TUPLETS if (notes := _tuplet(run, p, q, key, close))), None)


def _cut(run: list[Piece], step: int) -> list[Piece]:
    """The pieces, cut at every multiple of `step`."""
    out = []
    for piece in run:
        start = piece.start
        while (mark := (start // step + 1) * step) < piece.end:
            out.append(Piece(start, Fraction(mark), piece.pitch, piece.pitch is not None))
            start = Fraction(mark)
        out.append(piece._replace(start=start))
    return out


def _tuplet(run: list[Piece], p: int, q: int, key: Key, close: Fraction) -> list[Note] | None:
    """The run as one tuplet, p parts of it written with the length that q have; None where its boundaries are not there."""
    start, whole = run[0].start, run[-1].end - run[0].start
    marks = [round((piece.end - start) * p / whole) for piece in run]
    if any(abs(start + whole * mark / p - piece.end) > close for mark, piece in zip(marks, run, strict=True)):
        return None
    lengths = [whole * (mark - before) / q for before, mark in zip([0, *marks], marks, strict=False)]
    if any(length <= 0 or length.denominator > 1 for length in lengths):
        return None
    notes = [Note(_pitches(piece, key), int(length), piece.tie) for piece, length in zip(run, lengths, strict=True)]
    return [notes[0]._replace(tuplet=(p, q, len(notes))), *notes[1:]]


def _plain(piece: Piece, key: Key) -> list[Note]:
    """Notes, tied together, as long as a piece that begins and ends on the grid."""
    out, left = [], int(piece.end - piece.start)
    while left > 0:
        part = next(length for length in _LENGTHS if length <= left)
        left -= part
        out.append(Note(_pitches(piece, key), part, piece.pitch is not None and (left > 0 or piece.tie)))
    return out


# --- spelling ---


def _key(said: Key | None, pitches: Sequence[int]) -> Key:
    """The key that the file says; where it says none, or the C major that programs write unasked and a tenth more fits another, that one.

    Guessed is the major key, of at most four sharps or three flats, whose scale has the most of the notes, at a tie the fewest signs; its
    minor where the tune ends on that tonic.
    """
    counts = collections.Counter(pitch % 12 for pitch in pitches)
    keys = [Key(tonic, alter, "") for tonic in range(7) for alter in (-1, 0, 1)]
    keys = [key for key in keys if -3 <= key.fifths <= 4]
    fits = {key: sum(counts[(SCALE[step] + key.alters[step]) % 12] for step in range(7)) for key in keys}
    best = max(keys, key=lambda key: (fits[key], -abs(key.fifths)))
    if said is not None and (said.fifths or fits[best] - fits[Key(0, 0, "")] < len(pitches) / 10):
        return said
    step = (best.tonic + 5) % 7
    minor = Key(step, best.alters[step], "m")
    return minor if pitches[-1] % 12 == (SCALE[step] + minor.alter) % 12 else best


def _pitches(piece: Piece, key: Key) -> tuple[Pitch, ...]:
    return () if piece.pitch is None else (_pitch(piece.pitch, key),)


def _pitch(midi: int, key: Key) -> Pitch:
    """A pitch as the key spells it; one outside of the scale by a sharp in keys of sharps, by a flat in keys of flats."""
    octave, within = divmod(midi - 60, 12)
    for step in range(7):
        for shift in (-1, 0, 1):
            if SCALE[step] + key.alters[step] + 12 * shift == within:
                return Pitch(7 * (octave - shift) + step, key.alters[step])
    if within in SCALE:
        return Pitch(7 * octave + SCALE.index(within), 0)
    sharp = key.fifths + MODES[key.mode] >= 0
    step = SCALE.index(within - 1) if sharp else SCALE.index(within + 1)
    return Pitch(7 * octave + step, 1 if sharp else -1)
