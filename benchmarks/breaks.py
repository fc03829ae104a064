"""Kinks, jumps and singular walls: observed orders of finite volumes, extrapolated with the recommended powers.

    python benchmarks/breaks.py [--quick] [--out PATH]

For every problem, errors of log-densities extrapolated over 1 to 5 grids, in L1 and in KL, for two numbers of cells,
and the order that they show. Where there is a closed form it is the truth: mu = pi (1 + eps e^(-lambda t) f) with an
eigenfunction f of a well with a kink or a jump, of a chi distribution (Laguerre), of a gamma distribution (Coulomb) or
of sin^(a-1) (Gegenbauer); and dry friction, V = |x|, from a Gaussian (Caughey and Dienes 1961). WFR has none: there the
next finer family is.

Writes results/benchmarks/breaks.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfc, eval_genlaguerre

import wfr_pde as wfr
from wfr_pde.numerics.richardson import richardson
from wfr_pde.space.quadrature import integrate_corrected, log_mass_corrected
from wfr_pde.space.transfer import Interpolation
from wfr_pde.storage import files
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.problem import Problem

RATIOS = (0.75, 1.0, 1.25, 1.5, 2.0)
NODES = 14
STEPS = 48
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Case:
    """A problem in one dimension, and its solution where it is known."""

    name: str
    potential: Callable[[Any], Any]
    box: tuple[float, float]
    start: Any  # a distribution, or f with eigenvalue: (function, lambda)
    t: float
    breaks: tuple[float, ...] = ()
    beta: float = 0.0
    truth: Callable[[Array, float], Array] | None = None  # log mu up to a constant
    powers: tuple[float, ...] | None = None

    def problem(self) -> Problem:
        """Return the problem as the solver takes it."""
        support = ([self.box[0]], [self.box[1]])
        target = wfr.Potential(self.potential, ndim=1, support=support)
        start = self.start
        if isinstance(start, tuple):
            start = wfr.Potential(lambda x: self.potential(x) - np.log1p(start_of(self)(x)), ndim=1, support=support)
        return Problem(target, start, np.array([0.0, self.t]), 1.0, self.beta, 1e-6)

    def log_truth(self, x: Array, t: float) -> Array:
        """log mu up to a constant."""
        if self.truth is not None:
            return self.truth(x, t)
        f, rate = self.start
        return -self.potential(x) + np.log1p(f(x) * math.exp(-rate * t))


def start_of(case: Case) -> Callable[[Array], Array]:
    """The eigenfunction that the start has in it."""
    return case.start[0]


def kinked_well(k: float, wall: float) -> tuple[Callable[[Array], Array], float]:
    """Odd eigenfunction e^(k|x|/2) sin(w x) of V = k|x| between walls, and its eigenvalue."""
    w = brentq(
        lambda w: k / 2 * np.sin(w * wall) + w * np.cos(w * wall), math.pi / 2 / wall + 1e-9, math.pi / wall - 1e-9
    )
    return lambda x: 0.5 * np.exp(k * (abs(x) - wall) / 2) * np.sin(w * x), w * w + k * k / 4


def step_well(height: float, at: float, wall: float) -> tuple[Callable[[Array], Array], float]:
    """Eigenfunction cos of V = height (x > at) between walls at -wall and wall."""
    left, right, ratio = at + wall, wall - at, math.exp(-height)

    def flux(w: float) -> float:  # f and pi f' are the same on both sides
        return math.sin(w * left) * math.cos(w * right) + ratio * math.cos(w * left) * math.sin(w * right)

    w = brentq(flux, 0.6 * math.pi / (2 * wall), 1.4 * math.pi / (2 * wall))
    b = math.cos(w * left) / math.cos(w * right)
    scale = 0.5 / max(1.0, abs(b))

    def f(x: Array) -> Array:
        return scale * np.where(x > at, b * np.cos(w * (wall - x)), np.cos(w * (x + wall)))

    return f, w * w


def chi(a: float) -> tuple[Callable[[Array], Array], float]:
    """L_2^(a/2-1)(x²/2) of V = x²/2 - (a - 1) log x."""
    return lambda x: 0.02 * eval_genlaguerre(2, a / 2 - 1, x**2 / 2), 4.0


def coulomb(a: float) -> tuple[Callable[[Array], Array], float]:
    """e^((1/2 - kappa) x) L_1^(a-2)(2 kappa x) of V = x - (a - 1) log x, a > 1: bound states of a Coulomb potential."""
    kappa = (a - 1) / 2 / (2 + (a - 1))

    def f(x: Array) -> Array:
        return -0.5 * np.exp((0.5 - kappa) * (x - 30)) * (a - 1 - 2 * kappa * x) / (60 * kappa - a + 1)

    return f, 0.25 - kappa**2


def dry_friction(mean: float, variance: float) -> Callable[[Array, float], Array]:
    """log mu of V = |x| from a Gaussian, by Gauss-Legendre over the place where it began (Caughey and Dienes 1961)."""
    sd = math.sqrt(variance)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    y = mean + 9 * sd * nodes

    def log_mu(x: Array, t: float) -> Array:
        if t == 0:
            return -((x - mean) ** 2) / (2 * variance)
        x = x[:, None]
        free = np.exp(-t / 4 - (abs(x) - abs(y)) / 2 - (x - y) ** 2 / (4 * t)) / math.sqrt(4 * math.pi * t)
        rest = np.exp(-abs(x)) / 4 * erfc((abs(x) + abs(y) - t) / (2 * math.sqrt(t)))
        return np.log((free + rest) @ (weights * np.exp(-((y - mean) ** 2) / (2 * variance))))

    return log_mu


def gamma(a: float) -> Callable[[Any], Any]:
    """V of a gamma distribution."""
    return lambda x: x - (a - 1) * np.log(x)


def rayleigh(a: float) -> Callable[[Any], Any]:
    """V of a chi distribution."""
    return lambda x: x**2 / 2 - (a - 1) * np.log(x)


def sine(a: float) -> Callable[[Any], Any]:
    """V of sin^(a-1)."""
    return lambda x: -(a - 1) * np.log(np.sin(x))


CASES = [
    Case("kinked well 2|x|, odd eigenfunction", lambda x: 2 * np.abs(x), (-3, 3), kinked_well(2, 3), 0.3, (0.0,)),
    Case("step of 2 at .37, eigenfunction", lambda x: 2.0 * (x > 0.37), (-3, 3), step_well(2, 0.37, 3), 0.3, (0.37,)),
    Case("dry friction from N(1, .04)", abs, (-25, 25), wfr.Gaussian(1, 0.04), 0.5, (0.0,),
         truth=dry_friction(1, 0.04)),
    Case("x²/2 + 2 (x > .37), W", lambda x: x**2 / 2 + 2 * (x > 0.37), (-7, 7), wfr.Gaussian(-0.5, 0.3), 0.4, (0.37,)),
    Case("x²/2 + 2 (x > .37), WFR", lambda x: x**2 / 2 + 2 * (x > 0.37), (-7, 7), wfr.Gaussian(-0.5, 0.3), 0.4,
         (0.37,), beta=1.0),
    *(Case(f"chi, a = {a}", rayleigh(a), (0, 9), chi(a), 0.2) for a in
      (0.3, 0.5, 0.7, 1.5, 2.0)),
    *(Case(f"gamma, a = {a}, Coulomb state", gamma(a), (0, 30), coulomb(a), 0.5) for a in (1.5, 2.0)),
    *(Case(f"sin^(a-1), a = {a}", sine(a), (0, math.pi),
           (lambda x: 0.5 * np.cos(x), a), 0.3) for a in (0.5, 1.4)),
    *(Case(f"gamma, a = {a}, from N(1, .04), W", gamma(a), (0, 30), wfr.Gaussian(1, 0.04), 0.5) for a in (0.5, 0.7)),
    *(Case(f"gamma, a = {a}, from N(1, .04), WFR", gamma(a), (0, 30), wfr.Gaussian(1, 0.04), 0.5, beta=1.0)
      for a in (0.5, 0.7)),
]  # fmt: skip


def log_ratios(case: Case, cells: GridFamily) -> list[Array]:
    """log(mu/pi) at the two times on the five grids."""
    problem = case.problem()
    steps = 1 if problem.exact_in_time else STEPS
    nodes = np.linspace(0, case.t, steps + 1)
    return [Budget(600).run(problem, cells.grid(r), nodes, 8, problem.times) for r in RATIOS]


def extrapolated(case: Case, cells: GridFamily, runs: list[Array], count: int, k: int) -> tuple[Array, float]:
    """Normalised log mu on the finest grid from the `count` finest grids, and KL, at time number k."""
    grids = [cells.grid(r) for r in RATIOS]
    weights = richardson(RATIOS[-count:], cells.powers if case.powers is None else case.powers)
    fine = grids[-1]
    moved = [
        Interpolation(g, fine, NODES)(run[k]) if g is not fine else run[k]
        for g, run in zip(grids[-count:], runs[-count:], strict=True)
    ]
    pairs = [kl_and_mass(case, g, run[k]) for g, run in zip(grids[-count:], runs[-count:], strict=True)]
    log_ratio = sum(w * (m - mass) for w, m, (_, mass) in zip(weights, moved, pairs, strict=True))
    return log_ratio - case.potential(fine.axes[0].centres), float(weights @ [value for value, _ in pairs])


def kl_and_mass(case: Case, grid: Any, log_ratio: Array) -> tuple[float, float]:
    """KL and the logarithm of the mass on one grid, by midpoint sums."""
    log_pi = -case.potential(grid.axes[0].centres)
    z, m = (float(grid.log_integrate(v)) for v in (log_pi, log_ratio + log_pi))
    return float(grid.integrate(np.exp(log_ratio + log_pi - m) * (log_ratio - m + z))), m


def kl(case: Case, cells: GridFamily, grid: Any, log_ratio: Array, k: int) -> float:
    """KL on one grid with the corrected weights."""
    log_pi = -case.potential(grid.axes[0].centres)
    log_mu = log_ratio + log_pi
    mine = cells.start_walls if k == 0 else cells.walls
    z, m = (log_mass_corrected(grid, v, ends=e) for v, e in ((log_pi, cells.walls), (log_mu, mine)))
    return float(integrate_corrected(grid, np.exp(log_mu - m) * (log_ratio - m + z), ends=mine))


def truth(case: Case, cells: GridFamily, k: int) -> tuple[Array, float] | None:
    """Normalised log mu on the finest grid of a family, and KL on one with eight times the cells; None if not known."""
    if case.truth is None and not isinstance(case.start, tuple):
        return None
    t = (0.0, case.t)[k]
    mine = cells.start_walls if k == 0 else cells.walls
    many = cells.finer(4).grid(2.0)
    x = many.axes[0].centres
    log_mu = case.log_truth(x, t)
    m = log_mass_corrected(many, log_mu, ends=mine)
    value = kl(case, cells, many, log_mu + case.potential(x), k)
    return case.log_truth(cells.grid(RATIOS[-1]).axes[0].centres, t) - m, value


def measure(case: Case, factor: float) -> dict[str, Any]:
    """Errors of 1 to 5 grids, for two numbers of cells."""
    problem = case.problem()
    box = np.array([case.box[0]], dtype=float), np.array([case.box[1]], dtype=float)
    base = cells_for(problem, box, {"max_cut": 1.0}, breaks=(np.array(case.breaks),), real_walls=True)
    families = [base.finer(factor), base.finer(factor).finer(2.0)]
    runs = [log_ratios(case, cells) for cells in families]
    row: dict[str, Any] = {"case": case.name, "powers": [round(p, 3) for p in families[0].powers]}
    row["cells"] = [cells.grid(1).size for cells in families]
    row["maps"] = sorted(round(p, 3) for _, p in base.walls.values())
    known: Any = [[truth(case, cells, k) for cells in families] for k in (0, 1)]
    if known[1][0] is None:  # the best of a family with twice the cells again
        finest = families[1].finer(2.0)
        best = extrapolated(case, finest, log_ratios(case, finest), 4, 1)
        known[1] = [(Interpolation(finest.grid(2.0), c.grid(2.0), NODES)(
            best[0] + case.potential(finest.grid(2.0).axes[0].centres)) - case.potential(c.grid(2.0).axes[0].centres),
            best[1]) for c in families]  # fmt: skip
    for k in (0, 1):
        if known[k][0] is None:
            continue
        for count in range(1, 6):
            l1, kls = [], []
            for cells, run, (log_mu, value) in zip(families, runs, known[k], strict=True):
                found, found_kl = extrapolated(case, cells, run, count, k)
                gap = np.abs(np.exp(found) - np.exp(log_mu))
                l1.append(float(np.sum(gap * cells.grid(2.0).axes[0].widths)))
                kls.append(abs(found_kl - value))
            row[f"t{k}_{count}"] = {"l1": l1, "kl": kls}
    return row


def order(pair: list[float]) -> str:
    """Two errors, and the order between them."""
    p = math.log2(pair[0] / pair[1]) if min(pair) > 0 else math.nan
    return f"{pair[0]:8.1e} {pair[1]:8.1e} ({p:4.1f})"


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three problems")
    parser.add_argument("--factor", type=float, default=1.0, help="of the first number of cells")
    parser.add_argument("--only", default="", help="problems with this in their names")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/breaks.json"))
    options = parser.parse_args()
    rows = []
    for case in CASES[:3] if options.quick else CASES:
        if options.only not in case.name:
            continue
        row = measure(case, options.factor)
        rows.append(row)
        print(f"\n{row['case']}: {row['cells']} cells, powers {row['powers']}, maps {row['maps']}")
        for key, errors in row.items():
            if key.startswith(("t0_", "t1_")):
                print(f"  {'start' if key[1] == '0' else 'later'}, {key[3]} grids: L1 {order(errors['l1'])}"
                      f"   KL {order(errors['kl'])}", flush=True)  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(options.out, lambda path: path.write_text(json.dumps(rows, indent=1) + "\n"))


if __name__ == "__main__":
    main()
