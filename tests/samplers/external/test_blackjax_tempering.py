"""Tempered sequential Monte Carlo of BlackJAX follows the Fisher-Rao flow."""

import math

import numpy as np
import pytest
from scipy import stats

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.samplers.external.blackjax_tempering import tempered_smc
from wfr_pde.samplers.external.run_sampler import run_sampler

TARGET, START = wfr.Gaussian([0.5, -0.3], [[1, 0.5], [0.5, 1]]), wfr.Gaussian([-1, 0.5], 0.36)
NORMAL = wfr.Gaussian(0, 1)


def moments(ds, k):
    """Mean, variances and covariance (5,) of two-dimensional particles, as one vector, with their number's worth."""
    state = wfr.Particles(ds["position"].values[k], ds["log_weight"].values[k])
    return vector(state.mean(), state.covariance())


def vector(mean, covariance):
    return np.array([*mean, covariance[0, 0], covariance[1, 1], covariance[0, 1]])


TIMES = np.array([0, 0.25, 0.5, 1, 3])


@pytest.mark.parametrize(
    "options",
    [{}, {"dt": 0.25}, {"target_ess": 0.9}, {"rate": 2.0}],
    ids=["plain", "dt", "adaptive", "rate"],
)
def test_tempering_follows_the_fisher_rao_flow(options):
    rate = options.get("rate", 1.0)
    times, n, seeds = TIMES / rate, 2000, range(12)
    answers = [exact.gaussian_flow(TARGET, START, t, 0, rate) for t in times[1:]]
    truth = np.array([vector(answer.mean, answer.covariance) for answer in answers])
    runs = [
        run_sampler(tempered_smc, TARGET, START, times, n, rng=s, prior=START, step_size=0.4, **options) for s in seeds
    ]
    found = np.array([[moments(ds, k) for k in range(1, 5)] for ds in runs])
    error = found.mean(axis=0) - truth
    noise = found.std(axis=0, ddof=1) / math.sqrt(len(seeds))
    # Student's t with 11 degrees of freedom: 6.5 is 4.4 in a hundred thousand, for 20 numbers one in a thousand;
    # ratios of weighted sums are biased by about (variance of the weights)/n: 2/n at most
    assert np.all(np.abs(error) < stats.t.isf(2.2e-5, 11) * noise + 2 / n)
    assert np.all(noise < 0.05)  # the test sees something: the moments themselves move by about 0.5
    share = [[1 / n / np.sum(np.exp(2 * ds["log_weight"].values[k])) for k in range(5)] for ds in runs]
    assert np.all(np.min(share, axis=0)[0] > 1 - 1e-12)
    if "target_ess" in options:
        assert np.min(share) > 0.85  # 0.9 before the particles move, which changes it by their number's noise
    elif not options:
        assert np.max(np.array(share)[:, -1]) < 0.6  # one long step leaves few


def test_tempering_seeds_and_rest():
    one, again, other = (
        run_sampler(tempered_smc, TARGET, START, TIMES[:3], 2000, rng=seed, prior=START, step_size=0.4)
        for seed in (1, 1, 2)
    )
    for name in ("position", "log_weight"):
        np.testing.assert_array_equal(one[name], again[name])
        assert (one[name][1:] != other[name][1:]).any()
    still = run_sampler(tempered_smc, TARGET, START, TIMES[:3], 2000, rng=1, prior=START, rate=0)
    np.testing.assert_array_equal(still["position"], np.broadcast_to(START.sample(2000, rng=1), (3, 2000, 2)))
    assert one.attrs["method"] == "wfr_pde.samplers.external.blackjax_tempering.tempered_smc"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prior": 3}, TypeError, "prior must be the Target that the start was drawn from, got 3"),
        ({"prior": wfr.GeometricPath(START, TARGET)}, ValueError, r"starts from one .* moves: give prior.at"),
        ({"prior": NORMAL}, ValueError, "the prior has dimension 1, but the target 2"),
        ({"rate": -1}, ValueError, "rate must be finite and >= 0, got -1"),
        ({"step_size": 0}, ValueError, "step_size must be > 0, got 0"),
        ({"dt": 0}, ValueError, "dt must be > 0, got 0"),
        ({"moves": 1.5}, ValueError, "moves must be a whole number >= 1 .* got 1.5"),
        ({"target_ess": 1.0}, ValueError, "target_ess must be a share .* got 1.0"),
        ({"build": lambda f, time: 3}, TypeError, "returned int, not a blackjax.SamplingAlgorithm"),
    ],
)
def test_what_tempering_refuses(options, error, message):
    with pytest.raises(error, match=message):
        run_sampler(tempered_smc, TARGET, START, TIMES, 5, **({"prior": START} | options))


def test_tempering_needs_a_target_at_rest():
    with pytest.raises(ValueError, match=r"leads to one distribution, but .* moves: give target.at"):
        run_sampler(tempered_smc, wfr.GeometricPath(START, TARGET), START, TIMES, 5, prior=START)
