"""Bounds of a weak coupling, drawn anew at every run, against closed forms between Gaussians.

    python benchmarks/coupling.py [--problems 300] [--seed S]
    python benchmarks/coupling.py --line      # two wells on a line, to whose V waves, bumps, steps or powers are added

A problem has 2 to 20 dimensions, a product of Gaussians, a start, and a target with couplings of 1e-4 to 1 between all
coordinates and means that are shifted; rates of 0.1 to 5, and times of 0.01 to 10. The true L1 distance is a mean over
100,000 draws; a bound is false where it is below that by three standard errors of it. On a line, where nothing is to be
decoupled, truths are certified solutions, and a bound is false where it is below by what those may be off. Prints how
many bounds are false, how many are 2 (nothing is known), and quantiles of bound over truth and estimate over truth.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from decoupled_laws import GaussianLaw, l1_by_draws

import wfr_pde as wfr
from wfr_pde.storage import files
from wfr_pde.truth.certified.factored.coupling import coupling_error

KINDS = {"both": (1, 1), "transport": (1, 0), "reaction": (0, 1)}


def gaussian_problem(rng: np.random.Generator, kind: str, most: int = 20) -> tuple[GaussianLaw, wfr.Gaussian, float]:
    """Draw a decoupled law, a target and a time."""
    d = int(rng.integers(2, most + 1))
    near = wfr.Gaussian(rng.normal(size=d), 10 ** rng.uniform(-1, 0.5, d))
    start = wfr.Gaussian(rng.normal(size=d), 10 ** rng.uniform(-1.5, 0.3))
    other = rng.normal(size=(d, d)) * 10 ** rng.uniform(-4, 0) / (4 * np.sqrt(d))
    root = np.sqrt(near.precision)
    precision = near.precision + root @ (other + other.T) / 2 @ root
    values, vectors = np.linalg.eigh((precision + precision.T) / 2)
    precision = (vectors * np.maximum(values, 0.1 * values[-1] / len(values))) @ vectors.T
    target = wfr.Gaussian(near.mean + other[0] * np.sqrt(near.covariance.diagonal()), np.linalg.inv(precision))
    rates = 10 ** rng.uniform(-1, 0.7, 2) * KINDS[kind]
    law = GaussianLaw(near, start, float(rates[0]), float(rates[1]))
    return law, target, float(10 ** rng.uniform(-2, 1))


def judged(law: GaussianLaw, target: wfr.Gaussian, t: float, rng: np.random.Generator, **options: Any) -> dict:
    """Return bound, estimate, truth and its standard error."""
    rates, begin = (law.transport_rate, law.reaction_rate), time.process_time()
    found = coupling_error(law, law.near, target, [t], *rates, rng=rng, **options)
    seconds = time.process_time() - begin
    true, doubt = l1_by_draws(law.at(t), law.towards(target, t), 100_000, rng)
    values = {name: float(found[name][0]) for name in found.data_vars}
    return values | {"true": true, "doubt": doubt, "seconds": seconds, "d": target.ndim, "t": t}


def report(rows: list[dict[str, Any]]) -> None:
    print(f"{'rates':>10} {'problems':>9} {'false':>6} {'unknown':>8}   bound/true: 5 %, median, 95 %   estimate/true")
    for kind in KINDS:
        chosen = [row for row in rows if row["kind"] == kind]
        bounds, true, doubt, estimates = (
            np.array([row[name] for row in chosen]) for name in ("error_l1_coupling", "true", "doubt", "coupling_l1")
        )
        false, known = (bounds < true - 3 * doubt).sum(), bounds < 2
        ratios = np.quantile(bounds[known] / true[known], [0.05, 0.5, 0.95]) if known.any() else np.full(3, np.nan)
        guesses = np.quantile(estimates / true, [0.05, 0.5, 0.95])
        words = "  ".join(f"{value:8.3g}" for value in (*ratios, *guesses))
        print(f"{kind:>10} {len(chosen):>9} {false:>6} {(~known).sum():>8}   {words}")
        print(f"{'':>10} estimates below the truth: {(estimates < true).mean():.0%}; below 0.8 of it: ", end="")
        print(f"{(estimates < 0.8 * true).mean():.0%}; CPU seconds: {sum(row['seconds'] for row in chosen):.0f}")


def line_problem(rng: np.random.Generator) -> dict[str, Any]:
    """Draw two wells, or a tilted quartic, and what is added to V: waves, bumps, steps, powers."""
    eps, at = 10 ** rng.uniform(-3, 0.5) * rng.choice([-1, 1]), rng.uniform(-1.5, 1.5)
    added = rng.choice(
        ["cos({w}*x)", "exp(-{w}*(x - {at})**2)", "tanh({w}*(x - {at}))", "x", "x**2", "x**3/(1 + x**2)"]
    )
    base = f"{rng.uniform(0.2, 2):.3f}*(x**2 - {rng.uniform(0, 1.5):.3f})**2 + {rng.uniform(-0.5, 0.5):.3f}*x"
    return {
        "near": base,
        "target": f"{base} + {eps:.5g}*{added.format(w=round(10 ** rng.uniform(-0.3, 0.9), 3), at=round(at, 3))}",
        "start": (rng.uniform(-2, 2), 10 ** rng.uniform(-1.7, 0)),
        "rates": tuple((10 ** rng.uniform(-1, 0.7, 2) * KINDS[rng.choice(list(KINDS))]).tolist()),
        "t": float(10 ** rng.uniform(-2, 0.7)),
    }


def judged_on_a_line(problem: dict[str, Any], rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Return bound, estimate, and the truth by two certified solutions."""
    rates = dict(zip(("transport_rate", "reaction_rate"), problem["rates"], strict=True))
    t, start = problem["t"], wfr.Gaussian(*problem["start"])
    times = np.concatenate([[0.0], np.geomspace(t / 300, t, 16)])
    near, target = wfr.Potential(problem["near"]), wfr.Potential(problem["target"])
    law = wfr.Trajectory(wfr.ground_truth(near, start, times, rtol=1e-4, seconds=60, **rates), near)
    truth = wfr.Trajectory(wfr.ground_truth(target, start, [0.0, t], rtol=1e-4, seconds=60, **rates))
    points = truth.grid.points()
    true = float(truth.grid.integrate(np.abs(np.exp(law.log_prob(points, t)) - truth.at(t).values)))
    begin = time.process_time()
    found = coupling_error(law, near, target, [t], **rates, rng=rng, **options)
    values = {name: float(found[name][0]) for name in found.data_vars}
    kind = {(True, True): "both", (True, False): "transport", (False, True): "reaction"}
    doubt = float(truth.error_l1(t) + law.error_l1(t)) / 3
    spent = {"seconds": time.process_time() - begin, "kind": kind[problem["rates"][0] > 0, problem["rates"][1] > 0]}
    return values | problem | spent | {"true": true, "doubt": doubt}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy) % 10**9)
    parser.add_argument("--line", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/coupling.json"))
    arguments = parser.parse_args()
    rows = []
    for k in range(arguments.problems):
        rng, kind = np.random.default_rng([arguments.seed, k]), list(KINDS)[k % 3]
        if arguments.line:
            try:
                row = judged_on_a_line(line_problem(rng), rng, n=400, replicas=4)
            except wfr.NumericalError as error:
                print(f"draw {k} left out: {str(error).splitlines()[0][:100]}", flush=True)
                continue
            print(
                {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in row.items()}, flush=True
            )
        else:
            row = judged(*gaussian_problem(rng, kind), rng, n=400, replicas=4) | {"kind": kind}
        rows.append(row | {"draw": k})
    print(f"seed {arguments.seed}, {arguments.problems} problems, 400 draws and 4 paths from each")
    report(rows)
    path = files.write_json({"seed": arguments.seed, "rows": rows}, arguments.out)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
