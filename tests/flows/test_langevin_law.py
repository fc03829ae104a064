"""LangevinKernel: the law of a Langevin step against closed forms for Gaussians and sums over all pairs of cells."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

import wfr_pde as wfr
from wfr_pde.flows.sampler_laws.gaussian_sums import GaussianSums
from wfr_pde.numerics.compiled import row_threads
from wfr_pde.numerics.compiled.gaussian_tiles import PLAIN_RANGE

CORRELATED = {
    1: wfr.Gaussian(0.3, 0.7),
    2: wfr.Gaussian([0.3, -0.2], [[1.0, 0.6], [0.6, 0.8]]),
    3: wfr.Gaussian([0.3, -0.2, 0.1], [[1.0, 0.4, -0.2], [0.4, 0.8, 0.1], [-0.2, 0.1, 0.9]]),
}
STARTS = {
    1: wfr.Gaussian(-1.0, 0.4),
    2: wfr.Gaussian([-1.0, 0.5], [[0.5, -0.2], [-0.2, 0.6]]),
    3: wfr.Gaussian([-0.8, 0.5, 0.0], [[0.6, -0.2, 0.1], [-0.2, 0.7, 0.0], [0.1, 0.0, 0.8]]),
}


def exact_law(target, start, h, n_steps=1):
    """N(m, C) → N(b + (1 - hA)(m - b), (1 - hA) C (1 - hA)' + 2h), as often as wanted."""
    mean, covariance, eye = start.mean, start.covariance, np.eye(target.ndim)
    shrink = eye - h * np.linalg.inv(target.covariance)
    for _ in range(n_steps):
        mean = target.mean + shrink @ (mean - target.mean)
        covariance = shrink @ covariance @ shrink.T + 2 * h * eye
    return mean, covariance


def log_normal(points, mean, covariance):
    d = points - mean
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * np.einsum("...i,ij,...j->...", d, np.linalg.inv(covariance), d) - 0.5 * log_det


def seen(grid, mean, covariance, below):
    """Cells where the Gaussian is within `below` nats of its top, and the walls of the box are not felt."""
    points = grid.points()
    log_values = log_normal(points, mean, covariance)
    cells = log_values > log_values.max() - below
    for k, axis in enumerate(grid.axes):
        for wall in axis.edges[[0, -1]]:
            mirrored = points.copy()
            mirrored[..., k] = 2 * wall - points[..., k]
            cells &= log_normal(mirrored, mean, covariance) < log_values - 30  # e^-30 = 1e-13
    assert cells.any()
    return cells, log_values


def advanced(target, grid, start, dt, n_steps=1, rate=1.0):
    state = start if isinstance(start, wfr.Density) else grid.density(start)
    step = wfr.LangevinKernel(rate).make_step(wfr.KL(target), state, dt)
    for k in range(n_steps):
        state = step(state, k * dt)
    return state


def dense(grid, target, state, h, images=6):
    """Σ over all cells and images, term by term in the log-domain; one axis."""
    (axis,) = grid.axes
    x, (a, b), length = axis.centres, axis.edges[[0, -1]], axis.length
    y = x + h * target.score(x[:, None])[:, 0]
    if axis.periodic:
        copies = [y + k * length for k in range(-images, images + 1)]
    else:
        copies = [copy + 2 * k * length for k in range(-images, images + 1) for copy in (y, 2 * a - y)]
    terms = [state.log_values + np.log(axis.widths) - (x[:, None] - copy) ** 2 / (4 * h) for copy in copies]
    assert b - a == pytest.approx(length)
    return logsumexp(np.stack(terms), axis=(0, 2)) - 0.5 * math.log(4 * math.pi * h)


@pytest.mark.parametrize(
    ("d", "cells", "h", "n_steps", "rate"),
    [
        (1, 160, 0.05, 1, 1.0),
        (1, 160, 0.05, 25, 0.5),
        (2, 80, 0.1, 1, 2.0),
        (2, 80, 0.1, 10, 1.0),
        (3, 32, 0.3, 1, 1.0),
    ],
)
def test_gaussians_of_one_step_and_of_many(d, cells, h, n_steps, rate):
    target, start = CORRELATED[d], STARTS[d]
    grid = wfr.Grid.covering(target, start, shape=cells, tail=1e-20 if d < 3 else 1e-17)
    state = advanced(target, grid, start, h / rate, n_steps, rate)
    mean, covariance = exact_law(target, start, h, n_steps)
    np.testing.assert_allclose(state.mean(), mean, atol=1e-10)
    np.testing.assert_allclose(state.covariance(), covariance, atol=2e-10)
    assert abs(state.mass - 1) < 1e-10
    cells, expected = seen(grid, mean, covariance, 20)
    assert np.abs(state.log_values - expected)[cells].max() < 1e-9


@pytest.mark.parametrize(("distance", "least"), [(10.0, 200), (32.0, 2000)])
def test_far_tails_are_right_relative_to_their_own_value(distance, least):
    """A narrow start far away: at the other end of the box e^-200 and e^-2000 of it arrives."""
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(-distance, 0.25)
    grid = wfr.Grid(-distance - 6, 12, 700 if distance < 20 else 1000)
    h = 0.01
    state = grid.density(start)
    for n_steps in (1, 3):
        after = advanced(target, grid, state, h, n_steps)
        expected = log_normal(grid.points(), *exact_law(target, start, h, n_steps))
        inner = np.abs(grid.points()[:, 0] - (18 - 12 - distance) / 2) < (distance + 18) / 2 - 4  # away from the walls
        assert np.ptp(expected[inner]) > least
        # rounding of numbers of this size, times the sums before
        assert np.abs(after.log_values - expected)[inner].max() < 1e-13 * (np.ptp(expected) + 100)


def test_tiles_that_span_more_than_one_exponent_range_are_summed_cell_by_cell():
    """Neighbouring cells 150 nats apart: eight of them span more than plain numbers do."""
    grid = wfr.Grid(-8, 8, 256)
    x, variance = grid.points()[:, 0], 1.5 * (16 / 256) ** 2
    places, log_mass = -7.0 + x / 50, -3.0 * np.arange(256.0)
    expected = logsumexp(log_mass - (x[:, None] - places) ** 2 / (2 * variance), axis=1)
    expected -= 0.5 * math.log(2 * math.pi * variance)
    assert np.abs(expected[7::8] - expected[::8]).max() > PLAIN_RANGE
    result = GaussianSums(grid, places[:, None], variance).log_density(log_mass)
    np.testing.assert_allclose(result, expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(40,), (13, 22), (9, 6, 11)])
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_sums_about_any_places_are_those_over_all_pairs(shape, boundary):
    """Rough masses, places in and far out of the box, tiles cut off at the end; against images without end."""
    d, rng = len(shape), np.random.default_rng(3)
    grid = wfr.Grid([-1.0] * d, [1.0, 1.5, 1.2][:d], shape, boundary=boundary)
    shortest = min(axis.length for axis in grid.axes)
    for sd, spread, rough in itertools.product((0.02, shortest / 6), (0.5, 4.0), (1.0, 300.0)):
        places = rng.uniform(-spread, spread, (*shape, d))
        log_mass = rough * rng.standard_normal(shape)
        terms = log_mass.ravel()
        for k, axis in enumerate(grid.axes):
            x, y, period = axis.centres, places[..., k].ravel(), axis.length * (1 if axis.periodic else 2)
            copies = [y] if axis.periodic else [y, 2 * axis.edges[0] - y]
            gaps = np.stack([c + j * period for c in copies for j in range(-6, 7)]) - x[:, None, None]
            along = logsumexp(-(gaps**2) / (2 * sd**2), axis=1)  # (n, sources)
            terms = terms[..., None, :] + along
        expected = logsumexp(terms, axis=-1) - 0.5 * d * math.log(2 * math.pi * sd**2)
        result = GaussianSums(grid, places, sd**2).log_density(log_mass)
        np.testing.assert_allclose(result, expected, rtol=4e-15, atol=1e-12)


@pytest.mark.parametrize("resolution", [0.75, 1.0, 2.99, 3.01, 30.0, 1300.0])
def test_steps_at_the_limit_and_large_ones(resolution):
    """Below 3 dx² the Gaussian at once, above it a narrow one and a heat kernel: one law."""
    target, start = wfr.Gaussian(0.0, 2.0), wfr.Gaussian(-1.0, 0.5)
    grid = wfr.Grid(-30, 30, 900)
    h = resolution * grid.axes[0].dx ** 2
    state = advanced(target, grid, start, h)
    mean, covariance = exact_law(target, start, h)
    np.testing.assert_allclose(state.mean(), mean, atol=1e-12)
    np.testing.assert_allclose(state.covariance(), covariance, atol=2e-12)
    # at the limit the sampled Gaussian aliases like e^(-4 pi² 0.75) = 1e-13
    cells, expected = seen(grid, mean, covariance, 40)
    assert np.abs(state.log_values - expected)[cells].max() < 1e-11


@pytest.mark.parametrize("curvature", [0.5, 1.0, 1.7, 2.0])
@pytest.mark.parametrize("d", [1, 2])
def test_large_steps_collapse_and_flip(curvature, d):
    """rate dt V'' = 1 brings all to one point, and from 1 to 2 the map flips: N(0, 1/(1 - rate dt V''/2)) stays."""
    target = wfr.Gaussian(np.zeros(d), 1.0)
    start = wfr.Gaussian(np.full(d, -1.2), 0.5)
    grid = wfr.Grid([-15] * d, [15] * d, 240 if d == 1 else 100)
    state = advanced(target, grid, start, curvature)
    mean, covariance = exact_law(target, start, curvature)
    np.testing.assert_allclose(state.mean(), mean, atol=1e-11)
    np.testing.assert_allclose(state.covariance(), covariance, atol=1e-10)
    cells, expected = seen(grid, mean, covariance, 20)
    assert np.abs(state.log_values - expected)[cells].max() < 1e-10


@pytest.mark.parametrize("h", [0.1, 0.4, 1.0])
def test_equilibrium_is_that_of_the_unadjusted_algorithm(h):
    target, grid = wfr.Gaussian(0.0, 1.0), wfr.Grid(-12, 12, 240)
    stays = wfr.Gaussian(0.0, 1 / (1 - h / 2))
    state = advanced(target, grid, stays, h)
    expected = grid.density(stays).log_values
    assert np.abs(state.log_values - expected)[expected > -25].max() < 1e-11
    far = advanced(target, grid, wfr.Gaussian(-1.0, 0.8), h, math.ceil(13 / h))  # (1 - h)^(2 * 13/h) < e^-26
    assert far.covariance()[0, 0] == pytest.approx(1 / (1 - h / 2), abs=1e-11)


def test_graded_axis():
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(-1.5, 0.3)
    grid = wfr.Grid(-15, 15, 300, grading=lambda x: 1 / (1 + 0.03 * x**2))
    assert grid.axes[0].dx > 3 * grid.axes[0].widths.min()
    for h in (0.06, 1.3):
        state = advanced(target, grid, start, h)
        mean, covariance = exact_law(target, start, h)
        np.testing.assert_allclose(state.mean(), mean, atol=1e-9)  # the quadrature of the smooth map
        np.testing.assert_allclose(state.covariance(), covariance, atol=1e-9)


@pytest.mark.parametrize("h", [0.01, 0.3, 2.0])
def test_periodic_axis(h):
    """Wrapped, on a box whose ends lie off the minimum; the narrow kernel and the wide one."""
    target, grid = wfr.Potential("2*cos(x)"), wfr.Grid(0.0, 2 * np.pi, 160, boundary="periodic")
    start = wfr.Potential("3*cos(x - 1)")
    state = grid.density(start)
    after = advanced(target, grid, state, h)
    assert np.abs(after.log_values - dense(grid, target, state, h)).max() < 1e-10
    assert abs(after.mass - 1) < 1e-12


@pytest.mark.parametrize("h", [0.005, 0.1, 0.6])
def test_no_flux_walls_mirror(h):
    """A drift that pushes particles through the wall, and mass there."""
    target = wfr.Potential(lambda x: -2 * x, support=(-1.0, 2.0))
    grid = wfr.Grid(-1.0, 2.0, 200, max_cut=1.0)
    state = grid.density(wfr.Potential(lambda x: -np.cos(np.pi * (x + 1) / 3), support=(-1.0, 2.0)))
    after = advanced(target, grid, state, h)
    assert np.abs(after.log_values - dense(grid, target, state, h)).max() < 1e-10
    # mirrored by a fold, that of the places too; 1e-6: the fold has a kink, so the quadrature is of order 2
    assert abs(after.mass - 1) < 1e-4


def test_all_mass_at_one_wall_and_a_look_at_the_other():
    """There the direct Gaussian, two mirrored ones and the twice mirrored one are equal."""
    grid, variance = wfr.Grid(0.0, 1.0, 50), 0.02
    log_mass = np.full(50, -1e5)
    log_mass[0] = 0.0
    x = grid.points()[:, 0]
    images = np.array([s * x[0] + 2 * k for k in range(-4, 5) for s in (1, -1)])
    expected = logsumexp(-((x[:, None] - images) ** 2) / (2 * variance), axis=1) - 0.5 * math.log(2 * np.pi * variance)
    np.testing.assert_allclose(GaussianSums(grid, x[:, None], variance).log_density(log_mass), expected, rtol=1e-13)


def test_moving_target_is_frozen_at_the_middle():
    first, last = wfr.Gaussian(-1.0, 1.0), wfr.Gaussian(1.0, 0.5)
    path, grid, dt = wfr.GeometricPath(first, last, lambda t: min(t, 1.0)), wfr.Grid(-9, 9, 200), 0.1
    state = grid.density(first)
    step = wfr.LangevinKernel().make_step(wfr.KL(path), state, dt)
    precision = 0.65 / 1.0 + 0.35 / 0.5  # of the path at t = 0.3 + dt/2
    middle = wfr.Gaussian((0.65 * -1.0 / 1.0 + 0.35 * 1.0 / 0.5) / precision, 1 / precision)
    mean, covariance = exact_law(middle, first, dt)
    after = step(state, 0.3)
    np.testing.assert_allclose(after.mean(), mean, atol=1e-12)
    np.testing.assert_allclose(after.covariance(), covariance, atol=1e-12)


def test_unresolved_steps_are_refused_with_the_bound():
    target = wfr.Gaussian(0.0, 1.0)
    grid = wfr.Grid(-8, 8, 100)
    start, bound = grid.density(target), 0.75 * 0.16**2 / 2
    kernel = wfr.LangevinKernel(2.0)
    assert kernel.dt_bounds(wfr.KL(target), start)[0] == pytest.approx(bound, rel=1e-12)
    with pytest.raises(
        ValueError, match=r"dt=0.001 leaves the kernel of LangevinKernel\(rate=2.0\) unresolved .*0.0096"
    ):
        kernel.make_step(wfr.KL(target), start, 1e-3)
    with pytest.raises(ValueError, match=r"dt=0.001 is too small .*0.0096 on; use a larger dt"):
        wfr.solve(target, kernel, start, [0, 1], 1e-3)


def test_between_modes_the_smallest_step_allows_for_the_stretch():
    """There neighbours part: rate dt >= 0.75 dx² (1 + rate dt |V''|)², and that is where the steps begin."""
    target, grid = wfr.GaussianMixture([-1.0, 1.0], [0.5, 0.5], 0.2), wfr.Grid(-5, 5, 120)
    start, kernel = grid.density(target), wfr.LangevinKernel()
    low, plain = kernel.dt_bounds(wfr.KL(target), start)[0], 0.75 * (10 / 120) ** 2
    steepest = 1 / 0.2**2 - 1 / 0.2  # -V'' in the middle: 20
    assert low == pytest.approx(plain * (1 + low * steepest) ** 2, rel=0.02)  # by cells
    kernel.make_step(wfr.KL(target), start, low)
    with pytest.raises(ValueError, match="unresolved"):
        kernel.make_step(wfr.KL(target), start, 0.99 * low)


def test_cells_torn_apart_are_refused_with_the_remedies():
    """Long steps where V'' is large: neighbours end up further apart than the kernel is wide."""
    target = wfr.GaussianMixture([-1.0, 1.0], [0.5, 0.5], 0.01)
    grid = wfr.Grid(-3, 3, 200)
    start = grid.density(wfr.Gaussian(0.0, 0.2))
    with pytest.raises(ValueError, match=r"dt=0.5 moves neighbouring cells 49.* smaller dt, or 1.8.* times the cells"):
        wfr.LangevinKernel().make_step(wfr.KL(target), start, 0.5)
    fine = wfr.Grid(-3, 3, 372)
    wfr.LangevinKernel().make_step(wfr.KL(target), fine.density(wfr.Gaussian(0.0, 0.2)), 0.5)
    wfr.LangevinKernel().make_step(wfr.KL(target), start, 0.01)


def test_what_it_does_not_do():
    target = wfr.Gaussian([0.0] * 4, 1.0)
    start = wfr.Grid([-6] * 4, [6] * 4, 8, max_cut=1).density(wfr.Gaussian([0.0] * 4, 4.0))
    with pytest.raises(ValueError, match="one to three dimensions, but the grid has 4 axes"):
        wfr.LangevinKernel().make_step(wfr.KL(target), start, 5.0)
    with pytest.raises(ValueError, match="one to three dimensions"):
        wfr.samplers.Langevin().make_step(wfr.KL(target), start, 5.0)

    class Cusp(wfr.Gaussian):
        def score(self, points):
            return np.where(np.abs(points) < 0.03, np.inf, super().score(points))

    grid = wfr.Grid(-4, 4, 101)
    state = wfr.Density(grid, -(grid.points()[:, 0] ** 2)).normalised()
    with pytest.raises(wfr.NumericalError, match=r"score of the target is \[inf\] at \[.*\], where the law"):
        wfr.LangevinKernel().make_step(wfr.KL(Cusp(0.0, 1.0)), state, 0.1)
    wide, few = wfr.Gaussian(0.0, 2.0), wfr.Grid(-6, 6, 14, max_cut=1)
    with pytest.raises(ValueError, match=r"deviation of 2.049 are too wide for a box of length 12 .*use more cells"):
        wfr.LangevinKernel().make_step(wfr.KL(wide), few.density(wide), 2.1)


@pytest.mark.parametrize("d", [1, 2])
def test_bits_do_not_depend_on_the_number_of_threads(d, monkeypatch):
    target, start = CORRELATED[d], STARTS[d]
    grid = wfr.Grid.covering(target, start, shape=150 if d == 1 else 60)
    state = grid.density(start)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(row_threads, "number_of_threads", lambda threads=threads: threads)
        results.append(advanced(target, grid, state, 0.1, 2).log_values)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_no_transport_changes_nothing():
    target, grid = CORRELATED[1], wfr.Grid(-9, 9, 150)
    state = grid.density(STARTS[1])
    assert wfr.LangevinKernel(0.0).make_step(wfr.KL(target), state, 0.1)(state, 0.0) is state
    assert wfr.LangevinKernel(0.0).dt_bounds(wfr.KL(target), state) == (0.0, math.inf)


@pytest.mark.parametrize("rate", [-1.0, math.nan])
def test_wrong_rates(rate):
    with pytest.raises(ValueError, match="finite rate >= 0"):
        wfr.LangevinKernel(rate)
