from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cupola.calibration import Calibration, binomial_interval, calibration


def forecast(quantity, outcome, p10=1.0, p50=2.0, p90=4.0):
    return {"quantity": quantity, "p10": p10, "p50": p50, "p90": p90, "outcome": outcome}


def test_each_quantity_has_its_own_score_in_the_order_of_appearance():
    time, quality = calibration([forecast("time", 2.0), forecast("quality", 5.0), forecast("time", 4.1), forecast("time", None)])
    low, high = binomial_interval(1, 2)
    assert time == Calibration(
        "time", made=3, known=2, inside=1, share=0.5, low=low, high=high, error=pytest.approx(2.1 / 4.1 / 2), width=1.5
    )
    assert (quality.quantity, quality.inside, quality.share, quality.error) == ("quality", 0, 0.0, pytest.approx(0.6))


def test_a_corrected_forecast_is_a_quantity_of_its_own():
    scores = calibration([forecast("bits_per_byte", 5.0), forecast("bits_per_byte, corrected", 3.0)])
    assert [(s.quantity, s.share) for s in scores] == [("bits_per_byte", 0.0), ("bits_per_byte, corrected", 1.0)]


def test_the_ends_of_the_interval_are_inside():
    assert calibration([forecast("q", 1.0), forecast("q", 4.0)])[0].inside == 2


def test_without_an_outcome_there_is_no_score_and_without_a_forecast_nothing():
    assert calibration([forecast("q", None)]) == [Calibration("q", 1, 0, 0, None, None, None, None, None)]
    assert calibration([]) == []


def test_the_medians_leave_out_what_nothing_can_be_divided_by():
    (score,) = calibration([forecast("q", 0.0, -1.0, 0.0, 1.0), forecast("q", 2.0)])
    assert (score.known, score.error, score.width) == (2, 0.0, 1.5)
    (score,) = calibration([forecast("q", 0.0, -1.0, 0.0, 1.0)])
    assert (score.inside, score.error, score.width) == (1, None, None)


def test_the_interval_is_the_exact_one_of_clopper_and_pearson():
    """By its definition: at each end, seeing so many hits or more extreme has a chance of 2.5%."""
    low, high = binomial_interval(17, 20)
    assert stats.binom.sf(16, 20, low) == pytest.approx(0.025)
    assert stats.binom.cdf(17, 20, high) == pytest.approx(0.025)
    assert binomial_interval(0, 4) == (0.0, pytest.approx(1 - 0.025**0.25))
    assert binomial_interval(4, 4) == (pytest.approx(0.025**0.25), 1.0)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), share=st.floats(0.001, 0.999))
def test_the_interval_covers_the_true_share_at_least_95_times_in_100(n, share):
    intervals = (binomial_interval(hits, n) for hits in range(n + 1))
    covered = sum(stats.binom.pmf(hits, n, share) for hits, (low, high) in enumerate(intervals) if low <= share <= high)
    assert covered >= 0.95 - 1e-9


def test_asking_for_the_score_of_nothing_known_does_not_wait_for_scipy():
    code = "import sys; from cupola import calibration; calibration.calibration([]); print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
