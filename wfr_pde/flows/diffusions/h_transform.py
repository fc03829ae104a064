"""Reverse diffusions with the exact score: the forward kernel applied to the ratio of a density to the path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import CellsTooWideError
from wfr_pde.flows.base import MemoryUse, Step
from wfr_pde.flows.diffusions.coefficients import values_at_probes
from wfr_pde.flows.diffusions.free_space import FreeSpaceFlow, with_account
from wfr_pde.numerics.arguments import instance
from wfr_pde.numerics.falling_parabolas import continued
from wfr_pde.numerics.log_products import log_product_along
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target
from wfr_pde.targets.noised import ReversedPath

RESOLUTION = 1.5  # squared cells: a kernel of a smaller variance aliases, by 2 e^(-2 pi² 1.5) = 3e-13
REACH = 9.0  # standard deviations of the kernel beyond the walls that mu is continued by
FARTHEST = 20.0  # lengths of an axis that it is continued by at most


@dataclass(frozen=True, eq=False)
class HTransform(FreeSpaceFlow):
    """The reverse SDE of a diffusion model with its exact score, exact in one step of any length.

        mu_{s+h}(x) = p_{s+h}(x) ∫ k(y | x) mu_s(y) / p_s(y) dy

    where k is the transition density of the noise that leads from p_{s+h} to p_s, a Gaussian: Doob's h-transform. On
    the grid a product with Gaussians whose rows are normalised, axis by axis, in the log-domain. The path stays where
    it is, and nothing is stiff near the data. Beyond the walls log mu goes on as a falling parabola.

    Parameters
    ----------
    path : ReversedPath
        ``Noised(data, schedule).reversed()``; the time of the run is its s, in [0, 1].

    Raises
    ------
    TypeError
        If it is no such path.
    ValueError
        From a step: for cells wider than the noise of a step resolves, graded or periodic axes, times beyond 1.
    NumericalError
        From a step that loses or makes mass.

    References
    ----------
    Anderson (1982), doi:10.1016/0304-4149(82)90051-5, for the reverse SDE.

    Examples
    --------
    From N(0, 1) in place of p_T, which is N(0.1, 0.99), in one step: the mean of the data N(2, 0.04) is missed by
    little.

    >>> import wfr_pde as wfr
    >>> path = wfr.Noised(wfr.Gaussian(2.0, 0.04), wfr.OU(t_end=3.0)).reversed()
    >>> start = wfr.Grid(-8.0, 8.0, 256).density(wfr.Gaussian(0.0, 1.0))
    >>> run = wfr.solve(None, wfr.flows.HTransform(path), start, [0, 1], 1.0, record=[wfr.diagnostics.mean])
    >>> round(float(run["mean"][-1, 0]), 6)
    1.999801
    """

    path: ReversedPath

    takes_periodic = False

    def __post_init__(self) -> None:
        instance("path", self.path, ReversedPath, "such as Noised(Gaussian(0, 1), VP()).reversed()")

    @override
    def reference(self, template: Any) -> np.ndarray:
        path = self.path
        return values_at_probes(
            [lambda points, s: path.at(s).score(points), lambda points, s: path.noise_time(s)], template
        )

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count the wider arrays, of three times the cells per axis, and the kernels."""
        return MemoryUse(8 * (4 * 3**template.ndim * template.grid.size + 3 * sum(n**2 for n in template.grid.shape)))

    @override
    def check(self, energy: Energy, template: Any) -> None:
        super().check(energy, template)
        if template.ndim != self.path.ndim:
            raise ValueError(
                f"the path {self.path!r} is {self.path.ndim}-dimensional, but the start has {template.ndim} axes"
            )

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the exact map over `dt`."""
        self.check(energy, template)
        path, grid = self.path, template.grid

        def step(state: Density, t: float, rng: Any = None) -> Density:
            end = t + dt if t + dt < 1 else min(t + dt, max(1.0, t + dt - 1e-9))  # rounding counts as the end
            kernel = _Kernel(grid, path, t, end)
            ratio = kernel.continued(state.log_values) - _log_density(path.at(t), kernel.points())
            values = kernel(ratio) + _log_density(path.at(end), grid.points())
            self.weigh(state, values, "reverse diffusion", end)
            return with_account(state, values)

        return step


def _log_density(law: Target, points: Array) -> Array:
    """Return the log-density of a law, normalised."""
    return law.log_density(points) - (law.log_normaliser or 0.0)


class _Kernel:
    """The noise that leads back from the time `end` to `begin`, from the cells of a box to those and some beyond."""

    def __init__(self, grid: Grid, path: ReversedPath, begin: float, end: float) -> None:
        noise_time = path.noise_time(begin) - path.noise_time(end)
        self.grid, (self.alpha, variance) = grid, path.schedule.transition(noise_time)
        self.sigma = math.sqrt(variance)
        for axis in grid.axes:
            if variance < RESOLUTION * axis.dx**2 * (1 - 1e-9):
                raise CellsTooWideError(
                    f"the step from s={begin:.6g} to {end:.6g} is a noise time of {noise_time:.4g}, whose noise has a "
                    f"standard deviation of {self.sigma:.4g}, but cells of {axis.dx:.4g} along {axis.name!r} resolve "
                    f"{math.sqrt(RESOLUTION) * axis.dx:.4g} and more: use a larger dt or a finer grid"
                )
        self.beyond = [self._cells_beyond(k) for k in range(grid.ndim)]

    def _cells_beyond(self, k: int) -> tuple[int, int]:
        """Return the numbers of cells below and above the box that the noise comes from."""
        axis, reach = self.grid.axes[k], REACH * self.sigma
        lower, upper = axis.edges[0], axis.edges[-1]
        lengths = max(0.0, lower - self.alpha * lower + reach), max(0.0, self.alpha * upper - upper + reach)
        if max(lengths) > FARTHEST * axis.length:
            raise ValueError(
                f"a step with noise of a standard deviation of {self.sigma:.4g} reaches further than {FARTHEST:g} "
                f"lengths of the axis {axis.name!r}: use a smaller dt, or a larger box"
            )
        return math.ceil(lengths[0] / axis.dx), math.ceil(lengths[1] / axis.dx)

    def _centres(self, k: int) -> Array:
        """Return the centres of the cells along an axis, and of those beyond it."""
        axis, (below, above) = self.grid.axes[k], self.beyond[k]
        return np.concatenate(
            [
                axis.centres[0] - axis.dx * np.arange(below, 0, -1),
                axis.centres,
                axis.centres[-1] + axis.dx * np.arange(1, above + 1),
            ]
        )

    def points(self) -> Array:
        """Return the centres of all cells (..., d), of those beyond the box, too."""
        return np.stack(np.meshgrid(*map(self._centres, range(self.grid.ndim)), indexing="ij"), axis=-1)

    def continued(self, log_values: Array) -> Array:
        """Return log-values with those of the cells beyond the box."""
        for k, (below, above) in enumerate(self.beyond):
            log_values = continued(log_values, k, below, above)
        return log_values

    def __call__(self, log_values: Array) -> Array:
        """Return the logarithm of the mean of exp(log_values) over the noise, at the cells of the box."""
        for k, axis in enumerate(self.grid.axes):
            apart = (self._centres(k) - self.alpha * axis.centres[:, None]) / self.sigma
            rows = -0.5 * apart**2
            rows -= rows.max(axis=1, keepdims=True)
            rows -= np.log(np.sum(np.exp(rows), axis=1, keepdims=True))
            log_values = log_product_along(rows, log_values, k)
        return log_values
