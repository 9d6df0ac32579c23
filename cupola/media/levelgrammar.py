"""GBNF for rows of a level with one entrance and one exit.

A machine with four states (which of u and s have been written) walks over the rows, so that nothing is looked up twice: in each row, after
its first letter, there are a letter, the next row, u and s to choose from, and no more. Rows are counted; their length is not, since what
is longer than the level is cut off when it is drawn.

Worked example, one or two rows without u and s: `a ::= [wf] b`, `b ::= [wf] b | " " c | "\\n"`, `c ::= [wf] d`, `d ::= [wf] d | "\\n"`.
"""

from __future__ import annotations

from typing import NamedTuple

from cupola.media import gbnf


class Place(NamedTuple):
    """Where a prompt stops within the body."""

    rows: int  # begun so far
    within: bool  # a row that has letters already, and may have more
    missing: str  # of "us", those still to come


def rows(letters: str, place: Place, least: int, most: int, end: str) -> list[str]:
    """Rules for the rest of `least` to `most` rows in all, behind `place`, and then `end`; the first is "rows".

    letters: all but u and s (which are counted) may stand anywhere, any number of times.
    """
    cell = gbnf.letters(letters)
    out: list[str] = [f"rows ::= {_name(place.rows if place.within else place.rows + 1, place.within, place.missing)}"]
    for row in range(max(place.rows, 1) if place.within else place.rows + 1, most + 1):
        for missing in _subsets(place.missing):
            ways = [f"{cell} {_name(row, True, missing)}"]
            ways += [f'"{c}" {_name(row, True, missing.replace(c, ""))}' for c in missing]
            if not (place.within and row == place.rows):
                out.append(f"{_name(row, False, missing)} ::= {' | '.join(ways)}")
            if row < most:
                ways.append(f'" " {_name(row + 1, False, missing)}')
            if row >= least and not missing:
                ways.append(gbnf.quoted(end) if end else '""')
            out.append(f"{_name(row, True, missing)} ::= {' | '.join(ways)}")
    return out


def _name(row: int, within: bool, missing: str) -> str:
    return f"{'in' if within else 'row'}-{row}{'-' + missing if missing else ''}"


def _subsets(missing: str) -> list[str]:
    return list(dict.fromkeys([missing, *missing, ""]))
