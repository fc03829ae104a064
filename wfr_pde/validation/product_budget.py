"""What `error_budget` exchanges where the truth is a product: laws block by block, and runs in all dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.flows import Flow
from wfr_pde.numerics.arguments import finite_array, shown
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.validation.budget_setting import BudgetLaws, BudgetSetting, exact_part, with_density
from wfr_pde.validation.law_density import LawDensity, ProductLawDensity
from wfr_pde.validation.mean_field import start_on
from wfr_pde.validation.product_mean_field import BlockLaw, law_of_block, splits
from wfr_pde.validation.product_parts import Part, part_of
from wfr_pde.validation.product_problem import BlockProblem, ProductProblem
from wfr_pde.validation.product_reference import error_of_block
from wfr_pde.validation.product_statistics import ProductObservables


@dataclass(frozen=True, eq=False, kw_only=True)
class ProductBudgetSetting(BudgetSetting):
    """Arguments of `error_budget` where the truth is a product.

    Splitting, time step and bandwidth are those of laws of infinitely many particles, which are products, so that
    their statistics follow from those of the blocks. What finitely many particles add is measured in all dimensions.
    """

    @cached_property
    def problem(self) -> ProductProblem:
        """The problems of the blocks."""
        return ProductProblem.of(self.truth, self.target, self.start)

    @cached_property
    def last(self) -> Any:
        """The true law at the end."""
        return self.truth.at(self.end)

    @override
    def check(self) -> None:
        """Refuse a sampler whose law is not known block by block, and what no product has.

        Raises
        ------
        TypeError, ValueError
        """
        if self.statistics is not None:
            raise ValueError(
                "statistics of your own are not known under a product of laws: leave them out; those of the blocks, "
                "and the covariances across blocks, are looked at"
            )
        if splits(self.sampler, self.problem):
            return
        raise ValueError(
            "error_budget exchanges the ingredients of a sampler in its law of infinitely many particles, which is not "
            f"known for sampler={shown(self.sampler)} in {self.problem.law.ndim} dimensions: "
            + _why_not(self.sampler, self.problem)
            + ". Compare it with the truth, by wfr.compare or wfr.validate"
        )

    @override
    def laws(self, dt: float) -> BudgetLaws:
        """Compute all laws of the blocks at one step, and put them together."""
        problem = self.problem
        modes = problem.modes_of_blocks(None if self.modes is None else finite_array("modes", self.modes))
        noted = [LawDensity() for _ in problem.blocks]
        own = [_OfBlock.of(self, *given, dt) for given in zip(problem.blocks, noted, modes, strict=True)]
        chosen = ProductObservables(self.last, problem.placed([one.part for one in own]))
        chosen = chosen.only([name for name in chosen.names if " < " not in name])

        def together(name: str) -> tuple[Array, Array]:
            pairs = [getattr(one, name) for one in own]
            return chosen.combined(*(problem.placed([pair[k] for pair in pairs]) for k in (0, 1)))

        truth, truth_error = together("truth")
        return BudgetLaws(
            dt=dt,
            chosen=chosen,
            truth=truth,
            truth_error=truth_error,
            split=together("split"),
            ideal=together("ideal"),
            own=together("own"),
            density=ProductLawDensity(problem, noted),
        )


@dataclass(frozen=True, eq=False)
class _OfBlock:
    """Statistics of one block, with expectations (k,) and errors (k,) under the truth and the laws."""

    part: Part
    truth: tuple[Array, Array]
    split: tuple[Array, Array]
    ideal: tuple[Array, Array]
    own: tuple[Array, Array]

    @classmethod
    def of(
        cls, setting: ProductBudgetSetting, block: BlockProblem, density: LawDensity, modes: Array | None, dt: float
    ) -> _OfBlock:
        """Solve one block with one ingredient after the other."""

        def law(flow: Flow) -> BlockLaw:
            return law_of_block(flow, block, setting.times, dt)

        number, ndim = block.numbers[0], block.law.ndim if isinstance(block.law, Density) else 1
        final = setting.last.factors[number]
        ideal = law(setting.sampler.map_parts(lambda part: with_density(part, density)))
        split = law(setting.sampler.map_parts(lambda part: exact_part(part, ndim)))
        pi: Any = block.target.at(setting.end) if block.target.moving else block.target
        fine = coarse = final
        if ideal.on_grids is not None:
            fine, coarse = (start_on(one[-1].grid, final) for one in (ideal.on_grids.fine, ideal.on_grids.coarse))
        part = part_of(fine, pi, modes)
        truth = part.means(fine)
        off = np.abs(truth - part.means(coarse))
        off += error_of_block(setting.truth, number, setting.end) * part.deviations(fine)
        return cls(
            part,
            (truth, off),
            split.expectations(-1, part, 2.0),
            ideal.expectations(-1, part),
            law(setting.sampler).expectations(-1, part),
        )


def _why_not(sampler: Flow, problem: ProductProblem) -> str:
    """Say why the law of a sampler is not known block by block."""
    number = len(problem.law.factors)
    if not sampler.factorises:
        return f"it does not split into the {number} independent blocks of the truth"
    if any(isinstance(block.law, RadialLaw) for block in problem.blocks):
        return "a block is radial, and steps of samplers have no law on the line of the distance alone"
    return f"some of the {number} blocks of the truth have no law of it, on a grid or as Gaussians"
