"""Densities on a grid with noise added to them: sums of Gaussians about the cells."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, generator, shown
from wfr_pde.numerics.falling_parabolas import continued
from wfr_pde.numerics.log_products import BLOCK, SAFE, log_mean_along, log_product_along
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.vector_fields import SHIFTS, WEIGHTS
from wfr_pde.targets.arguments import fingerprint, tail_mass
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import gaussian_quantile

NODES = 10  # of the Lagrange interpolation per axis, as characteristics have it
SUMMED = 1.5  # cells: noise of a larger standard deviation is summed over the cells; the sum errs by e^(-2 (pi 1.5)²)
HERMITE = 16  # nodes per axis of the rule for less noise, which is narrow beside what the cells resolve
NEWTON = 3  # steps to the place that the rule is put at
DIFFERENCE = 0.05  # cells between the points of a difference, where there is no noise to differentiate
BEYOND = 1e-6  # share of the mass that may lie outside of the box, where log p_0 is continued
KEPT = 4  # grids on which log p_t is remembered


class CellData(Record):
    """Data given by a density on equal cells; beyond the box log p_0 goes on as a falling parabola.

    Parameters
    ----------
    density : Density
        On one to three uniform axes without periodic ones.

    Raises
    ------
    ValueError
        If the cells are not equal, an axis is periodic, a value is not finite, or mass is missing beyond the box.
    """

    def __init__(self, density: Any) -> None:
        self.density, grid = density, density.grid
        self.ndim = grid.ndim
        if grid.ndim > 3:
            raise ValueError(f"data on a grid have one to three dimensions, got {grid.ndim}: use a GaussianMixture")
        for axis in grid.axes:
            if axis.periodic or not axis.is_uniform or axis.n < NODES + 2:
                raise ValueError(
                    f"noise is added to data on {NODES + 2} or more equal cells per axis in free space, but the axis "
                    f"{axis.name!r} has {axis.n} {'periodic' if axis.periodic else 'graded or few'} cells: use "
                    "density.on(grid) with another grid"
                )
        values = np.asarray(grid.backend.asnumpy(grid.reductions.whole(density.log_values)), dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError(
                f"data on a grid need finite log-values in all cells, but those of {shown(density)} are not"
            )
        self.lower, self.upper = np.array(grid.lower), np.array(grid.upper)
        self.widths = np.array([axis.dx for axis in grid.axes])
        self._fill(values, values.shape)

    def _fill(self, values: Array, shape: tuple[int, ...]) -> None:
        """Continue the log-values by a length of the box on every side, and normalise them."""
        wide = values
        for k, n in enumerate(shape):
            wide = continued(wide, k, n, n)
        shares = np.exp(wide - wide.max())
        inside = tuple(slice(n, 2 * n) for n in shape)
        outside = 1 - shares[inside].sum() / shares.sum()
        if outside > BEYOND:
            raise ValueError(
                f"data on a grid must lie in its box, but as log p_0 falls towards the walls, {outside:.2g} of the "
                f"mass are outside, above {BEYOND:g}: put them on a wider box"
            )
        taken = wide.max() + math.log(shares.sum())
        self.log_shares = wide - taken  # of the mass, per cell; the box and a length of it on every side
        self.log_values = values - taken - float(np.log(self.widths).sum())
        self.centres = [
            self.lower[k] + (np.arange(-n, 2 * n) + 0.5) * self.widths[k] for k, n in enumerate(values.shape)
        ]

    @cached_property
    def shares(self) -> Array:
        """Shares of the mass of all cells."""
        return np.asarray(np.exp(self.log_shares))

    def moments(self) -> tuple[Array, Array]:
        """Return mean (d,) and covariance (d, d) of the data."""
        d, index = self.ndim, "ijk"[: self.ndim]
        mean = np.array([np.einsum(f"{index},{index[k]}->", self.shares, self.centres[k]) for k in range(d)])
        apart = [c - m for c, m in zip(self.centres, mean, strict=True)]
        pairs = [
            np.einsum(f"{index},{index[k]},{index[other]}->", self.shares, apart[k], apart[other])
            for k, other in itertools.product(range(d), repeat=2)
        ]
        return mean, np.array(pairs).reshape(d, d)

    def scale(self) -> float:
        """Return the number of axes over the mean of |grad log p_0|², by differences; at least a cell squared."""
        inside = tuple(slice(n, 2 * n) for n in self.log_values.shape)
        shares, total = self.shares[inside], 0.0
        for k, width in enumerate(self.widths):
            slope = np.gradient(self.log_values, width, axis=k)
            total += float(np.sum(shares * slope**2))
        return max(self.ndim / total, float(self.widths.min()) ** 2)

    def quantiles(self, tail: float) -> tuple[Array, Array]:
        """Return a box of whole cells with at most `tail` of the mass outside, or all cells."""
        lower, upper = [], []
        for k, (centres, width) in enumerate(zip(self.centres, self.widths, strict=True)):
            marginal = self.shares.sum(axis=tuple(a for a in range(self.ndim) if a != k))
            below = int(np.searchsorted(np.cumsum(marginal), tail / 2 / self.ndim))
            above = int(np.searchsorted(np.cumsum(marginal[::-1]), tail / 2 / self.ndim))
            lower.append(centres[below] - width / 2)
            upper.append(centres[len(centres) - 1 - above] + width / 2)
        return np.array(lower), np.array(upper)

    def log_density(self, places: Array) -> Array:
        """Return log p_0 at places (m, d): interpolated by ten points per axis, continued beyond the box."""
        from wfr_pde.numerics.compiled.lagrange import interpolate  # here, as it loads numba

        empty, values, index = 3 - self.ndim, self.log_values, np.zeros((len(places), 3))
        for k, n in enumerate(self.log_values.shape):
            at = (places[:, k] - self.lower[k]) / self.widths[k] - 0.5
            before = max(0, math.ceil(-at.min(initial=0.0))) + NODES
            after = max(0, math.ceil(at.max(initial=0.0) - n)) + NODES
            values = continued(values, k, before, after)
            index[:, empty + k] = at + before
        result = np.empty(len(places))
        interpolate(np.ascontiguousarray(values).reshape((1,) * empty + values.shape), index, NODES, result)
        return result

    @override
    def __repr__(self) -> str:
        box = f"lower={self.lower.tolist()}, upper={self.upper.tolist()}"
        return f"Density({fingerprint(self.log_values)}, {box})"


@dataclass(frozen=True, eq=False)
class NoisedDensity(Target):
    """Law of alpha x + sigma z, with x from a density on a grid and z standard normal.

    Sums of the Gaussians about the cells, axis by axis on a grid of points, right relative to the value of every point;
    for noise of less than 1.5 cells Gauss and Hermite's rule over the interpolated data.
    """

    data: CellData
    alpha: float
    sigma: float

    log_normaliser = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ndim", self.data.ndim)

    @override
    def __repr__(self) -> str:
        return f"NoisedDensity({self.data!r}, alpha={self.alpha!r}, sigma={self.sigma!r})"

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leave out the values that are remembered."""
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    @property
    def _is_summed(self) -> bool:
        return bool((self.sigma >= SUMMED * self.alpha * self.data.widths).all())

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return the normalised log-density at points (..., d), shape (...)."""
        array = np.asarray(self.as_points(points), dtype=np.float64)
        lines = _lines_of(array) if self._is_summed else None
        if lines is None:
            flat = array.reshape(-1, self.ndim)
            values = self._sums(flat)[0] if self._is_summed else self._by_rule(flat)
            return values.reshape(array.shape[:-1])
        kept, key = self.__dict__.setdefault("_kept", {}), tuple(line.tobytes() for line in lines)
        if key not in kept:
            values = self.data.log_shares
            for k, line in enumerate(lines):
                values = log_product_along(self._log_kernel(k, line), values, k)
            while len(kept) >= KEPT:
                kept.pop(next(iter(kept)), None)
            kept[key] = values
        return np.array(kept[key]).reshape(array.shape[:-1])

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return the gradient of the log-density at points (..., d), shape (..., d)."""
        array = np.asarray(self.as_points(points), dtype=np.float64)
        lines = _lines_of(array) if self._is_summed else None
        if lines is None:
            flat = array.reshape(-1, self.ndim)
            return (self._sums(flat)[1] if self._is_summed else self._by_differences(flat)).reshape(array.shape)
        parts = []
        for k, line in enumerate(lines):
            values = self.data.log_shares
            for other in (a for a in range(self.ndim) if a != k):
                values = log_product_along(self._log_kernel(other, lines[other]), values, other)
            parts.append(log_mean_along(self._log_kernel(k, line), self._pull(k, line), values, k))
        return np.stack(parts, axis=-1).reshape(array.shape)

    def _log_kernel(self, k: int, x: Array) -> Array:
        """Return log N(x_i; alpha y_j, sigma²) along an axis."""
        apart = (x[:, None] - self.alpha * self.data.centres[k]) / self.sigma
        return np.asarray(-0.5 * apart**2 - math.log(self.sigma) - 0.5 * math.log(2 * math.pi))

    def _pull(self, k: int, x: Array) -> Array:
        """Return (alpha y_j - x_i) / sigma², whose mean over y given x is the score."""
        return np.asarray((self.alpha * self.data.centres[k] - x[:, None]) / self.sigma**2)

    def _sums(self, points: Array) -> tuple[Array, Array]:
        """Return log-densities (m,) and scores (m, d) at points (m, d) that make no grid."""
        values, scores = np.empty(len(points)), np.empty(points.shape)
        largest = self.data.log_shares.size // self.data.log_shares.shape[0] + sum(self.data.log_shares.shape)
        count = max(1, BLOCK // largest)
        for begin in range(0, len(points), count):
            block = slice(begin, begin + count)
            values[block], scores[block] = self._sums_of_block(points[block])
        return values, scores

    def _sums_of_block(self, points: Array) -> tuple[Array, Array]:
        logs = [self._log_kernel(k, points[:, k]) for k in range(self.ndim)]
        pulls = [self._pull(k, points[:, k]) for k in range(self.ndim)]
        tops = [one.max(axis=1) for one in logs]
        kernels = [np.exp(one - top[:, None]) for one, top in zip(logs, tops, strict=True)]
        scaled = self.data.log_shares - self.data.log_shares.max()
        weights = np.exp(scaled)
        sums = _contracted(kernels, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(sums) + sum(tops) + self.data.log_shares.max()
            pulled = [
                [kernels[a] * pulls[a] if a == k else kernels[a] for a in range(self.ndim)] for k in range(self.ndim)
            ]
            scores = np.stack([_contracted(one, weights) / sums for one in pulled], axis=-1)
        for i in np.flatnonzero(~(sums > SAFE)):  # far out: each from its own largest term
            terms = self.data.log_shares + _outer_sum([one[i] for one in logs])
            shares = np.exp(terms - terms.max())
            values[i] = terms.max() + math.log(shares.sum())
            for k in range(self.ndim):
                along = shares.sum(axis=tuple(a for a in range(self.ndim) if a != k))
                scores[i, k] = along @ pulls[k][i] / along.sum()
        return values, scores

    def _by_rule(self, points: Array) -> Array:
        """Return log-densities (m,) for little noise or none, by a rule over the places that noise comes from."""
        origin = points / self.alpha
        if self.sigma == 0:
            return self.data.log_density(origin) - self.ndim * math.log(self.alpha)
        ratio = self.sigma / self.alpha
        centre = self._most_likely_noise(origin, ratio)
        nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE)
        total = np.full(len(points), -np.inf)
        for places in map(list, itertools.product(range(HERMITE), repeat=self.ndim)):
            log_weight = float(np.log(weights[places] / math.sqrt(2 * math.pi)).sum())
            log_ratio = -np.sum(centre * (centre / 2 + nodes[places]), axis=1)  # of N(centre + node) over N(node)
            log_clean = self.data.log_density(origin - ratio * (centre + nodes[places]))
            total = np.logaddexp(total, log_weight + log_ratio + log_clean)
        return total - self.ndim * math.log(self.alpha)

    def _most_likely_noise(self, origin: Array, ratio: float) -> Array:
        """Return about where z has its mode given the place, (m, d): in steep tails that is many deviations from 0."""
        z = np.zeros_like(origin)
        for k, _ in itertools.product(range(self.ndim), range(NEWTON)):
            move = self.data.widths[k] * np.eye(self.ndim)[k]
            below, here, above = (self.data.log_density(origin - ratio * z + side * move) for side in (-1, 0, 1))
            slope = ratio * (above - below) / (2 * self.data.widths[k])
            bend = ratio**2 * np.maximum((2 * here - above - below) / self.data.widths[k] ** 2, 0.0)
            z[:, k] -= (z[:, k] + slope) / (1 + bend)
        return z

    def _by_differences(self, points: Array) -> Array:
        steps = DIFFERENCE * self.alpha * self.data.widths
        moved = points + SHIFTS[None, :, None, None] * np.diag(steps)[:, None, None, :]  # (d, 6, m, d)
        values = self._by_rule(moved.reshape(-1, self.ndim)).reshape(moved.shape[:-1])
        return np.asarray(np.einsum("s,ksm,k->mk", WEIGHTS, values, 1 / steps))

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        n, rng = draws(n, self.ndim), generator(rng)
        clean = self.data.density.sample(n, rng)
        return np.asarray(self.alpha * clean + self.sigma * rng.standard_normal(clean.shape))

    @override
    def moments(self) -> tuple[Array, Array]:
        mean, covariance = self.data.moments()
        return self.alpha * mean, self.alpha**2 * covariance + self.sigma**2 * np.eye(self.ndim)

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a box of quantiles of data and noise: the mass outside is at most `tail`."""
        lower, upper = self.data.quantiles(tail_mass(tail) / 2)
        noise = gaussian_quantile(tail / 2 / self.ndim) * self.sigma
        return self.alpha * lower - noise, self.alpha * upper + noise


def _lines_of(points: Array) -> list[Array] | None:
    """Return the coordinates along every axis, where points (n_1, ..., n_d, d) are those of a grid; else None."""
    d = points.shape[-1]
    if points.ndim != d + 1 or points.size == 0:
        return None
    lines = []
    for k in range(d):
        line = np.moveaxis(points[..., k], k, 0).reshape(points.shape[k], -1)[:, 0]
        if not np.array_equal(
            points[..., k], np.broadcast_to(line.reshape(-1, *(1,) * (d - 1 - k)), points.shape[:-1])
        ):
            return None
        lines.append(np.ascontiguousarray(line))
    return lines


def _contracted(kernels: list[Array], weights: Array) -> Array:
    """Return the sums over all cells of a product of one factor per axis, (m, n_k) each, and weights."""
    held = (kernels[0] @ weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])
    for kernel in kernels[1:]:
        held = np.einsum("mj,mj...->m...", kernel, held)
    return held


def _outer_sum(parts: list[Array]) -> Array:
    """Return the sums (n_1, ..., n_d) of one number per axis."""
    total = parts[0]
    for part in parts[1:]:
        total = total[..., None] + part
    return total
