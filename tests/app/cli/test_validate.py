"""`wfr-pde validate`: verdicts and exit codes, files, and what it says to wrong input."""

import json

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import plotting
from wfr_pde.app.cli.main import main
from wfr_pde.storage import files

SAMPLERS = '''
import math

from wfr_pde.samplers import Langevin

half = Langevin(0.5)
number = 3


def ula(target, x, times, rng, dt=0.1, noise=2.0):
    """Unadjusted Langevin, with too little noise if that is asked for."""
    yield times[0], x, None
    for start, end in zip(times, times[1:]):
        n = max(1, round((end - start) / dt))
        h = (end - start) / n
        for _ in range(n):
            x = x + h * target.score(x) + math.sqrt(noise * h) * rng.standard_normal(x.shape)
        yield end, x, None
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("validate")
    (path / "ours.py").write_text(SAMPLERS)
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.5)
    ds = wfr.ground_truth(target, start, [0, 0.5, 1.0], rtol=1e-4, reaction_rate=0, cross_check=False)
    files.write_dataset(ds, path / "truth.nc")
    runs = [wfr.solve(target, wfr.samplers.Langevin(), start.sample(500, rng=k), [0, 1], 0.1, rng=k) for k in range(20)]
    positions = np.array([run["position"].values for run in runs])
    np.savez(path / "runs.npz", positions=positions, times=np.array([0.0, 1.0]))
    return path


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


SCHEME = ["--scheme", "wfr_pde.samplers:Langevin", "--dt", "0.1", "--n", "400"]


def test_a_correct_one_returns_zero(capsys):
    assert main(["validate", "truth.nc", "ours.py:ula", *SCHEME]) == 0
    out = capsys.readouterr().out
    assert out.startswith("consistent: ours.ula\nheld against the law of Langevin(rate=1.0); 20 runs of 400 particles")


def test_a_wrong_one_returns_one_and_is_drawn_and_stored(capsys):
    words = ["--options", '{"noise": 1.0}', "--figure", "verdict.png", "-o", "verdict.nc", "--json"]
    assert main(["validate", "truth.nc", "ours.py:ula", *SCHEME, *words]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["attrs"]["verdict"] == "inconsistent"
    ds = files.read_dataset("verdict.nc")
    assert ds["score"].sel(statistic="variance x").min() > 1
    assert ds["deviation"].sel(statistic="variance x").max() < 0
    assert plotting.verdict(ds).axes[0].get_title() == "inconsistent"


def test_the_truth_alone_does_not_know_the_step_and_needs_none(capsys):
    """Without a scheme the bias of the step is measured and forgiven: dt and dt/2."""
    assert main(["validate", "truth.nc", "ours.py:ula", "--dt", "0.1", "--n", "200"]) == 0
    assert "held against the truth" in capsys.readouterr().out


def test_runs_from_a_file(capsys):
    assert main(["validate", "truth.nc", "runs.npz", "--scheme", "wfr_pde.samplers:Langevin", "--dt", "0.1"]) == 0
    assert "20 runs of 500 particles" in capsys.readouterr().out
    assert main(["validate", "truth.nc", "runs.npz", "--scheme", "ours.py:half", "--dt", "0.1"]) == 1
    assert "inconsistent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.nc", "ours.py:ula"], "nowhere.nc does not exist"),
        (["truth.nc", "ours.py:none"], "ours has no 'none'; it has"),
        (["truth.nc", "ours.py:number"], "which cannot be called: name a function, a class or a Flow"),
        (["truth.nc", "ours.py:half"], "Langevin needs a step: give dt="),
        (["truth.nc", "ours.py:ula", "--seeds", "5"], "seeds must be a whole number of at least 20, got 5"),
        (["truth.nc", "ours.py:ula", "--options", "dt"], "--options must be JSON"),
        (["truth.nc", "ours.py:ula", "--modes", "1,"], "--modes must be JSON"),
        (["truth.nc", "ours.py:ula", "--scheme", "ours.py:half"], "needs its step: give dt="),
        (["truth.nc", "ours.py:ula", "-o", "out.txt"], "must name a NetCDF file"),
        (["truth.nc", "wfr_pde.samplers:SMCWFR", "--dt", "1e-7"], "is too small for SMCWFR"),
    ],
)
def test_wrong_input_returns_two(words, message, capsys):
    assert main(["validate", *words]) == 2
    assert message in capsys.readouterr().err
