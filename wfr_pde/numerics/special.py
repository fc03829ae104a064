"""Functions whose plain formula cancels near zero."""

from __future__ import annotations

import math
from typing import Any

SMALL = 0.35  # below this the series is used; x^15/15! is then 3e-18 of x²/2
LAST_POWER = 14  # of the series


def expm1_minus(x: Any, xp: Any) -> Any:
    """Compute e^x - 1 - x >= 0, right to rounding near zero too, where it is x²/2 + x³/6 + ...

    Parameters
    ----------
    x : array
        At most about 700, where e^x overflows.
    xp : module
        Array namespace of `x`.
    """
    small = xp.abs(x) < SMALL
    y = xp.where(small, x, xp.zeros_like(x))
    series = xp.zeros_like(x)
    for k in range(LAST_POWER, 1, -1):
        series = series * y + 1 / math.factorial(k)
    return xp.where(small, y * y * series, xp.expm1(x) - x)


def minus_log1p(x: Any, xp: Any) -> Any:
    """Compute x - log(1 + x) >= 0 for x > -1, right to rounding near zero too, where it is x²/2 - x³/3 + ..."""
    # with u = log(1 + x) it is e^u - 1 - u, and u is right to rounding
    return expm1_minus(xp.log1p(x), xp)
