"""What the verbs print: finished stages on stdout, what is going on meanwhile on stderr, a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cupola import ledger as ledgers
from cupola import units
from cupola.calibration import NOMINAL, SURE, Calibration, calibration, said
from cupola.errors import ConfigError
from cupola.lawplot import calibration_svg
from cupola.meter import Reading
from cupola.project import Project, find
from cupola.train import Tick

PLAIN_SECONDS = 15.0  # between lines where there is no terminal


class Screen:
    """One verb's output. quiet: --json, when stdout belongs to the result."""

    def __init__(self, quiet: bool, err: Console | None = None):
        self.quiet, self.err = quiet, err or Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            console=self.err,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, visible=False, text="")
        self.last = -PLAIN_SECONDS
        self.what = ""

    def say(self, stage: str, line: str) -> None:
        """A finished stage; notes go to stderr."""
        self.bar.update(self.task, visible=False)
        to_stdout = stage != "note" and not self.quiet
        text = f"{stage:<8} {line}"
        if to_stdout:
            self.bar.console.file.flush()
            if self.err.is_terminal and sys.stdout.isatty():
                self.bar.console.print(text, soft_wrap=True, markup=False)
            else:
                print(text, flush=True)
        else:
            self.err.print(text, soft_wrap=True, markup=False)

    def progress(self, what: str, share: float | None) -> None:
        """What is going on, and the share that is done if known."""
        if self.err.is_terminal:
            self.bar.update(
                self.task, description="", total=1.0 if share is not None else None, completed=share or 0.0, visible=True, text=what
            )
        elif what != self.what and time.monotonic() - self.last >= 2:
            self.last, self.what = time.monotonic(), what
            self.err.print(f"{'':<8} {what} ...", markup=False)

    def ticks(self, project: Project) -> Callable[[Tick, Reading], None]:
        """Shows training steps: the bar, or a line each 15 seconds."""
        limit = project.settings.budget.usd

        def show(tick: Tick, spent: Reading) -> None:
            quality = f"{tick.bits_per_byte:.2f} bits/byte" if tick.bits_per_byte is not None else f"loss {tick.loss:.2f}"
            money = units.usd(spent.usd) + (f" of {units.usd(limit)}" if limit else "")
            minutes, seconds = divmod(round(tick.seconds_left), 60)
            pace = f"{tick.tokens_per_second / 1000:.0f} k tokens/s"
            text = f"{tick.step:,}/{tick.max_steps:,}  {quality}  {pace}  {money}  {minutes}:{seconds:02d} left"
            if self.err.is_terminal:
                self.bar.update(self.task, description="train", total=tick.max_steps, completed=tick.step, visible=True, text=text)
            if tick.step >= tick.max_steps and tick.bits_per_byte is not None and self.what != "trained":
                self.what = "trained"
                self.say("train", text)
            elif not self.err.is_terminal and time.monotonic() - self.last >= PLAIN_SECONDS:
                self.last = time.monotonic()
                self.err.print(f"train    {text}", markup=False)

        return show


@contextmanager
def screen(quiet: bool) -> Iterator[Screen]:
    """A Screen whose bar is there while the block runs."""
    shown = Screen(quiet)
    with shown.bar:
        yield shown


def model_folder(path: Path, project: Project | None = None) -> Path:
    """The model folder that a path means: itself, or out/model in it or in the project. Raises ConfigError where there is none yet."""
    for folder in (path, path / "out" / "model", path / "model"):
        if (folder / "model.safetensors").is_file():
            return folder
    make = f"make it first: cupola make {project.folder}" if project else "give a folder with model.safetensors, such as PROJECT/out/model"
    raise ConfigError("no model here", str(path), make)


def model_name(folder: Path) -> str | None:
    """What a delivered model is called in its project; None where it does not say."""
    try:
        return json.loads((folder / "cupola.json").read_text("utf-8"))["name"]
    except (OSError, ValueError, KeyError):
        return None


def ledger(path: Path, lines: bool, forecasts: bool, *, quiet: bool) -> dict[str, Any]:
    """Print a project's ledger and return it as JSON has it; with `forecasts` their picture is written too, out/forecasts.svg."""
    project = find(path)
    with ledgers.read(project.folder) as book:
        totals = book.totals()
        facts: dict[str, Any] = {**totals.plain(), "summary": ledgers.summary(totals)}
        if lines:
            facts["lines"] = book.lines()
        if forecasts:
            facts["forecasts"] = book.forecasts()
    scores = calibration(facts.get("forecasts", []))
    if forecasts:
        facts["calibration"] = [dataclasses.asdict(score) for score in scores]
        facts["plot"] = _forecast_plot(project.out / "forecasts.svg", facts["forecasts"])
    if quiet:
        return facts
    out = Console(highlight=False, soft_wrap=True)
    for line in (
        *_sums(totals, facts["summary"]),
        *map(_forecast_line, facts.get("forecasts", [])),
        *map(_score_line, scores),
        *([f"drawn in {facts['plot']}"] if facts.get("plot") else []),
        *map(_row_line, facts.get("lines", [])),
    ):
        out.print(line, markup=False)
    return facts


def _sums(totals: ledgers.Totals, summary: str) -> Iterator[str]:
    for kind, part in [*totals.by_kind.items(), ("in all", totals)]:
        yield f"{kind:<12} {units.seconds(part.seconds):>14} {units.kwh(part.joules):>14} {units.usd(part.usd):>12}"
    for meter, joules in totals.joules_by.items():
        yield f"energy by {meter}: {units.kwh(joules)}"
    yield f"{totals.kept} kept, {totals.rejected} rejected · {summary}"


def _row_line(line: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in line.items() if k not in ("id", "settings", "text") and v not in (None, "", {}, [])}
    return "  ".join(f"{k}={v}" for k, v in shown.items())


def _forecast_line(forecast: Mapping[str, Any]) -> str:
    """ "2026-11-24 13:05Z  train_seconds: 7 min 40 s (7 min 10 s to 8 min 20 s), came 7 min 52 s: inside"."""
    return f"{forecast['at'][:16].replace('T', ' ')}Z  {said(forecast)}"


def _score_line(score: Calibration) -> str:
    """ "train_seconds: 17 of 20 inside, 85% (95% interval 62% to 97%; 80% promised) · middle off by 3.1%, interval 12% wide · 2 open"."""
    if score.share is None or score.low is None or score.high is None:
        return f"{score.quantity}: {score.made} made, no outcome yet"
    line = f"{score.quantity}: {score.inside} of {score.known} inside, {units.percent(score.share)} ({units.percent(SURE)} interval "
    line += f"{units.percent(score.low)} to {units.percent(score.high)}; {units.percent(NOMINAL)} promised)"
    if score.error is not None and score.width is not None:
        line += f" · middle off by {units.percent(score.error)}, interval {units.percent(score.width)} wide (medians)"
    return line + (f" · {score.made - score.known} without outcome yet" if score.made > score.known else "")


def _forecast_plot(path: Path, forecasts: Sequence[Mapping[str, Any]]) -> str | None:
    """Draw the forecasts whose outcome is known; the picture's path, None where there is none or it can't be written, which is noted."""
    if all(forecast["outcome"] is None for forecast in forecasts):
        return None
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(exist_ok=True)
        part.write_text(calibration_svg(forecasts), "utf-8")
        os.replace(part, path)
    except OSError as e:
        print(f"note     the forecasts are not drawn: {path}: {e.strerror}", file=sys.stderr)
        return None
    return str(path)
