"""The Gaussian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, finite_array, generator
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import Floats, call_repr, covariance_matrix, tail_mass
from wfr_pde.targets.base import Target


@dataclass(frozen=True, eq=False)
class Gaussian(Target):
    """Gaussian N(m, C): V(x) = (x - m)' C⁻¹ (x - m) / 2.

    Parameters
    ----------
    mean : float or array (d,)
        A single number means d = 1.
    covariance : float, array (d,) or array (d, d)
        Variance of every axis (isotropic), variances of the axes (diagonal), or the full matrix. Never
        standard deviations. Held as a matrix (d, d).

    Raises
    ------
    ValueError
        If an entry is not finite, the shapes do not match, or the covariance is not symmetric and
        positive definite.

    Examples
    --------
    The mean square of (3, 4) in units of the standard deviations (1, 2) is 13, and V is half of it:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(mean=[0, 0], covariance=[1, 4])
    >>> target.log_density([[3.0, 4.0]]).tolist(), target.score([[3.0, 4.0]]).tolist()
    ([-6.5], [[-3.0, -1.0]])
    """

    mean: Floats
    covariance: Floats

    other_words = dict.fromkeys(("std", "sd", "sigma", "scale"), "covariance, which holds variances (sd squared)") | {
        **dict.fromkeys(("cov", "variance", "var"), "covariance"),
        **dict.fromkeys(("loc", "mu"), "mean"),
    }

    def __post_init__(self) -> None:
        mean = np.atleast_1d(finite_array("mean", self.mean))
        if mean.ndim != 1 or len(mean) == 0:
            raise ValueError(f"mean must be a number or have shape (d,), got shape {mean.shape}")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", covariance_matrix("covariance", self.covariance, len(mean)))
        object.__setattr__(self, "ndim", len(mean))

    __repr__ = call_repr

    @cached_property
    def _diagonal(self) -> Array | None:
        """Variances (d,) if the axes are independent, else None: products with them have no cross terms to round."""
        variances = self.covariance.diagonal()
        return variances if np.array_equal(self.covariance, np.diag(variances)) else None

    @cached_property
    def _cholesky(self) -> Array:
        return np.linalg.cholesky(self.covariance)

    @cached_property
    def _whitening(self) -> Array:
        """Inverse of the Cholesky factor, so that |W (x - m)|² is the quadratic form: a sum of squares."""
        return np.tril(np.linalg.solve(self._cholesky, np.eye(self.ndim)))

    @cached_property
    def precision(self) -> Array:
        """Inverse of the covariance, shape (d, d)."""
        if self._diagonal is not None:
            return np.diag(1 / self._diagonal)
        return self._whitening.T @ self._whitening

    @cached_property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        """log ∫ exp(-V) dx = ½ log det(2 pi C)."""
        return float(0.5 * self.ndim * np.log(2 * np.pi) + np.sum(np.log(self._cholesky.diagonal())))

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V(x) at points (..., d), shape (...)."""
        centred = self.as_points(points) - self.mean
        whitened = centred / np.sqrt(self._diagonal) if self._diagonal is not None else centred @ self._whitening.T
        return np.asarray(-0.5 * np.einsum("...i,...i->...", whitened, whitened))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return -C⁻¹ (x - m) at points (..., d), shape (..., d)."""
        centred = self.as_points(points) - self.mean
        return -centred / self._diagonal if self._diagonal is not None else -centred @ self.precision

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        normal = generator(rng).standard_normal((draws(n, self.ndim), self.ndim))
        return self.mean + normal @ self._cholesky.T

    @override
    def moments(self) -> tuple[Array, Array]:
        return self.mean, self.covariance

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a box of exact quantiles, tail / (2 d) beyond each face: the mass outside is at most `tail`."""
        half = gaussian_quantile(tail_mass(tail) / self.ndim) * np.sqrt(self.covariance.diagonal())
        return self.mean - half, self.mean + half


def gaussian_quantile(tail: float) -> float:
    """Return the q > 0 with mass `tail` of the standard Gaussian outside [-q, q], exact for tiny `tail` too."""
    from scipy.special import ndtri

    return float(-ndtri(tail / 2))
