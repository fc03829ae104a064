"""Kinks and jumps of functions that do not name them."""

import numpy as np
import pytest

from wfr_pde.kinks import find_kinks


@pytest.mark.parametrize(
    ("function", "places"),
    [
        (lambda x: np.abs(x - 0.3), [0.3]),
        (lambda x: x**2 / 2 + 1e-3 * np.abs(x + 1 / 7), [-1 / 7]),
        (lambda x: x**2 / 2 + 2.0 * (x > 0.37), [0.37]),
        (lambda x: np.maximum(x**2, 1.7), [-np.sqrt(1.7), np.sqrt(1.7)]),
        (lambda x: np.where(x < -1.0, -x, np.where(x < 2.0, x**2, 4 + x)), [-1.0, 2.0]),
        (lambda x: 1e6 + 10 * np.abs(x - 2.5), [2.5]),
        (lambda x: np.abs(x - 0.3) + np.abs(x - 0.31), [0.3, 0.31]),
    ],
)
def test_kinks_and_jumps_are_found(function, places):
    found = find_kinks(function, -4.0, 5.0)
    np.testing.assert_allclose(found, places, rtol=0, atol=9 * 1e-6)  # 1e-6 of the length: within a cell by far


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 0.0 * x,
        lambda x: x**2 / 2,
        lambda x: x**2 / 2 + 1e8,
        lambda x: np.sqrt(x**2 + 0.01**2),
        lambda x: x**2 / 2 + 6 * np.exp(-((x - 0.3) ** 2) / (2 * 0.02**2)),
        lambda x: -np.logaddexp(-((x + 2) ** 2) / 0.1, -((x - 2) ** 2) / 0.3),
        lambda x: np.cos(50 * x),
        lambda x: np.tanh(200 * (x - 1)),
    ],
)
def test_smooth_functions_have_none(function):
    assert len(find_kinks(function, -4.0, 5.0)) == 0


def test_a_place_where_the_function_is_infinite_is_no_kink():
    with np.errstate(divide="ignore"):
        assert len(find_kinks(lambda x: -np.log(np.abs(x - 0.123456)), -4.0, 5.0)) <= 1
