"""The same weighted diffusion by a second family of schemes, whose agreement is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.energies import NoEnergy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.diffusions.coefficients import diffusivity_at
from wfr_pde.flows.extrapolation import Extrapolated
from wfr_pde.flows.transport.finite_volume.flow import FiniteVolume
from wfr_pde.numerics.deadline import OutOfTimeError, check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.diffusions.attempt import DiffusionAttempt

CELLS = {1: 384, 2: 96, 3: 48}  # per axis of the finer grid; the other has a half of them
LEAST_STEPS = 16  # between two save times, of the finer run; the other has a half of them
ALLOWED = 2.0  # times the difference of the two runs: with errors in dx⁴ and dt⁴ that is 30 times that of the finer one


@dataclass(frozen=True)
class Opinion:
    """How far the second family is away.

    Attributes
    ----------
    distance : array (n,)
        L1 distance at the save times.
    allowed : array (n,)
        What the bound of the answer and the error of the second family explain.
    words : str
        For the evidence.
    """

    distance: Array
    allowed: Array
    words: str


def second_opinion(attempt: DiffusionAttempt) -> Opinion | None:
    """Solve by `FiniteVolume(drift=...)` on two grids, and compare; None where it does not apply.

    The coarser grid has half the steps, so that the difference tells errors in time, too. It needs walls, a diffusivity
    along every axis at every time, and cells on which its extrapolation converges.
    """
    equation, times = attempt.flow.equation, attempt.times
    probes = [diffusivity_at(equation.diffusivity, float(t), attempt.grid.ndim) for t in times]
    if any(axis.periodic for axis in attempt.grid.axes) or min(float(one.min()) for one in probes) <= 0:
        return None
    try:
        cells, steps = CELLS[attempt.grid.ndim], max(LEAST_STEPS, attempt.steps // 2)
        runs = [_solved(attempt, cells // 2, steps // 2), _solved(attempt, cells, steps)]
    except OutOfTimeError:
        raise
    except NumericalError:
        return None
    distance, difference = np.zeros(len(times)), np.zeros(len(times))
    for k, answer in enumerate(attempt.solution[0]):
        coarse, fine = runs[0][k], runs[1][k]
        known = np.exp(answer.log_prob(fine.grid.points()))
        distance[k] = float(fine.grid.integrate(np.abs(fine.values - known)))
        below = np.exp(coarse.log_prob(fine.grid.points()))
        difference[k] = float(fine.grid.integrate(np.abs(fine.values - below)))
    allowed = attempt.bound + ALLOWED * difference + 1e-9
    words = f"finite volumes with lines of their own equilibrium on {runs[1][0].grid.shape} cells"
    return Opinion(distance, allowed, words)


def _solved(attempt: DiffusionAttempt, n: int, count: int) -> list[Density]:
    """Return the densities at the save times by finite volumes, `n` cells per axis, `count` steps between the times."""
    equation = attempt.flow.equation
    box = attempt.grid
    grid = Grid(box.lower, box.upper, n)
    options: dict[str, Any] = {"diffusivity": equation.diffusivity, "growth": equation.rate}
    flow = Extrapolated(Extrapolated(FiniteVolume(drift=equation.drift, **options), 4), 4, "dx")
    state: Any = flow.begin(Density(grid, grid.log_density(attempt.start, "the start", checked=False)).normalised())
    found, first = [state], state
    for begin, end in zip(attempt.times, attempt.times[1:], strict=False):
        h = float(end - begin) / count
        step = flow.make_step(NoEnergy(), first, h)
        for k in range(count):
            check_deadline()
            state = step(state, float(begin) + k * h)
        found.append(state)
    return found
