"""From NumPy to JAX and back: targets as log-densities in JAX, float64, random keys, algorithms of BlackJAX."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.errors import BackendError
from wfr_pde.numerics.typing import Array

LogDensity = Callable[[Any], Any]  # of a point (d,), in JAX
Build = Callable[[LogDensity, float], Any]
# numbers that cross between JAX and NumPy at once: JAX copies larger arrays in a second thread, which may wait forever
BLOCK = 4096


def log_density_in_jax(target_at: Callable[[float], Any]) -> Callable[[Any, Any], Any]:
    """Return a function of (point (d,), time) in JAX that calls the targets' own `log_density` and `score`.

    It may be mapped over points, which are then handed over together, and differentiated once in the point.
    """
    jax = import_jax()

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


@dataclass(frozen=True, eq=False)
class ByIdentity:
    """Key of a cache that stands for an object, and is equal to itself alone, whether the object has a hash or not."""

    it: Any

    @override
    def __hash__(self) -> int:
        return id(self.it)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.it is other.it


def check_algorithm(algorithm: Any, build: Build) -> None:
    """Refuse a result of `build` that has no `init` and `step`, as algorithms of BlackJAX have.

    Raises
    ------
    TypeError
        If `build` has returned such a thing.
    """
    if not (callable(getattr(algorithm, "init", None)) and callable(getattr(algorithm, "step", None))):
        raise TypeError(
            f"{spelled(build)} returned {type(algorithm).__name__}, not a blackjax.SamplingAlgorithm with init and "
            "step, as blackjax.mala(log_density, time) is"
        )


def spelled(function: Any) -> str:
    """Write the dotted name of a function; of a lambda or an inner one, whose name is not unique, with its address."""
    name = getattr(function, "__qualname__", "<")
    return repr(function) if "<" in name else f"{function.__module__}.{name}"


def import_jax() -> Any:
    """Import the package jax, if blackjax is there too."""
    try:
        importlib.import_module("blackjax")
        return importlib.import_module("jax")
    except ImportError as error:
        raise BackendError(f"blackjax cannot be imported ({error}): pip install 'wfr-pde[samplers]'") from error


def in_float64(jax: Any) -> AbstractContextManager[object]:
    """Return a context in which JAX computes in float64."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()


def jax_key(jax: Any, rng: np.random.Generator) -> Any:
    """Draw a key of JAX from a numpy Generator."""
    return jax.random.key(int(rng.integers(2**63)), impl="threefry2x32")
