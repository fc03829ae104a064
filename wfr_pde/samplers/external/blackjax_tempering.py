"""Tempered sequential Monte Carlo of BlackJAX (Cabezas et al. 2024, arXiv:2402.10797), as a callable."""

from __future__ import annotations

import functools
import importlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.external.jax_bridge import (
    Build,
    ByIdentity,
    LogDensity,
    check_algorithm,
    import_jax,
    in_float64,
    jax_key,
    log_density_in_jax,
)
from wfr_pde.targets.base import Target


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
    """Run BlackJAX's tempered sequential Monte Carlo, for `run_sampler`: from mu_0 to pi along the Fisher-Rao flow.

    pi_lambda ∝ mu_0^(1 - lambda) pi^lambda at lambda = 1 - e^(-rate (t - t_0)), with likelihood pi/mu_0. A step
    resamples (systematically, always), moves the particles by a kernel that leaves the pi_lambda at its beginning as it
    is, and weighs them for the one at its end. For infinitely many particles there is no error in dt.

    Parameters
    ----------
    target : Target
        pi.
    start_positions : array (n, d)
        Draws from mu_0.
    times : array (n_t,)
        Save times, the first that of the start.
    rng : numpy Generator
        All random numbers come from it.
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

    References
    ----------
    Del Moral, Doucet and Jasra (2006), doi:10.1111/j.1467-9868.2006.00553.x; Cabezas et al. (2024), arXiv:2402.10797.
    """
    _check_tempering(target, prior, rate=rate, step_size=step_size, moves=moves, dt=dt, target_ess=target_ess)
    jax = import_jax()
    made_of = map(ByIdentity, (target, prior, build or importlib.import_module("blackjax").mala))
    step, next_weight = _tempering(*made_of, float(step_size), int(moves))
    particles, weights = start_positions, np.full(len(start_positions), 1 / len(start_positions))
    before = 0.0
    yield float(times[0]), particles, None
    for start, end in itertools.pairwise(times):
        pieces = max(math.ceil((end - start) / dt * (1 - 1e-12)), 1)
        for t in np.linspace(start, end, pieces + 1)[1:]:
            goal = -math.expm1(-rate * (t - times[0]))
            while before < goal:
                with in_float64(jax):
                    after = goal
                    if target_ess is not None:
                        after = float(next_weight(particles, before, goal, target_ess))
                    particles, weights = step(jax_key(jax, rng), particles, weights, before, after)
                if not after > before:
                    raise NumericalError(
                        f"no step from lambda={before:.6g} keeps an effective sample size of {target_ess:g} of the "
                        "particles: use a smaller target_ess, or none"
                    )
                before = after
        with np.errstate(divide="ignore"):
            yield float(end), np.array(particles), np.log(np.asarray(weights))


def _check_tempering(
    target: Target, prior: Target, *, rate: float, step_size: float, moves: int, dt: float, target_ess: float | None
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
    target: ByIdentity, prior: ByIdentity, build: ByIdentity, step_size: float, moves: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compile a step of tempering, and the function that says how far it may go."""
    jax = import_jax()
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
        check_algorithm(algorithm, build.it)
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
