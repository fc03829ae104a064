"""Distances of kernel means: maximum mean discrepancy, energy distance."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

from wfr_pde.metrics import one_dimensional as lines
from wfr_pde.metrics.base import (
    NEGLIGIBLE,
    Array,
    Measure,
    Metric,
    atoms,
    cell_masses,
    check_density,
    check_draws,
    check_measures,
    check_same_cells,
    check_straight,
    root,
)
from wfr_pde.numerics.splines import TensorSpline
from wfr_pde.space.checks import NARROWEST_SD, UNRESOLVED_MASS
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

KERNELS = ("gaussian", "laplace")
PRODUCT = 2**22  # numbers of an intermediate product of particles and cells
LEVELS = 6  # of the extrapolation of a lattice sum
MOST_CELLS = 40_000  # of a graded grid, between all of which distances are summed directly


@dataclass(frozen=True)
class MMD(Metric):
    """Maximum mean discrepancy, MMD² = E k(X, X') + E k(Y, Y') - 2 E k(X, Y).

    X, X' are independent draws from the reference, Y, Y' from the other, and
    k(x, y) = exp(-|x - y|²/scale²), or exp(-|x - y|/scale). Sees differences on the length `scale` best; of longer
    ones it sees that the distributions differ, but not by how far, and shorter ones it smooths away. n independent
    draws from the reference have `floor(reference, n)` as root mean square, about n^-½ in every dimension. Gretton et
    al. (2012), https://jmlr.org/papers/v13/gretton12a.html.

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

    Parameters
    ----------
    scale : float
    kernel : {"gaussian", "laplace"}
    unbiased : bool
        Whether pairs of a particle with itself are left out; then `squared` must be true.
    squared : bool
        Whether MMD² is returned.
    name : str

    Raises
    ------
    TypeError
        If an argument is neither a Density nor Particles.
    ValueError
        If a parameter, or the grid, does not fit: cells wider than scale/1.77 where the mass is, a periodic axis,
        for the Laplace kernel two densities on different grids.
    """

    scale: float = 1.0
    kernel: str = "gaussian"
    unbiased: bool = False
    squared: bool = False
    name: str = "mmd"

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale is a length of the kernel, positive and finite, got {self.scale}")
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {KERNELS}, got {self.kernel!r}")
        if self.unbiased and not self.squared:
            raise ValueError("the unbiased estimate of MMD² may be negative and has no root: give squared=True, too")

    @property
    def long_name(self) -> str:
        """For the axis of a plot."""
        return f"MMD{'²' if self.squared else ''}, {self.kernel} kernel of scale {self.scale:g}"

    def __call__(self, reference: Measure, other: Measure) -> float:
        """The distance of `other` from `reference`."""
        check_measures(reference, other, self.name)
        check_straight(self.name, reference, other)
        for measure in (reference, other):
            if isinstance(measure, Density):
                _check_widths(measure, self.scale)
        if isinstance(reference, Density) and isinstance(other, Density) and reference.grid.matches(other.grid):
            square = self._of_cells(reference.grid, cell_masses(reference) - cell_masses(other))
        else:
            square = self._own(reference) + self._own(other) - 2 * self._mutual(reference, other)
        return square if self.squared else root(square, 1.0, self.name)

    def floor(self, reference: Density, n: int) -> float:
        """Root mean square over `n` independent draws from the reference, ((1 - E k(X, X'))/n)^½; squared if that is.

        Zero for the unbiased estimate.
        """
        check_density(reference, self.name)
        check_straight(self.name, reference)
        check_draws(n)
        _check_widths(reference, self.scale)
        square = 0.0 if self.unbiased else (1 - self._own(reference)) / n
        return square if self.squared else math.sqrt(square)

    def _own(self, measure: Measure) -> float:
        """E k(X, X')."""
        if isinstance(measure, Density):
            return _own_of_density(self.kernel, float(self.scale), measure)
        points, weights = atoms(measure)
        total = float(weights @ _sums(self.kernel, self.scale, points, points, weights))
        diagonal = float(np.sum(weights**2))
        if not self.unbiased:
            return total
        if not diagonal < 1:
            raise ValueError("the unbiased estimate needs at least two particles of positive weight")
        return (total - diagonal) / (1 - diagonal)

    def _mutual(self, a: Measure, b: Measure) -> float:
        """E k(X, Y)."""
        return _mutual(self.kernel, float(self.scale), a, b)

    def _of_cells(self, grid: Grid, masses: Array) -> float:
        return _double_sum(self.kernel, float(self.scale), grid, masses)


@dataclass(frozen=True)
class EnergyDistance(Metric):
    """Energy distance: D² = 2 E|X - Y| - E|X - X'| - E|Y - Y'|, X, X' from the reference, Y, Y' from the other.

    Sees every difference, on all lengths, long ones best: a shift by L much longer than the distributions are wide
    has D² = 2 L up to their widths, one much shorter about L²/width. No parameter, and scaled with the space: D² is a
    length. n independent draws from the reference have `floor(reference, n)` as root mean square, in every dimension
    about n^-½. Székely and Rizzo (2013), doi:10.1016/j.jspi.2013.03.018.

    In one dimension D² = 2 ∫ (F - G)² dx, exact for mass spread evenly over the cells, an error O(dx²). In more, sums
    over cells and particles with the errors and the cost of the Laplace kernel of `MMD`. Particles outside the box
    count where they are.

    Parameters
    ----------
    squared : bool
        Whether D² is returned, in units of length.
    name : str

    Raises
    ------
    TypeError
        If an argument is neither a Density nor Particles.
    ValueError
        If dimensions differ, an axis is periodic, two densities in more than one dimension are on different grids, or
        a graded grid in more than one dimension has mass in more than 40000 cells.
    """

    squared: bool = False
    name: str = "energy_distance"

    @property
    def long_name(self) -> str:
        """For the axis of a plot."""
        return f"{'squared ' if self.squared else ''}energy distance"

    @property
    def units(self) -> str:  # type: ignore[override]
        """Of the result."""
        return "length" if self.squared else "length^½"

    def __call__(self, reference: Measure, other: Measure) -> float:
        """The distance of `other` from `reference`."""
        check_measures(reference, other, self.name)
        check_straight(self.name, reference, other)
        if reference.ndim == 1:
            square = lines.energy(lines.Line.of(reference), lines.Line.of(other))
            return square if self.squared else math.sqrt(square)
        if isinstance(reference, Density) and isinstance(other, Density):
            check_same_cells(reference.grid, other.grid)
            difference = cell_masses(reference) - cell_masses(other)
            square, size = -_double_sum("distance", 1.0, reference.grid, difference), 1.0
        else:
            mutual = self._mutual(reference, other)
            square, size = 2 * mutual - self._own(reference) - self._own(other), mutual
        return square if self.squared else root(square, size, self.name)

    def floor(self, reference: Density, n: int) -> float:
        """Root mean square over `n` independent draws from the reference, (E|X - X'|/n)^½; its square if squared."""
        check_density(reference, self.name)
        check_straight(self.name, reference)
        check_draws(n)
        square = self._own(reference) / n
        return square if self.squared else math.sqrt(square)

    def _own(self, measure: Measure) -> float:
        """E|X - X'|."""
        if isinstance(measure, Density):
            return _own_of_density("distance", 1.0, measure)
        return self._mutual(measure, measure)

    def _mutual(self, a: Measure, b: Measure) -> float:
        """E|X - Y|."""
        return _mutual("distance", 1.0, a, b)


def _mutual(kernel: str, scale: float, a: Measure, b: Measure) -> float:
    """E k(X, Y)."""
    if not isinstance(a, Density):
        a, b = b, a
    points, weights = atoms(b)
    if not isinstance(a, Density):
        return float(weights @ _sums(kernel, scale, points, *atoms(a)))
    if kernel == "gaussian":
        return float(weights @ _gaussian_mean(a, points, scale))
    if isinstance(b, Density):
        check_same_cells(a.grid, b.grid)
    return float(weights @ _mean(kernel, scale, a, points))


def _check_widths(density: Density, scale: float) -> None:
    """Refuse kernels that the cells where the mass is do not resolve."""
    masses, widest = cell_masses(density), scale / math.sqrt(2) / NARROWEST_SD
    for k, axis in enumerate(density.grid.axes):
        along = masses.sum(axis=tuple(i for i in range(masses.ndim) if i != k))
        wide = axis.widths > widest
        if along[wide].sum() > UNRESOLVED_MASS:
            raise ValueError(
                f"the cells along {axis.name} are up to {axis.widths[wide].max():.3g} wide where the mass is, but a "
                f"kernel of scale {scale:g} needs {widest:.3g}: use more cells, or a longer scale"
            )


@functools.lru_cache(maxsize=8)
def _own_of_density(kernel: str, scale: float, density: Density) -> float:
    """E k(X, X') of a density."""
    return _double_sum(kernel, scale, density.grid, cell_masses(density))


def _double_sum(kernel: str, scale: float, grid: Grid, masses: Array) -> float:
    """Σ_ij m_i m_j k(x_i - x_j), corrected for the kink of k at 0; masses of any sign."""
    if kernel == "gaussian":
        smoothed = masses
        for k, axis in enumerate(grid.axes):
            smoothed = np.moveaxis(np.tensordot(_gaussians(axis.centres, axis.centres, scale), smoothed, (1, k)), 0, k)
        return float(np.sum(masses * smoothed))
    return float(np.sum(masses * _mean_at_cells(kernel, scale, grid, masses)))


def _mean_at_cells(kernel: str, scale: float, grid: Grid, masses: Array) -> Array:
    """Σ_j k(x_i - x_j) m_j at the cell centres, corrected for the kink of k at 0."""
    sums = _convolved(kernel, scale, grid, masses) if grid.is_uniform else _summed(kernel, scale, grid, masses)
    slope = 1.0 if kernel == "distance" else -1 / scale  # of k along |x - y| at 0
    return sums + slope * _kink(grid) * masses


def _mean(kernel: str, scale: float, density: Density, points: Array) -> Array:
    """∫ k(x, y) mu(y) dy at points (n, d): interpolated between equal cells, elsewhere a sum over all cells."""
    if not density.grid.is_uniform:
        return _sums(kernel, scale, points, *atoms(density))
    result = _interpolated_mean(kernel, scale, density)(points, outside=np.nan)
    beyond = np.isnan(result)
    if beyond.any():
        result[beyond] = _sums(kernel, scale, points[beyond], *atoms(density))
    return result


@functools.lru_cache(maxsize=2)
def _interpolated_mean(kernel: str, scale: float, density: Density) -> TensorSpline:
    axes = density.grid.axes
    values = _mean_at_cells(kernel, scale, density.grid, cell_masses(density))
    return TensorSpline([a.centres for a in axes], [a.edges for a in axes], values, [False] * len(axes))


def _sums(kernel: str, scale: float, at: Array, sources: Array, weights: Array) -> Array:
    """Σ_j w_j k(x_i, y_j)."""
    from wfr_pde.numerics.compiled.pair_sums import distance_sums, kernel_sums, laplace_sums  # here, as it loads numba

    if kernel == "gaussian":
        return kernel_sums(at, sources, weights, 0.5 * scale**2)
    return distance_sums(at, sources, weights) if kernel == "distance" else laplace_sums(at, sources, weights, scale)


def _gaussians(x: Array, y: Array, scale: float) -> Array:
    """exp(-(x_i - y_j)²/scale²)."""
    return np.exp(-(((x[:, None] - y) / scale) ** 2))


def _gaussian_mean(density: Density, points: Array, scale: float) -> Array:
    """∫ exp(-|x - y|²/scale²) mu(y) dy at points (n, d), a sum over all cells that carry mass."""
    masses, axes = cell_masses(density), density.grid.axes
    heavy = masses > NEGLIGIBLE / masses.size
    box, centres = [], []
    for k, axis in enumerate(axes):
        found = np.flatnonzero(heavy.any(axis=tuple(i for i in range(masses.ndim) if i != k)))
        box.append(slice(found[0], found[-1] + 1))
        centres.append(axis.centres[box[-1]])
    masses = masses[tuple(box)]
    result = np.empty(len(points))
    rows = max(1, PRODUCT // (masses.size // masses.shape[0]))
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        product = np.tensordot(_gaussians(part[:, 0], centres[0], scale), masses, 1)
        for k in range(1, len(centres)):
            product = np.einsum("ij...,ij->i...", product, _gaussians(part[:, k], centres[k], scale))
        result[start : start + rows] = product
    return result


def _convolved(kernel: str, scale: float, grid: Grid, masses: Array) -> Array:
    """Σ_j k(x_i - x_j) m_j over equal cells, by a convolution with room for all distances."""
    from scipy import fft

    shape = [fft.next_fast_len(2 * n - 1, real=True) for n in grid.shape]
    square = np.zeros((1,) * grid.ndim)
    for k, (n, axis) in enumerate(zip(shape, grid.axes, strict=True)):
        steps = np.arange(n)
        steps = np.minimum(steps, n - steps) * axis.widths[0]
        square = square + (steps**2).reshape([-1 if i == k else 1 for i in range(grid.ndim)])
    distance = np.sqrt(square)
    response = fft.rfftn(distance if kernel == "distance" else np.exp(-distance / scale))
    smoothed = fft.irfftn(fft.rfftn(masses, s=shape) * response, s=shape)
    return np.asarray(smoothed[tuple(slice(0, n) for n in grid.shape)])


def _summed(kernel: str, scale: float, grid: Grid, masses: Array) -> Array:
    """Σ_j k(x_i - x_j) m_j over cells of any kind; zero where no mass is."""
    kept = np.flatnonzero(np.abs(masses.ravel()) > NEGLIGIBLE / masses.size)
    if len(kept) > MOST_CELLS:
        raise ValueError(
            f"{len(kept)} unequal cells carry mass, more than the {MOST_CELLS} between which all distances are summed: "
            "use equal cells, or fewer"
        )
    points = grid.points().reshape(-1, grid.ndim)[kept]
    result = np.zeros(masses.size)
    result[kept] = _sums(kernel, scale, points, points, masses.ravel()[kept])
    return result.reshape(masses.shape)


def _kink(grid: Grid) -> Array:
    """What |x - y| has to count as between a cell and itself, so that sums over cells are ∫ ... dx (broadcasts)."""
    if grid.is_uniform:
        return np.asarray(lattice_constant(tuple(float(axis.widths[0]) for axis in grid.axes)))
    side = grid.backend.asnumpy(grid.cell_volume) ** (1 / grid.ndim)
    return np.asarray(side * lattice_constant((1.0,) * grid.ndim))


@functools.lru_cache(maxsize=32)
def lattice_constant(widths: tuple[float, ...]) -> float:
    """C with ∫ |x| f(x) dx = volume (Σ_n |x_n| f(x_n) + C f(0)) + O(dx^(d+3)), x_n the lattice of these widths.

    (Minus the Epstein zeta function of the lattice at -½; 1/6 for widths (1,).) Taken from f = exp(-a |x|²), with the
    powers of a removed by Richardson extrapolation.
    """
    d, w = len(widths), np.array(widths) / max(widths)
    sphere = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    table = []
    for level in range(LEVELS):
        a = 0.6 / 2**level
        square, times = np.zeros((1,) * d), np.ones((1,) * d)
        for k, width in enumerate(w):
            steps = np.arange(int(math.sqrt(45 / a) / width) + 1)
            place = [-1 if i == k else 1 for i in range(d)]
            square = square + ((steps * width) ** 2).reshape(place)
            times = times * np.where(steps > 0, 2.0, 1.0).reshape(place)  # both signs
        integral = sphere / 2 * math.gamma((d + 1) / 2) * a ** (-(d + 1) / 2) / math.prod(w)
        table.append(integral - float(np.sum(times * np.sqrt(square) * np.exp(-a * square))))
    for power in range(1, LEVELS):
        table = [(2**power * fine - coarse) / (2**power - 1) for coarse, fine in itertools.pairwise(table)]
    return table[0] * max(widths)
