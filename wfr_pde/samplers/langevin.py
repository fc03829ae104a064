"""Unadjusted Langevin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.flows.sampler_laws.langevin import LangevinKernel
from wfr_pde.flows.transport.finite_volume.flow import FiniteVolume
from wfr_pde.numerics.user_calls import given_over
from wfr_pde.samplers.base import Sampler
from wfr_pde.space.particles import Mixture, Particles


@dataclass(frozen=True)
class Langevin(Sampler):
    """Unadjusted Langevin algorithm: the law of dX = -rate grad V dt + sqrt(2 rate) dB, the W flow.

    One Euler-Maruyama step, X ← X + rate dt score(X) + sqrt(2 rate dt) N(0, I); weights stay. Order 1 in dt; its own
    equilibrium differs from pi by O(dt). The particles know the mixture that they were drawn from. Its law on a grid is
    `LangevinKernel`.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.
    NumericalError
        From a step, if it moves a particle to infinity.

    References
    ----------
    Roberts and Tweedie (1996), doi:10.2307/3318418.

    Examples
    --------
    The law of infinitely many particles: in the potential x²/2, two steps of ½ multiply the mean by (1 - ½)².

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=64)
    >>> flow = wfr.samplers.Langevin(rate=1.0)
    >>> ds = wfr.solve(target, flow, grid.density(start), t=[0, 1], dt=0.5, record=[wfr.diagnostics.mean])
    >>> round(ds["mean"].values[-1].item(), 3)
    0.25
    """

    rate: float = 1.0

    law = Law.W
    interacting = False

    @override
    def law_on_grid(self) -> LangevinKernel:
        """Name the law of one step: `LangevinKernel`."""
        return LangevinKernel(self.rate)

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare one Euler-Maruyama step."""
        target, drift, width = energy.equilibrium, self.rate * dt, math.sqrt(2 * self.rate * dt)
        if self.rate == 0:
            return lambda state, rng: state

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            generator = np.random.default_rng(rng)
            means = state.positions + drift * target.score(state.positions)
            noise = generator.standard_normal(means.shape)
            mixture = Mixture(means, width**2, state.log_weights, np.arange(len(means)))
            return self.moved(state, given_over(means + width * noise), mixture, state.auxiliary)

        return step

    @override
    def exact(self) -> FiniteVolume:
        """Return the W flow of the same rate."""
        return FiniteVolume(self.rate)
