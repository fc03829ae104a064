"""Parallel tempering: replicas at higher temperatures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import not_negative, real_array, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.mala import langevin_move
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class ParallelTempering(Sampler):
    """Parallel tempering: every particle has replicas that sample pi^(1/T) and change places with their neighbours.

    Every replica makes a Metropolis-adjusted Langevin move of dX = rate score dt + sqrt(2 rate T) dB. Then neighbours,
    first those of the pairs (1, 2), (3, 4), ..., then of (2, 3), ..., try to change places with probability 1 -
    exp(-rate swap_rate dt), and do so with probability min(1, (pi(X_{k+1}) / pi(X_k))^(1/T_k - 1/T_{k+1})). The product
    of the pi^(1/T_k) is the exact equilibrium at any dt; particles do not see each other. Order 1 in dt on the way
    there. All pi^(1/T) must be integrable. Time and memory O(K n) for K temperatures.

    Replicas 2, ..., K are carried in `Particles.auxiliary` (n, (K - 1) d); where there are none, they begin where their
    particle is. So particles drawn from pi leave it for a while, until the replicas are in equilibrium too.

    Parameters
    ----------
    rate : float
        Speed of time, >= 0.
    temperatures : tuple of float
        T_1 = 1 < T_2 < ... < T_K.
    swap_rate : float
        Attempts of a pair per unit of time, >= 0.

    Raises
    ------
    ValueError
        For temperatures or a swap rate that are not as above, or, from a step, if the auxiliary variables are not
        replicas.
    NumericalError
        From a step, if the score is not finite at a replica.

    References
    ----------
    Geyer (1991), hdl:11299/58440; Hukushima and Nemoto (1996), doi:10.1143/JPSJ.65.1604.

    Examples
    --------
    All particles start in the right one of two wells that are equally deep; in the end half are in the left one:

    >>> import wfr_pde as wfr
    >>> target = wfr.GaussianMixture(means=[-2, 2], weights=[1, 1], covariances=0.25)
    >>> flow = wfr.samplers.ParallelTempering(temperatures=(1, 4, 16))
    >>> start = target.component(1).sample(400, rng=0)
    >>> ds = wfr.solve(target, flow, start, t=[0, 20], dt=0.2, rng=0)
    >>> bool(abs((ds.position.values[-1] < 0).mean() - 0.5) < 0.1)
    True
    """

    rate: float = 1.0
    temperatures: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    swap_rate: float = 1.0

    law = Law.PI
    interacting = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        array = real_array("temperatures", self.temperatures)
        ladder = tuple(array.ravel().tolist())
        if (
            array.ndim != 1
            or len(ladder) < 2
            or ladder[0] != 1
            or not np.all(np.diff(ladder) > 0)
            or not math.isfinite(ladder[-1])
        ):
            raise ValueError(
                f"temperatures must begin with 1 and increase, as in (1, 2, 4), got {shown(self.temperatures)}"
            )
        swap_rate = not_negative("swap_rate", self.swap_rate, "the number of attempts per unit of time")
        object.__setattr__(self, "swap_rate", swap_rate)
        object.__setattr__(self, "temperatures", ladder)

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare one move of every replica, and swaps."""
        target, time = energy.equilibrium, self.rate * dt
        temperatures = np.array(self.temperatures)
        attempted = -math.expm1(-self.swap_rate * time)
        if self.rate == 0:
            return lambda state, rng: state

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            generator = np.random.default_rng(rng)
            n, d = state.positions.shape
            replicas = self._replicas(state)
            beta = np.repeat(1 / temperatures, n)
            flat = langevin_move(
                replicas.reshape(-1, d),
                lambda x: beta * target.log_density(x),
                lambda x: beta[:, None] * target.score(x),
                time / beta[:, None],
                generator,
            )
            replicas = swapped(flat.reshape(-1, n, d), target, 1 / temperatures, attempted, generator)
            auxiliary = np.moveaxis(replicas[1:], 0, 1).reshape(n, -1)
            return self.moved(state, replicas[0], None, auxiliary)

        return step

    def _replicas(self, state: Particles) -> Array:
        """Return all replicas (K, n, d): the positions, and the auxiliary variables or copies of the positions."""
        (n, d), hotter = state.positions.shape, len(self.temperatures) - 1
        if state.auxiliary is None:
            return np.repeat(state.positions[None], hotter + 1, axis=0)
        if state.auxiliary.shape != (n, hotter * d):
            raise ValueError(
                f"ParallelTempering carries {hotter} replicas, {(n, hotter * d)}, in Particles.auxiliary, but what is "
                f"there has shape {state.auxiliary.shape}, of another sampler: start it from Particles(positions, "
                "log_weights)"
            )
        return np.concatenate([state.positions[None], np.moveaxis(state.auxiliary.reshape(n, hotter, d), 1, 0)])


def swapped(replicas: Array, target: Any, beta: Array, attempted: float, rng: np.random.Generator) -> Array:
    """Attempt to swap neighbours among the replicas (K, n, d), those of even pairs and then those of odd ones."""
    replicas = replicas.copy()
    log_pi = target.log_density(replicas)
    for first in (0, 1):
        for k in range(first, len(beta) - 1, 2):
            log_ratio = (beta[k] - beta[k + 1]) * (log_pi[k + 1] - log_pi[k])
            chance = attempted * np.exp(np.minimum(log_ratio, 0.0))
            swap = rng.random(replicas.shape[1]) < chance
            for array in (replicas, log_pi):
                array[k, swap], array[k + 1, swap] = array[k + 1, swap], array[k, swap]
    return replicas
