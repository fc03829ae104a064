"""Compositions of flows: Lie and Strang splittings, repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, FrozenSteps, MemoryUse, Step, Steps, no_callback
from wfr_pde.flows.fisher_rao import FisherRao
from wfr_pde.flows.law import Law
from wfr_pde.flows.takes_reactions import TakesReactions
from wfr_pde.numerics.arguments import instance, whole


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
            name = next((name for name, value in vars(self).items() if value is part), "each part")
            instance(name, part, Flow, "such as FisherRao()")

    @override
    def check(self, energy: Energy, template: Any) -> None:
        """Check that every part takes the energy and the measure."""
        for part in self.parts:
            part.check(energy, template)

    @property
    @override
    def energies(self) -> tuple[type[Energy], ...]:  # type: ignore[override]
        """The energies that any of the parts asks for; () if no part needs one."""
        return tuple(dict.fromkeys(kind for part in self.parts for kind in part.energies))

    @override
    def reference(self, template: Any) -> np.ndarray:
        """The values that tell the parts from others, one after another."""
        return np.concatenate([np.ravel(part.reference(template)) for part in self.parts])

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """Compose the exchanged parts."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        parts = {name: part for name, part in own.items() if isinstance(part, Flow)}
        exchanged = {id(part): part.map_parts(exchange) for part in parts.values()}  # one that is there twice stays one
        return replace(self, **{name: exchanged[id(part)] for name, part in parts.items()})  # type: ignore[type-var]

    @override
    def monitored(self) -> Flow:
        """Compose the monitored parts."""
        return self.map_parts(lambda part: part.monitored())

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Sum up what the parts hold; states are those of the largest part, or three: the first, and around a part."""
        uses = [part.memory_use(template) for part in self.parts]
        return MemoryUse(sum(use.held for use in uses), max(3, *(use.states for use in uses)))

    @property
    @override
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """What every part preserves."""
        return frozenset.intersection(*(part.preserves for part in self.parts))

    @property
    @override
    def measures(self) -> tuple[type, ...]:  # type: ignore[override]
        """The measures that every part moves."""
        return tuple(kind for kind in Flow.measures if all(kind in part.measures for part in self.parts))

    @property
    @override
    def max_ndim(self) -> float:  # type: ignore[override]
        """Largest number of axes: the lowest one of the parts."""
        return min(part.max_ndim for part in self.parts)

    @property
    @override
    def space_order(self) -> float:  # type: ignore[override]
        """Order in dx: the lowest one of the parts."""
        return min(part.space_order for part in self.parts)

    @property
    @override
    def law(self) -> Law:  # type: ignore[override]
        """The limit law: WFR if the parts are W and FR, "pi" if one only leads to pi, "own" for other mixtures."""
        laws = {Law(part.law) for part in self.parts} - {Law.REST}
        if len(laws) <= 1:
            return laws.pop() if laws else Law.REST
        if laws <= {Law.W, Law.FR, Law.WFR}:
            return Law.WFR if laws == {Law.W, Law.FR} else Law.OWN
        return Law.OWN if Law.OWN in laws else Law.PI

    @property
    @override
    def interacting(self) -> bool:  # type: ignore[override]
        """Whether a part couples its particles."""
        return any(part.interacting for part in self.parts)

    @property
    @override
    def random(self) -> bool:  # type: ignore[override]
        """Whether a part is random."""
        return any(part.random for part in self.parts)


class _Splitting(Composition):
    """A splitting: flows that act one after another."""

    def stages(self, dt: float) -> list[tuple[Flow, float, float]]:
        """Flows, their step sizes, and when they begin."""
        raise NotImplementedError

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare all turns, which a step makes one after another."""
        fused = self._fused(energy, template, dt)
        if fused is not None:
            return lambda state, t, rng=None: fused(state, 1, no_callback)
        prepared: dict[tuple[int, float], Step] = {}
        stages = []
        for flow, h, begin in self.stages(dt):
            if (id(flow), h) not in prepared:
                prepared[id(flow), h] = flow.make_step(energy, template, h)
            stages.append((prepared[id(flow), h], begin))

        def step(state: Any, t: float, rng: Any = None) -> Any:
            for part, begin in stages:
                state = part(state, t + begin, rng)
            return state

        return step

    @override
    def make_steps(self, energy: Energy, template: Any, dt: float) -> Steps:
        """Prepare runs of steps; the transport, if it takes them, makes the reactions between two steps as one."""
        fused = self._fused(energy, template, dt)
        if fused is None:
            return super().make_steps(energy, template, dt)
        return lambda state, t, n, rng=None, callback=no_callback: fused(state, n, callback)

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Sum up all parts; a step has two states at once, where the transport takes the reactions along."""
        use = super().memory_use(template)
        return use if self._transport(template) is None else replace(use, stepping=2)

    def _transport(self, template: Any) -> tuple[int, TakesReactions] | None:
        """The transport and the number of its turn, if it is the only one and takes reactions along."""
        stages = [flow for flow, _, _ in self.stages(1.0)]
        transports = [(k, flow) for k, flow in enumerate(stages) if type(flow) is not FisherRao]
        if len(transports) != 1:
            return None
        number, flow = transports[0]
        return (number, flow) if isinstance(flow, TakesReactions) and flow.takes_reactions(template) else None

    def _fused(self, energy: Energy, template: Any, dt: float) -> FrozenSteps | None:
        """Prepare all turns as one, if they are a transport and reactions that it takes along."""
        found = self._transport(template)
        if energy.moving or found is None:
            return None
        self.check(energy, template)
        stages, (number, transport) = self.stages(dt), found
        before, after = (
            sum(flow.rate * h for flow, h, _ in some if isinstance(flow, FisherRao))
            for some in (stages[:number], stages[number + 1 :])
        )
        return transport.with_reactions(energy, template, stages[number][1], (before, after))


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
    @override
    def parts(self) -> tuple[Flow, ...]:
        return self.first, self.second

    @override
    def stages(self, dt: float) -> list[tuple[Flow, float, float]]:
        """One step of each."""
        return [(self.first, dt, 0.0), (self.second, dt, 0.0)]

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Both parts take dt."""
        return intersection(self.first.dt_bounds(energy, template), self.second.dt_bounds(energy, template))


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
    @override
    def order(self) -> float:  # type: ignore[override]
        """Two, or less if a part has less."""
        return min(2, self.outer.order, self.inner.order)

    @property
    @override
    def self_adjoint(self) -> bool:  # type: ignore[override]
        """Palindromic: self-adjoint if both parts are."""
        return self.outer.self_adjoint and self.inner.self_adjoint

    @property
    @override
    def parts(self) -> tuple[Flow, ...]:
        return self.outer, self.inner

    @override
    def stages(self, dt: float) -> list[tuple[Flow, float, float]]:
        """Half a step of the outer, one of the inner, half of the outer."""
        return [(self.outer, dt / 2, 0.0), (self.inner, dt, 0.0), (self.outer, dt / 2, dt / 2)]

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """The outer part takes dt / 2."""
        return intersection(scaled(self.outer.dt_bounds(energy, template), 2), self.inner.dt_bounds(energy, template))

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Any) -> float:
        """The outer part takes dt / 2."""
        return min(
            2 * self.outer.max_extrapolation_dt(energy, template), self.inner.max_extrapolation_dt(energy, template)
        )


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

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "n", whole("n", self.n, 1, "the number of sub-steps"))

    @property
    @override
    def order(self) -> float:  # type: ignore[override]
        """Order of the flow."""
        return self.flow.order

    @property
    @override
    def self_adjoint(self) -> bool:  # type: ignore[override]
        """Self-adjoint if the flow is."""
        return self.flow.self_adjoint

    @property
    @override
    def parts(self) -> tuple[Flow, ...]:
        return (self.flow,)

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Add the state before all sub-steps to what the flow needs."""
        use = self.flow.memory_use(template)
        return MemoryUse(use.held, max(use.states, use.stepping + (self.n > 1)))

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare `n` steps of size dt / n, which are one step of this flow."""
        sub_steps = self.flow.make_steps(energy, template, dt / self.n)
        return lambda state, t, rng=None: sub_steps(state, t, self.n, rng)

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """The flow takes dt / n."""
        return scaled(self.flow.dt_bounds(energy, template), self.n)

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Any) -> float:
        """The flow takes dt / n."""
        return self.n * self.flow.max_extrapolation_dt(energy, template)
