"""Reference of a sampler in any dimension: the law of its scheme block by block, or the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.flows import Flow
from wfr_pde.integrate.time_loop import solve
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.space.density import Density
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.quadrature import with_corrected_masses
from wfr_pde.validation.own_kernel import own_kernel_margin
from wfr_pde.validation.product_mean_field import BlockLaw, Span, law_of_block, splits, unreached
from wfr_pde.validation.product_parts import Part, part_of
from wfr_pde.validation.product_problem import ProductProblem
from wfr_pde.validation.product_statistics import ProductObservables
from wfr_pde.validation.runs import Run, time_tolerance
from wfr_pde.validation.setting import Setting


def product_reference(setting: Setting, modes: Array | None, flow: Flow | None, dt: float, ideal: Flow | None) -> Any:
    """Return statistics, means, deviations, errors and what is unreached (t, k), and whether they are of the law.

    Parameters
    ----------
    setting : Setting
        What is asked.
    modes : array (k, d), optional
        Those of `ProductObservables`.
    flow : Flow, optional
        The declared scheme, if there is one.
    dt : float
        Its step, or that of what it stands for.
    ideal : Flow, optional
        What a sampler whose particles interact stands for, where the scheme has no law.

    Returns
    -------
    dict
        Of the fields of a `Reference`.
    """
    problem = ProductProblem.of(setting.truth, setting.target, setting.start)
    is_law = flow is not None and splits(flow, problem)
    laws: list[BlockLaw | None] = [None] * len(problem.blocks)
    if is_law and flow is not None:
        laws = [law_of_block(flow, block, setting.times, dt) for block in problem.blocks]
    factors = [_factors(setting, problem, laws, k) for k in range(len(setting.times))]
    chosen = [_chosen(setting, problem, modes, own, k + 1) for k, own in enumerate(factors[1:])]
    observables = [
        ProductObservables(problem.product(own), problem.placed(parts))
        for own, parts in zip(factors[1:], chosen, strict=True)
    ]
    means, errors = zip(
        *(_means(setting, problem, laws, one, parts, k + 1) for k, (one, parts) in enumerate(zip(observables, chosen, strict=True))),
        strict=True,
    )
    followed = flow if is_law else ideal
    gaps = np.zeros((len(observables), len(observables[0].names)))
    if followed is not None and (flow is None or flow.interacting):
        count = _counting(setting)
        span = Span(setting.times, dt, count)
        per_block = [
            unreached(followed, block, law, [(parts[i], own[i]) for parts, own in zip(chosen, factors[1:], strict=True)], span)
            for i, (block, law) in enumerate(zip(problem.blocks, laws, strict=True))
        ]
        own_kernels = own_kernel_margin(followed, [problem.product(own) for own in factors], setting.times, dt, count)
        for k, one in enumerate(observables):
            zeros = [np.zeros(len(own[k])) for own in per_block]
            centre = problem.placed([part.means(f) for part, f in zip(chosen[k], factors[k + 1], strict=True)])
            gaps[k] = one.combined(centre, problem.placed([own[k] for own in per_block]))[1]
            gaps[k] += own_kernels[k] * one.deviations() if own_kernels[k] else 0.0
            del zeros
    return {
        "observables": observables,
        "means": np.array(means),
        "deviations": np.array([one.deviations() for one in observables]),
        "errors": np.array(errors),
        "unreached": gaps,
        "is_law": is_law,
    }


def _factors(setting: Setting, problem: ProductProblem, laws: list[BlockLaw | None], k: int) -> list[Any]:
    """Return the laws of the different blocks at the time number `k`."""
    truth: Any = None
    found = []
    for block, law in zip(problem.blocks, laws, strict=True):
        if law is not None:
            found.append(law.laws[k])
            continue
        truth = setting.truth.at(float(setting.times[k])) if truth is None else truth
        factor = truth.factors[block.numbers[0]]
        found.append(with_corrected_masses(factor.normalised()) if isinstance(factor, Density) else factor)
    return found


def _chosen(setting: Setting, problem: ProductProblem, modes: Array | None, factors: list[Any], k: int) -> list[Part]:
    """Return the statistics of the different blocks at the time number `k`."""
    time = float(setting.times[k])
    return [
        part_of(law, block.target.at(time) if block.target.moving else block.target, places)
        for block, law, places in zip(problem.blocks, factors, problem.modes_of_blocks(modes), strict=True)
    ]


def _means(
    setting: Setting,
    problem: ProductProblem,
    laws: list[BlockLaw | None],
    observables: ProductObservables,
    parts: list[Part],
    k: int,
) -> tuple[Array, Array]:
    """Return the expectations (k,) of all statistics at the time number `k`, and their errors."""
    if all(law is not None for law in laws):
        found = [law.expectations(k, part) for law, part in zip(laws, parts, strict=True) if law is not None]
        means, errors = ([one[i] for one in found] for i in (0, 1))
        return observables.combined(problem.placed(means), problem.placed(errors))
    factors = [observables.law.factors[block.numbers[0]] for block in problem.blocks]
    means = [part.means(factor) for part, factor in zip(parts, factors, strict=True)]
    exact = observables.combined(problem.placed(means), problem.placed([0.0 * mean for mean in means]))[0]
    error = float(setting.truth.error_l1(float(setting.times[k])))
    return exact, error * observables.largest() if error else np.zeros_like(exact)


def _counting(setting: Setting) -> float:
    """Return how many of the n particles count: the least effective sample size of one run at the times.

    A place of one block holds the share of the particles that its law has there, in whatever dimension the rest is;
    but weights are products over the blocks, so that fewer and fewer particles carry them.
    """
    if setting.given:
        runs = setting.sampler
    else:
        seed = int(np.random.SeedSequence(setting.rng, spawn_key=(4,)).generate_state(1)[0])
        runs = [simulated(setting, seed, setting.n, setting.dt)]
    tolerance = time_tolerance(runs[0].times)
    sizes = [run.at(float(t), tolerance).effective_sample_size for run in runs for t in setting.times[1:]]
    return max(1.0, min(min(sizes), math.inf))


def simulated(setting: Setting, seed: int, n: int, dt: float | None) -> Run:
    """Make one run."""
    positions = setting.start.sample(n, rng=seed)
    if isinstance(setting.sampler, Flow):
        assert dt is not None
        ds = solve(setting.target, setting.sampler, positions, setting.times, dt, rng=seed, progress=False)
    else:
        options = setting.options | ({} if dt is None else {"dt": dt})
        ds = run_sampler(setting.sampler, setting.target, positions, setting.times, rng=seed, **options)
    return Run(setting.name, ds)


Start = Density | ProductLaw
