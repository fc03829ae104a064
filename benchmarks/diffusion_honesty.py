"""Certified weighted diffusions against closed forms, on problems drawn at random: no bound may be below the error.

    python benchmarks/diffusion_honesty.py [--draws 100] [--seed SEED] [--seconds 60]

Five families: a Gaussian under a linear drift in 1D or 2D, any diffusivity per axis, with and without a quadratic
rate; mixtures under noise in 1D or 2D; rotations about an equilibrium; growth alone, by rates that are waves in
place and time, and offsets of thousands. A fresh seed is drawn where none is given, and printed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

import wfr_pde as wfr

FAMILIES = ("linear", "weighted", "noised", "rotation", "growth")


@dataclass
class Problem:
    """A flow, a start, save times, a tolerance; the exact law and log Z at the last time."""

    flow: Any
    start: Any
    times: np.ndarray
    rtol: float
    exact: Any
    log_mass: float
    words: str


def draw(family: str, rng: np.random.Generator) -> Problem:
    """Draw a problem of a family."""
    d = int(rng.integers(1, 3))
    t = float(10 ** rng.uniform(-1.5, 0.3))
    times = np.array([0.0, *np.sort(rng.uniform(0.1, 0.9, int(rng.integers(0, 3)))), 1.0]) * t
    rtol = float(10 ** rng.uniform(-8, -3)) if d == 1 else float(10 ** rng.uniform(-6, -3))
    families = {"linear": _linear, "weighted": _linear, "noised": _noised, "rotation": _rotation, "growth": _growth}
    make = families[family]
    flow, start, exact, log_mass = make(rng, d, t, family == "weighted")
    return Problem(flow, start, times, rtol, exact, log_mass, f"{family} {start.ndim}D t={t:.3g} rtol={rtol:.1e}")


def _covariance(rng: np.random.Generator, d: int) -> np.ndarray:
    factor = rng.standard_normal((d, d))
    return factor @ factor.T / d * 10 ** rng.uniform(-1, 0.3) + 10 ** rng.uniform(-1.3, 0) * np.eye(d)


def _linear(rng: np.random.Generator, d: int, t: float, weighted: bool) -> tuple[Any, ...]:
    """Draw a linear drift b = A x + b0 that turns, with D per axis, and perhaps c = q.x - x'Qx/2."""
    a = rng.standard_normal((d, d)) * rng.uniform(0.3, 2.0) - rng.uniform(0, 1.5) * np.eye(d)
    offset, diffusivity = rng.standard_normal(d), 10 ** rng.uniform(-1, 0.5, d)
    pull, shape = (rng.standard_normal(d) * 0.5, _covariance(rng, d) * 0.5) if weighted else (np.zeros(d), 0)
    q, matrix = pull, np.zeros((d, d)) + shape
    mean, covariance = rng.standard_normal(d), _covariance(rng, d)

    def slope(s: float, y: np.ndarray) -> np.ndarray:
        m, c = y[:d], y[d:-1].reshape(d, d)
        dm = a @ m + offset + c @ (q - matrix @ m)
        dc = a @ c + c @ a.T + 2 * np.diag(diffusivity) - c @ matrix @ c
        return np.concatenate([dm, dc.ravel(), [q @ m - (m @ matrix @ m + np.trace(matrix @ c)) / 2]])

    begin = np.concatenate([mean, covariance.ravel(), [0.0]])
    end = solve_ivp(slope, (0, t), begin, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    c = end[d:-1].reshape(d, d)
    rate = (lambda x, s: x @ q - np.einsum("...i,ij,...j->...", x, matrix, x) / 2) if weighted else None
    flow = wfr.Advected(lambda x, s: x @ a.T + offset, diffusivity, rate)
    return flow, wfr.Gaussian(mean, covariance), wfr.Gaussian(end[:d], (c + c.T) / 2), float(end[-1])


def _mixture(rng: np.random.Generator, d: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    k = int(rng.integers(2, 4))
    return rng.uniform(-2, 2, (k, d)), rng.dirichlet(np.ones(k) * 2), [_covariance(rng, d) for _ in range(k)]


def _noised(rng: np.random.Generator, d: int, t: float, weighted: bool) -> tuple[Any, ...]:
    """Draw a mixture under the Ornstein-Uhlenbeck process, whose law is a mixture."""
    means, weights, covariances = _mixture(rng, d)
    a = np.exp(-t)
    exact = wfr.GaussianMixture(a * means, weights, [a**2 * c + (1 - a**2) * np.eye(d) for c in covariances])
    return wfr.Advected(lambda x, s: -x, 1.0), wfr.GaussianMixture(means, weights, covariances), exact, 0.0


def _rotation(rng: np.random.Generator, d: int, t: float, weighted: bool) -> tuple[Any, ...]:
    """Draw b = D (score + omega J score) about a mixture in two dimensions, which stays."""
    means, weights, covariances = _mixture(rng, 2)
    target, omega, diffusivity = (
        wfr.GaussianMixture(means, weights, covariances),
        rng.uniform(-2, 2),
        rng.uniform(0.2, 1),
    )
    turn = np.array([[0, 1], [-1, 0]]) * omega

    def drift(x: np.ndarray, s: float) -> np.ndarray:
        score = target.score(x)
        return diffusivity * (score + score @ turn.T)

    return wfr.Advected(drift, diffusivity), target, target, 0.0


def _growth(rng: np.random.Generator, d: int, t: float, weighted: bool) -> tuple[Any, ...]:
    """Draw c = offset + a sum_k cos(w_k x_k + phase_k) cos(omega s) of a Gaussian that stays where it is."""
    size, offset = rng.uniform(0.3, 4) / t, rng.choice([0.0, -3000.0, 2000.0])
    waves, phases, omega = rng.uniform(0.5, 4, d), rng.uniform(0, 6, d), rng.uniform(0.5, 10)
    mean, deviations = rng.standard_normal(d), rng.uniform(0.4, 1.2, d)

    def rate(x: np.ndarray, s: float) -> np.ndarray:
        return offset + size * np.cos(omega * s) * np.cos(waves * x + phases).sum(axis=-1)

    grown, log_mass = size * np.sin(omega * t) / omega, offset * t
    for wave, phase, middle, deviation in zip(waves, phases, mean, deviations, strict=True):
        z = np.linspace(-12, 12, 24_001)
        power = grown * np.cos(wave * (middle + deviation * z) + phase)
        log_mass += np.log(np.trapezoid(np.exp(power - z**2 / 2), z) / np.sqrt(2 * np.pi))

    def potential(*x: np.ndarray) -> np.ndarray:
        terms = zip(x, waves, phases, mean, deviations, strict=True)
        return sum((y - m) ** 2 / (2 * v**2) - grown * np.cos(w * y + p) for y, w, p, m, v in terms)

    start = wfr.Gaussian(mean, np.diag(deviations**2))
    exact = wfr.Potential(potential, ndim=d)
    return wfr.Advected(lambda x, s: 0 * x, 0.0, rate), start, exact, float(log_mass)


def judge(problem: Problem, seconds: float) -> dict[str, Any]:
    """Solve a problem, and compare its bound with its error."""
    begin = time.perf_counter()
    try:
        ds = wfr.ground_truth(
            flow=problem.flow, start=problem.start, t=problem.times, rtol=problem.rtol, seconds=seconds, strict=False
        )
    except (wfr.NumericalError, ValueError, MemoryError) as error:
        return {"refused": str(error).splitlines()[0][:150], "seconds": time.perf_counter() - begin}
    density = wfr.Density.from_dataset(ds)
    exact = np.exp(density.grid.log_density(problem.exact, checked=False))
    error = float(density.grid.integrate(np.abs(density.values - exact)))
    of_mass = abs(float(ds["log_mass"][-1]) - problem.log_mass)
    bounds = {"l1": float(ds["error_l1"][-1]), "log_mass": float(ds["error_log_mass"][-1])}
    contradicted = "disagreement" in ds and bool((ds["disagreement"] > ds["disagreement_allowed"]).any())
    return {
        "l1": error,
        "bound": bounds["l1"],
        "false": error > bounds["l1"] or of_mass > bounds["log_mass"] + bounds["l1"] + 1e-12,
        "above": bounds["l1"] > problem.rtol,
        "contradicted": contradicted,
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    """Draw, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of a solution")
    arguments = parser.parse_args()
    seed = secrets.randbits(31) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    rows = []
    for number in range(arguments.draws):
        rng = np.random.default_rng([seed, number])
        problem = draw(FAMILIES[number % len(FAMILIES)], rng)
        row = judge(problem, arguments.seconds)
        rows.append(row)
        if "refused" in row:
            print(f"{number:4d} {problem.words}: refused after {row['seconds']:.1f} s: {row['refused']}", flush=True)
            continue
        told = [word for word in ("false", "above", "contradicted") if row[word]]
        print(
            f"{number:4d} {problem.words}: error {row['l1']:.1e}, bound {row['bound']:.1e}, {row['seconds']:.1f} s "
            f"{' '.join(told).upper()}",
            flush=True,
        )
    solved = [row for row in rows if "refused" not in row]
    ratios = np.array([row["bound"] / max(row["l1"], 1e-13) for row in solved])
    print(
        f"{len(solved)} of {len(rows)} solved: {sum(row['false'] for row in solved)} false, "
        f"{sum(row['above'] for row in solved)} above rtol, {sum(row['contradicted'] for row in solved)} contradicted; "
        f"bounds within 30 / 300 times the error: {np.mean(ratios <= 30):.0%} / {np.mean(ratios <= 300):.0%}; "
        f"median {np.median([row['seconds'] for row in solved]):.1f} s"
    )
    sys.exit(any(row["false"] for row in solved))


if __name__ == "__main__":
    main()
