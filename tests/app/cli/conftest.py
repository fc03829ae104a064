"""A project with an experiment, and what its commands return and print."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from figure_of_powers import FIGURE

from wfr_pde.app.cli import sweep
from wfr_pde.app.cli.main import main
from wfr_pde.app.experiments import loading

POWERS = (
    '''"""Powers of a number."""
import numpy as np
import xarray as xr

import wfr_pde as wfr

QUICK = {"n": 3}
CHECKS = {"last": (8.0, 0.5)}


def run(n=4, base=2.0, mode="fine", shift=(0.0, 0.0)):
    print("computing")
    if mode == "stop":
        raise KeyboardInterrupt
    if mode == "lost":
        raise wfr.NumericalError("the mass is lost")
    if mode == "device":
        raise wfr.BackendError("cupy is not installed")
    if mode == "extra":
        import a_package_that_is_not_there
    if mode == "bug":
        raise KeyError("a bug")
    values = base ** np.arange(n + 1.0) + sum(shift)
    return xr.Dataset({"power": ("k", values), "last": values[-1]})
'''
    + FIGURE
)
POWERS_IN_PARTS = (
    '''"""Powers of a number."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.experiments.parts import stored

QUICK = {"n": 1}
CHECKS = {"last": (8.0, 7.5)}


def run(n=3, base=2.0, sizes=(1, 2), mode: Literal["fine", "lost", "device", "stop"] = "fine", seed=0):
    print("computing")
    first = stored(power, 1.0)
    if mode == "lost" and base == 3:
        raise wfr.NumericalError("the mass is lost")
    if mode == "device":
        raise wfr.BackendError("cupy is not installed")
    if mode == "stop":
        raise KeyboardInterrupt
    return first.assign(last=base**n + sum(sizes) * 0.01)


def power(x):
    return xr.Dataset({"power": ("k", [x, x**2])})
'''
    + FIGURE
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one experiment, as the working directory; none come with the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "powers.py").write_text(POWERS)
    return tmp_path


@pytest.fixture
def in_parts(project, monkeypatch):
    """The project with an experiment that stores its parts; sweeps run in threads: processes are tested elsewhere."""
    (project / "experiments" / "powers.py").write_text(POWERS_IN_PARTS)
    monkeypatch.setattr(sweep, "_executor", lambda args: ThreadPoolExecutor(1))
    return project


@pytest.fixture
def result(capsys):
    """Runs a command line; returns exit code, stdout and stderr."""

    def run(*words):
        code = main(words)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def stderr_of(result):
    """Runs a command line; returns exit code, and what was printed to stderr: nothing may go to stdout."""

    def run(*words):
        code, out, err = result(*words)
        assert out == ""
        return code, err

    return run


@pytest.fixture
def json_of(result):
    """Runs a command line with --json; returns exit code and content."""

    def run(*words):
        code, out, _ = result(*words, "--json")
        return code, json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run
