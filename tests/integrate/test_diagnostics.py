"""Records: against closed forms of Gaussians, near equilibrium, and far away."""

import inspect
import math
import warnings

import mpmath
import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import diagnostics, exact, metrics
from wfr_pde.errors import OpenIntegralWarning
from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.special import expm1_minus, minus_log1p

PI = wfr.Gaussian([0, 0.5], [[1, 0.3], [0.3, 0.8]])
MU = wfr.Gaussian([-1, 0], [[0.5, -0.2], [-0.2, 0.6]])
GRID = wfr.Grid([-8, -8], [8, 8], (96, 90))
ENERGY = wfr.KL(PI)
LINE = wfr.Grid(-9, 9, 150)
NORMAL = wfr.KL(wfr.Gaussian(0, 1))
RECORDS = {
    name: f
    for name, f in vars(diagnostics).items()
    if inspect.isfunction(f) and list(inspect.signature(f).parameters) == ["state", "energy"]
}


@pytest.fixture(scope="module")
def mu():
    return GRID.density(MU)


def test_closed_forms_of_gaussians(mu):
    """Smooth integrands that end inside the box: the midpoint rule is right to rounding."""
    offset, ratio = MU.mean - PI.mean, PI.precision @ MU.covariance
    kl, back = exact.gaussian_kl(MU, PI), exact.gaussian_kl(PI, MU)
    difference = MU.precision - PI.precision
    # g = const + b'z - z'Dz/2 with z = x - m ~ N(0, C): Var = b'Cb + tr(DCDC)/2, E|grad g|² = |b|² + tr(DCD)
    b = PI.precision @ offset
    variance = b @ MU.covariance @ b + np.trace(difference @ MU.covariance @ difference @ MU.covariance) / 2
    fisher = b @ b + np.trace(difference @ MU.covariance @ difference)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * MU.covariance)[1]
    expected = {
        "mass": 1,
        "kl": kl,
        "reverse_kl": back,
        "jeffreys": kl + back,
        "variance_of_log_ratio": variance,
        "fisher_information": fisher,
        "entropy": entropy,
    }
    assert np.linalg.slogdet(ratio)[0] == 1
    for name, value in expected.items():
        assert RECORDS[name](mu, ENERGY) == pytest.approx(value, rel=1e-10), name
    assert RECORDS["mean"](mu, ENERGY) == pytest.approx(MU.mean, rel=1e-11, abs=1e-12)
    assert RECORDS["covariance"](mu, ENERGY) == pytest.approx(MU.covariance, rel=1e-11)
    assert RECORDS["kl"](mu, ENERGY) == pytest.approx(ENERGY.value(mu), rel=1e-13)


def test_chi_squared_of_shifted_gaussians():
    """exp(d²) - 1 for N(d, 1) and N(0, 1)."""
    grid = wfr.Grid(-9, 14, 200)  # the integrand is centred at 2 d
    for d in (1e-6, 0.5, 2.0):
        state = grid.density(wfr.Gaussian(d, 1))
        assert diagnostics.chi_squared(state, NORMAL) == pytest.approx(math.expm1(d * d), rel=1e-9)
        assert diagnostics.log_chi_squared(state, NORMAL) == pytest.approx(math.log(math.expm1(d * d)), rel=1e-9)


def test_oscillation_of_a_linear_ratio():
    """g = d x + const on the cell centres."""
    state = LINE.density(wfr.Gaussian(0.5, 1))
    x = LINE.axes[0].centres
    assert diagnostics.oscillation(state, NORMAL) == pytest.approx(0.5 * (x[-1] - x[0]), rel=1e-13)


@pytest.mark.parametrize("e", [1e-2, 1e-5, 1e-9])
def test_digits_near_equilibrium(e):
    """mu ∝ pi e^{e x}, put together on the grid, so that g is known to 1e-16 / e: all are multiples of e²."""
    log_pi = NORMAL.log_equilibrium(LINE)
    state = wfr.Density(LINE, log_pi + e * LINE.axes[0].centres).normalised()
    tolerance = 1e-13 / e + 10 * e * e
    for name, factor in {
        "kl": 0.5, "reverse_kl": 0.5, "jeffreys": 1, "chi_squared": 1, "variance_of_log_ratio": 1,
        "fisher_information": 1,
    }.items():  # fmt: skip
        assert RECORDS[name](state, NORMAL) == pytest.approx(factor * e * e, rel=tolerance), name


def test_equilibrium_itself():
    state = wfr.Density(LINE, NORMAL.log_equilibrium(LINE))
    for name in ("kl", "reverse_kl", "jeffreys", "chi_squared", "fisher_information", "oscillation"):
        assert RECORDS[name](state, NORMAL) == 0
    assert diagnostics.log_chi_squared(state, NORMAL) == -math.inf


def test_seven_thousand_nats_away():
    """Nothing overflows, nothing is clipped: KL and the logarithm of chi² are finite and right."""
    grid = wfr.Grid(-14, 9, 1000)
    start, pi = wfr.Gaussian(-10, 0.00714), wfr.Gaussian(0, 1)
    state, energy = grid.density(start), wfr.KL(pi)
    assert abs(energy.first_variation(state)).max() > 7000
    assert diagnostics.kl(state, energy) == pytest.approx(exact.gaussian_kl(start, pi), rel=1e-11)
    assert diagnostics.reverse_kl(state, energy) == pytest.approx(exact.gaussian_kl(pi, start), rel=1e-11)
    assert diagnostics.reverse_kl(state, energy) > 7000
    back = wfr.KL(start)
    turned = grid.density(pi)  # mu wide, pi narrow: chi² = e^(thousands) where the box ends
    with pytest.warns(OpenIntegralWarning, match="does not fall towards the upper end of x at 9"):
        assert diagnostics.log_chi_squared(turned, back) > 7000
    with pytest.warns(OpenIntegralWarning, match="chi_squared is a sum over the cells of the box"):
        assert diagnostics.chi_squared(turned, back) == math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpenIntegralWarning)
        for record in RECORDS.values():
            assert not np.isnan(record(state, energy)).any()
            assert not np.isnan(record(turned, back)).any()


def test_on_a_periodic_grid_the_derivative_wraps():
    grid = wfr.Grid(0, 2 * np.pi, 64, boundary="periodic")
    energy = wfr.KL(wfr.Potential(lambda x: 0 * x))
    state = wfr.Density(grid, 0.7 * np.sin(grid.axes[0].centres)).normalised()
    # E (0.7 cos x)² by the midpoint rule, exact for periodic functions; splines of degree 5: dx^6 = 9e-7 times 1e-3
    expected = float(grid.integrate(state.values * (0.7 * np.cos(grid.axes[0].centres)) ** 2))
    assert diagnostics.fisher_information(state, energy) == pytest.approx(expected, rel=1e-7)


def test_mode_masses():
    mixture = wfr.GaussianMixture([[-4, 0], [4, 0]], [0.3, 0.7], 0.5)
    state = wfr.Grid([-9, -6], [9, 6], (90, 60)).density(mixture)
    masses = diagnostics.mode_masses(mixture.means)
    # the boundary x = 0 lies between cells: each component has 8e-9 beyond it
    assert masses(state, None) == pytest.approx([0.3, 0.7], abs=1e-8)
    right = diagnostics.region_mass(lambda points: points[..., 0] > 0, "right")
    assert right(state, None) == pytest.approx(0.7, abs=1e-8)


@pytest.mark.parametrize("n", [90, 91])
def test_cells_halfway_between_modes_are_shared(n):
    """Symmetric modes have equal masses, on an even and an odd number of cells, and across the diagonal."""
    line = wfr.Grid(-3, 3, n).density(wfr.DoubleWell(1.0))
    assert diagnostics.mode_masses([-1.0, 1.0])(line, None) == pytest.approx([0.5, 0.5], abs=1e-14)
    swap = wfr.GaussianMixture([[22.9, 9.7], [9.7, 22.9]], [0.5, 0.5], 30.0)
    state = wfr.Grid([-31.7] * 2, [64.3] * 2, (n, n)).density(swap)
    assert diagnostics.mode_masses(swap.means)(state, None) == pytest.approx([0.5, 0.5], abs=1e-13)


def test_particles():
    particles = wfr.Particles(np.array([[-1.0], [0.5], [2.0]]), np.log([0.2, 0.3, 0.5]))
    assert diagnostics.mass(particles, None) == pytest.approx(1)
    assert diagnostics.mean(particles, None) == pytest.approx([0.95])
    assert diagnostics.covariance(particles, None).shape == (1, 1)
    assert diagnostics.mode_masses([-1.0, 1.0])(particles, None) == pytest.approx([0.2, 0.8])
    assert diagnostics.region_mass(lambda p: p[..., 0] > 1, "far")(particles, None) == pytest.approx(0.5)
    with pytest.raises(TypeError, match="needs a density on a grid"):
        diagnostics.kl(particles, NORMAL)


def test_in_a_dataset(mu):
    masses = diagnostics.mode_masses([[-1, 0], [1, 0]])
    left = diagnostics.region_mass(lambda points: points[..., 0] < 0, "left")
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    ds = wfr.solve(PI, flow, mu, [0, 0.2, 0.4], 0.2, record=[*RECORDS.values(), masses, left])
    assert ds["mean"].dims == ("t", "axis")
    assert ds["covariance"].dims == ("t", "axis", "axis_2")
    assert ds["mode_masses"].dims == ("t", "mode")
    assert ds["left"].dims == ("t",)
    for name, record in RECORDS.items():
        assert ds[name].attrs == {"long_name": record.long_name, "units": record.units}
        assert record.__name__ == name
        assert record.__doc__
    assert ds["kl"].units == "nats"
    assert len(RECORDS) == 13


def test_on_a_device():
    """Everything goes through the grid's array library; array-api-strict's second device refuses NumPy."""
    strict = pytest.importorskip("array_api_strict")
    device, host = strict.Device("device1"), strict.Device("CPU_DEVICE")
    backend = Backend(
        name="strict",
        xp=strict,
        device="device1",
        asarray=lambda array: strict.asarray(array, device=device),
        asnumpy=lambda array: np.asarray(array.to_device(host)),
        available_memory=lambda: None,
    )
    states = [wfr.Grid([-8, -8], [8, 8], (96, 90), backend=b).density(MU) for b in ("numpy", backend)]
    for name, record in {**RECORDS, "modes": diagnostics.mode_masses([[-1, 0], [1, 0]])}.items():
        a, b = (record(state, wfr.KL(PI)) for state in states)
        assert b == pytest.approx(a, rel=1e-12, abs=1e-14), name
    other = states[1].grid.density(PI)
    for metric in (metrics.l1, metrics.hellinger):
        assert metric(other, states[1]) == pytest.approx(metric(other, states[0]), rel=1e-13)
        assert metric(states[0], other) == pytest.approx(metric(other, states[0]), rel=1e-13)


@pytest.mark.parametrize("centres", [[], [[np.nan, 0]], 3.0])
def test_bad_centres(centres):
    with pytest.raises(ValueError, match="centres must be finite"):
        diagnostics.mode_masses(centres)


def test_centres_of_another_dimension(mu):
    with pytest.raises(ValueError, match="centres are 1-dimensional, but the state is 2-dimensional"):
        diagnostics.mode_masses([-1, 1])(mu, None)


def test_functions_that_do_not_cancel():
    x = np.concatenate([-np.logspace(-12, 0.9, 60), [0.0], np.logspace(-12, 2, 60)])
    with mpmath.workdps(60):
        expected = np.array([float(mpmath.expm1(mpmath.mpf(v)) - mpmath.mpf(v)) for v in x])
        logs = np.array([float(mpmath.mpf(v) - mpmath.log1p(mpmath.mpf(v))) for v in x if v > -1])
    assert expm1_minus(x, np) == pytest.approx(expected, rel=3e-15)
    assert minus_log1p(x[x > -1], np) == pytest.approx(logs, rel=3e-15)


def test_mode_masses_go_around_the_circle():
    grid = wfr.Grid(-math.pi, math.pi, 64, boundary="periodic")
    density = grid.density(wfr.Potential("-5*cos(x-3)"))
    masses = diagnostics.mode_masses([3.0, 0.0])(density, None)
    assert masses[0] > 0.99
    assert masses.sum() == pytest.approx(1, abs=1e-12)


def test_closed_forms_on_graded_cells():
    """Scales one to a thousand: quadrature and splines on graded cells are as good as on equal ones."""
    pi, mu = wfr.Gaussian(0, 2500.0), wfr.Gaussian(1, 0.0025)
    grid = wfr.Grid.covering(pi, mu, shape=300, graded=True)
    state, energy = grid.density(mu), wfr.KL(pi)
    difference, offset = 400 - 1 / 2500, 1 / 2500
    expected = {
        "mass": 1,
        "kl": exact.gaussian_kl(mu, pi),
        "fisher_information": difference**2 * 0.0025 + offset**2,
        "variance_of_log_ratio": difference**2 * 0.0025**2 / 2 + offset**2 * 0.0025,
        "entropy": 0.5 * math.log(2 * math.pi * math.e * 0.0025),
    }
    for name, value in expected.items():
        assert RECORDS[name](state, energy) == pytest.approx(value, rel=1e-10), name
    # E_pi of a quadratic: the box leaves out 1e-12 of the mass, at 7 sd
    assert diagnostics.reverse_kl(state, energy) == pytest.approx(exact.gaussian_kl(pi, mu), rel=1e-9)
    both = exact.gaussian_kl(mu, pi) + exact.gaussian_kl(pi, mu)
    assert diagnostics.jeffreys(state, energy) == pytest.approx(both, rel=1e-9)
    along = exact.gaussian_kl(exact.gaussian_flow(pi, mu, 0.5, 0.0, 1.0), pi)
    assert exact.fisher_rao_kl(pi, mu, 0.5, 1.0, grid) == pytest.approx(along, rel=1e-9)


def test_mode_masses_on_graded_cells():
    mixture = wfr.GaussianMixture([-30.0, 40.0], [0.9, 0.1], [1.0, 1e-4])
    grid = wfr.Grid.covering(mixture, shape=200, graded=True)
    record = diagnostics.mode_masses([-30.0, 40.0])
    assert record(grid.density(mixture), NORMAL) == pytest.approx([0.9, 0.1], abs=1e-12)
