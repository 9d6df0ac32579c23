"""What a budget buys, from speed measured on the spot."""

import pytest

from cupola import hardware, plan
from cupola.errors import OverBudget
from cupola.hardware import PriceConfig
from cupola.meter import Meter
from cupola.model import count_parameters, dial, flops_per_token
from cupola.plan import Speed
from cupola.project import ModelTable
from cupola.sources import Source
from cupola.tokens import Stream
from cupola.train import TrainConfig


@pytest.fixture
def choose(small_corpus, small_tokenizer, tmp_path, monkeypatch):
    """choose(seconds, flops, **train) -> Plan, on a machine that does so many FLOPs a second."""
    tokenizer, folder = small_tokenizer
    meter = Meter(hardware.describe(), hardware.price(PriceConfig(usd_per_hour=0.36)), watts=36.0)

    def make(seconds: float, flops: float = 1e11, **train):
        monkeypatch.setattr(plan, "measure", lambda shape, length: Speed(flops / flops_per_token(shape, length), flops, "float32", 0.1))
        table = ModelTable(medium="text", sources=(Source(source="x", licence="own work"),), train=TrainConfig(**train))
        stream = Stream(small_corpus, tokenizer, tmp_path / "rows", seed=0)
        return plan.choose(table, small_corpus, tokenizer, folder, tmp_path / "run", stream, seconds, meter)

    return make


def test_a_plan_fills_its_time_and_prices_it(choose):
    made = choose(60, flops=1.5e9)
    assert 50 < made.seconds <= 60
    assert made.usd == pytest.approx(made.seconds * 0.36 / 3600)
    assert made.joules == pytest.approx(36 * made.seconds)
    assert made.tokens == made.run.max_steps * made.run.batch_tokens
    assert made.p10 < made.seconds < made.p90
    assert made.line().startswith("36 k parameters, 0.21 M tokens (")
    assert "(user, ±" in made.line()


def test_more_time_buys_a_larger_model_and_more_tokens(choose):
    small, large = choose(30, flops=1.5e9), choose(90, flops=1.5e9)
    assert small.params <= large.params
    assert small.tokens < large.tokens


def test_a_small_corpus_is_not_learnt_by_heart_with_a_large_model_for_hours(choose):
    made = choose(36_000)
    assert made.params < 8 * plan.PARAMETERS_PER_TOKEN * made.tokens / made.passes
    assert made.passes <= 1.1 * plan.MOST_PASSES
    assert any("learnt by heart" in note for note in made.notes)


def test_a_size_that_was_asked_for_is_the_size_that_is_planned(choose):
    made = choose(60, params=200_000)
    assert made.params == count_parameters(dial(200_000, made.run.model.vocab_size))


def test_a_budget_too_small_for_anything_says_how_much_more_it_takes(choose):
    with pytest.raises(OverBudget, match=r"2\.0 s are left for training, too few for anything[\s\S]*give 2\.0 s more"):
        choose(2)
    with pytest.raises(OverBudget, match=r"50 steps of this model take[\s\S]*smaller \[train\] params"):
        choose(10, flops=1e8, params=2_000_000)


def test_the_plan_says_that_quality_is_not_forecast(choose):
    made = choose(30)
    assert made.plain()["quality"] is None
    assert any("quality is not forecast" in note for note in made.notes)


def test_speed_is_measured_in_both_precisions_and_the_faster_is_taken():
    speed = plan.measure(dial(60_000, 300, 64), 64, seconds=0.05)
    assert speed.precision in ("float32", "bfloat16")
    assert speed.tokens_per_second > 100
    assert speed.flops == pytest.approx(speed.tokens_per_second * flops_per_token(dial(60_000, 300, 64), 64))
