"""The grids of a certified solution: one map of each axis, with more or fewer cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wfr_pde.axis import Axis
from wfr_pde.grading import densities_of_points
from wfr_pde.grid import Grid
from wfr_pde.problem import Problem

Array = np.ndarray[Any, np.dtype[np.float64]]

FEWEST_CELLS = 20  # so that the coarsest grid has enough for the interpolation
CELLS_PER_SCALE = 2.0  # with the ratio one
GRADED_FROM = 2.5  # times fewer cells for which an axis is graded
WIDER = 0.12  # of the box, on each side


@dataclass(frozen=True)
class Cells:
    """A family of grids on one box: the same map of each axis, with more or fewer cells."""

    lower: Array
    upper: Array
    counts: tuple[int, ...]  # of the coarsest, multiples of 4
    gradings: tuple[Callable[[Array], Array] | None, ...]
    options: dict[str, Any] = field(default_factory=dict)
    real_walls: bool = False  # the box is part of the problem, and not wide enough for it
    _grids: dict[float, Grid] = field(default_factory=dict, init=False, repr=False)

    def grid(self, ratio: float) -> Grid:
        """The grid with `ratio` times the cells of the coarsest along every axis."""
        if ratio not in self._grids:
            shape = [round(n * ratio) for n in self.counts]
            self._grids[ratio] = Grid(self.lower, self.upper, shape, grading=list(self.gradings), **self.options)
        return self._grids[ratio]

    def finer(self, factor: float) -> Cells:
        """The family with more cells."""
        counts = tuple(4 * math.ceil(n * factor / 4) for n in self.counts)
        return replace(self, counts=counts)

    def wider(self) -> tuple[Grid, tuple[slice, ...]]:
        """The coarsest grid with more cells of the same map beyond no-flux walls, and where it holds the old one."""
        grid = self.grid(1)
        axes, window = [], []
        for axis in grid.axes:
            more = 0 if axis.periodic else max(2, math.ceil(WIDER * axis.n))
            axes.append(_widened(axis, more))
            window.append(slice(more, more + axis.n))
        lower, upper = [axis.edges[0] for axis in axes], [axis.edges[-1] for axis in axes]
        wide = Grid(lower, upper, [axis.n for axis in axes], grading=axes, **self.options)
        return wide, tuple(window)


def _widened(axis: Axis, more: int) -> Axis:
    """The axis with `more` cells beyond each wall, as wide as the last ones."""
    steps = np.arange(1, more + 1)
    low, high = axis.widths[0], axis.widths[-1]
    below, above = axis.edges[0] - low * steps[::-1], axis.edges[-1] + high * steps
    edges = np.concatenate([below, axis.edges, above])
    centres = np.concatenate([below + low / 2, axis.centres, above - high / 2])
    widths = np.concatenate([np.full(more, low), axis.widths, np.full(more, high)])
    return Axis(axis.name, edges, centres, widths, axis.periodic, axis.smooth)


def cells_for(problem: Problem, box: tuple[Array, Array], options: dict[str, Any]) -> Cells:
    """Numbers of cells and gradings by the local scales of target and start."""
    lower, upper = box
    d = len(lower)
    boundary = np.broadcast_to(options.get("boundary", "no-flux"), (d,))
    periodic = [kind == "periodic" for kind in boundary]
    passed = [(problem.start, place) for place in problem.places] if problem.alpha > 0 else []
    densities = densities_of_points([*problem.places, problem.start], lower, upper, periodic, passed)
    counts, gradings = [], []
    for low, high, density in zip(lower, upper, densities, strict=True):
        axis = Axis.graded("x", low, high, 256, density)
        at_centres = density(axis.centres)
        graded, uniform = axis.n * axis.widths[0] * at_centres[0], (high - low) * at_centres.max()
        worth_it = uniform > GRADED_FROM * graded
        wanted = CELLS_PER_SCALE * (graded if worth_it else uniform)
        counts.append(4 * max(FEWEST_CELLS // 4, math.ceil(wanted / 4)))
        gradings.append(density if worth_it else None)
    return Cells(lower, upper, tuple(counts), tuple(gradings), options)
