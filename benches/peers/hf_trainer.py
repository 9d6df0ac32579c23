"""Transformers' Trainer as its run_clm example uses it: a Llama of width 256 and 4 layers, a BPE of its own, every setting a default.

Rows of 256 ids cut from the documents one after the other. What is given besides the number of steps only switches reports and
checkpoints off, which costs the Trainer nothing. --learning-rate 5e-4 is the usual figure for training from scratch; the default, 5e-5,
is one for fine-tuning.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from benches.peers import peer

LENGTH = 256
ROWS = 8  # the Trainer's default


def shape(args: Any, codec: peer.Codec) -> LlamaConfig:
    if args.plan:
        model = dict(args.plan["model"])
        rope = {"rope_type": "default", "rope_theta": model.pop("rope_theta")}
        return LlamaConfig(**model, rope_parameters=rope, use_cache=False)
    return LlamaConfig(
        vocab_size=codec.vocab_size,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=codec.begin,
        eos_token_id=codec.end,
        use_cache=False,
    )


def main() -> None:
    args = peer.arguments(__doc__, **{"learning-rate": {"type": float, "default": 5e-5}})
    answer, clock = peer.redirect(), peer.Clock()
    train = peer.texts(args, "train")
    codec = peer.codec(args, train)
    length, batch = (args.plan["train"]["length"], args.plan["rows"]) if args.plan else (LENGTH, ROWS)
    stream = torch.from_numpy(codec.stream(train).astype("int64"))
    rows = stream[: len(stream) // length * length].view(-1, length)
    torch.manual_seed(args.seed)
    model = LlamaForCausalLM(shape(args, codec))
    settings = TrainingArguments(
        output_dir=str(args.work),
        max_steps=args.steps,
        seed=args.seed,
        learning_rate=args.learning_rate,
        per_device_train_batch_size=batch,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    Trainer(model=model, args=settings, train_dataset=[{"input_ids": row, "labels": row} for row in rows]).train()
    timed = clock.stop(args.steps)

    model.eval()
    held_out = peer.texts(args, "held_out")
    score = peer.score(lambda ids: model(input_ids=ids).logits, codec.documents(held_out), held_out, length)
    answer(
        {
            "peer": "hf-trainer",
            **peer.facts(score),
            **timed,
            "steps": args.steps,
            "tokens": args.steps * batch * length,
            "passes": args.steps * batch / len(rows),
            "params": sum(p.numel() for p in model.parameters()),
            "settings": {"learning_rate": args.learning_rate, "rows": batch, "length": length, "vocab_size": codec.vocab_size},
        }
    )


if __name__ == "__main__":
    main()
