"""Reverse SDE and probability flow with any score: moments of Gaussians, tables of wrong scores, what is refused."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import wfr_pde as wfr

MEAN, VARIANCE, FACTOR, BIAS, T = 0.7, 0.3, 1.2, 0.15, 2.0
GAUSSIAN = wfr.Noised(wfr.Gaussian(MEAN, VARIANCE), wfr.OU(T))
GRID = wfr.Grid(-7, 7, 128)
TWO_MODES = wfr.Noised(wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], 0.09), wfr.OU(3.0))


def wrong(points, t):
    """The score of the Gaussian data, scaled and shifted."""
    return FACTOR * GAUSSIAN.at(t).score(points) + BIAS


def solved(flow, start, n, problem=None):
    return wfr.Density.from_dataset(wfr.solve(problem, flow, start, [0, 1], 1 / n))


def moments_of_the_wrong_score(churn, rate=0.0):
    """Mean and variance at the data by their equations in noise time, from p_T."""

    def rates(s, state):
        tau = T - s
        variance = 1 - (1 - VARIANCE) * math.exp(-2 * tau)
        mean = MEAN * math.exp(-tau)
        k = 1 - (1 + churn) * FACTOR / variance
        shift = (1 + churn) * (FACTOR * mean / variance + BIAS)
        m, v = state
        return [
            k * m + shift + rate * v * (mean - m) / variance,
            2 * k * v + 2 * churn + rate * (v - v * v / variance),
        ]

    begin = [MEAN * math.exp(-T), 1 - (1 - VARIANCE) * math.exp(-2 * T)]
    return solve_ivp(rates, (0, T), begin, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]


@pytest.mark.parametrize(
    ("churn", "known", "n", "tolerance"),
    [
        (1.0, (0.785004079460, 0.214345530588), 8, 1e-10),
        (0.0, (0.841313385850, 0.106225976931), 15, 1e-11),
        (4.0, (0.751110412035, 0.24), 12, 1e-7),
    ],
)
def test_moments_of_a_wrong_score(churn, known, n, tolerance):
    """In closed form for Gaussians; by order 8, and exactly for the probability flow."""
    np.testing.assert_allclose(moments_of_the_wrong_score(churn), known, rtol=0, atol=1e-10)
    back = GAUSSIAN.reversed()
    flow = wfr.ReverseSDE(back, wrong, churn)
    found = solved(flow if churn == 0 else wfr.Extrapolated(flow, 8), GRID.density(back.at(0.0)), n)
    expected = GRID.density(wfr.Gaussian(known[0], known[1]))
    assert float(GRID.integrate(np.abs(found.values - expected.values))) < tolerance
    if churn == 0:
        same = solved(wfr.ProbabilityFlow(back, wrong), GRID.density(back.at(0.0)), n)
        assert np.array_equal(same.log_values, found.log_values)


def test_moments_beside_a_reaction():
    """FisherRao towards p_t, of the rate 5 per noise time."""
    known, back = (0.733307478856, 0.246120552198), GAUSSIAN.reversed()
    np.testing.assert_allclose(moments_of_the_wrong_score(1.0, 5.0), known, rtol=0, atol=1e-10)
    reaction = wfr.FisherRao(lambda s: 5.0 * back.noise_rate(s))
    flow = wfr.Extrapolated(wfr.Strang(reaction, wfr.ReverseSDE(back, wrong)), 8)
    found = solved(flow, GRID.density(back.at(0.0)), 8, back)
    expected = GRID.density(wfr.Gaussian(*known))
    assert float(GRID.integrate(np.abs(found.values - expected.values))) < 5e-9


def test_orders():
    """2, 4 and 8, with steps of a few."""
    back, expected = GAUSSIAN.reversed(), GRID.density(wfr.Gaussian(0.785004079460, 0.214345530588))
    start, flow = GRID.density(back.at(0.0)), wfr.ReverseSDE(back, wrong)
    for order, ns in ((2, (8, 16)), (4, (8, 16)), (8, (4, 8))):
        errors = []
        for n in ns:
            found = solved(flow if order == 2 else wfr.Extrapolated(flow, order), start, n)
            errors.append(float(GRID.integrate(np.abs(found.values - expected.values))))
        assert math.log2(errors[0] / errors[1]) > order - 1.4  # of order 8: 6.7


@pytest.mark.parametrize("churn", [0.0, 0.25, 1.0, 4.0])
def test_the_exact_score_returns_the_data(churn):
    back, (order, n, tolerance) = (
        GAUSSIAN.reversed(),
        {0.0: (2, 12, 1e-10), 0.25: (4, 8, 1e-5), 1.0: (2, 1, 1e-12), 4.0: (8, 12, 1e-8)}[churn],
    )
    flow = wfr.ReverseSDE(back, churn=churn)
    found = solved(flow if order == 2 else wfr.Extrapolated(flow, order), GRID.density(back.at(0.0)), n)
    expected = GRID.density(GAUSSIAN.at(0.0))
    assert float(GRID.integrate(np.abs(found.values - expected.values))) < tolerance


def test_the_probability_flow_keeps_kl():
    """From N(0, 1) in place of p_T: KL(p_0|mu_0) is KL(p_T|N(0, 1))."""
    back = GAUSSIAN.reversed()
    start = GRID.density(wfr.Gaussian(0.0, 1.0))
    end = solved(wfr.ProbabilityFlow(back), start, 12)
    kl = [
        float(GRID.integrate(law.values * (law.log_values - other.log_values)))
        for law, other in ((GRID.density(back.at(0.0)), start), (GRID.density(back.at(1.0)), end))
    ]
    assert kl[0] > 1e-3
    assert kl[1] == pytest.approx(kl[0], abs=1e-9)


SCORES = {
    "times 1.1": (lambda x, t: 1.1 * TWO_MODES.at(t).score(x), 0.0093),
    "times 0.9": (lambda x, t: 0.9 * TWO_MODES.at(t).score(x), 0.0116),
    "bias 0.3": (lambda x, t: TWO_MODES.at(t).score(x) + 0.3, 0.1502),
    "other weights": (wfr.Noised(wfr.GaussianMixture([-1.5, 1.5], [0.5, 0.5], 0.09), wfr.OU(3.0)), 0.0814),
    "other widths": (wfr.Noised(wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], 0.16), wfr.OU(3.0)), 0.0689),
}


@pytest.mark.parametrize("name", SCORES)
def test_what_wrong_scores_do_to_two_modes(name):
    """KL(p_0|mu_0) of the reverse SDE, in 24 steps of order 4, as an independent program has it to four digits."""
    score, known = SCORES[name]
    back, grid = TWO_MODES.reversed(), wfr.Grid(-6, 6, 128)
    found = solved(wfr.Extrapolated(wfr.ReverseSDE(back, score), 4), grid.density(back.at(0.0)), 24)
    data = grid.density(back.at(1.0))
    kl = float(grid.integrate(data.values * (data.log_values - found.log_values)))
    assert kl == pytest.approx(known, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "churn", "known"),
    [("times 1.1", 0.0, 0.1516), ("times 0.9", 0.0, 0.0945), ("bias 0.3", 0.0, 0.4029), ("bias 0.3", 0.25, 0.2904)],
)
def test_the_probability_flow_is_hurt_more(name, churn, known):
    """The less churn, the more harm; without any, in steps that have no error in dt."""
    back, grid = TWO_MODES.reversed(), wfr.Grid(-6, 6, 192)
    flow = wfr.ReverseSDE(back, SCORES[name][0], churn)
    end = solved(flow if churn == 0 else wfr.Extrapolated(flow, 4), grid.density(back.at(0.0)), 16)
    data = grid.density(back.at(1.0))
    kl = float(grid.integrate(data.values * (data.log_values - end.log_values)))
    assert kl == pytest.approx(known, abs=1e-4)
    assert kl > SCORES[name][1]


def test_errors_in_the_plane_that_do_no_harm():
    """Gaussian data: e = omega J x changes the law as V' = BV + VB' + 2 zeta, e = omega J s leaves it as it is."""
    c0, omega, rotation = np.array([[0.5, 0.2], [0.2, 0.3]]), 0.5, np.array([[0.0, -1.0], [1.0, 0.0]])
    path, grid = wfr.Noised(wfr.Gaussian([0, 0], c0), wfr.OU(2.0)), wfr.Grid([-6, -6], [6, 6], 64)
    back = path.reversed()
    data = grid.density(wfr.Gaussian([0, 0], c0))

    def kl(score, churn):
        flow = wfr.ReverseSDE(back, score, churn)
        end = solved(flow if churn == 0 else wfr.Extrapolated(flow, 4), grid.density(back.at(0.0)), 6)
        return float(grid.integrate(data.values * (data.log_values - end.log_values)))

    def of_places(x, t):
        return path.at(t).score(x) + omega * x @ rotation.T

    def of_scores(x, t):
        return path.at(t).score(x) + omega * path.at(t).score(x) @ rotation.T

    assert kl(of_places, 0.0) == pytest.approx(0.0136050, abs=2e-6)
    assert kl(of_places, 1.0) == pytest.approx(0.0090085, abs=2e-5)
    assert kl(of_scores, 0.0) < 1e-7
    assert kl(of_scores, 1.0) < 1e-5


def test_scores_of_any_kind_are_the_same_score():
    """A law, a function, an object with .at, single precision, all at the time of the schedule."""
    data, schedule = wfr.GaussianMixture([-1.0, 1.0], [0.5, 0.5], 0.3), wfr.VP()
    law = wfr.Noised(wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], 0.3), schedule)
    back = wfr.Noised(data, schedule).reversed(t_stop=1e-3)
    start, times = GRID.density(back.at(0.0)), []

    class Other:
        def at(self, t):
            return law.at(t)

    def function(points, t):
        times.append(t)
        return law.at(t).score(points)

    ends = [
        solved(wfr.ReverseSDE(back, score), start, 4).log_values
        for score in (law, function, Other(), law.reversed(), lambda x, t: law.at(t).score(x).astype(np.float32))
    ]
    for end in ends[1:4]:
        assert np.array_equal(end, ends[0])
    assert np.abs(np.exp(ends[4]) - np.exp(ends[0])).max() < 1e-4
    assert np.abs(ends[4] - ends[0]).max() > 0
    assert min(times) >= 1e-3
    assert max(times) <= 1.0


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_scores_of_networks(library):
    module = pytest.importorskip(library)
    back = GAUSSIAN.reversed()
    if library == "torch":
        weight = module.nn.Parameter(module.tensor(1.0))

        def score(points, t):
            return -weight * module.tensor(np.array(points), dtype=module.float32)
    else:

        def score(points, t):
            return -module.numpy.asarray(points, dtype=module.numpy.float32)

    start = GRID.density(back.at(0.0))
    found = solved(wfr.ReverseSDE(back, score), start, 8)
    expected = solved(wfr.ReverseSDE(back, lambda x, t: -x), start, 8)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("churn", [0.0, 1.0, 0.5])
@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda x, t: x[..., 0], r"the score must return one vector per point, .* returned shape \(\d+,\) at t="),
        (lambda x, t: np.where(x > 2, np.nan, -x), r"the score is nan at x=\[.*\], t=.* of the schedule \(s=0"),
        (lambda x, t: -x if t > 0.5 else np.inf * x, r"the score is (-?inf|nan) at x=.* t=0.[0-4]"),
        (lambda x, t: "none", "what the score returns must be an array of real numbers"),
    ],
)
def test_wrong_values_of_scores_are_refused(churn, score, message):
    back = GAUSSIAN.reversed()
    with pytest.raises(ValueError, match=message):
        solved(wfr.ReverseSDE(back, score, churn), GRID.density(back.at(0.0)), 8)


def test_wrong_arguments():
    back = GAUSSIAN.reversed()
    with pytest.raises(TypeError, match="path must be a ReversedPath"):
        wfr.ReverseSDE(GAUSSIAN)
    with pytest.raises(TypeError, match="path must be a ReversedPath"):
        wfr.ProbabilityFlow(wfr.VP())
    for score in (3.0, "score", wfr.Gaussian):
        with pytest.raises(TypeError, match="a score is a law with"):
            wfr.ReverseSDE(back, score)
    with pytest.raises(ValueError, match="use one schedule"):
        wfr.ReverseSDE(back, wfr.Noised(wfr.Gaussian(0.0, 1.0), wfr.VP()))
    with pytest.raises(ValueError, match="the score is 2-dimensional"):
        wfr.ReverseSDE(back, wfr.Gaussian([0, 0], 1.0))
    for churn in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="churn must be"):
            wfr.ReverseSDE(back, churn=churn)


def test_a_score_that_focuses_mass_below_the_cells_is_refused():
    """The probability flow with s + 0.5 sin 3x, whose density has peaks that no cells resolve."""
    back, grid = TWO_MODES.reversed(), wfr.Grid(-6, 6, 128)
    flow = wfr.ProbabilityFlow(back, lambda x, t: TWO_MODES.at(t).score(x) + 0.5 * np.sin(3 * x))
    with pytest.raises(wfr.NumericalError, match="does not keep the mass|characteristics cross"):
        solved(flow, grid.density(back.at(0.0)), 24)


def test_beside_a_reaction():
    """Strang with FisherRao towards the path itself repairs a wrong mass of the modes."""
    back, grid = TWO_MODES.reversed(), wfr.Grid(-6, 6, 128)
    weights, start = SCORES["other weights"][0], grid.density(back.at(0.0))
    alone = wfr.ReverseSDE(back, weights)
    both = wfr.Strang(wfr.FisherRao(3.0), alone)
    data = grid.density(back.at(1.0))

    def kl(flow, problem):
        end = solved(flow, start, 20, problem)
        return float(grid.integrate(data.values * (data.log_values - end.log_values)))

    wrong_masses = kl(alone, back)
    assert kl(both, back) < 0.8 * wrong_masses
    assert kl(both, weights.reversed()) > 0.9 * wrong_masses  # towards the law of the score itself
