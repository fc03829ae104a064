"""Comparison of samples with the truth: metrics over methods, numbers of particles, seeds and times, and a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.truth_arguments import as_truth, law_at
from wfr_pde.metrics.by_name import meant_metric
from wfr_pde.numerics.arguments import generator, knows_its_arguments, refuse_no_entries, share, shown, whole
from wfr_pde.numerics.progress import reporting, step_done
from wfr_pde.numerics.typing import Array
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.validation.baseline import Baseline, Law, Metric, as_close, equivalent_draws
from wfr_pde.validation.runs import Run, asked_times, common_times, listed_runs, time_tolerance

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.integrate.truth_protocol import Truth
    from wfr_pde.space.density import Density
    from wfr_pde.targets.base import Target


@knows_its_arguments
def compare(
    truth: Truth | xr.Dataset | xr.DataTree | Density | Target,
    runs: Mapping[str, xr.Dataset | Sequence[xr.Dataset]] | Iterable[xr.Dataset],
    metrics: Sequence[Metric],
    *,
    t: ArrayLike | None = None,
    floor_draws: int = 20,
    confidence: float = 0.95,
    rng: int | np.random.Generator | None = 0,
    progress: bool | None = None,
) -> xr.Dataset:
    """Compare samples with the truth by metrics, run by run, and beside them independent draws from the truth.

    No finite sample is at distance zero: the floor is the mean of a metric over independent draws of as many points
    from the truth at the same time. The equivalent number of draws is that for which the floor would be as high as
    the mean over the runs; the floor is taken at 4 draws and at 1/64, 1/16, 1/4, 1 and 4 times the number of particles,
    and is a power law between these and above; 0 stands for less than 4 draws. Metrics that look the closer the more
    particles there are, such as binned ones, look as closely at any number of draws as at the run.

    Parameters
    ----------
    truth : Dataset, DataTree, Trajectory, Density, Target, or any `Truth`
        A ground truth; a density or a distribution stands for all times, as pi does. That of a product in any
        dimension is taken by metrics whose references have `ProductLaw`, and by others in `ByDraws`.
        A truth of your own may give particles in place of a density, for metrics that take them as reference.
    runs : Datasets, or mapping method -> Dataset or Datasets
        Runs of particles, as `solve` returns them, with any numbers of particles; a Dataset with a dimension `seed`
        holds several runs. The method is by default the attribute `method` or `flow` of a run.
    metrics : sequence of functions (Density, Particles) -> float
        Those of `wfr.metrics`, or functions of your own.
    t : array, optional
        Times; by default those of all runs that the truth covers. Runs must have stored them.
    floor_draws : int
        Number of sets of draws that the floor is the mean of; 0 for no floor.
    confidence : float
        Level of the intervals, which are Student's, over the seeds; they end at zero for metrics that are >= 0
        (their `signed` is False).
    rng : int or numpy Generator
        Seed or generator for the draws of the floor.
    progress : bool, optional
        Count steps on a bar; by default where stderr is a terminal, and in notebooks.

    Returns
    -------
    xarray.Dataset
        `value` (method, n, seed, t, metric), NaN where there is no such run; `mean`, `low`, `high` over the seeds;
        `floor`, `floor_low`, `floor_high` (n, t, metric), the interval that of a single draw; `equivalent_draws`.

    Raises
    ------
    TypeError, ValueError
        For what are no runs of particles, dimensions that differ, or times that a run has not stored.

    Examples
    --------
    MALA, started from draws of pi, stays as good as as many independent draws: its error is near the floor.

    >>> import wfr_pde as wfr
    >>> target, sampler = wfr.Gaussian(0, 1), wfr.samplers.MALA()
    >>> runs = [wfr.solve(target, sampler, target.sample(50, rng=k), t=[0, 1], dt=0.5, rng=k) for k in range(10)]
    >>> ds = wfr.compare(target, {"mala": runs}, [wfr.metrics.mean_error], floor_draws=100)
    >>> ds["mean"].sizes["t"], round(float(ds.floor.mean()), 2)  # E |mean of 50 draws|² = 1/50
    (2, 0.02)
    """
    confidence = share("confidence", confidence, "the level of the intervals, such as 0.95")
    floor_draws = whole(
        "floor_draws", floor_draws, 0, "the number of sets of draws that the floor is the mean of", 10**6
    )
    rng = generator(rng)
    known, found, named = as_truth(truth), listed_runs(runs), _named(metrics)
    times = common_times(found, known.times) if t is None else asked_times(t)
    laws = [law_at(known, float(time)) for time in times]
    _check_dimensions(laws[0], found)
    compared = _Compared.of(found, times, named, confidence)
    baseline = Baseline(known, times, laws, list(named.values()), floor_draws, confidence)
    with laws[0].threads(), reporting(progress, "compare"):
        compared.fill(found, laws)
        floors = [baseline.floors(n, rng) for n in compared.sizes if floor_draws]
    return compared.dataset(floors)


def _named(metrics: Any) -> dict[str, Metric]:
    """Return the metrics by their names, if they are such as `compare` takes."""
    refuse_no_entries("metrics", metrics)
    if callable(metrics):
        raise TypeError(f"metrics must be a list of metrics, got one: give [{getattr(metrics, '__name__', metrics)}]")
    if not isinstance(metrics, Iterable) or isinstance(metrics, str | bytes | Mapping):
        meant = f": give [{meant_metric(metrics)}]" if isinstance(metrics, str) else ""
        raise TypeError(
            f"metrics must be a list of metrics, such as [wfr.metrics.mean_error], got {shown(metrics)}{meant}"
        )
    named: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, type):
            raise TypeError(f"{metric.__name__} is a class of metrics: give one, such as {metric.__name__}()")
        if not callable(metric):
            meant = f", which is text: give {meant_metric(metric)}" if isinstance(metric, str) else ""
            raise TypeError(f"metrics must be functions (reference, particles) -> float, got {shown(metric)}{meant}")
        name = str(getattr(metric, "name", getattr(metric, "__name__", repr(metric))))
        if name in named:
            raise ValueError(f"two metrics are called {name!r}: give one of them another name=")
        named[name] = metric
    if not named:
        raise ValueError("no metrics: give at least one, such as wfr.metrics.total_variation")
    return named


def _check_dimensions(law: Law, runs: list[Run]) -> None:
    for run in runs:
        d = int(run.ds.sizes["dim"])
        if d != law.ndim:
            raise ValueError(f"the truth is {law.ndim}-dimensional, but a run of {run.method} is {d}-dimensional")


def _interval(value: Array, confidence: float) -> tuple[Array, Array]:
    """Return the mean over the seeds (axis 2), and half the width of its confidence interval; NaN for one seed."""
    from scipy.stats import t as student

    count = (~np.isnan(value)).sum(axis=2)
    some = np.where(count > 0, count, 1)
    mean = np.where(count > 0, np.nansum(value, axis=2) / some, np.nan)
    finite = np.where(np.isfinite(mean)[:, :, None], value, np.nan)
    square = np.nansum((finite - np.where(np.isfinite(mean), mean, 0.0)[:, :, None]) ** 2, axis=2)
    several = np.maximum(count - 1, 1)
    half = student.ppf((1 + confidence) / 2, several) * np.sqrt(square / several / some)
    return mean, np.where((count > 1) & np.isfinite(mean), half, np.nan)


@dataclass(frozen=True, eq=False)
class _Compared:
    """Table of the metrics of every run, filled run by run, and made a Dataset in the end."""

    value: Array  # (method, n, seed, t, metric)
    methods: list[str]
    sizes: list[int]
    times: Array
    metrics: dict[str, Metric]
    confidence: float

    @classmethod
    def of(cls, runs: list[Run], times: Array, metrics: dict[str, Metric], confidence: float) -> _Compared:
        """Make the table, without values where there is no run."""
        methods = list(dict.fromkeys(run.method for run in runs))
        sizes = sorted({run.n for run in runs})
        most = max(sum(other.method == run.method and other.n == run.n for other in runs) for run in runs)
        value = np.full((len(methods), len(sizes), most, len(times), len(metrics)), np.nan)
        return cls(value, methods, sizes, times, metrics, confidence)

    def fill(self, runs: list[Run], laws: list[Law]) -> None:
        """Compare all runs with the laws at the times."""
        counts: dict[tuple[str, int], int] = {}
        for run in runs:
            seed = counts.get((run.method, run.n), 0)
            counts[run.method, run.n] = seed + 1
            place = self.value[self.methods.index(run.method), self.sizes.index(run.n), seed]
            for i, (time, law) in enumerate(zip(self.times, laws, strict=True)):
                particles = run.at(time, time_tolerance(run.times))
                step_done()
                place[i] = [metric(law, particles) for metric in as_close(self.metrics.values(), law, run.n)]

    def dataset(self, floors: list[dict[int, Array]]) -> xr.Dataset:
        """Return all as the Dataset of `compare`; `floors` has one entry per size, or none if none were asked for."""
        import xarray as xr

        mean, half = _interval(self.value, self.confidence)
        low = np.where(self._below_zero(), mean - half, np.maximum(mean - half, 0))
        over, run = ("method", "n", "t", "metric"), ("method", "n", "seed", "t", "metric")
        percent = f"{100 * self.confidence:g} %"
        variables: dict[str, Any] = {
            "value": (run, self.value, {"long_name": "metric"}),
            "mean": (over, mean, {"long_name": "mean over the seeds"}),
            "low": (over, low, {"long_name": f"lower end of the {percent} confidence interval of the mean"}),
            "high": (over, mean + half, {"long_name": f"upper end of the {percent} confidence interval of the mean"}),
        }
        if floors:
            variables |= self._floor_variables(floors, mean)
        coordinates = {
            "method": self.methods,
            "n": ("n", self.sizes, {"long_name": "number of particles", "units": "1"}),
            "t": ("t", self.times, {"long_name": "time", "units": "1"}),
            "metric": list(self.metrics),
            "metric_long_name": ("metric", [str(getattr(m, "long_name", name)) for name, m in self.metrics.items()]),
            "metric_units": ("metric", [str(getattr(m, "units", "1")) for m in self.metrics.values()]),
        }
        return xr.Dataset(variables, coords=coordinates, attrs={"confidence": self.confidence} | dataset_attrs())

    def _below_zero(self) -> Array:
        """Return for every metric whether it may be negative, as one that does not say may."""
        return np.array([bool(getattr(metric, "signed", True)) for metric in self.metrics.values()])

    def _floor_variables(self, floors: list[dict[int, Array]], mean: Array) -> dict[str, Any]:
        """Return the floors at the sizes of the runs, and the numbers of draws that the means amount to."""
        percent = f"{100 * self.confidence:g} %"
        words = {
            "floor": "mean for independent draws",
            "floor_low": f"lower end of {percent} of independent draws",
            "floor_high": f"upper end of {percent} of independent draws",
        }
        own = [of[n] if n in of else next(iter(of.values())) for of, n in zip(floors, self.sizes, strict=True)]
        variables: dict[str, Any] = {
            name: (("n", "t", "metric"), values, {"long_name": text})
            for (name, text), values in zip(words.items(), np.stack(own, 1), strict=True)
        }
        equivalent = np.full(mean.shape, np.nan)
        for m, n, i, k in np.ndindex(*mean.shape):
            at = [float(values[0, i, k]) for values in floors[n].values()]
            equivalent[m, n, i, k] = equivalent_draws(float(mean[m, n, i, k]), list(floors[n]), at)
        over = ("method", "n", "t", "metric")
        variables["equivalent_draws"] = (over, equivalent, {"long_name": "equivalent number of independent draws"})
        return variables
