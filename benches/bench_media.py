"""Every medium as text: what a model of each recipe's corpus learns in a few minutes, and how much of what it draws is new.

    .venv/bin/python benches/bench_media.py                              # every recipe, three minutes of training each: 35 min
    .venv/bin/python benches/bench_media.py --only sprites --minutes 1   # one of them
    .venv/bin/python benches/bench_media.py --pictures docs/media        # and the sheets that docs/media.md shows

A recipe is trained in a copy of its folder below --work, as `cupola make` trains it; then --draws candidates are drawn under the medium's
grammar and as many without, by the same seeds. Validity, copies and distances are over all draws, nothing chosen. A sheet has twelve
held-out pieces of the corpus and twelve of the model's (valid, no copies, the first that were drawn) in an order that --seed shuffles;
the JSON line says which is which.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benches.bench_train import ROOT, log
from cupola import evaluate, project, units
from cupola.engine import Engine, Request
from cupola.make import Foundry
from cupola.media import Medium, Pins

TWELVE = 12
CELL = 96  # pixels of a piece on a sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of recipes")
    parser.add_argument("--minutes", type=float, default=3.5, help="budget of each, the ladder's share and the proof in it")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ladder", type=float, help="share of the budget for the small runs; the recipe's unless given")
    parser.add_argument("--pictures", type=Path, help="folder for the sheets")
    parser.add_argument("--work", type=Path, default=ROOT / "benches" / ".work" / "media")
    given = parser.parse_args()
    lines = []
    for recipe in sorted(path.parent for path in (ROOT / "recipes").glob("*/cupola.toml")):
        if not given.only or recipe.name in given.only:
            lines.append(measure(recipe, given))
            log(json.dumps(lines[-1]))
    if not lines:
        sys.exit(f"no such recipe; there are {', '.join(p.name for p in (ROOT / 'recipes').iterdir())}")
    new = [1 - line["copies"] for line in lines]
    spread = (max(new) - min(new)) / max(1e-9, float(np.median(new)))
    print(json.dumps({"value": float(np.median(new)), "unit": "share of valid draws that are no copies", "n": len(new), "spread": spread,
                      **hardware_facts(), "media": lines}))  # fmt: skip


def hardware_facts() -> dict[str, str]:
    from benches.bench_train import commit
    from cupola import hardware

    return {"hardware": hardware.describe().name, "commit": commit()}


def measure(recipe: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One recipe: trained, scored, drawn from."""
    folder = given.work / f"{recipe.name}-{given.minutes:g}min-seed{given.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    text = (recipe / "cupola.toml").read_text("utf-8")
    (folder / "cupola.toml").write_text(text, "utf-8")
    cache = folder / ".cupola" / "cache" / "sources"
    shared = given.work / "sources"  # downloaded once for all budgets
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        shared.mkdir(exist_ok=True)
        cache.symlink_to(shared.resolve(), target_is_directory=True)
    made = project.load(folder, minutes=given.minutes)
    if given.ladder is not None:
        settings = made.settings.model_copy(update={"budget": made.settings.budget.model_copy(update={"ladder": given.ladder})})
        made = project.Project(made.folder, settings)
    with Foundry(made, say=lambda stage, line: log(f"{recipe.name}: {stage:9}{line.splitlines()[0] if line else ''}")) as f:
        _ = f.corpus, f.baselines, f.yardstick
        outcome, score, base = f.outcome, f.score, f.baselines
        _ = f.proof
        plan_params = sum(int(np.prod(s)) for s in _shapes(f.folder))
        drawn = draw(f, given)
        facts = {
            "recipe": recipe.name,
            "medium": f.medium.name,
            "documents": len(f.corpus.train),
            "held_out": len(f.corpus.held_out),
            "params": plan_params,
            "train_seconds": outcome.seconds,
            "passes": outcome.passes,
            "ended": outcome.ended,
            "tokens_a_piece": float(np.mean([len(f.tokenizer.encode(t)) for t in f.corpus.held_out.texts()])),
            "bits_per_byte": score.bits_per_byte,
            "low": score.low,
            "high": score.high,
            "bits_a_piece": float(np.mean(score.per_document_bits)),
            "ngram": base.ngram,
            "xz": base.xz,
            "real_passes": float(np.mean([not f.medium.check(t) for t in f.corpus.held_out.texts()])),
            "minutes": given.minutes,
            **drawn,
        }
        if given.pictures:
            facts["sheet"] = sheet(f, facts.pop("texts"), given)
        facts.pop("texts", None)
    shares = {key: units.percent(facts[key]) for key in ("valid", "passes_check", "copies")}
    log(f"{recipe.name}: {shares}")
    return facts


def _shapes(folder: Path) -> list[list[int]]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        return [list(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118


def draw(f: Foundry, given: argparse.Namespace) -> dict[str, Any]:
    """Candidates under the grammar and without: what share is valid, passes, is a copy, how far the others lie; and the speed of both."""
    medium, config = f.medium, f.table.compose
    grammar = medium.grammar(Pins())
    most = f.table.train.length - 1

    def ask(with_grammar: bool, first: int) -> list[Request]:
        sampling = {"temperature": config.temperature, "top_k": 0, "top_p": config.top_p, "min_p": config.min_p}
        rules = grammar if with_grammar else None
        return [Request(prompt_ids=[1], max_new_tokens=most, seed=first + i, grammar=rules, **sampling) for i in range(given.draws)]

    with Engine(f.folder / "model.gguf", f.tokenizer, slots=f.meter.machine.cores) as engine:
        engine.generate(ask(True, 10**6)[:8])  # warm
        speeds: dict[bool, list[float]] = {True: [], False: []}
        texts: dict[bool, list[Any]] = {True: [], False: []}
        for turn in range(3):
            for with_grammar in (True, False):
                begun = time.monotonic()
                found = engine.generate(ask(with_grammar, given.seed + 1000 * turn))
                speeds[with_grammar].append(sum(len(c.ids) for c in found) / (time.monotonic() - begun))
                texts[with_grammar] = texts[with_grammar] or found
        per_second = given.draws / (sum(len(c.ids) for c in texts[True]) / np.median(speeds[True]))
    whole = [c.text for c in texts[True] if c.stop == "eos"]
    valid = [t for t in whole if not medium.syntax(t)]
    passing = [t for t in valid if not medium.check(t)]
    free = [c.text for c in texts[False]]
    nearest = np.array([f.index.nearest(t).distance for t in valid] or [0.0])
    below = evaluate.copy_threshold(f.yardstick, config.copy_share)
    copies = np.array([evaluate.is_copy(d, below) for d in nearest])
    new = nearest[~copies]
    real = float(np.median(f.yardstick))
    ratios = [a / b for a, b in zip(speeds[True], speeds[False], strict=True)]
    return {
        "draws": given.draws,
        "ended": len(whole) / given.draws,
        "valid": len(valid) / given.draws,
        "passes_check": len(passing) / given.draws,
        "passes_check_of_valid": len(passing) / max(1, len(valid)),
        "valid_without_grammar": float(np.mean([not medium.syntax(t) for t in free])),
        "copies": float(copies.mean()),
        "exact": float((nearest <= 0).mean()),
        "distance": float(np.median(nearest)),
        "distance_new": float(np.median(new)) if len(new) else None,
        "distance_real": real,
        "distance_ratio": float(np.median(new)) / real if len(new) and real else None,
        "candidates_per_second": float(per_second),
        "grammar_speed": float(np.median(ratios)),
        "grammar_speed_spread": [min(ratios), max(ratios)],
        "texts": [t for t, c in zip(valid, copies, strict=True) if not c and not medium.check(t)],
    }


def sheet(f: Foundry, texts: list[str], given: argparse.Namespace) -> dict[str, Any] | None:
    """Twelve pieces of the corpus and twelve of the model's, shuffled, as one picture; None for what cannot be seen."""
    from PIL import Image

    held = list(f.corpus.held_out.texts())
    rng = np.random.default_rng(given.seed)
    real = [held[i] for i in rng.permutation(len(held))[:TWELVE]]
    pieces = [(t, "corpus") for t in real] + [(t, "model") for t in texts[:TWELVE]]
    order = rng.permutation(len(pieces))
    out = Image.new("RGB", (8 * (CELL + 8) + 8, 3 * (CELL + 8) + 8), (236, 236, 232))
    for place, i in enumerate(order):
        picture = _picture(f.medium, pieces[i][0])
        if picture is None:
            return None
        x, y = 8 + place % 8 * (CELL + 8), 8 + place // 8 * (CELL + 8)
        out.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2), picture)
    given.pictures.mkdir(parents=True, exist_ok=True)
    path = given.pictures / f"{given.only[0] if given.only and len(given.only) == 1 else f.name}.png"
    out.save(path, optimize=True)
    return {"picture": path.name, "by_model": [int(p) + 1 for p, i in enumerate(order) if pieces[i][1] == "model"]}


def _picture(medium: Medium, text: str) -> Any:
    """The first picture that the medium writes of a piece, at most CELL pixels on a side, enlarged in whole steps."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        files = medium.write(text, Path(folder) / "piece")
        first = next((p for p in files if p.suffix in (".png", ".gif")), None)
        if first is None:
            return None
        with Image.open(first) as opened:
            picture = opened.convert("RGBA")
    times = CELL // max(picture.size)
    if times >= 1:
        return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return picture


if __name__ == "__main__":
    main()
