"""The family of grids to begin with: numbers of cells, gradings and segments by the local scales of a problem."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import UnevenCellsError
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.space.panels import shared_out
from wfr_pde.targets.base import Target
from wfr_pde.truth.certified.grids.grid_family import FEWEST_IN_SEGMENT, GridFamily, Segment
from wfr_pde.truth.certified.grids.one_sided_scores import FromOneSide
from wfr_pde.truth.certified.grids.singular_walls import (
    WithoutWalls,
    error_powers,
    map_power,
    most_power,
    wall_exponents,
)
from wfr_pde.truth.certified.problem import Problem

FEWEST_CELLS = 20  # so that the coarsest grid has enough for the interpolation
CELLS_PER_SCALE = 2.0  # with the ratio one: fewer are made up for by refinement, more may be in vain
LOOSE = 3e-4  # on one axis, where tolerances are tighter than that
FEWER_PER_SCALE, TIGHT = 1.25, 1e-6  # in space, where tolerances are looser than that
GRADED_FROM = 2.5  # times fewer cells for which an axis is graded; else equal cells are kept
SAME_BREAK = 1e-12  # of the length of an axis: breaks closer to each other, or to a wall, are one
GROWTH = 0.1  # of the width of cells with the distance from a short segment: 10 % per cell keeps the map smooth
SHARPNESS = 8  # of the mean of the density of points and what a short segment, or a break, needs
LAYER = 5e-3  # scale beside a break of log(mu/pi), over that of the density around, at most
SLOPE_ROUNDING = 1e-11  # of log(mu/pi), over the width of a cell: what slopes beside a break have of rounding
RELAXED = 0.1  # of the square of a box over the transport rate: after that time nothing adds up
UNKNOWN_BEND = 1.0  # nats per scale and scale, where the target moves
SAME_FLUX, SAME_VALUE = 1e-3, 1e-6  # relative difference, and nats, below which there is no break of it
SAME_SLOPE = 1e-2  # nats per length of the box that do not count either
PROBES = 400  # places where it is looked for the mass of the start: more cost time only
BESIDE = 1e-6  # of the box: how far from a break its sides are looked at
LEAST_LAYER = 1e-7  # the same, over the shorter of the segments that meet there
LAYER_GROWTH = 0.4  # of that scale with the distance from the break


def cells_for(
    problem: Problem,
    box: tuple[Array, Array],
    options: dict[str, Any],
    breaks: Sequence[ArrayLike] | None = None,
    real_walls: bool = False,
    features: Array | None = None,
) -> GridFamily:
    """Choose numbers of cells and gradings by the local scales of target and start.

    Parameters
    ----------
    problem : Problem
    box : pair of arrays (d,)
    options : dict
        Of `Grid`.
    breaks : sequence of d arrays, optional
        Places of kinks and jumps of V (or of the start) along every axis: edges of cells on all grids, as joints. Those
        in walls, or outside the box, do not count.
    real_walls : bool
        Whether the walls of the box are part of the problem. Then those where the density of target or start is a
        power of the distance get cells in a root of the distance, see `walls`.
    features : array (m, d), optional
        Places where target and start have to be resolved, besides those where they have their mass.
    """
    lower, upper = (np.asarray(end, dtype=np.float64) for end in box)
    d = len(lower)
    boundary = np.broadcast_to(options.get("boundary", "no-flux"), (d,))
    periodic = [kind == "periodic" for kind in boundary]
    ours, theirs = np.ones((d, 2)), np.ones((d, 2))
    if real_walls:
        ours, theirs = (_exponents(d_, lower, upper, periodic) for d_ in (problem.places, [problem.start]))
    distributions = _looked_at(problem, lower, upper, ours, theirs, breaks)
    densities = _point_densities(problem, distributions, lower, upper, periodic, features)
    axes = []
    for k, density in enumerate(densities):
        places = _breaks_inside(float(lower[k]), float(upper[k]), () if breaks is None else breaks[k])
        axes.append(_cells_along(problem, lower, upper, k, density, places, (ours[k], theirs[k])))
    singular = [(k, side) for k in range(d) for side in (0, 1) if ours[k, side] != 1 or theirs[k, side] != 1]
    walls = {(k, side): (float(ours[k, side]), axes[k].powers[side]) for k, side in singular}
    start_walls = {(k, side): (float(theirs[k, side]), axes[k].powers[side]) for k, side in singular}
    return GridFamily(
        lower,
        upper,
        tuple(axis.count for axis in axes),
        tuple(axis.grading for axis in axes),
        options,
        real_walls,
        tuple(axis.segments for axis in axes),
        walls,
        start_walls,
        error_powers([*walls.values(), *start_walls.values()]),
    )


def _looked_at(
    problem: Problem, lower: Array, upper: Array, ours: Array, theirs: Array, breaks: Sequence[ArrayLike] | None
) -> list[Target]:
    """Return the targets and, last, the start, without singular walls, and with scores from one side of breaks."""
    distributions = [
        *(_without_walls(place, ours, lower, upper) for place in problem.places),
        _without_walls(problem.start, theirs, lower, upper),
    ]
    if breaks is None or not any(np.size(places) for places in breaks):
        return distributions
    return [FromOneSide(one, breaks, lower, upper) if one.score_by_differences else one for one in distributions]


def _point_densities(
    problem: Problem,
    distributions: list[Target],
    lower: Array,
    upper: Array,
    periodic: list[bool],
    features: Array | None,
) -> Sequence[Callable[[Array], Array]]:
    """Make densities of points along the axes, also for what mass passes on its way if few cells can follow those."""
    passes = problem.alpha > 0 and problem.ceilings is None  # a slope that a ceiling may cap is passed in no time
    passed = [(distributions[-1], place) for place in distributions[:-1]] if passes else []
    shown = [] if features is None else [(one, features) for one in distributions]
    densities = densities_of_points(distributions, lower, upper, periodic, passed, shown)
    if passed and not all(
        _can_be_graded(*axis) for axis in zip(lower.tolist(), upper.tolist(), densities, strict=True)
    ):
        densities = densities_of_points(distributions, lower, upper, periodic, (), shown)
    return densities


@dataclass(frozen=True)
class _AxisCells:
    """What `GridFamily` takes of one axis, and the powers of the maps at its walls."""

    count: int
    grading: Callable[[Array], Array] | None
    segments: tuple[Segment, ...]
    powers: list[float]


def _cells_along(
    problem: Problem,
    lower: Array,
    upper: Array,
    k: int,
    density: Callable[[Array], Array],
    places: list[float],
    exponents: tuple[Array, Array],
) -> _AxisCells:
    """Choose number of cells, grading and segments of axis k, with breaks at `places`, by its density of points.

    The axis is graded where that saves cells. Exponents (2,) are those at its walls, of the target and of the start.
    """
    low, high = float(lower[k]), float(upper[k])
    axis = _graded(low, high, density)
    at_centres = density(axis.centres)
    graded, uniform = axis.n * axis.widths[0] * at_centres[0], (high - low) * at_centres.max()
    worth_it = uniform > GRADED_FROM * graded
    shares = graded if worth_it else uniform
    limits = [most_power(wall, high - low) for wall in (low, high)]
    powers = [map_power(exponents[0][side], exponents[1][side], largest=limits[side]) for side in (0, 1)]
    segments: tuple[Segment, ...] = ()
    if len(places) or powers != [1.0, 1.0]:
        own = density if worth_it else _constant(float(at_centres.max()))
        scales = (1 / own(np.array(places))).tolist() if places else []
        segments = _segments(low, high, places, own, powers, _layers(problem, lower, upper, k, places, scales))
        shares = sum(part.share() for part in segments)
    wanted = _cells_per_scale(len(lower), problem.rtol) * shares
    count = 4 * max(FEWEST_CELLS // 4, math.ceil(wanted / 4))
    return _AxisCells(count, density if worth_it else None, segments, powers)


def _cells_per_scale(d: int, rtol: float) -> float:
    """Return the number of cells per local scale to begin with.

    On one axis by the order 8 in dx, as another attempt costs more than they do; in three dimensions, where they are
    dear, as the tenth root of the tolerance.
    """
    if d == 1:
        return CELLS_PER_SCALE * max(1.0, (LOOSE / rtol) ** (1 / 8))
    if d == 2:
        return CELLS_PER_SCALE
    return max(FEWER_PER_SCALE, CELLS_PER_SCALE * min(1.0, (TIGHT / rtol) ** 0.1))


def _can_be_graded(lower: float, upper: float, density: Callable[[Array], Array]) -> bool:
    """Return whether few cells can follow a density of points."""
    try:
        _graded(lower, upper, density)
    except ValueError:
        return False
    return True


def _graded(lower: float, upper: float, density: Callable[[Array], Array]) -> Axis:
    """Return an axis that follows a density of points, with few cells if it can."""
    try:
        return Axis.graded("x", lower, upper, 256, density)
    except UnevenCellsError:
        return Axis.graded("x", lower, upper, 1024, density)


def _exponents(distributions: Sequence[Target], lower: Array, upper: Array, periodic: Sequence[bool]) -> Array:
    """Return the `wall_exponents` (d, 2) that all distributions have; 1 where they differ, or without a wall."""
    found = np.array([wall_exponents(distribution, lower, upper) for distribution in distributions])
    same = np.ptp(found, axis=0) <= 1e-3
    return np.where(same & ~np.array(periodic)[:, None], found[0], 1.0)


def _without_walls(distribution: Target, exponents: Array, lower: Array, upper: Array) -> Target:
    return distribution if np.all(exponents == 1) else WithoutWalls(distribution, exponents, lower, upper)


def _breaks_inside(lower: float, upper: float, places: ArrayLike) -> list[float]:
    """Sort the different places between the walls."""
    least, found = SAME_BREAK * (upper - lower), [lower]
    for place in np.sort(np.ravel(np.asarray(places, dtype=np.float64))).tolist():
        if found[-1] + least < place < upper - least:
            found.append(place)
    return found[1:]


def _constant(value: float) -> Callable[[Array], Array]:
    return lambda x: np.full(np.shape(x), value)


def _segments(
    lower: float,
    upper: float,
    breaks: Sequence[float],
    density: Callable[[Array], Array],
    powers: Sequence[float],
    layers: Mapping[float, float],
) -> tuple[Segment, ...]:
    """Cut an axis into segments, with more points in those that would have too few cells.

    It is raised beside breaks with `layers`, too, up to one over the smallest scale.
    """
    ends = [lower, *breaks, upper]
    if len(ends) == 2 and 1.0 not in powers:
        ends.insert(1, 0.5 * (lower + upper))  # a segment has one singular wall at most
    density = _enough_in_all(ends, density)
    if layers:
        density = _towards(layers, ends, density)
    reach = [1 / float(density(np.array([wall]))[0]) for wall in (lower, upper)]
    parts = []
    for a, b in itertools.pairwise(ends):
        side = 0 if a == lower and powers[0] != 1 else 1 if b == upper and powers[1] != 1 else None
        if side is None:
            parts.append(Segment(a, b, density))
        else:
            parts.append(Segment(a, b, density, powers[side], reach[side], upper_wall=side == 1))
    return tuple(parts)


def _layers(
    problem: Problem, lower: Array, upper: Array, axis: int, places: Sequence[float], scales: Sequence[float]
) -> dict[float, float]:
    """Return the breaks that the transport rounds off over a growing width, and the scales there: {place: scale}.

    At the start log(mu/pi) has a jump there, or its slope has one, beyond what leaves the flux mu grad log(mu/pi) the
    same. While the layer is in one cell, of the width x in units of the scale around, it misplaces the mass in a scale
    times x and the jump, or times x² and the jump of the slope. Rounding misplaces alpha t / x times what slopes have
    of it; x makes both the same, or is `LAYER` if that is less. It is looked at where target and start have most of
    their geometric mean; where the target moves, breaks are taken to have kinks.
    """
    if problem.alpha == 0 or not places:
        return {}
    gaps = np.diff([lower[axis], *places, upper[axis]])
    distance = min(BESIDE * float(gaps.sum()), 0.1 * float(gaps.min()))
    others = np.random.default_rng(0).uniform(lower, upper, (PROBES, len(lower)))
    highest = float(np.nanmax(problem.start.log_density(others)))
    time = problem.alpha * float(problem.times[-1] - problem.times[0])
    time = min(time, RELAXED * float(gaps.sum()) ** 2)
    found = {}
    for place, scale in zip(places, scales, strict=True):
        rounding = SLOPE_ROUNDING * time / scale**2
        mass, jump, bend = 1.0, 0.0, UNKNOWN_BEND
        if not problem.target.moving:
            points = np.repeat(others[:, None], 4, axis=1)
            points[..., axis] = place + distance * np.array([-2.0, -1.0, 1.0, 2.0])
            log_mu, log_pi = (one.log_density(points) for one in (problem.start, problem.target))
            heights = log_mu[:, 1:3].max(axis=1) + log_pi[:, 1:3].max(axis=1)
            if not np.isfinite(heights).any():
                continue
            k = int(np.nanargmax(heights))
            mass = math.exp(min(max(float(log_mu[k].max()) - highest, -100.0), 0.0))
            small = SAME_SLOPE * distance / float(gaps.sum())
            jump, bend = _break(log_mu[k], log_mu[k] - log_pi[k], small)
            bend *= scale / distance
        amount, power = (mass * min(jump, 1.0), 1 / 2) if jump > 0 else (mass * min(bend, 1.0), 1 / 3)
        if amount > 0:
            found[place] = scale * min((rounding / amount) ** power, LAYER)
    return found


def _break(log_mu: Array, g: Array, small: float) -> tuple[float, float]:
    """Return the jump of g between the second and the third of four places, and the jump of its slope.

    Zero for what is no more than noise, and for slopes with which mu g' is the same. What is `small`, in nats from
    place to place, is no slope.
    """
    before, after = g[1] - g[0], g[3] - g[2]
    jump = abs((g[2] - after) - (g[1] + before))
    noise = 16 * np.finfo(float).eps * float(np.abs([*log_mu, *g]).max())
    density = np.exp(log_mu[1:3] - log_mu[1:3].max())
    apart = abs(density[1] * after - density[0] * before)
    same = apart <= SAME_FLUX * max(abs(before), abs(after)) + small + 2 * noise
    return float(jump if jump > SAME_VALUE + noise else 0.0), 0.0 if same else float(apart)


def _towards(
    layers: Mapping[float, float], ends: Sequence[float], density: Callable[[Array], Array]
) -> Callable[[Array], Array]:
    """Raise a density of points beside breaks, on scales from a small one that grow with the distance."""
    smallest = []
    for place, scale in layers.items():
        shorter = np.diff(ends)[[ends.index(place) - 1, ends.index(place)]].min()
        smallest.append(max(scale, LEAST_LAYER * shorter))

    def raised(x: Array) -> Array:
        values = density(x) ** SHARPNESS
        for place, scale in zip(layers, smallest, strict=True):
            values = values + (scale + LAYER_GROWTH * np.abs(x - place)) ** -SHARPNESS
        return np.asarray(values ** (1 / SHARPNESS))

    return raised


def _enough_in_all(ends: Sequence[float], density: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Raise a density of points in and around segments that would have fewer cells than `FEWEST_IN_SEGMENT`."""
    shares = CELLS_PER_SCALE * shared_out(density, ends)
    short = [pair for pair, share in zip(itertools.pairwise(ends), shares, strict=True) if share < FEWEST_IN_SEGMENT]
    if not short:
        return density

    def raised(x: Array) -> Array:
        values = density(x) ** SHARPNESS
        for a, b in short:
            check_deadline()
            distance = np.maximum(np.maximum(a - x, x - b), 0.0)
            width = (b - a) / FEWEST_IN_SEGMENT + GROWTH * distance
            values = values + (CELLS_PER_SCALE * width) ** -SHARPNESS
        return np.asarray(values ** (1 / SHARPNESS))

    return raised
