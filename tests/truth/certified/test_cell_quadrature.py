"""Mass and KL by quadrature over the cells, against closed forms; and that the doubt is never below the error."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate
from scipy.special import digamma, gammaln

import wfr_pde as wfr
from wfr_pde.truth.certified.evidence import cell_quadrature
from wfr_pde.truth.certified.evidence.cell_quadrature import FEWEST_POINTS, POINTS, CellQuadrature, rules
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.problem import Problem

FACTOR = 1.05  # of the error over the doubt, at any place of a break in a cell
ROUNDING = 2e-15


def quadrature(target, start, box, real_walls=False, breaks=None, **options):
    """The quadrature on the cells that the tool would take."""
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    lower, upper = (np.atleast_1d(np.asarray(end, dtype=float)) for end in box)
    cells = cells_for(problem, (lower, upper), {"max_cut": 1.0, **options}, breaks, real_walls)
    return CellQuadrature(problem, cells, cells.grid(2))


def on_cells(target, start, box, counts):
    """The quadrature on equal cells."""
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    lower, upper = (np.atleast_1d(np.asarray(end, dtype=float)) for end in box)
    cells = GridFamily(lower, upper, counts, (None,) * len(counts))
    return CellQuadrature(problem, cells, cells.grid(2))


def gaussian_kl(mean, variance):
    """KL(N(mean, variance) | N(0, 1))."""
    return 0.5 * (variance + mean**2 - 1 - math.log(variance))


# The rules


@pytest.mark.parametrize("n", sorted({*POINTS.values()}))
@pytest.mark.parametrize("power", [0, 1, 2])
def test_a_break_anywhere_in_a_cell_has_an_error_below_the_doubt(n, power):
    # jumps of the value, the slope and the curvature at 20,000 places
    places = (np.arange(20_000) + 0.37) / 20_000
    known = (1 - places) ** (power + 1) / (power + 1)
    errors = []
    for nodes, weights in rules(n):
        beyond = np.clip(nodes[:, None] - places, 0.0, None) ** power * (nodes[:, None] > places)
        errors.append(weights @ beyond - known)
    doubt = np.max([np.abs(a - b) for a, b in itertools.combinations(errors, 2)], axis=0)
    assert np.all(np.abs(errors[-1]) <= FACTOR * doubt)
    assert np.mean(doubt) < 4 * np.mean(np.abs(errors[-1]))  # and the doubt is not much more than the error


def test_a_nat_per_cell_is_integrated_to_rounding_on_a_line():
    known = -math.expm1(-1.0)
    assert all(
        abs(weights @ np.exp(-nodes) - known) < 1e-15 for nodes, weights in (*rules(POINTS[1]), *rules(POINTS[2]))
    )
    assert all(abs(weights @ np.exp(-nodes) - known) < 1e-9 for nodes, weights in rules(POINTS[3]))
    assert all(weights.sum() == pytest.approx(1.0, abs=1e-14) for _, weights in rules(FEWEST_POINTS))


# Breaks on no edges


@pytest.mark.parametrize("size", [1.0, -2.0])
@pytest.mark.parametrize("place", np.linspace(0.2501, 0.4999, 23).tolist())
def test_jumps_anywhere_are_within_the_doubt(place, size):
    target = wfr.Potential(lambda x: size * (x > place), ndim=1)
    start = wfr.Potential(lambda x: 0.3 * x, ndim=1)
    found = on_cells(target, start, (0.0, 4.0), (16,))
    pi = place + (4 - place) * math.exp(-size)
    mean_v, mean_x = size * (math.exp(-0.3 * place) - math.exp(-1.2)) / 0.3, (1 - 2.2 * math.exp(-1.2)) / 0.09
    mass = (1 - math.exp(-1.2)) / 0.3
    known = (mean_v - 0.3 * mean_x) / mass - math.log(mass) + math.log(pi)
    _, start_of = found.by_reaction(0.0)
    assert start_of.mass_doubt < ROUNDING
    assert abs(start_of.log_mass - math.log(mass)) < ROUNDING
    assert abs(start_of.kl - known) <= FACTOR * start_of.kl_doubt
    assert start_of.kl_doubt < 0.05
    _, late = found.by_reaction(60.0)  # the target
    assert abs(late.log_mass - math.log(pi)) <= FACTOR * late.mass_doubt


@pytest.mark.parametrize("place", np.linspace(-0.12, 0.13, 23).tolist())
def test_kinks_anywhere_are_within_the_doubt(place):
    target = wfr.Potential(lambda x: 3 * np.abs(x - place), ndim=1)
    found = on_cells(target, wfr.Gaussian(0, 1), (-16.0, 16.0), (128,))
    _, late = found.by_reaction(60.0)
    assert abs(late.log_mass - math.log(2 / 3)) <= FACTOR * late.mass_doubt < 1e-2


@pytest.mark.parametrize("place", [0.01, 0.1, 0.23])
def test_kinks_of_one_coordinate_in_the_plane_are_within_the_doubt(place):
    target = wfr.Potential(lambda x, y: 3 * np.abs(x - place) + y**2 / 2, ndim=2)
    found = on_cells(target, wfr.Gaussian([0, 0], 1), ([-12.0, -9.0], [12.0, 9.0]), (96, 36))
    _, late = found.by_reaction(60.0)
    assert abs(late.log_mass - math.log(2 / 3 * math.sqrt(2 * math.pi))) <= FACTOR * late.mass_doubt < 1e-2


def test_an_edge_of_the_support_inside_a_cell_has_no_mass_beyond():
    start = wfr.Potential(lambda x: np.where(x < 0.33, np.inf, x), ndim=1)
    found = on_cells(start, start, (0.0, 40.0), (160,))
    _, measured = found.by_reaction(0.0)
    assert abs(measured.log_mass + 0.33) <= FACTOR * measured.mass_doubt < 0.1
    assert measured.kl == pytest.approx(0.0, abs=1e-15)


def test_a_feature_between_the_centres_is_doubted():
    target = wfr.Potential(lambda x: x**2 / 2 - 3 * np.exp(-((x - 0.3) ** 2) / (2 * 0.05**2)), ndim=1)
    found = on_cells(target, wfr.Gaussian(0, 1), (-8.0, 8.0), (40,))
    known, _ = integrate.quad(lambda x: math.exp(target.log_density(np.array([x]))), -8, 8, points=[0.1, 0.3, 0.5])
    _, late = found.by_reaction(60.0)
    assert abs(late.log_mass - math.log(known)) <= late.mass_doubt
    assert late.mass_doubt > 1e-6


# Smooth densities, and breaks on edges


@pytest.mark.parametrize("variance", [0.5, 1e-4, 3.0])
def test_between_gaussians_all_is_known_to_rounding(variance):
    found = quadrature(wfr.Gaussian(0, 1), wfr.Gaussian(-1, variance), (-16.0, 16.0))
    for t in (0.0, 0.5, 3.0):
        s = math.exp(-t)
        now = 1 / (s / variance + 1 - s)
        log_values, measured = found.by_reaction(t)
        assert abs(measured.kl - gaussian_kl(-s * now / variance, now)) < 3 * ROUNDING
        assert measured.kl_doubt < 3 * ROUNDING
        assert measured.mass_doubt < ROUNDING
        again = found(log_values - measured.log_mass, t)  # from the values at the centres alone
        assert abs(again.log_mass) < 1e-13
        assert abs(again.kl - measured.kl) < 1e-13
        assert again.mass_doubt < 1e-12
        assert again.kl_doubt < 1e-12
    assert found.by_reaction(0.0)[1].log_mass == wfr.Gaussian(-1, variance).log_normaliser


def test_a_kl_near_zero_is_right_relatively():
    found = quadrature(wfr.Gaussian(0, 1), wfr.Gaussian(1e-3, 1), (-9.0, 9.0))
    for t in (0.0, 5.0, 10.0):
        known = 0.5e-6 * math.exp(-2 * t)
        assert found.by_reaction(t)[1].kl == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("log_scale", [-700.0, 0.0, 5.0])
def test_constants_are_found(log_scale):
    start = wfr.Gaussian([-1, 0], 0.5)
    found = quadrature(wfr.Gaussian([0, 0], 1), start, ([-9.0, -9.0], [9.0, 9.0]))
    log_values = np.asarray(found.fine.evaluate(start.log_density)) - start.log_normaliser + log_scale
    measured = found(log_values, 0.0)
    assert measured.log_mass == pytest.approx(log_scale, abs=1e-12)
    assert measured.kl == pytest.approx(gaussian_kl(-1, 0.5) + gaussian_kl(0, 0.5), abs=1e-12)


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_slopes_at_walls_cost_nothing(rate):
    # found by looking: the sum over the cells is off by dx^2 there, on all grids alike, and nobody saw it
    target, start = wfr.Potential("x", ndim=1), wfr.Potential(lambda x: rate * x, ndim=1)
    found = quadrature(target, start, (0.0, 80.0), real_walls=True)
    for t in (0.0, 0.7):  # what the reaction makes of the start is as exponential
        now = math.exp(-t) * rate + 1 - math.exp(-t)
        _, measured = found.by_reaction(t)
        assert abs(measured.kl - (math.log(now) + 1 / now - 1)) < 1e-13
        assert measured.kl_doubt < 1e-13
        assert measured.mass_doubt < 1e-13
    assert found.by_reaction(0.0)[1].log_mass == pytest.approx(-math.log(rate), abs=1e-13)


@pytest.mark.parametrize(("exponent", "of_start"), [(0.5, 2.0), (1.5, 1.5), (3.3, 0.7), (0.3, 1.2), (1.0, 0.5)])
def test_singular_walls(exponent, of_start):
    def gamma(a):
        return wfr.Potential(lambda x: x - (a - 1) * np.log(x), ndim=1)

    found = quadrature(gamma(exponent), gamma(of_start), (0.0, 60.0), real_walls=True)
    for t in (0.0, 0.5, 3.0):
        now = math.exp(-t) * of_start + (1 - math.exp(-t)) * exponent
        known = (now - exponent) * digamma(now) - gammaln(now) + gammaln(exponent)
        _, measured = found.by_reaction(t)
        assert abs(measured.log_mass - gammaln(now)) <= measured.mass_doubt + 1e-14
        assert abs(measured.kl - known) <= measured.kl_doubt + 1e-14
        assert measured.mass_doubt < 4e-10  # differences count four times there
        assert measured.kl_doubt < 4e-9


def test_no_place_is_in_a_wall():
    """1 - x is rounded to a multiple of 1e-16: there V was infinite, and a bound no number."""
    target, start = (wfr.Potential(f"{c}*log(x) + {c}*log(1 - x)") for c in (0.5, -1.0))
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, 1e-4)
    axis = cells_for(problem, (np.zeros(1), np.ones(1)), {}, real_walls=True).grid(2).axes[0]
    places, _ = cell_quadrature.cell_rule(axis, 5, (True, True))
    assert places.max() < 1.0
    assert places.min() > 0.0


def test_kinks_on_edges_cost_nothing():
    target = wfr.Potential("abs(x)")
    found = quadrature(target, target, (-36.0, 36.0), breaks=[np.array([0.0])])
    _, measured = found.by_reaction(0.0)
    assert abs(measured.log_mass - math.log(2)) < 1e-13
    assert measured.mass_doubt < 1e-13


def test_circles():
    target, start = wfr.Potential("cos(x)"), wfr.Potential("2*sin(x)")
    found = quadrature(target, start, (0.0, 2 * math.pi), boundary="periodic")
    log_values, measured = found.by_reaction(0.0)
    assert measured.log_mass == pytest.approx(math.log(2 * math.pi * np.i0(2.0)), abs=1e-13)
    assert found(log_values, 0.0).log_mass == pytest.approx(measured.log_mass, abs=1e-11)
    assert measured.mass_doubt < 1e-13


def test_a_target_that_moves_is_looked_at_as_it_is():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1), schedule=lambda t: t)
    found = quadrature(path, wfr.Gaussian(-1, 0.5), (-9.0, 9.0))
    start = np.asarray(found.fine.evaluate(wfr.Gaussian(-1, 0.5).log_density))
    for t in (0.0, 0.5, 1.0):
        variance = 1 / (2 * (1 - t) + t)
        mean = variance * (-2 * (1 - t) + t)
        known = gaussian_kl((-1 - mean) / math.sqrt(variance), 0.5 / variance)
        assert found(start, t).kl == pytest.approx(known, abs=1e-11)


def test_tails_without_a_rule_put_no_mass_anywhere():
    start = wfr.Gaussian(0, 1)
    found = quadrature(start, start, (-16.0, 16.0))
    log_values = np.array(found.fine.evaluate(start.log_density)) - start.log_normaliser
    noise = np.random.default_rng(3).uniform(-30, 30, log_values.shape)
    measured = found(np.where(log_values < -70, log_values + noise, log_values), 0.0)
    assert abs(measured.log_mass) < 1e-12
    assert measured.mass_doubt < 1e-11
    assert abs(measured.kl) < 1e-11


# In more dimensions


def test_cells_without_mass_are_left_out(monkeypatch):
    target, start = wfr.Gaussian([0, 0], 1), wfr.Gaussian([-3, 2], 0.05)
    box = [-9.0, -9.0], [9.0, 9.0]
    found = on_cells(target, start, box, (80, 80)).by_reaction(0.4)[1]
    monkeypatch.setattr(cell_quadrature, "NEGLIGIBLE", 0.0)
    everywhere = on_cells(target, start, box, (80, 80)).by_reaction(0.4)[1]
    assert found.kl == pytest.approx(everywhere.kl, abs=1e-13)
    assert found.log_mass == pytest.approx(everywhere.log_mass, abs=1e-13)


def test_what_is_kept_is_what_is_evaluated_anew(monkeypatch):
    target, start = wfr.Gaussian([0, 0], [[1, 0.5], [0.5, 1]]), wfr.Gaussian([-1, 2], 0.5)
    found = [quadrature(target, start, ([-9.0, -9.0], [9.0, 9.0]))]
    monkeypatch.setattr(cell_quadrature, "CACHED", 0)
    found.append(quadrature(target, start, ([-9.0, -9.0], [9.0, 9.0])))
    for t in (0.0, 0.5):
        one, other = (measured.by_reaction(t)[1] for measured in found)
        assert one == other


def test_in_space_the_doubt_covers_what_fewer_points_leave():
    found = on_cells(wfr.Gaussian([0] * 3, 1), wfr.Gaussian([-1, 0, 0], 0.5), ([-7.0] * 3, [7.0] * 3), (28,) * 3)
    for t in (0.0, 0.5):
        s = math.exp(-t)
        now = 1 / (2 * s + 1 - s)
        known = gaussian_kl(-2 * s * now, now) + 2 * gaussian_kl(0, now)
        measured = found.by_reaction(t)[1]
        assert abs(measured.kl - known) <= measured.kl_doubt < 1e-7
