"""Smooth functions of a point from their values at the cell centres of a grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.typing import Array

QUINTIC = 5  # degree: the error is O(dx^6), and the gradient is smooth
_WRAPPED_CELLS = 12  # a quintic spline forgets its end conditions by a factor 0.43 per cell; 12 cells: 4e-5 of dx^6


def spline_axis(
    centres: Array,
    edges: Array,
    values: Array,
    axis: int,
    periodic: bool,
    *,
    degree: int = QUINTIC,
    joints: Sequence[int] = (),
) -> tuple[Array, Array, int]:
    """Return the knots, the coefficients and the degree of the spline along one axis."""
    if len(joints):
        return _spline_in_segments(centres, edges, values, axis, degree, joints)
    if periodic:
        cells = min(_WRAPPED_CELLS, len(centres))
        length = edges[-1] - edges[0]
        centres = np.concatenate([centres[-cells:] - length, centres, centres[:cells] + length])
        index = np.arange(-cells, values.shape[axis] + cells) % values.shape[axis]
        values = np.take(values, index, axis=axis)
    from scipy.interpolate import make_interp_spline  # here, as it is slow to import

    degree = _stable_degree(degree, len(centres))
    spline = make_interp_spline(centres, values, k=degree, axis=axis)
    # BSpline keeps the interpolated axis first in its coefficients
    return spline.t, np.moveaxis(spline.c, 0, axis), degree


def _stable_degree(degree: int, cells: int) -> int:
    """Lower the degree where there are too few cells; it stays odd, as odd degrees are the stable ones."""
    degree = min(degree, cells - 1)
    return degree - (1 - degree % 2 if degree > 1 else 0)


def _spline_in_segments(
    centres: Array, edges: Array, values: Array, axis: int, degree: int, joints: Sequence[int]
) -> tuple[Array, Array, int]:
    """Join the splines of the segments between joints to one, with enough knots in every joint for jumps.

    Those of a segment are extrapolated over the half cells beside the joints, as at walls; at a joint the value is that
    of the segment above.
    """
    from scipy.interpolate import make_interp_spline  # here, as it is slow to import

    ends = [0, *joints, len(centres)]
    degree = _stable_degree(degree, int(np.diff(ends).min()))
    knots, coefficients = [np.full(degree + 1, edges[0])], []
    for first, last in itertools.pairwise(ends):
        places, skipped = centres[first:last], (degree + 1) // 2
        own = places[skipped : len(places) - skipped] if degree else places[:0]  # not-a-knot
        knots += [own, np.full(degree + 1, edges[last])]
        t = np.concatenate([np.full(degree + 1, edges[first]), own, knots[-1]])
        part = np.take(values, np.arange(first, last), axis=axis)
        coefficients.append(make_interp_spline(places, part, k=degree, t=t, axis=axis).c)
    return np.concatenate(knots), np.moveaxis(np.concatenate(coefficients), 0, axis), degree


class TensorSpline:
    """Tensor-product spline through values at cell centres; degree 5 has the error O(dx^6) in the smooth case.

    Parameters
    ----------
    centres, edges : sequence of arrays (n_i,) and (n_i + 1,)
        Cell centres and edges of every axis.
    values : array (n_1, ..., n_d)
    periodic : sequence of bool
        Whether an axis wraps; else the half cells at the walls are extrapolated.
    degree : int
        Degree of the spline, 5 or 1; less where there are too few cells.
    joints : sequence of sequences of int, optional
        Numbers of the edges, per axis, at which the function may have kinks or jumps: no polynomial crosses them.
    """

    def __init__(
        self,
        centres: Sequence[Array],
        edges: Sequence[Array],
        values: ArrayLike,
        periodic: Sequence[bool],
        degree: int = QUINTIC,
        joints: Sequence[Sequence[int]] | None = None,
    ) -> None:
        from scipy.interpolate import NdBSpline

        coefficients = np.asarray(values, dtype=np.float64)
        knots, degrees = [], []
        joints = [()] * len(centres) if joints is None else joints
        for axis, (centre, edge, wraps, own) in enumerate(zip(centres, edges, periodic, joints, strict=True)):
            t, coefficients, used = spline_axis(centre, edge, coefficients, axis, wraps, degree=degree, joints=own)
            knots.append(t)
            degrees.append(used)
        self.lower = np.array([edge[0] for edge in edges])
        self.upper = np.array([edge[-1] for edge in edges])
        self.periodic = np.array(periodic, dtype=bool)
        self._spline = NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), tuple(degrees))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.lower)

    def wrap(self, points: Array) -> tuple[Array, Array]:
        """Return `points` (..., d) with periodic coordinates moved into the box, and a mask (...) of those inside."""
        length = self.upper - self.lower
        wrapped = np.where(self.periodic, self.lower + (points - self.lower) % length, points)
        inside = np.all((wrapped >= self.lower) & (wrapped <= self.upper), axis=-1)
        return wrapped, inside

    def __call__(self, points: Array, outside: float = np.nan) -> Array:
        """Evaluate the spline at `points` (..., d), shape (...); `outside` beyond the box, NaN where a point is NaN."""
        points, inside = self.wrap(points)
        result = np.where(np.isnan(points).any(axis=-1), np.nan, outside)
        result[inside] = self._spline(points[inside])
        return result

    def on(self, coordinates: Sequence[Array]) -> Array:
        """Evaluate the spline at all combinations of coordinates in the box: (m_1, ..., m_d) for arrays (m_i,)."""
        from scipy.interpolate import BSpline

        values = self._spline.c
        for axis, x in enumerate(coordinates):
            knots, degree = self._spline.t[axis], self._spline.k[axis]
            basis = BSpline.design_matrix(x, knots, degree, extrapolate=True)
            lines = np.moveaxis(values, axis, 0)
            product = np.asarray(basis @ lines.reshape(len(lines), -1))
            values = np.moveaxis(product.reshape(len(x), *lines.shape[1:]), 0, axis)
        return np.ascontiguousarray(values)

    def gradient(self, points: Array) -> Array:
        """Evaluate the gradient at `points` (..., d), shape (..., d); NaN outside the box."""
        points, inside = self.wrap(points)
        result = np.full(points.shape, np.nan)
        for axis in range(self.ndim):
            order = [int(k == axis) for k in range(self.ndim)]
            result[inside, axis] = self._spline(points[inside], nu=order)
        return result


def derivative(
    centres: Array, edges: Array, values: ArrayLike, axis: int, periodic: bool, joints: Sequence[int] = ()
) -> Array:
    """Return the derivative of the quintic spline through `values` along one axis, at the cell centres.

    No polynomial crosses a joint.
    """
    from scipy.interpolate import BSpline

    values = np.asarray(values, dtype=np.float64)
    knots, coefficients, degree = spline_axis(centres, edges, values, axis, periodic, joints=joints)
    spline = BSpline(knots, np.moveaxis(coefficients, axis, 0), degree)
    return np.moveaxis(spline(centres, nu=1), 0, axis)
