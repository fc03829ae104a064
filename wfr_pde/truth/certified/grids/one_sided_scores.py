"""Scores for the local scales that cells follow, by differences that do not reach across kinks and jumps of V."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.base import Target

# over the distance between the breaks around, or the walls: a relative error of some 1e-7, enough for scales
STEP = 1e-7


class FromOneSide(Target):
    """A target whose score is a difference quotient away from the nearest break, along every axis.

    Its relative error is some 1e-7, enough for local scales; a score by central differences would be as large as the
    jump of V over their step beside a jump.

    Parameters
    ----------
    target : Target
    breaks : d arrays
        Places of the breaks along every axis, increasing.
    lower, upper : arrays (d,)
        The box.
    """

    def __init__(self, target: Target, breaks: Sequence[ArrayLike], lower: Array, upper: Array) -> None:
        self.target, self.ndim, self.moving = target, target.ndim, target.moving
        self.support, self.log_normaliser = target.support, target.log_normaliser
        self.edges = [
            np.unique(np.concatenate([[low], np.ravel(own), [high]]))
            for low, high, own in zip(lower, upper, breaks, strict=True)
        ]

    @override
    def __repr__(self) -> str:
        return repr(self.target)

    @override
    def log_density(self, points: ArrayLike) -> Array:
        return self.target.log_density(points)

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        return self.target.sample(n, rng)

    @override
    def score(self, points: ArrayLike) -> Array:
        """Compute the gradient of the log-density at points (..., d) by differences that reach across no break."""
        points = self.as_points(points)
        here = self.target.log_density(points)
        result = np.empty(points.shape)
        for k, edges in enumerate(self.edges):
            x = points[..., k]
            above = np.clip(np.searchsorted(edges, x, side="right"), 1, len(edges) - 1)
            low, high = edges[above - 1], edges[above]
            moved = points.copy()
            moved[..., k] = x + np.where(x - low < high - x, 1.0, -1.0) * STEP * (high - low)
            with np.errstate(all="ignore"):  # what is not finite has no scale
                result[..., k] = (self.target.log_density(moved) - here) / (moved[..., k] - x)
        return result
