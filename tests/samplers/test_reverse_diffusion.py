"""Samplers of reverse diffusions and their laws: closed forms of Gaussian data, particles, orders, refusals."""

import math

import numpy as np
import pytest
from scipy import stats

import wfr_pde as wfr
from wfr_pde.flows.sampler_laws import moved_densities
from wfr_pde.samplers import ReverseDiffusion

MODES = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], [0.09, 0.09])
MODES_BACK = wfr.Noised(MODES, wfr.OU(t_end=3.0)).reversed()
GRID = wfr.Grid(-6.0, 6.0, 240)
WAYS = {
    "euler-maruyama": dict(method="euler-maruyama"),
    "euler-maruyama, little noise": dict(method="euler-maruyama", churn=1e-4),
    "euler": dict(method="euler-maruyama", churn=0.0),
    "much churn": dict(method="euler-maruyama", churn=2.5),
    "ancestral": dict(method="ancestral"),
    "ancestral, forward": dict(method="ancestral", variance="forward"),
    "ddim": dict(method="ddim"),
    "ddim, eta 0.6": dict(method="ddim", churn=0.36),
    "heun": dict(method="heun"),
}


def solved(flow, start, n, t=(0.0, 1.0)):
    return wfr.Density.from_dataset(wfr.solve(None, flow, start, t, (t[-1] - t[0]) / n, progress=False))


def transition(schedule, tau):
    """Alpha and sigma at a noise time, by their textbook formulas."""
    return (
        (1.0, math.sqrt(2 * tau))
        if isinstance(schedule, wfr.VE)
        else (math.exp(-tau), math.sqrt(1 - math.exp(-2 * tau)))
    )


def affine_step(path, options, s, end):
    """The map x -> A x + b of one step and its noise, for Gaussian data: by the formulas of the papers.

    Ho et al., eq. 7; Song, Meng, Ermon, eq. 12; Karras et al., algorithm 1; with the estimate x0 of the data.
    """
    data, schedule, d = path.path.data, path.schedule, path.ndim
    method, k = options["method"], 0.0 if isinstance(path.schedule, wfr.VE) else -1.0
    tau, to_tau, eye = path.noise_time(s), path.noise_time(end), np.eye(path.ndim)
    (alpha, sigma), (to_alpha, to_sigma) = transition(schedule, tau), transition(schedule, to_tau)

    def denoised(alpha, sigma):
        """The mean of the data given x, as (matrix, vector)."""
        gain = alpha * data.covariance @ np.linalg.inv(alpha**2 * data.covariance + sigma**2 * eye)
        return gain, data.mean - alpha * gain @ data.mean

    gain, shift = denoised(alpha, sigma)
    if method == "euler-maruyama":
        h, churn = tau - to_tau, options.get("churn", 1.0)
        precision = np.linalg.inv(alpha**2 * data.covariance + sigma**2 * eye)
        matrix = eye + h * (-k * eye - (1 + churn) * precision)
        return matrix, h * (1 + churn) * precision @ (alpha * data.mean), 2 * churn * h
    if method == "ancestral":
        a = alpha / to_alpha
        beta = sigma**2 - a**2 * to_sigma**2
        of_data, of_point = to_alpha * beta / sigma**2, a * to_sigma**2 / sigma**2
        noise = beta if options.get("variance") == "forward" else beta * to_sigma**2 / sigma**2
        return of_data * gain + of_point * eye, of_data * shift, noise
    if method == "ddim":
        a = alpha / to_alpha
        noise = options.get("churn", 0.0) * to_sigma**2 / sigma**2 * (sigma**2 - a**2 * to_sigma**2)
        along = math.sqrt(to_sigma**2 - noise)
        matrix = to_alpha * gain + along * (eye - alpha * gain) / sigma
        return matrix, to_alpha * shift - along * alpha / sigma * shift, noise
    # y = x/alpha, r = sigma/alpha, dy/dr = (y - D(y; r)) / r
    r, to_r = sigma / alpha, to_sigma / to_alpha

    def slope(alpha, sigma, matrix, vector):
        gain, shift = denoised(alpha, sigma)
        return (matrix - gain @ (alpha * matrix)) * alpha / sigma, (
            vector - gain @ (alpha * vector) - shift
        ) * alpha / sigma

    first = slope(alpha, sigma, eye, np.zeros(d))
    there = eye + (to_r - r) * first[0], (to_r - r) * first[1]
    if to_r > 0:
        second = slope(to_alpha, to_sigma, *there)
        there = tuple(y + (to_r - r) / 2 * (a + b) for y, a, b in zip((eye, np.zeros(d)), first, second, strict=True))
    return to_alpha * there[0] / alpha, to_alpha * there[1], 0.0


def gaussian_law(path, options, start, n):
    """Mean and covariance after n steps."""
    mean, covariance = start.mean, start.covariance
    for i in range(n):
        matrix, vector, noise = affine_step(path, options, i / n, (i + 1) / n)
        mean, covariance = matrix @ mean + vector, matrix @ covariance @ matrix.T + noise * np.eye(len(mean))
    return wfr.Gaussian(mean, covariance)


SCHEDULES = {"OU": wfr.OU(t_end=2.0), "VP": wfr.VP(0.5, 6.0), "VE": wfr.VE(0.05, 2.0)}


@pytest.mark.parametrize("t_stop", [0.0, 0.05])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("way", WAYS)
def test_gaussian_data_on_a_line_in_closed_form(way, schedule, t_stop):
    path = wfr.Noised(wfr.Gaussian(0.7, 0.4), schedule).reversed(t_stop=t_stop)
    box = 5.0 + 12 * schedule.sigma(schedule.t_end)
    start = wfr.Gaussian(0.3, 0.9 * float(path.at(0.0).covariance[0, 0]))
    grid = wfr.Grid(-box, box, 512)
    end = solved(ReverseDiffusion(path, **WAYS[way]), grid.density(start), 8)
    truth = gaussian_law(path, WAYS[way], start, 8)
    assert abs(end.mean()[0] - truth.mean[0]) < 1e-11
    assert abs(end.covariance()[0, 0] - truth.covariance[0, 0]) < 1e-11
    expected = grid.density(truth)
    assert float(grid.integrate(np.abs(end.values - expected.values))) < 1e-10
    near = expected.log_values > expected.log_values.max() - 40
    assert np.abs(end.log_values - expected.log_values)[near].max() < 1e-7


@pytest.mark.parametrize("way", ["euler-maruyama", "ancestral", "ddim", "heun", "ddim, eta 0.6"])
def test_gaussian_data_in_the_plane_in_closed_form(way):
    path = wfr.Noised(wfr.Gaussian([0.7, -0.3], [[0.6, 0.3], [0.3, 0.5]]), wfr.OU(t_end=2.0)).reversed()
    start = wfr.Gaussian([0.3, 0.1], [[1.0, -0.2], [-0.2, 0.8]])
    grid = wfr.Grid([-8.0, -7.5], [8.0, 8.0], (96, 88))
    end = solved(ReverseDiffusion(path, **WAYS[way]), grid.density(start), 5)
    truth = gaussian_law(path, WAYS[way], start, 5)
    assert np.abs(end.mean() - truth.mean).max() < 1e-8
    assert np.abs(end.covariance() - truth.covariance).max() < 1e-8
    assert float(grid.integrate(np.abs(end.values - grid.density(truth).values))) < 1e-7


def test_all_noise_of_the_posterior_makes_ddim_ancestral():
    a, b = (
        solved(ReverseDiffusion(MODES_BACK, **one), GRID.density(MODES_BACK.at(0.0)), 6)
        for one in (dict(method="ddim", churn=1.0), dict(method="ancestral"))
    )
    np.testing.assert_allclose(a.values, b.values, rtol=0, atol=1e-11)


@pytest.mark.parametrize("way", WAYS)
def test_particles_have_the_law(way):
    """Counts between quantiles of the law, and means; the bins are fine enough to tell the law from the data."""
    n, bins, steps = 100_000, 30, 8
    flow = ReverseDiffusion(MODES_BACK, **WAYS[way])
    law = solved(flow, wfr.Grid(-6.0, 6.0, 480).density(MODES_BACK.at(0.0)), steps)
    run = wfr.solve(None, flow, MODES_BACK.at(0.0).sample(n, rng=1), [0, 1], 1 / steps, rng=2, progress=False)
    x = run["position"].values[-1, :, 0]

    def p_value(density):
        cumulative = np.concatenate([[0.0], np.cumsum(density.values * GRID.axes[0].length / 480)])
        edges = np.linspace(-6, 6, 481)
        inner = edges[np.searchsorted(cumulative, np.arange(1, bins) / bins)]
        bounds = np.concatenate([[-np.inf], np.unique(inner), [np.inf]])
        expected = np.diff(np.interp(bounds, edges, cumulative, left=0.0, right=1.0))
        return stats.chisquare(np.histogram(x, bounds)[0], n * expected / expected.sum()).pvalue

    assert p_value(law) > 1e-5
    assert p_value(law.grid.density(MODES)) < 1e-12
    for power in (1, 2, 4):
        error = (x**power).std() / math.sqrt(n)
        assert abs((x**power).mean() - law.expectation(lambda points, k=power: points[..., 0] ** k)) < 5 * error


def l1_to_the_path(path, n, **options):
    start = wfr.Grid(-6.0, 6.0, 320).density(path.at(0.0))
    end = solved(ReverseDiffusion(path, **options), start, n)
    return float(end.grid.integrate(np.abs(end.values - end.grid.density(path.at(1.0)).values)))


@pytest.mark.parametrize(
    ("options", "t_stop", "order"),
    [
        (dict(method="euler-maruyama"), 0.0, 1),
        (dict(method="ancestral"), 0.05, 1),
        (dict(method="ddim"), 0.05, 1),
        (dict(method="heun"), 0.05, 2),
        (dict(method="heun"), 0.0, 1),
    ],
)
def test_order(options, t_stop, order):
    """By the distance to the path, which the exact score keeps."""
    path = wfr.Noised(MODES, wfr.OU(t_end=3.0)).reversed(t_stop=t_stop)
    errors = [l1_to_the_path(path, n, **options) for n in (40, 80, 160)]
    assert ReverseDiffusion(path, **options).order == order
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.2)


def test_scores_of_users_in_single_precision():
    """As they come from networks: asked at the time of the schedule; the law differences them more widely."""
    schedule = wfr.VP()
    path = wfr.Noised(wfr.Gaussian(0.5, 0.3), schedule).reversed()
    times = []

    def score(points, t):
        times.append(t)
        return path.path.at(t).score(points).astype(np.float32)

    for method in ("euler-maruyama", "heun"):
        times.clear()
        start = wfr.Grid(-6.0, 6.0, 200).density(path.at(0.0))
        rough, fine = (solved(ReverseDiffusion(path, one, method=method), start, 6) for one in (score, None))
        assert float(start.grid.integrate(np.abs(rough.values - fine.values))) < 3e-5
        assert max(times) == schedule.t_end
        assert min(times) > 0
    law = ReverseDiffusion(path, path.path, method="heun")
    np.testing.assert_array_equal(solved(law, start, 6).values, fine.values)


def test_a_wrong_score_is_that_of_the_exact_flow_in_small_steps():
    """A score ten per cent too large: the law of many steps is that of `ReverseSDE`."""
    path = wfr.Noised(wfr.Gaussian(0.5, 0.3), wfr.OU(t_end=2.0)).reversed()
    start = wfr.Grid(-6.0, 6.0, 240).density(path.at(0.0))

    def score(points, t):
        return 1.1 * path.path.at(t).score(points)

    flow = ReverseDiffusion(path, score)
    truth = solved(wfr.Extrapolated(flow.exact(), 4), start, 12)
    a, b, c = (solved(flow, start, n).covariance()[0, 0] for n in (32, 64, 128))
    expected = truth.covariance()[0, 0]
    assert abs((a - 6 * b + 8 * c) / 3 - expected) < 5e-5  # without the first two powers of the step
    assert abs(c - expected) > 5e-3


def test_noise_that_cells_do_not_resolve():
    """Gauss-Hermite, products along axes and sums of Gaussians agree with the closed form."""
    grid = wfr.Grid(-8.0, 8.0, 128)
    start = grid.density(wfr.Gaussian(0.2, 0.5))
    for variance in (1e-6, 1e-3, 0.02, 0.2):
        exact = grid.density(wfr.Gaussian(0.2, 0.5 + variance)).log_values
        found = {"axes": moved_densities.with_noise(grid, start.log_values, variance)}
        found["either"] = moved_densities.moved_density(grid, start.log_values, lambda x: x, variance)[0]
        near = exact > -25  # further out the walls are felt
        for values in found.values():
            assert np.abs(values - exact)[near].max() < 1e-7


def test_repr_and_options():
    path = wfr.Noised(wfr.Gaussian(0.0, 1.0), wfr.OU(t_end=1.0)).reversed()
    assert "method='ddim', churn=0" in repr(ReverseDiffusion(path, method="ddim"))
    assert not ReverseDiffusion(path, method="heun").random
    assert ReverseDiffusion(path, method="ddim", churn=0.5).random
    for options, message in (
        (dict(method="euler"), "method must be one of 'euler-maruyama'"),
        (dict(method="ancestral", churn=0.5), "has the churn 1 by construction, got churn=0.5"),
        (dict(method="heun", churn=1.0), "has the churn 0 by construction"),
        (dict(method="ddim", churn=1.5), "at most the noise of the posterior"),
        (dict(churn=-1.0), "churn"),
        (dict(variance="forward"), "an option of the method 'ancestral'"),
        (dict(method="ancestral", variance="large"), "variance must be one of 'posterior', 'forward'"),
    ):
        with pytest.raises(ValueError, match=message):
            ReverseDiffusion(path, **options)
    with pytest.raises(TypeError, match="path must be a ReversedPath"):
        ReverseDiffusion(path.path)


def test_what_has_no_law_is_refused_with_the_reason():
    path = wfr.Noised(wfr.Gaussian(0.0, 0.04), wfr.OU(t_end=2.0)).reversed()
    start = wfr.Grid(-6.0, 6.0, 240).density(path.at(0.0))
    with pytest.raises(wfr.NumericalError, match="not one-to-one near x="):  # Euler's step turns the line around
        solved(ReverseDiffusion(path, lambda x, t: -40 * x, method="euler-maruyama", churn=0.0), start, 4)
    with pytest.raises(wfr.NumericalError, match="box"):
        solved(ReverseDiffusion(path, lambda x, t: 8.0 + 0 * x), start, 4)
    with pytest.raises(ValueError, match="1-dimensional, but the start is 2-dimensional"):
        wfr.solve(None, ReverseDiffusion(path), np.zeros((3, 2)), [0, 1], 0.5)
    periodic = wfr.Grid(-6.0, 6.0, 64, boundary="periodic").density(path.at(0.0))
    with pytest.raises(ValueError, match="is periodic: use a wide box"):
        solved(ReverseDiffusion(path), periodic, 4)
    with pytest.raises(ValueError, match="s must be in"):
        solved(ReverseDiffusion(path), start, 4, t=(0.5, 1.5))
    with pytest.raises(ValueError, match=r"one vector per point.*at t="):
        wfr.solve(None, ReverseDiffusion(path, lambda x, t: x[:, 0]), np.zeros((3, 1)), [0, 1], 0.5)
