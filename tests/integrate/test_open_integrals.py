"""Integrals that a box cuts off are told, by pairs with known chi²; those that end in it, or at walls, are silent."""

import math
import warnings

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import diagnostics
from wfr_pde.errors import OpenIntegralWarning


def chi_squared(target, start, grid):
    """chi² and what is said about it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        value = diagnostics.chi_squared(grid.density(start), wfr.KL(target))
    assert all(one.category is OpenIntegralWarning for one in told)
    return value, [str(one.message) for one in told]


def of_gaussians(mean, variance):
    """chi² of N(mean, variance) and N(0, 1): infinite from variance 2 on."""
    if variance >= 2:
        return math.inf
    return math.exp(mean**2 / (2 - variance)) / math.sqrt(variance * (2 - variance)) - 1


@pytest.mark.parametrize(
    ("mean", "variance"), [(0, 0.5), (1, 1), (2, 1), (0, 1.5), (5, 0.1), (1, 1.8), (0, 1.95), (3, 1.6), (0, 2), (0, 4)]
)
def test_gaussians_are_right_or_told(mean, variance):
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(mean, variance)
    value, told = chi_squared(target, start, wfr.Grid.covering(target, start, shape=300))
    expected = of_gaussians(mean, variance)
    right = value == pytest.approx(expected, rel=1e-3)
    assert right != bool(told)


@pytest.mark.parametrize("box", [None, (-3, 3), (-4, 4)])
def test_double_well_from_a_gaussian_is_infinite(box):
    """mu² / pi = exp(2 x^4 - 25 x^2 + ...) has no integral, whatever the box."""
    target, start = wfr.Potential("2*(x**2-1)**2"), wfr.Gaussian(-1, 0.04)
    grid = wfr.Grid.covering(target, start, shape=500) if box is None else wfr.Grid(*box, 500)
    _, told = chi_squared(target, start, grid)
    assert len(told) == 1
    assert "mu²/pi does not fall towards" in told[0]
    assert "max_cut=1" in told[0]


def test_two_dimensions_are_looked_at_along_each_axis():
    target, start = wfr.Gaussian([0, 0], 1), wfr.Gaussian([1, 0], [1, 2.5])
    _, told = chi_squared(target, start, wfr.Grid.covering(target, start, shape=(64, 64)))
    assert len(told) == 1
    assert "end of y" in told[0]


def beta(p, q):
    """The distribution x^(p-1) (1-x)^(q-1) on [0, 1]."""
    return wfr.Potential(lambda x: -(p - 1) * np.log(x) - (q - 1) * np.log1p(-x), support=(0.0, 1.0))


@pytest.mark.parametrize(
    ("of_start", "of_target", "expected"),
    [((2, 2), (3, 3), 0.2), ((3, 3), (2, 2), 1 / 14), ((2, 2), (4, 4), math.inf), ((8, 8), (20, 20), math.inf)],
)
def test_walls_of_the_target_are_ends(of_start, of_target, expected):
    value, told = chi_squared(beta(*of_target), beta(*of_start), wfr.Grid(0, 1, 400))
    if math.isinf(expected):  # mu²/pi goes as x^-1, x^-5
        assert "grows as 1/distance, or faster, towards the wall of x at 1" in told[0]
    else:
        assert value == pytest.approx(expected, rel=1e-3)  # powers at a wall: O(dx)
        assert not told


def test_walls_of_the_box_and_circles_are_silent():
    slope, flat = wfr.Potential("x"), wfr.Potential("0*x")
    value, told = chi_squared(slope, flat, wfr.Grid(0, 1, 200, max_cut=1))
    assert value == pytest.approx((math.e - 1) * (1 - 1 / math.e) - 1, rel=1e-4)  # of the midpoint rule
    assert not told
    assert not chi_squared(wfr.Potential("cos(x)"), flat, wfr.Grid(0, 2 * math.pi, 64, "periodic"))[1]


def test_once_a_run():
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(0, 4)
    grid = wfr.Grid.covering(target, start, shape=100)
    records = [diagnostics.chi_squared, diagnostics.log_chi_squared]
    for _ in range(2):  # what one run has said, the next says again
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            wfr.solve(target, wfr.FisherRao(), grid.density(start), np.linspace(0, 0.2, 5), 0.1, record=records)
        said = sorted(str(one.message).split()[0] for one in told)
        assert said == ["chi_squared", "log_chi_squared"]
