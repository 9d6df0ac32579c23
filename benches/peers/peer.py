"""What every script in this folder shares: its arguments, the documents, the clock, the score, and the one JSON line it prints.

It runs in the environments of the peers: of cupola it imports evaluate.py alone, which needs no more than NumPy. All are run as modules
from the top of the checkout: `python -m benches.peers.hf_trainer --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch.optim.optimizer import register_optimizer_step_post_hook

from cupola import evaluate

OWN_VOCABULARY = 4_096  # ids of a peer's own tokenizer, as first measured


def arguments(about: str | None, **more: dict[str, Any]) -> argparse.Namespace:
    """The arguments of a peer's script. more: further options, name -> what argparse is told."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0], epilog="benches/README.md says how these are run.")
    parser.add_argument("--data", type=Path, required=True, help="folder of train.jsonl, watch.jsonl, held_out.jsonl: a document a line")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder to write in")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", type=Path, help="a run folder of cupola's, whose tokenizer, size and batch are to be used")
    for name, told in more.items():
        parser.add_argument(f"--{name}", **told)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.plan = json.loads((args.like / "plan.json").read_text("utf-8")) if args.like else None
    return args


def texts(args: argparse.Namespace, split: str) -> list[str]:
    """The documents of a split: "train", "watch" or "held_out"."""
    with (args.data / f"{split}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


class Clock:
    """Seconds since everything was imported; sees every optimizer step through torch's own hook."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.first: float | None = None  # when the first step was done
        self.last = self.begun
        register_optimizer_step_post_hook(self._step)

    def _step(self, *_: Any) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last

    def stop(self, steps: int) -> dict[str, float]:
        """Called when the trained weights are there: seconds in all, until the first step was done, and of each later one."""
        seconds, first = time.monotonic() - self.begun, (self.first or self.last) - self.begun
        return {"seconds": seconds, "first_step_seconds": first, "step_seconds": (seconds - first) / max(1, steps - 1)}


class Codec:
    """A tokenizer and the ids that a document begins and ends with; one and the same id for most peers."""

    def __init__(self, inner: tokenizers.Tokenizer, begin: int, end: int):
        self.inner, self.begin, self.end = inner, begin, end
        self.vocab_size = inner.get_vocab_size(with_added_tokens=True)

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each whole document, as it is scored."""
        return [[self.begin, *e.ids, self.end] for e in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def stream(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) uint16: all documents one after the other."""
        shared = self.begin == self.end
        return np.concatenate([np.asarray(ids[shared and i > 0 :], np.uint16) for i, ids in enumerate(self.documents(texts))])


def codec(args: argparse.Namespace, train: Sequence[str]) -> Codec:
    """cupola's tokenizer with --like, else a byte-level BPE of the peer's own, trained here and now on the training documents."""
    if args.like:
        inner = tokenizers.Tokenizer.from_file(str(args.like / args.plan["tokenizer"] / "tokenizer.json"))
        inner.encode_special_tokens = True  # text that spells a control token is text
        return Codec(inner, inner.token_to_id("<|cupola:bos|>"), inner.token_to_id("<|cupola:eos|>"))
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=OWN_VOCABULARY, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(train, trainer)
    return Codec(inner, 0, 0)


def score(
    logits: Callable[[torch.Tensor], torch.Tensor], ids: Sequence[Sequence[int]], texts: Sequence[str], length: int
) -> evaluate.Score:
    """Bits per byte by cupola's rule. logits: (B, T) ids -> (B, T, V); ids: of whole documents; length: the peer's context."""

    @torch.no_grad()
    def nats(batch: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(batch)
        known = logits(rows[:, :-1].contiguous()).float()
        return F.cross_entropy(known.transpose(1, 2), rows[:, 1:], reduction="none").numpy()

    return evaluate.bits_per_byte(nats, ids, [len(t.encode()) for t in texts], length)


@contextlib.contextmanager
def shifted_seed(by: int) -> Iterator[None]:
    """In the block torch.manual_seed(s) seeds with s + by: for scripts that have their seed written into them."""
    plain = torch.manual_seed
    torch.manual_seed = lambda seed: plain(seed + by)  # pyrefly: ignore
    try:
        yield
    finally:
        torch.manual_seed = plain


def facts(score: evaluate.Score) -> dict[str, Any]:
    """A score as the JSON line has it."""
    return {
        "bits": float(score.per_document_bits.sum()),
        "bytes": score.bytes,
        "documents": score.documents,
        "bits_per_byte": score.bits_per_byte,
        "low": score.low,
        "high": score.high,
    }


def redirect() -> Callable[[dict[str, Any]], None]:
    """From here on whatever is printed goes to stderr; the function returned writes the JSON line to the real stdout."""
    kept = os.dup(1)
    os.dup2(2, 1)

    def answer(line: dict[str, Any]) -> None:
        os.write(kept, json.dumps(line).encode() + b"\n")

    return answer
