"""The noun `Flow`: anything that advances a measure by a time step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import KL, Energy, NoEnergy
from wfr_pde.errors import refuse_old_hooks
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import number
from wfr_pde.numerics.precision import SINGLE
from wfr_pde.numerics.records import Record
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles

Step = Callable[..., Any]  # step(state, t, rng=None) -> state
Steps = Callable[..., Any]  # steps(state, t, n, rng=None, callback=no_callback) -> state
FrozenStep = Callable[[Any, np.random.Generator | None], Any]
FrozenSteps = Callable[[Any, int, Callable[[], None]], Any]


RENAMED = {  # hooks of flows by the names that they had before the first release
    "frozen_step": "build_step",
    "limits": "dt_bounds",
    "expansion_limit": "max_extrapolation_dt",
    "memory": "memory_use",
    "working": "memory_use",
    "stepping": "memory_use",
    "exchanged": "map_parts",
}


def no_callback() -> None:
    """Do nothing: the default callback."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory that a flow needs at most.

    Attributes
    ----------
    held : int
        Bytes that a prepared step holds, besides the states.
    states : int
        States that exist at once while a step is prepared or made, that before it among them.
    stepping : int
        Those of them that exist while a step is made, not prepared; as many by default.
    """

    held: int = 0
    states: int = 8
    stepping: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stepping", self.stepping or self.states)


class Flow(Record):
    """A map that advances a measure: density or particles, deterministic or random.

    A new flow is one class. If it treats the energy as constant over a step, it writes `build_step`, and a moving
    target is then frozen at the flow's own midpoint, which keeps symmetric compositions at even order. A composition
    writes `make_step`.

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
    law : Law
        What the flow does to a measure as dt goes to 0 (and the number of particles to infinity): "w", "fr" or "wfr",
        that flow of the energy; "rest", nothing; "pi", it is led to pi on a path of its own; "own", anything else.
    random : bool
        Whether a step draws random numbers.
    interacting : bool
        Whether a particle's move or weight depends on the other particles, so that expectations have a bias that falls
        with their number.
    factorises : bool
        Whether a law of independent blocks, under a target that is a product of the same blocks, stays one, and every
        block moves as the flow moves it alone.
    energies : tuple of types
        The energies whose flow it is; () if it needs none. Such a flow is solved with None in place of an energy, goes
        along with any energy, for instance as part of a composition, and declares nothing about an equilibrium.
    measures : tuple of types
        The measures that it moves.
    max_ndim : int or math.inf
        Largest number of axes of a density that it moves.
    single : bool
        Whether it moves densities in single precision, too.

    Examples
    --------
    Particles that move to the right at speed one, over a time 2:

    >>> import math
    >>> import wfr_pde as wfr
    >>> class Shift(wfr.Flow):
    ...     energies, order, measures = (), math.inf, (wfr.Particles,)
    ...     def build_step(self, energy, template, dt):
    ...         return lambda state, rng: wfr.Particles(state.positions + dt)
    >>> start = wfr.Particles([[0.0], [1.0]])
    >>> run = wfr.solve(None, Shift(), start, [0.0, 2.0], 0.5, record=[wfr.diagnostics.mean])
    >>> run["mean"].values[:, 0]
    array([0.5, 2.5])
    """

    order: float
    space_order: float = math.inf
    self_adjoint: bool = False
    preserves: frozenset[str] = frozenset()
    law: Law | str = Law.OWN
    random: bool = False
    interacting: bool = False
    factorises: bool = False
    energies: tuple[type[Energy], ...] = (KL,)
    measures: tuple[type, ...] = (Density, Particles)
    max_ndim: float = math.inf
    single: bool = False

    @override
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_old_hooks(cls, RENAMED)
        if isinstance(vars(cls).get("law"), str):
            cls.law = Law.named(vars(cls)["law"])
        about_energy = {"equilibrium", "monotone"} & (cls.preserves if isinstance(cls.preserves, frozenset) else set())
        if cls.energies == () and about_energy:
            raise TypeError(
                f"{cls.__name__} needs no energy, as energies = (), so that it cannot promise {sorted(about_energy)}, "
                "which are said of an energy and its minimiser: leave them out of preserves"
            )

    def build_step(self, energy: Energy, template: Any, dt: float) -> FrozenStep:
        """Prepare the step of size `dt` under an energy that does not move.

        Parameters
        ----------
        energy : Energy
            What the flow goes down.
        template : Density or Particles
            A state like those that will be advanced; its values are not used.
        dt : float
            Size of the step, > 0.

        Returns
        -------
        callable
            ``step(state, rng) -> state`` makes one step. It changes nothing, and the same arguments give the same bits.
        """
        raise NotImplementedError(f"{type(self).__name__} must define build_step or make_step")

    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare steps of size `dt`; what is costly is computed here, once.

        Parameters
        ----------
        energy : Energy
            What the flow goes down.
        template : Density or Particles
            A state like those that will be advanced; its values are not used.
        dt : float
            Size of the step, > 0.

        Returns
        -------
        step : callable
            ``step(state, t, rng=None) -> state`` advances from time `t` to `t + dt`. Pure: it changes nothing,
            and the same arguments give the same bits.
        """
        self.check(energy, template)
        if energy.moving:
            return lambda state, t, rng=None: self.build_step(energy.at(t + dt / 2), template, dt)(state, rng)
        frozen = self.build_step(energy, template, dt)
        return lambda state, t, rng=None: frozen(state, rng)

    def make_steps(self, energy: Energy, template: Any, dt: float) -> Steps:
        """Prepare runs of steps of size `dt`, which may leave out what only the last state needs.

        Parameters
        ----------
        energy, template, dt
            As in `make_step`.

        Returns
        -------
        steps : callable
            ``steps(state, t, n, rng=None, callback=no_callback) -> state`` advances by `n` steps from time `t`, as the
            step of `make_step` does `n` times, up to rounding. Pure, too; ``callback()`` is called before every step.
        """
        step = self.make_step(energy, template, dt)

        def steps(state: Any, t: float, n: int, rng: Any = None, callback: Callable[[], None] = no_callback) -> Any:
            for k in range(n):
                callback()
                state = step(state, t + k * dt, rng)
            return state

        return steps

    def monitored(self) -> Flow:
        """Return the flow for one run, which may watch its steps and warn; by default itself.

        Whoever loops over time, such as `solve`, takes it once per run, and makes all steps of the run from it. The
        states are those of the flow itself, to the bit.

        Returns
        -------
        Flow
        """
        return self

    def begin(self, start: Any) -> Any:
        """Return the start of a run as the flow advances it; by default as it is.

        A flow that keeps account of the mass that normalising takes out gives a `Density` its `log_mass` of zero.

        Parameters
        ----------
        start : Density or Particles
            The measure at the first time.

        Returns
        -------
        Density or Particles
        """
        return start

    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Return the smallest and the largest `dt` that the flow can take; by default there is no limit.

        Parameters
        ----------
        energy : Energy
            What the flow goes down.
        template : Density or Particles
            A state like those that will be advanced.

        Returns
        -------
        (float, float)
        """
        return 0.0, math.inf

    def max_extrapolation_dt(self, energy: Energy, template: Any) -> float:
        """Return the largest `dt` for which the error has the expansion in powers of dt that extrapolation needs.

        Parameters
        ----------
        energy : Energy
            What the flow goes down.
        template : Density or Particles
            A state like those that will be advanced.

        Returns
        -------
        float
        """
        return math.inf

    def memory_use(self, template: Any) -> MemoryUse:
        """Count the bytes that a prepared step holds, and the states that exist at once.

        Parameters
        ----------
        template : Density or Particles
            A state like those that will be advanced.

        Returns
        -------
        MemoryUse
        """
        return MemoryUse()

    def reference(self, template: Any) -> np.ndarray:
        """Return values that tell this flow from others with the same repr; by default none.

        A run that goes on from disk is known by its flow's repr and by these. A flow with functions among its fields
        leaves them out of the repr, which would show their address, and returns their values at a start.

        Parameters
        ----------
        template : Density or Particles
            A start like that of the run.

        Returns
        -------
        NumPy array
        """
        return np.empty(0)

    def map_parts(self, exchange: Callable[[Flow], Flow]) -> Flow:
        """Return the flow with every part that is no composition, which may be itself, replaced by ``exchange(part)``.

        Parameters
        ----------
        exchange : function of a Flow -> Flow
            What makes the new part of an old one.

        Returns
        -------
        Flow
        """
        return exchange(self)

    def check(self, energy: Energy, template: Any) -> None:
        """Refuse an energy or a measure that the flow does not know.

        Parameters
        ----------
        energy : Energy
            What the flow goes down.
        template : Density or Particles
            A state like those that will be advanced.

        Raises
        ------
        TypeError
            Also for a flow that needs an energy, where there is none.
        ValueError
            For a density in single precision, where the flow needs double.
        """
        known = ", ".join(kind.__name__ for kind in self.energies)
        if isinstance(energy, NoEnergy) and self.energies:
            raise TypeError(
                f"{type(self).__name__} is a flow of {known}, but there is no energy, as the problem is None: give a "
                "target or an energy in its place, such as solve(Gaussian(0, 1), flow, ...)"
            )
        if not isinstance(energy, self.energies or Energy):
            raise TypeError(
                f"{type(self).__name__} is a flow of {known or 'any Energy'}, not of {type(energy).__name__}"
            )
        if not isinstance(template, self.measures):
            known = ", ".join(kind.__name__ for kind in self.measures)
            raise TypeError(
                f"{type(self).__name__} moves {known}, not {type(template).__name__}: another start is needed"
            )
        if isinstance(template, Density) and template.grid.backend.precision is SINGLE and not self.single:
            raise ValueError(
                f"{type(self).__name__} needs double precision, but the grid is on {template.grid.backend.name!r}: use "
                f"backend={template.grid.backend.name.partition(':')[0]!r}, or a SinkhornKernel"
            )


def checked_rate(rate: float, what: str, name: str = "rate") -> float:
    """Return `rate`, the argument `name` of what is called `what`, as a float, if it is finite and not negative.

    Raises
    ------
    ValueError
    """
    value = number(name, rate)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{what} needs a finite rate >= 0, got {name}={value}")
    return value
