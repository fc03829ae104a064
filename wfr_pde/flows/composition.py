"""Compositions of flows: Lie, Strang, repetition, extrapolation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow, FrozenSteps, Step, Steps, nothing
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.space.density import Density
from wfr_pde.space.transfer import Interpolation

Combined = Callable[[Density, float], tuple[Density, Any]]  # the finest run, and the combined log-values
DOWN_NODES, UP_NODES = 6, 4  # order in dx of the interpolation of g, and of its correction, which is of order 2

# (relative, absolute) rise of KL in nats that an extrapolated step may make; benchmarks/extrapolation.py counts what
# is refused by it and what is let pass
RISE = (1e-3, 1e-6)
MOVING_RISE = (0.3, 0.5)
ROUNDED = 1e3  # times rounding, that KL may rise by: below all others but in single precision


def _scaled(limits: tuple[float, float], factor: float) -> tuple[float, float]:
    """Limits of the outer dt when a part takes dt / factor."""
    return limits[0] * factor, limits[1] * factor


def _intersection(*limits: tuple[float, float]) -> tuple[float, float]:
    return max(low for low, _ in limits), min(high for _, high in limits)


class _Composition(Flow):
    """What all compositions share: properties that follow from the parts."""

    @property
    def parts(self) -> tuple[Flow, ...]:
        """The flows that are composed."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        for part in self.parts:
            if not isinstance(part, Flow):
                raise TypeError(f"{type(self).__name__} composes flows such as FisherRao(), got {part!r}")

    def check(self, energy: Energy, like: Any) -> None:
        """Every part must know the energy and the measure."""
        for part in self.parts:
            part.check(energy, like)

    def exchanged(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """The same composition of exchanged parts."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        parts = {name: part.exchanged(exchange) for name, part in own.items() if isinstance(part, Flow)}
        return replace(self, **parts)  # type: ignore[type-var]

    def memory(self, like: Any) -> int:
        """Sum over the parts."""
        return sum(part.memory(like) for part in self.parts)

    def working(self, like: Any) -> int:
        """Those of a part; the state before and after it, and the one before the step."""
        return max(3, *(part.working(like) for part in self.parts))

    @property
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """What every part preserves."""
        return frozenset.intersection(*(part.preserves for part in self.parts))

    @property
    def space_order(self) -> float:  # type: ignore[override]
        """The lowest of the parts."""
        return min(part.space_order for part in self.parts)

    @property
    def law(self) -> str:  # type: ignore[override]
        """Of W and FR parts together WFR; of any and of what leads to pi, pi."""
        laws = {part.law for part in self.parts} - {"rest"}
        if len(laws) <= 1:
            return laws.pop() if laws else "rest"
        if laws <= {"w", "fr", "wfr"}:
            return "wfr" if laws == {"w", "fr"} else "own"
        return "own" if "own" in laws else "pi"

    @property
    def interacting(self) -> bool:  # type: ignore[override]
        """Whether a part is."""
        return any(part.interacting for part in self.parts)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether a part is random."""
        return any(part.random for part in self.parts)


class _Splitting(_Composition):
    """Flows in turn."""

    def turns(self, dt: float) -> list[tuple[Flow, float, float]]:
        """Flows, their step sizes, and when they begin."""
        raise NotImplementedError

    def make_step(self, energy: Energy, like: Any, dt: float) -> Step:
        """One flow after another."""
        fused = self._fused(energy, like, dt)
        if fused is not None:
            return lambda state, t, rng=None: fused(state, 1, nothing)
        prepared: dict[tuple[int, float], Step] = {}
        turns = []
        for flow, h, begin in self.turns(dt):
            if (id(flow), h) not in prepared:
                prepared[id(flow), h] = flow.make_step(energy, like, h)
            turns.append((prepared[id(flow), h], begin))

        def step(state: Any, t: float, rng: Any = None) -> Any:
            for part, begin in turns:
                state = part(state, t + begin, rng)
            return state

        return step

    def make_steps(self, energy: Energy, like: Any, dt: float) -> Steps:
        """The reactions at the end of a step and at the beginning of the next are one, where the transport has both."""
        fused = self._fused(energy, like, dt)
        if fused is None:
            return super().make_steps(energy, like, dt)
        return lambda state, t, n, rng=None, watch=nothing: fused(state, n, watch)

    def stepping(self, like: Any) -> int:
        """Where the transport takes the reactions along, the state and what comes of it."""
        return 2 if self._transport(like) is not None else self.working(like)

    def _transport(self, like: Any) -> int | None:
        """Number of the turn that is a transport, if it is the only one and takes reactions along."""
        turns = [flow for flow, _, _ in self.turns(1.0)]
        transports = [k for k, flow in enumerate(turns) if type(flow) is not FisherRao]
        return transports[0] if len(transports) == 1 and turns[transports[0]].takes_reactions(like) else None

    def _fused(self, energy: Energy, like: Any, dt: float) -> FrozenSteps | None:
        """All turns at once, if they are a transport and reactions that it takes along."""
        turns, number = self.turns(dt), self._transport(like)
        if energy.moving or number is None:
            return None
        self.check(energy, like)
        before, after = (
            sum(flow.rate * h for flow, h, _ in some if isinstance(flow, FisherRao))
            for some in (turns[:number], turns[number + 1 :])
        )
        transport, h, _ = turns[number]
        return transport.with_reactions(energy, like, h, (before, after))


@dataclass(frozen=True)
class Lie(_Splitting):
    """Lie-Trotter splitting, order 1: first(dt), then second(dt).

    ``Lie(SinkhornKernel(), FisherRao())`` is W-FR, the other way round FR-W.
    One step errs by ±(dt²/2) alpha beta mu (|grad g|² - E_mu |grad g|²) + O(dt³), plus for W-FR.

    Parameters
    ----------
    first, second : Flow
    """

    first: Flow
    second: Flow

    order = 1

    @property
    def parts(self) -> tuple[Flow, ...]:
        """First and second."""
        return self.first, self.second

    def turns(self, dt: float) -> list[tuple[Flow, float, float]]:
        """One step of each."""
        return [(self.first, dt, 0.0), (self.second, dt, 0.0)]

    def limits(self, energy: Energy, like: Any) -> tuple[float, float]:
        """Both parts take dt."""
        return _intersection(self.first.limits(energy, like), self.second.limits(energy, like))


@dataclass(frozen=True)
class Strang(_Splitting):
    """Symmetric splitting, order 2: outer(dt/2), inner(dt), outer(dt/2).

    Strang (1968), doi:10.1137/0705041.

    Parameters
    ----------
    outer, inner : Flow
    """

    outer: Flow
    inner: Flow

    @property
    def order(self) -> float:  # type: ignore[override]
        """Two, or less if a part has less."""
        return min(2, self.outer.order, self.inner.order)

    @property
    def self_adjoint(self) -> bool:  # type: ignore[override]
        """Palindromic: self-adjoint if both parts are."""
        return self.outer.self_adjoint and self.inner.self_adjoint

    @property
    def parts(self) -> tuple[Flow, ...]:
        """Outer and inner."""
        return self.outer, self.inner

    def turns(self, dt: float) -> list[tuple[Flow, float, float]]:
        """Half a step of the outer, one of the inner, half of the outer."""
        return [(self.outer, dt / 2, 0.0), (self.inner, dt, 0.0), (self.outer, dt / 2, dt / 2)]

    def limits(self, energy: Energy, like: Any) -> tuple[float, float]:
        """The outer part takes dt / 2."""
        return _intersection(_scaled(self.outer.limits(energy, like), 2), self.inner.limits(energy, like))

    def expansion_limit(self, energy: Energy, like: Any) -> float:
        """The outer part takes dt / 2."""
        return min(2 * self.outer.expansion_limit(energy, like), self.inner.expansion_limit(energy, like))


@dataclass(frozen=True)
class Repeated(_Composition):
    """`n` equal steps of a flow in place of one.

    Parameters
    ----------
    flow : Flow
    n : int
        Number of sub-steps, each of size dt / n.
    """

    flow: Flow
    n: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if int(self.n) != self.n or self.n < 1:
            raise ValueError(f"Repeated needs a whole number n >= 1 of sub-steps, got n={self.n}")
        object.__setattr__(self, "n", int(self.n))

    @property
    def order(self) -> float:  # type: ignore[override]
        """Order of the flow."""
        return self.flow.order

    @property
    def self_adjoint(self) -> bool:  # type: ignore[override]
        """As the flow."""
        return self.flow.self_adjoint

    @property
    def parts(self) -> tuple[Flow, ...]:
        """The flow."""
        return (self.flow,)

    def working(self, like: Any) -> int:
        """Those of the flow; in steps also the state before all of them."""
        return max(self.flow.working(like), self.flow.stepping(like) + (self.n > 1))

    def make_step(self, energy: Energy, like: Any, dt: float) -> Step:
        """`n` steps of size dt / n."""
        sub_steps = self.flow.make_steps(energy, like, dt / self.n)
        return lambda state, t, rng=None: sub_steps(state, t, self.n, rng)

    def limits(self, energy: Energy, like: Any) -> tuple[float, float]:
        """The flow takes dt / n."""
        return _scaled(self.flow.limits(energy, like), self.n)

    def expansion_limit(self, energy: Energy, like: Any) -> float:
        """The flow takes dt / n."""
        return self.n * self.flow.expansion_limit(energy, like)


@functools.cache
def richardson_weights(k: int) -> tuple[float, ...]:
    """Weights of 1, 2, ..., k equal sub-steps that cancel the error terms h², h⁴, ..., h^(2k-2).

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
    """total + weight (x - y), in place."""
    difference = x - y
    difference *= weight
    total += difference


@dataclass(frozen=True)
class Extrapolated(_Composition):
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
    the grid. The joined cells cost little: 1/2^d of the cells, and less stiff.

    Parameters
    ----------
    flow : Flow
        On densities. In dt: self-adjoint, of order 2: `Strang` of self-adjoint parts, or a transport alone.
        In dx: of order 2 in dx; of any order in dt, so that `Extrapolated(Extrapolated(flow, 8), 4, "dx")` has both.
    order : int
        4, 6 or 8 in dt; 4 in dx. (In dx the order in dt stays that of the flow.)
    variable : {"dt", "dx"}

    Raises
    ------
    ValueError
        If the flow is random, not self-adjoint (dt), not of order 2 in dx (dx), or the order is another one; from
        a step in dx if the joined cells do not resolve the target, or an axis has an odd number of cells.
    NumericalError
        From a step whose extrapolation diverges.
    """

    flow: Flow
    order: int = 4
    variable: str = "dt"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {"dt": (4, 6, 8), "dx": (4,)}
        if self.variable not in known:
            raise ValueError(f'Extrapolated is in "dt" or "dx", got variable={self.variable!r}')
        if self.order not in known[self.variable]:
            words = ", ".join(map(str, known[self.variable]))
            raise ValueError(f"Extrapolated in {self.variable} has order {words}, got order={self.order}")
        object.__setattr__(self, "order", int(self.order))
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
    def parts(self) -> tuple[Flow, ...]:
        """The flow."""
        return (self.flow,)

    @property
    def space_order(self) -> float:  # type: ignore[override]
        """4 if extrapolated in dx, else that of the flow."""
        return 4 if self.variable == "dx" else self.flow.space_order

    @property
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """What the flow preserves, but for monotonicity."""
        return self.flow.preserves - {"monotone"}

    def memory(self, like: Any) -> int:
        """The flow is prepared once for every number of sub-steps, or for both grids."""
        copies = 2 if self.variable == "dx" else len(richardson_weights(self.order // 2))
        return copies * self.flow.memory(like)

    def working(self, like: Any) -> int:
        """Those of the flow; in steps also the finest run, the combination, and the state of another run on its way."""
        more = 2 + (self.order > 4 or self.variable == "dx")
        return max(self.flow.working(like), self.flow.stepping(like) + more)

    def make_step(self, energy: Energy, like: Density, dt: float) -> Step:
        """The runs that are combined."""
        combined = self._combined_grids if self.variable == "dx" else self._combined_sub_steps
        extrapolate = combined(energy, like, dt)
        monotone = "monotone" in self.flow.preserves

        def step(state: Density, t: float, rng: Any = None) -> Density:
            finest, log_values = extrapolate(state, t)
            log_mass = state.grid.log_integrate(log_values)

            def normalise(values: Any) -> None:
                values -= log_mass

            result = Density(state.grid, state.grid.in_place(normalise, log_values))
            if monotone:
                frozen = energy.at(t + dt / 2)
                # a moving target may raise KL by itself, by as much in the finest run as in the result
                before, slack = (finest, MOVING_RISE) if energy.moving else (state, RISE)
                _check_fall(frozen, before, result, slack, f"t={t:.6g} with dt={dt:.4g}")
            return result

        return step

    def _combined_sub_steps(self, energy: Energy, like: Density, dt: float) -> Combined:
        """Sub-steps of size dt, dt/2, ..."""
        weights = richardson_weights(self.order // 2)
        runs = [Repeated(self.flow, k + 1).make_step(energy, like, dt) for k in range(len(weights))]

        def extrapolate(state: Density, t: float) -> tuple[Density, Any]:
            # combine the differences from the finest run: they are small, so that rounding is not amplified
            finest = runs[-1](state, t)
            combined = finest.log_values * 1.0
            for weight, run in zip(weights[:-1], runs[:-1], strict=True):
                add = functools.partial(_add_difference, weight)
                state.grid.in_place(add, combined, run(state, t).log_values, finest.log_values)
            return finest, combined

        return extrapolate

    def _combined_grids(self, energy: Energy, like: Density, dt: float) -> Combined:
        """A step on the grid and on that of joined cells: order 2 in dx has the weights 4/3 and -1/3."""
        fine, coarse = like.grid, like.grid.coarsened()
        down, up = Interpolation(fine, coarse, DOWN_NODES), Interpolation(coarse, fine, UP_NODES)

        def joined(state: Density, frozen: Energy) -> Density:
            log_values = down(frozen.log_ratio(state)) + frozen.log_equilibrium(coarse)
            return Density(coarse, log_values).normalised()

        fine_step = self.flow.make_step(energy, like, dt)
        coarse_step = self.flow.make_step(energy, joined(like, energy.at(0.0)), dt)

        def extrapolate(state: Density, t: float) -> tuple[Density, Any]:
            frozen = energy.at(t + dt / 2)
            finest, other = fine_step(state, t), coarse_step(joined(state, frozen), t)
            correction = (down(frozen.log_ratio(finest)) - frozen.log_ratio(other)) / 3
            return finest, finest.log_values + up(correction)

        return extrapolate

    def limits(self, energy: Energy, like: Any) -> tuple[float, float]:
        """In dt the smallest sub-step is 2 dt / order; for the largest, dt, the error expansion must converge."""
        low, high = self.flow.limits(energy, like)
        if self.variable == "dx":
            return low, high
        return low * (self.order // 2), min(high, self.flow.expansion_limit(energy, like))
