"""Sound in and out: files as mono samples, loudness as broadcasters measure it, and the mel spectrum that distances are taken in."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from cupola.errors import DataError, MachineError

LONGEST = 600.0  # seconds of a file
FASTEST = 192_000  # samples a second
FORMATS = ("WAV", "WAVEX", "FLAC", "OGG")
BLOCK = 1 << 18  # samples of each channel read at once
TARGET = -16.0  # LUFS that everything is written at, within one
PEAK = 10 ** (-1 / 20)  # of full scale: nothing comes nearer
QUIET = 10 ** (-50 / 20)  # a peak under this is silence


def read_wave(path: Path) -> tuple[np.ndarray, int]:
    """((N,) float32 mono, samples a second) of a WAV, FLAC or OGG; several channels become their mean.

    Raises DataError for what is no sound, cut off, empty, longer than ten minutes, or has samples that are no numbers; MachineError
    without soundfile.
    """
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(path) as file:
            _check_form(file, path)
            expected, rate = file.frames, file.samplerate
            parts, at = [], 0
            while len(part := file.read(BLOCK, dtype="float32", always_2d=True)):  # eight channels never lie in memory at once
                if not (good := np.isfinite(part).all(1)).all():
                    raise DataError(f"sample {at + int(good.argmin()):,} is not a number", str(path), "save it again from where it came")
                parts.append(part.mean(1, dtype=np.float64).astype(np.float32))
                at += len(part)
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError, ValueError) as e:
        said = str(e).partition("': ")[2] or str(e)
        raise DataError(f"not a sound that can be read: {said}", str(path), "save it as WAV, FLAC or OGG, or leave it out") from None
    if at < expected or _cut_off(path):
        raise DataError(f"cut off: {at:,} samples are there, more are announced", str(path), "fetch or save it again")
    if not at:
        raise DataError("no samples in it", str(path), "leave it out")
    return np.concatenate(parts), rate


def _check_form(file: Any, path: Path) -> None:
    """Raise DataError for another kind of file, a rate that no recorder has, and what is too long: FLAC makes hours of silence small."""
    if file.format not in FORMATS:
        raise DataError(f"not a sound that can be read: {file.format_info}", str(path), "save it as WAV, FLAC or OGG, or leave it out")
    if file.samplerate > FASTEST:
        raise DataError(f"{file.samplerate:,} samples a second, of at most {FASTEST:,}", str(path), "save it again at 44,100")
    if file.frames > LONGEST * file.samplerate:
        what = f"{file.frames / file.samplerate:,.0f} s long, more than the {LONGEST:.0f} s that are read"
        raise DataError(what, str(path), "cut it into shorter sounds")


def _cut_off(path: Path) -> bool:
    """Whether a file ends before its sound does; libsndfile reads a WAV or OGG like that in silence."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"OggS":
            file.seek(max(0, path.stat().st_size - 65_536))  # a page has 65,307 bytes at most
            tail = file.read()
            page = tail[max(0, tail.rfind(b"OggS")) :]
            if page[:4] != b"OggS" or len(page) < 27 or not page[5] & 4:  # the last page says that it is
                return True
            return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return False
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                return size != 0xFFFFFFFF and file.tell() + size > path.stat().st_size
            file.seek(size + size % 2, 1)
    return False


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError:
        raise MachineError("sounds need soundfile", "soundfile", 'pip install "cupola[sounds]"') from None
    return soundfile


def write_wave(samples: np.ndarray, rate: int, path: Path) -> Path:
    """16 bits, mono. Raises MachineError where it cannot be written."""
    return _write(samples, rate, path, "WAV", "PCM_16")


def write_ogg(samples: np.ndarray, rate: int, path: Path) -> Path:
    """Vorbis in OGG, mono; the same samples give the same bytes, which libsndfile's serial number by chance would prevent."""
    _write(samples, rate, path, "OGG", "VORBIS")
    try:
        path.write_bytes(_renumbered(path.read_bytes()))
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give another folder") from None
    return path


@functools.cache
def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(crc)
    return table


def _renumbered(data: bytes) -> bytes:
    """An OGG stream with serial number 1, the checksum of each page made anew (RFC 3533)."""
    table, out, at = _crc_table(), bytearray(), 0
    while data[at : at + 4] == b"OggS":
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        page = bytearray(data[at:end])
        page[14:18], page[22:26] = (1).to_bytes(4, "little"), bytes(4)
        crc = 0
        for byte in page:
            crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
        page[22:26] = crc.to_bytes(4, "little")
        out += page
        at = end
    return bytes(out)


def _write(samples: np.ndarray, rate: int, path: Path, kind: str, subtype: str) -> Path:
    soundfile = _soundfile()
    try:
        with path.open("wb") as file:  # ours to open, so that a full disk is an OSError with its reason
            soundfile.write(file, np.asarray(samples, np.float32), rate, format=kind, subtype=subtype)
    except (OSError, soundfile.LibsndfileError, RuntimeError) as e:
        raise MachineError(
            f"cannot be written: {getattr(e, 'strerror', None) or e}", str(path), "free space, or give another folder"
        ) from None
    return path


# --- loudness -----------------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(16)
def _k_weighting(rate: int) -> np.ndarray:
    """Second-order sections of the two filters of BS.1770, made for any rate from their analogue constants.

    Source: ITU-R BS.1770-4, annex 1; constants as in the EBU's libebur128.
    """
    sections = []
    f, gain, q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k, high = math.tan(math.pi * f / rate), 10 ** (gain / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    sections.append(
        [
            (high + band * k / q + k * k) / a0,
            2 * (k * k - high) / a0,
            (high - band * k / q + k * k) / a0,
            1.0,
            2 * (k * k - 1) / a0,
            (1 - k / q + k * k) / a0,
        ]
    )
    f, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * f / rate)
    a0 = 1 + k / q + k * k
    sections.append([1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])
    return np.array(sections)


def loudness(samples: np.ndarray, rate: int) -> float:
    """Integrated loudness in LUFS, gated as BS.1770-4 says; -inf for silence.

    What is shorter than its block of 400 ms is one block as long as it is: a click is not called quiet for the silence behind it.
    """
    if not len(samples):
        return -math.inf
    weighted = signal.sosfilt(_k_weighting(rate), np.asarray(samples, np.float64))
    size, step = round(0.4 * rate), round(0.1 * rate)
    starts = range(0, max(1, len(weighted) - size + 1), step)
    power = np.array([np.mean(weighted[s : s + size] ** 2) for s in starts])
    with np.errstate(divide="ignore"):
        levels = -0.691 + 10 * np.log10(power)
        kept = power[levels > -70]
        if not len(kept):
            return -math.inf
        relative = -0.691 + 10 * np.log10(kept.mean()) - 10
    return float(-0.691 + 10 * np.log10(power[levels > max(-70.0, relative)].mean()))


def normalise(samples: np.ndarray, rate: int, lufs: float = TARGET) -> np.ndarray:
    """At this loudness; where the peak would pass -1 dB of full scale, what passes is rounded off softly. Silence stays."""
    now = loudness(samples, rate)
    if not math.isfinite(now):
        return np.asarray(samples, np.float32)
    out = np.asarray(samples, np.float64)
    for _ in range(4):  # rounding off takes loudness, which is put back
        out = out * 10 ** ((lufs - now) / 20)
        out = _rounded_off(out)
        now = loudness(out, rate)
        if abs(now - lufs) < 0.1:
            break
    return out.astype(np.float32)


def _rounded_off(samples: np.ndarray) -> np.ndarray:
    """Straight up to 60% of the permitted peak, then bent so that it never gets there."""
    knee = 0.6 * PEAK
    over = np.abs(samples) > knee
    if not over.any():
        return samples
    out = samples.copy()
    beyond = (np.abs(samples[over]) - knee) / (PEAK - knee)
    out[over] = np.sign(samples[over]) * (knee + (PEAK - knee) * np.tanh(beyond))
    return out


# --- spectra ------------------------------------------------------------------------------------------------------------------------------


def resample(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """(N * to / rate,) float32."""
    if rate == to:
        return np.asarray(samples, np.float32)
    divisor = math.gcd(rate, to)
    return signal.resample_poly(samples, to // divisor, rate // divisor).astype(np.float32)


@functools.lru_cache(32)
def mel_bank(rate: int, size: int, bands: int) -> np.ndarray:
    """(bands, size // 2 + 1): triangles, evenly spaced in mel from 40 Hz to half the rate, each summing to one."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(2595 * math.log10(1 + 40 / 700), top, bands + 2) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate / size
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.clip(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0, None)
    empty = bank.sum(1) == 0
    bank[empty, np.abs(bins[None] - middle[empty]).argmin(1)] = 1.0  # a band narrower than a bin takes the nearest
    return bank / bank.sum(1, keepdims=True)


def spectrum(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    """(frames, size // 2 + 1) complex, a Hann window centred on every hop."""
    padded = np.pad(np.asarray(samples, np.float64), size // 2)
    count = 1 + max(0, len(padded) - size) // hop
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(padded, (0, size)), size)[::hop][:count]
    return np.fft.rfft(windows * np.hanning(size + 1)[:-1], axis=1)


def mel(samples: np.ndarray, rate: int, *, bands: int = 48, hop: float = 0.0125, window: float = 0.032) -> np.ndarray:
    """(frames, bands) float64: log mel power in dB, at least -80. hop and window in seconds."""
    size = 1 << max(5, round(math.log2(window * rate)))
    power = np.abs(spectrum(samples, size, max(1, round(hop * rate)))) ** 2 / (size / 4) ** 2
    return 10 * np.log10(np.maximum(power @ mel_bank(rate, size, bands).T, 1e-8))
