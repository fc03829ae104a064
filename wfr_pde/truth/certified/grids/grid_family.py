"""The grids of a certified solution: one map of each axis, or of each segment of it, with more or fewer cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wfr_pde.numerics.richardson import EVEN
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.space.panels import shared_out

Walls = Mapping[tuple[int, int], tuple[float, float]]  # (axis, 0 or 1) -> exponent a, power p of the map

FEWEST_IN_SEGMENT = 16  # cells: local polynomials of degree 9 and the interpolation by 14 nodes fit in
WIDER = 0.12  # of the box, on each side: an eighth, in whole cells, of the run that tells what the walls do


@dataclass(frozen=True)
class Segment:
    """Part of an axis on which everything is smooth, but for a wall that it may end at."""

    lower: float
    upper: float
    density: Callable[[Array], Array] | None  # of points; None for equal cells
    power: float = 1.0  # of the map of the distance from a singular wall
    reach: float = 1.0  # of that wall
    upper_wall: bool = False

    def axis(self, n: int) -> Axis:
        """Make the axis of the segment with `n` cells."""
        if self.power != 1:
            density = self.density or np.ones_like
            return Axis.towards_wall(
                "x", self.lower, self.upper, n, density, self.power, self.reach, upper_wall=self.upper_wall
            )
        if self.density is None:
            return Axis.uniform("x", self.lower, self.upper, n)
        return Axis.graded("x", self.lower, self.upper, n, self.density)

    def share(self) -> float:
        """Integrate the density of points, which cells share equally; the length where there is none."""
        if self.power == 1:
            if self.density is None:
                return self.upper - self.lower
            return float(shared_out(self.density, (self.lower, self.upper))[0])
        axis = self.axis(256)  # every cell has the same share
        middle = axis.n // 2
        place = axis.centres[middle : middle + 1]
        density = 1.0 if self.density is None else float(self.density(place)[0])
        distance = float((self.upper - place if self.upper_wall else place - self.lower)[0])
        return axis.n * float(axis.widths[middle]) * density * (1 + self.reach / distance) ** (1 - 1 / self.power)


@dataclass(frozen=True)
class GridFamily:
    """A family of grids on one box: the same map of each axis, with more or fewer cells.

    An axis may have segments, with a map and a whole number of cells each on all of the grids.

    Attributes
    ----------
    lower, upper : arrays (d,)
        The box.
    counts : tuple of int
        Numbers of cells with the ratio one, multiples of 4; more where segments need more.
    gradings : tuple of densities of points, or None
    options : dict
        Of `Grid`.
    real_walls : bool
        Whether the box is part of the problem, and not wide enough for it.
    segments : tuple of tuples of Segment
        Per axis; empty where an axis is in one piece.
    walls, start_walls : mapping (axis, 0 or 1) -> (a, p)
        Walls with cells in y = s^p of the distance y, and the exponents a of target and of start there: the `ends` of
        `quadrature.log_mass_corrected`.
    powers : tuple of float
        Of the cell width in the error, for `richardson`.
    """

    lower: Array
    upper: Array
    counts: tuple[int, ...]
    gradings: tuple[Callable[[Array], Array] | None, ...]
    options: dict[str, Any] = field(default_factory=dict)
    real_walls: bool = False
    segments: tuple[tuple[Segment, ...], ...] = ()
    walls: Walls = field(default_factory=dict)
    start_walls: Walls = field(default_factory=dict)
    powers: tuple[float, ...] = EVEN
    _grids: dict[float, Grid] = field(default_factory=dict, init=False, repr=False)
    _parts: tuple[tuple[int, ...], ...] = field(default=(), init=False, repr=False)  # cells of the segments

    def __post_init__(self) -> None:
        segments = self.segments or ((),) * len(self.counts)
        parts = tuple(_apportioned(n, own) if own else (n,) for n, own in zip(self.counts, segments, strict=True))
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "counts", tuple(sum(part) for part in parts))

    @property
    def breaks(self) -> tuple[Array, ...]:
        """Places where segments meet, per axis."""
        return tuple(np.array([segment.lower for segment in own[1:]]) for own in self.segments)

    def grid(self, ratio: float) -> Grid:
        """Make the grid with `ratio` times the cells of the coarsest along every axis, and in every segment."""
        if ratio not in self._grids:
            shape = [round(n * ratio) for n in self.counts]
            cells: list[Any] = list(self.gradings)
            boundary = np.broadcast_to(self.options.get("boundary", "no-flux"), (len(shape),))
            for k, own in enumerate(self.segments):
                if own:
                    parts = [one.axis(round(n * ratio)) for one, n in zip(own, self._parts[k], strict=True)]
                    cells[k] = Axis.joined(parts, periodic=boundary[k] == "periodic")
                    shape[k] = cells[k].n
            self._grids[ratio] = Grid(self.lower, self.upper, shape, grading=cells, **self.options)
        return self._grids[ratio]

    def finer(self, factor: float) -> GridFamily:
        """Return the family with `factor` times the cells."""
        counts = tuple(4 * math.ceil(n * factor / 4) for n in self.counts)
        return replace(self, counts=counts)

    def wider(self) -> tuple[Grid, tuple[slice, ...]]:
        """Return the coarsest grid with more cells of the same map beyond no-flux walls, and where the old one is."""
        grid = self.grid(1)
        axes, window = [], []
        for axis in grid.axes:
            most = 0 if axis.periodic else max(2, math.ceil(WIDER * axis.n))
            low, high = (_widths_beyond(float(width), most, WIDER * axis.length) for width in axis.widths[[0, -1]])
            axes.append(_widened(axis, low, high))
            window.append(slice(len(low), len(low) + axis.n))
        lower, upper = [axis.edges[0] for axis in axes], [axis.edges[-1] for axis in axes]
        wide = Grid(lower, upper, [axis.n for axis in axes], grading=axes, **self.options)
        return wide, tuple(window)


def _widened(axis: Axis, low: Array, high: Array) -> Axis:
    """Return the axis with cells beyond each wall, of widths that are listed from the wall on."""
    below, above = axis.edges[0] - np.cumsum(low)[::-1], axis.edges[-1] + np.cumsum(high)
    edges = np.concatenate([below, axis.edges, above])
    centres = np.concatenate([below + low[::-1] / 2, axis.centres, above - high / 2])
    widths = np.concatenate([low[::-1], axis.widths, high])
    joints = tuple(joint + len(low) for joint in axis.joints)
    return Axis(axis.name, edges, centres, widths, axis.periodic, axis.smooth, joints)


def _widths_beyond(width: float, most: int, length: float) -> Array:
    """Return widths of cells beyond a wall, from the first on, that reach a length: equal ones, or `most` that grow.

    Two cells are the fewest. No more than reach the length: where cells are wide already, V would be followed to far
    outside, to heights at which nothing is and all steps are too long.
    """
    if most == 0:
        return np.empty(0)
    if most * width >= length:
        return np.full(min(most, max(2, math.ceil(length / width))), width)
    slow, fast = 1.0, (length / width) ** (1 / max(most - 1, 1))  # the last alone has the length
    growth = fast
    for _ in range(60):
        growth = 0.5 * (slow + fast)
        slow, fast = (growth, fast) if width * (growth**most - 1) < length * (growth - 1) else (slow, growth)
    return np.asarray(width * growth ** np.arange(most))


def _apportioned(count: int, segments: Sequence[Segment]) -> tuple[int, ...]:
    """Share `count` cells out to the segments, in fours, or more if they need more."""
    fewest = FEWEST_IN_SEGMENT // 4
    shares = np.array([segment.share() for segment in segments])
    wanted = count / 4 * shares / shares.sum()
    fours = np.maximum(np.floor(wanted).astype(int), fewest)
    missing = count // 4 - int(fours.sum())
    largest = np.argsort(-(wanted - fours), kind="stable")
    fours[largest[: max(missing, 0)]] += 1
    return tuple(4 * int(n) for n in fours)
