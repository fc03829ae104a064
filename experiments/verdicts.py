"""Power curves of `validate`: planted faults are caught once they are as large as it says it resolves.

Method: nine samplers with one fault each, in strengths from 0, where they are correct, to 1: two modes on the line,
times 0.5 and 1, a joint level of 5 %. What is wrong, the step and the numbers of particles and of runs are in
`FAULTS`. The size of a fault is its largest deviation, in standard deviations of a statistic or in what `validate`
says it resolves.

Findings:

- At full strength each of the six faults is called inconsistent in all of 12 trials, and so it is at every strength
  at which its effect is at least what `validate` says it resolves. The smallest that is always caught: MALA's
  correction counted 7/8 in place of one, with an effect of 0.05 standard deviations.
- Of 108 verdicts on nine correct samplers 5 are inconsistent, at a level of 5 %. They are called consistent where 20
  runs tell that much, Langevin and MALA on the line; for most others the verdict is that there is not enough power
  for it.

Figure: (a) share of trials in which a fault is caught, by its strength; (b) by its size over what `validate` says it
resolves; (c) shares of the verdicts on correct samplers, with 95 % intervals of the share that is accused.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.ticker import NullFormatter
from scipy.stats import beta

import wfr_pde as wfr
from wfr_pde import plotting, samplers
from wfr_pde.app.experiments.parts import stored
from wfr_pde.samplers.birth_death import survivors
from wfr_pde.samplers.resample import chosen
from wfr_pde.samplers.tempered_path import tempered_path
from wfr_pde.samplers.tempering import random_walk_move
from wfr_pde.validation.verdict import CONSISTENT, INCONSISTENT, NO_POWER
from wfr_pde.validation.verdicts import validate

QUICK = dict(
    faults=("noise off by √2", "MALA's correction reversed"), controls=("Langevin", "UnderdampedLangevin"), trials=2,
    strengths=(0.25, 1.0),
)  # fmt: skip
CHECKS = {
    "least_caught": (1.0, 0.05),  # of the trials of a fault at full strength
    "least_caught_resolved": (1.0, 0.1),  # of those whose effect is at least the resolution
    "false_alarms": (0.0, 0.05),
    "effect_noise": (0.30, 0.03),  # three standard errors of a quick run
    "effect_mala": (0.38, 0.03),
}

TARGET = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2])
START = wfr.Gaussian(-0.6, 0.25)
WIDE_START = wfr.Gaussian(0.0, 1.5)  # from where the reaction alone reaches both modes
TIMES = (0.5, 1.0)
PLANE = wfr.GaussianMixture([[-1.0, 0.0], [1.2, 0.3]], [0.4, 0.6], [[[0.3, 0.0], [0.0, 0.3]], [[0.3, 0.1], [0.1, 0.2]]])
PLANE_START = wfr.Gaussian([-0.6, 0.2], 0.25)
RATES = {"w": (1.0, 0.0), "fr": (0.0, 1.0), "wfr": (1.0, 1.0)}  # of transport and reaction
BANDWIDTH = 0.2


# Planted faults: each is the correct sampler at strength 0, and wrong in one way at strength 1


@dataclass(frozen=True)
class Times(samplers.LogRatio):
    """The estimate of another, times a factor: the reaction is as many times as fast, or has the wrong sign."""

    factor: float
    density: samplers.LogRatio

    def __call__(self, state, target, t):
        return self.factor * self.density(state, target, t)


@dataclass(frozen=True)
class QuietLangevin(samplers.Sampler):
    """Langevin with noise of the variance 2^(1 - strength) rate dt."""

    rate: float = 1.0
    strength: float = 1.0

    interacting = False

    def build_step(self, energy, template, dt):
        target, width = energy.equilibrium, math.sqrt(2 ** (1 - self.strength) * self.rate * dt)

        def step(state, rng):
            x = state.positions
            noise = width * rng.standard_normal(x.shape)
            return self.moved(state, x + self.rate * dt * target.score(x) + noise, None, state.auxiliary)

        return step


@dataclass(frozen=True)
class LateLangevin(samplers.Sampler):
    """Langevin with the score at, or on the way to, the place of the step before."""

    rate: float = 1.0
    strength: float = 1.0

    interacting = False

    def build_step(self, energy, template, dt):
        target, width = energy.equilibrium, math.sqrt(2 * self.rate * dt)

        def step(state, rng):
            x = state.positions
            before = x if state.auxiliary is None else state.auxiliary
            drift = self.rate * dt * target.score(x + self.strength * (before - x))
            return self.moved(state, x + drift + width * rng.standard_normal(x.shape), None, x)

        return step


@dataclass(frozen=True)
class AskewMALA(samplers.Sampler):
    """MALA whose correction for the asymmetric proposal counts 1 - 2 strength times: it has the wrong sign at 1."""

    rate: float = 1.0
    strength: float = 1.0

    interacting = False

    def build_step(self, energy, template, dt):
        target, h = energy.equilibrium, self.rate * dt

        def step(state, rng):
            x, noise = state.positions, rng.standard_normal(state.positions.shape)
            y = x + h * target.score(x) + math.sqrt(2 * h) * noise
            correction = np.sum(noise**2 / 2 - (x - y - h * target.score(y)) ** 2 / (4 * h), axis=1)
            log_ratio = target.log_density(y) - target.log_density(x) + (1 - 2 * self.strength) * correction
            accepted = np.log1p(-rng.random(len(x))) < log_ratio
            return self.moved(state, np.where(accepted[:, None], y, x), None, state.auxiliary)

        return step


@dataclass(frozen=True)
class ShortStrang(wfr.Flow):
    """Strang without its last outer half step, or with that shortened by a share."""

    outer: wfr.Flow
    inner: wfr.Flow
    strength: float = 1.0

    random = interacting = True
    measures = (wfr.Particles,)

    def make_step(self, energy, template, dt):
        half, full = self.outer.make_step(energy, template, dt / 2), self.inner.make_step(energy, template, dt)
        if self.strength == 1:
            return lambda state, t, rng=None: full(half(state, t, rng), t, rng)
        rest = self.outer.make_step(energy, template, dt / 2 * (1 - self.strength))
        return lambda state, t, rng=None: rest(full(half(state, t, rng), t, rng), t + dt / 2, rng)


@dataclass(frozen=True)
class ForgetfulResample(samplers.Sampler):
    """Draws by the weights to the power 1 - strength, and makes them equal all the same."""

    strength: float = 1.0

    rate = 1.0

    def build_step(self, energy, template, dt):
        def step(state, rng):
            weights = state.weights ** (1 - self.strength)
            return state.resampled(chosen(weights / weights.sum(), rng))

        return step


@dataclass(frozen=True)
class Immortal(samplers.Sampler):
    """Birth-death in which those chosen to die stay, in a share of the events."""

    rate: float = 1.0
    bandwidth: float = BANDWIDTH
    strength: float = 1.0

    def particle_step(self, energy, template, dt):
        density = samplers.KernelDensity(self.bandwidth)

        def step(state, t, rng):
            g = density(state, energy.equilibrium, t)
            expected = self.rate * dt * (g - g.mean())
            stays = rng.random(len(g)) < self.strength
            return state.resampled(survivors(np.where(stays & (expected > 0), 0.0, expected), rng))

        return step


@dataclass(frozen=True, eq=False)
class StaleTempering(samplers.Sampler):
    """Tempering that moves a share of the particles from where they were before they were resampled."""

    start: wfr.Target
    rate: float = 1.0
    scale: float = 0.2
    strength: float = 1.0

    def particle_step(self, energy, template, dt):
        path = tempered_path(self.start, energy, template, self.rate, 0.0, "Tempering")

        def step(state, t, rng):
            increment = -math.expm1(-self.rate * dt) * path.left(t)
            x = state.positions
            weighted = wfr.Particles(x, increment * path.log_ratio(x))
            drawn = weighted.resampled(chosen(weighted.weights, rng))
            stale = rng.random(len(x)) < self.strength
            places = np.where(stale[:, None], x, drawn.positions)
            return self.moved(drawn, random_walk_move(places, path.at(t + dt), self.scale, rng))

        return step


@dataclass(frozen=True, eq=False)
class Case:
    """A sampler to be validated: what it is at a strength of its fault, what it declares, and the numbers.

    Without a scheme the sampler declares itself. `held_to` names what a scheme without a law on the grid is held
    against, and the start: see `truth`.
    """

    name: str
    flow: Callable[[float], wfr.Flow]
    scheme: wfr.Flow | None
    held_to: str
    dt: float
    n: int = 500
    seeds: int = 20

    def judged(self, strength, rng) -> xr.Dataset:
        """A verdict, from runs that follow from `rng`."""
        target = PLANE if self.held_to.startswith("plane") else TARGET
        options = dict(dt=self.dt, n=self.n, seeds=self.seeds, scheme=self.scheme, rng=rng, t=TIMES)
        return validate(self.flow(strength), truth(self.held_to), target, **options)


@functools.lru_cache
def truth(name):
    """The W, FR or WFR flow, or pi: of two modes on the line or, with "plane" in front, in the plane."""
    if name == "pi":
        return wfr.Grid.covering(TARGET, shape=512).density(TARGET)
    alpha, reaction = RATES[name.split()[-1]]
    target, start = (PLANE, PLANE_START) if name.startswith("plane") else (TARGET, START if alpha else WIDE_START)
    options = dict(transport_rate=alpha, reaction_rate=reaction, rtol=1e-4, cross_check=False)
    return wfr.ground_truth(target, start, (0.0, *TIMES), **options)


def bounds(count, total, level=0.95) -> tuple[float, float]:
    """Lower and upper bound, each of a confidence `level`, of a probability (Clopper and Pearson 1934)."""
    low = beta.ppf(1 - level, count, total - count + 1) if count else 0.0
    return float(low), float(beta.ppf(level, count + 1, total - count) if count < total else 1.0)


KERNEL = samplers.KernelDensity(BANDWIDTH)


def birth_death(rate, density=None) -> wfr.Flow:
    """Langevin and births and deaths, `rate` times as fast."""
    reaction = samplers.BirthDeath(rate, BANDWIDTH) if density is None else samplers.BirthDeath(rate, density=density)
    return wfr.Strang(samplers.Langevin(), reaction)


def weighted(resample) -> wfr.Flow:
    """Langevin, weights by a kernel estimate, and resampling."""
    return wfr.Lie(wfr.Lie(samplers.Langevin(), samplers.FeynmanKac(density=KERNEL)), resample)


def tempering() -> wfr.Flow:
    return samplers.Tempering(WIDE_START, threshold=1.0, scale=0.2)


def without_last_half_step(strength) -> wfr.Flow:
    return ShortStrang(samplers.Langevin(), samplers.BirthDeath(1, BANDWIDTH), strength)


def without_kills(strength) -> wfr.Flow:
    return wfr.Strang(samplers.Langevin(), Immortal(3, strength=strength))


def without_weights(strength) -> wfr.Flow:
    return weighted(ForgetfulResample(strength))


FAULTS = [
    Case("noise off by √2", lambda s: QuietLangevin(strength=s), samplers.Langevin(), "w", 0.05),
    Case("score at the place before", lambda s: LateLangevin(strength=s), samplers.Langevin(), "w", 0.1),
    Case("MALA's correction reversed", lambda s: AskewMALA(strength=s), samplers.MALA(), "w", 0.1),
    Case("births and deaths swapped", lambda s: birth_death(1, Times(1 - 2 * s, KERNEL)), birth_death(1), "wfr", 0.1),
    Case("reaction 1.5 times", lambda s: birth_death(3, Times(1 + s / 2, KERNEL)), birth_death(3), "wfr", 0.1, 500, 40),
    Case("no last half step", without_last_half_step, birth_death(1), "wfr", 0.1, 500, 40),
    Case("kills never happen", without_kills, birth_death(3), "wfr", 0.1, 500, 40),
    Case("resampling drops weights", without_weights, weighted(samplers.Resample()), "wfr", 0.1),
    Case("un-resampled ones move", lambda s: StaleTempering(WIDE_START, strength=s), tempering(), "fr", 0.1, 500, 40),
]


def correct(name, flow, held_to, dt, n=500) -> Case:
    return Case(name, lambda strength: flow, None, held_to, dt, n)


CORRECT = [
    correct("Langevin", samplers.Langevin(), "w", 0.05),
    correct("MALA", samplers.MALA(), "w", 0.1),
    correct("MALA in the plane", samplers.MALA(), "plane w", 0.05),
    correct("UnderdampedLangevin", samplers.UnderdampedLangevin(), "pi", 0.1),
    correct("Tempering", tempering(), "fr", 0.1),
    correct("birth-death, Strang", birth_death(1), "wfr", 0.1),
    correct("birth-death, Lie, Scott", wfr.Lie(samplers.Langevin(), samplers.BirthDeath()), "wfr", 0.1),
    correct("weights, resampled", weighted(samplers.Resample(0.5)), "wfr", 0.1),
    correct("SMC-WFR", samplers.SMCWFR(), "wfr", 0.1),
]


SHOWN = (
    "noise off by √2",
    "score at the place before",
    "MALA's correction reversed",
    "births and deaths swapped",
    "resampling drops weights",
    "un-resampled ones move",
)
WORDS = (INCONSISTENT, CONSISTENT, NO_POWER)
FIRST = 5000  # seed of the first trial


def chosen_cases(cases, names) -> list[Case]:
    known = {case.name: case for case in cases}
    for name in names:
        if name not in known:
            raise ValueError(f"there is no {name!r}; known: {', '.join(known)}")
    return [known[name] for name in names]


def tried(case, strengths, trials) -> xr.Dataset:
    """Counts of the three verdicts; the largest effect, in standard deviations, and the largest in resolutions."""
    counts, effects, ratios = [], [], []
    for strength in strengths:
        verdicts = [case.judged(strength, FIRST + k) for k in range(trials)]
        counts.append([sum(ds.attrs["verdict"] == word for ds in verdicts) for word in WORDS])
        deviation = np.abs(np.mean([ds["deviation"].values for ds in verdicts], axis=0))
        resolution = np.mean([ds["resolution"].values for ds in verdicts], axis=0)
        effects.append(deviation.max())
        ratios.append((deviation / resolution).max())
    return xr.Dataset(
        {"count": (("strength", "verdict"), counts), "effect": ("strength", effects), "ratio": ("strength", ratios)}
    )


ATTRIBUTES = {
    "strength": ("strength of the fault", "1"),
    "fault": ("planted fault", "1"),
    "sampler": ("correct sampler", "1"),
    "caught": ("share called inconsistent", "1"),
    "low": ("lower end of the 95 % interval of the share", "1"),
    "high": ("upper end of the 95 % interval of the share", "1"),
    "effect": ("effect", "standard deviations"),
    "ratio": ("effect / resolution", "1"),
    "correct_share": ("share of verdicts", "1"),
}


def run(
    faults=SHOWN,
    controls=tuple(case.name for case in CORRECT),
    trials=12,
    strengths=(0.0625, 0.125, 0.25, 0.5, 1.0),
):
    wrong, right = chosen_cases(FAULTS, faults), chosen_cases(CORRECT, controls)
    if 1.0 not in strengths or max(strengths) > 1 or min(strengths) <= 0:
        raise ValueError(f"strengths must be in (0, 1] and hold 1, which the claims are about, got {strengths}")
    found = []
    for case, with_strengths in [*((case, strengths) for case in wrong), *((case, (0.0,)) for case in right)]:
        found.append(stored(tried, case, with_strengths, trials))
    caught, correct = xr.concat(found[: len(wrong)], "fault"), xr.concat(found[len(wrong) :], "sampler")
    counts = caught["count"].isel(verdict=0).values
    ends = np.array([[bounds(count, trials, 0.975) for count in of] for of in counts.tolist()])
    over = ("fault", "strength")
    variables = {
        "caught": (over, counts / trials),
        "low": (over, ends[..., 0]),
        "high": (over, ends[..., 1]),
        "effect": (over, caught["effect"].values),
        "ratio": (over, caught["ratio"].values),
        "correct_share": (("sampler", "verdict"), correct["count"].values[:, 0] / trials),
    }
    coordinates = {"fault": list(faults), "strength": list(strengths), "sampler": list(controls), "verdict": WORDS}
    ds = xr.Dataset(variables, {name: (name, list(values)) for name, values in coordinates.items()})
    for name, (words, units) in ATTRIBUTES.items():
        ds[name].attrs = {"long_name": words, "units": units}
    for name, value in claimed(ds).items():
        ds[name] = (), value, {"units": "1"}
    ds.attrs = {"trials": trials}
    return ds


def claimed(ds) -> dict[str, float]:
    """The numbers that are claimed."""
    full = ds.sel(strength=1.0)
    scalars = {
        "least_caught": float(full["caught"].min()),
        "least_caught_resolved": float(ds["caught"].where(ds["ratio"] >= 1).min()),
        "false_alarms": float(ds["correct_share"].sel(verdict=INCONSISTENT).mean()),
    }
    for key, name in (("noise", "noise off by √2"), ("mala", "MALA's correction reversed")):
        if name in ds["fault"].values:
            scalars[f"effect_{key}"] = float(full["effect"].sel(fault=name))
    return scalars


def draw_curves(ax, ds, over):
    for k, name in enumerate(ds["fault"].values):
        one = ds.sel(fault=name)
        x = one["strength"] if over == "strength" else one["ratio"]
        order = np.argsort(x.values)
        look = dict(color=plotting.COLOURS[1 + k % 6], linestyle=plotting.DASHES[k], marker=plotting.MARKERS[k])
        ax.plot(x[order], one["caught"][order], linewidth=1.1, label=str(name), **look)
        if over == "strength":
            ax.fill_between(x, one["low"], one["high"], color=look["color"], alpha=0.07, linewidth=0)
    ax.axhline(0.05, color=plotting.GREY, linestyle="-", linewidth=0.8)
    ax.text(0.98, 0.06, "5 %", transform=ax.get_yaxis_transform(), ha="right", fontsize=7)
    ax.set(xscale="log", ylim=(-0.03, 1.03), xlabel=plotting.label(ds[over]), ylabel=plotting.label(ds["caught"]))
    ax.xaxis.set(minor_formatter=NullFormatter(), major_formatter="{x:g}")


def draw_correct(ax, ds):
    """Shares of the verdicts, a bar per sampler and one of all together; whiskers: 95 % of the share accused."""
    colours = {INCONSISTENT: plotting.VERMILION, CONSISTENT: plotting.BLUE, NO_POWER: "0.8"}
    trials, shares = ds.attrs["trials"], ds["correct_share"]
    table = np.vstack([shares.sel(verdict=list(WORDS)).values, shares.sel(verdict=list(WORDS)).values.mean(axis=0)])
    numbers = [trials] * shares.sizes["sampler"] + [trials * shares.sizes["sampler"]]
    names = [*map(str, ds["sampler"].values), f"all, n = {numbers[-1]}"]
    left = np.zeros(len(names))
    for word, share in zip(WORDS, table.T, strict=True):
        hatch = "////" if word == INCONSISTENT else None
        ax.barh(names, share, left=left, color=colours[word], height=0.7, hatch=hatch, linewidth=0, label=word)
        left += share
    accused = table[:, WORDS.index(INCONSISTENT)]
    ends = np.array([bounds(round(share * n), n, 0.975) for share, n in zip(accused, numbers, strict=True)])
    whiskers = np.abs(ends.T - accused)
    ax.errorbar(accused, names, xerr=whiskers, color="black", linestyle="none", elinewidth=1.0, capsize=2)
    ax.axvline(0.05, color="black", linestyle=":", linewidth=1.0)
    ax.set_xticks([0.05, 0.5, 1.0], ["5 %", "50 %", "100 %"])
    ax.axhline(len(names) - 1.5, color="black", linestyle="-", linewidth=0.6)
    ax.invert_yaxis()
    ax.grid(False)
    ax.set(xlim=(0, 1), xlabel="share (whiskers: 95 %)")
    ax.tick_params(axis="y", labelsize=7)
    ax.set_title(f"Correct, n = {trials}")


def figure(ds):
    with plotting.style():
        fig = plotting.new_figure(plotting.PAGE_WIDTH, 3.0)
        left, middle, right = fig.subplots(1, 3)
        draw_curves(left, ds, "strength")
        left.set_xticks([0.0625, 0.25, 1.0], ["1/16", "1/4", "1"])
        left.set_title("Power, by strength")
        draw_curves(middle, ds, "ratio")
        middle.axvline(1.0, color="black", linestyle="-", linewidth=0.8)
        middle.set(ylabel="")
        middle.set_title("Power, by size")
        draw_correct(right, ds)
        handles, labels = left.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower left", ncols=2)
        fig.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=1)
    return fig
