"""Error rates of `validate` in 20 dimensions: correct samplers that are accused, and planted faults that are found.

    python benchmarks/validate_any_dimension.py [--trials 100] [--only WORD] [--out PATH]

The target has five equal pairs of modes and a Gaussian in 15 dimensions with different variances, on turned axes; the
start is a Gaussian. Two laws are known block by block (Langevin steps, and weights by the truth between them); MALA and
underdamped Langevin are held against pi, births and deaths by the truth against the truth, and SMC-WFR, whose estimate
of the density tells nothing in so many dimensions, must not be accused. Faults are in the noise of one coordinate, in
the coupling of the noise of two blocks, in the axes of the score, and in weights that have the wrong sign in one
block. Exits with 1 if more than 7 % of the trials of the correct samplers are called inconsistent (35 of 500), or fewer
than 95 % of a fault. Writes results/benchmarks/validate_any_dimension.json.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde import samplers
from wfr_pde.storage import files, provenance
from wfr_pde.validation.verdict import INCONSISTENT
from wfr_pde.validation.verdicts import validate

D, N, MANY, DT, TIME = 20, 300, 3000, 0.05, 0.3  # MANY particles for wrong weights, few of which count
ACCUSED, FOUND = 0.07, 0.95  # shares of the trials: most, least
AXES = np.linalg.qr(np.random.default_rng(3).standard_normal((D, D)))[0]
FACTORS = [wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2])] * 5
REST = wfr.Gaussian(np.zeros(15), np.linspace(0.5, 1.5, 15))
TARGET = wfr.Product([*FACTORS, REST], AXES)
START = wfr.Product([wfr.Gaussian(0.2, 0.5)] * 5 + [wfr.Gaussian(np.full(15, 0.3), 0.5)], AXES)
ULA = samplers.Langevin()


@functools.cache
def truth() -> Any:
    """Trajectory of the WFR flow."""
    return wfr.Trajectory(wfr.ground_truth(TARGET, START, [0.0, TIME], rtol=1e-3), TARGET)


@dataclass(frozen=True, eq=False)
class Coloured(samplers.Sampler):
    """Langevin whose noise has a covariance of its own in the coordinates y, and a score on axes of its own."""

    noise: Any
    axes: Any
    rate: float = 1.0

    interacting = False

    def build_step(self, energy: Any, template: Any, dt: float) -> Any:
        """Prepare a step."""
        mix = np.linalg.cholesky(self.noise).T @ AXES.T
        pi = wfr.Product(TARGET.factors, self.axes)

        def step(state: Any, rng: Any) -> Any:
            x = state.positions
            noise = rng.standard_normal(x.shape) @ mix
            return self.moved(state, x + dt * pi.score(x) + math.sqrt(2 * dt) * noise)

        return step


@dataclass(frozen=True, eq=False)
class WrongSign(samplers.LogRatio):
    """The true g with that of one block counted with the wrong sign."""

    whole: Any
    block: int

    is_exact = True

    def __call__(self, state: Any, target: Any, t: float) -> Any:
        law = truth().at(t)
        factor, place = law.factors[self.block], law.blocks[self.block]
        y = law.inner(state.positions)[:, place]
        edges = factor.grid.axes[0].edges
        own = factor.log_prob(np.clip(y, edges[0], edges[-1])) - FACTORS[self.block].log_density(y)
        return samplers.Oracle(truth())(state, target, t) - 2 * own


def coupled(i: int, j: int, entry: float) -> Any:
    """Return the identity with one more entry, twice off the diagonal."""
    noise = np.eye(D)
    noise[i, j] = noise[j, i] = entry
    return noise


def weighted(density: Any) -> Any:
    """Return weights between half Langevin steps."""
    return wfr.Strang(samplers.FeynmanKac(density=density), ULA)


@functools.cache
def cases() -> dict[str, tuple[bool, Any, Any, Any]]:
    """By name: whether it is correct, the sampler, its scheme, and what it is held against."""
    oracle = samplers.Oracle(truth())
    births = wfr.Strang(samplers.BirthDeath(density=oracle), ULA)
    law = truth(), START
    return {
        "Langevin": (True, ULA, ULA, law),
        "weights by the truth": (True, weighted(oracle), weighted(oracle), law),
        "MALA": (True, samplers.MALA(), samplers.MALA(), (TARGET, None)),
        "underdamped Langevin": (True, samplers.UnderdampedLangevin(), None, (TARGET, None)),
        "births and deaths": (True, births, births, law),
        "SMC-WFR": (True, samplers.SMCWFR(), samplers.SMCWFR(), law),
        "noise of one coordinate": (False, Coloured(coupled(3, 3, 0.7), AXES), ULA, law),
        "noise of two blocks": (False, Coloured(coupled(1, 8, 0.3), AXES), ULA, law),
        "score on other axes": (False, Coloured(np.eye(D), np.eye(D)), ULA, law),
        "weights of a wrong sign": (False, weighted(WrongSign(truth(), 2)), weighted(oracle), law),
    }


def trial(name: str, seed: int) -> dict[str, Any]:
    """Make one verdict."""
    _, sampler, scheme, (against, start) = cases()[name]
    n = MANY if name == "weights of a wrong sign" else N
    began = time.process_time()
    ds = validate(sampler, against, TARGET, scheme=scheme, start=start, t=[TIME], dt=DT, n=n, rng=seed)
    worst = int(np.argmax(ds["score"].values[0]))
    return {
        "case": name, "seed": seed, "verdict": ds.attrs["verdict"], "score": float(ds["score"].max()),
        "statistic": str(ds["statistic"].values[worst]), "reference": ds.attrs["reference"],
        "resolution": float(ds["resolution"].max()), "seconds": time.process_time() - began,
    }  # fmt: skip


def main() -> int:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100, help="of each case")
    parser.add_argument("--only", default="", help="only cases whose name holds this word")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/validate_any_dimension.json"))
    arguments = parser.parse_args()
    rows, bad, accused, total = [], [], 0, 0
    for name, (correct, *_) in cases().items():
        if arguments.only not in name:
            continue
        own = [trial(name, 1000 + k) for k in range(arguments.trials)]
        rows += own
        count = sum(row["verdict"] == INCONSISTENT for row in own)
        words = {word: sum(row["verdict"] == word for row in own) for word in dict.fromkeys(r["verdict"] for r in own)}
        places = [row["statistic"] for row in own]
        seconds = float(np.mean([row["seconds"] for row in own]))
        print(
            f"{name:26}{count:5} of {len(own)} inconsistent | {words} | resolution {own[0]['resolution']:.2f} | "
            f"most in {max(places, key=places.count)} | {seconds:.1f} s of CPU each",
            flush=True,
        )
        if correct:
            accused, total = accused + count, total + len(own)
        elif count < FOUND * len(own):
            bad.append(name)
    print(f"accused: {accused} of {total} correct samplers; found too rarely: {', '.join(bad) or 'none'}")
    content = {"rows": rows, "accused": accused, "total": total, "versions": dict(provenance.versions())}
    print(f"written to {files.write_json(content, arguments.out)}")
    return 1 if bad or accused > ACCUSED * total else 0


if __name__ == "__main__":
    sys.exit(main())
