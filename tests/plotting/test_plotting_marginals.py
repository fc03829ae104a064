"""Curves, joint figures, marginals and slices: the data behind them, and that they are fit to print."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting


def solved(mean, start, shape, **options):
    """The Fisher–Rao flow, which is exact in one step, between two Gaussians with correlations."""
    d = len(mean)
    covariance = np.eye(d) + 0.4 * (np.ones((d, d)) - np.eye(d))
    target = wfr.Gaussian(mean, covariance)
    source = wfr.Gaussian(start, 0.8)
    grid = wfr.Grid.covering(target, source, shape=shape, tail=1e-6, **options)
    return wfr.solve(target, wfr.FisherRao(), grid.density(source), [0, 1, 2], 1), target


@pytest.fixture(scope="module")
def plane():
    ds, target = solved([1, -0.5], [-1, 0], 60, names=("a", "b"))
    ds["a"].attrs.update(long_name="velocity", units="km/s")
    return ds, target


@pytest.fixture(scope="module")
def cube():
    return solved([1, -0.5, 0], [-1, 0, 0.5], 24)


@pytest.fixture(scope="module")
def four():
    return solved([1, -0.5, 0, 0.5], [-1, 0, 0.5, 0], 18)


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def test_marginal_is_that_of_the_density(cube):
    ds, _ = cube
    expected = wfr.Density.from_dataset(ds, 1).marginal(("x", "z"))
    shown = plotting.marginal(ds, ["x", "z"]).isel(t=1)
    np.testing.assert_allclose(shown, expected.log_values, rtol=1e-12, atol=1e-12)
    assert shown.dims == ("x", "z")
    np.testing.assert_allclose(plotting.marginal(ds, ["z", "x"]).isel(t=1), expected.log_values.T, rtol=1e-12)
    assert plotting.marginal(ds, "y").dims == ("t", "y")


def test_marginal_of_empty_lines_and_graded_cells():
    log_density = xr.DataArray([[0.0, -np.inf], [0.0, -np.inf]], {"x": [0.0, 1.0], "y": [0.0, 1.0]})
    np.testing.assert_array_equal(plotting.marginal(log_density, "y"), [np.log(2), -np.inf])
    target = wfr.Gaussian([0, 0], [1, 1 / 400])
    start = wfr.Gaussian([1, 0], [1 / 100, 0.5])
    grid = wfr.Grid.covering(target, start, shape=(110, 110), graded=True)
    ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), [0, 1], 1)
    along = plotting.marginal(ds, "y").isel(t=0)
    np.testing.assert_allclose(np.exp(along), normal(ds["y"].values, 0, 0.5), rtol=1e-3)  # quadrature of order 2


def test_marginal_refuses_axes_that_do_not_exist(cube):
    for axes in ("u", ["x", "x"], []):
        with pytest.raises(ValueError, match="axes must be different ones of x, y, z"):
            plotting.marginal(cube[0], axes)
    with pytest.raises(ValueError, match="no log_density, but kl"):
        plotting.marginal(xr.Dataset({"kl": ("t", [1.0])}), "x")


def test_curve_shows_density_and_target(plane, check_fit_to_print):
    ds, _ = plane
    figure = plotting.density_curve(plotting.marginal(ds, "a"), t=0.1, target=wfr.Gaussian(1, 1.0))
    check_fit_to_print(figure)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), normal(ds["a"].values, -1, 0.8), atol=1e-5)  # the box cuts 1e-6
    np.testing.assert_allclose(ax.lines[1].get_ydata(), normal(ds["a"].values, 1, 1), atol=1e-5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("velocity (km/s)", "density (per km/s)")
    assert ax.get_title(loc="left") == "t = 0"


def test_joint_has_both_marginals_on_the_axes_of_the_contours(plane, check_fit_to_print):
    ds, target = plane
    figure = plotting.density_joint(ds, t=0, target=target)
    check_fit_to_print(figure)
    main, above, beside = figure.axes
    np.testing.assert_allclose(above.lines[0].get_ydata(), normal(ds["a"].values, -1, 0.8), atol=1e-5)
    np.testing.assert_allclose(beside.lines[0].get_xdata(), normal(ds["b"].values, 0, 0.8), atol=1e-5)
    np.testing.assert_allclose(beside.lines[1].get_xdata(), normal(ds["b"].values, -0.5, 1), atol=1e-5)
    assert main.get_xlim() == above.get_xlim()
    assert main.get_ylim() == beside.get_ylim()
    assert np.isclose(main.get_position().x0, above.get_position().x0)
    assert np.isclose(main.get_position().y1, beside.get_position().y1)
    assert above.get_ylim()[1] > above.lines[1].get_ydata().max()


def test_axes_show_nearly_all_of_the_mass(plane):
    ds, target = plane
    low, high = plotting.density_joint(ds, t=0, target=target).axes[0].get_xlim()
    # 0.05 % on either side of N(-1, 0.8) is cut off, and of the target N(1, 1); then 8 % of that is added
    left, right = -1 - 3.29 * np.sqrt(0.8), 1 + 3.29
    margin = 0.08 * (right - left)
    cell = float(ds["a"][1] - ds["a"][0])
    np.testing.assert_allclose([low, high], [left - margin, right + margin], atol=1.2 * cell)


@pytest.mark.parametrize("name", ["plane", "cube", "four"])
def test_marginals_of_every_coordinate_and_pair(name, request, check_fit_to_print):
    ds, target = request.getfixturevalue(name)
    names = [str(dim) for dim in ds["log_density"].dims[1:]]
    figure = plotting.density_marginals(ds, t=0, target=target)
    check_fit_to_print(figure)
    panels = np.array(figure.axes).reshape(len(names), len(names))
    for i, j in np.ndindex(panels.shape):
        assert panels[i, j].get_visible() == (j <= i)
        if i == j:
            expected = np.exp(plotting.marginal(ds, names[i]).isel(t=0))
            np.testing.assert_allclose(panels[i, i].lines[0].get_ydata(), expected, rtol=1e-12)
            np.testing.assert_allclose(
                panels[i, i].lines[1].get_ydata(), normal(ds[names[i]], target.mean[i], 1), atol=1e-4
            )
        elif j < i:
            filled, _ = panels[i, j].collections
            np.testing.assert_allclose(filled.levels[:2], [0.01, 0.1], atol=0.04)  # the cells are few
            assert panels[i, j].get_xlim() == panels[j, j].get_xlim()
    assert [ax.get_xlabel() for ax in panels[-1]] == [plotting.label(ds[name]) for name in names]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["density", "target"]


def test_marginals_of_chosen_axes(four):
    figure = plotting.density_marginals(four[0], axes=["y", "w"])
    assert len(figure.axes) == 4
    assert [ax.get_xlabel() for ax in figure.axes[2:]] == ["y", "w"]
    assert not figure.legends
    with pytest.raises(ValueError, match="two axes or more of x, y, z, w"):
        plotting.density_marginals(four[0], axes=["y"])


@pytest.mark.parametrize(("name", "count"), [("cube", 3), ("four", 6)])
def test_slices_share_the_levels_of_the_whole_density(name, count, request, check_fit_to_print):
    ds, target = request.getfixturevalue(name)
    figure = plotting.density_slices(ds, target=target, t=0)
    check_fit_to_print(figure)
    *panels, bar = figure.axes
    assert len(panels) == count
    for ax in panels:
        filled, lines = ax.collections[:2]
        np.testing.assert_allclose(filled.levels, [-8, -4.5, -2, -0.5, 1e-9])
        np.testing.assert_allclose(lines.levels, [-4.5, -0.5][: len(lines.levels)])
    assert (panels[0].get_xlabel(), panels[0].get_ylabel()) == ("x", "y")
    assert bar.get_ylabel() == "nats below the peak"
    start = dict(zip("xyzw", [-1, 0, 0.5, 0], strict=True))
    first = panels[0].lines[0].get_xdata()[0]  # through the highest value: the mean of the start
    assert abs(first - start["x"]) <= float(ds["x"][1] - ds["x"][0]) / 2 * (1 + 1e-9)


def test_slices_go_through_the_point(cube):
    ds, _ = cube
    figure = plotting.density_slices(ds, [0.7, -0.9, 0.2], t=0)
    place = ds["log_density"].sel(x=0.7, y=-0.9, z=0.2, t=0, method="nearest")
    upright, across = figure.axes[1].lines  # the plane of x and z
    assert upright.get_xdata()[0] == float(place["x"])
    assert across.get_ydata()[0] == float(place["z"])
    assert figure.axes[1].get_title() == f"(b) y = {float(place['y']):.2g}".replace("-", "−")
    with pytest.raises(ValueError, match="point must be 3 finite numbers, for x, y, z"):
        plotting.density_slices(ds, [0, 1])


def test_a_plane_without_mass_is_white(cube):
    ds, target = cube
    far = [float(ds[name][-1]) for name in "xyz"]
    figure = plotting.density_slices(ds, far, t=0, target=target)
    assert all(not path.vertices.size for path in figure.axes[0].collections[0].get_paths())


def test_wrong_number_of_dimensions_is_refused(plane, cube):
    with pytest.raises(ValueError, match=r"3 or 4 dimensions: plotting.marginal\(ds, axes\) leaves fewer"):
        plotting.density_slices(plane[0])
    with pytest.raises(ValueError, match="axes x, y, z, but this figure is of a density in 2 dimensions"):
        plotting.density_joint(cube[0])
    with pytest.raises(ValueError, match="in 1 dimension: "):
        plotting.density_curve(plane[0])


def test_a_target_that_moves_is_drawn_as_it_is_then():
    path = wfr.GeometricPath(wfr.Gaussian(-2, 1.0), wfr.Gaussian(2, 1.0), lambda t: min(t, 1.0))
    x = np.linspace(-6, 6, 121)
    frames = [np.log(normal(x, -2, 1.0))] * 2
    ds = xr.Dataset({"log_density": (("t", "x"), frames)}, {"t": [0.0, 0.5], "x": x})
    ridge = plotting.density_ridge(ds, target=path).axes[0]
    offset = ridge.lines[3].get_ydata()[0]
    np.testing.assert_allclose(ridge.lines[1].get_ydata(), normal(x, -2, 1), atol=1e-4)
    np.testing.assert_allclose(ridge.lines[3].get_ydata() - offset, normal(x, 0, 1), atol=1e-4)
    curve = plotting.density_curve(ds, t=0.5, target=path).axes[0]
    np.testing.assert_allclose(curve.lines[1].get_ydata(), normal(x, 0, 1), atol=1e-4)
