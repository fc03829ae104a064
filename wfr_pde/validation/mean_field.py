"""The law of a sampler for infinitely many particles, on two grids."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wfr_pde.energies import KL, Energy
from wfr_pde.flows.base import Flow
from wfr_pde.integrate.time_loop import solve
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

# per axis of the coarser grid, by dimension: as many as take seconds; errors in space are estimated and count
CELLS = {1: 384, 2: 96, 3: 36}
FINER = 1.5  # cells per axis of the finer grid over those of the coarser: the two are extrapolated
ATTEMPTS = (1.0, 1.5, 2.25, 3.375)  # times the cells, where fewer are refused because the flow is not resolved


@dataclass(frozen=True, eq=False)
class Law:
    """Law of a flow for infinitely many particles: densities at the save times, on a finer and a coarser grid.

    Attributes
    ----------
    times : array (t,)
        The save times.
    fine, coarse : lists of Density
        Densities at these times.
    """

    times: Array
    fine: list[Density]
    coarse: list[Density]

    def expectations(
        self, index: int, mean: Callable[[Density], Array], order: float = math.inf
    ) -> tuple[Array, Array]:
        """Return expectations at the time number `index`, and estimates of their errors in space.

        Where the flow is of a finite order in dx, the two grids are extrapolated.
        """
        fine, coarse = mean(self.fine[index]), mean(self.coarse[index])
        gap = fine - coarse
        if math.isinf(order):
            return fine, np.abs(gap)
        correction = gap / (FINER**order - 1)
        return fine + correction, np.abs(correction)


def moves_densities(flow: Flow, ndim: int) -> bool:
    """Tell whether a flow of particles moves densities on `ndim` axes, too: then it has a law on a grid."""
    takes_kl = issubclass(KL, flow.energies or Energy)
    return takes_kl and Density in flow.measures and ndim <= min(flow.max_ndim, max(CELLS))


def mean_field(
    flow: Flow,
    target: Target,
    start: Target | Density,
    times: Array,
    dt: float,
    box: Grid,
    *,
    only_coarse: bool = False,
    cells: int | None = None,
) -> Law:
    """Return the law of a flow for infinitely many particles, at the same dt, on two grids of a box.

    Parameters
    ----------
    flow : Flow
        A flow that moves densities.
    target : Target
        pi.
    start : Target or Density
        The law at the first time.
    times : array (t,)
        Save times, of which the first is that of the start.
    dt : float
        Step of the flow.
    box : Grid
        Grid whose walls and names are taken; its cells are not.
    only_coarse : bool
        Whether the coarser grid serves for both.
    cells : int, optional
        Number per axis of the coarser grid; as many as are needed by default.

    Returns
    -------
    Law

    Raises
    ------
    ValueError
        If no grid of a reasonable size holds it.
    """

    def densities(n: int) -> list[Density]:
        """Solve on `n` cells per axis, and return the densities at the times."""
        grid = Grid(box.lower, box.upper, n, boundary=box.boundary, names=box.names, max_cut=max(box.max_cut, 1e-6))
        ds = solve(target, flow, start_on(grid, start), times, dt, progress=False)
        return [Density(grid, np.asarray(values, dtype=np.float64)) for values in ds["log_density"].values]

    counts = [2 * round(CELLS[box.ndim] * factor / 2) for factor in ATTEMPTS] if cells is None else [cells]
    for n in counts:
        try:
            coarse = densities(n)
            break
        except ValueError as error:
            refusal = error
    else:
        refusal.add_note(f"(the law of {flow!r} at dt={dt:g}, on {counts[-1]} cells per axis)")
        raise refusal
    fine = coarse if only_coarse else densities(round(FINER * n))
    return Law(times, fine, coarse)


def start_on(grid: Grid, start: Target | Density) -> Density:
    """Put a start on a grid: by its formula, or by interpolation."""
    if isinstance(start, Density):
        return Density(grid, start.log_prob(grid.points())).normalised()
    return grid.density(start)
