"""A checkpoint is whole or not there: after kills at every operation, and after power losses where only what was synced is sure."""

import itertools
import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch

from cupola import checkpoint
from cupola.checkpoint import Files
from cupola.errors import CheckpointError, MachineError


def _tensors(step):
    return {"weights/a": torch.full((4, 3), float(step)), "step/a": torch.tensor(float(step))}


def _save(folder, step, files=None):
    checkpoint.save(folder / f"step-{step:06d}", _tensors(step), {"step": step}, files)


def test_what_is_saved_comes_back(tmp_path):
    _save(tmp_path, 3)
    tensors, state = checkpoint.load(tmp_path / "step-000003")
    assert state == {"step": 3}
    assert all(torch.equal(tensors[k], v) for k, v in _tensors(3).items())
    assert [p.name for p in tmp_path.iterdir()] == ["step-000003"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken(tmp_path):
    for step in (1, 2, 3, 4):
        _save(tmp_path, step)
    data = tmp_path / "step-000004" / "tensors.safetensors"
    data.write_bytes(data.read_bytes()[:-1])
    state = tmp_path / "step-000003" / "state.json"
    state.write_text(state.read_text().replace("3", "9"))
    (tmp_path / "step-000002" / "manifest.json").unlink()
    found, faults = checkpoint.newest(tmp_path)
    assert found == tmp_path / "step-000001"
    assert [Path(f.where).name for f in faults] == ["step-000004", "step-000003", "step-000002"]
    assert "tensors.safetensors is not what was written" in faults[0].what
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path / "step-000002")


def test_only_the_last_two_and_the_best_are_kept(tmp_path):
    for step in range(1, 7):
        _save(tmp_path, step)
    (tmp_path / ".step-000009.1").mkdir()
    checkpoint.prune(tmp_path, {"step-000002"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000002", "step-000005", "step-000006"]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    _save(tmp_path, 1)

    class Full(Files):
        def write(self, path, data):
            super().write(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    with pytest.raises(MachineError, match=r"could not be written: No space left[\s\S]*free some space"):
        _save(tmp_path, 2, Full())
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


class Deadly(Files):
    """Kills the process before its n-th operation."""

    def __init__(self, n):
        self.left = n

    def _count(self):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def __getattribute__(self, name):
        if name in ("mkdir", "write", "sync", "rename", "remove"):
            object.__getattribute__(self, "_count")()
        return object.__getattribute__(self, name)


def test_a_kill_before_any_operation_leaves_a_whole_newest_checkpoint(tmp_path):
    for n in itertools.count():
        folder = tmp_path / str(n)
        _save(folder, 1)
        pid = os.fork()
        if pid == 0:
            _save(folder, 2, Deadly(n))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        found, faults = checkpoint.newest(folder)
        assert found is not None
        assert not faults
        assert checkpoint.load(found)[1]["step"] == int(found.name[-6:])
        if os.waitstatus_to_exitcode(status) == 0:
            assert found.name == "step-000002"
            break
    assert n > 8


class Recorder(Files):
    """Does nothing but write down what was asked."""

    def __init__(self, skip=""):
        self.operations, self.skip = [], skip

    def mkdir(self, path):
        self.operations.append(("mkdir", path))

    def write(self, path, data):
        self.operations.append(("write", path, data))

    def sync(self, path):
        kind = "file" if any(o[0] == "write" and o[1] == path for o in self.operations) else "folder"
        if path.name == "run":
            kind = "parent"
        if kind != self.skip:
            self.operations.append(("sync", path))

    def rename(self, old, new):
        self.operations.append(("rename", old, new))


def _disk_after_power_loss(operations, rng):
    """What a disk may hold when the power goes after these operations: what was synced, and each other thing by the fall of a coin.

    A file's bytes are sure once it was synced; a name in a folder once the folder was. Returns {path: bytes or None for torn}.
    """
    content, sure, names = {}, set(), {}  # names: path -> sure?
    for operation in operations:
        kind, path = operation[:2]
        if kind == "mkdir":
            names[path] = False
        elif kind == "write":
            names[path], content[path] = False, operation[2]
        elif kind == "sync":
            if path in content:
                sure.add(path)
            else:
                names.update({p: True for p in names if p.parent == path})
        elif kind == "rename":
            new, moved = operation[2], [p for p in names if path in (p, *p.parents)]
            for old in moved:
                there = new / old.relative_to(path) if old != path else new
                certain = names.pop(old)
                names[there] = certain and old != path  # the new name of the folder is sure only once its parent is synced
                if old in content:
                    content[there] = content.pop(old)
                    sure = (sure - {old}) | ({there} if old in sure else set())
    kept = {p for p, certain in names.items() if certain or rng.random() < 0.5}
    kept = {p for p in kept if all(q in kept for q in p.parents if q in names)}
    return {p: content[p] if p in sure or rng.random() < 0.5 else content[p][: len(content[p]) // 2] for p in kept if p in content}


def _outcomes(skip):
    """(torn, lost) over many power losses: a damaged folder under its final name; a finished save that isn't there."""
    run = Path("/run")
    recorder = Recorder(skip)
    checkpoint.save(run / "step-000001", _tensors(1), {"step": 1}, recorder)
    wanted = {f"/run/step-000001/{n}" for n in ("tensors.safetensors", "state.json", "manifest.json")}
    written = {o[1].name: o[2] for o in recorder.operations if o[0] == "write"}
    torn = lost = 0
    for end in range(len(recorder.operations) + 1):
        done = end == len(recorder.operations)
        for seed in range(60):
            disk = _disk_after_power_loss(recorder.operations[:end], random.Random(seed * 1000 + end))
            there = {str(p): data for p, data in disk.items() if str(p) in wanted}
            whole = set(there) == wanted and all(there[f"/run/step-000001/{name}"] == data for name, data in written.items())
            torn += bool(there) and not whole
            lost += done and not whole
    return torn, lost


def test_each_sync_is_needed_and_together_they_are_enough(tmp_path):
    assert _outcomes("") == (0, 0)
    torn, lost = _outcomes("file")
    assert torn
    assert lost
    torn, lost = _outcomes("folder")
    assert torn
    assert lost
    torn, lost = _outcomes("parent")
    assert lost


def test_deleting_is_a_rename_first(tmp_path):
    _save(tmp_path, 1)

    class Stops(Files):
        def remove(self, path):
            shutil.rmtree(path / "nothing", ignore_errors=True)

    checkpoint.remove(tmp_path / "step-000001", Stops())
    assert checkpoint.newest(tmp_path) == (None, [])
    assert json.loads((tmp_path / ".gone-step-000001" / "state.json").read_text()) == {"step": 1}
