"""Intervals on a line that hold what is narrower than the places of a scan show of the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.gauss_rules import gauss, lagrange
from wfr_pde.numerics.typing import Array, Ints
from wfr_pde.space.axis import Axis
from wfr_pde.targets.enclosures import EPS, Bounds, Enclosure

OUTLIER = 100.0  # times the median of a cell, from which on a difference belongs to something narrow
NOISE = 256 * EPS  # of the largest V: differences of order four multiply rounding by 16
FIRST_BOXES, FEWEST_BOXES = 2**13, 4  # whose slopes are bounded, in all cells of a line together, and in each
MOST_BOXES = 2**16  # all rounds together: more follow narrower features and cost time
STEEPER = 32.0, 4.0  # times the change of slope that places show: boxes with wider bounds are halved, at first and then
OFF_EDGES = 1e-9  # of a cell: what is nearer to an edge is looked at elsewhere
HALVINGS = 40  # of a box, to 1e-12 of it
LEAST_EFFECT = 1e-13  # nats times share of the box: what could do less is not followed
DEEP = 3  # halvings after which a box is one of something narrow, which the next grid resolves
PART = 0.01  # of the largest departure: what belongs to it


def spans_of_places(x: Array, v: Array) -> Array:
    """Return intervals (k, 2), at most one per cell, around places where V is less smooth than in the rest of it.

    `x` (n, m) are places in equal steps, and `v` V there. Differences of order four of something that is narrow, or has
    a kink, are far larger than their median in the cell.
    """
    if not len(x):
        return np.empty((0, 2))
    with np.errstate(all="ignore"):
        rough = np.abs(v[:, :-4] - 4 * v[:, 1:-3] + 6 * v[:, 2:-2] - 4 * v[:, 3:-1] + v[:, 4:])
        size = np.where(np.isfinite(v), np.abs(v), 0.0).max(axis=1, keepdims=True)
        typical = np.nanmedian(np.where(np.isfinite(rough), rough, np.nan), axis=1, keepdims=True)
        narrow = rough > OUTLIER * typical + NOISE * size
    some = narrow.any(axis=1)
    if not some.any():
        return np.empty((0, 2))
    middle = x[some][:, 2:-2]
    step = (x[some, -3] - x[some, 2]) / (x.shape[1] - 5)
    low, high = np.where(narrow[some], middle, np.inf).min(axis=1), np.where(narrow[some], middle, -np.inf).max(axis=1)
    return np.stack([low - step, high + step], axis=-1)


class AlongLine:
    """Bounds of an expression of several coordinates along a line, on which all but one of them are fixed.

    Parameters
    ----------
    bounded : Enclosure
    k : int
        The coordinate that is not fixed.
    place : array (d,)
        A place on the line.
    """

    def __init__(self, bounded: Enclosure, k: int, place: Array) -> None:
        self.bounded, self.k, self.place = bounded, k, place

    def _boxes(self, ends: Array) -> Array:
        boxes = np.tile(self.place, (len(ends), 1))
        boxes[:, self.k] = ends[:, 0]
        return boxes

    def __call__(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Bound the values on intervals (m, 1)."""
        return self.bounded(self._boxes(lower), self._boxes(upper))

    def bounds(self, lower: Array, upper: Array) -> Bounds:
        """Bound values and slope along the line on intervals (m, 1)."""
        found = self.bounded.bounds(self._boxes(lower), self._boxes(upper))
        own = slice(self.k, self.k + 1)
        return replace(found, slope_low=found.slope_low[:, own], slope_high=found.slope_high[:, own])


def departures_by_bounds(
    bounded: Enclosure | AlongLine, axis: Axis, cells: Ints, boxes: int = FIRST_BOXES
) -> tuple[Ints, Array, Array]:
    """Find where an expression does, in cells of an axis, what only bounds of its slope on whole boxes show.

    Boxes are halved while the bounds allow for a slope that changes far more than V at the ends and the middles of the
    boxes around says. Bounds of smooth functions shrink with the box, and need no halving; what is narrow is followed
    until the middles show it.

    Returns
    -------
    number : array (k,)
        Places in `cells` of those where something is.
    nats : array (k,)
        Mean of what V departs by there, over the cell.
    spans : array (k, 2)
        Intervals in them that hold it.
    """
    each = max(FEWEST_BOXES, boxes // len(cells))
    shares = np.clip(np.arange(each + 1) / each, OFF_EDGES, 1 - OFF_EDGES)  # V may jump at an edge
    edges = axis.edges[cells][:, None] + np.diff(axis.edges)[cells][:, None] * shares
    low, high = edges[:, :-1].ravel(), edges[:, 1:].ravel()
    cell = np.repeat(np.arange(len(cells)), each)
    depth, done, followed = 0, 0, [(low[:0], high[:0], cell[:0])]
    while len(low) and depth < HALVINGS and done + len(low) <= MOST_BOXES:
        check_deadline()
        done += len(low)
        change, shown = _changes(bounded, low, high)
        if depth == 0:
            shown = _largest_around(shown.reshape(-1, each)).ravel()
        widths = high - low
        can_do = np.minimum(change * widths, 1.0) * widths
        halved = (change > STEEPER[min(depth, 1)] * shown) & (can_do > LEAST_EFFECT * axis.length)
        if depth >= DEEP:
            followed.append((low[~halved], high[~halved], cell[~halved]))
        middle = 0.5 * (low + high)[halved]
        low, high = np.concatenate([low[halved], middle]), np.concatenate([middle, high[halved]])
        cell, depth = np.tile(cell[halved], 2), depth + 1
    low, high, cell = (np.concatenate(parts) for parts in zip(*followed, (low, high, cell), strict=True))
    return _that_depart(bounded, edges, low, high, cell)


def _values(bounded: Enclosure | AlongLine, x: Array) -> Array:
    """Evaluate V at places (m,), by bounds on boxes of no width."""
    low, high = bounded(x[:, None], x[:, None])
    return 0.5 * low + 0.5 * high


def _changes(bounded: Enclosure | AlongLine, low: Array, high: Array) -> tuple[Array, Array]:
    """Return by how much the slope changes in every box at most, and how much three places in it say."""
    bounds = bounded.bounds(low[:, None], high[:, None])
    with np.errstate(all="ignore"):
        change = np.nan_to_num(bounds.slope_high[:, 0] - bounds.slope_low[:, 0], nan=np.inf)
        a, b, c = (_values(bounded, x) for x in (low, 0.5 * (low + high), high))
        shown = np.nan_to_num(4 * np.abs(a - 2 * b + c) / (high - low))
    return change, shown


def _largest_around(values: Array) -> Array:
    """Return the largest of every value (n, m) and those on both sides of it in its row."""
    wide = np.pad(values, ((0, 0), (1, 1)), mode="edge")
    return np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])


def _that_depart(
    bounded: Enclosure | AlongLine, edges: Array, low: Array, high: Array, cell: Ints
) -> tuple[Ints, Array, Array]:
    """Find cells with boxes in which V departs from the cubic through four of the places `edges` (n, m) of the cell."""
    if not len(low):
        return np.empty(0, dtype=int), np.empty(0), np.empty((0, 2))
    own = edges[cell]
    step = (own[:, -1] - own[:, 0]) / (own.shape[1] - 1)
    first = np.clip(np.floor((0.5 * (low + high) - own[:, 0]) / step).astype(int) - 1, 0, own.shape[1] - 4)
    at = np.take_along_axis(own, first[:, None] + np.arange(4), axis=1)
    known = _values(bounded, at.ravel()).reshape(-1, 4)
    departs = np.zeros(len(low))
    with np.errstate(all="ignore"):
        for share, weight in zip(*gauss(3), strict=True):
            x = low + share * (high - low)
            smooth = (known * lagrange(np.arange(4.0), (x - own[:, 0]) / step - first)).sum(axis=1)
            values = _values(bounded, x)
            apart = np.nan_to_num(np.abs(values - smooth) - NOISE * np.abs(values), posinf=1.0)
            departs += weight * np.clip(apart, 0.0, 1.0)
    nats = np.bincount(cell, departs * (high - low), len(edges)) / (edges[:, -1] - edges[:, 0])
    numbers = np.flatnonzero(nats)
    spans = []
    for k in numbers:
        here = (cell == k) & (departs > PART * departs[cell == k].max())
        spans.append([low[here].min(), high[here].max()])
    return numbers, nats[numbers], np.array(spans).reshape(-1, 2)
