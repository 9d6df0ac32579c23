"""This machine: what it is, how fast it multiplies, what an hour of it costs.

Importing this file imports neither torch nor anything slow. Whatever is read from the system is read below `root`, "/" unless a test says
otherwise. Prices are rows of `prices.toml` with a date and a source, or the user's own; none is ever fetched, and none is ever zero.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import hashlib
import importlib.metadata
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from cupola import config, units
from cupola.errors import ConfigError

PRICES = Path(__file__).with_name("prices.toml")
STALE_DAYS = 90
# what changes how fast small matrices multiply, or in which precision they should
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16", "i8mm", "sve")
# watts a core, from the vendor's design power over its cores for common parts; first match wins. Everything made from it is labelled ±50%.
DESIGN_WATTS = (
    ("EPYC", 4.4),  # EPYC 7763, 280 W over 64
    ("Xeon", 6.3),  # Xeon Platinum 8480+, 350 W over 56
    ("Threadripper", 5.5),  # 7980X, 350 W over 64
    ("Ryzen", 7.0),  # between the 7840U (28 W over 8) and the 7950X (170 W over 16)
    ("Core(TM)", 5.2),  # i9-13900K, 125 W over 24
    ("Apple", 4.0),  # not published; what reviewers measured on M1 and M2 under load
    ("Neoverse", 2.0),  # Graviton3, about 100 W over 64
    ("Cortex", 1.5),
)
DEFAULT_DESIGN_WATTS = 6.0


# -- the machine ---------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Machine:
    """What this process may use. Two machines with the same `id` are one machine to the ledger and to stored speeds."""

    id: str  # of CPU name, cores, accelerator and torch version
    name: str  # of the CPU
    cores: int  # logical, within this process's affinity and cgroup quota (a part of a core counts as one)
    physical_cores: int
    memory_bytes: int  # within the cgroup's limit
    flags: tuple[str, ...]  # those of FLAGS that it has
    accelerator: str | None
    torch: str  # version, "" where it is not installed
    python: str
    os: str

    @property
    def design_watts(self) -> float:
        """Assumed package power, all of this process's cores busy; ±50%."""
        per_core = next((watts for part, watts in DESIGN_WATTS if part in self.name), DEFAULT_DESIGN_WATTS)
        return per_core * self.physical_cores

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        parts = [self.name, cores, units.size(self.memory_bytes), *([self.accelerator] if self.accelerator else [])]
        torch = f"torch {self.torch}" if self.torch else "torch is not installed"
        return f"{', '.join(parts)} · {torch} · Python {self.python} · {self.os}"


def describe(root: Path = Path("/"), cpus: set[int] | None = None) -> Machine:
    """This machine, without measuring anything; torch is imported only where a device file says that an accelerator may be there.

    cpus: the logical CPUs that this process may run on; None asks the system.
    """
    cpus = cpus if cpus is not None else _affinity()
    quota, memory_limit = _cgroup_limits(root)
    cores = max(1, min(len(cpus), math.ceil(quota) if quota else len(cpus)))
    name, flags = _cpu(root)
    accelerator = _accelerator(root)
    torch = _torch_version()
    return Machine(
        id=hashlib.sha256(f"{name}|{cores}|{accelerator}|{torch}".encode()).hexdigest()[:12],
        name=name,
        cores=cores,
        physical_cores=min(cores, _physical_cores(root, cpus)),
        memory_bytes=min(_memory(root), memory_limit or sys.maxsize),
        flags=tuple(f for f in FLAGS if f in flags),
        accelerator=accelerator,
        torch=torch,
        python=platform.python_version(),
        os=f"{platform.system()} {platform.release()}",
    )


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _text(path: Path) -> str:
    """A file of /proc or /sys, "" where there is none or it may not be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _cpu(root: Path) -> tuple[str, set[str]]:
    """The CPU's name and its feature flags."""
    info = {}
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    name = info.get("model name") or info.get("Model") or info.get("Hardware", "")
    if not name and sys.platform == "darwin":
        import subprocess

        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        name = asked.stdout.strip()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return name or platform.processor() or platform.machine() or "unknown CPU", flags


def _physical_cores(root: Path, cpus: set[int]) -> int:
    """How many real cores are behind these logical CPUs; as many as CPUs where the system doesn't say."""
    seen = set()
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        core = _text(topology / "core_id").strip()
        seen.add((_text(topology / "physical_package_id").strip(), core) if core else cpu)
    return max(1, len(seen))


def _memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    import psutil  # macOS, Windows

    return psutil.virtual_memory().total


def _cgroup_limits(root: Path) -> tuple[float | None, int | None]:
    """(cores, bytes) that this process's control groups allow, the tightest of each group and its parents; None: no limit."""
    cores, memory = [], []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            for group in _groups(root / "sys/fs/cgroup", path):
                quota, _, period = _text(group / "cpu.max").strip().partition(" ")
                cores.append(_number(quota, _number(period)))
                memory.append(_number(_text(group / "memory.max")))
        elif "memory" in controllers.split(","):
            memory += [_number(_text(g / "memory.limit_in_bytes")) for g in _groups(root / "sys/fs/cgroup/memory", path)]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                for group in _groups(root / "sys/fs/cgroup" / mount, path):
                    period = _number(_text(group / "cpu.cfs_period_us"), 1.0)
                    cores.append(_number(_text(group / "cpu.cfs_quota_us"), period))
    least = min((m for m in memory if m), default=None)
    return min((c for c in cores if c), default=None), int(least) if least else None


def _groups(mount: Path, path: str) -> Iterator[Path]:
    """A control group's folder, then its parents up to the mount; inside a container the path may name folders that aren't there."""
    inside = Path(path.lstrip("/"))
    if ".." not in inside.parts:
        yield from (mount / part for part in (inside, *inside.parents) if part != Path("."))
    yield mount


def _number(text: str, per: float | None = 1.0) -> float | None:
    """A limit as control groups write it, over `per`; None for "max", -1, nothing, and the huge number that means no limit."""
    text = text.strip()
    return int(text) / per if per and text.isdigit() and int(text) < 1 << 60 else None


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _accelerator(root: Path) -> str | None:
    """The accelerator that torch would use, or None. Importing torch takes seconds: a Linux machine without a device file is spared it."""
    devices = [*root.glob("dev/nvidia[0-9]*"), *root.glob("dev/kfd")]
    if not _torch_version() or (sys.platform == "linux" and not devices):
        return None
    import torch

    if torch.cuda.is_available():
        n = torch.cuda.device_count()
        return f"{n} x {torch.cuda.get_device_name(0)}" if n > 1 else torch.cuda.get_device_name(0)
    return "Apple GPU" if torch.backends.mps.is_available() else None


# -- how fast ------------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Peak:
    """The best matrix-multiply speed seen, in FLOP/s, and how far the repeats lay apart."""

    flops: float
    spread: float  # (slowest - fastest) / median seconds over the repeats at the best size
    dtype: str
    threads: int
    size: int  # of the square matrices

    @property
    def busy(self) -> bool:
        """Something else was using the machine: do not store this figure. An idle machine's repeats lie within 0.2."""
        return self.spread > 0.2


def peak_flops(dtype: str, threads: int, seconds: float = 1.0, device: str = "cpu") -> Peak:
    """The best speed of an n x n x n matrix product, n doubled from 512 while time is left and the rate still grows by 5%.

    dtype: "float32", "bfloat16" or "float16"; threads: torch's, put back afterwards; seconds: about how long to take, one size at least.
    Raises ConfigError for another dtype. The best of the repeats counts, not their median: a neighbour can only slow a repeat down.
    """
    import torch

    if dtype not in ("float32", "bfloat16", "float16"):
        raise ConfigError(f"no peak for dtype {dtype!r}", "peak_flops", "use float32, bfloat16 or float16")
    before, end = torch.get_num_threads(), time.perf_counter() + seconds
    best, n = None, 512
    torch.set_num_threads(threads)
    try:
        while best is None or n <= 16384:
            times = _matmul_seconds(n, getattr(torch, dtype), device, end)
            rate = 2 * n**3 / min(times)
            grown = best is None or rate > 1.05 * best.flops
            if best is None or rate > best.flops:
                best = Peak(rate, (max(times) - min(times)) / statistics.median(times), dtype, threads, n)
            if not grown or time.perf_counter() + 8 * 3 * min(times) > end:  # the next size takes eight times as long
                break
            n *= 2
    finally:
        torch.set_num_threads(before)
    return best


def _matmul_seconds(n: int, dtype: object, device: str, end: float) -> list[float]:
    """Seconds of each of up to 5 products after a first one that isn't counted; at least 2, fewer than 5 once `end` is past."""
    import torch

    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))  # pyrefly: ignore
    out = torch.empty_like(a)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times = []
    with torch.no_grad():
        while len(times) < 6 and (len(times) < 3 or time.perf_counter() < end):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            wait()
            times.append(time.perf_counter() - start)
    return times[1:]


def run_queue_wait(root: Path = Path("/")) -> dict[str, float] | None:
    """Seconds that each of this process's threads has stood ready without a core since it began; None where the kernel doesn't say.

    Source: the second number of /proc/self/task/*/schedstat, in nanoseconds (Linux, Documentation/scheduler/sched-stats).
    """
    waited = {}
    for path in (root / "proc/self/task").glob("*/schedstat"):
        fields = _text(path).split()
        if len(fields) == 3:  # a thread may end while we look
            waited[path.parent.name] = int(fields[1]) / 1e9
    return waited or None


class RunQueue:
    """Tells when a neighbour takes a core: ask now and then how long this process's threads had to wait for one.

    A process with more busy threads than cores also waits, on itself.
    """

    def __init__(self, root: Path = Path("/")):
        self._root = root
        self._then, self._waited = time.monotonic(), run_queue_wait(root)

    def wait(self) -> float | None:
        """Thread-seconds waited per second since the last call: 0 alone, 1 when a core's worth of work stood waiting; None if unknown."""
        now, waited = time.monotonic(), run_queue_wait(self._root)
        then, before = self._then, self._waited
        self._then, self._waited = now, waited
        if waited is None or before is None:
            return None
        return sum(s - before.get(thread, 0.0) for thread, s in waited.items()) / max(now - then, 1e-9)


# -- what it costs -------------------------------------------------------------------------------------------------------------------------


def _above_zero(x: float) -> float:
    if not (x > 0 and math.isfinite(x)):
        raise ValueError("must be a number above zero: nothing here is free")
    return x


AboveZero = Annotated[float, pydantic.AfterValidator(_above_zero)]


class PriceConfig(config.Config):
    """[price] in cupola.toml: a row of prices.toml, or prices of your own. Nothing given: a machine of one's own."""

    machine: str | None = None  # an id in prices.toml: "own", "aws-g5.xlarge"
    region: str = "us"  # whose electricity, for a machine of one's own
    usd_per_hour: AboveZero | None = None  # what an hour costs you, in place of a row
    usd_per_kwh: AboveZero | None = None  # what your electricity costs, in place of the region's
    purchase_usd: AboveZero | None = None  # what the machine cost, for its wear
    years: AboveZero | None = None
    hours_a_year: AboveZero | None = None
    watts: AboveZero | None = None  # drawn while it works, if you have measured that; read by the meter

    @pydantic.model_validator(mode="after")
    def _one_price(self) -> PriceConfig:
        wear = [key for key in ("purchase_usd", "years", "hours_a_year") if getattr(self, key) is not None]
        if self.usd_per_hour is not None and (self.machine or wear):
            raise ValueError(f"usd_per_hour is the whole price of an hour; it can't stand beside {'machine' if self.machine else wear[0]}")
        if wear and self.machine not in (None, "own"):
            raise ValueError(f"{wear[0]} is for a machine of one's own, not for the rented {self.machine!r}")
        return self


class MachineRow(config.Config):
    """[[machine]] in prices.toml."""

    id: str
    kind: Literal["own", "rented"]
    device: str
    dated: datetime.date
    source: str
    usd_per_hour: AboveZero | None = None  # rented
    purchase_usd: AboveZero | None = None  # own, as the next two
    years: AboveZero | None = None
    hours_a_year: AboveZero | None = None

    @pydantic.model_validator(mode="after")
    def _priced(self) -> MachineRow:
        needed = ("usd_per_hour",) if self.kind == "rented" else ("purchase_usd", "years", "hours_a_year")
        if missing := [key for key in needed if getattr(self, key) is None]:
            raise ValueError(f"{self.id!r} has no {missing[0]}: a missing price is not a price of nothing")
        return self


class ElectricityRow(config.Config):
    """[[electricity]] in prices.toml."""

    id: str
    usd_per_kwh: AboveZero
    dated: datetime.date
    source: str


class PriceTable(config.Config):
    """All of prices.toml."""

    machine: list[MachineRow]
    electricity: list[ElectricityRow]


@dataclasses.dataclass(frozen=True)
class Price:
    """What an hour costs, and a kilowatt-hour on top of it where the hour doesn't include electricity."""

    id: str
    kind: str  # "own": wear and electricity; "rented": by the hour; "user": as the user said
    usd_per_hour: float
    usd_per_kwh: float | None  # None: electricity is in the hour
    source: str
    dated: str  # ISO date of the oldest figure in it
    region: str = ""
    warnings: tuple[str, ...] = ()  # figures older than STALE_DAYS

    def usd(self, seconds: float, joules: float) -> float:
        """Dollars for that much time and energy; seconds are never rounded up to a billing step."""
        return self.usd_per_hour * seconds / units.SECONDS_PER_HOUR + (self.usd_per_kwh or 0.0) * joules / units.JOULES_PER_KWH

    def __str__(self) -> str:
        """How the ledger and the card say it: "own: $0.055 an hour of wear + $0.19 a kWh (us), 2026-04-26"."""
        hour = f"{units.usd(self.usd_per_hour)} an hour{' of wear' if self.kind == 'own' else ''}"
        energy = f" + {units.usd(self.usd_per_kwh)} a kWh" if self.usd_per_kwh else ""
        return f"{self.id}: {hour}{energy}{f' ({self.region})' if self.region else ''}, {self.dated}"


def price(settings: PriceConfig | None = None, *, table: Path = PRICES, today: datetime.date | None = None) -> Price:
    """What this machine costs: the user's prices first, then the row of `table` they name, then a machine of one's own.

    Raises ConfigError naming the row or key for an unknown row, an unknown region, and a price that is missing, zero or negative.
    """
    settings = settings or PriceConfig()
    today = today or datetime.datetime.now(datetime.UTC).date()
    if settings.usd_per_hour is not None:
        given = "[price] in cupola.toml"
        return Price("user", "user", settings.usd_per_hour, settings.usd_per_kwh, given, today.isoformat())
    rows = config.parse(PriceTable, config.read(table), str(table))
    machine = _row(rows.machine, settings.machine or "own", "machine", "set [price] usd_per_hour to a price of your own", table)
    if machine.kind == "rented":
        if settings.usd_per_kwh is not None:
            raise ConfigError("electricity is in the rent", f"[price] {machine.id}", "leave out usd_per_kwh, or give usd_per_hour for both")
        assert machine.usd_per_hour is not None
        dated, stale = machine.dated.isoformat(), _stale([("machine", machine)], today)
        return Price(machine.id, "rented", machine.usd_per_hour, None, machine.source, dated, warnings=stale)
    return _own(settings, rows, machine, table, today)


def _own(settings: PriceConfig, rows: PriceTable, machine: MachineRow, table: Path, today: datetime.date) -> Price:
    """Wear and electricity; each figure is the user's where there is one, and only figures from the table can be stale."""
    used: list[tuple[str, MachineRow | ElectricityRow]] = []
    wear = [getattr(settings, key) or getattr(machine, key) for key in ("purchase_usd", "years", "hours_a_year")]
    if None in (settings.purchase_usd, settings.years, settings.hours_a_year):
        used.append(("machine", machine))
    if settings.usd_per_kwh is None:
        mend = "set [price] usd_per_kwh to what your electricity costs"
        used.append(("electricity", _row(rows.electricity, settings.region, "electricity", mend, table)))
    usd_per_kwh = settings.usd_per_kwh or next(row.usd_per_kwh for _, row in used if isinstance(row, ElectricityRow))
    return Price(
        id=machine.id,
        kind="own",
        usd_per_hour=wear[0] / (wear[1] * wear[2]),
        usd_per_kwh=usd_per_kwh,
        source="; ".join([row.source for _, row in used] or ["[price] in cupola.toml"]),
        dated=min([row.dated for _, row in used] or [today]).isoformat(),
        region="" if settings.usd_per_kwh else settings.region,
        warnings=_stale(used, today),
    )


def _row(rows: list, id: str, kind: str, mend: str, table: Path) -> MachineRow | ElectricityRow:
    for row in rows:
        if row.id == id:
            return row
    known = [row.id for row in rows]
    near = difflib.get_close_matches(id, known, n=1, cutoff=0.5)
    fix = f"did you mean {near[0]!r}? or {mend}" if near else f"known: {', '.join(known)}; or {mend}"
    raise ConfigError(f"no {kind} {id!r} in the price table", str(table), fix)


def _stale(used: list, today: datetime.date) -> tuple[str, ...]:
    return tuple(
        f"the price of {kind} {row.id!r} is {(today - row.dated).days} days old ({row.dated}); set [price] if yours differs"
        for kind, row in used
        if (today - row.dated).days > STALE_DAYS
    )
