"""Differences of two runs in KL, without signs that cancel, and what sums over cells miss in tails."""

from __future__ import annotations

import itertools

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

DEEP, LOWEST = 2.0, 40.0  # nats of a valley between two modes, and below the top, down to which modes are told apart
TINY = 1e-300  # stands for zero in a denominator or a logarithm
KL_SHARE = 0.3  # of a bound of the error of KL that knows no signs: least part of it, where errors happen to cancel


def first_order_kl(energy: KL, one: Density, other: Density) -> float:
    """Bound the difference of KL to first order, ∫ |mu - nu| |g - KL| dx, which knows no signs, in nats."""
    return float(one.grid.integrate(np.abs(one.values - other.values) * excess_of_first_variation(energy, one)))


def unsigned_kl(energy: KL, one: Density, other: Density) -> float:
    """Return the share of `first_order_kl` that counts at least as the difference in KL, in nats.

    To first order KL differs by the integral of the difference times g = log(mu/pi). Positive and negative parts of it
    may cancel by chance, at one time; the integral of its absolute value knows nothing of that.
    """
    return KL_SHARE * first_order_kl(energy, one, other)


def excess_of_first_variation(energy: KL, density: Density) -> Array:
    """Compute |g - KL| in nats: by how much mass that comes to a place changes KL to first order."""
    return np.abs(np.asarray(energy.first_variation(density)) - energy.value(density))


def kl_of_moved_mass(energy: KL, density: Density, l1: float) -> float:
    """Return by how much KL changes, to first order, if an L1 error is mass that is in a wrong mode, in nats.

    Nothing local shows such an error, as of a takeover: half of the L1 error is the mass, or all of the smaller mode if
    that is less, and it costs the difference of the means of log(mu/pi) in both. Modes are those of the density and of
    the target along every axis, between valleys that are two nats deep.
    """
    log_ratio = np.asarray(energy.first_variation(density))
    mass = density.values * density.grid.cell_volume
    nats = np.where(mass > 0, mass * np.where(mass > 0, log_ratio, 0.0), 0.0)
    of_target = np.exp(np.asarray(energy.log_equilibrium(density.grid))) * density.grid.cell_volume
    largest = 0.0
    for k, axis in enumerate(density.grid.axes):
        others = tuple(i for i in range(density.grid.ndim) if i != k)
        along = mass.sum(axis=others)
        for one in (along, of_target.sum(axis=others)):
            ends = _valleys(one / axis.widths)
            masses = np.add.reduceat(along, ends)
            means = np.add.reduceat(nats.sum(axis=others), ends) / np.maximum(masses, TINY)
            costs = np.abs(means - means[masses.argmax()])
            largest = max(largest, float(np.max(np.minimum(masses, l1 / 2) * costs)))
    return largest


def _valleys(values: Array) -> np.ndarray:
    """Return the first cell of every mode of values (n,) >= 0: 0, and the lowest cell of every deep valley."""
    heights = np.log(np.maximum(values, TINY))
    heights = np.maximum(heights, heights.max() - LOWEST)
    rises = np.flatnonzero(np.diff(heights))  # without plateaus
    kept = np.append(rises, len(heights) - 1)
    slopes = np.sign(np.diff(heights[kept], prepend=-np.inf, append=-np.inf))
    tops = kept[(slopes[:-1] > 0) & (slopes[1:] < 0)].tolist()
    lows = [low + int(np.argmin(heights[low:high])) for low, high in itertools.pairwise(tops)]
    while lows:
        depths = [min(heights[tops[i]], heights[tops[i + 1]]) - heights[low] for i, low in enumerate(lows)]
        shallow = int(np.argmin(depths))
        if depths[shallow] >= DEEP:
            break
        lower = shallow if heights[tops[shallow]] < heights[tops[shallow + 1]] else shallow + 1
        del lows[shallow], tops[lower]
    return np.array([0, *lows])


def missed_by_sums(grid: Grid, log_values: Array, where: np.ndarray) -> Array:
    """Return the mass in the cells of a tail beyond what the density at the centre says.

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
