"""Vector fields: values that are checked, curl and divergence by central differences.

A field is a function v(x, t) of points (..., d) and a number t, with values (..., d): a learned velocity, say.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import number, positive, real_array
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call

Field = Callable[[Array, float], ArrayLike]

SHIFTS = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])  # steps from a point to those of its central difference
WEIGHTS = np.array([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / 60  # central differences of order 6


def curl(field: Field, x: ArrayLike, t: float, step: float = 1e-3) -> Array:
    """Compute the antisymmetric part c_ij = d_i v_j - d_j v_i of the derivatives of a field.

    A velocity that is a gradient has none. The error is about step^6 |d^7 v| / 140 + 1e-16 |v| / step.

    Parameters
    ----------
    field : function (points (..., d), t) -> (..., d)
    x : array (..., d)
    t : float
    step : float
        Distance of the points of a difference.

    Returns
    -------
    array (..., d, d)
        In two dimensions c[..., 0, 1] is the usual curl.

    Raises
    ------
    ValueError
        If the field returns another shape, or what is not finite.

    Examples
    --------
    The rotation v = (-y, x) has the curl 2 everywhere:

    >>> import numpy as np
    >>> from wfr_pde.numerics.vector_fields import curl
    >>> rotation = lambda points, t: np.stack([-points[..., 1], points[..., 0]], axis=-1)
    >>> round(float(curl(rotation, [1.0, 2.0], 0.0)[0, 1]), 6)
    2.0
    """
    points = real_array("x", x)
    if points.ndim == 0:
        raise ValueError("points must have shape (..., d), got a number: write x[..., None] in one dimension")
    step = positive("step", step, "the distance of the points of a difference")
    d = points.shape[-1]
    values = checked_values(field, _shifted(points, np.full(d, step)), number("t", t))
    jacobian = np.tensordot(values, WEIGHTS / step, axes=(1, 0))  # (j, ..., i): d_j v_i
    jacobian = np.moveaxis(jacobian, 0, -2)
    return jacobian - np.swapaxes(jacobian, -1, -2)


def _shifted(points: Array, steps: Array) -> Array:
    """Return `points` (..., d) moved along every axis to the six places of its central difference: (d, 6, ..., d)."""
    d = points.shape[-1]
    moves = SHIFTS[None, :, None] * np.diag(steps)[:, None, :]
    return points + moves.reshape(d, len(SHIFTS), *(1,) * (points.ndim - 1), d)


def checked_values(field: Field, points: Array, t: float, what: str = "the field") -> Array:
    """Evaluate a field at points (..., d); refuse values of another shape, or that are not finite."""
    values = real_array(f"what {what} returns", call(what, field, points, t))
    if values.shape != points.shape:
        raise ValueError(
            f"{what} must return one vector per point, shape (..., d) for points (..., d): for points of shape "
            f"{points.shape} it returned shape {values.shape}"
        )
    _check_finite(values, points, t, what)
    return values


def _check_finite(values: Array, points: Array, t: float, what: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), values.shape)
        at = points[place[: points.ndim - 1]].tolist()
        raise ValueError(f"{what} is {values[place]} at x={at}, t={t:.6g}: it must be finite where mass comes through")


def divergence_of(field: Field, steps: Array) -> Callable[[Array, float], Array]:
    """Make a function that computes div v by central differences of order 6."""

    def divergence(points: Array, t: float) -> Array:
        values = checked_values(field, _shifted(points, steps), t)
        return total(np.tensordot(WEIGHTS / h, values[k, ..., k], axes=(0, 0)) for k, h in enumerate(steps))

    return divergence


def checked_scalar(function: Field, what: str) -> Callable[[Array, float], Array]:
    """Return a function of points (n, d) and t with values (n,), checked wherever it is evaluated."""

    def checked(points: Array, t: float) -> Array:
        values = real_array(f"what {what} returns", call(what, function, points, t))
        if values.shape != points.shape[:-1]:
            raise ValueError(
                f"{what} must return one number per point, shape (...) for points (..., d): for points of shape "
                f"{points.shape} it returned shape {values.shape}"
            )
        _check_finite(values, points, t, what)
        return values

    return checked


def total(parts: Iterable[Array]) -> Array:
    """Return the sum of some arrays."""
    return functools.reduce(np.add, parts)
