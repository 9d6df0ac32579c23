"""Which small runs a number of seconds buys: pure arithmetic.

A rung is one size: a trunk, warmed up and then trained at full rate, and the runs that leave it at several lengths and are cooled to their
end. The trunk is paid once; every cooled run is a point for the law, with the bits of a straight run of that length.

    steps   0 ........ 24 ....... 48 ............. 96      trunk: 96 steps at full rate
                        \\ 40      \\ 80             \\ 160   three points, cooled over the last 0.4 of their lengths

Source of trunk and branches: Hu et al. 2024, section 4 (arXiv:2404.06395); Haegele et al. 2024 (arXiv:2405.18392).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

from cupola import units
from cupola.errors import OverBudget
from cupola.model import ModelConfig, count_parameters, dial, flops_per_token
from cupola.probe import Probe, rows_a_step
from cupola.train import TrainConfig

Purpose = Literal["rung", "rate", "seed", "part"]

APART = 2.2  # between sizes, so that the same ones come again under other budgets
LEAST_STEPS = 40  # of the shortest cooled run
GRID = 2  # lengths are LEAST_STEPS * 2 ** (i / GRID) steps, so that ladders of other budgets share their points
SNAP = 1.08  # and so is the time, in steps of this factor: with 2% less time, 8% of the ladder are new, and 29% without either
SHARE_OF_DOCUMENTS = 0.25  # that a run reads which shows what repeats are worth
REPEATS = 2.0  # passes of the final run from which on that is worth knowing
BEND = 1_000_000  # tokens: on small corpora losses fall otherwise before and after about so many
TOP_WEIGHT = 5  # the largest size's time over another's: it is the one that the final run is most like, and may go on from
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
    looks: tuple[int, ...] = ()  # steps of runs that are not cooled: the trunk is scored where they would have left it, and that is all

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
            begin, leaves = going_on(kept, [self.leaves(n) for n in (*missing, *rung.looks)])
            total += self.trunk(rung, begin, leaves) + sum(self.branch(rung, n) for n in missing)
            kept |= set(leaves)
            points |= {(rung.trunk, n) for n in missing}
            stream = rung.seed, rung.share
            read[stream] = max(read[stream], max((*rung.lengths, *map(self.leaves, rung.looks))) * rung.rows * self.probe.length)
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
    Form(3, (2, 2, 3), False, 0, 1, False),
    Form(3, (2, 2, 3), False, 0, 0, False),
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
        looks: tuple[int, ...] = ()
        if i == len(self.shapes) - 1:  # the longest is not cooled, so that the trunk reaches as far as there is time
            lengths, looks = lengths[:-1], tuple(grid_steps(place - b) for b in reversed(range(GRID)))
        return Rung(self.shapes[i], self.rows[i], lengths, self.settings.learning_rate, self.settings.seed, looks=looks)

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
