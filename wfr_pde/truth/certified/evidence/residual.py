"""A computed density put into the equation of the flow: what is left, between the cell centres."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target
from wfr_pde.truth.certified.problem import Problem

DENSE = 40  # columns up to which a matrix with few entries is kept in full: beyond, products would share threads
STENCIL = 10  # cell centres that a local polynomial goes through
PREPARED = 2  # ceilings whose V is kept
ABOVE = 1.0  # nats above the centres around, that a density may be between them
LEAST_MORE = 2.0  # nats beyond those of the cells around that a value between them may be, besides their range
INSIDE = 1e-6  # of a cell: ends of segments are looked at from inside, as V may jump there
ONE_SIDED = np.array([-137 / 60, 5.0, -5.0, 10 / 3, -5 / 4, 1 / 5])  # first derivative at the first of six places
SPACING = 0.03  # of these places, over the width of a cell


@dataclass(frozen=True)
class Look:
    """Densities at the places between the cells: arrays (..., places...), where frames, if any, come first.

    Attributes
    ----------
    log_ratio : array
        g = log mu + V, up to a constant.
    transport : array
        Lap g + grad g . grad log mu.
    log_density : array
        log mu.
    potential : array
        V.
    """

    log_ratio: Array
    transport: Array
    log_density: Array
    potential: Array

    def frames(self, which: Any) -> Look:
        """Take some of the frames."""
        return Look(self.log_ratio[which], self.transport[which], self.log_density[which], self.potential[which])

    @classmethod
    def concatenated(cls, looks: Sequence[Look]) -> Look:
        """Return the frames of several looks, one after the other."""
        names = ("log_ratio", "transport", "log_density", "potential")
        return cls(*(np.concatenate([getattr(look, name) for look in looks]) for name in names))


class Places:
    """The edges of the cells along an axis as places to look at, and local polynomials to get there.

    Segments of an axis, the parts between its walls and joints, have both ends among the places, seen from inside.

    Attributes
    ----------
    x : array (places,)
    value, first, second : matrices (places, n)
        Matrices from values at the centres to the value and the derivatives there.
    leaving : array (places,)
        1/h, h the width of the cell, at the upper end of a segment, -1/h at the lower one, else 0: what multiplies the
        flux through an end that nothing may pass.
    below : array (n,) of int
        The place at the lower edge of every cell; the one at its upper edge is the next.
    sides : arrays (places,) of int
        The cells of the same segment on both sides of a place.
    into : array (places,)
        Width of the cell above a place, or minus that of the cell below at the upper end of a segment.
    joints, periodic : bool
        Whether there is more than one segment, and whether the last one meets the first.
    """

    def __init__(self, axis: Axis) -> None:
        n = axis.n
        inner = [int(joint) for joint in getattr(axis, "joints", ())]
        bounds = [0, *inner, n]
        x: list[Array] = []
        stencils, leaving, below, sides, into = [], [], [], [], []
        for first, last in itertools.pairwise(bounds):
            wraps = axis.periodic and not inner
            edges = axis.edges[first : last + 1].copy()
            stencils.append(local_polynomials(axis, edges, first, last, wraps))
            if not wraps:  # where V is seen
                edges[0] += INSIDE * axis.widths[first]
                edges[-1] -= INSIDE * axis.widths[last - 1]
            ends = np.zeros(len(edges))
            if not wraps:
                ends[0], ends[-1] = -1 / axis.widths[first], 1 / axis.widths[last - 1]
            beside = np.arange(first, last + 1)
            pair = np.stack([beside - 1, beside])
            sides.append(pair % n if wraps else np.clip(pair, first, last - 1))
            below.append(np.arange(last - first) + sum(len(part) for part in x))
            into.append(np.append(axis.widths[first:last], -axis.widths[last - 1]))
            x.append(edges)
            leaving.append(ends)
        self.x, self.leaving, self.into = (np.concatenate(parts) for parts in (x, leaving, into))
        self.joints, self.periodic = len(inner) > 0, axis.periodic
        self.below: Any = np.concatenate(below)
        self.sides: Any = np.concatenate(sides, axis=1)
        self.value, self.first, self.second = (stacked(stencils, kind, n) for kind in range(3))


def local_polynomials(axis: Axis, points: Array, first: int, last: int, wraps: bool) -> tuple[Any, Array]:
    """Return the nearest centres (points, k) of a segment, and weights (points, k, 3) for value, slope, curvature."""
    size = min(STENCIL, last - first)
    left = np.searchsorted(axis.centres, points) - size // 2
    if not wraps:
        left = np.clip(left, first, last - size)
    index = left[:, None] + np.arange(size)
    offsets = axis.centres[index % axis.n] + axis.length * (index // axis.n) - points[:, None]
    scale = np.abs(offsets).max(axis=1)
    powers = (offsets / scale[:, None])[:, None, :] ** np.arange(size)[:, None]  # (points, power, node)
    wanted = np.zeros((len(points), size, 3))
    wanted[:, 0, 0], wanted[:, 1, 1], wanted[:, 2, 2] = 1.0, 1 / scale, 2 / scale**2
    weights = np.linalg.solve(powers, wanted)  # (points, node, 3)
    return index % axis.n, weights


def stacked(stencils: list[tuple[Any, Array]], kind: int, n: int) -> Any:
    """Stack the stencils of all segments to one matrix (places, n)."""
    size = max(index.shape[1] for index, _ in stencils)
    padded = [
        (
            np.pad(index, ((0, 0), (0, size - index.shape[1]))),
            np.pad(weights[..., kind], ((0, 0), (0, size - index.shape[1]))),
        )
        for index, weights in stencils
    ]
    index, weights = (np.concatenate(parts) for parts in zip(*padded, strict=True))
    return matrix(index, weights, n)


def matrix(index: Any, weights: Array, n: int) -> Any:
    """Return the matrix (m, n) with weights (m, k) in the columns `index` (m, k) of every row; sparse for large n."""
    rows = np.repeat(np.arange(len(index)), index.shape[1])
    if n > DENSE:
        from scipy.sparse import csr_array

        return csr_array((weights.ravel(), (rows, index.ravel())), shape=(len(index), n))
    result = np.zeros((len(index), n))
    np.add.at(result, (rows, index.ravel()), weights.ravel())
    return result


def stencils(interpolation: Any, source: Grid) -> list[Any]:
    """Return the interpolation from a grid as a matrix along every axis."""
    result = []
    for k, terms in enumerate(interpolation.axes):
        index, weights = (np.stack([np.asarray(term[j]).ravel() for term in terms], axis=1) for j in (0, 1))
        result.append(matrix(index, weights, source.shape[k]))
    return result


def along(matrix: Any, values: Array, axis: int) -> Array:
    """Apply a matrix (m, n) to one axis of an array."""
    lines = np.moveaxis(values, axis, -1)
    if isinstance(matrix, np.ndarray):
        return np.moveaxis(lines @ matrix.T, -1, axis)
    product = np.ascontiguousarray((matrix @ lines.reshape(-1, lines.shape[-1]).T).T)
    return np.moveaxis(product.reshape(*lines.shape[:-1], -1), -1, axis)


def around(values: Array, source: Grid, places: Sequence[Array]) -> Array:
    """Return the largest value at the centres of a grid around places, given along every axis; frames come first."""
    for k, (own, x) in enumerate(zip(source.axes, places, strict=True)):
        above = np.searchsorted(own.centres, x)
        pair = np.clip(above - 1, 0, own.n - 1), np.clip(above, 0, own.n - 1)
        values = np.maximum(*(np.take(values, index, axis=k - source.ndim) for index in pair))
    return values


def _at_singular_walls(grid: Grid, axes: list[Places]) -> np.ndarray:
    """Return a mask of places at walls where V is infinite: nothing is known there, and no flux passes."""
    result = np.zeros([len(axis.x) for axis in axes], dtype=bool)
    for k, axis in enumerate(grid.axes):
        for side, root in ((0, axis.roots[0]), (-1, axis.roots[1])):
            if root != 1:
                np.moveaxis(result, k, 0)[side] = True
    return result


class Substitution:
    """The substitution of densities on a grid into the equation, at the corners of the cells.

    With local polynomials of degree 9 for g = log(mu/pi), V and grad V exact at the places, the equation is
    d_t log mu = alpha (Lap g + grad g . grad log mu) - beta (g - E g). At walls, through which nothing may pass, and at
    joints of an axis, where the flux has to be the same from both sides, what the polynomials let pass counts in the
    half cell at the end. So does a jump of g at a joint, which lets pass what it would between two cells; in the
    start g may jump.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.problem, self.grid = problem, grid
        self._changes = problem.target.moving or problem.ceilings is not None
        self.axes = [Places(axis) for axis in grid.axes]
        self._numbers = range(-grid.ndim, 0)  # of the axes, which come last
        self._ignored = _at_singular_walls(grid, self.axes)
        self._mesh = np.stack(np.meshgrid(*(axis.x for axis in self.axes), indexing="ij"), axis=-1)
        self._seen: dict[int, tuple[KL, tuple[Array, Array, Array]]] = {}  # what was last seen, by the energy

    def _potentials(self, t: float) -> tuple[Array, Array, Array]:
        """Return V and grad V at the places, (...) and (..., d), and V at the centres, as seen at a time."""
        energy = self.problem.seen(t)
        if id(energy) not in self._seen:
            if len(self._seen) == PREPARED:
                self._seen.pop(next(iter(self._seen)))
            at_centres = -np.asarray(self.grid.evaluate(energy.target.log_density))
            self._seen[id(energy)] = energy, (*self._there(energy.target), at_centres)
        return self._seen[id(energy)][1]

    def _potentials_at(self, times: Any) -> tuple[Array, ...]:
        """Return V and grad V at the places and V at the centres, at times (...), stacked where they change."""
        if not self._changes:
            return self._potentials(float(self.problem.times[0]))
        found = zip(*(self._potentials(t) for t in np.ravel(times).tolist()), strict=True)
        return tuple(np.stack(parts).reshape(*np.shape(times), *parts[0].shape) for parts in found)

    def _there(self, target: Target) -> tuple[Array, Array]:
        """Return V and grad V of a target at the places, zero where they are ignored."""
        potential, slope = -np.asarray(target.log_density(self._mesh)), self._slope(target)
        return np.where(self._ignored, 0.0, potential), np.where(self._ignored[..., None], 0.0, slope)

    def _slope(self, target: Target) -> Array:
        """Return grad V at the places, from inside their segment where that makes a difference.

        A score that is taken by differences would reach across a joint, where V has a kink or a jump.
        """
        slope = -np.asarray(target.score(self._mesh))
        for k, axis in enumerate(self.axes):
            if axis.joints and target.score_by_differences:
                spacing = SPACING * axis.into.reshape([-1 if i == k else 1 for i in range(len(self.axes))])
                total = np.zeros(self._mesh.shape[:-1])
                for j, weight in enumerate(ONE_SIDED):
                    moved = self._mesh.copy()
                    moved[..., k] += j * spacing
                    total -= weight * np.asarray(target.log_density(moved))
                slope[..., k] = total / spacing
        return slope

    def _around(self, values: Array) -> Array:
        """Return the largest value at the centres around each place."""
        for k, axis in zip(self._numbers, self.axes, strict=True):
            lines = np.moveaxis(values, k, 0)
            found = np.full((len(axis.x), *lines.shape[1:]), -np.inf)
            for side in (0, 1):
                found[axis.below + side] = np.maximum(found[axis.below + side], lines)
            values = np.moveaxis(found, 0, k)
        return values

    def look(self, log_values: Array, t: Any) -> Look:
        """Evaluate what densities, given at the centres (..., *shape), leave at the corners, at times (...).

        Where V spans so much that there are ceilings, polynomials through few cells high up say nothing: there the
        density is at most e times what it is at the centres around.
        """
        log_values = np.asarray(log_values)
        potential, slope, at_centres = self._potentials_at(t)
        seen = self._seen_of(log_values + at_centres, potential, slope, t)
        if self.problem.ceilings is None:
            return seen
        return replace(seen, log_density=np.minimum(seen.log_density, self._around(log_values) + ABOVE))

    def _seen_of(self, g: Array, potential: Array, slope: Array, t: Any) -> Look:
        value = g
        for k, axis in zip(self._numbers, self.axes, strict=True):
            value = along(axis.value, value, k)
        value = self._limited(value, g)
        potential = np.broadcast_to(potential, value.shape)
        may_jump = np.asarray(t) <= float(self.problem.times[0])
        transport: Any = 0.0
        for k, axis in zip(self._numbers, self.axes, strict=True):
            across = g
            for i, other in zip(self._numbers, self.axes, strict=True):
                across = across if i == k else along(other.value, across, i)
            gradient, curvature = along(axis.first, across, k), along(axis.second, across, k)
            leaving = axis.leaving.reshape(-1, *[1] * (-k - 1))
            lost = gradient - self._passing(k, gradient, value, potential, may_jump)
            transport = transport + curvature + gradient * (gradient - slope[..., k]) - 2 * leaving * lost
        return Look(value, transport, value - potential, potential)

    def _limited(self, value: Array, g: Array) -> Array:
        """Return the values at the places, kept near those of the cells around.

        Far out in tails, where neighbouring cells differ by nats without a rule, polynomials that end at a wall
        multiply that, and would put mass where none is.
        """
        low = high = g
        for k, axis in zip(self._numbers, self.axes, strict=True):
            below, above = axis.sides
            low = np.minimum(np.take(low, below, axis=k), np.take(low, above, axis=k))
            high = np.maximum(np.take(high, below, axis=k), np.take(high, above, axis=k))
        more = (high - low) + LEAST_MORE
        return np.clip(value, low - more, high + more)

    def _passing(self, k: int, gradient: Array, value: Array, potential: Array, may_jump: np.ndarray) -> Array:
        """Return the grad g of the flux at the ends of segments, the same from both sides; zero at walls and elsewhere.

        But in frames where g `may_jump`, a jump of u = e^g lets pass [u] / ∫ e^V dx, over half of the cells on both
        sides.
        """
        result = np.zeros_like(gradient)
        ends = np.flatnonzero(self.axes[k].leaving)
        lines, g, log_u, v = (np.moveaxis(array, k, 0) for array in (result, gradient, value, potential))
        log_mu, widths = log_u - v, np.abs(self.axes[k].into)
        may_jump = may_jump[(..., *[None] * (self.grid.ndim - 1))]
        pairs = list(zip(ends[1:-1:2], ends[2:-1:2], strict=True))  # the two sides of a joint
        if self.axes[k].periodic and len(ends):  # the wrap is one, too
            pairs.append((ends[-1], ends[0]))
        for left, right in pairs:
            # mu_- g_- and mu_+ g_+ have the mean J; J / mu_- and J / mu_+
            ratio = np.exp(np.clip(log_mu[right] - log_mu[left], -50, 50))
            jump, step = np.clip(log_u[right] - log_u[left], -50, 50), np.clip(v[right] - v[left], -50, 50)
            up = np.expm1(jump) / (0.5 * (widths[left] + widths[right] * np.exp(step)))
            down = np.expm1(-jump) / (0.5 * (widths[right] + widths[left] * np.exp(-step)))
            lines[left] = 0.5 * (g[left] + ratio * g[right]) + np.where(may_jump, 0.0, up)
            lines[right] = 0.5 * (g[right] + g[left] / ratio) - np.where(may_jump, 0.0, down)
        return result

    def joined(self, values: Array, log_density: Array) -> tuple[Array, Array]:
        """Average values over pairs of cells along every axis, weighted by the density; return also log of the density.

        Both have the places last, and broadcast against each other.
        """
        values = np.where(self._ignored, 0.0, values)
        log_density = np.where(self._ignored, -np.inf, log_density)
        for k, axis in zip(self._numbers, self.axes, strict=True):
            index = [axis.below[::2] + j for j in range(3)]
            logs = [np.take(log_density, i, axis=k) + np.log(w) for i, w in zip(index, (0.25, 0.5, 0.25), strict=True)]
            top = np.maximum.reduce(logs)
            shares = [np.exp(log - top) for log in logs]
            total = sum(shares)
            held: Any = sum(share * np.take(values, i, axis=k) for share, i in zip(shares, index, strict=True))
            values, log_density = held / total, top + np.log(total)
        return values, log_density
