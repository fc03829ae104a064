"""Calls that are made by two threads, for compiled code that leaves the interpreter to others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def two_at_a_time(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls by two threads, each within the deadline of this one, in their order; return what they return.

    The first error is raised, and calls that have not begun by then are not made.
    """
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(copy_context().run, call) for call in calls]
        try:
            return [job.result() for job in jobs]
        finally:
            pool.shutdown(cancel_futures=True)
