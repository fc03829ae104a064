"""Weights of high order for integrals over cells that end at walls and joints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid

if TYPE_CHECKING:
    from wfr_pde.space.density import Density

ORDER = 8  # polynomials in the number of the cell of a lower degree are integrated exactly
NODES_PER_ORDER = 1.25  # cells whose weights change: with as many as the order, weights become negative from 8 on
SINGULAR_TERMS, HIGHEST = 4, 12.0  # terms of the series at a singular wall that are exact, and their exponents, at most
SINGULAR_CELLS = 6  # whose weights change there

Ends = Mapping[tuple[int, int], tuple[float, float]]  # (axis, 0 or 1) -> exponent a of the density, power p of the map


def midpoint_defect(exponent: float) -> float:
    """Return what the midpoint sum of k^q, k = 1/2, 3/2, ..., lacks at its end 0: -ζ(-q, 1/2), ζ that of Hurwitz.

    ∫_0^n s^q ds - Σ_{k<n} (k + 1/2)^q is this number plus terms of the other end (Navot 1961,
    doi:10.1002/sapm1961401271). It is 0 for q = 0, 2, 4, ... .
    """
    if exponent >= 0 and exponent % 2 == 0:
        return 0.0
    import mpmath

    return -float(mpmath.zeta(-exponent, 0.5))


def end_weights(exponents: Sequence[float], cells: int) -> Array:
    """Return weights (cells,) that a midpoint sum gives the first values besides, at an end where terms s^q begin.

    The smallest c with Σ_k c_k (k + 1/2)^q = `midpoint_defect(q)` for all the exponents q: then s^q is integrated
    exactly at that end. Exponents 0, 1, ... are for smooth functions.
    """
    places = (np.arange(cells) + 0.5) / cells
    rows = np.array([places**q for q in exponents])
    defects = np.array([midpoint_defect(q) * float(cells) ** -q for q in exponents])
    return np.asarray(np.linalg.lstsq(rows, defects, rcond=1e-15)[0])


def _end_weights(cells: int, order: int, end: tuple[float, float] | None) -> Array:
    """Return the `end_weights` of one end of a segment with so many cells."""
    if end is not None:
        exponent, power = end
        found = [power * (exponent + k) - 1 for k in range(SINGULAR_TERMS)]
        return end_weights([q for q in found if q <= max(HIGHEST, found[0])], min(SINGULAR_CELLS, cells))
    order = max(1, min(order, int(cells / NODES_PER_ORDER)))
    return end_weights(range(order), min(cells, math.ceil(NODES_PER_ORDER * order)))


def axis_weights(
    axis: Axis, order: int = ORDER, ends: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)
) -> Array:
    """Return the factors (n,) of the cell widths that make the midpoint sum along an axis right at walls and joints.

    In the number s of the cell the sum is one of f(x(s)) x'(s), with an error that the ends alone make; they get the
    weights that make it exact for polynomials in s of degree below `order`. At a periodic wrap that is no joint nothing
    is added. On axes that are not smooth (given edges) the factors are one. All factors are positive.

    Parameters
    ----------
    axis : Axis
    order : int
    ends : pair of (a, p) or None
        Of the lower and the upper wall: f = y^(a-1) times a power series in the distance y from the wall, y = s^p times
        a power series in s^p there (see `Axis.towards_wall`). Then the terms s^(p (a + k) - 1), k = 0, ..., 3, up to
        the exponent 12 are exact. None where f is smooth.

    Raises
    ------
    ValueError
        If the order is not positive.
    """
    if order < 1:
        raise ValueError(f"the order of the quadrature must be positive, got {order}")
    factors = np.ones(axis.n)
    if not axis.smooth or (axis.periodic and not axis.joints):
        return factors
    for cells in axis.segments:
        count = cells.stop - cells.start
        lower = _end_weights(count, order, ends[0] if cells.start == 0 else None)
        upper = _end_weights(count, order, ends[1] if cells.stop == axis.n else None)
        factors[cells.start : cells.start + len(lower)] += lower
        factors[cells.stop - len(upper) : cells.stop] += upper[::-1]
    return factors


def corrected_log_volume(grid: Grid, order: int = ORDER, ends: Ends | None = None) -> Any:
    """Return the logarithm of the cell volumes times the `axis_weights` along every axis, an array."""
    total = grid.log_cell_volume + grid.backend.asarray(np.zeros(grid.local_shape))
    ends = {} if ends is None else ends
    for k, axis in enumerate(grid.axes):
        factors = np.log(axis_weights(axis, order, (ends.get((k, 0)), ends.get((k, 1)))))
        total = total + grid.along_axis(k, factors)
    return total


def integrate_corrected(grid: Grid, values: Any, order: int = ORDER, ends: Ends | None = None) -> Any:
    """Compute ∫ values dx with end weights at walls and joints, of that order in dx where values are smooth in between.

    Parameters
    ----------
    grid : Grid
    values : array over the grid
    order : int
    ends : mapping (axis, 0 or 1) -> (a, p), optional
        Walls at which values are singular, see `axis_weights`.
    """
    return grid.sum(values * grid.backend.xp.exp(corrected_log_volume(grid, order, ends)))


def log_mass_corrected(grid: Grid, log_values: Any, order: int = ORDER, ends: Ends | None = None) -> float:
    """Compute log ∫ exp(log_values) dx with end weights at walls and joints, without overflow.

    Next to ends a density that few cells resolve is no polynomial in the number of the cell, and then the weights help
    little: half a Gaussian on cells of a quarter of its standard deviation has an error of 8e-6 (8e-4 without them).
    Sums without them on five grids, extrapolated with the powers of the family (`richardson`), are better: 6e-10 there.
    """
    xp = grid.backend.xp
    total = log_values + corrected_log_volume(grid, order, ends)
    top = float(grid.max(total))
    return top + math.log(float(grid.sum(xp.exp(total - top))))


def log_volume_for(grid: Grid, log_values: Array, order: int = ORDER) -> Array:
    """Return the `corrected_log_volume` for a density that may be singular at walls.

    On a single axis the power of the distance that the density is beside a singular wall is read off its two values
    there.
    """
    ends = {}
    if grid.ndim == 1:
        cells = grid.axes[0].cells
        for power, wall, _ in cells.wall_powers(log_values):
            side = int(wall == float(cells.edges[-1]))
            ends[0, side] = (power + 1, cells.roots[side])
    return np.asarray(corrected_log_volume(grid, order, ends))


def with_corrected_masses(density: Density) -> Density:
    """Return a density, normalised, whose sums over the cells are integrals of order 8 of the given one.

    The value of a cell is multiplied by the factors of its width, see `log_volume_for`. Along axes with given edges
    nothing changes.
    """
    grid = density.grid
    factors = log_volume_for(grid, np.asarray(grid.reductions.whole(density.log_values))) - grid.log_cell_volume
    return type(density)(grid, density.log_values + factors).normalised()
