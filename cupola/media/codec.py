"""Recorded sound <-> codes: mel frames, quantised stage by stage by codebooks that k-means fits to a corpus, and back by Griffin-Lim.

A frame is `STACK` neighbouring mel spectra of 48 bands, 12.5 ms apart. The first codebook takes the nearest of its vectors, the next one
the nearest to what is left, and so on (residual quantisation). Nothing is trained by gradient, and a corpus of minutes fits in seconds.

Source: residual vector quantisation as in Juang and Gray 1982; phases by Griffin and Lim 1984, with the momentum of Perraudin, Balazs and
Søndergaard 2013.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from cupola.errors import DataError
from cupola.media import audio

RATE = 16_000  # samples a second
BANDS, HOP, WINDOW = 48, 0.0125, 0.032  # mel bands; seconds
STACK = 2
FLOOR = -80.0  # dB
ROUNDS = 30  # of k-means, and of Griffin-Lim
FITS = 20  # rounds in which a spectrum is fitted to its mel bands
MOMENTUM = 0.99
MOST = 20_000  # frames that codebooks are fitted to, eight minutes: of more every second one, third one ...
SECONDS = HOP * STACK  # of a frame


def spectra(samples: np.ndarray, rate: int) -> np.ndarray:
    """(frames, STACK * BANDS): stacked log mel spectra in dB of any sound, the last one filled up with silence."""
    found = audio.mel(audio.resample(samples, rate, RATE), RATE, bands=BANDS, hop=HOP, window=WINDOW)[:-1]
    short = -len(found) % STACK
    return np.pad(found, ((0, short), (0, 0)), constant_values=FLOOR).reshape(-1, STACK * BANDS)


@dataclasses.dataclass(frozen=True)
class Codebooks:
    """(stages, codes, STACK * BANDS) float16, in dB."""

    vectors: np.ndarray

    @classmethod
    def fit(cls, frames: np.ndarray, stages: int, codes: int, seed: int = 0) -> Self:
        """From (N, STACK * BANDS) frames, at most 20,000 spread over all; fewer frames than codes leave codes unused."""
        left, books = np.asarray(frames[:: -(-len(frames) // MOST)], np.float64), []
        for stage in range(stages):
            book = _k_means(left, codes, seed + stage).astype(np.float16)
            books.append(book)
            left = left - book[_nearest(left, book)]
        return cls(np.stack(books))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """(N, stages) int: which vector of each stage."""
        left, out = np.asarray(frames, np.float64), []
        for book in self.vectors:
            at = _nearest(left, book)
            left = left - book[at]
            out.append(at)
        return np.stack(out, 1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(N, stages) -> (N, STACK * BANDS) in dB."""
        return sum(book.astype(np.float64)[codes[:, stage]] for stage, book in enumerate(self.vectors))  # pyrefly: ignore

    def plain(self) -> dict[str, Any]:
        return {"shape": list(self.vectors.shape), "float16": base64.b64encode(self.vectors.tobytes()).decode()}

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> Self:
        """Raises DataError for what `plain` does not give."""
        try:
            vectors = np.frombuffer(base64.b64decode(plain["float16"], validate=True), np.float16).reshape(plain["shape"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no codebooks: {e}", "settings", "the medium's settings are damaged; make the corpus again") from None
        if not np.isfinite(vectors).all():
            raise DataError("no codebooks: a number that is none", "settings", "the medium's settings are damaged; make the corpus again")
        return cls(vectors)


def _nearest(frames: np.ndarray, book: np.ndarray) -> np.ndarray:
    book = book.astype(np.float64)
    squares = (book**2).sum(1)
    parts = [(squares - 2 * part @ book.T).argmin(1) for part in np.array_split(frames, -(-len(frames) // 4096) or 1)]
    return np.concatenate(parts)


def _k_means(frames: np.ndarray, k: int, seed: int) -> np.ndarray:
    """(k, D) centres by k-means++ and Lloyd's rounds; the same for the same seed."""
    rng = np.random.default_rng(seed)
    centres = frames[[int(rng.integers(len(frames)))]]
    columns = np.ascontiguousarray(frames.T)
    near = ((frames - centres[0]) ** 2).sum(1)
    while len(centres) < k:
        total = near.sum()
        at = int(rng.choice(len(frames), p=near / total)) if total > 0 else int(rng.integers(len(frames)))
        centres = np.vstack([centres, frames[at]])
        near = np.minimum(near, ((frames - frames[at]) ** 2).sum(1))
    for _ in range(ROUNDS):
        owner = _nearest(frames, centres)
        mass = np.bincount(owner, minlength=k)
        sums = np.stack([np.bincount(owner, column, minlength=k) for column in columns], 1)
        new = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1)[:, None], centres)
        if np.allclose(new, centres, atol=1e-3):
            break
        centres = new
    return centres


# --- back to sound ---


@functools.lru_cache(2)
def _spread(size: int) -> np.ndarray:
    """(BANDS, size // 2 + 1): mel power shared out over the bins, each taking from its bands in the shares in which it gave."""
    bank = audio.mel_bank(RATE, size, BANDS)
    return bank / np.maximum(bank.sum(0), 1e-9)


def _power(level: np.ndarray, size: int) -> np.ndarray:
    """(frames, size // 2 + 1): a power spectrum whose mel bands are `level`, (frames, BANDS) in dB.

    Sharing out alone blurs every peak over its neighbours; multiplicative updates (Lee and Seung 2001, divergence) bring the bands back.
    """
    wanted = np.where(level > FLOOR + 1, 10 ** (level / 10), 0.0)
    bank, spread = audio.mel_bank(RATE, size, BANDS), _spread(size)
    power = wanted @ spread
    for _ in range(FITS):
        power *= (wanted / np.maximum(power @ bank.T, 1e-12)) @ spread
    return power


def sound(frames: np.ndarray, seed: int = 0) -> np.ndarray:
    """(N,) float32 at 16,000 samples a second from (frames, STACK * BANDS) in dB; the same for the same seed."""
    size = 1 << round(np.log2(WINDOW * RATE))
    hop = round(HOP * RATE)
    magnitude = np.sqrt(_power(np.asarray(frames, np.float64).reshape(-1, BANDS), size)) * size / 4
    rng = np.random.default_rng(seed)
    current = magnitude * np.exp(2j * np.pi * rng.random(magnitude.shape))
    before = np.zeros_like(current)
    for _ in range(ROUNDS):
        rebuilt = audio.spectrum(_overlap_add(current, size, hop), size, hop)[: len(magnitude)]
        moved = rebuilt - MOMENTUM / (1 + MOMENTUM) * before
        before = rebuilt
        current = magnitude * moved / np.maximum(np.abs(moved), 1e-12)
    return _overlap_add(current, size, hop).astype(np.float32)


def _overlap_add(spectrum: np.ndarray, size: int, hop: int) -> np.ndarray:
    """The inverse of audio.spectrum, windows overlapping."""
    window = np.hanning(size + 1)[:-1]
    pieces = np.fft.irfft(spectrum, size, axis=1) * window
    length = (len(pieces) - 1) * hop + size
    out, weight = np.zeros(length), np.zeros(length)
    for i, piece in enumerate(pieces):
        out[i * hop : i * hop + size] += piece
        weight[i * hop : i * hop + size] += window**2
    out = out / np.maximum(weight, 1e-3)
    return out[size // 2 : size // 2 + len(pieces) * hop]


def error(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference in dB of two stacks of spectra of one length, silence (under -60 dB in both) left out."""
    heard = np.maximum(a, b) > -60.0
    return float(np.sqrt(((np.maximum(a, -70) - np.maximum(b, -70))[heard] ** 2).mean())) if heard.any() else 0.0


def error_of(frames: Sequence[np.ndarray], books: Codebooks) -> float:
    """The error that the codebooks leave, over some sounds."""
    every = np.concatenate(list(frames))
    return error(every, books.decode(books.encode(every)))
