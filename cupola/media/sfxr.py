"""sfxr: sound effects from 23 numbers, as jsfxr makes them, and its ten presets to draw them from.

`synth` gives jsfxr's samples to within rounding (noise: other random numbers). What moves slowly (pitch, envelope, duty) is stepped once a
sample; the eight subsamples of each come from closed forms and two filters. A filter whose cutoff does not move is one call of SciPy's; one
that does is a loop.

Source: DrPetter's sfxr (2007) and jsfxr 1.4.1; both free of conditions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy import signal

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
    stages = [int(p[k] ** 2 * 100_000) for k in ("p_env_attack", "p_env_sustain", "p_env_decay")]
    again = int((1 - p["p_repeat_speed"]) ** 2 * 20_000 + 32) if p["p_repeat_speed"] else 0
    longest, lowest = 100 / (p["p_freq_limit"] ** 2 + 0.001), p["p_freq_limit"] > 0
    bend, slide = -(p["p_freq_dramp"] ** 3) * 1e-6, -p["p_duty_ramp"] * 0.00005
    jump = 1 - p["p_arp_mod"] ** 2 * 0.9 if p["p_arp_mod"] >= 0 else 1 + p["p_arp_mod"] ** 2 * 10
    jump_at = int((1 - p["p_arp_speed"]) ** 2 * 20_000 + 32) if p["p_arp_speed"] != 1 else 0
    depth, sway = p["p_vib_strength"] * 0.5, p["p_vib_speed"] ** 2 * 0.01
    offset, moving = math.copysign(p["p_pha_offset"] ** 2 * 1020, p["p_pha_offset"]), math.copysign(p["p_pha_ramp"] ** 2, p["p_pha_ramp"])

    def begin() -> tuple[float, float, float, int]:
        return 100 / (p["p_base_freq"] ** 2 + 0.001), 1 - p["p_freq_ramp"] ** 3 * 0.01, 0.5 - p["p_duty"] * 0.5, jump_at

    period, factor, duty, pending = begin()
    stage = elapsed = since = at = 0
    angle = 0.0
    out: list[tuple[int, int, float, float, int]] = []
    for t in range(int(LONGEST * RATE)):
        since += 1
        if again and since >= again:
            since = 0
            period, factor, duty, pending = begin()
        if pending and t >= pending:
            pending = 0
            period *= jump
        factor += bend
        period *= factor
        if period > longest:
            period = longest
            if lowest:
                break
        swayed = period
        if depth > 0:
            angle += sway
            swayed = period * (1 + math.sin(angle) * depth)
        whole = max(SUBSAMPLES, math.floor(swayed))
        duty = min(0.5, max(0.0, duty + slide))
        elapsed += 1
        if elapsed > stages[stage]:
            elapsed = 0
            stage += 1
            if stage > 2:
                break
        gone = elapsed / stages[stage] if stages[stage] else 0.0
        volume = (gone, 1 + (1 - gone) * 2 * p["p_env_punch"], 1 - gone)[stage]
        offset += moving
        out.append((whole, at, duty, volume, min(1023, abs(math.floor(offset)))))
        at = (at + SUBSAMPLES) % whole
    table = np.array(out, np.float64).reshape(-1, 5)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3], table[:, 4].astype(np.int64)


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
    if p["p_lpf_freq"] == 1:
        return x
    w0 = p["p_lpf_freq"] ** 3 * 0.1
    keep = 1 - min(0.8, 5 / (1 + p["p_lpf_resonance"] ** 2 * 20) * (0.01 + w0))
    if p["p_lpf_ramp"] == 0:
        return signal.lfilter([keep * w0], [1, -(1 + keep - keep * w0), keep], x)
    ws = np.minimum(w0 * (1 + p["p_lpf_ramp"] * 0.0001) ** np.arange(1, len(x) + 1), 0.1)
    out, level, speed = [], 0.0, 0.0
    for value, w in zip(x.tolist(), ws.tolist(), strict=True):
        speed = (speed + (value - level) * w) * keep
        level += speed
        out.append(level)
    return np.array(out)


def _high_pass(y: np.ndarray, p: Mapping[str, float]) -> np.ndarray:
    start = p["p_hpf_freq"] ** 2 * 0.1
    if p["p_hpf_ramp"] == 0:
        keep = 1 - min(0.1, max(1e-5, start))
        return signal.lfilter([keep, -keep], [1, -keep], y)
    cut, ratio, cuts = start, 1 + p["p_hpf_ramp"] * 0.0003, []
    for _ in range(len(y) // SUBSAMPLES):
        cut = min(0.1, max(1e-5, cut * ratio))
        cuts.append(cut)
    out, level, before = [], 0.0, 0.0
    for value, keep in zip(y.tolist(), np.repeat(1 - np.array(cuts), SUBSAMPLES).tolist(), strict=True):
        level = (level + value - before) * keep
        before = value
        out.append(level)
    return np.array(out)


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
