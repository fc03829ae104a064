"""Differences of two runs in KL, without signs that cancel, and what sums over cells miss in tails."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

KL_SHARE = 0.01  # of a bound of the error of KL that knows no signs: least part of it, where errors happen to cancel
NOTHING = 1e-20  # of a sum of masses: where less than that is left at the end of a margin, nothing is said of its fall


def first_order_kl(energy: KL, one: Density, other: Density) -> float:
    """Bound of the difference of KL to first order, integral of |mu - nu| |g - KL|, which knows no signs, in nats."""
    excess = np.abs(np.asarray(energy.first_variation(one)) - energy.value(one))
    return float(one.grid.integrate(np.abs(one.values - other.values) * excess))


def unsigned_kl(energy: KL, one: Density, other: Density) -> float:
    """Share of a bound of the difference in KL that counts at least, in nats.

    To first order KL differs by the integral of the difference times g = log(mu/pi). Positive and negative parts of it
    may cancel by chance, at one time; the integral of its absolute value knows nothing of that.
    """
    return KL_SHARE * first_order_kl(energy, one, other)


def missed_by_sums(grid: Grid, log_values: Array, where: np.ndarray) -> Array:
    """Mass in the cells of a tail beyond what the density at the centre says, where it falls by nats from cell to cell.

    Of exp(c x) on a cell of width h the integral is sinh(u)/u times h and the value at the centre, u = c h / 2; c is
    the steepest rise to a neighbour along every axis.

    Parameters
    ----------
    grid : Grid
    log_values : array of shape grid.shape
    where : array of bool of that shape
        The cells that count; zero elsewhere.
    """
    log_factor = np.zeros(grid.shape)
    for k in range(grid.ndim):
        lines = np.moveaxis(log_values, k, 0)
        rise = np.zeros(lines.shape)
        rise[1:] = np.maximum(rise[1:], lines[:-1] - lines[1:])
        rise[:-1] = np.maximum(rise[:-1], lines[1:] - lines[:-1])
        u = np.clip(0.5 * rise, 1e-3, 300.0)
        log_factor += np.moveaxis(np.log(np.sinh(u) / u), 0, k)
    log_mass = log_values + np.asarray(grid.log_cell_volume)
    lost = np.exp(np.minimum(log_mass + log_factor, 0.0)) - np.exp(np.minimum(log_mass, 0.0))
    return np.asarray(np.where(where, np.maximum(lost, 0.0), 0.0))


def beyond_margin(grid: Grid, window: tuple[slice, ...], values: Array, centres: Sequence[Array]) -> float:
    """Sum of something positive beyond a grid, by how it falls in the outer margin of the grid.

    Along every axis and side what lies in the inner and in the outer half of the margin is compared. If its density
    falls there as a power p of the distance from the nearest centre, then beyond the margin there is at most what the
    same power leaves, (density at the end) (distance) / (p - 1): more than what falls ever faster, as tails of
    exponentials and Gaussians do, leaves. It is infinite where p is no larger than 1.

    Parameters
    ----------
    grid : Grid
    window : tuple of slices
        Cells that are no margin.
    values : array of shape grid.shape
        Masses of the cells, not negative.
    centres : sequence of arrays (d,)
        Where the bulks are.

    Returns
    -------
    float
    """
    total = 0.0
    for k, (axis, inner) in enumerate(zip(grid.axes, window, strict=True)):
        along = values.sum(axis=tuple(i for i in range(grid.ndim) if i != k))
        total += _beyond_end(axis, np.arange(inner.start), -1.0, along, [-float(c[k]) for c in centres])
        total += _beyond_end(axis, np.arange(inner.stop, axis.n), 1.0, along, [float(c[k]) for c in centres])
    return total


def _beyond_end(axis: Axis, cells: Array, sign: float, values: Array, centres: Sequence[float]) -> float:
    """What is beyond the upper end of an axis, or with the sign -1 the lower one, by `cells` of the margin there."""
    if len(cells) < 2:
        return 0.0
    end = sign * float(axis.edges[-1 if sign > 0 else 0])
    centre = max((c for c in centres if c < end), default=end)
    places, widths = sign * axis.centres[cells], axis.widths[cells]
    outer = places > 0.5 * (places.min() + places.max())
    (far, there), (near, here) = (
        (float(np.average(places[part], weights=widths[part])), float(values[cells[part]].sum() / widths[part].sum()))
        for part in (outer, ~outer)
    )
    if not there * (end - centre) > NOTHING:
        return 0.0
    if near <= centre or not 0 < there < here:
        return math.inf
    power = math.log(here / there) / math.log((far - centre) / (near - centre))
    at_end = there * ((far - centre) / (end - centre)) ** power
    return at_end * (end - centre) / (power - 1) if power > 1 else math.inf
