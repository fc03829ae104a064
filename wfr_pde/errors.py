"""Exceptions and warnings that a caller may want to tell apart; bad input is a plain `ValueError` or `TypeError`."""

from collections.abc import Mapping


def refuse_old_hooks(cls: type, renamed: Mapping[str, str]) -> None:
    """Refuse a class that defines a hook by a name that it had before the first release.

    Raises
    ------
    TypeError
        With the new name.
    """
    for old, new in renamed.items():
        if old in vars(cls):
            raise TypeError(f"{cls.__name__}.{old} is a hook by its old name: call it {new}")


class BackendError(RuntimeError):
    """A device or an optional package that was asked for is missing.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> try:
    ...     wfr.Grid(0.0, 1.0, 8, backend="abacus")
    ... except wfr.BackendError as error:
    ...     print(str(error).split(" in ")[0])
    there is no backend 'abacus'
    """


class NumericalError(ArithmeticError):
    """A run lost finiteness, mass or convergence: its numbers cannot be trusted, so that none are returned.

    Examples
    --------
    A flow that promises to keep the mass, and doubles it:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> class Doubling(wfr.Flow):
    ...     energies, order, preserves = (), np.inf, frozenset({"mass"})
    ...     def build_step(self, energy, template, dt):
    ...         return lambda state, rng: wfr.Density(state.grid, state.log_values + np.log(2))
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(0.0, 1.0))
    >>> try:
    ...     wfr.solve(None, Doubling(), start, [0.0, 1.0], 1.0)
    ... except wfr.NumericalError as error:
    ...     print(str(error).split(",")[0])
    the mass is 2 at t=1
    """


class SchemaError(RuntimeError):
    """A stored result that a later version of the package wrote, in a schema that this one does not know."""


class NoEquilibriumError(TypeError):
    """A flow or a sampler asks for the minimiser of an energy that has none, or none that is known."""


class FloorWarning(UserWarning):
    """The rounding of a spectral transform decides about cells that matter: log-densities there are too high.

    `SplitStep` gives it once a run; see there for the floor, and for the flows that have none.

    Examples
    --------
    The target has a mode of mass 1/2 at 14, where a start at 0 has next to nothing:

    >>> import warnings
    >>> import wfr_pde as wfr
    >>> target = wfr.GaussianMixture([[0.0], [14.0]], [0.5, 0.5], 1.0)
    >>> start = wfr.Grid(-8.0, 22.0, 128).density(wfr.Gaussian(0.0, 1.0))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     ds = wfr.solve(target, wfr.Strang(wfr.FisherRao(), wfr.SplitStep()), start, [0.0, 1.0], 0.1)
    >>> [warning.category.__name__ for warning in caught]
    ['FloorWarning']
    """


class OpenIntegralWarning(UserWarning):
    """An integral over the whole space does not end in the box: the number computed is one of the box alone."""


class SlowFunctionWarning(UserWarning):
    """A function that takes no arrays is called point by point."""


class DiskSpaceWarning(UserWarning):
    """A run will write more bytes than are free on the disk."""


class UnevenCellsError(ValueError):
    """A density of points changes too much within a cell; with more cells it may not."""


class CellsTooWideError(ValueError):
    """Cells that do not resolve a density, or a step; with more of them they may."""


class CutMassError(ValueError):
    """A box that cuts off mass of a distribution."""


class UnresolvedError(NumericalError):
    """A run whose cells turned out to be too wide for it."""


class MassNotKeptError(NumericalError):
    """A run in free space that made or lost mass.

    Attributes
    ----------
    at_walls : bool
        Whether there is mass at the walls of the box, through which it may have gone; else cells or steps are why.
    """

    def __init__(self, message: str, at_walls: bool = False) -> None:
        super().__init__(message)
        self.at_walls = at_walls
