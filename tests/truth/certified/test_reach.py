"""Where the mass of a flow gets to."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import erfc

from wfr_pde import exact, metrics
from wfr_pde.energies import KL
from wfr_pde.flows import FiniteVolume, FisherRao, Strang
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets import Banana, Gaussian, GaussianMixture, GeometricPath, Potential
from wfr_pde.targets.capped import Capped
from wfr_pde.truth.certified.preparation.reach import Ceilings, capped, reach
from wfr_pde.truth.certified.preparation.under_ceilings import UnderCeilings
from wfr_pde.truth.certified.problem import Problem

TAIL = 1e-5
OPEN = {"max_cut": 1.0}


def problem(target, start, last, alpha=1.0, beta=1.0):
    return Problem(target, start, np.array([0.0, last]), alpha, beta, 1e-3)


def covering(*distributions):
    boxes = [each.box(1e-8) for each in distributions]
    return np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)


WIDE = problem(Gaussian([0, 0], [400.0, 1.0]), Gaussian([0, 0], 1), 0.5)


def test_the_box_holds_the_mass_and_little_more():
    box = covering(WIDE.target, WIDE.start)
    found = reach(WIDE, box, OPEN, TAIL, fixed=False)
    sd = math.sqrt(exact.gaussian_flow(WIDE.target, WIDE.start, 0.5).covariance[0, 0])
    assert found.upper[0] > 4.4 * sd  # 1e-5 of the mass is beyond 4.4 standard deviations
    assert found.lower[0] < -4.4 * sd
    assert found.upper[0] < 0.25 * box[1][0]
    assert found.outside <= TAIL


def test_a_far_mode_that_mass_gets_to_stays_in_the_box():
    target = GaussianMixture([[0, 0], [9, 0]], [0.5, 0.5], 0.5)
    own = problem(target, Gaussian([0, 0], 0.5), 6.0)
    found = reach(own, covering(target, own.start), OPEN, TAIL, fixed=False)
    assert found.upper[0] > 9 + 3 * math.sqrt(0.5)


STEEP = problem(Gaussian([0, 0], [1.0, 1e-4]), Gaussian([0, 0], 1), 1.0)


def test_the_ceilings_fall_and_stay_above_the_mass():
    found = reach(STEEP, covering(STEEP.target, STEEP.start), OPEN, TAIL, fixed=False)
    ceilings = found.ceilings
    assert len(ceilings.levels) >= 3
    assert np.all(np.diff(ceilings.levels) < 0)
    for start, level in zip(ceilings.starts[1:], ceilings.levels[1:], strict=True):
        variance = exact.gaussian_flow(STEEP.target, STEEP.start, start).covariance[1, 1]
        # V = x²/2 + 1e4 y²/2, and the first part is below 20 but for a mass of 3e-10
        above = erfc(math.sqrt((level - ceilings.lowest - 20) / (1e4 * variance)))
        assert above < TAIL


def test_without_a_wide_range_there_is_no_ceiling():
    own = problem(Gaussian([0, 0], 1), Gaussian([1, 0], 0.5), 1.0)
    found = reach(own, covering(own.target, own.start), OPEN, TAIL, fixed=True)
    assert math.isinf(found.ceilings.level(0.5))
    assert found.ceilings.cap(own.target, 0.5) is own.target


def test_a_fixed_box_stays():
    lower, upper = np.array([-5.0, -5]), np.array([50.0, 5])
    found = reach(WIDE, (lower, upper), OPEN, TAIL, fixed=True)
    np.testing.assert_array_equal(found.lower, lower)
    np.testing.assert_array_equal(found.upper, upper)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0)])
def test_transport_or_reaction_alone(alpha, beta):
    own = problem(Banana(), Gaussian([0, 0], 1), 0.2, alpha, beta)
    found = reach(own, covering(own.target, own.start), OPEN, TAIL, fixed=False)
    assert np.all(found.lower < -4)
    assert np.all(found.upper > 4)


def test_a_moving_target_is_refused():
    own = problem(GeometricPath(Gaussian(0, 1), Gaussian(1, 1)), Gaussian(0, 1), 1.0)
    with pytest.raises(ValueError, match="moves"):
        reach(own, (np.array([-5.0]), np.array([5.0])), OPEN, TAIL, fixed=False)


def test_levels_over_time():
    ceilings = Ceilings(np.array([-math.inf, 0.1, 0.2]), np.array([math.inf, 1010.0, 310.0]), 10.0, 0.0)
    assert [ceilings.level(t) for t in (-1.0, 0.0, 0.1, 0.15, 0.2, 9.0)] == [math.inf, math.inf, 1010, 1010, 310, 310]
    np.testing.assert_allclose(ceilings.raised(2).levels, [math.inf, 2010, 610])
    target = Gaussian(0, 1)
    assert capped(target, math.inf, 0.0) is target
    assert isinstance(ceilings.cap(target, 0.3), Capped)
    assert Ceilings.none().level(0.0) == math.inf


# steps under ceilings

MUSTACHE = Potential("(x**2 - 1.8*x*(y - (x**2 - 1)**2) + (y - (x**2 - 1)**2)**2)/.38")
GRID = Grid([-4, -4.5], [4, 9], [40, 32], max_cut=1.0)
FLOW = Strang(FisherRao(1.0), FiniteVolume(1.0, tolerance=1e-8))
LAST = 0.01
TIMES = [0.0, *np.geomspace(1e-4, LAST, 6)]


def solved(flow):
    energy = KL(MUSTACHE, checked=False)
    state = Density(GRID, GRID.log_density(Gaussian([0, 0], 1), "the start", checked=False))
    for t, following in pairwise(TIMES):
        state = flow.make_step(energy, state, following - t)(state, t)
    return state


def test_a_solution_under_ceilings_is_that_without():
    own = Problem(MUSTACHE, Gaussian([0, 0], 1), np.array([0, LAST]), 1.0, 1.0, 1e-3)
    box = np.array([-4.0, -4.5]), np.array([4.0, 9.0])
    ceilings = reach(own, box, OPEN, TAIL, fixed=True).ceilings
    assert ceilings.levels[-1] < 2000
    free = solved(FLOW)
    # the ceilings let pass 1e-5 of the mass each
    assert metrics.l1(free, solved(UnderCeilings(FLOW, ceilings))) <= 2 * max(ceilings.above, TAIL)
    # and a cap that mass is above is seen
    low = Ceilings(np.array([-math.inf]), np.array([30.0]), 0.0, 0.0)
    assert metrics.l1(free, solved(UnderCeilings(FLOW, low))) > 1e-3


def test_without_ceilings_the_flow_is_the_same_to_the_bit():
    np.testing.assert_array_equal(solved(UnderCeilings(FLOW, Ceilings.none())).log_values, solved(FLOW).log_values)


def test_ceilings_are_not_for_moving_targets():
    path = GeometricPath(Gaussian([0, 0], 1), Gaussian([1, 0], 1))
    template = Density(GRID, GRID.log_density(Gaussian([0, 0], 1), "the start", checked=False))
    with pytest.raises(ValueError, match="no ceilings"):
        UnderCeilings(FLOW, Ceilings.none()).make_step(KL(path), template, 0.1)


def test_a_flow_under_ceilings_is_what_the_flow_is():
    under = UnderCeilings(FLOW, Ceilings.none())
    assert (under.order, under.space_order, under.self_adjoint, under.law) == (2, 2, True, "wfr")
    assert under.preserves == {"mass", "positivity"}
    assert under.map_parts(lambda part: part).flow == FLOW
