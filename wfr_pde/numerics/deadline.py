"""Time budgets that long computations look at while they run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.progress import step_done

_END: ContextVar[float] = ContextVar("_END", default=math.inf)


class OutOfTimeError(NumericalError):
    """A time budget is spent, or does not allow for what comes next."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What runs inside, in this thread, is stopped by OutOfTimeError after `seconds`; inner ones cannot extend it."""
    token = _END.set(min(_END.get(), time.perf_counter() + seconds))
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
    if time.perf_counter() > _END.get():
        raise OutOfTimeError("the time budget, seconds=, is spent: give a larger one")
