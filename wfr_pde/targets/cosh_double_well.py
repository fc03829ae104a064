"""The double well whose spectral gap is known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import draws, generator, positive
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import call_repr, tail_mass
from wfr_pde.targets.base import Target

FARTHEST = 400.0  # cosh(800) overflows: pi is zero from there on


@dataclass(frozen=True, eq=False)
class CoshDoubleWell(Target):
    """Double well with a known spectral gap: V(x) = -2 log cosh(kx) + gap/(4k²) cosh(2kx), on the line.

    tanh(kx) is an eigenfunction of the generator L = d²/dx² - V' d/dx, with eigenvalue -gap; as it has one zero, it
    is the first one after the constant, and `gap` is the spectral gap to the last digit. (With c = gap/(4k²) it is
    V' = -2k tanh(kx) + 2kc sinh(2kx), so that L tanh(kx) = k² sech²(kx) (-2 tanh(kx) + 2 tanh(kx) - 2c sinh(2kx)),
    which is -4k²c tanh(kx).)

    There are two wells if gap < 2k², at cosh²(kx) = 2k²/gap, with V'' = 4k² - 2 gap there; else one. The substitution
    w = sinh(kx) turns pi into sqrt(1 + w²) exp(-2cw²), from which normaliser, sampler and box follow.

    Parameters
    ----------
    gap : float
        The spectral gap, in units of 1/length² (the rate is transport rate times gap).
    k : float
        Inverse width of the barrier.

    Raises
    ------
    ValueError
        If gap or k is not positive.

    Examples
    --------
    With f = tanh, (f'' - V' f') / f is minus the gap everywhere, here at x = 0.7:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target, x = wfr.CoshDoubleWell(gap=0.5), 0.7
    >>> score, slope = float(target.score([[x]])[0, 0]), 1 / np.cosh(x) ** 2  # -V' and f'
    >>> round(float((-2 * np.tanh(x) * slope + score * slope) / np.tanh(x)), 6)
    -0.5
    """

    gap: float
    k: float = 1.0

    ndim = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "gap", positive("gap", self.gap))
        object.__setattr__(self, "k", positive("k", self.k))

    __repr__ = call_repr

    @property
    def _c(self) -> float:
        """Factor of cosh(2kx) in V."""
        return self.gap / (4 * self.k**2)

    @property
    def barrier(self) -> float:
        """Height of V(0) above the wells, gap/(2k²) - 1 + log(2k²/gap), in nats; zero if there is one well."""
        ratio = 2 * self._c
        return ratio - 1 - math.log(ratio) if ratio < 1 else 0.0

    @property
    def wells(self) -> Array:
        """Positions (2,) of the two wells, or (1,) of the only one."""
        if 2 * self._c >= 1:
            return np.zeros(1)
        well = math.acosh(math.sqrt(1 / (2 * self._c))) / self.k
        return np.array([-well, well])

    @cached_property
    def _bessel(self) -> float:
        """e^c (K_0(c) + K_1(c)), with ∫ exp(-c cosh u) cosh(nu) du = 2 K_n(c)."""
        from scipy.special import kve  # e^c K(c): does not underflow

        return float(kve(0, self._c) + kve(1, self._c))

    @cached_property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        """log ∫ exp(-V) = log((K_0(c) + K_1(c)) / (2k)), from cosh² = (1 + cosh(2kx))/2."""
        return math.log(self._bessel) - self._c - math.log(2 * self.k)

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V at points (..., 1), shape (...); -inf where cosh overflows, from |kx| = 355 on."""
        with np.errstate(over="ignore"):
            size = np.minimum(np.abs(self.k * self.as_points(points)[..., 0]), FARTHEST)
            return np.asarray(2 * (size + np.log1p(np.exp(-2 * size)) - np.log(2)) - self._c * np.cosh(2 * size))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return -V' at points (..., 1), shape (..., 1)."""
        with np.errstate(over="ignore"):
            u = self.k * self.as_points(points)
            return np.asarray(2 * self.k * (np.tanh(u) - self._c * np.sinh(2 * u)))

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Return `n` independent draws, shape (n, 1).

        |w| by rejection from (1 + w) exp(-2cw²), half of a Gaussian and a Rayleigh distribution, which
        sqrt(1 + w²) <= 1 + w accepts with a probability of at least 1/sqrt(2).
        """
        n, rng = draws(n, self.ndim), generator(rng)
        c = self._c
        share = 1 / (1 + math.sqrt(2 * math.pi * c))  # of the Rayleigh part: 1/(4c) beside sqrt(pi/(8c))
        w = np.empty(0)
        while len(w) < n:
            m = 2 * (n - len(w)) + 16
            gaussian, rayleigh = np.abs(rng.standard_normal(m)), np.sqrt(2 * rng.standard_exponential(m))
            drawn = np.where(rng.random(m) < share, rayleigh, gaussian) / (2 * math.sqrt(c))
            w = np.append(w, drawn[rng.random(m) * (1 + drawn) <= np.sqrt(1 + drawn**2)])
        sign = np.where(rng.random(n) < 0.5, -1.0, 1.0)
        return (sign * np.arcsinh(w[:n]) / self.k)[:, None]

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return a box outside which the mass is at most `tail`, to a few per cent in the tail where that is small.

        For w > W it is sqrt(1 + w²) <= w + sqrt(1 + W²) - W, so that the mass beyond sqrt(2c) W = y is at most
        e^{-y²} (1/(4c) + (sqrt(1 + W²) - W) sqrt(pi/(8c)) erfcx(y)) over (K_0 + K_1) e^c / 4, bisected in y.
        """
        from scipy.special import erfcx

        log_tail, c = math.log(tail_mass(tail)), self._c

        def log_mass(y: float) -> float:
            w = y / math.sqrt(2 * c)
            beyond = 1 / (4 * c) + math.sqrt(math.pi / (8 * c)) * float(erfcx(y)) / (math.hypot(1, w) + w)
            return math.log(4 * beyond / self._bessel) - y * y

        low, high = 0.0, math.sqrt(max(log_mass(0.0) - log_tail, 1.0))  # log_mass falls at least like -y²
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if log_mass(middle) > log_tail else (low, middle)
        half = np.array([math.asinh(high / math.sqrt(2 * c)) / self.k])
        return -half, half
