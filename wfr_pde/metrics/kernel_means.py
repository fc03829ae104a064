"""Means of kernels and of distances between densities and particles, and double sums over cells."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from wfr_pde.metrics.base import NEGLIGIBLE, Measure, atoms, cell_masses, check_same_cells
from wfr_pde.numerics.splines import TensorSpline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.checks import NARROWEST_SD, UNRESOLVED_MASS
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

# most numbers of an intermediate product of particles and cells, 32 MB; no number depends on it but by rounding
PRODUCT = 2**22
LEVELS = 6  # of the Richardson extrapolation of a lattice sum: with 6 the constant is right to about rounding
# most cells of a graded grid, between all of which distances are summed directly: 1.6e9 of them take seconds
MOST_CELLS = 40_000


def mutual_mean(kernel: str, scale: float, a: Measure, b: Measure) -> float:
    """Return E k(X, Y) of independent draws from two measures."""
    if not isinstance(a, Density):
        a, b = b, a
    points, weights = atoms(b)
    if not isinstance(a, Density):
        return float(weights @ sums_over_sources(kernel, scale, points, *atoms(a)))
    if kernel == "gaussian":
        return float(weights @ gaussian_mean(a, points, scale))
    if isinstance(b, Density):
        check_same_cells(a.grid, b.grid)
    return float(weights @ _mean(kernel, scale, a, points))


def check_widths(density: Density, scale: float) -> None:
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
def own_mean(kernel: str, scale: float, density: Density) -> float:
    """Return E k(X, X') of independent draws from a density."""
    return double_sum(kernel, scale, density.grid, cell_masses(density))


def double_sum(kernel: str, scale: float, grid: Grid, masses: Array) -> float:
    """Return Σ_ij m_i m_j k(x_i - x_j), corrected for the kink of k at 0; masses of any sign."""
    if kernel == "gaussian":
        smoothed = masses
        for k, axis in enumerate(grid.axes):
            smoothed = np.moveaxis(np.tensordot(_gaussians(axis.centres, axis.centres, scale), smoothed, (1, k)), 0, k)
        return float(np.sum(masses * smoothed))
    return float(np.sum(masses * _mean_at_cells(kernel, scale, grid, masses)))


def _mean_at_cells(kernel: str, scale: float, grid: Grid, masses: Array) -> Array:
    """Return Σ_j k(x_i - x_j) m_j at the cell centres, corrected for the kink of k at 0."""
    sums = _convolved(kernel, scale, grid, masses) if grid.is_uniform else _summed(kernel, scale, grid, masses)
    slope = 1.0 if kernel == "distance" else -1 / scale  # of k along |x - y| at 0
    return sums + slope * _kink(grid) * masses


def _mean(kernel: str, scale: float, density: Density, points: Array) -> Array:
    """Return ∫ k(x, y) mu(y) dy at points (n, d): interpolated between equal cells, else summed over all."""
    if not density.grid.is_uniform:
        return sums_over_sources(kernel, scale, points, *atoms(density))
    result = _interpolated_mean(kernel, scale, density)(points, outside=np.nan)
    beyond = np.isnan(result)
    if beyond.any():
        result[beyond] = sums_over_sources(kernel, scale, points[beyond], *atoms(density))
    return result


@functools.lru_cache(maxsize=2)
def _interpolated_mean(kernel: str, scale: float, density: Density) -> TensorSpline:
    axes = density.grid.axes
    values = _mean_at_cells(kernel, scale, density.grid, cell_masses(density))
    return TensorSpline([a.centres for a in axes], [a.edges for a in axes], values, [False] * len(axes))


def sums_over_sources(kernel: str, scale: float, at: Array, sources: Array, weights: Array) -> Array:
    """Return Σ_j w_j k(x_i, y_j) at points x, with sources y and weights w."""
    from wfr_pde.numerics.compiled.pair_sums import distance_sums, kernel_sums, laplace_sums  # here, as it loads numba

    if kernel == "gaussian":
        return kernel_sums(at, sources, weights, 0.5 * scale**2)
    return distance_sums(at, sources, weights) if kernel == "distance" else laplace_sums(at, sources, weights, scale)


def _gaussians(x: Array, y: Array, scale: float) -> Array:
    """Return exp(-(x_i - y_j)²/scale²)."""
    return np.exp(-(((x[:, None] - y) / scale) ** 2))


def gaussian_mean(density: Density, points: Array, scale: float) -> Array:
    """Return ∫ exp(-|x - y|²/scale²) mu(y) dy at points (n, d), a sum over all cells that carry mass."""
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
    """Return Σ_j k(x_i - x_j) m_j over equal cells, by a convolution with room for all distances."""
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
    """Return Σ_j k(x_i - x_j) m_j over cells of any kind; zero where no mass is."""
    kept = np.flatnonzero(np.abs(masses.ravel()) > NEGLIGIBLE / masses.size)
    if len(kept) > MOST_CELLS:
        raise ValueError(
            f"{len(kept)} unequal cells carry mass, more than the {MOST_CELLS} between which all distances are summed: "
            "use equal cells, or fewer"
        )
    points = grid.points().reshape(-1, grid.ndim)[kept]
    result = np.zeros(masses.size)
    result[kept] = sums_over_sources(kernel, scale, points, points, masses.ravel()[kept])
    return result.reshape(masses.shape)


def _kink(grid: Grid) -> Array:
    """Return the value of |x - y| between a cell and itself that makes sums over cells integrals (broadcasts)."""
    if grid.is_uniform:
        return np.asarray(lattice_constant(tuple(float(axis.widths[0]) for axis in grid.axes)))
    side = grid.backend.asnumpy(grid.cell_volume) ** (1 / grid.ndim)
    return np.asarray(side * lattice_constant((1.0,) * grid.ndim))


@functools.lru_cache(maxsize=32)
def lattice_constant(widths: tuple[float, ...]) -> float:
    """Find C with ∫ |x| f(x) dx = volume (Σ_n |x_n| f(x_n) + C f(0)) + O(dx^(d+3)), x_n the lattice of these widths.

    It is minus the Epstein zeta function of the lattice at -½, and 1/6 for widths (1,). It is taken from
    f = exp(-a |x|²), with the powers of a removed by Richardson extrapolation.
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
