"""The second family of schemes: its error is what it says, and it says where it has nothing to say."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.energies import KL
from wfr_pde.flows import Extrapolated, FiniteVolume, FisherRao, Strang
from wfr_pde.space.axis import Axis
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.kernel_of_axis import log_heat_kernel
from wfr_pde.space.transfer import Interpolation
from wfr_pde.truth.certified.evidence.kernel_runs import KernelRuns, heat_matrix, interpolated
from wfr_pde.truth.certified.evidence.limits import limit_in_time
from wfr_pde.truth.certified.evidence.second_family import (
    agreement,
    second_opinion,
)
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.exact.gaussian import gaussian_flow

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(1.5, 0.3)
BOX = np.array([-8.0]), np.array([9.0])
TIMES = np.array([0.0, 0.2, 1.0])


def problem_of(target=TARGET, start=START, times=TIMES, alpha=1.0, beta=1.0, rtol=1e-4):
    return Problem(target, start, np.asarray(times, dtype=float), alpha, beta, rtol)


def exact_values(opinion, k):
    """The Gaussian closed form on the opinion's grid."""
    p = opinion.problem
    gaussian = gaussian_flow(p.target, p.start, float(p.times[k]), p.alpha, p.beta)
    return np.exp(opinion.grid.evaluate(gaussian.log_density) - gaussian.log_normaliser)


def true_errors(opinion):
    return np.array(
        [
            opinion.grid.integrate(np.abs(exact_values(opinion, k) - opinion.densities[k].values))
            for k in np.flatnonzero(opinion.reached)
        ]
    )


def kl_of_gaussians(m, c, target=TARGET):
    b, v = float(target.mean[0]), float(np.asarray(target.covariance).ravel()[0])
    return 0.5 * (c / v + (m - b) ** 2 / v - 1 - math.log(c / v))


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_gaussians_on_a_line(beta, rtol):
    opinion = second_opinion(problem_of(beta=beta, rtol=rtol), *BOX)
    assert opinion.reached.all()
    assert (true_errors(opinion) <= opinion.error_l1).all()
    assert opinion.error_l1.max() <= rtol
    for k, t in enumerate(TIMES):
        g = gaussian_flow(TARGET, START, float(t), 1.0, beta)
        exact = kl_of_gaussians(float(g.mean[0]), float(np.asarray(g.covariance).ravel()[0]))
        assert abs(opinion.kl[k] - exact) <= opinion.error_kl[k]


@pytest.mark.parametrize("d", [2, 3])
def test_gaussians_in_more_dimensions(d):
    target, start = wfr.Gaussian(np.zeros(d), np.eye(d)), wfr.Gaussian(0.7 * np.ones(d), 0.6 * np.eye(d))
    opinion = second_opinion(problem_of(target, start, [0, 0.7], rtol=1e-2), np.full(d, -6.0), np.full(d, 6.0))
    assert opinion.reached.all()
    assert (true_errors(opinion) <= opinion.error_l1).all()
    assert opinion.error_l1.max() < 1e-2


def test_far_start_takes_sums_of_logarithms():
    problem = problem_of(start=wfr.Gaussian(-9, 0.05), times=[0, 1.0], beta=3.0, rtol=1e-2)
    lower, upper = np.array([-12.0]), np.array([7.0])
    assert not KernelRuns(problem, Grid(lower, upper, 300)).on_a_line  # its mu/pi spans too many nats
    opinion = second_opinion(problem, lower, upper)
    assert (true_errors(opinion) <= opinion.error_l1).all()
    assert opinion.error_l1.max() < 1e-2


def test_circle():
    """To the uniform density by the heat equation: 1 + e^-t cos(x) / 2 over 2 pi."""
    start = wfr.Potential("-log(1 + cos(x)/2)")
    problem = problem_of(wfr.Potential("0*x"), start, beta=0.0)
    opinion = second_opinion(problem, np.array([0.0]), np.array([2 * math.pi]), {"boundary": "periodic"})
    x = opinion.grid.axes[0].centres
    for k, t in enumerate(TIMES):
        exact = (1 + math.exp(-t) * np.cos(x) / 2) / (2 * math.pi)
        assert opinion.grid.integrate(np.abs(exact - opinion.densities[k].values)) <= opinion.error_l1[k] < 1e-4


def test_reaction_alone_has_no_errorlimit_in_time():
    opinion = second_opinion(problem_of(alpha=0.0), *BOX)
    assert (true_errors(opinion) <= opinion.error_l1).all()
    assert opinion.error_l1.max() < 1e-9


def test_moving_target():
    """Against finite volumes, of order 4 in dx and 6 in dt, both cheap and far below the error here."""
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1), lambda t: t)
    problem = problem_of(path, wfr.Gaussian(-1, 0.5), [0, 0.5, 1.0], rtol=1e-3)
    opinion = second_opinion(problem, np.array([-6.0]), np.array([7.0]))
    grid = Grid([-6.0], [7.0], 200)
    flow = Extrapolated(Extrapolated(Strang(FisherRao(1.0), FiniteVolume(1.0)), 6), 4, "dx")
    ds = wfr.solve(KL(path), flow, grid.density(problem.start), problem.times, 0.05)
    for k in range(3):
        distance, error = opinion.distance(Density.from_dataset(ds, k), k)
        assert distance <= error + 2e-6  # that of the finite volumes
        assert error < 1e-3


def dry_friction(x, t, m=1.0, sd=0.2):
    """Density of dX = -sgn(X) dt + sqrt(2) dW from N(m, sd^2) (Caughey and Dienes 1961, doi:10.1063/1.1777008)."""
    erfc = np.vectorize(math.erfc)
    z, w = np.polynomial.hermite_e.hermegauss(24)
    x, x0 = x[:, None], m + sd * z
    direct = np.exp(-(abs(x) - abs(x0)) / 2 - t / 4 - (x - x0) ** 2 / (4 * t)) / (2 * math.sqrt(math.pi * t))
    around = np.exp(-abs(x)) * erfc((abs(x) + abs(x0) - t) / (2 * math.sqrt(t))) / 4
    return (direct + around) @ w / w.sum()


def test_kink_is_seen_in_the_order():
    problem = problem_of(wfr.Potential("abs(x)"), wfr.Gaussian(1, 0.04), [0, 0.3, 1.0], beta=0.0)
    opinion = second_opinion(problem, np.array([-13.0]), np.array([14.3]))
    assert "order 2" in opinion.words
    for k in (1, 2):
        exact = dry_friction(opinion.grid.axes[0].centres, problem.times[k])
        error = opinion.grid.integrate(np.abs(exact - opinion.densities[k].values))
        assert error <= opinion.error_l1[k] < 0.03


def test_times_that_no_kernel_reaches():
    opinion = second_opinion(problem_of(times=[0, 1e-9, 0.5]), *BOX)
    assert opinion.reached.tolist() == [True, False, True]
    assert opinion.error_l1[1] == 2
    assert math.isnan(opinion.kl[1])
    density = opinion.grid.density(TARGET)
    assert math.isnan(opinion.distance(density, 1)[0])
    with pytest.raises(ValueError, match="no density at t=1e-09"):
        opinion.log_values(opinion.grid, 1)


def test_no_opinion_has_words():
    spent = second_opinion(problem_of(), *BOX, seconds=0.0)
    assert spent.grid is None
    assert not spent.reached.any()
    assert "time budget" in spent.words
    unresolved = second_opinion(problem_of(times=[0, 1e-9]), *BOX)
    assert "needs steps of" in unresolved.words
    assert not unresolved.reached.any()
    density = Grid([-8.0], [9.0], 60).density(START)
    nothing = agreement(unresolved, [density, density], np.zeros(2))
    assert not nothing.compared.any()
    assert nothing.agrees.all()


def test_agreement():
    opinion = second_opinion(problem_of(), *BOX)
    grid = Grid([-8.0], [9.0], 150)
    right, wrong = [], []
    for t in TIMES:
        right.append(grid.density(gaussian_flow(TARGET, START, float(t))))
        wrong.append(grid.density(gaussian_flow(TARGET, START, float(t) * 1.01)))
    bound = np.full(3, 1e-6)
    assert agreement(opinion, right, bound).agrees.all()
    assert agreement(opinion, wrong, bound).agrees.tolist() == [True, False, False]


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0, 4.0])
def test_error_in_time_knows_no_order(power):
    """Runs whose error is any power of dt, in a tilt of the density: the error found covers the one there is."""
    grid = Grid([-6.0], [6.0], 80)
    energy, base = KL(TARGET), grid.density(wfr.Gaussian(0.3, 0.8))
    runs = [Density(grid, base.log_values + 0.02 * m**-power * grid.axes[0].centres).normalised() for m in (1, 2, 3, 4)]
    density, l1, kl, order = limit_in_time(energy, runs, (1, 2, 3, 4))
    assert grid.integrate(np.abs(density.values - base.values)) <= l1
    assert abs(energy.value(density) - energy.value(base)) <= kl
    assert (order > 2) == (power == 2)


def test_interpolation_stays_near_the_cells_around():
    """Logarithms without a rule, at -40 in a corner: polynomials through 14 make a mass of them."""
    fine, coarse = Grid([0, 0], [1, 1], (60, 62)), Grid([0, 0], [1, 1], (48, 50))
    noise = np.random.default_rng(3).normal(size=fine.shape)
    values = -40 + 5 * noise
    free = np.asarray(Interpolation(fine, coarse, 14)(values))
    held = interpolated(fine, coarse, values, 14)
    assert free.max() > 0 > held.max()
    smooth = np.cos(3 * fine.points()[..., 0]) * np.sin(4 * fine.points()[..., 1])
    exact = np.cos(3 * coarse.points()[..., 0]) * np.sin(4 * coarse.points()[..., 1])
    np.testing.assert_allclose(interpolated(fine, coarse, smooth, 12), exact, atol=1e-9)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("time", [2e-3, 0.3, 4.0])
def test_heat_matrix(periodic, time):
    axis = Axis.uniform("x", -1.0, 2.0, 31, periodic)
    np.testing.assert_allclose(heat_matrix(axis, time), np.exp(log_heat_kernel(axis, time)), rtol=1e-11, atol=1e-300)
