"""What is refined from one attempt of a certified solution to the next: steps, order, panels, cells, or the box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.truth.certified.attempt import SAFETY, Attempt
from wfr_pde.truth.certified.grids.first_grids import terrain_in
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.step_schedule import StepSchedule

ORDERS = (8, 6, 4)  # in dt: the next where extrapolation diverges with every number of steps
ORDER_FROM = (1e-4, 1e-7, 0.0)  # least rtol from which on one begins with order 4, 6, 8
SHARES = {"time": 0.15, "space": 0.35, "witness": 0.35, "mass": 0.05, "domain": 0.1}  # of the tolerance
CUT_FROM = 0.1  # of the panel with the largest doubt: panels that are cut with it
MORE_CUTS = (
    4.0  # times what all may doubt together: panels of ridges that are cut into four, where mass slides at first
)
TIME_DOUBT = 3.0  # times what the witness says: highest terms of the polynomials in time, for which panels are cut
SPACE_ORDER, LEAST_ORDER = 8.0, 1.0  # with which the largest part is taken to fall with the cells, and at least
DIVERGING = 3  # refinements of the steps before the order is lowered: smaller steps are tried first
WIDEN = 0.25  # of the box, on each side, where mass arrives at the walls


@dataclass
class Plan:
    """The fineness of steps and cells for the next attempt, by the errors of those so far."""

    schedule: StepSchedule
    cells: GridFamily
    box_may_grow: bool
    number: int = 0  # of the order
    parts: int = 1  # of every step
    diverged: int = 0
    time_error: float = math.inf
    shortened: bool = False  # whether steps, and not the order, were refined last
    fall: tuple[float, float] | None = None  # cells along an axis, and the largest part over its share

    @property
    def order(self) -> int:
        """Order in dt."""
        return ORDERS[self.number]

    def shorten_steps(self) -> None:
        """Plan smaller steps after a divergence, and a lower order after some."""
        self.parts, self.diverged = 2 * self.parts, self.diverged + 1
        if self.diverged % DIVERGING == 0 and self.number + 1 < len(ORDERS):
            self.number += 1

    def refine_steps(self, attempt: Attempt) -> bool:
        """Plan smaller steps, or a higher order, where the error in time asks for them; return whether it does."""
        error, wanted = float(attempt.l1["time"].max()), SHARES["time"] * attempt.problem.rtol
        has_gained = error <= self.time_error / 2
        if error <= wanted or (self.shortened and not has_gained):
            return False
        self.time_error = error
        can_raise = self.number > 0 and not self.diverged and error < 2.0 ** (2 * self.order) * wanted
        self.shortened = not (can_raise and has_gained)  # a higher order may gain nothing where steps are too long
        if self.shortened:
            self.parts *= 2
        else:
            self.number -= 1
        return True

    def refine(self, attempt: Attempt) -> None:
        """Plan finer panels, more cells, or a wider box, by what the parts of the error say."""
        problem, l1 = attempt.problem, attempt.l1
        if self.box_may_grow and l1["domain"].max() > SHARES["domain"] * problem.rtol:
            self.cells = _widened(problem, self.cells)
        testimony = attempt.testimony
        witness = float(l1["witness"].max()) / (SHARES["witness"] * problem.rtol)
        if witness > 1 and testimony is not None:
            k = int(l1["witness"].argmax())
            if testimony.time[k] > TIME_DOUBT * testimony.l1[k]:
                cuts = np.where(testimony.by_panel >= CUT_FROM * testimony.by_panel.max(), 2, 1)
                if problem.given is not None:  # attempts are dear: all at once that have to be cut
                    allowed = TIME_DOUBT * SHARES["witness"] * problem.rtol / SAFETY["witness"]
                    cuts[_largest(testimony.by_panel, allowed)] = 2
                    cuts[testimony.by_panel > MORE_CUTS * allowed] = 4
                self.schedule = self.schedule.refined(cuts)
                witness = 0.0
        excess = {part: float(l1[part].max()) / (SHARES[part] * problem.rtol) for part in ("space", "mass")}
        worst = max(*excess.values(), witness)
        if worst > 1:
            order = self._measured_order(attempt.grid.size ** (1 / attempt.grid.ndim), worst)
            factor = min(2.0, max(1.15, 1.1 * worst ** (1 / order))) if attempt.asymptotic else 2.0
            self.cells = self.cells.finer(factor)

    def _measured_order(self, cells: float, excess: float) -> float:
        """Return the power of the number of cells per axis with which the largest part fell since the last attempt."""
        before, self.fall = self.fall, (cells, excess)
        if before is None or not before[0] < cells or not before[1] > excess:
            return SPACE_ORDER
        measured = math.log(before[1] / excess) / math.log(cells / before[0])
        return min(SPACE_ORDER, max(measured, LEAST_ORDER))


def _largest(values: Array, rest: float) -> np.ndarray:
    """Return a mask of the fewest of some positive values without which the others sum to at most `rest`."""
    order = np.argsort(values)
    mask = np.ones(len(values), dtype=bool)
    mask[order[np.cumsum(values[order]) <= rest]] = False
    return mask


def first_order(problem: Problem) -> int:
    """Return the order in dt to begin with: at least 6 under ceilings, as what slides down slopes is fast."""
    number = 2 - next(k for k, least in enumerate(ORDER_FROM) if problem.rtol >= least)
    return number if problem.ceilings is None else min(number, 1)


def _widened(problem: Problem, cells: GridFamily) -> GridFamily:
    """Return the family of grids on a wider box."""
    margin = np.where([axis.periodic for axis in cells.grid(1).axes], 0.0, WIDEN * (cells.upper - cells.lower))
    wider = terrain_in(problem, (cells.lower - margin, cells.upper + margin), cells.options, cells.real_walls).cells
    density = [n / (high - low) for n, low, high in zip(cells.counts, cells.lower, cells.upper, strict=True)]
    kept = [
        n if grading is not None else 4 * math.ceil(rate * (high - low) / 4)
        for n, grading, rate, low, high in zip(
            wider.counts, wider.gradings, density, wider.lower, wider.upper, strict=True
        )
    ]
    return replace(wider, counts=tuple(max(a, b) for a, b in zip(kept, cells.counts, strict=True)))
