import struct
import wave

import numpy as np
import pytest
import soundfile

from cupola.errors import DataError, MachineError
from cupola.media import audio

RATE = 48_000


def tone(hertz=997.0, seconds=2.0, rate=RATE, level=1.0):
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def test_a_full_scale_sine_has_the_loudness_that_the_standard_says():
    assert audio.loudness(tone(), RATE) == pytest.approx(-3.01, abs=0.02)
    assert audio.loudness(tone(level=0.1), RATE) == pytest.approx(-23.01, abs=0.02)
    assert audio.loudness(audio.resample(tone(), RATE, 44_100), 44_100) == pytest.approx(-3.01, abs=0.02)
    assert audio.loudness(np.zeros(RATE), RATE) == float("-inf")


def test_what_is_quiet_for_most_of_its_time_is_measured_where_it_sounds():
    both = np.concatenate([tone(seconds=3), np.zeros(20 * RATE, np.float32)])
    assert audio.loudness(both, RATE) == pytest.approx(audio.loudness(tone(seconds=3), RATE), abs=0.6)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("level", [0.001, 0.2, 1.0])
def test_everything_is_brought_to_one_loudness_and_nothing_clips(seconds, level):
    out = audio.normalise(tone(seconds=seconds, level=level), RATE)
    assert audio.loudness(out, RATE) == pytest.approx(-16, abs=0.2)
    assert np.abs(out).max() < audio.PEAK


def test_a_click_is_rounded_off_rather_than_clipped():
    click = np.zeros(RATE // 2, np.float32)
    click[1000:1010] = 1
    assert np.abs(audio.normalise(click, RATE)).max() <= audio.PEAK + 1e-6


def test_files_come_back_and_stereo_becomes_its_mean(tmp_path):
    path = audio.write_wave(tone(level=0.5), RATE, tmp_path / "a b 🎵.wav")
    samples, rate = audio.read_wave(path)
    assert rate == RATE
    assert np.abs(samples - tone(level=0.5)).max() < 1e-4
    soundfile.write(tmp_path / "s.flac", np.stack([tone(level=0.5), -tone(level=0.5)], 1), RATE)
    assert np.abs(audio.read_wave(tmp_path / "s.flac")[0]).max() < 1e-6


def test_an_ogg_of_the_same_samples_has_the_same_bytes_and_opens(tmp_path):
    a, b = (audio.write_ogg(tone(level=0.5), RATE, tmp_path / f"{i}.ogg").read_bytes() for i in range(2))
    assert a == b
    samples, _ = audio.read_wave(tmp_path / "0.ogg")
    assert len(samples) == 2 * RATE
    assert audio.loudness(samples, RATE) == pytest.approx(audio.loudness(tone(level=0.5), RATE), abs=0.3)


def torn(path):
    audio.write_wave(tone(), RATE, path)
    path.write_bytes(path.read_bytes()[:5000])


def long(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 100, 0, "NONE", ""))
        file.writeframes(bytes(100 * 700))


def torn_behind_a_long_list(path):
    audio.write_wave(tone(), RATE, path)
    data = path.read_bytes()
    path.write_bytes((data[:36] + b"LIST" + struct.pack("<I", 8000) + bytes(8000) + data[36:])[:20_000])


def torn_ogg(path):
    data = audio.write_ogg(tone(), RATE, path).read_bytes()
    path.write_bytes(data[:-200])


def torn_ogg_between_pages(path):
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    data = audio.write_ogg(noise, RATE, path).read_bytes()
    path.write_bytes(data[: data.rfind(b"OggS")])


def fast(path):
    soundfile.write(path, tone(seconds=0.1), 800_000)


def with_nan(path):
    samples = tone(seconds=0.1)
    samples[77] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (torn, "cut off: 2,478 samples are there, more are announced"),
        (torn_behind_a_long_list, "cut off: 5,974 samples are there, more are announced"),
        (torn_ogg, "cut off"),
        (torn_ogg_between_pages, "cut off"),
        (fast, "800,000 samples a second, of at most 192,000"),
        (lambda path: soundfile.write(path, tone(), RATE, format="AIFF"), "not a sound that can be read: AIFF"),
        (long, "700 s long, more than the 600 s that are read"),
        (with_nan, "sample 77 is not a number"),
        (lambda path: path.write_bytes(b"abc"), "not a sound that can be read"),
        (lambda path: path.write_bytes(b"RIFF" + struct.pack("<I", 4) + b"WAVE"), "not a sound that can be read"),
        (lambda path: audio.write_wave(np.zeros(0), RATE, path), "no samples in it"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_file(tmp_path, make, what):
    path = tmp_path / "a 🎵.wav"
    make(path)
    with pytest.raises(DataError) as e:
        audio.read_wave(path)
    assert what in str(e.value)
    assert "a 🎵.wav" in str(e.value)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "DOUBLE"])
def test_any_width_of_samples_is_read(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(level=0.5), RATE, subtype=subtype)
    assert np.abs(audio.read_wave(tmp_path / "a.wav")[0] - tone(level=0.5)).max() < 0.01


def test_sounds_longer_than_a_block_come_back_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 1000)
    soundfile.write(tmp_path / "a.flac", np.stack([tone(level=0.5)] * 3, 1), RATE)
    assert np.abs(audio.read_wave(tmp_path / "a.flac")[0] - tone(level=0.5)).max() < 1e-4
    soundfile.write(tmp_path / "a.wav", np.where(np.arange(2500) == 2077, np.inf, tone()[:2500]), RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="sample 2,077 is not a number"):
        audio.read_wave(tmp_path / "a.wav")


def test_nothing_has_no_loudness_and_stays_nothing():
    assert audio.loudness(np.zeros(0), RATE) == float("-inf")
    assert len(audio.normalise(np.zeros(0), RATE)) == 0


def test_a_folder_that_is_not_there_is_a_machine_error(tmp_path):
    with pytest.raises(MachineError, match="cannot be written"):
        audio.write_wave(tone(), RATE, tmp_path / "no" / "a.wav")


def test_a_tone_stands_in_its_own_band():
    found = audio.mel(tone(1000, rate=16_000), 16_000)[10:-10].mean(0)
    bank = audio.mel_bank(16_000, 512, 48)
    assert abs(int(found.argmax()) - int(bank[:, round(1000 * 512 / 16_000)].argmax())) <= 1
    assert found.max() - np.median(found) > 30
