"""The codec: spectra, codebooks and phases, without files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import DataError
from cupola.media import audio, codec
from cupola.media.codec import Codebooks

RATE = 16_000


def chirp(low: float, high: float, seconds: float = 0.5) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (low * t + (high - low) * t**2 / 2 / seconds)) * np.exp(-3 * t)).astype(np.float32)


def test_more_codebooks_come_nearer():
    frames = [codec.spectra(chirp(200 + 80 * i, 900), RATE) for i in range(12)]
    every = np.concatenate(frames)
    errors = [codec.error_of(frames, Codebooks.fit(every, stages, 16)) for stages in (1, 2, 4)]
    assert errors[0] > errors[1] > errors[2]
    books = Codebooks.fit(every, 2, 16)
    assert (Codebooks.fit(every, 2, 16).vectors == books.vectors).all()  # the same every time
    assert (Codebooks.restore(books.plain()).vectors == books.vectors).all()
    with pytest.raises(DataError, match="no codebooks"):
        Codebooks.restore({"shape": [1], "float16": "??"})


def test_what_the_codebooks_hold_is_kept_exactly():
    vectors = np.random.default_rng(0).normal(-40, 20, (40, codec.STACK * codec.BANDS)).astype(np.float16).astype(float)
    books = Codebooks(vectors.astype(np.float16)[None])
    assert (books.encode(vectors)[:, 0] == np.arange(40)).all()
    assert np.abs(books.decode(books.encode(vectors)) - vectors).max() < 1e-6


def test_sound_made_from_spectra_has_those_spectra_and_its_length():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32) * np.linspace(1, 0.05, RATE, dtype=np.float32)
    wanted = codec.spectra(noise, RATE)  # of a pure tone the phases made up leave beats
    heard = codec.sound(wanted)
    assert len(heard) == pytest.approx(RATE, rel=0.03)
    assert (codec.sound(wanted) == heard).all()
    again = codec.spectra(heard, RATE)
    n = min(len(again), len(wanted))
    assert codec.error(wanted[:n], again[:n]) < 2.5  # 1.5 here; 7 where mel power is only shared out over the bins
    assert codec.error(wanted, np.full_like(wanted, -40.0)) > 9


def test_a_tone_comes_back_at_its_pitch():
    t = np.arange(RATE) / RATE
    for hertz in (220.0, 440.0, 1760.0):
        heard = codec.sound(codec.spectra((0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32), RATE))
        loudest = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))).argmax() * RATE / len(heard)
        assert loudest == pytest.approx(hertz, rel=0.12)  # a mel band is as wide as that


def test_the_spectrum_that_is_fitted_has_the_mel_bands_it_was_fitted_to():
    level = codec.spectra(chirp(300, 3000), RATE).reshape(-1, codec.BANDS)
    power = codec._power(level, 512)
    got = 10 * np.log10(np.maximum(power @ audio.mel_bank(RATE, 512, codec.BANDS).T, 1e-8))
    loud = level > level.max(1, keepdims=True) - 30
    assert np.abs(got - level)[loud].mean() < 1
    assert (power >= 0).all()


def test_silence_stays_silence():
    frames = np.full((10, codec.STACK * codec.BANDS), codec.FLOOR)
    assert np.abs(codec.sound(frames)).max() < 1e-6
    assert codec.error(frames, frames) == 0.0


def test_fewer_frames_than_codes_are_enough():
    frames = np.random.default_rng(0).normal(-40, 10, (3, codec.STACK * codec.BANDS))
    books = Codebooks.fit(frames, 2, 16)
    assert books.vectors.shape == (2, 16, codec.STACK * codec.BANDS)
    assert np.abs(books.decode(books.encode(frames)) - frames).max() < 0.1


def test_of_very_many_frames_some_are_taken_so_that_a_fit_stays_short(monkeypatch):
    seen = []
    monkeypatch.setattr(codec, "_k_means", lambda frames, k, seed: seen.append(len(frames)) or frames[:k])
    Codebooks.fit(np.zeros((3 * codec.MOST - 1, codec.STACK * codec.BANDS), np.float32), 2, 4)
    assert seen == [codec.MOST, codec.MOST]


def test_codebooks_with_a_number_that_is_none_are_refused():
    books = Codebooks(np.full((1, 2, codec.STACK * codec.BANDS), np.nan, np.float16))
    with pytest.raises(DataError, match="a number that is none"):
        Codebooks.restore(books.plain())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 12))
def test_a_further_codebook_never_makes_the_fitted_frames_worse(seed, stages, codes):
    rng = np.random.default_rng(seed)
    frames = rng.normal(-40, 15, (30, codec.STACK * codec.BANDS))
    books = Codebooks.fit(frames, stages, codes)
    left = np.abs(books.decode(books.encode(frames)) - frames).mean()
    fewer = np.abs(Codebooks(books.vectors[:1]).decode(books.encode(frames)[:, :1]) - frames).mean()
    assert left <= fewer + 1e-6
