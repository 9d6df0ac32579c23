"""Small runs that foretell a large one: how fast this machine trains, which runs a number of seconds buys, and those runs themselves.

A rung is one size: a trunk, warmed up and then trained at full rate, and the runs that leave it at several lengths and are cooled to their
end. The trunk is paid once; every cooled run is a point for the law, with the bits of a straight run of that length.

    steps   0 ........ 24 ....... 48 ............. 96      trunk: 96 steps at full rate
                        \\ 40      \\ 80             \\ 160   three points, cooled over the last 0.4 of their lengths

Everything goes through `train` and lands in the ledger the moment it is known, under an id made of what was trained on what: the same point
counts once, and a ladder that was killed, or is asked for again, pays for what is missing.

Source of trunk and branches: Hu et al. 2024, section 4 (arXiv:2404.06395); Haegele et al. 2024 (arXiv:2405.18392).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from cupola import checkpoint, hardware, model, tokens, train, units
from cupola.corpus import Corpus
from cupola.errors import CheckpointError, DataError, OverBudget
from cupola.hardware import Machine
from cupola.meter import Meter
from cupola.model import ModelConfig, batch_tokens, count_parameters, dial, flops_per_token
from cupola.tokens import Tokenizer
from cupola.train import Outcome, RunPlan, State, Tick, TrainConfig, Trunk, Workers

Progress = Callable[[str, float | None], None]
Precision = Literal["float32", "bfloat16"]
Status = Literal["done", "diverged", "late"]
Purpose = Literal["rung", "rate", "seed", "part"]


class Rows(Protocol):
    """What is asked of a ledger: rows that are on disk when the call returns; the same id twice counts once."""

    def point(self, run: str | None, key: str, facts: dict, id: str | None = None) -> Any: ...
    def points(self, key: str, /) -> list[dict[str, Any]]: ...
    def probe(self, run: str | None, key: str, facts: dict, id: str | None = None) -> Any: ...
    def probes(self, key: str, /) -> list[dict[str, Any]]: ...


# --- how fast one shape trains --------------------------------------------------------------------------------------------------------


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
        parts = np.array_split(ids, self.team.count)
        self.team.map(state.nats, parts)
        began = self.clock()
        self.team.map(state.nats, parts)
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


# --- which runs: pure arithmetic ------------------------------------------------------------------------------------------------------

APART = 2.2  # between sizes, so that the same ones come again under other budgets
LEAST_STEPS = 40  # of the shortest cooled run
GRID = 2  # lengths are LEAST_STEPS * 2 ** (i / GRID) steps, so that ladders of other budgets share their points
SNAP = 1.08  # and so is the time, in steps of this factor: with 2% less time, 8% of the ladder are new, and 29% without either
SHARE_OF_DOCUMENTS = 0.25  # that a run reads which shows what repeats are worth
REPEATS = 2.0  # passes of the final run from which on that is worth knowing
BEND = 1_000_000  # tokens: on small corpora losses fall otherwise before and after about so many
TOP_WEIGHT = 2.5  # the largest size's time over another's: it is the one that the final run is most like, and may go on from
SPAN = 10.0  # times the compute of the cheapest run that the dearest takes at least: a law is refused under 8
TOP_TOKENS = 1.5  # a parameter, that the largest size reads at least
MOST_PASSES = 40  # over the corpus, of any run
OVERHEAD = 1.04  # reading rows and writing checkpoints, as a factor of the steps' time (LOG.md, 2026-11-25)
START_SECONDS = 0.3  # a run costs before its first step
TOKENISED = 800_000  # tokens a second, the first time that a stream is read so far
RATES = (0.5, 2.0)  # tried at the smallest size, as factors of [train] learning_rate
WARMUP_OF = 200  # steps: a ladder's trunks warm up as a run of so many does, whatever their length, so that they can grow later


def warmup_steps(settings: TrainConfig) -> int:
    """Of every trunk of a ladder, and of a run that goes on from one."""
    return max(1, round(settings.warmup * WARMUP_OF))


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size at one rate, seed and share of the documents: a trunk and its cooled runs."""

    shape: ModelConfig
    rows: int  # of `length` tokens a step
    lengths: tuple[int, ...]  # steps of each cooled run, shortest first
    learning_rate: float
    seed: int
    share: float = 1.0  # of the training documents
    purpose: Purpose = "rung"

    @functools.cached_property
    def params(self) -> int:
        return count_parameters(self.shape)

    @property
    def trunk(self) -> tuple[float, ...]:
        """What two rungs of one trunk have in common."""
        return self.params, self.shape.hidden_size, self.rows, self.learning_rate, self.seed, self.share


@functools.lru_cache(maxsize=1024)
def _rate(probe: Probe, params: int) -> float:
    return probe.tokens_per_second(params)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a rung's runs take on this machine, in seconds."""

    probe: Probe
    decay: float = 0.4  # share of a cooled run's steps
    watch_tokens: int = 0  # that one look at the watched documents reads, overlaps included

    def leaves(self, steps: int) -> int:
        """The step at which a cooled run of `steps` leaves its trunk."""
        return steps - max(1, round(self.decay * steps))

    def steps(self, rung: Rung, steps: int) -> float:
        return steps * rung.rows * self.probe.length / _rate(self.probe, rung.params) * OVERHEAD

    def look(self, rung: Rung) -> float:
        """One look at the watched documents."""
        return self.watch_tokens / (_rate(self.probe, rung.params) * self.probe.scoring)

    def trunk(self, rung: Rung, begin: int, leaves: Sequence[int]) -> float:
        """Of going on from step `begin` to the last of `leaves`, with a look at each."""
        return START_SECONDS + self.steps(rung, max(leaves) - begin) + len(leaves) * self.look(rung) if leaves else 0.0

    def branch(self, rung: Rung, steps: int) -> float:
        return START_SECONDS + self.steps(rung, steps - self.leaves(steps)) + self.look(rung)

    def straight(self, rung: Rung, steps: int) -> float:
        """Of one run from its start to its cooled end."""
        return self.trunk(rung, 0, [self.leaves(steps)]) + self.branch(rung, steps)

    def bill(self, rungs: Iterable[Rung]) -> float:
        """Of all these rungs in their order, what they share paid once."""
        paid: dict[tuple, set[int]] = collections.defaultdict(set)  # trunk -> steps that were kept
        points: set[tuple] = set()
        read: dict[tuple, int] = collections.defaultdict(int)  # stream -> tokens
        total = 0.0
        for rung in rungs:
            missing = [n for n in rung.lengths if (rung.trunk, n) not in points]
            kept = paid[rung.trunk]
            begin, leaves = going_on(kept, [self.leaves(n) for n in missing])
            total += self.trunk(rung, begin, leaves) + sum(self.branch(rung, n) for n in missing)
            kept |= set(leaves)
            points |= {(rung.trunk, n) for n in missing}
            stream = rung.seed, rung.share
            read[stream] = max(read[stream], max(rung.lengths) * rung.rows * self.probe.length)
        return total + sum(read.values()) / TOKENISED


def going_on(kept: Iterable[int], wanted: Iterable[int]) -> tuple[int, list[int]]:
    """Where a trunk goes on that has checkpoints at `kept`, and which of the `wanted` steps it still has to keep: (step, steps)."""
    kept = set(kept)
    leaves = sorted({n for n in wanted if n > 0} - kept)
    return max((n for n in kept if n < leaves[0]), default=0) if leaves else 0, leaves


@dataclasses.dataclass(frozen=True)
class Design:
    """The runs of a ladder in the order in which they are bought, and what they cost where none of them is known yet."""

    rungs: tuple[Rung, ...]
    costs: Costs
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.costs.bill(self.rungs)

    @property
    def points(self) -> int:
        """Cooled runs that the law is fitted to."""
        return sum(len(r.lengths) for r in self.rungs if r.purpose in ("rung", "part"))

    @property
    def sizes(self) -> list[int]:
        """Parameters of each size, smallest first."""
        return sorted({r.params for r in self.rungs if r.purpose == "rung"})


@dataclasses.dataclass(frozen=True)
class Form:
    """A kind of ladder; which one is built depends on the seconds."""

    sizes: int
    branches: tuple[int, ...]  # by size, smallest first
    rates: bool  # a search for the learning rate
    seeds: int  # more than the first
    part: int  # cooled runs on a quarter of the documents
    bend: bool  # only where the smallest size reads past BEND


FORMS = (  # richest first
    Form(5, (3, 3, 3, 3, 3), True, 2, 2, True),
    Form(4, (3, 3, 3, 3), True, 2, 2, True),
    Form(4, (3, 3, 3, 3), True, 2, 1, True),
    Form(4, (3, 3, 3, 3), False, 2, 1, True),
    Form(4, (3, 3, 3, 3), False, 0, 1, True),
    Form(3, (3, 3, 3), False, 2, 1, False),
    Form(3, (3, 3, 3), False, 0, 1, False),
    Form(3, (3, 3, 2), False, 0, 0, False),
)


def grid_steps(i: int) -> int:
    """The i-th length, in steps."""
    return round(LEAST_STEPS * 2 ** (i / GRID))


@functools.lru_cache(maxsize=64)
def sizes(vocab_size: int, length: int, largest: float = 2e8) -> tuple[ModelConfig, ...]:
    """The shapes that rungs may have, about APART apart from the smallest there is up to `largest` parameters; never fewer than three."""
    found = [dial(1, vocab_size, length)]
    while len(found) < 3 or APART * count_parameters(found[-1]) <= 1.2 * largest:
        following = dial(APART * count_parameters(found[-1]), vocab_size, length)
        if following == found[-1]:
            break
        found.append(following)
    return tuple(found)


def design(
    speed: Probe,
    seconds: float,
    pass_tokens: float,
    length: int,
    vocab_size: int,
    *,
    settings: TrainConfig | None = None,
    largest: float | None = None,
    most_tokens: float | None = None,
    final_passes: float | None = None,
    watch_tokens: int = 0,
) -> Design:
    """The ladder that takes about `seconds` on a machine of this speed: the richest of FORMS that they are enough for.

    The time is about the same for each size, so small ones read many more tokens. pass_tokens: of one pass over the corpus. settings:
    [train], for rates, decay and seed. largest: parameters; no rung is much larger. most_tokens: of any run; None: MOST_PASSES.
    final_passes: that the final run is going to make; None: guessed for three times the seconds. watch_tokens: that one look at the
    watched documents reads (`look_tokens`).
    Raises OverBudget saying how long the least ladder takes.
    """
    assert (speed.vocab_size, speed.length) == (vocab_size, length), "a probe of other shapes"
    settings = settings or TrainConfig(length=length)
    costs = Costs(speed, settings.decay, watch_tokens)
    shapes = sizes(vocab_size, length, min(2e8, max(1.0, largest or 4 * pass_tokens)))
    middle = shapes[min(2, len(shapes) - 1)]
    if final_passes is None:
        final_passes = 3 * seconds * speed.tokens_per_second(count_parameters(middle)) / pass_tokens
    most = most_tokens or MOST_PASSES * pass_tokens
    snapped = SNAP ** math.floor(math.log(max(1.0, seconds)) / math.log(SNAP) + 1e-9)
    for limit, form in itertools.product((snapped, seconds), FORMS):
        form = form if final_passes > REPEATS else dataclasses.replace(form, part=0)
        for top in range(len(shapes), form.sizes - 1, -1):
            builder = _Builder(form, shapes[top - form.sizes : top], costs, settings, most, raised=top > form.sizes)
            if made := builder.fill(limit):
                return made
    builder, need = _Builder(FORMS[-1], shapes[:3], costs, settings, most), max(1.0, seconds)
    least = builder.least()
    while not (made := builder.fill(need)) and need < 100 * least.seconds:
        need *= 1.05
    least = made or least
    raise OverBudget(
        f"the least ladder ({len(least.sizes)} sizes, {least.points} runs) takes {units.seconds(least.seconds)} on this machine, "
        f"and there are {units.seconds(max(0.0, seconds))} for it",
        "[budget]",
        f"give {units.seconds(least.seconds - max(0.0, seconds))} more for it; without a ladder nothing can be said about quality",
    )


class _Builder:
    """Finds the lengths of one form of ladder over given shapes."""

    def __init__(
        self, form: Form, shapes: Sequence[ModelConfig], costs: Costs, settings: TrainConfig, most_tokens: float, raised: bool = False
    ):
        """raised: there are smaller sizes than these, which only a ladder that reads past the bend leaves out."""
        self.form, self.shapes, self.costs, self.settings, self.raised = form, shapes, costs, settings, raised
        length = costs.probe.length
        self.rows = [rows_a_step(s, length, settings.batch_tokens) for s in shapes]
        self.shortest = [GRID * (n - 1) for n in form.branches]  # places of the longest runs whose shortest has LEAST_STEPS
        most = [max(1.0, most_tokens / (r * length * LEAST_STEPS)) for r in self.rows]
        self.longest = [max(low, math.floor(GRID * math.log2(m))) for low, m in zip(self.shortest, most, strict=True)]

    def least(self) -> Design:
        return self._design(self.shortest)

    def fill(self, seconds: float) -> Design | None:
        """The form's runs made longer, the cheapest size's first, until no length more fits; None where the form does not fit.

        The largest size counts as cheaper than it is, by TOP_WEIGHT.
        """
        places, design = list(self.shortest), self.least()
        if design.seconds > seconds:
            return None
        open_ = set(range(len(places)))
        while open_:
            i = min(open_, key=lambda i: self.costs.bill([self._rung(i, places[i])]) / (TOP_WEIGHT if i == len(places) - 1 else 1.0))
            longer = [p + (j == i) for j, p in enumerate(places)]
            if longer[i] > self.longest[i] or (made := self._design(longer)).seconds > seconds:
                open_.remove(i)
            else:
                places, design = longer, made
        return design if self._reaches(places) else None

    def _reaches(self, places: Sequence[int]) -> bool:
        """Whether the largest size reads enough to say anything, and the smallest past the bend where that is asked."""
        read = [grid_steps(p) * r * self.costs.probe.length for p, r in zip(places, self.rows, strict=True)]
        enough = read[-1] >= TOP_TOKENS * count_parameters(self.shapes[-1]) or places[-1] == self.longest[-1] or self.form == FORMS[-1]
        span = read[-1] * flops_per_token(self.shapes[-1], self.costs.probe.length)
        span /= grid_steps(places[0] - GRID * (self.form.branches[0] - 1)) * self.rows[0] * self.costs.probe.length
        span /= flops_per_token(self.shapes[0], self.costs.probe.length)
        past_bend = read[0] >= BEND or places[0] == self.longest[0]
        return enough and span >= SPAN and (past_bend or not (self.form.bend or self.raised))

    def _rung(self, i: int, place: int) -> Rung:
        lengths = tuple(grid_steps(place - GRID * b) for b in reversed(range(self.form.branches[i])))
        return Rung(self.shapes[i], self.rows[i], lengths, self.settings.learning_rate, self.settings.seed)

    def _design(self, places: Sequence[int]) -> Design:
        rungs = [self._rung(i, place) for i, place in enumerate(places)]
        first: list[Rung] = []
        small, rate, seed = rungs[0], self.settings.learning_rate, self.settings.seed
        if self.form.rates:  # the rung's own rate at the lengths that are compared, so that nothing is paid twice where it wins
            first.append(dataclasses.replace(small, lengths=small.lengths[:2], purpose="rate"))
            tried = (dataclasses.replace(small, lengths=small.lengths[:1], learning_rate=rate * factor) for factor in RATES)
            first += (dataclasses.replace(r, purpose="rate") for r in tried)
        for more in range(1, self.form.seeds + 1):
            first.append(dataclasses.replace(small, lengths=small.lengths[1:2], seed=seed + more, purpose="seed"))
        parts: list[Rung] = []
        if self.form.part:
            middle = rungs[len(rungs) // 2]
            lengths = middle.lengths[-self.form.part :]
            parts.append(dataclasses.replace(middle, lengths=lengths, share=SHARE_OF_DOCUMENTS, purpose="part"))
        return Design((*first, *rungs, *parts), self.costs)


# --- what comes of them ---------------------------------------------------------------------------------------------------------------

LATE = 2.5  # times its planned seconds
SETTLE_SECONDS = 3.0  # between bookings of what was spent
NOISE = 0.006  # relative, of a loss over seeds, where it was not measured: 0.05% to 0.7% were seen at 60 k parameters
LEAST_NOISE = 0.002  # three seeds can agree by chance: no learning rate is changed for less than three times this
CERTAIN = 3.0  # noises by which another learning rate has to win


@dataclasses.dataclass(frozen=True)
class Point:
    """One cooled run: what was trained on how much, and what came of it."""

    id: str
    params: int
    tokens: int
    unique_tokens: float  # of them, read for the first time
    bits_per_byte: float  # on the watched documents; nan where there is none
    flops: float
    seconds: float  # of one straight run; says nothing where status is "late"
    seed: int
    learning_rate: float
    share: float  # of the training documents
    status: Status  # "late": slower than planned by far, or cut; where it was finished its loss is as good as any
    purpose: Purpose
    raw: float | None = None  # bits per byte just before it was cooled
    steps: int = 0
    key: str = ""

    @property
    def known(self) -> bool:
        """Whether it came to its end."""
        return math.isfinite(self.bits_per_byte)

    def plain(self) -> dict[str, Any]:
        """As JSON has it: None for what there is none of."""
        return {name: _jsonable(value) for name, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class Ladder:
    """All points that are known for one corpus, tokenizer, code and settings, and what this climb paid for them."""

    points: list[Point]
    learning_rate: float  # found at the smallest size
    noise: float  # relative standard deviation of a loss over seeds
    seconds: float  # spent now
    usd: float  # spent now; nan without a meter
    reused: int  # points of the design that were known before
    trunks: dict[int, tuple[Path, int]]  # parameters -> (run folder, step of its last checkpoint), at the found rate, on all documents
    warmup_steps: int  # of every trunk
    notes: list[str]

    @property
    def done(self) -> list[Point]:
        """What a law is fitted to: finished runs at the found rate, one seed."""
        return [p for p in self.points if p.known and p.purpose in ("rung", "part")]


def point_key(corpus: str, tokenizer: str, settings: TrainConfig) -> str:
    """Of everything that two points must share to stand in one ladder, but what differs between them on purpose.

    corpus, tokenizer: fingerprints. Params, rate and seed are left out of the settings: they are in a point's own id.
    """
    plain = settings.model_dump(mode="json", exclude={"params", "learning_rate", "seed", "vocab_size"})
    return _hash(corpus, tokenizer, _code(), plain, warmup_steps(settings))[:16]


@functools.cache
def _code() -> str:
    """Of the code that decides a run's loss: model, training, batches, and torch."""
    source = [Path(m.__file__ or "").read_bytes() for m in (model, train, tokens)]
    return hashlib.sha256(b"\0".join([*source, train.versions()["torch"].encode()])).hexdigest()


def noise_of(points: Iterable[Point]) -> float | None:
    """Relative standard deviation of a loss over seeds, pooled over the runs that differ in nothing else; None where none do."""
    groups: dict[tuple, dict[int, float]] = collections.defaultdict(dict)
    for p in points:
        if p.known:
            groups[p.params, p.tokens, p.learning_rate, p.share][p.seed] = p.bits_per_byte
    squares = freedom = 0.0
    for group in groups.values():
        losses = np.array(list(group.values()))
        squares += float(((losses / losses.mean() - 1) ** 2).sum())
        freedom += len(losses) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _hash(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _Cut(Exception):
    """There is no time left for the run in hand."""


class _Stopped(Exception):
    """Another trunk, trained beside this one, ended the climb."""


def climb(
    plan: Design,
    corpus: Corpus,
    tokenizer: Tokenizer,
    tokenizer_folder: Path,
    folder: Path,
    *,
    medium: str,
    settings: TrainConfig,
    book: Rows,
    run_id: str | None,
    left: Callable[[], float] | None = None,
    check: Callable[[], None] | None = None,
    workers: int | None = None,
    abreast: int = 1,
    progress: Progress | None = None,
    settle: Callable[[], None] | None = None,
    meter: Meter | None = None,
    clock: Callable[[], float] = time.monotonic,
    trainer: Callable[..., Outcome] = train.train,
) -> Ladder:
    """Run what the ledger lacks of `plan`, in run folders below `folder`; every finished run is a ledger row at once.

    settings: [train]. left: seconds that the ladder may still take; a run that would not fit is not begun, and one that is running when
    nothing is left is cut. check: called before each run is begun; what it raises ends the climb. settle: called as time passes, to book
    what was spent. abreast: trunks that are trained at a time, the workers shared among them: for machines with more cores than parts.
    Whatever ends it (an error, Ctrl-C, a kill), calling it again goes on with what is there. `trainer` is `train.train` but in tests.
    """
    climber = _Climber(plan, corpus, tokenizer, tokenizer_folder, folder, medium, settings, book, run_id, clock)
    climber.left, climber.check, climber.settle, climber.trainer = left or (lambda: math.inf), check, settle, trainer
    climber.progress, climber.abreast = progress or (lambda what, share: None), max(1, abreast)
    climber.workers = max(1, (workers or hardware.describe().cores) // climber.abreast)
    before, began = meter.read() if meter else None, clock()
    climber.climb()
    spent = meter.read() - before if meter and before else None
    seconds = spent.seconds if spent else max(0.0, clock() - began)
    return climber.ladder(seconds, spent.usd if spent else math.nan)


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """Where cooled runs leave a trunk."""

    folder: Path | None  # of the trunk's run; None: from the start
    raw: float | None  # bits per byte there
    pace: float  # seconds a step of the trunk took


class _Climber:
    """One climb."""

    left: Callable[[], float]
    check: Callable[[], None] | None
    settle: Callable[[], None] | None
    trainer: Callable[..., Outcome]
    progress: Progress
    abreast: int
    workers: int

    def __init__(
        self,
        plan: Design,
        corpus: Corpus,
        tokenizer: Tokenizer,
        tokenizer_folder: Path,
        folder: Path,
        medium: str,
        settings: TrainConfig,
        book: Rows,
        run_id: str | None,
        clock: Callable[[], float],
    ):
        self.plan, self.costs, self.folder, self.clock = plan, plan.costs, folder, clock
        self.corpus, self.tokenizer, self.tokenizer_folder = corpus, tokenizer, tokenizer_folder
        self.medium, self.settings, self.book, self.run_id = medium, settings, book, run_id
        self.versions = train.versions()
        self.key = point_key(corpus.fingerprint, tokenizer.fingerprint, settings)
        self.rate = settings.learning_rate
        self.slowness: collections.deque[float] = collections.deque(maxlen=3)  # seconds taken over seconds planned, of the last runs
        self.notes: list[str] = []
        self.stop = False
        self.planned_done = 0.0
        self.lock = threading.Lock()
        self.starting = threading.Lock()  # a model's first weights come from torch's one generator: one run begins at a time
        self.known: dict[str, Point] = {}  # by id
        self._recall()
        self.checked: dict[Path, bool] = {}  # checkpoints of trunks: whether they are whole
        self.before, self.reused = frozenset(self.known), set[str]()
        self.settled = clock()

    # What is known

    def _recall(self) -> None:
        """All points of this key that came to an end, from the ledger; what a kill left behind of them is removed."""
        for row in self.book.points(self.key):
            point = _point(row)
            if point.known or point.status == "diverged":
                self.known[point.id] = point
                shutil.rmtree(self._branch_folder(point.id), ignore_errors=True)

    def _id(self, rung: Rung, steps: int) -> str:
        return _hash(self.key, rung.shape.model_dump(), rung.rows, steps, rung.seed, rung.learning_rate, rung.share)[:16]

    def _trunk_id(self, rung: Rung) -> str:
        """Of what decides a trunk's bits: it can be gone on from only where these are the same."""
        facts = (rung.shape.model_dump(), rung.rows, rung.seed, rung.learning_rate, rung.share, self.costs.probe.precision)
        return _hash(self.key, *facts, self.versions)[:12]

    def _branch_folder(self, id: str) -> Path:
        return self.folder / f"branch-{id}"

    def _kept(self, rung: Rung) -> dict[int, Path]:
        """Steps at which a trunk like this rung's can be gone on from, and the run folder of each."""
        found: dict[int, Path] = {}
        for folder in sorted(self.folder.glob(f"trunk-{self._trunk_id(rung)}-*")):
            plan = _plan(folder)
            found |= {s: folder for s in (plan.keep if plan else ()) if self._whole(folder / "checkpoints" / train.name_of(s))}
        return found

    def _whole(self, place: Path) -> bool:
        """Whether a checkpoint is there and what was written; read once."""
        if place not in self.checked and place.is_dir():
            try:
                checkpoint.load(place)
                self.checked[place] = True
            except CheckpointError as e:
                self._say(f"{place.name} of {place.parent.parent.name} is {e.what}: that trunk is trained again")
                self.checked[place] = False
        return self.checked.get(place, False)

    # The order of things

    def climb(self) -> None:
        """The search for the rate and the seeds first; then the sizes, smallest first, at the rate that was found."""
        self.folder.mkdir(parents=True, exist_ok=True)
        first = [r for r in self.plan.rungs if r.purpose in ("rate", "seed")]
        with train.single_threaded():
            self._each(first)
            self.rate = self._find_rate()
            self._each([dataclasses.replace(r, learning_rate=self.rate) for r in self.plan.rungs if r not in first])
        self.progress("ladder", 1.0)

    def _each(self, rungs: Sequence[Rung]) -> None:
        """One rung after the other, or `abreast` trunks at a time; rungs of one trunk always in their order."""
        if self.abreast == 1:
            for rung in rungs:
                self._rung(rung)
            return
        trunks: dict[str, list[Rung]] = collections.defaultdict(list)
        for rung in rungs:
            trunks[self._trunk_id(rung)].append(rung)
        with ThreadPoolExecutor(self.abreast, "cupola-rung") as pool:
            try:
                ends = list(pool.map(self._trunk_of, trunks.values()))
            except BaseException:  # Ctrl-C
                self.stop = True
                raise
        for error in ends:
            if error:
                raise error

    def _trunk_of(self, rungs: Sequence[Rung]) -> Exception | None:
        """The rungs of one trunk; the error that ended them, and with them all others."""
        try:
            for rung in rungs:
                self._rung(rung)
        except _Stopped:
            pass
        except Exception as e:
            self.stop = True
            return e
        return None

    def _find_rate(self) -> float:
        """The rate at which the rungs are run: another than the configured only where it wins by far more than the noise."""
        base, found = self.settings.learning_rate, {}
        for rung in self.plan.rungs:
            if rung.purpose == "rate" and (point := self.known.get(self._id(rung, rung.lengths[0]))):
                found[rung.learning_rate] = point.bits_per_byte if point.known else math.inf
        best = min(found, key=lambda rate: found[rate], default=base)
        if best == base or base not in found or math.isinf(found[best]):
            return base
        noise = max(LEAST_NOISE, noise_of(self.known.values()) or NOISE)
        if math.isfinite(found[base]) and found[base] - found[best] <= CERTAIN * noise * found[base]:
            return base
        by = f"{units.percent(1 - found[best] / found[base])} better" if math.isfinite(found[base]) else "the other diverged"
        self._say(f"learning rate {best:g} in place of {base:g}: {by} at the smallest size")
        return best

    # One rung

    def _rung(self, rung: Rung) -> None:
        ids = {n: self._id(rung, n) for n in rung.lengths}
        self.reused |= self.before & set(ids.values())
        wanted = self._affordable(rung, [n for n, id in ids.items() if id not in self.known])
        if not wanted:
            return
        try:
            leaves, diverged = self._trunk(rung, wanted)
        except _Cut:
            self._keep(rung, wanted[0], "late", math.nan, self.costs.straight(rung, wanted[0]))
            return
        for steps in wanted:
            leaf = leaves.get(self.costs.leaves(steps))
            if leaf and self._affordable(rung, [steps], begun=True):
                self._branch(rung, steps, leaf)
            elif not leaf and diverged:
                self._keep(rung, steps, "diverged", math.nan, 0.0)

    def _affordable(self, rung: Rung, lengths: list[int], *, begun: bool = False) -> list[int]:
        """Of these lengths the shortest ones for which there is time, at the pace of the last runs."""
        lengths, kept = sorted(lengths), self._kept(rung)
        while lengths:
            begin, leaves = going_on(kept, [self.costs.leaves(n) for n in lengths])
            need = sum(self.costs.branch(rung, n) for n in lengths) + (0.0 if begun else self.costs.trunk(rung, begin, leaves))
            need *= float(np.mean(self.slowness)) if self.slowness else 1.0
            left = self.left()
            if need <= left:
                return lengths
            gone = lengths.pop()
            self._say(
                f"{units.count(rung.params)} parameters for {gone:,} steps ({rung.purpose}) would take {units.seconds(need)}, "
                f"and {units.seconds(max(0.0, left))} are left: not run"
            )
        return []

    def _trunk(self, rung: Rung, lengths: Sequence[int]) -> tuple[dict[int, _Leaf], bool]:
        """Train the rung's trunk as far as these lengths need it: the places that branches can leave it at, by step; whether it diverged.

        Where it did, the places before that are there all the same. Raises _Cut.
        """
        wanted = [self.costs.leaves(n) for n in lengths]
        kept, diverged = self._kept(rung), False
        begin, leaves = going_on(kept, wanted)
        if leaves:
            folder = self._unfinished(rung, leaves) or self.folder / f"trunk-{self._trunk_id(rung)}-{begin:06d}-{_hash(leaves)[:6]}"
            if _outcome(folder):  # finished once, and its checkpoints are damaged
                shutil.rmtree(folder)
            start = Trunk(folder=os.path.relpath(kept[begin], folder), step=begin) if begin else None
            changes = {"max_steps": leaves[-1], "cool": False, "keep": tuple(leaves), "trunk": start}
            diverged = self._buy(rung, folder, self.costs.trunk(rung, begin, leaves), **changes) is None
            self.checked = {place: whole for place, whole in self.checked.items() if whole}
            kept = self._kept(rung)
        there = {step: _leaf(kept[step], step) for step in wanted if step in kept}
        return there | {step: _Leaf(None, None, 0.0) for step in wanted if step == 0}, diverged

    def _unfinished(self, rung: Rung, leaves: Sequence[int]) -> Path | None:
        """A run of this trunk that was killed on its way to the same places."""
        for folder in sorted(self.folder.glob(f"trunk-{self._trunk_id(rung)}-*")):
            plan = _plan(folder)
            if plan and set(leaves) <= set(plan.keep) and not _outcome(folder):
                return folder
        return None

    def _branch(self, rung: Rung, steps: int, leaf: _Leaf) -> None:
        """Cool one run to its end and keep what came of it."""
        id, leaves = self._id(rung, steps), self.costs.leaves(steps)
        folder = self._branch_folder(id)
        start = Trunk(folder=os.path.relpath(leaf.folder, folder), step=leaves) if leaf.folder else None
        planned = self.costs.branch(rung, steps)
        try:
            outcome = self._buy(rung, folder, planned, max_steps=steps, decay_from=leaves, trunk=start)
        except _Cut:
            self._keep(rung, steps, "late", math.nan, self.costs.straight(rung, steps), raw=leaf.raw)
            return
        seconds = max(0.0, train.spent(folder) or (outcome.seconds if outcome else 0.0)) + leaf.pace * leaves
        bits = outcome.looks[-1][1] if outcome else math.nan  # of the last weights, cooled; `bits_per_byte` may be an earlier look's
        if not math.isfinite(bits):
            self._keep(rung, steps, "diverged", math.nan, seconds, raw=leaf.raw)
        else:
            late = seconds > LATE * self.costs.straight(rung, steps)
            self._keep(rung, steps, "late" if late else "done", bits, seconds, raw=leaf.raw, passes=outcome.passes if outcome else None)
        shutil.rmtree(folder, ignore_errors=True)

    def _keep(
        self,
        rung: Rung,
        steps: int,
        status: Status,
        bits: float,
        seconds: float,
        *,
        raw: float | None = None,
        passes: float | None = None,
    ) -> None:
        """One row in the ledger. A run that was cut may be gone on with later, and then has a second row."""
        id, read = self._id(rung, steps), steps * rung.rows * self.settings.length
        point = Point(
            id=id,
            params=rung.params,
            tokens=read,
            unique_tokens=read / max(1.0, passes) if passes else math.nan,
            bits_per_byte=bits,
            flops=float(read * flops_per_token(rung.shape, self.settings.length)),
            seconds=seconds,
            seed=rung.seed,
            learning_rate=rung.learning_rate,
            share=rung.share,
            status=status,
            purpose=rung.purpose,
            raw=raw,
            steps=steps,
            key=self.key,
        )
        facts = {name: value for name, value in point.plain().items() if name not in ("id", "key")}
        facts |= {"point": id, "precision": self.costs.probe.precision, "width": rung.shape.hidden_size}
        cut = status == "late" and not point.known
        self.book.point(self.run_id, self.key, facts, id=f"point-{id}-cut" if cut else f"point-{id}")
        if cut:
            self._say(f"{units.count(rung.params)} parameters for {steps:,} steps was cut: no time was left")
            return
        if status == "diverged":
            self._say(f"{units.count(rung.params)} parameters for {steps:,} steps at rate {rung.learning_rate:g} diverged: kept as such")
        with self.lock:
            self.known[id] = point

    # One run

    def _buy(self, rung: Rung, folder: Path, planned: float, **changes: Any) -> Outcome | None:
        """Train one run folder to its end, from wherever it is; None if its loss became infinite or not a number. Raises _Cut."""
        if known := _outcome(folder):
            return known
        if self.check:
            self.check()
        if not _plan(folder):
            train.write_plan(folder, self._run_plan(rung, folder, **changes))
        before, name = train.spent(folder), f"ladder: {units.count(rung.params)} parameters"
        held = threading.Event()

        def begun() -> None:
            if held.is_set():
                held.clear()
                self.starting.release()

        def tick(t: Tick) -> None:
            begun()
            if self.settle and not 0 <= self.clock() - self.settled < SETTLE_SECONDS:  # also after a clock that jumped back
                self.settled = self.clock()
                self.settle()
            self.progress(name, min(1.0, (self.planned_done + planned * t.step / t.max_steps) / max(1e-9, self.plan.seconds)))
            if self.stop:
                raise _Stopped
            if self.left() <= 0 and t.step < t.max_steps:
                raise _Cut

        try:
            self.starting.acquire()
            held.set()
            outcome = self.trainer(folder, progress=tick, workers=self.workers, clock=self.clock)
        except DataError as e:
            if not e.what.startswith("the loss became"):
                raise
            outcome = None
        finally:
            begun()
            with self.lock:
                self.planned_done += planned
                if planned > 0:
                    self.slowness.append(max(0.1, (train.spent(folder) - before + START_SECONDS) / planned))
        return outcome

    def _run_plan(self, rung: Rung, folder: Path, **changes: Any) -> RunPlan:
        settings = self.settings.model_copy(update={"learning_rate": rung.learning_rate, "seed": rung.seed, "params": None})
        return RunPlan(
            model=rung.shape,
            train=settings,
            medium=self.medium,
            corpus=os.path.relpath(self.corpus.folder, folder),
            tokenizer=os.path.relpath(self.tokenizer_folder, folder),
            rows=rung.rows,
            eval_every=changes["max_steps"] + 1,  # looks cost: only where runs leave a trunk, and at their ends
            warmup_steps=warmup_steps(self.settings),
            share=rung.share,
            deliver=False,
            precision=self.costs.probe.precision,
            data={"corpus": self.corpus.fingerprint, "tokenizer": self.tokenizer.fingerprint},
            versions=self.versions,
            **changes,
        )

    def _say(self, note: str) -> None:
        with self.lock:
            if note not in self.notes:
                self.notes.append(note)

    # The end

    def ladder(self, seconds: float, usd: float) -> Ladder:
        """Everything that is known for this key, also from ladders of other budgets."""
        rows = {row["id"]: _point(row) for row in self.book.points(self.key)}
        ended = {p.id for p in rows.values() if p.known or p.status == "diverged"}
        points = [self._purposed(p) for p in rows.values() if p.id not in ended or p.known or p.status == "diverged"]
        found = noise_of(points)
        if found is None:
            self.notes.append(f"the noise over seeds was not measured: taken to be {units.percent(NOISE)}")
        return Ladder(
            points=sorted(points, key=lambda p: (p.params, p.tokens, p.share, p.seed, p.learning_rate)),
            learning_rate=self.rate,
            noise=NOISE if found is None else found,
            seconds=seconds,
            usd=usd,
            reused=len(self.reused),
            trunks=self._trunks(),
            warmup_steps=warmup_steps(self.settings),
            notes=list(self.notes),
        )

    def _purposed(self, point: Point) -> Point:
        """What a point serves for now: a search's winner is a rung, a rung at a rate that lost is not."""
        purpose: Purpose = "rung" if point.share == 1 else "part"
        if point.seed != self.settings.seed:
            purpose = "seed"
        elif point.learning_rate != self.rate:
            purpose = "rate"
        return dataclasses.replace(point, purpose=purpose)

    def _trunks(self) -> dict[int, tuple[Path, int]]:
        found = {}
        for rung in self.plan.rungs:
            if rung.purpose == "rung" and (kept := self._kept(dataclasses.replace(rung, learning_rate=self.rate))):
                last = max(kept)
                found[rung.params] = kept[last], last
        return found


def _plan(folder: Path) -> RunPlan | None:
    """Of a run folder; None where there is none yet, or a kill cut it short."""
    try:
        return train.read_plan(folder)
    except CheckpointError:
        return None


def _outcome(folder: Path) -> Outcome | None:
    """Of a finished run; None where it is not finished, or a kill cut its last file short."""
    try:
        return Outcome(**json.loads((folder / "outcome.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _leaf(folder: Path, step: int) -> _Leaf:
    """What a trunk's run says of one of its places."""
    lines = train.metrics(folder)
    looks = {line["step"]: line["bits_per_byte"] for line in lines if line["bits_per_byte"] is not None}
    plan = train.read_plan(folder)
    done = max((line["step"] for line in lines), default=0) - (plan.trunk.step if plan.trunk else 0)
    return _Leaf(folder, looks.get(step), max(0.0, train.spent(folder)) / done if done > 0 else 0.0)


def _point(row: dict[str, Any]) -> Point:
    """A Point from its ledger row."""
    names = {f.name for f in dataclasses.fields(Point)} - {"id"}
    facts = {name: row[name] for name in names if name in row}
    for name in ("bits_per_byte", "unique_tokens"):
        facts[name] = math.nan if facts[name] is None else facts[name]
    return Point(id=row["point"], **facts)


def _jsonable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
