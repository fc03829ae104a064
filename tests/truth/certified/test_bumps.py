"""Bumps of less than half a nat, which are narrower than the points of quadrature in a cell."""

import math

import numpy as np
import pytest

import wfr_pde as wfr

PLACE = 0.31234


def text(height, width, variable="x"):
    return f"{height}*exp(-(({variable} - {PLACE})/{width})**2)"


def integral(log_density, width):
    """By panels of eight points that end about the bump, and resolve it."""
    ends = np.unique(np.concatenate([np.linspace(-12, 12, 2001), PLACE + width * np.linspace(-12, 12, 501)]))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(ends)[:, None] / 2
    return float(np.sum(half * weights * np.exp(log_density(ends[:-1, None] + half * (1 + nodes)))))


def reaction(height, width, t, mean=0.3, variance=0.64):
    """The logarithm of mu_0^s pi^(1-s), s = e^-t, normalised, from a Gaussian to x²/2 and a bump."""
    share = math.exp(-t)

    def log_density(x):
        v = x**2 / 2 + height * np.exp(-(((x - PLACE) / width) ** 2))
        return -share * (x - mean) ** 2 / (2 * variance) - (1 - share) * v

    log_mass = math.log(integral(log_density, width))
    return lambda x: log_density(x) - log_mass


def function(height, width):
    return lambda x: x**2 / 2 + height * np.exp(-(((x - PLACE) / width) ** 2))


@pytest.mark.parametrize(
    ("height", "width", "rtol"),
    [
        (0.4, 1e-4, 1e-3),
        (0.4, 1e-4, 1e-6),
        (-0.3, 1e-5, 1e-6),
        (0.4, 1e-3, 1e-8),
        (0.01, 1e-4, 1e-8),
        (0.4, 1e-2, 1e-8),
    ],
)
@pytest.mark.parametrize("kind", ["text", "function"])
def test_a_bump_of_the_target_is_resolved_where_it_matters(kind, height, width, rtol):
    target = wfr.Potential("x**2/2 + " + text(height, width) if kind == "text" else function(height, width))
    start = wfr.Gaussian(0.3, 0.64)
    truth = wfr.ground_truth(target, start, [0, 0.5, 2], rtol=rtol, transport_rate=0.0)
    far = int(np.argmin(np.abs(truth.x.values - 0.9)))  # off the bump: all that is wrong is the mass
    for k, t in enumerate([0, 0.5, 2]):
        right = float(np.exp(reaction(height, width, t)(truth.x.values[far])))
        # a mass that is off by a share e is an L1 error of e
        error = abs(math.exp(truth.log_density.values[k, far]) / right - 1)
        assert error <= float(truth.error_l1.values[k]) + 1e-13


def test_text_shows_what_is_narrower_than_any_place_that_is_looked_at():
    truth = wfr.ground_truth(
        wfr.Potential("x**2/2 + " + text(0.4, 1e-6)), wfr.Gaussian(0.3, 0.64), [0, 2], rtol=1e-8, transport_rate=0.0
    )
    far = int(np.argmin(np.abs(truth.x.values - 0.9)))
    right = float(np.exp(reaction(0.4, 1e-6, 2)(truth.x.values[far])))
    assert abs(math.exp(truth.log_density.values[1, far]) / right - 1) <= float(truth.error_l1.values[1])


def test_a_bump_of_the_start_is_resolved():
    start = wfr.Potential("x**2/2 + " + text(-0.4, 1e-4))
    truth = wfr.ground_truth(wfr.Gaussian(0, 1), start, [0, 1], rtol=1e-6, transport_rate=0.0)
    far = int(np.argmin(np.abs(truth.x.values - 0.9)))
    right = float(np.exp(reaction(-0.4, 1e-4, math.inf)(truth.x.values[far])))
    assert abs(math.exp(truth.log_density.values[0, far]) / right - 1) <= float(truth.error_l1.values[0])


def test_with_transport_the_equilibrium_has_the_mass_of_the_bump():
    target = wfr.Potential("x**2/2 + " + text(0.4, 1e-4))
    truth = wfr.ground_truth(target, wfr.Gaussian(0.3, 0.64), [0, 40], rtol=1e-5)
    far = int(np.argmin(np.abs(truth.x.values - 0.9)))
    right = float(np.exp(reaction(0.4, 1e-4, math.inf)(truth.x.values[far])))
    assert abs(math.exp(truth.log_density.values[1, far]) / right - 1) <= float(truth.error_l1.values[1])


@pytest.mark.parametrize("width", [1e-3, 1e-6])
@pytest.mark.parametrize("variable", ["x", "(x + y)/1.4142135623730951"])
def test_in_the_plane_a_ridge_that_is_narrower_than_the_points_is_part_of_the_bound(variable, width):
    target = wfr.Potential("(x**2 + y**2)/2 + " + text(0.4, width, variable))
    start = wfr.Gaussian([0.3, 0.0] if variable == "x" else [0.3 / math.sqrt(2)] * 2, 0.64)
    truth = wfr.ground_truth(target, start, [0, 2], rtol=1e-3, transport_rate=0.0, strict=False)
    x, y = truth.x.values, truth.y.values
    i, j = np.argmin(np.abs(x - 0.9)), np.argmin(np.abs(y - 0.2))
    u, v = (x[i], y[j]) if variable == "x" else ((x[i] + y[j]) / math.sqrt(2), (x[i] - y[j]) / math.sqrt(2))
    right = np.exp(reaction(0.4, width, 2)(u) + reaction(0, 1, 2, mean=0)(v))
    error = abs(math.exp(truth.log_density.values[1, i, j]) / right - 1)
    assert error <= float(truth.error_l1.values[1]) < 0.1


def test_nothing_is_seen_where_nothing_is():
    truth = wfr.ground_truth(wfr.Potential(function(0, 1)), wfr.Gaussian(0.3, 0.64), [0, 1], rtol=1e-8)
    assert truth.sizes["x"] < 400
    assert float(truth.error_l1.values[1]) < 1e-9


def test_a_bump_where_only_a_mixture_of_start_and_target_has_mass_is_seen():
    """Half of the way from N(20, 1) to N(0, 1) by reaction alone the mass is about 10, where neither has any."""
    place, width, t = 10.01, 1e-3, math.log(2)
    target = wfr.Potential(f"x**2/2 + 0.4*exp(-((x - {place})/{width})**2)")
    truth = wfr.ground_truth(target, wfr.Gaussian(20, 1), [0, t], rtol=1e-6, transport_rate=0.0)

    def log_density(x):
        return -((x - 10) ** 2) / 2 - 0.2 * np.exp(-(((x - place) / width) ** 2))

    ends = np.unique(np.concatenate([np.linspace(0, 20, 1001), place + width * np.linspace(-10, 10, 201)]))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(ends)[:, None] / 2
    mass = float(np.sum(half * weights * np.exp(log_density(ends[:-1, None] + half * (1 + nodes)))))
    far = int(np.argmin(np.abs(truth.x.values - 9.0)))
    right = math.exp(log_density(truth.x.values[far])) / mass
    assert abs(math.exp(truth.log_density.values[1, far]) / right - 1) <= float(truth.error_l1.values[1])


def test_a_bump_of_the_start_that_is_not_resolved_counts_with_transport_too():
    """N(0, 1) with a bump under transport alone towards N(0, 1): off the bump the density stays low by its mass."""
    start, width = wfr.Potential("x**2/2 + " + text(0.4, 1e-3)), 1e-3
    truth = wfr.ground_truth(start=start, target=wfr.Gaussian(0, 1), t=[0, 0.01], rtol=1e-1, reaction_rate=0.0)
    far = int(np.argmin(np.abs(truth.x.values + 2.5)))  # the mass of the bump does not get there by then
    right = math.exp(-(truth.x.values[far] ** 2) / 2) / integral(lambda x: -function(0.4, width)(x), width)
    for k in range(2):
        assert abs(math.exp(truth.log_density.values[k, far]) / right - 1) <= float(truth.error_l1.values[k])
