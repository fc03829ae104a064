"""Common blocks of target and start, in which the flow is solved block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array, Mask
from wfr_pde.targets import Gaussian, GaussianMixture, GeometricPath, Radial, Ring
from wfr_pde.targets.base import Target
from wfr_pde.targets.product import Product
from wfr_pde.targets.splitting import along_subspace, coupled_subspace
from wfr_pde.truth.certified.factored.parts import (
    ALONG,
    CORRELATED,
    ISOTROPIC,
    LOST,
    Parts,
    as_mixture,
    departure_of_mixture,
)
from wfr_pde.truth.certified.factored.reach import amplification, spread
from wfr_pde.truth.exact import gaussian_kl

ON_GRIDS = 4  # dimensions of a block that is solved on a grid, at most
TURNED = 4e-16  # rounding of a turned number
NEAR = 1e-12  # L1 distance of blocks that are taken as one
OFTEN = 3  # dimensions up to which mixtures are solved as they are given


@dataclass(frozen=True)
class Block:
    """The flow of one block: of a kind, from a start to a target.

    Attributes
    ----------
    kind : {"grid", "gaussian", "radial"}
    target, start : Target
        In the coordinates of the block.
    """

    kind: str
    target: Target
    start: Target

    @property
    def ndim(self) -> int:
        """Dimension of the block."""
        return self.target.ndim


@dataclass(frozen=True)
class Matched:
    """Target and start in common blocks of y, x = shift + Q y.

    Attributes
    ----------
    blocks : tuple of Block
        In the order of the coordinates y.
    rotation : array (d, d)
        Q.
    shift : array (d,)
    departure : float
        Bound of the L1 distance of the problem in blocks from the given one: what couples blocks by rounding only.
    """

    blocks: tuple[Block, ...]
    rotation: Array
    shift: Array
    departure: float


def splits(target: Target, start: Target) -> bool:
    """Return whether a problem is one for blocks: a product, a radial law, a known law in four dimensions, or more."""
    ends = (target.start, target.target) if type(target) is GeometricPath else (target,)
    if target.ndim > ON_GRIDS or any(isinstance(end, Product | Radial) for end in ends):
        return True
    kinds = Gaussian, GaussianMixture, Ring
    return target.ndim > OFTEN and all(type(end) in kinds for end in ends) and known(start)


def known(law: Target) -> bool:
    """Return whether the structure of a law is known."""
    return isinstance(law, Product | Radial) or type(law) in (Gaussian, GaussianMixture, Ring)


def matched(target: Target, start: Target) -> Matched:
    """Find the common blocks of a target and a start.

    Raises
    ------
    ValueError
        If a block has more dimensions than can be solved, with what couples it.
    """
    if type(target) is GeometricPath:
        return _matched_path(target, start)
    rotation, shift = _common_frame(target, start)
    framed = any(isinstance(law, Product) for law in (target, start))
    seen = [Parts.of(law, split=framed).seen_from(rotation, shift) for law in (target, start)]
    couplings = np.maximum(*(parts.couplings for parts in seen))
    groups = _groups(couplings > CORRELATED)
    groups = _joined_gaussians(groups, seen)
    neglected = sum(parts.departure + parts.dropped(groups) for parts in seen)
    departure = sum(_rounding(parts) for parts in seen) + _gap(rotation)
    blocks: list[Block] = []
    columns: list[Array] = []
    for group in groups:
        laws = [parts.law_of(group) for parts in seen]
        found, inner, apart = _solvable(laws[0], laws[1], _why(group, couplings, target, start))
        blocks.extend(found)
        columns.append(rotation[:, group] @ inner)
        neglected += apart
    equal, apart = _equal_blocks(blocks)
    departure += apart + _amplified(target, start, rotation, neglected, seen)
    return Matched(tuple(equal), np.concatenate(columns, axis=1), shift, 4 * departure)


def _amplified(target: Target, start: Target, rotation: Array, neglected: float, seen: list[Parts]) -> float:
    """Bound what the flow between two laws sees of what is neglected: of couplings, of axes, and of right angles."""
    laws, total = (target, start), 0.0
    neglected += 0.0 if _aligned(rotation) else float(np.linalg.norm(rotation.T @ rotation - np.eye(len(rotation))))
    if neglected:
        total += neglected * amplification(laws, [spread(target)[0]])
    about = sum(parts.turned for parts in seen)
    if about:
        total += about * amplification(laws, [parts.seen_about for parts in seen])  # type: ignore[misc]
    return total


def _equal_blocks(blocks: list[Block]) -> tuple[list[Block], float]:
    """Make blocks that turning left equal but for rounding the same; return what that neglects, too."""
    different: list[Block] = []
    found: list[Block] = []
    departure = 0.0
    for block in blocks:
        for other in different:
            apart = math.inf if block.kind != other.kind else _apart(block.target, other.target)
            apart = apart if apart == math.inf else apart + _apart(block.start, other.start)
            if 0 < apart <= NEAR:
                apart *= amplification((block.target, block.start), [spread(block.target)[0]])
            if apart <= NEAR:
                found.append(other)
                departure += apart
                break
        else:
            different.append(block)
            found.append(block)
    return found, departure


def _apart(one: Target, other: Target) -> float:
    """Bound the L1 distance of two laws: 0 if they are equal, infinite if it is not known."""
    if one == other:
        return 0.0
    if type(one) is type(other) is Gaussian and one.ndim == other.ndim:
        return float(np.sqrt(2 * abs(gaussian_kl(one, other))))
    return math.inf


def _matched_path(path: GeometricPath, start: Target) -> Matched:
    """Match the ends of a path with each other, and the path between the blocks with the start."""
    ends = matched(path.target, path.start)
    paths = [GeometricPath(block.start, block.target, path.schedule) for block in ends.blocks]
    found = matched(Product(paths, ends.rotation, ends.shift), start)
    return Matched(found.blocks, found.rotation, found.shift, found.departure + ends.departure)


def _common_frame(target: Target, start: Target) -> tuple[Array, Array]:
    """Return the frame of the target if it has one, else that of the start, else the given coordinates."""
    for law in (target, start):
        if isinstance(law, Product):
            return law.frame
    return np.eye(target.ndim), np.zeros(target.ndim)


def _groups(linked: Mask) -> list[list[int]]:
    """Return the connected components of coordinates, in the order of their first ones."""
    from scipy.sparse.csgraph import connected_components

    n, labels = connected_components(linked, directed=False)
    groups = [np.flatnonzero(labels == k).tolist() for k in range(n)]
    return sorted(groups, key=min)


def _joined_gaussians(groups: list[list[int]], seen: list[Parts]) -> list[list[int]]:
    """Join groups of one part of both laws in which both are Gaussians: these cost nothing in any dimension."""
    joined: dict[tuple[int, ...], list[int]] = {}
    for group in groups:
        touched = [
            [k for k, part in enumerate(parts.parts) if np.abs(part.axes[group]).max() > ALONG] for parts in seen
        ]
        gaussian = all(parts.parts[k].is_gaussian for parts, places in zip(seen, touched, strict=True) for k in places)
        key = (1, *touched[0]) if gaussian else (0, *group)
        joined.setdefault(key, []).extend(group)
    return sorted((sorted(group) for group in joined.values()), key=min)


def _solvable(target: Target, start: Target, why: str) -> tuple[list[Block], Array, float]:
    """Return the blocks that a group of coordinates is solved in, their axes, and what splitting it neglects."""
    identity = np.eye(target.ndim)
    paths = type(target) is GeometricPath and {type(target.start), type(target.target)} == {Gaussian}
    if type(start) is Gaussian and (type(target) is Gaussian or paths):
        return [Block("gaussian", target, start)], identity, 0.0
    radial = radial_about_zero(target), radial_about_zero(start)
    if radial[0] is not None and radial[1] is not None and (target.ndim > 1 or isinstance(target, Radial)):
        return [Block("radial", radial[0], radial[1])], identity, _off_radial(target) + _off_radial(start)
    mixtures = as_mixture(target), as_mixture(start)
    if target.ndim > OFTEN and None not in mixtures:
        return _split_mixtures(mixtures[0], mixtures[1])  # type: ignore[arg-type]
    if target.ndim <= ON_GRIDS:
        return [Block("grid", target, start)], identity, 0.0
    if radial[0] is not None:
        why = f"the target {target!r} is radial about a point, and the start {start!r} is not about the same"
    raise ValueError(
        f"{why}, and {counted(ON_GRIDS, 'dimension')} can be solved on a grid at most: give a start that splits as "
        "the target does, such as a Product of its factors, or an isotropic Gaussian"
    )


def _split_mixtures(target: Target, start: Target) -> tuple[list[Block], Array, float]:
    """Split two mixtures into what differs between components, along its principal axes, and a Gaussian rest."""
    basis = coupled_subspace([target, start])
    r, ndim = basis.shape[1], target.ndim
    if r > ON_GRIDS:
        raise ValueError(
            f"the means span {counted(r, 'dimension')}: at most {ON_GRIDS} can be solved. Counted are the differences "
            "between the components of the target, and of the start, of means and covariances, and where the "
            f"covariances take them; the target is {target!r}, the start {start!r}"
        )
    if r == 0:
        return [Block("gaussian", target, start)], np.eye(ndim), 0.0
    if r == ndim:
        return [Block("grid", target, start)], np.eye(ndim), 0.0
    spread: Any = sum(law.moments()[1] for law in (target, start))  # type: ignore[index,misc]
    basis = basis @ np.linalg.eigh(basis.T @ spread @ basis)[1][:, ::-1]
    products = [along_subspace(law, basis) for law in (target, start)]
    apart = 0.0
    for law, product in zip((target, start), products, strict=True):
        apart += departure_of_mixture(_mixture(law), _with_mixture(product))
    pairs = zip(*(product.factors for product in products), strict=True)
    kinds = "grid", "gaussian"
    blocks = [Block(kind, *pair) for kind, pair in zip(kinds, pairs, strict=True)]
    return blocks, products[0].frame[0], apart


def _mixture(law: Target) -> GaussianMixture:
    """Return a Gaussian as a mixture of one."""
    if isinstance(law, GaussianMixture):
        return law
    return GaussianMixture(law.mean[None], [1.0], law.covariance[None])  # type: ignore[attr-defined]


def _with_mixture(product: Product) -> Product:
    """Return a product whose first factor is a mixture, if of one component."""
    return Product([_mixture(product.factors[0]), *product.factors[1:]], product.rotation, product.shift)


def radial_about_zero(law: Target) -> Radial | None:
    """Return a law as a `Radial` about zero, if it is one but for rounding."""
    if type(law) is Gaussian:
        variance = float(law.covariance.diagonal().mean())
        off = float(np.abs(law.covariance - variance * np.eye(law.ndim)).max())
        if off <= ISOTROPIC * variance and np.abs(law.mean).max() <= ISOTROPIC * np.sqrt(variance):
            return Radial(Gaussian(0.0, variance), law.ndim)
        return None
    if type(law) is Product and len(law.factors) == 1 and law.shift is None:
        return radial_about_zero(law.factors[0])
    return Radial.of(law)


def _off_radial(law: Target) -> float:
    """Bound the L1 distance of a Gaussian that is radial but for rounding from the radial law it is taken as."""
    if type(law) is not Gaussian:
        return 0.0
    variance = float(law.covariance.diagonal().mean())
    off = float(np.linalg.norm(law.covariance - variance * np.eye(law.ndim)))
    return off / variance + float(np.linalg.norm(law.mean)) / np.sqrt(variance)


def _why(group: list[int], couplings: Array, target: Target, start: Target) -> str:
    """Say what couples a group of coordinates."""
    for name, law in (("target", target), ("start", start)):
        if len(group) == law.ndim and not known(law) and type(law) is not GeometricPath:
            return f"no split of the {name} {law!r} is known, so that its {law.ndim} dimensions are one block"
    own = couplings[np.ix_(group, group)] - np.eye(len(group))
    i, j = np.unravel_index(int(np.argmax(own)), own.shape)
    words = f"coordinates {_shown(group)} form one block of {counted(len(group), 'dimension')} of target and start"
    if len(group) == 1:
        return words
    return f"{words}, coupled by up to {own[i, j]:.3g} (coordinates {group[i]} and {group[j]})"


def _shown(group: list[int]) -> str:
    """Spell a list of numbers, a long one by its ends."""
    return str(group) if len(group) <= 8 else f"{group[0]}, {group[1]}, ..., {group[-1]}"


def _rounding(parts: Parts) -> float:
    """Bound what rounding of turned coordinates changes of a law, in L1: nothing where they are not turned.

    Entries of a covariance are rounded by its largest ones, and count by its smallest variances.
    """
    turns = np.concatenate([part.axes for part in parts.parts], axis=1)
    ndim = len(turns)
    if np.array_equal(turns, np.eye(ndim)):
        return 0.0
    mean, covariance = parts.gaussian
    values = np.linalg.eigvalsh(covariance)
    values = values[values > LOST * max(float(values[-1]), 1e-300)]
    if not len(values):
        return TURNED * ndim
    reach = float(np.abs(mean).max())
    return float(TURNED * ndim * (values[-1] / values[0] + reach / np.sqrt(values[0])))


def _gap(rotation: Array) -> float:
    """Bound what axes that are not quite at right angles change of a law, in L1."""
    return (
        0.0
        if _aligned(rotation)
        else 10 * len(rotation) * float(np.abs(rotation.T @ rotation - np.eye(len(rotation))).max())
    )


def _aligned(rotation: Array) -> bool:
    """Return whether axes are the given ones."""
    return np.array_equal(rotation, np.eye(len(rotation)))
