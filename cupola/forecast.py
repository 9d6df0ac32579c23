"""How good a run will be: from a ladder's points to an interval of held-out bits per byte, before the run and after a third of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cupola import bend
from cupola.bend import BentLaw
from cupola.errors import DataError
from cupola.evaluate import Score
from cupola.law import Z80
from cupola.lawplot import law_svg

OWN_SHIFT = 0.25  # of the two sets' sampling errors, what another model's ratio of the two may differ by (LOG.md, 2026-11-25)
USUAL_GAIN, USUAL_SPREAD = -0.09, 0.03  # of log loss by cooling, where a ladder has too few runs to say (LOG.md, 2026-11-25)
LATER = 0.06  # standard deviation of log loss from a third of a run to its end, beside what the cooling leaves open (LOG.md, 2026-11-25)


@dataclasses.dataclass(frozen=True)
class Interval:
    """An 80% interval and its middle."""

    p10: float
    p50: float
    p90: float

    def holds(self, value: float) -> bool:
        return self.p10 <= value <= self.p90

    def show(self, how: Callable[[float], str]) -> str:
        return f"{how(self.p50)} (80%: {how(self.p10)}–{how(self.p90)})"


def bits(value: float) -> str:
    """Bits per byte as people read them."""
    return f"{value:.2f}"


# --- from the watched documents to the held-out ones --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shift:
    """From the watched documents to the held-out ones: one set is the harder one, and a rung of the ladder has been scored on both."""

    factor: float
    error: float  # standard deviation of its logarithm, for another model than the one that was scored

    @classmethod
    def between(cls, watched: Score, held_out: Score) -> Shift:
        """What one model's two scores say of another's."""
        error = math.hypot(_relative_error(watched), _relative_error(held_out))
        return cls(held_out.bits_per_byte / watched.bits_per_byte, OWN_SHIFT * error)


def _relative_error(score: Score) -> float:
    """Of bits per byte, for the draw of documents: a share of it."""
    bits_, sizes = score.per_document_bits, score.per_document_bytes
    if len(bits_) < 5:
        return 0.1
    return float(math.sqrt(((bits_ - bits_.sum() / sizes.sum() * sizes) ** 2).sum()) / bits_.sum())


def expect(law: BentLaw, params: int, tokens: float, unique_tokens: float, flops: float, shift: Shift) -> Interval:
    """Held-out bits per byte of a run: the law's interval on the watched documents, moved to the held-out ones and widened by that.

    Raises LadderTooShort where the law reaches no further.
    """
    found = law.predict(float(params), float(tokens), unique_tokens, flops=flops)
    low, middle, high = (float(np.ravel(p)[0]) for p in (found.p10, found.p50, found.p90))
    down, up = (math.hypot(math.log(ratio), Z80 * shift.error) for ratio in (middle / low, high / middle))
    middle *= shift.factor
    return Interval(middle * math.exp(-down), middle, middle * math.exp(up))


# --- the law through a ladder -------------------------------------------------------------------------------------------------------------


def fit(points: list[dict[str, Any]], looks: list[dict[str, Any]], unique_tokens: float, noise: float) -> BentLaw:
    """The law through a ladder's finished points and its looks, in bits per byte. Raises LadderTooShort.

    unique_tokens: of one pass over the corpus.
    """
    names = ("params", "tokens", "bits_per_byte", "unique_tokens", "flops")
    of = {name: np.array([p[name] for p in with_looks(points, looks, unique_tokens)], float) for name in names}
    columns = (of[name] for name in names[:4])
    return bend.fit(*columns, flops=of["flops"], noise=noise or None)


def with_looks(points: list[dict[str, Any]], looks: list[dict[str, Any]], unique_tokens: float) -> list[dict[str, Any]]:
    """The points, and for each look the run that would have left the trunk there, cooled on paper."""
    gain, _ = cooling(points)
    told = (
        look | {"bits_per_byte": look["raw"] * math.exp(gain(look["tokens"])), "unique_tokens": min(look["tokens"], unique_tokens)}
        for look in looks
    )
    return [*points, *told]


def cooling(points: list[dict[str, Any]]) -> tuple[Callable[[float], float], float]:
    """How much lower log loss is after cooling, by the tokens of the whole run, and the standard deviation about that.

    A straight line in log tokens through what the ladder's runs gained, level from twice the longest on.
    """
    known = [p for p in points if p["raw"] and p["bits_per_byte"]]
    if len(known) < 4:
        return lambda tokens: USUAL_GAIN, USUAL_SPREAD
    gains = np.array([math.log(p["bits_per_byte"] / p["raw"]) for p in known])
    tokens = np.log([p["tokens"] for p in known])
    slope, level = np.polyfit(tokens, gains, 1)
    slope = min(0.0, float(slope))
    level = float(np.mean(gains - slope * tokens))
    spread = float(np.std(gains - slope * tokens - level, ddof=2))
    top = float(tokens.max()) + math.log(2)
    return lambda at: slope * min(math.log(at), top) + level, max(spread, 0.005)


# --- beside the run -----------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Remembered:
    """forecast.json: what was foretold of a run, and the measured points it rests on; the law is fitted to them again when it is needed."""

    quality: Interval | None
    params: int
    tokens: int
    batch_tokens: int
    unique_tokens: float
    flops_per_token: float
    shift: Shift
    noise: float
    measured: list[dict[str, Any]]  # the ladder's finished points
    looks: list[dict[str, Any]]  # and where its trunks were only looked at
    decay: float = 0.4  # share of the run's steps in which it is cooled

    @property
    def points(self) -> int:
        return len(self.measured)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, path: Path) -> Remembered:
        """Raises DataError for a file that is not one."""
        try:
            kept = json.loads(path.read_text("utf-8"))
            kept["quality"] = kept["quality"] and Interval(**kept["quality"])
            kept["shift"] = Shift(**kept["shift"])
            return cls(**kept)
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise DataError(f"not a forecast: {e}", str(path), "delete it; the run itself does not need it") from None

    @functools.cached_property
    def law(self) -> BentLaw:
        """Fitted again to what was measured."""
        return fit(self.measured, self.looks, self.unique_tokens, self.noise)

    def corrected(self, looks: list[tuple[int, float]], step: int) -> Interval | None:
        """The forecast again when `step` steps are done: what the run's own curve says, weighed against what the law said before.

        looks: (step, bits per byte on the watched documents) at full rate. The last three are cooled on paper, by what cooling gave the
        ladder's runs, and set beside the law's loss at that many tokens; the difference is carried to the end.
        """
        seen = [(s, b) for s, b in looks if s <= step][-3:]
        if not self.quality or not seen:
            return None
        gain, spread = cooling(self.measured)
        at = float(np.mean([s for s, _ in seen])) * self.batch_tokens / (1 - self.decay)  # the run that would leave there
        cooled = float(np.mean([math.log(b) for _, b in seen])) + gain(at)
        expected = math.log(float(self.law.loss(float(self.params), at, self.unique_tokens)))
        middle = math.log(self.quality.p50)
        before = math.log(self.quality.p90 / self.quality.p10) / (2 * Z80)
        now = math.hypot(spread, LATER, self.shift.error)
        weight = before**2 / (before**2 + now**2)
        middle += weight * (cooled - expected)
        width = Z80 * math.sqrt(before**2 * now**2 / (before**2 + now**2))
        return Interval(math.exp(middle - width), math.exp(middle), math.exp(middle + width))

    def _fan(self) -> list[tuple[float, float, float, float]]:
        """The interval from the dearest point on to the planned run, for a model of that size: FLOPs, p10, p50, p90."""
        begin = max(p["flops"] for p in (*self.measured, *self.looks)) / self.flops_per_token
        if not self.quality or begin >= self.tokens:
            return []
        tokens = np.geomspace(begin, self.tokens, 8)
        found = [expect(self.law, self.params, float(d), self.unique_tokens, float(d) * self.flops_per_token, self.shift) for d in tokens]
        return [(float(d) * self.flops_per_token, i.p10, i.p50, i.p90) for d, i in zip(tokens, found, strict=True)]

    def svg(self, came: float | None, width: int, height: int, title: str) -> str:
        """The points, the law by size, the interval and, once it is known, what came: held-out bits per byte against training FLOPs."""
        law, factor = self.law, self.shift.factor
        fresh: dict[float, list[tuple[float, float]]] = {}
        again: dict[float, list[tuple[float, float]]] = {}
        curves: dict[float, list[tuple[float, float]]] = {}
        for p in with_looks(self.measured, self.looks, self.unique_tokens):
            side = again if p["tokens"] > 1.05 * p["unique_tokens"] else fresh
            side.setdefault(p["params"], []).append((p["flops"], p["bits_per_byte"] * factor))
        for params in sorted({p["params"] for p in self.measured}):
            mine = [p for p in self.measured if p["params"] == params]
            per_token = mine[0]["flops"] / mine[0]["tokens"]
            tokens = np.geomspace(min(p["tokens"] for p in mine) / 1.5, max(p["tokens"] for p in mine) * 3, 30)
            losses = law.loss(float(params), tokens, self.unique_tokens)
            curves[params] = [(float(d * per_token), float(y) * factor) for d, y in zip(tokens, losses, strict=True)]
        at = self.tokens * self.flops_per_token
        chosen = (at, self.quality.p10, self.quality.p50, self.quality.p90) if self.quality else None
        return law_svg(
            fresh,
            curves,
            repeats=again,
            band=self._fan(),
            chosen=chosen,
            outcome=None if came is None else (at, came),
            x_label="training FLOPs",
            y_label="held-out bits per byte",
            width=width,
            height=height,
            title=title,
        )
