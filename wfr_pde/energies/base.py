"""The noun `Energy`: the functional F(mu) that a flow goes down."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.errors import NoEquilibriumError, refuse_old_hooks
from wfr_pde.numerics.records import Record
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

RENAMED = {"log_ratio": "first_variation", "fisher_rao": "reaction"}  # hooks by their old names


class Energy(Record):
    """A functional of a measure, which flows go down.

    A new energy is one class with the methods below; flows and samplers ask for nothing else. An energy is also a
    record: `solve(..., record=[KL(pi)])`.

    Attributes
    ----------
    name : str
        Name of its record.
    moving : bool
        True if it depends on time; then `at` returns it frozen.
    """

    name: str
    moving: bool = False

    @override
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_old_hooks(cls, RENAMED)

    def at(self, t: float) -> Energy:
        """The energy at time `t`: itself, unless it moves."""
        return self

    def value(self, state: Any) -> float:
        """F(mu)."""
        raise NotImplementedError(f"{type(self).__name__} must define value")

    @property
    def equilibrium(self) -> Target:
        """The minimiser, with `log_density` and `score` of points (..., d): what samplers are drawn to.

        Raises
        ------
        NoEquilibriumError
            If there is none, or more than one, or none is known.
        """
        raise NoEquilibriumError(
            f"{type(self).__name__} has no minimiser that is known: use a flow that asks for first_variation alone, or "
            "an energy with a target, such as KL(target)"
        )

    def log_equilibrium(self, grid: Grid) -> Any:
        """log pi of the minimiser at the cell centres, normalised on the grid.

        Raises
        ------
        NoEquilibriumError
            As `equilibrium`.
        """
        return grid.log_density(self.equilibrium, "the minimiser")

    def reference(self, start: Any) -> np.ndarray:
        """Values at a start, of a Density in its cells or of Particles, that tell this energy from others.

        A run that goes on from disk is known by them; by default those of the minimiser.
        """
        if isinstance(start, Density):
            return start.grid.backend.asnumpy(self.log_equilibrium(start.grid))
        return np.asarray(self.equilibrium.log_density(start.positions))

    def check(self, grid: Grid, t: float) -> None:
        """Refuse a minimiser that the grid cannot hold at time `t`; by default none.

        Raises
        ------
        ValueError
        """

    def first_variation(self, state: Density) -> Any:
        """The first variation g of F at mu, up to a constant: the driving force of both parts of the flow."""
        raise NotImplementedError(f"{type(self).__name__} must define first_variation")

    def reaction(self, state: Density, time: float) -> Density:
        """The Fisher-Rao gradient flow of F, solved exactly over `time`."""
        raise NotImplementedError(f"{type(self).__name__} must define reaction")
