"""What machine this is, what it can do, what is missing, and the one command that mends it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from cupola import config, hardware, ledger, units
from cupola.errors import CupolaError

NEEDED = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "xllamacpp", "datasketch", "detect_secrets", "scipy", "pydantic")
PACKAGES = {"PIL": "pillow"}  # modules whose package is called otherwise
EXTRAS = (
    (("verovio", "mido"), "[music]", "tunes cannot be drawn and played without"),
    (("PIL",), "[pictures]", "sprites, icons, clips and levels cannot be read and drawn without"),
    (("trimesh",), "[meshes]", "meshes cannot be read and written without"),
    (("soundfile",), "[sounds]", "sounds and effects cannot be read and written without"),
)
ROOM = 2 << 30  # bytes of disk and of memory under which a recipe may fail

Find = Callable[[str], Any]  # a package's name -> None where it is not installed


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing worth knowing; `fix` is the command or step that mends it."""

    state: Literal["ok", "note", "missing"]
    what: str
    fix: str = ""


def examine(project: Path = Path("."), root: Path = Path("/"), find: Find = importlib.util.find_spec) -> list[Finding]:
    """Everything worth knowing before a run, worst last; takes about two seconds, most of it measuring speed.

    root: where the system is read; find: looks for a package. Both are for whoever wants to examine a machine other than this one.
    """
    found = [*_machine(root, find, project), *_packages(find), *_folders(project), *_ledger(project)]
    return sorted(found, key=lambda f: ("ok", "note", "missing").index(f.state))


def plain(found: list[Finding]) -> dict[str, Any]:
    """As JSON has it."""
    return {"healthy": all(f.state != "missing" for f in found), "findings": [dataclasses.asdict(f) for f in found]}


def _machine(root: Path, find: Find, project: Path) -> Iterator[Finding]:
    machine = hardware.describe(root)
    yield Finding("ok", str(machine))
    yield Finding("ok", f"Python {sys.version.split()[0]}")
    for dtype in ("float32", "bfloat16") if find("torch") else ():
        peak = hardware.peak_flops(dtype, machine.cores, 0.7)
        busy = ", but the machine is busy" if peak.busy else ""
        yield Finding("ok", f"{peak.flops / 1e9:.0f} GFLOP/s {dtype} matrix product on {machine.cores} cores{busy}")
    price = hardware.price(_prices(project))
    yield Finding("ok", f"an hour here costs {price}")
    for warning in price.warnings:
        yield Finding("note", warning, "set [price] in cupola.toml to what you pay")
    if machine.accelerator:
        yield Finding("note", f"{machine.accelerator} is there; this version trains on the processor")
    if machine.memory_bytes < ROOM:
        yield Finding("note", f"{units.size(machine.memory_bytes)} of memory: `cupola make recipes/tunes` needs about 2 GB")


def _prices(project: Path) -> hardware.PriceConfig | None:
    """The project's own [price], where there is a project."""
    path = project / "cupola.toml"
    table = config.read(path).get("price") if path.is_file() else None
    return config.parse(hardware.PriceConfig, table, str(path)) if table else None


def _packages(find: Find) -> Iterator[Finding]:
    for names, extra, without in ((NEEDED, "", ""), *EXTRAS):
        missing = [name for name in names if find(name) is None]
        if missing:
            what = f"{', '.join(PACKAGES.get(name, name) for name in missing)} not installed" + (f": {without}" if extra else "")
            yield Finding("note" if extra else "missing", what, f'pip install "cupola{extra}"')
        else:
            found = (PACKAGES.get(name, name) for name in names)
            yield Finding("ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in found))
    if sys.platform.startswith("linux") and find("xllamacpp") and find("torch"):
        try:
            import torch  # noqa: F401  (it brings the OpenMP library that llama.cpp needs)
            import xllamacpp  # noqa: F401
        except ImportError as e:
            yield Finding("missing", f"llama.cpp does not load: {e}", "apt-get install libgomp1 (or your system's package of that name)")


def _folders(project: Path) -> Iterator[Finding]:
    folder = project if project.is_dir() else Path(".")
    free = shutil.disk_usage(folder).free
    state, fix = ("ok", "") if free > ROOM else ("missing", "free some space: models, corpora and packages need about 2 GB")
    yield Finding(state, f"{units.size(free)} free in {folder.resolve()}", fix)  # pyrefly: ignore
    try:
        with tempfile.TemporaryFile(dir=folder):  # asking for permission alone does not see a disk that is full or read-only
            pass
    except OSError as e:
        yield Finding("missing", f"{folder.resolve()} cannot be written to: {e.strerror}", f"chmod u+w {folder}, or work in another folder")
    try:
        tempfile.gettempdir()
    except OSError:
        yield Finding("missing", "no folder for temporary files can be written to", "set TMPDIR to one that can")


def _ledger(project: Path) -> Iterator[Finding]:
    yield Finding("ok", ledger.sqlite_note())
    if not (project / ".cupola" / "ledger.db").exists():
        return
    try:
        with ledger.read(project) as book:
            faults = book.integrity()
            lines = ledger.summary(book)
    except CupolaError as e:
        yield Finding("missing", f"{e.where}: {e.what}", e.fix)
        return
    if faults:
        yield Finding(
            "missing", f"the ledger is damaged: {faults[0]}", f"keep a copy of {book.db_path}, then move it away; a new one is begun"
        )
    else:
        yield Finding("ok", f"ledger whole: {lines}")


def show(found: list[Finding]) -> None:
    """Print what the doctor found: a line each, and what mends it."""
    out = Console(highlight=False, soft_wrap=True)
    for f in found:
        mark = {"ok": "ok      ", "note": "note    ", "missing": "MISSING "}[f.state]
        out.print(f"{mark} {f.what}", markup=False)
        if f.fix:
            out.print(f"          {f.fix}", markup=False)
