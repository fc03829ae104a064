"""Mixtures of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, finite_array, generator, whole
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import Floats, blockwise, call_repr, covariance_matrix
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class GaussianMixture(Target):
    """Mixture of K Gaussians: V(x) = -log sum_k w_k N(x; m_k, C_k), normalised.

    It is evaluated as a logarithm of a sum of exponentials, which does not underflow at any distance.

    Parameters
    ----------
    means : array (K, d), or (K,) for d = 1
        The leading axis is always the component, here and below.
    weights : array (K,)
        Positive; scaled to sum to 1.
    covariances : float, array (K,), (K, d) or (K, d, d)
        One variance for all, one variance per component (isotropic), variances of the axes (diagonal), or
        full matrices. Never standard deviations. Held as (K, d, d).

    Raises
    ------
    ValueError
        If an entry is not finite, shapes do not match, a weight is not positive or a covariance is not
        symmetric and positive definite.

    Examples
    --------
    Two modes at ±1 with weights 1/4 and 3/4: the mean is 0.5, the variance 1 - 0.5² + 0.04:

    >>> import wfr_pde as wfr
    >>> target = wfr.GaussianMixture(means=[-1, 1], weights=[1, 3], covariances=0.04)
    >>> mean, covariance = target.moments()
    >>> round(float(mean[0]), 3), round(float(covariance[0, 0]), 3)
    (0.5, 0.79)
    """

    means: Floats
    weights: Floats
    covariances: Floats

    log_normaliser = 0.0

    def __post_init__(self) -> None:
        means = finite_array("means", self.means)
        means = means[:, None] if means.ndim == 1 else means
        if means.ndim != 2 or means.size == 0:
            raise ValueError(f"means must have shape (K, d), or (K,) in one dimension, got shape {means.shape}")
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "weights", _normalised(finite_array("weights", self.weights), len(means)))
        object.__setattr__(self, "covariances", _matrices(self.covariances, *means.shape))
        object.__setattr__(self, "ndim", means.shape[1])

    __repr__ = call_repr

    @cached_property
    def components(self) -> tuple[Gaussian, ...]:
        """K Gaussians that the mixture is made of, without their weights."""
        return tuple(Gaussian(m, C) for m, C in zip(self.means, self.covariances, strict=True))

    def component(self, k: int) -> Gaussian:
        """Return the Gaussian number `k`, counted from 0."""
        return self.components[whole("k", k, -len(self.weights), most=len(self.weights) - 1)]

    def _log_terms(self, points: Array) -> Array:
        """Return log(w_k N(x; m_k, C_k)) at points (m, d), shape (K, m)."""
        parts = zip(self.weights, self.components, strict=True)
        return np.stack([np.log(w) + g.log_density(points) - g.log_normaliser for w, g in parts])

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return the normalised log-density at points (..., d), shape (...)."""
        return blockwise(lambda block: _logsumexp(self._log_terms(block)), self.as_points(points), len(self.weights))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return the mean of the scores of the components, weighted by their responsibilities, shape (..., d)."""

        def block_score(block: Array) -> Array:
            terms = self._log_terms(block)
            shares = np.exp(terms - _logsumexp(terms))
            return np.sum([s[:, None] * g.score(block) for s, g in zip(shares, self.components, strict=True)], 0)

        width = len(self.weights) * self.ndim
        return blockwise(block_score, self.as_points(points), width, (self.ndim,))

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        n, rng = draws(n, self.ndim), generator(rng)
        labels = rng.choice(len(self.weights), size=n, p=self.weights)
        normal = rng.standard_normal((n, self.ndim))
        for k, factor in enumerate(np.linalg.cholesky(self.covariances)):  # all factors at once were n d² numbers
            own = labels == k
            normal[own] = self.means[k] + np.einsum("ij,nj->ni", factor, normal[own])
        return normal

    @override
    def moments(self) -> tuple[Array, Array]:
        mean = self.weights @ self.means
        apart = self.means - mean
        within = np.einsum("k,kij->ij", self.weights, self.covariances)
        return mean, within + np.einsum("k,ki,kj->ij", self.weights, apart, apart)

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the smallest box around the boxes of the components: the mass outside is at most `tail`."""
        lower, upper = zip(*(g.box(tail) for g in self.components), strict=True)
        return np.min(lower, axis=0), np.max(upper, axis=0)


def _normalised(weights: Array, n_components: int) -> Array:
    if weights.shape != (n_components,):
        raise ValueError(f"weights must be one for each of the means, {n_components}, but have shape {weights.shape}")
    if weights.min() <= 0:
        k = int(np.argmin(weights))
        raise ValueError(f"weights must be positive, but weights[{k}] is {weights[k]}: leave such a component out")
    # a sum that is 1 up to rounding stays: a repr of the weights gives the same weights again
    total = weights.sum()
    weights = weights if abs(total - 1) < 1e-15 * n_components else weights / total
    weights.setflags(write=False)
    return weights


def _matrices(value: Any, n_components: int, ndim: int) -> Array:
    """Return covariances (K, d, d) from a scalar, (K,), (K, d) or (K, d, d)."""
    array = finite_array("covariances", value)
    shape = (n_components, ndim, ndim)
    if array.ndim > 3 or array.shape != shape[: array.ndim]:
        raise ValueError(
            f"covariances have shape {array.shape}, but there are {counted(n_components, 'mean')} in "
            f"{counted(ndim, 'dimension')}: give a scalar, or shape {shape[:1]}, {shape[:2]} or {shape}; the "
            "leading axis is the component"
        )
    each = array if array.ndim else np.broadcast_to(array, n_components)
    matrices = np.stack([covariance_matrix(f"covariances[{k}]", each[k], ndim) for k in range(n_components)])
    matrices.setflags(write=False)
    return matrices


def _logsumexp(terms: Array) -> Array:
    """Return log sum exp over the first axis; complex terms are allowed, for complex-step derivatives."""
    largest = np.max(terms.real, axis=0)
    largest = np.where(np.isfinite(largest), largest, 0.0)  # where all terms are -inf, so is the result
    with np.errstate(divide="ignore"):
        return np.asarray(largest + np.log(np.sum(np.exp(terms - largest), axis=0)))
