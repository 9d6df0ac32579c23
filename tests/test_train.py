"""One run: it learns, it ends inside its clock, and it is the same to the bit through kills, Ctrl-C and other numbers of workers."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch

from cupola import checkpoint, train
from cupola.errors import CheckpointError
from cupola.train import Interrupted, Schedule


def _weights(run):
    return safetensors.torch.load_file(run / "final" / "model.safetensors")


def _same(a, b):
    a, b = _weights(a), _weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_learns_and_leaves_a_model_its_curves_and_its_outcome(make_run):
    run = make_run(max_steps=60, eval_every=10)
    ticks = []
    outcome = train.train(run, progress=ticks.append)
    watched = [line["bits_per_byte"] for line in train.metrics(run) if line["bits_per_byte"]]
    assert watched[-1] < 0.75 * watched[0]
    assert outcome.bits_per_byte == pytest.approx(min(watched))
    assert (outcome.steps, outcome.ended, outcome.resumed) == (60, "planned", 0)
    assert outcome.tokens == 60 * 4 * 64
    assert json.loads((run / "outcome.json").read_text())["steps"] == 60
    assert [t.step for t in ticks][:3] == [1, 2, 3]
    assert ticks[-1].seconds_left == 0
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(run / "final").config.vocab_size == 300


def test_the_number_of_workers_changes_no_bit(make_run):
    one, two = make_run("one"), make_run("two")
    train.train(one, workers=1)
    train.train(two, workers=2)
    assert _same(one, two)


def test_another_seed_gives_another_model(make_run):
    one, two = make_run("one", max_steps=4), make_run("two", max_steps=4, train={"seed": 1})
    train.train(one)
    train.train(two)
    assert not _same(one, two)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(make_run):
    whole, broken = make_run("whole", max_steps=30), make_run("broken", max_steps=30)
    train.train(whole)
    code = f"from pathlib import Path; from cupola import train; train._Loop.SAVE_SECONDS = 0.0; train.train(Path({str(broken)!r}))"
    rng, kills = random.Random(4), 0
    for _ in range(5):
        before = len(train.metrics(broken))
        child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        while child.poll() is None and len(train.metrics(broken)) == before:
            time.sleep(0.005)  # the first heartbeat: the steps have begun
        time.sleep(rng.uniform(0.0, 0.12))
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
    assert kills >= 2
    outcome = train.train(broken)
    assert outcome.resumed >= 2
    assert _same(whole, broken)


def test_ctrl_c_saves_and_the_same_call_goes_on(make_run):
    whole, broken = make_run("whole"), make_run("broken")
    train.train(whole)

    def press(tick):
        if tick.step == 9:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"stopped at step 9 of 24, saved[\s\S]*goes on"):
        train.train(broken, progress=press)
    assert (broken / "checkpoints" / "step-000009").is_dir()
    notes = []
    train.train(broken, progress=lambda t: notes.append(t.note))
    assert any("going on from step 9" in n for n in notes)
    assert _same(whole, broken)


def test_a_corrupted_checkpoint_is_left_out_and_said(make_run):
    whole, broken = make_run("whole"), make_run("broken")
    train.train(whole)

    def press(tick):
        if tick.step == 15:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train.train(broken, progress=press)
    newest = broken / "checkpoints" / "step-000015" / "tensors.safetensors"
    newest.write_bytes(b"\0" * newest.stat().st_size)
    notes = []
    train.train(broken, progress=lambda t: notes.append(t.note))
    assert any("step-000015 is damaged and left out; going back to step-0000" in n for n in notes)
    assert _same(whole, broken)


def test_other_data_or_versions_are_refused_by_name(make_run, small_corpus):
    for what, change in (("corpus", {"data": {"corpus": "0" * 64}}), ("torch", {"versions": {"torch": "1.0"}})):
        run = make_run(what)
        plan = train.read_plan(run)
        train.write_plan(run, plan.model_copy(update=change))
        with pytest.raises(CheckpointError, match=f"{what} is not the one this run was planned with"):
            train.train(run)
    with pytest.raises(CheckpointError, match=r"no readable plan\.json"):
        train.train(small_corpus.folder)


class Clock:
    """A clock that a test moves: every look at it takes `tick` seconds."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


def test_a_late_machine_brings_the_decay_forward_and_ends_cooled_in_time(make_run):
    run = make_run(max_steps=400, eval_every=8)
    clock = Clock(0.05)
    notes, rates = [], []
    outcome = train.train(run, left=lambda: 10.0 - clock.now, clock=clock, progress=lambda t: (notes.append(t.note), rates.append(t.step)))
    assert outcome.ended == "late"
    assert outcome.steps < 400
    assert clock.now < 11.0
    assert any("slower than planned" in n for n in notes)
    assert train.metrics(run)[-1]["rate"] < 0.2  # cooled: the rate had fallen when it ended
    events = [json.loads(line) for line in (run / "schedule.jsonl").read_text().splitlines()]
    assert events[0]["schedule"]["decay_from"] < 240  # planned there


@pytest.mark.parametrize(("most", "steps"), [(None, None), (40, 40), (50, 50)])
def test_an_early_machine_adds_steps_but_none_that_the_plan_thought_useless(make_run, most, steps):
    run, clock = make_run(max_steps=40, eval_every=8, most_steps=most, deliver=False), Clock(0.01)
    outcome = train.train(run, left=lambda: 8.0 - clock.now, clock=clock)
    if steps:
        assert (outcome.steps, outcome.ended) == (steps, "planned")
    else:
        assert outcome.steps > 60


def test_a_resumed_late_run_does_again_what_the_clock_decided_before(make_run):
    whole, broken = make_run("whole", max_steps=60, eval_every=8), make_run("broken", max_steps=60, eval_every=8)
    event = {"at": 20, "schedule": {"warmup": 1, "decay_from": 20, "end": 32, "top": 1.0}, "ended": "late", "note": ""}
    for run in (whole, broken):
        (run / "schedule.jsonl").write_text(json.dumps(event) + "\n")
    assert train.train(whole).steps == 32

    def press(tick):
        if tick.step == 25:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train.train(broken, progress=press)
    assert train.train(broken).ended == "late"
    assert _same(whole, broken)


def test_learning_by_heart_stops_the_run_and_the_best_weights_are_delivered(make_run):
    run = make_run(max_steps=2000, eval_every=10, train={"learning_rate": 0.06, "fim": 0.0})
    outcome = train.train(run)
    assert outcome.ended == "early: learning by heart"
    assert outcome.steps < 2000
    watched = [line["bits_per_byte"] for line in train.metrics(run) if line["bits_per_byte"]]
    assert outcome.bits_per_byte == pytest.approx(min(watched))


def test_every_attempt_is_counted_also_those_that_were_killed(make_run, tmp_path):
    run = tmp_path / "r"
    run.mkdir()
    lines = [{"attempt": 1, "attempt_seconds": 4.0}, {"attempt": 1, "attempt_seconds": 9.5}, {"attempt": 2, "attempt_seconds": 1.0}]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"attempt": 2, "att')
    assert train.spent(run) == 10.5


def test_the_schedule_warms_up_stays_decays_and_never_jumps():
    schedule = Schedule(warmup=4, decay_from=12, end=20)
    scales = [schedule.scale(s) for s in range(20)]
    assert scales[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert scales[12] == 1.0
    assert scales[19] == pytest.approx(1 / 8)
    for at, end, decay in ((6, 10, 3), (14, 16, 8), (14, 30, 8), (19, 20, 5)):
        changed = schedule.ending(at, end, decay)
        assert changed.scale(at) == pytest.approx(schedule.scale(at), abs=1e-9)
        assert changed.scale(changed.end - 1) <= 0.5


def test_checkpoints_hold_no_pickle(make_run):
    run = make_run(max_steps=6)
    train.train(run)
    (folder,) = checkpoint.steps(run / "checkpoints")
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]


# --- trunks and branches ----------------------------------------------------------------------------------------------------------------


def _trunk(make_run, **changes):
    trunk = make_run("trunk", max_steps=16, warmup_steps=2, cool=False, keep=(8, 16), eval_every=100, deliver=False, **changes)
    return trunk, train.train(trunk)


def test_a_branch_cooled_from_a_trunk_gives_the_bits_of_one_straight_run(make_run):
    _trunk(make_run)
    straight = make_run("straight", max_steps=14, warmup_steps=2, decay_from=8, eval_every=100)
    branch = make_run("branch", max_steps=14, warmup_steps=2, decay_from=8, eval_every=100, trunk={"folder": "../trunk", "step": 8})
    assert train.train(straight).bits_per_byte == train.train(branch).bits_per_byte
    assert _same(straight, branch)


def test_a_trunk_is_scored_where_branches_leave_it_and_delivers_nothing(make_run):
    trunk, outcome = _trunk(make_run)
    assert [step for step, _ in outcome.looks] == [8, 16]
    assert sorted(p.name for p in (trunk / "checkpoints").iterdir()) == ["step-000008", "step-000016"]
    assert not (trunk / "final").exists()
    assert {line["rate"] for line in train.metrics(trunk)[1:]} == {1.0}


def test_cooling_pays(make_run):
    _, outcome = _trunk(make_run)
    branch = make_run("branch", max_steps=26, decay_from=16, eval_every=100, trunk={"folder": "../trunk", "step": 16}, deliver=False)
    assert train.train(branch).bits_per_byte < outcome.looks[-1][1]
    assert not (branch / "final").exists()


def test_a_branch_of_a_trunk_that_is_gone_says_so(make_run):
    branch = make_run("branch", max_steps=14, decay_from=8, trunk={"folder": "../trunk", "step": 8})
    with pytest.raises(CheckpointError, match="step-000008: damaged"):
        train.train(branch)


def test_a_run_on_a_share_of_the_documents_repeats_them_sooner(make_run):
    whole = train.train(make_run("whole", max_steps=8, deliver=False))
    part = train.train(make_run("part", max_steps=8, share=0.25, deliver=False))
    assert part.passes == pytest.approx(4 * whole.passes, rel=0.25)
