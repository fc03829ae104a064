"""Functions as users have them: of arrays, numbers, vectors, tensors, in single precision."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.errors import SlowFunctionWarning
from wfr_pde.targets import Posterior, Potential

POINTS = np.array([[0.5, -1.0], [2.0, 0.25], [-0.3, 0.0]])
EXPECTED = -0.5 * POINTS[:, 0] ** 2 - np.cosh(POINTS[:, 1])
FORMS = {
    "arrays of coordinates": lambda: Potential(lambda x, y: x**2 / 2 + np.cosh(y)),
    "points": lambda: Potential(lambda p: p[..., 0] ** 2 / 2 + np.cosh(p[..., 1]), ndim=2, of="points"),
    "one vector": lambda: Potential(lambda p: p[0] ** 2 / 2 + np.cosh(p[1]), ndim=2, of="point"),
    "one vector, math": lambda: Potential(lambda p: p[0] ** 2 / 2 + math.cosh(p[1]), ndim=2, of="point"),
}


class Tensor:
    """What a tensor that carries a gradient does: it becomes an array only when detached."""

    def __init__(self, values):
        self.values = values

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")

    def detach(self):
        return self

    def cpu(self):
        return self.values


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_values_and_scores(make):
    target = make()
    np.testing.assert_allclose(target.log_density(POINTS), EXPECTED, rtol=1e-15)
    score = np.stack([-POINTS[:, 0], -np.sinh(POINTS[:, 1])], axis=-1)
    np.testing.assert_allclose(target.score(POINTS), score, atol=1e-8)
    assert target.log_density(POINTS.reshape(3, 1, 2)).shape == (3, 1)
    assert target.log_density(np.empty((0, 2))).shape == (0,)
    assert target.score(np.empty((4, 0, 2))).shape == (4, 0, 2)


@pytest.mark.parametrize("of", ["points", "point"])
def test_a_gradient_has_the_form_of_the_potential(of):
    potential = {"points": lambda p: np.sum(p**4, axis=-1), "point": lambda p: float(np.sum(p**4))}[of]
    target = Potential(potential, ndim=2, gradient=lambda p: 4 * p**3, of=of)
    np.testing.assert_allclose(target.score(POINTS), -4 * POINTS**3, rtol=1e-15)
    with pytest.raises(ValueError, match="gradient given is wrong"):
        Potential(potential, ndim=2, gradient=lambda p: p**3, of=of).score(POINTS)


def test_vectorize_without_types_is_never_called_without_points():
    target = Potential(np.vectorize(lambda x: x * x / 2), ndim=1)
    assert target.log_density(np.empty((0, 1))).shape == (0,)
    truth = wfr.ground_truth(target, wfr.Gaussian(0, 2), [0, 0.5], rtol=1e-4)
    exact = wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(0, 2), [0, 0.5], rtol=1e-4)
    assert abs(truth.kl - exact.kl)[-1] <= (truth.error_kl + exact.error_kl)[-1]


@pytest.mark.parametrize(
    "potential",
    [
        lambda x: math.cosh(x),
        lambda x: x * x / 2 if x < 1 else x - 0.5,
        lambda x: -math.log(x) if x > 0 else math.inf,
    ],
)
def test_functions_of_numbers_are_called_point_by_point_and_said_to_be_slow(potential):
    x = np.array([0.5, 1.5, 3.0])
    target = Potential(potential)
    with pytest.warns(SlowFunctionWarning, match=r"takes no arrays .* point by point, about .* µs each"):
        values = target.log_density(x[:, None])
    np.testing.assert_allclose(values, [-potential(each) for each in x], rtol=1e-15)


def test_what_the_math_module_cannot_do_is_what_numpy_gives():
    target = Potential(lambda x: 0 * math.sqrt(x + 2000) + math.cosh(x))
    with pytest.warns(SlowFunctionWarning):
        values = target.log_density(np.array([[0.0], [1000.0], [-3000.0]]))
    np.testing.assert_array_equal(values, [-1.0, -np.inf, np.nan])


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, TypeError])
def test_a_function_that_fails_for_numbers_too_tells_its_first_error(error):
    def broken(x):
        raise error("broken for all")

    with pytest.raises(error, match="broken for all"):
        Potential(broken).log_density([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Potential(lambda p: np.sum(p**2), ndim=2),
            'takes 1 argument, but ndim=2: .* of="points" if .* of="point"',
        ),
        (lambda: Potential(lambda x, y: x, ndim=3), "takes 2 arguments, but ndim=3"),
        (lambda: Potential(lambda p: p, of="points"), "does not tell the dimension d: give ndim"),
        (lambda: Potential(lambda p: p, of="vectors", ndim=2), "of must be one of 'coordinates'"),
        (lambda: Potential(lambda x: np.sum(x**2)).log_density([[1.0], [2.0]]), 'one number for 2 points.*of="point"'),
        (lambda: Potential(lambda p: p, ndim=2, of="points").log_density(POINTS), r"should return shape \(3,\)"),
    ],
)
def test_functions_that_do_not_fit_are_refused_with_the_remedy(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_tensors_with_gradients_are_detached():
    target = Potential(lambda x: Tensor(x**2 / 2))
    np.testing.assert_array_equal(target.log_density([[1.0], [3.0]]), [-0.5, -4.5])


def single(x):
    return np.asarray(x, dtype=np.float32) ** 2 / 2


class SingleTarget(wfr.Target):
    ndim = 1

    def log_density(self, points):
        return -single(points[..., 0])


@pytest.mark.parametrize(
    "target",
    [
        Potential(single),
        Posterior(wfr.Gaussian(0, 10), lambda m, y: -single(m - y), np.zeros(3)),
        SingleTarget(),
    ],
    ids=["potential", "posterior", "own class"],
)
def test_single_precision_is_named_where_it_is_not_enough(target):
    with pytest.raises(ValueError, match=r"computed in single precision \(float32\).*too much for rtol=1e-08"):
        wfr.ground_truth(target, wfr.Gaussian(0, 2), [0, 0.5], rtol=1e-8)


def test_half_precision_is_called_that():
    half = Potential(lambda x: (x**2 / 2).astype(np.float16), support=(-7, 7))
    with pytest.raises(ValueError, match=r"computed in half precision \(float16\).*too much for rtol=1e-06"):
        wfr.ground_truth(half, wfr.Gaussian(0, 2), [0, 0.5], rtol=1e-6)


def test_single_precision_is_part_of_the_bound_where_it_is_enough():
    truth = wfr.ground_truth(Potential(single), wfr.Gaussian(0, 2), [0, 0.5], rtol=1e-3)
    assert truth.error_l1_rounding[-1] > 1e-7
    exact = wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(0, 2), [0, 0.5], rtol=1e-8)
    assert abs(truth.kl - exact.kl)[-1] <= (truth.error_kl + exact.error_kl)[-1]


def test_a_function_of_points_without_its_dimension_is_told_how_to_say_so():
    target = wfr.Potential(lambda theta: np.sum(theta**2, axis=-1))
    words = r'1-dimensional \(its V takes one argument, .* give ndim= and of="points"'
    plane = wfr.Gaussian([0, 0], 1)
    for call in (
        lambda: wfr.ground_truth(target, plane, [0, 1]),
        lambda: wfr.Grid([-1, -1], [1, 1], 8).density(target),
        lambda: wfr.run_sampler(lambda *args: [], target, plane, [0, 1], n=4),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(ValueError, match="the target is 1-dimensional, but the start is 2-dimensional"):
        wfr.ground_truth(wfr.Gaussian(0, 1), plane, [0, 1])
