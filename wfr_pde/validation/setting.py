"""Arguments of a verdict, checked: sampler, truth, target, start, scheme, times and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows import Flow
from wfr_pde.integrate.truth_arguments import (
    as_truth,
    density_at,
    is_stationary,
    law_at,
    problem_of,
    start_of,
    start_time,
)
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.arguments import draws, instance, positive, share, shown, whole
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.external.load_callable import dotted_name
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.targets.base import Target
from wfr_pde.validation.runs import are_runs, asked_times, common_times, listed_runs, time_tolerance

# bounds of the number of runs: variances over fewer are too uncertain, more are taken for a mistake
FEWEST_SEEDS, MOST_SEEDS = 20, 10**6
MOST_TIMES = 4  # most times that are tested by default: more cost power, as the test is of all at once


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """Arguments of `validate`, checked and complete."""

    sampler: Any  # a Flow, a function, or a list of Run
    truth: Truth
    box: Grid | None  # of the truth at the first time; None in more dimensions than grids have, where it is a product
    target: Target
    start: Target | Density | ProductLaw
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
    def name(self) -> str:
        """Name of the sampler, for the report."""
        if isinstance(self.sampler, Flow):
            return repr(self.sampler)
        return self.sampler[0].method if self.given else dotted_name(self.sampler)


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
    """Check the arguments of `validate`, and complete them from the truth.

    Raises
    ------
    TypeError, ValueError
        For everything that can be refused before a run is made.
    """
    truth = as_truth(truth, target)
    first = law_at(truth, start_time(truth))
    laws = first.factors if isinstance(first, ProductLaw) else [first]
    grids = [law.grid for law in laws if isinstance(law, Density)]
    box = None if isinstance(first, ProductLaw) else density_at(truth, start_time(truth), "validate").grid
    if any(axis.periodic for grid in grids for axis in grid.axes):
        raise ValueError("samplers know no periodic axes: validate needs a truth between no-flux walls")
    target = problem_of(truth).target if target is None else target
    if target is None:
        raise TypeError("give the target, a distribution such as Gaussian(0, 1), which the truth does not state")
    instance("target", target, Target, "such as Gaussian(mean=0, covariance=1)")
    if start is None and isinstance(first, ProductLaw):
        start = problem_of(truth).start or first
    elif start is None:
        start = start_of(truth, "validate")
    else:
        instance("start", start, (Target, Density))
    if options is not None:
        instance("options", options, Mapping, "of names and values")
    _check_numbers(n, seeds, effect, level, dt)
    if are_runs(sampler):
        sampler = listed_runs(sampler)
        if len({run.n for run in sampler}) > 1:
            raise ValueError(
                "the runs have different numbers of particles: validate those of each number by themselves"
            )
        n, seeds = sampler[0].n, len(sampler)
        if seeds < FEWEST_SEEDS:
            raise ValueError(f"a verdict needs at least {FEWEST_SEEDS} independent runs, got {seeds}")
    elif isinstance(sampler, type) or not (isinstance(sampler, Flow) or callable(sampler)):
        raise TypeError(f"sampler must be a Flow such as samplers.SMCWFR(), a function, or runs, got {shown(sampler)}")
    elif isinstance(sampler, Flow) and dt is None:
        raise ValueError(f"{type(sampler).__name__} needs a step: give dt=")
    if scheme is None and isinstance(sampler, Flow):
        scheme = sampler
    if scheme is not None and not isinstance(scheme, Flow):
        raise TypeError(f"scheme must be a Flow such as samplers.SMCWFR(), got {shown(scheme)}")
    if scheme is not None and dt is None:
        raise ValueError("the law of the declared scheme needs its step: give dt=")
    return Setting(
        sampler=sampler,
        truth=truth,
        box=box,
        target=target,
        start=start,
        scheme=scheme,
        times=_times(truth, sampler, t),
        dt=None if dt is None else float(dt),
        n=int(n),
        seeds=int(seeds),
        effect=float(effect),
        level=float(level),
        rng=whole("rng", rng, 0, "the seed that all runs follow from"),
        options=dict(options or {}),
    )


def _check_numbers(n: Any, seeds: Any, effect: Any, level: Any, dt: Any) -> None:
    whole("n", n, 2, "the number of particles of a run")
    draws(n)
    whole("seeds", seeds, FEWEST_SEEDS, "the number of independent runs", MOST_SEEDS)
    positive("effect", effect, "a deviation worth finding, in standard deviations")
    share("level", level, "the share of correct samplers that may be called inconsistent, such as 0.05")
    if dt is not None:
        positive("dt", dt, "the step of the sampler")


def _times(truth: Truth, sampler: Any, t: ArrayLike | None) -> Array:
    """Return the start time followed by the times to test."""
    first = start_time(truth)
    if t is not None:
        asked = np.unique(asked_times(t))
        asked = asked[asked > first]
        if not len(asked):
            raise ValueError(f"t has no time after that of the start, {first:g}: got {t}")
        return np.concatenate([[first], asked])
    if isinstance(sampler, list):
        stored = common_times(sampler, truth.times)
        later = stored[stored > first + time_tolerance(stored)]
    elif is_stationary(truth):
        raise ValueError("a density has no times: give t=")
    else:
        later = truth.times[1:]
    if not len(later):
        raise ValueError("the truth has no time after its first: ask ground_truth for later ones, or give t=")
    chosen = np.unique(np.linspace(len(later) - 1, 0, MOST_TIMES, endpoint=False).round().astype(int))
    return np.concatenate([[first], later[chosen]])
