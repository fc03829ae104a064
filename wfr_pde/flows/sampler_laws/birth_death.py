"""The law of one step of birth-death dynamics, for infinitely many particles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step, checked_rate
from wfr_pde.flows.sampler_laws.reweighting import LogRatioOnGrid
from wfr_pde.space.density import Density


@dataclass(frozen=True)
class BirthDeathLaw(Flow):
    """The law of the events of `samplers.BirthDeath` for infinitely many particles, exactly.

    With Λ = rate [g - E_mu g] at the beginning of the step, p = 1 - exp(-|Λ| dt), D = E_mu p where Λ > 0 and
    B = E_mu p where Λ < 0,

        mu' = mu (e^-B [e^D - p (e^D - 1)/D])             where Λ > 0,
        mu' = mu (e^(D - B) + p (1 - e^-B)/B)             where Λ < 0:

    who dies is replaced by a draw from the population as it is at that moment, and may have been overwritten before.
    Order 1 in dt to the FR flow with that g.

    Parameters
    ----------
    rate : float
        Reaction rate beta >= 0.
    log_ratio : callable
        ``log_ratio(grid)(state, energy, t)`` is g at the cell centres, up to a constant.
    """

    rate: float
    log_ratio: LogRatioOnGrid = field(repr=False)

    order = 1
    preserves = frozenset({"mass", "positivity"})
    measures = (Density,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "BirthDeathLaw"))

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the events of a step; the target is taken at the middle of the step."""
        self.check(energy, template)
        if self.rate == 0:
            return lambda state, t, rng=None: state
        on_grid = self.log_ratio(template.grid)

        def step(state: Density, t: float, rng: np.random.Generator | None = None) -> Density:
            g = on_grid(state, energy.at(t + dt / 2), t + dt / 2)
            expected = self.rate * dt * (g - state.grid.integrate(state.values * g))
            return Density.holding(state.grid, state.log_values + log_survival(state, expected))

        return step


def log_survival(state: Density, expected: Any) -> Any:
    """Return the logarithm of mu'/mu after the events of Λ dt = `expected`; see `BirthDeathLaw`."""
    grid, xp = state.grid, state.grid.backend.xp
    zero = xp.zeros_like(expected)
    chance, mass = -xp.expm1(-xp.abs(expected)), state.values
    deaths, births = (
        float(grid.integrate(mass * xp.where(which, chance, zero))) for which in (expected > 0, expected < 0)
    )
    if not deaths > 0 and not births > 0:
        return zero
    per_death = math.expm1(deaths) / deaths if deaths > 0 else 1.0
    per_birth = -math.expm1(-births) / births if births > 0 else 1.0
    # e^D - p (e^D - 1)/D with p = 1 - e^-|Λ|dt, without a difference: where all die, e^D - (e^D - 1)/D is left
    left = sum(k * deaths**k / math.factorial(k + 1) for k in range(1, 20))
    survives = xp.log(per_death * xp.exp(-xp.abs(expected)) + left) - births
    multiplies = xp.log(math.exp(deaths - births) + chance * per_birth)
    return xp.where(expected > 0, survives, multiplies)
