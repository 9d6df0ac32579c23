"""nanochat's base_train with the flags that it gives for a CPU: depth 4, heads of 64, full windows, 8 rows of 512, a BPE of its own.

It reads parquet shards below its base folder, the last of them for validation, so the documents are written so. --nanochat is a clone; it
runs from there and writes to --work. It fixes its width by its depth, so there is no --like for it.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pyarrow  # pyrefly: ignore
import pyarrow.parquet  # pyrefly: ignore

from benches.peers import peer

LENGTH = 512
ROWS = 8


def shards(folder: Path, args: Any) -> None:
    """The training documents as the first shard and the watched ones as the last."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(("train", "watch")):
        table = pyarrow.table({"text": peer.texts(args, split)})
        pyarrow.parquet.write_table(table, folder / f"shard_{number:05d}.parquet", row_group_size=256)


def module(name: str, **flags: Any) -> dict[str, Any]:
    """Run `python -m NAME --flags` in this process; returns what its globals are at the end."""
    sys.argv = [name, *(f"--{key.replace('_', '-')}={value}" for key, value in flags.items())]
    return runpy.run_module(name, run_name="__main__")


def main() -> None:
    args = peer.arguments(__doc__, nanochat={"type": Path, "required": True, "help": "a clone of nanochat"})
    if args.like:
        raise SystemExit("nanochat fixes its width by its depth: there is no --like for it")
    args.data = args.data.resolve()
    os.environ["NANOCHAT_BASE_DIR"] = str(args.work.resolve())
    os.chdir(args.nanochat)
    sys.path.insert(0, os.getcwd())
    import nanochat.gpt  # pyrefly: ignore  # noqa: F401  imports do not count
    from nanochat.dataset import DATA_DIR  # pyrefly: ignore

    answer, clock = peer.redirect(), peer.Clock()
    shards(Path(DATA_DIR), args)
    module("scripts.tok_train", max_chars=1_000_000_000, vocab_size=peer.OWN_VOCABULARY)
    with peer.shifted_seed(args.seed):
        trained = module(
            "scripts.base_train",
            device_type="cpu",
            depth=4,
            head_dim=64,
            window_pattern="L",
            max_seq_len=LENGTH,
            device_batch_size=ROWS,
            total_batch_size=ROWS * LENGTH,
            num_iterations=args.steps,
            eval_every=-1,
            core_metric_every=-1,
            sample_every=-1,
            model_tag="bench",
        )
    timed = clock.stop(args.steps)

    model, tokenizer = trained["orig_model"].eval(), trained["tokenizer"]
    bos = tokenizer.get_bos_token_id()
    held_out = peer.texts(args, "held_out")
    score = peer.score(model, [[bos, *tokenizer.encode(text), bos] for text in held_out], held_out, LENGTH)
    answer(
        {
            "peer": "nanochat",
            **peer.facts(score),
            **timed,
            "steps": args.steps,
            "tokens": args.steps * ROWS * LENGTH,
            "params": sum(p.numel() for p in model.parameters()),
            "settings": {"rows": ROWS, "length": LENGTH, "vocab_size": peer.OWN_VOCABULARY},
        }
    )


if __name__ == "__main__":
    main()
