"""Where the errors of samplers come from: splitting, step, bandwidth, finite number, and noise, each isolated.

Method: `wfr.error_budget` exchanges the ingredients of SMC-WFR, birth-death Langevin and a weighted SDE with a kernel,
one by one (alpha = beta = 1), on

- a Gaussian, N(0, 0.5) to N(1, 1), t = 1, dt = 0.1;
- two modes in 1D, 0.4 N(-1, 0.3) + 0.6 N(1.2, 0.2) from N(-0.6, 0.25), t = 1, dt = 0.1;
- the four modes of Lu, Lu and Nolen from the component at (0, 8), t = 0.04, dt = 0.01: they are thin, with dt V'' = 1;
  SMC-WFR alone;
- the posterior of two group means of 82 galaxies, from one labelling, t = 3, dt = 0.1.

There are 500 particles, and 20 runs of each kind. The sum of the parts and the measured error of independent runs are
at most 0.94 of their joint 95 % half width apart, over all 10 cases and all statistics.

Findings, by what is the largest part:

- Gaussian and two modes: the step (as of ULA). What is a bias of the bandwidth for one sampler is one of the finite
  number for another; with the exact g only noise is left.
- Four modes: dt V'' = 1 doubles the thin variance, and the mean potential is 0.49 too high; all other parts are below
  0.004.
- Galaxies: mu_t has 18 % in the second labelling. The weighted SDE has none there, and would have as little with the
  exact g: a reaction multiplies particles, and none of 500 is there to be multiplied. Birth-death loses the same mass
  to its step: an event copies a particle once, where the flow multiplies by more than that in a step.

Figure: a waterfall for each problem (row) and sampler (column). Bars are parts of the error of one statistic, which
add up from left to right; the last bar is the measured error. Whiskers are 95 % intervals, the grey band is that of a
single run.
"""

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting, samplers
from wfr_pde.app.experiments.parts import stored
from wfr_pde.problems.data import galaxies

QUICK = dict(problems=("gaussian", "two modes"), n=100, seeds=10, rtol=1e-3)
CHECKS = {
    # |sum of the parts - measured error| over the joint half width of both 95 % intervals, the largest over problems,
    # samplers and statistics: 2 are 4.2 standard errors of a Student t with 19 degrees
    "off": (0.0, 2.0),
    # with the exact g, runs on the Gaussian and on two modes err by nothing but noise and what ratios of weights add
    "oracle_off": (0.0, 2.0),
}

VELOCITIES = np.asarray(galaxies(), dtype=float).ravel()


def galaxies_potential(m1, m2):
    """-log posterior of the means of two groups with standard deviation 3, prior N(21, 10²), in 1000 km/s."""
    m1, m2 = np.asarray(m1)[..., None], np.asarray(m2)[..., None]
    likelihood = np.logaddexp(-((VELOCITIES - m1) ** 2) / 18, -((VELOCITIES - m2) ** 2) / 18).sum(axis=-1)
    return ((m1[..., 0] - 21) ** 2 + (m2[..., 0] - 21) ** 2) / 200 - likelihood


def galaxies_gradient(m1, m2):
    """Its derivatives."""
    m1, m2 = np.asarray(m1)[..., None], np.asarray(m2)[..., None]
    first = 1 / (1 + np.exp(((VELOCITIES - m1) ** 2 - (VELOCITIES - m2) ** 2) / 18))
    return [
        (m[..., 0] - 21) / 100 + np.sum(share * (m - VELOCITIES), axis=-1) / 9
        for m, share in ((m1, first), (m2, 1 - first))
    ]


FOUR = wfr.FourModes()
GALAXIES = wfr.Potential(galaxies_potential, ndim=2, gradient=galaxies_gradient, support=((9, 9), (28, 28)))
TWO_MODES = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2])
PROBLEMS = {  # target, start, time, dt, bandwidth, modes, statistic
    "gaussian": (wfr.Gaussian(1, 1), wfr.Gaussian(0, 0.5), 1.0, 0.1, 0.3, None, "variance x"),
    "two modes": (TWO_MODES, wfr.Gaussian(-0.6, 0.25), 1.0, 0.1, 0.15, None, "mode 2"),
    "four modes": (FOUR, FOUR.component(0), 0.04, 0.01, 0.15, None, "potential"),
    "galaxies": (GALAXIES, wfr.Gaussian([16, 25], 0.25), 3.0, 0.1, 0.3, [[18.342, 22.964], [22.964, 18.342]], "mode 1"),
}


def methods(bandwidth):
    """Name -> flow."""
    langevin = samplers.Langevin()
    weights = samplers.FeynmanKac(density=samplers.KernelDensity(bandwidth))
    return {
        "SMC-WFR": samplers.SMCWFR(),
        "birth-death": wfr.Lie(langevin, samplers.BirthDeath(bandwidth=bandwidth)),
        "weighted SDE": wfr.Lie(wfr.Lie(langevin, weights), samplers.Resample(0.5)),
    }


def divided(flow, truth, target, **options) -> xr.Dataset:
    """The error of one method at one step and number, divided into its parts."""
    return (
        wfr.error_budget(flow, truth, target, **options)
        .isel(dt=0, n=0)
        .reset_coords(["dt", "n"])
        .drop_attrs(deep=False)
    )


def run(problems=tuple(PROBLEMS), n=500, seeds=20, rtol=1e-4, seed=0):
    found = []
    for name in problems:
        target, start, end, dt, bandwidth, modes, statistic = PROBLEMS[name]
        truth = wfr.ground_truth(target, start, [0, end], rtol=rtol, cross_check=False)
        for method, flow in methods(bandwidth).items():
            if name == "four modes" and method != "SMC-WFR":
                continue  # a step of its law, on 324 x 324 cells, takes seconds
            options = dict(start=start, dt=dt, n=n, seeds=seeds, modes=modes, rng=seed)
            ds = stored(divided, flow, truth, target, **options)
            found.append(ds.assign(drawn=statistic).expand_dims(case=[f"{name}, {method}"]))
    ds = xr.concat(found, "case", join="outer", coords="minimal", combine_attrs="override")
    for name, value in claimed(ds).items():
        ds[name] = (), value, {"units": "1"}
    return ds


def claimed(ds):
    """How far sums and measured errors are apart, and runs with the exact g from their law."""
    joint = np.hypot(ds["sum_half_width"], ds["measured_half_width"])
    off = (abs(ds["sum"] - ds["measured"]) / joint).max("statistic")
    near = [case for case in ds["case"].values if case.startswith(("gaussian", "two modes"))]
    oracle = abs(ds["part"] / ds["part_half_width"]).sel(parts="Monte Carlo", case=near)
    return {"off": float(off.max()), "oracle_off": float(oracle.max())}


def _name_a_bias(ax, case):
    """Say so where what is called Monte Carlo is no chance: too few particles get to a place at all."""
    one = case.sel(parts="Monte Carlo")
    if abs(one["part"]) > 2 * one["part_half_width"]:
        height = float(one["part"] / 2 + case["part"].cumsum("parts").sel(parts="finite number"))
        ax.text(3.5, height, "not chance: so few\nparticles get there", ha="right", va="center", fontsize=7)


def figure(ds):
    problems = list(dict.fromkeys(case.split(", ")[0] for case in ds["case"].values))
    names = list(dict.fromkeys(case.split(", ")[1] for case in ds["case"].values))
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 1.45 * len(problems) + 0.9)
        panels = fig.subplots(len(problems), len(names), squeeze=False, sharey="row", sharex=True)
        for row, problem in zip(panels, problems, strict=True):
            for ax, name in zip(row, names, strict=True):
                if f"{problem}, {name}" not in ds["case"].values:
                    ax.set_visible(False)
                    continue
                case = ds.sel(case=f"{problem}, {name}")
                statistic = str(case["drawn"].values)
                plotting.waterfall(case.sel(statistic=statistic), ax)
                ax.set_title(f"{problem}: {name}")
                _name_a_bias(ax, case.sel(statistic=statistic))
            words = {"mode": "mass of a mode", "variance": "variance", "potential": "mean potential"}
            row[0].set_ylabel(words[statistic.split()[0]])
        words = (
            "errors, which add up from left to right; Monte Carlo: with the exact g; whiskers: 95 %; grey: a single run"
        )
        fig.supxlabel(words, fontsize=8, color="0.35")
    return fig
