"""Where a moving target is smooth in time: breaks between panels on which few polynomials tell how it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import NumericalError

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target

Array = np.ndarray[Any, np.dtype[np.float64]]

DEGREE = 8  # in time, on a panel
LOOKS = 1024  # times at which the whole is looked at
LOOKS_PER_PANEL = 8  # and each panel, at least
SHARE = 1e-4  # of the tolerance that a panel may miss, error times length over the whole
ROUNDING = 1e-13  # of the largest V
MOST_PANELS = 1000
GOLDEN = 0.6180339887498949


def breaks(target: Target, points: Array, span: tuple[float, float], rtol: float) -> Array:
    """Times between which -log pi_t at some points is a polynomial of degree 8 in t, as far as a tolerance asks for.

    Panels are halved until the polynomial through its Chebyshev points is right at all times that are looked at: a
    thousand over the whole, and eight at least in each panel. About a jump or a kink they shrink geometrically, until
    what they miss, times their length, is below 1e-4 of the tolerance. What lies between all these times is not seen.

    Parameters
    ----------
    target : Target
        Moving.
    points : array (n, d)
    span : (first, last)
    rtol : float

    Returns
    -------
    array
        Inner ends of the panels, increasing; empty where one will do.

    Raises
    ------
    NumericalError
        If there are more than a thousand panels.
    """
    first, last = span
    length = last - first
    looks = first + length * np.sort(np.arange(1, LOOKS + 1) * GOLDEN % 1)
    seen = np.array([_values(target, points, t) for t in looks])
    least = ROUNDING * float(np.abs(seen).max())
    nodes = np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)[::-1]
    weights = np.where(np.arange(DEGREE + 1) % 2, -1.0, 1.0) * np.where(np.abs(nodes) > 1 - 1e-12, 0.5, 1.0)
    ends, todo = [], [(first, last)]
    while todo:
        low, high = todo.pop()
        inside = (looks > low) & (looks < high)
        extra = low + (high - low) * np.sort(np.arange(1, LOOKS_PER_PANEL + 1) * GOLDEN % 1)
        times = np.concatenate([looks[inside], extra])
        values = np.concatenate([seen[inside], [_values(target, points, t) for t in extra]])
        through = np.array([_values(target, points, t) for t in low + (high - low) * (nodes + 1) / 2])
        error = float(
            np.abs(_interpolated(nodes, weights, through, 2 * (times - low) / (high - low) - 1) - values).max()
        )
        middle = 0.5 * (low + high)
        if error <= max(least, SHARE * rtol * length / (high - low)) or not low < middle < high:
            ends.append(high)
            continue
        if len(ends) + len(todo) > MOST_PANELS:
            raise NumericalError(
                f"the target moves too roughly to be certified: near t={low:.6g} no polynomials follow it, on more "
                f"than {MOST_PANELS} panels; give a shorter time, or a smoother schedule"
            )
        todo += [(middle, high), (low, middle)]
    return np.array(ends[:-1])


def _values(target: Target, points: Array, t: float) -> Array:
    """log pi_t at the points, less the mean: constants do not matter."""
    values = np.asarray(target.at(float(t)).log_density(points), dtype=np.float64)
    return values - values.mean()


def _interpolated(nodes: Array, weights: Array, values: Array, at: Array) -> Array:
    """Barycentric interpolation, (times, points)."""
    gaps = at[:, None] - nodes
    hit = np.abs(gaps) < 1e-14
    terms = weights / np.where(hit, 1.0, gaps)
    result = (terms @ values) / terms.sum(axis=1, keepdims=True)
    rows, columns = np.nonzero(hit)
    result[rows] = values[columns]
    return result
