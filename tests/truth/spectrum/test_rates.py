"""Rates of decay: of the spectrum, of a record, of a run."""

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.truth.spectrum.rates import decay_rate, long_time_rate


def test_long_time_rate():
    target = wfr.Gaussian(0, 0.5)
    ds = wfr.spectrum(target, wfr.Grid.covering(target, shape=128))
    assert long_time_rate(ds, 0.7, 1.3) == pytest.approx(2 * (0.7 * 2 + 1.3), rel=1e-6)
    assert long_time_rate(ds, 0.0) == 2.0
    with pytest.raises(ValueError, match="rate >= 0"):
        long_time_rate(ds, -1)


def test_decay_rate():
    t = np.linspace(0, 4, 41)
    kl = 3 * np.exp(-2.5 * t) + np.exp(-9 * t)
    ds = xr.Dataset({"kl": ("t", kl), "mean": (("t", "axis"), np.ones((41, 1)))}, coords={"t": t})
    assert decay_rate(ds, since=3) == pytest.approx(2.5, abs=1e-7)  # e^(-6.5 3)
    assert decay_rate(ds) == pytest.approx(2.5, abs=1e-5)
    with pytest.raises(ValueError, match=r"no record 'mean' of a number at each time; it has \['kl'\]"):
        decay_rate(ds, "mean")
    with pytest.raises(ValueError, match="needs two times from since=4 on, but the run has 1"):
        decay_rate(ds, since=4)
    ds["kl"][30] = 0.0
    with pytest.raises(ValueError, match=r"kl is 0.0 at t=3, so that it has no logarithm"):
        decay_rate(ds)


def test_decay_rate_of_a_run_is_the_long_time_rate():
    target = wfr.CoshDoubleWell(0.5)
    grid = wfr.Grid.covering(target, shape=96)
    flow = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(0.4), wfr.SinkhornKernel(0.7)), 6)
    start = grid.density(wfr.Gaussian(-0.8, 0.1))
    ds = wfr.solve(target, flow, start, np.linspace(0, 10, 11), 0.1, record=wfr.KL(target))
    expected = long_time_rate(wfr.spectrum(target, grid), 0.7, 0.4)
    # the next mode enters with e^(-0.7 (lambda_2 - 0.5) 8), squared or times an odd one
    assert decay_rate(ds, since=8) == pytest.approx(expected, rel=1e-3)
    assert expected == pytest.approx(2 * (0.7 * 0.5 + 0.4), rel=1e-4)
