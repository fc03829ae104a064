"""Metrics against draws from a law in any dimension, where no sum over cells is known."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from wfr_pde.metrics.base import Metric, check_measure
from wfr_pde.numerics.arguments import shown, whole
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw


@dataclass(frozen=True)
class ByDraws(Metric):
    """Another metric against a fixed set of independent draws from the reference, in place of the reference.

    So metrics that take particles as reference, such as `SlicedWasserstein`, `EnergyDistance`, the Laplace kernel of
    `MMD` and `ExpectationError`, take a `ProductLaw` in any dimension. The draws are the same at every call, of a seed.
    They add the noise of their number: n draws from the law have about the distance that n and `draws` particles have
    from each other, which is the floor that `compare` measures. Below it nothing is seen, however many the particles.

    Parameters
    ----------
    metric : metric
        It takes particles as reference.
    draws : int
        Number of draws.
    seed : int
        Of the draws.
    name : str, optional
        Name of the variable in a Dataset; by default that of the metric.

    Raises
    ------
    TypeError
        If the metric takes no particles as reference, or a measure does not fit.

    Examples
    --------
    E x² of draws from N(0, I) in thirty dimensions, against zero; the mean square over the draws is 1:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> from wfr_pde.space.product_law import ProductLaw
    >>> law = ProductLaw([wfr.Gaussian(np.zeros(30), 1.0)])
    >>> second = wfr.metrics.ExpectationError(lambda x: x[..., 0] ** 2, name="second")
    >>> value = wfr.metrics.ByDraws(second, draws=10_000)(law, wfr.Particles(np.zeros((1, 30))))
    >>> bool(abs(value - 1) < 0.15)
    True
    """

    metric: Any
    draws: int = 4000
    seed: int = 0
    name: str = ""

    references = (Density, Particles, ProductLaw)

    @override
    def __post_init__(self) -> None:
        if not callable(self.metric) or isinstance(self.metric, type) or not hasattr(self.metric, "references"):
            raise TypeError(f"metric must be one of wfr.metrics, such as EnergyDistance(), got {shown(self.metric)}")
        if Particles not in self.metric.references:
            raise TypeError(f"{self.metric.name} takes no particles as reference, so that draws do not help")
        unnamed = isinstance(self.name, str) and not self.name
        object.__setattr__(self, "name", self.metric.name if unnamed else self.name)
        super().__post_init__()
        object.__setattr__(self, "draws", whole("draws", self.draws, 1, "the number of draws from the reference"))
        object.__setattr__(self, "seed", whole("seed", self.seed, 0))
        for attribute in ("units", "signed", "splits_weights", "others", "max_ndim", "long_name", "fewest"):
            if attribute != "long_name" and hasattr(self.metric, attribute):
                object.__setattr__(self, attribute, getattr(self.metric, attribute))

    symmetric = False
    vanishes = False

    @property
    @override
    def long_name(self) -> str:
        return f"{self.metric.long_name}, against {self.draws} draws"

    @override
    def __call__(self, reference: Any, other: Any) -> float:
        if isinstance(reference, Density):
            check_measure(reference, "reference", self.name)
        drawn = _drawn(reference, self.draws, self.seed) if isinstance(reference, ProductLaw | Density) else reference
        metric: Callable[[Any, Any], float] = self.metric
        return float(metric(drawn, other))


@functools.lru_cache(maxsize=8)
def _drawn(law: ProductLaw | Density, draws: int, seed: int) -> Particles:
    """Return the draws, made once for all particles that are compared with them."""
    return Particles(law.sample(draws, seed))
