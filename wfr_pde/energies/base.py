"""The noun `Energy`: the functional F(mu) that a flow goes down."""

from __future__ import annotations

from typing import Any

from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid


class Energy:
    """A functional of a measure with a known minimiser.

    A new energy is one class with the methods below. An energy is also a record: `solve(..., record=[KL(pi)])`.

    Attributes
    ----------
    name : str
        Name of its record.
    moving : bool
        True if it depends on time; then `at` returns it frozen.
    """

    name: str
    moving: bool = False

    def at(self, t: float) -> Energy:
        """The energy at time `t`: itself, unless it moves."""
        return self

    def value(self, state: Any) -> float:
        """F(mu)."""
        raise NotImplementedError(f"{type(self).__name__} must define value")

    def log_equilibrium(self, grid: Grid) -> Any:
        """log pi of the minimiser at the cell centres, normalised on the grid."""
        raise NotImplementedError(f"{type(self).__name__} must define log_equilibrium")

    def check(self, grid: Grid, t: float) -> None:
        """Refuse a minimiser that the grid cannot hold at time `t`; by default none.

        Raises
        ------
        ValueError
        """

    def log_ratio(self, state: Density) -> Any:
        """The first variation g of F at mu, up to a constant: the driving force of both parts of the flow."""
        raise NotImplementedError(f"{type(self).__name__} must define log_ratio")

    def fisher_rao(self, state: Density, time: float) -> Density:
        """The Fisher-Rao gradient flow of F, solved exactly over `time`."""
        raise NotImplementedError(f"{type(self).__name__} must define fisher_rao")
