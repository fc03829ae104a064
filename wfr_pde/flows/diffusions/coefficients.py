"""Coefficients of weighted diffusions: functions of place and time, checked wherever they are asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import number, real_array, shown
from wfr_pde.numerics.gauss_rules import gauss
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call

Field = Callable[[Array, float], ArrayLike]
Diffusivity = float | Sequence[float] | Array | Callable[[float], ArrayLike]

NODES = 5  # of Gauss's rule for integrals over a step: of order 10, symmetric, so that errors stay even in dt
GOLDEN = 0.6180339887498949  # multiples of it spread evenly over an interval, and repeat nothing
PROBES = 16  # times at which functions are asked for their fingerprint
PLACES = 64  # places, at most, at which they are


def diffusivity_at(diffusivity: Diffusivity, t: float, ndim: int) -> Array:
    """Return D along every axis at a time, an array (d,).

    Raises
    ------
    ValueError
        If it is negative, not finite, or neither one number nor one per axis.
    """
    given = call("diffusivity", diffusivity, t) if callable(diffusivity) else diffusivity
    where = f" at t={t:.6g}" if callable(diffusivity) else ""
    one = np.ndim(given) == 0
    values = np.asarray(number("diffusivity", given)) if one else real_array(f"diffusivity{where}", given)
    if values.shape not in ((), (1,), (ndim,)):
        raise ValueError(
            f"diffusivity{where} must be one number, or one for each of {ndim} axes, got shape {values.shape}"
        )
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"diffusivity{where} must be finite and >= 0 along every axis, got {shown(given)}")
    return np.broadcast_to(values, (ndim,)).astype(np.float64)


def diffusion_times(diffusivity: Diffusivity, t: float, h: float, ndim: int) -> Array:
    """Return the integral of D from t to t + h along every axis, an array (d,); exact for numbers."""
    if not callable(diffusivity):
        return diffusivity_at(diffusivity, t, ndim) * h
    nodes, weights = gauss(NODES)
    parts = [w * diffusivity_at(diffusivity, t + float(x) * h, ndim) for x, w in zip(nodes, weights, strict=True)]
    return h * np.sum(parts, axis=0)


def name_of(function: Any) -> str:
    """Return how a function is called in the repr of what it is part of; numbers as they are."""
    return getattr(function, "__qualname__", None) or repr(function)


def values_at_probes(functions: Sequence[Any], template: Any) -> Array:
    """Return values of functions of (points, t), or of t, at some places of a state and at some times in [0, 1].

    They tell flows apart whose functions look alike; where a function cannot be asked, NaN stands.
    """
    points = template.grid.points().reshape(-1, template.ndim) if hasattr(template, "grid") else template.positions
    places = points[:: math.ceil(len(points) / PLACES)]
    found = []
    for function in functions:
        for t in (k * GOLDEN % 1 for k in range(PROBES)):
            if function is None or not callable(function):
                continue
            try:
                found.append(np.ravel(np.asarray(function(places, t), dtype=np.float64)))
            except Exception:  # the run itself says what is wrong with it
                found.append(np.full(1, np.nan))
    numbers = [np.ravel(np.asarray(f, dtype=np.float64)) for f in functions if f is not None and not callable(f)]
    return np.concatenate([np.empty(0), *found, *numbers])
