"""Neal's funnel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import dimension, draws, generator, positive
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import call_repr, tail_mass
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import gaussian_quantile

_STEEPEST = 700.0  # e^700 is finite: half of -x_0 is cut there, where pi is zero in any case


@dataclass(frozen=True, eq=False)
class Funnel(Target):
    """Neal's funnel: V(x) = x_0²/(2v) + sum_{k>=1} (x_k² e^{-x_0} + x_0) / 2.

    That is x_0 ~ N(0, v) and x_k | x_0 ~ N(0, e^{x_0}): scales from e^{-sqrt(v)} to e^{sqrt(v)} and beyond
    in one density. With v = 9 the box of small tails is some 10⁵ wide, too much for a uniform grid; v = 1
    is tame.

    Parameters
    ----------
    variance : float
        v > 0, the variance of x_0.
    ndim : int
        Dimension, at least 2.

    Raises
    ------
    ValueError
        If the variance is not positive or ndim is below 2.

    References
    ----------
    Neal (2003), Slice sampling, Annals of Statistics 31, doi:10.1214/aos/1056562461.

    Examples
    --------
    The variance of x_1 is E e^{x_0} = e^{v/2}:

    >>> import wfr_pde as wfr
    >>> mean, covariance = wfr.Funnel(variance=1.0).moments()
    >>> covariance.round(4).tolist()
    [[1.0, 0.0], [0.0, 1.6487]]
    """

    variance: float = 9.0
    ndim: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "variance", positive("variance", self.variance))
        object.__setattr__(self, "ndim", dimension(self.ndim, 2))

    __repr__ = call_repr

    @cached_property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        """log ∫ exp(-V) = d/2 log(2 pi) + ½ log v."""
        return float(self.ndim / 2 * np.log(2 * np.pi) + 0.5 * np.log(self.variance))

    def _scaled(self, points: Array) -> tuple[Array, Array, Array]:
        """Return x_0 (...), e^{-x_0/2} (..., 1), and x_k e^{-x_0/2}, which is standard normal under pi."""
        x0 = points[..., 0]
        shrink = np.exp(np.minimum(-x0 / 2, _STEEPEST))[..., None]
        return x0, shrink, points[..., 1:] * shrink

    @override
    def log_density(self, points: ArrayLike) -> Array:
        with np.errstate(over="ignore"):  # an overflowing square means pi = 0
            x0, _, scaled = self._scaled(self.as_points(points))
            rest = np.sum(scaled**2, axis=-1) + (self.ndim - 1) * x0
            return np.asarray(-(x0**2) / (2 * self.variance) - rest / 2)

    @override
    def score(self, points: ArrayLike) -> Array:
        points = self.as_points(points)
        with np.errstate(over="ignore"):
            x0, shrink, scaled = self._scaled(points)
            first = -x0 / self.variance + (np.sum(scaled**2, axis=-1) - (self.ndim - 1)) / 2
            return np.concatenate([first[..., None], -scaled * shrink], axis=-1)

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        points = generator(rng).standard_normal((draws(n, self.ndim), self.ndim))
        points[:, 0] *= np.sqrt(self.variance)
        points[:, 1:] *= np.exp(points[:, :1] / 2)
        return points

    @override
    def moments(self) -> tuple[Array, Array]:
        """Return the mean (d,), zero, and the covariance (d, d), diag(v, e^{v/2}, …)."""
        return np.zeros(self.ndim), np.diag([self.variance] + [np.exp(self.variance / 2)] * (self.ndim - 1))

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a box of quantiles, `tail` / d for each axis: the mass outside is at most `tail`."""
        share = tail_mass(tail) / self.ndim
        first = gaussian_quantile(share) * np.sqrt(self.variance)
        half = np.array([first] + [self._quantile(share)] * (self.ndim - 1))
        return -half, half

    def _quantile(self, tail: float) -> float:
        """Find L with P(|x_k| > L) = E erfc(L e^{-x_0/2} / sqrt 2) = tail, by bisection in log L.

        The mean over x_0 is a trapezoidal sum, exact to rounding: the integrand is smooth and decays like
        a Gaussian.
        """
        from scipy.special import erfc

        reach = gaussian_quantile(max(tail * 1e-16, 1e-307))
        z = np.linspace(-reach, reach, 2001)
        weights = np.exp(-(z**2) / 2)
        weights /= weights.sum()
        sd = np.sqrt(self.variance)
        low, high = -sd * reach / 2, sd * reach / 2 + np.log(reach)
        for _ in range(60):
            middle = (low + high) / 2
            mass = weights @ erfc(np.exp(np.minimum(middle - sd * z / 2, _STEEPEST)) / np.sqrt(2))
            low, high = (middle, high) if mass > tail else (low, middle)
        return float(np.exp(high) * (1 + 1e-9))
