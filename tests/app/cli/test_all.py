"""The command all: every experiment of a folder, and the report of them."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wfr_pde.app.cli.main import main
from wfr_pde.app.experiments import executors

EXPERIMENT = '''"""A number and its square."""

import xarray as xr

import wfr_pde as wfr

QUICK = {"n": 1}
CHECKS = {"square": (4.0, 3.5)}


def run(n=WHERE):
    if n == 7:
        raise wfr.NumericalError("the mass is lost")
    return xr.Dataset({"square": ((), float(n**2))})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([float(ds.square)])
    return figure
'''


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with three experiments; cells run in threads here, processes are tested elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    for name, n in (("good", "2"), ("lost", "7"), ("off", "3")):
        (tmp_path / "experiments" / f"{name}.py").write_text(EXPERIMENT.replace("WHERE", n))
    monkeypatch.setattr(executors, "Processes", lambda jobs: ThreadPoolExecutor(1))
    return tmp_path


def test_all_in_quick_mode_and_the_report(project, capsys):
    assert main(["all", "--quick"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["experiment", "checks", "time", "directory"]
    assert [row[:2] for row in rows[1:4]] == [["good", "pass"], ["lost", "pass"], ["off", "pass"]]
    assert "3 of 3 checks pass" in out
    assert "A number and its square" in (project / "report.html").read_text()
    constraints = project / "results" / "constraints.txt"
    assert f"numpy=={np.__version__}\n" in constraints.read_text()
    constraints.write_text("numpy==1.0")
    assert main(["all", "--quick"]) == 0
    assert constraints.read_text() == "numpy==1.0"  # what is done is of the versions that it was made with
    assert capsys.readouterr().out.count("(stored)") == 3


def test_what_fails_costs_only_itself(capsys):
    assert main(["all", "--json"]) == 4
    out, err = capsys.readouterr()
    assert "wfr-pde: lost failed: the mass is lost" in err
    content = json.loads(out)
    assert [each["status"] for each in content["experiments"]] == ["pass", "failed", "FAIL"]
    assert content["report"]["failed"] == 1
    assert main(["all", "--dry-run"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows[1:]] == ["done", "to", "done"]


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("x = 1", 2, "experiments/helpers.py is not an experiment: it lacks run, figure, QUICK, CHECKS"),
        ("import no_such_package", 3, "No module named 'no_such_package' (in experiments/helpers.py)"),
        ("1 / 0", 2, "experiments/helpers.py, line 1: ZeroDivisionError: division by zero (in experiments/helpers.py)"),
        ("def f(:", 2, "experiments/helpers.py is not valid Python"),
        ("raise SystemExit(3)", 2, "experiments/helpers.py ends the program when it is loaded, with the exit code 3"),
        ("\0", 2, "experiments/helpers.py"),
    ],
)
def test_a_file_that_cannot_be_loaded_costs_only_itself(project, capsys, text, code, why):
    (project / "experiments" / "helpers.py").write_text(text)
    assert main(["all", "--quick", "--json"]) == code
    out, err = capsys.readouterr()
    assert err.startswith("wfr-pde: helpers failed: ")
    assert why in err
    content = json.loads(out)
    assert [each["status"] for each in content["experiments"]] == ["pass", "pass", "pass"]
    assert why in content["not_loaded"]["helpers"]
    assert content["report"]["checks_passed"] == 3
    assert main(["all", "--quick", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out.count(" done ") == 3
    assert why in err
    for name in ("good", "lost", "off"):
        (project / "experiments" / f"{name}.py").unlink()
    assert main(["all", "--quick"]) == 2
    assert "there is no experiment in 'experiments' that can be loaded (helpers: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--only", "off", "good"], ["--only", "good", "--quick", "--only", "off"]])
def test_only_some(project, capsys, words):
    assert main(["all", "--quick", *words]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == ["good", "off"]
    assert {path.name for path in (project / "results").iterdir() if path.is_dir()} == {"good", "off"}
    (project / "experiments" / "lost.py").write_text("def f(:")  # is not asked for, and so is not loaded
    assert main(["all", "--quick", *words]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--report", "page.pdf"], "--report must name a page that ends in .html, got 'page.pdf'"),
        (["--experiments", "nowhere"], "there is no folder 'nowhere' here"),
        (["--experiments", "."], "there is no experiment in '.'"),
        (
            ["--only", "goood"],
            "there is no experiment 'goood' in 'experiments' (did you mean 'good'?); known: good, lost",
        ),
        (["--only"], "argument --only: expected at least one argument"),
    ],
)
def test_wrong_options(words, message, capsys):
    assert main(["all", *words]) == 2
    assert message in capsys.readouterr().err
