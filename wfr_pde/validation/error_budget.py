"""Where the error of a sampler comes from: every ingredient exchanged, in turn, for its grid version."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows import Flow
from wfr_pde.integrate.truth_arguments import as_truth, is_stationary, law_at, problem_of, start_of, start_time
from wfr_pde.numerics.arguments import draws, finite, instance, knows_its_arguments, real_array, share, shown, whole
from wfr_pde.numerics.progress import reporting
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.targets.base import Target
from wfr_pde.validation.budget_setting import BudgetLaws, BudgetSetting, with_density
from wfr_pde.validation.product_budget import ProductBudgetSetting
from wfr_pde.validation.setting import MOST_SEEDS
from wfr_pde.validation.statistics import Function

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.integrate.truth_protocol import Truth


# names of the parts, in the order in which ingredients are exchanged
PARTS = ("splitting", "time step", "bandwidth", "finite number", "Monte Carlo")


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

    Where the truth is a product in any dimension, and the law of the sampler splits into the same blocks
    (`Flow.factorises`), the first three parts are put together from laws block by block; runs are made in all
    dimensions, with the exact g summed over the blocks. Statistics are those of the blocks in the coordinates y of the
    product, covariances across blocks, the potential and its variance.

    Parameters
    ----------
    sampler : Flow
        A sampler with a law on the grid: compositions of `Langevin`, `MALA` (1D), `BirthDeath`, `FeynmanKac`,
        `Resample`, `SMCWFR`, or others that take densities and define `exact` and `with_density`.
    truth : Dataset, DataTree, Trajectory, or any `Truth`
        As `ground_truth` returns it; a truth of your own must give densities on a grid, or a `ProductLaw` of these and
        of Gaussians.
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
        Places of modes, and functions, as `observables` takes them; there are no regions. Of a product, modes that
        differ in one block, and no functions.
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
        If the sampler has no law on the grid, or none in the blocks of a product, or something else does not fit.

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
    first = law_at(truth, start_time(truth))
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
    begin: Any = start
    if begin is None:
        begin = (problem_of(truth).start or first) if isinstance(first, ProductLaw) else start_of(truth, "error_budget")
    kind = ProductBudgetSetting if isinstance(first, ProductLaw) else BudgetSetting
    setting = kind(
        sampler=sampler,
        truth=truth,
        target=target,
        start=begin,
        end=float(truth.times[-1]) if t is None else finite("t", t),
        modes=modes,
        statistics=statistics,
        seeds=seeds,
        rng=whole("rng", rng, 0, "the seed that all runs follow from"),
    )
    setting.check()
    laws, budgets = [], []
    with reporting(progress, "error_budget"):
        for step in steps:
            laws.append(setting.laws(step))
            budgets.append([_Budget.of(setting, laws[-1], count, confidence) for count in numbers])
            laws[-1].density.clear()
    return _dataset(setting, laws, budgets, steps, numbers, confidence)


def _listed(values: Any, kind: type, name: str) -> list[Any]:
    """Return one or several positive numbers as a list."""
    array = np.atleast_1d(real_array(name, values))
    if (
        isinstance(values, bool | np.bool_)
        or array.ndim != 1
        or not len(array)
        or not (array > 0).all()
        or not np.isfinite(array).all()
        or (array != array.astype(kind)).any()
    ):
        raise ValueError(f"{name} must be one or several positive numbers of type {kind.__name__}, got {shown(values)}")
    return [kind(value) for value in array]


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
    def of(cls, setting: BudgetSetting, laws: BudgetLaws, n: int, confidence: float) -> _Budget:
        """Find the parts from runs with own and exact g, and from independent ones."""
        from scipy.stats import t as student

        quantile = float(student.ppf((1 + confidence) / 2, setting.seeds - 1))
        state = np.random.SeedSequence([setting.rng, n]).generate_state(3 * setting.seeds)
        seeds = state.reshape(3, -1).tolist()
        exact = setting.sampler.map_parts(lambda part: with_density(part, laws.density))
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
    setting: BudgetSetting,
    laws: list[BudgetLaws],
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
