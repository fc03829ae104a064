"""The noun `Flow`: anything that advances a measure by a time step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.energies import KL, Energy
from wfr_pde.numerics.precision import SINGLE
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles

Step = Callable[..., Any]  # step(state, t, rng=None) -> state
Steps = Callable[..., Any]  # steps(state, t, n, rng=None, watch=nothing) -> state
FrozenStep = Callable[[Any, np.random.Generator | None], Any]
FrozenSteps = Callable[[Any, int, Callable[[], None]], Any]


def nothing() -> None:
    """Nobody watches."""


class Flow:
    """A map that advances a measure: density or particles, deterministic or random.

    A new flow is one class. If it treats the energy as constant over a step, it writes `frozen_step`, and a
    moving target is then frozen at the flow's own midpoint, which keeps symmetric compositions at even order.
    A composition writes `make_step`.

    Attributes
    ----------
    order : int or math.inf
        Order of convergence in dt to the flow's own law: the power of dt in the global error.
    space_order : int or math.inf
        Order of convergence in dx of the density at fixed points; inf where it is spectral, or space plays no part.
    self_adjoint : bool
        Whether step(-dt) inverts step(dt), so that the error has even powers of dt only.
    preserves : frozenset of str
        Out of: "mass", "positivity", "equilibrium" (pi is a fixed point), "monotone" (KL to pi cannot grow;
        osc(log mu/pi) cannot either).
    law : str
        What the flow does to a measure as dt goes to 0 (and the number of particles to infinity): "w", "fr" or "wfr",
        that flow of the energy; "rest", nothing; "pi", it is led to pi on a path of its own; "own", anything else.
    random : bool
        Whether a step draws random numbers.
    interacting : bool
        Whether a particle's move or weight depends on the other particles, so that expectations have a bias that falls
        with their number.
    energies : tuple of types
        The energies whose flow it is.
    measures : tuple of types
        The measures that it moves.
    single : bool
        Whether it moves densities in single precision, too.
    """

    order: float
    space_order: float = math.inf
    self_adjoint: bool = False
    preserves: frozenset[str] = frozenset()
    law: str = "own"
    random: bool = False
    interacting: bool = False
    energies: tuple[type[Energy], ...] = (KL,)
    measures: tuple[type, ...] = (Density, Particles)
    single: bool = False

    def frozen_step(self, energy: Energy, like: Any, dt: float) -> FrozenStep:
        """The step of size `dt` under an energy that does not move, for states like `like`."""
        raise NotImplementedError(f"{type(self).__name__} must define frozen_step or make_step")

    def make_step(self, energy: Energy, like: Any, dt: float) -> Step:
        """Prepare steps of size `dt`; what is costly is computed here, once.

        Parameters
        ----------
        energy : Energy
        like : Density or Particles
            A state like those that will be advanced; its values are not used.
        dt : float
            Size of the step, > 0.

        Returns
        -------
        step : callable
            ``step(state, t, rng=None) -> state`` advances from time `t` to `t + dt`. Pure: it changes nothing,
            and the same arguments give the same bits.
        """
        self.check(energy, like)
        if energy.moving:
            return lambda state, t, rng=None: self.frozen_step(energy.at(t + dt / 2), like, dt)(state, rng)
        frozen = self.frozen_step(energy, like, dt)
        return lambda state, t, rng=None: frozen(state, rng)

    def make_steps(self, energy: Energy, like: Any, dt: float) -> Steps:
        """Prepare runs of steps of size `dt`: what only the last state needs is not computed for all, where that saves.

        Parameters
        ----------
        energy, like, dt
            As in `make_step`.

        Returns
        -------
        steps : callable
            ``steps(state, t, n, rng=None, watch=nothing) -> state`` advances by `n` steps from time `t`, as that of
            `make_step` does `n` times, up to rounding. Pure, too; ``watch()`` is called before every step.
        """
        step = self.make_step(energy, like, dt)

        def steps(state: Any, t: float, n: int, rng: Any = None, watch: Callable[[], None] = nothing) -> Any:
            for k in range(n):
                watch()
                state = step(state, t + k * dt, rng)
            return state

        return steps

    def takes_reactions(self, like: Any) -> bool:
        """Whether exact Fisher-Rao flows before and after a step are better made together with it: `with_reactions`."""
        return False

    def with_reactions(self, energy: Energy, like: Any, dt: float, times: tuple[float, float]) -> FrozenSteps:
        """``steps(state, n, watch)``: steps of `make_steps`, each between Fisher-Rao flows over the given times."""
        raise NotImplementedError(f"{type(self).__name__} takes no reactions along")

    def limits(self, energy: Energy, like: Any) -> tuple[float, float]:
        """Smallest and largest `dt` that the flow can take on a state like `like`."""
        return 0.0, math.inf

    def expansion_limit(self, energy: Energy, like: Any) -> float:
        """Largest `dt` for which the expansion of the error in powers of dt converges: extrapolation needs it."""
        return math.inf

    def memory(self, like: Any) -> int:
        """Bytes that a prepared step holds for states like `like`, besides those of `working`."""
        return 0

    def working(self, like: Any) -> int:
        """States that exist at once, at most, while a step is prepared or made, that before it among them."""
        return 8

    def stepping(self, like: Any) -> int:
        """Those of them that exist at once while a step is made, not prepared."""
        return self.working(like)

    def exchanged(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """The flow with every part that is no composition, which may be itself, replaced by ``exchange(part)``."""
        return exchange(self)

    def check(self, energy: Energy, like: Any) -> None:
        """Refuse an energy or a measure that the flow does not know.

        Raises
        ------
        TypeError
        ValueError
            For a density in single precision, where the flow needs double.
        """
        if not isinstance(energy, self.energies):
            known = ", ".join(kind.__name__ for kind in self.energies)
            raise TypeError(f"{type(self).__name__} is a flow of {known}, not of {type(energy).__name__}")
        if not isinstance(like, self.measures):
            known = ", ".join(kind.__name__ for kind in self.measures)
            raise TypeError(f"{type(self).__name__} moves {known}, not {type(like).__name__}")
        if isinstance(like, Density) and like.grid.backend.precision is SINGLE and not self.single:
            raise ValueError(
                f"{type(self).__name__} needs double precision, but the grid is on {like.grid.backend.name!r}: use "
                f"backend={like.grid.backend.name.partition(':')[0]!r}, or a SinkhornKernel"
            )


def checked_rate(rate: float, what: str) -> float:
    """`rate` as a float, if it is finite and not negative.

    Raises
    ------
    ValueError
    """
    value = float(rate)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{what} needs a finite rate >= 0, got rate={rate}")
    return value
