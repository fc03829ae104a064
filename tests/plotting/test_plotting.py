"""Figures: the data behind them, labels from attributes, and that nothing needs pyplot."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting
from wfr_pde.metrics.convergence import convergence_table


@pytest.fixture(scope="module")
def line():
    """A flow in one dimension."""
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-2, 0.5)
    grid = wfr.Grid(-8, 8, 64)
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    return wfr.solve(target, flow, grid.density(start), [0, 0.5, 1, 2], 0.25, record=[wfr.KL(target)])


@pytest.fixture(scope="module")
def plane():
    """A Gaussian in two dimensions at two times, on axes with names."""
    grid = wfr.Grid((-6, -5), (7, 4.5), (100, 90), names=("a", "b"))
    target = wfr.Gaussian([1, -0.5], [[1, 0.3], [0.3, 0.5]])
    ds = wfr.solve(target, wfr.FisherRao(), grid.density(wfr.Gaussian([0, 0], 0.2)), [0, 1], 1)
    return ds, target


def saved(figure):
    """The figure as a png, which draws everything."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def test_label_from_attributes():
    kl = xr.DataArray(0.0, name="kl", attrs={"long_name": "KL(mu|pi)", "units": "nats"})
    assert plotting.label(kl) == "KL(μ|π) (nats)"
    assert plotting.label(xr.DataArray(0.0, name="mean", attrs={"units": "1"})) == "mean"
    assert plotting.label(xr.DataArray(0.0, name="x", attrs={"long_name": "multiple pieces"})) == "multiple pieces"


def test_density_image_shows_the_density(line):
    figure = plotting.density_image(line)
    assert saved(figure)
    ax, bar = figure.axes
    shown = ax.collections[0].get_array()
    np.testing.assert_allclose(shown, np.exp(line["log_density"].values.T))
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("time", "x", "density")


def test_density_ridge_takes_the_nearest_times(line):
    figure = plotting.density_ridge(line, times=[0, 1.1, 2], target=wfr.Gaussian(0, 1))
    assert saved(figure)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["t = 0", "t = 1", "t = 2"]
    flow_lines, target_lines = ax.lines[::2], ax.lines[1::2]
    np.testing.assert_allclose(flow_lines[0].get_ydata(), np.exp(line["log_density"].sel(t=0).values))
    standard = np.exp(-(line["x"].values ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(target_lines[0].get_ydata(), standard, atol=1e-12)


def test_density_ridge_has_six_times_by_default(line):
    assert len(plotting.density_ridge(line).axes[0].texts) == 4  # of the four there are


def test_contours_enclose_their_share_of_the_mass(plane):
    ds, target = plane
    figure = plotting.density_contours(ds, t=0.0, target=target)
    assert saved(figure)
    ax = figure.axes[0]
    filled, lines = ax.collections
    # N(0, 0.2 I): the density is highest / (1 - share) times lower where it encloses the share
    np.testing.assert_allclose(filled.levels[:-1], 1 - np.array(plotting.CONTOUR_MASSES), atol=0.03)
    np.testing.assert_allclose(lines.levels, [0.01, 0.1, 0.5], atol=0.02)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")


def test_contours_of_a_frame_and_a_target_array(plane):
    ds, target = plane
    frame = ds["log_density"].isel(t=-1)
    given = frame.copy(data=target.log_density(np.stack(np.meshgrid(ds["a"], ds["b"], indexing="ij"), axis=-1)))
    from_array = plotting.density_contours(frame, target=given).axes[0].collections
    from_target = plotting.density_contours(ds, target=target).axes[0].collections
    for one, other in zip(from_array, from_target, strict=True):
        np.testing.assert_allclose(one.levels, other.levels, rtol=1e-12)


def test_graded_cells_are_drawn_where_they_are():
    target, start = wfr.Gaussian(0, 4.0), wfr.Gaussian(-1, 0.01)
    grid = wfr.Grid.covering(target, start, shape=100, graded=True)
    ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), [0, 0.5, 1], 1)
    figure = plotting.density_image(ds)
    assert saved(figure)
    corners = figure.axes[0].collections[0].get_coordinates()
    np.testing.assert_array_equal(corners[:, 0, 1], grid.axes[0].edges)
    np.testing.assert_allclose(corners[0, :, 0], [-0.25, 0.25, 0.75, 1.25])
    middles = plotting.density_image(ds["log_density"]).axes[0].collections[0].get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(middles[1:-1], (grid.axes[0].centres[1:] + grid.axes[0].centres[:-1]) / 2)
    ridge = plotting.density_ridge(ds, times=[0], target=target).axes[0]
    normal = np.exp(-(grid.axes[0].centres ** 2) / 8) / np.sqrt(8 * np.pi)
    np.testing.assert_allclose(ridge.lines[1].get_ydata(), normal, atol=1e-12)


@pytest.mark.parametrize("with_widths", [True, False])
def test_contours_on_graded_cells_enclose_their_share_of_the_mass(with_widths):
    target, start = wfr.Gaussian([0, 0], [1, 1 / 400]), wfr.Gaussian([1, 0], [1 / 100, 0.5])
    grid = wfr.Grid.covering(target, start, shape=(110, 110), graded=True)
    ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), [0, 1], 1)
    figure = plotting.density_contours(ds if with_widths else ds["log_density"], t=0.0, target=target)
    assert saved(figure)
    filled, lines = figure.axes[0].collections
    np.testing.assert_allclose(filled.levels[:-1], 1 - np.array(plotting.CONTOUR_MASSES), atol=0.03)
    np.testing.assert_allclose(lines.levels, [0.01, 0.1, 0.5], atol=0.02)
    assert figure.axes[0].get_aspect() == 1


def test_a_long_box_is_not_drawn_to_scale():
    density = wfr.Grid([-100, -5], [100, 5], (300, 50)).density(wfr.Gaussian([0, 0], [150, 0.5]))
    centres = {axis.name: axis.centres for axis in density.grid.axes}
    frame = xr.DataArray(density.log_values, centres, name="log_density")
    assert plotting.density_contours(frame).axes[0].get_aspect() == "auto"


def test_record_against_time(line):
    figure = plotting.record(line["kl"], color="black", label="WFR")
    assert saved(figure)
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.stack([line["t"], line["kl"]], axis=-1))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time", "KL(μ|π) (nats)")


def test_record_with_one_more_dimension_has_a_legend():
    mass = xr.DataArray(np.ones((3, 2)), dims=("t", "mode"), coords={"t": [0, 1, 2], "mode": ["left", "right"]})
    ax = plotting.record(mass.rename("mass")).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]
    with pytest.raises(ValueError, match="a record has t and at most one more"):
        plotting.record(mass.expand_dims(seed=2))


def test_convergence_shows_errors_and_orders():
    table = convergence_table(lambda dt: shifted(dt**2), "dt", [0.1, 0.05, 0.025, 0.0125], reference=shifted(0.0))
    figure = plotting.convergence(table)
    assert saved(figure)
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), table["error"])
    assert ax.get_legend().get_texts()[0].get_text() == "order 2.00"
    reference = ax.lines[1]
    slopes = np.diff(np.log(reference.get_ydata())) / np.diff(np.log(reference.get_xdata()))
    np.testing.assert_allclose(slopes[np.isfinite(slopes)], 2)


def test_convergence_names_the_schemes():
    dt = np.array([0.4, 0.2, 0.1])
    table = xr.Dataset({"error": (("scheme", "dt"), [dt, dt**4])}, coords={"dt": dt, "scheme": ["Lie", "extrapolated"]})
    texts = plotting.convergence(table).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["Lie: 1.00", "extrapolated: 4.00"]


def test_fitted_orders_leave_out_rounding_and_missing_errors():
    dt = np.array([0.4, 0.2, 0.1, 0.05])
    error = xr.DataArray([[0.4**2, 0.2**2, 1e-13, 2e-13], [np.nan, 0.2, 0.1, 0.05]], dims=("scheme", "dt"))
    table = xr.Dataset({"error": error}, coords={"dt": dt})
    np.testing.assert_allclose(plotting.fitted_orders(table, floor=1e-12), [2, 1])
    assert np.isnan(plotting.fitted_orders(table, fit=slice(0.05, 0.05))).all()
    rising = xr.Dataset({"error": ("n", [1.0, 1 / 4, 1 / 16])}, coords={"n": [8, 16, 32]})
    np.testing.assert_allclose(plotting.fitted_orders(rising), [2])


def test_wrong_number_of_dimensions_is_refused(line, plane):
    with pytest.raises(ValueError, match="density in 2 dimensions"):
        plotting.density_contours(line)
    with pytest.raises(ValueError, match="density in 1 dimension at several times"):
        plotting.density_image(plane[0])


def test_draws_into_given_axes(line):
    with plotting.style():
        figure = plotting.new_figure(plotting.PAGE_WIDTH, 2.5)
        left, right = figure.subplots(1, 2)
    assert plotting.density_image(line, ax=left) is figure
    assert plotting.record(line["kl"], ax=right) is figure
    part = figure.subfigures(1, 1)
    assert plotting.record(line["kl"], ax=part.subplots()) is figure


def test_the_users_settings_stay_and_pyplot_is_not_loaded():
    code = (
        "import sys, matplotlib, xarray as xr\n"
        "from wfr_pde import plotting\n"
        "before = matplotlib.rcParams.copy()\n"
        "plotting.record(xr.DataArray([1.0, 2.0], dims='t', coords={'t': [0, 1]}))\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_curves_differ_without_colour():
    assert len(set(map(str, plotting.DASHES))) == len(plotting.DASHES) == len(plotting.COLOURS)
    assert len(set(plotting.MARKERS)) == len(plotting.MARKERS) == len(plotting.COLOURS)


def shifted(by):
    return wfr.Grid(-8, 8, 200).density(wfr.Gaussian(by, 1))
