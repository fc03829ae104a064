"""Base class `Target`: an unnormalised log-density on R^d, and what may be known about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import instance, number, real_array, shown
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.numerics.user_calls import keeps_points, read_only
from wfr_pde.targets import differentiation
from wfr_pde.targets.arguments import box_of
from wfr_pde.targets.breaks import Breaks

PACKAGE = __name__.partition(".")[0]  # whose own targets leave points as they are
# methods of users that get copies of points, so that working in place changes no grid
OF_POINTS = ("log_density", "score")
# places at which a log-density must be as it was for its box to be kept; a change elsewhere alone is missed
BOX_PROBES = 64

if TYPE_CHECKING:
    Box = tuple[Array, Array]


class Target(Record):
    """A distribution pi ∝ exp(-V) on R^d, known by its log-density up to a constant.

    A new target is one class: set `ndim`, write `log_density`; everything else is optional.
    Any target also serves as the start of a flow. `log_density` and `score` get points that are read-only: they return
    new arrays.

    Attributes
    ----------
    ndim : int
        Dimension d of the space.
    moving : bool
        True if the target depends on time; then `at` returns it frozen at one time.
    support : (lower, upper) or None
        A box that surely holds the mass, by the user's word; two arrays of shape (d,). A face is a wall where the
        density is not finite beyond, or has a hundredth of its largest value at the face.
    log_normaliser : float or None
        log ∫ exp(log_density) dx where it is known in closed form.

    Examples
    --------
    The score of V = x⁴/4 is -x³; it needs no formula of its own:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> class Quartic(wfr.Target):
    ...     ndim = 1
    ...     def log_density(self, points):
    ...         return -np.asarray(points)[..., 0] ** 4 / 4
    >>> round(float(Quartic().score([[2.0]])[0, 0]), 6)
    -8.0
    """

    ndim: int
    moving: bool = False
    support: Box | None = None
    log_normaliser: float | None = None

    @override
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] != PACKAGE:
            for name in filter(vars(cls).__contains__, OF_POINTS):
                setattr(cls, name, keeps_points(vars(cls)[name]))

    def log_density(self, points: ArrayLike) -> Array:
        """Return the log-density -V(x), up to a constant, at `points` of shape (..., d); the result has shape (...)."""
        raise NotImplementedError(f"{type(self).__name__} must define log_density")

    def score(self, points: ArrayLike) -> Array:
        """Return the gradient of the log-density at `points` (..., d), shape (..., d).

        Without a closed form it is taken by complex steps (error about 1e-14) and checked against central
        differences; where the log-density does not accept complex numbers, by differences (about 1e-9).
        """
        return differentiation.gradient(self.log_density, self.as_points(points))

    @property
    def score_by_differences(self) -> bool:
        """Whether `score` compares values of the log-density at places beside each other."""
        return type(self).score is Target.score

    @property
    def machine_epsilon(self) -> float:
        """Distance from 1 to the next number, of the numbers in which the log-density is computed."""
        return float(np.finfo(np.float64).eps)

    def sample(self, n: int, rng: Rng = None) -> Array:
        """Return `n` exact, independent draws, shape (n, d).

        Parameters
        ----------
        n : int
            Number of draws.
        rng : int or numpy Generator, optional
            Seed or generator; a fresh one by default.

        Raises
        ------
        ValueError
            If no exact sampler is known.
        """
        raise ValueError(
            f"{type(self).__name__} has no exact sampler: "
            "put it on a grid and draw there, grid.density(target).sample(n, rng)"
        )

    def moments(self) -> tuple[Array, Array] | None:
        """Return the mean (d,) and the covariance (d, d) where they are known in closed form, else None."""
        return None

    def box(self, tail: float = 1e-12) -> Box:
        """Return a box outside which the target has a mass below `tail`: two arrays (d,), lower and upper.

        It is `support` if the user gave one. Else it is searched for: modes are climbed from many starts, then every
        face is moved out until the estimated mass beyond it is small enough. A mode that no start climbs to stays
        hidden: give `support` where that can happen.

        Parameters
        ----------
        tail : float
            Mass that may lie outside, relative to the whole.

        Raises
        ------
        ValueError
            If the tails are too heavy for any box, as for a log-density that is not integrable, or the target moves.
        """
        if self.support is not None:
            return self.support
        if self.moving:
            raise ValueError(
                f"{self!r} moves, so its box depends on time: take those of some times, target.at(t).box(), or give "
                "the box that holds it at all times, as support=(lower, upper) or by a method box of its class"
            )
        found = self.__dict__.setdefault("_boxes", {})  # a search takes up to a second, and gives the same each time
        if tail not in found or not np.array_equal(found[tail][1], self._probed(found[tail][0]), equal_nan=True):
            from wfr_pde.targets.box.find_box import find_box  # here, as it loads SciPy

            box = find_box(self, tail)
            found[tail] = box, self._probed(box)
        return found[tail][0]

    def _probed(self, box: Box) -> Array:
        """Return the log-density at 64 fixed places of a box.

        If these values change, the log-density itself has changed since the box was found, as that of a closure may.
        """
        shares = np.random.default_rng(0).random((BOX_PROBES, self.ndim))
        with np.errstate(all="ignore"):
            return np.asarray(self.log_density(box[0] + shares * (box[1] - box[0])), dtype=np.float64)

    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return where the log-density, or a derivative of it, jumps inside a box; nowhere by default.

        Cells whose edges lie there keep the order of a scheme.

        Parameters
        ----------
        lower, upper : array (d,)
            Corners of the box.
        """
        box_of("(lower, upper)", (lower, upper), self.ndim)
        return Breaks.none(self.ndim)

    def at(self, t: float) -> Target:
        """Return the target at time `t`: itself, unless it moves.

        Raises
        ------
        ValueError
            If t is NaN.
        """
        if math.isnan(number("t", t)):
            raise ValueError("t must be a time, got nan")
        return self

    def as_points(self, points: ArrayLike) -> Array:
        """Return `points` as a read-only float array of shape (..., d).

        Raises
        ------
        ValueError
            If the last axis does not have length d.
        """
        array = as_numbers(points)
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            hint = "; write x[..., None] for a plain array of positions" if self.ndim == 1 else ""
            raise ValueError(
                f"points have shape {array.shape}, but {type(self).__name__} is {self.ndim}-dimensional: "
                f"the last axis must have length {self.ndim}{hint}"
            )
        return np.asarray(read_only(array))


def at_rest(name: str, distribution: Any) -> Target:
    """Return `distribution`, if it is a `Target` that does not move.

    Raises
    ------
    TypeError
        If it is no `Target`.
    ValueError
        If it moves.
    """
    target = instance(name, distribution, Target, "such as Gaussian(mean=0, covariance=1)")
    if target.moving:
        raise ValueError(
            f"{name} must be a target that does not move, got {shown(target)}: give it at one time, .at(t)"
        )
    return target


def as_numbers(points: ArrayLike) -> Array:
    """Return `points` as an array of real numbers, or of complex ones, which complex steps for derivatives use."""
    if type(points) is np.ndarray and points.dtype == np.complex128:
        return points
    return real_array("points", points)
