"""Seconds, joules and dollars as they pass, and the budget that stops them.

Seconds come from the monotonic clock, so a wall clock that is set forward or back changes nothing; on Linux the time that a machine
spends suspended is not counted. Joules come from the best meter present, and every figure says which, with its range:

  user         the watts that the user measured at the plug, times seconds; what a person states comes before what we can read
  nvml_energy  the NVIDIA boards' own counters, and the host by tdp_share
  rapl         the CPU packages' and memory's own counters: the whole machine's, other programs included
  tdp_share    assumed: package power = idle + (design power - idle) x busy share, the share from this process's CPU time

Batteries are left out: they report every ten seconds or so and only while they discharge, which says little about a run of minutes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from cupola import units
from cupola.errors import ConfigError, OverBudget
from cupola.hardware import Machine, Price
from cupola.ledger import Book

RANGES = {
    "user": 0.2,  # an average read at the plug; the load moves about it
    "nvml_energy": 0.25,  # the boards within 5%, the host by tdp_share, usually under half of the whole
    "rapl": 0.2,  # the packages within a few percent; board, disks and power supply are outside them
    "tdp_share": 0.5,  # design power differs that much between CPUs of one family, and virtual machines hide theirs
}
IDLE_SHARE = 0.2  # of design power, assumed; servers idle at 0.15 to 0.3 of it, laptops lower
STEADY_SECONDS = 10.0  # a counter's average power is trusted to foretell after this long


@dataclasses.dataclass(slots=True)
class Reading:
    """Time, energy and money since something began."""

    seconds: float = 0.0
    joules: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Reading) -> Reading:
        return Reading(self.seconds + other.seconds, self.joules + other.joules, self.usd + other.usd)

    def __sub__(self, other: Reading) -> Reading:
        return Reading(self.seconds - other.seconds, self.joules - other.joules, self.usd - other.usd)


def cost(reading: Reading, joules_by: str) -> str:
    """Money and energy with how they were got: "$0.0041, 0.0030 kWh (tdp_share, ±50%)"."""
    return f"{units.usd(reading.usd)}, {units.kwh(reading.joules)} ({joules_by}, ±{units.percent(RANGES[joules_by])})"


# -- where joules come from ----------------------------------------------------------------------------------------------------------------


def process_cpu_seconds() -> float:
    """CPU seconds of this process, all its threads, and of its child processes that have ended; under 0.01 ms."""
    own = time.process_time()
    try:
        import resource
    except ImportError:  # Windows
        return own
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + children.ru_utime + children.ru_stime


class _Source(Protocol):
    by: str

    def joules(self, seconds: float) -> float: ...  # since it was made, which was that long ago

    def watts(self, busy_cores: float) -> float: ...  # foretold, before anything was measured


class _UserWatts:
    by = "user"

    def __init__(self, watts: float):
        self._watts = watts

    def joules(self, seconds: float) -> float:
        return self._watts * seconds

    def watts(self, busy_cores: float) -> float:
        return self._watts


class _TdpShare:
    by = "tdp_share"

    def __init__(self, machine: Machine, cpu_seconds: Callable[[], float]):
        self._cores, self._design = machine.cores, machine.design_watts
        self._cpu_seconds, self._began = cpu_seconds, cpu_seconds()

    def joules(self, seconds: float) -> float:
        busy = min(self._cpu_seconds() - self._began, self._cores * seconds)  # a child's whole CPU time arrives when it ends
        return self.watts(0) * seconds + (self._design - self.watts(0)) * busy / self._cores

    def watts(self, busy_cores: float) -> float:
        share = min(busy_cores / self._cores, 1.0)
        return self._design * (IDLE_SHARE + (1 - IDLE_SHARE) * share)


class _Rapl:
    """Sums the counters below /sys/class/powercap. Each wraps at its max_energy_range_uj (about 40 minutes at 100 W): read more often.

    Raises OSError where there are none or they may not be read, which since 2020 is so for everybody but root.
    """

    by = "rapl"

    def __init__(self, root: Path, host: _TdpShare):
        self._host = host
        self._zones = []
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":  # "core" and "uncore" are parts of the package
                self._zones.append((zone / "energy_uj", int((zone / "max_energy_range_uj").read_text())))
        if not self._zones:
            raise FileNotFoundError("no RAPL counters")
        self._last = self._counters()
        self._sum = 0

    def _counters(self) -> list[int]:
        return [int(path.read_text()) for path, _ in self._zones]

    def joules(self, seconds: float) -> float:
        now = self._counters()
        for (_, wraps_at), before, after in zip(self._zones, self._last, now, strict=True):
            self._sum += after - before if after >= before else after + wraps_at - before
        self._last = now
        return self._sum / 1e6

    def watts(self, busy_cores: float) -> float:
        return self._host.watts(busy_cores)


class _Nvml:
    """Boards' energy counters in mJ since the driver was loaded (Volta and later), refreshed each 20 to 100 ms; plus the host.

    nvml: the `pynvml` module; boards: UUIDs, since CUDA and NVML number them differently.
    Raises whatever NVML raises for a board without a counter of its own, such as a part of one.
    """

    by = "nvml_energy"

    def __init__(self, nvml: Any, boards: list[str], host: _TdpShare):
        nvml.nvmlInit()
        self._nvml, self._host = nvml, host
        self._handles = [nvml.nvmlDeviceGetHandleByUUID(board) for board in boards]
        self._began = self._millijoules()

    def _millijoules(self) -> int:
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles)

    def joules(self, seconds: float) -> float:
        return (self._millijoules() - self._began) / 1e3 + self._host.joules(seconds)

    def watts(self, busy_cores: float) -> float:
        limits = (self._nvml.nvmlDeviceGetEnforcedPowerLimit(handle) for handle in self._handles)
        return sum(limits) / 1e3 + self._host.watts(busy_cores)


def _cuda_boards() -> list[str]:
    import torch

    return [f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(torch.cuda.device_count())]


# -- the meter -----------------------------------------------------------------------------------------------------------------------------


class Meter:
    """Time, energy and money since it was made. Safe to read from several threads.

    watts: what the user measured at the plug; nvml: the pynvml module, found by itself where there is an accelerator; boards: their UUIDs.
    root, clock, cpu_seconds: where the system is read and what counts seconds; tests give their own.
    """

    def __init__(
        self,
        machine: Machine,
        price: Price,
        *,
        watts: float | None = None,
        nvml: Any = None,
        boards: list[str] | None = None,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        cpu_seconds: Callable[[], float] = process_cpu_seconds,
    ):
        if watts is not None and not 0 < watts < math.inf:
            raise ConfigError(f"{watts} watts", "[price] watts", "give what the machine draws while it works, or leave it out")
        self.machine, self.price = machine, price
        self._clock, self._lock = clock, threading.Lock()
        host = _TdpShare(machine, cpu_seconds)
        self._source = _best(machine, host, watts, nvml, boards, root)
        self._began = clock()

    @property
    def joules_by(self) -> str:
        return self._source.by

    @property
    def joules_range(self) -> float:
        """Half the width of the interval around any figure in joules, as a share of it."""
        return RANGES[self._source.by]

    @property
    def usd_by(self) -> str:
        """The price, its source and date, as the ledger keeps it."""
        return str(self.price)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with these figures: an accelerator that no meter sees, prices that have aged."""
        unseen = self.machine.accelerator and self.joules_by in ("rapl", "tdp_share") and self.machine.accelerator != "Apple GPU"
        missing = f"the energy of {self.machine.accelerator} is not counted: pip install nvidia-ml-py, or set [price] watts"
        return (*((missing,) if unseen else ()), *self.price.warnings)

    def read(self) -> Reading:
        """Since the meter was made; takes well under a millisecond."""
        with self._lock:
            seconds = self._clock() - self._began
            joules = self._source.joules(seconds)
        return Reading(seconds, joules, self.price.usd(seconds, joules))

    def expect(self, seconds: float, busy_cores: float | None = None) -> Reading:
        """What that many seconds will cost: by the counter's average power once it has run ten seconds, before that by design power.

        busy_cores: how many cores will work, all of them if None. `expect(1)` is the rate for Budget.left_seconds.
        """
        cores = self.machine.cores if busy_cores is None else busy_cores
        watts = self._source.watts(cores)
        if self.joules_by in ("nvml_energy", "rapl"):
            so_far = self.read()
            if so_far.seconds >= STEADY_SECONDS:
                watts = so_far.joules / so_far.seconds
        return Reading(seconds, watts * seconds, self.price.usd(seconds, watts * seconds))

    @contextlib.contextmanager
    def span(self) -> Iterator[Reading]:
        """A Reading that is filled when the block ends, however it ends."""
        spent, before = Reading(), self.read()
        try:
            yield spent
        finally:
            took = self.read() - before
            spent.seconds, spent.joules, spent.usd = took.seconds, took.joules, took.usd

    @contextlib.contextmanager
    def charge(self, book: Book, run: str, kind: str) -> Iterator[Charge]:
        """Writes what the block spends to the ledger: at each `settle()`, and when the block ends, however it ends."""
        bill = Charge(self, book, run, kind)
        try:
            yield bill
        finally:
            bill.settle()


class Charge:
    """What a piece of work has cost, written to the ledger bit by bit: a killed run loses only what came after its last `settle`."""

    def __init__(self, meter: Meter, book: Book, run: str, kind: str):
        self.spent = Reading()  # all that was settled
        self._meter, self._book, self._run, self._kind = meter, book, run, kind
        self._settled_at = meter.read()
        self._due: tuple[str, Reading] | None = None

    def settle(self) -> None:
        """Spend what was used since the last time. After an error the same amount goes out again under the same id and counts once."""
        if self._due is None:
            now = self._meter.read()
            self._due = f"spend-{uuid.uuid4().hex}", now - self._settled_at
            self._settled_at = now
        id, due = self._due
        by = self._meter.joules_by, self._meter.usd_by
        self._book.spend(self._run, self._kind, due.seconds, due.joules, by[0], due.usd, by[1], id=id)
        self._due = None
        self.spent += due


def _best(
    machine: Machine, host: _TdpShare, watts: float | None, nvml: Any, boards: list[str] | None, root: Path
) -> _UserWatts | _Nvml | _Rapl | _TdpShare:
    """The best source of joules that answers here."""
    if watts is not None:
        return _UserWatts(watts)
    if machine.accelerator:
        with contextlib.suppress(Exception):  # no pynvml, no driver, a shared or partitioned board: each has an error of its own
            if nvml is None:
                import pynvml as nvml  # pyrefly: ignore
            return _Nvml(nvml, boards if boards is not None else _cuda_boards(), host)
    with contextlib.suppress(OSError, ValueError):
        return _Rapl(root, host)
    return host


# -- the budget ----------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Budget:
    """What may be used at most; None is no limit, and the tightest gate binds. Raises ConfigError for a limit that is not above zero."""

    seconds: float | None = None
    usd: float | None = None
    joules: float | None = None

    def __post_init__(self) -> None:
        for gate, limit in self._limits().items():
            if not 0 < limit < math.inf:
                raise ConfigError(f"a budget of {_show(gate, limit)} buys nothing", f"[budget] {_KEYS[gate]}", "give a number above zero")

    @classmethod
    def of(cls, minutes: float | None = None, usd: float | None = None, kwh: float | None = None) -> Budget:
        """A budget in the units of cupola.toml."""
        return cls(minutes if minutes is None else minutes * 60, usd, kwh if kwh is None else kwh * units.JOULES_PER_KWH)

    def _limits(self) -> dict[str, float]:
        return {gate: limit for gate in _KEYS if (limit := getattr(self, gate)) is not None}

    def left(self, now: Reading, rate: Reading | None = None) -> dict[str, float]:
        """Seconds left at each gate. rate: what some seconds cost from here (Meter.expect); None: as `now` did on average."""
        rate = rate or now
        left = {}
        for gate, limit in self._limits().items():
            per_second = 1.0 if gate == "seconds" else getattr(rate, gate) / rate.seconds if rate.seconds > 0 else math.inf
            rest = max(0.0, limit - getattr(now, gate))
            left[gate] = rest / per_second if per_second > 0 else math.inf
        return left

    def left_seconds(self, now: Reading, rate: Reading | None = None) -> float:
        """Seconds until the first gate closes, 0 if one has; infinity without a limit. Without any rate a limit in money or energy is 0."""
        return min(self.left(now, rate).values(), default=math.inf)

    def binding(self, now: Reading, rate: Reading | None = None) -> str | None:
        """The gate that closes first: "seconds", "usd" or "joules"; None without a limit."""
        left = self.left(now, rate)
        return min(left, key=left.__getitem__, default=None)

    def check(self, now: Reading) -> None:
        """Raises OverBudget naming the gate that closed, with used and allowed, where anything is used up."""
        over = {gate: getattr(now, gate) / limit for gate, limit in self._limits().items() if getattr(now, gate) >= limit}
        if over:
            gate = max(over, key=over.__getitem__)
            used, allowed = _show(gate, getattr(now, gate)), _show(gate, getattr(self, gate))
            fix = f"what was made so far is kept; raise [budget] {_KEYS[gate]} and run the same command to go on"
            raise OverBudget(f"the budget's {_NAMES[gate]} is used up: {used} of {allowed}", f"[budget] {_KEYS[gate]}", fix)

    def __str__(self) -> str:
        return ", ".join(_show(gate, limit) for gate, limit in self._limits().items()) or "no limit"


_KEYS = {"seconds": "minutes", "usd": "usd", "joules": "kwh"}  # as cupola.toml names them
_NAMES = {"seconds": "time", "usd": "money", "joules": "energy"}


def _show(gate: str, amount: float) -> str:
    return {"seconds": units.seconds, "usd": units.usd, "joules": units.kwh}[gate](amount)
