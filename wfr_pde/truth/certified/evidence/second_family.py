"""A second opinion: the flow solved by kernels that know nothing of finite volumes, with an error of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.deadline import OutOfTimeError, deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.truth.certified.evidence.kernel_runs import FEWER_NODES, NODES, REFINEMENTS, KernelRuns, interpolated
from wfr_pde.truth.certified.evidence.limits import ROUNDING, STEP_ROUNDING, limit_in_space, limit_in_time
from wfr_pde.truth.certified.problem import Problem

Interval = tuple[float, float]

COARSER = (1.0, 1.2, 1.35, 1.55)  # times fewer cells of the grids that are compared
FEWEST_CELLS = 16  # of the coarsest grid: the interpolation goes through 12
MOST_CELLS = {1: 640, 2: 2**15, 3: 2**18}  # of the finest
CELLS_PER_SCALE = 0.9  # at first: where these do not do, the next attempt has more
LOOKS = 2049  # places on a line where scales are looked at: more cost time only
MATTERS = 16.0  # nats below the top, down to which they are
MORE_CELLS = 1.45  # times as many along every axis, from one attempt to the next
ATTEMPTS = 8  # with more cells or shorter steps each; its time ends them before
GOAL = 0.25  # of the tolerance: an opinion with a larger error contradicts less
FIRST_HALVINGS = 3  # of the whole time, for the first step that is tried
DEEPEST = 40  # halvings of an interval between save times


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
        """Interpolate log mu at save time number k to another grid in the same box; it is not normalised there.

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
        """Return the L1 distance of a density in the same box at save time number k, and the error of this opinion.

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
    """Compare a solution with errors `error_l1` (n_t,) with an opinion: the distances, and what both errors allow."""
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
    """Return the largest error at the times reached; infinite where none is."""
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
        """Make the grid with `fewer` times fewer cells."""
        shape = [max(FEWEST_CELLS, round(float(n) / fewer)) for n in self.cells]
        return Grid(self.lower, self.upper, shape, **self.options)

    def finer(self, part: str) -> _Settings | None:
        """Return settings with more cells, or shorter steps, which may want more cells; None where there is no room."""
        if part == "time":
            return replace(self, local_error=self.local_error / 8)
        return self.refined(MORE_CELLS)

    def refined(self, factor: float) -> _Settings | None:
        """Return settings with more cells along every axis; None where they would be too many."""
        more = self.cells * factor
        if math.prod(more) > MOST_CELLS[min(len(more), 3)]:
            return None
        return replace(self, cells=more)


def _first_settings(problem: Problem, lower: Array, upper: Array, options: dict[str, Any]) -> _Settings:
    """Choose equal cells by the narrowest scales of target and start."""
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
    """Return the largest (|l''| + l'^2 / 9)^(1/2) of start and target, l their log-densities, where mass is."""
    x = np.linspace(lower, upper, LOOKS + 2)[1:-1]
    step, result = x[1] - x[0], 0.0
    for distribution in (*problem.places, problem.start):
        values = np.asarray(distribution.log_density(x[:, None]))
        bend, slope = np.diff(values, 2) / step**2, (values[2:] - values[:-2]) / (2 * step)
        near = np.maximum(np.maximum(values[2:], values[:-2]), values[1:-1]) > values.max() - MATTERS
        result = max(result, float(np.max((np.abs(bend) + slope**2 / 9)[near])))
    return math.sqrt(result)


def _attempt(problem: Problem, settings: _Settings) -> tuple[SecondOpinion, str]:
    """Make an opinion with its error, and name the part of it that is largest: "time" or "space"."""
    finest = KernelRuns(problem, settings.grid(COARSER[0]))
    solvers = [finest, *(KernelRuns(problem, settings.grid(fewer), finest.on_a_line) for fewer in COARSER[1:])]
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
        in_time = limit_in_time(problem.energy_at(float(problem.times[k])), [run[number] for run in runs], REFINEMENTS)
        fine = (finest, runs[0][number])
        others = [(solver, run[number]) for solver, run in zip(solvers[1:], coarser, strict=True)]
        frames.append((in_time, limit_in_space(problem, fine, others, k)))
    opinion = _opinion(finest, reached, frames, n_steps)
    worst = [max(frame[i][1] for frame in frames) for i in (0, 1)]
    can_halve = any(size >= 2 * shortest for _, size in sizes)  # else shorter steps need more cells first
    return opinion, "time" if worst[0] > worst[1] and can_halve else "space"


def _shortest_gap(times: Array) -> float:
    return float(np.diff(times).min()) if len(times) > 1 else math.inf


def _by(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))


def _opinion(solver: KernelRuns, reached: list[int], frames: list[tuple[Any, Any]], n_steps: int) -> SecondOpinion:
    """Put together what was found at the times that were reached."""
    problem = solver.problem
    flow = f"{solver.flow()!r} in {counted(n_steps, 'step')} on {_by(solver.grid)} cells"
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
    """Return the largest logarithm, in nats, among those that are exponentiated where the mass is."""
    return abs(float(np.asarray(density.log_values).max()))


def _trial(solver: KernelRuns, local_error: float, shortest: float) -> list[tuple[float, float]]:
    """Find step sizes over time, (from when, size), by steps against two halves; none below `shortest`."""
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
    """Return the steps (begin, size) per interval, halved down to `sizes`, and the numbers of the times they reach."""
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
