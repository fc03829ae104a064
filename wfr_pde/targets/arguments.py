"""Boxes and covariances as arguments, and how a target spells itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np

from wfr_pde.numerics.arguments import finite_array, refuse_no_entries, share, shown
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array

Floats: TypeAlias = Any  # given as anything that NumPy reads as numbers, held as a read-only float array

LEAST_TAIL = 1e-300  # smallest mass outside a box: SciPy gives a finite normal quantile for it, and for half of it
_BLOCK = 2**16  # elements of a temporary array, so that a few of them stay in cache


def tail_mass(tail: float) -> float:
    """Return `tail`, the mass left outside a box, as a float between 1e-300 and 1.

    Raises
    ------
    ValueError
        If it is out of that range: quantiles of a smaller mass are not finite.
    """
    value = share("tail", tail, "the mass left outside the box")
    if value < LEAST_TAIL:
        raise ValueError(f"tail must be at least {LEAST_TAIL:g}, got {value}: it is the mass left outside the box")
    return value


def box_of(name: str, value: Any, ndim: int | None = None) -> tuple[Array, Array]:
    """Return `value` as a box (lower, upper), two arrays of shape (ndim,); a scalar corner holds for every axis.

    Raises
    ------
    ValueError
        If it is no pair of finite corners, has the wrong number of axes, or is empty along one.
    """
    refuse_no_entries(name, value)
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{name} must be a pair (lower, upper), got {shown(value)}")
    lower, upper = value
    corners = [np.atleast_1d(finite_array(f"{name}[{i}]", corner)) for i, corner in enumerate((lower, upper))]
    ndim = max(len(corner) for corner in corners) if ndim is None else ndim
    for corner in corners:
        if corner.shape not in ((1,), (ndim,)):
            raise ValueError(f"{name} has a corner of shape {corner.shape}; it needs one number per axis, ({ndim},)")
    lower, upper = (np.broadcast_to(corner, (ndim,)) for corner in corners)
    if not np.all(lower < upper):
        axis = int(np.argmin(lower < upper))
        raise ValueError(f"{name} is empty along axis {axis}: lower {lower[axis]} is not below upper {upper[axis]}")
    return lower, upper


def covariance_matrix(name: str, value: Any, ndim: int) -> Array:
    """Return `value` (scalar, diagonal (d,) or full (d, d)) as a positive definite matrix (d, d).

    Raises
    ------
    ValueError
        If a variance is not positive, the shape does not fit, or a matrix is not symmetric and positive definite.
    """
    array = finite_array(name, value)
    if array.ndim == 0 or (array.shape == (ndim,)):
        diagonal = np.broadcast_to(array, (ndim,))
        if diagonal.min() <= 0:
            raise ValueError(f"{name} must be positive, got {diagonal.min()}: it holds variances (sd squared)")
        matrix = np.diag(diagonal)
    elif array.shape == (ndim, ndim):
        matrix = _symmetric(name, array)
        _check_positive_definite(name, matrix)
    else:
        raise ValueError(
            f"{name} has shape {array.shape}, but the mean has {counted(ndim, 'component')}: "
            f"give a scalar, variances of shape ({ndim},), or a matrix of shape ({ndim}, {ndim})"
        )
    matrix.setflags(write=False)
    return matrix


def _symmetric(name: str, matrix: Array) -> Array:
    gap = np.abs(matrix - matrix.T)
    if gap.max() > 1e-10 * np.abs(matrix).max():
        i, j = (int(k) for k in np.unravel_index(np.argmax(gap), gap.shape))
        raise ValueError(
            f"{name} must be symmetric, but its entries ({i}, {j}) and ({j}, {i}) are "
            f"{matrix[i, j]} and {matrix[j, i]}: use (C + C.T) / 2"
        )
    return (matrix + matrix.T) / 2


def _check_positive_definite(name: str, matrix: Array) -> None:
    # with the variances scaled to 1, rounding cannot hide behind different units of the axes
    if matrix.diagonal().min() > 0:
        sd = np.sqrt(matrix.diagonal())
        smallest = np.linalg.eigvalsh(matrix / np.outer(sd, sd))[0]
        if smallest > 10 * len(matrix) * np.finfo(float).eps:
            return
    smallest = np.linalg.eigvalsh(matrix)[0]
    raise ValueError(
        f"{name} must be positive definite, but its smallest eigenvalue is {smallest:.6g}: "
        "check that it is a covariance (not a precision or standard deviation), or add a small multiple of I"
    )


def call_repr(target: Any) -> str:
    """Spell the call that builds `target` again, as far as text can: `Gaussian(mean=[0.0], covariance=[[1.0]])`."""
    given = [(f.name, getattr(target, f.name)) for f in fields(target) if f.init and f.repr]
    spelled = ", ".join(f"{name}={_spell(value)}" for name, value in given if value is not None)
    return f"{type(target).__name__}({spelled})"


def _spell(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size <= 64 else fingerprint(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_spell, value))}{',' * (len(value) == 1)})"
    if callable(value) and not isinstance(value, type) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return " ".join(repr(value).split())


def fingerprint(array: Array) -> str:
    """Describe an array too long to be spelled: its shape and a hash of its values."""
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"<array of shape {array.shape}, sha256 {digest}>"


def blockwise(function: Callable[[Array], Array], points: Array, width: int, trailing: tuple[int, ...] = ()) -> Array:
    """Evaluate `function`, which maps points (m, d) to (m, *trailing), at points (..., d), a block of points at a time.

    `width` is how many numbers the function holds per point: it decides how many points make a block.
    """
    flat = points.reshape(-1, points.shape[-1])
    rows = max(1, _BLOCK // max(1, width))
    if len(flat) <= rows:
        return function(flat).reshape(points.shape[:-1] + trailing)
    blocks = [function(flat[start : start + rows]) for start in range(0, len(flat), rows)]
    return np.concatenate(blocks).reshape(points.shape[:-1] + trailing)


def dimension_in_words(distribution: Any) -> str:
    """Say the dimension of a distribution where another one is needed, and how it was told from a function.

    Parameters
    ----------
    distribution : Target

    Returns
    -------
    str
        Such as "2-dimensional". A function of one argument may be one of points: then how to say so is added.
    """
    words = f"{distribution.ndim}-dimensional"
    if distribution.ndim == 1 and getattr(distribution, "of", "") == "coordinates" and callable(distribution.V):
        words += (
            " (its V takes one argument, the coordinate x; for a function of points give ndim= and "
            'of="points" for arrays (..., d), of="point" for one vector (d,) at a time)'
        )
    return words
