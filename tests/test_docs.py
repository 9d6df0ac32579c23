"""What the pages say is what the code does: verbs, options, keys, defaults, files, prices, queries; and every link leads somewhere."""

import ast
import dataclasses
import inspect
import json
import re
import shlex
import sqlite3
import tempfile
import textwrap
import tomllib
import typing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer

from cupola import (
    calibration,
    cli,
    compose,
    config,
    corpus,
    doctor,
    engine,
    forecast,
    hardware,
    law,
    lawtable,
    ledger,
    make,
    meter,
    model,
    modeldir,
    plan,
    points,
    project,
    sources,
    train,
)
from cupola.media import MEDIA
from cupola.meter import Reading
from cupola.tokens import CONTROL

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", *sorted(ROOT.glob("recipes/*/README.md"))]
COMMANDS = typer.main.get_command(cli.app).commands
VERBS = {  # "make", "data", ... and "law fit" where a verb has verbs of its own
    f"{name} {own}".strip(): inner
    for name, command in COMMANDS.items()
    for own, inner in getattr(command, "commands", {"": command}).items()
}
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)


def read(name):
    return (ROOT / "docs" / name).read_text("utf-8")


def blocks(text, *kinds):
    return [body for kind, body in BLOCK.findall(text) if kind in kinds]


def sections(text, level):
    """Heading -> what stands below it, down to the next heading of that level or a higher one."""
    plain = BLOCK.sub(lambda found: found[0].replace("\n#", "\n #"), text)  # a comment in a block is no heading
    parts = re.split(rf"^(#{{1,{level}}}) (.+)\n", plain, flags=re.M)
    return {title: body for marks, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True) if len(marks) == level}


def rows(text):
    """The cells of every table row, without backslashes before bars."""
    lines = [line for line in text.split("\n") if line.startswith("|")]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# --- verbs ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_section_that_names_its_options_and_no_others(verb):
    section = sections(read("verbs.md"), 2)[verb]
    options = {o for p in VERBS[verb].params if p.param_type_name == "option" for o in p.opts} - {"--help"}
    listed = section[section.index("\nOptions:") : section.index("\nJSON:")]
    assert set(re.findall(r"`(-{1,2}[\w-]+)`", listed)) == options
    assert set(re.findall(r"(?<![\w-])--[\w-]+", section)) <= options | {"--yes"}
    assert any(line.startswith(f"cupola {verb}") for body in blocks(section, "sh") for line in body.split("\n")), "no example"


def test_there_is_no_section_for_a_verb_that_is_not_there():
    assert set(sections(read("verbs.md"), 2)) == set(VERBS)


_SERIES = points.Series("", *[np.ones(1)] * 3)


def _json_keys():
    nothing = compose.Made([], [], 0, Reading(), [])
    sizes = np.repeat([1e6, 2e6, 4e6, 8e6], 2)
    scored = law.score(sizes, sizes * np.tile([10, 40], 4), 9 / sizes**0.1 * np.tile([1, 0.9], 4), cut=0.6)
    returned = [n for n in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(make.Foundry.make)))) if isinstance(n, ast.Return)][-1]
    ends = forecast.Interval(0.0, 0.0, 0.0)
    stub = SimpleNamespace(precision="", seconds=0, usd=0, flops=lambda params: 0, tokens_per_second=lambda params: 0)
    given = {"seconds": ends, "joules": ends, "usd": ends, "probe": stub, "run": stub, "rates": stub, "spent": stub}
    values = {f.name: given.get(f.name) for f in dataclasses.fields(plan.Plan)}
    made = {*cli.made_facts(nothing), *(f.name for f in dataclasses.fields(ledger.Artefact))}
    return {
        "make": {key.value for key in returned.value.keys},
        "data": {*corpus.Report.model_fields, "promise", "documents_shown", "rows", "fingerprint"},
        "plan": {*plan.Plan(**values).plain(), *dataclasses.asdict(ends), "plot", "versus"},
        "train": {"model", *(f.name for f in dataclasses.fields(train.Outcome))},
        "prove": {"model", "summary", *(f.name for f in dataclasses.fields(engine.Proof))},
        "sample": made,
        "ledger": {
            *(f.name for f in (*dataclasses.fields(ledger.Totals), *dataclasses.fields(calibration.Calibration))),
            *("summary", "lines", "forecasts", "calibration", "plot"),
        },
        "doctor": {*doctor.plain([]), *(f.name for f in dataclasses.fields(doctor.Finding))},
        "new": {"settings"},
        "law fit": {
            *lawtable.Fitted(_SERIES, None, None, []).plain(),
            *(f.name for f in dataclasses.fields(lawtable.At)),
            "p10",
            "p50",
            "p90",
        },
        "law score": {
            *lawtable.score_facts([]),
            *lawtable.Scored(_SERIES, 0.6, None, None).plain(),
            *lawtable.together([scored.points]),
            *scored.points[0],
        },
    }


@pytest.mark.parametrize(("verb", "keys"), _json_keys().items())
def test_every_key_of_the_json_is_named_in_its_verbs_section_and_no_other(verb, keys):
    said = sections(read("verbs.md"), 2)[verb].partition("\nJSON:")[2]
    assert set(re.findall(r"`(\w+)`", said)) == keys


def test_every_command_in_the_docs_is_one_that_the_command_line_knows():
    seen = set()
    for page in PAGES:
        for body in blocks(page.read_text("utf-8"), "sh", "bash", "shell", "console"):
            for line in body.replace("\\\n", " ").split("\n"):
                line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
                if not line.startswith("cupola "):
                    continue
                words = shlex.split(line, comments=True)[1:]
                end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&", ";", "2>")), len(words))
                verb, *arguments = words[:end]
                if verb == "--help":
                    continue
                if hasattr(COMMANDS.get(verb), "commands") and arguments:
                    verb, *arguments = f"{verb} {arguments[0]}", *arguments[1:]
                assert verb in VERBS, f"{page.name}: {line}"
                try:
                    if "--help" not in arguments:
                        VERBS[verb].make_context(verb, list(arguments))
                except Exception as e:
                    pytest.fail(f"{page.name}: {line}: {e}")
                seen.add(verb)
    assert seen == set(VERBS)


# --- settings ---------------------------------------------------------------------------------------------------------------------------


def _config_in(annotation):
    """The settings model inside dict[str, Model], tuple[Model, ...] or Model itself, or None."""
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, config.Config):
            return kind
    return None


def _tables(kind, name=""):
    """(heading in the docs, model) of every table below a settings model."""
    for key, field in kind.model_fields.items():
        inner = _config_in(field.annotation)
        if inner is None or inner is kind:  # a fallback is one more of the same
            continue
        path = f"{name}.{key}".lstrip(".")
        origin = typing.get_origin(field.annotation)
        path += ".NAME" if origin is dict else ""
        yield (f"[[{path}]]" if origin is tuple else f"[{path}]"), inner
        yield from _tables(inner, path)


TABLES = dict(_tables(project.Settings))


def _type(annotation):
    """What the docs call a type."""
    parts = [kind for kind in typing.get_args(annotation) if kind not in (type(None), ...)]
    if typing.get_origin(annotation) is tuple:
        return "list of tables" if _config_in(annotation) else "list of texts"
    if typing.get_origin(annotation) is dict or (typing.get_origin(annotation) is not tuple and _config_in(annotation)):
        return "table"
    kind = parts[0] if parts and not isinstance(annotation, type) else annotation
    kind = getattr(kind, "__origin__", kind)  # Annotated
    return {str: "text", int: "whole number", float: "number"}[kind]


def _default(field):
    if field.is_required():
        return "needed"
    if field.default is None:
        return "none"
    return f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_of_a_table_is_in_the_docs_with_its_type_and_default(heading):
    own = {k: f for k, f in TABLES[heading].model_fields.items() if _config_in(f.annotation) is None or k in ("sources", "fallback")}
    section = sections(read("config.md"), 3)[heading]
    said = {row[0].strip("`"): row[1:] for row in rows(section) if row[0].startswith("`")}
    assert {key: row[:2] for key, row in said.items()} == {k: [_type(f.annotation), _default(f)] for k, f in own.items()}
    assert all(len(row[2]) > 20 for row in said.values())


@pytest.mark.parametrize("name", MEDIA)
def test_every_setting_of_a_medium_is_on_its_page_with_its_default(name):
    options = MEDIA[name].options.model_fields
    pages = sections(read("media.md"), 2)
    page = next(text for title, text in pages.items() if name in re.split(r"[ ,]+", title))
    said = {key: row[1] for row in rows(page) for key in re.findall(r"`([a-z]+)`", row[0])}
    assert set(said) == set(options) | ({"spacing"} & set(said))
    for key, field in options.items():
        default = field.get_default(call_default_factory=True)
        written = "none" if default is None else json.dumps(default) if not isinstance(default, bool) else str(default).lower()
        assert written in [part.strip() for part in said[key].split(", ")] or said[key] == written, key


def test_no_table_is_in_the_docs_that_is_not_in_the_code():
    assert {title for title in sections(read("config.md"), 3) if title.startswith("[")} == set(TABLES)


def test_every_example_of_settings_can_be_used_as_it_stands():
    least = {"project": {"name": "x"}, "models": {"x": {"medium": "text", "sources": [{"source": "x"}]}}}
    count = 0
    for page in PAGES:
        for text in blocks(page.read_text("utf-8"), "toml"):
            tables = tomllib.loads(text)
            settings = config.parse(project.Settings, {**least, **tables}, page.name)
            hardware.price(settings.price)
            settings.budget.limits()
            if "models" in tables:
                count += 1
                assert settings.budget != project.BudgetTable()
                for table in settings.models.values():
                    for source in table.sources:
                        sources.check_licence(source)
    assert count >= 2


def test_the_example_of_tunes_takes_what_the_recipe_takes():
    recipe = tomllib.loads((ROOT / "recipes/tunes/cupola.toml").read_text("utf-8"))
    shown = [tomllib.loads(text) for text in blocks(read("config.md"), "toml") if "pypi:" in text]
    assert shown[0]["models"]["tunes"]["sources"][0] == recipe["models"]["tunes"]["sources"][0]


# --- files ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_tokenizer):
    """A model folder with weights by chance."""
    shape = model.dial(40_000, small_tokenizer[0].vocab_size, 256)
    made = tmp_path_factory.mktemp("m") / "model"
    weights = model.build(shape, 0).state_dict()
    modeldir.save(made, shape, weights, small_tokenizer[0], generation={"temperature": 0.95})
    return made


def test_every_file_of_a_model_folder_is_in_the_docs(folder):
    named = set(re.findall(r"`([\w.]+\.\w+)`", sections(read("files.md"), 2)["The model folder"]))
    assert {path.name for path in folder.iterdir()} | {"model.gguf", "README.md", "loss.svg", "cupola.json"} <= named


def test_the_control_tokens_are_in_the_docs_with_their_ids():
    table = [row for row in rows(sections(read("files.md"), 2)["The model folder"]) if row[0].isdigit()]
    assert [(int(row[0]), row[1].strip("`")) for row in table] == list(enumerate(CONTROL))


def test_the_docs_few_lines_of_transformers_work_in_a_model_folder(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (text,) = blocks(read("files.md"), "python")
    exec(compile(text, "docs/files.md", "exec"), {})
    assert len(capsys.readouterr().out) > 100


def test_what_the_code_calls_its_files_is_what_the_docs_call_them():
    said = read("files.md")
    assert f"checkpoints/{train.name_of(500)}/" in said
    written = set(re.findall(r'"([\w-]+\.(?:jsonl?|toml|svg|html))"', inspect.getsource(train) + inspect.getsource(make)))
    assert written <= set(re.findall(r"[\w-]+\.\w+", said)) | {"tokenizer.json"}


# --- the ledger -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    """A ledger with a row of every kind, opened as another program would."""
    with ledger.open(tmp_path) as made:
        run = made.start_run("make", "tunes")
        made.spend(run, "train", 1.0, 2.0, "user", 0.001, "user: $1 an hour")
        made.outcome(made.forecast(run, "train_seconds", 1, 2, 3, "seconds", "guess"), 2.5)
        for text, kept in (("a", True), ("b", False)):
            made.artefact(ledger.Artefact(ledger.artefact_id(text), "tune", "tunes", run, text, kept=kept, why="a copy: 0.1", distance=0.5))
        made.point(
            run, "k", {"params": 120_000, "tokens": 1_000_000, "bits_per_byte": 2.1, "flops": 7.2e11, "seconds": 3.0, "status": "done"}
        )
        made.probe(run, "this machine", {"params": 120_000, "dtype": "float32", "tokens_per_second": 1e5})
        made.note(run, "late")
        made.finish_run(run, "done")
    connection = sqlite3.connect(tmp_path / ".cupola" / "ledger.db")
    yield connection
    connection.close()


def test_every_view_is_in_the_docs_with_its_columns(book):
    views = [name for (name,) in book.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")]
    columns = {view: [row[1] for row in book.execute(f"PRAGMA table_info({view})")][4:] for view in views}
    said = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in rows(sections(read("ledger.md"), 2)["Asking it"])[2:]}
    assert said == columns


def test_every_query_in_the_docs_finds_something(book):
    queries = [*blocks(read("ledger.md"), "sql"), *re.findall(r'"(SELECT[^"]+)"', read("ledger.md"))]
    assert len(queries) >= 3
    for query in queries:
        assert book.execute(query).fetchall(), query


def test_every_key_of_a_forecast_and_of_its_score_is_in_the_docs(tmp_path):
    with ledger.open(tmp_path) as made:
        made.forecast(made.start_run("make", "tunes"), "train_seconds", 1, 2, 3, "seconds", "guess")
        keys = {*made.forecasts()[0], *(f.name for f in dataclasses.fields(calibration.Calibration))}
    said = sections(read("ledger.md"), 2)["Forecasts, and how often they held"]
    assert keys <= set(re.findall(r"`(\w+)`", said.partition("For a program")[2]))


def test_every_kind_of_row_is_in_the_docs():
    said = {row[0] for row in rows(sections(read("ledger.md"), 2)["What is recorded, and when"])[2:]}
    assert said == set(ledger.WHAT)


def test_the_meters_are_in_the_docs_with_their_ranges():
    said = {row[0].strip("`"): row[1] for row in rows(sections(read("ledger.md"), 2)["Joules"])[2:]}
    assert said == {by: f"±{share:.0%}" for by, share in meter.RANGES.items()}
    assert f"{meter.IDLE_SHARE:.0%} of it when idle" in read("ledger.md")


def test_the_prices_are_in_the_docs_with_their_dates():
    table = config.parse(hardware.PriceTable, config.read(hardware.PRICES), "prices")
    said = {row[0].strip("`"): row[1:] for row in rows(sections(read("ledger.md"), 2)["Dollars"]) if row[0].startswith("`")}
    assert set(said) == {row.id for row in (*table.machine, *table.electricity)}
    for row in (*table.machine, *table.electricity):
        amount, dated = said[row.id]
        assert dated == row.dated.isoformat()
        figures = (row.usd_per_kwh,) if isinstance(row, hardware.ElectricityRow) else (row.usd_per_hour,)
        figures = (row.purchase_usd, row.years, row.hours_a_year) if row.id == "own" else figures
        assert [float(x) for x in re.findall(r"[\d.]+", amount)] == list(figures)
    assert f"older than {hardware.STALE_DAYS} days" in read("ledger.md")


# --- all pages --------------------------------------------------------------------------------------------------------------------------


def _slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file_and_a_heading_that_are_there(page):
    text = BLOCK.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)", text) + re.findall(r"\b(?:src|href)=\"([^\"]+)\"", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert target.resolve().is_relative_to(ROOT), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", target.read_text("utf-8")), re.M)
            assert anchor in map(_slug, headings), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_tells_where_or_how_it_was_written(page):
    text = page.read_text("utf-8")
    here = {str(ROOT), str(Path.home()), tempfile.gettempdir()}
    assert not [path for path in here if re.search(rf"(?<![\w.]){re.escape(path)}(?:/|\b)", text)]
    assert not re.search(r"(?<![\w.])/(?:home|root|work|Users)/", text)
    assert not re.search(r"\bsessions?\b|\bissue tracker\b|\bissues? #?\d", text, re.I)


@pytest.mark.parametrize("page", sorted((ROOT / "cupola").rglob("*.py")), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_public_name_says_what_it_is(page):
    tree = ast.parse(page.read_text("utf-8"))
    named = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    without = [f"{n.name} (line {n.lineno})" for n in named if not ast.get_docstring(n)]
    assert not without
