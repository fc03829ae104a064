"""Figures of experiments as they are stored: letters, the mark of quick runs, captions."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from wfr_pde.app.experiments.drawing import QUICK, STRIP, caption_of, drawn_figure
from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.runner import redraw, run_experiment

PLOT = '''"""Two panels: a line, and another. More about it."""

import xarray as xr

from wfr_pde import plotting

QUICK = dict(n=3)
CHECKS = {"last": (0.0, 100.0)}


def run(n=5):
    return xr.Dataset({"y": ("x", [float(k) for k in range(n)]), "last": ((), n - 1.0)})


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 3)
        left, right = fig.subplots(1, 2)
        left.plot(ds["y"], label="a line")
        left.set_title("Up (y)")
        right.plot(-ds["y"])
        fig.legend(loc="outside lower center")
    return fig
'''


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "two_panels.py").write_text(PLOT)
    return load_experiment(tmp_path / "two_panels.py")


@pytest.mark.parametrize("quick", [False, True])
def test_a_quick_run_is_marked_in_a_strip_of_its_own(experiment, tmp_path, quick):
    result = run_experiment(experiment, quick=quick, out=tmp_path / "results")
    picture = imread(result.directory / "figure.png")[..., :3]
    assert picture.shape[:2] == (600 + (round(200 * STRIP) if quick else 0), 1400)
    strip = picture[600:]
    assert (strip < 0.9).any() == quick
    plain = drawn_figure(experiment, result.data)
    plain.savefig(tmp_path / "plain.png", dpi=200)
    above = imread(tmp_path / "plain.png")[..., :3]
    moved = (np.abs(picture[:600] - above) > 0.3).mean()
    assert moved < 0.01  # letters, by a pixel of hinting; 0.04 if the legend alone has another place


def test_captions_say_what_is_claimed_and_what_the_panels_are(experiment, tmp_path):
    result = run_experiment(experiment, quick=True, out=tmp_path / "results")
    content = json.loads((result.directory / "run.json").read_text())
    expected = f"{experiment.description.rstrip('.')}. (a) Up (y). {QUICK.capitalize()}."
    assert content["caption"] == expected
    assert expected.encode() in (result.directory / "figure.png").read_bytes()
    redraw(experiment, result.directory)
    assert json.loads((result.directory / "run.json").read_text())["caption"] == expected
    assert caption_of(experiment, drawn_figure(experiment, result.data), False) == expected.split(" Quick")[0]


def test_without_figures_there_is_no_caption(experiment, tmp_path):
    result = run_experiment(experiment, out=tmp_path / "results", figures=False)
    assert "caption" not in json.loads((result.directory / "run.json").read_text())
