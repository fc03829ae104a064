"""Estimates of KL(other | reference), the divergence that the flows are gradient flows of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from wfr_pde.metrics.base import Measure, Metric, check_density, check_measures, check_straight, described
from wfr_pde.metrics.total_variation import matched
from wfr_pde.numerics.arguments import length, positive, whole
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.relative_entropy import relative_entropy


class _EstimatedKL(Metric):
    """Base of estimates of KL(other | reference), for particles by an estimate of their log-density."""

    units = "nats"
    signed = True
    references = (Density, ProductLaw)

    def log_density(self, particles: Particles) -> tuple[Array, Array, Array]:
        """Return different positions (m, d) of `particles`, their weights (m,), and estimated log-densities (m,)."""
        raise NotImplementedError(f"{type(self).__name__} must define log_density")

    @override
    def __call__(self, reference: Density | ProductLaw, other: Measure) -> float:
        check_measures(reference, other, self.name)
        check_density(reference, self.name, products=True)
        if isinstance(other, Density):
            if isinstance(reference, ProductLaw):
                raise TypeError(f"{self.name} compares a ProductLaw with particles, not with a density on a grid")
            log_mu, log_nu = matched(reference, other)
            return float(relative_entropy(reference.grid, log_nu, log_mu))
        check_straight(self.name, reference)
        points, weights, log_density = self.log_density(other)
        return float(weights @ (log_density - reference.log_prob(points)))


@dataclass(frozen=True)
class NeighbourKL(_EstimatedKL):
    """Estimate of KL(other | reference) from distances to nearest neighbours: Σ_i w_i (log q_i - log mu(x_i)).

    q_i = e^ψ(k)/k W_i/((1 - w_i) V_d ρ_i^d) with ρ_i the distance to the k-th nearest neighbour, W_i the weight of the
    k neighbours and V_d the volume of the unit ball. For independent draws from a density it is unbiased but for the
    variation of the density within ρ: bias O((k/n)^(2/d)) where the density is bounded below, and more, upwards, in the
    tails, where neighbours are far away: in three dimensions that bias, not the standard deviation O(n^-½), is what
    limits it. It may be negative. It sees what a density estimate of n particles can see; particles in one place count
    as one, so that what is estimated after resampling is the entropy of the different positions. Infinite if a particle
    is outside the box of the reference. Between densities the sum over cells, without an estimate. Cost O(n log n).

    Parameters
    ----------
    neighbours : int
        The k: more have less variance, and more bias.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If the reference is not a Density, or the other neither a Density nor Particles.
    ValueError
        If dimensions differ, an axis is periodic, or there are not more than `neighbours` different particles.

    References
    ----------
    Wang, Kulkarni and Verdú (2009), doi:10.1109/TIT.2009.2016060, for equal weights, here with a known reference; after
    Kozachenko and Leonenko (1987), Problems of Information Transmission 23, 95.

    Examples
    --------
    KL(N(1, 1) | N(0, 1)) is ½; the estimate from 2000 draws is within a few of its standard deviations of 0.03:

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> draws = wfr.Particles(other.sample(2000, rng=0))
    >>> bool(abs(wfr.metrics.NeighbourKL()(grid.density(reference), draws) - 0.5) < 0.1)
    True
    """

    neighbours: int = 5
    name: str = "kl_estimate"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "neighbours", whole("neighbours", self.neighbours, 1))

    @property
    @override
    def long_name(self) -> str:
        return f"KL divergence, by {counted(self.neighbours, 'nearest neighbour')}"

    @property
    def fewest(self) -> int:
        """Number of particles that it needs."""
        return int(self.neighbours) + 1

    @override
    def log_density(self, particles: Particles) -> tuple[Array, Array, Array]:
        from scipy.spatial import cKDTree
        from scipy.special import digamma

        points, weights = _merged(particles)
        k, (n, d) = int(self.neighbours), points.shape
        if n <= k:
            raise ValueError(
                f"of different positions of positive weight there are {n}, but {counted(k, 'neighbour')} of each are "
                "asked for: use more particles or fewer neighbours"
            )
        found = cKDTree(points).query(points, k=k + 1)
        distance, index = np.asarray(found[0]), np.asarray(found[1])
        own = index == np.arange(n)[:, None]
        near = np.where(own, 0.0, weights[index]).sum(axis=1)
        log_ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
        log_q = np.log(near / k) - np.log1p(-weights) + digamma(k) - log_ball - d * np.log(distance[:, -1])
        return points, weights, log_q


@dataclass(frozen=True)
class KernelKL(_EstimatedKL):
    """Estimate of KL(other | reference) by a Gaussian kernel: Σ_i w_i (log q_i - log mu(x_i)).

    q_i = Σ_{j≠i} w_j N(x_i; x_j, variance I)/(1 - w_i), the kernel estimate without particle i. For independent draws
    from nu its mean is ∫ nu log(K*nu/mu) = KL(nu | mu) - KL(nu | K*nu) up to a bias from the fluctuations of q, of the
    order -1/(2n) ∫ nu (K²*nu)/(K*nu)², both negative: too low where the kernel is wider than the features of nu (per
    axis by ½ log(1 + variance/sd²) - ½ variance/(sd² + variance) for a Gaussian of standard deviation sd), or so narrow
    that few particles share one. The same estimate of log nu is used by birth-death samplers. Particles in one place
    count as one; infinite if a particle is outside the box. Between densities the sum over cells, without an estimate.
    Cost O(n²), in memory O(n).

    Parameters
    ----------
    variance : float
        Variance of the kernel along every axis, in length².
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError, ValueError
        As `NeighbourKL`; ValueError if the variance is not positive.

    Examples
    --------
    KL(N(1, 1) | N(0, 1)) is ½; the kernel takes ½ log 1.25 - 0.1 = 0.0116 off:

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> draws = wfr.Particles(other.sample(2000, rng=0))
    >>> bool(abs(wfr.metrics.KernelKL(variance=0.25)(grid.density(reference), draws) - 0.4884) < 0.1)
    True
    """

    variance: float
    name: str = "kl_estimate"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        variance = positive("variance", self.variance, "that of the kernel, in length²")
        length("the root of variance", math.sqrt(variance))
        object.__setattr__(self, "variance", variance)

    @property
    @override
    def long_name(self) -> str:
        return f"KL divergence, by a kernel of variance {self.variance:g}"

    @override
    def log_density(self, particles: Particles) -> tuple[Array, Array, Array]:
        from wfr_pde.numerics.compiled.pair_sums import log_kernel_sums  # here, as it loads numba

        points, weights = _merged(particles)
        if len(points) < 2:
            raise ValueError("a kernel density estimate needs at least two different positions of positive weight")
        log_sums = log_kernel_sums(points, points, np.log(weights), self.variance, np.arange(len(points)))
        log_norm = 0.5 * points.shape[1] * math.log(2 * math.pi * self.variance)
        return points, weights, log_sums - np.log1p(-weights) - log_norm


@described("KL divergence, by 5 nearest neighbours", "nats", signed=True, references=(Density, ProductLaw), fewest=6)
def kl_estimate(reference: Density, other: Measure) -> float:
    """Estimate KL(other | reference) by `NeighbourKL()`, that is by five nearest neighbours; exact between densities.

    Parameters
    ----------
    reference : Density
        The law that the divergence is from.
    other : Density or Particles
        The law, or draws from it, whose divergence it is.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    TypeError, ValueError
        As `NeighbourKL`.

    Examples
    --------
    Between Gaussians of variance 1 it is half of the squared distance of the means:

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> round(wfr.metrics.kl_estimate(grid.density(reference), grid.density(other)), 6)
    0.5
    """
    return NeighbourKL()(reference, other)


def _merged(particles: Particles) -> tuple[Array, Array]:
    """Return the different positions of positive weight, and the sums of the weights there."""
    weights = particles.weights
    kept = weights > 0
    points, index = np.unique(particles.positions[kept], axis=0, return_inverse=True)
    return points, np.asarray(np.bincount(index.ravel(), weights[kept]), dtype=np.float64)
