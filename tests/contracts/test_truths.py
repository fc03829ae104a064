"""Laws that every truth obeys, whether it moves or not."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.integrate.truth_arguments import as_truth, density_at, law_at, problem_of, start_of, start_time

TARGET, START = wfr.GaussianMixture([-1.0, 1.5], [0.4, 0.6], [0.3, 0.5]), wfr.Gaussian(-0.5, 0.3)
GRID = wfr.Grid(-6.0, 7.0, 300)


def moving():
    """A run of `solve`, as a Dataset."""
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    return as_truth(wfr.solve(TARGET, flow, GRID.density(START), [0.0, 0.25, 0.5], 0.05), TARGET)


TRUTHS = {
    "a Dataset": moving,
    "a density": lambda: as_truth(GRID.density(TARGET)),
    "a distribution": lambda: as_truth(TARGET),
}


@pytest.fixture(scope="module", params=list(TRUTHS))
def truth(request):
    return TRUTHS[request.param]()


@pytest.fixture(params=[0.0, 0.4])
def t(request):
    return request.param


def test_times_increase_from_that_of_the_start(truth):
    assert np.all(np.diff(truth.times) > 0)
    assert start_time(truth) == (truth.times[0] if len(truth.times) else 0)


def test_the_density_has_mass_one_and_is_the_same_at_every_call(truth, t):
    density = density_at(truth, t, "the test")
    assert density.mass == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(truth.at(t).log_values, truth.at(t).log_values)
    np.testing.assert_allclose(law_at(truth, t).log_values, truth.at(t).log_values, atol=1e-9)


def test_log_prob_is_that_of_the_density(truth, t):
    density = truth.at(t)
    points = density.grid.points()
    where = density.log_values > density.log_values.max() - 20
    np.testing.assert_allclose(truth.log_prob(points, t)[where], density.log_values[where], atol=1e-6)
    assert np.isneginf(truth.log_prob([[1e3]], t)).all()
    assert truth.log_prob(np.zeros((2, 3, 1)), t).shape == (2, 3)


def test_the_score_is_the_gradient_of_log_prob(truth, t):
    x, h = np.linspace(-1.5, 2.0, 15)[:, None], 1e-4
    differences = (truth.log_prob(x + h, t) - truth.log_prob(x - h, t)) / (2 * h)
    np.testing.assert_allclose(truth.score(x, t)[:, 0], differences, atol=1e-5)
    assert truth.score(np.zeros((2, 3, 1)), t).shape == (2, 3, 1)


def test_draws_are_of_the_density(truth, t):
    density, n = truth.at(t), 4000
    draws = truth.sample(n, t, 3)
    assert draws.shape == (n, 1)
    np.testing.assert_array_equal(draws, truth.sample(n, t, 3))
    deviation = float(np.sqrt(density.covariance()[0, 0]))
    assert draws.mean() == pytest.approx(density.mean()[0], abs=4 * deviation / np.sqrt(n))
    assert draws.std() == pytest.approx(deviation, rel=4 / np.sqrt(n))


def test_the_error_is_a_distance_of_densities(truth, t):
    assert 0 <= float(truth.error_l1(t)) <= 2
    assert np.shape(truth.error_l1([t, t])) == (2,)


def test_what_it_states_of_its_flow_is_so(truth):
    stated = problem_of(truth)
    assert stated.target is None or repr(stated.target) == repr(TARGET)
    start = start_of(truth, "the test")
    first = start if isinstance(start, wfr.Density) else truth.at(0.0).grid.density(start)
    np.testing.assert_allclose(first.values, truth.at(0.0).values, atol=1e-9)
