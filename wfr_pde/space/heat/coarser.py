"""The coarser grid on which a heat kernel stands for that on a grid."""

from __future__ import annotations

import math

from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid

MIN_TIME = 0.25  # over dx² on a coarser grid: its sampled Gaussian aliases like e^(-4 pi² 0.25) = 5e-5
MAX_WIDENING = 2.0  # of cells: beyond, the coarser kernel would not stand for the finer one
MAX_SHARE = 0.36  # of the cells: a coarser grid with more of them costs what it saves, and one axis never has one
CHUNK_PARTS = 8  # a grid of fewer cells than one such part of a chunk has no coarser one: few cells, and as many calls
LEAST_CELLS = 8  # of an axis of equal cells: interpolation from it goes through so many


def coarser_grid(grid: Grid, time: float) -> Grid | None:
    """Return the coarser grid for a heat kernel of that time, or None where it does not pay; see `Grid.coarser`."""
    if grid.size * CHUNK_PARTS < grid.backend.chunk:
        return None
    axes = [_coarser_axis(axis, time) for axis in grid.axes]
    return grid.with_axes(axes) if math.prod(axis.n for axis in axes) <= MAX_SHARE * grid.size else None


def _coarser_axis(axis: Axis, time: float) -> Axis:
    """Return the axis with wider cells, or itself where the kernel does not allow them."""
    widest = math.sqrt(time / MIN_TIME)
    if axis.is_uniform:
        n = max(LEAST_CELLS, math.ceil(axis.n / min(MAX_WIDENING, widest / axis.dx) - 1e-9))
        return axis if n >= axis.n else Axis.uniform(axis.name, axis.edges[0], axis.edges[-1], n, axis.periodic)
    if axis.n % 2 or axis.n < 2 * LEAST_CELLS:
        return axis
    coarsened = axis.coarsened()
    return coarsened if coarsened.dx <= widest else axis
