"""How far splines through the values at cell centres are off between them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from wfr_pde.grid import Grid
from wfr_pde.interpolation import QUINTIC, _spline_axis

Array = np.ndarray[Any, np.dtype[np.float64]]

LOWER = 3  # degree that the spline is held against
SAFETY = 3.0  # times the difference of the two
AROUND = 2  # cells on each side whose differences count, as differences cross zero
ROUNDING = 1e-14  # of the values


def spline_errors(grid: Grid, values: Array, degree: int = QUINTIC) -> tuple[Array, Array]:
    """Estimates of the errors of a spline, and of its gradient, in every cell: two arrays of the shape of the grid.

    Along every axis the spline is held against one of degree 3 at the edges of cells (its slope at the centres, too),
    and the largest difference within two cells counts, three times. Of a smooth function resolved by the cells the
    difference is the error of the lower degree, orders above that of degree 5.

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
    for k, axis in enumerate(grid.axes):
        lines = np.moveaxis(values, k, 0)
        off, off_slope = _differences(axis, lines, degree)
        steepness = ROUNDING * (1 + np.abs(lines)) / axis.widths.reshape(-1, *(1,) * (grid.ndim - 1))
        error = error + SAFETY * np.moveaxis(off, 0, k)
        slope = slope + SAFETY * np.moveaxis(off_slope, 0, k) + np.moveaxis(steepness, 0, k)
    return largest_around(grid, error, AROUND), largest_around(grid, slope, AROUND)


def largest_around(grid: Grid, values: Array, cells: int) -> Array:
    """Largest of the values within some cells along every axis."""
    from scipy.ndimage import maximum_filter1d

    for k, axis in enumerate(grid.axes):
        mode: Literal["wrap", "nearest"] = "wrap" if axis.periodic else "nearest"
        values = maximum_filter1d(values, 2 * cells + 1, axis=k, mode=mode)
    return values


def _differences(axis: Any, lines: Array, degree: int) -> tuple[Array, Array]:
    """Differences in value and slope of two degrees along the first axis, per cell."""
    from scipy.interpolate import BSpline

    splines = []
    for wanted in (degree, LOWER):
        knots, coefficients, used = _spline_axis(axis.centres, axis.edges, lines, 0, axis.periodic, wanted)
        splines.append(BSpline(knots, coefficients, used))
    at_edges, slope_at_edges, slope_at_centres = (
        np.abs(splines[0](places, nu=order) - splines[1](places, nu=order))
        for places, order in ((axis.edges, 0), (axis.edges, 1), (axis.centres, 1))
    )
    off = np.maximum(at_edges[:-1], at_edges[1:])
    off_slope = np.maximum(np.maximum(slope_at_edges[:-1], slope_at_edges[1:]), slope_at_centres)
    return off, off_slope
