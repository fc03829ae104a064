"""The reaction part of the flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, MemoryUse, Step, checked_rate
from wfr_pde.flows.law import Law
from wfr_pde.numerics.gauss_rules import gauss
from wfr_pde.numerics.user_calls import call
from wfr_pde.space.density import Density

NODES = 5  # of Gauss's rule for a rate that is a function: symmetric, so that errors stay even in dt
GOLDEN, PROBES = (
    0.6180339887498949,
    16,
)  # multiples of it, and how many, at which such a rate is asked for a fingerprint


@dataclass(frozen=True)
class FisherRao(Flow):
    """Fisher-Rao gradient flow, exact: d_t mu = -rate mu (g - E_mu g), g = log(mu/pi).

    The solution is mu_t ∝ mu_0^s pi^(1-s) with s = exp(-rate t): a straight line between the log-densities.
    (Chizat, Peyré, Schmitzer, Vialard 2018, doi:10.1007/s10208-016-9331-y, for the metric.)

    Parameters
    ----------
    rate : float, or function t -> float
        Reaction rate beta >= 0, per unit of time.

    Raises
    ------
    ValueError
        If the rate is negative or not finite; a function is asked in the steps.

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

    rate: float | Callable[[float], float] = 1.0

    law = Law.FR
    order = math.inf
    self_adjoint = True
    preserves = frozenset({"mass", "positivity", "equilibrium", "monotone"})
    factorises = True
    measures = (Density,)
    single = True

    def __post_init__(self) -> None:
        if not callable(self.rate):
            object.__setattr__(self, "rate", checked_rate(self.rate, "FisherRao"))

    def time(self, t: float, dt: float) -> float:
        """Return the integral of the rate from `t` to `t + dt`: exact for numbers, else by five points.

        Parameters
        ----------
        t, dt : float
            The step.

        Returns
        -------
        float
        """
        if not callable(self.rate):
            return self.rate * dt
        nodes, weights = gauss(NODES)
        rates = [checked_rate(call("rate", self.rate, t + float(x) * dt), f"FisherRao at t={t:.6g}") for x in nodes]
        return dt * float(weights @ np.array(rates))

    @override
    def __repr__(self) -> str:
        return f"FisherRao(rate={getattr(self.rate, '__qualname__', self.rate)})"

    @override
    def reference(self, template: Any) -> np.ndarray:
        """Return values of a rate that is a function, at some times in [0, 1]."""
        if not callable(self.rate):
            return np.empty(0)
        return np.array([float(self.rate(k * GOLDEN % 1)) for k in range(PROBES)])

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Count the state before the step and that after it."""
        return MemoryUse(states=2)

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare the exact map over `dt`; a moving target is frozen in the middle of the step."""
        self.check(energy, template)
        if not energy.moving:
            energy.log_equilibrium(template.grid)
        return lambda state, t, rng=None: energy.at(t + dt / 2).reaction(state, self.time(t, dt))
