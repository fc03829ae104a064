"""What densities have outside the box, where they fall by nats from cell to cell."""

import math

import numpy as np
import pytest
from scipy import integrate

import wfr_pde as wfr
from wfr_pde.truth.certified.evidence.differences import missed_by_sums
from wfr_pde.truth.certified.evidence.tails import beyond_edges


@pytest.mark.parametrize("rate", [0.1, 3.0, 7.0])
def test_an_exponential_tail_has_its_integral(rate):
    grid = wfr.Grid(0, 8, 8)
    log_values = -rate * grid.points()[..., 0] - 1.0
    outside = grid.points()[..., 0] > 4
    summed = np.sum(np.exp(log_values)[outside])
    known = math.exp(-1) * (math.exp(-4 * rate) - math.exp(-8 * rate)) / rate
    missed = missed_by_sums(grid, log_values, outside)
    assert not missed[~outside].any()
    assert summed + missed.sum() == pytest.approx(known, rel=1e-6)  # up to the smallest u


def test_in_the_plane_factors_multiply():
    grid = wfr.Grid([0, 0], [6, 6], 6)
    log_values = -grid.points() @ [2.0, 5.0]
    outside = (grid.points() > 1).all(axis=-1)  # there is a neighbour nearer to the mass along both axes
    missed = missed_by_sums(grid, log_values, outside)
    known = (math.exp(-2) - math.exp(-12)) / 2 * (math.exp(-5) - math.exp(-30)) / 5
    assert np.exp(log_values)[outside].sum() + missed.sum() == pytest.approx(known, rel=1e-6)


def test_a_steep_target_cut_by_the_box_is_in_the_bound_of_kl():
    # found by drawing: beyond the wall wide cells see a sixth of the mass, and KL was off by 1.4 times its bound
    slope, height, wave = 1.0564212928550005, 0.8020835333078118, 4.313905765874111
    target = wfr.Potential(f"{slope}*x**4 + {height}*sin({wave}*x)")
    mean, variance = -0.3332469587247324, 0.001605997865656212
    found = wfr.ground_truth(target, wfr.Gaussian(mean, variance), [0, 0.07], transport_rate=0, rtol=5.5e-7)

    def potential(x):
        return slope * x**4 + height * math.sin(wave * x)

    mass = integrate.quad(lambda x: math.exp(-potential(x)), -4, 4, epsabs=1e-14, epsrel=1e-13, limit=400)[0]
    fourth = mean**4 + 6 * mean**2 * variance + 3 * variance**2
    mean_v = slope * fourth + height * math.exp(-(wave**2) * variance / 2) * math.sin(wave * mean)
    known = mean_v - 0.5 * math.log(2 * math.pi * variance) - 0.5 + math.log(mass)
    error, bound = abs(float(found.kl[0]) - known), float(found.error_kl[0])
    assert error <= bound
    assert bound < 1e-9


def test_what_both_have_outside_changes_no_kl():
    target = wfr.Potential("x**4", ndim=1)
    found = wfr.ground_truth(target, target, [0, 0.07], transport_rate=0, rtol=1e-6)
    assert np.all(found.kl.values == 0)
    assert np.all(found.error_kl.values < 1e-12)


def test_kl_outside_is_that_of_the_edge_not_of_the_centre():
    # found by drawing: at the centre of the first cell outside, and there alone, g - 1 - KL is next to zero
    target = wfr.GaussianMixture(
        means=[0.0, 29.58270501850074],
        weights=[1 - 2.349643815419048e-06, 2.349643815419048e-06],
        covariances=[0.15015554411394041, 0.2864473494566335],
    )
    mean, variance = -0.7560727706678825, 0.0845848734987037
    found = wfr.ground_truth(target, wfr.Gaussian(mean, variance), [0, 93], transport_rate=0, rtol=3e-3)

    def integrand(x):
        log_mu = -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)
        return math.exp(log_mu) * (log_mu - float(target.log_density(np.array([[x]]))[0]))  # pi has mass one

    known = integrate.quad(integrand, mean - 4, mean + 4, points=[mean], epsabs=1e-13, epsrel=1e-13, limit=400)[0]
    assert abs(float(found.kl[0]) - known) <= float(found.error_kl[0]) < 1e-7


COMES_BACK = [
    ("x**2/2 + 1e-30*cosh(1.5*x)", "0.9*abs(x)"),
    ("(x**2 + y**2)/2 + 1e-30*cosh(1.5*x)", "0.9*abs(x) + y**2/2"),
]


@pytest.mark.parametrize(("target", "start"), COMES_BACK, ids=["line", "plane"])
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_kl_that_comes_back_beyond_the_box_is_not_stated(target, start, rate):
    """At the start it is infinite: e^(0.6 x) far out; later it is finite, and with transport not known there."""
    found = wfr.ground_truth(wfr.Potential(target), wfr.Potential(start), [0, 0.5], transport_rate=rate, rtol=1e-3)
    assert found.error_kl[0] > 1e9
    assert (found.error_kl[1] > 1e9) == (rate > 0)


def test_kl_that_falls_beyond_the_box_is_stated():
    start = wfr.Potential("0.9*sqrt(1 + x**2)")
    found = wfr.ground_truth(wfr.Potential("x**2/2"), start, [0, 0.5], rtol=1e-3)
    assert np.all(found.error_kl.values < 1e-3)


def test_where_a_function_overflows_far_out_it_says_nothing():
    """e^(-x²/2) (1 + 0.1 / cosh x), with factors that overflow: to infinity at 705, to no number beyond 710."""

    def V(x):
        with np.errstate(all="ignore"):
            return x**2 / 2 - np.log((np.cosh(x) + 0.1) * np.exp(x**2 / 700) / np.cosh(x)) + x**2 / 700

    start = wfr.Potential(V, ndim=1)
    assert start.log_density(np.array([[705.0]])) == math.inf
    assert np.isnan(start.log_density(np.array([[1e6]])))
    found = wfr.ground_truth(wfr.Gaussian(0, 1), start, [0, 0.5], rtol=1e-3)
    assert np.all(found.error_kl.values < 1e-3)


STEEP_TAILS = [
    ("cosh(sinh(x))", "1.2*cosh(sinh(x))"),
    ("0.03*exp(2*x**2)", "0.036*exp(2*x**2)"),
    ("3*exp(x**4)", "3.6*exp(x**4)"),
    ("1e-7*cosh(3*x)", "1e-7*cosh(3*x) + 0.02*x"),
]


@pytest.mark.parametrize(("target", "start"), STEEP_TAILS)
def test_mass_outside_is_seen_where_v_rises_by_many_nats_in_a_cell(target, start):
    """Sums outside see a part of it only: twice the mass outside, by panels, is the error of what is one inside."""
    start = wfr.Potential(start)
    found = wfr.ground_truth(wfr.Potential(target), start, [0, 1], transport_rate=0, rtol=0.1)
    lower, upper = (float(found.x[k] + side * found.cell_width_x[k] / 2) for k, side in ((0, -1), (-1, 1)))
    nodes, weights = np.polynomial.legendre.leggauss(20)

    def mass(low, high):
        edges = np.linspace(low, high, 801)
        half = np.diff(edges)[:, None] / 2
        x = (edges[:-1, None] + half * (1 + nodes)).ravel()
        with np.errstate(over="ignore"):
            return float((half * weights).ravel() @ np.exp(start.log_density(x[:, None])))

    inside, beyond = mass(lower, upper), mass(lower - 2, lower) + mass(upper, upper + 2)
    assert 1e-12 < 2 * beyond / inside < float(found.error_l1[0]) < 1e-6


def test_what_is_beyond_an_edge_is_told_by_the_fall_inside():
    grid = wfr.Grid(0, 5, 50)
    falls = -2 * grid.axes[0].centres
    found = beyond_edges(grid, falls)
    np.testing.assert_allclose(found[-1], np.exp(-10) / 2, rtol=1e-12)  # of exp(-2 x) beyond 5
    assert not found[:-1].any()  # it rises towards 0, which nothing inside tells the end of
