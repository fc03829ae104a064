"""The coupling c = log(pi~/pi) of two targets, and what the flow towards one leaves in the equation of the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Gaussian
from wfr_pde.targets.base import Target

SHIFT = 1e-4  # of differences, in lengths over which scores change: errors of 1e-8 by truncation, 1e-12 by rounding
MOST_DIFFERENCES = 12  # directions along which the Laplacian is taken; among more it is a mean over random signs
PROBES = 4  # vectors of random signs per place


@dataclass(frozen=True, eq=False)
class Coupling:
    """The coupling c = log(pi~/pi), with its gradient and its Laplacian.

    Parameters
    ----------
    near : Target
        pi~, the target of the decoupled flow.
    target : Target
        pi.
    laplacian : function, optional
        Points (..., d) -> Laplacian of c (...). Without it: constant for two Gaussians; else differences of scores.
    directions : array (k, d), optional
        Orthonormal directions outside whose span c does not change, so that the Laplacian is k second derivatives.
    length : float
        Over which scores change by a part that counts: the unit of the differences.
    """

    near: Target
    target: Target
    laplacian: Callable[[Array], ArrayLike] | None = None
    directions: Array | None = None
    length: float = 1.0
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    @cached_property
    def is_probed(self) -> bool:
        """Whether the Laplacian has the noise of random signs: its mean is right, its values are not."""
        many = len(self.directions) if self.directions is not None else self.target.ndim
        return self.laplacian is None and not self._is_gaussian and many > MOST_DIFFERENCES

    @property
    def _is_gaussian(self) -> bool:
        return isinstance(self.near, Gaussian) and isinstance(self.target, Gaussian)

    def value(self, points: Array) -> Array:
        """Return c at points (n, d), up to a constant."""
        return self.near.log_density(points) - self.target.log_density(points)

    def gradient(self, points: Array) -> Array:
        """Return grad c at points (n, d), shape (n, d)."""
        return np.asarray(self.near.score(points) - self.target.score(points))

    def laplacian_at(self, points: Array) -> Array | float:
        """Return the Laplacian of c at points (n, d): a number where it is constant, else shape (n,)."""
        if self.laplacian is not None:
            return np.asarray(self.laplacian(points), dtype=np.float64)
        if isinstance(self.near, Gaussian) and isinstance(self.target, Gaussian):
            return float(np.trace(self.target.precision) - np.trace(self.near.precision))
        axes = np.eye(self.target.ndim) if self.directions is None else self.directions
        if not self.is_probed:
            return np.sum([self._along(points, direction) for direction in axes], axis=0)
        signs = self.rng.choice([-1.0, 1.0], (PROBES, len(points), len(axes)))
        return np.mean([self._along(points, sign @ axes) for sign in signs], axis=0)

    def _along(self, points: Array, direction: Array) -> Array:
        """Return v' (Hessian of c) v for a direction v (d,), or one per point (n, d)."""
        step = SHIFT * self.length * direction
        change = self.gradient(points + step) - self.gradient(points - step)
        return np.asarray(np.sum(change * direction, axis=-1) / (2 * SHIFT * self.length))

    def met(self, points: Array, score: Array, rates: tuple[float, float], tilt: tuple[float, float]) -> tuple:
        """Return the drift of the reversed flow of m = mu~ exp(-theta c), and what m leaves in the equation.

        Parameters
        ----------
        points : array (n, d)
        score : array (n, d)
            Of mu~ there.
        rates : (float, float)
            alpha, beta.
        tilt : (float, float)
            theta and its rate of change.

        Returns
        -------
        (array (n, d), array (n,))
            alpha (2 grad log m + grad V), and r up to a constant; without reaction that is zero.
        """
        (alpha, beta), (theta, change) = rates, tilt
        near, towards = self.near.score(points), self.target.score(points)
        gradient = np.asarray(near - towards)
        drift = alpha * (2 * (score - theta * gradient) - towards)
        along = (1 - 2 * theta) * score + theta * (near - (1 - theta) * gradient)
        transported = (1 - theta) * self.laplacian_at(points) + np.sum(along * gradient, axis=-1)
        return drift, (beta * (1 - theta) - change) * self.value(points) - alpha * transported


@dataclass(frozen=True)
class Tilt:
    """A path theta(t) from 0 towards 1, along which mu~ exp(-theta c), normalised, follows mu in the main.

    For reaction alone it is mu; at rest, with theta = 1, too. Its rate over 1 - theta goes linearly between times.

    Parameters
    ----------
    times, rates : array (n,)
        From time 0 on.

    Examples
    --------
    >>> theta, change = Tilt(np.array([0.0, 1.0]), np.array([2.0, 2.0])).at(0.5)
    >>> round(theta, 4), round(change, 4)
    (0.6321, 0.7358)
    """

    times: Array
    rates: Array

    def at(self, t: float) -> tuple[float, float]:
        """Return theta and its rate of change."""
        inner = self.times < t
        knots, rate = np.append(self.times[inner], t), float(np.interp(t, self.times, self.rates))
        exponent = float(np.trapezoid(np.append(self.rates[inner], rate), knots))
        return -float(np.expm1(-exponent)), rate * float(np.exp(-exponent))
