"""Held-out bits per byte after 180 seconds of wall clock, beside other programs on the same documents; and how fast training multiplies.

    .venv/bin/python benches/bench_train.py --install     # once, by hand: the peers' environments
    .venv/bin/python benches/bench_train.py               # 3 seeds of ours, each peer that is there, then the speed

Every run is a process of its own; everything after its imports counts. README.md beside this file says what is compared, and how.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benches.peers import environments
from benches.peers.environments import PEERS, Peer

ROOT = Path(__file__).parents[1]
NEAR = (0.95, 1.03)  # of the seconds: a peer's run that took so long counts, others are done again with the steps put right
TRIES = 4  # runs of a peer at most, those that find its speed among them
TRAINER = "hf-trainer", "hf-trainer 5e-4"  # compared on their own; the others together


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def commit() -> str:
    """git describe of the checkout, "unknown" outside one."""
    asked = subprocess.run(["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def spread(values: list[float]) -> float:
    """(largest - smallest) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def line(bench: str, values: list[float], unit: str, **more: Any) -> None:
    """The one line on stdout; its value is the median of `values`."""
    from cupola import hardware

    head = {"bench": bench, "value": statistics.median(values), "unit": unit, "n": len(values), "spread": spread(values)}
    print(json.dumps({**head, "hardware": str(hardware.describe()), "commit": commit(), **more}, default=float, ensure_ascii=False))


# --- bits after so many seconds -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all runs share."""

    project: Path
    model: str | None
    seconds: float
    data: Path  # the corpus
    work: Path
    environments: Path
    clones: dict[str, Path | None]

    def script(self, python: Path, name: str, work: Path, *options: str) -> dict[str, Any]:
        """Run a script of peers/ in its environment, from scratch; its JSON line. Raises RuntimeError with what it said last."""
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        command = [str(python), "-m", f"benches.peers.{name}", "--work", str(work / "run"), *options]
        # A cache of its own, so that a compile counts as on the first run of its shape; no way out, so that nothing waits for a network.
        own = {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
        with (work / "log.txt").open("w", encoding="utf-8") as log:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **own}, cwd=ROOT, check=False)
        if done.returncode:
            said = (work / "log.txt").read_text("utf-8", "replace").strip().splitlines()
            raise RuntimeError(f"{name} failed: {said[-1] if said else done.returncode} (all of it: {work / 'log.txt'})")
        return json.loads(done.stdout.splitlines()[-1])

    def ours(self, seed: int) -> dict[str, Any]:
        work = self.work / f"cupola-{seed}"
        copy = self.work / f"cupola-{seed}-corpus"  # of its own, so that the rows are written anew
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.data, copy)
        options = ["--data", str(copy), "--project", str(self.project), "--seconds", str(self.seconds), "--seed", str(seed)]
        return self.script(Path(sys.executable), "ours", work, *options, *(["--model", self.model] if self.model else []))

    def peer(self, peer: Peer, seed: int, like: Path | None = None) -> dict[str, Any]:
        """A peer's run that took --seconds. How many steps that is nobody knows beforehand: short runs find out, and count for nothing."""
        python = environments.python(self.environments, peer.environment)
        options = ["--data", str(self.data), "--seed", str(seed), *peer.options, *(["--like", str(like)] if like else [])]
        if peer.clone:
            options += [f"--{peer.clone}", str(self.clones[peer.clone])]
        work = self.work / f"{peer.name}-{seed}{'-like' if like else ''}".replace(" ", "-")
        tried: list[dict[str, Any]] = []
        steps = 16 if self.seconds < 60 else 64
        while len(tried) < TRIES and steps not in [t["steps"] for t in tried]:
            tried.append(self.script(python, peer.script, work, *options, "--steps", str(steps)))
            if NEAR[0] <= tried[-1]["seconds"] / self.seconds <= NEAR[1]:
                break
            log(f"  {peer.name}: {tried[-1]['steps']} steps take {tried[-1]['seconds']:.0f} s")
            steps = max(16, round(steps_in(0.99 * self.seconds, tried)))
        return {**min(tried, key=lambda t: abs(t["seconds"] - self.seconds)), "runs": len(tried)}


def steps_in(seconds: float, tried: list[dict[str, Any]]) -> float:
    """How many steps take so long, by the last run; by the last two where there are two, since a start and a look cost what they cost."""
    *earlier, last = tried
    pace = last["step_seconds"]
    if earlier and last["steps"] != earlier[-1]["steps"]:
        slope = (last["seconds"] - earlier[-1]["seconds"]) / (last["steps"] - earlier[-1]["steps"])
        pace = slope if pace / 2 < slope < pace * 2 else pace
    return last["steps"] + (seconds - last["seconds"]) / pace


def corpus_of(project: Path, model: str | None) -> tuple[Path, str]:
    """The corpus of the project's model, made if it is not there: its folder and the line that says what it is. Counts for nobody."""
    from cupola import corpus
    from cupola import project as projects
    from cupola.media import MEDIA

    settings = projects.load(project)
    table = settings.model(model)[1]
    shown = 0.0

    def progress(what: str, share: float | None) -> None:
        nonlocal shown
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            log(f"corpus: {what}" + ("" if share is None else f", {share:.0%}"))

    made = corpus.build(MEDIA[table.medium], list(table.sources), table.corpus, settings.folder, settings.cache, progress)
    return made.folder, made.report.line()


def show(result: dict[str, Any]) -> None:
    rate = result["tokens"] / result["seconds"]
    log(
        f"  {result.get('name', 'cupola'):18} seed {result['seed']}  {result['bits_per_byte']:.3f} bits/byte  {result['seconds']:.0f} s  "
        f"{result['params'] / 1e6:.2f} M parameters  {result['tokens'] / 1e6:.2f} M tokens  {rate:,.0f} tokens/s over all"
    )


def attempt(skipped: dict[str, str], name: str, run: Callable[[], dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """[the result] or, of a peer that failed, [] and a word in `skipped`."""
    try:
        log(f"{name}, seed {seed} ...")
        result = {**run(), "name": name, "seed": seed}
    except RuntimeError as e:
        skipped[name] = str(e)
        log(f"  {e}")
        return []
    show(result)
    return [result]


def bits(bench: Bench, peers: list[Peer], seeds: int, peer_seeds: int, skipped: dict[str, str]) -> dict[str, Any]:
    """All rows: ours and the peers' turn by turn, then the best peer with our tokenizer, size and batch."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for seed in range(max(seeds, peer_seeds)):
        if seed < seeds:
            log(f"cupola, seed {seed} ...")
            ours.append({**bench.ours(seed), "name": "cupola", "seed": seed})
            show(ours[-1])
        for peer in peers if seed < peer_seeds else []:
            theirs += attempt(skipped, peer.name, lambda peer=peer, seed=seed: bench.peer(peer, seed), seed)
    best = min((r for r in theirs if _by_name(r["name"]).second), key=lambda r: r["bits_per_byte"], default=None)
    second: list[dict[str, Any]] = []
    if best:
        like = Path(ours[0]["run"])
        for seed in range(peer_seeds):
            second += attempt(
                skipped, f"{best['name']}, same setting", lambda seed=seed: bench.peer(_by_name(best["name"]), seed, like), seed
            )
    return {"rows": [*ours, *theirs], "same_setting": second, "ratios": ratios(ours, theirs, second)}


def _by_name(name: str) -> Peer:
    return next(p for p in PEERS if p.name == name)


def ratios(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """By which share ours is lower than what it is compared with, medians over seeds; None where that was not run."""
    own = statistics.median(r["bits_per_byte"] for r in ours)
    medians = {name: statistics.median(r["bits_per_byte"] for r in theirs if r["name"] == name) for name in {r["name"] for r in theirs}}
    rest = {name: value for name, value in medians.items() if name not in TRAINER}
    best = min(rest, key=rest.__getitem__, default=None)
    same = statistics.median(r["bits_per_byte"] for r in second) if second else None

    def lower(value: float | None, wanted: float | None) -> dict[str, float | None]:
        return {"bits_per_byte": value, "lower_by": None if value is None else 1 - own / value, "wanted": wanted}

    return {
        "hf-trainer, its defaults": lower(medians.get("hf-trainer"), 0.30),
        "hf-trainer, 5e-4": lower(medians.get("hf-trainer 5e-4"), None),
        "best of nanoGPT, litgpt, nanochat": {"which": best, **lower(rest[best] if best else None, 0.25)},
        "best peer, our setting": {"which": second[0]["name"] if second else None, **lower(same, None)},
    }


# --- how busy it keeps the cores ----------------------------------------------------------------------------------------------------

WANTED = {1e6: 0.22, 6e6: 0.40}  # model FLOPs over the bfloat16 peak, by parameters
VOCABULARY, LENGTH = 1_024, 256


def utilisation(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Training speed at about 1 M and 6 M parameters over the measured matmul peaks, beside plain Transformers, turn by turn."""
    from cupola import hardware

    cores, peaks = hardware.describe().cores, {"bfloat16": 0.0, "float32": 0.0}
    out = []
    for params in WANTED:
        contenders = _contenders(params)
        rates: dict[str, list[float]] = {name: [] for name in contenders["steps"]}
        for step in contenders["steps"].values():
            step()  # the first one allocates
        for _ in range(rounds):
            for dtype in peaks:
                peaks[dtype] = max(peaks[dtype], hardware.peak_flops(dtype, cores, 1.0).flops)
            for name, step in contenders["steps"].items():
                rates[name].append(_rate(step, contenders["tokens"], seconds))
        out.append({"wanted": WANTED[params], **contenders["facts"], "rates": rates})
    for row in out:  # the peaks are the best of all rounds
        _add_shares(row, peaks)
    return out


def _contenders(params: float) -> dict[str, Any]:
    """One optimizer step of each contender on the same batch, as functions of nothing."""
    import torch

    from cupola import hardware, probe, train
    from cupola.model import build, count_parameters, dial, flops_per_token

    shape, cores = dial(params, VOCABULARY, LENGTH), hardware.describe().cores
    rows = probe.rows_a_step(shape, LENGTH)
    batch = np.random.default_rng(0).integers(6, VOCABULARY, (rows, LENGTH + 1))
    speed = probe.measure(shape, LENGTH)
    run = probe.trial(shape, LENGTH, speed.precision)  # pyrefly: ignore
    state, team = train.State(run), train.Workers(min(cores, run.parts))

    def ours() -> None:
        with train.single_threaded():
            state.step(batch, 0.1, team)

    def plain(autocast: bool) -> Callable[[], None]:
        model = build(shape)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        ids = torch.from_numpy(batch[:, :-1])

        def step() -> None:
            torch.set_num_threads(cores)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return step

    facts = {
        "params": count_parameters(shape),
        "flops_per_token": flops_per_token(shape, LENGTH),
        "rows": rows,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "precision": speed.precision,
    }
    return {
        "facts": facts,
        "tokens": rows * LENGTH,
        "steps": {"cupola": ours, "transformers": plain(False), "transformers, autocast": plain(True)},
    }


def _rate(step: Callable[[], None], tokens: int, seconds: float) -> float:
    """Tokens a second over whole steps, two at least."""
    begun, done = time.perf_counter(), 0
    while done < 2 or time.perf_counter() - begun < seconds:
        step()
        done += 1
    return done * tokens / (time.perf_counter() - begun)


def _add_shares(row: dict[str, Any], peaks: dict[str, float]) -> None:
    """Medians, spreads and shares of the peaks in place of the single rates."""
    rates = row.pop("rates")
    row["peak_flops"] = peaks
    row["rounds"] = len(rates["cupola"])
    row["shares"] = [rate * row["flops_per_token"] / peaks["bfloat16"] for rate in rates["cupola"]]
    for name, values in rates.items():
        flops = statistics.median(values) * row["flops_per_token"]
        row[name] = {
            "tokens_per_second": statistics.median(values),
            "spread": spread(values),
            "of_bfloat16_peak": flops / peaks["bfloat16"],
            "of_float32_peak": flops / peaks["float32"],
        }
    theirs = max(statistics.median(values) for name, values in rates.items() if name != "cupola")
    row["ratio_to_best_transformers"] = row["cupola"]["tokens_per_second"] / theirs
    shares = ", ".join(f"{name} {row[name]['of_bfloat16_peak']:.0%}/{row[name]['of_float32_peak']:.0%}" for name in rates)
    log(f"  {row['params'] / 1e6:.2f} M parameters, of the bfloat16/float32 peak: {shares}; {row['ratio_to_best_transformers']:.2f} times")


# --- the command --------------------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, default=ROOT / "recipes" / "tunes", help="whose corpus it is [recipes/tunes]")
    parser.add_argument("--model", help="of the project, if it has several")
    parser.add_argument("--seconds", type=float, default=180.0, help="wall clock of a run [180]")
    parser.add_argument("--seeds", type=int, default=3, help="runs of ours [3]")
    parser.add_argument("--peer-seeds", type=int, default=1, help="runs of each peer [1]")
    parser.add_argument("--part", choices=("all", "bits", "speed"), default="all")
    parser.add_argument(
        "--peers", type=Path, default=Path.home() / ".cache" / "cupola-bench", help="their environments [~/.cache/cupola-bench]"
    )
    parser.add_argument("--only", action="append", choices=[p.name for p in PEERS], help="this peer (repeat for more) [all that are there]")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--install", action="store_true", help="make the environments that are missing, then stop")
    for name, how in environments.CLONES.items():
        parser.add_argument(f"--{name}", type=Path, help=f"a clone: {how}")
    parser.add_argument("--work", type=Path, help="keep the runs here [a temporary folder]")
    parser.add_argument("--rounds", type=int, default=7, help="of the speed, turn by turn [7]")
    parser.add_argument("--round-seconds", type=float, default=2.0, help="of each contender in a round [2]")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    chosen = [] if args.no_peers else [p for p in PEERS if not args.only or p.name in args.only]
    clones = {name: path and path.expanduser().resolve() for name in environments.CLONES for path in [getattr(args, name)]}
    folder = args.peers.expanduser().absolute()
    if args.install:
        wanted = [p.environment for p in chosen if not p.clone or clones[p.clone] or p.environment == "trainer"]
        return environments.install(folder, list(dict.fromkeys(wanted)))
    faults = {p.name: environments.missing(p, folder, clones) for p in chosen if args.part != "speed"}
    skipped = {name: why for name, why in faults.items() if why}
    for name, why in skipped.items():
        log(f"left out: {name}: {why}")
    found: dict[str, Any] = {}
    if args.part != "speed":
        data, about = corpus_of(args.project, args.model)
        log(about)
        with tempfile.TemporaryDirectory(prefix="cupola-bench-") as temporary:
            work = (args.work or Path(temporary)).absolute()
            copy = work / "corpus"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(data, copy, ignore=shutil.ignore_patterns("rows", "*.tmp"))
            bench = Bench(args.project.absolute(), args.model, args.seconds, copy, work, folder, clones)
            found = bits(bench, [p for p in chosen if p.name not in skipped], args.seeds, args.peer_seeds, skipped)
        found = {"seconds": args.seconds, "corpus": about, **found}
    if args.part != "bits":
        log("speed:")
        found["utilisation"] = utilisation(args.rounds, args.round_seconds)
    values, unit = [r["bits_per_byte"] for r in found.get("rows", []) if r["name"] == "cupola"], "bits per byte, held out"
    if args.part == "speed":
        smallest = found["utilisation"][0]
        values, unit = smallest["shares"], f"of the bfloat16 peak, at {smallest['params'] / 1e6:.2f} M parameters"
    line("train", values, unit, **found, skipped=skipped)


if __name__ == "__main__":
    main()
