"""What KL has beyond the widest box: by how it falls at the end, and by a look at places far out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.problem import Problem

Function = Callable[[Array], Array]

FAR = np.concatenate([[0.0], np.geomspace(1e-2, 2.0**30, 600)])  # lengths of an axis beyond it
LARGEST = 700.0  # of a logarithm, that its exponential does not overflow
NOTHING = 1e-20  # of a sum of masses: where less than that is left at the end of a margin, nothing is said of its fall


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


def kl_far_out(problem: Problem, wide: Grid, state: Density, t: float) -> float:
    """What KL has beyond a wider box on the line, where mu is known there: at the start, and under reaction alone.

    Parameters
    ----------
    problem : Problem
    wide : Grid
    state : Density
        Of that grid, at time `t`.
    t : float

    Returns
    -------
    float
        In nats; 0 where nothing is known.
    """
    known = t == problem.times[0] or (problem.alpha == 0 and not problem.target.moving)
    if wide.ndim > 1 or not known:
        return 0.0
    since = problem.beta * (t - float(problem.times[0]))
    target, energy, centre = problem.target.at(t), problem.energy_at(t), int(np.argmax(state.log_values))

    def q(x: Array) -> Array:
        return np.asarray(target.log_density(x[:, None]))

    def m(x: Array) -> Array:
        return np.asarray(math.exp(-since) * problem.start.log_density(x[:, None]) - math.expm1(-since) * q(x))

    there, log_q = wide.axes[0].centres[[centre]], np.asarray(energy.log_equilibrium(wide))
    of_m, of_q = float(state.log_values[centre] - m(there)[0]), float(log_q[centre] - q(there)[0])
    return _far_from_line(wide.axes[0], lambda x: m(x) + of_m, lambda x: q(x) + of_q, energy.value(state))


def _far_from_line(axis: Axis, log_m: Function, log_q: Function, kl: float) -> float:
    """Integral of |m (log(m/q) - 1 - KL) + q| on the line beyond an axis, at places ever further apart, in nats.

    It sees what comes back beyond a gap, which no fall at the end of the axis tells. Places at which a logarithm is
    not finite have nothing.

    Parameters
    ----------
    axis : Axis
    log_m, log_q : functions of an array (n,) -> array (n,)
        Normalised log-densities.
    kl : float
        Of the two.
    """
    total, distances = 0.0, axis.length * FAR
    for end, sign in ((axis.edges[0], -1.0), (axis.edges[-1], 1.0)):
        x = float(end) + sign * distances
        with np.errstate(all="ignore"):
            m, q = log_m(x), log_q(x)
            found = np.exp(np.minimum(m + np.log(np.abs(m - q - 1 - kl)), LARGEST)) + np.exp(np.minimum(q, LARGEST))
        total += float(np.trapezoid(np.where(np.isfinite(found), found, 0.0), distances))
    return total
