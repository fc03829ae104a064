"""Distances between marginals, coordinate by coordinate: lower bounds of the joint ones, in any dimension."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from wfr_pde.metrics import one_dimensional as lines
from wfr_pde.metrics.base import (
    Law,
    Measure,
    Metric,
    check_density,
    check_measures,
    check_straight,
)
from wfr_pde.metrics.binned import BinnedTotalVariation
from wfr_pde.numerics.arguments import finite_array, whole
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw

CELLS = 1024  # of the grid that the marginal of a Gaussian factor is put on
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of quantiles, by default


@dataclass(frozen=True)
class _Marginal(Metric):
    """Base of means over coordinates of distances on a line.

    Coordinates are those of the measures; of a `ProductLaw` those of y = Q'(x - shift), and then particles are turned.
    """

    coordinates: Sequence[int] | None = None

    references = (Density, Particles, ProductLaw)
    symmetric = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coordinates is not None:
            meaning = "the number of a coordinate"
            given = np.atleast_1d(finite_array("coordinates", self.coordinates)).ravel()
            numbers = tuple(whole("coordinates", k, 0, meaning) for k in given.tolist())
            if not numbers:
                raise ValueError("coordinates is empty: leave it out for all of them")
            object.__setattr__(self, "coordinates", numbers)

    def chosen(self, ndim: int) -> tuple[int, ...]:
        """Return the numbers of the coordinates out of `ndim`.

        Raises
        ------
        ValueError
            If there are not as many.
        """
        if self.coordinates is None:
            return tuple(range(ndim))
        if max(self.coordinates) >= ndim:
            raise ValueError(f"there are {ndim} coordinates, from 0 to {ndim - 1}, but coordinates={self.coordinates}")
        return tuple(self.coordinates)

    def pairs(self, reference: Law, other: Measure) -> list[tuple[Measure, Measure]]:
        """Return the marginals of the `reference` and of the `other` measure, coordinate by coordinate."""
        check_measures(reference, other, self.name)
        check_straight(self.name, reference, other)
        numbers = self.chosen(reference.ndim)
        if isinstance(reference, ProductLaw) and isinstance(other, Particles):
            other = Particles(reference.inner(other.positions), other.log_weights)
        return [(_on_line(reference, k), _on_line(other, k)) for k in numbers]

    def lines_of(self, reference: Density | ProductLaw) -> list[Density]:
        """Return the marginals of a `reference` that is a density or a product, for floors."""
        check_density(reference, self.name, products=True)
        check_straight(self.name, reference)
        return [_line_of_density(reference, k) for k in self.chosen(reference.ndim)]


@dataclass(frozen=True)
class MarginalTotalVariation(_Marginal):
    """Mean over coordinates of the total variation over bins, as `BinnedTotalVariation` has it on a line.

    It is at most the total variation of the laws, and sees nothing of how coordinates depend on each other. Of a
    `ProductLaw` the coordinates are those of y, in which the blocks are independent. For n independent draws from the
    reference the mean is `floor(reference, n)`.

    Parameters
    ----------
    coordinates : sequence of int, optional
        Numbers of coordinates; by default all.
    bins : int, optional
        Number of bins per coordinate; by default n^(1/3), n the effective sample size.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If the reference is neither a Density nor a ProductLaw, or the other neither a Density nor Particles.
    ValueError
        If dimensions differ, an axis is periodic, or there is no such coordinate.

    Examples
    --------
    All particles are left of the median of the second of two coordinates, and half of them left of that of the first:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian([0, 0], 1)
    >>> density = wfr.Grid.covering(target, shape=64).density(target)
    >>> left = wfr.Particles([[-1.0, -2.0], [1.0, -1.0]])
    >>> round(wfr.metrics.MarginalTotalVariation(bins=2)(density, left), 6)
    0.25
    """

    bins: int | None = None
    name: str = "marginal_total_variation"
    long_name = "total variation over bins, mean over the coordinates"
    references = (Density, ProductLaw)  # type: ignore[assignment]
    symmetric = False

    @property
    @override
    def splits_weights(self) -> bool:  # type: ignore[override]
        """Whether the number of bins is given; else it follows the effective sample size, which splitting changes."""
        return self._on_line.splits_weights

    @property
    def _on_line(self) -> BinnedTotalVariation:
        return BinnedTotalVariation(self.bins)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bins", self._on_line.bins)

    @override
    def __call__(self, reference: Density | ProductLaw, other: Measure) -> float:
        check_density(reference, self.name, products=True)
        return float(np.mean([self._on_line(a, b) for a, b in self.pairs(reference, other)]))  # type: ignore[arg-type]

    def at_resolution_of(self, reference: Density | ProductLaw, n: int) -> MarginalTotalVariation:
        """Return the metric with the number of bins per coordinate of the `reference` that it has for `n` particles."""
        return replace(self, bins=self._on_line.number(self.lines_of(reference)[0], n))

    def floor(self, reference: Density | ProductLaw, n: int) -> float:
        """Return the mean over `n` draws from the `reference`, exact as in `BinnedTotalVariation`."""
        return float(np.mean([self._on_line.floor(density, n) for density in self.lines_of(reference)]))


@dataclass(frozen=True)
class MarginalWasserstein(_Marginal):
    """Wasserstein distances of the coordinates, put together: a lower bound of the Wasserstein distance of the laws.

    For order 2 the root of the sum over coordinates of W_2², which is W_2 itself between two products of the same
    blocks of one coordinate; for order 1 the mean over the coordinates of W_1. Exact on every line, as
    `wasserstein_1`. Nothing is seen of how coordinates depend on each other. Of a `ProductLaw` the coordinates are
    those of y, in which the blocks are independent.

    Parameters
    ----------
    coordinates : sequence of int, optional
        Numbers of coordinates; by default all.
    order : {1, 2}
        The p.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If a measure is none of these.
    ValueError
        If dimensions differ, an axis is periodic, or there is no such coordinate.

    Examples
    --------
    A shift by 3 and 4 is one by 5:

    >>> import wfr_pde as wfr
    >>> wfr.metrics.MarginalWasserstein()(wfr.Particles([[0.0, 0.0]]), wfr.Particles([[3.0, 4.0]]))
    5.0
    """

    order: int = 2
    name: str = "marginal_wasserstein"
    units = "length"
    triangle = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        order = whole("order", self.order)
        if order not in (1, 2):
            raise ValueError(f"the order of a Wasserstein distance is 1 or 2 here, got {order}")

    @property
    @override
    def long_name(self) -> str:
        together = "mean over the coordinates" if self.order == 1 else "over the coordinates"
        return f"marginal W{'₁₂'[self.order - 1]}, {together}"

    @override
    def __call__(self, reference: Law, other: Measure) -> float:
        found = np.array(
            [lines.wasserstein(lines.Line.of(a), lines.Line.of(b), self.order) for a, b in self.pairs(reference, other)]
        )
        return float(np.mean(found)) if self.order == 1 else math.sqrt(float(np.sum(found**2)))


@dataclass(frozen=True)
class MarginalQuantiles(_Marginal):
    """Root mean square difference of quantiles, over levels and coordinates.

    Of particles the quantile of level u is the smallest position below which a share u of the weights is; of a density
    the mass of a cell is spread evenly over it, an error O(dx²). Of a `ProductLaw` the coordinates are those of y.

    Parameters
    ----------
    coordinates : sequence of int, optional
        Numbers of coordinates; by default all.
    levels : sequence of float
        Between 0 and 1.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If a measure is none of these.
    ValueError
        If dimensions differ, an axis is periodic, a level is not between 0 and 1, or there is no such coordinate.

    Examples
    --------
    The medians of N(0, 1) and of three particles:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=256).density(wfr.Gaussian(0, 1))
    >>> distance = wfr.metrics.MarginalQuantiles(levels=[0.5])
    >>> round(distance(density, wfr.Particles([[-1.0], [0.5], [2.0]])), 6)
    0.5
    """

    levels: Sequence[float] = LEVELS
    name: str = "marginal_quantiles"
    units = "length"
    long_name = "difference of quantiles, root mean square over the coordinates"
    triangle = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        levels = finite_array("levels", self.levels)
        if levels.ndim != 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"levels must be numbers between 0 and 1, such as [0.05, 0.5, 0.95], got {self.levels}")
        object.__setattr__(self, "levels", tuple(levels.tolist()))

    @override
    def __call__(self, reference: Law, other: Measure) -> float:
        levels = np.array(self.levels)
        apart = [self._of(a, levels) - self._of(b, levels) for a, b in self.pairs(reference, other)]
        return math.sqrt(float(np.mean(np.square(apart))))

    def _of(self, measure: Measure, levels: Array) -> Array:
        line = lines.Line.of(measure)
        if line.is_atomic:
            # of weights that sum to a level up to rounding, the particle that reaches it
            place = np.searchsorted(line.levels[1:], levels - 1e-12, side="left")
            return np.asarray(line.nodes[np.minimum(place, len(line.nodes) - 1)])
        return line.quantiles(levels, levels)[0]


def _on_line(measure: Law, k: int) -> Measure:
    """Return the marginal of a coordinate; a Gaussian one on a grid."""
    if isinstance(measure, Particles):
        return Particles(measure.positions[:, [k]], measure.log_weights)
    return _line_of_density(measure, k)


@functools.lru_cache(maxsize=512)
def _line_of_density(measure: Density | ProductLaw, k: int) -> Density:
    """Return the marginal density of a coordinate, made once for all particles that are compared with it."""
    if isinstance(measure, ProductLaw):
        found = measure.marginal(k)
        return found if isinstance(found, Density) else Grid.covering(found, shape=CELLS).density(found)
    return measure if measure.ndim == 1 else measure.marginal(k)
