"""What a log-density does between the points of quadrature in a cell: bumps that pass as smooth, and their mass.

`hidden_features` lets half a nat pass, as smooth potentials depart by that from what few centres suggest. So narrow
bumps of less are looked for here. In every cell the polynomials through the points of two rules of Gauss are held
against the log-density at many more places. What is smooth departs from the better one by no more than the two differ;
a bump between the points departs by its height, and both polynomials know nothing of it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.gauss_rules import gauss, lagrange
from wfr_pde.numerics.typing import Array, Ints, Mask
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target
from wfr_pde.targets.enclosures import EPS, enclosure
from wfr_pde.targets.families import is_of_package
from wfr_pde.targets.potential import Potential
from wfr_pde.truth.certified.grids.grid_family import GridFamily, Walls
from wfr_pde.truth.certified.grids.hidden_features import GOLDEN, low_discrepancy
from wfr_pde.truth.certified.grids.narrow_spans import AlongLine, departures_by_bounds, spans_of_places
from wfr_pde.truth.certified.grids.singular_walls import without_walls
from wfr_pde.truth.certified.problem import Problem

POINTS = {1: 8, 2: 6}  # of the smaller one of the two rules, along every axis, by the number of dimensions
PLACES = {1: 2**18, 2: 2**19}  # in all cells together: more find narrower bumps and cost time
FEWER_PLACES = 2**15  # on a line on which bounds of slopes tell the rest
PER_CELL = {1: (64, 2**13), 2: (16, 2**10)}  # fewest and most places in a cell
AT_ONCE = 2**18  # places evaluated together; no number depends on it
ROUNDING = 64 * EPS  # of the largest V in a cell: what V may differ by for rounding alone
NATS = 40.0  # that a departure counts at most: beyond, all of a cell's mass is in doubt
STEEP = 3.0  # by which a density may be above its mean over a cell where a bump is
PADDING = 2  # places beyond either end of a cell, for differences of order four
BESIDE_WALL = 2  # cells beside a wall where log-densities are infinite
MATTERS = 40.0  # nats below the top of a density, of cells that count
LINES, BOXES_ON_LINES = 8, 2**11  # along either axis of the plane, and boxes on each
DEVIATIONS = 3.0  # standard ones, of the number of places in the plane that meet something
RESOLVED = 0.1  # of the tolerance: departures that get finer cells
LARGEST = 700.0  # of a logarithm, that its exponential does not overflow
SHARES = np.linspace(0.0, 1.0, 11)  # of the start in what a reaction makes of it
LOWEST = -1e300  # nats, for what is not finite


@dataclass(frozen=True, eq=False)
class Departures:
    """What a log-density does between the points of quadrature; made by `departures_between`.

    Attributes
    ----------
    shares : array of the shape of the grid
        By how much the mass of every cell, or its resistance, the integral of e^V, changes there, as a share of it.
    spans : array (m, 2)
        On one axis, intervals that hold bumps which are narrower than the points stand apart, and change mass or
        resistance of a cell by more than a tenth of the tolerance.
    places : int
        Where it was looked at.
    """

    shares: Array
    spans: Array
    places: int = 0


@dataclass(frozen=True, eq=False)
class Bumps:
    """What target and start of a problem do between the points of quadrature; made by `bumps`.

    Attributes
    ----------
    of_target, of_start : arrays of the shape of the grid
        Shares by which the mass, or the resistance, of every cell changes.
    spans : array (m, 2)
        On one axis, intervals that want finer cells.
    places : int
        Where they were looked at.
    """

    of_target: Array
    of_start: Array
    spans: Array
    places: int = 0


def bumps(problem: Problem, cells: GridFamily) -> Bumps:
    """Find what target and start do between the points of quadrature in cells that matter, but at singular walls.

    Formulas of this package have known scales, and are not looked at. A target that moves is looked at at three times.
    """
    grid = cells.grid(1)
    users = [one for one in (*problem.places, problem.start) if not is_of_package(one)]
    shares, spans, places = {True: np.zeros(grid.shape), False: np.zeros(grid.shape)}, [np.empty((0, 2))], 0
    if grid.ndim not in POINTS or not users:
        return Bumps(shares[False], shares[True], spans[0])
    counted = _between_bulks(problem, grid)
    for one in users:
        of_start = one is problem.start
        walls = {**cells.walls, **cells.start_walls} if of_start else cells.walls
        found = departures_between(one, grid, problem.rtol, counted, walls)
        shares[of_start] = np.maximum(shares[of_start], found.shares)
        spans.append(found.spans)
        places += found.places
    return Bumps(shares[False], shares[True], np.concatenate(spans), places)


def _between_bulks(problem: Problem, grid: Grid) -> Mask:
    """Return a mask of the smallest box that holds the masses of start, targets, and what a reaction makes of them."""
    start, *places = (
        np.nan_to_num(np.asarray(grid.evaluate(one.log_density)), nan=LOWEST, neginf=LOWEST, posinf=LOWEST)
        for one in (problem.start, *problem.places)
    )
    counted = np.zeros(grid.shape, dtype=bool)
    for place, share in itertools.product(places, SHARES):
        heights = share * start + (1 - share) * place
        counted |= heights > heights.max() - MATTERS
    where = np.argwhere(counted)
    box = tuple(slice(low, high + 1) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    counted[box] = True
    return counted


def departures_between(
    distribution: Target, grid: Grid, rtol: float, counted: Mask, walls: Walls | None = None
) -> Departures:
    """Find departures of a log-density from the polynomials through the points of quadrature, cell by cell.

    Parameters
    ----------
    distribution : Target
        That does not move.
    grid : Grid
        Of one or two axes; with more nothing is looked at.
    rtol : float
        What changes a cell by more than a tenth of that gets a span.
    counted : array of bool of the shape of the grid
        Cells that count.
    walls : dict, optional
        Walls where the log-density is infinite, as `GridFamily` has them. What is told by bounds of slopes leaves out
        the cells nearest to them.
    """
    cells = np.argwhere(counted)
    if grid.ndim not in POINTS or not len(cells):
        return Departures(np.zeros(grid.shape), np.empty((0, 2)))
    places = FEWER_PLACES if grid.ndim == 1 and _is_text(distribution) else PLACES[grid.ndim]
    each = int(np.clip(places // len(cells), *PER_CELL[grid.ndim]))
    if grid.ndim == 1:
        return _on_the_line(distribution, grid, rtol, cells[:, 0], each, walls or {})
    return _in_the_plane(distribution, grid, cells, each, walls or {})


def _off_singular_walls(grid: Grid) -> Mask:
    """Return a mask of the cells that are not beside a wall where log-densities are infinite."""
    inside = np.ones(grid.shape, dtype=bool)
    for k, axis in enumerate(grid.axes):
        along = np.ones(axis.n, dtype=bool)
        along[: BESIDE_WALL if axis.roots[0] != 1 else 0] = False
        along[axis.n - (BESIDE_WALL if axis.roots[1] != 1 else 0) :] = False
        inside &= along.reshape([-1 if i == k else 1 for i in range(grid.ndim)])
    return inside


def _is_text(distribution: Target) -> bool:
    """Return whether V is an expression, of which there are bounds on boxes."""
    return isinstance(distribution, Potential) and isinstance(distribution.V, str)


def _potential(distribution: Target, points: Array) -> Array:
    with np.errstate(all="ignore"):
        return -np.asarray(distribution.log_density(points), dtype=np.float64)


def _apart(v: Array, better: Array, worse: Array) -> tuple[Array, Array]:
    """Return departures (n, m) of V beyond those of smooth functions, and the shares (n,) that they change.

    They are departures from the better polynomial, and shares of the mass, or, if that is more, of the resistance, the
    integral of e^V. Cells in which a point of a rule is not finite have none: there the rules differ.
    """
    with np.errstate(all="ignore"):
        size = np.where(np.isfinite(v), np.abs(v), 0.0).max(axis=1, keepdims=True)
        smooth = np.abs(better - worse).max(axis=1, keepdims=True)
        departures = np.abs(v - better) - smooth - ROUNDING * size
        known = np.isfinite(better).all(axis=1, keepdims=True)
        departures = np.where(known & (departures > 0), np.minimum(departures, NATS), 0.0)
        shares = np.maximum(_share(v, better, departures > 0), _share(-v, -better, departures > 0))
    return departures, shares


def _share(v: Array, expected_v: Array, departs: Mask) -> Array:
    """Return by how much the integral of e^-v differs (n,) where it departs, as a share of the greater one."""
    lowest = np.fmin(v, expected_v).min(axis=1, keepdims=True)
    found, expected = (np.exp(np.maximum(lowest - one, -LARGEST)) for one in (v, expected_v))
    apart = np.where(departs, np.abs(found - expected), 0.0).mean(axis=1)
    return np.nan_to_num(apart / np.maximum(found, expected).mean(axis=1))


def _on_the_line(distribution: Target, grid: Grid, rtol: float, cells: Ints, each: int, walls: Walls) -> Departures:
    axis, shares = grid.axes[0], np.zeros(grid.shape)
    smooth = without_walls(distribution, walls, grid)
    fractions = (np.arange(-PADDING, each + PADDING) + 0.5) / each
    inside = slice(PADDING, PADDING + each)
    rules = [gauss(POINTS[1] + 1)[0], gauss(POINTS[1])[0]]
    to_places = [lagrange(nodes, fractions[inside]).T for nodes in rules]
    spans = [np.empty((0, 2))]
    rows = max(1, AT_ONCE // each)
    for first in range(0, len(cells), rows):
        check_deadline()
        some = cells[first : first + rows]
        low, width = axis.edges[some][:, None], np.diff(axis.edges)[some][:, None]
        at_nodes = [_potential(smooth, (low + width * nodes)[..., None]) for nodes in rules]
        x = np.clip(low + width * fractions, axis.edges[0], axis.edges[-1])
        v = _potential(smooth, x[..., None])
        with np.errstate(all="ignore"):
            better, worse = (values @ weights for values, weights in zip(at_nodes, to_places, strict=True))
        departures, shares[some] = _apart(v[:, inside], better, worse)
        beyond = departures.mean(axis=1) > RESOLVED * rtol
        spans.append(spans_of_places(x[beyond], _beside_own(axis, some[beyond], v[beyond])))
    places = len(cells)
    if _is_text(distribution):
        cells = cells[_off_singular_walls(grid)[cells]]
        number, nats, more = departures_by_bounds(enclosure(distribution.V, 1), axis, cells)  # type: ignore[attr-defined]
        shares[cells[number]] = np.maximum(shares[cells[number]], STEEP * nats)
        spans.append(more[nats > RESOLVED * rtol])
    return Departures(shares, np.concatenate(spans), each * places)


def _beside_own(axis: Axis, cells: Ints, v: Array) -> Array:
    """Return V at the places of some cells, nan in the padding that lies beyond a wall or a joint."""
    ends = {0, axis.n, *axis.joints}
    v = v.copy()
    v[np.isin(cells, list(ends)), :PADDING] = np.nan
    v[np.isin(cells + 1, list(ends)), -PADDING:] = np.nan
    return v


def _in_the_plane(distribution: Target, grid: Grid, cells: Ints, each: int, walls: Walls) -> Departures:
    smooth = without_walls(distribution, walls, grid)
    shares, unit, hits = np.zeros(grid.shape), low_discrepancy(each, 2), 0
    rules = [gauss(POINTS[2] + 1)[0], gauss(POINTS[2])[0]]
    rows = max(1, AT_ONCE // each)
    for first in range(0, len(cells), rows):
        check_deadline()
        some = cells[first : first + rows]
        low = np.stack([axis.edges[some[:, k]] for k, axis in enumerate(grid.axes)], axis=-1)
        width = np.stack([np.diff(axis.edges)[some[:, k]] for k, axis in enumerate(grid.axes)], axis=-1)
        fractions = (unit + GOLDEN * (first + np.arange(len(some))[:, None, None] + 1) * np.sqrt([1.0, 2.0])) % 1.0
        v = _potential(smooth, low[:, None] + fractions * width[:, None])
        better, worse = (_interpolated(smooth, low, width, nodes, fractions) for nodes in rules)
        departures, shares[tuple(some.T)] = _apart(v, better, worse)
        hits += int((departures > 0).sum())
    shares *= 1 + DEVIATIONS / max(hits, 1) ** 0.5
    if _is_text(distribution):
        shares = np.maximum(shares, _on_lines(distribution, grid, cells) * _off_singular_walls(grid))
    return Departures(shares, np.empty((0, 2)), each * len(cells))


def _on_lines(distribution: Target, grid: Grid, cells: Ints) -> Array:
    """Return shares by bounds of the slope of an expression on lines along both axes, the nearest for every cell.

    A ridge, or a kink that is no edge, is met by lines, however narrow it is.
    """
    bounded, shares = enclosure(distribution.V, 2), np.zeros(grid.shape)  # type: ignore[attr-defined]
    first, last = cells.min(axis=0), cells.max(axis=0)
    for k, axis in enumerate(grid.axes):
        across, along = grid.axes[1 - k], np.arange(first[k], last[k] + 1)
        rows = np.arange(first[1 - k], last[1 - k] + 1)
        lines = np.unique(rows[((np.arange(LINES) + 0.5) / LINES * len(rows)).astype(int)])
        found = np.zeros((len(lines), axis.n))
        for number, row in enumerate(lines.tolist()):
            place = np.full(
                2, across.edges[row] + (across.edges[row + 1] - across.edges[row]) * (GOLDEN * (row + 1) % 1.0)
            )
            numbers, nats, _ = departures_by_bounds(AlongLine(bounded, k, place), axis, along, BOXES_ON_LINES)
            found[number, along[numbers]] = STEEP * nats
        nearest = np.abs(rows[:, None] - lines).argmin(axis=1)
        of_rows = found[nearest]
        window = (slice(first[1 - k], last[1 - k] + 1), slice(None))
        own = shares.T if k == 0 else shares
        own[window] = np.maximum(own[window], of_rows)
    return shares


def _interpolated(distribution: Target, low: Array, width: Array, nodes: Array, fractions: Array) -> Array:
    """Interpolate V to fractions (n, m, 2) of some cells by the polynomial through the nodes in each."""
    n = len(nodes)
    places = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    values = _potential(distribution, low[:, None] + places * width[:, None]).reshape(-1, n, n)
    across, along = (lagrange(nodes, fractions[..., k]) for k in range(2))
    with np.errstate(all="ignore"):
        return np.asarray(((across @ values) * along).sum(axis=-1))
