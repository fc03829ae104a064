"""Calls by two threads: their order, their errors, and the deadline of who makes them."""

import threading
import time
from functools import partial

import pytest

from wfr_pde.numerics.deadline import OutOfTimeError, check_deadline, deadline
from wfr_pde.numerics.two_threads import two_at_a_time


def test_results_are_in_order_and_two_threads_work():
    both, names = threading.Barrier(2, timeout=30), set()

    def call(k):
        names.add(threading.current_thread().name)
        if k < 2:
            both.wait()  # comes to no end unless another thread waits, too
        return k**2

    assert two_at_a_time([partial(call, k) for k in range(7)]) == [k**2 for k in range(7)]
    assert len(names) == 2


def test_calls_see_the_deadline():
    def call():
        time.sleep(0.02)
        check_deadline()

    with deadline(0.01), pytest.raises(OutOfTimeError, match="is spent"):
        two_at_a_time([call, call])


def test_the_first_error_is_raised_and_what_waits_is_not_called():
    called = []

    def call(k):
        called.append(k)
        time.sleep(0.01)
        raise ValueError(f"call {k}")

    with pytest.raises(ValueError, match="call 0"):
        two_at_a_time([partial(call, k) for k in range(50)])
    assert len(called) < 50
