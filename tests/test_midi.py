"""Tunes from MIDI files: which notes, when, and how they are written; and the loop points of a WAV."""

import struct
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_score import real_tunes

from cupola.errors import CupolaError, DataError
from cupola.media import MEDIA, midi, synth
from cupola.media.score import WHOLE, Bar, Key, Note, Pitch, Score, length

TUNE = MEDIA["tune"]
TEXT = "jig sixeight eighth g\njHhH ghjjlB <lsopnp> & S"


def bars(*lines: str, length: int = 32) -> tuple[Bar, ...]:
    """Bars of eighths, a letter of the scale of C a note, z a rest."""
    made = [Bar(tuple(Note((Pitch("CDEFGAB".index(c), 0),) if c != "z" else (), length) for c in line)) for line in lines]
    return (*made[:-1], made[-1].closed("||"))


SCORE = Score("C", 32, Key(0, 0, ""), bars("CDEFGABz", "CEGECEGE", "DFADFADF", "CCGGAAGz"), tempo=(1, 4, 100))


def heard(score: Score) -> list[tuple]:
    return [(s.start, s.length, s.midi) for s in synth.perform(score)]


def track(*events, name="", ticks=480):
    """A file of one track, written by hand: (time, message bytes)."""
    body = (b"\x00\xff\x03" + bytes([len(name)]) + name.encode()) if name else b""
    for wait, message in events:
        body += bytes([wait]) + message
    body += b"\x00\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(body)) + body


def test_a_tune_comes_back_from_its_midi_file_note_for_note(tmp_path):
    score, _ = midi.read(synth.write_midi(SCORE, tmp_path / "a.mid", title="Mine"))
    assert heard(score) == heard(SCORE)
    assert (score.metre, score.key, score.tempo) == ("C", Key(0, 0, ""), (1, 4, 100))
    (document,) = TUNE.read(tmp_path / "a.mid")
    assert TUNE.check(document.text) == []
    assert document.name == "Mine"


def test_notes_across_bar_lines_are_tied_and_pitches_are_spelt_by_the_key(tmp_path):
    long = Score("3/4", 32, Key(4, 0, ""), (
        Bar((Note((Pitch(3, 1),), 96, tie=True), Note((Pitch(3, 1),), 96))), Bar((Note((Pitch(4, 0),), 192),)),
        Bar((Note((Pitch(1, 0),), 192),)), Bar((Note((Pitch(0, 1),), 192),), "||"),
    ))  # fmt: skip
    score, _ = midi.read(synth.write_midi(long, tmp_path / "a.mid"))
    assert heard(score) == heard(long)
    assert {p for bar in score.bars for note in bar.notes for p in note.pitches} == {Pitch(3, 1), Pitch(4, 0), Pitch(1, 0), Pitch(0, 1)}


def test_of_several_voices_the_one_called_a_melody_is_taken_and_of_that_the_top_line(tmp_path):
    import mido

    file = mido.MidiFile(ticks_per_beat=480)
    for name, pitches in (("Drums", [36]), ("High strings", [90, 91]), ("Lead vocal", [60, 64]), ("Bass", [40])):
        part = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
        channel = 9 if name == "Drums" else 0
        for _ in range(16):
            part += [mido.Message("note_on", note=p, velocity=90, channel=channel) for p in pitches]
            part += [mido.Message("note_off", note=p, time=480 if i == 0 else 0, channel=channel) for i, p in enumerate(pitches)]
        file.tracks.append(part)
    file.save(tmp_path / "a.mid")
    score, _ = midi.read(tmp_path / "a.mid")
    assert {sound.midi for sound in synth.perform(score)} == {64}
    file.tracks.pop(2)
    file.save(tmp_path / "b.mid")
    assert {sound.midi for sound in synth.perform(midi.read(tmp_path / "b.mid")[0])} == {91}


NOTE = [(0, b"\x90\x3c\x40"), (96, b"\x80\x3c\x40")]
SLOW = [(0, b"\xff\x51\x03\xff\xff\xff"), (127, b"\x90\x3c\x40"), (127, b"\x80\x3c\x40")]  # a beat lasts 17 seconds


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no MIDI file: it does not begin with MThd"),
        (b"RIFFxxxxWAVE", "no MIDI file"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 10_000, 480), "10,000 tracks, more than the 256 that are read"),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + track(*NOTE)[:-9], "damaged or cut off"),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 0xE728) + track(*NOTE), "counted in frames of film"),
        (
            b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1) + track(*NOTE, (0, b"\x90\x3e\x40"), (127, b"\x80\x3e\x40"), *SLOW),
            "minutes, more than",
        ),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + bytes(1 << 20), "bytes, more than the 1,048,576 that are read"),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + track((0, b"\x99\x24\x40"), (9, b"\x89\x24\x40")), "no notes in it but drums"),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + track(*NOTE), "no tune: 1 bars"),
    ],
)
def test_what_is_no_tune_says_why(tmp_path, data, what):
    path = tmp_path / "my tune 🎵.mid"
    path.write_bytes(data)
    with pytest.raises(DataError) as e:
        list(TUNE.read(path))
    assert what in str(e.value)
    assert "my tune 🎵.mid" in str(e.value)


# --- everything that sounds comes back ---


@st.composite
def voices(draw) -> Score:
    """One voice on the grid: every length, ties, rests, triplets on their beats, repeats and endings, upbeats."""
    steps = st.integers(-4, 12)
    metre = draw(st.sampled_from(["C", "3/4", "6/8", "2/4"]))
    full = {"C": 256, "3/4": 192, "6/8": 192, "2/4": 128}[metre]
    key = draw(st.sampled_from([Key(0, 0, ""), Key(1, 0, ""), Key(6, -1, ""), Key(5, 0, "m")]))

    def pitch() -> tuple[Pitch, ...]:
        step = draw(steps)
        return (Pitch(step, key.alters[step % 7]),)

    def filled(room: int) -> tuple[Note, ...]:
        notes: list[Note] = []
        at = 0
        while at < room:
            beat = [size for size in (32, 64, 128) if at % size == 0 and at + size <= room]
            if beat and draw(st.integers(0, 3)) == 0:
                size = draw(st.sampled_from(beat))
                notes += [
                    Note(pitch() if draw(st.integers(0, 4)) else (), size // 2, tuplet=(3, 2, 3) if i == 0 else None) for i in range(3)
                ]
            else:
                size = draw(st.sampled_from([n for n in (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192) if at + n <= room]))
                notes.append(Note(pitch() if draw(st.integers(0, 5)) else (), size))
            at += size
        return tuple(notes)

    bars = [Bar(filled(full)) for _ in range(draw(st.integers(2, 5)))]
    bars = [Bar((Note(pitch(), 32),)), *bars] if draw(st.booleans()) else bars
    bars[-2:] = [Bar(bars[-2].notes, ":|", 1), Bar(bars[-1].notes, "||", 2)] if draw(st.booleans()) else bars[-2:]
    bars[0] = Bar((Note(pitch(), bars[0].notes[0].length), *bars[0].notes[1:])) if not bars[0].notes[0].tuplet else bars[0]
    tempo = draw(st.sampled_from([(1, 4, 90), (1, 4, 133), (3, 8, 60)]))
    return Score(metre, 32, key, (*bars[:-1], bars[-1].closed("||")), tempo=tempo)


def line(score: Score) -> list[tuple]:
    """(start, length, midi) from the first note on, of notes that begin together the highest."""
    top: dict = {}
    for sound in synth.perform(score):
        if sound.start not in top or sound.midi > top[sound.start].midi:
            top[sound.start] = sound
    return [(s.start - min(top), s.length, s.midi) for _, s in sorted(top.items())]


@settings(max_examples=40, deadline=None)
@given(voices())
def test_every_note_of_one_voice_comes_back_with_its_onset_and_its_length(tmp_path_factory, score):
    if not synth.perform(score):
        return
    again, _ = midi.read(synth.write_midi(score, tmp_path_factory.mktemp("m") / "a.mid"))
    assert line(again) == line(score)
    assert again.key.fifths == score.key.fifths
    text = TUNE._print(again)
    assert TUNE._print(TUNE._parse(text).score) == text


@pytest.mark.slow
def test_two_hundred_real_tunes_come_back_note_for_note(tmp_path):
    """But for trills longer than nine notes, whose parts no notation has, and lower notes of chords."""
    tunes = [score for score in real_tunes(every=29)][:215]
    same = plain = plain_same = 0
    for score in tunes:
        again, _ = midi.read(synth.write_midi(score, tmp_path / "a.mid"))
        near = [abs(a - b) < 1e-3 for x, y in zip(line(score), line(again), strict=False) for a, b in zip(x, y, strict=True)]
        good = all(near) and len(line(score)) == len(line(again))
        ornate = any(note.ornament for bar in score.bars for note in bar.notes)
        same, plain, plain_same = same + good, plain + (not ornate), plain_same + (good and not ornate)
        assert again.key.fifths == score.key.fifths
    assert len(tunes) >= 200
    assert plain_same == plain
    assert same >= 0.95 * len(tunes)


def test_an_upbeat_and_a_change_of_metre_stay_where_they_were(tmp_path):
    changed = Score("3/4", 32, Key(0, 0, ""), (
        Bar((Note((Pitch(4, 0),), 64),)), *bars("CDEFGA", "C")[:1],
        Bar(bars("CDEF")[0].notes, metre="2/4"), *bars("CDEF", "GABz"),
    ))  # fmt: skip
    again, _ = midi.read(synth.write_midi(changed, tmp_path / "a.mid"))
    assert [length(bar) for bar in again.bars] == [64, 192, 128, 128, 128]
    assert (again.metre, [bar.metre for bar in again.bars]) == ("3/4", ["", "", "2/4", "", ""])
    assert TUNE.check(TUNE._print(again)) == []


def song(*notes: tuple[int, int, int], ticks: int = 480, **said):
    """A file with (start, end, pitch) in ticks, and what else it says."""
    import mido

    events = [(s, 1, p) for s, _, p in notes] + [(e, 0, p) for _, e, p in notes]
    part, now = mido.MidiTrack([mido.MetaMessage(kind, **values) for kind, values in said.items()]), 0
    for at, on, pitch in sorted(events):
        part.append(mido.Message("note_on", note=pitch, velocity=80 * on, time=at - now))
        now = at
    file = mido.MidiFile(type=0, ticks_per_beat=ticks)
    file.tracks.append(part)
    return file


def saved(file, path):
    file.save(str(path))
    return path


LONG = ((1920, 3840, 72), (3840, 7680, 72))


def test_the_worked_example_of_the_module_is_a_triplet(tmp_path):
    path = saved(
        song((0, 160, 72), (160, 320, 74), (320, 480, 76), (480, 1920, 77), (1920, 3840, 72), (3840, 7680, 72)), tmp_path / "a.mid"
    )
    (document,) = TUNE.read(path)
    assert document.text.split("\n")[1].startswith("VqrstF")
    assert [s.length for s in synth.perform(midi.read(path)[0])][:3] == [pytest.approx(1 / 12)] * 3


def test_notes_let_go_early_are_written_up_to_the_next_and_real_rests_stay(tmp_path):
    path = saved(song((0, 430, 72), (480, 910, 74), (960, 1390, 76), (1920, 2350, 77), (2400, 2830, 77)), tmp_path / "a.mid")
    assert [(float(s.start * 4), float(s.length * 4)) for s in synth.perform(midi.read(path)[0])] == [
        (0, 1),
        (1, 1),
        (2, 1),
        (4, 1),
        (5, 1),
    ]


def test_what_was_played_by_hand_is_put_on_sixteenths(tmp_path):
    rng = np.random.default_rng(3)
    starts = [480 * i + int(rng.integers(-35, 36)) for i in range(1, 33)]
    ends = [s + 440 for s in starts]
    path = saved(song(*zip(starts, ends, [60 + i % 8 for i in range(32)], strict=True)), tmp_path / "a.mid")
    heard_ = synth.perform(midi.read(path)[0])
    assert [float(s.start * 4) for s in heard_] == list(range(1, 33))
    assert {float(s.length * 4) for s in heard_[:-1]} == {1.0}


def test_a_lower_note_under_a_held_one_is_another_voice_and_a_little_overlap_is_legato(tmp_path):
    path = saved(song((0, 960, 76), (480, 960, 60), (960, 1500, 74), (1440, 1920, 72)), tmp_path / "a.mid")
    assert [(float(s.start * 4), float(s.length * 4), s.midi) for s in synth.perform(midi.read(path)[0])] == [
        (0, 2, 76),
        (2, 1, 74),
        (3, 1, 72),
    ]


def test_a_note_that_is_never_let_go_lasts_to_the_end_of_its_track(tmp_path):
    import mido

    file = song((0, 480, 72), (480, 960, 74))
    file.tracks[0].pop()
    file.tracks[0].append(mido.MetaMessage("end_of_track", time=960))
    assert [float(s.length * 4) for s in synth.perform(midi.read(saved(file, tmp_path / "a.mid"))[0])] == [1, 2]


@pytest.mark.parametrize(
    ("pitches", "said", "key"),
    [
        ([62, 64, 66, 67, 69, 71, 73, 74], {}, Key(1, 0, "")),
        ([62, 64, 66, 67, 69, 71, 73, 74], {"key_signature": {"key": "C"}}, Key(1, 0, "")),  # what programs write unasked
        ([62, 64, 66, 67, 69, 71, 73, 74], {"key_signature": {"key": "Bm"}}, Key(6, 0, "m")),
        ([69, 71, 72, 74, 76, 72, 71, 69], {}, Key(5, 0, "m")),
        ([60, 62, 64, 65, 67, 69, 71, 72], {}, Key(0, 0, "")),
    ],
)
def test_the_key_is_the_files_own_or_the_one_that_fits_the_notes(tmp_path, pitches, said, key):
    notes = [(480 * i, 480 * i + 480, pitch) for i, pitch in enumerate(pitches)]
    assert midi.read(saved(song(*notes, **said), tmp_path / "a.mid"))[0].key == key


@pytest.mark.parametrize(
    ("said", "title"), [("Ünter der Brücke".encode().decode("latin-1"), "Ünter der Brücke"), ("Track 1", ""), ("untitled", "")]
)
def test_a_title_is_read_in_its_own_letters_and_none_is_made_of_what_programs_write(tmp_path, said, title):
    notes = [(480 * i, 480 * i + 480, 60 + i) for i in range(8)]
    assert midi.read(saved(song(*notes, track_name={"name": said}), tmp_path / "a.mid"))[1] == title


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_a_tune_or_says_what_is_wrong(tmp_path_factory, data):
    path = synth.write_midi(SCORE, tmp_path_factory.mktemp("m") / "a.mid")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    try:
        (document,) = TUNE.read(path)
    except CupolaError as e:
        assert str(path) in str(e)  # noqa: PT017 - either way is right
    else:
        assert TUNE.syntax(document.text) == []


# --- what is written ---


def test_a_wav_has_loop_points_that_do_not_click(tmp_path):
    path = synth.write_wav(SCORE, tmp_path / "a.wav")
    data = path.read_bytes()
    at = data.index(b"smpl") + 8
    begin, end = struct.unpack_from("<2I", data, at + 36 + 8)
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)
    whole = 4 * 4 * 60 / 100 * synth.RATE
    assert abs((end - begin + 1) - whole) <= synth.RATE // 50
    step = abs(samples[end] - samples[begin])
    assert step <= np.percentile(np.abs(np.diff(samples)), 99)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8


def test_an_upbeat_is_outside_of_the_loop():
    upbeat = Score("C", 32, Key(0, 0, ""), (Bar((Note((Pitch(4, 0),), 32),)), *SCORE.bars), tempo=(1, 4, 100))
    heard_ = synth.samples(upbeat)
    begin, _ = synth.loop(upbeat, heard_)
    assert begin == pytest.approx(0.3 * synth.RATE, abs=synth.RATE // 100)
    assert WHOLE == 256
