"""FiniteVolume: which way through time is the faster, how the error falls with dx, what a step costs.

    python benchmarks/finite_volume.py [--quick] [--out PATH]

Four tables. (1) exp(time L) on lines of a far Gaussian, from e^-200 at the target's mode, for growing stiffness:
powers of the stochastic matrix alone against the mixture with resolvents that FiniteVolume uses; nanoseconds per cell,
and the largest relative difference of any cell. (2) L1 error of the flow of the far Gaussian, plain and extrapolated
in dx. (3) time of one step on 2D and 3D grids, on all threads. (4) a term of a series, the innermost loop of the
sweeps, on one thread: nanoseconds per cell, gigabytes per second for the 64 bytes that a cell takes and gives, and the
share that this is of what a loop attains that only adds up the same arrays.

Writes results/benchmarks/finite_volume.json.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.flows.transport.finite_volume.jump_rates import jump_rates
from wfr_pde.numerics.compiled import chain_exponential as line_sweeps
from wfr_pde.storage import files

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25)
LINES = 8


def fastest(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest of some calls, after one that is not counted, and the result."""
    result = function()
    best = math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - began)
    return best, result


def in_time(n: int, exponents: range, repeats: int) -> list[dict[str, float]]:
    """Table 1."""
    grid = wfr.Grid.covering(TARGET, START, shape=n)
    log_pi = wfr.KL(TARGET).log_equilibrium(grid)
    rates = [np.repeat(rate[:, None], LINES, axis=1) for rate in jump_rates(grid, log_pi, 0, "scharfetter-gummel")]
    log_f = grid.density(START).log_values - log_pi
    f = np.repeat(np.exp(log_f - log_f.max() + line_sweeps.TOP)[:, None], LINES, axis=1)
    fastest_rate = float((rates[0] + rates[1]).max()) * line_sweeps.SHARE
    poles = line_sweeps.resolvents()

    def mixed(duration: float) -> np.ndarray:
        result = f.copy()
        line_sweeps.advance(result, *rates, *rates, False, False, duration, 1e-12, poles, 0, LINES, LINES)
        return result

    def powers(duration: float) -> np.ndarray:
        result, calls = f.copy(), math.ceil(fastest_rate * duration / line_sweeps.SERIES)
        for _ in range(calls):  # one series each
            line_sweeps.advance(result, *rates, *rates, False, False, duration / calls, 1e-12, poles, 0, LINES, LINES)
        return result

    rows = []
    for exponent in exponents:
        x = 10.0**exponent
        duration = x / fastest_rate
        seconds, result = fastest(lambda duration=duration: mixed(duration), repeats)  # type: ignore[misc]
        slow, expected = fastest(lambda duration=duration: powers(duration), 1)  # type: ignore[misc]
        scale = 1e9 / f.size
        rows.append(
            {
                "jumps": x,
                "powers_ns": slow * scale,
                "mixed_ns": seconds * scale,
                "difference": float(np.abs(result / expected - 1).max()),
            }
        )
    return rows


def in_space(cells: list[int]) -> list[dict[str, float]]:
    """Table 2: W alone, T = 1, and WFR."""
    rows = []
    flow = wfr.FiniteVolume()
    both = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), flow), 8)
    for name, beta, plain, dt in (("W", 0.0, flow, 1 / 4), ("WFR", 1.0, both, 1 / 64)):
        for n in cells:
            grid = wfr.Grid.covering(TARGET, START, shape=n)
            state = grid.density(START)
            truth = grid.density(wfr.exact.gaussian_flow(TARGET, START, 1.0, 1.0, beta))
            row: dict[str, Any] = {"flow": name, "cells": n}
            for kind, scheme in (("plain", plain), ("extrapolated", wfr.Extrapolated(plain, 4, "dx"))):
                seconds, ds = fastest(lambda s=scheme, r=state, h=dt: wfr.solve(TARGET, s, r, [0, 1], h), 1)  # type: ignore[misc]
                row |= {f"{kind}_l1": metrics.l1(truth, wfr.Density.from_dataset(ds)), f"{kind}_s": seconds}
            rows.append(row)
    return rows


def per_step(shapes: list[tuple[int, ...]], repeats: int) -> list[dict[str, Any]]:
    """Table 3."""
    rows = []
    for shape in shapes:
        d = len(shape)
        target, start = wfr.Gaussian(np.zeros(d), 1.0), wfr.Gaussian(np.full(d, -1.0), 0.5)
        grid = wfr.Grid.covering(target, start, shape=shape)
        energy, state = wfr.KL(target), grid.density(start)
        for jumps in (1.0, 100.0, 1e4, 1e6):
            dt = jumps * grid.axes[0].dx ** 2 / 2
            step = wfr.FiniteVolume().make_step(energy, state, dt)
            seconds, result = fastest(lambda s=step, r=state: s(r, 0.0), repeats)  # type: ignore[misc]
            rows.append(
                {
                    "shape": "x".join(map(str, shape)),
                    "jumps": jumps,
                    "ms": 1e3 * seconds,
                    "ns_per_cell": 1e9 * seconds / grid.size,
                    "mass_error": abs(result.mass - 1),
                }
            )
    return rows


@numba.njit(error_model="numpy", fastmath={"contract"})
def terms(calls, here, below, above, new, f, down, up):  # type: ignore
    """The same term of a series, some times."""
    for _ in range(calls):
        line_sweeps.next_term(here, below, above, new, f, (down, up), 0.1, 0.1)


@numba.njit(error_model="numpy", fastmath={"contract"})
def added_up(calls, here, below, above, new, f, down, up):  # type: ignore
    """The same arrays, with hardly any arithmetic."""
    for _ in range(calls):
        for q in range(len(f)):
            value = here[q] + below[q] + above[q] + down[q] + up[q]
            new[q] = value
            f[q] += value


def of_terms(sizes: list[int], repeats: int) -> list[dict[str, Any]]:
    """Table 4."""
    rows = []
    for size in sizes:
        term, new, f, down, up = (np.full(size + 2 * LINES, 0.1) for _ in range(5))
        calls = max(1, 2**21 // size)
        here, below, above = term[LINES:-LINES], term[: -2 * LINES], term[2 * LINES :]
        arrays = here, below, above, new[LINES:-LINES], f[:size], down[:size], up[:size]
        seconds = [fastest(partial(loop, calls, *arrays), repeats)[0] for loop in (terms, added_up)]
        ns = [1e9 * loop / calls / size for loop in seconds]
        rows.append({"cells": size, "term_ns": ns[0], "GB/s": 64 / ns[0], "added_up_ns": ns[1], "share": ns[1] / ns[0]})
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """A table."""
    print(title)
    names = list(rows[0])
    lines = [names] + [[f"{row[k]:.3g}" if isinstance(row[k], float) else str(row[k]) for k in names] for row in rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(names))]
    for line in lines:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/finite_volume.json"))
    arguments = parser.parse_args()
    quick = arguments.quick
    tables = {
        "in_time": in_time(128 if quick else 400, range(1, 4 if quick else 7), 1 if quick else 3),
        "in_space": in_space([400, 800] if quick else [400, 800, 1600, 3200]),
        "per_step": per_step([(64, 64)] if quick else [(128, 128), (512, 512), (64, 64, 64)], 1 if quick else 3),
    }
    tables["of_terms"] = of_terms([line_sweeps.CELLS_PER_BLOCK, 8192, 2**20], 3 if quick else 20)
    show("exp(time L): powers alone, and with resolvents; jumps = largest exit rate x time", tables["in_time"])
    show("far Gaussian from e^-200: L1 error at t = 1, and seconds", tables["in_space"])
    show("one step; jumps = 2 dt / dx²", tables["per_step"])
    show("a term of a series, per cell", tables["of_terms"])
    print(f"written to {files.write_json(tables, arguments.out)}")


if __name__ == "__main__":
    main()
