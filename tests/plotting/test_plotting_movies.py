"""Movies: as many frames as times, which differ, on axes that stay; whole files or none."""

from __future__ import annotations

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import xarray as xr
from PIL import Image

import wfr_pde as wfr
from wfr_pde import plotting
from wfr_pde.errors import BackendError
from wfr_pde.plotting import movies

TIMES = [0.0, 0.5, 1.0, 2.0]


def solved(d):
    """A Fisher–Rao flow, exact in one step."""
    target, start = wfr.Gaussian(np.full(d, 1.0), 1.0), wfr.Gaussian(np.full(d, -1.0), 0.5)
    grid = wfr.Grid.covering(target, start, shape=32, tail=1e-6)
    return wfr.solve(target, wfr.FisherRao(), grid.density(start), TIMES, 2), target


@pytest.fixture(scope="module")
def line():
    return solved(1)


@pytest.fixture(scope="module")
def plane():
    return solved(2)


def pictures(path):
    """The frames of a gif, (frame, height, width, 3)."""
    with Image.open(path) as file:
        frames = []
        for k in range(file.n_frames):
            file.seek(k)
            frames.append(np.asarray(file.convert("RGB")).astype(int))
        return np.stack(frames), file.info["duration"]


@pytest.mark.parametrize("name", ["line", "plane"])
def test_gif_has_a_frame_per_time_and_axes_that_stay(name, request, tmp_path):
    ds, target = request.getfixturevalue(name)
    path = plotting.movie(ds, tmp_path / "flow.gif", target=target, fps=10, dpi=80)
    assert path == tmp_path / "flow.gif"
    assert [file.name for file in tmp_path.iterdir()] == ["flow.gif"]
    frames, duration = pictures(path)
    assert len(frames) == len(TIMES)
    assert duration == 100  # ms
    assert frames.shape[2] == round(80 * plotting.COLUMN_WIDTH)
    changed = [(one != other).any(axis=-1) for one, other in pairwise(frames)]
    assert all(difference.sum() > 50 for difference in changed)
    height, width = frames.shape[1:3]
    assert not np.any(changed, axis=0)[-height // 8 :].any()  # numbers and name of the axis below
    assert not np.any(changed, axis=0)[height // 6 :, : width // 12].any()  # name of the axis beside
    assert (frames[:, 0, -1] == 255).all()


def test_frames_show_the_density_at_their_time(line):
    ds, target = line
    with plotting.style():
        figure, draw = movies._curve(ds["log_density"], target)
        limits = []
        for k, t in enumerate(TIMES):
            draw(k)
            ax = figure.axes[0]
            np.testing.assert_allclose(ax.lines[0].get_ydata(), np.exp(ds["log_density"][k]))
            assert len(ax.lines) == 2
            assert ax.get_title(loc="left") == f"t = {t:.1f}"
            limits.append((*ax.get_xlim(), *ax.get_ylim(), *ax.get_position().bounds))
    np.testing.assert_array_equal(limits, [limits[0]] * len(TIMES))
    assert limits[0][3] > np.exp(ds["log_density"]).max()


def test_every_frame_is_fit_to_print(line, plane, check_fit_to_print):
    with plotting.style():
        for make, (ds, target) in ((movies._curve, line), (movies._contours, plane)):
            figure, draw = make(ds["log_density"], target)
            for k in range(len(TIMES)):
                draw(k)
                check_fit_to_print(figure)


def test_chosen_times_and_more_dimensions_by_marginal(tmp_path):
    ds, _ = solved(3)
    path = plotting.movie(plotting.marginal(ds, "y"), tmp_path / "y.gif", t=[1.9, 0], dpi=60)
    assert len(pictures(path)[0]) == 2
    with pytest.raises(ValueError, match=r"choose others by plotting.marginal\(ds, axes\)"):
        plotting.movie(ds, tmp_path / "all.gif")
    with pytest.raises(ValueError, match="one or two dimensions of space over t"):
        plotting.movie(plotting.marginal(ds, "y").isel(t=0), tmp_path / "frame.gif")


def test_one_time_is_one_frame(line, tmp_path):
    path = plotting.movie(line[0], tmp_path / "still.gif", t=1.0, dpi=60)
    with Image.open(path) as file:
        assert file.n_frames == 1


def test_a_target_that_moves_moves():
    x = np.linspace(-6, 6, 101)
    ds = xr.DataArray(np.tile(-(x**2) / 2 - np.log(2 * np.pi) / 2, (3, 1)), {"t": [0.0, 0.25, 1.0], "x": x}, ("t", "x"))
    path = wfr.GeometricPath(wfr.Gaussian(-2, 1.0), wfr.Gaussian(2, 1.0), lambda t: min(t, 1.0))
    with plotting.style():
        figure, draw = movies._curve(ds, path)
        for k, mean in enumerate([-2, -1, 2]):
            draw(k)
            shown = figure.axes[0].lines[1].get_ydata()
            assert abs(x[shown.argmax()] - mean) < 0.07  # half a cell


def test_an_interrupted_movie_leaves_the_old_file(line, tmp_path, monkeypatch):
    (tmp_path / "flow.gif").write_bytes(b"old")
    monkeypatch.setattr(movies, "draw_curve", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        plotting.movie(line[0], tmp_path / "flow.gif")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("flow.gif", b"old")]


def test_without_ffmpeg_an_mp4_is_refused_and_no_ending_means_gif(line, tmp_path):
    with matplotlib.rc_context({"animation.ffmpeg_path": "no-such-ffmpeg"}):
        with pytest.raises(BackendError, match="needs ffmpeg, which is not found: install it"):
            plotting.movie(line[0], tmp_path / "flow.mp4")
        assert plotting.movie(line[0], tmp_path / "flow", t=[0, 1], dpi=60) == tmp_path / "flow.gif"
    with pytest.raises(ValueError, match=r"ends in .gif or .mp4, got 'flow.avi'"):
        plotting.movie(line[0], tmp_path / "flow.avi")
    with pytest.raises(ValueError, match="fps must be positive"):
        plotting.movie(line[0], tmp_path / "flow.gif", fps=0)
    with pytest.raises(ValueError, match="fps must be between 0.001 and 1000"):
        plotting.movie(line[0], tmp_path / "flow.gif", fps=5e-324)


def test_mp4_where_ffmpeg_is_found(plane, tmp_path):
    from matplotlib.animation import FFMpegWriter

    if not FFMpegWriter.isAvailable():
        pytest.skip("needs ffmpeg")
    path = plotting.movie(plane[0], tmp_path / "flow", target=plane[1], dpi=80)
    assert path == tmp_path / "flow.mp4"
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    assert content.count(b"stsz") == 1
    frames = int.from_bytes(content[content.index(b"stsz") + 12 :][:4], "big")  # number of samples of the track
    assert frames == len(TIMES)
