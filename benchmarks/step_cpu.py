"""CPU time of a Strang step by one thread, by public names only, so that it runs on any commit.

    OMP_NUM_THREADS=1 python benchmarks/step_cpu.py [--repeat 30]

Prints milliseconds: the least of some runs of ten steps, which other work on the machine disturbs less than wall time.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import wfr_pde as wfr


def seconds_of_step(shape: tuple[int, ...], transport: wfr.Flow, repeat: int) -> float:
    """Two modes, from one of them, on [-6, 6]^d."""
    d = len(shape)
    first = np.array([-1.5] + [0.0] * (d - 1))
    target = wfr.GaussianMixture([first, -first], [0.3, 0.7], 0.6)
    grid = wfr.Grid([-6.0] * d, [6.0] * d, shape, max_cut=1.0)
    start = wfr.Density(grid, grid.log_density(wfr.Gaussian(first, 0.6), "the start", checked=False)).normalised()
    dt, best = 2 * max(axis.dx for axis in grid.axes) ** 2, math.inf
    with grid.backend.threads(False):
        steps = wfr.Strang(wfr.FisherRao(), transport).make_steps(wfr.KL(target, checked=False), start, dt)
        state = steps(start, 0.0, 1)
        for _ in range(repeat):
            began = time.process_time()
            steps(state, 0.0, 10)
            best = min(best, (time.process_time() - began) / 10)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=30)
    arguments = parser.parse_args()
    for transport in (wfr.SinkhornKernel(), wfr.SplitStep(), wfr.FiniteVolume()):
        for shape in ((4096,), (128, 128), (32, 32, 32)):
            milliseconds = 1e3 * seconds_of_step(shape, transport, arguments.repeat)
            print(f"{type(transport).__name__:>14} {'x'.join(map(str, shape)):>9} {milliseconds:8.3f} ms", flush=True)


if __name__ == "__main__":
    main()
