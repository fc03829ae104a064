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
    """A functional F of a measure, which flows go down.

    A new energy is one class with the methods below; flows and samplers ask for nothing else. An energy is also a
    record: `solve(..., record=[KL(pi)])`.

    Attributes
    ----------
    name : str
        Name of its record.
    moving : bool
        True if it depends on time; then `at` returns it frozen.

    Examples
    --------
    An energy with a value alone serves as a record. E_mu x² of N(exp(-t), 1) is exp(-2 t) + 1:

    >>> import wfr_pde as wfr
    >>> class SecondMoment(wfr.Energy):
    ...     name = "second_moment"
    ...     def value(self, state):
    ...         return float(state.expectation(lambda points: points[..., 0] ** 2))
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> run = wfr.solve(wfr.Gaussian(0.0, 1.0), wfr.FisherRao(), start, [0.0, 1.0], 1.0, record=[SecondMoment()])
    >>> [round(float(value), 4) for value in run["second_moment"]]
    [2.0, 1.1353]
    """

    name: str
    moving: bool = False

    @override
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_old_hooks(cls, RENAMED)

    def at(self, t: float) -> Energy:
        """Return the energy at the time `t`, frozen: itself, unless it moves.

        Parameters
        ----------
        t : float
            The time.

        Returns
        -------
        Energy
            One that does not move.
        """
        return self

    def value(self, state: Any) -> float:
        """Compute F(mu), in nats where F is a divergence.

        Parameters
        ----------
        state : Density or Particles
            mu, of a kind that the energy takes.

        Returns
        -------
        float
        """
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
        """Return log pi of the minimiser at the cell centres, normalised on the grid.

        Parameters
        ----------
        grid : Grid
            The cells.

        Returns
        -------
        array of shape grid.local_shape

        Raises
        ------
        NoEquilibriumError
            If there is no minimiser, or more than one, or none is known.
        """
        return grid.log_density(self.equilibrium, "the minimiser")

    def reference(self, start: Any) -> np.ndarray:
        """Return values that tell this energy from others; by default the log-density of the minimiser at a start.

        A run that goes on from disk is known by them.

        Parameters
        ----------
        start : Density or Particles
            The values are those in its cells, or at its positions.

        Returns
        -------
        NumPy array
        """
        if isinstance(start, Density):
            return start.grid.backend.asnumpy(self.log_equilibrium(start.grid))
        return np.asarray(self.equilibrium.log_density(start.positions))

    def check(self, grid: Grid, t: float) -> None:
        """Refuse a minimiser that the grid cannot hold at a time; by default nothing is refused.

        Parameters
        ----------
        grid : Grid
            The cells.
        t : float
            The time.

        Raises
        ------
        ValueError
            If the grid cannot hold it.
        """

    def first_variation(self, state: Density) -> Any:
        """Compute the first variation g of F at mu, up to a constant: both parts of the flow are driven by it.

        Parameters
        ----------
        state : Density
            mu.

        Returns
        -------
        array of shape grid.local_shape
        """
        raise NotImplementedError(f"{type(self).__name__} must define first_variation")

    def reaction(self, state: Density, time: float) -> Density:
        """Solve the Fisher-Rao gradient flow of F, d_t mu = -mu (g - E_mu g), exactly over a time.

        Parameters
        ----------
        state : Density
            The measure at the beginning.
        time : float
            Reaction rate times time, >= 0.

        Returns
        -------
        Density
        """
        raise NotImplementedError(f"{type(self).__name__} must define reaction")
