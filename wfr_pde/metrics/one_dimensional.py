"""Distributions on a line: weighted atoms, or mass spread evenly between nodes. Exact distances between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.metrics.base import Measure, cell_masses
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density

FINEST = 2**16  # most bins of a line onto which a density is projected: narrower cells share bins, to save memory


@dataclass(frozen=True, eq=False)
class Line:
    """Distribution function F of a measure on a line.

    Parameters
    ----------
    nodes : array
        Increasing: where the atoms sit (m,), or between which the mass is spread evenly (m + 1,).
    levels : array (m + 1,)
        F from 0 to 1: after every atom (and 0 before the first), or at the nodes.
    """

    nodes: Array
    levels: Array

    @property
    def is_atomic(self) -> bool:
        """Whether the mass sits in atoms."""
        return len(self.nodes) < len(self.levels)

    @classmethod
    def of_atoms(cls, positions: Array, weights: Array) -> Line:
        """Make a line of weighted atoms, in any order."""
        order = np.argsort(positions, kind="stable")
        return cls(positions[order], _levels(weights[order]))

    @classmethod
    def of_bins(cls, edges: Array, masses: Array) -> Line:
        """Make a line of mass spread evenly over bins."""
        return cls(edges, _levels(masses))

    @classmethod
    def of(cls, measure: Measure) -> Line:
        """Make a line of a measure in one dimension, the mass of a cell spread evenly over it: an error O(dx²)."""
        if isinstance(measure, Density):
            return cls.of_bins(measure.grid.axes[0].edges, cell_masses(measure))
        return cls.of_atoms(measure.positions[:, 0], measure.weights)

    def cdf(self, x: Array) -> Array:
        """Return F (right-continuous) at points (k,)."""
        if self.is_atomic:
            return self.levels[np.searchsorted(self.nodes, x, side="right")]
        return np.interp(x, self.nodes, self.levels)

    def quantiles(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Return quantiles at the two ends of intervals of levels within which no level of F lies."""
        segment = np.searchsorted(self.levels, 0.5 * (lower + upper), side="right") - 1
        segment = np.clip(segment, 0, len(self.levels) - 2)
        if self.is_atomic:
            return self.nodes[segment], self.nodes[segment]
        low, high = self.levels[segment], self.levels[segment + 1]
        start, length = self.nodes[segment], self.nodes[segment + 1] - self.nodes[segment]
        mass = np.where(high > low, high - low, 1.0)
        return start + length * ((lower - low) / mass), start + length * ((upper - low) / mass)


def _levels(masses: Array) -> Array:
    levels = np.concatenate([[0.0], np.cumsum(masses)])
    return np.minimum(levels / levels[-1], 1.0)


def between(a: Line, b: Line) -> tuple[Array, Array, Array]:
    """Return lengths of intervals on which F_a - F_b is linear, and its limits at their two ends."""
    breaks = np.unique(np.concatenate([a.nodes, b.nodes]))
    left, right = breaks[:-1], breaks[1:]
    ends = [line.cdf(left) if line.is_atomic else line.cdf(right) for line in (a, b)]
    return right - left, a.cdf(left) - b.cdf(left), ends[0] - ends[1]


def wasserstein(a: Line, b: Line, order: int) -> float:
    """Return W_1 = ∫ |F_a - F_b| dx, or W_2 = (∫ |F_a⁻¹ - F_b⁻¹|² du)^½, exact."""
    if order == 1:
        length, first, last = between(a, b)
        crossing = first * last < 0
        size = np.abs(first) + np.abs(last)
        mean = np.where(crossing, (first**2 + last**2) / (2 * np.where(crossing, size, 1.0)), 0.5 * size)
        return float(length @ mean)
    levels = np.unique(np.concatenate([a.levels, b.levels]))
    lower, upper = levels[:-1], levels[1:]
    (a_low, a_high), (b_low, b_high) = a.quantiles(lower, upper), b.quantiles(lower, upper)
    first, last = a_low - b_low, a_high - b_high
    return float(np.sqrt((upper - lower) @ (first**2 + first * last + last**2) / 3))


def energy(a: Line, b: Line) -> float:
    """Return 2 ∫ (F_a - F_b)² dx, exactly."""
    length, first, last = between(a, b)
    return 2 * float(length @ (first**2 + first * last + last**2)) / 3


class Projection:
    """A measure seen along directions, as a distribution on a line.

    Along a direction θ a cell is spread evenly over an interval with the variance Σ θ_k² dx_k²/12 of the projected
    cell, and the intervals are summed in bins of half the narrowest (2^16 bins at most). Particles are projected as
    they are.
    """

    def __init__(self, measure: Measure) -> None:
        from wfr_pde.metrics.base import atoms

        self.points, self.weights = atoms(measure)
        self.widths: Array | None = None
        if isinstance(measure, Density):
            cells = np.argwhere(cell_masses(measure) > 1e-16 / measure.grid.size)
            lengths: list[Any] = [np.diff(axis.edges) for axis in measure.grid.axes]
            self.widths = np.stack([length[i] for length, i in zip(lengths, cells.T, strict=True)], axis=-1)

    def along(self, direction: Array) -> Line:
        """Return the distribution of the coordinate along a unit vector (d,)."""
        position = self.points @ direction
        if self.widths is None:
            return Line.of_atoms(position, self.weights)
        from wfr_pde.numerics.compiled.deposit import deposit  # here, as it loads numba

        half = 0.5 * np.sqrt(self.widths**2 @ direction**2)
        lower, upper = float((position - half).min()), float((position + half).max())
        bins = min(FINEST, int(np.ceil((upper - lower) / half.min())) + 1)
        edges = np.linspace(lower, upper, bins + 1)
        masses = np.zeros(bins)
        deposit(position, half, self.weights, lower, (upper - lower) / bins, masses)
        return Line.of_bins(edges, masses)
