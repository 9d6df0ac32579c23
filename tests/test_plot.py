from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.plot import loss_svg, round_ticks

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {
    "train": [(step, 1.2 + 6 / (1 + step / 40)) for step in range(0, 1340, 10)],
    "watch": [(0, 8.0), (500, 2.0), (1000, 1.63), (1300, 1.71)],
}


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


def words(text: str) -> str:
    return " ".join("".join(e.itertext()) for e in parsed(text).iter(SVG + "text"))


def test_both_curves_are_drawn_and_named_with_their_last_value():
    text = loss_svg(CURVES, marks={"best weights": 1000})
    assert len(list(parsed(text).iter(SVG + "polyline"))) == 2
    assert "watch 1.71" in words(text)
    assert "train 1.38" in words(text)
    assert "best weights" in words(text)


def test_the_picture_is_also_words():
    root = parsed(loss_svg(CURVES, marks={"stopped early": 1300}, title="Loss of tunes"))
    title, desc = root.find(SVG + "title"), root.find(SVG + "desc")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text == "Loss of tunes"
    assert "watch: 4 points, 8.00 at first, lowest 1.63 at 1,000, last 1.71" in desc.text
    assert "stopped early at 1,300" in desc.text


def test_the_same_points_give_the_same_bytes_and_two_pictures_share_no_id():
    assert loss_svg(CURVES) == loss_svg(CURVES)
    wide, narrow = (set(re.findall(r'id="([^"]+)"', loss_svg(CURVES, width=w))) for w in (640, 340))
    assert wide
    assert not wide & narrow


def test_a_run_that_learns_by_heart_is_seen_although_its_first_loss_is_five_times_higher():
    """The rise from 1.63 to 1.71 takes more than an eighth of the height: the first steps run off the top."""
    root = parsed(loss_svg({"watch": CURVES["watch"][1:], "train": CURVES["train"]}, height=280))
    dots = [float(c.get("cy")) for c in root.iter(SVG + "circle")]
    assert dots[1] - dots[2] > 0
    early = parsed(loss_svg({"watch": [(0, 9.0), *((x, 1.6 + (x - 500) / 5000) for x in range(500, 1001, 100))]}))
    seen = [float(c.get("cy")) for c in early.iter(SVG + "circle")][1:]
    assert max(seen) - min(seen) > 280 / 2


@pytest.mark.parametrize(
    "curves",
    [{}, {"train": []}, {"train": [(0, math.nan), (1, math.inf)]}, {"train": [(math.nan, 1.0)]}],
    ids=["no curve", "no point", "no finite value", "no finite step"],
)
def test_nothing_to_draw_is_a_picture_that_says_so(curves):
    assert words(loss_svg(curves)) == "nothing measured yet"


def test_one_point_is_a_dot_on_axes_with_a_range():
    root = parsed(loss_svg({"watch": [(0, 0.0)]}))
    (dot,) = root.iter(SVG + "circle")
    assert all(math.isfinite(float(dot.get(k))) for k in ("cx", "cy"))


def test_a_value_that_is_not_a_number_is_a_gap_in_the_line():
    text = loss_svg({"train": [(0, 3.0), (1, 2.5), (2, math.nan), (3, 2.0), (4, 1.9)]})
    assert len(list(parsed(text).iter(SVG + "polyline"))) == 2
    assert "nan" not in text


def test_a_hundred_thousand_steps_stay_small_and_keep_the_lowest_point():
    points = [(x, 2 + (x * 7919 % 101) / 100) for x in range(100_000)]
    points[61_803] = (61_803, 1.0)
    text = loss_svg({"train": points})
    assert len(text) < 60_000
    assert "lowest 1.00 at 61,803" in text
    ys = [float(p.split(",")[1]) for p in next(parsed(text).iter(SVG + "polyline")).get("points").split()]
    assert max(ys) > 225  # the one deep step is drawn at the foot of the picture


def test_a_name_with_markup_stays_text():
    text = loss_svg({"<b>&": [(0, 1.0), (1, 2.0)]}, title="<i>", y_label="a<b", marks={"</svg>": 1})
    assert "<b>&" in "".join(parsed(text).itertext())


def test_labels_of_curves_that_end_together_do_not_cover_each_other():
    root = parsed(loss_svg({name: [(0, 2.0), (9, 1.5)] for name in ("a", "b", "c")}))
    ys = sorted(float(t.get("y")) for t in root.iter(SVG + "text") if t.get("font-weight"))
    assert [round(b - a) for a, b in itertools.pairwise(ys)] == [15, 15]


def test_ticks_are_round_and_lie_inside():
    assert round_ticks(0, 1340, 5) == [0, 500, 1000]
    assert round_ticks(1.38, 2.13, 4) == [1.4, 1.6, 1.8, 2.0]
    assert round_ticks(3, 3, 4) == [3]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(allow_nan=True)), max_size=8), max_size=3),
    st.integers(120, 900),
)
def test_any_points_make_well_formed_svg(curves, width):
    curves = {re.sub(r"[^ -~]", "?", k): [(x, y if abs(y) < 1e12 else math.nan) for x, y in v] for k, v in curves.items()}
    parsed(loss_svg(curves, width=width, marks={"end": 5}))


def test_every_range_gets_a_tick_also_one_between_two_round_numbers():
    assert round_ticks(1, 477, 2) == [200, 400]
    for high in range(2, 3000, 7):
        for about in (1, 2, 3, 6):
            assert round_ticks(1, high, about), (high, about)
    assert "<svg" in loss_svg({"training": [(1, 3.0), (477, 2.0)], "watched": [(20, 3.0), (477, 2.5)]}, width=340, height=240)
