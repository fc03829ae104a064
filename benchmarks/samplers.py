"""Time and memory of one step of every sampler, over the number of particles.

    python benchmarks/samplers.py [--quick] [--out PATH]

The target is the four-component mixture in the plane of `samplers_2d`; a step is the fastest of several with dt = 0.01,
on all threads, compiled before. "memory" is the peak beyond what there was before, of Python's allocator, over the size
of positions and weights: a number that does not grow with n is memory O(n). Kernel sums go over all pairs up to 1e8 of
them, and by way of a grid beyond. Writes results/benchmarks/samplers.json.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde import samplers
from wfr_pde.storage import files, provenance

DT = 0.01
QUADRATIC = 20_000  # pairs beyond are too many for methods that know no grid
TARGET = wfr.GaussianMixture(
    [[3, 3], [9, 10], [2, 2], [10, 4]],
    [1 / 3, 1 / 6, 1 / 3, 1 / 6],
    [
        0.7 * np.array([[1, -0.8377], [-0.8377, 1]]),
        0.7 * np.array([[1, 0.8377], [0.8377, 1]]),
        0.7 * np.array([[1, -0.8377], [-0.8377, 1]]),
        2 * np.array([[1, -0.6701], [-0.6701, 1]]),
    ],
)
START = wfr.Gaussian([6, 6], 9.0)


def methods() -> dict[str, tuple[wfr.Flow, int]]:
    """Flows, and the largest number of particles that they are tried with."""
    huge, large = 10**6, 10**5
    weights = samplers.FeynmanKac(density=samplers.KernelDensity(0.2))
    flows: dict[str, tuple[wfr.Flow, int]] = {
        "Langevin": (samplers.Langevin(), huge),
        "MALA": (samplers.MALA(), huge),
        "UnderdampedLangevin": (samplers.UnderdampedLangevin(), huge),
        "Resample": (samplers.Resample(), huge),
        "FeynmanKac, kernel": (wfr.Lie(samplers.Langevin(), weights), huge),
        "BirthDeath": (samplers.BirthDeath(bandwidth=0.2), large),
        "BirthDeath, energy": (samplers.BirthDeath(bandwidth=0.2, variant="energy"), QUADRATIC),
        "SMCWFR": (samplers.SMCWFR(), large),
        "SMCWFR, no self term": (samplers.SMCWFR(self_term=False), large),
        "Tempering": (samplers.Tempering(START), huge),
        "SVGD": (samplers.SVGD(), QUADRATIC),
        "KernelFisherRao": (samplers.KernelFisherRao(START), 1000),
        "TeleportingWalkers": (samplers.TeleportingWalkers(0.5), QUADRATIC),
        "ParallelTempering": (samplers.ParallelTempering(), large),
    }
    return flows


def measured(flow: wfr.Flow, n: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of a step, and its peak memory over the size of the state."""
    start = wfr.Particles(START.sample(n, rng=0))
    weighted = isinstance(flow, samplers.Resample)
    state = wfr.Particles(start.positions, np.random.default_rng(1).normal(size=n)) if weighted else start
    step = flow.make_step(wfr.KL(TARGET), state, DT)
    warm = step(state, 0.0, np.random.default_rng(0))
    times = []
    for k in range(repeats):
        began = time.perf_counter()
        step(state if weighted else warm, 0.0, np.random.default_rng(k))
        times.append(time.perf_counter() - began)
    tracemalloc.start()
    step(state, 0.0, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"n": n, "milliseconds": 1e3 * min(times), "states": peak / start.nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/samplers.json"))
    arguments = parser.parse_args()
    numbers = (500, 2000) if arguments.quick else (500, 10_000, 100_000, 1_000_000)
    rows = []
    print(f"{'sampler':<24}" + "".join(f"{f'n = {n:,}':>22}" for n in numbers) + "    (ms per step, memory in states)")
    for name, (flow, most) in methods().items():
        cells = []
        for n in numbers:
            if n > most:
                cells.append("-")
                continue
            row = {"sampler": name, **measured(flow, n, 2 if n >= 10**5 else 5)}
            rows.append(row)
            cells.append(f"{row['milliseconds']:.3g} ms, {row['states']:.2g}")
        print(f"{name:<24}" + "".join(f"{cell:>22}" for cell in cells), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json({"dt": DT, "rows": rows, "versions": dict(provenance.versions())}, arguments.out)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
