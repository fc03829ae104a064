"""Accuracy, time and memory of the solver on cases with known answers.

    python benchmarks/accuracy.py [--quick] [--threads 1] [--precision double]

Prints a table and writes it to results/benchmarks/accuracy.json. Errors are L1 errors of the density at the final
time: against closed forms; for product targets against one-dimensional runs; for the 2D double well against a run
with a finer grid and smaller steps. Time is that of `solve`, best of three (once for runs over ten seconds); memory
is the peak of what Python and NumPy allocate in a run of one step, frames included, and the bound is what `solve`
compares with the free memory before it starts.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the cases that take more than a few seconds")
    parser.add_argument("--threads", type=int, default=1, help="threads of the matrix products (default: 1)")
    parser.add_argument("--precision", choices=["double", "single"], default="double")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/accuracy.json"))
    return parser.parse_args()


ARGUMENTS = parse_arguments()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(ARGUMENTS.threads)  # before NumPy is imported

import numpy as np  # noqa: E402

import wfr_pde as wfr  # noqa: E402
from wfr_pde.integrate.memory import estimated_memory  # noqa: E402
from wfr_pde.storage import files, provenance  # noqa: E402


@dataclass
class Case:
    """One problem with a known answer."""

    name: str
    target: wfr.Target
    start: wfr.Target
    box: tuple[Any, Any]
    shape: Any
    t: float
    order: int
    steps: int
    exact: Callable[[Case], Any]  # values of the density at t, on the grid
    transport_rate: float = 1.0
    reaction_rate: float = 1.0
    max_cut: float = 1e-6
    quick: bool = True

    @cached_property
    def grid(self) -> wfr.Grid:
        backend = "numpy" if ARGUMENTS.precision == "double" else "numpy:single"
        return wfr.Grid(*self.box, self.shape, max_cut=self.max_cut, backend=backend)

    @cached_property
    def rho(self) -> wfr.Density:
        return self.grid.density(self.start)

    def flow(self) -> wfr.Flow:
        strang = wfr.Strang(wfr.FisherRao(self.reaction_rate), wfr.SinkhornKernel(self.transport_rate))
        return wfr.Extrapolated(strang, self.order) if self.order > 2 else strang

    def run(self, steps: int | None = None) -> wfr.Density:
        dt = self.t / self.steps
        ds = wfr.solve(self.target, self.flow(), self.rho, [0, dt * (steps or self.steps)], dt, keep="last")
        return wfr.Density.from_dataset(ds)


def gaussian(case: Case) -> np.ndarray:
    answer = wfr.exact.gaussian_flow(case.target, case.start, case.t, case.transport_rate, case.reaction_rate)
    return case.grid.density(answer).values


def finer(case: Case, factor: float = 1.7) -> np.ndarray:
    """The same problem on more cells with smaller steps, at order 8, interpolated."""
    n = [math.ceil(factor * n) for n in case.grid.shape]
    again = Case(**(vars_of(case) | {"shape": n, "order": 8, "steps": 2 * case.steps}))
    return np.exp(again.run().log_prob(case.grid.points()))


def vars_of(case: Case) -> dict[str, Any]:
    return {name: getattr(case, name) for name in Case.__dataclass_fields__}


ONE_MODE = wfr.Gaussian(-1.5, 0.3)
TWO_MODES = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], [0.3, 0.4])


def product_of_lines(case: Case) -> np.ndarray:
    """Product targets and starts stay products under the flow: three one-dimensional runs, finely."""
    line = Case("", TWO_MODES, ONE_MODE, (-5, 5.6), 600, case.t, 8, 4 * case.steps, product_of_lines)
    along = np.exp(line.run().log_prob(case.grid.axes[0].centres[:, None]))
    return reduce(np.multiply.outer, [along] * 3)


def product(line: wfr.GaussianMixture, d: int) -> wfr.GaussianMixture:
    """The product of `d` copies of a one-dimensional mixture."""
    index = np.stack(np.meshgrid(*[range(len(line.weights))] * d, indexing="ij"), axis=-1).reshape(-1, d)
    covariances = line.covariances[:, 0, 0][index]
    return wfr.GaussianMixture(line.means[:, 0][index], np.prod(line.weights[index], axis=1), covariances)


def cases() -> list[Case]:
    correlated = wfr.Gaussian([0, 0], [[1.0, 0.5], [0.5, 0.8]])
    crossed = wfr.Gaussian([-6, 3], [[0.4, -0.15], [-0.15, 0.3]])
    precision3 = np.array([[1.2, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.8]])
    well = wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5)
    return [
        Case("1D Gaussian from e^-200", wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25), (-16, 8), 400, 1, 8, 16, gaussian),
        Case("the same", wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25), (-16, 8), 400, 1, 6, 16, gaussian),
        Case("1D Gaussian from e^-7000, by blocks", wfr.Gaussian(0, 1), wfr.Gaussian(-10, 1 / 140), (-14, 8), 1600,
             0.1, 8, 160, gaussian, quick=False),
        Case("2D correlated, rates 1 : 2, from e^-90", correlated, crossed, ([-11, -8], [8, 8]), (136, 118), 1, 8, 16,
             gaussian, 1.0, 2.0),
        Case("3D correlated, from e^-73", wfr.Gaussian([0, 0, 0], np.linalg.inv(precision3)),
             wfr.Gaussian([-2.6, 2.4, -2.5], [0.12, 0.14, 0.13]), ([-7, -7.3, -8], [7, 7.3, 8]), (84, 88, 96), 1, 8, 11,
             gaussian, quick=False),
        Case("1D double well 2(x²-1)²", wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04), (-2.7, 2.7), 128, 1, 8, 24, finer),
        Case("2D double well, L1 1e-6 in 0.15 s", well, wfr.Gaussian([-1, 0], 0.04), ([-2.5, -3], [2.5, 3]), 64, 0.5, 8,
             16, finer, max_cut=1e-4),
        Case("the same, finer", well, wfr.Gaussian([-1, 0], 0.04), ([-2.5, -3], [2.5, 3]), 96, 0.5, 8, 24, finer,
             max_cut=1e-4),
        Case("3D mixture of 8, 64³", product(TWO_MODES, 3), wfr.Gaussian([-1.5] * 3, 0.3), ([-5] * 3, [5.6] * 3), 64,
             1, 6, 16, product_of_lines, quick=False),
        Case("the same, 128³", product(TWO_MODES, 3), wfr.Gaussian([-1.5] * 3, 0.3), ([-5] * 3, [5.6] * 3), 128, 1, 6,
             64, product_of_lines, quick=False),
    ]  # fmt: skip


def measure(case: Case) -> dict[str, Any]:
    """Error, time and memory of one case."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < 10:
        began = time.perf_counter()
        result = case.run()
        times.append(time.perf_counter() - began)
    error = float(case.grid.integrate(np.abs(result.values - case.exact(case))))
    tracemalloc.start()
    case.run(steps=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "case": case.name,
        "grid": "x".join(map(str, case.grid.shape)),
        "order": case.order,
        "steps": case.steps,
        "error_l1": error,
        "seconds": min(times),
        "memory_mib": peak / 2**20,
        "bound_mib": estimated_memory(case.flow(), case.rho, n_kept=1) / 2**20,
    }


def main() -> None:
    print(f"{'case':38} {'grid':>9} {'order':>5} {'steps':>5} {'L1 error':>9} {'time':>9} {'memory':>9} {'bound':>9}")
    rows = []
    for case in cases():
        if ARGUMENTS.quick and not case.quick:
            continue
        row = measure(case)
        rows.append(row)
        print(
            f"{row['case']:38} {row['grid']:>9} {row['order']:>5} {row['steps']:>5} {row['error_l1']:>9.1e} "
            f"{row['seconds']:>7.3f} s {row['memory_mib']:>5.1f} MiB {row['bound_mib']:>5.1f} MiB",
            flush=True,
        )
    path = files.write_json(
        {"threads": ARGUMENTS.threads, "versions": dict(provenance.versions()), "rows": rows}, ARGUMENTS.out
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
