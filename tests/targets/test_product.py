"""Products of distributions, turned and shifted, and how Gaussian mixtures split into them."""

import numpy as np
import pytest

from wfr_pde.targets import (
    DoubleWell,
    FourModes,
    Gaussian,
    GaussianMixture,
    GeometricPath,
    Potential,
    Product,
    Radial,
    Ring,
)


def rotation(ndim, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(ndim, ndim)))[0]


def up_to_a_constant(one, other, points, tolerance=1e-9):
    gap = one.log_density(points) - other.log_density(points)
    np.testing.assert_allclose(gap, gap[0], atol=tolerance)


def test_a_product_of_gaussians_is_a_gaussian():
    q, shift = rotation(5), np.arange(5.0)
    inner = np.zeros((5, 5))
    inner[:2, :2], inner[2:, 2:] = [[1, 0.5], [0.5, 2]], np.diag([0.1, 3, 1])
    product = Product([Gaussian([1, 2], inner[:2, :2]), Gaussian([0, 0, 1], inner[2:, 2:])], q, shift)
    whole = Gaussian(shift + q @ [1, 2, 0, 0, 1], q @ inner @ q.T)
    points = np.random.default_rng(1).normal(0, 3, (20, 5))
    np.testing.assert_allclose(product.log_density(points), whole.log_density(points), atol=1e-10)
    np.testing.assert_allclose(product.score(points), whole.score(points), atol=1e-9)
    np.testing.assert_allclose(product.moments()[0], whole.mean, atol=1e-12)
    np.testing.assert_allclose(product.moments()[1], whole.covariance, atol=1e-12)
    assert product.log_normaliser == pytest.approx(whole.log_normaliser, abs=1e-12)
    draws = product.sample(20_000, rng=3)
    np.testing.assert_allclose(draws.mean(axis=0), whole.mean, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), whole.covariance, atol=0.15)


def test_plain_products_in_products_give_their_factors():
    wells = Product([DoubleWell(2)] * 2)
    assert Product([wells, wells]).factors == (DoubleWell(2),) * 4
    turned = Product([DoubleWell(2)] * 2, rotation(2))
    assert Product([turned, DoubleWell(2)]).factors == (turned, DoubleWell(2))


def test_the_box_holds_the_mass_and_breaks_are_where_they_are():
    product = Product([Gaussian(0, 1), Potential("abs(x)")], shift=[3.0, -1.0])
    lower, upper = product.box(1e-6)
    assert lower[0] < 3 - 4.7
    assert upper[0] > 3 + 4.7
    assert product.breaks(lower, upper).places[1].tolist() == [-1.0]
    turned = Product([Gaussian(0, 1), Potential("abs(x)")], rotation(2))
    assert turned.breaks(lower, upper).elsewhere
    draws = Product([Gaussian(0, 1), Gaussian(0, 9)], rotation(2)).sample(1000, rng=0)
    lower, upper = Product([Gaussian(0, 1), Gaussian(0, 9)], rotation(2)).box(1e-9)
    assert np.all((draws > lower) & (draws < upper))


MIXTURES = {  # the dimension of the coupled block, and the law
    "two modes": (1, GaussianMixture(np.random.default_rng(0).normal(size=(2, 20)), [0.3, 0.7], 0.04)),
    "three modes": (2, GaussianMixture(np.random.default_rng(1).normal(size=(3, 9)), [1, 2, 3], 0.2)),
    "on a line": (1, GaussianMixture(np.outer([-1, 0, 2], np.ones(7)), [1, 2, 3], 0.2)),
    "generic covariance": (
        6,
        GaussianMixture(np.random.default_rng(2).normal(size=(2, 6)), [1, 1], [np.diag([1, 2, 3, 4, 5, 6.0])] * 2),
    ),
    "invariant line": (
        1,
        GaussianMixture([[0, 0, 0, 0], [0, 0, 3, 0]], [1, 1], [[1, 2, 3, 4]] * 2),
    ),
    "invariant plane": (
        2,
        GaussianMixture([[0, 0, 0, 0], [0, 2, 3, 0]], [1, 1], [[1, 2, 3, 4]] * 2),
    ),
    "one wider": (
        1,
        GaussianMixture([[0, 0, 0, 0], [0, 0, 3, 0]], [1, 1], [[1, 2, 3, 4], [1, 2, 0.5, 4]]),
    ),
    "different widths": (4, GaussianMixture(np.zeros((2, 4)), [1, 1], [1.0, 2.0])),
}


@pytest.mark.parametrize(("ndim", "law"), MIXTURES.values(), ids=MIXTURES.keys())
def test_mixtures_split_along_invariant_subspaces(ndim, law):
    product = Product.of(law)
    assert product.factors[0].ndim == ndim
    up_to_a_constant(product, law, np.random.default_rng(5).normal(0, 2, (30, law.ndim)))
    np.testing.assert_allclose(product.moments()[1], law.moments()[1], atol=1e-12)


def test_turned_mixtures_split_as_before():
    q = rotation(4, 7)
    law = MIXTURES["invariant plane"][1]
    turned = GaussianMixture(law.means @ q.T, law.weights, q @ law.covariances @ q.T)
    assert [factor.ndim for factor in Product.of(turned).factors] == [2, 2]
    up_to_a_constant(Product.of(turned), turned, np.random.default_rng(5).normal(0, 2, (30, 4)))


def test_what_depends_on_the_radius_is_one_factor():
    product = Product.of(Ring(3, 0.5, ndim=6))
    assert [type(factor) for factor in product.factors] == [Radial]
    up_to_a_constant(product, Ring(3, 0.5, ndim=6), np.random.default_rng(5).normal(0, 2, (30, 6)))


def test_a_product_moves_with_its_factors():
    path = GeometricPath(Gaussian(0, 1), Gaussian(2, 0.5))
    moving = Product([path, DoubleWell(2)], rotation(2), [1, 2])
    assert moving.moving
    assert moving.at(0.3) == Product([path.at(0.3), DoubleWell(2)], rotation(2), [1, 2])


def test_what_does_not_split_is_refused():
    with pytest.raises(ValueError, match="no split of FourModes"):
        Product.of(FourModes())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([],), ValueError, "factors is empty"),
        ((Gaussian(0, 1),), TypeError, "must be a list of targets"),
        (([1.0],), TypeError, r"factors\[0\] must be a Target"),
        (([Gaussian(0, 1)] * 2, [[1, 0.1], [0, 1]]), ValueError, "rotation must be orthogonal"),
        (([Gaussian(0, 1)] * 2, None, [1]), ValueError, "about a shift of shape"),
        (([Gaussian(0, 1)] * 2, np.eye(3)), ValueError, "a 2-dimensional target"),
    ],
)
def test_wrong_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Product(*arguments)
