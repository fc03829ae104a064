"""Total variation and Hellinger distance over bins of about equal mass, for particles, too."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from wfr_pde.metrics.base import (
    MARGINALS,
    Measure,
    Metric,
    cell_masses,
    check_density,
    check_draws,
    check_measures,
    check_same_cells,
    wrapped,
)
from wfr_pde.numerics.arguments import whole
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles

# relative to spreads and masses: what differs by less is equal up to rounding, so that bins do not depend on it
TIE = 1e-9
SURE = 12.0  # standard deviations of a binomial count that are summed over: the rest has a probability below 1e-30


@dataclass(frozen=True)
class _Binned(Metric):
    """Base of distances over bins of about equal mass of the reference.

    Bins are boxes of cells, found by halving the box again and again across the axis of the largest spread, so that
    both halves have the mass that their number of bins asks for. Particles outside the box have a bin of their own,
    where the reference has no mass; on periodic axes they are wrapped into it.
    """

    bins: int | None = None

    references = (Density,)

    @property
    @override
    def splits_weights(self) -> bool:  # type: ignore[override]
        """Whether the number of bins is given; else it follows the effective sample size, which splitting changes."""
        return self.bins is not None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins is not None:
            object.__setattr__(self, "bins", whole("bins", self.bins, 2))

    def masses(self, reference: Density, other: Measure) -> tuple[Array, Array]:
        """Return the masses of `reference` and `other` in the bins (k + 1,), the last one outside the box."""
        check_measures(reference, other, self.name, MARGINALS)
        check_density(reference, self.name)
        n = other.effective_sample_size if isinstance(other, Particles) else math.inf
        labels, expected = equal_bins(reference, self.number(reference, n))
        if isinstance(other, Density):
            check_same_cells(reference.grid, other.grid)
            found = np.bincount(labels.ravel(), cell_masses(other).ravel(), minlength=len(expected))
        else:
            found = np.bincount(bin_of(reference, labels, other.positions), other.weights, minlength=len(expected))
        return expected, found / found.sum()

    def number(self, reference: Density, n: float) -> int:
        """Return the number of bins of the `reference` for `n` effective particles.

        It is `bins` if that is given, else n^(d/(d+2)); all cells if n is infinite.
        """
        if self.bins is not None:
            return int(self.bins)
        return reference.grid.size if math.isinf(n) else max(2, math.ceil(n ** (reference.ndim / (reference.ndim + 2))))

    def at_resolution_of(self, reference: Density, n: int) -> _Binned:
        """Return the metric with the number of bins of the `reference` that it has for `n` particles."""
        return replace(self, bins=self.number(reference, n))

    def _probabilities(self, reference: Density, n: int) -> Array:
        check_density(reference, self.name)
        check_draws(n)
        return equal_bins(reference, self.number(reference, n))[1]


@dataclass(frozen=True)
class BinnedTotalVariation(_Binned):
    """Total variation over bins B of about equal mass of the reference mu: ½ Σ_B |mu(B) - nu(B)|, between 0 and 1.

    It sees whether the masses of the bins agree, of weighted particles or densities; not what happens inside of a bin,
    such as in the far tails, which belong to the outer bins (it is a lower bound of the total variation, which is 1
    between particles and any density), nor how far mass is from where it belongs. n independent draws of mu itself have
    `floor(mu, n)` on average: what is below is not seen. More bins see more and have a higher floor, about
    sqrt(bins / (2π n)). The default n^(d/(d+2)), n the effective sample size, balances that with the size bins^(-1/d)
    of a bin, as for the L1 error of a histogram; fix the number to compare runs of different n.

    Cells count by the quadrature: the mass of a bin errs by O(dx²). Cost: O(cells log bins) once per reference, then
    O(n log cells).

    Parameters
    ----------
    bins : int, optional
        Number of bins, less where single cells have more mass than a bin should.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If the reference is not a Density, or the other neither a Density nor Particles.
    ValueError
        If dimensions differ, or the grids of two densities do.

    References
    ----------
    Devroye and Györfi (1985), Nonparametric Density Estimation: The L1 View, for the number of bins.

    Examples
    --------
    All particles are on the left of the median, where half of the mass belongs:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=64).density(wfr.Gaussian(0, 1))
    >>> left = wfr.Particles([[-2.0], [-1.0], [-0.5]])
    >>> round(wfr.metrics.BinnedTotalVariation(bins=2)(density, left), 6)
    0.5
    """

    name: str = "total_variation"

    @property
    @override
    def long_name(self) -> str:
        return f"total variation over {self.bins if self.bins else 'equal'} bins"

    @override
    def __call__(self, reference: Density, other: Measure) -> float:
        expected, found = self.masses(reference, other)
        return 0.5 * float(np.abs(expected - found).sum())

    def floor(self, reference: Density, n: int) -> float:
        """Return the mean over `n` draws from the `reference`: ½ Σ_B E|N_B/n - p_B|, exact for binomial N_B.

        E|N - np| = 2 k (1 - p) P(N = k) with k = floor(np) + 1, a formula of de Moivre.

        References
        ----------
        Diaconis and Zabell (1991), doi:10.1214/ss/1177011699.
        """
        return 0.5 * float(mean_deviation(self._probabilities(reference, n), n).sum())


@dataclass(frozen=True)
class BinnedHellinger(_Binned):
    """Hellinger distance over bins B of about equal mass of the reference: sqrt(½ Σ_B (sqrt(mu(B)) - sqrt(nu(B)))²).

    It is between 0 and 1, and weighs bins that have become empty more than `BinnedTotalVariation`, whose bins, cost and
    errors it has.

    Parameters
    ----------
    bins : int, optional
        Number of bins, less where single cells have more mass than a bin should; by default n^(d/(d+2)) for an
        effective sample size n.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If the reference is not a Density, or the other neither a Density nor Particles.
    ValueError
        If dimensions differ, or the grids of two densities do.

    Examples
    --------
    All particles are on the left of the median: the distance is sqrt(1 - sqrt(1/2)).

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=64).density(wfr.Gaussian(0, 1))
    >>> left = wfr.Particles([[-2.0], [-1.0], [-0.5]])
    >>> round(wfr.metrics.BinnedHellinger(bins=2)(density, left), 6)
    0.541196
    """

    name: str = "hellinger"

    @property
    @override
    def long_name(self) -> str:
        return f"Hellinger distance over {self.bins if self.bins else 'equal'} bins"

    @override
    def __call__(self, reference: Density, other: Measure) -> float:
        expected, found = self.masses(reference, other)
        return math.sqrt(0.5 * float(np.sum((np.sqrt(expected) - np.sqrt(found)) ** 2)))

    def floor(self, reference: Density, n: int) -> float:
        """Return the root mean square over `n` draws from the `reference`: sqrt(1 - Σ_B sqrt(p_B) E sqrt(N_B/n))."""
        p = self._probabilities(reference, n)
        return math.sqrt(max(0.0, float(p.sum() - np.sum([q * mean_root(q, n) for q in p if q > 0]))))


@functools.lru_cache(maxsize=4)
def equal_bins(density: Density, bins: int) -> tuple[np.ndarray, Array]:
    """Return the number of the bin of every cell (shape of the grid), and the masses of the bins and of the outside."""
    masses, grid = cell_masses(density), density.grid
    labels = np.zeros(grid.shape, dtype=np.int64)
    if bins >= grid.size:
        return np.arange(grid.size).reshape(grid.shape), np.append(masses.ravel(), 0.0)
    stack = [(tuple(slice(0, n) for n in grid.shape), bins)]
    found = 0
    while stack:
        block, wanted = stack.pop()
        parts = _halves(masses, [axis.centres for axis in grid.axes], block, wanted) if wanted > 1 else None
        if parts is None:
            labels[block] = found
            found += 1
        else:
            stack.extend(parts)
    return labels, np.append(np.bincount(labels.ravel(), masses.ravel(), minlength=found), 0.0)


Block = tuple[tuple[slice, ...], int]


def _halves(masses: Array, centres: list[Array], block: tuple[slice, ...], wanted: int) -> list[Block] | None:
    """Halve a block of cells into two with their numbers of bins; return None if it cannot be divided."""
    part = masses[block]
    total = part.sum()
    if not total > 0:
        return None
    spreads, marginals = [], []
    for k, (s, x) in enumerate(zip(block, centres, strict=True)):
        marginal = part.sum(axis=tuple(i for i in range(part.ndim) if i != k)) / total
        mean = marginal @ x[s]
        spreads.append(marginal @ (x[s] - mean) ** 2 if len(marginal) > 1 else -1.0)
        marginals.append(marginal)
    if not max(spreads) > 0:
        return None
    # of equal ones, as in symmetric densities, the first: rounding must not choose
    k = int(np.argmax(np.array(spreads) >= (1 - TIE) * max(spreads)))
    cumulative = np.cumsum(marginals[k])
    gaps = np.abs(cumulative[:-1] - (wanted // 2) / wanted)
    cut = int(np.argmax(gaps <= gaps.min() + TIE)) + 1
    share = wanted * float(cumulative[cut - 1])
    if abs(share % 1 - 0.5) < TIE:
        share = math.floor(share) + 0.5
    first = min(max(round(share), 1), wanted - 1)
    start, stop = block[k].start, block[k].stop
    sides = slice(start, start + cut), slice(start + cut, stop)
    numbers = first, wanted - first
    return [
        (tuple(side if i == k else s for i, s in enumerate(block)), number)
        for side, number in zip(sides, numbers, strict=True)
    ]


def bin_of(density: Density, labels: np.ndarray, positions: Array) -> np.ndarray:
    """Return the number of the bin of every position (n,); the one after the last for those outside the box."""
    points = wrapped(positions, density.grid)
    outside = np.zeros(len(points), dtype=bool)
    index = []
    for k, axis in enumerate(density.grid.axes):
        cell = np.searchsorted(axis.edges, points[:, k], side="right") - 1
        cell[points[:, k] == axis.edges[-1]] = axis.n - 1
        outside |= (cell < 0) | (cell >= axis.n)
        index.append(np.clip(cell, 0, axis.n - 1))
    return np.where(outside, labels.max() + 1, labels[tuple(index)])


def mean_deviation(p: Array, n: int) -> Array:
    """Return E|N/n - p| of binomial N of n draws, exactly."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.floor(n * p) + 1
    inside = k <= n
    k = np.minimum(k, n)
    log_probability = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p)
    return np.where(inside, 2 * k / n * (1 - p) * np.exp(log_probability), 0.0)


def mean_root(p: float, n: int) -> float:
    """Return E sqrt(N/(n p)) of binomial N of n draws, by the sum over counts within 12 standard deviations."""
    from scipy.special import gammaln, xlog1py, xlogy

    spread = SURE * math.sqrt(n * p * (1 - p)) + SURE**2
    k = np.arange(max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread)) + 1, dtype=np.float64)
    log_probability = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p)
    return float(np.sum(np.exp(log_probability) * np.sqrt(k / (n * p))))
