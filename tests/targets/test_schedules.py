"""Noise schedules: closed forms, inverses, tiny times, what is refused."""

import math

import numpy as np
import pytest

import wfr_pde as wfr

SCHEDULES = {
    "VP": wfr.VP(),
    "VP constant": wfr.VP(2.0, 2.0),
    "VP from zero": wfr.VP(0.0, 5.0),
    "VE": wfr.VE(),
    "OU": wfr.OU(2.5),
}
ALL = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def simpson(function, a, b, n=2000):
    x = np.linspace(a, b, 2 * n + 1)
    y = np.array([function(float(one)) for one in x])
    return (b - a) / (6 * n) * (y[0] + y[-1] + 4 * y[1::2].sum() + 2 * y[2:-1:2].sum())


def test_noise_times_are_integrals_of_the_rates_of_the_papers():
    vp, ve = wfr.VP(0.1, 20.0), wfr.VE(0.01, 50.0)
    for t in (0.2, 0.7, 1.0):
        beta = simpson(lambda s: 0.1 + s * 19.9, 0.0, t)
        assert vp.alpha(t) == pytest.approx(math.exp(-beta / 2), rel=1e-12)
        assert vp.sigma(t) ** 2 == pytest.approx(1 - math.exp(-beta), rel=1e-12)
        assert vp.noise_time(t) == pytest.approx(beta / 2, rel=1e-12)
        # g² = d sigma²/dt = sigma_min² r^2t 2 log r; Simpson's rule at (log r)^4 h^4 / 180
        g2 = simpson(lambda s: 0.01**2 * 5000.0 ** (2 * s) * 2 * math.log(5000.0), 0.0, t)
        assert ve.sigma(t) ** 2 == pytest.approx(g2, rel=1e-9)
        assert ve.sigma(t) ** 2 == pytest.approx(0.01**2 * (5000.0 ** (2 * t) - 1), rel=1e-12)
        assert ve.alpha(t) == 1.0
    ou = wfr.OU(3.0)
    assert (ou.alpha(2.0), ou.sigma(2.0)) == pytest.approx((math.exp(-2), math.sqrt(1 - math.exp(-4))), rel=1e-14)


@ALL
def test_time_is_the_inverse_of_noise_time(schedule):
    for share in (0.0, 1e-12, 1e-5, 0.1, 0.5, 0.999, 1.0):
        t = share * schedule.t_end
        assert schedule.time(schedule.noise_time(t)) == pytest.approx(t, rel=1e-12, abs=0)
    assert schedule.time(schedule.noise_time(schedule.t_end)) <= schedule.t_end


@ALL
def test_tiny_times_are_right_to_rounding(schedule):
    """Against sums of the first terms: sigma² = 2 tau - 2 tau² for the variance preserving ones."""
    tau = 1e-12
    t = schedule.time(tau)
    assert schedule.sigma(t) ** 2 == pytest.approx(2 * tau * (1 + schedule.drift_factor * tau), rel=1e-14)
    assert schedule.log_snr(t) == pytest.approx(-math.log(2 * tau) + schedule.drift_factor * tau, rel=1e-14)
    assert schedule.sigma(0.0) == 0
    assert schedule.alpha(0.0) == 1
    assert schedule.log_snr(0.0) == math.inf


@ALL
def test_log_snr_is_that_of_alpha_and_sigma(schedule):
    for t in np.array([0.1, 0.5, 1.0]) * schedule.t_end:
        assert schedule.log_snr(t) == pytest.approx(2 * math.log(schedule.alpha(t) / schedule.sigma(t)), abs=1e-13)
    snr = [schedule.log_snr(t) for t in np.linspace(0.0, schedule.t_end, 20)]
    assert all(np.diff(snr) < 0)


@ALL
def test_transitions_compose(schedule):
    """Noise over a noise time and over another one is noise over their sum, from 0 on alpha and sigma."""
    (a, v), (b, w) = schedule.transition(0.3), schedule.transition(0.9)
    both = schedule.transition(1.2)
    assert (a * b, b**2 * v + w) == pytest.approx(both, rel=1e-14)
    t = schedule.time(min(1.2, schedule.noise_time(schedule.t_end)))
    assert (schedule.alpha(t), schedule.sigma(t) ** 2) == pytest.approx(
        schedule.transition(schedule.noise_time(t)), rel=1e-12
    )


@ALL
@pytest.mark.parametrize("name", ["alpha", "sigma", "log_snr", "noise_time", "time"])
def test_times_out_of_range_are_refused(schedule, name):
    of = getattr(schedule, name)
    for value in (-0.01, 1e6, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"must be in \[0, .*got"):
            of(value)
    for value in ("0.5", None, [0.5], True):
        with pytest.raises(ValueError, match="must be"):
            of(value)
    last = schedule.t_end if name != "time" else schedule.noise_time(schedule.t_end)
    assert of(last * (1 + 1e-13)) == of(last)  # rounding counts as the end


def test_wrong_parameters():
    for wrong in (
        lambda: wfr.VP(-1.0, 2.0),
        lambda: wfr.VP(3.0, 2.0),
        lambda: wfr.VP(0.0, 0.0),
        lambda: wfr.VP(0.1, math.inf),
        lambda: wfr.VE(0.0, 2.0),
        lambda: wfr.VE(2.0, 2.0),
        lambda: wfr.VE(0.1, math.nan),
        lambda: wfr.OU(0.0),
        lambda: wfr.OU(-1.0),
        lambda: wfr.OU("three"),
    ):
        with pytest.raises(ValueError, match="must be"):
            wrong()


@ALL
def test_equality_and_repr(schedule):
    again = eval(repr(schedule), {"VP": wfr.VP, "VE": wfr.VE, "OU": wfr.OU})
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert wfr.VP() != wfr.VP(0.2)


def test_a_schedule_of_ones_own():
    class Cosine(wfr.targets.Schedule):
        """alpha = cos(pi t / 2)."""

        t_end, drift_factor = 0.99, -1.0

        def noise_time_at(self, t):
            return -math.log(math.cos(math.pi * t / 2))

        def time_at(self, noise_time):
            return math.acos(math.exp(-noise_time)) * 2 / math.pi

    schedule = Cosine()
    assert schedule.sigma(0.5) == pytest.approx(math.sin(math.pi / 4), rel=1e-12)
    assert schedule.time(schedule.noise_time(0.7)) == pytest.approx(0.7, rel=1e-12)
    with pytest.raises(NotImplementedError, match="must define noise_time_at"):
        wfr.targets.Schedule.noise_time_at(schedule, 0.5)
