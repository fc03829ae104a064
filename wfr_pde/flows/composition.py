"""Compositions of flows: Lie and Strang splittings, repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, FrozenSteps, Step, Steps, nothing
from wfr_pde.flows.fisher_rao import FisherRao


def scaled(limits: tuple[float, float], factor: float) -> tuple[float, float]:
    """Limits of the outer dt when a part takes dt / factor."""
    return limits[0] * factor, limits[1] * factor


def intersection(*limits: tuple[float, float]) -> tuple[float, float]:
    """Limits of dt that satisfy all of several ones."""
    return max(low for low, _ in limits), min(high for _, high in limits)


class Composition(Flow):
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
        """Check that every part takes the energy and the measure."""
        for part in self.parts:
            part.check(energy, like)

    def exchanged(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """The same composition of exchanged parts."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        parts = {name: part.exchanged(exchange) for name, part in own.items() if isinstance(part, Flow)}
        return replace(self, **parts)  # type: ignore[type-var]

    def memory(self, like: Any) -> int:
        """Bytes that prepared steps hold: the sum over the parts."""
        return sum(part.memory(like) for part in self.parts)

    def working(self, like: Any) -> int:
        """Peak number of states: those of the largest part, or three: before the step, before and after a part."""
        return max(3, *(part.working(like) for part in self.parts))

    @property
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """What every part preserves."""
        return frozenset.intersection(*(part.preserves for part in self.parts))

    @property
    def space_order(self) -> float:  # type: ignore[override]
        """Order in dx: the lowest one of the parts."""
        return min(part.space_order for part in self.parts)

    @property
    def law(self) -> str:  # type: ignore[override]
        """The limit law: WFR if the parts are W and FR, "pi" if one only leads to pi, "own" for other mixtures."""
        laws = {part.law for part in self.parts} - {"rest"}
        if len(laws) <= 1:
            return laws.pop() if laws else "rest"
        if laws <= {"w", "fr", "wfr"}:
            return "wfr" if laws == {"w", "fr"} else "own"
        return "own" if "own" in laws else "pi"

    @property
    def interacting(self) -> bool:  # type: ignore[override]
        """Whether a part couples its particles."""
        return any(part.interacting for part in self.parts)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether a part is random."""
        return any(part.random for part in self.parts)


class _Splitting(Composition):
    """A splitting: flows that act one after another."""

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
        """Peak number of states in a step: two, where the transport takes the reactions along."""
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
        return intersection(self.first.limits(energy, like), self.second.limits(energy, like))


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
        return intersection(scaled(self.outer.limits(energy, like), 2), self.inner.limits(energy, like))

    def expansion_limit(self, energy: Energy, like: Any) -> float:
        """The outer part takes dt / 2."""
        return min(2 * self.outer.expansion_limit(energy, like), self.inner.expansion_limit(energy, like))


@dataclass(frozen=True)
class Repeated(Composition):
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
        return scaled(self.flow.limits(energy, like), self.n)

    def expansion_limit(self, energy: Energy, like: Any) -> float:
        """The flow takes dt / n."""
        return self.n * self.flow.expansion_limit(energy, like)
