"""The closed form of the flow to the cosh double well: the solver, quadrature, its score and sampler."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact

WELL = wfr.CoshDoubleWell(0.5, k=1.2)


@pytest.mark.parametrize("well", [WELL, wfr.CoshDoubleWell(1e-5)])
def test_flow_to_the_cosh_double_well(well):
    """Mass one with its own normaliser; the transport moves one to the next."""
    grid, mu = wfr.Grid.covering(well, shape=240), exact.cosh_double_well_flow(well, 0.9, 0.7, 1.3)
    start = grid.density(exact.cosh_double_well_flow(well, 0.9, 0.0))
    flow = wfr.Extrapolated(wfr.SinkhornKernel(1.3), 8)
    ds = wfr.solve(well, flow, start, [0, 0.7], 0.0175, keep="last")
    assert wfr.metrics.l1(grid.density(mu), wfr.Density.from_dataset(ds)) < 1e-8  # the steps leave 3e-9
    assert grid.log_integrate(grid.evaluate(mu.log_density)) == pytest.approx(mu.log_normaliser, abs=1e-11)  # the box


def test_score_and_sampler_of_the_flow_to_the_cosh_double_well():
    mu = exact.cosh_double_well_flow(WELL, -0.8, 0.4)
    x = np.linspace(-2, 2, 9)[:, None]
    slope = (mu.log_density(x + 1e-5) - mu.log_density(x - 1e-5)) / 2e-5
    assert mu.score(x)[:, 0] == pytest.approx(slope, abs=1e-8)  # differences: 1e-10 of the third derivative
    n = 100_000
    below = np.mean(mu.sample(n, rng=1)[:, 0] < 0)
    expected = 0.5 + 0.4 * math.exp(-0.2) * np.mean(np.abs(np.tanh(1.2 * WELL.sample(n, rng=2))))
    assert below == pytest.approx(expected, abs=5 * 0.5 / math.sqrt(n) * 1.5)  # five standard errors of both


@pytest.mark.parametrize("eps", [0.95, 0.1, 1e-3])
def test_kl_along_the_flow_to_the_cosh_double_well(eps):
    for t in (0.0, 1.0):
        grid = wfr.Grid.covering(WELL, shape=200, tail=1e-15)
        value = wfr.KL(WELL).value(grid.density(exact.cosh_double_well_flow(WELL, eps, t, 0.7)))
        # the state knows log mu - log pi to 1e-14
        assert exact.cosh_double_well_kl(WELL, eps, t, 0.7) == pytest.approx(value, rel=1e-10)


def test_kl_along_the_flow_to_the_cosh_double_well_however_small():
    """½ eps² e^(-2 gap t) E tanh², to the last digit."""
    early, late = (exact.cosh_double_well_kl(WELL, 1e-9, t) for t in (0.0, 300.0))
    assert late == pytest.approx(early * math.exp(-300.0), rel=1e-8)  # eps² of the next term, 1e-14 in the exponent


def test_one_lie_step_to_the_cosh_double_well():
    grid, h = wfr.Grid.covering(WELL, shape=120), 0.2
    moved = exact.cosh_double_well_flow(WELL, 0.9, h, 0.7)
    expected = grid.density(exact.fisher_rao(WELL, moved, h, 1.3))
    start = grid.density(exact.cosh_double_well_flow(WELL, 0.9, 0.0))
    flow = wfr.Lie(wfr.Repeated(wfr.Extrapolated(wfr.SinkhornKernel(0.7), 8), 8), wfr.FisherRao(1.3))
    ds = wfr.solve(WELL, flow, start, [0, h], h, keep="last")
    assert wfr.metrics.l1(expected, wfr.Density.from_dataset(ds)) < 1e-9


def test_bad_input():
    with pytest.raises(TypeError, match="target must be a CoshDoubleWell"):
        exact.cosh_double_well_flow(wfr.Gaussian(0, 1), 0.5, 1.0)
    with pytest.raises(ValueError, match="eps must lie between -1 and 1, .* got 1"):
        exact.cosh_double_well_flow(WELL, 1, 1.0)
    with pytest.raises(ValueError, match="t must be >= 0, got -1"):
        exact.cosh_double_well_kl(WELL, 0.5, -1.0)
