"""The reverse SDE with its exact score, against quadrature; all in one step and in many."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.flows import HTransform

DATA = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], 0.09)
STARTS = {"N(0, 1)": wfr.Gaussian(0.0, 1.0), "N(-1, 1.4)": wfr.Gaussian(-1.0, 1.4)}


def by_quadrature(data, schedule, start, x):
    """log mu_0(x) = log p_0(x) + log ∫ N(y; alpha x, sigma²) nu(y) / p_T(y) dy, by the trapezoidal rule."""
    alpha, variance = schedule.transition(schedule.noise_time(schedule.t_end))
    y = np.linspace(-30, 30, 6001)
    first = wfr.Noised(data, schedule).at(schedule.t_end)
    ratio = start.log_density(y[:, None]) - start.log_normaliser
    ratio -= first.log_density(y[:, None]) - first.log_normaliser
    terms = ratio - 0.5 * (y - alpha * x[:, None]) ** 2 / variance
    top = terms.max(axis=1)
    mean = top + np.log(np.exp(terms - top[:, None]).sum(axis=1) * (y[1] - y[0]))
    log_data = data.log_density(x[:, None]) - data.log_normaliser
    return log_data + mean - 0.5 * math.log(2 * math.pi * variance)


def run(path, start, n):
    return wfr.Density.from_dataset(wfr.solve(None, HTransform(path), start, [0, 1], 1 / n))


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
@pytest.mark.parametrize("schedule", [wfr.OU(3.0), wfr.VP()], ids=["OU", "VP"])
def test_any_start_in_one_step_and_in_sixteen(start, schedule):
    """In every cell, to 232 nats below the mode."""
    path = wfr.Noised(DATA, schedule).reversed()
    grid = wfr.Grid(-8, 8, 170)
    expected = by_quadrature(DATA, schedule, start, grid.points()[:, 0])
    assert np.ptp(expected) > 200
    for n in (1, 16):
        found = run(path, grid.density(start), n)
        # the start, cut at the walls, misses 1.6e-9 of its mass
        assert abs(found.log_mass) < 3e-9
        np.testing.assert_allclose(found.log_values, expected, rtol=0, atol=1e-10)


def test_what_lies_beyond_the_box_comes_in():
    """A box of ±6 cuts 1.2e-5 of N(-1, 1.4) off; continued beyond the walls it is right all the same."""
    start, grid = STARTS["N(-1, 1.4)"], wfr.Grid(-6, 6, 128, max_cut=1)
    expected = by_quadrature(DATA, wfr.OU(3.0), start, grid.points()[:, 0])
    path = wfr.Noised(DATA, wfr.OU(3.0)).reversed()
    for n in (1, 16):
        np.testing.assert_allclose(run(path, grid.density(start), n).log_values, expected, rtol=0, atol=2e-8)


def test_narrow_data():
    """Of a standard deviation of 0.03, whose tails are 22,000 nats deep in the box."""
    data, start, grid = wfr.Gaussian(0.3, 0.03**2), wfr.Gaussian(0.0, 1.0), wfr.Grid(-6, 6, 1200)
    path = wfr.Noised(data, wfr.OU(3.0)).reversed()
    expected = by_quadrature(data, wfr.OU(3.0), start, grid.points()[::8, 0])
    for n in (1, 16):
        found = run(path, grid.density(start), n).log_values[::8]
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-10)


def test_the_path_stays():
    path, grid = wfr.Noised(DATA, wfr.OU(3.0)).reversed(), wfr.Grid(-8, 8, 170)
    for n in (1, 4, 16):
        found = run(path, grid.density(path.at(0.0)), n)
        np.testing.assert_allclose(found.log_values, grid.density(DATA).log_values, rtol=0, atol=1e-12)


def test_two_dimensions():
    """Independent axes, each as alone; and a correlated mixture, from its own law and in steps of two sizes."""
    grid, line = wfr.Grid([-7, -7], [7, 7], (60, 72)), wfr.Grid(-7, 7, 60)
    both = wfr.Noised(wfr.Gaussian([1.0, -0.5], [0.3, 0.5]), wfr.OU(2.0)).reversed()
    alone = wfr.Noised(wfr.Gaussian(1.0, 0.3), wfr.OU(2.0)).reversed()
    found = run(both, grid.density(wfr.Gaussian([0.5, 0.0], [1.2, 0.8])), 3).marginal(0)
    expected = run(alone, line.density(wfr.Gaussian(0.5, 1.2)), 3)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-11)
    mixture = wfr.GaussianMixture([[-1, 0], [1, 0.5]], [0.4, 0.6], [[[0.5, 0.2], [0.2, 0.4]], [[0.4, 0.0], [0.0, 0.6]]])
    path = wfr.Noised(mixture, wfr.OU(2.0)).reversed()
    start = grid.density(wfr.Gaussian([0.3, 0.2], [[1.1, 0.2], [0.2, 0.9]]))
    one, six = run(path, start, 1), run(path, start, 6)
    np.testing.assert_allclose(one.values, six.values, rtol=0, atol=1e-9)
    stays = run(path, grid.density(path.at(0.0)), 4)
    np.testing.assert_allclose(stays.values, grid.density(mixture).values, rtol=0, atol=1e-13)
    # beyond the walls a mixture is no parabola: felt in the corners, a hundred nats below the modes
    np.testing.assert_allclose(stays.log_values, grid.density(mixture).log_values, rtol=1e-6)


def test_a_density_as_data():
    """A double well on the grid comes back, from p_T and, the same in all numbers of steps, from N(0, 1)."""
    grid = wfr.Grid(-6, 6, 256)
    data = grid.density(wfr.DoubleWell(4.0))
    path = wfr.Noised(data, wfr.OU(3.0)).reversed()
    own, other = grid.density(path.at(0.0)), grid.density(wfr.Gaussian(0.0, 1.0))
    for n in (1, 4, 8):
        assert float(grid.integrate(np.abs(run(path, own, n).values - data.values))) < 1e-12
    once = run(path, other, 1)
    assert float(grid.integrate(np.abs(once.values - data.values))) > 1e-9  # another start, and so another end
    for n in (4, 16):
        assert float(grid.integrate(np.abs(run(path, other, n).values - once.values))) < 1e-12


def test_beside_any_problem():
    """It needs no energy, and goes along with one; KL to the path is recorded, and falls."""
    path, grid = wfr.Noised(DATA, wfr.OU(3.0)).reversed(), wfr.Grid(-8, 8, 170)
    start = grid.density(wfr.Gaussian(-1.0, 1.2))
    ds = wfr.solve(path, HTransform(path), start, np.linspace(0, 1, 5), 0.25, record=[wfr.KL(path)])
    assert (np.diff(ds["kl"].values) < 0).all()
    np.testing.assert_allclose(ds["log_density"].values[-1], run(path, start, 4).log_values, rtol=0, atol=1e-13)


def test_what_is_refused():
    path, grid = wfr.Noised(DATA, wfr.OU(3.0)).reversed(), wfr.Grid(-8, 8, 170)
    start = grid.density(wfr.Gaussian(0.0, 1.0))

    def solved(start, times=(0, 1), dt=0.25):
        return wfr.solve(None, HTransform(path), start, times, dt)

    with pytest.raises(ValueError, match=r"step from s=0.99 to 1 is a noise time .* use a larger dt or a finer grid"):
        solved(start, (0.99, 1), 0.01)
    with pytest.raises(ValueError, match=r"s must be in \[0, 1\], .*got 1.25"):
        solved(start, (0, 1.25))
    with pytest.raises(ValueError, match="1-dimensional, but the start has 2 axes"):
        solved(wfr.Grid([-6, -6], [6, 6], 32).density(wfr.Gaussian([0, 0], 1.0)))
    with pytest.raises(ValueError, match="is periodic: use a wide box"):
        solved(wfr.Grid(-8, 8, 170, boundary="periodic").density(wfr.Gaussian(0.0, 1.0)))
    with pytest.raises(ValueError, match="needs equal cells"):
        solved(wfr.Grid.from_edges(np.linspace(-2, 2, 171) ** 3).density(wfr.Gaussian(0.0, 1.0)))
    with pytest.raises(TypeError, match="path must be a ReversedPath"):
        HTransform(wfr.Noised(DATA, wfr.OU(3.0)))
    wide = wfr.Grid(-8, 8, 40).density(wfr.Gaussian(0.0, 1.0))  # cells of 0.4 for data of 0.3
    narrow = wfr.Noised(wfr.Gaussian(0.2, 0.01), wfr.OU(3.0)).reversed()
    with pytest.raises(wfr.NumericalError, match=r"the reverse diffusion up to t=1 does not keep the mass"):
        wfr.solve(None, HTransform(narrow), wide, [0, 1], 1.0)
