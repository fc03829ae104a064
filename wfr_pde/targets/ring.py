"""The ring, or donut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import dimension, draws, generator, positive
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import box_of, call_repr, tail_mass
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.gaussian import gaussian_quantile


@dataclass(frozen=True, eq=False)
class Ring(Target):
    """Ring (in the plane), spherical shell (in space): V(x) = (|x| - R)² / s².

    V has a kink at the origin, where the score has no direction and is returned as zero.

    Parameters
    ----------
    radius : float
        R.
    width : float
        s; the radius has a standard deviation of about s / sqrt(2).
    ndim : int
        Dimension of the space.

    Raises
    ------
    ValueError
        If radius or width is not positive, or ndim is not a positive integer.

    Examples
    --------
    Each coordinate of a thin ring has the variance R²/2, and a little more:

    >>> import wfr_pde as wfr
    >>> mean, covariance = wfr.Ring(radius=2.0, width=0.1).moments()
    >>> covariance.round(4).tolist()
    [[2.0075, 0.0], [0.0, 2.0075]]
    """

    radius: float = 5.0
    width: float = 0.25
    ndim: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", positive("radius", self.radius))
        object.__setattr__(self, "width", positive("width", self.width))
        object.__setattr__(self, "ndim", dimension(self.ndim))

    __repr__ = call_repr

    def _radial_integral(self, power: int) -> float:
        """Return ∫_0^∞ r^power exp(-(r - R)²/s²) dr, in closed form: a sum of positive terms.

        With u = (r - R)/s: moments M_k = ∫_{-R/s}^∞ u^k e^{-u²} du, by parts
        M_k = (a^{k-1} e^{-a²} + (k - 1) M_{k-2}) / 2, a = -R/s.
        """
        from scipy.special import erfc

        a = -self.radius / self.width
        moments = [np.sqrt(np.pi) / 2 * erfc(a), np.exp(-(a**2)) / 2]
        for k in range(2, power + 1):
            moments.append((a ** (k - 1) * np.exp(-(a**2)) + (k - 1) * moments[k - 2]) / 2)
        terms = [
            comb(power, k) * self.radius ** (power - k) * self.width ** (k + 1) * moments[k] for k in range(power + 1)
        ]
        return float(sum(terms))

    @cached_property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        """Log of the sphere's area, 2 pi^{d/2} / Gamma(d/2), times the radial integral."""
        from scipy.special import gammaln

        area = np.log(2) + self.ndim / 2 * np.log(np.pi) - gammaln(self.ndim / 2)
        return float(area + np.log(self._radial_integral(self.ndim - 1)))

    @property
    def _radial_mode(self) -> float:
        """Mode rho of r^{d-1} exp(-(r - R)²/s²), the density of the radius."""
        return (self.radius + np.sqrt(self.radius**2 + 2 * (self.ndim - 1) * self.width**2)) / 2

    @override
    def log_density(self, points: ArrayLike) -> Array:
        r = np.sqrt(np.sum(self.as_points(points) ** 2, axis=-1))
        return np.asarray(-(((r - self.radius) / self.width) ** 2))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return -grad V at points (..., d), shape (..., d); zero at the origin."""
        points = self.as_points(points)
        r = np.sqrt(np.sum(points**2, axis=-1, keepdims=True))
        direction = np.divide(points, r, out=np.zeros_like(points), where=r > 0)
        return -2 * (r - self.radius) / self.width**2 * direction

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Return `n` independent draws, shape (n, d).

        The radius by rejection: (r/rho)^{d-1} <= e^{(d-1)(r/rho - 1)}, rho the radial mode, makes
        N(rho, s²/2) an envelope.
        """
        n, rng = draws(n, self.ndim), generator(rng)
        rho, power = self._radial_mode, self.ndim - 1
        radii = np.empty(0)
        while len(radii) < n:
            ratio = (rho + self.width / np.sqrt(2) * rng.standard_normal(2 * (n - len(radii)) + 16)) / rho
            kept = ratio[ratio > 0]
            accepted = np.log(rng.random(len(kept))) <= power * (np.log(kept) - kept + 1)
            radii = np.append(radii, rho * kept[accepted])
        directions = rng.standard_normal((n, self.ndim))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return radii[:n, None] * directions

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return the origin in one dimension; in more the kink is in a single point, and no hyperplane is returned."""
        if self.ndim > 1:
            return super().breaks(lower, upper)
        return Breaks((np.zeros(1),)).inside(*box_of("(lower, upper)", (lower, upper), 1))

    @override
    def moments(self) -> tuple[Array, Array]:
        """Return the mean (d,), zero by symmetry, and the covariance (d, d), E r²/d times the identity."""
        second = self._radial_integral(self.ndim + 1) / self._radial_integral(self.ndim - 1)
        return np.zeros(self.ndim), second / self.ndim * np.eye(self.ndim)

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a cube around the ball beyond which the envelope of `sample` has the mass `tail`, an upper bound."""
        rho, power = self._radial_mode, self.ndim - 1
        height = rho**power * np.exp(-(((rho - self.radius) / self.width) ** 2)) * self.width * np.sqrt(np.pi)
        envelope = max(1.0, height / self._radial_integral(power))  # its mass, that of the target being 1
        half = rho + self.width / np.sqrt(2) * gaussian_quantile(min(1.0, 2 * tail_mass(tail) / envelope))
        return np.full(self.ndim, -half), np.full(self.ndim, half)
