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
from wfr_pde.space.density import Density


def scaled(limits: tuple[float, float], factor: float) -> tuple[float, float]:
    """Return the limits of the outer dt where a part takes dt / factor."""
    return limits[0] * factor, limits[1] * factor


def intersection(*limits: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of dt that satisfy all of several pairs of limits."""
    return max(low for low, _ in limits), min(high for _, high in limits)


class Composition(Flow):
    """A base of compositions, whose properties follow from their parts."""

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
        for part in self.parts:
            part.check(energy, template)

    @property
    @override
    def energies(self) -> tuple[type[Energy], ...]:  # type: ignore[override]
        """The energies that any of the parts asks for; () if no part needs one."""
        return tuple(dict.fromkeys(kind for part in self.parts for kind in part.energies))

    @override
    def reference(self, template: Any) -> np.ndarray:
        return np.concatenate([np.ravel(part.reference(template)) for part in self.parts])

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        own = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        parts = {name: part for name, part in own.items() if isinstance(part, Flow)}
        exchanged = {id(part): part.map_parts(exchange) for part in parts.values()}  # one that is there twice stays one
        return replace(self, **{name: exchanged[id(part)] for name, part in parts.items()})  # type: ignore[type-var]

    @override
    def monitored(self) -> Flow:
        return self.map_parts(lambda part: part.monitored())

    @override
    def begin(self, start: Any) -> Any:
        for part in self.parts:
            start = part.begin(start)
        return start

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Sum up what the parts hold; count the states of the largest part, or three: the first, two around a part."""
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
        return any(part.interacting for part in self.parts)

    @property
    @override
    def factorises(self) -> bool:  # type: ignore[override]
        return all(part.factorises for part in self.parts)

    @property
    @override
    def random(self) -> bool:  # type: ignore[override]
        return any(part.random for part in self.parts)


def _with_account(state: Any, before: Any) -> Any:
    """Return a state with the account of its mass, which parts of a splitting that keep none hand on."""
    account = getattr(before, "log_mass", None)
    if account is None or state.log_mass is not None:
        return state
    return Density.holding(state.grid, state.log_values, state.origin, account)


class _Splitting(Composition):
    """A splitting: flows that act one after another."""

    def stages(self, dt: float) -> list[tuple[Flow, float, float]]:
        """Return the flows in the order in which they act, the sizes of their steps, and when these begin.

        Parameters
        ----------
        dt : float
            Size of the step, > 0.

        Returns
        -------
        list of (Flow, float, float)
        """
        raise NotImplementedError

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare the steps of all parts, which a step makes one after another."""
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
                state = _with_account(part(state, t + begin, rng), state)
            return state

        return step

    @override
    def make_steps(self, energy: Energy, template: Any, dt: float) -> Steps:
        """Prepare runs of steps; a transport that takes reactions along makes the two between its steps as one."""
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
        """Return the only transport that takes reactions along, with its number among the stages; else None."""
        stages = [flow for flow, _, _ in self.stages(1.0)]
        transports = [(k, flow) for k, flow in enumerate(stages) if type(flow) is not FisherRao]
        if len(transports) != 1:
            return None
        number, flow = transports[0]
        return (number, flow) if isinstance(flow, TakesReactions) and flow.takes_reactions(template) else None

    def _fused(self, energy: Energy, template: Any, dt: float) -> FrozenSteps | None:
        """Prepare all parts as one, if they are one transport and reactions that it takes along; else return None."""
        found = self._transport(template)
        rates = [flow.rate for flow, _, _ in self.stages(dt) if isinstance(flow, FisherRao)]
        if energy.moving or found is None or any(map(callable, rates)):
            return None
        self.check(energy, template)
        stages, (number, transport) = self.stages(dt), found
        before, after = (
            sum(flow.time(0.0, h) for flow, h, _ in some if isinstance(flow, FisherRao))
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
        The parts, in the order in which they act.

    Raises
    ------
    TypeError
        If a part is no flow.

    References
    ----------
    Trotter (1959), doi:10.1090/S0002-9939-1959-0108732-6.

    Examples
    --------
    One step from N(1, 1) to N(0, 1): the mean falls by e^(-asinh dt) in the transport, and by e^-dt in the reaction:

    >>> import math
    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> flow = wfr.Lie(wfr.SinkhornKernel(), wfr.FisherRao())
    >>> run = wfr.solve(wfr.Gaussian(0.0, 1.0), flow, start, [0.0, 0.5], 0.5, record=[wfr.diagnostics.mean])
    >>> round(float(run["mean"][-1, 0]), 4), round(math.exp(-math.asinh(0.5) - 0.5), 4)
    (0.3749, 0.3749)
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
        return [(self.first, dt, 0.0), (self.second, dt, 0.0)]

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Intersect the limits of both parts, which take dt."""
        return intersection(self.first.dt_bounds(energy, template), self.second.dt_bounds(energy, template))


@dataclass(frozen=True)
class Strang(_Splitting):
    """Symmetric splitting, order 2: outer(dt/2), inner(dt), outer(dt/2).

    Parameters
    ----------
    outer, inner : Flow
        The parts: half a step of the outer one comes first and last.

    Raises
    ------
    TypeError
        If a part is no flow.

    References
    ----------
    Strang (1968), doi:10.1137/0705041.

    Examples
    --------
    Half the step divides the error of the variance, of which `exact.gaussian_flow` is the limit, by 2²:

    >>> import math
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(0.0, 4.0)
    >>> rho = wfr.Grid(-16.0, 16.0, 128).density(start)
    >>> def error(dt, flow=wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())):
    ...     run = wfr.solve(target, flow, rho, [0.0, 1.0], dt, record=[wfr.diagnostics.covariance])
    ...     return float(run["covariance"][-1, 0, 0]) - wfr.exact.gaussian_flow(target, start, 1.0).covariance[0, 0]
    >>> round(math.log2(error(0.1) / error(0.05)), 1)
    2.0
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
        return [(self.outer, dt / 2, 0.0), (self.inner, dt, 0.0), (self.outer, dt / 2, dt / 2)]

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Intersect the limits of the inner part with twice those of the outer, which takes dt / 2."""
        return intersection(scaled(self.outer.dt_bounds(energy, template), 2), self.inner.dt_bounds(energy, template))

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Any) -> float:
        """Return the lesser of the inner part's limit and twice that of the outer, which takes dt / 2."""
        return min(
            2 * self.outer.max_extrapolation_dt(energy, template), self.inner.max_extrapolation_dt(energy, template)
        )


@dataclass(frozen=True)
class Repeated(Composition):
    """The flow that makes `n` equal steps of another in place of one.

    Parameters
    ----------
    flow : Flow
        The flow that is repeated.
    n : int
        Number of sub-steps, each of size dt / n.

    Raises
    ------
    ValueError
        If `n` is no whole number of at least one.
    TypeError
        If `flow` is no flow.

    Examples
    --------
    Two steps of size 1/2 of `SinkhornKernel` multiply the mean by e^(-2 asinh(1/2)):

    >>> import math
    >>> import wfr_pde as wfr
    >>> start, flow = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0)), wfr.Repeated(wfr.SinkhornKernel(), 2)
    >>> run = wfr.solve(wfr.Gaussian(0.0, 1.0), flow, start, [0.0, 1.0], 1.0, record=[wfr.diagnostics.mean])
    >>> round(float(run["mean"][-1, 0]), 4), round(math.exp(-2 * math.asinh(0.5)), 4)
    (0.382, 0.382)
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
        return self.flow.order

    @property
    @override
    def self_adjoint(self) -> bool:  # type: ignore[override]
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
        """Return `n` times the limits of the flow, which takes dt / n."""
        return scaled(self.flow.dt_bounds(energy, template), self.n)

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Any) -> float:
        """Return `n` times the limit of the flow, which takes dt / n."""
        return self.n * self.flow.max_extrapolation_dt(energy, template)
