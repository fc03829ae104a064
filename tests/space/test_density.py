"""Density: moments, expectations, marginals, interpolation."""

import math

import numpy as np
import pytest

import wfr_pde as wfr

COVARIANCE = np.array([[1.0, 0.6, 0.1], [0.6, 0.8, -0.2], [0.1, -0.2, 0.5]])
MEAN = np.array([0.3, -0.5, 1.0])


def gaussian_density(d, n=56):
    target = wfr.Gaussian(MEAN[:d], COVARIANCE[:d, :d])
    return target, wfr.Grid.covering(target, shape=n).density(target)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_moments(d):
    target, density = gaussian_density(d)
    assert density.mass == pytest.approx(1, abs=1e-13)
    assert density.mean() == pytest.approx(target.mean, abs=1e-10)
    assert density.covariance() == pytest.approx(target.covariance, abs=1e-9)  # the box leaves out 1e-12
    assert density.expectation(lambda p: p[..., 0] ** 2) == pytest.approx(MEAN[0] ** 2 + COVARIANCE[0, 0])
    assert density.expectation(lambda p: p) == pytest.approx(target.mean)


def test_marginals_keep_the_far_tails():
    _, density = gaussian_density(3, 40)
    marginal = density.marginal((0, 2))
    exact = wfr.Gaussian(MEAN[[0, 2]], COVARIANCE[np.ix_([0, 2], [0, 2])])
    assert marginal.grid.names == ("x", "z")
    assert marginal.mass == pytest.approx(1, abs=1e-12)
    difference = marginal.log_values - marginal.grid.log_density(exact)
    assert np.abs(difference[12:-12, 12:-12]).max() < 1e-6  # near the faces the box cuts the line that is summed
    one = density.marginal("y")
    assert one.mean() == pytest.approx([MEAN[1]], abs=1e-10)
    assert density.marginal((0, 1, 2)) is density
    far = wfr.Grid([-30, -30], [30, 30], 128).density(wfr.Gaussian([0, 0], 1.0)).marginal(0)
    x = far.grid.axes[0].centres
    assert far.log_values == pytest.approx(-(x**2) / 2 - 0.5 * math.log(2 * math.pi), abs=1e-11)  # to e^-450


@pytest.mark.parametrize("axes", ["q", 3, (1, 0), (0, 0), ()])
def test_wrong_marginals(axes):
    with pytest.raises(ValueError, match="different axes in order"):
        gaussian_density(2)[1].marginal(axes)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_log_prob_and_score_between_the_cells(d):
    target, density = gaussian_density(d, 40)
    points = target.sample(500, rng=0)
    points = points[np.all((points > density.grid.lower) & (points < density.grid.upper), axis=1)]
    exact = target.log_density(points) - target.log_normaliser
    assert density.log_prob(points) == pytest.approx(exact, abs=1e-10)  # a quintic spline of a parabola is exact
    assert density.score(points) == pytest.approx(target.score(points), abs=1e-9)
    assert density.log_prob(np.full(d, 1e3)) == -math.inf
    assert np.isnan(density.log_prob(np.full(d, np.nan)))
    assert np.isnan(density.score(np.full((2, d), 1e3))).all()


def test_interpolation_is_of_order_six():
    errors = []
    points = np.linspace(-1.9, 1.9, 400)[:, None]
    for n in (40, 80):
        density = wfr.Grid(-2.6, 2.6, n, max_cut=1e-3).density(wfr.Potential("2*(x**2-1)**2 + cos(4*x)"))
        exact = -(2 * (points[:, 0] ** 2 - 1) ** 2 + np.cos(4 * points[:, 0]))
        error = density.log_prob(points) - exact
        errors.append(np.ptp(error))  # but for the constant
    assert math.log2(errors[0] / errors[1]) > 5.5


def test_periodic_points_are_wrapped():
    grid = wfr.Grid(0, 2 * math.pi, 64, boundary="periodic")
    density = grid.density(wfr.Potential("cos(x)"))
    points = np.linspace(0.01, 6.2, 50)[:, None]
    assert density.log_prob(points + 4 * math.pi) == pytest.approx(density.log_prob(points), abs=1e-13)
    assert density.score(points)[:, 0] == pytest.approx(np.sin(points[:, 0]), abs=1e-6)  # O(dx^5)


@pytest.mark.parametrize("points", [3.0, np.zeros(3), np.zeros((4, 1))])
def test_points_must_have_the_last_axis_of_length_d(points):
    with pytest.raises(ValueError, match="last axis must have length 2"):
        gaussian_density(2)[1].log_prob(points)


def test_a_step_that_no_cell_resolves_is_interpolated_linearly():
    density = wfr.Grid(-2, 2, 400).density(wfr.Potential(lambda x: 1e3 * (np.abs(x) > 1)))
    points = np.linspace(-1.5, 1.5, 3001)[:, None]
    log_prob = density.log_prob(points)
    assert log_prob.max() < math.log(0.5) + 1e-12  # no ringing
    assert log_prob[np.abs(points[:, 0]) < 0.99] == pytest.approx(math.log(0.5), abs=1e-12)
    assert density.sample(50_000, rng=0).var() == pytest.approx(1 / 3, rel=0.02)  # 4 standard errors


def test_what_a_function_returns_is_checked():
    density = gaussian_density(2)[1]
    with pytest.raises(ValueError, match="must return one value per point"):
        density.expectation(lambda p: 1.0)
    with pytest.raises(TypeError, match="must be an array"):
        wfr.Density(wfr.Grid(0, 1, 4), [0.0] * 4)
    assert density.marginal(np.int64(0)).mean() == pytest.approx(density.mean()[:1])


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(7,\), but the grid has shape \(8,\)"):
        wfr.Density(wfr.Grid(0, 1, 8), np.zeros(7))


# Graded cells

SCALES = wfr.Gaussian(0, 2500.0), wfr.Gaussian(1, 0.0025)
ON_SCALES = wfr.Grid.covering(*SCALES, shape=300, graded=True)


def ks(draws, distribution_function):
    """Kolmogorov-Smirnov distance times sqrt(n): above 2.5 once in 1e5."""
    uniform = np.sort(distribution_function(draws))
    return np.abs(uniform - (np.arange(len(uniform)) + 0.5) / len(uniform)).max() * math.sqrt(len(uniform))


@pytest.mark.parametrize("k", [0, 1])
def test_a_density_on_scales_of_one_to_a_thousand(k):
    gaussian = SCALES[k]
    mean, sd = gaussian.mean[0], math.sqrt(gaussian.covariance[0, 0])
    density = ON_SCALES.density(gaussian)
    assert density.mass == pytest.approx(1, abs=1e-13)
    assert density.mean() == pytest.approx([mean], abs=1e-10 * sd)
    assert density.covariance()[0, 0] == pytest.approx(sd**2, rel=1e-9)  # the box leaves out 1e-12
    assert density.expectation(lambda p: np.cos((p[..., 0] - mean) / sd)) == pytest.approx(math.exp(-0.5), abs=1e-11)
    points = np.concatenate([g.sample(500, rng=0) for g in SCALES])
    exact = gaussian.log_density(points) - gaussian.log_normaliser
    # a quintic spline of a parabola is exact, up to the rounding of its largest value
    assert np.abs(density.log_prob(points) - exact).max() < 1e-12 * np.abs(density.log_values).max()
    slope = gaussian.score(points)
    assert density.score(points) == pytest.approx(slope, abs=1e-9 * np.abs(slope).max())
    draws = density.sample(100_000, rng=1)[:, 0]
    assert ks(draws, np.vectorize(lambda x: 0.5 * math.erfc((mean - x) / sd / math.sqrt(2)))) < 2.5


def test_interpolation_is_smooth_where_cells_grow_and_the_density_is_steep():
    """A parabola of thousands of nats on growing cells bends by many nats from cell to cell, but has no steps."""
    density = ON_SCALES.density(SCALES[1])
    assert not density._has_steps()
    given = wfr.Grid.from_edges(np.concatenate([np.linspace(-3, 0, 300), np.geomspace(0.011, 30, 200)]))
    assert not given.density(wfr.Gaussian(-0.5, 0.04))._has_steps()


def test_distances_on_graded_grids():
    a, b = (ON_SCALES.density(wfr.Gaussian(m, 2500.0)) for m in (0.0, 10.0))
    # of N(0, s²) and N(m, s²): total variation erf(m / (2 sqrt(2) s)), Hellinger² 1 - e^(-m² / 8 s²)
    assert wfr.metrics.total_variation(a, b) == pytest.approx(math.erf(0.2 / 2 / math.sqrt(2)), rel=1e-3)  # a kink
    assert wfr.metrics.hellinger(a, b) ** 2 == pytest.approx(-math.expm1(-0.04 / 8), rel=1e-9)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_a_density_on_another_grid_is_what_log_prob_has_there(boundary):
    target = wfr.Potential("2*cos(x) + cos(y)*sin(z)")
    box = ([0.0] * 3, [2 * np.pi] * 3)
    density = wfr.Grid(*box, (24, 28, 32), boundary=boundary, max_cut=1).density(target)
    for grid in (
        wfr.Grid([0.5, 0, 1], [6, 2 * np.pi, 5], (17, 40, 9), max_cut=1),
        wfr.Grid(*box, (12, 14, 40), grading=(None, None, lambda x: 1 + x), max_cut=1),
    ):
        found = density.on(grid)
        assert found.grid is grid
        assert np.abs(found.log_values - density.log_prob(grid.points())).max() < 1e-12
    assert np.abs(density.on(density.grid).log_values - density.log_values).max() < 1e-12


def test_a_density_is_not_continued_beyond_its_box():
    density = wfr.Grid(-6, 6, 64).density(wfr.Gaussian(0, 1))
    with pytest.raises(ValueError, match="ends at -6 and 6: use a smaller box"):
        density.on(wfr.Grid(-8, 6, 64))
    with pytest.raises(ValueError, match="1-dimensional, but the grid is 2-dimensional"):
        density.on(wfr.Grid([-6, -6], [6, 6], (8, 8)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda ds: ds.isel(x=slice(None, None, -1)), "the coordinate 'x' of ds is not that of its grid"),
        (lambda ds: ds.assign_coords(x=ds.x + 0.01), "the coordinate 'x' of ds is not that of its grid"),
        (lambda ds: ds.isel(x=slice(None, None, 2)), "the coordinate 'x' of ds is not that of its grid"),
        (lambda ds: ds.rename(x="y", y="x"), "log_density of ds must have its axes in the order"),
        (
            lambda ds: ds.transpose("t", "y", "x"),
            r"log_density of ds must have its axes in the order \('x', 'y'\), got \('t', 'y', 'x'\)",
        ),
        (lambda ds: ds.assign(log_density=ds.log_density.where(ds.log_density < -2)), "log_density of ds has NaN"),
    ],
)
def test_a_dataset_whose_axes_were_changed_is_no_density(changed, message):
    grid = wfr.Grid([-6, -7], [6, 7], (24, 24))
    start, target = wfr.Gaussian([1, 0], 1), wfr.Gaussian([0, 0], 1)
    ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), [0, 1], 0.5)
    with pytest.raises(ValueError, match=message):
        wfr.Density.from_dataset(changed(ds))
    with pytest.raises(ValueError, match=r"ds|log_density has dimensions"):
        wfr.Trajectory(changed(ds), target)
    single = ds.assign_coords(x=ds.x.astype("f4"))
    assert wfr.Density.from_dataset(single).mean() == pytest.approx(wfr.Density.from_dataset(ds).mean(), abs=0)


def test_a_frame_is_chosen_by_its_time():
    """Along the Fisher-Rao flow from N(2, 1) to N(0, 1) the mean is 2 exp(-t)."""
    rho = wfr.Grid(-8.0, 9.0, 128).density(wfr.Gaussian(2.0, 1.0))
    times = np.linspace(0, 0.7, 8)
    ds = wfr.solve(wfr.Gaussian(0.0, 1.0), wfr.FisherRao(), rho, times, dt=0.1)
    for k, t in enumerate(times):
        chosen = wfr.Density.from_dataset(ds, t=0.1 * k)  # 0.1 * 3 is not 0.3
        assert np.array_equal(chosen.log_values, wfr.Density.from_dataset(ds, k).log_values)
        assert chosen.mean()[0] == pytest.approx(2 * math.exp(-t), abs=1e-9)
    assert np.array_equal(wfr.Density.from_dataset(ds).log_values, wfr.Density.from_dataset(ds, t=0.7).log_values)
    for call, words in {
        (
            lambda: wfr.Density.from_dataset(ds, t=0.14)
        ): r"t=0.14 is not stored, the nearest stored time is 0.1: .*Traject",
        (lambda: wfr.Density.from_dataset(ds, t=9)): "t=9 is not stored, the nearest stored time is 0.7",
        (lambda: wfr.Density.from_dataset(ds, 2, t=0.2)): "index=2 and t=0.2 both name a frame",
        (lambda: wfr.Density.from_dataset(ds.isel(t=2), t=0.2)): "holds one frame: leave t out",
    }.items():
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match=r"has no argument 'time', did you mean t\? it takes ds, index, backend, t$"):
        wfr.Density.from_dataset(ds, time=0.2)
