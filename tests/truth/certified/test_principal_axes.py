"""Whether turned axes pay, and problems made ready for a grid."""

import math

import numpy as np
import pytest

from wfr_pde.errors import NumericalError
from wfr_pde.space.frame import Frame, given_axes
from wfr_pde.targets import Banana, FourModes, Gaussian, GeometricPath, Posterior, Potential
from wfr_pde.truth.certified.preparation.box_mass import log_integral
from wfr_pde.truth.certified.preparation.prepared import most_cut, prepared
from wfr_pde.truth.certified.preparation.principal_axes import in_frame, principal_axes
from wfr_pde.truth.certified.problem import Problem

ROUND = Gaussian([0, 0], 1)
MUSTACHE = Potential("(x**2 - 1.8*x*(y - (x**2 - 1)**2) + (y - (x**2 - 1)**2)**2)/.38")
LOG_MUSTACHE = math.log(0.38 * math.pi / math.sqrt(1 - 0.9**2))  # of the quadratic form in (x, z), as dz = dy
TEMPERATURES = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]  # °F
DISTRESS = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]


def o_ring(a, b, data):
    """Logistic regression of O-ring distress on temperature (Dalal, Fowlkes and Hoadley 1989)."""
    logit = a + b * data[:, 0]
    return data[:, 1] * logit - np.logaddexp(0, logit)


def problem(target, start=ROUND, times=(0, 0.1, 0.5, 1)):
    return Problem(target, start, np.array(times, dtype=float), 1.0, 1.0, 1e-3)


def needle(angle, d=2):
    axis = np.zeros(d)
    axis[:2] = np.cos(angle), np.sin(angle)
    return Gaussian(np.ones(d), 1e-4 * np.eye(d) + 4 * np.outer(axis, axis))


@pytest.mark.parametrize("angle", [0.05, 0.4, 0.7854, 2.5])
def test_a_straight_ridge_is_turned_to(angle):
    frame = principal_axes(problem(needle(angle)), 1e-8)
    along = np.array([np.cos(angle), np.sin(angle)])
    assert np.abs(along @ frame.rotation).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(frame.rotation.T @ frame.rotation, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(frame.centre, 1, atol=1e-3)
    assert "axes turned" in frame.words


def test_in_three_dimensions():
    frame = principal_axes(problem(needle(0.6, 3), Gaussian([0, 0, 0], 1)), 1e-8)
    covariance = frame.rotation.T @ needle(0.6, 3).covariance @ frame.rotation
    assert np.abs(covariance - np.diag(covariance.diagonal())).max() < 1e-6


@pytest.mark.parametrize(
    "target",
    [
        Gaussian([0, 0], [[1, 0.5], [0.5, 1]]),
        Gaussian([0, 0], [400, 1e-4]),  # narrow, but along the axes
        FourModes(),
        Banana(),
    ],
    ids=["round", "aligned", "modes", "banana"],
)
def test_where_it_does_not_pay_axes_stay(target):
    frame = principal_axes(problem(target), 1e-8)
    assert frame.is_given
    own = problem(target)
    assert in_frame(own, frame) is own


def test_one_axis_and_moving_targets_stay():
    assert principal_axes(problem(Gaussian(0, 1), Gaussian(1, 1)), 1e-8).is_given
    assert principal_axes(problem(GeometricPath(ROUND, needle(0.5))), 1e-8).is_given


def test_the_turned_problem_is_the_same_problem():
    own = problem(needle(0.4))
    frame = principal_axes(own, 1e-8)
    other = in_frame(own, frame)
    covariance = other.target.covariance
    assert abs(covariance[0, 1]) < 1e-8
    assert sorted(covariance.diagonal()) == pytest.approx([1e-4, 4.0001], rel=1e-6)
    assert (other.alpha, other.beta, other.rtol) == (own.alpha, own.beta, own.rtol)


def test_a_stored_frame_comes_back_and_leads_there_and_back():
    own = problem(needle(0.4))
    frame = principal_axes(own, 1e-8)
    stored = Frame.stored(frame.attrs, 2)
    np.testing.assert_array_equal(stored.rotation, frame.rotation)
    np.testing.assert_array_equal(stored.centre, frame.centre)
    x = np.random.default_rng(0).normal(size=(7, 2))
    np.testing.assert_allclose(stored.outer(stored.inner(x)), x, atol=1e-14)
    target = in_frame(own, frame).target
    # the score at x: asked on the grid, and turned back; some thousand nats, to rounding
    score = stored.outer_vectors(target.score(stored.inner(x)))
    expected = own.target.score(x)
    np.testing.assert_allclose(score, expected, atol=1e-9 * np.abs(expected).max())


def test_the_given_axes_store_nothing():
    frame = given_axes(2)
    assert frame.attrs == {}
    assert Frame.stored({}, 2).is_given
    x = np.ones((3, 2))
    np.testing.assert_array_equal(frame.inner(x), x)
    with pytest.raises(ValueError, match="4 entries"):
        Frame.stored({"rotation": [1.0], "centre": [0.0]}, 2)


# the integral over a box


def test_integrals_of_closed_form():
    gaussian = Gaussian([1, -2], [[1, 0.6], [0.6, 0.8]])
    value, error = log_integral(gaussian, *gaussian.box(1e-12), 1e-9)
    assert value == pytest.approx(gaussian.log_normaliser, abs=1e-9)
    assert error <= 2e-9
    half, _ = log_integral(Gaussian(0, 1), np.array([0.0]), np.array([9.0]), 1e-10)
    assert half == pytest.approx(0.5 * math.log(2 * math.pi) - math.log(2), abs=1e-10)


def test_the_integral_along_a_long_curved_ridge():
    value, _ = log_integral(MUSTACHE, *MUSTACHE.box(1e-8), 1e-6)
    assert value == pytest.approx(LOG_MUSTACHE, abs=1e-5)  # of which 1e-8 is the box


def test_integrals_that_fail_say_so():
    with pytest.raises(NumericalError, match="no finite log-density"):
        log_integral(Potential("log(x)"), np.array([-2.0]), np.array([-1.0]), 1e-6)


# all of it


@pytest.mark.slow
def test_o_ring_posterior():
    posterior = Posterior(Gaussian([0, 0], 100), o_ring, np.stack([TEMPERATURES, DISTRESS], axis=1))
    found = prepared(problem(posterior))
    assert not found.frame.is_given
    q = found.frame.rotation
    assert np.abs(q[:, 0] @ [1, 1 / 69]) > 0.999  # intercept and slope at 69 °F make up for each other
    assert np.isfinite(found.ceilings.levels[-1])
    assert found.problem.target.ndim == 2
    # the start is in the box, wherever that lies
    mean, sd = found.problem.start.mean, 1.0
    assert np.all(found.lower < mean - 4 * sd)
    assert np.all(found.upper > mean + 4 * sd)


@pytest.mark.slow
def test_mustache():
    found = prepared(problem(MUSTACHE))
    assert found.frame.is_given
    assert found.upper[1] < 30  # that of the target ends at 1500
    assert found.upper[1] > 8
    assert found.log_normaliser == pytest.approx(LOG_MUSTACHE, abs=1e-5)
    assert len(found.ceilings.levels) > 3
    assert found.ceilings.above < 1e-3
    assert any("capped" in sentence for sentence in found.words)


def test_plain_problems_stay_as_they_are():
    own = problem(FourModes())
    found = prepared(own)
    assert found.problem is own
    assert found.log_normaliser is None
    assert math.isinf(found.ceilings.level(0.0))
    boxes = [each.box(most_cut(own)) for each in (own.target, own.start)]
    np.testing.assert_array_equal(found.lower, np.min([b[0] for b in boxes], axis=0))


def test_axes_with_break_points_stay():
    ridge = Potential("200*(x - y)**2 + x**2/2 + abs(x)")
    assert not principal_axes(problem(Potential("200*(x - y)**2 + x**2/2")), 1e-8).is_given
    assert prepared(problem(ridge)).frame.is_given


def test_a_given_box_stays_and_so_do_the_axes():
    lower, upper = np.array([-5.0, -5.0]), np.array([6.0, 6.0])
    ridge = Gaussian([0, 0], [[1, 0.99], [0.99, 1]])
    assert not prepared(problem(ridge)).frame.is_given
    found = prepared(problem(ridge), (lower, upper))
    assert found.frame.is_given
    np.testing.assert_array_equal(found.lower, lower)
    np.testing.assert_array_equal(found.upper, upper)
    assert np.isfinite(found.ceilings.levels[-1])
