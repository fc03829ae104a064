"""Bounds from what runs on several grids say of each other, against errors c h^p that are known."""

import itertools
import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.numerics.richardson import richardson
from wfr_pde.truth.certified.attempt import RATIOS
from wfr_pde.truth.certified.evidence.differences import kl_of_moved_mass
from wfr_pde.truth.certified.evidence.error_estimates import (
    ASYMPTOTIC,
    NOISE,
    SAFETY,
    SATURATED,
    convergence_factor,
    is_asymptotic,
    single_grid_bound,
)


def distances(error):
    """Distances of neighbouring grids whose errors have one sign: error(h) at h = 1/ratio."""
    return [error(1 / a) - error(1 / b) for a, b in itertools.pairwise(RATIOS)]


def test_slow_convergence_widens_the_bound():
    assert convergence_factor((1.0, 1e-3)) == pytest.approx(3, rel=1e-2)
    assert convergence_factor((1.0, 0.5)) == pytest.approx(6)
    assert convergence_factor((0.0, 1.0)) == pytest.approx(15)
    assert convergence_factor((0.0, 0.0)) == SAFETY  # exact on all grids


@pytest.mark.parametrize("size", [1e-9, 1e-4, 0.1])
def test_errors_of_order_two_are_asymptotic(size):
    assert is_asymptotic(distances(lambda h: size * h**2), RATIOS)
    assert is_asymptotic(distances(lambda h: size * (h**2 + 0.05 * h**4)), RATIOS)


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0, 4.0])
def test_errors_of_other_orders_are_not(power):
    assert not is_asymptotic(distances(lambda h: 1e-4 * h**power), RATIOS)


def test_distances_of_rounding_say_nothing_against_it():
    assert is_asymptotic([NOISE, NOISE / 2, NOISE, NOISE], RATIOS)
    assert not is_asymptotic([1e-6, NOISE / 2, 1e-6, NOISE], RATIOS)  # the third is above it, out of order


def test_saturated_distances_are_no_asymptotics():
    # all distances of densities that do not overlap are 2, and of those on the way there they may fall as they like
    small, large = (distances(lambda h, size=size: size * h**2) for size in (0.3, 0.5))
    assert max(small) < SATURATED < max(large)
    assert is_asymptotic(small, RATIOS)
    assert not is_asymptotic(large, RATIOS)


def test_the_limits_of_the_ratio_are_met():
    low, high = ASYMPTOTIC
    square = distances(lambda h: h**2)
    for ratio, inside in ((low * 0.99, False), (low * 1.01, True), (high * 0.99, True), (high * 1.01, False)):
        found = [1e-3 * square[0], 1e-3 * square[1], 1e-3 * square[2], 1e-3 * ratio * square[3]]
        assert is_asymptotic(found, RATIOS) is inside


@pytest.mark.parametrize("power", [0.5, 0.75, 1.0, 2.0, 4.0])
def test_a_single_grid_is_bounded_whatever_the_power(power):
    error, apart = (1 / RATIOS[-1]) ** power, distances(lambda h: h**power)
    bound = single_grid_bound(apart[-1], RATIOS)
    assert bound >= error * (1 - 1e-12)
    if power == 0.5:
        assert bound == pytest.approx(error)  # the slowest one that is bounded


def test_a_slower_power_is_not_bounded():
    error, apart = (1 / RATIOS[-1]) ** 0.25, distances(lambda h: h**0.25)
    assert single_grid_bound(apart[-1], RATIOS) < error


def test_extrapolations_err_far_below_their_bound_where_powers_are_even():
    def error(h):
        return 1e-2 * h**2 - 3e-3 * h**4 + 1e-3 * h**6 - 3e-4 * h**8 + 1e-4 * h**10

    values = np.array([error(1 / r) for r in RATIOS])
    orders = [float(richardson(RATIOS[first:]) @ values[first:]) for first in (0, 1, 2)]
    apart = abs(orders[1] - orders[2]), abs(orders[0] - orders[1])
    assert abs(orders[1]) <= convergence_factor(apart) * apart[1]


# What KL changes by if an error is mass in the wrong mode


def on_a_line(law):
    grid = wfr.Grid(-8, 18, 2000)
    return wfr.Density(grid, law.log_density(grid.points())).normalised()


@pytest.mark.parametrize("mean", [0.0, 0.5, 3.0])
def test_there_is_one_mode_of_a_gaussian(mean):
    assert kl_of_moved_mass(wfr.KL(wfr.Gaussian(0, 1)), on_a_line(wfr.Gaussian(mean, 1.0)), 1e-3) == 0


@pytest.mark.parametrize(("share", "l1"), [(0.3, 1e-3), (1e-3, 1e-3), (1e-6, 1e-7), (1e-6, 1e-3)])
def test_mass_in_the_wrong_mode_costs_the_nats_between_them(share, l1):
    target = wfr.GaussianMixture([0.0, 10.0], [0.5, 0.5], [1.0, 1.0])
    has = on_a_line(wfr.GaussianMixture([0.0, 10.0], [1 - share, share], [1.0, 1.0]))
    nats = math.log((1 - share) / share)
    found = kl_of_moved_mass(wfr.KL(target), has, l1)
    expected = min(l1 / 2, share) * abs(nats)
    assert 0.999 * expected <= found <= 1.1 * expected  # the valley of the target is elsewhere than that of the density
    moved = min(l1 / 2, share / 10)  # little enough for the first order
    wrong = on_a_line(wfr.GaussianMixture([0.0, 10.0], [1 - share + moved, share - moved], [1.0, 1.0]))
    changed = abs(wfr.KL(target).value(wrong) - wfr.KL(target).value(has))
    assert changed == pytest.approx(moved * abs(nats), rel=0.1)


def test_modes_of_the_target_count_where_the_density_has_one():
    target = wfr.GaussianMixture([0.0, 10.0], [0.5, 0.5], [1.0, 1.0])
    assert kl_of_moved_mass(wfr.KL(target), on_a_line(wfr.Gaussian(4, 10.0)), 1e-3) > 1e-4


def test_modes_are_told_apart_in_the_plane():
    means = [[0.0, 0.0], [8.0, 8.0]]
    target = wfr.GaussianMixture(means, [0.5, 0.5], [1.0, 1.0])
    grid = wfr.Grid((-6, -6), (14, 14), 120)
    density = wfr.Density(grid, wfr.GaussianMixture(means, [0.99, 0.01], [1.0, 1.0]).log_density(grid.points()))
    found = kl_of_moved_mass(wfr.KL(target), density.normalised(), 1e-3)
    assert found == pytest.approx(5e-4 * math.log(99), rel=1e-2)


def test_a_rough_density_has_no_more_modes_than_deep_valleys():
    grid = wfr.Grid(-8, 8, 800)
    rough = -(grid.points()[..., 0] ** 2) / 2 + 0.5 * np.random.default_rng(3).random(800)
    assert kl_of_moved_mass(wfr.KL(wfr.Gaussian(1, 1)), wfr.Density(grid, rough).normalised(), 1e-3) == 0
