"""Bands around records, particles over the truth, and what the colours are in grey."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from scipy import stats

import wfr_pde as wfr
from wfr_pde import plotting

T = [0.0, 1.0, 2.0]


def seeds(values, **attrs):
    """A record (seed, t)."""
    return xr.DataArray(values, {"t": ("t", T, {"long_name": "time"})}, ("seed", "t"), name="mass", attrs=attrs)


def ends(band, t):
    """Lowest and highest point of an area at a time."""
    vertices = np.concatenate([path.vertices for path in band.get_paths()])
    y = vertices[vertices[:, 0] == t, 1]
    return y.min(), y.max()


def test_seed_band_is_students_interval(check_fit_to_print):
    values = np.array([[1.0, 2.0, 5.0], [3.0, 2.0, 6.0], [2.0, 5.0, np.nan]])
    figure = plotting.seed_band(seeds(values, long_name="mass on the left", units="1"))
    check_fit_to_print(figure)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 3, 5.5])
    for k, runs in enumerate(([1, 3, 2], [2, 2, 5], [5, 6])):
        interval = stats.t.interval(0.95, len(runs) - 1, np.mean(runs), stats.sem(runs))
        np.testing.assert_allclose(ends(ax.collections[0], T[k]), interval)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time", "mass on the left")


def test_seed_band_of_the_runs_themselves():
    values = np.arange(101)[:, None] * np.array([1.0, 2.0, 3.0])
    ax = plotting.seed_band(seeds(values), spread=True, confidence=0.9).axes[0]
    for k, t in enumerate(T):
        np.testing.assert_allclose(ends(ax.collections[0], t), [5 * (k + 1), 95 * (k + 1)])


def test_seed_band_of_one_seed_is_a_line():
    ax = plotting.seed_band(seeds([[1.0, 2.0, 3.0]])).axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, 2, 3])
    assert all(not np.isfinite(path.vertices).all() for path in ax.collections[0].get_paths())


def test_seed_band_names_the_entries_and_keeps_the_scale_of_the_means(check_fit_to_print):
    both = xr.concat([seeds([[1.0, 0.1, 0.01], [1.1, 0.3, 0.05]]), seeds([[2.0, 1.0, 0.5], [2.1, 1.1, 0.5]])], "method")
    figure = plotting.seed_band(both.assign_coords(method=["W", "WFR"]), log=True)
    check_fit_to_print(figure)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["W", "WFR"]
    assert ax.get_yscale() == "log"
    assert 0.01 < ax.get_ylim()[0] < 0.03  # the smallest mean; its band reaches below zero
    np.testing.assert_array_equal(ax.collections[1].get_facecolor()[0, :3], to_rgb(ax.lines[1].get_color()))


def test_seed_band_refuses_other_dimensions():
    with pytest.raises(ValueError, match="must have t and seed and at most one more"):
        plotting.seed_band(seeds([[1.0, 2.0, 3.0]]).isel(seed=0))
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        plotting.seed_band(seeds([[1.0, 2.0, 3.0]]), confidence=95)


def test_error_band_is_the_bound_of_the_truth(check_fit_to_print):
    truth = wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(-2, 0.5), [0, 1, 2], rtol=1e-3)
    figure = plotting.error_band(truth, "kl", color=plotting.VERMILION)
    check_fit_to_print(figure)
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), truth["kl"])
    for k, t in enumerate([0, 1, 2]):
        kl, bound = float(truth["kl"][k]), float(truth["error_kl"][k])
        np.testing.assert_allclose(ends(ax.collections[0], t), [kl - bound, kl + bound], rtol=1e-12)
    assert ax.get_ylabel() == "KL(μ|π) (nats)"
    np.testing.assert_array_equal(ax.collections[0].get_facecolor()[0, :3], to_rgb(plotting.VERMILION))


def test_error_band_below_its_bound_reaches_the_axis(check_fit_to_print):
    ds = xr.Dataset({"tv": ("t", [1.0, 1e-3, 1e-6]), "error_l1": ("t", [1e-4] * 3)}, {"t": T})
    figure = plotting.error_band(ds, "tv", "error_l1", log=True)
    check_fit_to_print(figure)
    ax = figure.axes[0]
    assert 1e-7 < ax.get_ylim()[0] < 1e-6
    low, high = ends(ax.collections[0], 2.0)
    assert low < 1e-300
    np.testing.assert_allclose(high, 1.01e-4)
    with pytest.raises(ValueError, match="no bound 'error_tv' over t: the Dataset has tv, error_l1"):
        plotting.error_band(ds, "tv")
    with pytest.raises(TypeError, match=r"the record by its name, as in error_band\(ds, 'kl'\), got <xarray.DataArray"):
        plotting.error_band(ds["tv"])


def cloud(n, d, weights=None, seed=1):
    """Draws from a standard Gaussian at two times, as a run stores them."""
    positions = np.random.default_rng(seed).standard_normal((2, n, d))
    log_weights = np.log(np.full((2, n), 1 / n)) if weights is None else np.log(np.tile(weights, (2, 1)))
    return xr.Dataset(
        {"position": (("t", "particle", "dim"), positions), "log_weight": (("t", "particle"), log_weights)},
        {"t": [0.0, 1.0]},
    )


def truth(d):
    """A standard Gaussian at two times."""
    density = wfr.Grid.covering(wfr.Gaussian(np.zeros(d), 1.0), shape=40).density(wfr.Gaussian(np.zeros(d), 1.0))
    names = [axis.name for axis in density.grid.axes]
    values = {"log_density": (("t", *names), np.stack([density.log_values] * 2))}
    return xr.Dataset(values, {"t": [0.0, 1.0]} | {axis.name: axis.centres for axis in density.grid.axes})


def test_particles_on_a_line_are_a_histogram_of_their_weights(check_fit_to_print):
    weights = np.linspace(1, 3, 400) / 800
    runs = cloud(400, 1, weights)
    figure = plotting.particles(runs, truth(1), t=0)
    check_fit_to_print(figure)
    ax = figure.axes[0]
    heights, edges, _ = ax.patches[0].get_data()
    x = runs["position"].values[0, :, 0]
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = (x >= low) & ((x < high) | ((k == len(heights) - 1) & (x == high)))
        np.testing.assert_allclose(heights[k] * (high - low), weights[inside].sum(), atol=1e-12)
    curve, rug = ax.lines
    np.testing.assert_allclose(curve.get_ydata(), stats.norm.pdf(curve.get_xdata()), atol=1e-10)  # the tail cut off
    assert set(rug.get_xdata()) == set(x)
    assert ax.get_title(loc="left") == "t = 0"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["particles", "truth"]


def test_particles_in_the_plane_are_dots_sized_by_weight(check_fit_to_print):
    weights = np.array([0.7, 0.2, 0.1, 1e-9])
    weights = weights / weights.sum()
    runs = cloud(4, 2, weights)
    figure = plotting.particles(runs, truth(2))
    check_fit_to_print(figure)
    dots = figure.axes[0].collections[-1]
    np.testing.assert_allclose(dots.get_sizes() / dots.get_sizes().sum(), weights)  # falling: small ones in front
    np.testing.assert_array_equal(dots.get_offsets(), runs["position"].values[1])
    equal = plotting.particles(cloud(500, 2), truth(2)).axes[0].collections[-1].get_sizes()
    np.testing.assert_allclose(equal, equal[0])


def test_particles_along_chosen_axes_of_space(check_fit_to_print):
    runs = cloud(300, 3)
    figure = plotting.particles(runs, truth(3), axes=["z", "x"])
    check_fit_to_print(figure)
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z", "x")
    shown = ax.collections[-1].get_offsets()
    assert {tuple(point) for point in shown} == {tuple(point) for point in runs["position"].values[1][:, [2, 0]]}
    assert plotting.particles(runs, truth(3), axes="y").axes[0].get_xlabel() == "y"
    with pytest.raises(ValueError, match="choose one or two of the axes"):
        plotting.particles(runs, truth(3))


def test_particles_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="the particles are 2-dimensional, but the truth has the axes x"):
        plotting.particles(cloud(5, 2), truth(1))
    with pytest.raises(ValueError, match="t=1, where the truth is not stored; the nearest is t=0"):
        plotting.particles(cloud(5, 1), truth(1).isel(t=[0]))
    with pytest.raises(ValueError, match="have the variable position, got log_density"):
        plotting.particles(truth(1), truth(1))
    with pytest.raises(ValueError, match=r"choose one run, as by .isel\(seed=0\)"):
        plotting.particles(xr.concat([cloud(5, 1), cloud(5, 1)], "seed"), truth(1))


def lightness(colour):
    """CIE L*, of 0 for black to 100 for white: what is left of a colour in grey."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = np.dot([0.2126, 0.7152, 0.0722], linear)
    return 116 * np.cbrt(y) - 16 if y > 0.008856 else 903.3 * y


def test_colours_in_grey_run_from_dark_to_light_and_stand_out_from_paper():
    values = [lightness(colour) for colour in plotting.COLOURS]
    assert all(later > before - 2.5 for before, later in pairwise(values)), values  # sky is as light as orange
    assert max(values) < 75  # white is 100
    # the colours of the experiments' flows: black, blue, vermilion and green are told apart by grey alone
    assert min(np.diff(values[:3])) > 7
    looks = list(zip(values, map(str, plotting.DASHES), plotting.MARKERS, strict=True))
    for i, (value, dashes, marker) in enumerate(looks):
        for other, other_dashes, other_marker in looks[:i]:
            assert abs(value - other) > 20 or (dashes != other_dashes and marker != other_marker)


def test_shades_of_contours_are_told_apart_in_grey():
    from wfr_pde.plotting.style import colour_map

    for colour in plotting.COLOURS[1:]:
        shades = colour_map(colour)(np.linspace(0.12, 0.95, len(plotting.CONTOUR_MASSES)))
        steps = -np.diff([lightness(shade) for shade in shades])
        assert steps.min() > 5, (colour, steps)
