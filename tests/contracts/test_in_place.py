"""What users write or change afterwards changes nothing of ours: functions that work in place, arrays used again."""

import dataclasses

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import diagnostics, metrics, samplers
from wfr_pde.numerics.vector_fields import curl
from wfr_pde.targets.base import Target

IN_PLACE = r"write x = x - 1 in place of x -= 1"
START = wfr.Gaussian(1, 0.5)


def moved(x):
    """-log N(1, 1) by a function that centres its argument in place."""
    x -= 1.0
    return x**2 / 2


def first(points):
    """The first coordinate less one, in place."""
    points -= 1
    return points[..., 0]


@dataclasses.dataclass(frozen=True)
class InPlace(Target):
    """N(1, 1), by methods that work in place and do not ask for `as_points`."""

    ndim: int = 1

    def log_density(self, points):
        """-(x - 1)²/2."""
        points -= 1
        return -(points[..., 0] ** 2) / 2


@dataclasses.dataclass(frozen=True)
class Careful(Target):
    """N(1, 1), by a method that copies what it is given."""

    ndim: int = 1

    def log_density(self, points):
        """-(x - 1)²/2."""
        points = np.array(points)
        points -= 1
        return -(points[..., 0] ** 2) / 2


@pytest.mark.parametrize("sampler", [samplers.MALA(), samplers.Langevin(), samplers.BirthDeath(bandwidth=0.3)])
def test_samplers_refuse_a_potential_that_works_in_place(sampler):
    start = START.sample(50, 0)
    with pytest.raises(ValueError, match=IN_PLACE):
        wfr.solve(wfr.Potential(moved, support=(-7, 9)), sampler, start, [0, 1], 0.1, rng=0)
    right = wfr.solve(wfr.Potential(lambda x: (x - 1) ** 2 / 2, support=(-7, 9)), sampler, start, [0, 1], 0.1, rng=0)
    same = wfr.solve(Careful(), sampler, start, [0, 1], 0.1, rng=0)
    assert right.position.values[-1] == pytest.approx(same.position.values[-1], abs=1e-6)
    assert abs(float(right.position[-1].mean()) - 1) < 0.5  # four standard errors are 0.56


@pytest.mark.parametrize(("of", "V"), [("coordinates", moved), ("points", lambda x: moved(x)[..., 0])])
def test_a_potential_does_not_change_the_points_that_it_is_asked_at(of, V):
    x = np.array([[1.0], [3.0]])
    with pytest.raises(ValueError, match=rf"V of Potential.*{IN_PLACE}"):
        wfr.Potential(V, 1, of=of).log_density(x)
    steep = wfr.Potential(lambda x: np.sum((x - 1) ** 2 / 2, axis=-1), 1, moved, of="points")
    with pytest.raises(ValueError, match=rf"gradient of Potential.*{IN_PLACE}"):
        steep.score(x)
    assert x.ravel().tolist() == [1.0, 3.0]


def test_a_potential_of_one_point_has_a_copy_of_its_own():
    x = np.array([[1.0], [3.0]])
    assert wfr.Potential(lambda p: moved(p).sum(), 1, of="point").log_density(x).tolist() == [0.0, -2.0]
    assert x.ravel().tolist() == [1.0, 3.0]


def test_classes_of_users_are_given_points_that_are_read_only():
    x = np.array([[1.0], [3.0]])
    with pytest.raises(ValueError, match=rf"InPlace.log_density changes.*{IN_PLACE}"):
        InPlace().log_density(x)
    assert Careful().log_density(x).tolist() == [0.0, -2.0]
    assert x.ravel().tolist() == [1.0, 3.0]


def test_a_likelihood_does_not_change_the_data():
    def log_likelihood(mean, y):
        y /= 2
        return -((y - mean) ** 2) / 2

    with pytest.raises(ValueError, match=rf"log_likelihood changes.*{IN_PLACE}"):
        wfr.Posterior(START, log_likelihood, [2.0, 4.0]).log_density([[1.0]])


def test_functions_of_points_leave_measures_as_they_are():
    particles, grid = wfr.Particles(np.array([[1.0], [3.0]])), wfr.Grid(-7, 9, 64)
    density = grid.density(START)
    asked = {
        "particles": lambda f: particles.expectation(f),
        "density": lambda f: density.expectation(f),
        "metric": lambda f: metrics.ExpectationError(f, "error")(density, particles),
        "region": lambda f: diagnostics.region_mass(f, "region")(particles, None),
        "grid": lambda f: grid.evaluate(f),
        "field": lambda f: curl(lambda x, t: f(x)[..., None], np.zeros((3, 1)), 0.0),
        "axis": lambda f: wfr.Grid(-7, 9, 64, grading=[lambda x: first(x[..., None]) ** 2 + 1]),
    }
    for name, ask in asked.items():
        with pytest.raises(ValueError, match=IN_PLACE):
            ask(first)
        assert particles.mean().tolist() == [2.0], name
    assert particles.expectation(lambda x: x[..., 0] - 1) == pytest.approx(1.0)
    assert metrics.ExpectationError(lambda x: x[..., 0] - 1, "error")(density, particles) == pytest.approx(1.0)


def test_records_leave_the_state_as_it_is():
    def centred(state, energy):
        positions = state.positions
        positions -= 1
        return positions.mean()

    particles = START.sample(20, 0)
    with pytest.raises(ValueError, match=rf"the record 'centred' changes.*{IN_PLACE}"):
        wfr.solve(START, samplers.Langevin(), particles, [0, 1], 0.5, rng=0, record=[centred])
    ds = wfr.solve(
        START, samplers.Langevin(), particles, [0, 1], 0.5, rng=0, record={"centred": lambda s, e: s.positions.mean()}
    )
    assert ds.centred.values == pytest.approx(ds.position.values.mean(axis=(1, 2)))


def test_arrays_can_be_used_again_after_something_was_made_of_them():
    grid, x, weights = wfr.Grid(-7, 9, 64), np.array([[1.0], [3.0]]), np.zeros(2)
    log_values, centres, aux = np.zeros(64), np.array([[0.0], [4.0]]), np.ones((2, 1))
    particles, density = wfr.Particles(x, weights, auxiliary=aux), wfr.Density(grid, log_values)
    masses = diagnostics.mode_masses(centres)
    for array in (x, weights, log_values, centres, aux):
        array[:] = 99 + np.arange(array.size).reshape(array.shape)
    assert particles.mean().tolist() == [2.0]
    assert particles.weights.tolist() == [0.5, 0.5]
    assert particles.auxiliary.tolist() == [[1.0], [1.0]]
    assert density.values[0] == 1.0
    assert masses(particles, None).tolist() == [0.5, 0.5]


def test_a_trajectory_stays_as_it_is_when_its_dataset_changes():
    ds = wfr.solve(wfr.Gaussian(1, 1), wfr.FisherRao(), wfr.Grid(-7, 9, 64).density(START), [0, 1, 2], 1)
    trajectory, density = wfr.Trajectory(ds, wfr.Gaussian(1, 1)), wfr.Density.from_dataset(ds, 1)
    ds.log_density[:] = 0
    assert trajectory.mean(1.0) == pytest.approx([1.0], abs=1e-9)
    assert density.mean() == pytest.approx([1.0], abs=1e-9)


def test_a_likelihood_that_is_complex_is_refused():
    with pytest.raises(ValueError, match="log_likelihood must return real numbers, but returned .* complex128"):
        wfr.Posterior(START, lambda mean, y: -((y - mean) ** 2) + 1j, [2.0, 4.0]).log_density([[1.0]])
    right = wfr.Posterior(START, lambda mean, y: -((y - mean) ** 2) / 2, [2.0, 4.0])
    assert right.score([[1.0]])[0, 0] == pytest.approx(4.0, rel=1e-12)  # by complex steps: 0 of the prior, 1 and 3
