"""Errors of the splines by which a trajectory is looked up between cell centres."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np

from wfr_pde.numerics.regular_splines import without_wall_powers
from wfr_pde.numerics.splines import QUINTIC, spline_axis
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid

LOWER = 3  # degree that the spline is held against
SAFETY = 3.0  # times the difference of the two
HALVES = (slice(0, None, 2), slice(1, None, 2))  # every second centre, from the first and from the second on
LEAST = 8  # centres for such a spline
AROUND = 2  # cells on each side whose differences count, as differences cross zero
ROUNDING = 1e-14  # of the values


def spline_errors(grid: Grid, values: Array, degree: int = QUINTIC) -> tuple[Array, Array]:
    """Estimate the errors of a spline, and of its gradient, in every cell: two arrays of the shape of the grid.

    Along every axis the spline is held against one of degree 3, and against those through every second centre, at
    centres and edges; the largest difference within two cells counts, three times. Of a smooth function resolved by the
    cells that is far above the error of degree 5; near a kink, which cells do not resolve, of its size (measured: the
    error of log mu is at most half of it, that of the slope of a kink all of it).

    Parameters
    ----------
    grid : Grid
    values : array of shape `grid.shape`
    degree : int
        Of the spline, 5 or 1.
    """
    if not np.isfinite(values).all():
        return np.full(grid.shape, np.inf), np.full(grid.shape, np.inf)
    error, slope = ROUNDING * (1 + np.abs(values)), np.zeros(grid.shape)
    values = without_wall_powers([axis.cells for axis in grid.axes], values)
    for k, axis in enumerate(grid.axes):
        lines = np.moveaxis(values, k, 0)
        off, off_slope = _differences(axis, lines, degree)
        steepness = ROUNDING * (1 + np.abs(lines)) / axis.widths.reshape(-1, *(1,) * (grid.ndim - 1))
        error = error + SAFETY * np.moveaxis(off, 0, k)
        slope = slope + SAFETY * np.moveaxis(off_slope, 0, k) + np.moveaxis(steepness, 0, k)
    return largest_around(grid, error, AROUND), largest_around(grid, slope, AROUND)


def largest_around(grid: Grid, values: Array, cells: int) -> Array:
    """Return the largest of the values within some cells along every axis."""
    from scipy.ndimage import maximum_filter1d

    for k, axis in enumerate(grid.axes):
        mode: Literal["wrap", "nearest"] = "wrap" if axis.periodic else "nearest"
        values = maximum_filter1d(values, 2 * cells + 1, axis=k, mode=mode)
    return values


def _differences(axis: Any, lines: Array, degree: int) -> tuple[Array, Array]:
    """Return by how much values and slopes of a spline along the first axis differ from those of others, per cell."""
    edges, centres = (axis.cells.regular(places) for places in (axis.edges, axis.centres))
    stretched = [
        axis.cells.regular_slope(places).reshape(-1, *(1,) * (lines.ndim - 1)) for places in (axis.edges, axis.centres)
    ]
    spline = _spline(axis, lines, degree, slice(None))
    off, off_slope = np.zeros(lines.shape), np.zeros(lines.shape)
    for other, which in (LOWER, slice(None)), *((QUINTIC, half) for half in HALVES):
        used = centres[which]
        if len(used) < LEAST:
            continue
        rival = _spline(axis, lines, other, which)
        for (places, stretch), order in itertools.product(zip((edges, centres), stretched, strict=True), (0, 1)):
            apart = np.abs(spline(places, nu=order) - rival(places, nu=order))
            if order == 1:
                apart = np.where(apart == 0, 0.0, apart * stretch)
            if len(used) < axis.n and not axis.periodic:  # not where half the centres say nothing
                apart[(places < used[0]) | (places > used[-1])] = 0
            if len(places) > axis.n:
                apart = np.maximum(apart[:-1], apart[1:])
            chosen = off if order == 0 else off_slope
            np.maximum(chosen, apart, out=chosen)
    return off, off_slope


def _spline(axis: Any, lines: Array, degree: int, which: slice) -> Any:
    """Return the spline along the first axis through some of the centres."""
    from scipy.interpolate import BSpline

    edges, centres = (axis.cells.regular(places) for places in (axis.edges, axis.centres))
    return BSpline(*spline_axis(centres[which], edges, lines[which], 0, axis.periodic, degree=degree))
