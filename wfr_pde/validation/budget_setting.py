"""What `error_budget` exchanges: laws of a sampler on grids with exact parts, and its runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.flows import FiniteVolume, Flow, Repeated
from wfr_pde.integrate.time_loop import solve
from wfr_pde.integrate.truth_arguments import density_at, start_time
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.arguments import shown
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.density_ratio import LogRatio
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target
from wfr_pde.validation.law_density import LawDensity, ProductLawDensity
from wfr_pde.validation.mean_field import Law, mean_field, moves_densities, start_on
from wfr_pde.validation.product_statistics import ProductObservables
from wfr_pde.validation.statistics import Observables, observables

# of the exact transport per step, in more than one dimension, where its axes take turns: its error in time is then 1/4
# to 1/16
SUBSTEPS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class BudgetLaws:
    """Expectations of the truth and of the laws on grids at one step, with the errors of their parts."""

    dt: float
    chosen: Observables | ProductObservables
    truth: Array
    truth_error: Array
    split: tuple[Array, Array]
    ideal: tuple[Array, Array]
    own: tuple[Array, Array]
    density: LawDensity | ProductLawDensity


@dataclass(frozen=True, eq=False, kw_only=True)
class BudgetSetting:
    """Arguments of `error_budget`, checked and complete."""

    sampler: Flow
    truth: Truth
    target: Target
    start: Any  # Target, Density or ProductLaw
    end: float
    modes: Any
    statistics: Any
    seeds: int
    rng: int

    @property
    def times(self) -> Array:
        """Start and end (2,)."""
        return np.array([start_time(self.truth), self.end])

    def check(self) -> None:
        """Refuse a sampler that has no law on the grid.

        Raises
        ------
        TypeError
        """
        if not moves_densities(self.sampler, self.final.ndim):
            raise TypeError(
                "error_budget exchanges parts of a sampler with a law on the grid, which "
                f"sampler={shown(self.sampler)} has not"
            )

    @cached_property
    def final(self) -> Density:
        """The true density at the end, whose box is that of all laws."""
        return density_at(self.truth, self.end, "error_budget")

    def law(self, flow: Flow, dt: float) -> Law:
        """Compute the law of a flow on two grids."""
        return mean_field(flow, self.target, self.start, self.times, dt, self.final.grid)

    def laws(self, dt: float) -> BudgetLaws:
        """Compute all that grids are needed for, at one step."""
        density = LawDensity()
        ideal = self.law(self.sampler.map_parts(lambda part: with_density(part, density)), dt)
        split = self.law(self.sampler.map_parts(lambda part: exact_part(part, self.final.ndim)), dt)
        own = self.law(self.sampler, dt)
        fine, coarse = (start_on(one[-1].grid, self.final) for one in (ideal.fine, ideal.coarse))
        chosen = observables(fine, self.target, self.modes, self.statistics)
        if self.statistics is None:
            chosen = chosen.only([name for name in chosen.names if " < " not in name])
        truth, on_coarse = chosen.means(fine), chosen.means(coarse)
        bound = float(self.truth.error_l1(self.end)) * chosen.deviations()
        return BudgetLaws(
            dt=dt,
            chosen=chosen,
            truth=truth,
            truth_error=np.abs(truth - on_coarse) + bound,
            split=split.expectations(-1, chosen.means, 2.0),
            ideal=ideal.expectations(-1, chosen.means),
            own=own.expectations(-1, chosen.means),
            density=density,
        )

    def runs(self, flow: Flow, laws: BudgetLaws, n: int, seeds: list[int]) -> Array:
        """Make runs, and return their expectations (seed, k)."""
        found = []
        for seed in seeds:
            positions = self.start.sample(n, rng=seed)
            ds = solve(self.target, flow, positions, self.times, laws.dt, rng=seed, keep="last", progress=False)
            found.append(laws.chosen.means(Particles(ds["position"].values[-1], ds["log_weight"].values[-1])))
        return np.array(found)


def with_density(part: Flow, density: LogRatio) -> Flow:
    """Return a part with another g, if it is a sampler."""
    return part.with_density(density) if isinstance(part, Sampler) else part


def exact_part(part: Flow, ndim: int) -> Flow:
    """Return the part of the equation that a sampler stands for, as it is solved on a grid of `ndim` axes."""
    if not isinstance(part, Sampler):
        return part
    exact = part.exact()
    return Repeated(exact, SUBSTEPS) if ndim > 1 and isinstance(exact, FiniteVolume) else exact
