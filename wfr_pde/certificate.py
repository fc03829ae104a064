"""What a certified solution is made of: runs that differ in one thing each, and what they say about the error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wfr_pde import metrics
from wfr_pde.budget import Work
from wfr_pde.energies import KL
from wfr_pde.grid import Grid
from wfr_pde.grid_family import WIDER, Cells
from wfr_pde.ladder import Ladder
from wfr_pde.measures import Density
from wfr_pde.nested import Interpolation
from wfr_pde.problem import Problem

Array = np.ndarray[Any, np.dtype[np.float64]]

RATIOS = (0.75, 1.0, 1.25, 1.5, 2.0)  # of the numbers of cells; the last four give order 8 in dx, all five order 10
COARSEST, BASE = 0, 1  # numbers of the first ratio, and of the ratio one
NODES, FEWER_NODES = 14, 10  # of the interpolation between grids, and of the one that its error is measured against
REFINED = 2.0  # ratio of the numbers of steps that are compared
SAFETY = {"time": 4.0, "space": 3.0, "interpolation": 3.0, "domain": 4.0}  # times the difference that is measured
MOST_GROWTH = 10.0  # of the error of the steps, from a grid to the next
KL_SHARE = 0.01  # of a bound of the error of KL that knows no signs: least part of it, where errors happen to cancel
SLOWEST = 0.8  # fall from the distance of orders 6 and 8 to that of 8 and 10 that is still taken for convergence
LARGEST = 1.0  # correction in nats: beyond, far out in a tail, the extrapolation has not begun to converge
ROUNDING, STEP_ROUNDING = 1e-13, 2e-15  # of one run, and per step
ARRAYS = 40  # of the size of the finest grid, while it is solved on and compared
PARTS = ("time", "space", "domain", "rounding")


def richardson(ratios: Sequence[float]) -> list[float]:
    """Weights that cancel the powers dx², dx⁴, ... of grids with `ratios` times the cells."""
    h = [1 / r**2 for r in ratios]
    return [math.prod(other / (other - own) for other in h if other != own) for own in h]


def unsigned_kl(energy: KL, one: Density, other: Density) -> float:
    """Share of a bound of the difference in KL that counts at least, in nats.

    To first order KL differs by the integral of the difference times g = log(mu/pi). Positive and negative parts of it
    may cancel by chance, at one time; the integral of its absolute value knows nothing of that.
    """
    gap = np.abs(one.values - other.values) * np.abs(energy.log_ratio(one) - energy.value(one))
    return KL_SHARE * float(one.grid.integrate(gap))


def convergence_factor(distances: Sequence[float]) -> float:
    """What the last of two distances between orders is multiplied by.

    Where they fall by a factor q only, they are taken to go on so: their sum is 1 / (1 - q).
    """
    before, last = distances
    return SAFETY["space"] / (1 - min(last / max(before, 1e-300), SLOWEST))


class Attempt:
    """Solutions on one family of grids, with one ladder, and what they say about their error."""

    def __init__(self, problem: Problem, cells: Cells, ladder: Ladder, refinement: float, order: int, work: Work):
        self.problem, self.cells, self.order, self.work = problem, cells, order, work
        self.ladder, self.refinement = ladder, refinement
        self.nodes = ladder.nodes(problem.times, refinement)
        self.more_nodes = ladder.nodes(problem.times, refinement, REFINED)
        self.grid = cells.grid(RATIOS[-1])
        self.l1: dict[str, Array] = {}
        self.kl: dict[str, Array] = {}
        self.runs: dict[int, Array] = {}  # by the number of the grid
        self.result: list[Density] = []
        self.value: Array = np.zeros(len(problem.times))  # KL

    def expected_seconds(self) -> float:
        """How long all measurements will take, at the speed of the last run."""
        cells = self.cells.grid(1).size
        d = self.grid.ndim
        runs = sum(r**d for r in RATIOS) + REFINED * (1 + RATIOS[COARSEST] ** d) + (1 + 2 * WIDER) ** d
        return self.work.rate * cells * runs * len(self.nodes)

    def needed_memory(self) -> tuple[int, int]:
        """Bytes needed at most, and those of them for the stored times."""
        cells, d, frames = self.cells.grid(1).size, self.grid.ndim, len(self.problem.times)
        stored = 8 * frames * (sum(r**d for r in RATIOS) * cells + self.grid.size)
        stored *= 2 if self.problem.target.moving else 1  # the target at every save time is held too
        return int(stored + 8 * (ARRAYS + 8 * d) * self.grid.size), int(stored)

    def check_memory(self) -> None:
        """Refuse what would not fit.

        Raises
        ------
        MemoryError
        """
        needed, stored = self.needed_memory()
        frames = len(self.problem.times)
        free = self.grid.backend.available_memory()
        budget = self.work.memory * 2**30
        if needed > min(budget, math.inf if free is None else free):
            limit = (
                f"memory={self.work.memory:g} allows for less" if needed > budget else f"{free / 2**30:.3g} are free"
            )
            raise MemoryError(
                f"a certified solution at {frames} times on {' x '.join(map(str, self.grid.shape))} cells needs about "
                f"{needed / 2**30:.3g} GiB, {stored / 2**30:.3g} of them for the stored times on all grids, but "
                f"{limit}: use fewer save times, a larger rtol, or a smaller box"
            )

    def measure_time(self) -> None:
        """Runs on the two coarsest grids, again with twice the steps.

        Their distance on the finer one counts four times, and more by as much as it has grown from the coarser: what
        the steps miss in places that few cells resolve is larger on more of them.
        """
        if self.problem.exact_in_time:
            self._run(BASE)
            self._store("time", np.zeros((len(self.problem.times), 2)))
            return
        coarser, base = (self._distances_in_time(k) for k in (COARSEST, BASE))
        growth = np.clip(base / np.maximum(coarser, 1e-300), 1.0, MOST_GROWTH)
        self._store("time", SAFETY["time"] * growth * base)

    def _distances_in_time(self, k: int) -> Array:
        """L1 and KL distances (n_times, 2) of runs on grid number k that differ by a factor two in the steps."""
        grid = self.cells.grid(RATIOS[k])
        finer = self.work.run(self.problem, grid, self.more_nodes, self.order)
        found = []
        for i, (energy, *pair) in enumerate(zip(self.problem.energies, self._run(k), finer, strict=True)):
            a, b = (self.problem.density(grid, log_ratio, i) for log_ratio in pair)
            kl = max(abs(energy.value(a) - energy.value(b)), unsigned_kl(energy, a, b))
            found.append((metrics.l1(a, b), kl))
        return np.array(found)

    def _run(self, k: int) -> Array:
        """Log-ratios at the save times on grid number k."""
        if k not in self.runs:
            self.runs[k] = self.work.run(self.problem, self.cells.grid(RATIOS[k]), self.nodes, self.order)
        return self.runs[k]

    def measure_domain(self) -> None:
        """The run with the ratio one again in a box wider by an eighth on each side, with the same cells inside."""
        grid, (wide, window) = self.cells.grid(1), self.cells.wider()
        if self.cells.real_walls or wide.shape == grid.shape:
            self._store("domain", np.zeros((len(self.problem.times), 2)))
            return
        log_ratio = self.work.run(self.problem, wide, self.nodes, self.order)
        found = []
        for i, (energy, narrow, other) in enumerate(
            zip(self.problem.energies, self._run(BASE), log_ratio, strict=True)
        ):
            inside, everywhere = self.problem.density(grid, narrow, i), self.problem.density(wide, other, i)
            extended = np.full(wide.shape, -math.inf)
            extended[window] = inside.log_values
            l1 = metrics.l1(everywhere, Density(wide, extended))
            found.append((l1, abs(energy.value(inside) - energy.value(everywhere))))
        self._store("domain", SAFETY["domain"] * np.array(found))

    def measure_space(self) -> None:
        """Richardson extrapolation in dx over the four finest grids against that over all five."""
        grids = [self.cells.grid(r) for r in RATIOS]
        runs = [self._run(k) for k in range(len(RATIOS))]
        moves = [[Interpolation(g, self.grid, nodes) for g in grids[:-1]] for nodes in (NODES, FEWER_NODES)]
        start = Density(self.grid, self.grid.log_density(self.problem.start, "the start", checked=False))
        self.result, values = [start], [self._values(grids, runs, 0)]
        found = [(0.0, 0.0)]
        for k in range(1, len(self.problem.times)):
            own = runs[-1][k]
            fine, rough = ([*(move(run[k]) for move, run in zip(m, runs, strict=False)), own] for m in moves)
            above, level, below = (self._level(fine[first:], first, k) for first in (0, 1, 2))
            distances = metrics.l1(below, level), metrics.l1(level, above)
            interpolation = SAFETY["interpolation"] * metrics.l1(level, self._level(rough[1:], 1, k))
            factor = convergence_factor(distances)
            self.result.append(level)
            values.append(self._values(grids, runs, k))
            found.append(
                (factor * distances[1] + interpolation, factor * unsigned_kl(self.problem.energies[k], level, above))
            )
        l1, least = np.array(found).T
        gaps = np.abs(np.diff(values, axis=1))  # of the orders 10 and 8, and 8 and 6
        kl = [max(low, convergence_factor((gap[1], gap[0])) * gap[0]) for low, gap in zip(least, gaps, strict=True)]
        self.value = np.array(values)[:, 1]
        self._store("space", np.stack([l1, kl], axis=1))
        rounding = ROUNDING + STEP_ROUNDING * len(self.nodes)
        self._store("rounding", np.stack([np.full(len(l1), rounding), rounding * (1 + self.value)], axis=1))

    @property
    def largest_error(self) -> float:
        """Bound of the L1 error over all save times."""
        return float(self.total(self.l1).max())

    def _level(self, log_ratios: Sequence[Array], first: int, k: int) -> Density:
        """Log-ratios of the grids from the number `first` on, interpolated to the finest, extrapolated, at time k."""
        weights = richardson(RATIOS[first:])
        finest = log_ratios[-1]
        correction = sum(w * (g - finest) for w, g in zip(weights[:-1], log_ratios[:-1], strict=True))
        limited = np.clip(np.asarray(correction), -LARGEST, LARGEST)
        return self.problem.density(self.grid, finest + limited, k)

    def _values(self, grids: Sequence[Grid], runs: Sequence[Array], k: int) -> list[float]:
        """KL at a save time, extrapolated from that on all five grids, on the four finest, and on three."""
        values = []
        for grid, run in zip(grids, runs, strict=True):
            values.append(self.problem.energies[k].value(self.problem.density(grid, run[k], k)))
        return [float(np.dot(richardson(RATIOS[first:]), values[first:])) for first in (0, 1, 2)]

    def _store(self, part: str, found: Any) -> None:
        """Errors (l1, kl) over the save times."""
        pairs = np.asarray(found, dtype=np.float64)
        self.l1[part], self.kl[part] = pairs[:, 0], pairs[:, 1]

    def total(self, of: dict[str, Array]) -> Array:
        """Sum of the parts over the save times."""
        return np.sum([of[part] for part in PARTS], axis=0)
