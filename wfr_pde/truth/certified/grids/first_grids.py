"""The first grids of a certified solution: the box, breaks on edges, and cells for what lies between the centres."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wfr_pde.errors import UnevenCellsError
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.covering import covering_box, ends_at_walls, snapshots
from wfr_pde.space.grid import Grid
from wfr_pde.space.grid_arguments import boundaries_per_axis
from wfr_pde.targets import Gaussian, Potential
from wfr_pde.targets.arguments import dimension_in_words
from wfr_pde.targets.base import Target
from wfr_pde.targets.break_search import LINES, find_hyperplanes, find_kinks
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.families import is_of_package
from wfr_pde.truth.certified.grids.between_points import bumps
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.grids.grid_family import GridFamily, Walls
from wfr_pde.truth.certified.grids.hidden_features import Look, both, hidden_features, look
from wfr_pde.truth.certified.grids.singular_walls import without_walls
from wfr_pde.truth.certified.preparation.input_checks import check_input
from wfr_pde.truth.certified.preparation.prepared import most_cut, prepared
from wfr_pde.truth.certified.preparation.supports import check_supports
from wfr_pde.truth.certified.problem import Problem

# nats above the lowest V, and above V where the start has its mass, up to which V is looked at
WITHIN, ABOVE = 40.0, 10.0
BULK = 20.0  # nats below its top where the start has its mass: e^-20 = 2e-9 is outside
LOOK_ROUNDS = 6  # of finer cells for what was found between the centres: what is left after them is part of the bound
KNOWN_FAMILY = {1: 50_000, 2: 100_000}  # places at which a target that is no user's function is looked at
MOST_SEARCHED = 3  # dimensions in which breaks are searched for: in more, places are too few to find them
BULK_LOOKS = 2000  # places where it is looked for mass: more cost time only
INSIDE = 12  # places in every feature that was found, for its local scales
MOST_FEATURES = 60  # that get finer cells in a round; more wait for the next
FEWER, FEWER_AT = 0.65, 1e-3  # of the cells that scales ask for, to begin with under ceilings, at this tolerance
TURNED_NAMES = ("u", "v", "w", "s")  # of principal axes
MORE_CELLS = 3  # doublings of cells within which a density of points changes too much
SNAPSHOTS = 17  # times at which the box of a target that moves is searched for
SAME_PLACE = 1e-9  # of the box: what a kink is searched for to
NAMED_PLACE = 1e-7  # of the box: what is found this close to a place that is named is that place


@dataclass(frozen=True)
class Terrain:
    """What is known of V between the cell centres.

    Attributes
    ----------
    cells : GridFamily
        With breaks on edges, and resolving what was found.
    look : Look
        What was seen of V, and of the start, on them.
    breaks : Breaks
        That are on edges, or not.
    problem : Problem
        That is solved on the cells: the given one, or one made ready for them.
    """

    cells: GridFamily
    look: Look
    breaks: Breaks
    problem: Problem

    @property
    def hides(self) -> bool:
        """Whether V does something that the cells do not show."""
        return self.look.hides


def first_terrain(problem: Problem, box: Any, boundary: Any, names: Any, max_cut: float, turn: bool = True) -> Terrain:
    """Choose box and cells to begin with, and the problem that is solved on them.

    Where no box is given, a problem in more than one dimension is made ready for cells: in its principal axes, unless
    `turn` forbids it, in the part of the box that it reaches, under ceilings of V. Most problems stay as they are.

    Raises
    ------
    ValueError
        For a box that does not fit, or cuts off mass, and axes that do not wrap: see the message.
    """
    options = {"boundary": boundary, "names": names, "max_cut": 1.0}
    first, *places = snapshots(problem.target, np.linspace(problem.times[0], problem.times[-1], SNAPSHOTS))
    walls = any(ends_at_walls(one) for one in (problem.target.at(float(problem.times[0])), problem.start))
    if box is None and walls:
        box = covering_box([first, *places, problem.start], most_cut(problem))
        check_supports(problem, *box)
    real_walls = box is not None
    if box is None:
        if "periodic" in boundaries_per_axis(boundary, problem.target.ndim):
            raise ValueError("a periodic axis needs box=(lower, upper): its period cannot be guessed")
        ready = ready_for_cells(problem, options, turn)
        if ready is not None:
            if ready[0].frame is not None and names is None:  # not those of the coordinates that they are not
                options["names"] = TURNED_NAMES[: problem.target.ndim]
            return _terrain_of_ready(*ready, options)
        box = covering_box([first, *places, problem.start], most_cut(problem))
        check_supports(problem, *box)
    probe = Grid(box[0], box[1], 4, **options)  # refuses what is no box
    if probe.ndim != problem.target.ndim:
        raise ValueError(f"the target is {dimension_in_words(problem.target)}, but the box is {probe.ndim}-dimensional")
    check_input(problem, probe, max_cut if real_walls else 1.0)
    return terrain_in(problem, (np.array(probe.lower), np.array(probe.upper)), options, real_walls)


def ready_for_cells(
    problem: Problem, options: dict[str, Any], turn: bool
) -> tuple[Problem, tuple[Array, Array]] | None:
    """Put a problem in coordinates that fit it, under ceilings; return it and its box, or None if nothing changes."""
    if problem.target.ndim == 1 or problem.target.moving or problem.alpha == 0:
        return None
    found = prepared(problem, None, options, turn)
    capped = bool(np.isfinite(found.ceilings.levels).any())
    if found.frame.is_given and not capped and found.log_normaliser is None:
        return None
    ready = replace(
        found.problem,
        ceilings=found.ceilings if capped else None,
        log_normaliser=found.log_normaliser,
        normaliser_doubt=found.normaliser_doubt,
        frame=None if found.frame.is_given else found.frame,
        given=problem,
        outside=found.outside,
    )
    return ready, (found.lower, found.upper)


def _terrain_of_ready(problem: Problem, box: tuple[Array, Array], options: dict[str, Any]) -> Terrain:
    """Choose cells for a problem that was made ready; few to begin with under ceilings, where sweeps are slow."""
    check_input(problem, Grid(box[0], box[1], 4, **options), 1.0)
    terrain = terrain_in(problem, box, options, real_walls=False)
    if problem.ceilings is None:
        return terrain
    share = min(1.0, FEWER * (FEWER_AT / problem.rtol) ** (1 / 8))  # order 8 in dx
    return replace(terrain, cells=terrain.cells.finer(share))


def terrain_in(problem: Problem, box: tuple[Array, Array], options: dict[str, Any], real_walls: bool) -> Terrain:
    """Choose cells in a box, finer where V was found to do what they do not show."""
    breaks = breaks_of(problem, *box)
    features: Array | None = None
    for _ in range(LOOK_ROUNDS):
        check_deadline()
        try:
            cells = cells_for(problem, box, options, breaks.places, real_walls, features)
            cells = _even(replace(cells, real_walls=real_walls))
        except UnevenCellsError as error:
            raise UnevenCellsError(
                f"cells cannot follow target and start from {box[0]} to {box[1]}, as scales differ too much from place "
                f"to place ({error}): a box=(lower, upper) around the mass, or a problem without what is that narrow, "
                "can be certified"
            ) from error
        seen = look_at(problem, cells.grid(1), cells, breaks)
        if seen.hides:
            breaks = breaks | _breaks_in_features(problem, seen)
            found = _inside(seen)
        else:
            found = _in_spans(bumps(problem, cells).spans)[:, None] if len(box[0]) == 1 else np.empty((0, 1))
            if not len(found):
                break
        found = found[np.all((found > box[0]) & (found < box[1]), axis=1)]  # at a wall scales may have no end
        features = found if features is None else np.concatenate([features, found])
    return Terrain(cells, seen, breaks, problem)


def _even(cells: GridFamily) -> GridFamily:
    """Return the family of grids, with more cells where the density of points changes too much within one."""
    for _ in range(MORE_CELLS):
        try:
            cells.grid(1)
        except UnevenCellsError:
            cells = cells.finer(2.0)
    cells.grid(1)
    return cells


def _breaks_in_features(problem: Problem, seen: Look) -> Breaks:
    """Find kinks and jumps of functions of one coordinate in what was found between the cells."""
    d = problem.target.ndim
    functions = [one for one in (problem.target, problem.start) if _is_function(one) and not one.moving]
    if d > 1 or not functions:
        return Breaks.none(d)
    found = []
    for low, high in hidden_features(seen)[0][:MOST_FEATURES].tolist():
        margin = high - low
        for one in functions:
            found.append(find_kinks(_along_line(one), low - margin, high + margin))
    return Breaks((np.unique(np.concatenate(found)),))


def _along_line(distribution: Target) -> Callable[[Array], Array]:
    """Return the log-density of one coordinate as a function of arrays (n,)."""
    return lambda x: distribution.log_density(x[:, None])


def searches_breaks(problem: Problem) -> bool:
    """Return whether breaks of target or start are searched for, and not named."""
    return any(_is_function(each) for each in (*problem.places, problem.start))


def _is_function(distribution: Target) -> bool:
    """Return whether the breaks of a distribution are not all known, as those of a Python function."""
    return not is_of_package(distribution) and not (
        isinstance(distribution, Potential) and not callable(distribution.V)
    )


def breaks_of(problem: Problem, lower: Array, upper: Array) -> Breaks:
    """Find the breaks of target and start in a box: those that they name, and those of functions that name none."""
    total = Breaks.none(len(lower))
    for distribution in sorted((*problem.places, problem.start), key=_is_function):  # those that name theirs first
        total = total | _others(_breaks(distribution, lower, upper), total, upper - lower)
    return total


def _others(found: Breaks, known: Breaks, lengths: Array, same: float = SAME_PLACE) -> Breaks:
    """Leave out of the breaks found those that are known: a kink of both is found of each a little elsewhere."""
    apart = [
        own[np.all(np.abs(own[:, None] - other) > same * length, axis=1) | np.isin(own, other)]
        for own, other, length in zip(found.places, known.places, lengths, strict=True)
    ]
    return Breaks(tuple(apart), found.elsewhere)


def _breaks(distribution: Target, lower: Array, upper: Array) -> Breaks:
    known = distribution.breaks(lower, upper)
    if not _is_function(distribution) or len(lower) > MOST_SEARCHED:
        return known
    if len(lower) == 1:
        places = find_kinks(_along_line(distribution), float(lower[0]), float(upper[0]))
        found = Breaks((places,))
    else:
        bulk = _in_the_bulk(distribution, lower, upper)
        found = Breaks(*find_hyperplanes(distribution.log_density, lower, upper, bulk))
    return known | _others(found, known, upper - lower, NAMED_PLACE)


def _in_the_bulk(distribution: Target, lower: Array, upper: Array) -> Array:
    """Return some places (m, d) of a box where a distribution has mass, as far as a few looks tell."""
    shares = np.random.default_rng(0).uniform(0.02, 0.98, (BULK_LOOKS, len(lower)))
    points = lower + shares * (upper - lower)
    with np.errstate(all="ignore"):
        heights = np.nan_to_num(distribution.log_density(points), nan=-np.inf, posinf=-np.inf)
    best = np.argsort(-heights)[: 4 * LINES]
    best = best[heights[best] > heights.max() - BULK] if len(best) else best
    return points[best[:: max(1, len(best) // LINES)][:LINES]]


def look_at(problem: Problem, grid: Grid, cells: GridFamily, breaks: Breaks) -> Look:
    """Look at V, and the log-density of the start, between the centres of a grid, but at breaks and singular walls.

    V of a target that moves is looked at at three times. Each is looked at where the other has its mass, too.
    """
    start = np.asarray(grid.evaluate(problem.start.log_density))
    seen, passed = [], WITHIN
    for place in problem.places:
        potential = -np.asarray(grid.evaluate(place.log_density))
        there = _passed(potential, start)
        if problem.ceilings is not None:  # a slope that is passed in no time is judged by what is left in the equation
            there = 0.0
        seen.append(_look_at_one(place, grid, cells, cells.walls, breaks, max(WITHIN, there + ABOVE)))
        passed = max(passed, _passed(-start, -potential) + ABOVE)  # where the target has its mass
    if not isinstance(problem.start, Gaussian):  # a quadratic is what its centres suggest, to the last bit
        walls = {**cells.walls, **cells.start_walls}
        seen.append(_look_at_one(problem.start, grid, cells, walls, breaks, passed))
    return both(*seen)


def _passed(potential: Array, log_density: Array) -> float:
    """Return by how many nats V rises above its least where a density is within its bulk."""
    there = potential[log_density > log_density.max() - BULK]
    return float(there[np.isfinite(there)].max(initial=-math.inf)) - float(potential[np.isfinite(potential)].min())


def _look_at_one(
    distribution: Target, grid: Grid, cells: GridFamily, walls: Walls, breaks: Breaks, within: float
) -> Look:
    evaluations = KNOWN_FAMILY.get(grid.ndim, 200_000) if is_of_package(distribution) else None
    smooth = without_walls(distribution, walls, grid)
    if smooth is not distribution:
        distribution = smooth
    elif isinstance(distribution, Potential) and callable(distribution.V) and breaks:
        given = [place.tolist() for place in breaks.places]
        named = given[0] if grid.ndim == 1 else given
        distribution = Potential(distribution.V, distribution.ndim, of=distribution.of, breaks=named)
    return look(distribution, grid, within=within, evaluations=evaluations)


def _in_spans(spans: Array) -> Array:
    """Return evenly spaced places in some intervals."""
    return np.concatenate([np.empty(0), *(np.linspace(low, high, INSIDE) for low, high in spans[:MOST_FEATURES])])


def _inside(seen: Look) -> Array:
    """Return the places in what was found, (m, d)."""
    if len(seen.lower[0]) == 1:
        spans = hidden_features(seen)[0]
        return np.concatenate([_in_spans(spans), np.atleast_1d(seen.where)])[:, None]  # type: ignore[arg-type]
    middles = 0.5 * (seen.lower + seen.upper)[:MOST_FEATURES]
    return np.concatenate([middles, np.asarray(seen.where)[None]])
