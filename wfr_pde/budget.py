"""Budgets of time and memory of a certified solution, and the runs that they pay for."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wfr_pde.deadline import OutOfTimeError, check_deadline
from wfr_pde.grid import Grid
from wfr_pde.measures import Density
from wfr_pde.problem import Problem
from wfr_pde.ratio_chain import RatioChain

Array = np.ndarray[Any, np.dtype[np.float64]]

SHORT = 1e5  # cells times steps of a run that is begun in any case: what it takes says nothing
TOLERANCE, FINEST, COARSEST = 1e-6, 1e-13, 1e-10  # of the transport in time: over that of the problem, and limits


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

    def run(self, problem: Problem, grid: Grid, steps: Array, order: int, wanted: Array) -> Array:
        """log(mu/pi) on a grid at some times, (n_wanted, *shape).

        Parameters
        ----------
        problem : Problem
        grid : Grid
        steps : array (n + 1,)
            Times between which a step is made.
        order : int
            In dt.
        wanted : array
            Some of these times, the first among them.

        Raises
        ------
        OutOfTimeError
            Before it begins, if it would take longer than is left.
        """
        expected = self.rate * grid.size * len(steps)
        if expected > self.left() and grid.size * len(steps) > SHORT:
            raise OutOfTimeError(
                f"the next run, {len(steps) - 1} steps on {grid.size} cells, would take about {expected:.2g} seconds, "
                f"but of seconds={self.seconds:g} only {max(self.left(), 0):.2g} are left"
            )
        began = time.perf_counter()
        chain = RatioChain(problem, grid, min(max(TOLERANCE * problem.rtol, FINEST), COARSEST))
        state = Density(grid, grid.log_density(problem.start, "the start", checked=False))
        g = problem.log_ratio(state, float(steps[0]))
        log_ratios = [g]
        for t, following in itertools.pairwise(steps.tolist()):
            check_deadline()
            g = chain.step(g, t, following - t, order)
            if following == wanted[len(log_ratios)]:
                log_ratios.append(g)
                if len(log_ratios) == len(wanted):
                    break
        self.rate = max((time.perf_counter() - began) / (grid.size * len(steps)), 1e-9)
        return np.stack(log_ratios)
