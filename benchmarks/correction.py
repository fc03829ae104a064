"""Whether the witness should correct the answer of `ground_truth`: the true error before and after.

    python benchmarks/correction.py [--draws 100] [--seed S] [--seconds 40]

The witness estimates eps, log of the computed over the true density, on coarse cells. Here every answer in 1D with
transport is multiplied by e^(-eps), eps by cubic splines, and normalised again; problems and answers are those of
honesty.py. One line per save time whose error is above 1e-11, then how often the correction made it smaller.
"""

from __future__ import annotations

import argparse
import secrets
import warnings
from typing import Any

import honesty
import honesty_families as families
import numpy as np
from scipy.interpolate import CubicSpline

import wfr_pde as wfr
from wfr_pde.errors import NumericalError
from wfr_pde.space.density import Density
from wfr_pde.truth.certified.evidence import witness

FLOOR = 1e-11  # of errors that are looked at
LARGEST = 1.0  # nats of a correction
Estimate = tuple[np.ndarray, np.ndarray]  # centres of the chain's cells, eps there


class Listening(witness._Chain):
    """The chain of the witness; keeps eps of the last answer at its save times."""

    heard: list[Estimate] = []

    def __init__(self, *arguments: Any) -> None:
        Listening.heard.clear()
        super().__init__(*arguments)

    def compared(self, t: float) -> tuple[float, float, float, float, float]:
        """As it was, and kept."""
        one, other = (Density(self.grid, values).normalised() for values in (self.alone, self.moved))
        eps = np.asarray(other.log_values) - np.asarray(one.log_values)
        Listening.heard.append((self.grid.axes[0].centres, np.clip(np.nan_to_num(eps), -LARGEST, LARGEST)))
        return super().compared(t)


def corrected(ds: Any, estimates: list[Estimate]) -> Any:
    """The answer times e^(-eps)."""
    grid = wfr.Grid.from_dataset(ds)
    x, result = grid.axes[0].centres, ds.copy(deep=True)
    for k, (centres, eps) in enumerate(estimates, start=1):
        values = ds["log_density"][k].values - CubicSpline(centres, eps)(np.clip(x, centres[0], centres[-1]))
        result["log_density"][k] = values - np.log(np.sum(np.exp(values) * grid.axes[0].widths))
    return result


def compared(case: families.Case, seconds: float) -> list[tuple[float, float, float, float]]:
    """(error before, after, part of space, part of the witness) at every save time but the first."""
    Listening.heard.clear()
    ds = wfr.ground_truth(
        case.target, case.start, case.times, transport_rate=case.alpha, reaction_rate=case.beta,
        rtol=case.rtol, seconds=seconds, strict=False, **case.options,
    )  # fmt: skip
    if not Listening.heard:
        return []
    before, after = (honesty.true_errors(case, one)["l1"][1:] for one in (ds, corrected(ds, Listening.heard)))
    parts = ds["error_l1_space"].values[1:].tolist(), ds["error_l1_witness"].values[1:].tolist()
    return [row for row in zip(before, after, *parts, strict=True) if row[0] > FLOOR]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, help="a fresh one by default")
    parser.add_argument("--seconds", type=float, default=40.0)
    chosen = parser.parse_args()
    seed = secrets.randbelow(2**31) if chosen.seed is None else chosen.seed
    print(f"seed {seed}")
    witness._Chain = Listening  # type: ignore[misc]
    warnings.simplefilter("ignore")
    ratios = []
    for k in range(chosen.draws):
        case = families.draw(seed, k)
        if case.target.ndim > 1 or case.alpha == 0:
            continue
        try:
            rows = compared(case, chosen.seconds)
        except (ValueError, NumericalError, ArithmeticError):
            continue
        for before, after, space, told in rows:
            ratios.append(after / before)
            print(f"{k:5d} {case.family:22} {before:.1e} -> {after:.1e} ({ratios[-1]:8.2g} x); "
                  f"parts: space {space:.1e}, witness {told:.1e}", flush=True)  # fmt: skip
    found = np.array(ratios)
    print(f"\n{len(found)} answers: smaller {np.mean(found < 1):.0%}, below a third {np.mean(found < 1 / 3):.0%}, "
          f"above three times {np.mean(found > 3):.0%}; median {np.median(found):.2g} x")  # fmt: skip


if __name__ == "__main__":
    main()
