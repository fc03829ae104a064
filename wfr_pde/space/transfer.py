"""Nested grids: from the cells of a grid to those joined in pairs, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid


class Interpolation:
    """Values at the centres of one grid from those of another on the same box, by local polynomials axis by axis.

    Parameters
    ----------
    source, destination : Grid
    nodes : int
        Number of centres that a polynomial goes through; the error is of that order in dx. Polynomials do not cross
        joints: a segment of fewer cells has polynomials through all of them.

    Raises
    ------
    ValueError
        If joints of an axis are not at the same places on both grids.
    """

    def __init__(self, source: Grid, destination: Grid, nodes: int) -> None:
        self.xp = source.backend.xp
        asarray = source.backend.asarray
        self.axes = []
        for k, (a, b) in enumerate(zip(source.axes, destination.axes, strict=True)):
            _check_joints(a, b)
            index, weights = local_weights(a, b.centres, nodes)
            place = [-1 if i == k else 1 for i in range(source.ndim)]
            self.axes.append(
                [(asarray(index[:, j].copy()), asarray(weights[:, j].reshape(place).copy())) for j in range(nodes)]
            )

    def __call__(self, values: Any) -> Any:
        """Return the interpolated values."""
        for k, terms in enumerate(self.axes):
            total: Any = 0.0
            for index, weight in terms:
                total = self.xp.take(values, index, axis=k) * weight + total
            values = total
        return values


def _check_joints(a: Axis, b: Axis) -> None:
    """Refuse axes whose joints are at different places."""
    ours, theirs = (axis.edges[list(axis.joints)] for axis in (a, b))
    if len(ours) != len(theirs) or not np.allclose(ours, theirs, rtol=1e-13, atol=1e-13 * a.length):
        raise ValueError(
            f"axis {a.name} has joints at {ours.tolist()} on one grid and at {theirs.tolist()} on the other: values "
            "can be moved between grids with the same joints"
        )


def _local_weights_in_segments(axis: Axis, points: Array, nodes: int) -> tuple[np.ndarray, Array]:
    """Return the `local_weights` segment by segment; weights are zero beyond the cells that a short segment has."""
    index, weights = np.zeros((len(points), nodes), dtype=int), np.zeros((len(points), nodes))
    number = np.searchsorted(axis.edges[list(axis.joints)], points, side="right")
    for k, cells in enumerate(axis.segments):
        here = number == k
        own = min(nodes, cells.stop - cells.start)
        found, weights[here, :own] = local_weights(axis.segment(cells), points[here], own)
        index[here, :own] = found + cells.start
        index[here, own:] = cells.start
    return index, weights


def local_weights(axis: Axis, points: Array, nodes: int, even: bool = False) -> tuple[np.ndarray, Array]:
    """Return the indices (m, nodes) of the centres nearest to `points` (m,), and polynomial weights of their values.

    With `even`, values are continued beyond no-flux walls as in a mirror. Where the axis has joints, centres are of the
    segment that a point lies in (at a joint of the one above), and nothing is mirrored. In cells that go to a wall as
    s^p polynomials are in s².
    """
    if axis.joints:
        return _local_weights_in_segments(axis, points, nodes)
    if axis.roots != (1.0, 1.0):  # what is smooth in the distance from the wall is even in the number of the cell
        regular = [axis.in_root(at, share=2.0) for at in (axis.edges, axis.centres, points)]
        axis, points = Axis(axis.name, regular[0], regular[1], axis.widths, False), regular[2]
    centres = axis.centres
    above = np.searchsorted(centres, points)
    first = above - nodes // 2
    if not axis.periodic and not even:
        first = np.clip(first, 0, axis.n - nodes)
    index = first[:, None] + np.arange(nodes)
    if axis.periodic or not even:
        places = centres[index % axis.n] + axis.length * (index // axis.n)
    else:
        turns, index = index // (2 * axis.n), index % (2 * axis.n)
        mirrored = index >= axis.n
        index = np.where(mirrored, 2 * axis.n - 1 - index, index)
        places = np.where(mirrored, 2 * axis.edges[-1] - centres[index], centres[index]) + 2 * axis.length * turns
    weights, rows = np.empty((nodes, len(points))), np.ascontiguousarray(places.T)
    distances = points - rows
    for j, own in enumerate(rows):
        apart = own - rows
        apart[j] = 1.0
        factors = distances / apart
        factors[j] = 1.0
        weights[j] = factors.prod(axis=0)
    return index % axis.n, weights.T
