"""The command run: its help, what it prints and stores, dry runs, and runs that were stopped."""

from pathlib import Path

import pytest

from wfr_pde.app.cli.main import main

pytestmark = pytest.mark.usefixtures("project")


def test_help_of_an_experiment_shows_its_knobs(capsys):
    assert main(["run", "powers", "--help"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["powers:", "Powers", "of", "a", "number."] in lines
    assert ["--n", "4", "3", "a", "whole", "number"] in lines
    assert ["--mode", "fine", "fine", "text"] in lines


def test_help_of_run_says_what_is_done_with_an_unfinished_run(result):
    _, out, _ = result("run", "--help")
    assert "goes on after the last part that it stored" in " ".join(out.split())


def test_run(project, capsys):
    assert main(["run", "powers", "--quick"]) == 0
    text = capsys.readouterr().out
    assert "n=3 base=2.0 mode=fine" in text
    assert [line.split() for line in text.splitlines()][-1] == ["last", "8", "8", "±", "0.5", "pass"]
    [data] = project.glob("results/powers/*/data.nc")
    assert str(data.relative_to(project)) in text
    assert main(["run", "powers", "--quick"]) == 0
    text = capsys.readouterr().out
    assert "re-used" in text
    assert "computing" not in text


def test_run_exits_with_one_if_a_check_fails(capsys):
    assert main(["run", "powers"]) == 1
    assert [line.split() for line in capsys.readouterr().out.splitlines()][-1][-1] == "FAIL"


def test_run_as_json(project, json_of):
    code, content = json_of("run", "powers", "--n", "3", "--base=inf", "--out", "elsewhere")
    assert code == 1
    assert content["checks"]["last"]["passed"] is False
    assert content["knobs"]["n"] == 3
    assert (project / content["directory"] / "figure.png").exists()
    assert Path(content["directory"]).parts[0] == "elsewhere"


@pytest.mark.parametrize(
    "words",
    [
        ["--n", "3", "--base", "-2", "--shift", "-1,17"],
        ["--n=3", "--base=-2.0", "--shift=-1,17"],
        ["--shift", "-1,17", "--quick", "--base", "-2"],
    ],
)
def test_knobs_with_a_minus(words, json_of):
    code, content = json_of("run", "powers", *words)
    assert code == 0
    assert content["knobs"] == {"n": 3, "base": -2.0, "mode": "fine", "shift": [-1.0, 17.0]}


def test_the_command_in_run_json_redoes_it(project, json_of):
    code, content = json_of("run", "powers", "--n", "3", "--shift", "-.5,.5")
    assert code == 0
    program, *words = content["command"].split()
    assert program == "wfr-pde"
    assert json_of(*words)[1]["reused"] is True


def test_run_of_a_file(project, json_of):
    assert json_of("run", "experiments/powers.py", "--n", "3")[0] == 0


def test_dry_run_of_an_experiment_runs_nothing(project, capsys, json_of):
    assert main(["run", "powers", "--n", "7", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "n=7" in text
    assert "would be computed" in text
    assert not (project / "results").exists()
    main(["run", "powers", "--n", "7"])
    capsys.readouterr()
    code, content = json_of("run", "powers", "--n", "7", "--dry-run")
    assert code == 0
    assert content["stored"] is True
    main(["run", "powers", "--n", "7", "--dry-run"])
    assert "would be re-used" in capsys.readouterr().out


COSTS = """

def costs(**knobs):
    import wfr_pde as wfr

    rho = wfr.Grid(-8, 8, 64).density(wfr.Gaussian(1, 1))
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    return {f"part {k}": wfr.estimate(wfr.Gaussian(0, 1), flow, rho, [0, k], 0.25) for k in (1, 2)}
"""


def test_dry_run_shows_what_an_experiment_says_of_its_costs(project, capsys, json_of):
    experiment = project / "experiments" / "powers.py"
    experiment.write_text(experiment.read_text() + COSTS)
    code, content = json_of("run", "powers", "--dry-run")
    costs = content["costs"]
    assert code == 0
    assert [cost["n_steps"] for cost in costs.values()] == [4, 8]
    assert all(cost["seconds"] > cost["preparation"] > 0 for cost in costs.values())
    assert main(["run", "powers", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-3:-1]] == [["part", "1"], ["part", "2"]]
    assert lines[-1].split()[0] == "all"
    assert lines[-1].endswith("at most")
    main(["run", "powers"])
    capsys.readouterr()
    main(["run", "powers", "--dry-run"])  # nothing is measured for what is there
    assert "part 1" not in capsys.readouterr().out


def test_run_resume_and_dry_run_of_a_run_that_was_stopped(in_parts, json_of, result):
    code, _, err = result("run", "powers", "--resume")
    assert code == 2
    assert "no run of powers with these knobs to resume" in err
    code, _, err = result("run", "powers", "--mode", "stop")
    assert code == 130
    assert "stored so far: 1 part of powers; the same command goes on from there" in err
    _, out, _ = result("run", "powers", "--mode", "stop", "--dry-run")
    assert "would be computed, after the 1 part stored before" in out
    assert json_of("run", "powers", "--mode", "stop", "--dry-run")[1]["parts"] == 1
    code, _, err = result("run", "powers", "--mode", "stop", "--resume", "--force")
    assert code == 2
    assert "contradict" in err


def test_run_with_a_seed_where_there_is_one(in_parts, json_of, result):
    assert json_of("run", "powers", "--seed", "3")[1]["knobs"]["seed"] == 3
    experiment = in_parts / "experiments" / "powers.py"
    experiment.write_text(experiment.read_text().replace(", seed=0", ""))
    code, _, err = result("run", "powers", "--seed", "3")
    assert code == 2
    assert "powers takes no --seed" in err


def test_a_choice_that_is_none(in_parts, result):
    code, _, err = result("run", "powers", "--mode", "coarse")
    assert code == 2
    assert "--mode must be one of fine | lost | device | stop (default: fine), got 'coarse'" in err
