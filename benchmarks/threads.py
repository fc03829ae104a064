"""What more threads gain.

    python benchmarks/threads.py [--quick] [--out PATH]

Time of a Strang step with SinkhornKernel, and of one with FiniteVolume, with one thread and with as many as there are
processors, each in a process of its own, the fastest of some calls. `solve` uses one thread where a product has fewer
than 2e7 operations, and so does this. Writes results/benchmarks/threads.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from step import fastest, problem, show

import wfr_pde as wfr
from wfr_pde.app.experiments.executors import processors
from wfr_pde.storage import files

TRANSPORTS = {"SinkhornKernel": wfr.SinkhornKernel(), "FiniteVolume": wfr.FiniteVolume()}
SHAPES = [(128, 128), (512, 512), (1024, 1024), (64, 64, 64), (128, 128, 128), (32, 32, 32, 32)]
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def child(name: str, shape: tuple[int, ...], seconds: float) -> None:
    """Seconds of a step, as JSON."""
    target, state = problem(shape)
    energy, dt = wfr.KL(target, checked=False), 2 * max(axis.dx for axis in state.grid.axes) ** 2
    if hasattr(os, "sched_setaffinity"):  # FiniteVolume has a thread per processor, whatever the limits
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ[VARIABLES[0]])])
    with state.grid.threads():
        step = wfr.Strang(wfr.FisherRao(), TRANSPORTS[name]).make_step(energy, state, dt)
        print(json.dumps(fastest(lambda: step(state, 0.0), seconds)))


def measured(name: str, shape: tuple[int, ...], threads: int, seconds: float) -> float:
    """The same from a process with a number of threads."""
    command = [
        sys.executable,
        __file__,
        "--child",
        name,
        "--shape",
        ",".join(map(str, shape)),
        "--seconds",
        f"{seconds}",
    ]
    limits = dict.fromkeys(VARIABLES, str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **limits})
    return float(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/threads.json"))
    parser.add_argument("--child", choices=list(TRANSPORTS), help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of calls, at least, for every entry")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, tuple(map(int, arguments.shape.split(","))), arguments.seconds)
        return
    most = processors()
    seconds = 0.05 if arguments.quick else arguments.seconds
    rows: list[dict[str, Any]] = []
    for name in TRANSPORTS:
        for shape in SHAPES[:1] if arguments.quick else SHAPES:
            one, all_of_them = (measured(name, shape, threads, seconds) for threads in (1, most))
            rows.append(
                {
                    "transport": name, "shape": "x".join(map(str, shape)), "one_ms": 1e3 * one,
                    f"{most}_ms": 1e3 * all_of_them, "gain": one / all_of_them,
                }
            )  # fmt: skip
    show(rows)
    print(f"written to {files.write_json(rows, arguments.out)}")


if __name__ == "__main__":
    main()
