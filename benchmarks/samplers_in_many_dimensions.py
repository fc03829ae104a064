"""Time and peak memory of one step of every sampler at (N, d) = (10000, 100), and at (1000, 2) beside it.

    python benchmarks/samplers_in_many_dimensions.py [--quick] [--out PATH]

The target is a mixture of two Gaussians, the start a Gaussian between them. "CPU s" is the CPU time of a step of dt =
0.01, compiled before, the least of three, on one thread or several alike: other work on the machine does not count, and
two threads need half of it. "peak" is the peak beyond what there was before of Python's allocator, "states" the same
over the size of the positions; an array of N² numbers has 100 states. Then the same for distances between two clouds of
N particles. Writes results/benchmarks/samplers_in_many_dimensions.json.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde import metrics, samplers
from wfr_pde.storage import files, provenance

DT = 0.01
CASES = ((10_000, 100), (1000, 2))
Act = Callable[[], Any]


def flows(start: wfr.Gaussian, path: Any) -> dict[str, wfr.Flow]:
    """Samplers; the kernels of one stand at 500 particles."""
    return {
        "Langevin": samplers.Langevin(),
        "MALA": samplers.MALA(),
        "UnderdampedLangevin": samplers.UnderdampedLangevin(),
        "ParallelTempering, 4 replicas": samplers.ParallelTempering(),
        "Resample": samplers.Resample(),
        "Tempering": samplers.Tempering(start),
        "ReverseDiffusion": samplers.ReverseDiffusion(path),
        "FeynmanKac": samplers.FeynmanKac(),
        "BirthDeath": samplers.BirthDeath(),
        "BirthDeath, energy": samplers.BirthDeath(variant="energy"),
        "SMCWFR": samplers.SMCWFR(),
        "SMCWFR, no self term": samplers.SMCWFR(self_term=False),
        "SVGD": samplers.SVGD(),
        "TeleportingWalkers": samplers.TeleportingWalkers(0.5),
        "KernelFisherRao, 500 kernels": samplers.KernelFisherRao(start, centres=500),
    }


def distances(target: wfr.Target, d: int) -> dict[str, Any]:
    """Metrics that compare particles with particles."""
    return {
        "MMD": metrics.MMD(float(np.sqrt(d))),
        "MMD, Laplace": metrics.MMD(float(np.sqrt(d)), kernel="laplace"),
        "EnergyDistance": metrics.EnergyDistance(),
        "KSD": metrics.KSD(target),
        "SlicedWasserstein": metrics.SlicedWasserstein(),
        "covariance_error": metrics.covariance_error,
    }


def one_step(step: Any, state: wfr.Particles) -> wfr.Particles:
    """Make one step with the same random numbers every time."""
    return step(state, 0.0, np.random.default_rng(0))


def actions(n: int, d: int) -> Iterator[tuple[str, Act]]:
    """What is measured, by name."""
    target = wfr.GaussianMixture([[-1.0] * d, [1.0] * d], [0.3, 0.7], 1.0)
    start = wfr.Gaussian([0.5] * d, 1.0)
    path = wfr.Noised(target, wfr.OU(t_end=3.0)).reversed()
    x = start.sample(n, rng=0)
    for name, flow in flows(start, path).items():
        state = wfr.Particles(x, np.random.default_rng(1).normal(size=n) if name == "Resample" else None)
        step = flow.make_step(wfr.KL(path if name == "ReverseDiffusion" else target), state, DT)
        yield name, partial(one_step, step, state)
    one, other = wfr.Particles(x), wfr.Particles(target.sample(n, rng=5))
    for name, metric in distances(target, d).items():
        yield name, partial(metric, one, other)


def measured(act: Act, repeats: int) -> tuple[float, float]:
    """CPU seconds, and bytes at the peak."""
    act()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        act()
        times.append(time.process_time() - began)
    tracemalloc.start()
    act()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/samplers_in_many_dimensions.json"))
    arguments = parser.parse_args()
    rows = []
    for n, d in ((1000, 100), (1000, 2)) if arguments.quick else CASES:
        print(f"N = {n}, d = {d}: {'CPU s':>31} {'peak MB':>10} {'states':>8}")
        for name, act in actions(n, d):
            seconds, peak = measured(act, 1 if arguments.quick else 3)
            rows.append({"name": name, "n": n, "d": d, "cpu_seconds": seconds, "bytes": peak})
            print(f"{name:<38}{seconds:>13.4f} {peak / 1e6:>10.2f} {peak / (8 * n * d):>8.2f}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json({"dt": DT, "rows": rows, "versions": dict(provenance.versions())}, arguments.out)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
