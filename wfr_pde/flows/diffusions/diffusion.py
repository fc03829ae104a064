"""Pure diffusion, by the exact heat kernel, with a diffusivity of its own along every axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import CellsTooWideError
from wfr_pde.flows.base import Step
from wfr_pde.flows.diffusions.coefficients import (
    Diffusivity,
    diffusion_times,
    diffusivity_at,
    name_of,
    values_at_probes,
)
from wfr_pde.flows.diffusions.free_space import FreeSpaceFlow, with_account
from wfr_pde.flows.transport.sinkhorn.flow import RESOLUTION
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.falling_parabolas import continued
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.continued import FARTHEST
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.product import HeatKernel

REACH = 7.5  # standard deviations of the kernel that walls are moved away by: e^-28 of what lies beyond is left out
JOINED = 8  # cells that they are moved away by are a multiple of this, so that steps share kernels


@dataclass(frozen=True, eq=False, repr=False)
class Diffusion(FreeSpaceFlow):
    """Diffusion d_t mu = div(D(t) grad mu), exact, with a diffusivity along every axis that may be zero.

    Products with the heat kernel of free space in the log-domain, right in every cell relative to its value. The box
    holds the mass, and beyond its walls log mu goes on as a falling parabola. Axes may be periodic.

    Parameters
    ----------
    diffusivity : number, array (d,), or function t -> number or (d,)
        D >= 0, in length² per time. Its integral over the smallest sub-step has to be 0.75 dx² or more, or zero.

    Raises
    ------
    ValueError
        If it is negative or not finite; from a step whose kernel the cells do not resolve.
    NumericalError
        From a step that loses mass through a wall.

    Examples
    --------
    The variance of N(0, 1) grows by 2 D t:

    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-12.0, 12.0, 128).density(wfr.Gaussian(0.0, 1.0))
    >>> run = wfr.solve(None, wfr.flows.Diffusion(0.5), start, [0.0, 1.0], 1.0, record=[wfr.diagnostics.covariance])
    >>> round(float(run["covariance"][-1, 0, 0]), 6)
    2.0
    """

    diffusivity: Diffusivity

    def __post_init__(self) -> None:
        if not callable(self.diffusivity):
            diffusivity_at(self.diffusivity, 0.0, max(1, real_array("diffusivity", self.diffusivity).size))

    @override
    def __repr__(self) -> str:
        return f"Diffusion({name_of(self.diffusivity)})"

    @override
    def reference(self, template: Any) -> np.ndarray:
        given = self.diffusivity
        return values_at_probes([(lambda points, t: given(t)) if callable(given) else given], template)

    @override
    def check(self, energy: Energy, template: Any) -> None:
        super().check(energy, template)
        if not callable(self.diffusivity):
            diffusivity_at(self.diffusivity, 0.0, template.ndim)

    @override
    def dt_bounds(self, energy: Energy, template: Density) -> tuple[float, float]:
        """Return the dt where D dt = 0.75 dx² along every axis that diffuses; a function of time has no bound here."""
        if callable(self.diffusivity):
            return 0.0, math.inf
        found = zip(diffusivity_at(self.diffusivity, 0.0, template.ndim), template.grid.axes, strict=True)
        return max((RESOLUTION * axis.dx**2 / d for d, axis in found if d > 0), default=0.0), math.inf

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the exact map over `dt`."""
        self.check(energy, template)
        grid = template.grid
        kernels = _FreeKernels(grid)

        def step(state: Density, t: float, rng: Any = None) -> Density:
            values = kernels(state.log_values, diffusion_times(self.diffusivity, t, dt, grid.ndim), t)
            self.weigh(state, values, "diffusion", t + dt)
            return with_account(state, values)

        return step


class _FreeKernels:
    """The heat kernels of free space on the cells of a box: what is beyond its walls is continued."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._wider: dict[tuple[int, int], Grid] = {}
        self._kept: dict[tuple[int, float], HeatKernel] = {}

    def __call__(self, log_values: Array, times: Array, t: float) -> Array:
        """Return log of the product with the kernels of all axes over their `times`, for a step from time `t`."""
        for k, (time, axis) in enumerate(zip(map(float, times), self.grid.axes, strict=True)):
            if time == 0:
                continue
            if time < RESOLUTION * axis.dx**2 * (1 - 1e-9):
                raise CellsTooWideError(
                    f"the step at t={t:.6g} diffuses over a time of {time:.4g} along {axis.name!r}, but cells of "
                    f"{axis.dx:.4g} resolve {RESOLUTION * axis.dx**2:.4g} and more: use a larger dt or a finer grid"
                )
            log_values = self._along(k, log_values, time)
        return log_values

    def _along(self, k: int, log_values: Array, time: float) -> Array:
        """Return log of the product along one axis."""
        axis = self.grid.axes[k]
        more = 0 if axis.periodic else JOINED * math.ceil(REACH * math.sqrt(2 * time) / axis.dx / JOINED)
        if more > FARTHEST * axis.n:
            raise ValueError(
                f"a diffusion over a time of {time:.4g} reaches further than {FARTHEST:g} lengths of the axis "
                f"{axis.name!r}: use a smaller dt, or a larger box"
            )
        if (k, more) not in self._wider:
            ends = axis.edges[0] - more * axis.dx, axis.edges[-1] + more * axis.dx
            wide = Axis.uniform(axis.name, *ends, axis.n + 2 * more, axis.periodic)
            self._wider[k, more] = self.grid.with_axes([wide if other is axis else other for other in self.grid.axes])
        kernel = self._kept.get((k, time)) or self._wider[k, more].heat_kernel(time)
        if (k, time) not in self._kept:  # a diffusivity that varies asks for others at every step
            self._kept = {key: one for key, one in self._kept.items() if key[0] != k} | {(k, time): kernel}
        values = np.ascontiguousarray(continued(log_values, k, more, more)) if more else np.array(log_values)
        kernel.log_product_along(k, values, kernel.rows if k else kernel.columns)
        return np.take(values, np.arange(more, more + axis.n), axis=k)
