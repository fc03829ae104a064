"""A flow whose steps see a capped target, at the ceiling of the time when they begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from wfr_pde.energies import KL, Energy
from wfr_pde.flows import Flow
from wfr_pde.flows.base import MemoryUse, Step
from wfr_pde.flows.law import Law
from wfr_pde.space.density import Density
from wfr_pde.truth.certified.preparation.reach import Ceilings

PREPARED = 2  # ceilings whose steps are kept: time goes on, and the ceilings fall


@dataclass(frozen=True, eq=False)
class UnderCeilings(Flow):
    """The flow of KL to a target, with V capped where no mass is.

    A step that begins at t sees `ceilings.cap(target, t)`: no mass is above that level from t on, so that steps may end
    below a lower ceiling. Steps are prepared for a ceiling when one begins below it.

    Parameters
    ----------
    flow : Flow
        On densities.
    ceilings : Ceilings
    """

    flow: Flow
    ceilings: Ceilings

    measures = (Density,)

    @property
    @override
    def order(self) -> float:  # type: ignore[override]
        return self.flow.order

    @property
    @override
    def space_order(self) -> float:  # type: ignore[override]
        return self.flow.space_order

    @property
    @override
    def self_adjoint(self) -> bool:  # type: ignore[override]
        return self.flow.self_adjoint

    @property
    @override
    def law(self) -> Law | str:  # type: ignore[override]
        return self.flow.law

    @property
    @override
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """What the flow preserves, but for pi and what follows from it, which are of the capped target."""
        return self.flow.preserves - {"equilibrium", "monotone"}

    @override
    def check(self, energy: Energy, template: Any) -> None:
        """Refuse what the flow refuses, and targets that move.

        Raises
        ------
        TypeError, ValueError
            If the flow takes no such energy or measure, or the target moves.
        """
        super().check(energy, template)
        self.flow.check(energy, template)
        if energy.moving:
            raise ValueError("a target that moves has no ceilings: give Ceilings.none(), or the flow itself")

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Return a step that prepares one of the flow for every ceiling that it meets."""
        self.check(energy, template)
        assert isinstance(energy, KL)  # as `check` says
        prepared: dict[float, Step] = {}

        def step(state: Any, t: float, rng: Any = None) -> Any:
            level = self.ceilings.level(t)
            if level not in prepared:
                if len(prepared) == PREPARED:
                    prepared.pop(next(iter(prepared)))
                target = self.ceilings.cap(energy.target, t)
                own = energy if target is energy.target else KL(target, checked=False)
                prepared[level] = self.flow.make_step(own, template, dt)
            return prepared[level](state, t, rng)

        return step

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Return the bounds of the flow without a cap."""
        return self.flow.dt_bounds(energy, template)

    @override
    def max_extrapolation_dt(self, energy: Energy, template: Any) -> float:
        """Return the largest dt of the flow without a cap."""
        return self.flow.max_extrapolation_dt(energy, template)

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Count the prepared steps of two ceilings."""
        use = self.flow.memory_use(template)
        return MemoryUse(PREPARED * use.held, use.states)

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """Return the exchanged flow under the same ceilings."""
        return replace(self, flow=self.flow.map_parts(exchange))

    @override
    def monitored(self) -> Flow:
        """Return the monitored flow under the same ceilings."""
        return replace(self, flow=self.flow.monitored())
