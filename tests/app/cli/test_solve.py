"""The command solve: schemes, boxes, records, dry runs, interruptions, and what it says to wrong input."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.cli.main import main
from wfr_pde.app.cli.solve import chosen_dt
from wfr_pde.storage import files

pytestmark = pytest.mark.usefixtures("project")
WELL = ["solve", "--potential", "2*(x**2-1)**2", "--start", "gaussian(mean=-1, covariance=0.04)"]
SMALL = [*WELL, "--t", "0:0.2:3", "--shape", "64", "--dt", "0.05"]


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
def test_schemes(words, flow, json_of):
    code, content = json_of(*SMALL, *words, "--dry-run")
    assert code == 0
    assert content["flow"] == flow


def test_box_boundary_and_records(json_of):
    code, content = json_of(
        "solve", "--target", "potential('cos(x) + 2*y**2')", "--start", "potential('cos(x-1) + y**2')",
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


def test_real_walls(json_of):
    words = ["solve", "--potential", "x", "--start", "potential('3*x')", "--lower", "0", "--upper", "1"]
    words += ["--t", "0:1:2", "--shape", "32", "--max-cut", "1", "-o", "out.nc"]
    code, content = json_of(*words)
    assert code == 0
    assert content["kl"][-1] < 1e-3 * content["kl"][0]


SCALES = ["solve", "--target", "gaussian(mean=0, covariance=2500)", "--start", "gaussian(mean=0, covariance=0.01)"]


@pytest.mark.parametrize("box", [[], ["--lower", "-400", "--upper", "400"]])
def test_graded_cells(box, capsys, json_of, stderr_of):
    words = [*SCALES, "--t", "0:1200:2", "--graded", "--order", "2", *box]
    assert stderr_of(*SCALES, "--t", "0:1200:2", *box, "--dry-run")[0] == 2  # equal cells are too wide
    code, content = json_of(*words, "-o", "out.nc")
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
    assert json_of(*words, "--dry-run")[1]["graded"] == {"x": True}


def test_seed_is_stored(json_of):
    assert json_of(*SMALL, "--seed", "7", "-o", "out.nc")[0] == 0
    assert files.read_dataset("out.nc").attrs["seed"] == "7"


@pytest.mark.parametrize("times", [np.linspace(0, 1, 11), np.array([0, 0.3, 1.0]), np.array([0, 0.0301, 0.7])])
def test_chosen_dt_is_the_smallest_that_the_solver_takes(times):
    target, start = wfr.DoubleWell(1.0), wfr.Gaussian(-1, 0.1)
    rho = wfr.Grid(-3.2, 3.2, 64).density(start)
    flow = wfr.Extrapolated(wfr.SinkhornKernel(), 4)
    low = flow.dt_bounds(wfr.KL(target), rho)[0]
    dt = chosen_dt(flow, wfr.KL(target), rho, times)
    assert low * (1 - 1e-9) <= dt < low * (1 + low / np.diff(times).min())
    sizes = json.loads(wfr.solve(target, flow, rho, times, dt).attrs["dt_used"])
    assert min(sizes) >= low * (1 - 1e-9)


def test_chosen_dt_of_a_flow_without_limits():
    rho = wfr.Grid(-3.2, 3.2, 64).density(wfr.Gaussian(-1, 0.1))
    assert chosen_dt(wfr.FisherRao(), wfr.KL(wfr.DoubleWell(1.0)), rho, np.array([0, 0.5, 2])) == 1.5


def test_dry_run_says_what_it_would_cost(project, capsys, json_of):
    words = [*WELL, "--t", "0:5:51", "--dry-run"]
    assert main(words) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["cells"] == "256 (256)"
    assert rows["steps"].endswith("over 51 save times")
    assert "chosen" in rows["dt"]
    assert "estimate" in rows["time"]
    code, content = json_of(*words)
    assert code == 0
    assert content["cells"] == 256
    assert content["n_times"] == 51
    assert content["memory_bytes"] > 57 * 256 * 8
    assert 0 < content["seconds"] < 600
    assert not list(project.glob("out*"))


def test_an_existing_file_is_replaced_only_by_force(project, stderr_of):
    Path("out.nc").write_text("mine")
    code, message = stderr_of(*SMALL, "-o", "out.nc")
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
        (["--potential", "x**2 + y**2"], "needs ndim >= 2, but ndim is 1 (of --potential; --start is 1-dimensional)"),
        (["--potential", "-x**2"], "not integrable"),
        (["--potential", "log(x)", "--lower", "-3", "--upper", "1", "--shape", "99"], "not finite"),
        (["--start", "gauss(mean=0)"], "known: "),
        (["--start", "gaussian(mean=0, sd=1)"], "no parameter 'sd'"),
        (["--start", "gaussian(mean=0, covariance=-1)"], "covariance must be positive"),
        (["--start", "gaussian(mean=0, covariance=1e-6)"], "cells are too wide for the start"),
        (["--t", "0:5"], "--t must be start:stop:number such as 0:5:51"),
        (["--t", "0-1"], "--t must be start:stop:number such as 0:5:51 (51 times from 0 to 5), or times such as 0,"),
        (["--t", "0:1:3000000000"], "--t asks for 3,000,000,000 times, more than 100,000,000"),
        (["--t", "0:5:0.1"], "--t must be start:stop:number"),
        (["--t", "0:inf:6"], "all of them finite, got '0:inf:6'"),
        (["--t=-1e308:1e308:3"], "all of them finite, got '-1e308:1e308:3'"),
        (["-o", ""], "-o must name a NetCDF file that ends in .nc, got ''"),
        (["--t", "now"], "--t must be start:stop:number such as"),
        (["--t", "5:0:3"], "increasing save times"),
        (["--t", "0:1e-6:3"], "too small"),
        (["--dt", "0"], "dt must be positive"),
        (["--dt", "-1"], "dt must be positive"),
        (["--dt", "1e-9"], "a larger dt (at least"),
        (["--dt", "soon"], "argument --dt: must be a finite number, got 'soon'"),
        (["--order", "3"], "argument --order: invalid choice"),
        (["--transport-rate", "-1"], "rate >= 0, got rate=-1.0"),
        (["--transport-rate", "0", "--reaction-rate", "0"], "both 0: nothing would move"),
        (["--reaction-rate", "inf"], "argument --reaction-rate: must be a finite number"),
        (["--shape", "many"], "--shape must be whole numbers such as 128"),
        (["--shape", "3"], "at least 4, got 3: it is the number of cells along an axis"),
        (["--shape", "64,64"], "shape must be 1 whole number of"),
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
def test_wrong_input_to_solve(words, message, project, stderr_of):
    code, text = stderr_of(*SMALL, "-o", "out.nc", "--json", *words)
    assert code == 2
    assert text.startswith("wfr-pde: error: ")
    assert text.count("\n") == 1
    assert message in text
    assert sorted(p.name for p in project.iterdir()) == ["experiments"]


def test_more_memory_than_there_is(stderr_of):
    words = ["solve", "--potential", "x**2+y**2+z**2", "--start", "gaussian(mean=[0,0,0], covariance=1)"]
    code, text = stderr_of(*words, "--t", "0:1:1000001", "--dt", "1", "--shape", "24", "--dry-run")
    assert code == 2
    assert "GiB" in text


def test_missing_device(stderr_of):
    pytest.importorskip("numpy")
    try:
        wfr.Grid(0, 1, 4, backend="cupy")
    except wfr.BackendError:
        code, text = stderr_of(*SMALL, "--device", "cuda", "-o", "out.nc")
        assert code == 3
        assert "cupy" in text
    else:
        pytest.skip("there is a device")
