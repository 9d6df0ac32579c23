"""Plan, then run, many times over: how often the truth fell inside, and what the ladder costs against doing without.

    .venv/bin/python benches/bench_forecast.py                 # pairs over corpora, budgets, sizes and seeds: about 75 min
    .venv/bin/python benches/bench_forecast.py --part regret   # a budget spent three ways: 12 min a seed
    .venv/bin/python benches/bench_forecast.py --report        # what was run so far, nothing new

Every pair is a project folder below --work, made as `cupola make` makes one up to the proof (no pieces are drawn), with its ledger.
It can be stopped and gone on with, and nothing is left out of the tables, whatever came of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benches.bench_train import ROOT, log
from cupola import lawplot, project
from cupola.calibration import calibration
from cupola.errors import CupolaError
from cupola.make import Foundry

MUSIC = '{source = "pypi:music21==10.5.1", sha256 = "dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1", include = [%s], \
licence = "LicenseRef-music21-corpus", allow = "public domain tunes, a measurement"}'
PYTHON = '{source = "pypi:networkx==3.5", sha256 = "0030d386a9a06dee3565298b4a734b68589749a544acbb6c412dc9e2489ec6ec", \
include = ["networkx/**/*.py"], exclude = ["**/tests/**"], licence = "BSD-3-Clause"}'
PROSE = '{source = "%s", licence = "GPL-2.0-only", allow = "a measurement"}'
NOTES = Path("/usr/share/doc/git/RelNotes")  # on Debian with git; elsewhere these pairs are left out, and the report says so
CORPORA = {
    "dances": ("tune", MUSIC % '"music21/corpus/oneills1850/*.abc", "music21/corpus/ryansMammoth/*.abc", "music21/corpus/airdsAirs/*.abc"'),
    "oneill": ("tune", MUSIC % '"music21/corpus/oneills1850/*.abc"'),
    "folk": ("tune", MUSIC % '"music21/corpus/essenFolksong/*.abc"'),
    "graphs": ("code", PYTHON),
    "notes": ("text", PROSE % NOTES),
}


@dataclasses.dataclass(frozen=True)
class Pair:
    """One budget on one corpus. params: a size that is asked for; None: the plan chooses. ladder: share of the budget; 0: none."""

    corpus: str
    minutes: float
    seed: int = 0
    params: float | None = None
    ladder: float = 0.4  # more than the default 0.22: these budgets are small

    @property
    def name(self) -> str:
        size = f"-{self.params:.0f}" if self.params else ""
        return f"{self.corpus}-{self.minutes:g}min{size}-seed{self.seed}" + ("" if self.ladder else "-bare")

    def settings(self) -> str:
        medium, source = CORPORA[self.corpus]
        size = f"params = {self.params:.0f}\n" if self.params else ""
        return (
            f'[project]\nname = "{self.corpus}"\nseed = {self.seed}\n\n[budget]\nminutes = {self.minutes}\nladder = {self.ladder}\n\n'
            f'[models.{self.corpus}]\nmedium = "{medium}"\ncount = 0\nsources = [{source}]\n\n'
            f"[models.{self.corpus}.train]\nseed = {self.seed}\n{size}"
        )


PAIRS = [  # in turns, so that a part of them says something about all
    *(Pair(corpus, 2.5, 0) for corpus in CORPORA),
    *(Pair(corpus, 2.5, 1) for corpus in CORPORA),
    *(Pair(corpus, 3, 2) for corpus in CORPORA),
    Pair("dances", 2.5, 3, 250_000),
    Pair("graphs", 2.5, 4, 160_000),
    Pair("notes", 2.5, 3),
    Pair("folk", 2.5, 3),
    Pair("graphs", 2.5, 3),
    Pair("dances", 4, 4),
    Pair("folk", 4, 4),
    Pair("notes", 4, 4),
    Pair("graphs", 4, 5),
    Pair("dances", 6, 5),
]


def regret(corpus: str, minutes: float, seeds: int) -> Iterator[Pair]:
    """The same budget with a ladder, without one, and over sizes without one: the best of these is known in hindsight only."""
    for seed in range(seeds):
        yield Pair(corpus, minutes, seed)
        yield Pair(corpus, minutes, seed, ladder=0)
        yield from (Pair(corpus, minutes, seed, params, 0) for params in (160_000, 400_000, 940_000))


def run(pair: Pair, work: Path, cache: Path) -> dict[str, Any]:
    """Plan and run one pair, or find it done; what was expected and what came, or what went wrong."""
    folder = work / pair.name
    result = folder / "pair.json"
    if result.exists():
        return json.loads(result.read_text("utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cupola.toml").write_text(pair.settings(), "utf-8")
    (folder / ".cupola").mkdir(exist_ok=True)
    if not (folder / ".cupola" / "cache").exists():
        (folder / ".cupola" / "cache").symlink_to(cache.resolve())
    facts: dict[str, Any] = {"pair": pair.name, **dataclasses.asdict(pair)}
    try:
        with Foundry(project.load(folder), say=lambda stage, text: log(f"  {stage:<9} {text}")) as f:
            _ = f.corpus, f.baselines
            facts |= {"outcome": dataclasses.asdict(f.outcome), "bits_per_byte": f.score.bits_per_byte, "ngram": f.baselines.ngram}
            facts |= {"forecasts": f.foretold(), "spent": f.spent().seconds, "kept": f.forecast and f.forecast.plain()}
            f.book.finish_run(f.run_id, "done")
    except (CupolaError, OSError, ArithmeticError, ValueError) as e:
        traceback.print_exc(file=sys.stderr)
        facts["error"] = f"{type(e).__name__}: {e}"
    result.write_text(json.dumps(facts), "utf-8")
    return facts


def tables(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Coverage by quantity, and each pair."""
    forecasts = [f for r in results for f in r.get("forecasts", ())]
    pairs = [
        {
            "pair": r["pair"],
            "error": r.get("error"),
            "params": (r.get("kept") or {}).get("params"),
            "came": r.get("bits_per_byte"),
            **{f["quantity"]: [f["p10"], f["p50"], f["p90"], f["outcome"]] for f in r.get("forecasts", ())},
        }
        for r in results
    ]
    return {"quantities": [dataclasses.asdict(c) for c in calibration(forecasts)], "pairs": pairs}


def regrets(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By corpus, budget and seed: held-out bits per byte of the three ways."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for r in results:
        if "bits_per_byte" in r:
            groups.setdefault((r["corpus"], r["minutes"], r["seed"]), []).append(r)
    made = []
    for (corpus, minutes, seed), rows in groups.items():
        planned = [r["bits_per_byte"] for r in rows if r["ladder"] and not r["params"]]
        bare = [r["bits_per_byte"] for r in rows if not r["ladder"] and not r["params"]]
        sweep = {f"{r['params']:.0f}": r["bits_per_byte"] for r in rows if not r["ladder"] and r["params"]}
        if planned and bare and sweep:
            best = min(*sweep.values(), *bare)
            made.append(
                {"corpus": corpus, "minutes": minutes, "seed": seed, "planned": planned[0], "default": bare[0], "sweep": sweep}
                | {"against_default": planned[0] / bare[0] - 1, "regret": planned[0] / best - 1}
            )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "benches" / ".work" / "forecast", help="folder of the pairs, gone on with")
    parser.add_argument("--part", choices=("pairs", "regret"), default="pairs")
    parser.add_argument("--only", action="append", help="corpora: " + ", ".join(CORPORA))
    parser.add_argument("--minutes", type=float, default=2.5, help="budget of a regret run")
    parser.add_argument("--seeds", type=int, default=2, help="of the regret runs")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--plot", type=Path, help="write the calibration as SVG")
    asked = parser.parse_args()
    corpora = [c for c in asked.only or CORPORA if c != "notes" or NOTES.is_dir()]
    pairs = [p for p in PAIRS if p.corpus in corpora]
    if asked.part == "regret":
        pairs = [p for c in asked.only or ["dances"] for p in regret(c, asked.minutes, asked.seeds)]
    asked.work.mkdir(parents=True, exist_ok=True)
    cache = asked.work / "cache"
    cache.mkdir(exist_ok=True)
    results = []
    for number, pair in enumerate(pairs, start=1):
        done = (asked.work / pair.name / "pair.json").exists()
        if asked.report and not done:
            continue
        log(f"{number} of {len(pairs)}: {pair.name}{' (done before)' if done else ''}")
        results.append(run(pair, asked.work, cache))
    found = tables(results)
    quality = next((c for c in found["quantities"] if c["quantity"] == "bits_per_byte"), None)
    value, n = (quality["share"], quality["known"]) if quality else (math.nan, 0)
    spread = [quality["low"], quality["high"]] if quality else []
    extra = {"regret": regrets(results)} if asked.part == "regret" else {}
    if asked.plot:
        asked.plot.write_text(lawplot.calibration_svg([f for r in results for f in r.get("forecasts", ())]), "utf-8")
    print(
        json.dumps(
            {"bench": "forecast", "value": value, "unit": "share inside the 80% interval", "n": n, "spread": spread, **found, **extra}
        )
    )


if __name__ == "__main__":
    main()
