"""Kullback-Leibler divergence to a target."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from wfr_pde.energies.base import Energy
from wfr_pde.numerics.arguments import flag, instance
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.relative_entropy import relative_entropy
from wfr_pde.targets.base import Target


@dataclass(frozen=True, eq=False)
class KL(Energy):
    """KL(mu|pi) = ∫ mu log(mu/pi) dx, in nats; pi is the target, normalised on the grid.

    Its WFR flow is d_t mu = alpha div(mu grad g) - beta mu (g - E_mu g) with g = log(mu/pi)
    (Liero, Mielke, Savaré 2018, doi:10.1007/s00222-017-0759-8, for the geometry).

    Parameters
    ----------
    target : Target
        pi.
    checked : bool
        Whether the target is checked in full when it is put on a grid.

    Raises
    ------
    TypeError
        If it is not a Target.

    Examples
    --------
    KL(N(1, 1)|N(0, 1)) is half the squared distance of the means:

    >>> import wfr_pde as wfr
    >>> density = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> round(wfr.KL(wfr.Gaussian(0.0, 1.0)).value(density), 6)
    0.5
    """

    target: Target
    checked: bool = field(default=True, repr=False)
    _log_pi: weakref.WeakKeyDictionary[Grid, Any] = field(
        default_factory=weakref.WeakKeyDictionary, init=False, repr=False, compare=False
    )

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out of copies and pickles what was put on grids."""
        return KL, (self.target, self.checked)

    def __post_init__(self) -> None:
        instance("target", self.target, Target, "such as Gaussian(mean=0, covariance=1)")
        flag("checked", self.checked)

    name = "kl"
    long_name = "KL(mu|pi)"
    units = "nats"

    @property
    @override
    def moving(self) -> bool:  # type: ignore[override]
        return self.target.moving

    @override
    def at(self, t: float) -> KL:
        return KL(self.target.at(t), checked=False) if self.moving else self

    @property
    @override
    def equilibrium(self) -> Target:
        return self.target

    @override
    def log_equilibrium(self, grid: Grid) -> Any:
        """Return log pi at the cell centres, normalised on the grid; it is computed once per grid.

        Raises
        ------
        ValueError
            As `Grid.log_density`: pi not finite, cut off, or not resolved. A target frozen on its way is only
            checked to be finite; `check` looks at it in full.
        """
        if grid not in self._log_pi:
            self._log_pi[grid] = grid.log_density(self.target, "the target", checked=self.checked)
        return self._log_pi[grid]

    @override
    def check(self, grid: Grid, t: float) -> None:
        """Refuse a target that the grid cannot hold at time `t`; see `Grid.log_density` for the errors."""
        if self.moving:
            grid.log_density(self.target.at(t), "the target")
        else:
            self.log_equilibrium(grid)

    @override
    def first_variation(self, state: Density) -> Any:
        """Compute g = log(mu/pi) at the cell centres."""
        return state.log_values - self.log_equilibrium(state.grid)

    @override
    def value(self, state: Density) -> float:
        instance("state", state, Density)
        return relative_entropy(state.grid, state.log_values, self.log_equilibrium(state.grid))

    @override
    def reaction(self, state: Density, time: float) -> Density:
        """Return the exact solution mu^s pi^(1-s) / Z with s = exp(-time)."""
        grid, kernels, s = state.grid, state.grid.backend.kernels, math.exp(-time)
        log_pi = self.log_equilibrium(grid)
        if kernels is not None:  # the same in two passes
            return Density.holding(grid, kernels.fisher_rao(state.log_values, log_pi, s, grid.log_cell_volume))
        # written as a change of g, so that mu = pi stays put to the last bit
        return Density.holding(grid, grid.log_mixture(state.log_values, log_pi, s))
