"""What KL has beyond the widest box: by how it falls at the end, and by a look at places far out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wfr_pde.integrate.spline_errors import largest_around
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.evidence.differences import missed_by_sums
from wfr_pde.truth.certified.problem import Problem

FAR = np.concatenate([[0.0], np.geomspace(1e-2, 2.0**30, 600)])  # lengths of an axis beyond it
# through a side of the box along its axis, about, and from the centre: more find more, and cost time
LINES, RAYS = 100, 100
LARGEST = 700.0  # of a logarithm, that its exponential does not overflow
FLATTEST = 1.0  # nats over the length of an axis, by which a density falls at least towards an edge
NOTHING = 1e-20  # of a sum of masses: where less than that is left at the end of a margin, nothing is said of its fall


def beyond_margin(grid: Grid, window: tuple[slice, ...], values: Array, centres: Sequence[Array]) -> float:
    """Estimate the sum of something positive beyond a grid, by how it falls in the outer margin of the grid.

    Along every axis and side what lies in the inner and in the outer half of the margin is compared. If its density
    falls there as a power p of the distance from the nearest centre, then beyond the margin there is at most what the
    same power leaves, (density at the end) (distance) / (p - 1): more than what falls ever faster, as tails of
    exponentials and Gaussians do, leaves. It is infinite where p is no larger than 1.

    Parameters
    ----------
    grid : Grid
    window : tuple of slices
        Cells that are no margin.
    values : array of shape grid.shape
        Masses of the cells, not negative.
    centres : sequence of arrays (d,)
        Where the bulks are.

    Returns
    -------
    float
    """
    total = 0.0
    for k, (axis, inner) in enumerate(zip(grid.axes, window, strict=True)):
        along = values.sum(axis=tuple(i for i in range(grid.ndim) if i != k))
        total += _beyond_end(axis, np.arange(inner.start), -1.0, along, [-float(c[k]) for c in centres])
        total += _beyond_end(axis, np.arange(inner.stop, axis.n), 1.0, along, [float(c[k]) for c in centres])
    return total


def beyond_edges(grid: Grid, log_density: Array) -> Array:
    """Bound the masses beyond the walls of a grid by the fall inside: an array that is zero but for cells at walls.

    Where the logarithm of the density is concave, beyond an edge there is at most what its slope between the last two
    centres makes of it, however steep it gets: e^(value at the edge) / slope. Sums over cells outside see less of what
    falls by many nats within one.
    """
    log_masses = log_density + np.asarray(grid.log_cell_volume)
    found = np.zeros(grid.shape)
    for k, axis in enumerate(grid.axes):
        if axis.periodic or axis.n < 2:
            continue
        lines, masses, beyond = (np.moveaxis(one, k, 0) for one in (log_density, log_masses, found))
        for last, before, edge in ((0, 1, 0), (-1, -2, -1)):
            slope = (lines[before] - lines[last]) / abs(float(axis.centres[last] - axis.centres[before]))
            fall = np.maximum(slope, FLATTEST / axis.length)
            to_edge = abs(float(axis.edges[edge] - axis.centres[last]))
            per_width = np.exp(np.minimum(masses[last] - fall * to_edge, 0.0)) / float(axis.widths[last])
            beyond[last] += np.where(slope > 0, per_width / fall, 0.0)
    return found


def _beyond_end(axis: Axis, cells: Array, sign: float, values: Array, centres: Sequence[float]) -> float:
    """Estimate what is beyond the upper end of an axis, or with sign -1 the lower one, by `cells` of the margin."""
    if len(cells) < 2:
        return 0.0
    end = sign * float(axis.edges[-1 if sign > 0 else 0])
    centre = max((c for c in centres if c < end), default=end)
    places, widths = sign * axis.centres[cells], axis.widths[cells]
    outer = places > 0.5 * (places.min() + places.max())
    (far, there), (near, here) = (
        (float(np.average(places[part], weights=widths[part])), float(values[cells[part]].sum() / widths[part].sum()))
        for part in (outer, ~outer)
    )
    if not there * (end - centre) > NOTHING:
        return 0.0
    if near <= centre or not 0 < there < here:
        return math.inf
    power = math.log(here / there) / math.log((far - centre) / (near - centre))
    at_end = there * ((far - centre) / (end - centre)) ** power
    return at_end * (end - centre) / (power - 1) if power > 1 else math.inf


class FarOut:
    """Places far beyond a wider box, on lines that leave it, and what KL has there as far as that is known.

    They are on lines along every axis, through cells of the sides of the box, and on rays from its centre. The density
    is known at the start, and under reaction alone to a target at rest. With transport, or with a target that moves,
    KL of what is out there gains nothing after the start: of that, what comes back beyond a gap is counted at later
    times, and what falls is told by the fall at the end of the box.

    Parameters
    ----------
    problem : Problem
    wide : Grid
    """

    def __init__(self, problem: Problem, wide: Grid) -> None:
        self.problem, self.wide = problem, wide
        self.origin = float(problem.times[0])
        self.points, self.weights, self.shape = _far_places(wide)
        target = problem.target.at(self.origin)
        with np.errstate(all="ignore"):
            # where a function overflows it says nothing
            self.log_start, self.log_target = (
                np.where(values < math.inf, values, math.nan)
                for values in (problem.start.log_density(self.points), target.log_density(self.points))
            )
        self._returns = 0.0

    def changed_by(self, state: Density, narrow: Density, window: tuple[slice, ...], t: float) -> tuple[float, float]:
        """Return the mass outside the box that the sum over the wider one misses, and by how much KL changes there.

        KL changes by what the runs in both boxes say, and by what their sums miss; or by the cells outside alone,
        without signs, where that is more: there the errors of the sums do not cancel what is looked for. That is to
        first order, of ∫ mu log(mu/pi) - mu + pi of both normalised; a normaliser that is known changes by nothing.
        What is beyond the wider box is told by how fast the parts outside fall there, `beyond_margin`, and by the
        places far out. Half of what the fall inside lets be beyond the box counts at least: with the distance of the
        runs four times that is all of the error.

        Parameters
        ----------
        state, narrow : Density
            In the wider box and in the box, at `t`; the start is to be asked for first.
        window : tuple of slices
            Cells of the box.
        t : float
        """
        energy, wide = self.problem.energy_at(t), self.wide
        outside = np.ones(wide.shape, dtype=bool)
        outside[window] = False

        def beyond(log_density: Array) -> tuple[Array, Array]:  # in cells outside, what the sum has and what it misses
            held = np.where(outside, np.exp(log_density + np.asarray(wide.log_cell_volume)), 0.0)
            return held, missed_by_sums(wide, log_density, outside)

        log_ratio = np.asarray(energy.first_variation(state))
        per_mass = log_ratio - 1 - energy.value(state)
        # the mass of a cell is at its edge, towards the next one
        changes = np.maximum(
            largest_around(wide, log_ratio, 1) - log_ratio, log_ratio + largest_around(wide, -log_ratio, 1)
        )
        of_state, none = beyond(np.asarray(state.log_values)), (np.zeros(wide.shape),) * 2
        of_target = (
            none if self.problem.log_normaliser is not None else beyond(np.asarray(energy.log_equilibrium(wide)))
        )
        parts = [np.abs(a * per_mass + b) + a * changes for a, b in zip(of_state, of_target, strict=True)]
        held, missed = (float(np.sum(part, where=outside)) for part in parts)
        by_runs = abs(self.problem.kl(narrow, t) - self.problem.kl(state, t)) + missed
        centres = [np.atleast_1d(narrow.mean()), np.atleast_1d(Density(wide, energy.log_equilibrium(wide)).mean())]
        further = max(beyond_margin(wide, window, parts[0] + parts[1], centres), self.kl(state, t))
        at_edges = beyond_edges(narrow.grid, np.asarray(narrow.log_values)) / 2
        known = self.problem.log_normaliser is not None
        of_pi = 0.0 if known else beyond_edges(narrow.grid, np.asarray(energy.log_equilibrium(narrow.grid))) / 2
        by_edges = float(np.sum(np.abs(at_edges * per_mass[window] + of_pi)))
        mass = max(float(of_state[1].sum()), float(at_edges.sum()))
        return mass, max(by_runs, held + missed, by_edges) + further

    def kl(self, state: Density, t: float) -> float:
        """Return the part of KL beyond the wider box, in nats, of the density at a time; ask for the start first."""
        first = t == self.origin
        if not first and (self.problem.alpha > 0 or self.problem.target.moving):
            return self._returns
        target, energy = self.problem.target.at(t), self.problem.energy_at(t)
        since = self.problem.beta * (t - self.origin)
        with np.errstate(invalid="ignore"):  # no 0 times infinity
            log_m = math.exp(-since) * self.log_start - math.expm1(-since) * self.log_target
        top = np.unravel_index(int(np.argmax(state.log_values)), self.wide.shape)
        place = np.array([[axis.centres[i] for axis, i in zip(self.wide.axes, top, strict=True)]])
        start, pi = (float(one.log_density(place)[0]) for one in (self.problem.start, target))
        of_m = float(np.asarray(state.log_values)[top]) - (math.exp(-since) * start - math.expm1(-since) * pi)
        of_q = float(np.asarray(energy.log_equilibrium(self.wide))[top]) - pi
        m, q = log_m + of_m, self.log_target + of_q
        with np.errstate(all="ignore"):
            log_found = m + np.log(np.abs(m - q - 1 - energy.value(state)))
            found = np.exp(np.minimum(log_found, LARGEST))
            if self.problem.log_normaliser is None:  # else mass of pi out there changes nothing
                found = found + np.exp(np.minimum(q, LARGEST))
        found = np.where(np.isfinite(found), found, 0.0)
        fallen = np.minimum.accumulate(found.reshape(self.shape), axis=1).ravel()
        with np.errstate(over="ignore"):
            self._returns = float(np.sum((found - fallen) * self.weights)) if first else self._returns
            return float(np.sum(found * self.weights))


def _far_places(grid: Grid) -> tuple[Array, Array, tuple[int, int]]:
    """Return places (m, d) beyond a grid, weights (m,) that make sums integrals there, and how many lines and places.

    That is the number of lines and of places on each. Distances along every line grow geometrically, and values are
    taken to be linear between them.
    """
    has_rays = grid.ndim > 1 and not any(axis.periodic for axis in grid.axes)
    lines = [_along_axes(grid), *([_rays(grid)] if has_rays else [])]
    points, weights = (np.concatenate(parts) for parts in zip(*lines, strict=True))
    return points.reshape(-1, grid.ndim), weights.ravel(), weights.shape


def _along_axes(grid: Grid) -> tuple[Array, Array]:
    """Return the places (lines, distances, d) beyond every side, along its axis, and their weights."""
    places, weights = [], []
    for k, axis in enumerate(grid.axes):
        if axis.periodic:
            continue
        others = [other for i, other in enumerate(grid.axes) if i != k]
        through, areas = _some_cells(others)
        distances = axis.length * FAR
        for end, sign in ((axis.edges[0], -1.0), (axis.edges[-1], 1.0)):
            points = np.empty((len(through), len(FAR), grid.ndim))
            points[..., k] = float(end) + sign * distances
            points[..., [i for i in range(grid.ndim) if i != k]] = through[:, None]
            places.append(points)
            weights.append(areas[:, None] * _trapezoid(distances))
    return np.concatenate(places), np.concatenate(weights)


def _some_cells(axes: Sequence[Axis]) -> tuple[Array, Array]:
    """Return the centres (n, d - 1) of some cells of the other axes, and the areas (n,) that they stand for."""
    if not axes:
        return np.empty((1, 0)), np.ones(1)
    per_axis = max(2, int(LINES ** (1 / len(axes))))
    centres, widths = [], []
    for axis in axes:
        ends = np.unique(np.linspace(0, axis.n, min(per_axis, axis.n) + 1).astype(int))
        centres.append(axis.centres[(ends[:-1] + ends[1:]) // 2])
        widths.append(np.diff(axis.edges[ends]))
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return points, np.prod(np.meshgrid(*widths, indexing="ij"), axis=0).ravel()


def _rays(grid: Grid) -> tuple[Array, Array]:
    """Return places (rays, distances, d) on rays from the centre of a grid, beyond it, and their weights."""
    d = grid.ndim
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    half = 0.5 * (upper - lower)
    directions = np.random.default_rng(0).standard_normal((RAYS, d))
    directions /= np.abs(directions).max(axis=1, keepdims=True)  # on the unit cube, whose sides are those of the box
    distances = 1 + FAR  # half axes
    points = 0.5 * (lower + upper) + directions[:, None] * distances[:, None] * half
    cone = np.prod(2 * half) * d / RAYS  # volume of all of the box over the rays, as d r^(d-1) dr
    return points, np.broadcast_to(cone * distances ** (d - 1) * _trapezoid(distances), points.shape[:2])


def _trapezoid(x: Array) -> Array:
    """Return the weights (n,) of the trapezoidal rule at increasing places."""
    steps = np.diff(x)
    return 0.5 * (np.concatenate([[0.0], steps]) + np.concatenate([steps, [0.0]]))
