"""Many frames of a run at once: arrays with the frames first, in blocks that stay in cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.typing import Array

if TYPE_CHECKING:
    from wfr_pde.space.grid import Grid
    from wfr_pde.truth.certified.problem import Problem


BLOCK = 2**16  # numbers of a block, but for a frame that has more: what stays in cache; no number depends on it


def blocks(first: int, last: int, size: int) -> Iterator[slice]:
    """Yield the frames from `first` to `last` - 1, of so many numbers each, in blocks."""
    count = max(1, BLOCK // size)
    return (slice(start, min(start + count, last)) for start in range(first, last, count))


def at_each(find: Callable[[float], Array], times: Any) -> Array:
    """Call `find` at times (...) and stack the arrays: (..., *their shape)."""
    found = np.stack([find(t) for t in np.ravel(times).tolist()])
    return found.reshape(*np.shape(times), *found.shape[1:])


def log_equilibria(problem: Problem, grid: Grid, times: Any) -> Array:
    """Compute log pi at times (n,) as `Problem.seen` has it: (n, *shape), or (1, *shape) where it does not change."""
    changes = problem.target.moving or problem.ceilings is not None
    return at_each(lambda t: np.asarray(problem.seen(t).log_equilibrium(grid)), times if changes else times[:1])


def cell_axes(grid: Grid) -> tuple[int, ...]:
    """Return the axes of the cells, which come last."""
    return tuple(range(-grid.ndim, 0))


def integrals(grid: Grid, values: Array) -> Array:
    """Compute ∫ values dx over the cells: (...,) for values (..., *shape)."""
    if grid.is_uniform:
        return np.asarray(values.sum(axis=cell_axes(grid)) * grid.cell_volume)
    return np.asarray((values * grid.cell_volume).sum(axis=cell_axes(grid)))


def spread(grid: Grid, numbers: Array) -> Array:
    """Return one number per frame (...) as an array that broadcasts over its cells."""
    return numbers[(..., *[None] * grid.ndim)]


def normalised(grid: Grid, log_values: Array) -> Array:
    """Normalise log-densities (..., *shape) to mass one."""
    top = spread(grid, log_values.max(axis=cell_axes(grid)))
    mass = integrals(grid, np.exp(log_values - top))
    return np.asarray(log_values - (top + spread(grid, np.log(mass))))
