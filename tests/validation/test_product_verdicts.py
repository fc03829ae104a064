"""Verdicts in 20 dimensions: laws block by block, planted faults, and margins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import samplers
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.validation.own_kernel import own_kernel_margin
from wfr_pde.validation.verdict import CONSISTENT, INCONSISTENT, NO_POWER
from wfr_pde.validation.verdicts import validate

D = 20
AXES = np.linalg.qr(np.random.default_rng(3).standard_normal((D, D)))[0]
WELLS, BEGIN = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2]), wfr.Gaussian(0.2, 0.5)
REST, FIRST = wfr.Gaussian(np.zeros(15), np.linspace(0.5, 1.5, 15)), wfr.Gaussian(np.full(15, 0.3), 0.5)
TARGET = wfr.Product([WELLS] * 5 + [REST], AXES)
START = wfr.Product([BEGIN] * 5 + [FIRST], AXES)
ULA = samplers.Langevin()
COMMON = dict(target=TARGET, start=START, dt=0.05, n=300)


@cache
def truth():
    return wfr.Trajectory(wfr.ground_truth(TARGET, START, [0, 0.3], rtol=1e-3), TARGET)


def validated(sampler, **changes):
    return validate(sampler, truth(), **{**COMMON, **changes})


@dataclass(frozen=True, eq=False)
class Faulty(samplers.Sampler):
    """Langevin that is wrong in the coordinates y: the noise has another covariance, or the axes are forgotten."""

    noise: object
    axes: object = None
    rate: float = 1.0

    interacting = False

    def build_step(self, energy, template, dt):
        mix = np.linalg.cholesky(self.noise).T @ AXES.T
        pi = energy.equilibrium if self.axes is None else wfr.Product(TARGET.factors, self.axes)

        def step(state, rng):
            x = state.positions
            noise = rng.standard_normal(x.shape) @ mix
            return self.moved(state, x + dt * pi.score(x) + math.sqrt(2 * dt) * noise)

        return step


def test_a_correct_sampler_is_consistent():
    ds = validated(ULA)
    assert ds.attrs["verdict"] == CONSISTENT
    assert ds.attrs["reference"] == "the law of Langevin(rate=1.0), block by block"
    at, names = ds.isel(t=0), ds["statistic"].values
    mean, variance = 0.3, 0.5  # of the sixth coordinate, of variance ½ under pi, after six steps in closed form
    for _ in range(6):
        mean, variance = mean * 0.9, 0.9**2 * variance + 0.1
    assert float(at["reference"].sel(statistic="mean y6")) == pytest.approx(mean, rel=1e-12)
    assert float(at["reference"].sel(statistic="variance y6")) == pytest.approx(variance, rel=1e-12)
    assert float(at["standard_deviation"].sel(statistic="variance y6")) == pytest.approx(variance * math.sqrt(2))
    line = validate(ULA, wfr.Grid(-5.0, 5.0, 200).density(WELLS), WELLS, start=BEGIN, t=[0.3], dt=0.05, n=30)
    for own, alone in (("mean y2", "mean x"), ("variance y2", "variance x")):
        assert float(at["reference"].sel(statistic=own)) == pytest.approx(
            float(line["reference"].sel(statistic=alone).item()), abs=1e-5
        )
    assert {"mode 1 of y1", "mode 2 of y5", "y3 < 50 %", "covariance y1 y20", "potential"} <= set(names)
    assert sum(name.startswith("covariance") for name in names) == D * (D - 1) // 2


@pytest.mark.parametrize(
    ("fault", "worst", "others"),
    [
        ("one coordinate", "y4", {"potential", "variance of the potential"}),
        ("a coupling", "covariance y2 y9", {"variance of the potential"}),
        ("the axes", "", None),
    ],
)
def test_planted_faults_are_caught_and_named(fault, worst, others):
    noise = np.eye(D)
    if fault == "one coordinate":
        noise[3, 3] = 0.5
    if fault == "a coupling":
        noise[1, 8] = noise[8, 1] = 0.5
    sampler = Faulty(noise, np.eye(D) if fault == "the axes" else None)
    ds = validated(sampler, scheme=ULA)
    assert ds.attrs["verdict"] == INCONSISTENT
    names, scores = ds["statistic"].values, ds["score"].values[0]
    assert worst in names[int(np.argmax(scores))]
    found = names[scores > 1]
    assert others is None or all(worst in name or name in others for name in found)


def test_weights_by_the_truth_have_a_law_block_by_block():
    weighted = wfr.Strang(samplers.FeynmanKac(density=samplers.Oracle(truth())), ULA)
    ds = validated(weighted, n=400)
    assert ds.attrs["verdict"] != INCONSISTENT
    assert "block by block" in ds.attrs["reference"]
    exact = truth().mean(0.3)
    law = ds.isel(t=0)["reference"]
    means = np.array([float(law.sel(statistic=f"mean y{k + 1}")) for k in range(D)])
    assert np.abs(means - exact @ AXES).max() < 0.02  # of order dt² and dt


def test_estimates_of_a_density_in_twenty_dimensions_are_not_accused_but_have_no_power():
    ds = validated(samplers.SMCWFR(), n=60)
    assert ds.attrs["verdict"] == NO_POWER
    assert np.isinf(ds["own_kernel"]).all()
    assert "each particle's own kernel" in ds.attrs["report"]


def test_estimates_of_a_density_beside_a_radial_truth_are_not_accused_either():
    target, start = wfr.Radial("x**2/2", 20), wfr.Gaussian(np.zeros(20), 0.5)
    tree = wfr.ground_truth(target, start, [0, 0.2], rtol=1e-3)
    ds = validate(samplers.SMCWFR(), tree, target, start=start, dt=0.1, n=40)
    assert ds.attrs["reference"] == "the truth"
    assert ds.attrs["verdict"] == NO_POWER
    assert np.isinf(ds["own_kernel"]).all()


def test_the_own_kernel_falls_with_the_number_and_grows_with_the_dimension():
    def margin(d, n):
        law = ProductLaw([wfr.Gaussian(np.zeros(d), 1.0)])
        flow = samplers.FeynmanKac(density=samplers.KernelDensity(0.5))
        return own_kernel_margin(flow, [law, law], np.array([0.0, 0.2]), 0.1, n)[0]

    assert (
        own_kernel_margin(
            samplers.BirthDeath(), [ProductLaw([wfr.Gaussian(np.zeros(20), 1.0)])] * 2, np.array([0.0, 0.2]), 0.1, 1000
        )[0]
        > 0.2
    )
    assert margin(1, 4000) < 0.6 * margin(1, 1000)
    assert margin(1, 1000) < 0.01 < margin(3, 1000)
    assert math.isinf(margin(20, 1000))
    # at one particle per kernel and more, log(1 + s) is what it is: 1D, s = K(0)/(n q), by the integral over N(0, 1)
    x = np.linspace(-9.0, 9.0, 20001)
    q = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    value = np.log1p(1 / math.sqrt(2 * math.pi * 0.25) / (100 * q))
    mean = np.trapezoid(q * value, x)
    spread = math.sqrt(np.trapezoid(q * (value - mean) ** 2, x))
    assert margin(1, 100) == pytest.approx(2 * -math.expm1(-0.1) * spread, rel=0.1)


def test_a_tree_is_a_truth_and_its_first_law_the_start():
    ds = validate(ULA, truth().tree, TARGET, dt=0.1, n=30)
    given = validated(ULA, dt=0.1, n=30)
    assert ds.sizes["statistic"] == given.sizes["statistic"]
    gap = (ds["reference"] - given["reference"]) / ds["standard_deviation"]
    # the same law of steps; edges of regions and the interpolated start differ a little
    assert float(np.abs(gap).max()) < 1e-3


def test_samplers_that_keep_pi_are_held_against_it():
    ds = validate(samplers.MALA(), TARGET, dt=0.05, n=300, t=[0.5])
    assert ds.attrs["verdict"] == CONSISTENT
    assert ds.attrs["reference"] == "the truth"
    wrong = validate(Faulty(0.5 * np.eye(D)), TARGET, dt=0.05, n=300, t=[0.5], scheme=samplers.MALA())
    assert wrong.attrs["verdict"] == INCONSISTENT


def test_a_radial_block_is_held_against_the_truth():
    shell = wfr.Radial(lambda r: r**2 / 2 - 5 * np.log(r), ndim=6)
    target = wfr.Product([shell, wfr.Gaussian(0.0, 1.0)])
    ds = validate(samplers.MALA(), target, dt=0.02, n=300, t=[0.1])
    assert ds.attrs["verdict"] == CONSISTENT
    assert "|x1 ...| < 50 %" in ds["statistic"].values
    at = ds.isel(t=0)["reference"]
    assert float(at.sel(statistic="variance x3")) == pytest.approx((5 + 6) / 6, rel=1e-4)  # E r² = q + d


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="statistics of your own are not known under a product"):
        validated(ULA, statistics={"f": lambda x: x[..., 0]})
    with pytest.raises(ValueError, match="start does not split"):
        validated(ULA, start=wfr.Gaussian(np.zeros(D), 0.1 * np.ones((D, D)) + np.eye(D)))
    corners = AXES[:, :2].T
    with pytest.raises(ValueError, match="the modes differ in 2 of the 6 independent blocks"):
        validated(ULA, modes=corners)
    ds = validated(ULA, modes=np.stack([-AXES[:, 0], AXES[:, 0]]), n=30)
    assert sum(name.startswith("mode") for name in ds["statistic"].values) == 10  # equal blocks share their modes
