"""A table of finished training runs, anyone's, as series that a law can be fitted to; what is wrong with it is said with its line.

    series,params,tokens,loss
    mine,1.2e6,24000000,2.31

`params`, `tokens` and `loss` are needed; `series` (else all rows are one, named like the file), `flops` and `unique_tokens` may be there,
and any other column is ignored. Comma, semicolon or tab; capitals and spaces in the header do not matter, nor do blank lines.
Loss may be in any unit that grows with nats per token, the same one throughout a series.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cupola.errors import DataError

NEEDED = ("params", "tokens", "loss")
OPTIONAL = ("series", "flops", "unique_tokens")
MEANT = {  # other programs' names, for those that do not look like ours
    "params": ("n", "parameters", "n_params", "num_params", "model_size", "size", "non_embedding_params", "nparams"),
    "tokens": ("d", "n_tokens", "num_tokens", "train_tokens", "tokens_seen", "data", "dataset_size", "d_tokens"),
    "loss": ("l", "val_loss", "eval_loss", "test_loss", "train_loss", "validation_loss", "final_loss", "nll", "ce", "bpb", "bits_per_byte"),
}
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:_[0-9]+)*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SUFFIXED = re.compile(r"([0-9][0-9.,_]*)\s*(k|thousand|m|mn|mio|million|g|b|bn|billion|t|tn|trillion)s?", re.I)
MARKED = re.compile(r"[0-9][0-9.,'’ \u00a0\u202f]*(?:[eE][+-]?[0-9]+)?")  # a number, with what people put between its digits
POWERS = {"k": 3, "m": 6, "g": 9, "b": 9, "t": 12}  # by first letter, but for "thousand"
MISSING = ("", "nan", "na", "n/a", "null", "none", "-")
MOST = 1e24  # nobody has trained on more; past it is a slip of the keyboard, and squares of it still fit a float

FEW_PARAMS, FEW_TOKENS = 1e3, 1e4  # below these a count was probably written in thousands, millions or billions
RATIOS = (1e-4, 1e6)  # tokens a parameter outside of this are no run; published series go from 6e-3 to 6e4
HIGH_LOSS = 20.0  # nats a token of a vocabulary of 485 million, all alike: a perplexity, more likely
APART = 30.0  # two clusters of counts so many times apart may be one count in two units ...
SMOOTHER = 0.6  # ... if the losses lie so much closer to a plane once they are brought together
SEEDS_AT_MOST = 0.1  # relative spread of a loss past which it is not seeds that differ
FULL = "write every count in full, such as 12000000 or 1.2e7; if they are right as they are, pass --units-as-they-are"
CUT_OFF = "the file ends in the middle of this line", "write or fetch it again; if the line is whole, end it with a line feed"


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """R runs that one law is to describe, in the order of the file."""

    name: str
    params: np.ndarray  # (R,)
    tokens: np.ndarray  # (R,)
    loss: np.ndarray  # (R,)
    unique_tokens: np.ndarray | None = None  # (R,), NaN where the file says nothing; None where it never does
    flops: np.ndarray | None = None  # (R,), the same
    notes: tuple[str, ...] = ()
    noise: float | None = None  # relative spread (sd) of a loss over seeds, where the same run is there several times
    where: str = ""  # file:line of its first run


def read(path: Path, *, as_they_are: bool = False) -> list[Series]:
    """The series of a file, in the order in which they first appear.

    as_they_are: do not ask about counts that look as if they were written in thousands, millions or billions.
    Raises DataError, with file, line and what to do, for whatever is not a table of runs. Few runs, one size or equal losses are left to
    the law to refuse, series by series.
    """
    header, rows, endless = _table(path)
    faults = _Faults(path)
    runs: dict[str, list[_Run]] = {}
    for line, cells in rows:
        last = endless and line == rows[-1][0]
        if fault := _ragged(cells, header, last) or (last and _cut_off(header, [c for _, c in rows])) or None:
            faults.add(line, *fault)
        elif run := _run(line, dict(zip(header, cells, strict=False)), path.stem, faults):
            runs.setdefault(run.series, []).append(run)
    faults.raise_any()
    if not runs:
        raise DataError("a header and no runs", f"{path}:1", "add a line for each finished run")
    if not as_they_are:
        for name, given in runs.items():
            _ask(path, name, given)
    return [_series(path, name, given) for name, given in runs.items()]


# --- from bytes to cells ----------------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    """The file's text. Raises DataError if there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such file", str(path), "give a CSV file with the columns params, tokens, loss") from None
    except IsADirectoryError:
        raise DataError("is a folder", str(path), "give a CSV file with the columns params, tokens, loss") from None
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror}", str(path), "see that you may read it") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("is UTF-16, not UTF-8", str(path), 'save it as "CSV UTF-8"')
    if data[:2] in (b"PK", b"\x1f\x8b") or b"\0" in data[:4096]:
        raise DataError("is not a text file", str(path), "save the table as CSV (UTF-8), unpacked")
    try:
        return re.sub("\r\n?", "\n", data.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise DataError(f"not UTF-8: byte {data[e.start]:#04x}", f"{path}:{line}", 'save it as "CSV UTF-8"') from None


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], bool]:
    """(the column names, (line, cells) of each row that is not blank, whether the last line has no end)."""
    text = _text(path)
    first = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        raise DataError("is empty", str(path), "it begins with a line of names: series,params,tokens,loss")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as e:
        fix = "a quotation mark that opens a cell must close it"
        raise DataError(f"not CSV: {e}", f"{path}:{reader.line_num}", fix) from None
    (line, header), *body = rows
    return _header(header, f"{path}:{line}"), body, not text.endswith("\n")


def _header(cells: Sequence[str], where: str) -> list[str]:
    """The column names in our spelling. Raises DataError for one that is missing or there twice."""
    names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
    if sum(NUMBER.fullmatch(name) is not None for name in names) >= 2:
        raise DataError("numbers where the names of the columns should be", where, "put a line above: series,params,tokens,loss")
    twice = [name for name, n in Counter(names).items() if n > 1 and name in (*NEEDED, *OPTIONAL)]
    if twice:
        raise DataError(f"two columns are called {twice[0]!r}", where, "rename one of them")
    if missing := [name for name in NEEDED if name not in names]:
        spare = [name for name in names if name and name not in (*NEEDED, *OPTIONAL)]
        near = {name: found for name in missing if (found := _near(name, spare))}
        fix = "; ".join(f"rename {found!r} to {name!r}" for name, found in near.items())
        if not fix:
            fix = f"it needs params, tokens and loss, and has {', '.join(map(repr, names[:8]))}"
        raise DataError(f"no column {' nor '.join(map(repr, missing))}", where, fix)
    return names


def _near(name: str, spare: Sequence[str]) -> str | None:
    """The column that was probably meant."""
    known = [s for s in spare if s in MEANT[name]]
    close = difflib.get_close_matches(name, spare, n=1, cutoff=0.6)
    return (known or close or [s for s in spare if name.rstrip("s") in s] or [None])[0]


# --- from cells to runs -----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Run:
    line: int
    series: str
    params: float
    tokens: float
    loss: float
    flops: float  # NaN: not given
    unique_tokens: float  # the same


class _Faults:
    """What is wrong in which line; one error in the end, so that the same slip in forty lines is mended in one go."""

    def __init__(self, path: Path):
        self.path = path
        self.found: list[tuple[int, str, str]] = []

    def add(self, line: int, what: str, fix: str) -> None:
        self.found.append((line, what, fix))

    def raise_any(self) -> None:
        if not self.found:
            return
        line, what, fix = self.found[0]
        others = list(dict.fromkeys(other for other, *_ in self.found if other != line))
        more = f" (and something in {_lines(others)})" if others else ""
        raise DataError(what + more, f"{self.path}:{line}", fix)


def _lines(lines: Sequence[int]) -> str:
    """ "line 3", "lines 3, 5, 7", "lines 3, 5, 7, 8, 9 and 12 more"."""
    if len(lines) == 1:
        return f"line {lines[0]}"
    rest = f" and {len(lines) - 5} more" if len(lines) > 6 else ""
    return f"lines {', '.join(map(str, lines[: 5 if rest else 6]))}{rest}"


def _ragged(cells: list[str], header: Sequence[str], last: bool) -> tuple[str, str] | None:
    """What is wrong with the number of cells of a row, and what to do; empty cells past the last column are nothing."""
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()
    if len(cells) == len(header):
        return None
    if last and len(cells) < len(header):
        return CUT_OFF
    fix = "one cell a column; a comma inside a number splits it (write 1200000 or 1.2e6)"
    return f"{len(cells)} cells where the header has {len(header)}", fix


def _cut_off(header: Sequence[str], rows: Sequence[list[str]]) -> tuple[str, str] | None:
    """What is wrong with a last line that has no end: its last number is much shorter than any above it, as 2.3 under 2.3145 and 2.3086."""
    *above, last = (cells[-1].strip() for cells in rows if len(cells) == len(header))
    ours = header[-1] in (*NEEDED, *OPTIONAL[1:])
    return CUT_OFF if ours and len(above) >= 2 and len(last) + 3 <= min(map(len, above)) else None


def _run(line: int, row: dict[str, str], stem: str, faults: _Faults) -> _Run | None:
    """The run of a row, or None and its faults told."""
    values: dict[str, float] = {}
    before = len(faults.found)
    series = row.get("series", stem).strip()
    if not series:
        faults.add(line, "no series", "name it in every line, or leave the column out")
    for name in (*NEEDED, "flops", "unique_tokens"):
        try:
            values[name] = _value(name, row.get(name, ""))
        except DataError as e:
            faults.add(line, e.what, e.fix)
    return _Run(line, series, **values) if len(faults.found) == before else None


def _value(name: str, cell: str) -> float:
    """A cell as a number above zero; NaN where one that may be missing is. Raises DataError without a place."""
    text = cell.strip()
    if text.lower() in MISSING:
        if name not in NEEDED:
            return math.nan
        said = f"is {text}" if text else "is missing"
        raise DataError(f"{name} {said}", "", "leave out runs that diverged or have not ended" if name == "loss" else "write the count")
    value = number(text, name)
    if value <= 0:
        fix = "a law fits the logarithm of the loss: leave the line out" if name == "loss" else "a count is above zero"
        raise DataError(f"{name} is {text}", "", fix)
    if value > MOST * (MOST if name == "flops" else 1):
        raise DataError(f"{name} is {text}", "", "no run is so large: look at the exponent")
    return value


def number(text: str, name: str = "it") -> float:
    """A number as programs write it: 1200000, 1_200_000, 1.2e6. Raises DataError, without a place, that says how to write it."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
        raise DataError(f"{name} is {text}, beyond any number", "", "look at the exponent")
    if re.fullmatch(r"[+-]?inf(inity)?|[+-]?nan", text, re.I):
        raise DataError(f"{name} is {text}", "", "leave out runs that diverged or have not ended")
    what = f"{name} is {text[:40]!r}, not a plain number"
    if found := SUFFIXED.fullmatch(text):
        digits, unit = found[1].replace("_", "").replace(",", "."), found[2].lower()
        power = 3 if unit == "thousand" else POWERS[unit[0]]
        raise DataError(what, "", f"write it as {digits}e{power}")
    if MARKED.fullmatch(text):
        raise DataError(what, "", "write it without thousands separators and with a decimal point: 1200000, 2.31")
    raise DataError(what, "", "write it as 1200000 or 1.2e6")


# --- what looks like another unit -------------------------------------------------------------------------------------------------------


def _ask(path: Path, name: str, runs: Sequence[_Run]) -> None:
    """Raise DataError where the counts of a series look as if they were not all ones, saying what is thought."""
    params, tokens, loss, flops = (np.array([getattr(r, key) for r in runs]) for key in ("params", "tokens", "loss", "flops"))

    def ask(what: str, wrong: np.ndarray, fix: str = FULL) -> None:
        lines = [run.line for run, is_wrong in zip(runs, wrong, strict=True) if is_wrong]
        many = "every line" if len(lines) == len(runs) > 1 else _lines(lines)
        raise DataError(f"{what} ({many} of series {name!r})", f"{path}:{lines[0]}", fix)

    if (median := float(np.median(loss))) > HIGH_LOSS:
        fix = "write the natural logarithm of a perplexity; if they are losses, pass --units-as-they-are"
        ask(f"losses around {median:.4g}: perplexities?", loss > 0, fix)
    for key, values, other, floor in (("params", params, tokens, FEW_PARAMS), ("tokens", tokens, params, FEW_TOKENS)):
        if (few := values < floor).any():
            ask(f"{key} of {_plain(values[few].min())}{_beside(values, few)}: {_unit(key, values, few, other)}?", few)
    for key, values in (("params", params), ("tokens", tokens)):
        other = tokens if key == "params" else params
        if found := _mixed(values, other, loss):
            low, factor = found
            ask(f"{key} of {_plain(values[low].min())}{_beside(values, low)}: some in {WORDS[factor]}, some in ones?", low)
    for sign, wrong in (("few", tokens < RATIOS[0] * params), ("many", tokens > RATIOS[1] * params)):
        if wrong.any():
            i = int(np.argmax(wrong))
            ask(f"{_plain(tokens[i])} tokens for {_plain(params[i])} params, too {sign}: in different units?", wrong)
    off = flops / (6 * params * tokens)
    known = off[np.isfinite(off)]
    if len(known) and not 1e-3 < (middle := float(np.median(known))) < 1e3:
        ask(f"flops are {middle:.2g} times 6 * params * tokens: in another unit, such as petaFLOP-days?", np.isfinite(off))


WORDS = {1e3: "thousands", 1e6: "millions", 1e9: "billions"}


def _beside(values: np.ndarray, few: np.ndarray) -> str:
    """ " beside 5,173,248": an example of those that look right."""
    return "" if few.all() else f" beside {_plain(float(np.median(values[~few])))}"


def _plain(x: float) -> str:
    return f"{x:,.0f}" if x >= 1e4 or x == round(x) else f"{x:.4g}"


def _unit(key: str, values: np.ndarray, few: np.ndarray, other: np.ndarray) -> str:
    """What counts that are too few were probably written in: what brings them nearest to the rest, or to 20 tokens a parameter."""
    if not few.all():
        target, here = np.median(np.log10(values[~few])), np.median(np.log10(values[few]))
    elif np.median(other) >= 1e5:
        here = np.median(np.log10(values))
        target = np.median(np.log10(other)) + (-1.3 if key == "params" else 1.3)
    else:
        return "millions" if key == "params" else "billions"
    return min(WORDS.items(), key=lambda unit: abs(math.log10(unit[0]) + here - target))[1]


def _mixed(values: np.ndarray, other: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, float] | None:
    """(the rows that look as if written in a larger unit, its factor), or None.

    Counts far apart are a hint and no more, for a ladder may end in one large run. So the tokens a parameter must come nearer to those of
    the other rows; and losses decide: those of rows in another unit lie off the surface that the others make, and on it once put right.
    """
    before = _roughness(values, other, loss)
    if len(set(zip(values, other, strict=True))) < 6:
        return None
    steps = np.unique(values)
    best: tuple[float, np.ndarray, float] | None = None
    for below, above in itertools.pairwise(steps):
        low = values <= below
        for factor in WORDS:
            nearer = values[low].max() * factor * APART >= above and values[low].min() * factor <= APART * steps[-1]
            if above / below < APART or not nearer or not _evener(values, other, low, factor):
                continue
            after = _roughness(np.where(low, values * factor, values), other, loss)
            if after < SMOOTHER * before and (best is None or after < best[0]):
                best = after, low, factor
    return best[1:] if best else None


def _evener(values: np.ndarray, other: np.ndarray, low: np.ndarray, factor: float) -> bool:
    """Whether the rows that are multiplied come to have about as many tokens a parameter as the others, and had not."""
    ratio = np.log10(values / other)
    gap = np.median(ratio[low]) - np.median(ratio[~low])
    return bool(abs(gap + math.log10(factor)) < abs(gap))


def _roughness(values: np.ndarray, other: np.ndarray, loss: np.ndarray) -> float:
    """Root mean square distance of log losses from the plane through them over both log counts."""
    x = np.stack([np.log(values), np.log(other), np.ones_like(loss)], axis=1)
    y = np.log(loss)
    return float(np.sqrt(np.mean((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2)))


# --- from runs to series, with what a person should know --------------------------------------------------------------------------------


def _series(path: Path, name: str, runs: Sequence[_Run]) -> Series:
    """The runs as arrays, each counted once, with notes."""
    notes: list[str] = []
    once: dict[tuple[float | None, ...], _Run] = {}
    again = [run.line for run in runs if once.setdefault(_key(run, "params", "tokens", "loss", "flops", "unique_tokens"), run) is not run]
    if again:
        notes.append(f"{_lines(again)}: the same run again, counted once")
    kept = list(once.values())
    params, tokens, loss, flops, unique = (
        np.array([getattr(run, key) for run in kept]) for key in ("params", "tokens", "loss", "flops", "unique_tokens")
    )
    over = unique > tokens
    if over.any():
        lines = [run.line for run, is_over in zip(kept, over, strict=True) if is_over]
        notes.append(f"{_lines(lines)}: more unique_tokens than tokens; read as all of them different")
        unique = np.where(over, tokens, unique)
    noise, said = _noise(kept)
    notes += said + _checkpoints(kept) + _odd_flops(kept)
    return Series(
        name,
        params,
        tokens,
        loss,
        unique_tokens=None if np.isnan(unique).all() else unique,
        flops=None if np.isnan(flops).all() else flops,
        notes=tuple(notes),
        noise=noise,
        where=f"{path}:{kept[0].line}",
    )


def _key(run: _Run, *names: str) -> tuple[float | None, ...]:
    """Those of a run's numbers, None for a missing one: NaN differs from itself."""
    return tuple(None if math.isnan(value) else value for value in (getattr(run, name) for name in names))


def _groups(runs: Sequence[_Run], *names: str) -> Iterator[list[_Run]]:
    """Runs that agree in these numbers, two or more of them."""
    groups: dict[tuple[float | None, ...], list[_Run]] = {}
    for run in runs:
        groups.setdefault(_key(run, *names), []).append(run)
    return (group for group in groups.values() if len(group) > 1)


def _noise(runs: Sequence[_Run]) -> tuple[float | None, list[str]]:
    """(the relative spread of a loss over repeats of a run, what to say about it): standard deviation of its logarithm, pooled.

    Losses 2.00 and 2.02 of the same run: logarithms 0.00995 apart, so a standard deviation of 0.0070.
    """
    groups = list(_groups(runs, "params", "tokens", "unique_tokens"))
    if not groups:
        return None, []
    logs = [np.log([run.loss for run in group]) for group in groups]
    noise = math.sqrt(sum(((x - x.mean()) ** 2).sum() for x in logs) / sum(len(x) - 1 for x in logs))
    lines = _lines([run.line for group in groups for run in group])
    same = f"{lines}: the same params and tokens with different losses"
    if noise > SEEDS_AT_MOST:
        return None, [f"{same}, {noise:.0%} apart: more than seeds do. Several series in one? Then name them in a column 'series'"]
    return noise, [f"{same}: read as seeds, whose losses differ by {noise:.2g} of themselves (one standard deviation)"]


def _checkpoints(runs: Sequence[_Run]) -> list[str]:
    """A note for each size whose points look like one run, looked at again and again while it trained."""
    notes = []
    for group in _groups(runs, "params", "unique_tokens"):
        ordered = sorted(group, key=lambda run: run.tokens)
        tokens, loss = np.array([run.tokens for run in ordered]), np.array([run.loss for run in ordered])
        gaps = np.diff(tokens)
        if len(ordered) < 6 or gaps.min() <= 0:
            continue
        steps = (tokens - tokens[0]) / gaps.min()
        even = np.abs(steps - np.round(steps)).max() < 0.05 and steps[-1] < 2 * len(steps)  # up to half missing; doublings are not even
        if even and np.mean(np.diff(loss) < 0) >= 0.8:
            notes.append(
                f"{_lines([run.line for run in ordered])}: {len(ordered)} points of {_plain(tokens[0])} to {_plain(tokens[-1])} tokens "
                f"in even steps, all of {_plain(ordered[0].params)} params, look like checkpoints of one run; a law wants the ends of "
                "separately cooled runs, whose losses are lower"
            )
    return notes


def _odd_flops(runs: Sequence[_Run]) -> list[str]:
    """A note where given FLOPs are far from those of a dense transformer."""
    off = [run.line for run in runs if not math.isnan(run.flops) and not 0.1 <= run.flops / (6 * run.params * run.tokens) <= 10]
    return [f"{_lines(off)}: flops over ten times off 6 * params * tokens; taken as given"] if off else []
