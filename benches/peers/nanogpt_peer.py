"""nanoGPT's train.py with the line that its README gives for a CPU: 4 layers, 4 heads, width 128, 64 characters, 12 rows, no compile.

Only the data set, the number of steps and how often it evaluates are changed. Documents are characters with an end between them, written
as its prepare.py would; what it picks its checkpoint by are the watched documents. --nanogpt is a clone; it is copied, not written to.
"""

from __future__ import annotations

import os
import pickle
import runpy
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benches.peers import peer

LENGTH = 64
ROWS = 12
LOOKS = 4  # evaluations, the last after the last step


class Characters:
    """Bytes as ids: those of the training documents, then the end of a document, then an escape for any other byte.

    ASCII characters are single bytes; elsewhere this is byte by byte. An escaped byte costs 8 bits besides.
    """

    def __init__(self, texts: Iterable[str]):
        self.known = sorted(set().union(*(t.encode() for t in texts)))
        self.end, self.escape = len(self.known), len(self.known) + 1
        self.vocab_size = len(self.known) + 2
        self.table = np.full(256, self.escape, np.uint16)
        self.table[self.known] = np.arange(len(self.known), dtype=np.uint16)

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        return [[self.end, *self.table[np.frombuffer(t.encode(), np.uint8)].tolist(), self.end] for t in texts]

    def stream(self, texts: Sequence[str]) -> np.ndarray:
        return np.concatenate([np.asarray(ids[i > 0 :], np.uint16) for i, ids in enumerate(self.documents(texts))])

    def escaped_bits(self, texts: Sequence[str]) -> float:
        return 8.0 * sum(int((self.table[np.frombuffer(t.encode(), np.uint8)] == self.escape).sum()) for t in texts)


def prepare(folder: Path, codec: Any, train: Sequence[str], watch: Sequence[str]) -> int:
    """Write the data set; returns the length of the training stream."""
    data = folder / "data" / "documents"
    data.mkdir(parents=True)
    stream = codec.stream(train)
    stream.tofile(data / "train.bin")
    codec.stream(watch).tofile(data / "val.bin")
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": codec.vocab_size}))
    return len(stream)


def settings(args: Any, steps: int) -> dict[str, Any]:
    """What follows config/train_shakespeare_char.py on the command line."""
    size = {"block_size": LENGTH, "batch_size": ROWS, "n_layer": 4, "n_head": 4, "n_embd": 128}
    if args.plan:
        model = args.plan["model"]
        size = {"block_size": args.plan["train"]["length"], "batch_size": args.plan["rows"], "n_layer": model["num_hidden_layers"]}
        size |= {"n_head": model["num_attention_heads"], "n_embd": model["hidden_size"]}
    # The README's 2,000 steps of decay are scaled with the steps; it warms up for 100 of its 2,000.
    length = {"max_iters": steps, "lr_decay_iters": steps, "eval_interval": steps // LOOKS, "warmup_iters": min(100, max(1, steps // 20))}
    return {"device": "cpu", "compile": False, "eval_iters": 20, "log_interval": 1, "dropout": 0.0, **size, **length}


def main() -> None:
    args = peer.arguments(__doc__, nanogpt={"type": Path, "required": True, "help": "a clone of nanoGPT"})
    answer, clock = peer.redirect(), peer.Clock()
    args.data, folder = args.data.resolve(), (args.work / "nanogpt").resolve()
    if args.like:
        args.like = args.like.resolve()
    shutil.copytree(args.nanogpt, folder, ignore=shutil.ignore_patterns(".git", "data", "out*"))
    train = peer.texts(args, "train")
    codec = peer.codec(args, train) if args.plan else Characters(train)
    tokens = prepare(folder, codec, train, peer.texts(args, "watch"))
    steps = max(1, args.steps // LOOKS) * LOOKS  # it saves only when it evaluates: let the last step be followed by that
    chosen = settings(args, steps)
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # for its `from model import GPT`
    given = {**chosen, "dataset": "documents", "out_dir": "out"}
    sys.argv = ["train.py", "config/train_shakespeare_char.py", *(f"--{key}={value}" for key, value in given.items())]
    with peer.shifted_seed(args.seed):
        runpy.run_path("train.py", run_name="__main__")
    timed = clock.stop(steps)

    from model import GPT, GPTConfig  # pyrefly: ignore

    saved = torch.load("out/ckpt.pt", map_location="cpu", weights_only=False)  # its own, of a moment ago
    model = GPT(GPTConfig(**saved["model_args"]))
    model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in saved["model"].items()})
    model.eval()
    held_out = peer.texts(args, "held_out")
    # With targets it gives logits at every place, without only at the last.
    score = peer.score(lambda ids: model(ids, ids)[0], codec.documents(held_out), held_out, chosen["block_size"])
    facts, escaped = peer.facts(score), 0.0 if args.plan else codec.escaped_bits(held_out)
    facts["bits"] += escaped
    facts["bits_per_byte"] = facts["bits"] / facts["bytes"]
    answer(
        {
            "peer": "nanogpt",
            **facts,
            **timed,
            "steps": steps,
            "saved_step": saved["iter_num"],
            "tokens": steps * chosen["batch_size"] * chosen["block_size"],
            "passes": steps * chosen["batch_size"] * chosen["block_size"] / tokens,
            "params": sum(p.numel() for p in model.parameters()),
            "settings": {"rows": chosen["batch_size"], "length": chosen["block_size"], "vocab_size": codec.vocab_size},
        }
    )


if __name__ == "__main__":
    main()
