"""Compiled loops of graded axes against the same in NumPy."""

import numpy as np
import pytest

from wfr_pde.numerics.compiled.mesh_density import AT_ONCE, cells_drawn_between, mean_of_order_eight, places_in_panels

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("period", [0.0, 7.0])
@pytest.mark.parametrize("n", [1, AT_ONCE, 3 * AT_ONCE + 5])
def test_mean_of_order_eight(n, period):
    x, places, scales = RNG.uniform(-3, 4, n), RNG.uniform(-3, 4, 20), RNG.uniform(0.01, 1, 20)
    distance = x[:, None] - places
    if period > 0:
        distance = period / np.pi * np.sin(np.pi * distance / period)
    expected = np.mean((scales**2 + (0.2 * distance) ** 2) ** -4.0, axis=1) ** 0.125
    assert mean_of_order_eight(x, places, scales, 0.2, period) == pytest.approx(expected, rel=1e-13)


def test_places_where_increasing_series_take_values():
    legendre = np.polynomial.legendre.Legendre
    rates = [legendre([1, 0.5, 0.1, 0.02]), legendre([1e-3]), legendre([5, -4.9, 0.05])]
    series = np.zeros((3, 5))
    for k, rate in enumerate(rates):
        coefficients = rate.integ(lbnd=-1).coef
        series[k, : len(coefficients)] = coefficients
    panels = np.repeat([2, 0, 1], 40)
    u = np.concatenate([np.sort(RNG.uniform(-1, 1, 40)) for _ in range(3)])
    wanted = np.array([legendre(series[k])(x) for k, x in zip(panels, u, strict=True)])
    assert np.abs(places_in_panels(panels, series, wanted) - u).max() < 1e-13
    mixed = RNG.permutation(len(u))  # a place of another panel, or far away, is no beginning
    assert np.abs(places_in_panels(panels[mixed], series, wanted[mixed]) - u[mixed]).max() < 1e-13


@pytest.mark.parametrize("height", [1.0, 100.0, 1e5])
def test_cells_drawn_from_mixtures(height):
    x = np.linspace(-1, 1, 700)
    first, second = -height * (x + 0.7) ** 2, -0.5 * height * (x - 0.6) ** 2 - 30
    shares = RNG.uniform(0, 1, 50)
    s = (np.arange(50) + 0.5) / 50
    chosen = cells_drawn_between(first, second, shares)
    for k, cell in enumerate(chosen):
        logs = (1 - s[k]) * first + s[k] * second
        mass = np.cumsum(np.exp(logs - logs.max()))
        assert cell == np.searchsorted(mass, shares[k] * mass[-1])
