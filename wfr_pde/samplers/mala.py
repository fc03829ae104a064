"""Metropolis-adjusted Langevin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.flows.sampler_laws.mala import MALAKernel
from wfr_pde.flows.transport.finite_volume.flow import FiniteVolume
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import given_over
from wfr_pde.samplers.base import Sampler
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class MALA(Sampler):
    """Metropolis-adjusted Langevin algorithm: the W flow as dt goes to 0, with pi as its equilibrium at any dt.

    Y = X + rate dt score(X) + sqrt(2 rate dt) N(0, I) is accepted with probability min(1, pi(Y) q(Y, X) / (pi(X) q(X,
    Y))), q(x, ·) the Gaussian that Y comes from; else X stays. Weights stay. Order 1 in dt before equilibrium: a
    proposal is refused with probability O(dt^(3/2)), most where the drift is steep: far out, a large dt brings
    everything to a halt. Two evaluations of density and score per particle, memory O(n). Its law on one axis is
    `MALAKernel`.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0.

    Raises
    ------
    NumericalError
        From a step, if the score is not finite at a particle.

    References
    ----------
    Besag (1994), J. R. Stat. Soc. B 56, 591; Roberts and Tweedie (1996), doi:10.2307/3318418.

    Examples
    --------
    The law of infinitely many particles: pi stays pi at a large step, where `Langevin` would have the variance 4/3.

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> start = wfr.Grid.covering(target, shape=64).density(target)
    >>> ds = wfr.solve(target, wfr.samplers.MALA(), start, t=[0, 5], dt=0.5, record=[wfr.diagnostics.covariance])
    >>> round(ds["covariance"].values[-1].item(), 3)
    1.0
    """

    rate: float = 1.0

    law = Law.W
    interacting = False
    preserves = frozenset({"mass", "positivity", "equilibrium"})

    @override
    def law_on_grid(self) -> MALAKernel:
        """Name the law of one step: `MALAKernel`, on one axis."""
        return MALAKernel(self.rate)

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare one proposal for every particle, accepted or not."""
        target, time = energy.equilibrium, self.rate * dt
        if self.rate == 0:
            return lambda state, rng: state

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            generator = np.random.default_rng(rng)
            positions = langevin_move(state.positions, target.log_density, target.score, time, generator)
            return self.moved(state, given_over(positions), None, state.auxiliary)

        return step

    @override
    def exact(self) -> FiniteVolume:
        """Return the W flow of the same rate."""
        return FiniteVolume(self.rate)


def langevin_move(
    x: Array,
    log_density: Callable[[Array], Array],
    score: Callable[[Array], Array],
    time: Any,
    rng: np.random.Generator,
) -> Array:
    """Move the points x (n, d) by a Metropolis-adjusted Langevin step of size `time`, reversible for exp(log_density).

    Parameters
    ----------
    x : array (n, d)
        Points to move.
    log_density, score : functions of points (n, d)
        The law that the move keeps, and the gradient of its logarithm.
    time : float, or array (n, 1) of one for every point
        Size of the step: the variance of the noise is twice as large.
    rng : numpy Generator
        All random numbers come from it.
    """
    drift = score(x)
    if not np.isfinite(drift).all():
        i = int(np.argmin(np.isfinite(drift).all(axis=1)))
        raise NumericalError(
            f"the score is {drift[i].tolist()} at the particle at {x[i].tolist()}, which so cannot move: start where "
            "the target has a finite score"
        )
    noise = rng.standard_normal(x.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # a proposal may go anywhere; it is refused there
        y = x + time * drift + np.sqrt(2 * time) * noise
        reachable = np.isfinite(y).all(axis=1, keepdims=True)
        y = np.where(reachable, y, x)
        back = x - y - time * score(y)
        log_ratio = log_density(y) - log_density(x)
        log_ratio += np.sum(0.5 * noise**2 - back**2 / (4 * time), axis=1)
        accepted = np.log1p(-rng.random(len(x))) < log_ratio  # False where it is NaN
    return np.where(accepted[:, None], y, x)
