"""Walls where a density is a power of the distance: exponents, cells, powers of the error; end weights; Richardson."""

import math

import numpy as np
import pytest
from scipy.special import eval_genlaguerre, gammaln

import wfr_pde as wfr
from wfr_pde.numerics.richardson import richardson
from wfr_pde.space.axis import Axis
from wfr_pde.space.quadrature import (
    axis_weights,
    corrected_log_volume,
    end_weights,
    integrate_corrected,
    log_mass_corrected,
    midpoint_defect,
)
from wfr_pde.space.transfer import Interpolation, local_weights
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.grids.first_grids import first_terrain
from wfr_pde.truth.certified.grids.singular_walls import (
    WithoutWalls,
    error_powers,
    map_power,
    most_power,
    wall_exponents,
)
from wfr_pde.truth.certified.problem import Problem

RATIOS = (0.75, 1.0, 1.25, 1.5, 2.0)


def gamma(a, wall=0.0):
    return wfr.Potential(lambda x: x - (a - 1) * np.log(x - wall), ndim=1, support=([wall], [wall + 30]))


def chi(a):
    return wfr.Potential(lambda x: x**2 / 2 - (a - 1) * np.log(x), ndim=1, support=([0], [9]))


# Exponents


@pytest.mark.parametrize("wall", [0.0, 1.0, -700.0])
@pytest.mark.parametrize("a", [0.1, 0.5, 0.7, 1.5, 2.0, 3.3])
def test_the_exponent_is_seen(a, wall):
    found = wall_exponents(gamma(a, wall), [wall], [wall + 30])
    # the slope over the distance left of it: 1e-7 of the distances that rounding of the wall permits
    assert np.allclose(found, [[a, 1]], atol=1e-6)


def test_the_exponent_at_the_upper_wall_and_along_every_axis():
    target = wfr.Potential(lambda x, y: 0.5 * np.log(3 - x) + 0.3 * np.log(y) + x * y - 1.5 * np.log(1 - y), ndim=2)
    assert np.allclose(wall_exponents(target, [0, 0], [3, 1]), [[1, 0.5], [0.7, 2.5]], atol=1e-6)


@pytest.mark.parametrize(
    "V",
    [
        lambda x: 5e4 * x,
        lambda x: np.cos(3 * x) + 1e5,
        np.sqrt,
        lambda x: 1 / x,
        lambda x: np.where(x < 1e-3, np.nan, x),
        lambda x: 1e-9 * np.sin(1e9 * x),
    ],
)
def test_regular_walls_have_the_exponent_one(V):
    assert np.array_equal(wall_exponents(wfr.Potential(V, ndim=1), [0], [30]), [[1, 1]])


def test_what_has_no_mass_is_refused():
    with pytest.raises(ValueError, match="no finite mass"):
        wall_exponents(gamma(-0.2), [0], [30])


def test_walls_are_taken_off():
    without = WithoutWalls(gamma(0.5), np.array([[0.5, 1]]), np.array([0.0]), np.array([30.0]))
    x = np.array([[1e-6], [0.3], [20.0]])
    assert np.allclose(without.log_density(x), -x[:, 0], rtol=1e-12, atol=1e-14)
    assert np.allclose(without.score(x), -1, rtol=1e-8)


# Maps and powers


def test_beside_a_wall_the_next_place_that_is_told_counts():
    # log cos(x/2) at the last number below pi is off by nats, and in the wall it is infinite
    wall, a = math.pi, 3.7
    jacobi = wfr.Potential(lambda x: -(a - 1) * np.log(np.cos(x / 2)), ndim=1, support=([0], [wall]))
    without = WithoutWalls(jacobi, np.array([[1.0, a]]), np.array([0.0]), np.array([wall]))
    beside = wall - np.array([1e-9, 1e-14, 4e-16, 0.0])
    np.testing.assert_allclose(without.log_density(beside[:, None]), -(a - 1) * np.log(2), atol=5e-3)
    assert np.isfinite(without.score(beside[:, None])).all()
    chi_without = WithoutWalls(chi(0.6), np.array([[0.6, 1.0]]), np.zeros(1), np.full(1, 9.0))
    np.testing.assert_allclose(chi_without.log_density(np.array([[0.0], [1e-200], [3.0]])), [0, 0, -4.5], atol=1e-12)


def test_looks_beside_a_wall_find_nothing():
    # the look was in the wall itself, at a point where V is infinite: cells as narrow as 1e-11 were made for it
    V = "-0.5*log(sin(x/2)) - 2.767*log(cos(x/2))"
    start = wfr.Potential(lambda x: 0.5 * np.log(np.sin(x / 2) ** -1) - 2.767 * np.log(np.cos(x / 2)) + 0.1 * np.cos(x))
    posed = Problem(wfr.Potential(V), start, np.array([0.0, 1.0]), 1.0, 0.0, 1e-3)
    found = first_terrain(posed, (0.0, math.pi), "no-flux", None, 1.0)
    assert not found.hides
    assert found.cells.counts[0] < 100


def test_powers_of_maps_and_errors():
    assert map_power(1.0, 1.0) == 1
    assert error_powers([]) == (2, 4, 6, 8)
    for a in (0.25, 0.5, 1.5, 2.0):  # multiples of a quarter: even powers alone
        assert map_power(a, 1.0) == 4
        assert error_powers([(a, 4.0), (1.0, 4.0)]) == (2, 4, 6, 8)
    assert np.allclose(error_powers([(0.3, 3.0)]), (0.9, 2, 3.9, 4))  # p (a + k), and even ones
    assert most_power(0.0, 1.0) == 12
    assert map_power(0.1, largest=most_power(1.0, 1.0)) < 5  # s^10 is not told from 1 in double precision
    assert map_power(0.5, largest=most_power(1e6, 1.0)) < 3
    assert map_power(0.5, largest=most_power(1e13, 1.0)) == 1
    assert np.allclose(error_powers([(0.5, 1.0)]), (0.5, 1.5, 2, 2.5))


@pytest.mark.parametrize("upper_wall", [False, True])
def test_cells_towards_a_wall(upper_wall):
    axis = Axis.towards_wall("x", 0, 30, 40, lambda x: 1 / np.sqrt(9 + x**2), 4.0, 3.0, upper_wall=upper_wall)
    assert (axis.edges[0], axis.edges[-1], axis.n) == (0, 30, 40)
    assert axis.roots == ((1, 4) if upper_wall else (4, 1))
    distances = (30 - axis.edges)[::-1] if upper_wall else axis.edges
    assert np.allclose(distances[1:4] / distances[1], [1, 16, 81], rtol=0.15)  # the density changes too
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for k in (0, 17, 38):  # the same integral of the density in every cell: in the root, where it is smooth
        a, b = distances[k : k + 2] ** 0.25
        u = (a + b) / 2 + (b - a) / 2 * nodes
        x = 30 - u**4 if upper_wall else u**4
        share = (b - a) / 2 * weights @ (4 / np.sqrt(9 + x**2) * (u**4 + 3) ** 0.75)
        if k == 0:
            first = share
        assert np.isclose(share, first, rtol=1e-6 if upper_wall else 1e-10)  # rounding of 30 beside the wall


def test_cells_that_are_not_told_from_the_wall_are_refused():
    with pytest.raises(ValueError, match="not told apart"):
        Axis.towards_wall("x", 1, 2, 100, np.ones_like, 10.0, 1.0)
    with pytest.raises(ValueError, match="power >= 1"):
        Axis.towards_wall("x", 0, 1, 20, np.ones_like, 0.5, 1.0)


def test_joined_cells_towards_a_wall():
    fine, coarse = (Axis.towards_wall("x", 0, 30, n, lambda x: 1 / (3 + x), 4.0, 3.0) for n in (160, 80))
    joined = fine.coarsened()
    assert np.allclose(joined.centres, coarse.centres, rtol=1e-12)
    assert np.allclose(joined.widths, coarse.widths, rtol=1e-5)  # a spline of degree 5 through the slopes


def test_interpolation_beside_a_wall():
    """What is a power series in the distance is moved with the order of the nodes, beyond the first centre too."""
    errors = []
    for n in (48, 96):
        a, b = (Axis.towards_wall("x", 0, 30, m, lambda x: 1 / (3 + x), 4.0, 3.0) for m in (n, 2 * n))
        index, weights = local_weights(a, b.centres, 10)
        errors.append(np.abs(np.sum(np.exp(-a.centres / 3)[index] * weights, axis=1) - np.exp(-b.centres / 3)).max())
    assert errors[0] < 1e-5
    assert np.log2(errors[0] / errors[1]) > 8


def test_roots_are_stored_and_read_again():
    target = gamma(0.5)
    problem = Problem(target, wfr.Gaussian(1, 0.04), np.array([0.0, 0.5]), 1.0, 0.0, 1e-6)
    cells = cells_for(problem, (np.array([0.0]), np.array([30.0])), {"max_cut": 1.0}, real_walls=True)
    grid = cells.grid(1)
    ds = wfr.solve(wfr.KL(target), wfr.FiniteVolume(), grid.density(wfr.Gaussian(1, 0.04)), [0, 0.1], dt=0.1)
    read = wfr.Grid.from_dataset(ds)
    assert read.axes[0].roots == (4, 1)
    assert read.matches(grid)


def test_families_use_exponents_where_walls_are_real():
    problem = Problem(gamma(0.5), wfr.Gaussian(1, 0.04), np.array([0.0, 0.5]), 1.0, 0.0, 1e-6)
    box = np.array([0.0]), np.array([30.0])
    assert cells_for(problem, box, {}).walls == {}
    cells = cells_for(problem, box, {}, real_walls=True)
    assert set(cells.walls) == {(0, 0)}
    assert np.allclose(cells.walls[0, 0], (0.5, 4))
    assert cells.start_walls[0, 0] == (1, 4)
    both = cells_for(
        Problem(
            wfr.Potential(lambda x: 0.5 * np.log(x) + 0.5 * np.log(2 - x), ndim=1, support=([0], [2])),
            wfr.Gaussian(1, 0.04), np.array([0.0, 0.5]), 1.0, 0.0, 1e-6,
        ),
        (np.array([0.0]), np.array([2.0])), {}, real_walls=True,
    )  # fmt: skip
    axis = both.grid(1).axes[0]
    assert len(axis.joints) == 1  # a segment has one singular wall
    assert axis.roots[0] > 1
    assert axis.roots[1] > 1


# Weights at ends


def test_end_weights_are_exact():
    for order in range(1, 9):
        weights = axis_weights(Axis.uniform("x", 0, 3, 24), order)
        assert weights.min() > 0.4
        x = Axis.uniform("x", 0, 3, 24).centres
        for degree in range(order):
            assert np.isclose(np.sum(weights * x**degree) / 8, 3 ** (degree + 1) / (degree + 1), rtol=1e-12)


def test_the_defect_of_a_midpoint_sum():
    for q in (-0.5, 0.7, 1.5):
        n = 1000
        sums = [np.sum((np.arange(m) + 0.5) ** q) for m in (n, 2 * n)]
        gaps = [m ** (q + 1) / (q + 1) - s for m, s in zip((n, 2 * n), sums, strict=True)]
        far = [q * m ** (q - 1) / 24 for m in (n, 2 * n)]  # of the other end, to O(n^(q-3))
        assert np.allclose(np.array(gaps) - far, midpoint_defect(q), rtol=1e-6, atol=1e-6)
    assert midpoint_defect(0) == midpoint_defect(2) == 0


def test_end_weights_of_powers():
    exponents = [0.4, 3.4, 6.4]
    c = end_weights(exponents, 3)
    for q in exponents:
        assert np.isclose(np.sum(c * (np.arange(3) + 0.5) ** q), midpoint_defect(q), rtol=1e-10)


def test_factors_at_singular_walls_are_positive():
    axis = Axis.uniform("x", 0, 1, 24)
    for a in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 2.0, 3.3):
        p = map_power(a, 1.0)
        for exponent in (a, 1.0):
            assert axis_weights(axis, ends=((exponent, p), None)).min() > 0


def test_integrals_at_walls_have_the_order_of_the_weights():
    """∫ e^-(x+y) over a box, by cells that end where it is large."""
    errors = {}
    for n in (24, 48):
        grid = wfr.Grid([0, 0], [3, 2], n, max_cut=1)
        values = np.exp(-grid.points().sum(axis=-1))
        exact = math.expm1(-3) * math.expm1(-2)
        errors[n] = [abs(float(integrate_corrected(grid, values, order)) / exact - 1) for order in (4, 6, 8)]
        assert np.isclose(log_mass_corrected(grid, np.log(values)), math.log(exact), atol=1e-8)
    for k, order in enumerate((4, 6, 8)):
        assert np.log2(errors[24][k] / errors[48][k]) > order - 0.3


def test_nothing_is_added_where_there_is_no_end():
    periodic = wfr.Grid(0, 1, 16, boundary="periodic", max_cut=1)
    assert np.array_equal(corrected_log_volume(periodic), np.full(16, periodic.log_cell_volume))
    edges = wfr.Grid.from_edges(np.cumsum(1.1 ** np.arange(12)))
    assert np.array_equal(axis_weights(edges.axes[0]), np.ones(11))


@pytest.mark.parametrize("a", [0.3, 0.5, 0.7, 1.5])
def test_the_mass_of_a_gamma_density(a):
    problem = Problem(gamma(a), wfr.Gaussian(1, 0.04), np.array([0.0, 0.5]), 1.0, 0.0, 1e-6)
    cells = cells_for(problem, (np.array([0.0]), np.array([50.0])), {}, real_walls=True)
    grid = cells.finer(2).grid(2)
    assert abs(log_mass_corrected(grid, gamma(a).log_density(grid.points()), ends=cells.walls) - gammaln(a)) < 1e-9


# Richardson


def test_richardson_cancels_the_given_powers():
    powers = (2, 2.857, 4, 4.857)
    weights = richardson(RATIOS, powers)
    errors = sum((p + 1) * np.array(RATIOS) ** -p for p in powers)
    assert np.isclose(weights @ (7 + errors), 7, rtol=1e-12)
    even = [math.prod(b**-2 / (b**-2 - a**-2) for b in RATIOS if b != a) for a in RATIOS]
    assert np.allclose(richardson(RATIOS), even, rtol=1e-11)
    assert richardson((2.0,)) == [1]
    with pytest.raises(ValueError, match="cancel 4 powers"):
        richardson(RATIOS, (2, 4))
    with pytest.raises(ValueError, match="different"):
        richardson((1, 2, 2))


# The flow


@pytest.mark.parametrize("a", [0.3, 0.5, 0.7, 2.0])
@pytest.mark.parametrize(("count", "order"), [(1, 2), (2, 4), (3, 6)])
def test_observed_orders_at_singular_walls(a, count, order):
    """mu = pi (1 + eps e^-4t L_2^(a/2-1)(x²/2)) for the chi distribution, V = x²/2 - (a - 1) log x."""

    def log_f(x, t):
        return np.log1p(0.02 * math.exp(-4 * t) * eval_genlaguerre(2, a / 2 - 1, x**2 / 2))

    target = chi(a)
    start = wfr.Potential(lambda x: -log_f(x, 0) + x**2 / 2 - (a - 1) * np.log(x), ndim=1, support=([0], [9]))
    problem = Problem(target, start, np.array([0.0, 0.2]), 1.0, 0.0, 1e-6)
    family = cells_for(problem, (np.array([0.0]), np.array([9.0])), {"max_cut": 1.0}, real_walls=True)
    found = []
    for cells in (family, family.finer(2)):
        grids = [cells.grid(r) for r in RATIOS[-count:]]
        errors = []
        for grid in grids:
            log_ratio = Budget(60).run(problem, grid, problem.times, 8, problem.times)[1]
            own = problem.density(grid, log_ratio, 1).log_values - target.log_density(grid.points())
            error = own + gammaln(a / 2) + (a / 2 - 1) * math.log(2) - log_f(grid.axes[0].centres, 0.2)
            errors.append(Interpolation(grid, grids[-1], 14)(error) if grid is not grids[-1] else error)
        total = sum(w * e for w, e in zip(richardson(RATIOS[-count:], cells.powers), errors, strict=True))
        mu = np.exp(target.log_density(grids[-1].points()))
        found.append(float(grids[-1].integrate(np.abs(total) * mu)))
    assert np.log2(found[0] / found[1]) > order - 0.4 or found[1] < 1e-11  # the tolerance of the sweeps
