"""Noised data: closed forms, quadrature, the far tails, the clock of reversed paths, what is refused."""

import math
import pickle

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.targets.noised_density import NoisedDensity

MIXTURE = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], 0.09)
PLANE = wfr.GaussianMixture([[-1, 0], [1, 0.5]], [0.4, 0.6], [[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.4]]])
SCHEDULES = {"VP": wfr.VP(), "VE": wfr.VE(0.01, 5.0), "OU": wfr.OU(3.0)}
ALL = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def by_quadrature(data, alpha, sigma, x, lower, upper, n=40001):
    """log ∫ p_0(y) N(x; alpha y, sigma²) dy by the trapezoidal rule, which is spectral here, in the log-domain."""
    y = np.linspace(lower, upper, n)
    terms = data.log_density(y[:, None]) - (data.log_normaliser or 0.0) - 0.5 * ((x[:, None] - alpha * y) / sigma) ** 2
    top = terms.max(axis=1)
    total = top + np.log(np.exp(terms - top[:, None]).sum(axis=1) * (y[1] - y[0]))
    return total - math.log(sigma * math.sqrt(2 * math.pi))


@ALL
def test_mixtures_are_the_convolution(schedule):
    path, x = wfr.Noised(MIXTURE, schedule), np.linspace(-6, 6, 41)
    for share in (0.1, 0.5, 1.0):
        t = share * schedule.t_end
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        expected = by_quadrature(MIXTURE, alpha, sigma, x, -30, 30)
        np.testing.assert_allclose(path.at(t).log_density(x[:, None]), expected, rtol=0, atol=1e-11)


@ALL
def test_gaussians_and_planes_are_in_closed_form(schedule):
    t = 0.4 * schedule.t_end
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    gaussian = wfr.Gaussian([1.0, -2.0], [[1.0, 0.3], [0.3, 0.5]])
    found = wfr.Noised(gaussian, schedule).at(t)
    assert isinstance(found, wfr.Gaussian)
    np.testing.assert_allclose(found.mean, alpha * gaussian.mean, rtol=1e-15)
    np.testing.assert_allclose(found.covariance, alpha**2 * gaussian.covariance + sigma**2 * np.eye(2), rtol=1e-14)
    found = wfr.Noised(PLANE, schedule).at(t)
    np.testing.assert_allclose(found.means, alpha * PLANE.means, rtol=1e-15)
    noised = alpha**2 * PLANE.covariances + sigma**2 * np.eye(2)
    np.testing.assert_allclose(found.covariances, noised, rtol=1e-14, atol=1e-17)
    again = wfr.GaussianMixture(found.means, found.weights, found.covariances)  # with all checks
    x = np.random.default_rng(5).normal(size=(9, 2))
    assert found == again
    assert repr(found) == repr(again)
    assert np.array_equal(found.log_density(x), again.log_density(x))
    assert np.array_equal(found.score(x), again.score(x))
    with pytest.raises(ValueError, match="read-only"):
        found.covariances[0] = 1.0
    assert wfr.Noised(PLANE, schedule).at(0.0) is PLANE
    assert isinstance(wfr.Noised(wfr.FourModes(), schedule).at(t), wfr.GaussianMixture)


@ALL
def test_the_law_solves_the_forward_equation(schedule):
    """d p / dtau = -k div(x p) + Laplacian p, by differences of order 4 in tau, for a mixture in two dimensions."""
    path, tau, h = wfr.Noised(PLANE, schedule), 0.5, 1e-3
    x = np.random.default_rng(0).normal(size=(20, 2))

    def law(tau):
        return path.at(schedule.time(tau))

    rates = sum(w * law(tau + k * h).log_density(x) for k, w in ((-2, 1), (-1, -8), (1, 8), (2, -1))) / (12 * h)
    score, d, k = law(tau).score(x), 1e-3, schedule.drift_factor
    laplacian = sum(
        (law(tau).score(x + d * e)[:, i] - law(tau).score(x - d * e)[:, i]) / (2 * d) for i, e in enumerate(np.eye(2))
    )
    expected = -k * (2 + np.sum(x * score, axis=1)) + laplacian + np.sum(score**2, axis=1)
    np.testing.assert_allclose(rates, expected, rtol=0, atol=2e-5)  # d² in the Laplacian


class TestDensities:
    """Data on a grid."""

    GRID = wfr.Grid(-5.0, 5.0, 240)

    @ALL
    @pytest.mark.parametrize("share", [1e-6, 0.02, 0.3, 1.0])
    def test_agrees_with_the_closed_form_far_out(self, schedule, share):
        """Gaussian data go on as the parabola that they are, so that values to hundreds of nats are right."""
        gaussian = wfr.Gaussian(0.4, 0.3)
        t = schedule.time(share * schedule.noise_time(schedule.t_end))
        closed = wfr.Noised(gaussian, schedule).at(t)
        summed = wfr.Noised(self.GRID.density(gaussian), schedule).at(t)
        assert isinstance(summed, NoisedDensity)
        x = np.linspace(-9, 9, 77)[:, None]
        expected = closed.log_density(x) - closed.log_normaliser
        np.testing.assert_allclose(summed.log_density(x), expected, rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(summed.score(x), closed.score(x), rtol=1e-9, atol=2e-8)
        assert np.ptp(expected) > (1.7 if schedule.drift_factor == 0 else 30)

    @ALL
    def test_mixtures_in_one_and_two_dimensions(self, schedule):
        t = 0.5 * schedule.t_end
        for data, grid in ((MIXTURE, self.GRID), (PLANE, wfr.Grid([-5, -5], [5, 5], 100))):
            closed = wfr.Noised(data, schedule).at(t)
            summed = wfr.Noised(grid.density(data), schedule).at(t)
            # a cell and more away from the walls, beyond which a parabola goes on, and the mixture does not
            points = wfr.Grid([-4] * grid.ndim, [4] * grid.ndim, 30).points()
            np.testing.assert_allclose(summed.log_density(points), closed.log_density(points), rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(summed.score(points), closed.score(points), rtol=1e-9, atol=1e-9)
            scattered = np.random.default_rng(1).uniform(-4, 4, (50, grid.ndim))
            np.testing.assert_allclose(
                summed.log_density(scattered), closed.log_density(scattered), rtol=1e-11, atol=1e-11
            )
            np.testing.assert_allclose(summed.score(scattered), closed.score(scattered), rtol=1e-9, atol=1e-9)

    def test_points_of_a_grid_and_the_same_points_in_a_list(self):
        grid = wfr.Grid([-4, -4], [4, 4], 48)
        law = wfr.Noised(grid.density(PLANE), wfr.OU()).at(0.7)
        points = 3 * grid.points()  # up to three boxes away: some hundred nats
        rows = law.log_density(points.reshape(-1, 2)).reshape(grid.shape)
        assert np.ptp(rows) > 100
        np.testing.assert_allclose(law.log_density(points), rows, rtol=1e-13, atol=1e-12)
        np.testing.assert_allclose(law.score(points).reshape(-1, 2), law.score(points.reshape(-1, 2)), rtol=1e-11)

    @pytest.mark.parametrize("t", [0.0, 1e-9, 1e-4])
    def test_little_noise_is_seen_between_the_cells(self, t):
        """Ten-point interpolation in cells of a seventh of a standard deviation, and the rule for the noise."""
        closed = wfr.Noised(MIXTURE, wfr.OU()).at(t)
        summed = wfr.Noised(self.GRID.density(MIXTURE), wfr.OU()).at(t)
        x = np.random.default_rng(2).uniform(-4, 4, (200, 1))
        np.testing.assert_allclose(summed.log_density(x), closed.log_density(x), rtol=0, atol=1e-3)
        x = x[np.abs(x[:, 0] + 0.025) > 1]  # away from the ridge, of 33 nats per length, where the modes meet
        np.testing.assert_allclose(summed.log_density(x), closed.log_density(x), rtol=0, atol=1e-9)
        np.testing.assert_allclose(summed.score(x), closed.score(x), rtol=0, atol=1e-7)

    def test_both_ways_meet(self):
        """At noise of a cell and a half the sum takes over from the rule: they agree beside it."""
        data, alpha = self.GRID.density(wfr.CoshDoubleWell(2.0)), 1.0
        x = np.linspace(-3, 3, 61)[:, None]
        width = 10 / 240
        noised = wfr.Noised(data, wfr.OU())
        below, above = (NoisedDensity(noised._cells, alpha, factor * width) for factor in (1.5 - 1e-9, 1.5 + 1e-9))
        assert above._is_summed
        assert not below._is_summed
        np.testing.assert_allclose(below.log_density(x), above.log_density(x), rtol=0, atol=1e-7)

    def test_what_the_law_says_of_itself(self):
        data = self.GRID.density(MIXTURE)
        law, closed = wfr.Noised(data, wfr.OU()).at(0.5), wfr.Noised(MIXTURE, wfr.OU()).at(0.5)
        for found, expected in zip(law.moments(), closed.moments(), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10)
        lower, upper = law.box(1e-10)
        inside = self.GRID.density(closed)
        beyond = (self.GRID.points()[:, 0] < lower[0]) | (self.GRID.points()[:, 0] > upper[0])
        assert inside.values[beyond].sum() * 10 / 240 < 1e-10
        assert upper[0] < 7.5
        assert "sha256" in repr(wfr.Noised(data, wfr.OU()))
        assert repr(wfr.Noised(data, wfr.OU())) != repr(wfr.Noised(self.GRID.density(wfr.Gaussian(0, 1)), wfr.OU()))

    def test_draws(self):
        law = wfr.Noised(self.GRID.density(MIXTURE), wfr.OU()).at(0.5)
        draws = law.sample(20_000, rng=1)
        mean, covariance = law.moments()
        assert abs(draws.mean() - mean[0]) < 5 * math.sqrt(covariance[0, 0] / 20_000)
        assert draws.var() == pytest.approx(covariance[0, 0], rel=0.04)

    def test_a_law_is_remembered_for_some_times(self):
        path = wfr.Noised(self.GRID.density(MIXTURE), wfr.OU())
        assert path.at(0.3) is path.at(0.3)
        for t in np.linspace(0.4, 2.0, 64):
            path.at(float(t))
        assert len(path.__dict__["_kept"]) <= 32
        again = pickle.loads(pickle.dumps(path))
        assert again == path
        x = np.array([[0.2]])
        assert again.at(0.3).log_density(x) == path.at(0.3).log_density(x)

    def test_what_data_on_a_grid_must_be(self):
        for grid, message in (
            (wfr.Grid(-5, 5, 64, boundary="periodic"), "periodic"),
            (wfr.Grid(-5, 5, 8), "12 or more equal cells"),
            (wfr.Grid.from_edges(np.linspace(-2, 2, 41) ** 3), "graded"),
        ):
            density = wfr.Density(grid, -0.5 * grid.points()[:, 0] ** 2)
            with pytest.raises(ValueError, match=message):
                wfr.Noised(density, wfr.OU())
        flat = wfr.Density(self.GRID, np.zeros(240))
        with pytest.raises(ValueError, match=r"as log p_0 falls towards the walls, 0\.67 of the mass are outside"):
            wfr.Noised(flat, wfr.OU())
        with pytest.raises(ValueError, match="finite log-values"):
            wfr.Noised(wfr.Density(self.GRID, np.full(240, -np.inf)), wfr.OU())


@ALL
@pytest.mark.parametrize("data", [MIXTURE, wfr.Gaussian(0.0, 1e-4), wfr.Gaussian(0.0, 30.0)], ids=["m", "narrow", "w"])
def test_the_clock(schedule, data):
    """Equal steps of s are equal steps of u; noise_rate is the derivative of noise_time; all parts say the same."""
    back = wfr.Noised(data, schedule).reversed()
    variance = 0.09 if data is MIXTURE else float(data.covariance[0, 0])  # of the components
    s = np.linspace(0, 1, 11)
    u = [
        0.5 * math.log(variance + (schedule.sigma(t) / schedule.alpha(t)) ** 2)
        for t in (back.schedule_time(float(one)) for one in s)
    ]
    np.testing.assert_allclose(np.diff(u), (u[-1] - u[0]) / 10, rtol=1e-9)
    assert (back.schedule_time(0.0), back.schedule_time(1.0)) == (schedule.t_end, 0.0)
    assert back.noise_time(1.0) == 0
    for one in (0.01, 0.3, 0.7, 0.99):
        assert back.noise_time(one) == pytest.approx(schedule.noise_time(back.schedule_time(one)), rel=1e-12)
        rate = -(back.noise_time(one + 1e-5) - back.noise_time(one - 1e-5)) / 2e-5
        assert back.noise_rate(one) == pytest.approx(rate, rel=1e-6)
        law = back.at(one)  # du/ds is noise_rate over the variance of p, or of its components
        variance_now = float((law.component(0) if data is MIXTURE else law).covariance[0, 0])
        assert back.noise_rate(one) / variance_now == pytest.approx(u[0] - u[-1], rel=1e-9)
        x = np.array([[0.3], [-2.0]])
        np.testing.assert_array_equal(back.at(one).score(x), back.path.at(back.schedule_time(one)).score(x))


def test_the_scale_is_that_of_the_score():
    """d over E|grad log p_0|²: Gaussians in closed form, mixtures up to where their components overlap."""
    assert wfr.Noised(wfr.Gaussian([0, 0], [1.0, 0.25]), wfr.OU()).scale == pytest.approx(2 / (1 + 4), rel=1e-12)
    grid = wfr.Grid(-6, 6, 400)
    score = MIXTURE.score(grid.points())[:, 0]
    information = float(grid.integrate(grid.density(MIXTURE).values * score**2))
    assert wfr.Noised(MIXTURE, wfr.OU()).scale == pytest.approx(1 / information, rel=1e-4)
    # differences over two cells of a tenth of a standard deviation: (0.1)²/3 and a little
    assert wfr.Noised(grid.density(MIXTURE), wfr.OU()).scale == pytest.approx(1 / information, rel=0.02)


def test_a_part_of_the_path():
    back = wfr.Noised(MIXTURE, wfr.VP()).reversed(t_start=0.8, t_stop=1e-3)
    assert (back.schedule_time(0.0), back.schedule_time(1.0)) == (0.8, 1e-3)
    assert back.at(1.0).component(0).covariance[0, 0] > 0.09
    assert eval(repr(back), vars(wfr) | vars(wfr.targets)) == back


def test_moving_laws_have_no_density_of_their_own():
    path = wfr.Noised(MIXTURE, wfr.VP())
    for law in (path, path.reversed()):
        assert law.moving
        for method in (law.log_density, law.score, law.sample):
            with pytest.raises(ValueError, match=r"moves, its law depends on time: use path.at\(t\)"):
                method([[0.0]])
        with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
            law.at(1.01)
        lower, upper = law.box(1e-12)
        assert lower[0] < -4  # of MIXTURE to -3.6, of N(0, 1) to -7
        assert upper[0] > 4
    box = wfr.Noised(wfr.Gaussian(5.0, 0.01), wfr.OU()).box(1e-9)
    for t in np.linspace(0, 3, 40):
        at = wfr.Noised(wfr.Gaussian(5.0, 0.01), wfr.OU()).at(float(t)).box(1e-9)
        assert box[0][0] <= at[0][0]
        assert box[1][0] >= at[1][0]


def test_wrong_arguments():
    for data, error, message in (
        (
            wfr.DoubleWell(2.0),
            TypeError,
            r"put it on a grid of equal cells, Noised\(grid.density\(target\), schedule\)",
        ),
        (wfr.Gaussian, TypeError, "data must be"),
        (3.0, TypeError, "data must be"),
        (wfr.GeometricPath(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)), ValueError, "does not move"),
        (wfr.Gaussian(0.0, 1e300), ValueError, "length scale of the data must be between"),
        (wfr.Gaussian(0.0, 1e-300), ValueError, "length scale of the data must be between"),
    ):
        with pytest.raises(error, match=message):
            wfr.Noised(data, wfr.VP())
    with pytest.raises(TypeError, match=r"schedule must be a Schedule such as VP\(\)"):
        wfr.Noised(MIXTURE, "VP")
    path = wfr.Noised(MIXTURE, wfr.VP())
    with pytest.raises(ValueError, match="t_stop must be below t_start"):
        path.reversed(0.2, 0.3)
    with pytest.raises(ValueError, match=r"t_start must be in \[0, 1\]"):
        path.reversed(2.0)
    with pytest.raises(ValueError, match="nothing of the data is left"):
        wfr.Noised(MIXTURE, wfr.OU(400.0)).reversed()
    with pytest.raises(TypeError, match="path must be a Noised"):
        wfr.targets.ReversedPath(MIXTURE)
    with pytest.raises(ValueError, match=r"s must be in \[0, 1\], .*got nan"):
        path.reversed().noise_rate(math.nan)
