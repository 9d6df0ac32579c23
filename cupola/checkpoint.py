"""Checkpoint folders that are whole or not there: temporary sibling, files synced, folder synced, renamed, parent synced.

A manifest holds sizes and SHA-256; a folder whose files do not match it is damaged and the one before is taken. safetensors and JSON only.
Leaving out any one of the syncs loses or tears a checkpoint in a power-loss model: tests/test_checkpoint.py shows each.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from cupola.errors import CheckpointError, MachineError


class Files:
    """The few file operations a checkpoint is made of; a test passes another to record them or to die between two."""

    def mkdir(self, path: Path) -> None:
        path.mkdir(parents=True)

    def write(self, path: Path, data: bytes) -> None:
        with open(path, "wb") as f:
            f.write(data)

    def sync(self, path: Path) -> None:
        """Make a file's bytes, or a folder's names, survive a power loss."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        shutil.rmtree(path)


def save(folder: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any], files: Files | None = None) -> None:
    """Write `folder` with tensors.safetensors, state.json and manifest.json, or leave nothing of it.

    Raises MachineError when the disk is full or not writable; what was there before stays.
    """
    files = files or Files()
    parts = {
        "tensors.safetensors": safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in sorted(tensors.items())}),
        "state.json": json.dumps(state, indent=1, sort_keys=True).encode(),
    }
    parts["manifest.json"] = json.dumps({name: [len(data), _sha(data)] for name, data in parts.items()}, indent=1).encode()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        if temporary.exists():
            files.remove(temporary)
        files.mkdir(temporary)
        for name, data in parts.items():
            files.write(temporary / name, data)
            files.sync(temporary / name)
        files.sync(temporary)
        if folder.exists():  # the same step again, after a resume: the new one is as good
            remove(folder, files)
        files.rename(temporary, folder)
        files.sync(folder.parent)
    except OSError as e:
        shutil.rmtree(temporary, ignore_errors=True)
        raise MachineError(
            f"the checkpoint could not be written: {e.strerror}",
            str(folder),
            "free some space; what was saved before is kept, and the same command goes on from there",
        ) from None


def remove(folder: Path, files: Files | None = None) -> None:
    """Delete a checkpoint: renamed first, so that a kill in the middle leaves no half of it under its name."""
    files = files or Files()
    gone = folder.with_name(f".gone-{folder.name}")
    if gone.exists():
        files.remove(gone)
    files.rename(folder, gone)
    files.remove(gone)


def load(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, state) of a checkpoint. Raises CheckpointError when a file is missing, short or altered."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        parts = {name: (folder / name).read_bytes() for name in manifest}
    except (OSError, ValueError) as e:
        raise CheckpointError(f"damaged: {e}", str(folder), "the one before it is used if there is one") from None
    for name, (length, sha) in manifest.items():
        if len(parts[name]) != length or _sha(parts[name]) != sha:
            raise CheckpointError(f"damaged: {name} is not what was written", str(folder), "the one before it is used if there is one")
    return safetensors.torch.load(parts["tensors.safetensors"]), json.loads(parts["state.json"])


def steps(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; temporary and half-deleted folders are none."""
    return sorted(p for p in folder.glob("step-*") if p.is_dir())


def newest(folder: Path) -> tuple[Path | None, list[CheckpointError]]:
    """The newest whole checkpoint below `folder` (None if there is none), and what is wrong with the newer ones."""
    faults = []
    for path in reversed(steps(folder)):
        try:
            load(path)
            return path, faults
        except CheckpointError as e:
            faults.append(e)
    return None, faults


def prune(folder: Path, keep: set[str], last: int = 2) -> None:
    """Delete all but the `last` newest checkpoints and those named in `keep`, and what kills left behind."""
    for path in steps(folder)[:-last]:
        if path.name not in keep:
            remove(path)
    for path in folder.glob(".*"):
        if not path.name.endswith(f".{os.getpid()}"):
            shutil.rmtree(path, ignore_errors=True)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
