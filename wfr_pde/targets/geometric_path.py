"""Moving targets: the geometric path between two distributions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import function, number
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import call_repr
from wfr_pde.targets.base import Target, at_rest
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.gaussian import Gaussian


def exponential_schedule(t: float) -> float:
    """Return 1 - e^{-t}: the weight of the target along the Fisher–Rao flow with rate 1."""
    return float(-np.expm1(-t))


@dataclass(frozen=True, eq=False)
class GeometricMean(Target):
    """Geometric mean of two distributions: V = (1 - lambda) V_start + lambda V_target.

    Parameters
    ----------
    start, target : Target
        Two distributions in the same number of dimensions; neither moves.
    weight : float
        lambda, in [0, 1].

    Raises
    ------
    ValueError
        If the dimensions differ, one of them moves, or the weight is not in [0, 1].

    Examples
    --------
    Half way between N(0, 1) and N(4, 1) is N(2, 1), whose score at 3 is -1:

    >>> import wfr_pde as wfr
    >>> mean = wfr.targets.GeometricMean(wfr.Gaussian(0, 1), wfr.Gaussian(4, 1), weight=0.5)
    >>> mean.score([[3.0]]).tolist()
    [[-1.0]]
    """

    start: Target
    target: Target
    weight: float

    def __post_init__(self) -> None:
        _check_ends(self.start, self.target)
        object.__setattr__(self, "weight", _checked_weight(self.weight, "weight"))
        object.__setattr__(self, "ndim", self.target.ndim)

    __repr__ = call_repr

    def _parts(self) -> list[tuple[float, Target]]:
        """Return both ends with their weights, but no end of weight zero, whose log-density may be infinite."""
        parts = [(1 - self.weight, self.start), (self.weight, self.target)]
        return [(weight, end) for weight, end in parts if weight > 0]

    @override
    def log_density(self, points: ArrayLike) -> Array:
        return np.asarray(sum(weight * end.log_density(points) for weight, end in self._parts()))

    @override
    def score(self, points: ArrayLike) -> Array:
        return np.asarray(sum(weight * end.score(points) for weight, end in self._parts()))

    @property
    @override
    def machine_epsilon(self) -> float:
        """Machine epsilon of the end that is computed less precisely."""
        return max(end.machine_epsilon for _, end in self._parts())

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the smallest box around the boxes of the two ends."""
        return _union([end.box(tail) for _, end in self._parts()])

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return the breaks of both ends inside the box."""
        return reduce(operator.or_, (end.breaks(lower, upper) for _, end in self._parts()))


@dataclass(frozen=True, eq=False)
class GeometricPath(Target):
    """Moving target: V(x, t) = (1 - lambda(t)) V_start(x) + lambda(t) V_target(x).

    It has a density only at a time: `path.at(t)`. With the default schedule it is the Fisher–Rao flow of rate 1 from
    start to target.

    Parameters
    ----------
    start, target : Target
        Two distributions in the same number of dimensions; neither moves.
    schedule : function t -> [0, 1], optional
        lambda; by default 1 - e^{-t}.

    Raises
    ------
    ValueError
        If the dimensions differ, one of the ends moves, or the schedule leaves [0, 1].

    Examples
    --------
    At t = log 2 the weight of the target is a half:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> path = wfr.GeometricPath(wfr.Gaussian(0, 1), wfr.Gaussian(4, 1))
    >>> path.at(np.log(2)).mean.round(6).tolist()
    [2.0]
    """

    start: Target
    target: Target
    schedule: Callable[[float], float] | None = None

    moving = True

    def __post_init__(self) -> None:
        _check_ends(self.start, self.target)
        schedule = exponential_schedule if self.schedule is None else self.schedule
        object.__setattr__(self, "schedule", function("schedule", schedule, "t -> [0, 1]"))
        object.__setattr__(self, "ndim", self.target.ndim)

    __repr__ = call_repr

    @override
    def at(self, t: float) -> Target:
        """Return the target at time `t`: a `Gaussian` between two Gaussians, else a `GeometricMean`.

        Raises
        ------
        ValueError
            If the schedule is outside [0, 1] at that time.
        """
        t = number("t", t)
        weight = _checked_weight(self.schedule(t), f"t={t}: schedule({t})")  # type: ignore[misc]
        if isinstance(self.start, Gaussian) and isinstance(self.target, Gaussian):
            return _between(self.start, self.target, weight)
        return GeometricMean(self.start, self.target, weight)

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Refuse: the density depends on time, use `at(t)`."""
        raise ValueError("a GeometricPath moves, its density depends on time: use path.at(t).log_density(points)")

    @override
    def score(self, points: ArrayLike) -> Array:
        """Refuse: the score depends on time, use `at(t)`."""
        raise ValueError("a GeometricPath moves, its score depends on time: use path.at(t).score(points)")

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Refuse: the law depends on time, use `at(t)`."""
        raise ValueError("a GeometricPath moves, its law depends on time: use path.at(t).sample(n, rng)")

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the smallest box around those of the two ends, and between Gaussians of nine places on the way."""
        boxes = [self.start.box(tail), self.target.box(tail)]
        if isinstance(self.start, Gaussian) and isinstance(self.target, Gaussian):
            # correlations can push the mean out of the box of the ends
            boxes += [_between(self.start, self.target, w).box(tail) for w in np.linspace(0, 1, 11)[1:-1]]
        return _union(boxes)

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return the breaks of both ends inside the box."""
        return self.start.breaks(lower, upper) | self.target.breaks(lower, upper)


def _between(start: Gaussian, target: Gaussian, weight: float) -> Gaussian:
    """Return the exact geometric mean of two Gaussians: precisions, and precisions times means, are averaged."""
    if weight in (0, 1):
        return target if weight else start
    precision = (1 - weight) * start.precision + weight * target.precision
    pull = weight * target.precision @ (target.mean - start.mean)
    covariance = np.linalg.inv(precision)
    return Gaussian(start.mean + covariance @ pull, (covariance + covariance.T) / 2)


def _check_ends(start: Target, target: Target) -> None:
    for name, end in (("start", start), ("target", target)):
        at_rest(name, end)
    if start.ndim != target.ndim:
        raise ValueError(f"start is {start.ndim}-dimensional, but target is {target.ndim}-dimensional")


def _checked_weight(value: Any, name: str) -> float:
    weight = number(name, value)
    if not 0 <= weight <= 1:
        raise ValueError(f"{name} is {weight}, but a weight lies between 0 (start) and 1 (target)")
    return weight


def _union(boxes: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    lower, upper = zip(*boxes, strict=True)
    return np.min(lower, axis=0), np.max(upper, axis=0)
