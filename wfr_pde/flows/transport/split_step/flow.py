"""Transport by splitting the Schroedinger form: spectral in space, fast, of order 2 in time, with a floor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import KL, Energy
from wfr_pde.flows.base import Flow, FrozenStep, MemoryUse, Step, checked_rate
from wfr_pde.flows.law import Law
from wfr_pde.flows.transport.sinkhorn.flow import SinkhornKernel
from wfr_pde.flows.transport.split_step.rounding_floor import MonitoredChain, RoundingFloorMonitor, relative_floor
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.spectral import HeatSemigroup

# of f(x + kh) - f(x - kh) over h, k = 1 to 4: order 8
DIFFERENCE_WEIGHTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
STEPS_PER_CELL = 16  # the stencil stays in the middle half of its cell
LEAK = 1e-4  # mass of pi that wrong walls may move in the time in which diffusion crosses the target


@dataclass(frozen=True)
class SplitStep(Flow):
    """Wasserstein gradient flow of KL(mu|pi), d_t mu = rate div(mu grad log(mu/pi)), in Schroedinger form.

    With s = sqrt(pi), u = mu/s solves u_t = rate (Lap u - U u), U = |grad V|²/4 - Lap V/2. The step is

        u ← e^{-rate dt U/2} e^{rate dt Lap} e^{-rate dt U/2} u,    mu = s u / mass,

    the heat semigroup by cosine (no-flux axes) and Fourier transforms (periodic ones). On a Gaussian of precision A it
    replaces e^(-rate dt A) by e^(-2 asinh(rate dt A/2)). (Strang 1968, doi:10.1137/0705041, for the splitting; Risken
    1989, The Fokker-Planck Equation, section 5.4, for the Schroedinger form.) For comparison, and for long periodic
    axes; where in doubt, use `SinkhornKernel`.

    **The floor.** The transforms err by `rounding_floor.relative_floor`, (4 + log2(cells) / 2) eps, times max|u| in
    every cell. A cell of u that ends at or below that holds noise, perhaps negative, and gets that value. So the
    log-density is wrong, too high, wherever mu/s is some 33 nats below its maximum: at far modes, for far starts, and,
    since u = mu/s is largest in the tails of a mu wider than s, for wide starts everywhere. A reaction amplifies it.
    `solve` watches the run (see `rounding_floor.RoundingFloorMonitor`) and gives a `FloorWarning` once where it
    matters; steps made outside a run are not watched. The record `diagnostics.target_mass_below_floor` shows for any
    run what would be below.

    **Small steps.** From rate*dt >= 0.75 dx² on the heat kernel on the cells is positive. There is no lower limit, but
    below that u rings about what the cells do not resolve, often its edge at a wall where mu/s is large though mu is
    nothing. The ringing is not local, so that it plants mass too; the watch counts it. In an
    extrapolation, sub-steps on both sides of that limit do not cancel: keep the smallest above it.

    Other limits: pi is a fixed point up to O(dt²) only, and KL can rise. The mass of the step is off by O(dt²) too and
    is set to one, as the equation keeps it. Where rate dt U > 1, in steep tails, the error is not small beside the
    density. The walls are those of u, du/dn = 0, which is no flux only where V has no slope at the wall or pi has no
    mass there; else the target is refused. V needs two derivatives: the Laplacian is a difference of order 8 of the
    target's score, right to about 1e-11 where that is a closed form or taken by complex steps, to about 1e-6 where it
    is a difference itself.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0: the diffusivity in units of length² / time, where V is in nats.

    Warns
    -----
    FloorWarning
        From `solve`, once per run, where the floor matters.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.

    Examples
    --------
    With steps of 0.05, the mean of N(1, 1) at t = 1 is near exp(-1) = 0.3679; a floor hides none of the target:

    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> records = [wfr.diagnostics.mean, wfr.diagnostics.target_mass_below_floor]
    >>> run = wfr.solve(wfr.Gaussian(0.0, 1.0), wfr.SplitStep(), start, [0.0, 1.0], 0.05, record=records)
    >>> round(float(run["mean"][-1, 0]), 4), round(float(run["target_mass_below_floor"][-1]), 4)
    (0.3679, 0.0)
    """

    rate: float = 1.0

    law = Law.W
    order = 2
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})
    measures = (Density,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "SplitStep"))

    @override
    def build_step(self, energy: Energy, template: Density, dt: float) -> FrozenStep:
        """Prepare the three factors of a step.

        Raises
        ------
        ValueError
            If an axis is graded, a derivative of V is not finite in a cell, or walls cut through a slope of pi.
        """
        if self.rate == 0:
            return lambda state, rng: state
        factors = _Factors(energy, template.grid, self.rate, dt)
        return lambda state, rng: factors.advance(state)

    @override
    def monitored(self) -> Flow:
        """Return a flow that makes the same steps, and watches them for the floor."""
        return self if self.rate == 0 else _MonitoredSplitStep(self.rate, monitor=RoundingFloorMonitor(self.rate))

    @override
    def check(self, energy: Energy, template: Any) -> None:
        """Refuse what every flow does, and also axes that are not uniform."""
        super().check(energy, template)
        for axis in template.grid.axes:
            if not axis.is_uniform:
                raise ValueError(
                    f"SplitStep needs equal cells, but those of the axis {axis.name!r} are graded (from "
                    f"{axis.widths.min():.4g} to {axis.widths.max():.4g}): use FiniteVolume, or a uniform axis"
                )

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Density) -> float:
        """Return the dt with rate*dt*V'' = 2, up to which 2 asinh(rate*dt*V''/2) has its expansion.

        V'' is that of `SinkhornKernel.max_extrapolation_dt`.
        """
        return 2 * SinkhornKernel(self.rate).max_extrapolation_dt(energy, template)

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count the factors and the symbol of the semigroup, work arrays of the transforms, and what is planted."""
        return MemoryUse(8 * 8 * template.grid.size, states=3)


@dataclass(frozen=True)
class _MonitoredSplitStep(SplitStep):
    """The steps of a `SplitStep` in one run, followed by the monitor of that run."""

    monitor: RoundingFloorMonitor = field(kw_only=True, repr=False, compare=False)

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the steps of the flow, as a chain that the monitor follows."""
        self.check(energy, template)
        chain = self.monitor.chain(template.grid, dt)
        still = None if energy.moving else _Factors(energy, template.grid, self.rate, dt)

        def step(state: Density, t: float, rng: Any = None) -> Density:
            factors = still or _Factors(energy.at(t + dt / 2), template.grid, self.rate, dt)
            return factors.advance(state, t, chain)

        return step


class _Factors:
    """The prepared factors of a step of size `dt`, in logarithms."""

    def __init__(self, energy: Energy, grid: Grid, rate: float, dt: float) -> None:
        self.energy, self.grid, self.dt = energy, grid, dt
        log_s = 0.5 * energy.log_equilibrium(grid)
        assert isinstance(energy, KL)
        _check_walls(energy, grid)
        half = schroedinger_potential(energy, grid) * (-0.5 * rate * dt)
        self.before, self.after = half - log_s, half + log_s
        self.log_planted = float(grid.log_integrate(self.after)) + math.log(relative_floor(grid.size))
        semigroup = HeatSemigroup(grid, rate * dt)
        self.rings, self.heat = not semigroup.positive, semigroup

    def advance(self, state: Density, t: float = 0.0, chain: MonitoredChain | None = None) -> Density:
        """Return the state after a step from time `t`, and show it to the monitor's `chain`, where there is one."""
        grid, xp = self.grid, self.grid.backend.xp
        planted = None if chain is None else chain.planted
        log_u = state.log_values + self.before
        top = float(grid.max(log_u))
        log_u -= top
        u = xp.exp(log_u)
        carried = None if planted is None else self.heat(u * planted)
        signed = u = self.heat(u)
        floor = relative_floor(grid.size)  # max u is one
        u = xp.maximum(u, floor)
        log_values = xp.log(u)
        log_values += self.after
        log_mass = float(grid.log_integrate(log_values))
        log_values -= log_mass
        result = Density.holding(grid, log_values)
        if chain is not None and not chain.monitor.warned:
            noise = math.exp(min(self.log_planted - log_mass, 0.0))
            if self.rings:  # what is negative beyond rounding, and as much that is too high elsewhere
                negative = xp.where(signed < -floor, -signed, xp.zeros_like(signed))
                noise += 2 * float(grid.integrate(negative * xp.exp(self.after - log_mass)))
            chain.follow(t, self.energy, (state, result), u > floor, None if carried is None else carried / u, noise)
        return result


def schroedinger_potential(energy: KL, grid: Grid) -> Any:
    """Compute U = |grad V|²/4 - Lap V/2 at the cell centres, from the score of the target at points inside the cells.

    Raises
    ------
    ValueError
        If it is not finite in a cell.
    """
    target = energy.target

    def potential(points: np.ndarray) -> np.ndarray:
        values = 0.25 * np.sum(np.asarray(target.score(points)) ** 2, axis=-1)
        for k, axis in enumerate(grid.axes):
            step = axis.dx / STEPS_PER_CELL
            for j, weight in enumerate(DIFFERENCE_WEIGHTS, start=1):
                shift = np.zeros(grid.ndim)
                shift[k] = j * step
                ahead, behind = target.score(points + shift)[..., k], target.score(points - shift)[..., k]
                values += weight / (2 * step) * (ahead - behind)
        return values

    with np.errstate(all="ignore"):
        result = grid.evaluate(potential)
    if not math.isfinite(float(grid.sum(result))):
        host = grid.backend.asnumpy(result)
        index = np.unravel_index(int(np.argmin(np.isfinite(host))), grid.shape)
        place = {axis.name: float(axis.centres[i]) for axis, i in zip(grid.axes, index, strict=True)}
        raise ValueError(
            f"SplitStep needs two derivatives of the log-density of {target!r}, but |grad V|²/4 - Lap V/2 is "
            f"{host[index]} at {place}: use SinkhornKernel, which needs none, or a smooth formula"
        )
    return result


def _check_walls(energy: KL, grid: Grid) -> None:
    """Refuse walls where du/dn = 0 lets mass of pi through: ∫ pi |dV/dn| / 2 over the wall, per unit of rate."""
    xp, log_pi = grid.backend.xp, energy.log_equilibrium(grid)
    spread = float(np.max(np.diag(Density.holding(grid, log_pi).covariance())))
    for k, axis in enumerate(grid.axes):
        for wall in () if axis.periodic else (0, axis.n - 1):
            inwards = 1 if wall == 0 else -1
            first, second, third = (
                log_pi[tuple(slice(i, i + 1) if m == k else slice(None) for m in range(grid.ndim))]
                for i in range(wall, wall + 3 * inwards, inwards)
            )
            slope = (2 * (second - first) - (third - second)) / axis.dx  # of log pi, extrapolated to the wall
            leak = float(grid.reductions.sum(xp.exp(first) * xp.abs(slope))) / 2 * grid.cell_volume / axis.dx
            if leak * spread > LEAK:
                raise ValueError(
                    f"the wall of the axis {axis.name!r} at {axis.edges[-1 if wall else 0]:.4g} cuts "
                    f"through a slope of {energy.target!r}, where the walls of SplitStep let mass through (a share "
                    f"{leak * spread:.2g} while diffusion crosses the target): use FiniteVolume or SinkhornKernel, or "
                    "a wider box"
                )
