"""Budget + measured speed -> what to train, how long it takes and what it costs.

This plan knows the machine's speed, measured on the spot, and the dial; it does not forecast quality, and says so.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from cupola import hardware, train, units
from cupola.corpus import Corpus
from cupola.errors import OverBudget
from cupola.meter import Meter
from cupola.model import ModelConfig, batch_tokens, count_parameters, dial, flops_per_token
from cupola.project import ModelTable
from cupola.tokens import Stream, Tokenizer
from cupola.train import RunPlan, State, Workers

Progress = Callable[[str, float | None], None]

TOKENS_PER_PARAMETER = 3.5  # at the plan's size; fewer than where data is plenty, because more tokens are more passes (LOG.md, 2026-11-25)
MOST_PASSES = 40  # over the corpus; the watched documents stop a run long before, where it helps to stop
PARAMETERS_PER_TOKEN = 4  # of the corpus, at most: more than that is learnt by heart in the first minute
SMALLEST, LARGEST = 30_000, 200_000_000  # parameters
LEAST_STEPS = 50
LOOKS = 25  # at the watched documents, over a run
SLACK = 0.05  # the speed of the next minutes against that of the last seconds: half the 80% interval (LOG.md, 2026-11-25)


@dataclasses.dataclass(frozen=True)
class Speed:
    """Sustained training speed of one shape on this machine, right now."""

    tokens_per_second: float
    flops: float  # model FLOPs a second
    precision: str
    spread: float  # (max - min) / median over the timed steps: above 0.2 the machine is busy


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a budget buys. seconds, joules, usd are of the training alone; p10 and p90 bound the seconds."""

    run: RunPlan
    params: int
    tokens: int
    passes: float
    seconds: float
    p10: float
    p90: float
    joules: float
    usd: float
    joules_by: str
    joules_range: float
    speed: Speed
    notes: list[str]

    def line(self) -> str:
        """About: 0.94 M parameters, 11 M tokens (8.2 passes), 4 min 10 s, $0.004, 0.003 kWh (tdp_share, ±50%)"""
        energy = f"{units.kwh(self.joules)} ({self.joules_by}, ±{units.percent(self.joules_range)})"
        passes = f"{self.passes:.1f} passes over the corpus"
        work = f"{units.count(self.params)} parameters, {units.count(self.tokens)} tokens ({passes})"
        return f"{work}, {units.seconds(self.seconds)}, {units.usd(self.usd)}, {energy}"

    def plain(self) -> dict:
        """As JSON has it."""
        keep = ("params", "tokens", "passes", "seconds", "p10", "p90", "joules", "usd", "joules_by", "joules_range", "notes")
        return {key: getattr(self, key) for key in keep} | {"speed": dataclasses.asdict(self.speed), "quality": None}


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


def _time(config: ModelConfig, length: int, precision: Literal["float32", "bfloat16"], seconds: float, team: Workers) -> Speed:
    plan = trial(config, length, precision)
    rows, state = plan.rows, State(plan)
    batch = np.random.default_rng(0).integers(0, config.vocab_size, (rows, length + 1))
    state.step(batch, 0.1, team)
    state.step(batch, 0.1, team)
    times, end = [], time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < end:
        began = time.monotonic()
        state.step(batch, 0.1, team)
        times.append(time.monotonic() - began)
    pace = float(np.mean(times))
    rate = rows * length / pace
    return Speed(rate, rate * flops_per_token(config, length), precision, (max(times) - min(times)) / float(np.median(times)))


def trial(config: ModelConfig, length: int, precision: Literal["float32", "bfloat16"]) -> RunPlan:
    """A plan of single steps, to time a shape without a corpus."""
    return RunPlan(
        model=config,
        train=train.TrainConfig(length=length),
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


def choose(
    table: ModelTable,
    corpus: Corpus,
    tokenizer: Tokenizer,
    tokenizer_folder: Path,
    run: Path,
    stream: Stream,
    seconds: float,
    meter: Meter,
    *,
    least: float = 4.0,
    progress: Progress | None = None,
) -> Plan:
    """The run to train in `seconds` of this machine's time, into the folder `run`.

    least: seconds of training that are worth starting. Raises OverBudget naming the least that works when `seconds` are fewer.
    """
    say = progress or (lambda what, share: None)
    config, length = table.train, table.train.length
    if seconds < least:
        raise OverBudget(
            f"{units.seconds(max(0, seconds))} are left for training, too few for anything",
            "[budget]",
            f"give {units.seconds(least - seconds)} more, or a smaller corpus",
        )
    say("measuring this machine", None)
    guess = dial(config.params or 500_000, tokenizer.vocab_size, length)
    speed = measure(guess, length)
    pass_tokens = stream.pass_tokens
    if config.params is None:
        limit = min(LARGEST, max(SMALLEST, PARAMETERS_PER_TOKEN * pass_tokens))
        params = _size(speed.flops * seconds, limit, tokenizer.vocab_size, length)
        shape = dial(params, tokenizer.vocab_size, length)
        if shape != guess:
            speed = measure(shape, length)
    else:
        shape = guess
    say("measuring this machine", 1.0)
    rows = rows_a_step(shape, length, config.batch_tokens)
    overhead = 1.04  # looks at the watched documents, checkpoints, reading rows: measured with the tunes (LOG.md)
    steps = int(seconds * speed.tokens_per_second / (rows * length) / overhead)
    most = int(MOST_PASSES * pass_tokens / (rows * length))
    steps = max(LEAST_STEPS, min(steps, max(most, LEAST_STEPS)))
    tokens, took = steps * rows * length, steps * rows * length / speed.tokens_per_second * overhead
    if took > 1.2 * seconds:
        raise OverBudget(
            f"{LEAST_STEPS} steps of this model take {units.seconds(took)}, and {units.seconds(seconds)} are left",
            "[budget]",
            f"give {units.seconds(took - seconds)} more, or set a smaller [train] params",
        )
    plan = RunPlan(
        model=shape,
        train=config,
        medium=table.medium,
        corpus=os.path.relpath(corpus.folder, run),
        tokenizer=os.path.relpath(tokenizer_folder, run),
        rows=rows,
        max_steps=steps,
        eval_every=max(1, steps // LOOKS),
        precision=speed.precision,
        seconds=took,
        tokens_per_second=speed.tokens_per_second,
        data={"corpus": corpus.fingerprint, "tokenizer": tokenizer.fingerprint},
        versions=train.versions(),
    )
    cost = meter.expect(took)
    notes = ["quality is not forecast: this plan rests on the measured speed and the dial"]
    if speed.spread > 0.5:
        notes.append("this machine is busy: the speed moved by half while it was measured")
    if took < 0.8 * seconds:
        notes.append(f"{MOST_PASSES} passes over this corpus take {units.seconds(took)}; more would be learnt by heart")
    return Plan(
        run=plan,
        params=count_parameters(shape),
        tokens=tokens,
        passes=tokens / pass_tokens,
        seconds=took,
        p10=took * (1 - SLACK),
        p90=took * (1 + SLACK),
        joules=cost.joules,
        usd=cost.usd,
        joules_by=meter.joules_by,
        joules_range=meter.joules_range,
        speed=speed,
        notes=notes,
    )


def _size(flops: float, limit: float, vocab_size: int, length: int) -> float:
    """Parameters at which this much compute gives TOKENS_PER_PARAMETER; never over `limit`."""
    low, high = math.log(SMALLEST), math.log(LARGEST)
    for _ in range(40):
        middle = (low + high) / 2
        config = dial(math.exp(middle), vocab_size, length)
        tokens = flops / flops_per_token(config, length)
        low, high = (middle, high) if tokens > TOKENS_PER_PARAMETER * count_parameters(config) else (low, middle)
    return min(math.exp(low), limit)
