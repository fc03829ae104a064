"""What the check of extrapolated steps refuses, and what it lets pass.

    python benchmarks/extrapolation.py [--problems 30] [--seed 0]

Random mixtures of narrow and wide components and double wells, orders 4, 6 and 8, steps from a quarter of the time to a
64th. Each run is done twice, with the check and without; its L1 error is that against Strang steps as small as the
cells resolve. Takes about five minutes. Prints, per range of the error, how many runs were refused, and writes it to
results/benchmarks/extrapolation.json.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.flows import extrapolation
from wfr_pde.storage import files

STRANG = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
T_END, CELLS, STEPS = 0.5, 700, (4, 16, 64)
BINS = (0.0, 1e-3, 1e-2, 0.1, 0.5, 2.1)


def random_problem(rng: np.random.Generator) -> tuple[wfr.Target, wfr.Gaussian]:
    start = wfr.Gaussian(rng.uniform(-6, 6), 10 ** rng.uniform(-1, 0.5))
    if rng.random() < 0.3:
        return wfr.DoubleWell(rng.uniform(0.5, 6), width=rng.uniform(0.7, 2)), start
    k = int(rng.integers(1, 4))
    means, weights, variances = rng.uniform(-12, 12, k), rng.uniform(0.05, 1, k), 10 ** rng.uniform(-1.6, 0.5, k)
    return wfr.GaussianMixture(means, weights, variances), start


def final(target: wfr.Target, flow: wfr.Flow, start: wfr.Density, n: int) -> wfr.Density:
    return wfr.Density.from_dataset(wfr.solve(target, flow, start, [0, T_END], T_END / n, keep="last"))


def runs_of(target: wfr.Target, start: wfr.Gaussian) -> list[dict[str, Any]]:
    grid = wfr.Grid.covering(target, start, shape=CELLS)
    rho = grid.density(start)
    n = int(min(2000, T_END / STRANG.limits(wfr.KL(target), rho)[0]))
    truth = final(target, STRANG, rho, n)
    rows = []
    for order in (4, 6, 8):
        flow = wfr.Extrapolated(STRANG, order)
        low, high = flow.limits(wfr.KL(target), rho)
        for m in STEPS:
            if not low <= T_END / m <= high:
                continue
            try:
                final(target, flow, rho, m)
                refused = False
            except wfr.NumericalError:
                refused = True
            check, extrapolation.RISE = extrapolation.RISE, (math.inf, math.inf)
            try:
                error = metrics.l1(truth, final(target, flow, rho, m))
            finally:
                extrapolation.RISE = check
            rows.append({"order": order, "steps": m, "error_l1": error, "refused": refused})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/extrapolation.json"))
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows: list[dict[str, Any]] = []
    skipped = 0
    for _ in range(arguments.problems):
        try:
            rows += runs_of(*random_problem(rng))
        except ValueError:  # too narrow for the cells
            skipped += 1
    print(f"{arguments.problems} problems, {skipped} of them too narrow for {CELLS} cells, {len(rows)} runs")
    print(f"{'L1 error without the check':28} {'runs':>5} {'refused':>8}")
    for low, high in itertools.pairwise(BINS):
        chosen = [row for row in rows if low <= row["error_l1"] < high]
        print(f"{low:>10g} to {high:<14g} {len(chosen):>5} {sum(row['refused'] for row in chosen):>8}")
    path = files.write_json({"seed": arguments.seed, "skipped": skipped, "rows": rows}, arguments.out)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
