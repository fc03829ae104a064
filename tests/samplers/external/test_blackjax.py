"""Samplers of BlackJAX as a flow: they have the law of theirs and of ours."""

import math
import sys
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.samplers.external.blackjax import Blackjax
from wfr_pde.samplers.external.blackjax_tempering import tempered_smc
from wfr_pde.samplers.external.run_sampler import run_sampler

blackjax = pytest.importorskip("blackjax")
jax = pytest.importorskip("jax")

TARGET, START = wfr.Gaussian([0.5, -0.3], [[1, 0.5], [0.5, 1]]), wfr.Gaussian([-1, 0.5], 0.36)
NORMAL = wfr.Gaussian(0, 1)
TWO = wfr.GaussianMixture([-1.0, 1.0], [0.3, 0.7], [0.3, 0.2])


def mala(log_density, time):
    return blackjax.mala(log_density, time)


class Place(NamedTuple):
    position: object


def uphill(log_density, time):
    """Gradient ascent: what JAX is told of the target."""

    def step(key, state):
        return Place(state.position + time * jax.grad(log_density)(state.position)), None

    return blackjax.base.SamplingAlgorithm(lambda x, key=None: Place(x), step)


def moments(ds, k):
    """Mean, variances and covariance (5,) of two-dimensional particles, as one vector, with their number's worth."""
    state = wfr.Particles(ds["position"].values[k], ds["log_weight"].values[k])
    return vector(state.mean(), state.covariance())


def vector(mean, covariance):
    return np.array([*mean, covariance[0, 0], covariance[1, 1], covariance[0, 1]])


@pytest.mark.parametrize("h", [0.1, 1.2])
def test_mala_accepts_as_often_as_it_must(h):
    # For N(0, 1), the log of the acceptance ratio is h (x² - y²)/4, so that in equilibrium a proposal is accepted with
    # probability 2 P(|y| < |x|) = 1 - (2/pi) arcsin(corr) with corr = h²/sqrt((h² + 2h) (h² - 2h + 4)).
    expected = 1 - 2 / math.pi * math.asin(h**2 / math.sqrt((h**2 + 2 * h) * (h**2 - 2 * h + 4)))
    n = 40_000
    x = NORMAL.sample(n, rng=1)
    ds = wfr.solve(NORMAL, Blackjax(mala), x, [0, h], h, rng=1)
    accepted = np.mean(ds["position"].values[1] != x)
    # 4.5 standard errors: 7 in a million
    assert abs(accepted - expected) < 4.5 * math.sqrt(expected * (1 - expected) / n)
    # and pi stays as it is: Kolmogorov and Smirnov's test, one in ten thousand
    assert stats.kstest(ds["position"].values[1, :, 0], "norm").pvalue > 1e-4


@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_mala_follows_the_wasserstein_flow(rate):
    n, h, times = 20_000, 0.01, np.array([0, 0.25, 0.5, 1]) / rate
    flow = Blackjax(mala, rate, law="w")
    ds = wfr.solve(TARGET, flow, START.sample(n, rng=2), times, h / rate, rng=2)
    for k in (1, 2, 3):
        truth = exact.gaussian_flow(TARGET, START, times[k], rate, 0)
        v = np.diag(truth.covariance)
        c = truth.covariance[0, 1]
        noise = np.sqrt([v[0] / n, v[1] / n, 2 * v[0] ** 2 / n, 2 * v[1] ** 2 / n, (v[0] * v[1] + c**2) / n])
        # 4.5 standard errors, 7 in a million each; Euler's bias: (1 - a h)^(t/h) e^(at) - 1 is 2 h t at most for a <= 2
        bias = 2 * h * rate * times[k] * np.array([1.2, 1.2, 1, 1, 1])
        assert np.all(np.abs(moments(ds, k) - vector(truth.mean, truth.covariance)) < 4.5 * noise + bias)


@pytest.mark.parametrize("build", [
    mala,
    lambda f, time: blackjax.hmc(f, time, np.ones(1), 3),
    lambda f, time: blackjax.additive_step_random_walk(f, blackjax.mcmc.random_walk.normal(np.full(1, 4 * time))),
], ids=["MALA", "HMC", "random walk"])  # fmt: skip
def test_kernels_reach_the_target(build):
    n = 4000
    ds = wfr.solve(TWO, Blackjax(build), wfr.Gaussian(-1, 0.1).sample(n, rng=3), [0, 60], 0.3, rng=3, keep="last")
    x = ds["position"].values[0, :, 0]
    # one in ten thousand; 200 steps are many: all kernels cross the low barrier in some ten
    assert stats.kstest(x, lambda x: cumulative(TWO, x)).pvalue > 1e-4
    # unadjusted Langevin with that step is seen to be wrong
    own = wfr.solve(TWO, wfr.samplers.Langevin(), x[:, None], [0, 60], 0.3, rng=3, keep="last")
    assert stats.kstest(own["position"].values[0, :, 0], lambda x: cumulative(TWO, x)).pvalue < 1e-4


def cumulative(mixture, x):
    deviations = np.sqrt(np.asarray(mixture.covariances).ravel())
    return stats.norm.cdf((np.asarray(x)[:, None] - np.ravel(mixture.means)) / deviations) @ mixture.weights


def test_same_seed_same_bits():
    flow = Blackjax(mala)
    x = START.sample(50, rng=0)
    first, again, other = (wfr.solve(TARGET, flow, x, [0, 0.3], 0.1, rng=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["position"], again["position"])
    assert (first["position"][1] != other["position"][1]).mean() > 0.9
    compiled_anew = wfr.solve(TARGET, Blackjax(mala), x, [0, 0.3], 0.1, rng=3)
    np.testing.assert_array_equal(first["position"], compiled_anew["position"])


def test_steps_are_pure_and_keep_weights():
    state = wfr.Particles(START.sample(9, rng=0), np.linspace(0, 3, 9), None, np.ones((9, 1)))
    step = Blackjax(mala).make_step(wfr.KL(TARGET), state, 0.1)
    before = state.positions.copy()
    first, again = (step(state, 0.0, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(state.positions, before)
    assert (first.positions != before).any()
    np.testing.assert_array_equal(first.log_weights, state.log_weights)
    np.testing.assert_array_equal(first.auxiliary, state.auxiliary)
    assert first.positions.base is None  # an array of its own, not one of JAX
    assert Blackjax(mala, rate=0).make_step(wfr.KL(TARGET), state, 0.1)(state, 0.0) is state


@pytest.mark.parametrize("n", [3, 200_000])
def test_densities_come_in_float64(n):
    # for many particles JAX may call from another thread, where its context for float64 does not hold
    x = START.sample(n, rng=0)
    ds = wfr.solve(TARGET, Blackjax(uphill), x, [0, 0.1], 0.1, rng=0)
    np.testing.assert_allclose(ds["position"][1], x + 0.1 * TARGET.score(x), rtol=0, atol=4e-15)
    assert jax.numpy.zeros(1).dtype == np.float32  # and the global setting is as it was


def test_a_log_density_in_jax():
    x = START.sample(60, rng=0)
    precision = np.linalg.inv(TARGET.covariance)

    def log_density(x):
        return -(x - TARGET.mean) @ precision @ (x - TARGET.mean) / 2

    own, native = (
        wfr.solve(TARGET, Blackjax(mala, log_density=f), x, [0, 0.3], 0.1, rng=1) for f in (None, log_density)
    )
    # the same numbers but for rounding, which decides over no acceptance here
    np.testing.assert_allclose(native["position"], own["position"], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"log_density is not that of Gaussian.*its gradient is .*, but the target's"):
        wfr.solve(TARGET, Blackjax(mala, log_density=lambda x: 1.01 * log_density(x)), x, [0, 1], 0.1, rng=0)
    with pytest.raises(ValueError, match="is not that of"):  # one particle knows no constant, but a gradient
        wfr.solve(TARGET, Blackjax(mala, log_density=lambda x: -x @ x), x[:1], [0, 1], 0.1, rng=0)
    path = wfr.GeometricPath(START, TARGET)
    with pytest.raises(ValueError, match="GeometricPath.* moves, but log_density is a function of the point alone"):
        wfr.solve(path, Blackjax(mala, log_density=log_density), x, [0, 1], 0.1, rng=0)


def test_a_moving_target_is_that_of_the_middle_of_the_step():
    path = wfr.GeometricPath(START, TARGET)
    x = START.sample(10, rng=0)
    ds = wfr.solve(path, Blackjax(uphill), x, [0, 0.2], 0.1, rng=0)
    for t in (0.05, 0.15):
        x = x + 0.1 * path.at(t).score(x)
    np.testing.assert_allclose(ds["position"][1], x, rtol=0, atol=1e-14)


def test_names():
    assert repr(Blackjax(mala, 0.5)) == f"Blackjax({__name__}.mala, rate=0.5, law='pi')"
    assert repr(Blackjax(lambda f, time: None, name="none")) == "Blackjax(none, rate=1.0, law='pi')"
    assert "lambda" in repr(Blackjax(lambda f, time: None))
    one, other = Blackjax(lambda f, time: 1), Blackjax(lambda f, time: 2)
    assert repr(one) != repr(other)  # so that no run is taken for that of another kernel


def test_a_run_goes_on_from_disk(tmp_path):
    x = START.sample(10, rng=0)
    first = wfr.solve(TARGET, Blackjax(mala), x, [0, 0.2], 0.1, rng=1, out=tmp_path / "run")
    again = wfr.solve(TARGET, Blackjax(mala), x, [0, 0.2], 0.1, rng=1, out=tmp_path / "run")
    assert first.identical(again)
    with pytest.raises(ValueError, match="holds another run"):
        wfr.solve(TARGET, Blackjax(mala, 0.5), x, [0, 0.2], 0.1, rng=1, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"build": None}, TypeError, "build must be a function .* got None"),
        ({"build": mala, "log_density": 3}, TypeError, "log_density must be a function of a point"),
        ({"build": mala, "law": "gibbs"}, ValueError, "law must be one of w, fr"),
        ({"build": mala, "rate": -1}, ValueError, "Blackjax needs a finite rate >= 0, got rate=-1"),
        ({"build": lambda f, time: 3}, TypeError, r"<lambda> at .* returned int, not a blackjax.SamplingAlgorithm"),
        (
            {"build": lambda f, time: blackjax.base.SamplingAlgorithm(lambda x, key: x, lambda key, x: (x, None))},
            TypeError,
            "has no position",
        ),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        wfr.solve(TARGET, Blackjax(**arguments), START.sample(5, rng=0), [0, 1], 0.5, rng=0)


@pytest.mark.parametrize("missing", ["blackjax", "jax"])
def test_without_blackjax(monkeypatch, missing):
    for name in [name for name in sys.modules if name.partition(".")[0] == "blackjax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(wfr.BackendError, match=r"blackjax cannot be imported .*pip install 'wfr-pde\[samplers\]'"):
        wfr.solve(TARGET, Blackjax(mala), START.sample(5, rng=0), [0, 1], 0.5, rng=0)
    with pytest.raises(wfr.BackendError):
        run_sampler(tempered_smc, TARGET, START, [0, 1], 5, prior=START)


def uncorrected(log_density, time):
    """MALA that accepts as if its proposals were symmetric."""
    from blackjax.mcmc import diffusions, proposal
    from blackjax.mcmc.mala import MALAState, init

    ratio = proposal.compute_asymmetric_acceptance_ratio(lambda state, new: -new.logdensity)
    move = diffusions.overdamped_langevin(jax.value_and_grad(log_density))

    def kernel(key, state):
        key_move, key_accept = jax.random.split(key)
        new = MALAState(*move(key_move, state, time))
        return proposal.static_binomial_sampling(key_accept, ratio(state, new), state, new)

    return blackjax.base.SamplingAlgorithm(lambda x, rng_key=None: init(x, log_density), kernel)


@pytest.mark.parametrize(("build", "verdict"), [(mala, "consistent"), (uncorrected, "inconsistent")])
def test_its_mala_is_validated_against_the_law_of_mala_and_a_broken_copy_is_caught(build, verdict):
    start = wfr.Gaussian(-0.6, 0.25)
    truth = wfr.ground_truth(TWO, start, [0, 0.5, 1.0], rtol=1e-4, reaction_rate=0, cross_check=False)
    ds = wfr.validate(Blackjax(build, law="w"), truth, TWO, dt=0.1, n=500, scheme=wfr.samplers.MALA())
    assert ds.attrs["verdict"] == verdict
    assert ds.attrs["reference"] == "the law of MALA(rate=1.0)"
