"""Progress: shown where it is asked for, one bar at a time, and no change of any number."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.numerics import progress
from wfr_pde.numerics.deadline import check_deadline

TARGET, START = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 0.5)
LANGEVIN = wfr.samplers.Langevin()


@pytest.fixture(scope="module")
def truth():
    return wfr.ground_truth(TARGET, START, [0, 0.2], reaction_rate=0, rtol=1e-3)


def runs(seeds=2):
    return [wfr.solve(TARGET, LANGEVIN, START.sample(50, rng=k), [0, 0.2], 0.1, rng=k) for k in range(seeds)]


CALLS = {
    "ground_truth": lambda truth, **how: wfr.ground_truth(TARGET, START, [0, 0.2], reaction_rate=0, rtol=1e-3, **how),
    "spectrum": lambda truth, **how: wfr.spectrum(TARGET, wfr.Grid(-6, 6, 64), 2, **how),
    "compare": lambda truth, **how: wfr.compare(truth, runs(), [metrics.mean_error], floor_draws=2, **how),
    "validate": lambda truth, **how: wfr.validate(LANGEVIN, truth, TARGET, dt=0.1, n=50, start=START, **how),
    "error_budget": lambda truth, **how: wfr.error_budget(
        LANGEVIN, truth, TARGET, dt=0.1, n=50, seeds=2, start=START, **how
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_progress_is_shown_where_asked_for(name, truth, capsys):
    plain = CALLS[name](truth)
    assert capsys.readouterr().err == ""  # no terminal
    shown = CALLS[name](truth, progress=True)
    err = capsys.readouterr().err
    assert f"{name}: " in err
    assert "step [" in err
    for key in plain.data_vars:
        np.testing.assert_array_equal(plain[key], shown[key])


def test_one_bar_at_a_time(capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_seen", lambda: True)
    with progress.reporting(None, "all"):
        with progress.reporting(None, "part"), progress.bar(None, 5, title="inner") as count:
            count()
        for _ in range(3):
            check_deadline()
    err = capsys.readouterr().err
    assert "all: " in err
    assert "part" not in err
    assert "inner" not in err
    check_deadline()  # nothing is left of it


def test_notebooks_are_watched(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(
        progress.sys.modules, "IPython", type("Module", (), {"get_ipython": staticmethod(lambda: shell)})
    )
    assert progress.is_seen()
    assert not progress.is_watched(False)


def test_no_stderr(monkeypatch):
    monkeypatch.setitem(progress.sys.modules, "IPython", None)
    monkeypatch.setattr(progress.sys, "stderr", None)
    assert not progress.is_seen()
