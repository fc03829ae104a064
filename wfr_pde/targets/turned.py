"""A distribution in turned coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import finite_array
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import Floats, call_repr
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.derived import DerivedTarget
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.geometric_path import GeometricMean, GeometricPath
from wfr_pde.targets.mixture import GaussianMixture

ORTHOGONAL = 1e-10  # largest entry of Q'Q - I: 1e-10 of a length is far below any cell


@dataclass(frozen=True, eq=False)
class Turned(DerivedTarget):
    """The law of y = Q'(x - c) where x has a given law: V_turned(y) = V(c + Q y).

    A rotation leaves the flow as it is: lengths, hence gradients, divergences and |det| = 1, are the same in y as in x.
    What changes is how well cells along the axes fit. `turned` gives Gaussians and mixtures back as what they are.

    Parameters
    ----------
    target : Target
        In the coordinates x.
    rotation : array (d, d)
        Q, orthogonal; its columns are the new axes in the coordinates x. Reflections are allowed.
    centre : array (d,)
        c, the origin of the new coordinates.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite, or Q is not orthogonal.
    """

    target: Target
    rotation: Floats
    centre: Floats

    def __post_init__(self) -> None:
        rotation, centre = checked_frame(self.rotation, self.centre, self.target.ndim)
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "centre", centre)
        object.__setattr__(self, "ndim", self.target.ndim)
        object.__setattr__(self, "moving", self.target.moving)
        object.__setattr__(self, "log_normaliser", self.target.log_normaliser)
        if self.target.support is not None:
            object.__setattr__(self, "support", turned_box(self.target.support, rotation, centre))

    __repr__ = call_repr

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V(c + Q y) at points y (..., d), shape (...)."""
        return self.target.log_density(original_points(self.as_points(points), self.rotation, self.centre))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return Q' times the score at c + Q y, shape (..., d)."""
        return self.target.score(original_points(self.as_points(points), self.rotation, self.centre)) @ self.rotation

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Return `n` draws of the target, turned, shape (n, d)."""
        return turned_points(self.target.sample(n, rng), self.rotation, self.centre)

    @override
    def moments(self) -> tuple[Array, Array] | None:
        """Return the mean Q'(m - c) and the covariance Q'CQ, where those of the target are known."""
        known = self.target.moments()
        if known is None:
            return None
        return turned_points(known[0], self.rotation, self.centre), _turned_matrix(known[1], self.rotation)

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return no planes, as none lie along the new axes; `elsewhere` is set if the target has any near the box."""
        centre = turned_points(np.zeros(self.ndim), self.rotation, self.centre)  # the way back turns about Q'(0 - c)
        outer = turned_box((lower, upper), self.rotation.T, centre)
        return Breaks(Breaks.none(self.ndim).places, elsewhere=bool(self.target.breaks(*outer)))

    @override
    def at(self, t: float) -> Target:
        """Return the target at time `t`, turned."""
        return turned(self.target.at(t), self.rotation, self.centre) if self.moving else self

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Search for a box in the turned coordinates; that of a moving target is the one around its turned box."""
        if self.moving:
            return turned_box(self.target.box(tail), self.rotation, self.centre)
        return super().box(tail)


def turned(target: Target, rotation: ArrayLike, centre: ArrayLike) -> Target:
    """Return the law of y = Q'(x - c) where x has a given law.

    Gaussians, mixtures and paths between two targets stay what they are, with turned parameters.

    Parameters
    ----------
    target : Target
        Law of x; it may move.
    rotation : array (d, d)
        Q, orthogonal; its columns are the new axes.
    centre : array (d,)
        c, the origin of the new coordinates.

    Returns
    -------
    Target
        Of the same class where that is closed under rotations, else a `Turned`.

    Raises
    ------
    ValueError
        As `Turned`.
    """
    q, c = checked_frame(rotation, centre, target.ndim)
    kind = type(target)  # not isinstance: what else a class derived from one of these does is not known
    if kind is Gaussian:
        return Gaussian(turned_points(target.mean, q, c), _turned_matrix(target.covariance, q))  # type: ignore[attr-defined]
    if kind is GaussianMixture:
        means, covariances = target.means, target.covariances  # type: ignore[attr-defined]
        return GaussianMixture(turned_points(means, q, c), target.weights, _turned_matrix(covariances, q))  # type: ignore[attr-defined]
    if kind is GeometricMean:
        ends = turned(target.start, q, c), turned(target.target, q, c)  # type: ignore[attr-defined]
        return GeometricMean(*ends, target.weight)  # type: ignore[attr-defined]
    if kind is GeometricPath:
        ends = turned(target.start, q, c), turned(target.target, q, c)  # type: ignore[attr-defined]
        return GeometricPath(*ends, target.schedule)  # type: ignore[attr-defined]
    return Turned(target, q, c)


def turned_points(points: ArrayLike, rotation: ArrayLike, centre: ArrayLike) -> Array:
    """Return y = Q'(x - c) for points x (..., d)."""
    return np.asarray((np.asarray(points) - np.asarray(centre)) @ np.asarray(rotation))


def original_points(points: ArrayLike, rotation: ArrayLike, centre: ArrayLike) -> Array:
    """Return x = c + Q y for points y (..., d)."""
    return np.asarray(np.asarray(centre) + np.asarray(points) @ np.asarray(rotation).T)


def turned_vectors(vectors: ArrayLike, rotation: ArrayLike) -> Array:
    """Return Q'v for vectors such as scores and velocities (..., d), from x to y; Q' in place of Q turns them back."""
    return np.asarray(np.asarray(vectors) @ np.asarray(rotation))


def turned_box(box: tuple[ArrayLike, ArrayLike], rotation: ArrayLike, centre: ArrayLike) -> tuple[Array, Array]:
    """Return the smallest box in y around a box (lower, upper) in x."""
    lower, upper = (np.asarray(corner, dtype=np.float64) for corner in box)
    middle = turned_points((lower + upper) / 2, rotation, centre)
    half = np.abs(np.asarray(rotation)).T @ ((upper - lower) / 2)
    return middle - half, middle + half


def checked_frame(rotation: Any, centre: Any, ndim: int, name: str = "centre") -> tuple[Array, Array]:
    """Return Q (d, d) and c (d,), which the caller's user knows by `name`, as read-only arrays.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite, or Q is not orthogonal.
    """
    q, c = finite_array("rotation", rotation), finite_array(name, centre)
    if q.shape != (ndim, ndim) or c.shape != (ndim,):
        raise ValueError(
            f"a {ndim}-dimensional target is turned by a rotation of shape ({ndim}, {ndim}) about a {name} of shape "
            f"({ndim},), got {q.shape} and {c.shape}"
        )
    gap = float(np.abs(q.T @ q - np.eye(ndim)).max())
    if gap > ORTHOGONAL:
        raise ValueError(
            f"rotation must be orthogonal, but an entry of Q'Q - I is {gap:.2g}: give axes of length one at right "
            "angles, as numpy.linalg.qr or eigh return them"
        )
    return q, c


def _turned_matrix(matrices: Array, rotation: Array) -> Array:
    """Return Q'CQ for matrices (..., d, d), symmetric to the last bit."""
    product = rotation.T @ matrices @ rotation
    return np.asarray((product + np.swapaxes(product, -1, -2)) / 2)
