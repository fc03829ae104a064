"""Calls of functions of users: arrays that cannot be written to."""

import numpy as np
import pytest

from wfr_pde.numerics.user_calls import call, given_over, read_only, unchanging


def test_a_function_that_works_in_place_is_refused_and_changes_nothing():
    def shifted(x):
        x -= 1.0
        return x

    x = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"^shifted changes an array .* write x = x - 1 in place of x -= 1"):
        call("shifted", shifted, x)
    assert x.tolist() == [1.0, 2.0]
    assert call("shifted", lambda x: x - 1, x).tolist() == [0.0, 1.0]
    assert x.flags.writeable


def test_other_errors_of_a_function_pass():
    with pytest.raises(ValueError, match=r"^could not convert"):
        call("number", lambda x: float("x"), np.zeros(1))


def test_the_error_of_a_function_within_another_is_told_once():
    def inner(x):
        x[:] = 0

    with pytest.raises(ValueError, match=r"^inner changes") as raised:
        call("outer", lambda x: call("inner", inner, x), np.zeros(1))
    assert "outer" not in str(raised.value)


def test_only_what_nobody_can_write_to_is_taken_without_a_copy():
    own = np.arange(3.0)
    assert not np.shares_memory(unchanging(own), own)
    assert not np.shares_memory(unchanging(read_only(own)), own)  # its owner may still write to it
    given_over(own)
    assert unchanging(own) is own
    assert np.shares_memory(unchanging(own[1:]), own)
    assert not unchanging(np.arange(3)).flags.writeable
