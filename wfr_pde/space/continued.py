"""Log-densities at any places of free space: interpolated between the cells of a box, continued beyond it."""

from __future__ import annotations

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.falling_parabolas import continued
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid

NODES = 10  # of the Lagrange interpolation per axis: its error is below that of fewer wherever cells resolve
FARTHEST = 50.0  # box lengths beyond the box: what comes from further away is taken for a mistake


def log_values_at(grid: Grid, log_values: Array, places: Array) -> Array:
    """Return log mu at places (m, d), of values at the cell centres of a uniform grid with up to three axes.

    Tensor product of Lagrange interpolation with ten points. Beyond a wall log mu goes on as the parabola through the
    last three cells, with slope and curvature clamped such that it falls: what does not fall would bring mass from
    where there is none. Periodic axes wrap.

    Raises
    ------
    ValueError
        If an axis has too few cells.
    NumericalError
        If a place lies further than `FARTHEST` lengths of the box beyond it.
    """
    from wfr_pde.numerics.compiled.lagrange import interpolate  # here, as it loads numba

    empty = 3 - grid.ndim
    index, values = np.zeros((len(places), 3)), log_values
    for k, axis in enumerate(grid.axes):
        if axis.n < NODES + 2:
            raise ValueError(
                f"a density is interpolated with {NODES} cells, but the axis {axis.name!r} has {axis.n}: use at least "
                f"{NODES + 2}"
            )
        place = places[:, k] - axis.edges[0]
        if axis.periodic:
            place = place % axis.length
        at = place / axis.dx - 0.5  # in cells from the first centre
        low, high = float(at.min()), float(at.max())
        if not max(-low, high - axis.n) <= FARTHEST * axis.n:
            worst = int(np.argmax(np.abs(np.where(np.isfinite(at), at, np.inf) - axis.n / 2)))
            raise NumericalError(
                f"the characteristics come from {axis.name}={places[worst, k]:.6g}, further than {FARTHEST:g} lengths "
                "of the box beyond it: use a smaller dt, or a larger box"
            )
        before = max(0, int(np.ceil(-low))) + NODES // 2
        after = max(0, int(np.ceil(high - axis.n))) + NODES // 2 + 1
        values = _wrapped(values, k, before, after) if axis.periodic else continued(values, k, before, after)
        index[:, empty + k] = at + before
    result = np.empty(len(places))
    interpolate(np.ascontiguousarray(values).reshape((1,) * empty + values.shape), index, NODES, result)
    return result


def _wrapped(values: Array, k: int, before: int, after: int) -> Array:
    """Return values with cells beyond both ends of axis `k`, as they are on the other side."""
    return np.take(values, np.arange(-before, values.shape[k] + after), axis=k, mode="wrap")
