from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupola import units


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0 s"),
        (0.012, "12 ms"),
        (0.3, "0.3 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (250, "4 min 10 s"),
        (245, "4 min 05 s"),
        (300, "5 min"),
        (3599.6, "1 h"),
        (7500, "2 h 05 min"),
        (86399, "1 d"),
        (3 * 86400 + 4 * 3600, "3 d 04 h"),
        (-250, "-4 min 10 s"),
        (math.inf, "no limit"),
        (math.nan, "unknown"),
    ],
)
def test_seconds_read_as_people_say_them(x, text):
    assert units.seconds(x) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "$0"),
        (0.0041, "$0.0041"),
        (0.005, "$0.0050"),
        (0.00034, "$0.00034"),
        (3.4e-8, "$0.000000034"),
        (0.0999, "$0.10"),
        (0.996, "$1.00"),
        (12.5, "$12.50"),
        (1234.5, "$1,234.50"),
        (-0.0041, "-$0.0041"),
        (math.inf, "no limit"),
    ],
)
def test_dollars_keep_two_figures_below_one_and_cents_above(x, text):
    assert units.usd(x) == text


@pytest.mark.parametrize(
    ("joules", "text"), [(0, "0 kWh"), (10_800, "0.0030 kWh"), (3.6e6, "1.00 kWh"), (44.28e6, "12.3 kWh"), (3.6e9, "1,000 kWh")]
)
def test_joules_print_as_kilowatt_hours(joules, text):
    assert units.kwh(joules) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (3911, "3,911"),
        (9999.4, "9,999"),
        (10_000, "10 k"),
        (44_321, "44 k"),
        (99_600, "0.10 M"),
        (940_000, "0.94 M"),
        (999_999, "1.0 M"),
        (11_040_000, "11 M"),
        (123_000_000, "123 M"),
        (999_900_000, "1.0 G"),
        (1.9e11, "190 G"),
        (3.4e15, "3.4 P"),
        (2e21, "2,000 E"),
    ],
)
def test_counts_are_exact_when_small_and_short_when_large(n, text):
    assert units.count(n) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (812, "812 B"), (1000, "1.0 kB"), (1_400_000, "1.4 MB"), (24_105_000_000, "24 GB"), (3e12, "3.0 TB"), (192e6, "192 MB")],
)
def test_bytes_print_in_decimal_units(n, text):
    assert units.size(n) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0%"),
        (0.0001, "<0.1%"),
        (0.004, "0.4%"),
        (0.03, "3%"),
        (0.97, "97%"),
        (0.9996, "99.9%"),
        (1, "100%"),
        (1.5, "150%"),
        (-0.03, "-3%"),
    ],
)
def test_only_all_is_a_hundred_percent_and_only_nothing_is_zero(x, text):
    assert units.percent(x) == text


@given(st.floats(min_value=1e-9, max_value=0.99))
def test_a_printed_price_below_a_dollar_is_within_five_percent_of_the_price(x):
    assert float(units.usd(x).removeprefix("$")) == pytest.approx(x, rel=0.0501)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_float_prints_without_an_error_or_an_exponent(x):
    for show in (units.seconds, units.usd, units.kwh, units.count, units.size, units.percent):
        assert "e+" not in show(x)
        assert "e-" not in show(x)
