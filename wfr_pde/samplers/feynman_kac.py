"""Reaction by weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Step
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.flows.law import Law
from wfr_pde.flows.sampler_laws.reweighting import Reweighting, reaction_share
from wfr_pde.numerics.arguments import instance
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.density_ratio import KernelDensity, LogRatio
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class FeynmanKac(Sampler):
    """Reaction of a weighted stochastic differential equation: d log w = -rate (g_t(X) - mean) dt, g = log(mu/pi).

    Together with `Langevin`, E[w f(X)] / E[w] follows the WFR flow. With g of the particles as they are, the frozen
    step is the exact one of the FR flow, log w ← log w - (1 - e^(-rate dt)) g; with g of the true solution at any time
    it is rate dt g at the middle, which in a Strang splitting is of order 2. Positions stay. Its law on a grid is
    `Reweighting` with the g of infinitely many particles.

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

    References
    ----------
    arXiv:2512.17878.

    Examples
    --------
    One step of any length is exact for infinitely many particles: the mean e^-1 at t = 1.

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=64)
    >>> flow = wfr.samplers.FeynmanKac(density=wfr.samplers.KernelDensity())
    >>> ds = wfr.solve(target, flow, grid.density(start), t=[0, 1], dt=1, record=[wfr.diagnostics.mean])
    >>> round(ds["mean"].values[-1].item(), 3)
    0.368
    """

    rate: float = 1.0
    density: LogRatio = field(default_factory=KernelDensity)

    law = Law.FR
    random = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        instance("density", self.density, LogRatio, "such as KernelDensity(), MixtureDensity() or Oracle(truth)")

    @property
    @override
    def factorises(self) -> bool:  # type: ignore[override]
        """Whether weights are products over independent blocks: as the estimate of g is, where it is a sum."""
        return self.density.factorises

    @override
    def exact(self) -> FisherRao:
        """Return the FR flow of the same rate."""
        return FisherRao(self.rate)

    @override
    def with_density(self, density: LogRatio) -> FeynmanKac:
        return replace(self, density=density)

    @override
    def law_on_grid(self) -> Reweighting:
        """Name the law of one step: `Reweighting` by the g of infinitely many particles."""
        return Reweighting(self.rate, self.density.is_exact, self.density.on_grid)

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare a step that changes the weights by the reaction over `dt`."""
        if self.rate == 0:
            return lambda state, t, rng=None: state
        share = reaction_share(self.rate, dt, self.density.is_exact)

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            target: Any = energy.at(t + dt / 2).equilibrium
            g = self.density(state, target, t + dt / 2)
            return Particles(state.positions, state.log_weights - share * g, None, state.auxiliary)

        return step
