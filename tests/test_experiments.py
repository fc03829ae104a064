"""Every experiment in its quick form: its claims hold, and its figure is stored and fit to read.

These are run by `pytest -m experiments`, with `--results FOLDER` on what `wfr-pde all --quick --out FOLDER` has stored.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

import wfr_pde as wfr
from wfr_pde.app.experiments.drawing import drawn_figure
from wfr_pde.app.experiments.loading import find_experiments, load_experiment
from wfr_pde.app.experiments.runner import run_experiment

ROOT = Path(__file__).parent.parent
FILES = find_experiments(ROOT / "experiments")


@pytest.mark.experiments
@pytest.mark.parametrize("name", FILES)
def test_claims_hold_and_the_figure_is_fit_to_read(name, tmp_path, pytestconfig, check_fit_to_read):
    out = pytestconfig.getoption("results") or tmp_path
    result = run_experiment(load_experiment(FILES[name]), quick=True, out=out)
    assert result.checks, "an experiment claims something"
    assert not [f"{check.name} = {check.value:.6g}" for check in result.checks if not check.passed]
    for file in ("figure.png", "figure.pdf"):
        assert (result.directory / file).stat().st_size > 10_000
    check_fit_to_read(drawn_figure(result.experiment, result.data))


@pytest.mark.parametrize("name", FILES)
def test_the_command_that_is_recorded_makes_the_same_run(name):
    """Names with commas in them, too: what the command line says is what ran."""
    experiment = load_experiment(FILES[name])
    for quick in (False, True):
        values = experiment.values({}, quick)
        words = shlex.split(experiment.command(values))[3:]
        assert experiment.values(experiment.parse(dict(word[2:].split("=", 1) for word in words))) == values


@pytest.mark.parametrize("name", FILES)
def test_the_full_run_is_in_the_gallery(name):
    """Its figure, what was drawn, and that all claims hold in full, too."""
    experiment = load_experiment(FILES[name])
    directory = experiment.directory(experiment.values({}), ROOT / "gallery")
    content = json.loads((directory / "run.json").read_text())
    assert content["passed"]
    assert content["command"] in (f"wfr-pde run {name}", f"wfr-pde run {name} --out=gallery")
    assert set(content["checks"]) == set(experiment.checks)
    assert (directory / "figure.png").exists()
    assert (directory / "figure.csv").exists()


def test_escape_rate_of_galaxies_is_the_spectral_gap():
    """The number that the experiment checks against, by a second scheme: finite volumes and an eigensolver."""
    module = load_experiment(FILES["galaxies"]).run.__globals__
    posterior = wfr.Posterior(wfr.Gaussian([21, 21], 100.0), module["log_likelihood"], module["galaxies"]())
    gap = wfr.spectrum(posterior, wfr.Grid((9, 9), (28, 28), 160), 2)
    assert float(gap.eigenvalue_error[1]) < 1e-8
    expected, tolerance = load_experiment(FILES["galaxies"]).checks["w_escape_rate"]
    assert float(gap.eigenvalue[1]) == pytest.approx(expected, abs=tolerance)
