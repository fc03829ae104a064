"""Memory of a run: refused where there is too little, and never more than the estimate."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from double_well_run import FLOW, START, TARGET

import wfr_pde as wfr
from wfr_pde.integrate.memory import estimated_memory
from wfr_pde.numerics.backends import get_backend


def test_more_memory_than_there_is_is_refused_before_allocating():
    backend = dataclasses.replace(get_backend("numpy"), available_memory=lambda: 10_000_000)
    start = wfr.Grid(-3.2, 3.2, 96, backend=backend).density(START)
    times = np.linspace(0, 1e4, 100_001)
    with pytest.raises(MemoryError, match=r'about 0.0\d+ GiB \(100001 stored frames\), but .* free.*keep="last"'):
        wfr.solve(TARGET, FLOW, start, times, 0.1)


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("shape", [(500,), (128, 120), (80, 84, 88)])
def test_a_run_stays_below_its_estimate_of_memory(shape, order):
    d = len(shape)
    target, origin = wfr.Gaussian([0] * d, 1.0), wfr.Gaussian([-0.5] * d, 0.8)
    rho = wfr.Grid([-7] * d, [7] * d, shape).density(origin)
    flow = wfr.Extrapolated(FLOW, order) if order > 2 else FLOW
    dt = flow.dt_bounds(wfr.KL(target), rho)[0]
    wfr.solve(target, flow, rho, [0, dt], dt)  # what is imported and cached once does not count
    tracemalloc.start()
    wfr.solve(wfr.Gaussian([0] * d, 1.0), flow, rho, [0, dt, 2 * dt], dt)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= estimated_memory(flow, rho, n_kept=3)
    # and the estimate is no wild guess, where the grid and not the kernels take the memory
    if d == 3:
        assert estimated_memory(flow, rho, n_kept=3) < 1.3 * peak


@pytest.mark.parametrize("transport", [wfr.SinkhornKernel(), wfr.FiniteVolume()], ids=["kernel", "finite volume"])
@pytest.mark.parametrize("shape", [(500,), (128, 120), (40, 44, 48)])
def test_a_run_on_graded_cells_stays_below_its_estimate_of_memory(shape, transport):
    """Volumes are arrays there, which are kept."""
    d = len(shape)
    target, origin = wfr.Gaussian([0] * d, 1.0), wfr.Gaussian([-0.5] * d, 0.8)
    grid = wfr.Grid([-7] * d, [7] * d, shape, grading=[lambda x: 1 / np.sqrt(1 + (0.2 * x) ** 2)] * d)
    flow = wfr.Strang(wfr.FisherRao(), transport)
    dt = max(flow.dt_bounds(wfr.KL(target), grid.density(origin))[0], 1e-3)
    wfr.solve(target, flow, grid.density(origin), [0, dt], dt, record=[wfr.KL(target)])
    rho = dataclasses.replace(grid, max_cut=1e-5).density(origin)  # nothing is cached on it but what a start needs
    tracemalloc.start()
    wfr.solve(wfr.Gaussian([0] * d, 1.0), flow, rho, [0, dt, 2 * dt], dt, record=[wfr.KL(target)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= estimated_memory(flow, rho, n_kept=3) + 2**18  # tables of a fixed size
