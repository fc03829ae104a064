"""The panels of time of a certified solution, by a trial run on few cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.deadline import OutOfTimeError
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.evidence.residual import Look, Substitution
from wfr_pde.truth.certified.frame_blocks import blocks, cell_axes, log_equilibria, spread
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.preparation.input_checks import coordinate_rounding, potential_rounding
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain
from wfr_pde.truth.certified.step_schedule import StepSchedule, trial_schedule
from wfr_pde.truth.certified.time_breaks import breaks

TRIAL = 0.75  # cells of the trial run, over the coarsest grid: its steps need not be exact
DIGITS = 1e-13  # of g, after a step: exponents are scaled by some hundred nats
TRIAL_ORDER, TRIAL_TOLERANCE = 4, 1e-10  # in dt, and of the sweeps: steps are found, not the answer
PANEL_SHARE = 5.0  # what the last term may be on a panel, over the tolerance: what is beyond is far smaller
LOOSEST_PANEL = 1e-3  # whatever the tolerance: beyond, polynomials in time say nothing
WEIGHTS = 0.998, 0.001, 0.001  # of mu, and of two densities that the reaction will make of it, in what a panel misses
QUICKEST, TRIAL_STEPS = 2e-6, 10  # seconds per cell and step, and steps, of a trial run at least
NEAR, PROBES = 40.0, 100  # nats below the top, and points, where it is watched how the target moves


def schedule_by_trial(problem: Problem, cells: GridFamily, work: Budget) -> StepSchedule:
    """Find the panels of time that the flow wants, by a trial run on few cells."""
    span = float(problem.times[0]), float(problem.times[-1])
    if problem.alpha == 0 and not problem.target.moving:
        return StepSchedule(np.array(span))
    grid = cells.finer(TRIAL).grid(1)
    expected = QUICKEST * TRIAL_STEPS * grid.size
    if expected > work.left():
        raise OutOfTimeError(
            f"a trial run alone would take about {expected:.2g} seconds on {' x '.join(map(str, grid.shape))} cells, "
            f"which is what the scales of target and start need, but of seconds={work.seconds:g} only "
            f"{max(work.left(), 0):.2g} are left: give a larger budget, or a smaller box, box="
        )
    start = Density(grid, grid.log_density(problem.start, "the start", checked=False))
    rests: Array | None = None
    if problem.target.moving:
        rests = breaks(problem.target, _where_mass_is(problem, grid), span, problem.rtol)
    elif problem.ceilings is not None:
        rests = problem.ceilings.starts[1:][problem.ceilings.starts[1:] < span[1]]
    substitution, chain = Substitution(problem, grid), RatioChain(problem, grid, TRIAL_TOLERANCE)

    def advance(g: Array, t: float, dt: float) -> Array:
        return chain.step(g, t, dt, TRIAL_ORDER)

    volumes, box = _log_volumes(substitution), (cells.lower, cells.upper)
    digits = DIGITS + coordinate_rounding(problem, *box) + potential_rounding(problem, *box)

    def look(g: Array, times: Array) -> tuple[Array, Array]:
        seen_at = times.copy()
        if problem.ceilings is not None:  # where a ceiling falls, V is what it was before
            seen_at[-1] = problem.before(float(times[-1]))
        found = []
        for block in blocks(0, len(times), grid.size):
            log_values = g[block] + log_equilibria(problem, grid, times[block])
            found.append(judged(substitution.look(log_values, seen_at[block]), times[block]))
        rates, weights = zip(*found, strict=True)
        return np.concatenate(rates), np.concatenate(weights)

    def judged(seen: Look, times: Array) -> tuple[Array, Array]:
        axes = cell_axes(grid)
        last = spread(grid, np.exp(-problem.beta * (span[1] - times)))
        # mu^s pi^(1 - s) is what the reaction makes of mu till the end
        shares = (1.0, np.maximum(last, 0.5), last)
        heights = [s * seen.log_density - (1 - s) * seen.potential + volumes for s in shares]
        weights = [np.exp(height - height.max(axis=axes, keepdims=True)) for height in heights]
        weights = [weight / weight.sum(axis=axes, keepdims=True) for weight in weights]
        rate = problem.alpha * seen.transport  # of mean zero, as mass is kept
        if problem.target.moving:
            mean = np.sum(weights[0] * seen.potential, axis=axes, keepdims=True)
            rate = rate - problem.beta * (seen.potential - mean)
        return rate, np.asarray(sum(share * weight for share, weight in zip(WEIGHTS, weights, strict=True)))

    return trial_schedule(
        advance,
        look,
        problem.log_ratio(start, span[0]),
        span,
        min(PANEL_SHARE * problem.rtol, LOOSEST_PANEL),
        rests,
        noise=problem.alpha * digits * _amplified(substitution),
    )


def _log_volumes(substitution: Substitution) -> Array:
    """Return the logarithms of the volumes around the places between cells: half of the cells on both sides."""
    total: Any = 0.0
    for axis, places in zip(substitution.grid.axes, substitution.axes, strict=True):
        halves = np.zeros(len(places.x))
        np.add.at(halves, places.below, axis.widths / 2)
        np.add.at(halves, places.below + 1, axis.widths / 2)
        total = np.add.outer(total, np.log(halves))
    return np.asarray(total)


def _amplified(substitution: Substitution) -> Array:
    """Bound what errors of one of g at the centres make of Lap g at the places between them."""
    total: Any = 0.0
    for places in substitution.axes:
        rows = [np.asarray(abs(matrix).sum(axis=1)).ravel() for matrix in (places.first, places.second)]
        total = np.add.outer(total, rows[1] + 2 * np.abs(places.leaving) * rows[0])
    return np.asarray(total)


def _where_mass_is(problem: Problem, grid: Grid) -> Array:
    """Return some centres of cells (n, d) where the start, or the target at some time, is not negligible."""
    points = grid.points().reshape(-1, grid.ndim)
    near = np.zeros(len(points), dtype=bool)
    for distribution in (problem.start, *problem.places):
        log_density = distribution.log_density(points)
        near |= log_density > log_density.max() - NEAR
    chosen = np.flatnonzero(near)
    return points[chosen[:: max(1, len(chosen) // PROBES)]]
