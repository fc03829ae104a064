"""Budgets of samplers in twenty dimensions: parts by closed forms, those of a single block, and that they add up."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact, samplers

D, DT, END = 20, 0.1, 0.4
AXES = np.linalg.qr(np.random.default_rng(3).standard_normal((D, D)))[0]
WELLS, BEGIN = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2]), wfr.Gaussian(0.2, 0.5)
REST, FIRST = wfr.Gaussian(np.zeros(18), np.linspace(0.5, 1.5, 18)), wfr.Gaussian(np.full(18, 0.3), 0.5)
TARGET, START = wfr.Product([WELLS] * 2 + [REST], AXES), wfr.Product([BEGIN] * 2 + [FIRST], AXES)
FLOWS = {
    "SMC-WFR": samplers.SMCWFR(),
    "kernel": wfr.Lie(samplers.Langevin(), samplers.FeynmanKac(density=samplers.KernelDensity(0.7))),
}


@cache
def truth():
    return wfr.ground_truth(TARGET, START, [0, END], rtol=1e-4)


@cache
def budget(name):
    tree = truth()
    return wfr.error_budget(FLOWS[name], tree, TARGET, start=START, dt=DT, n=200, seeds=12, rng=1)


def parts(ds, statistic):
    return ds["part"].isel(dt=0, n=0).sel(statistic=statistic)


@pytest.mark.parametrize("k", [3, 20])
def test_splitting_and_step_are_those_of_closed_forms(k):
    """Coordinate y_k of the Gaussian block: W-FR of Gaussians, and one with a Langevin step in place of W."""
    target, start = wfr.Gaussian(0.0, REST.covariance[k - 3, k - 3]), wfr.Gaussian(0.3, 0.5)
    scale, s = float(target.covariance[0, 0]), math.exp(-DT)
    true = exact.gaussian_flow(target, start, END, 1, 1)
    split = exact.gaussian_split(target, start, DT, round(END / DT), "W-FR")
    mean, variance = 0.3, 0.5
    for _ in range(round(END / DT)):
        mean, variance = mean * (1 - DT / scale), (1 - DT / scale) ** 2 * variance + 2 * DT
        precision = s / variance + (1 - s) / scale
        mean, variance = s * mean / variance / precision, 1 / precision
    found = parts(budget("SMC-WFR"), f"mean y{k}")
    assert float(found.sel(parts="splitting")) == pytest.approx(split.mean[0] - true.mean[0], abs=1e-9)
    assert float(found.sel(parts="time step")) == pytest.approx(mean - split.mean[0], abs=1e-9)
    assert float(found.sel(parts="bandwidth")) == pytest.approx(0, abs=1e-12)
    about = [v + (m - true.mean[0]) ** 2 for m, v in ((split.mean[0], split.covariance[0, 0]), (mean, variance))]
    found = parts(budget("SMC-WFR"), f"variance y{k}").sel(parts=["splitting", "time step"])
    assert found.values == pytest.approx([about[0] - true.covariance[0, 0], about[1] - about[0]], abs=1e-9)


@pytest.mark.parametrize("name", FLOWS)
def test_parts_of_a_block_are_those_of_its_own_budget(name):
    """Laws of infinitely many particles do not know of the other blocks."""
    alone = wfr.error_budget(
        FLOWS[name], truth()["factor_0"].to_dataset(), WELLS, start=BEGIN, dt=DT, n=20, seeds=2
    ).isel(dt=0, n=0)
    both = budget(name).isel(dt=0, n=0)
    for own, statistic in (("mean y2", "mean x"), ("variance y1", "variance x"), ("mode 1 of y2", "mode 1")):
        for part in ("splitting", "time step", "bandwidth"):
            pair = [float(ds["part"].sel(parts=part, statistic=key)) for ds, key in ((both, own), (alone, statistic))]
            assert pair[0] == pytest.approx(pair[1], abs=1e-6)
    assert abs(parts(budget("kernel"), "variance y1").sel(parts="bandwidth")) > 0.01


def test_parts_of_the_potential_are_sums_over_the_blocks():
    """V of the Gaussian block by the moments of its coordinates, that of the wells by their own budget."""
    ds = budget("kernel").isel(dt=0, n=0)
    alone = wfr.error_budget(
        FLOWS["kernel"], truth()["factor_0"].to_dataset(), WELLS, start=BEGIN, dt=DT, n=20, seeds=2
    ).isel(dt=0, n=0)
    for part in ("splitting", "time step", "bandwidth"):
        one = ds["part"].sel(parts=part)
        total = 2 * float(alone["part"].sel(parts=part, statistic="potential"))
        for k, scale in enumerate(np.diag(REST.covariance)):
            middle = float(ds["truth"].sel(statistic=f"mean y{k + 3}"))
            first = float(one.sel(statistic=f"mean y{k + 3}"))
            total += (float(one.sel(statistic=f"variance y{k + 3}")) + 2 * middle * first) / (2 * scale)
        assert float(one.sel(statistic="potential")) == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_parts_add_up_to_what_runs_measure(name):
    ds = budget(name)
    joint = np.hypot(ds["sum_half_width"], ds["measured_half_width"])
    # 12 seeds, 95 %: half widths are 2.2 standard errors, 3 of them 6.6; 230 statistics, below one in 100
    assert float((abs(ds["sum"] - ds["measured"]) / joint).max()) < 3
    assert float((abs(ds["sum"] - ds["measured"]) < joint).mean()) > 0.9
    assert not [name for name in ds["statistic"].values if " < " in name]
    assert {"covariance y1 y20", "variance of the potential", "mode 2 of y1"} <= set(ds["statistic"].values)


def test_finite_number_is_that_of_kernels_that_meet_nobody():
    """A step of SMC-WFR in 60 dimensions weighs by every particle's own kernel, in place of the law of all.

    The weights (pi(x)/exp(-|xi|²/2))^share give the noise xi the variance 1/(1 - share), and a power of pi.
    """
    d, step = 60, 0.1
    pi, start = wfr.Gaussian(np.zeros(d), 1.0), wfr.Gaussian(np.zeros(d), 0.5)
    target = wfr.Product([pi])
    tree = wfr.ground_truth(target, start, [0, step], rtol=1e-3)
    ds = wfr.error_budget(samplers.SMCWFR(), tree, target, start=start, dt=step, n=400, seeds=20)
    share, there = -math.expm1(-step), (1 - step) ** 2 * 0.5
    law = 1 / ((1 - share) / (there + 2 * step) + share)
    alone = 1 / (1 / (there + 2 * step / (1 - share)) + share)
    found = ds.isel(dt=0, n=0)
    names = [f"variance x{k + 1}" for k in range(d)]
    assert alone < law - 0.02
    for part, value in (("finite number", alone - law), ("Monte Carlo", 0.0)):
        mean = float(found["part"].sel(parts=part, statistic=names).mean())
        error = float((found["part_half_width"].sel(parts=part, statistic=names) ** 2).sum()) ** 0.5 / d
        assert mean == pytest.approx(value, abs=2 * error)
        assert error < 0.004


def test_without_reaction_nothing_is_estimated():
    tree = wfr.ground_truth(TARGET, START, [0, END], rtol=1e-3, reaction_rate=0)
    ds = wfr.error_budget(samplers.Langevin(), tree, TARGET, dt=DT, n=50, seeds=3, t=END)  # the start is in the tree
    assert float(abs(ds["part"].sel(parts=["bandwidth", "finite number"])).max()) < 1e-12
    mean = parts(ds, "mean y12")
    rate = 1 / REST.covariance[9, 9]
    assert float(mean.sel(parts="splitting")) == pytest.approx(0, abs=1e-9)
    step = 0.3 * ((1 - DT * rate) ** round(END / DT) - math.exp(-rate * END))
    assert float(mean.sel(parts="time step")) == pytest.approx(step, abs=1e-9)


def test_weights_by_the_truth_have_a_budget():
    path = wfr.Trajectory(truth(), TARGET)
    flow = wfr.Strang(samplers.FeynmanKac(density=samplers.Oracle(path)), samplers.Langevin())
    ds = wfr.error_budget(flow, path, TARGET, start=START, dt=DT, n=50, seeds=3)
    mean = parts(ds, "mean y20")
    assert abs(float(mean.sel(parts="bandwidth"))) < 2e-3  # the true g in place of the law's own, of order dt
    assert abs(float(mean.sel(parts="splitting"))) < 1e-3


def test_what_has_no_budget_is_refused():
    common = dict(target=TARGET, start=START, dt=DT, n=20)
    with pytest.raises(ValueError, match=r"sampler=MALA\(rate=1.0\) in 20 dimensions: it does not split into the 3"):
        wfr.error_budget(samplers.MALA(), truth(), **common)
    with pytest.raises(ValueError, match="statistics of your own are not known under a product"):
        wfr.error_budget(samplers.Langevin(), truth(), **common, statistics={"f": lambda x: x[..., 0]})
    with pytest.raises(ValueError, match="the modes differ in 2 of the 3 independent blocks"):
        wfr.error_budget(samplers.Langevin(), truth(), **common, modes=AXES[:, :2].T)
    shell = wfr.Radial("x**2/2", 8)
    tree = wfr.ground_truth(shell, wfr.Radial("x**2", 8), [0, 0.1], rtol=1e-3)
    with pytest.raises(ValueError, match="no law on the line of the distance"):
        wfr.error_budget(samplers.Langevin(), tree, shell, start=wfr.Radial("x**2", 8), dt=DT, n=20)
