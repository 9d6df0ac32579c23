from __future__ import annotations

import datetime
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupola import config, hardware
from cupola.errors import ConfigError
from cupola.hardware import PriceConfig

CPUINFO = "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nflags\t\t: fpu avx2 avx512f avx512_bf16\n\nprocessor\t: 1\n"
SOON = datetime.date(2026, 11, 25)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def fake(tmp_path):
    """A machine of 16 logical CPUs on 8 cores with 64 GB, nothing else."""
    files = {"proc/cpuinfo": CPUINFO, "proc/meminfo": "MemTotal:       62500000 kB\nMemFree: 1 kB\n"}
    for cpu in range(16):
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/core_id"] = f"{cpu % 8}\n"
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"] = "0\n"
    return write(tmp_path, files)


# -- the machine


def test_this_machine_describes_itself_at_once_and_without_importing_torch_for_nothing():
    code = """if True:
        import sys, time
        from cupola import hardware
        start = time.monotonic()
        machine = hardware.describe()
        needless = 'torch' in sys.modules and sys.platform == 'linux' and machine.accelerator is None
        print(time.monotonic() - start, machine.cores, needless)"""
    took, cores, needless = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(took) < 2
    assert int(cores) >= 1
    assert needless == "False"


def test_a_machine_says_its_name_cores_memory_flags_and_versions(fake):
    machine = hardware.describe(fake, set(range(16)))
    assert machine.name == "AMD EPYC 7763 64-Core Processor"
    assert (machine.cores, machine.physical_cores, machine.memory_bytes) == (16, 8, 64_000_000_000)
    assert machine.flags == ("avx2", "avx512f", "avx512_bf16")
    assert machine.accelerator is None
    assert str(machine).startswith("AMD EPYC 7763 64-Core Processor, 16 cores, 64 GB · torch 2.")


def test_affinity_bounds_the_cores(fake):
    assert hardware.describe(fake, {0, 1, 2}).cores == 3
    assert hardware.describe(fake, {0, 8}).physical_cores == 1


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"}, 16, 64_000_000_000),
        (
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/memory.max": "4000000000\n"},
            2,
            4_000_000_000,
        ),
        (
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n"},
            2,
            64_000_000_000,
        ),
        ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1, 64_000_000_000),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/x\n1:name=systemd:/\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2000000000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3,
            2_000_000_000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n2:cpu:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            16,
            64_000_000_000,
        ),
    ],
    ids=["no limit", "v2, memory from the parent", "v2, the parent is tighter", "v2, path outside the container", "v1", "v1, no limit"],
)
def test_a_container_counts_the_cores_and_memory_it_was_given(fake, files, cores, memory):
    machine = hardware.describe(write(fake, files), set(range(16)))
    assert (machine.cores, machine.memory_bytes) == (cores, memory)


def test_the_machine_id_is_stable_and_changes_with_what_changes_its_speed(fake):
    first = hardware.describe(fake, {0, 1})
    assert first.id == hardware.describe(fake, {0, 1}).id
    assert first.id != hardware.describe(fake, {0, 1, 2}).id


def test_design_power_follows_the_cpu_family_and_its_real_cores(fake):
    assert hardware.describe(fake, set(range(16))).design_watts == pytest.approx(4.4 * 8)


def test_a_machine_without_proc_or_sys_is_still_described(tmp_path):
    machine = hardware.describe(tmp_path, {0})
    assert machine.cores == 1
    assert machine.memory_bytes > 0
    assert machine.name


# -- how fast


def test_the_peak_is_a_real_rate_and_leaves_the_thread_count_alone():
    import torch

    before = torch.get_num_threads()
    start = time.monotonic()
    peak = hardware.peak_flops("float32", threads=1, seconds=0.2)
    assert time.monotonic() - start < 10
    assert 1e8 < peak.flops < 1e14
    assert (peak.dtype, peak.threads, torch.get_num_threads()) == ("float32", 1, before)
    assert peak.size >= 512


def test_a_peak_whose_repeats_disagree_says_that_the_machine_is_busy():
    assert hardware.Peak(1e11, 0.3, "float32", 2, 1024).busy
    assert not hardware.Peak(1e11, 0.1, "float32", 2, 1024).busy


def test_a_peak_in_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="no peak for dtype 'int4'"):
        hardware.peak_flops("int4", 1)


def test_waiting_for_a_core_is_read_per_thread_and_per_second(tmp_path):
    write(tmp_path, {"proc/self/task/10/schedstat": "5000 1000000000 3\n", "proc/self/task/11/schedstat": "5000 2000000000 3\n"})
    assert hardware.run_queue_wait(tmp_path) == {"10": 1.0, "11": 2.0}
    queue = hardware.RunQueue(tmp_path)
    time.sleep(0.05)
    assert queue.wait() == 0
    write(tmp_path, {"proc/self/task/10/schedstat": "5000 1500000000 9\n", "proc/self/task/12/schedstat": "1 500000000 1\n"})
    (tmp_path / "proc/self/task/11/schedstat").unlink()  # a thread that ended is not counted back
    time.sleep(0.05)
    waited = queue.wait()
    assert waited is not None
    assert 0 < waited < 1.0 / 0.05


def test_where_the_kernel_does_not_say_who_waited_the_answer_is_none(tmp_path):
    assert hardware.run_queue_wait(tmp_path) is None
    assert hardware.RunQueue(tmp_path).wait() is None


# -- what it costs


def test_every_shipped_row_is_dated_sourced_and_priced():
    table = config.parse(hardware.PriceTable, config.read(hardware.PRICES), "prices.toml")
    for row in [*table.machine, *table.electricity]:
        assert row.dated <= datetime.datetime.now(datetime.UTC).date()
        assert row.source
    assert len({row.id for row in table.machine}) == len(table.machine)
    for row in table.machine:
        assert hardware.price(PriceConfig(machine=row.id)).usd_per_hour > 0


def test_a_machine_of_ones_own_costs_its_wear_and_its_electricity():
    price = hardware.price(today=SOON)
    assert (price.kind, price.region) == ("own", "us")
    assert price.usd_per_hour == pytest.approx(800 / 5 / 2920)
    assert price.usd(3600, 3.6e6) == pytest.approx(800 / 5 / 2920 + 0.1872)
    assert str(price) == "own: $0.055 an hour of wear + $0.19 a kWh (us), 2026-04-26"


def test_a_rented_machine_costs_its_hours_and_electricity_is_in_the_rent():
    price = hardware.price(PriceConfig(machine="aws-g5.xlarge"), today=SOON)
    assert price.usd(1800, 1e9) == pytest.approx(0.503)
    assert price.kind == "rented"


def test_the_users_price_comes_before_the_table():
    assert hardware.price(PriceConfig(usd_per_hour=2.0)).usd(3600, 1e9) == 2.0
    both = hardware.price(PriceConfig(usd_per_hour=2.0, usd_per_kwh=0.5))
    assert both.usd(3600, 3.6e6) == 2.5
    assert both.kind == "user"
    own = hardware.price(PriceConfig(purchase_usd=2000, years=4, hours_a_year=1000, usd_per_kwh=0.1))
    assert own.usd(3600, 3.6e6) == pytest.approx(0.6)
    assert own.warnings == ()  # nothing of the table is in it
    assert hardware.price(PriceConfig(purchase_usd=1600), today=SOON).usd_per_hour == pytest.approx(1600 / 5 / 2920)
    assert hardware.price(PriceConfig(region="de"), today=SOON).usd_per_kwh == 0.447


def test_a_price_over_ninety_days_old_is_warned_of_with_its_age():
    assert hardware.price(PriceConfig(machine="aws-g5.xlarge"), today=datetime.date(2026, 9, 15)).warnings == ()
    (warning,) = hardware.price(PriceConfig(machine="aws-g5.xlarge"), today=datetime.date(2026, 9, 16)).warnings
    assert warning.startswith("the price of machine 'aws-g5.xlarge' is 91 days old (2026-06-17)")


@given(st.floats(max_value=0) | st.just(float("nan")) | st.just(float("inf")))
def test_a_price_that_is_not_above_zero_is_refused_never_free(x):
    for key in ("usd_per_hour", "usd_per_kwh", "purchase_usd", "watts"):
        with pytest.raises(ConfigError, match=f"{key}: must be a number above zero: nothing here is free"):
            config.parse(PriceConfig, {key: x}, "cupola.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'id = "x"\nkind = "rented"\ndevice = "d"\nusd_per_hour = 0.0',
            "machine.0.usd_per_hour: must be a number above zero: nothing here is free",
        ),
        ('id = "x"\nkind = "rented"\ndevice = "d"', "'x' has no usd_per_hour: a missing price is not a price of nothing"),
        ('id = "x"\nkind = "own"\ndevice = "d"\nyears = 5', "'x' has no purchase_usd"),
    ],
)
def test_a_zero_or_missing_price_in_the_table_is_an_error_that_names_its_row(tmp_path, text, says):
    table = tmp_path / "prices.toml"
    table.write_text(f'electricity = []\n[[machine]]\ndated = 2026-01-01\nsource = "s"\n{text}\n')
    with pytest.raises(ConfigError) as e:
        hardware.price(PriceConfig(machine="x"), table=table)
    assert says in str(e.value)
    assert str(table) in str(e.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (PriceConfig(machine="aws-g5.xlarg"), "no machine 'aws-g5.xlarg' in the price table"),
        (PriceConfig(region="mars"), "no electricity 'mars' in the price table"),
        (PriceConfig(machine="aws-g5.xlarge", usd_per_kwh=0.2), "electricity is in the rent"),
    ],
)
def test_a_price_that_cannot_be_told_is_refused_with_the_way_out(settings, says):
    with pytest.raises(ConfigError) as e:
        hardware.price(settings)
    assert says in str(e.value)
    assert e.value.fix


def test_the_nearest_row_is_named_for_a_misspelt_one():
    with pytest.raises(ConfigError, match=r"did you mean 'aws-g5.xlarge'\?"):
        hardware.price(PriceConfig(machine="aws-g5.xlarg"))


@pytest.mark.parametrize(
    "table", [{"usd_per_hour": 1.0, "machine": "own"}, {"usd_per_hour": 1.0, "years": 3.0}, {"machine": "aws-g5.xlarge", "years": 3.0}]
)
def test_two_prices_for_one_hour_are_refused(table):
    with pytest.raises(ConfigError, match=r"stand beside|machine of one's own"):
        config.parse(PriceConfig, table, "cupola.toml")
