"""Exceptions that a caller may want to tell apart; bad input is a plain ``ValueError`` (or ``TypeError``)."""

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
    """A device or an optional package that was asked for is missing."""


class NumericalError(ArithmeticError):
    """A run lost finiteness, mass or convergence: the numbers cannot be trusted, so none are returned."""


class SchemaError(RuntimeError):
    """A stored result that a later version of the package wrote, in a schema that this one does not know."""


class NoEquilibriumError(TypeError):
    """A flow or a sampler asks for the minimiser of an energy that has none, or none that is known."""


class FloorWarning(UserWarning):
    """A transform's rounding decides about cells that matter: log-densities there are too high."""


class OpenIntegralWarning(UserWarning):
    """An integral over the whole space does not end in the box, whose number is another one."""


class SlowFunctionWarning(UserWarning):
    """A function that takes no arrays is called point by point."""


class UnevenCellsError(ValueError):
    """A density of points changes too much within a cell: with more cells it may not."""
