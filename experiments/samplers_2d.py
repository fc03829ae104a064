"""Three targets in the plane: no sampler is best on all, and a reaction costs draws where there is nothing to cross.

Method: parameters are those of the literature, N = 300, start N(0, I), steps gamma as printed there, and all samplers
have the same steps. Distances are those to the certified mu_t, not only to pi. Teleporting walkers move by MALA, and
their attempts are of rate 1. L1 errors of mu_t are below 1.4e-3.

Findings: sliced W2 to mu_t at the end, means over 6 seeds, beside 300 independent draws of pi, and in brackets the
equivalent number of such draws of pi:

    t_end, gamma      SMC-WFR      birth-death  weighted SDE  teleporting  SVGD        ULA          draws
    four    20, 0.2   0.78 (68)    2.04 (5)     1.87 (7)      1.66 (9)     3.45 (0)    2.01 (6)     0.48
    banana  4, 0.01   1.13 (10)    0.83 (17)    1.33 (8)      1.16 (10)    2.45 (0)    1.72 (4)     0.49
    ring    4, 0.005  0.36 (175)   0.26 (339)   0.16 (1116)   0.27 (306)   0.39 (150)  0.27 (295)   0.27

- Four components, two near the start and two far: mu_t is at pi from t = 7 on (KL 7e-5 nats). SMC-WFR alone finds the
  far ones in most runs; its gamma = 0.2 is a step of gamma V'' = 1.8 across the thin components, where the variance
  of ULA is 8 times too large. Teleporting walkers cross in 3 of 6 runs, and are then at 0.17 to 0.26 from pi.
- Banana: the tip is far out. All samplers lag behind mu_t, birth-death least, and at t = 4 mu_t itself is 0.011 nats
  from pi.
- Ring: mu_t is at pi at t = 0.2 already (KL 3e-4), brought there by transport alone. ULA is at the noise of
  independent draws from then on, 0.30; resampling and copying make clumps, 0.55 for SMC-WFR and 0.53 for birth-death
  at t = 0.2. In the long run a kernel evens out the particles: the weighted SDE is as good as 1116 draws; SVGD leaves
  some inside.

Figure, a row for each target: the distance over time, with bands that are 95 % of the mean over the seeds; the
particles of the first seed at the end, over pi in grey.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import metrics, plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(seeds=1, share=0.25, rtol=0.0, floor_draws=3)
CHECKS = {  # sliced W2 to pi at the end over that of independent draws; the quick run ends earlier
    "ring_ula_w": (1.0, 0.6),  # transport alone does it; two standard deviations of one run over three draws
    "ring_smc_wfr_w": (1.7, 0.6),  # clumps
    "banana_smc_wfr_w": (5.0, 1.75),
    "banana_ula_w": (6.0, 2.0),
    "four_svgd_w": (9.0, 3.0),  # nothing at the far components
}

N, DIRECTIONS = 300, 32


def narrow(factor, correlation):
    return [[factor, factor * correlation], [factor * correlation, factor]]


FOUR = wfr.GaussianMixture(
    means=[[3, 3], [9, 10], [2, 2], [10, 4]],
    weights=[1 / 3, 1 / 6, 1 / 3, 1 / 6],
    covariances=[narrow(0.7, -0.8377), narrow(0.7, 0.8377), narrow(0.7, -0.8377), narrow(2, -0.6701)],
)
START = wfr.Gaussian([0, 0], 1.0)


@dataclass(frozen=True)
class Case:
    """A problem, with the step of the literature."""

    title: str
    target: wfr.Target
    step: float
    t_end: float
    bandwidth: float
    box: tuple


CASES = {
    "four": Case("four components, γ = 0.2", FOUR, 0.2, 20.0, 0.3, ((-1, -3), (15, 13))),
    "banana": Case("banana, γ = 0.01", wfr.Banana(2.0), 0.01, 4.0, 0.3, ((-4, -4), (6, 26))),
    "ring": Case("ring, γ = 0.005", wfr.Ring(5.0, 0.25), 0.005, 4.0, 0.2, ((-6, -6), (6, 6))),
}
METHODS = ("SMC-WFR", "birth-death", "weighted SDE", "teleporting", "SVGD", "ULA")
METRICS = (metrics.SlicedWasserstein(DIRECTIONS), metrics.MMD(), metrics.covariance_error)


def flows(case):
    """Name -> flow."""
    langevin, width = samplers.Langevin(), case.bandwidth
    weights = samplers.FeynmanKac(density=samplers.KernelDensity(width))
    return {
        "SMC-WFR": samplers.SMCWFR(scheme="stratified"),
        "birth-death": wfr.Lie(langevin, samplers.BirthDeath(bandwidth=width)),
        "weighted SDE": wfr.Lie(wfr.Lie(langevin, weights), samplers.Resample(0.5)),
        "teleporting": wfr.Lie(samplers.MALA(), samplers.TeleportingWalkers(width)),
        "SVGD": samplers.SVGD(),
        "ULA": langevin,
    }


def references(case, t, rtol):
    """Where runs are held against: the certified solution, if rtol > 0, and the target on its grid."""
    pi = wfr.Grid.covering(case.target, START, shape=(400, 400), tail=1e-7).density(case.target)
    return {"pi": pi} | ({"mu_t": wfr.ground_truth(case.target, START, t, rtol=rtol)} if rtol > 0 else {})


def solved(case, seeds, share, rtol, floor_draws) -> xr.Dataset:
    """Distances to mu_t and pi of all methods, and the particles of the first seed at the end."""
    t = case.t_end * share * np.array([0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0])
    runs = {
        name: [wfr.solve(case.target, flow, START.sample(N, rng=seed), t, case.step, rng=seed) for seed in range(seeds)]
        for name, flow in flows(case).items()
    }
    known = references(case, t, rtol)
    draws = {"pi": floor_draws, "mu_t": 0}
    found = [wfr.compare(one, runs, METRICS, t=t[1:], floor_draws=draws[name]) for name, one in known.items()]
    against = xr.DataArray(list(known), dims="against", name="against")
    ds = xr.concat(
        [one.squeeze("n", drop=True) for one in found],
        against,
        data_vars="all",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    frames = np.stack([runs[name][0]["position"].values[-1] for name in METHODS])
    weights = np.stack([runs[name][0]["log_weight"].values[-1] for name in METHODS])
    ds["position"], ds["log_weight"] = (("method", "particle", "dim"), frames), (("method", "particle"), weights)
    if "mu_t" in known:
        ds["truth_error"] = (), float(known["mu_t"]["error_l1"].max())
        ds["kl"] = "t", known["mu_t"]["kl"].values[1:]
    axes = [np.linspace(low, high, 161) for low, high in zip(*case.box, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    ds["log_target"] = ("x", "y"), case.target.log_density(points)
    return ds.assign_coords(x=axes[0], y=axes[1])


def run(seeds=6, share=1.0, rtol=0.05, floor_draws=16):
    parts, scalars = [], {}
    for key, case in CASES.items():
        ds = stored(solved, case, seeds, share, rtol, floor_draws)
        end = ds.isel(t=-1).sel(against="pi")
        for name in METHODS:
            for metric, word in zip(METRICS, ("w", "mmd", "covariance"), strict=True):
                one = end.sel({"method": name}).sel(metric=metric.name)
                scalars[f"{key}_{name.lower().replace(' ', '_').replace('-', '_')}_{word}"] = one["mean"] / one["floor"]
        own = [
            dim
            for dim in ds.variables
            if dim not in ("method", "metric", "against", "metric_units", "metric_long_name")
        ]
        parts.append(ds.rename({name: f"{name}_{key}" for name in own}))
    ds = xr.merge(parts, join="outer", compat="override")
    for name, value in scalars.items():
        ds[name] = (), float(value), {"units": "1"}
    for key in CASES:
        for name, words in ATTRIBUTES.items():
            if f"{name}_{key}" in ds.variables:
                ds[f"{name}_{key}"].attrs = {"long_name": words[0], "units": words[1]}
    ds.attrs = {}
    return ds


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "kl": ("KL(mu_t|pi)", "nats"),
    "truth_error": ("bound of the L1 error of the truth", "1"),
    "position": ("place", "length"),
    "log_target": ("log-density of pi, up to a constant", "1"),
    "x": ("x", "length"),
    "y": ("y", "length"),
}


def figure(ds):
    from matplotlib.ticker import LogLocator, NullFormatter

    looks = {
        "SMC-WFR": (plotting.BLUE, "-"),
        "birth-death": (plotting.VERMILION, "--"),
        "weighted SDE": (plotting.GREEN, "-."),
        "teleporting": (plotting.PURPLE, plotting.DASHES[4]),
        "SVGD": (plotting.ORANGE, plotting.DASHES[6]),
        "ULA": ("0.35", ":"),
    }

    def draw_distance(ax, key, against):
        one = ds.sel(against=against, metric="sliced_wasserstein")
        t = ds[f"t_{key}"]
        for method, (colour, dash) in looks.items():
            mean, low, high = (one[f"{name}_{key}"].sel({"method": method}) for name in ("mean", "low", "high"))
            ax.plot(t, mean, color=colour, linestyle=dash, label=method)
            ax.fill_between(t, np.maximum(low, 0.2 * mean), high, color=colour, alpha=0.15, linewidth=0)
        floor = float(ds[f"floor_{key}"].sel(against="pi", metric="sliced_wasserstein").mean())
        ax.axhline(floor, color="0.5", linewidth=0.8, linestyle="-", label="independent draws from π, to π")
        ax.set(xscale="log", yscale="log", xlabel=plotting.label(t))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.set_ylabel(f"sliced W₂ to {'π' if against == 'pi' else 'μₜ'} (length)")
        ax.set_title(CASES[key].title.replace(", ", "\n"), loc="left")

    def draw_particles(ax, key, method):
        log_pi = ds[f"log_target_{key}"]
        density = np.exp(log_pi - log_pi.max())
        ax.contourf(ds[f"x_{key}"], ds[f"y_{key}"], density.T, np.linspace(0.05, 1.05, 6), cmap="Greys", alpha=0.6)
        points = ds[f"position_{key}"].sel({"method": method}).values
        weights = np.exp(ds[f"log_weight_{key}"].sel({"method": method}).values)
        ax.scatter(*points.T, s=2.5 * len(points) * weights, color=looks[method][0], linewidth=0)
        low, high = CASES[key].box
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), box_aspect=1)
        ax.set_title(method, color=looks[method][0])
        ax.grid(False)

    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 5.0)
        grid = fig.subplots(len(CASES), 5, width_ratios=(1.6, 1, 1, 1, 1))
        for row, key in zip(grid, CASES, strict=True):
            draw_distance(row[0], key, str(ds["against"].values[-1]))
            for ax, method in zip(row[1:], ("SMC-WFR", "birth-death", "teleporting", "SVGD"), strict=True):
                draw_particles(ax, key, method)
            row[1].set_ylabel("y (length)")
        for ax in grid[-1, 1:]:
            ax.set_xlabel("x (length)")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig
