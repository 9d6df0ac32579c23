"""Two pictures of forecasting: the law through a ladder's points, and how often the truth fell inside.

Drawn on plot.py's paper, from plain numbers. Words stand in rows of their own around what is drawn, never in it, so that no label covers
another however the points lie.
"""

from __future__ import annotations

import dataclasses
import html
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cupola import units
from cupola.calibration import NOMINAL, SURE, Calibration, calibration
from cupola.plot import LETTER, Frame, Ink, Point, axes, labelled, name_of, nothing, picture, round_ticks

Interval = tuple[float, float, float, float]  # x, and what is expected there: p10, p50, p90
Key = tuple[Callable[[float, float], str] | None, str]  # a mark that is drawn at (x, y), and what it stands for

SIZES: tuple[Ink, ...] = (("#d0921f", "#8d74e0"), ("#b8395a", "#ef7f8d"), ("#35206f", "#ffd878"))  # smallest to largest, mixed between
TRUTH: Ink = ("#00796b", "#5fe3cd")  # a colour that no size has
MISS: Ink = ("#b8501a", "#f2a06a")
ROW = 18  # px from one row of words to the next
BEYOND = 2.0  # half-widths from the middle: what lies farther is drawn there, as an arrow
PANEL = 76  # px: one quantity's forecasts


def law_svg(
    points: Mapping[float, Sequence[Point]],
    curves: Mapping[float, Sequence[Point]] | None = None,
    *,
    repeats: Mapping[float, Sequence[Point]] | None = None,
    band: Sequence[Interval] = (),
    chosen: Interval | None = None,
    outcome: Point | None = None,
    x_label: str = "training FLOPs",
    y_label: str = "bits per byte",
    chosen_label: str = "forecast",
    outcome_label: str = "outcome",
    width: int = 480,
    height: int = 400,
    title: str = "The law and the plan",
) -> str:
    """An `<svg>` of measured points by size, the law's curve for each size, the forecast and, once it is known, what came of it.

    points, curves: parameters -> (x, y) in any order, x on a logarithmic scale. repeats: points whose run read some data more than once,
    drawn hollow. band: p10 to p90 as a shaded fan, p50 dashed. chosen: of the planned run, an upright bar with a mark at p50.
    What is not finite, and x at or below 0, is left out. width, height: px; 480 px wide it can be read on a phone and in print.
    The same arguments give the same text.
    """
    law = _law(points, curves or {}, repeats or {}, band, chosen, outcome)
    name = name_of(law, x_label, y_label, chosen_label, outcome_label, width, height, title)
    ranges = _ranges(law)
    if ranges is None:
        return picture(name, nothing("nothing measured yet", width, height), "Nothing measured yet.", title, width, height)
    inks = (*_ramp(len(law.sizes)), TRUTH)
    legend, bottom = _legend(_law_keys(law, inks, chosen_label, outcome_label), 18, width)
    height = max(height, round(bottom) + 200)  # many sizes make a tall legend
    y_ticks = labelled(round_ticks(*ranges[2:], max(2, height // 60)))
    left = max(24, 10 + LETTER * max(map(len, y_ticks.values())))  # 24 px: half a label of the x axis, here and on the right
    frame = Frame(*ranges, left, bottom + 8, width - 24, height - 36)
    x_ticks = decades(frame.x_low, frame.x_high, 56 * (frame.x_high - frame.x_low) / (frame.right - frame.left))
    body = [*axes(frame, x_ticks, y_ticks, x_label, y_label), *legend, *_law_marks(f"{name}-c", frame, law, inks)]
    words = _law_words(law, x_label, y_label, chosen_label, outcome_label)
    return picture(name, "\n".join(body), words, title, width, height, inks)


def calibration_svg(forecasts: Sequence[Mapping[str, Any]], *, width: int = 480, title: str = "Forecasts and outcomes") -> str:
    """An `<svg>` with a strip for each quantity: where the truth lay in each forecast's 80% interval, all drawn to the same width.

    forecasts: as Book.forecasts gives them. A truth above the middle is measured in steps of p90 - p50, one below in steps of p50 - p10, so
    that the shaded band is the interval whatever its shape. Above each strip: the share inside, its 95% interval, and the same as a line
    from none to all with a notch at the 80% that is promised. The height follows from the number of quantities.
    """
    scores = calibration(forecasts)
    known = [score for score in scores if score.known]
    waiting = [score for score in scores if not score.known]
    name = name_of([sorted(f.items(), key=str) for f in forecasts], width, title)
    if not known:
        return picture(name, nothing("no outcome yet", width, 120), "No outcome yet.", title, width, 120)
    keys: list[Key] = [
        (_inside, "inside"),
        (_outside, "outside"),
        (_patch, f"{units.percent(NOMINAL)} interval"),
        (_notch, f"{units.percent(NOMINAL)} promised"),
    ]
    body, top = _legend([keys], 0, width)
    for score in known:
        places = [_place(f) for f in forecasts if f["quantity"] == score.quantity and f["outcome"] is not None]
        body += _strip(score, places, top + 10, width)
        top += 10 + 2 * ROW + PANEL + 8
    body.append(f'<text x="{width / 2:g}" y="{top + 12}" text-anchor="middle" class="soft">forecasts, the oldest first</text>')
    for score in waiting:
        top += ROW
        body.append(f'<text x="2" y="{top + 12}" class="soft">{html.escape(_fit(f"{_spoken(score)}: no outcome yet", width))}</text>')
    words = "; ".join([f"{_spoken(score)}: {_share(score)}" for score in known])
    return picture(name, "\n".join(body), f"Truths inside their forecast's interval. {words}.", title, width, top + 20, (TRUTH, MISS))


# --- the law ----------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Law:
    """What law_svg was given, cleaned: by size in rising order, points by x, x as its base-10 logarithm."""

    sizes: list[float]
    solid: dict[float, list[Point]]
    hollow: dict[float, list[Point]]
    curves: dict[float, list[Point]]
    fan: list[Interval]
    plan: Interval | None
    came: Point | None


def _law(
    points: Mapping[float, Sequence[Point]],
    curves: Mapping[float, Sequence[Point]],
    repeats: Mapping[float, Sequence[Point]],
    band: Sequence[Interval],
    chosen: Interval | None,
    outcome: Point | None,
) -> _Law:
    def cleaned(rows: Iterable[tuple[float, ...]]) -> list[Any]:
        return sorted((math.log10(row[0]), *map(float, row[1:])) for row in rows if all(map(math.isfinite, row)) and row[0] > 0)

    solid, hollow, lines = ({n: cleaned(rows) for n, rows in given.items()} for given in (points, repeats, curves))
    sizes = sorted({n for given in (solid, hollow, lines) for n, rows in given.items() if rows})
    plan, came = (cleaned([one] if one else []) for one in (chosen, outcome))
    return _Law(sizes, solid, hollow, lines, cleaned(band), plan[0] if plan else None, came[0] if came else None)


def _ranges(law: _Law) -> tuple[float, float, float, float] | None:
    """(x low, x high, y low, y high) with some room around; curves may run off the top and the foot. None: there is nothing to show."""
    measured = [p for rows in (*law.solid.values(), *law.hollow.values()) for p in rows]
    measured += [(x, y) for x, *ys in [*law.fan, *([law.plan] if law.plan else [])] for y in ys]
    measured += [law.came] if law.came else []
    measured = measured or [p for rows in law.curves.values() for p in rows]
    if not measured:
        return None
    xs, ys = zip(*measured, strict=True)
    x_span, y_span = max(xs) - min(xs), max(ys) - min(ys)
    x_pad = max(0.04 * x_span, (0.4 - x_span) / 2)  # 0.4 decades hold a 1, a 2 or a 5
    y_pad = max(0.06 * y_span, 0.005 * max(map(abs, ys))) or 1.0  # differences in the fourth digit are not made to look large
    return min(xs) - x_pad, max(xs) + x_pad, min(ys) - y_pad, max(ys) + y_pad


def _law_keys(law: _Law, inks: Sequence[Ink], chosen_label: str, outcome_label: str) -> list[list[Key]]:
    """Rows of the legend: the sizes, then everything else."""
    sizes: list[Key] = [(_dot(i, inks[i]), units.count(n)) for i, n in enumerate(law.sizes)]
    others: list[Key] = [(_ring(None), "on repeated data")] if any(law.hollow.values()) else []
    others += [(_patch, f"{units.percent(NOMINAL)} interval")] if law.fan else []
    others += [(_upright, f"{chosen_label} {_expected(law.plan)}")] if law.plan else []
    others += [(_diamond(len(law.sizes)), f"{outcome_label} {law.came[1]:.{_decimals(law)}f}")] if law.came else []
    return [[(None, "parameters"), *sizes] if sizes else [], others]


def _law_marks(clip: str, frame: Frame, law: _Law, inks: Sequence[Ink]) -> list[str]:
    """The fan, the curves, the points, the plan and its outcome, the later ones over the earlier."""
    parts = [
        f'<clipPath id="{clip}"><rect x="{frame.left:.1f}" y="{frame.top:.1f}" width="{frame.right - frame.left:.1f}" '
        f'height="{frame.bottom - frame.top:.1f}"/></clipPath><g clip-path="url(#{clip})" fill="none">'
    ]
    if law.fan:
        edge = [(x, high) for x, _, _, high in law.fan] + [(x, low) for x, low, _, _ in reversed(law.fan)]
        parts.append(f'<polygon points="{_path(frame, edge)}" fill="currentColor" fill-opacity="0.13"/>')
        middle = _path(frame, [(x, p50) for x, _, p50, _ in law.fan])
        parts.append(f'<polyline points="{middle}" stroke="currentColor" stroke-opacity="0.6" stroke-dasharray="4 3"/>')
    for i, n in enumerate(law.sizes):
        if law.curves.get(n):
            parts.append(f'<polyline class="ink{i}" points="{_path(frame, law.curves[n])}" stroke="{inks[i][0]}" stroke-width="1.4"/>')
    parts.append("</g>")
    for i, n in enumerate(law.sizes):
        parts += [_dot(i, inks[i])(frame.x(x), frame.y(y)) for x, y in law.solid.get(n, ())]
        parts += [_ring((i, inks[i]))(frame.x(x), frame.y(y)) for x, y in law.hollow.get(n, ())]
    if law.plan:
        x, p10, p50, p90 = law.plan
        parts.append(_interval(frame.x(x), frame.y(p10), frame.y(p50), frame.y(p90)))
    if law.came:
        parts.append(_diamond(len(law.sizes))(frame.x(law.came[0]), frame.y(law.came[1])))
    return parts


def _law_words(law: _Law, x_label: str, y_label: str, chosen_label: str, outcome_label: str) -> str:
    """What the picture shows, for those who hear the page."""
    parts = [f"{y_label} over {x_label}"]
    for n in law.sizes:
        rows = sorted([*law.solid.get(n, ()), *law.hollow.get(n, ())])
        again = f", {len(law.hollow[n])} of them on repeated data" if law.hollow.get(n) else ""
        seen = f", {rows[0][1]:.2f} at the least {x_label}, {rows[-1][1]:.2f} at the most" if rows else ""
        parts.append(f"{units.count(n)} parameters: {len(rows)} point{'s' if len(rows) != 1 else ''}{again}{seen}")
    if law.plan:
        parts.append(f"{chosen_label} {_expected(law.plan)} at {10 ** law.plan[0]:.2g}")
    if law.came:
        inside = law.plan and law.plan[1] <= law.came[1] <= law.plan[3]
        place = "" if not law.plan else ", inside" if inside else ", outside"
        parts.append(f"{outcome_label} {law.came[1]:.{_decimals(law)}f}{place}")
    return "; ".join(parts) + "."


def _expected(plan: Interval) -> str:
    digits = _digits(plan)
    return f"{plan[2]:.{digits}f} ({plan[1]:.{digits}f} to {plan[3]:.{digits}f})"


def _digits(plan: Interval) -> int:
    """Decimals: two, and more where two would not tell the ends of the interval apart."""
    return min(6, max(2, 1 - math.floor(math.log10(plan[3] - plan[1])))) if plan[3] - plan[1] > 0 else 2


def _decimals(law: _Law) -> int:
    return _digits(law.plan) if law.plan else 2


def decades(low: float, high: float, gap: float) -> dict[float, str]:
    """Ticks of a logarithmic axis from 10**low to 10**high, where -> label: powers of ten; 2 and 5 times those too, where few lie inside.

    gap: the least distance between two labels, in decades. The other whole multiples are ticks without a label.

    >>> [label for label in decades(15.2, 16.8, 0.2).values() if label]
    ['2·10¹⁵', '5·10¹⁵', '10¹⁶', '2·10¹⁶', '5·10¹⁶']
    """
    every = [(m, p) for p in range(math.floor(low), math.ceil(high)) for m in range(1, 10)] + [(1, math.ceil(high))]
    where = {(m, p): p + math.log10(m) for m, p in every if low - 1e-9 <= p + math.log10(m) <= high + 1e-9}
    powers = [p for m, p in where if m == 1]
    if len(powers) >= 3:
        step = max(1, math.ceil(gap))
        named = {(1, p) for p in powers if p % step == 0}
    else:
        few = [[key for key in where if key[0] in kept] for kept in ((1, 2, 5), (1, 3), (1,), (2,), (5,))]
        apart = (keys for keys in few if keys and all(where[b] - where[a] >= gap for a, b in itertools.pairwise(keys)))
        named = set(next(apart, ()))
    marks = {place: _power(*key) if key in named else "" for key, place in where.items()}
    return marks if high - low <= 5 else {place: text for (place, text), key in zip(marks.items(), where, strict=True) if key[0] == 1}


def _power(m: int, p: int) -> str:
    if 0 <= p <= 3:
        return f"{m * 10**p:,}"
    exponent = f"10{str(p).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return exponent if m == 1 else f"{m}·{exponent}"


def _ramp(n: int) -> list[Ink]:
    """n colours from SIZES, the first for the smallest: the larger, the further from the paper in light and in dark."""
    inks = []
    for i in range(n):
        at = i / max(n - 1, 1) * (len(SIZES) - 1) if n > 1 else len(SIZES) - 1
        left = min(int(at), len(SIZES) - 2)
        light, dark = (_mixed(a, b, at - left) for a, b in zip(SIZES[left], SIZES[left + 1], strict=True))
        inks.append((light, dark))
    return inks


def _mixed(a: str, b: str, share: float) -> str:
    pairs = ((int(a[i : i + 2], 16), int(b[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in pairs)


# --- forecasts and outcomes -------------------------------------------------------------------------------------------------------------


def _place(forecast: Mapping[str, Any]) -> float:
    """Where the truth lay: 0 at p50, 1 at p90, -1 at p10."""
    p10, p50, p90, truth = (forecast[key] for key in ("p10", "p50", "p90", "outcome"))
    if truth == p50:
        return 0.0
    half = p90 - p50 if truth > p50 else p50 - p10
    return (truth - p50) / half if half > 0 else math.copysign(math.inf, truth - p50)


def _strip(score: Calibration, places: Sequence[float], top: float, width: int) -> list[str]:
    """A quantity's name and score, and below them its truths from left to right."""
    left, right = 10 + 6 * LETTER, width - 12.0
    base = top + 2 * ROW
    frame = Frame(0, len(places), -BEYOND - 0.3, BEYOND + 0.3, left, base, right, base + PANEL)
    step = min(44.0, (right - left) / len(places))
    gauge = 120.0
    parts = [
        f'<text x="2" y="{top + 12:.1f}" font-weight="600">{html.escape(_fit(_spoken(score), width - gauge - 24, 1.15))}</text>',
        *_gauge(score, width - gauge - 12, top + 8, gauge),
        f'<text x="2" y="{top + ROW + 10:.1f}" class="soft">{_share(score)}</text>',
        f'<rect x="{left:.1f}" y="{frame.y(1):.1f}" width="{right - left:.1f}" height="{frame.y(-1) - frame.y(1):.1f}" '
        'fill="currentColor" fill-opacity="0.13"/>',
        f'<path d="M{left:.1f} {frame.y(0):.1f}H{right:.1f}" stroke="currentColor" stroke-opacity="0.4" stroke-dasharray="4 3"/>',
    ]
    for value, text in ((1, "p90"), (0, "middle"), (-1, "p10")):
        parts.append(f'<text x="{left - 6:.1f}" y="{frame.y(value) + 4:.1f}" text-anchor="end" class="soft">{text}</text>')
    for i, place in enumerate(places):
        x, y = left + (i + 0.5) * step, frame.y(max(-BEYOND, min(BEYOND, place)))
        mark = _inside if abs(place) <= 1 else _outside if abs(place) <= BEYOND else _above if place > 0 else _below
        parts.append(mark(x, y))
    return parts


def _gauge(score: Calibration, x: float, y: float, length: float) -> list[str]:
    """The share inside on a line from none to all, with its interval and a notch at the share that is promised."""
    low, high, share = score.low or 0.0, score.high or 0.0, score.share or 0.0
    return [
        f'<path d="M{x:.1f} {y:.1f}h{length:.1f}" stroke="currentColor" stroke-opacity="0.3" stroke-width="2"/>',
        f'<path d="M{x + low * length:.1f} {y:.1f}h{(high - low) * length:.1f}" class="ink0" stroke="{TRUTH[0]}" stroke-width="6" '
        'stroke-opacity="0.45"/>',
        _notch(x + NOMINAL * length, y),
        _inside(x + share * length, y),
    ]


def _spoken(score: Calibration) -> str:
    return score.quantity.replace("_", " ")


def _share(score: Calibration) -> str:
    """ "17 of 20 inside: 85% (95% interval 62% to 97%)", and how many are still to come."""
    low, high, share = (units.percent(x or 0.0) for x in (score.low, score.high, score.share))
    return f"{score.inside} of {score.known} inside: {share} ({units.percent(SURE)} interval {low} to {high})"


def _fit(text: str, px: float, wide: float = 1.0) -> str:
    """The text, cut to so many px; wide: how much wider than usual its letters are."""
    most = int(px / (LETTER * wide))
    return text if len(text) <= most else text[: max(most - 1, 1)] + "…"


# --- marks and words --------------------------------------------------------------------------------------------------------------------


def _legend(groups: Sequence[Sequence[Key]], top: float, width: int) -> tuple[list[str], float]:
    """(each mark beside its words, the y below them): a group begins a row and goes on to the next where the row is full."""
    parts, y = [], top
    for group in groups:
        x = 2.0
        for i, (mark, text) in enumerate(group):
            text = _fit(text, width - 22)
            size = (18 if mark else 0) + LETTER * len(text)
            if i == 0 or x + size > width:
                x, y = 2.0, y + ROW
            if mark:
                parts.append(mark(x + 6, y - 4))
            kind = "" if mark else ' class="soft"'
            parts.append(f'<text x="{x + (18 if mark else 0):.1f}" y="{y:.1f}"{kind}>{html.escape(text)}</text>')
            x += size + 14
    return parts, y


def _path(frame: Frame, points: Iterable[Point]) -> str:
    return " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)


def _dot(index: int, ink: Ink) -> Callable[[float, float], str]:
    return lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.8" class="name{index}" fill="{ink[0]}"/>'


def _ring(of: tuple[int, Ink] | None) -> Callable[[float, float], str]:
    """A hollow point of a size's colour, or of the text's."""
    style = f'class="ink{of[0]}" stroke="{of[1][0]}"' if of else 'stroke="currentColor"'
    return lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="none" {style} stroke-width="1.7"/>'


def _diamond(index: int) -> Callable[[float, float], str]:
    return lambda x, y: f'<path d="M{x:.1f} {y - 6.5:.1f}l5.5 6.5l-5.5 6.5l-5.5 -6.5z" class="name{index}" fill="{TRUTH[0]}"/>'


def _patch(x: float, y: float) -> str:
    return f'<rect x="{x - 6:.1f}" y="{y - 5:.1f}" width="12" height="10" fill="currentColor" fill-opacity="0.13"/>'


def _upright(x: float, y: float) -> str:
    return _interval(x, y + 6, y, y - 6, 0.5)


def _interval(x: float, low: float, middle: float, high: float, scale: float = 1.0) -> str:
    """An upright bar from low to high (px) with its ends and a wider, thicker mark at the middle."""
    end, mark = 6 * scale, 13 * scale
    return (
        f'<path d="M{x - end:.1f} {low:.1f}h{2 * end:.1f}M{x - end:.1f} {high:.1f}h{2 * end:.1f}M{x:.1f} {low:.1f}V{high:.1f}" '
        f'stroke="currentColor" stroke-width="{1.8 * scale:.1f}" fill="none"/>'
        f'<path d="M{x - mark:.1f} {middle:.1f}h{2 * mark:.1f}" stroke="currentColor" stroke-width="{3.2 * scale:.1f}"/>'
    )


def _notch(x: float, y: float) -> str:
    return f'<path d="M{x:.1f} {y - 6:.1f}v12" stroke="currentColor" stroke-width="2"/>'


def _inside(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" class="name0" fill="{TRUTH[0]}"/>'


def _outside(x: float, y: float) -> str:
    return f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" class="ink1" stroke="{MISS[0]}" stroke-width="2.2"/>'


def _above(x: float, y: float) -> str:
    return f'<path d="M{x - 5:.1f} {y + 4:.1f}l5 -9l5 9z" class="name1" fill="{MISS[0]}"/>'


def _below(x: float, y: float) -> str:
    return f'<path d="M{x - 5:.1f} {y - 4:.1f}l5 9l5 -9z" class="name1" fill="{MISS[0]}"/>'
