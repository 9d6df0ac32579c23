"""What a sampler may write: GBNF for tunes in ABC or bar words, from nothing or from a prompt on.

Sections are counted in the names of the rules: p7 is "seven bars so far, in no ending", e7 "in a first ending", s7 "in a second". So
`least` and `most` hold exactly, endings come in pairs, and every tune closes.

In bar words, bars are counted too, because a model of a million parameters cannot: of what it drew without, 63% of the bars filled their
metre. Lengths are in quarters of the header's unit, and a rule says how many are left in the bar. Worked example: a bar of 6/8 in eighths
is b24; a note of one unit leaves b20, a pair of them b16, three in the time of two b16. u24 is a bar that ends early.

Where a bar may be short is narrower than in `score.fullness`, for a bar that a model miscounts would else end its section. It may be the
first of a section, up to half a bar (an upbeat); then, behind three full ones at least, the last; and the last of an ending. The rules
o7-24, i8-24, j9-24, k10-24 count bars since an upbeat: only behind k may the section close, by a short bar (c) or as it is. Where `most`
leaves no room for that, it closes all the same. So sections have 8.7 bars on average, as real ones have; by `fullness` alone they had 7.0.

Not counted, and admitted as before: ABC, and prompts in a metre whose bars are no whole number of quarters, or none. Of real tunes whose
bars are all full 88% are admitted (of 57). The others have a short last bar in a section that began with a full one (5% of tunes), rare
metres and units, a short bar early in its section, changes of metre (2 of 1,118 tunes), or lengths that are no whole number of quarters
(11 of 114,000 notes).
"""

from __future__ import annotations

import dataclasses
import re

from cupola.errors import ConfigError
from cupola.media.base import Pins
from cupola.media.letters import ENDINGS, METRES, UNITS, key_word
from cupola.media.score import MODES, Key, Score, bar_ticks, length

LEAST = 4  # bars of a tune
RHYTHMS = (
    "reel jig hornpipe slipjig strathspey clog air fling waltz march polka slide barndance mazurka schottische quickstep minuet song "
    "lament planxty rant cotillon gavotte walkaround highland lancers galop sequence rag carol hymn ballad"
).split()
_USUAL = ("C", "C|", "2/4", "3/4", "3/8", "6/8", "9/8", "12/8", "3/2", "6/4", "5/4", "7/8", "none")
_METRES = {metre: word for word, metre in METRES.items() if metre in _USUAL}
_COUNTED = {  # what is written where the prompt does not say; of real tunes 99% are in these
    "eighth": ("cut", "common", "twofour", "threefour", "sixeight", "nineeight", "twelveeight", "threeeight", "threetwo", "sixfour"),
    "sixteenth": ("twofour",),
    "quarter": ("common", "cut", "threefour"),
}
_LONGEST = 96  # quarters of a unit in a bar that is counted: 12/8 in sixteenths
_LENGTHS = {1: "W", 2: "H", 3: "HW", 4: "", 6: "N", 7: "NW", 8: "B", 10: "BH", 12: "C", 14: "CH", 16: "D", 24: "F", 32: "FB"}
_LAST_LENGTHS = {18: "DH", 20: "CB", 28: "DC", 36: "FC", 40: "FD", 48: "FF", 64: "FFD"}  # only where they end a full bar
_SHORT = {"p": "c", "k": "c", "e": "x", "s": "y"}  # the rules behind a bar that was short: it was the last of its section or ending
_UPBEAT = "oijk"  # the rules in a section that began with an upbeat, by bars since: 0, 1, 2, 3 or more
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
    counted: str = ""  # the same for what the rules that count need; "" where nothing counts


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
    counted=f"""rhythm ::= {_one_of(RHYTHMS)}
key ::= {_one_of([key_word(key) for key in _KEYS])}
{_TEMPO}
change ::= "K" key " "
note ::= sound | "Z"
sound ::= "G" pitch sound | [TO] chord | chord
chord ::= pitch ("J" pitch)*
pitch ::= [XY] [a-z] | [a-z]
tied ::= note "L"?
three ::= note ([PQ] tied tied | "L"? note ([PQ] tied | "L"? tied))
halves ::= note "H" "L"? note "H" "L"? note "H" "L"?
quarters ::= note "W" "L"? note "W" "L"? note "W" "L"?
four ::= tied tied tied tied
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


@dataclasses.dataclass(frozen=True)
class Start:
    """What a grammar has to know of its prompt."""

    where: str  # "head", "body" (no bar yet), or p, e, s as in the rules' names
    have: int  # parts of the header, or bars
    # head: 1 if the joint is there; else 0 behind a bar, 1 before one, 2 behind a closed first ending, 3 behind a closed section, 4 before
    # a bar and the space that parts it from the word before
    how: int
    sizes: tuple[tuple[int, tuple[str, ...]], ...] = ()  # (quarters of a unit in a bar, what the header may go on with); () counts nothing
    rule: str = ""  # the letter of the rule that goes on; where bars are counted it says more than `where`
    first: bool = False  # how 1 or 4: the bar is the first of its section or ending


def counting(prompt: str, start: tuple[str, int, int], score: Score) -> Start:
    """The start with what is needed to count bars. score: of the prompt and its `finish`."""
    where, have, how = start
    words = prompt.partition("\n")[0].split()
    if where == "head" and have < 3:
        metre = words[-1] if have == 2 else None
        return Start(where, have, how, _choices(metre))
    bars = list(score.metres())
    i = min(have if where in ("p", "e", "s") else 0, len(bars) - 1)
    size = _size(bars[i][1], next(word for word in words if word in UNITS))
    if size is None:
        return Start(where, have, how)
    now = have - (how == 0)  # the bar that the prompt ends behind or before
    if where not in ("p", "e", "s") or how in (2, 3):
        return Start(where, have, how, ((size, ()),), where)
    short = [length(bar) < (bar_ticks(metre) or 0) for bar, metre in bars]
    begin = next((i for i in range(now, 0, -1) if bars[i][0].ending or bars[i - 1][0].close != "|"), 0)
    rule = _UPBEAT[min(have - begin - 1, 3)] if where == "p" and have > begin and short[begin] else where
    if how == 0 and short[now] and (now > begin or where != "p"):
        rule = _SHORT[where]
    return Start(where, have, how, ((size, ()),), rule, now == begin)


def _choices(metre: str | None) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The ways to go on with metre and unit (unit alone where the metre is known), by the size of a bar."""
    if metre is None:
        pairs = [(word, unit, f"{word} {unit}") for unit, usual in _COUNTED.items() for word in usual]
    else:
        usual = [unit for unit, words in _COUNTED.items() if metre in words]
        pairs = [(metre, unit, unit) for unit in usual or UNITS]
    found: dict[int, tuple[str, ...]] = {}
    for word, unit, text in pairs:
        if (size := _size(METRES[word], unit)) is not None:
            found[size] = (*found.get(size, ()), text)
    return tuple(found.items())


def _size(metre: str, unit: str) -> int | None:
    """Quarters of a unit in a bar; None where it cannot be counted."""
    ticks = bar_ticks(metre)
    size = ticks * 4 / UNITS[unit] if ticks else 0
    return int(size) if size == int(size) and 0 < size <= _LONGEST else None


def grammar(form: Form, pins: Pins, start: Start) -> str:
    """GBNF for what follows a prompt.

    Raises ConfigError when least and most contradict each other, the prompt, or the four bars that a tune has.
    """
    where, have, how = start.where, start.have, start.how
    least, most = max(LEAST, pins.least or 0), pins.most
    done = have if where in ("p", "e", "s") else 0
    needed = done + (how != 0 and how != 3) + (where == "e" and how != 2) if done else 1  # bars that the prompt leads to
    if most is not None and most < least:
        fix = f"a tune has {LEAST} bars or more" if most < LEAST else "least may not be over most"
        raise ConfigError(f"at most {most} bars, but at least {least}", "pins", fix)
    if most is not None and needed > most:
        raise ConfigError(f"the prompt leads to {needed} bars, of at most {most}", "pins", "give a shorter prompt, or allow more bars")
    last = most if most is not None else max(least, needed) + 1  # without `most` the last rules lead to themselves
    rules = _roots(form, start, least)
    for size, _ in start.sizes or ((0, ()),):
        for n in range(max(done, 1), last + 1):
            rules += _sections(form, n, last, least, most, size)
        if size:
            rules += [f"{kind}-{size} ::= change? {bar}" for kind, bar in _kinds(size).items()]
    if start.sizes:
        rules += _bars([bar for size, _ in start.sizes for bar in _kinds(size).values()])
    return "\n".join([*rules, form.counted if start.sizes else form.rules])


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


def _sections(form: Form, n: int, last: int, least: int, most: int | None, size: int) -> list[str]:
    """The rules after n bars, with so many quarters of a unit in each; 0 counts nothing."""
    more = n if most is None and n == last else n + 1
    room = last - n if most is not None else 99  # bars that may still come
    tag, line, space = f"-{size}" if size else "", _text("\n"), _text(form.next)
    closed = [_text(form.again), _text(form.stop)] if n >= least else []
    ended = [_text(form.stop)] if n >= least else []
    if room > 0:
        first = _first(more, tag)
        closed += [f"({_text(form.again)} | {_text(form.stop)}) {line} {first}"]
        ended += [f"{_text(form.stop + chr(10))} {first}"]
    rules = {"c": closed, "p": [f"c{n}{tag}"], "y": ended, "s": [f"y{n}{tag}"]}
    rules |= {name: [f"c{n}{tag}"] if room <= 0 or name == "k" else [] for name in _UPBEAT if tag}
    if room > 1:
        for name in rules.keys() - {"c", "y", "s"}:
            rules[name] += [f"{_text(form.first)} {_next('e', more, tag)}"]
    if room > 0:
        rules |= {"x": [f"{_text(form.second)} {_next('s', more, tag)}"], "e": [f"x{n}{tag}"]}
        for name in rules.keys() - {"c", "x", "y"} - ({"e"} if room < 2 else set()):
            rules[name] += [f"{space} {_next(name, more, tag)}"]
    return [f"{name}{n}{tag} ::= {' | '.join(options)}" for name, options in rules.items()]


def _next(name: str, n: int, tag: str) -> str:
    """A bar that is not the first of its section, the n-th of the tune, and what follows it. name: of the rule that it comes from."""
    if not tag:
        return f"bar {name}{n}"
    after = _UPBEAT[min(_UPBEAT.index(name) + 1, 3)] if name in _UPBEAT else name
    full = f"full{tag} {after}{n}{tag}"
    return f"({full} | short{tag} {_SHORT[name]}{n}{tag})" if name in ("k", "e", "s") else full


def _first(n: int, tag: str) -> str:
    """A bar that is the first of its section, and what follows it."""
    return f"(full{tag} p{n}{tag} | upbeat{tag} o{n}{tag})" if tag else f"bar p{n}"


def _kinds(size: int) -> dict[str, str]:
    """The kinds of a bar of `size` quarters of a unit, and their rules."""
    return {"full": f"b{size}", "short": f"u{size}", "upbeat": f"u{size // 2 + 1}"}


def _bars(names: list[str]) -> list[str]:
    """Rules for bars with so many quarters of a unit left: b3 fills three, u3 ends before."""
    rules, todo, seen = [], names, set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            new = _bar(name[0], int(name[1:]))
            rules += new
            todo += re.findall(r"\b[bu]\d+\b", " ".join(rule.partition("::=")[2] for rule in new))
    return rules


def _bar(kind: str, left: int) -> list[str]:
    """The rules with `left` quarters to go: a note, whose length its tail says, or a tuplet."""
    rest = range(1 if kind == "u" else 0, left)  # what may be left behind a note

    def then(size: int) -> str | None:
        """What follows a note or tuplet that took `size`; None where it does not fit."""
        after = left - size
        if after not in rest:
            return None
        return "" if after == 0 or kind + str(after) == "u1" else f"{kind}{after}" if kind == "b" else f"{kind}{after}?"

    def options(ways: list[tuple[str, int]]) -> str:
        return " | ".join(f"{text} {after}".strip() for text, size in ways if (after := then(size)) is not None)

    sizes = _LENGTHS | ({left: _LAST_LENGTHS[left]} if kind == "b" and left in _LAST_LENGTHS else {})
    pair = options([('[PQ] note "L"?', 8)])
    tail = [f'"L"? ({then(4)} | {pair})' if pair else f'"L"? {then(4)}'.strip()] if then(4) is not None else []
    for head in "WHNBCDF":  # one way to go on for each letter, because llama.cpp follows all ways at once
        ways = [(_text(word[1:]) + ' "L"?' if word[1:] else '"L"?', size) for size, word in sizes.items() if word[:1] == head]
        if more := options([*ways, ('"L"? [PQ] note "H" "L"?', 4)] if head == "H" else ways):
            tail.append(f'"{head}" ({more})')
    tuplets = options([("three", 8), ("halves", 4), ("quarters", 2), ('"B" tied tied', 12), ('"D" four', 12), ('"F" four tied tied', 8)])
    rule = f"{kind}{left} ::= note {kind}t{left}" + (f' | "V" ({tuplets})' if tuplets else "")
    return [rule, f"{kind}t{left} ::= {' | '.join(tail)}"]


def _roots(form: Form, start: Start, least: int) -> list[str]:
    """The root and, where the header is still to say how long a bar is, a rule for each size."""
    if start.where != "head" or start.have > 2 or not start.sizes:
        size = start.sizes[0][0] if start.sizes else 0
        return [f"root ::= {_root(form, start, least, f'-{size}' if size else '')}"]
    joint = _text(form.joint)
    lead = f"(rhythm {joint})?" if start.have == 0 else "" if start.how else joint
    rules = [f"root ::= {lead} ({' | '.join(f'head-{size}' for size, _ in start.sizes)})"]
    for size, words in start.sizes:
        rules.append(f"head-{size} ::= ({_one_of([*words])}) {_header(form, 3, False)} {_text(chr(10))} {_first(1, f'-{size}')}")
    return rules


def _root(form: Form, start: Start, least: int, tag: str) -> str:
    where, have, how, line = start.where, start.have, start.how, _text("\n")
    if where == "head":
        return f"{_header(form, have, bool(how))} {line} {_first(1, tag)}".strip()
    if where == "body":
        return _first(1, tag)
    if how == 0:
        return f"{start.rule or where}{have}{tag}"
    if how in (1, 4):
        bar = _first(have + 1, tag) if start.first and where == "p" else _next(start.rule or where, have + 1, tag)
        return f"{_text(form.next) if how == 4 else ''} {bar}".strip()
    if how == 2:
        return f"{_text(form.second.removeprefix(form.again))} {_next('s', have + 1, tag)}"
    return f"({line} {_first(have + 1, tag)})?" if have >= least else f"{line} {_first(have + 1, tag)}"


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
            state, how = "p" if how == 3 else state, 1
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
