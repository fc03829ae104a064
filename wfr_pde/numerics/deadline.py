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
# when the time budget of this context is spent, by `clock`
_END: ContextVar[float] = ContextVar("_END", default=math.inf)


class OutOfTimeError(NumericalError):
    """A time budget is spent, or does not allow for what comes next."""


def clock() -> float:
    """Return seconds as budgets count them, without those in which loops were compiled."""
    return time.perf_counter() - _NOT_COUNTED[0]


def leave_out(seconds: float) -> None:
    """Take seconds that went into compiling off the `clock`."""
    _NOT_COUNTED[0] += seconds


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Stop what runs inside, in this thread, by OutOfTimeError after some `seconds`; inner ones cannot extend it."""
    token = _END.set(min(_END.get(), clock() + seconds))
    try:
        yield
    finally:
        _END.reset(token)


def check_deadline() -> None:
    """Count a step on the bar that reports it, and stop the computation if its time is spent.

    Raises
    ------
    OutOfTimeError
    """
    step_done()
    if clock() > _END.get():
        raise OutOfTimeError("the time budget, seconds=, is spent: give a larger one")
