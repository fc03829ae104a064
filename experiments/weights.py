"""At high barriers the effective sample size looks best where the answer is worst: weights that no particle has yet.

Method: the targets are `CoshDoubleWell`, with barriers of 1 to 10 nats; the start is a Gaussian in the left well with
the variance of the well; alpha = beta = 1. The weighted SDE (arXiv:2512.17878) has 500 particles, steps of 0.02 and 24
seeds: with the true g or a kernel estimate (bandwidth 0.15), without resampling and with it (below half the
particles). For infinitely many particles and the true g the effective sample size follows from the second moment of
the weights, which solves a linear equation; its first moment has to be mu_t.

Findings: the certified mass of the right well is almost half by t = 6.

- With the true g the sample size at t = 6 is 0.32 N at 1 nat, where the limit is 0.30 N. At 6 nats it is 0.73 N, at 10
  nats 0.94 N; in the limit 2e-8 N and less than 1e-16 N: the few particles that would cross and have all the weight
  are missing. The variance of the log-weights is as blind: 0.29 nats² at 1 nat, 0.01 at 10.
- The masses tell. Of the certified mass of the right well there is 98 % at 1 nat with either g; at 6 nats 21 % with
  the true g and 20 % with the kernel; at 10 nats 4 % and 0.06 %.
- Resampling halves the spread over the seeds with the true g at 1 nat (0.051 to 0.023) and does nothing at 6 nats
  (0.22 and 0.23). With the kernel, which sees where particles are missing, it brings the mass at 6 nats from 20 to 39
  %.

Figure: (a) sample size over time with the true g, darker for a higher barrier; dashed, that of infinitely many
particles. (b) Variance of the log-weights. (c) Mass of the right well at one barrier. (d) Sample size, (e) mean mass
and (f) its standard deviation over the seeds at the end, against the barrier.
"""

import itertools
import math

import numpy as np
import xarray as xr
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.stats import t as student

import wfr_pde as wfr
from wfr_pde import plotting, samplers

QUICK = dict(barriers=(1.0, 6.0, 10.0), seeds=8, rtol=1e-3, cells=400, dt=0.03)
CHECKS = {
    "truth_error": (0.0, 1e-3),  # L1 bound; rtol of a quick run
    "moment_error": (0.0, 0.05),  # O(dx²), at 10 nats: 0.04 with the cells of a quick run
    "log10_limit_low": (-0.525, 0.005),
    "log10_limit_high": (-7.79, 0.05),  # O(dx²): -7.88 with 200 cells, -7.80 with 400
    # three standard errors of a quick run, or of a standard deviation of 8 seeds, from here on
    "share_over_limit_low": (1.08, 0.15),
    "share_high_true_g": (0.73, 0.3),
    "share_highest_true_g": (0.94, 0.12),
    "mass_low_true_g": (0.98, 0.12),
    "mass_low_kernel": (0.98, 0.04),
    "mass_high_true_g": (0.21, 0.5),
    "mass_high_kernel": (0.2, 0.17),
    "mass_high_kernel_resampled": (0.39, 0.37),
    "mass_highest_kernel": (0.0, 0.02),
    "deviation_low_true_g": (0.051, 0.04),
    "deviation_low_true_g_resampled": (0.023, 0.02),
}

METHODS = ("true g", "kernel", "true g, resampled", "kernel, resampled")
FRAMES = 24  # of the certified solution, beside the times of the runs
PAIRS = 40_000  # of particles: more are summed by way of a grid, to a relative error of 2e-4 at most
LOW, HIGH = 1.0, 6.0  # barriers that the claims are about
TILT = 2  # moments of the weights that are solved for


def with_barrier(barrier):
    """The double well of a barrier r - 1 - log r, r = gap / 2."""
    log_ratio = brentq(lambda log_r: np.exp(log_r) - 1 - log_r - barrier, -barrier - 2, -1e-9)
    return wfr.CoshDoubleWell(2 * float(np.exp(log_ratio)))


def right(points):
    """Indicator of the right half-line."""
    return (points[:, 0] > 0).astype(float)


RECORDS = {
    "share": lambda state, energy: state.effective_sample_size / len(state.positions),
    "log_weight_variance": lambda state, energy: float(np.var(state.log_weights)),
    "mass": lambda state, energy: state.expectation(right),
}


def flow(name, truth, bandwidth):
    """Langevin and weights, with or without resampling."""
    density = samplers.KernelDensity(bandwidth, PAIRS) if name.startswith("kernel") else samplers.Oracle(truth)
    weighted = wfr.Lie(samplers.Langevin(), samplers.FeynmanKac(density=density))
    return wfr.Lie(weighted, samplers.Resample(0.5)) if name.endswith("resampled") else weighted


def moments(truth, t, dt, cells) -> tuple[np.ndarray, float]:
    """E[w]²/E[w²] at the times t for infinitely many particles, and the L1 distance of the first moment from mu_t.

    The moments u_k(x) = E[w^k | X = x] mu^W(x) solve d_t u = L* u - k beta g u, L the generator of the Langevin
    dynamics: a Markov chain on even cells for L, and Strang splitting in steps of at most dt. Times t are even.
    """
    n_steps = math.ceil((t[1] - t[0]) / dt * (1 - 1e-12))
    dt = (t[1] - t[0]) / n_steps
    edges = np.linspace(truth.grid.axes[0].edges[0], truth.grid.axes[0].edges[-1], cells + 1)
    x, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    log_pi = truth.target.log_density(x[:, None])
    up = np.exp(np.diff(log_pi) / 2) / width**2
    down = np.exp(-np.diff(log_pi) / 2) / width**2
    generator = np.diag(up, -1) + np.diag(down, 1)
    generator -= np.diag(generator.sum(axis=0))
    half = expm(generator * dt / 2)
    u = np.tile(np.exp(truth.log_prob(x[:, None], 0.0)) * width, (TILT, 1))
    shares, off = [], 0.0
    for begin, end in itertools.pairwise(t):
        for k in range(n_steps):
            g = truth.log_prob(x[:, None], begin + (k + 0.5) * dt) - log_pi
            shift = g[np.argmax(u[0])]
            u = u @ half.T * np.exp(-np.outer(np.arange(1, TILT + 1), g - shift) * dt) @ half.T
        mass = u[0].sum()
        u /= (mass ** np.arange(1, TILT + 1))[:, None]
        shares.append(1 / u[1].sum())
        off = max(off, float(abs(u[0] - np.exp(truth.log_prob(x[:, None], end)) * width).sum()))
    return np.append(1.0, shares), off


def measured(barrier, n, seeds, t, dt, bandwidth, rtol, cells) -> xr.Dataset:
    """One barrier: certified masses, the limit of the effective sample size, and all runs."""
    target = with_barrier(barrier)
    start = wfr.Gaussian(target.wells[0], 1 / (4 * target.k**2 - 2 * target.gap))
    times = np.unique([*np.geomspace(0.02, t[-1], FRAMES), *t])
    ds = wfr.ground_truth(target, start, times, rtol=rtol)
    truth = wfr.Trajectory(ds, target)
    limit, off = moments(truth, t, dt, cells)
    options = dict(record=RECORDS, keep="last")
    runs = []
    for name in METHODS:
        sampler = flow(name, truth, bandwidth)
        own = [wfr.solve(target, sampler, start.sample(n, rng=s), t, dt, rng=s, **options) for s in range(seeds)]
        runs.append(own)
    variables = {
        name: (("method", "seed", "t"), np.array([[run[name].values for run in of] for of in runs])) for name in RECORDS
    }
    variables["true_mass"] = "t", truth.mode_masses([-1.0, 1.0], t)[:, 1]
    variables["limit"] = "t", limit
    variables["error_l1"] = (), float(ds["error_l1"].max())
    variables["moment_error"] = (), off
    return xr.Dataset(variables, {"method": list(METHODS), "t": t})


ATTRIBUTES = {
    "t": ("t", "1/β"),
    "barrier": ("barrier", "nats"),
    "share": ("effective sample size / N", "1"),
    "log_weight_variance": ("variance of the log-weights", "nats²"),
    "mass": ("mass of the right well", "1"),
    "true_mass": ("mass of the right well, certified", "1"),
    "limit": ("effective sample size / N for infinitely many particles", "1"),
    "error_l1": ("largest bound of the L1 error", "1"),
    "moment_error": ("largest L1 error of the first moment", "1"),
    "bias": ("mean mass over seeds − certified mass", "1"),
    "bias_error": ("standard error of the mean mass", "1"),
    "deviation": ("standard deviation of the mass over seeds", "1"),
}


def claimed(ds) -> dict[str, float]:
    """The numbers that are claimed, at the last time."""
    last = ds.isel(t=-1)
    scalars = {
        "truth_error": float(ds["error_l1"].max()),
        "moment_error": float(ds["moment_error"].max()),
    }
    low, high = last.sel(barrier=LOW), last.sel(barrier=HIGH)
    shown = last["share"].mean("seed")
    for word, one in (("low", low), ("high", high), ("highest", last.isel(barrier=-1))):
        for name in ("true g", "kernel"):
            key = f"{word}_{name.replace(' ', '_')}"
            own = one.sel({"method": name})
            scalars[f"share_{key}"] = float(own["share"].mean("seed"))
            again = one.sel({"method": f"{name}, resampled"})
            scalars[f"mass_{key}"] = float((own["bias"] + own["true_mass"]) / own["true_mass"])
            scalars[f"mass_{key}_resampled"] = float((again["bias"] + again["true_mass"]) / again["true_mass"])
            scalars[f"deviation_{key}"] = float(own["deviation"])
            scalars[f"deviation_{key}_resampled"] = float(again["deviation"])
        scalars[f"log10_limit_{word}"] = float(np.log10(one["limit"]))
    plain = shown.sel({"method": "true g"}) / last["limit"]
    scalars["share_over_limit_low"] = float(plain.sel(barrier=LOW))
    return scalars


def run(
    barriers=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0),
    n=500,
    seeds=24,
    t_end=6.0,
    dt=0.02,
    bandwidth=0.15,
    rtol=1e-4,
    cells=800,
) -> xr.Dataset:
    if not {LOW, HIGH} <= set(barriers):
        raise ValueError(f"barriers must hold {LOW:g} and {HIGH:g}, which the claims are about, got {barriers}")
    t = np.linspace(0, t_end, 13)
    each = [measured(barrier, n, seeds, t, dt, bandwidth, rtol, cells) for barrier in barriers]
    ds = xr.concat(each, xr.DataArray(list(barriers), dims="barrier", name="barrier"), data_vars="all")
    ds["deviation"] = ds["mass"].std("seed", ddof=1)
    ds["bias"] = ds["mass"].mean("seed") - ds["true_mass"]
    ds["bias_error"] = ds["deviation"] / np.sqrt(seeds)
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in claimed(ds).items():
        ds[name] = (), value, {"units": "1"}
    ds.attrs = {}
    return ds


LOOKS = {  # colour, line, marker, filled
    "true g": (plotting.VERMILION, "--", "s", True),
    "kernel": (plotting.BLUE, "-", "o", True),
    "true g, resampled": (plotting.VERMILION, ":", "s", False),
    "kernel, resampled": (plotting.BLUE, "-.", "o", False),
}
PALE = 0.25


def look(name) -> dict:
    colour, dashes, marker, filled = LOOKS[name]
    face = colour if filled else "white"
    return dict(color=colour, linestyle=dashes, marker=marker, markerfacecolor=face, linewidth=1.1, label=name)


def strengths(ds) -> dict[float, float]:
    """How dark every barrier is drawn."""
    barriers = ds["barrier"].values
    return dict(zip(barriers.tolist(), np.linspace(PALE, 1.0, len(barriers)), strict=True))


def draw_over_time(ax, ds, variable, name, dashes="-"):
    colour = LOOKS[name][0]
    for barrier, alpha in strengths(ds).items():
        one = ds.sel({"barrier": barrier, "method": name})
        ax.plot(ds["t"][1:], one[variable].mean("seed")[1:], color=colour, alpha=alpha, linestyle=dashes, linewidth=1.2)
    ax.set(xlabel=plotting.label(ds["t"]), ylabel=plotting.label(ds[variable]))


def draw_limits(ax, ds):
    draw_over_time(ax, ds, "share", "true g")
    for barrier, alpha in strengths(ds).items():
        limit = ds["limit"].sel(barrier=barrier)
        ax.plot(ds["t"][1:], limit[1:], color="black", alpha=alpha, linestyle="--", linewidth=0.9)
    ax.set(yscale="log", ylim=(1e-9, 2))
    ax.set_title("True g; dashed: N = ∞")


def draw_masses(ax, ds, barrier):
    half = student.isf(0.025, ds.sizes["seed"] - 1)
    one = ds.sel(barrier=barrier)
    ax.plot(ds["t"], one["true_mass"], color="black", linestyle="-", linewidth=1.6, label="certified")
    for name in METHODS:
        own = one.sel({"method": name})
        mean = own["bias"] + one["true_mass"]
        ax.plot(ds["t"], mean, markersize=3, **look(name))
        band = half * own["bias_error"]
        ax.fill_between(ds["t"], mean - band, mean + band, color=LOOKS[name][0], alpha=0.12, linewidth=0)
    ax.set(xlabel=plotting.label(ds["t"]), ylabel=plotting.label(ds["mass"]))
    ax.set(ylim=(-0.02, None))
    ax.set_title(f"Barrier {barrier:g} nats")


def draw_by_barrier(ax, ds, variable):
    last = ds.isel(t=-1)
    for name in METHODS:
        own = last.sel({"method": name})
        values = {"share": own["share"].mean("seed"), "mass": own["bias"] + own["true_mass"]}
        ax.plot(ds["barrier"], values[variable] if variable in values else own[variable], markersize=3.4, **look(name))
    ax.set(xlabel=plotting.label(ds["barrier"]))
    time = f"t = {float(last['t']):g}"
    if variable == "mass":
        ax.plot(ds["barrier"], last["true_mass"], color="black", linestyle="-", linewidth=1.6, label="certified")
        ax.set(ylabel=plotting.label(ds["mass"]))
        ax.set_title(f"Mean mass at {time}")
    elif variable == "share":
        ax.plot(ds["barrier"], last["limit"], color="black", linestyle="--", linewidth=1.2)
        ax.text(5.6, 1e-6, "true g, N = ∞", fontsize=7)
        ax.set(yscale="log", ylim=(1e-9, 2), ylabel=plotting.label(ds["share"]))
        ax.set_title(f"Sample size at {time}")
    else:
        ax.set(ylabel="standard deviation over seeds")
        ax.set_title(f"Its spread at {time}")


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.8)
        panels = fig.subplots(2, 3)
        draw_limits(panels[0, 0], ds)
        for name in ("true g", "kernel"):
            draw_over_time(panels[0, 1], ds, "log_weight_variance", name, LOOKS[name][1])
        panels[0, 1].set_title("Darker: higher barrier")
        panels[0, 1].set(yscale="log")
        draw_masses(panels[0, 2], ds, HIGH)
        for ax, variable in zip(panels[1], ("share", "mass", "deviation"), strict=True):
            draw_by_barrier(ax, ds, variable)
        handles, labels = panels[0, 2].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=5)
    return fig
