"""Numbers of things in words: the singular where there is one."""

import pytest

from wfr_pde.numerics.counted import counted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [(0, ("run",), "0 runs"), (1, ("run",), "1 run"), (2, ("run",), "2 runs"), (1, ("axis", "axes"), "1 axis")],
)
def test_counted(number, words, expected):
    assert counted(number, *words) == expected
