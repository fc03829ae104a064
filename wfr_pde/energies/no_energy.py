"""What stands in for the energy of flows that go down none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from typing_extensions import override

from wfr_pde.energies.base import Energy
from wfr_pde.errors import NoEquilibriumError
from wfr_pde.space.density import Density
from wfr_pde.targets.base import Target


@dataclass(frozen=True)
class NoEnergy(Energy):
    """The energy that flows and records see in ``solve(None, flow, ...)``: it has no value, no force, no minimiser.

    A flow that declares ``energies = ()`` does not look at it; all others refuse it. Whatever is asked of it raises
    NoEquilibriumError, which names the remedies.
    """

    name = "no_energy"

    @override
    def value(self, state: Any) -> float:
        """Refuse: nothing is gone down."""
        self._refuse("value")

    @property
    @override
    def equilibrium(self) -> Target:
        """Refuse: nothing has a minimiser."""
        self._refuse("equilibrium")

    @override
    def reference(self, start: Any) -> np.ndarray:
        """No values: there is one `NoEnergy` only."""
        return np.empty(0)

    @override
    def first_variation(self, state: Density) -> Any:
        """Refuse: there is no driving force."""
        self._refuse("first variation")

    @override
    def reaction(self, state: Density, time: float) -> Density:
        """Refuse: there is no driving force."""
        self._refuse("Fisher-Rao flow")

    def _refuse(self, what: str) -> NoReturn:
        raise NoEquilibriumError(
            f"there is no energy, as the problem is None, and so no {what}: give the energy itself as a record, such "
            "as record=[KL(target)]; or, for records and flows that ask for it, solve with a target in place of None"
        )
