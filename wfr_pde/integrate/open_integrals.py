"""Integrals that the box of a grid cuts off: told by what does not fall towards its ends, once a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from wfr_pde.errors import OpenIntegralWarning
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

SHARE = 1e-3  # of an integral that may lie outside the box, as its last cells let expect
OUTER = 32  # th part of the cells of an axis by which its ends are judged, at least two
ONE, ALIKE = 0.98, 0.2  # power of the distance from which on there is no integral, and what two estimates differ by
TOUCHES = 1e-9  # of the length of an axis: a wall of the target that is that of the box

# records whose warning was given in this run; None outside a run
_TOLD: ContextVar[set[str] | None] = ContextVar("_TOLD", default=None)


@contextmanager
def telling_once(told: set[str]) -> Iterator[None]:
    """Suppress, inside, the warnings about open integrals that are in `told`, and add to it those that are given."""
    token = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(token)


def warn_if_open(name: str, integrand: str, density: Density, log_integrand: Any, target: Target) -> None:
    """Warn that the integral of something positive is one over the box only, if the box shows so."""
    told = _TOLD.get()
    if told is not None and name in told:
        return
    found = open_end(density.grid, log_integrand, target)
    if found is None:
        return
    if told is not None:
        told.add(name)
    warnings.warn(
        f"{name} is a sum over the cells of the box: {integrand} {found}, so that the integral is infinite, or another "
        "number. Quote kl, or metrics.hellinger, in its place, or begin with a density whose tails are lighter; if "
        "the domain ends at a smooth wall there, say so by Grid(..., max_cut=1)",
        OpenIntegralWarning,
        stacklevel=5,
    )


def open_end(grid: Grid, log_integrand: Any, target: Target) -> str | None:
    """Say at which end of an axis the integral goes on beyond the box, and why; None if it ends inside.

    A periodic axis has no ends. At walls nothing goes on, but values may grow too fast: the ends of a grid with
    ``max_cut=1``, and those where the support of the target ends, too.
    """
    for k, axis in enumerate(grid.axes):
        if axis.periodic:
            continue
        line = _along(grid, log_integrand, k)
        top = line.max()
        total = top + math.log(float(np.sum(np.exp(line - top) * axis.widths)))
        m = max(2, axis.n // OUTER)
        for end, inner, edge, which in ((-1, -1 - m, axis.edges[-1], 1), (0, m, axis.edges[0], 0)):
            wall = math.nan if target.support is None else float(target.support[which][k])
            if grid.max_cut >= 1 or abs(wall - edge) <= TOUCHES * axis.length:
                if _is_singular(line, axis.centres, edge, end):
                    return f"grows as 1/distance, or faster, towards the wall of {axis.name} at {edge:.6g}"
                continue
            fall = (line[inner] - line[end]) / abs(axis.centres[inner] - axis.centres[end])
            where = f"towards the {'upper' if which else 'lower'} end of {axis.name} at {edge:.6g}"
            if fall <= 0:
                return f"does not fall {where}"
            if line[end] - math.log(fall) > total + math.log(SHARE):
                return f"has not fallen to nothing {where}"
    return None


def _is_singular(line: np.ndarray, centres: np.ndarray, edge: float, end: int) -> bool:
    """Return whether values grow towards a wall as a power of the distance that has no integral."""
    cells = [0, 1, 2] if end == 0 else [-1, -2, -3]
    distances = np.log(np.abs(centres[cells] - edge))
    first, second = -np.diff(line[cells]) / np.diff(distances)
    return bool(first >= ONE and abs(second - first) < ALIKE * first)


def _along(grid: Grid, log_integrand: Any, k: int) -> np.ndarray:
    """Return the logarithm of the integral over all axes but one."""
    others = tuple(i for i in range(grid.ndim) if i != k)
    if not others:
        return grid.reductions.whole(log_integrand)
    return grid.backend.asnumpy(grid.reductions.log_sum_along(log_integrand + grid.log_widths(others), others))
