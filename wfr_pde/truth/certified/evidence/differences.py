"""Differences of two runs in KL, without signs that cancel, and what sums over cells miss in tails."""

from __future__ import annotations

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

BULK = 1e-4  # of the mass, at either end of log(mu/pi), between whose means mass is taken to be moved
KL_SHARE = 0.01  # of a bound of the error of KL that knows no signs: least part of it, where errors happen to cancel


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


def nats_apart(energy: KL, density: Density) -> float:
    """Mean of log(mu/pi) over the ten-thousandth of the mass where it is largest, less that where it is smallest.

    A share of the mass that an error puts from one place of the bulk to another changes KL by at most that times so
    many nats, to first order: half of the L1 error. That knows nothing of where the error is. Mass that an
    error gives from one mode to another, in a takeover, is such an error, which nothing local shows.
    """
    log_ratio = np.asarray(energy.first_variation(density)).ravel()
    order = np.argsort(log_ratio)
    mass = (density.values * density.grid.cell_volume).ravel()[order]
    ends = []
    for values, of_cells in ((log_ratio[order], mass), (log_ratio[order][::-1], mass[::-1])):
        taken = np.diff(np.minimum(np.cumsum(of_cells), BULK), prepend=0.0)
        ends.append(float(np.average(values[taken > 0], weights=taken[taken > 0])))
    return ends[1] - ends[0]


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
