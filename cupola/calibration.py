"""How often the truth fell inside: forecasts beside their outcomes, quantity by quantity.

An 80% interval that holds contains four truths in five. The share that was seen says little while there are few: 4 of 5 inside goes with
anything from 28% to 99%. So each share has its own interval, and a promise of 80% is in doubt only where that leaves 80% out.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cupola import units

FIGURES: dict[str, Callable[[float], str]] = {  # by unit, as people read them
    "seconds": units.seconds,
    "joules": units.kwh,
    "usd": units.usd,
    "bits/byte": "{:.3f}".format,
}
NOMINAL = 0.8  # what p10 to p90 promises
SURE = 0.95  # of the interval around the share


@dataclasses.dataclass(frozen=True)
class Calibration:
    """One quantity's score. All but `made` speak of the forecasts whose outcome is known; None where there is none."""

    quantity: str
    made: int
    known: int
    inside: int  # truths within p10 to p90, the ends included
    share: float | None  # inside / known; NOMINAL is promised
    low: float | None  # share's 95% interval
    high: float | None
    error: float | None  # median of |p50 - truth| / |truth|
    width: float | None  # median of (p90 - p10) / |p50|


def calibration(forecasts: Sequence[Mapping[str, Any]]) -> list[Calibration]:
    """The score of each quantity, in the order in which the quantities first appear.

    forecasts: as Book.forecasts gives them: quantity, p10, p50, p90, and outcome, None while unknown. A forecast that was corrected while
    training is a quantity of its own: "bits_per_byte" and "bits_per_byte, corrected".
    """
    by_quantity: dict[str, list[Mapping[str, Any]]] = {}
    for forecast in forecasts:
        by_quantity.setdefault(forecast["quantity"], []).append(forecast)
    return [_score(quantity, made) for quantity, made in by_quantity.items()]


def binomial_interval(hits: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share of which `hits` of n >= 1 were seen, by Clopper and Pearson 1934 (Biometrika 26:404).

    It covers the true share at least that often, whatever it is and however small n; others are narrower and at times too sure.

    >>> [round(end, 3) for end in binomial_interval(4, 5)]
    [0.284, 0.995]
    """
    from scipy import stats  # half a second to import: only for who asks

    interval = stats.binomtest(hits, n).proportion_ci(SURE, method="exact")
    return float(interval.low), float(interval.high)


def _score(quantity: str, made: list[Mapping[str, Any]]) -> Calibration:
    known = [f for f in made if f["outcome"] is not None]
    inside = sum(f["p10"] <= f["outcome"] <= f["p90"] for f in known)
    low, high = binomial_interval(inside, len(known)) if known else (None, None)
    return Calibration(
        quantity=quantity,
        made=len(made),
        known=len(known),
        inside=inside,
        share=inside / len(known) if known else None,
        low=low,
        high=high,
        error=_median([abs(f["p50"] - f["outcome"]) / abs(f["outcome"]) for f in known if f["outcome"]]),
        width=_median([(f["p90"] - f["p10"]) / abs(f["p50"]) for f in known if f["p50"]]),
    )


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def said(forecast: Mapping[str, Any]) -> str:
    """One forecast in words: "bits_per_byte: 1.612 (1.570 to 1.660) bits/byte, came 1.634: inside"."""
    figure = FIGURES.get(forecast["unit"], "{:.4g}".format)
    low, middle, high = (figure(forecast[key]) for key in ("p10", "p50", "p90"))
    unit = "" if forecast["unit"] in ("seconds", "joules", "usd") else " " + forecast["unit"]  # those three say theirs
    if forecast["outcome"] is None:
        came = "no outcome yet"
    else:
        came = f"came {figure(forecast['outcome'])}: {'inside' if forecast['inside'] else 'outside'}"
    return f"{forecast['quantity']}: {middle} ({low} to {high}){unit}, {came}"
