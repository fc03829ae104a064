"""The law of particles whose weights change by a given log-ratio."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step, checked_rate
from wfr_pde.flows.law import Law
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

LogRatioOnGrid = Callable[[Grid], Callable[[Density, Energy, float], Any]]  # grid -> (mu, energy, t) -> g in the cells


def reaction_share(rate: float, dt: float, is_exact: bool) -> float:
    """Return the factor that multiplies -g in the logarithm of the weights over a step.

    It is rate dt where g is the true one at the middle of the step, and 1 - e^(-rate dt), of the exact Fisher-Rao map,
    where g is that of the state before the step.
    """
    return rate * dt if is_exact else -math.expm1(-rate * dt)


@dataclass(frozen=True)
class Reweighting(Flow):
    """The map mu ← mu e^(-share g)/Z, what `samplers.FeynmanKac` does to the law of infinitely many particles.

    Order 1 in dt to the FR flow with that g; see `reaction_share` for the share.

    Parameters
    ----------
    rate : float
        Reaction rate beta >= 0.
    is_exact : bool
        Whether g is the true log(mu_t/pi) at any time, rather than an estimate from the state.
    log_ratio : callable
        ``log_ratio(grid)(state, energy, t)`` is g at the cell centres, up to a constant.
    """

    rate: float
    is_exact: bool
    log_ratio: LogRatioOnGrid = field(repr=False)

    order = 1
    law = Law.FR
    preserves = frozenset({"mass", "positivity"})
    measures = (Density,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "Reweighting"))

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the weights over `dt`; g is taken at the middle of the step."""
        self.check(energy, template)
        if self.rate == 0:
            return lambda state, t, rng=None: state
        share, on_grid = reaction_share(self.rate, dt, self.is_exact), self.log_ratio(template.grid)

        def step(state: Density, t: float, rng: np.random.Generator | None = None) -> Density:
            g = on_grid(state, energy.at(t + dt / 2), t + dt / 2)
            return Density.holding(state.grid, state.log_values - share * g).normalised()

        return step
