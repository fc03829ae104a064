"""What is asked of a truth: the law of a flow as a function of time, and how far off it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import ArrayLike

from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.targets.base import Target


class Truth(Protocol):
    """The law mu_t of a flow: what `compare`, `validate`, `error_budget` and `Oracle` ask for, and nothing else.

    A `Trajectory` is one, and so is any object with these members: a closed form, a product of truths, a solution of
    another program. A density or a distribution stands for all times (`Stationary`). Beside these members a truth may
    have `problem`, a `StatedProblem`: then nobody has to give the target, the start or the rates again.

    Points x have shape (..., d). A time t is a number; `log_prob`, `score` and `error_l1` may take arrays that
    broadcast with the shape (...) of the points, as those of a `Trajectory` do, but nobody here asks for that.
    """

    @property
    def times(self) -> Array:
        """Times (t,), increasing, from that of the start on; empty where the law is the same at all times.

        They are the times that a comparison looks at by default. A truth may know the law at other times, too.
        """

    def at(self, t: float) -> Density | Particles | ProductLaw:
        """Return the law at one time: a density on a grid; a product of such laws; or the same particles always.

        Products and particles do for `compare`, with metrics that take them as reference, and for `Oracle`, which asks
        `log_prob` then. `validate` and `error_budget` need a density, and take the box of the one at the first time as
        their own.
        """

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate log mu_t(x), normalised, shape (...); -inf where there is no mass."""

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the gradient of log mu_t at x, shape (..., d)."""

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """Draw `n` independent points (n, d) from mu_t."""

    def error_l1(self, t: ArrayLike) -> Any:
        """Bound, or estimate, the L1 distance of mu_t from the law that is meant, at times (...)."""


@dataclass(frozen=True)
class StatedProblem:
    """What a truth states of the flow that it solves; None where it does not know.

    Parameters
    ----------
    target : Target, optional
        pi.
    start : Target or Density, optional
        mu_0.
    transport_rate, reaction_rate : float, optional
        alpha, beta.
    """

    target: Target | None = None
    start: Target | Density | None = None
    transport_rate: float | None = None
    reaction_rate: float | None = None
