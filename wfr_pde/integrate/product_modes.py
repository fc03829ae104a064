"""Masses near the modes of a product, where the parts that are nearest to each are products themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.integrate.mass_records import mode_masses, shares_below
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.product_law import Factor, ProductLaw
from wfr_pde.space.quadrature import with_corrected_masses
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.targets.gaussian import Gaussian

SAME = 1e-9  # of the spread of the centres: parts of centres that differ by less are the same


def product_mode_masses(law: ProductLaw, centres: Array) -> Array:
    """Compute the masses (k,) of a law nearest to each of some centres (k, d), places x, exactly from the factors.

    The parts of space that are nearest to each centre are products of parts of the blocks where the centres are all
    combinations of centres of the blocks.

    Raises
    ------
    ValueError
        If they are not, or in a Gaussian or radial block do not lie on a line.
    """
    y = law.inner(centres)
    spread = float(np.ptp(y, axis=0).max(initial=0.0))
    labels, parts = [], []
    for block in law.blocks:
        own, label = _different(y[:, block], SAME * spread)
        labels.append(label)
        parts.append(own)
    sizes = [len(own) for own in parts]
    combinations = np.unique(np.stack(labels, axis=-1), axis=0)
    if len(combinations) < len(y):
        raise ValueError("two of the centres are the same")
    if math.prod(sizes) != len(y):
        shown = " x ".join(str(size) for size in sizes if size > 1)
        raise ValueError(
            f"the {len(y)} centres are not all combinations of centres of the blocks, of which there are {shown} = "
            f"{math.prod(sizes)}: what is nearest to each of them is no product of parts of the blocks. Give all "
            "combinations, or take the masses of draws, ModeMasses(centres)(Particles(law.sample(n)), ...)"
        )
    result = np.ones(len(y))
    for factor, own, label in zip(law.factors, parts, labels, strict=True):
        result *= _masses(factor, own)[label]
    return result


def _different(points: Array, same: float) -> tuple[Array, np.ndarray]:
    """Return the points (m, d) that differ, and for each of all points the number of its own."""
    found: list[Any] = []
    labels = np.empty(len(points), dtype=np.int64)
    for i, point in enumerate(points):
        near = [k for k, other in enumerate(found) if np.abs(point - other).max() <= same]
        labels[i] = near[0] if near else len(found)
        if not near:
            found.append(point)
    return np.array(found), labels


def _masses(factor: Factor, centres: Array) -> Array:
    """Return the masses of a factor nearest to each of some centres in its own coordinates."""
    if len(centres) == 1:
        return np.ones(1)
    if isinstance(factor, Density):
        energy: Any = None  # the record does not look at it
        whole = factor.ndim > 1 or factor.grid.axes[0].periodic  # cells are not divided: each has its own mass
        return np.asarray(mode_masses(centres)(with_corrected_masses(factor) if whole else factor, energy))
    apart = centres - centres[0]
    far = int(np.argmax(np.sum(apart**2, axis=1)))
    direction = apart[far] / np.linalg.norm(apart[far])
    along = centres @ direction
    off_line = float(np.abs(apart - np.outer(apart @ direction, direction)).max())
    if off_line > SAME * float(np.ptp(along)):
        kind = "Gaussian" if isinstance(factor, Gaussian) else "radial"
        raise ValueError(
            f"the centres do not lie on a line in a {kind} block of dimension {factor.ndim}, but are {off_line:.3g} "
            "off it: masses are known between parallel planes only. Take those of draws, Particles(law.sample(n))"
        )
    order = np.argsort(along)
    cuts = (along[order][1:] + along[order][:-1]) / 2
    result = np.empty(len(centres))
    result[order] = np.diff(np.concatenate([[0.0], _distribution(factor, direction, cuts), [1.0]]))
    return result


def _distribution(factor: Gaussian | RadialLaw, direction: Array, cuts: Array) -> Array:
    """Return the shares of the mass below planes across a direction."""
    if isinstance(factor, Gaussian):
        from scipy.special import ndtr

        spread = math.sqrt(float(direction @ factor.covariance @ direction))
        return np.asarray(ndtr((cuts - factor.mean @ direction) / spread))
    return shares_below(factor.coordinate, cuts)
