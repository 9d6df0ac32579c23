"""Laws for small models on small corpora, whose loss falls again once about a million tokens are read.

Models of a few layers learn late to copy what came before: after some hundred steps the loss drops, by a third on tunes, by less elsewhere,
and a ladder that ends before it foretells nothing of it. So a family of laws is fitted, each with a drop taken out of the runs,

    log L(N, D) = log L'(N, D) - drop * s(D),      s(D) = 1 / (1 + exp(-(ln D - ln at) / WIDTH)),

L' a ScalingLaw, drop and at from a small grid, all as likely beforehand. Each law weighs by how well it explains the runs (its evidence). A
ladder that reads past the drop decides it; one that ends before leaves it open, and the spread between the laws is in the interval.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cupola import law as laws
from cupola.errors import LadderTooShort
from cupola.law import Column, Prediction, ScalingLaw

# Chosen on own runs over five corpora (LOG.md, 2026-11-25)
DROPS = (0.0, 0.1, 0.2, 0.3, 0.4)  # of log loss
PLACES = (5e5, 8e5, 1.3e6)  # tokens
WIDTH = 0.35  # of the drop, in log tokens


def fallen(tokens: Column | float, at: float) -> np.ndarray:
    """The share of a drop at `at` tokens that lies behind a run of so many."""
    return 1 / (1 + np.exp(-(np.log(np.asarray(tokens, float)) - math.log(at)) / WIDTH))


@dataclasses.dataclass(frozen=True)
class Bent:
    """One law of the family."""

    drop: float
    at: float
    weight: float
    law: ScalingLaw

    def log_loss(self, params: Column | float, tokens: Column | float, unique_tokens: Column | float | None) -> np.ndarray:
        return np.log(self.law.loss(params, tokens, unique_tokens)) - self.drop * fallen(tokens, self.at)


@dataclasses.dataclass(frozen=True)
class BentLaw:
    """The family; asked like a ScalingLaw. Constants, exponent and notes are those of the law that weighs most."""

    family: tuple[Bent, ...]

    @property
    def best(self) -> ScalingLaw:
        return max(self.family, key=lambda one: one.weight).law

    @property
    def a(self) -> float:
        """The best size for a compute C grows as C**a."""
        return self.best.a

    @property
    def form(self) -> str:
        """Of the law that weighs most."""
        return self.best.form

    @property
    def n(self) -> int:
        """Runs that it was fitted to."""
        return self.best.n

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about this fit."""
        return self.best.notes

    def plain(self) -> dict[str, Any]:
        """As JSON has it: the constants of the law that weighs most, and the drop expected of all."""
        names = ("form", "E", "A", "B", "alpha", "beta", "k", "a", "intervals", "notes")
        return {name: getattr(self.best, name) for name in names} | {"drop": self.drop}

    @property
    def drop(self) -> float:
        """Expected, of log loss."""
        return sum(one.weight * one.drop for one in self.family)

    def loss(self, params: Column | float, tokens: Column | float, unique_tokens: Column | float | None = None) -> np.ndarray:
        """The middle, which never rises with tokens; broadcasts."""
        return np.exp(sum(one.weight * one.log_loss(params, tokens, unique_tokens) for one in self.family))

    def predict(
        self,
        params: Column | float,
        tokens: Column | float,
        unique_tokens: Column | float | None = None,
        *,
        flops: Column | float | None = None,
    ) -> Prediction:
        """The 80% interval: what each law is unsure of, and what they differ by. Raises LadderTooShort as each of them does."""
        middles, variances = [], []
        for one in self.family:
            try:
                found = one.law.predict(params, tokens, unique_tokens, flops=flops)
            except LadderTooShort as e:
                raise LadderTooShort(e.what, e.where, e.fix, self) from None
            low, middle, high = (np.log(np.ravel(p)) for p in (found.p10, found.p50, found.p90))
            middles.append(middle - one.drop * np.ravel(fallen(tokens, one.at)))
            variances.append(((high - low) / (2 * laws.Z80)) ** 2)
        weights = np.array([one.weight for one in self.family])[:, None]
        middle = (weights * middles).sum(0)
        sd = np.sqrt((weights * (np.array(variances) + (np.array(middles) - middle) ** 2)).sum(0))
        return Prediction(np.exp(middle - laws.Z80 * sd), np.exp(middle), np.exp(middle + laws.Z80 * sd))


def fit(params: Column, tokens: Column, loss: Column, unique_tokens: Column, *, flops: Column, noise: float | None = None) -> BentLaw:
    """The family through R finished runs, (R,) each as law.fit takes them. Raises what law.fit raises."""
    tokens, loss = np.asarray(tokens, float), np.asarray(loss, float)
    made = []
    for drop in DROPS:
        places = PLACES if drop else PLACES[:1]
        for at in places:
            straight = loss * np.exp(drop * fallen(tokens, at))
            law = laws.fit(params, tokens, straight, unique_tokens, flops=flops, noise=noise, excess=False)
            made.append((drop, at, laws.TEMPER * law.evidence - math.log(len(places)), law))
    top = max(weight for _, _, weight, _ in made)
    total = sum(math.exp(weight - top) for _, _, weight, _ in made)
    return BentLaw(tuple(Bent(drop, at, math.exp(weight - top) / total, law) for drop, at, weight, law in made))
