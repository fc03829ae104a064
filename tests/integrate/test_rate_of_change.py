"""The equation on a grid."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.integrate.rate_of_change import RateOfChange

TARGET = wfr.Gaussian(0.5, 1.0)
START = wfr.Gaussian(-2.0, 0.16)
TARGET_2D = wfr.Gaussian([0.5, 0.0], [[1.0, 0.3], [0.3, 0.6]])
START_2D = wfr.Gaussian([-1.0, 0.5], 0.25)


def exact(t, target=TARGET, start=START, rates=(1.0, 1.0)):
    return wfr.exact.gaussian_flow(target, start, float(t), *rates)


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.5, 2.0)])
@pytest.mark.parametrize("graded", [False, True])
def test_rates_of_change_are_those_of_the_closed_form(graded, rates):
    grid = wfr.Grid.covering(TARGET_2D, START_2D, shape=64, graded=graded)
    equation = RateOfChange(grid, TARGET_2D, *rates)
    t, step = 0.2, 1e-5

    def at(time):
        return grid.log_density(exact(time, TARGET_2D, START_2D, rates), checked=False)

    expected, density = (at(t + step) - at(t - step)) / (2 * step), np.exp(at(t))
    off = np.abs(equation(at(t), t) - expected)
    assert float(grid.integrate(density * off)) < 1e-7 * float(grid.integrate(density * np.abs(expected)))
    gradient = equation.gradient_size(at(t))
    score = np.linalg.norm(exact(t, TARGET_2D, START_2D, rates).score(grid.points()), axis=-1)
    assert gradient == pytest.approx(score, rel=1e-6, abs=1e-6)


def test_derivatives_around_a_circle():
    ring = wfr.Grid(0, 2 * math.pi, 48, boundary="periodic", max_cut=1)
    equation = RateOfChange(ring, wfr.Potential("-cos(x)"), 1.0, 0.0)
    flat = np.full(48, -math.log(2 * math.pi))
    x = ring.points()[:, 0]
    # g = -cos(x) + const: d_t log mu = g''; degree 8 in steps of .13: 1e-7
    assert equation(flat, 0.0) == pytest.approx(np.cos(x), abs=1e-6)
