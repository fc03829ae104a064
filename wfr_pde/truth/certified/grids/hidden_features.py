"""V looked at everywhere: whether it does something between the cell centres that they do not show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.enclosures import EPS, Enclosure, centre_and_half, enclosure
from wfr_pde.targets.potential import Potential

if TYPE_CHECKING:
    from wfr_pde.space.grid import Grid

Array = np.ndarray[Any, np.dtype[Any]]

WITHIN = 40.0  # nats above the lowest centre: a mass of e^-40 does not matter
SLACK = 0.5  # nats that V may depart unnoticed: a factor of 1.6 in density, within a cell
STEEP = 0.1  # share of its change from centre to centre that it may depart in addition: walls are steep, and bent
MOST_STEEP = 4  # times the slack, that this may be at most
EVALUATIONS = {1: 10**6, 2: 2 * 10**6}  # places looked at, at most; 1e6 beyond 2D
BOXES = {1: 10**5, 2: 5 * 10**5}  # of a proof, all of its rounds together: where they do not do, places are looked at
MOST_PER_CELL = {1: 2**14, 2: 2**10}  # places in a cell, at most
POINTS_AT_ONCE = 2**15  # evaluated together; no number depends on it
CANDIDATES, CLOSER_POINTS, CLOSER_ROUNDS = 32, 64, 4  # cells looked at more closely, about their largest departure
SHARP = 0.1  # share of a departure to which its size is bounded
NARROWEST = 1e-13  # of the box: places that are closer are told apart by a few last digits only
RIM = {1: 2.0**-20, 2: 2.0**-5}  # of a cell: width to which a jump is followed
GOLDEN = 0.6180339887498949  # the golden ratio less one: its multiples mod 1 are even shares, however many


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of V between the cell centres; made by `look`.

    Attributes
    ----------
    kind : "proved" or "looked"
        Whether bounds prove that V departs nowhere by more than is let pass, or places were looked at.
    places : int
        Number of places, and boxes of a proof, at which V was evaluated.
    depth : float
        Largest departure of V from what the centres around suggest, in nats: an upper bound if "proved", the largest
        one seen if "looked", of those that are too large if there are any.
    where : array (d,) or None
        Place of the largest departure that is too large; None if none was seen.
    slack : float
        Departures that are let pass, beside a tenth of the change of V from centre to centre (at most four times it).
    lower, upper : arrays (m, d)
        Corners of boxes that hold the departures seen that are too large.
    """

    kind: Literal["proved", "looked"]
    places: int
    depth: float
    where: Array | None
    slack: float
    lower: Array
    upper: Array

    @property
    def hides(self) -> bool:
        """Whether V was seen to do something that the centres do not show."""
        return self.where is not None


def both(*looks: Look) -> Look:
    """Join some looks at the same cells: proved if all are, with all that was seen."""
    worst = max(looks, key=lambda one: (one.hides, one.depth))
    return Look(
        "proved" if all(one.kind == "proved" for one in looks) else "looked",
        sum(one.places for one in looks),
        worst.depth,
        worst.where,
        worst.slack,
        np.concatenate([one.lower for one in looks]),
        np.concatenate([one.upper for one in looks]),
    )


def hidden_features(seen: Look) -> tuple[Array, ...]:
    """Return intervals (m, 2) per axis, joined and sorted, that want finer cells for what centres do not show."""
    features = []
    for low, high in zip(seen.lower.T, seen.upper.T, strict=True):
        joined: list[list[float]] = []
        for left, right in sorted(zip(low.tolist(), high.tolist(), strict=True)):
            if joined and left <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], right)
            else:
                joined.append([left, right])
        features.append(np.array(joined).reshape(-1, 2))
    return tuple(features)


def look(
    target: Target,
    grid: Grid,
    *,
    matters: Any = None,
    within: float = WITHIN,
    slack: float = SLACK,
    evaluations: int | None = None,
    boxes: int | None = None,
) -> Look:
    """Look whether V = -log_density does something between the cell centres of `grid` that they do not show.

    Between neighbouring centres c, at t in [0, 1]^d, they suggest the multilinear interpolant with the curvature of
    their own second differences, P = Σ w(t) V(c) - ½ Σ_k t_k (1 - t_k) h_k² V_kk, V_kk the smallest of the corners
    if they have one sign, else 0. The departure is |V - P|, an error of order 3 where V is smooth; it is let pass up to
    `slack` and a tenth of the range of V over the corners, that being four times the slack at most. Where V may jump
    (where an expression says so, else in boxes with a break of the target) it is at most the distance of V from the
    range of the corners and their neighbours, as these show a jump (if not whether what they show is narrower than a
    cell). Where no corner matters, it is by how much V dips below both P and the level that matters: a hole there is
    seen.

    An expression of one or two coordinates is bounded box by box, in the natural and in the mean value form, and boxes
    are halved until all departures may pass ("proved"), or one that is too large is seen. What is left, and other
    targets, is looked at, at places of low discrepancy.

    Parameters
    ----------
    target : Target
        That does not move.
    grid : Grid
        Of the dimension of the target.
    matters : array of bool of the shape of the grid, optional
        Cells that matter; by default those within `within` nats of the lowest centre.
    within : float
        Nats above the lowest centre up to which V matters.
    slack : float
        Departures, in nats, that are let pass.
    evaluations : int, optional
        Places looked at, at most; by default 1e6 in 1D, 2e6 in 2D, 1e6 beyond.
    boxes : int, optional
        Boxes bounded for a proof, at most; by default 1e5 in 1D, 5e5 in 2D, none beyond. 0 for no proof.

    Raises
    ------
    ValueError
        If the dimensions differ, the target moves, nothing matters, or slack or within is not positive.
    """
    if target.moving or target.ndim != grid.ndim:
        raise ValueError(
            f"{target!r} {'moves: take target.at(t)' if target.moving else f'is {target.ndim}-dimensional'}, and the "
            f"grid is {grid.ndim}-dimensional"
        )
    if not (slack > 0 and within > 0):
        raise ValueError(f"slack and within are positive numbers of nats, got {slack} and {within}")
    d = grid.ndim
    suggested = _Suggested(target, grid, matters, within, slack)
    seen = _Seen(slack, d)
    left = np.arange(suggested.count)
    bounded = _bounded(target)
    most = BOXES.get(d, 0) if boxes is None else boxes
    if bounded is not None and suggested.count <= most:
        left = _prove(suggested, bounded, seen, most)
    else:
        suggested.step_at(target.breaks(grid.lower, grid.upper))
    if len(left):
        _look_at(suggested, target, seen, left, EVALUATIONS.get(d, 10**6) if evaluations is None else evaluations)
    return seen.result(proved=len(left) == 0)


def _bounded(target: Target) -> Enclosure | None:
    """Return bounds of V on boxes, where it is an expression; else None."""
    return enclosure(target.V, target.ndim) if isinstance(target, Potential) and isinstance(target.V, str) else None


class _Seen:
    """What a look has gathered so far."""

    def __init__(self, slack: float, ndim: int) -> None:
        self.slack, self.places, self.bound = slack, 0, 0.0
        self.depth: float = 0.0
        self.where: Array | None = None
        self.lower: list[Array] = [np.empty((0, ndim))]
        self.upper: list[Array] = [np.empty((0, ndim))]

    def note(self, departures: Array, allowed: Array, points: Array) -> None:
        """Note departures (m,) that were measured at points (m, d), and what is let pass there."""
        self.places += len(departures)
        beyond = departures > allowed
        if beyond.any() and self.where is None:
            self.depth = 0.0
        if self.where is None and not beyond.any():
            self.depth = max(self.depth, float(departures.max(initial=0.0)))
        elif beyond.any() and departures[beyond].max() > self.depth:
            worst = int(np.where(beyond, departures, -1.0).argmax())
            self.depth, self.where = float(departures[worst]), points[worst].copy()

    def departs_in(self, lower: Array, upper: Array) -> None:
        """Note boxes that hold departures beyond the slack."""
        self.lower.append(lower)
        self.upper.append(upper)

    def result(self, proved: bool) -> Look:
        """Make the look of what was noted."""
        holds = proved and self.where is None
        return Look(
            "proved" if holds else "looked",
            self.places,
            max(self.bound, self.depth) if holds else self.depth,
            self.where,
            self.slack,
            np.concatenate(self.lower),
            np.concatenate(self.upper),
        )


class _Suggested:
    """What the centres suggest, on the boxes between neighbouring centres; those at walls reach up to them.

    Attributes of every box, by its number: `corners` V at its 2^d centres, `bends` -½ h_k² V_kk, `origin` the lowest
    of its centres, `steps` h, `lower`, `upper` its own corners, `matters`, `allowed` departures that are let pass.
    """

    def __init__(self, target: Target, grid: Grid, matters: Any, within: float, slack: float) -> None:
        self.grid, self.ndim = grid, grid.ndim
        with np.errstate(all="ignore"):
            slabs = [-np.asarray(target.log_density(grid.points(slab))) for slab in grid.slabs()]
        values = np.concatenate(slabs)
        self.target, finite = target, np.isfinite(values)
        if not finite.any():
            raise ValueError(f"{target!r} has no finite log-density at any centre of {grid!r}")
        self.level = float(values[finite].min()) + within
        mask = (values <= self.level) if matters is None else np.asarray(matters, dtype=bool)
        if mask.shape != grid.shape or not mask.any():
            raise ValueError(f"matters must have the shape {grid.shape} of the grid and mark cells, got {mask.shape}")
        values = np.where(finite, values, np.inf)
        axes = grid.axes
        spans = [self._spans(axis.centres, axis.edges) for axis in axes]
        self.count = math.prod(len(span[0]) for span in spans)
        self.lower, self.upper, self.origin, self.steps = (
            np.stack([part.ravel() for part in np.meshgrid(*(span[i] for span in spans), indexing="ij")], axis=-1)
            for i in range(4)
        )
        self.shifts = list(itertools.product((0, 1), repeat=self.ndim))
        self.corners = np.stack([self._shifted(values, shift) for shift in self.shifts], axis=-1)
        self.matters: Array = np.any([self._shifted(mask, shift) for shift in self.shifts], axis=0)
        self.blind: Array = ~np.isfinite(self.corners).all(axis=-1)  # nothing is suggested: V counts as infinite there
        self.bends = np.stack([self._bend(values, k, axes[k].centres) for k in range(self.ndim)], axis=-1)
        self.lowest, self.highest = (self._around(values, f) for f in (np.minimum, np.maximum))
        self.stepped = np.zeros(self.count, dtype=bool)  # boxes in which V may jump
        size = np.where(self.blind, 0.0, np.abs(self.corners).max(axis=-1))
        with np.errstate(all="ignore"):
            spread = np.where(self.blind, 0.0, np.ptp(self.corners, axis=-1))
        self.allowed = slack + np.where(self.matters, np.minimum(STEEP * spread, MOST_STEEP * slack), 0.0)
        place = (np.abs(self.lower) + np.abs(self.upper)) / self.steps
        self.rounding = 32 * EPS * (size + (spread[:, None] * place).sum(axis=-1) + np.abs(self.bends).sum(axis=-1))

    @staticmethod
    def _spans(centres: Array, edges: Array) -> tuple[Array, Array, Array, Array]:
        lower, upper = centres[:-1].copy(), centres[1:].copy()
        lower[0], upper[-1] = edges[0], edges[-1]
        return lower, upper, centres[:-1], np.diff(centres)

    def step_at(self, breaks: Breaks) -> None:
        """Mark the boxes that hold a break."""
        for k, places in enumerate(breaks.places):
            first = np.searchsorted(places, self.lower[:, k], "left")
            self.stepped |= first < np.searchsorted(places, self.upper[:, k], "right")

    def _shifted(self, values: Array, shift: tuple[int, ...]) -> Array:
        index = tuple(slice(s, n - 1 + s) for s, n in zip(shift, values.shape, strict=True))
        return values[index].ravel()

    def _around(self, values: Array, extreme: Any) -> Array:
        """Return the smallest or largest V at the corners of every box and their neighbours, continued beyond walls."""
        for k in range(self.ndim):
            along = np.moveaxis(values, k, -1)
            with np.errstate(all="ignore"):
                beyond = [2 * along[..., [end]] - along[..., [inner]] for end, inner in ((0, 1), (-1, -2))]
            ends = [np.where(np.isfinite(b), b, along[..., [end]]) for b, end in zip(beyond, (0, -1), strict=True)]
            wide = np.concatenate([ends[0], along, ends[1]], axis=-1)
            values = np.moveaxis(extreme(extreme(wide[..., :-2], along), wide[..., 2:]), -1, k)
        return reduce(extreme, [self._shifted(values, shift) for shift in self.shifts])

    def _bend(self, values: Array, k: int, centres: Array) -> Array:
        """Compute -½ h² V_kk of every box, by the smallest second difference quotient of its corners."""
        along = np.moveaxis(values, k, -1)
        h = np.diff(centres)
        with np.errstate(all="ignore"):
            slopes = np.diff(along, axis=-1) / h
            inner = 2 * np.diff(slopes, axis=-1) / (h[1:] + h[:-1])
        quotients = np.moveaxis(np.concatenate([inner[..., :1], inner, inner[..., -1:]], axis=-1), -1, k)
        each = np.stack([self._shifted(quotients, shift) for shift in self.shifts])
        least, most = each.min(axis=0), each.max(axis=0)
        smallest = np.where(least > 0, least, np.where(most < 0, most, 0.0))
        return np.where(np.isfinite(smallest), -0.5 * self.steps[:, k] ** 2 * smallest, 0.0)

    def at(self, cells: Array, points: Array) -> Array:
        """Evaluate the suggestion P at points (m, d) of the boxes `cells` (m,); infinite where there is none."""
        t = (points - self.origin[cells]) / self.steps[cells]
        total = (self.bends[cells] * t * (1 - t)).sum(axis=-1)
        for shift, corner in zip(self.shifts, self.corners[cells].T, strict=True):
            total = total + corner * np.prod(np.where(shift, t, 1 - t), axis=-1)
        return np.where(self.blind[cells], np.inf, total)

    def slopes(self, cells: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Bound (m, d) the partial derivatives of P on boxes (m, d) within the boxes `cells`."""
        ends = [(corner - self.origin[cells]) / self.steps[cells] for corner in (lower, upper)]
        corners = self.corners[cells]
        low, high = [], []
        for k in range(self.ndim):
            bend = [self.bends[cells, k] * (1 - 2 * t[:, k]) for t in ends]
            # linear in every other coordinate: extreme at the corners
            rises = [self._rise(corners, k, [ends[s][:, i] for i, s in enumerate(vertex)]) for vertex in self.shifts]
            low.append((reduce(np.minimum, rises) + np.minimum(*bend)) / self.steps[cells, k])
            high.append((reduce(np.maximum, rises) + np.maximum(*bend)) / self.steps[cells, k])
        return np.stack(low, axis=-1), np.stack(high, axis=-1)

    def _rise(self, corners: Array, k: int, t: list[Array]) -> Array:
        total = np.zeros(len(corners))
        for j, shift in enumerate(self.shifts):
            weight = np.ones(len(corners))
            for i in range(self.ndim):
                if i != k:
                    weight = weight * (t[i] if shift[i] else 1 - t[i])
            total += (1 if shift[k] else -1) * weight * corners[:, j]
        return total

    def departures(self, cells: Array, points: Array, values: Array) -> Array:
        """Return departures (m,) of V = `values` at points (m, d) of the boxes `cells`; infinite without V."""
        values = np.where(np.isposinf(values), np.finfo(np.float64).max, values)
        with np.errstate(all="ignore"):
            expected = self.at(cells, points)
            apart = np.abs(values - expected)
            outside = np.maximum(np.maximum(values - self.highest[cells], self.lowest[cells] - values), 0.0)
            apart = np.where(self.stepped[cells], np.minimum(apart, outside), apart)
            dip = np.maximum(np.minimum(expected, self.level) - values, 0.0)
            full = self.matters[cells] & ~self.blind[cells]
            result = np.where(full, apart, dip) - self.rounding[cells]
        undefined = np.isnan(values)
        return np.where(undefined & ~self.blind[cells], np.inf, np.where(undefined, 0.0, np.maximum(result, 0.0)))


def _prove(suggested: _Suggested, bounded: Enclosure, seen: _Seen, most: int) -> Array:
    """Bound the departures box by box; return the numbers of the boxes between centres that stay undecided."""
    cells = np.arange(suggested.count)
    lower, upper = suggested.lower.copy(), suggested.upper.copy()
    least = NARROWEST * (suggested.upper.max(axis=0) - suggested.lower.min(axis=0))
    rim = RIM.get(suggested.ndim, RIM[2])
    first, done, undecided = True, 0, [np.empty(0, dtype=int)]
    rims = np.zeros(len(cells), dtype=bool)  # boxes halved of one in which V was seen to depart
    while len(cells):
        check_deadline()
        if done + len(cells) > most:
            undecided.append(cells)
            seen.departs_in(lower[rims], upper[rims])
            break
        done += len(cells)
        piece = _Bounded(suggested, bounded, cells, lower, upper, first)
        first = False
        seen.note(piece.measured, suggested.allowed[cells], piece.centre)
        # once something is found there is no proof to be had: its rim need not be followed
        allowed = suggested.allowed[cells]
        beyond = piece.measured > allowed
        settled = ~beyond & (piece.most <= (allowed if seen.where is None else 2 * allowed))
        seen.bound = max(seen.bound, float(piece.most[settled].max(initial=0.0)))
        near = settled & rims & (piece.most > allowed)
        with np.errstate(over="ignore"):
            doubt = piece.measured + np.maximum(allowed, SHARP * piece.measured)
        sharp = (piece.least > 0.5 * allowed) & (piece.most <= doubt)
        narrow = np.all(upper - lower <= least, axis=-1)
        # bounds across a jump do not shrink, and in the plane it runs through ever more boxes
        narrow |= piece.jumps & np.all(upper - lower <= rim * suggested.steps[cells], axis=-1)
        hit = near | (beyond & (sharp | narrow | (piece.most <= 2 * allowed)))
        seen.departs_in(lower[hit], upper[hit])
        undecided.append(cells[narrow & ~settled & ~hit])
        halved = ~settled & ~hit & ~narrow
        cells, lower, upper = _halves(cells[halved], lower[halved], upper[halved], piece.reach[halved])
        rims = np.tile((rims | beyond)[halved], 2)
    return np.unique(np.concatenate(undecided))


class _Bounded:
    """Bounds of the departures on some boxes.

    `least` and `most` bound the departure in every box, `jumps` is where V may jump, `measured` is that at its
    `centre`, `reach` (m, d) by how much V - P may change from there along every axis.
    """

    def __init__(
        self, suggested: _Suggested, bounded: Enclosure, cells: Array, lower: Array, upper: Array, first: bool
    ) -> None:
        self.centre, half = centre_and_half(lower, upper)
        bounds = bounded.bounds(lower, upper)
        self.jumps = bounds.jumps
        bottom, top = bounded(self.centre, self.centre)
        if first:
            suggested.stepped[cells] = self.jumps
        rounding = suggested.rounding[cells]
        with np.errstate(all="ignore"):
            expected = suggested.at(cells, self.centre)
            slope_low, slope_high = suggested.slopes(cells, lower, upper)
            steepest = np.maximum(np.abs(bounds.slope_high - slope_low), np.abs(slope_high - bounds.slope_low))
            self.reach = np.where(np.isnan(steepest), np.inf, half * steepest)
            reach = self.reach.sum(axis=-1) + rounding
            change = (half * np.maximum(np.abs(slope_low), np.abs(slope_high))).sum(axis=-1) + rounding  # of P alone
            low = np.fmax(bottom - expected - reach, bounds.low - expected - change)
            high = np.fmin(top - expected + reach, bounds.high - expected + change)
            apart = np.maximum(high, -low)
            surely = np.maximum(low, -high)
            highest, lowest, stepped = suggested.highest[cells], suggested.lowest[cells], suggested.stepped[cells]
            outside = np.maximum(np.maximum(bounds.high - highest, lowest - bounds.low), 0.0)
            apart = np.where(stepped, np.minimum(apart, outside), apart)
            surely = np.where(stepped, np.maximum(bounds.low - highest, lowest - bounds.high), surely)
            full, level = suggested.matters[cells] & ~suggested.blind[cells], suggested.level
            most = np.where(full, apart, np.fmin(-low, level - bounds.low))
            least = np.where(full, surely, np.minimum(-high, level - bounds.high))
            self.most = np.where(np.isnan(most), np.inf, np.maximum(most, 0.0))
            self.least = np.where(np.isnan(least), 0.0, np.maximum(least, 0.0))
            value = 0.5 * bottom + 0.5 * top
            bad = ~np.isfinite(value)
            if bad.any():
                value[bad] = -np.asarray(suggested.target.log_density(self.centre[bad]))
        self.measured = suggested.departures(cells, self.centre, value)


def _halves(cells: Array, lower: Array, upper: Array, reach: Array) -> tuple[Array, Array, Array]:
    """Halve boxes along the axis along which V - P may change most."""
    width = upper - lower
    unbounded = ~np.isfinite(reach)
    weight = np.where(unbounded.any(axis=-1, keepdims=True), np.where(unbounded, width, 0.0), reach)
    axis = np.arange(lower.shape[-1]) == np.argmax(weight, axis=-1)[:, None]
    middle = lower + 0.5 * width
    return (
        np.concatenate([cells, cells]),
        np.concatenate([lower, np.where(axis, middle, lower)]),
        np.concatenate([np.where(axis, middle, upper), upper]),
    )


def _look_at(suggested: _Suggested, target: Target, seen: _Seen, cells: Array, evaluations: int) -> None:
    """Note departures at places of low discrepancy in the boxes `cells`, and more closely about the largest ones."""
    d = suggested.ndim
    per_cell = int(np.clip(evaluations // len(cells), 1, MOST_PER_CELL.get(d, 2**8)))
    evaluate = _evaluation(suggested, target)
    unit = low_discrepancy(per_cell, d)
    width = suggested.upper - suggested.lower
    rows = max(1, POINTS_AT_ONCE // per_cell)
    largest, places = np.empty(len(cells)), np.empty((len(cells), d))
    for start in range(0, len(cells), rows):
        check_deadline()
        some = cells[start : start + rows]
        # another shift in every box, so that what repeats from cell to cell is seen, too
        share = (unit + GOLDEN * (some[:, None, None] + 1) * np.sqrt(np.arange(1, d + 1))) % 1.0
        points = suggested.lower[some][:, None] + share * width[some][:, None]
        departures = evaluate(np.repeat(some, per_cell), points.reshape(-1, d)).reshape(len(some), per_cell)
        seen.note(departures.ravel(), np.repeat(suggested.allowed[some], per_cell), points.reshape(-1, d))
        worst = departures.argmax(axis=1)
        largest[start : start + rows] = departures[np.arange(len(some)), worst]
        places[start : start + rows] = points[np.arange(len(some)), worst]
        _mark(seen, suggested, some, points, departures, width[some] * per_cell ** (-1 / d))
    best = np.argsort(suggested.allowed[cells] - largest)[:CANDIDATES]
    _look_closer(suggested, evaluate, seen, cells[best], places[best], width[cells[best]] * per_cell ** (-1 / d))


def _evaluation(suggested: _Suggested, target: Target) -> Callable[[Array, Array], Array]:
    def evaluate(cells: Array, points: Array) -> Array:
        with np.errstate(all="ignore"):
            return suggested.departures(cells, points, -np.asarray(target.log_density(points)))

    return evaluate


def _look_closer(
    suggested: _Suggested,
    evaluate: Callable[[Array, Array], Array],
    seen: _Seen,
    cells: Array,
    centres: Array,
    spacing: Array,
) -> None:
    """Note departures about some places, from twice the spacing down."""
    d = suggested.ndim
    share = 2 * low_discrepancy(CLOSER_POINTS, d) - 1
    for _ in range(CLOSER_ROUNDS):
        points = centres[:, None] + 2 * share * spacing[:, None]
        points = np.clip(points, suggested.lower[cells][:, None], suggested.upper[cells][:, None])
        departures = evaluate(np.repeat(cells, CLOSER_POINTS), points.reshape(-1, d)).reshape(len(cells), -1)
        seen.note(departures.ravel(), np.repeat(suggested.allowed[cells], CLOSER_POINTS), points.reshape(-1, d))
        centres = points[np.arange(len(cells)), departures.argmax(axis=1)]
        spacing = spacing * 2 * CLOSER_POINTS ** (-1 / d)
        _mark(seen, suggested, cells, points, departures, spacing)


def _mark(seen: _Seen, suggested: _Suggested, cells: Array, points: Array, departures: Array, spacing: Array) -> None:
    """Note the boxes around the places of every cell where V departs."""
    beyond = departures > suggested.allowed[cells][:, None]
    some = beyond.any(axis=1)
    if some.any():
        marked = beyond[some][..., None]
        lower = np.where(marked, points[some], np.inf).min(axis=1) - spacing[some]
        upper = np.where(marked, points[some], -np.inf).max(axis=1) + spacing[some]
        bottom, top = suggested.lower[cells[some]], suggested.upper[cells[some]]
        seen.departs_in(np.maximum(lower, bottom), np.minimum(upper, top))


def low_discrepancy(n: int, d: int) -> Array:
    """Return places (n, d) in the unit cube: equal steps in 1D, else multiples of powers of 1/g, g^(d+1) = g + 1."""
    if d == 1:
        return ((np.arange(n) + 0.5) / n)[:, None]
    g = 2.0
    for _ in range(64):
        g = (1 + g) ** (1 / (d + 1))
    return (0.5 + np.arange(1, n + 1)[:, None] * g ** -np.arange(1.0, d + 1)) % 1.0
