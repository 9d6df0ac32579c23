"""Sound effects as sfxr's 23 numbers <-> five words of letters.

Each number is one of 51 steps: a to y for 0 to 1 by the first 51 letters of a-zA-Z, signed ones centred on z (so that nothing is exactly
nothing). A worked example, a coin:

    effect coin
    nabiT OaAz...

The words are what belongs together: wave and envelope; pitch and its slides; vibrato and arpeggio; duty, repeat and flanger; filters.
`repaint` counts in them: 1 to 1 is the envelope.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from cupola.errors import ConfigError, DataError
from cupola.media import audio, sfxr
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.gbnf import either, quoted, rest
from cupola.media.labels import Labels
from cupola.media.text import read_text, write_text

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:51]
WAVES = "qsnh"  # square, sawtooth, sine, noise (hiss)
GROUPS = (
    ("wave_type", "p_env_attack", "p_env_sustain", "p_env_punch", "p_env_decay"),
    ("p_base_freq", "p_freq_limit", "p_freq_ramp", "p_freq_dramp"),
    ("p_vib_strength", "p_vib_speed", "p_arp_mod", "p_arp_speed"),
    ("p_duty", "p_duty_ramp", "p_repeat_speed", "p_pha_offset", "p_pha_ramp"),
    ("p_lpf_freq", "p_lpf_ramp", "p_lpf_resonance", "p_hpf_freq", "p_hpf_ramp"),
)
NAMES = tuple(name for group in GROUPS for name in group)
MOST = 20_000  # effects of a file
SHORTEST = 0.02  # seconds
_WEIGHTS = {"wave_type": 4.0, "p_env_sustain": 2.0, "p_env_decay": 2.0, "p_freq_ramp": 2.0}  # of the distance; the others one
_SPANS = {"p_freq_ramp": 0.3, "p_freq_dramp": 0.3, "p_env_sustain": 0.3, "p_env_decay": 0.3}  # a difference that is all the difference
_NEEDS = {"p_duty": "wave_type", "p_vib_speed": "p_vib_strength", "p_arp_speed": "p_arp_mod", "p_pha_ramp": "p_pha_offset"}
_PITCH = ("p_base_freq", "p_freq_limit")
_SFS = "p_base_freq p_freq_limit p_freq_ramp p_freq_dramp p_duty p_duty_ramp p_vib_strength p_vib_speed vib_delay".split()
_SFS_END = """p_env_attack p_env_sustain p_env_decay p_env_punch filter_on p_lpf_resonance p_lpf_freq p_lpf_ramp p_hpf_freq p_hpf_ramp
    p_pha_offset p_pha_ramp p_repeat_speed p_arp_speed p_arp_mod""".split()


class Effect(Plain):
    """Synthesised sounds. read then write keeps every number within half a step (0.01, signed ones 0.02) and nothing as nothing."""

    name = "effect"
    suffixes = (".json", ".sfx", ".sfs", ".wav", ".flac", ".ogg")
    unit = "part"
    pretokenizer = "gpt-2"
    vocab_size = 262
    scrub = False
    train: Mapping[str, float] = {"length": 128, "variants": 0.5}
    passing = 0.99

    def __init__(self) -> None:
        self.labels = Labels("own", tuple(sorted(sfxr.PRESETS)))

    def fit(self, files: Sequence[Path], options: Options, apart: Apart) -> Self:
        new = type(self)()
        own, read, first = [], [], None
        for path in files:
            try:
                found = [label for _, label, _ in _effects(path)] if path.suffix.lower() not in SAMPLED else [""]
            except DataError as e:
                first = first or e
                continue
            own += found
            read += [path] * len(found)
        if not read:
            raise first or DataError("no effect in it", "", "give JSON files of sfxr or jsfxr, or recordings")
        new.labels = Labels.fit(read, own if any(own) else ())
        return new

    def settings(self) -> dict[str, Any]:
        return {"labels": self.labels.plain()}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        if not isinstance(settings, Mapping) or "labels" not in settings:
            raise DataError("no settings of effects: no labels", "settings", "they are damaged; make the corpus again")
        new.labels = Labels.restore(settings["labels"])
        return new

    def read(self, path: Path) -> Iterator[Document]:
        """The effects of a file; of a recording, the nearest effect that was found, how near in its name.

        Raises DataError naming the effect and the number that is wrong.
        """
        if path.suffix.lower() in SAMPLED:
            found, far = nearest_effect(path)
            label = self.labels.of(path)
            yield Document(self._print(found, label), path.name, path.name, label=label or None, name=f"{path.stem} (within {far:.1f} dB)")
            return
        short = good = 0
        for number, (params, label, name) in enumerate(_effects(path), start=1):
            if sfxr.seconds(params) < SHORTEST:
                short += 1
                continue
            good += 1
            label = self.labels.of(path, label)
            yield Document(self._print(params, label), f"{path.name} {number}", path.name, label=label or None, name=name)
        if short and not good:
            raise DataError(f"all of its {short} effects are shorter than 20 ms", str(path), "lengthen their envelopes, or leave it out")

    def _print(self, params: Mapping[str, float], label: str) -> str:
        words = " ".join("".join(_letter(name, params[name]) for name in group) for group in GROUPS)
        return f"{self.name} {label}\n{words}\n" if label else f"{self.name}\n{words}\n"

    def params(self, text: str) -> sfxr.Params:
        """The numbers of an effect. Raises DataError for what is not valid."""
        if problems := self.syntax(text):
            raise DataError(f"no effect: {problems[0]}", self.name, "check it first")
        return _params(text.split("\n")[1])

    def syntax(self, text: str) -> list[Problem]:
        lines = text.split("\n")
        if len(lines) != 3 or lines[2]:
            return [Problem(min(len(lines), 2), 1, "not two lines", "a line that begins with 'effect', and a line of five words")]
        head = lines[0].split(" ", 1)
        if head[0] != self.name or (len(head) > 1 and head[1] not in self.labels.known):
            return [Problem(1, 1, f"not a first line: {lines[0]!r:.40}", f"effect, and a label: {', '.join(self.labels.known[:10])}")]
        words, column = lines[1].split(" "), 1
        if len(words) != len(GROUPS):
            return [Problem(2, 1, f"{len(words)} words", f"there are {len(GROUPS)}")]
        for word, group in zip(words, GROUPS, strict=True):
            if len(word) != len(group):
                return [Problem(2, column, f"a word of {len(word)} letters", f"this one has {len(group)}")]
            for at, (letter, name) in enumerate(zip(word, group, strict=True)):
                if letter not in (WAVES if name == "wave_type" else LETTERS):
                    return [Problem(2, column + at, f"no step {letter!r} of {name}", f"use {WAVES if name == 'wave_type' else 'a-zA-Y'}")]
            column += len(word) + 1
        return []

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then silence, and what is shorter than 20 ms or longer than five seconds."""
        if problems := self.syntax(text):
            return problems
        params = _params(text.split("\n")[1])
        if sfxr.seconds(params) > sfxr.LONGEST:
            return [Problem(2, 1, f"{sfxr.seconds(params):.1f} s long", "shorten the envelope, the first word")]
        samples = _sound(text.split("\n")[1])
        if len(samples) < SHORTEST * sfxr.RATE:
            return [Problem(2, 1, f"{len(samples) / sfxr.RATE * 1000:.0f} ms long", "lengthen the envelope, the first word")]
        if not np.isfinite(samples).all() or np.abs(samples).max() < audio.QUIET:
            return [Problem(2, 1, "silent", "raise the pitch or open the filters")]
        return []

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)}\n"

    def grammar(self, pins: Pins) -> str:
        head, newline, body = pins.prompt.partition("\n")
        heads = [self.name, *(f"{self.name} {label}" for label in self.labels.known)]
        ways = [] if newline and head not in heads else [""] if newline else [f"{h}\n" for h in rest(heads, head)]
        words = body.split(" ")
        good = all(len(w) == len(g) for w, g in zip(words[:-1], GROUPS, strict=False)) and len(words) <= len(GROUPS)
        if not ways or not good or "\n" in body or len(words[-1]) > len(GROUPS[len(words) - 1]):
            raise ConfigError(f"no effect begins with {pins.prompt!r:.60}", "prompt", f"such as {heads[-1]!r} and a new line")
        parts = []
        for number, group in enumerate(GROUPS):
            given = len(words[number]) if number < len(words) else 0
            if number >= len(words) - 1 and (number > len(words) - 1 or given < len(group)):
                lead = '" " ' if number > len(words) - 1 else ""
                left = len(group) - given
                parts.append(lead + ("envelope" if number == 0 and given == 0 else f"c{{{left}}}"))
        start = "" if newline else either(ways) + " "
        return f"root ::= {start}{' '.join(parts)} {quoted(chr(10))}\n{_RULES}"

    def filling(self, text: str, start: int, end: int) -> str:
        words = text[start:end].split(" ")
        first = start in [a for a, _ in self.spans(text)[:1]]
        parts = [f"c{{{len(word)}}}" for word in words]
        if first:
            parts[0] = "envelope"
        return f"root ::= {(' ' + quoted(' ') + ' ').join(parts)}\n{_RULES}"

    def spans(self, text: str) -> list[tuple[int, int]]:
        head, newline, body = text.partition("\n")
        spans, start = [], len(head) + 1
        for word in body.removesuffix("\n").split(" ") if newline and body.strip() else []:
            spans.append((start, start + len(word)))
            start += len(word) + 1
        return spans

    def title(self, text: str) -> str:
        if self.syntax(text):
            return "no effect"
        params = _params(text.split("\n")[1])
        wave = ("square", "sawtooth", "sine", "noise")[int(params["wave_type"])]
        label = text.partition("\n")[0].removeprefix(self.name).strip() or "effect"
        return f"{label}, {wave}, {min(sfxr.seconds(params), sfxr.LONGEST):.2f} s"

    def variants(self, text: str) -> Iterator[str]:
        """The same sound one and two steps of pitch higher and lower."""
        if self.syntax(text):
            return
        head, body = text.split("\n")[:2]
        words = body.split(" ")
        base, limit, *others = words[1]
        for step in (-2, -1, 1, 2):
            at = [LETTERS.index(base) + step, LETTERS.index(limit) + (step if limit != LETTERS[0] else 0)]
            if all(0 <= i < len(LETTERS) for i in at) and at[0] > 0 and (limit == LETTERS[0] or at[1] > 0):
                yield f"{head}\n{' '.join([words[0], ''.join([LETTERS[at[0]], LETTERS[at[1]], *others]), *words[2:]])}\n"

    def distance(self, a: str, b: str) -> float:
        """The weighted mean difference of the numbers that are heard in either, each against what is all the difference; pitch counts not.

        Draws of one preset lie about 0.3 apart, of different presets about 0.6.
        """
        if a == b:
            return 0.0
        if self.syntax(a) or self.syntax(b):
            return 1.0
        x, y = (_vector(t.split("\n")[1]) for t in (a, b))
        heard = (x[1] | y[1]).astype(float) * _WEIGHT
        return float((np.minimum(1.0, np.abs(x[0] - y[0]) / _SPAN) * heard).sum() / max(heard.sum(), 1e-9))

    def shingles(self, text: str) -> set[str]:
        """Each number that is heard, pitch apart, in coarse steps, by itself and with the next."""
        if self.syntax(text):
            return {text}
        values, heard = _vector(text.split("\n")[1])
        words = [f"{name}{round(v * 12)}" for name, v, h in zip(_HEARD, values, heard, strict=True) if h]
        return {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.wav, at -16 LUFS, and `stem`.json, which jsfxr and sfxr.me open."""
        params = self.params(text)
        samples = audio.normalise(_sound(text.split("\n")[1]), sfxr.RATE)
        label = text.partition("\n")[0].removeprefix(self.name).strip()
        return [
            audio.write_wave(samples, sfxr.RATE, stem.with_name(f"{stem.name}.wav")),
            write_text(stem.with_name(f"{stem.name}.json"), json.dumps(_plain(params, stem.name, label), indent=1) + "\n"),
        ]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """`stem`.json, an array of all."""
        listed = [
            _plain(self.params(t), f"{stem.name} {i}", t.partition("\n")[0].removeprefix(self.name).strip()) for i, t in enumerate(texts, 1)
        ]
        return [write_text(stem.with_name(f"{stem.name}.json"), json.dumps(listed, indent=1) + "\n")]

    def promise(self, path: Path) -> Promise:
        """effects; half_step (share of numbers within half a step); mel_db and length (medians over up to 24: error of the sound, and of
        its length as a share); of a recording, distance in dB to the effect that was found."""
        if path.suffix.lower() in SAMPLED:
            return Promise(path.name, {"effects": 1.0, "distance": nearest_effect(path)[1]})
        found = [params for params, _, _ in _effects(path)]
        kept = [_params(self._print(p, "").split("\n")[1]) for p in found]
        near = [abs(p[n] - k[n]) <= _half(n) + 1e-9 for p, k in zip(found, kept, strict=True) for n in NAMES]
        errors, lengths = [], []
        for p, k in list(zip(found, kept, strict=True))[:: max(1, len(found) // 24)]:
            a, b = sfxr.synth(p), sfxr.synth(k)
            if min(len(a), len(b)) > SHORTEST * sfxr.RATE:
                errors.append(_apart(a, b))
                lengths.append(abs(len(a) - len(b)) / len(a))
        figures = {"effects": float(len(found)), "half_step": float(np.mean(near))}
        return Promise(path.name, figures | ({"mel_db": float(np.median(errors)), "length": float(np.median(lengths))} if errors else {}))


# Of sustain and decay one is at least f: 23 ms. Shorter effects are not heard, and a model draws some (3 of 200).
_RULES = f"envelope ::= [{WAVES}] c ([f-zA-Y] c c | [a-e] c [f-zA-Y])\nc ::= [a-zA-Y]"
SAMPLED = (".wav", ".flac", ".ogg")
_HEARD = tuple(name for name in NAMES if name not in _PITCH)
_WEIGHT = np.array([_WEIGHTS.get(name, 1.0) for name in _HEARD])
_SPAN = np.array([_SPANS.get(name, 0.5) for name in _HEARD])


def _half(name: str) -> float:
    return 0.0 if name == "wave_type" else 0.02 if name in sfxr.SIGNED else 0.01


def _letter(name: str, value: float) -> str:
    if name == "wave_type":
        return WAVES[int(value)]
    return LETTERS[round(25 + 25 * value) if name in sfxr.SIGNED else round(50 * value)]


def _value(name: str, letter: str) -> float:
    if name == "wave_type":
        return float(WAVES.index(letter))
    at = LETTERS.index(letter)
    return (at - 25) / 25 if name in sfxr.SIGNED else at / 50


def _params(body: str) -> sfxr.Params:
    """The numbers of a body that `syntax` passes."""
    return {name: _value(name, letter) for name, letter in zip(NAMES, body.replace(" ", ""), strict=True)}


@functools.lru_cache(4096)
def _vector(body: str) -> tuple[np.ndarray, np.ndarray]:
    """((21,) numbers without pitch, (21,) bool which of them are heard)."""
    params = _params(body)
    heard = [name not in _NEEDS or bool(params[_NEEDS[name]]) or name == "p_duty" for name in _HEARD]
    moved = [
        h and (params[n] != sfxr.NEUTRAL[n] or n in ("wave_type", "p_env_sustain", "p_env_decay"))
        for n, h in zip(_HEARD, heard, strict=True)
    ]
    if params["wave_type"] in (sfxr.SINE, sfxr.NOISE):
        moved = [m and name not in ("p_duty", "p_duty_ramp") for m, name in zip(moved, _HEARD, strict=True)]
    values = np.array([params[name] for name in _HEARD])
    values[0] = [0.0, 0.35, 0.25, 1.0][int(params["wave_type"])]  # square, sawtooth, sine sound more alike than any does like noise
    return values, np.array(moved)


@functools.lru_cache(512)
def _sound(body: str) -> np.ndarray:
    return sfxr.synth(_params(body))


def _plain(params: Mapping[str, float], name: str, label: str) -> dict[str, Any]:
    """As jsfxr has it."""
    numbers = {key: round(value, 6) for key, value in params.items() if key != "wave_type"}
    more = {"sound_vol": sfxr.LOUD, "sample_rate": sfxr.RATE, "sample_size": 16}
    return {"oldParams": True, "name": name, "label": label, "wave_type": int(params["wave_type"]), **numbers, **more}


# --- files in -----------------------------------------------------------------------------------------------------------------------------


def _effects(path: Path) -> Iterator[tuple[sfxr.Params, str, str]]:
    """(numbers, label, name) of each effect of a file that holds numbers."""
    suffix = path.suffix.lower()
    if suffix == ".sfs":
        yield _from_sfs(path), "", path.stem
        return
    text = read_text(path, max_bytes=64 << 20)
    if suffix == ".sfx":
        yield from _from_words(text, path)
        return
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON: {e}", str(path), "export it again from sfxr, jsfxr or cupola") from None
    listed = facts if isinstance(facts, list) else [facts]
    if len(listed) > MOST:
        raise DataError(f"{len(listed):,} effects, more than the {MOST:,} that are read", str(path), "cut it into smaller files")
    for number, each in enumerate(listed, start=1):
        where = f"{path}, effect {number}" if len(listed) > 1 else str(path)
        yield _checked(each, where), str(each.get("label", "")), str(each.get("name", "")) or f"{path.stem} {number}"


def _checked(facts: Any, where: str) -> sfxr.Params:
    fix = "export it again from sfxr, jsfxr or cupola"
    if not isinstance(facts, dict) or "wave_type" not in facts:
        raise DataError("no effect of sfxr: it has no wave_type", where, fix)
    out = dict(sfxr.NEUTRAL)
    for name in NAMES:
        value = facts.get(name, out[name])
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"{name} is {value!r:.30}, not a number", where, fix)
        if name == "wave_type":
            if value not in (0, 1, 2, 3):
                raise DataError(f"wave_type is {value!r}", where, "0 square, 1 sawtooth, 2 sine, 3 noise")
            out[name] = float(value)
        else:
            out[name] = min(1.0, max(-1.0 if name in sfxr.SIGNED else 0.0, float(value)))  # as the synthesizer's own sliders end
    return out


def _from_words(text: str, path: Path) -> Iterator[tuple[sfxr.Params, str, str]]:
    """Notations, one after the other: a line with a label, a line of words."""
    lines = [line for line in text.split("\n") if line.strip()]
    medium, label = Effect(), ""
    for number, line in enumerate(lines, start=1):
        if line.startswith("effect"):
            label = line.removeprefix("effect").strip()
            continue
        if problems := medium.syntax(f"effect\n{line}\n"):
            raise DataError(f"line {number} is no effect: {problems[0].what}", str(path), "five words of letters a line")
        yield _params(line), label, f"{path.stem} {number}"


def _from_sfs(path: Path) -> sfxr.Params:
    """A file of the original sfxr, versions 100 to 102."""
    data = path.read_bytes()
    try:
        version, wave = struct.unpack_from("<ii", data)
        at = 8 + (4 if version == 102 else 0)
        names = [*_SFS, *(n for n in _SFS_END if version >= 101 or n not in ("p_arp_speed", "p_arp_mod"))]
        values: sfxr.Params = {"wave_type": float(wave)}
        if version not in (100, 101, 102):
            raise DataError(f"version {version} of sfxr's files", str(path), "100 to 102 are read: save it again with sfxr")
        for name in names:
            kind = "<?" if name == "filter_on" else "<f"
            (values[name],) = struct.unpack_from(kind, data, at)
            at += struct.calcsize(kind)
    except struct.error:
        raise DataError(f"cut off: {len(data)} bytes", str(path), "save it again with sfxr") from None
    return _checked(values, str(path))


# --- recordings ---------------------------------------------------------------------------------------------------------------------------

BANK = 100  # effects that a recording is compared with first
ROUNDS = 1  # over all numbers, each moved by three steps: about ten seconds for a recording
_MEL_RATE = 22_050


def nearest_effect(path: Path) -> tuple[sfxr.Params, float]:
    """(numbers, dB) of the effect that sounds most like a recording: the nearest of a bank, then each number moved while that helps.

    Raises DataError for silence, and for what is longer than five seconds.
    """
    samples, rate = audio.read_wave(path)
    if len(samples) > sfxr.LONGEST * rate:
        raise DataError(
            f"{len(samples) / rate:.1f} s long, and an effect has {sfxr.LONGEST:.0f} at most",
            str(path),
            "use the medium sound for recordings",
        )
    if len(samples) < SHORTEST * rate or np.abs(samples).max() < audio.QUIET:
        raise DataError("silence", str(path), "leave it out")
    wanted = _heard(audio.resample(samples, rate, _MEL_RATE))
    bodies, spectra = _bank()
    far = [_mel_apart(wanted, s) for s in spectra]
    best, body = min(zip(far, bodies, strict=True))
    for _ in range(ROUNDS):
        before = best
        for at, name in enumerate(NAMES):
            for step in (-3, 3) if name != "wave_type" else (1, 2, 3):
                changed = _stepped(body, at, name, step)
                if changed and (d := _mel_apart(wanted, _heard_body(changed))) < best:
                    best, body = d, changed
        if before - best < 0.1:
            break
    return _params(body), best


def _stepped(body: str, at: int, name: str, step: int) -> str:
    """The body with one number moved, "" where that is not possible."""
    place = [i for i, c in enumerate(body) if c != " "][at]
    letters = WAVES if name == "wave_type" else LETTERS
    new = letters.index(body[place]) + step
    new = new % len(letters) if name == "wave_type" else new
    return body[:place] + letters[new] + body[place + 1 :] if 0 <= new < len(letters) else ""


@functools.lru_cache(1)
def _bank() -> tuple[list[str], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    medium, bodies = Effect(), []
    for i in range(BANK):
        params = sfxr.draw(list(sfxr.PRESETS)[i % len(sfxr.PRESETS)], rng)
        if sfxr.seconds(params) < 1.0:
            bodies.append(medium._print(params, "").split("\n")[1])
    return bodies, [_heard_body(body) for body in bodies]


def _heard_body(body: str) -> np.ndarray:
    params = _params(body)
    if sfxr.seconds(params) > sfxr.LONGEST:
        return np.full((1, 32), -80.0)
    return _heard(audio.resample(sfxr.synth(params), sfxr.RATE, _MEL_RATE))


def _heard(samples: np.ndarray) -> np.ndarray:
    """(frames, 32) mel, at one peak: how loud a recording is says nothing."""
    if not len(samples) or not np.abs(samples).max():
        return np.full((1, 32), -80.0)
    return np.maximum(audio.mel(samples / np.abs(samples).max(), _MEL_RATE, bands=32, hop=0.02, window=0.046), -60.0)


def _mel_apart(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in dB, the shorter one followed by silence."""
    n = max(len(a), len(b))
    a, b = (np.pad(x, ((0, n - len(x)), (0, 0)), constant_values=-60.0) for x in (a, b))
    return float(np.abs(a - b).mean())


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return _mel_apart(*(_heard(audio.resample(x, sfxr.RATE, _MEL_RATE)) for x in (a, b)))
