"""Densities of points for graded axes, from the local scales of distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target

Array = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 100  # places per distribution where the local scale is looked at
SPREAD = 0.2  # growth of the scale with the distance from a place: what is narrow diffuses through all scales above
SLOPE = 1 / 3  # a slope counts as the curvature of a Gaussian this many standard deviations out
POWER = 8  # of the mean over the places (written out below): near the maximum, so that few draws in a narrow mode count
PROBE_CELLS = 2**15
PROBE_ROUNDS = 4
STEP = 1e-6  # of the difference quotient of the score, over the local length


def densities_of_points(
    distributions: Sequence[Target], lower: Array, upper: Array, periodic: Sequence[bool]
) -> list[Callable[[Array], Array]]:
    """One density of points per axis, for a grid that resolves some distributions and what lies between them.

    At draws y of every distribution p the scale along axis k is s = (|∂_k² log p| + (∂_k log p)²/9)^(-1/2), the
    conditional standard deviation for a Gaussian. The density of points at x is the mean of order 8 over the draws of
    1 / sqrt(s² + (0.2 |x - y|)²): cells grow in proportion to the distance from what is narrow.

    Parameters
    ----------
    distributions : sequence of Target
        Drawn from where they can be; else probed on grids that are graded again and again, which may miss a mode
        much narrower than the others.
    lower, upper : arrays (d,)
        The box.
    periodic : sequence of d bools
    """
    places, scales = [], []
    for distribution in distributions:
        points = _places(distribution, lower, upper, periodic)
        places.append(points)
        scales.append(_local_scales(distribution, points, upper - lower))
    all_places, all_scales = np.concatenate(places), np.concatenate(scales)
    return [
        _density(all_places[:, k], all_scales[:, k], float(upper[k] - lower[k]), periodic[k]) for k in range(len(lower))
    ]


def _places(distribution: Target, lower: Array, upper: Array, periodic: Sequence[bool]) -> Array:
    """Points (m, d) in the box, distributed as the mass."""
    try:
        points = distribution.sample(DRAWS, rng=0)
    except NotImplementedError:
        return _probed(distribution, lower, upper, periodic)
    inside = np.all((points > lower) & (points < upper), axis=-1)
    return points[inside]


def _probed(distribution: Target, lower: Array, upper: Array, periodic: Sequence[bool]) -> Array:
    """Cell centres drawn by mass from a grid of moderate size, which is graded by what it showed and probed again."""
    from wfr_pde.grid import Grid

    d = len(lower)
    cells = int(PROBE_CELLS ** (1 / d))
    boundary = ["periodic" if wraps else "no-flux" for wraps in periodic]
    grading: Any = None
    for _ in range(PROBE_ROUNDS):
        grid = Grid(lower, upper, cells, boundary=boundary, grading=grading)
        log_values = np.asarray(grid.evaluate(distribution.log_density))
        log_values = np.where(np.isfinite(log_values), log_values, -np.inf)
        mass = np.cumsum((np.exp(log_values - log_values.max()) * grid.cell_volume).ravel())
        chosen = np.searchsorted(mass, (np.arange(DRAWS) + 0.5) / DRAWS * mass[-1])
        index = np.unravel_index(chosen, grid.shape)
        points = np.stack([axis.centres[i] for axis, i in zip(grid.axes, index, strict=True)], axis=-1)
        scales = _local_scales(distribution, points, upper - lower)
        grading = [_density(points[:, k], scales[:, k], float(upper[k] - lower[k]), periodic[k]) for k in range(d)]
    return points


def _local_scales(distribution: Target, points: Array, lengths: Array) -> Array:
    """Length over which the log-density along every axis changes, at points (m, d); at most the box."""
    scales = np.empty(points.shape)
    slope = distribution.score(points)
    for k, length in enumerate(lengths):
        step = np.zeros(points.shape)
        step[:, k] = STEP * length / (1 + length * np.abs(slope[:, k]))
        above, below = (distribution.score(points + sign * step)[:, k] for sign in (1, -1))
        curvature = np.abs(above - below) / (2 * step[:, k])
        steepness = curvature + (SLOPE * slope[:, k]) ** 2
        steepness = np.where(np.isfinite(steepness), steepness, 0.0)
        scales[:, k] = 1 / np.sqrt(steepness + length**-2)
    return scales


def _density(places: Array, scales: Array, length: float, periodic: bool) -> Callable[[Array], Array]:
    """Mean of order 8 of 1 / sqrt(s² + (0.2 distance)²) over the places."""

    def density(x: Array) -> Array:
        values = np.zeros(np.shape(x))
        for place, scale in zip(places, scales, strict=True):
            distance = x - place
            if periodic:
                distance = length / np.pi * np.sin(np.pi * distance / length)
            square = scale**2 + (SPREAD * distance) ** 2
            values += 1 / (square * square) ** 2
        return (values / len(places)) ** (1 / POWER)

    return density
