"""What all particle samplers share."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow, checked_rate
from wfr_pde.space.particles import Mixture, Particles

Array = np.ndarray[Any, np.dtype[np.float64]]


class Sampler(Flow):
    """A flow of particles; everything else about it is as for any `Flow`.

    `order` is that of the law in dt for infinitely many particles; for finitely many the law has an error of its own,
    which falls with their number. Samplers live on the whole space: they know no walls.

    One that has `Density` among its `measures` takes that too, and does to it what a step does to the law of infinitely
    many particles, at the same dt and bandwidth: ``solve(target, sampler, grid.density(start), t, dt)`` is the
    mean-field law of the sampler. On a grid it is not random, and walls are felt.
    """

    order: float = 1
    random = True
    interacting = True  # as most do
    measures: tuple[type, ...] = (Particles,)
    preserves = frozenset({"mass", "positivity"})

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate, type(self).__name__))

    def exact(self) -> Flow:
        """The part of the equation that it stands for, as a flow of densities without its errors.

        Raises
        ------
        TypeError
            If none is known.
        """
        raise TypeError(f"{type(self).__name__} stands for no part of the equation that could be put in its place")

    def with_density(self, density: Any) -> Sampler:
        """The same with another `LogRatio`, if it has one."""
        return self

    def frozen_target(self, energy: Energy) -> Any:
        """The target of an energy that does not move, with `log_density` and `score` of points (n, d)."""
        return energy.target  # type: ignore[attr-defined]

    def moved(
        self, state: Particles, positions: Array, mixture: Mixture | None = None, auxiliary: Array | None = None
    ) -> Particles:
        """The particles at other places, with the weights they had.

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
    """Refuse weights.

    Raises
    ------
    ValueError
    """
    if np.ptp(state.log_weights) > 1e-12:
        raise ValueError(
            f"{name} moves equally weighted particles, but the weights here differ (effective sample size "
            f"{state.effective_sample_size:.4g} of {len(state.positions)}): put Resample() before it"
        )
