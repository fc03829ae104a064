"""Where samplers take g = log(mu/pi) at their particles from."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.measures import Particles
from wfr_pde.samplers.base import Array

if TYPE_CHECKING:
    from wfr_pde.trajectory import Trajectory


class LogRatio:
    """An estimate of g = log(mu_t/pi) at the particles, up to a constant.

    Attributes
    ----------
    knows_time : bool
        Whether it is the exact g along the flow at any time, rather than that of the particles as they are.
    """

    knows_time = False

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g (n,) at the particles of a state at time `t`; `target` is the energy's at that time."""
        raise NotImplementedError


@dataclass(frozen=True)
class KernelDensity(LogRatio):
    """From a Gaussian kernel estimate with the particle itself, g_i = log Σ_j w_j K(X_i - X_j) - log pi(X_i).

    A sum over all pairs, in time O(n²) and memory O(n). The estimate is that of mu convolved with K: biased by
    O(bandwidth²), and by the particle's own term where there are few others.

    Parameters
    ----------
    bandwidth : float, optional
        Standard deviation of K along every axis; by default Scott's rule at every step, n_eff^(-1/(d + 4)) times the
        geometric mean of the standard deviations along the axes.

    Raises
    ------
    ValueError
        If the bandwidth is not positive.
    """

    bandwidth: float | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth must be a positive standard deviation, got {self.bandwidth}")

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g at the particles."""
        from wfr_pde.pair_sums import log_kernel_sums  # here, as it loads numba

        width = scott(state) if self.bandwidth is None else self.bandwidth
        log_sums = log_kernel_sums(state.positions, state.positions, state.log_weights, width**2)
        return log_sums - target.log_density(state.positions)


def scott(state: Particles) -> float:
    """Bandwidth by Scott's rule (1992, doi:10.1002/9780470316849), for the geometric mean of the axes' deviations."""
    deviations = np.sqrt(np.diag(state.covariance()))
    if not np.all(deviations > 0):
        raise ValueError("all particles are at one place, and no bandwidth can be found: give bandwidth=")
    return float(np.exp(np.mean(np.log(deviations))) * state.effective_sample_size ** (-1 / (state.ndim + 4)))


@dataclass(frozen=True)
class MixtureDensity(LogRatio):
    """From the mixture that the particles were drawn from, g_i = log Σ_j w_j N(X_i; Y_j, v I) - log pi(X_i).

    For the Langevin step Y_j = X_j + rate dt score(X_j) and v = 2 rate dt, so that the sum is an unbiased estimate of
    the density of the particles' law. A sum over all pairs, in time O(n²) and memory O(n).

    Parameters
    ----------
    self_term : bool
        Whether the sum has the component that the particle itself was drawn from. That one is large, by
        (4 pi rate dt)^(-d/2) / n: where it rules, all particles look alike.

    Raises
    ------
    ValueError
        When called for particles that know no mixture.
    """

    self_term: bool = True

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g at the particles."""
        mixture = state.mixture
        if mixture is None:
            raise ValueError(
                "the particles know no mixture that they were drawn from: it comes from a Langevin step right before, "
                "as in Lie(Langevin(), FeynmanKac(density=MixtureDensity()))"
            )
        from wfr_pde.pair_sums import log_kernel_sums  # here, as it loads numba

        left_out = None if self.self_term else mixture.component
        log_sums = log_kernel_sums(
            state.positions, mixture.means, mixture.log_weights, mixture.variance, leave_out=left_out
        )
        return log_sums - target.log_density(state.positions)


@dataclass(frozen=True, repr=False)
class Oracle(LogRatio):
    """From the true solution, g_i = log(mu_t/pi)(X_i): what is left of a sampler's error is not that of the density.

    A particle outside the box of the solution takes g from the nearest place inside.

    Parameters
    ----------
    truth : Trajectory
        Of the same problem.
    """

    truth: Trajectory

    knows_time = True

    def __repr__(self) -> str:
        frames = np.ascontiguousarray(self.truth.ds["log_density"].values)
        return f"Oracle({hashlib.sha256(frames.tobytes()).hexdigest()[:12]})"

    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """g at the particles."""
        grid = self.truth.grid
        lower, upper = (np.array([axis.edges[k] for axis in grid.axes]) for k in (0, -1))
        inside = np.clip(state.positions, lower, upper)
        return self.truth.log_prob(inside, t) - target.log_density(inside)
