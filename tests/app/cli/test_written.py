"""Files that cannot be written are refused before anything is computed, and folders that are not there are made."""

import pytest

import wfr_pde as wfr
from wfr_pde.app.cli import report as report_command
from wfr_pde.app.experiments import runner
from wfr_pde.storage.files import write_dataset

SOLVE = ["solve", "--potential", "x**2/2", "--start", "gaussian(mean=1, covariance=0.5)", "--t", "0,0.1"]
FLOW = ["--dt", "0.05", "--n", "40", "--start", "gaussian(mean=1, covariance=0.5)"]
COMPARE = ["compare", "truth.nc", "wfr_pde.samplers:Langevin", *FLOW, "--seeds", "2", "--floor-draws", "0"]
VALIDATE = ["validate", "truth.nc", "wfr_pde.samplers:Langevin", *FLOW, "--seeds", "20"]
OUTPUTS = [
    ([*SOLVE, "-o"], "out.nc"),
    (["truth", *SOLVE[1:], "-o"], "out.nc"),
    ([*COMPARE, "-o"], "out.nc"),
    ([*COMPARE, "--figure"], "out.png"),
    ([*VALIDATE, "-o"], "out.nc"),
    ([*VALIDATE, "--figure"], "out.pdf"),
    (["report", "-o"], "out.html"),
    (["all", "--report"], "out.html"),
]
IDS = [f"{words[0]} {words[-1]}" for words, _ in OUTPUTS]


def nothing(*args, **kwargs):
    raise AssertionError("computed before the output was looked at")


@pytest.fixture
def folder(project, monkeypatch):
    """A project with a truth, and a file where a folder would have to be."""
    start = wfr.Gaussian(1.0, 0.5)
    density = wfr.Grid.covering(wfr.Gaussian(0.0, 1.0), start, shape=64).density(start)
    write_dataset(wfr.solve(wfr.Gaussian(0.0, 1.0), wfr.FisherRao(), density, [0, 0.1], 0.1), "truth.nc")
    (project / "file").write_text("")
    return project


@pytest.fixture
def no_computation(folder, monkeypatch):
    """Whatever would be computed is an error."""
    from wfr_pde.app.cli import all as all_command
    from wfr_pde.truth.certified import certificate
    from wfr_pde.validation import comparison, verdicts

    for module, name in (
        *((wfr, "solve"), (wfr, "ground_truth"), (certificate, "ground_truth"), (comparison, "compare")),
        *((verdicts, "validate"), (report_command, "write_page"), (all_command, "_run_all"), (runner, "_compute")),
    ):
        monkeypatch.setattr(module, name, nothing)


@pytest.mark.parametrize(("words", "name"), OUTPUTS, ids=IDS)
@pytest.mark.usefixtures("no_computation")
def test_a_place_that_cannot_be_written_is_refused_beforehand(stderr_of, words, name):
    code, err = stderr_of(*words, f"file/{name}")
    assert code == 2
    assert err.startswith(f"wfr-pde: error: {words[-1]} file/{name} cannot be written (")
    assert "give a place in a folder of your own" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("words", "name"), OUTPUTS, ids=IDS)
@pytest.mark.usefixtures("no_computation")
def test_a_folder_in_place_of_a_file_is_refused_beforehand(folder, stderr_of, words, name):
    (folder / name).mkdir()
    code, err = stderr_of(*words, name)
    assert code == 2
    assert f"{words[-1]} {name} is a directory; give the name of a file in it" in err


@pytest.mark.parametrize("command", ["run", "sweep", "all"])
@pytest.mark.usefixtures("no_computation")
def test_a_root_of_results_that_cannot_be_written_is_refused_beforehand(stderr_of, command):
    name = {"run": ["powers"], "sweep": ["powers", "--n", "2,3"], "all": []}[command]
    code, err = stderr_of(command, *name, "--out", "file/results")
    assert code == 2
    assert "--out file/results cannot be written (Not a directory" in err


@pytest.mark.parametrize("words", [COMPARE, VALIDATE], ids=["compare", "validate"])
@pytest.mark.usefixtures("no_computation")
def test_a_picture_of_an_unknown_kind_is_refused_beforehand(stderr_of, words):
    code, err = stderr_of(*words, "--figure", "out.docx")
    assert code == 2
    assert "--figure must name a picture that ends in one of ." in err
    assert ".pdf, " in err
    assert "got 'out.docx'" in err


def test_folders_are_made(folder, result):
    code, _, err = result(*COMPARE, "-o", "new dir/sub/x.nc", "--figure", "new dir/ü/x.png", "--metrics", "mean_error")
    assert (code, err) == (0, "")
    assert (folder / "new dir" / "sub" / "x.nc").stat().st_size > 5000
    assert (folder / "new dir" / "ü" / "x.png").stat().st_size > 5000
    assert len(list((folder / "new dir").rglob("*"))) == 4  # nothing else is left
    code, _, _ = result(*SOLVE, "-o", "another dir/out.nc", "--shape", "256")
    assert code == 0
    assert (folder / "another dir" / "out.nc").exists()


@pytest.mark.usefixtures("folder")
def test_a_dry_run_makes_no_folder(folder, result):
    code, _, _ = result(*SOLVE, "--dry-run", "--shape", "256", "-o", "new dir/out.nc")
    assert code == 0
    assert not (folder / "new dir").exists()
