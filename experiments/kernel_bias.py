"""Birth-death Langevin with a kernel: its equilibrium is not pi, and the best bandwidth shrinks with the number.

Method: the dynamics with infinitely many particles is solved on a grid (alpha = beta = 1), in both variants: with g =
log (K * mu)/pi ("log-density") and with the variation of the kernelised energy ("energy"). For pi = N(0, 1) the former
keeps Gaussians, and in equilibrium 2 alpha (1 - C) = beta C² (1 - 1/(C + eps²)), C the variance. The two modes are
half N(-2, 0.2) and half N(2, 1). For equilibria transport is exact, and dt is extrapolated. The finite number is
studied with "log-density" from N(1, 1/4) to N(0, 1), in steps of 0.05: the variance at t = 1 against the law with the
exact g at the same step, for 50 to 12800 particles and 120 to 8 seeds.

Findings:

- Equilibria are always too narrow: 1 - C is 0.046 at eps = 0.4 as in closed form (to 2e-5), and 0.0064 in the variant
  "energy". The orders in eps are 1.91 and 3.81, as log (K * mu) + K * (mu/(K * mu)) = log mu + 1 + O(eps⁴).
- Two modes: the narrow one gains. Left of -1 pi has 0.495; at eps = 0.6 the equilibria have 0.539 and 0.536. KL to pi
  at eps = 0.4 is 1.0e-3 and 5.3e-4 nats.
- The bias of the finite number has the same sign as that of the kernel, so that they do not cancel: it is like N^-0.68
  eps^-0.67 (standard errors 0.04 and 0.07), that of the kernel about eps². Their sum is least where eps ~ N^-0.28 (95
  %: -0.32 to -0.25), at eps = 0.28 for 50 particles and 0.06 for 12800: this falls faster than Scott's N^-0.20.
- The total error has a flat minimum as long as noise rules: up to 800 particles Scott's rule costs nothing. With 12800
  its bandwidth is 2.5 times that of the least bias, and its error 2.8 times that of the best bandwidth (8 seeds).

Figure: (a) how much too small the variance of the equilibrium is, against the bandwidth; (b) equilibria with two
modes; (c) their KL to pi. (d) Parts of the bias at t = 1 against the bandwidth, darker for more particles; (e) error
over the least error, over number and bandwidth, with the bandwidth of least bias and that of Scott's rule; (f) total
error.
"""

import math

import numpy as np
import xarray as xr
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.optimize import brentq, least_squares, minimize_scalar

import wfr_pde as wfr
from wfr_pde import plotting, samplers

QUICK = dict(
    widths=(0.2, 0.4, 0.8), shown=(0.8,), late=3.0, dt=0.04, cells=160, bandwidths=(0.1, 0.3, 1.0),
    numbers=(50, 200, 800), most_seeds=16, particles=20_000, repeats=40,
)  # fmt: skip
CHECKS = {
    "closed_error": (0.0, 2e-4),  # O(dt²) after extrapolation: 8e-5 in a quick run
    "kl_step": (0.0, 1e-10),  # pi stays with the exact g
    "order_log_density": (1.91, 0.1),  # 2 as eps goes to 0; between two widths of a quick run 1.85
    "order_energy": (3.81, 0.2),  # 4; 3.69
    "variance_log_density": (0.9536, 0.001),
    "variance_energy": (0.9936, 0.001),
    "kl_log_density": (1.03e-3, 5e-5),
    "kl_energy": (5.3e-4, 5e-5),
    "mass_log_density": (0.512, 0.005),  # the boundary falls on a cell
    # of few seeds and three numbers in a quick run
    "power": (-0.28, 0.3),
    "power_n": (0.68, 0.7),
    "exact_variance": (0.96886, 1e-4),
    "scott_over_best_bandwidth": (2.5, 2.4),
    "misfit": (1.4, 1.4),
}

TARGET, START = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 0.25)
MODES = wfr.GaussianMixture([-2.0, 2.0], [0.5, 0.5], [0.2, 1.0])
SPLIT = -1.0  # between the modes
T_END, STEP = 1.0, 0.05  # of the runs with particles
PAIRS = 40_000  # of particles: more are summed by way of a grid, to a relative error of 2e-4 at most
VARIANTS = samplers.BirthDeath().variant, "energy"


def variance(state, energy=None) -> float:
    return float(state.covariance()[0, 0])


def stationary_variance(bandwidth) -> float:
    """Return the variance at rest of the kernelised dynamics, which keep Gaussians: pi = N(0, 1), alpha = beta = 1.

    log (K * mu)/pi is quadratic, so that dC/dt = 2 (1 - C) - C² (1 - 1/(C + eps²)).
    """
    return brentq(lambda c: 2 * (1 - c) - c**2 * (1 - 1 / (c + bandwidth**2)), 0.3, 1.0, xtol=1e-13)


def late_density(target, grid, bandwidth, variant, t_end, dt) -> np.ndarray:
    """Log-density at a late time, from pi on: with steps of dt and dt/2, extrapolated."""
    logs = []
    for step in (dt, dt / 2):
        reaction = samplers.BirthDeath(bandwidth=bandwidth, variant=variant)
        exactly = wfr.Lie(wfr.SinkhornKernel(), reaction)  # without the bias of Euler and Maruyama
        ds = wfr.solve(target, exactly, grid.density(target), [0.0, t_end], step, keep="last")
        logs.append(ds["log_density"].values[-1])
    return wfr.Density(grid, 2 * logs[1] - logs[0]).normalised().log_values


def at_equilibrium(widths, shown, t_end, dt, cells) -> xr.Dataset:
    """Stationary variance of one mode, and density, KL and mass of two."""
    one, two = wfr.Grid(-6, 6, cells), wfr.Grid(-5, 7, cells)
    x = two.axes[0].centres
    log_pi, cell = two.density(MODES).log_values, two.axes[0].widths

    def kl_of(log):
        return float(np.sum(np.exp(log) * (log - log_pi) * cell))

    variances, kl, mass, drawn = [], [], [], []
    for variant in VARIANTS:
        late = [wfr.Density(one, late_density(TARGET, one, e, variant, t_end, dt)) for e in widths]
        variances.append([variance(density) for density in late])
        logs = [late_density(MODES, two, e, variant, 2 * t_end, dt) for e in widths]
        kl.append([kl_of(log) for log in logs])
        mass.append([float(np.sum((np.exp(log) * cell)[x < SPLIT])) for log in logs])
        drawn.append([logs[int(np.argmin(abs(np.array(widths) - e)))] for e in shown])
    own = ("variant", "width")
    variables = {
        "stationary": (own, variances),
        "closed": ("width", [stationary_variance(e) for e in widths]),
        "kl": (own, kl),
        "mass": (own, mass),
        "log_stationary": (("variant", "shown", "x"), drawn),
        "log_pi": ("x", log_pi),
        "kl_step": kl_of(late_density(MODES, two, None, VARIANTS[0], 2 * t_end, dt)),
    }
    nearest = [min(widths, key=lambda w: abs(w - e)) for e in shown]
    return xr.Dataset(variables, {"variant": list(VARIANTS), "width": list(widths), "shown": nearest, "x": x})


def sampled(n, bandwidth, seeds) -> np.ndarray:
    """Variances at the end, (seed,); without a bandwidth by Scott's rule."""
    density = samplers.KernelDensity(bandwidth, PAIRS)
    sampler = wfr.Lie(samplers.Langevin(), samplers.BirthDeath(density=density))
    options = dict(record={"variance": variance}, keep="last")
    runs = [
        wfr.solve(TARGET, sampler, START.sample(n, rng=s), [0.0, T_END], STEP, rng=s, **options) for s in range(seeds)
    ]
    return np.array([float(run["variance"][-1]) for run in runs])


def law_variance(bandwidth, cells) -> float:
    """The same for infinitely many particles; without a bandwidth with the exact g."""
    start = wfr.Grid(-6, 6, cells).density(START)
    flow = wfr.Lie(samplers.Langevin(), samplers.BirthDeath(bandwidth=bandwidth))
    ds = wfr.solve(TARGET, flow, start, [0.0, T_END], STEP, record={"variance": variance}, keep="last")
    return float(ds["variance"][-1])


def fitted(numbers, bandwidths, number, error) -> np.ndarray:
    """(log a, p, q) of the finite-number bias -a N^-p eps^-q, by least squares; number, error (n, bandwidth)."""
    log_n, log_e = np.log(numbers)[:, None], np.log(bandwidths)

    def residuals(p):
        return ((number + np.exp(p[0] - p[1] * log_n - p[2] * log_e)) / error).ravel()

    return least_squares(residuals, [0.0, 1.0, 1.0]).x


def best_bandwidths(numbers, law, fit) -> np.ndarray:
    """Where kernel bias and finite-number bias together are least; `law` a function of log eps."""
    log_a, p, q = fit

    def total(log_e, n):
        return -law(log_e) + math.exp(log_a - p * math.log(n) - q * log_e)

    return np.exp([minimize_scalar(total, bounds=(-4, 0.5), args=(n,), method="bounded").x for n in numbers])


def slope(numbers, values) -> float:
    return float(np.polyfit(np.log(numbers), np.log(values), 1)[0])


ATTRIBUTES = {
    "width": ("bandwidth ε", "length"),
    "bandwidth": ("bandwidth ε", "length"),
    "n": ("N", "1"),
    "stationary": ("stationary variance", "length²"),
    "closed": ("stationary variance, closed form", "length²"),
    "kl": ("KL(stationary|pi)", "nats"),
    "kl_step": ("the same with the exact g: error of the steps", "nats"),
    "mass": ("mass of the narrow mode", "1"),
    "kernel": ("bias of the kernel", "length²"),
    "number": ("finite-number bias", "length²"),
    "number_error": ("standard error of the finite-number bias", "length²"),
    "noise": ("standard deviation over the seeds", "length²"),
    "rmse": ("root mean squared error of the variance", "length²"),
    "rmse_scott": ("the same by Scott's rule", "length²"),
    "best": ("bandwidth of the least bias", "length"),
    "scott": ("bandwidth by Scott's rule", "length"),
}


def run(
    widths=(0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2),
    shown=(0.6,),
    late=4.0,
    dt=0.02,
    cells=400,
    bandwidths=(0.05, 0.1, 0.2, 0.35, 0.6, 1.0),
    numbers=(50, 200, 800, 3200, 12800),
    most_seeds=120,
    particles=100_000,
    repeats=400,
) -> xr.Dataset:
    """Seeds: as many as have `particles` together, 8 at least and `most_seeds` at most."""
    ds = at_equilibrium(widths, shown, late, dt, max(160, cells // 2))
    seeds = {n: int(np.clip(particles // n, 8, most_seeds)) for n in numbers}
    exactly = law_variance(None, cells)
    kernel = np.array([law_variance(e, cells) for e in bandwidths]) - exactly
    smooth = np.polyfit(np.log(bandwidths), np.log(-kernel), 2)

    def law(log_e):
        return -np.exp(np.polyval(smooth, log_e))

    values = [[sampled(n, e, seeds[n]) for e in bandwidths] for n in numbers]
    scott = [sampled(n, None, seeds[n]) for n in numbers]

    def found(values):
        mean, noise = (np.array([[f(own) for own in of] for of in values]) for f in (np.mean, lambda v: v.std(ddof=1)))
        return mean - exactly - kernel, noise

    number, noise = found(values)
    roots = np.sqrt([len(of[0]) for of in values])[:, None]
    # the spread is that of the crowd: about the same for neighbours, and noisy where there are few seeds
    error = np.sqrt(np.mean(noise**2, axis=1, keepdims=True)) / roots
    fit = fitted(numbers, bandwidths, number, error)
    best = best_bandwidths(numbers, law, fit)
    rng, again = np.random.default_rng(0), []
    for _ in range(repeats):
        drawn = [[own[picks] for own in of] for of in values for picks in [rng.integers(len(of[0]), size=len(of[0]))]]
        one = fitted(numbers, bandwidths, found(drawn)[0], error)
        again.append([*one[1:], *best_bandwidths(numbers, law, one)])
    again = np.array(again)
    over = ("n", "bandwidth")
    variables = {
        "kernel": ("bandwidth", kernel),
        "number": (over, number),
        "number_error": (over, np.broadcast_to(error, number.shape)),
        "noise": (over, noise),
        "rmse": (over, [[float(np.sqrt(np.mean((own - exactly) ** 2))) for own in of] for of in values]),
        "rmse_scott": ("n", [float(np.sqrt(np.mean((own - exactly) ** 2))) for own in scott]),
        "best": ("n", best),
        "best_range": (("side", "n"), np.percentile(again[:, 2:], [2.5, 97.5], axis=0)),
        "scott": ("n", math.sqrt(exactly) * np.array(numbers, float) ** -0.2),
        "fit": ("parameter", fit),
    }
    ds = ds.merge(xr.Dataset(variables, {"n": list(numbers), "bandwidth": list(bandwidths)}))
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    powers = np.array([slope(numbers, one[2:]) for one in again])
    scalars = {
        "power": slope(numbers, best),
        "power_low": float(np.percentile(powers, 2.5)),
        "power_high": float(np.percentile(powers, 97.5)),
        "power_n": fit[1], "power_n_error": float(again[:, 0].std()),
        "power_eps": fit[2], "power_eps_error": float(again[:, 1].std()),
        "exact_variance": exactly,
        **claimed(ds),
    }  # fmt: skip
    for name, value in scalars.items():
        ds[name] = (), float(value), {"units": "1"}
    ds.attrs = {}
    return ds


def claimed(ds) -> dict[str, float]:
    """The numbers that are claimed, but for the powers."""
    bias = 1 - ds["stationary"]
    widths = ds["width"].values
    small = widths <= 0.4
    orders = {
        variant: float(np.polyfit(np.log(widths[small]), np.log(bias.sel(variant=variant).values[small]), 1)[0])
        for variant in VARIANTS
    }
    middle = ds.sel(width=0.4)
    many = ds.isel(n=-1)
    gain = many["rmse_scott"] / many["rmse"].min()
    fit = ds["fit"].values
    model = -np.exp(fit[0]) * ds["n"] ** -fit[1] * ds["bandwidth"] ** -fit[2]
    return {
        "closed_error": float(abs(ds["stationary"].sel(variant=VARIANTS[0]) - ds["closed"]).max()),
        "order_log_density": orders[VARIANTS[0]],
        "order_energy": orders[VARIANTS[1]],
        "variance_log_density": float(middle["stationary"].sel(variant=VARIANTS[0])),
        "variance_energy": float(middle["stationary"].sel(variant=VARIANTS[1])),
        "kl_log_density": float(middle["kl"].sel(variant=VARIANTS[0])),
        "kl_energy": float(middle["kl"].sel(variant=VARIANTS[1])),
        "mass_log_density": float(middle["mass"].sel(variant=VARIANTS[0])),
        "mass_energy": float(middle["mass"].sel(variant=VARIANTS[1])),
        "scott_over_best_rmse": float(gain),
        "scott_over_best_bandwidth": float(many["scott"] / many["best"]),
        "misfit": float((((ds["number"] - model) / ds["number_error"]) ** 2).mean()),
    }


LOOKS = {VARIANTS[0]: (plotting.BLUE, "-", "o"), VARIANTS[1]: (plotting.VERMILION, "--", "s")}


def look(variant) -> dict:
    colour, dashes, marker = LOOKS[variant]
    return dict(color=colour, linestyle=dashes, marker=marker, linewidth=1.1, label=variant)


def draw_variance(ax, ds):
    for variant in VARIANTS:
        ax.loglog(ds["width"], 1 - ds["stationary"].sel(variant=variant), **look(variant))
    ax.loglog(ds["width"], 1 - ds["closed"], color="black", linestyle=":", linewidth=2, label="closed form")
    ax.set(xlabel=plotting.label(ds["width"]), ylabel="1 − stationary variance (length²)")
    ax.set_title("π = N(0, 1): always too narrow")
    ax.legend(loc="lower right", fontsize=7)


def draw_density(ax, ds):
    width = float(ds["shown"][-1])
    ax.fill_between(ds["x"], np.exp(ds["log_pi"]), color="0.85", linewidth=0, label="π")
    for variant in VARIANTS:
        one = ds.isel(shown=-1).sel(variant=variant)
        ax.plot(ds["x"], np.exp(one["log_stationary"]), **{**look(variant), "marker": ""})
    ax.set(xlabel="x (length)", ylabel="density (1/length)", xlim=(-4.5, 5.5), ylim=(0, None))
    ax.set_title(f"Equilibria for ε = {width:g}")
    ax.legend(loc="upper right", fontsize=7)


def draw_kl(ax, ds):
    for variant in VARIANTS:
        ax.loglog(ds["width"], ds["kl"].sel(variant=variant), **look(variant))
    ax.set(xlabel=plotting.label(ds["width"]), ylabel="KL(equilibrium | π) (nats)")
    ax.set_title("Two modes")


def edges(values) -> np.ndarray:
    """Edges of cells about values, on a logarithmic axis."""
    logs = np.log(values)
    middles = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middles[0]], middles, [2 * logs[-1] - middles[-1]]]))


def draw_map(ax, ds):
    n, bandwidth = ds["n"].values, ds["bandwidth"].values
    ratio = ds["rmse"] / ds["rmse"].min("bandwidth")
    image = ax.pcolormesh(
        edges(n), edges(bandwidth), ratio.transpose("bandwidth", "n"), cmap="Blues", norm="log", vmin=1, vmax=10,
        rasterized=True,
    )  # fmt: skip
    colour = plotting.VERMILION
    ax.fill_between(n, *ds["best_range"].values, color=colour, alpha=0.3, linewidth=0)
    ax.plot(n, ds["best"], color=colour, linestyle="-", marker="o", label="least bias")
    ax.plot(n, ds["scott"], color="black", linestyle="--", linewidth=1.2, label="Scott")
    ax.grid(False)
    ax.set(xscale="log", yscale="log", xlim=edges(n)[[0, -1]], ylim=edges(bandwidth)[[0, -1]])
    ax.set(xlabel=plotting.label(ds["n"]), ylabel=plotting.label(ds["bandwidth"]))
    ax.set_title("Error over the least, by ε")
    ax.legend(loc="lower left", fontsize=7)
    ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=14, ticks=[1, 2, 5, 10], format="%g")


def draw_number(ax, ds):
    shades = np.linspace(0.3, 1.0, ds.sizes["n"])
    ax.loglog(ds["bandwidth"], -ds["kernel"], color=plotting.BLUE, linestyle="-", label="kernel (N = ∞)")
    a, p, q = ds["fit"].values
    powers = ds["bandwidth"] ** -q
    for n, shade in zip(ds["n"].values, shades, strict=True):
        one = ds.sel(n=n)
        y, half = -one["number"], 1.96 * one["number_error"]
        seen = (y > half).values
        ax.errorbar(
            ds["bandwidth"][seen], y[seen], half[seen], color=plotting.VERMILION, alpha=shade, marker="s",
            linestyle="none", linewidth=0.8, label="number, measured" if n == ds["n"].values[-1] else None,
        )  # fmt: skip
        ax.loglog(
            ds["bandwidth"], math.exp(a) * n**-p * powers, color=plotting.VERMILION, alpha=shade,
            linestyle="--", linewidth=1, label=f"fit, N = {n}" if n in ds["n"].values[[0, -1]] else None,
        )  # fmt: skip
    ax.set(xlabel=plotting.label(ds["bandwidth"]), ylabel="−bias of the variance (length²)", ylim=(3e-6, 1))
    ax.set_title("Bias at t = 1")
    ax.legend(loc="lower right", fontsize=7)


def draw_rmse(ax, ds):
    n = ds["n"]
    ax.loglog(n, ds["rmse"].min("bandwidth"), color=plotting.VERMILION, linestyle="-", marker="o", label="best ε")
    ax.loglog(n, ds["rmse_scott"], color="black", linestyle="--", marker="s", label="Scott's rule")
    last = ds.isel(bandwidth=-1)
    ax.loglog(n, last["rmse"], color=plotting.BLUE, linestyle=":", marker="^", label=f"ε = {float(last.bandwidth):g}")
    ax.set(xlabel=plotting.label(n), ylabel="RMSE of the variance (length²)")
    ax.set_title("Total error at t = 1")
    ax.legend(loc="lower left", fontsize=7)


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.8)
        panels = fig.subplots(2, 3)
        for ax, draw in zip(
            panels.ravel(), (draw_variance, draw_density, draw_kl, draw_number, draw_map, draw_rmse), strict=True
        ):
            draw(ax, ds)
        for ax in (panels[0, 0], panels[0, 2], panels[1, 0]):
            ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        for ax in panels[1, 1:]:
            ax.set_xticks(ds["n"].values, ds["n"].values, fontsize=6.5)
            ax.set_xticks([], minor=True)
    return fig
