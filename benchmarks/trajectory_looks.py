"""Whether the errors that `Trajectory` states hold: looks at random places and times of random runs.

    python benchmarks/trajectory_looks.py [--n 10000] [--seed SEED] [--quick] [--blind] [--out PATH]

Problem, save times, time and place of every look are drawn from a fresh seed, which is printed. Problems have closed
forms: Gaussian flows in 1D and 2D, mixtures of Gaussians under transport, Fisher-Rao flows between mixtures, and the
double well with an exactly known gap. Frames are exact up to rounding, so that only the interpolation is judged; with
`--solved` each comes of `ground_truth`. Save times are equally spaced, geometric, clustered, with two close ones, two
alone, and begin at other times than zero. Half of the places are drawn from the density, half from the whole box. Half
of the runs are given the target, and half are not (`--blind`: none is).

A look asks for the L1 error at a time, by the sum over the grid, and for log_prob and score at one place. A miss is an
L1 error above the one stated, or a pointwise one above the one stated within the region. All are printed, with what was
drawn.

Required: no miss in L1, and at most one pointwise miss in a thousand looks within the region.
"""

from __future__ import annotations

import argparse
import json
import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.storage import files

Array = np.ndarray[Any, np.dtype[np.float64]]

PER_RUN = 25  # looks at one run
FLOORS = {"l1": 1e-12, "log_prob": 1e-11, "score": 1e-9}  # rounding of the reference itself
PATTERNS = ("linear", "geometric", "cluster", "close", "two", "late", "random")


@dataclass(frozen=True)
class Problem:
    """A flow with a closed form."""

    name: str
    target: Any
    rates: tuple[float, float]
    states: tuple[Any, ...]  # whose boxes the grid must cover
    at: Callable[[float], Any]
    scale: float  # of time


def gaussian(rng: np.random.Generator, d: int) -> Problem:
    """Gaussian to Gaussian, any rates."""
    target = wfr.Gaussian(rng.normal(size=d), _covariance(rng, d, 0.3, 3))
    start = wfr.Gaussian(2 * rng.normal(size=d), _covariance(rng, d, 0.004 if d == 1 else 0.03, 3))
    rates = [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), tuple(np.exp(rng.normal(size=2)).tolist())][rng.integers(4)]
    scale = 1 / max(rates)
    return Problem(
        f"gaussian {d}D", target, rates, (target, start), lambda t: exact.gaussian_flow(target, start, t, *rates), scale
    )


def narrow(rng: np.random.Generator) -> Problem:
    """A Gaussian that widens up to 10,000 times over, on graded cells."""
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(2 * rng.normal(), 10 ** rng.uniform(-4, -1.5))
    rates = [(1.0, 0.0), (1.0, 1.0), (0.01, 1.0), (1.0, 0.05)][rng.integers(4)]
    return Problem("narrow", target, rates, (target, start), lambda t: exact.gaussian_flow(target, start, t, *rates), 1)


def mixture(rng: np.random.Generator) -> Problem:
    """A mixture of Gaussians under transport to a Gaussian."""
    target = wfr.Gaussian(rng.normal(), math.exp(rng.uniform(-1, 1)))
    n = int(rng.integers(2, 4))
    start = wfr.GaussianMixture(
        (2 * rng.normal(size=n)).tolist(), rng.dirichlet(np.ones(n)).tolist(), np.exp(rng.uniform(-5, 0, n)).tolist()
    )
    rate = math.exp(rng.normal())
    return Problem(
        "mixture W",
        target,
        (rate, 0.0),
        (target, start),
        lambda t: exact.mixture_transport(target, start, t, rate),
        1 / rate,
    )


def fisher_rao(rng: np.random.Generator) -> Problem:
    """A mixture to a mixture by reaction alone."""
    ends = []
    for _ in range(2):
        n = int(rng.integers(1, 4))
        ends.append(
            wfr.GaussianMixture(
                (2 * rng.normal(size=n)).tolist(),
                rng.dirichlet(np.ones(n)).tolist(),
                np.exp(rng.uniform(-2, 0.5, n)).tolist(),
            )
        )
    rate = math.exp(rng.normal())
    return Problem(
        "Fisher-Rao", ends[0], (0.0, rate), tuple(ends), lambda t: exact.fisher_rao(ends[0], ends[1], t, rate), 1 / rate
    )


def well(rng: np.random.Generator) -> Problem:
    """The double well whose gap is known, under transport."""
    k, rate = math.exp(0.3 * rng.normal()), math.exp(rng.normal())
    gap = 2 * k * k * rng.uniform(0.05, 0.9)
    target, eps = wfr.CoshDoubleWell(gap, k), rng.uniform(-0.98, 0.98)
    return Problem(
        "cosh well",
        target,
        (rate, 0.0),
        (target,),
        lambda t: exact.cosh_double_well_flow(target, eps, t, rate),
        1 / (rate * gap),
    )


FAMILIES: tuple[tuple[Callable[[np.random.Generator], Problem], float], ...] = (
    (lambda rng: gaussian(rng, 1), 0.25),
    (narrow, 0.1),
    (mixture, 0.25),
    (fisher_rao, 0.15),
    (well, 0.15),
    (lambda rng: gaussian(rng, 2), 0.1),
)


def _covariance(rng: np.random.Generator, d: int, low: float, high: float) -> Array:
    variances = np.exp(rng.uniform(math.log(low), math.log(high), d))
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return np.asarray(basis @ np.diag(variances) @ basis.T)


def save_times(rng: np.random.Generator, scale: float) -> tuple[str, Array]:
    """Name of the pattern, and increasing times."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    end, n = scale * math.exp(rng.uniform(-3, 2.5)), int(np.exp(rng.uniform(1.1, 3.5)))
    if pattern == "linear":
        times = np.linspace(0, end, n)
    elif pattern == "geometric":
        times = np.append(0, np.geomspace(end * 10 ** rng.uniform(-4, -1), end, n))
    elif pattern == "cluster":
        width = end * 10 ** rng.uniform(-4, -1)
        centre = rng.choice([0.0, rng.uniform(0, 0.8)]) * end
        times = np.concatenate([[0, end], centre + np.linspace(0, width, int(rng.integers(3, 10)))])
        times = np.concatenate([times, rng.uniform(0, end, rng.integers(0, 4))])
    elif pattern == "close":
        times = np.linspace(0, end, n)
        i = rng.integers(0, n - 1)
        times = np.append(times, times[i] + 10 ** rng.uniform(-7, -2) * end / n)
    elif pattern == "two":
        times = np.array([rng.choice([0, 1]), 1]) * end * rng.uniform(0.01, 0.9) + [0, end * 10 ** rng.uniform(-3, 0)]
    elif pattern == "late":
        times = np.linspace(rng.uniform(0.05, 0.8), 1, n) * end
    else:
        times = np.append(0, rng.uniform(0, end, n))
    return pattern, np.unique(times)


def exact_run(problem: Problem, times: Array, grid: wfr.Grid) -> xr.Dataset:
    """The Dataset that an exact solver would give."""
    values = np.stack([grid.log_density(problem.at(float(t)), checked=False) for t in times])
    density = wfr.Density(grid, values[0])
    coordinates = density.coordinates()
    variables: dict[str, Any] = {n: coordinates.pop(n) for n in list(coordinates) if n.startswith("cell_")}
    variables["log_density"] = (("t", *grid.names), values)
    variables["error_l1"] = (("t",), np.full(len(times), 1e-13))
    variables["log_density_error"] = (("t", *grid.names), 1e-13 * (1 + np.abs(values)))
    attrs = {
        "grid": json.dumps(grid.description()),
        "transport_rate": problem.rates[0],
        "reaction_rate": problem.rates[1],
    }
    return xr.Dataset(variables, coords=coordinates | {"t": times}, attrs=attrs)


def resolved_grid(problem: Problem, times: Array, rng: np.random.Generator) -> wfr.Grid | None:
    """Cells that resolve all frames, at random up to twice as many as that needs, on boxes of all sizes."""
    flat = problem.target.ndim == 2
    cells, most = (60, 150) if flat else (int(rng.integers(150, 700)), 3000)
    tail = 10 ** -rng.uniform(10, 20 if flat else 100)
    while cells <= most:
        graded = problem.name == "narrow"
        grid = wfr.Grid.covering(*problem.states, shape=cells, tail=tail, max_cut=1, graded=graded)
        try:
            for t in times:
                grid.check_resolved(grid.log_density(problem.at(float(t))), "the frame")
            return grid
        except ValueError:
            cells = int(1.4 * cells)
    return None


def drawn_problem(rng: np.random.Generator) -> Problem:
    """One of the families."""
    makers, shares = zip(*FAMILIES, strict=True)
    return makers[rng.choice(len(makers), p=shares)](rng)


def looks_at_run(seed: Sequence[int], count: int, blind: bool, solved: bool) -> list[dict[str, Any]]:
    """Looks at the run that a seed draws."""
    rng = np.random.default_rng(seed)
    problem = drawn_problem(rng)
    pattern, times = save_times(rng, problem.scale)
    knows = not blind and rng.random() < 0.5
    shared = {"seed": list(seed), "problem": problem.name, "pattern": pattern, "knows": knows, "frames": len(times)}
    if solved:
        start = problem.at(0.0)
        alpha, beta = problem.rates
        if len(times) < 2 or problem.target.ndim > 1:
            return []
        rtol = 10 ** rng.uniform(-8, -3)
        asked = np.unique(np.append(0, times))
        ds = wfr.ground_truth(
            problem.target, start, asked, transport_rate=alpha, reaction_rate=beta, rtol=rtol, strict=False
        ).sel(t=times)
    else:
        grid = resolved_grid(problem, times, rng)
        if grid is None:
            return []
        ds = exact_run(problem, times, grid)
    path = wfr.Trajectory(ds, problem.target if knows else None)
    rows = []
    for _ in range(count):
        k = rng.integers(len(times) - 1)
        t = float(times[k] + rng.beta(0.6, 0.6) * (times[k + 1] - times[k]))
        rows.append(shared | _look(problem, path, t, rng))
    return rows


def _look(problem: Problem, path: wfr.Trajectory, t: float, rng: np.random.Generator) -> dict[str, Any]:
    """Stated and true errors at a time and a place."""
    grid, truth = path.grid, problem.at(t)
    reference = wfr.Density(grid, grid.log_density(truth, checked=False))
    mass = float(grid.log_integrate(grid.evaluate(truth.log_density)))
    density = path.at(t)
    true_l1 = float(grid.integrate(np.abs(density.values - reference.values)))
    tail = bool(rng.random() < 0.5)
    if tail:
        x = rng.uniform(grid.lower, grid.upper)[None]
    else:
        x = reference.sample(1, rng) + 0.01 * rng.normal(size=(1, grid.ndim)) * (grid.upper[0] - grid.lower[0])
    x = np.clip(x, grid.lower, grid.upper)
    true_log = float(truth.log_density(x)[0]) - mass
    stated = float(path.log_prob_error(x, t)[0])
    row = {
        "t": t,
        "x": x[0].tolist(),
        "tail": tail,
        "depth": float(reference.log_values.max() - true_log),
        "within": float(path.holds_within(t)),
        "l1": [float(path.error_l1(t)), true_l1],
        "log_prob": [stated, abs(float(path.log_prob(x, t)[0]) - true_log)],
    }
    error = float(np.linalg.norm(path.score(x, t)[0] - truth.score(x)[0]))
    return row | {"score": [float(path.score_error(x, t)[0]), error]}


def missed(row: dict[str, Any], what: str) -> bool:
    """Whether a stated error is below the true one."""
    stated, true = row[what]
    floor = FLOORS[what] if what == "l1" else FLOORS[what] * (1 + row["depth"])
    return not true <= stated + floor


def report(rows: list[dict[str, Any]]) -> int:
    """Prints counts by family, and all misses; returns what is not as required."""
    for name in sorted({row["problem"] for row in rows}):
        for knows in (True, False):
            of = [row for row in rows if row["problem"] == name and row["knows"] == knows]
            if of:
                _print_line(f"{name}, {'target' if knows else 'no target'}", of)
    for pattern in sorted({row["pattern"] for row in rows}):
        _print_line(pattern, [row for row in rows if row["pattern"] == pattern])
    failures = 0
    for what in FLOORS:
        misses = [row for row in rows if missed(row, what)]
        claimed = [row for row in rows if math.isfinite(row[what][0])]
        limit = stats.beta.ppf(0.95, len(misses) + 1, max(len(claimed) - len(misses), 1))
        print(f"{what}: {len(misses)} misses in {len(claimed)} claims of {len(rows)} looks, at most {limit:.2g} (95 %)")
        allowed = 0 if what == "l1" else len(claimed) // 1000
        failures += len(misses) > allowed
    return failures


def _print_line(name: str, rows: list[dict[str, Any]]) -> None:
    stated, true = np.array([row["l1"] for row in rows]).T
    ratio = stated / np.maximum(true, 1e-12)
    claimed = [row for row in rows if math.isfinite(row["log_prob"][0])]
    sharp = [row["log_prob"][0] / max(row["log_prob"][1], 1e-11 * (1 + row["depth"])) for row in claimed]
    print(
        f"{name:24} looks {len(rows):6}  L1 missed {sum(missed(row, 'l1') for row in rows):3}"
        f"  stated: 2 in {np.mean(stated >= 2):5.1%}, median {np.median(stated):7.1e}"
        f"  true {np.median(true):7.1e}  stated/true {np.median(ratio):7.1e}"
        f"  within {np.median([row['within'] for row in rows]):6.3g} nats, claimed {len(claimed) / len(rows):5.1%}"
        f"  missed {sum(missed(row, 'log_prob') for row in rows):3} {sum(missed(row, 'score') for row in rows):3}"
        f"  stated/true {np.median(sharp) if sharp else math.nan:7.1e}"
    )


def main() -> int:
    """Looks, prints and stores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="number of looks")
    parser.add_argument("--seed", type=int, default=None, help="default: fresh")
    parser.add_argument("--quick", action="store_true", help="250 looks")
    parser.add_argument("--blind", action="store_true", help="never give the target")
    parser.add_argument("--solved", action="store_true", help="frames of ground_truth in place of exact ones")
    parser.add_argument("--out", type=Path, default=None, help="where to store all looks, as JSON")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    n = 250 if options.quick else options.n
    print(f"seed {seed}, {n} looks", flush=True)
    rows: list[dict[str, Any]] = []
    began, run = time.perf_counter(), 0
    while len(rows) < n:
        before = len(rows)
        rows += looks_at_run([seed, run], min(PER_RUN, n - len(rows)), options.blind, options.solved)
        run += 1
        for row in rows[before:]:
            wrong = [what for what in FLOORS if missed(row, what)]
            if wrong:
                print(f"miss of {', '.join(wrong)}: {json.dumps(row)}", flush=True)
        if len(rows) // 1000 > before // 1000:
            print(f"{len(rows)} looks, {time.perf_counter() - began:.0f} seconds", flush=True)
    failures = report(rows)
    print(f"{run} runs, {time.perf_counter() - began:.0f} seconds, seed {seed}")
    if options.out is not None:
        files.write_json({"seed": seed, "looks": rows}, options.out)
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
