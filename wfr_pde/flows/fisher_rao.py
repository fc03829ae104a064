"""The reaction part of the flow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, FrozenStep, MemoryUse, checked_rate
from wfr_pde.flows.law import Law
from wfr_pde.space.density import Density


@dataclass(frozen=True)
class FisherRao(Flow):
    """Fisher-Rao gradient flow, exact: d_t mu = -rate mu (g - E_mu g), g = log(mu/pi).

    The solution is mu_t ∝ mu_0^s pi^(1-s) with s = exp(-rate t): a straight line between the log-densities.
    (Chizat, Peyré, Schmitzer, Vialard 2018, doi:10.1007/s10208-016-9331-y, for the metric.)

    Parameters
    ----------
    rate : float
        Reaction rate beta >= 0, per unit of time.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.

    Examples
    --------
    Between Gaussians of one variance the mean falls as exp(-rate t):

    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> target, flow = wfr.Gaussian(0.0, 1.0), wfr.FisherRao(2.0)
    >>> run = wfr.solve(target, flow, start, [0.0, 0.5], 0.5, record=[wfr.diagnostics.mean])
    >>> round(float(run["mean"][-1, 0]), 4)
    0.3679
    """

    rate: float = 1.0

    law = Law.FR
    order = math.inf
    self_adjoint = True
    preserves = frozenset({"mass", "positivity", "equilibrium", "monotone"})
    measures = (Density,)
    single = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "FisherRao"))

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Count the state before the step and that after it."""
        return MemoryUse(states=2)

    @override
    def build_step(self, energy: Energy, template: Any, dt: float) -> FrozenStep:
        """Prepare the exact map over `dt`."""
        energy.log_equilibrium(template.grid)
        time = self.rate * dt
        return lambda state, rng: energy.reaction(state, time)
