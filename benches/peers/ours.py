"""cupola's own training, timed as the peers are: vocabulary, rows, measuring the machine, planning, training, saving.

Everything after the imports counts. The corpus is there already, as it is for the peers.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: F401  loaded when first used otherwise, and that would count

from benches.peers import peer
from cupola import hardware, make, plan, project, train
from cupola.corpus import Corpus
from cupola.media import MEDIA
from cupola.meter import Meter
from cupola.model import count_parameters
from cupola.tokens import Stream, train_tokenizer

FINISH = 1.5  # seconds kept back for the last look, the checkpoint and the model folder


def run(args: Any, begun: float) -> tuple[train.RunPlan, train.Outcome]:
    """Train in --seconds, into the folder --work."""
    settings = project.load(args.project)
    table = settings.model(args.model)[1]
    table = table.model_copy(update={"train": table.train.model_copy(update={"seed": args.seed})})
    corpus, medium = Corpus.open(args.data), MEDIA[table.medium]
    tokenizer = train_tokenizer(corpus.train.texts(), medium.pretokenizer, table.train.vocab_size or make.vocabulary(medium, corpus))
    tokenizer.save(args.work / "tokenizer")
    stream = Stream(
        corpus,
        tokenizer,
        corpus.folder / "rows",
        seed=args.seed,
        fim=table.train.fim,
        variants=table.train.variants,
        medium=medium,
    )

    def left() -> float:
        return args.seconds - FINISH - (time.monotonic() - begun)

    def tell(what: str, share: float | None) -> None:
        print(what, "" if share is None else f"{share:.0%}", file=sys.stderr)

    meter = Meter(hardware.describe(), hardware.price(settings.settings.price))
    made = plan.choose(table, corpus, tokenizer, args.work / "tokenizer", args.work, stream, left(), meter, progress=tell)
    print(made.line(), file=sys.stderr)
    stream.prepare(made.tokens, table.train.length)
    train.write_plan(args.work, made.run)
    shown = 0.0

    def tick(t: train.Tick) -> None:
        nonlocal shown
        if t.note or time.monotonic() - shown > 15:
            shown = time.monotonic()
            print(f"step {t.step} of {t.max_steps}, {t.tokens_per_second:,.0f} tokens/s {t.note}", file=sys.stderr)

    return made.run, train.train(args.work, left=left, progress=tick)


def main() -> None:
    more = {
        "project": {"type": Path, "required": True},
        "model": {"default": None, "help": "of the project, if it has several"},
        "seconds": {"type": float, "default": 180.0},
    }
    args = peer.arguments(__doc__, **more)
    args.data, args.work = args.data.resolve(), args.work.resolve()
    answer, begun = peer.redirect(), time.monotonic()
    planned, outcome = run(args, begun)
    seconds = time.monotonic() - begun

    corpus = Corpus.open(args.data)
    score = make.score_folder(args.work / "final", corpus.held_out, planned.train.length)
    steady = [line["tokens_per_second"] for line in train.metrics(args.work)][2:]
    answer(
        {
            "peer": "cupola",
            **peer.facts(score),
            "seconds": seconds,
            "training_seconds": outcome.seconds,
            "steps": outcome.steps,
            "tokens": outcome.tokens,
            "tokens_per_second": sorted(steady)[len(steady) // 2] if steady else None,
            "passes": outcome.passes,
            "params": count_parameters(planned.model),
            "ended": outcome.ended,
            "settings": {
                "rows": planned.rows,
                "length": planned.train.length,
                "vocab_size": planned.model.vocab_size,
                "hidden_size": planned.model.hidden_size,
                "num_hidden_layers": planned.model.num_hidden_layers,
                "precision": planned.precision,
            },
            "run": os.fspath(args.work),
        }
    )


if __name__ == "__main__":
    main()
