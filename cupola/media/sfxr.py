"""sfxr: sound effects from 23 numbers, as jsfxr makes them, and its ten presets to draw them from.

`synth` gives jsfxr's samples to within rounding (noise: other random numbers). What moves slowly (pitch, envelope, duty) is stepped once a
sample; the eight subsamples of each come from closed forms and two filters. A filter whose cutoff does not move is one call of SciPy's; one
that does is a loop.

Source: DrPetter's sfxr (2007) and jsfxr 1.4.1; both free of conditions.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from cupola.errors import DataError
from cupola.sources import DRAWN

RATE = 44_100
LONGEST = 5.0  # seconds: what would be longer ends there
SQUARE, SAWTOOTH, SINE, NOISE = range(4)
SUBSAMPLES = 8
AUDIBLE = 0.03  # seconds
Params = dict[str, float]

UNSIGNED = """p_env_attack p_env_sustain p_env_punch p_env_decay p_base_freq p_freq_limit p_vib_strength p_vib_speed p_arp_speed p_duty
    p_repeat_speed p_lpf_freq p_lpf_resonance p_hpf_freq""".split()
SIGNED = "p_freq_ramp p_freq_dramp p_arp_mod p_duty_ramp p_pha_offset p_pha_ramp p_lpf_ramp p_hpf_ramp".split()
NEUTRAL: Params = {"wave_type": SQUARE} | dict.fromkeys([*UNSIGNED, *SIGNED], 0.0)
NEUTRAL |= {"p_env_sustain": 0.3, "p_env_decay": 0.4, "p_base_freq": 0.3, "p_lpf_freq": 1.0}
LOUD = 0.5  # sound_vol


def seconds(p: Mapping[str, float]) -> float:
    """How long it sounds: its envelope, or less where a pitch that falls steadily reaches its limit."""
    envelope = sum(int(p[k] ** 2 * 100_000) for k in ("p_env_attack", "p_env_sustain", "p_env_decay")) / RATE
    if p["p_freq_limit"] <= 0 or p["p_freq_ramp"] >= 0 or p["p_freq_dramp"] or p["p_repeat_speed"]:
        return envelope
    falls = math.log((p["p_base_freq"] ** 2 + 0.001) / (p["p_freq_limit"] ** 2 + 0.001)) / math.log(1 - p["p_freq_ramp"] ** 3 * 0.01)
    return min(envelope, max(0.0, falls) / RATE)


def synth(params: Mapping[str, float], seed: int = 0) -> np.ndarray:
    """(N,) float32 at 44,100 samples a second, about -1 to 1; (0,) where the effect ends at once. seed: of the noise."""
    p = NEUTRAL | dict(params)
    period, phase, duty, volume, delay = _steps(p)
    if not len(period):
        return np.zeros(0, np.float32)
    sub = (phase[:, None] + np.arange(1, SUBSAMPLES + 1)) % period[:, None]  # (N, 8) place in the wave
    wave = _wave(int(p["wave_type"]), sub, period, phase, duty, seed).ravel()
    wave = _high_pass(_low_pass(wave, p), p)
    echo = np.arange(len(wave)) - np.repeat(delay, SUBSAMPLES)
    wave = wave + np.where(echo >= 0, wave[np.maximum(echo, 0)], 0.0)
    gain = math.exp(p.get("sound_vol", LOUD)) - 1
    return (wave.reshape(-1, SUBSAMPLES).mean(1) * volume * gain).astype(np.float32)


def _steps(p: Mapping[str, float]) -> tuple[np.ndarray, ...]:
    """(N,) each, a value a sample: whole period in subsamples, phase before it, duty, volume, delay of the flanger in subsamples."""
    volume = _envelope(p)[: int(LONGEST * RATE)]
    period = _periods(p, len(volume))
    n = len(period)
    if (depth := p["p_vib_strength"] * 0.5) > 0:
        period = period * (1 + np.sin(_running(0.0, p["p_vib_speed"] ** 2 * 0.01, n)) * depth)
    whole = np.maximum(SUBSAMPLES, np.floor(period)).astype(np.int64)
    phases, at = [], 0
    for each in whole.tolist():
        phases.append(at)
        at = (at + SUBSAMPLES) % each
    again, since = _again(p), np.arange(n)
    if again:  # the first time one sample shorter, as there
        since = np.where(since < again - 1, since, (since + 1) % again)
    duty = np.clip(_running(0.5 - p["p_duty"] * 0.5, -p["p_duty_ramp"] * 0.00005, min(n, again or n)), 0.0, 0.5)[since]
    offset, moving = math.copysign(p["p_pha_offset"] ** 2 * 1020, p["p_pha_offset"]), math.copysign(p["p_pha_ramp"] ** 2, p["p_pha_ramp"])
    delay = np.minimum(1023, np.abs(np.floor(_running(offset, moving, n)))).astype(np.int64)
    return whole, np.array(phases, np.int64), duty, volume[:n], delay


def _running(start: float, step: float, n: int) -> np.ndarray:
    """(n,) start + step, start + 2 step ..., added up one by one: a product would round otherwise, and a pitch jump a sample early."""
    return np.cumsum(np.concatenate([[start], np.full(n, step)]))[1:]


def _again(p: Mapping[str, float]) -> int:
    """After how many samples pitch and duty begin anew; 0 for never."""
    return int((1 - p["p_repeat_speed"]) ** 2 * 20_000 + 32) if p["p_repeat_speed"] else 0


def _envelope(p: Mapping[str, float]) -> np.ndarray:
    """(N,) volume: rising, held (punched at first), falling; sustain and decay have one sample more than they say."""
    rise, hold, fall = (int(p[k] ** 2 * 100_000) for k in ("p_env_attack", "p_env_sustain", "p_env_decay"))
    held, fell = np.arange(hold + 1) / max(1, hold), np.arange(fall + 1) / max(1, fall)
    return np.concatenate([np.arange(1, rise + 1) / max(1, rise), 1 + (1 - held) * 2 * p["p_env_punch"], 1 - fell])


def _periods(p: Mapping[str, float], length: int) -> np.ndarray:
    """(n,) subsamples a turn, vibrato apart; n < length where the pitch falls to its limit, which ends the sound."""
    every = _again(p) or length
    jump = 1 - p["p_arp_mod"] ** 2 * 0.9 if p["p_arp_mod"] >= 0 else 1 + p["p_arp_mod"] ** 2 * 10
    jump_at = int((1 - p["p_arp_speed"]) ** 2 * 20_000 + 32) if p["p_arp_speed"] != 1 else length
    longest = 100 / (p["p_freq_limit"] ** 2 + 0.001)
    factor = _running(1 - p["p_freq_ramp"] ** 3 * 0.01, -(p["p_freq_dramp"] ** 3) * 1e-6, min(every, length))
    made: dict[int, np.ndarray] = {}  # by when the jump comes: before it, and after it, all turns are alike
    out = []
    starts = [0, *range(every - 1, length, every)] if every < length else [0]
    for start, end in itertools.pairwise([*starts, length]):
        before = min(max(0, jump_at - start), len(factor))
        if before not in made:
            head = _slide(100 / (p["p_base_freq"] ** 2 + 0.001), factor[:before], longest)
            last = min(head[-1], longest) if before else 100 / (p["p_base_freq"] ** 2 + 0.001)
            made[before] = np.concatenate([head, _slide(last * jump, factor[before:], longest)])
        out.append(made[before][: end - start])
    periods = np.concatenate(out)
    ended = periods > longest
    return np.minimum(periods, longest) if p["p_freq_limit"] <= 0 or not ended.any() else periods[: int(ended.argmax())]


def _slide(period: float, factor: np.ndarray, longest: float) -> np.ndarray:
    """(n,) the period times one factor after the other, held at the longest (and marked there by infinity) until it shrinks again."""
    out, at = np.empty(len(factor)), 0
    with np.errstate(over="ignore"):
        while at < len(factor):
            out[at:] = np.cumprod(np.concatenate([[period], factor[at:]]))[1:]
            over = out[at:] > longest
            if not over.any():
                break
            at += int(over.argmax())
            shrinks = factor[at + 1 :] < 1
            to = at + 1 + int(shrinks.argmax()) if shrinks.any() else len(factor)
            out[at:to] = math.inf
            period, at = longest, to
    return out


def _wave(shape: int, sub: np.ndarray, period: np.ndarray, phase: np.ndarray, duty: np.ndarray, seed: int) -> np.ndarray:
    """(N, 8) of the plain wave."""
    place = sub / period[:, None]
    if shape == SQUARE:
        return np.where(place < duty[:, None], 0.5, -0.5)
    if shape == SAWTOOTH:
        rising = np.maximum(duty[:, None], 1e-12)
        return np.where(place < duty[:, None], -1 + 2 * place / rising, 1 - 2 * (place - duty[:, None]) / (1 - duty[:, None]))
    if shape == SINE:
        return np.sin(place * 2 * np.pi)
    before = np.concatenate([phase[:, None], sub[:, :-1]], 1)
    turns = np.cumsum((before + 1 >= period[:, None]).ravel()).reshape(sub.shape)  # each turn of the wave has noise of its own
    noise = np.random.default_rng(seed).uniform(-1, 1, (int(turns[-1, -1]) + 1, 32))
    return noise[turns, sub * 32 // period[:, None]]


def _low_pass(x: np.ndarray, p: Mapping[str, float]) -> np.ndarray:
    """(M,) subsamples through a resonant filter whose cutoff may move."""
    if p["p_lpf_freq"] == 1:
        return x
    w0 = p["p_lpf_freq"] ** 3 * 0.1
    keep = 1 - min(0.8, 5 / (1 + p["p_lpf_resonance"] ** 2 * 20) * (0.01 + w0))
    if p["p_lpf_ramp"] == 0:
        return signal.lfilter([keep * w0], [1, -(1 + keep - keep * w0), keep], x)
    return _moving_low_pass(x, np.minimum(w0 * (1 + p["p_lpf_ramp"] * 0.0001) ** np.arange(1, len(x) + 1), 0.1), keep)


def _moving_low_pass(x: np.ndarray, cutoff: np.ndarray, keep: float) -> np.ndarray:
    """speed = (speed + (x - level) * cutoff) * keep; level += speed, for all blocks at once.

    Each block runs from rest, and without input from speed 1 and from level 1; what the blocks before it left is then added by those two.
    """
    size = max(SUBSAMPLES, math.isqrt(len(x)) // 2)
    blocks = -(-len(x) // size)
    sound, cuts = (np.pad(each, (0, blocks * size - len(x))).reshape(blocks, size).T.copy() for each in (x, cutoff))
    runs = np.zeros((size, 3, blocks))  # from rest, from speed 1, from level 1
    runs[:, 0] = sound
    speed, level = np.zeros((3, blocks)), np.zeros((3, blocks))
    speed[1], level[2] = 1.0, 1.0
    for value, cut in zip(runs, cuts, strict=True):
        value -= level
        value *= cut
        speed += value
        speed *= keep
        level += speed
        value[:] = level
    at, left = (0.0, 0.0), []
    for (s0, s1, s2), (l0, l1, l2) in zip(speed.T.tolist(), level.T.tolist(), strict=True):
        left.append(at)
        at = (s0 + at[0] * s1 + at[1] * s2, l0 + at[0] * l1 + at[1] * l2)
    before = np.array(left).T
    return (runs[:, 0] + runs[:, 1] * before[0] + runs[:, 2] * before[1]).T.ravel()[: len(x)]


def _high_pass(y: np.ndarray, p: Mapping[str, float]) -> np.ndarray:
    """(M,) subsamples without what is slow; the cutoff may move once a sample."""
    start, ratio = p["p_hpf_freq"] ** 2 * 0.1, 1 + p["p_hpf_ramp"] * 0.0003
    first = min(0.1, max(1e-5, start * ratio))
    if p["p_hpf_ramp"] == 0:
        return signal.lfilter([1 - first, first - 1], [1, first - 1], y)
    steps = np.full(len(y) // SUBSAMPLES, ratio)
    steps[0] = first
    keep = np.repeat(1 - np.clip(np.cumprod(steps), 1e-5, 0.1), SUBSAMPLES)
    return _moving_high_pass(np.diff(y, prepend=0.0), keep)


def _moving_high_pass(change: np.ndarray, keep: np.ndarray, size: int = 64 * SUBSAMPLES) -> np.ndarray:
    """level = (level + change) * keep, for all blocks at once: divided by the product of what is kept it is a plain sum.

    The block is short enough for that product (0.9 ** 512 is 4e-24) to lose nothing.
    """
    blocks = -(-len(change) // size)
    extra = blocks * size - len(change)
    changes = np.pad(change, (0, extra)).reshape(blocks, size)
    kept = np.cumprod(np.pad(keep, (0, extra), constant_values=1.0).reshape(blocks, size), axis=1)
    within = np.cumsum(changes / np.concatenate([np.ones((blocks, 1)), kept[:, :-1]], axis=1), axis=1) * kept
    left, level = [], 0.0
    for end, share in zip(within[:, -1].tolist(), kept[:, -1].tolist(), strict=True):
        left.append(level)
        level = end + level * share
    return (within + kept * np.array(left)[:, None]).ravel()[: len(change)]


# --- presets ------------------------------------------------------------------------------------------------------------------------------


class _Dice:
    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    def up_to(self, top: float) -> float:
        return float(self.rng.random() * top)

    def one_in(self, n: int) -> bool:
        return int(self.rng.integers(n)) == 0

    def pick(self, *of: float) -> float:
        return of[int(self.rng.integers(len(of)))]


def _coin(d: _Dice) -> Params:
    p = {"wave_type": SAWTOOTH, "p_base_freq": 0.4 + d.up_to(0.5), "p_env_sustain": d.up_to(0.1), "p_env_decay": 0.1 + d.up_to(0.4)}
    p["p_env_punch"] = 0.3 + d.up_to(0.3)
    return p | ({"p_arp_speed": 0.5 + d.up_to(0.2), "p_arp_mod": 0.2 + d.up_to(0.4)} if d.one_in(2) else {})


def _laser(d: _Dice) -> Params:
    shape = d.pick(SQUARE, SAWTOOTH, SINE)
    if shape == SINE and d.one_in(2):
        shape = d.pick(SQUARE, SAWTOOTH)
    if d.one_in(3):
        p = {"p_base_freq": 0.3 + d.up_to(0.6), "p_freq_limit": d.up_to(0.1), "p_freq_ramp": -0.35 - d.up_to(0.3)}
    else:
        base = 0.5 + d.up_to(0.5)
        p = {"p_base_freq": base, "p_freq_limit": max(0.2, base - 0.2 - d.up_to(0.6)), "p_freq_ramp": -0.15 - d.up_to(0.2)}
    p |= {"wave_type": shape, "p_env_sustain": 0.1 + d.up_to(0.2), "p_env_decay": d.up_to(0.4), "p_hpf_freq": d.up_to(0.3)}
    if d.one_in(2):
        p |= {"p_duty": d.up_to(0.5), "p_duty_ramp": d.up_to(0.2)}
    else:
        p |= {"p_duty": 0.4 + d.up_to(0.5), "p_duty_ramp": -d.up_to(0.7)}
    p |= {"p_env_punch": d.up_to(0.3)} if d.one_in(2) else {}
    return p | ({"p_pha_offset": d.up_to(0.2), "p_pha_ramp": -d.up_to(0.2)} if d.one_in(3) else {})


def _explosion(d: _Dice) -> Params:
    if d.one_in(2):
        p = {"p_base_freq": (0.1 + d.up_to(0.4)) ** 2, "p_freq_ramp": -0.1 + d.up_to(0.4)}
    else:
        p = {"p_base_freq": (0.2 + d.up_to(0.7)) ** 2, "p_freq_ramp": -0.2 - d.up_to(0.2)}
    p |= {"p_freq_ramp": 0.0} if d.one_in(5) else {}
    p |= {"p_repeat_speed": 0.3 + d.up_to(0.5)} if d.one_in(3) else {}
    p |= {"wave_type": NOISE, "p_env_sustain": 0.1 + d.up_to(0.3), "p_env_decay": d.up_to(0.5), "p_env_punch": 0.2 + d.up_to(0.6)}
    p |= {"p_pha_offset": -0.3 + d.up_to(0.9), "p_pha_ramp": -d.up_to(0.3)} if d.one_in(2) else {}
    p |= {"p_vib_strength": d.up_to(0.7), "p_vib_speed": d.up_to(0.6)} if d.one_in(2) else {}
    return p | ({"p_arp_speed": 0.6 + d.up_to(0.3), "p_arp_mod": 0.8 - d.up_to(1.6)} if d.one_in(3) else {})


def _power(d: _Dice) -> Params:
    p: Params = {"wave_type": SAWTOOTH, "p_duty": 1.0} if d.one_in(2) else {"p_duty": d.up_to(0.6)}
    p["p_base_freq"] = 0.2 + d.up_to(0.3)
    if d.one_in(2):
        p |= {"p_freq_ramp": 0.1 + d.up_to(0.4), "p_repeat_speed": 0.4 + d.up_to(0.4)}
    else:
        p["p_freq_ramp"] = 0.05 + d.up_to(0.2)
        p |= {"p_vib_strength": d.up_to(0.7), "p_vib_speed": d.up_to(0.6)} if d.one_in(2) else {}
    return p | {"p_env_sustain": d.up_to(0.4), "p_env_decay": 0.1 + d.up_to(0.4)}


def _hurt(d: _Dice) -> Params:
    shape = d.pick(SQUARE, SAWTOOTH, NOISE)
    p = {"wave_type": shape, "p_duty": {SQUARE: d.up_to(0.6), SAWTOOTH: 1.0}.get(int(shape), 0.0)}
    p |= {"p_base_freq": 0.2 + d.up_to(0.6), "p_freq_ramp": -0.3 - d.up_to(0.4), "p_env_sustain": d.up_to(0.1)}
    p["p_env_decay"] = 0.1 + d.up_to(0.2)
    return p | ({"p_hpf_freq": d.up_to(0.3)} if d.one_in(2) else {})


def _jump(d: _Dice) -> Params:
    p = {"wave_type": SQUARE, "p_duty": d.up_to(0.6), "p_base_freq": 0.3 + d.up_to(0.3), "p_freq_ramp": 0.1 + d.up_to(0.2)}
    p |= {"p_env_sustain": 0.1 + d.up_to(0.3), "p_env_decay": 0.1 + d.up_to(0.2)}
    p |= {"p_hpf_freq": d.up_to(0.3)} if d.one_in(2) else {}
    return p | ({"p_lpf_freq": 1 - d.up_to(0.6)} if d.one_in(2) else {})


def _blip(d: _Dice) -> Params:
    shape = d.pick(SQUARE, SAWTOOTH)
    p = {"wave_type": shape, "p_duty": d.up_to(0.6) if shape == SQUARE else 1.0, "p_base_freq": 0.2 + d.up_to(0.4)}
    return p | {"p_env_sustain": 0.1 + d.up_to(0.1), "p_env_decay": d.up_to(0.2), "p_hpf_freq": 0.1}


def _synth(d: _Dice) -> Params:
    p = {"wave_type": d.pick(SQUARE, SAWTOOTH), "p_base_freq": d.pick(0.2723171360931539, 0.19255692561524382, 0.13615778746815113)}
    p |= {"p_env_attack": d.up_to(0.5) if d.one_in(5) else 0.0, "p_env_sustain": d.up_to(1), "p_env_punch": d.up_to(1)}
    p |= {"p_env_decay": d.up_to(0.9) + 0.1, "p_arp_mod": d.pick(0, 0, 0, 0, -0.3162, 0.7454, 0.7454), "p_arp_speed": d.up_to(0.5) + 0.4}
    p |= {"p_duty": d.up_to(1), "p_duty_ramp": d.up_to(1) if d.one_in(3) else 0.0}
    p |= {"p_lpf_freq": d.pick(1, 0.9 * d.up_to(1) * d.up_to(1) + 0.1), "p_lpf_ramp": d.up_to(2) - 1, "p_lpf_resonance": d.up_to(1)}
    return p | {"p_hpf_freq": d.up_to(1) if d.one_in(4) else 0.0, "p_hpf_ramp": d.up_to(1) if d.one_in(4) else 0.0}


def _tone(d: _Dice) -> Params:
    """jsfxr has one tone, an A of a second; a corpus needs more: any note of two octaves, any length up to that."""
    hertz = 220 * 2 ** (int(d.rng.integers(25)) / 12)
    return {
        "wave_type": SINE,
        "p_base_freq": math.sqrt(hertz * 100 / (RATE * SUBSAMPLES) - 0.001),
        "p_env_sustain": 0.2 + d.up_to(0.4641),
        "p_env_decay": d.up_to(0.2),
    }


def _click(d: _Dice) -> Params:
    p = _explosion(d) if d.one_in(2) else _hurt(d)
    p |= {"p_freq_ramp": -0.5 + d.up_to(1)} if d.one_in(2) else {}
    if d.one_in(2):
        p |= {"p_env_sustain": (d.up_to(0.4) + 0.2) * p["p_env_sustain"], "p_env_decay": (d.up_to(0.4) + 0.2) * p["p_env_decay"]}
    p |= {"p_env_attack": d.up_to(0.3)} if d.one_in(4) else {}
    return p | {"p_base_freq": 1 - d.up_to(0.25), "p_hpf_freq": 1 - d.up_to(0.1)}


PRESETS: dict[str, Callable[[_Dice], Params]] = {
    "coin": _coin,
    "laser": _laser,
    "explosion": _explosion,
    "power": _power,
    "hurt": _hurt,
    "jump": _jump,
    "blip": _blip,
    "synth": _synth,
    "tone": _tone,
    "click": _click,
}


def draw(preset: str, rng: np.random.Generator) -> Params:
    """An effect of this kind, all parameters there."""
    return NEUTRAL | PRESETS[preset](_Dice(rng))


def corpus(folder: Path, count: int = 3000, seed: int = 0) -> list[Path]:
    """`count` effects, as many of each preset, a JSON file a preset; the same for the same seed."""
    rng = np.random.default_rng(seed)
    paths = []
    for number, preset in enumerate(PRESETS):
        share = count * (number + 1) // len(PRESETS) - count * number // len(PRESETS)
        drawn: list[dict[str, float | str]] = []
        while len(drawn) < share:
            params = draw(preset, rng)
            if seconds(params) >= AUDIBLE:  # some lasers are over before they begin
                drawn.append({"name": f"{preset} {len(drawn) + 1}", "label": preset} | {k: round(v, 6) for k, v in params.items()})
        path = folder / f"{preset}.json"
        path.write_text(json.dumps(drawn, indent=0) + "\n", "utf-8")
        paths.append(path)
    return paths


DRAWN["sfxr"] = corpus

# --- files --------------------------------------------------------------------------------------------------------------------------------

MOST = 20_000  # effects of a file
_MEND = "export it again from sfxr, jsfxr or cupola"
_OTHER = {"p_vib_delay"}  # the original writes it and does not use it
_SFS = "p_base_freq p_freq_limit p_freq_ramp p_freq_dramp p_duty p_duty_ramp p_vib_strength p_vib_speed p_vib_delay".split()
_SFS_END = """p_env_attack p_env_sustain p_env_decay p_env_punch filter_on p_lpf_resonance p_lpf_freq p_lpf_ramp p_hpf_freq p_hpf_ramp
    p_pha_offset p_pha_ramp p_repeat_speed p_arp_speed p_arp_mod""".split()


def read_json(text: str, path: Path) -> Iterator[tuple[Params, str, str]]:
    """(numbers, label, name) of each effect in jsfxr's JSON: one, or an array.

    Raises DataError naming the effect and what is wrong with it, and for more than `MOST`.
    """
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON: {e!s:.80}", str(path), _MEND) from None
    listed = facts if isinstance(facts, list) else [facts]
    if len(listed) > MOST:
        raise DataError(f"{len(listed):,} effects, more than the {MOST:,} that are read", str(path), "cut it into smaller files")
    for number, each in enumerate(listed, start=1):
        params = checked(each, f"{path}, effect {number}" if len(listed) > 1 else str(path))
        yield params, _line(each.get("label")), _line(each.get("name")) or f"{path.stem} {number}"


def _line(value: Any) -> str:
    """A short line of text that any file takes; "" for what is none."""
    return " ".join(value.encode("utf-8", "replace").decode().split())[:80] if isinstance(value, str) else ""


def checked(facts: Any, where: str) -> Params:
    """All 23 numbers, those left out as the synthesizer has them, each within what its slider can say. Raises DataError."""
    if not isinstance(facts, dict) or "wave_type" not in facts:
        raise DataError("no effect of sfxr: it has no wave_type", where, _MEND)
    for key in facts:
        if key.startswith("p_") and key not in NEUTRAL and key not in _OTHER:
            near = difflib.get_close_matches(key, NEUTRAL, 1)
            raise DataError(f"sfxr has no number {key:.40}", where, f"did you mean {near[0]}?" if near else "leave it out")
    out = {name: _number(name, facts.get(name, usual), where) for name, usual in NEUTRAL.items()}
    if out["wave_type"] not in (SQUARE, SAWTOOTH, SINE, NOISE):
        raise DataError(f"wave_type is {out['wave_type']:g}", where, "0 square, 1 sawtooth, 2 sine, 3 noise")
    return {n: v if n == "wave_type" else min(1.0, max(-1.0 if n in SIGNED else 0.0, v)) for n, v in out.items()}


def _number(name: str, value: Any, where: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        value = "too large a number"
    raise DataError(f"{name} is {value!r:.30}, not a number", where, _MEND)


def read_sfs(path: Path) -> Params:
    """The effect of a file of the original sfxr, versions 100 to 102. Raises DataError."""
    try:
        data = path.read_bytes()
        version, wave = struct.unpack_from("<ii", data)
        if version not in (100, 101, 102):
            raise DataError(f"version {version} of sfxr's files", str(path), "100 to 102 are read: save it again with sfxr")
        at = 8 + (4 if version == 102 else 0)  # it begins with a volume
        values: Params = {"wave_type": float(wave)}
        for name in [*_SFS, *(n for n in _SFS_END if version >= 101 or n not in ("p_arp_speed", "p_arp_mod"))]:
            kind = "<?" if name == "filter_on" else "<f"
            (values[name],) = struct.unpack_from(kind, data, at)
            at += struct.calcsize(kind)
    except struct.error:
        raise DataError(f"cut off: {len(data)} bytes", str(path), "save it again with sfxr") from None
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None
    return checked(values, str(path))
