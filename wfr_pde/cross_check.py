"""A certified solution held against the other family of schemes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde import metrics
from wfr_pde.certificate import NODES, RATIOS, Attempt
from wfr_pde.deadline import OutOfTimeError
from wfr_pde.errors import NumericalError
from wfr_pde.flows import Extrapolated, FisherRao, Flow, SinkhornKernel, Strang
from wfr_pde.measures import Density
from wfr_pde.second_family import interpolated
from wfr_pde.solve import solve

Array = np.ndarray[Any, np.dtype[np.float64]]

ORDERS = (8, 6, 4)
FINER_CELLS = 1.25
FINER_STEPS = 6.0  # than those of the certified run: the error of the kernel in dt is larger


def disagreement(solution: Attempt) -> tuple[Array, str]:
    """L1 distance at the save times between a solution and one by `SinkhornKernel`, and how the latter was made.

    The other has a quarter more cells than the finest grid along every axis, as the smallest step that it can take
    falls with the square of their width. NaN at times that it cannot reach. The highest order that does not diverge is
    taken.
    """
    times = solution.problem.times
    result = np.full(len(times), math.nan)
    result[0] = 0.0
    if solution.problem.alpha == 0:
        return result, "none: without transport there is no other scheme"
    words = "none: no order converges with steps that the cells resolve"
    grid = solution.cells.grid(FINER_CELLS * RATIOS[-1])
    start = Density(grid, grid.log_density(solution.problem.start, "the start", checked=False))
    for order in ORDERS:
        flow = _flow(solution, order)
        limits = [flow.limits(energy, start) for energy in solution.problem.energies]
        low, high = max(low for low, _ in limits), min(high for _, high in limits)
        nodes, reached = _nodes(solution, low * (1 + 1e-9), high)
        if len(reached) < 2:
            continue
        try:
            longest = float(np.diff(nodes).max())
            ds = solve(solution.problem.energy, flow, start, nodes, longest, keep=times[reached])
        except OutOfTimeError:
            return result, "none: the time budget is spent"
        except NumericalError:
            continue
        for k, log_values in zip(reached[1:], ds["log_density"].values[1:], strict=True):
            moved = interpolated(grid, solution.grid, log_values, NODES)
            result[k] = metrics.l1(solution.result[k], Density(solution.grid, moved).normalised())
        return result, f"{flow!r} in {len(nodes) - 1} steps on {' x '.join(map(str, grid.shape))} cells"
    return result, words


def _flow(solution: Attempt, order: int) -> Flow:
    transport = SinkhornKernel(solution.problem.alpha)
    if solution.problem.beta == 0:
        return Extrapolated(transport, order)
    return Extrapolated(Strang(FisherRao(solution.problem.beta), transport), order)


def _nodes(solution: Attempt, low: float, high: float) -> tuple[Array, list[int]]:
    """Times of steps between `low` and `high` long, and the numbers of the save times that they reach."""
    times, ladder = solution.problem.times, solution.ladder
    nodes, reached = [float(times[0])], [0]
    if not 0 < 2 * low <= high:
        return np.array(nodes), reached
    for k in range(1, len(times)):
        a, b = nodes[-1], float(times[k])
        if b - a < low:
            continue
        sizes: list[float] = []
        while math.fsum(sizes) < (b - a) * (1 - 1e-12):
            rung = max(0, int(np.searchsorted(ladder.starts, a + math.fsum(sizes), side="right")) - 1)
            wanted = float(ladder.sizes[rung]) / (FINER_STEPS * solution.refinement)
            sizes.append(min(max(wanted, 2 * low), high))
        if math.fsum(sizes) > 2 * (b - a):  # one step, longer than the interval
            sizes = [b - a]
        scale = (b - a) / math.fsum(sizes)
        inner = a + scale * np.cumsum(sizes)
        nodes += [*inner[:-1].tolist(), b]
        reached.append(k)
    return np.array(nodes), reached
