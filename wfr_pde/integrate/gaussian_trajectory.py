"""A Gaussian factor of a product, known by its moments at some times, at all times between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows.gaussian_moments import after
from wfr_pde.integrate.trajectory_points import groups
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.special import minus_log1p
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.gaussian import Gaussian

MARGIN = 4.0  # between the difference of two interpolations and the error of the better one
MOST_FRAMES = 4  # that precisions are interpolated through, without the equation: degree 3
WITHIN = 200.0  # times the total variation: distance of the moments in units of the Gaussian, for small ones
NEAR = 1 / WITHIN  # total variation above which nothing is known of the moments


@dataclass(frozen=True, eq=False)
class GaussianTrajectory:
    """The law N(m_t, C_t) of a factor: at the save times as stored, and between them by the closed form of the flow.

    Without the target the precision matrix and its product with the mean are interpolated by polynomials of degree 3.

    Parameters
    ----------
    times : array (t,)
    means, covariances : arrays (t, m), (t, m, m)
    errors : array (t,)
        L1 errors of the frames.
    target : Gaussian, optional
        The factor of pi.
    rates : (alpha, beta), optional
        Both are needed for the closed form.
    """

    times: Array
    means: Array
    covariances: Array
    errors: Array
    target: Gaussian | None = None
    rates: tuple[float, float] | None = None
    _defects: dict[int, float] = field(init=False, repr=False, default_factory=dict)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return int(self.means.shape[1])

    @property
    def frames(self) -> list[Gaussian]:
        """The laws at the save times."""
        return [self._frame(k) for k in range(len(self.times))]

    def at(self, t: float) -> Gaussian:
        """Return the law at a time of the run."""
        k = self._interval(t)
        for same in (k, min(k + 1, len(self.times) - 1)):
            if t == self.times[same]:
                return self._frame(same)
        return self._between(k, t)

    def log_prob(self, points: Array, t: ArrayLike) -> Array:
        """Evaluate the normalised log-density at points (..., m) and times that broadcast."""
        return self._evaluated(points, t, (), lambda law, y: law.log_density(y) - law.log_normaliser)

    def score(self, points: Array, t: ArrayLike) -> Array:
        """Evaluate the gradient of the log-density at points (..., m) and times that broadcast."""
        return self._evaluated(points, t, (self.ndim,), lambda law, y: law.score(y))

    def growth(self, points: Array, t: ArrayLike) -> Array:
        """Evaluate -beta (g - E g), g = log(mu_t/pi), at points (..., m) and times that broadcast.

        Raises
        ------
        ValueError
            Without the target or the rates.
        """
        target, rates = self.target, self.rates
        if target is None or rates is None:
            raise ValueError("growth needs the target and both rates: Trajectory(tree, target)")

        def growing(law: Gaussian, y: Array) -> Array:
            g = law.log_density(y) - law.log_normaliser - target.log_density(y) + target.log_normaliser
            return np.asarray(-rates[1] * (g - divergence(law, target)))

        return self._evaluated(points, t, (), growing)

    def error_l1(self, t: float) -> float:
        """Bound the L1 error at a time; without the target it is an estimate."""
        k = self._interval(t)
        if t in self.times:
            return float(self.errors[int(np.searchsorted(self.times, t))])
        frames = float(self.errors[k : k + 2].max())
        between = self._defect(k) if self.target is not None and self.rates is not None else self._doubt(k, t)
        return min(2.0, frames + between)

    def pointwise(self, points: Array, t: ArrayLike, order: int) -> Array:
        """Bound the errors of the log-density (order 0) or of its gradient (order 1); infinite where unknown.

        Two Gaussians of a small total variation T have moments that differ by at most 200 T, in units of the Gaussian:
        the mean in the Mahalanobis norm, the covariance in that of Frobenius.

        References
        ----------
        Devroye, Mehrabian and Reddad (2018), arXiv:1810.08693.
        """

        def errors(law: Gaussian, y: Array, time: float) -> Array:
            apart = self.error_l1(time) / 2
            if not apart < NEAR:
                return np.full(len(y), np.inf)
            square = -2 * law.log_density(y)
            if order == 0:
                return np.asarray(WITHIN * apart * (0.5 * square + 0.5 * math.sqrt(self.ndim) + np.sqrt(square)))
            steepest = math.sqrt(float(np.linalg.eigvalsh(law.precision)[-1]))
            return np.asarray(WITHIN * apart * steepest * (1 + np.sqrt(square)))

        return self._evaluated(points, t, (), errors, timed=True)

    def _evaluated(
        self, points: Array, t: ArrayLike, more: tuple[int, ...], function: Any, *, timed: bool = False
    ) -> Array:
        """Evaluate a function of the law and of points, time by time."""
        shape = np.broadcast_shapes(points.shape[:-1], np.shape(t))
        flat = np.broadcast_to(points, (*shape, self.ndim)).reshape(-1, self.ndim)
        result = np.empty((len(flat), *more))
        for time, where in groups(np.broadcast_to(real_array("t", t), shape).ravel()):
            given = (self.at(time), flat[where], time) if timed else (self.at(time), flat[where])
            result[where] = function(*given)
        return result.reshape((*shape, *more))

    def _frame(self, k: int) -> Gaussian:
        return Gaussian(self.means[k], self.covariances[k])

    def _interval(self, t: float) -> int:
        return int(np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, max(len(self.times) - 2, 0)))

    def _between(self, k: int, t: float) -> Gaussian:
        """Return the law at a time inside an interval."""
        if self.target is not None and self.rates is not None:
            return after(self.target, self._frame(k), t - float(self.times[k]), self.rates)
        return self._interpolated(self._around(k, MOST_FRAMES), t) or self._mean_of_two(k, t)

    def _defect(self, k: int) -> float:
        """Return twice the L1 distance of the closed form, begun at frame k, from frame k + 1."""
        if k not in self._defects:
            assert self.target is not None
            assert self.rates is not None
            span = float(self.times[k + 1] - self.times[k])
            end = after(self.target, self._frame(k), span, self.rates)
            self._defects[k] = 2 * distance(end, self._frame(k + 1))
        return self._defects[k]

    def _doubt(self, k: int, t: float) -> float:
        """Return the distance of the interpolation from those of a lower degree, with a margin; 2 for two frames."""
        if len(self.times) < MOST_FRAMES:
            return 2.0
        best = self._between(k, t)
        fewer = [self._around(k, 3)]
        fewer.append(fewer[0] + 1 if fewer[0][0] + 4 <= len(self.times) else fewer[0] - 1)
        others = [self._interpolated(frames, t) for frames in fewer]
        return MARGIN * max(2.0 if other is None else distance(other, best) for other in others)

    def _around(self, k: int, count: int) -> np.ndarray:
        """Return the numbers of frames around an interval, `count` of them or all."""
        count = min(count, len(self.times))
        first = min(max(k - (count - 2) // 2, 0), len(self.times) - count)
        return np.arange(first, first + count)

    def _interpolated(self, frames: np.ndarray, t: float) -> Gaussian | None:
        """Return the law by polynomials through some frames; None where they give no covariance."""
        places = self.times[frames]
        weights = [
            math.prod((t - other) / (place - other) for other in places if other != place) for place in places.tolist()
        ]
        laws = [self._frame(int(k)) for k in frames]
        precision = sum(w * law.precision for w, law in zip(weights, laws, strict=True))
        linear = sum(w * law.precision @ law.mean for w, law in zip(weights, laws, strict=True))
        precision = (precision + np.transpose(precision)) / 2
        if not np.linalg.eigvalsh(precision)[0] > 0:
            return None
        covariance = np.linalg.inv(precision)
        return Gaussian(covariance @ linear, (covariance + covariance.T) / 2)

    def _mean_of_two(self, k: int, t: float) -> Gaussian:
        """Return the geometric mean of the two neighbours, which is always a Gaussian."""
        found = self._interpolated(np.array([k, k + 1]), t)
        assert found is not None
        return found


def divergence(p: Gaussian, q: Gaussian) -> float:
    """Compute KL(p | q) by the eigenvalues of the covariance in units of the other, right to rounding near zero too."""
    factor = np.linalg.inv(np.linalg.cholesky(q.covariance))
    scaled = factor @ (p.covariance - q.covariance) @ factor.T
    apart = np.linalg.eigvalsh((scaled + scaled.T) / 2)
    shift = factor @ (p.mean - q.mean)
    return 0.5 * float(np.sum(minus_log1p(np.maximum(apart, -1 + 1e-16), np)) + shift @ shift)


def distance(p: Gaussian, q: Gaussian) -> float:
    """Bound the L1 distance of two Gaussians by sqrt(2 KL), of the smaller KL of both; at most 2."""
    return min(2.0, math.sqrt(2 * max(0.0, min(divergence(p, q), divergence(q, p)))))
