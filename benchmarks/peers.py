"""Time to a given L1 error: wfr_pde, and what else one could take.

    python benchmarks/peers.py [--quick] [--only NAME,...] [--limit 120] [--out PATH]

Fokker-Planck and WFR (alpha = beta = 1) over a double well in one and two dimensions, from a Gaussian in one well, to
t = 1; and WFR from a start at e^-200 of the target's mode, in one dimension. For each method the cells per axis and the
steps, or the tolerance, are raised by the same rule until it gets there; the fastest run that meets the target counts.
Prints a table for each problem and target, and writes them with all runs to results/benchmarks/peers.json. It takes one
to two hours: every method has `--limit` seconds per problem. Optional: pip install "wfr-pde[peers]".

One thread, on one core. Time is that of everything from the problem to the density: grid, operator, factorisations,
steps; the first call in a fresh process (with compilation, without imports of NumPy, SciPy and wfr_pde), and the
fastest of later ones, which the ratio is made of. Errors are those to `ground_truth` (rtol 1e-9, in 2D 1e-8), or to
the closed form, by the midpoint rule on a method's own cells. A finite-volume method gives averages over cells, a
spectral one values at their centres, and the two differ by O(dx²): both distances are taken, and the smaller counts.
All methods have the same box, and cells of the same proportions.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is imported
if hasattr(os, "sched_setaffinity"):  # what starts threads of its own shares one core
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import peer_methods  # noqa: E402
import peer_packages  # noqa: E402
from peer_methods import Problem, Solution, Solver, extrapolated  # noqa: E402

from wfr_pde.storage import files, provenance  # noqa: E402

TARGETS, QUICK_TARGETS = (1e-3, 1e-6), (1e-3, 1e-5)
QUICK_LIMIT = 1.0
STEPS = tuple(2**k for k in range(1, 19))
ONE_STEP = (1,)
TOLERANCES = tuple(10.0**-k for k in range(3, 13))
CELLS = tuple(sorted([32 * 2**k for k in range(10)] + [48 * 2**k for k in range(9)]))
ROUGH = 0.3  # of an error above it nothing follows: more steps may gain later
GAIN = 0.8  # an error that twice changes by less is no longer one of the steps; one that rises may fall later
BACK = 4  # refinements of the steps that are taken back on the next grid
CALLS, FRESH_CALLS = 2, 5  # of a run of the ladder, and in a fresh process
REPEATED = 2.0  # seconds from which one call is enough
COMPILATION = 60.0  # seconds that a run may take at least where there is some
LOST = 0.1  # of the limit: what is rough and takes longer is not done with more steps on the same cells
FRESH = 30.0  # seconds of a run from which it is not done again in a fresh process


@dataclass(frozen=True)
class Method:
    """A way to the density, and how it is refined."""

    name: str
    solve: Solver
    knobs: tuple[float, ...]
    limits: str  # what limits the time or the error
    largest: tuple[int, int] = (10**9, 10**9)  # cells per axis in 1D and 2D, by memory
    package: str = ""  # as imported
    pip: str = ""
    only: str = ""  # part of the names of the problems that it is for
    quick: bool = False
    compiles: bool = False  # anew for each grid; that is not in the time that the limit is for

    @property
    def ours(self) -> bool:
        return self.name.startswith("wfr_pde")

    @property
    def installed(self) -> bool:
        return not self.package or importlib.util.find_spec(self.package) is not None


def methods() -> list[Method]:
    """All rows."""
    rows = [
        Method("wfr_pde SinkhornKernel, order 8", peer_methods.sinkhorn, STEPS, "dt: alpha dt V'' < 1, order 8",
               quick=True),
        Method("wfr_pde FiniteVolume, extrapolated", peer_methods.finite_volume, STEPS, "cells: order 4 in dx",
               quick=True),
        Method("split-step Fourier (SplitStep), extrapolated", peer_methods.split_step, STEPS,
               "dt: order 8; floor of 1e-16 in the tails"),
        Method("ETDRK4, Fourier", peer_methods.etdrk4, STEPS, "stability: dt |V'| k_max; negative in the tails",
               quick=True),
        Method("SciPy LSODA, Fourier", collocation("LSODA"), TOLERANCES,
               "LU of a dense Jacobian; negative in the tails", (2048, 64), quick=True),
        Method("SciPy BDF, Fourier", collocation("BDF"), TOLERANCES, "LU of a dense Jacobian; negative in the tails",
               (2048, 64)),
    ]  # fmt: skip
    finite_volumes = [
        ("SciPy BDF", peer_methods.solve_bdf, TOLERANCES, "steps in Python, sparse LU", (2**15, 1024), True),
        ("SciPy LSODA", peer_methods.solve_lsoda, TOLERANCES, "banded LU", (2**15, 192), True),
        ("expm_multiply", peer_methods.taylor, STEPS, "products: t / dx²", (2**15, 1024), True),
        ("Crank-Nicolson", peer_methods.crank_nicolson, STEPS, "sparse LU and its solves", (2**15, 1024), True),
    ]
    for name, solver, knobs, limits, largest, quick in finite_volumes:
        one = f"{name}, Scharfetter-Gummel"
        rows.append(Method(one, solver, knobs, f"cells: order 2 in dx; {limits}", largest, quick=quick))
        twice = functools.partial(extrapolated, solver, knobs is STEPS)
        rows.append(Method(f"{one}, extrapolated", twice, knobs, f"cells: order 4 in dx; {limits}", largest))
    return rows + [
        Method("exponax, ETDRK4", peer_packages.exponax_etdrk4, STEPS,
               "stability: dt |V'| k_max; compiled for each grid", package="exponax", pip="exponax",
               compiles=True),
        Method("py-pde, Runge-Kutta", peer_packages.py_pde_explicit, TOLERANCES,
               "cells: order 2 in dx; stability: dt < dx²/4", package="pde", pip="py-pde", compiles=True),
        Method("py-pde, LSODA", peer_packages.py_pde_scipy, TOLERANCES,
               "cells: order 2 in dx; Jacobian by differences", (2**15, 192), package="pde", pip="py-pde",
               compiles=True),
        Method("FiPy, implicit Euler", peer_packages.fipy_implicit, STEPS,
               "dt: order 1; assembles and factorises each step", package="fipy", pip="fipy"),
        Method("fplanck", peer_packages.fplanck, ONE_STEP, "cells: order 2 in dx; operator built in a Python loop",
               package="fplanck", pip="fplanck", only="Fokker-Planck"),
    ]  # fmt: skip


def collocation(method: str) -> Solver:
    """solve_ivp on Fourier collocation."""
    return functools.partial(peer_methods.solve_collocation, method)


class TooLongError(Exception):
    """A run has overrun its time."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Stop what is inside after some seconds, where the system can."""

    def stop(*_: Any) -> None:
        raise TooLongError

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed(
    method: Method, problem: Problem, cells: int, knob: float, seconds: float, calls: int
) -> tuple[list[float], Solution]:
    """Times of some calls in this process, each of at most some seconds, and the solution."""
    times: list[float] = []
    solution: Solution | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loads = method.compiles or calls > CALLS  # then the first call is of another kind than the second
        while not times or (len(times) < calls and (times[-1] < REPEATED or (loads and len(times) == 1))):
            began = time.perf_counter()
            try:
                with alarm(seconds):
                    solution = method.solve(problem, cells, knob)
            except TooLongError:
                if solution is None:
                    raise
                break
            times.append(time.perf_counter() - began)
    assert solution is not None
    return times, solution


def measure(method: Method, problem: Problem, cells: int, knob: float, seconds: float) -> dict[str, Any]:
    """One run of the ladder; its error is infinite, and `why` says so, where there is no result."""
    run: dict[str, Any] = {"cells": cells, "knob": knob, "error_l1": math.inf, "why": ""}
    began = time.perf_counter()
    try:
        times, solution = timed(method, problem, cells, knob, max(seconds, COMPILATION * method.compiles, 0.1), CALLS)
    except TooLongError:
        return run | {"why": "out of time", "seconds": time.perf_counter() - began}
    except Exception as failure:  # whatever a package makes of numbers that are none
        why = f"{type(failure).__name__}: {failure}".split("\n")[0][:160]
        return run | {"why": why, "seconds": time.perf_counter() - began}
    values = solution.values
    volume = problem.widths(values.shape[0]).prod()
    error = problem.error_l1(values)
    return run | {
        "first_s": times[0],
        "seconds": min(times[1:] or times),
        "steps": solution.steps,
        "error_l1": error,
        "why": "" if error < 1 else "diverges",
        "smallest": float(values.min()),
        "mass_error": float(abs(values.sum() * volume - 1)),
    }


def climb(method: Method, problem: Problem, target: float, limit: float) -> tuple[list[dict[str, Any]], str]:
    """Runs on ever more cells, with ever more steps while they gain, and on the next grid after the first that will do.

    Returns the runs, and what ended them.
    """
    runs: list[dict[str, Any]] = []
    left, first, met, tight = limit, 0, False, method.knobs is TOLERANCES
    for cells in CELLS:
        if cells > method.largest[problem.ndim - 1]:
            return runs, f"more than {method.largest[problem.ndim - 1]} cells an axis do not fit"
        last, diverged, still = math.inf, 0, 0
        for k in range(first, len(method.knobs)):
            if runs and runs[-1]["error_l1"] < ROUGH and runs[-1]["seconds"] * (2 if k > first else 1) > left:
                return runs, "time limit"
            run = measure(method, problem, cells, method.knobs[k], left)
            runs.append(run)
            left -= run["seconds"]
            error = run["error_l1"]
            rough = not error < ROUGH
            if not rough or math.isfinite(last):
                first = max(first, k - BACK)
            diverged += rough
            still = still + 1 if GAIN < error / last < 1 / GAIN else 0
            hopeless = rough and (run["seconds"] > LOST * limit or (tight and diverged > 1))
            stuck = still > 1 or (hopeless and not math.isfinite(last))
            if error <= target or stuck or left < 0:
                break
            last = math.inf if rough else error
        if met:
            return runs, "met"
        met = runs[-1]["error_l1"] <= target
        if left < 0:
            return runs, "met" if met else "time limit"
    return runs, "end of the ladder"


def fresh(method: Method, problem: Problem, run: dict[str, Any]) -> dict[str, float]:
    """Times of the first call and of later ones in a process of their own."""
    arguments = [method.name, problem.name, str(run["cells"]), repr(run["knob"])]
    result = subprocess.run(
        [sys.executable, __file__, "--time", json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        return {}
    times = json.loads(result.stdout.splitlines()[-1])
    return {"first_s": times[0], "seconds": min(times[1:] or times)}


def time_one(text: str) -> None:
    """What `fresh` starts."""
    name, problem_name, cells, knob = json.loads(text)
    method = next(method for method in methods() if method.name == name)
    problem = next(problem for problem in peer_methods.problems() if problem.name == problem_name)
    print(json.dumps(timed(method, problem, int(cells), float(knob), 10 * FRESH, FRESH_CALLS)[0]))


def row_of(method: Method, problem: Problem, target: float, runs: list[dict[str, Any]], end: str, quick: bool) -> dict:
    """A line of the table: the fastest run that meets the target, or the best there is, and why."""
    row: dict[str, Any] = {"problem": problem.name, "target": target, "method": method.name, "limits": method.limits}
    good = [run for run in runs if run["error_l1"] <= target]
    if good:
        best = min(good, key=lambda run: run["seconds"])
        times = {} if quick or best["seconds"] > FRESH else fresh(method, problem, best)
        return row | best | times | {"met": True}
    best = min(runs, key=lambda run: run["error_l1"])
    reasons = [run["why"] for run in runs if run["why"]]
    why = end if end != "end of the ladder" or not reasons else reasons[-1]
    return row | best | {"met": False, "why": why if best["error_l1"] < 1 else f"{why}; {(reasons or [''])[-1]}"}


def results(arguments: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    """The rows of every problem, method by method, and all runs."""
    targets = QUICK_TARGETS if arguments.quick else TARGETS
    chosen = [name.strip().lower() for name in arguments.only.split(",") if name.strip()]
    for problem in peer_methods.problems():
        if arguments.quick and not problem.quick:
            continue
        progress(f"{problem.name}: the reference")
        rows: list[dict[str, Any]] = []
        for method in methods():
            wanted = method.ours or not chosen or any(name in method.name.lower() for name in chosen)
            if not wanted or method.only not in problem.name or (arguments.quick and not method.quick):
                continue
            if not method.installed:
                missing = {"met": False, "missing": f"not installed: pip install {method.pip}"}
                base = {"problem": problem.name, "method": method.name, "limits": method.limits}
                rows += [base | {"target": target} | missing for target in targets]
                continue
            progress(f"{problem.name}: {method.name}")
            problem.truth(CELLS[0])  # the reference is made here, outside of the time
            runs, end = climb(method, problem, min(targets), arguments.limit)
            for target in targets:
                rows.append(row_of(method, problem, target, runs, end, arguments.quick))
            rows[-1]["runs"] = runs
        progress("")
        add_ratios(rows)
        yield rows


def progress(text: str) -> None:
    """What is being done, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def add_ratios(rows: list[dict[str, Any]]) -> None:
    """Times over that of wfr_pde's faster scheme for the same target."""
    for target in {row["target"] for row in rows}:
        same = [row for row in rows if row["target"] == target and row["met"]]
        ours = [row["seconds"] for row in same if row["method"].startswith("wfr_pde")]
        for row in same if ours else []:
            row["ratio"] = row["seconds"] / min(ours)


def show(rows: list[dict[str, Any]]) -> None:
    """Tables of one problem."""
    head = f"{'method':48} {'cells':>5} {'steps':>6} {'L1':>7} {'first':>8} {'later':>8} {'smallest':>9} {'mass':>7}"
    for target in sorted({row["target"] for row in rows}, reverse=True):
        print(f"\n{rows[0]['problem']}, L1 error {target:.0e}\n{head} {'ratio':>7}  what limits it")
        for row in (row for row in rows if row["target"] == target):
            if "missing" in row:
                print(f"{row['method']:48} {row['missing']}")
                continue
            if not math.isfinite(row["error_l1"]):
                print(f"{row['method']:48} no result: {row['why']}")
                continue
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else "-" if row["met"] else "not met"
            why = row["limits"] if row["met"] else f"{row['why']}; {row['limits']}"
            print(
                f"{row['method']:48} {row['cells']:>5} {row['steps']:>6} {row['error_l1']:>7.0e} "
                f"{row['first_s']:>6.2f} s {row['seconds']:>6.3f} s {row['smallest']:>9.0e} {row['mass_error']:>7.0e} "
                f"{ratio:>7}  {why}"
            )
    sys.stdout.flush()


def fastest_others(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each problem and target the fastest method that is not wfr_pde's."""
    found = []
    for problem, target in dict.fromkeys((row["problem"], row["target"]) for row in rows):
        same = [row for row in rows if (row["problem"], row["target"]) == (problem, target) and row["met"]]
        others = [row for row in same if not row["method"].startswith("wfr_pde")]
        best = min(others, key=lambda row: row["seconds"], default={})
        found.append({"problem": problem, "target": target} | {key: best.get(key) for key in ("method", "ratio")})
    return found


def show_fastest(found: list[dict[str, Any]]) -> None:
    """Their table."""
    print(f"\n{'problem':20} {'L1':>6}  {'time / wfr_pde':>14}  the fastest other method")
    for row in found:
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{row['problem']:20} {row['target']:>6.0e}  {ratio:>14}  {row['method'] or 'none gets there'}")


def installed_versions() -> dict[str, str]:
    """Versions of the packages that are compared."""
    found = dict(provenance.versions())
    for name in ("exponax", "jax", "py-pde", "fipy", "fplanck", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def finite(value: Any) -> Any:
    """The same without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one dimension, fewer methods, one second for each")
    parser.add_argument(
        "--only", default="", help="parts of the names of methods, besides wfr_pde, with commas between"
    )
    parser.add_argument("--limit", type=float, help="seconds per method and problem (default: 120)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/peers.json"))
    parser.add_argument("--time", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time:
        time_one(arguments.time)
        return
    arguments.limit = arguments.limit or (QUICK_LIMIT if arguments.quick else 120.0)
    rows = []
    for some in results(arguments):
        show(some)
        rows += some
        content = {
            "limit_s": arguments.limit,
            "versions": installed_versions(),
            "fastest": fastest_others(rows),
            "rows": finite(rows),
        }
        path = files.write_json(content, arguments.out)  # after each problem
    show_fastest(fastest_others(rows))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
