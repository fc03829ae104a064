"""Distributions that depend on the distance from the origin only, and the law of that distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import dimension, draws, generator, shown
from wfr_pde.numerics.gauss_rules import gauss
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import box_of, call_repr
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks
from wfr_pde.targets.derived import DerivedTarget
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.potential import Potential
from wfr_pde.targets.ring import Ring

PANELS = 2048  # of the table of a law of the radius, as narrow as 0.01 of its width
FAR = 1e-15  # mass that the table may leave out
NODES = 8  # of Gauss's rule on a panel


@dataclass(frozen=True, eq=False)
class Radial(DerivedTarget):
    """Law in R^d whose log-density depends on r = |x| only: pi(x) ∝ exp(-V(|x|)).

    Between such laws the WFR flow is one on the line, whatever d is: that of the radius, whose density is
    r^{d-1} e^{-V(r)} (`radius`). So `ground_truth` solves that.

    Parameters
    ----------
    profile : function, str or Target of one dimension
        V(r) at arrays of r >= 0, as a function or an expression in x such as "x**4/4"; or a target on the line, whose
        -log-density at r is V(r).
    ndim : int
        Dimension d of the space.

    Raises
    ------
    TypeError
        If the profile is none of these.
    ValueError
        If the profile is not one-dimensional, or moves.

    Examples
    --------
    A shell |x|^q exp(-|x|²/2) in R^50; E r² of it is q + d:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> shell = wfr.Radial(lambda r: r**2 / 2 - 30 * np.log(r), ndim=50)
    >>> mean, covariance = shell.moments()
    >>> round(float(np.trace(covariance)), 9)
    80.0
    """

    profile: Any
    ndim: int

    other_words = {"V": "profile", "potential": "profile", "dim": "ndim", "d": "ndim"}

    def __post_init__(self) -> None:
        profile = self.profile
        if isinstance(profile, str) or (callable(profile) and not isinstance(profile, Target | type)):
            profile = _potential(profile)
        if not isinstance(profile, Target):
            raise TypeError(
                f"profile must be a function V(r), an expression or a target on the line, got {shown(profile)}"
            )
        if profile.ndim != 1 or profile.moving:
            what = "moves" if profile.moving else f"is {profile.ndim}-dimensional"
            raise ValueError(
                f"profile must be a law on the line, of the radius r, that stays as it is, but {profile!r} {what}"
            )
        object.__setattr__(self, "profile", profile)
        object.__setattr__(self, "ndim", dimension(self.ndim))

    __repr__ = call_repr

    @property
    @override
    def target(self) -> Target:  # type: ignore[override]
        """The profile, with whose numbers this computes."""
        profile: Target = self.profile
        return profile

    @cached_property
    def radius(self) -> Radius:
        """Law of r = |x|, of density r^{d-1} e^{-V(r)} on r > 0."""
        return Radius(self.profile, self.ndim)

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V(|x|) at points (..., d), shape (...)."""
        return np.asarray(self.profile.log_density(_norm(self.as_points(points))))

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return -V'(r) x / r at points (..., d), shape (..., d); zero at the origin."""
        points = self.as_points(points)
        r = _norm(points)
        direction = np.divide(points, r, out=np.zeros_like(points), where=r > 0)
        return np.where(r > 0, self.profile.score(r), 0.0) * direction

    @cached_property
    @override
    def log_normaliser(self) -> float:  # type: ignore[override]
        """Log of the sphere's area 2 pi^{d/2} / Gamma(d/2) times the integral of the radius, by Gauss's rule."""
        area = math.log(2) + self.ndim / 2 * math.log(math.pi) - math.lgamma(self.ndim / 2)
        return area + self.radius.table.log_mass

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Return `n` draws (n, d): a radius and a direction."""
        n, rng = draws(n, self.ndim), generator(rng)
        directions = rng.standard_normal((n, self.ndim))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return self.radius.table.inverse(rng.random(n))[:, None] * directions

    @override
    def moments(self) -> tuple[Array, Array]:
        """Return the mean, zero, and the covariance E r²/d times the identity."""
        second = self.radius.table.mean(lambda r: r**2)
        return np.zeros(self.ndim), second / self.ndim * np.eye(self.ndim)

    @override
    def box(self, tail: float = 1e-12) -> tuple[Array, Array]:
        """Return the cube around the ball outside which the mass is below `tail`."""
        far = float(self.radius.box(tail)[1][0])
        return np.full(self.ndim, -far), np.full(self.ndim, far)

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return those of |x| on the line; spheres are no planes, and in more dimensions stand as `elsewhere`."""
        corners = box_of("(lower, upper)", (lower, upper), self.ndim)
        far = float(np.linalg.norm(np.maximum(np.abs(corners[0]), np.abs(corners[1]))))
        found = self.profile.breaks([0.0], [far])
        if self.ndim == 1:
            places = np.concatenate([-found.places[0][::-1], [0.0], found.places[0]])
            return Breaks((places,), elsewhere=found.elsewhere).inside(*corners)
        return Breaks(Breaks.none(self.ndim).places, elsewhere=bool(found))

    @classmethod
    def of(cls, target: Target) -> Radial | None:
        """Return a `target` that is radial about the origin as a `Radial`, or None if it is not known to be one."""
        kind = type(target)  # not isinstance: what else a class derived from one of these does is not known
        if kind is cls:
            return target  # type: ignore[return-value]
        if kind is Ring:
            return cls(Ring(target.radius, target.width, ndim=1), target.ndim)  # type: ignore[attr-defined]
        if kind is Gaussian and not target.mean.any():  # type: ignore[attr-defined]
            variance = float(target.covariance[0, 0])  # type: ignore[attr-defined]
            if np.array_equal(target.covariance, variance * np.eye(target.ndim)):  # type: ignore[attr-defined]
                return cls(Gaussian(0.0, variance), target.ndim)
        return None


@dataclass(frozen=True, eq=False)
class Radius(DerivedTarget):
    """Law of the radius r > 0 in R^d of a law exp(-V(|x|)): its density is r^{d-1} e^{-V(r)}.

    Parameters
    ----------
    target : Target
        The profile: -V(r) is its log-density. It is evaluated at r > 0 only.
    space : int
        d, so that the density is r^{d-1} times that of the profile.

    Examples
    --------
    The radius of a standard Gaussian in R^3 has the mean 2 (2/pi)^{1/2} = 1.5957...:

    >>> import wfr_pde as wfr
    >>> from wfr_pde.targets.radial import Radius
    >>> round(Radius(wfr.Gaussian(0, 1), 3).table.mean(lambda r: r), 9)
    1.595769122
    """

    target: Target
    space: int

    ndim = 1

    __repr__ = call_repr

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return (d - 1) log r - V(r) at points (..., 1), shape (...); -inf for r <= 0."""
        r = self.as_points(points)
        inside = (r.real > 0)[..., 0]
        safe = np.where(r.real > 0, r, 1.0)
        values = (self.space - 1) * np.log(safe[..., 0]) + self.target.log_density(safe)
        return np.where(inside, values, -np.inf)

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return (d - 1)/r - V'(r) at points (..., 1), shape (..., 1); NaN for r <= 0."""
        r = self.as_points(points)
        safe = np.where(r > 0, r, 1.0)
        return np.where(r > 0, (self.space - 1) / safe + self.target.score(safe), np.nan)

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return those of the profile, and the wall at zero."""
        corners = box_of("(lower, upper)", (lower, upper), 1)
        found = self.target.breaks(np.maximum(corners[0], 0.0), np.maximum(corners[1], 1e-300))
        return Breaks((np.concatenate([[0.0], found.places[0]]),), found.elsewhere).inside(*corners)

    @cached_property
    def table(self) -> RadiusTable:
        """Integrals of the density, panel by panel."""
        return RadiusTable.of(self)


@dataclass(frozen=True, eq=False)
class RadiusTable:
    """Distribution function of a radius at the edges of panels, and Gauss's points in these.

    Attributes
    ----------
    edges : array (p + 1,)
        Of the panels.
    nodes, weights : arrays (p, n)
        Gauss's points, and their shares of the mass.
    log_mass : float
        Log of the integral.
    """

    edges: Array
    nodes: Array
    weights: Array
    log_mass: float

    @classmethod
    def of(cls, law: Radius) -> RadiusTable:
        """Make the table of a law on its box; breaks are edges."""
        lower, upper = (float(corner[0]) for corner in law.box(FAR))
        edges = np.linspace(max(lower, 0.0), upper, PANELS + 1)
        edges = np.union1d(edges, law.breaks([lower], [upper]).places[0])
        at, weights = gauss(NODES)
        widths = np.diff(edges)[:, None]
        nodes = edges[:-1, None] + widths * at
        logs = law.log_density(nodes[..., None]) + np.log(widths * weights)
        largest = float(logs.max())
        shares = np.exp(logs - largest)
        total = float(shares.sum())
        return cls(edges, nodes, shares / total, largest + math.log(total))

    def mean(self, function: Any) -> float:
        """Integrate a function of r."""
        return float(np.sum(self.weights * function(self.nodes)))

    def inverse(self, shares: Array) -> Array:
        """Return the radii below which given shares of the mass are: a monotone cubic in every panel."""
        from scipy.interpolate import PchipInterpolator

        distribution = np.concatenate([[0.0], np.cumsum(self.weights.sum(axis=1))])
        rises = np.concatenate([[True], np.diff(distribution) > 0])
        known = PchipInterpolator(distribution[rises] / distribution[-1], self.edges[rises])
        return np.asarray(known(shares))


def _potential(profile: Any) -> Potential:
    """Return a function or an expression as a potential on the line, with errors that name the argument."""
    try:
        return Potential(profile) if isinstance(profile, str) else Potential(profile, ndim=1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"profile: {error}") from None


def _norm(points: Array) -> Array:
    """Return r (..., 1) of points (..., d); complex ones are allowed, for derivatives by complex steps."""
    return np.sqrt(np.sum(points**2, axis=-1, keepdims=True))
