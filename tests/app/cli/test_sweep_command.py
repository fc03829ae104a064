"""The commands sweep, figures and completion, and the options of run: what they print, return and say."""

import json
import shutil
import subprocess

import pytest

from wfr_pde.app.cli import sweep as cli_sweep
from wfr_pde.app.cli.main import main

EXPERIMENT = '''"""Powers of a number."""
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


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.power)
    return figure
'''


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with one experiment, and sweeps in threads: processes are tested elsewhere, and take a while."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "powers.py").write_text(EXPERIMENT)
    monkeypatch.setattr(cli_sweep, "_executor", lambda args: ThreadPoolExecutor(1))
    return tmp_path


def result(capsys, *words):
    """Exit code, stdout and stderr."""
    code = main(words)
    return code, *capsys.readouterr()


def json_of(capsys, *words):
    code = main([*words, "--json"])
    printed = capsys.readouterr().out
    return code, json.loads(printed[printed.index("[" if printed.lstrip().startswith("[") else "{") :])


# Help


@pytest.mark.parametrize("command", ["sweep", "figures", "completion"])
def test_help_has_examples(command, capsys):
    try:
        code = main([command, "--help"])
    except SystemExit as end:
        code = end.code
    assert code == 0
    assert f"wfr-pde {command}" in capsys.readouterr().out.split("examples:")[1]


def test_help_of_a_sweep_shows_the_knobs_and_their_choices(capsys):
    code, out, _ = result(capsys, "sweep", "powers", "--help")
    assert code == 0
    assert "one of fine | lost | device | stop" in out


def test_help_of_run_says_what_is_done_with_an_unfinished_run(capsys):
    _, out, _ = result(capsys, "run", "--help")
    assert "goes on after the last part that it stored" in " ".join(out.split())


# run


def test_run_resume_and_dry_run_of_a_run_that_was_stopped(capsys):
    code, _, err = result(capsys, "run", "powers", "--resume")
    assert code == 2
    assert "no run of powers with these knobs to resume" in err
    code, _, err = result(capsys, "run", "powers", "--mode", "stop")
    assert code == 130
    assert "1 parts of powers are stored; the same command goes on after them" in err
    _, out, _ = result(capsys, "run", "powers", "--mode", "stop", "--dry-run")
    assert "would be computed, after the 1 parts that are stored" in out
    assert json_of(capsys, "run", "powers", "--mode", "stop", "--dry-run")[1]["parts"] == 1
    code, _, err = result(capsys, "run", "powers", "--mode", "stop", "--resume", "--force")
    assert code == 2
    assert "contradict" in err


def test_run_with_a_seed_where_there_is_one(project, capsys):
    assert json_of(capsys, "run", "powers", "--seed", "3")[1]["knobs"]["seed"] == 3
    (project / "experiments" / "powers.py").write_text(EXPERIMENT.replace(", seed=0", ""))
    code, _, err = result(capsys, "run", "powers", "--seed", "3")
    assert code == 2
    assert "powers takes no --seed" in err


def test_a_choice_that_is_none(capsys):
    code, _, err = result(capsys, "run", "powers", "--mode", "coarse")
    assert code == 2
    assert "--mode must be one of fine | lost | device | stop (default: fine), got 'coarse'" in err


# sweep


def test_sweep(project, capsys):
    code, out, err = result(capsys, "sweep", "powers", "--n", "1,2,3", "--base=2")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line and line != "computing"]
    assert lines[0] == ["n", "last", "checks", "time", "directory"]
    assert [line[:3] for line in lines[1:4]] == [["1", "2.03", "pass"], ["2", "4.03", "pass"], ["3", "8.03", "pass"]]
    [file] = project.glob("results/powers/sweep-*/sweep.nc")
    assert lines[4][0] == f"{file.relative_to(project)},"
    _, out, _ = result(capsys, "sweep", "powers", "--n", "1,2,3")
    assert out.count("(stored)") == 3


def test_sweep_as_json_and_a_check_that_fails(project, capsys):
    code, content = json_of(capsys, "sweep", "powers", "--base", "2,3", "--sizes", "1;2,3", "--n", "3")
    assert code == 1
    assert content["command"] == "wfr-pde sweep powers --base=2.0,3.0 '--sizes=1;2,3'"
    assert [cell["status"] for cell in content["cells"]] == ["pass", "pass", "FAIL", "FAIL"]
    assert [cell["knobs"]["sizes"] for cell in content["cells"]] == [[1], [2, 3], [1], [2, 3]]
    assert (project / content["directory"] / "sweep.csv").exists()
    _, out, _ = result(capsys, "sweep", "powers", "--base", "2,3")
    assert "FAIL last" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--mode", "lost"], 4, "a cell failed: base=3.0: the mass is lost"),
        (["--mode", "device"], 3, "a cell failed: base=2.0: cupy is not installed"),
    ],
)
def test_exit_codes_of_cells_that_fail(words, code, message, capsys):
    found, out, err = result(capsys, "sweep", "powers", "--base", "2,3", *words)
    assert found == code
    assert message in err
    assert "failed" in out


def test_dry_run_of_a_sweep_runs_nothing(project, capsys):
    main(["run", "powers", "--n", "1"])
    main(["run", "powers", "--n", "2", "--mode", "stop"])
    capsys.readouterr()
    code, out, _ = result(capsys, "sweep", "powers", "--n", "1,2,4", "--jobs", "1", "--dry-run")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["done", "to", "to"]
    assert "2 cells to be run; about" in out
    assert not list(project.glob("results/powers/sweep-*"))
    _, out, _ = result(capsys, "sweep", "powers", "--n", "1,2", "--mode", "stop", "--dry-run")
    assert "begun, 1 parts" in out
    content = json_of(capsys, "sweep", "powers", "--n", "1,2,4", "--dry-run", "--shard", "2/3")[1]
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
def test_wrong_sweeps(words, message, project, capsys):
    code, out, err = result(capsys, "sweep", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert not (project / "results").exists()


# figures


def test_figures_draws_what_is_stored(project, capsys):
    assert result(capsys, "figures")[1] == "nothing is stored in results\n"
    main(["sweep", "powers", "--n", "1,2"])
    main(["run", "experiments/powers.py", "--n", "4"])  # named by its path
    main(["run", "powers", "--n", "2", "--mode", "stop"])  # no data
    capsys.readouterr()
    drawn = list(project.glob("results/powers/*/figure.*"))
    assert len(drawn) == 9
    for path in drawn:
        path.unlink()
    code, out, _ = result(capsys, "figures")
    assert code == 0
    assert "computing" not in out
    assert len(out.splitlines()) == 3
    assert all(path.exists() for path in drawn)
    assert "FAIL last" in out  # 16 is out of range
    assert len(json_of(capsys, "figures", "powers")[1]) == 3


def test_figures_says_what_cannot_be_drawn_and_draws_the_rest(project, capsys):
    main(["run", "powers", "--n", "1"])
    shutil.copy(project / "experiments" / "powers.py", project / "experiments" / "roots.py")
    main(["run", "roots", "--n", "1"])
    capsys.readouterr()
    (project / "experiments" / "powers.py").write_text(EXPERIMENT.replace("ds.power", "ds.root"))
    (project / "experiments" / "roots.py").write_text(EXPERIMENT.replace("* 0.01", "* 0.02"))
    code, out, _ = result(capsys, "figures")
    assert code == 1
    assert "failed: AttributeError" in out.splitlines()[0]
    assert "data of an older version of the experiment; `wfr-pde run` computes them again" in out.splitlines()[1]
    (project / "experiments" / "roots.py").unlink()
    assert "no experiment 'roots'" in result(capsys, "figures")[1]


@pytest.mark.parametrize(("name", "message"), [("circle", "no experiment 'circle'"), ("powers", "nothing of powers")])
def test_figures_of_nothing(name, message, capsys):
    code, _, err = result(capsys, "figures", name)
    assert code == 2
    assert message in err


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_the_script(shell, project, capsys):
    code, out, _ = result(capsys, "completion", shell)
    assert code == 0
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (project / "script").write_text(out)
    subprocess.run([shell, "-n", "script"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["s"], {"sweep", "solve"}),
        (["run", "po"], {"powers"}),
        (["sweep", "powers", "--d"], {"--dry-run", "--dask"}),
        (["solve", "--order", ""], {"2", "4", "6", "8"}),
        (["solve", "--t", ""], set()),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["figures", "p"], {"powers"}),
        (["--", "x"], set()),
    ],
)
def test_bash_completes(words, found, project, capsys):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    (project / "script").write_text(result(capsys, "completion", "bash")[1])
    (project / "experiments" / "_shared.py").touch()
    line = " ".join(f"'{word}'" for word in ["wfr-pde", *words])
    command = (
        f'source ./script; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _wfr_pde; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == found


def test_fish_completes(project, capsys):
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    (project / "script").write_text(result(capsys, "completion", "fish")[1])
    done = subprocess.run(
        ["fish", "--no-config", "-c", 'source ./script; complete -C "wfr-pde run po"; complete -C "wfr-pde sw"'],
        check=True, capture_output=True, text=True, env={"HOME": str(project), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["powers", "sweep"]
