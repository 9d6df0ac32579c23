"""What the verbs print: finished stages on stdout, what is going on meanwhile on stderr, a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cupola import ledger as ledgers
from cupola import units
from cupola.errors import ConfigError
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
    """Print a project's ledger and return it as JSON has it."""
    project = find(path)
    with ledgers.read(project.folder) as book:
        totals = book.totals()
        facts = {**totals.plain(), "summary": ledgers.summary(totals)}
        if lines:
            facts["lines"] = book.lines()
        if forecasts:
            facts["forecasts"] = book.forecasts()
    if quiet:
        return facts
    out = Console(highlight=False, soft_wrap=True)
    for kind, part in totals.by_kind.items():
        out.print(f"{kind:<12} {units.seconds(part.seconds):>14} {units.kwh(part.joules):>14} {units.usd(part.usd):>12}", markup=False)
    out.print(
        f"{'in all':<12} {units.seconds(totals.seconds):>14} {units.kwh(totals.joules):>14} {units.usd(totals.usd):>12}", markup=False
    )
    for meter, joules in totals.joules_by.items():
        out.print(f"energy by {meter}: {units.kwh(joules)}", markup=False)
    out.print(f"{totals.kept} kept, {totals.rejected} rejected · {facts['summary']}", markup=False)
    for forecast in facts.get("forecasts", []):
        low, middle, high, value = (forecast[key] for key in ("p10", "p50", "p90", "outcome"))
        came = "no outcome yet" if value is None else f"{value:.4g}, {'inside' if forecast['inside'] else 'outside'}"
        out.print(f"{forecast['quantity']:<16} {middle:.4g} ({low:.4g} to {high:.4g}) {forecast['unit']}: {came}", markup=False)
    for line in facts.get("lines", []):
        shown = {k: v for k, v in line.items() if k not in ("id", "settings", "text") and v not in (None, "", {}, [])}
        out.print("  ".join(f"{k}={v}" for k, v in shown.items()), markup=False)
    return facts
