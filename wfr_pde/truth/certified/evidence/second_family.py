"""A second opinion: the flow solved by kernels that know nothing of finite volumes, with an error of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wfr_pde.deadline import OutOfTimeError, check_deadline, deadline
from wfr_pde.energies import KL
from wfr_pde.errors import NumericalError
from wfr_pde.flows import FisherRao, Flow, SinkhornKernel, Strang
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.space.transfer import Interpolation, local_weights
from wfr_pde.truth.certified.problem import Problem

Array = np.ndarray[Any, np.dtype[np.float64]]
Interval = tuple[float, float]

REFINEMENTS = (1, 2, 3, 4)  # steps in place of one, of the runs that are compared
COARSER = (1.0, 1.2, 1.35, 1.55)  # times fewer cells of the grids that are compared
NODES, FEWER_NODES = 12, 8  # of the interpolation between grids, and of the one that tells its error
LIMITING_NODES, LIMITING_SHARE = 4, 0.25  # cells around, and share of their range beyond it, that limit it
FEWEST_CELLS = 16  # of the coarsest grid
MOST_CELLS = {1: 640, 2: 2**15, 3: 2**18}  # of the finest
CELLS_PER_SCALE = 0.9  # at first
LOOKS = 2049  # places on a line where scales are looked at
MATTERS = 16.0  # nats below the top, down to which they are
MORE_CELLS = 1.45  # from one attempt to the next
LIFTED, FLOOR = 2000.0, 600.0  # nats of pi, and of mu, that plain products of matrices hold
NO_MASS = 30.0  # nats below the top
REACH = 800.0  # nats, over which the heat kernel is summed
MOST_ROUNDS = 60  # of the normalisation of a kernel
ATTEMPTS = 8
GOAL = 0.25  # of the tolerance
FIRST_HALVINGS = 3  # of the whole time, for the first step that is tried
DEEPEST = 40  # halvings of an interval between save times

SMOOTH = 0.85, 1.18  # ratio of the last slopes in dt² of single runs, inside which they are extrapolated
NEARLY = 0.6, 1.6  # ratio of the slopes before
FALLING = 0.5  # ratio of neighbouring distances between orders, above which the higher one counts for nothing
SAFETY = 4.0  # times the mean of the last two distances of orders, and the last of grids where it is spectral
SPECTRAL = 0.3  # ratio of one distance from the finest grid to the next, that smooth densities stay below
ROUGH = 6.5  # times the last distance otherwise: powers of 1/2 in dt, and 3/4 in dx, would need that
FAR = 0.3  # distance of runs from which they say nothing of a limit
MOVED = 2.0  # times what the slope explains, that an extrapolation may move in L1
ROUNDING, STEP_ROUNDING = 1e-11, 1e-15  # of a run, and per step


@dataclass(frozen=True, eq=False)
class SecondOpinion:
    """Densities at the save times by the second family of schemes, and how wrong they may be.

    Attributes
    ----------
    times : array (n_t,)
    grid : Grid or None
        Where the densities are; None where there is no opinion.
    reached : array (n_t,) of bool
        Save times that there is an opinion about; the first one always where there is a grid.
    weights : tuple of arrays or None
        log(mu e^V) at the cells, of mass one with `grid`'s own sums; as smooth as the kernel, so that it interpolates
        where mu does not.
    densities : tuple of Density or None
    kl, error_l1, error_kl : arrays (n_t,)
        KL(mu|pi), and estimates of the errors of density and KL: 2 and inf where nothing is known.
    words : str
        How it was made, or why not.
    """

    problem: Problem
    grid: Grid | None
    reached: np.ndarray
    weights: tuple[Array | None, ...]
    densities: tuple[Density | None, ...]
    kl: Array
    error_l1: Array
    error_kl: Array
    words: str

    @property
    def times(self) -> Array:
        """The save times (n_t,)."""
        return self.problem.times

    def log_values(self, grid: Grid, k: int, nodes: int = NODES) -> Array:
        """log mu (of the grid's shape) at save time number k, on another grid in the same box; not normalised there.

        Raises
        ------
        ValueError
            If the time was not reached.
        """
        weight = self.weights[k]
        if self.grid is None or weight is None:
            raise ValueError(f"the second family has no density at t={self.times[k]:.6g}: {self.words}; see `reached`")
        moved = interpolated(self.grid, grid, weight, nodes)
        return moved + np.asarray(grid.evaluate(self.problem.target.at(float(self.times[k])).log_density))

    def distance(self, density: Density, k: int) -> tuple[float, float]:
        """L1 distance of a density in the same box at save time number k, and the error of this side of it.

        Masses count: nothing is normalised on the grid of the other one. NaN and 2 where the time was not reached.
        """
        if not self.reached[k]:
            return math.nan, 2.0
        grid = density.grid
        own, rougher = (np.exp(self.log_values(grid, k, nodes)) for nodes in (NODES, FEWER_NODES))
        distance = float(grid.integrate(np.abs(own - density.values)))
        return distance, float(self.error_l1[k] + grid.integrate(np.abs(own - rougher)))


@dataclass(frozen=True, eq=False)
class Agreement:
    """Distances (n_t,) of two solutions, what both errors allow, and where the distance is within it.

    `agrees` is true where nothing was compared; `compared` tells.
    """

    distance: Array
    allowed: Array
    compared: np.ndarray

    @property
    def agrees(self) -> np.ndarray:
        """Per save time, whether the two do not contradict each other."""
        return ~self.compared | (self.distance <= self.allowed)


def agreement(opinion: SecondOpinion, densities: Sequence[Density], error_l1: Array) -> Agreement:
    """Whether a solution with errors `error_l1` (n_t,) and an opinion are within both errors of each other."""
    pairs = np.array([opinion.distance(density, k) for k, density in enumerate(densities)])
    return Agreement(pairs[:, 0], pairs[:, 1] + np.asarray(error_l1), np.asarray(opinion.reached))


def second_opinion(
    problem: Problem,
    lower: Array,
    upper: Array,
    options: dict[str, Any] | None = None,
    seconds: float = math.inf,
) -> SecondOpinion:
    """Solve by `SinkhornKernel` in a `Strang` splitting, and measure the error.

    Every single run is a product of Markov kernels and exact reactions: positive, KL falls, no mass where none can
    be. Runs with 1, 2, 3 and 4 times the steps, on nodes that fit the flow, are compared. Where their slopes in dt²
    are equal within some ten per cent, their logarithms are extrapolated, and four times the geometric mean of the
    last two distances of orders is the error; where they are not, it is the finest run, and 6.5 times its distance
    from the one before. Runs on grids with 1.2, 1.35 and 1.55 times fewer cells tell the error of the cells, which
    falls spectrally on smooth densities. What the box cuts off is in neither.
    On a line the kernel is a plain matrix, where mu and pi span few enough nats for that.

    Parameters
    ----------
    problem : Problem
    lower, upper : arrays (d,)
        The box.
    options : dict
        Of `Grid`: boundary, names, max_cut.
    seconds : float
        After which the best so far is returned.

    Returns
    -------
    SecondOpinion
        One without a grid, where no kernel is resolved: see its words.
    """
    best = _none(problem, "none: the time budget is spent")
    try:
        with deadline(seconds):
            settings = _first_settings(problem, np.atleast_1d(lower), np.atleast_1d(upper), dict(options or {}))
            for _ in range(ATTEMPTS):
                found, part = _attempt(problem, settings)
                if _size(found) <= _size(best) or best.grid is None:
                    best = found
                if _size(found) <= GOAL * problem.rtol:
                    break
                following = settings.finer(part)
                if following is None:
                    break
                settings = following
    except OutOfTimeError:
        pass
    except (NumericalError, MemoryError) as error:
        if best.grid is None:
            best = replace(best, words=f"none: {error}")
    return best


def _size(opinion: SecondOpinion) -> float:
    """The largest error at the times reached, and of no use where there is none."""
    return float(opinion.error_l1[opinion.reached].max()) if opinion.reached[1:].any() else math.inf


def _none(problem: Problem, words: str) -> SecondOpinion:
    n = len(problem.times)
    nothing: tuple[None, ...] = (None,) * n
    nan, two, inf = np.full(n, math.nan), np.full(n, 2.0), np.full(n, math.inf)
    return SecondOpinion(problem, None, np.zeros(n, dtype=bool), nothing, nothing, nan, two, inf, words)


@dataclass(frozen=True, eq=False)
class _Settings:
    """Cells and steps of an attempt."""

    lower: Array
    upper: Array
    options: dict[str, Any]
    cells: Array  # per axis, of the finest grid
    local_error: float  # L1, of a step against two halves

    def grid(self, fewer: float) -> Grid:
        """The grid with `fewer` times fewer cells."""
        shape = [max(FEWEST_CELLS, round(float(n) / fewer)) for n in self.cells]
        return Grid(self.lower, self.upper, shape, **self.options)

    def finer(self, part: str) -> _Settings | None:
        """With more cells, or shorter steps, which may want more cells; None where there is no room for that."""
        if part == "time":
            return replace(self, local_error=self.local_error / 8)
        return self.refined(MORE_CELLS)

    def refined(self, factor: float) -> _Settings | None:
        """With more cells along every axis, if there are not too many."""
        more = self.cells * factor
        if math.prod(more) > MOST_CELLS[min(len(more), 3)]:
            return None
        return replace(self, cells=more)


def _first_settings(problem: Problem, lower: Array, upper: Array, options: dict[str, Any]) -> _Settings:
    """Equal cells by the narrowest scales of target and start."""
    d = len(lower)
    periodic = [kind == "periodic" for kind in np.broadcast_to(options.get("boundary", "no-flux"), (d,))]
    if d == 1:
        scales = [_cells_per_length(problem, float(lower[0]), float(upper[0]))]
    else:
        points = densities_of_points([*problem.places, problem.start], lower, upper, periodic)
        scales = [float(f(np.linspace(a, b, LOOKS)).max()) for f, a, b in zip(points, lower, upper, strict=True)]
    least = FEWEST_CELLS * COARSER[-1]
    cells = np.maximum(
        least, CELLS_PER_SCALE * (upper - lower) * np.array(scales) * (1 - math.log10(problem.rtol) / 12)
    )
    if math.prod(cells) > MOST_CELLS[min(d, 3)]:
        shrunk = (MOST_CELLS[min(d, 3)] / math.prod(cells)) ** (1 / d)
        cells = np.maximum(least, cells * shrunk)
    return _Settings(lower, upper, options, cells, 0.02 * problem.rtol**0.25)


def _cells_per_length(problem: Problem, lower: float, upper: float) -> float:
    """The largest (|l''| + l'^2 / 9)^(1/2) of start and target, l their log-densities, where they have mass."""
    x = np.linspace(lower, upper, LOOKS + 2)[1:-1]
    step, result = x[1] - x[0], 0.0
    for distribution in (*problem.places, problem.start):
        values = np.asarray(distribution.log_density(x[:, None]))
        bend, slope = np.diff(values, 2) / step**2, (values[2:] - values[:-2]) / (2 * step)
        near = np.maximum(np.maximum(values[2:], values[:-2]), values[1:-1]) > values.max() - MATTERS
        result = max(result, float(np.max((np.abs(bend) + slope**2 / 9)[near])))
    return math.sqrt(result)


def interpolated(source: Grid, destination: Grid, values: Array, nodes: int) -> Array:
    """Interpolation between grids on one box that stays near the range of the cells around.

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
    """The heat kernel of u_t = u_xx on equal cells, times their width: (n, n), by its images.

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


class _Solver:
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
        """Whether plain products hold mu and pi: on a line, over not too many nats.

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
        """The self-adjoint flow of order 2."""
        transport, reaction = SinkhornKernel(self.problem.alpha), FisherRao(self.problem.beta)
        if self.problem.alpha == 0 or self.problem.beta == 0:
            return reaction if self.problem.alpha == 0 else transport
        return Strang(reaction, transport)

    def advance(self, state: Density, begin: float, dt: float, n: int) -> Density:
        """`n` steps of size `dt`."""
        if self.on_a_line:
            return self._advance_on_a_line(state, dt, n)
        if dt not in self._steps:
            self._steps[dt] = self.flow().make_steps(self.energy, self.start, dt)
        return self._steps[dt](state, begin, n, None, check_deadline)

    def _advance_on_a_line(self, state: Density, dt: float, n: int) -> Density:
        """The same with plain products."""
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
        """The Markov matrix of the transport over dt, on the masses of cells."""
        if dt not in self._matrices:
            check_deadline()
            result = self._kernel(dt)
            self._matrices[dt] = result / result.sum(axis=0)
        return self._matrices[dt]

    def _kernel(self, dt: float) -> Array:
        """(s d)_i G_ij (d/s)_j of `SinkhornKernel`, s = sqrt(pi) and d ∘ G(d ∘ s) = s: its columns sum to one.

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
        """The states at the ends of all intervals, of each of which the steps (begin, size) are given."""
        state, result = self.start, [self.start]
        for interval in steps:
            for size, group in itertools.groupby(interval, key=lambda step: step[1]):
                equal = list(group)
                state = self.advance(state, equal[0][0], size / refinement, refinement * len(equal))
            lifted = Density(self.grid, np.asarray(state.log_values) - self.lift) if self.on_a_line else state
            result.append(lifted)
        return result

    def weight(self, state: Density, k: int) -> Array:
        """log(mu e^V) at save time number k: what a state is compared and interpolated by."""
        target = self.problem.target.at(float(self.problem.times[k]))
        return np.asarray(state.log_values) - np.asarray(self.grid.evaluate(target.log_density))


def _attempt(problem: Problem, settings: _Settings) -> tuple[SecondOpinion, str]:
    """An opinion with its error, and the part of it that is largest: "time" or "space"."""
    finest = _Solver(problem, settings.grid(COARSER[0]))
    solvers = [finest, *(_Solver(problem, settings.grid(fewer), finest.on_a_line) for fewer in COARSER[1:])]
    shortest = max(finest.shortest_step, 2 * solvers[-1].shortest)
    if shortest > (gap := _shortest_gap(problem.times)):
        enough = settings.refined(math.sqrt(shortest / gap) * 1.01)
        if enough is not None:
            return _attempt(problem, enough)
    sizes = _trial(solvers[-1], settings.local_error, shortest)
    steps, reached = _steps(problem.times, sizes, shortest)
    if len(reached) < 2 and len(problem.times) > 1:
        words = f"none: the kernel on {_by(solvers[0].grid)} cells needs steps of {shortest:.4g} at least"
        return _none(problem, words), "space"
    runs = [finest.states(steps, refinement) for refinement in REFINEMENTS]
    coarser = [solver.states(steps, 1) for solver in solvers[1:]]
    n_steps = sum(map(len, steps)) * REFINEMENTS[-1]
    frames = []
    for number, k in enumerate(reached):
        in_time = _in_time(problem.energy_at(float(problem.times[k])), [run[number] for run in runs], REFINEMENTS)
        fine = (finest, runs[0][number])
        others = [(solver, run[number]) for solver, run in zip(solvers[1:], coarser, strict=True)]
        frames.append((in_time, _in_space(problem, fine, others, k)))
    opinion = _opinion(finest, reached, frames, n_steps)
    worst = [max(frame[i][1] for frame in frames) for i in (0, 1)]
    can_halve = any(size >= 2 * shortest for _, size in sizes)  # else shorter steps need more cells first
    return opinion, "time" if worst[0] > worst[1] and can_halve else "space"


def _shortest_gap(times: Array) -> float:
    return float(np.diff(times).min()) if len(times) > 1 else math.inf


def _by(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))


def _opinion(solver: _Solver, reached: list[int], frames: list[tuple[Any, Any]], n_steps: int) -> SecondOpinion:
    """What was found at the times that were reached, put together."""
    problem = solver.problem
    flow = f"{solver.flow()!r} in {n_steps} steps on {_by(solver.grid)} cells"
    result = _none(problem, flow)
    weights, densities = list(result.weights), list(result.densities)
    orders = set()
    for k, ((density, time_l1, time_kl, order), (space_l1, space_kl)) in zip(reached, frames, strict=True):
        densities[k], weights[k] = density, solver.weight(density, k)
        result.reached[k] = True
        result.kl[k] = problem.energy_at(float(problem.times[k])).value(density)
        rounding = (ROUNDING + STEP_ROUNDING * n_steps) * (1 + _largest(density))
        result.error_l1[k] = min(2.0, time_l1 + space_l1 + rounding)
        result.error_kl[k] = time_kl + space_kl + rounding * (1 + result.kl[k])
        if k > 0:
            orders.add(order)
    words = f"{flow}, order {' or '.join(map(str, sorted(orders)))} in dt"
    return replace(result, grid=solver.grid, weights=tuple(weights), densities=tuple(densities), words=words)


def _largest(density: Density) -> float:
    """The largest logarithm, in nats, of what is exponentiated where the mass is."""
    return abs(float(np.asarray(density.log_values).max()))


def _trial(solver: _Solver, local_error: float, shortest: float) -> list[tuple[float, float]]:
    """Step sizes over time, (from when, size), by steps against two halves; none below `shortest`."""
    first, last = float(solver.problem.times[0]), float(solver.problem.times[-1])
    span = last - first
    if solver.problem.alpha == 0 and not solver.problem.target.moving:
        return [(first, span)]  # steps of any size are exact
    if span < 2 * shortest:
        return [(first, span)]
    t, state, k = first, solver.start, min(FIRST_HALVINGS, math.floor(math.log2(span / shortest)))
    found: list[tuple[float, float]] = []
    while last - t > 1e-9 * span:
        size = span * 2.0**-k
        rough = solver.advance(state, t, size, 1)
        fine = solver.advance(state, t, size / 2, 2)
        error = float(solver.grid.integrate(np.abs(rough.values - fine.values)))
        if error > local_error and size / 2 >= shortest:
            k += 1
            continue
        found.append((t, size))
        t, state = t + size, fine
        # of order 3; a step may double where it begins at a multiple of twice itself
        if error < local_error / 16 and k > 0 and round((t - first) / size) % 2 == 0:
            k -= 1
    return found


def _steps(times: Array, sizes: list[tuple[float, float]], shortest: float) -> tuple[list[list[Interval]], list[int]]:
    """Steps (begin, size) per interval, halved until they are as short as `sizes`; numbers of the times they reach."""
    starts = np.array([start for start, _ in sizes])
    steps: list[list[Interval]] = []
    reached = [0]
    for k in range(1, len(times)):
        begin, end = float(times[reached[-1]]), float(times[k])
        if end - begin < shortest:
            continue
        interval: list[Interval] = []
        pending = [(0, 0)]  # (number, depth): begins at number / 2^depth of the interval
        while pending:
            number, depth = pending.pop()
            size = (end - begin) * 2.0**-depth
            at = begin + number * size
            rungs = np.searchsorted(starts, [at * (1 + 1e-12), at + size * (1 - 1e-9)], side="right")
            wanted = min(size for _, size in sizes[max(0, rungs[0] - 1) : max(1, rungs[1])])
            if size > wanted * (1 + 1e-9) and size / 2 >= shortest and depth < DEEPEST:
                pending += [(2 * number + 1, depth + 1), (2 * number, depth + 1)]
            else:
                interval.append((at, size))
        steps.append(interval)
        reached.append(k)
    return steps, reached


def _richardson(refinements: Sequence[int]) -> list[float]:
    """Weights of runs with so many steps in place of one, that cancel the powers dt², dt⁴, ..."""
    return [math.prod(m * m / (m * m - i * i) for i in refinements if i != m) for m in refinements]


def _unsigned_kl(energy: KL, one: Density, other: Density) -> float:
    """Bound of the difference of KL to first order, integral of |mu - nu| |g - KL|, which knows no signs, in nats."""
    excess = np.abs(np.asarray(energy.log_ratio(one)) - energy.value(one))
    return float(one.grid.integrate(np.abs(one.values - other.values) * excess))


def _in_time(energy: KL, runs: Sequence[Density], refinements: Sequence[int]) -> tuple[Density, float, float, int]:
    """The best density out of runs with more and more steps, its errors in L1 and KL, and its order in dt."""
    grid = runs[0].grid

    def apart(one: Density, other: Density) -> float:
        return float(grid.integrate(np.abs(one.values - other.values)))

    squares = [1.0 / m**2 for m in refinements]
    single = [apart(a, b) for a, b in itertools.pairwise(runs)]
    tiny = ROUNDING * sum(refinements)
    if single[-1] <= tiny:
        return runs[-1], single[-1], _unsigned_kl(energy, runs[-1], runs[-2]), 2
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
                kl = max(_unsigned_kl(energy, levels[j + 1], levels[j]), abs(_kl_gap(energy, levels[j + 1], levels[j])))
                return levels[j + 1], factor * gaps[j], factor * kl, 2 * (j + 2)
    error = ROUGH * max(single[-1], single[-2] * squares[-1] / squares[-2])
    kl = max(_unsigned_kl(energy, runs[-1], runs[-2]), abs(_kl_gap(energy, runs[-1], runs[-2])))
    if single[-1] >= FAR:
        return runs[-1], 2.0, math.inf, 2
    return runs[-1], error, ROUGH * kl, 2


def _kl_gap(energy: KL, one: Density, other: Density) -> float:
    return energy.value(one) - energy.value(other)


def _combined(runs: Sequence[Density], refinements: Sequence[int]) -> Density:
    """Extrapolation of the logarithms, as differences from the finest run, so that rounding is not amplified."""
    finest = np.asarray(runs[-1].log_values)
    correction = sum(
        w * (np.asarray(run.log_values) - finest)
        for w, run in zip(_richardson(refinements)[:-1], runs[:-1], strict=True)
    )
    return Density(runs[-1].grid, finest + correction).normalised()


def _in_space(
    problem: Problem, fine: tuple[_Solver, Density], others: Sequence[tuple[_Solver, Density]], k: int
) -> tuple[float, float]:
    """Errors in L1 and KL of the cells, by the same run on coarser ones; masses are those of each grid's own sums."""
    solver, density = fine
    grid, energy, own = solver.grid, problem.energy_at(float(problem.times[k])), solver.weight(density, k)
    v = np.asarray(density.log_values) - own
    excess = np.abs(np.asarray(energy.log_ratio(density)) - energy.value(density))
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
