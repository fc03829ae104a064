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

SCHEMES = ("systematic", "stratified", "multinomial")  # ways to draw that are known, by name


@dataclass(frozen=True)
class Resample(Sampler):
    """Draw of as many particles from the weighted ones, equally weighted, when the effective sample size is small.

    The draw is unbiased: particle i is drawn n w_i times on average. Systematic and stratified resampling draw one
    uniform number for all n strata, or one for each; multinomial ones are independent draws. It takes no time: dt is
    ignored. Its law on a grid is `Rest`.

    Parameters
    ----------
    threshold : float
        Effective sample size 1 / Σ w², as a share of n, above which nothing is done. 1 resamples whenever weights
        differ at all.
    scheme : {"systematic", "stratified", "multinomial"}
        How the n particles are drawn.

    Raises
    ------
    ValueError
        For a threshold outside (0, 1] or an unknown scheme.

    References
    ----------
    Douc, Cappé and Moulines (2005), arXiv:cs/0507025.

    Examples
    --------
    Of four particles, that of weight ½ is drawn twice, and that of weight ¼ once:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> weighted = wfr.Particles([[0.0], [1.0], [2.0], [3.0]], log_weights=np.log([0.5, 0.25, 0.125, 0.125]))
    >>> ds = wfr.solve(wfr.Gaussian(0, 1), wfr.samplers.Resample(threshold=1), weighted, t=[0, 1], dt=1, rng=0)
    >>> ds.position.values[-1].ravel()[:3].tolist()
    [0.0, 0.0, 1.0]
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
    """Draw n particles by their weights.

    Returns
    -------
    array of int (n,)
        Their numbers, in ascending order.
    """
    n = len(weights)
    cumulative = np.cumsum(weights)
    if scheme == "multinomial":
        levels = np.sort(rng.random(n))
    else:
        levels = (np.arange(n) + (rng.random() if scheme == "systematic" else rng.random(n))) / n
    return np.minimum(np.searchsorted(cumulative, levels * cumulative[-1], side="right"), n - 1)
