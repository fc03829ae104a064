"""Weighted diffusions by characteristics and the heat kernel, against closed forms."""

import math

import numpy as np
import pytest
from linear_drift import B0, COVARIANCE, MEAN, Q1, Q2, A, D, T, errors, linear, quadratic, solved, weighted_gaussian
from scipy.linalg import expm

import wfr_pde as wfr


@pytest.mark.parametrize(
    ("n", "order", "steps", "rate", "most_l1", "most_relative"),
    [
        (64, 2, 4, None, 1.3e-3, 0.2),
        (96, 4, 4, None, 1.5e-6, 1.5e-4),
        (64, 8, 2, None, 1e-10, 9e-9),
        (64, 8, 2, quadratic, 3.3e-10, 3e-8),
        (64, 2, 4, quadratic, 3.1e-3, 0.3),
    ],
)
def test_a_gaussian_under_a_drift_that_is_no_gradient(n, order, steps, rate, most_l1, most_relative):
    grid = wfr.Grid([-7, -7], [7, 7], n)
    flow = wfr.Advected(linear, D, rate)
    flow = flow if order == 2 else wfr.Extrapolated(flow, order)
    density = solved(flow, grid.density(wfr.Gaussian(MEAN, COVARIANCE)), T, T / steps)
    weighted = {} if rate is None else {"q": Q1, "Q": Q2}
    exact, log_mass = weighted_gaussian(A, B0, D, T, **weighted)
    l1, relative = errors(density, exact)
    assert l1 < most_l1
    assert relative < most_relative
    assert abs(density.log_mass - log_mass) < (most_l1 if rate else 1e-6)


def test_tails_of_a_noised_mixture_are_right_to_two_hundred_nats():
    data, a = wfr.GaussianMixture([[-1.0], [1.0]], [0.3, 0.7], 0.36), math.exp(-T)
    exact = wfr.GaussianMixture([[-a], [a]], [0.3, 0.7], 0.36 * a**2 + 1 - a**2)
    start = wfr.Grid(-20, 20, 900).density(data)
    density = solved(wfr.Extrapolated(wfr.Advected(lambda x, t: -x, 1.0), 8), start, T, T / 12)
    l1, relative = errors(density, exact, nats=math.inf)
    assert l1 < 5.5e-12
    assert relative < 2e-11
    assert np.ptp(density.log_values) > 212


def test_a_rotation_about_an_equilibrium_moves_nothing():
    target = wfr.GaussianMixture([[-1, 0], [1, 0.3]], [0.4, 0.6], 0.5)

    def rotating(points, t):
        score = target.score(points)
        return score + 4 * np.stack([score[..., 1], -score[..., 0]], axis=-1)

    start = wfr.Grid([-5, -5], [5, 5], 50).density(target)
    wrong = [
        errors(solved(flow, start, 0.1, 0.1), target)[0]
        for flow in (wfr.Advected(rotating, 1.0), wfr.Extrapolated(wfr.Advected(rotating, 1.0), 4))
    ]
    assert wrong[0] < 1e-2
    assert wrong[1] < 1e-3


def test_diffusion_along_velocities_alone():
    """The kinetic Langevin equation in the potential x², by a diffusivity of (0, friction)."""
    matrix, friction = np.array([[0, 1], [-2, -1.5]]), 1.5
    grid = wfr.Grid([-7, -7], [7, 7], 72)
    flow = wfr.Extrapolated(wfr.Advected(lambda p, t: p @ matrix.T, [0, friction]), 8)
    density = solved(flow, grid.density(wfr.Gaussian(MEAN, COVARIANCE)), 1.0, 0.25)
    exact, _ = weighted_gaussian(matrix, 0 * B0, [0, friction], 1.0)
    assert errors(density, exact)[0] < 3.5e-10


@pytest.mark.parametrize(("order", "steps", "most"), [(2, 10, 4.6e-4), (4, 5, 8.95e-6), (8, 5, 6e-10)])
def test_a_periodic_axis(order, steps, most):
    """Against the matrix exponential of a Fourier method."""
    n, diffusivity, t = 128, 0.3, 2.0
    x = 2 * np.pi * (np.arange(n) + 0.5) / n
    k = np.fft.fftfreq(n, 1 / n)
    transform = np.fft.fft(np.eye(n), axis=0)
    derivative = np.real(np.linalg.solve(transform, np.where(np.abs(k) == n / 2, 0, 1j * k)[:, None] * transform))
    generator = -derivative @ np.diag(1 + np.sin(x) / 2) + diffusivity * derivative @ derivative
    coefficients = np.fft.fft(expm(t * generator) @ (1 + np.cos(x) / 2) / (2 * np.pi)) / n
    grid = wfr.Grid(0, 2 * np.pi, 80, boundary="periodic")
    exact = np.real(np.exp(1j * np.outer(grid.axes[0].centres - x[0], k)) @ coefficients)
    flow = wfr.Advected(lambda points, t: 1 + np.sin(points) / 2, diffusivity)
    flow = flow if order == 2 else wfr.Extrapolated(flow, order)
    density = solved(flow, grid.density(wfr.Potential("-log(1 + cos(x)/2)")), t, t / steps)
    assert float(grid.integrate(np.abs(density.values - exact))) < most


LINE = wfr.Grid(-8, 8, 128).density(wfr.Gaussian(0, 1))


@pytest.mark.parametrize(
    ("drift", "diffusivity", "error", "words"),
    [
        (lambda x, t: -8 * np.sin(3 * x), 0.0, wfr.NumericalError, "characteristics cross between the cells|the mass"),
        (lambda x, t: 0 * x + 5, 0.5, wfr.NumericalError, "does not keep the mass.* a wider box"),
        (lambda x, t: x[..., 0], 0.5, ValueError, "the drift must return one vector per point"),
        (lambda x, t: np.where(x > 3, np.nan, -x), 0.5, ValueError, r"the drift is nan at x=\[3.0625\], t="),
        (lambda x, t: -1e3 * x, 0.5, wfr.NumericalError, "too steep or not finite there; use a smaller dt"),
        (lambda x, t: x**3, 0.5, wfr.NumericalError, "does not keep the mass"),
        (lambda x, t: -x, 0.01, ValueError, "too small for Advected.* from 1.17188 on"),
        (lambda x, t: -x, lambda t: 0.01, ValueError, "cells of 0.125 resolve .* a larger dt or a finer grid"),
        (lambda x, t: -x, lambda t: 1 - 20 * t, ValueError, r"diffusivity at t=.* must be finite and >= 0"),
        (lambda x, t: -x, [1.0, 1.0], ValueError, r"one for each of 1 axes, got shape \(2,\)"),
    ],
)
def test_wrong_coefficients_and_masses_that_leak(drift, diffusivity, error, words):
    with pytest.raises(error, match=words):
        wfr.solve(None, wfr.Advected(drift, diffusivity), LINE, [0, 1, 2], 0.1)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="drift"):
        wfr.Advected(3.0, 1.0).splitting  # noqa: B018
    with pytest.raises(ValueError, match="finite and >= 0 along every axis, got -1"):
        wfr.Advected(lambda x, t: -x, -1.0)
    graded = wfr.Grid(-8, 8, 128).graded(wfr.Gaussian(0, 0.1)).density(wfr.Gaussian(0, 1))
    with pytest.raises(ValueError, match="needs equal cells"):
        wfr.solve(None, wfr.Advected(lambda x, t: -x, 1.0), graded, [0, 1], 0.1)


def test_the_mass_is_recorded_and_goes_through_disk(tmp_path):
    """d log Z = E c dt; a run that goes on from disk has the same bits, and one of another drift is refused."""
    flow = wfr.Strang(wfr.FisherRao(0.5), wfr.Advected(lambda x, t: -x, 1.0, lambda x, t: 0.3 + 0 * x[..., 0]))
    target, times = wfr.Gaussian(0, 1), [0, 0.2, 0.4]
    ds = wfr.solve(target, flow, LINE, times, 0.1, out=tmp_path / "run")
    assert ds["log_mass"].values == pytest.approx([0, 0.06, 0.12], abs=1e-9)
    assert ds["log_mass"].attrs["units"] == "nats"
    again = wfr.solve(target, flow, LINE, times, 0.1, out=tmp_path / "run")
    assert np.array_equal(ds["log_mass"], again["log_mass"])
    assert wfr.Density.from_dataset(ds, 1).log_mass == pytest.approx(0.06, abs=1e-9)
    other = wfr.Strang(wfr.FisherRao(0.5), wfr.Advected(lambda x, t: -2 * x, 1.0, lambda x, t: 0.3 + 0 * x[..., 0]))
    with pytest.raises(ValueError, match="another run|other|differ"):
        wfr.solve(target, other, LINE, times, 0.1, out=tmp_path / "run")


def test_a_drift_in_single_precision():
    """Its rounding is not amplified by the differences."""
    flow = wfr.Advected(lambda x, t: (-x).astype(np.float32), 1.0)
    density = solved(flow, LINE, 0.5, 0.05)
    assert errors(density, wfr.Gaussian(0, 1))[0] < 1e-3
    assert abs(density.log_mass) < 1e-5
