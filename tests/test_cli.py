"""The command line as a person or a script meets it: what goes where, exit codes, questions, errors. Nothing here trains."""

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest
import typer
from conftest import write_sentences
from rich.console import Console

from cupola import cli, ledger, project, show
from cupola.meter import Reading
from cupola.train import Tick

VERBS = typer.main.get_command(cli.app).commands


@pytest.fixture(scope="module")
def tales(tmp_path_factory):
    """A project folder whose name has a space and an emoji, ready to use, nothing made yet."""
    folder = tmp_path_factory.mktemp("p") / "two tales 🦊"
    source = write_sentences(folder / "the stories", files=30, lines=10)
    project.new(folder, "text", source)
    return folder


@pytest.fixture
def fresh(tales, tmp_path):
    folder = tmp_path / "tales"
    folder.mkdir()
    shutil.copy(tales / "cupola.toml", folder)
    return folder


def spends(folder):
    connection = sqlite3.connect(folder / ".cupola" / "ledger.db")
    try:
        return connection.execute("SELECT count(*) FROM spends").fetchone()[0]
    finally:
        connection.close()


# --- help and wrong usage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_says_what_it_does_and_names_its_options(cupola, verb):
    code, out, err = cupola(verb, "--help")
    assert (code, err) == (0, "")
    assert VERBS[verb].help.split(":")[0][:40] in " ".join(out.split())
    assert all(option in out for p in VERBS[verb].params if p.param_type_name == "option" for option in p.opts)


def test_help_lists_the_verbs_in_the_order_in_which_one_uses_them(cupola):
    code, out, _ = cupola("--help")
    places = [out.index(f"\n  {verb} ") for verb in VERBS]
    assert code == 0
    assert places == sorted(places)
    assert list(VERBS)[:6] == ["make", "data", "plan", "train", "prove", "sample"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("paint",), "no such command 'paint'"),
        (("plan", "--minuts", "3"), "no such option: --minuts"),
        (("plan", "--minutes", "three"), "invalid value for '--minutes'"),
        (("repaint", "model", "tune.abc", "--from", "2"), "missing option '--to'"),
        (("sample",), "missing argument 'model'"),
        (("new", "here", "--medium", "text"), "missing option '--from'"),
        (("plan", "here", "there"), "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_exits_2_and_says_what_is_wrong_on_stderr(cupola, arguments, said):
    code, out, err = cupola(*arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.lower().split())
    assert "--help" in err


# --- errors -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (("make", "nowhere", "--yes"), "nowhere: no such folder", "give the folder that holds cupola.toml"),
        (("plan", "."), "cupola.toml: no such file", "cupola new DIR --medium tune --from FOLDER writes one"),
        (("sample", "."), "no cupola.toml here or above", "give a folder of a cupola project"),
        (("prove", "."), ".: no model here", "give a folder with model.safetensors"),
        (("ledger", "."), "no cupola.toml here or above", "give a folder of a cupola project"),
        (("new", "p", "--medium", "sprit", "--from", "."), "no medium 'sprit'", "use one of text, code, tune"),
        (("new", "p", "--medium", "tune", "--from", "nowhere"), "nowhere: no such folder", "give the folder that holds your files"),
        (("new", "p", "--medium", "tune", "--from", "."), "no tune files in it", "a tune is read from .abc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_says_what_where_and_what_to_do_on_stderr_and_exits_1(cupola, tmp_path, monkeypatch, arguments, what, fix):
    monkeypatch.chdir(tmp_path)
    code, out, err = cupola(*arguments)
    assert (code, out) == (1, "")
    first, second = err.rstrip("\n").split("\n")
    assert first.startswith("cupola: ")
    assert what in first
    assert second.startswith(f"  {fix}")
    assert not list(tmp_path.iterdir())
    code, out, err = cupola(*arguments, "--json")
    error = json.loads(out)["error"]
    assert (code, err, set(error)) == (1, "", {"what", "where", "fix"})
    assert what in f"{error['where']}: {error['what']}"
    assert error["fix"].startswith(fix)


def test_a_setting_that_is_wrong_is_named_with_the_one_that_was_meant(cupola, fresh):
    path = fresh / "cupola.toml"
    path.write_text(path.read_text("utf-8").replace("minutes", "minuets"), "utf-8")
    code, _, err = cupola("plan", fresh)
    assert code == 1
    assert err == f"cupola: {path}: unknown key 'budget.minuets'\n  did you mean 'minutes'?\n"


@pytest.mark.parametrize("budget", [("--minutes", "0"), ("--usd", "-1"), ("--kwh", "0")], ids=" ".join)
def test_a_budget_on_the_command_line_that_buys_nothing_is_refused(cupola, tales, budget):
    code, _, err = cupola("plan", tales, *budget)
    assert code == 1
    assert "buys nothing" in err
    assert "give a number above zero" in err


def test_a_model_that_is_not_there_is_named_with_those_that_are(cupola, tales):
    code, _, err = cupola("data", tales, "--model", "tails")
    assert code == 1
    assert "no model 'tails'\n  there are two-tales" in err


def test_ctrl_c_exits_130_without_a_traceback(cupola, tales, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cupola.look.look", stopped)
    code, out, err = cupola("data", tales)
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_a_missing_ledger_is_not_an_empty_one(cupola, fresh):
    code, _, err = cupola("ledger", fresh)
    assert code == 1
    assert "no ledger yet: nothing was run or spent here\n  cupola make begins one" in err


# --- asking before spending -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["make", "train"])
def test_without_a_terminal_nothing_is_spent_unless_the_script_says_yes(cupola, fresh, verb):
    code, out, err = cupola(verb, fresh)
    assert (code, out) == (1, "")
    assert "spend up to 5 min on tales?".removesuffix(" on tales?") in err
    assert "nobody to ask\n  pass --yes to spend it without a question" in err
    assert spends(fresh) == 0


def test_a_person_is_asked_what_may_be_spent_and_may_say_no(cupola, fresh):
    code, out, err = cupola("make", fresh, "--minutes", "7", "--usd", "0.03", typed="n\n")
    assert code == 1
    assert out.strip() == ""
    assert "spend up to 7 min, $0.030 on two-tales? [Y/n]" in err
    assert spends(fresh) == 0


# --- a new project, looked at and planned -----------------------------------------------------------------------------------------------


def test_new_writes_a_project_that_the_next_verbs_take(cupola, tmp_path):
    source = write_sentences(tmp_path / "my stories", files=30, lines=10)
    folder = tmp_path / "a project 🎈"
    code, out, err = cupola(
        "new", folder, "--medium", "text", "--from", source, "--minutes", "2", "--licence", "CC0-1.0", "--name", "Tales!"
    )
    assert (code, err) == (0, "")
    assert out == f"{folder / 'cupola.toml'}\nlook at the corpus: cupola data {folder}\nmake the model:     cupola make {folder}\n"
    settings = project.load(folder).settings
    assert (settings.project.name, settings.budget.minutes, list(settings.models)) == ("Tales!", 2, ["tales"])
    (given,) = settings.models["tales"].sources
    assert (given.source, given.licence) == (str(source.resolve()), "CC0-1.0")
    code, out, err = cupola("data", folder, "--json")
    assert code == 0
    assert json.loads(out)["documents"] == 30  # one JSON object and nothing else
    code, out, err = cupola("new", folder, "--medium", "text", "--from", source, "--json")
    assert code == 1
    assert json.loads(out)["error"]["what"] == "there is a project here already"


def test_data_shows_the_corpus_for_people(cupola, tales):
    code, out, err = cupola("data", tales)
    assert code == 0
    heads = [
        line[:9].strip()
        for line in out.split("\n")
        if line[:9].strip() in ("corpus", "train", "watch", "held out", "document", "row", "tokens")
    ]
    assert heads == ["corpus", "train", "watch", "held out", *["document"] * 5, "row", "row", "tokens"]
    assert "30 texts of 30 kept" in out
    assert all(line.startswith(("note", "        ")) for line in err.strip().split("\n"))


def test_ledger_prints_what_looking_has_cost_and_every_line(cupola, tales):
    cupola("data", tales)
    code, out, _ = cupola("ledger", tales, "--lines")
    assert code == 0
    assert "in all " in out
    assert "nothing kept yet" in out
    assert "what=run" in out
    code, out, _ = cupola("ledger", tales, "--forecasts", "--json")
    facts = json.loads(out)
    assert facts["forecasts"] == []
    assert facts["usd"] == pytest.approx(sum(part["usd"] for part in facts["by_kind"].values()))


@pytest.fixture
def foretold(fresh):
    """A project with four forecasts: two that held, one that did not, one that is still open."""
    with ledger.open(fresh) as book:
        run = book.start_run("make", "tales")
        for quantity, p10, p50, p90, unit, came in (
            ("bits_per_byte", 1.57, 1.61, 1.66, "bits/byte", 1.6149),
            ("train_seconds", 430, 460, 500, "seconds", 472),
            ("train_seconds", 430, 460, 500, "seconds", 600),
            ("train_joules", 7200, 10800, 14400, "joules", None),
        ):
            made = book.forecast(run, quantity, p10, p50, p90, unit, "guess")
            if came is not None:
                book.outcome(made, came)
    return fresh


def test_ledger_shows_each_forecast_beside_its_outcome_in_units_that_people_read(cupola, foretold):
    code, out, err = cupola("ledger", foretold, "--forecasts")
    assert (code, err) == (0, "")
    made = [line for line in out.split("\n") if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\dZ ", line)]
    assert [line[19:] for line in made] == [
        "bits_per_byte: 1.610 (1.570 to 1.660) bits/byte, came 1.615: inside",
        "train_seconds: 7 min 40 s (7 min 10 s to 8 min 20 s), came 7 min 52 s: inside",
        "train_seconds: 7 min 40 s (7 min 10 s to 8 min 20 s), came 10 min: outside",
        "train_joules: 0.0030 kWh (0.0020 kWh to 0.0040 kWh), no outcome yet",
    ]


def test_ledger_says_how_often_the_truth_fell_inside_and_draws_it(cupola, foretold):
    out = cupola("ledger", foretold, "--forecasts")[1]
    assert (
        "bits_per_byte: 1 of 1 inside, 100% (95% interval 3% to 100%; 80% promised) · middle off by 0.3%, interval 6% wide (medians)" in out
    )
    assert "train_seconds: 1 of 2 inside, 50% (95% interval 1% to 99%; 80% promised)" in out
    assert "train_joules: 1 made, no outcome yet" in out
    plot = foretold / "out" / "forecasts.svg"
    assert f"drawn in {plot}" in out
    assert "1 of 2 inside" in plot.read_text("utf-8")
    assert [p.name for p in plot.parent.iterdir()] == ["forecasts.svg"]


def test_ledgers_json_has_the_score_of_the_forecasts_and_the_pictures_path(cupola, foretold):
    facts = json.loads(cupola("ledger", foretold, "--forecasts", "--json")[1])
    assert [(c["quantity"], c["made"], c["known"], c["inside"]) for c in facts["calibration"]] == [
        ("bits_per_byte", 1, 1, 1),
        ("train_seconds", 2, 2, 1),
        ("train_joules", 1, 0, 0),
    ]
    assert facts["plot"] == str(foretold / "out" / "forecasts.svg")
    assert os.path.exists(facts["plot"])
    assert facts["forecasts"][0]["at"].endswith("Z")


def test_nothing_is_drawn_without_an_outcome_or_unasked(cupola, fresh):
    with ledger.open(fresh) as book:
        book.forecast(book.start_run("make", "tales"), "train_seconds", 1, 2, 3, "seconds", "guess")
    facts = json.loads(cupola("ledger", fresh, "--forecasts", "--json")[1])
    assert facts["plot"] is None
    assert facts["calibration"][0]["share"] is None
    assert "drawn in" not in cupola("ledger", fresh, "--forecasts")[1]
    assert "plot" not in json.loads(cupola("ledger", fresh, "--json")[1])
    assert not (fresh / "out").exists()


def test_an_out_folder_that_cannot_be_written_is_a_note_and_the_figures_are_printed(cupola, foretold):
    (foretold / "out").write_text("in the way")
    code, out, err = cupola("ledger", foretold, "--forecasts", "--json")
    assert code == 0
    assert err.startswith("note     the forecasts are not drawn: ")
    assert json.loads(out)["plot"] is None
    assert len(json.loads(out)["forecasts"]) == 4


def test_doctor_prints_a_line_a_finding_and_exits_1_only_for_what_is_missing(cupola, tales):
    code, out, err = cupola("doctor", tales)
    marks = {line[:9].strip() for line in out.split("\n") if line and not line.startswith(" ")}
    assert marks <= {"ok", "note", "MISSING"}
    assert code == ("MISSING" in marks)
    code, out, err = cupola("doctor", tales, "--json")
    facts = json.loads(out)
    assert (code, err) == (int(not facts["healthy"]), "")
    assert {"state", "what", "fix"} == set(facts["findings"][0])


# --- where output goes ------------------------------------------------------------------------------------------------------------------


def screen(quiet=False):
    err = Console(file=io.StringIO(), width=200, highlight=False)
    return show.Screen(quiet, err), err.file


def test_results_go_to_stdout_and_notes_to_stderr(capsys):
    shown, err = screen()
    shown.say("corpus", "12 tunes [not markup] kept")
    shown.say("note", "the price is old")
    assert capsys.readouterr().out == "corpus   12 tunes [not markup] kept\n"
    assert err.getvalue() == "note     the price is old\n"


def test_with_json_stdout_belongs_to_the_result(capsys):
    shown, err = screen(quiet=True)
    shown.say("corpus", "12 tunes kept")
    assert capsys.readouterr().out == ""
    assert err.getvalue() == "corpus   12 tunes kept\n"


def test_a_long_line_is_not_broken_nor_cut(capsys):
    shown, err = screen(quiet=True)
    shown.say("note", "word " * 100)
    assert err.getvalue().count("\n") == 1
    shown, _ = screen()
    shown.say("corpus", "word " * 100)
    assert capsys.readouterr().out.count("\n") == 1


def test_without_a_terminal_progress_is_a_plain_line_once_for_each_thing():
    shown, err = screen()
    for share in (0.1, 0.2, 0.3):
        shown.progress("reading", share)
    assert err.getvalue() == "         reading ...\n"
    assert "\x1b" not in err.getvalue()


def tick(step, bits=None, note=""):
    return Tick(step, 100, 2.5, bits, 12_345.0, 10.0, 65.0, note)


def test_training_without_a_terminal_is_a_line_now_and_then_and_one_on_stdout_at_its_end(capsys, tales):
    shown, err = screen()
    show_tick = shown.ticks(project.load(tales, usd=0.5))
    for step in range(1, 100):
        show_tick(tick(step), Reading(usd=0.001))
    assert err.getvalue() == "train    1/100  loss 2.50  12 k tokens/s  $0.0010 of $0.50  1:05 left\n"
    assert capsys.readouterr().out == ""
    show_tick(tick(100, bits=1.618), Reading(usd=0.002))
    assert capsys.readouterr().out == "train    100/100  1.62 bits/byte  12 k tokens/s  $0.0020 of $0.50  1:05 left\n"


def test_on_a_terminal_there_is_a_bar_and_nothing_of_it_stays(capsys, tales):
    err = Console(file=io.StringIO(), width=120, force_terminal=True, highlight=False)
    shown = show.Screen(False, err)
    with shown.bar:
        shown.ticks(project.load(tales))(tick(50), Reading())
        shown.bar.refresh()
    assert "50/100" in err.file.getvalue()
    assert err.file.getvalue().rstrip().endswith("\x1b[2K")  # the line is wiped at the end


def test_help_answers_at_once():
    code = "import sys, time; began = time.process_time(); sys.argv = ['cupola', '--help']\nfrom cupola.cli import main\n"
    code += "try: main()\nexcept SystemExit: print(time.process_time() - began, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
    assert "Usage: " in done.stdout
    assert float(done.stderr.split()[-1]) < 1.0  # of the processor's time, so that a busy machine changes little; 0.3 s on a quiet one
