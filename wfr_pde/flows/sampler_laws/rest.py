"""The law of a step that leaves every distribution as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.space.density import Density


@dataclass(frozen=True)
class Rest(Flow):
    """The identity map, which is what resampling does to the law of infinitely many particles."""

    order = math.inf
    law = Law.REST
    self_adjoint = True
    factorises = True
    preserves = frozenset({"mass", "positivity", "equilibrium", "monotone"})
    measures = (Density,)

    @override
    def build_step(self, energy: Energy, template: Density, dt: float) -> FrozenStep:
        """Prepare a step that returns the state."""
        return lambda state, rng: state
