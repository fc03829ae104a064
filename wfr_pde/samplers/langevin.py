"""Unadjusted Langevin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.sampler_laws.langevin import LangevinKernel
from wfr_pde.flows.transport.finite_volume.flow import FiniteVolume
from wfr_pde.samplers.base import Sampler
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Mixture, Particles


@dataclass(frozen=True)
class Langevin(Sampler):
    """Unadjusted Langevin algorithm: the law of dX = -rate grad V dt + sqrt(2 rate) dB, the W flow.

    One Euler-Maruyama step, X ← X + rate dt score(X) + sqrt(2 rate dt) N(0, I); weights stay. Order 1 in dt; its own
    equilibrium differs from pi by O(dt) (Roberts and Tweedie 1996, doi:10.2307/3318418). The particles know the
    mixture that they were drawn from. Of a density it is `LangevinKernel`.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0.
    """

    rate: float = 1.0

    law = "w"
    interacting = False
    measures = (Particles, Density)

    def frozen_step(self, energy: Energy, like: Particles | Density, dt: float) -> FrozenStep:
        """One step of Euler and Maruyama."""
        if isinstance(like, Density):
            return LangevinKernel(self.rate).frozen_step(energy, like, dt)
        target, drift, width = self.frozen_target(energy), self.rate * dt, math.sqrt(2 * self.rate * dt)
        if self.rate == 0:
            return lambda state, rng: state

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            generator = np.random.default_rng(rng)
            means = state.positions + drift * target.score(state.positions)
            noise = generator.standard_normal(means.shape)
            mixture = Mixture(means, width**2, state.log_weights, np.arange(len(means)))
            return self.moved(state, means + width * noise, mixture, state.auxiliary)

        return step

    def exact(self) -> FiniteVolume:
        """The W flow."""
        return FiniteVolume(self.rate)

    def limits(self, energy: Energy, like: Particles | Density) -> tuple[float, float]:
        """On a grid those of `LangevinKernel`."""
        return LangevinKernel(self.rate).limits(energy, like) if isinstance(like, Density) else (0.0, math.inf)

    def check(self, energy: Energy, like: Any) -> None:
        """As every flow; on a grid as `LangevinKernel`."""
        super().check(energy, like)
        if isinstance(like, Density):
            LangevinKernel(self.rate).check(energy, like)

    def memory(self, like: Any) -> int:
        """On a grid that of `LangevinKernel`."""
        return LangevinKernel(self.rate).memory(like) if isinstance(like, Density) else 0
