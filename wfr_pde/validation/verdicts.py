"""Verdict on a sampler, whether it does what it declares, with error rates, from independent runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows import Flow
from wfr_pde.integrate.truth_arguments import is_stationary
from wfr_pde.numerics.arguments import flag, knows_its_arguments
from wfr_pde.numerics.progress import reporting
from wfr_pde.numerics.typing import Array
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.targets.base import Target
from wfr_pde.validation.max_test import MaxTest, Runs, max_test
from wfr_pde.validation.reference import Reference, reference_of
from wfr_pde.validation.runs import Run, time_tolerance
from wfr_pde.validation.setting import Setting, checked_setting
from wfr_pde.validation.simulated import simulated
from wfr_pde.validation.statistics import Function
from wfr_pde.validation.verdict import INCONSISTENT, report, verdict_of

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.integrate.truth_protocol import Truth
    from wfr_pde.space.density import Density


@knows_its_arguments
def validate(
    sampler: Flow | Callable[..., Any] | xr.Dataset | Sequence[xr.Dataset],
    truth: Truth | xr.Dataset | xr.DataTree | Density | Target,
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
    confirm: bool = False,
    progress: bool | None = None,
) -> xr.Dataset:
    """Decide whether an implementation of a sampler does what its declared scheme says, with known error rates.

    The unit of replication is the independent run, never the particle. The null hypothesis is, for every statistic and
    time at once, |E[statistic] - reference| <= margin.

    - *Reference*: the law of the declared scheme for infinitely many particles, at the same dt and bandwidth, on a grid
      (what `solve` makes of a density); where the scheme has none, the truth.
    - *Margin*: the error of the reference; what so few particles cannot follow (`FinitePopulationCutoff`); and two
      biases with their signs, of a finite number, from runs with n and 2n particles, and, where the reference is the
      truth, of the step, from dt and dt/2. A bias may fall with any power from 1/2 on: the runs are extrapolated with
      the one that is kindest to the sampler.
    - *Test*: deviations studentised across the runs, and held against the quantile of their maximum over all statistics
      and times, by random signs of the runs (Romano and Wolf 2005, doi:10.1198/016214504000000539, for tests of that
      kind): false alarms at most in a share `level` of correct samplers.

    Three verdicts: *inconsistent*, and in which moment, region or mode, and by how much; *consistent*, where a
    deviation of `effect` standard deviations would have been seen; *not enough power*, and what would be. A fault that
    vanishes with dt is one against the declared scheme, and is found only if that has a law on the grid.

    In more dimensions than grids have, the truth is a product of laws of blocks: a DataTree of `ground_truth`, its
    `Trajectory`, or a `Product` for samplers that keep it. The law of the scheme is then known block by block where
    blocks stay independent (`Flow.factorises`); statistics are those of the blocks, in the coordinates y of the
    product, moments across blocks, the potential and its variance. The margin counts, too, what a particle's own kernel
    adds to estimates of the density in so many dimensions (`own_kernel`).

    Parameters
    ----------
    sampler : Flow, callable, or Datasets
        What is validated: a flow of particles; a function as `run_sampler` takes it; or runs that were made elsewhere,
        from independent draws of the start.
    truth : Dataset, DataTree, Trajectory, Density, Target, or any `Truth`
        As `ground_truth` returns it; a density or a distribution stands for all times: for samplers that keep pi,
        started from pi. A truth of your own must give densities on a grid, or `ProductLaw`.
    target : Target, optional
        pi, where the truth does not say it.
    dt : float
        Step of the sampler. A function gets it as its option `dt`, if it is given.
    n : int
        Number of particles of a run.
    seeds : int
        Number of independent runs, at least 20; twice or three times as many are made where biases have to be known.
    scheme : Flow, optional
        Flow that the sampler declares to be, of `wfr.samplers` and the splittings; by default the sampler itself.
    start : Target, optional
        Distribution that the runs start from; by default what the truth states, or its first density.
    t : array, optional
        Times to test at; by default at most four of the truth, the first not among them.
    modes, statistics :
        Places of modes, and functions, as `observables` takes them. Of a product the modes are those of the blocks, and
        given ones must differ in one block; it takes no functions.
    effect : float
        A deviation worth finding, in standard deviations of a statistic under the reference. 0.2 is what Cohen (1988)
        calls small.
    level : float
        Share of correct samplers that may be called inconsistent.
    rng : int
        Seed that all runs follow from.
    options : mapping, optional
        Further arguments of a function.
    confirm : bool
        Repeat the whole test with fresh seeds where it finds the sampler inconsistent, and return the second one: a
        correct sampler is then accused in a share level² of cases.
    progress : bool, optional
        Count steps on a bar; by default where stderr is a terminal, and in notebooks.

    Returns
    -------
    xarray.Dataset
        Over (t, statistic): `reference`, `mean`, `deviation` with `low` and `high` (simultaneous, of level `level`),
        `margin` and its parts, `resolution`, all of them in standard deviations but the first two, which are in units
        of the statistic; `score`, the studentised deviation beyond the margin over its critical value: above one it is
        inconsistent. `value` (seed, t, statistic) has all runs. The attributes `verdict`; `p_value`, the share of
        correct samplers in which something deviates by as much; `repeated`, whether it is that of fresh seeds; and
        `report`, the verdict in words: `print(ds.attrs["report"])` shows what deviates, or what would be enough.

    Raises
    ------
    TypeError, ValueError
        If something does not fit: see the message.

    Examples
    --------
    A Langevin sampler whose noise is too large by a tenth does not have the law that `Langevin` declares:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> density = wfr.Grid.covering(target, shape=48).density(target)
    >>> def faulty(target, x, times, rng, dt):
    ...     for k in range(round((times[-1] - times[0]) / dt) + 1):
    ...         if np.isclose(times, times[0] + k * dt).any():
    ...             yield times[0] + k * dt, x, None
    ...         x = x + dt * target.score(x) + 1.1 * np.sqrt(2 * dt) * rng.standard_normal(x.shape)
    >>> ds = wfr.validate(
    ...     faulty, density, target, scheme=wfr.samplers.Langevin(), start=target, t=[0, 1], dt=0.25, n=500, seeds=20
    ... )
    >>> ds.attrs["verdict"]
    'inconsistent'
    """
    setting = checked_setting(
        sampler=sampler,
        truth=truth,
        target=target,
        start=start,
        scheme=scheme,
        t=t,
        dt=dt,
        n=n,
        seeds=seeds,
        effect=effect,
        level=level,
        rng=rng,
        options=options,
    )
    if flag("confirm", confirm) and setting.given:
        raise ValueError(
            "runs that were made elsewhere cannot be repeated: leave out confirm=True, or give the sampler"
        )
    with reporting(progress, "validate"):
        reference = reference_of(setting, modes, statistics)
        found = _tested(setting, reference)
        if confirm and found.attrs["verdict"] == INCONSISTENT:
            fresh = int(np.random.SeedSequence(setting.rng, spawn_key=(3,)).generate_state(1)[0])
            found = _tested(replace(setting, rng=fresh), reference, repeated=1)
    return found


def _tested(setting: Setting, reference: Reference, repeated: int = 0) -> xr.Dataset:
    """Make the runs, test them, and return the Dataset of `validate`."""
    runs = _runs(setting, reference)
    test = max_test(runs, reference.means, reference.deviations, reference.margins, setting.level, setting.rng)
    ds = _dataset(setting, reference, runs, test).assign_attrs(repeated=repeated)
    return ds.assign_attrs(report=report(ds))


def _runs(setting: Setting, reference: Reference) -> Runs:
    """Make all runs that are needed: as declared; with 2n particles; with dt/2."""
    if setting.given:
        values = np.array([_evaluated(run, setting.times, reference) for run in setting.sampler])
        return Runs(values, setting.n)
    numbers = np.random.SeedSequence(setting.rng).generate_state(3 * setting.seeds).reshape(3, -1).tolist()

    def evaluated(seeds: list[int], n: int, dt: float | None) -> Array:
        return np.array([_evaluated(simulated(setting, seed, n, dt), setting.times, reference) for seed in seeds])

    base = evaluated(numbers[0], setting.n, setting.dt)
    scheme = setting.scheme
    interacting = scheme is None or scheme.interacting
    wide = evaluated(numbers[1], 2 * setting.n, setting.dt) if interacting else None
    exact = scheme is not None and math.isinf(scheme.order)
    kept = is_stationary(setting.truth) and scheme is not None and "equilibrium" in scheme.preserves
    stepped = not (reference.is_law or exact or kept or setting.dt is None)
    fine = evaluated(numbers[2], setting.n, setting.dt / 2) if stepped and setting.dt is not None else None
    return Runs(base, setting.n, wide, fine)


def _evaluated(run: Run, times: Array, reference: Reference) -> Array:
    """Return the statistics (t, k) of a run at the times after the first."""
    tolerance = time_tolerance(run.times)
    pairs = zip(times[1:], reference.observables, strict=True)
    return np.array([chosen.means(run.at(float(time), tolerance)) for time, chosen in pairs])


def _dataset(setting: Setting, reference: Reference, runs: Runs, test: MaxTest) -> xr.Dataset:
    """Return the Dataset of `validate`."""
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
        "own_kernel": (reference.own_kernel / scale, "what a particle's own kernel may add to a density", deviations),
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
        "verdict": verdict_of(test, setting.effect),
        "sampler": setting.name,
        "reference": reference.kind,
        "n": setting.n,
        "seeds": setting.seeds,
        "dt": math.nan if setting.dt is None else setting.dt,
        "effect": setting.effect,
        "level": setting.level,
        "critical": test.critical,
        "p_value": test.p_value,
        "repeated": 0,
        "power_factor": test.power_factor(setting.effect),
        "rng": setting.rng,
        **dataset_attrs(),
    }
    coordinates = {
        "t": ("t", setting.times[1:], {"long_name": "time", "units": "1"}),
        "statistic": reference.observables[0].names,
    }
    return xr.Dataset(variables, coords=coordinates, attrs=attrs)
