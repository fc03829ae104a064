"""A base of flows that are another name for one flow made of parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step
from wfr_pde.flows.composition import Composition


class OfOneFlow(Composition):
    """A base of flows whose steps are those of one flow, their `splitting`: positive, of even powers of dt."""

    max_ndim = 3
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})

    @cached_property
    def splitting(self) -> Flow:
        """The flow that makes the steps."""
        raise NotImplementedError(f"{type(self).__name__} must define splitting")

    @property
    @override
    def parts(self) -> tuple[Flow, ...]:
        return (self.splitting,)

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        return self.splitting.map_parts(exchange)

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare the parts."""
        return self.splitting.make_step(energy, template, dt)

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Return the limits of the parts."""
        return self.splitting.dt_bounds(energy, template)
