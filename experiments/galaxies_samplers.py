"""Mass that WFR moves at t = 3 takes its samplers with 500 particles to t = 20 and more: first one has to get there.

Method: the target is the posterior of two group means of 82 galaxies of `galaxies`: two labellings, each with half of
the mass, and 8.9 nats between them. All samplers begin in one, with 500 particles and 20 seeds. alpha = beta = 1,
lengths are in 1000 km/s, time is in units of 1/beta, steps are 0.1. The posterior is written out with its gradient,
which the samplers need often; it is compared with `wfr.Posterior`.

Findings: the certified mu_t has 5 % in the second labelling at t = 2.5, and half at t = 12 (L1 error below 5e-6). A
reaction can only copy particles or raise their weights, and of 500 particles none is where mu_t grows from almost
nothing. So a run waits for one to diffuse over the barrier, and only then fills the second labelling, in a few units
of time. The numbers of runs of 20 that have 5 % in it, with the 95 % interval of the share (Clopper and Pearson), and
the first and the median time of those that have it:

    by t =                                             12    40    share at 40       first   median
    SMC-WFR                                            0     6     [0.12, 0.54]      23      26
    birth-death Langevin, bandwidth 0.2                0     0     [0.00, 0.17]      -       -
    weighted SDE with a kernel of that bandwidth       7     17    [0.62, 0.97]      7.5     15
    MALA with teleporting walkers                      2     10    [0.27, 0.73]      10      24
    MALA                                               0     0     [0.00, 0.17]      -       -
    parallel tempering, T = 1, 3, 9                    20    20    [0.83, 1.00]      4       4.5

Once particles are there, the balance is as good as the estimate of the density: at t = 40, 8 or more units of time
later, runs have 0.499 in the first labelling with SMC-WFR, 0.495 with teleporting walkers, whose equilibrium is exact,
and 0.541 with the weighted SDE; the spread over seeds is 0.003, 0.017 and 0.004. The noise of 500 independent draws is
0.022. Parallel tempering, without any interaction of particles, is the first to cross, and slow to balance: 0.785 at t
= 12, 0.566 at t = 40. It costs three times the evaluations.

Figure: above, the mass in the first labelling over time, a line for every seed, and in black the certified one. Below,
the share of the runs that have 5 % in the second labelling, with 95 % bands for two samplers; the black line is the
certified time.
"""

import numpy as np
import xarray as xr
from scipy.stats import beta

import wfr_pde as wfr
from wfr_pde import diagnostics, plotting, samplers
from wfr_pde.app.experiments.parts import stored
from wfr_pde.problems.data import galaxies

QUICK = dict(seeds=2, t_end=12.0)
CHECKS = {
    "same_posterior": (0.0, 1e-9),  # log-densities, up to a constant
    "truth_mass": (0.5, 1e-3),  # at t = 12, when 5e-5 is left
    "found_at_5": (0.0, 0.1),  # share of the runs of an interacting sampler; mu_t has 5 % at 2.5
    "found_mala": (0.0, 0.0),
    "found_parallel_tempering": (1.0, 0.0),  # at t = 12
    "mass_largest_error": (0.5, 0.05),  # at t = 12: a run that has not crossed
}

N, STEP, BANDWIDTH = 500, 0.1, 0.2
STANDARD_DEVIATION, PRIOR_MEAN, PRIOR_VARIANCE = 3.0, 21.0, 100.0
VELOCITIES = np.asarray(galaxies(), dtype=float).ravel()
MODES = [[18.342, 22.964], [22.964, 18.342]]
START = wfr.Gaussian([16, 25], 0.25)
BOX = ((9, 9), (28, 28))
FOUND = 0.05  # mass of the second labelling from which on it counts as found
FACTOR = STANDARD_DEVIATION**-2


def potential(m1, m2):
    """-log posterior, with ½ (e^-a + e^-b) = e^-(a + b)/2 cosh((a - b)/2) in every datum."""
    middle, half = (m1 + m2) / 2, (m1 - m2) / 2
    off = VELOCITIES - np.asarray(middle)[..., None]
    spread = abs(off * np.asarray(half)[..., None]) * FACTOR
    squares = np.sum(off**2, axis=-1) + len(VELOCITIES) * half**2
    prior = ((m1 - PRIOR_MEAN) ** 2 + (m2 - PRIOR_MEAN) ** 2) / (2 * PRIOR_VARIANCE)
    return squares * FACTOR / 2 - np.sum(spread + np.log1p(np.exp(-2 * spread)), axis=-1) + prior


def gradient(m1, m2):
    """Its derivatives by m1 and m2."""
    middle, half = (m1 + m2) / 2, (m1 - m2) / 2
    off = VELOCITIES - np.asarray(middle)[..., None]
    tilt = np.tanh(off * np.asarray(half)[..., None] * FACTOR)
    by_middle = -FACTOR * np.sum(off, axis=-1) + FACTOR * np.sum(tilt, axis=-1) * half
    by_half = FACTOR * len(VELOCITIES) * half - FACTOR * np.sum(tilt * off, axis=-1)
    prior = ((m - PRIOR_MEAN) / PRIOR_VARIANCE for m in (m1, m2))
    return [(by_middle + sign * by_half) / 2 + own for sign, own in zip((1, -1), prior, strict=True)]


TARGET = wfr.Potential(potential, ndim=2, gradient=gradient, support=BOX)


def log_likelihood(m1, m2, y):
    """log of ½ N(y; m1, s²) + ½ N(y; m2, s²), up to a constant."""
    return np.logaddexp(-(((y - m1) / STANDARD_DEVIATION) ** 2) / 2, -(((y - m2) / STANDARD_DEVIATION) ** 2) / 2)


ENSEMBLE = ["SMC-WFR", "birth-death", "weighted SDE", "teleporting"]
METHODS = {
    "SMC-WFR": samplers.SMCWFR(scheme="stratified"),
    "birth-death": wfr.Lie(samplers.Langevin(), samplers.BirthDeath(bandwidth=BANDWIDTH)),
    "weighted SDE": wfr.Lie(
        wfr.Lie(samplers.Langevin(), samplers.FeynmanKac(density=samplers.KernelDensity(BANDWIDTH))),
        samplers.Resample(0.5),
    ),
    "MALA": samplers.MALA(),
    "teleporting": wfr.Lie(samplers.MALA(), samplers.TeleportingWalkers(BANDWIDTH)),
    "parallel tempering": samplers.ParallelTempering(temperatures=(1.0, 3.0, 9.0)),
}
ATTRIBUTES = {
    "t": ("t", "1/β"),
    "mass": ("mass in the first labelling", "1"),
    "truth": ("mass in the first labelling of mu_t", "1"),
    "found": (f"time at which the second labelling has {FOUND:g}", "1/β"),
    "found_truth": (f"time at which the second labelling of mu_t has {FOUND:g}", "1/β"),
    "share": ("runs that have found the second labelling", "1"),
    "share_low": ("lower end of its 95 % interval", "1"),
    "share_high": ("upper end of its 95 % interval", "1"),
    "truth_error": ("bound of the L1 error of the truth", "1"),
}


def first_time(t, away):
    """The first save time with that much away; NaN if there is none."""
    reached = np.flatnonzero(away >= FOUND)
    return t[reached[0]] if len(reached) else np.nan


def binomial(count, n):
    """Ends of the 95 % interval of Clopper and Pearson of a share."""
    low = np.where(count > 0, beta.ppf(0.025, np.maximum(count, 1), n - count + 1), 0.0)
    high = np.where(count < n, beta.ppf(0.975, count + 1, np.maximum(n - count, 1)), 1.0)
    return low, high


def truth(t, rtol):
    """Mass in the first labelling of the certified solution, its error bar at every time, and that of the end."""
    ds = wfr.ground_truth(TARGET, START, t[t <= 12], rtol=rtol, box=BOX)
    masses = wfr.Trajectory(ds, TARGET).mode_masses(MODES, ds["t"].values)[:, 0]
    known = np.full(len(t), masses[-1])
    known[: len(masses)] = masses
    return known, float(ds["error_l1"].max())


def sampled(flow, seeds, t) -> xr.Dataset:
    """Mass of the labelling that a method starts in, over the seeds and time."""
    record = {"mass": diagnostics.mode_masses(MODES)}
    runs = [
        wfr.solve(TARGET, flow, START.sample(N, rng=seed), t, STEP, rng=seed, record=record, keep="last")
        for seed in range(seeds)
    ]
    return xr.Dataset({"mass": (("seed", "t"), [run["mass"].values[:, 0] for run in runs])})


def run(seeds=20, t_end=40.0, rtol=1e-2):
    if t_end < 5:
        raise ValueError(f"t_end must be 5 at least, where the claims look, got {t_end:g}")
    t = np.linspace(0, t_end, round(2 * t_end) + 1)
    mass = []
    for flow in METHODS.values():
        mass.append(stored(sampled, flow, seeds, t)["mass"].values)
    mass = np.array(mass)
    known, error = truth(t, rtol)
    found = np.array([[first_time(t, 1 - curve) for curve in of] for of in mass])
    count = np.sum(found[..., None] <= t, axis=1)
    low, high = binomial(count, seeds)
    ds = xr.Dataset(
        {
            "mass": (("method", "seed", "t"), mass), "truth": ("t", known), "found": (("method", "seed"), found),
            "share": (("method", "t"), count / seeds), "share_low": (("method", "t"), low),
            "share_high": (("method", "t"), high), "found_truth": ((), first_time(t, 1 - known)),
            "truth_error": ((), error),
        },
        {"method": list(METHODS), "t": t},
    )  # fmt: skip
    for name, value in claims(ds).items():
        ds[name] = (), float(value), {"units": "1"}
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    return ds


def claims(ds) -> dict[str, float]:
    """The scalars that are checked."""
    posterior = wfr.Posterior(wfr.Gaussian([PRIOR_MEAN] * 2, PRIOR_VARIANCE), log_likelihood, galaxies())
    points = np.random.default_rng(0).uniform(12, 27, (20, 2))
    difference = posterior.log_density(points) - TARGET.log_density(points)
    early = ds.sel(t=12, method="nearest")
    shares = {name: early.sel({"method": name}) for name in ds["method"].values}
    return {
        "same_posterior": np.ptp(difference),
        "truth_mass": ds["truth"][-1],
        "found_at_5": ds["share"].sel({"method": ENSEMBLE}).sel(t=5).max(),
        "found_at_12": max(shares[name]["share"] for name in ENSEMBLE),
        "found_at_12_high": max(shares[name]["share_high"] for name in ENSEMBLE),
        "found_mala": ds["share"].sel({"method": "MALA"})[-1],
        "found_parallel_tempering": shares["parallel tempering"]["share"],
        "mass_parallel_tempering": early["mass"].sel({"method": "parallel tempering"}).mean(),
        "mass_largest_error": abs(early["mass"].sel({"method": ENSEMBLE}) - early["truth"]).max(),
    }


def figure(ds):
    looks = {
        "SMC-WFR": (plotting.BLUE, "-"),
        "birth-death": (plotting.VERMILION, "--"),
        "weighted SDE": (plotting.GREEN, "-."),
        "teleporting": (plotting.PURPLE, plotting.DASHES[4]),
        "parallel tempering": (plotting.ORANGE, plotting.DASHES[6]),
        "MALA": ("0.35", ":"),
    }

    def draw_seeds(ax, method):
        colour = looks[method][0]
        ax.plot(ds["t"], ds["mass"].sel({"method": method}).T, color=colour, linewidth=0.7, alpha=0.7, linestyle="-")
        ax.plot(ds["t"], ds["truth"], color="black", linewidth=1.6, linestyle="-")
        ax.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
        ax.set(xlim=(0, float(ds["t"][-1])), ylim=(-0.03, 1.05), xlabel=plotting.label(ds["t"]))
        ax.set_title(method.replace(" tempering", "\ntempering"), color=colour)

    def draw_shares(ax):
        for method, (colour, dash) in looks.items():
            one = ds.sel({"method": method})
            ax.step(one["t"], one["share"], where="post", color=colour, linestyle=dash, label=method)
            if method in ("SMC-WFR", "weighted SDE"):
                ax.fill_between(
                    one["t"], one["share_low"], one["share_high"], color=colour, alpha=0.12, linewidth=0, step="post"
                )
        ax.axvline(float(ds["found_truth"]), color="black", linewidth=1.6, linestyle="-", label="certified μₜ")
        ax.set(xlim=(0, float(ds["t"][-1])), ylim=(-0.03, 1.05), xlabel=plotting.label(ds["t"]))
        ax.set_ylabel("share of runs that have it")
        ax.set_title("Runs with 5 % in the second labelling")
        ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))

    shown = ("SMC-WFR", "birth-death", "weighted SDE", "teleporting", "parallel tempering")
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.6)
        top, bottom = fig.subfigures(2, 1, height_ratios=(1, 1))
        panels = top.subplots(1, len(shown), sharey=True)
        for ax, method in zip(panels, shown, strict=True):
            draw_seeds(ax, method)
        panels[0].set_ylabel("mass in the first labelling")
        draw_shares(bottom.subplots())
    return fig
