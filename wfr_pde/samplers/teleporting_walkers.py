"""An ensemble whose walkers are cloned and deleted, with the product of pi as its exact equilibrium."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import length
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import given_over
from wfr_pde.samplers.base import Sampler, equally_weighted
from wfr_pde.space.particles import Particles

# most attempts per walker and step, of O(n) each: more are a mistake in dt or the rate, and would take hours
MOST_ATTEMPTS = 1e6


@dataclass(frozen=True)
class TeleportingWalkers(Sampler):
    """Teleporting walkers: one walker is cloned, with noise, as another is deleted; pi^n is the exact equilibrium.

    Let q(x, y) be the Gaussian of standard deviation `bandwidth`. A clone Y ~ q(X_i, ·) of a uniformly chosen walker
    makes a pool z_0 = Y, z_1 = X_1, ..., z_n = X_n. Each of the pool has a weight w_l = Σ_{k≠l} q(z_k, z_l) / pi(z_l),
    the crowd around it over what pi wants there. One of the walkers is chosen for deletion with probability w_j / Σ_l≥1
    w_l, and Y takes its place with probability min(1, Σ_{l≠0} w_l / Σ_{l≠j} w_l).

    Invariance: with Q(z) = Σ_{k≠0} q(z_k, z), so that w_0 = Q(Y) / pi(Y), the flow of probability from X to X with Y at
    place j is, up to the factor pi of the walkers that stay, pi(X_j) Q(Y) w_j / Σ_{l≠0} w_l min(1, ·) = pi(X_j) pi(Y)
    w_0 w_j min(1 / Σ_{l≠0} w_l, 1 / Σ_{l≠j} w_l), which is symmetric in the two of the pool that change roles: the way
    back has the same pool. A bandwidth that followed the walkers would spoil that, and so it has to be given.

    Attempts come as a Poisson process of `rate` per walker and unit of time, one after another, so that the law has no
    error in dt. Walkers jump between modes that are populated, however far apart; new ones are found by local moves
    only: `Lie(MALA(), TeleportingWalkers(0.1))`. Time O(n) per attempt and O(n²) per step, memory O(n).

    Parameters
    ----------
    bandwidth : float
        Standard deviation of the clones along every axis: about that of the narrowest mode over the number of walkers
        in it to the power 1/(d + 4).
    rate : float
        Attempts per walker and unit of time, >= 0.

    Raises
    ------
    ValueError
        If the bandwidth is not positive, or, in a step, the walkers have different weights or one is where pi is zero.

    References
    ----------
    Lindsey, Weare and Zhang (2022), doi:10.1137/21M1425062, arXiv:2106.02686.

    Examples
    --------
    Of 200 walkers 20 start in the left one of two equally heavy modes; in the end it has about half of them:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target = wfr.GaussianMixture(means=[-2, 2], weights=[1, 1], covariances=0.25)
    >>> flow = wfr.Lie(wfr.samplers.MALA(), wfr.samplers.TeleportingWalkers(bandwidth=0.2))
    >>> walkers = wfr.Particles(np.repeat([-2.0, 2.0], [20, 180])[:, None])
    >>> ds = wfr.solve(target, flow, walkers, t=[0, 10], dt=0.5, rng=0)
    >>> bool(abs((ds.position.values[-1] < 0).mean() - 0.5) < 0.15)
    True
    """

    bandwidth: float
    rate: float = 1.0

    order = math.inf
    law = Law.PI
    preserves = frozenset({"mass", "positivity", "equilibrium"})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        bandwidth = length("bandwidth", self.bandwidth, "a standard deviation of the clones")
        object.__setattr__(self, "bandwidth", bandwidth)

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare a step: a Poisson number of attempts to clone and delete."""
        target, time = energy.equilibrium, self.rate * dt
        equally_weighted(template, "TeleportingWalkers")
        if self.rate == 0:
            return lambda state, rng: state
        if time > MOST_ATTEMPTS:
            raise ValueError(
                f"dt={dt:.6g} at rate={self.rate:.6g} has {time:.3g} attempts per walker in one step, more than "
                f"{MOST_ATTEMPTS:g}: use a smaller dt, or a lower rate"
            )

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            equally_weighted(state, "TeleportingWalkers")
            generator = np.random.default_rng(rng)
            attempts = int(generator.poisson(time * len(state.positions)))
            positions = self._teleported(state.positions, target, attempts, generator)
            return self.moved(state, given_over(positions), None, state.auxiliary)

        return step

    def _teleported(self, positions: Array, target: Any, attempts: int, rng: np.random.Generator) -> Array:
        """Return the walkers (n, d) after `attempts` attempts to clone and delete."""
        from wfr_pde.numerics.compiled.pair_sums import log_kernel_sums  # here, as they load numba
        from wfr_pde.numerics.compiled.teleportation import teleport

        x, (n, d) = positions.copy(), positions.shape
        log_pi = np.array(target.log_density(x))
        if not np.isfinite(log_pi).all():
            i = int(np.argmin(np.isfinite(log_pi)))
            raise ValueError(
                f"the target's log-density is {log_pi[i]} at the walker at {x[i].tolist()}: start where it is positive"
            )
        if attempts == 0:
            return x
        crowds = log_kernel_sums(x, x, np.zeros(n), self.bandwidth**2, leave_out=np.arange(n))
        walkers = x, log_pi, crowds, crowds.copy()
        batch = 2 * math.isqrt(n) + 1  # so many attempts rarely clone a walker that one of them has moved
        while attempts > 0:
            m = min(batch, attempts)
            parents, noise, uniforms = rng.integers(n, size=m), rng.standard_normal((m, d)), rng.random((m, 2))
            done = 0
            while done < m:
                clones = x[parents[done:]] + self.bandwidth * noise[done:]
                with np.errstate(over="ignore", invalid="ignore"):  # a clone may be anywhere; it is refused there
                    log_pi_clones = np.asarray(target.log_density(clones))
                done += teleport(
                    *walkers,
                    parents=parents[done:],
                    clones=clones,
                    log_pi_clones=log_pi_clones,
                    uniforms=uniforms[done:],
                    bandwidth=self.bandwidth,
                )
            attempts -= m
        return x
