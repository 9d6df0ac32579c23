"""What a sampler may write: GBNF for tunes in ABC or bar words, from nothing or from a prompt on.

Bars are counted in the names of the rules: p7 is "seven bars so far, in no ending", e7 "in a first ending", s7 "in a second". So `least`
and `most` hold exactly, endings come in pairs, and every tune closes. What a grammar does not know is whether a bar fills its metre.
"""

from __future__ import annotations

import dataclasses
import re

from cupola.errors import ConfigError
from cupola.media.base import Pins
from cupola.media.letters import ENDINGS, METRES, UNITS, key_word
from cupola.media.score import MODES, Key

LEAST = 4  # bars of a tune
RHYTHMS = (
    "reel jig hornpipe slipjig strathspey clog air fling waltz march polka slide barndance mazurka schottische quickstep minuet song "
    "lament planxty rant cotillon gavotte walkaround highland lancers galop sequence rag carol hymn ballad"
).split()
_USUAL = ("C", "C|", "2/4", "3/4", "3/8", "6/8", "9/8", "12/8", "3/2", "6/4", "5/4", "7/8", "none")
_METRES = {metre: word for word, metre in METRES.items() if metre in _USUAL}
_KEYS = [key for mode in MODES for tonic in range(7) for alter in (-1, 0, 1) if abs((key := Key(tonic, alter, mode)).fifths) <= 6]
_TEMPO = 'tempo ::= ("1/4" | "3/8" | "1/2" | "1/8") "=" ([4-9] [0-9] | "1" [0-9] [0-9])'


@dataclasses.dataclass(frozen=True)
class Form:
    """How one notation joins its parts."""

    header: tuple[tuple[str, bool], ...]  # (rule, must it be there) of each part, in order
    joint: str  # between the parts of the header
    next: str  # between two bars
    again: str  # closes a section that is played again
    stop: str  # closes a section that is not
    first: str  # between a bar and a first ending
    second: str  # closes the first ending and begins the second
    rules: str  # for the parts of the header and for `bar`


def _one_of(values: list[str]) -> str:
    return " | ".join(f'"{value}"' for value in values)


LETTERS = Form(
    header=(("rhythm", False), ("metre", True), ("unit", True), ("key", True), ("tempo", False)),
    joint=" ", next=" ", again=" R", stop=" S", first=" I ", second=" R II ",
    rules=f"""rhythm ::= {_one_of(RHYTHMS)}
metre ::= {_one_of([*_METRES.values()])}
unit ::= {_one_of([*UNITS])}
key ::= {_one_of([key_word(key) for key in _KEYS])}
{_TEMPO}
bar ::= ("M" metre " ")? ("K" key " ")? item{{1,24}}
item ::= one ([PQ] one)? | "V" tuplet
tuplet ::= one [PQ] one one | one one [PQ] one | one{{3}} | rarer
rarer ::= "B" one{{2}} | "D" one{{4}} | "E" one{{5}} | "F" one{{6}} | "W" one{{7}} | "N" one{{9}}
one ::= ("G" pitch){{0,3}} [TO]? pitch ("J" pitch){{0,2}} length? "L"? | "Z" length?
pitch ::= [XY]? [a-z]
length ::= [FDCBNHWE] [DCBNHWE]?
""",
)  # fmt: skip
ABC = Form(
    header=(("rhythm", False), ("metre", True), ("unit", True), ("tempo-line", False), ("key", True)),
    joint="\n", next="|", again=":|", stop="||", first="|1", second=":|2",
    rules=f"""rhythm ::= "R:" ({_one_of(RHYTHMS)})
metre ::= "M:" meter
meter ::= {_one_of([*_METRES])}
unit ::= "L:1/" ("8" | "16" | "4")
tempo-line ::= "Q:" tempo
{_TEMPO}
key ::= "K:" key-name
key-name ::= {_one_of([str(key) for key in _KEYS])}
bar ::= ("[M:" meter "]")? ("[K:" key-name "]")? item{{1,24}}
item ::= one ([<>] one)? | "(" tuplet
tuplet ::= "3" (one [<>] one one | one one [<>] one | one{{3}}) | rarer
rarer ::= "2" one{{2}} | "4" one{{4}} | "5" one{{5}} | "6" one{{6}} | "7" one{{7}} | "9" one{{9}}
one ::= ("{{" pitch{{1,3}} "}}")? [T~]? (pitch | "[" pitch{{2,3}} "]") length? "-"? | "z" length?
pitch ::= [_^=]? ([A-G] ","? | [a-g] "'"?)
length ::= [2-8] | "/" | "/4" | "/8" | "3/2" | "3/4" | "5/2" | "7/2" | "7/4" | "7/8" | "12" | "16"
""",
)  # fmt: skip


def grammar(form: Form, pins: Pins, start: tuple[str, int, int]) -> str:
    """GBNF for what follows a prompt.

    start: (where the prompt ends, parts of the header or bars that it has, how it ends). Where is "head" (how: 1 if the joint is there),
    "body" (no bar yet), or p, e, s as in the rules' names (how: 0 behind a bar, 1 before one, 2 behind a closed first ending, 3 behind a
    closed section, 4 before a bar and the space that parts it from the word before).
    Raises ConfigError when least and most contradict each other, the prompt, or the four bars that a tune has.
    """
    where, have, how = start
    least, most = max(LEAST, pins.least or 0), pins.most
    done = have if where in ("p", "e", "s") else 0
    needed = done + (how != 0 and how != 3) + (where == "e" and how != 2) if done else 1  # bars that the prompt leads to
    if most is not None and most < least:
        fix = f"a tune has {LEAST} bars or more" if most < LEAST else "least may not be over most"
        raise ConfigError(f"at most {most} bars, but at least {least}", "pins", fix)
    if most is not None and needed > most:
        raise ConfigError(f"the prompt leads to {needed} bars, of at most {most}", "pins", "give a shorter prompt, or allow more bars")
    last = most if most is not None else max(least, needed) + 1  # without `most` the last rules lead to themselves
    rules = [f"root ::= {_root(form, where, have, how, least)}"]
    for n in range(1, last + 1):
        rules += _counted(form, n, last, least, most)
    return "\n".join([*rules, form.rules])


def finish(form: Form, start: tuple[str, int, int], parts: tuple[str, ...], bar: str) -> str:
    """The shortest end that makes a prompt a tune (of any number of bars): whatever is wrong with the whole is wrong with the prompt.

    parts: an example of each part of the header; bar: one of a bar.
    """
    where, have, how = start
    if where == "head":
        missing = form.joint.join(parts[have:])
        return ("" if how or not missing else form.joint) + missing + "\n" + bar + form.stop
    if where == "body" or how in (1, 4):
        return form.next * (how == 4) + bar + (form.second + bar if where == "e" else "") + form.stop
    if how == 0:
        return (form.second + bar if where == "e" else "") + form.stop
    return form.second.removeprefix(form.again) + bar + form.stop if how == 2 else ""


def _counted(form: Form, n: int, last: int, least: int, most: int | None) -> list[str]:
    """The rules after n bars."""
    more = n if most is None and n == last else n + 1
    room = last - n if most is not None else 99  # bars that may still come
    end = [form.again, form.stop] if n >= least else []
    plain, ending, second = [_text(close) for close in end], [], [_text(form.stop)] if n >= least else []
    if room > 0:
        plain += [f"{_text(form.next)} bar p{more}", f"({_text(form.again)} | {_text(form.stop)}) {_text(chr(10))} bar p{more}"]
        second += [f"{_text(form.next)} bar s{more}", f"{_text(form.stop + chr(10))} bar p{more}"]
    if room > 0:
        ending += [f"{_text(form.second)} bar s{more}"]
    if room > 1:
        plain += [f"{_text(form.first)} bar e{more}"]
        ending += [f"{_text(form.next)} bar e{more}"]
    rules = [f"p{n} ::= {' | '.join(plain)}", f"s{n} ::= {' | '.join(second)}"]
    return rules + ([f"e{n} ::= {' | '.join(ending)}"] if ending else [])


def _root(form: Form, where: str, have: int, how: int, least: int) -> str:
    line = _text("\n")
    if where == "head":
        return f"{_header(form, have, bool(how))} {line} bar p1".strip()
    if where == "body":
        return "bar p1"
    if how == 0:
        return f"{where}{have}"
    if how in (1, 4):
        return f"{_text(form.next) if how == 4 else ''} bar {where}{have + 1}".strip()
    if how == 2:
        return f"{_text(form.second.removeprefix(form.again))} bar s{have + 1}"
    return f"({line} bar p{have + 1})?" if have >= least else f"{line} bar p{have + 1}"


def _header(form: Form, have: int, joined: bool) -> str:
    """The parts that are still missing. joined: what comes first needs no joint before it."""
    out, joint = [], _text(form.joint)
    for rule, needed in form.header[have:]:
        part = f"{rule} {joint}" if joined and not needed else rule if joined else f"{joint} {rule}"
        out.append(part if needed else f"({part})?")
        joined = joined and not needed
    return " ".join(out)


def _text(literal: str) -> str:
    return '"' + literal.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def letters_start(prompt: str) -> tuple[str, int, int]:
    """Where a prompt in bar words ends: `grammar`'s start."""
    head, line, body = prompt.partition("\n")
    words = head.split()
    if not line:
        have = 0
        if words:
            rhythm = 0 if words[0] in METRES else 1  # parts of the header, the rhythm counted although it may be missing
            have = len(words) + (0 if rhythm else 1)
        return "head", have, int(not words or head.endswith(" "))
    words = body.split()
    state, how, bars = "p", 1, 0
    for word in words:
        if word in ("R", "S"):
            how = 2 if state == "e" and word == "R" else 3
        elif word in ENDINGS:
            state, how = "e" if word == "I" else "s", 1
        elif word[0] not in "MK":
            state, how, bars = "p" if how == 3 else state, 0, bars + 1
        else:
            how = 1
    if how in (0, 1):
        how = 1 if body[-1:].isspace() else 4 * how
    if how == 3 and body[-1:] == "\n":
        state, how = "p", 1
    return ("body", 0, 0) if not words else ("p" if how == 3 else state, bars, how)


_ABC_JOINTS = re.compile(r":\|\s*\[?2|:\||\|\]|\|\||\|\s*\[?1|\||\n|(?:[^|:\n]|:(?!\|))+")


def abc_start(prompt: str) -> tuple[str, int, int]:
    """Where a prompt in ABC ends: `grammar`'s start."""
    key = re.search(r"^K:[^\n]*(\n?)", prompt, re.MULTILINE)
    if key is None or not key[1]:
        lines = prompt.split("\n")
        order = "RMLQK"
        last = next((line[0] for line in reversed(lines) if line[:1] in tuple(order) and line[1:2] == ":"), None)
        return "head", 0 if last is None else order.index(last) + 1, int(last is None or prompt.endswith("\n"))
    body = prompt[key.end() :]
    state, how, bars = "p", 1, 0
    for piece in _ABC_JOINTS.findall(body):
        if not piece.strip(" :") or piece == "\n":
            state, how = ("p", 1) if piece == "\n" and how == 3 else (state, how)
        elif piece == ":|":
            how = 2 if state == "e" else 3
        elif piece in ("||", "|]"):
            how = 3
        elif piece[-1] in "12" and piece[0] in "|:":
            state, how = "e" if piece[-1] == "1" else "s", 1
        elif piece == "|":
            how = 1
        else:
            state, how, bars = "p" if how == 3 else state, 0, bars + 1
    return ("p" if how == 3 else state, bars, how) if body.strip() else ("body", 0, 0)
