"""Ten steps of a diffusion sampler cost a tenth of a nat, even with the exact score: what the step of each method does.

Method: data 0.3 N(-1.5, 0.09) + 0.7 N(1.5, 0.09), noised by an Ornstein-Uhlenbeck process up to the noise time 3. The
score is exact and the start is p_T, so that all error is that of the steps. The law of each sampler for infinitely
many particles is computed on a grid, at 10 to 160 steps: equal ones of the clock of the path, which are fine near the
data, and, for Euler-Maruyama, also equal ones of the noise time. A million particles make the same steps, and their
counts between quantiles are held against the law.

Findings:

- Euler-Maruyama: KL(p|mu) is 0.131, 0.0376, 0.0101, 0.00262 and 0.000667 nats at 10, 20, 40, 80 and 160 steps, of
  order 2 in the step, as the density has order 1. With equal steps of the noise time it is 5 to 18 times as much.
- The last ancestral step of the posterior adds no noise, so that the modes are too narrow: KL is 0.277 to 0.0055, more
  than that of Euler-Maruyama everywhere. With the variance of the forward step in the last step alone it is 0.076,
  0.0072, 0.0029, 0.0030 and 0.0019; with it in all steps 0.113 to 0.00056, 14 to 16 % less than Euler-Maruyama.
- Heun's method takes two evaluations of the score per step and ends, at no noise, with a step of Euler's: with 10 to
  160 steps KL is 0.206 to 0.00067, which DDIM, with half of the evaluations, has within a factor of 2.2.
- Every method that adds no noise at the end makes modes too narrow; Euler-Maruyama makes them too wide.
- Particles have the laws: the smallest p-value of the chi-square tests of all methods is no smaller than by chance.

Figure: (a) KL(p|mu) against the number of steps; (b) laws of ten steps at the right mode; (c) standard deviation of the
right mode over that of the data.
"""

import math
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.optimize import brentq
from scipy.stats import chisquare

import wfr_pde as wfr
from wfr_pde import plotting, samplers

QUICK = dict(cells=160, particles=20_000, checked=10, longest=40)
CHECKS = {
    "kl_em_10": (0.1307, 5e-4),
    "kl_em_20": (0.0376, 2e-4),
    "kl_em_40": (0.0101, 5e-5),
    "kl_em_80": (0.00262, 1e-5),
    "kl_em_160": (0.000667, 3e-6),
    "order_em": (1.97, 0.03),
    "kl_uniform_10": (0.627, 1e-3),
    "kl_uniform_40": (0.133, 1e-3),
    "kl_last_10": (0.0757, 5e-4),
    "kl_last_20": (0.0072, 1e-4),
    "kl_last_40": (0.0029, 1e-4),
    "kl_last_80": (0.0030, 1e-4),
    "kl_last_160": (0.0019, 1e-4),
    "kl_posterior_10": (0.2766, 1e-3),
    "kl_forward_10": (0.1126, 1e-3),
    "kl_ddim_10": (0.200, 1e-3),
    "kl_heun_10": (0.2055, 1e-3),
    "smallest_p": (0.5, 0.499),  # of seven tests; smaller than 0.001 once in 140 seeds
}

DATA = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], [0.09, 0.09])
PATH = wfr.Noised(DATA, wfr.OU(t_end=3.0)).reversed()
STEPS = (10, 20, 40, 80, 160)
BINS = 50  # of the chi-square tests


def method(name, **options):
    return samplers.ReverseDiffusion(PATH, method=name, **options)


ANCESTRAL, FORWARD = method("ancestral"), method("ancestral", variance="forward")
WAYS = {  # flow, flow of the last step, and whether steps are equal in noise time
    "em": (method("euler-maruyama"), None, False),
    "uniform": (method("euler-maruyama"), None, True),
    "posterior": (ANCESTRAL, None, False),
    "last": (ANCESTRAL, FORWARD, False),
    "forward": (FORWARD, None, False),
    "ddim": (method("ddim"), None, False),
    "heun": (method("heun"), None, False),
}


def times_of(n, uniform) -> np.ndarray:
    """Times s of n steps: equal ones, or such that the noise times are equally far apart."""
    if not uniform:
        return np.linspace(0, 1, n + 1)
    taus = PATH.noise_time(0.0) * (1 - np.arange(1, n) / n)
    inner = [brentq(lambda s, tau=tau: PATH.noise_time(s) - tau, 0, 1, xtol=1e-14) for tau in taus]
    return np.array([0.0, *inner, 1.0])


def runs_of(way, n) -> list:
    """Runs of equal steps that follow each other: (flow, time of the start and of the end, dt)."""
    flow, last, uniform = WAYS[way]
    times = times_of(n, uniform)
    if uniform:
        return [(flow, float(a), float(b), float(b - a)) for a, b in pairwise(times)]
    if last is None:
        return [(flow, 0.0, 1.0, 1 / n)]
    return [(flow, 0.0, 1 - 1 / n, 1 / n), (last, 1 - 1 / n, 1.0, 1 / n)]


def law_of(way, n, grid) -> wfr.Density:
    """Law of infinitely many particles after n steps."""
    law = grid.density(PATH.at(0.0))
    for flow, begin, end, dt in runs_of(way, n):
        ds = wfr.solve(None, flow, law, [begin, end], dt, keep="last", progress=False)
        law = wfr.Density.from_dataset(ds)
    return law


def p_value(way, n, law, particles, seed) -> float:
    """Chi-square test of the counts of particles between quantiles of the law."""
    rng, state = np.random.default_rng(seed), PATH.at(0.0).sample(particles, rng=seed)
    for flow, begin, end, dt in runs_of(way, n):
        ds = wfr.solve(None, flow, state, [begin, end], dt, rng=rng, keep="last", progress=False)
        state = ds["position"].values[-1]
    axis = law.grid.axes[0]
    cumulative = np.concatenate([[0.0], np.cumsum(law.values * axis.widths)])
    inner = np.unique(axis.edges[np.searchsorted(cumulative, np.arange(1, BINS) / BINS)])
    expected = np.diff(np.concatenate([[0.0], np.interp(inner, axis.edges, cumulative), [1.0]]))
    counts = np.histogram(state[:, 0], np.concatenate([[-np.inf], inner, [np.inf]]))[0]
    return float(chisquare(counts, particles * expected).pvalue)


def kl_of(data, law) -> float:
    """KL(data|law); NaN where there is no law."""
    return np.nan if law is None else float(data.grid.integrate(data.values * (data.log_values - law.log_values)))


def mode_deviation(law) -> float:
    """Standard deviation on the right."""
    if law is None:
        return np.nan
    right = law.grid.points()[..., 0] > 0
    mass = np.where(right, law.values, 0.0)
    mass /= mass.sum()
    x = law.grid.points()[..., 0]
    return float(math.sqrt(np.sum(mass * x**2) - np.sum(mass * x) ** 2))


def run(cells=480, particles=1_000_000, checked=20, longest=160, seed=7) -> xr.Dataset:
    """`longest`: most steps of ways about which nothing is claimed beyond; `checked`: those of the particles."""
    if checked not in STEPS or checked > longest:
        raise ValueError(f"checked must be one of {', '.join(map(str, STEPS))}, and longest at least as many")
    grid = wfr.Grid(-6, 6, cells)
    data = grid.density(DATA)
    kl, deviations, shown, p_values = [], [], [], []
    for way in WAYS:
        laws = {n: law_of(way, n, grid) if n <= longest or way in ("em", "last") else None for n in STEPS}
        kl.append([kl_of(data, law) for law in laws.values()])
        deviations.append([mode_deviation(law) / mode_deviation(data) for law in laws.values()])
        shown.append(laws[STEPS[0]].log_values)
        p_values.append(p_value(way, checked, laws[checked], particles, seed))
    coords = {"way": list(WAYS), "n": list(STEPS), "x": grid.axes[0].centres}
    variables = {
        "kl": (("way", "n"), kl),
        "deviation": (("way", "n"), deviations),
        "log_law": (("way", "x"), shown),
        "log_data": ("x", data.log_values),
        "p_value": ("way", p_values),
    }
    ds = xr.Dataset(variables, coords)
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for way in WAYS:
        for n in STEPS:
            ds[f"kl_{way}_{n}"] = (), float(ds["kl"].sel(way=way, n=n)), {"units": "nats"}
    ratio = ds["kl"].sel(way="em", n=STEPS[-2]) / ds["kl"].sel(way="em", n=STEPS[-1])
    ds["order_em"] = (), math.log2(float(ratio)), {"units": "1"}
    ds["smallest_p"] = (), min(p_values), {"units": "1"}
    return ds


ATTRIBUTES = {
    "n": ("number of steps", "1"),
    "kl": ("KL(p|mu)", "nats"),
    "deviation": ("deviation of the right mode over that of the data", "1"),
    "x": ("x", "length"),
    "p_value": ("p-value of the counts of particles", "1"),
}
LOOKS = {
    "em": ("Euler–Maruyama", plotting.BLUE, "-", "o"),
    "uniform": ("Euler–Maruyama, equal noise times", plotting.BLUE, ":", "."),
    "posterior": ("ancestral", plotting.VERMILION, "-", "s"),
    "last": ("ancestral, noise in the last step", plotting.VERMILION, "--", "d"),
    "forward": ("ancestral, forward variance", plotting.VERMILION, ":", "v"),
    "ddim": ("DDIM", plotting.GREEN, "-", "^"),
    "heun": ("Heun", "black", "--", "x"),
}


def look(way) -> dict:
    words, colour, dashes, marker = LOOKS[way]
    return dict(label=words, color=colour, linestyle=dashes, marker=marker, linewidth=1.1, markersize=4)


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 3.3)
        left, middle, right = fig.subplots(1, 3)
        for way in WAYS:
            one = ds.sel(way=way)
            left.loglog(ds["n"], one["kl"], **look(way))
            right.semilogx(ds["n"], one["deviation"], **look(way))
            if way not in ("uniform", "forward"):
                middle.plot(ds["x"], np.exp(one["log_law"]), **{**look(way), "marker": ""})
        middle.fill_between(ds["x"], np.exp(ds["log_data"]), color="0.85", linewidth=0, label="data")
        middle.set(xlim=(0.2, 2.8), ylim=(0, None), xlabel=plotting.label(ds["x"]), ylabel="density (1/length)")
        right.axhline(1.0, color="0.4", linewidth=0.8)
        left.set(ylabel=plotting.label(ds["kl"]))
        right.set(ylabel="deviation over that of the data")
        for ax in (left, right):
            ax.set(xlabel="number of steps", xticks=STEPS, xticklabels=map(str, STEPS))
            ax.minorticks_off()
        left.set_title("Error of the law")
        middle.set_title("Right mode, ten steps")
        right.set_title("Its width")
        handles, words = (
            a + b[-1:] for a, b in zip(*(ax.get_legend_handles_labels() for ax in (left, middle)), strict=True)
        )
        fig.legend(handles, words, loc="outside upper center", ncols=3)
    return fig
