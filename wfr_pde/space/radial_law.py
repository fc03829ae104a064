"""Laws in R^d that depend on the distance from the origin only, held by the density of that distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import dimension, draws, generator, instance, real_array
from wfr_pde.numerics.gauss_rules import gauss
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.quadrature import with_corrected_masses

CELLS = 600  # of the grid that holds the law of one coordinate
WIDEST = 14.0  # standard deviations of a coordinate that this grid reaches, where the law does
PANELS, NODES = 64, 8  # of Gauss's rule over the distance from the axis of a coordinate
TINY = 1e-300  # a radius above zero, to divide by


@dataclass(frozen=True, eq=False)
class RadialLaw(Record):
    """Law in R^m of density p(|y|) / (area |y|^(m-1)), p the density of the distance r = |y| from the origin.

    Parameters
    ----------
    density : Density
        p, in one dimension, on a grid of r >= 0.
    ndim : int
        m, the dimension of the space.

    Raises
    ------
    TypeError, ValueError
        If the density is not one of a line, or has cells at r < 0.

    Examples
    --------
    The standard Gaussian in R^3, by the density r² exp(-r²/2) of the distance; E r² is 3:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> from wfr_pde.space.radial_law import RadialLaw
    >>> grid = wfr.Grid(0.0, 10.0, 400)
    >>> r = grid.axes[0].centres
    >>> law = RadialLaw(wfr.Density(grid, 2 * np.log(r) - r**2 / 2).normalised(), 3)
    >>> round(float(np.trace(law.covariance())), 6), law.log_prob([[1.0, 1.0, 0.0]]).round(6)
    (3.0, array([-3.756816]))
    """

    density: Density
    ndim: int

    def __post_init__(self) -> None:
        instance("density", self.density, Density, "of the distance from the origin, in one dimension")
        if self.density.ndim != 1 or self.density.grid.axes[0].edges[0] < 0:
            raise ValueError(
                f"density must be one of the distance r >= 0, on a line, but it is on {self.density.grid!r}: give the "
                "marginal density of r"
            )
        object.__setattr__(self, "ndim", dimension(self.ndim))

    @property
    def log_area(self) -> float:
        """Logarithm of the area 2 pi^{m/2} / Gamma(m/2) of the unit sphere."""
        return math.log(2) + self.ndim / 2 * math.log(math.pi) - math.lgamma(self.ndim / 2)

    def mean(self) -> Array:
        """Return the mean, which is zero.

        Returns
        -------
        array (m,)
        """
        return np.zeros(self.ndim)

    def covariance(self) -> Array:
        """Compute the covariance matrix, E r²/m times the identity.

        Returns
        -------
        array (m, m)
        """
        radii, masses = self.radii
        return float(masses @ radii**2) / self.ndim * np.eye(self.ndim)

    @cached_property
    def radii(self) -> tuple[Array, Array]:
        """Radii (n,) and masses (n,): sums over them are integrals over p, of order 8 beside a wall at zero."""
        density = with_corrected_masses(self.density)
        masses = density.grid.backend.asnumpy(density.values * density.grid.cell_volume)
        return density.grid.axes[0].centres, masses / masses.sum()

    def log_prob(self, points: ArrayLike) -> Array:
        """Evaluate the log-density at points; -inf where the grid of r does not reach.

        Parameters
        ----------
        points : array (..., m)

        Returns
        -------
        array (...)
        """
        return self.log_profile(_length(self._as_points(points)))

    def log_profile(self, r: Array) -> Array:
        """Evaluate the log-density in R^m at distances r (...) from the origin."""
        return self._profile.log_prob(r[..., None])

    @cached_property
    def _profile(self) -> Density:
        """Log-density in R^m on the grid of r, through which the spline goes: it is smooth at the origin, log p not."""
        grid = self.density.grid
        logs = self.density.log_values - (self.ndim - 1) * np.log(grid.axes[0].centres) - self.log_area
        return Density(grid, logs)

    def score(self, points: ArrayLike) -> Array:
        """Evaluate the gradient of the log-density at points; NaN where the grid of r does not reach.

        Parameters
        ----------
        points : array (..., m)

        Returns
        -------
        array (..., m)
        """
        points = self._as_points(points)
        r = _length(points)[..., None]
        return np.asarray(self._profile.score(r) * points / np.maximum(r, TINY))

    def sample(self, n: int, rng: Rng = None) -> Array:
        """Draw independent points: a radius and a direction.

        Parameters
        ----------
        n : int
            Number of points.
        rng : int or numpy Generator, optional
            A seed, or what draws; by default another one every time.

        Returns
        -------
        array (n, m)
        """
        n, rng = draws(n, self.ndim), generator(rng)
        directions = rng.standard_normal((n, self.ndim))
        directions /= _length(directions)[:, None]
        return np.asarray(self.density.sample(n, rng) * directions)

    @cached_property
    def coordinate(self) -> Density:
        """Law of one coordinate, whichever, on a grid."""
        half = min(self._reach, WIDEST * math.sqrt(self.covariance()[0, 0]))
        grid = Grid(-half, half, CELLS, names="u")
        logs = self.log_shadow(grid.axes[0].centres[CELLS // 2 :], 1)
        return Density(grid, np.concatenate([logs[::-1], logs])).normalised()

    @property
    def _reach(self) -> float:
        return float(self.density.grid.axes[0].edges[-1])

    def log_shadow(self, s: Array, k: int) -> Array:
        """Evaluate the log-density of k of the coordinates at distances s (n,) from zero, below the end of the grid.

        It is ∫ mu(sqrt(s² + v²)) |S^{m-k-1}| v^{m-k-1} dv over the distance v that the other coordinates make.
        """
        if k == self.ndim:
            return self.log_profile(s)
        others = self.ndim - k
        log_area = math.log(2) + others / 2 * math.log(math.pi) - math.lgamma(others / 2)
        at, weights = gauss(NODES)
        logs = np.empty(len(s))
        for i, distance in enumerate(s.tolist()):
            edges = np.linspace(0.0, math.sqrt(self._reach**2 - distance**2), PANELS + 1)
            v = (edges[:-1, None] + np.diff(edges)[:, None] * at).ravel()
            terms = self.log_profile(np.minimum(np.hypot(distance, v), self._reach)) + (others - 1) * np.log(v)
            terms += log_area + np.log(np.outer(np.diff(edges), weights)).ravel()
            top = float(terms.max())
            logs[i] = top + math.log(float(np.exp(terms - top).sum()))
        return logs

    def _as_points(self, points: ArrayLike) -> Array:
        array = real_array("points", points)
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            raise ValueError(
                f"points have shape {array.shape}, but the law is {self.ndim}-dimensional: the last axis must have "
                f"length {self.ndim}"
            )
        return array


def _length(points: Array) -> Array:
    """Return |y| (...) of points y (..., m)."""
    return np.asarray(np.sqrt(np.sum(points**2, axis=-1)))
