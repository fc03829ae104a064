"""What runs on several grids say about their error, if they say anything."""

from __future__ import annotations

from collections.abc import Sequence

SAFETY = 3.0  # times the distance of two orders
SLOWEST = 0.8  # fall from the distance of orders 6 and 8 to that of 8 and 10 that is still taken for convergence
ASYMPTOTIC = (0.85, 1.2)  # ratio of neighbouring distances of single grids, over those of their dx²
SLOWEST_POWER = 0.5  # of dx, that the error of a single grid is assumed to fall with
SATURATED = 0.3  # distance of single grids in L1 beyond which they say nothing
NOISE = 2e-12  # distance of single grids that is rounding


def convergence_factor(distances: Sequence[float]) -> float:
    """Return the factor by which the last of two distances between orders is multiplied to bound the error.

    Where they fall by a factor q only, they are taken to go on so: their sum is 1 / (1 - q).
    """
    before, last = distances
    return SAFETY / (1 - min(last / max(before, 1e-300), SLOWEST))


def is_asymptotic(distances: Sequence[float], ratios: Sequence[float]) -> bool:
    """Return whether distances of neighbouring single grids, from coarse to fine, fall as those of their dx² do."""
    squares = [1 / r**2 for r in ratios]
    scaled = [d / (a - b) for d, a, b in zip(distances, squares[:-1], squares[1:], strict=True)]
    if max(distances) > SATURATED:
        return False
    low, high = ASYMPTOTIC
    return all(
        last <= NOISE or low * before <= after <= high * before
        for before, after, last in zip(scaled[:-1], scaled[1:], distances[1:], strict=True)
    )


def single_grid_bound(distance: float, ratios: Sequence[float]) -> float:
    """Bound the error of the finest grid by its distance to the one before, for any power of dx from 1/2 on."""
    before, last = ratios[-2:]
    growth = (last / before) ** SLOWEST_POWER
    return distance / (growth - 1)
