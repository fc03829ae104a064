"""Transport by finite volumes: positive and conservative, on uniform and graded grids, for any step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import KL, Energy
from wfr_pde.flows.base import Flow, FrozenStep, MemoryUse, Step, checked_rate
from wfr_pde.flows.diffusions.coefficients import Diffusivity, Field, diffusivity_at, name_of, values_at_probes
from wfr_pde.flows.diffusions.equation import DiffusionEquation
from wfr_pde.flows.diffusions.free_space import begin_account
from wfr_pde.flows.law import Law
from wfr_pde.flows.transport.finite_volume.drift import DriftStep, check_grid_of_drift, refuse_zero_diffusivity
from wfr_pde.flows.transport.finite_volume.jump_rates import FLUXES
from wfr_pde.flows.transport.finite_volume.line_sweep import LineSweep
from wfr_pde.numerics.arguments import choice, function, number, real_array
from wfr_pde.space.density import Density


@dataclass(frozen=True, eq=False, repr=False)
class FiniteVolume(Flow):
    """Wasserstein gradient flow of KL(mu|pi), d_t mu = rate div(mu grad log(mu/pi)), by a Markov chain on the cells.

    Two-point fluxes in detailed balance with pi, F = rate/d [b(V_j - V_i) mu_i - b(V_i - V_j) mu_j] between
    neighbouring cells at distance d, with b(z) = z/(e^z - 1) (Scharfetter and Gummel 1969,
    doi:10.1109/T-ED.1969.16566; Chang and Cooper 1970) or b(z) = e^(-z/2) (square root: Lie, Fackeldey and Weber
    2013, doi:10.1137/120874485). Order 2 in dx.

    Along one axis the chain is solved exactly, up to `tolerance` relative to the value of every cell, for any dt:
    positive, conservative, pi kept, no floor in the tails (see `numerics.compiled.chain_exponential`). Several axes
    take turns in a palindrome, X/2 Y/2 Z Y/2 X/2: order 2 in dt, self-adjoint, and pi is kept by each. In one dimension
    there is no error in dt at all.

    Tails are those of the chain: relative errors are small where dx |grad log mu| is. On devices the sweeps are kernels
    of the backend, a thread per line, and agree with those of the CPU to the tolerance; a backend without kernels goes
    through the CPU.

    *With a drift*, which may be no gradient, it is a scheme for the weighted diffusion

        d_t mu = -div(mu b) + div(D grad mu) + mu (c - E_mu c)

    between walls, and needs no energy: a second opinion on `Advected`. The same fluxes along an axis, with the
    potential V of every line by itself, V_j - V_i = -∫ b dx / D from centre to centre. Drift and growth that move are
    at rest during a step, b as in its middle; the growth c comes first and last, half a step each. Order 2 in dt with
    even powers, also in one dimension, where b moves or there is a growth; order 2 in dx where |b| dx / D is a nat or
    less, else 1; mass to rounding, and no bound of dt.

    Parameters
    ----------
    rate : float
        Transport rate alpha >= 0: the diffusivity in units of length² / time, where V is in nats. 1 with a drift.
    flux : {"scharfetter-gummel", "square-root"}
        The weight function b.
    tolerance : float
        Relative error in time of one step, in every cell.
    drift : function (points (..., d), t) -> (..., d), optional
        b; also no gradient. It is asked inside the box.
    diffusivity : number, array (d,), or function t -> number or (d,)
        D > 0 in units of length² / time; with a drift only, and needed there.
    growth : function (points (..., d), t) -> (...), optional
        c, of the weights d log w = c dt; with a drift only. The mass that it makes is in `log_mass`.

    Raises
    ------
    TypeError
        If the drift or the growth is no function.
    ValueError
        If the rate is negative or not finite, the flux is unknown, or the tolerance is not in [1e-13, 1e-3]; if the
        diffusivity is missing, not positive or not finite. From a step: for a drift or a growth of another shape or
        that is not finite, with place and time; for a periodic axis or another backend than numpy, with a drift.

    Examples
    --------
    The mean of N(1, 1) at t = 1, in one step; half the cell width divides its error by 2²:

    >>> import math
    >>> import wfr_pde as wfr
    >>> def error(n):
    ...     start = wfr.Grid(-8.0, 8.0, n).density(wfr.Gaussian(1.0, 1.0))
    ...     run = wfr.solve(
    ...         wfr.Gaussian(0.0, 1.0), wfr.FiniteVolume(), start, [0.0, 1.0], 1.0, record=[wfr.diagnostics.mean]
    ...     )
    ...     return float(run["mean"][-1, 0]) - math.exp(-1)
    >>> round(math.log2(error(128) / error(256)), 2)
    2.0

    The Ornstein-Uhlenbeck process with a rotation, whose mean falls as e^-t while it turns; of order 4 in dt and dx:

    >>> import numpy as np
    >>> def drift(points, t):
    ...     x, y = points[..., 0], points[..., 1]
    ...     return np.stack([-x - 2 * y, -y + 2 * x], axis=-1)
    >>> start = wfr.Grid([-6.0, -6.0], [6.0, 6.0], 96).density(wfr.Gaussian([1.0, 0.0], np.eye(2)))
    >>> flow = wfr.FiniteVolume(drift=drift, diffusivity=1.0)
    >>> flow = wfr.Extrapolated(wfr.Extrapolated(flow, 4), 4, "dx")
    >>> run = wfr.solve(None, flow, start, [0.0, 1.0], 0.2, record=[wfr.diagnostics.mean])
    >>> run["mean"][-1].values.round(3), (math.exp(-1) * np.array([math.cos(2), math.sin(2)])).round(3)
    (array([-0.153,  0.335]), array([-0.153,  0.335]))
    """

    rate: float = 1.0
    flux: str = "scharfetter-gummel"
    tolerance: float = 1e-12
    drift: Field | None = field(default=None, kw_only=True)
    diffusivity: Diffusivity | None = field(default=None, kw_only=True)
    growth: Field | None = field(default=None, kw_only=True)

    order = 2
    space_order = 2
    self_adjoint = True
    measures = (Density,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, "FiniteVolume"))
        choice("flux", self.flux, FLUXES)
        object.__setattr__(self, "tolerance", number("tolerance", self.tolerance))
        if not 1e-13 <= self.tolerance <= 1e-3:
            raise ValueError(f"tolerance must be between 1e-13 (rounding) and 1e-3, got {self.tolerance}")
        self._check_coefficients()

    def _check_coefficients(self) -> None:
        """Check drift, diffusivity and growth, which go together."""
        if self.drift is None:
            for name in ("diffusivity", "growth"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} goes with a drift: give drift=..., such as lambda points, t: 0 * points")
            return
        function("drift", self.drift, "points (..., d), t -> (..., d)")
        if self.growth is not None:
            function("growth", self.growth, "points (..., d), t -> (...)")
        if self.rate != 1:
            raise ValueError(
                f"rate is that of the gradient flow, but there is a drift: give diffusivity=..., not rate={self.rate:g}"
            )
        if self.diffusivity is None:
            raise ValueError("FiniteVolume(drift=...) needs a diffusivity > 0: give diffusivity=...")
        if not callable(self.diffusivity):
            values = real_array("diffusivity", self.diffusivity)
            if values.size == 0:
                raise ValueError("diffusivity must be one number, or one for each axis, but is empty")
            refuse_zero_diffusivity(diffusivity_at(values, 0.0, values.size), ())
            object.__setattr__(self, "diffusivity", values.tolist() if values.ndim == 0 else tuple(values.tolist()))

    @override
    def __repr__(self) -> str:
        chain = f"flux={self.flux!r}, tolerance={self.tolerance!r}"
        if self.drift is None:
            return f"FiniteVolume(rate={self.rate!r}, {chain})"
        given = [(name, getattr(self, name)) for name in ("drift", "diffusivity", "growth")]
        shown = [f"{name}={name_of(value)}" for name, value in given if value is not None]
        return f"FiniteVolume({', '.join(shown)}, {chain})"

    @property
    @override
    def energies(self) -> tuple[type[Energy], ...]:  # type: ignore[override]
        """KL; none with a drift."""
        return (KL,) if self.drift is None else ()

    @property
    @override
    def law(self) -> Law:  # type: ignore[override]
        """The W flow of the energy; a law of its own with a drift."""
        return Law.W if self.drift is None else Law.OWN

    @property
    @override
    def factorises(self) -> bool:  # type: ignore[override]
        """Whether independent blocks stay independent: without a drift of the user, which may couple them."""
        return self.drift is None

    @property
    @override
    def preserves(self) -> frozenset[str]:  # type: ignore[override]
        """Mass and positivity; without a drift pi, and KL cannot grow."""
        always = frozenset({"mass", "positivity"})
        return always | {"equilibrium", "monotone"} if self.drift is None else always

    @override
    def reference(self, template: Any) -> np.ndarray:
        if self.drift is None:
            return super().reference(template)
        given = self.diffusivity
        diffusivity = (lambda points, t: given(t)) if callable(given) else given
        return values_at_probes([self.drift, self.growth, diffusivity], template)

    @override
    def begin(self, start: Any) -> Any:
        return start if self.drift is None else begin_account(start)

    @override
    def check(self, energy: Energy, template: Any) -> None:
        super().check(energy, template)
        if self.drift is not None:
            check_grid_of_drift(template.grid)
            if not callable(self.diffusivity):
                diffusivity_at(self.diffusivity or 0.0, 0.0, template.ndim)

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare a step under the energy, or under the drift, which knows the time."""
        if self.drift is None or self.diffusivity is None:
            return super().make_step(energy, template, dt)
        self.check(energy, template)
        equation = DiffusionEquation(self.drift, self.diffusivity, self.growth)
        return DriftStep(equation, template.grid, dt, flux=self.flux, tolerance=self.tolerance)

    @override
    def build_step(self, energy: Energy, template: Density, dt: float) -> FrozenStep:
        """Prepare a step that sweeps over the axes, there and back.

        Raises
        ------
        ValueError
            If a jump rate, or rate*dt times one, overflows.
        """
        if self.rate == 0:
            return lambda state, rng: state
        grid = template.grid
        backend = grid.backend
        log_pi = np.ascontiguousarray(backend.asnumpy(energy.log_equilibrium(grid)))
        last = grid.ndim - 1
        sweeps = [LineSweep(grid, log_pi, k, self.flux, self.tolerance) for k in range(grid.ndim)]
        times = [self.rate * (dt if k == last else dt / 2) for k in range(grid.ndim)]
        for sweep, time in zip(sweeps, times, strict=True):
            sweep.check(time)

        if backend.kernels is not None:
            log_pi = energy.log_equilibrium(grid)

        def step(state: Density, rng: np.random.Generator | None) -> Density:
            log_values = state.log_values if backend.kernels is not None else backend.asnumpy(state.log_values)
            log_ratio = log_values - log_pi
            for k in (*range(last), *range(last, -1, -1)):
                log_ratio = sweeps[k](log_ratio, times[k])
            result = log_ratio + log_pi
            return Density.holding(state.grid, result if backend.kernels is not None else backend.asarray(result))

        return step

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count two jump rates per cell and axis, their logarithms where lines are wide, and scratch on devices.

        The states are those before the step, and f, log f and their copies line by line. With a drift also the
        equilibria of the lines, new ones beside those of the step before, and the points between their centres.
        """
        grid, kernels = template.grid, template.grid.backend.kernels
        if self.drift is not None:
            return MemoryUse(8 * (10 * grid.ndim + 24) * grid.size, states=6)
        scratch = 0
        if kernels is not None:
            scratch = max(kernels.scratch_bytes(axis.n, grid.size // axis.n, axis.periodic) for axis in grid.axes)
        return MemoryUse(8 * (4 * grid.ndim + 3) * grid.size + scratch, states=6)
