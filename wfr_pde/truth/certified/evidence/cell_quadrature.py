"""Mass and KL of a density by Gauss quadrature over the cells, with a doubt that knows no signs.

At the start, and for reaction alone to a target at rest, log mu is known at every point up to a constant: mu_t is
proportional to mu_0^s pi^(1-s), s = e^(-beta t). Else g = log mu + V is smooth between breaks and is interpolated from
the cell centres, and V is evaluated. So

    mass = Σ_cells ∫ m dx,      KL(mu|pi) = Σ_cells ∫ m log(m/pi) dx

are integrals over cells by three rules: Gauss with n and n + 1 points, and Lobatto with n + 2, which is the answer. The
doubt of a cell is the largest difference of two of them; the doubts of all cells are added up. A kink or a jump at any
place inside a cell leaves an error of at most 1.05 times that (tests/truth/certified/test_cell_quadrature.py scans all
places), and nothing cancels by chance from cell to cell. Of a smooth density that the cells resolve rounding remains.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.gauss_rules import gauss, lobatto
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.space.transfer import local_weights
from wfr_pde.truth.certified.evidence.beside_joints import (
    Layer,
    area_of,
    changed_in_layer,
    departures,
    layers,
    lines_through,
)
from wfr_pde.truth.certified.evidence.residual import ABOVE, LEAST_MORE, along, around, matrix
from wfr_pde.truth.certified.grids.between_points import Bumps, bumps
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.problem import Problem

Window = tuple[slice, ...]

POINTS = {1: 8, 2: 6, 3: 4}  # of the first rule in a cell along every axis, by the number of dimensions
FEWEST_POINTS = 2  # with more dimensions, where 4^d points of a cell would be too many
NODES, FEWER_NODES = 14, 10  # of the interpolation, and of the one that its error is measured against
WALL_POWER = 3  # of the variable of integration in cells beside walls where densities are powers of the distance
SLAB = 2**18  # points that are evaluated at once: what stays in cache; no number depends on it
CACHED = 4_000_000  # points up to which V is kept: 32 MB
NEGLIGIBLE = 1e-16  # mass of mu and pi in all cells that are left out
LARGEST = 700.0  # of a logarithm, that its exponential does not overflow
JOINT_SAFETY = 2.0  # of what hides beside joints, told by places that stand a quarter apart
LOG_2 = math.log(2.0)  # a cell of the grid with the ratio one has two of the fine grid along every axis
BULK = 1e-6  # of the largest mass of a cell, of cells that tell by how many nats KL may change with their mass
NEAR = 1.0  # log-ratio below which m log(m/pi) - m + pi would cancel


def rules(n: int) -> tuple[tuple[Array, Array], ...]:
    """Return the nodes and weights of the three rules on [0, 1]; the last one is the answer."""
    return gauss(n), gauss(n + 1), lobatto(n + 2)


@dataclass(frozen=True)
class Measured:
    """Mass and KL of a density.

    Attributes
    ----------
    log_mass : float
        Logarithm of the mass, in nats.
    mass_doubt : float
        Sum over the cells of the absolute differences of rules, relative to the mass.
    kl : float
        KL(mu|pi) of the two after normalising both, in nats.
    kl_doubt : float
        The same sum for KL.
    """

    log_mass: float
    mass_doubt: float
    kl: float
    kl_doubt: float


class Share(NamedTuple):
    """Exponents of the start and of the target in mu_0^s pi^(1-s): s and 1 - s, each to all its digits."""

    of_start: float
    of_target: float


@dataclass(frozen=True)
class _Points:
    """Points of a rule along an axis.

    Attributes
    ----------
    places : array (n m,)
        m in every one of the n cells, in order.
    weights : array (n, m)
    values, fewer : matrices (n m, n_fine)
        From values at the centres of the fine grid to those at the points; with fewer nodes, of the first rule only.
    """

    places: Array
    weights: Array
    values: Any
    fewer: Any = None


class CellQuadrature:
    """Quadrature of mass and KL of densities over the cells of the grid with the ratio one, with doubts.

    Parameters
    ----------
    problem : Problem
    cells : GridFamily
    fine : Grid
        The grid of the densities, with twice the cells.
    """

    def __init__(self, problem: Problem, cells: GridFamily, fine: Grid) -> None:
        self.problem, self.fine, self.grid, self.real_walls = problem, fine, cells.grid(1), cells.real_walls
        self.cells = cells
        n = POINTS.get(fine.ndim, FEWEST_POINTS)
        singular = {*cells.walls, *cells.start_walls}
        sides = [((k, 0) in singular, (k, 1) in singular) for k in range(fine.ndim)]
        # beside a singular wall the error of n points falls as n^(-2q-2), q > 0: by (2q+2)/n of itself to n + 1 points
        self.slowness = n / 2 if singular else 1.0
        axes = zip(self.grid.axes, fine.axes, sides, strict=True)
        self.rules = list(zip(*(_points(axis, source, n, walls) for axis, source, walls in axes), strict=True))
        size = sum(math.prod(len(axis.places) for axis in rule) for rule in self.rules)
        self._kept: dict[tuple[str, int, int], Array] | None = {} if size <= CACHED else None
        self._at_start: Array | None = None  # masses of the cells, as the first density that is measured has them
        self._last: Array | None = None  # and as the last one has
        self._crossed: dict[int, Any] = {}  # mass that has crossed every layer of cells, by the axis
        self._layers: dict[tuple[str, int, int], tuple[Array, Array]] = {}

    @cached_property
    def _start(self) -> Array:
        """Logarithm of the start at the centres of the fine grid, as it is given."""
        return np.asarray(self.fine.evaluate(self.problem.start.log_density))

    @cached_property
    def _still(self) -> Array:
        return -np.asarray(self.fine.evaluate(self.problem.target.log_density))

    def _potential(self, t: float) -> Array:
        """Return V at the centres of the fine grid."""
        if not self.problem.target.moving:
            return self._still
        return -np.asarray(self.fine.evaluate(self.problem.target.at(t).log_density))

    def by_reaction(self, t: float) -> tuple[Array, Measured]:
        """Return log of mu_0^s e^(-(1-s) V), what a reaction makes of the start, at the centres, and its mass and KL.

        At the beginning it is the start. A normaliser that is known is the mass.
        """
        since = t - float(self.problem.times[0])
        share = Share(math.exp(-self.problem.beta * since), -math.expm1(-self.problem.beta * since))
        potential, log_values = self._potential(t), self._start
        if share.of_target > 0:
            log_values = share.of_start * log_values - share.of_target * potential
        found = self._measured(log_values, potential, t, share)
        known = self.problem.start.log_normaliser
        if since == 0 and known is not None and not self.real_walls:
            found = Measured(float(known), 0.0, found.kl, found.kl_doubt)
        return log_values, found

    def __call__(self, log_values: Array, t: float) -> Measured:
        """Measure mass and KL of a density with log_values at the centres of the fine grid, at a time."""
        return self._measured(np.asarray(log_values), self._potential(t), t)

    def _measured(self, log_values: Array, potential: Array, t: float, share: Share | None = None) -> Measured:
        """Measure mass and KL: with a `share` s of the exact mu_0^s e^(-(1-s) V), else of what is interpolated."""
        tops = float(self.fine.log_integrate(log_values)), float(self.fine.log_integrate(-potential))
        known = self.problem.log_normaliser
        shown = [log_values - tops[0]] if known is not None else [log_values - tops[0], -potential - tops[1]]
        sums = [np.zeros((3, *self.grid.shape)) for _ in self.rules]  # of m, pi, and m log(m/pi) - m + pi
        unknown = np.zeros((3, *self.grid.shape))
        if share is None:
            between = self._interpolation(log_values, potential, t)
        for number in range(3):
            for index, slab, window in self._windows(number, *shown):
                v = self._at_points("V", number, index, slab, window, t)
                if share is None:
                    found = _integrands(*between(number, window, v), tops)
                else:
                    start = self._at_points("start", number, index, slab, window, t)
                    found = _integrands(*_mixed(share, start, v), tops)
                sums[number][:, *window] = self._summed(number, window, found)
                if share is None and number == 0:
                    rival = _integrands(*between(number, window, v, fewer=True), tops)
                    unknown[:, *window] = self._summed(number, window, np.abs(rival - found))
        measured = _measured(sums, unknown, tops, self.slowness, known)
        both = log_values - tops[0], -potential - tops[1]
        doubts = [self._of_bumps(*both, share)]
        if any(axis.joints for axis in self.grid.axes):
            doubts.append(self._beside_joints(*both, t, share))
        of_mass, of_kl = (sum(parts) for parts in zip(*doubts, strict=True))
        return replace(measured, mass_doubt=measured.mass_doubt + of_mass, kl_doubt=measured.kl_doubt + of_kl)

    def _of_bumps(self, log_p: Array, log_q: Array, share: Share | None) -> tuple[float, float]:
        """Return doubts of mass and KL for what target and start do between the points; a power of a bump does less.

        With transport a bump of the start has its share of the mass there at the start, or of that at the time.
        """
        if not (self._bumps.of_target.any() or self._bumps.of_start.any()):
            return 0.0, 0.0
        coarse_p, coarse_q = self._means(log_p), self._means(log_q)
        volume = np.asarray(self.grid.cell_volume)
        p, q = (np.exp(np.minimum(one, LARGEST)) * volume for one in (coarse_p, coarse_q))
        of_target, of_start = self._bumps.of_target, self._bumps.of_start
        if self._at_start is None:
            self._at_start = p
        of_flux = self._of_flux(p) if share is None else 0.0
        changed = 0.0
        if share is None or share.of_target > 0:
            changed = changed + p * of_target
        if share is None or share.of_start > 0:
            changed = changed + (np.maximum(p, self._at_start) if share is None else p) * of_start
        of_kl = changed * (1 + np.abs(coarse_p - coarse_q)) + (p + q) * of_target
        nats = np.abs(coarse_p - coarse_q)[p > BULK * p.max()].max()
        of_kl = np.where(np.isfinite(of_kl), of_kl, 0.0)
        return float(np.sum(changed)) + of_flux, float(np.sum(of_kl)) + of_flux * (1 + nats)

    def _of_flux(self, p: Array) -> float:
        """Bound the mass that passed bumps wrongly: what has crossed a layer of cells, times its share of resistance.

        What has crossed is taken from the masses on one side of the layer at all save times so far.
        """
        total = 0.0
        for k in range(self.grid.ndim):
            others = tuple(i for i in range(self.grid.ndim) if i != k)
            below = [np.cumsum(mass.sum(axis=others)) for mass in (self._last_masses(), p)]
            self._crossed[k] = self._crossed.get(k, 0.0) + np.abs(below[1] - below[0])
            total += float(np.sum(self._bumps.of_target.max(axis=others) * self._crossed[k]))
        self._last = p
        return total

    def _last_masses(self) -> Array:
        """Return the masses of the cells at the last save time that was measured."""
        return np.asarray(self._at_start if self._last is None else self._last)

    def _means(self, log_density: Array) -> Array:
        """Return the logarithm of the mean of a density on the fine grid over every cell."""
        return _of_pairs(np.logaddexp, np.asarray(log_density)) - self.grid.ndim * LOG_2

    @property
    def shares_of_bumps(self) -> Array:
        """Shares by which bumps between the points change the cells of the grid with the ratio one."""
        return np.maximum(self._bumps.of_target, self._bumps.of_start)

    @property
    def places_between_points(self) -> int:
        """Number of places between the points of quadrature that were looked at."""
        return self._bumps.places

    @cached_property
    def _bumps(self) -> Bumps:
        return bumps(self.problem, self.cells)

    def _beside_joints(self, log_p: Array, log_q: Array, t: float, share: Share | None) -> tuple[float, float]:
        """Return doubts of mass and KL for what is between joints and the points nearest to them.

        Log m is the interpolated g less V there, so that what V does beside a joint it does, too; with a `share` it is
        that of start and V.
        """
        of_mass = of_kl = 0.0
        coarse_p, coarse_q = self._means(log_p), self._means(log_q)
        masses = np.exp(np.minimum(np.logaddexp(coarse_p, coarse_q), LARGEST))
        for layer in layers(self.grid):
            lines = lines_through(self.grid, layer, masses)
            cell = tuple(np.insert(lines, layer.axis, layer.cell, axis=1).T)
            v, expected_v = (-part for part in self._layer("V", layer, lines, t))
            shares = Share(0.0, 1.0) if share is None else share
            exponents, expected = -shares.of_target * v, -shares.of_target * expected_v
            if shares.of_start > 0:
                start, expected_start = self._layer("start", layer, lines, t)
                exponents, expected = exponents + shares.of_start * start, expected + shares.of_start * expected_start
            area = area_of(self.grid, layer, lines)
            p = np.exp(np.minimum(coarse_p[cell], LARGEST)) * area * changed_in_layer(layer, exponents, expected)
            q = np.exp(np.minimum(coarse_q[cell], LARGEST)) * area * changed_in_layer(layer, -v, -expected_v)
            of_mass += float(p.sum())
            of_kl += float(np.sum(p * (1 + np.abs((coarse_p - coarse_q)[cell])) + q))
        return JOINT_SAFETY * of_mass, JOINT_SAFETY * of_kl

    def _layer(self, what: str, layer: Layer, lines: Array, t: float) -> tuple[Array, Array]:
        """Return the log-density of target or start beside a joint, and the polynomial there; kept on one axis."""
        distribution = self.problem.start if what == "start" else self.problem.target.at(t)
        keeps = self.grid.ndim == 1 and not (what == "V" and self.problem.target.moving)
        key = what, layer.cell, int(layer.width > 0)
        if not keeps or key not in self._layers:
            self._layers[key] = departures(self.grid, layer, distribution, lines)
        return self._layers[key]

    def _interpolation(
        self, log_values: Array, potential: Array, t: float
    ) -> Callable[..., tuple[Array, Array, Array]]:
        """Make a function of rule, window and V at its points that gives log m, V, and log m + V there.

        Under ceilings the flow sees V capped, and log m is interpolated with that; pi, and KL to it, are not capped.
        High up polynomials through few cells say nothing: there m is at most e times what it is at the centres around.
        With fewer nodes it may be more, so that it shows in the doubt where this limits mass.
        """
        g = log_values + self.problem.under_ceiling(potential, t)
        limits = self._limits(g)

        def between(number: int, window: Window, v: Array, fewer: bool = False) -> tuple[Array, Array, Array]:
            found = self._between(g, limits, number, window, fewer)
            if self.problem.ceilings is None:
                return found - v, v, found
            most = around(log_values, self.fine, self._places(number, window)) + ABOVE + (LEAST_MORE if fewer else 0)
            log_m = np.minimum(found - self.problem.under_ceiling(v, t), most)
            return log_m, v, log_m + v

        return between

    def _limits(self, g: Array) -> tuple[Array, Array]:
        """Return the least and largest values that g may have in every cell, by those at the centres around.

        Far out in tails, where neighbouring centres differ by nats without a rule, polynomials that end at a wall
        multiply that, and would put mass where none is.
        """
        from scipy.ndimage import maximum_filter, minimum_filter

        low = minimum_filter(_of_pairs(np.minimum, g), 3, mode="nearest")
        high = maximum_filter(_of_pairs(np.maximum, g), 3, mode="nearest")
        more = high - low + LEAST_MORE
        return low - more, high + more

    def _between(
        self, g: Array, limits: tuple[Array, Array], number: int, window: Window, fewer: bool = False
    ) -> Array:
        """Interpolate log m + V from the centres to the points of a window."""
        value = g
        by_cell: list[int] = []
        for k, (axis, cells) in enumerate(zip(self.rules[number], window, strict=True)):
            points = axis.weights.shape[1]
            rows = _of_cells(cells, points)
            matrix = axis.fewer if fewer else axis.values
            value = along(matrix if rows == slice(0, matrix.shape[0]) else matrix[rows], value, k)
            by_cell += [cells.stop - cells.start, points]
        ones = (slice(None), None) * len(window)
        low, high = (limit[window][ones] for limit in limits)
        return np.clip(value.reshape(by_cell), low, high).reshape(value.shape)

    def _at_points(self, what: str, number: int, index: int, slab: slice, window: Window, t: float) -> Array:
        """Return the v, or the logarithm of the start, at the points of a window; kept where it does not change."""
        target = self.problem.target
        if self._kept is None or (what == "V" and target.moving):
            return self._evaluated(what, number, window, t)
        key = what, number, index
        if key not in self._kept:
            everywhere = slab, *(slice(0, n) for n in self.grid.shape[1:])
            self._kept[key] = self._evaluated(what, number, everywhere, t)
        axes = self.rules[number]
        here = slice(window[0].start - slab.start, window[0].stop - slab.start), *window[1:]
        points = tuple(_of_cells(cells, axis.weights.shape[1]) for cells, axis in zip(here, axes, strict=True))
        return np.asarray(self._kept[key][points])

    def _evaluated(self, what: str, number: int, window: Window, t: float) -> Array:
        check_deadline()
        points = np.stack(np.meshgrid(*self._places(number, window), indexing="ij"), axis=-1)
        distribution = self.problem.start if what == "start" else self.problem.target.at(t)
        with np.errstate(all="ignore"):
            values = np.asarray(distribution.log_density(points), dtype=np.float64)
        return values if what == "start" else -values

    def _places(self, number: int, window: Window) -> list[Array]:
        """Return the points of a window along every axis."""
        axes = zip(window, self.rules[number], strict=True)
        return [axis.places[_of_cells(cells, axis.weights.shape[1])] for cells, axis in axes]

    def _windows(self, number: int, *log_densities: Array) -> Iterator[tuple[int, slice, Window]]:
        """Yield slabs of the first axis, by number, and the cells of each that matter, along every axis."""
        each = math.prod(len(axis.places) for axis in self.rules[number][1:]) * self.rules[number][0].weights.shape[1]
        thick = max(1, SLAB // each)
        matters = None
        if self.grid.ndim > 1:
            matters = self._matters(log_densities)
        for index, first in enumerate(range(0, self.grid.shape[0], thick)):
            slab = slice(first, min(first + thick, self.grid.shape[0]))
            if matters is None:
                yield index, slab, (slab,)
                continue
            here = matters[slab]
            if here.any():
                inner = [_extent(here, k) for k in range(self.grid.ndim)]
                yield index, slab, (slice(first + inner[0].start, first + inner[0].stop), *inner[1:])

    def _matters(self, log_densities: Sequence[Array]) -> np.ndarray:
        """Return a mask of the cells with a share of the mass that counts, and those beside them."""
        from scipy.ndimage import maximum_filter

        masses: Any = 0.0
        for log_density in log_densities:
            masses = masses + np.exp(np.minimum(log_density, LARGEST)) * self.fine.cell_volume
        return np.asarray(maximum_filter(_of_pairs(np.maximum, masses), 3) > NEGLIGIBLE / self.fine.size)

    def _summed(self, number: int, window: Window, integrands: Array) -> Array:
        """Sum integrands (3, ...) with weights over the points of every cell of a window."""
        for k, (axis, cells) in enumerate(zip(self.rules[number], window, strict=True), start=1):
            lines = np.moveaxis(integrands, k, -1)
            weights = axis.weights[cells]
            lines = np.einsum("...am,am->...a", lines.reshape(*lines.shape[:-1], *weights.shape), weights)
            integrands = np.moveaxis(lines, -1, k)
        return integrands


def _integrands(log_m: Array, v: Array, g: Array, tops: tuple[float, float]) -> Array:
    """Return p, q and p log(p/q) - p + q (3, ...) at the points of a window; what is not finite has no mass.

    log p = log_m - tops[0], log q = -v - tops[1], and g = log_m + v.
    """
    log_p, log_q, log_ratio = log_m - tops[0], -v - tops[1], g - tops[0] + tops[1]
    with np.errstate(invalid="ignore", over="ignore"):
        p, q = (np.exp(np.minimum(values, LARGEST)) for values in (log_p, log_q))
        p, q = (np.where(np.isfinite(log), values, 0.0) for log, values in ((log_p, p), (log_q, q)))
        near = np.abs(log_ratio) < NEAR
        cancelling = p * (log_ratio + np.expm1(-np.where(near, log_ratio, 0.0)))
        excess = np.where(near, cancelling, np.where(p > 0, p * log_ratio, 0.0) - p + q)
        excess = np.where(np.isfinite(excess), excess, 0.0)
    return np.stack([p, q, excess])


def _mixed(share: Share, start: Array, v: Array) -> tuple[Array, Array, Array]:
    """Return log m of mu_0^s e^(-(1-s) V), V, and log m + V, by log mu_0 and V."""
    with np.errstate(invalid="ignore"):  # no 0 times infinity at the ends
        if share.of_target == 0:
            return start, v, start + v
        if share.of_start == 0:
            return -v, v, np.zeros_like(v)
        return share.of_start * start - share.of_target * v, v, share.of_start * (start + v)


def _measured(
    sums: Sequence[Array],
    unknown: Array,
    tops: tuple[float, float],
    slowness: float,
    log_normaliser: float | None = None,
) -> Measured:
    """Compute mass and KL from the integrals (3, *cells) of every rule, the last of which is the answer.

    With P, Q, E the integrals of p, q and p log(p/q) - p + q, KL = E/P - x + log(1 + x) with x = (Q - P)/P, whatever
    p and q are multiplied by. Where the normaliser of pi is known, as the cells hold a part of it only, it takes the
    place of that of q: E/P - x - log P. Doubts are to first order, and differences of rules count `slowness` times.
    """
    p, q, excess = (float(part.sum()) for part in sums[-1])
    known = log_normaliser is not None
    if not (p > 0 and (known or q > 0) and math.isfinite(p) and math.isfinite(q) and math.isfinite(excess)):
        return Measured(tops[0], math.inf, math.inf, math.inf)
    more = (q - p) / p
    if log_normaliser is None:
        log_share = math.log1p(more) if abs(more) < 0.5 else math.log(q / p)
    else:
        log_share = log_normaliser - tops[1] - math.log(p)
    kl = excess / p + (log_share - more)
    # of KL in P, Q and E
    slopes = np.array([((q - excess) / p - 1) / p, (0.0 if known else 1 / q) - 1 / p, 1 / p])
    of_kl = [np.tensordot(slopes, part, axes=1) for part in sums]
    mass_doubt = slowness * _apart([part[0] for part in sums]) + float(np.abs(unknown[0]).sum())
    kl_doubt = slowness * _apart(of_kl) + float(np.tensordot(np.abs(slopes), unknown, axes=1).sum())
    return Measured(tops[0] + math.log(p), mass_doubt / p, kl, kl_doubt)


def _apart(found: Sequence[Array]) -> float:
    """Sum over the cells the largest difference between two rules."""
    pairs = [np.abs(one - other) for one, other in itertools.combinations(found, 2)]
    return float(np.max(pairs, axis=0).sum())


def _of_pairs(function: Any, values: Array) -> Array:
    """Apply a function of two arrays to the values in every cell, which is two of the fine grid along every axis."""
    for k in range(values.ndim):
        even, odd = (slice(None),) * k + (slice(0, None, 2),), (slice(None),) * k + (slice(1, None, 2),)
        values = function(values[even], values[odd])
    return values


def _of_cells(cells: slice, points: int) -> slice:
    """Return the points of some cells."""
    return slice(cells.start * points, cells.stop * points)


def _extent(here: np.ndarray, k: int) -> slice:
    """Return a slice along an axis from the first to the last place where a mask is true."""
    found = np.flatnonzero(here.any(axis=tuple(i for i in range(here.ndim) if i != k)))
    return slice(int(found[0]), int(found[-1]) + 1)


def _points(axis: Axis, fine: Axis, points: int, singular: tuple[bool, bool]) -> list[_Points]:
    """Return the points of all rules, with `points` of the first in every cell, along an axis."""
    places, weights = zip(*(_of_rule(axis, number, points + number, singular) for number in range(3)), strict=True)
    ends = np.cumsum([len(x) for x in places])[:-1]
    index, values = (np.split(part, ends) for part in local_weights(fine, np.concatenate(places), NODES))
    fewer = matrix(*local_weights(fine, places[0], FEWER_NODES), fine.n)
    matrices = [matrix(i, v, fine.n) for i, v in zip(index, values, strict=True)]
    return [_Points(*one) for one in zip(places, weights, matrices, (fewer, None, None), strict=True)]


def cell_rule(axis: Axis, points: int, singular: tuple[bool, bool] = (False, False)) -> tuple[Array, Array]:
    """Return the places (n m,) and weights (n, m) of Gauss's rule with m `points` in each of the n cells of an axis.

    In cells beside walls where densities are powers of the distance (`singular`) it is one in a variable in which
    these are smoother.
    """
    return _of_rule(axis, 0, points, singular)


def _of_rule(axis: Axis, number: int, points: int, singular: tuple[bool, bool]) -> tuple[Array, Array]:
    """Return the places and weights of rule `number`, with so many `points` in every cell."""
    inner = gauss(points) if number < 2 else lobatto(points)
    at_ends = gauss(points)  # no point in a wall or a joint, where V may be infinite or jump
    closed = axis.periodic and not axis.joints
    places, weights = [], []
    for cells in axis.segments:
        count = cells.stop - cells.start
        fractions, shares = np.tile(inner[0], (count, 1)), np.tile(inner[1], (count, 1))
        if not closed:
            for end in (0, -1):
                fractions[end], shares[end] = at_ends
        if cells.start == 0 and singular[0]:
            fractions[0], shares[0] = _towards_wall(*at_ends)
        if cells.stop == axis.n and singular[1]:
            u, w = _towards_wall(*at_ends)
            fractions[-1], shares[-1] = (1 - u)[::-1], w[::-1]
        own = _in_segment(axis.segment(cells), fractions, shares)
        places.append(own[0])
        weights.append(own[1])
    return np.concatenate(places), np.concatenate(weights)


def _towards_wall(nodes: Array, weights: Array) -> tuple[Array, Array]:
    """Return a rule on [0, 1] in the variable u = v^3, in which powers of u are smoother at the wall u = 0."""
    return nodes**WALL_POWER, weights * WALL_POWER * nodes ** (WALL_POWER - 1)


def _in_segment(segment: Axis, fractions: Array, shares: Array) -> tuple[Array, Array]:
    """Return places (n m,) and weights (n, m) in the cells of a segment, in the variable in which these are regular."""
    edges = segment.in_root(segment.edges)
    steps = np.diff(edges)[:, None]
    s = edges[:-1, None] + fractions * steps
    weights, power = shares * steps, max(segment.roots)
    if segment.roots == (1.0, 1.0):
        return s.ravel(), weights
    distance = np.abs(s)
    weights = weights * power * distance ** (power - 1)
    wall, side = (segment.edges[0], 1.0) if segment.roots[0] != 1 else (segment.edges[-1], -1.0)
    # no place is in a wall, whatever rounding does
    nearest = np.nextafter(segment.edges[[0, -1]], segment.edges[[-1, 0]])
    return np.clip(wall + side * distance**power, *nearest).ravel(), weights
