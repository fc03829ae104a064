"""Energy distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from wfr_pde.metrics import one_dimensional as lines
from wfr_pde.metrics.base import (
    BY_DRAWS,
    Measure,
    Metric,
    cell_masses,
    check_density,
    check_draws,
    check_measures,
    check_same_cells,
    check_straight,
    root,
)
from wfr_pde.metrics.kernel_means import double_sum, mutual_mean, own_mean
from wfr_pde.numerics.arguments import flag
from wfr_pde.space.density import Density


@dataclass(frozen=True)
class EnergyDistance(Metric):
    """Energy distance: D² = 2 E|X - Y| - E|X - X'| - E|Y - Y'|, X, X' from the reference, Y, Y' from the other.

    It sees every difference, on all lengths, long ones best: a shift by L much longer than the distributions are wide
    has D² = 2 L up to their widths, one much shorter about L²/width. No parameter, and scaled with the space: D² is a
    length. n independent draws from the reference have `floor(reference, n)` as root mean square, in every dimension
    about n^-½.

    In one dimension D² = 2 ∫ (F - G)² dx, exact for mass spread evenly over the cells, an error O(dx²). In more, sums
    over cells and particles with the errors and the cost of the Laplace kernel of `MMD`. Particles outside the box
    count where they are.

    Parameters
    ----------
    squared : bool
        Whether D² is returned, in units of length.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If an argument is neither a Density nor Particles.
    ValueError
        If dimensions differ, an axis is periodic, two densities in more than one dimension are on different grids, or
        a graded grid in more than one dimension has mass in more than 40000 cells.

    References
    ----------
    Székely and Rizzo (2013), doi:10.1016/j.jspi.2013.03.018.

    Examples
    --------
    Between two points at the distance L it is D² = 2 L:

    >>> import wfr_pde as wfr
    >>> wfr.metrics.EnergyDistance(squared=True)(wfr.Particles([[0.0]]), wfr.Particles([[3.0]]))
    6.0
    """

    squared: bool = False
    name: str = "energy_distance"

    symmetric = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        flag("squared", self.squared)

    @property
    @override
    def triangle(self) -> bool:  # type: ignore[override]
        """Whether the root is taken, which is a metric."""
        return not self.squared

    @property
    @override
    def long_name(self) -> str:
        return f"{'squared ' if self.squared else ''}energy distance"

    @property
    @override
    def units(self) -> str:  # type: ignore[override]
        return "length" if self.squared else "length^½"

    @override
    def __call__(self, reference: Measure, other: Measure) -> float:
        check_measures(reference, other, self.name, BY_DRAWS)
        check_straight(self.name, reference, other)
        if reference.ndim == 1:
            square = lines.energy(lines.Line.of(reference), lines.Line.of(other))
            return square if self.squared else math.sqrt(square)
        if isinstance(reference, Density) and isinstance(other, Density):
            check_same_cells(reference.grid, other.grid)
            difference = cell_masses(reference) - cell_masses(other)
            square, size = -double_sum("distance", 1.0, reference.grid, difference), 1.0
        else:
            mutual = self._mutual(reference, other)
            square, size = 2 * mutual - self._own(reference) - self._own(other), mutual
        return square if self.squared else root(square, size, self.name)

    def floor(self, reference: Density, n: int) -> float:
        """Return the root mean square over `n` draws from the `reference`, (E|X - X'|/n)^½; its square if squared."""
        check_density(reference, self.name)
        check_straight(self.name, reference)
        check_draws(n)
        square = self._own(reference) / n
        return square if self.squared else math.sqrt(square)

    def _own(self, measure: Measure) -> float:
        """Return E|X - X'| of independent draws from one measure."""
        if isinstance(measure, Density):
            return own_mean("distance", 1.0, measure)
        return self._mutual(measure, measure)

    def _mutual(self, a: Measure, b: Measure) -> float:
        """Return E|X - Y| of draws from two measures."""
        return mutual_mean("distance", 1.0, a, b)
