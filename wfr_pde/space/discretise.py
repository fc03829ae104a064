"""Put a distribution on a grid: its log-density at the cell centres, of mass one, and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics import arguments
from wfr_pde.numerics.arguments import instance, real_array
from wfr_pde.numerics.user_calls import call
from wfr_pde.space import checks
from wfr_pde.space.density import Density
from wfr_pde.targets.arguments import dimension_in_words
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    from wfr_pde.space.grid import Grid

ARRAYS_OF_A_DENSITY = 4  # at most, while a distribution is put on the grid and checked


def discretise(grid: Grid, distribution: Target) -> Density:
    """Return the normalised density of a distribution on a grid; see `log_density_on` for the errors."""
    if isinstance(distribution, Density):
        raise TypeError("grid.density takes a distribution such as Gaussian(0, 1): a Density is on its grid already")
    instance("distribution", distribution, Target, "such as Gaussian(mean=0, covariance=1)")
    return Density.holding(grid, log_density_on(grid, distribution, "the start"), origin=repr(distribution))


def log_density_on(grid: Grid, distribution: Target, what: str, checked: bool = True) -> Any:
    """Evaluate the log-density of a distribution, normalised on a grid; see `Grid.log_density`."""
    instance(what.removeprefix("the "), distribution, Target, "such as Gaussian(mean=0, covariance=1)")
    if distribution.ndim != grid.ndim:
        raise ValueError(
            f"{what} {distribution!r} is {dimension_in_words(distribution)}, but the grid is {grid.ndim}-dimensional"
        )
    log_values = values_on(grid, distribution.log_density)
    checks.check_finite(grid, log_values, distribution, what)
    log_mass = grid.reductions.log_integrate(log_values)
    if not math.isfinite(float(log_mass)):
        raise ValueError(f"{what} {distribution!r} has a mass of e^{float(log_mass)} in the box")
    log_values -= log_mass
    if checked:
        checks.check_resolved(grid, log_values, f"{what} {distribution!r}")
        checks.check_between_cells(grid, log_values, float(log_mass), distribution, what)
        checks.check_cut(grid, log_values, float(log_mass), distribution, what)
    return log_values


def values_on(grid: Grid, function: Callable[[np.ndarray], ArrayLike]) -> Any:
    """Evaluate a function of points at all cell centres, slab by slab; see `Grid.evaluate`."""
    needed, available = ARRAYS_OF_A_DENSITY * 8 * grid.local_size, grid.backend.available_memory()
    known = math.inf if available is None else available
    if grid.reductions.any(needed > known):
        raise MemoryError(
            f"a density on {grid.size} cells needs about {needed / 2**30:.3g} GiB while it is checked, but "
            f"{known / 2**30:.3g} GiB are free: use fewer cells than {grid.shape}"
        )
    arguments.function("function", function, "points (..., d) -> (...)")
    values = np.empty(grid.local_shape)
    for slab in grid.slabs():
        points = grid.points(slab)
        found = real_array("what function returns", call("function", function, points))
        if found.shape not in ((), points.shape[:-1]):
            raise ValueError(f"function must return (...) for points (..., d), got {found.shape} for {points.shape}")
        values[slab] = found
    return grid.backend.asarray(values)
