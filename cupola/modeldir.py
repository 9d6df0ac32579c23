"""The model folder that Transformers, llama.cpp, Ollama and vLLM open with no code of ours: save, load, verify, card.

Weights are kept in float32: these models are small (4 MB a million parameters), it is what was trained and what every proof compares with,
and bfloat16 alone would move log-probabilities by 0.01 at this size. The GGUF beside it is the small one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

import cupola
from cupola import units
from cupola.errors import ConfigError, DataError, MachineError
from cupola.model import hf_config
from cupola.tokens import BOS, CONTROL, EOS, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD, Tokenizer

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens")  # what generation_config.json may hold


# --- names and shapes ---------------------------------------------------------------------------------------------------------------


def shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Every parameter of a Llama by its Transformers name, with its shape. The output head is there only if it is not tied."""
    hidden, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    out: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, hidden)}
    for i in range(config.num_hidden_layers):
        layer = {
            "input_layernorm": (hidden,),
            "self_attn.q_proj": (q, hidden),
            "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, q),
            "post_attention_layernorm": (hidden,),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        out |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    out["model.norm.weight"] = (hidden,)
    if not config.tie_word_embeddings:
        out["lm_head.weight"] = (config.vocab_size, hidden)
    return out


def _whole(config: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights in float32, one copy each. Raises DataError for a missing, extra, misshapen or non-finite one."""
    wanted = shapes(config)
    given = {k: v for k, v in state.items() if not (k == "lm_head.weight" and config.tie_word_embeddings)}
    if wrong := sorted(wanted.keys() ^ given.keys()):
        name = wrong[0]
        raise DataError(
            f"{name} is {'missing' if name in wanted else 'not part of a Llama'}", "model state", "pass a LlamaForCausalLM state dict"
        )
    for name, shape in wanted.items():
        if tuple(given[name].shape) != shape:
            raise DataError(
                f"{name} is {tuple(given[name].shape)}, not {shape}", "model state", "the config does not belong to these weights"
            )
        if not torch.isfinite(given[name]).all():
            raise DataError(f"{name} holds values that are not finite", "model state", "training diverged: lower the learning rate")
    return {name: given[name].detach().to("cpu", torch.float32).contiguous().clone() for name in wanted}


# --- save ---------------------------------------------------------------------------------------------------------------------------


def save(
    folder: Path, config: Any, state: dict[str, torch.Tensor], tokenizer: Tokenizer, *, generation: dict[str, float] | None = None
) -> None:
    """Write a model folder, whole or not at all; one that was there is replaced.

    config: the attributes of cupola.model.ModelConfig. state: by Transformers' names; a tied lm_head.weight may be in it and is left out.
    generation: sampling defaults (SAMPLING), kept in generation_config.json and from there in the GGUF.
    Raises DataError when weights and config disagree, ConfigError for an unknown sampling key, MachineError when the disk refuses.
    """
    if config.vocab_size != tokenizer.vocab_size:
        raise DataError(
            f"the model has {config.vocab_size} ids, its tokenizer {tokenizer.vocab_size}", str(folder), "they belong to different runs"
        )
    weights = _whole(config, state)
    defaults = _generation_config(generation or {})
    with _replacing(folder) as temporary:
        tokenizer.save(temporary)
        _json(temporary / "config.json", hf_config(config))
        _json(temporary / "generation_config.json", defaults)
        safetensors.torch.save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        files = {p.name: {"bytes": p.stat().st_size, "sha256": _sha256(p)} for p in sorted(temporary.iterdir())}
        _json(temporary / "manifest.json", {"cupola": cupola.__version__, "files": files})


def _generation_config(generation: dict[str, float]) -> dict[str, Any]:
    for key in generation:
        if key not in SAMPLING:
            raise ConfigError(f"unknown sampling default {key!r}", "generation", f"use {', '.join(SAMPLING)}")
    sampled = {"do_sample": True} if generation.keys() - {"max_new_tokens"} else {}
    return {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, **sampled, **generation}


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `folder` when the block ends well; files, folder and parent are synced.

    A folder cannot be replaced in one step: the old one is moved aside first, so a power cut between two renames leaves it as NAME.old.
    """
    temporary, old = folder.with_name(f".{folder.name}.{os.getpid()}.tmp"), folder.with_name(f"{folder.name}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            sync(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        temporary.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as e:
        raise MachineError(
            f"cannot write the model: {e.strerror or e}", str(folder), "free some disk space, or choose a folder you may write to"
        ) from None
    except safetensors.SafetensorError as e:  # how its writer reports a full disk
        raise MachineError(
            f"cannot write the model: {e}", str(folder), "free some disk space, or choose a folder you may write to"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # only POSIX opens a folder to sync its entries
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


# --- load and verify ----------------------------------------------------------------------------------------------------------------


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises DataError when there is none or no weights, ConfigError when it is not a Llama."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise DataError("no config.json", str(folder), "give a model folder; cupola make writes one") from None
    except ValueError as e:
        raise DataError(f"not JSON: {e}", str(folder / "config.json"), "the file is damaged; copy the folder anew") from None
    if config.get("model_type") != "llama":
        raise ConfigError(f"a {config.get('model_type')!r} model", str(folder), "only Llama-shaped folders can be opened here")
    if not (folder / "model.safetensors").is_file():
        raise DataError("no model.safetensors", str(folder), "other weight formats are not read: a pickle can run code")
    return config


def load(folder: Path) -> tuple[Any, Tokenizer]:
    """(transformers.LlamaForCausalLM in float32 in eval mode, Tokenizer). Reads safetensors only and runs no code from the folder."""
    read_config(folder)
    tokenizer = Tokenizer.load(folder)
    import transformers  # seconds to import: only those who load pay

    with _quiet(transformers):
        try:
            model, info = transformers.LlamaForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as e:
            raise DataError(
                f"Transformers cannot open it: {e}", str(folder), "the folder is damaged; cupola can check it with verify"
            ) from None
    if wrong := sorted(info["missing_keys"]) + sorted(info["unexpected_keys"]):
        raise DataError(
            f"{wrong[0]} is missing or not part of the model", str(folder / "model.safetensors"), "the folder is damaged; copy it anew"
        )
    if model.config.vocab_size != tokenizer.vocab_size:
        raise DataError("model and tokenizer have different vocabularies", str(folder), "the folder was mixed up from two models")
    return model.eval(), tokenizer


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bar for a file that loads in milliseconds."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def verify(folder: Path) -> None:
    """Compare every file that `save` wrote with manifest.json. Raises DataError naming the first that is missing or changed.

    The card and the GGUF are not in the manifest: a person may edit the one, and the other is proved by what it answers.
    """
    try:
        files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    except FileNotFoundError:
        raise DataError("no manifest.json", str(folder), "give a model folder that cupola wrote") from None
    except (ValueError, KeyError, TypeError):
        raise DataError("manifest.json cannot be read", str(folder), "the folder is damaged; copy it anew") from None
    for name, kept in files.items():
        path = folder / name
        if not path.is_file():
            raise DataError("is missing", str(path), "the folder is damaged; copy it anew")
        if path.stat().st_size != kept["bytes"] or _sha256(path) != kept["sha256"]:
            raise DataError(
                "is not the file that was written", str(path), "it was edited or damaged; copy it anew, or make the model again"
            )


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a folder as float32 arrays by Transformers' names, without importing Transformers."""
    return {k: v.astype(np.float32, copy=False) for k, v in safetensors.numpy.load_file(folder / "model.safetensors").items()}


# --- the card -----------------------------------------------------------------------------------------------------------------------

# Hugging Face's identifiers for licences that a corpus or a model often has; any other goes in as "other" with its name.
LICENCES = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "gpl-2.0", "gpl-3.0", "unlicense"}

# What is planned and what came out, as rows of one table: key, how people call it, how it is printed.
QUANTITIES: dict[str, tuple[str, Callable[[float], str]]] = {
    "bits_per_byte": ("bits a byte, held out", lambda x: f"{x:.2f}"),
    "parameters": ("parameters", units.count),
    "tokens": ("tokens trained on", units.count),
    "passes": ("passes over the corpus", lambda x: f"{x:.1f}"),
    "steps": ("steps", units.count),
    "seconds": ("time", units.seconds),
    "usd": ("cost", units.usd),
    "kwh": ("energy", lambda x: units.kwh(x * units.JOULES_PER_KWH)),
}


def write_card(folder: Path, facts: dict[str, Any]) -> Path:
    """README.md of a model folder, in the form Hugging Face reads, from what the run knows. What is missing from `facts` is left out.

    name, medium, machine, proof, corpus: a line each; proof and corpus as the run printed them
    licence: of the model, as an SPDX name
    licences: list of {licence, documents, origin, allow}, one a source's licence; allow: the reason given for one that needed it
    sources: list of strings ("pypi:NAME==VERSION, sha256 ...")
    plan, outcome: dicts with any of QUANTITIES; a planned value is a number or {p10, p50, p90}; plan may have "law", a line on how it was
        got, outcome may have "note", a line on what went otherwise (stopped early, late machine)
    scores: bits_per_byte {value, low, high}; ngram, xz, byte_entropy (bits a byte); documents (held out, a count); valid (a share);
        originality {nearest, real, copies}: median distance to the nearest training document of what was made and of real held-out
        documents, and the share of candidates thrown away as copies
    cost: usd, usd_by, kwh, kwh_by, kwh_range (a share), seconds: of everything, the training and what came before and after
    limits: list of lines, after the ones every model has
    versions: {package: version}; curves: path of a picture, relative to the folder
    """
    parts = [_card_head(facts), _card_opening(facts), _card_use(folder), _card_corpus(facts), _card_plan(facts), _card_scores(facts)]
    parts += [_card_cost(facts), _card_limits(facts), _card_made(facts)]
    path = folder / "README.md"
    temporary = folder / f".README.{os.getpid()}.tmp"
    try:
        temporary.write_text("\n\n".join(p for p in parts if p) + "\n", "utf-8")
        temporary.replace(path)
    except OSError as e:
        raise MachineError(
            f"cannot write the card: {e.strerror}", str(path), "free some disk space, or choose a folder you may write to"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _card_head(facts: dict[str, Any]) -> str:
    """The YAML front matter."""
    from huggingface_hub import EvalResult, ModelCardData

    score = (facts.get("scores") or {}).get("bits_per_byte")
    results = score and [
        EvalResult(
            task_type="text-generation",
            dataset_type="held-out",
            dataset_name=f"held-out documents of {facts.get('name', 'the corpus')}",
            metric_type="bits_per_byte",
            metric_name="bits per byte (lower is better)",
            metric_value=round(score["value"], 4),
        )
    ]
    licence = str(facts.get("licence") or "").strip()
    known = licence.lower() in LICENCES
    data = ModelCardData(
        license=(licence.lower() if known else "other") if licence else None,
        license_name=None if known or not licence else "-".join(licence.lower().split()),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["cupola", "llama", "gguf", "fill-in-the-middle", *([facts["medium"]] if facts.get("medium") else [])],
        model_name=facts.get("name", "model") if results else None,
        eval_results=results,
    )
    return f"---\n{data.to_yaml()}\n---"


def _card_opening(facts: dict[str, Any]) -> str:
    medium = f" It writes {facts['medium']} notation." if facts.get("medium") else ""
    return (
        f"# {facts.get('name', 'A small model')}\n\n"
        f"A small Llama trained from scratch by cupola on one person's own material.{medium} It continues a text and fills gaps in one. "
        "The folder is plain files: nothing of cupola's is needed to use it."
    )


def _card_use(folder: Path) -> str:
    gguf = next((p.name for p in sorted(folder.glob("*.gguf"))), None)
    text = f"""## How to use it

Give it ids, with `bos` in front: the tokenizer adds none by itself, and a control token spelled out in a text stays text.

```text
continue      {CONTROL[BOS]} text
fill a gap    {CONTROL[BOS]} {CONTROL[FIM_PREFIX]} before {CONTROL[FIM_SUFFIX]} after {CONTROL[FIM_MIDDLE]}
```

Their ids: bos {BOS}, eos {EOS} (it ends every answer), pad {PAD}, prefix {FIM_PREFIX}, suffix {FIM_SUFFIX}, middle {FIM_MIDDLE}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
import torch

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
text = ""  # or how it should begin
ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text)]])
out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=200)
print(tokenizer.decode(out[0], skip_special_tokens=True))
```"""
    if gguf:
        command = f"llama-completion -m {gguf} -no-cnv -p '{CONTROL[BOS]}'"
        text += f"\n\nIn llama.cpp, where a prompt may spell control tokens:\n\n```sh\n{command}\n```"
    return text


def _card_corpus(facts: dict[str, Any]) -> str:
    if not any(facts.get(k) for k in ("corpus", "licences", "sources")):
        return ""
    lines = ["## What it learnt from"]
    if facts.get("corpus"):
        lines.append(f"{facts['corpus']}")
    if facts.get("licences"):
        rows = [(x.get("licence", ""), x.get("documents", ""), x.get("origin", ""), x.get("allow", "")) for x in facts["licences"]]
        lines.append(_table(("licence", "documents", "origin", "used because"), rows))
    if facts.get("sources"):
        lines.append("\n".join(f"- `{s}`" for s in facts["sources"]))
    return "\n\n".join(lines)


def _card_plan(facts: dict[str, Any]) -> str:
    plan, outcome = facts.get("plan") or {}, facts.get("outcome") or {}
    rows = [
        (label, _forecast(plan.get(key), show), _forecast(outcome.get(key), show))
        for key, (label, show) in QUANTITIES.items()
        if key in plan or key in outcome
    ]
    notes = [str(x) for x in (plan.get("law"), outcome.get("note")) if x]
    if not rows and not notes:
        return ""
    table = [_table(("", "planned", "came out"), rows)] if rows else []
    return "\n\n".join(["## Plan and outcome", *table, *notes])


def _forecast(value: Any, show: Callable[[float], str]) -> str:
    if value is None:
        return ""
    return f"{show(value['p50'])} ({show(value['p10'])} to {show(value['p90'])})" if isinstance(value, dict) else show(value)


def _card_scores(facts: dict[str, Any]) -> str:
    scores = facts.get("scores") or {}
    rows, own = [], scores.get("bits_per_byte") or {}
    if own:
        interval = f" (95%: {own['low']:.2f} to {own['high']:.2f})" if {"low", "high"} <= own.keys() else ""
        rows.append(("**this model**", f"**{own['value']:.2f}**{interval}"))
    for key, label in (
        ("ngram", "Kneser-Ney n-gram of order 8"),
        ("xz", "xz, given the training text"),
        ("byte_entropy", "byte frequencies alone"),
    ):
        if key in scores:
            rows.append((label, f"{scores[key]:.2f}"))
    lines = [_table(("bits a byte on held-out documents", ""), rows)] if rows else []
    if "documents" in scores:
        lines.append(f"Held out: {units.count(scores['documents'])} documents, none of them or their kin trained on; each is scored whole.")
    if "valid" in scores:
        lines.append(f"Of what it writes freely, {units.percent(scores['valid'])} is valid notation.")
    new = scores.get("originality") or {}
    if "nearest" in new:
        real = f" (real held-out documents: {new['real']:.2f})" if "real" in new else ""
        lines.append(f"Median distance of what it made to the nearest training document: {new['nearest']:.2f}{real}; 0 is a copy.")
    if "copies" in new:
        lines.append(f"Thrown away as copies: {units.percent(new['copies'])} of the candidates.")
    if facts.get("curves"):
        lines.append(f"![loss as it trained]({facts['curves']})")
    return "\n\n".join(["## Scores", *lines]) if lines else ""


def _card_cost(facts: dict[str, Any]) -> str:
    cost = facts.get("cost") or {}
    said = []
    if "usd" in cost:
        said.append(units.usd(cost["usd"]) + (f" ({cost['usd_by']})" if cost.get("usd_by") else ""))
    if "kwh" in cost:
        how = [str(cost[k]) for k in ("kwh_by",) if cost.get(k)] + ([f"±{units.percent(cost['kwh_range'])}"] if "kwh_range" in cost else [])
        said.append(units.kwh(cost["kwh"] * units.JOULES_PER_KWH) + (f" ({', '.join(how)})" if how else ""))
    if "seconds" in cost:
        said.append(units.seconds(cost["seconds"]))
    return f"## What it cost\n\n{', '.join(said)}." if said else ""


def _card_limits(facts: dict[str, Any]) -> str:
    always = [
        "It knows its corpus and nothing else, and it can repeat passages of it: compare what it writes with the corpus before you publish."
    ]
    return "\n".join(["## Limits", "", *(f"- {line}" for line in [*always, *(facts.get("limits") or [])])])


def _card_made(facts: dict[str, Any]) -> str:
    lines = [facts.get("proof"), facts.get("machine")]
    lines.append(", ".join(f"{k} {v}" for k, v in (facts.get("versions") or {}).items()))
    said = [f"- {line}" for line in lines if line]
    return "\n".join(["## How it was made and checked", "", *said]) if said else ""


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table without the columns that are empty in every row."""
    keep = [i for i in range(len(head)) if any(str(r[i]) for r in rows)]
    lines = [[str(r[i]).replace("|", "\\|").replace("\n", " ") for i in keep] for r in (head, *rows)]
    lines.insert(1, ["---"] * len(keep))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
