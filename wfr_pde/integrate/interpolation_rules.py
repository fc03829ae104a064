"""Rules that interpolate log-densities in time: polynomials in a variable of time, and their errors."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array

AT_REST = 1e-12  # of its first slope: below, what a variable says of rates of change drowns in rounding
LEVELS = np.concatenate([[0.25], 0.25 * 1.08 ** np.arange(1, 150)])  # nats below the top, up to 24,000


@dataclass(frozen=True)
class Variable:
    """A variable of time: t - t_0, log(t - t_0 + scale), or (1 - e^{-scale (t - t_0)})/scale."""

    kind: str
    origin: float
    scale: float = 0.0

    def __call__(self, t: Any) -> Any:
        """Return the value of the variable at a time."""
        since = np.asarray(t, dtype=np.float64) - self.origin
        if self.kind == "log":
            return np.log(since + self.scale)
        return -np.expm1(-self.scale * since) / self.scale if self.kind == "decay" else since

    def slope(self, t: Any) -> Any:
        """Return the derivative of the variable at a time."""
        since = np.asarray(t, dtype=np.float64) - self.origin
        if self.kind == "log":
            return 1 / (since + self.scale)
        return np.exp(-self.scale * since) if self.kind == "decay" else np.ones_like(since)

    def moves(self, times: Array) -> bool:
        """Return whether the variable moves at all of the times: one that decays comes to rest."""
        slopes = self.slope(times)
        return self.kind != "decay" or bool((slopes > AT_REST * slopes.max()).all())

    def separates(self, times: Array) -> bool:
        """Return whether the variable tells the times apart in floating point."""
        with np.errstate(all="ignore"):
            values = self(times)
        size = max(np.abs(values).max(), 1e-300)
        return bool(np.isfinite(values).all() and (np.diff(values) > 1e-10 * size).all())


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule that interpolates log mu in an interval between frames, and its errors.

    Attributes
    ----------
    variable : Variable
    frames : tuple of int
        Numbers of the frames that the polynomial goes through.
    times : array (n,)
        Their times.
    hermite : bool
        Whether it has the rates of change of the frames, too.
    substituted : bool
        Whether the error comes from the equation: then it starts from that of the frame before.
    error : float
        Largest L1 error in the interval, bound or estimate, at most 2, but for what the frames are off by.
    nats, slopes : arrays (levels,)
        Largest error of log mu (nats), and of its gradient (1/length), among places at most so far below the top
        (`LEVELS`); infinite where unknown.
    """

    variable: Variable
    frames: tuple[int, ...]
    times: Array
    hermite: bool = False
    _: KW_ONLY
    substituted: bool = False
    error: float = 2.0
    nats: Array = field(default_factory=lambda: np.full(len(LEVELS), np.inf))
    slopes: Array = field(default_factory=lambda: np.full(len(LEVELS), np.inf))

    @cached_property
    def _nodes(self) -> Array:
        return np.asarray(self.variable(self.times))

    def weights(self, t: Any) -> tuple[Array, Array]:
        """Return the weights (..., n) of the log-densities, and of their rates of change, for times (...)."""
        return self._weights(self.variable(t))

    def weights_of_rate(self, t: float) -> tuple[Array, Array]:
        """Return the weights that give the rate of change of the interpolant, by a complex step."""
        step = 1e-30
        values, rates = self._weights(self.variable(t) + 1j * step)
        slope = self.variable.slope(t) / step
        return values.imag * slope, rates.imag * slope

    def _weights(self, places: Any) -> tuple[Any, Any]:
        nodes, n = self._nodes, len(self.frames)
        places = np.asarray(places)
        lagrange = np.ones((*places.shape, n), dtype=places.dtype)
        for j in range(n):
            for i in range(n):
                if i != j:
                    lagrange[..., j] = lagrange[..., j] * (places - nodes[i]) / (nodes[j] - nodes[i])
        if not self.hermite:
            return lagrange, np.zeros_like(lagrange)
        apart = nodes[:, None] - nodes + np.diag(np.full(n, np.inf))
        sums = np.sum(1 / apart, axis=1)  # derivative of a Lagrange polynomial at its own node
        from_node = places[..., None] - nodes
        values = (1 - 2 * sums * from_node) * lagrange**2
        return values, from_node * lagrange**2 / self.variable.slope(self.times)

    def lebesgue(self, t: Array) -> float:
        """Return the largest sum of the sizes of the weights at some times."""
        return float(np.abs(self.weights(t)[0]).sum(axis=-1).max())

    def allows(self, depth: Array) -> tuple[Array, Array]:
        """Return the errors of log mu and of its gradient at places so many nats below the top."""
        index = np.searchsorted(LEVELS, np.asarray(depth))
        inside = index < len(LEVELS)
        index = np.minimum(index, len(LEVELS) - 1)
        return np.where(inside, self.nats[index], np.inf), np.where(inside, self.slopes[index], np.inf)


def largest_down_to(depth: Array, sizes: Array) -> Array:
    """Return the largest of `sizes` among the places whose depth is at most that of each of `LEVELS`.

    What is not a number counts as infinite.
    """
    index = np.searchsorted(LEVELS, depth.ravel())
    largest = np.zeros(len(LEVELS) + 1)
    np.maximum.at(largest, np.minimum(index, len(LEVELS)), np.where(np.isfinite(sizes), sizes, np.inf).ravel())
    return np.maximum.accumulate(largest)[:-1]
