"""What the doctor finds, and the command that it gives for each."""

import importlib.util
import sys
from pathlib import Path

import pytest

from cupola import doctor, ledger

TORCHLESS = ("torch",)  # without it no speed is measured, which takes the time


def without(*names):
    """Looks for packages as on a machine that lacks these."""
    return lambda name: None if name in names else importlib.util.find_spec(name)


def found(state, **where):
    return {f.what: f.fix for f in doctor.examine(**where) if f.state == state}


def test_this_machine_is_healthy_and_its_speed_and_price_are_said(tmp_path):
    findings = doctor.examine(tmp_path)
    assert doctor.plain(findings)["healthy"], findings
    said = "\n".join(f.what for f in findings)
    for part in ("GFLOP/s float32", "GFLOP/s bfloat16", "an hour here costs", "torch 2", "verovio", "free in", "SQLite"):
        assert part in said
    assert not (tmp_path / ".cupola").exists()  # looking leaves nothing behind
    assert not list(tmp_path.iterdir())


def test_the_worst_comes_last(tmp_path):
    order = [("ok", "note", "missing").index(f.state) for f in doctor.examine(tmp_path, find=without("torch", "verovio"))]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}


def test_another_machine_is_described_as_its_files_say(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Slow Chip 3000\nflags\t\t: fpu\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:        1048576 kB\n")
    findings = doctor.examine(tmp_path, root=tmp_path, find=without(*TORCHLESS))
    assert findings[0].what.startswith("Slow Chip 3000, ")
    (short,) = [f for f in findings if "of memory" in f.what and f.state == "note"]
    assert short.what.startswith("1.1 GB of memory")


def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path):
    missing = found("missing", project=tmp_path, find=without("gguf", "datasketch", *TORCHLESS))
    assert missing == {"torch, gguf, datasketch not installed": 'pip install "cupola"'}


def test_missing_music_packages_are_a_note_since_text_and_code_do_without(tmp_path):
    notes = found("note", project=tmp_path, find=without("verovio", "mido", *TORCHLESS))
    assert notes["verovio, mido not installed: tunes cannot be drawn and played without"] == 'pip install "cupola[music]"'


def test_an_accelerator_that_is_not_used_is_mentioned(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    torch = pytest.importorskip("torch")
    notes = found("note", project=tmp_path, root=tmp_path, find=without(*TORCHLESS))
    assert any("trains on the processor" in what for what in notes) == torch.cuda.is_available()


def test_a_whole_ledger_is_summed_up(tmp_path):
    with ledger.open(tmp_path) as book:
        run = book.start_run("make", "tunes")
        book.spend(run, "train", 60.0, 600.0, "user", 0.001, "user: $0.06 an hour")
    said = found("ok", project=tmp_path, find=without(*TORCHLESS))
    assert "ledger whole: $0.0010 in all: training 100% · nothing kept yet" in said


@pytest.mark.parametrize(
    ("where", "what"),
    [(0, "it does not begin as a SQLite file does"), (100, "malformed"), (4096 * 2 + 5, "damaged")],
    ids=["first bytes", "schema", "pages"],
)
def test_a_damaged_ledger_is_named_with_what_saves_it(tmp_path, where, what):
    with ledger.open(tmp_path) as book:
        run = book.start_run("make", "tunes")
        for i in range(300):
            book.note(run, f"note {i}")
    path = tmp_path / ".cupola" / "ledger.db"
    with path.open("r+b") as file:
        file.seek(where)
        file.write(bytes([0x5A]) * 4096 * 3)
    missing = found("missing", project=tmp_path, find=without(*TORCHLESS))
    ((said, fix),) = [(what, fix) for what, fix in missing.items() if "ledger" in what]
    assert what in said
    assert "ledger.db" in fix
    assert path.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder that nobody can fill or write to")
def test_a_folder_without_room_or_that_cannot_be_written_to_is_named():
    missing = found("missing", project=Path("/proc"), find=without(*TORCHLESS))
    assert missing["0 B free in /proc"] == "free some space: models, corpora and packages need about 2 GB"
    (said,) = [what for what in missing if "cannot be written to" in what]
    assert said.startswith("/proc cannot be written to: ")
    assert missing[said] == "chmod u+w /proc, or work in another folder"
