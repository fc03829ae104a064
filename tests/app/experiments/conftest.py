"""A project with one experiment, for the tests of what runs it."""

import pytest

from wfr_pde.app.experiments import loading

GOOD = '''"""A parabola and its end.

Its second paragraph.
"""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

QUICK = {"n": 4}
CHECKS = {"end": (1.0, 1e-12)}


def run(n=8, t_end=1.0, shape="square", rates=(1.0, 2), sizes=(1, 2), loud=False, tau: float = 2):
    with open(Path(__file__).with_suffix(".log"), "a") as log:
        log.write("run ")
    t = np.linspace(0, t_end, n)
    values = xr.DataArray(t**2, dims="t", attrs={"units": "1"})
    return xr.Dataset({"y": values, "end": values[-1]}, coords={"t": t}, attrs={"note": "mine"})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.t, ds.y)
    return figure
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with one experiment, as the working directory; none come with the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "parabola.py").write_text(GOOD)
    (tmp_path / "experiments" / "_shared.py").write_text("raise RuntimeError")
    return tmp_path / "experiments"


@pytest.fixture
def edited(folder):
    """Writes the experiment with a change, and returns its file."""

    def write(old, new):
        assert old in GOOD
        path = folder / "parabola.py"
        path.write_text(GOOD.replace(old, new))
        return path

    return write


@pytest.fixture
def times_run(folder):
    """How many times the experiment was run."""
    return lambda: (folder / "parabola.log").read_text().count("run")
