"""Where the mass of a flow gets to, in space and in V: a pilot run on few cells."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.flows import FiniteVolume, FisherRao, Flow, Strang
from wfr_pde.flows.base import Step
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.targets.capped import Capped

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target
    from wfr_pde.truth.certified.problem import Problem


GRADED_FROM = 2.5  # times fewer cells for which an axis is graded; else equal cells are kept
LOOKS = 4097  # places where the density of points of an axis is summed: cells need not be exact here
FEWEST_CELLS, MOST_CELLS = 40, 40_000  # along an axis, and of all: the pilot is to be cheap beside the first attempt
FIRST_STEP, LONGEST_STEP = 2.0**-16, 2.0**-5  # of the whole time; every step in between doubles it
TOLERANCE = 1e-6  # of the sweeps, relative to every cell: where mass is, not how much, is asked
MARGIN_NATS = 300.0  # between the highest level that mass attains and the ceiling
MARGIN_LENGTH, MARGIN_CELLS = 0.15, 1  # of the places that are reached, and cells of the pilot, added on each side
PAYS = 1.3  # a box is made smaller where that shortens an axis by this factor
ROUNDS = 4  # of pilot runs in boxes that shrink: a box that might shrink further only has more cells
RUNGS = 2.0  # ratio of neighbouring ceilings: few levels, so that few sweeps are prepared


@dataclass(frozen=True, eq=False)
class Ceilings:
    """Levels of V, falling in time, above which no mass is: from `starts[i]` on `levels[i]`, infinite without a cap.

    Attributes
    ----------
    starts, levels : arrays (n,)
        The first start is -inf, so that there is a level at any time.
    lowest : float
        The least V that the pilot has seen; a cap spans as much above a ceiling as the ceiling is above that.
    above : float
        Sum over the levels of the largest mass above each while it holds, in the pilot.
    """

    starts: Array
    levels: Array
    lowest: float
    above: float

    @classmethod
    def none(cls) -> Ceilings:
        """Make ceilings that cap nothing at any time."""
        return cls(np.array([-math.inf]), np.array([math.inf]), 0.0, 0.0)

    def level(self, t: float) -> float:
        """Return the ceiling for a step that begins at `t`."""
        return float(self.levels[max(0, int(np.searchsorted(self.starts, t, side="right")) - 1)])

    def cap(self, target: Target, t: float) -> Target:
        """Return the target, under the ceiling, that a step from `t` on may see."""
        return capped(target, self.level(t), self.lowest)

    def raised(self, factor: float) -> Ceilings:
        """Return the ceilings `factor` times as high above the lowest V, to see what they do."""
        return replace(self, levels=self.lowest + factor * (self.levels - self.lowest))


@dataclass(frozen=True, eq=False)
class Reach:
    """The box and the ceilings that a pilot run found.

    Attributes
    ----------
    lower, upper : arrays (d,)
        A box outside which a mass of at most `tail` was at any time of the pilot, with a margin.
    ceilings : Ceilings
    outside : float
        Largest mass outside the box at any time of the pilot.
    """

    lower: Array
    upper: Array
    ceilings: Ceilings
    outside: float


def capped(target: Target, level: float, lowest: float) -> Target:
    """Return the target capped at a level; the target itself where that is infinite."""
    return target if math.isinf(level) else Capped(target, level, level - lowest)


def reach(problem: Problem, box: tuple[Array, Array], options: dict[str, Any], tail: float, fixed: bool) -> Reach:
    """Find box and ceilings for a flow, by pilot runs in boxes that shrink to where the mass gets.

    The pilot is Strang with finite volumes: a positive scheme that keeps the mass for any step on any cells, and whose
    coarse cells spread mass further than it goes. Its own cap follows the mass down.

    Parameters
    ----------
    problem : Problem
        With a target at rest.
    box : (lower, upper), arrays (d,)
        Where mass can be: that of target and start.
    options : dict
        Of the grid: boundary, names, max_cut.
    tail : float
        Mass that may be outside the box, and above a ceiling, at any time.
    fixed : bool
        Whether the box is part of the problem, and stays.

    Raises
    ------
    ValueError
        If the target moves.
    NumericalError
        If a sweep fails.
    """
    if problem.target.moving:
        raise ValueError(f"{problem.target!r} moves: levels that its mass attains change with it; solve without a cap")
    lower, upper = (np.asarray(corner, dtype=np.float64) for corner in box)
    for _ in range(ROUNDS):
        found = _pilot(problem, lower, upper, options, tail)
        if fixed:
            return replace(found, lower=lower, upper=upper, outside=0.0)
        shorter = (upper - lower) / (found.upper - found.lower)
        if shorter.max() < PAYS:
            return replace(found, lower=lower, upper=upper)
        lower, upper = found.lower, found.upper
    return found


def spread(problem: Problem, box: tuple[Array, Array], options: dict[str, Any]) -> float:
    """Return by how many nats V spans over the centres of the cells of a pilot; infinite where V is."""
    potential, _ = _heights(problem.target, pilot_grid(problem, *box, options))
    return float(potential.max() - potential.min())


def pilot_grid(problem: Problem, lower: Array, upper: Array, options: dict[str, Any]) -> Grid:
    """Make the cells of the pilot: one per local scale of target and start, where they are and in between.

    What a start only passes on a steep slope, in no time, is not resolved.
    """
    boundary = np.broadcast_to(options.get("boundary", "no-flux"), (len(lower),))
    periodic = [kind == "periodic" for kind in boundary]
    densities = densities_of_points([problem.target, problem.start], lower, upper, periodic)
    counts, gradings = [], []
    for low, high, density in zip(lower, upper, densities, strict=True):
        at_places = density(np.linspace(low, high, LOOKS))
        graded, uniform = (high - low) * at_places.mean(), (high - low) * at_places.max()
        worth_it = uniform > GRADED_FROM * graded
        counts.append(max(FEWEST_CELLS, graded if worth_it else uniform))
        gradings.append(density if worth_it else None)
    fewer = min(1.0, (MOST_CELLS / math.prod(counts)) ** (1 / len(counts)))
    shape = [max(FEWEST_CELLS // 2, math.ceil(fewer * n)) for n in counts]
    return Grid(lower, upper, shape, grading=gradings, **options)


def _pilot(problem: Problem, lower: Array, upper: Array, options: dict[str, Any], tail: float) -> Reach:
    """Solve the flow on few cells in a box, and return the box and the ceilings that its mass reaches."""
    grid = pilot_grid(problem, lower, upper, options)
    potential, heights = _heights(problem.target, grid)
    lowest = float(potential.min())
    state = Density(grid, grid.log_density(problem.start, "the start", checked=False))
    watched = _Watched(grid, heights, tail)
    watched.look(state)
    flow = _flow(problem)
    times = _times(float(problem.times[0]), float(problem.times[-1]))
    level, energy = math.inf, KL(problem.target, checked=False)
    prepared: dict[float, Step] = {}
    with grid.threads():
        for t, following in itertools.pairwise(times):
            check_deadline()
            new = _rung(watched.highest[-1], lowest)
            if new < level:
                level, prepared = new, {}
                energy = KL(capped(problem.target, level, lowest), checked=False)
            length = float(f"{following - t:.12g}")
            if length not in prepared:
                prepared[length] = flow.make_step(energy, state, length)
            state = prepared[length](state, t)
            watched.look(state)
    start = problem.start.box(tail)
    low, high = watched.box(np.minimum(start[0], upper), np.maximum(start[1], lower))
    return Reach(low, high, watched.ceilings(times, lowest, float(potential.max())), watched.outside(low, high))


def _flow(problem: Problem) -> Flow:
    transport, reaction = FiniteVolume(problem.alpha, tolerance=TOLERANCE), FisherRao(problem.beta)
    if problem.alpha == 0 or problem.beta == 0:
        return reaction if problem.alpha == 0 else transport
    return Strang(reaction, transport)


def _times(first: float, last: float) -> list[float]:
    """Return the times of the pilot: steps that double up to the longest, and go on with that."""
    shares = [0.0, FIRST_STEP]
    while shares[-1] < LONGEST_STEP:
        shares.append(2 * shares[-1])
    shares += list(np.arange(2, round(1 / LONGEST_STEP) + 1) * LONGEST_STEP)
    return [first + share * (last - first) for share in shares]


def _heights(target: Target, grid: Grid) -> tuple[Array, Array]:
    """Return V at the centres of the cells, and the largest V of a cell and its neighbours."""
    from scipy.ndimage import maximum_filter

    with np.errstate(all="ignore"):
        potential = -np.asarray(grid.evaluate(target.log_density))
    potential = np.where(np.isnan(potential), np.inf, potential)
    mode: Any = ["wrap" if axis.periodic else "nearest" for axis in grid.axes]
    return potential, maximum_filter(potential, size=3, mode=mode)


def _rung(highest: float, lowest: float) -> float:
    """Return the ceiling for mass that attains a level: margin times a power of `RUNGS` above the lowest V."""
    if not math.isfinite(highest):
        return math.inf
    above = max(highest - lowest + MARGIN_NATS, MARGIN_NATS)
    return lowest + MARGIN_NATS * RUNGS ** math.ceil(math.log(above / MARGIN_NATS, RUNGS) - 1e-9)


class _Watched:
    """A record of where the mass of the states of a pilot has been."""

    def __init__(self, grid: Grid, heights: Array, tail: float) -> None:
        self.grid, self.tail = grid, tail
        self.order = np.argsort(heights.ravel())[::-1]
        self.sorted_heights = heights.ravel()[self.order]
        self.marginals: list[list[Array]] = []
        self.tops: list[Array] = []  # mass above, cell by cell from the highest
        self.highest: list[float] = []

    def look(self, state: Density) -> None:
        """Note the marginals of a state, and the level of V above which a mass of at most `tail` is."""
        mass = np.asarray(self.grid.backend.asnumpy(state.values * self.grid.cell_volume))
        mass = mass / mass.sum()
        others = [tuple(i for i in range(mass.ndim) if i != k) for k in range(mass.ndim)]
        self.marginals.append([mass.sum(axis=axes) for axes in others])
        above = np.cumsum(mass.ravel()[self.order])
        self.tops.append(above)
        number = min(int(np.searchsorted(above, self.tail, side="right")), len(above) - 1)
        self.highest.append(float(self.sorted_heights[number]))

    def box(self, least_lower: Array, least_upper: Array) -> tuple[Array, Array]:
        """Return the box, with a margin, of the places that were reached, those of the start among them."""
        lower, upper = [], []
        share = self.tail / (2 * self.grid.ndim)
        for k, axis in enumerate(self.grid.axes):
            if axis.periodic:
                lower.append(axis.edges[0])
                upper.append(axis.edges[-1])
                continue
            below = np.array([np.searchsorted(np.cumsum(each[k]), share) for each in self.marginals])
            beyond = np.array([np.searchsorted(np.cumsum(each[k][::-1]), share) for each in self.marginals])
            first, last = max(0, below.min() - MARGIN_CELLS), min(axis.n, axis.n - beyond.min() + MARGIN_CELLS)
            low, high = min(axis.edges[first], least_lower[k]), max(axis.edges[last], least_upper[k])
            more = MARGIN_LENGTH * (high - low)
            lower.append(max(axis.edges[0], low - more))
            upper.append(min(axis.edges[-1], high + more))
        return np.array(lower), np.array(upper)

    def outside(self, lower: Array, upper: Array) -> float:
        """Return the largest mass outside a box at any time, summed over the axes."""
        total = np.zeros(len(self.marginals))
        for k, axis in enumerate(self.grid.axes):
            out = (axis.centres < lower[k]) | (axis.centres > upper[k])
            total += [each[k][out].sum() for each in self.marginals]
        return float(total.max())

    def ceilings(self, times: list[float], lowest: float, top: float) -> Ceilings:
        """Return the ceilings over time that no later mass exceeds; none where V in the box stays below."""
        later = np.maximum.accumulate(self.highest[::-1])[::-1]
        rungs = np.array([_rung(height, lowest) for height in later])
        rungs = np.where(rungs >= top, math.inf, rungs)
        kept = np.flatnonzero(np.append(True, np.diff(np.where(np.isinf(rungs), -1.0, rungs)) != 0))
        above = 0.0
        for first, end in itertools.pairwise([*kept.tolist(), len(rungs)]):
            number = int(np.searchsorted(-self.sorted_heights, -rungs[first]))  # cells above
            above += max(float(top[number - 1]) if number else 0.0 for top in self.tops[first:end])
        starts = np.array([-math.inf, *(times[k] for k in kept[1:])])
        return Ceilings(starts, rungs[kept], lowest, above)
