"""Budgets of time and memory of a certified solution, and the runs that they pay for."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wfr_pde.deadline import OutOfTimeError, check_deadline
from wfr_pde.errors import NumericalError
from wfr_pde.grid import Grid
from wfr_pde.measures import Density
from wfr_pde.problem import Problem

Array = np.ndarray[Any, np.dtype[np.float64]]

SAME_STEP = 1e-11  # relative difference of step sizes that is the rounding of the times


@dataclass
class Work:
    """What has been spent, and what may be."""

    seconds: float
    memory: float = math.inf  # GiB
    began: float = field(default_factory=time.perf_counter)
    rate: float = 5e-6  # seconds per cell and step, as last measured

    def left(self) -> float:
        """Seconds that may still be spent."""
        return self.seconds - (time.perf_counter() - self.began)

    def run(self, problem: Problem, grid: Grid, nodes: Array, order: int) -> Array:
        """log(mu/pi) on a grid at the save times, (n_times, *shape); nodes are the times of the steps.

        Raises
        ------
        OutOfTimeError
            Before it begins, if it would take longer than is left.
        """
        expected = self.rate * grid.size * len(nodes)
        if expected > self.left():
            raise OutOfTimeError(
                f"the next run, {len(nodes) - 1} steps on {grid.size} cells, would take about {expected:.2g} seconds, "
                f"but of seconds={self.seconds:g} only {max(self.left(), 0):.2g} are left"
            )
        began = time.perf_counter()
        flow, wanted = problem.flow(order), problem.times.tolist()
        state = Density(grid, grid.log_density(problem.start, "the start", checked=False))
        log_ratios, size, step = [problem.log_ratio(state, 0)], 0.0, None
        with grid.threads():
            for t, following in itertools.pairwise(nodes.tolist()):
                length = following - t
                if step is None or abs(length - size) > SAME_STEP * length:
                    size, step = length, flow.make_step(problem.energy, state, length)
                check_deadline()
                state = step(state, t)
                if not state.is_finite():
                    raise NumericalError(f"the state is not finite at t={following:.6g}")
                if following == wanted[len(log_ratios)]:
                    log_ratios.append(problem.log_ratio(state, len(log_ratios)))
        self.rate = max((time.perf_counter() - began) / (grid.size * len(nodes)), 1e-9)
        return np.stack(log_ratios)
