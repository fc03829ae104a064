"""Random number generators of runs: how a seed makes one, and its state as text."""

from __future__ import annotations

import json

import numpy as np

from wfr_pde.numerics.arguments import generator, seed


def generator_of(rng: int | np.random.Generator | None) -> np.random.Generator:
    """Make the generator of a run; one from a seed does not repeat the numbers of `start.sample(n, rng=seed)`."""
    rng = seed("rng", rng)
    if isinstance(rng, int):
        return np.random.default_rng(np.random.SeedSequence(int(rng), spawn_key=(1,)))
    return generator(rng)


def rng_state(rng: np.random.Generator | None) -> str:
    """Return the state of a generator as JSON; "" where there is none."""
    # some bit generators hold arrays
    return "" if rng is None else json.dumps(rng.bit_generator.state, default=lambda array: array.tolist())
