"""One attempt at a certified solution of a weighted diffusion: a grid, steps, the answer, and its bound."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.energies import NoEnergy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow
from wfr_pde.flows.diffusions.coefficients import diffusion_times
from wfr_pde.flows.diffusions.free_space import FreeSpaceFlow
from wfr_pde.flows.diffusions.mass_balance import MassBalance
from wfr_pde.flows.extrapolation import Extrapolated
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.progress import step_done
from wfr_pde.numerics.typing import Array
from wfr_pde.space.continued import log_values_at
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.diffusions.residual import ResidualRule

PARTS = ("residual", "mass", "domain", "start", "rounding")
LONG_NAMES = {
    "residual": "part of what is left in the equation, of the start, of what lies between cells",
    "mass": "part of the mass that is made or lost",
    "domain": "part of what lies beyond the walls",
    "start": "part of the start on the cells, which goes on in that of the residual",
    "rounding": "part of rounding",
}
PANEL = 4  # steps that share a polynomial in time
ORDERS = (8, 6, 4, 2)
TIME_LOOKS = 2000  # at the coefficients over the whole time: a change that is over between two of them is not seen
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
        return self.flow.begin(self.grid.density(self.start))

    @cached_property
    def start_error(self) -> float:
        """The L1 distance of the start to what its cells make of it, by three places per cell and axis."""
        grid, d = self.grid, self.grid.ndim
        points, state = grid.points().reshape(-1, d), self.beginning
        exact, known = [], []
        for place in itertools.product((-1 / 3, 0.0, 1 / 3), repeat=d):
            aside = points + np.array(place) * np.array([axis.dx for axis in grid.axes])
            exact.append(np.exp(self.start.log_density(aside)))
            known.append(np.exp(log_values_at(grid, state.log_values, aside)))
        density, volume = np.array(exact), grid.cell_volume / 3**d
        return float(np.sum(np.abs(density / np.sum(density * volume) - np.array(known))) * volume)

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
            for begin in self.times[k] + (float(length) - h) * np.linspace(0, 1, LOOKS):
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
    def solution(self) -> tuple[list[Density], dict[str, Array], float]:
        """The densities at the save times, the parts of the bound, and the doubt of the residual.

        The last is what differences of a lower order in space say otherwise, relative to the residual.
        """
        rule = ResidualRule(self.flow.equation, self.grid)
        flow, state = self.flow_of_order().monitored(), self.beginning
        parts = {name: np.zeros(len(self.times)) for name in PARTS}
        found, left, sizes, before, gone = [state], self.start_error, np.zeros(2), 0.0, 0.0
        balances: dict[int, MassBalance] = {}

        def collect(part: Flow) -> Flow:
            if isinstance(part, FreeSpaceFlow):
                balances[id(part.balance)] = part.balance
            return part

        flow.map_parts(collect)
        parts["start"][0] = self.start_error
        parts["domain"][0] = 2 * rule.outside(state.log_values)
        parts["rounding"][0] = ROUNDING
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
                middle = levels[PANEL // 2]
                between = PANEL * h * rule.between(middle.log_values, begin + PANEL * h / 2)
                looks = max(PANEL, math.ceil(TIME_LOOKS * PANEL * h / float(self.times[-1] - self.times[0])))
                between += rule.between_times(begin + h * np.arange(PANEL + 1.0), middle.log_values, looks)
                lost = sum(one.total for one in balances.values())
                weight = math.exp(min(middle.log_mass or 0.0, 700.0))
                grown = math.exp(min(here.growth, 700.0))
                left = left * grown + here.size + here.doubt + between * weight
                gone, before = gone * grown + (lost - before) * weight, lost
                sizes += here.size, here.doubt
            found.append(state)
            log_mass = state.log_mass or 0.0
            share = left * math.exp(min(-log_mass, 700.0))  # of the mass that there is
            weighted = self.flow.equation.rate is not None
            parts["residual"][k + 1] = 2 * share
            off = 0.0 if weighted else abs(math.expm1(log_mass))
            parts["mass"][k + 1] = 2 * gone * math.exp(min(-log_mass, 700.0)) + off
            parts["domain"][k + 1] = 2 * max(rule.outside(one.log_values) for one in found)
            parts["rounding"][k + 1] = ROUNDING * sum(self.count(j) for j in range(k + 1))
        return found, parts, float(sizes[1] / max(sizes[0], 1e-300))

    @property
    def bound(self) -> Array:
        """The bound of the L1 error at the save times, at most 2."""
        total = sum(self.solution[1].values())
        return np.minimum(np.where(np.isfinite(total), total, 2.0), 2.0)

    @property
    def log_mass_bound(self) -> Array:
        """The bound of the error of log Z at the save times: what is in doubt of the mass, relative to it."""
        share = np.minimum(np.nan_to_num(sum(self.solution[1].values()), nan=1.0), 1.0)
        with np.errstate(divide="ignore"):
            return np.asarray(share / (1 - share))
