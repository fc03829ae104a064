"""Budgets of time and memory of a certified solution, and the runs that they pay for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.deadline import OutOfTimeError, check_deadline, clock
from wfr_pde.numerics.two_threads import two_at_a_time
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain

SHORT = 1e5  # cells times steps of a run that is begun in any case: what it takes says nothing
LONG = 1e5  # cells times steps of runs of which two at a time are worth their threads
TOLERANCE, FINEST, COARSEST = 1e-6, 1e-13, 1e-10  # of the transport in time: over that of the problem, and limits


@dataclass(frozen=True)
class Run:
    """A run on one grid, by its problem, steps, order and wanted times; see `Budget.run`."""

    problem: Problem
    grid: Grid
    steps: Array
    order: int
    wanted: Array

    @property
    def size(self) -> int:
        """Cells times steps."""
        return self.grid.size * len(self.steps)

    def beginning(self) -> tuple[RatioChain, Array]:
        """Return the chain and log(mu/pi) at the first time; a target at rest is asked here for all that steps need."""
        problem, grid = self.problem, self.grid
        chain = RatioChain(problem, grid, min(max(TOLERANCE * problem.rtol, FINEST), COARSEST))
        if problem.ceilings is not None:
            for t in self.steps.tolist():
                problem.seen(t).log_equilibrium(grid)
        state = Density(grid, grid.log_density(problem.start, "the start", checked=False))
        return chain, problem.log_ratio(state, float(self.steps[0]))

    def frames(self, chain: RatioChain, g: Array) -> Array:
        """Compute log(mu/pi) at the wanted times, (n_wanted, *shape)."""
        log_ratios = [g]
        for t, following in itertools.pairwise(self.steps.tolist()):
            check_deadline()
            g = chain.step(g, t, following - t, self.order)
            if following == self.wanted[len(log_ratios)]:
                log_ratios.append(g)
                if len(log_ratios) == len(self.wanted):
                    break
        return np.stack(log_ratios)


@dataclass
class Budget:
    """The budgets of time and memory, and what has been spent of them."""

    seconds: float
    memory: float = math.inf  # GiB
    began: float = field(default_factory=clock)
    rate: float = 5e-6  # seconds per cell and step, as last measured

    def left(self) -> float:
        """Return the seconds that may still be spent."""
        return self.seconds - (clock() - self.began)

    def run(self, problem: Problem, grid: Grid, steps: Array, order: int, wanted: Array) -> Array:
        """Make one run on a grid: log(mu/pi) at the wanted times, (n_wanted, *shape).

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
        return self.run_all([Run(problem, grid, steps, order, wanted)])[0]

    def run_all(self, runs: Sequence[Run]) -> list[Array]:
        """Make several runs: in two dimensions and more two at a time where they are long, the longest first.

        Targets are asked before, by one thread. Those that move are asked all along the way: their runs take turns.

        Raises
        ------
        OutOfTimeError
            Before the longest begins, if it would take longer than is left.
        """
        longest = max(runs, key=lambda run: run.size)
        expected = self.rate * longest.size
        if expected > self.left() and longest.size > SHORT:
            raise OutOfTimeError(
                f"the next run, {counted(len(longest.steps) - 1, 'step')} on {longest.grid.size} cells, would take "
                f"about {expected:.2g} seconds, but of seconds={self.seconds:g} only {max(self.left(), 0):.2g} are left"
            )
        waiting = sorted(range(len(runs)), key=lambda k: runs[k].size, reverse=True)
        found: dict[int, Array] = {}
        together = sum(run.grid.ndim > 1 and run.size > LONG and not run.problem.target.moving for run in runs)
        if together > 1:
            found = self._two_at_a_time(runs, waiting[:together])
        for k in waiting:
            if k not in found:
                began = clock()
                found[k] = runs[k].frames(*runs[k].beginning())
                self.rate = max((clock() - began) / runs[k].size, 1e-9)
        return [found[k] for k in range(len(runs))]

    def _two_at_a_time(self, runs: Sequence[Run], which: Sequence[int]) -> dict[int, Array]:
        """Make some runs by two threads, each within the deadline of this one; return their frames."""
        began = clock()
        beginnings = [runs[k].beginning() for k in which]
        calls = [partial(runs[k].frames, *beginning) for k, beginning in zip(which, beginnings, strict=True)]
        found = dict(zip(which, two_at_a_time(calls), strict=True))
        self.rate = max((clock() - began) / sum(runs[k].size for k in which), 1e-9)
        return found
