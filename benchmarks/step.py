"""What a step costs, against its own arithmetic.

    python benchmarks/step.py [--quick] [--large] [--out PATH]

A Strang step, FisherRao(dt/2), SinkhornKernel(dt), FisherRao(dt/2), on two modes in one to four dimensions, beside
what it cannot do without: the products with its own kernels, of which only the band that matters is multiplied, one
exp and one log of the state. (Products and the step's own exp are timed together, as one is made of the other chunk by
chunk.) The same for SplitStep, whose own arithmetic is a pair of transforms, one exp and one log. All by one thread;
times are the fastest of some calls, a step is one of a run of ten; `ratio` is the step over the sum of its arithmetic,
`single` that of a step alone; `limit` says what most of that sum is, with the rate it runs at. By default grids have
2^12 to 2^22 cells, with --large to 2^26. Writes results/benchmarks/step.json.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

import wfr_pde as wfr
from wfr_pde.storage import files

SHAPES = [
    (4096,), (16384,),
    (64, 64), (128, 128), (256, 256), (512, 512), (1024, 1024), (2048, 2048), (4096, 4096), (8192, 8192),
    (16, 16, 16), (32, 32, 32), (64, 64, 64), (128, 128, 128), (256, 256, 256), (400, 400, 400),
    (8, 8, 8, 8), (16, 16, 16, 16), (32, 32, 32, 32), (64, 64, 64, 64),
]  # fmt: skip
QUICK = [(4096,), (128, 128), (32, 32, 32), (16, 16, 16, 16)]
SMALL, LARGE = 2**22, 2**26  # cells
RUN = 10  # steps
SECONDS = 1.0  # of calls, at least, of every kind


def fastest(function: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest of some calls, after one that is not counted."""
    function()
    best, began = math.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def problem(shape: tuple[int, ...]) -> tuple[wfr.Target, wfr.Density]:
    """Two modes, and the start in one of them, on a box of [-6, 6]^d."""
    d = len(shape)
    first, second = np.zeros(d), np.zeros(d)
    first[0], second[0] = -1.5, 1.5
    target = wfr.GaussianMixture([first, second], [0.3, 0.7], 0.6)
    grid = wfr.Grid([-6.0] * d, [6.0] * d, shape, max_cut=1.0)
    return target, wfr.Density(
        grid, grid.log_density(wfr.Gaussian(first, 0.6), "the start", checked=False)
    ).normalised()


def transforms(state: wfr.Density) -> Callable[[], Any]:
    """A pair of cosine transforms of the state."""
    values = state.values

    def pair() -> Any:
        return scipy.fft.idctn(scipy.fft.dctn(values, type=2, norm="ortho"), type=2, norm="ortho", overwrite_x=True)

    return pair


def products(state: wfr.Density, log_pi: Any, diffusion: float) -> tuple[Callable[[], Any], float]:
    """The products of a step with the bands of the kernels, and its exp, of a copy; operations of the products."""
    kernel, grid, log_values = state.grid.heat_kernel(diffusion), state.grid, state.log_values - 0.5 * log_pi
    shift = 0.5 * float(log_values.max() + log_values.min())
    reach = kernel.bands[0].reach(float(log_values.min()), float(log_values.max()))

    def product() -> None:
        values = log_values.copy()
        for chunk in kernel.rows:
            grid.cellwise.product_across(chunk, values, shift, kernel.bands, reach)
        for chunk in kernel.columns:
            grid.cellwise.product_down(chunk, values, kernel.bands[0], reach)

    return product, sum(band.operations(reach) * grid.size / band.n for band in kernel.bands)


def measured(shape: tuple[int, ...], kind: str, seconds: float) -> dict[str, Any]:
    """One row."""
    target, state = problem(shape)
    grid, energy = state.grid, wfr.KL(target, checked=False)
    dt = 2 * max(axis.dx for axis in grid.axes) ** 2
    transport = wfr.SinkhornKernel() if kind == "SinkhornKernel" else wfr.SplitStep()
    with grid.backend.threads(False):
        began = time.perf_counter()
        steps = wfr.Strang(wfr.FisherRao(), transport).make_steps(energy, state, dt)
        prepared = time.perf_counter() - began
        state = steps(state, 0.0, 1)
        single = fastest(lambda: steps(state, 0.0, 1), seconds)
        whole = fastest(lambda: steps(state, 0.0, RUN), seconds) / RUN
        if kind == "SinkhornKernel":
            bare, operations = products(state, energy.log_equilibrium(grid), dt)
        else:
            bare, operations = transforms(state), 5.0 * grid.size * math.log2(grid.size)
        values, log_values = state.values, state.log_values
        own, exp = fastest(bare, seconds), fastest(lambda: np.exp(log_values), seconds)
        log = fastest(lambda: np.log(values), seconds)
        if kind == "SinkhornKernel":
            own -= fastest(log_values.copy, seconds) + exp
    arithmetic = own + exp + log
    name = "products" if kind == "SinkhornKernel" else "transforms"
    largest = name if own > exp + log else "exp and log"
    rate = f"{operations / own / 1e9:.0f} GFLOP/s" if own > exp + log else f"{16e-9 * grid.size / exp:.1f} GB/s"
    return {
        "transport": kind,
        "shape": "x".join(map(str, shape)),
        "log2_cells": math.log2(grid.size),
        "step_ms": 1e3 * whole,
        "arithmetic_ms": 1e3 * arithmetic,
        "ratio": whole / arithmetic,
        "single": single / arithmetic,
        "ns_per_cell": 1e9 * whole / grid.size,
        "ns_per_cell_and_n": 1e9 * whole / grid.size / sum(shape),
        "preparation_steps": prepared / whole,
        "limit": f"{largest}, {rate}",
    }


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    names = list(rows[0])
    lines = [names] + [[f"{row[k]:.3g}" if isinstance(row[k], float) else str(row[k]) for k in names] for row in rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(names))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true", help="up to 2^26 cells: some minutes, 12 GiB")
    parser.add_argument("--kind", choices=["SinkhornKernel", "SplitStep"], help="one transport only")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/step.json"))
    arguments = parser.parse_args()
    most = LARGE if arguments.large else SMALL
    shapes = QUICK if arguments.quick else [shape for shape in SHAPES if math.prod(shape) <= most]
    kinds = [arguments.kind] if arguments.kind else ["SinkhornKernel", "SplitStep"]
    seconds = 0.05 if arguments.quick else SECONDS
    rows = [measured(shape, kind, seconds) for kind in kinds for shape in shapes]
    show(rows)
    print(f"written to {files.write_json(rows, arguments.out)}")


if __name__ == "__main__":
    main()
