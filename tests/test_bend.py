"""A ladder that ends before the loss falls again leaves that open; one that reads past it knows."""

import math

import numpy as np
import pytest

from cupola import bend
from cupola.errors import LadderTooShort


def truth(params, tokens, drop, at=8e5):
    straight = 0.9 + 8 / np.asarray(params, float) ** 0.3 + 60 / np.asarray(tokens, float) ** 0.38
    return straight * np.exp(-drop * bend.fallen(tokens, at))


def ladder(drop, longest, seed=0):
    rng = np.random.default_rng(seed)
    params = np.repeat([86e3, 160e3, 400e3], 4)
    tokens = np.concatenate([longest * np.array([0.125, 0.25, 0.5, 1.0])] * 3)
    loss = truth(params, tokens, drop) * np.exp(rng.normal(0, 0.004, 12))
    return bend.fit(params, tokens, loss, np.minimum(tokens, 2.5e5), flops=6 * params * tokens)


@pytest.mark.parametrize("drop", [0.0, 0.2, 0.4])
def test_a_ladder_that_reads_past_the_drop_foretells_what_comes_after(drop):
    law = ladder(drop, 3e6)
    assert law.drop == pytest.approx(drop, abs=0.08)
    assert float(law.loss(400e3, 8e6)) == pytest.approx(float(truth(400e3, 8e6, drop)), rel=0.06)


@pytest.mark.parametrize("drop", [0.05, 0.2, 0.35])
def test_a_ladder_that_ends_before_the_drop_is_unsure_of_it_and_the_truth_lies_inside(drop):
    law, told = ladder(drop, 4e5), ladder(drop, 3e6)
    early, late = (one.predict(400e3, 3e6, 2.5e5, flops=6 * 400e3 * 3e6) for one in (law, told))
    assert early.p10.item() < float(truth(400e3, 3e6, drop)) < early.p90.item()
    assert math.log(early.p90.item() / early.p10.item()) > 2 * math.log(late.p90.item() / late.p10.item())


def test_the_middle_never_rises_with_tokens_and_weights_sum_to_one():
    law = ladder(0.3, 1e6)
    losses = law.loss(400e3, np.geomspace(1e5, 1e7, 200), 2.5e5)
    assert np.all(np.diff(losses) <= 1e-9)
    assert sum(one.weight for one in law.family) == pytest.approx(1.0)
    assert law.best in [one.law for one in law.family]


def test_what_a_law_refuses_the_family_refuses():
    with pytest.raises(LadderTooShort) as refused:
        ladder(0.2, 1e6).predict(1e8, 1e9, 2.5e5, flops=6e17)
    assert isinstance(refused.value.law, bend.BentLaw)
    with pytest.raises(LadderTooShort):
        bend.fit([1e5, 2e5], [1e5, 2e5], [3, 2.5], [1e5, 2e5], flops=[6e10, 2.4e11])
