"""Single precision: what it errs by, what it can hold, and who refuses it."""

import array_api_strict
import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.errors import BackendError
from wfr_pde.numerics.backends import Backend, get_backend
from wfr_pde.numerics.backends.base import in_single
from wfr_pde.numerics.precision import DOUBLE, SINGLE

R, S = wfr.FisherRao(), wfr.SinkhornKernel()
WFR = wfr.Strang(R, S)
CASES = {
    "1D": (wfr.Gaussian(0, 1), wfr.Gaussian(-4, 0.3), dict(lower=-10, upper=10, shape=256), 0.1),
    "1D wells": (wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.1), dict(lower=-3, upper=3, shape=128), 0.05),
    "2D correlated": (
        wfr.Gaussian([0, 1], [[1, 0.5], [0.5, 2]]), wfr.Gaussian([-3, 2], 0.5),
        dict(lower=[-9, -9], upper=[7, 12], shape=(130, 140)), 0.1,
    ),
    "2D graded": (
        wfr.GaussianMixture([[-2, 0], [2, 1]], [0.3, 0.7], 0.4), wfr.Gaussian([-2, 0], 0.5),
        dict(lower=[-8, -8], upper=[8, 8], shape=(240, 150), grading=[lambda x: 1 / (8 + x**2), None]), 0.1,
    ),
    "3D periodic": (
        wfr.Potential("cos(x) + cos(y) * sin(z)"), wfr.Potential("3*cos(x - 1) + cos(y) + sin(z)"),
        dict(lower=[0, 0, 0], upper=[2 * np.pi] * 3, shape=(16, 18, 20), boundary="periodic"), 0.5,
    ),
}  # fmt: skip


def both(case, flow, steps=8):
    """The last density in double and in single precision, in double on the host."""
    target, start, options, dt = case
    results = []
    for name in ("numpy", "numpy:single"):
        grid = wfr.Grid(**options, backend=name)
        ds = wfr.solve(target, flow, grid.density(start), [0, steps * dt], dt, record=[wfr.KL(target)])
        assert ds.attrs["backend"] == name
        results.append(ds)
    return results


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_single_precision_errs_by_rounding_of_the_logarithms(case, order):
    flow = WFR if order == 2 else wfr.Extrapolated(WFR, order)
    double, single = both(case, flow)
    a, b = (wfr.Density.from_dataset(ds) for ds in (double, single))
    error = wfr.metrics.l1(a, b)
    assert 1e-9 < error < {2: 3e-6, 4: 1e-5, 8: 3e-5}[order]
    largest = np.abs(double.log_density.values).max()
    # in every cell relative to its own value, though the extrapolation weights add up to ten
    assert np.abs(a.log_values - b.log_values).max() < {2: 4, 4: 12, 8: 40}[order] * SINGLE.eps * (10 + largest)
    assert single.kl.values == pytest.approx(double.kl.values, rel=1e-4, abs=1e-6)


def test_against_the_closed_form():
    target, start = wfr.Gaussian([0, 1], [[1, 0.5], [0.5, 2]]), wfr.Gaussian([-3, 2], 0.5)
    grid = wfr.Grid([-9, -9], [7, 12], (130, 140), backend="numpy:single")
    ds = wfr.solve(target, wfr.Extrapolated(WFR, 8), grid.density(start), [0, 1], 0.125)
    truth = wfr.Grid([-9, -9], [7, 12], (130, 140)).density(exact.gaussian_flow(target, start, 1.0))
    assert wfr.metrics.l1(wfr.Density.from_dataset(ds), truth) < 1e-5


def test_pi_stays_for_a_thousand_steps():
    target = wfr.DoubleWell(2.0)
    grid = wfr.Grid(-3, 3, 128, backend="numpy:single")
    pi = grid.density(target)
    ds = wfr.solve(target, WFR, pi, [0, 50], 0.05, record=[wfr.KL(target)])
    assert ds.attrs["n_steps"] == 1000
    last = wfr.Density.from_dataset(ds)
    assert wfr.metrics.l1(last, wfr.Density.from_dataset(ds, 0)) < 1e-5
    assert abs(ds.kl.values[-1]) < 1e-6


def test_a_start_a_thousand_nats_away_is_right_in_every_cell():
    target, start = wfr.Gaussian([0, 0], 1), wfr.Gaussian([12, 5], 0.05)
    results = []
    for name in ("numpy", "numpy:single"):
        rho = wfr.Grid([-6, -6], [17, 11], (300, 200), backend=name).density(start)
        results.append(wfr.Density.from_dataset(wfr.solve(target, WFR, rho, [0, 0.04], 0.02)).log_values)
    assert np.ptp(results[0]) > 1000
    assert np.abs(results[0] - results[1]).max() < 8 * SINGLE.eps * np.abs(results[0]).max()


def test_states_are_half_as_large_and_stay_in_single(tmp_path):
    grid = wfr.Grid(-6, 6, 100, backend="numpy:single")
    rho = grid.density(wfr.Gaussian(-1, 1))
    assert rho.log_values.dtype == np.float32
    assert rho.nbytes == 400
    step = WFR.make_step(wfr.KL(wfr.Gaussian(0, 1)), rho, 0.1)
    assert step(rho, 0.0).log_values.dtype == np.float32
    times = np.linspace(0, 1, 6)
    whole = wfr.solve(wfr.Gaussian(0, 1), WFR, rho, times, 0.1)
    written = wfr.solve(wfr.Gaussian(0, 1), WFR, rho, times, 0.1, out=tmp_path / "run")
    assert np.array_equal(whole.log_density.values, written.log_density.values)
    assert whole.log_density.dtype == np.float64
    again = wfr.Density.from_dataset(whole, -1, backend="numpy:single")
    assert np.array_equal(again.log_values, whole.log_density.values[-1])  # nothing is lost on the way


def test_other_libraries_and_devices_stay_in_single():
    device, host = array_api_strict.Device("device1"), array_api_strict.Device("CPU_DEVICE")
    strict = Backend(
        name="strict",
        xp=array_api_strict,
        device="device1",
        asarray=lambda array: array_api_strict.asarray(array, device=device),
        asnumpy=lambda array: np.asarray(array.to_device(host)),
        available_memory=lambda: None,
    )
    target, start, options, dt = CASES["2D correlated"]
    results = []
    for backend in (in_single(strict), "numpy:single"):
        rho = wfr.Grid(**options, backend=backend).density(start)
        state = wfr.Extrapolated(WFR, 4).make_step(wfr.KL(target), rho, dt)(rho, 0.0)
        assert state.log_values.dtype == (np if backend == "numpy:single" else array_api_strict).float32
        results.append(state.grid.backend.asnumpy(state.log_values))
    assert np.abs(results[0] - results[1]).max() < 20 * SINGLE.eps * np.abs(results[0]).max()


@pytest.mark.parametrize(
    "flow",
    [wfr.FiniteVolume(), wfr.SplitStep(), wfr.LangevinKernel(), wfr.MALAKernel()],
    ids=lambda f: f.__class__.__name__,
)
def test_flows_that_need_double_precision_say_so(flow):
    rho = wfr.Grid(-6, 6, 100, backend="numpy:single").density(wfr.Gaussian(-1, 1))
    for composed in (flow, wfr.Strang(R, flow)):
        with pytest.raises(ValueError, match="needs double precision.*backend='numpy'"):
            wfr.solve(wfr.Gaussian(0, 1), composed, rho, [0, 0.1], 0.1)


@pytest.mark.parametrize("name", ["numpy:half", "numpy:", "numpi:single", ":single"])
def test_unknown_precisions_are_refused(name):
    with pytest.raises(BackendError, match='use one of: cupy, numpy, or one of them with ":single" after it'):
        get_backend(name)


@pytest.mark.parametrize("precision", [DOUBLE, SINGLE])
def test_no_product_comes_near_the_subnormal_numbers(precision):
    grid = wfr.Grid(-10, 10, 400, backend="numpy" if precision is DOUBLE else "numpy:single")
    band = grid.heat_kernel(0.01).bands[0]
    smallest = min(float(m[m > 0].min()) for _, parts in band._blocks for _, m in parts)
    tiny = float(np.finfo(precision.dtype).tiny)
    assert smallest * np.exp(-precision.span / 2) > tiny
    assert np.exp(-precision.block_flush - precision.block_span) > tiny
    assert np.exp(precision.span - precision.flush) < precision.eps
