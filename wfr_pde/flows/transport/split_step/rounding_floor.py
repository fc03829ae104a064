"""The floor of a spectral transform of densities: how high it is, what lies below it, and when that matters.

A transform of u = mu/sqrt(pi) errs by some eps max|u| in every cell. Where u is smaller, the result is noise, and a
scheme that puts a positive number there plants mass: the log-density is wrong at once, by any number of nats, and a
reaction, which amplifies relative values, can turn what was planted into the answer. But where transport itself soon
brings much more than was planted, no harm is done. `RoundingFloorMonitor` follows a run and tells the two apart.
"""

from __future__ import annotations

import math
import warnings
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.errors import FloorWarning
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

HIDDEN = 0.2  # nats below the floor times the time there, in units of the time in which diffusion crosses the target
PLANTED = 1e-7  # share of the mass that may have grown from the floor
FORGOTTEN = 1e-11  # share of mass and target that what was planted is followed down to


def relative_floor(size: int) -> float:
    """Return the floor over max|u|, (4 + log2(size) / 2) eps, for a transform of `size` values.

    An upper bound of the largest error of e^{t Lap} u in any cell, by transforms forward and back, against the same
    in extended precision, which the tests hold it against on bumps, single cells and noise, also where a length is a
    large prime. Errors of the passes, log2(size) of them, add up like a random walk or slower.
    """
    return (4 + 0.5 * math.log2(size)) * float(np.finfo(np.float64).eps)


def depth(state: Density, energy: Energy) -> Any:
    """Return log(max u / u) >= 0 at the cell centres, u = mu/sqrt(pi): where it exceeds log(1/floor), u is noise."""
    log_u = state.log_values - 0.5 * energy.log_equilibrium(state.grid)
    return state.grid.max(log_u) - log_u


def below_floor(state: Density, energy: Energy) -> tuple[float, float]:
    """Return the share of the target's mass in cells below the floor, and E_pi of the nats that they are below it."""
    grid, xp = state.grid, state.grid.backend.xp
    pi = xp.exp(energy.log_equilibrium(grid))
    below = depth(state, energy) + math.log(relative_floor(grid.size))
    share = float(grid.integrate(xp.where(below > 0, pi, xp.zeros_like(pi))))
    return share, float(grid.integrate(xp.where(below > 0, pi * below, xp.zeros_like(pi))))


@dataclass
class _History:
    """The state of knowledge of a `RoundingFloorMonitor` at time `t` of a run."""

    t: float
    planted: Any  # share of each cell that grew from the floor, an array, or None where it is nowhere to be seen
    share: float  # of the target's mass, in cells that are planted
    largest: float  # such share so far
    nats: float  # E_pi of the nats hidden by the floor when they were last known
    time: float  # integral of the share over time


class RoundingFloorMonitor:
    """A monitor of what the transport steps of one run plant, which warns once where it matters.

    The floor matters if

    - *it hides much for long*: with h the nats that the start is below the floor, in the mean over the target, and T
      the integral over time of the share of the target's mass that is planted, h T / tau > 0.2, where
      tau = max_k Var_pi(x_k) / rate is the time in which diffusion crosses the target; or
    - *what was planted has grown*: it is more than 1e-7 of the mass. The share of every cell that was planted is
      carried along with the density by the same heat semigroup; a reaction between the steps raises cells with what
      they hold, planted or not, so that the share is an upper bound; or
    - *the noise is seen*: what one step can plant, the floor times ∫ of the last factor of the step, is more than
      1e-7 of the mass. So it is where u is largest far out in a tail. Where the heat kernel is not resolved (rate*dt <
      0.75 dx²), u rings about what the cells do not resolve, and twice the mass of the negative values is added.

    The constants lie between what double wells with the far mode at e^-50 give, where the answers are right, and
    Gaussians at e^-60 to e^-200 of the start, where they are not; the tests hold both.

    The first step of a run may be long. A cell that it lifts over the floor is taken to have followed the law of
    diffusion, log u = a - b / (t + c), so that T hardly depends on dt.

    It sees states and changes none: no bit of a result depends on it. A run has one monitor, and every step prepared
    for the run follows a chain of its own: an extrapolation advances the same state by several.

    Parameters
    ----------
    rate : float
        Transport rate of the steps.

    Attributes
    ----------
    warned : bool
        Whether the run has been warned of. From then on nothing is followed.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.warned = rate, False
        self._latest: weakref.WeakKeyDictionary[Grid, _History] = weakref.WeakKeyDictionary()

    def chain(self, grid: Grid, dt: float) -> MonitoredChain:
        """Begin a chain of steps of size `dt` on a grid, from the latest state that is known there."""
        return MonitoredChain(self, dt, self._latest.get(grid))

    def note(self, grid: Grid, history: _History) -> None:
        """Keep what a chain knows, for chains of other steps that go on from there."""
        self._latest[grid] = history


class MonitoredChain:
    """Consecutive steps of one size, of which a `RoundingFloorMonitor` follows what they plant."""

    def __init__(self, monitor: RoundingFloorMonitor, dt: float, history: _History | None) -> None:
        self.monitor, self.dt, self.history = monitor, dt, history
        self._weights: tuple[Energy, Any, float] | None = None

    @property
    def planted(self) -> Any:
        """The planted share of the cells before the next step, or None."""
        return None if self.history is None or self.monitor.warned else self.history.planted

    def follow(
        self, t: float, energy: Energy, states: tuple[Density, Density], above: Any, carried: Any, noise: float
    ) -> None:
        """Note what a step from time `t` planted, and warn if that matters.

        Parameters
        ----------
        t : float
        energy : Energy
            Frozen, if it moves.
        states : (Density, Density)
            Before and after the step.
        above : boolean array
            The cells that were not put at the floor.
        carried : array or None
            Share of each cell that grew from what was planted before.
        noise : float
            The most that the step can have planted, as a share of the mass.
        """
        before, after = states
        grid, xp, known = after.grid, after.grid.backend.xp, self.history
        pi, crossing = self._target(energy, grid)
        share, grown, planted = float(grid.integrate(xp.where(above, 0.0, pi))), 0.0, None
        if known is None or carried is not None or share > FORGOTTEN:
            old = xp.zeros_like(pi) if carried is None else xp.minimum(xp.maximum(carried, 0.0), 1.0)
            planted = xp.where(above, old, 1.0)
            share, grown = (float(grid.integrate(planted * density)) for density in (pi, after.values))
        if known is None:
            at_start, nats = below_floor(before, energy)
            time = self.dt * _share_of_step(before, after, energy, planted)
            largest = max(at_start, share)
        else:
            nats, largest = known.nats, max(known.largest, share)
            time = known.time + self.dt * (known.share + share) / 2
        seen = share + grown > FORGOTTEN
        self.history = _History(t + self.dt, planted if seen else None, share, largest, nats, time)
        self.monitor.note(grid, self.history)
        if max(nats, 1.0) * time > HIDDEN * crossing or max(grown, noise) > PLANTED:
            self._warn(max(grown, noise))

    def _target(self, energy: Energy, grid: Grid) -> tuple[Any, float]:
        """Return pi at the cell centres, and the time in which diffusion crosses it; kept while pi stands still."""
        if self._weights is None or self._weights[0] is not energy:
            pi = Density(grid, energy.log_equilibrium(grid))
            self._weights = (energy, pi.values, float(np.max(np.diag(pi.covariance()))) / self.monitor.rate)
        return self._weights[1:]

    def _warn(self, grown: float) -> None:
        self.monitor.warned, history = True, self.history
        assert history is not None
        warnings.warn(
            f"the floor of SplitStep matters by t={history.t:.4g}: cells with {history.largest:.2g} of the target's "
            f"mass were below it (by {history.nats:.3g} nats at the start, in the mean over the target), the integral "
            f"of that share over time is {history.time:.3g} so far, and up to {min(grown, 1.0):.2g} of the density is "
            "what rounding and ringing planted; use SinkhornKernel or FiniteVolume, which have no floor (ringing, at "
            "rate*dt < 0.75 dx² in a sub-step, also ends with a larger dt or a finer grid)",
            FloorWarning,
            stacklevel=3,
        )


def _share_of_step(before: Density, after: Density, energy: Energy, planted: Any) -> float:
    """Return E_pi of the part of a step that a cell below the floor at its start spends there."""
    grid, xp = after.grid, after.grid.backend.xp
    floor = -math.log(relative_floor(grid.size))
    first, last = depth(before, energy), xp.maximum(depth(after, energy), 1.0)
    below = first > floor
    lifted = below & (last < floor) & (planted < 1)
    # 1 / depth is linear in time
    ones = xp.ones_like(first)
    first, last = xp.where(lifted, first, 2 * floor * ones), xp.where(lifted, last, 0.5 * floor * ones)
    part = xp.where(lifted, (1 / floor - 1 / first) / (1 / last - 1 / first), ones)
    pi = xp.exp(energy.log_equilibrium(grid))
    return float(grid.integrate(xp.where(below, pi * part, xp.zeros_like(pi))))
