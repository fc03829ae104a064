"""A shell in R^50: weights by the true g follow WFR; SMC-WFR ends short of it, as its kernels meet nobody there.

Method: pi ∝ |x|^30 exp(-|x|²/2) in 50 dimensions, a shell of radius 8.9, and a start of the same form, of radius 6.3;
alpha = beta = 1. The flow is |x|^30 exp(-(1 + S_t)|x|²/2), with S_t of the flow of Gaussians, so that (1 + S_t) r² is
chi square of 80 degrees of freedom. The certified truth, found on the line of r, is held against that. Langevin, births
and deaths and weights with the g of the truth, and SMC-WFR with its own estimate run in R^50; their radii, and those of
independent draws, are held against the truth.

Findings: the L1 error of the law in R^50, which is that of the law of r, is within its bound. Langevin follows
transport alone; births and deaths and weights follow WFR nearly as well as independent draws. SMC-WFR is further off
than Langevin, and remains so: its estimate of the density is each particle's own kernel, the same for all, so that it
weights by pi alone. A solution on the line of r with that reaction, -(V - E V) in place of -(g - E g), says where it
goes within 1 %: to a mean r² of 66 in place of 80.

Figure: (a) density of r at t = 0.5, of the truth (line) and of the samplers (steps); (b) mean r² over time, of the
flow, of transport alone and of weights by pi alone (lines), and of the samplers (points); (c) distance W1 of the law of
r from the truth, and that of independent draws.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import metrics, plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(n=300, seeds=1, rtol=1e-3)
CHECKS = {
    "error_truth": (0.0, 1e-4),  # bound of the L1 error of the law in 50 dimensions
    "l1_over_bound": (0.5, 0.5),  # the true error is at most its bound
    "kl_over_bound": (0.5, 0.5),
    # mean r² over the closed forms of transport alone and of WFR, and over the solution with weights by pi
    "langevin_square": (1.0, 0.025),
    "births_square": (1.0, 0.025),
    "weights_square": (1.0, 0.025),
    "smc_square": (1.0, 0.025),
    # W1 from t = 0.25 to 0.75, with seeds from 100 on, by which nothing is judged
    "births_over_langevin": (0.3, 0.3),  # 0.12 with 2000 particles, 0.35 with 300
    "weights_over_langevin": (0.3, 0.3),
    "smc_over_langevin": (2.3, 0.6),
    "births_over_draws": (1.5, 1.0),
    "smc_tv": (0.44, 0.06),  # at the end, of the same seeds
}
TOLERANCES = {"*": (1e-3, 1e-3), "l1": (0.05, 1e-9), "l1_over_bound": (0.05, 0.0)}

D, POWER, START_RATE, DT = 50, 30, 2.0, 0.02
EVERY = 5
DENSE = np.linspace(0.0, 1.5, 6 * EVERY + 1)
TIMES = DENSE[::EVERY]
MIDDLE = 2  # number of t = 0.5
MOVING = slice(1, 4)  # numbers of the times from 0.25 to 0.75
BINS = np.linspace(4.0, 12.0, 41)  # of r, for the figure
FLOWS = ("WFR", "transport alone", "weights by π alone")
NAMES = ("Langevin", "births and deaths", "weights", "SMC-WFR", "draws")


def shell(rate):
    """|x|^POWER exp(-rate |x|²/2) in R^D."""
    return wfr.Radial(f"{rate} * x**2 / 2 - {POWER} * log(x)", D)


TARGET, START = shell(1.0), shell(START_RATE)


def rate_at(t, beta):
    """1 + S_t, of the closed form."""
    growth = 1 + beta / 2
    decay = np.exp(-2 * growth * t)
    return 1 + decay * (START_RATE - 1) / (1 + (1 - decay) / growth * (START_RATE - 1))


def density_of_radius(r, t):
    """The closed form of the density of r: (1 + S_t)^{1/2} r is chi of D + POWER degrees of freedom."""
    degrees, rate = D + POWER, rate_at(t, 1.0)
    log_mass = (degrees / 2 - 1) * math.log(2) + math.lgamma(degrees / 2) - degrees / 2 * np.log(rate)
    return np.exp((degrees - 1) * np.log(r) - rate * r**2 / 2 - log_mass)


@dataclass(frozen=True)
class OwnKernels(samplers.LogRatio):
    """g where every particle's density is the top of its own kernel, on the line of r: V, up to a constant."""

    def on_grid(self, grid):
        """Return V at the cells, of which the law of r, r^{D - 1} exp(-V), is the target there."""
        r = grid.points()
        return lambda state, energy, t: (D - 1) * np.log(r[..., 0]) - energy.equilibrium.log_density(r)


def errors(tree, truth):
    """The errors of the certified law and of its KL, by the closed forms, and their bounds, as variables over t."""
    laws = [truth.at(t).factors[0].density for t in TIMES]
    axis, rates = laws[0].grid.axes[0], rate_at(TIMES, 1.0)
    l1 = [
        np.sum(abs(law.values - density_of_radius(axis.centres, t)) * axis.widths)
        for law, t in zip(laws, TIMES, strict=True)
    ]
    off = abs(tree["kl"].values - (D + POWER) / 2 * (1 / rates - 1 + np.log(rates)))
    found = {"l1": l1, "l1_bound": tree["error_l1"].values, "kl": off, "kl_bound": tree["error_kl"].values}
    return {name: ("t", values) for name, values in found.items()}


def own_kernels(cells) -> xr.Dataset:
    """Mean r² (dense) where the reaction is that of `OwnKernels`."""
    grid = wfr.Grid(1.0, 15.0, cells, names="r")
    flow = wfr.Strang(samplers.FeynmanKac(density=OwnKernels()), wfr.FiniteVolume())
    ds = wfr.solve(TARGET.radius, flow, grid.density(START.radius), DENSE, DT / 2)
    r = grid.axes[0].centres
    return xr.Dataset({"square": ("dense", np.exp(ds["log_density"].values) @ r**2 * grid.cell_volume)})


def measured(n, seeds, first_seed, rtol) -> xr.Dataset:
    """Errors of the truth; mean r², W1, total variation (sampler, t) of the radii, their histogram at t = 0.5."""
    tree = wfr.ground_truth(TARGET, START, TIMES, rtol=rtol)
    truth = wfr.Trajectory(tree, TARGET)
    oracle, move = samplers.Oracle(truth), samplers.Langevin()
    weights = wfr.Strang(samplers.FeynmanKac(density=oracle), move)
    births = wfr.Strang(samplers.BirthDeath(density=oracle), move)
    flows = dict(zip(NAMES, (move, births, wfr.Lie(samplers.Resample(0.5), weights), samplers.SMCWFR()), strict=False))
    found, bins = np.zeros((3, len(NAMES), len(TIMES))), np.zeros((len(NAMES), len(BINS) - 1))
    total_variation = metrics.BinnedTotalVariation(bins=16)
    for i, name in enumerate(NAMES):
        for seed in range(first_seed, first_seed + seeds):
            for j, (particles, law) in enumerate(runs_of(flows.get(name), truth, n, seed)):
                r, weights = particles.positions[:, 0], particles.weights
                distances = metrics.wasserstein_1(law, particles), total_variation(law, particles)
                found[:, i, j] += np.array([weights @ r**2, *distances]) / seeds
                if j == MIDDLE:
                    bins[i] += np.histogram(r, BINS, weights=weights)[0] / seeds
    named = {name: (("sampler", "t"), values) for name, values in zip(("square", "w1", "tv"), found, strict=True)}
    named["histogram"] = ("sampler", "r"), bins / np.diff(BINS)
    return xr.Dataset(errors(tree, truth) | named)


def runs_of(flow, truth, n, seed):
    """The radii of a run, or of draws where there is no flow, as weighted particles, and their true law, over time."""
    laws = [truth.at(t) for t in TIMES]
    if flow is None:
        rng = np.random.default_rng(seed)
        states = [(law.sample(n, rng), np.zeros(n)) for law in laws]
    else:
        ds = wfr.solve(TARGET, flow, START.sample(n, rng=seed), TIMES, DT, rng=seed)
        states = zip(ds["position"].values, ds["log_weight"].values, strict=True)
    for law, (positions, log_weights) in zip(laws, states, strict=True):
        yield wfr.Particles(np.linalg.norm(positions, axis=1)[:, None], log_weights), law.factors[0].density


def run(n=2000, seeds=8, first_seed=0, rtol=1e-4) -> xr.Dataset:
    found, alone = stored(measured, n, seeds, first_seed, rtol), stored(own_kernels, 400)["square"].values
    lines = np.array([(D + POWER) / rate_at(DENSE, 1.0), (D + POWER) / rate_at(DENSE, 0.0), alone])
    middles = (BINS[1:] + BINS[:-1]) / 2
    words = {
        "l1": "L1 distance of the certified law from the closed form", "l1_bound": "bound of the L1 error",
        "square": "mean r²", "w1": "distance W1 of the law of r", "tv": "distance TV of the law of r",
        "histogram": "density of r",
    }  # fmt: skip
    ds = xr.Dataset(
        {name: (found[name].dims, found[name].values, {"long_name": w, "units": "1"}) for name, w in words.items()}
        | {
            "line": (("flow", "dense"), lines, {"long_name": "mean r²", "units": "1"}),
            "density": ("r", density_of_radius(middles, TIMES[MIDDLE]), {"long_name": "density of r", "units": "1"}),
        },
        coords={
            "sampler": list(NAMES), "flow": list(FLOWS), "t": ("t", TIMES, {"long_name": "time", "units": "1/β"}),
            "dense": ("dense", DENSE, {"long_name": "time", "units": "1/β"}),
            "r": ("r", middles, {"long_name": "r", "units": "1"}),
        },
    )  # fmt: skip
    claims = {
        "error_truth": float(found["l1_bound"].max()),
        "l1_over_bound": float((found["l1"] / found["l1_bound"]).max()),
        "kl_over_bound": float((found["kl"] / found["kl_bound"]).max()),
    }
    by_name = (dict(zip(NAMES, found[name].values, strict=True)) for name in ("square", "w1", "tv"))
    claims |= claims_of(*by_name, lines[:, ::EVERY])
    return ds.assign({name: ((), value, {"units": "1"}) for name, value in claims.items()})


def claims_of(square, w1, tv, lines):
    """What is said of the samplers, by the mean r² and the distances of each of them over the times."""

    def over(one, other):
        return float(w1[one][MOVING].mean() / w1[other][MOVING].mean())

    return {
        "langevin_square": float(np.mean(square["Langevin"] / lines[1])),
        "births_square": float(np.mean(square["births and deaths"] / lines[0])),
        "weights_square": float(np.mean(square["weights"] / lines[0])),
        "smc_square": float(np.mean(square["SMC-WFR"] / lines[2])),
        "births_over_langevin": over("births and deaths", "Langevin"),
        "weights_over_langevin": over("weights", "Langevin"),
        "smc_over_langevin": over("SMC-WFR", "Langevin"),
        "births_over_draws": over("births and deaths", "draws"),
        "smc_tv": float(tv["SMC-WFR"][-1]),
    }


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 2.9)
        left, middle, right = fig.subplots(1, 3)
        left.plot(ds["r"], ds["density"], color="black", label="truth")
        for flow, line in zip(FLOWS, ("-", "--", ":"), strict=True):
            middle.plot(ds["dense"], ds["line"].sel(flow=flow), color="black", linestyle=line, label=flow)
        looks = zip(NAMES, (*plotting.COLOURS[1:5], "0.45"), plotting.MARKERS, strict=False)
        for name, colour, marker in looks:
            if name != "draws":
                height = ds["histogram"].sel(sampler=name)
                left.step(ds["r"], height, where="mid", color=colour, linestyle="-", linewidth=0.9)
                square = ds["square"].sel(sampler=name)
                middle.plot(ds["t"], square, color=colour, linestyle="none", marker=marker, markersize=4)
            w1 = ds["w1"].sel(sampler=name)
            right.semilogy(ds["t"], w1, color=colour, linestyle="-", marker=marker, markersize=3, label=name)
        left.set(xlabel="r", ylabel="density of r", xlim=(5.0, 11.5))
        left.set_title("Radius, t = 0.5")
        left.legend(loc="upper right")
        middle.set(xlabel=plotting.label(ds["dense"]), ylabel="mean r²")
        middle.set_title("Mean square")
        middle.legend(loc="lower right")
        right.set(xlabel=plotting.label(ds["t"]), ylabel="W1 distance", ylim=(6e-3, 1.3))
        right.set_title("Distance of the law of r")
        handles, labels = right.get_legend_handles_labels()
        fig.legend(handles, [*labels[:-1], "independent draws"], loc="outside lower center", ncols=5)
    return fig
