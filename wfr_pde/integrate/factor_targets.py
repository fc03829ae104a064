"""The target of every factor of a product, from the target of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.typing import Array
from wfr_pde.space.frame import Frame
from wfr_pde.targets.arguments import call_repr
from wfr_pde.targets.base import Target
from wfr_pde.targets.derived import DerivedTarget
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.product import Product
from wfr_pde.targets.radial import Radial
from wfr_pde.targets.turned import turned

SAME_FRAME = 1e-9  # largest difference of entries of two rotations that are the same, and of shifts by their size
SPLITS = 1e-6  # nats, of a log-density plus one, by which it may differ from the sum over the blocks: rounding of V


@dataclass(frozen=True, eq=False)
class BlockTarget(DerivedTarget):
    """Law of one block of coordinates, where blocks are independent: V with all other coordinates at one place.

    Parameters
    ----------
    target : Target
        Law of all coordinates.
    block : slice
        The coordinates.
    place : array (d,)
        Where the other coordinates are held.
    """

    target: Target
    block: slice
    place: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "ndim", self.block.stop - self.block.start)
        object.__setattr__(self, "moving", self.target.moving)

    __repr__ = call_repr

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V at points (..., m) of the block, shape (...)."""
        return self.target.log_density(self._whole(self.as_points(points)))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return the part of the score that belongs to the block, shape (..., m)."""
        return np.asarray(self.target.score(self._whole(self.as_points(points)))[..., self.block])

    @override
    def at(self, t: float) -> Target:
        """Return the block of the target at a time."""
        return BlockTarget(self.target.at(t), self.block, self.place) if self.moving else self

    def _whole(self, points: Array) -> Array:
        whole = np.empty((*points.shape[:-1], len(self.place)), dtype=points.dtype)
        whole[...] = self.place
        whole[..., self.block] = points
        return whole


def factor_targets(target: Target, frame: Frame, kinds: Sequence[tuple[str, int]], draws: Array) -> list[Any]:
    """Return the target of every factor: of a grid, as it is; of a Gaussian one, a Gaussian; of a radius, its law.

    Parameters
    ----------
    target : Target
        Law of x.
    frame : Frame
        The coordinates y of the blocks.
    kinds : sequence of (kind, dimension)
        Of the factors.
    draws : array (n, d)
        Places y at which the split is looked at.

    Raises
    ------
    ValueError
        If the target does not split into these blocks.
    """
    ends = np.cumsum([0, *(ndim for _, ndim in kinds)]).tolist()
    blocks = list(map(slice, ends[:-1], ends[1:]))
    parts = _parts_of_product(target, frame, blocks)
    if parts is None:
        inner = target if frame.is_given else turned(target, frame.rotation, frame.centre)
        place = draws.mean(axis=0)
        for (kind, _), block in zip(kinds, blocks, strict=True):
            place[block] = 0.0 if kind == "radial" else place[block]
        parts = [BlockTarget(inner, block, place) for block in blocks]
        if not target.moving:
            _check_split(inner, parts, blocks, draws)
    moments = None if target.moving else target.moments()
    return [
        _as_kind(part, kind, block, frame, moments) for part, (kind, _), block in zip(parts, kinds, blocks, strict=True)
    ]


def _parts_of_product(target: Target, frame: Frame, blocks: list[slice]) -> list[Target] | None:
    """Return the factors of a product that has the same axes and whose factors fill the blocks; else None."""
    if not isinstance(target, Product):
        return None
    rotation, shift = target.frame
    size = 1 + float(np.abs(shift).max())
    if np.abs(rotation - frame.rotation).max() > SAME_FRAME or np.abs(shift - frame.centre).max() > SAME_FRAME * size:
        return None
    found: list[Target] = []
    for block in blocks:
        own = [
            factor
            for factor, place in zip(target.factors, target.blocks, strict=True)
            if block.start <= place.start and place.stop <= block.stop
        ]
        if sum(factor.ndim for factor in own) != block.stop - block.start:
            return None
        found.append(own[0] if len(own) == 1 else Product(own))
    return found


def _check_split(target: Target, parts: Sequence[Target], blocks: list[slice], draws: Array) -> None:
    """Refuse a target whose log-density is not a sum over the blocks."""
    whole = np.asarray(target.log_density(draws))
    gap = whole - sum(part.log_density(draws[:, block]) for part, block in zip(parts, blocks, strict=True))
    apart = float(np.ptp(gap))
    if not apart <= SPLITS * (1 + float(np.ptp(whole))):
        raise ValueError(
            f"the target {target!r} does not split into the {len(blocks)} blocks of this run: at draws from it, "
            f"log pi differs from a sum over the blocks by {apart:.3g} nats; give the target that the run was made with"
        )


def _as_kind(part: Target, kind: str, block: slice, frame: Frame, moments: Any) -> Any:
    """Return what the trajectory of a factor of this kind takes as its target; None for what no Gaussian is."""
    if kind == "grid":
        return part
    if kind == "gaussian":
        if type(part) is Gaussian:
            return part
        if moments is None:
            return None
        mean = frame.inner(moments[0])[block]
        covariance = frame.rotation[:, block].T @ moments[1] @ frame.rotation[:, block]
        return Gaussian(mean, (covariance + covariance.T) / 2)
    radial = Radial.of(part)
    if radial is None:
        radial = Radial(BlockTarget(part, slice(0, 1), np.zeros(part.ndim)), part.ndim)
    return radial.radius
