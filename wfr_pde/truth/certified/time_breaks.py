"""Targets that move: their log-density at many times, and breaks between panels on which few polynomials tell it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.geometric_path import GeometricMean, GeometricPath

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target


DEGREE = 8  # in time, on a panel: that of the panels of steps, and one more
LOOKS = 1024  # times at which the whole is looked at: what is over between two of them is not seen
LOOKS_PER_PANEL = 8  # and each panel, at least
SHARE = 1e-4  # of the tolerance that a panel may miss, error times length over the whole
ROUNDING = 1e-13  # of the largest V, which differences of log pi_t have
MOST_PANELS = 1000  # a target that needs more moves too roughly, and is refused
GOLDEN = 0.6180339887498949  # the golden ratio less one: its multiples mod 1 are even shares, however many


def at_times(target: Target, evaluate: Callable[[Target], Any]) -> Callable[[float], Array]:
    """Make a function of time that evaluates log pi_t at fixed places, up to a constant."""
    if not isinstance(target, GeometricPath):
        return lambda t: np.asarray(evaluate(target.at(t)))
    ends: list[Array | None] = [None, None]

    def end(k: int) -> Array:
        if ends[k] is None:
            ends[k] = np.asarray(evaluate((target.start, target.target)[k]))
        return ends[k]  # type: ignore[return-value]

    def mean(t: float) -> Array:
        weight = GeometricMean(target.start, target.target, target.schedule(t)).weight  # type: ignore[misc]
        if weight in (0, 1):  # no 0 * inf
            return end(int(weight))
        return np.asarray((1 - weight) * end(0) + weight * end(1))

    return mean


def breaks(target: Target, points: Array, span: tuple[float, float], rtol: float) -> Array:
    """Find times between which -log pi_t at some points is, to a tolerance, a polynomial of degree 8 in t.

    Panels are halved until the polynomial through its Chebyshev points is right at all times that are looked at: a
    thousand over the whole, and eight at least in each panel. About a jump or a kink they shrink, until what they miss,
    times their length, is below 1e-4 of the tolerance; then neighbours are joined as long as one polynomial will do.
    What lies between all these times is not seen.

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
    panels = _Panels(target, points, span, rtol)
    ends, todo = [], [span]
    while todo:
        low, high = todo.pop()
        middle = 0.5 * (low + high)
        if panels.smooth(low, high) or not low < middle < high:
            ends.append(high)
            continue
        if len(ends) + len(todo) > MOST_PANELS:
            raise NumericalError(
                f"the target moves too roughly to be certified: near t={low:.6g} no polynomials follow it, on more "
                f"than {MOST_PANELS} panels; give a shorter time, or a smoother schedule"
            )
        todo += [(middle, high), (low, middle)]
    return np.array(panels.joined([span[0], *ends])[1:-1])


class _Panels:
    """Panels of time, and a test whether -log pi_t is a polynomial in t on them."""

    def __init__(self, target: Target, points: Array, span: tuple[float, float], rtol: float) -> None:
        self.length, self.share = span[1] - span[0], SHARE * rtol
        self._log_density = at_times(target, lambda distribution: distribution.log_density(points))
        self.looks = span[0] + self.length * np.sort(np.arange(1, LOOKS + 1) * GOLDEN % 1)
        self.seen = self._values(self.looks)
        self.least = ROUNDING * float(np.abs(self.seen).max())
        self.nodes = np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)[::-1]
        ends = np.where(np.abs(self.nodes) > 1 - 1e-12, 0.5, 1.0)
        self.weights = np.where(np.arange(DEGREE + 1) % 2, -1.0, 1.0) * ends

    def _values(self, times: Array) -> Array:
        """Evaluate log pi_t at the points, less the mean: constants do not matter; (times, points)."""
        values = np.array([self._log_density(t) for t in times.tolist()], dtype=np.float64)
        return values - values.mean(axis=1, keepdims=True)

    def smooth(self, low: float, high: float) -> bool:
        """Return whether the polynomial through the Chebyshev points of a panel is right wherever that is looked at."""
        inside = (self.looks > low) & (self.looks < high)
        extra = low + (high - low) * np.sort(np.arange(1, LOOKS_PER_PANEL + 1) * GOLDEN % 1)
        times = np.concatenate([self.looks[inside], extra])
        values = np.concatenate([self.seen[inside], self._values(extra)])
        through = self._values(low + (high - low) * (self.nodes + 1) / 2)
        found = _interpolated(self.nodes, self.weights, through, 2 * (times - low) / (high - low) - 1)
        error = float(np.abs(found - values).max())
        return error <= max(self.least, self.share * self.length / (high - low))

    def joined(self, ends: list[float]) -> list[float]:
        """Join neighbouring panels where the joined one is smooth; return the ends that are left."""
        kept = [ends[0]]
        for before, end in itertools.pairwise(ends[1:]):
            if not self.smooth(kept[-1], end):
                kept.append(before)
        return [*kept, ends[-1]]


def _interpolated(nodes: Array, weights: Array, values: Array, at: Array) -> Array:
    """Interpolate by the barycentric formula, (times, points)."""
    gaps = at[:, None] - nodes
    hit = np.abs(gaps) < 1e-14
    terms = weights / np.where(hit, 1.0, gaps)
    result = (terms @ values) / terms.sum(axis=1, keepdims=True)
    rows, columns = np.nonzero(hit)
    result[rows] = values[columns]
    return result
