"""litgpt's pretrain as its documentation calls it: the shape of pythia-14m with a BPE of its own of 4,096, AdamW, cosine, compiled.

Its precision is the one it picks by itself. The documents come from memory, through a data module of ten lines: litgpt's own for text
files starts worker processes and writes chunks first, so this is in its favour. The compile counts, as it does for who runs it.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from litgpt.args import EvalArgs, TrainArgs  # pyrefly: ignore
from litgpt.config import Config  # pyrefly: ignore
from litgpt.data import DataModule  # pyrefly: ignore
from litgpt.model import GPT  # pyrefly: ignore
from litgpt.pretrain import setup  # pyrefly: ignore
from torch.utils.data import DataLoader

from benches.peers import peer

LENGTH = 256
ROWS = 8


class Rows(DataModule):
    """Rows of length + 1 ids, cut one after the other; shuffled anew each pass."""

    def __init__(self, train: torch.Tensor, watch: torch.Tensor):
        super().__init__()
        self.train, self.watch = train, watch

    def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None, **_: Any) -> None:
        self.rows, self.length = batch_size, (max_seq_length or LENGTH) + 1

    def _loader(self, stream: torch.Tensor, shuffle: bool) -> DataLoader:
        rows = stream[: len(stream) // self.length * self.length].view(-1, self.length)
        return DataLoader(rows, batch_size=min(self.rows, len(rows)), shuffle=shuffle, drop_last=True)  # pyrefly: ignore

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.train, True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.watch, False)


def shape(args: Any, codec: peer.Codec) -> Config:
    if not args.plan:
        return Config.from_name("pythia-14m", vocab_size=codec.vocab_size, padded_vocab_size=codec.vocab_size)
    m = args.plan["model"]
    return Config(
        name="like-cupola",
        block_size=m["max_position_embeddings"],
        vocab_size=m["vocab_size"],
        padded_vocab_size=m["vocab_size"],
        n_layer=m["num_hidden_layers"],
        n_embd=m["hidden_size"],
        n_head=m["num_attention_heads"],
        head_size=m["head_dim"],
        n_query_groups=m["num_key_value_heads"],
        intermediate_size=m["intermediate_size"],
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        norm_eps=m["rms_norm_eps"],
        rope_base=int(m["rope_theta"]),
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
    )


def main() -> None:
    args = peer.arguments(__doc__)
    sys.argv = ["litgpt", "pythia-14m"]  # it parses the command line once more when it saves
    answer, clock = peer.redirect(), peer.Clock()
    train = peer.texts(args, "train")
    codec = peer.codec(args, train)
    length, batch = (args.plan["train"]["length"], args.plan["rows"]) if args.plan else (LENGTH, ROWS)
    streams = [torch.from_numpy(codec.stream(texts).astype("int64")) for texts in (train, peer.texts(args, "watch"))]
    config = shape(args, codec)
    setup(
        model_name="pythia-14m",
        model_config=config,
        out_dir=args.work,
        data=Rows(*streams),
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=batch,
            micro_batch_size=batch,
            max_tokens=args.steps * batch * length,
            max_norm=1.0,
            min_lr=4e-5,
            lr_warmup_steps=50,
            max_seq_length=length,
            tie_embeddings=bool(args.plan),
        ),
        eval=EvalArgs(interval=1000, max_iters=100, final_validation=False),
        logger_name="csv",
        seed=42 + args.seed,
    )
    timed = clock.stop(args.steps)

    # Its own file of a minute ago; it pickles its data loader beside the weights, so weights_only refuses it.
    saved = torch.load(args.work / "final" / "lit_model.pth", weights_only=False, map_location="cpu")["model"]
    model = GPT(config)
    model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in saved.items()})
    model.max_seq_length = length
    model.eval()
    held_out = peer.texts(args, "held_out")
    score = peer.score(model, codec.documents(held_out), held_out, length)
    params = sum(p.numel() for p in model.parameters())
    answer(
        {
            "peer": "litgpt",
            **peer.facts(score),
            **timed,
            "steps": args.steps,
            "tokens": args.steps * batch * length,
            "passes": args.steps * batch * length / len(streams[0]),
            "params": params - (config.padded_vocab_size * config.n_embd if args.plan else 0),  # tied: one table, loaded twice
            "settings": {"rows": batch, "length": length, "vocab_size": codec.vocab_size},
        }
    )


if __name__ == "__main__":
    main()
