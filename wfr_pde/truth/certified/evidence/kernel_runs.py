"""Runs of the second family: the flow solved by heat kernels that are normalised, on lines by plain matrices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.errors import NumericalError
from wfr_pde.flows import FisherRao, Flow, SinkhornKernel, Strang
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.transfer import Interpolation, local_weights
from wfr_pde.truth.certified.problem import Problem

Interval = tuple[float, float]

LIMITING_NODES, LIMITING_SHARE = 4, 0.25  # cells around, and share of their range beyond it, that limit it
REFINEMENTS = (1, 2, 3, 4)  # steps in place of one, of the runs that are compared
NODES, FEWER_NODES = 12, 8  # of the interpolation between grids, and of the one that tells its error
NO_MASS = 30.0  # nats below the top, e^-30 = 1e-13, where lifting pi changes no mass
LIFTED, FLOOR = 2000.0, 600.0  # nats of pi, and of mu, that plain products of matrices hold
REACH = 800.0  # nats, over which the heat kernel is summed: beyond, doubles have underflowed
MOST_ROUNDS = 60  # of the normalisation of a kernel: each divides the residual by 5.8, so that some twenty do


def interpolated(source: Grid, destination: Grid, values: Array, nodes: int) -> Array:
    """Interpolate between grids on one box, and stay near the range of the cells around.

    Far out in tails, neighbouring logarithms may differ by tens of nats without a rule, and polynomials through many
    of them multiply that by hundreds, near walls most: e^-40 becomes a mass that nobody has. What the polynomial
    gives is limited to the range of the four nearest cells along every axis, and a quarter of it more.
    """
    destination = destination.with_axes([replace(axis, joints=()) for axis in destination.axes])
    low = high = values
    for k, (a, b) in enumerate(zip(source.axes, destination.axes, strict=True)):
        index, _ = local_weights(a, b.centres, LIMITING_NODES)
        low = np.min([np.take(low, column, axis=k) for column in index.T], axis=0)
        high = np.max([np.take(high, column, axis=k) for column in index.T], axis=0)
    more = LIMITING_SHARE * (high - low)
    return np.clip(np.asarray(Interpolation(source, destination, nodes)(values)), low - more, high + more)


def heat_matrix(axis: Axis, time: float) -> Array:
    """Return the heat kernel of u_t = u_xx on equal cells, times their width: (n, n), by its images.

    It depends on the distance of two cells, and that of one from the mirror image of the other.
    """
    n, dx = axis.n, axis.length / axis.n
    period = n if axis.periodic else 2 * n
    distance = np.arange(period)
    wraps = math.ceil(math.sqrt(4 * time * REACH) / (period * dx)) + 1
    by_distance = np.zeros(period)
    for k in range(-wraps, wraps + 1):
        by_distance += np.exp(-(((distance + k * period) * dx) ** 2) / (4 * time))
    by_distance *= dx / math.sqrt(4 * math.pi * time)
    both = np.concatenate([by_distance[:0:-1], by_distance])[period - n : period + n - 1]
    result = np.lib.stride_tricks.sliding_window_view(both, n)[::-1].copy()
    if not axis.periodic:
        result += np.lib.stride_tricks.sliding_window_view(by_distance[1:], n)
    return result


class KernelRuns:
    """Runs on one grid; a state is log(mu/pi) at the cells, up to a constant where the target rests."""

    def __init__(self, problem: Problem, grid: Grid, on_a_line: bool | None = None) -> None:
        self.problem, self.grid = problem, grid
        self.energy: KL = problem.energy
        self.start = Density(grid, grid.log_density(problem.start, "the start", checked=False))
        widest = max(axis.dx for axis in grid.axes)
        self.shortest = RESOLUTION * widest**2 / problem.alpha * (1 + 1e-9) if problem.alpha > 0 else 0.0
        log_pi = np.zeros(grid.shape) if problem.target.moving else np.asarray(self.energy.log_equilibrium(grid))
        self.log_pi = np.maximum(log_pi, log_pi.max() - LIFTED)  # that plain products hold
        self.lift = self.log_pi - log_pi
        self.on_a_line = self._fits_matrices() if on_a_line is None else on_a_line
        self._matrices: dict[float, Array] = {}
        self._steps: dict[float, Any] = {}

    def _fits_matrices(self) -> bool:
        """Return whether plain products hold mu and pi: on a line, over not too many nats.

        Where pi is less than e^-2000 of its top it may be lifted to that, if the start has no mass there. Where mu is
        less than e^-600 of its top it may be lifted to that, as long as the reaction, which takes s = e^(-beta t) of
        it and 1 - s of what pi has more than where the start is, leaves it far below all mass.
        """
        problem = self.problem
        if self.grid.ndim > 1 or problem.target.moving or problem.alpha == 0:
            return False
        start = np.asarray(self.start.log_values)
        massive = start > start.max() - NO_MASS
        if np.any(massive & (self.lift > 0)):
            return False
        share = math.exp(-problem.beta * float(problem.times[-1] - problem.times[0]))
        more = float(self.log_pi.max() - self.log_pi[massive].max())
        return bool(np.ptp(start) < FLOOR or FLOOR * share > (1 - share) * more + 2 * NO_MASS)

    @property
    def shortest_step(self) -> float:
        """Smallest step of the coarsest run, for which the kernel of the finest one is resolved."""
        return self.shortest * REFINEMENTS[-1]

    def flow(self) -> Flow:
        """Return the self-adjoint flow of order 2."""
        transport, reaction = SinkhornKernel(self.problem.alpha), FisherRao(self.problem.beta)
        if self.problem.alpha == 0 or self.problem.beta == 0:
            return reaction if self.problem.alpha == 0 else transport
        return Strang(reaction, transport)

    def advance(self, state: Density, begin: float, dt: float, n: int) -> Density:
        """Make `n` steps of size `dt`."""
        if self.on_a_line:
            return self._advance_on_a_line(state, dt, n)
        if dt not in self._steps:
            self._steps[dt] = self.flow().make_steps(self.energy, self.start, dt)
        return self._steps[dt](state, begin, n, None, check_deadline)

    def _advance_on_a_line(self, state: Density, dt: float, n: int) -> Density:
        """Make `n` steps of size `dt` with plain products."""
        check_deadline()
        matrix = self._matrix(dt)
        half, whole = (math.exp(-self.problem.beta * time) for time in (dt / 2, dt))
        log_mu = half * state.log_values + (1 - half) * self.log_pi
        for k in range(n):
            log_mu -= log_mu.max()
            moved = matrix @ np.exp(np.maximum(log_mu, -FLOOR))
            log_mu = np.log(np.maximum(moved, math.exp(-FLOOR)))
            share = whole if k < n - 1 else half
            log_mu = share * log_mu + (1 - share) * self.log_pi
        return Density(self.grid, log_mu).normalised()

    def _matrix(self, dt: float) -> Array:
        """Return the Markov matrix of the transport over dt, on the masses of cells."""
        if dt not in self._matrices:
            check_deadline()
            result = self._kernel(dt)
            self._matrices[dt] = result / result.sum(axis=0)
        return self._matrices[dt]

    def _kernel(self, dt: float) -> Array:
        """Compute the matrix (s d)_i G_ij (d/s)_j of `SinkhornKernel`: its columns sum to one.

        Chebyshev iteration on the spectrum [1, 2], as in `sinkhorn_scaling`, with plain products.
        """
        log_s = 0.5 * (self.log_pi - 0.5 * (self.log_pi.max() + self.log_pi.min()))
        matrix = heat_matrix(self.grid.axes[0], self.problem.alpha * dt)
        log_d = before = np.zeros_like(log_s)
        weight, rounding = 1.0, 4 * np.finfo(float).eps * (4 + float(np.abs(log_s).max()))
        for round_ in range(MOST_ROUNDS):
            residual = log_s - log_d - np.log(matrix @ np.exp(log_d + log_s))
            if float(np.abs(residual).max()) <= rounding:
                break
            if round_ > 0:
                weight = 1 / (1 - weight / (18 if weight == 1.0 else 36))
            log_d, before = before + weight * (log_d - before + 2 / 3 * residual), log_d
        else:
            raise NumericalError(
                f"the normalisation of the heat kernel over dt={dt:.4g} stopped at a residual of "
                f"{float(np.abs(residual).max()):.3g} after {MOST_ROUNDS} rounds: the target is too rough for the cells"
            )
        with np.errstate(divide="ignore"):  # what is far has no mass at all
            log_matrix = np.log(matrix)
        log_matrix += (log_d + log_s)[:, None]
        log_matrix += log_d - log_s
        result: Array = np.exp(log_matrix)
        return result

    def states(self, steps: Sequence[Sequence[Interval]], refinement: int) -> list[Density]:
        """Return the states at the ends of all intervals, of each of which the steps (begin, size) are given."""
        state, result = self.start, [self.start]
        for interval in steps:
            for size, group in itertools.groupby(interval, key=lambda step: step[1]):
                equal = list(group)
                state = self.advance(state, equal[0][0], size / refinement, refinement * len(equal))
            lifted = Density(self.grid, np.asarray(state.log_values) - self.lift) if self.on_a_line else state
            result.append(lifted)
        return result

    def weight(self, state: Density, k: int) -> Array:
        """Compute log(mu e^V) at save time number k, by which a state is compared and interpolated."""
        target = self.problem.target.at(float(self.problem.times[k]))
        return np.asarray(state.log_values) - np.asarray(self.grid.evaluate(target.log_density))
