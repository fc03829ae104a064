"""What is asked of a verdict, checked: sampler, truth, target, start, scheme, times and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows import Flow
from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.samplers.external.load_callable import dotted_name
from wfr_pde.space.density import Density
from wfr_pde.targets import stored_distribution
from wfr_pde.targets.base import Target

Array = np.ndarray[Any, np.dtype[np.float64]]

FEWEST_SEEDS = 20
MOST_TIMES = 4  # by default


@dataclass(frozen=True, eq=False)
class Setting:
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
        """Name of the sampler."""
        if isinstance(self.sampler, Flow):
            return repr(self.sampler)
        if self.given:
            attrs = self.sampler[0].attrs
            return str(attrs.get("method", attrs.get("flow", "samples")))
        return dotted_name(self.sampler)


def checked_setting(
    *,
    sampler: Any,
    truth: Any,
    target: Any,
    start: Any,
    scheme: Any,
    t: Any,
    dt: Any,
    n: Any,
    seeds: Any,
    effect: Any,
    level: Any,
    rng: Any,
    options: Any,
) -> Setting:
    """Check the arguments of `validate` and complete them from the truth; all that can be refused is refused here."""
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
    return Setting(
        sampler=sampler,
        truth=truth,
        target=target,
        start=start,
        scheme=scheme,
        times=_times(truth, sampler, t),
        dt=None if dt is None else float(dt),
        n=int(n),
        seeds=int(seeds),
        effect=float(effect),
        level=float(level),
        rng=int(rng),
        options=dict(options or {}),
    )


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
    """Start time followed by the times to test."""
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
