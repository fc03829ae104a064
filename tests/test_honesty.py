"""Answers of benchmarks/honesty against computations that share nothing with them: adaptive quadrature by QUADPACK,
dense finite volumes with a matrix exponential, closed forms, moment equations."""

import importlib
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

import wfr_pde as wfr
from wfr_pde import exact

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
answers = importlib.import_module("honesty_answers")
families = importlib.import_module("honesty_families")
honesty = importlib.import_module("honesty")
TIMES = (0.02, 0.3, 2.0)


def drawn(family, wanted, seed=5, tries=400):
    """The first draw of a family whose name holds a word."""
    rng = np.random.default_rng(seed)
    for _ in range(tries):
        case = families.case(family, rng.random(families.LENGTH))
        if wanted in case.name:
            return case
    raise AssertionError(f"no draw of {family} is called {wanted}")


def masses_by_finite_volumes(V, log_start, edges, t):
    """Masses of the cells after W for a time t: d_t mu = (mu' + V' mu)', rates of order 2 and a matrix exponential."""
    x, h = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    pi = np.exp(-V(x)) * h
    conductance = np.exp(-V(edges[1:-1])) / np.diff(x)
    generator = np.zeros((len(x), len(x)))
    k = np.arange(len(x) - 1)
    generator[k + 1, k], generator[k, k + 1] = conductance / pi[k], conductance / pi[k + 1]
    np.fill_diagonal(generator, -generator.sum(axis=0))
    start = np.exp(log_start(x)) * h
    return x, h, expm(generator * t) @ (start / start.sum())


def finite_volume_distances(answer, V, log_start, edges, t, breaks=()):
    """L1 distances of an answer to finite volumes on these cells and on halved ones."""
    found = []
    for halving in range(2):
        for _ in range(halving):
            edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))
        x, h, mass = masses_by_finite_volumes(V, log_start, edges, t)
        found.append(np.abs(np.exp(answer.log_density(t, x[:, None])) * h - mass).sum())
    return found


@pytest.mark.parametrize(
    ("V", "features", "breaks", "edges"),
    [
        (lambda x: x**2 / 2 + 3 * np.exp(-((x - 0.3) ** 2) / (2 * 0.02**2)), [(0.3, 0.02)], [], None),
        (lambda x: x**2 / 2 + 2.0 * np.abs(x - 0.25), [], [0.25], None),
    ],
    ids=["barrier", "kink"],
)
def test_relaxation_is_what_finite_volumes_converge_to(V, features, breaks, edges):
    log_start = families.normal(-0.4, 0.2)
    answer = answers.Relaxation(V, log_start, [*features, (-0.4, 0.2), (0.0, 1.0)], breaks, -9.0, 9.0)
    edges = np.unique(np.concatenate([np.linspace(-5, 5, 161), np.linspace(0.15, 0.45, 121)]))
    coarse, fine = finite_volume_distances(answer, V, log_start, edges, 0.3)
    assert coarse < 5e-3
    assert 3.5 < coarse / fine < 4.5  # what is left is the error of the finite volumes, of order 2
    assert answer.doubt(0.3)[0] < 1e-8


def test_relaxation_over_a_jump_falls_to_the_target_with_its_masses():
    def V(x):
        return x**2 / 2 + 2.0 * (x > 0.37)

    answer = answers.Relaxation(V, families.normal(-0.5, 0.3), [(-0.5, 0.3), (0.0, 1.0)], [0.37], -9.0, 9.0)
    x = np.linspace(-3, 3, 7)[:, None]
    z = quad(lambda y: np.exp(-V(y)), -9, 0.37)[0] + quad(lambda y: np.exp(-V(y)), 0.37, 9)[0]
    np.testing.assert_allclose(answer.log_density(40.0, x), -V(x[:, 0]) - math.log(z), atol=1e-8)
    # over the jump w = mu/pi is continuous, mu is not
    both = answer.log_density(0.4, np.array([[0.37 - 1e-9], [0.37 + 1e-9]]))
    assert both[0] - both[1] == pytest.approx(2.0, abs=1e-5)


def test_relaxation_over_a_narrow_pit_is_the_same_on_elements_of_any_size():
    """Two false bounds that were drawn were the rounding of this answer, by 5e-5 on the smallest elements."""
    place, width = -0.3682828583288823, 1.0931200490385723e-04

    def V(x):
        return x**2 / 2 - 5.0 * (np.abs(x - place) < width)

    breaks, features = [place - width, place + width], [(place, width), (-0.9, 0.2), (0.0, 1.0)]
    fine, coarse = (
        answers.Relaxation(
            V, families.normal(-0.9, 0.2), features, breaks, -9.6, 9.6, 1106.0, least=least * width, fine=(p, 4.0)
        )
        for least, p in ((1e-3, 14), (1.0, 20))
    )
    x = np.linspace(-4, 4, 401)[:, None]
    for t in (1.4e-4, 2.3e-3):
        for one in (fine, coarse):
            assert one.doubt(t)[0] < 2e-10
        apart = np.abs(np.exp(fine.log_density(t, x)) - np.exp(coarse.log_density(t, x)))
        assert apart.mean() * 8 < 1e-9
        assert abs(fine.kl(t) - coarse.kl(t)) < 1e-9


@pytest.mark.parametrize("t", TIMES)
def test_relaxation_of_a_gaussian(t):
    answer = answers.Relaxation(
        lambda x: x**2 / 2, families.normal(-0.7, 0.15), [(-0.7, 0.15), (0.0, 1.0)], [], -9.6, 9.6, 1.0
    )
    known = exact.gaussian_flow(wfr.Gaussian(0, 1), wfr.Gaussian(-0.7, 0.15**2), t, 1.0, 0.0)
    x = np.linspace(-5, 5, 201)[:, None]
    np.testing.assert_allclose(
        np.exp(answer.log_density(t, x)), np.exp(known.log_density(x) - known.log_normaliser), atol=1e-9
    )
    assert answer.kl(t) == pytest.approx(exact.gaussian_kl(known, wfr.Gaussian(0, 1)), abs=1e-9)
    assert answer.outside(t, np.array([-1.0]), np.array([9.0])) == pytest.approx(
        answers.Normal(lambda _: known, lambda _: known).outside(t, np.array([-1.0]), np.array([9.0])), abs=1e-9
    )


@pytest.mark.parametrize("t", TIMES)
def test_takeover_of_a_gaussian(t):
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-3, 0.04)
    answer = answers.Takeover(
        lambda x: x**2 / 2, lambda x: x, families.normal(-3, 0.2), (0, *TIMES), -9, 9, 0.5, 1.0, 300
    )
    known = exact.gaussian_flow(target, start, t, 0.5, 1.0)
    x = np.linspace(-8, 5, 201)[:, None]
    l1 = np.abs(np.exp(answer.log_density(t, x)) - np.exp(known.log_density(x) - known.log_normaliser)).sum() * 0.065
    assert l1 < max(1e-8, answer.doubt(t)[0])
    assert answer.kl(t) == pytest.approx(exact.gaussian_kl(known, target), abs=1e-6)


def test_takeover_of_two_modes_is_what_splitting_converges_to():
    """Strang steps: FR exactly on the cells, W by the matrix exponential of finite volumes; Richardson in the steps."""
    means, sds, weights = (0.0, 4.0), (0.6, 0.5), (0.4, 0.6)
    parts = [families.normal(m, s) for m, s in zip(means, sds, strict=True)]

    def V(x):
        return -np.logaddexp(math.log(weights[0]) + parts[0](x), math.log(weights[1]) + parts[1](x))

    def slope(x):
        step = 1e-4j  # complex steps, as V is analytic
        z = x + step
        density = sum(
            w / s * np.exp(-((z - m) ** 2) / (2 * s * s)) for m, s, w in zip(means, sds, weights, strict=True)
        )
        return -(np.log(density)).imag / 1e-4

    log_start = families.normal(0.0, 0.4)
    alpha, beta, t = 0.3, 1.0, 1.5
    answer = answers.Takeover(V, slope, log_start, (0.0, t), -4.5, 8.5, alpha, beta, 500)
    found = []
    for cells in (150, 300):
        edges = np.linspace(-4.5, 8.5, cells + 1)
        x, h = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
        k = np.arange(cells - 1)
        generator = np.zeros((cells, cells))
        generator[k + 1, k] = np.exp(V(x[k]) - V(edges[1:-1])) / h**2
        generator[k, k + 1] = np.exp(V(x[k + 1]) - V(edges[1:-1])) / h**2
        np.fill_diagonal(generator, -generator.sum(axis=0))
        results = []
        for steps in (100, 200):
            transport, s = expm(generator * alpha * t / steps), math.exp(-beta * t / steps / 2)
            log_mu = log_start(x)
            for _ in range(steps):
                log_mu = s * log_mu - (1 - s) * V(x)
                log_mu = np.log(transport @ np.exp(log_mu - log_mu.max()))
                log_mu = s * log_mu - (1 - s) * V(x)
            mu = np.exp(log_mu - log_mu.max())
            results.append(mu / mu.sum())
        found.append(np.abs((4 * results[1] - results[0]) / 3 - np.exp(answer.log_density(t, x[:, None])) * h).sum())
    assert found[0] < 5e-3
    assert 3.3 < found[0] / found[1] < 4.7  # the error of the finite volumes, of order 2


def test_dry_friction_is_what_finite_volumes_converge_to():
    c, t = 1.3, 0.7
    answer = answers.Line(
        answers.dry_friction(c, 0.8, 0.04, 1.0),
        lambda t, x: -c * np.abs(x),
        answers.graded([(0.8, 0.2), (0.0, 0.5)], [0]),
    )
    assert answer.measured(t)[0] == pytest.approx(0.0, abs=1e-13)  # of mass one as it stands
    edges = np.linspace(-8, 8, 257)
    coarse, fine = finite_volume_distances(answer, lambda x: c * np.abs(x), families.normal(0.8, 0.2), edges, t)
    assert coarse < 1e-2
    assert 3.5 < coarse / fine < 4.5


@pytest.mark.parametrize(
    "chain",
    [
        answers.Chain((0.0, 2.0), (1.5,), (0.0,)),
        answers.Chain((-1.0, -0.3, 0.5, 2.0), (1.0, -2.0, 0.5), (0.0, 1.0, -1.0)),
    ],
    ids=["slope", "jumps"],
)
@pytest.mark.parametrize("number", [1, 2])
def test_modes_of_piecewise_linear_wells_decay_as_they_say(chain, number):
    rate, f = chain.mode(number)
    z = sum(quad(lambda x: np.exp(-chain.V(np.array([x]))[0]), a, b)[0] for a, b in itertools.pairwise(chain.edges))

    def log_start(x):
        return np.log1p(0.8 * f(x)) - chain.V(x) - math.log(z)

    answer = answers.Relaxation(chain.V, log_start, [], chain.edges[1:-1], chain.edges[0], chain.edges[-1], least=1e-2)
    x = np.linspace(chain.edges[0] + 0.01, chain.edges[-1] - 0.01, 60)
    t = 0.4 / rate
    known = np.exp(-chain.V(x)) / z * (1 + 0.8 * math.exp(-rate * t) * f(x))
    np.testing.assert_allclose(np.exp(answer.log_density(t, x[:, None])), known, atol=1e-9)


@pytest.mark.parametrize("c", [0.05, 1.0, 4.0])
def test_kinked_well_mode_decays_as_it_says(c):
    rate, f = answers.kinked_well_mode(c)
    z = 2 * quad(lambda x: math.exp(-(x**2) / 2 - c * x), 0, 30)[0]

    def V(x):
        return x**2 / 2 + c * np.abs(x)

    answer = answers.Relaxation(
        V, lambda x: np.log1p(0.7 * f(x)) - V(x) - math.log(z), [(0.0, 1 / (1 + c))], [0.0], -8.0, 8.0
    )
    x = np.linspace(-3, 3, 41)
    known = np.exp(-V(x)) / z * (1 + 0.7 * math.exp(-1.0) * f(x))
    np.testing.assert_allclose(np.exp(answer.log_density(1 / rate, x[:, None])), known, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        ("cosh_wells", ""),
        ("walls", "cosines"),
        ("circles", "cosines"),
        ("singular_walls", "chi"),
        ("singular_walls", "Jacobi"),
    ],
)
def test_decaying_modes_obey_the_equation(family, wanted):
    """d_t mu = alpha (mu' + V' mu)' at random places, by central differences of the answer."""
    case = drawn(family, wanted)
    lower, upper = case.options["box"] if case.options else (-1.5, 1.5)
    lower, upper = (0.3, 2.5) if "chi" in case.name else (lower, upper)
    width = upper - lower
    x = lower + width * np.linspace(0.15, 0.85, 9)
    rate = -1 / (case.times[-1] - case.times[0])
    t, dt, h = case.times[-1] - case.times[0], -1e-4 / rate / 20, 1e-4 * width
    log_mu = case.answer.log_density

    def mu(t, x):
        return np.exp(log_mu(t, x[:, None]))

    def flux(x):
        slope = -case.target.score(x[:, None])[:, 0]
        return (mu(t, x + h / 2) - mu(t, x - h / 2)) / h + slope * mu(t, x)

    change = (mu(t + dt, x) - mu(t - dt, x)) / (2 * dt)
    transported = case.alpha * (flux(x + h / 2) - flux(x - h / 2)) / h
    scale = np.abs(change).max()
    np.testing.assert_allclose(change / scale, transported / scale, atol=3e-5)  # O(h²) of the differences


@pytest.mark.parametrize("wanted", ["kink", "jump", "clipped"])
def test_fisher_rao_with_kinks_and_jumps_against_quadpack(wanted):
    case = drawn("broken", f"FR, {wanted}, function")
    breaks = sorted(x for x in case.answer.edges if -1.9 < x < 1.9)
    t = case.times[-1] - case.times[0]
    s = math.exp(-case.beta * t)

    def log_pi(x):
        return float(case.target.log_density(np.array([[x]]))[0])

    def log_start(x):
        return float(case.start.log_density(np.array([[x]]))[0])

    def integral(f):
        edges = [-12.0, *breaks, 12.0]
        return sum(quad(f, a, b, epsabs=1e-15, epsrel=1e-12)[0] for a, b in itertools.pairwise(edges))

    def log_mu(x):
        return s * log_start(x) + (1 - s) * log_pi(x)

    mass, z = integral(lambda x: math.exp(log_mu(x))), integral(lambda x: math.exp(log_pi(x)))
    shift = math.log(z) - math.log(mass)
    kl = integral(lambda x: math.exp(log_mu(x)) / mass * (log_mu(x) - log_pi(x) + shift))
    assert case.answer.kl(t) == pytest.approx(kl, abs=1e-10)
    x = np.linspace(-2, 2, 21)
    known = [log_mu(y) - math.log(mass) for y in x]
    np.testing.assert_allclose(case.answer.log_density(t, x[:, None]), known, atol=1e-10)


def test_singular_wall_against_the_gamma_function():
    edges = answers.graded([(1.0, 0.2), *answers.SINGULAR], (), 0.0, 60.0)
    answer = families.fisher_rao(lambda x: -x + 0.7 * np.log(x), lambda x: -x - 0.6 * np.log(x), 1.0, edges)
    t, s = 0.8, math.exp(-0.8)
    shape = 1 + 0.7 * s - 0.6 * (1 - s)
    assert answer.measured(t)[0] == pytest.approx(math.lgamma(shape), abs=1e-13)
    # KL of gamma densities of rate one
    from scipy.special import digamma

    kl = (shape - 0.4) * digamma(shape) - math.lgamma(shape) + math.lgamma(0.4)
    assert answer.kl(t) == pytest.approx(kl, abs=1e-12)


def test_outside_is_the_mass_of_both_tails():
    line = answers.Line(lambda t, x: -(x**2) / 2, lambda t, x: -(x**2) / 2, answers.graded([(0.0, 1.0)]))
    beyond = line.outside(0.0, np.array([-1.0]), np.array([2.0]))
    assert beyond == pytest.approx(0.5 * math.erfc(1 / math.sqrt(2)) + 0.5 * math.erfc(2 / math.sqrt(2)), abs=1e-14)


@pytest.mark.parametrize("wanted", ["mean, W", "path, swing, WFR"])
def test_moving_targets_against_the_moment_equations(wanted):
    case = drawn("moving", wanted)

    def change(t, y):
        pi = case.target.at(t)
        a, b = float(pi.precision[0, 0]), float(pi.mean[0])
        return [-(case.alpha + case.beta * y[1]) * a * (y[0] - b),
                2 * case.alpha * (1 - a * y[1]) + case.beta * y[1] * (1 - a * y[1])]  # fmt: skip

    begin = [float(case.start.mean[0]), float(case.start.covariance[0, 0])]
    t = case.times[-1]
    y = solve_ivp(change, (0, t), begin, method="LSODA", rtol=1e-11, atol=1e-13).y[:, -1]
    g = case.answer.at(t)
    np.testing.assert_allclose([g.mean[0], g.covariance[0, 0]], y, atol=1e-8)


def test_products_obey_the_equation_in_the_plane():
    case = drawn("products", "wells, W, turned by 1")
    t, h = case.times[-1] - case.times[0], 1e-3
    dt = 1e-4 * h / case.alpha
    points = np.random.default_rng(1).uniform(-0.8, 0.8, (6, 2))

    def mu(t, p):
        return np.exp(case.answer.log_density(t, p))

    total = 0.0
    for axis in np.eye(2):

        def flux(p, axis=axis):
            slope = -(case.target.score(p) @ axis)
            return (mu(t, p + h / 2 * axis) - mu(t, p - h / 2 * axis)) / h + slope * mu(t, p)

        total = total + (flux(points + h / 2 * axis) - flux(points - h / 2 * axis)) / h
    change = (mu(t + dt, points) - mu(t - dt, points)) / (2 * dt * case.alpha)
    np.testing.assert_allclose(change, total, atol=1e-4)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_draws_problems_whose_answers_have_mass_one(family):
    rng = np.random.default_rng(3)
    for _ in range(2):
        case = families.case(family, rng.random(families.LENGTH))
        assert case.times == sorted(set(case.times))
        assert 1e-9 <= case.rtol <= 0.1
        if case.target.ndim == 1 and isinstance(case.answer, answers.Line):
            t = case.times[-1] - case.times[0]
            mass = answers.integrals(
                lambda x, case=case, t=t: np.nan_to_num(np.exp(case.answer.log_density(t, x[:, None])))[None],
                case.answer.panels(t),
            )
            assert mass[0] == pytest.approx(1.0, abs=1e-11)


def test_draws_of_a_seed_are_reproducible_alone():
    first, again = (families.point(9, 4) for _ in range(2))
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])
    assert str(families.draw(9, 4)) != str(families.draw(9, 5))


def row(**changes):
    same = {"family": "f", "name": "n", "rtol": 1e-3, "control": False, "status": "answered", "times": [0.0],
            "l1": [1e-6], "kl": [1e-6], "bound_l1": [1e-5], "bound_kl": [1e-5], "doubt_l1": [0.0], "doubt_kl": [0.0],
            "kl_value": [1.0], "seed": 1, "k": 2, "draw_family": "f", "seconds": 1.0}  # fmt: skip
    return same | changes


def test_judge_tells_false_from_true_and_knows_its_doubts():
    assert not honesty.is_false(row())
    assert honesty.is_false(row(l1=[2e-5]))
    assert honesty.is_false(row(bound_kl=[math.nan]))
    assert not honesty.is_false(row(l1=[2e-5], doubt_l1=[1.1e-5]))
    assert honesty.offences([row(), row(l1=[2e-5]), row(status="refused", reason="", control=True)]) == 2
    assert honesty.is_above(row(bound_l1=[2e-3]))
    assert "--case 1:2" in honesty.table([row(l1=[2e-5])])
    # 95 % limit of none in 59: the rule of three
    assert honesty.upper_limit(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))


def test_errors_see_what_lies_outside_the_box():
    """A box that cuts is an error even where the density inside is right."""
    gaussian = wfr.Gaussian(0.0, 1.0)
    case = families.Case("f", "n", gaussian, gaussian, [0.0], 1.0, 1.0, 1e-3,
                         families.gaussian_answer(gaussian, gaussian, 1.0, 1.0), {"box": (-9, 1.0)},
                         refusal_right=True)  # fmt: skip
    grid = wfr.Grid([-9], [1.0], 400, max_cut=1.0)
    ds = wfr.solve(gaussian, wfr.FisherRao(1.0), grid.density(gaussian), [0.0, 0.1], 0.1)
    found = honesty.true_errors(case, ds.assign(kl=("t", [0.0, 0.0])))
    cut = 0.5 * math.erfc(1 / math.sqrt(2))
    assert found["l1"][0] == pytest.approx(2 * cut, rel=1e-3)  # missing outside, and too much inside


def test_run_resumes_where_it_stopped(tmp_path, monkeypatch):
    asked = []

    def instead(tasks, jobs):
        for task in tasks:
            asked.append(task["k"])
            yield row(seed=task["seed"], k=task["k"], draw_family=task["draw_family"])

    monkeypatch.setattr(honesty, "rows_of", instead)
    out = tmp_path / "rows.jsonl"
    honesty.run(3, 4, 1.0, 1, "", out, resume=False)
    with out.open("a") as file:
        file.write(json.dumps(row(seed=3, k=4))[:20])  # a run that was stopped within a line
    rows = honesty.run(3, 6, 1.0, 1, "", out, resume=True)
    assert asked == [0, 1, 2, 3, 4, 5]
    assert len(rows) == 6


def test_mass_outside_of_a_turned_box_is_that_of_the_widest_tail():
    """Not what a sum over cells lacks: a reaction alone is exact at centres, and need not resolve a ridge."""
    target = wfr.Gaussian([1.0, -2.0], [[1.0, 0.8], [0.8, 1.0]])
    rotation = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)
    answer = answers.Normal(lambda t: target, lambda t: target).turned(rotation, np.array([1.0, -2.0]))
    outside = answer.outside(0.0, np.array([-3.0, -9.0]), np.array([4.0, 9.0]))
    tails = quad(lambda y: np.exp(-(y**2) / 3.6) / math.sqrt(3.6 * math.pi), -3.0, 4.0)[0]
    assert outside == pytest.approx(1 - tails, rel=1e-9)
    assert answers.Normal(lambda t: target, lambda t: target).outside(
        0.0, np.array([-40.0, -5.0]), np.array([40.0, 40.0])
    ) == pytest.approx(0.0013498980316300933, rel=1e-12)
