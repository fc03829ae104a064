"""Samplers of BlackJAX (Cabezas et al. 2024, arXiv:2402.10797): its kernels as a flow, its tempering as a callable."""

from __future__ import annotations

import functools
import importlib
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.energies import Energy
from wfr_pde.errors import BackendError, NumericalError
from wfr_pde.flows.base import Step
from wfr_pde.samplers.base import Array, Sampler
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target

LogDensity = Callable[[Any], Any]  # of a point (d,), in JAX
Build = Callable[[LogDensity, float], Any]
LAWS = ("w", "fr", "wfr", "rest", "pi", "own")
BLOCK = 4096  # numbers that cross between JAX and NumPy at once
PROBES = 8  # particles at which a log-density in JAX is held against the target's...
SAME = 1e-6  # ...and the relative difference that rounding may make


@dataclass(frozen=True, eq=False, repr=False)
class Blackjax(Sampler):
    """A kernel of BlackJAX, which advances every particle by one step per dt; weights stay.

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
        Of `Flow`: "pi" for a Markov kernel that leaves pi as it is, "w" for a Langevin algorithm.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit. When a step is prepared: if `build` makes no algorithm, or `log_density` is not the
        target's, or the target moves and `log_density` does not.
    BackendError
        When a step is prepared, if blackjax is not installed.
    """

    build: Build
    rate: float = 1.0
    log_density: LogDensity | None = None
    name: str = ""
    law: str = "pi"

    interacting = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.build):
            raise TypeError(f"build must be a function (log_density, time) -> algorithm, got {self.build!r}")
        if self.log_density is not None and not callable(self.log_density):
            raise TypeError(f"log_density must be a function of a point (d,) in JAX, got {self.log_density!r}")
        if self.law not in LAWS:
            raise ValueError(f"law must be one of {', '.join(LAWS)}, got {self.law!r}")

    def __repr__(self) -> str:
        native = "" if self.log_density is None else f", log_density={_spelled(self.log_density)}"
        return f"Blackjax({self.name or _spelled(self.build)}, rate={self.rate}{native}, law={self.law!r})"

    def make_step(self, energy: Energy, like: Particles, dt: float) -> Step:
        """Compile the algorithm for all particles."""
        self.check(energy, like)
        if self.rate == 0:
            return lambda state, t, rng=None: state
        jax = _jax()
        target = self.frozen_target(energy)
        if self.log_density is not None:
            _check_native(self.log_density, target, like.positions[:PROBES])
        compiled = _compiled(self, _Identity(target), dt)

        def step(state: Particles, t: float, rng: np.random.Generator | None = None) -> Particles:
            with _float64(jax):
                moved = compiled(_key(jax, np.random.default_rng(rng)), state.positions, np.float64(t + dt / 2))
                positions = np.array(moved, dtype=np.float64)
            return self.moved(state, positions, None, state.auxiliary)

        return step


@dataclass(frozen=True, eq=False)
class _Identity:
    """An object as the key of a cache: equal to itself alone, whether it has a hash or not."""

    it: Any

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.it is other.it


@functools.lru_cache(maxsize=16)  # compiling takes a second, which every seed of a study would wait for
def _compiled(flow: Blackjax, target: _Identity, dt: float) -> Callable[..., Any]:
    """A step of all particles, positions(key, positions, time)."""
    jax = _jax()
    native = flow.log_density
    log_density_at = log_density_in_jax(target.it.at) if native is None else lambda x, t: native(x)

    def advance(key: Any, positions: Any, t: Any) -> Any:
        algorithm = flow.build(lambda x: log_density_at(x, t), flow.rate * dt)
        _check_algorithm(algorithm, flow.build)
        keys = jax.random.split(key, (2, len(positions)))
        states = jax.vmap(algorithm.init)(positions, keys[0])
        moved, _ = jax.vmap(algorithm.step)(keys[1], states)
        return _positions(moved)

    return jax.jit(advance)


def tempered_smc(
    target: Target,
    start_positions: Array,
    times: Array,
    rng: np.random.Generator,
    *,
    prior: Target,
    rate: float = 1.0,
    build: Build | None = None,
    step_size: float = 0.1,
    moves: int = 10,
    dt: float = math.inf,
    target_ess: float | None = None,
) -> Iterator[tuple[float, Array, Array | None]]:
    """BlackJAX's tempered sequential Monte Carlo, for `run_sampler`: from mu_0 to pi along the Fisher-Rao flow.

    pi_lambda ∝ mu_0^(1 - lambda) pi^lambda at lambda = 1 - e^(-rate (t - t_0)), with likelihood pi/mu_0. A step
    resamples (systematically, always), moves the particles by a kernel that leaves the pi_lambda at its beginning as it
    is, and weighs them for the one at its end (Del Moral, Doucet and Jasra 2006, doi:10.1111/j.1467-9868.2006.00553.x).
    For infinitely many particles there is no error in dt.

    Parameters
    ----------
    target : Target
        pi.
    start_positions : array (n, d)
        Draws from mu_0.
    times : array (n_t,)
        Save times, the first that of the start.
    rng : numpy Generator
    prior : Target
        mu_0, the law of the start.
    rate : float
        Reaction rate beta >= 0.
    build : callable, optional
        As of `Blackjax`, by default ``blackjax.mala``: the kernel.
    step_size : float
        What `build` is given.
    moves : int
        Steps of the kernel per step, >= 1.
    dt : float
        Largest step in time.
    target_ess : float, optional
        Share of the particles in (0, 1): steps are cut short where the effective sample size would fall below it, as
        BlackJAX's adaptive tempering does.

    Yields
    ------
    tuple
        Time, positions (n, d), log-weights (n,).

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    BackendError
        If blackjax is not installed.
    NumericalError
        If no step is short enough for `target_ess`.
    """
    _check_tempering(target, prior, rate, step_size, moves, dt, target_ess)
    jax = _jax()
    made_of = map(_Identity, (target, prior, build or importlib.import_module("blackjax").mala))
    step, next_weight = _tempering(*made_of, float(step_size), int(moves))
    particles, weights = start_positions, np.full(len(start_positions), 1 / len(start_positions))
    before = 0.0
    yield float(times[0]), particles, None
    for start, end in itertools.pairwise(times):
        pieces = max(math.ceil((end - start) / dt * (1 - 1e-12)), 1)
        for t in np.linspace(start, end, pieces + 1)[1:]:
            goal = -math.expm1(-rate * (t - times[0]))
            while before < goal:
                with _float64(jax):
                    after = goal
                    if target_ess is not None:
                        after = float(next_weight(particles, before, goal, target_ess))
                    particles, weights = step(_key(jax, rng), particles, weights, before, after)
                if not after > before:
                    raise NumericalError(
                        f"no step from lambda={before:.6g} keeps an effective sample size of {target_ess:g} of the "
                        "particles: use a smaller target_ess, or none"
                    )
                before = after
        with np.errstate(divide="ignore"):
            yield float(end), np.array(particles), np.log(np.asarray(weights))


def _check_tempering(
    target: Target, prior: Target, rate: float, step_size: float, moves: int, dt: float, target_ess: float | None
) -> None:
    if not isinstance(prior, Target):
        raise TypeError(f"prior must be the Target that the start was drawn from, got {prior!r}")
    if prior.moving:
        raise ValueError(f"tempered_smc starts from one distribution, but {prior!r} moves: give prior.at(t)")
    if target.moving:
        raise ValueError(f"tempered_smc leads to one distribution, but {target!r} moves: give target.at(t)")
    if prior.ndim != target.ndim:
        raise ValueError(f"the prior has dimension {prior.ndim}, but the target {target.ndim}")
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate must be finite and >= 0, got {rate}")
    for name, value in (("step_size", step_size), ("dt", dt)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
    if int(moves) != moves or moves < 1:
        raise ValueError(f"moves must be a whole number >= 1 of steps of the kernel, got {moves}")
    if target_ess is not None and not 0 < target_ess < 1:
        raise ValueError(f"target_ess must be a share of the particles, between 0 and 1, got {target_ess}")


@functools.lru_cache(maxsize=16)
def _tempering(
    target: _Identity, prior: _Identity, build: _Identity, step_size: float, moves: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A compiled step of tempering, and the function that says how far it may go."""
    jax = _jax()
    tempered, resampling, ess, solver = (
        importlib.import_module(f"blackjax.smc.{name}") for name in ("tempered", "resampling", "ess", "solver")
    )
    log_pi, log_mu = log_density_in_jax(lambda t: target.it), log_density_in_jax(lambda t: prior.it)

    def log_prior(x: Any) -> Any:
        return log_mu(x, 0.0)

    def log_likelihood(x: Any) -> Any:
        return log_pi(x, 0.0) - log_mu(x, 0.0)

    def init(x: Any, log_density: LogDensity) -> Any:
        algorithm = build.it(log_density, step_size)
        _check_algorithm(algorithm, build.it)
        return algorithm.init(x)

    def move(key: Any, state: Any, log_density: LogDensity) -> Any:
        return build.it(log_density, step_size).step(key, state)

    kernel = tempered.build_kernel(log_prior, log_likelihood, move, init, resampling.systematic)

    def step(key: Any, particles: Any, weights: Any, before: Any, after: Any) -> Any:
        state, _ = kernel(key, tempered.TemperedSMCState(particles, weights, before), moves, after, {})
        return state.particles, state.weights

    def next_weight(particles: Any, before: Any, goal: Any, target_ess: Any) -> Any:
        most = goal - before
        increment = ess.ess_solver(jax.vmap(log_likelihood), particles, target_ess, most, solver.dichotomy)
        return jax.numpy.where(increment < most, before + increment, goal)

    return jax.jit(step), jax.jit(next_weight)


def log_density_in_jax(target_at: Callable[[float], Any]) -> Callable[[Any, Any], Any]:
    """A function of (point (d,), time) in JAX that calls the targets' own `log_density` and `score`.

    It may be mapped over points, which are then handed over together, and differentiated once in the point.
    """
    jax = _jax()

    def value(x: Array, t: Array) -> tuple[Array]:
        return (target_at(float(t.flat[0])).log_density(x),)

    def value_and_score(x: Array, t: Array) -> tuple[Array, Array]:
        target = target_at(float(t.flat[0]))
        return target.log_density(x), target.score(x)

    @jax.custom_vjp
    def log_density(x: Any, t: Any) -> Any:
        return _on_host(jax, value, (x, t), (x.shape[:-1],))[0]

    def forward(x: Any, t: Any) -> Any:
        return _on_host(jax, value_and_score, (x, t), (x.shape[:-1], x.shape))

    log_density.defvjp(forward, lambda score, rise: (rise * score, None))
    return log_density


def _on_host(
    jax: Any, function: Callable[..., tuple[Array, ...]], arrays: tuple[Any, Any], shapes: tuple[Any, ...]
) -> Any:
    """Call a function of NumPy arrays (point, time), with results of the given shapes.

    Numbers cross as pairs of 32 bits: JAX may call from a thread of its own, in which the context for float64 does not
    hold, and would round them. Many points cross in blocks: JAX copies what is larger in a second thread, for which a
    process on one core waits forever (https://github.com/jax-ml/jax/issues/24255).
    """
    bits, floats = jax.numpy.uint32, jax.numpy.float64

    def call(*pairs: Any) -> tuple[Array, ...]:
        results = function(*(np.ascontiguousarray(pair).view(np.float64)[..., 0] for pair in pairs))
        return tuple(np.ascontiguousarray(y, dtype=np.float64)[..., None].view(np.uint32) for y in results)

    def cross(x: Any, t: Any, front: tuple[int, ...]) -> Any:
        pairs = (jax.lax.bitcast_convert_type(jax.numpy.asarray(array, floats), bits) for array in (x, t))
        expected = tuple(jax.ShapeDtypeStruct((*front, *shape, 2), bits) for shape in shapes)
        results = jax.pure_callback(call, expected, *pairs, vmap_method="expand_dims")
        return tuple(jax.lax.bitcast_convert_type(result, floats) for result in results)

    @jax.custom_batching.custom_vmap
    def one(x: Any, t: Any) -> Any:
        return cross(x, t, ())

    @one.def_vmap
    def many(n: int, batched: list[bool], x: Any, t: Any) -> Any:
        size = max(min(n, BLOCK // max(x[0].size, 1)), 1)
        count = -(-n // size)
        padded = jax.numpy.concatenate([x, jax.numpy.repeat(x[-1:], count * size - n, axis=0)])
        blocks = padded.reshape(count, size, *x.shape[1:])
        results = jax.lax.map(lambda block: cross(block, t, (size,)), blocks)
        return tuple(y.reshape(count * size, *y.shape[2:])[:n] for y in results), (True,) * len(shapes)

    return one(*arrays)


def _check_native(log_density: LogDensity, target: Target, points: Array) -> None:
    """A log-density in JAX must be that of a target at rest, up to a constant.

    Raises
    ------
    ValueError
    """
    if target.moving:
        raise ValueError(
            f"{target!r} moves, but log_density is a function of the point alone: leave it out, and the target's own "
            "is used"
        )
    jax = _jax()
    with _float64(jax):
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


def _check_algorithm(algorithm: Any, build: Build) -> None:
    """Refuse what has no init and step.

    Raises
    ------
    TypeError
    """
    if not (callable(getattr(algorithm, "init", None)) and callable(getattr(algorithm, "step", None))):
        raise TypeError(
            f"{_spelled(build)} returned {type(algorithm).__name__}, not a blackjax.SamplingAlgorithm with init and "
            "step, as blackjax.mala(log_density, time) is"
        )


def _positions(states: Any) -> Any:
    """Positions of all states of an algorithm."""
    if not hasattr(states, "position"):
        raise TypeError(
            f"the algorithm's state {type(states).__name__} has no position: Blackjax runs Markov chain "
            "Monte Carlo only; run others by run_sampler, as tempered_smc"
        )
    return states.position


def _spelled(function: Any) -> str:
    """A function's dotted name; of a lambda or an inner one, which have none that is unique, with its address."""
    name = getattr(function, "__qualname__", "<")
    return repr(function) if "<" in name else f"{function.__module__}.{name}"


def _jax() -> Any:
    """The package jax, if blackjax is there too."""
    try:
        importlib.import_module("blackjax")
        return importlib.import_module("jax")
    except ImportError as error:
        raise BackendError(f"blackjax cannot be imported ({error}): pip install 'wfr-pde[samplers]'") from error


def _float64(jax: Any) -> AbstractContextManager[object]:
    """Context in which JAX computes in float64."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()


def _key(jax: Any, rng: np.random.Generator) -> Any:
    """A key of JAX, drawn from a numpy Generator."""
    return jax.random.key(int(rng.integers(2**63)), impl="threefry2x32")
