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
from wfr_pde.flows.diffusions.coefficients import diffusion_times
from wfr_pde.flows.extrapolation import Extrapolated
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
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
PANEL = 4  # steps that share a polynomial in time
ORDERS = (8, 6, 4, 2)
LOOKS = 16  # at a diffusivity that varies, between two save times
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
        Between the two save times that are furthest apart; fewer between others, in proportion, multiples of 4.
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
        needed = [self.cells_for(order) for order in ORDERS]
        for order, cells in zip(ORDERS, needed, strict=True):
            if (cells <= np.array(self.grid.shape)).all():
                return order
        raise NumericalError(f"the steps need {needed[-1].tolist()} cells, and there are {list(self.grid.shape)}")

    def cells_for(self, order: int) -> Array:
        """Return how many cells per axis resolve the diffusion over the smallest sub-step of an order."""
        needed: Array = np.zeros(self.grid.ndim)
        for k, length in enumerate(np.diff(self.times)):
            h = float(length) / self.count(k) / (order // 2)
            for begin in self.times[k] + float(length) * np.linspace(0, 1, LOOKS, endpoint=False):
                times = diffusion_times(self.flow.equation.diffusivity, float(begin), h, self.grid.ndim)
                lengths = np.array([axis.length for axis in self.grid.axes])
                with np.errstate(divide="ignore"):
                    here = np.where(times > 0, np.ceil(lengths / np.sqrt(times / RESOLUTION) * (1 - 1e-9)), 0.0)
                needed = np.maximum(needed, here)
        return needed

    def count(self, interval: int) -> int:
        """Return the number of steps between two save times."""
        lengths = np.diff(self.times)
        share = float(lengths[interval] / lengths.max())
        return PANEL * max(1, math.ceil(self.steps * share / PANEL - 1e-9))

    def flow_of_order(self) -> Flow:
        """Return the flow that makes the steps."""
        return self.flow if self.order == 2 else Extrapolated(self.flow, self.order)

    @cached_property
    def solution(self) -> tuple[list[Density], dict[str, Array], Array, float]:
        """The densities at the save times, the parts of the bound, the error of log Z, and the doubt of the residual.

        The last is what differences of a lower order in space say otherwise, relative to the residual.
        """
        rule = ResidualRule(self.flow.equation, self.grid)
        flow, state = self.flow_of_order().monitored(), self.beginning
        parts = {name: np.zeros(len(self.times)) for name in PARTS}
        log_mass_error = np.zeros(len(self.times))
        found, left, sizes = [state], 0.0, np.zeros(2)
        parts["start"][:] = 2 * rule.outside(state.log_values)
        parts["domain"][0] = parts["start"][0]
        for k in range(len(self.times) - 1):
            count = self.count(k)
            h = float(self.times[k + 1] - self.times[k]) / count
            step = flow.make_step(NoEnergy(), self.beginning, h)
            for panel in range(count // PANEL):
                begin = float(self.times[k]) + panel * PANEL * h
                levels = [state]
                for j in range(PANEL):
                    check_deadline()
                    state = step(state, begin + j * h)
                    step_done()
                    levels.append(state)
                values = np.stack([one.log_values + (one.log_mass or 0.0) for one in levels])
                here = rule.over_panel(begin + h * np.arange(PANEL + 1.0), np.asarray(values, np.float64))
                # without the growth of the largest rate all that was left before is carried without loss
                left = left * math.exp(min(here.growth, 700.0)) + (here.size + here.doubt)
                sizes += here.size, here.doubt
            found.append(state)
            log_mass = state.log_mass or 0.0
            share = left * math.exp(min(-log_mass, 700.0))  # of the mass that there is
            weighted = self.flow.equation.rate is not None
            parts["residual"][k + 1] = 2 * share if weighted else share
            parts["mass"][k + 1] = 0.0 if weighted else abs(math.expm1(log_mass))
            parts["domain"][k + 1] = 2 * max(rule.outside(one.log_values) for one in (state, found[-2]))
            parts["rounding"][k + 1] = ROUNDING * sum(self.count(j) for j in range(k + 1))
            log_mass_error[k + 1] = share if share < 1 else math.inf
        return found, parts, log_mass_error, float(sizes[1] / max(sizes[0], 1e-300))

    @property
    def bound(self) -> Array:
        """The bound of the L1 error at the save times, at most 2."""
        return np.minimum(sum(self.solution[1].values()), 2.0)
