"""What a budget buys: the least expected loss, its price, its interval, and what more would buy."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import forecast, hardware, ladder, ledger, plan, rungs
from cupola import probe as probes
from cupola.errors import ConfigError, DataError, LadderTooShort, OverBudget
from cupola.forecast import Interval, Remembered, Shift
from cupola.hardware import PriceConfig
from cupola.law import Z80, Prediction
from cupola.meter import Meter
from cupola.model import count_parameters, dial, flops_per_token
from cupola.plan import Choice, Scene, Survey, Versus
from cupola.probe import Probe
from cupola.project import ModelTable
from cupola.sources import Source
from cupola.tokens import Stream
from cupola.train import TrainConfig

VOCAB, LENGTH = 300, 64


class PowerLaw:
    """A law that we know: 1 + 40 / N**0.4 + 300 / D**0.5, and repeats worth less and less."""

    form, n, notes, top_flops, a = "power", 12, (), 1e12, 0.5 / 0.9

    def plain(self):
        return {"form": self.form, "a": self.a}

    def __init__(self, half: float = 0.03, reach: float = math.inf):
        self.half, self.reach = half, reach

    def loss(self, params, tokens, unique_tokens=None):
        fresh = np.asarray(tokens, float)
        if unique_tokens is not None:
            again = np.maximum(fresh / unique_tokens - 1, 0)
            fresh = np.minimum(fresh, unique_tokens) * (1 + 5 * -np.expm1(-again / 5))
        return 1 + 40 / np.asarray(params, float) ** 0.4 + 300 / fresh**0.5

    def predict(self, params, tokens, unique_tokens=None, *, flops=None):
        if np.max(flops) > self.reach:
            raise LadderTooShort("too far", "law", "measure larger runs", self)
        middle = self.loss(params, tokens, unique_tokens)
        return Prediction(middle * math.exp(-self.half), middle, middle * math.exp(self.half))


def probe(flops: float = 1e11) -> Probe:
    sizes = tuple(
        (n, flops / flops_per_token(s, LENGTH), flops) for s in plan.shapes(4e4, 3e6, VOCAB, LENGTH) if (n := count_parameters(s))
    )
    return Probe("machine", VOCAB, LENGTH, "float32", sizes, watts=36.0, watts_by="user")


def decide(law=None, *, seconds=60.0, unique=1e9, flops=1e10, span=(4e4, 3e6), **more) -> Choice:
    candidates = plan.shapes(*span, VOCAB, LENGTH)
    return plan.decide(law or PowerLaw(), candidates, probe(flops).tokens_per_second, seconds, unique, LENGTH, **more)


# --- choosing ---------------------------------------------------------------------------------------------------------------------------


def test_the_choice_is_the_one_a_search_over_everything_finds():
    chosen, law = decide(), PowerLaw()
    losses = {}
    for shape in plan.shapes(4e4, 3e6, VOCAB, LENGTH):
        n = count_parameters(shape)
        losses[n] = float(law.loss(n, 60 * 1e10 / flops_per_token(shape, LENGTH) / plan.OVERHEAD))
    assert chosen.params == min(losses, key=losses.__getitem__)
    assert chosen.loss == pytest.approx(min(losses.values()), rel=2e-3)


@given(st.floats(10, 3000), st.floats(1.5, 20))
@settings(max_examples=25, deadline=None)
def test_more_time_never_makes_the_expected_loss_worse(seconds, factor):
    assert decide(seconds=seconds * factor).loss <= decide(seconds=seconds).loss * 1.001


@given(st.floats(10, 3000))
@settings(max_examples=25, deadline=None)
def test_a_choice_never_takes_more_time_than_there_is(seconds):
    assert decide(seconds=seconds).seconds <= seconds * 1.0001


def test_the_band_holds_the_chosen_size_and_only_sizes_that_are_as_good():
    chosen = decide(flops=1e11)
    low, high = chosen.band
    assert low <= chosen.params <= high
    assert low < high
    outside = [
        c
        for c in [decide(flops=1e11, span=span) for span in ((high * 3, high * 3.1), (low / 3, low / 2.9))]
        if c.params not in range(low, high + 1)
    ]
    assert all(c.loss > plan.AS_GOOD * chosen.loss for c in outside)


def test_passes_that_would_not_help_are_not_paid_for():
    chosen = decide(seconds=36_000, unique=1e5, span=(4e4, 5e4))
    assert chosen.tokens / 1e5 <= plan.MOST_PASSES
    assert chosen.seconds < 3_600


def test_a_trunk_that_was_paid_for_is_gone_on_from():
    shape = dial(2e5, VOCAB, LENGTH)
    n, step = count_parameters(shape), probes.rows_a_step(shape, LENGTH) * LENGTH
    start = plan.Start("folder", 100, 4)
    without, with_ = (plan.decide(PowerLaw(), [shape], lambda params: 1e5, 60, 1e9, LENGTH, starts=starts) for starts in (None, {n: start}))
    assert with_.start == start
    assert with_.tokens == pytest.approx(without.tokens + 100 * step, rel=0.01)
    assert with_.seconds <= 60
    late = plan.decide(PowerLaw(), [shape], lambda params: 1e5, 3, 1e9, LENGTH, starts={n: plan.Start("folder", 10_000, 4)})
    assert late.start is None


def test_a_budget_too_small_for_any_size_says_so():
    with pytest.raises(OverBudget, match=r"0\.0010 s|1 ms are too few for 50 steps of any size"):
        decide(seconds=0.001)


# --- how good ---------------------------------------------------------------------------------------------------------------------------


def score(per_document):
    per_document = np.asarray(per_document, float)
    return SimpleNamespace(
        bits_per_byte=per_document.mean(), per_document_bits=per_document * 100, per_document_bytes=np.full(len(per_document), 100)
    )


def test_the_shift_is_what_one_model_says_of_both_sets_and_few_documents_make_it_wide():
    rng = np.random.default_rng(0)
    many = Shift.between(score(rng.normal(2.0, 0.2, 400)), score(rng.normal(1.9, 0.2, 400)))
    few = Shift.between(score(rng.normal(2.0, 0.2, 10)), score(rng.normal(1.9, 0.2, 10)))
    assert many.factor == pytest.approx(0.95, abs=0.02)
    assert few.error > 3 * many.error
    assert Shift.between(score([2.0]), score([1.9])).error > few.error


def test_the_expected_quality_is_the_laws_moved_by_the_shift_and_wider_for_it():
    law = PowerLaw(half=0.03)
    plain = forecast.expect(law, 200_000, 5e6, 1e9, 1e12, Shift(1.0, 0.0))
    moved = forecast.expect(law, 200_000, 5e6, 1e9, 1e12, Shift(0.9, 0.03))
    assert plain.p90 / plain.p50 == pytest.approx(math.exp(0.03))
    assert moved.p50 == pytest.approx(0.9 * plain.p50)
    assert math.log(moved.p90 / moved.p50) == pytest.approx(math.hypot(0.03, Z80 * 0.03))


@pytest.mark.parametrize(
    ("now", "data", "compute", "said"),
    [
        (2.0, 1.6, 1.9, "nearly used up at 8.0 passes: collect more"),
        (2.0, 1.99, 1.5, "more minutes pay"),
        (2.0, 1.8, 1.7, "both more minutes and more files pay"),
        (2.0, 1.995, 1.99, "about what this corpus and this kind of model can give"),
    ],
)
def test_the_advice_names_what_pays(now, data, compute, said):
    assert said in plan._advice(now, data, compute, 8.0)


# --- the plan ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(small_corpus, small_tokenizer, tmp_path):
    """scene(seconds, **train) -> a Scene with so many seconds left."""
    tokenizer, folder = small_tokenizer
    meter = Meter(hardware.describe(), hardware.price(PriceConfig(usd_per_hour=0.36)), watts=36.0)

    def make(seconds: float, **train) -> Scene:
        table = ModelTable(medium="text", sources=(Source(source="x", licence="own work"),), train=TrainConfig(length=LENGTH, **train))
        stream = Stream(small_corpus, tokenizer, tmp_path / "rows", seed=0)
        run, rungs = tmp_path / "run", tmp_path / "rungs"
        return Scene(table, small_corpus, tokenizer, folder, stream, run, rungs, meter, None, "run-1", lambda: seconds, baseline=2.1)

    return make


def by_dial(flops: float):
    return lambda scene, allowance: Survey(probe(flops), why="the least ladder takes 20 s")


def by_law(flops: float = 1e10, law=None):
    points = [
        ladder.Point(f"{n}-{d}", n, d, d, float(PowerLaw().loss(n, d)), 6.0 * n * d, 1.0, 0, 0.02, 1.0, "done", "rung", raw=2.5)
        for n in (40_000, 90_000, 200_000)
        for d in (50_000, 100_000, 200_000, 400_000)
    ]
    made = ladder.Ladder(points, 0.02, 0.004, 12.0, 0.001, 3, {}, 4, [])
    made_of = tuple(rungs.Rung(dial(n, VOCAB, LENGTH), 32, (40, 80), 0.02, 0) for n in (40_000, 90_000, 200_000))
    design = rungs.Design(made_of, rungs.Costs(probe(flops)))
    return lambda scene, allowance: Survey(probe(flops), design, made, law or PowerLaw(), Shift(0.98, 0.01))


def test_a_plan_fills_its_time_and_prices_it(scene):
    made = plan.make(scene(60), look=by_law())
    assert made.seconds.p50 <= 60
    assert made.usd.p50 == pytest.approx(made.seconds.p50 * 0.36 / 3600)
    assert made.joules.p50 == pytest.approx(36 * made.seconds.p50)
    assert made.tokens == made.run.max_steps * made.run.batch_tokens
    assert made.seconds.p10 < made.seconds.p50 < made.seconds.p90


def test_a_plan_that_leaves_time_unspent_on_purpose_keeps_the_run_from_using_it(scene):
    short, full = (plan.make(scene(seconds), look=by_law()) for seconds in (36_000, 60))
    assert short.seconds.p50 < 30_000
    assert short.run.most_steps == short.run.max_steps
    assert full.run.most_steps is None


def test_a_plan_says_in_words_what_it_rests_on_and_what_it_expects(scene):
    made = plan.make(scene(60), look=by_law())
    text = "\n".join(f"{label:<9} {line}" for label, line in made.lines())
    for said in ("GFLOP/s float32 while training · 36 W (user, ±20%) · $0.36/h", "12 points, 3 sizes", "3 known before", "seed noise 0.4%"):
        assert said in text
    assert f"quality  {made.quality.p50:.2f} (80%: {made.quality.p10:.2f}–{made.quality.p90:.2f})   (n-gram 2.10)" in text
    assert "10x compute" in text and "10x data" in text  # noqa: PT018
    assert made.plain()["quality"]["p50"] == made.quality.p50


def test_without_room_for_a_ladder_the_plan_says_that_quality_is_not_forecast_and_why(scene):
    made = plan.make(scene(30), look=by_dial(1.5e9))
    assert made.quality is None
    assert made.plain()["quality"] is None
    assert "quality is not forecast: the least ladder takes 20 s" in made.notes
    assert ("", "quality  not forecast: the least ladder takes 20 s") in made.lines()


def test_without_a_law_more_time_buys_a_larger_model_and_more_tokens(scene):
    small, large = (plan.make(scene(seconds), look=by_dial(1.5e9)) for seconds in (30, 90))
    assert small.params <= large.params
    assert small.tokens < large.tokens


def test_without_a_law_a_small_corpus_is_not_learnt_by_heart_with_a_large_model_for_hours(scene):
    made = plan.make(scene(36_000), look=by_dial(1e11))
    assert made.params < 8 * plan.PARAMETERS_PER_TOKEN * made.tokens / made.passes
    assert made.passes <= 1.1 * plan.MOST_PASSES
    assert any("more passes over this corpus would not help" in note for note in made.notes)


@pytest.mark.parametrize("look", [by_law(), by_dial(1e10)])
def test_a_size_that_was_asked_for_is_the_size_that_is_planned(scene, look):
    made = plan.make(scene(60, params=200_000), look=look)
    assert made.params == count_parameters(dial(200_000, VOCAB, LENGTH))


def test_a_budget_too_small_for_anything_says_how_much_more_it_takes(scene):
    with pytest.raises(OverBudget, match=r"2\.0 s are left for training, too few for anything[\s\S]*give 2\.0 s more"):
        plan.make(scene(2), look=by_dial(1e10))
    with pytest.raises(OverBudget, match=r"50 steps of this model take[\s\S]*smaller \[train\] params"):
        plan.make(scene(10, params=2_000_000), look=by_dial(1e8))


def test_what_lies_beyond_the_laws_reach_is_said_without_an_interval(scene):
    made = plan.make(scene(60), look=by_law(law=PowerLaw(reach=1e12)))
    assert math.isnan(made.outlook.compute.p10)
    assert f"10x compute: about {made.outlook.compute.p50:.2f}" in dict(made.lines())["next"]


def few(probe, seconds, pass_tokens, length, vocab_size, **more):
    """A ladder of seconds: three sizes, two cooled runs each, one look."""
    shapes = [dial(n, vocab_size, length) for n in (40_000, 120_000, 200_000)]
    made = [rungs.Rung(s, 4, (8, 16), 0.02, 0, looks=(24,) if s is shapes[-1] else ()) for s in shapes]
    return rungs.Design(tuple(made), rungs.Costs(probe))


@pytest.mark.slow
def test_a_plan_is_made_from_runs_that_were_trained_and_a_second_one_pays_for_none_of_them(scene, tmp_path):
    with ledger.open(tmp_path) as book:
        run_id = book.start_run("plan", "x")
        here = dataclasses.replace(scene(60), book=book, run_id=run_id)
        look = functools.partial(plan.survey, design_of=few)
        slow = probe(2e9)  # so that the run lies within the law's reach however fast the machine is
        first, again = (plan.make(here, look=lambda scene, allowance: dataclasses.replace(look(scene, 1e6), probe=slow)) for _ in range(2))
        assert first.quality.p10 < first.quality.p50 < first.quality.p90
        assert (len(first.ladder.done), len(first.ladder.looks), first.ladder.reused) == (6, 1, 0)
        assert again.ladder.reused == 6
        assert again.quality == first.quality
        assert len(book.points()) == 6
        assert again.spent.seconds < first.spent.seconds
        assert first.shift.factor == pytest.approx(1.0, abs=0.2)


# --- after the plan ---------------------------------------------------------------------------------------------------------------------


def test_a_run_beyond_the_laws_reach_is_planned_without_a_forecast_and_says_so(scene):
    made = plan.make(scene(60), look=by_law(law=PowerLaw(reach=1e9)))
    assert made.quality is None
    assert made.notes[0] == "quality is not forecast: too far; a larger [budget] ladder reaches further"


def remembered(scene, tmp_path) -> Remembered:
    made = plan.make(scene(60), look=by_law())
    path = tmp_path / "forecast.json"
    path.write_text(json.dumps(plan.remember(made, scene(60).stream.pass_tokens).plain()), "utf-8")
    return Remembered.read(path)


def test_a_forecast_is_remembered_beside_its_run(scene, tmp_path):
    kept = remembered(scene, tmp_path)
    assert kept.quality.p10 < kept.quality.p50 < kept.quality.p90
    assert kept.points == 12
    (tmp_path / "forecast.json").write_text('{"params": 3}')
    with pytest.raises(DataError, match="not a forecast"):
        Remembered.read(tmp_path / "forecast.json")


def test_a_run_that_learns_as_the_law_says_confirms_its_forecast_and_a_worse_one_moves_it(scene, tmp_path):
    kept = remembered(scene, tmp_path)
    step = kept.tokens // kept.batch_tokens // 3
    gain, _ = forecast.cooling(kept.measured)
    whole = step * kept.batch_tokens / (1 - kept.decay)
    usual = float(kept.law.loss(kept.params, whole, kept.unique_tokens)) / math.exp(gain(whole))
    same, worse = (kept.corrected([(step, usual * factor)], step) for factor in (1.0, 1.1))
    assert same.p50 == pytest.approx(kept.quality.p50, rel=1e-6)
    assert kept.quality.p50 < worse.p50 < 1.1 * kept.quality.p50
    assert math.log(same.p90 / same.p10) < math.log(kept.quality.p90 / kept.quality.p10)
    assert kept.corrected([], step) is None


def test_the_picture_shows_the_points_the_forecast_and_what_came(scene, tmp_path):
    kept = remembered(scene, tmp_path)
    before, after = (kept.svg(came, 640, 400, "Forecast") for came in (None, kept.quality.p50))
    assert "<svg" in before
    assert before != after
    assert "outcome" in after


# --- rented instead ---------------------------------------------------------------------------------------------------------------------


def test_the_break_even_is_where_both_cost_the_same():
    beside = Versus(rented_usd=0.30, own_usd=0.05, fixed_usd=1.0, volume=8.0)
    assert beside.break_even == pytest.approx(4.0)
    assert beside.fixed_usd + 4 * beside.own_usd == pytest.approx(4 * beside.rented_usd)
    assert beside.line() == "cheaper than renting at $0.30 a million tokens from 4.0 M tokens on; 8.0 M tokens: $1.40 here, $2.40 rented"


def test_a_model_that_is_dearer_to_run_than_to_rent_never_breaks_even():
    beside = Versus(rented_usd=0.01, own_usd=0.05, fixed_usd=1.0, volume=None)
    assert beside.break_even == math.inf
    assert beside.plain()["break_even"] is None
    assert "renting stays cheaper" in beside.line()


def test_a_free_rented_model_is_an_error(scene):
    made = plan.make(scene(60), look=by_law())
    with pytest.raises(ConfigError, match="nothing is free"):
        plan.versus(made, 0.001, 2.5, 0.0)
    assert dataclasses.asdict(plan.versus(made, 0.001, 2.5, 0.3))["fixed_usd"] == pytest.approx(0.001 + made.usd.p50)


def test_an_interval_holds_its_ends():
    assert Interval(1, 2, 3).holds(1)
    assert not Interval(1, 2, 3).holds(3.01)


def test_cooling_is_learnt_from_the_ladders_own_runs_and_taken_as_usual_where_they_are_few():
    points = [{"tokens": 1e5 * 2**i, "bits_per_byte": math.exp(-0.05 - 0.02 * i), "raw": 1.0} for i in range(5)]
    gain, spread = forecast.cooling(points)
    assert gain(4e5) == pytest.approx(-0.09)
    assert gain(1e9) == gain(3.2e6)
    assert spread == pytest.approx(0.005)
    assert forecast.cooling(points[:3])[0](1e6) == forecast.USUAL_GAIN


def test_a_look_stands_for_the_run_that_would_have_left_the_trunk_there():
    law = PowerLaw()
    sizes, lengths = (60_000, 120_000, 250_000), (5e4, 1e5, 2e5, 4e5)
    points = [
        {
            "params": n,
            "tokens": d,
            "unique_tokens": d,
            "flops": 6 * n * d,
            "bits_per_byte": float(law.loss(n, d)),
            "raw": float(law.loss(n, d)) / 0.9,
        }
        for n in sizes
        for d in lengths
    ]
    looks = [{"params": 250_000, "tokens": d, "raw": float(law.loss(250_000, d)) / 0.9, "flops": 6 * 250_000 * d} for d in (8e5, 1.6e6)]
    without, with_ = (forecast.fit(points, some, 1e9, 0.0) for some in ([], looks))
    assert (without.n, with_.n) == (12, 14)
    errors = [abs(float(f.loss(250_000, 1.6e6)) / float(law.loss(250_000, 1.6e6)) - 1) for f in (with_, without)]
    assert errors[0] < min(0.02, errors[1])
