"""Where the error of a sampler comes from: every ingredient exchanged, in turn, for its grid version."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows import FiniteVolume, Flow, Repeated
from wfr_pde.integrate.time_loop import solve
from wfr_pde.integrate.truth_arguments import as_truth, density_at, is_stationary, problem_of, start_of, start_time
from wfr_pde.numerics.arguments import draws, finite, instance, knows_its_arguments, real_array, share, shown, whole
from wfr_pde.numerics.progress import reporting
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.density_ratio import LogRatio, OnGrid
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.targets.base import Target
from wfr_pde.validation.mean_field import Law, mean_field, moves_densities, start_on
from wfr_pde.validation.setting import MOST_SEEDS
from wfr_pde.validation.statistics import Function, Observables, observables

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.integrate.truth_protocol import Truth


# names of the parts, in the order in which ingredients are exchanged
PARTS = ("splitting", "time step", "bandwidth", "finite number", "Monte Carlo")
# of the exact transport per step, in more than one dimension, where its axes take turns: its error in time is then 1/4
# to 1/16
SUBSTEPS = 4


@dataclass(frozen=True, eq=False)
class LawDensity(LogRatio):
    """The g of the law of infinitely many particles: noted in a run on a grid, and given to particles of a second run.

    Attributes
    ----------
    frames : dict time -> Density
        The laws that a reaction has met.
    """

    frames: dict[float, Density] = field(default_factory=dict)

    @override
    def on_grid(self, grid: Grid) -> OnGrid:
        """Return the exact g, and note the density that it is taken of."""

        def noted(state: Density, energy: Energy, t: float) -> Any:
            self.frames[t] = state
            return energy.first_variation(state)

        return noted

    @override
    def __call__(self, state: Particles, target: Any, t: float) -> Array:
        """Return g at the particles; outside the box it is that of the nearest place inside."""
        density = self.frames[t]
        lower, upper = (np.array([axis.edges[k] for axis in density.grid.axes]) for k in (0, -1))
        inside = np.clip(state.positions, lower, upper)
        return density.log_prob(inside) - target.log_density(inside)


@knows_its_arguments
def error_budget(
    sampler: Flow,
    truth: Truth | xr.Dataset | Density | Target,
    target: Target | None = None,
    *,
    dt: float | Sequence[float],
    n: int | Sequence[int],
    seeds: int = 20,
    t: float | None = None,
    start: Target | None = None,
    modes: ArrayLike | None = None,
    statistics: Mapping[str, Function] | None = None,
    confidence: float = 0.95,
    rng: int = 0,
    progress: bool | None = None,
) -> xr.Dataset:
    """Divide the error of a sampler into its parts, over steps and numbers of particles, for expectations at one time.

    The sampler is run with one ingredient after the other exchanged, so that differences isolate its parts:

    - *splitting*: exact transport and exact reaction on a grid, at the step dt, less the truth;
    - *time step*: the sampler's own transport and reaction, with the exact g, for infinitely many particles, less that;
    - *bandwidth*: with its own estimate of g from infinitely many particles, less that;
    - *finite number*: runs of n particles with their own estimate, less runs with the exact g from the same random
      numbers, less the bandwidth;
    - *Monte Carlo*: independent runs of n particles with the exact g, less their law: zero, but for chance, what ratios
      of weights are biased by, and places that a law grows from and no particle has come to. `noise` is the standard
      deviation of a single run.

    The sum of the parts is held against the measured error, the mean over independent runs of the sampler as it is,
    less the truth.

    Parameters
    ----------
    sampler : Flow
        A sampler with a law on the grid: compositions of `Langevin`, `MALA` (1D), `BirthDeath`, `FeynmanKac`,
        `Resample`, `SMCWFR`, or others that take densities and define `exact` and `with_density`.
    truth : Dataset, Trajectory, or any `Truth`
        As `ground_truth` returns it; a truth of your own must give densities on a grid.
    target : Target, optional
        pi, where the truth does not state it.
    dt, n : numbers, or sequences of them
        Steps of the sampler, and numbers of particles.
    seeds : int
        Number of runs of each kind, of which there are three per pair of dt and n.
    t : float, optional
        Time of the expectations; by default the last one of the truth.
    start : Target, optional
        Distribution that the runs start from; by default what the truth states, or its first density.
    modes, statistics :
        Places of modes, and functions, as `observables` takes them; there are no regions.
    confidence : float
        Level of the intervals, which are Student's, over the runs.
    rng : int
        Seed that all runs follow from.
    progress : bool, optional
        Count steps on a bar; by default where stderr is a terminal, and in notebooks.

    Returns
    -------
    xarray.Dataset
        `part` (dt, n, parts, statistic) in the units of the statistic, with `part_half_width`; `sum`, `measured`, with
        half widths of their intervals; `noise`; `truth` and `standard_deviation` of a draw from it. `wfr.tables` has it
        as text, `plotting.budget` as a waterfall.

    Raises
    ------
    TypeError, ValueError
        If the sampler has no law on the grid, or something else does not fit.

    Examples
    --------
    One step of ½ of Langevin leads infinitely many particles to the mean ½, where the exact flow has e^-½ = 0.607; the
    part of the time step is the difference:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> density = wfr.Grid.covering(target, start, shape=48).density(start)
    >>> truth = wfr.solve(target, wfr.FiniteVolume(), density, t=[0, 0.5], dt=0.5)
    >>> ds = wfr.error_budget(wfr.samplers.Langevin(), truth, target, start=start, dt=0.5, n=50, seeds=4)
    >>> round(float(ds.part.sel(parts="time step", statistic="mean x").item()), 2)
    -0.11
    """
    truth = as_truth(truth, target)
    _refuse_product(truth, sampler)
    target = problem_of(truth).target if target is None else target
    if target is None:
        raise TypeError("give the target, a distribution such as Gaussian(0, 1), which the truth does not state")
    instance("target", target, Target, "such as Gaussian(mean=0, covariance=1)")
    steps, numbers = _listed(dt, float, "dt"), _listed(n, int, "n")
    seeds = whole("seeds", seeds, 2, "the number of runs of each kind", MOST_SEEDS)
    draws(max(numbers))
    confidence = share("confidence", confidence, "the level of the intervals, such as 0.95")
    if start is not None:
        instance("start", start, (Target, Density))
    instance("sampler", sampler, Flow, "of particles, such as samplers.SMCWFR()")
    if t is None and is_stationary(truth):
        raise ValueError("a density has no times: give t=")
    setting = _Setting(
        sampler=sampler,
        truth=truth,
        target=target,
        start=start_of(truth, "error_budget") if start is None else start,
        end=float(truth.times[-1]) if t is None else finite("t", t),
        modes=modes,
        statistics=statistics,
        seeds=seeds,
        rng=whole("rng", rng, 0, "the seed that all runs follow from"),
    )
    if not moves_densities(sampler, setting.final.ndim):
        raise TypeError(
            f"error_budget exchanges parts of a sampler with a law on the grid, which sampler={shown(sampler)} has not"
        )
    laws, budgets = [], []
    with reporting(progress, "error_budget"):
        for step in steps:
            laws.append(setting.laws(step))
            budgets.append([_Budget.of(setting, laws[-1], count, confidence) for count in numbers])
            laws[-1].density.frames.clear()
    return _dataset(setting, laws, budgets, steps, numbers, confidence)


def _refuse_product(truth: Truth, sampler: Any) -> None:
    """Refuse a truth in blocks, with what can be done: runs in all dimensions with the g of a grid are not made.

    Raises
    ------
    ValueError
    """
    law = truth.at(start_time(truth))
    if not isinstance(law, ProductLaw):
        return
    if getattr(sampler, "factorises", False):
        remedy = (
            "The law of this sampler splits into the blocks: give one of them, as error_budget(sampler, "
            'tree["factor_0"].to_dataset(), target.factors[0], ...). What weights of all blocks together add with '
            "finitely many particles is not in the budget of one; validate has it"
        )
    else:
        remedy = f"The law of {shown(sampler)} does not split into the blocks either: compare it with the truth"
    raise ValueError(
        f"error_budget exchanges the ingredients of a sampler on one grid, but the truth is a product of "
        f"{len(law.factors)} blocks in {law.ndim} dimensions. {remedy}"
    )


def _listed(values: Any, kind: type, name: str) -> list[Any]:
    """Return one or several positive numbers as a list."""
    array = np.atleast_1d(real_array(name, values))
    if (
        array.ndim != 1
        or not len(array)
        or not (array > 0).all()
        or not np.isfinite(array).all()
        or (array != array.astype(kind)).any()
    ):
        raise ValueError(f"{name} must be one or several positive numbers of type {kind.__name__}, got {shown(values)}")
    return [kind(value) for value in array]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Laws:
    """Expectations of the truth and of the laws on the grid at one step, with the errors of their parts."""

    dt: float
    chosen: Observables
    truth: Array
    truth_error: Array
    split: tuple[Array, Array]
    ideal: tuple[Array, Array]
    own: tuple[Array, Array]
    density: LawDensity


@dataclass(frozen=True, eq=False, kw_only=True)
class _Setting:
    """Arguments of `error_budget`, checked and complete."""

    sampler: Flow
    truth: Truth
    target: Target
    start: Target | Density
    end: float
    modes: Any
    statistics: Any
    seeds: int
    rng: int

    @property
    def times(self) -> Array:
        """Start and end (2,)."""
        return np.array([start_time(self.truth), self.end])

    @cached_property
    def final(self) -> Density:
        """The true density at the end, whose box is that of all laws."""
        return density_at(self.truth, self.end, "error_budget")

    def law(self, flow: Flow, dt: float) -> Law:
        """Compute the law of a flow on two grids."""
        return mean_field(flow, self.target, self.start, self.times, dt, self.final.grid)

    def laws(self, dt: float) -> _Laws:
        """Compute all that grids are needed for, at one step."""
        density = LawDensity()
        ideal = self.law(self.sampler.map_parts(lambda part: _with_density(part, density)), dt)
        split = self.law(self.sampler.map_parts(lambda part: _exact(part, self.final.ndim)), dt)
        own = self.law(self.sampler, dt)
        fine, coarse = (start_on(one[-1].grid, self.final) for one in (ideal.fine, ideal.coarse))
        chosen = observables(fine, self.target, self.modes, self.statistics)
        if self.statistics is None:
            chosen = chosen.only([name for name in chosen.names if " < " not in name])
        truth, on_coarse = chosen.means(fine), chosen.means(coarse)
        bound = float(self.truth.error_l1(self.end)) * chosen.deviations()
        return _Laws(
            dt=dt,
            chosen=chosen,
            truth=truth,
            truth_error=np.abs(truth - on_coarse) + bound,
            split=split.expectations(-1, chosen.means, 2.0),
            ideal=ideal.expectations(-1, chosen.means),
            own=own.expectations(-1, chosen.means),
            density=density,
        )

    def runs(self, flow: Flow, laws: _Laws, n: int, seeds: list[int]) -> Array:
        """Make runs, and return their expectations (seed, k)."""
        found = []
        for seed in seeds:
            positions = self.start.sample(n, rng=seed)
            ds = solve(self.target, flow, positions, self.times, laws.dt, rng=seed, keep="last", progress=False)
            found.append(laws.chosen.means(Particles(ds["position"].values[-1], ds["log_weight"].values[-1])))
        return np.array(found)


def _with_density(part: Flow, density: LogRatio) -> Flow:
    return part.with_density(density) if isinstance(part, Sampler) else part


def _exact(part: Flow, ndim: int) -> Flow:
    if not isinstance(part, Sampler):
        return part
    exact = part.exact()
    return Repeated(exact, SUBSTEPS) if ndim > 1 and isinstance(exact, FiniteVolume) else exact


@dataclass(frozen=True, eq=False)
class _Budget:
    """Parts (part, k) of the error at one step and number, their half widths, and what their sum should meet."""

    parts: Array
    half_widths: Array
    measured: Array
    measured_half_width: Array
    sum_half_width: Array
    noise: Array

    @classmethod
    def of(cls, setting: _Setting, laws: _Laws, n: int, confidence: float) -> _Budget:
        """Find the parts from runs with own and exact g, and from independent ones."""
        from scipy.stats import t as student

        quantile = float(student.ppf((1 + confidence) / 2, setting.seeds - 1))
        state = np.random.SeedSequence([setting.rng, n]).generate_state(3 * setting.seeds)
        seeds = state.reshape(3, -1).tolist()
        exact = setting.sampler.map_parts(lambda part: _with_density(part, laws.density))
        measured = setting.runs(setting.sampler, laws, n, seeds[0])
        own, paired = (setting.runs(flow, laws, n, seeds[1]) for flow in (setting.sampler, exact))
        oracle = setting.runs(exact, laws, n, seeds[2])

        def half(values: Array) -> Array:
            return quantile * values.std(axis=0, ddof=1) / math.sqrt(len(values))

        bandwidth = laws.own[0] - laws.ideal[0]
        grid = [
            laws.split[1] + laws.truth_error, laws.ideal[1] + laws.split[1], laws.own[1] + laws.ideal[1],
        ]  # fmt: skip
        parts = np.array(
            [
                laws.split[0] - laws.truth,
                laws.ideal[0] - laws.split[0],
                bandwidth,
                (own - paired).mean(axis=0) - bandwidth,
                oracle.mean(axis=0) - laws.ideal[0],
            ]
        )
        half_widths = np.array([*grid, half(own - paired) + grid[2], half(oracle) + laws.ideal[1]])
        return cls(
            parts, half_widths, measured.mean(axis=0) - laws.truth, half(measured) + laws.truth_error,
            np.sqrt(half(own - paired) ** 2 + half(oracle) ** 2) + laws.truth_error, measured.std(axis=0, ddof=1),
        )  # fmt: skip


def _dataset(
    setting: _Setting,
    laws: list[_Laws],
    budgets: list[list[_Budget]],
    steps: list[float],
    numbers: list[int],
    confidence: float,
) -> xr.Dataset:
    """Return the Dataset of `error_budget`."""
    import xarray as xr

    def stacked(name: str) -> Array:
        return np.array([[getattr(budget, name) for budget in row] for row in budgets])

    parts, over = stacked("parts"), ("dt", "n", "statistic")
    table: dict[str, tuple[Any, Array, str]] = {
        "part": (("dt", "n", "parts", "statistic"), parts, "part of the error"),
        "part_half_width": (("dt", "n", "parts", "statistic"), stacked("half_widths"), "half width of its interval"),
        "sum": (over, parts.sum(axis=2), "sum of the parts"),
        "sum_half_width": (over, stacked("sum_half_width"), "half width of its interval"),
        "measured": (over, stacked("measured"), "measured error of the mean over runs"),
        "measured_half_width": (over, stacked("measured_half_width"), "half width of its interval"),
        "noise": (over, stacked("noise"), "standard deviation of a run"),
    }
    variables: dict[str, Any] = {
        name: (dims, values, {"long_name": words, "units": "of the statistic"})
        for name, (dims, values, words) in table.items()
    }
    variables["truth"] = "statistic", laws[0].truth, {"long_name": "true expectation", "units": "of the statistic"}
    words = "standard deviation of a draw from the truth"
    variables["standard_deviation"] = "statistic", laws[0].chosen.deviations(), {"long_name": words, "units": "same"}
    coordinates = {
        "dt": ("dt", steps, {"long_name": "step", "units": "1"}),
        "n": ("n", numbers, {"long_name": "number of particles", "units": "1"}),
        "parts": list(PARTS),
        "statistic": laws[0].chosen.names,
    }
    attrs = {"sampler": repr(setting.sampler), "t": setting.end, "seeds": setting.seeds, "confidence": confidence}
    return xr.Dataset(variables, coords=coordinates, attrs=attrs | dataset_attrs())
