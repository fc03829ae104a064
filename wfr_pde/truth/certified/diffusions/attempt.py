"""One attempt at a certified solution of a weighted diffusion: a grid, steps, the answer, and its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.energies import NoEnergy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow
from wfr_pde.flows.extrapolation import Extrapolated
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.progress import step_done
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.diffusions.residual import ResidualRule

PARTS = ("residual", "mass", "domain", "start", "rounding")
LONG_NAMES = {
    "residual": "part of what is left in the equation",
    "mass": "part of the mass that is made or lost",
    "domain": "part of what lies beyond the walls",
    "start": "part of the start on the cells",
    "rounding": "part of rounding",
}
PANEL = 8  # steps that share a polynomial in time
ORDERS = (8, 6, 4, 2)
ROUNDING = 1e-13  # per step: log-values of some hundreds, of which each is right to the last digits


@dataclass(frozen=True, eq=False)
class DiffusionAttempt:
    """The solution on one grid with equal steps between save times, and the parts of the bound of its L1 error.

    Parameters
    ----------
    flow : Flow
        With an equation (`HasEquation`); of order 2 with even powers of dt.
    start : Target
    times : array (n,)
    grid : Grid
    steps : int
        Between two save times, a multiple of 4.
    """

    flow: Any
    start: Any
    times: Array
    grid: Grid
    steps: int

    @cached_property
    def beginning(self) -> Density:
        """The start on the grid."""
        log_values = self.grid.log_density(self.start, "the start", checked=False)
        return self.flow.begin(Density(self.grid, log_values).normalised())

    @cached_property
    def order(self) -> int:
        """The highest order whose smallest sub-step the cells resolve.

        Raises
        ------
        NumericalError
            If there is none.
        """
        shortest = float(np.diff(self.times).min()) / self.steps
        low = self.flow.dt_bounds(NoEnergy(), self.beginning)[0]
        for order in ORDERS:
            if shortest / (order // 2) >= low:
                return order
        raise NumericalError(f"steps of {shortest:.3g} are too short for cells that resolve {low:.3g}")

    def flow_of_order(self) -> Flow:
        """Return the flow that makes the steps."""
        return self.flow if self.order == 2 else Extrapolated(self.flow, self.order)

    @cached_property
    def solution(self) -> tuple[list[Density], dict[str, Array], Array]:
        """The densities at the save times, the parts of the bound, and the bound of the error of log Z."""
        rule = ResidualRule(self.flow.equation, self.grid)
        flow, state = self.flow_of_order().monitored(), self.beginning
        parts = {name: np.zeros(len(self.times)) for name in PARTS}
        log_mass_error = np.zeros(len(self.times))
        found, left, growth = [state], 0.0, 0.0
        parts["start"][:] = 2 * rule.outside(state.log_values)
        parts["domain"][0] = parts["start"][0]
        width = PANEL if self.steps % PANEL == 0 else self.steps
        for k in range(len(self.times) - 1):
            h = float(self.times[k + 1] - self.times[k]) / self.steps
            step = flow.make_step(NoEnergy(), self.beginning, h)
            for panel in range(self.steps // width):
                begin = float(self.times[k]) + panel * width * h
                levels = [state]
                for j in range(width):
                    check_deadline()
                    state = step(state, begin + j * h)
                    step_done()
                    levels.append(state)
                values = np.stack([one.log_values + (one.log_mass or 0.0) for one in levels])
                here = rule.over_panel(begin + h * np.arange(width + 1), values)
                # without the growth of the largest rate all that was left before is carried without loss
                left = left * math.exp(min(here.growth, 700.0)) + (here.size + here.doubt)
                growth += here.growth
            found.append(state)
            log_mass = state.log_mass or 0.0
            share = left * math.exp(min(-log_mass, 700.0))  # of the mass that there is
            weighted = self.flow.equation.rate is not None
            parts["residual"][k + 1] = 2 * share if weighted else share
            parts["mass"][k + 1] = 0.0 if weighted else abs(math.expm1(log_mass))
            parts["domain"][k + 1] = 2 * max(rule.outside(one.log_values) for one in (state, found[-2]))
            parts["rounding"][k + 1] = ROUNDING * (k + 1) * self.steps
            log_mass_error[k + 1] = share if share < 1 else math.inf
        return found, parts, log_mass_error

    @property
    def bound(self) -> Array:
        """The bound of the L1 error at the save times, at most 2."""
        return np.minimum(sum(self.solution[1].values()), 2.0)
