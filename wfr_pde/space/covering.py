"""The box of a grid: one that holds the mass of several distributions, and ends at their walls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import instance
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import tail_mass
from wfr_pde.targets.base import Target

AT_FACE, PLACES = 1e-2, 1000  # of the largest density: at a face where as much is there, mass ends; looked at in places
BEYOND = (1e-6, 1e-3, 0.1)  # of the support: places outside of it, where a density that ends there is not finite


def covering_box(distributions: Sequence[Target], tail: float) -> tuple[Array, Array]:
    """Return the corners (d,) of a box outside which each of some distributions has a mass below `tail`.

    Where a distribution is not finite beyond a face of its `support`, or does not fall towards it, the box ends there:
    these are walls.

    Raises
    ------
    ValueError
        If there is no distribution, one has no such box (heavy tails, not integrable), or dimensions differ.
    """
    if not distributions:
        raise ValueError("Grid.covering needs at least one of distributions: Grid.covering(target, start, shape=...)")
    for k, distribution in enumerate(distributions):
        instance(f"distributions[{k}]", distribution, Target, "such as Gaussian(mean=0, covariance=1)")
    tail = tail_mass(tail)
    dimensions = [distribution.ndim for distribution in distributions]
    if len(set(dimensions)) != 1:
        raise ValueError(f"the distributions have different dimensions: {dimensions}")
    boxes = [distribution.box(tail) for distribution in distributions]
    lower, upper = np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)
    for distribution in distributions:
        if distribution.support is not None and not distribution.moving:
            low, high = _faces_that_are_walls(distribution)
            lower = np.where(low, np.maximum(lower, distribution.support[0]), lower)
            upper = np.where(high, np.minimum(upper, distribution.support[1]), upper)
    return lower, upper


def snapshots(distribution: Target, times: ArrayLike) -> list[Target]:
    """Return a distribution at some times, if it moves and knows no box for all times; else the distribution alone."""
    if not distribution.moving or distribution.support is not None or type(distribution).box is not Target.box:
        return [distribution]
    return [distribution.at(float(t)) for t in np.ravel(times)]


def ends_at_walls(distribution: Target) -> bool:
    """Return whether the log-density is not finite beyond some face of the support, or does not fall towards it."""
    return distribution.support is not None and bool(np.any(_faces_that_are_walls(distribution)))


def _faces_that_are_walls(distribution: Target) -> Array:
    """Return which faces of the support are walls (2, d), lower and upper, by values at places beyond their middles."""
    lower, upper = (np.asarray(corner, dtype=np.float64) for corner in distribution.support or ())
    d = distribution.ndim
    walls = np.zeros((2, d), dtype=bool)
    for k in range(d):
        for side, (wall, outwards) in enumerate(((lower, -1.0), (upper, 1.0))):
            points = np.tile((lower + upper) / 2, (len(BEYOND), 1))
            points[:, k] = wall[k] + outwards * np.asarray(BEYOND) * (upper[k] - lower[k])
            with np.errstate(all="ignore"):
                walls[side, k] = not np.isfinite(distribution.log_density(points)).all()
    return walls | _faces_with_density(distribution, lower, upper)


def _faces_with_density(distribution: Target, lower: Array, upper: Array) -> Array:
    """Return at which faces of the support (2, d) the density is at least `AT_FACE` of the largest inside."""
    d = distribution.ndim
    inside = lower + np.random.default_rng(0).random((PLACES, d)) * (upper - lower)

    def largest(points: Array) -> float:
        with np.errstate(all="ignore"):
            return float(
                np.nan_to_num(distribution.log_density(points), nan=-math.inf, posinf=math.inf, neginf=-math.inf).max()
            )

    found, highest = np.zeros((2, d)), largest(inside)
    for k in range(d):
        for side, wall in enumerate((lower, upper)):
            points = inside.copy()
            points[:, k] = wall[k]
            found[side, k] = largest(points)
    return np.asarray(found > highest + math.log(AT_FACE))
