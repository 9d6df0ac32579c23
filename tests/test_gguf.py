"""The GGUF holds the folder's weights, in llama.cpp's order and under its names, and refuses what it cannot carry."""

from __future__ import annotations

import json

import gguf as library
import numpy as np
import pytest
from test_modeldir import saved, tiny
from test_tokens import ANY, MADE

from cupola import gguf, modeldir
from cupola.errors import ConfigError, DataError, MachineError
from cupola.tokens import CONTROL, PRETOKENIZERS, train_tokenizer


def fields(path) -> dict:
    return {k: f.contents() for k, f in library.GGUFReader(path).fields.items()}


def change(folder, **settings) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


@pytest.mark.parametrize(
    "shape", [{}, {"tie_word_embeddings": False}, {"num_key_value_heads": 1}, {"num_attention_heads": 2, "head_dim": 24}]
)
def test_an_f32_file_gives_every_weight_back_to_the_bit(tmp_path, shape):
    folder = saved(tmp_path / "m", **shape)
    back, kept = gguf.read_back(gguf.export(folder, dtype="f32")), modeldir.weights(folder)
    assert back.keys() == kept.keys()
    assert all(np.array_equal(back[k], kept[k]) for k in kept)


@pytest.mark.parametrize(("dtype", "share"), [("f16", 2**-11), ("q8_0", 2**-7)])
def test_smaller_files_give_the_weights_back_within_their_rounding(tmp_path, dtype, share):
    folder = saved(tmp_path / "m")
    back, kept = gguf.read_back(gguf.export(folder, dtype=dtype)), modeldir.weights(folder)
    for name, w in kept.items():
        assert np.abs(back[name] - w).max() <= share * np.abs(w).max() + 1e-7
        assert w.ndim > 1 or np.array_equal(back[name], w)  # norms stay whole


def test_rows_that_q8_0_cannot_divide_are_f16(tmp_path):
    path = gguf.export(saved(tmp_path / "m", hidden_size=48, intermediate_size=64), dtype="q8_0")
    kinds = {t.name: t.tensor_type.name for t in library.GGUFReader(path).tensors}
    assert kinds["blk.0.attn_q.weight"] == "F16"  # rows of 48
    assert kinds["blk.0.ffn_down.weight"] == "Q8_0"  # rows of 64
    assert kinds["output_norm.weight"] == "F32"


def test_rope_pairs_are_neighbours_in_the_file():
    w = np.arange(8, dtype=np.float32)[:, None]
    assert gguf._interleave(w, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert np.array_equal(gguf._halve(gguf._interleave(w, 2), 2), w)


def test_a_tied_head_is_left_out(tmp_path):
    names = {t.name for t in library.GGUFReader(gguf.export(saved(tmp_path / "m"))).tensors}
    assert "output.weight" not in names
    names = {t.name for t in library.GGUFReader(gguf.export(saved(tmp_path / "n", tie_word_embeddings=False))).tensors}
    assert "output.weight" in names


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_the_tokenizer_goes_in_with_every_id_that_llama_cpp_would_else_guess(tmp_path, kind):
    kept = fields(gguf.export(saved(tmp_path / "m", kind)))
    assert kept["tokenizer.ggml.pre"] == kind
    assert kept["tokenizer.ggml.tokens"][:6] == list(CONTROL)
    assert kept["tokenizer.ggml.token_type"][:6] == [3] * 6  # control
    ids = {k: kept[f"tokenizer.ggml.{k}_token_id"] for k in ("padding", "bos", "eos", "fim_pre", "fim_suf", "fim_mid")}
    assert ids == {"padding": 0, "bos": 1, "eos": 2, "fim_pre": 3, "fim_suf": 4, "fim_mid": 5}
    assert kept["tokenizer.ggml.add_bos_token"] is False
    assert len(set(kept["tokenizer.ggml.tokens"])) == MADE[kind].vocab_size
    assert kept["tokenizer.ggml.token_type"].count(6) == (0 if PRETOKENIZERS[kind].byte_level else 256)  # bytes


def test_a_vocabulary_without_merges_has_one_that_never_fires(tmp_path):
    bare = train_tokenizer(["a"], ANY, 264)
    assert not json.loads(bare.json)["model"]["merges"]
    config, state = tiny(bare)
    modeldir.save(tmp_path / "m", config, state, bare)
    assert fields(gguf.export(tmp_path / "m"))["tokenizer.ggml.merges"] == [f"{CONTROL[0]} {CONTROL[0]}"]


def test_sampling_defaults_go_in(tmp_path):
    kept = fields(gguf.export(saved(tmp_path / "m", generation={"temperature": 0.75, "min_p": 0.125, "top_k": 5})))
    assert (kept["general.sampling.temp"], kept["general.sampling.min_p"], kept["general.sampling.top_k"]) == (0.75, 0.125, 5)


def test_the_same_folder_exports_to_the_same_bytes_whole_or_not_at_all(tmp_path):
    folder = saved(tmp_path / "m")
    assert gguf.export(folder, tmp_path / "one.gguf").read_bytes() == gguf.export(folder, tmp_path / "two.gguf").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "one.gguf", "two.gguf"]
    assert gguf.export(folder) == folder / "model.gguf"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"attention_bias": True}, "attention_bias is set"),
        ({"mlp_bias": True}, "mlp_bias is set"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope scaling 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None}, "rope scaling 'linear'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"head_dim": 7}, "head_dim 7 is odd"),
    ],
)
def test_what_the_file_cannot_carry_is_refused(tmp_path, settings, text):
    folder = saved(tmp_path / "m")
    change(folder, **settings)
    with pytest.raises(ConfigError, match=text):
        gguf.export(folder)
    assert not (folder / "model.gguf").exists()


def test_other_architectures_dtypes_and_places_are_errors(tmp_path):
    folder = saved(tmp_path / "m")
    with pytest.raises(ConfigError, match=r"no GGUF dtype 'q4_k'(.|\n)*f32, f16, q8_0"):
        gguf.export(folder, dtype="q4_k")
    with pytest.raises(MachineError, match=r"cannot write(.|\n)*choose a folder"):
        gguf.export(folder, tmp_path / "missing" / "model.gguf")
    change(folder, vocab_size=17)
    with pytest.raises(DataError, match="different vocabularies"):
        gguf.export(folder)
    change(folder, model_type="qwen3")
    with pytest.raises(ConfigError, match="a 'qwen3' model"):
        gguf.export(folder)


def test_a_broken_file_does_not_read_back(tmp_path):
    path = gguf.export(saved(tmp_path / "m"))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="not a whole GGUF file"):
        gguf.read_back(path)
