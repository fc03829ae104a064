"""Densities of moved points, with noise or without: log-densities of m(X) + sqrt(v) N(0, I) on the cells of a grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.flows.diffusions.advection import MORE, WEIGHTS
from wfr_pde.numerics.falling_parabolas import continued
from wfr_pde.numerics.log_products import log_product_along
from wfr_pde.numerics.typing import Array
from wfr_pde.space.continued import log_values_at
from wfr_pde.space.grid import Grid

Mean = Callable[[Array], Array]

RESOLUTION = 1.5  # variance of the noise, in squared distances of the sources: a smaller one aliases by 3e-13 and more
TORN = 1e-12  # mass in cells that may be torn apart further than the noise is wide
MOST_PARTS = 64  # of a cell that are moved by themselves; where more are needed, cells are moved without noise first
WIDEST = 8.0  # standard deviations of the noise in a box at least, of sums of Gaussians; the rest is added along axes
REACH, FARTHEST = 9.0, 2  # standard deviations, or else lengths of an axis, that it is continued by beyond the box
HERMITE = 20  # nodes per axis for noise that cells do not resolve
ITERATIONS = 60  # of Newton's method for the places that are moved to the cells
HALVINGS = 8  # of one of its steps
TOLERANCE, SINGLE_TOLERANCE = 1e-9, 1e-4  # of these places, in cells; for scores in single precision
APART = 1e-3, 0.05  # cells, over which the map is differenced there, in double and single precision


def moved_density(
    grid: Grid, log_values: Array, mean: Mean, variance: float, *, single: bool = False
) -> tuple[Array, float]:
    """Return the log-density of m(X) + noise at the cell centres, X of the density on the grid, and what mass is lost.

    Where the noise is wide enough, sums of Gaussians about the moved cells, of which parts are taken as many as it
    needs; m need not be one-to-one there. Else the density is moved by m alone, by the change of variables with the
    inverse map, and noise is added along the axes.

    Parameters
    ----------
    grid : Grid
        Of equal cells, without periodic axes, in one to three dimensions.
    log_values : array (*grid.shape)
        Log-density of X.
    mean : function of points (..., d) -> (..., d)
        m; it is asked outside the box, too.
    variance : float
        v >= 0, per axis.
    single : bool
        Whether m is known in single precision only.

    Returns
    -------
    array (*grid.shape), float
        The log-density, and the share of the mass whose noise lies outside the box.

    Raises
    ------
    NumericalError
        If m is not one-to-one where it has to be.
    """
    if variance > 0:
        places, narrow = mean(grid.points()), min(variance, (min(axis.length for axis in grid.axes) / WIDEST) ** 2)
        parts = _parts(grid, log_values, places, narrow)
        if math.prod(parts) <= MOST_PARTS:
            values, lost = _gaussian_sums(grid, log_values, mean, narrow, parts)
            return (values if narrow == variance else with_noise(grid, values, variance - narrow)), lost
    values = pushed_forward(grid, log_values, mean, single)
    return (with_noise(grid, values, variance) if variance > 0 else values), 0.0


def _parts(grid: Grid, log_values: Array, places: Array, variance: float) -> list[int]:
    """Return into how many parts cells are divided along every axis, for the noise to bridge them when moved."""
    mass, parts = np.exp(log_values + grid.log_cell_volume), []
    for k in range(grid.ndim):
        lower, upper = (
            tuple(part if i == k else slice(None) for i in range(grid.ndim))
            for part in (slice(None, -1), slice(1, None))
        )
        apart = np.sqrt(np.sum(np.diff(places, axis=k) ** 2, axis=-1)).ravel()
        order = np.argsort(apart)[::-1]
        share = np.cumsum(np.maximum(mass[lower], mass[upper]).ravel()[order])
        widest = apart[order[min(int(np.searchsorted(share, TORN)), len(order) - 1)]]
        parts.append(max(1, math.ceil(widest * math.sqrt(RESOLUTION / variance) * (1 - 1e-9))))
    return parts


def _gaussian_sums(grid: Grid, log_values: Array, mean: Mean, variance: float, parts: list[int]) -> tuple[Array, float]:
    """Return the sums of the Gaussians about the moved parts of the cells, and the mass of them outside the box."""
    from scipy.special import log_ndtr

    from wfr_pde.flows.sampler_laws.gaussian_sums import GaussianSums  # here, as it loads numba

    total, lost, points = np.full(grid.shape, -np.inf), 0.0, grid.points()
    for offset in itertools.product(*((np.arange(n) + 0.5) / n - 0.5 for n in parts)):
        shift = np.array([o * axis.dx for o, axis in zip(offset, grid.axes, strict=True)])
        there, values = points + shift, log_values
        if any(offset):
            values = log_values_at(grid, log_values, there.reshape(-1, grid.ndim)).reshape(grid.shape)
        log_mass = values + (grid.log_cell_volume - math.log(math.prod(parts)))
        places = mean(there)
        total = np.logaddexp(total, GaussianSums(grid, places, variance).log_density(log_mass))
        inside = np.zeros(grid.shape)
        for k, axis in enumerate(grid.axes):
            below, above = ((places[..., k] - edge) / math.sqrt(variance) for edge in axis.edges[[0, -1]])
            inside += np.log1p(-np.minimum(np.exp(log_ndtr(-below)) + np.exp(log_ndtr(above)), 1 - 1e-16))
        lost -= float(np.sum(np.exp(log_mass) * np.expm1(inside)))
    return total, lost


def with_noise(grid: Grid, log_values: Array, variance: float) -> Array:
    """Return the log-density of X + sqrt(variance) N(0, I), axis by axis; sums of positive terms.

    Where cells resolve the noise, products with Gaussians; else Gauss-Hermite quadrature, of shifted densities.
    """
    for k, axis in enumerate(grid.axes):
        if variance >= RESOLUTION * axis.dx**2:
            beyond = min(math.ceil(REACH * math.sqrt(variance) / axis.dx), FARTHEST * axis.n)
            centres = axis.centres[0] + axis.dx * np.arange(-beyond, axis.n + beyond)
            apart = (centres - axis.centres[:, None]) ** 2 / (2 * variance)
            rows = math.log(axis.dx) - 0.5 * math.log(2 * math.pi * variance) - apart
            log_values = log_product_along(rows, continued(log_values, k, beyond, beyond), k)
            continue
        nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE)
        points, total = grid.points(), np.full(grid.shape, -np.inf)
        for node, weight in zip(nodes, weights / math.sqrt(2 * math.pi), strict=True):
            shifted = points.copy()
            shifted[..., k] += math.sqrt(variance) * node
            one = log_values_at(grid, log_values, shifted.reshape(-1, grid.ndim)).reshape(grid.shape)
            total = np.logaddexp(total, one + math.log(weight))
        log_values = total
    return log_values


def pushed_forward(grid: Grid, log_values: Array, mean: Mean, single: bool = False) -> Array:
    """Return the log-density of m(X): log mu at the places that m moves to the cells, plus log det of their Jacobian.

    The places are found by Newton's method, and their Jacobian by differences of order 10 between neighbours.

    Raises
    ------
    NumericalError
        If m is not one-to-one.
    """
    axes = [axis.centres[0] + axis.dx * np.arange(-MORE, axis.n + MORE) for axis in grid.axes]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    shape = points.shape
    feet = _inverse(grid, mean, points.reshape(-1, grid.ndim), single).reshape(shape)
    inner = tuple(slice(MORE, -MORE) for _ in grid.axes)
    values = log_values_at(grid, log_values, np.ascontiguousarray(feet[inner].reshape(-1, grid.ndim)))
    return values.reshape(grid.shape) + _log_determinant(grid, feet)


def _log_determinant(grid: Grid, feet: Array) -> Array:
    """Return log det of the Jacobian of the places (cells and `MORE` around them, d), on the grid."""
    jacobian = np.zeros((*grid.shape, grid.ndim, grid.ndim))
    for k, axis in enumerate(grid.axes):
        for shift, weight in enumerate(WEIGHTS, start=1):
            after, before = (
                feet[
                    tuple(
                        slice(MORE + sign * shift * (i == k), feet.shape[i] - MORE + sign * shift * (i == k))
                        for i in range(grid.ndim)
                    )
                ]
                for sign in (1, -1)
            )
            jacobian[..., k] += weight / axis.dx * (after - before)
    sign, logarithm = np.linalg.slogdet(jacobian)
    if not (sign > 0).all():
        raise _folded(grid.points()[np.unravel_index(int(np.argmin(sign)), grid.shape)])
    return logarithm


def _folded(place: Array) -> NumericalError:
    return NumericalError(
        f"the step is not one-to-one near x={place.tolist()}, so that its law is no change of variables on these "
        "cells: use a smaller dt, more cells, or a method with noise"
    )


def _inverse(grid: Grid, mean: Mean, wanted: Array, single: bool) -> Array:
    """Return the places that `mean` moves to the `wanted` ones (n, d), by damped steps of Newton's method.

    They begin at that of the wanted places themselves which is moved nearest.

    Raises
    ------
    NumericalError
        Where they do not converge.
    """
    from scipy.spatial import cKDTree  # here, as it is slow to import

    widths = np.array([axis.dx for axis in grid.axes])
    tolerance, apart = (SINGLE_TOLERANCE, APART[1]) if single else (TOLERANCE, APART[0])
    x = wanted[cKDTree(mean(wanted) / widths).query(wanted / widths)[1]].copy()
    active, residual = np.arange(len(x)), mean(x) - wanted
    for _ in range(ITERATIONS):
        place, goal = x[active], wanted[active]
        step = _newton_step(mean, place, residual, apart * widths)
        going = np.max(np.abs(step) / widths, axis=1) > tolerance
        size, fraction = np.sum((residual / widths) ** 2, axis=1), np.ones((len(active), 1))
        for _ in range(HALVINGS):
            x[active] = place - fraction * step
            residual = mean(x[active]) - goal
            worse = going & (np.sum((residual / widths) ** 2, axis=1) > size)
            if not worse.any():
                break
            fraction[worse] /= 2
        active, residual = active[going], residual[going]
        if not len(active):
            return x
    raise _folded(wanted[active[0]])


def _newton_step(mean: Mean, place: Array, residual: Array, apart: Array) -> Array:
    """Return the step of Newton's method (n, d), with the Jacobian by central differences."""
    jacobian = np.empty((*place.shape, place.shape[1]))
    for k, width in enumerate(apart):
        shift = np.zeros(place.shape[1])
        shift[k] = width
        jacobian[..., k] = (mean(place + shift) - mean(place - shift)) / (2 * width)
    singular = np.abs(np.linalg.det(jacobian)) == 0
    jacobian[singular] = np.eye(place.shape[1])
    return np.asarray(np.linalg.solve(jacobian, residual[..., None])[..., 0], dtype=np.float64)
