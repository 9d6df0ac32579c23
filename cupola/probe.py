"""How fast this machine trains, by size and precision: measured with whole optimizer steps, and kept in the ledger by machine."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from cupola import hardware, model, train, units
from cupola.hardware import Machine
from cupola.meter import Meter
from cupola.model import ModelConfig, batch_tokens, count_parameters, dial, flops_per_token
from cupola.train import RunPlan, State, TrainConfig, Workers

Precision = Literal["float32", "bfloat16"]


class Rows(Protocol):
    """What is asked of a ledger: rows that are on disk when the call returns."""

    def probe(self, run: str | None, key: str, facts: dict, id: str | None = None) -> Any: ...
    def probes(self, key: str | None = None) -> list[dict[str, Any]]: ...


@dataclasses.dataclass(frozen=True)
class Speed:
    """Sustained training speed of one shape on this machine, right now."""

    tokens_per_second: float
    flops: float  # model FLOPs a second
    precision: Precision
    spread: float  # (max - min) / median over the timed steps: above 0.2 the machine is busy


LONG_STEP = 0.4  # seconds; of such steps two are timed after a first one, of others three or more after two


def measure(config: ModelConfig, length: int = 256, seconds: float = 1.0, workers: int | None = None) -> Speed:
    """Time whole optimizer steps of this shape in float32 and in bfloat16, `seconds` each after a first one; the faster.

    bfloat16 is 2 to 3 times faster on some processors and half as fast on others, so it is measured, never assumed.
    """
    team = Workers(min(2, workers or hardware.describe().cores))
    try:
        with train.single_threaded():
            return max((_time(config, length, p, seconds, team) for p in ("float32", "bfloat16")), key=lambda s: s.tokens_per_second)
    finally:
        team.close()


def _time(
    config: ModelConfig,
    length: int,
    precision: Precision,
    seconds: float,
    team: Workers,
    clock: Callable[[], float] = time.monotonic,
) -> Speed:
    plan = trial(config, length, precision)
    rows, state = plan.rows, State(plan)
    batch = np.random.default_rng(0).integers(0, config.vocab_size, (rows, length + 1))
    for _ in range(2):  # the first allocates, the second is as fast as the rest; where a step is long the first is nearly so
        began = clock()
        state.step(batch, 0.1, team)
        if clock() - began > LONG_STEP:
            break
    times, end = [], clock() + seconds
    while len(times) < 2 or (len(times) < 3 and times[0] < LONG_STEP) or clock() < end:
        began = clock()
        state.step(batch, 0.1, team)
        times.append(max(1e-9, clock() - began))
    rate = rows * length / float(np.mean(times))
    return Speed(rate, rate * flops_per_token(config, length), precision, (max(times) - min(times)) / float(np.median(times)))


def trial(config: ModelConfig, length: int, precision: Precision) -> RunPlan:
    """A plan of single steps, to time a shape without a corpus."""
    return RunPlan(
        model=config,
        train=TrainConfig(length=length),
        medium="text",
        corpus="",
        tokenizer="",
        rows=rows_a_step(config, length),
        max_steps=1,
        eval_every=1,
        precision=precision,
    )


def rows_a_step(config: ModelConfig, length: int, tokens: int | None = None) -> int:
    """Rows of `length` in a step: even, so that they part over two workers."""
    return max(2, 2 * round((tokens or batch_tokens(config)) / length / 2))


# --- the probe ------------------------------------------------------------------------------------------------------------------------

PROBED = (80_000, 300_000, 1_000_000)  # parameters
OFF = 0.3  # a remembered speed that is off by more than this share is measured anew
SCORING = 2.5  # tokens scored in the time of one trained, where it was not measured: a third of the work, in float32


@dataclasses.dataclass(frozen=True)
class Probe:
    """How fast this machine trains, by size, in the faster precision; and what it draws while it does."""

    machine: str  # its id
    vocab_size: int
    length: int
    precision: Precision
    sizes: tuple[tuple[int, float, float], ...]  # parameters, tokens a second, model FLOPs a second; smallest first
    scoring: float = SCORING  # tokens scored in the time of one trained
    watts: float = math.nan
    watts_by: str = ""
    spread: float = 0.0  # over single steps: above 0.5 the machine is busy
    remembered: bool = False
    notes: tuple[str, ...] = ()

    def tokens_per_second(self, params: float) -> float:
        """Tokens a second of the dial's shape of that size.

        Between two measured sizes on the line through both (log-log). Beyond the largest with its FLOP/s; below the smallest with its
        tokens a second, since there the work between the multiplications is all that counts.
        """
        n, rates = [s[0] for s in self.sizes], [s[1] for s in self.sizes]
        if params > n[-1]:
            shape = dial(params, self.vocab_size, self.length)
            return self.sizes[-1][2] / flops_per_token(shape, self.length) * count_parameters(shape) / params
        return math.exp(float(np.interp(math.log(params), np.log(n), np.log(rates))))

    def flops(self, params: float) -> float:
        """Model FLOPs a second while a shape of that size trains."""
        shape = dial(params, self.vocab_size, self.length)
        return self.tokens_per_second(params) * flops_per_token(shape, self.length)


def probe_shapes(vocab_size: int, length: int, sizes: Iterable[float] = PROBED) -> list[ModelConfig]:
    """Shapes to probe, smallest first; fewer than `sizes` where a large vocabulary leaves no smaller ones."""
    return sorted({dial(params, vocab_size, length) for params in sizes}, key=count_parameters)


def look_tokens(documents: Iterable[int], length: int) -> int:
    """Tokens that a model reads in one look at documents of so many ids each: in windows of `length` that overlap by half."""
    targets = [n - 1 for n in documents]
    return sum(n if n <= length else length * (1 + math.ceil((n - length) / (length // 2))) for n in targets)


def probe(
    shapes: Sequence[ModelConfig],
    length: int,
    meter: Meter,
    book: Rows,
    run_id: str | None,
    *,
    seconds: float = 8.0,
    machine: Machine | None = None,
    precisions: Sequence[Precision] = ("float32", "bfloat16"),
    workers: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    stopwatch: Stopwatch | None = None,
) -> Probe:
    """Measure how fast this machine trains these shapes, in about `seconds`, or find it in the ledger and check it in half a second.

    The precisions are compared at a middle size; the faster is then used for all. A shape too large for the time is left out and noted.
    A remembered speed that the check finds more than OFF away (a busy machine, a throttled laptop) is measured anew and noted.
    """
    machine = machine or hardware.describe()
    shapes = sorted(shapes, key=count_parameters)
    key = f"{machine.id}:{shapes[0].vocab_size}:{length}"
    watch = stopwatch or Stopwatch(min(2, workers or machine.cores), clock)
    notes: tuple[str, ...] = ()
    try:
        with train.single_threaded():
            if rows := book.probes(key):
                known = _remembered(rows[-1])
                note = _check(known, watch)
                if not note:
                    return dataclasses.replace(known, **_power(meter))
                notes = (note,)
            made = _measured(machine.id, shapes, length, seconds, precisions, watch, clock)
    finally:
        watch.close()
    made = dataclasses.replace(made, notes=notes + made.notes, **_power(meter))
    book.probe(run_id, key, _facts_of(made))
    return made


class Stopwatch:
    """Times single shapes."""

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic):
        self.team, self.clock = Workers(workers), clock

    def speed(self, shape: ModelConfig, length: int, precision: Precision, seconds: float) -> Speed:
        """Of training."""
        return _time(shape, length, precision, seconds, self.team, self.clock)

    def scoring(self, shape: ModelConfig, length: int) -> float:
        """Tokens scored in a second."""
        plan = trial(shape, length, "float32")
        state, ids = State(plan), np.zeros((max(2, plan.rows), length + 1), np.int64)
        self.team.over(state.nats, ids)
        began = self.clock()
        self.team.over(state.nats, ids)
        return len(ids) * length / max(1e-9, self.clock() - began)

    def close(self) -> None:
        self.team.close()


def _check(known: Probe, watch: Stopwatch) -> str:
    """Why a remembered speed no longer holds, by half a second at a middle size; "" where it does."""
    params, then, _ = known.sizes[(len(known.sizes) - 1) // 2]
    now = watch.speed(dial(params, known.vocab_size, known.length), known.length, known.precision, 0.5).tokens_per_second
    if abs(math.log(now / then)) <= math.log(1 + OFF):
        return ""
    return (
        f"this machine trains at {units.count(now)} tokens/s now and did {units.count(then)} when it was last measured: "
        "measured anew (is it busy, hot or on battery?)"
    )


def _measured(
    machine: str,
    shapes: Sequence[ModelConfig],
    length: int,
    seconds: float,
    precisions: Sequence[Precision],
    watch: Stopwatch,
    clock: Callable[[], float],
) -> Probe:
    """Every shape that fits into `seconds`: the smallest first, for a glimpse, then the one at which the precisions are compared."""
    end = clock() + seconds
    model.build(shapes[0])  # a process's first model loads the packages: not a step's time
    each = max(0.0, 0.6 * (end - clock()) / (len(shapes) + len(precisions)))  # models and first steps take the rest
    glimpse = watch.speed(shapes[0], length, precisions[0], 0.2 * each)
    half = shapes[1 : (len(shapes) - 1) // 2 + 1]
    middle = next((s for s in reversed(half) if 12 * _step(s, length, glimpse) < end - clock()), shapes[0])
    best = max((watch.speed(middle, length, p, each) for p in precisions), key=lambda s: s.tokens_per_second)
    found, left_out = {count_parameters(middle): best}, []
    scoring = watch.scoring(middle, length) / best.tokens_per_second
    for shape in shapes:
        left = end - clock()
        if shape != middle and (shape == shapes[0] or 3 * _step(shape, length, best) < left):
            found[count_parameters(shape)] = watch.speed(shape, length, best.precision, max(0.0, min(each, left)))
        elif shape != middle:
            left_out.append(units.count(count_parameters(shape)))
    sizes = tuple((n, s.tokens_per_second, s.flops) for n, s in sorted(found.items()))
    note = f"too slow to be measured in {units.seconds(seconds)}, so extrapolated: {', '.join(left_out)} parameters"
    notes = (note,) if left_out else ()
    return Probe(machine, shapes[0].vocab_size, length, best.precision, sizes, scoring, spread=best.spread, notes=notes)


def _step(shape: ModelConfig, length: int, like: Speed) -> float:
    """Seconds that a step of this shape takes at most, by the FLOP/s of a smaller one: larger ones multiply faster."""
    return rows_a_step(shape, length) * length * flops_per_token(shape, length) / like.flops


def _power(meter: Meter) -> dict[str, Any]:
    return {"watts": meter.expect(1.0).joules, "watts_by": meter.joules_by}


def _facts_of(made: Probe) -> dict[str, Any]:
    """A ledger row: the middle size under the names that the ledger's view shows, and all that makes the Probe again."""
    params, rate, flops = made.sizes[len(made.sizes) // 2]
    shown = {"params": params, "dtype": made.precision, "tokens_per_second": rate, "flops_per_second": flops}
    kept = ("machine", "vocab_size", "length", "sizes", "scoring", "watts", "watts_by", "spread")
    return shown | {name: getattr(made, name) for name in kept}


def _remembered(row: dict[str, Any]) -> Probe:
    kept = ("machine", "vocab_size", "length", "scoring", "watts", "watts_by", "spread")
    sizes = tuple((int(n), float(rate), float(flops)) for n, rate, flops in row["sizes"])
    return Probe(precision=row["dtype"], sizes=sizes, remembered=True, **{name: row[name] for name in kept})
