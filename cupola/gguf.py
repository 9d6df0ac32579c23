"""Model folder -> GGUF, the one file that llama.cpp and Ollama open; and back, to check what was written.

Llama rotates pairs of neighbouring channels where Transformers rotates the two halves of a head, so the rows of q and k change places:
of a head with 4 channels, rows 0 1 2 3 are written as 0 2 1 3. Everything else is copied under another name.
Source: llama.cpp's own converter (convert_hf_to_gguf), class LlamaModel, and facts measured with xllamacpp.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gguf  # the library; this module is cupola.gguf
import numpy as np

from cupola import modeldir
from cupola.errors import ConfigError, DataError, MachineError
from cupola.tokens import BOS, CONTROL, EOS, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD, Tokenizer

Kind = gguf.GGMLQuantizationType
# f16 keeps more of the mantissa than bf16; q8_0 halves it again and is for models above 20 M, where it costs nothing one can measure.
DTYPES = {
    "f32": (Kind.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (Kind.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
SAMPLING = {"temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}  # generation_config.json -> general.sampling.*


def export(folder: Path, out: Path | None = None, dtype: str = "f16") -> Path:
    """Write a model folder as one GGUF file, whole or not at all; `out` is model.gguf in the folder unless given. Returns its path.

    dtype: "f32", "f16" or "q8_0". Norms stay f32; a tensor whose rows q8_0 cannot divide (multiples of 32) is f16.
    Nothing is promised of the file before engine.prove has compared it with the folder.
    Raises ConfigError for what a llama GGUF cannot carry (biases, scaled rope, odd head_dim), DataError for a broken folder or no Llama.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"no GGUF dtype {dtype!r}", str(folder), f"use one of {', '.join(DTYPES)}")
    config = _carried(folder)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size != config["vocab_size"]:
        raise DataError("model and tokenizer have different vocabularies", str(folder), "the folder was mixed up from two models")
    state = modeldir.weights(folder)
    path = out or folder / "model.gguf"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        writer = gguf.GGUFWriter(temporary, "llama")
        _add_shape(writer, config, DTYPES[dtype][1])
        _add_tokenizer(writer, tokenizer)
        _add_sampling(writer, folder)
        _add_tensors(writer, config, state, DTYPES[dtype][0])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        modeldir.sync(temporary)
        temporary.replace(path)
    except OSError as e:
        raise MachineError(
            f"cannot write: {e.strerror or e}", str(path), "free some disk space, or choose a folder you may write to"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _carried(folder: Path) -> dict[str, Any]:
    """config.json, once it is known that GGUF's llama can carry all of it."""
    where = str(folder / "config.json")
    config = modeldir.read_config(folder)
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key):
            raise ConfigError(f"{key} is set", where, "train without biases: the GGUF of a Llama has no place for them")
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ConfigError(f"rope scaling {rope.get('rope_type', rope.get('type'))!r}", where, "only unscaled rope is exported")
    if config.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"hidden_act {config['hidden_act']!r}", where, "llama.cpp's Llama computes silu")
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    config["rope_theta"] = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    if config["head_dim"] % 2:
        raise ConfigError(f"head_dim {config['head_dim']} is odd", where, "rope rotates pairs of channels: use an even one")
    return config


def _add_shape(writer: gguf.GGUFWriter, config: dict[str, Any], file_type: gguf.LlamaFileType) -> None:
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """Every key is written: without eos and bos llama.cpp takes id 11 for both, whatever that is."""
    model = json.loads(tokenizer.json)["model"]
    names = [tokenizer.inner.id_to_token(i) for i in range(tokenizer.vocab_size)]
    bytes_ = set() if tokenizer.byte_level else {f"<0x{b:02X}>" for b in range(256)}
    kinds = [gguf.TokenType.CONTROL if n in CONTROL else gguf.TokenType.BYTE if n in bytes_ else gguf.TokenType.NORMAL for n in names]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pretokenizer)
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    # Without any merge the file does not load. A merge of two control tokens can never come about in text.
    writer.add_token_merges(merges or [f"{CONTROL[PAD]} {CONTROL[PAD]}"])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_pad_token_id(PAD)
    writer.add_uint32("tokenizer.ggml.fim_pre_token_id", FIM_PREFIX)
    writer.add_uint32("tokenizer.ggml.fim_suf_token_id", FIM_SUFFIX)
    writer.add_uint32("tokenizer.ggml.fim_mid_token_id", FIM_MIDDLE)
    writer.add_add_bos_token(False)  # true would reach string prompts only, never ids: bos is ours to put in
    writer.add_add_eos_token(False)


def _add_sampling(writer: gguf.GGUFWriter, folder: Path) -> None:
    """The folder's sampling defaults, which llama.cpp's server takes for its own."""
    path = folder / "generation_config.json"
    given = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for key, name in SAMPLING.items():
        if key in given:
            getattr(writer, f"add_sampling_{name}")(given[key])


def _add_tensors(writer: gguf.GGUFWriter, config: dict[str, Any], state: dict[str, np.ndarray], kind: Kind) -> None:
    for name, theirs, heads in _names(config):
        if name not in state:
            raise DataError(f"{name} is missing", "model.safetensors", "the folder is damaged; copy it anew")
        w = state[name] if heads is None else _interleave(state[name], heads)
        own = Kind.F32 if w.ndim == 1 else Kind.F16 if kind is Kind.Q8_0 and w.shape[-1] % 32 else kind
        writer.add_tensor(theirs, gguf.quantize(w, own), raw_dtype=own)


def _names(config: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    """Transformers' name, GGUF's name and, where rows are to be put in rope's other order, the number of heads."""
    heads = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": config["num_key_value_heads"]}
    outer = [(a, b, None) for a, b in OUTER.items() if a != "lm_head.weight" or not config.get("tie_word_embeddings", False)]
    layers = [
        (f"model.layers.{i}.{a}.weight", f"blk.{i}.{b}.weight", heads.get(a))
        for i in range(config["num_hidden_layers"])
        for a, b in LAYER.items()
    ]
    return outer + layers


def _interleave(w: np.ndarray, heads: int) -> np.ndarray:
    """(heads * d, hidden): each head's rows from two halves (0 1 2 3) to pairs (0 2 1 3)."""
    return np.ascontiguousarray(w.reshape(heads, 2, -1, w.shape[-1]).swapaxes(1, 2).reshape(w.shape))


def _halve(w: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of _interleave."""
    return np.ascontiguousarray(w.reshape(heads, -1, 2, w.shape[-1]).swapaxes(1, 2).reshape(w.shape))


def read_back(path: Path) -> dict[str, np.ndarray]:
    """The float32 weights of a GGUF that `export` wrote, by their Transformers names. Raises DataError for any other file."""
    try:
        reader = gguf.GGUFReader(path)
        fields = {k: f.contents() for k, f in reader.fields.items() if k.startswith(("general.arch", "llama."))}
        tensors = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    except (OSError, ValueError, IndexError, KeyError) as e:
        raise DataError(f"not a whole GGUF file: {e}", str(path), "export the model again") from None
    if fields.get("general.architecture") != "llama":
        raise DataError(f"a {fields.get('general.architecture')!r} GGUF", str(path), "only llama files are read")
    config = {
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "tie_word_embeddings": "output.weight" not in tensors,
    }
    return {name: tensors[theirs] if heads is None else _halve(tensors[theirs], heads) for name, theirs, heads in _names(config)}
