"""Kinks and jumps of functions that do not name them."""

import numpy as np
import pytest

from wfr_pde.targets.break_search import find_hyperplanes, find_kinks


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


@pytest.mark.parametrize("size", [1e8, 1e10, 1e12])
def test_noise_of_terms_that_cancel_is_no_kink(size):
    assert len(find_kinks(lambda x: x**2 / 2 + (size + x) - size, -4.0, 5.0)) == 0
    assert len(find_kinks(lambda x: x**2 / 2 + (size + np.sin(x)) - size, -4.0, 5.0)) == 0


def test_a_kink_is_found_beside_noise_that_is_smaller():
    np.testing.assert_allclose(
        find_kinks(lambda x: x**2 / 2 + (1e7 + np.abs(x - 0.3)) - 1e7, -4.0, 5.0), [0.3], atol=1e-6
    )


THROUGH = np.array([[0.5, 1.5, -0.3], [-1.1, 0.9, 0.4], [1.7, -0.8, 1.2], [-0.4, -1.9, -1.3], [2.2, 0.2, 0.8]])


@pytest.mark.parametrize(
    ("function", "places"),
    [
        (lambda p: np.abs(p[:, 0] - 0.3) + 2 * np.abs(p[:, 1] + 1 / 7), ([0.3], [-1 / 7])),
        (lambda p: (p**2).sum(axis=1) + 3 * (p[:, 1] > 0.37), ([], [0.37])),
        (lambda p: np.abs(p[:, 0]) + np.abs(p[:, 0] - 1) + np.abs(p[:, 2] - 0.7) + p[:, 1] ** 2, ([0, 1], [], [0.7])),
        (lambda p: np.exp(-(p**2).sum(axis=1)) * (1 + np.abs(p[:, 0] - 0.1)), ([0.1], [])),
        (lambda p: (p**2).sum(axis=1) / 2 + np.cos(7 * p[:, 0]), ([], [])),
    ],
)
def test_hyperplanes_are_found_along_all_lines(function, places):
    d = len(places)
    looked = []

    def counted(points):
        looked.append(len(points))
        return function(points)

    found, elsewhere = find_hyperplanes(counted, np.full(d, -4.0), np.full(d, 5.0), THROUGH[:, :d])
    for ours, theirs in zip(found, places, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8)
    assert not elsewhere
    assert sum(looked) < 1e5


@pytest.mark.parametrize(
    "function", [lambda p: np.abs(p[:, 0] - p[:, 1]), lambda p: np.maximum(p[:, 0] ** 2 + p[:, 1] ** 2, 4.0)]
)
def test_kinks_that_are_no_hyperplanes_are_elsewhere(function):
    found, elsewhere = find_hyperplanes(function, np.full(2, -4.0), np.full(2, 5.0), THROUGH[:, :2])
    assert all(len(places) == 0 for places in found)
    assert elsewhere
