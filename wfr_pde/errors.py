"""Exceptions that a caller may want to tell apart; bad input is a plain ``ValueError`` (or ``TypeError``)."""


class BackendError(RuntimeError):
    """A device or an optional package that was asked for is missing."""


class NumericalError(ArithmeticError):
    """A run lost finiteness, mass or convergence: the numbers cannot be trusted, so none are returned."""


class FloorWarning(UserWarning):
    """A transform's rounding decides about cells that matter: log-densities there are too high."""


class UnevenCellsError(ValueError):
    """A density of points changes too much within a cell: with more cells it may not."""
