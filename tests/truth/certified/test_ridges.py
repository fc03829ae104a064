"""Ridges: certified in the principal axes and under ceilings, and read in the coordinates of the target."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.truth.certified.evidence.cell_quadrature import CellQuadrature
from wfr_pde.truth.certified.grids import first_grids as box_and_cells
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.preparation.prepared import prepared
from wfr_pde.truth.certified.preparation.reach import Ceilings
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain
from wfr_pde.truth.certified.refinement import _largest

ANGLE = np.pi / 4
Q = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
TARGET = wfr.Gaussian([1.0, -0.5], Q @ np.diag([1.0, 0.03]) @ Q.T)  # correlation 0.94
START = wfr.Gaussian([0.0, 0.0], 0.1)
TIMES = np.array([0.0, 0.4])
RTOL = 1e-3


@pytest.fixture(scope="module")
def run():
    return wfr.ground_truth(TARGET, START, TIMES, rtol=RTOL, seconds=120)


def exact():
    return wfr.exact.gaussian_flow(TARGET, START, TIMES)


def log_prob(state, points):
    return state.log_density(points) - state.log_normaliser


def lattice(state, n=161):
    """Points of a lattice over nine standard deviations along the axes of a Gaussian, and the area of its cells."""
    values, vectors = np.linalg.eigh(state.covariance)
    u = np.linspace(-9, 9, n)
    mesh = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1)
    area = np.sqrt(values.prod()) * (u[1] - u[0]) ** 2
    return state.mean + (mesh * np.sqrt(values)) @ vectors.T, area


def test_axes_are_turned(run):
    rotation = np.reshape(json.loads(run.attrs["rotation"]), (2, 2))
    wide = rotation[:, np.argmax(np.abs(rotation.T @ Q[:, 0]))]
    assert abs(wide @ Q[:, 0]) == pytest.approx(1, abs=1e-6)
    assert run.attrs["start"] == repr(START)  # as given


def test_l1_error_is_below_the_bound(run):
    path = wfr.Trajectory(run)
    for k, state in enumerate(exact()):
        points, area = lattice(state)
        error = np.abs(np.exp(path.log_prob(points, TIMES[k])) - np.exp(log_prob(state, points))).sum() * area
        assert error <= float(run["error_l1"][k]) + 1e-9
        assert float(run["error_l1"][k]) <= RTOL


def test_kl_is_that_of_the_closed_form(run):
    from wfr_pde.truth.exact.gaussian import gaussian_kl

    for k, state in enumerate(exact()):
        assert abs(float(run["kl"][k]) - gaussian_kl(state, TARGET)) <= float(run["error_kl"][k])


def test_trajectory_is_in_the_coordinates_of_the_target(run):
    path = wfr.Trajectory(run, TARGET)
    state, t = exact()[-1], TIMES[-1]
    np.testing.assert_allclose(path.mean(t), state.mean, atol=1e-3)
    np.testing.assert_allclose(path.covariance(t), state.covariance, atol=1e-3)
    points = state.sample(50, rng=1)
    np.testing.assert_allclose(path.log_prob(points, t), log_prob(state, points), atol=1e-2)
    np.testing.assert_allclose(path.score(points, t), state.score(points), atol=0.05)
    np.testing.assert_allclose(path.velocity(points, t), TARGET.score(points) - state.score(points), atol=0.05)
    growth = state.log_density(points) - TARGET.log_density(points)
    np.testing.assert_allclose(np.diff(path.growth(points, t)), -np.diff(growth), atol=0.02)
    draws = path.sample(4000, t, rng=0)
    np.testing.assert_allclose(np.cov(draws.T), state.covariance, atol=0.06)
    assert np.isfinite(path.log_prob_error(state.mean, t))
    assert path.mode_masses([state.mean, state.mean + 50.0], t)[0] == pytest.approx(1)


def test_densities_of_turned_grids_are_refused(run):
    for attempt in (lambda: wfr.Density.from_dataset(run), lambda: wfr.Trajectory(run).at(0.1)):
        with pytest.raises(ValueError, match=r"principal axes.*turn=False"):
            attempt()


@pytest.mark.parametrize(
    ("target", "start"),
    [
        (wfr.Gaussian([0.0, 0.0], 1.0), wfr.Gaussian([1.0, 1.0], 0.5)),
        (wfr.GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], [0.5, 0.5], 0.3), wfr.Gaussian([0.0, 0.0], 1.0)),
        (wfr.Potential("(x**2 - 1)**2 + y**2/2"), wfr.Gaussian([0.0, 0.0], 0.5)),
        (wfr.Gaussian([0.0, 0.0, 0.0], 1.0), wfr.Gaussian([1.0, 1.0, 1.0], 0.5)),
    ],
)
def test_nothing_changes_for_what_fits_the_axes(target, start):
    problem = Problem(target, start, TIMES, 1.0, 1.0, RTOL)
    assert box_and_cells.ready_for_cells(problem, {"boundary": "no-flux", "names": None, "max_cut": 1.0}, True) is None
    terrain = box_and_cells.first_terrain(problem, None, "no-flux", None, 1e-6)
    assert terrain.problem is problem


def test_turning_can_be_forbidden():
    problem = Problem(TARGET, START, TIMES, 1.0, 1.0, RTOL)
    terrain = box_and_cells.first_terrain(problem, None, "no-flux", None, 1e-6, turn=False)
    assert terrain.problem is problem
    turned = box_and_cells.first_terrain(problem, None, "no-flux", None, 1e-6).problem
    assert turned.frame is not None
    assert turned.given is problem


def capped_problem(levels):
    target = wfr.Potential("(x**4 + y**4)/4 + x*y/4")
    ceilings = Ceilings(np.array([-np.inf, 0.05]), np.array(levels), 0.0, 0.0)
    return Problem(target, wfr.Gaussian([1.0, 0.0], 0.1), np.array([0.0, 0.1]), 1.0, 1.0, RTOL, ceilings=ceilings)


def test_chain_under_ceilings_is_that_without_where_mass_is():
    grid = wfr.Grid([-4.0, -4.0], [4.0, 4.0], 40)
    densities = []
    for levels in ([np.inf, np.inf], [60.0, 40.0]):
        problem = capped_problem(levels)
        chain = RatioChain(problem, grid, 1e-10)
        start = wfr.Density(grid, grid.log_density(problem.start, checked=False))
        g, t = problem.log_ratio(start, 0.0), 0.0
        for dt in (0.02, 0.02, 0.02, 0.04):  # the ceiling falls within the third
            g, t = chain.step(g, t, dt, 4), t + dt
        densities.append(problem.density(grid, g, t))
    assert wfr.metrics.l1(*densities) < 1e-8


def test_as_few_panels_are_cut_as_leave_little_in_the_others():
    values = np.array([3.0, 0.5, 8.0, 1.0, 0.25])
    for rest, expected in ((0.0, 5), (0.3, 4), (2.0, 2), (4.75, 1), (20.0, 0)):
        cut = _largest(values, rest)
        assert cut.sum() == expected
        assert values[~cut].sum() <= rest
        assert cut.all() or not cut.any() or values[cut].min() >= values[~cut].max()


def test_ceilings_too_low_are_told_from_those_that_do_nothing():
    grid = wfr.Grid([-4.0, -4.0], [4.0, 4.0], 40)
    densities = []
    for levels in ([2.0, 1.0], [60.0, 40.0]):
        problem = capped_problem(levels)
        start = wfr.Density(grid, grid.log_density(problem.start, checked=False))
        g = RatioChain(problem, grid, 1e-10).step(problem.log_ratio(start, 0.0), 0.0, 0.04, 4)
        densities.append(problem.density(grid, g, 0.04))
    assert wfr.metrics.l1(*densities) > 1e-3


def test_kl_has_the_normaliser_that_is_known():
    target = wfr.Potential("x**2/2 + y**2/2")
    grid = wfr.Grid([-2.0, -2.0], [2.0, 2.0], 200, max_cut=1.0)  # cuts off some of the target
    problem = Problem(
        target, wfr.Gaussian([0.0, 0.0], 0.05), TIMES, 1.0, 1.0, RTOL, log_normaliser=float(np.log(2 * np.pi))
    )
    state = wfr.Density(grid, grid.log_density(problem.start, checked=False))
    exact_kl = -np.log(0.05) + 0.05 - 1  # of two isotropic Gaussians in two dimensions
    assert problem.kl(state, 0.0) == pytest.approx(exact_kl, abs=1e-3)
    assert abs(problem.energy.value(state) - exact_kl) > 0.05


def measured(problem, box, counts, start):
    """Mass and KL of a density by the quadrature, as of a later time, and by the sums over the cells."""
    cells = GridFamily(np.array(box[0]), np.array(box[1]), counts, (None, None))
    grid = cells.grid(2)
    state = wfr.Density(grid, grid.log_density(start, checked=False))
    return CellQuadrature(problem, cells, grid)(np.asarray(state.log_values), 0.1), problem.kl(state, 0.1)


def test_quadrature_has_the_normaliser_that_is_known():
    start = wfr.Gaussian([0.3, 0.0], 0.05)
    problem = Problem(
        wfr.Potential("x**2/2 + y**2/2"), start, TIMES, 1.0, 1.0, RTOL, log_normaliser=float(np.log(2 * np.pi))
    )
    found, _ = measured(problem, ([-2.0, -2.0], [2.0, 2.0]), (40, 40), start)  # cuts off a tenth of the target
    exact_kl = -np.log(0.05) + 0.05 - 1 + 0.3**2 / 2
    assert abs(found.kl - exact_kl) <= found.kl_doubt + 1e-12
    assert found.kl_doubt < 1e-8
    cells = replace(problem, log_normaliser=None)
    other, _ = measured(cells, ([-2.0, -2.0], [2.0, 2.0]), (40, 40), start)
    assert abs(other.kl - exact_kl) > 0.05  # that of the cells is another KL
    assert other.log_mass == pytest.approx(found.log_mass, abs=1e-13)


@pytest.mark.parametrize("levels", [[60.0, 40.0], [60.0, 1.0]])
def test_quadrature_under_ceilings_is_that_without(levels):
    # a ceiling of 1 nat is below half of the mass: KL is to pi without a cap all the same
    problem, box = capped_problem(levels), ([-4.0, -4.0], [4.0, 4.0])
    found, sums = measured(problem, box, (60, 60), wfr.Gaussian([1.0, 0.0], 0.1))
    plain, _ = measured(replace(problem, ceilings=None), box, (60, 60), wfr.Gaussian([1.0, 0.0], 0.1))
    assert abs(found.kl - plain.kl) <= found.kl_doubt + plain.kl_doubt + 1e-12
    assert found.kl == pytest.approx(sums, abs=1e-6)
    assert found.log_mass == pytest.approx(plain.log_mass, abs=1e-6)


def mass_of_pi(V, noise=None):
    """What the quadrature finds for pi under a ceiling of 300 nats, with noise above it, and the error of the mass."""
    problem = replace(capped_problem([np.inf, 300.0]), target=wfr.Potential(V))
    cells = GridFamily(np.array([-4.0, -4.0]), np.array([4.0, 4.0]), (60, 60), (None, None))
    grid, many = cells.grid(2), wfr.Grid([-4.0, -4.0], [4.0, 4.0], 2000, max_cut=1.0)
    log_values = np.asarray(grid.evaluate(problem.seen(0.1).target.log_density))
    if noise is not None:
        log_values += np.where(log_values < -300, noise.uniform(-200, 200, grid.shape), 0.0)
    exact = float(many.log_integrate(many.evaluate(problem.target.log_density)))
    found = CellQuadrature(problem, cells, grid)(log_values, 0.1)
    return found, abs(math.expm1(exact - found.log_mass))


def test_log_ratios_are_interpolated_with_the_capped_potential():
    # V has 10^34 nats where the cap ends at 600: polynomials through log mu + V would make a fifth more of the mass
    found, error = mass_of_pi("x**2/2 + 2*cosh(20*y)")
    assert error < 1e-5
    assert error <= 3 * found.mass_doubt


def test_high_up_polynomials_put_no_mass_between_the_centres():
    found, error = mass_of_pi("(x**2 + y**2)/2 + 100*(y - x**2/4)**2", np.random.default_rng(0))
    assert error < 1e-6
    assert found.mass_doubt < 1e-6


def test_where_that_limits_mass_it_is_in_doubt():
    found, error = mass_of_pi(
        "x**2/2 + 2*cosh(40*y)"
    )  # one cell across: the top between two centres is more than a nat above them
    assert error > 0.1
    assert error <= 3 * found.mass_doubt


def test_axes_with_breaks_that_no_function_names_stay():
    problem = Problem(
        wfr.Potential(lambda x, y: 200 * (x - y) ** 2 + x**2 / 2 + np.abs(x), 2),
        wfr.Gaussian([0.0, 0.0], 1.0),
        TIMES,
        1.0,
        1.0,
        RTOL,
    )
    assert prepared(problem).frame.is_given
    smooth = replace(problem, target=wfr.Potential(lambda x, y: 200 * (x - y) ** 2 + x**2 / 2, 2))
    assert not prepared(smooth).frame.is_given
