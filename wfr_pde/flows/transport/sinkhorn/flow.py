"""Transport by a symmetrically normalised heat kernel: spectral in space, positive, order 2 in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, FrozenStep, FrozenSteps, MemoryUse, Step, Steps, checked_rate, no_callback
from wfr_pde.flows.law import Law
from wfr_pde.flows.takes_reactions import TakesReactions
from wfr_pde.flows.transport.sinkhorn.scaling import sinkhorn_scaling
from wfr_pde.numerics.cellwise import Chunk
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.product import Begin

RESOLUTION = 0.75  # smallest rate * dt / dx²: the sampled Gaussian aliases like e^(-4 pi² 0.75) = 1e-13
NEGLIGIBLE_DEPTH = 45.0  # nats below the maximum, where a density is 3e-20 of it


@dataclass(frozen=True)
class SinkhornKernel(Flow, TakesReactions):
    """Wasserstein gradient flow of KL(mu|pi), d_t mu = rate div(mu grad log(mu/pi)), by a Schrödinger bridge.

    With s = sqrt(pi) and G the heat kernel of time rate*dt, let d > 0 solve d ∘ G(d ∘ s) = s. The step is

        mu ← s ∘ d ∘ G(d ∘ mu / s),

    a reversible Markov kernel with equilibrium pi: positive; mass and pi kept to rounding; every f-divergence to
    pi falls. It needs no derivative of V. On a Gaussian with precision A it replaces e^(-rate dt A) by
    e^(-asinh(rate dt A)). Sums of positive terms only: every cell is right relative to its own value, e^-7000 too.

    The spatial error is spectral where the kernel is resolved, rate*dt >= 0.75 dx², which is enforced (on a graded
    axis less in the tails of target and start, nothing below e^-45).
    (Agarwal, Harchaoui, Mulcahy, Pal 2024, arXiv:2406.10823, for the bridge from pi to pi as a step of the flow;
    Wormell and Reich 2021, doi:10.1137/20M1344093, for symmetric Sinkhorn normalisation.)

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0: the diffusivity in units of length² / time, where V is in nats.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.

    Examples
    --------
    One step of 1/2 multiplies the mean of N(1, 1) by e^(-asinh(1/2)), where the flow itself has e^(-1/2) = 0.6065:

    >>> import math
    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> run = wfr.solve(
    ...     wfr.Gaussian(0.0, 1.0), wfr.SinkhornKernel(), start, [0.0, 0.5], 0.5, record=[wfr.diagnostics.mean]
    ... )
    >>> round(float(run["mean"][-1, 0]), 4), round(math.exp(-math.asinh(0.5)), 4)
    (0.618, 0.618)
    """

    rate: float = 1.0

    law = Law.W
    order = 2
    self_adjoint = True
    factorises = True
    preserves = frozenset({"mass", "positivity", "equilibrium", "monotone"})
    measures = (Density,)
    single = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "SinkhornKernel"))

    @override
    def build_step(self, energy: Energy, template: Density, dt: float) -> FrozenStep:
        """Prepare products with the normalised kernel.

        Raises
        ------
        ValueError
            If the grid does not resolve the heat kernel of time rate*dt.
        NumericalError
            If the normalisation does not converge.
        """
        if self.rate == 0:
            return lambda state, rng: state
        steps = self._between(energy, template, dt, 0.0, 0.0)
        return lambda state, rng: steps(state, 1, no_callback)

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare a step that keeps the heat kernel, which a moving energy does not change, from step to step."""
        step = super().make_step(energy, template, dt)
        if self.rate == 0 or not energy.moving:
            return step
        kernel = template.grid.heat_kernel(self.rate * dt)
        return lambda state, t, rng=None, kept=kernel: step(state, t, rng)

    @override
    def make_steps(self, energy: Energy, template: Density, dt: float) -> Steps:
        """Prepare runs of steps; between two steps the arrays are left in the form that the next product takes."""
        if self.rate == 0 or energy.moving:
            return super().make_steps(energy, template, dt)
        self.check(energy, template)
        steps = self._between(energy, template, dt, 0.0, 0.0)
        return lambda state, t, n, rng=None, callback=no_callback: steps(state, n, callback)

    @override
    def takes_reactions(self, template: Any) -> bool:
        """Return True on the host, where reactions join the passes of the product; a device has a kernel for them."""
        return self.rate > 0 and isinstance(template, Density) and template.grid.backend.kernels is None

    @override
    def with_reactions(self, energy: Energy, template: Density, dt: float, times: tuple[float, float]) -> FrozenSteps:
        """Prepare products with the normalised kernel; it raises what `build_step` does."""
        return self._between(energy, template, dt, *times)

    def _between(self, energy: Energy, template: Density, dt: float, before: float, after: float) -> FrozenSteps:
        """Prepare steps with reactions over the times `before` and `after` them.

        Between two steps, both reactions are one, and a factor does not matter: the mass is made one in the end.
        """
        smallest = self.dt_bounds(energy, template)[0]
        if dt < smallest * (1 - 1e-9):
            raise ValueError(
                f"dt={dt:.4g} leaves the heat kernel of {self!r} unresolved (needs dt >= {smallest:.4g} on cells of "
                f"{math.sqrt(self.rate * smallest / RESOLUTION):.4g}): use a larger dt or a finer grid"
            )
        kernel = template.grid.heat_kernel(self.rate * dt)
        log_pi = energy.log_equilibrium(template.grid)
        scaling = sinkhorn_scaling(kernel, log_pi)
        scaling -= 0.5 * log_pi  # log(d / s); s d = (d / s) pi, so that there is one array to keep per step size
        terms = [(1.0, scaling), (1.0, log_pi)]
        s_before, s_after, s_between = (math.exp(-time) for time in (before, after, before + after))

        def steps(state: Density, n: int, callback: Callable[[], None]) -> Density:
            grid, cellwise, volume = state.grid, state.grid.cellwise, state.grid.cell_volume
            log_mu, values = state.log_values, cellwise.empty(state.log_values)

            def first(chunk: Chunk) -> tuple[Any, Any]:
                if before == 0:
                    return cellwise.add(chunk, 1.0, log_mu, scaling, values)
                return cellwise.blend_add(chunk, log_mu, log_pi, s_before, scaling, values)

            def between(chunk: Chunk, product: Any, shift: float | None) -> tuple[Any, Any]:
                return cellwise.log_blend_add(chunk, product, shift, y=log_pi, s=s_between, z=scaling, out=values)

            def last(chunk: Chunk, product: Any, shift: float | None) -> Any:
                if before == after == 0:
                    return cellwise.log(chunk, product, shift, 1.0, terms, values)
                return cellwise.log_blend(
                    chunk, product, shift, y=log_pi, s=s_after, z=scaling, volume=volume, out=values
                )

            begin: Begin = first
            for _ in range(n - 1):
                callback()
                begin = grid.joined(kernel.apply(begin, values, between))
            callback()
            masses = kernel.apply(begin, values, last)
            return Density.holding(grid, values if before == after == 0 else grid.of_mass_one(values, masses))

        return steps

    @override
    def dt_bounds(self, energy: Energy, template: Density) -> tuple[float, float]:
        """Return the dt where rate*dt = 0.75 dx², from which on the cells resolve the heat kernel, and infinity."""
        if self.rate == 0:
            return 0.0, math.inf
        grid = template.grid
        widest = max(axis.dx for axis in grid.axes)
        if not grid.is_uniform:
            densities = energy.log_equilibrium(grid), template.log_values
            widest = max(_widest_cell(grid, k, densities) for k in range(grid.ndim))
        return RESOLUTION * widest**2 / self.rate, math.inf

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Density) -> float:
        """Return the dt with rate*dt*V'' = 1, up to which asinh(rate*dt*V'') has its expansion.

        V'' is its mean under pi on the stiffest axis: on a Gaussian the curvature itself; on others steeper places of
        less mass may want smaller steps.
        """
        grid, xp = template.grid, template.grid.backend.xp
        log_pi = energy.log_equilibrium(grid)
        stiffest = 0.0
        for k, axis in enumerate(grid.axes):
            # the mean of V'' is that of V'² (integrate by parts), and that is never negative
            below, above = grid.reductions.neighbours(log_pi, k)
            distance = np.roll(axis.centres, -1) - np.roll(axis.centres, 1)
            distance[[0, -1]] += axis.length
            inverse = 1 / distance
            if not axis.periodic:  # the cells at the walls have no neighbour beyond
                inverse[[0, -1]] = 0.0
            slope = (above - below) * grid.along_axis(k, inverse)
            stiffest = max(stiffest, float(grid.sum(xp.exp(log_pi) * grid.cell_volume * slope**2)))
        return 1 / (self.rate * stiffest) if self.rate * stiffest > 0 else math.inf

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count the kernels of all axes, plain and by blocks, and the scaling.

        The states are that before the step and what comes of it; while the scaling is made, the one before it and a
        residual.
        """
        grid: Grid = template.grid
        # three kept, and as many again for a moment while one is made or cut into blocks
        held = grid.backend.precision.itemsize * (
            3 * sum(n * n for n in grid.shape) + 6 * max(grid.shape) ** 2 + grid.local_size
        )
        return MemoryUse(held, states=3)


def _widest_cell(grid: Grid, k: int, log_densities: tuple[Any, ...]) -> float:
    """Return the width of the widest cell of axis `k`, where cells in the tails of all densities count less.

    With d the nats of a place below the maximum of the density that is highest there, and d = 0 between the maxima
    of different densities, where the mass comes through, a squared width counts 1 - d/45: what is not resolved is
    then below rounding, measured by the maximum. Beyond e^-45, where cells may be far wider than the kernel, the
    step leaves the density as it is.
    """
    axis = grid.axes[k]
    if axis.periodic:
        return axis.dx
    others = tuple(i for i in range(grid.ndim) if i != k)
    level = np.full(axis.n, -np.inf)
    for log_density in log_densities:
        along = grid.backend.asnumpy(grid.reductions.max_along(log_density, others))
        level = np.maximum(level, along - along.max())
    between = np.minimum(np.maximum.accumulate(level), np.maximum.accumulate(level[::-1])[::-1])
    return math.sqrt(float(np.max(np.maximum(0.0, 1 + between / NEGLIGIBLE_DEPTH) * axis.widths**2)))
