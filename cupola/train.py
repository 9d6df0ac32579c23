"""One run: `train(run)` finds the newest whole checkpoint of a run folder, goes on from there, and is safe to call again.

A step's rows are cut into a fixed number of parts; each part's forward and backward runs single-threaded, on as many worker threads as
the machine has cores, and the gradients are added in the order of the parts. So the number of workers changes the speed and not one bit,
and a neighbour who takes a core slows one part instead of stalling every operation at a barrier.

Exact: the same machine type and versions give the same bits, also through a SIGKILL, as long as no clock decided anything. What a clock
did decide (the decay brought forward on a late machine) is written to schedule.jsonl before it takes effect, and a resumed run does the
same again.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from cupola import checkpoint, evaluate, hardware, model, modeldir
from cupola.config import Config
from cupola.corpus import Corpus
from cupola.errors import CheckpointError, CupolaError, Diverged
from cupola.media import MEDIA
from cupola.model import ModelConfig
from cupola.tokens import Stream, Tokenizer

T = TypeVar("T")
R = TypeVar("R")


class TrainConfig(Config):
    """[models.NAME.train] in cupola.toml."""

    params: float | None = Field(None, gt=0)  # None: the plan chooses
    learning_rate: float = Field(0.02, gt=0)  # Muon, hidden matrices; 0.01 to 0.04 are the same within noise
    embedding_learning_rate: float = Field(0.015, gt=0)  # AdamW, embeddings and norms, at width 128; falls with the root of the width
    weight_decay: float = Field(0.1, ge=0)  # hidden matrices only
    warmup: float = Field(0.02, ge=0, lt=1)  # share of the steps
    decay: float = Field(0.4, gt=0, le=1)  # share of the steps, linear to zero
    length: int = Field(256, ge=16)  # context in tokens
    batch_tokens: int | None = Field(None, gt=0)  # None: by the width
    vocab_size: int | None = Field(None, gt=0)  # None: the medium's
    fim: float = Field(0.5, ge=0, le=1)  # share of documents in fill-in-the-middle order
    variants: float = Field(0.0, ge=0, le=1)  # share of documents replaced by a variant
    seed: int = 0


class Trunk(Config):
    """A checkpoint of another run that this one goes on from: what was paid once serves many."""

    folder: str  # of that run, relative to this one's
    step: int = Field(gt=0)


class RunPlan(Config):
    """plan.json: everything that decides a run's bits, and the clock it was planned for.

    A trunk is a run that does not cool and keeps checkpoints; its branches begin from those, each cooled at another length.
    """

    model: ModelConfig
    train: TrainConfig
    medium: str
    corpus: str  # folder, relative to the run's
    tokenizer: str  # folder, relative to the run's
    rows: int  # of `length` tokens a step
    parts: int = 2  # that a step is cut into; workers share them
    max_steps: int = Field(gt=0)
    eval_every: int = Field(gt=0)
    most_steps: int | None = Field(None, gt=0)  # that an early machine may add up to: None: as many as there is time for
    warmup_steps: int | None = Field(None, gt=0)  # None: [train] warmup's share of max_steps
    decay_from: int | None = Field(None, ge=0)  # the step at which the decay begins; None: [train] decay's share of max_steps
    cool: bool = True  # False: the rates stay full to the end
    share: float = Field(1.0, gt=0, le=1)  # of the training documents that are read at all
    trunk: Trunk | None = None  # where this run begins; None: from nothing
    keep: tuple[int, ...] = ()  # steps that are scored and whose checkpoints stay
    deliver: bool = True  # False: nothing but outcome.json comes of it
    precision: Literal["float32", "bfloat16"] = "float32"
    seconds: float | None = None  # that the plan gives the training; None: steps alone decide
    tokens_per_second: float | None = None  # measured when it was planned
    generation: dict[str, float] = Field({})  # sampling defaults that go into the model folder
    data: dict[str, str] = Field({})  # fingerprints of corpus and tokenizer
    versions: dict[str, str] = Field({})

    @property
    def batch_tokens(self) -> int:
        return self.rows * self.train.length


def versions() -> dict[str, str]:
    """What must be the same for a resumed run to give the same bits."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}
    return {**packages, "cpu": hardware.describe().name}


@dataclasses.dataclass(frozen=True)
class Tick:
    """Where a run is; given to `progress` after every step."""

    step: int
    max_steps: int
    loss: float  # nats per token, smoothed
    bits_per_byte: float | None  # on the watched documents, newest
    tokens_per_second: float
    seconds: float  # trained so far, over all attempts
    seconds_left: float
    note: str = ""  # something that the user should know, once


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run gave; also outcome.json in the run folder."""

    steps: int
    planned_steps: int
    tokens: int
    passes: float
    seconds: float
    ended: str  # "planned", "late", "early: learning by heart", "stopped"
    bits_per_byte: float  # on the watched documents, of the weights delivered
    best_step: int
    resumed: int  # how often
    looks: list[list[float]] = dataclasses.field(default_factory=list)  # [step, bits per byte on the watched documents]


class Interrupted(CupolaError):
    """Ctrl-C: the run is saved and can go on."""


# --- the schedule -------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Warm-up, stable, linear decay to zero; `top` is the scale at which the decay begins."""

    warmup: int
    decay_from: int
    end: int
    top: float = 1.0

    def scale(self, step: int) -> float:
        """The learning rates' factor at `step`, 0 to 1."""
        if step >= self.decay_from:
            return self.top * max(0, self.end - step) / max(1, self.end - self.decay_from)
        return min(1.0, (step + 1) / max(1, self.warmup))

    def ending(self, step: int, end: int, decay_steps: int) -> Schedule:
        """This schedule, changed at `step` to end at `end` with a decay of `decay_steps` or all that is left; the rate does not jump."""
        end = max(end, step + 1)
        begin = step if step >= self.decay_from else max(step, end - decay_steps)
        top = self.scale(step) if begin == step else 1.0
        return Schedule(self.warmup, begin, end, top)


def plan_schedule(plan: RunPlan) -> Schedule:
    """The schedule as planned in steps."""
    steps = plan.max_steps
    warmup = plan.warmup_steps or max(1, round(plan.train.warmup * steps))
    decay_from = steps - max(1, round(plan.train.decay * steps)) if plan.decay_from is None else plan.decay_from
    return Schedule(warmup, decay_from if plan.cool else steps + 1, steps)


# --- workers ------------------------------------------------------------------------------------------------------------------------


class Workers:
    """Threads that each compute single-threaded; torch lets go of the interpreter lock inside its operations."""

    def __init__(self, count: int):
        self.count = max(1, count)
        self.pool = ThreadPoolExecutor(self.count, "cupola-worker", initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`function` of each item, results in order; with one worker one after the other."""
        return list(self.pool.map(function, items))

    def over(self, function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """`function` of the rows, a part of them a worker, joined again."""
        return np.concatenate(self.map(function, np.array_split(rows, min(len(rows), self.count))))

    def close(self) -> None:
        self.pool.shutdown(wait=True)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Operations of the calling thread use one core; restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def autocast(precision: str) -> Any:
    """The context in which forward passes of that precision run."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


# --- what one step does -------------------------------------------------------------------------------------------------------------


class State:
    """Weights and optimizers of a run."""

    def __init__(self, plan: RunPlan):
        self.plan = plan
        self.model = model.build(plan.model, plan.train.seed)
        self.names = [name for name, _ in self.model.named_parameters()]
        self.params = [p for _, p in self.model.named_parameters()]
        hidden = [i for i, n in enumerate(self.names) if self.params[i].ndim == 2 and "embed_tokens" not in n and "lm_head" not in n]
        rest = [i for i in range(len(self.names)) if i not in hidden]
        width = plan.model.hidden_size
        rates = {"lr": plan.train.learning_rate, "weight_decay": plan.train.weight_decay, "momentum": 0.95}
        self.optimizers: list[torch.optim.Optimizer] = [  # Muon's share of the time is worth splitting: a part a worker
            torch.optim.Muon([self.params[i] for i in hidden[part :: plan.parts]], **rates) for part in range(min(plan.parts, len(hidden)))
        ]
        embedding_rate = plan.train.embedding_learning_rate * math.sqrt(128 / width)
        self.optimizers.append(
            torch.optim.AdamW([self.params[i] for i in rest], lr=embedding_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        )
        self.rates = [o.param_groups[0]["lr"] for o in self.optimizers]

    def step(self, batch: np.ndarray, scale: float, workers: Workers) -> float:
        """One optimizer step on a batch (rows, length + 1) of ids; the mean loss in nats per token before it."""
        parts = np.split(batch, self.plan.parts)
        results = workers.map(self._gradients, parts)
        total = [g for g in results[0][1]]
        for _, gradients in results[1:]:
            torch._foreach_add_(total, gradients)
        torch._foreach_div_(total, float(len(parts)))
        for parameter, gradient in zip(self.params, total, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * scale
        workers.map(lambda optimizer: optimizer.step(), self.optimizers)
        return float(np.mean([loss for loss, _ in results]))

    def _gradients(self, ids: np.ndarray) -> tuple[float, tuple[torch.Tensor, ...]]:
        rows = torch.from_numpy(ids)
        with autocast(self.plan.precision):
            logits = self.model(input_ids=rows[:, :-1]).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].reshape(-1))
        return loss.item(), torch.autograd.grad(loss, self.params)

    def nats(self, ids: np.ndarray) -> np.ndarray:
        """(B, T) ids -> (B, T - 1) nats of each id but the first, in float32."""
        return nats(self.model, ids)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and optimizer states by name."""
        out = {f"weights/{name}": p.data for name, p in zip(self.names, self.params, strict=True)}
        name_of = {id(p): name for name, p in zip(self.names, self.params, strict=True)}
        for optimizer in self.optimizers:
            for parameter, values in optimizer.state.items():
                out |= {f"{key}/{name_of[id(parameter)]}": torch.as_tensor(value) for key, value in values.items()}
        return out

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse of `tensors`."""
        by_name = dict(zip(self.names, self.params, strict=True))
        owner = {id(p): o for o in self.optimizers for p in o.param_groups[0]["params"]}
        with torch.no_grad():
            for key, value in tensors.items():
                kind, name = key.split("/", 1)
                parameter = by_name[name]
                if kind == "weights":
                    parameter.copy_(value)
                else:
                    owner[id(parameter)].state[parameter][kind] = value

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: p.data for name, p in zip(self.names, self.params, strict=True)}


@torch.no_grad()
def nats(network: Any, ids: np.ndarray) -> np.ndarray:
    """(B, T) ids -> (B, T - 1) nats that a Transformers model pays for each id but the first."""
    rows = torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64))
    logits = network(input_ids=rows[:, :-1]).logits.float()
    return F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none").numpy()


def score(
    network: Any, tokenizer: Tokenizer, texts: Sequence[str], length: int, *, progress: Callable[[str, float | None], None] | None = None
) -> evaluate.Score:
    """Bits per byte of a Transformers model on whole texts, in float32, a worker a core."""
    team = Workers(hardware.describe().cores)

    def of(ids: np.ndarray) -> np.ndarray:
        return team.over(functools.partial(nats, network), ids)

    try:
        with single_threaded():
            ids = (tokenizer.document(text) for text in texts)
            return evaluate.bits_per_byte(of, ids, [len(text.encode()) for text in texts], length, progress=progress)
    finally:
        team.close()


def weights_at(run: Path, step: int) -> Any:
    """The Transformers model of a run as its checkpoint of `step` has it. Raises CheckpointError where that is missing or damaged."""
    state = State(read_plan(run))
    state.restore({k: v for k, v in checkpoint.load(run / "checkpoints" / name_of(step))[0].items() if k.startswith("weights/")})
    return state.model.eval()


# --- the run ------------------------------------------------------------------------------------------------------------------------


def train(
    run: Path,
    *,
    left: Callable[[], float] | None = None,
    progress: Callable[[Tick], None] | None = None,
    workers: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train the run whose plan.json lies in `run`, to its end, from wherever it is; the model lands in run/final.

    left: seconds that may still be spent (all of the budget's gates, reserve taken off), asked every step; None: steps alone decide.
    Raises Interrupted after Ctrl-C (saved, can go on), CheckpointError when data or versions are not those of the plan,
    MachineError when the disk is full (the last checkpoint stands).
    """
    loop = _Loop(run, left, progress, workers or hardware.describe().cores, clock)
    try:
        with single_threaded(), _ctrl_c(loop):
            return loop.run()
    finally:
        loop.workers.close()


def spent(run: Path) -> float:
    """Seconds that all attempts at a run took so far, also those that were killed: the last heartbeat of each."""
    last: dict[int, float] = {}
    for line in metrics(run):
        last[line["attempt"]] = max(last.get(line["attempt"], 0.0), line["attempt_seconds"])
    return sum(last.values())


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, oldest first; a line cut by a kill is left out."""
    return list(_lines(run / "metrics.jsonl"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


@contextmanager
def _ctrl_c(loop: _Loop) -> Iterator[None]:
    """The first Ctrl-C ends the run after the step in hand, with a checkpoint; the second ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(signum: int, frame: Any) -> None:
        if loop.interrupted:
            raise KeyboardInterrupt
        loop.interrupted = True

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Loop:
    """The state of one attempt at a run."""

    SAVE_SECONDS = 15.0  # between checkpoints: 4 ms of writing a million parameters, and at most so much is lost
    BEAT_SECONDS = 1.0

    def __init__(self, run: Path, left: Callable[[], float] | None, progress: Any, workers: int, clock: Callable[[], float]):
        self.folder, self.left, self.progress, self.clock = run, left, progress, clock
        self.plan = read_plan(run)
        self.workers = Workers(min(workers, self.plan.parts))
        self.interrupted = False
        self.notes: list[str] = []

    def run(self) -> Outcome:
        self._open()
        while self.step < self.schedule.end and not self.interrupted:
            self._replay()
            if self.step >= self.schedule.end:
                break
            batch = self.stream.batch(self.step, self.plan.rows, self.plan.train.length)
            loss = self.state.step(batch, self.schedule.scale(self.step), self.workers)
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss became {loss} at step {self.step}",
                    str(self.folder),
                    "lower [train] learning_rate; the last checkpoint stands",
                )
            self.step += 1
            self._after_step(loss)
        if self.interrupted:
            self._save()
            raise Interrupted(
                f"stopped at step {self.step:,} of {self.schedule.end:,}, saved", str(self.folder), "the same command goes on from here"
            )
        return self._finish()

    # Opening and resuming

    def _open(self) -> None:
        plan, here = self.plan, self.folder
        corpus = Corpus.open(here / plan.corpus)
        tokenizer = Tokenizer.load(here / plan.tokenizer)
        self._refuse({"corpus": corpus.fingerprint, "tokenizer": tokenizer.fingerprint}, plan.data)
        self._refuse(versions(), plan.versions)
        medium = MEDIA[plan.medium].restore(corpus.settings)
        self.tokenizer = tokenizer
        self.stream = Stream(
            corpus,
            tokenizer,
            (here / plan.corpus) / "rows",
            seed=plan.train.seed,
            fim=plan.train.fim,
            variants=plan.train.variants,
            medium=medium,
            share=plan.share,
        )
        texts = [d.text for d in corpus.watch]
        self.watched = [np.asarray(ids) for ids in map(tokenizer.document, texts)]
        self.watched_bytes = [len(t.encode()) for t in texts]
        self.state = State(plan)
        self.schedule = plan_schedule(plan)
        self.events = collections.deque(_lines(here / "schedule.jsonl"))
        self.step, self.ended, self.history = 0, "planned", []  # history: [step, watched bits per byte]
        self.smooth: float | None = None
        earlier = metrics(here)
        self.attempt = 1 + max((line["attempt"] for line in earlier), default=0)
        self.before = spent(here)
        self._resume()
        self.began = self.saved = self.clock()
        self.beat = -math.inf
        self.times: collections.deque[tuple[int, float]] = collections.deque(maxlen=129)

    def _refuse(self, now: dict[str, str], planned: dict[str, str]) -> None:
        for name, value in planned.items():
            if now.get(name) != value:
                raise CheckpointError(
                    f"{name} is not the one this run was planned with (then {value[:20]}, now {now.get(name, 'missing')[:20]})",
                    str(self.folder),
                    "start a new run with `cupola make`, or bring the old one back; nothing was changed",
                )

    def _resume(self) -> None:
        path, faults = checkpoint.newest(self.folder / "checkpoints")
        for fault in faults:
            self.notes.append(f"{Path(fault.where).name} is damaged and left out; going back to {path.name if path else 'the start'}")
        if path is None:
            self._begin()
            return
        tensors, saved = checkpoint.load(path)
        self.state.restore(tensors)
        self.step, self.history, self.smooth, self.ended = saved["step"], saved["history"], saved["smooth"], saved["ended"]
        self.schedule = Schedule(**saved["schedule"])
        while self.events and self.events[0]["at"] < self.step:
            self.events.popleft()
        self.notes.append(f"going on from step {self.step:,}")

    def _begin(self) -> None:
        """From nothing, or from the trunk's weights and optimizers at the step where this run leaves it."""
        if trunk := self.plan.trunk:
            tensors, saved = checkpoint.load(self.folder / trunk.folder / "checkpoints" / name_of(trunk.step))
            self.state.restore(tensors)
            self.step, self.smooth = saved["step"], saved["smooth"]

    # During the run

    def _replay(self) -> None:
        """Take over what an earlier attempt decided at this step."""
        while self.events and self.events[0]["at"] <= self.step:
            event = self.events.popleft()
            self.schedule, self.ended = Schedule(**event["schedule"]), event["ended"]

    def _decide(self, end: int, decay_steps: int, ended: str, note: str) -> None:
        """Change the schedule from this step on: first to disk, then in force."""
        schedule = self.schedule.ending(self.step, end, decay_steps)
        with open(self.folder / "schedule.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps({"at": self.step, "schedule": dataclasses.asdict(schedule), "ended": ended, "note": note}) + "\n")
            f.flush()
            os.fsync(f.fileno())
        self.schedule, self.ended = schedule, ended
        if note:
            self.notes.append(note)

    def _after_step(self, loss: float) -> None:
        self.smooth = loss if self.smooth is None else 0.95 * self.smooth + 0.05 * loss
        kept = self.step in self.plan.keep
        evaluated = kept or (self.step % self.plan.eval_every == 0 and self.step < self.schedule.end)
        if evaluated:
            self._watch()
        self.times.append((self.step, self.clock()))
        if not self.events:  # an earlier attempt's decisions come first
            self._heart()
            self._clock()
        if kept or (evaluated and self._is_best()) or self.clock() - self.saved >= self.SAVE_SECONDS:
            self._save()
        self._tell(evaluated)

    def _watch(self) -> None:
        """Score the watched documents; the parts of a batch go over the workers."""
        score = functools.partial(self.workers.over, self.state.nats)
        result = evaluate.bits_per_byte(score, self.watched, self.watched_bytes, self.plan.train.length)
        self.history.append([self.step, result.bits_per_byte])

    def _is_best(self) -> bool:
        return min(self.history, key=lambda h: h[1])[0] == self.step

    def _heart(self) -> None:
        """Begin the decay when the watched documents have become worse three times running while the rate was full."""
        if (
            self.step >= self.schedule.decay_from
            or not self.plan.cool
            or self.ended.startswith("early")
            or len(self.history) < 5
            or self.history[-1][0] != self.step
        ):
            return
        best = min(bits for _, bits in self.history)
        if all(bits > best * 1.005 for _, bits in self.history[-3:]):
            steps = max(8, self.step // 4)
            self._decide(self.step + steps, steps, "early: learning by heart", "it has begun to learn the corpus by heart: cooling now")

    def _clock(self) -> None:
        """Make the rest of the run fit what is left: less when the machine is late, more when it is early."""
        looks = max(8, self.plan.eval_every // 2)  # steps between decisions: a pace over fewer says little
        if self.left is None or len(self.times) < 8 or self.ended.startswith("early") or self.step % looks:
            return
        (first, begun), (last, now) = self.times[0], self.times[-1]
        pace, left = (now - begun) / (last - first), self.left()  # seconds a step, checkpoints and looks included
        need = (self.schedule.end - self.step) * pace
        if need > 1.04 * left + 0.3:
            end = self.step + int(0.98 * left / pace)
            late = f"the machine is slower than planned: {need:.0f} s of steps for {left:.0f} s left, so the decay begins earlier"
            ended = self._ended(end)
            self._decide(end, round(self.plan.train.decay * end), ended, late if ended == "late" != self.ended else "")
        elif need < 0.93 * left - 1:  # also in the decay, which then falls more slowly from where it is
            end = min(self.step + int(0.98 * left / pace), self.plan.most_steps or sys.maxsize)
            if end <= self.schedule.end:
                return
            self._decide(end, round(self.plan.train.decay * end), self._ended(end), "")

    def _ended(self, end: int) -> str:
        """What a run that the clock ends at this step is called: one that gets all its planned steps is not late."""
        return "planned" if end >= self.plan.max_steps else "late"

    def _save(self) -> None:
        state = {
            "step": self.step,
            "history": self.history,
            "smooth": self.smooth,
            "ended": self.ended,
            "schedule": dataclasses.asdict(self.schedule),
        }
        folder = self.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        if not (folder / name_of(self.step)).exists():
            checkpoint.save(folder / name_of(self.step), self.state.tensors(), state)
        kept = {name_of(step) for step in self.plan.keep}
        checkpoint.prune(folder, kept | ({name_of(min(self.history, key=lambda h: h[1])[0])} if self.history else set()))
        self.saved = self.clock()

    def _tell(self, evaluated: bool) -> None:
        now = self.clock()
        due = now - self.beat >= self.BEAT_SECONDS or evaluated
        if not (due or self.progress):
            return
        tick = self._tick(now)
        if due:
            self.beat = now
            line = {
                "attempt": self.attempt,
                "attempt_seconds": round(now - self.began, 3),
                "step": self.step,
                "tokens": self.step * self.plan.batch_tokens,
                "loss": round(tick.loss, 5),
                "bits_per_byte": self.history[-1][1] if evaluated else None,
                "rate": round(self.schedule.scale(self.step), 4),
                "tokens_per_second": round(tick.tokens_per_second),
                "max_steps": self.schedule.end,
                "note": tick.note or None,
            }
            with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as f:
                f.write(json.dumps(line) + "\n")
        if self.progress:
            self.progress(tick)

    def _tick(self, now: float) -> Tick:
        (first, begun), (last, ended) = (self.times[0], self.times[-1]) if self.times else ((0, now), (0, now))
        pace = (ended - begun) / (last - first) if last > first else 0.0
        note = "; ".join(self.notes)
        self.notes.clear()
        return Tick(
            step=self.step,
            max_steps=self.schedule.end,
            loss=self.smooth or 0.0,
            bits_per_byte=self.history[-1][1] if self.history else None,
            tokens_per_second=self.plan.batch_tokens / pace if pace else 0.0,
            seconds=self.before + now - self.began,
            seconds_left=(self.schedule.end - self.step) * pace,
            note=note,
        )

    # The end

    def _finish(self) -> Outcome:
        """Save, then evaluate, then deliver the better of the last and the best weights."""
        if not self.history or self.history[-1][0] != self.step:
            if self.plan.deliver:
                self._save()
            self._watch()
        best, bits = min(self.history, key=lambda h: h[1])
        if self.plan.deliver:
            best, bits = self._deliver(best, bits)
        self._tell(True)
        tokens = self.step * self.plan.batch_tokens
        outcome = Outcome(
            steps=self.step,
            planned_steps=self.plan.max_steps,
            tokens=tokens,
            passes=self.stream.passes(tokens),
            seconds=self.before + self.clock() - self.began,
            ended=self.ended,
            bits_per_byte=bits,
            best_step=best,
            resumed=self.attempt - 1,
            looks=self.history,
        )
        (self.folder / "outcome.json").write_text(json.dumps(dataclasses.asdict(outcome), indent=1), "utf-8")
        return outcome

    def _deliver(self, best: int, bits: float) -> tuple[int, float]:
        """Write final/ with the weights of step `best` if they are still there, else the last; which they are, and their score."""
        self._save()
        if best != self.step and (self.folder / "checkpoints" / name_of(best)).exists():
            self.state.restore(checkpoint.load(self.folder / "checkpoints" / name_of(best))[0])
        elif best != self.step:
            best, bits = self.history[-1]
        modeldir.save(self.folder / "final", self.plan.model, self.state.weights(), self.tokenizer, generation=self.plan.generation)
        return best, bits


def name_of(step: int) -> str:
    """Of the checkpoint folder of a step."""
    return f"step-{step:06d}"


def read_plan(run: Path) -> RunPlan:
    """plan.json of a run folder. Raises CheckpointError if it is missing or not one."""
    try:
        return RunPlan.model_validate_json((run / "plan.json").read_bytes())
    except (OSError, ValueError) as e:
        raise CheckpointError(f"no readable plan.json: {str(e).splitlines()[0]}", str(run), "give a folder below .cupola/runs") from None


def write_plan(run: Path, plan: RunPlan) -> None:
    """Make a run folder ready for `train`."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "plan.json").write_text(plan.model_dump_json(indent=1), "utf-8")
