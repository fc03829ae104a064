"""Maximum mean discrepancy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from wfr_pde.metrics.base import (
    BY_DRAWS,
    Law,
    Measure,
    Metric,
    atoms,
    cell_masses,
    check_density,
    check_draws,
    check_measures,
    check_straight,
    root,
)
from wfr_pde.metrics.kernel_means import check_widths, double_sum, mutual_mean, own_mean, sums_over_sources
from wfr_pde.metrics.product_kernel_means import densities_of, own_product_mean, product_mean_at
from wfr_pde.numerics.arguments import choice, flag, length
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw

KERNELS = ("gaussian", "laplace")  # kernels that are known, by name


@dataclass(frozen=True)
class MMD(Metric):
    """Maximum mean discrepancy, MMD² = E k(X, X') + E k(Y, Y') - 2 E k(X, Y).

    X, X' are independent draws from the reference, Y, Y' from the other, and k(x, y) = exp(-|x - y|²/scale²), or
    exp(-|x - y|/scale). It sees differences on the length `scale` best; of longer ones it sees that the distributions
    differ, but not by how far, and shorter ones it smooths away. n independent draws from the reference have
    `floor(reference, n)` as root mean square, about n^-½ in every dimension.

    Between particles the sums are over all pairs, weighted. By default the pairs of a particle with itself belong to
    them (the V-statistic, which is >= 0); with `unbiased` they do not, E k(Y, Y') is Σ_{i≠j} w_i w_j k_ij/(1 - Σ w²),
    and for independent draws MMD² is right on average (the U-statistic), so that it is negative half of the time where
    there is no difference.

    With a density the Gaussian kernel is summed over all cells, as a product of one-dimensional kernels: the error is
    that of the quadrature, e^(-2π² (sd/dx)²) with sd that of the product of density and kernel, where the kernel's
    own is scale/√2; cost O(n cells). The Laplace kernel has a kink at 0: sums between cells (by FFT where the cells
    are equal, else directly) are corrected for it, which leaves O(dx^(d+3)), on graded axes O(dx^(d+1)); between equal
    cells the mean of the kernel is interpolated by a quintic spline, O(dx^6), and on graded axes sums over particles
    and cells err by O(dx^(d+1)), with both signs. Particles outside the box count where they are. Cost: O(n²) between
    particles, in memory O(n).

    With a `ProductLaw` in any dimension the Gaussian kernel is a product over the factors, each summed over cells, or
    in closed form for a Gaussian; so that all is exact up to the quadrature. The Laplace kernel is no product: see
    `ByDraws`. In d dimensions the kernel between draws is of the order exp(-2 tr(C)/scale²) or more; a scale about
    2 sqrt(tr C) keeps it from vanishing.

    Parameters
    ----------
    scale : float
        Length of the kernel, > 0.
    kernel : {"gaussian", "laplace"}
        Which of the two.
    unbiased : bool
        Whether pairs of a particle with itself are left out; then `squared` must be true.
    squared : bool
        Whether MMD² is returned.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If an argument is neither a Density nor Particles.
    ValueError
        If a parameter, or the grid, does not fit: cells wider than scale/1.77 where the mass is, a periodic axis,
        for the Laplace kernel two densities on different grids.

    References
    ----------
    Gretton et al. (2012), https://jmlr.org/papers/v13/gretton12a.html.

    Examples
    --------
    Between two points at the distance 1, MMD² = 2 - 2 e^-1:

    >>> import wfr_pde as wfr
    >>> squared = wfr.metrics.MMD(scale=1.0, squared=True)
    >>> round(squared(wfr.Particles([[0.0]]), wfr.Particles([[1.0]])), 6)
    1.264241
    """

    scale: float = 1.0
    kernel: str = "gaussian"
    unbiased: bool = False
    squared: bool = False
    name: str = "mmd"

    symmetric = True

    @property
    @override
    def references(self) -> tuple[type, ...]:  # type: ignore[override]
        """Products too, for the Gaussian kernel."""
        return (Density, Particles, ProductLaw) if self.kernel == "gaussian" else (Density, Particles)

    @property
    @override
    def triangle(self) -> bool:  # type: ignore[override]
        """Whether the root is taken, which is a metric."""
        return not self.squared

    @property
    @override
    def signed(self) -> bool:  # type: ignore[override]
        """Whether the estimate is the unbiased one."""
        return self.unbiased

    @property
    @override
    def splits_weights(self) -> bool:  # type: ignore[override]
        """Whether pairs of a particle with itself belong to the sums."""
        return not self.unbiased

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scale", length("scale", self.scale, "a length of the kernel"))
        choice("kernel", self.kernel, KERNELS)
        flag("unbiased", self.unbiased)
        flag("squared", self.squared)
        if self.unbiased and not self.squared:
            raise ValueError("the unbiased estimate of MMD² may be negative and has no root: give squared=True, too")

    @property
    @override
    def long_name(self) -> str:
        return f"MMD{'²' if self.squared else ''}, {self.kernel} kernel of scale {self.scale:g}"

    @override
    def __call__(self, reference: Law, other: Measure) -> float:
        check_measures(reference, other, self.name, "" if self.kernel == "gaussian" else BY_DRAWS)
        check_straight(self.name, reference, other)
        for measure in (reference, other):
            for density in densities_of(measure):
                check_widths(density, self.scale)
        if isinstance(reference, Density) and isinstance(other, Density) and reference.grid.matches(other.grid):
            square = self._of_cells(reference.grid, cell_masses(reference) - cell_masses(other))
        else:
            square = self._own(reference) + self._own(other) - 2 * self._mutual(reference, other)
        return square if self.squared else root(square, 1.0, self.name)

    def floor(self, reference: Density | ProductLaw, n: int) -> float:
        """Return the root mean square over `n` draws of the `reference`, ((1 - E k(X, X'))/n)^½; squared, its square.

        It is zero for the unbiased estimate.
        """
        check_density(reference, self.name, products=self.kernel == "gaussian")
        check_straight(self.name, reference)
        check_draws(n)
        for density in densities_of(reference):
            check_widths(density, self.scale)
        square = 0.0 if self.unbiased else (1 - self._own(reference)) / n
        return square if self.squared else math.sqrt(square)

    def _own(self, measure: Law) -> float:
        """Return E k(X, X') of independent draws from one measure."""
        if isinstance(measure, ProductLaw):
            return own_product_mean(float(self.scale), measure)
        if isinstance(measure, Density):
            return own_mean(self.kernel, float(self.scale), measure)
        points, weights = atoms(measure)
        total = float(weights @ sums_over_sources(self.kernel, self.scale, points, points, weights))
        diagonal = float(np.sum(weights**2))
        if not self.unbiased:
            return total
        if not diagonal < 1:
            raise ValueError("the unbiased estimate needs at least two particles of positive weight")
        return (total - diagonal) / (1 - diagonal)

    def _mutual(self, a: Law, b: Measure) -> float:
        """Return E k(X, Y) of draws from two measures."""
        if isinstance(a, ProductLaw):
            points, weights = atoms(b)
            return float(weights @ product_mean_at(float(self.scale), a, points))
        return mutual_mean(self.kernel, float(self.scale), a, b)

    def _of_cells(self, grid: Grid, masses: Array) -> float:
        return double_sum(self.kernel, float(self.scale), grid, masses)
