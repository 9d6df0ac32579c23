"""Law + budget + price -> what to train, what it will cost, how good it will be, and what ten times more would buy.

The plan minimises expected held-out loss over parameters N and tokens D under the tightest gate of the budget. Speed comes from the probe,
the loss from the law that was fitted to this corpus's ladder. Where the budget has no room for a ladder there is no law: the dial then
chooses, and the plan says that quality is not forecast.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cupola import ladder as ladders
from cupola import probe as probes
from cupola import rungs, train, units
from cupola.bend import BentLaw
from cupola.corpus import Corpus
from cupola.errors import ConfigError, LadderTooShort, OverBudget
from cupola.forecast import Interval, Remembered, Shift, bits, expect, fit
from cupola.ladder import Ladder
from cupola.ledger import Book
from cupola.meter import Meter, Reading
from cupola.model import ModelConfig, count_parameters, dial, flops_per_token
from cupola.probe import Probe, look_tokens, rows_a_step
from cupola.project import ModelTable
from cupola.rungs import MOST_PASSES, Design
from cupola.tokens import Stream, Tokenizer
from cupola.train import RunPlan

Progress = Callable[[str, float | None], None]

PROBE_SECONDS = 6.0
LEAST_SURVEY = 8.0  # seconds under which no ladder fits on any machine
QUICK_SIZE = 300_000  # parameters that are timed where there is no ladder
GRACE = 2.0  # seconds over its share that a ladder may take before its last runs are not begun
TOKENS_PER_PARAMETER = 3.5  # without a law; fewer than where data is plenty, because more tokens are more passes (LOG.md, 2026-11-25)
PARAMETERS_PER_TOKEN = 4  # of the corpus, at most: more than that is learnt by heart in the first minute
SMALLEST, LARGEST = 30_000, 200_000_000  # parameters
BEYOND = 2.5  # a size may be that many times the ladder's largest or smallest
BYTES_PER_PARAMETER = 20  # weights, gradients of two parts, momentum, and what lies around
LEAST_STEPS = 50
LOOKS = 25  # at the watched documents, over a run
OVERHEAD = 1.1  # looks, checkpoints, reading rows, as a factor of the steps' time (LOG.md, 2026-11-25)
FILLED, SLACK = 0.98, 0.04  # of its seconds a run takes: the clock ends it, a little early; and half the 80% interval (LOG.md, 2026-11-25)
FREE_SLACK = 0.12  # the same for a run that does not fill the budget, whose end no clock decides
BUSY = 0.78  # of the cores, while it trains (LOG.md, 2026-11-25)
ENOUGH = 1.002  # fewer tokens are taken where they give the same loss within this factor
AS_GOOD = 1.01  # sizes within this factor of the best can't be told apart: a law's ranking of sizes is no better (LOG.md, 2026-11-25)
SHIFT_DOCUMENTS = 400  # held-out documents that a rung is scored on: enough, and seconds


class Law(Protocol):
    """What choosing needs of a BentLaw."""

    def loss(self, params: Any, tokens: Any, unique_tokens: Any = None) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Start:
    """A ladder's trunk that a run of the same shape goes on from: its tokens are paid already."""

    folder: Path
    step: int
    warmup_steps: int


@dataclasses.dataclass(frozen=True)
class Choice:
    """One way to spend the seconds."""

    shape: ModelConfig
    params: int
    tokens: int  # all that the model will have read, the trunk's among them
    seconds: float  # still to pay
    loss: float  # expected, bits per byte on the watched documents; nan without a law
    start: Start | None = None
    band: tuple[int, int] | None = None  # parameters that are as good, as far as can be told


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What more would buy, in held-out bits per byte; an Interval of nan ends where only the middle can be said."""

    compute: Interval  # ten times
    data: Interval  # ten times
    both: Interval
    twice_data: float  # middle
    advice: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a budget buys. seconds, joules, usd are of the training that is still to come, each an 80% interval."""

    run: RunPlan
    params: int
    tokens: int
    passes: float
    quality: Interval | None  # held-out bits per byte; None: not forecast, and notes say why
    seconds: Interval
    joules: Interval
    usd: Interval
    joules_by: str
    joules_range: float
    probe: Probe
    rates: Reading  # of one hour of work here
    price: str
    ladder: Ladder | None
    law: BentLaw | None
    spent: Reading  # on probe and ladder
    band: tuple[int, int] | None
    outlook: Outlook | None
    baseline: float | None  # n-gram, bits per byte
    shift: Shift | None
    notes: list[str]

    def lines(self) -> list[tuple[str, str]]:
        """(label, text) of each line that people read."""
        out = [("measured", self._measured())]
        if self.ladder:
            out.append(("ladder", self._ladder()))
        passes = f"{units.count(self.params)} parameters, {units.count(self.tokens)} tokens ({self.passes:.1f} passes over the corpus)"
        out.append(("plan", passes))
        base = f"   (n-gram {self.baseline:.2f})" if self.baseline else ""
        out.append(("", f"quality  {self.quality.show(bits) + base if self.quality else self.why}"))
        out.append(("", f"time     {self.seconds.show(units.seconds)} of training"))
        energy = f"{units.kwh(self.joules.p50)} ({self.joules_by}, ±{units.percent(self.joules_range)})"
        out.append(("", f"money    {units.usd(self.usd.p50)}   energy {energy}"))
        if self.band and self.band[0] < self.band[1]:
            low, high = map(units.count, self.band)
            out.append(("", f"anything from {low} to {high} parameters is as good, as far as can be told"))
        if self.outlook:
            out += [("next", self._next(self.outlook)), ("advice", self.outlook.advice)]
        return out

    @property
    def why(self) -> str:
        """Why quality is not forecast."""
        return self.notes[0].removeprefix("quality is ") if self.notes and not self.quality else ""

    def _measured(self) -> str:
        speed = f"{self.probe.flops(self.params) / 1e9:.0f} GFLOP/s {self.run.precision} while training"
        watts = f"{self.rates.joules / self.rates.seconds:.0f} W ({self.joules_by}, ±{units.percent(self.joules_range)})"
        return f"{speed} · {watts} · {units.usd(self.rates.usd)}/h ({self.price})"

    def _ladder(self) -> str:
        made = self.ladder
        assert made
        points = f"{len(made.done)} points, {len({p.params for p in made.done})} sizes"
        paid = f"{units.seconds(self.spent.seconds)}, {units.usd(self.spent.usd)}" + (
            f", {made.reused} known before" if made.reused else ""
        )
        fitted = f" · law a = {self.law.a:.2f}" if self.law else ""
        return f"{points}, {paid}{fitted} · seed noise {units.percent(made.noise)}"

    def _next(self, ahead: Outlook) -> str:
        named = (("10x compute", ahead.compute), ("10x data", ahead.data), ("both", ahead.both))
        return " · ".join(f"{what}: {_said(found)}" for what, found in named)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        made, fitted = self.ladder, self.law
        return {
            "params": self.params,
            "tokens": self.tokens,
            "passes": self.passes,
            "quality": self.quality and dataclasses.asdict(self.quality),
            "seconds": dataclasses.asdict(self.seconds),
            "joules": dataclasses.asdict(self.joules),
            "usd": dataclasses.asdict(self.usd),
            "joules_by": self.joules_by,
            "joules_range": self.joules_range,
            "band": self.band,
            "baseline": self.baseline,
            "precision": self.run.precision,
            "flops_per_second": self.probe.flops(self.params),
            "tokens_per_second": self.probe.tokens_per_second(self.params),
            "usd_per_hour": self.rates.usd,
            "ladder": made and {"points": [p.plain() for p in made.points], "noise": made.noise, "reused": made.reused},
            "law": fitted and fitted.plain(),
            "plan_seconds": self.spent.seconds,
            "plan_usd": self.spent.usd,
            "outlook": self.outlook and dataclasses.asdict(self.outlook),
            "notes": self.notes,
        }


def _said(found: Interval) -> str:
    return f"about {found.p50:.2f}" if math.isnan(found.p10) else f"{found.p50:.2f} ({found.p10:.2f}–{found.p90:.2f})"


# --- choosing: pure arithmetic --------------------------------------------------------------------------------------------------------


def shapes(low: float, high: float, vocab_size: int, length: int) -> list[ModelConfig]:
    """The dial's shapes from `low` to `high` parameters, about 1.15 times apart, smallest first."""
    steps = max(1, round(math.log(high / low) / math.log(1.15)))
    made = {dial(low * (high / low) ** (i / steps), vocab_size, length) for i in range(steps + 1)}
    return sorted(made, key=count_parameters)


def affordable(seconds: float, tokens_per_second: float, step: int, unique_tokens: float, paid: int = 0) -> int:
    """Tokens of whole steps of `step` that `seconds` buy, `paid` ones added: at most MOST_PASSES, or LEAST_STEPS where those are more."""
    most = max(MOST_PASSES * unique_tokens, LEAST_STEPS * step)
    return int(min(paid + seconds * tokens_per_second / OVERHEAD, most) // step) * step


def decide(
    law: Law,
    candidates: Iterable[ModelConfig],
    speed: Callable[[int], float],
    seconds: float,
    unique_tokens: float,
    length: int,
    *,
    batch_tokens: int | None = None,
    decay: float = 0.4,
    starts: dict[int, Start] | None = None,
) -> Choice:
    """The candidate with the least expected loss for `seconds`, with as few tokens as give that loss; and the sizes that are as good.

    speed: parameters -> tokens a second. unique_tokens: of one pass over the corpus. decay: share of a run's steps in
    which it cools. starts: parameters -> a trunk to go on from, where that is not later than the decay begins.
    Raises OverBudget where no candidate gets LEAST_STEPS steps.
    """
    found = []
    for shape in candidates:
        params = count_parameters(shape)
        step, start = rows_a_step(shape, length, batch_tokens) * length, (starts or {}).get(params)
        paid = start.step * step if start else 0
        tokens = affordable(seconds, speed(params), step, unique_tokens, paid)
        if paid > (1 - decay) * tokens:
            start, paid = None, 0
            tokens = affordable(seconds, speed(params), step, unique_tokens)
        if tokens < LEAST_STEPS * step:
            continue
        grid = np.unique((np.geomspace(LEAST_STEPS * step, tokens, 60) // step).astype(np.int64)) * step
        losses = np.minimum.accumulate(np.asarray(law.loss(float(params), grid.astype(float), unique_tokens)))
        enough = int(np.argmax(losses <= ENOUGH * losses[-1]))
        if paid > (1 - decay) * grid[enough]:
            enough = int(np.argmax(grid >= paid / (1 - decay)))
        took = (int(grid[enough]) - paid) / speed(params) * OVERHEAD
        found.append(Choice(shape, params, int(grid[enough]), took, float(losses[-1]), start))
    if not found:
        raise OverBudget(f"{units.seconds(seconds)} are too few for {LEAST_STEPS} steps of any size", "[budget]", "give it more time")
    best = min(found, key=lambda c: c.loss)
    as_good = [c.params for c in found if c.loss <= AS_GOOD * best.loss]
    return dataclasses.replace(best, band=(min(as_good), max(as_good)))


def by_dial(flops: float, seconds: float, unique_tokens: float, vocab_size: int, length: int) -> ModelConfig:
    """Without a law: the shape at which this much compute gives TOKENS_PER_PARAMETER, never far larger than the corpus."""
    limit = min(LARGEST, max(SMALLEST, PARAMETERS_PER_TOKEN * unique_tokens))
    low, high = math.log(SMALLEST), math.log(LARGEST)
    for _ in range(40):
        middle = (low + high) / 2
        config = dial(math.exp(middle), vocab_size, length)
        tokens = flops * seconds / flops_per_token(config, length)
        low, high = (middle, high) if tokens > TOKENS_PER_PARAMETER * count_parameters(config) else (low, middle)
    return dial(min(math.exp(low), limit), vocab_size, length)


# --- how good -------------------------------------------------------------------------------------------------------------------------


def look_ahead(law: BentLaw, chosen: Choice, best: Callable[[float, float], Choice], unique_tokens: float, shift: Shift) -> Outlook:
    """What ten times the compute, the data and both would buy. best(compute factor, data factor) -> the choice one would make then."""

    def at(compute: float, data: float) -> Interval:
        then = best(compute, data)
        flops = then.tokens * float(flops_per_token(then.shape, then.shape.max_position_embeddings))
        try:
            return expect(law, then.params, then.tokens, unique_tokens * data, flops, shift)
        except LadderTooShort:
            return Interval(math.nan, then.loss * shift.factor, math.nan)

    now, twice, sizes = chosen.loss, best(1, 2).loss, best(10, 1).loss
    return Outlook(at(10, 1), at(1, 10), at(10, 10), twice * shift.factor, _advice(now, twice, sizes, chosen.tokens / unique_tokens))


def _advice(now: float, twice_data: float, ten_compute: float, passes: float) -> str:
    more_data, more_compute = max(0.0, 1 - twice_data / now), max(0.0, 1 - ten_compute / now)
    gains = f"twice the data: {units.percent(more_data)} fewer bits, ten times the compute: {units.percent(more_compute)}"
    if max(more_data, more_compute) < 0.01:
        return f"this is about what this corpus and this kind of model can give ({gains})"
    if more_data >= more_compute:
        return f"this corpus is nearly used up at {passes:.1f} passes: collect more before renting a faster machine ({gains})"
    if more_data < 0.25 * more_compute:
        return f"more minutes pay: the corpus is not what holds it back ({gains})"
    return f"both more minutes and more files pay ({gains})"


# --- the plan -------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a plan is made for, and by what means."""

    table: ModelTable
    corpus: Corpus
    tokenizer: Tokenizer
    tokenizer_folder: Path
    stream: Stream
    run: Path  # the folder of the run that is planned
    rungs: Path  # the folder of the ladder's runs
    meter: Meter
    book: Book
    run_id: str
    left: Callable[[], float]  # seconds until the tightest gate closes, what comes after the training taken off
    ladder: float = 0.22  # share of what is left that probe and ladder may take
    baseline: float | None = None  # the n-gram's held-out bits per byte
    check: Callable[[], None] = lambda: None  # called before each purchase; raises OverBudget when a gate of the budget has closed
    settle: Callable[[], None] = lambda: None  # called as time passes: what was spent goes to the ledger
    clock: Callable[[], float] = time.monotonic
    progress: Progress = lambda what, share: None

    @property
    def length(self) -> int:
        return self.table.train.length


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was measured before choosing."""

    probe: Probe
    design: Design | None = None
    ladder: Ladder | None = None
    law: BentLaw | None = None
    shift: Shift | None = None
    why: str = ""  # there is no law


def make(scene: Scene, *, least: float = 4.0, look: Callable[[Scene, float], Survey] | None = None) -> Plan:
    """Measure, choose and foretell: the run to train in what is left of the budget.

    least: seconds of training that are worth starting. look: what measures, `survey` but in tests.
    Raises OverBudget naming the least that works when fewer are left.
    """
    seconds = scene.left()
    if seconds < least:
        raise OverBudget(
            f"{units.seconds(max(0, seconds))} are left for training, too few for anything",
            "[budget]",
            f"give {units.seconds(least - seconds)} more, or a smaller corpus",
        )
    before = scene.meter.read()
    seen = (look or survey)(scene, scene.ladder * seconds)
    spent = scene.meter.read() - before
    return _plan(scene, seen, scene.left(), spent)


def survey(scene: Scene, allowance: float, design_of: Callable[..., Design] = rungs.design) -> Survey:
    """Probe the machine and climb the ladder in `allowance` seconds; without a law where that is too little, and then it says why."""
    config, vocab, end = scene.table.train, scene.tokenizer.vocab_size, scene.clock() + allowance
    scene.progress("measuring this machine", None)
    probe = _probe(scene, allowance)
    scene.settle()
    if not scene.ladder:
        return Survey(probe, why="[budget] ladder is 0, so there are no small runs to foretell from")
    try:
        design = design_of(
            probe,
            end - scene.clock(),
            scene.stream.pass_tokens,
            scene.length,
            vocab,
            settings=config,
            largest=_likely(scene, probe, end - scene.clock()),
            watch_tokens=_watch_tokens(scene),
        )
        made = ladders.climb(
            design,
            scene.corpus,
            scene.tokenizer,
            scene.tokenizer_folder,
            scene.rungs,
            medium=scene.table.medium,
            settings=config,
            book=scene.book,
            run_id=scene.run_id,
            left=lambda: min(scene.left(), end + GRACE - scene.clock()),
            check=scene.check,
            settle=scene.settle,
            meter=scene.meter,
            progress=scene.progress,
            clock=scene.clock,
        )
    except OverBudget as e:
        return Survey(probe, why=f"{e.what}; {e.fix}")
    try:
        law = fit([p.plain() for p in made.done], [dataclasses.asdict(k) for k in made.looks], scene.stream.pass_tokens, made.noise)
    except LadderTooShort as e:
        return Survey(probe, design, made, why=f"{e.what}; {e.fix}")
    return Survey(probe, design, made, law, shift_of(scene, made))


def _likely(scene: Scene, probe: Probe, seconds: float) -> float:
    """Parameters of the largest rung: about what the dial would take for the whole budget, so that the final run may go on from it."""
    if scene.table.train.params:
        return scene.table.train.params
    guess = probe.flops(QUICK_SIZE)
    return count_parameters(by_dial(guess, scene.left() - seconds, scene.stream.pass_tokens, scene.tokenizer.vocab_size, scene.length))


def _probe(scene: Scene, allowance: float) -> Probe:
    """The machine's speed by size; where there is no time for a ladder, of one size, and then it is not kept."""
    vocab, quick = scene.tokenizer.vocab_size, allowance < LEAST_SURVEY
    shapes = probes.probe_shapes(vocab, scene.length, (scene.table.train.params or QUICK_SIZE,) if quick else probes.PROBED)
    seconds = 1.5 if quick else min(PROBE_SECONDS, allowance / 3)
    book = _Forgetful() if quick else scene.book
    return probes.probe(shapes, scene.length, scene.meter, book, scene.run_id, seconds=seconds, clock=scene.clock)


class _Forgetful:
    """A ledger that keeps nothing."""

    def probes(self, key: str) -> list[dict[str, Any]]:
        return []

    def probe(self, run: str | None, key: str, facts: dict[str, Any], id: str | None = None) -> None:
        pass


def _watch_tokens(scene: Scene) -> int:
    """What one look at the watched documents reads."""
    return look_tokens((len(scene.tokenizer.document(text)) for text in scene.corpus.watch.texts()), scene.length)


def shift_of(scene: Scene, made: Ladder) -> Shift:
    """Score one rung, the one of most compute that is still on disk, on the watched and on held-out documents.

    Nothing is chosen by the held-out score: it says how hard those documents are, which the forecast has to know.
    """
    folder, step = made.trunks[max(made.trunks)]
    network = train.weights_at(folder, step)
    held_out = scene.corpus.held_out
    some = [held_out.document(int(i)).text for i in np.unique(np.linspace(0, len(held_out) - 1, SHIFT_DOCUMENTS).astype(int))]
    scores = [train.score(network, scene.tokenizer, texts, scene.length) for texts in (list(scene.corpus.watch.texts()), some)]
    return Shift.between(*scores)


def _plan(scene: Scene, seen: Survey, seconds: float, spent: Reading) -> Plan:
    """Choose, and say what is to be expected of it."""
    unique, made, meter = scene.stream.pass_tokens, seen.ladder, scene.meter
    if seen.law:
        chosen, ahead = _by_law(scene, seen, seconds)
    else:
        chosen, ahead = _by_dial(scene, seen, seconds), None
    full = chosen.seconds > 0.9 * seconds  # else fewer tokens were chosen than there is time for: more would not help
    flops = chosen.tokens * float(flops_per_token(chosen.shape, scene.length))
    good, why = None, seen.why
    if seen.law and seen.shift:
        try:
            good = expect(seen.law, chosen.params, chosen.tokens, unique, flops, seen.shift)
        except LadderTooShort as e:
            why = f"{e.what}; a larger [budget] ladder reaches further"
    filled, slack = (FILLED, SLACK) if full else (1.0, FREE_SLACK)
    took = chosen.seconds * filled
    cost = meter.expect(took, BUSY * meter.machine.cores)
    return Plan(
        run=_run_plan(scene, seen, chosen, full),
        params=chosen.params,
        tokens=chosen.tokens,
        passes=chosen.tokens / unique,
        quality=good,
        seconds=_around(took, slack),
        joules=_around(cost.joules, meter.joules_range, slack),
        usd=_around(cost.usd, slack),
        joules_by=meter.joules_by,
        joules_range=meter.joules_range,
        probe=seen.probe,
        rates=meter.expect(3600.0, BUSY * meter.machine.cores),
        price=meter.price.id,
        ladder=made,
        law=seen.law,
        shift=seen.shift,
        spent=spent,
        band=chosen.band,
        outlook=ahead,
        baseline=scene.baseline,
        notes=_notes(why, seen, chosen, seconds),
    )


def _run_plan(scene: Scene, seen: Survey, chosen: Choice, full: bool) -> RunPlan:
    """The run that was chosen. full: an early machine may use what it has left for more steps."""
    config, tokenizer, made = scene.table.train, scene.tokenizer, seen.ladder
    rows = rows_a_step(chosen.shape, scene.length, config.batch_tokens)
    steps, start = chosen.tokens // (rows * scene.length), chosen.start
    return RunPlan(
        model=chosen.shape,
        train=config.model_copy(update={"learning_rate": made.learning_rate}) if made else config,
        medium=scene.table.medium,
        corpus=os.path.relpath(scene.corpus.folder, scene.run),
        tokenizer=os.path.relpath(scene.tokenizer_folder, scene.run),
        rows=rows,
        max_steps=steps,
        most_steps=None if full else steps,
        eval_every=max(1, steps // LOOKS),
        precision=seen.probe.precision,
        seconds=chosen.seconds,
        tokens_per_second=seen.probe.tokens_per_second(chosen.params),
        warmup_steps=start.warmup_steps if start else None,
        trunk=train.Trunk(folder=os.path.relpath(start.folder, scene.run), step=start.step) if start else None,
        data={"corpus": scene.corpus.fingerprint, "tokenizer": tokenizer.fingerprint},
        versions=train.versions(),
    )


def _around(middle: float, *ranges: float) -> Interval:
    width = math.hypot(*ranges)
    return Interval(middle * (1 - width), middle, middle * (1 + width))


def _notes(why: str, seen: Survey, chosen: Choice, seconds: float) -> list[str]:
    notes = [f"quality is not forecast: {why}"] if why else []
    notes += [*(seen.law.notes if seen.law else ()), *(seen.ladder.notes if seen.ladder else ()), *seen.probe.notes]
    if chosen.seconds < 0.8 * seconds:
        notes.append(f"{units.seconds(seconds - chosen.seconds)} of the budget stay unspent: more passes over this corpus would not help")
    return notes


def _by_law(scene: Scene, seen: Survey, seconds: float) -> tuple[Choice, Outlook]:
    config, unique, made = scene.table.train, scene.stream.pass_tokens, seen.ladder
    assert seen.law
    assert seen.shift
    assert seen.design
    assert made
    measured = [r.shape for r in seen.design.rungs if r.purpose == "rung"]
    starts = {params: Start(folder, step, made.warmup_steps) for params, (folder, step) in made.trunks.items()}
    sizes = [p.params for p in made.done]
    memory = scene.meter.machine.memory_bytes / 2 / BYTES_PER_PARAMETER
    low, high = max(SMALLEST, min(sizes) / BEYOND), min(LARGEST, max(sizes) * BEYOND, memory)
    vocab = scene.tokenizer.vocab_size
    every = [dial(config.params, vocab, scene.length)] if config.params else [*shapes(low, high, vocab, scene.length), *measured]
    law, shift = seen.law, seen.shift

    def best(compute: float, data: float, starts: dict[int, Start] | None = None) -> Choice:
        span = [*every, *(shapes(high, min(memory, LARGEST, 10 * high), vocab, scene.length) if compute > 1 and not config.params else ())]
        return decide(
            law,
            span,
            seen.probe.tokens_per_second,
            seconds * compute,
            unique * data,
            scene.length,
            batch_tokens=config.batch_tokens,
            decay=config.decay,
            starts=starts,
        )

    chosen = best(1, 1, starts)
    return chosen, look_ahead(law, chosen, best, unique, shift)


def _by_dial(scene: Scene, seen: Survey, seconds: float) -> Choice:
    config, vocab, unique = scene.table.train, scene.tokenizer.vocab_size, scene.stream.pass_tokens
    guess = dial(config.params or 500_000, vocab, scene.length)
    flops = seen.probe.flops(count_parameters(guess))
    shape = guess if config.params else by_dial(flops, seconds, unique, vocab, scene.length)
    params, step = count_parameters(shape), rows_a_step(shape, scene.length, config.batch_tokens) * scene.length
    speed = seen.probe.tokens_per_second(params)
    tokens = max(LEAST_STEPS * step, affordable(seconds, speed, step, unique))
    took = tokens / speed * OVERHEAD
    if took > 1.2 * seconds:
        raise OverBudget(
            f"{LEAST_STEPS} steps of this model take {units.seconds(took)}, and {units.seconds(seconds)} are left",
            "[budget]",
            f"give {units.seconds(took - seconds)} more, or set a smaller [train] params",
        )
    return Choice(shape, params, tokens, took, math.nan)


def remember(made: Plan, unique_tokens: float) -> Remembered:
    """What is kept of a plan beside its run. unique_tokens: of one pass over the corpus."""
    run = made.run
    return Remembered(
        made.quality,
        made.params,
        made.tokens,
        run.batch_tokens,
        unique_tokens,
        float(flops_per_token(run.model, run.train.length)),
        made.shift or Shift(1.0, 0.0),
        made.ladder.noise if made.ladder else 0.0,
        [p.plain() for p in made.ladder.done] if made.ladder else [],
        [dataclasses.asdict(look) for look in made.ladder.looks] if made.ladder else [],
        run.train.decay,
    )


# --- rented instead -------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Versus:
    """One's own model beside a rented one. Prices are of a million tokens of the rented model; its tokens hold BYTES_A_TOKEN bytes."""

    rented_usd: float  # a million tokens
    own_usd: float  # what making the same bytes costs here
    fixed_usd: float  # what the model itself costs
    volume: float | None  # millions of tokens that the user wants

    @property
    def break_even(self) -> float:
        """Millions of tokens from which the own model is the cheaper; infinity if never."""
        gain = self.rented_usd - self.own_usd
        return self.fixed_usd / gain if gain > 0 else math.inf

    def plain(self) -> dict[str, float | None]:
        """As JSON has it; break_even None if never."""
        return dataclasses.asdict(self) | {"break_even": None if math.isinf(self.break_even) else self.break_even}

    def line(self) -> str:
        if math.isinf(self.break_even):
            return f"a million tokens cost {units.usd(self.own_usd)} here and {units.usd(self.rented_usd)} rented: renting stays cheaper"
        said = f"cheaper than renting at {units.usd(self.rented_usd)} a million tokens from {units.count(self.break_even * 1e6)} tokens on"
        if self.volume is None:
            return said
        own, rented = self.fixed_usd + self.volume * self.own_usd, self.volume * self.rented_usd
        return f"{said}; {units.count(self.volume * 1e6)} tokens: {units.usd(own)} here, {units.usd(rented)} rented"


WRITING = 8.0  # tokens trained on for one written, a second (LOG.md, 2026-11-25: 27 k and 3.3 k)
BYTES_A_TOKEN = 4.0  # of a general model's tokens in plain English; notations of many short words have fewer, which favours renting


def versus(made: Plan, spent_usd: float, bytes_a_token: float, rented_usd: float, volume: float | None = None) -> Versus:
    """Set the plan beside a rented model at `rented_usd` a million tokens. Raises ConfigError for a price that is not above zero.

    spent_usd: what was paid already for corpus, probe and ladder. bytes_a_token: of our tokenizer. WRITING says how fast it writes.
    """
    if not 0 < rented_usd < math.inf:
        raise ConfigError(f"a price of {rented_usd} a million tokens", "--versus", "give dollars above zero: nothing is free")
    bytes_a_second = made.probe.tokens_per_second(made.params) / WRITING * bytes_a_token
    own = 1e6 * BYTES_A_TOKEN / bytes_a_second * made.rates.usd / 3600
    return Versus(rented_usd, own, spent_usd + made.usd.p50, volume)
