"""Flows that keep blocks independent, as they declare: the law in the plane less the product of two on lines."""

from __future__ import annotations

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import samplers
from wfr_pde.samplers import BirthDeath, FeynmanKac, KernelDensity, Langevin, MixtureDensity, Oracle
from wfr_pde.validation.gaussian_laws import gaussian_laws, keeps_gaussians

TARGETS = wfr.GaussianMixture([-0.8, 1.0], [0.4, 0.6], [0.4, 0.3]), wfr.Gaussian(0.3, 0.6)
STARTS = wfr.Gaussian(-0.4, 0.5), wfr.Gaussian(0.5, 0.9)
PLANE, PLANE_START = wfr.Product(TARGETS), wfr.Product(STARTS)
LINES = tuple(wfr.Grid(lower, upper, 64, max_cut=1e-5) for lower, upper in ((-5.0, 5.0), (-5.5, 5.5)))
GRID = wfr.Grid([-5.0, -5.5], [5.0, 5.5], 64, max_cut=1e-5)
TIMES, DT = [0.0, 0.4], 0.2


def laws(flows):
    """Log-densities in the plane, by the first flow, and the sum of those on the lines, by the others."""
    joint, *own = flows
    start = [one.density(law) for one, law in zip((GRID, *LINES), (PLANE_START, *STARTS), strict=True)]
    runs = [
        wfr.solve(target, flow, begin, TIMES, DT)["log_density"].values[-1]
        for target, flow, begin in zip((PLANE, *TARGETS), (joint, *own), start, strict=True)
    ]
    return runs[0], runs[1][:, None] + runs[2]


def gap(flows):
    """L1 distance of the two."""
    joint, product = laws(flows)
    return float(GRID.integrate(np.abs(np.exp(joint) - np.exp(product))))


FLOWS = [
    (Langevin(), 1e-12),
    (samplers.SMCWFR(), 1e-12),
    (samplers.SMCWFR(0.7, 1.6), 1e-12),
    (wfr.Strang(FeynmanKac(density=KernelDensity(0.4)), Langevin()), 1e-12),
    (wfr.Lie(Langevin(), FeynmanKac(density=KernelDensity())), 1e-12),
    (wfr.Lie(Langevin(), FeynmanKac(1.3, MixtureDensity())), 1e-12),
    (wfr.Lie(samplers.Resample(), wfr.Repeated(Langevin(), 2)), 1e-12),
    (wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()), 1e-10),  # of its tolerance in time, 1e-12 a step
    (wfr.Strang(wfr.FisherRao(1.4), wfr.SinkhornKernel(0.5)), 1e-10),
]


@pytest.mark.parametrize(("flow", "most"), FLOWS, ids=lambda value: repr(value)[:40])
def test_blocks_stay_independent(flow, most):
    assert flow.factorises
    assert gap([flow] * 3) < most


def test_weights_by_the_truth_factorise_with_the_truths_of_the_factors():
    times = [0, 0.05, 0.15, 0.25, 0.35, 0.4]  # the middles of half steps, so that nothing is interpolated
    truths = [
        wfr.solve(target, wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()), grid.density(start), times, 0.1)
        for target, start, grid in zip((PLANE, *TARGETS), (PLANE_START, *STARTS), (GRID, *LINES), strict=True)
    ]
    flows = [wfr.Strang(FeynmanKac(density=Oracle(truth)), Langevin()) for truth in truths]
    assert flows[0].factorises
    assert gap(flows) < 1e-10


@pytest.mark.parametrize("flow", [BirthDeath(1.0, 0.4), BirthDeath(), samplers.MALA()], ids=repr)
def test_births_deaths_and_rejections_couple_the_blocks(flow):
    """An event moves all coordinates at once, so that these flows do not declare it."""
    assert not flow.factorises
    assert not wfr.Strang(flow, Langevin()).factorises
    if flow.max_ndim > 1:
        assert gap([flow] * 3) > 1e-4


def test_a_sampler_without_a_law_declares_nothing():
    assert not samplers.SVGD().factorises
    assert not FeynmanKac(density=samplers.LogRatio()).factorises
    drift = wfr.FiniteVolume(drift=lambda points, t: -points, diffusivity=1.0)
    assert not drift.factorises


# Gaussian blocks, whose laws have moments in closed form

PI, BEGIN = wfr.Gaussian([0.3, -0.2], [[0.6, 0.2], [0.2, 0.5]]), wfr.Gaussian([-0.4, 0.5], [[0.9, -0.1], [-0.1, 0.6]])
BOX = wfr.Grid([-7.0, -7.0], [7.0, 7.0], 96)
GAUSSIAN_FLOWS = [
    Langevin(0.8),
    samplers.SMCWFR(0.7, 1.6),
    wfr.Strang(FeynmanKac(0.9, KernelDensity(0.5)), Langevin()),
    wfr.Lie(wfr.Repeated(Langevin(), 2), wfr.Lie(samplers.Resample(), FeynmanKac())),
    wfr.Strang(wfr.FisherRao(1.2), Langevin()),
]


@pytest.mark.parametrize("flow", GAUSSIAN_FLOWS, ids=lambda value: repr(value)[:40])
def test_moments_of_gaussians_are_those_on_a_grid(flow):
    assert keeps_gaussians(flow)
    law = gaussian_laws(flow, PI, BEGIN, np.array(TIMES), DT)[-1]
    density = wfr.Density.from_dataset(wfr.solve(PI, flow, BOX.density(BEGIN), TIMES, DT), -1)
    np.testing.assert_allclose(law.mean, density.mean(), atol=1e-10)
    np.testing.assert_allclose(law.covariance, density.covariance(), atol=1e-10)


def test_moments_of_gaussians_converge_to_the_exact_flow():
    """Strang of weights by the true g and the exact transport: the error falls with dt²."""
    exact = wfr.exact.gaussian_flow(PI, BEGIN, 0.4)
    flow = wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume())
    errors = [
        np.abs(gaussian_laws(flow, PI, BEGIN, np.array([0.0, 0.4]), 0.4 / n)[-1].covariance - exact.covariance).max()
        for n in (4, 8)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    oracle = wfr.Grid([-5.0, -5.0], [5.0, 5.0], 24, max_cut=1.0).density(PI)  # what it knows is asked of `truth`
    weighted = wfr.Strang(FeynmanKac(density=Oracle(oracle)), wfr.FiniteVolume())

    def truth(t):
        return wfr.exact.gaussian_flow(PI, BEGIN, t)

    errors = [
        np.abs(gaussian_laws(weighted, PI, BEGIN, np.array([0.0, 0.4]), 0.4 / n, truth)[-1].mean - exact.mean).max()
        for n in (4, 8)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_what_leaves_no_gaussian_is_refused():
    assert not keeps_gaussians(samplers.MALA())
    assert not keeps_gaussians(wfr.Lie(Langevin(), BirthDeath()))
    narrow = wfr.Gaussian(0.0, 0.01)
    flow = FeynmanKac(density=Oracle(wfr.Grid(-5.0, 5.0, 32).density(wfr.Gaussian(0.0, 1.0))))
    with pytest.raises(ValueError, match="leave no Gaussian: a precision is -"):
        gaussian_laws(flow, wfr.Gaussian(0.0, 4.0), wfr.Gaussian(0.0, 1.0), np.array([0.0, 0.5]), 0.5, lambda t: narrow)
    with pytest.raises(ValueError, match="give truth="):
        gaussian_laws(flow, wfr.Gaussian(0.0, 4.0), narrow, np.array([0.0, 0.5]), 0.5)
