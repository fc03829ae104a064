"""FiniteVolume(drift=...) against closed forms, dense matrix exponentials, and a Galerkin method."""

import math
from unittest import mock

import numpy as np
import pytest
from linear_drift import B0, COVARIANCE, MEAN, Q1, Q2, A, D, T, errors, linear, quadratic, solved, weighted_gaussian
from numpy.polynomial import legendre
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import wfr_pde as wfr
from wfr_pde.flows.transport.finite_volume import drift as drift_steps
from wfr_pde.space.axis import Axis

MIXTURE = wfr.GaussianMixture([[-1, 0], [1, 0.3]], [0.4, 0.6], 0.5)


def volumes(drift, diffusivity, growth=None, order=2, dx=2):
    flow = wfr.FiniteVolume(drift=drift, diffusivity=diffusivity, growth=growth)
    flow = flow if order == 2 else wfr.Extrapolated(flow, order)
    return flow if dx == 2 else wfr.Extrapolated(flow, dx, "dx")


@pytest.mark.parametrize("growth", [None, quadratic], ids=["drift", "drift and growth"])
@pytest.mark.parametrize(("dx", "n", "most", "order"), [(2, (48, 96), 1.55e-2, 1.9), (4, (64, 96), 1.3e-3, 3.5)])
def test_a_gaussian_under_a_drift_that_is_no_gradient(growth, dx, n, most, order):
    """In dx: the laws have the order of the scheme, and so has log Z; mass one stays to rounding."""
    weighted = {} if growth is None else {"q": Q1, "Q": Q2}
    exact, log_mass = weighted_gaussian(A, B0, D, T, **weighted)
    found = []
    for cells in n:
        start = wfr.Grid([-7, -7], [7, 7], cells).density(wfr.Gaussian(MEAN, COVARIANCE))
        density = solved(volumes(linear, D, growth, order=4, dx=dx), start, T, T / 8)
        assert abs(density.mass - 1) < 1e-13
        found.append((errors(density, exact)[0], abs(density.log_mass - log_mass)))
    assert found[0][0] < most
    assert math.log(found[0][0] / found[1][0]) / math.log(n[1] / n[0]) > order
    if found[0][1] > 1e-6:  # without growth every run keeps the mass, but their combination in dx need not
        assert math.log(found[0][1] / found[1][1]) / math.log(n[1] / n[0]) > order


def swirl(points, t):
    x, y = points[..., 0], points[..., 1]
    return np.stack([np.sin(y) - 0.8 * x + 0.2 * x * y, 1.5 * np.cos(x) - y], axis=-1)


def dense_generator(grid, drift, diffusivity):
    """Scharfetter and Gummel's chain as one matrix on mu, its integrals by a rule of ten nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(10)
    numbers = np.arange(grid.size).reshape(grid.shape)
    matrix = np.zeros((grid.size, grid.size))
    for axis, cells in enumerate(grid.axes):
        for i in np.ndindex(*grid.shape):
            j = tuple(k + (number == axis) for number, k in enumerate(i))
            if j[axis] == cells.n:
                continue
            a, b = (np.array([other.centres[k] for other, k in zip(grid.axes, place, strict=True)]) for place in (i, j))
            points = a + (b - a) * (1 + nodes[:, None]) / 2
            distance = cells.centres[j[axis]] - cells.centres[i[axis]]
            rise = -distance * (weights @ drift(points, 0.0)[:, axis]) / 2 / diffusivity[axis]
            up, down = (diffusivity[axis] * z / math.expm1(z) / distance for z in (rise, -rise))
            for here, there, flow in ((i, j, up), (j, i, down)):
                matrix[numbers[there], numbers[here]] += flow / cells.widths[there[axis]]
                matrix[numbers[here], numbers[here]] -= flow / cells.widths[here[axis]]
    return matrix


@pytest.mark.parametrize("grading", [None, lambda x: 1 + 0.5 * np.cos(x)], ids=["equal cells", "graded cells"])
def test_equals_the_dense_exponential(grading):
    grid = wfr.Grid([-3, -3], [3, 3], (12, 14), grading=[grading, None], max_cut=1.0)
    start, diffusivity = grid.density(wfr.Gaussian([0.5, -0.5], 1.0)), np.array([0.7, 0.4])
    matrix = dense_generator(grid, swirl, diffusivity)
    expected = (expm(0.5 * matrix) @ start.values.ravel()).reshape(grid.shape)
    density = solved(volumes(swirl, diffusivity, order=8), start, 0.5, 0.5 / 12)
    assert np.abs(density.values / expected - 1).max() < 1e-9


def test_a_gradient_drift_gives_the_gradient_flow():
    """To the error of the rule between the centres: to rounding where the force is a polynomial of degree five."""
    target = wfr.Gaussian([0.3, -0.2], [[1.0, 0.4], [0.4, 0.8]])
    start = wfr.Grid([-6, -6], [6, 6], (40, 44)).density(wfr.Gaussian([-1, 0.5], 0.6))
    expected = wfr.Density.from_dataset(wfr.solve(target, wfr.FiniteVolume(0.7), start, [0, 0.5], 0.25))
    density = solved(volumes(lambda points, t: 0.7 * target.score(points), 0.7), start, 0.5, 0.25)
    assert np.abs(density.log_values - expected.log_values).max() < 1e-10


def test_a_kink_of_the_potential_at_a_joint():
    """The drift -sign(x) jumps there, and the integral from centre to centre has two parts."""
    axis = Axis.joined([Axis.uniform("x", -3.0, 0.0, 30), Axis.uniform("x", 0.0, 3.0, 36)])
    grid = wfr.Grid(-3, 3, 8, max_cut=1.0).with_axes([axis])
    start = grid.density(wfr.Gaussian(-0.5, 0.5))
    target = wfr.Potential(lambda x: 3 * np.abs(x))
    expected = wfr.FiniteVolume().make_step(wfr.KL(target, checked=False), start, 0.5)(start, 0.0)
    step = volumes(lambda points, t: -3 * np.sign(points), 1.0).make_step(wfr.energies.NoEnergy(), start, 0.5)
    assert np.abs(step(start, 0.0).log_values - expected.log_values).max() < 1e-11


def test_a_rotation_about_an_equilibrium():
    """Without rotation it stays, to the error of the rule between centres; with one to order two in dx."""
    found = {}
    for speed, n in ((0, 64), (4, 48), (4, 96)):

        def rotating(points, t, speed=speed):
            score = MIXTURE.score(points)
            return score + speed * np.stack([score[..., 1], -score[..., 0]], axis=-1)

        start = wfr.Grid([-6, -6], [6, 6], n).density(MIXTURE)
        found[speed, n] = errors(solved(volumes(rotating, 1.0, order=4), start, 0.4, 0.05), MIXTURE)[0]
    assert found[0, 64] < 1e-8
    assert found[4, 48] < 5e-2
    assert math.log2(found[4, 48] / found[4, 96]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("dx", "most"), [(2, 5e-4), (4, 2.2e-6)])
def test_noising_of_a_mixture_in_one_step(dx, most):
    """On one axis a drift at rest is solved exactly in time."""
    data, a = wfr.GaussianMixture([[-1.5], [1.5]], [0.3, 0.7], 0.09), math.exp(-T)
    exact = wfr.GaussianMixture([[-1.5 * a], [1.5 * a]], [0.3, 0.7], 0.09 * a**2 + 1 - a**2)
    start = wfr.Grid(-20, 20, 640).density(data)
    assert errors(solved(volumes(lambda x, t: -x, 1.0, dx=dx), start, T, T), exact)[0] < most


def test_a_diffusivity_that_moves_counts_by_its_integral():
    start = wfr.Grid(-9, 9, 128).density(wfr.Gaussian(0, 1))
    moving = solved(volumes(lambda x, t: 0 * x, lambda t: 1 + t**2), start, 1.0, 1.0)
    still = solved(volumes(lambda x, t: 0 * x, 4 / 3), start, 1.0, 1.0)
    assert np.abs(moving.log_values - still.log_values).max() < 1e-12


# A drift that moves, between walls at which there is mass, by a Galerkin method with Legendre polynomials


def pushing(x, t):
    return 1.5 * np.sin(3 * t) - x + 0.8 * np.cos(2 * x + t)


def feeding(x, t):
    return 0.5 * x * np.cos(t) + x**2


def galerkin(t, diffusivity, degree=24):
    """Return the law and log Z at time t of the start exp(-2 (x - 0.2)²) on [-1, 1]."""
    x, w = legendre.leggauss(80)
    values, slopes = (
        np.array([legendre.legval(x, change(row)) for row in np.eye(degree)])
        for change in (lambda p: p, legendre.legder)
    )
    norms = 2 / (2 * np.arange(degree) + 1)

    def matrix(s):  # (u_t, v) = (b u - D u', v') + (c u, v)
        fluxes = slopes @ ((w * pushing(x, s))[:, None] * values.T) - diffusivity * slopes @ (w[:, None] * slopes.T)
        return (fluxes + values @ ((w * feeding(x, s))[:, None] * values.T)) / norms[:, None]

    begin = values @ (w * np.exp(-2 * (x - 0.2) ** 2)) / norms
    begin /= 2 * begin[0]
    run = solve_ivp(
        lambda s, u: matrix(s) @ u, (0, t), begin, "Radau", jac=lambda s, u: matrix(s), rtol=1e-9, atol=1e-11
    )
    mass = 2 * run.y[0, -1]
    return (lambda places: legendre.legval(places, run.y[:, -1]) / mass), math.log(mass)


def test_walls_with_mass_and_a_drift_that_moves():
    """Order 2 in dt, to a Galerkin solution; with extrapolation in both less than a tenth of that is left.

    Extrapolation in dt gains digits there, not the order: a drift at rest during a step makes a layer at the wall.
    """
    law, log_mass = galerkin(1.0, 0.4)
    grid = wfr.Grid(-1, 1, 64, max_cut=1.0)
    start, exact = grid.density(wfr.Potential("2*(x - 0.2)**2")), law(grid.axes[0].centres)
    exact /= float(grid.integrate(exact))  # as the density has its mass by the same rule

    def error(steps, order, dx):
        flow = volumes(pushing, 0.4, lambda points, t: feeding(points[..., 0], t), order, dx)
        density = solved(flow, start, 1.0, 1 / steps)
        return float(grid.integrate(np.abs(density.values - exact))), abs(density.log_mass - log_mass)

    plain, halved, best = error(10, 2, 4), error(20, 2, 4), error(20, 4, 4)
    assert math.log2(plain[0] / halved[0]) == pytest.approx(2, abs=0.15)
    assert best[0] < 0.1 * halved[0]
    assert best[1] < 1e-4


LINE = wfr.Grid(-8, 8, 96).density(wfr.Gaussian(0, 1))


def test_a_drift_at_rest_needs_its_rates_once():
    made = []
    original = drift_steps.LineSweep.__init__

    def counted(self, *arguments):
        made.append(arguments)
        original(self, *arguments)

    with mock.patch.object(drift_steps.LineSweep, "__init__", counted):
        solved(volumes(lambda x, t: -x, 1.0), LINE, 1.0, 0.1)
        assert len(made) == 1
        solved(volumes(lambda x, t: -x * (1 + t), 1.0), LINE, 1.0, 0.1)
        assert len(made) == 11


def test_the_account_of_the_mass_goes_through_splittings_and_disk(tmp_path):
    """d log Z = E c dt, and a run that goes on from disk is told from one of another drift."""
    flow = wfr.Strang(wfr.FisherRao(0.5), volumes(lambda x, t: -x, 1.0, lambda x, t: 0.3 + 0 * x[..., 0]))
    target, times = wfr.Gaussian(0, 1), [0, 0.2, 0.4]
    ds = wfr.solve(target, flow, LINE, times, 0.1, out=tmp_path / "run")
    assert ds["log_mass"].values == pytest.approx([0, 0.06, 0.12], abs=1e-12)
    other = wfr.Strang(wfr.FisherRao(0.5), volumes(lambda x, t: -2 * x, 1.0, lambda x, t: 0.3 + 0 * x[..., 0]))
    with pytest.raises(ValueError, match="another run|other|differ"):
        wfr.solve(target, other, LINE, times, 0.1, out=tmp_path / "run")


def test_a_drift_far_above_what_cells_resolve_keeps_mass_and_positivity():
    """A nat and more per cell: upwind, of order one, and never negative."""
    steep = solved(volumes(lambda x, t: 300 * np.sin(3 * x), 0.05), LINE, 1.0, 0.5)
    assert steep.is_finite()
    assert abs(steep.mass - 1) < 1e-12


@pytest.mark.parametrize(
    ("drift", "diffusivity", "growth", "words"),
    [
        (lambda x, t: x[..., 0], 0.5, None, "the drift must return one vector per point"),
        (lambda x, t: np.where(x > 3, np.nan, -x), 0.5, None, r"the drift is nan at x=\[3\.0\d+\], t=0\.05"),
        (lambda x, t: -x, 0.5, lambda x, t: np.where(x > 3, np.inf, x), "the growth must return one number per point"),
        (lambda x, t: -x, 0.5, lambda x, t: np.where(x[..., 0] > 3, np.inf, 0), r"the growth is inf at x=\[3\.08"),
        (lambda x, t: -x, lambda t: 0.0, None, r"diffusivity > 0, but it is 0 along the axis 'x' .* t=0: .* Advected"),
        (lambda x, t: -x, lambda t: -1.0, None, r"diffusivity at t=.* must be finite and >= 0"),
        (lambda x, t: -x, [1.0, 1.0], None, r"one for each of 1 axes, got shape \(2,\)"),
        (lambda x, t: -1e200 * x, 1e-200, None, "the drift over the diffusivity of 1e-200 along x overflows"),
        (
            lambda x, t: -1e150 * x,
            1.0,
            None,
            "integral of -drift/diffusivity along x: .* overflows.* larger diffusivity",
        ),
    ],
)
def test_wrong_coefficients(drift, diffusivity, growth, words):
    with pytest.raises(ValueError, match=words):
        wfr.solve(None, volumes(drift, diffusivity, growth), LINE, [0, 1], 0.1)


def test_wrong_arguments():
    def still(points, t):
        return 0 * points

    with pytest.raises(TypeError, match="drift must be a function"):
        volumes(3.0, 1.0)
    with pytest.raises(TypeError, match="growth must be a function"):
        volumes(still, 1.0, 3.0)
    with pytest.raises(ValueError, match="finite and >= 0 along every axis, got"):
        volumes(still, -1.0)
    with pytest.raises(ValueError, match="needs a diffusivity > 0, but it is 0: .* use Advected, which takes zero"):
        volumes(still, [1.0, 0.0])
    with pytest.raises(ValueError, match="needs a diffusivity > 0: give"):
        wfr.FiniteVolume(drift=still)
    with pytest.raises(ValueError, match="give diffusivity=..., not rate=2"):
        wfr.FiniteVolume(2.0, drift=still, diffusivity=1.0)
    for name, value in (("diffusivity", 1.0), ("growth", still)):
        with pytest.raises(ValueError, match=f"{name} goes with a drift"):
            wfr.FiniteVolume(**{name: value})
    circle = wfr.Grid(0, 2 * np.pi, 32, boundary="periodic").density(wfr.Potential("cos(x)"))
    with pytest.raises(ValueError, match="the axis 'x' is periodic: .* no potential that closes; use Advected"):
        wfr.solve(None, volumes(still, 1.0), circle, [0, 1], 0.1)


def test_equality_and_words():
    flow = wfr.FiniteVolume(drift=linear, diffusivity=np.array([1.0, 2.0]))
    assert flow == wfr.FiniteVolume(drift=linear, diffusivity=[1, 2])
    assert flow != wfr.FiniteVolume(drift=linear, diffusivity=[1, 3])
    assert hash(flow) == hash(wfr.FiniteVolume(drift=linear, diffusivity=[1, 2]))
    assert repr(flow).startswith("FiniteVolume(drift=linear, diffusivity=(1.0, 2.0), flux=")
    assert (flow.energies, flow.law, flow.preserves) == ((), "own", {"mass", "positivity"})
    assert wfr.FiniteVolume().law == "w"
