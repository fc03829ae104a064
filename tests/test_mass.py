"""The mass of a density by the sums over five grids, where one sum is wrong."""

import math

import numpy as np
import pytest
from scipy import integrate

import wfr_pde as wfr
from wfr_pde.certificate import RATIOS
from wfr_pde.grid_family import Cells, cells_for
from wfr_pde.mass import FamilyMass
from wfr_pde.problem import Problem


def family(target, start, box, real_walls=False, breaks=None, **options):
    """The mass on grids of a box, and the finest grid."""
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    lower, upper = (np.atleast_1d(np.asarray(end, dtype=float)) for end in box)
    cells = cells_for(problem, (lower, upper), {"max_cut": 1.0, **options}, breaks, real_walls)
    grids = [cells.grid(ratio) for ratio in RATIOS]
    return FamilyMass(problem, grids, RATIOS, cells), grids[-1]


def masses(mass, grid, distribution, log_normaliser, t=0.0):
    """Measured log mass, the doubt, and the error of the sum over the cells of the finest grid."""
    log_values = np.asarray(grid.evaluate(distribution.log_density)) - log_normaliser
    found, doubt = mass(log_values, t)
    return found, doubt, float(grid.log_integrate(log_values))


def test_a_density_that_ends_inside_has_the_mass_of_every_sum():
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.5)
    mass, grid = family(target, start, (-9.0, 9.0))
    found, doubt, single = masses(mass, grid, start, start.log_normaliser)
    assert abs(found) < 1e-11  # the sums of a Gaussian over cells of half a standard deviation: exp(-2 pi^2 4)
    assert doubt < 1e-11
    for t in (0.0, 0.5):  # between Gaussians the reaction makes Gaussians, whose sums are right
        beside, doubt = mass.by_reaction(t)
        assert abs(beside) < 1e-11
        assert doubt < 1e-11
    assert abs(mass.by_reaction(0.0)[0] + single) < 1e-14  # the normaliser is known


@pytest.mark.parametrize("log_scale", [-700.0, 0.0, 5.0])
def test_constants_are_found(log_scale):
    target, start = wfr.Gaussian([0, 0], 1), wfr.Gaussian([-1, 0], 0.5)
    mass, grid = family(target, start, ([-9.0, -9.0], [9.0, 9.0]))
    found, doubt, _ = masses(mass, grid, start, start.log_normaliser - log_scale)
    assert found == pytest.approx(log_scale, abs=1e-10)
    assert doubt < 1e-10


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_slopes_at_walls_cost_nothing(rate):
    # found by looking: the sum over the cells is off by dx^2 there, on all grids alike, and nobody saw it
    target, start = wfr.Potential("x", ndim=1), wfr.Potential(lambda x: rate * x, ndim=1)
    mass, grid = family(target, start, (0.0, 40.0), real_walls=True)
    known = math.log(-math.expm1(-40 * rate) / rate)
    found, doubt, single = masses(mass, grid, start, known)
    assert abs(found) <= doubt < 1e-4
    assert abs(found) < 0.02 * abs(single)
    for t in (0.0, 0.7):  # what the reaction makes of the start is as exponential
        s = math.exp(-t)
        between = s * rate + 1 - s
        log_sum = float(grid.log_integrate(-between * grid.points()[:, 0]))
        beside, doubt = mass.by_reaction(t)
        assert abs(log_sum + beside - math.log(-math.expm1(-40 * between) / between)) <= doubt < 1e-4


def test_kinks_on_edges_cost_nothing():
    target = wfr.Potential("abs(x)")
    mass, grid = family(target, target, (-36.0, 36.0), breaks=[np.array([0.0])])
    found, doubt, single = masses(mass, grid, target, math.log(2))
    assert abs(found) <= doubt + 1e-13
    assert abs(found) < 0.02 * abs(single)


def test_a_target_that_moves_is_looked_at_as_it_is():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1))
    mass, grid = family(path, wfr.Gaussian(-1, 0.5), (-9.0, 9.0))
    at = path.at(0.5)
    log_values = np.asarray(grid.evaluate(at.log_density))
    known = float(grid.log_integrate(log_values))
    assert mass(log_values, 0.5)[0] == pytest.approx(known, abs=1e-11)
    one, other = (potentials[-1] for potentials in (mass.potentials(0.0), mass.potentials(0.5)))
    assert np.ptp(one - other) > 1


def test_a_feature_between_the_centres_is_doubted():
    target = wfr.Potential(lambda x: x**2 / 2 - 3 * np.exp(-((x - 0.3) ** 2) / (2 * 0.05**2)), ndim=1)
    problem = Problem(target, wfr.Gaussian(0, 1), np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    cells = Cells(np.array([-8.0]), np.array([8.0]), (40,), (None,))
    grids = [cells.grid(ratio) for ratio in RATIOS]
    mass = FamilyMass(problem, grids, RATIOS, cells)
    found, doubt = mass(target.log_density(grids[-1].points()), 0.0)
    known, _ = integrate.quad(lambda x: math.exp(target.log_density(np.array([x]))), -8, 8, points=[0.1, 0.3, 0.5])
    assert abs(found - math.log(known)) <= doubt
    assert doubt > 1e-3
