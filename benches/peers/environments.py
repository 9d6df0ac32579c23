"""The peers' environments, made by hand with `bench_train.py --install`: a virtual environment each, so that none moves cupola's packages.

torch is named in every pip command: on its own, a peer's package would move it. Those of one version are downloaded once, by pip's cache.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Peer:
    """A program that trains on the same documents."""

    name: str
    script: str  # below this folder, without .py
    environment: str
    options: tuple[str, ...] = ()
    clone: str | None = None  # the option that names its clone
    second: bool = True  # can be given cupola's tokenizer, size and batch


ENVIRONMENTS = {
    "trainer": ("transformers==5.24.0", "accelerate==1.15.0", "tokenizers==0.23.3", "numpy==2.4.6"),
    "litgpt": ("litgpt==0.5.13", "numpy==2.4.6", "requests"),  # requests: jsonargparse asks for it and does not say so
    "nanochat": (
        *("numpy==2.4.6", "tokenizers==0.23.3", "rustbpe==0.1.0", "tiktoken==0.14.0", "pyarrow"),
        *("wandb", "requests", "filelock", "psutil", "jinja2", "pyyaml", "regex"),
    ),
}
PEERS = (
    Peer("hf-trainer", "hf_trainer", "trainer"),
    Peer("hf-trainer 5e-4", "hf_trainer", "trainer", ("--learning-rate", "5e-4")),
    Peer("litgpt", "litgpt_peer", "litgpt"),
    Peer("nanogpt", "nanogpt_peer", "trainer", clone="nanogpt"),
    Peer("nanochat", "nanochat_peer", "nanochat", clone="nanochat", second=False),
)
CLONES = {"nanogpt": "git clone https://github.com/karpathy/nanoGPT", "nanochat": "git clone https://github.com/karpathy/nanochat"}


def python(folder: Path, environment: str) -> Path:
    """The interpreter of an environment below `folder`, there or not."""
    return folder / environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(folder: Path, names: list[str]) -> None:
    """Make these environments below `folder`; one that is whole is left alone. About 1 GB each with a CPU-only torch."""
    for name in names:
        done = folder / name / ".installed"
        wanted = " ".join((TORCH, *ENVIRONMENTS[name]))
        if done.exists() and done.read_text("utf-8") == wanted:
            continue
        print(f"installing {name} into {folder / name}: {wanted}", file=sys.stderr)
        venv.create(folder / name, with_pip=True, clear=True)
        pip = [str(python(folder, name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TORCH, *ENVIRONMENTS[name]]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        asked = [str(python(folder, name)), "-c", "import torch; print(torch.__version__)"]
        version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        if version.partition("+")[0] != TORCH.partition("==")[2]:
            raise SystemExit(f"{name}: pip moved torch to {version}")
        done.write_text(wanted, "utf-8")


def missing(peer: Peer, folder: Path, clones: dict[str, Path | None]) -> str | None:
    """Why a peer cannot run, or None."""
    if not python(folder, peer.environment).exists():
        return f"no environment {folder / peer.environment}: run bench_train.py --install"
    if peer.clone:
        clone = clones[peer.clone]
        if clone is None or not clone.is_dir():
            return f"no clone: {CLONES[peer.clone]}, then pass --{peer.clone} DIR"
    return None
