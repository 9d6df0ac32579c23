"""A model folder opens elsewhere with the same weights and ids, is whole or absent, and its card says only what is known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from huggingface_hub import ModelCard
from test_tokens import ANY, MADE

from cupola import model, modeldir
from cupola.errors import ConfigError, DataError, MachineError
from cupola.tokens import CONTROL, PRETOKENIZERS, Tokenizer


def tiny(tokenizer: Tokenizer, seed: int = 0, **other) -> tuple[SimpleNamespace, dict[str, torch.Tensor]]:
    """A small Llama's config and random weights."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    rest = {"head_dim": 8, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True}
    config = SimpleNamespace(**{"vocab_size": tokenizer.vocab_size} | sizes | rest | other)
    draw = torch.Generator().manual_seed(seed)
    state = {k: torch.randn(s, generator=draw) * (0.15 if len(s) > 1 else 1) for k, s in modeldir.shapes(config).items()}
    return config, state


def saved(folder: Path, kind: str = ANY, generation: dict | None = None, **other) -> Path:
    config, state = tiny(MADE[kind], **other)
    modeldir.save(folder, config, state, MADE[kind], generation=generation)
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_opens_the_folder_with_the_same_weights(tmp_path, tied):
    config, state = tiny(MADE[ANY], tie_word_embeddings=tied)
    modeldir.save(tmp_path / "a model 🎻", config, state, MADE[ANY])
    model, tokenizer = modeldir.load(tmp_path / "a model 🎻")
    assert tokenizer.fingerprint == MADE[ANY].fingerprint
    assert model.dtype == torch.float32
    assert not model.training
    theirs = model.state_dict()
    assert all(torch.equal(theirs[name], state[name]) for name in state)
    assert model.config.rope_parameters["rope_theta"] == 10000.0  # where Transformers 5 looks
    assert json.loads((tmp_path / "a model 🎻" / "config.json").read_text())["rope_theta"] == 10000.0  # where others do
    assert ("lm_head.weight" in modeldir.weights(tmp_path / "a model 🎻")) is not tied


def test_names_and_shapes_are_those_of_transformers_llama():
    for tied in (True, False):
        config, _ = tiny(MADE[ANY], tie_word_embeddings=tied)
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**model.hf_config(config))).state_dict()
        ours = modeldir.shapes(config)
        assert {k: tuple(v.shape) for k, v in theirs.items() if k in ours} == ours
        assert theirs.keys() - ours.keys() == ({"lm_head.weight"} if tied else set())


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_transformers_gives_the_same_ids_adds_none_and_reads_no_control_token_from_text(kind, tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(saved(tmp_path / "m", kind))
    for text in ("", "the fox  ran\n over 1,024 hills", "a" + "".join(CONTROL) + "b", " .\t, \r\n don't <0x41> </s>", "été 東京 🙂 ▁"):
        assert theirs(text)["input_ids"] == MADE[kind].encode(text)
        assert theirs.decode(theirs(text)["input_ids"]) == MADE[kind].decode(MADE[kind].encode(text))
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id) == (0, 1, 2)


def test_what_generation_takes_as_defaults_is_kept(tmp_path):
    folder = saved(tmp_path / "m", generation={"temperature": 0.8, "min_p": 0.05})
    kept = transformers.GenerationConfig.from_pretrained(folder)
    assert (kept.do_sample, kept.temperature, kept.min_p, kept.eos_token_id) == (True, 0.8, 0.05, 2)
    with pytest.raises(ConfigError, match=r"unknown sampling default 'temprature'(.|\n)*temperature, top_k"):
        saved(tmp_path / "n", generation={"temprature": 1})
    assert not (tmp_path / "n").exists()


def test_the_same_model_saves_to_the_same_bytes(tmp_path):
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_saving_again_replaces_the_folder_and_leaves_nothing_beside_it(tmp_path):
    saved(tmp_path / "m", seed=1)
    (tmp_path / "m" / "old.txt").write_text("")
    saved(tmp_path / "m", seed=2)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert not (tmp_path / "m" / "old.txt").exists()
    assert torch.equal(torch.from_numpy(modeldir.weights(tmp_path / "m")["model.norm.weight"]), tiny(MADE[ANY], 2)[1]["model.norm.weight"])


def test_a_full_disk_is_an_error_and_the_model_that_was_there_stays(tmp_path):
    saved(tmp_path / "m")
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}

    class Full:
        vocab_size = MADE[ANY].vocab_size

        def save(self, folder: Path) -> None:
            (folder / "tokenizer.json").write_text("half")
            raise OSError(28, "No space left on device")

    config, state = tiny(MADE[ANY])
    with pytest.raises(MachineError, match=r"cannot write the model: No space left on device(.|\n)*free some disk space"):
        modeldir.save(tmp_path / "m", config, state, Full())
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file/m: cannot write the model(.|\n)*a folder you may write to"):
        saved(tmp_path / "file" / "m")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda s: s.pop("model.norm.weight"), "model.norm.weight is missing"),
        (lambda s: s.update({"model.extra": torch.ones(1)}), "model.extra is not part of a Llama"),
        (lambda s: s.update({"model.norm.weight": torch.ones(31)}), r"model.norm.weight is \(31,\), not \(32,\)"),
        (lambda s: s["model.norm.weight"].fill_(float("nan")), r"model.norm.weight holds values that are not finite(.|\n)*diverged"),
    ],
)
def test_weights_that_are_not_the_configs_are_refused(tmp_path, spoil, text):
    config, state = tiny(MADE[ANY])
    spoil(state)
    with pytest.raises(DataError, match=text):
        modeldir.save(tmp_path / "m", config, state, MADE[ANY])
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    config, state = tiny(MADE[ANY], vocab_size=300)
    with pytest.raises(DataError, match="the model has 300 ids, its tokenizer"):
        modeldir.save(tmp_path / "m", config, state, MADE[ANY])


def test_verify_names_the_file_that_was_changed_or_lost(tmp_path):
    folder = saved(tmp_path / "m")
    modeldir.verify(folder)
    (folder / "README.md").write_text("a card may be edited")
    modeldir.verify(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match=r"model\.safetensors: is not the file that was written"):
        modeldir.verify(folder)
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: is missing"):
        modeldir.verify(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        modeldir.verify(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"no manifest\.json"):
        modeldir.verify(folder)


def test_folders_that_are_no_llama_or_hold_a_pickle_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no config\.json"):
        modeldir.load(tmp_path)
    folder = saved(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"no model\.safetensors(.|\n)*a pickle can run code"):
        modeldir.load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match=r"a 'gpt2' model(.|\n)*only Llama-shaped"):
        modeldir.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: not JSON"):
        modeldir.load(folder)


def test_a_truncated_weight_file_is_an_error(tmp_path):
    folder = saved(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="Transformers cannot open it"):
        modeldir.load(folder)


def test_weights_that_do_not_fill_the_model_are_an_error(tmp_path):
    folder = saved(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(DataError, match=r"lm_head\.weight is missing"):
        modeldir.load(folder)


def test_code_in_a_folder_is_never_run(tmp_path):
    folder = saved(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    modeldir.load(folder)
    assert not (tmp_path / "ran").exists()


# --- the card

FACTS = {
    "name": "reels: a small model",
    "medium": "tune",
    "licence": "CC0-1.0",
    "corpus": "3,911 tunes of 4,248 kept (31 duplicates, 306 near duplicates), 1.4 MB",
    "licences": [{"licence": "public domain", "documents": 3911, "origin": "three collections | 1850 to 1883", "allow": "tunes are old"}],
    "sources": ["pypi:example==1.0, sha256 ab12"],
    "plan": {
        "parameters": 941_000,
        "seconds": 250,
        "usd": 0.004,
        "bits_per_byte": {"p10": 1.5, "p50": 1.6, "p90": 1.7},
        "law": "speed measured",
    },
    "outcome": {"parameters": 941_000, "seconds": 248.0, "usd": 0.0037, "bits_per_byte": 1.61, "tokens": 11e6, "note": "stopped early"},
    "scores": {
        "bits_per_byte": {"value": 1.6123, "low": 1.58, "high": 1.64},
        "ngram": 2.1,
        "xz": 2.63,
        "byte_entropy": 4.6,
        "documents": 391,
        "valid": 0.97,
        "originality": {"nearest": 0.41, "real": 0.44, "copies": 0.02},
    },
    "cost": {"usd": 0.0041, "usd_by": "prices.toml", "kwh": 0.003, "kwh_by": "tdp_share", "kwh_range": 0.5, "seconds": 270},
    "limits": ["Bars at section ends may be short."],
    "proof": "GGUF and Transformers agree on 64 of 64 greedy tokens",
    "versions": {"torch": "2.13.0"},
    "curves": "loss.svg",
}


def test_the_card_is_one_that_hugging_face_reads_with_the_score_in_its_index(tmp_path):
    path = modeldir.write_card(saved(tmp_path / "m"), FACTS)
    card = ModelCard.load(path)
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == ("cc0-1.0", "transformers", "text-generation")
    assert {"cupola", "tune", "gguf"} <= set(card.data.tags)
    assert card.data.model_name == FACTS["name"]
    (score,) = card.data.eval_results
    assert (score.metric_type, score.metric_value) == ("bits_per_byte", 1.6123)


def test_the_card_says_what_was_learnt_from_planned_scored_spent_and_where_it_falls_short(tmp_path):
    text = modeldir.write_card(saved(tmp_path / "m"), FACTS).read_text("utf-8")
    for line in (
        "# reels: a small model",
        "3,911 tunes of 4,248 kept (31 duplicates, 306 near duplicates), 1.4 MB",
        "| public domain | 3911 | three collections \\| 1850 to 1883 | tunes are old |",
        "- `pypi:example==1.0, sha256 ab12`",
        "| bits a byte, held out | 1.60 (1.50 to 1.70) | 1.61 |",
        "| time | 4 min 10 s | 4 min 08 s |",
        "| tokens trained on |  | 11 M |",
        "speed measured",
        "stopped early",
        "| **this model** | **1.61** (95%: 1.58 to 1.64) |",
        "| Kneser-Ney n-gram of order 8 | 2.10 |",
        "97% is valid notation",
        "nearest training document: 0.41 (real held-out documents: 0.44)",
        "Thrown away as copies: 2% of the candidates",
        "![loss as it trained](loss.svg)",
        "$0.0041 (prices.toml), 0.0030 kWh (tdp_share, ±50%), 4 min 30 s.",
        "- Bars at section ends may be short.",
        "- GGUF and Transformers agree on 64 of 64 greedy tokens",
        "- torch 2.13.0",
    ):
        assert line in text


def test_what_is_not_known_is_left_out_of_the_card(tmp_path):
    path = modeldir.write_card(saved(tmp_path / "m"), {"name": "bare"})
    card = ModelCard.load(path)
    assert card.data.eval_results is None
    assert card.data.license is None
    headings = re.findall(r"^## (.*)", path.read_text(), re.MULTILINE)
    assert headings == ["How to use it", "Limits"]
    assert "None" not in path.read_text()
    assert "gguf -no-cnv" not in path.read_text()


@pytest.mark.parametrize("facts", [{k: v} for k, v in FACTS.items()])
def test_each_fact_can_be_the_only_one(tmp_path, facts):
    ModelCard.load(modeldir.write_card(saved(tmp_path / "m"), facts))


def test_a_licence_that_hugging_face_has_no_name_for_goes_in_as_other(tmp_path):
    card = ModelCard.load(modeldir.write_card(saved(tmp_path / "m"), {"licence": "My own terms"}))
    assert (card.data.license, card.data.license_name) == ("other", "my-own-terms")


def test_the_cards_python_runs_in_the_folder(tmp_path, monkeypatch, capsys):
    folder = saved(tmp_path / "m", generation={"temperature": 0.9})
    code = re.search(r"```python\n(.*?)```", modeldir.write_card(folder, FACTS).read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    assert code
    exec(code[1], {})
    assert capsys.readouterr().out.strip()


def test_the_card_shows_the_gguf_that_is_there(tmp_path):
    folder = saved(tmp_path / "m")
    (folder / "model.gguf").write_bytes(b"GGUF")
    assert "llama-completion -m model.gguf -no-cnv -p '<|cupola:bos|>'" in modeldir.write_card(folder, FACTS).read_text("utf-8")
