"""How long `ground_truth` takes, evidence included: warm calls of common problems, one line each.

    python benchmarks/truth.py [--quick] [--repeat N] [--out PATH]

CPU seconds of the process and wall seconds, the least of some calls after a first one, with the bound that was reached,
the cells of the finest grid and the steps. Writes results/benchmarks/truth.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde.storage import files, provenance

TIMES = np.linspace(0, 2, 5)


def problems() -> dict[str, tuple[wfr.Target, wfr.Target]]:
    """Targets and starts by name."""
    near = wfr.Gaussian(-1, 0.04)
    plane = wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5)
    modes = wfr.GaussianMixture([[-1.5, 0], [1.5, 0.5]], [0.4, 0.6], [0.4 * np.eye(2), [[0.5, 0.2], [0.2, 0.3]]])
    return {
        "double well": (wfr.DoubleWell(2.0), near),
        "two modes": (wfr.GaussianMixture([-2.0, 2.0], [0.3, 0.7], [0.5, 0.5]), wfr.Gaussian(-2, 0.2)),
        "Gaussian from 5 sd": (wfr.Gaussian(0, 1), wfr.Gaussian(5, 0.25)),
        "quartic": (wfr.Potential("x**4/4"), wfr.Gaussian(0.5, 0.1)),
        "2D Gaussian": (
            wfr.Gaussian([0, 0], [[1, 0.5], [0.5, 0.8]]),
            wfr.Gaussian([-1, 1], [[0.4, -0.15], [-0.15, 0.3]]),
        ),
        "2D double well": (plane, wfr.Gaussian([-1, 0], 0.04)),
        "2D two modes": (modes, wfr.Gaussian([-1.5, 0], 0.3)),
    }


def timed(function: Callable[[], Any], repeat: int) -> tuple[Any, float, float]:
    """The result, and the least CPU and wall seconds of some calls after a first one."""
    result, cpu, wall = function(), [], []
    for _ in range(repeat):
        began = time.process_time(), time.perf_counter()
        result = function()
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    return result, min(cpu), min(wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="in one dimension, once")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/truth.json"))
    arguments = parser.parse_args()
    print(f"{'problem':20} {'rtol':>6} {'CPU':>8} {'wall':>8} {'bound':>9} {'cells':>10} {'steps':>6}")
    rows = []
    for name, (target, start) in problems().items():
        plane = target.ndim == 2
        if plane and arguments.quick:
            continue
        for rtol in (1e-3, 1e-5) if plane else (1e-3, 1e-6):
            ds, cpu, wall = timed(
                lambda target=target, start=start, rtol=rtol: wfr.ground_truth(target, start, TIMES, rtol=rtol),
                1 if arguments.quick else arguments.repeat,
            )
            cells = "x".join(map(str, ds["log_density"].shape[1:]))
            bound = float(ds["error_l1"].max())
            rows.append({"problem": name, "rtol": rtol, "cpu": cpu, "wall": wall, "bound": bound, "cells": cells})
            print(f"{name:20} {rtol:6.0e} {cpu:6.2f} s {wall:6.2f} s {bound:9.1e} {cells:>10} {ds.attrs['n_steps']:>6}")
    path = files.write_json({"versions": dict(provenance.versions()), "rows": rows}, arguments.out)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
