"""Closed forms of Gaussians and mixtures against step-by-step maps, moment equations and high precision."""

import math
import warnings

import mpmath
import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact

PRECISION = np.array([[1.0, 0.4], [0.4, 2.5]])
TARGET = wfr.Gaussian([0.5, -0.3], np.linalg.inv(PRECISION))
START = wfr.Gaussian([-2.0, 1.0], [[0.5, -0.3], [-0.3, 0.4]])  # does not commute with the target's
RATES = {"WFR": (0.7, 1.3), "W": (0.7, 0.0), "FR": (0.0, 1.3), "nearly FR": (1e-9, 1.3), "nearly W": (0.7, 1e-9)}
HALVES = {"W-FR": ("WF", 1), "FR-W": ("FW", 1), "W-FR-W": ("WFW", 0.5), "FR-W-FR": ("FWF", 0.5)}


@pytest.fixture(params=RATES.values(), ids=RATES.keys())
def rates(request):
    return request.param


def difference(p, q):
    """Of means and covariances, relative to their size."""
    mean = np.abs(p.mean - q.mean).max() / max(1.0, np.abs(q.mean).max())
    return max(mean, np.abs(p.covariance - q.covariance).max() / np.abs(q.covariance).max())


def function_of(matrix, function):
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * function(eigenvalues)) @ vectors.T


def transported(g, x):
    """One transport step with the exponents x(a): e^(-x(A)) in place of the flow."""
    decay = function_of(PRECISION, lambda a: np.exp(-x(a)))
    covariance = TARGET.covariance + decay @ (g.covariance - TARGET.covariance) @ decay
    return wfr.Gaussian(TARGET.mean + decay @ (g.mean - TARGET.mean), (covariance + covariance.T) / 2)


def reacted(g, time):
    """Precisions, and precisions times means, are averaged."""
    s = math.exp(-time)
    inverse = np.linalg.inv(g.covariance)
    covariance = np.linalg.inv(s * inverse + (1 - s) * PRECISION)
    mean = covariance @ (s * inverse @ g.mean + (1 - s) * PRECISION @ TARGET.mean)
    return wfr.Gaussian(mean, (covariance + covariance.T) / 2)


def published(g, t, alpha, beta):
    """The form with S_0 = C_0^-1 - A: as in arXiv:2511.18060, (3.1)-(3.6), without their singularity."""
    gm = alpha * PRECISION + beta / 2 * np.eye(2)
    z = alpha * np.linalg.inv(gm) @ (np.eye(2) - function_of(gm, lambda x: np.exp(-2 * x * t)))
    e = function_of(gm, lambda x: np.exp(-x * t))
    s0 = np.linalg.inv(g.covariance) - PRECISION
    s = e @ s0 @ np.linalg.inv(np.eye(2) + z @ s0) @ e
    covariance = np.linalg.inv(PRECISION + s)
    inner = np.linalg.solve(np.eye(2) + s0 @ z, np.linalg.solve(g.covariance, g.mean - TARGET.mean))
    return wfr.Gaussian(TARGET.mean + math.exp(-beta * t / 2) * covariance @ e @ inner, (covariance + covariance.T) / 2)


@pytest.mark.parametrize("t", [1e-6, 0.3, 2.0, 20.0])
def test_flow_is_the_published_one(rates, t):
    assert difference(exact.gaussian_flow(TARGET, START, t, *rates), published(START, t, *rates)) < 1e-13


@pytest.mark.parametrize("t", [0.01, 0.5, 3.0])
def test_flow_solves_the_moment_equations(rates, t):
    by_ode = exact.gaussian_flow_by_ode(TARGET, START, t, *rates)
    assert difference(exact.gaussian_flow(TARGET, START, t, *rates), by_ode) < 1e-12  # of the integrator


def test_flow_has_no_singular_covariance(rates):
    """A start with the target's variance in one direction, and with all of it."""
    for covariance in (np.diag([TARGET.covariance[0, 0], 0.1]), TARGET.covariance):
        start = wfr.Gaussian([-2, 1], covariance)
        flow = exact.gaussian_flow(TARGET, start, 0.4, *rates)
        assert difference(flow, exact.gaussian_flow_by_ode(TARGET, start, 0.4, *rates)) < 1e-12
    assert difference(flow, wfr.Gaussian(flow.mean, TARGET.covariance)) < 1e-14


def test_flow_is_a_semigroup_with_the_target_as_fixed_point(rates):
    half = exact.gaussian_flow(TARGET, START, 0.3, *rates)
    twice = exact.gaussian_flow(TARGET, half, 0.5, *rates)
    assert difference(twice, exact.gaussian_flow(TARGET, START, 0.8, *rates)) < 1e-13
    assert difference(exact.gaussian_flow(TARGET, TARGET, 0.8, *rates), TARGET) < 1e-14
    assert difference(exact.gaussian_flow(TARGET, START, 1e4, *rates), TARGET) < 1e-5  # the nearly FR flow is 1e-9 W


def test_only_the_product_of_rates_and_time_matters():
    assert (
        difference(exact.gaussian_flow(TARGET, START, 0.6, 0.5, 2.0), exact.gaussian_flow(TARGET, START, 0.3, 1, 4))
        < 1e-14
    )


def test_flow_without_rates_or_time_stays():
    assert exact.gaussian_flow(TARGET, START, 3.0, 0.0, 0.0) is START
    assert exact.gaussian_flow(TARGET, START, 0.0) is START
    assert exact.gaussian_split(TARGET, START, 0.1, 0, "W-FR") is START


def test_flow_at_several_times():
    times = np.array([0.0, 0.5, 1.0])
    flows = exact.gaussian_flow(TARGET, START, times)
    assert [difference(g, exact.gaussian_flow(TARGET, START, t)) for g, t in zip(flows, times, strict=True)] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("variance", [1e-12, 1e-4, 1.0, 1e4, 1e12])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1e-3, 10.0)])
def test_flow_keeps_its_digits_for_every_ratio_of_variances(variance, rates):
    """Against 60 digits of the same law, from a start e^-(5e9) to e^-(5e-11) high at the target's mode."""
    alpha, beta = map(mpmath.mpf, rates)
    with mpmath.workdps(60):
        for t in (1e-6, 0.3, 5.0):
            c, m = mpmath.mpf(variance), mpmath.mpf(-100)
            g, a = alpha + beta / 2, mpmath.mpf(1)
            e, s0 = mpmath.exp(-2 * g * t), 1 / c - a
            z = alpha / g * (1 - e)
            ct = 1 / (a + e * s0 / (1 + z * s0))
            mt = mpmath.exp(-beta * t / 2) * ct * mpmath.sqrt(e) / (1 + s0 * z) / c * m
            flow = exact.gaussian_flow(wfr.Gaussian(0, 1), wfr.Gaussian(-100, variance), t, *rates)
            assert flow.covariance[0, 0] == pytest.approx(float(ct), rel=2e-14)
            assert flow.mean[0] == pytest.approx(float(mt), rel=2e-14)


def test_long_fisher_rao_flows_do_not_underflow():
    flow = exact.gaussian_flow(TARGET, START, 3000.0, 0.0, 1.0)  # e^-3000
    assert difference(flow, TARGET) < 1e-14


@pytest.mark.parametrize("transport", ["exact", "sinkhorn"])
@pytest.mark.parametrize("scheme", exact.SCHEMES)
def test_split_is_its_steps_one_by_one(scheme, transport, rates):
    alpha, beta = rates
    dt, n = 0.23, 5
    parts, outer = HALVES[scheme]
    state = START
    for _ in range(n):
        for k, part in enumerate(parts):
            h = dt if k == 1 and len(parts) == 3 else dt * outer
            if part == "W":
                law = np.arcsinh if transport == "sinkhorn" else np.asarray
                state = transported(state, lambda a, h=h, law=law: law(alpha * a * h))
            else:
                state = reacted(state, beta * h)
    closed = exact.gaussian_split(
        TARGET, START, dt, n, scheme, transport_rate=alpha, reaction_rate=beta, transport=transport
    )
    assert difference(closed, state) < 2e-14


@pytest.mark.parametrize(("scheme", "order"), list(zip(exact.SCHEMES, (1, 1, 2, 2), strict=True)))
def test_order_of_a_split(scheme, order):
    rates = {"transport_rate": 0.7, "reaction_rate": 1.3}
    truth = exact.gaussian_flow(TARGET, START, 1.0, **rates)
    for transport in exact.TRANSPORTS:
        n = [200, 400]
        errors = [
            difference(exact.gaussian_split(TARGET, START, 1 / k, k, scheme, **rates, transport=transport), truth)
            for k in n
        ]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.02)  # the next term is O(dt) = 0.005


def test_kl_of_gaussians_is_the_integral():
    grid = wfr.Grid.covering(START, TARGET, shape=(140, 140))
    assert exact.gaussian_kl(START, TARGET) == pytest.approx(wfr.KL(TARGET).value(grid.density(START)), rel=1e-10)
    assert exact.gaussian_kl(TARGET, TARGET) == 0


@pytest.mark.parametrize("e", [0.3, 1e-3, 1e-7])
def test_kl_of_nearly_equal_gaussians(e):
    """½ (e - log(1 + e) + e²) for N(e, 1 + e) and N(0, 1); e is known to 1e-16 in 1 + e."""
    with mpmath.workdps(50):
        x = mpmath.mpf(float(1 + e) - 1)
        value = float((x - mpmath.log1p(x) + mpmath.mpf(e) ** 2) / 2)
    assert exact.gaussian_kl(wfr.Gaussian(e, 1 + e), wfr.Gaussian(0, 1)) == pytest.approx(value, rel=1e-14)


def test_mixture_moves_to_a_mixture():
    mixture = wfr.GaussianMixture([[-2.0, 1.0], [1.0, 0.0]], [0.3, 0.7], [START.covariance, 0.2 * np.eye(2)])
    moved = exact.mixture_transport(TARGET, mixture, 0.4, rate=0.7)
    for before, after in zip(mixture.components, moved.components, strict=True):
        assert difference(after, transported(before, lambda a: 0.7 * 0.4 * a)) < 1e-14
    assert np.array_equal(moved.weights, mixture.weights)
    assert difference(exact.mixture_transport(TARGET, mixture, 500.0).component(0), TARGET) < 1e-14
    with pytest.raises(TypeError, match="must be a GaussianMixture"):
        exact.mixture_transport(TARGET, START, 0.4)


def test_fisher_rao_of_gaussians_is_a_gaussian():
    assert difference(exact.fisher_rao(TARGET, START, 0.7, 1.5), reacted(START, 0.7 * 1.5)) < 1e-14


def test_moving_target_by_ode():
    """A target N(vt, 1) and alpha alone: the lag (v/alpha)(1 - e^-alpha t), the variance as if it stood."""
    moving = exact.gaussian_flow_by_ode(lambda t: wfr.Gaussian(0.8 * t, 1.0), wfr.Gaussian(0, 0.5), 1.5, 2.0, 0.0)
    assert moving.mean[0] == pytest.approx(0.8 * 1.5 - 0.4 * -math.expm1(-3.0), rel=1e-12)
    assert moving.covariance[0, 0] == pytest.approx(1 - 0.5 * math.exp(-6.0), rel=1e-12)


def test_moving_target_has_a_clock():
    path = wfr.GeometricPath(START, TARGET)
    half = exact.gaussian_flow_by_ode(path, START, 0.4)
    whole = exact.gaussian_flow_by_ode(path, START, 1.0)
    assert difference(exact.gaussian_flow_by_ode(path, half, 1.0, start_time=0.4), whole) < 1e-12


def test_bad_input():
    one = wfr.Gaussian(0, 1)
    with pytest.raises(ValueError, match="target is 2-dimensional, but start is 1-dimensional"):
        exact.gaussian_flow(TARGET, one, 1.0)
    with pytest.raises(TypeError, match="target must be a Gaussian"):
        exact.gaussian_flow(wfr.DoubleWell(1.0), one, 1.0)
    with pytest.raises(ValueError, match="t must be >= 0, got -1"):
        exact.gaussian_flow(one, one, -1.0)
    with pytest.raises(ValueError, match="rate >= 0"):
        exact.gaussian_flow(one, one, 1.0, reaction_rate=-2)
    with pytest.raises(ValueError, match="scheme must be one of 'W-FR', .* got 'FR'"):
        exact.gaussian_split(one, one, 0.1, 1, "FR")
    with pytest.raises(ValueError, match="transport must be one of"):
        exact.gaussian_split(one, one, 0.1, 1, "W-FR", transport="euler")
    with pytest.raises(ValueError, match="dt must be positive, got 0"):
        exact.gaussian_split(one, one, 0.0, 1, "W-FR")
    with pytest.raises(ValueError, match="n_steps must be a whole number"):
        exact.gaussian_split(one, one, 0.1, 1.5, "W-FR")


def test_after_a_time_that_overflows_the_flow_is_at_the_target():
    for variance in (1.0, 1e-10):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            late = exact.gaussian_flow(wfr.Gaussian(0, variance), wfr.Gaussian(1, 0.5), 1e308)
        assert late.mean[0] == 0.0
        assert late.covariance[0, 0] == pytest.approx(variance, rel=1e-14)
