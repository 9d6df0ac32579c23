"""Tokens per second through the engine at 1 and at 16 parallel requests, with and without the medium's grammar.

    .venv/bin/python benches/bench_engine.py              # the model of recipes/tunes, once `make demo` has made it

The same 16 requests each time, so the same ids: with 1 at a time they go one after the other through one llama.cpp. With 16 they are
handed over at once; the engine has a llama.cpp a core at most (so that an answer never depends on its neighbours), and the others wait.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benches.bench_train import ROOT, line, log, spread
from cupola import gguf, hardware
from cupola.engine import Engine, Request
from cupola.errors import CupolaError
from cupola.media import MEDIA, Pins
from cupola.tokens import Tokenizer

REQUESTS = 16


def requests(tokenizer: Tokenizer, tokens: int, grammar: str | None) -> list[Request]:
    """New pieces from nothing, a seed each."""
    return [Request(tokenizer.prompt(""), tokens, temperature=0.9, seed=seed, grammar=grammar) for seed in range(REQUESTS)]


def rate(engine: Engine, asked: list[Request]) -> tuple[float, int]:
    """(ids sampled a second, ids sampled), an end of text counted."""
    begun = time.perf_counter()
    ids = sum(len(c.ids) for c in engine.generate(asked))
    return ids / (time.perf_counter() - begun), ids


def medium_of(folder: Path) -> str | None:
    """What the model folder says its medium is."""
    try:
        return json.loads((folder / "cupola.json").read_text("utf-8"))["medium"]
    except (OSError, ValueError, KeyError):
        return None


def measure(folder: Path, medium: str | None, rounds: int, tokens: int) -> dict[str, Any]:
    """Each of the four cells `rounds` times, turn by turn, after one time that does not count."""
    tokenizer = Tokenizer.load(folder)
    path = folder / "model.gguf"
    if not path.exists():
        path = gguf.export(folder)
    grammar = MEDIA[medium].grammar(Pins()) if medium in MEDIA else None
    with ExitStack() as stack:
        engines = {slots: stack.enter_context(Engine(path, tokenizer, slots=slots)) for slots in (1, REQUESTS)}
        room = min(tokens, engines[1].n_ctx - 2)
        asked = {"plain": requests(tokenizer, room, None)}
        if grammar is not None:
            asked["grammar"] = requests(tokenizer, room, grammar)
        cells = {(slots, kind): [] for slots in engines for kind in asked}
        ids: dict[str, int] = {}
        for number in range(rounds + 1):
            for slots, kind in cells:
                speed, ids[kind] = rate(engines[slots], asked[kind])
                if number:
                    cells[slots, kind].append(speed)
            log(f"round {number} of {rounds}")
    return {"cells": cells, "ids": ids, "room": room, "grammar_bytes": len(grammar.encode()) if grammar else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "recipes/tunes/out/model", help="a model folder [the demo's]")
    parser.add_argument("--medium", choices=sorted(MEDIA), help="whose grammar [what the folder says]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=200, help="at most, of each request [200]")
    args = parser.parse_args()
    medium = args.medium or medium_of(args.folder)
    try:
        found = measure(args.folder, medium, args.rounds, args.tokens)
    except CupolaError as e:
        log(str(e))
        sys.exit(1)
    rows = []
    for (slots, kind), values in found["cells"].items():
        row = {"parallel": slots, "grammar": kind == "grammar", "tokens_per_second": statistics.median(values), "spread": spread(values)}
        rows.append({**row, "tokens": found["ids"][kind]})
        log(f"  {slots:2} parallel, {kind:7}  {row['tokens_per_second']:,.0f} tokens/s, spread {row['spread']:.0%}")
    cores = hardware.describe().cores
    facts = {"model": os.path.relpath(args.folder, ROOT), "medium": medium, "engines": {"1": 1, str(REQUESTS): min(REQUESTS, cores)}}
    skipped = {} if found["grammar_bytes"] else {"grammar": f"the medium {medium!r} has none"}
    line(
        "engine",
        found["cells"][REQUESTS, "plain"],
        f"tokens/s at {REQUESTS} parallel requests, no grammar",
        rows=rows,
        most_tokens=found["room"],
        **facts,
        skipped=skipped,
    )


if __name__ == "__main__":
    main()
