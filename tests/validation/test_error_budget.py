"""Budgets: closed forms of their parts, and that they add up."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact, plotting, samplers
from wfr_pde.validation.error_budget import PARTS, error_budget

TARGET, START, END, DT = wfr.Gaussian(1, 1), wfr.Gaussian(0, 0.5), 0.8, 0.2


@pytest.fixture(scope="module")
def truth():
    return wfr.ground_truth(TARGET, START, [0, END], rtol=1e-6, cross_check=False)


@pytest.fixture(scope="module")
def budget(truth):
    flow = wfr.Lie(samplers.Langevin(), samplers.BirthDeath(bandwidth=0.4))
    return error_budget(flow, truth, dt=[DT, DT / 2], n=[50, 400], seeds=12, rng=3)


def test_splitting_and_step_are_those_of_closed_forms(truth):
    """W-FR of Gaussians, and one with ULA in place of W, step by step."""
    ds = error_budget(samplers.SMCWFR(), truth, dt=DT, n=30, seeds=2).isel(dt=0, n=0)
    moments = exact.gaussian_flow(TARGET, START, END, 1, 1)
    split = exact.gaussian_split(TARGET, START, DT, round(END / DT), "W-FR")
    mean, variance, s = 0.0, 0.5, np.exp(-DT)
    for _ in range(round(END / DT)):
        mean, variance = mean + DT * (1 - mean), (1 - DT) ** 2 * variance + 2 * DT
        precision = s / variance + (1 - s)
        mean, variance = (s * mean / variance + (1 - s)) / precision, 1 / precision
    part = ds["part"].sel(parts=["splitting", "time step"])
    expected = [split.mean[0] - moments.mean[0], mean - split.mean[0]]
    assert part.sel(statistic="mean x").values == pytest.approx(expected, abs=1e-5)

    # second moments are about the true mean
    def about(m, v):
        return v + (m - moments.mean[0]) ** 2

    true, first, last = (
        about(*pair) for pair in (
            (moments.mean[0], moments.covariance[0, 0]), (split.mean[0], split.covariance[0, 0]), (mean, variance)
        )
    )  # fmt: skip
    assert part.sel(statistic="variance x").values == pytest.approx([first - true, last - first], abs=1e-5)
    assert ds["part"].sel(parts="bandwidth").values == pytest.approx(0, abs=1e-12)  # its mixture has none


def test_parts_add_up_to_the_measured_error(budget):
    joint = np.hypot(budget["sum_half_width"], budget["measured_half_width"])
    # 12 seeds, 95 %: half widths of 2.2 standard errors; 12 comparisons, at 2 half widths 4e-4 each
    assert float((abs(budget["sum"] - budget["measured"]) / joint).max()) < 2
    assert np.allclose(budget["sum"], budget["part"].sum("parts"))
    oracle = budget["part"].sel(parts="Monte Carlo") / budget["part_half_width"].sel(parts="Monte Carlo")
    assert float(abs(oracle).max()) < 2  # runs with the exact g err by noise alone
    assert budget["parts"].values.tolist() == list(PARTS)


def test_parts_scale_as_they_should(budget):
    grid = budget["part"].isel(n=0)
    step = grid.sel(parts="time step", statistic="variance x")
    assert float(step[0] / step[1]) == pytest.approx(2, abs=0.5)  # order 1, dt V'' = 0.2
    assert float(abs(grid.sel(parts="bandwidth", statistic="variance x")).min()) > 0.01  # a wide kernel
    noise = budget["noise"].isel(dt=0).sel(statistic="mean x")
    assert float(noise[0] / noise[1]) == pytest.approx(8**0.5, rel=0.7)  # standard deviations of 12 runs: 21 % each


def test_a_sampler_without_reaction_has_no_estimate():
    w = wfr.ground_truth(TARGET, START, [0, END], rtol=1e-5, reaction_rate=0, cross_check=False)
    ds = error_budget(samplers.Langevin(), w, dt=DT, n=100, seeds=4)
    assert float(abs(ds["part"].sel(parts=["bandwidth", "finite number"])).max()) < 1e-12
    assert float(abs(ds["part"].sel(parts="splitting", statistic="mean x")).max()) < 1e-4  # nothing is split
    mean = ds["part"].sel(parts="time step", statistic="mean x").item()
    assert mean == pytest.approx(np.exp(-END) - (1 - DT) ** 4, abs=1e-4)


def test_statistics_of_the_user_and_the_figure(truth):
    ds = error_budget(
        samplers.SMCWFR(), truth, dt=DT, n=[20, 40], seeds=2, statistics={"tail": lambda x: x[..., 0] > 1.0}
    )
    assert ds["statistic"].values.tolist() == ["tail"]
    figure = plotting.budget(ds, "tail")
    bars = [patch.get_height() for patch in figure.axes[0].patches if hasattr(patch, "get_height")]
    assert float(ds["measured"].isel(dt=0, n=0, statistic=0)) in [pytest.approx(bar) for bar in bars]
    with pytest.raises(ValueError, match="statistic must be one of 'tail', got 'mean x'"):
        plotting.budget(ds, "mean x")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sampler": samplers.SVGD()}, TypeError, "law on the grid, which sampler=SVGD"),
        ({"dt": [0.1, -0.1]}, ValueError, "dt must be one or several positive numbers"),
        ({"n": 10.5}, ValueError, "n must be one or several positive numbers"),
        ({"seeds": 1}, ValueError, "seeds must be a whole number of at least 2"),
        ({"confidence": 95}, ValueError, "confidence must lie between 0 and 1"),
    ],
)
def test_wrong_input(truth, change, error, message):
    arguments = {"sampler": samplers.SMCWFR(), "truth": truth, "dt": DT, "n": 10} | change
    with pytest.raises(error, match=message):
        error_budget(arguments.pop("sampler"), arguments.pop("truth"), **arguments)


def test_a_part_that_stands_for_nothing_is_refused(truth):
    class Odd(samplers.Sampler):
        rate = 1.0

        def law_on_grid(self):
            return wfr.FisherRao(0.0)

        def build_step(self, energy, template, dt):
            return lambda state, rng: state

    with pytest.raises(TypeError, match="Odd stands for no part of the equation"):
        error_budget(Odd(), truth, dt=DT, n=10, seeds=2)
