"""Boxes found from log-densities alone: they hold the mass, they are not much too wide, or the error says why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

import wfr_pde as wfr
from wfr_pde.targets.base import Target
from wfr_pde.targets.box.find_box import find_box

TAILS = [1e-6, 1e-12]


class Black(Target):
    """A black box: nothing but a function of the coordinates."""

    def __init__(self, log_density, ndim=1):
        self.function, self.ndim = log_density, ndim

    def log_density(self, points):
        return self.function(*np.moveaxis(self.as_points(points), -1, 0))


class Mixture(Target):
    """Gaussian mixture with known marginals; its log-density is off by a constant that nobody is told."""

    def __init__(self, means, covariances, weights):
        self.means = np.array(means, dtype=float)
        self.ndim = self.means.shape[1]
        self.covariances = np.array([np.asarray(c) * np.eye(self.ndim) if np.ndim(c) == 0 else c for c in covariances])
        self.weights = np.array(weights) / np.sum(weights)
        self.deviations = np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))

    def log_density(self, points):
        terms = []
        for mean, covariance, weight in zip(self.means, self.covariances, self.weights, strict=True):
            shift = self.as_points(points) - mean
            square = np.einsum("...i,ij,...j", shift, np.linalg.inv(covariance), shift)
            terms.append(np.log(weight) - 0.5 * square - 0.5 * np.linalg.slogdet(covariance)[1])
        return np.logaddexp.reduce(terms, axis=0) + 12.3

    def mass_outside(self, lower, upper):
        """Sum over the axes: an upper bound that is sharp where corners weigh nothing."""
        outside = ndtr((lower - self.means) / self.deviations) + ndtr((self.means - upper) / self.deviations)
        return np.sum(self.weights[:, None] * outside)

    def least_widths(self, tail):
        """Width per axis of the box whose faces cut off an equal share each."""
        return np.array([self.least_width(i, tail / (2 * self.ndim)) for i in range(self.ndim)])

    def least_width(self, axis, share):
        mean, deviation = self.means[:, axis], self.deviations[:, axis]
        ends = [np.min(mean - 40 * deviation), np.max(mean + 40 * deviation)]
        upper = brentq(lambda u: np.log(self.weights @ ndtr((mean - u) / deviation) / share + 1e-300), *ends)
        lower = brentq(lambda u: np.log(self.weights @ ndtr((u - mean) / deviation) / share + 1e-300), *ends)
        return upper - lower


def check_mixture(target, tail, factor=1.2):
    """The margin is 3 to 5 nats of 14 or more: 10 to 15 % of the width at most."""
    lower, upper = find_box(target, tail)
    assert lower.shape == upper.shape == (target.ndim,)
    assert target.mass_outside(lower, upper) < tail
    assert np.all(upper - lower < factor * target.least_widths(tail))


# --- one dimension, closed forms --------------------------------------------------------------------

DISTRIBUTIONS = {
    "normal": stats.norm(),
    "shifted far": stats.norm(1e4),
    "shifted very far": stats.norm(-1e7),
    "narrow": stats.norm(3.7, 1e-4),
    "wide": stats.norm(-5, 1e5),
    "Laplace": stats.laplace(2, 3),
    "logistic": stats.logistic(),
    "Gumbel": stats.gumbel_r(),
    "skewed": stats.skewnorm(5),
    "quartic": stats.gennorm(4),
    "Gamma": stats.gamma(2),
    "Student nu=10": stats.t(10),
    "log-normal": stats.lognorm(1),
    "Beta": stats.beta(2, 2),
    "exponential": stats.expon(),
    "exponential, far": stats.expon(500, 0.1),
    "uniform": stats.uniform(-3, 10),
    "singular": stats.chi2(1),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_one_dimension(name, tail):
    law = DISTRIBUTIONS[name]
    (lower,), (upper,) = find_box(Black(lambda x: law.logpdf(x) - 700), tail)
    # The place of a wall far from the origin has a rounding error.
    rounding = 4 * np.spacing(500) * law.pdf(500) if name == "exponential, far" else 0.0
    assert law.cdf(lower) + law.sf(upper) < tail + rounding
    # Log-normal tails are so heavy that a margin of 3 nats shows.
    factor = {"log-normal": 2.0, "Student nu=10": 1.8}.get(name, 1.5)
    assert upper - lower < factor * (law.isf(tail / 2) - law.ppf(tail / 2))


@pytest.mark.parametrize("name", ["Gamma", "Beta", "exponential", "exponential, far", "uniform", "singular"])
def test_box_stays_inside_the_walls(name):
    law = DISTRIBUTIONS[name]
    (lower,), (upper,) = find_box(Black(law.logpdf))
    start, end = law.support()
    assert start <= lower < upper <= end
    assert np.all(np.isfinite(law.logpdf([lower, upper])))


MIXTURES = {
    "two modes": Mixture([[-10], [10]], [0.25, 0.25], [0.3, 0.7]),
    "small far mode": Mixture([[0], [60]], [1, 1], [1, 1e-3]),
    "smaller, farther mode": Mixture([[0], [-5000]], [1, 4], [1, 1e-4]),
    "narrow far mode": Mixture([[0], [60]], [1, 0.05**2], [1, 1e-2]),
    "narrow on wide": Mixture([[0], [0]], [0.05**2, 50**2], [0.5, 0.5]),
    "narrow beside wide": Mixture([[30], [0]], [0.05**2, 50**2], [0.99, 0.01]),
    "far away, close together": Mixture([[1e4], [1e4 + 40]], [1, 1], [0.5, 0.5]),
    "tiny": Mixture([[-1e-6], [1e-6]], [1e-14, 1e-14], [0.5, 0.5]),
    "2D four modes": Mixture([[-10, -10], [10, -10], [-10, 10], [10, 10]], [0.25] * 4, [0.25] * 4),
    "2D small far mode": Mixture([[0, 0], [60, 25]], [1, 1], [1, 1e-3]),
    "2D small narrow far mode": Mixture([[0, 0], [60, 25]], [1, 0.05**2], [1, 1e-3]),
    "2D narrow on wide": Mixture([[0, 0], [0, 0]], [0.05**2, 50**2], [0.5, 0.5]),
    "2D correlated": Mixture([[5, -7]], [[[1, 29.7], [29.7, 900]]], [1]),
    "2D correlated both ways": Mixture([[0, 0], [1, 1]], [[[1, 0.9], [0.9, 1]], [[1, -0.9], [-0.9, 1]]], [1, 1]),
    "2D shifted": Mixture([[1e4, -300], [1e4 + 60, -300]], [1, 1], [1, 1e-3]),
    "2D low wide shoulder": Mixture([[0, 0], [1, 1]], [0.1, [[40, 35], [35, 40]]], [1, 1e-3]),
    "3D": Mixture([[0, 0, 0], [10, 0, 5], [-10, 8, 3]], [1, 0.1, 2], [0.3, 0.3, 0.4]),
    "3D scales": Mixture([[1, 2, 3]], [np.diag([1e4, 1, 1e-6])], [1]),
    "4D": Mixture([[0] * 4, [10] * 4], [1, 0.1], [0.5, 0.5]),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures(name, tail):
    check_mixture(MIXTURES[name], tail)


def random_mixtures(ndim):
    number = st.floats(-20, 20)
    component = st.tuples(
        st.lists(number, min_size=ndim, max_size=ndim),
        st.lists(st.floats(-0.5, 0.5), min_size=ndim, max_size=ndim),  # log10 of standard deviations
        st.floats(-0.9, 0.9),  # correlation
        st.floats(-2, 0),  # log10 of the weight
    )

    def build(components):
        means, scales, correlations, weights = zip(*components, strict=True)
        deviations = [10 ** np.array(scale) for scale in scales]
        covariances = [
            np.outer(s, s) * (r + (1 - r) * np.eye(ndim)) for s, r in zip(deviations, correlations, strict=True)
        ]
        return Mixture(means, covariances, 10.0 ** np.array(weights))

    return st.lists(component, min_size=1, max_size=4).map(build)


@settings(max_examples=40, deadline=None)
@given(random_mixtures(1), st.sampled_from([1e-4, *TAILS]))
def test_random_mixtures_1d(target, tail):
    check_mixture(target, tail, factor=1.5)


@settings(max_examples=12, deadline=None)
@given(random_mixtures(2), st.sampled_from([1e-4, *TAILS]))
def test_random_mixtures_2d(target, tail):
    check_mixture(target, tail, factor=1.5)


# --- curved densities, in one dimension and more ------------------------------------------------------


def mass_outside_by_quadrature(target, lower, upper, n):
    """Riemann sums over twice the box, which for smooth densities converge faster than any power."""
    middle, half = (lower + upper) / 2, upper - lower
    axes = [m + h * (2 * (np.arange(n) + 0.5) / n - 1) for m, h in zip(middle, half, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    with np.errstate(all="ignore"):  # the grid reaches beyond where the log-density is defined
        density = np.exp(np.nan_to_num(target.log_density(points), nan=-np.inf))
    outside = np.any((points < lower) | (points > upper), axis=-1)
    return np.sum(density[outside]) / np.sum(density)


def ring(x, y):
    return -((np.hypot(x, y) - 5) ** 2) / (2 * 0.25**2)


CURVED = {
    "banana": (lambda x, y: -(x**2) / 2 - (y - x**2) ** 2 / 0.5, 2),
    "Rosenbrock": (lambda x, y: -((1 - x) ** 2 + 20 * (y - x**2) ** 2) / 2, 2),
    "ring": (ring, 2),
    "clover": (lambda x, y: -((np.hypot(x, y) - 3 - np.cos(3 * np.arctan2(y, x))) ** 2) / 0.08, 2),
    "double well": (lambda x, y: -2 * (x**2 - 1) ** 2 - 2 * y**2 - x * y / 2, 2),
    "rotated Laplace": (lambda x, y: -np.abs(x + y) - 5 * np.abs(x - y), 2),
    "ripples": (lambda x: 3 * np.cos(20 * x) - x**2 / 2, 1),
    "ripples 2D": (lambda x, y: 3 * np.cos(5 * x) + 3 * np.cos(5 * y) - (x**2 + y**2) / 2, 2),
    "Dirichlet": (lambda x, y: 2 * (np.log(x) + np.log(y) + np.log(1 - x - y)), 2),
    "half-plane": (lambda x, y: np.where(x + y > 0, -(x**2) / 2 - y**2 / 2, np.nan), 2),
    "shell": (lambda x, y, z: -((np.sqrt(x**2 + y**2 + z**2) - 5) ** 2) / 0.5, 3),
    "torus": (lambda x, y, z: ring(x, y) - z**2 / 2, 3),
    "exponential of the radius": (lambda x, y, z: -np.sqrt(1e-2 + x**2 + y**2 + z**2), 3),
}
# Half-widths that just hold 1 - 1e-12: from marginals in closed form or by quadrature.
NEEDED = {"banana": (7.1, 25.7), "ring": (6.73, 6.73), "shell": (8.4, 8.4, 8.4), "torus": (6.73, 6.73, 7.1)}


@pytest.mark.parametrize("name", CURVED)
def test_curved(name):
    function, ndim = CURVED[name]
    target = Black(function, ndim)
    for tail in TAILS:
        lower, upper = find_box(target, tail)
        assert mass_outside_by_quadrature(target, lower, upper, {1: 20_000, 2: 1500, 3: 160}[ndim]) < tail
    if name in NEEDED:
        assert np.all((upper - lower) / 2 < 1.25 * np.array(NEEDED[name]))


@pytest.mark.parametrize("tail", TAILS)
def test_funnel(tail):
    target = Black(lambda v, x, y: -(v**2) / 2 - v - (x**2 + y**2) * np.exp(-v) / 2, 3)
    lower, upper = find_box(target, tail)
    v, weight = np.polynomial.legendre.leggauss(400)
    density = 12 * weight * stats.norm.pdf(12 * v)

    def beyond(x):
        return np.sum(density * ndtr(-x * np.exp(-6 * v)))

    outside = ndtr(lower[0]) + ndtr(-upper[0]) + sum(map(beyond, [*-lower[1:], *upper[1:]]))
    assert outside < tail
    assert np.all(upper - lower < 2 * np.array([8, 300, 300]))  # 1e-12 needs 2 × (7.1, 170, 170)


@pytest.mark.parametrize("tail", TAILS)
def test_laplace_in_four_dimensions(tail):
    lower, upper = find_box(Black(lambda *x: -np.sum(np.abs(x), axis=0), 4), tail)
    assert np.sum(np.exp([lower, -upper])) / 2 < tail
    assert np.all(upper - lower < 1.6 * 2 * np.log(4 / tail))


def test_mixture_that_underflows():
    """log(exp + exp) is -inf beyond 38 standard deviations, and between modes that are far apart."""
    target = Black(lambda x, y: np.log(np.exp(-((x - 50) ** 2) / 2 - y**2) + np.exp(-((x + 50) ** 2) / 2 - y**2)), 2)
    lower, upper = find_box(target)
    np.testing.assert_allclose(lower, [-57.4, -5.3], atol=0.3)
    np.testing.assert_allclose(upper, [57.4, 5.3], atol=0.3)


# --- invariances ----------------------------------------------------------------------------------------


def test_same_input_same_box_and_no_global_state():
    target, errors = MIXTURES["2D shifted"], np.geterr()
    np.random.seed(1)  # noqa: NPY002 (the global state is what must not matter)
    first = find_box(target)
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(first, find_box(target))
    number = np.random.random()  # noqa: NPY002
    assert number == np.random.RandomState(2).random()
    assert np.geterr() == errors


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1e4, 1e7])
def test_boxes_scale_with_the_target(scale):
    banana = CURVED["banana"][0]
    lower, upper = find_box(Black(lambda x, y: banana(x / scale, y / scale), 2))
    expected = find_box(Black(banana, 2))
    # Faces are placed to 1 % of the box.
    width = expected[1] - expected[0]
    np.testing.assert_array_less(np.abs(lower / scale - expected[0]), 0.03 * width)
    np.testing.assert_array_less(np.abs(upper / scale - expected[1]), 0.03 * width)


@pytest.mark.parametrize("constant", [-1e9, 700.0, 1e9])
def test_constants_do_not_matter(constant):
    lower, upper = find_box(Black(lambda x, y: constant - x**2 / 2 - y**2 / 2, 2))
    np.testing.assert_allclose([-lower, upper], 7.6, atol=0.2)


@pytest.mark.parametrize("name", ["normal", "Laplace", "Gamma"])
def test_boxes_grow_as_tails_shrink(name):
    law = DISTRIBUTIONS[name]
    boxes = np.array([find_box(Black(law.logpdf), tail) for tail in (0.3, 1e-2, 1e-5, 1e-12, 1e-30)])
    assert np.all(np.diff(boxes[:, 0, 0]) < 0)
    assert np.all(np.diff(boxes[:, 1, 0]) > 0)
    assert np.all(law.cdf(boxes[:2, 0, 0]) + law.sf(boxes[:2, 1, 0]) < [0.3, 1e-2])


def test_samples_and_moments_show_the_way():
    class Needle(Mixture):
        """A mode of width 1e-3 at a distance of 1e4: no scan would meet it."""

        def sample(self, n, rng=None):
            return np.random.default_rng(rng).choice(self.means, n, p=self.weights)

    needle = [[0, 0], [8e3, -6e3]], [1, 1e-6], [0.8, 0.2]
    lower, upper = find_box(Needle(*needle))
    assert Needle(*needle).mass_outside(lower, upper) < 1e-12

    class Known(Mixture):
        def moments(self):
            return np.array([-4e8]), np.array([[1e-4]])

    (lower,), (upper,) = find_box(Known([[-4e8]], [1e-4], [1]))
    assert -4e8 - 0.08 < lower < -4e8 - 0.07
    assert -4e8 + 0.07 < upper < -4e8 + 0.08


# --- refusals ---------------------------------------------------------------------------------------------

REFUSED = {
    "Cauchy": (lambda x: -np.log1p(x**2), 1, r"side of axis 0 .* like r\^-1, too slowly .*log-density -"),
    "Student nu=2": (lambda x: -1.5 * np.log1p(x**2 / 2), 1, r"axis 0 .* like r\^-2, "),
    "Student nu=3": (lambda x: -2 * np.log1p(x**2 / 3), 1, r"axis 0 .* like r\^-3, "),
    "Student 2D": (lambda x, y: -2 * np.log1p((x**2 + y**2) / 2), 2, r"like r\^-2, "),
    "heavy on one side": (
        lambda x, y: np.where(y > 0, -2 * np.log1p(np.maximum(y, 0)), -(y**2)) - x**2,
        2,
        r"upper side of axis 1 .* like r\^-1, ",
    ),
    "constant": (lambda x: 0 * x, 1, "too slowly to be integrable"),
    "free axis": (lambda x, y: -(y**2), 2, "side of axis 0 .*too slowly to be integrable"),
    "V = log(1+x^2)/4": (lambda x: -np.log1p(x**2) / 4, 1, "too slowly to be integrable"),
    "softplus": (lambda x: -np.logaddexp(0, x), 1, "lower side of axis 0 .*too slowly"),
    "V = x": (lambda x: -x, 1, "lower side of axis 0 the log-density rises without bound"),
    "V = -x^2": (lambda x: x**2, 1, "rises without bound"),
    "V = -exp(x)": (np.exp, 1, "rises without bound"),
    "saddle": (lambda x, y: y**2 - x**2, 2, "side of axis 1 the log-density rises without bound"),
    "V = -1/x": (lambda x: 1 / x, 1, "near a point the log-density rises without bound"),
    "NaN": (lambda x: np.nan * x, 1, r"finite at none of \d+ points .* it is nan"),
    "-inf": (lambda x, y: np.log(0 * x * y), 2, r"finite at none of \d+ points .* it is -inf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_place_cause_and_remedy(name):
    function, ndim, message = REFUSED[name]
    for tail in TAILS:
        with pytest.raises(ValueError, match=message) as error:
            find_box(Black(function, ndim), tail)
        assert "x = (" in str(error.value)
        assert "support=(lower, upper)" in str(error.value)
        assert "Grid(lower=..., upper=...)" in str(error.value)


@pytest.mark.parametrize("tail", [0.0, 1.0, -1e-3, 2.0, np.nan])
def test_tail_must_be_a_probability(tail):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        find_box(MIXTURES["two modes"], tail)


def test_a_heavy_tail_below_the_tolerance_does_no_harm():
    target = Black(lambda x: np.logaddexp(log_ndtr(-20.0) - np.log1p(x**2), -(x**2) / 2))
    (lower,), (upper,) = find_box(target)
    assert -8 < lower < -7
    assert 7 < upper < 8


def test_any_object_with_a_log_density_moments_and_draws_is_searched():
    class Plain:
        ndim = 2

        def log_density(self, points):
            return -((points - 3.0) ** 2).sum(axis=-1) / 2

        def moments(self):
            return None

        def sample(self, n, rng):
            raise ValueError("no sampler")

    lower, upper = find_box(Plain())
    assert (lower < -4).all()  # 3 - 7.1, with a margin
    assert (lower > -7).all()
    assert np.allclose(lower + upper, 6.0, atol=0.5)


STEPS = [
    "x**2/2 + y**2/2 + 2*Heaviside(x)",
    "x**2/2 + y**2/2 + 2*Heaviside(x - 0.3) - 1.5*Heaviside(y - 1)",
    "x**2/2 + y**2/2 + z**2/2 + 2*Heaviside(x)",
    "x**2/2 + y**2/2 + 5*where(x**2 + y**2 < 1, 0, 1)",
]


@pytest.mark.parametrize("text", STEPS)
def test_jumps_within_the_mass_do_not_make_the_search_fail(text):
    target = wfr.Potential(text)
    lower, upper = find_box(target, 1e-9)
    places = np.linspace(-9, 9, 181 if target.ndim == 2 else 91)
    points = np.stack(np.meshgrid(*[places] * target.ndim, indexing="ij"), axis=-1)
    masses = np.exp(target.log_density(points))
    outside = np.any((points < lower) | (points > upper), axis=-1)
    assert masses[outside].sum() < 1e-9 * masses.sum()
    assert np.all(upper - lower < 2 * 7.5)
