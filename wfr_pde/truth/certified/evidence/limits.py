"""Limits of runs with smaller steps and finer grids, with what is known of the distance to them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.space.density import Density
from wfr_pde.truth.certified.evidence.differences import first_order_kl
from wfr_pde.truth.certified.evidence.kernel_runs import NODES, KernelRuns, interpolated
from wfr_pde.truth.certified.problem import Problem

Interval = tuple[float, float]

ROUNDING, STEP_ROUNDING = 1e-11, 1e-15  # of a run, and per step
SMOOTH = 0.85, 1.18  # ratio of the last slopes in dt² of single runs, inside which they are extrapolated
NEARLY = 0.6, 1.6  # ratio of the slopes before
FALLING = 0.5  # ratio of neighbouring distances between orders, above which the higher one counts for nothing
SAFETY = 4.0  # times the mean of the last two distances of orders, and the last of grids where it is spectral
SPECTRAL = 0.3  # ratio of one distance from the finest grid to the next, that smooth densities stay below
ROUGH = 6.5  # times the last distance otherwise: powers of 1/2 in dt, and 3/4 in dx, would need that
FAR = 0.3  # distance of runs from which they say nothing of a limit
MOVED = 2.0  # times what the slope explains, that an extrapolation may move in L1


def _richardson(refinements: Sequence[int]) -> list[float]:
    """Return the weights of runs with so many steps in place of one, that cancel the powers dt², dt⁴, ..."""
    return [math.prod(m * m / (m * m - i * i) for i in refinements if i != m) for m in refinements]


def limit_in_time(energy: KL, runs: Sequence[Density], refinements: Sequence[int]) -> tuple[Density, float, float, int]:
    """Return the best density out of runs with more and more steps, its errors in L1 and KL, and its order in dt."""
    grid = runs[0].grid

    def apart(one: Density, other: Density) -> float:
        return float(grid.integrate(np.abs(one.values - other.values)))

    squares = [1.0 / m**2 for m in refinements]
    single = [apart(a, b) for a, b in itertools.pairwise(runs)]
    tiny = ROUNDING * sum(refinements)
    if single[-1] <= tiny:
        return runs[-1], single[-1], first_order_kl(energy, runs[-1], runs[-2]), 2
    slopes = [d / (a - b) for d, (a, b) in zip(single, itertools.pairwise(squares), strict=True)]
    before, last = (b / max(a, 1e-300) for a, b in itertools.pairwise(slopes[-3:]))
    smooth = SMOOTH[0] <= last <= SMOOTH[1] and NEARLY[0] <= before <= NEARLY[1]
    if smooth and single[-1] < FAR:
        levels = [runs[-1], *(_combined(runs[-j:], refinements[-j:]) for j in range(2, len(runs) + 1))]
        gaps = [apart(a, b) for a, b in itertools.pairwise(levels)]
        explained = MOVED * slopes[-1] * squares[-1]
        for j in range(len(gaps) - 1, 0, -1):
            fall = gaps[j] / max(gaps[j - 1], 1e-300)
            moved = apart(levels[j + 1], runs[-1])
            if fall <= FALLING and moved <= explained:
                # not the last distance alone: what is steep and rare converges late, and slowly
                factor = SAFETY / math.sqrt(max(fall, 1e-300)) / (1 - fall)
                kl = max(
                    first_order_kl(energy, levels[j + 1], levels[j]), abs(_kl_gap(energy, levels[j + 1], levels[j]))
                )
                return levels[j + 1], factor * gaps[j], factor * kl, 2 * (j + 2)
    error = ROUGH * max(single[-1], single[-2] * squares[-1] / squares[-2])
    kl = max(first_order_kl(energy, runs[-1], runs[-2]), abs(_kl_gap(energy, runs[-1], runs[-2])))
    if single[-1] >= FAR:
        return runs[-1], 2.0, math.inf, 2
    return runs[-1], error, ROUGH * kl, 2


def _kl_gap(energy: KL, one: Density, other: Density) -> float:
    return energy.value(one) - energy.value(other)


def _combined(runs: Sequence[Density], refinements: Sequence[int]) -> Density:
    """Extrapolate logarithms, as differences from the finest run, so that rounding is not amplified."""
    finest = np.asarray(runs[-1].log_values)
    correction = sum(
        w * (np.asarray(run.log_values) - finest)
        for w, run in zip(_richardson(refinements)[:-1], runs[:-1], strict=True)
    )
    return Density(runs[-1].grid, finest + correction).normalised()


def limit_in_space(
    problem: Problem, fine: tuple[KernelRuns, Density], others: Sequence[tuple[KernelRuns, Density]], k: int
) -> tuple[float, float]:
    """Return the errors in L1 and KL that the cells make, by the same run on coarser ones, each with its own sums."""
    solver, density = fine
    grid, energy, own = solver.grid, problem.energy_at(float(problem.times[k])), solver.weight(density, k)
    v = np.asarray(density.log_values) - own
    excess = np.abs(np.asarray(energy.first_variation(density)) - energy.value(density))
    states, values = [density.values], [energy.value(density)]
    for other, state in others:
        weight = other.weight(state, k)
        states.append(np.exp(interpolated(other.grid, grid, weight, NODES) + v))
        values.append(energy.value(state))
    gaps = np.array([grid.integrate(np.abs(states[0] - other)) for other in states[1:]])
    kl_gaps = np.array([grid.integrate(np.abs(states[0] - other) * excess) for other in states[1:]])
    kl_gaps = np.maximum(kl_gaps, np.abs(np.array(values[1:]) - values[0]))
    if gaps.max() >= FAR:
        return 2.0, math.inf
    spectral = np.all(gaps[:-1] <= SPECTRAL * gaps[1:])  # twice by chance is rare, where a kink moves in its cell
    l1, kl = (SAFETY * gaps[0], SAFETY * kl_gaps[0]) if spectral else (ROUGH * gaps.max(), ROUGH * kl_gaps.max())
    return float(l1), float(kl)
