"""The banana."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, generator, positive
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import call_repr, tail_mass
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import gaussian_quantile


@dataclass(frozen=True, eq=False)
class Banana(Target):
    """Banana: V(x, y) = s² (y - x²)² / 2 + (1 - x)² / (2 s²), that is x ~ N(1, s²), y | x ~ N(x², 1/s²).

    A Rosenbrock density scaled so that it can be sampled exactly.

    Parameters
    ----------
    variance : float
        s² > 0, the variance of x; the ridge gets longer and thinner as it grows.

    Raises
    ------
    ValueError
        If the variance is not positive.

    References
    ----------
    Rosenbrock (1960), doi:10.1093/comjnl/3.3.175, for the function whose valley it is.

    Examples
    --------
    The mean of y is E x² = 1 + s²:

    >>> import wfr_pde as wfr
    >>> mean, covariance = wfr.Banana(variance=2.0).moments()
    >>> mean.round(3).tolist()
    [1.0, 3.0]
    """

    variance: float = 2.0

    ndim = 2
    log_normaliser = float(np.log(2 * np.pi))  # sqrt(2 pi s²) sqrt(2 pi / s²)

    def __post_init__(self) -> None:
        object.__setattr__(self, "variance", positive("variance", self.variance))

    __repr__ = call_repr

    @override
    def log_density(self, points: ArrayLike) -> Array:
        points = self.as_points(points)
        x, y = points[..., 0], points[..., 1]
        return np.asarray(-self.variance * (y - x**2) ** 2 / 2 - (1 - x) ** 2 / (2 * self.variance))

    @override
    def score(self, points: ArrayLike) -> Array:
        points = self.as_points(points)
        x, y = points[..., 0], points[..., 1]
        pull = self.variance * (y - x**2)
        return np.stack([2 * x * pull + (1 - x) / self.variance, -pull], axis=-1)

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        normal = generator(rng).standard_normal((draws(n, self.ndim), 2))
        x = 1 + np.sqrt(self.variance) * normal[:, 0]
        return np.stack([x, x**2 + normal[:, 1] / np.sqrt(self.variance)], axis=-1)

    @override
    def moments(self) -> tuple[Array, Array]:
        """Return the mean (2,) and the covariance (2, 2), from the moments of a Gaussian up to the fourth."""
        s2 = self.variance
        return np.array([1.0, 1 + s2]), np.array([[s2, 2 * s2], [2 * s2, 1 / s2 + 4 * s2 + 2 * s2**2]])

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a box of quantiles, half of `tail` for x and half for y - x²: the mass outside is at most `tail`."""
        q, s = gaussian_quantile(tail_mass(tail) / 2), np.sqrt(self.variance)
        left, right = 1 - q * s, 1 + q * s
        lowest = 0.0 if left < 0 else left**2
        return np.array([left, lowest - q / s]), np.array([right, right**2 + q / s])
