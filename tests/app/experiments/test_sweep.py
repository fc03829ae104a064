"""Sweeps: cells that are runs, one failing without the others, what they come to; processes and a Dask cluster."""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from figure_of_powers import FIGURE

from wfr_pde.app.experiments import sweep as sw
from wfr_pde.app.experiments.runner import run_experiment

POWERS = (
    '''"""Powers of numbers."""
import os
import signal
import time
from pathlib import Path

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.experiments.parts import stored

HERE = Path(__file__).parent
QUICK = {"n": 2}
CHECKS = {"last": (8.0, 7.5)}


def run(n=3, base=2.0, sizes=(1, 2), mode="fine", seed=0):
    parts = []
    for k in range(n + 1):
        parts.append(stored(power, k, base, seed))
        with open(HERE / f"log-{n}-{base}", "a") as log:
            log.write(".")
        if mode == "lost" and base == 3:
            raise wfr.NumericalError("the mass is lost")
        if mode == "bug" and base == 3:
            raise KeyError("a bug")
        if mode == "die" and base == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "kill-once":
            time.sleep(0.1)
            if k == 1 and base == 3 and not (HERE / "killed").exists():
                (HERE / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
    ds = xr.concat(parts, "k")
    last = xr.DataArray(ds["power"][-1].item(), attrs={"units": "1", "long_name": "largest power"})
    return ds.assign(last=last, base=base + 0.5, is_odd=bool(n % 2), label=xr.DataArray("text"))


def power(k, base, seed):
    return xr.Dataset({"power": base**k + np.random.default_rng(seed).random() * seed})
'''
    + FIGURE
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "powers.py").write_text(POWERS)
    return tmp_path / "experiments"


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def bits(path):
    """A Dataset without what differs from run to run."""
    with xr.open_dataset(path) as ds:
        ds = ds.load()
    ds.attrs = {name: value for name, value in ds.attrs.items() if name not in ("wall_time", "command")}
    return ds.drop_vars("wall_time", errors="ignore")


# The grid


def test_the_plan(folder):
    plan = sw.plan("powers", {"base": [2, 3], "n": [1, 2, 4], "seed": [7]})
    assert plan.axes == {"n": (1, 2, 4), "base": (2.0, 3.0)}
    assert [(cell["n"], cell["base"]) for cell in plan.cells] == [(1, 2), (1, 3), (2, 2), (2, 3), (4, 2), (4, 3)]
    assert all(cell["seed"] == 7 and cell["sizes"] == (1, 2) for cell in plan.cells)
    assert plan.command == "wfr-pde sweep powers --n=1,2,4 --base=2.0,3.0 --seed=7"
    # in which order knobs are named does not matter
    assert sw.plan("powers", {"seed": [7], "n": [1, 2, 4], "base": [2, 3]}).directory == plan.directory
    assert sw.plan("powers", {"n": [1, 2, 4], "base": [2, 3]}).directory != plan.directory
    assert sw.plan("powers", {"base": [1, 2]}, quick=True).cells[0]["n"] == 2
    lists = sw.plan("powers", {"sizes": [(1,), (2, 3)], "mode": ["a", "b,c"]})
    assert lists.command == "wfr-pde sweep powers '--sizes=1;2,3' '--mode=a;b,c'"


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({}, "needs a knob with several values, such as --n 3,6; a single run is `wfr-pde run powers`"),
        ({"n": [3]}, "needs a knob with several values"),
        ({"n": [1, 2.5]}, "knob n must be a whole number"),
        ({"m": [1, 2]}, "has no knob 'm'"),
    ],
)
def test_grids_that_do_not_fit(folder, knobs, message):
    with pytest.raises(ValueError, match=message):
        sw.plan("powers", knobs)


def test_shards_share_the_cells(folder):
    plan = sw.plan("powers", {"n": [1, 2, 3], "base": [1, 2]})
    shards = [plan.shard(i, 4) for i in range(1, 5)]
    assert sorted(map(len, shards)) == [1, 1, 2, 2]
    assert sorted(map(str, [cell for shard in shards for cell in shard])) == sorted(map(str, plan.cells))
    for i, n in ((0, 4), (5, 4), (1, 0)):
        with pytest.raises(ValueError, match=f"1 <= i <= n, got {i}/{n}"):
            plan.shard(i, n)


# Cells


def test_cells_are_runs_and_come_to_one_dataset(folder, threads):
    plan = sw.plan("powers", {"n": [1, 2], "base": [2, 3, 4]})
    outcomes = sw.sweep(plan, threads)
    assert [outcome.status for outcome in outcomes] == ["pass"] * 5 + ["FAIL"]  # 4² = 16
    assert not any(outcome.reused for outcome in outcomes)
    with xr.open_dataset(plan.directory / "sweep.nc") as ds:
        assert ds["last"].dims == ("n", "base")
        assert np.array_equal(ds["last"], [[2, 3, 4], [4, 9, 16]])
        assert ds["last"].attrs == {"units": "1", "long_name": "largest power"}
        assert np.array_equal(ds["base"], [2, 3, 4])
        assert np.array_equal(ds["base_of_cell"][0], [2.5, 3.5, 4.5])
        assert np.array_equal(ds["is_odd"][:, 0], [1, 0])
        assert ds["done"].all()
        assert np.array_equal(ds["passed"], [[True] * 3, [True, True, False]])
        assert (ds["wall_time"] > 0).all()
        assert "label" not in ds
        assert json.loads(ds.attrs["knobs"]) == {"mode": "fine", "seed": 0, "sizes": [1, 2]}
    table = (plan.directory / "sweep.csv").read_text().splitlines()
    assert table[0].startswith("n,base,done,passed,wall_time,last,")
    assert len(table) == 7
    assert json.loads((plan.directory / "sweep.json").read_text())["status"] == "done"
    # each is what a single run would leave
    assert run_experiment("powers", {"n": 2, "base": 3}).reused
    command = json.loads((outcomes[1].cell.directory / "run.json").read_text())["command"]
    assert command == "wfr-pde run powers --n=1 --base=3.0"


def runs(folder):
    return sum(len(path.read_text()) for path in folder.glob("log-*"))


def test_what_is_done_is_not_done_again(folder, threads):
    small, large = (sw.plan("powers", {"n": [1], "base": bases}) for bases in ([2, 3], [2, 3, 4]))
    sw.sweep(small, threads)
    assert runs(folder) == 4
    outcomes = sw.sweep(large, threads)
    assert [outcome.reused for outcome in outcomes] == [True, True, False]
    assert runs(folder) == 6
    sw.sweep(large, threads)
    assert runs(folder) == 6
    sw.sweep(large, threads, force=True)
    assert runs(folder) == 12


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [("lost", 4, "the mass is lost"), ("bug", 2, r".*powers\.py, line \d+: KeyError: 'a bug'")],
)
def test_a_cell_that_fails_costs_only_itself(folder, threads, mode, code, message):
    plan = sw.plan("powers", {"n": [1], "base": [2, 3, 4], "mode": [mode]})
    outcomes = sw.sweep(plan, threads)
    assert [outcome.status for outcome in outcomes] == ["pass", "failed", "pass"]
    assert outcomes[1].code == code
    assert re.fullmatch(
        message + "; stored so far: 1 part of powers; the same command goes on from there", outcomes[1].error
    )
    assert json.loads((outcomes[1].cell.directory / "run.json").read_text())["status"] == "failed"
    with xr.open_dataset(plan.directory / "sweep.nc") as ds:
        assert np.array_equal(ds["done"], [True, False, True])
        assert np.array_equal(ds["last"], [2, np.nan, 4], equal_nan=True)
        assert ds["done"].dtype == bool
    assert json.loads((plan.directory / "sweep.json").read_text())["status"] == "incomplete"


def test_shards_come_to_one_dataset(folder, threads):
    plan = sw.plan("powers", {"n": [1], "base": [2, 3, 4]})
    for i, done in ((2, 1), (1, 3)):
        assert len(sw.sweep(plan, threads, shard=(i, 2))) == (1 if i == 2 else 2)
        with xr.open_dataset(plan.directory / "sweep.nc") as ds:
            assert int(ds["done"].sum()) == done


def test_a_file_that_changes_on_the_way_is_not_mixed(folder, threads):
    plan = sw.plan("powers", {"n": [1, 2]})
    (folder / "powers.py").write_text(POWERS.replace("base**k", "base ** (k + 1)"))
    outcomes = sw.sweep(plan, threads)
    assert {outcome.code for outcome in outcomes} == {2}
    assert "has been changed since this began" in outcomes[0].error


def test_an_interrupt_leaves_what_is_done(folder):
    class Interrupting(concurrent.futures.Executor):
        """Runs one cell, then the user stops it."""

        def submit(self, fn, /, *args, **kwargs):
            future = concurrent.futures.Future()
            if args[0]["base"] == 2:
                future.set_result(fn(*args, **kwargs))
            else:
                future.set_exception(KeyboardInterrupt())
            return future

    plan = sw.plan("powers", {"n": [1], "base": [2, 3]})
    with pytest.raises(KeyboardInterrupt) as error:
        sw.sweep(plan, Interrupting())
    assert "the same command goes on with the others" in error.value.__notes__[0]
    assert plan.experiment.done(plan.cells[0])


def test_progress_is_for_terminals(folder, threads, capsys):
    sw.sweep(sw.plan("powers", {"n": [1, 2]}), threads)
    assert capsys.readouterr().err == ""
    sw.sweep(sw.plan("powers", {"n": [1, 2, 3]}), threads, progress=True)
    shown = capsys.readouterr().err
    assert "powers" in shown
    assert "3/3" in shown


# Processes


def test_processes_give_the_same_bits_and_survive_a_death(folder):
    plan = sw.plan("powers", {"n": [2], "base": [2, 3], "mode": ["kill-once"], "seed": [3]})
    outcomes = sw.sweep(plan)
    assert [outcome.status for outcome in outcomes] == ["pass", "pass"]
    assert (folder / "killed").exists()
    assert len((folder / "log-2-3.0").read_text()) == 5  # died in the second part, both of which were stored
    for outcome in outcomes:
        single = run_experiment("powers", outcome.cell.knobs, out="alone")
        assert bits(outcome.cell.directory / "data.nc").identical(bits(single.directory / "data.nc"))


def test_a_cell_that_kills_its_process_is_reported(folder):
    outcomes = sw.sweep(sw.plan("powers", {"n": [1], "base": [2, 3, 4], "mode": ["die"]}))
    assert [outcome.status for outcome in outcomes] == ["pass", "failed", "pass"]
    assert "the process was killed by signal 9 in the middle" in outcomes[1].error
    assert outcomes[1].code == 1


# Dask

WITH_DASK = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from dask.distributed import LocalCluster
from wfr_pde.app.experiments import executors
from wfr_pde.app.experiments import sweep as sw
from wfr_pde.app.cli.main import main

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        print(json.dumps({"address": cluster.scheduler_address, "pids": pids}), flush=True)
        sys.exit(main(json.loads(sys.argv[1]) + ["--dask", cluster.scheduler_address]))
"""


def test_dask_with_workers_killed_on_the_way(folder):
    """One worker is killed by its cell, between two parts; another from outside, while it works."""
    pytest.importorskip("dask.distributed")
    (folder.parent / "with_dask.py").write_text(WITH_DASK)
    words = ["sweep", "powers", "--n", "3", "--base", "1,1.5,2,2.5,3", "--seed", "0,1", "--mode", "kill-once", "--json"]
    command = [sys.executable, "with_dask.py", json.dumps(words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pids = json.loads(process.stdout.readline())["pids"]
        while not list(folder.glob("log-*")):
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)
        printed, errors = process.communicate(timeout=200)
    assert process.returncode == 1, errors  # 2.5³ and 3³ are out of the check's range
    content = json.loads(printed)
    assert [cell["status"] for cell in content["cells"]] == ["pass"] * 6 + ["FAIL"] * 4
    assert (folder / "killed").exists()
    for cell in content["cells"]:
        single = run_experiment("powers", cell["knobs"], out="alone")
        assert bits(single.directory / "data.nc").identical(bits(folder.parent / cell["directory"] / "data.nc"))


def test_no_scheduler(folder):
    pytest.importorskip("dask.distributed")
    from wfr_pde.app.experiments import executors

    with (
        pytest.raises(ConnectionError, match="no Dask scheduler answers at 'nonsense'"),
        executors.dask_executor("nonsense"),
    ):
        pass
