"""Loss curves as one small SVG: for a run folder, where it stands alone, and for a page, where it is put in as it is.

No plotting package: two curves, two axes and a mark or two are a few hundred characters of text. The picture follows the reader's light or
dark setting by CSS; a program that knows no CSS still gets plain colours from the attributes. lawplot.py draws on the same paper.
"""

from __future__ import annotations

import dataclasses
import hashlib
import html
import itertools
import math
from collections.abc import Mapping, Sequence

Point = tuple[float, float]

Ink = tuple[str, str]  # a colour in light, in dark
INKS: tuple[Ink, ...] = (("#2f66b0", "#86b4f2"), ("#b8501a", "#f2a06a"), ("#3b7d4f", "#86cf9d"), ("#7b4fa3", "#c7a0ea"))  # one a curve
LETTER = 6.6  # px: the mean advance of a 12 px sans-serif letter, a little high so that labels never touch
EARLY = 0.05  # share of the x range that may run off the top: the first steps are several times higher than all that follows


def loss_svg(
    curves: Mapping[str, Sequence[Point]],
    *,
    x_label: str = "step",
    y_label: str = "bits per byte",
    width: int = 640,
    height: int = 280,
    marks: Mapping[str, float] | None = None,
    title: str = "Loss",
) -> str:
    """An `<svg>` of each curve over the same axes, labelled at its end; no curve and no number is a picture that says so.

    curves: name -> (x, y) points in any order; points that are not finite numbers are gaps in the line.
    marks: label -> x, a dashed upright line with its label above ("best weights": 1200).
    width, height: px, and the viewBox; the picture shrinks with its container and never grows past `width`.
    The same arguments give the same text.
    """
    runs = {name: _runs(points) for name, points in curves.items()}
    runs = {name: parts for name, parts in runs.items() if parts}
    known = {label: float(x) for label, x in (marks or {}).items() if math.isfinite(x)}
    words = _description(runs, known, x_label, y_label)
    name = name_of(runs, known, x_label, y_label, width, height, title)
    body = _drawing(f"{name}-c", runs, known, x_label, y_label, width, height) if runs else nothing("nothing measured yet", width, height)
    return picture(name, body, words, title, width, height)


def name_of(*what: object) -> str:
    """A name for the picture of these arguments: ids and style rules of two pictures must not meet on one page."""
    return "p" + hashlib.sha256(repr(what).encode()).hexdigest()[:8]


def picture(name: str, body: str, words: str, title: str, width: int, height: int, inks: Sequence[Ink] = INKS) -> str:
    """The `<svg>` around a drawing: its size, title and description for those who cannot see it, and colours for light and dark.

    Inside, class "ink3" is a line in the fourth of `inks`, "name3" a text or mark filled with it, "soft" a quiet text, "rim" one with a rim
    in the paper's colour.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot {name}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-t {name}-d" style="width:100%;max-width:{width}px;height:auto" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="currentColor">\n<title id="{name}-t">{html.escape(title)}</title>\n'
        f'<desc id="{name}-d">{html.escape(words)}</desc>\n'
        f"<style>{_style(name, inks)}</style>\n{body}\n</svg>\n"
    )


def nothing(says: str, width: int, height: int) -> str:
    """The drawing where there is nothing to draw."""
    return f'<text x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle">{html.escape(says)}</text>'


def round_ticks(low: float, high: float, about: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside [low, high], about as many as asked; [low] if the two are equal.

    >>> round_ticks(1.38, 2.13, 4)
    [1.4, 1.6, 1.8, 2.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5) if m * power >= rough * 0.999), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if first > last:  # 1 to 477 holds no multiple of 500
        return round_ticks(low, high, 2 * max(about, 1))
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]  # 12 digits: 3 * 0.1 is 0.3 again


@dataclasses.dataclass(frozen=True)
class Frame:
    """Data ranges and the px rectangle that shows them."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: float
    top: float
    right: float
    bottom: float

    def x(self, value: float) -> float:
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """The points by x, cut into stretches of finite ones; points without a finite x are left out."""
    runs: list[list[Point]] = [[]]
    for x, y in sorted((p for p in points if math.isfinite(p[0])), key=lambda p: p[0]):
        if math.isfinite(y):
            runs[-1].append((float(x), float(y)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _drawing(
    clip: str, runs: dict[str, list[list[Point]]], marks: dict[str, float], x_label: str, y_label: str, width: int, height: int
) -> str:
    labels = {name: f"{name} {parts[-1][-1][1]:.2f}" for name, parts in runs.items()}
    x_low, x_high, y_low, y_high = _ranges(runs, marks)
    y_ticks = round_ticks(y_low, y_high, max(2, height // 45))
    left = 10 + LETTER * max(map(len, labelled(y_ticks).values()))
    right = max(left + 60, width - 14 - LETTER * max(map(len, labels.values())))
    rows, lifted = _mark_rows(marks, x_low, x_high, left, right, width)
    frame = Frame(x_low, x_high, y_low, y_high, left, 24 + 15 * rows, right, height - 36)
    x_ticks = round_ticks(x_low, x_high, max(2, int(right - left) // 90))
    parts = [
        f'<clipPath id="{clip}"><rect x="{frame.left:.1f}" y="{frame.top:.1f}" width="{frame.right - frame.left:.1f}" '
        f'height="{frame.bottom - frame.top:.1f}"/></clipPath>',
        *axes(frame, labelled(x_ticks), labelled(y_ticks), x_label, y_label),
        *_uprights(frame, marks, lifted),
        *(_curve(clip, frame, i, stretches) for i, stretches in enumerate(runs.values())),
        *_end_labels(frame, labels, {name: parts[-1][-1] for name, parts in runs.items()}),
    ]
    return "\n".join(parts)


def _ranges(runs: dict[str, list[list[Point]]], marks: dict[str, float]) -> tuple[float, float, float, float]:
    """(x low, x high, y low, y high), never empty; the first steps do not set the top (see EARLY)."""
    points = [p for parts in runs.values() for run in parts for p in run]
    first, last = min(points)[0], max(points)[0]
    x_low, x_high = min(first, *marks.values(), last), max(first, *marks.values(), last)
    y_low = min(y for _, y in points)
    y_high = max(y for x, y in points if x >= first + EARLY * (last - first))
    pad = 0.06 * (y_high - y_low) or 0.1 * abs(y_high) or 1.0
    x_pad = 0.0 if x_high > x_low else 0.5 * abs(x_low) or 1.0
    return x_low - x_pad, x_high + x_pad, y_low - pad, y_high + pad


def labelled(ticks: Sequence[float]) -> dict[float, str]:
    """Ticks with their labels, all with the decimals that the smallest step needs; from a million up, in millions."""
    step = min((b - a for a, b in itertools.pairwise(ticks)), default=abs(ticks[0]) or 1.0)
    scale, suffix = (1e6, " M") if max(map(abs, ticks)) >= 1e6 else (1.0, "")
    decimals = max(0, min(6, -math.floor(math.log10(step / scale) + 1e-9)))
    return {t: f"{t / scale:,.{decimals}f}{suffix if t else ''}" for t in ticks}


def axes(frame: Frame, x_ticks: Mapping[float, str], y_ticks: Mapping[float, str], x_label: str, y_label: str) -> list[str]:
    """Both axes with their ticks (where -> label; a tick without one is a short mark) and labels."""
    parts = [f'<text x="2" y="12" class="soft">{html.escape(y_label)}</text>']
    for value, text in y_ticks.items():
        y = frame.y(value)
        parts.append(f'<path d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}" stroke="currentColor" stroke-opacity="0.14"/>')
        parts.append(f'<text x="{frame.left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end" class="soft">{text}</text>')
    parts.append(f'<path d="M{frame.left:.1f} {frame.bottom:.1f}H{frame.right:.1f}" stroke="currentColor" stroke-opacity="0.5"/>')
    for value, text in x_ticks.items():
        x = frame.x(value)
        parts.append(f'<path d="M{x:.1f} {frame.bottom:.1f}v{4 if text else 2}" stroke="currentColor" stroke-opacity="0.5"/>')
        if text:
            parts.append(f'<text x="{x:.1f}" y="{frame.bottom + 16:.1f}" text-anchor="middle" class="soft">{text}</text>')
    middle = (frame.left + frame.right) / 2
    return [*parts, f'<text x="{middle:.1f}" y="{frame.bottom + 31:.1f}" text-anchor="middle" class="soft">{html.escape(x_label)}</text>']


def _curve(clip: str, frame: Frame, index: int, runs: list[list[Point]]) -> str:
    """One polyline a stretch; a stretch of one point, and every point of a sparse curve, is a dot."""
    columns = int(frame.right - frame.left)
    thin = [_thin(run, columns) for run in runs]
    sparse = sum(map(len, thin)) <= 40
    style = 'stroke-width="1.8"' if sparse else 'stroke-width="1.2" stroke-opacity="0.7"'  # a dense, noisy line must not hide the other
    parts = [f'<g clip-path="url(#{clip})" class="ink{index % len(INKS)}" stroke="{INKS[index % len(INKS)][0]}" fill="none">']
    for run in thin:
        where = [(f"{frame.x(x):.1f}", f"{frame.y(y):.1f}") for x, y in run]
        if len(where) > 1:
            points = " ".join(f"{x},{y}" for x, y in where)
            parts.append(f'<polyline points="{points}" {style} stroke-linejoin="round"/>')
        if sparse or len(where) == 1:
            parts += [f'<circle cx="{x}" cy="{y}" r="2.4" fill="currentColor" stroke="none"/>' for x, y in where]
    return "".join(parts) + "</g>"


def _thin(run: list[Point], columns: int) -> list[Point]:
    """At most the lowest and the highest point of each px column, so that thousands of steps stay a few kilobytes; the ends are kept."""
    if len(run) <= 2 * columns:
        return run
    low, span = run[0][0], (run[-1][0] - run[0][0]) or 1.0
    kept: dict[int, list[Point]] = {}
    for point in run:
        column = kept.setdefault(int((point[0] - low) / span * (columns - 1)), [point, point])
        if point[1] < column[0][1]:
            column[0] = point
        if point[1] > column[1][1]:
            column[1] = point
    inner = [p for pair in kept.values() for p in sorted(set(pair))]
    return [run[0], *(p for p in inner if p not in (run[0], run[-1])), run[-1]]


def _end_labels(frame: Frame, labels: dict[str, str], ends: dict[str, Point]) -> list[str]:
    """Each curve's name and last value beside its end, pushed apart where two ends are closer than a line of text."""
    order = sorted(labels, key=lambda name: frame.y(ends[name][1]))
    heights: list[float] = []
    for name in order:
        wanted = min(max(frame.y(ends[name][1]), frame.top), frame.bottom)
        heights.append(max(wanted, heights[-1] + 15) if heights else wanted)
    over = max(0.0, heights[-1] - frame.bottom)  # the lowest would leave the picture: all move up together
    index = {name: i % len(INKS) for i, name in enumerate(labels)}
    return [
        f'<text x="{frame.right + 6:.1f}" y="{y - over + 4:.1f}" class="name{index[name]}" font-weight="600" '
        f'fill="{INKS[index[name]][0]}">{html.escape(labels[name])}</text>'
        for name, y in zip(order, heights, strict=True)
    ]


def _mark_rows(
    marks: dict[str, float], x_low: float, x_high: float, left: float, right: float, width: int
) -> tuple[int, dict[str, tuple[int, str]]]:
    """(rows of labels above the plot, label -> (its row, its text-anchor)): a label goes to the first row where it touches no other."""
    taken: list[list[tuple[float, float]]] = []
    placed: dict[str, tuple[int, str]] = {}
    for label, value in sorted(marks.items(), key=lambda m: m[1]):
        x = left + (value - x_low) / (x_high - x_low) * (right - left)
        size = LETTER * len(label)
        anchor = "start" if x + size < width else "end"
        begin = x if anchor == "start" else x - size
        row = next((i for i, spans in enumerate(taken) if all(begin > b + 8 or begin + size < a - 8 for a, b in spans)), len(taken))
        if row == len(taken):
            taken.append([])
        taken[row].append((begin, begin + size))
        placed[label] = (row, anchor)
    return len(taken), placed


def _uprights(frame: Frame, marks: dict[str, float], placed: dict[str, tuple[int, str]]) -> list[str]:
    """The dashed lines, then their labels over all of them, each with a rim in the paper's colour."""
    lines, labels = [], []
    for label, value in marks.items():
        row, anchor = placed[label]
        x, y = frame.x(value), 28 + 15 * row
        lines.append(
            f'<path d="M{x:.1f} {y - 9:.1f}V{frame.bottom:.1f}" stroke="currentColor" stroke-opacity="0.6" stroke-dasharray="3 3"/>'
        )
        left = x + (4 if anchor == "start" else -4)
        labels.append(f'<text x="{left:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="rim">{html.escape(label)}</text>')
    return lines + labels


def _description(runs: dict[str, list[list[Point]]], marks: dict[str, float], x_label: str, y_label: str) -> str:
    """What the picture shows, in words: for those who hear the page, and for a search in the file."""
    parts = [f"{y_label} over {x_label}"] if runs else ["Nothing measured yet"]
    for name, stretches in runs.items():
        points = [p for run in stretches for p in run]
        low = min(points, key=lambda p: p[1])
        parts.append(f"{name}: {len(points):,} points, {points[0][1]:.2f} at first")
        parts[-1] += f", lowest {low[1]:.2f} at {_plain(low[0])}, last {points[-1][1]:.2f}"
    parts += [f"{label} at {_plain(x)}" for label, x in marks.items()]
    return "; ".join(parts) + "."


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _style(name: str, inks: Sequence[Ink]) -> str:
    """Colours for light and dark, kept to this one picture by its class; a page may set --plot-ink and --plot-paper for all."""
    rules = [f".{name}{{color:var(--plot-ink,#23211d);color-scheme:light dark}}.{name} .soft{{opacity:.72}}"]
    rules.append(f".{name} .rim{{paint-order:stroke;stroke:var(--plot-paper,Canvas);stroke-width:4px;stroke-linejoin:round}}")
    light = "".join(f".{name} .ink{i}{{stroke:{a};color:{a}}}.{name} .name{i}{{fill:{a}}}" for i, (a, _) in enumerate(inks))
    dark = "".join(f".{name} .ink{i}{{stroke:{b};color:{b}}}.{name} .name{i}{{fill:{b}}}" for i, (_, b) in enumerate(inks))
    rules.append(light + f"@media (prefers-color-scheme:dark){{.{name}{{color:var(--plot-ink,#eae6dd)}}{dark}}}")
    return "".join(rules)
