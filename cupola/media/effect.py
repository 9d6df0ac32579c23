"""Sound effects as sfxr's 23 numbers <-> five words of letters.

The first letter is the wave: q square, s sawtooth, n sine, h noise. Every other number is one of 51 steps, the letters a-zA-Y: 0 to 1
by 0.02, or of the eight signed ones -1 to 1 by 0.04, so that a or z is exactly nothing. A coin, worked out:

    effect coin
    sactp Eazz aaHE azazz Yzaaz

    sactp   sawtooth; attack 0, sustain c = 0.04, punch t = 0.38, decay p = 0.3
    Eazz    base frequency E = 0.6, no limit, no slide, no slide of the slide
    aaHE    no vibrato (strength, speed); the pitch jumps by H = 0.32 at E = 0.6
    azazz   duty, its slide, repeat, flanger and its slide: none
    Yzaaz   low-pass filter Y = 1, fully open, its slide and resonance; high-pass filter and its slide

The words are what belongs together, and `repaint` counts in them: 1 to 1 is the wave and the envelope.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from cupola.errors import ConfigError, DataError
from cupola.media import audio, sfxr
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.gbnf import either, quoted, rest
from cupola.media.labels import Labels
from cupola.media.text import read_text, word_spans, write_text

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
SHORTEST = 0.02  # seconds
STANDING = 0.9  # of the amplitude is an offset: no sound; of 3,000 drawn effects none has more than 0.83
_WEIGHTS = {"wave_type": 4.0, "p_env_sustain": 2.0, "p_env_decay": 2.0, "p_freq_ramp": 2.0}  # of the distance; the others one
_SPANS = {"p_freq_ramp": 0.3, "p_freq_dramp": 0.3, "p_env_sustain": 0.3, "p_env_decay": 0.3}  # a difference that is all the difference
_PITCH = ("p_base_freq", "p_freq_limit")


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
        return f"{self.name} {label}\n{_body(params)}\n" if label else f"{self.name}\n{_body(params)}\n"

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
        """What `syntax` finds; then silence, a standing offset, and what is shorter than 20 ms or longer than five seconds."""
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
        if abs(samples.mean(dtype=float)) > STANDING * np.sqrt(np.mean(samples**2, dtype=float)):
            return [Problem(2, 1, "an offset rather than a sound", "raise the pitch")]
        return []

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)}\n"

    def grammar(self, pins: Pins) -> str:
        """What follows the prompt, and nothing that `syntax` refuses; a whole first word is long enough to be heard.

        Raises ConfigError for a prompt that no effect begins with, and for other numbers of parts than five.
        """
        if (pins.least or 0) > len(GROUPS) or (pins.most is not None and pins.most < len(GROUPS)):
            raise ConfigError(f"{pins.least or 1} to {pins.most} parts", "least, most", f"an effect has {len(GROUPS)}")
        head, newline, body = pins.prompt.partition("\n")
        heads = [self.name, *(f"{self.name} {label}" for label in self.labels.known)]
        ways = [] if newline and head not in heads else [""] if newline else [f"{h}\n" for h in rest(heads, head)]
        if not ways or not _begins(body):
            raise ConfigError(f"no effect begins with {pins.prompt!r:.60}", "prompt", f"such as {heads[-1]!r} and a new line")
        parts, given = [], body.split(" ")
        for number, group in enumerate(GROUPS):
            left = len(group) - (len(given[number]) if number < len(given) else 0)
            if number >= len(given):
                parts.append('" "')
            if left:
                parts.append("envelope" if number == 0 and left == len(group) else f"c{{{left}}}")
        start = "" if newline else either(ways) + " "
        return f"root ::= {start}{' '.join([*parts, quoted(chr(10))])}\n{_RULES}"

    def filling(self, text: str, start: int, end: int) -> str:
        words = text[start:end].split(" ")
        first = start in [a for a, _ in self.spans(text)[:1]]
        parts = [f"c{{{len(word)}}}" for word in words]
        if first:
            parts[0] = "envelope"
        return f"root ::= {(' ' + quoted(' ') + ' ').join(parts)}\n{_RULES}"

    def room(self, text: str, more: int) -> str:
        raise DataError("an effect has five parts and no room for more", "--more", "make one of them anew with repaint, or vary it")

    def spans(self, text: str) -> list[tuple[int, int]]:
        return word_spans(text)

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
        """`stem`.wav, at -16 LUFS (of an effect that ends at once, a moment of silence), and `stem`.json, which jsfxr and sfxr.me open."""
        params = self.params(text)
        sound = _sound(text.split("\n")[1])
        samples = audio.normalise(np.pad(sound, (0, max(0, round(SHORTEST * sfxr.RATE) - len(sound)))), sfxr.RATE)  # players want some
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


def _begins(body: str) -> bool:
    """Whether an effect's words may begin so: all but the last are whole, and every letter is one of its place."""
    words = body.split(" ")
    if len(words) > len(GROUPS) or any(len(w) != len(g) for w, g in zip(words[:-1], GROUPS, strict=False)):
        return False
    fits = zip(words, GROUPS, strict=False)
    return all(len(w) <= len(g) and all(c in (WAVES if n == "wave_type" else LETTERS) for c, n in zip(w, g, strict=False)) for w, g in fits)


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


def _body(params: Mapping[str, float]) -> str:
    return " ".join("".join(_letter(name, params[name]) for name in group) for group in GROUPS)


def _unheard(params: Mapping[str, float]) -> set[str]:
    """The numbers that make no difference beside the others: the speed of no vibrato, a jump of pitch after the end."""
    length = sfxr.seconds(params) * sfxr.RATE
    out: set[str] = set()
    if params["wave_type"] in (sfxr.SINE, sfxr.NOISE):
        out |= {"p_duty", "p_duty_ramp"}
    if not params["p_vib_strength"] or not params["p_vib_speed"]:
        out |= {"p_vib_strength", "p_vib_speed"}
    if not params["p_arp_mod"] or params["p_arp_speed"] == 1 or (1 - params["p_arp_speed"]) ** 2 * 20_000 + 32 > length:
        out |= {"p_arp_mod", "p_arp_speed"}
    if params["p_lpf_freq"] == 1:
        out |= {"p_lpf_ramp", "p_lpf_resonance"}
    if not any(params[name] for name in {"p_freq_ramp", "p_freq_dramp", "p_arp_mod", "p_duty_ramp"} - out):
        out.add("p_repeat_speed")  # it begins anew what has not changed
    return out


@functools.lru_cache(4096)
def _vector(body: str) -> tuple[np.ndarray, np.ndarray]:
    """((21,) numbers without pitch, what is not heard as if it were not set; (21,) bool which of them are set and heard)."""
    params = _params(body)
    params |= {name: sfxr.NEUTRAL[name] for name in _unheard(params)}
    always = ("wave_type", "p_env_sustain", "p_env_decay")
    heard = np.array([name in always or params[name] != sfxr.NEUTRAL[name] for name in _HEARD])
    values = np.array([params[name] for name in _HEARD])
    values[0] = [0.0, 0.35, 0.25, 1.0][int(params["wave_type"])]  # square, sawtooth, sine sound more alike than any does like noise
    return values, heard


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
    """(numbers, label, name) of each effect of a file that holds numbers. Raises DataError where there is none."""
    suffix = path.suffix.lower()
    if suffix == ".sfs":
        listed: Iterator[tuple[sfxr.Params, str, str]] = iter([(sfxr.read_sfs(path), "", path.stem)])
    else:
        text = read_text(path, max_bytes=64 << 20)
        listed = _from_words(text, path) if suffix == ".sfx" else sfxr.read_json(text, path)
    first = next(listed, None)
    if first is None:
        raise DataError("no effect in it", str(path), "leave it out")
    yield first
    yield from listed


def _from_words(text: str, path: Path) -> Iterator[tuple[sfxr.Params, str, str]]:
    """Notations, one after the other: a line with a label, a line of words."""
    medium, label, number = Effect(), "", 0
    for at, line in enumerate(text.split("\n"), start=1):
        if line.startswith(medium.name):
            label = line.removeprefix(medium.name).strip()
        elif line.strip():
            if problems := medium.syntax(f"{medium.name}\n{line}\n"):
                raise DataError(f"line {at} is no effect: {problems[0].what}", str(path), "five words of letters a line")
            number += 1
            yield _params(line), label, f"{path.stem} {number}"


# --- recordings ---------------------------------------------------------------------------------------------------------------------------

BANK = 400  # effects that a recording is compared with first
STARTS = 3  # of them that are moved on from
BUDGET = 80.0  # seconds of sound made in one search: 2 s of one core, and the same result on a slower one
LEAST_COST = 0.1  # seconds that the shortest try counts for
STEPS = (12, 4, 1)  # letters that a number is moved by
_MEL_RATE = 22_050
_FLOOR = -60.0  # dB under the peak: fainter is silence


def nearest_effect(path: Path) -> tuple[sfxr.Params, float]:
    """(numbers, dB) of the effect that sounds most like a recording, its loudness and the silence around it apart.

    The nearest of a bank, at the pitch that fits best; then each number is moved for as long as that helps, or until `BUDGET` is used up.
    Raises DataError for silence, and for what is longer than five seconds.
    """
    samples, rate = audio.read_wave(path)
    if len(samples) > sfxr.LONGEST * rate:
        what = f"{len(samples) / rate:.1f} s long, and an effect has {sfxr.LONGEST:.0f} at most"
        raise DataError(what, str(path), "use the medium sound for recordings")
    samples = samples - samples.mean()
    heard = np.flatnonzero(np.abs(samples) > max(audio.QUIET, 1e-3 * np.abs(samples).max()))
    if not len(heard) or np.ptp(heard) + 1 < SHORTEST * rate:
        raise DataError("silence, or next to it", str(path), "leave it out")
    wanted = _heard(audio.resample(samples[heard[0] : heard[-1] + 1], rate, _MEL_RATE))
    return _searched(wanted)


def _searched(wanted: np.ndarray) -> tuple[sfxr.Params, float]:
    left, known = BUDGET, {}

    def far(body: str) -> float:
        nonlocal left
        if body not in known and left > 0:
            left -= max(LEAST_COST, min(sfxr.LONGEST, sfxr.seconds(_params(body))))
            known[body] = _mel_apart(wanted, _heard_body(body))
        return known.get(body, math.inf)

    bodies, spectra = _bank()
    apart = np.array([_mel_apart(wanted, s) for s in spectra])
    starts = [bodies[i] for i in apart.argsort(kind="stable")[:STARTS]]
    pitch = NAMES.index("p_base_freq")
    _, body = min((far(b), b) for start in starts for b in [start, *_moved(start, pitch, range(-15, 16, 5))])
    before = math.inf
    while far(body) < before - 0.01 and left > 0:
        before = far(body)
        for step, (at, name) in itertools.product(STEPS, enumerate(NAMES)):
            for moved in _moved(body, at, (-1, 1) if name == "wave_type" else (-step, step)):
                body = moved if far(moved) < far(body) else body
    return _params(body), far(body)


def _moved(body: str, at: int, steps: Iterable[int]) -> Iterator[str]:
    """The body with one number moved by each of these steps, those left out that there are not, or that nobody would hear."""
    name = NAMES[at]
    if name in _unheard(_params(body)) - {"p_vib_strength", "p_vib_speed", "p_arp_mod"}:  # by these it may begin to be
        return
    place = at + sum(at >= total for total in itertools.accumulate(map(len, GROUPS)))  # a space after each word
    letters = WAVES if name == "wave_type" else LETTERS
    for step in steps:
        new = letters.index(body[place]) + step
        if 0 <= new < len(letters) and step:
            yield body[:place] + letters[new] + body[place + 1 :]


@functools.lru_cache(1)
def _bank() -> tuple[list[str], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    drawn = [sfxr.draw(list(sfxr.PRESETS)[i % len(sfxr.PRESETS)], rng) for i in range(BANK)]
    bodies = sorted({_body(params) for params in drawn if SHORTEST < sfxr.seconds(params) < 1.0})
    return bodies, [_heard_body(body) for body in bodies]


def _heard_body(body: str) -> np.ndarray:
    return _heard(audio.resample(sfxr.synth(_params(body)), sfxr.RATE, _MEL_RATE))


def _heard(samples: np.ndarray) -> np.ndarray:
    """(frames, 32) mel in dB, at one peak: how loud a recording is says nothing."""
    if not len(samples) or not np.isfinite(peak := np.abs(samples).max()) or not peak:
        return np.full((1, 32), _FLOOR)
    return np.maximum(audio.mel(samples / peak, _MEL_RATE, bands=32, hop=0.02, window=0.046), _FLOOR)


def _mel_apart(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in dB, the shorter one followed by silence."""
    n = max(len(a), len(b))
    a, b = (np.pad(x, ((0, n - len(x)), (0, 0)), constant_values=_FLOOR) for x in (a, b))
    return float(np.abs(a - b).mean())


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return _mel_apart(*(_heard(audio.resample(x, sfxr.RATE, _MEL_RATE)) for x in (a, b)))
