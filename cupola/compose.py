"""Prompt, pins, candidates -> artefacts: sample, repaint, vary, extend, cross. For any medium: what is cut and counted are its units.

Candidates are cheap (thousands of tokens a second), so each of these draws several, throws away what is not valid and what is a copy,
and keeps the likeliest by the model of the rest. All of them go to the ledger with their cost, the rejected ones with the reason.

What is a copy: a piece nearer to some training document than `copy_share` of the median distance of real held-out documents. Worked
example: real tunes lie 0.44 from their nearest training tune; with a share of 0.5 anything under 0.22 is thrown away.

What is likely: mean log-probability per byte. By itself that prefers the dull (a bar repeated for ever is very likely), so pieces that are
likelier than 95% of real held-out ones, or shorter or longer than 95% of them, come after all others; and no two kept pieces are nearer to
each other than a copy may be.

A flaw (a bar that does not fill its metre) is not a fault: a flawed piece is kept where no more candidates may be drawn, fewest flaws
first.

Same seed, same model, same settings, same machine: same bytes, on any number of cores, because the engine promises that of each request.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from cupola import units
from cupola.config import Config
from cupola.engine import Request
from cupola.errors import ConfigError, DataError, MachineError
from cupola.evaluate import copy_threshold, is_copy
from cupola.ledger import Artefact, Book, artefact_id
from cupola.media import Document, Medium, Pins, Problem
from cupola.meter import Meter, Reading
from cupola.tokens import BOS, Tokenizer

if TYPE_CHECKING:
    from cupola.engine import Completion, Engine
    from cupola.evaluate import Nearest, Originality, Score

Progress = Callable[[str, float | None], None]

SEEDS = 1_000_003  # candidate i of seed s draws with s * SEEDS + i: seeds that people use, 0, 1, 2, share no candidate
SEED_LIMIT = 2**31 - 1  # llama.cpp takes 32 bits, and the highest value means a seed by chance


class ComposeConfig(Config):
    """[models.NAME.compose] in cupola.toml."""

    temperature: float = Field(0.95, gt=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, lt=1)
    candidates: int = Field(4, ge=1)  # drawn at first for each piece that is wanted
    most_candidates: int = Field(16, ge=1)  # for each piece that is wanted; then fewer are delivered
    copy_share: float = Field(0.5, ge=0, le=1)  # of the median distance of real held-out documents: nearer is a copy
    tries: int = Field(8, ge=1)  # of repaint, vary, extend and cross for each result
    most_tokens: int = Field(1024, ge=16)  # a piece that has not ended by then is cut to whole units


@dataclasses.dataclass(frozen=True)
class Usual:
    """What real held-out documents show; the pairs are 5th and 95th percentiles, None where they were not measured."""

    distances: np.ndarray  # (n,) of each to its nearest training document
    logprob_per_byte: tuple[float, float] | None = None  # nats
    units: tuple[float, float] | None = None

    @classmethod
    def of(cls, medium: Medium, documents: Iterable[Document], distances: np.ndarray, score: Score | None = None) -> Usual:
        """From held-out documents, what `evaluate.yardstick` says of them, and the model's score on them."""
        units = np.array([len(medium.spans(d.text)) for d in documents])
        likely = -math.log(2) * score.per_document_bits / np.maximum(score.per_document_bytes, 1) if score else np.array([])
        return cls(distances, _middle(likely), _middle(units))


def _middle(values: np.ndarray) -> tuple[float, float] | None:
    """5th and 95th percentile; None under ten values, which say nothing about the twentieth."""
    return (float(np.percentile(values, 5)), float(np.percentile(values, 95))) if len(values) >= 10 else None


@dataclasses.dataclass(frozen=True)
class Kit:
    """What every function here works with."""

    medium: Medium
    tokenizer: Tokenizer
    engine: Engine
    index: Originality
    usual: Usual
    meter: Meter
    book: Book
    run: str  # the ledger's
    model: str  # its name, as the ledger keeps it
    config: ComposeConfig = dataclasses.field(default_factory=ComposeConfig)
    progress: Progress | None = None

    @property
    def window(self) -> int:
        """Tokens that the model sees at once, prompt and answer."""
        return self.engine.n_ctx

    @property
    def copy_below(self) -> float:
        """The distance to the nearest training document under which a piece is a copy."""
        return copy_threshold(self.usual.distances, self.config.copy_share)


@dataclasses.dataclass
class Candidate:
    """One draw on its way to an artefact: its text so far and what is known about it."""

    text: str
    seed: int
    drawn: str = ""  # the part of the text that the model wrote
    logprob: float | None = 0.0  # nats, summed over the drawn tokens
    tokens: int = 0
    ended: bool = False  # by itself
    cost: Reading = dataclasses.field(default_factory=Reading)
    problems: list[Problem] = dataclasses.field(default_factory=list)  # that make it invalid
    flaws: list[Problem] = dataclasses.field(default_factory=list)  # in something that can be used
    units: int = 0
    nearest_name: str = ""
    nearest_path: str = ""
    distance: float | None = None
    why: str = ""  # "kind: detail"; empty while nothing speaks against it

    @property
    def logprob_per_byte(self) -> float | None:
        return None if self.logprob is None or not self.drawn else self.logprob / len(self.drawn.encode())

    def add(self, completion: Completion) -> None:
        self.text += completion.text
        self._count(completion)

    def put(self, text: str, completion: Completion, *, counts: bool) -> None:
        """Take `text` with a gap filled by `completion`; one that does not count was not taken, and cost its tokens all the same."""
        self.text = text
        if counts:
            self._count(completion)
        else:
            self.tokens += len(completion.ids)

    def _count(self, completion: Completion) -> None:
        self.drawn += completion.text
        self.tokens += len(completion.ids)
        known = self.logprob is not None and completion.logprob is not None
        self.logprob = self.logprob + completion.logprob if known else None  # pyrefly: ignore
        self.ended = completion.stop == "eos"


@dataclasses.dataclass(frozen=True)
class _Order:
    """What was asked for: how many, the names of the files, and what goes on record with every candidate."""

    n: int
    stems: list[str]
    out: Path | None
    pins: dict
    prompt: str = ""
    parent: str | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Made:
    """What one call made. The notes are sentences for the person who asked."""

    kept: list[Artefact]
    rejected: list[Artefact]
    asked: int
    spent: Reading
    notes: list[str]

    @property
    def drawn(self) -> int:
        return len(self.kept) + len(self.rejected)

    @property
    def valid_share(self) -> float:
        """Of all candidates."""
        return sum(a.valid for a in (*self.kept, *self.rejected)) / max(1, self.drawn)

    @property
    def flawless_share(self) -> float:
        """Of all candidates: valid, and nothing to mend either."""
        return sum(a.valid and not a.problems for a in (*self.kept, *self.rejected)) / max(1, self.drawn)

    @property
    def distance(self) -> float | None:
        """The median distance of the valid candidates that are no copies to their nearest training document; None without such."""
        new = [a.distance for a in (*self.kept, *self.rejected) if a.valid and a.distance is not None and not a.why.startswith("a copy")]
        return float(np.median(new)) if new else None

    @property
    def copy_share(self) -> float:
        """Of the valid candidates."""
        valid = [a for a in (*self.kept, *self.rejected) if a.valid]
        return sum(a.why.startswith("a copy") for a in valid) / max(1, len(valid))

    @property
    def nearest(self) -> Artefact | None:
        """The kept piece that lies nearest to the corpus."""
        return min((a for a in self.kept if a.distance is not None), key=lambda a: a.distance or 0.0, default=None)


# --- new pieces ---------------------------------------------------------------------------------------------------------------------


def sample(
    kit: Kit,
    n: int,
    *,
    prompt: str = "",
    label: str = "",
    pins: Pins | None = None,
    seed: int = 0,
    out: Path | None = None,
    replace: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Made:
    """n new pieces, likeliest first; fewer, with a note, when `most_candidates` draws for each gave no more.

    prompt: notation that every piece begins with; label: one of the corpus's own (monster, floor), in its place.
    out: a folder for the kept pieces' files (none are written if None): tune-01.abc and so on, numbered on from those that are there, or
    over them if `replace`.
    stop: asked before each further round of draws; True delivers what there is.
    Raises ConfigError for n under 1, DataError for a prompt that no valid piece begins with.
    """
    _check_number(n)
    if label and prompt:
        raise ConfigError("a label and a prompt", "--label", "give one of them: a prompt begins with its label")
    prompt = kit.medium.head(label) if label else prompt
    pins = dataclasses.replace(pins or Pins(), prompt=prompt)
    candidates: list[Candidate] = []
    chosen: list[Candidate] = []
    notes: list[str] = []
    with kit.meter.charge(kit.book, kit.run, "candidates") as bill:
        size = n * kit.config.candidates
        while size:
            new = [Candidate(prompt, _seed(seed, len(candidates) + i)) for i in range(size)]
            notes = _draw(kit, new, pins)
            _judge_all(kit, new, pins, kit.copy_below)
            bill.settle()
            if prompt and not candidates:
                _refuse_hopeless(kit.medium, prompt, new)
            candidates += new
            chosen = choose(kit, candidates, n, apart=kit.copy_below)
            whole = sum(not c.flaws for c in chosen)  # what has a flaw is kept only where no more may be drawn
            size = 0 if stop() else _more(kit.config, n, whole, len(candidates))
    stems = _numbered(kit.medium.name, n, None if replace else out)
    known = {name: value for name, value in (("least", pins.least), ("most", pins.most)) if value is not None}
    return _record(kit, candidates, chosen, bill.spent, _Order(n, stems, out, pins=known, prompt=prompt, notes=notes))


def _more(config: ComposeConfig, n: int, have: int, drawn: int) -> int:
    """How many to draw next: what the share of keepers so far says is needed and a quarter more, up to the cap."""
    if have >= n:
        return 0
    needed = math.ceil(1.25 * (n - have) * drawn / max(1, have))
    return max(0, min(max(needed, n), n * config.most_candidates - drawn, 4 * drawn))


def _draw(kit: Kit, candidates: list[Candidate], pins: Pins) -> list[str]:
    """Let the model write each candidate until it ends by itself, or is too long; then cut it to whole units. Returns notes."""
    notes = _go_on(kit, candidates, kit.medium.grammar(pins), lambda c: pins.most is not None and len(kit.medium.spans(c.text)) > pins.most)
    for candidate in candidates:
        if pins.most is not None and len(spans := kit.medium.spans(candidate.text)) > pins.most:
            shorter = candidate.text[: spans[pins.most][0]]
            candidate.text = shorter if not kit.medium.check(shorter) else candidate.text
        elif not candidate.ended and len(spans := kit.medium.spans(candidate.text)) > 1:
            candidate.text = candidate.text[: spans[-1][0]]  # the last unit may be half a one
    return notes


def _refuse_hopeless(medium: Medium, prompt: str, candidates: list[Candidate]) -> None:
    """Raise DataError when every candidate is invalid and its first fault lies in the prompt itself."""
    lines = prompt.split("\n")
    end = (len(lines), len(lines[-1]) + 1)
    faults = [min(c.problems, key=lambda p: (p.line, p.column)) for c in candidates if c.problems]
    if len(faults) == len(candidates) and all((p.line, p.column) < end for p in faults):
        what = f"no valid {medium.name} begins with {prompt!r:.60}: {faults[0]}"
        raise DataError(what, "--prompt", f"give the first characters of a {medium.name} as `cupola data` shows it")


# --- a piece changed ----------------------------------------------------------------------------------------------------------------


def read_piece(medium: Medium, path: Path) -> tuple[Document, list[str]]:
    """The first document of a file, and a note if there are more. Raises DataError when there is none."""
    found = medium.read(path)
    first = next(found, None)
    if first is None:
        fix = f"give a file with a {medium.name} in it ({', '.join(medium.suffixes)})"
        raise DataError(f"no {medium.name} in it", str(path), fix)
    return first, [f"{path.name} holds more than one {medium.name}: the first is taken"] if next(found, None) else []


def repaint(
    kit: Kit,
    text: str,
    first: int,
    last: int,
    *,
    columns: tuple[int, int] | None = None,
    n: int = 1,
    seed: int = 0,
    stem: str = "",
    out: Path | None = None,
) -> Made:
    """The piece with units first to last (from 1, both included) made anew; all else stays as it is, character for character.

    columns: first and last column, from 1, of a medium that has some: then only these cells of the units are made anew, row by row.

    Of several tries, those with as many units as before come first, then the likeliest. A result that is nearer to the corpus than a copy
    may be, and nearer than the piece itself was, is thrown away.
    Raises DataError for a range outside the piece, or one too long to fill at once.
    """
    spans = kit.medium.spans(text)
    _check_range(kit.medium, len(spans), first, last)
    if columns is None:
        start, end = spans[first - 1][0], spans[last - 1][1]
        order = _edited(kit, n, stem, out, "repaint", first=first, last=last)
        return _edit(kit, text, text, lambda tries: _fill(kit, tries, start, end), seed, order, len(spans))
    full, cells = kit.medium.region(text, (first, last), columns)

    def refill(tries: list[Candidate]) -> list[str]:
        notes = [note for start, end in cells for note in _fill(kit, tries, start, end)]
        return list(dict.fromkeys(notes))

    order = _edited(kit, n, stem, out, "repaint", first=first, last=last, columns=list(columns))
    return _edit(kit, text, full, refill, seed, order, len(spans))


def units_between(medium: Medium, first: float, last: float) -> tuple[int, int]:
    """The units that a person means by these numbers: of a medium in time seconds, of all others the units' own, from 1.

    Worked example, a sound of 0.1 s a frame: 0.2 to 0.5 s is frames 3 to 5. Raises ConfigError for parts of a unit.
    """
    if medium.seconds_per_unit is not None:
        begin = math.floor(first / medium.seconds_per_unit + 1e-6) + 1
        return begin, max(begin, math.ceil(last / medium.seconds_per_unit - 1e-6))
    if first != int(first) or last != int(last):
        raise ConfigError(f"{medium.unit}s {first:g} to {last:g}", "--from/--to", f"give whole {medium.unit}s")
    return int(first), int(last)


def columns(text: str) -> tuple[int, int] | None:
    """ "3-9" as (3, 9); None for "". Raises ConfigError for anything else."""
    if not text:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", text)
    if not found:
        raise ConfigError(f"no columns: {text!r}", "--columns", "give the first and the last, such as 3-9")
    return int(found[1]), int(found[2] or found[1])


def vary(kit: Kit, text: str, share: float = 0.3, *, n: int = 1, seed: int = 0, stem: str = "", out: Path | None = None) -> Made:
    """The piece with about `share` of its units masked here and there and filled again; which ones, the seed decides.

    Gaps are filled from the last to the first, and one whose filling spoils the piece stays as it was.
    Raises ConfigError for a share that is not above 0 and at most 1, DataError for a piece without units.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"a share of {share}", "--share", "give a part of 1: 0.3 masks three units in ten")
    spans = kit.medium.spans(text)
    if not spans:
        raise DataError(f"not one {kit.medium.unit} in it", "vary", f"give a {kit.medium.name} with some")
    masked = mask(len(spans), share, seed)

    def refill(tries: list[Candidate]) -> list[str]:
        filled = [_fill(kit, tries, spans[first - 1][0], spans[last - 1][1], forgiving=True) for first, last in reversed(masked)]
        return list(dict.fromkeys(note for notes in filled for note in notes))

    order = _edited(kit, n, stem, out, "vary", share=share, masked=[list(run) for run in masked])
    return _edit(kit, text, text, refill, seed, order, len(spans))


def extend(kit: Kit, text: str, more: int = 8, *, n: int = 1, seed: int = 0, stem: str = "", out: Path | None = None) -> Made:
    """The piece gone on with behind its last unit, until the model ends it or it has `more` further units.

    What stood behind the last unit (a closing bar line) is taken off first, and put back where the piece is cut after `more` units. A
    picture, which has a fixed number of rows, loses as many at its top.
    Raises ConfigError for `more` under 1.
    """
    if more < 1:
        raise ConfigError(f"{more} {kit.medium.unit}s more", "--more", "ask for one or more")
    kept = kit.medium.room(text, more)
    spans = kit.medium.spans(kept)
    body, tail = (kept[: spans[-1][1]], kept[spans[-1][1] :]) if spans else (kept, "")
    goal = len(spans) + more
    grammar = kit.medium.grammar(Pins(prompt=body)) if kept != text else None  # so many units and no more

    def go_on(tries: list[Candidate]) -> list[str]:
        notes = _go_on(kit, tries, grammar, lambda c: len(kit.medium.spans(c.text)) > goal)
        for candidate in tries:
            _close(kit.medium, candidate, goal, tail)
            if len(kit.medium.spans(candidate.text)) <= len(spans):
                candidate.why = "nothing added: it ended at once"
        return notes

    return _edit(kit, text, body, go_on, seed, _edited(kit, n, stem, out, "extend", more=more), None)


def cross(kit: Kit, a: str, b: str, *, share: float = 1 / 3, n: int = 1, seed: int = 0, stem: str = "", out: Path | None = None) -> Made:
    """A piece that begins as `a` and ends as `b`: `share` of its units between them is made anew, so that the one becomes the other.

    It is as long as the shorter of both, so that sprites keep their height.
    Raises ConfigError for a share that is not above 0 and under 1, DataError for pieces of under three units.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of {share}", "--share", "give a part of 1: 0.33 makes the middle third anew")
    left, right = kit.medium.spans(a), kit.medium.spans(b)
    count = min(len(left), len(right))
    if count < 3:
        what = f"{count} {kit.medium.unit}{'' if count == 1 else 's'} in the shorter of the two"
        raise DataError(what, "cross", f"give pieces of three {kit.medium.unit}s or more")
    middle = min(count - 2, max(1, round(share * count)))
    head = (count - middle + 1) // 2  # units of a; the rest but the middle are b's
    tail = count - middle - head
    joint = a[left[head - 1][1] : left[head][0]]
    start = left[head - 1][1] + len(joint)
    between = b[right[-tail - middle][0] : right[-tail - 1][1]]
    text = a[:start] + between + b[right[-tail - 1][1] :]
    order = _edited(kit, n, stem, out, "cross", share=share, other=artefact_id(b))
    return _edit(kit, a, text, lambda tries: _fill(kit, tries, start, start + len(between)), seed, order, count)


def _close(medium: Medium, candidate: Candidate, goal: int, tail: str) -> None:
    """Cut a continuation that went past the goal, or did not end: to whole units, with the tail of the original behind them."""
    spans = medium.spans(candidate.text)
    if candidate.ended and len(spans) <= goal:
        return
    whole = min(goal, len(spans) if candidate.ended else len(spans) - 1)  # the last of an unended one may be half a unit
    if whole > 0:
        candidate.text = candidate.text[: spans[whole - 1][1]] + tail


def mask(count: int, share: float, seed: int) -> list[tuple[int, int]]:
    """Runs of units (first, last; from 1) that together are about `share` of `count`, at least one unit; the same for the same seed.

    Runs are 4 units long, 2 in pieces under 16 units, 1 in pieces under 8: a phrase made anew is heard, single bars hardly.
    """
    size = 4 if count >= 16 else 2 if count >= 8 else 1
    runs = [(i, min(i + size - 1, count)) for i in range(1, count + 1, size)]
    draw = random.Random(seed).random  # the one stream that Python promises to keep the same
    runs = sorted(runs, key=lambda _: draw())
    return sorted(runs[: max(1, min(len(runs), round(share * count / size)))])


def _check_range(medium: Medium, count: int, first: int, last: int) -> None:
    where, whole = "--from/--to", f"the piece has {count} {medium.unit}{'' if count == 1 else 's'}"
    if not 1 <= first <= count or not 1 <= last <= count:
        wrong = first if not 1 <= first <= count else last
        fix = f"give numbers from 1 to {count}" if count else f"give a {medium.name} with some"
        raise DataError(f"there is no {medium.unit} {wrong}: {whole}", where, fix)
    if first > last:
        raise DataError(f"{medium.unit}s {first} to {last} run backwards: {whole}", where, f"--from {last} --to {first}")


def _edit(
    kit: Kit, original: str, start: str, change: Callable[[list[Candidate]], list[str]], seed: int, order: _Order, count: int | None
) -> Made:
    """Let `change` work on `tries` candidates for each result, all beginning as `start`; judge, choose and record them."""
    _check_number(order.n)
    candidates = [Candidate(start, _seed(seed, i)) for i in range(order.n * kit.config.tries)]
    with kit.meter.charge(kit.book, kit.run, "candidates") as bill:
        notes = change(candidates)
        before = kit.index.nearest(original)
        for candidate in candidates:
            candidate.text = kit.medium.canonical(candidate.text)
            if candidate.text == original and not candidate.why:
                candidate.why = "unchanged: the same as before"
        _judge_all(kit, candidates, Pins(), min(kit.copy_below, before.distance))
    if before.distance < kit.copy_below:
        notes.append(f"the piece itself is near the corpus, {before.distance:.2f} from {_name(before)!r}: so is what comes of it")
    chosen = choose(kit, candidates, order.n, apart=0.0, count=count)
    return _record(kit, candidates, chosen, bill.spent, dataclasses.replace(order, parent=artefact_id(original), notes=notes))


def _edited(kit: Kit, n: int, stem: str, out: Path | None, do: str, **pins: object) -> _Order:
    return _Order(n, _numbered(f"{stem or kit.medium.name}-{do}", n, out), out, pins={"do": do, **pins})


def _numbered(name: str, n: int, out: Path | None) -> list[str]:
    """n names for files, numbered on from those of that name that are in `out`, so that nothing there is written over."""
    taken = re.compile(re.escape(name) + r"-(\d+)\.")
    there = [int(found[1]) for path in (out.iterdir() if out and out.is_dir() else ()) if (found := taken.match(path.name))]
    first = max(there, default=0) + 1
    return [f"{name}-{i:0{max(2, len(str(n)))}d}" for i in range(first, first + n)]


def _check_number(n: int) -> None:
    if n < 1:
        raise ConfigError(f"{n} pieces", "-n", "ask for one or more")


# --- what is asked of the engine ----------------------------------------------------------------------------------------------------


def _seed(seed: int, index: int) -> int:
    return (seed * SEEDS + index) % SEED_LIMIT


def _request(kit: Kit, ids: list[int], room: int, seed: int, grammar: str | None = None) -> Request:
    c = kit.config
    sampling = {"temperature": c.temperature, "top_k": 0, "top_p": c.top_p, "min_p": c.min_p}
    return Request(prompt_ids=ids, max_new_tokens=room, seed=seed, grammar=grammar, logprobs=1, **sampling)


def _go_on(kit: Kit, candidates: list[Candidate], grammar: str | None, enough: Callable[[Candidate], bool]) -> list[str]:
    """Write on at the end of each candidate until it ends by itself, there is enough of it, or it has `most_tokens`; returns notes.

    What does not fit into the window is gone on with from its head and its last text; the grammar, which knows only whole pieces, holds for
    the first stretch, and `check` judges the rest.
    """
    pending, stretch, notes = candidates, 0, []
    while pending:
        contexts = [_context(kit, c.text) for c in pending]
        if stretch == 0 and any(cut for _, cut in contexts):
            notes.append("the piece is longer than the model sees at once: it read the beginning's header and the last part")
        rooms = [min(kit.window - len(ids), kit.config.most_tokens - c.tokens) for (ids, _), c in zip(contexts, pending, strict=True)]
        seeds = [(c.seed + stretch * SEEDS * 17) % SEED_LIMIT for c in pending]
        requests = [
            _request(kit, ids, room, seed, grammar if stretch == 0 else None)
            for (ids, _), room, seed in zip(contexts, rooms, seeds, strict=True)
        ]
        for candidate, completion in zip(pending, kit.engine.generate(requests, kit.progress), strict=True):
            candidate.add(completion)
        pending = [c for c in pending if not c.ended and c.tokens < kit.config.most_tokens and not enough(c)]
        stretch += 1
    return notes


def _context(kit: Kit, text: str) -> tuple[list[int], bool]:
    """(ids that the model goes on from, whether the text was cut): all of it while a third of the window stays free, else head and end."""
    ids = kit.tokenizer.prompt(text)
    if len(ids) <= kit.window * 2 // 3:
        return ids, False
    head, rest = _head(kit, text, kit.window // 8)
    room = kit.window // 2 - 1 - len(head)
    return [BOS, *head, *kit.tokenizer.encode(rest)[-room:]], True


def _head(kit: Kit, text: str, most: int) -> tuple[list[int], str]:
    """(ids of what stands before the first unit, the rest): a tune's metre and key hold for all of it. No ids if there are over `most`."""
    spans = kit.medium.spans(text)
    head = text[: spans[0][0]] if spans else ""
    ids = kit.tokenizer.encode(head)
    return (ids, text[len(head) :]) if len(ids) <= most else ([], text)


def _fill(kit: Kit, candidates: list[Candidate], start: int, end: int, *, forgiving: bool = False) -> list[str]:
    """Fill text[start:end] of every candidate anew; returns notes. It begins and ends at the same place in all of them.

    forgiving: a filling that does not end, or spoils the piece, leaves that candidate as it was; else it goes in and is judged later.
    """
    asked, notes = [], []
    for candidate in candidates:
        ids, room, note = _gap(kit, candidate.text, start, end)
        notes += note
        grammar = kit.medium.filling(candidate.text, start, end)
        asked.append(_request(kit, ids, room, (candidate.seed + start * SEEDS) % SEED_LIMIT, grammar))
    for candidate, completion in zip(candidates, kit.engine.generate(asked, kit.progress), strict=True):
        text = candidate.text[:start] + completion.text + candidate.text[end:]
        fits = completion.stop == "eos" and not kit.medium.check(text)
        candidate.put(text if fits or not forgiving else candidate.text, completion, counts=fits or not forgiving)
        if not forgiving and completion.stop != "eos":
            candidate.why = f"unfinished: the filling did not end within {len(completion.ids)} tokens"
    return list(dict.fromkeys(notes))


def _gap(kit: Kit, text: str, start: int, end: int) -> tuple[list[int], int, list[str]]:
    """(ids to fill the gap from, most tokens of the filling, notes). A piece longer than the window is cut around the gap.

    The filling may be twice as long as what stood there. Each side gets half of what is left, or more if the other needs less; the head of
    the piece is kept. Raises DataError when the gap itself takes over half the window.
    """
    encode = kit.tokenizer.encode
    before = len(encode(text[start:end]))
    if before > kit.window // 2:
        what = f"the range is {before} tokens long, more than the {kit.window // 2} that this model can fill at once"
        raise DataError(what, "--from/--to", f"repaint fewer {kit.medium.unit}s at a time")
    room = min(2 * before + 16, kit.window // 2)
    ids = kit.tokenizer.gap(text[:start], text[end:])
    if len(ids) + room <= kit.window:
        return ids, room, []
    head, rest = _head(kit, text[:start], kit.window // 8)
    left, right = encode(rest), encode(text[end:])
    free = kit.window - room - len(kit.tokenizer.gap("", "")) - len(head)
    keep_left = min(len(left), max(free // 2, free - len(right)))
    left, right = left[len(left) - keep_left :], right[: free - keep_left]
    bos, prefix, suffix, middle = kit.tokenizer.gap("", "")
    note = f"the piece is longer than the model sees at once: it read {len(left)} tokens before the gap and {len(right)} behind it"
    return [bos, prefix, *head, *left, suffix, *right, middle], room, [note]


# --- judging, choosing, recording ---------------------------------------------------------------------------------------------------


def _judge_all(kit: Kit, candidates: list[Candidate], pins: Pins, copy_below: float) -> None:
    for i, candidate in enumerate(candidates):
        _judge(kit, candidate, pins, copy_below)
        if kit.progress:
            kit.progress("compare with the corpus", (i + 1) / len(candidates))


def _judge(kit: Kit, candidate: Candidate, pins: Pins, copy_below: float) -> None:
    """Check the candidate, find its nearest document, and say what speaks against it, if anything does."""
    medium = kit.medium
    candidate.problems = medium.syntax(candidate.text)
    candidate.units = len(medium.spans(candidate.text))
    if candidate.problems:
        candidate.why = candidate.why or f"not valid: {candidate.problems[0]}"
        return
    candidate.flaws = medium.check(candidate.text)
    nearest = kit.index.nearest(candidate.text)
    candidate.nearest_name, candidate.nearest_path, candidate.distance = nearest.name, nearest.path, nearest.distance
    if candidate.why:
        return
    if is_copy(nearest.distance, copy_below):
        candidate.why = f"a copy: {nearest.distance:.2f} from {_name(nearest)!r}"
    elif pins.least is not None and candidate.units < pins.least:
        candidate.why = f"too short: {candidate.units} {medium.unit}s of at least {pins.least}"
    elif pins.most is not None and candidate.units > pins.most:
        candidate.why = f"too long: {candidate.units} {medium.unit}s of at most {pins.most}"


def choose(kit: Kit, candidates: Sequence[Candidate], n: int, *, apart: float, count: int | None = None) -> list[Candidate]:
    """The n best of those that nothing speaks against, best first, no two nearer to each other than `apart`; at most n.

    Order: the wanted number of units, if `count` says one; without a flaw, then with few; ended by itself; within what is usual (not
    likelier than 95% of real pieces, nor shorter or longer than 95% of them); then likeliest first. Ties go to the earlier draw; one
    whose likelihood llama.cpp could not say (characters of several tokens) stands in the middle.
    """
    left = [c for c in candidates if not c.why]
    middle = float(np.median([c.logprob_per_byte for c in left if c.logprob_per_byte is not None] or [0.0]))
    left.sort(key=lambda c: _rank(kit.usual, c, count, middle))
    chosen: list[Candidate] = []
    for candidate in left:
        if len(chosen) == n:
            break
        if all(c.text != candidate.text and (not apart or kit.medium.distance(c.text, candidate.text) >= apart) for c in chosen):
            chosen.append(candidate)
    return chosen


def _rank(usual: Usual, candidate: Candidate, count: int | None, middle: float) -> tuple[int, float, bool, bool, float]:
    likely = middle if candidate.logprob_per_byte is None else candidate.logprob_per_byte
    dull = usual.logprob_per_byte is not None and likely > usual.logprob_per_byte[1]
    odd = count is None and usual.units is not None and not usual.units[0] <= candidate.units <= usual.units[1]
    return (
        0 if count is None else abs(candidate.units - count),
        len(candidate.flaws) / max(1, candidate.units),
        count is None and not candidate.ended,
        count is None and (dull or odd),
        -likely,
    )


def _share(spent: Reading, candidates: list[Candidate]) -> None:
    """Divide what was spent over the candidates by the tokens that each drew."""
    total = sum(max(1, c.tokens) for c in candidates)
    for c in candidates:
        part = max(1, c.tokens) / total
        c.cost = Reading(spent.seconds * part, spent.joules * part, spent.usd * part)


def _record(kit: Kit, candidates: list[Candidate], chosen: list[Candidate], spent: Reading, order: _Order) -> Made:
    """Write the chosen pieces' files, put every candidate into the ledger, kept ones first, and return all of it.

    A file that cannot be written still leaves every candidate in the ledger. A piece that was kept at another time and is not chosen now
    stays kept.
    """
    _share(spent, candidates)
    _give_reasons(kit, chosen, candidates)
    others = [c for c in candidates if not any(c is k for k in chosen)]
    files: list[list[str]] = [[] for _ in chosen]
    try:
        if order.out is not None and chosen:
            with kit.meter.charge(kit.book, kit.run, "page"):
                order.out.mkdir(parents=True, exist_ok=True)
                for names, candidate, stem in zip(files, chosen, order.stems, strict=False):
                    names += [path.relative_to(order.out).as_posix() for path in kit.medium.write(candidate.text, order.out / stem)]
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(order.out), "give a folder that you may write to") from e
    finally:
        kept = [_artefact(kit, c, True, names, order) for c, names in zip(chosen, files, strict=True)]
        before = {a.id for a in kit.book.artefacts(kept=True)} | {order.parent}  # the last choice about a thing counts: leave those be
        rejected = [_artefact(kit, c, None if artefact_id(c.text) in before else False, [], order) for c in others]
        for artefact in (*kept, *rejected):
            kit.book.artefact(artefact)
    return Made(kept, rejected, order.n, spent, [*order.notes, *_short(order.n, chosen, others)])


def _give_reasons(kit: Kit, chosen: list[Candidate], candidates: list[Candidate]) -> None:
    """Say of every candidate without a fault why it was kept or not."""
    for candidate in candidates:
        if candidate.why or any(candidate is c for c in chosen):
            continue
        same = next((c for c in chosen if c.text == candidate.text), None)
        if same is not None:
            candidate.why = "drawn twice: the same as one that is kept"
            continue
        near = min(((kit.medium.distance(c.text, candidate.text), i) for i, c in enumerate(chosen, start=1)), default=None)
        if near is not None and near[0] < kit.copy_below:
            candidate.why = f"like another: {near[0]:.2f} from the kept piece {near[1]}"
        else:
            candidate.why = f"less likely: the {len(chosen)} kept come before it"
    for candidate in chosen:
        flaw = f", though not without a flaw: {candidate.flaws[0]}" if candidate.flaws else ""
        candidate.why = f"kept: among the likeliest of those that are valid and no copies{flaw}"


def _artefact(kit: Kit, c: Candidate, kept: bool | None, files: list[str], order: _Order) -> Artefact:
    made = {"id": artefact_id(c.text), "medium": kit.medium.name, "model": kit.model, "run": kit.run, "text": c.text, "seed": c.seed}
    asked = {"prompt": order.prompt, "pins": order.pins, "parent": order.parent}
    cost = dataclasses.asdict(c.cost)
    found = {"nearest_name": c.nearest_name, "nearest_path": c.nearest_path, "distance": c.distance, "logprob_per_byte": c.logprob_per_byte}
    problems = [str(problem) for problem in (*c.problems, *c.flaws)]
    return Artefact(**made, **asked, **cost, **found, valid=not c.problems, problems=problems, kept=kept, why=c.why, files=files)


def _name(nearest: Nearest) -> str:
    return nearest.name or nearest.path


def _short(n: int, chosen: list[Candidate], others: list[Candidate]) -> list[str]:
    """A note when fewer were found than asked for, with what most of the others died of."""
    if len(chosen) >= n or not others:
        return []
    reasons = [c.why.partition(":")[0] for c in others]
    common = max(dict.fromkeys(reasons), key=reasons.count)
    share = units.percent(reasons.count(common) / (len(chosen) + len(others)))
    return [f"{len(chosen)} of the {n} asked for: {len(chosen) + len(others)} candidates gave no more, and {share} of them were {common}"]
