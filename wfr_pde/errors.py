"""Exceptions that a caller may want to tell apart; bad input is a plain ``ValueError`` (or ``TypeError``)."""


class BackendError(RuntimeError):
    """A device or an optional package that was asked for is missing."""


class NumericalError(ArithmeticError):
    """A run lost finiteness, mass or convergence: the numbers cannot be trusted, so none are returned."""


class FloorWarning(UserWarning):
    """A transform's rounding decides about cells that matter: log-densities there are too high."""


DONE, CHECK_FAILED, BAD_INPUT, MISSING, NUMERICAL_FAILURE, INTERRUPTED = 0, 1, 2, 3, 4, 130
BAD_INPUTS = (ValueError, TypeError, MemoryError, OSError)


def exit_code(error: BaseException) -> int | None:
    """The exit code of the command line that an error leads to; None for an error of the program itself."""
    if isinstance(error, BackendError | ImportError):
        return MISSING
    if isinstance(error, NumericalError):
        return NUMERICAL_FAILURE
    return BAD_INPUT if isinstance(error, BAD_INPUTS) else None


class UnevenCellsError(ValueError):
    """A density of points changes too much within a cell: with more cells it may not."""
