"""Reaction by weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Step
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.density_ratio import KernelDensity, LogRatio
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class FeynmanKac(Sampler):
    """Reaction of a weighted stochastic differential equation: d log w = -rate (g_t(X) - mean) dt, g = log(mu/pi).

    Together with `Langevin`, E[w f(X)] / E[w] follows the WFR flow (arXiv:2512.17878). With g of the particles as they
    are, the frozen step is the exact one of the FR flow, log w ← log w - (1 - e^(-rate dt)) g; with g of the true
    solution at any time it is rate dt g at the middle, which in a Strang splitting is of order 2. Positions stay. Of a
    density it is mu ← mu e^(-share g)/Z with the g of infinitely many particles, and share the factor above.

    Parameters
    ----------
    rate : float
        Reaction rate beta >= 0.
    density : LogRatio
        `KernelDensity(bandwidth)`, `MixtureDensity()`, or `Oracle(truth)`.

    Raises
    ------
    TypeError
        If `density` is none of these.
    """

    rate: float = 1.0
    density: LogRatio = field(default_factory=KernelDensity)

    law = "fr"
    random = False
    measures = (Particles, Density)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.density, LogRatio):
            raise TypeError(f"density must be KernelDensity(), MixtureDensity() or Oracle(truth), got {self.density!r}")

    def exact(self) -> FisherRao:
        """The FR flow."""
        return FisherRao(self.rate)

    def with_density(self, density: LogRatio) -> FeynmanKac:
        """The same with another `LogRatio`."""
        return replace(self, density=density)

    def make_step(self, energy: Energy, like: Particles | Density, dt: float) -> Step:
        """The weights over `dt`."""
        self.check(energy, like)
        if self.rate == 0:
            return lambda state, t, rng=None: state
        share = self.rate * dt if self.density.knows_time else -math.expm1(-self.rate * dt)
        if isinstance(like, Density):
            on_grid = self.density.on_grid(like.grid)

            def weigh(state: Density, t: float, rng: np.random.Generator | None = None) -> Density:
                g = on_grid(state, energy.at(t + dt / 2), t + dt / 2)
                return Density(state.grid, state.log_values - share * g).normalised()

            return weigh

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            target: Any = self.frozen_target(energy.at(t + dt / 2))
            g = self.density(state, target, t + dt / 2)
            return Particles(state.positions, state.log_weights - share * g, None, state.auxiliary)

        return step
