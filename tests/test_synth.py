"""What is heard: the right notes at the right time, without clicks and without clipping; and what MIDI and WAV files hold."""

from __future__ import annotations

import sys
import wave
from fractions import Fraction

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from test_score import scores, tune

from cupola.errors import MachineError
from cupola.media import synth
from cupola.media.score import played, played_lengths

BODY = "D|GAB (3cBA G|{a}g2f e>dc|1 B3-B2:|2 B3 [Gg]3||Tg4z2|[M:2/4][K:Gm]B2~e2|]"


def heard(body: str, header: str = "M:6/8\nL:1/8\nK:G\n") -> list[tuple[float, float, int]]:
    """(start, length, MIDI pitch) in eighths."""
    return [(float(s.start * 8), float(s.length * 8), s.midi) for s in synth.perform(tune(body, header))]


def test_notes_come_one_after_the_other_and_rests_are_silent():
    assert heard("G2z A>B|c6||") == [(0, 2, 67), (3, 1.5, 69), (4.5, 0.5, 71), (5, 6, 72)]


def test_repeats_and_endings_are_played_out():
    assert [midi for _, _, midi in heard("G6|1A6:|2B6||c6:|")] == [67, 69, 67, 71, 72, 72]


def test_tied_notes_are_one_note_over_bar_lines_and_into_chords():
    assert heard("G6-|G6||") == [(0, 12, 67)]
    assert sorted(heard("[GB]6-|[Gd]6||")) == [(0, 6, 71), (0, 12, 67), (6, 6, 74)]


def test_a_tie_into_a_first_ending_is_held_in_the_second_too():
    assert heard("G6-|1G6:|2G3A3||") == [(0, 12, 67), (12, 9, 67), (21, 3, 69)]


def test_triplets_take_the_time_of_two():
    third = pytest.approx(2 / 3)
    assert heard("(3GABc2||") == [(0, third, 67), (third, third, 69), (pytest.approx(4 / 3), third, 71), (2, 2, 72)]


def test_grace_notes_take_their_time_from_their_note():
    assert heard("{ga}b2||") == [(0, 0.25, 79), (0.25, 0.25, 81), (0.5, 1.5, 83)]
    assert sum(length for _, length, _ in heard("{gabgab}c/||", "M:6/8\nL:1/8\nK:G\n")) == 0.5


def test_trills_and_rolls_keep_to_the_key():
    assert {midi for _, _, midi in heard("Te4||")} == {76, 78}
    assert [midi for _, _, midi in heard("~B3||")] == [71, 72, 71, 69, 71]


@settings(max_examples=50, deadline=None)
@given(scores())
def test_a_performance_is_as_long_as_its_bars(score):
    ticks = sum(Fraction(t) for i in played(score) for t in played_lengths(score.bars[i].notes))
    sounds = synth.perform(score)
    assert max(s.start + s.length for s in sounds) <= ticks / 256
    assert all(s.length > 0 and s.start >= 0 for s in sounds)


@pytest.mark.parametrize("timbre", synth.TIMBRES)
def test_sound_is_loud_enough_never_clips_and_ends_in_silence(timbre):
    out = synth.samples(tune(BODY), timbre)
    heard_ = out[np.abs(out) > 1e-4]
    assert np.abs(out).max() <= synth.PEAK + 1e-6
    assert 20 * np.log10(np.sqrt(np.mean(heard_**2))) == pytest.approx(-18, abs=0.1) or np.abs(out).max() == pytest.approx(
        synth.PEAK, abs=1e-4
    )
    assert not out[-100:].any()


@pytest.mark.parametrize("timbre", synth.TIMBRES)
@pytest.mark.parametrize("midi", [43, 67, 79, 96])
def test_a_note_begins_and_ends_at_zero_without_a_click(timbre, midi):
    tone = synth._tone(timbre, midi, 4000)
    steps = np.abs(np.diff(tone))
    assert abs(tone[0]) < 1e-6
    assert abs(tone[-1]) < 1e-4
    assert steps[:5].max() <= steps[200:2000].max()
    assert steps[-5:].max() <= steps[200:2000].max()


@pytest.mark.parametrize(("midi", "hertz"), [(69, 440.0), (57, 220.0), (76, 659.26)])
@pytest.mark.parametrize("timbre", synth.TIMBRES)
def test_a_note_has_its_pitch(timbre, midi, hertz):
    tone = synth._tone(timbre, midi, synth.RATE)
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert np.fft.rfftfreq(len(tone), 1 / synth.RATE)[spectrum.argmax()] == pytest.approx(hertz, rel=0.01)


def test_the_tempo_is_the_tunes_or_a_usual_one():
    slow = tune("G6||", "M:6/8\nL:1/8\nQ:3/8=60\nK:G\n")
    assert synth.seconds_per_whole(slow) == pytest.approx(8 / 3)
    jig, reel, air = (synth.seconds_per_whole(tune("GGGGGG||", head + "L:1/8\nK:G\n")) for head in ("M:6/8\n", "M:C|\n", "R:air\nM:C|\n"))
    assert 1 < reel < jig < 2 < air * 1.01


def test_a_wav_file_is_mono_with_16_bits_and_the_same_every_time(tmp_path):
    first, second = (synth.write_wav(tune(BODY), tmp_path / name) for name in ("a.wav", "b.wav"))
    assert first.read_bytes() == second.read_bytes()
    with wave.open(str(first)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, synth.RATE)
        assert file.getnframes() == len(synth.samples(tune(BODY)))


def midi_notes(path) -> list[tuple[Fraction, int, int]]:
    """(start in whole notes, pitch, length in ticks) of a MIDI file."""
    file, now, on, out = mido.MidiFile(path), 0, {}, []
    for message in file.tracks[0]:
        now += message.time
        if message.type == "note_on":
            on.setdefault(message.note, []).append(now)
        elif message.type == "note_off":
            start = on[message.note].pop(0)
            out.append((Fraction(start, file.ticks_per_beat * 4), message.note, now - start))
    return out


@settings(max_examples=30, deadline=None)
@given(scores())
def test_a_midi_file_has_every_note_of_the_performance(tmp_path_factory, score):
    path = synth.write_midi(score, tmp_path_factory.mktemp("m") / "a.mid", title="naïve 🎻")
    sounds = sorted((round(s.start * 4 * synth.MIDI_TICKS), s.midi) for s in synth.perform(score))
    assert sorted((round(start * 4 * synth.MIDI_TICKS), midi) for start, midi, _ in midi_notes(path)) == sounds


def test_midi_keeps_the_tempo(tmp_path):
    path = synth.write_midi(tune("G6|G6||", "M:6/8\nL:1/8\nQ:3/8=60\nK:G\n"), tmp_path / "a.mid")
    assert mido.MidiFile(path).length == pytest.approx(4.0, abs=0.01)


def test_without_mido_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(MachineError, match=r'mido is not installed: it writes MIDI files\n  pip install "cupola\[music\]"'):
        synth.write_midi(tune(BODY), tmp_path / "a.mid")


def test_a_folder_that_is_not_there_is_an_error_not_a_crash(tmp_path):
    for write, name in ((synth.write_midi, "a.mid"), (synth.write_wav, "a.wav")):
        with pytest.raises(MachineError, match="cannot be written: No such file or directory"):
            write(tune(BODY), tmp_path / "no" / name)
