"""Sixteen million cells: WFR among four modes in 3D (256³) and in a posterior of real data in 4D (64⁴), certified.

Method: two problems, both with alpha = beta = 1, by `SinkhornKernel`, extrapolated to order 4 in dt:

- *3D*: a mixture of four Gaussians N(m_k, 0.5) at the corners of a tetrahedron, 6.2 apart, with weights 0.4, 0.3, 0.2
  and 0.1; the start is the lightest of them.
- *4D*: the posterior of the means of four groups of galaxies. Data: the velocities y of 82 galaxies in 1000 km/s
  (Roeder 1990). Model: y ~ ¼ Σ_k N(m_k, 4²), prior N(21, 5²) for every mean. It does not change when names are
  exchanged: one mean is low, near 17, the others near 22, and each of the four has the same chance to be the low one.
  The start is at one of these labellings. (A millionth of the mass is outside of the box.)

What is known exactly: the weights of the components, and ¼ for each labelling. In 3D the mass of mode k is E[component
k's share of the density], in 4D that of the places at which m_k is the lowest mean; ties are shared.

Error bars are sums of three L1 distances, each between runs that differ in one thing: steps (dt and 2 dt), cells (n
and 3n/4 per axis), box (an eighth wider on each side, on cells of the same width). So they are those of the coarser
runs; the run with dt is better. (In 3D half the step makes them 4 times smaller, not 16: at the ridges between modes
V'' is -37, and order 4 needs smaller steps.) Besides, the flow is solved by `FiniteVolume` on two grids, whose
log-densities are extrapolated in dx²: `disagreement` is the L1 distance to it.

    wfr-pde run large_grids --dry-run        time and memory, by measuring steps: some minutes

Findings: the error bars are 2.9e-4 at most in 3D and 3.4e-4 in 4D, from the steps; cells and box add less than 2e-11
and 5e-8 each. Finite volumes are 4.4e-5 and 2.6e-4 away at most. A full run takes 28 minutes on one core; the dry run
had predicted 0.8 to 1.13 times the time that solutions then took.

Figure, a row for each problem: KL of W and WFR over time; masses of the modes or labellings, dotted under pi; the L1
distances that make the error bars, and that to finite volumes.
"""

import sys
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import metrics, plotting
from wfr_pde.app.experiments.parts import stored
from wfr_pde.problems.data import galaxies

QUICK = dict(
    n_3d=64, dt_3d=0.125, t_end_3d=1.0, volumes_3d=48, n_4d=36, dt_4d=1.05, t_end_4d=2.1, volumes_4d=36, sd_4d=6.0
)
CHECKS = {
    "error_3d": (0.0, 2e-3),  # L1, the largest over time
    "error_4d": (0.0, 2e-3),
    "disagreement_3d": (0.0, 2e-3),
    "disagreement_4d": (0.0, 2e-2),
    "equilibrium_3d": (0.0, 1e-9),  # masses of the modes under pi, less the weights; the largest difference
    "equilibrium_4d": (0.0, 1e-9),
}

FLOW = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 4)
VOLUMES = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()), 4)
TRANSPORT = wfr.Extrapolated(wfr.SinkhornKernel(), 4)
MEANS = 2.2 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])
MIXTURE = wfr.GaussianMixture(MEANS, WEIGHTS, 0.5)
MASSES = {"3d": "Masses of the modes", "4d": "Masses of the labellings"}
LIMITS = {"3d": (0.4, 0.3, 0.2, 0.1), "4d": (0.25,)}
TITLES = {"3d": "Four modes, 3D", "4d": "Galaxies, 4D"}


def log_likelihood(sd, a, b, c, d, y):
    """log of ¼ Σ_k N(y; m_k, sd²), up to a constant."""
    total = 0.0
    for mean in (a, b, c, d):
        exponent = y - mean
        exponent *= exponent
        exponent *= -0.5 / sd**2
        total = total + np.exp(exponent, out=exponent)
    return np.log(total)


def shares_of_components(x):
    """Share of each component in the density of the mixture at points (..., 3): (..., 4)."""
    exponents = np.stack([-np.sum((x - mean) ** 2, axis=-1) for mean in MEANS], axis=-1)  # 2 * 0.5 = 1
    shares = WEIGHTS * np.exp(exponents - exponents.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def shares_of_labellings(x):
    """Whether m_k is the lowest of the means at points (..., 4), shared where two are: (..., 4)."""
    lowest = x == x.min(axis=-1, keepdims=True)
    return lowest / lowest.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Problem:
    """A target and a start in the box [low, high]^d, and the shares in four modes, of points and under the target."""

    name: str
    target: wfr.Target
    start: wfr.Target
    box: tuple
    shares: object
    weights: np.ndarray

    def grid(self, n, wider=False):
        """n cells per axis of the box; 5n/4 if it is to be wider by an eighth on each side."""
        (low, high), d = self.box, self.start.ndim
        more = (high - low) / 8 if wider else 0.0
        return wfr.Grid([low - more] * d, [high + more] * d, (n * 5 // 4 if wider else n,) * d)


def problems(sd):
    """The mixture, and the posterior for groups of a standard deviation."""
    low, high = 4.4, 34.2
    posterior = wfr.Posterior(
        wfr.Gaussian([21] * 4, 25.0), partial(log_likelihood, sd), galaxies(), support=([low] * 4, [high] * 4)
    )
    return (
        Problem("3d", MIXTURE, wfr.Gaussian(MEANS[3], 0.5), (-7.0, 7.0), shares_of_components, WEIGHTS),
        Problem(
            "4d", posterior, wfr.Gaussian([17, 22, 22, 22], 2.0), (low, high), shares_of_labellings, np.full(4, 0.25)
        ),
    )


RUNS = ("finest", "steps", "cells", "box", "volumes", "coarse volumes", "W")  # see `runs`
PARTS = ("steps", "cells", "box")


def runs(problem, n, dt, volumes):
    """Flow, grid and step of every run, by name; runs on as many cells share the grid, and what is known on it."""
    grids = {cells: problem.grid(cells) for cells in {n, 3 * n // 4, volumes, 3 * volumes // 4}}
    return {
        "finest": (FLOW, grids[n], dt),
        "steps": (FLOW, grids[n], 2 * dt),
        "cells": (FLOW, grids[3 * n // 4], 2 * dt),
        "box": (FLOW, problem.grid(3 * n // 4, wider=True), 2 * dt),
        "volumes": (VOLUMES, grids[volumes], 2 * dt),
        "coarse volumes": (VOLUMES, grids[3 * volumes // 4], 2 * dt),
        "W": (TRANSPORT, grids[3 * n // 4], 2 * dt),
    }


def checked(name, n, dt, t_end, volumes):
    """Cells, step, save times and the cells of the volumes, of one of the problems."""
    if n % 4 or volumes % 4 or n < 16 or volumes < 16:
        raise ValueError(f"cells per axis must be multiples of 4, from 16 on, got {n} and {volumes} in {name}")
    steps = t_end / (2 * dt) if dt > 0 else 0.0
    if not (round(steps) >= 1 and abs(steps - round(steps)) < 1e-9):
        raise ValueError(f"t_end must be a multiple of 2 dt, got t_end={t_end} and dt={dt} in {name}")
    times = 2 * dt * np.unique(np.linspace(0, round(steps), min(round(steps), 8) + 1).round())
    return n, dt, tuple(times.tolist()), volumes


def costs(n_3d, dt_3d, t_end_3d, volumes_3d, n_4d, dt_4d, t_end_4d, volumes_4d, sd_4d):
    """Cost of every run."""
    knobs = checked("3d", n_3d, dt_3d, t_end_3d, volumes_3d), checked("4d", n_4d, dt_4d, t_end_4d, volumes_4d)
    result = {}
    for problem, (n, dt, times, volumes) in zip(problems(sd_4d), knobs, strict=True):
        energy = wfr.KL(problem.target)
        for name, (flow, grid, step) in runs(problem, n, dt, volumes).items():
            rho = grid.density(problem.start)
            result[f"{problem.name}, {name}"] = wfr.estimate(energy, flow, rho, times, step, record=[energy])
    return result


def extrapolated(fine, coarse):
    """A density of order 2 on two grids, the error in dx² of its logarithm taken off; on the coarser one."""
    on_coarse, ratio = fine.on(coarse.grid).log_values, (coarse.grid.axes[0].dx / fine.grid.axes[0].dx) ** 2
    return wfr.Density(coarse.grid, on_coarse + (on_coarse - coarse.log_values) / (ratio - 1)).normalised()


def distances(densities, others):
    """L1 distances, time by time, at the centres of the others."""
    return [metrics.l1(rho.on(other.grid), other) for rho, other in zip(densities, others, strict=True)]


def studied(problem, n, dt, times, volumes):
    """All runs of a problem, and what they say of each other; the densities of three are in memory at most."""
    energy, all_runs = wfr.KL(problem.target), runs(problem, n, dt, volumes)
    seconds, memory, kl = [], [], {}

    def densities(name):
        flow, grid, step = all_runs[name]
        rho = grid.density(problem.start)
        energy.log_equilibrium(grid)  # before the clock starts
        began = time.perf_counter()
        ds = wfr.solve(energy, flow, rho, times, step, record=[energy])
        seconds.append(time.perf_counter() - began)
        memory.append(peak_memory())
        kl[name] = ds["kl"].values
        return [wfr.Density.from_dataset(ds, k) for k in range(len(times))]

    finest = densities("finest")
    masses = [rho.expectation(problem.shares) for rho in finest]
    pi = wfr.Density(finest[0].grid, energy.log_equilibrium(finest[0].grid))
    at_equilibrium = pi.expectation(problem.shares)
    doubled = densities("steps")
    steps = [metrics.l1(a, b) for a, b in zip(finest, doubled, strict=True)]
    coarse = densities("cells")
    cells = distances(doubled, coarse)
    del doubled
    box = [metrics.l1(a, b.on(a.grid)) for a, b in zip(coarse, densities("box"), strict=True)]
    del coarse
    pairs = zip(densities("volumes"), densities("coarse volumes"), strict=True)
    disagreement = distances(finest, [extrapolated(*pair) for pair in pairs])
    densities("W")
    kl_error = sum(np.abs(kl[a] - kl[b]) for a, b in (("finest", "steps"), ("steps", "cells"), ("cells", "box")))
    name, t = problem.name, f"t_{problem.name}"
    errors = np.array([steps, cells, box])
    variables = {
        f"parts_{name}": (("part", t), errors),
        f"l1_error_{name}": (t, errors.sum(axis=0)),
        f"kl_{name}": (t, kl["finest"], {"units": "nats"}),
        f"kl_error_{name}": (t, kl_error, {"units": "nats"}),
        f"kl_w_{name}": (t, kl["W"], {"units": "nats"}),
        f"l1_volumes_{name}": (t, disagreement),
        f"mass_{name}": ((t, "mode"), masses),
        f"seconds_{name}": ("run", seconds),
        f"peak_memory_{name}": ("run", memory),  # of the process so far, in bytes
        f"error_{name}": ((), errors.sum(axis=0).max()),
        f"disagreement_{name}": ((), max(disagreement)),
        f"equilibrium_{name}": ((), np.abs(at_equilibrium - problem.weights).max()),
    }
    return xr.Dataset(variables, coords={t: list(times), "part": list(PARTS), "run": list(RUNS), "mode": range(1, 5)})


def peak_memory():
    """Peak memory of the process so far, in bytes; not a number where the system does not tell."""
    try:
        import resource
    except ImportError:
        return np.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def run(
    n_3d=256, dt_3d=0.025, t_end_3d=4.0, volumes_3d=128,
    n_4d=64, dt_4d=0.4, t_end_4d=4.0, volumes_4d=64, sd_4d=4.0,
) -> xr.Dataset:  # fmt: skip
    knobs = checked("3d", n_3d, dt_3d, t_end_3d, volumes_3d), checked("4d", n_4d, dt_4d, t_end_4d, volumes_4d)
    parts = []
    for problem, values in zip(problems(sd_4d), knobs, strict=True):
        parts.append(stored(studied, problem, *values))
    return xr.merge(parts)


def figure(ds):
    colours = (plotting.BLUE, plotting.GREEN, plotting.ORANGE, plotting.VERMILION)
    dashes = ("-", "-.", (0, (5, 1, 1, 1, 1, 1)), "--")
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.6)
        fig.suptitle("WFR on sixteen million cells, and how far runs are apart", weight="bold")
        for row, problem in zip(fig.subplots(2, 3), ("3d", "4d"), strict=True):
            left, middle, right = row
            t, last = ds[f"t_{problem}"].values, float(ds[f"t_{problem}"][-1])
            for name, variable, colour, dash in (
                ("W", "kl_w", plotting.VERMILION, "--"), ("WFR", "kl", plotting.BLUE, "-"),
            ):  # fmt: skip
                values = ds[f"{variable}_{problem}"]
                left.plot(t, values, color=colour, linestyle=dash, linewidth=1.8, marker=".")
                left.annotate(name, (last, float(values[-1])), (3, 0), textcoords="offset points", color=colour,
                              weight="bold", va="center")  # fmt: skip
            left.set(yscale="log", ylabel="KL(μ|π) (nats)", title=TITLES[problem])
            for weight in LIMITS[problem]:
                middle.axhline(weight, color="0.6", linestyle=":", linewidth=0.8)
            for k in range(4):
                middle.plot(t, ds[f"mass_{problem}"][:, k], color=colours[k], linestyle=dashes[k], linewidth=1.6)
            middle.set(ylabel="mass (dotted: under π)", title=MASSES[problem], ylim=(0, 1))
            lines = [(f"{part} ", ds[f"parts_{problem}"][k]) for k, part in enumerate(PARTS)]
            lines += [("finite volumes", ds[f"l1_volumes_{problem}"])]
            for k, (label, values) in enumerate(lines):
                right.plot(
                    t[1:],
                    values[1:].where(values[1:] > 0),
                    color=colours[k],
                    linestyle=dashes[k],
                    marker=".",
                    label=label,
                )
            right.set(yscale="log", ylabel="distance", title="L1 between runs")
            right.legend(loc="center", bbox_to_anchor=(0.5, 0.58), fontsize=6.5)
            for ax in row:
                ax.set(xlabel="t", xlim=(0, last))
    return fig
