"""Numbers in tables: as many digits as an interval supports."""

from __future__ import annotations

import math
from collections.abc import Sequence

Cell = str | tuple[str, ...]  # words; or the numerals of a number, or of two ends of an interval; () for nothing
KEPT = 2  # digits of half the width of an interval that are printed: two, as is usual for uncertainties
UNKNOWN = 3  # digits of a number whose error is not known
SMALLEST, LARGEST = -3, 6  # powers of ten between which numbers are written out


def numerals(values: Sequence[float], half_width: float, sign: bool = False) -> list[str]:
    """Return numbers in one form, down to the second digit of half the width of their interval.

    Without a width they have three digits.
    """
    plus = "+" if sign else ""
    if not (math.isfinite(half_width) and half_width > 0):
        return [plain(value, UNKNOWN, sign) for value in values]
    place = _power(half_width) - KEPT + 1  # of the last digit, as a power of ten
    largest = max(_power(value) for value in (*values, half_width) if value != 0 and math.isfinite(value))
    if SMALLEST <= largest < LARGEST:
        return [_unsigned_zero(f"{round(value, -place):{plus}.{max(-place, 0)}f}") for value in values]
    return [
        _unsigned_zero(f"{value:{plus}.{max(_power(value) - place, 0) if value else 0}e}")
        if math.isfinite(value)
        else f"{value:{plus}}"
        for value in values
    ]


def plain(value: float, digits: int, sign: bool = False) -> str:
    """Return a number with some digits, written out where that is short."""
    plus = "+" if sign else ""
    if value == 0 or not math.isfinite(value):
        return f"{value:{plus}g}" if value else "0"
    power = _power(float(f"{value:.{digits - 1}e}"))
    if SMALLEST <= power < LARGEST:
        places = digits - 1 - power
        return f"{round(value, places):{plus}.{max(places, 0)}f}"
    return f"{value:{plus}.{digits - 1}e}"


def _power(value: float) -> int:
    """Return the power of ten of the first digit."""
    return math.floor(math.log10(abs(value)))


def _unsigned_zero(numeral: str) -> str:
    """Write zero without sign and power of ten, whatever was rounded to it; return any other numeral as it is."""
    return numeral.lstrip("+-").split("e")[0] if float(numeral) == 0 else numeral
