from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from cupola import ledger
from cupola.errors import Busy, DataError, MachineError
from cupola.ledger import Artefact


@pytest.fixture
def book(tmp_path):
    with ledger.open(tmp_path) as book:
        yield book


def tune(run: str, text: str, **more) -> Artefact:
    return Artefact(ledger.artefact_id(text), "tune", "reels", run, text, **more)


def spend(book, run, usd=0.001, kind="train", id=None):
    book.spend(run, kind, 10.0, 100.0, "tdp_share", usd, "own: $0.055 an hour", id=id)


# -- what goes in comes out


def test_totals_are_the_sum_of_the_spends_by_kind_and_by_meter(book):
    run = book.start_run("make", "reels")
    book.spend(run, "corpus", 2.0, 20.0, "tdp_share", 0.0001, "own")
    book.spend(run, "train", 100.0, 900.0, "tdp_share", 0.003, "own")
    book.spend(run, "train", 50.0, 400.0, "rapl", 0.0009, "own")
    totals = book.totals()
    assert (totals.seconds, totals.joules, totals.usd) == (152.0, 1320.0, 0.004)
    assert list(totals.by_kind) == ["corpus", "train"]
    assert totals.by_kind["train"] == ledger.Spent(150.0, 1300.0, 0.0039)
    assert totals.joules_by == {"tdp_share": 920.0, "rapl": 400.0}
    assert totals.runs == 1


def test_dollars_per_kept_thing_count_all_dollars_and_only_kept_things(book):
    run = book.start_run("make", "reels")
    spend(book, run, 0.0041)
    assert book.totals().usd_per_kept is None
    for i in range(12):
        book.artefact(tune(run, f"tune {i}", kept=True, why="likeliest"))
    book.artefact(tune(run, "a copy", kept=False, why="copy"))
    book.artefact(tune(run, "undecided"))
    totals = book.totals()
    assert (totals.kept, totals.rejected, totals.kept_by_medium) == (12, 1, {"tune": 12})
    assert totals.usd_per_kept == pytest.approx(0.0041 / 12)


def test_the_summary_is_one_line_for_people(book):
    run = book.start_run("make", "reels")
    assert ledger.summary(book) == "nothing spent yet"
    for kind, usd in (("corpus", 0.000123), ("train", 0.003772), ("candidates", 0.000205)):
        spend(book, run, usd, kind)
    assert ledger.summary(book) == "$0.0041 in all: corpus 3%, training 92%, candidates 5% · nothing kept yet"
    for i in range(12):
        book.artefact(tune(run, f"tune {i}", kept=True))
    assert ledger.summary(book.totals()) == "$0.0041 in all: corpus 3%, training 92%, candidates 5% · $0.00034 a kept tune"


def test_a_candidate_far_below_a_micro_dollar_still_counts(book):
    run = book.start_run("make", "reels")
    for _ in range(1000):
        spend(book, run, 2e-7)
    assert book.totals().usd == 0.0002


def test_an_artefact_comes_back_as_it_went_in(book):
    run = book.start_run("sample", "reels")
    made = tune(run, "X:1\nK:D\nabc|", prompt="X:1", pins={"bars": 8}, seed=7, parent="p", seconds=1.5, joules=9.0, usd=4e-6)
    made = dataclasses.replace(
        made, logprob_per_byte=-1.1, valid=False, problems=["line 3, column 4: short bar"], kept=False, why="invalid"
    )
    made = dataclasses.replace(made, nearest_name="The Foggy Dew", nearest_path="a b/ü🎻.abc", distance=0.41, files=["out/1.mid"])
    book.artefact(made)
    assert book.artefacts() == [made]
    assert book.artefacts(run="other") == []


def test_the_same_notation_made_twice_in_a_run_is_one_thing(book):
    run = book.start_run("sample", "reels")
    book.artefact(tune(run, "abc", kept=True))
    book.artefact(tune(run, "abc", kept=True))
    later = book.start_run("sample", "reels")
    book.artefact(tune(later, "abc", kept=True))
    assert len(book.artefacts(run)) == 1
    assert len(book.artefacts()) == 2
    assert book.totals().kept == 1


def test_a_changed_mind_is_a_new_row_and_the_last_one_counts(book):
    run = book.start_run("sample", "reels")
    made = tune(run, "abc", kept=True, why="likeliest")
    book.artefact(made)
    book.keep(made.id, False, "dull", by="me")
    assert [(a.kept, a.why) for a in book.artefacts()] == [(False, "dull")]
    assert book.artefacts(kept=True) == []
    book.keep(made.id, True, "grew on me", by="me")
    assert [a.why for a in book.artefacts(kept=True)] == ["grew on me"]
    assert [line["why"] for line in book.lines() if line["what"] == "choice"] == ["likeliest", "dull", "grew on me"]


def test_a_forecast_stands_beside_its_outcome(book):
    run = book.start_run("plan", "reels")
    inside = book.forecast(run, "bits_per_byte", 1.5, 1.6, 1.7, "bits/byte", "dial")
    outside = book.forecast(run, "seconds", 240, 250, 260, "s", "measured throughput")
    assert [f["at"] for f in book.forecasts()] == [line["at"] for line in book.lines() if line["what"] == "forecast"]
    book.outcome(inside, 1.61)
    assert [f["inside"] for f in book.forecasts()] == [True, None]
    book.outcome(outside, 300)
    assert [(f["quantity"], f["outcome"], f["inside"]) for f in book.forecasts(run)] == [
        ("bits_per_byte", 1.61, True),
        ("seconds", 300, False),
    ]


POINT = {"params": 120_000, "tokens": 1_200_000, "unique_tokens": 4e5, "bits_per_byte": 2.31, "flops": 8.6e11, "status": "done"}


def test_the_points_of_a_ladder_come_back_by_key_oldest_first_also_one_that_diverged(book):
    run = book.start_run("plan", "reels")
    first = book.point(run, "reels/1", POINT)
    book.point(run, "other", POINT)
    book.point(None, "reels/1", POINT | {"bits_per_byte": None, "status": "diverged"})
    one, two = book.points("reels/1")
    assert one == {**POINT, "id": first, "run": run, "at": book.lines()[1]["at"], "key": "reels/1"}
    assert (two["run"], two["bits_per_byte"], two["status"]) == (None, None, "diverged")
    assert [p["key"] for p in book.points()] == ["reels/1", "other", "reels/1"]
    assert book.points("nothing like it") == []


def test_what_was_measured_of_a_machine_comes_back_newest_last(book):
    run = book.start_run("plan", "reels")
    for speed in (1e5, 1.1e5):
        book.probe(run, "16 cores of this kind", {"dtype": "float32", "tokens_per_second": speed})
    book.probe(run, "another", {"watts": 21.0})
    assert [p["tokens_per_second"] for p in book.probes("16 cores of this kind")] == [1e5, 1.1e5]
    assert [p["key"] for p in book.probes()] == ["16 cores of this kind", "16 cores of this kind", "another"]
    assert book.points() == []


def test_points_and_probes_can_be_read_by_column_with_any_sqlite(book):
    run = book.start_run("plan", "reels")
    book.point(run, "reels/1", POINT)
    book.probe(run, "this machine", {"dtype": "float32", "watts": 21.0})
    other = sqlite3.connect(book.db_path)
    assert other.execute("SELECT key, params, bits_per_byte, purpose FROM points").fetchall() == [("reels/1", 120_000, 2.31, None)]
    assert other.execute("SELECT key, dtype, watts FROM probes").fetchall() == [("this machine", "float32", 21.0)]
    other.close()


def test_a_point_written_twice_counts_once_as_it_was_first_written(book):
    run = book.start_run("plan", "reels")
    for bits in (2.31, 2.32):
        assert book.point(run, "reels/1", POINT | {"bits_per_byte": bits}, id="rung-1") == "rung-1"
    assert [p["bits_per_byte"] for p in book.points()] == [2.31]
    with pytest.raises(ValueError, match="already, for something that is not a probe"):
        book.probe(run, "this machine", {}, id="rung-1")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"at": "noon", "run": "mine"}, "every row has its own at, run: the facts of a point need another name for theirs"),
        ({"key": "another"}, "every row has its own key"),
        ({"bits_per_byte": float("nan")}, "not JSON compliant"),
    ],
)
def test_facts_that_would_hide_a_rows_own_or_are_no_numbers_are_refused(book, facts, says):
    with pytest.raises(ValueError, match=says):
        book.point(None, "reels/1", facts)
    assert book.points() == []
    assert book.point(None, "reels/1", {"key": "reels/1"})


def test_lines_tell_everything_as_it_happened_oldest_first(book):
    run = book.start_run("train", "reels", "runs/reels", {"seed": 1})
    other = book.start_run("sample", "reels")
    book.note(run, "late", {"seconds": 3})
    spend(book, run, 0.002)
    book.finish_run(run, "done", {"bits_per_byte": 1.6})
    assert [(line["what"], line["run"]) for line in book.lines()] == [
        ("run", run),
        ("run", other),
        ("note", run),
        ("spend", run),
        ("end", run),
    ]
    lines = book.lines(run)
    assert lines[0]["settings"] == {"seed": 1}
    assert lines[1]["detail"] == {"seconds": 3}
    assert lines[2]["usd"] == 0.002
    assert lines[3]["status"] == "done"
    assert all(line["at"].endswith("Z") for line in lines)
    assert json.dumps(lines)


def test_the_file_can_be_read_by_column_with_any_sqlite(book):
    run = book.start_run("make", "reels")
    spend(book, run, 0.002)
    with sqlite3.connect(book.db_path) as other:
        assert other.execute("SELECT kind, usd, joules_by FROM spends").fetchall() == [("train", 0.002, "tdp_share")]
    other.close()


def test_nothing_can_be_changed_or_taken_out(book):
    run = book.start_run("make", "reels")
    spend(book, run)
    other = sqlite3.connect(book.db_path)
    for sql in ("DELETE FROM rows", "UPDATE rows SET body = '{}'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(sql)
    other.close()


def test_the_same_row_written_twice_counts_once(book):
    run = book.start_run("make", "reels", id="run-1")
    assert book.start_run("make", "reels", id="run-1") == run
    for _ in range(3):
        spend(book, run, id="spend-1")
        book.note(run, "late", id="note-1")
    assert book.totals().usd == 0.001
    assert len(book.lines()) == 3


def test_an_id_that_stands_for_something_else_is_refused(book):
    run = book.start_run("make", "reels")
    spend(book, run, 0.001, id="a")
    with pytest.raises(ValueError, match="with another amount"):
        spend(book, run, 0.002, id="a")
    with pytest.raises(ValueError, match="already, for something that is not a note"):
        book.note(run, "late", id="a")
    assert book.totals().usd == 0.001


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ((10.0, 5.0, 0.0), "10 s of train at \\$0: nothing is free"),
        ((-1.0, 5.0, 0.1), "a spend of -1.0 seconds"),
        ((1.0, float("nan"), 0.1), "a spend of nan joules"),
        ((1.0, 5.0, float("inf")), "a spend of inf usd"),
        ((1.0, 5.0, -0.1), "a spend of -0.1 usd"),
    ],
)
def test_a_spend_that_is_free_negative_or_no_number_is_refused(book, figures, says):
    run = book.start_run("make", "reels")
    seconds, joules, usd = figures
    with pytest.raises(ValueError, match=says):
        book.spend(run, "train", seconds, joules, "tdp_share", usd, "own")
    assert book.totals().usd == 0


def test_rows_about_things_that_never_were_are_refused(book):
    with pytest.raises(ValueError, match="no run 'nowhere'"):
        spend(book, "nowhere")
    with pytest.raises(ValueError, match="no forecast 'f'"):
        book.outcome("f", 1.0)
    with pytest.raises(ValueError, match="no artefact 'a'"):
        book.keep("a", True, "", "me")
    run = book.start_run("plan", "reels")
    with pytest.raises(ValueError, match="does not hold"):
        book.forecast(run, "seconds", 3, 2, 1, "s", "law")


# -- two at once


def test_a_second_writer_is_told_who_holds_the_ledger(tmp_path):
    code = "import sys, time; from cupola import ledger; b = ledger.open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(Busy, match=f"process {other.pid}, or one that it started, is writing this project's ledger") as e:
            ledger.open(tmp_path)
        assert e.value.where == str(tmp_path)
        assert ledger.summary(ledger_read(tmp_path)) == "nothing spent yet"
    finally:
        other.kill()
        other.communicate()
    ledger.open(tmp_path).close()  # the lock died with its holder


def ledger_read(project):
    with ledger.read(project) as book:
        return book.totals()


def test_opening_twice_in_one_process_is_refused_too(book, tmp_path):
    with pytest.raises(Busy, match="this process is writing"):
        ledger.open(tmp_path)
    book.start_run("make", "still ours")


def test_a_reader_sees_what_was_written_so_far_and_cannot_write(book, tmp_path):
    run = book.start_run("make", "reels")
    with ledger.read(tmp_path) as reader:
        for n in range(1, 4):
            spend(book, run)
            assert reader.totals().usd == pytest.approx(n * 0.001)
        with pytest.raises(Busy, match="opened to be read"):
            reader.start_run("make", "x")
        assert reader.integrity() == []


def test_a_ledger_can_be_read_after_its_writer_closed_and_before_the_next(tmp_path):
    with ledger.open(tmp_path) as book:
        spend(book, book.start_run("make", "reels"))
    assert ledger_read(tmp_path).usd == 0.001
    with ledger.open(tmp_path) as book:
        spend(book, book.start_run("make", "reels"))
    assert ledger_read(tmp_path).usd == 0.002


def test_threads_may_share_a_book(book):
    run = book.start_run("make", "reels")
    threads = [threading.Thread(target=lambda: [spend(book, run) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        assert book.totals().usd >= 0  # reads go between
        thread.join()
    assert book.totals().usd == pytest.approx(0.08)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_to_write_lines_instead(book):
    book._pid += 1  # as a child would see it: forking a process with threads is not for a test
    with pytest.raises(Busy, match="a child process may not write"):
        book.start_run("make", "reels")


@pytest.mark.parametrize("name", ["plain", "with space", "🎻 ünï", "odd?name#1%20"])
def test_project_folders_may_have_any_name(tmp_path, name):
    (tmp_path / name).mkdir()
    with ledger.open(tmp_path / name) as book:
        spend(book, book.start_run("make", name))
    assert ledger_read(tmp_path / name).usd == 0.001


# -- crashes

WRITER = """if True:
    import sys
    from cupola import ledger
    with ledger.open(sys.argv[1]) as book:
        run = book.start_run("train", "reels", id="run")
        for n in range(int(sys.argv[2]), 100000):
            book.spend(run, "train", 1.0, 2.0, "tdp_share", 0.001, "own", id=f"spend-{n}")
            print(n, flush=True)
"""


def write_until_killed(project: Path, first: int, after: float) -> list[int]:
    """The rows that a child had acknowledged when it was killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(project), str(first)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    acknowledged = [int(child.stdout.readline())]  # the clock starts with its first row, whatever the machine is doing
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    with child:  # not communicate(), which passes over what readline() has read ahead
        out, error = child.stdout.read(), child.stderr.read()
    assert child.returncode == -signal.SIGKILL, error
    return acknowledged + [int(line) for line in out.split("\n")[:-1]]  # a number cut short was not acknowledged


def check_kills(project: Path, kills: int, seed: int) -> None:
    rng, acknowledged = random.Random(seed), set()
    for _ in range(kills):
        first = max(acknowledged, default=-1) + 1  # the row in flight at the kill, stored or not, is written again
        acknowledged |= set(write_until_killed(project, first, rng.uniform(0, 0.15)))
        with ledger.read(project) as book:
            stored = [int(line["id"].removeprefix("spend-")) for line in book.lines() if line["what"] == "spend"]
            assert len(stored) == len(set(stored))
            assert acknowledged <= set(stored)
            assert len(stored) <= len(acknowledged) + 1
            assert book.totals().usd == pytest.approx(0.001 * len(stored), abs=1e-12)
            assert book.integrity() == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_no_acknowledged_row_is_lost_or_doubled_by_a_kill(tmp_path):
    check_kills(tmp_path, kills=5, seed=1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_no_acknowledged_row_is_lost_or_doubled_by_forty_kills(tmp_path):
    check_kills(tmp_path, kills=40, seed=2)


class CrashingLedger(RuleBasedStateMachine):
    """Spend, lose power, retry, in any order. A crash is a copy of the files as they are on disk, as a power cut leaves them."""

    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.crashes, self.n, self.acknowledged, self.last = 0, 0, {}, 0.0
        self.project = Path(self.folder.name) / "0"
        self.project.mkdir()
        self.book = ledger.open(self.project)
        self.book.start_run("train", "reels", id="run")

    def teardown(self):
        self.book.close()
        self.folder.cleanup()

    @rule(target=ids, nano=st.integers(1, 10**10))
    def spend_something_new(self, nano):
        self.n += 1
        self._spend(f"spend-{self.n}", nano)
        return f"spend-{self.n}", nano

    @rule(spent=ids)
    def retry_what_was_acknowledged(self, spent):
        self._spend(*spent)

    @rule(spent=consumes(ids))
    def take_a_workers_line_twice(self, spent):
        id, nano = spent
        path = self.project / "lines.jsonl"
        fields = {"kind": "train", "seconds": 1.0, "joules": 2.0, "joules_by": "rapl", "usd": nano / 1e9, "usd_by": "own"}
        for _ in range(2):
            ledger.jot(path, "spend", "run", id=id, **fields)
        assert self.book.ingest(path) == 0

    @rule()
    def close_and_open(self):
        self.book.close()
        self.book = ledger.open(self.project)

    @rule(nano=st.integers(1, 10**10), cut=st.integers(0, 9000))
    def crash_while_spending_then_retry(self, nano, cut):
        self.n += 1
        id = f"spend-{self.n}"
        wal = Path(str(self.book.db_path) + "-wal")
        before = wal.stat().st_size if wal.exists() else 0
        self._spend(id, nano, acknowledged=False)
        self._lose_power(max(before, wal.stat().st_size - cut))  # what was acknowledged is synced; the rest may be torn anywhere
        self._spend(id, nano)

    @rule()
    def crash_at_rest(self):
        wal = Path(str(self.book.db_path) + "-wal")
        self._lose_power(wal.stat().st_size if wal.exists() else 0)

    @precondition(lambda self: self.acknowledged)
    @invariant()
    def sums_are_exactly_what_was_acknowledged_and_never_fall(self):
        usd = self.book.totals().usd
        assert usd == sum(self.acknowledged.values()) / 1e9
        assert usd >= self.last
        self.last = usd

    def _spend(self, id, nano, acknowledged=True):
        self.book.spend("run", "train", 1.0, 2.0, "rapl", nano / 1e9, "own", id=id)
        if acknowledged:
            self.acknowledged[id] = nano

    def _lose_power(self, wal_bytes):
        self.crashes += 1
        project = Path(self.folder.name) / str(self.crashes)
        (project / ".cupola").mkdir(parents=True)
        for name in ("ledger.db", "ledger.db-wal"):
            if (self.project / ".cupola" / name).exists():
                shutil.copyfile(self.project / ".cupola" / name, project / ".cupola" / name)
        wal = project / ".cupola" / "ledger.db-wal"
        if wal.exists():
            os.truncate(wal, wal_bytes)
        self.book.close()
        self.project, self.book = project, ledger.open(project)
        assert self.book.integrity() == []


TestCrashingLedger = CrashingLedger.TestCase
TestCrashingLedger.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def test_every_row_is_synced_to_the_disk_before_the_call_returns(book):
    assert book._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert book._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: a power cut can't be tried here


def test_power_lost_after_an_acknowledged_row_loses_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b/.cupola").mkdir(parents=True)
    with ledger.open(tmp_path / "a") as book:
        run = book.start_run("make", "reels")
        for _ in range(5):
            spend(book, run)
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copyfile(tmp_path / "a/.cupola" / name, tmp_path / "b/.cupola" / name)
    assert ledger_read(tmp_path / "b").usd == pytest.approx(0.005)


# -- what goes wrong with files


def test_a_full_disk_is_said_plainly_and_rows_before_it_are_kept(book, tmp_path):
    run = book.start_run("make", "reels")
    pages = book._connection.execute("PRAGMA page_count").fetchone()[0]
    book._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    says = r"ledger\.db: the disk is full\n  free some space and go on: every row before this one is kept"
    with pytest.raises(MachineError, match=says):
        all(spend(book, run, id=f"spend-{n}") is None for n in range(1000))
    stored = sum(line["what"] == "spend" for line in book.lines())
    assert 0 < stored < 1000
    assert book.totals().usd == pytest.approx(stored * 0.001)
    book._connection.execute("PRAGMA max_page_count = 100000")
    spend(book, run, id=f"spend-{stored}")  # space was freed: the same book goes on
    assert ledger_read(tmp_path).usd == pytest.approx((stored + 1) * 0.001)


LIMITED = """if True:
    import resource, sys
    from cupola import ledger
    from cupola.errors import CupolaError
    book = ledger.open(sys.argv[1])
    run = book.start_run("make", "reels", id="run")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    n = 0
    try:
        while n < 1000:
            book.spend(run, "train", 1.0, 2.0, "rapl", 0.001, "own", id=f"spend-{n}")
            n += 1
    except CupolaError as e:
        first = str(e)
    try:
        book.note(run, "more")
    except CupolaError as e:
        print(n, type(e).__name__, repr(first), repr(str(e)), sep="\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def test_a_write_that_fails_stops_the_book_and_a_retry_in_the_next_counts_once(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    n, kind, first, second = done.stdout.splitlines()
    assert kind == "MachineError"
    assert "the disk failed: disk I/O error" in first
    assert "rows before this one are kept, and the same row written again counts once" in first
    assert "not written, since an earlier write failed" in second
    with ledger.open(tmp_path) as book:
        assert book.integrity() == []
        spend_n = {line["id"] for line in book.lines() if line["what"] == "spend"}
        assert {f"spend-{i}" for i in range(int(n))} <= spend_n
        book.spend("run", "train", 1.0, 2.0, "rapl", 0.001, "own", id=f"spend-{n}")
        assert book.totals().usd == pytest.approx((int(n) + 1) * 0.001)


@pytest.mark.parametrize("damage", ["other file", "header", "middle", "another program's"])
def test_a_damaged_ledger_is_named_with_what_to_do_and_left_as_it_is(tmp_path, damage):
    with ledger.open(tmp_path) as book:
        run = book.start_run("make", "reels")
        for n in range(50):
            book.note(run, "x" * 200, {"n": n})
    path = tmp_path / ".cupola/ledger.db"
    data = bytearray(path.read_bytes())
    if damage == "other file":
        data = bytearray(b"X:1\nT:The Foggy Dew\n" * 100)
    elif damage == "header":
        data[16:100] = os.urandom(84)
    elif damage == "middle":
        data[4096 : 4096 * 12] = b"\xff" * 4096 * 11
    else:
        path.unlink()
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE t (x)")
        other.commit()
        other.close()
        data = bytearray(path.read_bytes())
    path.write_bytes(data)
    says = "a SQLite file, but not a ledger" if damage == "another program's" else "the ledger is damaged: "
    for use in (ledger.open, ledger.read):
        with pytest.raises(DataError) as e, use(tmp_path) as book:
            book.lines()
        assert says in str(e.value)
        assert str(path) in str(e.value)
        assert "move" in e.value.fix
    assert path.read_bytes() == data


def test_doctor_hears_of_damage_that_no_query_has_met(tmp_path):
    with ledger.open(tmp_path) as book:
        run = book.start_run("make", "reels")
        for n in range(200):
            book.note(run, f"{n} " + "x" * 200)
        assert book.integrity() == []
    path = tmp_path / ".cupola/ledger.db"
    data = bytearray(path.read_bytes())
    data[-4096:] = b"\xff" * 4096
    path.write_bytes(data)
    with ledger.read(tmp_path) as book:
        assert book.integrity()


def test_a_ledger_from_a_newer_cupola_is_refused_by_name_and_untouched(tmp_path):
    ledger.open(tmp_path).close()
    path = tmp_path / ".cupola/ledger.db"
    newer = sqlite3.connect(path)
    newer.execute("INSERT INTO migrations VALUES (9, '2031-01-01', '7.2.0')")
    newer.execute("PRAGMA user_version = 9")
    newer.commit()
    newer.close()
    before = path.read_bytes()
    for use in (ledger.open, ledger.read):
        with pytest.raises(
            DataError, match=r"cupola 7\.2\.0 wrote this ledger in its version 9; this is cupola .*, which knows version 2"
        ) as e:
            use(tmp_path)
        assert e.value.fix == "use cupola 7.2.0 or newer; nothing was changed"
    assert path.read_bytes() == before


def test_a_ledger_from_an_older_cupola_is_brought_up_to_date_whole_or_not_at_all(tmp_path):
    with ledger.open(tmp_path) as book:
        spend(book, book.start_run("make", "reels"))
    path = tmp_path / ".cupola/ledger.db"
    connection = sqlite3.connect(path, isolation_level=None)
    bad = (*ledger.MIGRATIONS, ("CREATE TABLE more (x)", "CREATE TABLE more (x)"))
    with pytest.raises(sqlite3.OperationalError):
        ledger._migrate(connection, path, bad)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(ledger.MIGRATIONS),)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchone() == (0,)
    ledger._migrate(connection, path, (*ledger.MIGRATIONS, ("CREATE TABLE more (x)",)))
    assert connection.execute("PRAGMA user_version").fetchone() == (len(ledger.MIGRATIONS) + 1,)
    assert connection.execute("SELECT usd FROM spends").fetchone() == (0.001,)
    connection.close()


def version_1(project: Path, rows: int = 3) -> list[dict]:
    """Leave a ledger as version 1 left it, with a row of each kind and `rows` long notes; returns its lines."""
    path = project / ".cupola/ledger.db"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    ledger._migrate(connection, path, ledger.MIGRATIONS[:1])
    with ledger.Book(connection, path, io.BytesIO()) as book:
        run = book.start_run("make", "reels", id="run")
        spend(book, run, id="spend")
        book.outcome(book.forecast(run, "train_seconds", 1, 2, 3, "seconds", "guess"), 2.5)
        book.artefact(tune(run, "abc", kept=True, why="likeliest"))
        for n in range(rows):
            book.note(run, f"{n} " + "x" * 1000, id=f"note-{n}")
        book.finish_run(run, "done", id="end")
        book.finish_run(run, "done", id="end")  # a row that was there already uses up a number
        return book.lines()


def test_a_migration_that_was_released_is_never_changed():
    """Else two ledgers of one version would differ. A new need is a new migration."""
    text = "\n".join(ledger.MIGRATIONS[0])
    assert hashlib.sha256(text.encode()).hexdigest() == "fb86a333b5c93c3083f720007e4177e70aeb37cff44ce8b74406bb044358b19c"


def test_a_ledger_of_version_1_keeps_every_row_with_its_number_and_goes_on(tmp_path):
    before = version_1(tmp_path)
    path = tmp_path / ".cupola/ledger.db"
    other = sqlite3.connect(path)
    (number,) = other.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rows'").fetchone()
    other.execute("CREATE VIEW mine AS SELECT quantity, value FROM forecasts JOIN outcomes ON outcomes.forecast = forecasts.id")
    other.commit()
    with ledger.open(tmp_path) as book:
        assert book.lines() == before
        book.point("run", "reels/1", POINT)
        spend(book, "run", id="spend")  # the retry of a row from before counts once
        assert book.lines()[:-1] == before
        assert book.lines()[-1]["seq"] == number + 1 > before[-1]["seq"] + 1
        assert book.totals().usd == 0.001
        assert [a.why for a in book.artefacts(kept=True)] == ["likeliest"]
        assert book.integrity() == []
    made = {name: sql for name, sql in other.execute("SELECT name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger', 'index')")}
    assert made.pop("mine")
    (tmp_path / "new").mkdir()
    ledger.open(tmp_path / "new").close()
    new = sqlite3.connect(tmp_path / "new/.cupola/ledger.db")
    assert made == dict(new.execute("SELECT name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger', 'index')"))
    new.close()
    assert other.execute("SELECT * FROM mine").fetchall() == [("train_seconds", 2.5)]  # what somebody added for themselves stays
    for sql in ("DELETE FROM rows", "UPDATE rows SET body = '{}'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(sql)
    other.close()


def test_a_ledger_of_version_1_is_read_as_it_is(tmp_path):
    before = version_1(tmp_path)
    data = (tmp_path / ".cupola/ledger.db").read_bytes()
    with ledger.read(tmp_path) as book:
        assert book.lines() == before
        assert [f["inside"] for f in book.forecasts()] == [True]
        assert book.points() == book.probes() == []
        assert book.totals().usd == 0.001
    assert (tmp_path / ".cupola/ledger.db").read_bytes() == data


def test_a_reader_that_was_there_first_sees_the_rows_through_the_migration(tmp_path):
    before = version_1(tmp_path)
    with ledger.read(tmp_path) as reader:
        assert reader.lines() == before
        with ledger.open(tmp_path) as book:
            assert reader.lines() == before
            book.point("run", "reels/1", POINT)
            assert len(reader.points()) == 1


def test_power_lost_at_any_statement_of_the_migration_loses_no_row(tmp_path):
    before = version_1(tmp_path / "0", rows=40)
    path, copies = tmp_path / "0/.cupola/ledger.db", []

    def lose_power(_sql):
        there = tmp_path / str(len(copies) + 1)
        (there / ".cupola").mkdir(parents=True)
        for name in ("ledger.db", "ledger.db-wal"):
            if path.with_name(name).exists():
                shutil.copyfile(path.with_name(name), there / ".cupola" / name)
        copies.append(there)

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 4")  # pages: so that half a migration is on the disk when the power goes
    connection.set_trace_callback(lose_power)
    ledger._migrate(connection, path)
    connection.close()
    assert len(copies) > len(ledger.MIGRATIONS[1])
    assert max((c / ".cupola/ledger.db-wal").stat().st_size for c in copies if (c / ".cupola/ledger.db-wal").exists()) > 40_000
    for there in copies:
        with ledger.read(there) as book:
            assert book.lines() == before
        with ledger.open(there) as book:
            assert book.lines() == before
            assert book.integrity() == []
            assert book.point("run", "reels/1", POINT)


MIGRATOR = """if True:
    import os, signal, sqlite3, sys
    from pathlib import Path
    from cupola import ledger
    path = Path(sys.argv[1]) / ".cupola/ledger.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 4")
    connection.set_trace_callback(lambda sql: os.kill(os.getpid(), signal.SIGKILL) if sql.startswith(sys.argv[2]) else None)
    ledger._migrate(connection, path)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("at", ["DROP TABLE rows", "CREATE TRIGGER no_delete", "COMMIT"])
def test_a_kill_in_the_middle_of_the_migration_loses_nothing(tmp_path, at):
    before = version_1(tmp_path, rows=40)
    killed = subprocess.run([sys.executable, "-c", MIGRATOR, str(tmp_path), at], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with ledger.open(tmp_path) as book:
        assert book.lines() == before
        assert book.integrity() == []
        assert book.point("run", "reels/1", POINT)


def test_a_disk_too_full_for_the_migration_leaves_the_ledger_as_it_was(tmp_path):
    before = version_1(tmp_path, rows=40)
    path = tmp_path / ".cupola/ledger.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(MachineError, match="the disk is full\n  free some space and go on"), ledger._plainly(path):
        ledger._migrate(connection, path)
    connection.close()
    assert ledger_lines(tmp_path) == before
    ledger.open(tmp_path).close()
    assert ledger_lines(tmp_path) == before


def ledger_lines(project):
    with ledger.read(project) as book:
        return book.lines()


def test_a_file_whose_writer_died_before_its_first_row_is_no_ledger_yet_and_can_be_begun(tmp_path):
    (tmp_path / ".cupola").mkdir()
    (tmp_path / ".cupola/ledger.db").touch()
    with pytest.raises(DataError, match="no ledger yet: nothing was run or spent here"):
        ledger.read(tmp_path)
    with ledger.open(tmp_path) as book:
        spend(book, book.start_run("make", "reels"))
    assert ledger_read(tmp_path).usd == 0.001


def test_there_is_nothing_to_read_before_anything_was_spent(tmp_path):
    with pytest.raises(DataError, match="no ledger yet: nothing was run or spent here"):
        ledger.read(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_or_cannot_be_written_is_said(tmp_path):
    with pytest.raises(MachineError, match="no such folder"):
        ledger.open(tmp_path / "nowhere")
    (tmp_path / ".cupola").write_text("in the way")
    with pytest.raises(MachineError, match="cannot write here: File exists"):
        ledger.open(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_can_be_read_and_not_written(tmp_path):
    with ledger.open(tmp_path) as book:
        spend(book, book.start_run("make", "reels"))
    (tmp_path / ".cupola").chmod(0o500)
    try:
        assert ledger_read(tmp_path).usd == 0.001
        with pytest.raises(MachineError):
            ledger.open(tmp_path)
    finally:
        (tmp_path / ".cupola").chmod(0o700)


def test_a_copy_is_whole_and_never_overwrites(book, tmp_path):
    spend(book, book.start_run("make", "reels"))
    (tmp_path / "safe/.cupola").mkdir(parents=True)
    copied = book.copy(tmp_path / "safe/.cupola/ledger.db")
    assert ledger_read(tmp_path / "safe").usd == 0.001
    with pytest.raises(MachineError, match="a file of that name already"):
        book.copy(copied)


# -- a worker's lines

SPEND = {"kind": "train", "seconds": 1.0, "joules": 2.0, "joules_by": "rapl", "usd": 0.001, "usd_by": "own"}


def test_a_workers_lines_count_once_however_often_they_are_taken_in(book, tmp_path):
    run, path = book.start_run("train", "reels"), tmp_path / "lines.jsonl"
    for _ in range(3):
        ledger.jot(path, "spend", run, **SPEND)
    ledger.jot(path, "note", run, what="late", detail={"seconds": 2})
    assert book.ingest(path) == 4
    assert book.ingest(path) == 0
    ledger.jot(path, "end", run, status="done")
    assert book.ingest(path) == 1
    assert book.totals().usd == 0.003
    assert [line["what"] for line in book.lines()] == ["run", "spend", "spend", "spend", "note", "end"]


@given(cut=st.integers(1, 400))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_last_line_cut_short_is_left_for_the_next_time(book, tmp_path, cut):
    run, path = book.start_run("train", "reels"), tmp_path / f"{cut}.jsonl"
    path.unlink(missing_ok=True)
    for _ in range(2):
        ledger.jot(path, "spend", run, **SPEND)
    whole = path.read_bytes()
    cut = min(cut, len(whole) // 2 - 1)
    path.write_bytes(whole[:-cut])
    assert book.ingest(path) == (2 if cut == 1 else 1)  # without its newline a line is still whole
    path.write_bytes(whole)
    book.ingest(path)
    assert book.totals(run).usd == 0.002


def test_a_worker_that_was_killed_and_went_on_loses_only_the_line_in_flight(book, tmp_path):
    run, path = book.start_run("train", "reels"), tmp_path / "lines.jsonl"
    ledger.jot(path, "spend", run, **SPEND)
    with path.open("ab") as file:
        file.write(b'{"call":"spend","run":"')
    ledger.jot(path, "spend", run, **SPEND)
    book.ingest(path)
    book.ingest(path)
    assert book.totals().usd == 0.002
    notes = [line for line in book.lines() if line["what"] == "note"]
    assert [(n["note"], n["detail"]) for n in notes] == [("a line of a worker was cut short", {"file": "lines.jsonl", "line": 2})]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"call": "spend", "run": "RUN", "id": "x", "with": SPEND | {"usd": 0}}, "nothing is free"),
        ({"call": "spend", "run": "RUN", "id": "x", "with": {"kind": "train"}}, "missing"),
        ({"call": "drop", "run": "RUN", "id": "x", "with": {}}, "'drop'"),
        ({"call": "spend", "run": "nowhere", "id": "x", "with": SPEND}, "no run 'nowhere'"),
        ([1, 2], "not a ledger row"),
    ],
)
def test_a_whole_line_that_is_no_row_is_refused_with_its_place_and_nothing_goes_in(book, tmp_path, line, says):
    run, path = book.start_run("train", "reels"), tmp_path / "lines.jsonl"
    ledger.jot(path, "spend", run, **SPEND)
    with path.open("a") as file:
        file.write(json.dumps(line).replace("RUN", run) + "\n")
    with pytest.raises(DataError) as e:
        book.ingest(path)
    assert says in str(e.value)
    assert e.value.where == f"{path}:2"
    assert book.totals().usd == 0


# -- versions


def test_an_old_sqlite_is_said_to_be_safe_because_one_process_writes():
    note = ledger.sqlite_note()
    assert note.startswith(f"SQLite {sqlite3.sqlite_version}")
    assert ("safe here" in note) == (not (sqlite3.sqlite_version_info >= (3, 51, 3) or note == f"SQLite {sqlite3.sqlite_version}"))


def test_importing_the_ledger_is_quick_and_brings_in_neither_torch_nor_pydantic():
    code = "import sys; from cupola import ledger; print([m for m in ('torch', 'pydantic', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
