"""What `cupola law` prints: a law's constants with intervals, its predictions, its score on runs it has not seen.

It reads a file of anyone's runs (points.py) and needs neither a project nor torch. A series for which there is no law is listed with the
reason, and the others go on.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cupola import law as laws
from cupola import lawplot, points, units
from cupola.errors import ConfigError, CupolaError, DataError, LadderTooShort
from cupola.law import ScalingLaw, Score
from cupola.points import Series

PATIENCE = 2.0  # seconds until progress is shown, and between two lines of it
FORMULA = "L = E + (A / N^alpha + B / D^beta)^k"
LETTERS = ("E", "A", "B", "alpha", "beta", "k", "a")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class At:
    """Where a prediction is wanted."""

    params: float
    tokens: float
    unique_tokens: float | None = None


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A series and its law; `error` says why there is none, or only a rough one, which foretells nothing."""

    series: Series
    law: ScalingLaw | None
    error: dict[str, str] | None
    predictions: list[dict[str, Any]]  # params, tokens, unique_tokens, p10, p50, p90, error

    def plain(self) -> dict[str, Any]:
        """As --json prints it; residual: median relative error on its runs, each left out in turn."""
        s, law = self.series, self.law
        residual = law and float(np.median(laws.refit_errors(law)))
        repeats = dataclasses.asdict(law.repeats) if law and law.repeats else {}
        return {
            "series": s.name,
            "where": s.where,
            "n": len(s.loss),
            "sizes": len(np.unique(s.params)),
            "form": law and law.form,
            "constants": {name: getattr(law, name) for name in LETTERS} | repeats if law else {},
            "intervals": dict(law.intervals) if law else {},
            "top_flops": law and law.top_flops,
            "residual": residual,
            "noise": s.noise,
            "predictions": self.predictions,
            "notes": self.notes,
            "error": self.error,
        }

    @property
    def notes(self) -> list[str]:
        """What a person should know of the points, then of the fit."""
        return [*self.series.notes, *(self.law.notes if self.law else ())]


@dataclasses.dataclass(frozen=True)
class Scored:
    """A series at a cut: its Score, or `error`."""

    series: Series
    cut: float
    score: Score | None
    error: dict[str, str] | None

    def plain(self) -> dict[str, Any]:
        """As --json prints it."""
        numbers = {f.name: getattr(self.score, f.name) if self.score else None for f in dataclasses.fields(Score)}
        head = {"series": self.series.name, "where": self.series.where, "cut": self.cut}
        return {**head, **numbers, "notes": self.notes, "error": self.error}

    @property
    def notes(self) -> list[str]:
        """What a person should know of the points."""
        return list(self.series.notes)


def read(path: Path, names: Sequence[str] = (), *, as_they_are: bool = False) -> list[Series]:
    """The series of a file, or those of these names. Raises DataError for a name that is not there."""
    series = points.read(path, as_they_are=as_they_are)
    known = {s.name: s for s in series}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            some = ", ".join(list(known)[:5]) + (", ..." if len(known) > 5 else "")
            raise DataError(f"no series {name!r}", str(path), f"did you mean {near[0]!r}?" if near else f"there are {some}")
    return [known[name] for name in dict.fromkeys(names)] if names else series


def at(text: str) -> At:
    """What --at says: PARAMS,TOKENS or PARAMS,TOKENS,UNIQUE_TOKENS. Raises ConfigError."""
    parts, fix = text.split(","), "give two or three numbers and no spaces, such as 1.2e9,3e10"
    if len(parts) not in (2, 3):
        raise ConfigError(f"{text!r} is not PARAMS,TOKENS", "--at", fix)
    try:
        values = [points.number(part) for part in parts]
    except DataError as e:
        raise ConfigError(e.what, f"--at {text}", e.fix) from None
    if min(values) <= 0:
        raise ConfigError("a count is above zero", f"--at {text}", fix)
    return At(*values)


def cuts(shares: Sequence[float]) -> list[float]:
    """What --cut says, each once. Raises ConfigError."""
    for share in shares:
        if not 0 < share < 1:
            fix = f"did you mean {share / 100:g}?" if 1 < share < 100 else "0.6 fits the cheap 60% of the log compute range"
            raise ConfigError(f"{share:g} is not a share between 0 and 1", "--cut", fix)
    return list(dict.fromkeys(shares))


# --- fit --------------------------------------------------------------------------------------------------------------------------------


def fit(series: Sequence[Series], wanted: Sequence[At] = ()) -> list[Fitted]:
    """Each series' law and what it says of `wanted`."""
    return [_fitted(s, wanted) for s in _watched(series)]


def _fitted(series: Series, wanted: Sequence[At]) -> Fitted:
    try:
        law = laws.fit(series.params, series.tokens, series.loss, series.unique_tokens, flops=series.flops, noise=series.noise)
    except CupolaError as e:
        return Fitted(series, getattr(e, "law", None), _plain(e, series.where), [])
    return Fitted(series, law, None, [_prediction(law, at) for at in wanted])


def _prediction(law: ScalingLaw, at: At) -> dict[str, Any]:
    row: dict[str, Any] = dataclasses.asdict(at)
    try:
        found = law.predict(at.params, at.tokens, at.unique_tokens)
    except LadderTooShort as e:
        return {**row, "p10": None, "p50": None, "p90": None, "error": _plain(e, f"--at {at.params:g},{at.tokens:g}")}
    return {**row, **{key: float(np.ravel(getattr(found, key))[0]) for key in ("p10", "p50", "p90")}, "error": None}


def fit_facts(fitted: Sequence[Fitted]) -> dict[str, Any]:
    """As --json prints it."""
    return {"series": [row.plain() for row in fitted]}


def fit_lines(fitted: Iterable[Fitted]) -> Iterator[str]:
    """The laws for people."""
    for row in (one.plain() for one in fitted):
        reach = f", up to {row['top_flops']:.2g} FLOPs" if row["top_flops"] else ""
        yield f"{row['series']}: {row['n']} runs of {row['sizes']} {'size' if row['sizes'] == 1 else 'sizes'}{reach}"
        if row["error"]:
            yield f"  {'rough only' if row['form'] else 'no law'}: {row['error']['what']}"
        if row["form"]:
            yield f"  {FORMULA}, form {row['form']}"
            yield from _constant_lines(row)
        yield from map(_prediction_line, row["predictions"])


def _constant_lines(row: dict[str, Any]) -> Iterator[str]:
    for name, value in row["constants"].items():
        low, high = row["intervals"].get(name, (value, value))
        between = f"80%: {low:.4g} to {high:.4g}" if high > low else ""
        meaning = "the best size grows as compute to this power" if name == "a" else ""
        yield f"  {name:<6} {value:<10.4g}  {between:<24}  {meaning}".rstrip()
    noise = f", seeds differ by {row['noise']:.2%}" if row["noise"] else ""
    yield f"  residual {row['residual']:.2%} (median){noise}"


def _prediction_line(row: dict[str, Any]) -> str:
    unique = f" ({_count(row['unique_tokens'])} of them different)" if row["unique_tokens"] else ""
    place = f"{_count(row['params'])} params, {_count(row['tokens'])} tokens{unique}"
    said = row["error"]["what"] if row["error"] else f"{row['p50']:.4g}  80%: {row['p10']:.4g} to {row['p90']:.4g}"
    return f"  at {place}: {said}"


def plot(path: Path, fitted: Sequence[Fitted]) -> None:
    """Write a picture of one series, its points and its law, as SVG. Raises ConfigError for several series."""
    if len(fitted) != 1:
        raise ConfigError(f"a picture shows one series, and there are {len(fitted)}", "--plot", "pick one with --series")
    s, law = fitted[0].series, fitted[0].law
    flops = 6 * s.params * s.tokens
    flops = flops if s.flops is None else np.where(np.isnan(s.flops), flops, s.flops)
    again = np.zeros(len(flops), bool) if s.unique_tokens is None else s.unique_tokens < s.tokens
    sizes = [(float(n), s.params == n) for n in np.unique(s.params)]
    once, repeats = ({n: _pairs(flops[mine & kind], s.loss[mine & kind]) for n, mine in sizes} for kind in (~again, again))
    curves = {}
    for n, mine in sizes if law else ():
        tokens = np.geomspace(s.tokens[mine].min(), s.tokens[mine].max(), 40)
        curves[n] = _pairs(tokens * np.median(flops[mine] / s.tokens[mine]), law.loss(n, tokens))
    try:
        path.write_text(lawplot.law_svg(once, curves, repeats=repeats, y_label="loss", title=s.name), "utf-8")
    except OSError as e:
        raise ConfigError(f"cannot be written: {e.strerror}", str(path), "give a file in a folder that is there") from None


def _pairs(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(x.tolist(), y.tolist(), strict=True))


# --- score ------------------------------------------------------------------------------------------------------------------------------


def score(series: Sequence[Series], cuts: Sequence[float]) -> list[Scored]:
    """Each series cut at each share of its log compute: the cheap part fitted, the dear part foretold."""
    return [_scored(s, cut) for s, cut in _watched([(s, cut) for s in series for cut in cuts])]


def _scored(series: Series, cut: float) -> Scored:
    try:
        found = laws.score(series.params, series.tokens, series.loss, series.unique_tokens, flops=series.flops, cut=cut)
    except CupolaError as e:
        return Scored(series, cut, None, _plain(e, series.where))
    return Scored(series, cut, found, None)


def overall(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """All predicted points together: for each cut, and where there are several, for all cuts (cut: None)."""
    each: list[float | None] = list(dict.fromkeys(s.cut for s in scored))
    rows = []
    for cut in [*each, None] if len(each) > 1 else each:
        there = [s for s in scored if s.score and s.score.points and cut in (s.cut, None)]
        if there:
            pooled = together([s.score.points for s in there if s.score])
            rows.append({"cut": cut, "series": len({s.series.name for s in there}), **pooled})
    return rows


def together(groups: Sequence[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """The score of the predicted points of several series: pooled, beside the lowest share inside the interval of a single one."""
    p10, p50, p90, truth = (np.array([row[key] for rows in groups for row in rows]) for key in ("p10", "p50", "p90", "truth"))
    error = np.abs(p50 / truth - 1)
    return {
        "predicted": len(truth),
        "median_error": float(np.median(error)),
        "p90_error": float(np.quantile(error, 0.9)),
        "coverage": float(np.mean((p10 <= truth) & (truth <= p90))),
        "width": float(np.median((p90 - p10) / p50)),
        "lowest_coverage": min(float(np.mean([row["p10"] <= row["truth"] <= row["p90"] for row in rows])) for rows in groups if rows),
    }


def score_facts(scored: Sequence[Scored]) -> dict[str, Any]:
    """As --json prints it."""
    return {"scores": [row.plain() for row in scored], "overall": overall(scored)}


def score_lines(scored: Sequence[Scored]) -> Iterator[str]:
    """The scores as a table for people."""
    wide = max(len("all series"), *(len(s.series.name) for s in scored))
    yield f"{'series':<{wide}}   cut  fitted  predicted  median error  90% below  80% covers   width"
    for s in scored:
        head = f"{s.series.name:<{wide}}  {s.cut:>4.0%}  "
        if s.score:
            yield f"{head}{s.score.fitted:>6}{_numbers(dataclasses.asdict(s.score))}"
        else:
            yield f"{head}not scored: {s.error['what'] if s.error else ''}"
    for row in overall(scored):
        cut = "all" if row["cut"] is None else f"{row['cut']:.0%}"
        yield f"{'all series':<{wide}}  {cut:>4}  {'':>6}{_numbers(row)}"


def _numbers(row: dict[str, Any]) -> str:
    errors = f"  {row['predicted']:>9}  {row['median_error']:>12.2%}  {row['p90_error']:>9.2%}"
    return f"{errors}  {row['coverage']:>10.0%}  {row['width']:>6.1%}"


# --- what both share --------------------------------------------------------------------------------------------------------------------


def notes(rows: Sequence[Fitted | Scored]) -> list[str]:
    """What a person should know about each series, each once."""
    return list(dict.fromkeys(f"{row.series.name}: {note}" for row in rows for note in row.notes))


def refused(rows: Sequence[Fitted | Scored]) -> CupolaError | None:
    """The error of a file without a law, or whose laws do not reach what was asked; None where something was told."""
    asked = [p["error"] for row in rows if isinstance(row, Fitted) for p in row.predictions]
    for errors in ([row.error for row in rows], asked):
        first = errors[0] if errors else None
        if first and all(errors):
            others = f" (and {len(errors) - 1} more like it)" if len(errors) > 1 else ""
            return DataError(first["what"] + others, first["where"], first["fix"])
    return None


def _plain(error: CupolaError, where: str) -> dict[str, str]:
    """An error as --json has it, placed where the person can mend it."""
    return {"what": error.what, "where": where, "fix": error.fix}


def _count(x: float) -> str:
    return units.count(x) if x >= 1e4 else f"{x:g}"


def _watched(items: Sequence[T]) -> Iterator[T]:
    """The items, with a line on stderr now and then about how far it is."""
    said = time.monotonic()
    for i, item in enumerate(items):
        if i and time.monotonic() - said > PATIENCE:
            said = time.monotonic()
            print(f"{'':<8} {i} of {len(items)} done ...", file=sys.stderr, flush=True)
        yield item
