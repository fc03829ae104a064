"""Gradients of functions that come without one: complex steps, checked against central differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array

Function = Callable[[Any], Array]  # points (..., d) -> values (...)

_COMPLEX_STEP = 1e-30  # its square is lost beside any coordinate, so the derivative is exact to rounding
# 6e-8 to 0.06, relative to the coordinate; powers of two add without rounding
_STEPS = 2.0 ** np.arange(-24, 0, 4)
_WEIGHTS = np.array([45.0, -9.0, 1.0]) / 60  # order 6, of f(x + kh) - f(x - kh) over h, k = 1, 2, 3
_LOWER_WEIGHTS = np.array([8.0, -1.0]) / 12  # order 4 from the same values
# points at which a gradient is held against differences: a wrong formula is wrong at most places; time grows with it
_CHECKED_POINTS = 16


def gradient(function: Function, points: Array) -> Array:
    """Differentiate `function` at `points` (..., d); the gradient has shape (..., d).

    Complex steps are taken where the function accepts complex numbers and, at up to 16 of the points, agrees with
    central differences; the error is about 1e-14. Elsewhere, for the whole call, central differences of order 6 are
    taken; the error is about 1e-9 or less relative to the size of the function. NaN where the function is not finite.

    References
    ----------
    Squire and Trapp (1998), doi:10.1137/S003614459631241X, for complex steps.
    """
    points = np.asarray(points, dtype=np.float64)
    flat = points.reshape(-1, points.shape[-1])
    if flat.size == 0:
        return np.zeros(points.shape)
    result = _complex_step(function, flat)
    if result is None or not _agrees(function, result, flat):
        result, _ = differences(function, flat)
    return result.reshape(points.shape)


def check_gradient(log_density: Function, score: Function, points: Array) -> None:
    """Compare a given gradient with central differences at up to 16 of `points` (..., d).

    Raises
    ------
    ValueError
        If they differ by more than 1e-5 of the gradient's size, naming the point and both values.
    """
    flat = _spread(np.asarray(points, dtype=np.float64).reshape(-1, np.shape(points)[-1]))
    if flat.size == 0:
        return
    given = np.asarray(score(flat))
    estimate, error = differences(log_density, flat)
    known = np.isfinite(estimate)
    scale = np.max(np.abs(estimate), axis=-1, keepdims=True, where=known, initial=0)
    allowed = 1e-5 * np.maximum(scale, 1e-3 * np.max(scale)) + 10 * error
    wrong = known & ~(np.abs(given - estimate) <= allowed)
    if np.any(wrong):
        i = int(np.argmax(np.any(wrong, axis=-1)))
        raise ValueError(
            f"the gradient given is wrong at the point {flat[i].tolist()}: it is {given[i].tolist()}, "
            f"but central differences give {estimate[i].tolist()}; correct it, or leave it out"
        )


def differences(function: Function, points: Array) -> tuple[Array, Array]:
    """Return central differences at `points` (m, d) and an estimate of their error, both (m, d).

    At every point the step is the one of six, a factor 16 apart, with the smallest estimated sum of truncation (taken
    from the difference to order 4) and rounding; finer steps overrule coarser ones.
    """
    result, error = np.full(points.shape, np.nan), np.full(points.shape, np.inf)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for axis in range(points.shape[-1]):
            size = np.maximum(1.0, np.abs(points[:, axis]))
            unit = 2.0 ** np.ceil(np.log2(size))
            for relative_step in _STEPS:
                value, uncertainty = _stencil(function, points, axis, relative_step * unit)
                # a step far above the scale of the function can agree with itself: a finer one tells
                apart = np.abs(value - result[:, axis])
                uncertainty = np.fmax(uncertainty, apart - 100 * error[:, axis])
                better = uncertainty < error[:, axis]
                result[better, axis] = value[better]
                error[better, axis] = uncertainty[better]
    return result, error


def _stencil(function: Function, points: Array, axis: int, step: Array) -> tuple[Array, Array]:
    """Return the derivative of order 6 along one axis and an estimate of its error (inf where it cannot be taken)."""
    jumps, largest = [], np.zeros(len(points))
    for k in (1, 2, 3):
        ahead, behind = points.copy(), points.copy()
        ahead[:, axis] += k * step
        behind[:, axis] -= k * step
        upper, lower = function(ahead), function(behind)
        jumps.append(upper - lower)
        largest = np.maximum(largest, np.maximum(np.abs(upper), np.abs(lower)))
    value = sum(w * jump for w, jump in zip(_WEIGHTS, jumps, strict=True)) / step
    lower_order = sum(w * jump for w, jump in zip(_LOWER_WEIGHTS, jumps[:2], strict=True)) / step
    # rounding of the values, and of the abscissae where the coordinate is large
    rounding = np.finfo(float).eps * (largest / step + np.abs(points[:, axis]) / step * np.abs(value))
    error = np.abs(value - lower_order) + rounding
    return value, np.where(np.isfinite(value), error, np.inf)


def _complex_step(function: Function, points: Array) -> Array | None:
    """Return the gradient by complex steps, or None if `function` does not take complex numbers."""
    result = np.empty(points.shape)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        for axis in range(points.shape[-1]):
            shifted = points.astype(np.complex128)
            shifted[:, axis] += 1j * _COMPLEX_STEP
            try:
                value = np.asarray(function(shifted))
            except Exception:  # whatever it was: if it is more than complex numbers, real ones raise it again
                return None
            if not np.iscomplexobj(value):
                return None
            result[:, axis] = value.imag / _COMPLEX_STEP
    return result


def _agrees(function: Function, candidate: Array, points: Array) -> bool:
    """Tell whether a gradient is finite where the function is, and near the differences at some of the points."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finite = np.isfinite(function(points))
    if not np.all(np.isfinite(candidate[finite])):
        return False
    points, candidate = _spread(points[finite]), _spread(candidate[finite])
    if not points.size:
        return True
    estimate, error = differences(function, points)
    scale = np.max(np.abs(candidate), axis=-1, keepdims=True)
    known = np.isfinite(estimate)
    return bool(np.all(np.abs(candidate - estimate)[known] <= (1e-6 * scale + 10 * error)[known]))


def _spread(points: Array) -> Array:
    """Pick up to 16 of the points, evenly spaced through the list."""
    if len(points) <= _CHECKED_POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, _CHECKED_POINTS).astype(int)]
