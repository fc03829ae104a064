"""The command line: what it prints, stores and returns, and what it says to wrong input."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.cli.main import chosen_dt, main
from wfr_pde.storage import files

EXPERIMENT = '''"""Powers of a number."""
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


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.power)
    return figure
'''
WELL = ["solve", "--potential", "2*(x**2-1)**2", "--start", "gaussian(mean=-1, covariance=0.04)"]
SMALL = [*WELL, "--t", "0:0.2:3", "--shape", "64", "--dt", "0.05"]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with one experiment, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "powers.py").write_text(EXPERIMENT)
    return tmp_path


def stderr_of(capsys, *words):
    """Exit code, and what was printed to stderr; nothing may go to stdout."""
    code = main(words)
    printed = capsys.readouterr()
    assert printed.out == ""
    return code, printed.err


def json_of(capsys, *words):
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# Help


@pytest.mark.parametrize("words", [[], ["list"], ["run"], ["solve"], ["info"]])
def test_help_has_examples(words, capsys):
    with contextlib.suppress(SystemExit):
        main([*words, "--help"])
    text = capsys.readouterr().out
    assert "usage: wfr-pde" in text
    assert "examples:\n  wfr-pde " in text
    assert max(map(len, text.splitlines())) <= 120


def test_help_of_an_experiment_shows_its_knobs(capsys):
    assert main(["run", "powers", "--help"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["powers:", "Powers", "of", "a", "number."] in lines
    assert ["--n", "4", "3", "a", "whole", "number"] in lines
    assert ["--mode", "fine", "fine", "text"] in lines


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"wfr-pde {wfr.__version__}\n"


def test_the_command_is_light():
    """Help must not wait for libraries that it does not need."""
    script = (
        "import sys, wfr_pde.app.cli.main\n"
        "print([m for m in ('xarray', 'matplotlib', 'sympy', 'numba', 'pandas', 'h5py') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


# list


def test_list(capsys):
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "powers  Powers of a number.\n"
    code, found = json_of(capsys, "list")
    assert code == 0
    assert found == [{"name": "powers", "description": "Powers of a number.", "path": "experiments/powers.py"}]


def test_list_of_nothing(project, capsys):
    (project / "experiments" / "powers.py").unlink()
    assert main(["list"]) == 0
    assert "no experiments" in capsys.readouterr().out


# run


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


def test_run_as_json(project, capsys):
    code, content = json_of(capsys, "run", "powers", "--n", "3", "--base=nan", "--out", "elsewhere")
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
def test_knobs_with_a_minus(words, capsys):
    code, content = json_of(capsys, "run", "powers", *words)
    assert code == 0
    assert content["knobs"] == {"n": 3, "base": -2.0, "mode": "fine", "shift": [-1.0, 17.0]}


def test_the_command_in_run_json_redoes_it(project, capsys):
    code, content = json_of(capsys, "run", "powers", "--n", "3", "--shift", "-.5,.5")
    assert code == 0
    program, *words = content["command"].split()
    assert program == "wfr-pde"
    assert json_of(capsys, *words)[1]["reused"] is True


def test_run_of_a_file(project, capsys):
    assert json_of(capsys, "run", "experiments/powers.py", "--n", "3")[0] == 0


def test_dry_run_of_an_experiment_runs_nothing(project, capsys):
    assert main(["run", "powers", "--n", "7", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "n=7" in text
    assert "would be computed" in text
    assert not (project / "results").exists()
    main(["run", "powers", "--n", "7"])
    capsys.readouterr()
    code, content = json_of(capsys, "run", "powers", "--n", "7", "--dry-run")
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


def test_dry_run_shows_what_an_experiment_says_of_its_costs(project, capsys):
    (project / "experiments" / "powers.py").write_text(EXPERIMENT + COSTS)
    code, content = json_of(capsys, "run", "powers", "--dry-run")
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


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [
        ("stop", 130, "wfr-pde: interrupted; no data of powers with these knobs were stored"),
        ("lost", 4, "wfr-pde: error: the mass is lost"),
        ("device", 3, "wfr-pde: error: cupy is not installed"),
        ("extra", 3, "wfr-pde: error: No module named 'a_package_that_is_not_there'"),
    ],
)
def test_exit_codes(mode, code, message, capsys):
    assert main(["run", "powers", "--mode", mode]) == code
    assert capsys.readouterr().err.splitlines() == [message]


def test_an_error_of_the_program_is_not_taken_for_bad_input():
    with pytest.raises(KeyError):
        main(["run", "powers", "--mode", "bug"])


def test_traceback_where_asked_for(capsys):
    with pytest.raises(ValueError, match="no experiment"):
        main(["run", "circles", "--traceback"])


# solve


def test_solve(project, capsys):
    assert main([*SMALL, "-o", "out.nc"]) == 0
    text = capsys.readouterr().out
    assert "dt = 0.05\n" in text
    assert text.splitlines()[-1].startswith("out.nc: 4 steps")
    assert [p.name for p in project.iterdir() if p.name.startswith("out")] == ["out.nc"]
    with xr.open_dataset("out.nc") as ds:
        assert ds["log_density"].dims == ("t", "x")
        assert set(ds.data_vars) == {"log_density", "kl", "mean", "cell_width_x"}
        rows = [line.split() for line in text.splitlines()]
        assert rows[-3][:2] == ["0.2", f"{float(ds['kl'][-1]):.6g}"]
        target = wfr.Potential("2*(x**2-1)**2")
        start = wfr.Gaussian(-1, 0.04)
        flow = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0)), 6)
        rho = wfr.Grid.covering(target, start, shape=64).density(start)
        same = wfr.solve(target, flow, rho, [0, 0.1, 0.2], 0.05)
        assert np.array_equal(ds["log_density"], same["log_density"])


@pytest.mark.parametrize(
    ("words", "flow"),
    [
        (["--order", "2"], "Strang(outer=FisherRao(rate=1.0), inner=SinkhornKernel(rate=1.0))"),
        (["--transport-rate", "0"], "FisherRao(rate=1.0)"),
        (["--reaction-rate", "0", "--order", "2"], "SinkhornKernel(rate=1.0)"),
        (
            ["--reaction-rate", "0", "--transport-rate", "2", "--dt", "0.03"],
            "Extrapolated(flow=SinkhornKernel(rate=2.0), order=6, variable='dt')",
        ),
    ],
)
def test_schemes(words, flow, capsys):
    code, content = json_of(capsys, *SMALL, *words, "--dry-run")
    assert code == 0
    assert content["flow"] == flow


def test_box_boundary_and_records(capsys):
    code, content = json_of(
        capsys, "solve", "--target", "potential('cos(x) + 2*y**2')", "--start", "potential('cos(x-1) + y**2')",
        "--t", "-1,0,0.5", "--lower", "-3.141592653589793,-4.5", "--upper", "3.141592653589793,4.5",
        "--shape", "24,48", "--boundary", "periodic,no-flux", "--record", "mass,entropy", "--dt", ".5",
        "--order", "2", "-o", "out.nc",
    )  # fmt: skip
    assert code == 0
    assert content["t"] == [-1, 0, 0.5]
    assert content["mass"] == pytest.approx([1, 1, 1], abs=1e-12)
    assert "kl" not in content
    grid = wfr.Grid.from_dataset(files.read_dataset("out.nc"))
    assert grid.boundary == ("periodic", "no-flux")
    assert grid.shape == (24, 48)


def test_real_walls(capsys):
    words = ["solve", "--potential", "x", "--start", "potential('3*x')", "--lower", "0", "--upper", "1"]
    words += ["--t", "0:1:2", "--shape", "32", "--max-cut", "1", "-o", "out.nc"]
    code, content = json_of(capsys, *words)
    assert code == 0
    assert content["kl"][-1] < 1e-3 * content["kl"][0]


SCALES = ["solve", "--target", "gaussian(mean=0, covariance=2500)", "--start", "gaussian(mean=0, covariance=0.01)"]


@pytest.mark.parametrize("box", [[], ["--lower", "-400", "--upper", "400"]])
def test_graded_cells(box, capsys):
    words = [*SCALES, "--t", "0:1200:2", "--graded", "--order", "2", *box]
    assert stderr_of(capsys, *SCALES, "--t", "0:1200:2", *box, "--dry-run")[0] == 2  # equal cells are too wide
    code, content = json_of(capsys, *words, "-o", "out.nc")
    assert code == 0
    grid = wfr.Grid.from_dataset(files.read_dataset("out.nc"))
    [axis] = grid.axes
    assert axis.widths.min() < 0.04
    assert axis.widths.max() > 10
    if box:
        assert (grid.lower, grid.upper) == ((-400.0,), (400.0,))
    # a splitting of order 2 with one or more steps: close to the target, which has its KL as the start falls
    assert content["kl"][-1] < 1e-2 * content["kl"][0]
    assert main([*words, "--dry-run"]) == 0
    assert "x graded from 0.0" in capsys.readouterr().out
    assert json_of(capsys, *words, "--dry-run")[1]["graded"] == {"x": True}


def test_seed_is_stored(capsys):
    assert json_of(capsys, *SMALL, "--seed", "7", "-o", "out.nc")[0] == 0
    assert files.read_dataset("out.nc").attrs["seed"] == "7"


@pytest.mark.parametrize("times", [np.linspace(0, 1, 11), np.array([0, 0.3, 1.0]), np.array([0, 0.0301, 0.7])])
def test_chosen_dt_is_the_smallest_that_the_solver_takes(times):
    target, start = wfr.DoubleWell(1.0), wfr.Gaussian(-1, 0.1)
    rho = wfr.Grid(-3.2, 3.2, 64).density(start)
    flow = wfr.Extrapolated(wfr.SinkhornKernel(), 4)
    low = flow.limits(wfr.KL(target), rho)[0]
    dt = chosen_dt(flow, wfr.KL(target), rho, times)
    assert low * (1 - 1e-9) <= dt < low * (1 + low / np.diff(times).min())
    sizes = json.loads(wfr.solve(target, flow, rho, times, dt).attrs["dt_used"])
    assert min(sizes) >= low * (1 - 1e-9)


def test_chosen_dt_of_a_flow_without_limits():
    rho = wfr.Grid(-3.2, 3.2, 64).density(wfr.Gaussian(-1, 0.1))
    assert chosen_dt(wfr.FisherRao(), wfr.KL(wfr.DoubleWell(1.0)), rho, np.array([0, 0.5, 2])) == 1.5


def test_dry_run_says_what_it_would_cost(project, capsys):
    words = [*WELL, "--t", "0:5:51", "--dry-run"]
    assert main(words) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["cells"] == "256 (256)"
    assert rows["steps"].endswith("over 51 save times")
    assert "chosen" in rows["dt"]
    assert "estimate" in rows["time"]
    code, content = json_of(capsys, *words)
    assert code == 0
    assert content["cells"] == 256
    assert content["n_times"] == 51
    assert content["memory_bytes"] > 57 * 256 * 8
    assert 0 < content["seconds"] < 600
    assert not list(project.glob("out*"))


def test_an_existing_file_is_replaced_only_by_force(project, capsys):
    Path("out.nc").write_text("mine")
    code, message = stderr_of(capsys, *SMALL, "-o", "out.nc")
    assert code == 2
    assert "out.nc exists: choose another name, or give --force" in message
    assert Path("out.nc").read_text() == "mine"
    assert main([*SMALL, "-o", "out.nc", "--force"]) == 0
    assert files.read_dataset("out.nc").sizes["t"] == 3


def interrupted_after(monkeypatch, frames):
    """Have the progress of a run end in an interruption."""
    module = sys.modules["wfr_pde.integrate.time_loop"]
    advance, calls = module._advance, []

    def interrupted(*args):
        calls.append(0)
        if len(calls) >= frames:
            raise KeyboardInterrupt
        return advance(*args)

    monkeypatch.setattr(module, "_advance", interrupted)


def test_an_interrupted_solve_says_what_was_saved_and_goes_on(project, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(patch, 2)
        assert main([*SMALL, "-o", "out.nc"]) == 130
    message = capsys.readouterr().err
    assert message == (
        "wfr-pde: interrupted; the result up to t = 0.1 is in out.nc.partial; the same command goes on from there\n"
    )
    assert wfr.open_run("out.nc.partial").sizes["t"] == 2
    assert main([*SMALL, "-o", "out.nc"]) == 0
    assert not Path("out.nc.partial").exists()
    assert main([*SMALL, "-o", "whole.nc"]) == 0
    resumed, whole = files.read_dataset("out.nc"), files.read_dataset("whole.nc")
    assert resumed.equals(whole)


def test_another_command_does_not_mix_with_what_was_left(project, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(patch, 2)
        main([*SMALL, "-o", "out.nc"])
    capsys.readouterr()
    assert main([*SMALL, "--order", "4", "-o", "out.nc"]) == 2
    message = capsys.readouterr().err
    assert "holds another run" in message
    assert "--force drops it" in message
    assert main([*SMALL, "--order", "4", "-o", "out.nc", "--force"]) == 0


def test_a_failed_solve_says_what_was_saved(capsys, monkeypatch):
    module = sys.modules["wfr_pde.integrate.time_loop"]
    check, calls = module._check, []

    def failing(*args):
        calls.append(0)
        if len(calls) == 3:
            raise wfr.NumericalError("the state is not finite at t=0.2")
        return check(*args)

    monkeypatch.setattr(module, "_check", failing)
    assert main([*SMALL, "-o", "out.nc"]) == 4
    message = capsys.readouterr().err
    assert "not finite at t=0.2" in message
    assert "up to t = 0.1 is in out.nc.partial" in message
    assert not Path("out.nc").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--potential", "2*(x**2-1"], "'2*(x**2-1'"),
        (["--potential", "__import__('os').system('true')"], "not a character allowed"),
        (["--potential", "q**2"], "'q'"),
        (["--potential", "x**2 + y**2"], "uses y, which needs ndim >= 2, but ndim is 1 (--start is 1-dimensional)"),
        (["--potential", "-x**2"], "not integrable"),
        (["--potential", "log(x)", "--lower", "-3", "--upper", "1", "--shape", "99"], "not finite"),
        (["--start", "gauss(mean=0)"], "known: "),
        (["--start", "gaussian(mean=0, sd=1)"], "no parameter 'sd'"),
        (["--start", "gaussian(mean=0, covariance=-1)"], "covariance must be positive"),
        (["--start", "gaussian(mean=0, covariance=1e-6)"], "cells are too wide for the start"),
        (["--t", "0:5"], "--t must be start:stop:number such as 0:5:51"),
        (["--t", "0:5:0.1"], "--t must be start:stop:number"),
        (["--t", "now"], "--t must be numbers such as"),
        (["--t", "5:0:3"], "increasing save times"),
        (["--t", "0:1e-6:3"], "too small"),
        (["--dt", "0"], "dt must be a finite number > 0"),
        (["--dt", "-1"], "dt must be a finite number > 0"),
        (["--dt", "1e-9"], "a larger dt (at least"),
        (["--dt", "soon"], "argument --dt: invalid float value: 'soon'"),
        (["--order", "3"], "argument --order: invalid choice"),
        (["--transport-rate", "-1"], "rate >= 0, got rate=-1.0"),
        (["--transport-rate", "0", "--reaction-rate", "0"], "both 0: nothing would move"),
        (["--reaction-rate", "inf"], "finite rate"),
        (["--shape", "many"], "--shape must be whole numbers such as 128"),
        (["--shape", "3"], "at least 4 cells"),
        (["--shape", "64,64"], "shape must be 1 whole numbers"),
        (["--lower", "-4"], "--lower and --upper go together"),
        (["--lower", "-4", "--upper", "-5"], "lower < upper"),
        (["--lower", "-4", "--upper", "b"], "--upper must be numbers such as -4"),
        (["--lower", "-1.5", "--upper", "0"], "(on the command line: --lower, --upper, --shape, --graded, --max-cut)"),
        (["--boundary", "open"], "boundary must be one of"),
        (["--boundary", "periodic"], "give the box with --lower and --upper"),
        (["--max-cut", "2"], "max_cut"),
        (["--record", "kl,speed"], "--record has no diagnostic 'speed'; there are: chi_squared, "),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["--target", "four_modes()"], "not allowed with argument --potential"),
        (["-o", "out.txt"], "must name a NetCDF file that ends in .nc, got 'out.txt'"),
        (["-o", "experiments"], "must name a NetCDF file"),
        (["--steps", "3"], "unknown argument '--steps' (see wfr-pde solve --help)"),
        (["more"], "unknown argument 'more'"),
    ],
)  # fmt: skip
def test_wrong_input_to_solve(words, message, project, capsys):
    code, text = stderr_of(capsys, *SMALL, "-o", "out.nc", "--json", *words)
    assert code == 2
    assert text.startswith("wfr-pde: error: ")
    assert text.count("\n") == 1
    assert message in text
    assert sorted(p.name for p in project.iterdir()) == ["experiments"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "run needs the NAME of an experiment (see wfr-pde list)"),
        (["run", "circles"], "there is no experiment 'circles' in 'experiments'; known: powers"),
        (["run", "circles.py"], "there is no file 'circles.py'"),
        (["run", "powers", "--m", "3"], "powers has no knob 'm'; it has (with defaults): --n 4, --base 2.0,"),
        (["run", "powers", "--n", "x"], "--n must be a whole number (default: 4), got 'x'"),
        (["run", "powers", "--n"], "--n must be a whole number"),
        (["run", "powers", "4"], "unknown argument '4': knobs are written as --name value"),
        (["run", "powers", "--n", "-1", "--dry-run", "--quik"], "has no knob 'quik'"),
        (["solve", "--start", "gaussian(0, 1)"], "required"),
        ([*SMALL], "needs a file to write, such as -o out.nc (or --dry-run)"),
        (["list", "all"], "unknown argument 'all' (see wfr-pde list --help)"),
    ],
)
def test_wrong_command_lines(words, message, capsys):
    code, text = stderr_of(capsys, *words)
    assert code == 2
    assert text.startswith("wfr-pde: error: ")
    assert message in text


def test_no_experiments_here(project, monkeypatch, capsys):
    monkeypatch.chdir(project / "experiments")
    assert stderr_of(capsys, "list") == (
        2,
        "wfr-pde: error: there is no folder 'experiments' here: go to the project's root, or give the path of a file\n",
    )


def test_more_memory_than_there_is(capsys):
    words = ["solve", "--potential", "x**2+y**2+z**2", "--start", "gaussian(mean=[0,0,0], covariance=1)"]
    code, text = stderr_of(capsys, *words, "--t", "0:1:1000001", "--dt", "1", "--shape", "24", "--dry-run")
    assert code == 2
    assert "GiB" in text


def test_missing_device(capsys):
    pytest.importorskip("numpy")
    try:
        wfr.Grid(0, 1, 4, backend="cupy")
    except wfr.BackendError:
        code, text = stderr_of(capsys, *SMALL, "--device", "cuda", "-o", "out.nc")
        assert code == 3
        assert "cupy" in text
    else:
        pytest.skip("there is a device")


# info


def test_info(capsys):
    assert main(["info"]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if "backend" not in line)
    assert rows["wfr_pde"] == wfr.__version__
    assert rows["numpy"] == np.__version__
    code, content = json_of(capsys, "info")
    assert code == 0
    assert content["backends"]["numpy"] == "cpu"
    assert content["cpus"] >= 1


def test_info_names_what_a_backend_lacks(capsys, monkeypatch):
    from wfr_pde.numerics.backends import base

    monkeypatch.setattr(base, "backend_names", lambda: ["none", "numpy"])
    monkeypatch.setattr(base, "get_backend", lambda name: _backend(name))
    assert main(["info"]) == 0
    assert "not available: install it" in capsys.readouterr().out


def _backend(name):
    from wfr_pde.numerics.backends.numpy import backend

    if name == "none":
        raise wfr.BackendError("install it")
    return backend()


# The installed command


def test_the_program_returns_the_exit_code(project):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "wfr_pde"]
    good = subprocess.run([*command, *SMALL, "-o", "out.nc", "--json"], capture_output=True, text=True, env=environment)
    assert good.returncode == 0
    assert good.stderr == ""  # no progress bar where stderr is no terminal
    assert json.loads(good.stdout)["path"] == "out.nc"
    bad = subprocess.run([*command, *SMALL, "-o", "out.nc"], capture_output=True, text=True, env=environment)
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr


class TestTruth:
    PROBLEM = (
        "truth",
        "--potential",
        "2*(x**2-1)**2",
        "--start",
        "gaussian(mean=-1, covariance=0.04)",
        "--t",
        "0,0.5,1",
    )

    def test_writes_a_certified_solution(self, tmp_path, capsys):
        out = tmp_path / "well.nc"
        assert main([*self.PROBLEM, "--rtol", "1e-5", "-o", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "error_l1" in printed
        assert "disagreement" in printed
        ds = xr.open_dataset(out)
        assert (ds.error_l1 <= 1e-5).all()
        assert float(ds.disagreement[-1]) <= float(ds.error_l1[-1]) + 1e-6  # the other family has an error of its own
        assert main([*self.PROBLEM, "-o", str(out)]) == 2  # exists

    def test_dry_run_shows_what_it_would_take(self, capsys):
        assert main([*self.PROBLEM, "--dry-run", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["n_steps"] > 3
        assert len(content["shapes"]) >= 4
        assert content["seconds"] > 0
        assert main([*self.PROBLEM, "--dry-run"]) == 0
        assert "first attempt" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--rtol", "1e-30", "-o", "x.nc"), "rtol must be between"),
            (("--boundary", "periodic", "-o", "x.nc"), "needs its period"),
            ((), "truth needs a file to write"),
            (("--lower", "-2", "-o", "x.nc"), "--lower and --upper go together"),
        ],
    )
    def test_bad_input(self, options, words, capsys):
        assert main([*self.PROBLEM, *options]) == 2
        assert words in capsys.readouterr().err
