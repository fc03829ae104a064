"""A base of flows in free space: on equal cells on the CPU, with an account of the mass that they keep or lose."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any, Self

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow
from wfr_pde.flows.diffusions.mass_balance import MassBalance
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

STRIP = 0.05  # of an axis, by either wall
NOTHING = 1e-8  # of the mass: so little is none


class FreeSpaceFlow(Flow):
    """A base of flows in free space: the box holds the mass, and what comes through its walls is lost.

    A run that loses or makes mass ends with an error; `Density.log_mass` is the account of what normalising took out.
    """

    energies = ()
    order = math.inf
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})
    measures = (Density,)
    max_ndim = 3
    takes_periodic = True

    @override
    def begin(self, start: Any) -> Any:
        return begin_account(start)

    @override
    def monitored(self) -> Flow:
        return self.watched_by(MassBalance())

    def watched_by(self, balance: MassBalance | None) -> Self:
        """Return the same flow, whose steps add what they lose to an account.

        Parameters
        ----------
        balance : MassBalance or None
            The account of a run; None for one of every step.

        Returns
        -------
        FreeSpaceFlow
        """
        watched = copy.copy(self)
        object.__setattr__(watched, "_balance", balance)
        return watched

    @override
    def check(self, energy: Energy, template: Any) -> None:
        super().check(energy, template)
        check_free_space(type(self).__name__, template, self.takes_periodic)

    def weigh(self, state: Density, moved: Array, what: str, t: float) -> None:
        """Compare the mass of the log-values `moved` of a step with that before it.

        Parameters
        ----------
        state : Density
            Before the step.
        moved : array
            Log-values after the step, but for growth.
        what : str
            What moved it, for messages.
        t : float
            The time after the step.

        Raises
        ------
        NumericalError
            If the run, or without a monitor this step, makes or loses too much.
        """
        grid = state.grid
        change = float(grid.log_integrate(moved) - grid.log_integrate(state.log_values))
        self.balance.add(change, what, t, at_walls(grid, state.log_values))

    @property
    def balance(self) -> MassBalance:
        """The sum of what the run has lost so far; one of its own for a step that belongs to no run."""
        return vars(self).get("_balance") or MassBalance()


def at_walls(grid: Grid, log_values: Array) -> bool:
    """Return whether there is mass by the walls of a box, along axes that are not periodic."""
    density = np.exp(log_values - log_values.max())
    for k, axis in enumerate(grid.axes):
        along = np.moveaxis(density, k, 0).reshape(axis.n, -1).sum(axis=1)
        strip = math.ceil(axis.n * STRIP)
        if not axis.periodic and max(along[:strip].sum(), along[-strip:].sum()) > NOTHING * along.sum():
            return True
    return False


def with_account(state: Density, log_values: Array) -> Density:
    """Return the density of log-values made from a state, of mass one, with its account of the mass."""
    return Density.holding(state.grid, log_values, log_mass=state.log_mass or 0.0).normalised()


def begin_account(start: Any) -> Any:
    """Return a start with a `log_mass`: that which it has, or zero."""
    return start if not isinstance(start, Density) or start.log_mass is not None else replace(start, log_mass=0.0)


def check_free_space(name: str, template: Density, takes_periodic: bool = True) -> None:
    """Refuse grids that flows in free space do not take.

    Raises
    ------
    ValueError
        For graded cells, more than three axes, a backend other than numpy, or periodic axes.
    """
    grid = template.grid
    if grid.backend.name != "numpy":
        raise ValueError(f"{name} works on the CPU, but the grid is on {grid.backend.name!r}: use backend='numpy'")
    if grid.ndim > 3:
        raise ValueError(f"{name} works in one to three dimensions, but the grid has {grid.ndim} axes")
    for axis in grid.axes:
        if axis.periodic and not takes_periodic:
            raise ValueError(f"noise spreads in free space, but the axis {axis.name!r} is periodic: use a wide box")
        if not axis.is_uniform:
            raise ValueError(
                f"{name} needs equal cells, but those of the axis {axis.name!r} are graded (from "
                f"{axis.widths.min():.4g} to {axis.widths.max():.4g}): use a uniform axis, or "
                "FiniteVolume(drift=...)"
            )
