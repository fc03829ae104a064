"""Reference of a sampler in any dimension: the law of its scheme block by block, or the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.flows import Flow
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.quadrature import with_corrected_masses
from wfr_pde.validation.own_kernel import own_kernel_margin
from wfr_pde.validation.product_mean_field import Span, law_of_block, splits, unreached
from wfr_pde.validation.product_parts import Part, part_of
from wfr_pde.validation.product_problem import ProductProblem
from wfr_pde.validation.product_statistics import ProductObservables
from wfr_pde.validation.runs import time_tolerance
from wfr_pde.validation.setting import Setting
from wfr_pde.validation.simulated import simulated


@dataclass(frozen=True, eq=False)
class ProductReference:
    """Statistics of the blocks and of the whole at the times, under what the runs are compared with.

    Attributes
    ----------
    problem : ProductProblem
        Of the blocks.
    laws : list of BlockLaw or None
        Of the declared scheme in the different blocks, where it is known in all.
    factors : list of lists
        Laws of the different blocks at all times, the first among them.
    parts : list of lists of Part
        Statistics of the different blocks at the times after the first.
    observables : list of ProductObservables
        Statistics of the whole at these.
    """

    problem: ProductProblem
    laws: list[Any]
    factors: list[list[Any]]
    parts: list[list[Part]]
    observables: list[ProductObservables]

    @property
    def is_law(self) -> bool:
        """Whether the reference is the law of the declared scheme."""
        return all(law is not None for law in self.laws)

    @classmethod
    def of(cls, setting: Setting, modes: Array | None, dt: float) -> ProductReference:
        """Split the problem, and solve the blocks where the law of the declared scheme splits.

        Parameters
        ----------
        setting : Setting
            What is asked.
        modes : array (k, d), optional
            Places of modes.
        dt : float
            Step of the scheme.

        Raises
        ------
        ValueError
            If target, start or modes do not split into the blocks of the truth.
        """
        problem, scheme = ProductProblem.of(setting.truth, setting.target, setting.start), setting.scheme
        laws: list[Any] = [None] * len(problem.blocks)
        if scheme is not None and splits(scheme, problem):
            laws = [law_of_block(scheme, block, setting.times, dt) for block in problem.blocks]
        factors = [_factors(setting, problem, laws, k) for k in range(len(setting.times))]
        places = problem.modes_of_blocks(modes)
        parts = [
            [
                part_of(law, block.target.at(t), where)
                for law, block, where in zip(own, problem.blocks, places, strict=True)
            ]
            for t, own in zip(setting.times[1:].tolist(), factors[1:], strict=True)
        ]
        chosen = [
            ProductObservables(problem.product(own), problem.placed(some))
            for own, some in zip(factors[1:], parts, strict=True)
        ]
        common = set(chosen[0].names).intersection(*(one.names for one in chosen))
        return cls(problem, laws, factors, parts, [one.only(list(common)) for one in chosen])

    def means(self, truth: Truth, times: Array) -> tuple[Array, Array]:
        """Return the expectations (t, k), and bounds or estimates of their errors."""
        pairs = [self._means_at(truth, float(t), k) for k, t in enumerate(times[1:])]
        return np.array([mean for mean, _ in pairs]), np.array([error for _, error in pairs])

    def _means_at(self, truth: Truth, time: float, k: int) -> tuple[Array, Array]:
        one, parts = self.observables[k], self.parts[k]
        if self.is_law:
            found = [law.expectations(k + 1, part) for law, part in zip(self.laws, parts, strict=True)]
            return one.combined(*(self.problem.placed([pair[i] for pair in found]) for i in (0, 1)))
        means, errors = [], []
        for block, part, factor in zip(self.problem.blocks, parts, self.factors[k + 1], strict=True):
            means.append(part.means(factor))
            error = error_of_block(truth, block.numbers[0], time)
            errors.append(error * part.largest(factor) if error else np.zeros(len(means[-1])))
        return one.combined(self.problem.placed(means), self.problem.placed(errors))

    def unreached(self, setting: Setting, flow: Flow, dt: float) -> tuple[Array, Array]:
        """Return how far expectations (t, k) may be off as the particles are finitely many, beyond a power of them.

        Two causes are known, and returned by themselves: places of a block where less than one of the particles that
        count is expected, block by block; and, of estimates of the density, the particle's own kernel.
        """
        count = _counting(setting)
        span = Span(setting.times, dt, count)
        gaps = []
        for i, (block, law) in enumerate(zip(self.problem.blocks, self.laws, strict=True)):
            chosen = [(some[i], own[i]) for some, own in zip(self.parts, self.factors[1:], strict=True)]
            gaps.append(unreached(flow, block, law, chosen, span))
        laws, own = [self.problem.product(own) for own in self.factors], setting.scheme or flow
        kernels = own_kernel_margin(own, laws, setting.times, dt, count)
        emptied, own_kernels = [], []
        for k, one in enumerate(self.observables):
            means = [part.means(own) for part, own in zip(self.parts[k], self.factors[k + 1], strict=True)]
            placed = self.problem.placed(means), self.problem.placed([gap[k] for gap in gaps])
            emptied.append(one.combined(*placed)[1])
            scale = one.deviations()
            own_kernels.append(np.where(scale > 0, kernels[k] * np.where(scale > 0, scale, 1.0), 0.0))
        return np.array(emptied), np.array(own_kernels)


def error_of_block(truth: Any, number: int, time: float) -> float:
    """Return the L1 error of one block of a truth, or else that of the whole."""
    blocks = getattr(truth, "factors", None)
    return float(truth.error_l1(time) if blocks is None else blocks[number].error_l1(time))


def _factors(setting: Setting, problem: ProductProblem, laws: list[Any], k: int) -> list[Any]:
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
    return float(max(1.0, min(sizes)))
