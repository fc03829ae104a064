"""Wasserstein distances: exact on a line, sliced, and exact in any dimension through POT."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.errors import BackendError, NumericalError
from wfr_pde.metrics import one_dimensional as lines
from wfr_pde.metrics.base import (
    BY_DRAWS,
    MARGINALS,
    Measure,
    Metric,
    atoms,
    cell_masses,
    check_density,
    check_draws,
    check_measures,
    check_straight,
    described,
)
from wfr_pde.metrics.binned import equal_bins, mean_deviation
from wfr_pde.numerics.arguments import shown, whole
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles

MOST_PAIRS = 2**27  # most entries of a matrix of costs: a gigabyte; more is refused
# of the network simplex, after which it is an error: some thousand particles need a tenth of it
MOST_PIVOTS = 10_000_000
# of a fixed point that converges by more than a factor 2 each: 60 are more than the digits of a double
GOLDEN_ROUNDS = 60


def _floor_1(reference: Density, n: int) -> float:
    """Return the mean of `wasserstein_1` over `n` independent draws from the reference: ∫ E|Bin(n, F(x))/n - F(x)| dx.

    It is exact but for the integral, by the trapezoidal rule over the cells' edges.
    """
    check_density(reference, "wasserstein_1")
    check_draws(n)
    line = _on_a_line(reference, reference, "wasserstein_1")[0]
    return float(np.trapezoid(mean_deviation(line.levels, n), line.nodes))


@described("W₁", "length", symmetric=True, triangle=True, max_ndim=1, floor=_floor_1)
def wasserstein_1(reference: Measure, other: Measure) -> float:
    """Return W_1 = ∫ |F - G| dx in one dimension, F and G the distribution functions.

    It sees every difference, and how far mass has to move: mass m at distance L from where it belongs counts m L. The
    mass of a cell is spread evenly over it, an error O(dx²); what is then left is exact, for weights of any kind.
    Particles outside the box count where they are. Cost O((n + cells) log(n + cells)). `wasserstein_1.floor(reference,
    n)` is the mean over n independent draws from the reference.

    Parameters
    ----------
    reference, other : Density or Particles
        In one dimension.

    Returns
    -------
    float
        A length.

    Raises
    ------
    TypeError
        If one is neither.
    ValueError
        In more dimensions, or on a periodic axis.

    Examples
    --------
    A shift by 1 moves all mass by 1:

    >>> import wfr_pde as wfr
    >>> reference, other = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(reference, other, shape=256)
    >>> round(wfr.metrics.wasserstein_1(grid.density(reference), grid.density(other)), 6)
    1.0
    """
    return lines.wasserstein(*_on_a_line(reference, other, "wasserstein_1"), 1)


@described("W₂", "length", symmetric=True, triangle=True, max_ndim=1)
def wasserstein_2(reference: Measure, other: Measure) -> float:
    """Return W_2 = (∫ |F⁻¹ - G⁻¹|² du)^½ in one dimension, F and G the distribution functions.

    Mass m at distance L from where it belongs counts sqrt(m) L: it weighs far-away mass more than W_1 does. For n
    draws from the reference it decays as n^-½ up to the tails, slower for several modes with gaps between them
    (n^-¼), as the numbers of particles in the modes vary. Cost as `wasserstein_1`.

    Parameters
    ----------
    reference, other : Density or Particles
        In one dimension.

    Returns
    -------
    float
        A length.

    Raises
    ------
    TypeError, ValueError
        As `wasserstein_1`.

    Examples
    --------
    A quarter of the mass has to move by 2:

    >>> import wfr_pde as wfr
    >>> even, uneven = wfr.Particles([[-1.0], [1.0]]), wfr.Particles([[-1.0], [1.0], [1.0], [1.0]])
    >>> wfr.metrics.wasserstein_2(even, uneven)
    1.0
    """
    return lines.wasserstein(*_on_a_line(reference, other, "wasserstein_2"), 2)


def _on_a_line(reference: Any, other: Any, metric: str) -> tuple[lines.Line, lines.Line]:
    check_measures(reference, other, metric, MARGINALS)
    if reference.ndim != 1:
        raise ValueError(
            f"{metric} is one-dimensional, but the measures are {reference.ndim}-dimensional: use SlicedWasserstein(), "
            "or Wasserstein(), which needs POT"
        )
    check_straight(metric, reference, other)
    return lines.Line.of(reference), lines.Line.of(other)


@dataclass(frozen=True)
class SlicedWasserstein(Metric):
    """Sliced Wasserstein distance (mean over directions θ of W_p(θ·X, θ·Y)^p)^(1/p), from one-dimensional projections.

    It sees every difference in the limit of many directions, and how far mass has to move; at most W_p, and between
    distributions that differ by a shift alone |shift|/sqrt(d) for p = 2. Its noise for n draws, about n^-½, does not
    grow with the dimension.

    Directions are fixed: equally spaced in the plane (exact for p = 2 and shifts), in more dimensions quasi-random
    (multiples of the powers of a generalised golden ratio modulo 1, shifted by the seed, through the normal quantile
    function). Along a direction a cell is spread evenly over an interval with the variance of the projected cell, an
    error O(dx²). Particles outside the box count where they are. Cost per direction O(n log n), and O(cells) once per
    density.

    Parameters
    ----------
    n_directions : int
        Number of directions.
    order : {1, 2}
        The p.
    seed : int
        Seed of the quasi-random directions, in three dimensions and more.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    TypeError
        If an argument is neither a Density nor Particles.
    ValueError
        If dimensions differ, or an axis is periodic.

    References
    ----------
    Rabin, Peyré, Delon and Bernot (2012), doi:10.1007/978-3-642-24785-9_37.

    Examples
    --------
    A shift of length 5 in the plane counts 5/sqrt(2):

    >>> import wfr_pde as wfr
    >>> distance = wfr.metrics.SlicedWasserstein()
    >>> round(distance(wfr.Particles([[0.0, 0.0]]), wfr.Particles([[3.0, 4.0]])), 6)
    3.535534
    """

    n_directions: int = 64
    order: int = 2
    seed: int = 0
    name: str = "sliced_wasserstein"
    units = "length"
    symmetric = True
    triangle = True

    @override
    def __post_init__(self) -> None:
        _check_order(self.order)
        super().__post_init__()
        object.__setattr__(self, "n_directions", whole("n_directions", self.n_directions, 1))
        object.__setattr__(self, "seed", whole("seed", self.seed, 0))

    @property
    @override
    def long_name(self) -> str:
        return f"sliced W{'₁₂'[self.order - 1]}"

    def directions(self, d: int) -> Array:
        """Return unit vectors (n_directions, d) in `d` dimensions."""
        if d == 1:
            return np.ones((1, 1))
        if d == 2:
            angles = np.pi * (np.arange(self.n_directions) + 0.5) / self.n_directions
            return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        from scipy.special import ndtri

        ratio = 1.0
        for _ in range(GOLDEN_ROUNDS):
            ratio = (1 + ratio) ** (1 / (d + 1))  # towards the root of x^(d+1) = x + 1
        shift = np.random.default_rng(self.seed).random(d)
        points = (shift + np.outer(np.arange(1, self.n_directions + 1), ratio ** -np.arange(1.0, d + 1))) % 1
        normals = ndtri(np.clip(points, 1e-12, 1 - 1e-12))
        return normals / np.linalg.norm(normals, axis=1, keepdims=True)

    @override
    def __call__(self, reference: Measure, other: Measure) -> float:
        check_measures(reference, other, self.name, BY_DRAWS)
        check_straight(self.name, reference, other)
        pairs = zip(self._projections(reference), self._projections(other), strict=True)
        distances = np.array([lines.wasserstein(a, b, self.order) for a, b in pairs])
        return float(np.mean(distances**self.order) ** (1 / self.order))

    def _projections(self, measure: Measure) -> Iterable[lines.Line]:
        if isinstance(measure, Density):
            return _projections_of_density(self, measure)
        projection = lines.Projection(measure)
        return map(projection.along, self.directions(measure.ndim))


@functools.lru_cache(maxsize=2)
def _projections_of_density(metric: SlicedWasserstein, density: Density) -> list[lines.Line]:
    """Project a density once for all particles that are compared with it."""
    projection = lines.Projection(density)
    return [projection.along(theta) for theta in metric.directions(density.ndim)]


@dataclass(frozen=True)
class Wasserstein(Metric):
    """Wasserstein distance W_p = (min over couplings of E|X - Y|^p)^(1/p) in any dimension.

    It sees every difference, and how far mass has to move; but n draws from the reference are at a distance n^(-1/d)
    from it in d > 2 dimensions, above which nothing is seen. In one dimension exact, as `wasserstein_1`. In more, a
    density is first replaced by the means of `atoms` boxes of cells of about equal mass: that changes the result by at
    most `discretisation_error(density)`, by the triangle inequality; between those and the particles it is exact, by
    the network simplex of POT. Particles outside the box count where they are. Cost: memory 8 n atoms bytes, time
    about their product times some hundred nanoseconds.

    Parameters
    ----------
    order : {1, 2}
        The p.
    atoms : int
        Number of point masses that stand for a density.
    name : str
        Name of the variable in a Dataset.

    Raises
    ------
    BackendError
        If POT is missing: install wfr-pde[ot].
    TypeError
        If an argument is neither a Density nor Particles.
    ValueError
        If dimensions differ, an axis is periodic, or there are too many pairs.
    NumericalError
        If the network simplex does not end.

    References
    ----------
    Bonneel et al. (2011), doi:10.1145/2070781.2024192, for the network simplex; Flamary et al. (2021),
    https://pythonot.github.io, for POT.

    Examples
    --------
    In one dimension, without POT: the mass ½ has to move by 2.

    >>> import wfr_pde as wfr
    >>> distance = wfr.metrics.Wasserstein(order=1)
    >>> distance(wfr.Particles([[0.0], [1.0]]), wfr.Particles([[0.0], [3.0]]))
    1.0
    """

    order: int = 2
    atoms: int = 1000
    name: str = "wasserstein"
    units = "length"
    symmetric = True
    triangle = True

    @override
    def __post_init__(self) -> None:
        _check_order(self.order)
        super().__post_init__()
        object.__setattr__(self, "atoms", whole("atoms", self.atoms, 2))

    @property
    @override
    def long_name(self) -> str:
        return f"W{'₁₂'[self.order - 1]}"

    @override
    def __call__(self, reference: Measure, other: Measure) -> float:
        check_measures(reference, other, self.name, BY_DRAWS)
        check_straight(self.name, reference, other)
        if reference.ndim == 1:
            return lines.wasserstein(lines.Line.of(reference), lines.Line.of(other), self.order)
        (x, p), (y, q) = self._points(reference), self._points(other)
        if len(x) * len(y) > MOST_PAIRS:
            raise ValueError(
                f"{len(x)} times {len(y)} pairs of points are more than {MOST_PAIRS}: use fewer atoms or particles, or "
                "SlicedWasserstein()"
            )
        return float(_optimal_cost(x, p, y, q, self.order) ** (1 / self.order))

    def discretisation_error(self, density: Density) -> float:
        """Return the root mean square distance of a `density` to the means of its boxes of cells.

        It bounds the error of a distance from the density in more than one dimension, where those means stand for it.
        """
        check_density(density, self.name)
        return _means_of_boxes(density, int(self.atoms))[2]

    def _points(self, measure: Measure) -> tuple[Array, Array]:
        if isinstance(measure, Particles):
            return atoms(measure)
        return _means_of_boxes(measure, int(self.atoms))[:2]


@functools.lru_cache(maxsize=4)
def _means_of_boxes(density: Density, number: int) -> tuple[Array, Array, float]:
    """Return means (k, d) and masses (k,) of boxes of about equal mass, and the root mean square distance to them."""
    labels, weights = equal_bins(density, number)
    masses, grid = cell_masses(density).ravel(), density.grid
    flat, weights = labels.ravel(), weights[:-1]
    positive = weights > 0
    safe = np.where(positive, weights, 1.0)
    means, square = [], 0.0
    for k, axis in enumerate(grid.axes):
        place = [-1 if i == k else 1 for i in range(grid.ndim)]
        x = np.broadcast_to(axis.centres.reshape(place), grid.shape).ravel()
        own = np.broadcast_to((np.diff(axis.edges) ** 2 / 12).reshape(place), grid.shape).ravel()
        mean = np.bincount(flat, masses * x, minlength=len(weights)) / safe
        square += float(masses @ ((x - mean[flat]) ** 2 + own))
        means.append(mean)
    points = np.stack(means, axis=-1)[positive]
    return points, weights[positive], math.sqrt(square)


def _optimal_cost(x: Array, p: Array, y: Array, q: Array, order: int) -> float:
    """Return min Σ_ij P_ij |x_i - y_j|^order over couplings P of the weights p and q."""
    try:
        import ot
    except ImportError as error:
        raise BackendError("Wasserstein in two and more dimensions needs POT: pip install 'wfr-pde[ot]'") from error
    from scipy.spatial.distance import cdist

    cost = cdist(x, y, "sqeuclidean" if order == 2 else "euclidean")
    p, q = p / p.sum(), q / q.sum()
    value, log = ot.emd2(p, q * (p.sum() / q.sum()), cost, numItermax=MOST_PIVOTS, log=True)
    if log["warning"] is not None:
        raise NumericalError(f"the network simplex of POT did not end: {log['warning']}")
    return max(float(value), 0.0)


def _check_order(order: int) -> None:
    if whole("order", order) not in (1, 2):
        raise ValueError(f"the order of a Wasserstein distance is 1 or 2 here, got {shown(order)}")
