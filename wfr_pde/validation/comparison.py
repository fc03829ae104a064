"""Samples held against the truth: metrics over methods, numbers of particles, seeds and times, beside a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.space.density import Density
from wfr_pde.validation.baseline import Metric, as_close, baselines, equivalent_draws
from wfr_pde.validation.runs import Run, listed_runs, shortened, time_tolerance

if TYPE_CHECKING:
    import xarray as xr


Array = np.ndarray[Any, np.dtype[np.float64]]


def compare(
    truth: xr.Dataset | Trajectory | Density,
    runs: Mapping[str, xr.Dataset | Sequence[xr.Dataset]] | Iterable[xr.Dataset],
    metrics: Sequence[Metric],
    *,
    t: ArrayLike | None = None,
    floor_draws: int = 20,
    confidence: float = 0.95,
    rng: int | np.random.Generator | None = 0,
) -> xr.Dataset:
    """What metrics say of samples, run by run, and what they would say of independent draws from the truth.

    No finite sample is at distance zero: the floor is the mean of a metric over independent draws of as many points
    from the truth at the same time. The equivalent number of draws is that for which the floor would be as high as
    the mean over the runs; the floor is taken at 4 draws and at 1/64, 1/16, 1/4, 1 and 4 times the number of particles,
    and is a power law between these and above; 0 stands for less than 4 draws. Metrics that look the closer the more
    particles there are, such as binned ones, look as closely at any number of draws as at the run.

    Parameters
    ----------
    truth : Dataset, Trajectory or Density
        A ground truth; a density stands for all times, as pi does.
    runs : Datasets, or mapping method -> Dataset or Datasets
        Of particles, as `solve` returns them, any numbers of them; with a dimension `seed`, several runs at once. The
        method is by default the attribute `method` or `flow` of a run.
    metrics : sequence of functions (Density, Particles) -> float
        `wfr.metrics`, or others.
    t : array, optional
        Times; by default those of all runs that the truth covers. Runs must have stored them.
    floor_draws : int
        Replicates of the floor; 0 for none.
    confidence : float
        Of the intervals: Student's, over the seeds.
    rng : int or numpy Generator
        For the draws of the floor.

    Returns
    -------
    xarray.Dataset
        `value` (method, n, seed, t, metric), NaN where there is no such run; `mean`, `low`, `high` over the seeds;
        `floor`, `floor_low`, `floor_high` (n, t, metric), the interval that of a single draw; `equivalent_draws`.

    Raises
    ------
    TypeError, ValueError
        For what are no runs of particles, dimensions that differ, or times that a run has not stored.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share between 0 and 1, such as 0.95, got {confidence}")
    if int(floor_draws) != floor_draws or floor_draws < 0:
        raise ValueError(f"floor_draws must be a whole number >= 0, got {floor_draws}")
    found = listed_runs(runs)
    named = _named(metrics)
    times = _times(truth, found, t)
    references = [_reference(truth, time) for time in times]
    _check_dimensions(references[0], found)
    methods = list(dict.fromkeys(run.method for run in found))
    sizes = sorted({run.n for run in found})
    counts: dict[tuple[str, int], int] = {}
    most = max(sum(other.method == run.method and other.n == run.n for other in found) for run in found)
    value = np.full((len(methods), len(sizes), most, len(times), len(named)), np.nan)
    with references[0].grid.threads():
        for run in found:
            seed = counts.get((run.method, run.n), 0)
            counts[run.method, run.n] = seed + 1
            place = value[methods.index(run.method), sizes.index(run.n), seed]
            for i, (time, reference) in enumerate(zip(times, references, strict=True)):
                particles = run.at(time, time_tolerance(run.times))
                place[i] = [metric(reference, particles) for metric in as_close(named.values(), reference, run.n)]
        generator = np.random.default_rng(rng)
        replicates = int(floor_draws)
        floors = [
            baselines(references, n, named.values(), replicates, generator, confidence) for n in sizes if replicates
        ]
    return _dataset(value, floors, methods, sizes, times, named, confidence)


def table(ds: xr.Dataset) -> list[list[str]]:
    """What `compare` found at the last time, rows of text under a heading: mean, interval, floor, equivalent draws."""
    last = ds.isel(t=-1)
    percent = f"{100 * ds.attrs['confidence']:g} % interval"
    rows = [["method", "n", "metric", "mean", percent, "floor", "equivalent draws"]]
    for method in last["method"].values:
        for n in last["n"].values:
            for metric in last["metric"].values:
                one = last.sel({"method": method, "n": n, "metric": metric})
                if np.isnan(one["mean"]):
                    continue  # there is no such run; an infinite mean is shown
                interval = f"{float(one['low']):.3g} to {float(one['high']):.3g}" if np.isfinite(one["low"]) else "-"
                own = [f"{float(one[name]):.3g}" if name in one else "-" for name in ("floor", "equivalent_draws")]
                shown = [value.replace("nan", "-") for value in own]
                rows.append([str(method), str(int(n)), str(metric), f"{float(one['mean']):.3g}", interval, *shown])
    return rows


def _named(metrics: Sequence[Metric]) -> dict[str, Metric]:
    """Metrics by their names."""
    if callable(metrics):
        raise TypeError(f"metrics must be a list of metrics, got one: give [{getattr(metrics, '__name__', metrics)}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, type):
            raise TypeError(f"{metric.__name__} is a class of metrics: give one, such as {metric.__name__}()")
        if not callable(metric):
            raise TypeError(f"a metric must be a function (reference, particles) -> float, got {metric!r}")
        name = str(getattr(metric, "name", getattr(metric, "__name__", repr(metric))))
        if name in named:
            raise ValueError(f"two metrics are called {name!r}: give one of them another name=")
        named[name] = metric
    if not named:
        raise ValueError("no metrics: give at least one, such as wfr.metrics.total_variation")
    return named


def _times(truth: Any, runs: list[Run], t: ArrayLike | None) -> Array:
    """The times to compare at."""
    if t is not None:
        asked = np.atleast_1d(np.asarray(t, dtype=np.float64))
        if asked.ndim != 1 or not len(asked):
            raise ValueError(f"t must be one time or more, got an array of shape {asked.shape}")
        return asked
    times = runs[0].times
    for run in runs[1:]:
        near = np.abs(times[:, None] - run.times).min(axis=1) <= time_tolerance(run.times)
        times = times[near]
    if not isinstance(truth, Density):
        covered = _trajectory(truth).times
        slack = time_tolerance(covered)
        times = times[(times >= covered[0] - slack) & (times <= covered[-1] + slack)]
    if not len(times):
        raise ValueError(f"the runs and the truth have no time in common: the first run has {shortened(runs[0].times)}")
    return times


def _trajectory(truth: Any) -> Trajectory:
    if not isinstance(truth, Trajectory) and not hasattr(truth, "data_vars"):
        raise TypeError(
            f"truth must be a Dataset of ground_truth, a Trajectory or a Density, got {type(truth).__name__}; for a "
            "target, grid.density(target)"
        )
    return truth if isinstance(truth, Trajectory) else Trajectory(truth)


def _reference(truth: Any, time: float) -> Density:
    """The true density at a time, normalised."""
    return truth if isinstance(truth, Density) else _trajectory(truth).at(time).normalised()


def _check_dimensions(reference: Density, runs: list[Run]) -> None:
    for run in runs:
        d = int(run.ds.sizes["dim"])
        if d != reference.ndim:
            raise ValueError(f"the truth is {reference.ndim}-dimensional, but a run of {run.method} is {d}-dimensional")


def _interval(value: Array, confidence: float) -> tuple[Array, Array]:
    """Mean over the seeds (axis 2) and half the width of its confidence interval; NaN for one seed."""
    from scipy.stats import t as student

    count = (~np.isnan(value)).sum(axis=2)
    some = np.where(count > 0, count, 1)
    mean = np.where(count > 0, np.nansum(value, axis=2) / some, np.nan)
    finite = np.where(np.isfinite(mean)[:, :, None], value, np.nan)
    square = np.nansum((finite - np.where(np.isfinite(mean), mean, 0.0)[:, :, None]) ** 2, axis=2)
    several = np.maximum(count - 1, 1)
    half = student.ppf((1 + confidence) / 2, several) * np.sqrt(square / several / some)
    return mean, np.where((count > 1) & np.isfinite(mean), half, np.nan)


def _dataset(
    value: Array,
    floors: list[dict[int, Array]],
    methods: list[str],
    sizes: list[int],
    times: Array,
    metrics: dict[str, Metric],
    confidence: float,
) -> xr.Dataset:
    """Everything under its name."""
    import xarray as xr

    mean, half = _interval(value, confidence)
    over, run = ("method", "n", "t", "metric"), ("method", "n", "seed", "t", "metric")
    percent = f"{100 * confidence:g} %"
    variables: dict[str, Any] = {
        "value": (run, value, {"long_name": "metric"}),
        "mean": (over, mean, {"long_name": "mean over the seeds"}),
        "low": (over, mean - half, {"long_name": f"lower end of the {percent} confidence interval of the mean"}),
        "high": (over, mean + half, {"long_name": f"upper end of the {percent} confidence interval of the mean"}),
    }
    if floors:
        own = np.stack([of[n] if n in of else next(iter(of.values())) for of, n in zip(floors, sizes, strict=True)], 1)
        for k, (name, words) in enumerate(
            (
                ("floor", "mean for independent draws"),
                ("floor_low", f"lower end of {percent} of independent draws"),
                ("floor_high", f"upper end of {percent} of independent draws"),
            )
        ):
            variables[name] = (("n", "t", "metric"), own[k], {"long_name": words})
        equivalent = np.full(mean.shape, np.nan)
        for m, n, i, k in np.ndindex(*mean.shape):
            at = [float(values[0, i, k]) for values in floors[n].values()]
            equivalent[m, n, i, k] = equivalent_draws(float(mean[m, n, i, k]), list(floors[n]), at)
        variables["equivalent_draws"] = (over, equivalent, {"long_name": "equivalent number of independent draws"})
    coordinates = {
        "method": methods,
        "n": ("n", sizes, {"long_name": "number of particles", "units": "1"}),
        "t": ("t", times, {"long_name": "time", "units": "1"}),
        "metric": list(metrics),
        "metric_long_name": ("metric", [str(getattr(m, "long_name", name)) for name, m in metrics.items()]),
        "metric_units": ("metric", [str(getattr(m, "units", "1")) for m in metrics.values()]),
    }
    return xr.Dataset(variables, coords=coordinates, attrs={"confidence": confidence})
