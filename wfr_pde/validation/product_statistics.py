"""Expectations that samplers of products are judged by: those of the blocks, and what couples the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.validation.product_parts import Part

SPREAD = "variance of the potential"  # its name among the statistics


@dataclass(frozen=True, eq=False)
class ProductObservables:
    """Functions of a point of R^d, and their expectations under products and particles.

    - of every block: moments of its coordinates, regions, modes, as in `observables`, in the coordinates y of the law;
    - *cross moments*: products of two coordinates of different blocks about their means, "covariance y1 y5", which are
      zero where the blocks are independent;
    - "potential", the sum over the blocks, and "variance of the potential", which is the sum of those of the blocks
      where these are independent.

    Parameters
    ----------
    law : ProductLaw
        The reference.
    parts : sequence of Part
        Statistics of the blocks, in their order.
    kept : array of bool (k,), optional
        Which of all statistics are kept; all by default.
    """

    law: ProductLaw
    parts: Sequence[Part]
    kept: Any = None

    @cached_property
    def labels(self) -> list[str]:
        """Names of the coordinates: x1, ... where they are those of the target, y1, ... of turned axes."""
        letter = "x" if np.array_equal(self.law.rotation, np.eye(self.law.ndim)) else "y"
        return [f"{letter}{k + 1}" for k in range(self.law.ndim)]

    @cached_property
    def pairs(self) -> tuple[Array, Array]:
        """Numbers of two coordinates of different blocks, of all such pairs."""
        blocks = np.concatenate([np.full(b.stop - b.start, k) for k, b in enumerate(self.law.blocks)])
        later, earlier = np.tril_indices(self.law.ndim, -1)
        apart = blocks[later] != blocks[earlier]
        return earlier[apart], later[apart]

    @cached_property
    def all_names(self) -> list[str]:
        """Names of all statistics."""
        names: list[str] = []
        for part, block in zip(self.parts, self.law.blocks, strict=True):
            names += part.named(self.labels[block])[:-2]
        i, j = self.pairs
        names += [f"covariance {self.labels[a]} {self.labels[b]}" for a, b in zip(i.tolist(), j.tolist(), strict=True)]
        return [*names, "potential", SPREAD]

    @property
    def names(self) -> list[str]:
        """Names of the statistics that are kept."""
        return [name for name, keep in zip(self.all_names, self._kept, strict=True) if keep]

    @property
    def _kept(self) -> Array:
        return np.ones(len(self.all_names), dtype=bool) if self.kept is None else self.kept

    def only(self, which: list[str]) -> ProductObservables:
        """Keep the functions with some of the names."""
        wanted = set(which)
        return ProductObservables(self.law, self.parts, np.array([name in wanted for name in self.all_names]))

    @cached_property
    def centre(self) -> Array:
        """Means of the coordinates y, which second moments are about."""
        return np.concatenate([part.centre for part in self.parts])

    @property
    def level(self) -> float:
        """Expectation of the potential under the reference, which its variance is about."""
        return sum(part.level for part in self.parts)

    def means(self, measure: Particles) -> Array:
        """Return the expectations (k,) under particles."""
        weights, y = measure.weights, self.law.inner(measure.positions)
        values = [part.values(y[:, block]) for part, block in zip(self.parts, self.law.blocks, strict=True)]
        potential = np.sum([own[:, -2] for own in values], axis=0)
        centred = y - self.centre
        second = (centred * weights[:, None]).T @ centred
        spread = float(weights @ (potential - self.level) ** 2)
        return self._joined([weights @ own for own in values], second[self.pairs], float(weights @ potential), spread)

    def combined(self, means: Sequence[Array], errors: Sequence[Array]) -> tuple[Array, Array]:
        """Return expectations (k,) of all statistics where blocks are independent, and their errors, from the blocks'.

        Moments across blocks are products of first moments about the centres of the reference, which are about zero.

        Parameters
        ----------
        means, errors : sequences of arrays
            Of the statistics of every block, and what they may be off.

        Returns
        -------
        arrays (k,), (k,)
        """
        first = self._firsts(means) - self.centre
        off = self._firsts(errors)
        i, j = self.pairs
        apart = np.array([mean[-2] - part.level for mean, part in zip(means, self.parts, strict=True)])
        off_apart = np.array([error[-2] for error in errors])
        square = sum(mean[-1] for mean in means) + apart.sum() ** 2 - np.sum(apart**2)
        off_square = sum(error[-1] for error in errors) + off_apart.sum() * (2 * np.abs(apart).sum() + off_apart.sum())
        cross = off[i] * (np.abs(first[j]) + off[j]) + np.abs(first[i]) * off[j]
        return (
            self._joined(means, first[i] * first[j], self.level + apart.sum(), square),
            self._joined(errors, cross, off_apart.sum(), off_square),
        )

    def deviations(self) -> Array:
        """Return the standard deviations (k,) of a single draw from the reference."""
        own = [part.deviations(factor) for part, factor in zip(self.parts, self.law.factors, strict=True)]
        variances, squares = np.array([d[-2] for d in own]) ** 2, np.array([d[-1] for d in own]) ** 2
        first, (i, j) = self._firsts(own), self.pairs
        fourth = float(np.sum(squares - 2 * variances**2))  # cumulants of independent terms add
        spread = np.sqrt(fourth + 2 * float(variances.sum()) ** 2)
        return self._joined(own, first[i] * first[j], np.sqrt(variances.sum()), spread)

    def _firsts(self, own: Sequence[Array]) -> Array:
        """Return the values of the coordinates themselves (d,), which come first in every block."""
        return np.concatenate([values[: len(part.centre)] for values, part in zip(own, self.parts, strict=True)])

    def _joined(self, own: Sequence[Array], cross: Array, level: float, spread: float) -> Array:
        return np.concatenate([*(values[:-2] for values in own), cross, [level, spread]])[self._kept]
