"""Small runs that foretell a large one, bought through `train` and kept in the ledger the moment they are known.

A point's id is made of what was trained on what: the same point counts once, and a ladder that was killed, or is asked for again, pays for
what is missing.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
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
from cupola.errors import CheckpointError, Diverged
from cupola.meter import Meter
from cupola.model import flops_per_token
from cupola.rungs import START_SECONDS, Design, Purpose, Rung, going_on, warmup_steps
from cupola.tokens import Tokenizer
from cupola.train import Outcome, RunPlan, Tick, TrainConfig, Trunk

Progress = Callable[[str, float | None], None]
Status = Literal["done", "diverged", "late"]


class Rows(Protocol):
    """What is asked of a ledger: rows that are on disk when the call returns; the same id twice counts once."""

    def point(self, run: str | None, key: str, facts: dict, id: str | None = None) -> Any: ...
    def points(self, key: str, /) -> list[dict[str, Any]]: ...
    def probe(self, run: str | None, key: str, facts: dict, id: str | None = None) -> Any: ...
    def probes(self, key: str, /) -> list[dict[str, Any]]: ...


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
class Look:
    """A trunk's score where a cooled run would have left it; that run itself was not bought."""

    params: int
    tokens: int  # of the run that would have been cooled
    raw: float  # bits per byte at full rate, on the watched documents
    flops: float


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
    looks: list[Look] = dataclasses.field(default_factory=list)

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
        kept = self._kept(rung)
        unseen = [n for n in rung.looks if self.costs.leaves(n) not in kept]
        wanted, looks = self._affordable(rung, [n for n, id in ids.items() if id not in self.known], unseen)
        if not wanted and not looks:
            return
        try:
            leaves, diverged = self._trunk(rung, [*wanted, *looks])
        except _Cut:
            self._keep(rung, (wanted or looks)[0], "late", math.nan, self.costs.straight(rung, (wanted or looks)[0]))
            return
        for steps in wanted:
            leaf = leaves.get(self.costs.leaves(steps))
            if leaf and self._affordable(rung, [steps], begun=True)[0]:
                self._branch(rung, steps, leaf)
            elif not leaf and diverged:
                self._keep(rung, steps, "diverged", math.nan, 0.0)

    def _affordable(self, rung: Rung, lengths: list[int], looks: Sequence[int] = (), *, begun: bool = False) -> tuple[list[int], list[int]]:
        """Of these lengths and looks the shortest ones for which there is time, at the pace of the last runs; looks go first."""
        lengths, further, kept = sorted(lengths), sorted(looks), self._kept(rung)
        while lengths or further:
            begin, leaves = going_on(kept, [self.costs.leaves(n) for n in (*lengths, *further)])
            need = sum(self.costs.branch(rung, n) for n in lengths) + (0.0 if begun else self.costs.trunk(rung, begin, leaves))
            need *= float(np.mean(self.slowness)) if self.slowness else 1.0
            left = self.left()
            if need <= left:
                return lengths, further
            if further:
                further.pop()
                continue
            gone = lengths.pop()
            self._say(
                f"{units.count(rung.params)} parameters for {gone:,} steps ({rung.purpose}) would take {units.seconds(need)}, "
                f"and {units.seconds(max(0.0, left))} are left: not run"
            )
        return [], []

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
        except Diverged:
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
            looks=self._looks(),
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

    def _looks(self) -> list[Look]:
        """Every place at which a trunk was scored, as far as its folder is there."""
        found = []
        for rung in (r for r in self.plan.rungs if r.purpose == "rung"):
            kept = self._kept(dataclasses.replace(rung, learning_rate=self.rate))
            for n in rung.looks:
                leaf = _leaf(kept[self.costs.leaves(n)], self.costs.leaves(n)) if self.costs.leaves(n) in kept else None
                if leaf and leaf.raw and math.isfinite(leaf.raw):
                    tokens = n * rung.rows * self.settings.length
                    flops = float(tokens * flops_per_token(rung.shape, self.settings.length))
                    found.append(Look(rung.params, tokens, leaf.raw, flops))
        return found

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
