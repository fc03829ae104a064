"""A box that holds a target's mass, found from the values of its log-density alone.

The search goes in three steps, each in a few large batches of points.

1. *Modes*: points at all length scales, climbed by a trust region method that needs no derivatives.
2. *Mass*: importance sampling from Gaussians fitted to the modes, at their own and at the widest scale.
3. *Faces*: along every axis the marginal density far out is the ridge of the log-density in the slice
   (the profile), times the volume under it. Its integral from the face outwards is the mass cut off.

Wherever an estimate can err, it errs towards the wider box: some 10 % for Gaussian tails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from scipy.special import gammaln, logsumexp, ndtri

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target

    Array = np.ndarray[Any, np.dtype[np.float64]]
    LogDensity = Callable[[Array], Array]

REACH = 1e16  # nothing is looked for beyond this distance from the origin
RUNAWAY = 1e12  # a mode further out, or a log-density above 10 × this, is a density that has no mode
WALL = 30.0  # drop, in nats, that stands for "no density here" in a quadratic model
LEVELS = 0.5 * 4.0 ** np.arange(16)  # distances of the first slices, in units of a mode's width
N_RIDGES = 3  # ridges followed in every slice
HEAVY_INDEX = 3.5  # tails P(|x| > r) ~ r^-index with a smaller index are refused...
HEAVY_RATIO = 30.0  # ...if they also make the box this many times wider than the bulk


def find_box(target: Target, tail: float = 1e-12) -> tuple[Array, Array]:
    """Box outside which `target` has a relative mass below `tail`.

    Only values of the log-density are used (where the target can draw samples, those are further starting
    points); they may be -inf or NaN, which count as no density. The same input gives the same box. A mode
    much narrower than its distance from all others can stay hidden: its region of attraction, about
    (its width) × (distance / width of the others), must be met by one of the points of the scan.

    Parameters
    ----------
    target : Target
        Known up to its normalising constant, in 1 to 4 dimensions.
    tail : float
        Mass that may lie outside, relative to the whole.

    Returns
    -------
    lower, upper : arrays (d,)

    Raises
    ------
    ValueError
        If the log-density is nowhere finite, rises without bound, or has tails too heavy for a grid.
    """
    if not 0 < tail < 1:
        raise ValueError(f"tail={tail} is not a probability: it must lie between 0 and 1, for example 1e-12")
    search = _Search(target, tail)
    points, radii = search.first_points()
    modes = search.modes_from(points, radii)
    for _ in range(6):
        lower, upper = search.faces(modes)
        found = search.modes_from(*search.points_outside(lower, upper))
        found = found.select(np.any((found.x < lower) | (found.x > upper), axis=1))
        modes, n_before = modes.merged(found), modes.mass
        if not np.any(modes.significant(tail)[len(n_before) :]):
            break
    return lower, upper
