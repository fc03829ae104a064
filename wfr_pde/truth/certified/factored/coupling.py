"""How far a decoupled flow is from that towards a target with a weak coupling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import checked_rate
from wfr_pde.integrate.truth_arguments import as_truth
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.arguments import function, generator, knows_its_arguments, real_array, shown, whole
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.space.density import Density
from wfr_pde.targets.base import Target, at_rest
from wfr_pde.truth.certified.factored.ancestors import Ancestry, Scales, time_nodes
from wfr_pde.truth.certified.factored.coupled_targets import Coupling, Tilt
from wfr_pde.truth.certified.factored.coupling_limits import (
    DEVIATIONS,
    UNKNOWN,
    Found,
    choose_shares,
    first_order,
    limit,
)

if TYPE_CHECKING:
    import xarray as xr

SHARES_OF_SCALES = (0.5, 0.25, 0.125, 0.0625)  # steps over scales in time, tried one after the other
STEP_ERROR = 0.03  # of the bound that steps may take: else they are halved
FEWEST = 64  # draws
PILOT = 4  # times fewer draws choose what the bound is made with
TILT_TIMES, TILT_DRAWS = 12, 400  # at which, and by which, the rate of the transport for c is found
SCALE_DRAWS = 40  # places at which curvatures are looked at


@dataclass(frozen=True)
class Draws:
    """How many draws: `points` of the law, `replicas` paths from each, and the generator."""

    points: int
    replicas: int
    rng: np.random.Generator


@knows_its_arguments
def coupling_error(
    truth: Truth | xr.Dataset,
    near: Target,
    target: Target,
    t: ArrayLike | None = None,
    transport_rate: float = 1.0,
    reaction_rate: float = 1.0,
    *,
    laplacian: Callable[[Array], ArrayLike] | None = None,
    directions: ArrayLike | None = None,
    n: int = 1000,
    replicas: int = 8,
    rng: Rng = 0,
) -> xr.Dataset:
    """Bound the L1 distance between the flow towards `target` and a decoupled one, from the same start.

    The decoupled law mu~ is the flow towards a near target pi~, such as a product beside a weak coupling.
    With c = log(pi~/pi), and theta(t) from 0 towards 1, m = mu~ exp(-theta c) leaves in the equation of the flow to
    pi a residual r that is small: zero for reaction alone, and at rest. The ancestors of the mass, paths X of the
    reversed flow, collect ∫ exp(-beta (t - s)) r_s(X_s) ds, of which means of exponentials bound the distance, in all
    orders of r. Means are over draws: what is stated is a limit of confidence of four standard errors, and what
    halving the steps of the paths changes. What the truth itself is off by (`truth.error_l1`) comes on top.

    Parameters
    ----------
    truth : Truth, or Dataset of ground_truth
        mu~, with `score` and `sample` at all times from 0 on.
    near, target : Target
        pi~ and pi, in d dimensions.
    t : array (n_t,), optional
        Times >= 0 since the start; those of the truth by default.
    transport_rate, reaction_rate : float
        alpha, beta >= 0, those of the truth.
    laplacian : function, optional
        Points (n, d) -> Laplacian of log(pi~/pi) (n,). Without it: exact for two Gaussians; else by differences of
        scores along up to 12 directions, or by random signs, which makes the bound larger, not wrong.
    directions : array (k, d), optional
        Orthonormal directions outside whose span log(pi~/pi) does not change.
    n, replicas : int
        Draws of mu~ per time, and paths from each.
    rng : int or numpy Generator, optional
        Seed or generator.

    Returns
    -------
    xarray.Dataset
        Over t: `error_l1_coupling`, the bound, 2 where draws do not tell it, or paths take more than 4096 steps;
        `coupling_l1`, an estimate, no bound: the same to first order; `coupling_l1_standard_error`, by the draws.

    Raises
    ------
    ValueError
        If times, rates or shapes are not as above.
    TypeError
        If an argument is of the wrong kind.
    NumericalError
        If the truth has no score at a draw.

    References
    ----------
    docs/design/truth.md, "A weak coupling", derives it.

    Examples
    --------
    Two coordinates of variance one with a correlation of 0.02, from N(0, 1/4). The distance is 0.011 at t = 1:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> near, start = wfr.Gaussian([0, 0], 1.0), wfr.Gaussian([0, 0], 0.25)
    >>> target = wfr.Gaussian([0, 0], [[1, 0.02], [0.02, 1]])
    >>> class Decoupled:
    ...     times = np.array([0.0, 1.0])
    ...     def score(self, x, t):
    ...         return wfr.exact.gaussian_flow(near, start, t).score(x)
    ...     def sample(self, n, t, rng):
    ...         return wfr.exact.gaussian_flow(near, start, t).sample(n, rng)
    >>> found = wfr.coupling_error(Decoupled(), near, target, [0.0, 1.0], n=500)
    >>> found["error_l1_coupling"].values.round(3)
    array([0.   , 0.013])
    """
    targets, rates, truth = _targets(near, target), _rates(transport_rate, reaction_rate), _truth(truth)
    times = _times(truth.times if t is None else t)
    draws = Draws(whole("n", n, FEWEST), whole("replicas", replicas, 1), generator(rng))
    along = _laplacian(laplacian), _directions(directions, target.ndim)
    end = float(times.max())
    if end == 0 or rates == (0.0, 0.0):
        return _dataset(times, np.zeros((len(times), 3)), draws)
    sharpest = _sharpest_of(truth, targets[1], end, draws.rng)
    coupling = Coupling(*targets, *along, sharpest[1] ** -0.5, draws.rng)
    tilt = _tilt(truth, coupling, end, rates, draws.rng)
    ancestry = Ancestry(truth, coupling, tilt, *rates)
    scales = _scales(sharpest, rates, tilt)
    rows = [_at(ancestry, float(time), scales, draws) for time in times]
    return _dataset(times, np.array(rows), draws)


def _truth(truth: Any) -> Truth:
    """Return a truth as it is, if it has what is asked of it here; a Dataset as a `Trajectory`, or an error."""
    asked = (getattr(truth, name, None) for name in ("score", "sample"))
    if isinstance(truth, Target | Density) or not all(map(callable, asked)):
        return as_truth(truth)
    found: Truth = truth
    return found


def _targets(near: Target, target: Target) -> tuple[Target, Target]:
    """Return both targets, after a check that they are at rest and of one dimension."""
    at_rest("near", near), at_rest("target", target)
    if near.ndim != target.ndim:
        raise ValueError(
            f"near is {near.ndim}-dimensional, but target is {target.ndim}-dimensional: they must have one dimension"
        )
    return near, target


def _rates(transport_rate: float, reaction_rate: float) -> tuple[float, float]:
    """Return both rates, checked."""
    alpha = checked_rate(transport_rate, "the transport", "transport_rate")
    return alpha, checked_rate(reaction_rate, "the reaction", "reaction_rate")


def _times(t: ArrayLike) -> Array:
    """Return the times (n_t,), checked."""
    times = real_array("t", t)
    if times.ndim != 1 or len(times) == 0:
        raise ValueError(f"t must be an array (n_t,) of times, got {shown(t)}: a law at rest has none of its own")
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise ValueError(f"t must be times >= 0 since the start, got {shown(t)}")
    return times


def _laplacian(given: Callable[[Array], ArrayLike] | None) -> Callable[[Array], ArrayLike] | None:
    """Return the Laplacian of the coupling, checked."""
    return None if given is None else function("laplacian", given, "points (n, d) -> (n,)")


def _directions(given: ArrayLike | None, ndim: int) -> Array | None:
    """Return the directions (k, d), after a check that they are orthonormal."""
    if given is None:
        return None
    directions = real_array("directions", given)
    if directions.ndim != 2 or directions.shape[1] != ndim:
        raise ValueError(f"directions must have shape (k, {ndim}), a direction per row, got shape {directions.shape}")
    off = float(np.abs(directions @ directions.T - np.eye(len(directions))).max())
    if not off < 1e-8:
        raise ValueError(
            f"directions must be orthonormal, but products of rows are off by {off:.2g}: take numpy.linalg.qr of them"
        )
    return directions


def _sharpest_of(truth: Truth, target: Target, end: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the largest curvatures of log mu_0, and of log pi where the mass is."""
    x, later = (truth.sample(SCALE_DRAWS, t, rng) for t in (0.0, end))
    at_start = _sharpest(lambda places: truth.score(places, 0.0), x)
    return at_start, max(_sharpest(target.score, x), _sharpest(target.score, later))


def _sharpest(score: Callable[[Array], Array], x: Array) -> float:
    """Return the largest curvature of a log-density, a median over places, by differences of its score."""
    step = 1e-4 * float(x.std(axis=0).min())
    matrices = [(score(x + step * axis) - score(x - step * axis)) / (2 * step) for axis in np.eye(x.shape[1])]
    norms = np.linalg.norm(np.moveaxis(np.array(matrices), 0, 1), ord=2, axis=(1, 2))
    if not np.isfinite(norms).any():
        raise NumericalError("scores are not finite where the law has its draws: look at score(x, t) of the truth")
    return float(np.nanmedian(norms)) + 1e-300


def _scales(sharpest: tuple[float, float], rates: tuple[float, float], tilt: Tilt) -> Scales:
    """Return the times in which the flow changes."""
    alpha, beta = (np.float64(rate) for rate in rates)
    with np.errstate(divide="ignore"):
        fastest = max(2 * alpha * sharpest[0], float(tilt.rates.max()))
        return Scales(float(1 / fastest), float(1 / (alpha * sharpest[1])), float(1 / beta))


def _tilt(truth: Truth, coupling: Coupling, end: float, rates: tuple[float, float], rng: np.random.Generator) -> Tilt:
    """Return a path of theta that takes the reaction exactly, and the transport by Rayleigh's quotient of c."""
    alpha, beta = rates
    times = end * np.concatenate([[0.0], np.geomspace(1e-3, 1.0, TILT_TIMES)])
    found = []
    for t in times.tolist():
        x = truth.sample(TILT_DRAWS, t, rng)
        values, gradients = coupling.value(x), coupling.gradient(x)
        if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
            raise NumericalError(
                f"log(near/target) or its gradient is not finite at a draw from the truth at t={t:g}: the target must "
                "have a density, and a score, wherever the decoupled law has mass"
            )
        slope, variance = float(np.mean(np.sum(gradients**2, axis=-1))), float(np.var(values))
        found.append(slope / variance if variance > 0 else 0.0)
    return Tilt(times, beta + alpha * np.array(found))


def _at(ancestry: Ancestry, end: float, scales: Scales, draws: Draws) -> tuple[float, float, float]:
    """Return bound, estimate and its standard error at one time."""
    if end == 0:
        return 0.0, 0.0, 0.0
    row = (UNKNOWN, UNKNOWN, UNKNOWN)
    for share in SHARES_OF_SCALES:
        try:
            pilot, main = _runs(ancestry, time_nodes(end, scales, share), draws)
        except NumericalError:
            continue
        bound, by_steps = _bound(pilot, main)
        row = (bound, *first_order(main[0]))  # the last, not the least: draws are not chosen by what they say
        if by_steps <= STEP_ERROR * bound:
            break
    return row


def _runs(ancestry: Ancestry, nodes: Array, draws: Draws) -> list[list[Found]]:
    """Return what a few draws, by which choices are made, and the others found: by steps, and by longer ones."""
    end, coupling = float(nodes[-1]), ancestry.coupling
    theta, constant = ancestry.tilt.at(end)[0], 0.0
    runs: list[list[Found]] = []
    for count in (max(FEWEST, draws.points // PILOT), draws.points):
        x = ancestry.truth.sample(count, end, draws.rng)
        met = ancestry.met(x, nodes, draws.replicas, draws.rng)
        tilts = theta * coupling.value(x)
        constant = constant if runs else float(tilts.mean())
        known = met.amplified, ancestry.reaction_rate > 0, coupling.is_probed
        runs.append([Found(tilts - constant, constant, integrals, *known) for integrals in (met.fine, met.coarse)])
    return runs


def _bound(pilot: list[Found], main: list[Found]) -> tuple[float, float]:
    """Return the bound, at most 2, and the part of the steps in it."""
    shares = choose_shares(pilot[0])
    if shares is not None and not np.isfinite(limit(main[0], shares)[0]):
        shares = None
    if shares is None and pilot[0].has_reaction:
        return UNKNOWN, 0.0
    (fine, doubt), (coarse, _) = limit(main[0], shares), limit(main[1], shares)
    by_steps = abs(fine - coarse)
    bound = fine + DEVIATIONS * doubt + by_steps
    return (bound, by_steps) if bound < UNKNOWN else (UNKNOWN, 0.0)


def _dataset(times: Array, rows: Array, draws: Draws) -> xr.Dataset:
    """Return the results over the times."""
    import xarray as xr

    words = (
        ("error_l1_coupling", "bound of the L1 distance by the coupling"),
        ("coupling_l1", "estimate of first order of the L1 distance by the coupling"),
        ("coupling_l1_standard_error", "standard error of coupling_l1"),
    )
    variables = {name: ("t", rows[:, k], {"long_name": words_}) for k, (name, words_) in enumerate(words)}
    attributes = {"draws": draws.points, "replicas": draws.replicas, "standard_errors_in_the_bound": DEVIATIONS}
    return xr.Dataset(variables, {"t": times}, attributes)
