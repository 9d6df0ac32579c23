"""The command line: one verb a stage. Results go to stdout, progress to stderr; every verb has --json.

Exit 0 done, 1 mendable, 2 wrong usage.
"""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cupola.errors import CupolaError

if TYPE_CHECKING:
    from cupola.make import Foundry


class Verbs(typer.core.TyperGroup):
    """Help lists verbs that have verbs of their own after the others; typer puts them first."""

    def __init__(self, *, commands: dict[str, Any], **more: Any):
        super().__init__(commands=dict(sorted(commands.items(), key=lambda named: hasattr(named[1], "commands"))), **more)


app = typer.Typer(
    cls=Verbs,
    help="A foundry for small models: from a folder of your own work and a budget to a proved model of your own, and new work by it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(help="The project: the folder that holds cupola.toml.")]
Model = Annotated[str | None, typer.Option("--model", help="Which of the project's models; needed only when there are several.")]
Minutes = Annotated[float | None, typer.Option(help="Budget in minutes, in place of cupola.toml's.")]
Usd = Annotated[float | None, typer.Option(help="Budget in dollars.")]
Kwh = Annotated[float | None, typer.Option(help="Budget in kilowatt-hours.")]
Seed = Annotated[int | None, typer.Option(help="Of the pieces drawn: another seed, other pieces.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Spend without asking; a script must say so.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Made = Annotated[Path, typer.Argument(help="A model folder such as PROJECT/out/model, or the project.")]
Piece = Annotated[Path, typer.Argument(help="A file of the model's medium; its first piece is taken.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the new files.")]
Label = Annotated[str, typer.Option("--label", help="One of the corpus's own labels: monster, floor.")]
Count = Annotated[int, typer.Option("-n", help="How many to keep.")]
Points = Annotated[Path, typer.Argument(help="A CSV of finished runs: params, tokens, loss; series, flops, unique_tokens if known.")]
Picked = Annotated[list[str] | None, typer.Option("--series", help="Only this series; may be given several times.")]
AsTheyAre = Annotated[bool, typer.Option("--units-as-they-are", help="The counts are right, however odd they look.")]


@app.command()
def make(
    project: Folder = Path("."),
    model: Model = None,
    minutes: Minutes = None,
    usd: Usd = None,
    kwh: Kwh = None,
    seed: Seed = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """From the sources to a proved model, new pieces and a page that shows them, inside the budget."""
    with foundry(project, model, json, "make", minutes=minutes, usd=usd, kwh=kwh, seed=seed) as f:
        ask(f, yes)
        result(f.make(), json)


@app.command()
def data(project: Folder = Path("."), model: Model = None, json: Json = False) -> None:
    """The corpus: what is in it, what was dropped and why, and the rows that will be trained on."""
    from cupola.look import look

    with foundry(project, model, json, "data") as f:
        result(look(f), json)


@app.command()
def plan(
    project: Folder = Path("."),
    model: Model = None,
    minutes: Minutes = None,
    usd: Usd = None,
    kwh: Kwh = None,
    versus: Annotated[float | None, typer.Option(help="What a rented model costs: dollars a million tokens, to compare with.")] = None,
    volume: Annotated[float | None, typer.Option(help="Tokens that you need, in millions; for --versus.")] = None,
    json: Json = False,
) -> None:
    """What the budget buys, from small runs made here and now: quality, minutes, dollars and kWh, each with its interval."""
    with foundry(project, model, json, "plan", minutes=minutes, usd=usd, kwh=kwh) as f:
        facts = f.plan.plain() | {"plot": f.plan_picture()}
        if versus is not None:
            beside = f.versus(versus, volume)
            f.say("versus", beside.line())
            facts["versus"] = beside.plain()
        result(facts, json)


@app.command(name="train")
def train_(
    project: Folder = Path("."),
    model: Model = None,
    minutes: Minutes = None,
    usd: Usd = None,
    kwh: Kwh = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Train, or go on training what was interrupted; ends cooled, evaluated and saved inside the budget."""
    import dataclasses

    with foundry(project, model, json, "make", minutes=minutes, usd=usd, kwh=kwh) as f:
        ask(f, yes)
        outcome = f.outcome
        f.say("model", str(f.folder))
        result({"model": str(f.folder), **dataclasses.asdict(outcome)}, json)


@app.command()
def prove(model: Made = Path("."), json: Json = False) -> None:
    """Show that a model folder's GGUF and its Transformers weights are the same model; an error where they differ."""
    import dataclasses

    from cupola import engine, gguf, modeldir, show

    folder = show.model_folder(model)
    with show.screen(json) as shown:
        modeldir.verify(folder)
        path = folder / "model.gguf"
        proof = engine.prove(folder, path if path.exists() else gguf.export(folder), progress=shown.progress)
        shown.say("proof", proof.summary)
    result({"model": str(folder), **dataclasses.asdict(proof), "summary": proof.summary}, json)


@app.command()
def sample(
    model: Made,
    n: Count = 12,
    prompt: Annotated[str, typer.Option(help="Notation that each piece begins with.")] = "",
    label: Label = "",
    seed: Seed = None,
    out: Out = Path("drawn"),
    json: Json = False,
) -> None:
    """New pieces: candidates drawn, invalid ones and copies thrown away, the likeliest kept."""
    with foundry(model, None, json, "sample", made=True) as f:
        made = f.sample(n, prompt=prompt, label=label, seed=seed, out=out)
        result(made_facts(made), json)
    if not made.kept:
        raise typer.Exit(1)


@app.command()
def repaint(
    model: Made,
    file: Piece,
    first: Annotated[float, typer.Option("--from", help="First bar (line, row, frame) to fill again, from 1; of a sound, seconds.")],
    last: Annotated[float, typer.Option("--to", help="Last one.")],
    columns: Annotated[str, typer.Option(help="Of pictures and levels: only these cells of the rows, such as 3-9.")] = "",
    n: Count = 1,
    seed: Seed = None,
    out: Out = Path("drawn"),
    json: Json = False,
) -> None:
    """Fill bars (lines, rows, frames, seconds) --from to --to of a piece again, the rest as it is."""

    def change(compose: Any, kit: Any, text: str, **more: Any) -> Any:
        range_ = compose.units_between(kit.medium, first, last)
        return compose.repaint(kit, text, *range_, columns=compose.columns(columns), **more)

    edit(model, file, json, out, change, n, seed)


@app.command()
def vary(
    model: Made,
    file: Piece,
    share: Annotated[float, typer.Option(help="Share of the piece to fill again, 0 to 1.")] = 0.3,
    n: Count = 1,
    seed: Seed = None,
    out: Out = Path("drawn"),
    json: Json = False,
) -> None:
    """A piece with a share of it filled again, here and there."""
    edit(model, file, json, out, lambda compose, kit, text, **more: compose.vary(kit, text, share, **more), n, seed)


@app.command()
def extend(
    model: Made,
    file: Piece,
    more: Annotated[int, typer.Option(help="Bars (or lines) to add.")] = 8,
    n: Count = 1,
    seed: Seed = None,
    out: Out = Path("drawn"),
    json: Json = False,
) -> None:
    """A piece carried on after its end."""
    edit(model, file, json, out, lambda compose, kit, text, **rest: compose.extend(kit, text, more, **rest), n, seed)


@app.command()
def cross(
    model: Made,
    file: Piece,
    other: Annotated[Path, typer.Argument(help="The piece that it turns into.")],
    share: Annotated[float, typer.Option(help="Share of the piece between them that is made anew, 0 to 1.")] = 0.33,
    n: Count = 1,
    seed: Seed = None,
    out: Out = Path("drawn"),
    json: Json = False,
) -> None:
    """A piece that begins as one file and ends as another, the middle made anew."""

    def change(compose: Any, kit: Any, text: str, **more: Any) -> Any:
        document, _ = compose.read_piece(kit.medium, other)
        return compose.cross(kit, text, document.text, share=share, **more)

    edit(model, file, json, out, change, n, seed)


@app.command(name="ledger")
def ledger_(
    project: Folder = Path("."),
    lines: Annotated[bool, typer.Option("--lines", help="Everything as it happened.")] = False,
    forecasts: Annotated[bool, typer.Option("--forecasts", help="Each forecast beside its outcome.")] = False,
    json: Json = False,
) -> None:
    """What was spent, by kind and per kept thing."""
    from cupola import show

    result(show.ledger(project, lines, forecasts, quiet=json), json)


@app.command()
def doctor(project: Folder = Path("."), json: Json = False) -> None:
    """What machine this is, what it can do, what is missing, and the one command that mends it."""
    from cupola import doctor as doctors

    findings = doctors.examine(project)
    if not json:
        doctors.show(findings)
    result(doctors.plain(findings), json)
    if any(f.state == "missing" for f in findings):
        raise typer.Exit(1)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The project folder to make.")],
    medium: Annotated[str, typer.Option(help="What the files are: tune, sprite, level, ... (docs/media.md).")],
    source: Annotated[Path, typer.Option("--from", help="The folder that holds them.")],
    licence: Annotated[str, typer.Option(help="Who may use these files, and how.")] = "own work",
    minutes: Annotated[float, typer.Option(help="Budget.")] = 5.0,
    name: Annotated[str | None, typer.Option(help="Of the project.")] = None,
    json: Json = False,
) -> None:
    """Write a starter project for a folder of your own files."""
    from cupola import project as projects

    path = projects.new(folder, medium, source, licence=licence, minutes=minutes, name=name)
    if not json:
        print(f"{path}\nlook at the corpus: cupola data {folder}\nmake the model:     cupola make {folder}")
    result({"settings": str(path)}, json)


laws = typer.Typer(help="A scaling law from anyone's training logs: fit it, or score it on runs it has not seen.", no_args_is_help=True)
app.add_typer(laws, name="law")


@laws.command(name="fit")
def law_fit(
    points: Points,
    at: Annotated[list[str] | None, typer.Option(help="PARAMS,TOKENS[,UNIQUE_TOKENS] to foretell the loss of; may be repeated.")] = None,
    series: Picked = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the runs and the law of one series into this SVG file.")] = None,
    units_as_they_are: AsTheyAre = False,
    json: Json = False,
) -> None:
    """Constants of the law of each series, with 80% intervals; and what it foretells."""
    from cupola import lawtable

    with stoppable():
        wanted = [lawtable.at(text) for text in at or ()]
        fitted = lawtable.fit(lawtable.read(points, series or (), as_they_are=units_as_they_are), wanted)
        if plot:
            lawtable.plot(plot, fitted)
        told(json, lawtable.fit_lines(fitted), lawtable.notes(fitted), lawtable.fit_facts(fitted), lawtable.refused(fitted))


@laws.command(name="score")
def law_score(
    points: Points,
    cut: Annotated[list[float] | None, typer.Option(help="Share of the log compute range that is fitted [0.6]; may be repeated.")] = None,
    series: Picked = None,
    units_as_they_are: AsTheyAre = False,
    json: Json = False,
) -> None:
    """How well the law of each series' cheap runs foretells its dear ones, and how often its interval holds."""
    from cupola import lawtable

    with stoppable():
        scored = lawtable.score(lawtable.read(points, series or (), as_they_are=units_as_they_are), lawtable.cuts(cut or [0.6]))
        told(json, lawtable.score_lines(scored), lawtable.notes(scored), lawtable.score_facts(scored), lawtable.refused(scored))


# --- what the verbs share ---------------------------------------------------------------------------------------------------------------


@contextmanager
def foundry(path: Path, model: str | None, json: bool, kind: str, *, made: bool = False, **budget: Any) -> Iterator[Foundry]:
    """The project's foundry with progress on stderr; `made`: `path` is a model that was delivered, and its project is looked for."""
    from cupola import project as projects
    from cupola import show
    from cupola.make import Foundry

    project = projects.find(path) if made else projects.load(path, **budget)
    folder = show.model_folder(path, project) if made else None
    model = show.model_name(folder) if folder else model
    try:
        with (
            show.screen(json) as shown,
            Foundry(project, model, kind=kind, made=folder, say=shown.say, progress=shown.progress, ticks=shown.ticks(project)) as f,
        ):
            yield f
    except KeyboardInterrupt:
        stopped()


def edit(model: Path, file: Path, json: bool, out: Path, change: Any, n: int, seed: int | None) -> None:
    """Read a piece, change it with the model, write what is kept."""
    from cupola import compose

    with foundry(model, None, json, "sample", made=True) as f:
        document, notes = compose.read_piece(f.medium, file)
        for text in notes:
            f.note(text)
        with f.kit() as kit:
            made = change(compose, kit, document.text, n=n, seed=f.seed if seed is None else seed, stem=file.stem, out=out)
        for text in made.notes:
            f.note(text)
        for artefact in made.kept:
            f.say("made", ", ".join(artefact.files))
        result(made_facts(made), json)
    if not made.kept:
        raise typer.Exit(1)


def ask(f: Foundry, yes: bool) -> None:
    """Say what may be spent and wait for a yes; without a terminal only --yes is one."""
    if yes:
        return
    question = f"spend up to {f.budget} on {f.name}?"
    if not sys.stdin.isatty():
        raise CupolaError(f"{question[:-1]}: nobody to ask", "cupola", "pass --yes to spend it without a question")
    typer.confirm(question, default=True, abort=True, err=True)


def made_facts(made: Any) -> dict[str, Any]:
    """What was drawn, as --json prints it."""
    import dataclasses

    return {
        "made": [dataclasses.asdict(a) for a in made.kept],
        "drawn": made.drawn,
        "valid": made.valid_share,
        "copies": made.copy_share,
        "spent": dataclasses.asdict(made.spent),
        "notes": made.notes,
    }


def result(facts: Any, json: bool) -> None:
    """Print the one JSON object, if it was asked for."""
    if json:
        print(jsonlib.dumps(facts, ensure_ascii=False, default=str))


def told(json: bool, lines: Iterable[str], notes: Iterable[str], facts: dict[str, Any], refused: CupolaError | None) -> None:
    """Lines on stdout and notes on stderr, or the one JSON object; then exit 1 if nothing came of it."""
    if json:
        error = {"error": {"what": refused.what, "where": refused.where, "fix": refused.fix}} if refused else {}
        result({**facts, **error}, json)
        raise typer.Exit(1 if refused else 0)
    print(*lines, sep="\n", flush=True)
    for note in notes:
        print(f"note     {note}", file=sys.stderr)
    if refused:
        raise refused


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C where there is nothing to save."""
    try:
        yield
    except KeyboardInterrupt:
        print("cupola: stopped", file=sys.stderr)
        raise typer.Exit(130) from None


def stopped() -> NoReturn:
    """Ctrl-C: what was saved is kept."""
    print("cupola: stopped; the same command goes on from here", file=sys.stderr)
    raise typer.Exit(130)


def main() -> None:
    """The `cupola` command."""
    json = "--json" in sys.argv
    try:
        app()
    except CupolaError as e:
        if json:
            print(jsonlib.dumps({"error": {"what": e.what, "where": e.where, "fix": e.fix}}, ensure_ascii=False))
        else:
            print(f"cupola: {e}", file=sys.stderr)
        sys.exit(130 if type(e).__name__ == "Interrupted" else 1)
