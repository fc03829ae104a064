"""On four modes SMC-WFR is ahead of birth-death Langevin by a factor of 8 at most, not by the 100 in print.

Method: example 2 of Lu, Lu and Nolen (2019, arXiv:1905.09863): four thin Gaussians, the start is the one at (0, 8), N
= 500, gamma = 0.01, 1000 iterations, kernel variance 0.01, 50 seeds. Crucinio and Pathiraja (2025, arXiv:2506.05905)
print mean squared errors of SMC-WFR two orders of magnitude below those of birth-death Langevin. Here birth-death does
what the paper of its authors says. Beside it is *births and refill*, the update in the programs published with the
paper of 2025 (GaussianMixture4Modes.py of github.com/FrancescaCrucinio/SMC-WFR; which of its versions made the tables
in print is not known): those who are to die are chosen but not removed; the born get two places, and all others are
drawn anew from the population, uniformly, at every step.

Findings: the ratio of the MSEs of the mean to pi is (95 % interval by bootstrap over seeds)

    t                          2                 4                 6                 8                10
    birth-death / SMC-WFR      1.3 [1.2, 1.4]    1.7 [1.5, 1.9]    4.7 [3.6, 6.2]    4.2 [2.9, 6.1]   2.1 [1.4, 3.2]
    the same, covariance       1.5 [1.4, 1.6]    1.5 [1.3, 1.7]    3.7 [2.6, 5.4]    1.2 [0.7, 1.8]   1.0 [0.8, 1.4]
    births and refill / SMC    1.7 [1.6, 1.8]    5.7 [4.8, 6.8]    53 [40, 73]       259 [193, 356]   262 [194, 371]

and at no time t >= 1, for mean or covariance, to pi or to the certified mu_t, does the interval for birth-death reach
beyond 12.4 (t = 7, ratio 8.3). So the claim does not hold. Births and refill does have two orders: its N draws per
step are noise that does not fall with dt, 262 times the MSE of SMC-WFR at t = 10, and 127 [94, 176] times that of the
birth-death of the paper.

SMC-WFR is ahead on the way: it reaches MMD² < 0.05 (kernel exp(-|x - y|²)) after 272 iterations (median), birth-death
after 338, births and refill in 14 of 50 runs. At t = 10 the first two are near the level of 500 independent draws,
MMD² 0.0024 and 0.0023 beside 0.0020. All samplers lag behind mu_t (certified, L1 error below 2e-5): at t = 4 its mean
has a squared distance of 0.10 from that of pi, SMC-WFR 1.0, birth-death 1.7, a weighted SDE with a kernel 4.1. With
the true density in place of the kernel, and reaction every tenth step, it is 1.8, and 1.2 at t = 10: weights add noise
of their own. Leaving out the self term of SMC-WFR helps: 237 iterations (8 seeds).

Bias of ULA: gamma V'' = 1 across the components doubles their thin variance, 1.9 to 2.0 times that of pi for SMC-WFR,
birth-death and ULA, 0.97 with MALA. Mean and MMD² hardly see it: it is 2.6e-5 in MMD², beside 1.8e-3 of 500 draws, and
1.1e-4 in the squared error of the covariance, beside 0.12. With gamma/4 (4 seeds) the samplers are equally fast up to
noise: 322 iterations of 0.01 for SMC-WFR, 318 for birth-death, so that part of the lead is that of large steps.

Figure: (a) errors of the mean and (c) MMD² over time with bands of two standard errors; (b) ratios of errors with
intervals; below, particles of the first seed at the end over ellipses that hold 95 % of each component.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import diagnostics, metrics, plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(seeds=4, few_seeds=1, fine_seeds=0, t_end=3.0, rtol=0.0, compared=0)
CHECKS = {
    "orders_highest": (1.0, 0.75),  # log10 of the highest end of an interval of birth-death / SMC-WFR: below 2
    "orders_lowest": (-0.1, 0.2),  # and of the lowest
    "orders_mean_refill": (1.5, 1.2),  # 2.4 in the full run, 0.5 at t = 3 in the quick one
    "orders_covariance_refill_to_birth_death_low": (1.1, 1.0),  # surely worse than birth-death, at the end of any run
    "thickness_ula": (2.0, 0.25),  # 1/(1 - gamma V''/2); two standard deviations of one run of 500
    "thickness_mala": (1.0, 0.13),
    "ula_mmd2": (2.6e-5, 1e-6),  # against 1.8e-3 of independent draws
    "closed_form_off": (0.0, 1e-9),  # MMD² in closed form against metrics.MMD, relative
}

N, STEP, BANDWIDTH = 500, 0.01, 0.1  # particles, gamma, and standard deviation of the kernel
FINE = 0.0025  # a smaller gamma
REACHED = 0.05  # MMD² below which the mode search is over
THIN = np.array([1, 1, 0, 0])  # axis along which the variance of a component is 0.01
DRAWS = "independent draws"
TARGET = wfr.FourModes()
START = TARGET.component(0)
RESAMPLES = 2000
COMPARED = (2.0, 4.0, 6.0, 10.0)


@dataclass(frozen=True)
class Refill(samplers.Sampler):
    """Births twice over and a population filled up with uniform draws: no particle dies of its own rate.

    With probability 1 - exp(-|Λ_i| dt), Λ_i < 0 as in `BirthDeath`, particle i has two places in the next population;
    all other places are filled with draws from the whole population, uniform and with replacement. That is
    d_t mu = 2 rate mu (Λ^- - E Λ^-), and a bootstrap of the population at every step, whatever dt is.
    """

    rate: float = 1.0
    bandwidth: float = BANDWIDTH

    def build_step(self, energy, template, dt):
        target, density = energy.equilibrium, samplers.KernelDensity(self.bandwidth)

        def step(state, rng):
            n = len(state.positions)
            g = density(state, target, 0.0)
            chance = -np.expm1(np.minimum(self.rate * dt * (g - g.mean()), 0))
            born = np.flatnonzero(rng.random(n) < chance)
            twice = np.concatenate([born, born])
            if len(twice) > n:
                return state.resampled(rng.choice(twice, n))
            return state.resampled(np.concatenate([twice, rng.integers(n, size=n - len(twice))]))

        return step


def methods(truth):
    """Name -> (flow, step, which knob says how many seeds)."""
    langevin, kernel = samplers.Langevin(), samplers.KernelDensity(BANDWIDTH)
    smc = samplers.SMCWFR(scheme="stratified")
    birth_death = wfr.Lie(langevin, samplers.BirthDeath(bandwidth=BANDWIDTH))
    found = {
        "SMC-WFR": (smc, STEP, "seeds"),
        "birth-death": (birth_death, STEP, "seeds"),
        "births and refill": (wfr.Lie(langevin, Refill()), STEP, "seeds"),
        "SMC-WFR, no self term": (samplers.SMCWFR(self_term=False, scheme="stratified"), STEP, "few"),
        "birth-death, energy": (
            wfr.Lie(langevin, samplers.BirthDeath(bandwidth=BANDWIDTH, variant="energy")), STEP, "few",
        ),
        "birth-death, MALA": (wfr.Lie(samplers.MALA(), samplers.BirthDeath(bandwidth=BANDWIDTH)), STEP, "few"),
        "weighted SDE": (weighted(kernel), STEP, "few"),
        "ULA": (langevin, STEP, "few"),
        "SMC-WFR, γ/4": (smc, FINE, "fine"),
        "birth-death, γ/4": (birth_death, FINE, "fine"),
    }  # fmt: skip
    if truth is not None:
        oracle = samplers.FeynmanKac(density=samplers.Oracle(wfr.Trajectory(truth, TARGET)))
        flow = wfr.Lie(wfr.Lie(wfr.Repeated(langevin, 10), oracle), samplers.Resample(0.5))
        found["weighted SDE, true density"] = (flow, 10 * STEP, "few")
    return found


def weighted(density):
    """Langevin, weights, and resampling where the effective sample size is below half."""
    return wfr.Lie(wfr.Lie(samplers.Langevin(), samplers.FeynmanKac(density=density)), samplers.Resample(0.5))


def smoothed(x, means, variances):
    """Mean (n, k) over N(m_k, diag v_k) of the kernel exp(-|x - y|²)."""
    wide = 1 + 2 * variances
    return np.exp(-np.sum((x[:, None] - means) ** 2 / wide, axis=-1)) / np.sqrt(np.prod(wide, axis=-1))


VARIANCES = np.diagonal(TARGET.covariances, axis1=1, axis2=2)


def kernel_mean(x, variances):
    """Mean of the kernel exp(-|x - y|²) over the components of the target, with other variances; (n, component)."""
    wide = 1 + 2 * variances
    return np.exp(-np.sum((x[:, None] - TARGET.means) ** 2 / wide, axis=-1)) / np.sqrt(np.prod(wide, axis=-1))


def between_laws(first, second):
    """E k(X, Y) of two mixtures of Gaussians at the target's means, with variances (component, axis)."""
    return np.mean([kernel_mean(mean[None], v + second) for mean, v in zip(TARGET.means, first, strict=True)])


OWN = between_laws(VARIANCES, VARIANCES)


def mmd_squared(state, energy=None):
    """MMD² of particles and the target, in closed form."""
    x, w = state.positions, state.weights
    square = np.sum(x**2, axis=1)
    pairs = np.exp(-np.maximum(square[:, None] + square - 2 * x @ x.T, 0))
    return w @ pairs @ w - 2 * w @ kernel_mean(x, VARIANCES).mean(axis=1) + OWN


def thickness(state, energy=None):
    """Variance along the thin axes about the nearest component, over that of the target."""
    x, w = state.positions, state.weights
    off = (x[:, None] - TARGET.means) / np.sqrt(VARIANCES)
    nearest = np.argmin(np.sum(off**2, axis=-1), axis=1)
    return w @ off[np.arange(len(x)), nearest, THIN[nearest]] ** 2


RECORDS = {
    "mean": diagnostics.mean,
    "covariance": diagnostics.covariance,
    "masses": diagnostics.mode_masses(TARGET.means),
    "mmd2": mmd_squared,
    "thickness": thickness,
}
MEAN = TARGET.means.mean(axis=0)
COVARIANCE = np.diag(VARIANCES.mean(axis=0)) + np.cov(TARGET.means.T, bias=True)


def simulated(flow, step, numbers, t, kept):
    """Runs from the same draws of the start for every method, along `seed`."""
    runs = [wfr.solve(TARGET, flow, START.sample(N, rng=k), t, step, rng=k, record=RECORDS, keep=kept) for k in numbers]
    return xr.concat([run.drop_attrs() for run in runs], "seed", join="override")


def squared_errors(ds, mean, covariance):
    """Squared errors of mean and covariance (seed, t)."""
    of_mean = np.sum((ds["mean"].values - mean) ** 2, axis=-1)
    return of_mean, np.sum((ds["covariance"].values - covariance) ** 2, axis=(-2, -1))


def iterations(t, mmd2, step):
    """Iterations after which MMD² has fallen to its level, linear between save times; NaN if it does not."""
    found = np.full(len(mmd2), np.nan)
    for seed, curve in enumerate(mmd2):
        below = np.flatnonzero(curve < REACHED)
        if len(below):
            k = below[0]
            now, before = curve[k], curve[max(k - 1, 0)]
            back = 0.0 if k == 0 else (REACHED - now) / (before - now) * (t[k] - t[k - 1])
            found[seed] = (t[k] - back) / step
    return found


def quotient(above, below, rng):
    """Ratio of the means over seeds, and the ends of its 95 % interval by bootstrap over seeds; (3, t)."""
    n = min(len(above), len(below))
    above, below = above[:n], below[:n]
    drawn = rng.integers(n, size=(RESAMPLES, n))
    ratios = above[drawn].mean(axis=1) / below[drawn].mean(axis=1)
    return np.stack([above.mean(axis=0) / below.mean(axis=0), *np.quantile(ratios, [0.025, 0.975], axis=0)])


TRUTH_TIMES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10)


def certified(t_end, rtol):
    """The certified solution."""
    times = [0.0, *(time for time in TRUTH_TIMES if time < t_end), t_end]
    return wfr.ground_truth(TARGET, START, times, rtol=rtol)


def independent(numbers, t):
    """Independent draws of the target in place of a run."""
    states = [wfr.Particles(TARGET.sample(N, rng=1000 + k)) for k in numbers]
    dims = {"mean": ("axis",), "covariance": ("axis", "axis_2"), "masses": ("mode",)}
    found = {
        name: (("seed", *dims.get(name, ())), np.array([record(state, None) for state in states]))
        for name, record in RECORDS.items()
    }
    drawn = xr.Dataset(found).expand_dims(t=t, axis=1)
    drawn["position"] = ("seed", "t_kept", "particle", "dim"), [[state.positions] for state in states]
    drawn["log_weight"] = ("seed", "t_kept", "particle"), [[state.log_weights] for state in states]
    return drawn


def last_states(ds):
    """The particles of every seed at the end."""
    return [
        wfr.Particles(*pair) for pair in zip(ds["position"].values[:, -1], ds["log_weight"].values[:, -1], strict=True)
    ]


def systematic(states):
    """MMD² of the law of a run and the target, without what is noise of a seed, and its standard error (jackknife).

    It is the mean over pairs of different seeds of the inner product of the errors of their kernel means.
    """
    n = len(states)
    inner = np.empty((n, n))
    away = [state.weights @ kernel_mean(state.positions, VARIANCES).mean(axis=1) for state in states]
    for i, one in enumerate(states):
        for j, other in enumerate(states[: i + 1]):
            apart = np.sum((one.positions[:, None] - other.positions) ** 2, axis=-1)
            inner[i, j] = inner[j, i] = one.weights @ np.exp(-apart) @ other.weights - away[i] - away[j] + OWN
    np.fill_diagonal(inner, 0)

    def mean(kept):
        return inner[np.ix_(kept, kept)].sum() / (len(kept) * (len(kept) - 1)) if len(kept) > 1 else np.nan

    without = np.array([mean(np.delete(np.arange(n), k)) for k in range(n)])
    return mean(np.arange(n)), np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))


def tabulated(runs, t, truth) -> xr.Dataset:
    """Errors of all methods, seeds and times, padded with NaN; against pi, and against mu_t where it is known."""
    path = None if truth is None else wfr.Trajectory(truth, TARGET)
    moments = None if path is None else (path.mean(t), path.covariance(t))
    names = ["mean_error", "covariance_error", "mmd2", "thickness"]
    names += [] if path is None else ["mean_error_mu", "covariance_error_mu"]
    most = max(run.sizes["seed"] for run in runs.values())
    values = np.full((len(names), len(runs), most, len(t)), np.nan)
    masses = np.full((len(runs), most, len(t), 4), np.nan)
    bias = np.full((3, len(runs)), np.nan)
    for k, run in enumerate(runs.values()):
        n = run.sizes["seed"]
        values[:2, k, :n] = squared_errors(run, MEAN, COVARIANCE)
        values[2:4, k, :n] = run["mmd2"], run["thickness"]
        if moments is not None:
            values[4:, k, :n] = squared_errors(run, *moments)
        masses[k, :n] = run["masses"]
        bias[:2, k] = systematic(last_states(run))
        bias[2, k] = run["mmd2"].values[:, -1].mean()
    dims = ("method", "seed", "t")
    ds = xr.Dataset({name: (dims, value) for name, value in zip(names, values, strict=True)})
    ds["masses"] = (*dims, "mode"), masses
    for name, value in zip(("systematic", "systematic_error", "mmd2_end"), bias, strict=True):
        ds[name] = "method", value
    return ds.assign_coords(method=list(runs), t=t)


PAIRS = {
    "birth-death / SMC-WFR": ("birth-death", "SMC-WFR"),
    "births and refill / SMC-WFR": ("births and refill", "SMC-WFR"),
    "births and refill / birth-death": ("births and refill", "birth-death"),
}


def ratios(ds) -> xr.Dataset:
    """Ratios of mean squared errors, with intervals: (error, pair, t)."""
    errors = [name for name in ds.data_vars if "_error" in name and ds[name].ndim == 3]
    rng = np.random.default_rng(0)
    found = np.empty((3, len(errors), len(PAIRS), ds.sizes["t"]))
    for i, error in enumerate(errors):
        for j, (above, below) in enumerate(PAIRS.values()):
            one, other = (ds[error].sel({"method": name}).dropna("seed", how="all").values for name in (above, below))
            found[:, i, j] = quotient(one, other, rng)
    dims = ("error", "pair", "t")
    values = {name: (dims, value) for name, value in zip(("ratio", "ratio_low", "ratio_high"), found, strict=True)}
    return xr.Dataset(values, {"error": errors, "pair": list(PAIRS)})


def distances(runs, truth, compared) -> xr.Dataset:
    """MMD and sliced Wasserstein distances to mu_t, beside their floor."""
    times = [time for time in COMPARED if time <= truth["t"].values[-1]]
    chosen = {
        name: [run.isel(seed=k) for k in range(min(compared, run.sizes["seed"]))]
        for name, run in runs.items() if name != DRAWS
    }  # fmt: skip
    names = [metrics.MMD(), metrics.SlicedWasserstein(32)]
    ds = wfr.compare(truth, chosen, names, t=times, floor_draws=8).squeeze("n", drop=True)
    wanted = ["mean", "low", "high", "floor", "equivalent_draws"]
    return ds[wanted].rename({name: f"to_mu_{name}" for name in wanted} | {"t": "t_mu"})


def run(seeds=50, few_seeds=8, fine_seeds=4, t_end=10.0, rtol=1e-2, compared=4):
    t = np.linspace(0, t_end, round(4 * t_end) + 1)
    kept = [0.0, *(time for time in COMPARED if time <= t_end)]
    kept += [] if t_end in kept else [t_end]
    truth = stored(certified, t_end, rtol) if rtol else None
    counts = {"seeds": seeds, "few": few_seeds, "fine": fine_seeds}
    runs = {}
    for name, (flow, dt, count) in methods(truth).items():
        if counts[count]:
            runs[name] = stored(simulated, flow, dt, range(counts[count]), t, kept)
    runs[DRAWS] = independent(range(seeds), t)
    ds = tabulated(runs, t, truth)
    ds = ds.merge(ratios(ds))
    reached = iterations(t, ds["mmd2"].values.reshape(-1, len(t)), STEP)
    ds["iterations"] = ("method", "seed"), reached.reshape(ds.sizes["method"], -1)
    if truth is not None:
        ds = ds.merge(distances(runs, truth, compared), join="outer")
        ds["truth_error"] = (), float(truth["error_l1"].max())
        path = wfr.Trajectory(truth, TARGET)
        ds["mean_of_mu"] = "t", np.sum((path.mean(t) - MEAN) ** 2, axis=-1)
        ds["covariance_of_mu"] = "t", np.sum((path.covariance(t) - COVARIANCE) ** 2, axis=(-2, -1))
    pictured = [name for name in PICTURED if name in runs]
    ds["position"] = (
        ("picture", "frame", "particle", "dim"),
        np.stack([runs[name]["position"].values[0, [1, -1]] for name in pictured]),
    )
    ds = ds.assign_coords(picture=pictured, frame=[kept[1], kept[-1]])
    for name, value in claims(ds, runs).items():
        ds[name] = (), float(value), {"units": "1"}
    for name, (words, units) in ATTRIBUTES.items():
        if name in ds.variables:
            ds[name].attrs = {"long_name": words, "units": units}
    ds.attrs = {}
    return ds


PICTURED = ("SMC-WFR", "birth-death", "births and refill", "ULA")
ATTRIBUTES = {
    "t": ("t", "1/β"),
    "mean_error": ("squared error of the mean, to pi", "length²"),
    "covariance_error": ("squared error of the covariance, to pi", "length⁴"),
    "mean_error_mu": ("squared error of the mean, to mu_t", "length²"),
    "covariance_error_mu": ("squared error of the covariance, to mu_t", "length⁴"),
    "mean_of_mu": ("squared distance of the means of mu_t and pi", "length²"),
    "covariance_of_mu": ("squared distance of the covariances of mu_t and pi", "length⁴"),
    "mmd2": ("MMD² to pi", "1"),
    "thickness": ("variance across a component, over that of pi", "1"),
    "masses": ("mass of the modes", "1"),
    "systematic": ("MMD² of the law of a run and pi", "1"),
    "systematic_error": ("standard error", "1"),
    "mmd2_end": ("mean of MMD² to pi at the end", "1"),
    "ratio": ("ratio of mean squared errors", "1"),
    "iterations": (f"iterations to MMD² < {REACHED:g}", "1"),
    "truth_error": ("bound of the L1 error of the truth", "1"),
    "position": ("place", "length"),
}


def claims(ds, runs) -> dict[str, float]:
    """The scalars that are checked."""
    late = ds.sel(t=slice(1, None)).sel(pair="birth-death / SMC-WFR")
    stretched = VARIANCES / (1 - STEP / (2 * VARIANCES))  # equilibrium of ULA, component by component
    particles = last_states(runs[DRAWS])[0]
    grid = wfr.Grid((-8, -6), (8, 16), (220, 300))
    off = metrics.MMD(squared=True)(grid.density(TARGET), particles) / mmd_squared(particles) - 1
    share = {name: float(ds["thickness"].isel(t=-1).sel({"method": name}).mean()) for name in ds["method"].values}
    ends = {}
    for error in ("mean", "covariance"):
        last = ds.isel(t=-1).sel(error=f"{error}_error")
        for key, pair in zip(("birth_death", "refill", "refill_to_birth_death"), PAIRS, strict=True):
            for end in ("", "_low", "_high"):
                ends[f"orders_{error}_{key}{end}"] = np.log10(last[f"ratio{end}"].sel(pair=pair))
    return ends | {
        "orders_highest": np.log10(late["ratio_high"].max()),
        "orders_lowest": np.log10(late["ratio_low"].min()),
        "thickness_ula": share["ULA"],
        "thickness_smc": share["SMC-WFR"],
        "thickness_birth_death": share["birth-death"],
        "thickness_mala": share["birth-death, MALA"],
        "ula_covariance": np.sum((stretched - VARIANCES).mean(axis=0) ** 2),
        "floor_covariance": float(ds["covariance_error"].sel({"method": DRAWS}).mean()),
        "ula_mmd2": between_laws(stretched, stretched) + OWN - 2 * between_laws(stretched, VARIANCES),
        "floor_mmd2": (1 - OWN) / N,
        "closed_form_off": abs(off),
    }


def figure(ds):
    looks = {
        "SMC-WFR": (plotting.BLUE, "-"),
        "birth-death": (plotting.VERMILION, "--"),
        "births and refill": (plotting.PURPLE, "-."),
        "weighted SDE": (plotting.GREEN, plotting.DASHES[4]),
        "ULA": ("0.35", ":"),
    }

    def draw_errors(ax, name, title):
        for method, (colour, dash) in looks.items():
            one = ds[name].sel({"method": method}).dropna("seed", how="all")
            middle, noise = one.mean("seed"), one.std("seed", ddof=1) / np.sqrt(one.sizes["seed"])
            ax.semilogy(one["t"], middle, color=colour, linestyle=dash, label=method)
            if one.sizes["seed"] > 4:
                low = np.maximum(middle - 2 * noise, 0.1 * middle)
                ax.fill_between(one["t"], low, middle + 2 * noise, color=colour, alpha=0.2, linewidth=0)
        floor = float(ds[name].sel({"method": DRAWS}).mean())
        ax.axhline(floor, color="0.5", linewidth=0.8, linestyle="-", label=f"{N} independent draws")
        if name == "mean_error" and "mean_of_mu" in ds:
            known = ds["mean_of_mu"].where(ds["mean_of_mu"] > 1e-3)
            ax.semilogy(ds["t"], known, color="black", linewidth=1, label="certified μₜ")
        ax.set(xlabel=plotting.label(ds["t"]), ylabel=plotting.label(ds[name]), xlim=(0, None))
        ax.set_title(title)

    def draw_ratios(ax):
        for pair, method in (("birth-death / SMC-WFR", "birth-death"), ("births and refill / SMC-WFR", PICTURED[2])):
            for error, dash in (("mean_error", "-"), ("covariance_error", "--")):
                one = ds.sel(pair=pair, error=error)
                colour = looks[method][0]
                ax.semilogy(
                    one["t"], one["ratio"], color=colour, linestyle=dash, label=f"{method}, {error.split('_')[0]}"
                )
                ax.fill_between(one["t"], one["ratio_low"], one["ratio_high"], color=colour, alpha=0.15, linewidth=0)
        ax.axhline(100, color="black", linewidth=0.8, linestyle=":")
        ax.axhline(1, color="black", linewidth=0.8, linestyle="-")
        ax.text(0.02, 110, "in print", va="bottom", fontsize=7, transform=ax.get_yaxis_transform())
        ax.set(xlabel=plotting.label(ds["t"]), ylabel="MSE over that of SMC-WFR", ylim=(0.005, 1000), xlim=(0, None))
        ax.legend(loc="lower left", fontsize=6.5, handlelength=2)
        ax.set_title("Ratio of errors, 95 %")

    def draw_particles(ax, method):
        points = ds["position"].sel(picture=method).isel(frame=-1)
        for mean, variances in zip(TARGET.means, VARIANCES, strict=True):
            angle = np.linspace(0, 2 * np.pi, 100)[:, None]
            edge = mean + 2.448 * np.sqrt(variances) * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
            ax.fill(*edge.T, color="0.82", linewidth=0)
        ax.plot(points[:, 0], points[:, 1], ".", color=looks[method][0], markersize=1.5)
        ax.set(xlim=(-4.6, 4.6), ylim=(0.2, 9.9), aspect="equal", xticks=[-3, 0, 3], yticks=[2, 5, 8])
        ax.set_title(f"{method}, t = {float(ds['frame'][-1]):g}", color=looks[method][0])
        ax.grid(False)

    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 5.4)
        top, bottom = fig.subfigures(2, 1, height_ratios=(1.35, 1))
        left, middle, right = top.subplots(1, 3)
        draw_errors(left, "mean_error", "Mean")
        draw_ratios(middle)
        draw_errors(right, "mmd2", "MMD²")
        right.axhline(REACHED, color="black", linewidth=0.6, linestyle=":")
        right.text(
            0.98, 1.05 * REACHED, f"level {REACHED:g}", ha="right", fontsize=7, transform=right.get_yaxis_transform()
        )
        handles, labels = left.get_legend_handles_labels()
        top.legend(handles, labels, loc="outside lower center", ncols=4)
        for ax, method in zip(bottom.subplots(1, 4, sharey=True), ds["picture"].values, strict=True):
            draw_particles(ax, str(method))
        bottom.supylabel("y (length)", fontsize=8)
        bottom.supxlabel("x (length); grey: 95 % of each mode", fontsize=8)
    return fig
