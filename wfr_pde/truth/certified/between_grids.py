"""Log-ratios interpolated from every grid of a family to the finest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid
from wfr_pde.space.transfer import Interpolation
from wfr_pde.truth.certified.evidence.residual import ABOVE, LEAST_MORE, along, around, stencils
from wfr_pde.truth.certified.frame_blocks import cell_axes, log_equilibria, normalised
from wfr_pde.truth.certified.problem import Problem


class Moves:
    """Interpolation of log-ratios from every grid of the family to the finest.

    Values are kept near those of the centres around: far out in tails, where neighbouring centres differ by nats
    without a rule, polynomials that end at a wall multiply that, and would put mass where none is. Where V
    spans so much that there are ceilings, polynomials through few cells high up say nothing: there the density is at
    most e times what it is at the centres around.
    """

    def __init__(self, problem: Problem, grids: Sequence[Grid], nodes: int, times: Array) -> None:
        self.problem, self.grids, self.times = problem, grids, times
        self.matrices = [stencils(Interpolation(grid, grids[-1], nodes), grid) for grid in grids[:-1]]

    def __call__(self, runs: Sequence[Array], which: Any) -> list[Array]:
        """Return the log-ratios at some nodes on the finest grid (n, *shape), from those of all grids."""
        finest = runs[-1][which]
        if self.problem.ceilings is not None:
            finest = self._limited(finest, self.grids[-1], finest, which)
        return [*self.some(runs[:-1], which), finest]

    def some(self, runs: Sequence[Array], which: Any) -> list[Array]:
        """Return the log-ratios at some nodes on the finest grid (n, *shape), from those of the coarsest grids."""
        moved = []
        for grid, matrices, run in zip(self.grids, self.matrices, runs, strict=False):
            values = log_ratio = run[which]
            for axis, matrix in zip(cell_axes(grid), matrices, strict=True):
                values = along(matrix, values, axis)
            values = self._near(values, grid, log_ratio)
            moved.append(values if self.problem.ceilings is None else self._limited(values, grid, log_ratio, which))
        return moved

    def _near(self, moved: Array, grid: Grid, log_ratio: Array) -> Array:
        """Keep interpolated log-ratios on the finest grid within some nats of the range at the centres around."""
        places = [axis.centres for axis in self.grids[-1].axes]
        high, low = around(log_ratio, grid, places), -around(-log_ratio, grid, places)
        more = high - low + LEAST_MORE
        return np.clip(moved, low - more, high + more)

    def _limited(self, moved: Array, grid: Grid, log_ratio: Array, which: Any) -> Array:
        """Keep interpolated log-ratios, as densities of mass one, not far above those at the centres around."""
        times, finest = self.times[which], self.grids[-1]
        log_density = log_ratio + log_equilibria(self.problem, grid, times)
        most = around(log_density, grid, [axis.centres for axis in finest.axes])
        log_pi = log_equilibria(self.problem, finest, times)
        return normalised(finest, np.minimum(moved + log_pi, most + ABOVE)) - log_pi
