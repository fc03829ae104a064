"""What a step costs on a CUDA device, beside what counted bytes and operations predict for an H100-class card.

    python benchmarks/gpu.py [--quick] [--backend cupy] [--out PATH]

Steps of FisherRao alone, and Strang(FisherRao, T) with T the SinkhornKernel and FiniteVolume, on 1024², 4096² and 256³
cells, from N(-1, 1/2) to N(0, 1) in every coordinate, dt = 20 dx². Without a device the prediction alone is printed.
With --backend cupy:single, single precision is measured, for which there is no prediction, and no FiniteVolume.
Writes results/benchmarks/gpu.json.

The prediction: every pass over the cells takes the longest of

    bytes / 3.35e12 per s             memory of an H100 SXM
    products / 67e12 per s            fp64 tensor cores: matrix products
    operations / 34e12 per s          fp64 vector units: everything else; an exp or log counts 25
    round trips * 0.6e-6 s            line sweeps only, see below

and the times of the passes are added. With N cells in d dimensions, n of them along an axis, per cell:

    FisherRao                         40 bytes, 35 operations (the fused kernel)
    SinkhornKernel                    152 bytes and 70 operations for logarithms and shifts; per axis 16 bytes and 2 n
                                      products (the matrix, 8 n² bytes, once)
    FiniteVolume                      per sweep, of 2 d - 1: 130 bytes and 70 operations to change from log-densities to
                                      lines and back; per term of the series 48 bytes and 14 operations

Every sweep is one series here, of x = 1.1 * 2 dt/dx² jumps (half of that, but on the last axis): the smallest number k
of terms, a multiple of 8 above x, with x^k/k! <= 1e-17 e^x. (Stiffer steps take resolvents, whose number depends on
tolerance and start.) A thread has a line, and reads 8 cells at a time: so a term takes n / 8 round trips to memory,
times the rounds in which the lines fit on the card: 50,000 threads at a time, by the registers of the kernel. That is
what a sweep of few lines costs. Launches, some 5e-6 s each, are not counted: they rule below a million cells.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde.errors import BackendError
from wfr_pde.storage import files

BANDWIDTH, TENSOR, VECTOR = 3.35e12, 67e12, 34e12
LATENCY, TOGETHER, RESIDENT = 0.6e-6, 8, 50_000
STEPS_OF_HEAT = 20.0  # dt / dx²
FLOWS = {
    "FisherRao": wfr.FisherRao(),
    "SinkhornKernel": wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()),
    "FiniteVolume": wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()),
}


def seconds_of_pass(moved: float, operations: float = 0.0, products: float = 0.0, round_trips: float = 0.0) -> float:
    """Predicted seconds of one pass."""
    return max(moved / BANDWIDTH, operations / VECTOR, products / TENSOR, round_trips * LATENCY)


def terms(x: float) -> int:
    """Terms of a series of x jumps."""
    k = 8 * (math.floor(x / 8) + 1)
    while k * math.log(x) - math.lgamma(k + 1) > x + math.log(1e-17):
        k += 8
    return k


def predicted(flow: str, shape: tuple[int, ...]) -> float:
    """Predicted seconds of a step."""
    size, d = math.prod(shape), len(shape)
    reaction = seconds_of_pass(40 * size, 35 * size)
    if flow == "FisherRao":
        return reaction
    total = 2 * reaction
    if flow == "SinkhornKernel":
        total += seconds_of_pass(152 * size, 70 * size)
        return total + sum(seconds_of_pass(16 * size + 8 * n * n, products=2 * n * size) for n in shape)
    for k in (*range(d - 1), *range(d - 1, -1, -1)):
        x = 1.1 * 2 * STEPS_OF_HEAT * (1.0 if k == d - 1 else 0.5)
        trips = shape[k] / TOGETHER * math.ceil(size / shape[k] / RESIDENT)
        total += seconds_of_pass(130 * size, 70 * size)
        total += terms(x) * seconds_of_pass(48 * size, 14 * size, round_trips=trips)
    return total


def measured(flow: str, shape: tuple[int, ...], backend: str, repeats: int) -> float:
    """Seconds of the fastest of some steps, after two that are not counted."""
    d = len(shape)
    target, start = wfr.Gaussian(np.zeros(d), 1.0), wfr.Gaussian(np.full(d, -1.0), 0.5)
    grid = wfr.Grid.covering(target, start, shape=shape, backend=backend)
    state = grid.density(start)
    step = FLOWS[flow].make_step(wfr.KL(target), state, STEPS_OF_HEAT * min(axis.dx for axis in grid.axes) ** 2)
    best = math.inf
    for number in range(2 + repeats):
        began = time.perf_counter()
        state = step(state, 0.0)
        float(state.log_values[(0,) * d])  # a number on the host: the device has finished
        if number >= 2:
            best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backend", default="cupy", help="what is measured (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/gpu.json"))
    arguments = parser.parse_args()
    shapes = [(64, 64), (32, 32, 32)] if arguments.quick else [(1024, 1024), (4096, 4096), (256, 256, 256)]
    device = None
    try:
        device = wfr.Grid(0, 1, 4, backend=arguments.backend).backend.device
        print(f"measured on {device}; predicted for an H100-class card")
    except BackendError as error:
        print(f"nothing is measured: {error}\nThe prediction for an H100-class card alone:")
    single = arguments.backend.endswith(":single")  # the prediction is for double
    rows: list[dict[str, Any]] = []
    print(f"{'flow':>16}{'cells':>14}{'predicted ms':>14}{'measured ms':>14}")
    for flow in FLOWS:
        for shape in shapes:
            if single and flow == "FiniteVolume":
                continue
            row: dict[str, Any] = {"flow": flow, "cells": "x".join(map(str, shape))}
            if not single:
                row["predicted_ms"] = 1e3 * predicted(flow, shape)
            found = "-"
            if device is not None:
                try:
                    row["measured_ms"] = 1e3 * measured(flow, shape, arguments.backend, 1 if arguments.quick else 5)
                    found = f"{row['measured_ms']:.4g}"
                except MemoryError as error:
                    row["error"] = str(error)
                    found = "does not fit"
            rows.append(row)
            foreseen = "-" if single else f"{row['predicted_ms']:.4g}"
            print(f"{row['flow']:>16}{row['cells']:>14}{foreseen:>14}{found:>14}")
    print(f"written to {files.write_json({'device': device, 'steps': rows}, arguments.out)}")


if __name__ == "__main__":
    main()
