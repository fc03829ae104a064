"""Closed form of the Wasserstein flow to a `CoshDoubleWell`, and its KL divergence from the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.flows.base import checked_rate
from wfr_pde.numerics.arguments import draws, generator, instance, knows_its_arguments, number
from wfr_pde.numerics.special import expm1_minus
from wfr_pde.numerics.typing import Array
from wfr_pde.targets import CoshDoubleWell, Target
from wfr_pde.truth.exact.arguments import checked_time


@knows_its_arguments
def cosh_double_well_flow(target: CoshDoubleWell, eps: float, t: float, transport_rate: float = 1.0) -> Target:
    """Evaluate the Wasserstein flow from pi (1 + eps tanh(kx)) to pi: mu_t = pi (1 + eps e^{-rate gap t} tanh(kx)).

    tanh(kx) is an eigenfunction of the generator, so that only its amplitude falls; t = 0 is the start. One Lie step
    W-FR of size h is ``fisher_rao(target, cosh_double_well_flow(target, eps, h, alpha), h, beta)``.

    Parameters
    ----------
    target : CoshDoubleWell
        pi.
    eps : float
        Amplitude at the start, in (-1, 1); the mass right of the barrier is ½ + eps/2 E|tanh(kx)|.
    t : float
        Time >= 0.
    transport_rate : float
        alpha >= 0.

    Returns
    -------
    Target
        With its score, normaliser, sampler and box.

    Raises
    ------
    ValueError
        If an argument is not as above.
    TypeError
        If the target is no `CoshDoubleWell`.

    Examples
    --------
    The amplitude is tanh(D/2)/tanh(k), D the difference of log(mu_t/pi) at x = 1 and x = -1. With the gap 1/2 and t = 2
    it is eps/e:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target = wfr.CoshDoubleWell(gap=0.5)
    >>> flow = wfr.exact.cosh_double_well_flow(target, 0.8, 2.0)
    >>> right, left = flow.log_density([[1.0], [-1.0]]) - target.log_density([[1.0], [-1.0]])
    >>> round(float(np.tanh((right - left) / 2) / np.tanh(1)), 4), round(0.8 / np.e, 4)
    (0.2943, 0.2943)
    """
    return _TiltedWell(target, _amplitude(target, eps, t, transport_rate))


@knows_its_arguments
def cosh_double_well_kl(target: CoshDoubleWell, eps: float, t: float, transport_rate: float = 1.0) -> float:
    """Compute KL(mu_t|pi) in nats along `cosh_double_well_flow`, right to rounding however small it is.

    It is E_pi[(1 + y) log(1 + y) - y] with y = eps e^{-rate gap t} tanh(kx), by the trapezoidal rule in u = 2kx, which
    converges like e^{-2 pi²/du}: pi falls like exp(-c cosh u), and the nearest singularities are pi i away.

    Parameters
    ----------
    target : CoshDoubleWell
        pi.
    eps : float
        Amplitude at the start, in (-1, 1).
    t : float
        Time >= 0.
    transport_rate : float
        alpha >= 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is not as above.
    TypeError
        If the target is no `CoshDoubleWell`.

    Examples
    --------
    Late, KL falls as e^{-2 gap t}, here as e^{-t}:

    >>> import math
    >>> import wfr_pde as wfr
    >>> target = wfr.CoshDoubleWell(gap=0.5)
    >>> early, late = (wfr.exact.cosh_double_well_kl(target, 0.8, t) for t in (40.0, 41.0))
    >>> round(math.log(early / late), 4)
    1.0
    """
    amplitude = _amplitude(target, eps, t, transport_rate)
    reach = 2 * target.k * float(target.box(1e-18)[1][0])
    x = np.linspace(-reach, reach, 2 * math.ceil(reach / 0.25) + 1) / (2 * target.k)
    pi = np.exp(target.log_density(x[:, None]) - target.log_normaliser)
    y = amplitude * np.tanh(target.k * x)
    # with l = log(1 + y) it is e^l (e^-l - 1 + l)
    return float(np.sum(pi * (1 + y) * expm1_minus(-np.log1p(y), np)) * (x[1] - x[0]))


@dataclass(frozen=True, eq=False)
class _TiltedWell(Target):
    """The distribution pi (1 + amplitude tanh(kx)) for a `CoshDoubleWell` pi; it has the mass of pi, as tanh is odd."""

    well: CoshDoubleWell
    amplitude: float

    ndim = 1

    @property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        return self.well.log_normaliser

    @override
    def log_density(self, points: ArrayLike) -> Array:
        tilt = self.amplitude * np.tanh(self.well.k * self.as_points(points)[..., 0])
        return self.well.log_density(points) + np.log1p(tilt)

    @override
    def score(self, points: ArrayLike) -> Array:
        tanh = np.tanh(self.well.k * self.as_points(points))
        return self.well.score(points) + self.well.k * self.amplitude * (1 - tanh**2) / (1 + self.amplitude * tanh)

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Draw `n` independent points (n, 1): draws of pi, each put at the one of ±x that the tilt prefers."""
        n, rng = draws(n), generator(rng)
        points = np.abs(self.well.sample(n, rng))
        return np.where(rng.random((n, 1)) < (1 + self.amplitude * np.tanh(self.well.k * points)) / 2, points, -points)

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the box of pi: by symmetry the same mass is outside."""
        return self.well.box(tail)


def _amplitude(target: Any, eps: float, t: float, rate: float) -> float:
    """Return eps e^{-rate gap t} for arguments that are as `cosh_double_well_flow` says, and refuse others."""
    instance("target", target, CoshDoubleWell)
    eps = number("eps", eps)
    if not -1 < eps < 1:
        raise ValueError(f"eps must lie between -1 and 1, so that the density is positive, got {eps}")
    return eps * math.exp(-checked_rate(rate, "the transport", "transport_rate") * target.gap * checked_time(t))
