"""The command sweep: what it prints, returns and says to wrong input."""

import json

import pytest

from wfr_pde.app.cli.main import main

pytestmark = pytest.mark.usefixtures("in_parts")


@pytest.fixture
def json_of(result):
    """Runs a command line with --json; what an experiment prints in a thread comes before the content."""

    def run(*words):
        code, out, _ = result(*words, "--json")
        return code, json.loads(out[out.index("{") :])

    return run


def test_help_of_a_sweep_shows_the_knobs_and_their_choices(result):
    code, out, _ = result("sweep", "powers", "--help")
    assert code == 0
    assert "one of fine | lost | device | stop" in out


def test_sweep(project, result):
    code, out, err = result("sweep", "powers", "--n", "1,2,3", "--base=2")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line and line != "computing"]
    assert lines[0] == ["n", "last", "checks", "time", "directory"]
    assert [line[:3] for line in lines[1:4]] == [["1", "2.03", "pass"], ["2", "4.03", "pass"], ["3", "8.03", "pass"]]
    [file] = project.glob("results/powers/sweep-*/sweep.nc")
    assert lines[4][0] == f"{file.relative_to(project)},"
    _, out, _ = result("sweep", "powers", "--n", "1,2,3")
    assert out.count("(stored)") == 3


def test_sweep_as_json_and_a_check_that_fails(project, json_of, result):
    code, content = json_of("sweep", "powers", "--base", "2,3", "--sizes", "1;2,3", "--n", "3")
    assert code == 1
    assert content["command"] == "wfr-pde sweep powers --base=2.0,3.0 '--sizes=1;2,3'"
    assert [cell["status"] for cell in content["cells"]] == ["pass", "pass", "FAIL", "FAIL"]
    assert [cell["knobs"]["sizes"] for cell in content["cells"]] == [[1], [2, 3], [1], [2, 3]]
    assert (project / content["directory"] / "sweep.csv").exists()
    _, out, _ = result("sweep", "powers", "--base", "2,3")
    assert "FAIL last" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--mode", "lost"], 4, "a cell failed: base=3.0: the mass is lost"),
        (["--mode", "device"], 3, "a cell failed: base=2.0: cupy is not installed"),
    ],
)
def test_exit_codes_of_cells_that_fail(words, code, message, result):
    found, out, err = result("sweep", "powers", "--base", "2,3", *words)
    assert found == code
    assert message in err
    assert "failed" in out


def test_dry_run_of_a_sweep_runs_nothing(project, capsys, json_of, result):
    main(["run", "powers", "--n", "1"])
    main(["run", "powers", "--n", "2", "--mode", "stop"])
    capsys.readouterr()
    code, out, _ = result("sweep", "powers", "--n", "1,2,4", "--jobs", "1", "--dry-run")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["done", "to", "to"]
    assert "2 cells to be run; about" in out
    assert not list(project.glob("results/powers/sweep-*"))
    _, out, _ = result("sweep", "powers", "--n", "1,2", "--mode", "stop", "--dry-run")
    assert "begun, 1 part " in out
    content = json_of("sweep", "powers", "--n", "1,2,4", "--dry-run", "--shard", "2/3")[1]
    assert [cell["knobs"]["n"] for cell in content["cells"]] == [2]
    assert content["seconds"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "sweep needs the NAME of an experiment"),
        (["powers"], "needs a knob with several values, such as --n 3,6"),
        (["powers", "--n", "3,x"], "--n must be a whole number (default: 3), got 'x'"),
        (["powers", "--m", "3,4"], "has no knob 'm'"),
        (["powers", "--n", "1,2", "--shard", "3"], "--shard must be I/N such as 1/4, got '3'"),
        (["powers", "--n", "1,2", "--shard", "3/2"], "1 <= i <= n, got 3/2"),
        (["powers", "--n", "1,2", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["powers", "--n", "1,2", "--jobs", "1", "--dask", "tcp://x:1"], "give one of them"),
    ],
)
def test_wrong_sweeps(words, message, project, result):
    code, out, err = result("sweep", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert not (project / "results").exists()
