"""Numbers as people read them: seconds, dollars, energy, counts, bytes, shares.

Each function takes a plain number in a base unit (seconds, dollars, joules, bytes, a share of 1) and gives a short string, the same on
every machine. Infinity prints as "no limit" and a number that is not one as "unknown", so that a missing figure never looks like a value.
"""

from __future__ import annotations

import math

JOULES_PER_KWH = 3.6e6
SECONDS_PER_HOUR = 3600.0


def seconds(x: float) -> str:
    """x in seconds: "12 ms", "0.3 s", "42 s", "4 min 10 s", "2 h 05 min", "3 d 04 h"; a whole minute or hour drops its zero: "5 min"."""
    if not math.isfinite(x):
        return _no_number(x)
    if x < 0:
        return "-" + seconds(-x)
    if x < 9.95:
        return f"{x:.1f} s" if x >= 0.0995 else f"{x * 1000:.0f} ms" if x >= 0.0005 else "0 s"
    if round(x) < 60:
        return f"{x:.0f} s"
    if round(x) < 3600:
        return _two(round(x), 60, "min", "s")
    if round(x / 60) < 24 * 60:
        return _two(round(x / 60), 60, "h", "min")
    return _two(round(x / 3600), 24, "d", "h")


def usd(x: float) -> str:
    """x in dollars: two significant digits below a dollar ("$0.0041"), cents above ("$12.50", "$1,234.50")."""
    if not math.isfinite(x):
        return _no_number(x)
    if x < 0:
        return "-" + usd(-x)
    if x == 0:
        return "$0"
    return f"${_significant(x, 2)}" if x < 0.995 else f"${x:,.2f}"


def kwh(joules: float) -> str:
    """joules as kilowatt-hours: two significant digits below one ("0.0030 kWh"), three above ("12.3 kWh")."""
    if not math.isfinite(joules):
        return _no_number(joules)
    x = joules / JOULES_PER_KWH
    return "0 kWh" if x == 0 else f"{_significant(x, 2 if abs(x) < 0.995 else 3)} kWh"


def count(n: float) -> str:
    """A number of things: exact below ten thousand ("3,911"), then "44 k", "0.94 M", "11 M", "1.2 G", "3.4 T" and on to "P" and "E"."""
    if not math.isfinite(n):
        return _no_number(n)
    if abs(n) < 9999.5:
        return f"{n:,.0f}"
    if abs(n) < 99_500:  # from a tenth of a million on, millions: parameters of small models are read as 0.94 M, not 940 k
        return f"{_significant(n / 1e3, 2)} k"
    for power, letter in ((6, "M"), (9, "G"), (12, "T"), (15, "P")):
        if abs(n) < 0.9995 * 10 ** (power + 3):
            return f"{_significant(n / 10**power, 2)} {letter}"
    return f"{_significant(n / 1e18, 2)} E"


def size(n_bytes: float) -> str:
    """Bytes in decimal units, as disks are sold: "812 B", "1.4 MB", "24 GB"."""
    if not math.isfinite(n_bytes):
        return _no_number(n_bytes)
    for power, unit in ((0, "B"), (3, "kB"), (6, "MB"), (9, "GB")):
        if abs(n_bytes) < 0.9995 * 10 ** (power + 3):
            return f"{n_bytes:.0f} B" if power == 0 else f"{_significant(n_bytes / 10**power, 2)} {unit}"
    return f"{_significant(n_bytes / 1e12, 2)} TB"


def percent(x: float) -> str:
    """x as a share of 1: "97%", "0.4%". Only all prints as 100% and only nothing as 0%: between them "99.9%" and "<0.1%"."""
    if not math.isfinite(x):
        return _no_number(x)
    if x < 0:
        return "-" + percent(-x)
    if 0 < x < 0.0005:
        return "<0.1%"
    if x < 0.00995 and x > 0:
        return f"{x * 100:.1f}%"
    if 0.995 <= x < 1:
        return f"{math.floor(x * 1000) / 10:.1f}%"  # rounded down: 0.9996 is not all
    return f"{x * 100:.0f}%"


def _no_number(x: float) -> str:
    return "unknown" if math.isnan(x) else "no limit" if x > 0 else "-no limit"


def _two(n: int, base: int, large: str, small: str) -> str:
    """n small units as two figures: 250 s is "4 min 10 s"."""
    whole, rest = divmod(n, base)
    return f"{whole} {large} {rest:02d} {small}" if rest else f"{whole} {large}"


def _significant(x: float, digits: int) -> str:
    """x with that many significant digits, never in scientific notation, and never fewer than its whole part: 0.0041, 1.4, 123."""
    if x == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(x)))
    if round(abs(x), places) >= 10 ** (digits - places):  # 0.0999 rounds up to 0.10, not 0.100
        places -= 1
    return f"{x:,.{max(0, places)}f}"
