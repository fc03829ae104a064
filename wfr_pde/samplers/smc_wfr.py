"""Sequential Monte Carlo for the WFR flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step
from wfr_pde.flows.composition import Lie
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import flag
from wfr_pde.samplers.base import Sampler, sampler_rate
from wfr_pde.samplers.density_ratio import MixtureDensity
from wfr_pde.samplers.feynman_kac import FeynmanKac
from wfr_pde.samplers.langevin import Langevin
from wfr_pde.samplers.resample import Resample
from wfr_pde.space.particles import Particles


@dataclass(frozen=True)
class SMCWFR(Sampler):
    """SMC-WFR: resample, one Langevin step, and the weights of the reaction by the mixture of the Langevin kernels.

    Y_i = X_i + rate dt score(X_i), X_i ← Y_i + sqrt(2 rate dt) N(0, I), q_i = 1/n Σ_j N(X_i; Y_j, 2 rate dt I), W_i ∝
    (pi(X_i) / q_i)^(1 - e^(-reaction_rate dt)). The Lie splitting W-FR, of order 1 in dt; a sum over all pairs, in time
    O(n²) and memory O(n). Its law on a grid is that for n to infinity.

    Parameters
    ----------
    rate : float
        Transport rate alpha > 0.
    reaction_rate : float
        Reaction rate beta >= 0.
    self_term : bool
        Whether q_i has the kernel that particle i itself was drawn from, as in the paper.
    threshold : float
        When particles are resampled, see `Resample`.
    scheme : {"systematic", "stratified", "multinomial"}
        How particles are resampled, see `Resample`.

    Raises
    ------
    ValueError
        If a rate is negative, or that of transport is zero.

    References
    ----------
    Crucinio and Pathiraja (2025), arXiv:2506.05905.

    Examples
    --------
    The law of infinitely many particles: from N(1, 1) a Langevin step of ½ leads to N(½, 5/4), and the reaction to the
    product of its power e^-½ and of that 1 - e^-½ of pi: the mean is that of the precisions 0.8 e^-½ and 1 - e^-½.

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=64)
    >>> flow = wfr.samplers.SMCWFR()
    >>> ds = wfr.solve(target, flow, grid.density(start), t=[0, 0.5], dt=0.5, record=[wfr.diagnostics.mean])
    >>> round(ds["mean"].values[-1].item(), 3)
    0.276
    """

    rate: float = 1.0
    reaction_rate: float = 1.0
    self_term: bool = True
    threshold: float = 1.0
    scheme: str = "systematic"

    law = Law.WFR
    factorises = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(
            self, "reaction_rate", sampler_rate(self.reaction_rate, "the reaction of SMCWFR", "reaction_rate")
        )
        if self.rate == 0:
            raise ValueError("SMCWFR needs rate > 0: without transport there is no mixture to take the weights from")
        flag("self_term", self.self_term)
        Resample(self.threshold, self.scheme)  # checks them

    @property
    def composition(self) -> Lie:
        """Composition of flows that the step is made of."""
        resample, move, weigh = self._parts
        return Lie(Lie(resample, move), weigh)

    @property
    def _parts(self) -> tuple[Resample, Langevin, FeynmanKac]:
        """Samplers that the step is made of, in order."""
        reaction = FeynmanKac(self.reaction_rate, MixtureDensity(self.self_term))
        return Resample(self.threshold, self.scheme), Langevin(self.rate), reaction

    @override
    def law_on_grid(self) -> Lie:
        """Name the law of one step: the composition of the laws of its parts."""
        resample, move, weigh = (part.law_on_grid() for part in self._parts)
        return Lie(Lie(resample, move), weigh)

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare a step that resamples, moves and weighs."""
        step = self.composition.make_step(energy, template, dt)

        def advance(state: Any, t: float, rng: np.random.Generator | None = None) -> Any:
            return step(state, t, np.random.default_rng(rng))

        return advance

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """Return the composition with its parts exchanged."""
        return self.composition.map_parts(exchange)
