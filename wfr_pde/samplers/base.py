"""What all particle samplers share."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError, refuse_old_hooks
from wfr_pde.flows.base import Flow, MemoryUse, Step, checked_rate
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Mixture, Particles

SLOWEST, FASTEST = 1e-100, 1e100  # rates: the variances of steps and their inverses are numbers


def sampler_rate(rate: float, what: str, name: str = "rate") -> float:
    """Return `rate` as `checked_rate` does, if variances of steps can be made of it.

    Raises
    ------
    ValueError
        If it is negative, not finite, or so large that they overflow.
    """
    value = checked_rate(rate, what, name)
    if value and not SLOWEST <= value <= FASTEST:
        raise ValueError(
            f"{what} needs a rate of 0, or between {SLOWEST:g} and {FASTEST:g}, got {name}={value}: use other units of "
            "time"
        )
    return value


class Sampler(Flow):
    """A flow of particles; everything else about it is as for any `Flow`.

    `order` is that of the law in dt for infinitely many particles; for finitely many the law has an error of its own,
    which falls with their number. Samplers live on the whole space: they know no walls.

    A new sampler defines `build_step` for particles, or `particle_step` where a step needs the time. One that names its
    `law_on_grid` takes a `Density`, too, and does to it what a step does to the law of infinitely many particles, at
    the same dt and bandwidth: ``solve(target, sampler, grid.density(start), t, dt)`` is the mean-field law of the
    sampler. On a grid it is not random, and walls are felt.

    Examples
    --------
    Gradient descent, as a flow of particles: at x = 1 the score of N(0, 1) is -1.

    >>> from dataclasses import dataclass
    >>> import wfr_pde as wfr
    >>> @dataclass(frozen=True)
    ... class Descent(wfr.samplers.Sampler):
    ...     rate: float = 1.0
    ...     law = "own"
    ...     random = interacting = False
    ...     def build_step(self, energy, template, dt):
    ...         score = energy.equilibrium.score
    ...         return lambda state, rng: self.moved(state, state.positions + self.rate * dt * score(state.positions))
    >>> ds = wfr.solve(wfr.Gaussian(0, 1), Descent(), wfr.Particles([[1.0]]), t=[0, 1], dt=0.5)
    >>> ds.position.values.ravel().tolist()
    [1.0, 0.25]
    """

    order: float = 1
    random = True
    interacting = True  # most samplers couple their particles
    preserves = frozenset({"mass", "positivity"})

    rate: float

    @override
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_old_hooks(cls, {"measures": "law_on_grid, which returns the flow of densities"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", sampler_rate(self.rate, type(self).__name__))

    def law_on_grid(self) -> Flow | None:
        """Name the flow of densities that a step is for infinitely many particles.

        Returns
        -------
        Flow or None
            None, the default, if no such flow is known. Nothing else asks whether a sampler moves densities.
        """
        return None

    @property
    @override
    def measures(self) -> tuple[type, ...]:  # type: ignore[override]
        """Measures that it moves: Particles, and Density where it has a law on the grid."""
        return (Particles,) if self.law_on_grid() is None else (Particles, Density)

    @property
    @override
    def max_ndim(self) -> float:  # type: ignore[override]
        """Largest number of axes of a density: that of the law on the grid."""
        law = self.law_on_grid()
        return super().max_ndim if law is None else law.max_ndim

    @property
    @override
    def factorises(self) -> bool:  # type: ignore[override]
        """Whether independent blocks stay so for infinitely many particles: where the law on the grid says it."""
        law = self.law_on_grid()
        return law is not None and law.factorises

    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare steps of particles, by default from `build_step` with a moving target frozen at the midpoint.

        The arguments `energy`, `template` and `dt`, and the result, are those of `make_step`.
        """
        return super().make_step(energy, template, dt)

    @override
    def make_step(self, energy: Energy, template: Any, dt: float) -> Step:
        """Prepare steps of particles, or of the law on the grid."""
        self.check(energy, template)
        law = self._law_of(template)
        return self.particle_step(energy, template, dt) if law is None else law.make_step(energy, template, dt)

    @override
    def check(self, energy: Energy, template: Any) -> None:
        """Refuse an energy or a measure that the sampler, or its law on the grid, does not know.

        Raises
        ------
        TypeError, ValueError
            With the reason, as `Flow.check` of either says it.
        """
        super().check(energy, template)
        law = self._law_of(template)
        if law is not None:
            law.check(energy, template)

    @override
    def dt_bounds(self, energy: Energy, template: Any) -> tuple[float, float]:
        """Return the smallest and largest dt: those of the law on a grid, none for particles."""
        law = self._law_of(template)
        return super().dt_bounds(energy, template) if law is None else law.dt_bounds(energy, template)

    @override
    def memory_use(self, template: Any) -> MemoryUse:
        """Return the memory that a prepared step holds; on a grid that of the law on the grid."""
        law = self._law_of(template)
        return super().memory_use(template) if law is None else law.memory_use(template)

    def _law_of(self, template: Any) -> Flow | None:
        """Return the flow that moves the template, if it is a density."""
        return self.law_on_grid() if isinstance(template, Density) else None

    def exact(self) -> Flow:
        """Return the part of the equation that the sampler stands for, as a flow of densities without its errors.

        Raises
        ------
        TypeError
            If none is known.
        """
        raise TypeError(f"{type(self).__name__} stands for no part of the equation that could be put in its place")

    def with_density(self, density: Any) -> Sampler:
        """Return the same sampler with another `LogRatio`, the `density`; itself, where it uses none."""
        return self

    def moved(
        self, state: Particles, positions: Array, mixture: Mixture | None = None, auxiliary: Array | None = None
    ) -> Particles:
        """Return the particles at other places, with the weights that they had.

        Parameters
        ----------
        state : Particles
            The particles as they were.
        positions : array (n, d)
            Where they are now.
        mixture : Mixture, optional
            The law that the positions were drawn from, if it is known.
        auxiliary : array (n, k), optional
            What else is carried along for each.

        Raises
        ------
        NumericalError
            If one has left for infinity.
        """
        finite = np.isfinite(positions).all(axis=1)
        if not finite.all():
            i = int(np.argmin(finite))
            raise NumericalError(
                f"{type(self).__name__} moved a particle from {state.positions[i].tolist()} to "
                f"{positions[i].tolist()}: the drift there is too steep for the step; use a smaller dt"
            )
        return Particles(positions, state.log_weights, mixture, auxiliary)


def equally_weighted(state: Particles, name: str) -> None:
    """Refuse weights that differ.

    Raises
    ------
    ValueError
        If they do, with the remedy: to resample first.
    """
    if np.ptp(state.log_weights) > 1e-12:
        raise ValueError(
            f"{name} moves equally weighted particles, but the weights here differ (effective sample size "
            f"{state.effective_sample_size:.4g} of {len(state.positions)}): put Resample() before it"
        )
