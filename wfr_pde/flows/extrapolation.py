"""Extrapolation of flows in dt and in dx (Richardson), with a check that KL does not rise."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow, MemoryUse, Step
from wfr_pde.flows.composition import Composition, Repeated
from wfr_pde.numerics.arguments import choice, shown, whole
from wfr_pde.space.density import Density
from wfr_pde.space.transfer import Interpolation

# the finest run, the combined log-values, and the combined account of the mass, None where none is kept
Combined = Callable[[Density, float], tuple[Density, Any, float | None]]
DOWN_NODES, UP_NODES = 6, 4  # order in dx of the interpolation of g, and of its correction, which is of order 2

# (relative, absolute) rise of KL in nats that an extrapolated step may make; benchmarks/extrapolation.py counts what
# is refused by it and what is let pass
RISE = (1e-3, 1e-6)  # of a target at rest: of KL itself, and for a KL near zero
MOVING_RISE = (0.3, 0.5)  # of a moving target, to which KL may rise: beside the finest of the combined runs
ROUNDED = 1e3  # times rounding, that KL may rise by: below all others but in single precision


@functools.cache
def richardson_weights(k: int) -> tuple[float, ...]:
    """Return the weights of 1, 2, ..., k equal sub-steps that cancel the error terms h², h⁴, ..., h^(2k-2).

    w_j = Π_{i≠j} j² / (j² - i²); for k = 4: -1/360, 16/45, -729/280, 1024/315.
    (Hairer, Nørsett, Wanner, Solving ODEs I, section II.9.)
    """
    return tuple(math.prod(j * j / (j * j - i * i) for i in range(1, k + 1) if i != j) for j in range(1, k + 1))


def _check_fall(energy: Energy, before: Density, after: Density, slack: tuple[float, float], where: str) -> None:
    """Refuse an extrapolated step in which KL(mu|pi) = ∫ mu g rises."""
    grid = before.grid
    xp, log_pi = grid.backend.xp, energy.log_equilibrium(grid)

    def terms(log_mu: Any, log_pi: Any) -> Any:
        return xp.exp(log_mu) * (log_mu - log_pi)

    old, new = (float(grid.integral_of(terms, state.log_values, log_pi)) for state in (before, after))
    if not new <= (1 + slack[0]) * old + max(slack[1], ROUNDED * grid.backend.precision.eps):
        raise NumericalError(
            f"the extrapolation diverges at {where}: KL(mu|pi) rises from {old:.6g} to {new:.6g} nats in a step, which "
            "the flow cannot do; the sub-steps differ too much somewhere in the tails: use a smaller dt (on a finer "
            "grid, if the cells do not resolve it), a lower order, or the flow without Extrapolated"
        )


def _add_difference(weight: float, total: Any, x: Any, y: Any) -> None:
    """Add weight (x - y) to `total` in place."""
    difference = x - y
    difference *= weight
    total += difference


@dataclass(frozen=True)
class Extrapolated(Composition):
    """Richardson extrapolation, step by step: in dt to order 4, 6 or 8, or in dx to order 4.

    *In dt* (a self-adjoint flow): a step is done as 1, 2, ..., order/2 equal sub-steps; the *log*-densities are
    combined with the weights that cancel dt², dt⁴, ..., and normalised. So positivity and the fixed point pi survive;
    bounds that hold for a Markov step (monotone KL, osc) hold to the extrapolation error only.

    It converges where the error expansion does: for `SinkhornKernel` alpha dt |V''| < 1 is needed, and where
    components of very different widths meet far out in the tails that is not enough. There the sub-steps differ by
    many nats, the combination can put the mass where neither start nor target has any, and a smaller dt need not
    help at once. KL(mu|pi) then rises, which the flow itself cannot do: every step is checked for it, and refused.
    Smaller spurious masses stay below the check; compare orders or steps where that matters.

    *In dx* (a flow of order 2 in dx, such as `FiniteVolume`): a step is done on the grid and on the one with every
    two cells joined; a third of the difference of their log-ratios g = log(mu/pi), which is smooth, is added to g on
    the grid. The joined cells cost little: 1/2^d of the cells, and less stiff. A flow that needs no energy has no pi:
    there g is log mu.

    Parameters
    ----------
    flow : Flow
        On densities. In dt: self-adjoint, of order 2: `Strang` of self-adjoint parts, or a transport alone.
        In dx: of order 2 in dx; of any order in dt, so that `Extrapolated(Extrapolated(flow, 8), 4, "dx")` has both.
    order : int
        4, 6 or 8 in dt; 4 in dx. (In dx the order in dt stays that of the flow.)
    variable : {"dt", "dx"}
        In which the extrapolation is.

    Raises
    ------
    ValueError
        If the flow is random, not self-adjoint (dt), not of order 2 in dx (dx), or the order is another one; from
        a step in dx if the joined cells do not resolve the target, or an axis has an odd number of cells.
    NumericalError
        From a step whose extrapolation diverges.

    References
    ----------
    Hairer, Nørsett, Wanner (1993), Solving Ordinary Differential Equations I, doi:10.1007/978-3-540-78862-1, section
    II.9.

    Examples
    --------
    The error of the mean of N(1, 1) at t = 1, which falls as exp(-t), with two steps of order 2 and of order 8:

    >>> import math
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> for flow in wfr.SinkhornKernel(), wfr.Extrapolated(wfr.SinkhornKernel(), 8):
    ...     run = wfr.solve(target, flow, start, [0.0, 1.0], 0.5, record=[wfr.diagnostics.mean])
    ...     print(f"{float(run['mean'][-1, 0]) - math.exp(-1):.0e}")
    1e-02
    5e-08
    """

    flow: Flow
    order: int = 4
    variable: str = "dt"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        known = {"dt": (4, 6, 8), "dx": (4,)}
        choice("variable", self.variable, known)
        order = whole("order", self.order)
        if order not in known[self.variable]:
            words = ", ".join(map(str, known[self.variable]))
            raise ValueError(f"Extrapolated in {self.variable} has order {words}, got order={shown(order)}")
        object.__setattr__(self, "order", order)
        if self.flow.random:
            raise ValueError(
                f"cannot extrapolate {self.flow!r}: its steps are random, and the noise does not cancel; "
                "use a smaller dt"
            )
        if self.variable == "dt" and not self.flow.self_adjoint:
            raise ValueError(
                f"cannot extrapolate {self.flow!r}: its steps are not self-adjoint, so that the error has odd powers "
                "of dt; use a Strang splitting of self-adjoint parts (FisherRao, SinkhornKernel)"
            )
        if self.variable == "dx" and self.flow.space_order != 2:
            raise ValueError(
                f"cannot extrapolate {self.flow!r} in dx: its order in dx is {self.flow.space_order}, not 2; that is "
                "for FiniteVolume and its compositions, others are spectral already"
            )

    @property
    @override
    def parts(self) -> tuple[Flow, ...]:
        return (self.flow,)

    @property
    @override
    def space_order(self) -> float:  # type: ignore[override]
        """4 if extrapolated in dx, else that of the flow."""
        return 4 if self.variable == "dx" else self.flow.space_order

    @property
    @override
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """What the flow preserves, but for monotonicity."""
        return self.flow.preserves - {"monotone"}

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Count the flow once for every number of sub-steps, or for both grids.

        In steps there are also the finest run, the combination, and the state of another run on its way.
        """
        use = self.flow.memory_use(template)
        copies = 2 if self.variable == "dx" else len(richardson_weights(self.order // 2))
        more = 2 + (self.order > 4 or self.variable == "dx")
        return MemoryUse(copies * use.held, max(use.states, use.stepping + more))

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the runs that a step combines."""
        combined = self._combined_grids if self.variable == "dx" else self._combined_sub_steps
        extrapolate = combined(energy, template, dt)
        monotone = "monotone" in self.flow.preserves

        def step(state: Density, t: float, rng: Any = None) -> Density:
            finest, log_values, account = extrapolate(state, t)
            taken = state.grid.log_integrate(log_values)

            def normalise(values: Any) -> None:
                values -= taken

            account = None if account is None else account + float(taken)
            result = Density.holding(state.grid, state.grid.in_place(normalise, log_values), log_mass=account)
            if monotone:
                frozen = energy.at(t + dt / 2)
                # a moving target may raise KL by itself, by as much in the finest run as in the result
                before, slack = (finest, MOVING_RISE) if energy.moving else (state, RISE)
                _check_fall(frozen, before, result, slack, f"t={t:.6g} with dt={dt:.4g}")
            return result

        return step

    def _combined_sub_steps(self, energy: Energy, template: Density, dt: float) -> Combined:
        """Prepare the runs of 1, 2, ..., order/2 sub-steps, and their combination."""
        weights = richardson_weights(self.order // 2)
        runs = [Repeated(self.flow, k + 1).make_step(energy, template, dt) for k in range(len(weights))]

        def extrapolate(state: Density, t: float) -> tuple[Density, Any, float | None]:
            # combine the differences from the finest run: they are small, so that rounding is not amplified
            finest = runs[-1](state, t)
            combined, account = finest.log_values * 1.0, finest.log_mass
            for weight, run in zip(weights[:-1], runs[:-1], strict=True):
                add, other = functools.partial(_add_difference, weight), run(state, t)
                state.grid.in_place(add, combined, other.log_values, finest.log_values)
                if account is not None and other.log_mass is not None and finest.log_mass is not None:
                    account += weight * (other.log_mass - finest.log_mass)
            return finest, combined, account

        return extrapolate

    def _combined_grids(self, energy: Energy, template: Density, dt: float) -> Combined:
        """Prepare a step on the grid and on joined cells, combined with 4/3 and -1/3, the weights of order 2 in dx."""
        fine, coarse = template.grid, template.grid.coarsened()
        down, up = Interpolation(fine, coarse, DOWN_NODES), Interpolation(coarse, fine, UP_NODES)

        def ratio(state: Density, frozen: Energy) -> Any:  # log(mu/pi), or log mu where the flow knows no pi
            return frozen.first_variation(state) if self.flow.energies else state.log_values

        def joined(state: Density, frozen: Energy) -> Density:
            log_pi = frozen.log_equilibrium(coarse) if self.flow.energies else 0.0
            log_values = down(ratio(state, frozen)) + log_pi
            return Density.holding(coarse, log_values, log_mass=state.log_mass or 0.0).normalised()

        fine_step = self.flow.make_step(energy, template, dt)
        coarse_step = self.flow.make_step(energy, joined(template, energy.at(0.0)), dt)

        def extrapolate(state: Density, t: float) -> tuple[Density, Any, float | None]:
            frozen = energy.at(t + dt / 2)
            finest, other = fine_step(state, t), coarse_step(joined(state, frozen), t)
            correction = (down(ratio(finest, frozen)) - ratio(other, frozen)) / 3
            account = finest.log_mass
            if account is not None and other.log_mass is not None:
                account += (account - other.log_mass) / 3
            return finest, finest.log_values + up(correction), account

        return extrapolate

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Bound dt by the smallest sub-step, 2 dt / order in dt, and by where the error expansion converges."""
        low, high = self.flow.dt_bounds(energy, template)
        if self.variable == "dx":
            return low, high
        return low * (self.order // 2), min(high, self.flow.max_extrapolation_dt(energy, template))
