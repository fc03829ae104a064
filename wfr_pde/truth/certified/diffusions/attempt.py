"""One attempt at a certified solution of a weighted diffusion: a grid, steps, the answer, and its bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.energies import NoEnergy
from wfr_pde.errors import UnresolvedError
from wfr_pde.flows.base import Flow
from wfr_pde.flows.diffusions.coefficients import diffusion_times
from wfr_pde.flows.extrapolation import Extrapolated
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.progress import step_done
from wfr_pde.numerics.typing import Array
from wfr_pde.space.continued import log_values_at
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.diffusions.account import Account
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
# times as many places as cells per axis, at which densities are looked at between the cells: no ratio of small numbers
FINER = {1: 3.6180339887, 2: 3.6180339887, 3: 1.6180339887}
MOST_PLACES = 1_000_000  # at once
MIDPOINT_ROUNDING = 1e-13  # of the mass of the start by the midpoint rule
BEYOND = 4.0  # times the mass beyond walls by falling parabolas: twice in L1, and twice in tails like 1/x²
LOOKS = 16  # at a diffusivity that varies, between two save times
ROUNDING = 1e-13  # per step: log-values of some hundreds, of which each is right to the last digits


@dataclass(frozen=True)
class Doubts:
    """What the next attempt is chosen by.

    Attributes
    ----------
    walls : float
        Largest part of the domain, or of the mass.
    differences : float
        What differences of a lower order in space say otherwise, relative to the residual.
    start : float
        The part of the start.
    """

    walls: float
    differences: float
    start: float


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
    cut : float
        Share of the start that a given box cuts off.
    """

    flow: Any
    start: Any
    times: Array
    grid: Grid
    steps: int
    cut: float = 0.0

    @cached_property
    def beginning(self) -> Density:
        """The start on the grid."""
        return self.flow.begin(self.grid.density(self.start))

    @cached_property
    def start_error(self) -> float:
        """The L1 distance of the start to what its cells make of it, and what of it is outside of the box."""
        exact, known = [], []
        top = float(np.max(self.start.log_density(self.grid.points())))  # potentials have any constant
        for places in self._between():
            exact.append(np.exp(self.start.log_density(places) - top))
            known.append(np.exp(log_values_at(self.grid, self.beginning.log_values, places)))
        density, volume = np.concatenate(exact), math.prod(axis.length for axis in self.grid.axes) / self._between_count
        mass, whole = float(density.sum()) * volume, self.start.log_normaliser
        cut = self.cut if whole is None else max(self.cut, 1 - mass * math.exp(top - whole) - MIDPOINT_ROUNDING)
        return float(np.sum(np.abs(density / mass - np.concatenate(known)))) * volume + 2 * cut

    @property
    def _sides(self) -> list[int]:
        """How many places `_between` has along the axes."""
        return [round(FINER[self.grid.ndim] * axis.n) for axis in self.grid.axes]

    @property
    def _between_count(self) -> int:
        """How many places `_between` has."""
        return math.prod(self._sides)

    def _between(self) -> Iterator[Array]:
        """Return the middles (m, d) of finer cells, slab by slab; nothing periodic hides in both kinds of cells."""
        sides = self._sides
        pairs = zip(self.grid.axes, sides, strict=True)
        fine = [axis.edges[0] + axis.length * (np.arange(n) + 0.5) / n for axis, n in pairs]
        slab = max(1, MOST_PLACES * sides[0] // math.prod(sides))
        for begin in range(0, sides[0], slab):
            axes = [fine[0][begin : begin + slab], *fine[1:]]
            yield np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.grid.ndim)

    def mass_error(self, state: Density) -> float:
        """Return how much mass is between the cells that their sum, which is one, does not have, or lacks."""
        total = sum(np.exp(log_values_at(self.grid, state.log_values, places)).sum() for places in self._between())
        volume = math.prod(axis.length for axis in self.grid.axes) / self._between_count
        return max(0.0, abs(float(total) * volume - 1) - MIDPOINT_ROUNDING)

    @cached_property
    def order(self) -> int:
        """The highest order whose smallest sub-step the cells resolve.

        Raises
        ------
        UnresolvedError
            If there is none.
        """
        needed = [self.cells_for(order) for order in ORDERS]
        for order, cells in zip(ORDERS, needed, strict=True):
            if (cells <= np.array(self.grid.shape)).all():
                return order
        raise UnresolvedError(f"the steps need {needed[-1].tolist()} cells, and there are {list(self.grid.shape)}")

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
        account = Account(flow, self.start_error)
        parts = {name: np.zeros(len(self.times)) for name in PARTS}
        parts["start"][0] = 2 * self.start_error  # as at later times: what it is between the places is not known
        parts["domain"][0] = BEYOND * rule.outside(state.log_values)
        parts["rounding"][0] = ROUNDING
        found = [state]
        for k in range(len(self.times) - 1):
            count = self.count(k)
            h = float(self.times[k + 1] - self.times[k]) / count
            step = flow.make_step(NoEnergy(), self.beginning, h)
            for panel in range(count // PANEL):
                times = float(self.times[k]) + (panel * PANEL + np.arange(PANEL + 1.0)) * h
                levels = self._levels(step, state, times)
                state = levels[-1]
                account.add_panel(rule, times, levels, self.looks(PANEL * h))
            found.append(state)
            off = 0.0 if self.flow.equation.rate is not None else abs(math.expm1(state.log_mass or 0.0))
            parts["residual"][k + 1] = 2 * account.left
            parts["mass"][k + 1] = 2 * account.gone + off + 2 * self.mass_error(state)
            parts["domain"][k + 1] = BEYOND * max(rule.outside(one.log_values) for one in found)
            parts["rounding"][k + 1] = ROUNDING * sum(self.count(j) for j in range(k + 1))
        return found, parts, account.doubt

    def _levels(self, step: Any, state: Density, times: Array) -> list[Density]:
        """Return the densities at the nodes of a panel, from that at the first of its `times`."""
        levels = [state]
        for t in times[:-1]:
            check_deadline()
            levels.append(step(levels[-1], float(t)))
            step_done()
        return levels

    def looks(self, length: float) -> int:
        """Return how often the coefficients are looked at in a panel of some length."""
        return max(PANEL, math.ceil(TIME_LOOKS * length / float(self.times[-1] - self.times[0])))

    @cached_property
    def doubts(self) -> Doubts:
        """What the next attempt is chosen by."""
        parts = self.solution[1]
        walls = max(float(parts["domain"].max()), float(parts["mass"].max()))
        return Doubts(walls, self.solution[2], self.start_error)

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
