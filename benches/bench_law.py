"""How well the law foretells published training runs it has not seen, beside naive practice on the same points; and what a fit costs.

    .venv/bin/python benches/bench_law.py                 # the tables of CUPOLA_LAWS, or of ../shared/laws beside the checkout
    .venv/bin/python benches/bench_law.py FOLDER --cut 0.6

Each series is cut at 40, 60 and 80% of its range of log compute; the cheap part is fitted, the dear part foretold.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from benches.bench_train import ROOT, line, log
from cupola import law, points
from cupola.errors import CupolaError
from cupola.lawtable import together
from cupola.points import Series

CUTS = (0.4, 0.6, 0.8)
REFITS = 40  # of the naive bootstrap: its 10th and 90th percentile within about 5 points of the percentile
LOW_LOSS = 5.5  # Muennighoff et al. 2023 judge their law on the runs below it
EXPONENTS = {  # Porian et al. 2024, tables: a of N* ~ C^a with its interval, tuned, parameters counted in the standard way
    "porian-rw-tuned-short-const-standard": (0.497, 0.491, 0.505),
    "porian-owt2-tuned-short-const-standard": (0.518, 0.493, 0.541),
}
TWENTY = 20  # points of the fit that is timed

Rows = list[dict[str, float]]


# --- naive practice: Chinchilla's form, interval from a bootstrap of its parameters -----------------------------------------------------


def naive(series: Series, flops: np.ndarray, cut: float, seed: int = 0) -> Rows:
    """L = E + A / N**alpha + B / D**beta as Hoffmann et al. 2022 fit it: Huber loss on log losses (delta 1e-3), L-BFGS from a few starts.

    80% interval: percentiles over refits of resampled runs, each from the best fit of all.
    """
    cheap = np.log(flops) <= np.log(flops.min()) + cut * np.log(flops.max() / flops.min()) + 1e-9
    centre = np.log([series.params[cheap], series.tokens[cheap]]).mean(axis=1)  # or A and alpha can hardly be told apart
    logs = np.log([series.params, series.tokens, series.loss]) - np.array([*centre, 0.0])[:, None]
    runs, dear = logs[:, cheap], logs[:, ~cheap]
    middle = float(np.median(runs[2]))
    starts = [np.array([middle + np.log(e), *2 * [middle + np.log((1 - e) / 2)], a, a]) for e in (0.3, 0.6) for a in (0.2, 0.5)]
    best = min((_hoffmann(runs, start) for start in starts), key=lambda fit: fit.fun).x
    rng = np.random.default_rng(seed)
    refits = [_hoffmann(runs[:, rng.integers(0, runs.shape[1], runs.shape[1])], best).x for _ in range(REFITS)]
    p10, p90 = np.exp(np.quantile([_chinchilla(theta, dear)[0] for theta in refits], (0.1, 0.9), axis=0))
    p50, truth = np.exp(_chinchilla(best, dear)[0]), np.exp(dear[2])
    return [{"p10": float(a), "p50": float(b), "p90": float(c), "truth": float(t)} for a, b, c, t in zip(p10, p50, p90, truth, strict=True)]


def _chinchilla(theta: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log loss (R,), its derivatives (5, R)); theta: log E, log A, log B, alpha, beta; logs: (2 or more, R) log N, log D."""
    parts = np.clip([np.full(logs.shape[1], theta[0]), theta[1] - theta[3] * logs[0], theta[2] - theta[4] * logs[1]], -50, 50)
    value = np.logaddexp.reduce(parts, axis=0)
    e, a, b = np.exp(parts - value)
    return value, np.stack([e, a, b, -a * logs[0], -b * logs[1]])


def _hoffmann(runs: np.ndarray, start: np.ndarray, delta: float = 1e-3) -> Any:
    def cost(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = _chinchilla(theta, runs)
        off = value - runs[2]
        clipped = np.clip(off, -delta, delta)
        return float((clipped * (off - clipped / 2)).sum() / delta), slopes @ clipped / delta

    return minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})


# --- the table --------------------------------------------------------------------------------------------------------------------------


def ours(series: Series, flops: np.ndarray, cut: float) -> Rows:
    """The law's predictions of the dear part."""
    return law.score(series.params, series.tokens, series.loss, series.unique_tokens, flops=flops, cut=cut).points


def foretold(every: Sequence[Series], cuts: Sequence[float]) -> tuple[dict[str, list[tuple[str, float, Rows]]], list[str]]:
    """(by method: (series, cut, predicted points), what could not be scored and why). Both methods see the same runs."""
    methods: dict[str, Callable[[Series, np.ndarray, float], Rows]] = {"law": ours, "naive": naive}
    found: dict[str, list[tuple[str, float, Rows]]] = {name: [] for name in methods}
    skipped, told = [], time.monotonic()
    for i, series in enumerate(every):
        flops = 6 * series.params * series.tokens
        flops = flops if series.flops is None else np.where(np.isnan(series.flops), flops, series.flops)
        for cut in cuts:
            for name, method in methods.items():
                try:
                    found[name].append((series.name, cut, method(series, flops, cut)))
                except (CupolaError, ValueError) as e:
                    skipped.append(f"{name}: {series.name} at {cut:.0%}: {e}")
        if time.monotonic() - told > 10:
            told = time.monotonic()
            log(f"  {i + 1} of {len(every)} series")
    return found, skipped


def table(found: list[tuple[str, float, Rows]], cuts: Sequence[float]) -> list[dict[str, Any]]:
    """A row a cut and one for all, points pooled; lowest_coverage: of a series, and over all its cuts in the last row."""
    rows = []
    for cut in (*cuts, None):
        groups: dict[str, Rows] = {}
        for name, at, predicted in found:
            if cut in (at, None):
                groups.setdefault(name, []).extend(predicted)
        if any(groups.values()):
            rows.append({"cut": cut, "series": len(groups), **together(list(groups.values())), "by_series": _mean(groups)})
    return rows


def _mean(groups: dict[str, Rows]) -> dict[str, float]:
    """The same, each series counting alike however many points it has: means over series."""
    each = [together([rows]) for rows in groups.values() if rows]
    return {key: statistics.fmean(row[key] for row in each) for key in ("median_error", "p90_error", "coverage", "width")}


def show(name: str, rows: list[dict[str, Any]]) -> None:
    log(f"{name:<12} {'cut':>4}  points  covers  lowest series  median error  90% below  median width")
    for row in rows:
        cut = "all" if row["cut"] is None else f"{row['cut']:.0%}"
        log(f"{'':<12} {cut:>4}  {row['predicted']:>6}  {row['coverage']:>6.1%}  {row['lowest_coverage']:>13.0%}  {_three(row)}")
    log(f"{'series alike':<12} {'all':>4}  {'':>6}  {rows[-1]['by_series']['coverage']:>6.1%}  {'':>13}  {_three(rows[-1]['by_series'])}")


def _three(row: dict[str, Any]) -> str:
    return f"{row['median_error']:>12.2%}  {row['p90_error']:>9.2%}  {row['width']:>12.1%}"


# --- what else it must reach ------------------------------------------------------------------------------------------------------------


def repeats(every: Sequence[Series]) -> dict[str, float] | None:
    """Mean relative error below LOW_LOSS of the law of the runs that repeat data, each left out in turn: of those alone, and of all."""
    for series in every:
        if series.unique_tokens is None:
            continue
        low = series.loss < LOW_LOSS
        errors = {}
        for name, used in (("fitted to them", low), ("fitted to all", np.ones_like(low))):
            made = law.fit(
                series.params[used], series.tokens[used], series.loss[used], series.unique_tokens[used], flops=_flops(series, used)
            )
            errors[name] = float(law.refit_errors(made)[low[used]].mean())
        log(f"repeats  mean error below loss {LOW_LOSS}, {int(low.sum())} runs: " + ", ".join(f"{v:.2%} {k}" for k, v in errors.items()))
        return errors
    return None


def _flops(series: Series, used: np.ndarray) -> np.ndarray | None:
    return None if series.flops is None else series.flops[used]


def exponents(every: Sequence[Series]) -> list[dict[str, Any]]:
    """The exponent of the compute-optimal size where it was published: along the runs' own compute, as there, and of the formula alone."""
    rows = []
    for series in every:
        if series.name in EXPONENTS:
            made = law.fit(series.params, series.tokens, series.loss, series.unique_tokens, flops=series.flops)
            (published, low, high), found = EXPONENTS[series.name], frontier(made, series)
            bounds = {"published": published, "low": low, "high": high}
            rows.append({"series": series.name, "a": found, "formula_a": made.a, **bounds, "inside": low <= found <= high})
            log(f"exponent {found:.3f} (formula {made.a:.3f}), published {published} ({low} to {high}): {series.name}")
    return rows


def frontier(made: law.ScalingLaw, series: Series) -> float:
    """Slope of log N* over log C, N* the size of least forecast loss at compute C = 6ND, C over the range of the runs.

    Where N* is at the end of the sizes that were run, it is not known, and that C is left out.
    """
    flops = np.geomspace(6 * (series.params * series.tokens).min(), 6 * (series.params * series.tokens).max(), 12)
    sizes = np.geomspace(series.params.min() / 1.5, series.params.max() * 1.5, 400)
    best = made.loss(sizes[None], flops[:, None] / 6 / sizes[None]).argmin(axis=1)
    known = (best > 0) & (best < len(sizes) - 1)
    return float(np.polyfit(np.log(flops[known]), np.log(sizes[best[known]]), 1)[0]) if known.sum() > 2 else float("nan")


def seconds(rounds: int) -> list[float]:
    """Wall clock of a fit of 20 points of a planted law, each time other noise; the first, which loads things, does not count."""
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 4e7, 5), np.geomspace(2e7, 3e9, 4)))
    truth = 1.7 + 400 / params**0.34 + 410 / tokens**0.28
    taken = []
    for seed in range(rounds + 1):
        loss = truth * np.exp(np.random.default_rng(seed).normal(0, 0.005, TWENTY))
        begun = time.perf_counter()
        law.fit(params, tokens, loss)
        taken.append(time.perf_counter() - begun)
    return taken[1:]


# --- the command ------------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("CUPOLA_LAWS") or ROOT / ".." / "shared" / "laws")
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="CSV files of runs [CUPOLA_LAWS, or ../shared/laws]")
    parser.add_argument("--cut", type=float, action="append", help="share of log compute that is fitted (repeat for more) [0.4 0.6 0.8]")
    parser.add_argument("--rounds", type=int, default=15, help="of the fit that is timed [15]")
    args = parser.parse_args()
    paths, cuts = sorted(args.folder.glob("*.csv")), args.cut or CUTS
    if not paths:
        log(f"skipped: no CSV files in {args.folder}; give a folder, or set CUPOLA_LAWS")
        sys.exit(0)
    if "OPENBLAS_NUM_THREADS" not in os.environ:  # read when NumPy loads, so anew: threads made the naive fits 40 times slower
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    try:
        every = [series for path in paths for series in points.read(path)]
    except CupolaError as e:
        log(str(e))
        sys.exit(1)
    log(f"{len(every)} series, {sum(len(s.loss) for s in every)} runs")
    found, skipped = foretold(every, cuts)
    tables = {name: table(rows, cuts) for name, rows in found.items()}
    for name, rows in tables.items():
        show(name, rows)
    for why in skipped:
        log(f"left out: {why}")
    more = {"repeats": repeats(every), "exponents": exponents(every)}
    taken = seconds(args.rounds)
    log(f"fit      {statistics.median(taken):.3f} s for {TWENTY} points, median of {len(taken)}")
    line("law", taken, f"s a fit of {TWENTY} points", tables=tables, **more, skipped=skipped)


if __name__ == "__main__":
    main()
