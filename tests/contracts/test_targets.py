"""Laws that every target obeys."""

import warnings
from itertools import pairwise

import numpy as np
import pytest

import wfr_pde as wfr
import wfr_pde.targets
from wfr_pde.problems.data import galaxies
from wfr_pde.targets import (
    OU,
    VE,
    VP,
    Banana,
    CoshDoubleWell,
    DoubleWell,
    FourModes,
    Funnel,
    Gaussian,
    GaussianMixture,
    GeometricMean,
    GeometricPath,
    GridTarget,
    Noised,
    Posterior,
    Potential,
    Product,
    Radial,
    ReversedPath,
    Ring,
    Target,
)


def two_groups(m1, m2, velocities):
    return np.logaddexp(-((velocities - m1) ** 2) / 18, -((velocities - m2) ** 2) / 18)


def grid_target():
    edges = np.linspace(-3, 3, 41), np.linspace(-2, 4, 49)
    x, y = (((e[1:] + e[:-1]) / 2) for e in edges)
    values = np.exp(-np.cosh(x)[:, None] - (y - 1) ** 2 + 0.3 * np.sin(x)[:, None] * y)
    return GridTarget(values, lower=(-3, -2), upper=(3, 4))


def quartic(x, y):
    return x**4 / 4 + (y - x) ** 2


PLANE, TILTED = Gaussian([-1, 2], [0.5, 2]), Gaussian([1, 0], [[1, 0.6], [0.6, 0.8]])
EXAMPLES = {
    "gaussian-1d": Gaussian(-1, 0.25),
    "gaussian-scalar": Gaussian([1, 2, 3], 0.5),
    "gaussian-diagonal": PLANE,
    "gaussian-full": TILTED,
    "gaussian-3d": Gaussian([0, 1, 2], [[2, 0.3, 0.1], [0.3, 1, -0.2], [0.1, -0.2, 0.5]]),
    "mixture-1d": GaussianMixture([-3, 0, 4], [1, 2, 1], [0.1, 1, 0.3]),
    "mixture-2d": GaussianMixture([[-2, 0], [2, 0]], [0.3, 0.7], [[[1, 0.2], [0.2, 0.3]], [[0.5, 0], [0, 2]]]),
    "double-well-1d": DoubleWell(3, width=1.5),
    "double-well-2d": DoubleWell(2, stiffness=(4,), coupling=0.5),
    "double-well-3d": DoubleWell(2, stiffness=(4, 2), coupling=-1),
    "cosh-double-well": CoshDoubleWell(0.1, k=1.5),
    "cosh-single-well": CoshDoubleWell(5.0),
    "banana": Banana(),
    "ring-1d": Ring(2, 0.5, ndim=1),
    "ring-2d": Ring(3, 0.5),
    "ring-3d": Ring(2, 1, ndim=3),
    "product": Product([DoubleWell(2), Gaussian(1, 0.5)], shift=[0.5, -1]),
    "product-turned": Product([Gaussian(1, 0.5), FourModes()], np.linalg.qr([[1, 2, 3], [0, 1, 4], [5, 6, 0]])[0]),
    "radial-1d": Radial("x**4/4", 1),
    "radial-3d": Radial(lambda r: r**2 / 2 - 2 * np.log(r), 3),
    "funnel": Funnel(0.5),
    "four-modes": FourModes(),
    "potential-function": Potential(quartic),
    "potential-gradient": Potential(quartic, gradient=lambda x, y: (x**3 - 2 * (y - x), 2 * (y - x))),
    "potential-text": Potential("x**4/4 + logcosh(y - x) + y**2"),
    "potential-radius": Potential("(r - 2)**2 + abs(x)", ndim=2),
    "potential-rough": Potential(lambda x: np.abs(x - 0.1) + np.logaddexp(x, -x)),
    "grid-target": grid_target(),
    "posterior": Posterior(Gaussian([21, 21], 100), two_groups, galaxies()),
    "geometric-mean": GeometricMean(Banana(), TILTED, 0.3),
    "path-gaussian": GeometricPath(PLANE, TILTED).at(0.5),
    "path-general": GeometricPath(PLANE, FourModes()).at(0.5),
    "noised-mixture": Noised(GaussianMixture([-3, 0, 4], [1, 2, 1], [0.1, 1, 0.3]), OU()).at(0.3),
    "noised-density-1d": Noised(wfr.Grid(-7, 7, 160).density(CoshDoubleWell(0.5)), VP()).at(0.4),
    "noised-density-2d": Noised(wfr.Grid([-6, -9], [6, 9], 64).density(PLANE), VE(0.1, 2.0)).at(0.9),
}
MOVING = (GeometricPath, Noised, ReversedPath)  # which have a density only at a time
STATIC = pytest.mark.parametrize("target", EXAMPLES.values(), ids=EXAMPLES.keys())


def where(condition):
    chosen = {name: target for name, target in EXAMPLES.items() if condition(target)}
    return pytest.mark.parametrize("target", chosen.values(), ids=chosen.keys())


def can_sample(target):
    try:
        target.sample(1, 0)
    except ValueError:
        return False
    return True


def has_own_box(target):
    return type(target).box is not Target.box


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


def typical_points(target, rng, n=40):
    """Points spread over the bulk of the target."""
    if isinstance(target, Posterior):
        return rng.uniform(15, 26, (n, 2))
    if not has_own_box(target) and target.support is None:
        return rng.uniform(-1.7, 1.7, (n, target.ndim))
    lower, upper = target.box(0.1)
    return rng.uniform(lower + 0.05 * (upper - lower), upper - 0.05 * (upper - lower), (n, target.ndim))


def differences(function, points, step=1e-3):
    """Central differences of order 8."""
    result = np.zeros(points.shape)
    for axis in range(points.shape[-1]):
        for k, weight in enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280), start=1):
            shift = k * step * np.eye(points.shape[-1])[axis]
            result[:, axis] += weight * (function(points + shift) - function(points - shift)) / step
    return result


def quadrature(target, tail=1e-13):
    """∫ exp(log_density) over the box: the midpoint rule, spectrally accurate for such smooth bumps."""
    lower, upper = target.box(tail)
    n = {1: 20001, 2: 1201, 3: 161}[target.ndim]
    axes = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b in zip(lower, upper, strict=True)]
    volume = np.prod((upper - lower) / n)
    total = 0.0
    for x in np.array_split(axes[0], 16):
        points = np.stack(np.meshgrid(x, *axes[1:], indexing="ij"), axis=-1)
        total += np.sum(np.exp(target.log_density(points))) * volume
    return total


def test_every_target_has_an_example():
    exported = [getattr(wfr_pde.targets, name) for name in wfr_pde.targets.__all__]
    classes = {c for c in exported if isinstance(c, type) and issubclass(c, Target)} - {Target, *MOVING}
    assert classes <= {type(target) for target in EXAMPLES.values()}


@STATIC
def test_score_is_the_gradient_of_the_log_density(target, rng):
    points = typical_points(target, rng)
    score, expected = target.score(points), differences(target.log_density, points)
    # differences: rounding 1e-16 |log pi| / 1e-3, truncation (1e-3 / 0.1)^8 of the narrowest case
    np.testing.assert_allclose(score, expected, rtol=1e-7, atol=1e-8 * (1 + np.abs(score).max()))


@STATIC
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 3), (2, 0, 3)])
def test_shapes(target, shape, rng):
    points = np.resize(typical_points(target, rng, 6), (*shape, target.ndim))
    log_density, score = target.log_density(points), target.score(points)
    assert isinstance(log_density, np.ndarray)
    assert log_density.shape == shape
    assert score.shape == points.shape
    assert log_density.dtype == score.dtype == np.float64


@STATIC
def test_one_point_equals_the_same_point_in_a_batch(target, rng):
    points = typical_points(target, rng, 5)
    alone = np.stack([target.log_density(p) for p in points])
    np.testing.assert_allclose(alone, target.log_density(points), rtol=1e-13)


@STATIC
def test_lists_and_integers_are_points(target):
    point = [1] * target.ndim
    assert np.isfinite(target.log_density(point))
    assert target.score(point).shape == (target.ndim,)


@STATIC
def test_wrong_shapes_are_refused(target):
    for method in (target.log_density, target.score):
        with pytest.raises(ValueError, match=f"last axis must have length {target.ndim}"):
            method(np.zeros((4, target.ndim + 1)))
        with pytest.raises(ValueError, match="last axis"):
            method(0.0)


@STATIC
def test_inputs_stay_untouched_and_no_warning_leaks(target, rng):
    points = typical_points(target, rng)
    points[0] = 0.0
    copy = points.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.log_density(points)
        target.score(points)
    np.testing.assert_array_equal(points, copy)


@STATIC
def test_repr_is_one_line_of_its_class(target):
    assert "\n" not in repr(target)
    assert repr(target).startswith(type(target).__name__ + "(")
    assert repr(target) == repr(target)
    assert len(repr(target)) < 600


CLOSED_FORMS = (Gaussian, GaussianMixture, CoshDoubleWell, DoubleWell, Banana, Ring, Funnel, FourModes)


@where(lambda target: type(target) in CLOSED_FORMS)
def test_repr_builds_the_target_again(target, rng):
    again = eval(repr(target), {c.__name__: c for c in (type(target), Gaussian)})
    points = typical_points(target, rng)
    np.testing.assert_array_equal(again.log_density(points), target.log_density(points))
    assert repr(again) == repr(target)


@STATIC
def test_is_frozen(target):
    with pytest.raises(AttributeError):
        target.ndim = 7


@STATIC
def test_at_is_itself_unless_moving(target):
    assert not target.moving
    assert target.at(3.0) is target


@where(lambda target: target.log_normaliser is not None)
def test_log_normaliser_by_quadrature(target):
    # box: 1e-13 of the mass; the ring has a kink at the origin where pi is below e^-4 of its maximum
    tolerance = 1e-5 if isinstance(target, Ring) and target.ndim > 1 else 1e-9
    if isinstance(target, Ring) and target.ndim == 1:
        tolerance = 1e-6
    assert np.log(quadrature(target)) == pytest.approx(target.log_normaliser, abs=tolerance)


@where(lambda target: can_sample(target) and target.moments() is not None)
def test_samples_have_the_moments(target):
    n = 200_000
    samples = target.sample(n, rng=7)
    assert samples.shape == (n, target.ndim)
    mean, covariance = target.moments()
    assert mean.shape == (target.ndim,)
    assert covariance.shape == (target.ndim, target.ndim)
    products = np.einsum("ni,nj->nij", samples - mean, samples - mean)
    # five standard errors, themselves estimated from the sample
    assert np.all(np.abs(samples.mean(0) - mean) < 5 * samples.std(0) / np.sqrt(n))
    assert np.all(np.abs(products.mean(0) - covariance) < 5 * products.std(0) / np.sqrt(n))


@where(can_sample)
def test_samples_are_reproducible(target):
    np.testing.assert_array_equal(target.sample(20, rng=3), target.sample(20, rng=np.random.default_rng(3)))
    assert target.sample(0, rng=3).shape == (0, target.ndim)


@where(lambda target: can_sample(target) and has_own_box(target))
@pytest.mark.parametrize("tail", [0.3, 0.02])
def test_box_leaves_out_no_more_than_the_tail(target, tail):
    n = 100_000
    samples = target.sample(n, rng=11)
    lower, upper = target.box(tail)
    outside = np.mean(np.any((samples < lower) | (samples > upper), axis=-1))
    assert outside <= tail + 5 * np.sqrt(tail / n)


@where(has_own_box)
def test_boxes_grow_as_tails_shrink(target):
    boxes = [target.box(tail) for tail in (1e-2, 1e-6, 1e-12, 1e-100)]
    for (lower, upper), (wider_lower, wider_upper) in pairwise(boxes):
        assert lower.shape == upper.shape == (target.ndim,)
        assert np.all(np.isfinite([wider_lower, wider_upper]))
        assert np.all(wider_lower < lower)
        assert np.all(upper < wider_upper)
    for tail in (0.0, 1.0, -1, np.nan):
        with pytest.raises(ValueError, match="tail"):
            target.box(tail)
