"""Laws in any dimension, and radial laws, against closed forms."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.radial_law import RadialLaw


def radial_gaussian(m, cells=800):
    """A standard Gaussian in R^m by the density of its radius."""
    grid = wfr.Grid(0.0 if m < 20 else 3.0, 20.0, cells)
    r = grid.axes[0].centres
    log_norm = (m / 2 - 1) * np.log(2) + math.lgamma(m / 2)
    return RadialLaw(wfr.Density(grid, (m - 1) * np.log(r) - r**2 / 2 - log_norm), m)


@pytest.mark.parametrize("m", [1, 2, 3, 10, 100])
def test_a_radial_law_is_the_gaussian_that_it_comes_from(m):
    law, exact = radial_gaussian(m), wfr.Gaussian(np.zeros(m), 1.0)
    x = exact.sample(1000, 1)
    assert law.log_prob(x) == pytest.approx(exact.log_density(x) - exact.log_normaliser, abs=1e-10)
    assert law.score(x) == pytest.approx(exact.score(x), abs=1e-8)
    assert law.covariance() == pytest.approx(np.eye(m), abs=1e-9)
    u = law.coordinate.grid.axes[0].centres
    assert law.coordinate.values == pytest.approx(np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), abs=1e-10)
    if m > 1:
        s = np.array([0.0, 0.5, 2.0])
        assert law.log_shadow(s, 2) == pytest.approx(-(s**2) / 2 - np.log(2 * np.pi), abs=1e-9)
    if m < 20:
        assert law.log_prob(np.zeros(m)) == pytest.approx(-0.5 * m * np.log(2 * np.pi), abs=1e-9)
        assert np.abs(law.score(np.zeros(m))).max() < 1e-9


def test_draws_of_a_radial_law_have_its_moments():
    x = radial_gaussian(5).sample(40_000, 0)
    assert np.abs(np.cov(x.T) - np.eye(5)).max() < 0.05
    assert np.abs(x.mean(axis=0)).max() < 0.03


def test_a_product_of_gaussians_is_a_gaussian():
    """One on a grid, one in closed form, one by its radius: turned and shifted."""
    rng = np.random.default_rng(0)
    rotation, shift = np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.normal(size=6)
    line = wfr.Grid(-9.0, 11.0, 400).density(wfr.Gaussian(1.0, 1.0))
    pair = wfr.Gaussian([0.5, -1.0], [[1.0, 0.4], [0.4, 0.7]])
    law = ProductLaw([line, pair, radial_gaussian(3)], rotation, shift)
    covariance = np.eye(6)
    covariance[1:3, 1:3] = pair.covariance
    exact = wfr.Gaussian(shift + rotation @ [1.0, 0.5, -1.0, 0, 0, 0], rotation @ covariance @ rotation.T)
    x = law.sample(2000, 1)
    assert law.mean() == pytest.approx(exact.mean, abs=1e-9)
    assert law.covariance() == pytest.approx(exact.covariance, abs=1e-9)
    assert law.log_prob(x) == pytest.approx(exact.log_density(x) - exact.log_normaliser, abs=1e-9)
    assert law.score(x) == pytest.approx(exact.score(x), abs=1e-7)
    assert np.abs(x.mean(axis=0) - exact.mean).max() < 0.12
    assert law.outer(law.inner(x)) == pytest.approx(x)
    assert law.marginal(2).covariance[0, 0] == 0.7
    assert repr(law) == (
        "ProductLaw(d=6: a density on 400 cells, a Gaussian in 2 dimensions, a radial law in 3 dimensions)"
    )
    assert law._repr_html_().count("<tr>") == 4
    assert set(law.variables()) >= {"rotation", "factor_1_mean", "factor_2_log_density"}


def test_what_is_no_product_is_refused():
    line = wfr.Grid(-9.0, 11.0, 64).density(wfr.Gaussian(1.0, 1.0))
    with pytest.raises(ValueError, match="factors is empty"):
        ProductLaw([])
    with pytest.raises(TypeError, match=r"factors\[1\] must be a Density, a Gaussian or a RadialLaw"):
        ProductLaw([line, wfr.DoubleWell(2.0)])
    with pytest.raises(ValueError, match=r"factors\[0\] has mass 2.71828, not one"):
        ProductLaw([wfr.Density(line.grid, line.log_values + 1)])
    with pytest.raises(ValueError, match="rotation must be orthogonal"):
        ProductLaw([line, line], rotation=[[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="one of the distance r >= 0"):
        RadialLaw(line, 3)
    with pytest.raises(ValueError, match="last axis must have length 2"):
        ProductLaw([line, line]).log_prob([1.0, 2.0, 3.0])
