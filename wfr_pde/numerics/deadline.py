"""Time budgets that long computations look at while they run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.progress import step_done

_NOT_COUNTED = [0.0]  # seconds that went into compiling loops
_END: ContextVar[float] = ContextVar("_END", default=math.inf)


class OutOfTimeError(NumericalError):
    """A time budget is spent, or does not allow for what comes next."""


def clock() -> float:
    """Seconds as budgets count them: those in which loops are compiled, once on a machine, are left out."""
    return time.perf_counter() - _NOT_COUNTED[0]


def leave_out(seconds: float) -> None:
    """Take back seconds that went into compiling."""
    _NOT_COUNTED[0] += seconds


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What runs inside, in this thread, is stopped by OutOfTimeError after `seconds`; inner ones cannot extend it."""
    token = _END.set(min(_END.get(), clock() + seconds))
    try:
        yield
    finally:
        _END.reset(token)


def check_deadline() -> None:
    """Between parts of a long computation, which are counted by the bar that reports them.

    Raises
    ------
    OutOfTimeError
    """
    step_done()
    if clock() > _END.get():
        raise OutOfTimeError("the time budget, seconds=, is spent: give a larger one")
