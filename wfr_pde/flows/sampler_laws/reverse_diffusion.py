"""The law of one step of a sampler of a reverse diffusion, on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import MemoryUse, Step
from wfr_pde.flows.diffusions.coefficients import values_at_probes
from wfr_pde.flows.diffusions.free_space import FreeSpaceFlow, with_account
from wfr_pde.flows.diffusions.scores import ScoreAlong
from wfr_pde.flows.sampler_laws.moved_densities import moved_density
from wfr_pde.flows.sampler_laws.reverse_steps import ReverseMethod
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density


@dataclass(frozen=True, eq=False)
class ReverseDiffusionLaw(FreeSpaceFlow):
    """The law of a step of `samplers.ReverseDiffusion` for infinitely many particles, with its errors in the step.

    A step moves a particle to m(x) and adds noise of a variance v, both of which depend on the time. Where cells, or up
    to 64 parts of each, are moved no further apart than the noise is wide, Gaussians about them are summed. Where there
    is less noise or none, as in deterministic methods and in a last ancestral step, the density is moved by the change
    of variables, with the inverse of m by Newton's method, and refused where m is not one-to-one.

    Parameters
    ----------
    method : ReverseMethod
        What makes the steps.
    """

    method: ReverseMethod

    self_adjoint = False
    takes_periodic = False

    @property
    @override
    def order(self) -> float:  # type: ignore[override]
        """The order of the method."""
        return self.method.order

    @override
    def reference(self, template: Any) -> np.ndarray:
        return reference_of(self.method, template)

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count places, Jacobians and interpolation on the cells and some around them."""
        cells = math.prod(n + 16 for n in template.grid.shape)
        return MemoryUse(8 * 8 * (template.ndim + 1) ** 2 * cells + 8 * sum(n**2 for n in template.grid.shape))

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the law of a step of the sampler of size `dt`."""
        self.check(energy, template)
        check_dimension(self.method, template)
        grid = template.grid

        def step(state: Density, t: float, rng: Any = None) -> Density:
            move = self.method.step(t, t + dt)
            one = grid.points().reshape(-1, grid.ndim)[:1]
            single = ScoreAlong(self.method.path, self.method.score)(one, t).dtype.itemsize <= 4

            def mean(points: Array) -> Array:
                return np.asarray(move.mean(points), dtype=np.float64)

            values, lost = moved_density(grid, state.log_values, mean, move.variance, single=single)
            self.weigh(state, values, "law of the sampler", t + dt)
            self.balance.add(lost, "noise that leaves the box", t + dt)
            return with_account(state, values)

        return step


def check_dimension(method: ReverseMethod, template: Any) -> None:
    """Refuse a measure of another dimension than the path.

    Raises
    ------
    ValueError
        If it is.
    """
    if template.ndim != method.path.ndim:
        raise ValueError(
            f"the path {method.path!r} is {method.path.ndim}-dimensional, but the start is {template.ndim}-dimensional"
        )


def reference_of(method: ReverseMethod, template: Any) -> np.ndarray:
    """Return values of the score and of the noise time, which tell runs apart."""
    score = ScoreAlong(method.path, method.score)
    return values_at_probes([score, method.path.noise_time], template)
