"""What the commands say and do where results were computed by other code of the package."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import xarray as xr

from wfr_pde.app.cli import sweep as cli_sweep
from wfr_pde.app.cli.main import main
from wfr_pde.app.experiments import executors
from wfr_pde.app.report.runs import read_run
from wfr_pde.storage import files
from wfr_pde.storage.source_hash import source_hash

OLD = "0" * 64
NOW = source_hash()
SAID = f"computed by other code than the present (source hash {OLD[:12]}; now {NOW[:12]})"
EXPERIMENT = '''"""Two halves of a number."""
from pathlib import Path

import xarray as xr

from wfr_pde.app.experiments.parts import stored

QUICK = {}
CHECKS = {"whole": (2.0, 1.0)}


def run(n=2, stop=False):
    halves = [stored(half, n, k) for k in range(2)]
    if stop and Path("stop").exists():
        raise KeyboardInterrupt
    return xr.Dataset({"whole": sum(part["half"] for part in halves)})


def half(n, k):
    return xr.Dataset({"half": ((), n / 2)})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([float(ds.whole)])
    return figure
'''


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with one experiment; cells run in threads here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "halves.py").write_text(EXPERIMENT)
    monkeypatch.setattr(cli_sweep, "_executor", lambda args: ThreadPoolExecutor(1))
    monkeypatch.setattr(executors, "Processes", lambda jobs: ThreadPoolExecutor(1))
    return tmp_path


@pytest.fixture
def by_other_code(monkeypatch, capsys):
    """Runs a command line with other code of the package."""

    def run(*words):
        with monkeypatch.context() as patch:
            patch.setattr("wfr_pde.storage.source_hash.source_hash", lambda: OLD)
            code = main(words)
        capsys.readouterr()
        return code

    return run


@pytest.fixture
def result(capsys):
    """Exit code, stdout and stderr of a command line."""
    return lambda *words: (main(words), *capsys.readouterr())


def attrs(project, name="halves/*/data.nc"):
    [path] = project.glob(f"results/{name}")
    with xr.open_dataset(path) as ds:
        return ds.attrs


def test_run_says_so_and_takes_the_data_until_it_is_forced(by_other_code, result, project):
    by_other_code("run", "halves")
    code, out, _ = result("run", "halves")
    assert code == 0
    assert f"  note    {SAID}: --force computes them anew\n" in out
    content = json.loads(result("run", "halves", "--json")[1])
    assert (content["reused"], content["by_other_code"], content["source_hash"]) == (True, True, OLD)
    assert "other code" not in result("run", "halves", "--force")[1]
    assert attrs(project)["source_hash"] == NOW


def test_a_run_that_other_code_began_is_refused_or_accepted(by_other_code, result, project):
    (project / "stop").touch()
    assert by_other_code("run", "halves", "--stop=true") == 130
    (project / "stop").unlink()
    code, _, err = result("run", "halves", "--stop=true")
    assert code == 2
    assert "was begun by other code" in err
    assert "--force to start anew, or --accept-other-code" in err
    code, out, _ = result("run", "halves", "--stop=true", "--accept-other-code")
    assert code == 0
    assert "note    computed by other code" in out
    assert (attrs(project)["source_hash"], attrs(project)["other_source_hashes"]) == (NOW, OLD)


def test_a_sweep_that_other_code_began_is_refused_or_accepted_or_forced(by_other_code, result, project):
    by_other_code("sweep", "halves", "--n", "1,2")
    code, _, err = result("sweep", "halves", "--n", "1,2,3")
    assert code == 2
    for words in ("2 of the 3 cells of this sweep of halves", OLD[:12], NOW[:12], "--force", "--accept-other-code"):
        assert words in err
    assert len(list(project.glob("results/halves/*/data.nc"))) == 2
    code, out, _ = result("sweep", "halves", "--n", "1,2,3", "--accept-other-code")
    assert (code, out.count("(stored, by other code)")) == (0, 2)
    [three] = [path for path in project.glob("results/halves/sweep-*/sweep.json") if "1,2,3" in path.read_text()]
    content = json.loads(three.read_text())
    assert (content["source_hash"], content["other_source_hashes"]) == (NOW, OLD)
    with xr.open_dataset(three.with_suffix(".nc")) as ds:
        assert ds.attrs["other_source_hashes"] == OLD
    code, out, _ = result("sweep", "halves", "--n", "1,2,3", "--force")
    assert (code, out.count("stored")) == (0, 0)
    assert "other_source_hashes" not in json.loads(three.read_text())


def test_a_sweep_with_a_cell_that_other_code_began_is_refused(by_other_code, result, project):
    (project / "stop").touch()
    by_other_code("run", "halves", "--stop=true")
    (project / "stop").unlink()
    code, _, err = result("sweep", "halves", "--stop=false,true")
    assert code == 2
    assert "1 of the 2 cells of this sweep" in err


def test_figures_all_and_report_say_so(by_other_code, result, project):
    by_other_code("run", "halves")
    assert SAID in result("figures")[1]
    assert "(stored, by other code)" in result("all")[1]
    _, out, _ = result("report")
    assert out.splitlines()[1] == "by other code than the present: 1 run, marked on the page"
    page = (project / "report.html").read_text(encoding="utf-8")
    assert f'<span class="mark" title="{SAID}">other code</span>' in page
    [directory] = project.glob("results/halves/*")
    assert read_run(directory).provenance["source hash"] == f"{OLD[:12]}, not that of the present code"
    content = json.loads(result("report", "--json")[1])
    assert content["by_other_code"] == 1
    result("run", "halves", "--force")
    assert "other code" not in result("figures")[1] + result("all")[1] + result("report")[1]
    assert '<span class="mark"' not in (project / "report.html").read_text(encoding="utf-8")


def test_solve_refuses_what_other_code_left(by_other_code, result, project, monkeypatch):
    words = ["solve", "--potential", "x**2", "--start", "gaussian(1, 1)", "--t", "0,0.1,0.2", "-o", "out.nc"]
    monkeypatch.setattr("wfr_pde.integrate.frames.SECONDS_PER_SEGMENT", -1.0)
    written = files._write_netcdf

    def stopped(ds, path):
        if "seg-000001" in str(path):
            raise KeyboardInterrupt
        return written(ds, path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_netcdf", stopped)
        assert by_other_code(*words) == 130
    code, _, err = result(*words)
    assert code == 2
    assert "was begun by other code" in err
    assert "on the command line: --force drops it" in err
    assert result(*words, "--force")[0] == 0
