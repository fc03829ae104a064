"""Seven samplers against certified laws on two modes: which follow theirs, and how uncertain the mass of a mode is.

Method: the target is ½ N(0, 1) + ½ N(6, 1), the start N(0, 1), alpha = beta = 1. Every sampler is compared with the
solution of the flow that it claims to follow: SMC-WFR (Crucinio and Pathiraja 2025, arXiv:2506.05905), birth-death
Langevin (Lu, Lu and Nolen 2019, arXiv:1905.09863) and the weighted SDE (arXiv:2512.17878; g by a kernel, or the true
g; resampled below half the particles) with WFR, ULA and MALA with W, tempering SMC with FR. Kernels have a bandwidth
of 0.3. One run has 1000 particles and steps of 0.01; 50 seeds have 200 particles and steps of 0.05. A sampler "has n
draws" if its mass of the second mode varies over the seeds like that of n independent draws from the true law.

Findings:

- Only ULA and tempering SMC keep to their laws: none of their biases of the mass of the second mode is beyond the
  Bonferroni bound at 1 % (the largest is 0.56 of it). MALA with steps of 0.05 has let 13 % too little across by t = 10
  (60 000 particles; ULA 4 %).
- The four samplers of WFR do not follow it with 200 particles. A few particles cross first, and the others are late: a
  mass of 1/4 comes 0.56 (SMC-WFR), 0.91 (birth-death) and 1.17 (weighted SDE, kernel) after the certified time; at t =
  2.5 they have 20, 16 and 29 draws out of 200.
- With estimated densities the delay is made good, as the reaction sees what is missing: at t = 10 they have 4600, 1300
  and 2800 draws, more than their particles. With the true g nothing pulls the mass back: 6 draws at t = 2.5 and at t =
  10.
- W1 to pi does not show the delay: from t = 6 on it is at its floor for these three and for tempering SMC alike.

Figure: above, one run of 1000 particles: (a) mass of the second mode, in grey the laws; (b) W1 to the sampler's own
law, in grey that of independent draws; (c) W1 to pi, in grey that of the laws. Below, 50 seeds of 200 particles: (d)
mean mass of the second mode less the certified one; (e) the number of independent draws with the same variance of that
mass; (f) total variation to the law, in grey that of independent draws.
"""

import numpy as np
import xarray as xr
from scipy.stats import chi2
from scipy.stats import t as student

import wfr_pde as wfr
from wfr_pde import metrics, plotting, samplers

QUICK = dict(seeds=10, t_long=10.0, rtol=1e-3, crowd=10_000, floor_draws=5, dt_one=0.025)
CHECKS = {
    "truth_error": (0.0, 1e-3),  # L1 bound; rtol of a quick run
    # delays: three standard errors of a quick run
    "lag_smc": (0.56, 0.5),
    "lag_birth_death": (0.91, 0.6),
    "lag_kernel": (1.17, 0.6),
    # log10 of independent draws over N: 99 % of chi² with the 9 degrees of freedom of a quick run
    "draws_smc": (-0.99, 0.75),
    "draws_birth_death": (-1.09, 0.75),
    "draws_kernel": (-0.84, 0.75),
    "draws_true_g": (-1.54, 0.75),
    "late_draws_smc": (1.36, 0.75),
    "late_draws_birth_death": (0.81, 0.75),
    "late_draws_kernel": (1.15, 0.75),
    "late_draws_true_g": (-1.56, 0.75),
    "draws_ula": (0.0, 0.75),
    "draws_tempering": (-0.3, 0.75),
    "followers_bias": (0.0, 1.0),  # of ULA and tempering, over the Bonferroni bound of Student's t at 1 %
    "crossed_mala": (0.866, 0.11),  # three standard errors of a quick run
}

TARGET = wfr.GaussianMixture([0.0, 6.0], [0.5, 0.5], 1.0)
START = wfr.Gaussian(0.0, 1.0)
FLOWS = {"WFR": (1.0, 1.0), "W": (1.0, 0.0), "FR": (0.0, 1.0)}  # rates of transport and reaction
LAWS = {  # what the law of every sampler tends to, with more particles and smaller steps
    "SMC-WFR": "WFR",
    "birth-death": "WFR",
    "weighted, kernel": "WFR",
    "weighted, true g": "WFR",
    "ULA": "W",
    "MALA": "W",
    "tempering SMC": "FR",
}
KEYS = {
    "smc": "SMC-WFR",
    "birth_death": "birth-death",
    "kernel": "weighted, kernel",
    "true_g": "weighted, true g",
    "ula": "ULA",
    "mala": "MALA",
    "tempering": "tempering SMC",
}
LEVEL, TRANSIT = 0.25, 2.5  # the mass at which delays are measured; the time at which draws are counted
MANY, ONE = (200, 0.05), 1000  # numbers of particles, and the step
SHORT = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0)
LONG = (15.0, 20.0, 30.0, 40.0, 50.0)
BINS = 16
METRICS = (metrics.wasserstein_1, metrics.BinnedTotalVariation(BINS), metrics.mean_error)
NAMES = ("w1", "tv", "mean")
PAIRS = 40_000  # of particles: more are summed by way of a grid, to a relative error of 2e-4 at most


def second_mode(points):
    """Indicator of the second mode."""
    return (points[:, 0] > 3).astype(float)


def flow(name, truth, bandwidth):
    """A sampler by its name; `truth` is needed by one of them."""
    kernel = samplers.KernelDensity(bandwidth, PAIRS)
    langevin, resample = samplers.Langevin(), samplers.Resample(0.5)
    if name == "SMC-WFR":  # samplers.SMCWFR, its sums by way of a grid
        reaction = samplers.FeynmanKac(density=samplers.MixtureDensity(pairs=PAIRS))
        return wfr.Lie(wfr.Lie(samplers.Resample(), langevin), reaction)
    if name.startswith("weighted"):
        density = kernel if name.endswith("kernel") else samplers.Oracle(truth)
        return wfr.Lie(wfr.Lie(langevin, samplers.FeynmanKac(density=density)), resample)
    return {
        "birth-death": wfr.Lie(langevin, samplers.BirthDeath(density=kernel)),
        "ULA": langevin,
        "MALA": samplers.MALA(),
        "tempering SMC": samplers.Tempering(START),
    }[name]


def truths(t, rtol) -> dict[str, xr.Dataset]:
    """The certified solutions, with more times than asked for."""
    times = np.unique([*t, *np.geomspace(0.02, max(t), 24)])
    return {
        law: wfr.ground_truth(TARGET, START, times, transport_rate=alpha, reaction_rate=beta, rtol=rtol)
        for law, (alpha, beta) in FLOWS.items()
    }


def solved(sampler, size, seeds, t) -> list[xr.Dataset]:
    """Runs of one sampler, with starts and numbers of the same seeds for all samplers."""
    n, dt = size
    record = {"second": lambda state, energy: state.expectation(second_mode)}
    return [wfr.solve(TARGET, sampler, START.sample(n, rng=s), t, dt, record=record, rng=s) for s in seeds]


def judged(truth, runs, t, floor_draws) -> xr.Dataset:
    """All metrics of the runs of all samplers against the truth of each, and against pi."""
    parts = []
    for law, ds in truth.items():
        own = {name: runs[name] for name in LAWS if LAWS[name] == law}
        own_truth = wfr.compare(ds, own, METRICS, t=t, floor_draws=floor_draws)
        grid = wfr.Grid.from_dataset(ds)
        to_pi = wfr.compare(grid.density(TARGET), own, METRICS, t=t, floor_draws=0)
        one = own_truth[["mean", "low", "high", "equivalent_draws"]]
        for name in ("floor", "floor_low", "floor_high"):
            one[name] = own_truth[name].expand_dims({"method": own_truth["method"].values})
        one["mean_to_pi"] = to_pi["mean"]
        parts.append(one)
    ds = xr.concat(parts, "method").squeeze("n", drop=True)
    return ds.reindex({"method": list(LAWS)}).assign_coords(metric=list(NAMES))


def masses(truth, t) -> np.ndarray:
    """Mass of the second mode along every law, (law, t)."""
    return np.array([wfr.Trajectory(ds).mode_masses([0.0, 6.0], t)[:, 1] for ds in truth.values()])


def to_target(truth, t) -> np.ndarray:
    """W1(mu_t, pi) along every law, (law, t)."""
    rows = []
    for ds in truth.values():
        pi, path = wfr.Grid.from_dataset(ds).density(TARGET), wfr.Trajectory(ds)
        rows.append([metrics.wasserstein_1(pi, path.at(time)) for time in t])
    return np.array(rows)


def spread(mass, true) -> dict[str, tuple]:
    """Bias of the mass over the seeds, and the number of independent draws with its variance; 95 % intervals."""
    seeds = mass.shape[1]
    deviation = mass.std(axis=1, ddof=1)
    draws = true * (1 - true) / deviation**2
    over = ("method", "t")
    return {
        "bias": (over, mass.mean(axis=1) - true),
        "bias_error": (over, deviation / np.sqrt(seeds)),
        "draws": (over, draws),
        "draws_low": (over, draws * chi2.ppf(0.025, seeds - 1) / (seeds - 1)),
        "draws_high": (over, draws * chi2.ppf(0.975, seeds - 1) / (seeds - 1)),
    }


def crossing(t, mass, level) -> float:
    """The first time at which a mass reaches a level, on a line."""
    k = int(np.argmax(mass >= level))
    if k == 0:
        return np.nan
    return float(t[k - 1] + (level - mass[k - 1]) / (mass[k] - mass[k - 1]) * (t[k] - t[k - 1]))


def crossed(n, t) -> list[float]:
    """Mass beyond the barrier after ULA and MALA with many particles, at the larger step."""
    runs = [solved(flow(name, None, 1.0), (n, MANY[1]), [0], [0.0, t])[0] for name in ("ULA", "MALA")]
    return [float(one["second"][-1]) for one in runs]


def found(ds, truth) -> dict[str, float]:
    """The numbers that are claimed."""
    t, seeds = ds["t"].values, ds.sizes["seed"]
    scalars = {"truth_error": max(float(one["error_l1"].max()) for one in truth.values())}
    true = ds["true_mass"].sel(law="WFR").values
    for key, name in KEYS.items():
        one = ds.sel({"method": name})
        if LAWS[name] == "WFR":
            mean = one["mass"].mean("seed").values
            scalars[f"lag_{key}"] = crossing(t, mean, LEVEL) - crossing(t, true, LEVEL)
        scalars[f"draws_{key}"] = float(np.log10(one["draws"].sel(t=TRANSIT) / MANY[0]))
        scalars[f"late_draws_{key}"] = float(np.log10(one["draws"].sel(t=t[-1]) / MANY[0]))
    followers = ds.sel({"method": ["ULA", "tempering SMC"], "t": slice(0.5, None)})
    z = abs(followers["bias"] / followers["bias_error"])
    scalars["followers_bias"] = float(z.max()) / student.isf(0.005 / z.size, seeds - 1)
    return scalars


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "t_one": ("t", "1/β"),
    "mass": ("mass of the second mode", "1"),
    "mass_one": ("mass of the second mode", "1"),
    "true_mass": ("mass of the second mode, certified", "1"),
    "true_mass_one": ("mass of the second mode, certified", "1"),
    "true_w1": ("W₁ of the laws to π, certified", "length"),
    "bias": ("mean mass over seeds − certified mass", "1"),
    "bias_error": ("standard error of the mean mass", "1"),
    "draws": ("independent draws of the same variance", "1"),
    "draws_low": ("lower end of its 95 % interval", "1"),
    "draws_high": ("upper end of its 95 % interval", "1"),
    "mean": ("mean of the metric over the seeds", "1"),
    "low": ("lower end of its 95 % interval", "1"),
    "high": ("upper end of its 95 % interval", "1"),
    "floor": ("mean of the metric for independent draws", "1"),
    "mean_to_pi": ("mean of the metric against π", "1"),
    "mean_one": ("metric", "1"),
    "floor_one": ("mean of the metric for independent draws", "1"),
    "mean_to_pi_one": ("metric against π", "1"),
}


def run(seeds=50, t_long=50.0, bandwidth=0.3, rtol=1e-4, crowd=60_000, floor_draws=20, dt_one=0.01) -> xr.Dataset:
    if seeds < 2 or t_long < SHORT[-1]:
        raise ValueError(f"seeds must be at least 2 and t_long at least {SHORT[-1]:g}, got {seeds} and {t_long}")
    t_one, t = [time for time in (*SHORT, *LONG) if time <= t_long], list(SHORT)
    truth = truths(t_one, rtol)
    path = wfr.Trajectory(truth["WFR"], TARGET)
    flows = {name: flow(name, path, bandwidth) for name in LAWS}
    one = {name: solved(flows[name], (ONE, dt_one), [0], t_one) for name in LAWS}
    many = {name: solved(flows[name], MANY, range(1, seeds + 1), t) for name in LAWS}
    mass = np.array([[single["second"].values for single in many[name]] for name in LAWS])
    true = masses(truth, t)
    own = true[[list(FLOWS).index(law) for law in LAWS.values()]]
    variables = {
        "mass": (("method", "seed", "t"), mass),
        "mass_one": (("method", "t_one"), np.array([one[name][0]["second"].values for name in LAWS])),
        "true_mass": (("law", "t"), true),
        "true_mass_one": (("law", "t_one"), masses(truth, t_one)),
        "true_w1": (("law", "t_one"), to_target(truth, t_one)),
        **spread(mass, own),
    }
    ds = xr.Dataset(variables, {"method": list(LAWS), "law": list(FLOWS), "t": t, "t_one": t_one})
    several = judged(truth, many, t, floor_draws)[["mean", "low", "high", "floor", "mean_to_pi"]]
    alone = judged(truth, one, t_one, floor_draws)[["mean", "floor", "mean_to_pi"]].rename(t="t_one")
    alone = alone.rename({name: f"{name}_one" for name in alone.data_vars})
    ds = xr.merge([ds, several, alone], compat="equals")
    ula, mala = crossed(crowd, t[-1])
    scalars = found(ds, truth)
    for name, value in (("ula", ula), ("mala", mala)):
        scalars[f"crossed_{name}"] = value / float(ds["true_mass"].sel(law="W", t=t[-1]))
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in scalars.items():
        ds[name] = (), value, {"units": "1/β" if name.startswith("lag") else "1"}
    ds = ds.drop_vars(["metric_long_name", "metric_units"])
    ds.attrs = {}
    return ds


LOOKS = {  # colour, line, marker
    "SMC-WFR": (plotting.BLUE, "-", "o"),
    "birth-death": (plotting.VERMILION, "--", "s"),
    "weighted, kernel": (plotting.GREEN, "-.", "^"),
    "weighted, true g": (plotting.PURPLE, ":", "D"),
    "ULA": ("black", "-", "x"),
    "MALA": ("0.45", "--", "+"),
    "tempering SMC": (plotting.ORANGE, (0, (5, 1, 1, 1)), "v"),
}
TRUTHS = {"WFR": "-", "W": "--", "FR": ":"}


def line(ax, name, t, values, **more):
    colour, dashes, marker = LOOKS[name]
    look = dict(color=colour, linestyle=dashes, marker=marker, markersize=3.2, linewidth=1.1, label=name) | more
    ax.plot(t, values, **look)


def draw_mass(ax, ds):
    for law, dashes in TRUTHS.items():
        ax.plot(ds["t_one"][1:], ds["true_mass_one"].sel(law=law)[1:], color="0.7", linestyle=dashes, linewidth=3)
    for name in LAWS:
        line(ax, name, ds["t_one"][1:], ds["mass_one"].sel({"method": name})[1:], linewidth=0.7)
    ax.set(ylabel=plotting.label(ds["mass_one"]))
    ax.set_title("N = 1000; grey: laws")


def draw_metric(ax, ds, metric, which, suffix="", floor=True):
    t = ds[f"t{suffix}"]
    for name in LAWS:
        one = ds.sel({"method": name, "metric": metric})
        line(ax, name, t[1:], one[f"{which}{suffix}"][1:])
    if floor:
        floors = ds[f"floor{suffix}"].sel(metric=metric)
        ax.fill_between(t[1:], floors.min("method")[1:], floors.max("method")[1:], color="0.8", linewidth=0)


def draw_bias(ax, ds):
    half = student.isf(0.025, ds.sizes["seed"] - 1)
    for name in LAWS:
        one = ds.sel({"method": name})
        line(ax, name, ds["t"][1:], one["bias"][1:])
        band = half * one["bias_error"]
        colour = LOOKS[name][0]
        ax.fill_between(ds["t"], one["bias"] - band, one["bias"] + band, color=colour, alpha=0.15, linewidth=0)
    ax.axhline(0, color="black", linestyle="-", linewidth=0.6)
    ax.set(xlabel=plotting.label(ds["t"]), ylabel="mean mass − certified")
    ax.set_title("N = 200: second mode")


def draw_draws(ax, ds):
    for name in LAWS:
        line(ax, name, ds["t"][1:], ds["draws"].sel({"method": name})[1:])
    ax.axhline(MANY[0], color="black", linestyle="-", linewidth=0.6)
    ax.set(xlabel=plotting.label(ds["t"]), ylabel="equivalent independent draws", yscale="log")
    ax.set_title("N = 200: its variance")


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 5.0)
        panels = fig.subplots(2, 3)
        draw_mass(panels[0, 0], ds)
        draw_metric(panels[0, 1], ds, "w1", "mean", "_one")
        panels[0, 1].set_title("To the own law; grey: floor")
        panels[0, 1].set(ylabel="W₁ to $\\mu_t$ (length)", yscale="log")
        draw_metric(panels[0, 2], ds, "w1", "mean_to_pi", "_one", floor=False)
        for law, dashes in TRUTHS.items():
            curve = ds["true_w1"].sel(law=law)[1:]
            panels[0, 2].plot(ds["t_one"][1:], curve, color="0.7", linestyle=dashes, linewidth=3, zorder=1)
        panels[0, 2].set_title("To π; grey: laws")
        panels[0, 2].set(ylabel="W₁ to π (length)", yscale="log", ylim=(0.02, 5))
        for ax in panels[0]:
            ax.set(xlabel=plotting.label(ds["t_one"]), xscale="log")
            ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50) if tick <= ds["t_one"][-1]]
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.set_xticks([], minor=True)
        draw_bias(panels[1, 0], ds)
        draw_draws(panels[1, 1], ds)
        draw_metric(panels[1, 2], ds, "tv", "mean")
        panels[1, 2].set(
            xlabel=plotting.label(ds["t"]), ylabel=f"total variation to $\\mu_t$, {BINS} bins", ylim=(0, None)
        )
        panels[1, 2].set_title("N = 200; grey: floor")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig
