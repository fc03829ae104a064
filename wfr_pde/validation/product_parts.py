"""Statistics of one block of a product: functions of its coordinates, and what they are on average under its law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.validation.statistics import (
    QUANTILES,
    Function,
    Observables,
    below,
    coordinate,
    edges_of,
    nearest,
    product_about,
)

FAR = (
    8.0  # standard deviations from the mean that a Gaussian block has mass within, for the largest value of a statistic
)
DEEP = 30.0  # nats below the maximum, from which on a density has no mass that matters
LAST = ("potential", ()), ("square", ())  # names of the last two statistics of every block
Name = tuple[str, tuple[int, ...]]  # text with places for the names of coordinates, and the numbers of these


@dataclass(frozen=True, eq=False)
class Part:
    """Statistics of a block of m coordinates; the last two are its potential, and the square of that about its mean.

    Attributes
    ----------
    patterns : tuple of (text, numbers of coordinates)
        Names of the statistics, but for those of the coordinates.
    centre : array (m,)
        Mean of the reference, which second moments are about.
    level : float
        Mean of the potential under the reference.
    """

    patterns: tuple[Name, ...]
    centre: Array
    level: float

    def named(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the statistics, where the coordinates have these names."""
        return [text.format(*(labels[k] for k in numbers)) for text, numbers in self.patterns]

    def values(self, points: Array) -> Array:
        """Evaluate the statistics at points (n, m) of the block; the result is (n, k)."""
        raise NotImplementedError

    def means(self, law: Any) -> Array:
        """Return the expectations (k,) under a law of the block."""
        raise NotImplementedError

    def deviations(self, law: Any) -> Array:
        """Return the standard deviations (k,) under a law of the block."""
        raise NotImplementedError

    def largest(self, law: Any) -> Array:
        """Return the largest distances (k,) from the expectation, where the law has mass."""
        raise NotImplementedError


def part_of(law: Density | Gaussian | RadialLaw, target: Target, modes: Array | None) -> Part:
    """Return the statistics of a block, by the kind of its law.

    Parameters
    ----------
    law : Density, Gaussian or RadialLaw
        Of the block.
    target : Target
        pi of the block; that of the radius where the law is radial.
    modes : array (k, m), optional
        Places of modes in the block.
    """
    if isinstance(law, Density):
        return GridPart.of(law, target, modes)
    return GaussianPart.of(law, target) if isinstance(law, Gaussian) else RadialPart.of(law, target)


@dataclass(frozen=True, eq=False)
class GridPart(Part):
    """Statistics of a block whose law is a density on a grid: those of `observables`."""

    functions: tuple[Function, ...]

    @classmethod
    def of(cls, law: Density, target: Target, modes: Array | None) -> GridPart:
        """Choose the statistics of a density."""
        functions: dict[Name, Function] = {}
        centre = law.mean()
        for k in range(law.ndim):
            functions["mean {}", (k,)] = partial(coordinate, k=k)
        for k in range(law.ndim):
            for m in range(k + 1):
                name = ("variance {}", (k,)) if m == k else ("covariance {} {}", (m, k))
                functions[name] = partial(product_about, centre=centre, k=k, m=m)
        for k, share, edge in edges_of(law):
            functions[f"{{}} < {100 * share:g} %", (k,)] = partial(below, edge=edge, k=k)
        if modes is not None:
            for number in range(len(modes)):
                name = f"mode {number + 1}" + (" of {}" if law.ndim == 1 else " of {} ..."), (0,)
                functions[name] = partial(nearest, centres=modes, number=number)
        level = float(law.expectation(lambda points: -target.log_density(points)))
        functions["potential", ()] = lambda points: -target.log_density(points)
        functions["square", ()] = lambda points: (target.log_density(points) + level) ** 2
        return cls(tuple(functions), centre, level, tuple(functions.values()))

    def _observables(self, law: Density) -> Observables:
        return Observables({str(k): function for k, function in enumerate(self.functions)}, law)

    @override
    def values(self, points: Array) -> Array:
        return np.stack([np.asarray(f(points), dtype=np.float64) for f in self.functions], axis=-1)

    @override
    def means(self, law: Density) -> Array:
        return self._observables(law).means(law)

    @override
    def deviations(self, law: Density) -> Array:
        return self._observables(law).deviations()

    @override
    def largest(self, law: Density) -> Array:
        matters = law.grid.backend.asnumpy(law.log_values > law.grid.max(law.log_values) - DEEP)
        return np.asarray(np.abs(self.values(law.grid.points()[matters]) - self.means(law)).max(axis=0))


@dataclass(frozen=True, eq=False)
class GaussianPart(Part):
    """Statistics of a block whose law and target are Gaussian, in any dimension: expectations are closed forms."""

    pairs: tuple[Any, Any]  # numbers of the coordinates of the second moments
    edges: Array  # (m, quantiles)
    target: Any

    @classmethod
    def of(cls, law: Gaussian, target: Target) -> GaussianPart:
        """Choose the statistics of a Gaussian."""
        from scipy.special import ndtri

        numbers = range(law.ndim)
        patterns: list[Name] = [("mean {}", (k,)) for k in numbers]
        pairs = np.tril_indices(law.ndim)
        patterns += [
            ("variance {}", (k,)) if m == k else ("covariance {} {}", (m, k))
            for k, m in zip(*(index.tolist() for index in pairs), strict=True)
        ]
        patterns += [(f"{{}} < {100 * share:g} %", (k,)) for k in numbers for share in QUANTILES]
        edges = law.mean[:, None] + np.sqrt(np.diag(law.covariance))[:, None] * ndtri(QUANTILES)
        part = cls((*patterns, *LAST), law.mean, 0.0, pairs, edges, target)
        return replace(part, level=part._potential(law)[0])

    @override
    def values(self, points: Array) -> Array:
        centred = points - self.centre
        i, j = self.pairs
        regions = (points[:, :, None] < self.edges).reshape(len(points), -1)
        potential = -self.target.log_density(points)
        last = np.stack([potential, (potential - self.level) ** 2], axis=1)
        return np.concatenate([points, centred[:, i] * centred[:, j], regions, last], axis=1)

    def _potential(self, law: Gaussian) -> tuple[float, float, float]:
        """Return the first, second and fourth cumulant of V, a quadratic form of Gaussians."""
        form = np.linalg.inv(self.target.covariance) / 2
        off, product = law.mean - self.target.mean, form @ law.covariance
        square = product @ product
        lowest = -float(self.target.log_density(self.target.mean))
        first = lowest + float(np.trace(product)) + float(off @ form @ off)
        second = 2 * (float(np.trace(square)) + 2 * float(off @ product @ form @ off))
        fourth = 48 * (float(np.sum(square * square.T)) + 4 * float(off @ product @ square @ form @ off))
        return first, second, fourth

    @override
    def means(self, law: Gaussian) -> Array:
        from scipy.special import ndtr

        i, j = self.pairs
        apart = law.mean - self.centre
        regions = ndtr((self.edges - law.mean[:, None]) / np.sqrt(np.diag(law.covariance))[:, None])
        level, variance, _ = self._potential(law)
        last = [level, variance + (level - self.level) ** 2]
        return np.concatenate([law.mean, law.covariance[i, j] + apart[i] * apart[j], regions.ravel(), last])

    @override
    def deviations(self, law: Gaussian) -> Array:
        i, j = self.pairs
        c, apart, (_, variance, fourth) = law.covariance, law.mean - self.centre, self._potential(law)
        variances = np.diag(c)
        second = variances[i] * variances[j] + c[i, j] ** 2
        second += apart[i] ** 2 * variances[j] + apart[j] ** 2 * variances[i] + 2 * apart[i] * apart[j] * c[i, j]
        shares = self.means(law)[law.ndim + len(i) : -2]
        return np.sqrt(np.concatenate([variances, second, shares * (1 - shares), [variance, fourth + 2 * variance**2]]))

    @override
    def largest(self, law: Gaussian) -> Array:
        return FAR**4 * max(1, law.ndim) * self.deviations(law)  # of the square of V; of all others it is less


@dataclass(frozen=True, eq=False)
class RadialPart(Part):
    """Statistics of a block whose law depends on the distance r from its origin only, known by that of r."""

    pairs: tuple[Any, Any]
    edges: Array  # of the distance, (quantiles,)
    target: Target  # of the distance, whose density is r^(m - 1) times that of the profile

    @classmethod
    def of(cls, law: RadialLaw, target: Target) -> RadialPart:
        """Choose the statistics of a radial law."""
        numbers = range(law.ndim)
        pairs = np.tril_indices(law.ndim)
        patterns: list[Name] = [("mean {}", (k,)) for k in numbers]
        patterns += [
            ("variance {}", (k,)) if m == k else ("covariance {} {}", (m, k))
            for k, m in zip(*(index.tolist() for index in pairs), strict=True)
        ]
        found = edges_of(law.density)
        around = "|{}|" if law.ndim == 1 else "|{} ...|"
        patterns += [(f"{around} < {100 * share:g} %", (0,)) for _, share, _ in found]
        edges = np.array([edge for _, _, edge in found])
        part = cls((*patterns, *LAST), np.zeros(law.ndim), 0.0, pairs, edges, target)
        return replace(part, level=float(part._moments(law)[0][-2]))

    @override
    def values(self, points: Array) -> Array:
        i, j = self.pairs
        r = np.sqrt(np.sum(points**2, axis=1))
        return np.concatenate([points, points[:, i] * points[:, j], self._of_radius(r)], axis=1)

    def _of_radius(self, r: Array) -> Array:
        """Return the regions and the potential (n, k) at distances (n,)."""
        potential = (len(self.centre) - 1) * np.log(np.maximum(r, 1e-300)) - self.target.log_density(r[:, None])
        last = np.stack([potential, (potential - self.level) ** 2], axis=1)
        return np.concatenate([r[:, None] < self.edges, last], axis=1)

    def _moments(self, law: RadialLaw) -> tuple[Array, Array]:
        """Return the expectations of the functions of the distance, and of their squares about these."""
        radii, masses = law.radii
        values = self._of_radius(radii)
        mean = masses @ values
        return mean, masses @ (values - mean) ** 2

    @override
    def means(self, law: RadialLaw) -> Array:
        i, j = self.pairs
        return np.concatenate([np.zeros(law.ndim), law.covariance()[i, j], self._moments(law)[0]])

    @override
    def deviations(self, law: RadialLaw) -> Array:
        i, j = self.pairs
        m, (radii, masses) = law.ndim, law.radii
        second, fourth = float(masses @ radii**2) / m, float(masses @ radii**4) / (m * (m + 2))
        squares = np.where(i == j, 3 * fourth - second**2, fourth)
        return np.sqrt(np.concatenate([np.full(m, second), squares, self._moments(law)[1]]))

    @override
    def largest(self, law: RadialLaw) -> Array:
        i, _ = self.pairs
        far = float(law.density.grid.axes[0].edges[-1])
        values = self._of_radius(law.radii[0]) - self._moments(law)[0]
        matters = law.density.log_values > np.max(law.density.log_values) - DEEP
        return np.concatenate([np.full(law.ndim, far), np.full(len(i), far**2), np.abs(values[matters]).max(axis=0)])
