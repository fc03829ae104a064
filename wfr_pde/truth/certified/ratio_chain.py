"""The flow as it moves log(mu/pi) on a grid: a Markov chain for the transport, a factor for the reaction."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.errors import NumericalError
from wfr_pde.flows.extrapolation import richardson_weights
from wfr_pde.flows.transport.finite_volume.line_sweep import LineSweep
from wfr_pde.numerics.deadline import OutOfTimeError, check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.time_breaks import at_times

FLUX = "scharfetter-gummel"  # exact where V' and the flux are constant
MOST_HALVINGS = 12  # of the time of a sweep that comes to no end: after these the step is an error
PREPARED = 2  # ceilings whose sweeps are kept: time goes on, and the ceilings fall
MOST_HELD = 32  # times at which a target that moves is remembered: the sub-steps of a step of order 8 fit in
MOST_MOVED = 0.3  # L1 distance of an extrapolated step from the finest of its runs, beyond which it diverges


class RatioChain:
    """Steps of the flow for g = log(mu/pi), up to a constant.

    The reaction over dt is g <- e^(-beta dt) g, the transport that of `FiniteVolume`: the same as Strang steps of
    `FisherRao` and `FiniteVolume`, without the sums that make densities of it. A target that moves is at rest during a
    step, as it is in its middle, where sub-steps of order above two meet it at their own middles.

    Under ceilings a step sees V capped at the ceiling of its beginning, and g is log mu + V under that of its time.

    Parameters
    ----------
    problem : Problem
    grid : Grid
    tolerance : float
        Of the transport in time, relative to every cell.
    """

    def __init__(self, problem: Problem, grid: Grid, tolerance: float) -> None:
        from wfr_pde.numerics.compiled import chain_steps as line_steps  # here, as it loads numba

        self.problem, self.grid, self.tolerance = problem, grid, tolerance
        self.moving = problem.target.moving
        self._compiled = line_steps
        self._volumes = np.broadcast_to(grid.cell_volume, grid.shape).ravel()
        self._stiff = False  # whether a sweep along the only axis came to no end
        self._held: dict[float, Array] = {}  # log pi at the last times
        if self.moving:
            self._moved = at_times(problem.target, lambda target: KL(target, checked=False).log_equilibrium(grid))
        self._prepared: dict[int, tuple[KL, list[LineSweep]]] = {}  # sweeps by what they are for, under ceilings
        self._still: list[LineSweep] | None = None  # the sweeps of a target at rest; under ceilings, of this step
        if not self.moving and problem.ceilings is None:
            self._still = self._sweeps(0.0)
        self._log_pi = np.zeros(0) if self.moving else self.log_pi(0.0)

    def log_pi(self, t: float) -> Array:
        """Compute log pi at a time: under the ceiling of that time, and up to a constant where it moves."""
        if not self.moving:
            return np.asarray(self.problem.seen(t).log_equilibrium(self.grid))
        if t not in self._held:
            if len(self._held) == MOST_HELD:
                del self._held[next(iter(self._held))]
            self._held[t] = self._moved(t)
        return self._held[t]

    def _sweeps(self, t: float) -> list[LineSweep]:
        log_pi = np.ascontiguousarray(self.log_pi(t))
        axes = list(range(self.grid.ndim if self.problem.alpha > 0 else 0))
        if self.problem.given is not None:  # across a ridge last: steps end there where mass is at rest in no time
            axes.sort(key=lambda k: float(self.grid.axes[k].widths.min()))
        return [LineSweep(self.grid, log_pi, k, FLUX, self.tolerance) for k in axes]

    def _under_ceiling(self, t: float) -> list[LineSweep]:
        """Return the sweeps along all axes under the ceiling of a time."""
        energy = self.problem.seen(t)
        if id(energy) not in self._prepared:
            if len(self._prepared) == PREPARED:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[id(energy)] = energy, self._sweeps(t)
        return self._prepared[id(energy)][1]

    def transport(self, g: Array, t: float, dt: float) -> Array:
        """Move log-ratios over dt, with the target as it is at `t`: the axes in turn, there and back."""
        if self.problem.ceilings is not None:
            return self._transport(self._under_ceiling(t), g, dt)
        return self._transport(self._sweeps(t) if self._still is None else self._still, g, dt)

    def _transport(self, sweeps: list[LineSweep], g: Array, dt: float) -> Array:
        time, last = self.problem.alpha * dt, len(sweeps) - 1
        if last == 0:
            return self._along_a_line(sweeps[0], g, time)
        for k in (*range(last), *range(last, -1, -1)):
            part = time if k == last else time / 2
            sweeps[k].check(part)
            g = sweeps[k](g, part)
        return g

    def _along_a_line(self, sweep: LineSweep, g: Array, time: float, halvings: int = 0) -> Array:
        """Sweep over one axis alone, in halves of the time where the whole is too stiff for one sweep."""
        check_deadline()
        try:
            sweep.check(time)
            return np.asarray(sweep(g, time))
        except OutOfTimeError:
            raise
        except NumericalError:
            if halvings == MOST_HALVINGS:
                raise
        for _ in range(2):
            g = self._along_a_line(sweep, g, time / 2, halvings + 1)
        return g

    def step(self, g: Array, t: float, dt: float, order: int) -> Array:
        """Make a step of order 2, 4, 6 or 8 in dt; a reaction alone, or a transport alone on one axis, is exact.

        Raises
        ------
        NumericalError
            If the result is not finite.
        """
        if self.problem.ceilings is not None:
            return self._step_under_ceiling(g, t, dt, order)
        return self._step(g, t, dt, order)

    def _step_under_ceiling(self, g: Array, t: float, dt: float, order: int) -> Array:
        """Step under the ceiling of its beginning; g is returned under that of its end."""
        self._still, self._log_pi = self._under_ceiling(t), self.log_pi(t)
        result = self._step(g, t, dt, order)
        same = self.problem.seen(t) is self.problem.seen(t + dt)
        return result if same else result + self.log_pi(t) - self.log_pi(t + dt)

    def _step(self, g: Array, t: float, dt: float, order: int) -> Array:
        if order == 2 or self.problem.exact_in_time:
            result = self._strang(g, t, dt)
        else:
            result, finest = self._extrapolated(g, t, dt, richardson_weights(order // 2))
            self._check_near(result, finest, t, dt)
        result -= result.max()
        if not np.isfinite(result).all():
            raise NumericalError(f"the state is not finite at t={t + dt:.6g}")
        return result

    def _extrapolated(self, g: Array, t: float, dt: float, weights: tuple[float, ...]) -> tuple[Array, Array]:
        """Extrapolate runs of 1, 2, ... Strang steps; return the result and the finest of them."""
        if self.grid.ndim == 1 and not self.moving and not self._stiff:
            found = self._on_one_line(g, dt, weights)
            if found is not None:
                return found
        runs = [self._strangs(g, t, dt, k + 1) for k in range(len(weights))]
        result = runs[-1].copy()
        for weight, run in zip(weights[:-1], runs[:-1], strict=True):
            result += weight * (run - runs[-1])
        return result, runs[-1]

    def _on_one_line(self, g: Array, dt: float, weights: tuple[float, ...]) -> tuple[Array, Array] | None:
        """Make the step by one compiled call, unless a sweep is too stiff for it; then this and later steps are not."""
        check_deadline()
        assert self._still is not None
        sweep, result, finest = self._still[0], g.copy(), np.empty_like(g)
        times = self.problem.alpha * dt, self.problem.beta * dt / 2
        try:
            sweep.check(times[0])
        except ValueError:
            self._stiff = True
        else:
            self._stiff = not sweep.on_one_line(
                self._compiled.extrapolated_step, result, finest, np.array(weights), *times
            )
        return None if self._stiff else (result, finest)

    def _check_near(self, result: Array, finest: Array, t: float, dt: float) -> None:
        """Refuse an extrapolation that moves much of the mass: it diverges.

        Raises
        ------
        NumericalError
        """
        log_pi = self.log_pi(t + dt) if self.moving else self._log_pi
        moved = self._compiled.moved_mass(result.ravel(), finest.ravel(), log_pi.ravel(), self._volumes)
        if not moved <= MOST_MOVED:
            raise NumericalError(
                f"the extrapolation in time diverges at t={t:.6g} with dt={dt:.4g}: it moves {moved:.2g} of the mass"
            )

    def _strangs(self, g: Array, t: float, dt: float, n: int) -> Array:
        for k in range(n):
            g = self._strang(g, t + k * dt / n, dt / n)
        return g

    def _strang(self, g: Array, t: float, dt: float) -> Array:
        """Make half of the reaction, the transport, and the other half of the reaction."""
        if self.moving:
            return self._moving_strang(g, t, dt)
        assert self._still is not None
        if self.problem.beta == 0:
            return self._transport(self._still, g, dt)
        s = math.exp(-self.problem.beta * dt / 2)
        return s * self._transport(self._still, s * g, dt)

    def _moving_strang(self, g: Array, t: float, dt: float) -> Array:
        """Make a Strang step from log(mu/pi) at `t` to that at `t + dt`: each part sees pi at its own middle."""
        s = math.exp(-self.problem.beta * dt / 2)
        log_mu = g + self.log_pi(t)
        for share, is_reaction in ((0.25, True), (0.5, False), (0.75, True)):
            if (self.problem.beta if is_reaction else self.problem.alpha) == 0:
                continue
            middle = t + share * dt
            log_pi = self.log_pi(middle)
            g = log_mu - log_pi
            log_mu = log_pi + (s * g if is_reaction else self.transport(g, middle, dt))
        return np.asarray(log_mu - self.log_pi(t + dt))
