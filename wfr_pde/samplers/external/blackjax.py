"""Kernels of BlackJAX (Cabezas et al. 2024, arXiv:2402.10797) as a flow of particles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Step
from wfr_pde.flows.law import Law
from wfr_pde.numerics.arguments import function, text
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.external.jax_bridge import (
    Build,
    ByIdentity,
    LogDensity,
    check_algorithm,
    import_jax,
    in_float64,
    jax_key,
    log_density_in_jax,
    spelled,
)
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target

PROBES = 8  # particles at which a log-density in JAX is held against the target's...
SAME = 1e-6  # ...and the relative difference that rounding may make: sums of thousands of data stay below


@dataclass(frozen=True, eq=False, repr=False)
class Blackjax(Sampler):
    """Kernel of BlackJAX, which advances every particle by one step per dt; weights stay.

    ``build(log_density, time)`` with time = rate dt makes the algorithm. Of ``lambda f, time: blackjax.mala(f, time)``
    the proposal x + time grad + sqrt(2 time) N(0, I) is the step of `Langevin`. The algorithm's state is made anew from
    the position at every step: no momentum, no adaptation is kept, and density and score are evaluated once more than
    by the algorithm itself.

    The target's own `log_density` and `score` are called from JAX, for all particles at once; higher derivatives are
    not known. Numbers are float64, whatever JAX is set to globally; all randomness comes from `rng`.

    Parameters
    ----------
    build : callable
        ``build(log_density, time) -> blackjax.SamplingAlgorithm``; `log_density` takes points (d,).
    rate : float
        Units of the algorithm's time per unit of time, >= 0.
    log_density : callable, optional
        The target's log-density of points (d,) in JAX, up to a constant: faster, and with all derivatives.
    name : str, optional
        What the flow is called in provenance, and known by when a run goes on from disk: by default the dotted name of
        `build`. A lambda has none; its run cannot go on in another process.
    law : str
        What the kernel is in the limit, see `Flow`: "pi" for a Markov kernel that leaves pi as it is, "w" for a
        Langevin algorithm.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit. When a step is prepared: if `build` makes no algorithm, or `log_density` is not the
        target's, or the target moves and `log_density` does not.
    BackendError
        When a step is prepared, if blackjax is not installed.

    References
    ----------
    Cabezas et al. (2024), arXiv:2402.10797.

    Examples
    --------
    With blackjax installed; its Metropolis-adjusted Langevin kernel keeps N(0, 1), the variance of 1000 draws of which
    is 1 up to a few times 0.04:

    >>> import wfr_pde as wfr
    >>> def mala(log_density, time):
    ...     import blackjax
    ...     return blackjax.mala(log_density, time)
    >>> target = wfr.Gaussian(0, 1)
    >>> flow = wfr.samplers.Blackjax(mala, law="pi")
    >>> ds = wfr.solve(target, flow, target.sample(1000, rng=0), t=[0, 1], dt=1, rng=0)
    >>> bool(abs(ds.position.values[-1].var() - 1) < 0.15)
    True
    """

    build: Build
    rate: float = 1.0
    log_density: LogDensity | None = None
    name: str = ""
    law: Law | str = Law.PI

    interacting = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        function("build", self.build, "(log_density, time) -> algorithm")
        if self.log_density is not None:
            function("log_density", self.log_density, "of a point (d,), in JAX")
        text("name", self.name)
        object.__setattr__(self, "law", Law.named(self.law))

    @override
    def __repr__(self) -> str:
        native = "" if self.log_density is None else f", log_density={spelled(self.log_density)}"
        return f"Blackjax({self.name or spelled(self.build)}, rate={self.rate}{native}, law={str(self.law)!r})"

    @override
    def particle_step(self, energy: Energy, template: Particles, dt: float) -> Step:
        """Prepare a step: compile the algorithm for all particles at once."""
        if self.rate == 0:
            return lambda state, t, rng=None: state
        jax = import_jax()
        target = energy.equilibrium
        if self.log_density is not None:
            _check_native(self.log_density, target, template.positions[:PROBES])
        compiled = _compiled(self, ByIdentity(target), dt)

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            with in_float64(jax):
                moved = compiled(jax_key(jax, np.random.default_rng(rng)), state.positions, np.float64(t + dt / 2))
                positions = np.array(moved, dtype=np.float64)
            return self.moved(state, positions, None, state.auxiliary)

        return step


@functools.lru_cache(maxsize=16)  # compiling takes a second, which every seed of a study would wait for
def _compiled(flow: Blackjax, target: ByIdentity, dt: float) -> Callable[..., Any]:
    """Compile a step of all particles, positions(key, positions, time)."""
    jax = import_jax()
    native = flow.log_density
    log_density_at = log_density_in_jax(target.it.at) if native is None else lambda x, t: native(x)

    def advance(key: Any, positions: Any, t: Any) -> Any:
        algorithm = flow.build(lambda x: log_density_at(x, t), flow.rate * dt)
        check_algorithm(algorithm, flow.build)
        keys = jax.random.split(key, (2, len(positions)))
        states = jax.vmap(algorithm.init)(positions, keys[0])
        moved, _ = jax.vmap(algorithm.step)(keys[1], states)
        return _positions(moved)

    return jax.jit(advance)


def _check_native(log_density: LogDensity, target: Target, points: Array) -> None:
    """Refuse a log-density in JAX that is not that of a target at rest, up to a constant.

    Raises
    ------
    ValueError
        If values or gradients at some particles differ.
    """
    if target.moving:
        raise ValueError(
            f"{target!r} moves, but log_density is a function of the point alone: leave it out, and the target's own "
            "is used"
        )
    jax = import_jax()
    with in_float64(jax):
        own = np.asarray(jax.vmap(log_density)(jax.numpy.asarray(points)), dtype=np.float64)
        slope = np.asarray(jax.vmap(jax.grad(log_density))(jax.numpy.asarray(points)), dtype=np.float64)
    if own.shape != points.shape[:1]:
        raise ValueError(f"log_density must return a number for a point (d,), got shape {own.shape[1:]}")
    wanted, score = target.log_density(points), target.score(points)
    gap = np.abs((own - own[0]) - (wanted - wanted[0])) / (1 + np.abs(wanted) + np.abs(own))
    tilt = np.abs(slope - score).max(axis=1) / (1 + np.abs(score).max(axis=1))
    worst = int(np.argmax(np.maximum(gap, tilt)))
    if not max(gap[worst], tilt[worst]) <= SAME:
        raise ValueError(
            f"log_density is not that of {target!r}, up to a constant: at {points[worst].tolist()} its gradient is "
            f"{slope[worst].tolist()}, but the target's {score[worst].tolist()}; leave it out, and the target's is used"
        )


def _positions(states: Any) -> Any:
    """Return the positions of all states of an algorithm."""
    if not hasattr(states, "position"):
        raise TypeError(
            f"the algorithm's state {type(states).__name__} has no position: Blackjax runs Markov chain "
            "Monte Carlo only; run others by run_sampler, as tempered_smc"
        )
    return states.position
