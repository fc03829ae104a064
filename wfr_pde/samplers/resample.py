"""Resampling: equal weights again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import FrozenStep
from wfr_pde.flows.law import Law
from wfr_pde.flows.sampler_laws.rest import Rest
from wfr_pde.numerics.arguments import choice, number
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.base import Sampler
from wfr_pde.space.particles import Particles

SCHEMES = ("systematic", "stratified", "multinomial")


@dataclass(frozen=True)
class Resample(Sampler):
    """Draw as many particles from the weighted ones, equally weighted, when the effective sample size is small.

    The draw is unbiased: particle i is drawn n w_i times on average. Systematic and stratified resampling draw one
    uniform number for all n strata, or one for each; multinomial ones are independent draws (Douc, Cappé and Moulines
    2005, arXiv:cs/0507025). It takes no time: dt is ignored. Its law on a grid is `Rest`.

    Parameters
    ----------
    threshold : float
        Effective sample size 1 / Σ w², as a share of n, above which nothing is done. 1 resamples whenever weights
        differ at all.
    scheme : {"systematic", "stratified", "multinomial"}

    Raises
    ------
    ValueError
        For a threshold outside (0, 1] or an unknown scheme.
    """

    threshold: float = 1.0
    scheme: str = "systematic"

    order = math.inf
    law = Law.REST
    preserves = frozenset({"mass", "positivity", "equilibrium"})

    @override
    def __post_init__(self) -> None:
        threshold = number("threshold", self.threshold)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], a share of the particles, got {threshold}")
        object.__setattr__(self, "threshold", threshold)
        choice("scheme", self.scheme, SCHEMES)

    @override
    def exact(self) -> Resample:
        """Return the resampling itself, whose law on a grid is to do nothing."""
        return self

    @override
    def law_on_grid(self) -> Rest:
        """Name the law of resampling infinitely many particles: nothing happens."""
        return Rest()

    @override
    def build_step(self, energy: Energy, template: Particles, dt: float) -> FrozenStep:
        """Prepare the resampling, which happens if the weights are uneven enough."""

        def step(state: Particles, rng: np.random.Generator | None) -> Particles:
            n = len(state.positions)
            if state.effective_sample_size >= self.threshold * n * (1 - 1e-12):
                return state
            return state.resampled(chosen(state.weights, np.random.default_rng(rng), self.scheme))

        return step


def chosen(weights: Array, rng: np.random.Generator, scheme: str = "systematic") -> np.ndarray:
    """Draw n particles by their weights: their numbers (n,), in ascending order."""
    n = len(weights)
    cumulative = np.cumsum(weights)
    if scheme == "multinomial":
        levels = np.sort(rng.random(n))
    else:
        levels = (np.arange(n) + (rng.random() if scheme == "systematic" else rng.random(n))) / n
    return np.minimum(np.searchsorted(cumulative, levels * cumulative[-1], side="right"), n - 1)
