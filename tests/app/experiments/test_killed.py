"""Killed at random moments: every file opens, nothing is lost but the part in flight, and the end has the same bits."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import pytest
import xarray as xr

from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.runner import run_experiment

KILLS = 20
WALK = '''"""A random walk."""
import os
import time
from pathlib import Path

import numpy as np
import xarray as xr

from wfr_pde.app.experiments.parts import stored

QUICK = {}
CHECKS = {"length": (12.0, 0.0)}


def run(n=12, seed=0, seconds=0.1):
    parts = []
    for i in range(n):
        parts.append(stored(part, i, seed, seconds, parts[-1]["x"] if parts else 0))
    return xr.concat(parts, "i").assign(length=12)


def part(i, seed, seconds, before):
    with open(Path(__file__).with_suffix(".log"), "a") as log:
        log.write(f"{os.getpid()} {seed} {i}\\n")
    if not Path("do-not-wait").exists():
        time.sleep(seconds)
    x = np.random.default_rng([seed, i]).standard_normal(1000).cumsum() + before
    return xr.Dataset({"x": ("k", np.asarray(x))}, {"i": i})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.x[:, ::100].T)
    return figure
'''
# imports once, and forks for every command line that it reads; says its pid, and how it ended
STARTER = """
import json, os, sys
from wfr_pde.app.cli.main import main

if __name__ == "__main__":
    main(["run", "walk", "--n=1", "--seconds=0", "--out=warm", "--json"])
    print("ready 0", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            os._exit(main(json.loads(line)))
        print("pid", pid, flush=True)
        print("status", os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "walk.py").write_text(WALK)
    (tmp_path / "starter.py").write_text(STARTER)
    return tmp_path


@pytest.fixture
def start(project):
    """Starts a command line, and returns the pid and a function that waits for the end and returns the status."""
    with subprocess.Popen(
        [sys.executable, "starter.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:

        def answer(word):
            for line in starter.stdout:
                if line.startswith(word + " "):
                    return int(line.split()[1])
            raise AssertionError("the starter has died")

        def start(*words):
            starter.stdin.write(json.dumps(words) + "\n")
            starter.stdin.flush()
            return answer("pid"), lambda: answer("status")

        answer("ready")
        yield start
        starter.stdin.close()


def check_that_all_files_open(directory):
    """Those that are hidden are not yet results."""
    for path in directory.rglob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):  # removed by those that are still running
            if path.suffix == ".nc":
                with xr.open_dataset(path, engine="h5netcdf") as ds:
                    ds.load()
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".png":
                matplotlib.image.imread(path)
            elif path.suffix == ".pdf":
                assert path.read_bytes().rstrip().endswith(b"%%EOF")
            elif path.suffix == ".csv":
                assert path.read_text().endswith("\n")


def stored(experiment, seed):
    """How many parts are stored; all, where the data are complete."""
    values = experiment.values({"seed": seed})
    if (experiment.directory(values) / "data.nc").exists():
        return values["n"]
    return experiment.begun(values).count()


def check_same_as_a_run_that_was_not_killed(experiment, seed):
    Path("do-not-wait").touch()
    whole = run_experiment(experiment, {"seed": seed, "seconds": 0.1}, out="whole").directory
    killed = experiment.directory(experiment.values({"seed": seed}))
    assert experiment.done(experiment.values({"seed": seed}))
    data = [xr.load_dataset(path / "data.nc", engine="h5netcdf") for path in (whole, killed)]
    for ds in data:
        for name in ("wall_time", "command"):  # which names the directory
            del ds.attrs[name]
    assert data[0].identical(data[1])
    for name in ("figure.png", "figure.pdf", "figure.csv"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in whole.iterdir())


def begun(project, session_start):
    """Parts that were begun since a place in the log: (process, seed, part)."""
    log = project / "experiments" / "walk.log"
    lines = log.read_text().splitlines()[session_start:] if log.exists() else []
    return [tuple(map(int, line.split())) for line in lines if re.fullmatch(r"\d+ \d+ \d+", line)]


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times(project, start):
    rng = random.Random(1)
    experiment = load_experiment("walk")
    killed_in_the_middle, seed, before = 0, 0, 0
    while killed_in_the_middle < KILLS:
        place = len(begun(project, 0))
        pid, ended = start("run", "walk", f"--seed={seed}")
        time.sleep(rng.uniform(0, 0.5))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        was_killed = ended() == signal.SIGKILL
        check_that_all_files_open(project / "results")
        now = stored(experiment, seed)
        parts = [part for _, its_seed, part in begun(project, place) if its_seed == seed]
        assert now >= before
        assert parts == list(range(before, before + len(parts)))  # none is made again
        assert now >= before + len(parts) - 1  # but the one in flight
        killed_in_the_middle += was_killed
        before = now
        if not was_killed:
            seed, before = seed + 1, 0
    assert start("run", "walk", f"--seed={seed}")[1]() == 0
    for each in range(seed + 1):
        check_same_as_a_run_that_was_not_killed(experiment, each)


@pytest.mark.slow
def test_a_sweep_that_is_killed_twenty_times(project, start):
    """The sweep itself, or one of its processes."""
    rng = random.Random(2)
    experiment = load_experiment("walk")
    seeds = range(6)
    words = ("sweep", "walk", "--seed=" + ",".join(map(str, seeds)), "--jobs=2")
    killed, before = 0, dict.fromkeys(seeds, 0)
    while killed < KILLS and sum(before.values()) < 12 * len(seeds):
        place = len(begun(project, 0))
        pid, ended = start(*words)
        is_alive = True
        while is_alive and killed < KILLS:
            time.sleep(rng.uniform(0, 0.4))
            workers = [process for process, _, _ in begun(project, place)]
            victim = pid if not workers or rng.random() < 0.2 else workers[-1]
            if not workers and rng.random() < 0.8:
                continue  # most of the time, let it get to work first
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed += 1
            place = len(begun(project, 0))
            check_that_all_files_open(project / "results")
            now = {seed: stored(experiment, seed) for seed in seeds}
            assert all(now[seed] >= before[seed] for seed in seeds)
            before = now
            is_alive = victim != pid
        ended()
    assert start(*words)[1]() == 0
    assert killed == KILLS
    for seed in seeds:
        check_same_as_a_run_that_was_not_killed(experiment, seed)
