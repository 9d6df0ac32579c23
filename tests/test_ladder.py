"""The ladder: a machine measured once, a design that costs what it says, and runs of which none is paid twice."""

import dataclasses
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import checkpoint, evaluate, hardware, ladder, ledger, rungs, train, units
from cupola import probe as probes
from cupola.errors import CheckpointError, Diverged, OverBudget
from cupola.hardware import PriceConfig
from cupola.ladder import Point, noise_of
from cupola.meter import Meter
from cupola.model import count_parameters, dial, flops_per_token
from cupola.probe import Probe, Speed
from cupola.rungs import Costs, Design, Rung, design, going_on
from cupola.train import Outcome, Tick, TrainConfig

SMALL, LARGE = (dial(params, 300, 64) for params in (1, 125_000))
N = count_parameters(SMALL)


def speeds(sizes=((N, 1000.0), (1_000_000, 100.0)), vocab_size=300, length=64, **more):
    """A Probe of these (parameters, tokens a second)."""
    measured = tuple((n, rate, rate * flops_per_token(dial(n, vocab_size, length), length)) for n, rate in sizes)
    return Probe("machine", vocab_size, length, "float32", measured, **more)


def rung(shape=SMALL, lengths=(8, 16), **changes):
    facts = {"learning_rate": 0.02, "seed": 0, **changes}
    return Rung(shape, 4, lengths, **facts)


def plan_of(*rungs):
    """A Design for a machine so slow that no run of a test is late."""
    return Design(rungs, Costs(speeds()))


class FakeBook:
    """Rows in a list; the same id twice counts once."""

    def __init__(self):
        self.rows = {"point": {}, "probe": {}}

    def _write(self, kind, key, facts, id):
        json.dumps(facts, allow_nan=False)
        id = id or f"{kind}-{len(self.rows[kind])}"
        self.rows[kind].setdefault(id, {**facts, "id": id, "run": None, "at": "", "key": key})

    def point(self, run, key, facts, id=None):
        self._write("point", key, facts, id)

    def probe(self, run, key, facts, id=None):
        self._write("probe", key, facts, id)

    def points(self, key=None):
        return [r for r in self.rows["point"].values() if key in (None, r["key"])]

    def probes(self, key=None):
        return [r for r in self.rows["probe"].values() if key in (None, r["key"])]


class Clock:
    """A clock that a test moves."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


class Killed(Exception):
    """What a SIGKILL is to a fake trainer."""


class FakeTrainer:
    """Trains nothing in no time, a checkpoint after each step; a resumed run goes on after its last one. `steps` is what was paid."""

    def __init__(self, clock=None, seconds=0.0, bits=None, dies_at=(), diverges=lambda plan, step: False):
        self.clock, self.seconds, self.dies_at, self.diverges = clock, seconds, set(dies_at), diverges
        self.bits = bits or (lambda plan, step: 1 + 100 / count_parameters(plan.model) + 10 / step)
        self.steps, self.runs, self.plans = [], [], []

    def __call__(self, folder, *, progress, workers, clock):
        plan, at = train.read_plan(folder), folder / "at"
        self.runs.append(folder.name)
        self.plans.append(plan)
        begin = step = int(at.read_text()) if at.exists() else plan.trunk.step if plan.trunk else 0
        if plan.trunk and begin == plan.trunk.step:
            checkpoint.load(folder / plan.trunk.folder / "checkpoints" / train.name_of(plan.trunk.step))
        while step < plan.max_steps:
            if len(self.steps) in self.dies_at:
                self.dies_at.remove(len(self.steps))
                raise Killed
            if self.diverges(plan, step):
                raise Diverged(f"the loss became nan at step {step}", str(folder))
            step += 1
            self.steps.append((folder.name, step))
            if self.clock:
                self.clock.now += self.seconds if isinstance(self.seconds, float) else self.seconds(len(self.steps))
            if step in plan.keep:
                (folder / "checkpoints").mkdir(exist_ok=True)
                checkpoint.save(folder / "checkpoints" / train.name_of(step), {"w": torch.zeros(1)}, {"step": step})
            self._line(folder, plan, step, step - begin)
            at.write_text(str(step))
            progress(Tick(step, plan.max_steps, 1.0, None, 0.0, 0.0, 0.0))
        bits = self.bits(plan, step)
        outcome = Outcome(step, plan.max_steps, 0, 0.5, 1.0, "planned", bits, step, 0, looks=[[step, bits]])
        (folder / "outcome.json").write_text(json.dumps(dataclasses.asdict(outcome)))
        return outcome

    def _line(self, folder, plan, step, done):
        seconds = done * self.seconds if isinstance(self.seconds, float) else 0.0
        bits = self.bits(plan, step) if step in plan.keep else None
        with open(folder / "metrics.jsonl", "a") as f:
            f.write(json.dumps({"attempt": 1, "attempt_seconds": seconds, "step": step, "bits_per_byte": bits}) + "\n")


@pytest.fixture
def climb(small_corpus, small_tokenizer, tmp_path):
    """climb(design, **changes) -> Ladder, with one book and one folder for all calls of a test."""
    tokenizer, folder = small_tokenizer
    book = FakeBook()

    def go(plan, trainer=train.train, train_settings=None, where="ladder", **changes):
        facts = {"medium": "text", "settings": TrainConfig(length=64, **(train_settings or {})), "book": book, "run_id": None, **changes}
        return ladder.climb(plan, small_corpus, tokenizer, folder, tmp_path / where, trainer=trainer, workers=1, **facts)

    go.book, go.folder = book, tmp_path / "ladder"
    return go


# --- the probe ------------------------------------------------------------------------------------------------------------------------


def meter():
    return Meter(hardware.describe(), hardware.price(PriceConfig(usd_per_hour=0.36)), watts=36.0)


class FakeStopwatch:
    """A machine of so many FLOP/s, twice as many in bfloat16; each timing takes its seconds, five steps at least."""

    def __init__(self, clock, flops=1e10):
        self.clock, self.flops, self.timed = clock, flops, []

    def speed(self, shape, length, precision, seconds):
        self.timed.append((count_parameters(shape), precision))
        rate = self.flops * (2 if precision == "bfloat16" else 1) / flops_per_token(shape, length)
        self.clock.now += max(seconds, 5 * probes.rows_a_step(shape, length) * length / rate)
        return Speed(rate, rate * flops_per_token(shape, length), precision, 0.0)

    def scoring(self, shape, length):
        return 1e10 / flops_per_token(shape, length)

    def close(self):
        pass


def timed(book, flops=1e10, shapes=(SMALL, LARGE), length=64, **more):
    """(Probe, what was timed, the seconds it took) on a made-up machine."""
    clock = Clock()
    watch = FakeStopwatch(clock, flops)
    made = probes.probe(shapes, length, meter(), book, None, clock=clock, stopwatch=watch, **more)
    return made, watch.timed, clock.now


def test_a_machine_is_measured_in_whole_training_steps():
    made = probes.probe([SMALL], 64, meter(), FakeBook(), None, seconds=0.5)
    assert [n for n, _, _ in made.sizes] == [count_parameters(SMALL)]
    assert all(rate > 100 for _, rate, _ in made.sizes)
    assert made.precision in ("float32", "bfloat16")
    assert (made.watts, made.watts_by) == (36.0, "user")
    assert 1 < made.scoring < 50


def test_a_machine_is_measured_once_and_then_checked_in_half_a_second():
    book = FakeBook()
    first, paid, _ = timed(book)
    again, checked, seconds = timed(book)
    assert len(paid) >= 4
    assert (len(checked), seconds) == (1, 0.5)
    assert (first.remembered, again.remembered) == (False, True)
    assert dataclasses.replace(again, remembered=False) == first
    assert [row["dtype"] for row in book.probes()] == ["bfloat16"]


def test_the_faster_precision_is_found_at_one_size_and_used_for_all():
    _, paid, _ = timed(FakeBook(), shapes=probes.probe_shapes(1024, 256), length=256)
    assert {precision for _, precision in paid[3:]} == {"bfloat16"}
    assert [precision for _, precision in paid[:3]] == ["float32", "float32", "bfloat16"]


def test_a_machine_that_became_much_slower_or_faster_is_measured_anew_and_that_is_said():
    book = FakeBook()
    timed(book)
    for flops in (0.5e10, 1e10):
        now, _, _ = timed(book, flops)
        assert not now.remembered
        assert "measured anew (is it busy, hot or on battery?)" in now.notes[0]
    assert timed(book, 0.8e10)[0].remembered
    assert len(book.probes()) == 3


def test_another_vocabulary_length_or_machine_is_measured_for_itself():
    book, here = FakeBook(), hardware.describe()
    for machine in (here, dataclasses.replace(here, id="another")):
        assert not timed(book, machine=machine)[0].remembered
    assert not timed(book, shapes=(dial(1, 300, 32),), length=32)[0].remembered
    assert not timed(book, shapes=(dial(1, 301, 64),))[0].remembered


@pytest.mark.parametrize(("flops", "measured"), [(1e11, 4), (1.5e10, 3), (3e9, 1)])
def test_a_probe_takes_under_ten_seconds_and_says_which_sizes_it_could_not_measure(flops, measured):
    shapes = probes.probe_shapes(1024, 256, (50_000, 200_000, 750_000, 3_000_000))
    made, _, seconds = timed(FakeBook(), flops, shapes=shapes, length=256)
    assert seconds < 10
    assert len(made.sizes) == measured
    largest = f"{units.count(count_parameters(shapes[-1]))} parameters"
    assert any(largest in note and "extrapolated" in note for note in made.notes) == (measured < 4)


@settings(max_examples=40, deadline=None)
@given(st.floats(3e4, 3e6), st.floats(1.01, 2))
def test_speeds_between_sizes_lie_between_and_beyond_them_follow_the_flops(params, factor):
    made = speeds(((N, 50_000.0), (342_160, 20_000.0)))
    assert made.tokens_per_second(params) >= 0.97 * made.tokens_per_second(params * factor)  # shapes have steps
    if params > 400_000:
        assert made.flops(params) == pytest.approx(made.sizes[-1][2], rel=0.3)  # a shape is not exactly the size that was asked
    assert made.tokens_per_second(342_160) == pytest.approx(20_000)


# --- the design -----------------------------------------------------------------------------------------------------------------------

HERE = speeds(((86_304, 85_000.0), (160_176, 55_000.0), (703_472, 22_000.0), (2_853_312, 6_500.0)), 1024, 256)


@settings(max_examples=40, deadline=None)
@given(st.floats(30, 5000), st.floats(2e5, 1e9), st.sampled_from((300, 1024, 4096)), st.floats(0.2, 20), st.integers(0, 60_000))
def test_a_design_costs_what_it_may_and_is_made_as_it_says(seconds, pass_tokens, vocab_size, faster, watched):
    speed = speeds([(n, rate * faster) for n, rate, _ in HERE.sizes], vocab_size, 256)
    try:
        made = design(speed, seconds, pass_tokens, 256, vocab_size, watch_tokens=watched)
    except OverBudget:
        return
    assert made.seconds <= seconds
    longest = max(r.lengths[-1] * r.rows * 256 for r in made.rungs)
    assert made.seconds > 0.85 * seconds or longest > 0.4 * rungs.MOST_PASSES * pass_tokens
    sizes = made.sizes
    assert 3 <= len(sizes) <= 5
    assert all(1.5 < b / a < 3.2 for a, b in itertools.pairwise(sizes))
    assert made.points + sum(len(r.looks) for r in made.rungs) >= 8
    for r in made.rungs:
        assert r.lengths[0] >= rungs.LEAST_STEPS
        assert list(r.lengths) == sorted(set(r.lengths))
        assert all(1.9 < b / a < 2.1 for a, b in itertools.pairwise(r.lengths))
        assert r.rows % 2 == 0
    if len(sizes) > 3:  # a fourth size is for those that read past the bend
        small = next(r for r in made.rungs if r.purpose == "rung")
        assert small.lengths[-1] * small.rows * 256 > 0.7 * min(rungs.BEND, rungs.MOST_PASSES * pass_tokens)
    by_size = {r.params: r.lengths[-1] * r.rows for r in made.rungs if r.purpose == "rung"}
    assert list(by_size) == sizes  # smallest first
    for a, b in itertools.pairwise(sizes[:-1]):  # and small ones read no less: an equal time buys them more
        assert by_size[a] >= 0.69 * by_size[b]  # a place on the grid of lengths may be lost to what is left over


def test_a_design_looks_for_the_rate_first_and_measures_noise_where_there_is_time():
    designs = (design(HERE, seconds, 290_000, 256, 1024) for seconds in (300, 600, 1200, 2400))
    made = next(d for d in designs if d.rungs[0].purpose == "rate")
    sizes = len(made.sizes)
    assert [r.purpose for r in made.rungs] == ["rate"] * 3 + ["seed"] * 2 + ["rung"] * sizes + ["part"]
    base, half, double, *rest = made.rungs
    assert [half.learning_rate, double.learning_rate] == [0.01, 0.04]
    assert half.lengths == double.lengths == base.lengths[:1]
    assert [r.seed for r in rest[:2]] == [1, 2]
    assert all(set(r.lengths) <= set(rest[2].lengths) for r in (base, *rest[:2]))
    assert made.rungs[-1].share == 0.25
    assert design(HERE, 32, 290_000, 256, 1024).rungs[0].purpose == "rung"


def test_without_repeats_ahead_no_run_is_spent_on_what_they_are_worth():
    made = design(HERE, 300, 1e9, 256, 1024)
    assert not any(r.purpose == "part" for r in made.rungs)


def test_ladders_of_neighbouring_budgets_share_most_of_their_points():
    def points(seconds):
        return {(r.trunk, n) for r in design(HERE, seconds, 290_000, 256, 1024).rungs for n in r.lengths}

    budgets = [100 * 1.2**i for i in range(12)]
    shared = [len(points(b) & points(0.98 * b)) / len(points(b)) for b in budgets]
    assert sum(shared) / len(shared) > 0.8


def test_a_budget_smaller_than_the_least_ladder_is_told_what_that_takes():
    with pytest.raises(OverBudget, match=r"the least ladder \(3 sizes, 6 runs\) takes \d\d s on this machine, and there are 10 s for it"):
        design(HERE, 10, 290_000, 256, 1024)
    with pytest.raises(OverBudget, match=r"there are 0 s for it[\s\S]*without a ladder nothing can be said about quality"):
        design(HERE, -5, 290_000, 256, 1024)


def test_no_rung_is_much_larger_than_the_largest_size_that_was_given():
    assert max(design(HERE, 3000, 1e8, 256, 1024, largest=400_000).sizes) <= 1.2 * 400_000


def test_a_bill_counts_what_rungs_share_once():
    costs = Costs(speeds(), watch_tokens=100)
    first, both = rung(lengths=(10,)), rung(lengths=(10, 20))
    assert costs.bill([both]) < costs.bill([first, both]) < costs.bill([first]) + costs.bill([both])
    assert costs.bill([both, both]) == costs.bill([both])
    assert costs.bill([first, dataclasses.replace(first, seed=1)]) == pytest.approx(2 * costs.bill([first]))


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(0, 60)))
def test_a_trunk_goes_on_from_the_last_place_before_what_it_lacks(kept, wanted):
    begin, leaves = going_on(kept, wanted)
    assert set(leaves) == {n for n in wanted if n} - kept
    assert not leaves or (begin < leaves[0] and (begin == 0 or begin in kept))


def test_what_a_look_reads_is_counted_with_its_overlaps():
    ids = [list(range(n)) for n in (5, 64, 65, 66, 97, 98, 129, 200, 1000)]
    for d in ids:
        windows = list(evaluate._windows(0, np.array(d), 64))
        assert probes.look_tokens([len(d)], 64) == sum(len(w.ids) - 1 for w in windows)


# --- the climb ------------------------------------------------------------------------------------------------------------------------


def test_every_cooled_run_is_a_point_with_the_loss_of_a_straight_run_of_its_length(climb, make_run):
    made = climb(plan_of(rung(lengths=(10, 20))))
    assert [(p.steps, p.status, p.purpose) for p in made.points] == [(10, "done", "rung"), (20, "done", "rung")]
    warmup = rungs.warmup_steps(TrainConfig())
    straight = train.train(make_run(max_steps=20, eval_every=100, warmup_steps=warmup, deliver=False))
    assert made.points[1].bits_per_byte == straight.bits_per_byte
    assert made.points[1].tokens == straight.tokens == made.points[1].unique_tokens
    assert made.points[1].flops == straight.tokens * flops_per_token(SMALL, 64)
    assert made.points[1].bits_per_byte < made.points[1].raw  # cooling pays
    folder, step = made.trunks[count_parameters(SMALL)]
    assert (folder / "checkpoints" / train.name_of(step)).is_dir()
    assert step == 12
    assert sorted(p.name[:6] for p in climb.folder.iterdir()) == ["trunk-"]  # branches are gone once they are in the ledger


def test_the_same_ladder_again_costs_nothing_and_a_longer_one_what_is_missing(climb):
    trainer = FakeTrainer()
    plan = plan_of(rung(lengths=(10, 20)), rung(LARGE, (10,)))
    first = climb(plan, trainer)
    paid = len(trainer.steps)
    assert paid == 12 + 4 + 8 + 10
    again = climb(plan, trainer)
    assert (len(trainer.steps), again.reused, again.points) == (paid, 3, first.points)
    longer = climb(plan_of(rung(lengths=(10, 20, 40)), rung(LARGE, (10,))), trainer)
    assert len(trainer.steps) == paid + 12 + 16  # the trunk goes on from 12 to 24, then 16 steps of cooling
    assert (len(longer.points), longer.reused) == (4, 3)


def test_points_of_another_corpus_code_or_setting_are_not_taken_for_ours(climb):
    trainer = FakeTrainer()
    climb(plan_of(rung()), trainer)
    paid = len(trainer.steps)
    other = climb(plan_of(rung()), trainer, train_settings={"fim": 0.0})
    assert len(trainer.steps) == 2 * paid
    assert other.reused == 0
    assert len(other.points) == 2
    keys = {ladder.point_key(c, t, TrainConfig(**s)) for c in "ab" for t in "cd" for s in ({}, {"fim": 0}, {"weight_decay": 0})}
    assert len(keys) == 12
    same = {ladder.point_key("a", "b", TrainConfig(**s)) for s in ({}, {"params": 1e6}, {"seed": 4}, {"learning_rate": 0.1})}
    assert len(same) == 1


@settings(max_examples=6, deadline=None)
@given(deaths=st.sets(st.integers(0, 60), max_size=6), abreast=st.sampled_from((1, 1, 2)))
def test_whenever_it_is_killed_no_step_is_paid_twice(deaths, abreast, small_corpus, small_tokenizer, tmp_path_factory):
    tokenizer, tokenizer_folder = small_tokenizer
    plan = plan_of(
        rung(lengths=(10,), purpose="rate"),
        rung(lengths=(10,), learning_rate=0.04, purpose="rate"),
        rung(lengths=(10, 20)),
        rung(LARGE, (10,)),
    )
    facts = {"medium": "text", "settings": TrainConfig(length=64), "run_id": None, "workers": 1, "abreast": abreast}
    made = {}
    for name, dies_at in (("whole", ()), ("broken", deaths)):
        trainer, book, folder = FakeTrainer(dies_at=dies_at), FakeBook(), tmp_path_factory.mktemp(name)
        while name not in made:
            try:
                made[name] = ladder.climb(plan, small_corpus, tokenizer, tokenizer_folder, folder, book=book, trainer=trainer, **facts)
            except Killed:
                continue
        assert len(trainer.steps) == len(set(trainer.steps)) == 6 + 4 + 6 + 4 + 6 + 8 + 6 + 4
    assert made["broken"].points == [
        dataclasses.replace(p, seconds=q.seconds) for p, q in zip(*(m.points for m in made.values()), strict=True)
    ]


def test_files_that_a_kill_cut_short_are_written_again(climb):
    trainer = FakeTrainer()
    climb(plan_of(rung(lengths=(10,))), trainer)
    (trunk,) = climb.folder.glob("trunk-*")
    (trunk / "outcome.json").write_text('{"steps": 6, "pla')
    for half in ("", '{"model": {"vo'):
        (climb.folder / f"{trunk.name[:19]}-000006-{len(half)}").mkdir()
        (climb.folder / f"{trunk.name[:19]}-000006-{len(half)}" / "plan.json").write_text(half)
    climb.book.rows["point"].clear()
    made = climb(plan_of(rung(lengths=(10, 20))), trainer)
    assert [p.status for p in made.points] == ["done", "done"]
    branch = climb.folder / f"branch-{made.points[0].id}"
    climb.book.rows["point"].clear()
    branch.mkdir()
    (branch / "plan.json").write_text("{")
    assert climb(plan_of(rung(lengths=(10, 20))), trainer).points[0].bits_per_byte == made.points[0].bits_per_byte


def test_a_damaged_trunk_is_trained_again_not_taken_for_one_that_diverged(climb):
    trainer = FakeTrainer()
    climb(plan_of(rung(lengths=(10,))), trainer)
    (trunk,) = climb.folder.glob("trunk-*")
    (trunk / "checkpoints" / train.name_of(6) / "tensors.safetensors").write_bytes(b"")
    made = climb(plan_of(rung(lengths=(10, 20))), trainer)
    assert {p.status for p in made.points} == {"done"}
    assert len(made.points) == 2
    assert any("that trunk is trained again" in note for note in made.notes)


def test_a_run_that_diverges_is_kept_as_such_and_the_climb_goes_on(climb):
    trainer = FakeTrainer(diverges=lambda plan, step: plan.model == SMALL and step >= 12)
    made = climb(plan_of(rung(lengths=(10, 40)), rung(LARGE, (10,))), trainer)
    assert [(p.params, p.steps, p.status) for p in made.points] == [
        (count_parameters(SMALL), 10, "done"),
        (count_parameters(SMALL), 40, "diverged"),
        (count_parameters(LARGE), 10, "done"),
    ]
    assert math.isnan(made.points[1].bits_per_byte)
    assert [p.steps for p in made.done] == [10, 10]
    assert any("diverged: kept as such" in note for note in made.notes)
    paid = len(trainer.steps)
    climb(plan_of(rung(lengths=(10, 40)), rung(LARGE, (10,))), trainer)
    assert len(trainer.steps) == paid  # it would diverge again


def test_an_absurd_learning_rate_of_the_search_ends_nothing(climb):
    made = climb(plan_of(rung(lengths=(8,), purpose="rate"), rung(lengths=(8,), learning_rate=1e30, purpose="rate"), rung(lengths=(8,))))
    assert made.learning_rate == 0.02
    assert [(p.learning_rate, p.status, p.purpose) for p in made.points] == [(0.02, "done", "rung"), (1e30, "diverged", "rate")]


def test_a_late_run_is_kept_as_late_with_its_loss(climb):
    made = climb(Design((rung(lengths=(8,)),), Costs(speeds(((N, 1e9),)))), clock=Clock(0.2))
    assert [p.status for p in made.points] == ["late"]
    assert made.points[0].known
    assert made.done == made.points
    assert made.points[0].seconds > 2.5 * 0.3


def test_a_run_that_was_cut_is_kept_as_late_and_gone_on_with_when_there_is_time(climb):
    clock = Clock()
    trainer = FakeTrainer(clock, lambda paid: 0.27 if paid < 16 else 2.0)  # as planned, until the last of its three runs
    plan = plan_of(rung(lengths=(10, 20)))
    made = climb(plan, trainer, clock=clock, left=lambda: 9.0 - clock.now)
    assert [(p.steps, p.status, p.known) for p in made.points] == [(10, "done", True), (20, "late", False)]
    assert any("was cut: no time was left" in note for note in made.notes)
    again = climb(plan, trainer)
    assert [(p.steps, p.status) for p in again.points] == [(10, "done"), (20, "done")]
    assert len(trainer.steps) == len(set(trainer.steps)) == 12 + 4 + 8


def test_a_machine_that_slows_to_a_tenth_half_way_ends_the_ladder_in_time_and_keeps_what_it_has(climb):
    clock, fast = Clock(), 4 * 64 / 1000 * rungs.OVERHEAD
    bought = [rung(lengths=(10, 20)), rung(lengths=(10, 20), seed=1), rung(LARGE, (10, 20)), rung(LARGE, (10, 20), seed=1)]
    plan = plan_of(*bought)
    trainer = FakeTrainer(clock, lambda paid: fast if paid < 40 else 10 * fast)
    seconds = plan.seconds
    made = climb(plan, trainer, clock=clock, left=lambda: seconds - clock.now)
    assert clock.now <= seconds + 10 * fast
    assert 3 <= sum(p.known for p in made.points) < 8
    assert sum(not p.known for p in made.points) <= 1  # what was running when it slowed: nothing was begun that could not end
    assert any("are left: not run" in note or "was cut" in note for note in made.notes)


def test_the_pace_of_the_last_runs_says_what_there_is_time_for(climb):
    clock, step = Clock(), 4 * 64 / 1000 * rungs.OVERHEAD
    trainer = FakeTrainer(clock, 2 * step)  # twice as slow as planned from the start
    made = climb(plan_of(rung(lengths=(10, 20)), rung(lengths=(10, 20), seed=1)), trainer, clock=clock, left=lambda: 22.0 - clock.now)
    assert [(p.seed, p.steps, p.status) for p in made.points] == [(0, 10, "done"), (1, 10, "done"), (0, 20, "done")]
    assert len(trainer.steps) == 12 + 4 + 8 + 6 + 4  # the second trunk was not trained for a run that it could not pay


def test_nothing_is_begun_that_the_time_left_is_too_short_for(climb):
    trainer = FakeTrainer()
    plan = plan_of(rung(lengths=(10, 20)))
    enough_for_one = plan.costs.bill([rung(lengths=(10,))]) + 0.1
    made = climb(plan, trainer, left=lambda: enough_for_one)
    assert [p.steps for p in made.points] == [10]
    assert any("would take" in note and "are left: not run" in note for note in made.notes)
    assert climb(plan_of(rung(LARGE)), trainer, left=lambda: 0.0).points == made.points


def test_a_clock_that_jumps_backwards_changes_no_point(climb):
    class Jumping(Clock):
        def __call__(self):
            self.now += 0.01 if random.Random(int(self.now * 1e6)).random() < 0.9 else -5.0
            return self.now

    made = climb(plan_of(rung(lengths=(8, 16))), clock=Jumping())
    assert all(p.known and p.seconds >= 0 for p in made.points)
    assert made.seconds >= 0
    shutil.rmtree(climb.folder)
    climb.book.rows["point"].clear()
    assert [p.bits_per_byte for p in climb(plan_of(rung(lengths=(8, 16)))).points] == [p.bits_per_byte for p in made.points]


def test_a_budget_that_closes_between_two_runs_keeps_what_was_made(climb):
    trainer, bought = FakeTrainer(), []

    def check():
        if len(bought) == 2:
            raise OverBudget("the budget's money is used up", "[budget] usd", "raise it")
        bought.append(1)

    with pytest.raises(OverBudget, match="money is used up"):
        climb(plan_of(rung(lengths=(10, 20))), trainer, check=check)
    assert len(climb.book.points()) == 1
    assert len(trainer.runs) == 2
    bought.clear()
    assert len(climb(plan_of(rung(lengths=(10, 20))), trainer).points) == 2
    assert len(trainer.steps) == len(set(trainer.steps))


def test_what_is_spent_is_booked_as_it_passes(climb):
    clock, booked = Clock(), []
    climb(plan_of(rung(lengths=(40,))), FakeTrainer(clock, 0.5), clock=clock, settle=lambda: booked.append(clock.now))
    assert 5 <= len(booked) <= 8  # twenty seconds, every three


def _search(better):
    """A search whose doubled rate is better by that share, with a noise of 1% over seeds."""

    def bits(plan, step):
        seed = {0: 1.0, 1: 1.01, 2: 0.99}[plan.train.seed]
        return 2.0 * seed * (1 - better if plan.train.learning_rate > 0.02 else 1.0)

    rungs = [rung(lengths=(8, 16), purpose="rate"), *(rung(lengths=(8,), learning_rate=r, purpose="rate") for r in (0.01, 0.04))]
    rungs += [rung(lengths=(16,), seed=s, purpose="seed") for s in (1, 2)]
    return plan_of(*rungs, rung(lengths=(8, 16)), rung(LARGE, (8,))), FakeTrainer(bits=bits)


def test_another_rate_is_carried_up_where_it_wins_by_three_times_the_noise(climb):
    plan, trainer = _search(0.05)
    made = climb(plan, trainer)
    assert made.learning_rate == 0.04
    assert made.noise == pytest.approx(0.01, rel=0.01)
    assert {(p.learning_rate, p.purpose) for p in made.points} == {(0.01, "rate"), (0.02, "rate"), (0.02, "seed"), (0.04, "rung")}
    assert len(made.done) == 3
    assert any("learning rate 0.04 in place of 0.02: 5% better" in note for note in made.notes)


def test_a_rate_that_wins_within_the_noise_is_not_taken(climb):
    plan, trainer = _search(0.025)
    made = climb(plan, trainer)
    assert made.learning_rate == 0.02
    assert len(made.done) == 3
    assert not any("in place of" in note for note in made.notes)


def test_seeds_that_agree_by_chance_do_not_make_a_small_gain_certain(climb):
    plan, _ = _search(0.0)
    trainer = FakeTrainer(bits=lambda plan, step: 2.0 - 0.008 * (plan.train.learning_rate > 0.02) + 1e-4 * plan.train.seed)
    assert climb(plan, trainer).learning_rate == 0.02


def test_where_the_configured_rate_diverges_another_is_used_and_that_is_said(climb):
    plan, trainer = _search(-0.5)
    trainer.diverges = lambda plan, step: plan.train.learning_rate == 0.02 and step > 3
    made = climb(plan, trainer)
    assert made.learning_rate == 0.01
    assert len(made.done) == 3
    assert any("learning rate 0.01 in place of 0.02: the other diverged" in note for note in made.notes)


def test_noise_is_pooled_over_runs_that_differ_in_their_seed_alone():
    def point(bits, seed, params=1, rate=0.02):
        return Point(f"{bits}", params, 1, 1.0, bits, 1.0, 1.0, seed, rate, 1.0, "done", "seed")

    assert noise_of([point(1.0, 0)]) is None
    assert noise_of([point(2.02, 0), point(2.0, 1), point(1.98, 2)]) == pytest.approx(0.01)
    pooled = [point(2.02, 0), point(2.0, 1), point(1.98, 2), point(1.0, 0, params=2), point(1.0, 1, params=2), point(9.0, 0, rate=0.5)]
    assert noise_of(pooled) == pytest.approx(0.01 * math.sqrt(2 / 3))


def test_a_ladder_without_seeds_says_that_its_noise_is_assumed(climb):
    made = climb(plan_of(rung()), FakeTrainer())
    assert made.noise == ladder.NOISE
    assert any("noise over seeds was not measured" in note for note in made.notes)


def test_what_ends_one_of_two_trunks_ends_both_and_nothing_is_called_late(climb):
    clock = Clock()

    class Failing(FakeTrainer):
        def __call__(self, folder, **facts):
            if train.read_plan(folder).model == LARGE:
                time.sleep(0.05)
                raise CheckpointError("damaged", str(folder))
            return super().__call__(folder, **facts)

    trainer = Failing(clock, lambda paid: time.sleep(0.002) or 0.0)
    with pytest.raises(CheckpointError, match="damaged"):
        climb(plan_of(rung(lengths=(400,)), rung(LARGE, (8,))), trainer, abreast=2)
    assert not climb.book.points()
    assert 0 < len(trainer.steps) < 400


def test_two_trunks_at_a_time_give_the_same_points(climb):
    plan = plan_of(rung(lengths=(8, 16)), rung(LARGE, (8,)))
    one = climb(plan)
    climb.book.rows["point"].clear()
    two = climb(plan, where="two", abreast=2)
    assert [(p.id, p.bits_per_byte) for p in one.points] == [(p.id, p.bits_per_byte) for p in two.points]


def test_two_runs_never_draw_their_first_weights_at_the_same_time(climb):
    beginning, most = [], []

    class Beginning(FakeTrainer):
        def __call__(self, folder, *, progress, **facts):
            beginning.append(folder)
            most.append(len(beginning))
            time.sleep(0.01)

            def told(t):
                if folder in beginning:
                    beginning.remove(folder)
                progress(t)

            return super().__call__(folder, progress=told, **facts)

    climb(plan_of(*(rung(seed=s, lengths=(4,)) for s in range(4))), Beginning(), abreast=4)
    assert max(most) == 1


def test_a_run_on_a_part_of_the_documents_reads_that_part(climb):
    trainer = FakeTrainer()
    made = climb(plan_of(rung(), rung(lengths=(16,), share=0.25, purpose="part")), trainer)
    assert [plan.share for plan in trainer.plans] == [1, 1, 1, 0.25, 0.25]
    assert [(p.share, p.purpose) for p in made.points] == [(1, "rung"), (0.25, "part"), (1, "rung")]
    assert len(made.done) == 3


def test_old_trunks_of_other_ladders_are_left_alone(climb):
    (climb.folder / "trunk-of-another").mkdir(parents=True)
    climb(plan_of(rung()), FakeTrainer())
    assert (climb.folder / "trunk-of-another").is_dir()


CHILD = """
import json, sys
from pathlib import Path
from cupola import ladder, ledger, train
from cupola.corpus import Corpus
from cupola.tokens import Tokenizer
sys.path.insert(0, {tests!r})
from test_ladder import LARGE, plan_of, rung
train._Loop.SAVE_SECONDS = 0.0
log = open({log!r}, "a", buffering=1)
def trainer(folder, *, progress, **rest):
    def tick(t):
        if t.step < t.max_steps:  # the last step is told again at a run's end
            log.write(json.dumps([folder.name, t.step]) + "\\n")
        progress(t)
    return train.train(folder, progress=tick, **rest)
with ledger.open(Path({project!r})) as book:
    run = book.start_run("plan", "m", id="plan-m")
    ladder.climb(
        plan_of(rung(lengths=(10, 20)), rung(LARGE, (10, 20))), Corpus.open(Path({corpus!r})), Tokenizer.load(Path({tokenizer!r})),
        Path({tokenizer!r}), Path({project!r}) / "ladder", medium="text", settings=train.TrainConfig(length=64), book=book, run_id=run,
        trainer=trainer, workers=1)
"""


@pytest.mark.slow
def test_a_ladder_killed_at_random_moments_ends_with_the_same_points_and_pays_no_step_twice(climb, small_corpus, small_tokenizer, tmp_path):
    whole = climb(plan_of(rung(lengths=(10, 20)), rung(LARGE, (10, 20))))
    project, log = tmp_path / "project", tmp_path / "steps"
    project.mkdir()
    log.touch()
    names = {"tests": Path(__file__).parent, "log": log, "project": project, "corpus": small_corpus.folder, "tokenizer": small_tokenizer[1]}
    code = CHILD.format(**{name: str(path) for name, path in names.items()})
    rng, kills, ended = random.Random(5), 0, None
    while ended is None:
        before = log.stat().st_size
        child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while child.poll() is None and log.stat().st_size == before:
            time.sleep(0.005)
        if kills < 3:
            time.sleep(rng.uniform(0.0, 0.4))
            child.send_signal(signal.SIGKILL)
            kills += 1
        if child.wait() != -signal.SIGKILL:
            ended = child.returncode
    assert ended == 0
    assert kills >= 2
    with ledger.read(project) as book:
        points = {row["point"]: row["bits_per_byte"] for row in book.points()}
        assert len(book.points()) == len(points)
    assert points == {p.id: p.bits_per_byte for p in whole.points}
    steps = [tuple(json.loads(line)) for line in log.read_text().splitlines()]
    assert len(steps) == len(set(steps))


def test_the_longest_runs_of_the_largest_size_are_looked_at_and_not_cooled():
    made = design(HERE, 60, 290_000, 256, 1024)
    top = max((r for r in made.rungs if r.purpose == "rung"), key=lambda r: r.params)
    assert top.looks[-1] > max(top.lengths)
    assert all(not r.looks for r in made.rungs if r.params < top.params)
    cooled = dataclasses.replace(top, lengths=(*top.lengths, *top.looks), looks=())
    assert made.costs.bill([top]) < 0.75 * made.costs.bill([cooled])


def test_a_climb_brings_back_what_was_looked_at(small_corpus, small_tokenizer, tmp_path):
    tokenizer, folder = small_tokenizer
    with ledger.open(tmp_path) as book:
        run_id = book.start_run("plan", "x")
        plan = plan_of(rung(lengths=(8,), looks=(12, 16)))
        found = [
            ladder.climb(
                plan,
                small_corpus,
                tokenizer,
                folder,
                tmp_path / "rungs",
                medium="text",
                settings=TrainConfig(length=64),
                book=book,
                run_id=run_id,
            )
            for _ in range(2)
        ]
    first, again = found
    assert [look.tokens // (first.points[0].tokens // 8) for look in first.looks] == [12, 16]
    assert all(look.raw > 0 for look in first.looks)
    assert again.looks == first.looks
