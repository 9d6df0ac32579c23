"""One dial -> a Llama: its shape, its counts, its rates, and Transformers' own class made from it.

The class that trains is Transformers' LlamaForCausalLM. A module of our own with written-out attention was measured 1.12 times faster on
two workers (LOG.md, 2026-11-24), under the 1.3 that would pay for a second implementation, so there is none.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from cupola.config import Config
from cupola.tokens import BOS, EOS, PAD

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)


class ModelConfig(Config):
    """The shape of a Llama, under Hugging Face's names."""

    vocab_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    max_position_embeddings: int = 256
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    tie_word_embeddings: bool = True

    @model_validator(mode="after")
    def _shapes_fit(self) -> ModelConfig:
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary positions need pairs")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_attention_heads} heads cannot share {self.num_key_value_heads} key-value heads evenly")
        return self


@functools.lru_cache(maxsize=4096)
def dial(params: float, vocab_size: int, max_position_embeddings: int = 256) -> ModelConfig:
    """The shape whose parameter count is nearest to `params` (embeddings counted), by the proportions measured to work.

    Width in steps of 32 (16 below 128), four layers or one per 32 to 48 of width where that is more (6 at 256), heads of 64 (32 and less
    below 128), MLP of 8/3 width rounded to 32. Never fewer than four layers: with two, what a tune repeats is learnt after three million
    tokens or by luck; with four, after one million every time (LOG.md, 2026-11-25).
    """
    shapes = (
        _shape(width, depth, vocab_size, max_position_embeddings)
        for width in (*range(32, 128, 16), *range(128, 2049, 32))
        for depth in _depths(width)
    )
    return min(shapes, key=lambda c: abs(math.log(count_parameters(c) / params)))


def _depths(width: int) -> range:
    return range(max(4, width // 48), max(4, width // 32) + 1)


def _shape(width: int, depth: int, vocab_size: int, length: int) -> ModelConfig:
    head_dim = 64 if width % 64 == 0 and width >= 128 else 32 if width % 32 == 0 else width // 2
    heads = width // head_dim
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=max(32, round(width * 8 / 3 / 32) * 32),
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_dim,
        max_position_embeddings=length,
    )


def batch_tokens(config: ModelConfig) -> int:
    """Tokens per optimizer step: 2,048 at width 128, growing with width so that the optimizer's share of the time stays small."""
    return max(2_048, 16 * config.hidden_size)


def count_parameters(config: ModelConfig, *, embeddings: bool = True) -> int:
    """All trained numbers; without embeddings, those that every token is multiplied with except in the output layer."""
    c = config
    attention = c.hidden_size * c.head_dim * (2 * c.num_attention_heads + 2 * c.num_key_value_heads)
    block = attention + 3 * c.hidden_size * c.intermediate_size + 2 * c.hidden_size
    tables = c.vocab_size * c.hidden_size * (1 if c.tie_word_embeddings else 2)
    return c.num_hidden_layers * block + c.hidden_size + (tables if embeddings else 0)


def flops_per_token(config: ModelConfig, length: int) -> int:
    """Multiply-adds counted as two, forward and backward (three times forward), of one token in a full window of `length`.

    Matrix products only: the output layer counts, the embedding look-up does not; attention as computed, over the whole window.
    """
    c = config
    matrices = count_parameters(c, embeddings=False) - c.num_hidden_layers * 2 * c.hidden_size - c.hidden_size
    matrices += c.vocab_size * c.hidden_size
    attention = c.num_hidden_layers * 2 * length * c.num_attention_heads * c.head_dim
    return 3 * 2 * (matrices + attention)


def hf_config(config: Any) -> dict[str, Any]:
    """config.json for LlamaForCausalLM; rope_theta twice: Transformers 5 reads it in rope_parameters, vLLM and Ollama at the top."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{name: int(getattr(config, name)) for name in SIZES},
        "rms_norm_eps": float(config.rms_norm_eps),
        "rope_theta": float(config.rope_theta),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(config.rope_theta)},
        "tie_word_embeddings": bool(config.tie_word_embeddings),
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "initializer_range": 0.02,
        "use_cache": True,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "dtype": "float32",
    }


def build(config: ModelConfig, seed: int = 0) -> LlamaForCausalLM:
    """Transformers' model of this shape on the CPU in float32: matrices normal(0, 0.02) drawn from `seed`, norms at one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**{**hf_config(config), "use_cache": False}))
        with torch.no_grad():  # drawn here, in the order of the names: how Transformers draws changes with its version
            for _, parameter in sorted(model.named_parameters()):
                parameter.normal_(0.0, 0.02) if parameter.ndim == 2 else parameter.fill_(1.0)
    return model.train()
