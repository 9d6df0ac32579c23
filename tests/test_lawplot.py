from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cupola.lawplot import calibration_svg, decades, law_svg
from cupola.plot import LETTER

SVG = "{http://www.w3.org/2000/svg}"
POINTS = {120_000: [(1e12, 2.4), (1e13, 2.1)], 510_000: [(1e13, 2.0), (1e14, 1.7)]}
CURVES = {n: [(10.0**e, 1.2 + 3 / e) for e in range(11, 17)] for n in POINTS}
BAND = [(10.0**e, 1.5 - 0.01 * e, 1.5, 1.5 + 0.01 * e) for e in (14, 15, 16)]
CHOSEN = (1e16, 1.34, 1.5, 1.66)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in parsed(svg).iter(SVG + "text")]


def boxes(svg: str) -> list[tuple[str, float, float, float, float]]:
    """(text, left, top, right, bottom) of each text, by the mean advance of its letters."""
    found = []
    for e in parsed(svg).iter(SVG + "text"):
        text, x, y = "".join(e.itertext()), float(e.get("x", 0)), float(e.get("y", 0))
        size = LETTER * len(text) * (1.1 if e.get("font-weight") else 1)
        left = x - size * {"middle": 0.5, "end": 1.0}.get(e.get("text-anchor", "start"), 0.0)
        found.append((text, left, y - 9, left + size, y + 2))
    return found


def overlaps(svg: str) -> list[tuple[str, str]]:
    pairs = itertools.combinations(boxes(svg), 2)
    return [(a[0], b[0]) for a, b in pairs if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]]


def circles(svg: str, hollow: bool = False) -> list[tuple[float, float]]:
    found = [c for c in parsed(svg).iter(SVG + "circle") if (c.get("fill") == "none") == hollow]
    return [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in found]


# -- the law


def test_points_are_coloured_by_size_with_the_parameters_in_a_legend():
    svg = law_svg(POINTS, CURVES)
    assert [t for t in texts(svg) if t.endswith("M")] == ["0.12 M", "0.51 M"]
    assert "parameters" in texts(svg)
    colours = [c.get("fill") for c in parsed(svg).iter(SVG + "circle")]
    assert len(colours) == 2 + 4  # one in the legend, then its points
    assert colours[0] == colours[2] == colours[3] != colours[1] == colours[4] == colours[5]
    assert len(list(parsed(svg).iter(SVG + "polyline"))) == 2


def test_ten_times_the_compute_is_the_same_step_everywhere():
    (_, _, *(points)) = circles(law_svg({100_000: [(1e12, 2.0), (1e13, 2.0), (1e14, 2.0)], 200_000: [(1e15, 2.0)]}))
    steps = [b[0] - a[0] for a, b in itertools.pairwise(points)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)


def test_points_on_repeated_data_are_hollow_and_the_legend_says_so():
    svg = law_svg({120_000: [(1e12, 2.4)]}, repeats={120_000: [(1e13, 2.2), (1e14, 2.1)]})
    assert len(circles(svg, hollow=True)) == 3
    assert "on repeated data" in texts(svg)
    assert "on repeated data" not in texts(law_svg(POINTS))


def test_the_forecast_is_a_bar_from_p10_to_p90_and_the_outcome_a_mark_beside_it():
    svg = law_svg(POINTS, CURVES, band=BAND, chosen=CHOSEN, outcome=(9e15, 1.58), chosen_label="0.94 M, forecast")
    assert "0.94 M, forecast 1.50 (1.34 to 1.66)" in texts(svg)
    assert "outcome 1.58" in texts(svg)
    assert "80% interval" in texts(svg)
    bars = re.findall(r'd="M[\d.]+ ([\d.]+)h12.0M[\d.]+ ([\d.]+)h12.0', svg)
    low, high = map(float, bars[-1])
    diamond = float(re.findall(r'd="M[\d.]+ ([\d.]+)l5.5 6.5', svg)[-1]) + 6.5
    assert (low - diamond) / (low - high) == pytest.approx((1.58 - 1.34) / (1.66 - 1.34), abs=0.01)
    before = law_svg(POINTS, CURVES, band=BAND, chosen=CHOSEN)
    assert not any(t.startswith("outcome") for t in texts(before))
    assert "l5.5 6.5" not in before


def test_a_narrow_interval_is_told_with_the_decimals_that_it_needs():
    assert "forecast 1.5010 (1.5005 to 1.5015)" in texts(law_svg({}, chosen=(1e15, 1.5005, 1.501, 1.5015)))
    assert "forecast 1.50 (1.50 to 1.50)" in texts(law_svg({}, chosen=(1e15, 1.5, 1.5, 1.5)))


def test_the_law_is_also_words():
    root = parsed(law_svg(POINTS, CURVES, repeats={510_000: [(2e14, 1.65)]}, chosen=CHOSEN, outcome=(9e15, 1.7), title="Tunes"))
    title, desc = root.find(SVG + "title"), root.find(SVG + "desc")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text == "Tunes"
    assert "0.12 M parameters: 2 points, 2.40 at the least training FLOPs, 2.10 at the most" in desc.text
    assert "0.51 M parameters: 3 points, 1 of them on repeated data" in desc.text
    assert "forecast 1.50 (1.34 to 1.66) at 1e+16; outcome 1.70, outside." in desc.text


def test_the_same_law_gives_the_same_bytes_and_two_pictures_share_no_id():
    assert law_svg(POINTS, CURVES, band=BAND) == law_svg(POINTS, CURVES, band=BAND)
    one, other = (set(re.findall(r'id="([^"]+)"', law_svg(POINTS, width=w))) for w in (640, 340))
    assert one
    assert not one & other
    assert "nan" not in law_svg(POINTS)


@pytest.mark.parametrize(
    "given",
    [{}, {"points": {1e5: []}}, {"points": {1e5: [(0, 2.0), (math.nan, 2.0), (1e12, math.inf)]}}, {"chosen": (1e12, math.nan, 2, 3)}],
    ids=["no size", "no point", "no finite point", "no finite forecast"],
)
def test_a_law_without_a_number_is_a_picture_that_says_so(given):
    assert texts(law_svg(**{"points": {}, **given})) == ["nothing measured yet"]


def test_a_run_that_diverged_is_left_out_and_its_size_with_it():
    svg = law_svg(POINTS | {940_000: [(1e14, math.nan)]})
    assert "0.94 M" not in texts(svg)
    assert "nan" not in svg


def test_labels_with_markup_stay_text():
    svg = law_svg(POINTS, x_label="<b>", y_label="a<b", chosen=CHOSEN, chosen_label="</svg>", title="<i>")
    assert "<b>" in texts(svg)
    assert "</svg> 1.50 (1.34 to 1.66)" in texts(svg)


@settings(max_examples=60, deadline=None)
@example(sizes=[10_000], places=[(3.3e19, 4.0), (8.1e20, 1.0)], chosen=None, width=320)  # a label at the very left
@example(sizes=[10_000], places=[(1e9, 0.5), (1e9, 0.5000000000000001)], chosen=None, width=320)  # hardly a range
@given(
    sizes=st.lists(st.integers(10_000, 10**11), unique=True, max_size=9),
    places=st.lists(st.tuples(st.floats(1e9, 1e24), st.floats(0.5, 9.0)), min_size=1, max_size=6),
    chosen=st.none() | st.tuples(st.floats(1e9, 1e24), st.just(1.0), st.floats(1.0, 1.5), st.floats(1.5, 4.0)),
    width=st.sampled_from([320, 340, 480, 640, 1000]),
)
def test_no_label_covers_another_or_leaves_the_picture(sizes, places, chosen, width):
    points = {n: places[i % len(places) :] for i, n in enumerate(sizes)}
    outcome = (chosen[0], 1.2) if chosen else None
    svg = law_svg(points, points, repeats=dict(list(points.items())[:1]), chosen=chosen, outcome=outcome, width=width)
    assert overlaps(svg) == []
    assert all(left >= 0 and right <= width for _, left, _, right, _ in boxes(svg))


def test_a_logarithmic_axis_has_round_ticks_and_labels_that_keep_their_distance():
    assert [t for t in decades(12.1, 15.9, 0.5).values() if t] == ["10¹³", "10¹⁴", "10¹⁵"]
    assert [t for t in decades(-0.2, 3.2, 0.5).values() if t] == ["1", "10", "100", "1,000"]
    assert [t for t in decades(12.1, 25.9, 2.5).values() if t] == ["10¹⁵", "10¹⁸", "10²¹", "10²⁴"]


@settings(max_examples=200, deadline=None)
@given(low=st.floats(-3, 24), span=st.floats(0.4, 12), share=st.floats(0.05, 0.3))
def test_every_logarithmic_axis_of_some_length_has_a_label(low, span, share):
    ticks = decades(low, low + span, share * span)
    labels = [place for place, text in ticks.items() if text]
    assert labels
    assert all(b - a >= share * span - 1e-9 for a, b in itertools.pairwise(labels))
    assert all(low - 1e-6 <= place <= low + span + 1e-6 for place in ticks)


# -- forecasts and outcomes


def forecast(quantity="train_seconds", outcome=None, p10=1.0, p50=2.0, p90=4.0):
    return {"id": "f", "quantity": quantity, "p10": p10, "p50": p50, "p90": p90, "unit": "seconds", "outcome": outcome}


def band(svg: str) -> tuple[float, float]:
    """Top and foot of the first strip's shaded interval, px."""
    rect = next(r for r in parsed(svg).iter(SVG + "rect") if float(r.get("width", 0)) > 100)
    return float(rect.get("y", 0)), float(rect.get("y", 0)) + float(rect.get("height", 0))


def test_a_truth_inside_its_interval_lies_in_the_band_whatever_the_intervals_shape():
    for outcome, share in ((4.0, 0.0), (3.0, 0.25), (2.0, 0.5), (1.5, 0.75), (1.0, 1.0)):
        svg = calibration_svg([forecast(outcome=outcome)])
        top, foot = band(svg)
        assert (circles(svg)[-1][1] - top) / (foot - top) == pytest.approx(share, abs=0.02)


def test_a_truth_outside_is_another_mark_and_one_far_outside_an_arrow_at_the_edge():
    just, far, low = (calibration_svg([forecast(outcome=o)]) for o in (5.0, 50.0, -50.0))
    assert len(circles(just)) == len(circles(far)) == 2  # the legend's, and the share on its line: no truth
    assert just.count("l8 8m0 -8l-8 8") == 2
    assert "l5 -9l5 9z" in far
    assert "l5 9l5 -9z" in low


def test_a_forecast_without_width_is_hit_or_missed():
    assert len(circles(calibration_svg([forecast(outcome=2.0, p10=2.0, p90=2.0)]))) == 3
    assert "l5 -9l5 9z" in calibration_svg([forecast(outcome=2.1, p10=2.0, p90=2.0)])


def test_each_quantity_says_its_share_with_its_interval():
    made = [forecast(outcome=o) for o in (2.0, 3.0, 1.5, 2.2, 9.0)] + [forecast("bits_per_byte, corrected", 2.0)]
    svg = calibration_svg(made)
    assert "4 of 5 inside: 80% (95% interval 28% to 99%)" in texts(svg)
    assert "bits per byte, corrected" in texts(svg)
    assert "1 of 1 inside: 100% (95% interval 3% to 100%)" in texts(svg)
    assert "train seconds: 4 of 5 inside: 80%" in parsed(svg).find(SVG + "desc").text


def test_quantities_that_wait_for_their_outcome_are_named_below():
    svg = calibration_svg([forecast(outcome=2.0), forecast("train_usd"), forecast("train_joules")])
    assert texts(svg)[-2:] == ["train usd: no outcome yet", "train joules: no outcome yet"]
    assert texts(calibration_svg([forecast()])) == ["no outcome yet"]
    assert texts(calibration_svg([])) == ["no outcome yet"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(
            forecast,
            quantity=st.sampled_from(["train_seconds", "bits_per_byte, corrected", "<b>", "a quantity with a name that is too long " * 3]),
            outcome=st.none() | st.floats(-1e6, 1e6),
        ),
        max_size=60,
    ),
    st.sampled_from([340, 480, 640]),
)
def test_no_label_of_any_forecasts_covers_another_or_leaves_the_picture(forecasts, width):
    svg = calibration_svg(forecasts, width=width)
    assert svg == calibration_svg(forecasts, width=width)
    assert overlaps(svg) == []
    assert all(left >= 0 and right <= width for _, left, _, right, _ in boxes(svg))
    height = float(parsed(svg).get("viewBox", "").split()[3])
    assert all(bottom <= height for *_, bottom in boxes(svg))
