"""Squared errors of particle samplers fall about as 1/N, down to the bias of their steps: N(0, 1) to N(1, 5).

Method: mean, variance and P(X > 1) at t = 1 and 4 are compared with the closed form of the WFR flow (alpha = beta =
1), for 50 to 2000 particles, steps of 0.01 and 50 seeds. The samplers are SMC-WFR, birth-death Langevin and the
weighted SDE (resampled below half the particles), with g from a kernel of bandwidth 0.3 or the true g; beside them are
independent draws from the true law. The laws of all samplers with infinitely many particles are Gaussians, known step
by step.

Findings:

- Independent draws have slopes of -1 within 2.0 standard errors. At t = 4 SMC-WFR has -1.07, -1.24 and -1.03,
  birth-death -1.13, -1.08 and -1.01, the kernel -0.94, -0.85 and -0.91; none is at its floor yet.
- With 50 particles 80 % of the squared error of the variance of SMC-WFR is bias: it is too narrow. The mean, once near
  its equilibrium, is known better than by independent draws: its squared error is 10^0.46 times smaller with SMC-WFR,
  10^0.59 with birth-death, on average over N; with the true g it is 10^0.37 times larger.
- With the true g slopes at t = 4 are -0.78, -0.87 and -0.81; at t = 1 one is 4.3 standard errors from -1. These
  standard errors are too small: the weights (without resampling) have moments of order below 2.08 only, so that
  squares have no variance.
- The floor: with steps of 0.25 and 32000 particles the squared error of the variance at t = 1 is within 0.4 standard
  errors of what the law of infinitely many has, 0.017 for SMC-WFR and 0.29 for the true g.

Figure: (a) to (c) mean squared errors at t = 4 against the number of particles. (d) The part of the squared error of
the variance that is bias; crosses are the whole. (e) Slopes: circles for the mean, squares for the variance, triangles
for P(X > 1); open at t = 1, filled at t = 4. (f) With a step of 0.25: errors stop falling at those of infinitely many
particles, the lines.
"""

import math

import numpy as np
import xarray as xr
from matplotlib.ticker import NullFormatter
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.stats import norm

import wfr_pde as wfr
from wfr_pde import exact, plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(numbers=(50, 200, 800), seeds=12, crowds=(500, 8000), rtol=1e-3)
CHECKS = {
    "draws_slope_z": (0.0, 3.2),  # slopes + 1 in standard errors: six statistics, Bonferroni at 1 %
    "finite_moment": (2.077, 0.01),  # closed form, to the tolerance of the solver of the ODE
    "floor_reached_z": (0.0, 3.0),
    # slopes: two standard errors of a quick run, which are 0.2; what follows: about three
    "smc_slope_mean": (-1.07, 0.45),
    "smc_slope_variance": (-1.24, 0.45),
    "birth_death_slope_mean": (-1.13, 0.45),
    "birth_death_slope_variance": (-1.08, 0.45),
    "kernel_slope_mean": (-0.94, 0.45),
    "kernel_slope_variance": (-0.85, 0.45),
    "true_g_slope_mean": (-0.78, 0.5),
    "true_g_slope_variance": (-0.87, 0.5),
    "smc_gain_mean": (0.47, 0.4),
    "birth_death_gain_mean": (0.59, 0.4),
    "smc_bias_share": (0.8, 0.2),
}

TARGET, START = wfr.Gaussian(1.0, 5.0), wfr.Gaussian(0.0, 1.0)
DT, TIMES = 0.01, (1.0, 4.0)
PAIRS = 40_000  # of particles: more are summed by way of a grid, to a relative error of 2e-4 at most
COARSE = 0.25  # the large step
METHODS = ("SMC-WFR", "birth-death", "weighted, kernel", "weighted, true g")
DRAWS = "independent draws"
STATISTICS = ("mean", "variance", "P(X > 1)")


def flow(name, truth, bandwidth):
    """A sampler by its name; `truth` is needed by one of them."""
    kernel = samplers.KernelDensity(bandwidth, PAIRS)
    langevin, resample = samplers.Langevin(), samplers.Resample(0.5)
    if name == "SMC-WFR":  # samplers.SMCWFR, its sums by way of a grid
        reaction = samplers.FeynmanKac(density=samplers.MixtureDensity(pairs=PAIRS))
        return wfr.Lie(wfr.Lie(samplers.Resample(), langevin), reaction)
    if name == "birth-death":
        return wfr.Lie(langevin, samplers.BirthDeath(density=kernel))
    density = kernel if name == "weighted, kernel" else samplers.Oracle(truth)
    return wfr.Lie(wfr.Lie(langevin, samplers.FeynmanKac(density=density)), resample)


def statistics(particles, energy=None) -> np.ndarray:
    """Mean, variance and mass to the right of the target's mean."""
    x = particles.positions[:, 0]
    return np.array([particles.mean()[0], particles.covariance()[0, 0], particles.weights @ (x > 1)])


def exactly(gaussian) -> np.ndarray:
    """The same of a Gaussian."""
    m, v = float(gaussian.mean[0]), float(gaussian.covariance[0, 0])
    return np.array([m, v, norm.sf((1 - m) / math.sqrt(v))])


def infinitely_many(name, bandwidth, dt, n_steps) -> list:
    """Law of a sampler with steps of dt and infinitely many particles, which stays Gaussian, after every step.

    A step of Euler and Maruyama, m ← m + h (b - m)/s², v ← (1 - h/s²)² v + 2h; then the reaction, which multiplies by
    a Gaussian: the exact one; that with g of mu * K; or that with the true g in the middle of the step.
    """
    (b,), ((s2,),) = TARGET.mean, TARGET.covariance
    h, law, laws = dt, START, [START]
    for k in range(n_steps):
        m, v = float(law.mean[0]), float(law.covariance[0, 0])
        m, v = m + h * (b - m) / s2, (1 - h / s2) ** 2 * v + 2 * h
        if name == "SMC-WFR":
            law = exact.gaussian_flow(TARGET, wfr.Gaussian(m, v), h, 0.0, 1.0)
        else:
            if name == "weighted, true g":
                now = exact.gaussian_flow(TARGET, START, (k + 0.5) * h)
                centre, width, share = float(now.mean[0]), float(now.covariance[0, 0]), h
            else:
                centre, width = m, v + bandwidth**2
                share = -math.expm1(-h) if name == "weighted, kernel" else h
            precision = 1 / v - share * (1 / width - 1 / s2)
            law = wfr.Gaussian((m / v - share * (centre / width - b / s2)) / precision, 1 / precision)
        laws.append(law)
    return laws


def sampled(sampler, n, seeds, t, dt) -> np.ndarray:
    """The statistics at the times after the first, (seed, t, statistic)."""
    record = {"statistics": statistics}
    runs = [
        wfr.solve(TARGET, sampler, START.sample(n, rng=s), t, dt, record=record, keep="last", rng=s)
        for s in range(seeds)
    ]
    return np.array([run["statistics"].values[1:] for run in runs])


def all_numbers(sampler, numbers, seeds, t) -> xr.Dataset:
    """The statistics for all numbers of particles."""
    return xr.Dataset(
        {"value": (("n", "seed", "t", "statistic"), [sampled(sampler, n, seeds, t, DT) for n in numbers])}
    )


def drawn(n, seeds) -> np.ndarray:
    """The statistics of independent draws from the true law, (seed, t, statistic)."""
    laws = exact.gaussian_flow(TARGET, START, np.array(TIMES))
    return np.array([[statistics(wfr.Particles(law.sample(n, rng=s))) for law in laws] for s in range(seeds)])


def slope(numbers, squares) -> np.ndarray:
    """Slopes of log mean squares over log N; squares (n, ...)."""
    x = np.log(numbers) - np.mean(np.log(numbers))
    return np.tensordot(x, np.log(squares), (0, 0)) / (x @ x)


def slopes(numbers, errors, repeats=400) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (t, statistic) of mean squared errors over N, and their standard errors by drawing seeds again.

    errors is (n, seed, t, statistic); seeds are drawn for every N by itself.
    """
    rng, seeds = np.random.default_rng(0), errors.shape[1]
    again = [np.stack([one[rng.integers(seeds, size=seeds)] for one in errors]) for _ in range(repeats)]
    repeated = [slope(numbers, np.mean(one**2, axis=1)) for one in again]
    return slope(numbers, np.mean(errors**2, axis=1)), np.std(repeated, axis=0)


def at_a_large_step(crowds, seeds, bandwidth, truth) -> xr.Dataset:
    """Mean squared error of the variance at the first time with a large step, and its limit."""
    names, n_steps = ("SMC-WFR", "weighted, true g"), round(TIMES[0] / COARSE)
    true = exactly(exact.gaussian_flow(TARGET, START, TIMES[0]))[1]
    squares, limits = np.empty((len(names), len(crowds), seeds)), []
    for i, name in enumerate(names):
        for k, n in enumerate(crowds):
            values = sampled(flow(name, truth, bandwidth), n, seeds, [0.0, TIMES[0]], COARSE)
            squares[i, k] = (values[:, 0, 1] - true) ** 2
        limits.append((exactly(infinitely_many(name, bandwidth, COARSE, n_steps)[-1])[1] - true) ** 2)
    variables = {
        "coarse_mse": (("coarse", "crowd"), squares.mean(axis=2)),
        "coarse_mse_error": (("coarse", "crowd"), squares.std(axis=2, ddof=1) / math.sqrt(seeds)),
        "coarse_limit": ("coarse", limits),
    }
    return xr.Dataset(variables, {"coarse": list(names), "crowd": list(crowds)})


ATTRIBUTES = {
    "n": ("N", "1"),
    "crowd": ("N", "1"),
    "t": ("t", "1/β"),
    "mse": ("mean squared error", "units of the statistic²"),
    "bias": ("mean error", "units of the statistic"),
    "variance": ("variance over the seeds", "units of the statistic²"),
    "limit": ("squared error for infinitely many particles", "units of the statistic²"),
    "slope": ("slope of log MSE over log N", "1"),
    "slope_error": ("standard error of the slope", "1"),
    "variance_slope": ("slope of log variance over log N", "1"),
    "variance_slope_error": ("standard error of the slope", "1"),
    "coarse_mse": ("mean squared error of the variance", "length⁴"),
    "coarse_mse_error": ("its standard error", "length⁴"),
    "coarse_limit": ("squared error for infinitely many particles", "length⁴"),
}


def run(
    numbers=(50, 100, 200, 500, 1000, 2000),
    seeds=50,
    bandwidth=0.3,
    crowds=(125, 500, 2000, 8000, 32000),
    rtol=1e-4,
):
    if len(numbers) < 2 or seeds < 3:
        raise ValueError(f"a slope needs two numbers of particles and three seeds, got {numbers} and {seeds}")
    t = [0.0, *TIMES]
    times = np.unique([*np.geomspace(0.02, TIMES[-1], 24), *t])
    truth = wfr.Trajectory(wfr.ground_truth(TARGET, START, times, rtol=rtol), TARGET)
    values = []
    for name in METHODS:
        values.append(stored(all_numbers, flow(name, truth, bandwidth), numbers, seeds, t)["value"].values)
    values = np.array([*values, [drawn(n, seeds) for n in numbers]])
    true = np.array([exactly(law) for law in exact.gaussian_flow(TARGET, START, np.array(TIMES))])
    errors = values - true
    limits = []
    for name in METHODS:
        laws = infinitely_many(name, bandwidth, DT, round(TIMES[-1] / DT))
        limits.append([(exactly(laws[round(time / DT)]) - true[i]) ** 2 for i, time in enumerate(TIMES)])
    limits.append(np.zeros_like(true))
    found = [slopes(numbers, one) for one in errors]
    centred = errors - errors.mean(axis=2, keepdims=True)
    own = [slopes(numbers, one) for one in centred]
    over, each = ("method", "n", "t", "statistic"), ("method", "t", "statistic")
    variables = {
        "mse": (over, np.mean(errors**2, axis=2)),
        "bias": (over, errors.mean(axis=2)),
        "variance": (over, errors.var(axis=2, ddof=1)),
        "limit": (each, np.array(limits)),
        "slope": (each, np.array([one[0] for one in found])),
        "slope_error": (each, np.array([one[1] for one in found])),
        "variance_slope": (each, np.array([one[0] for one in own])),
        "variance_slope_error": (each, np.array([one[1] for one in own])),
    }
    coordinates = {"method": [*METHODS, DRAWS], "n": list(numbers), "t": list(TIMES), "statistic": list(STATISTICS)}
    ds = xr.Dataset(variables, coordinates)
    ds = xr.merge([ds, stored(at_a_large_step, crowds, seeds, bandwidth, truth)], compat="equals")
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in claimed(ds).items():
        ds[name] = (), value, {"units": "1"}
    ds.attrs = {"seeds": seeds}
    return ds


def largest_finite_moment(t) -> float:
    """The largest k for which E[w^k] is finite up to a time, w the weights with the true g, without resampling.

    E[w^k | X = x] mu^W(x) is a Gaussian as long as its precision is positive, p' = -2 p² + 2 p/s² - k (1/v_t - 1/s²).
    """

    def lowest(k) -> float:
        def slope(time, p):
            v = float(exact.gaussian_flow(TARGET, START, time).covariance[0, 0])
            return -2 * p**2 + 2 * p / s2 - k * (1 / v - 1 / s2)

        def gone(time, p):
            return p[0]

        gone.terminal = True
        return float(solve_ivp(slope, (0, t), [1.0], events=gone, rtol=1e-8, atol=1e-10).y[0].min())

    s2 = float(TARGET.covariance[0, 0])
    return float(brentq(lambda k: lowest(k) - 1e-4, 1.0, 20.0, xtol=1e-4))


KEYS = {
    "smc": "SMC-WFR",
    "birth_death": "birth-death",
    "kernel": "weighted, kernel",
    "true_g": "weighted, true g",
}


def claimed(ds) -> dict[str, float]:
    """The numbers that are claimed."""
    z = abs(ds["slope"] + 1) / ds["slope_error"]
    late = ds.isel(t=-1)
    scalars = {}
    scalars["true_g_slope_z"] = float(z.sel({"method": KEYS["true_g"]}).max())
    scalars["draws_slope_z"] = float(z.sel({"method": DRAWS}).max())
    ratio = np.log10(late["mse"].sel({"method": DRAWS}, drop=True) / late["mse"])
    for key, name in KEYS.items():
        one = late.sel({"method": name})
        for word, statistic in {"mean": "mean", "variance": "variance", "tail": "P(X > 1)"}.items():
            scalars[f"{key}_slope_{word}"] = float(one["slope"].sel(statistic=statistic))
        scalars[f"{key}_gain_mean"] = float(ratio.sel({"method": name, "statistic": "mean"}).mean("n"))
        few = one.sel(statistic="variance").isel(n=0)
        scalars[f"{key}_bias_share"] = float(few["bias"] ** 2 / few["mse"])
    floor = ds["coarse_limit"]
    last = ds.isel(crowd=-1)
    scalars["floor_reached_z"] = float((abs(last["coarse_mse"] - floor) / last["coarse_mse_error"]).max())
    scalars["finite_moment"] = largest_finite_moment(TIMES[-1])
    scalars["floor_reached"] = float((last["coarse_mse"] / floor).max())
    return scalars


LOOKS = {  # colour, line, marker
    "SMC-WFR": (plotting.BLUE, "-", "o"),
    "birth-death": (plotting.VERMILION, "--", "s"),
    "weighted, kernel": (plotting.GREEN, "-.", "^"),
    "weighted, true g": (plotting.PURPLE, ":", "D"),
    DRAWS: ("black", "-", "x"),
}


def look(name) -> dict:
    colour, dashes, marker = LOOKS[name]
    return dict(color=colour, linestyle=dashes, marker=marker, linewidth=1.1, label=name)


def draw_errors(ax, ds, statistic):
    late = ds.isel(t=-1).sel(statistic=statistic)
    for name in LOOKS:
        one = late.sel({"method": name})
        ax.loglog(ds["n"], one["mse"], **look(name))
    ax.set(xlabel=plotting.label(ds["n"]), ylabel="mean squared error")
    ax.set_title(f"{statistic}, t = {float(late['t']):g}")


def draw_parts(ax, ds):
    late = ds.isel(t=-1).sel(statistic="variance")
    for name in METHODS:
        one = late.sel({"method": name})
        ax.loglog(ds["n"], one["bias"] ** 2, **look(name))
    ax.loglog(ds["n"], late["mse"].sel({"method": DRAWS}), **look(DRAWS))
    ax.set(xlabel=plotting.label(ds["n"]), ylabel="bias² of the variance (length⁴)")
    ax.set_title(f"Bias² at t = {float(late['t']):g}; ×: MSE")


def draw_slopes(ax, ds):
    places = {name: k for k, name in enumerate(LOOKS)}
    markers = ("o", "s", "^")
    for i, statistic in enumerate(STATISTICS):
        for j, time in enumerate(ds["t"].values):
            for name, k in places.items():
                one = ds.sel({"method": name, "statistic": statistic, "t": time})
                y = k + 0.13 * (2 * i + j - 2.5)
                face = LOOKS[name][0] if j else "white"
                ax.errorbar(
                    one["slope"], y, xerr=1.96 * one["slope_error"], color=LOOKS[name][0], marker=markers[i],
                    markerfacecolor=face, markersize=3.4, linewidth=0.8, linestyle="none",
                )  # fmt: skip
    ax.axvline(-1, color="black", linestyle="-", linewidth=0.7)
    ax.set_yticks(list(places.values()), [name.replace(", ", ",\n").replace("t d", "t\nd") for name in places])
    ax.invert_yaxis()
    ax.set(xlabel="slope of log MSE over log N")
    ax.set_title("○ mean □ var. △ P(X > 1)")


def draw_coarse(ax, ds):
    for name in ds["coarse"].values:
        one = ds.sel(coarse=name)
        ax.errorbar(ds["crowd"], one["coarse_mse"], 1.96 * one["coarse_mse_error"], capsize=2, **look(name))
        ax.axhline(float(one["coarse_limit"]), color=LOOKS[name][0], linestyle="-", linewidth=0.7)
    ax.set(xscale="log", yscale="log", xlabel=plotting.label(ds["crowd"]), ylabel="MSE of the variance (length⁴)")
    ax.set_title(f"Step {COARSE:g}; lines: N = ∞")


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 4.8)
        panels = fig.subplots(2, 3)
        for ax, statistic in zip(panels[0], STATISTICS, strict=True):
            draw_errors(ax, ds, statistic)
        draw_parts(panels[1, 0], ds)
        draw_slopes(panels[1, 1], ds)
        draw_coarse(panels[1, 2], ds)
        for ax in (*panels[0], panels[1, 0], panels[1, 2]):
            numbers = ds["crowd" if ax is panels[1, 2] else "n"].values
            ax.set_xticks(numbers, numbers, fontsize=6.5)
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.tick_params(axis="x", which="minor", bottom=False)
        first, last = ds["t"].values[[0, -1]]
        panels[1, 1].set_xlabel(f"{panels[1, 1].get_xlabel()}\nopen: t = {first:g}, filled: t = {last:g}")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=5)
    return fig
