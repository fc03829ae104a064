"""KL: value, first variation, the exact Fisher-Rao map."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.errors import NoEquilibriumError

GRID = wfr.Grid([-7, -7], [7, 7], (70, 64))
TARGET = wfr.Gaussian([0, 0.5], [[1, 0.3], [0.3, 0.8]])
START = wfr.Gaussian([-1, 0], [[0.5, -0.2], [-0.2, 0.6]])
ENERGY = wfr.KL(TARGET)


@pytest.fixture(scope="module")
def start():
    return GRID.density(START)


def gaussian_kl(p, q):
    d = q.mean - p.mean
    ratio = q.precision @ p.covariance
    return 0.5 * (np.trace(ratio) - len(d) + d @ q.precision @ d - np.linalg.slogdet(ratio)[1])


def test_value_is_the_closed_form(start):
    assert ENERGY.value(start) == pytest.approx(gaussian_kl(START, TARGET), rel=1e-10)


@pytest.mark.parametrize("shift", [1e-1, 1e-3, 1e-5, 1e-6])
def test_value_keeps_its_digits_near_equilibrium(shift):
    near = wfr.Gaussian(TARGET.mean + [shift, 0], TARGET.covariance)
    # KL = shift² A_11 / 2, from log-densities known to 1e-14: relative error about 1e-14 / shift, times a few
    assert ENERGY.value(GRID.density(near)) == pytest.approx(gaussian_kl(near, TARGET), rel=1e-13 / shift + 1e-9)


def test_value_thousands_of_nats_away():
    grid = wfr.Grid(-14, 9, 900)
    start = wfr.Gaussian(-10, 0.01)
    assert wfr.KL(wfr.Gaussian(0, 1)).value(grid.density(start)) == pytest.approx(
        gaussian_kl(start, wfr.Gaussian(0, 1)), rel=1e-11
    )


def test_log_ratio_is_the_first_variation(start):
    """d/de F(mu + e h) = ∫ g h for h of mass zero."""
    direction = start.values * (GRID.points()[..., 0] - start.mean()[0])
    e = 1e-4

    def value(sign):
        return ENERGY.value(wfr.Density(GRID, np.log(start.values + sign * e * direction)))

    slope = (value(1) - value(-1)) / (2 * e)
    assert slope == pytest.approx(float(GRID.integrate(ENERGY.first_variation(start) * direction)), rel=1e-6)  # O(e²)


def test_fisher_rao_map_is_a_semigroup_that_keeps_mass_and_fixes_pi(start):
    once = ENERGY.reaction(start, 0.7)
    twice = ENERGY.reaction(ENERGY.reaction(start, 0.3), 0.4)
    assert np.abs(once.log_values - twice.log_values).max() < 1e-12
    assert once.mass == pytest.approx(1, abs=1e-13)
    pi = wfr.Density(GRID, ENERGY.log_equilibrium(GRID))
    assert np.abs(ENERGY.reaction(pi, 1.0).log_values - pi.log_values).max() < 1e-13
    assert ENERGY.reaction(start, 0.0).log_values == pytest.approx(start.log_values, abs=1e-13)
    assert ENERGY.reaction(start, 800.0).log_values == pytest.approx(pi.log_values, abs=1e-12)


def test_fisher_rao_map_interpolates_precisions(start):
    s = math.exp(-0.7)
    precision = s * START.precision + (1 - s) * TARGET.precision
    mean = np.linalg.solve(precision, s * START.precision @ START.mean + (1 - s) * TARGET.precision @ TARGET.mean)
    exact = GRID.log_density(wfr.Gaussian(mean, np.linalg.inv(precision)))
    assert np.abs(ENERGY.reaction(start, 0.7).log_values - exact).max() < 1e-11


def test_moving_energy(start):
    path = wfr.KL(wfr.GeometricPath(START, TARGET, schedule=lambda t: t))
    assert path.moving
    assert not ENERGY.moving
    assert ENERGY.at(3.0) is ENERGY
    assert path.at(0.0).value(start) == pytest.approx(0, abs=1e-13)
    assert path.at(1.0).value(start) == pytest.approx(ENERGY.value(start), rel=1e-10)


def test_target_is_evaluated_once_per_grid(start):
    calls = []

    class Counted(wfr.Gaussian):
        def log_density(self, points):
            calls.append(1)
            return super().log_density(points)

    energy = wfr.KL(Counted(TARGET.mean, TARGET.covariance))
    energy.value(start)
    once = len(calls)
    for _ in range(3):
        energy.value(start)
    assert len(calls) == once


def test_an_energy_without_a_minimiser_says_so():
    class Entropy(wfr.Energy):
        name = "entropy"

        def value(self, state):
            return state.grid.sum(state.values * state.log_values * state.grid.cell_volume)

    for ask in (
        lambda e: e.equilibrium,
        lambda e: e.log_equilibrium(GRID),
        lambda e: e.reference(GRID.density(TARGET)),
    ):
        with pytest.raises(NoEquilibriumError, match="Entropy has no minimiser that is known"):
            ask(Entropy())
    with pytest.raises(TypeError, match="Langevin is a flow of KL, not of Entropy"):
        wfr.samplers.Langevin().check(Entropy(), wfr.Particles([[0.0, 0.0]]))


def test_hooks_by_their_old_names_are_refused():
    with pytest.raises(TypeError, match="Mine.log_ratio is a hook by its old name: call it first_variation"):
        type("Mine", (wfr.Energy,), {"log_ratio": lambda self, state: 0})


def test_energies_are_told_apart_where_a_start_is():
    particles = wfr.Particles([[0.0, 0.0], [1.0, 0.5]])
    for start in (GRID.density(TARGET), particles):
        one, other = (wfr.KL(wfr.Gaussian([0, 0], v)).reference(start) for v in (1.0, 1.1))
        assert one.shape == other.shape
        assert not np.allclose(one, other)
    np.testing.assert_allclose(ENERGY.reference(particles), ENERGY.target.log_density(particles.positions))
