"""Distances between two densities: functions (reference, other) -> float."""

from __future__ import annotations

import math
from typing import Any

from wfr_pde.grid import Grid
from wfr_pde.measures import Density


def l1(reference: Density, other: Density) -> float:
    """∫ |mu - nu| dx, between 0 and 2.

    Parameters
    ----------
    reference, other : Density
        On grids with the same cells.

    Raises
    ------
    TypeError
        If one is not a Density.
    ValueError
        If the grids differ.
    """
    log_a, log_b = _matched(reference, other)
    xp = reference.grid.backend.xp
    return float(reference.grid.integrate(xp.abs(xp.exp(log_a) - xp.exp(log_b))))


def total_variation(reference: Density, other: Density) -> float:
    """sup |mu(B) - nu(B)| over sets B = ½ ∫ |mu - nu| dx, between 0 and 1; arguments and errors as `l1`."""
    return 0.5 * l1(reference, other)


def hellinger(reference: Density, other: Density) -> float:
    """sqrt(½ ∫ (sqrt(mu) - sqrt(nu))² dx), between 0 and 1; arguments and errors as `l1`."""
    log_a, log_b = _matched(reference, other)
    xp = reference.grid.backend.xp
    return math.sqrt(0.5 * float(reference.grid.integrate((xp.exp(log_a / 2) - xp.exp(log_b / 2)) ** 2)))


def _matched(reference: Any, other: Any) -> tuple[Any, Any]:
    """Both log-densities as arrays of the reference's backend."""
    for name, density in (("reference", reference), ("other", other)):
        if not isinstance(density, Density):
            raise TypeError(
                f"{name} must be a Density, got {type(density).__name__}; "
                "the last frame of a Dataset is Density.from_dataset(ds)"
            )
    if not reference.grid.matches(other.grid):
        raise ValueError(f"the densities are on different grids: {_differences(reference.grid, other.grid)}")
    log_values = other.log_values
    if other.grid.backend != reference.grid.backend:
        log_values = reference.grid.backend.asarray(other.grid.backend.asnumpy(log_values))
    return reference.log_values, log_values


def _differences(a: Grid, b: Grid) -> str:
    """What differs, in words."""
    pairs = [(name, getattr(a, name), getattr(b, name)) for name in ("shape", "boundary", "names", "lower", "upper")]
    found = [f"{name} {one} and {two}" for name, one, two in pairs if one != two]
    return ", ".join(found) or "the cells have different edges"
