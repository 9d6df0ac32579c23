from __future__ import annotations

import inspect
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupola import ledger, meter
from cupola.errors import ConfigError, MachineError, OverBudget
from cupola.hardware import Machine, Price
from cupola.meter import Budget, Meter, Reading

PRICE = Price(
    "own", "own", usd_per_hour=0.036, usd_per_kwh=0.36, source="test", dated="2026-11-24", region="us"
)  # $1e-5 a second, $1e-7 a joule


def machine(cores: int = 4, accelerator: str | None = None) -> Machine:
    return Machine("id", "AMD EPYC 7763", cores, cores, 8 << 30, (), accelerator, "2.13.0", "3.11", "Linux")  # 4.4 W a core


class Clock:
    """Seconds of wall and of CPU that a test sets."""

    def __init__(self):
        self.now, self.cpu = 1000.0, 50.0

    def pass_(self, seconds: float, busy_cores: float = 0.0) -> None:
        self.now += seconds
        self.cpu += seconds * busy_cores

    def fail_after(self, seconds: float) -> None:
        self.pass_(seconds)
        raise KeyError


@pytest.fixture
def clock():
    return Clock()


def metered(clock: Clock, root: Path, *, cores: int = 4, accelerator: str | None = None, **more) -> Meter:
    return Meter(machine(cores, accelerator), PRICE, root=root, clock=lambda: clock.now, cpu_seconds=lambda: clock.cpu, **more)


def rapl(root: Path, **microjoules: int) -> Path:
    """A powercap tree with one package, its cores, its memory and the whole platform."""
    for zone, name in (("0", "package-0"), ("0:0", "core"), ("0:1", "dram"), ("1", "psys")):
        folder = root / f"sys/class/powercap/intel-rapl:{zone}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text("1000000000\n")
        (folder / "energy_uj").write_text(f"{microjoules.get(name.partition('-')[0], 777)}\n")
    return root


class FakeNvml:
    """Two boards and what NVML says of them."""

    def __init__(self, broken: bool = False):
        self.broken, self.millijoules = broken, {"GPU-a": 5_000_000, "GPU-b": 7_000_000}

    def nvmlInit(self):
        if self.broken:
            raise RuntimeError("driver not loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        return self.millijoules[handle]

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        return 300_000


# -- which meter, and what it says


def test_without_a_counter_energy_is_the_cores_share_of_design_power(clock, tmp_path):
    m = metered(clock, tmp_path)
    clock.pass_(10, busy_cores=2)  # design 17.6 W, idle a fifth of it: 3.52 + 14.08 x 2/4 = 10.56 W
    assert m.read().joules == pytest.approx(105.6)
    assert (m.joules_by, m.joules_range) == ("tdp_share", 0.5)


def test_an_idle_process_still_draws_idle_power(clock, tmp_path):
    m = metered(clock, tmp_path)
    clock.pass_(10)
    assert m.read().joules == pytest.approx(35.2)


def test_cpu_time_beyond_all_cores_busy_counts_as_all_cores_busy(clock, tmp_path):
    m = metered(clock, tmp_path)
    clock.pass_(10, busy_cores=9)
    assert m.read().joules == pytest.approx(176)


def test_rapl_is_used_where_it_can_be_read_and_counts_package_and_memory_once(clock, tmp_path):
    m = metered(clock, rapl(tmp_path, package=100, dram=50))
    rapl(tmp_path, package=30_000_100, core=999_000_000, dram=5_000_050, psys=999_000_000)
    clock.pass_(1)
    assert (m.joules_by, m.joules_range) == ("rapl", 0.2)
    assert m.read().joules == pytest.approx(35.0)


def test_rapl_counters_that_wrap_go_on_counting(clock, tmp_path):
    m = metered(clock, rapl(tmp_path, package=990_000_000))
    clock.pass_(1)
    rapl(tmp_path, package=20_000_000)
    assert m.read().joules == pytest.approx(30.0)
    rapl(tmp_path, package=40_000_000)
    assert m.read().joules == pytest.approx(50.0)


def test_rapl_that_may_not_be_read_gives_way_to_the_next_meter(clock, tmp_path):
    rapl(tmp_path)
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    counter.unlink()
    counter.mkdir()  # root reads files whatever their mode; nobody reads a folder
    assert metered(clock, tmp_path).joules_by == "tdp_share"


def test_boards_are_counted_by_nvml_and_the_host_beside_them(clock, tmp_path):
    nvml = FakeNvml()
    m = metered(clock, rapl(tmp_path), accelerator="NVIDIA A10G", nvml=nvml, boards=["GPU-a", "GPU-b"])
    nvml.millijoules = {"GPU-a": 5_200_000, "GPU-b": 7_100_000}
    clock.pass_(10)
    assert m.joules_by == "nvml_energy"
    assert m.read().joules == pytest.approx(200 + 100 + 35.2)
    assert m.warnings == ()


def test_an_accelerator_that_no_meter_sees_is_said(clock, tmp_path):
    m = metered(clock, tmp_path, accelerator="NVIDIA A10G", nvml=FakeNvml(broken=True), boards=["GPU-a"])
    assert m.joules_by == "tdp_share"
    assert m.warnings == ("the energy of NVIDIA A10G is not counted: pip install nvidia-ml-py, or set [price] watts",)


def test_what_the_user_measured_comes_before_what_can_be_read(clock, tmp_path):
    m = metered(clock, rapl(tmp_path), watts=45)
    clock.pass_(100)
    assert (m.joules_by, m.read().joules) == ("user", 4500)
    assert m.expect(10).joules == 450


@pytest.mark.parametrize("watts", [0, -1, math.nan, math.inf])
def test_watts_that_are_none_are_refused(clock, tmp_path, watts):
    with pytest.raises(ConfigError, match=r"\[price\] watts"):
        metered(clock, tmp_path, watts=watts)


def test_money_is_the_price_of_the_time_and_the_energy(clock, tmp_path):
    m = metered(clock, tmp_path, watts=100)
    clock.pass_(60)
    assert m.read() == Reading(60, 6000, pytest.approx(60 * 1e-5 + 6000 * 1e-7))
    assert m.usd_by == "own: $0.036 an hour of wear + $0.36 a kWh (us), 2026-11-24"


def test_a_figure_prints_with_its_meter_and_its_range():
    assert meter.cost(Reading(250, 10_800, 0.0041), "tdp_share") == "$0.0041, 0.0030 kWh (tdp_share, ±50%)"


def test_seconds_come_from_a_clock_that_nobody_can_set():
    assert inspect.signature(Meter).parameters["clock"].default is time.monotonic


def test_this_machine_is_metered_in_under_a_millisecond_a_reading():
    m = Meter(machine(), PRICE)
    took = []
    for _ in range(20):
        start = time.perf_counter()
        m.read()
        took.append(time.perf_counter() - start)
    assert min(took) < 1e-3


def test_work_shows_in_the_cpu_seconds_of_this_process_and_its_children():
    before = meter.process_cpu_seconds()
    if os.name == "posix":
        os.system("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    sum(i * i for i in range(300_000))
    assert meter.process_cpu_seconds() > before + 0.01


@given(steps=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 8)), max_size=20))
def test_a_meter_never_runs_backwards(steps):
    clock = Clock()
    m = metered(clock, Path("/nowhere"))
    last = m.read()
    for seconds, busy in steps:
        clock.pass_(seconds, busy)
        now = m.read()
        assert now.seconds >= last.seconds
        assert now.joules >= last.joules - 1e-9
        assert now.usd >= last.usd - 1e-15
        last = now


# -- spans, forecasts, charges


def test_a_span_holds_what_its_block_used_even_when_the_block_fails(clock, tmp_path):
    m = metered(clock, tmp_path, watts=10)
    clock.pass_(100)
    with m.span() as spent:
        assert spent.seconds == 0
        clock.pass_(5)
    assert (spent.seconds, spent.joules) == (5, 50)
    with pytest.raises(KeyError), m.span() as spent:
        clock.fail_after(7)
    assert spent.seconds == 7


def test_what_time_will_cost_is_told_beforehand_by_the_cores_that_will_work(clock, tmp_path):
    m = metered(clock, tmp_path)
    assert m.expect(100).joules == pytest.approx(1760)
    assert m.expect(100, busy_cores=2).joules == pytest.approx(1056)
    assert m.expect(100, busy_cores=2).usd == pytest.approx(100 * 1e-5 + 1056 * 1e-7)
    nvml = metered(clock, tmp_path, accelerator="NVIDIA A10G", nvml=FakeNvml(), boards=["GPU-a"])
    assert nvml.expect(10, busy_cores=0).joules == pytest.approx(3000 + 35.2)


def test_a_counter_that_has_run_a_while_tells_what_time_will_cost(clock, tmp_path):
    m = metered(clock, rapl(tmp_path, package=0, dram=0))
    assert m.expect(10).joules == pytest.approx(176)
    clock.pass_(20)
    rapl(tmp_path, package=800_000_000, dram=0)
    assert m.expect(10).joules == pytest.approx(400)


def test_a_charge_reaches_the_ledger_bit_by_bit_and_once(clock, tmp_path):
    m = metered(clock, tmp_path, watts=10)
    with ledger.open(tmp_path) as book:
        run = book.start_run("train", "reels")
        with m.charge(book, run, "train") as bill:
            clock.pass_(3)
            bill.settle()
            assert book.totals().seconds == 3
            clock.pass_(4)
        assert book.totals().by_kind["train"].seconds == 7
        assert bill.spent.seconds == 7
        assert book.totals().usd == pytest.approx(m.read().usd)
        assert list(book.totals().joules_by) == ["user"]


def test_a_failed_block_is_charged_too(clock, tmp_path):
    m = metered(clock, tmp_path, watts=10)
    with ledger.open(tmp_path) as book:
        run = book.start_run("train", "reels")
        with pytest.raises(KeyError), m.charge(book, run, "train"):
            clock.fail_after(3)
        assert book.totals().seconds == 3


class FullOnce:
    """A book whose disk is full at its first spend, although the row was stored."""

    def __init__(self, book):
        self.book, self.failed = book, False

    def spend(self, *values, **more):
        self.book.spend(*values, **more)
        if not self.failed:
            self.failed = True
            raise MachineError("the disk failed")


def test_a_charge_that_failed_goes_out_again_under_its_id_and_counts_once(clock, tmp_path):
    m = metered(clock, tmp_path, watts=10)
    with ledger.open(tmp_path) as book:
        run = book.start_run("train", "reels")
        bill = meter.Charge(m, FullOnce(book), run, "train")
        clock.pass_(3)
        with pytest.raises(MachineError):
            bill.settle()
        clock.pass_(4)
        bill.settle()
        bill.settle()
        assert book.totals().seconds == 7
        assert bill.spent.seconds == 7


# -- the budget


@pytest.mark.parametrize(
    ("budget", "now", "says"),
    [
        (Budget(seconds=300), Reading(301, 1, 1), "[budget] minutes: the budget's time is used up: 5 min 01 s of 5 min"),
        (Budget(usd=0.005), Reading(1, 1, 0.0051), "[budget] usd: the budget's money is used up: $0.0051 of $0.0050"),
        (Budget(joules=10_800), Reading(1, 11_160, 1), "[budget] kwh: the budget's energy is used up: 0.0031 kWh of 0.0030 kWh"),
    ],
    ids=["seconds", "usd", "joules"],
)
def test_each_gate_closes_by_itself_and_says_so_with_its_numbers(budget, now, says):
    with pytest.raises(OverBudget) as e:
        budget.check(now)
    assert str(e.value).startswith(says)
    assert "what was made so far is kept" in e.value.fix
    budget.check(Reading(0.5, 0.5, 0.0005))


def test_of_several_closed_gates_the_one_that_is_furthest_over_is_named():
    with pytest.raises(OverBudget, match="the budget's money is used up"):
        Budget(seconds=100, usd=1.0).check(Reading(110, 0, 2.0))


def test_a_gate_closes_when_the_limit_is_reached_not_after():
    with pytest.raises(OverBudget):
        Budget(seconds=10).check(Reading(10, 0, 0))


def test_the_tightest_gate_binds_at_the_present_rate():
    budget = Budget(seconds=300, usd=0.005, joules=3000)
    now = Reading(100, 1000, 0.001)  # left: 200 s; $0.004 at $1e-5 a second: 400 s; 2000 J at 10 W: 200 s
    assert budget.left(now) == {"seconds": 200, "usd": pytest.approx(400), "joules": pytest.approx(200)}
    hot = Reading(1, 40, 1e-5)  # all cores from here on
    assert budget.left_seconds(now, hot) == pytest.approx(50)
    assert budget.binding(now, hot) == "joules"
    assert budget.binding(now, Reading(1, 1, 1e-3)) == "usd"


def test_money_that_is_spent_leaves_no_seconds():
    assert Budget(usd=1.0).left_seconds(Reading(10, 10, 1.5)) == 0


def test_before_anything_ran_a_limit_in_money_needs_a_rate(clock, tmp_path):
    m = metered(clock, tmp_path, watts=100)
    budget = Budget(usd=0.002)
    assert budget.left_seconds(Reading()) == 0  # nothing is known, so nothing may be spent
    assert budget.left_seconds(Reading(), m.expect(1)) == pytest.approx(100)


def test_no_limit_is_no_limit():
    Budget().check(Reading(1e9, 1e9, 1e9))
    assert Budget().left_seconds(Reading()) == math.inf
    assert Budget().binding(Reading()) is None
    assert str(Budget()) == "no limit"


def test_a_budget_reads_in_the_units_of_the_settings_file():
    assert Budget.of(minutes=5, usd=0.005, kwh=0.003) == Budget(300, 0.005, 10_800)
    assert str(Budget.of(minutes=5, usd=0.005, kwh=0.003)) == "5 min, $0.0050, 0.0030 kWh"


@pytest.mark.parametrize(
    ("limits", "key"), [({"minutes": 0}, "minutes"), ({"usd": -1}, "usd"), ({"kwh": math.nan}, "kwh"), ({"usd": math.inf}, "usd")]
)
def test_a_limit_that_is_not_above_zero_is_refused(limits, key):
    with pytest.raises(ConfigError, match=rf"\[budget\] {key}: a budget of .* buys nothing"):
        Budget.of(**limits)


@given(
    seconds=st.floats(1, 1e6), usd=st.floats(1e-6, 1e3), joules=st.floats(1, 1e9), watts=st.floats(0.1, 1e4), hourly=st.floats(1e-3, 100)
)
def test_after_the_seconds_that_are_left_a_gate_is_closed_and_before_them_none(seconds, usd, joules, watts, hourly):
    budget = Budget(seconds, usd, joules)
    rate = Reading(1, watts, hourly / 3600)
    left = budget.left_seconds(Reading(), rate)
    with pytest.raises(OverBudget):
        budget.check(Reading(left * 1.001, left * 1.001 * rate.joules, left * 1.001 * rate.usd))
    budget.check(Reading(left * 0.999, left * 0.999 * rate.joules, left * 0.999 * rate.usd))
