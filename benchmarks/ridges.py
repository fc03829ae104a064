"""Certified solutions of posteriors with ridges: bounds, their parts, and time.

    python benchmarks/ridges.py [--rtol 1e-3] [--seconds 300] [--only o-ring]

The logistic regression of the O-ring data of the Space Shuttle (23 flights; intercept and slope, variance 100 of the
prior), Rosenbrock's function divided by 20, and the mustache, all from N(0, I) to t = 1 with both rates one. V spans
10^4 to 10^6 nats in the box of target and start.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde.truth.certified.attempt import PARTS

TEMPERATURES = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]  # °F
DISTRESS = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
TIMES = (0.0, 0.1, 0.5, 1.0)


def log_likelihood(intercept: Any, slope: Any, data: Any) -> Any:
    """Of logistic regression, for flights (temperature, distress); intercept and slope may be complex."""
    eta = intercept + slope * data[:, 0]
    positive = np.where(np.real(eta) > 0, eta, 0)
    return data[:, 1] * eta - positive - np.log(1 + np.exp(np.where(np.real(eta) > 0, -eta, eta)))


def targets() -> dict[str, wfr.Target]:
    """The three."""
    data = np.stack([TEMPERATURES, DISTRESS], axis=1).astype(float)
    return {
        "o-ring": wfr.Posterior(wfr.Gaussian([0.0, 0.0], 100.0), log_likelihood, data),
        "rosenbrock": wfr.Potential("((1 - x)**2 + 100*(y - x**2)**2)/20"),
        "mustache": wfr.Potential("(x**2 - 1.8*x*(y - (x**2 - 1)**2) + (y - (x**2 - 1)**2)**2)/0.38"),
    }


def main() -> None:
    """A block of lines per target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rtol", type=float, default=1e-3)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--only", choices=list(targets()))
    arguments = parser.parse_args()
    for name, target in targets().items():
        if arguments.only not in (None, name):
            continue
        began, used = time.perf_counter(), time.process_time()
        ds = wfr.ground_truth(
            target, wfr.Gaussian([0.0, 0.0], 1.0), TIMES, rtol=arguments.rtol, seconds=arguments.seconds, strict=False
        )
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        verdict = "certified" if float(ds["error_l1"].max()) <= arguments.rtol else "not certified"
        print(
            f"{name}: {verdict}, {wall:.1f} s, {cpu:.1f} s of CPU, cells {dict(ds.sizes)}, {ds.attrs['n_steps']} steps"
        )
        for part in PARTS:
            print(f"  {part:9s}", " ".join(f"{value:9.1e}" for value in ds[f"error_l1_{part}"].values))
        print("  total    ", " ".join(f"{value:9.1e}" for value in ds["error_l1"].values))
        print("  kl       ", " ".join(f"{value:9.4g}" for value in ds["kl"].values))
        print("  error    ", " ".join(f"{value:9.1e}" for value in ds["error_kl"].values), flush=True)


if __name__ == "__main__":
    main()
