"""What diffusions in free space ask of a measure: a grid of equal cells on the CPU, and an account of the mass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wfr_pde.space.density import Density


def begin_account(start: Any) -> Any:
    """Return a start with a `log_mass`: that which it has, or zero."""
    return start if not isinstance(start, Density) or start.log_mass is not None else replace(start, log_mass=0.0)


def check_free_space(name: str, template: Density) -> None:
    """Refuse grids that characteristics do not take.

    Raises
    ------
    ValueError
        For graded cells, more than three axes, or a backend other than numpy.
    """
    grid = template.grid
    if grid.backend.name != "numpy":
        raise ValueError(f"{name} works on the CPU, but the grid is on {grid.backend.name!r}: use backend='numpy'")
    if grid.ndim > 3:
        raise ValueError(f"{name} works in one to three dimensions, but the grid has {grid.ndim} axes")
    for axis in grid.axes:
        if not axis.is_uniform:
            raise ValueError(
                f"{name} needs equal cells, but those of the axis {axis.name!r} are graded (from "
                f"{axis.widths.min():.4g} to {axis.widths.max():.4g}): use a uniform axis, or "
                "FiniteVolume(drift=...)"
            )
        if axis.n < 12:
            raise ValueError(f"{name} interpolates with ten cells, but the axis {axis.name!r} has {axis.n}: use 12")
