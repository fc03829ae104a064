"""Threads of compiled loops: every row once, errors come through, and what forked processes do afterwards."""

import os
import subprocess
import sys

import numpy as np
import pytest

from wfr_pde.numerics.compiled import row_threads

FORKED = """
import multiprocessing
import sys

import numpy as np

import wfr_pde as wfr
from wfr_pde.numerics.compiled import row_threads

row_threads.number_of_threads = lambda: 2  # on machines with one processor, too
target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 0.5)
FLOWS = {
    "Strang": (wfr.Strang(wfr.samplers.Langevin(), wfr.samplers.BirthDeath(bandwidth=0.2)), 2000),
    "SMCWFR": (wfr.samplers.SMCWFR(), 2000),
    "SVGD": (wfr.samplers.SVGD(), 1100),
    "FeynmanKac": (wfr.samplers.FeynmanKac(), 2000),
    "LangevinKernel": (wfr.LangevinKernel(), None),
}


def run(seed):
    flow, n = FLOWS[sys.argv[1]]
    if n is None:
        return wfr.solve(target, flow, wfr.Grid(-6, 6, 2400).density(start), [0, 0.05], dt=0.05)["log_density"].values
    return wfr.solve(target, flow, start.sample(n, rng=seed), [0, 0.04], dt=0.02, rng=seed)["position"].values


if __name__ == "__main__":
    serial = [run(seed) for seed in range(2)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        forked = pool.map(run, range(2))
    assert all(np.array_equal(a, b) for a, b in zip(serial, forked, strict=True))
    print("equal")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on this system")
@pytest.mark.parametrize("flow", ["Strang", "SMCWFR", "SVGD", "FeynmanKac", "LangevinKernel"])
def test_forked_processes_make_the_runs_of_their_parent(tmp_path, flow):
    script = tmp_path / "forked.py"
    script.write_text(FORKED)
    done = subprocess.run([sys.executable, str(script), flow], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["equal"], done.stderr


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 1000])
def test_every_row_is_done_once(monkeypatch, threads, n):
    monkeypatch.setattr(row_threads, "number_of_threads", lambda: threads)
    done = np.zeros(n, dtype=int)

    def loop(start, stop, out):
        out[start:stop] += 1

    row_threads.share_rows(loop, n, done)
    assert done.tolist() == [1] * n


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(row_threads, "number_of_threads", lambda: 3)

    def loop(start, stop):
        if start <= 17 < stop:
            raise FloatingPointError("at row 17")

    with pytest.raises(FloatingPointError, match="row 17"):
        row_threads.share_rows(loop, 100)
