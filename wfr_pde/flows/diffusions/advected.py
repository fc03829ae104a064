"""Weighted diffusions with any drift, by characteristics and the heat kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, Step
from wfr_pde.flows.composition import Composition, Strang
from wfr_pde.flows.diffusions.advection import Advection
from wfr_pde.flows.diffusions.coefficients import Diffusivity, Field, name_of
from wfr_pde.flows.diffusions.diffusion import Diffusion
from wfr_pde.flows.diffusions.equation import DiffusionEquation, HasEquation


@dataclass(frozen=True, eq=False, repr=False)
class Advected(Composition, HasEquation):
    """The weighted diffusion d_t mu = -div(mu b) + div(D grad mu) + mu (c - E_mu c), of any drift.

    It is the law of dX = b dt + sqrt(2 D) dW with weights d log w = c dt. Strang's splitting: half a step of
    `Advection` (drift and growth, exact along characteristics), a step of `Diffusion` (the exact heat kernel), half a
    step of `Advection`. Positive, of order 2 with even powers of dt, so that `Extrapolated` gives orders 4, 6 and 8;
    spectral in space as far as the cells resolve.

    It lives in free space: the box holds the mass, and a run ends with an error where its walls or cells too wide make
    or lose more than a thousandth of it; axes may be periodic. `FiniteVolume(drift=...)` is the second opinion.

    Parameters
    ----------
    drift : function (points (..., d), t) -> (..., d)
        b, smooth; also no gradient. Outside the box it is asked, too.
    diffusivity : number, array (d,), or function t -> number or (d,)
        D >= 0, zero allowed: along positions of a kinetic equation, say.
    rate : function (points (..., d), t) -> (...), optional
        c. The mass that it makes is in `log_mass`.

    Raises
    ------
    TypeError, ValueError
        If something is no function, or the diffusivity is negative; from a step as its parts.
    NumericalError
        From a run that loses or makes mass.

    References
    ----------
    Strang (1968), doi:10.1137/0705041.

    Examples
    --------
    The Ornstein-Uhlenbeck process with a rotation, whose mean falls as e^-t while it turns:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> def drift(points, t):
    ...     x, y = points[..., 0], points[..., 1]
    ...     return np.stack([-x - 2 * y, -y + 2 * x], axis=-1)
    >>> start = wfr.Grid([-7.0, -7.0], [7.0, 7.0], 64).density(wfr.Gaussian([1.0, 0.0], np.eye(2)))
    >>> flow = wfr.Extrapolated(wfr.Advected(drift, diffusivity=1.0), 8)
    >>> run = wfr.solve(None, flow, start, [0.0, 1.0], 0.5, record=[wfr.diagnostics.mean])
    >>> run["mean"][-1].values.round(4)
    array([-0.1531,  0.3345])
    """

    drift: Field
    diffusivity: Diffusivity
    rate: Field | None = None

    order = 2
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})
    max_ndim = 3

    @cached_property
    def splitting(self) -> Strang:
        """The splitting that makes the steps."""
        return Strang(Advection(self.drift, self.rate), Diffusion(self.diffusivity))

    @property
    @override
    def equation(self) -> DiffusionEquation:
        """Drift, diffusivity and rate."""
        return DiffusionEquation(self.drift, self.diffusivity, self.rate)

    @property
    @override
    def parts(self) -> tuple[Flow, ...]:
        return (self.splitting,)

    @override
    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in ("drift", "diffusivity", "rate")}
        return f"Advected({', '.join(f'{name}={name_of(one)}' for name, one in given.items() if one is not None)})"

    @override
    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        return self.splitting.map_parts(exchange)

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare the three parts."""
        return self.splitting.make_step(energy, template, dt)

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Return the limits of the diffusion."""
        return self.splitting.dt_bounds(energy, template)
