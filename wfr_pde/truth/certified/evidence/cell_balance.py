"""A computed density put into the equation of the flow as a balance of masses: what is left in the cells of an axis.

With m the computed density, g = log m + V and M the mass of a cell between the edges a and b,

    d_t M = alpha [m g']_a^b - beta ∫ m (g - E g) dx + ∫ m r dx.

Mass that a wrong flux takes from a cell it gives to the next: what polynomials miss of a slope beside a wall or a jump
of V, and rounding, which second derivatives in narrow cells would multiply by 1/dx², are sources of opposite signs in
neighbouring cells, and do no more than they do to the density there. Through walls there is no flux, through a joint
the same from both sides. Neither grad V nor second derivatives are needed.

Polynomials end at joints, and equal fluxes are half of what has to hold there: g has to be continuous, too. So a jump
of g counts as a flux, the one between two cells whose values of g are so far apart. Without it two wrong densities
would leave nothing in the equation: the one for a jump of V of another height, and the one for a joint that lets
nothing pass. The start may have jumps of g, and is left as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.space.transfer import local_weights
from wfr_pde.truth.certified.evidence.cell_quadrature import cell_rule
from wfr_pde.truth.certified.evidence.residual import (
    INSIDE,
    LEAST_MORE,
    STENCIL,
    Look,
    along,
    local_polynomials,
    matrix,
    stacked,
)
from wfr_pde.truth.certified.frame_blocks import at_each
from wfr_pde.truth.certified.problem import Problem

POINTS = 5  # of Gauss's rule in a cell: exact for the degree 9 of the polynomials
LARGEST = 700.0  # of a logarithm, that its exponential does not overflow
LEAST_APART = 1e-8  # nats between two cells, below which V is the same in both
MOST_PASSING = 1e100  # of a flux over a mass: nothing is known beyond


class _Edges:
    """The edges of the cells of an axis, those of every segment by themselves, seen from inside it.

    Attributes
    ----------
    x : array (m,)
    value, slope : matrices (m, n)
        From g at the centres to g and g' at the edges.
    lower : array (n,) of int
        The lower edge of every cell; the next one is its upper edge.
    walls : array of int
        Edges through which nothing passes.
    joints : arrays (joints,) of int
        The edges below and above every joint.
    beside : arrays (joints,) of int
        The cells below and above every joint.
    """

    def __init__(self, axis: Axis) -> None:
        wraps = axis.periodic and not axis.joints
        x, stencils, lower, first = [], [], [], 0
        ends: list[tuple[int, int]] = []
        for cells in axis.segments:
            edges, widths = axis.edges[cells.start : cells.stop + 1].copy(), axis.widths[cells]
            stencils.append(local_polynomials(axis, edges, cells.start, cells.stop, wraps))
            if not wraps:  # where V is seen
                edges[0] += INSIDE * widths[0]
                edges[-1] -= INSIDE * widths[-1]
            x.append(edges)
            lower.append(first + np.arange(len(widths)))
            ends.append((first, first + len(widths)))
            first += len(edges)
        self.x, self.lower = np.concatenate(x), np.concatenate(lower)
        self.value, self.slope = (stacked(stencils, kind, axis.n) for kind in (0, 1))
        below, above = [pair[1] for pair in ends[:-1]], [pair[0] for pair in ends[1:]]
        left, right = [cells.stop - 1 for cells in axis.segments[:-1]], [cells.start for cells in axis.segments[1:]]
        if axis.periodic and axis.joints:  # the wrap is one of them
            below, above, left, right = [*below, ends[-1][1]], [*above, 0], [*left, axis.n - 1], [*right, 0]
        self.joints, self.beside = (np.array(pair, dtype=int) for pair in ((below, above), (left, right)))
        self.walls = np.array([] if axis.periodic else [0, ends[-1][1]], dtype=int)


class CellBalance:
    """Densities on a grid with one axis, put into the equation cell by cell.

    g = log(mu/pi) is interpolated from the centres by local polynomials of degree 9, V is exact. Masses are integrals
    by Gauss's rule, at singular walls in the variable in which cells are regular there.

    Parameters
    ----------
    problem : Problem
    grid : Grid
        With an even number of cells.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.problem = problem
        axis = grid.axes[0]
        self.edges, self.widths, self.wraps = _Edges(axis), np.diff(axis.edges), axis.periodic
        low, high = axis.roots  # 1 but at walls where densities are powers of the distance
        places, self.weights = cell_rule(axis, POINTS, (low != 1, high != 1))
        self.inner = matrix(*local_weights(axis, places, STENCIL), axis.n)
        self._places = [x[:, None] for x in (places, self.edges.x, axis.centres)]
        self._still: list[Array] | None = None
        self._resistance = self.widths  # of every cell, as it was when it was last looked at

    def _potentials(self, t: Any) -> list[Array]:
        """Return V at the points of the rule, the edges, the centres; times (...) come first for a moving target."""
        if self._still is not None:
            return self._still
        if self.problem.target.moving:
            return [at_each(lambda time, x=x: self._potential(x, time), t) for x in self._places]  # type: ignore[misc]
        self._still = [self._potential(x, 0.0) for x in self._places]
        return self._still

    def _potential(self, x: Array, t: float) -> Array:
        """Return V at places (m, 1) at a time; it may be infinite at walls, through which nothing passes."""
        with np.errstate(all="ignore"):
            potential = -np.asarray(self.problem.target.at(t).log_density(x), dtype=np.float64)
        if x is self._places[1]:
            potential[self.edges.walls] = 0.0
        return potential

    @np.errstate(over="ignore", invalid="ignore")  # far out sources may be no numbers: those are known as such
    def look(self, log_values: Array, t: Any) -> Look:
        """Evaluate what densities, given at the centres (..., n), leave in the cells at times (...): arrays (..., n).

        `log_density` is log(M / width), `transport` is [m g'] / M, and `potential` is how much the mean of g by the
        density is above log_density, so that the reaction is -beta (log_density + potential - E g) of the mass.
        """
        inside, at_edges, centres = self._potentials(t)
        self._resistance = np.log(self.widths) + centres.reshape(-1, len(self.widths))[-1]
        g = np.asarray(log_values) + centres
        low, high = _limits(g)
        of_cells = along(self.inner, g, -1).reshape(*g.shape, -1)
        values = np.clip(of_cells, low[..., None], high[..., None])
        log_m = values - inside.reshape(*inside.shape[:-1], *self.weights.shape)
        top = log_m.max(axis=-1)
        shares = np.exp(log_m - top[..., None]) * self.weights
        mass = shares.sum(axis=-1)
        log_density = top + np.log(mass / self.widths)
        mean = (shares * values).sum(axis=-1) / mass
        transport = self._transport(g, (low, high), at_edges, log_density, centres, t)
        return Look(mean, transport, log_density, mean - log_density)

    def _through_joints(self, potential: Array) -> Array:
        """Return log ∫ e^V dx from the centre below every joint to that above, V linear in between, as in a chain.

        potential : array (..., n), V at the centres.
        """
        left, right = self.edges.beside
        pair = potential[..., left], potential[..., right]
        apart = np.maximum(np.abs(pair[1] - pair[0]), LEAST_APART)
        lengths = 0.5 * (self.widths[left] + self.widths[right])
        return np.asarray(np.maximum(*pair) + np.log(-np.expm1(-apart) / apart) + np.log(lengths))

    def _transport(
        self, g: Array, limits: tuple[Array, Array], potential: Array, log_density: Array, centres: Array, t: Any
    ) -> Array:
        """Compute [m g'], what edges let pass, over the mass of every cell, by V at the edges and the `centres`."""
        edges = self.edges
        low, high = (np.full((*g.shape[:-1], len(edges.x)), end) for end in (np.inf, -np.inf))
        for side in (edges.lower, edges.lower + 1):
            low[..., side] = np.minimum(low[..., side], limits[0])
            high[..., side] = np.maximum(high[..., side], limits[1])
        values = np.clip(along(edges.value, g, -1), low, high)
        log_m = values - potential
        slope = np.ascontiguousarray(along(edges.slope, g, -1))
        slope[..., edges.walls] = 0.0

        def passing(edge: Any, cell: Any) -> Array:
            """Compute m g' at edges, over the masses of cells."""
            ratio = np.exp(np.clip(log_m[..., edge] - log_density[..., cell], -LARGEST, LARGEST))
            return np.asarray(ratio * slope[..., edge] / self.widths[cell])

        everywhere = slice(None)
        into, out = passing(edges.lower, everywhere), passing(edges.lower + 1, everywhere)
        (below, above), (left, right) = edges.joints, edges.beside
        if not len(below):
            return np.asarray(out - into)
        # where there is less of pi, and cells are wider, the slope of mu/pi is known better, and with it the flux
        odds = 2 * (potential[..., below] - potential[..., above] + np.log(self.widths[left] / self.widths[right]))
        share = 1 / (1 + np.exp(-np.clip(odds, -LARGEST, LARGEST)))  # of the flux seen from below
        resistances = self._through_joints(centres)
        in_start = (np.asarray(t) <= float(self.problem.times[0]))[..., None]  # where g may jump

        def let_pass(cell: Any) -> Array:
            """Compute the flux [e^g] / ∫ e^V dx that the jump of g lets pass, over the masses of cells."""
            least = np.minimum(values[..., below], values[..., above]) - resistances - log_density[..., cell]
            jump = values[..., above] - values[..., below]
            size = np.expm1(np.minimum(np.abs(jump), LARGEST)) * np.exp(np.clip(least, -LARGEST, 0.5 * LARGEST))
            passed = np.sign(jump) * np.minimum(size, MOST_PASSING) / self.widths[cell]
            return np.asarray(np.where(in_start, 0.0, passed))

        out[..., left] = share * passing(below, left) + (1 - share) * passing(above, left) + let_pass(left)
        into[..., right] = share * passing(below, right) + (1 - share) * passing(above, right) + let_pass(right)
        return np.asarray(out - into)

    @np.errstate(over="ignore", invalid="ignore")  # as above
    def joined(self, values: Array, log_density: Array) -> tuple[Array, Array]:
        """Average values over pairs of cells by their masses; return also the log-density of the pairs.

        A cell gives a part of what it has to the pair beside it: as much as its centre is nearer to the middle of that
        than its own, with distances in ∫ e^V dx. Then sources that alternate from edge to edge cancel. Both arrays have
        the cells last, and broadcast against each other.
        """
        log_mass = log_density + np.log(self.widths)
        pairs = np.logaddexp(log_mass[..., 0::2], log_mass[..., 1::2])
        mass = np.exp(log_mass - log_mass.max(axis=-1, keepdims=True))
        known = mass * np.where(np.isfinite(values), values, 0.0)
        # a constant is not given away
        values = values - known.sum(axis=-1, keepdims=True) / mass.sum(axis=-1, keepdims=True)
        result: Any = 0.0
        for side, step in ((0, 1), (1, -1)):  # the lower cells of the pairs, which give downwards, and the upper ones
            own, beside = self._resistance[side::2], np.roll(self._resistance[1 - side :: 2], step)
            given = 0.5 / (1 + np.exp(np.clip(beside - own, -LARGEST, LARGEST)))
            if not self.wraps:
                given[-side] = 0.0
            held, here = log_mass[..., side::2], values[..., side::2]
            kept, gone = (
                share * np.exp(np.clip(held - to, -LARGEST, LARGEST)) * here
                for share, to in ((1 - given, pairs), (given, np.roll(pairs, step, axis=-1)))
            )
            result = result + kept + np.roll(gone, -step, axis=-1)
        return result, pairs - np.log(self.widths.reshape(-1, 2).sum(axis=1))


def _limits(g: Array) -> tuple[Array, Array]:
    """Return the least and largest values that g (..., n) may have in every cell, by those at the centres around.

    Far out in tails, where neighbouring centres differ by nats without a rule, polynomials that end at a wall multiply
    that, and would put mass where none is.
    """
    low, high = g.copy(), g.copy()
    for side, beside in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        low[..., side] = np.minimum(low[..., side], g[..., beside])
        high[..., side] = np.maximum(high[..., side], g[..., beside])
    more = high - low + LEAST_MORE
    return low - more, high + more
