"""MMD, energy distance and KSD against closed forms and direct sums."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import erfc, hyp1f1

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.errors import NumericalError
from wfr_pde.metrics.base import root
from wfr_pde.metrics.kernel_means import lattice_constant, mutual_mean

VARIANCE, SHIFT = 0.8, 0.7


def pair(d, cells, **options):
    grid = wfr.Grid([-8] * d, [8.5] * d, cells, **options)
    other = wfr.Gaussian([SHIFT] + [0] * (d - 1), VARIANCE)
    return grid.density(wfr.Gaussian([0] * d, 1)), grid.density(other)


def gaussian_kernel(shift, variance, scale, d):
    """E exp(-|Z|²/scale²), Z normal with the given mean and variance."""
    return (1 + 2 * variance / scale**2) ** (-d / 2) * math.exp(-(shift**2) / (scale**2 + 2 * variance))


def laplace_kernel(shift, v, s):
    """E exp(-|Z|/s) on a line."""
    tail = [math.exp(sign * shift / s) * erfc((v / s + sign * shift) / math.sqrt(2 * v)) for sign in (-1, 1)]
    return 0.5 * math.exp(v / 2 / s**2) * sum(tail)


def distance(shift, variance, d):
    """E|Z|."""
    scale = math.sqrt(2 * variance) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
    return scale * float(hyp1f1(-0.5, d / 2, -(shift**2) / 2 / variance))


def square(kernel, *args):
    return kernel(0, 2, *args) + kernel(0, 2 * VARIANCE, *args) - 2 * kernel(SHIFT, 1 + VARIANCE, *args)


@pytest.mark.parametrize(("d", "cells"), [(1, 120), (2, (64, 80)), (3, 48)])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_gaussian_mmd_of_gaussians(d, cells, scale):
    a, b = pair(d, cells)
    # the quadrature's own error, e^(-2π² (0.58/dx)²), is below rounding
    assert metrics.MMD(scale, squared=True)(a, b) == pytest.approx(square(gaussian_kernel, scale, d), abs=1e-14)
    assert metrics.MMD(scale)(a, b) == pytest.approx(math.sqrt(square(gaussian_kernel, scale, d)), rel=1e-12)
    assert metrics.MMD(scale)(a, a) == 0


@pytest.mark.parametrize("options", [{}, {"grading": [lambda x: 1 / np.sqrt(4 + x**2), None]}])
def test_gaussian_mmd_on_different_and_graded_grids(options):
    a, _ = pair(2, (96, 90), **options)
    _, b = pair(2, (64, 80))
    assert metrics.MMD(squared=True)(a, b) == pytest.approx(square(gaussian_kernel, 1, 2), abs=1e-10)


def test_laplace_mmd_of_gaussians_on_a_line():
    closed = square(laplace_kernel, 0.9)
    errors = [metrics.MMD(0.9, "laplace", squared=True)(*pair(1, n)) - closed for n in (80, 160)]
    assert abs(errors[1]) < 2e-6
    assert 12 < errors[0] / errors[1] < 22  # O(dx⁴)


@pytest.mark.parametrize(("d", "cells"), [(2, (36, 72)), (3, (32, 64))])
def test_energy_distance_of_gaussians_in_the_plane_and_in_space(d, cells):
    closed = square(lambda *args: -distance(*args), d)
    errors = [metrics.EnergyDistance(squared=True)(*pair(d, n)) - closed for n in cells]
    assert abs(errors[0]) < 1e-5
    order = math.log2(errors[0] / errors[1])
    assert d + 2.4 < order < d + 3.6  # d + 3


def test_energy_distance_where_cells_are_not_cubes():
    closed = square(lambda *args: -distance(*args), 2)
    assert metrics.EnergyDistance(squared=True)(*pair(2, (60, 180))) == pytest.approx(closed, abs=2e-6)
    graded = pair(2, (64, 80), grading=[lambda x: 1 / np.sqrt(4 + x**2), None])
    assert metrics.EnergyDistance(squared=True)(*graded) == pytest.approx(closed, abs=2e-5)


def test_energy_distance_on_a_line():
    closed = square(lambda *args: -distance(*args), 1)
    errors = [metrics.EnergyDistance(squared=True)(*pair(1, n)) - closed for n in (100, 200)]
    assert abs(errors[1]) < 3e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)  # O(dx²)
    rng = np.random.default_rng(0)
    a, b = (wfr.Particles(rng.normal(size=(n, 1)), rng.normal(size=n)) for n in (30, 45))
    x, y = a.positions[:, 0], b.positions[:, 0]
    expected = stats.energy_distance(x, y, a.weights, b.weights)
    assert metrics.EnergyDistance()(a, b) == pytest.approx(expected, rel=1e-10)


def test_lattice_constants():
    assert lattice_constant((1.0,)) == pytest.approx(1 / 6, abs=1e-8)
    # 4 ζ(-½) β(-½) of the square lattice, by mpmath
    import mpmath

    beta = mpmath.sqrt(4) * (mpmath.zeta(-0.5, 0.25) - mpmath.zeta(-0.5, 0.75))
    assert lattice_constant((1.0, 1.0)) == pytest.approx(float(-4 * mpmath.zeta(-0.5) * beta), abs=1e-7)
    assert lattice_constant((0.2, 0.6)) == pytest.approx(0.2 * lattice_constant((1.0, 3.0)), rel=1e-12)
    assert lattice_constant((1.0, 2.0)) == pytest.approx(lattice_constant((2.0, 1.0)), rel=1e-12)


DISTANCES = [metrics.MMD(), metrics.MMD(0.5), metrics.MMD(kernel="laplace"), metrics.EnergyDistance()]


def matrix_of(metric, x, y):
    r = cdist(x, y)
    if isinstance(metric, metrics.EnergyDistance):
        return -r
    return np.exp(-((r / metric.scale) ** 2)) if metric.kernel == "gaussian" else np.exp(-r / metric.scale)


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_particles_by_direct_sums(metric, d):
    rng = np.random.default_rng(d)
    a, b = (wfr.Particles(rng.normal(size=(n, d)), rng.normal(size=n)) for n in (40, 50))
    expected = (
        a.weights @ matrix_of(metric, a.positions, a.positions) @ a.weights
        + b.weights @ matrix_of(metric, b.positions, b.positions) @ b.weights
        - 2 * a.weights @ matrix_of(metric, a.positions, b.positions) @ b.weights
    )
    assert metric(a, b) == pytest.approx(math.sqrt(expected), rel=1e-9)
    assert metric(a, a) == pytest.approx(0, abs=2e-7)  # the root of rounding


@pytest.mark.parametrize("metric", DISTANCES[::2] + DISTANCES[3:])
@pytest.mark.parametrize("grading", [None, [lambda x: 1 / np.sqrt(4 + x**2), None]])
def test_particles_against_a_density_by_closed_means(metric, grading):
    density, _ = pair(2, (96, 100), grading=grading)
    x = np.concatenate([density.sample(20, 1), [[12.0, 0.0]]])  # one outside the box
    radius = np.linalg.norm(x, axis=1)
    found = mutual_mean(getattr(metric, "kernel", "distance"), getattr(metric, "scale", 1.0), density, wfr.Particles(x))
    if isinstance(metric, metrics.EnergyDistance):
        expected = np.mean([distance(r, 1, 2) for r in radius])
    elif metric.kernel == "gaussian":
        expected = np.mean([gaussian_kernel(r, 1, metric.scale, 2) for r in radius])
    else:  # the mean over angles of the kernel, by polar coordinates about every particle
        r, dr = np.linspace(0, 25, 20_001, retstep=True)
        rice = [np.exp(-0.5 * (r - s) ** 2) * np.i0(r * s) * np.exp(-r * s) * r for s in radius]
        expected = np.mean([np.trapezoid(f * np.exp(-r / metric.scale), dx=dr) for f in rice])
    # a spline, O(dx⁶), on equal cells; sums about the kink, O(dx³) with both signs, on graded ones
    assert found == pytest.approx(expected, abs=2e-6 if grading is None else 1e-4)


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_floors_are_what_draws_have(metric, d):
    n, runs = 200, 60
    density = wfr.Grid([-7] * d, [7] * d, (200, 60, 56)[d - 1]).density(wfr.Gaussian([0] * d, 1))
    rng = np.random.default_rng(d)
    values = [metric(density, wfr.Particles(rng.normal(size=(n, d)))) ** 2 for _ in range(runs)]
    # 4.5 standard errors: twelve such tests fail by chance once in 1e4 runs
    assert abs(np.mean(values) - metric.floor(density, n) ** 2) < 4.5 * np.std(values, ddof=1) / math.sqrt(runs)


def test_unbiased_estimate_is_unbiased_and_leaves_out_the_diagonal():
    density = wfr.Grid([-7, -7], [7, 7], 60).density(wfr.Gaussian([0, 0], 1))
    plain, unbiased = metrics.MMD(squared=True), metrics.MMD(squared=True, unbiased=True)
    assert unbiased.floor(density, 10) == 0
    rng = np.random.default_rng(6)
    values = []
    for _ in range(80):
        particles = wfr.Particles(rng.normal(size=(100, 2)))
        values.append(unbiased(density, particles))
        # E k(Y, Y') with the diagonal is 1/n + (1 - 1/n) times the one without
        own = plain._own(particles)
        assert unbiased._own(particles) == pytest.approx((own - 0.01) / 0.99, rel=1e-12)
    assert min(values) < 0
    assert abs(np.mean(values)) < 4.5 * np.std(values, ddof=1) / math.sqrt(80)  # by chance: 7e-6
    with pytest.raises(ValueError, match="at least two particles"):
        unbiased(density, wfr.Particles([[0.0, 0.0]]))


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"scale": 0}, "scale must be .*: it is a length"),
        ({"scale": math.inf}, "scale must be .*: it is a length"),
        ({"kernel": "box"}, "kernel must be one of"),
        ({"unbiased": True}, "may be negative and has no root: give squared=True"),
    ],
)
def test_parameters_that_make_no_sense(parameters, what):
    with pytest.raises(ValueError, match=what):
        metrics.MMD(**parameters)


def test_kernels_that_the_cells_do_not_resolve_are_refused():
    density, _ = pair(2, (64, 80))
    with pytest.raises(ValueError, match=r"cells along x are up to 0\.258 wide .* kernel of scale 0\.4 needs 0\.226"):
        metrics.MMD(0.4)(density, wfr.Particles([[0.0, 0.0]]))


def test_densities_on_different_grids_have_no_energy_distance():
    a, _ = pair(2, 40)
    _, b = pair(2, 41)
    with pytest.raises(ValueError, match="on different grids: shape"):
        metrics.EnergyDistance()(a, b)


def test_too_many_unequal_cells_are_refused():
    a, _ = pair(2, (240, 200), grading=[lambda x: 1 / np.sqrt(400 + x**2), None])
    with pytest.raises(ValueError, match="unequal cells carry mass, more than the 40000"):
        metrics.EnergyDistance()(a, wfr.Particles([[0.0, 0.0]]))


def test_squares_that_are_negative_are_refused():
    assert root(-1e-14, 1.0, "mmd") == 0
    with pytest.raises(NumericalError, match=r"square of mmd came out as -1e-06"):
        root(-1e-6, 1.0, "mmd")


# KSD


def test_ksd_of_one_particle_and_of_a_density():
    target = wfr.Gaussian([0.3, -0.2], 0.5)
    ksd = metrics.KSD(target)
    x = np.array([[1.0, 0.4]])
    score = target.score(x)[0]
    assert ksd(None, wfr.Particles(x)) == pytest.approx(math.sqrt(score @ score + 2), rel=1e-13)
    density = wfr.Grid([-5, -5], [5, 5], 60).density(target)
    assert ksd(None, density) == pytest.approx(0, abs=1e-6)  # the root of rounding, 1e-13
    moved = density.grid.density(wfr.Gaussian([0.5, -0.2], 0.5))
    assert ksd(None, moved) > 0.05
    assert metrics.KSD(target, squared=True)(None, moved) == pytest.approx(ksd(None, moved) ** 2, rel=1e-10)


@pytest.mark.parametrize(("length", "power"), [(1.0, -0.5), (2.0, -0.25)])
def test_ksd_floor(length, power):
    target = wfr.Gaussian([0, 0], 1)
    density, n, runs = wfr.Grid([-7, -7], [7, 7], 60).density(target), 150, 60
    ksd = metrics.KSD(target, length, power)
    rng = np.random.default_rng(9)
    values = [ksd(density, wfr.Particles(rng.normal(size=(n, 2)))) ** 2 for _ in range(runs)]
    assert abs(np.mean(values) - ksd.floor(density, n) ** 2) < 4.5 * np.std(values, ddof=1) / math.sqrt(runs)


def test_ksd_refuses():
    target = wfr.Gaussian([0, 0], 1)
    with pytest.raises(TypeError, match="target must be a Target with a score, .* got Density"):
        metrics.KSD(wfr.Grid([-6, -6], [6, 6], 40).density(target))
    with pytest.raises(ValueError, match="power must be between -1 and 0, got 0.5"):
        metrics.KSD(target, power=0.5)
    with pytest.raises(ValueError, match="length must be positive"):
        metrics.KSD(target, 0)
    with pytest.raises(ValueError, match="the target is 2-dimensional, but the measure 1-dimensional"):
        metrics.KSD(target)(None, wfr.Particles([[0.0]]))
    with pytest.raises(ValueError, match="target moves"):
        metrics.KSD(wfr.GeometricPath(target, wfr.Gaussian([1, 1], 1), lambda t: t))
    with pytest.raises(ValueError, match="40401 cells carry mass"):
        metrics.KSD(target)(None, wfr.Grid([-6, -6], [6, 6], 201).density(target))
