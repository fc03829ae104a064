"""Every backend gives what NumPy gives, and its arrays stay on its device.

array-api-strict's `device1` stands in for a GPU: it refuses NumPy functions, mixed devices, and everything that the
array API standard does not promise.
"""

import dataclasses

import array_api_strict
import backend_cases
import numpy as np
import pytest
import scipy.fft

import wfr_pde as wfr
from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.backends.base import Transforms

DEVICE = array_api_strict.Device("device1")
HOST = array_api_strict.Device("CPU_DEVICE")
STRICT = Backend(
    name="strict",
    xp=array_api_strict,
    device="device1",
    asarray=lambda array: array_api_strict.asarray(array, device=DEVICE),
    asnumpy=lambda array: np.asarray(array.to_device(HOST)),
    available_memory=lambda: None,
)


def _on_device(transform):
    """A transform of SciPy's that takes and gives arrays of the device."""

    def transformed(values, **options):
        assert values.device == DEVICE
        return STRICT.asarray(transform(STRICT.asnumpy(values), **options))

    return transformed


WITH_TRANSFORMS = dataclasses.replace(
    STRICT,
    transforms=Transforms(
        dctn=lambda values, axes: _on_device(scipy.fft.dctn)(values, type=2, axes=axes),
        idctn=lambda values, axes: _on_device(scipy.fft.idctn)(values, type=2, axes=axes),
        rfftn=lambda values, axes: _on_device(scipy.fft.rfftn)(values, axes=axes),
        irfftn=lambda values, lengths, axes: _on_device(scipy.fft.irfftn)(values, s=lengths, axes=axes),
    ),
)
R, S = wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0)
SPLIT_STEP = wfr.Strang(R, wfr.SplitStep(1.0))
CASES = {
    "1D": backend_cases.CASES["1D"],
    "2D": (
        wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5),
        wfr.Gaussian([-1, 0], 0.1),
        dict(lower=[-3, -3], upper=[3, 3.5], shape=(70, 66)),
        0.05,
    ),
    "3D periodic": backend_cases.CASES["3D periodic"],
    "by blocks": backend_cases.CASES["far"],
}
FLOWS = [
    wfr.Lie(S, R),
    wfr.Strang(R, S),
    wfr.Extrapolated(wfr.Strang(R, S), 8),
    wfr.Extrapolated(S, 4),
    SPLIT_STEP,
    wfr.Strang(R, wfr.FiniteVolume(1.0)),
]


@pytest.mark.filterwarnings("ignore::wfr_pde.FloorWarning")  # agreement is what counts, also on a far start
@pytest.mark.parametrize("flow", FLOWS, ids=["Lie", "Strang", "Extrapolated", "transport", "SplitStep", "FiniteVolume"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_agrees_with_numpy(case, flow):
    target, start, options, dt = case
    results = []
    for backend in ("numpy", STRICT):
        grid = wfr.Grid(**options, backend=backend)
        ds = wfr.solve(target, flow, grid.density(start), [0, 2 * dt], dt, record=[wfr.KL(target)])
        results.append(ds)
    a, b = results
    assert b.attrs["device"] == "device1"
    if flow is SPLIT_STEP:  # below its floor there is noise, which grows from any rounding
        densities, largest = np.exp([a.log_density.values, b.log_density.values]), np.abs(a.log_density.values).max()
        assert np.abs(densities[0] - densities[1]).max() < 1e-15 * largest * densities.max()
        return
    # rounding, amplified by the extrapolation weights and by the size of the logarithms
    tolerance = 1e-13 * (10 + np.abs(a.log_density.values).max())
    assert np.abs(a.log_density.values - b.log_density.values).max() < tolerance
    assert a.kl.values == pytest.approx(b.kl.values, rel=1e-11)


LANGEVIN = {
    "1D": (wfr.LangevinKernel(1.0), CASES["1D"]),
    "3D periodic": (wfr.LangevinKernel(1.0), CASES["3D periodic"]),
    "MALA": (wfr.MALAKernel(1.0), CASES["1D"]),
}


@pytest.mark.parametrize(("flow", "case"), LANGEVIN.values(), ids=LANGEVIN.keys())
def test_laws_of_langevin_steps_agree_with_numpy(case, flow):
    test_agrees_with_numpy(case, wfr.Strang(R, flow))


@pytest.mark.parametrize("periodic", [False, True, "mixed"])
def test_transforms_of_the_device_agree_with_numpy(periodic):
    boundary = ["no-flux", "periodic"] if periodic == "mixed" else "periodic" if periodic else "no-flux"
    formula = "2*(cos(x) + cos(y))" if periodic is True else "3*x**2/2 + 2*cos(y)" if periodic else "x**2 + y**2/2"
    target, start = wfr.Potential(formula), wfr.Potential(formula + (" + x" if periodic is not True else " + cos(x)"))
    results = []
    for backend in ("numpy", WITH_TRANSFORMS):
        grid = wfr.Grid([-np.pi] * 2, [np.pi] * 2, (45, 36), boundary, backend=backend, max_cut=1)
        if periodic is False:
            grid = wfr.Grid([-8] * 2, [8] * 2, (80, 64), backend=backend)
        flow = wfr.Strang(R, wfr.SplitStep(1.0))
        results.append(wfr.solve(target, flow, grid.density(start), [0, 0.1], 0.05, keep="last"))
    a, b = (wfr.Density.from_dataset(ds) for ds in results)
    assert wfr.metrics.l1(a, b) < 1e-13


def test_state_stays_on_the_device():
    grid = wfr.Grid(-3, 3, 100, backend=STRICT)
    energy, start = wfr.KL(wfr.DoubleWell(2.0)), grid.density(wfr.Gaussian(-1, 0.1))
    state = wfr.Strang(R, S).make_step(energy, start, 0.05)(start, 0.0)
    assert state.log_values.device == DEVICE
    assert isinstance(state.mean(), np.ndarray)
    assert state.marginal(0) is state


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("flow", [wfr.Strang(R, wfr.FiniteVolume()), wfr.Strang(R, S)], ids=["dx", "dt"])
def test_graded_grids_and_extrapolation_in_dx_agree_with_numpy(flow, graded):
    extrapolated = wfr.Extrapolated(flow, 4, "dx") if flow.space_order == 2 else wfr.Extrapolated(flow, 4)
    target, start = CASES["2D"][:2]
    grading = [lambda x: 1 / (3 + x**2), None] if graded else None
    results = []
    for backend in ("numpy", STRICT):
        grid = wfr.Grid([-3, -3], [3, 3.5], (140, 90), grading=grading, backend=backend)
        record = [wfr.KL(target), wfr.diagnostics.mean]
        results.append(wfr.solve(target, extrapolated, grid.density(start), [0, 0.1], 0.05, record=record))
    a, b = results
    assert np.abs(a.log_density.values - b.log_density.values).max() < 1e-11
    assert a.kl.values == pytest.approx(b.kl.values, rel=1e-11)
    assert np.allclose(a["mean"].values, b["mean"].values, atol=1e-13)


def test_graded_cells_agree_with_numpy():
    ends = wfr.Gaussian([0, 0], [1.0, 0.3]), wfr.Gaussian([-1, 0.5], 0.02)
    options = dict(lower=[-8, -5], upper=[8, 5], shape=(110, 100))
    rho = lambda x: 1 / np.sqrt(0.02 + (0.2 * (x + 1)) ** 2)
    found = []
    for backend in ("numpy", STRICT):
        grid = wfr.Grid(**options, grading=(rho, None), backend=backend)
        start = grid.density(ends[1])
        flow = wfr.Extrapolated(wfr.Strang(R, S), 4)
        dt = flow.dt_bounds(wfr.KL(ends[0]), start)[0]
        ds = wfr.solve(ends[0], flow, start, [0, dt], dt, record=[wfr.KL(ends[0]), wfr.diagnostics.fisher_information])
        state = wfr.Density.from_dataset(ds, backend=backend)
        numbers = [dt, *ds.kl.values, *ds.fisher_information.values, *state.mean(), *state.covariance().ravel()]
        numbers += [state.expectation(lambda p: np.cos(p[..., 0])), state.marginal("x").covariance()[0, 0]]
        numbers += [wfr.exact.fisher_rao_kl(*ends, 0.3, 1.0, grid), *state.sample(3, rng=0).ravel()]
        found.append(numbers)
        if backend is STRICT:
            assert grid.cell_volume.device == DEVICE
    assert found[0] == pytest.approx(found[1], rel=1e-10)
