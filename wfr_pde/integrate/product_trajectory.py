"""The law of a flow in any dimension, from those of its factors, as a function of place and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows.base import checked_rate
from wfr_pde.integrate.factor_targets import factor_targets
from wfr_pde.integrate.gaussian_trajectory import GaussianTrajectory
from wfr_pde.integrate.product_entries import by_time, checked_times, entries_of, marginal_of
from wfr_pde.integrate.product_modes import product_mode_masses
from wfr_pde.integrate.radial_trajectory import RadialTrajectory
from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.integrate.trajectory_points import groups
from wfr_pde.integrate.truth_protocol import StatedProblem
from wfr_pde.numerics.arguments import instance, number, real_array, shown
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.density import Density
from wfr_pde.space.frame import Frame
from wfr_pde.space.product_law import ProductLaw, table_of_factors
from wfr_pde.targets.arguments import dimension_in_words
from wfr_pde.targets.base import Target
from wfr_pde.targets.from_text import stored_distribution
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.product import Product
from wfr_pde.targets.turned import checked_frame

if TYPE_CHECKING:
    import xarray as xr

GAUSSIAN = ("mean", "covariance", "error_l1")  # variables of a Gaussian node
SLACK = 1e-12  # by which times may be outside the run, relative
LOOKS = 64  # draws from the last law at which the split of a target is looked at
SEED = 0  # of these draws
POINTWISE = 4.0  # times the L1 error of what is neglected between factors: a log-density far out sees that much of it
KEPT = 16  # laws, so that a comparison makes each of them once

Path = Trajectory | GaussianTrajectory | RadialTrajectory


@dataclass(frozen=True, eq=False)
class ProductTrajectory(Record):
    """Law of a run in any dimension whose blocks of coordinates are independent: a `Truth`.

    `ground_truth` of a `Product` returns an `xarray.DataTree`, and `Trajectory(tree)` this: x = shift + Q y, the blocks
    of y follow flows of their own. Each block is a run on a grid, interpolated as `Trajectory` does; a Gaussian, which
    between its save times follows the closed form of the flow; or a law that depends on the distance from the origin
    only, by the run of that distance. log-densities and their errors are sums over the blocks; with L1 errors e_i of
    the blocks, that of the whole is at most 2 (1 - prod(1 - e_i/2)).

    Points x have shape (..., d). A time t is a number or an array that broadcasts with the shape (...) of the points.
    Times outside the run are refused; places outside the box of a factor have a log-density of -inf.

    Parameters
    ----------
    tree : xarray.DataTree
        What `ground_truth` returned of a target that splits.
    target : Target, optional
        pi, needed by `velocity` and `growth`; with it errors between save times are bounds, and smaller. It must split
        into the blocks of the run.
    transport_rate, reaction_rate : float, optional
        alpha, beta; by default those of the attributes.

    Raises
    ------
    ValueError, TypeError
        If the tree holds no factors, or the target does not fit.

    Examples
    --------
    A tree by hand: two equal factors on a line beside a Gaussian in eighteen dimensions, from N(1, 1) to N(0, 1) each,
    so that the means are exp(-2 t):

    >>> import json
    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> import xarray as xr
    >>> t, target, start = [0.0, 0.1, 0.2], wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0)
    >>> line = wfr.ground_truth(target, start, t, rtol=1e-6)
    >>> rest = {"mean": (("t", "i"), np.exp(-2 * np.outer(t, np.ones(18)))), "error_l1": ("t", np.zeros(3)),
    ...         "covariance": (("t", "i", "j"), np.tile(np.eye(18), (3, 1, 1)))}
    >>> kinds = [("factor_0", "grid", 1), ("factor_0", "grid", 1), ("factor_1", "gaussian", 18)]
    >>> factors = json.dumps([dict(zip(("node", "kind", "ndim"), kind)) for kind in kinds])
    >>> tree = xr.DataTree.from_dict({"factor_0": line, "factor_1": xr.Dataset(rest, {"t": t})})
    >>> tree.attrs |= {"factors": factors, "transport_rate": 1.0, "reaction_rate": 1.0}
    >>> path = wfr.Trajectory(tree, wfr.Product([target, target, wfr.Gaussian(np.zeros(18), 1.0)]))
    >>> path.ndim, path.mean(0.15)[[0, 1, 19]].round(4), bool(path.error_l1(0.15) < 1e-5)
    (20, array([0.7408, 0.7408, 0.7408]), True)
    """

    tree: xr.DataTree = field(repr=False)
    target: Target | None = None
    transport_rate: float | None = None
    reaction_rate: float | None = None
    times: Array = field(init=False, repr=False, compare=False)
    frame: Frame = field(init=False, repr=False, compare=False)
    _entries: list[dict[str, Any]] = field(init=False, repr=False, compare=False)
    _paths: dict[str, Path] = field(init=False, repr=False, compare=False)
    _laws: dict[float, ProductLaw] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_entries", entries_of(self.tree))
        d = self.ndim
        rotation = self.tree["rotation"].values if "rotation" in self.tree else np.eye(d)
        shift = self.tree["shift"].values if "shift" in self.tree else np.zeros(d)
        object.__setattr__(self, "frame", Frame(*checked_frame(rotation, shift, d, "shift"), "the axes of the blocks"))
        for name, what in (("transport_rate", "the transport"), ("reaction_rate", "the reaction")):
            rate = self.tree.attrs.get(name) if getattr(self, name) is None else getattr(self, name)
            object.__setattr__(self, name, None if rate is None else checked_rate(rate, what, name))
        nodes = {entry["node"]: entry for entry in self._entries}
        times = [np.asarray(self._node(node)["t"].values, dtype=np.float64) for node in nodes]
        if any(not np.array_equal(times[0], other) for other in times[1:]):
            raise ValueError("the factors of a product must have the same times: give tree as ground_truth returns it")
        object.__setattr__(self, "times", times[0])
        if self.target is not None:
            instance("target", self.target, Target, "such as Product([DoubleWell(5), Gaussian(0, 1)])")
            if self.target.ndim != d:
                raise ValueError(f"the target is {dimension_in_words(self.target)}, but the run is {d}-dimensional")
        object.__setattr__(self, "_paths", {node: self._path(entry, None) for node, entry in nodes.items()})
        known = self._factor_targets()
        if known:
            paths = {node: self._path(entry, known[node]) for node, entry in nodes.items()}
            object.__setattr__(self, "_paths", paths)

    def _factor_targets(self) -> dict[str, Any]:
        """Return the target of every node; of the Gaussian ones alone where the run says it, and nobody gave it."""
        target = self.problem.target
        if target is None:
            return {}
        kinds = [(entry["kind"], entry["ndim"]) for entry in self._entries]
        draws = self.frame.inner(self.sample(LOOKS, float(self.times[-1]), SEED))
        try:
            found = factor_targets(target, self.frame, kinds, draws)
        except ValueError:
            if self.target is not None:
                raise
            return {}
        object.__setattr__(self, "_laws", {})
        chosen = [
            one if self.target is not None or kind == "gaussian" else None
            for one, (kind, _) in zip(found, kinds, strict=True)
        ]
        return {entry["node"]: one for entry, one in zip(self._entries, chosen, strict=True)}

    def _path(self, entry: dict[str, Any], target: Any) -> Path:
        """Make the path of a factor."""
        ds = self._node(entry["node"])
        alpha, beta = self.transport_rate, self.reaction_rate
        if entry["kind"] == "gaussian":
            mean, covariance, errors = (ds[name].values.astype(np.float64) for name in GAUSSIAN)
            rates = None if alpha is None or beta is None else (alpha, beta)
            if target is None and "target_mean" in ds:  # what the run was made with
                target = Gaussian(ds["target_mean"].values, ds["target_covariance"].values)
            return GaussianTrajectory(self.times, mean, covariance, errors, target, rates)
        path: Trajectory = Trajectory(ds, target, alpha, beta)
        return path if entry["kind"] == "grid" else RadialTrajectory(path, entry["ndim"])

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return sum(entry["ndim"] for entry in self._entries)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """Places of the factors among the coordinates y."""
        ends = np.cumsum([0, *(entry["ndim"] for entry in self._entries)]).tolist()
        return tuple(map(slice, ends[:-1], ends[1:]))

    @property
    def factors(self) -> list[Path]:
        """The paths of the blocks, in their order; equal blocks have the same."""
        return [self._paths[entry["node"]] for entry in self._entries]

    @cached_property
    def problem(self) -> StatedProblem:
        """What is known of the flow: the target as given, or else as the run names it; the start that it names."""
        target = self._stored("energy") if self.target is None else self.target
        return StatedProblem(target, self._stored("start"), self.transport_rate, self.reaction_rate)

    def _stored(self, attribute: str) -> Target | None:
        """Return the distribution that the run names, of the whole or factor by factor; None where no text says it."""
        try:
            return stored_distribution(self.tree, attribute)
        except ValueError:
            pass
        try:
            found = {node: stored_distribution(self._node(node), attribute) for node in self._nodes}
        except ValueError:
            return None
        factors = [found[entry["node"]] for entry in self._entries]
        if any(factor.ndim != entry["ndim"] for factor, entry in zip(factors, self._entries, strict=True)):
            return None  # of a radial factor its run says the law of the radius
        return Product(factors, self.frame.rotation, self.frame.centre)

    def _node(self, name: str) -> xr.Dataset:
        """Return the Dataset of a factor."""
        node: Any = self.tree[name]
        found: xr.Dataset = node.to_dataset()  # with the times, which the root may hold for all
        return found

    @property
    def _nodes(self) -> list[str]:
        """Names of the different nodes."""
        return list(dict.fromkeys(entry["node"] for entry in self._entries))

    def _repr_html_(self) -> str:
        """Return the table of the factors, which notebooks show."""
        return table_of_factors(*self._table())

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return heads and rows of the table of factors, a row for every different one."""
        last = float(self.times[-1])
        rows: list[tuple[str, ...]] = []
        for node in self._nodes:
            own = [(e, b) for e, b in zip(self._entries, self.blocks, strict=True) if e["node"] == node]
            places = ", ".join(str(b.start) if e["ndim"] == 1 else f"{b.start}–{b.stop - 1}" for e, b in own)
            entry, error = own[0][0], float(self._paths[node].error_l1(last))
            ds = self._node(node)
            kl = f"{float(ds['kl'].values[-1]):.3g}" if "kl" in ds else "–"
            rows.append((node, str(entry["kind"]), str(entry["ndim"]), places, f"{error:.2g}", kl))
        heads = ("node", "kind", "dimensions", "coordinates of y", f"L1 error at t={last:g}", "KL")
        return heads, rows

    # The law

    def at(self, t: float) -> ProductLaw:
        """Return the law at a time.

        Where a factor was computed on turned axes, the coordinates y of the law are those of the grids.

        Parameters
        ----------
        t : float
            A time of the run.

        Returns
        -------
        ProductLaw
        """
        time = number("t", t)
        if time not in self._laws:
            if len(self._laws) >= KEPT:
                del self._laws[next(iter(self._laws))]
            self._laws[time] = self._law(time)
        return self._laws[time]

    def _law(self, t: float) -> ProductLaw:
        laws = {node: path._at(t) if isinstance(path, Trajectory) else path.at(t) for node, path in self._paths.items()}
        rotation, shift = np.eye(self.ndim), np.zeros(self.ndim)
        for path, block in zip(self.factors, self.blocks, strict=True):
            if isinstance(path, Trajectory):
                rotation[block, block], shift[block] = path.frame.rotation, path.frame.centre
        factors = [laws[entry["node"]] for entry in self._entries]
        return ProductLaw(factors, self.frame.rotation @ rotation, self.frame.outer(shift))

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate log mu_t(x); -inf outside the boxes of the factors.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)
        """
        return np.asarray(sum(self._parts(x, lambda path, y: path.log_prob(y, t))))[()]

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the gradient of log mu_t at x; NaN outside the boxes of the factors.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d)
        """
        scores = self._parts(x, lambda path, y: path.score(y, t))
        return self.frame.outer_vectors(np.concatenate(scores, axis=-1))

    def velocity(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the transport velocity -alpha grad log(mu_t/pi) at x; NaN outside the boxes of the factors.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d)

        Raises
        ------
        ValueError
            Without the target or the transport rate.
        """
        if self.target is None or self.transport_rate is None:
            raise ValueError("velocity needs the target and the transport rate: Trajectory(tree, target)")
        score = self.score(x, t)
        points = np.broadcast_to(real_array("x", x), score.shape).reshape(-1, self.ndim)
        of_target = np.empty(points.shape)
        times = np.broadcast_to(real_array("t", t), score.shape[:-1]).ravel()
        for time, where in groups(times) if self.target.moving else ((0.0, slice(None)),):
            of_target[where] = self.target.at(float(time)).score(points[where])
        return np.asarray(self.transport_rate * (of_target.reshape(score.shape) - score))

    def growth(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate the reaction rate -beta (g - E g), g = log(mu_t/pi), at x: the sum of those of the factors.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)

        Raises
        ------
        ValueError
            Without the target or the reaction rate.
        """
        if self.target is None or self.reaction_rate is None:
            raise ValueError("growth needs the target and the reaction rate: Trajectory(tree, target)")
        return np.asarray(sum(self._parts(x, lambda path, y: path.growth(y, t))))[()]

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """Draw independent points from mu_t.

        Parameters
        ----------
        n : int
            Number of points.
        t : float
            A time of the run.
        rng : int or numpy Generator, optional
            A seed, or what draws; by default another one every time.

        Returns
        -------
        array (n, d)
        """
        return self.at(t).sample(n, rng)

    def mean(self, t: ArrayLike) -> Array:
        """Compute the mean of mu_t.

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d)
        """
        return self._over_times(t, ProductLaw.mean)

    def covariance(self, t: ArrayLike) -> Array:
        """Compute the covariance matrix of mu_t.

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., d, d)
        """
        return self._over_times(t, ProductLaw.covariance)

    def mode_masses(self, centres: ArrayLike, t: ArrayLike) -> Array:
        """Compute the masses of mu_t nearest to each of some centres, exactly from the factors.

        Parameters
        ----------
        centres : array (k, d)
            All combinations of centres of the blocks: else the parts nearest to each are no products.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (..., k)

        Raises
        ------
        ValueError
            If the centres are no combinations, or do not lie on a line in a Gaussian or radial block.
        """
        places = real_array("centres", centres)
        if places.ndim != 2 or not np.isfinite(places).all():
            raise ValueError(f"centres must be finite and have shape (k, {self.ndim}), got {shown(centres)}")
        return self._over_times(t, lambda law: product_mode_masses(law, places))

    def marginal(self, coordinates: int | Sequence[int], t: float) -> Density | Gaussian:
        """Compute the law of some coordinates of one factor at a time: of y, which are those of x but for a rotation.

        Parameters
        ----------
        coordinates : int, or sequence of int
            Numbers of coordinates of y, increasing, all of one factor; of a radial factor a single one.
        t : float
            A time of the run.

        Returns
        -------
        Density or Gaussian

        Raises
        ------
        ValueError
            If they are not coordinates of one factor.
        """
        return marginal_of(self.at(t), coordinates)

    # Errors

    @property
    def kl(self) -> Array:
        """KL(mu_t | pi) at the save times (t,), as the run stored it: the sum over the factors."""
        if "kl" not in self.tree:
            raise ValueError("this run says no kl: give tree as ground_truth returns it")
        return np.asarray(self.tree["kl"].values, dtype=np.float64)

    def error_l1(self, t: ArrayLike) -> Any:
        """Bound the L1 error of the law `at` times: 2 (1 - prod(1 - e_i/2)) of those of the factors.

        What the run states besides, as the rounding of its rotation, is added.

        Without the target it is an estimate between save times.

        Parameters
        ----------
        t : float or array (...)
            Times of the run.

        Returns
        -------
        float, or array (...)
        """
        times = checked_times(t)
        result = np.empty(times.size)
        for i, time in enumerate(times.ravel().tolist()):
            self._check_time(time)
            result[i] = self._combined(time) + self._beside(time)
        return np.minimum(result, 2.0).reshape(times.shape)[()]

    def log_prob_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate the error of `log_prob` at x, in nats: sums over the factors, and what they lack; or infinite.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)
        """
        found = np.asarray(sum(self._parts(x, lambda path, y: _pointwise(path, y, t, 0))))
        return (found + POINTWISE * by_time(t, self._beside))[()]

    def score_error(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Estimate the length of the error of `score` at x; infinite where unknown.

        Parameters
        ----------
        x : array (..., d)
            Points, in the units of the target.
        t : float or array (...)
            Times of the run.

        Returns
        -------
        array (...)
        """
        found = np.sqrt(sum(error**2 for error in self._parts(x, lambda path, y: _pointwise(path, y, t, 1))))
        if not self._besides.any():
            return found
        lengths = np.nan_to_num(np.linalg.norm(self.score(x, t), axis=-1)) + by_time(t, self._steepest)
        return found + POINTWISE * by_time(t, self._beside) * lengths

    # What is needed for it

    def _combined(self, t: float) -> float:
        """Return the bound of the L1 error that those of the factors make."""
        errors = {node: float(path.error_l1(t)) for node, path in self._paths.items()}
        shares = np.array([errors[entry["node"]] / 2 for entry in self._entries])
        return float(-2 * np.expm1(np.log1p(-np.minimum(shares, 1 - 1e-16)).sum()))

    def _beside(self, t: float) -> float:
        """Return the L1 error that the run states at a time, or around it, beyond those of the factors."""
        after = min(int(np.searchsorted(self.times, t)), len(self.times) - 1)
        return float(self._besides[after if t in self.times else slice(max(after - 1, 0), after + 1)].max())

    def _steepest(self, t: float) -> float:
        """Return the score at one standard deviation along the narrowest axis of the law at a time."""
        return float(np.linalg.eigvalsh(self.at(t).covariance())[0] ** -0.5)

    @cached_property
    def _besides(self) -> Array:
        """L1 errors (t,) that the run states at its save times, beyond those of the factors."""
        if "error_l1" not in self.tree:
            return np.zeros(len(self.times))
        own = np.array([self._combined(time) for time in self.times.tolist()])
        return np.maximum(np.asarray(self.tree["error_l1"].values, dtype=np.float64) - own, 0.0)

    def _parts(self, x: ArrayLike, function: Any) -> list[Array]:
        """Evaluate a function of the paths of the factors and of their parts of points."""
        points = real_array("x", x)
        if points.ndim == 0 or points.shape[-1] != self.ndim:
            raise ValueError(
                f"x has shape {points.shape}, but the run is {self.ndim}-dimensional: the last axis must have length "
                f"{self.ndim}"
            )
        y = self.frame.inner(points)
        return [function(path, y[..., block]) for path, block in zip(self.factors, self.blocks, strict=True)]

    def _over_times(self, t: ArrayLike, function: Any) -> Array:
        times = checked_times(t)
        values = np.array([function(self.at(time)) for time in times.ravel().tolist()])
        return values.reshape(*times.shape, *values.shape[1:])

    def _check_time(self, t: float) -> None:
        """Refuse a time outside the run."""
        first, last = float(self.times[0]), float(self.times[-1])
        if not first - SLACK * abs(first) <= t <= last * (1 + SLACK):
            raise ValueError(f"t={t:.6g} is outside the run, which has times from {first:.6g} to {last:.6g}")


def _pointwise(path: Path, y: Array, t: ArrayLike, order: int) -> Array:
    """Return the errors of log mu (0) or its gradient (1) of one factor."""
    if isinstance(path, Trajectory):
        return path.log_prob_error(y, t) if order == 0 else path.score_error(y, t)
    return path.pointwise(y, t, order)
