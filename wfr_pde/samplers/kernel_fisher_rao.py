"""The Fisher-Rao flow as transport, in a space of kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import MemoryUse, Step
from wfr_pde.numerics.arguments import finite, positive, whole
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.bandwidths import checked_bandwidth, median_distance
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.tempered_path import checked_start, tempered_path
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target

MOST = 5000  # most kernels m: three matrices of m² numbers, 600 MB
ROWS = 256  # particles whose kernels are held at a time; no number depends on it but by rounding


@dataclass(frozen=True, eq=False)
class KernelFisherRao(Sampler):
    """Kernel Fisher-Rao flow: particles move along the path mu_0^(1 - lambda) pi^lambda, lambda = 1 - e^(-rate t).

    With h = log(pi/mu_0) the path has d_t log mu = lambda' (h - E h). A velocity grad phi carries it if, for every test
    function f, E[grad f · grad phi] = lambda' Cov(f, h). For phi and f in the span of the kernels K_j = K(X_j, ·) at
    the particles, phi = Σ c_j K_j, that is M c = b with M_ij = E[grad K_i · grad K_j], b_i = lambda' Cov(K_i, h), and
    expectations over the particles. No score is needed, and nothing is random. K(x, y) = exp(-|x - y|² / (2
    bandwidth²)).

    The midpoint rule, of order 2 in dt. The law is the Fisher-Rao flow but for the span of the kernels and the
    regularisation, which both make it lag behind. M is full: for kernels at m of the n particles time is O(m² (n + m) +
    d m n), memory O(d n + m²). By default all carry one, m = n.

    Parameters
    ----------
    start : Target
        mu_0, which the particles were drawn from.
    rate : float
        Reaction rate beta >= 0.
    bandwidth : float, optional
        Standard deviation of K along every axis; by default the median distance, at every evaluation anew (for more
        than 1000 particles, of 1000 of them).
    regularisation : float
        > 0; that times the mean of the diagonal is added to the diagonal of M, which is close to singular.
    start_time : float
        Time of the start.
    centres : int, optional
        The number m of particles that carry kernels, evenly spaced among them, where there are more; by default all.
        At most 5000.

    Raises
    ------
    TypeError, ValueError
        If the start is no target or moves, a number is out of range, the target moves, dimensions differ, or there
        are more than 5000 kernels.
    NumericalError
        From a step, if the equations are singular up to rounding.

    References
    ----------
    Maurais and Marzouk (2024), arXiv:2401.03892.

    Examples
    --------
    From N(1, 1) to N(0, 1) the mean is e^-1 = 0.37 at t = 1; 200 particles are moved there from about 1:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> flow = wfr.samplers.KernelFisherRao(start)
    >>> ds = wfr.solve(target, flow, start.sample(200, rng=1), t=[0, 1], dt=0.1)
    >>> bool(abs(ds.position.values[-1].mean() - 0.368) < 0.1)
    True
    """

    start: Target
    rate: float = 1.0
    bandwidth: float | None = None
    regularisation: float = 1e-6
    start_time: float = 0.0
    centres: int | None = field(default=None, kw_only=True)

    order = 2
    random = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        checked_start(self.start, "KernelFisherRao")
        object.__setattr__(self, "bandwidth", checked_bandwidth(self.bandwidth))
        object.__setattr__(self, "regularisation", positive("regularisation", self.regularisation))
        object.__setattr__(self, "start_time", finite("start_time", self.start_time))
        if self.centres is not None:
            centres = whole("centres", self.centres, 1, "the number of particles that carry kernels", most=MOST)
            object.__setattr__(self, "centres", centres)

    def _number(self, n: int) -> int:
        """Return the number of kernels for n particles."""
        return n if self.centres is None else min(n, self.centres)

    @override
    def memory_use(self, template: Particles) -> MemoryUse:
        """Return what a step holds: M, the parts that it is made of, and the kernels of some particles."""
        m = self._number(len(template.positions))
        return MemoryUse(8 * (4 * m**2 + 4 * m * ROWS + 3 * template.positions.size))

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare a step of the midpoint rule."""
        path = tempered_path(self.start, energy, template, self.rate, self.start_time, "KernelFisherRao")
        n = len(template.positions)
        if self._number(n) > MOST:
            raise ValueError(
                f"KernelFisherRao solves a full system of n equations at every step, in time O(n³) and memory O(n²), "
                f"and takes at most {MOST} particles, got n={n}: use fewer, kernels at some of them (centres=1000), or "
                "Tempering, which is O(n)"
            )
        if self.rate == 0:
            return lambda state, t, rng=None: state

        def velocity(x: Array, weights: Array, t: float) -> Array:
            h = path.log_ratio(x)
            force = self.rate * path.left(t) * weights * (h - weights @ h)
            width = median_distance(x) if self.bandwidth is None else self.bandwidth
            chosen = np.linspace(0, len(x) - 1, self._number(len(x))).astype(np.int64)
            return potential_flow(x, weights, force, width, self.regularisation, chosen)

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            x, weights = state.positions, state.weights
            half = x + dt / 2 * velocity(x, weights, t)
            return self.moved(state, x + dt * velocity(half, weights, t + dt / 2), None, state.auxiliary)

        return step


def potential_flow(
    x: Array, weights: Array, force: Array, bandwidth: float, regularisation: float, chosen: Any = slice(None)
) -> Array:
    """Return velocities (n, d) grad phi(x_l), phi = Σ c_j K_j, with Σ_l w_l grad K_i · grad phi = Σ_l K_i(x_l) force_l.

    The K_j are those of the `chosen` particles, by default of all.

    Raises
    ------
    NumericalError
        If the equations are singular up to rounding, or no kernel reaches another particle.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    y = (x - x.mean(axis=0)) / bandwidth
    centres = y[chosen]
    matrix, right = equations(y, centres, weights, force)
    n, trace = len(x), matrix.trace()
    if trace == 0 and np.ptp(x, axis=0).any():
        raise NumericalError(
            f"no kernel of bandwidth {bandwidth:.4g} reaches another of the n={n} particles: use a longer bandwidth"
        )
    if trace == 0:  # all at one place, where every kernel has its maximum: nothing pushes them
        return np.zeros_like(x)
    matrix[np.diag_indices(len(matrix))] += regularisation * trace / len(matrix)
    try:
        factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError as error:
        raise NumericalError(
            f"the equations of KernelFisherRao for n={n} particles are singular up to rounding with "
            f"regularisation={regularisation:g}: use a larger one, or a shorter bandwidth than {bandwidth:.4g}"
        ) from error
    coefficients = cho_solve(factor, right, check_finite=False) * bandwidth
    velocities = np.empty_like(y)
    for start in range(0, n, ROWS):
        part = y[start : start + ROWS]
        shares = kernels(part, centres)[0] * coefficients
        velocities[start : start + ROWS] = shares @ centres - shares.sum(axis=1)[:, None] * part
    return velocities


def kernels(points: Array, centres: Array) -> tuple[Array, Array]:
    """Return exp(-|x_l - x_j|²/2) and |x_l - x_j|² for points l and centres j."""
    from scipy.spatial.distance import cdist

    squares = cdist(points, centres, "sqeuclidean")
    return np.exp(-0.5 * squares), squares


def equations(y: Array, centres: Array, weights: Array, force: Array) -> tuple[Array, Array]:
    """Return the matrix (m, m) Σ_l w_l grad K_i · grad K_j at y_l, and the right-hand side (m,) Σ_l K_i(y_l) force_l.

    As 2 (x_i - y_l) · (x_j - y_l) = |x_i - y_l|² + |x_j - y_l|² - |x_i - x_j|², it takes two products of matrices
    whatever the dimension.
    """
    m = len(centres)
    stretched, plain, right = np.zeros((m, m)), np.zeros((m, m)), np.zeros(m)
    for start in range(0, len(y), ROWS):
        part = slice(start, start + ROWS)
        values, squares = kernels(y[part], centres)
        right += force[part] @ values
        weighted = weights[part, None] * values
        plain += weighted.T @ values
        stretched += (squares * weighted).T @ values
    plain *= kernels(centres, centres)[1]
    return 0.5 * (stretched + stretched.T - plain), right
