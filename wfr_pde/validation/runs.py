"""Runs of samplers as Datasets of particles: one by one, with their methods, and the times to look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows.base import Flow
from wfr_pde.numerics.arguments import finite_array, refuse_no_entries, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.space.particles import Particles

SAME_TIME, ROUNDING = 1e-9, 1e-13  # relative to the span of the times, and to the times


@dataclass(frozen=True)
class Run:
    """Run of a method: particles over times, of one seed."""

    method: str
    ds: Any

    @property
    def n(self) -> int:
        """Number of particles."""
        return int(self.ds.sizes["particle"])

    @property
    def times(self) -> Array:
        """Times at which positions are stored."""
        return np.asarray(self.ds[str(self.ds["position"].dims[0])].values, dtype=np.float64)

    def at(self, time: float, tolerance: float) -> Particles:
        """Return the particles at a time.

        Raises
        ------
        ValueError
            If the run has stored nothing within the tolerance of that time.
        """
        k = int(np.argmin(np.abs(self.times - time)))
        if abs(self.times[k] - time) > tolerance:
            raise ValueError(
                f"a run of {self.method} has not stored t={time:g}; it has {shortened(self.times)}: give t= with "
                "times that all runs have"
            )
        log_weights = self.ds["log_weight"].values[k] if "log_weight" in self.ds else None
        return Particles(self.ds["position"].values[k], log_weights)


def are_runs(given: Any) -> bool:
    """Tell whether something is runs, a Dataset or a list of them, and no sampler that makes some."""
    import xarray as xr

    return isinstance(given, xr.Dataset | list | tuple)


def listed_runs(runs: Any) -> list[Run]:
    """Return all runs, one by one, with the names of their methods.

    Parameters
    ----------
    runs : Datasets, or mapping method -> Dataset or Datasets
        Datasets of particles; one with a dimension `seed` is several runs.

    Raises
    ------
    TypeError, ValueError
        For what are no runs of particles, no runs at all, or one run given twice.
    """
    import xarray as xr

    refuse_no_entries("runs", runs)
    if isinstance(runs, xr.Dataset):
        runs = [runs]
    _refuse_sampler(runs)
    pairs: list[tuple[str | None, Any]]
    if isinstance(runs, Mapping):
        if len({str(name) for name in runs}) < len(runs):
            raise ValueError(f"two methods have the same name: {', '.join(map(str, runs))}")
        pairs = [(str(name), ds) for name, of in runs.items() for ds in _one_by_one(of)]
    elif isinstance(runs, Iterable) and not isinstance(runs, str | bytes | type):
        pairs = [(None, ds) for ds in runs]
    else:
        raise TypeError(f"runs must be Datasets of particles, or a mapping method -> Datasets, got {shown(runs)}")
    found = []
    for name, ds in pairs:
        _refuse_sampler(ds)
        if not isinstance(ds, xr.Dataset) or "position" not in ds:
            raise TypeError(
                f"runs (or sampler) must be Datasets of particles with the variable `position`, as solve returns "
                f"them for start.sample(n), got {type(ds).__name__}"
                + (f" with {', '.join(map(str, ds.data_vars))}" if isinstance(ds, xr.Dataset) else "")
            )
        method = name or str(ds.attrs.get("method", ds.attrs.get("flow", "samples")))
        seeds = [ds.isel(seed=k) for k in range(ds.sizes["seed"])] if "seed" in ds.dims else [ds]
        found += [Run(method, _ordered(one, method)) for one in seeds]
    _check_independent(found)
    if not found:
        raise ValueError(
            "no runs: what is given as runs, or as sampler, is empty; give at least one Dataset of particles"
        )
    return found


def _one_by_one(runs: Any) -> Iterable[Any]:
    """Return the runs of a method; what is no collection of them is refused later, with what it is."""
    return runs if isinstance(runs, Iterable) and not hasattr(runs, "data_vars") else [runs]


def _refuse_sampler(value: Any) -> None:
    """Refuse a sampler where its runs belong, with the call that makes them.

    Raises
    ------
    TypeError
    """
    if isinstance(value, Flow):
        call = "wfr.solve(target, sampler, start.sample(500, rng=k), truth.t, dt=0.01, rng=k)"
    elif callable(value) and not isinstance(value, type):
        call = "wfr.run_sampler(sampler, target, start, truth.t, n=500, rng=k)"
    else:
        return
    raise TypeError(f"runs must be runs of a sampler, not the sampler {shown(value)}: give [{call} for k in range(10)]")


def _check_independent(runs: list[Run]) -> None:
    """Refuse runs of one method with the same positions: one of them is counted as several."""
    alike: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        positions = run.ds["position"].values
        others = alike.setdefault((run.method, positions.shape, positions[-1:, :1].tobytes()), [])
        if any(_same(run, other) for other in others):
            raise ValueError(
                f"two runs of {run.method} have the same positions at all times, so that they are one run, counted "
                "twice: leave one out, or make the other with another seed, as in solve(..., start.sample(n, rng=1), "
                "..., rng=1)"
            )
        others.append(run)


def _same(one: Run, other: Run) -> bool:
    """Tell whether two runs hold the same times, positions and weights."""
    names = [name for name in ("position", "log_weight") if name in one.ds]
    same = names == [name for name in ("position", "log_weight") if name in other.ds]
    return (
        same
        and np.array_equal(one.times, other.times)
        and all(np.array_equal(one.ds[name].values, other.ds[name].values, equal_nan=True) for name in names)
    )


def _ordered(ds: Any, method: str) -> Any:
    """Return a run with the dimensions (time, particle, dim), in this order."""
    time = [name for name in ("t", "t_kept") if name in ds["position"].dims]
    if set(ds["position"].dims) != {*time, "particle", "dim"} or len(time) != 1:
        raise ValueError(
            f"the positions of a run of {method} have the dimensions {', '.join(map(str, ds['position'].dims))}; they "
            "must be t (or t_kept), particle and dim, and perhaps seed"
        )
    return ds.transpose(*time, "particle", "dim", ...)


def asked_times(t: ArrayLike) -> Array:
    """Return the times (t,) that the user asks for, as an array.

    Raises
    ------
    ValueError
        If they are no list of numbers.
    """
    asked = np.atleast_1d(finite_array("t", t))
    if asked.ndim != 1 or not len(asked):
        raise ValueError(f"t must be one time or more, got an array of shape {asked.shape}")
    return asked


def common_times(runs: list[Run], covered: Array) -> Array:
    """Return the times that all runs have stored, between the first and the last of those that a truth covers.

    Parameters
    ----------
    runs : list of Run
        Runs whose times are compared.
    covered : array (t,)
        Times of the truth; empty if it stands for all times.

    Raises
    ------
    ValueError
        If there is none.
    """
    times = runs[0].times
    for run in runs[1:]:
        near = np.abs(times[:, None] - run.times).min(axis=1) <= time_tolerance(run.times)
        times = times[near]
    if len(covered):
        slack = time_tolerance(covered)
        times = times[(times >= covered[0] - slack) & (times <= covered[-1] + slack)]
    if not len(times):
        raise ValueError(f"the runs and the truth have no time in common: the first run has {shortened(runs[0].times)}")
    return times


def time_tolerance(times: Array) -> float:
    """Return the difference up to which two times count as the same."""
    return max(SAME_TIME * float(np.ptp(times)), ROUNDING * float(np.abs(times).max()))


def shortened(times: Array) -> str:
    """Return the times as text, the first and last ones if there are many."""
    shown = [f"{time:g}" for time in times]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]])
