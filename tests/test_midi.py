import struct
import wave

import numpy as np
import pytest

from cupola.errors import DataError
from cupola.media import MEDIA, midi, synth
from cupola.media.score import WHOLE, Bar, Key, Note, Pitch, Score

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


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no MIDI file: it does not begin with MThd"),
        (b"RIFFxxxxWAVE", "no MIDI file"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 10_000, 480), "10,000 tracks, more than the 256 that are read"),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + track(*NOTE)[:-9], "damaged or cut off"),
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
