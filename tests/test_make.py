"""The whole pipeline through the command line, on a corpus that is learnt in seconds; what it leaves, and what it says when it can't."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_sentences

from cupola import ledger, make
from cupola import project as projects
from cupola.errors import OverBudget
from cupola.make import Foundry

CUPOLA = (sys.executable, "-c", "from cupola.cli import main; main()")


def cupola(*arguments, check=True, **more):
    done = subprocess.run([*CUPOLA, *map(str, arguments)], capture_output=True, text=True, **more)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with spaces and emoji in its name, made once for all tests here."""
    folder = tmp_path_factory.mktemp("p") / "two tales 🦊"
    source = write_sentences(folder / "the stories", files=60)
    cupola("new", folder, "--medium", "text", "--from", source, "--minutes", "0.5")
    settings = folder / "cupola.toml"
    settings.write_text(
        settings.read_text().replace("count = 12", "count = 3") + "\n[models.two-tales.train]\nlength = 128\nparams = 60000\n"
    )
    return folder


@pytest.fixture(scope="module")
def made(project):
    began = time.monotonic()
    done = cupola("make", project, "--yes", "--json")
    return {**json.loads(done.stdout), "seconds": time.monotonic() - began, "stderr": done.stderr}


pytestmark = pytest.mark.slow


def test_make_ends_inside_its_budget_and_its_costs_add_up(project, made):
    totals = made["totals"]
    assert totals["seconds"] < 30
    assert made["seconds"] < 45  # the interpreter's start, outside the budget, included
    assert sum(part["usd"] for part in totals["by_kind"].values()) == pytest.approx(totals["usd"])
    assert {"corpus", "plan", "train", "proof", "evaluate", "candidates", "page"} <= set(totals["by_kind"])
    with ledger.read(project) as book:
        assert book.totals().usd == pytest.approx(totals["usd"])
        assert {f["quantity"] for f in book.forecasts() if f["outcome"] is not None} == {"train_seconds", "train_joules", "train_usd"}


def test_the_model_beats_the_bytes_own_entropy_and_is_proved(made):
    assert made["score"]["bits_per_byte"] < 0.6 * made["score"]["entropy"]
    assert made["score"]["low"] < made["score"]["bits_per_byte"] < made["score"]["high"]
    assert "GGUF and Transformers agree on" in made["proof"]


def test_what_was_made_lies_in_out_with_a_page_that_asks_the_network_for_nothing(project, made):
    assert len(made["made"]) == 3
    for artefact in made["made"]:
        assert artefact["distance"] > 0
        assert (project / "out" / "text-01.txt").exists()
    page = (project / "out" / "index.html").read_text("utf-8")
    assert "two tales 🦊" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def test_the_delivered_folder_opens_without_cupola(project, made):
    code = (
        "import sys; sys.modules['cupola'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "import sys; folder = sys.argv[1]\n"
        "t, m = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)\n"
        "assert m.num_parameters() > 10_000 and t.decode(t.encode('the fox sees')) == 'the fox sees'"
    )
    subprocess.run([sys.executable, "-c", code, str(project / "out" / "model")], check=True)
    assert "bits_per_byte" in (project / "out" / "model" / "README.md").read_text("utf-8")


def test_a_second_make_pays_for_no_training_and_gives_the_same_bytes(project, made):
    before = {p.name: p.read_bytes() for p in (project / "out").glob("text-*.txt")}
    again = json.loads(cupola("make", project, "--yes", "--json").stdout)
    assert any("trained before" in n for n in again["notes"])
    assert {p.name: p.read_bytes() for p in (project / "out").glob("text-*.txt")} == before
    assert again["totals"]["by_kind"].get("train", {"seconds": 0})["seconds"] < 2


def test_the_other_verbs_work_on_what_was_made(project, made, tmp_path):
    model = project / "out" / "model"
    assert "agree on" in cupola("prove", model).stdout
    drawn = json.loads(cupola("sample", model, "-n", "2", "--seed", "7", "--out", tmp_path / "o", "--json").stdout)
    assert len(drawn["made"]) == 2
    piece = project / "out" / "text-01.txt"
    for verb in (("repaint", "--from", "2", "--to", "3"), ("vary", "--share", "0.2"), ("extend", "--more", "2")):
        done = json.loads(cupola(verb[0], model, piece, *verb[1:], "--out", tmp_path / verb[0], "--json", check=False).stdout)
        assert done["drawn"] >= 1
    shown = cupola("ledger", project, "--forecasts").stdout
    assert "a kept text" in shown
    assert "train_seconds" in shown
    looked = json.loads(cupola("data", project, "--json").stdout)
    assert looked["documents"] > 50
    assert "⟨bos⟩" in "".join(looked["rows"])
    planned = json.loads(cupola("plan", project, "--json").stdout)
    assert planned["quality"] is None
    assert planned["seconds"]["p90"] < 35


def test_without_a_terminal_nothing_is_spent_unasked(project):
    done = cupola("make", project, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "pass --yes" in done.stderr


def test_two_cupolas_on_one_project_do_not_meet(project, made):
    with ledger.open(project):
        done = cupola("plan", project, check=False)
    assert done.returncode == 1
    assert f"{os.getpid()}" in done.stderr


def test_a_budget_that_is_too_small_says_the_least_that_works(project):
    done = cupola("make", project, "--minutes", "0.1", "--yes", check=False)
    assert done.returncode == 1
    assert "too few for anything" in done.stderr
    assert "more, or a smaller corpus" in done.stderr


def test_an_edited_corpus_is_noticed_and_trained_on_anew(project, made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    settings = copy / "cupola.toml"
    settings.write_text(settings.read_text().replace(str(project), str(copy)))
    first = next((copy / "the stories").glob("*.txt"))
    first.write_text(first.read_text() + "the end of it all.\n")
    again = json.loads(cupola("make", copy, "--yes", "--json").stdout)
    assert not any("trained before" in n for n in again["notes"])
    assert len({p.name.rpartition("-")[0] for p in (copy / ".cupola" / "runs").iterdir()}) == 2


def test_a_killed_make_goes_on_and_counts_what_it_used_before(project, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    settings = (project / "cupola.toml").read_text()
    (copy / "cupola.toml").write_text(settings.replace("seed = 0", "") + "\n")
    child = subprocess.Popen([*CUPOLA, "make", str(copy), "--yes"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(copy.glob(".cupola/runs/*/checkpoints/step-*")) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = cupola("make", copy, "--yes", "--json")
    facts = json.loads(done.stdout)
    assert any("going on with what was begun" in n for n in facts["notes"])
    assert facts["totals"]["seconds"] < 36
    assert len(list((copy / ".cupola" / "runs").iterdir())) == 1


def test_a_full_disk_is_a_plain_sentence_and_loses_nothing(project, made, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    def ignore():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        small_files()

    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "cupola.toml").write_text((project / "cupola.toml").read_text())
    done = cupola("make", copy, "--yes", check=False, preexec_fn=ignore)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "free some space" in done.stderr or "the disk failed" in done.stderr


@pytest.mark.parametrize(
    ("gate", "limit", "key"), [("minutes", 0.5, "minutes"), ("usd", 0.003, "usd"), ("kwh", 0.0003, "kwh")], ids=["time", "money", "energy"]
)
def test_each_gate_of_the_budget_closes_after_its_thirty_seconds_before_anything_is_bought(project, tmp_path, gate, limit, key):
    settings = (project / "cupola.toml").read_text().replace("minutes = 0.5", f"{gate} = {limit}")
    (tmp_path / "cupola.toml").write_text(settings + "\n[price]\nusd_per_hour = 0.36\nwatts = 36\n")
    now = [0.0]
    with Foundry(projects.load(tmp_path), clock=lambda: now[0]) as f:
        assert f.left() == pytest.approx(30, rel=0.01)
        now[0] = 31.0
        assert f.left() == 0
        with pytest.raises(OverBudget, match=r"is used up") as closed, f.charged("plan"):
            pytest.fail("nothing may be bought")
        assert closed.value.where == f"[budget] {key}"


def test_a_corpus_that_is_too_small_is_said_before_anything_is_spent():
    def corpus(documents, size):
        return SimpleNamespace(report=SimpleNamespace(splits={"train": SimpleNamespace(documents=documents, bytes=size)}))

    icon = SimpleNamespace(name="icon")
    assert make.too_few(icon, corpus(90, 16_000)).startswith("90 icons are too few to learn from: 60 more, or pool them with others")
    assert make.too_few(icon, corpus(150, 16_000)) == ""
    assert make.too_few(SimpleNamespace(name="text"), corpus(29, 370_000)) == ""


def test_what_falls_short_of_what_is_usual_is_said_with_its_figures():
    def shares(copies, flawless, distance):
        made = SimpleNamespace(drawn=48, copy_share=copies, flawless_share=flawless, distance=distance)
        foundry = SimpleNamespace(medium=SimpleNamespace(name="level", passing=0.6), yardstick=np.array([0.4]))
        return make.Foundry.fell_short(foundry, made)

    assert shares(0.1, 0.9, 0.4) == []
    copies, passing, near = shares(0.7, 0.2, 0.1)
    assert copies.startswith("70% of the valid candidates were copies (half are usual at most)")
    assert passing == "20% of the candidates pass every check, where 60% are usual"
    assert near == "what is no copy lies 0.10 from the corpus (median), under 0.7 of what real levels show, 0.40"
