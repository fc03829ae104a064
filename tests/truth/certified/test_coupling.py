"""The bound of a weak coupling, against closed forms and against grids that know the whole target."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.errors import NumericalError
from wfr_pde.truth.certified.factored.ancestors import Ancestry, Scales, time_nodes
from wfr_pde.truth.certified.factored.coupled_targets import Coupling, Tilt
from wfr_pde.truth.certified.factored.coupling import coupling_error
from wfr_pde.truth.certified.factored.coupling_limits import Found, Shares, choose_shares, limit

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
laws = importlib.import_module("decoupled_laws")
benchmark = importlib.import_module("coupling")
GaussianLaw, ProductLaw = laws.GaussianLaw, laws.ProductLaw
NEAR, START = wfr.Gaussian([0, 0], [1, 0.25]), wfr.Gaussian([1, -0.5], 0.2)
TIMES = np.array([0.01, 0.3, 1.0, 4.0])
FEW = {"n": 400, "replicas": 4}
NAMES = "error_l1_coupling", "coupling_l1", "coupling_l1_standard_error"


def coupled(eps, near=NEAR):
    """The Gaussian with V = V~ + eps x_1 x_2."""
    precision = np.array(near.precision)
    precision[0, 1] = precision[1, 0] = precision[0, 1] + eps
    covariance = np.linalg.inv(precision)
    return wfr.Gaussian(near.mean, (covariance + covariance.T) / 2)


@pytest.mark.parametrize("eps", [1e-4, 0.1, 0.3])
@pytest.mark.parametrize("rates", [(1.0, 0.0), (1.0, 1.0), (0.1, 3.0), (0.0, 1.0)])
def test_the_bound_holds_for_correlated_gaussians_and_is_near_the_truth(rates, eps):
    law, target = GaussianLaw(NEAR, START, *rates), coupled(eps)
    found = coupling_error(law, NEAR, target, TIMES, *rates, **FEW)
    bound, estimate, error = (found[name].values for name in NAMES)
    true = np.array([laws.l1_on_grid(law.at(t), law.towards(target, t)) for t in TIMES])
    assert (true <= bound).all()
    assert (bound <= 1.5 * true).all()
    assert (np.abs(estimate - true) <= 4 * error + 0.15 * eps * true).all()


def test_the_bound_holds_over_problems_that_are_drawn():
    """Forty-five problems in two to eight dimensions of any means, scales, rates and times."""
    shares = []
    for k in range(45):
        rng = np.random.default_rng([20, k])
        problem = benchmark.gaussian_problem(rng, list(benchmark.KINDS)[k % 3], most=8)
        row = benchmark.judged(*problem, rng, n=200, replicas=2)
        shares.append((row["true"] - 3 * row["doubt"]) / row["error_l1_coupling"])
    assert max(shares) <= 1
    assert np.median(shares) > 0.6


def test_the_residual_is_that_of_the_equation():
    """r by its formula, and what log m leaves in the equation by differences in time, at places in three dimensions."""
    rng, t, h, (alpha, beta) = np.random.default_rng(1), 0.4, 1e-5, (0.7, 1.3)
    near, start = wfr.Gaussian([0.2, 0, 1], [1, 2, 0.5]), wfr.Gaussian([0, 1, 0], 0.4)
    target = coupled(0.3, near=near)
    law, tilt = GaussianLaw(near, start, alpha, beta), Tilt(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    coupling, x = Coupling(near, target), rng.normal(size=(50, 3))
    theta, change = tilt.at(t)
    drift, r = coupling.met(x, law.score(x, t), (alpha, beta), (theta, change))

    def log_m(points, time):
        return law.log_prob(points, time) - tilt.at(time)[0] * coupling.value(points)

    score = law.score(x, t) - theta * coupling.gradient(x)
    hessian_trace = -np.trace(law.at(t).precision) - theta * coupling.laplacian_at(x)
    flow = alpha * (hessian_trace + np.sum(score**2, axis=-1) + np.trace(target.precision))
    flow -= alpha * np.sum(target.score(x) * score, axis=-1) + beta * (log_m(x, t) - target.log_density(x))
    left = (log_m(x, t + h) - log_m(x, t - h)) / (2 * h) - flow
    assert np.ptp(left - r) < 1e-8 * np.ptp(r)
    np.testing.assert_allclose(drift, alpha * (2 * score - target.score(x)), atol=1e-12)


@pytest.mark.parametrize("theta_rate", [0.0, 2.0])
def test_without_reaction_the_ratio_of_the_laws_is_a_mean_over_paths(theta_rate):
    """mu/mu~ at a place is the mean of exp(-theta c - Z) over paths from there, whatever theta is."""
    law, target, t = GaussianLaw(NEAR, START, 1.0, 0.0), coupled(0.4), 0.5
    ancestry = Ancestry(law, Coupling(NEAR, target), Tilt(np.array([0.0, 1.0]), np.full(2, theta_rate)), 1.0, 0.0)
    places = law.sample(6, t, 3)
    nodes = time_nodes(t, Scales(0.1, 0.25, np.inf), 0.1)
    met = ancestry.met(places, nodes, 4000, np.random.default_rng(4))
    tilts = ancestry.tilt.at(t)[0] * ancestry.coupling.value(places)
    weights = np.exp(-tilts[:, None] - met.fine[0])
    expected = np.exp(law.towards(target, t).log_density(places) - law.towards(target, t).log_normaliser)
    expected /= np.exp(law.log_prob(places, t))
    deviations = (weights.mean(axis=1) - expected) / (weights.std(axis=1) / np.sqrt(4000))
    assert np.abs(deviations).max() < 4
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize(("rates", "eps", "t"), [((1.0, 1.0), 0.1, 1.0), ((0.5, 4.0), 0.15, 1.5)])
def test_the_log_ratio_is_between_its_two_limits_at_every_place(rates, eps, t):
    """log(mu/mu~) but for one constant, which is not known, and theta = 0, so that second orders count."""
    law, target, places = GaussianLaw(NEAR, START, *rates), coupled(eps), 8
    ancestry = Ancestry(law, Coupling(NEAR, target), Tilt(np.array([0.0, 1.0]), np.zeros(2)), *rates)
    x, rng = law.sample(places, t, 3), np.random.default_rng(4)
    met = ancestry.met(x, time_nodes(t, Scales(0.1, 0.25, 1 / rates[1]), 0.2), 6000, rng)
    shares = choose_shares(Found(np.zeros(places), 0.0, met.fine, met.amplified, True, False))
    low = np.log(np.exp(-met.fine.sum(axis=0)).mean(axis=1))
    groups = np.add.reduceat(met.fine, np.arange(0, len(met.fine), shares.width), axis=0)
    terms = [
        power * np.log(np.exp(-(y - centre) / power).mean(axis=1)) - centre
        for y, power, centre in zip(groups, shares.powers, shares.centres, strict=True)
    ]
    true = law.towards(target, t).log_density(x) - law.log_prob(x, t)
    below, above = (low - true).max(), (sum(terms) - true).min()
    assert below < above < below + 0.1
    assert np.ptp(true) > 0.1


def test_reaction_alone_is_exact_whatever_the_targets_are():
    """Bimodal target and start, a coupling of no product form: mu is a power law of closed form."""
    near = wfr.GaussianMixture([[-2, 0], [2, 1]], [0.3, 0.7], [[0.5, 0.5], [1, 0.7]])
    target = wfr.Potential(lambda x, y: -near.log_density(np.stack([x, y], axis=-1)) + 0.3 * np.cos(x) * y)
    start, t = wfr.GaussianMixture([[-2, 0], [2, -1]], [0.9, 0.1], [[0.4, 0.6], [0.5, 0.5]]), 0.7
    grid = wfr.Grid([-9, -9], [9, 9], 160)
    log_start, share = grid.log_density(start, checked=False), -np.expm1(-t)
    near_law, law = (
        wfr.Density(grid, (1 - share) * log_start + share * grid.log_density(pi, checked=False)).normalised()
        for pi in (near, target)
    )

    class OnGrid:
        times = np.array([0.0, t])

        def score(self, x, time):
            return (1 - share) * start.score(x) + share * near.score(x) if time else start.score(x)

        def sample(self, n, time, rng):
            return near_law.sample(n, rng) if time else start.sample(n, rng)

    true = float(grid.integrate(np.abs(near_law.values - law.values)))
    found = coupling_error(OnGrid(), near, target, [t], 0.0, 1.0, n=2000, replicas=1)
    bound, estimate, _ = (float(found[name][0]) for name in NAMES)
    assert true <= bound <= 1.15 * true
    assert abs(estimate - true) < 0.06 * true


@pytest.fixture(scope="module")
def two_wells():
    """Two wells beside a Gaussian, rates 1 and 1."""
    near, starts = (wfr.Potential("1.5*(x**2-1)**2"), wfr.Gaussian(0, 0.5)), (-0.8, 0.5)
    times = np.concatenate([[0.0], np.geomspace(0.01, 0.5, 10)])
    parts = tuple(
        wfr.Trajectory(wfr.ground_truth(one, wfr.Gaussian(mean, 0.1), times, rtol=1e-4), one)
        for one, mean in zip(near, starts, strict=True)
    )
    return ProductLaw(parts, np.eye(2), (1, 1)), wfr.Gaussian(starts, 0.1)


def test_the_bound_holds_beside_two_wells(two_wells):
    law, start = two_wells
    near = wfr.Potential("1.5*(x**2-1)**2 + y**2")
    target = wfr.Potential("1.5*(x**2-1)**2 + y**2 + 0.5*cos(x)*cos(y)")
    found = coupling_error(law, near, target, [0.5], n=200, replicas=4)
    truth = wfr.Trajectory(wfr.ground_truth(target, start, [0.0, 0.5], rtol=3e-2))
    known = np.exp(law.log_prob(truth.grid.points(), 0.5))
    true = float(truth.grid.integrate(np.abs(known - truth.at(0.5).values)))
    slack = float(truth.error_l1(0.5) + law.error_l1(0.5))
    assert true - slack <= float(found[NAMES[0]][0]) <= 1.6 * (true + slack)


def linear_posterior(d, leading, seed=0):
    """N(0, I) by a likelihood of `leading` of eight directions, whose singular values fall by a half each."""
    rng = np.random.default_rng(seed)
    rows = 3 * 2.0 ** -np.arange(8)[:, None] * np.linalg.qr(rng.normal(size=(d, d)))[0][:8]
    data = rows @ rng.normal(size=d) + 0.5 * rng.normal(size=8)
    covariance = np.linalg.inv(np.eye(d) + rows[:leading].T @ rows[:leading] / 0.25)
    covariance = (covariance + covariance.T) / 2
    return wfr.Gaussian(covariance @ rows[:leading].T @ data[:leading] / 0.25, covariance)


@pytest.mark.parametrize("leading", [4, 6])
def test_a_linear_posterior_in_twenty_dimensions_by_its_leading_directions(leading):
    near, target, start = linear_posterior(20, leading), linear_posterior(20, 8), wfr.Gaussian(np.zeros(20), 1.0)
    law = GaussianLaw(near, start)
    found = coupling_error(law, near, target, [0.05, 2.0], **FEW)
    for k, t in enumerate((0.05, 2.0)):
        true, doubt = laws.l1_by_draws(law.at(t), law.towards(target, t), 40000, 5)
        assert true - 4 * doubt <= float(found[NAMES[0]][k]) <= 1.4 * true


class NonlinearPosterior(wfr.Target):
    """N(0, I) by data of tanh(2 u) and of eps sin(u + v) + v/2, along two directions, which eps couples."""

    def __init__(self, basis, eps):
        self.ndim, self.basis, self.eps = len(basis), basis, eps

    def log_density(self, points):
        x = np.asarray(points)
        u, v = np.moveaxis(x @ self.basis[:, :2], -1, 0)
        misfit = (0.6 - np.tanh(2 * u)) ** 2 + (0.3 - v / 2 - self.eps * np.sin(u + v)) ** 2
        return -np.sum(x**2, axis=-1) / 2 - misfit / 0.5

    def score(self, points):
        x = np.asarray(points)
        u, v = np.moveaxis(x @ self.basis[:, :2], -1, 0)
        bent = (0.3 - v / 2 - self.eps * np.sin(u + v)) / 0.25
        along_u = (0.6 - np.tanh(2 * u)) / 0.25 * 2 / np.cosh(2 * u) ** 2 + bent * self.eps * np.cos(u + v)
        along_v = bent * (0.5 + self.eps * np.cos(u + v))
        return np.stack([along_u, along_v], axis=-1) @ self.basis[:, :2].T - x


@pytest.fixture(scope="module")
def nonlinear():
    """A nonlinear posterior in twenty dimensions: the decoupled law, and its L1 distance by a grid of two."""
    basis, times = np.linalg.qr(np.random.default_rng(2).normal(size=(20, 20)))[0], np.array([0.0, 0.1, 0.3, 0.6])
    along = wfr.Potential("x**2/2 + (0.6 - tanh(2*x))**2/0.5")
    leading = wfr.Trajectory(wfr.ground_truth(along, wfr.Gaussian(0, 1), times, rtol=1e-5), along)
    precision = np.ones(19)
    precision[0] += 0.5**2 / 0.25
    rest = wfr.Gaussian(np.append([0.3 * 0.5 / 0.25 / precision[0]], np.zeros(18)), 1 / precision)
    law = ProductLaw((leading, GaussianLaw(rest, wfr.Gaussian(np.zeros(19), 1.0))), basis, (1, 19))
    text = "x**2/2 + y**2/2 + (0.6 - tanh(2*x))**2/0.5 + (0.3 - y/2 - 0.1*sin(x + y))**2/0.5"
    truth = wfr.Trajectory(wfr.ground_truth(wfr.Potential(text), wfr.Gaussian([0, 0], 1.0), [0, 0.6], rtol=1e-2))
    points = truth.grid.points()
    second = GaussianLaw(wfr.Gaussian(rest.mean[0], 1 / precision[0]), wfr.Gaussian(0.0, 1.0))
    known = np.exp(leading.log_prob(points[..., :1], 0.6) + second.log_prob(points[..., 1:], 0.6))
    true = float(truth.grid.integrate(np.abs(known - truth.at(0.6).values)))
    return basis, law, true, float(truth.error_l1(0.6) + leading.error_l1(0.6))


def test_a_nonlinear_posterior_in_twenty_dimensions_by_a_line_and_a_gaussian(nonlinear):
    basis, law, true, slack = nonlinear
    near, target = NonlinearPosterior(basis, 0.0), NonlinearPosterior(basis, 0.1)
    bounds = []
    for directions in (basis[:, :2].T, None):  # two second derivatives; twenty directions, by random signs
        found = coupling_error(law, near, target, [0.6], directions=directions, n=300, replicas=4)
        bounds.append(float(found[NAMES[0]][0]))
    assert true - slack <= min(bounds)
    assert bounds[0] <= 1.5 * (true + slack)
    assert bounds[1] <= 2 * (true + slack)


def test_transport_alone_needs_no_moments():
    """A correlation of 0.75: with reaction nothing is known, without it the mean of mu/mu~ is."""
    target, t = coupled(1.5), 1.0
    law = GaussianLaw(NEAR, START, 1.0, 0.0)
    bound = float(coupling_error(law, NEAR, target, [t], 1.0, 0.0, **FEW)[NAMES[0]][0])
    true = laws.l1_on_grid(law.at(t), law.towards(target, t))
    assert 0.5 < true <= bound <= 1.7 * true
    assert float(coupling_error(GaussianLaw(NEAR, START), NEAR, target, [t], **FEW)[NAMES[0]][0]) == 2.0


def test_where_draws_do_not_tell_the_moments_nothing_is_known_and_the_estimate_stays():
    """A precision that the coupling takes below a third, so that weights exp(-c) have less than three moments."""
    near, t = wfr.Gaussian([0, 0], 1.0), 3.0
    law, target = GaussianLaw(near, wfr.Gaussian([0, 0], 1.0)), wfr.Gaussian([0, 0], 4.0)
    found = coupling_error(law, near, target, [t], **FEW)
    assert float(found[NAMES[0]][0]) == 2.0
    assert 0.1 < float(found[NAMES[1]][0]) <= 2.0


def test_constants_in_the_log_densities_change_nothing():
    law, target = GaussianLaw(NEAR, START, 1.0, 0.0), coupled(0.3)

    class Shifted(wfr.Target):
        ndim = 2

        def log_density(self, points):
            return target.log_density(points) + 1000.0

        def score(self, points):
            return target.score(points)

    given = {"transport_rate": 1.0, "reaction_rate": 0.0, "laplacian": lambda x: np.zeros(len(x)), **FEW}
    plain, shifted = (coupling_error(law, NEAR, pi, [0.5], **given) for pi in (target, Shifted()))
    np.testing.assert_allclose(shifted[NAMES[0]], plain[NAMES[0]], rtol=1e-9)


def test_no_coupling_is_no_error_and_neither_is_the_start():
    law = GaussianLaw(NEAR, START)
    same = wfr.Gaussian(NEAR.mean, NEAR.covariance)
    assert coupling_error(law, NEAR, same, [0.0, 0.5], **FEW)[NAMES[0]].values.tolist() == [0.0, 0.0]
    assert coupling_error(law, NEAR, coupled(0.5), [0.0], **FEW)[NAMES[0]].values.tolist() == [0.0]


def test_shares_keep_what_the_control_costs():
    """At every time the shares of the blocks before add up to no more than the discount of the cost there."""
    rng = np.random.default_rng(6)
    amplified = np.exp(np.linspace(0.5, 12, 24))
    integrals = rng.normal(size=(24, 400, 2)) * (0.05 / amplified * rng.uniform(0.1, 3, 24))[:, None, None]
    found = Found(np.zeros(400), 0.0, integrals, amplified, True, False)
    shares = choose_shares(found)
    most = np.maximum.reduceat(amplified, np.arange(0, 24, shares.width))
    assert (np.cumsum(shares.powers[::-1])[::-1] <= (1 + 1e-12) / most).all()
    assert (shares.powers > 0).all()
    worse = Shares(shares.width, shares.powers / 3, shares.centres)
    assert limit(found, shares)[0] < limit(found, worse)[0]


def test_theta_and_its_rate_belong_together():
    tilt = Tilt(np.array([0.0, 0.5, 2.0]), np.array([3.0, 1.0, 2.0]))
    for t in (0.2, 0.9, 3.0):
        change = (tilt.at(t + 1e-6)[0] - tilt.at(t - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(tilt.at(t)[1], change, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": wfr.Gaussian([0, 0, 0], 1.0)}, "near is 2-dimensional, but target is 3-dimensional"),
        ({"t": [-1.0]}, "times >= 0"),
        ({"t": 1.0}, r"t must be an array \(n_t,\)"),
        ({"directions": [[1.0, 1.0]]}, "orthonormal"),
        ({"directions": [1.0, 0.0]}, r"shape \(k, 2\)"),
        ({"n": 3}, "at least 64"),
        ({"reaction_rate": -1.0}, "reaction_rate"),
    ],
)
def test_wrong_arguments_are_refused(change, words):
    given = {"truth": GaussianLaw(NEAR, START), "near": NEAR, "target": coupled(0.1), "t": [0.5]} | change
    with pytest.raises(ValueError, match=words):
        coupling_error(**given)


def test_mass_where_the_target_has_none_is_refused():
    target = wfr.Potential(lambda x, y: np.where(x > 0, x**2 + y**2, np.inf))
    with pytest.raises(NumericalError, match="wherever the decoupled law has mass"):
        coupling_error(GaussianLaw(NEAR, START), NEAR, target, [0.5], **FEW)
