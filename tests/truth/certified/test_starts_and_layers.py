"""What an attack from outside broke: spikes of the start, second breaks beside a break, tails of KL, tiny times.

The right values are closed forms, or integrals by panels that end at every break.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

import wfr_pde as wfr
from wfr_pde.targets.break_search import find_kinks

REACTION = {"transport_rate": 0.0}
WIDTH, HEIGHT, PLACE = 1e-5, 1e5, 0.31
SPIKED = f"x**2/2 - log1p({HEIGHT}*exp(-(x - {PLACE})**2/(2*{WIDTH}**2)))"


def spiked(x):
    return x**2 / 2 - np.log1p(HEIGHT * np.exp(-((x - PLACE) ** 2) / (2 * WIDTH**2)))


class Spiked(wfr.Target):
    ndim = 1

    def log_density(self, points):
        return -spiked(np.asarray(points)[..., 0])


def kl_of_the_spiked():
    """KL of the spiked start to N(0, 1): ∫ p log(p/q) with p = q (1 + H exp(...)) / (1 + s)."""
    bulk = math.sqrt(2 * math.pi)
    share, _ = quad(lambda u: HEIGHT * WIDTH * math.exp(-(u**2) / 2 - (PLACE + WIDTH * u) ** 2 / 2), -40, 40)
    share /= bulk

    def excess(u):
        rise = HEIGHT * math.exp(-(u**2) / 2)
        return WIDTH * (1 + rise) * math.log1p(rise) * math.exp(-((PLACE + WIDTH * u) ** 2) / 2)

    inner, _ = quad(excess, -40, 40, points=[-5, 0, 5], limit=200)
    return inner / bulk / (1 + share) - math.log1p(share)


@pytest.mark.parametrize(
    "start", [lambda: wfr.Potential(SPIKED), lambda: wfr.Potential(spiked), Spiked], ids=["text", "function", "class"]
)
def test_a_spike_of_the_start_is_seen_and_resolved(start):
    truth = wfr.ground_truth(wfr.Potential("x**2/2"), start(), [0, 1], rtol=1e-5, **REACTION)
    assert abs(truth.kl.values[0] - kl_of_the_spiked()) <= truth.error_kl.values[0]
    assert truth.kl.values[0] > 4.7


def test_a_spike_on_a_line_of_the_plane_is_seen():
    start = wfr.Potential(f"{SPIKED} + y**2/2")
    truth = wfr.ground_truth(wfr.Gaussian([0, 0], 1), start, [0, 1], rtol=1e-3, **REACTION)
    assert abs(truth.kl.values[0] - kl_of_the_spiked()) <= truth.error_kl.values[0]


def test_the_look_of_a_start_that_hides_is_in_the_report():
    start = wfr.Potential(lambda x: x**2 / 2 - 0.5 * np.log(np.abs(x - 0.3)))  # no cells show the whole of a cusp
    with pytest.raises((ValueError, ArithmeticError), match="breaks="):
        wfr.ground_truth(start, wfr.Gaussian(0.6, 0.09), [0, 1], rtol=1e-5, **REACTION)


def kl_in_pieces(potential, places, normal=(0.6, 0.09)):
    """KL of a Gaussian to exp(-V), by quadrature between the places where V jumps."""
    mean, variance = normal
    edges = [-12.0, *places, 12.0]

    def integral(f):
        return sum(quad(f, a, b, limit=400, epsabs=1e-13, epsrel=1e-12)[0] for a, b in itertools.pairwise(edges))

    def p(x):
        return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    normaliser = integral(lambda x: math.exp(-potential(x)))
    of_v = sum(
        quad(lambda x: p(x) * potential(x), max(a, mean - 4), min(b, mean + 4), limit=400, epsabs=1e-13)[0]
        for a, b in itertools.pairwise(edges)
        if min(b, mean + 4) > max(a, mean - 4)
    )
    return of_v + math.log(normaliser) - 0.5 * math.log(2 * math.pi * variance) - 0.5


@pytest.mark.parametrize("apart", [3e-4, 6e-4])
def test_two_jumps_close_together_are_both_found(apart):
    def two_jumps(x):
        return x**2 / 2 + 2.0 * (x > 0) + 2.0 * (x > apart)

    found = find_kinks(two_jumps, -8.0, 8.0)
    np.testing.assert_allclose(found, [0.0, apart], atol=1e-9)
    truth = wfr.ground_truth(wfr.Potential(two_jumps), wfr.Gaussian(0.6, 0.09), [0, 1], rtol=1e-5, **REACTION)
    assert abs(truth.kl.values[0] - kl_in_pieces(two_jumps, [0.0, apart])) <= truth.error_kl.values[0]


def test_a_break_that_is_named_wrongly_does_not_hide_the_right_one():
    def one_jump(x):
        return x**2 / 2 + 2.0 * (x > 0)

    target = wfr.Potential(one_jump, breaks=[1e-3])
    truth = wfr.ground_truth(target, wfr.Gaussian(0.6, 0.09), [0, 1], rtol=1e-5, **REACTION)
    assert abs(truth.kl.values[0] - kl_in_pieces(one_jump, [0.0])) <= truth.error_kl.values[0]


def test_a_steep_layer_beside_a_break_is_part_of_the_bound():
    def steep(x):
        return x**2 / 2 + 2 * np.tanh(x / 1e-6)

    truth = wfr.ground_truth(wfr.Potential(steep), wfr.Gaussian(0.6, 0.09), [0, 1], rtol=1e-3, **REACTION)
    right = kl_in_pieces(steep, [-1e-4, -1e-5, -1e-6, 0.0, 1e-6, 1e-5, 1e-4])
    assert abs(truth.kl.values[0] - right) <= truth.error_kl.values[0]
    assert truth.error_l1.values[1] > 1e-7


@pytest.mark.parametrize(("rate", "finite"), [(1.02, True), (1.1, True), (0.98, False)])
def test_kl_of_a_tail_that_the_margin_does_not_hold(rate, finite):
    target, start = wfr.Potential("x**2/2 + 1e-4*cosh(x)"), wfr.Potential(f"{rate}*abs(x)")
    truth = wfr.ground_truth(target, start, [0, 1], rtol=1e-3, strict=False, **REACTION)
    if not finite:
        assert math.isinf(truth.error_kl.values[0])
        return
    normaliser, _ = quad(lambda x: math.exp(-(x**2) / 2 - 1e-4 * math.cosh(x)), -12, 12, epsabs=1e-14)
    kl = math.log(rate / 2) - 1 + 1 / rate**2 + 1e-4 * rate**2 / (rate**2 - 1) + math.log(normaliser)
    assert abs(truth.kl.values[0] - kl) <= truth.error_kl.values[0]


def test_kl_of_a_power_tail():
    target, start = wfr.Potential("(1 + (x/30)**2)**2.4"), wfr.Potential("3*log(1 + x**2/5)")
    truth = wfr.ground_truth(target, start, [0, 1], rtol=1e-3, strict=False, **REACTION)

    def v(x):
        return (1 + (x / 30) ** 2) ** 2.4

    def s(x):
        return 3 * math.log1p(x**2 / 5)

    z_start, z_target = (2 * quad(lambda x, f=f: math.exp(-f(x)), 0, math.inf)[0] for f in (s, v))
    kl = 2 * quad(lambda x: math.exp(-s(x)) * (v(x) - s(x)), 0, math.inf, limit=500)[0] / z_start
    kl += math.log(z_target) - math.log(z_start)
    assert abs(truth.kl.values[0] - kl) <= truth.error_kl.values[0]


@pytest.mark.parametrize("sd", [1e-3, 1e-4])
def test_a_reaction_over_a_tiny_time_keeps_its_digits(sd):
    times = [0.0, 3e-9, 1e-8, 3e-8]
    options = {"box": (-8, 10), "max_cut": 1.0, "rtol": 1e-5, "strict": False, **REACTION}
    truth = wfr.ground_truth(wfr.Gaussian(0, sd**2), wfr.Gaussian(1, 1), times, **options)
    for t, kl, error in zip(times, truth.kl.values, truth.error_kl.values, strict=True):
        s, rest = math.exp(-t), -math.expm1(-t)
        precision = s + rest / sd**2
        mean, ratio = s / precision, 1 / (precision * sd**2)
        exact = 0.5 * (ratio - 1 - math.log(ratio) + mean**2 / sd**2)
        assert abs(kl - exact) <= error
        assert error < 1e-6 * exact


@pytest.mark.parametrize(
    ("potential", "mean"),
    [
        ("x**2/2 + x*Heaviside(t - 0.51371)", -(1 - math.exp(0.51371 - 1))),
        (f"x**2/2 + {0.2 / (3e-3 * math.sqrt(math.pi))!r}*x*exp(-((t - 0.51371)/3e-3)**2)", None),
    ],
    ids=["jump", "kick"],
)
def test_a_reaction_follows_a_target_that_jumps_or_is_kicked(potential, mean):
    if mean is None:  # of N(0, 1) under reaction to N(b(t), 1): dm/dt = b - m
        mean = -quad(
            lambda t: math.exp(t - 1) * 0.2 / (3e-3 * math.sqrt(math.pi)) * math.exp(-(((t - 0.51371) / 3e-3) ** 2)),
            0.48, 0.55, epsabs=1e-13,
        )[0]  # fmt: skip
    target = wfr.Potential(potential, ndim=1)
    truth = wfr.ground_truth(target, wfr.Gaussian(0, 1), [0, 1], rtol=1e-4, **REACTION)
    b = -1.0 if "Heaviside" in potential else 0.0
    assert abs(truth.kl.values[1] - (mean - b) ** 2 / 2) <= truth.error_kl.values[1] + 1e-9


def test_a_spike_far_below_the_top_of_the_start_is_seen_where_the_target_has_its_mass():
    start = wfr.Potential("x**2/(2*0.04) - log1p(exp(200)*exp(-(x - 5.0137)**2/(2*1e-10)))")
    truth = wfr.ground_truth(wfr.Gaussian(5, 1), start, [0, 3], rtol=1e-5, **REACTION)
    assert abs(truth.kl.values[1] - 4.1398106373) <= truth.error_kl.values[1] + 1e-10  # by mpmath, and by panels


def test_a_spike_of_a_target_that_moves_is_seen():
    target = wfr.Potential(f"{SPIKED} + 1e-9*t*x")
    truth = wfr.ground_truth(target, wfr.Gaussian(0.5, 0.25), [0, 1], rtol=1e-4, **REACTION)
    rest = wfr.ground_truth(wfr.Potential(SPIKED), wfr.Gaussian(0.5, 0.25), [0, 1], rtol=1e-4, **REACTION)
    assert truth.kl.values[0] > 1.1  # 0.443 without the spike
    np.testing.assert_allclose(truth.kl.values, rest.kl.values, rtol=1e-6)


def test_a_log_density_that_has_changed_gets_a_new_box():
    weight = [0.0]

    def potential(x):
        with np.errstate(divide="ignore"):
            return -np.logaddexp(-(x**2) / 2, np.log(weight[0]) - (x - 15) ** 2 / 2)

    target, start = wfr.Potential(potential), wfr.Gaussian(0.5, 0.5)
    alone = wfr.ground_truth(target, start, [0, 1], rtol=1e-4, **REACTION)
    weight[0] = 1.0
    pair = wfr.ground_truth(target, start, [0, 1], rtol=1e-4, **REACTION)
    assert abs(pair.kl.values[0] - 0.914720771) <= pair.error_kl.values[0] + 1e-9  # by mpmath
    assert pair.kl.values[0] > alone.kl.values[0] + 0.5


@pytest.mark.parametrize(
    ("bound", "right"), [(1.0, math.inf), (0.2, 0.354998738 + 0.011317063)], ids=["no end", "an end"]
)
def test_kl_that_comes_back_beyond_the_box_is_looked_for(bound, right):
    text = "1e-30*cosh(1.5*x)" if math.isinf(right) else "1e-28*exp(1.5*x)/(1 + exp(1.5*x - 150))"
    target, start = wfr.Potential(f"x**2/2 + {text}"), wfr.Potential("0.9*abs(x)")
    truth = wfr.ground_truth(target, start, [0, 1], rtol=1e-4, strict=False, **REACTION)
    error = truth.error_kl.values[0]
    assert error > 1e6 if math.isinf(right) else abs(truth.kl.values[0] - right) <= error < bound


def test_kl_that_comes_back_between_the_box_and_the_origin_is_looked_for():
    u = "(200 - x)"  # it comes back at x = 100, below a box around 200
    target = wfr.Potential(f"{u}**2/2 + 1e-28*exp(1.5*{u})/(1 + exp(1.5*{u} - 150))")
    truth = wfr.ground_truth(target, wfr.Potential(f"0.9*abs({u})"), [0, 1], rtol=1e-4, strict=False, **REACTION)
    assert abs(truth.kl.values[0] - 0.366315801) <= truth.error_kl.values[0] < 0.2
