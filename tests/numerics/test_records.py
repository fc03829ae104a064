"""Records: equal by what they hold, also after a copy, and helpful about arguments that do not exist."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.numerics.records import Record

TARGETS = {  # how each is made, so that nothing is shared between two of them
    "gaussian": lambda: wfr.Gaussian([0, 1], [[2, 0.5], [0.5, 1]]),
    "double well": lambda: wfr.DoubleWell(1.0),
    "banana": lambda: wfr.Banana(),
    "ring": lambda: wfr.Ring(2.0, 0.3),
    "funnel": lambda: wfr.Funnel(2),
    "four modes": lambda: wfr.FourModes(),
    "mixture": lambda: wfr.GaussianMixture(means=[[0.0], [3.0]], covariances=1.0, weights=[0.5, 0.5]),
    "cosh double well": lambda: wfr.CoshDoubleWell(1.0),
    "expression": lambda: wfr.Potential("abs(x) + x**2", breaks=[1.0]),
    "path": lambda: wfr.GeometricPath(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)),
    "values": lambda: wfr.GridTarget(np.exp(-(np.linspace(-3, 3, 50) ** 2)), -3, 3),
}
COPIES = (lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy, copy.copy)


@pytest.mark.parametrize("make", TARGETS.values(), ids=TARGETS)
def test_targets_made_alike_are_equal_and_have_one_hash(make):
    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != wfr.Gaussian(0, 3)


@pytest.mark.parametrize("make", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_copies_of_targets_are_equal_and_give_the_same_bits(make, copied):
    target = make()
    again = copied(target)
    assert again == target
    at = target.at(0.5), again.at(0.5)
    points = np.random.default_rng(3).uniform(-1, 1, (7, target.ndim))
    np.testing.assert_array_equal(*(each.log_density(points) for each in at))


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_grids_densities_and_energies_travel(copied):
    grid = wfr.Grid([-7, -6], [7, 6], (32, 24), boundary=["no-flux", "periodic"], max_cut=1)
    start, energy = grid.density(wfr.Gaussian([0, 0], 1)), wfr.KL(wfr.Gaussian([1, 0], 2))
    assert energy.value(start) > 0  # fills the caches of both
    grid, again, energy_again = copied(grid), copied(start), copied(energy)
    assert repr(grid) == repr(start.grid)
    np.testing.assert_array_equal(again.log_values, start.log_values)
    assert energy_again.value(again) == energy.value(start)


OBJECTS = {
    "grid": lambda: wfr.Grid([-7, -6], [7, 6], (32, 24), boundary=["no-flux", "periodic"], max_cut=1),
    "graded grid": lambda: wfr.Grid.covering(wfr.Funnel(2.0), shape=40, graded=True),
    "density": lambda: wfr.Grid(-7, 7, 64).density(wfr.Gaussian(0, 1)),
    "particles": lambda: wfr.Particles(np.arange(6.0).reshape(3, 2), np.log([0.2, 0.3, 0.5])),
    "energy": lambda: wfr.KL(wfr.Gaussian(0, 1)),
    "flow": lambda: wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()),
    "sampler with a start": lambda: wfr.samplers.Tempering(wfr.Gaussian(0, 1)),
    "sampler": lambda: wfr.samplers.FeynmanKac(),
    "metric": lambda: wfr.metrics.ModeMasses([[0.0], [1.0]]),
    "trajectory": lambda: wfr.Trajectory(certified(), wfr.Gaussian(0, 1)),
    "oracle": lambda: wfr.samplers.Oracle(certified()),
}


def certified():
    """A certified solution, computed anew."""
    return wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 0.8), [0, 0.5], rtol=1e-3)


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_objects_made_alike_are_equal_and_have_one_hash(make):
    assert make() == make()
    assert hash(make()) == hash(make())
    assert copy.deepcopy(make()) == make()


def test_what_differs_is_not_equal():
    grid, particles = OBJECTS["grid"](), OBJECTS["particles"]()
    assert grid != wfr.Grid([-7, -6], [7, 6], (32, 25), boundary=["no-flux", "periodic"], max_cut=1)
    assert grid != wfr.Grid([-7, -6], [7, 6], (32, 24), max_cut=1)
    assert particles != wfr.Particles(particles.positions + 1e-15 * np.arange(6).reshape(3, 2), particles.log_weights)
    line = wfr.Grid(-7, 7, 64)
    assert line.density(wfr.Gaussian(0, 1)) != line.density(wfr.Gaussian(0, 1.001))
    assert wfr.KL(wfr.Gaussian(0, 1)) != wfr.KL(wfr.Gaussian(0, 2))
    assert wfr.samplers.Tempering(wfr.Gaussian(0, 1)) != wfr.samplers.Tempering(wfr.Gaussian(0, 2))
    assert wfr.FisherRao() != wfr.FisherRao(2.0)


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_reprs_are_short(make):
    assert len(repr(make())) < 300
    assert "\n" not in repr(make())


def test_trajectories_travel():
    truth = wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 0.8), [0, 0.5], rtol=1e-3)
    trajectory = wfr.Trajectory(truth, wfr.Gaussian(0, 1))
    again = pickle.loads(pickle.dumps(trajectory))
    assert again.log_prob([[0.3]], 0.2) == trajectory.log_prob([[0.3]], 0.2)


def test_equality_reads_every_entry_and_zeros_have_no_sign():
    values = np.exp(-(np.linspace(-3, 3, 5000) ** 2))
    other = values.copy()
    other[4321] *= 1 + 1e-12
    assert wfr.GridTarget(values, -3, 3) != wfr.GridTarget(other, -3, 3)
    assert wfr.Gaussian(-0.0, 1) == wfr.Gaussian(0.0, 1)
    assert hash(wfr.Gaussian(-0.0, 1)) == hash(wfr.Gaussian(0.0, 1))


def test_functions_are_the_same_only_if_they_are_one():
    def well(x):
        return x**4

    assert wfr.Potential(well) == wfr.Potential(well)
    assert wfr.Potential(well) != wfr.Potential(lambda x: x**4)


def test_a_class_that_adds_something_of_its_own_is_equal_to_itself_only():
    class Shifted(wfr.Gaussian):
        def __init__(self, shift):
            super().__init__(0, 1)
            object.__setattr__(self, "shift", shift)

    first, second = Shifted(1), Shifted(2)
    assert first != second
    assert first == first


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: wfr.Gaussian(mean=0, std=1), "no argument 'std', did you mean covariance, which holds variances"),
        (lambda: wfr.Gaussian(means=0, covariance=1), "did you mean mean?"),
        (lambda: wfr.DoubleWell(heigth=1), "did you mean height?"),
        (lambda: wfr.FourModes(depth=1), "it takes no arguments"),
        (
            lambda: wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1), [0, 1], record=["kl"]),
            "no argument 'record': solve has; of a stored density ask wfr.diagnostics, .* it takes target, start",
        ),
    ],
)
def test_an_argument_that_does_not_exist_is_refused_with_what_was_meant(make, said):
    with pytest.raises(TypeError, match=said.replace("?", r"\?")):
        make()


def test_a_class_that_takes_any_names_takes_them():
    @dataclass(frozen=True, eq=False)
    class Loose(Record):
        x: float = 0.0

        def __init__(self, **options):
            object.__setattr__(self, "x", options.get("y", 0.0))

    assert Loose(y=2.0) == Loose(y=2.0)
