"""The problem of every block of a product, from what is known of the whole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.integrate.factor_targets import factor_targets
from wfr_pde.integrate.truth_arguments import is_stationary, start_time
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.frame import Frame
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.mixture import GaussianMixture
from wfr_pde.targets.turned import turned, turned_points

LOOKS = 64  # draws at which a split is looked at
SEED = 0  # of these draws
SAME_FRAME = 1e-9  # of two frames: the largest difference of entries


@dataclass(frozen=True, eq=False)
class BlockProblem:
    """Flow of one block, or of several equal ones.

    Attributes
    ----------
    numbers : list of int
        Of the blocks.
    law : Density, Gaussian or RadialLaw
        The truth at the first time.
    target : Target
        pi of the block; that of the distance from the origin where the law is radial.
    start : Target, Density, Gaussian or RadialLaw
        What the runs start from.
    """

    numbers: list[int]
    law: Any
    target: Target
    start: Any


@dataclass(frozen=True, eq=False)
class ProductProblem:
    """Different blocks of a problem that is a product, and where they lie.

    Attributes
    ----------
    law : ProductLaw
        The truth at the first time.
    blocks : list of BlockProblem
        The different ones.
    """

    law: ProductLaw
    blocks: list[BlockProblem]

    @classmethod
    def of(cls, truth: Truth, target: Target, start: Target | Density | ProductLaw) -> ProductProblem:
        """Split a problem into the blocks of its truth; blocks that the truth holds one law for are equal.

        Raises
        ------
        ValueError
            If the target or the start does not split into these blocks.
        """
        first: Any = truth.at(start_time(truth))
        kinds = [(_kind(factor), factor.ndim) for factor in first.factors]
        last = first if is_stationary(truth) else truth.at(float(truth.times[-1]))
        frame = Frame(first.rotation, first.shift, "the axes of the product")
        targets = _split("target", target, frame, kinds, last)
        starts = start.factors if isinstance(start, ProductLaw) else _split("start", start, frame, kinds, first)
        found: dict[int, BlockProblem] = {}
        for k, (law, pi, begin) in enumerate(zip(first.factors, targets, starts, strict=True)):
            if id(law) not in found:
                found[id(law)] = BlockProblem([], law, pi, begin)
            found[id(law)].numbers.append(k)
        return cls(first, list(found.values()))

    def placed(self, values: Sequence[Any]) -> list[Any]:
        """Return values of the different blocks as a list over all blocks."""
        found: list[Any] = [None] * len(self.law.factors)
        for block, value in zip(self.blocks, values, strict=True):
            for number in block.numbers:
                found[number] = value
        return found

    def product(self, factors: Sequence[Any]) -> ProductLaw:
        """Return the law whose different blocks have these laws."""
        return ProductLaw(self.placed(factors), self.law.rotation, self.law.shift)

    def has_axes_of(self, other: Any) -> bool:
        """Tell whether another law is a product with the same blocks."""
        return (
            isinstance(other, ProductLaw)
            and other.blocks == self.law.blocks
            and float(np.abs(other.rotation - self.law.rotation).max()) < SAME_FRAME
            and float(np.abs(other.shift - self.law.shift).max()) < SAME_FRAME * (1 + np.abs(self.law.shift).max())
        )

    def modes_of_blocks(self, modes: Array | None) -> list[Array | None]:
        """Return the places of modes in every different block: those of the target, or the given ones (k, d).

        Given ones are looked at in all blocks that are equal to theirs.

        Raises
        ------
        ValueError
            If given ones differ in more than one block: what is nearest to each of them is no set of one block.
        """
        if modes is None:
            return [_centres(block.target) for block in self.blocks]
        if modes.ndim != 2 or modes.shape[1] != self.law.ndim or len(modes) < 2:
            raise ValueError(
                f"modes must be two places or more, of shape (k, {self.law.ndim}), got shape {modes.shape}"
            )
        y = turned_points(modes, self.law.rotation, self.law.shift)
        small = 1e-9 * float(np.ptp(y, axis=0).max())
        differ = [k for k, place in enumerate(self.law.blocks) if np.ptp(y[:, place], axis=0).max() > small]
        if len(differ) != 1:
            raise ValueError(
                f"the modes differ in {len(differ)} of the {len(self.law.blocks)} independent blocks, so that the "
                "parts of space nearest to them are no parts of one block: leave modes out, as those of the blocks "
                "are looked at by themselves, or give modes that differ in one block"
            )
        return [y[:, self.law.blocks[differ[0]]] if differ[0] in block.numbers else None for block in self.blocks]


def _centres(target: Target) -> Array | None:
    """Return the means (k, m) of the components of a target, where it has more than one."""
    found: Any = getattr(target, "means", None)
    return None if found is None or len(found) < 2 else np.reshape(found, (len(found), -1))


def _kind(factor: Any) -> str:
    """Name the kind of the law of a block."""
    return "grid" if isinstance(factor, Density) else "gaussian" if isinstance(factor, Gaussian) else "radial"


def _split(name: str, law: Any, frame: Frame, kinds: list[tuple[str, int]], near: Any) -> list[Any]:
    """Split the target or the start, looked at near draws from a law."""
    draws = turned_points(near.sample(LOOKS, SEED), near.rotation, near.shift)
    try:
        found = factor_targets(law, frame, kinds, draws)
    except ValueError as error:
        raise ValueError(f"{name} does not split into the independent blocks of the truth: {error}") from error
    for (kind, ndim), one in zip(kinds, found, strict=True):
        if one is None:
            raise ValueError(
                f"the {name} {law!r} is not known as a Gaussian in a block of dimension {ndim} ({kind}): give one at "
                "rest, a Product of its factors"
            )
    if type(law) is not GaussianMixture:
        return list(found)
    inner: Any = turned(law, frame.rotation, frame.centre)  # its factors are mixtures, with modes, and not any laws
    ends = np.cumsum([0, *(ndim for _, ndim in kinds)]).tolist()
    blocks = [slice(*pair) for pair in itertools.pairwise(ends)]
    return [
        GaussianMixture(inner.means[:, b], inner.weights, inner.covariances[:, b, b]) if kind == "grid" else one
        for (kind, _), one, b in zip(kinds, found, blocks, strict=True)
    ]
