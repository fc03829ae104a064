"""The closed form of the Fisher-Rao flow and its KL divergence against formulas, Gaussians and quadrature."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact

PRECISION = np.array([[1.0, 0.4], [0.4, 2.5]])
TARGET = wfr.Gaussian([0.5, -0.3], np.linalg.inv(PRECISION))
START = wfr.Gaussian([-2.0, 1.0], [[0.5, -0.3], [-0.3, 0.4]])  # does not commute with the target's


def test_fisher_rao_of_any_pair():
    target, start = wfr.DoubleWell(2.0), wfr.GaussianMixture([-1, 0.5], [0.5, 0.5], 0.1)
    flow = exact.fisher_rao(target, start, 0.7, rate=1.5)
    x = np.linspace(-2, 2, 7)[:, None]
    s = math.exp(-0.7 * 1.5)
    assert flow.log_density(x) == pytest.approx(s * start.log_density(x) + (1 - s) * target.log_density(x), rel=1e-14)
    assert flow.score(x) == pytest.approx(s * start.score(x) + (1 - s) * target.score(x), rel=1e-13)


@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 5.0, 20.0, 300.0])
def test_fisher_rao_kl_of_gaussians(t):
    """Down to KL = 1e-260: no digit is lost near equilibrium."""
    grid = wfr.Grid([-9, -9], [9, 9], (128, 128))
    s = exact.fisher_rao(TARGET, START, t)
    closed = exact.gaussian_kl(s, TARGET)
    if t > 10:  # the closed form itself only knows m and C to 1e-16
        d = START.mean - TARGET.mean
        gap = np.linalg.solve(START.covariance, TARGET.covariance) - np.eye(2)
        closed = math.exp(-2 * t) * (np.trace(gap @ gap) / 4 + 0.5 * _drift(d) @ TARGET.covariance @ _drift(d))
    assert exact.fisher_rao_kl(TARGET, START, t, 1.0, grid) == pytest.approx(closed, rel=1e-8 if t > 10 else 1e-10)


def _drift(d):
    return np.linalg.solve(START.covariance, d)


def test_fisher_rao_kl_is_the_kl_of_the_state():
    target, start = wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04)
    grid = wfr.Grid(-2.6, 2.6, 200)
    energy = wfr.KL(target)
    for t in (0.0, 0.01, 1.0, 3.0):
        value = energy.value(energy.fisher_rao(grid.density(start), 1.5 * t))
        assert exact.fisher_rao_kl(target, start, t, 1.5, grid) == pytest.approx(value, rel=1e-12)
