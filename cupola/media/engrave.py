"""Score -> a printed page: MEI, which verovio draws as SVG.

Not ABC, because the ABC reader of verovio 6.4 leaves out the brackets of endings and crashes on one tune in four of old books. Beams are
made from the metre, long lengths split into tied notes; a key or metre that changes is printed where it does.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

from cupola.errors import MachineError
from cupola.media.score import WHOLE, Bar, Key, Note, Pitch, Score, beat_ends, sections

_ACCIDENTALS = {-2: "ff", -1: "f", 0: "n", 1: "s", 2: "x"}
_LENGTHS = sorted(
    ((WHOLE // 2**i * (2 ** (dots + 1) - 1) // 2**dots, 2**i, dots) for i in range(9) for dots in range(3) if i + dots < 9), reverse=True
)
OPTIONS = {
    "inputFrom": "mei",
    "pageWidth": 2100,
    "pageHeight": 60000,  # one page, cut to what is on it
    "adjustPageHeight": True,
    "breaks": "auto",
    "footer": "none",
    "header": "auto",
    "scale": 40,
    "svgViewBox": True,
    "svgHtml5": False,
    "xmlIdSeed": 1,
    "spacingNonLinear": 0.55,
    "justifyVertically": False,
}


class _Engraver:
    """Writes the measures of one score, in order."""

    def __init__(self, score: Score):
        self.score, self.key, self.metre = score, score.key, score.metre
        self.count = 0  # of notes: their ids
        self.tied: tuple[Pitch, ...] = ()

    def measure(self, number: int, bar: Bar, upbeat: bool, opens: bool) -> str:
        """Measure `number`, from 1; upbeat: if it is short, it lacks its beginning; opens: a repeat begins here."""
        change = ""
        if bar.metre or bar.key:
            self.metre, self.key = bar.metre or self.metre, bar.key or self.key
            change = f"<scoreDef{_signature(bar.key) if bar.key else ''}{_metre(bar.metre)}/>"
        self.signs: dict[int, int] = {}
        self.marks: list[str] = []
        right = {":|": "rptend", "||": "end" if number == len(self.score.bars) else "dbl", "|": "single"}[bar.close]
        left = ' left="rptstart"' if opens else ""
        layer = self._layer(bar, upbeat)
        if number == 1 and self.score.tempo:
            self.marks.append(_tempo(self.score.tempo))
        marks = "".join(self.marks)
        return f'{change}<measure n="{number}"{left} right="{right}"><staff n="1"><layer n="1">{layer}</layer></staff>{marks}</measure>'

    def _layer(self, bar: Bar, upbeat: bool) -> str:
        """The notes, in tuplets and beams: a beam ends with its beat, and with a note or rest that cannot be in one."""
        out, group, left = [], [], 0  # group: elements that a beam may join
        for note, ends in zip(bar.notes, beat_ends(bar, self.metre, upbeat), strict=True):
            if note.tuplet:
                out, group = [*out, _beam(group)], []
                p, q, left = note.tuplet
                out.append(f'<tuplet num="{p}" numbase="{q}">')
            left -= 1
            if note.length < WHOLE // 4 and note.pitches:
                group += self._pieces(note)
            else:
                out, group = [*out, _beam(group), *self._pieces(note)], []
            if left == 0 or (left < 0 and ends):
                out, group = [*out, _beam(group)], []
            if left == 0:
                out.append("</tuplet>")
        return "".join([*out, _beam(group)])

    def _pieces(self, note: Note) -> list[str]:
        """The note as one element, or as several tied ones where no single sign has its length; grace notes before it."""
        out = []
        for pitch in note.graces:
            out.append(f'<note grace="unacc" dur="8" stem.dir="up"{self._pitch(pitch)}/>')
        parts = _split(note.length)
        for i, (dur, dots) in enumerate(parts):
            self.count += 1
            ident = f"n{self.count}"
            size = f'dur="{dur}"' + (f' dots="{dots}"' if dots else "")
            last = i == len(parts) - 1
            if not note.pitches:
                out.append(f'<rest xml:id="{ident}" {size}/>')
                continue
            notes = []
            for pitch in note.pitches:
                ends = i > 0 or pitch in self.tied
                begins = not last or note.tie
                tie = {(False, False): "", (False, True): ' tie="i"', (True, True): ' tie="m"', (True, False): ' tie="t"'}[ends, begins]
                notes.append(f"{tie}{self._pitch(pitch)}")
            if len(notes) == 1:
                out.append(f'<note xml:id="{ident}" {size}{notes[0]}/>')
            else:
                out.append(f'<chord xml:id="{ident}" {size}>' + "".join(f"<note{n}/>" for n in notes) + "</chord>")
            if i == 0 and note.ornament:
                self.marks.append(f'<{"trill" if note.ornament == "T" else "turn"} startid="#{ident}" place="above"/>')
        self.tied = note.pitches if note.tie else ()
        return out

    def _pitch(self, pitch: Pitch) -> str:
        step, alter = pitch
        sign = ""
        if alter != self.signs.get(step, self.key.alters[step % 7]):
            self.signs[step] = alter
            sign = f' accid="{_ACCIDENTALS[alter]}"'
        elif alter:
            sign = f' accid.ges="{_ACCIDENTALS[alter]}"'
        return f' pname="{"cdefgab"[step % 7]}" oct="{4 + step // 7}"{sign}'


def _beam(elements: list[str]) -> str:
    """The elements under one beam where it joins at least two; grace notes before the first stay outside."""
    first = next((i for i, element in enumerate(elements) if not _is_grace(element)), len(elements))
    joined = "".join(elements[first:])
    if sum(not _is_grace(element) for element in elements) > 1:
        joined = f"<beam>{joined}</beam>"
    return "".join(elements[:first]) + joined


def _is_grace(element: str) -> bool:
    return element.startswith("<note grace=")


def _split(ticks: int) -> list[tuple[int, int]]:
    """A length as (1 / part of a whole note, dots), longest first: 5 eighths are a half and an eighth."""
    out = []
    while ticks:
        size, dur, dots = next(entry for entry in _LENGTHS if entry[0] <= ticks)
        out.append((dur, dots))
        ticks -= size
    return out


def _signature(key: Key) -> str:
    fifths = key.fifths
    return f' keysig="{abs(fifths)}{"s" if fifths > 0 else "f" if fifths else ""}"'


def _metre(metre: str) -> str:
    if metre in ("", "none"):
        return ""
    if metre in ("C", "C|"):
        count = 4 if metre == "C" else 2
        return f' meter.count="{count}" meter.unit="{count}" meter.sym="{"common" if metre == "C" else "cut"}"'
    count, unit = metre.split("/")
    return f' meter.count="{count}" meter.unit="{unit}"'


def _tempo(tempo: tuple[int, int, int]) -> str:
    beat, unit, per_minute = tempo
    quarters = per_minute * beat * 4 / unit
    return f'<tempo tstamp="1" midi.bpm="{quarters:g}" place="above">{beat}/{unit} = {per_minute}</tempo>'


def mei(score: Score, title: str = "") -> str:
    """The score as MEI 5, one staff with a treble clef."""
    engraver, body = _Engraver(score), []
    for first, last in sections(score):
        repeated = any(bar.close == ":|" for bar in score.bars[first : last + 1])
        ending = False
        for i in range(first, last + 1):
            bar = score.bars[i]
            if bar.ending:
                body.append(("</ending>" if ending else "") + f'<ending n="{bar.ending}" label="{bar.ending}.">')
                ending = True
            body.append(engraver.measure(i + 1, bar, i == first, opens=repeated and i == first and first > 0))
        body.append("</ending>" if ending else "")
    head = f"<titleStmt><title>{escape(_printable(title))}</title></titleStmt>"
    definition = (
        f"<scoreDef{_signature(score.key)}{_metre(score.metre)}><staffGrp>"
        '<staffDef n="1" lines="5" clef.shape="G" clef.line="2"/></staffGrp></scoreDef>'
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><meiHead><fileDesc>'
        f"{head}<pubStmt/></fileDesc></meiHead><music><body><mdiv><score>{definition}<section>{''.join(body)}</section></score></mdiv>"
        "</body></music></mei>"
    )


def _printable(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", " ", text)


def write_svg(score: Score, path: Path, title: str = "") -> Path:
    """The score as one SVG page, as tall as it needs to be. Raises MachineError without verovio, or where it cannot be written."""
    try:
        import verovio
    except ImportError:
        raise MachineError("verovio is not installed: it draws scores", "tune", 'pip install "cupola[music]"') from None
    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions(OPTIONS)
    toolkit.loadData(mei(score, title))
    drawn = toolkit.renderToSVG(1).replace("</desc>", '</desc><rect width="100%" height="100%" fill="white" style="stroke:none"/>', 1)
    try:
        path.write_text(drawn, "utf-8", newline="\n")
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give a folder you may write to") from None
    return path
