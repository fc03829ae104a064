"""DRAFT."""

import math
from functools import cache

import numpy as np
import xarray as xr

import wfr_pde as wfr
from wfr_pde import plotting, samplers
from wfr_pde.app.experiments.parts import stored

QUICK = dict(dimensions=(1, 8), numbers=(16, 256), most=256, seeds=4)
CHECKS = {}

T_END, DT, RTOL = 2.0, 0.1, 1e-3
APART = 2.0  # half the distance of the two modes, in standard deviations
WELL = wfr.Potential("2*(x**2/4 - 1)**2 - 0.27*x")  # wells near -2 and 2, a barrier of two nats, three quarters right
SHELL = 2.0  # V(r) = (r - SHELL)²/2
ERROR = 0.05  # of the probability: that whose number of particles is asked for
FEW, HIGH = 256, 8  # the number of particles and the dimension at which growth is claimed
TABLE = 4001  # places of g on a line
REPEATS = 400  # of drawing the seeds again
PROBLEMS = {"modes": "Two modes, one direction", "wells": "Wells in all directions", "shell": "Shell"}
METHODS = ("ula", "tempering", "oracle", "kernel", "smc", "birth_death")
PAIRWISE = ("kernel", "smc", "birth_death")  # in time N²


def direction(d) -> np.ndarray:
    """The unit vector in general position along which the modes lie."""
    u = np.random.default_rng(d).standard_normal(d)
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
    times = np.linspace(0, T_END, 1 + round(T_END / DT))
    return wfr.Trajectory(wfr.ground_truth(parts, start_of(d), times, rtol=RTOL, progress=False), parts)


def latent(problem, d, x) -> np.ndarray:
    """The coordinates (n, k) that the event and g depend on: along the modes, all, or the radius."""
    if problem == "wells":
        return x
    return (x @ direction(d) if problem == "modes" else np.linalg.norm(x, axis=-1))[..., None]


def line_of(problem, d, t) -> tuple[wfr.Density, float]:
    """The true law of one such coordinate at a time, and the sign of its axis."""
    law = truth_of(problem, d).at(t)
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


def sampler(method, problem, d) -> wfr.Flow:
    langevin, resample = samplers.Langevin(), samplers.Resample(0.5)
    if method == "ula":
        return langevin
    if method == "tempering":
        return samplers.Tempering(start_of(d))
    if method == "smc":
        return samplers.SMCWFR()
    if method == "birth_death":
        return wfr.Lie(langevin, samplers.BirthDeath())
    density = samplers.KernelDensity() if method == "kernel" else TrueRatio(problem, d)
    return wfr.Lie(wfr.Lie(langevin, samplers.FeynmanKac(density=density)), resample)


def squared_errors(problem, d, numbers, most, seeds, first_seed) -> xr.Dataset:
    """Squared errors of the probability, (method, n, seed), against the flow that the method follows."""
    target, start, bound = target_of(problem, d), start_of(d), boundary(problem, d)

    def shares(particles, energy=None) -> np.ndarray:
        return particles.weights @ (latent(problem, d, particles.positions) > bound)

    squares = np.full((len(METHODS), len(numbers), seeds), np.nan)
    for i, method in enumerate(METHODS):
        flow = sampler(method, problem, d)
        true = tempered_probability(problem, d) if method == "tempering" else probability(problem, d)
        for j, n in enumerate(numbers):
            if method in PAIRWISE and n > most:
                continue
            for k in range(seeds):
                seed = first_seed + k
                run = wfr.solve(
                    target, flow, start.sample(n, rng=seed), [0, T_END], DT, record={"share": shares}, keep="last",
                    rng=seed, progress=False,
                )  # fmt: skip
                squares[i, j, k] = np.mean((run["share"].values[-1] - true) ** 2)
    variables = {
        "square": (("method", "n", "seed"), squares),
        "probability": probability(problem, d),
        "tempered": tempered_probability(problem, d),
        "bound": float(truth_of(problem, d).error_l1(T_END)),
    }
    return xr.Dataset(variables)
