"""Samplers that estimate the density of particles fail beyond a few dimensions; with the true weights some do not.

Method: from N(0, I) to two modes in general position, four standard deviations apart, where d - 1 directions are in
equilibrium from the start; to double wells in all directions, with a barrier of two nats and unequal weights; and to
a shell, V = (|x| - 2)²/2. alpha = beta = 1, t = 2, steps of 0.1, d = 1 to 64, 16 to 2048 particles (512 where a step
takes N²), 10 seeds. All three problems split, so that `ground_truth` has their curves in every d, to 1e-4 in L1. The
error is that of the probability of one event: the heavier mode; the heavier well, root mean square over the
directions; a radius above its true mean. That is the same quantity in all d, and independent draws have the same
error in all d. Methods are held against the WFR flow; tempering against that of reaction alone, which it follows, in
closed form. N for an error of 0.05 is interpolated on logarithmic scales; 95 % intervals, in brackets, are by drawing
the seeds again.

Findings:

- SMC-WFR, the kernel and birth-death need 35 particles at most with modes and wells in one dimension, fewer than 80
  independent draws, and 60 to 195 in four. In eight, 512 are not enough in any problem, and the error falls as N^-0.33
  at best. With 256 particles it is 5.8 to 7.4 times that of one dimension. Infinitely many particles would not fail:
  their law is a product, and errs by 9e-4 (modes) and 1.1e-3 (wells) with SMC-WFR in every d. It is the estimate of g.
- So they become worse than no reaction. Langevin steps alone err by 0.09 to 0.11 with the modes and 0.13 with the
  wells, for all d and all N from 256 on; with 512 particles SMC-WFR and the kernel err by more from 16 dimensions on,
  in the shell all three from four (0.18 to 0.23 in eight, 0.41 to 0.45 in 64; Langevin 0.03 and 0.06).
- With the true g, two modes take 55 to 150 particles in all d, N ~ d^0.08 (-0.06 to 0.24). Where all directions move,
  exact weights fail, too, but later: the wells take 77, 133, 134 and 360 in 1, 2, 4 and 8 dimensions, N ~ e^(0.20 d)
  (0.12 to 0.29) or d^0.67 (0.40 to 1.06), which these four do not tell apart. 2048 leave 0.0504 in 16 and 0.14 in 64.
- Tempering grows slowly with modes, N ~ d^0.43 (0.18 to 0.57), and in the shell, d^0.29 (0.06 to 0.42): below 500 in 64
  dimensions. The wells take 69, 74 and 1240 in 1, 2 and 4 dimensions; in 8, 2048 leave 0.095. Metropolis moves are
  too few there: with 256 particles in 8 dimensions the error is 0.12 with one per step, 0.039 with five and 0.040 with
  twenty, where independent draws have 0.029.
- In the shell a step of 0.1 is too long in many dimensions: in 64 the probability is too large by 0.068 (Langevin) and
  0.082 (true g) with 2048 particles; with half the step by 0.029 and 0.040. So no N is enough there.

Figure: (a) to (c) errors over N in eight dimensions; (d) to (f) over d with 256 particles; (g) to (i) N for an error of
0.05, with 95 % intervals. A triangle at the top, in the colour of the method: not reached from this d on, by the most
particles tried; in (g) and (h) Langevin is never there. Grey: independent draws from the truth.
"""

import math
from functools import cache

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(dimensions=(1, 8), numbers=(16, 256), most=256, seeds=3)
CHECKS = {
    # doublings of the error from 1 to 8 dimensions, with 256 particles, mean of the three problems
    "growth_ula": (-0.45, 0.5),
    "growth_tempering": (0.6, 0.8),
    "growth_oracle": (0.2, 0.7),
    "growth_kernel": (2.9, 0.7),
    "growth_smc": (2.75, 0.7),
    "growth_birth_death": (3.0, 0.8),
    "langevin_modes": (0.1, 0.025),  # its error in 8 dimensions
    "langevin_wells": (0.137, 0.015),
    "reaching_in_one": (
        9.0,
        0.0,
    ),  # of three methods and three problems, those whose error is below 0.05 in one dimension
    "failing_in_many": (9.0, 0.0),  # and above in the highest
    "gain_by_moves": (1.2, 0.8),  # halvings of the error of tempering by five moves in place of one, wells
    "tempered_difference": (0.0, 1e-7),  # of closed form and certified solution
    "oracle_difference": (0.0, 1e-5),  # of the table of g and `Oracle`, in nats
    "limit_modes": (0.0009, 1e-4),  # error of SMC-WFR with infinitely many particles
    "limit_wells": (0.0011, 1e-4),
    "truth_bound": (5e-4, 5e-4),  # on the L1 error of the truth
}

T_END, DT, RTOL = 2.0, 0.1, 1e-3
APART = 2.0  # half the distance of the two modes, in standard deviations
WELL = wfr.Potential("2*(x**2/4 - 1)**2 - 0.27*x")  # wells near -2 and 2, a barrier of two nats, three quarters right
SHELL = 2.0  # V(r) = (r - SHELL)²/2
ERROR = 0.05  # of the probability: that whose number of particles is asked for
FEW, HIGH = 256, 8  # the number of particles and the dimension at which growth is claimed
MOVES = (1, 5, 20)  # Metropolis moves per step of tempering
TABLE = 4001  # places of g on a line
REPEATS = 400  # of drawing the seeds again
PROBLEMS = {"modes": "Two modes", "wells": "Wells", "shell": "Shell"}
METHODS = ("ula", "tempering", "oracle", "kernel", "smc", "birth_death")
PAIRWISE = ("kernel", "smc", "birth_death")  # in time N²


def direction(d) -> np.ndarray:
    """The unit vector in general position along which the modes lie."""
    u = np.random.default_rng([22, d]).standard_normal(d)  # other numbers than those of the particles
    return u / math.sqrt(u @ u)


def start_of(d) -> wfr.Gaussian:
    return wfr.Gaussian(np.zeros(d), 1.0)


@cache
def target_of(problem, d) -> wfr.Target:
    if problem == "modes":
        return wfr.GaussianMixture(APART * np.outer([-1, 1], direction(d)), [0.25, 0.75], 1.0)
    return wfr.Product([WELL] * d) if problem == "wells" else wfr.Radial(f"(x - {SHELL:g})**2/2", d)


@cache
def truth_of(problem, d) -> wfr.Trajectory:
    """The exact curve, by factors."""
    parts = wfr.Product.of(target_of(problem, d))
    times = np.linspace(0, T_END, 1 + round(T_END / DT) * (4 if problem == "shell" else 2))  # the middles of steps, too
    return wfr.Trajectory(wfr.ground_truth(parts, start_of(d), times, rtol=RTOL, progress=False), parts)


def latent(problem, d, x) -> np.ndarray:
    """The coordinates (n, k) that the event and g depend on: along the modes, all, or the radius."""
    if problem == "wells":
        return x
    return (x @ direction(d) if problem == "modes" else np.linalg.norm(x, axis=-1))[..., None]


def line_of(problem, d, t) -> tuple[wfr.Density, float]:
    """The true law of one such coordinate at a time, and the sign of its axis."""
    truth = truth_of(problem, d)
    law = truth.at(truth.times[np.argmin(abs(truth.times - t))])  # all times asked for are among them
    factor = law.factors[0]
    if problem == "shell":
        return factor.density, 1.0
    return factor, 1.0 if problem == "wells" else float(np.sign(law.rotation[:, 0] @ direction(d)))


def log_target(problem, d, y) -> np.ndarray:
    """log pi of one such coordinate, up to a constant."""
    one = wfr.Product.of(target_of(problem, d)).factors[0]
    return (one.radius if problem == "shell" else one).log_density(y[:, None])


@cache
def boundary(problem, d) -> float:
    """Where the event begins: at zero, or at the mean of the radius at the end."""
    return float(line_of(problem, d, T_END)[0].mean()[0]) if problem == "shell" else 0.0


def share_above(bound, log_density, lower, upper) -> float:
    """The share of a mass above a bound, by Gauss's rule on both sides."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    sides = []
    for edge in (lower, upper):
        half = (edge - bound) / 2
        sides.append(abs(half) * (weights @ np.exp(log_density(bound + half * (1 + nodes)))))
    return float(sides[1] / sum(sides))


@cache
def probability(problem, d) -> float:
    """The true probability of the event at the end."""
    density, sign = line_of(problem, d, T_END)
    lower, upper = sorted(sign * density.grid.axes[0].edges[[0, -1]])
    return share_above(boundary(problem, d), lambda y: density.log_prob(sign * y[:, None]), lower, upper)


@cache
def tempered_probability(problem, d) -> float:
    """The same of the flow by reaction alone, mu_0^(exp(-T)) pi^(1 - exp(-T))."""
    left, sign = math.exp(-T_END), line_of(problem, d, T_END)[1]

    def log_density(y):
        start = -(y**2) / 2 + ((d - 1) * np.log(y) if problem == "shell" else 0.0)
        return left * start + (1 - left) * log_target(problem, d, sign * y)

    middle = boundary(problem, d)
    lower = max(middle - 12, 0.0) if problem == "shell" else -12.0
    return share_above(middle, log_density, lower, middle + 12)


@cache
def table_of(problem, d, t) -> tuple[np.ndarray, np.ndarray]:
    """True g on a line at a time."""
    density, sign = line_of(problem, d, t)
    centres = density.grid.axes[0].centres
    y = np.linspace(centres[0], centres[-1], TABLE)
    g = density.log_prob(y[:, None]) - log_target(problem, d, y)
    return (y, g) if sign > 0 else (-y[::-1], g[::-1])


class TrueRatio(samplers.LogRatio):
    """True g, the same as that of `Oracle(truth)` for the whole: a sum over what `latent` returns, from one table."""

    is_exact = True

    def __init__(self, problem, d):
        self.problem, self.d = problem, d

    def __repr__(self) -> str:
        return f"TrueRatio({self.problem!r}, {self.d})"

    def __call__(self, state, target, t) -> np.ndarray:
        y = latent(self.problem, self.d, state.positions)
        return np.interp(y, *table_of(self.problem, self.d, round(t, 9))).sum(axis=-1)


def distance_from_oracle(problem, d) -> float:
    """The largest difference of `TrueRatio` from `Oracle` at draws from the start, in the middle of the run."""
    state, target, t = wfr.Particles(start_of(d).sample(100, rng=0)), target_of(problem, d), T_END / 2
    difference = TrueRatio(problem, d)(state, target, t) - samplers.Oracle(truth_of(problem, d))(state, target, t)
    return float(np.ptp(difference))


def sampler(method, problem, d, moves=1) -> wfr.Flow:
    langevin, resample = samplers.Langevin(), samplers.Resample(0.5)
    if method == "ula":
        return langevin
    if method == "tempering":
        return samplers.Tempering(start_of(d), moves=moves)
    if method == "smc":
        return samplers.SMCWFR()
    if method == "birth_death":
        return wfr.Lie(langevin, samplers.BirthDeath())
    density = samplers.KernelDensity() if method == "kernel" else TrueRatio(problem, d)
    return wfr.Lie(wfr.Lie(langevin, samplers.FeynmanKac(density=density)), resample)


def shares(problem, d, method, n, seed, **options) -> np.ndarray:
    """Weighted shares of the particles in the event at the end, of `wells` in that of each coordinate."""
    bound, start, dt = boundary(problem, d), start_of(d), options.pop("dt", DT)

    def record(particles, energy=None) -> np.ndarray:
        return particles.weights @ (latent(problem, d, particles.positions) > bound)

    run = wfr.solve(
        target_of(problem, d), sampler(method, problem, d, **options), start.sample(n, rng=seed), [0, T_END], dt,
        record={"share": record}, keep="last", rng=seed, progress=False,
    )  # fmt: skip
    return run["share"].values[-1]


def squared_errors(problem, d, numbers, most, seeds) -> xr.Dataset:
    """Squared errors of the probability, (method, n, seed), against the flow that the method follows."""
    squares = np.full((len(METHODS), len(numbers), seeds), np.nan)
    for i, method in enumerate(METHODS):
        true = tempered_probability(problem, d) if method == "tempering" else probability(problem, d)
        for j, n in enumerate(numbers):
            if method in PAIRWISE and n > most:
                continue
            for seed in range(seeds):
                squares[i, j, seed] = np.mean((shares(problem, d, method, n, seed) - true) ** 2)
    variables = {
        "square": (("way", "n", "seed"), squares),
        "probability": probability(problem, d),
        "tempered": tempered_probability(problem, d),
        "bound": float(truth_of(problem, d).error_l1(T_END)),
    }
    return xr.Dataset(variables)


def steps_on_the_shell(d, n, seeds) -> xr.Dataset:
    """Mean errors in the shell with steps of DT and of half of it, of Langevin and of the true g."""
    names, steps = ("ula", "oracle"), (DT, DT / 2)
    runs = [[[shares("shell", d, m, n, seed, dt=dt)[0] for seed in range(seeds)] for dt in steps] for m in names]
    errors = np.array(runs) - probability("shell", d)
    variables = {
        "step_bias": (("stepped", "dt"), errors.mean(axis=2)),
        "step_bias_error": (("stepped", "dt"), errors.std(axis=2, ddof=1) / math.sqrt(seeds)),
    }
    return xr.Dataset(variables, {"stepped": list(names), "dt": list(steps)})


def moves_of_tempering(d, n, seeds) -> xr.Dataset:
    """Errors of tempering with the wells, by its number of Metropolis moves per step."""
    runs = [[shares("wells", d, "tempering", n, seed, moves=moves) for seed in range(seeds)] for moves in MOVES]
    errors = np.array(runs) - tempered_probability("wells", d)
    return xr.Dataset({"moves_error": ("moves", np.sqrt((errors**2).mean(axis=(1, 2))))}, {"moves": list(MOVES)})


def limit_of_smc(problem) -> float:
    """The error of SMC-WFR with infinitely many particles, the same in all dimensions, as its law is a product."""
    one = wfr.Product.of(target_of(problem, 1)).factors[0]
    grid = wfr.Grid(-9, 9, 400)
    sign = line_of(problem, 1, T_END)[1]
    times = [0, T_END]
    law = wfr.solve(
        one, samplers.SMCWFR(), grid.density(wfr.Gaussian(0.0, 1.0)), times, DT, keep="last", progress=False
    )
    density = wfr.Density.from_dataset(law)
    above = share_above(0.0, lambda y: density.log_prob(sign * y[:, None]), -9.0, 9.0)
    return abs(above - probability(problem, 1))


def certified_difference() -> float:
    """How far the closed form of the flow by reaction alone is from the certified one, for one well."""
    flow = wfr.ground_truth(WELL, start_of(1), [0.0, T_END], transport_rate=0.0, rtol=RTOL, progress=False)
    density = wfr.Trajectory(flow, WELL).at(T_END)
    share = share_above(0.0, lambda y: density.log_prob(y[:, None]), *density.grid.axes[0].edges[[0, -1]])
    return abs(share - tempered_probability("wells", 1))


def number_needed(numbers, squares) -> float:
    """The number from which on the root of the mean squares (n,) is below ERROR: log-log, NaN where it is not."""
    known = np.isfinite(squares)
    x, y = np.log(numbers)[known], np.log(squares[known]) - 2 * math.log(ERROR)
    above = np.flatnonzero(y > 0)
    if len(above) == 0:
        return float(numbers[0])
    k = above[-1]
    if k == len(y) - 1:
        return math.nan
    return float(np.exp(x[k] + (x[k + 1] - x[k]) * y[k] / (y[k] - y[k + 1])))


def fits(dimensions, needed) -> np.ndarray:
    """Slopes of log N over log d and of log N over d, where N is known; NaN if that is in fewer than three."""
    known = np.isfinite(needed)
    if known.sum() < 3:
        return np.full(2, math.nan)
    d, logs = np.array(dimensions, dtype=float)[known], np.log(needed[known])
    return np.array([np.polyfit(x, logs, 1)[0] for x in (np.log(d), d)])


def scaling(dimensions, numbers, squares) -> xr.Dataset:
    """Numbers needed over d, and their exponents, with 95 % intervals by drawing seeds again; squares (d, n, seed)."""
    rng, seeds = np.random.default_rng(0), squares.shape[-1]
    needed = np.array([number_needed(numbers, one.mean(axis=-1)) for one in squares])
    ranges, slopes = [], []
    for _ in range(REPEATS):
        again = squares[..., rng.integers(seeds, size=seeds)].mean(axis=-1)
        found = np.array([number_needed(numbers, one) for one in again])
        most = numbers[np.isfinite(again[0]).sum() - 1]
        found = np.where(np.isnan(found) & np.isfinite(needed), most, found)
        ranges.append(found)
        slopes.append(fits(dimensions, np.where(np.isfinite(needed), found, math.nan)))
    quantiles = np.where(np.isfinite(needed), np.quantile(ranges, [0.025, 0.975], axis=0), math.nan)
    variables = {
        "needed": ("d", needed),
        "needed_range": (("end", "d"), quantiles),
        "exponent": ("kind", fits(dimensions, needed)),
        "exponent_range": (("end", "kind"), np.quantile(slopes, [0.025, 0.975], axis=0)),
    }
    return xr.Dataset(variables, {"d": list(dimensions), "kind": ["log d", "d"], "end": ["low", "high"]})


ATTRIBUTES = {
    "d": ("dimension", "1"),
    "n": ("number of particles N", "1"),
    "error": ("root mean square error of the probability", "1"),
    "needed": ("N for an error of 0.05", "1"),
    "probability": ("true probability", "1"),
}


def run(dimensions=(1, 2, 4, 8, 16, 32, 64), numbers=(16, 64, 256, 512, 2048), most=512, seeds=10):
    """`most`: the largest number of particles of methods whose steps take time N²."""
    if not {1, HIGH} <= set(dimensions) or FEW not in numbers or most not in numbers or most < FEW or seeds < 3:
        raise ValueError(
            f"claims are about 1 and {HIGH} dimensions, {FEW} particles and `most` of them, {FEW} or more, and need "
            f"three seeds: got dimensions={dimensions}, numbers={numbers}, most={most}, seeds={seeds}"
        )
    parts = [
        [stored(squared_errors, problem, d, tuple(numbers), most, seeds) for d in dimensions] for problem in PROBLEMS
    ]
    ds = xr.concat([xr.concat(row, "d") for row in parts], "problem")
    coordinates = {"problem": list(PROBLEMS), "d": list(dimensions), "way": list(METHODS), "n": list(numbers)}
    ds = ds.assign_coords(coordinates)
    ds["error"] = np.sqrt(ds["square"].mean("seed", skipna=False))
    rows = [
        xr.concat([scaling(dimensions, numbers, ds["square"].sel(problem=p, way=m).values) for m in METHODS], "way")
        for p in PROBLEMS
    ]
    ds = ds.merge(xr.concat(rows, "problem").assign_coords(problem=list(PROBLEMS), way=list(METHODS)))
    ds = ds.merge(stored(steps_on_the_shell, max(dimensions), max(numbers), min(seeds, 5)))
    ds = ds.merge(stored(moves_of_tempering, HIGH, FEW, seeds))
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in claimed(ds, most).items():
        ds[name] = (), value, {"units": "1"}
    return ds


def claimed(ds, most) -> dict[str, float]:
    """The numbers that are claimed."""
    few = ds["error"].sel(n=FEW)
    last = ds["error"].sel(n=most)
    growth = np.log2(few.sel(d=HIGH) / few.sel(d=1)).mean("problem")
    scalars = {f"growth_{method}": float(growth.sel({"way": method})) for method in METHODS}
    scalars |= {f"langevin_{p}": float(few.sel(problem=p, d=HIGH, way="ula")) for p in ("modes", "wells")}
    pairwise = last.sel({"way": list(PAIRWISE)})
    scalars["failing_in_many"] = float((pairwise.isel(d=-1) > ERROR).sum())
    scalars["reaching_in_one"] = float((pairwise.sel(d=1) < ERROR).sum())
    moved = ds["moves_error"].values
    scalars["gain_by_moves"] = float(np.log2(moved[0] / moved[1]))
    scalars["tempered_difference"] = certified_difference()
    scalars["oracle_difference"] = max(distance_from_oracle(p, HIGH) for p in PROBLEMS)
    scalars |= {f"limit_{p}": limit_of_smc(p) for p in ("modes", "wells")}
    scalars["truth_bound"] = float(ds["bound"].max())
    return scalars


ERRORS, NUMBERS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4), (20, 50, 100, 200, 500, 1000, 2000)  # ticks
LOOKS = {
    "ula": ("Langevin", "0.45", "--", "x"),
    "tempering": ("tempering", "black", "-", "v"),
    "oracle": ("weighted, true g", plotting.PURPLE, ":", "D"),
    "kernel": ("weighted, kernel", plotting.GREEN, "-.", "^"),
    "smc": ("SMC-WFR", plotting.BLUE, "-", "o"),
    "birth_death": ("birth–death", plotting.VERMILION, "--", "s"),
}


def look(method) -> dict:
    words, colour, dashes, marker = LOOKS[method]
    return dict(label=words, color=colour, linestyle=dashes, marker=marker, linewidth=1.1, markersize=3.6)


def draw_needed(ax, ds):
    """Numbers over the dimension; an open triangle at the most particles where the error is not reached any more."""
    for place, method in enumerate(METHODS):
        one = ds.sel({"way": method})
        needed, (low, high) = one["needed"], one["needed_range"].values
        shown = np.isfinite(needed.values)
        shift = 1.04 ** (place - 2.5)
        if shown.any():
            bars = np.abs(np.array([low, high]) - needed.values)[:, shown]
            ax.errorbar(ds["d"].values[shown] * shift, needed.values[shown], bars, capsize=1.5, **look(method))
        if not shown.all() and (shown.any() or method != "ula"):
            first = ds["d"].values[np.flatnonzero(~shown)[0]]
            most = ds["n"].values[np.isfinite(one["error"].values[0])][-1]
            ax.plot(first * shift**3, most * 1.25, "^", color=LOOKS[method][1], markerfacecolor="white", markersize=5)
    p = ds["probability"]
    ax.plot(ds["d"], p * (1 - p) / ERROR**2, color="0.6", linewidth=2.5, zorder=0, label="independent draws")


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 6.6)
        panels = fig.subplots(3, 3, sharey="row")
        draws = np.sqrt(ds["probability"] * (1 - ds["probability"]) / ds["n"])
        for column, problem in enumerate(PROBLEMS):
            one, true = ds.sel(problem=problem), draws.sel(problem=problem)
            for method in METHODS:
                curve = one["error"].sel({"way": method})
                panels[0, column].loglog(ds["n"], curve.sel(d=HIGH), **look(method))
                panels[1, column].loglog(ds["d"], curve.sel(n=FEW), **look(method))
            panels[0, column].plot(ds["n"], true.sel(d=HIGH), color="0.6", linewidth=2.5, zorder=0)
            panels[1, column].plot(ds["d"], true.sel(n=FEW), color="0.6", linewidth=2.5, zorder=0)
            draw_needed(panels[2, column], one)
            panels[0, column].set_title(f"{PROBLEMS[problem]}, d = {HIGH}")
            panels[1, column].set_title(f"{PROBLEMS[problem]}, N = {FEW}")
            panels[2, column].set_title(f"{PROBLEMS[problem]}, error {ERROR:g}")
            panels[2, column].set(xscale="log", yscale="log")
            panels[0, column].set(xlabel="number of particles N", xticks=ds["n"], xticklabels=ds["n"].values)
            for ax in panels[1:, column]:
                ax.set(xlabel="dimension d", xticks=ds["d"], xticklabels=ds["d"].values)
            for ax in panels[:, column]:
                ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        for row, ticks in zip(panels, (ERRORS, ERRORS, NUMBERS), strict=True):
            row[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            row[0].minorticks_off()
            row[0].set(ylabel="RMS error of the probability" if ticks is ERRORS else "number of particles N")
        handles, words = panels[2, 0].get_legend_handles_labels()
        known = dict(zip(words, handles, strict=True))
        first, words = panels[0, 0].get_legend_handles_labels()
        fig.legend(
            [*first, known["independent draws"]], [*words, "independent draws"], loc="outside upper center", ncols=4
        )
    return fig
