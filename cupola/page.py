"""out/index.html: what a run made, what each piece cost, and how it was made. It opens from disk and asks the network for nothing.

One file with its style and its few lines of script inside; pictures and sounds are files beside it, linked by relative names. The page
never learns which medium it shows: a picture becomes a picture, a sound a player, and everything else its notation. Every text from
outside goes through the template's escaping.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import html
import json
import math
import os
import re
import struct
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from cupola import units
from cupola.errors import MachineError
from cupola.plot import Point, loss_svg

if TYPE_CHECKING:  # for the annotations only: the page needs neither the ledger's database nor a medium's packages
    from cupola.ledger import Artefact
    from cupola.media import Medium

PICTURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")
SOUNDS = (".wav", ".ogg", ".mp3", ".flac", ".opus")
TEXTS = (".abc", ".txt", ".py", ".md")  # a medium's own text file, which people copy
SMALL = 160  # px: a picture below this width is pixel art and is shown larger, in whole steps
MOST_LINES = 1000  # of the ledger on one page; a project of many runs has more
MOST_REJECTED = 300
MOST_TEXT = 20_000  # bytes of a file that are shown on the page
COLUMNS = ("seq", "at", "what", "kind", "seconds", "joules", "usd")  # of the ledger's table


@dataclasses.dataclass(frozen=True)
class Row:
    """One quantity as planned and as it came, both ready to read: Row("cost", "$0.0040", "$0.0041")."""

    what: str
    planned: str
    came: str


@dataclasses.dataclass(frozen=True)
class Score:
    """Bits per byte on the held-out pieces of one way to predict them; low and high are the 95% interval where there is one."""

    name: str
    bits: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Origin:
    """One source of the corpus: what it is called, its licence as stated, how many documents of it were kept, whom to thank."""

    source: str
    licence: str
    kept: str = ""
    credit: str = ""


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """How far real held-out documents lie from their nearest training document: 10th percentile, median, 90th; below `copy` is a copy."""

    low: float
    middle: float
    high: float
    copy: float


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the page says beside the pieces themselves. Empty leaves that part of the page out; the strings are ready to read."""

    name: str  # the project's
    corpus: str  # one line: "3,911 tunes of 4,248 kept · 1.4 MB · 391 held out, by tune"
    made: str = ""  # one line: "12 tunes from 48 candidates: 97% valid, 2% copies thrown away"
    figures: Mapping[str, str] = dataclasses.field(default_factory=dict)  # the few numbers in the first lines; "value|small print"
    rows: Sequence[Row] = ()
    scores: Sequence[Score] = ()  # ours first
    proof: str = ""  # "GGUF and Transformers agree on 64 of 64 greedy tokens"
    cost: str = ""  # one line: "$0.0041 in all: corpus 3%, training 92%, candidates 5%"
    curves: Mapping[str, Sequence[Point]] = dataclasses.field(default_factory=dict)
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    x_label: str = "step"
    plan: Sequence[str] = ()  # the forecast as SVG, wide and narrow: lawplot.law_svg
    curve_note: str = ""  # "stopped early at step 1,080: the watch loss had risen for three looks"
    yardstick: Yardstick | None = None
    origins: Sequence[Origin] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lines: Sequence[Mapping[str, Any]] = ()  # ledger lines, oldest first
    together: Sequence[str] = ()  # the files of all kept pieces as one set, names relative to `out`: a picture is shown, the rest linked
    notes: Sequence[str] = ()  # what a reader must know first: "9 of the 12 asked for", "does not beat the n-gram"


def write_page(out: Path, facts: Facts, artefacts: Iterable[Artefact], medium: Medium) -> Path:
    """`out/index.html`; returns its path. The same arguments and files give the same bytes.

    artefacts: kept ones are shown in the order given, those with `kept` False go to the drawer with their reason; others are left out.
    Their `files` are names relative to `out`, or absolute paths. A file that is not there is named as missing on its piece.
    Raises MachineError where the folder cannot be written; an older page is then still whole.
    """
    every = list(artefacts)
    kept = [_piece(a, medium, out, facts) for a in every if a.kept]
    rejected = [a for a in every if a.kept is False]
    lines = list(facts.lines)[-MOST_LINES:]
    text = _template().render(
        facts=facts,
        figures=[{"name": k, "value": v.partition("|")[0], "note": v.partition("|")[2]} for k, v in facts.figures.items()],
        kept=kept,
        together=_together(facts, out),
        playable=any(piece["sounds"] for piece in kept),
        bars=_bars(facts.scores),
        loss_wide=Markup(_loss(facts, 1000, 300)),
        loss_narrow=Markup(_loss(facts, 340, 240)),
        plan=[Markup(svg) for svg in facts.plan],
        rejected=[_said(a, facts) for a in rejected[:MOST_REJECTED]],
        rejected_count=len(rejected),
        reasons=collections.Counter((a.why or "no reason given").partition(": ")[0] for a in rejected).most_common(),
        columns=[*COLUMNS, "more"],
        lines=[_cells(line) for line in lines],
        earlier=len(facts.lines) - len(lines),
    )
    return _save(out / "index.html", text)


@functools.cache
def _template() -> jinja2.Template:
    """The page with its style and script in it; both are ours and go in as they are, all else is escaped."""
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (Markup((here / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html", globals={"css": style, "js": script})


def _save(path: Path, text: str) -> Path:
    temporary = path.with_suffix(".html.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text.encode("utf-8", "replace"))  # a lone surrogate in a notation must not lose the page
        os.replace(temporary, path)
    except OSError as e:
        raise MachineError(f"the page cannot be written: {e.strerror}", str(path), "free the disk or make the folder writable") from e
    return path


# --- one piece ----------------------------------------------------------------------------------------------------------------------


def _piece(artefact: Artefact, medium: Medium, out: Path, facts: Facts) -> dict[str, Any]:
    """What the template needs of a kept artefact."""
    title = medium.title(artefact.text) or "untitled"
    paths = [out / name for name in artefact.files]  # an absolute name stays as it is
    there = [path for path in paths if path.is_file()]
    ours = facts.scores[0].bits if facts.scores else None
    return {
        **_said(artefact, facts),
        "title": title,
        "own": _own_text([path for path in there if path.suffix.lower() in TEXTS][:1], artefact.text),
        "pictures": [_picture(path, out, title) for path in there if path.suffix.lower() in PICTURES][:1],  # the same thing in other forms
        "sounds": [{"href": _href(path, out)} for path in there if path.suffix.lower() in SOUNDS][:1],
        "links": [{"href": _href(path, out), "name": _ending(path)} for path in there],
        "missing": [path.name for path in paths if path not in there],
        "bits_real": f"{ours:.2f}" if ours is not None else "",
        "prompt": artefact.prompt,
        "pins": [(str(name), str(value)) for name, value in artefact.pins.items() if value is not None and name != "prompt"],
        "cost": f"{units.usd(artefact.usd)} · {units.seconds(artefact.seconds)} · {artefact.joules:,.2g} J",
        "seed": artefact.seed,
        "real": _real(facts.yardstick),
        "strip": _strip(artefact.distance, facts.yardstick),
    }


def _said(artefact: Artefact, facts: Facts) -> dict[str, Any]:
    """What is said of kept and rejected artefacts alike."""
    bits = artefact.logprob_per_byte
    return {
        "text": artefact.text,
        "why": artefact.why or "no reason given",
        "problems": list(artefact.problems)[:5],
        "bits": f"{-bits / math.log(2):.2f}" if bits is not None else "",
        "nearest": f"“{artefact.nearest_name or artefact.nearest_path}”" if artefact.distance is not None else "",
        "distance": f"{artefact.distance:.2f}" if artefact.distance is not None else "",
    }


def _own_text(first: Sequence[Path], notation: str) -> dict[str, str] | None:
    """The medium's own text file (a tune's ABC), where it is one and is not the notation itself: that is what people copy."""
    if not first or first[0].stat().st_size > MOST_TEXT:
        return None
    data = first[0].read_bytes()
    try:
        text = "" if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return (
        {"name": first[0].suffix.removeprefix(".").upper() or "Text", "text": text} if text.strip() not in ("", notation.strip()) else None
    )


def _ending(path: Path) -> str:
    """What tells this file from the others of a piece: ".png", "-sheet.json"."""
    found = re.search(r"(?:-[a-z]+)?\.[A-Za-z0-9]+$", path.name)
    return found[0].lower() if found else path.name


def _together(facts: Facts, out: Path) -> dict[str, Any]:
    """The set of all kept pieces: its picture if it has one, and its files."""
    there = [out / name for name in facts.together if (out / name).is_file()]
    pictures = [_picture(path, out, f"all pieces of {facts.name}") for path in there if path.suffix.lower() in PICTURES][:1]
    return {"pictures": pictures, "links": [{"href": _href(path, out), "name": path.name} for path in there]}


def _real(yardstick: Yardstick | None) -> str:
    return "" if yardstick is None else f"real ones: {yardstick.middle:.2f}, most from {yardstick.low:.2f} to {yardstick.high:.2f}"


def _strip(distance: float | None, yardstick: Yardstick | None) -> Markup:
    """A line from 0 (the same) to 1 (nothing shared): the copies' end, where real documents lie, and this piece."""
    if distance is None or yardstick is None:
        return Markup("")
    words = (
        f"On a line from 0, the same, to 1, nothing shared: this piece at {distance:.2f}, "
        f"real ones from {yardstick.low:.2f} to {yardstick.high:.2f}, copies below {yardstick.copy:.2f}"
    )
    boxes = [("track", 0, 100, 6, 2), ("copy", 0, 100 * yardstick.copy, 5, 4)]
    boxes += [("real", 100 * yardstick.low, 100 * (yardstick.high - yardstick.low), 4, 6), ("here", 100 * distance - 0.7, 1.4, 0, 14)]
    drawn = "".join(f'<rect class="{c}" x="{x:.2f}" width="{max(w, 0):.2f}" y="{y}" height="{h}"/>' for c, x, w, y, h in boxes)
    return Markup(
        f'<svg class="strip" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label="{html.escape(words)}">'
        f"<title>{html.escape(words)}</title>{drawn}</svg>"
    )


def _href(path: Path, out: Path) -> str:
    """A relative address for a file, every character that means something in one escaped; the same on every system."""
    relative = Path(os.path.relpath(path, out)).as_posix()
    return urllib.parse.quote(os.fsencode(relative), safe="/")


def _picture(path: Path, out: Path, title: str) -> dict[str, Any]:
    width, height = _picture_size(path) or (0, 0)
    raster = path.suffix.lower() != ".svg" and width > 0  # shown in its own pixels; small ones larger, in whole steps
    times = max(1, 2 * SMALL // width) if raster and width < SMALL else 1
    return {"href": _href(path, out), "alt": title, "width": width * times, "height": height * times, "pixels": raster}


def _picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) in px as an SVG, PNG or GIF states it, or None; known sizes keep the page from jumping while it loads."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        return struct.unpack(">II", head[16:24])
    if head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        return struct.unpack("<HH", head[6:10])
    tag = re.search(rb"<svg\b[^>]*>", head)
    sides = [re.search(rb"\b%s\s*=\s*[\"']([0-9.]+)(?:px)?[\"']" % name, tag[0]) for name in (b"width", b"height")] if tag else [None]
    if all(sides):
        width, height = (round(float(side[1])) for side in sides if side)
        return (width, height) if width > 0 and height > 0 else None
    return None


# --- the numbers --------------------------------------------------------------------------------------------------------------------


def _bars(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """A row a score: its name, a bar on the scale of the longest, its value; the words carry all that the bar shows."""
    finite = [score for score in scores if math.isfinite(score.bits)]
    longest = max((score.high or score.bits for score in finite), default=1.0) or 1.0
    return [
        {
            "name": score.name,
            "value": f"{score.bits:.2f}",
            "interval": f"{score.low:.2f} to {score.high:.2f}" if score.low is not None and score.high is not None else "",
            "svg": _bar(score, longest),
        }
        for score in finite
    ]


def _bar(score: Score, longest: float) -> Markup:
    drawn = f'<rect class="fill" x="0" y="3" width="{100 * score.bits / longest:.2f}" height="12" rx="0.6"/>'
    if score.low is not None and score.high is not None:
        low, high = 100 * score.low / longest, 100 * score.high / longest
        drawn += f'<rect class="whisker" x="{low:.2f}" y="8" width="{max(high - low, 0.3):.2f}" height="2"/>'
        drawn += "".join(f'<rect class="whisker" x="{x - 0.15:.2f}" y="5" width="0.3" height="8"/>' for x in (low, high))
    return Markup(f'<svg class="bar" viewBox="0 0 100 18" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>')


def _loss(facts: Facts, width: int, height: int) -> str:
    return loss_svg(facts.curves, x_label=facts.x_label, width=width, height=height, marks=facts.marks, title=f"How {facts.name} learnt")


def _cells(line: Mapping[str, Any]) -> list[str]:
    """A ledger line as table cells: what most lines have, then all else in one. A piece's text is left out: it stands on its card."""
    more = {key: value for key, value in line.items() if key not in (*COLUMNS, "id", "run", "text")} | {"run": line.get("run")}
    more = {key: value for key, value in more.items() if value not in (None, "", {}, [])}
    return [*(_cell(line.get(column)) for column in COLUMNS), ", ".join(f"{key} {_cell(value)}" for key, value in more.items())]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)
