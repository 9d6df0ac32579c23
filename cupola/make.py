"""The whole pipeline for one model of a project folder, stage by stage; each stage is asked for once and remembered.

data -> tokenizer, rows -> baselines -> plan -> train -> prove -> sample -> page. What costs is charged to the ledger as it happens. A stage
whose result lies on disk for the same inputs is not paid again: a killed `make` started again goes on where it was, inside what is left of
the budget.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import cupola
from cupola import compose, config, corpus, evaluate, gguf, hardware, ledger, modeldir, plot, train, units
from cupola import page as pages
from cupola import plan as plans
from cupola.calibration import said
from cupola.compose import Kit, Made, Usual
from cupola.corpus import Corpus
from cupola.engine import Engine, Proof, prove
from cupola.errors import DataError, MachineError
from cupola.forecast import Interval, Remembered, bits
from cupola.ledger import Book
from cupola.media import MEDIA, Document, Medium
from cupola.meter import Budget, Meter, Reading
from cupola.plan import Plan
from cupola.project import Project
from cupola.tokens import SMALLEST_VOCABULARY, Stream, Tokenizer, train_tokenizer
from cupola.train import Outcome, Tick

Progress = Callable[[str, float | None], None]
HEART = "the watched pieces had become worse three times running: it cooled early, before learning the corpus by heart"
YARDSTICK = 100  # held-out documents whose distance to the corpus is measured
ENDED = {"planned": "", "late": "the machine was slower than planned: the decay began earlier", "early: learning by heart": HEART}
MOST_COPIES = 0.5  # of the valid candidates: with more of them `make` says so
ENOUGH = 150  # pieces: of 84 icons a model learns to draw 37% whole by itself, of 169 50%, of 340 77%, of 851 94% (LOG.md, 2026-11-25)
ENOUGH_BYTES = 100_000  # a few long pieces teach as much as many short ones
NEAR = 0.7  # of the median distance that real held-out documents have: nearer ones on the median, and `make` says so
PROVED = 100  # held-out documents whose ids are compared in the proof


class Foundry:
    """One model of one project, with the ledger open for writing; a context manager.

    kind: of the ledger's run. "make" goes on with an unfinished one of the same settings and counts what that has used; others begin anew.
    made: a model folder that was delivered: it is used as it is, and nothing is trained.
    say(stage, line): a finished stage's line, for people. progress(what, share): what is going on. ticks(tick): every training step.
    """

    def __init__(
        self,
        project: Project,
        model: str | None = None,
        *,
        kind: str = "make",
        made: Path | None = None,
        say: Callable[[str, str], None] = lambda stage, line: None,
        progress: Progress = lambda what, share: None,
        ticks: Callable[[Tick, Reading], None] = lambda tick, spent: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.project, self.say, self.progress, self.ticks, self.clock = project, say, progress, ticks, clock
        self.kind, self.made = kind, made
        self.name, self.table = project.model(model)
        self.seed = project.settings.project.seed
        self.notes: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Foundry:
        settings = self.project.settings
        try:
            self.project.work.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise MachineError(f"cannot write: {e.strerror}", str(self.project.work), "choose a project folder you may write to") from None
        self.meter = Meter(hardware.describe(), hardware.price(settings.price), watts=settings.price.watts, clock=self.clock)
        self.book: Book = self._stack.enter_context(ledger.open(self.project.folder))
        self.budget: Budget = settings.budget.limits()
        self.run_id = self._continue()
        self.prior = _reading(self.book.totals(self.run_id))
        if self.prior.seconds:
            self.note(
                f"going on with what was begun: {units.seconds(self.prior.seconds)} and {units.usd(self.prior.usd)} of the budget are used"
            )
        for warning in self.meter.warnings:
            self.say("note", warning)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.book.note(self.run_id, f"ended by {kind.__name__}")
        elif self.kind != "make":
            self.book.finish_run(self.run_id, "done")
        self._stack.close()

    def note(self, text: str, *, lasting: bool = True, **detail: Any) -> None:
        """Something the person should know: shown and written to the ledger; a `lasting` one is on the page and the card too."""
        if lasting and text in self.notes:
            return
        if lasting:
            self.notes.append(text)
        self.book.note(self.run_id, text, detail)
        self.say("note", text)

    def _continue(self) -> str:
        """The unfinished run with these settings if there is one, else a new one."""
        if self.kind != "make":
            return self.book.start_run(self.kind, self.name, self.project.folder.name)
        base = f"{self.name}-{self.project.fingerprint()[:12]}"  # whatever the budget: a raised one goes on with what a smaller one began
        status: dict[str, str] = {}
        for line in self.book.lines():
            if str(line.get("run", "")).startswith(base):
                status[line["run"]] = line.get("status") or status.get(line["run"], "")
        open_runs = [run for run, state in status.items() if state != "done"]
        run = open_runs[-1] if open_runs else f"{base}-{len(status) + 1}"
        return self.book.start_run("make", self.name, str(self.project.folder.name), self.project.settings.model_dump(mode="json"), id=run)

    @property
    def out(self) -> Path:
        """Where the page, the pieces and the model go: out/, or out/NAME where the project has several models."""
        return self.project.out if len(self.project.settings.models) == 1 else self.project.out / self.name

    def spent(self) -> Reading:
        """What this run has used so far, earlier attempts included."""
        return self.prior + self.meter.read()

    def left(self) -> float:
        """Seconds until the tightest gate of the budget closes, at the pace of a busy machine."""
        return self.budget.left_seconds(self.spent(), self.meter.expect(1.0))

    @contextmanager
    def charged(self, kind: str) -> Iterator[Any]:
        """What the block costs goes to the ledger; nothing is begun with the budget used up."""
        self.budget.check(self.spent())
        with self.meter.charge(self.book, self.run_id, kind) as bill:
            yield bill

    # --- the corpus and its rows -----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def corpus(self) -> Corpus:
        """Documents, split; made once for the same sources and files."""
        with self.charged("corpus"):
            made = corpus.build(
                MEDIA[self.table.medium],
                list(self.table.sources),
                self.table.corpus,
                self.project.folder,
                self.project.cache,
                self.progress,
                self.table.options,
            )
            for note in made.report.notes:
                self.note(note)
            if gone := made.report.left_out:
                self.say("note", f"{len(gone)} files left out (`cupola data` lists them), the first {gone[0].path}: {gone[0].why}")
            for source in made.report.sources:
                if source.notice:
                    self.note(source.notice)
        self.say("corpus", made.report.line())
        return made

    @functools.cached_property
    def medium(self) -> Medium:
        """Fitted to the corpus; of a model that was given, as that model knows it."""
        settings = self.known.get("notation", {}) if self.made else self.corpus.settings
        return MEDIA[self.table.medium].restore(settings)

    @functools.cached_property
    def key(self) -> str:
        """Of what is trained on and how, whatever the budget."""
        return _hash(self.corpus.fingerprint, self.table.train.model_dump_json())

    @functools.cached_property
    def run(self) -> Path:
        """The run's folder: an unfinished one of the same key, also if its budget was another; else the one of this key and budget."""
        runs = self.project.work / "runs"
        for folder in sorted(runs.glob(f"{self.name}-{self.key}-*")):
            if (folder / "plan.json").exists() and not (folder / "outcome.json").exists():
                return folder
        return runs / f"{self.name}-{self.key}-{_hash(self.project.settings.budget.model_dump_json())[:6]}"

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        if self.made:
            return Tokenizer.load(self.made)
        folder = self.run / "tokenizer"
        size = self.table.train.vocab_size or vocabulary(self.medium, self.corpus)
        if not (folder / "tokenizer.json").exists():
            with self.charged("corpus"):
                self.progress("learning a vocabulary", None)
                made = train_tokenizer(self.corpus.train.texts(), self.medium.pretokenizer, size)
                made.save(folder.with_name(".tokenizer"))
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_name(".tokenizer").rename(folder)
        return Tokenizer.load(folder)

    @functools.cached_property
    def stream(self) -> Stream:
        settings = self.table.train
        return Stream(
            self.corpus,
            self.tokenizer,
            self.corpus.folder / "rows",
            seed=settings.seed,
            fim=settings.fim,
            variants=settings.variants,
            medium=self.medium,
        )

    @functools.cached_property
    def baselines(self) -> evaluate.Baselines:
        """What the held-out documents cost without a model; kept with the corpus."""
        path = self.corpus.folder / "baselines.json"
        with self.charged("evaluate"):
            if path.exists():
                return evaluate.Baselines(**json.loads(path.read_text("utf-8")))
            texts = ((t.encode() for t in split.texts()) for split in (self.corpus.train, self.corpus.held_out))
            made = evaluate.baselines(*texts, progress=self.progress)
            _write(path, json.dumps(dataclasses.asdict(made), indent=1))
        return made

    @functools.cached_property
    def index(self) -> evaluate.Originality:
        with self.charged("evaluate"):
            return evaluate.Originality(self.medium, self.corpus.train, progress=self.progress)

    @functools.cached_property
    def yardstick(self) -> np.ndarray:
        """How far real held-out documents lie from their nearest training document, sorted; kept with the corpus."""
        if self.made:
            return np.array(self.known["yardstick"])
        path = self.corpus.folder / "yardstick.json"
        if path.exists():
            return np.array(json.loads(path.read_text("utf-8")))
        index = self.index
        with self.charged("evaluate"):
            distances = evaluate.yardstick(index, self.corpus.held_out, YARDSTICK, progress=self.progress)
            _write(path, json.dumps(distances.tolist()))
        return distances

    # --- plan and training -----------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def reserve(self) -> float:
        """Seconds held back for everything after the training: saving, proof, evaluation, candidates, page."""
        held_out = self.corpus.report.splits["held_out"].bytes
        return 9.0 + held_out / 40_000 + 0.5 * self.table.count  # measured on two cores (LOG.md): 7 s, 60 kB/s and 0.4 s a piece

    @functools.cached_property
    def plan(self) -> Plan:
        """Made anew each time it is asked for in a process, unless this run has begun: then its own stands.

        The ladder's finished runs are in the ledger: a second plan pays only for what is missing.
        """
        base, tokenizer, stream = self.baselines, self.tokenizer, self.stream
        if few := too_few(self.medium, self.corpus):
            self.note(few)
        share = self.project.settings.budget.ladder
        most = share * max(0.0, self.left() - self.reserve)
        if most > plans.LEAST_SURVEY:
            cost = self.meter.expect(most)
            self.note(f"small runs come first, for up to {units.seconds(most)} and {units.usd(cost.usd)} of the budget", lasting=False)
        with self.charged("plan") as bill:
            scene = plans.Scene(
                table=self.table,
                corpus=self.corpus,
                tokenizer=tokenizer,
                tokenizer_folder=self.run / "tokenizer",
                stream=stream,
                run=self.run,
                rungs=self.project.work / "runs" / "ladder",
                meter=self.meter,
                book=self.book,
                run_id=self.run_id,
                ladder=share,
                baseline=base.ngram,
                left=lambda: self.left() - self.reserve,
                check=lambda: self.budget.check(self.spent()),
                settle=bill.settle,
                clock=self.clock,
                progress=self.progress,
            )
            made = plans.make(scene)
            generation = {
                "temperature": self.table.compose.temperature,
                "top_p": self.table.compose.top_p,
                "min_p": self.table.compose.min_p,
            }
            made = dataclasses.replace(made, run=made.run.model_copy(update={"generation": generation}))
        for label, text in made.lines():
            self.say(label, text)
        for note in made.notes:
            self.note(note)
        return made

    def plan_picture(self) -> str | None:
        """Draw the plan made in this process as out/plan.svg; its path, None without a law."""
        if not self.plan.quality:
            return None
        path = self.out / "plan.svg"
        remembered = plans.remember(self.plan, self.stream.pass_tokens)
        _write(path, remembered.svg(None, 640, 420, f"Forecast of {self.name}"))
        self.say("plot", str(path))
        return str(path)

    def versus(self, usd: float, volume: float | None) -> plans.Versus:
        """The plan beside a rented model at `usd` a million tokens, everything that this project has cost so far counted in."""
        return plans.versus(self.plan, self.book.totals().usd, 1 / self._tokens_per_byte, usd, volume)

    @functools.cached_property
    def outcome(self) -> Outcome:
        """Train, or go on training, or find it done."""
        finished = self.run / "outcome.json"
        if finished.exists() and (self.run / "final" / "model.safetensors").exists():
            self.note("this model was trained before, with the same corpus, settings and budget: nothing to pay again")
            return Outcome(**json.loads(finished.read_text("utf-8")))
        if not (self.run / "plan.json").exists():
            made = self.plan
            with self.charged("corpus"):
                self.stream.prepare(made.tokens, self.table.train.length, self.progress)
            config.write(self.run / "config.toml", self.table)
            self._forecast(made)
            train.write_plan(self.run, made.run)
        with self.charged("train") as bill:
            settle, corrected = _now_and_then(bill.settle, self.clock), False

            def tick(t: Tick) -> None:
                nonlocal corrected
                if t.note:
                    self.note(t.note, lasting=False, step=t.step)
                settle()
                if not corrected and t.step >= t.max_steps / 3:
                    corrected = True
                    self._correct(t.step)
                self.ticks(t, self.spent())

            outcome = train.train(self.run, left=lambda: self.left() - self.reserve, progress=tick, clock=self.clock)
        self._outcome(outcome)
        _write(self.run / "loss.svg", self.loss_svg())
        return outcome

    def _forecast(self, made: Plan) -> None:
        """To the ledger, before anything is known; and beside the run, for whoever goes on with it."""
        by = f"law {made.law.form}, {made.law.n} runs" if made.law else ""
        if made.quality:
            self._foretell("bits_per_byte", made.quality, "bits/byte", by)
        self._foretell("train_seconds", made.seconds, "seconds", "measured speed")
        self._foretell("train_joules", made.joules, "joules", f"measured speed, {made.joules_by}")
        self._foretell("train_usd", made.usd, "usd", f"measured speed, {self.meter.usd_by}")
        _write(self.run / "forecast.json", json.dumps(plans.remember(made, self.stream.pass_tokens).plain(), indent=1))

    def _foretell(self, quantity: str, expected: Interval, unit: str, by: str) -> None:
        self.book.forecast(self.run_id, quantity, expected.p10, expected.p50, expected.p90, unit, by, id=f"{self.run.name}:{quantity}")

    def _correct(self, step: int) -> None:
        """A second forecast of quality, now that the run's own curve says something; the first stands."""
        remembered = self.forecast
        if remembered is None:
            return
        looks = [(line["step"], line["bits_per_byte"]) for line in train.metrics(self.run) if line["bits_per_byte"] is not None]
        better = remembered.corrected(looks, step)
        if better:
            self._foretell("bits_per_byte, corrected", better, "bits/byte", "the law and the first third of the run")
            self.note(f"after a third of the run: {better.show(bits)} bits/byte expected", lasting=False)

    @property
    def forecast(self) -> Remembered | None:
        """What was foretold of this run, as it lies beside it; None for one that was planned without a law or by an older cupola."""
        path = self.run / "forecast.json"
        remembered = Remembered.read(path) if path.exists() else None
        return remembered if remembered and remembered.quality else None

    def _outcome(self, outcome: Outcome) -> None:
        spent = self.book.totals(self.run_id).by_kind["train"]
        for quantity, value in (("train_seconds", outcome.seconds), ("train_joules", spent.joules), ("train_usd", spent.usd)):
            self._came(quantity, value)

    def _came(self, quantity: str, value: float) -> None:
        forecast = f"{self.run.name}:{quantity}"
        if any(f["id"] == forecast for f in self.foretold()):
            self.book.outcome(forecast, value, id=f"{forecast}:outcome")

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Bits per byte by step: in training (smoothed, as trained on, gaps and all) and on the watched documents."""
        per_byte = self._tokens_per_byte / math.log(2)
        lines = {line["step"]: line for line in train.metrics(self.run)}
        return {
            "training": [(step, line["loss"] * per_byte) for step, line in sorted(lines.items())],
            "watched": [(step, line["bits_per_byte"]) for step, line in sorted(lines.items()) if line["bits_per_byte"] is not None],
        }

    @functools.cached_property
    def _tokens_per_byte(self) -> float:
        texts = [d.text for d in self.corpus.watch]
        return sum(map(len, self.tokenizer.encode_many(texts))) / max(1, sum(len(t.encode()) for t in texts))

    def plan_svgs(self, came: float | None = None) -> list[str]:
        """The forecast as pictures, wide and narrow; with what came, once that is known. Empty without a law."""
        remembered = self.forecast
        if remembered is None:
            return []
        return [remembered.svg(came, width, height, f"Forecast of {self.name}") for width, height in ((1000, 420), (340, 340))]

    def loss_svg(self) -> str:
        return plot.loss_svg(self.curves(), title=f"Training of {self.name}")

    # --- proof -----------------------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def folder(self) -> Path:
        """The model folder as trained, or as it was given, GGUF beside it."""
        if self.made:
            return self.made
        _ = self.outcome
        return self.run / "final"

    @functools.cached_property
    def score(self) -> evaluate.Score:
        """Bits per byte of the model on all held-out documents, whole."""
        with self.charged("evaluate"):
            score = score_folder(self.folder, self.corpus.held_out, self.table.train.length, self.progress)
        if not self.made:
            self._came("bits_per_byte", score.bits_per_byte)
            self._came("bits_per_byte, corrected", score.bits_per_byte)
        return score

    @functools.cached_property
    def proof(self) -> Proof:
        """Export, load in llama.cpp, compare with Transformers. Raises ProofError where they differ."""
        folder = self.folder
        with self.charged("proof"):
            path = gguf.export(folder)
            documents = [self.corpus.held_out.document(i).text for i in range(min(PROVED, len(self.corpus.held_out)))]
            return prove(folder, path, documents=documents, progress=self.progress)

    def prove(self) -> str:
        """The line that says how good the model is and that its export is the same model."""
        proof, score, base = self.proof, self.score, self.baselines
        line = f"{score}; n-gram {base.ngram:.2f}; xz {base.xz:.2f} · {proof.summary}"
        self.say("proof", line)
        verdict = evaluate.verdict(score, base)
        if verdict:
            self.note(verdict)
        return line

    # --- new pieces ------------------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def usual(self) -> Usual:
        """What real held-out documents show."""
        if self.made:
            likely, units = self.known["logprob_per_byte"], self.known["units"]
            return Usual(self.yardstick, tuple(likely) if likely else None, tuple(units) if units else None)
        return Usual.of(self.medium, self.corpus.held_out, self.yardstick, self.score)

    @functools.cached_property
    def known(self) -> dict[str, Any]:
        """cupola.json of a model folder that was given. Raises DataError when it is damaged or another medium's."""
        assert self.made
        path = self.made / "cupola.json"
        try:
            known = json.loads(path.read_text("utf-8"))
            medium, corpus_then = known["medium"], known["corpus"]
        except (OSError, ValueError, KeyError) as e:
            raise DataError(f"no readable cupola.json: {e}", str(self.made), "give the folder that `cupola make` delivered") from None
        if medium != self.table.medium:
            raise DataError(f"a model of {medium}, and this project's is {self.table.medium}", str(self.made), "say which with --model")
        if corpus_then != self.corpus.fingerprint:
            self.note("the corpus has changed since this model was made: what is a copy is judged by the corpus as it is now")
        return known

    @contextmanager
    def kit(self) -> Iterator[Kit]:
        """Everything that compose works with; the engine is loaded while the block runs."""
        index, usual, path = self.index, self.usual, self.folder / "model.gguf"
        if not path.exists():
            _ = self.proof
        with Engine(path, self.tokenizer, slots=self.meter.machine.cores) as engine:
            yield Kit(
                medium=self.medium,
                tokenizer=self.tokenizer,
                engine=engine,
                index=index,
                usual=usual,
                meter=self.meter,
                book=self.book,
                run=self.run_id,
                model=self.name,
                config=self.table.compose,
                progress=self.progress,
            )

    def sample(self, n: int, *, prompt: str = "", label: str = "", seed: int | None = None, out: Path | None = None) -> Made:
        """n new pieces with their files in `out`; see compose.sample."""
        with self.kit() as kit:
            seed = self.seed if seed is None else seed
            made = compose.sample(kit, n, prompt=prompt, label=label, seed=seed, out=out, stop=lambda: self.left() < 2)
        for text in made.notes:
            self.note(text)
        self.say("made", self.made_line(made, out))
        return made

    def made_line(self, made: Made, out: Path | None) -> str:
        """About: 12 tunes in out/, from 48 candidates: 97% valid; 2% copies thrown away; nearest kept: 0.41 from "..." (real: 0.44)"""
        what, where = corpus.plural(self.medium.name), f" in {out.name}/" if out else ""
        parts = [f"{len(made.kept)} {what}{where}, from {made.drawn} candidates: {units.percent(made.valid_share)} valid"]
        if bars := self.bars(made):
            parts[0] += f", {units.percent(bars)} full bars"
        if made.flawless_share < made.valid_share:
            parts[0] += f", {units.percent(made.flawless_share)} without a flaw"
        parts.append(f"{units.percent(made.copy_share)} copies thrown away")
        if nearest := made.nearest:
            distance = f"{nearest.distance:.2f}" if nearest.distance is not None else "?"
            real = f"(real {what}: {np.median(self.yardstick):.2f})"
            parts.append(f'nearest kept: {distance} from "{nearest.nearest_name}" {real}')
        return "; ".join(parts)

    def fell_short(self, made: Made) -> list[str]:
        """What a person may expect of this medium and did not get, a sentence each, with the figures."""
        what, passing = corpus.plural(self.medium.name), self.medium.passing
        out = []
        if made.drawn and made.copy_share > MOST_COPIES:
            fix = f"more {what} to learn from help most; see docs/media.md"
            out.append(f"{units.percent(made.copy_share)} of the valid candidates were copies (half are usual at most): {fix}")
        if made.drawn and made.flawless_share < passing:
            out.append(f"{units.percent(made.flawless_share)} of the candidates pass every check, where {units.percent(passing)} are usual")
        real = float(np.median(self.yardstick))
        if made.distance is not None and made.distance < NEAR * real:
            out.append(
                f"what is no copy lies {made.distance:.2f} from the corpus (median), under {NEAR:g} of what real {what} show, {real:.2f}"
            )
        return out

    def bars(self, made: Made) -> float | None:
        """The share of full bars over all valid candidates, where the medium counts bars."""
        count = getattr(self.medium, "bars", None)
        if count is None:
            return None
        pairs = [count(a.text) for a in (*made.kept, *made.rejected) if a.valid]
        return sum(full for full, _ in pairs) / max(1, sum(counted for _, counted in pairs))

    # --- delivery --------------------------------------------------------------------------------------------------------------------

    def make(self) -> dict[str, Any]:
        """The whole pipeline; returns what --json prints."""
        _ = self.corpus, self.baselines, self.yardstick, self.outcome
        self.prove()
        out = self.out
        clear(out, self.medium)
        made = self.sample(self.table.count, out=out) if self.table.count else Made([], [], 0, Reading(), [])
        for text in self.fell_short(made):
            self.note(text)
        made_set = self.collect(made)
        with self.meter.charge(self.book, self.run_id, "page"):
            model = self.deliver(made)
            facts = dataclasses.replace(self.facts(made), together=made_set)
            page = pages.write_page(out, facts, [*made.kept, *made.rejected], self.medium)
        self.book.finish_run(self.run_id, "done", {"kept": len(made.kept)})
        totals = self.book.totals(self.run_id)
        self.say("ledger", ledger.summary(totals))
        for line in self.told():
            self.say("forecast", line)
        self.say("page", str(page))
        return {
            "page": str(page),
            "model": str(model),
            "corpus": json.loads(self.corpus.report.model_dump_json()),
            "outcome": dataclasses.asdict(self.outcome),
            "score": score_facts(self.score, self.baselines),
            "forecasts": self.foretold(),
            "proof": self.proof.summary,
            "made": [dataclasses.asdict(a) for a in made.kept],
            "drawn": made.drawn,
            "valid": made.valid_share,
            "copies": made.copy_share,
            "flawless": made.flawless_share,
            "distance": made.distance,
            "real_distance": float(np.median(self.yardstick)),
            "set": made_set,
            "totals": totals.plain(),
            "notes": self.notes,
        }

    def collect(self, made: Made) -> list[str]:
        """All kept pieces as one set in out/ (sprites.png with its JSON), where the medium has such a thing; the files' names."""
        if not made.kept:
            return []
        paths = self.medium.collect([a.text for a in made.kept], self.out / corpus.plural(self.medium.name).replace(" ", "-"))
        return [path.relative_to(self.out).as_posix() for path in paths]

    def foretold(self) -> list[dict[str, Any]]:
        """Each forecast of this run beside what came."""
        return [f for f in self.book.forecasts() if f["id"].startswith(f"{self.run.name}:")]

    def told(self) -> list[str]:
        """The last lines of `make`: what was said beforehand, what came, and whether it was inside."""
        known = [f for f in self.foretold() if f["outcome"] is not None]
        unsaid = [] if any(f["quantity"] == "bits_per_byte" for f in known) else [f"bits_per_byte: not forecast, came {self.score}"]
        return [*unsaid, *map(said, known)]

    def deliver(self, made: Made | None = None) -> Path:
        """The proved model folder, with its card, as out/model; one that was there is replaced."""
        _ = self.proof
        folder, target = self.folder, self.out / "model"
        _write(folder / "loss.svg", self.loss_svg())
        known = {
            "cupola": cupola.__version__,
            "medium": self.medium.name,
            "notation": self.medium.settings(),
            "name": self.name,
            "corpus": self.corpus.fingerprint,
            "length": self.table.train.length,
            "yardstick": self.yardstick.tolist(),
            "logprob_per_byte": self.usual.logprob_per_byte,
            "units": self.usual.units,
            "bits_per_byte": self.score.bits_per_byte,
        }
        _write(folder / "cupola.json", json.dumps(known, indent=1))
        modeldir.write_card(folder, self.card(made))
        temporary = target.with_name(".model")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(folder, temporary)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        except OSError as e:
            raise MachineError(
                f"cannot write: {e.strerror}", str(target), "free some space; the model itself is kept in " + str(folder)
            ) from None
        return target

    def _expected_seconds(self, planned: float) -> str:
        """As it was foretold, where the ledger has that."""
        told = [f for f in self.foretold() if f["quantity"] == "train_seconds"]
        return Interval(told[0]["p10"], told[0]["p50"], told[0]["p90"]).show(units.seconds) if told else units.seconds(planned)

    def _expected_quality(self) -> str:
        remembered = self.forecast
        return remembered.quality.show(bits) if remembered and remembered.quality else "not forecast"

    def _said_of_quality(self) -> str:
        remembered = self.forecast
        if remembered is None:
            return "measured speed and the dial; quality was not forecast"
        return f"a ladder of {remembered.points} runs foretold {self._expected_quality()} bits per byte"

    def card(self, made: Made | None) -> dict[str, Any]:
        """What modeldir.write_card is told."""
        report, outcome, base, totals = self.corpus.report, self.outcome, self.baselines, self.book.totals(self.run_id)
        planned = train.read_plan(self.run)
        origins = {s.licence: s for s in report.sources}
        originality: dict[str, float] = {"real": float(np.median(self.yardstick))}
        if made and made.kept:
            originality |= {
                "nearest": float(np.median([a.distance for a in made.kept if a.distance is not None])),
                "copies": made.copy_share,
            }
        return {
            "name": self.name,
            "medium": self.medium.name,
            "machine": str(self.meter.machine),
            "proof": self.proof.summary,
            "corpus": report.line(),
            "licences": [
                {
                    "licence": licence,
                    "documents": part.documents,
                    "origin": origins[licence].credit if licence in origins else "",
                    "allow": origins[licence].allow if licence in origins else None,
                }
                for licence, part in report.licences.items()
            ],
            "sources": [f"{s.source}{f', sha256 {s.digest}' if s.digest else ''}" for s in report.sources],
            "plan": {
                "steps": planned.max_steps,
                "seconds": planned.seconds,
                "law": self._said_of_quality(),
            },
            "outcome": {
                "steps": outcome.steps,
                "seconds": outcome.seconds,
                "bits_per_byte": self.score.bits_per_byte,
                "note": outcome.ended,
            },
            "scores": {
                "bits_per_byte": {"value": self.score.bits_per_byte, "low": self.score.low, "high": self.score.high},
                "ngram": base.ngram,
                "xz": base.xz,
                "byte_entropy": base.entropy,
                "documents": self.score.documents,
                "originality": originality,
                **({"valid": made.valid_share} if made else {}),
            },
            "cost": {
                "usd": totals.usd,
                "usd_by": self.meter.usd_by,
                "kwh": totals.joules / units.JOULES_PER_KWH,
                "kwh_by": self.meter.joules_by,
                "kwh_range": self.meter.joules_range,
                "seconds": totals.seconds,
            },
            "limits": self.notes,
            "versions": {"cupola": cupola.__version__, **train.versions()},
            "curves": "loss.svg",
        }

    def facts(self, made: Made) -> pages.Facts:
        """What the page is told."""
        report, base, outcome, totals = self.corpus.report, self.baselines, self.outcome, self.book.totals(self.run_id)
        planned = train.read_plan(self.run)
        low, middle, high = np.percentile(self.yardstick, [10, 50, 90])
        rows = [
            pages.Row("training", self._expected_seconds(planned.seconds or 0), units.seconds(outcome.seconds)),
            pages.Row("steps", f"{planned.max_steps:,}", f"{outcome.steps:,}"),
            pages.Row("quality", self._expected_quality(), str(self.score)),
            pages.Row(
                "everything", str(self.budget), f"{units.seconds(totals.seconds)}, {units.usd(totals.usd)}, {units.kwh(totals.joules)}"
            ),
        ]
        scores = [
            pages.Score("this model", self.score.bits_per_byte, self.score.low, self.score.high),
            pages.Score("n-gram, order 8", base.ngram),
            pages.Score("xz, given the corpus", base.xz),
            pages.Score("byte frequencies", base.entropy),
        ]
        energy = f"{units.kwh(totals.joules)}, {self.meter.joules_by} ±{units.percent(self.meter.joules_range)}"
        return pages.Facts(
            name=self.project.settings.project.name,
            corpus=report.line(),
            made=self.made_line(made, None),
            rows=rows,
            scores=scores,
            figures={
                "cost": f"{units.usd(totals.usd)}|{energy}",
                "held-out bits per byte": f"{self.score.bits_per_byte:.2f}|n-gram {base.ngram:.2f}, xz {base.xz:.2f}",
                "candidates": f"{made.drawn}|{units.percent(made.valid_share)} valid, {units.percent(made.copy_share)} copies",
            },
            proof=self.proof.summary,
            cost=ledger.summary(totals),
            plan=self.plan_svgs(self.score.bits_per_byte),
            curves=self.curves(),
            marks={"delivered": outcome.best_step},
            curve_note=ENDED.get(outcome.ended, outcome.ended),
            yardstick=pages.Yardstick(low, middle, high, self.table.compose.copy_share * middle),
            origins=[pages.Origin(s.source, s.licence, f"{s.files:,} files", s.credit) for s in report.sources],
            versions={"cupola": cupola.__version__, **train.versions()},
            lines=[_flat(line) for line in self.book.lines(self.run_id)],
            notes=self.notes,
        )


# --- small parts ------------------------------------------------------------------------------------------------------------------------


def vocabulary(medium: Medium, made: Corpus) -> int:
    """Ids for a corpus of this size: the medium's for a megabyte, a factor of two less or more for each factor of eight.

    A medium that wants its letters one by one says SMALLEST_VOCABULARY and gets that.
    """
    if medium.vocab_size <= SMALLEST_VOCABULARY:
        return SMALLEST_VOCABULARY
    factor = (max(1, made.report.splits["train"].bytes) / 1_000_000) ** (1 / 3)
    return int(min(4_096, max(300, 2 ** round(math.log2(medium.vocab_size * factor)))))


def too_few(medium: Medium, made: Corpus) -> str:
    """What to say before anything is spent where a corpus is too small to learn from; "" where it is not."""
    train, what = made.report.splits["train"], corpus.plural(medium.name)
    if train.documents >= ENOUGH or train.bytes >= ENOUGH_BYTES:
        return ""
    missing = ENOUGH - train.documents
    return f"{train.documents:,} {what} are too few to learn from: {missing} more, or pool them with others of their kind (a second source)"


def score_folder(folder: Path, documents: corpus.Split | list[Document], length: int, progress: Progress | None = None) -> evaluate.Score:
    """Bits per byte of a model folder on whole documents, in float32 on all cores, a worker a core."""
    network, tokenizer = modeldir.load(folder)
    return train.score(network, tokenizer, [d.text for d in documents], length, progress=progress)


def score_facts(score: evaluate.Score, base: evaluate.Baselines) -> dict[str, float | int | None]:
    """As JSON has it: bits per byte with its interval, beside the baselines."""
    return {
        "bits_per_byte": score.bits_per_byte,
        "low": score.low,
        "high": score.high,
        "documents": score.documents,
        "bytes": score.bytes,
        "bits_per_document": score.bits_per_document,
        "ngram": base.ngram,
        "xz": base.xz,
        "entropy": base.entropy,
    }


def clear(out: Path, medium: Medium) -> None:
    """Remove what an earlier `make` put into out/: the numbered pieces and the page, nothing else."""
    for path in out.glob(f"{medium.name}-[0-9]*.*"):
        if path.name.removeprefix(f"{medium.name}-").partition(".")[0].isdigit():
            path.unlink()


def _hash(*facts: str) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _reading(totals: ledger.Totals) -> Reading:
    return Reading(totals.seconds, totals.joules, totals.usd)


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """A ledger line without the long texts, for the page's drawer."""
    return {k: (v if len(str(v)) <= 160 else f"{str(v)[:157]}…") for k, v in line.items() if k not in ("text", "settings", "id", "run")}


def _now_and_then(what: Callable[[], None], clock: Callable[[], float], seconds: float = 3.0) -> Callable[[], None]:
    """`what`, done at most once in so many seconds."""
    last = clock()

    def maybe() -> None:
        nonlocal last
        if clock() - last > seconds:
            last = clock()
            what()

    return maybe


def _write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise MachineError(f"cannot write: {e.strerror}", str(path), "free some space, or choose a folder you may write to") from None
