"""Does a sampler do what it declares? A verdict, with error rates, from independent runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows import FiniteVolume, FisherRao, Flow, Strang
from wfr_pde.integrate.time_loop import solve
from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.samplers.external.load_callable import dotted_name
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.space.density import Density, Particles
from wfr_pde.targets import stored_distribution
from wfr_pde.targets.base import Target
from wfr_pde.validation.max_test import MaxTest, Runs, max_test
from wfr_pde.validation.mean_field import Cut, mean_field, moves_densities
from wfr_pde.validation.statistics import Function, Observables, observables

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[np.float64]]

CONSISTENT, INCONSISTENT, NO_POWER = "consistent", "inconsistent", "not enough power"
FEWEST_SEEDS = 20
EXPECTED = 10.0  # particles inside a region, and outside, below which it is not looked at
MOST_TIMES = 4  # by default
ROWS = 12  # of the report


def validate(
    sampler: Flow | Callable[..., Any] | xr.Dataset | Sequence[xr.Dataset],
    truth: xr.Dataset | Trajectory | Density,
    target: Target | None = None,
    *,
    dt: float | None = None,
    n: int = 1000,
    seeds: int = 20,
    scheme: Flow | None = None,
    start: Target | None = None,
    t: ArrayLike | None = None,
    modes: ArrayLike | None = None,
    statistics: Mapping[str, Function] | None = None,
    effect: float = 0.2,
    level: float = 0.05,
    rng: int = 0,
    options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Whether an implementation of a sampler does what its declared scheme says: a verdict, with its error rates.

    The unit of replication is the independent run, never the particle. The null hypothesis is, for every statistic and
    time at once, |E[statistic] - reference| <= margin.

    - *Reference*: the law of the declared scheme for infinitely many particles, at the same dt and bandwidth, on a grid
      (what `solve` makes of a density); where the scheme has none, the truth.
    - *Margin*: the error of the reference; what fewer particles than places cannot follow (`mean_field.Cut`); and two
      biases with their signs, of a finite number, from runs with n and 2n particles, and, where the reference is the
      truth, of the step, from dt and dt/2. A bias may fall with any power from 1/2 on: the runs are extrapolated with
      the one that is kindest to the sampler.
    - *Test*: deviations studentised across the runs, and held against the quantile of their maximum over all statistics
      and times, by random signs of the runs (Romano and Wolf 2005, doi:10.1198/016214504000000539, for tests of that
      kind): false alarms at most in a share `level` of correct samplers.

    Three verdicts: *inconsistent*, and in which moment, region or mode, and by how much; *consistent*, where a
    deviation of `effect` standard deviations would have been seen; *not enough power*, and what would be. A fault that
    vanishes with dt is one against the declared scheme, and is found only if that has a law on the grid.

    Parameters
    ----------
    sampler : Flow, callable, or Datasets
        What is validated: a flow of particles; a function as `run_sampler` takes it; or runs that were made elsewhere,
        from independent draws of the start.
    truth : Dataset, Trajectory or Density
        Of `ground_truth`; a density stands for all times: for samplers that keep pi, started from pi.
    target : Target, optional
        pi, where the truth does not say it.
    dt : float
        Step. A function gets it as its option `dt`, if it is given.
    n : int
        Particles of a run.
    seeds : int
        Independent runs, at least 20; twice or three times as many are made where biases have to be known.
    scheme : Flow, optional
        What the sampler declares to be, of `wfr.samplers` and the splittings; by default the sampler itself.
    start : Target, optional
        By default what the truth says, or its first density.
    t : array, optional
        Times, by default at most four of the truth, the first not among them.
    modes, statistics :
        Of `observables`.
    effect : float
        A deviation worth finding, in standard deviations of a statistic under the reference. 0.2 is what Cohen (1988)
        calls small.
    level : float
        Of false alarms.
    rng : int
        The runs follow from it.
    options : mapping, optional
        Passed on to a function.

    Returns
    -------
    xarray.Dataset
        Over (t, statistic): `reference`, `mean`, `deviation` with `low` and `high` (simultaneous, of level `level`),
        `margin` and its parts, `resolution`, all of them in standard deviations but the first two, which are in units
        of the statistic; `score`, the studentised deviation beyond the margin over its critical value: above one it is
        inconsistent. `value` (seed, t, statistic) has all runs. The attribute `verdict`; `report` puts it in words.

    Raises
    ------
    TypeError, ValueError
        If something does not fit: see the message.
    """
    setting = _setting(sampler, truth, target, start, scheme, t, dt, n, seeds, effect, level, rng, options)
    reference = _reference(setting, modes, statistics)
    runs = _runs(setting, reference)
    test = max_test(runs, reference.means, reference.deviations, reference.margins, level, rng)
    return _dataset(setting, reference, runs, test)


@dataclass(frozen=True, eq=False)
class _Setting:
    """What is asked, checked."""

    sampler: Any
    truth: Trajectory | Density
    target: Target
    start: Target | Density
    scheme: Flow | None
    times: Array  # the first is that of the start
    dt: float | None
    n: int
    seeds: int
    effect: float
    level: float
    rng: int
    options: dict[str, Any]

    @property
    def given(self) -> bool:
        """Whether the runs were made elsewhere."""
        return isinstance(self.sampler, list)

    @property
    def box(self) -> Any:
        """The grid of the truth."""
        return self.truth.grid

    @property
    def name(self) -> str:
        """Of the sampler."""
        if isinstance(self.sampler, Flow):
            return repr(self.sampler)
        if self.given:
            attrs = self.sampler[0].attrs
            return str(attrs.get("method", attrs.get("flow", "samples")))
        return dotted_name(self.sampler)


def _setting(
    sampler: Any, truth: Any, target: Any, start: Any, scheme: Any, t: Any, dt: Any, n: Any, seeds: Any, effect: Any,
    level: Any, rng: Any, options: Any,
) -> _Setting:  # fmt: skip
    """Everything that can be refused is refused here."""
    if not isinstance(truth, Density | Trajectory):
        if not hasattr(truth, "data_vars"):
            raise TypeError(f"truth must be a Dataset of ground_truth, a Trajectory or a Density, got {truth!r}")
        truth = Trajectory(truth, target)
    if any(axis.periodic for axis in truth.grid.axes):
        raise ValueError("samplers know no periodic axes: validate needs a truth between no-flux walls")
    if target is None:
        target = getattr(truth, "target", None)
    if target is None and isinstance(truth, Trajectory):
        target = stored_distribution(truth.ds, "energy")
    if not isinstance(target, Target):
        raise TypeError(f"give the target, a distribution such as Gaussian(0, 1): got target={target!r}")
    if start is None:
        start = _stored_start(truth)
    _check_numbers(n, seeds, effect, level, dt)
    if hasattr(sampler, "data_vars") or isinstance(sampler, list | tuple):
        sampler = _given_runs(sampler)
        n, seeds = int(sampler[0].sizes["particle"]), len(sampler)
        if seeds < FEWEST_SEEDS:
            raise ValueError(f"a verdict needs at least {FEWEST_SEEDS} independent runs, got {seeds}")
    elif isinstance(sampler, type) or not (isinstance(sampler, Flow) or callable(sampler)):
        raise TypeError(f"sampler must be a Flow such as samplers.SMCWFR(), a function, or runs, got {sampler!r}")
    elif isinstance(sampler, Flow) and dt is None:
        raise ValueError(f"{type(sampler).__name__} needs a step: give dt=")
    if scheme is None and isinstance(sampler, Flow):
        scheme = sampler
    if scheme is not None and not isinstance(scheme, Flow):
        raise TypeError(f"scheme must be a Flow such as samplers.SMCWFR(), got {scheme!r}")
    if scheme is not None and dt is None:
        raise ValueError("the law of the declared scheme needs its step: give dt=")
    times = _times(truth, sampler, t)
    return _Setting(
        sampler, truth, target, start, scheme, times, None if dt is None else float(dt), int(n), int(seeds),
        float(effect), float(level), int(rng), dict(options or {}),
    )  # fmt: skip


def _stored_start(truth: Trajectory | Density) -> Target | Density:
    """What the truth starts from."""
    if isinstance(truth, Density):
        return truth
    try:
        return stored_distribution(truth.ds, "start")
    except ValueError:
        return truth.at(float(truth.times[0]))


def _check_numbers(n: Any, seeds: Any, effect: Any, level: Any, dt: Any) -> None:
    for name, value, least in (("n", n, 2), ("seeds", seeds, FEWEST_SEEDS)):
        if int(value) != value or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value}")
    if not 0 < effect < math.inf:
        raise ValueError(f"effect must be a positive number of standard deviations, got {effect}")
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.05, got {level}")
    if dt is not None and not 0 < float(dt) < math.inf:
        raise ValueError(f"dt must be a finite number > 0, got {dt}")


def _given_runs(runs: Any) -> list[Any]:
    """Runs that were made elsewhere, one Dataset per seed."""
    listed = [runs] if hasattr(runs, "data_vars") else list(runs)
    found = []
    for ds in listed:
        if not hasattr(ds, "data_vars") or "position" not in ds:
            raise TypeError(f"a run must be a Dataset with the variable `position`, got {type(ds).__name__}")
        found += [ds.isel(seed=k) for k in range(ds.sizes["seed"])] if "seed" in ds.dims else [ds]
    if len({ds.sizes["particle"] for ds in found}) > 1:
        raise ValueError("the runs have different numbers of particles: validate those of each number by themselves")
    return found


def _times(truth: Trajectory | Density, sampler: Any, t: ArrayLike | None) -> Array:
    """That of the start, and those to look at."""
    if t is not None:
        asked = np.unique(np.atleast_1d(np.asarray(t, dtype=np.float64)))
        first = 0.0 if isinstance(truth, Density) else float(truth.times[0])
        asked = asked[asked > first]
        if not len(asked):
            raise ValueError(f"t has no time after that of the start, {first:g}: got {t}")
        return np.concatenate([[first], asked])
    if isinstance(truth, Density):
        raise ValueError("a density has no times: give t=")
    later = truth.times[1:]
    if isinstance(sampler, list):
        own = np.asarray(sampler[0][str(sampler[0]["position"].dims[0])].values, dtype=np.float64)
        later = own[(own > truth.times[0]) & (own <= truth.times[-1] * (1 + 1e-12))]
    if not len(later):
        raise ValueError("the truth has no time after its first: ask ground_truth for later ones, or give t=")
    chosen = np.unique(np.linspace(len(later) - 1, 0, MOST_TIMES, endpoint=False).round().astype(int))
    return np.concatenate([truth.times[:1], later[chosen]])


# The reference


@dataclass(frozen=True, eq=False)
class _Reference:
    """What the runs are held against, over times and statistics."""

    observables: list[Observables]  # one per time
    means: Array  # (t, k)
    deviations: Array  # (t, k), standard deviations of a single draw
    errors: Array  # (t, k), of the means
    unreached: Array  # (t, k), what fewer particles than places cannot follow
    kind: str
    is_law: bool

    @property
    def margins(self) -> Array:
        """Sum of what does not come from runs."""
        return self.errors + self.unreached


def _reference(setting: _Setting, modes: Any, statistics: Any) -> _Reference:
    """The law of the declared scheme, or the truth."""
    scheme = setting.scheme
    is_law = scheme is not None and moves_densities(scheme, setting.target, setting.box.ndim)
    if is_law:
        assert scheme is not None
        assert setting.dt is not None
        flow, dt = scheme, setting.dt
    else:
        flow, dt = _ideal(setting), (setting.dt or float(np.diff(setting.times).min()) / 8)
    later = setting.times[1:]
    interacting = scheme is None or scheme.interacting
    law = None
    if is_law or interacting:
        law = mean_field(flow, setting.target, setting.start, setting.times, dt, setting.box, only_coarse=not is_law)
    if is_law:
        assert law is not None
        references = law.fine[1:]
    else:
        references = [setting.truth if isinstance(setting.truth, Density) else setting.truth.at(t) for t in later]
    chosen = [observables(density.normalised(), setting.target, modes, statistics) for density in references]
    means = np.array([one.means(one.reference) for one in chosen])
    deviations = np.array([one.deviations() for one in chosen])
    errors = np.empty_like(means)
    for i, one in enumerate(chosen):
        if is_law:
            assert law is not None
            means[i], errors[i] = law.expectations(i + 1, one.means)
        else:
            errors[i] = _truth_error(setting.truth, float(later[i]), one)
    unreached = np.zeros_like(means)
    if interacting:
        assert law is not None
        cut = mean_field(
            Cut(flow, setting.n), setting.target, setting.start, setting.times, dt, setting.box, only_coarse=True,
            cells=law.coarse[0].grid.shape[0],
        )  # fmt: skip
        for i, one in enumerate(chosen):
            unreached[i] = np.abs(one.means(cut.coarse[i + 1]) - one.means(law.coarse[i + 1]))
    kind = f"the law of {scheme!r}" if is_law else "the truth"
    return _observable(_Reference(chosen, means, deviations, errors, unreached, kind, is_law), setting.n)


def _ideal(setting: _Setting) -> Flow:
    """The flow of densities that a sampler without a law on the grid stands for, if it stands for the truth."""
    if isinstance(setting.truth, Density):
        return FisherRao(0.0)
    law = None if setting.scheme is None else setting.scheme.law
    alpha, beta = setting.truth.transport_rate, setting.truth.reaction_rate
    if alpha is None or beta is None:
        raise ValueError(
            "the truth does not know its rates: give Trajectory(truth, target, transport_rate, reaction_rate)"
        )
    wanted = {"w": beta == 0, "fr": alpha == 0, "wfr": alpha > 0 and beta > 0, "rest": False}
    if law == "pi":
        raise ValueError(
            f"{setting.scheme!r} is led to pi on a path of its own, which the truth does not show: hold it against pi, "
            "truth=grid.density(target), which it must keep"
        )
    if law == "own" or not wanted.get(law or "", True):
        raise ValueError(
            f"{setting.scheme!r} follows the law {law!r}, which is not that of the truth with transport_rate={alpha:g} "
            f"and reaction_rate={beta:g}: give the truth of the same flow, or scheme="
        )
    transport, reaction = FiniteVolume(alpha), FisherRao(beta)
    return transport if beta == 0 else reaction if alpha == 0 else Strang(reaction, transport)


def _truth_error(truth: Trajectory | Density, t: float, chosen: Observables) -> Array:
    """Bound of the error of expectations by that of the density, where it has mass: L1 error times the largest |f|."""
    if isinstance(truth, Density):
        return np.zeros(len(chosen.names))
    density = chosen.reference
    matters = density.grid.backend.asnumpy(density.log_values > density.grid.max(density.log_values) - 30.0)
    centred = np.abs(chosen.values(density.grid.points()[matters]) - chosen.means(density))
    return float(truth.error_l1(t)) * centred.max(axis=0)


def _observable(reference: _Reference, n: int) -> _Reference:
    """Without what no particle is expected to tell: statistics that do not vary, regions with next to nobody."""
    last = reference.observables[0]
    varies = np.all(reference.deviations > 1e-12 * (1 + np.abs(reference.means)), axis=0)
    for k, name in enumerate(last.names):
        if " < " in name or name.startswith("mode "):
            least = np.minimum(reference.means[:, k], 1 - reference.means[:, k]).min()
            varies[k] &= n * least >= EXPECTED
    if not varies.any():
        raise ValueError("no statistic varies under the reference: give others, or more particles")
    kept = [name for name, keep in zip(last.names, varies, strict=True) if keep]
    arrays = (reference.means, reference.deviations, reference.errors, reference.unreached)
    means, deviations, errors, unreached = (array[:, varies] for array in arrays)
    chosen = [one.only(kept) for one in reference.observables]
    return _Reference(chosen, means, deviations, errors, unreached, reference.kind, reference.is_law)


# The runs


def _runs(setting: _Setting, reference: _Reference) -> Runs:
    """All runs that are needed: as declared; with 2n particles; with dt/2."""
    if setting.given:
        values = np.array([_evaluated(ds, setting.times, reference) for ds in setting.sampler])
        return Runs(values, setting.n)
    numbers = np.random.SeedSequence(setting.rng).generate_state(3 * setting.seeds).reshape(3, -1).tolist()

    def simulated(seeds: list[int], n: int, dt: float | None) -> Array:
        return np.array([_evaluated(_run(setting, seed, n, dt), setting.times, reference) for seed in seeds])

    base = simulated(numbers[0], setting.n, setting.dt)
    scheme = setting.scheme
    interacting = scheme is None or scheme.interacting
    wide = simulated(numbers[1], 2 * setting.n, setting.dt) if interacting else None
    exact = scheme is not None and math.isinf(scheme.order)
    kept = isinstance(setting.truth, Density) and scheme is not None and "equilibrium" in scheme.preserves
    stepped = not (reference.is_law or exact or kept or setting.dt is None)
    fine = simulated(numbers[2], setting.n, setting.dt / 2) if stepped and setting.dt is not None else None
    return Runs(base, setting.n, wide, fine)


def _run(setting: _Setting, seed: int, n: int, dt: float | None) -> Any:
    """One run."""
    positions = setting.start.sample(n, rng=seed)
    if isinstance(setting.sampler, Flow):
        assert dt is not None
        return solve(setting.target, setting.sampler, positions, setting.times, dt, rng=seed, progress=False)
    options = setting.options | ({} if dt is None else {"dt": dt})
    return run_sampler(setting.sampler, setting.target, positions, setting.times, rng=seed, **options)


def _evaluated(ds: Any, times: Array, reference: _Reference) -> Array:
    """Statistics (t, k) of a run."""
    stored = np.asarray(ds[str(ds["position"].dims[0])].values, dtype=np.float64)
    rows = []
    for time, chosen in zip(times[1:], reference.observables, strict=True):
        k = int(np.argmin(np.abs(stored - time)))
        if abs(stored[k] - time) > 1e-9 * max(1.0, float(np.abs(stored).max())):
            raise ValueError(f"a run has not stored t={time:g}: give t= with times that all runs have")
        log_weights = ds["log_weight"].values[k] if "log_weight" in ds else None
        rows.append(chosen.means(Particles(ds["position"].values[k], log_weights)))
    return np.array(rows)


# The result


def _verdict(test: MaxTest, reference: _Reference, effect: float) -> str:
    if (test.score > 1).any():
        return INCONSISTENT
    return CONSISTENT if bool((test.resolution <= effect).all()) else NO_POWER


def _dataset(setting: _Setting, reference: _Reference, runs: Runs, test: MaxTest) -> xr.Dataset:
    """Everything under its name."""
    import xarray as xr

    over, scale = ("t", "statistic"), reference.deviations
    deviations = "standard deviations of a draw"
    table: dict[str, tuple[Any, str, str]] = {
        "reference": (reference.means, "reference", "of the statistic"),
        "standard_deviation": (scale, "standard deviation of a single draw", "of the statistic"),
        "mean": (runs.base.mean(axis=0), "mean over the runs", "of the statistic"),
        "deviation": (test.deviation, "deviation from the reference, biases taken off", deviations),
        "low": (test.deviation - test.half_width, "lower end of the simultaneous interval", deviations),
        "high": (test.deviation + test.half_width, "upper end of the simultaneous interval", deviations),
        "margin": (reference.margins / scale, "margin", deviations),
        "reference_error": (reference.errors / scale, "error of the reference", deviations),
        "unreached": (reference.unreached / scale, "what so few particles cannot follow", deviations),
        "number_bias": (test.number_bias, "bias of the finite number, extrapolated", deviations),
        "step_bias": (test.step_bias, "bias of the step, extrapolated", deviations),
        "resolution": (test.resolution, "smallest deviation that is found in 95 % of cases", deviations),
        "score": (test.score, "deviation beyond the margin, over the critical one", "1"),
    }
    variables: dict[str, Any] = {
        name: (over, value, {"long_name": words, "units": units}) for name, (value, words, units) in table.items()
    }
    variables["value"] = ("seed", *over), runs.base, {"long_name": "statistic of a run", "units": "of the statistic"}
    attrs: dict[str, Any] = {
        "verdict": _verdict(test, reference, setting.effect),
        "sampler": setting.name,
        "reference": reference.kind,
        "n": setting.n,
        "seeds": setting.seeds,
        "dt": math.nan if setting.dt is None else setting.dt,
        "effect": setting.effect,
        "level": setting.level,
        "critical": test.critical,
        "power_factor": test.power_factor(setting.effect),
        "rng": setting.rng,
    }
    coordinates = {
        "t": ("t", setting.times[1:], {"long_name": "time", "units": "1"}),
        "statistic": reference.observables[0].names,
    }
    return xr.Dataset(variables, coords=coordinates, attrs=attrs)


def report(ds: xr.Dataset) -> str:
    """The verdict of `validate` in words, with the statistics that say most."""
    attrs = ds.attrs
    total = ds["score"].size
    step = "" if math.isnan(attrs["dt"]) else f", dt = {attrs['dt']:g}"
    lines = [
        f"{attrs['verdict']}: {attrs['sampler']}",
        f"held against {attrs['reference']}; {attrs['seeds']} runs of {attrs['n']} particles{step}; {total} statistics "
        f"at a joint level of {100 * attrs['level']:g} %",
    ]
    stacked = ds.stack(where=("t", "statistic"))
    by = "resolution" if attrs["verdict"] == NO_POWER else "score"
    order = np.argsort(-stacked[by].values, kind="stable")
    if attrs["verdict"] == INCONSISTENT:
        order = order[stacked["score"].values[order] > 1]
        lines.append(f"{len(order)} deviate by more than chance and the margin allow, most:")
    elif attrs["verdict"] == CONSISTENT:
        lines.append(
            f"a deviation of {attrs['effect']:g} standard deviations would have been found in each; nearest to one:"
        )
    else:
        lines.append(_what_would_do(ds))
    rows = [["t", "statistic", "reference", "mean of runs", "deviation", "interval", "margin", "resolution"]]
    for index in order[:ROWS]:
        one = stacked.isel(where=int(index))
        numbers = (f"{float(one[name]):.4g}" for name in ("reference", "mean"))
        interval = f"{float(one['low']):+.3f} to {float(one['high']):+.3f}"
        parts = (f"{float(one[name]):.2g}" for name in ("margin", "resolution"))
        rows.append(
            [f"{float(one['t']):g}", str(one["statistic"].item()), *numbers, f"{float(one['deviation']):+.3f}",
             interval, *parts]
        )  # fmt: skip
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.append("deviation, interval, margin and resolution in standard deviations of a single draw")
    return "\n".join(lines)


def _what_would_do(ds: xr.Dataset) -> str:
    """What would give enough power."""
    effect, factor = ds.attrs["effect"], ds.attrs["power_factor"]
    stacked = ds.stack(where=("t", "statistic"))
    widest = stacked.isel(where=int(np.argmax(stacked["margin"].values)))
    if math.isinf(factor):
        cause = "unreached" if float(widest["unreached"]) >= float(widest["reference_error"]) else "reference_error"
        where = f"{widest['statistic'].item()} at t = {float(widest['t']):g}"
        if cause == "unreached":
            return (
                f"the margin exceeds {effect:g} standard deviations: {where} grows from places where less than one of "
                f"{ds.attrs['n']} particles is expected; use more particles, a nearer start, or other times"
            )
        return f"the margin exceeds {effect:g} standard deviations by the error of the reference: {where}"
    seeds = math.ceil(ds.attrs["seeds"] * factor)
    return (
        f"a deviation of {effect:g} standard deviations could have been missed: {seeds} runs of {ds.attrs['n']} "
        f"particles would do, or {ds.attrs['seeds']} of {math.ceil(ds.attrs['n'] * factor)}; least resolved:"
    )
