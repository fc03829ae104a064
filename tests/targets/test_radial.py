"""Radial laws and the laws of their radii."""

import math

import numpy as np
import pytest
from scipy.stats import chi, kstest

from wfr_pde.targets import Gaussian, Potential, Radial, Ring

DIMENSIONS = pytest.mark.parametrize("ndim", [1, 2, 3, 4, 10, 100])


@DIMENSIONS
def test_an_isotropic_gaussian_is_radial(ndim):
    gaussian = Gaussian(np.zeros(ndim), 2.0)
    radial = Radial.of(gaussian)
    points = np.random.default_rng(0).normal(0, 3, (20, ndim))
    np.testing.assert_allclose(radial.log_density(points), gaussian.log_density(points), rtol=1e-13)
    np.testing.assert_allclose(radial.score(points), gaussian.score(points), rtol=1e-12)
    assert radial.log_normaliser == pytest.approx(gaussian.log_normaliser, abs=1e-12 * ndim)
    np.testing.assert_allclose(radial.moments()[1], gaussian.covariance, rtol=1e-12)
    draws = radial.sample(4000, rng=8)
    assert kstest(np.linalg.norm(draws, axis=1) / math.sqrt(2), chi(ndim).cdf).pvalue > 1e-3
    assert kstest(draws[:, 0] / math.sqrt(2), "norm").pvalue > 1e-3


@pytest.mark.parametrize("ndim", [2, 3, 7])
def test_rings_agree_with_their_closed_forms(ndim):
    ring = Ring(2, 0.5, ndim)
    radial = Radial.of(ring)
    assert radial.log_normaliser == pytest.approx(ring.log_normaliser, abs=1e-12)
    np.testing.assert_allclose(radial.moments()[1], ring.moments()[1], rtol=1e-12)
    assert radial.box(1e-9)[1][0] == pytest.approx(ring.box(1e-9)[1][0], rel=0.2)


@DIMENSIONS
def test_a_shell_has_the_moments_of_the_gamma_law(ndim):
    q, a = 30, 2.5  # |x|^q e^{-a|x|²/2}: a r²/2 is gamma of shape (q + d)/2
    shell = Radial(lambda r: a * r**2 / 2 - q * np.log(r), ndim)
    table = shell.radius.table
    assert table.mean(lambda r: r**2) == pytest.approx((q + ndim) / a, rel=1e-12)
    shape = (q + ndim) / 2
    assert table.mean(lambda r: r) == pytest.approx(
        math.sqrt(2 / a) * math.exp(math.lgamma(shape + 0.5) - math.lgamma(shape)), rel=1e-12
    )


def test_kinks_of_the_profile_lie_between_panels():
    cone = Radial("abs(x - 1)", 2)  # ∫ r e^{-|r - 1|} dr = 2 + 1/e by parts
    assert cone.log_normaliser == pytest.approx(math.log(2 * math.pi * (2 + math.exp(-1))), abs=1e-11)
    assert cone.breaks([-3, -3], [3, 3]).elsewhere
    assert cone.radius.breaks([-1], [5]).places[0].tolist() == [0.0, 1.0]
    assert Radial("abs(x - 1)", 1).breaks([-3], [3]).places[0].tolist() == [-1.0, 0.0, 1.0]


def test_the_radius_asks_for_no_values_below_zero():
    def potential(r):
        assert np.all(np.real(r) > 0)
        return np.real(r) - 3 * np.log(r)

    radius = Radial(potential, 5).radius
    assert np.isneginf(radius.log_density([[-1.0], [0.0]])).all()
    assert np.isnan(radius.score([[-1.0]])).all()
    assert radius.box(1e-9)[0][0] >= 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1.0, 3), TypeError, "profile must be a function"),
        ((Gaussian([0, 0], 1), 3), ValueError, "2-dimensional"),
        (("x**2", 0), ValueError, "ndim"),
        ((Potential("x**2"), 2.5), (TypeError, ValueError), "ndim"),
    ],
)
def test_wrong_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Radial(*arguments)


def test_what_is_not_radial_is_not_taken_for_it():
    assert Radial.of(Gaussian([1.0, 0.0], 1.0)) is None
    assert Radial.of(Gaussian([0.0, 0.0], [1.0, 2.0])) is None
    assert Radial.of(Potential("x**2")) is None
