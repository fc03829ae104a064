"""Peak memory of a solution, in states.

    python benchmarks/memory.py [--quick] [--out PATH]

Each row is a process of its own: what its peak resident memory (getrusage) rises by while `solve` makes two steps and
keeps the last state, over the size of a state, 8 bytes per cell; less what a solution on few cells takes, which is
code. Beside it what `solve` expects, by which it refuses what does not fit. Writes results/benchmarks/memory.json.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from step import show

import wfr_pde as wfr
from wfr_pde.integrate.memory import estimated_memory
from wfr_pde.storage import files

FLOWS = {
    "Strang, SinkhornKernel": wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()),
    "order 4": wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 4),
    "order 8": wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 8),
    "Strang, FiniteVolume": wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()),
}
SHAPES = [(1024, 1024), (128, 128, 128), (32, 32, 32, 32)]
LARGE = [(256, 256, 256), (64, 64, 64, 64)]  # with the first flow
UNIT = 1024 if sys.platform != "darwin" else 1  # of ru_maxrss


def solved(name: str, shape: tuple[int, ...]) -> int:
    """Two steps from one of two modes; the bytes that `solve` expects to need."""
    d = len(shape)
    means = [[-1.5] + [0.0] * (d - 1), [1.5] + [0.0] * (d - 1)]
    target = wfr.GaussianMixture(means, [0.3, 0.7], 0.6)
    grid = wfr.Grid([-6.0] * d, [6.0] * d, shape, max_cut=1.0)
    dt = 4 * max(axis.dx for axis in grid.axes) ** 2
    state = grid.density(wfr.Gaussian(means[0], 0.6))
    energy = wfr.KL(target)
    wfr.solve(energy, FLOWS[name], state, [0, 2 * dt], dt, keep="last", record={}, progress=False)
    return estimated_memory(FLOWS[name], state, 1)


def peak() -> int:
    """Peak resident memory of this process so far, in bytes."""
    return UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child(name: str, shape: tuple[int, ...]) -> None:
    """What one row needs, as JSON."""
    solved(name, (64, 64))
    before = peak()
    expected = solved(name, shape)
    print(json.dumps({"bytes": peak() - before, "expected": expected}))


def measured(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """A row, from a process of its own."""
    command = [sys.executable, __file__, "--child", name, "--shape", ",".join(map(str, shape))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, state = json.loads(done.stdout), 8 * math.prod(shape)
    return {
        "flow": name,
        "shape": "x".join(map(str, shape)),
        "state_MiB": state / 2**20,
        "peak_MiB": found["bytes"] / 2**20,
        "states": found["bytes"] / state,
        "expected_states": found["expected"] / state,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/memory.json"))
    parser.add_argument("--child", choices=list(FLOWS), help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, tuple(map(int, arguments.shape.split(","))))
        return
    shapes = [(512, 512)] if arguments.quick else SHAPES
    rows = [measured(name, shape) for shape in shapes for name in FLOWS]
    rows += [] if arguments.quick else [measured(next(iter(FLOWS)), shape) for shape in LARGE]
    show(rows)
    print(f"written to {files.write_json(rows, arguments.out)}")


if __name__ == "__main__":
    main()
