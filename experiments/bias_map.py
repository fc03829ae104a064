"""Where the self term and the step kill SMC-WFR: number of particles, step and dimension, N(2, 1) to N(0, 4).

Method: between isotropic Gaussians in 1 to 8 dimensions the WFR flow and the law of the sampler for infinitely many
particles are products of laws in one dimension, which are computed on a grid. alpha = beta = 1; errors are those of
mean and variance of a coordinate at t = 1. The step bias is the law of infinitely many particles minus the flow, the
finite-number bias the mean over seeds minus that law, the noise the standard deviation over seeds. The mixture from
which q_i is computed contains the term of particle i itself. That self term rules where S = N (2γ/v)^(d/2) is below
about one, v the variance of the law: S compares the geometric means over the particles of the mixture density and of
the self term, (2 pi e v)^(-d/2) and (4 pi e γ)^(-d/2) / N.

Findings:

- Where S < 0.05 (N >= 300) SMC-WFR goes beyond the W flow, which equal weights would give. The self term does not
  depend on where the particle is, so that the weights are pi^(1 - e^-γ) alone, and the variance ends at 1.75 (γ =
  1/320); W has 2.18, WFR 2.91. The closed form of that limit is met: the variance is 0.97 of the way from WFR to it, W
  at 0.63. The effect of the reaction on the variance is -0.51 of what it should be.
- Half of the way is lost at S = 4.4, 3.0, 2.4, 1.8 in 1, 2, 4, 8 dimensions, a spread by a factor 10^0.39; with
  arithmetic means, N (γ/v)^(d/2), the spread would be 10^1.44. The lost share is 1/(1 + (S/S*)^0.63), which falls
  slowly: 0.11 are still lost where S > 30.
- The step bias has order 1.00: it is 0.0044 at γ = 0.01 and 0.41 at 1. In 4 dimensions with 1000 particles no step is
  good: at 0.1 the finite number costs 0.41, at 1 the step does.
- Without the self term the variance is too large instead of too small: 4.89 at γ = 0.01, d = 4, N = 1000.

Figure: maps over step and number, by dimension. The colour is the effect of the reaction on the variance, from
reversed over none to as in WFR; the letter in a cell is the largest part of the error of the variance (γ step, N
number, ± noise); the line is S = 1. Below: the share of the way lost against S, the parts of the error against the
step, and the variance with and without the self term.
"""

import math

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import NullFormatter
from scipy.optimize import least_squares
from scipy.stats import t as student

import wfr_pde as wfr
from wfr_pde import exact, plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(dims=(1, 4, 8), numbers=(30, 300), steps=(1, 3, 12, 48), most_seeds=10, without=(300,), law_cells=160)
CHECKS = {
    "law_error": (0.0, 1e-6),  # grid against closed form: spectral
    "step_order": (1.0, 0.02),  # O(gamma) more
    "collapsed_lost": (1.0, 0.1),  # the limit of self terms alone; the W flow would be at
    "ula_lost": (0.632, 0.025),  # closed forms, at the steps of a quick run 0.652
    "collapsed_effect": (-0.51, 0.1),
    # three standard errors of a quick run from here on
    "log10_place_4": (0.39, 0.35),
    "log10_place_8": (0.26, 0.5),
    "place_spread": (0.39, 0.5),
    "arithmetic_spread": (1.44, 0.5),
    "safe_lost": (0.11, 0.2),
    "without_excess": (1.6, 0.9),
}

CENTRE, WIDTH = 0.0, 4.0  # mean and variance of the target per coordinate
MEAN, VARIANCE = 2.0, 1.0  # of the start
T_END = 1.0
BOX = (-12.0, 14.0)
PAIRS = 40_000  # of particles in one and two dimensions: more are summed by way of a grid, to 2e-4 at most
MOST_PAIRS = 3e8  # N² times the number of steps: cells with more are left empty
WITHOUT_DIM = 4  # dimension of the runs without self term
STATISTICS = ("mean", "variance")
PARTS = ("step", "number", "noise")
LAWS = ("WFR", "W", "alone")


def gaussian(d, mean, variance) -> wfr.Gaussian:
    """N(mean (1, ..., 1), variance I)."""
    return wfr.Gaussian(np.full(d, mean), variance)


def flow(d, self_term) -> wfr.flows.Flow:
    """SMC-WFR; in one and two dimensions put together so that its sums go by way of a grid."""
    if d > 2:
        return samplers.SMCWFR(self_term=self_term)
    reaction = samplers.FeynmanKac(density=samplers.MixtureDensity(self_term, PAIRS))
    return wfr.Lie(wfr.Lie(samplers.Resample(), samplers.Langevin()), reaction)


def statistics(particles, energy=None) -> np.ndarray:
    """Mean and variance of a coordinate, averaged over the coordinates."""
    x, w = particles.positions, particles.weights
    mean = w @ x
    return np.array([mean.mean(), (w @ (x - mean) ** 2).mean()])


def closed_law(name, n_steps) -> np.ndarray:
    """Mean and variance of a coordinate after all steps, for three kinds of weights; Gaussians stay Gaussian.

    The step is Y = X - dt (X - b)/s², X = Y + sqrt(2 dt) xi. With share = 1 - e^-dt the weights are
    (pi/mu)^share for "WFR", none for "W", and for "alone", where every q_i is its own term,
    pi(X)^share e^(share xi²/2): xi then has the variance e^dt, and pi^share multiplies.
    """
    h, m, v = T_END / n_steps, MEAN, VARIANCE
    share, drift = -math.expm1(-h), 1 - h / WIDTH
    for _ in range(n_steps):
        m, v = CENTRE + drift * (m - CENTRE), drift**2 * v + 2 * h * (math.exp(h) if name == "alone" else 1.0)
        if name != "W":
            own = (1 - share if name == "WFR" else 1.0) / v
            precision = own + share / WIDTH
            m, v = (own * m + share * CENTRE / WIDTH) / precision, 1 / precision
    return np.array([m, v])


def grid_law(n_steps, cells) -> np.ndarray:
    """Mean and variance of a coordinate for infinitely many particles: the sampler on a grid."""
    target, grid = gaussian(1, CENTRE, WIDTH), wfr.Grid(*BOX, cells)
    start = grid.density(gaussian(1, MEAN, VARIANCE))

    def moments(density, energy):
        return np.array([float(density.mean()[0]), float(density.covariance()[0, 0])])

    ds = wfr.solve(
        target, samplers.SMCWFR(), start, [0.0, T_END], T_END / n_steps, record={"moments": moments}, keep="last"
    )
    return ds["moments"].values[-1]


def sampled(d, n, n_steps, seeds, self_term=True) -> np.ndarray:
    """The statistics at the end, (seed, statistic)."""
    target, start, sampler = gaussian(d, CENTRE, WIDTH), gaussian(d, MEAN, VARIANCE), flow(d, self_term)
    options = dict(record={"statistics": statistics}, keep="last")
    runs = [
        wfr.solve(target, sampler, start.sample(n, rng=s), [0.0, T_END], T_END / n_steps, rng=s, **options)
        for s in range(seeds)
    ]
    return np.array([run["statistics"].values[-1] for run in runs])


def summary(d, n, n_steps, seeds, self_term) -> np.ndarray:
    """Mean, standard deviation over the seeds and half width of a 95 % interval of the mean, (3, statistic)."""
    if n**2 * n_steps > MOST_PAIRS:
        return np.full((3, len(STATISTICS)), np.nan)
    values = sampled(d, n, n_steps, seeds, self_term)
    deviation = values.std(axis=0, ddof=1)
    return np.array([values.mean(axis=0), deviation, student.isf(0.025, seeds - 1) * deviation / math.sqrt(seeds)])


def summaries(d, n, steps, seeds, self_term) -> xr.Dataset:
    """The summaries for all steps."""
    values = [summary(d, n, n_steps, seeds, self_term) for n_steps in steps]
    return xr.Dataset({"summary": (("step", "of", "statistic"), values)})


ATTRIBUTES = {
    "gamma": ("step γ", "1/β"),
    "n": ("N", "1"),
    "d": ("dimension", "1"),
    "found": ("mean over the seeds", "units of the statistic"),
    "noise": ("standard deviation over the seeds", "units of the statistic"),
    "interval": ("half width of a 95 % interval of the mean over the seeds", "units of the statistic"),
    "law": ("value for infinitely many particles", "units of the statistic"),
    "true": ("value of the WFR flow", "units of the statistic"),
    "step": ("step bias", "units of the statistic"),
    "number": ("finite-number bias", "units of the statistic"),
    "typical": ("N (2γ/v)^(d/2)", "1"),
    "effect": ("effect of the reaction on the variance, of what it should be", "1"),
    "lost": ("share of the way from WFR to self terms alone", "1"),
    "lost_error": ("half width of a 95 % interval of it", "1"),
}


def transitions(ds) -> tuple[np.ndarray, float]:
    """N (2γ/v)^(d/2) where lost = 1/2, per d, and how steeply: lost = 1/(1 + (S/S*)^k) by least squares, one k."""
    good = (np.isfinite(ds["lost"]) & (ds["gamma"] < 0.5)).values
    s, lost, error = (ds[name].transpose("d", "n", "gamma").values for name in ("typical", "lost", "lost_error"))
    weight = 1 / np.hypot(error / 2, 0.03)

    def residuals(p):
        curve = 1 / (1 + np.exp(np.clip(p[-1] * (np.log(s) - p[:-1, None, None]), -50, 50)))
        return (weight * (curve - lost))[good]

    fit = least_squares(residuals, [*np.full(ds.sizes["d"], 0.5), 0.7], loss="soft_l1")
    return np.exp(fit.x[:-1]), float(fit.x[-1])


def run(
    dims=(1, 2, 4, 8),
    numbers=(30, 100, 300, 1000, 3000),
    steps=(1, 3, 10, 32, 100, 320),
    most_seeds=40,
    particles=6000,
    without=(300, 1000),
    law_cells=420,
):
    """Seeds: as many as have `particles` together, 4 at least and `most_seeds` at most."""
    if not {WITHOUT_DIM, max(dims)} <= set(dims) or not set(without) <= set(numbers):
        raise ValueError(
            f"dims must hold {WITHOUT_DIM}, and numbers those of without, got {dims}, {numbers}, {without}"
        )
    gammas = T_END / np.array(steps)
    seeds = {n: int(np.clip(particles // n, 4, most_seeds)) for n in numbers}
    cells = []
    for d, n, self_term in [
        *((d, n, True) for d in dims for n in numbers),
        *((WITHOUT_DIM, n, False) for n in without),
    ]:
        cells.append(stored(summaries, d, n, steps, seeds[n], self_term)["summary"].values)
    values = np.reshape(cells[: len(dims) * len(numbers)], (len(dims), len(numbers), *cells[0].shape))
    others = np.array(cells[len(dims) * len(numbers) :])
    laws = np.array([[closed_law(name, k) for k in steps] for name in LAWS])
    on_grid = np.array([grid_law(k, law_cells) for k in steps])
    truth = exact.gaussian_flow(gaussian(1, CENTRE, WIDTH), gaussian(1, MEAN, VARIANCE), T_END)
    over, some = ("d", "n", "gamma", "statistic"), ("few", "gamma", "statistic")
    variables = {
        **{name: (over, values[..., i, :]) for i, name in enumerate(("found", "noise", "interval"))},
        **{f"{name}_without": (some, others[..., i, :]) for i, name in enumerate(("found", "noise", "interval"))},
        "laws": (("law_of", "gamma", "statistic"), laws),
        "law": (("gamma", "statistic"), on_grid),
        "true": ("statistic", [float(truth.mean[0]), float(truth.covariance[0, 0])]),
        "seeds": ("n", list(seeds.values())),
    }
    coordinates = {
        "d": list(dims), "n": list(numbers), "gamma": gammas, "statistic": list(STATISTICS),
        "law_of": list(LAWS), "few": list(without),
    }  # fmt: skip
    ds = xr.Dataset(variables, coordinates)
    ds["step"], ds["number"] = ds["law"] - ds["true"], ds["found"] - ds["law"]
    wide = {name: ds["laws"].sel(law_of=name, statistic="variance", drop=True) for name in LAWS}
    found, interval = (ds[name].sel(statistic="variance", drop=True) for name in ("found", "interval"))
    ds["typical"] = ((2 * ds["gamma"] / wide["WFR"]) ** (ds["d"] / 2) * ds["n"]).transpose("d", "n", "gamma")
    ds["effect"] = (found - wide["W"]) / (wide["WFR"] - wide["W"])
    ds["lost"] = (found - wide["WFR"]) / (wide["alone"] - wide["WFR"])
    ds["lost_error"] = interval / abs(wide["alone"] - wide["WFR"])
    places, steepness = transitions(ds)
    ds["place"] = "d", places, {"long_name": "N (2γ/v)^(d/2) at half", "units": "1"}
    ds["steepness"] = (), steepness, {"long_name": "steepness of the transition", "units": "1"}
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in claimed(ds).items():
        ds[name] = (), value, {"units": "1"}
    ds.attrs = {}
    return ds


def claimed(ds) -> dict[str, float]:
    """The numbers that are claimed."""
    small = ds["gamma"] < 0.1
    step = abs(ds["step"].sel(statistic="variance")).where(small, drop=True)
    collapsed = (ds["typical"] < 0.05) & (ds["gamma"] < 0.5) & (ds["n"] >= 300)
    alone, w = (ds["laws"].sel(law_of=name, statistic="variance", drop=True) for name in ("alone", "W"))
    full = ds["laws"].sel(law_of="WFR", statistic="variance", drop=True)
    safe = (ds["typical"] > 30) & (ds["gamma"] < 0.5) & np.isfinite(ds["lost"])
    few = ds.isel(few=-1).sel(statistic="variance")
    others = (few["found_without"] - few["law"]).where(ds["gamma"] < 0.05, drop=True)
    places = ds["place"].values
    # the same place in arithmetic means, N (γ/v)^(d/2)
    arithmetic = places / 2 ** (ds["d"].values / 2)
    return {
        "law_error": float(abs(ds["law"] - ds["laws"].sel(law_of="WFR")).max()),
        "step_order": float(np.polyfit(np.log(step["gamma"]), np.log(step), 1)[0]),
        "collapsed_lost": float(ds["lost"].where(collapsed).mean()),
        "collapsed_effect": float(ds["effect"].where(collapsed).mean()),
        "ula_lost": float(((w - full) / (alone - full)).where(small).mean()),
        "safe_lost": float(ds["lost"].where(safe).mean()),
        "place_spread": float(np.log10(places.max() / places.min())),
        "arithmetic_spread": float(np.log10(arithmetic.max() / arithmetic.min())),
        "without_excess": float(others.max()),
        **{f"log10_place_{d}": float(np.log10(place)) for d, place in zip(ds["d"].values, places, strict=True)},
    }


COLOURS = LinearSegmentedColormap.from_list("effect", [plotting.VERMILION, (1, 1, 1), plotting.BLUE])
LOOKS = {1: ("black", "o"), 2: (plotting.BLUE, "s"), 4: (plotting.VERMILION, "^"), 8: (plotting.GREEN, "D")}
MARKS = {"step": "γ", "number": "N", "noise": "±"}


def edges(values) -> np.ndarray:
    """Edges of cells about values, on a logarithmic axis."""
    logs = np.log(values)
    middles = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middles[0]], middles, [2 * logs[-1] - middles[-1]]]))


def draw_map(ax, ds, d):
    one = ds.sel(d=d).sortby("gamma")
    gamma, n = one["gamma"].values, one["n"].values
    ax.set_facecolor("0.85")
    image = ax.pcolormesh(edges(gamma), edges(n), one["effect"], cmap=COLOURS, vmin=-1, vmax=1, rasterized=True)
    v = np.interp(np.log(edges(gamma)), np.log(gamma), one["laws"].sel(law_of="WFR", statistic="variance"))
    ax.plot(edges(gamma), (2 * edges(gamma) / v) ** (-d / 2), color="black", linestyle="-", linewidth=1.4)
    parts = abs(xr.concat([one[part].sel(statistic="variance") for part in PARTS], "part"))
    for i, number in enumerate(n):
        for k, step in enumerate(gamma):
            sizes = parts.transpose("part", "n", "gamma").values[:, i, k] if "n" in parts.dims else parts.values
            if np.isfinite(sizes).all():
                word = MARKS[PARTS[int(np.argmax(sizes))]]
                ax.text(step, number, word, fontsize=6, ha="center", va="center")
    ax.grid(False)
    ax.set(xscale="log", yscale="log", xlim=edges(gamma)[[0, -1]], ylim=edges(n)[[0, -1]])
    ax.set(xlabel=plotting.label(ds["gamma"]))
    ax.set_title(f"d = {d}")
    return image


def draw_transition(ax, ds):
    for d in ds["d"].values:
        one = ds.sel(d=d).where(ds["gamma"] < 0.5, drop=True)
        s, lost, error = (one[name].values.ravel() for name in ("typical", "lost", "lost_error"))
        colour, marker = LOOKS.get(int(d), (plotting.PURPLE, "v"))
        ax.errorbar(
            s, lost, error, color=colour, marker=marker, markersize=3, linestyle="none", linewidth=0.6, label=f"d = {d}"
        )
    ax.axvline(1, color="black", linestyle="-", linewidth=1.4)
    ax.axhline(float(ds["ula_lost"]), color=plotting.GREY, linestyle=":", linewidth=1)
    ax.text(1.3e-5, float(ds["ula_lost"]) + 0.02, "no reaction", ha="left", va="bottom", fontsize=7)
    ax.set(xscale="log", xlim=(1e-5, 5e3), ylim=(-0.3, 1.35), xlabel="N (2γ/v)$^{d/2}$   (line: 1, as above)")
    ax.set(ylabel="0: WFR  →  1: self terms only")
    ax.set_title("One curve for all d")
    ax.legend(loc="lower left", fontsize=7, labelspacing=0.2, handletextpad=0.1)


def draw_parts(ax, ds, d, n):
    one = ds.sel(d=d, n=n, statistic="variance")
    gamma = ds["gamma"]
    ax.loglog(gamma, abs(one["step"]), color=plotting.BLUE, linestyle="-", marker="o", label="γ: step (N = ∞)")
    number = abs(one["number"])
    low = np.minimum(one["interval"], 0.9 * number)
    ax.errorbar(
        gamma, number, [low, one["interval"]], color=plotting.VERMILION, linestyle="--", marker="s", label="N: number"
    )
    ax.loglog(gamma, one["noise"], color="black", linestyle=":", marker="^", label="±: noise")
    ax.set(xlabel=plotting.label(gamma), ylabel="|error| of the variance (length²)")
    ax.set_title(f"Parts (d = {d}, N = {n})")
    ax.legend(loc="lower right", fontsize=7, labelspacing=0.2)


def draw_without(ax, ds):
    n, gamma = int(ds["few"][-1]), ds["gamma"]
    own = ds.sel(d=WITHOUT_DIM, n=n, statistic="variance")
    ax.set(xlim=(0.8 * float(gamma.min()), 1.25))
    other = ds.isel(few=-1).sel(statistic="variance")
    laws = ds["laws"].sel(statistic="variance")
    ax.plot(gamma, laws.sel(law_of="WFR"), color="black", linestyle="-", linewidth=1.2)
    ax.plot(gamma, laws.sel(law_of="W"), color=plotting.GREY, linestyle="-.", linewidth=1)
    ax.plot(gamma, laws.sel(law_of="alone"), color="black", linestyle=":", linewidth=1.2)
    ax.errorbar(gamma, own["found"], own["interval"], color=plotting.VERMILION, linestyle="--", marker="s",
                label="with self term")  # fmt: skip
    ax.errorbar(gamma, other["found_without"], other["interval_without"], color=plotting.PURPLE, linestyle="-",
                marker="v", label="without")  # fmt: skip
    first = float(gamma.min())
    for name, words in {"WFR": "WFR", "W": "W", "alone": "self terms only"}.items():
        y = float(laws.sel(law_of=name, gamma=first))
        ax.annotate(words, (first, y), (0, -9 if name == "alone" else 3), textcoords="offset points", fontsize=7)
    ax.set(xscale="log", xlabel=plotting.label(gamma), ylabel="variance (length²)", ylim=(1.5, None))
    ax.set_title("No self term: no cure")
    ax.legend(loc="upper right", fontsize=7, labelspacing=0.2)


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.9)
        above, below = fig.subfigures(2, 1, height_ratios=(1, 1.05))
        maps = above.subplots(1, ds.sizes["d"], sharey=True)
        for ax, d in zip(maps, ds["d"].values, strict=True):
            image = draw_map(ax, ds, int(d))
        maps[0].set(ylabel=plotting.label(ds["n"]))
        bar = above.colorbar(image, ax=list(maps), pad=0.01, aspect=14, ticks=[-1, 0, 1])
        bar.ax.set_yticklabels(["reversed", "none (ULA)", "as in WFR"])
        bar.set_label("effect on the variance")
        panels = below.subplots(1, 3)
        draw_transition(panels[0], ds)
        draw_parts(panels[1], ds, WITHOUT_DIM, int(ds["few"][-1]))
        draw_without(panels[2], ds)
        panels[1].set_ylim(top=15)
        panels[1].get_legend().set_loc("upper right")
        panels[2].set_ylim(bottom=1.2)
        for ax in (*maps, *panels[1:]):
            ax.xaxis.set_minor_formatter(NullFormatter())
    return fig
