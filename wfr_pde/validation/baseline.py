"""What metrics say of independent draws from the truth, and the number of draws that samples are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw

# numbers of draws that floors are taken at, over that of particles; a power law is taken in between
SHARES = (1 / 64, 1 / 16, 1 / 4, 1, 4)
MOST_AT_ONCE = 2**25  # numbers that are drawn at a time, 256 MiB; more are drawn set by set
FEWEST = 4  # draws of a floor: with fewer, means of metrics say little, and some are not defined
# of the logarithm of a floor, from the fewest to the most draws: one that falls by less tells no number of draws
LEAST_FALL = 0.2

LARGEST = 700.0  # exponent of a number of draws that is a float

Law = Density | Particles | ProductLaw
Metric = Callable[[Any, Particles], float]


def as_close(metrics: Iterable[Metric], law: Law, n: int) -> list[Metric]:
    """Return the metrics; those whose resolution depends on the number of particles look as closely as at `n`."""
    return [m.at_resolution_of(law, n) if hasattr(m, "at_resolution_of") else m for m in metrics]


@dataclass(frozen=True, eq=False)
class Baseline:
    """Independent draws from the truth, compared with it as runs are.

    Parameters
    ----------
    truth : Truth
        The draws are its own.
    times : array (t,)
        Times at which metrics are taken.
    laws : list of Density, Particles or ProductLaw
        The truth at these times.
    metrics : list of functions (law, Particles) -> float
        What is measured.
    replicates : int
        Number of sets of draws.
    confidence : float
        Share of the sets between `low` and `high`.
    """

    truth: Truth
    times: Array
    laws: list[Law]
    metrics: list[Metric]
    replicates: int
    confidence: float

    def floors(self, n: int, rng: np.random.Generator) -> dict[int, Array]:
        """Return mean, low and high value of every metric at every time, (3, t, metric), by the number of draws.

        Metrics look as closely as they do at `n` particles, whatever the number of draws.
        """
        fewest = max(FEWEST, *(int(getattr(metric, "fewest", 1)) for metric in self.metrics))
        numbers = sorted({fewest, max(fewest, n), *(max(fewest, round(share * n)) for share in SHARES)})
        values = np.empty((len(numbers), self.replicates, len(self.laws), len(self.metrics)))
        for i, (time, law) in enumerate(zip(self.times, self.laws, strict=True)):
            looking = as_close(self.metrics, law, n)
            # draws of its own for each number: they do not err alike
            for r, own in enumerate(self._sets(sum(numbers), law.ndim, float(time), rng)):
                for k, particles in enumerate(np.split(own, np.cumsum(numbers)[:-1])):
                    values[k, r, i] = [metric(law, Particles(particles)) for metric in looking]
        tail = (1 - self.confidence) / 2
        return {
            m: np.stack([v.mean(axis=0), *np.quantile(v, [tail, 1 - tail], axis=0)])
            for m, v in zip(numbers, values, strict=True)
        }

    def _sets(self, n: int, ndim: int, time: float, rng: np.random.Generator) -> Iterator[Array]:
        """Yield sets of n draws (n, d) from the truth at a time; drawn all at once where memory allows."""
        if self.replicates * n * ndim <= MOST_AT_ONCE:
            yield from np.split(self.truth.sample(self.replicates * n, time, rng), self.replicates)
            return
        for _ in range(self.replicates):
            yield self.truth.sample(n, time, rng)


def equivalent_draws(mean: float, numbers: list[int], floors: list[float]) -> float:
    """Return the number of draws whose floor is `mean`; zero for less than the fewest.

    It is a power law between the numbers that are known, and above. Floors that rise with the number by chance are
    pooled with their neighbours.
    """
    from scipy.optimize import isotonic_regression

    if not (mean > 0 and all(0 < floor < math.inf for floor in floors)):
        return math.nan  # no distance
    x, y = isotonic_regression(np.log(floors), increasing=False).x, np.log(numbers)
    x, first = np.unique(-x, return_index=True)
    if len(x) < 2 or x[-1] - x[0] < LEAST_FALL:
        return math.nan  # it does not fall with the number of draws
    x, y = -x, y[first]
    if not mean <= math.exp(x[0]):
        return 0.0
    k = min(max(int(np.searchsorted(-x, -math.log(mean))), 1), len(x) - 1)
    slope = (y[k] - y[k - 1]) / (x[k] - x[k - 1])
    exponent = float(y[k - 1] + slope * (math.log(mean) - x[k - 1]))
    return math.exp(exponent) if exponent < LARGEST else math.inf  # of a floor that hardly falls any more
