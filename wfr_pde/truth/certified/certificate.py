"""Certified solutions: the problem and a tolerance in, the density with an error bar out."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.deadline import OutOfTimeError, deadline
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import checked_rate
from wfr_pde.integrate.time_loop import save_times
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage import files as storage
from wfr_pde.storage.source_hash import source_hash
from wfr_pde.truth.certified.attempt import PARTS, RATIOS, SAFETY, Attempt
from wfr_pde.truth.certified.budget import Work
from wfr_pde.truth.certified.evidence.residual import Look, Substitution
from wfr_pde.truth.certified.frame_blocks import blocks, cell_axes, log_equilibria, spread
from wfr_pde.truth.certified.grids.first_grids import Terrain, first_terrain, terrain_in
from wfr_pde.truth.certified.grids.grid_family import Cells
from wfr_pde.truth.certified.preparation.input_checks import coordinate_rounding, potential_rounding
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain
from wfr_pde.truth.certified.step_schedule import StepSchedule, trial_schedule
from wfr_pde.truth.certified.time_breaks import breaks

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.targets.base import Target

Array = np.ndarray[Any, np.dtype[np.float64]]

ORDERS = (8, 6, 4)  # in dt: the next where extrapolation diverges with every number of steps
ORDER_FROM = (1e-4, 1e-7, 0.0)  # least rtol from which on one begins with order 4, 6, 8
TRIAL = 0.75  # cells of the trial run, over the coarsest grid
SHARES = {"time": 0.15, "space": 0.35, "witness": 0.35, "mass": 0.05, "domain": 0.1}  # of the tolerance
DIGITS = 1e-13  # of g, after a step: exponents are scaled by some hundred nats
TRIAL_ORDER, TRIAL_TOLERANCE = 4, 1e-10
PANEL_SHARE = 5.0  # what the last term may be on a panel, over the tolerance: what is beyond is far smaller
LOOSEST_PANEL = 1e-3  # whatever the tolerance
WEIGHTS = 0.998, 0.001, 0.001  # of mu, and of two densities that the reaction will make of it, in what a panel misses
CUT_FROM = 0.1  # of the panel with the largest doubt: panels that are cut with it
TIME_DOUBT = 3.0  # times what the witness says: highest terms of the polynomials in time, for which panels are cut
MORE_LOOKS, SHOWING = 3, 1.5  # times that cells are made finer where V hides something between them, and by how much
QUICKEST, TRIAL_STEPS = 2e-6, 10  # seconds per cell and step, and steps, of a trial run at least
SPACE_ORDER, LEAST_ORDER = 8.0, 1.0  # with which the largest part is taken to fall with the cells, and at least
ROUNDS = 32
IN_VAIN = 3  # attempts that improve nothing, after which there are no more
MOST_DIVERGED = 9  # refinements of the steps in all
DIVERGING = 3  # refinements of the steps before the order is lowered
GAINLESS = "by refining, as the last attempts gained nothing"
NEAR, PROBES = 40.0, 100  # nats below the top, and points, where it is watched how the target moves
WIDEN = 0.25  # of the box, on each side, where mass arrives at the walls
LONG_NAMES = {
    "time": "part of the steps",
    "space": "part of the cells",
    "witness": "part of what is left in the equation",
    "mass": "part of the mass",
    "between": "part of what lies between the cells, or of a contradiction",
    "domain": "part of the box",
    "rounding": "part of rounding",
}


def ground_truth(
    target: Target,
    start: Target,
    t: ArrayLike,
    *,
    transport_rate: float = 1.0,
    reaction_rate: float = 1.0,
    rtol: float = 1e-6,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    boundary: Any = "no-flux",
    names: Any = None,
    max_cut: float = 1e-6,
    seconds: float = 600.0,
    memory: float | None = None,
    strict: bool = True,
    cross_check: bool = False,
    turn: bool = True,
) -> xr.Dataset:
    """Density of the WFR flow at some times, with a bound of its error; everything numerical is chosen.

    d_t mu = alpha div(mu grad g) - beta mu (g - E_mu g), g = log(mu/pi).

    Finite volumes on five grids of one map, of which the four finest are extrapolated in dx to order 8; Strang steps
    between Gauss-Lobatto nodes of panels of time that a trial run finds, extrapolated in dt to order 4, 6 or 8. Kinks
    and jumps of V lie on edges of cells where they can. The bound is a sum of parts, measured in different ways:

    - time: four times the difference to a run with twice the steps, more where it grows from a grid to the next;
    - space: 3 to 15 times the distance to the extrapolation over all five grids, of order 10, if distances of the
      single grids fall as dx²; else the answer is that of the finest grid, and the part 6.5 times its distance to the
      one before, as if its error fell as the square root of dx;
    - witness: twice what the answer, put into the equation between its cells and times, is found to be off, and twice
      the share of the mass of whose past nothing is known (`witness`);
    - mass: three times what three rules of integration differ by over the cells, without signs, for the mass, which
      normalises the answer, and for KL;
    - domain: four times the difference of runs in the box and in one wider by an eighth on each side;
    - between: 2 if V does something between the cell centres that they do not show; 1e-11 for every break of V whose
      place had to be searched for; and the distance to the second family of schemes, `SinkhornKernel`, and its error,
      where it is asked and contradicts. It is asked where extrapolation does not count;
    - rounding: by the number of steps, the size of V and that of the coordinates.

    Parameters
    ----------
    target, start : Target
        The target may move, the start not. It is looked at a thousand times over the whole, and more often where it
        moves fast; a change that is over between two looks is not seen.
    t : array (n,)
        Save times, increasing; the first is the time of the start. They may be arbitrarily close.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.
    rtol : float
        Tolerance of the L1 error, in units of the mass one, at every save time: 1e-12 to 0.1.
    box : (lower, upper), optional
        A box that is part of the problem: its walls are where they are, or its period is what it is, and the error has
        no part of the domain. Where a density is a power of the distance from one of its walls, cells follow a root of
        the distance. By default a box that holds target and start, widened while mass arrives at its walls.
    boundary : {"no-flux", "periodic"} or one per axis
        A periodic axis needs `box`.
    names : sequence of str, optional
        Names of the axes.
    max_cut : float
        Share of the mass of target or start that no-flux walls of `box` may cut off: 1 where the walls are meant. Where
        nothing has a mass without the walls, as V = 0, they are.
    seconds : float
        Time budget. A run that would overrun it is not begun, or is stopped within a step.
    memory : float, optional
        Memory budget in GiB; by default what is free.
    strict : bool
        Whether a tolerance out of reach is an error; else the best is returned, with its honest error. Where the
        budgets do not allow for a single attempt, there is none, and that is an error.
    cross_check : bool
        Whether to ask the second family in any case. It has an error of its own, and the time budget once more; the L1
        distance is stored as `disagreement`, NaN at times too early for it. There is none where its cells do not show
        V, or no kernel is resolved.
    turn : bool
        Whether the axes of the grid may be the principal ones y = Q'(x - c) of target and start, where these need far
        fewer cells: then the attributes hold `rotation` (Q, row by row) and `centre` (c), the axes u, v, w of the
        Dataset are y, and `Trajectory` gives everything in x. Never where `box` is given.

    Returns
    -------
    xarray.Dataset
        In the schema of `solve`: `log_density` (t, x, ...), and over t: `error_l1`, the bound, and its parts
        `error_l1_time`, ...; `error_kl`, ...; `kl`, to the target as it is at the time; `error_l1_residual`, a bound to
        first order by the modulus of what is left in the equation (0 for reaction alone). `log_density_error`
        (t, x, ...) is an estimate of the error of `log_density`, in nats, infinite where nothing is known. The
        attribute `evidence` says in JSON what was found beside the numbers.

    Raises
    ------
    ValueError, TypeError
        For input that does not fit, as a box that cuts off mass, or a periodic axis on which target or start is not
        periodic: see the message.
    NumericalError
        If the tolerance is out of reach; the message says what stands in the way, and what is reachable. With `strict`,
        if the two families of schemes contradict each other.
    MemoryError
        If the first attempt does not fit the memory.

    Notes
    -----
    The bound is an estimate with safety factors, not a proof. Whether V hides something between the cell centres can
    be proved for expressions of one and two coordinates; other targets at rest are looked at, in many places, and
    those that move are not. Breaks of V that are no hyperplanes x_k = c lie on no edges of cells.

    What no one can certify is a mode that the box, or the places where the local scales are looked at, do not see: that
    of a black-box potential far from everything else. `support=` of the target and `box=` are how the user vouches.
    """
    problem, work = _checked(target, start, t, transport_rate, reaction_rate, rtol), _budget(seconds, memory)
    with deadline(work.left()):
        terrain = first_terrain(problem, box, boundary, names, max_cut, turn)
        problem = terrain.problem
        best, limit = _certified(problem, terrain.cells, work, box is None)
    best, limit = _shown(best, limit, terrain, work, box is None)
    if best.needs_a_second_opinion or cross_check:
        best.ask_second_family(work.seconds if cross_check else work.left())
    if best.contradicted and strict:
        raise NumericalError(_contradiction(best, save_times(t)))
    if best.largest_error > rtol and strict:
        raise NumericalError(_out_of_reach(best, rtol, limit))
    return _dataset(best, rtol, save_times(t))


def plan(
    target: Target,
    start: Target,
    t: ArrayLike,
    *,
    transport_rate: float = 1.0,
    reaction_rate: float = 1.0,
    rtol: float = 1e-6,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    boundary: Any = "no-flux",
    names: Any = None,
    max_cut: float = 1e-6,
    seconds: float = 600.0,
    memory: float | None = None,
    turn: bool = True,
) -> dict[str, Any]:
    """What the first attempt of `ground_truth` would take, by its trial run; arguments and errors as there.

    Returns
    -------
    dict
        `lower`, `upper`, `shapes` of the grids, `graded` axes, `n_steps`, `memory_bytes`, `free_bytes`, `seconds`.
    """
    problem, work = _checked(target, start, t, transport_rate, reaction_rate, rtol), _budget(seconds, memory)
    with deadline(work.left()):
        terrain = first_terrain(problem, box, boundary, names, max_cut, turn)
        problem, cells = terrain.problem, terrain.cells
        order = ORDERS[_first_order(problem)]
        attempt = Attempt(problem, cells, _schedule(problem, cells, work), 1, order, work)
        attempt.check_memory()
        work.run(problem, cells.grid(1), attempt.steps, order, problem.times)  # tells the speed
    return {
        "lower": list(attempt.grid.lower),
        "upper": list(attempt.grid.upper),
        "shapes": [list(cells.grid(ratio).shape) for ratio in RATIOS],
        "graded": [axis.name for axis in attempt.grid.axes if not axis.is_uniform],
        "n_steps": len(attempt.steps) - 1,
        "memory_bytes": attempt.needed_memory()[0],
        "free_bytes": attempt.grid.backend.available_memory(),
        "seconds": attempt.expected_seconds(),
    }


def _budget(seconds: Any, memory: Any) -> Work:
    """Time and memory that may be spent."""
    for name, value in (("seconds", seconds), ("memory", memory)):
        if value is not None and not float(value) > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    return Work(float(seconds), math.inf if memory is None else float(memory))


def _checked(target: Any, start: Any, t: Any, alpha: Any, beta: Any, rtol: Any) -> Problem:
    """The problem, if it is one."""
    from wfr_pde.targets.base import Target

    for name, distribution in (("target", target), ("start", start)):
        if not isinstance(distribution, Target):
            raise TypeError(f"{name} must be a distribution such as Gaussian(0, 1), got {distribution!r}")
    if start.moving:
        raise ValueError(f"the start moves, {start!r}: give where it is, start.at(t)")
    if target.ndim != start.ndim:
        raise ValueError(f"the target is {target.ndim}-dimensional, but the start is {start.ndim}-dimensional")
    tolerance = float(rtol)
    if not 1e-12 <= tolerance <= 0.1:
        raise ValueError(f"rtol must be between 1e-12 (rounding) and 0.1, got {rtol}")
    rates = checked_rate(alpha, "the transport"), checked_rate(beta, "the reaction")
    times = save_times(t)
    # at rest, time counts from the start, so that times that are close to it are known to all digits
    return Problem(target, start, times if target.moving else times - times[0], *rates, tolerance)


def _schedule(problem: Problem, cells: Cells, work: Work) -> StepSchedule:
    """The panels of time that the flow wants, by a trial run on few cells."""
    span = float(problem.times[0]), float(problem.times[-1])
    if problem.alpha == 0 and not problem.target.moving:
        return StepSchedule(np.array(span))
    grid = cells.finer(TRIAL).grid(1)
    expected = QUICKEST * TRIAL_STEPS * grid.size
    if expected > work.left():
        raise OutOfTimeError(
            f"a trial run alone would take about {expected:.2g} seconds on {' x '.join(map(str, grid.shape))} cells, "
            f"which is what the scales of target and start need, but of seconds={work.seconds:g} only "
            f"{max(work.left(), 0):.2g} are left: give a larger budget, or a smaller box, box="
        )
    start = Density(grid, grid.log_density(problem.start, "the start", checked=False))
    rests: Array | None = None
    if problem.target.moving:
        rests = breaks(problem.target, _where_mass_is(problem, grid), span, problem.rtol)
    elif problem.ceilings is not None:
        rests = problem.ceilings.starts[1:][problem.ceilings.starts[1:] < span[1]]
    substitution, chain = Substitution(problem, grid), RatioChain(problem, grid, TRIAL_TOLERANCE)

    def advance(g: Array, t: float, dt: float) -> Array:
        return chain.step(g, t, dt, TRIAL_ORDER)

    volumes, box = _log_volumes(substitution), (cells.lower, cells.upper)
    digits = DIGITS + coordinate_rounding(problem, *box) + potential_rounding(problem, *box)

    def look(g: Array, times: Array) -> tuple[Array, Array]:
        seen_at = times.copy()
        if problem.ceilings is not None:  # where a ceiling falls, V is what it was before
            seen_at[-1] = problem.before(float(times[-1]))
        found = []
        for block in blocks(0, len(times), grid.size):
            log_values = g[block] + log_equilibria(problem, grid, times[block])
            found.append(judged(substitution.look(log_values, seen_at[block]), times[block]))
        rates, weights = zip(*found, strict=True)
        return np.concatenate(rates), np.concatenate(weights)

    def judged(seen: Look, times: Array) -> tuple[Array, Array]:
        axes = cell_axes(grid)
        last = spread(grid, np.exp(-problem.beta * (span[1] - times)))
        # mu^s pi^(1 - s) is what the reaction makes of mu till the end
        shares = (1.0, np.maximum(last, 0.5), last)
        heights = [s * seen.log_density - (1 - s) * seen.potential + volumes for s in shares]
        weights = [np.exp(height - height.max(axis=axes, keepdims=True)) for height in heights]
        weights = [weight / weight.sum(axis=axes, keepdims=True) for weight in weights]
        rate = problem.alpha * seen.transport  # of mean zero, as mass is kept
        if problem.target.moving:
            mean = np.sum(weights[0] * seen.potential, axis=axes, keepdims=True)
            rate = rate - problem.beta * (seen.potential - mean)
        return rate, np.asarray(sum(share * weight for share, weight in zip(WEIGHTS, weights, strict=True)))

    return trial_schedule(
        advance,
        look,
        problem.log_ratio(start, span[0]),
        span,
        min(PANEL_SHARE * problem.rtol, LOOSEST_PANEL),
        rests,
        noise=problem.alpha * digits * _amplified(substitution),
    )


def _log_volumes(substitution: Substitution) -> Array:
    """Logarithms of the volumes around the places between the cells: half of those of the cells on both sides."""
    total: Any = 0.0
    for axis, places in zip(substitution.grid.axes, substitution.axes, strict=True):
        halves = np.zeros(len(places.x))
        np.add.at(halves, places.below, axis.widths / 2)
        np.add.at(halves, places.below + 1, axis.widths / 2)
        total = np.add.outer(total, np.log(halves))
    return np.asarray(total)


def _amplified(substitution: Substitution) -> Array:
    """What errors of one of g at the centres may make of Lap g at the places between them."""
    total: Any = 0.0
    for places in substitution.axes:
        rows = [np.asarray(abs(matrix).sum(axis=1)).ravel() for matrix in (places.first, places.second)]
        total = np.add.outer(total, rows[1] + 2 * np.abs(places.leaving) * rows[0])
    return np.asarray(total)


def _where_mass_is(problem: Problem, grid: Grid) -> Array:
    """Some centres of cells (n, d) where the start, or the target at some time, is not negligible."""
    points = grid.points().reshape(-1, grid.ndim)
    near = np.zeros(len(points), dtype=bool)
    for distribution in (problem.start, *problem.places):
        log_density = distribution.log_density(points)
        near |= log_density > log_density.max() - NEAR
    chosen = np.flatnonzero(near)
    return points[chosen[:: max(1, len(chosen) // PROBES)]]


@dataclass
class _Plan:
    """How fine steps and cells are; the attempts so far have told."""

    schedule: StepSchedule
    cells: Cells
    box_may_grow: bool
    number: int = 0  # of the order
    parts: int = 1  # of every step
    diverged: int = 0
    time_error: float = math.inf
    fall: tuple[float, float] | None = None  # cells along an axis, and the largest part over its share

    @property
    def order(self) -> int:
        """Order in dt."""
        return ORDERS[self.number]

    def shorten_steps(self) -> None:
        """Smaller steps after a divergence, and a lower order after some."""
        self.parts, self.diverged = 2 * self.parts, self.diverged + 1
        if self.diverged % DIVERGING == 0 and self.number + 1 < len(ORDERS):
            self.number += 1

    def refine_steps(self, attempt: Attempt) -> bool:
        """Whether smaller steps, or a higher order, are to be tried at once."""
        error, wanted = float(attempt.l1["time"].max()), SHARES["time"] * attempt.problem.rtol
        if error <= wanted or error > self.time_error / 2:
            return False
        self.time_error = error
        if self.number > 0 and not self.diverged and error < 2.0 ** (2 * self.order) * wanted:
            self.number -= 1
        else:
            self.parts *= 2
        return True

    def refine(self, attempt: Attempt) -> None:
        """Finer panels, cells, or a wider box, by what the parts of the error say."""
        problem, l1 = attempt.problem, attempt.l1
        if self.box_may_grow and l1["domain"].max() > SHARES["domain"] * problem.rtol:
            self.cells = _widened(problem, self.cells)
        testimony = attempt.testimony
        witness = float(l1["witness"].max()) / (SHARES["witness"] * problem.rtol)
        if witness > 1 and testimony is not None:
            k = int(l1["witness"].argmax())
            if testimony.time[k] > TIME_DOUBT * testimony.l1[k]:
                worst_panels = testimony.by_panel >= CUT_FROM * testimony.by_panel.max()
                if problem.given is not None:  # attempts are dear: all at once that have to be cut
                    allowed = TIME_DOUBT * SHARES["witness"] * problem.rtol / SAFETY["witness"]
                    worst_panels |= _largest(testimony.by_panel, allowed)
                self.schedule = self.schedule.refined(panels=worst_panels)
                witness = 0.0
        excess = {part: float(l1[part].max()) / (SHARES[part] * problem.rtol) for part in ("space", "mass")}
        worst = max(*excess.values(), witness)
        if worst > 1:
            order = self._measured_order(attempt.grid.size ** (1 / attempt.grid.ndim), worst)
            factor = min(2.0, max(1.15, 1.1 * worst ** (1 / order))) if attempt.asymptotic else 2.0
            self.cells = self.cells.finer(factor)

    def _measured_order(self, cells: float, excess: float) -> float:
        """Power of the number of cells along an axis that the largest part fell with since the attempt before."""
        before, self.fall = self.fall, (cells, excess)
        if before is None or not before[0] < cells or not before[1] > excess:
            return SPACE_ORDER
        measured = math.log(before[1] / excess) / math.log(cells / before[0])
        return min(SPACE_ORDER, max(measured, LEAST_ORDER))


def _largest(values: Array, rest: float) -> np.ndarray:
    """Mask of the fewest of some positive values without which the others have a sum of at most `rest`."""
    order = np.argsort(values)
    mask = np.ones(len(values), dtype=bool)
    mask[order[np.cumsum(values[order]) <= rest]] = False
    return mask


def _first_order(problem: Problem) -> int:
    """Number of the order in dt to begin with: 6 at least under ceilings, as what slides down slopes is fast."""
    number = 2 - next(k for k, least in enumerate(ORDER_FROM) if problem.rtol >= least)
    return number if problem.ceilings is None else min(number, 1)


def _certified(problem: Problem, cells: Cells, work: Work, box_may_grow: bool) -> tuple[Attempt, str]:
    """The first attempt whose error is within the tolerance, or else the best one and what kept from a better one."""
    plan = _Plan(_schedule(problem, cells, work), cells, box_may_grow, _first_order(problem))
    best: Attempt | None = None
    in_vain, limit = 0, f"in {ROUNDS} attempts"
    for _ in range(ROUNDS):
        attempt = Attempt(problem, plan.cells, plan.schedule, plan.parts, plan.order, work)
        if in_vain == IN_VAIN:
            limit = GAINLESS
            break
        try:
            if best is not None and attempt.expected_seconds() > work.left():
                raise OutOfTimeError("the next attempt would take too long")
            attempt.check_memory()
            promising, seconds = attempt.promising(), attempt.expected_seconds()
            if not promising and 2.0 ** (problem.target.ndim + 1) * seconds < work.left():
                plan.cells = plan.cells.finer(2.0 if problem.target.ndim == 1 else 1.5)
                continue
            attempt.measure_time()
            if seconds < work.left() / 4 and plan.refine_steps(attempt):
                continue
            attempt.measure_space()
            attempt.measure_witness()
            attempt.measure_domain()
        except (OutOfTimeError, MemoryError) as error:
            if best is None:
                raise
            limit = (
                f"within seconds={work.seconds:g}" if isinstance(error, OutOfTimeError) else "in the memory there is"
            )
            break
        except NumericalError:
            plan.shorten_steps()
            if plan.diverged > MOST_DIVERGED:
                break
            continue
        if attempt.largest_error <= problem.rtol:
            return attempt, ""
        better = best is None or not attempt.asymptotic or attempt.largest_error < best.largest_error / 1.2
        in_vain = 0 if better else in_vain + 1
        best = attempt if best is None or attempt.largest_error < best.largest_error else best
        if attempt.l1["rounding"].max() > problem.rtol:
            limit = "in double precision"
            break
        plan.refine(attempt)
    if best is None:
        raise NumericalError(
            f"the flow could not be solved in {plan.diverged} attempts, with every step of a trial run cut into "
            f"{plan.parts}: the extrapolation diverges; use a larger rtol, or solve with Strang and small steps"
        )
    return best, limit


def _shown(best: Attempt, limit: str, terrain: Terrain, work: Work, box_may_grow: bool) -> tuple[Attempt, str]:
    """The answer after a look between its cells: on more of them while V hides something there, and time is left.

    An answer is there: what is left of the budget does not decide over the look.
    """
    best.look_between(terrain)
    for _ in range(MORE_LOOKS):
        if not best.hidden:
            break
        try:
            with deadline(work.left()):
                found = _certified(best.problem, best.cells.finer(SHOWING), work, box_may_grow)
        except (OutOfTimeError, MemoryError, NumericalError):
            break
        found[0].look_between(terrain)
        if found[0].largest_error < best.largest_error or not found[0].hidden:
            best, limit = found
    return best, limit


def _widened(problem: Problem, cells: Cells) -> Cells:
    """The family on a wider box."""
    margin = np.where([axis.periodic for axis in cells.grid(1).axes], 0.0, WIDEN * (cells.upper - cells.lower))
    wider = terrain_in(problem, (cells.lower - margin, cells.upper + margin), cells.options, cells.real_walls).cells
    density = [n / (high - low) for n, low, high in zip(cells.counts, cells.lower, cells.upper, strict=True)]
    kept = [
        n if grading is not None else 4 * math.ceil(rate * (high - low) / 4)
        for n, grading, rate, low, high in zip(
            wider.counts, wider.gradings, density, wider.lower, wider.upper, strict=True
        )
    ]
    return replace(wider, counts=tuple(max(a, b) for a, b in zip(kept, cells.counts, strict=True)))


def _contradiction(best: Attempt, times: Array) -> str:
    """Where the two families of schemes differ by more than both their errors allow."""
    found = best.agreement
    assert found is not None
    k = int(np.argmax(np.where(found.agrees, 0.0, found.distance)))
    t, apart, allowed = times[k], found.distance[k], found.allowed[k]
    return (
        f"two families of schemes disagree: at t={t:.6g} their densities are {apart:.2e} apart in L1, but their error "
        f"bounds allow for {allowed:.2e} only. One of them is wrong here, and which is not known: look at the "
        "target for features that neither resolves, or take strict=False, which returns the solution with the "
        "distance in its bound"
    )


def _out_of_reach(best: Attempt, rtol: float, limit: str) -> str:
    """What stands in the way, and what is reachable."""
    parts = {part: float(best.l1[part].max()) for part in PARTS}
    worst = max(parts, key=lambda part: parts[part])
    more = "a larger rtol" if limit == GAINLESS else "larger budgets, seconds= and memory="
    remedy = dict.fromkeys(PARTS, more) | {
        "domain": "a wider box, box=",
        "between": "a target that names its breaks, breaks=, or a box, box=, without them",
        "rounding": "nothing: double precision, or constants taken off V and the coordinates",
    }
    total = best.largest_error
    shown = ", ".join(f"{part} {value:.1e}" for part, value in parts.items())
    return (
        f"rtol={rtol:g} is out of reach {limit}: the error is at most {total:.1e} ({shown}) on "
        f"{' x '.join(map(str, best.grid.shape))} cells with {len(best.steps) - 1} steps; what stands in the way is "
        f"{worst}, and what would help is {remedy[worst]}; rtol={1.5 * total:.1e} is reachable, and strict=False "
        "returns the best"
    )


def _dataset(best: Attempt, rtol: float, times: Array) -> xr.Dataset:
    """The solution in the schema of `solve`, at the save times as the user knows them."""
    import xarray as xr

    grid = best.grid
    first = best.result[0]
    coordinates = {name: value for name, value in first.coordinates().items() if not name.startswith("axis")}
    cells = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    coordinates["t"] = (("t",), times, {"long_name": "time", "units": "1"})  # type: ignore[assignment]
    log_density = np.stack([grid.backend.asnumpy(state.log_values) for state in best.result])
    attrs = {"long_name": "log density, normalised", "units": "nats"}
    variables: dict[str, Any] = {"log_density": (("t", *grid.names), log_density, attrs)}
    kl = best.value
    variables["kl"] = (("t",), kl, {"long_name": "KL(mu|pi)", "units": "nats"})
    for name, values, units in (("error_l1", best.l1, "1"), ("error_kl", best.kl, "nats")):
        words = {"error_l1": "bound of the L1 error", "error_kl": "bound of the error of KL"}[name]
        variables[name] = (("t",), best.total(values), {"long_name": words, "units": units})
        for part in PARTS:
            variables[f"{name}_{part}"] = (
                ("t",),
                values[part],
                {"long_name": f"{words}, {LONG_NAMES[part]}", "units": units},
            )
    if best.agreement is not None:
        attrs = {"long_name": "L1 distance to the other family of schemes", "units": "1"}
        variables["disagreement"] = (("t",), np.where(best.agreement.compared, best.agreement.distance, np.nan), attrs)
    attrs = {"long_name": "estimate of the error of log_density, infinite where unknown", "units": "nats"}
    variables["log_density_error"] = (("t", *grid.names), best.pointwise_error(), attrs)
    words = "bound by the modulus of what is left in the equation"
    variables["error_l1_residual"] = (("t",), best.residual, {"long_name": words, "units": "1"})
    return xr.Dataset(variables | cells, coords=coordinates, attrs=_attrs(best, rtol))


def _attrs(best: Attempt, rtol: float) -> dict[str, str | int | float]:
    """Provenance."""
    problem, grid = best.problem if best.problem.given is None else best.problem.given, best.grid
    frame = best.problem.frame
    return ({} if frame is None else {name: json.dumps(value) for name, value in frame.attrs.items()}) | {
        "title": "Ground truth of the WFR flow of KL",
        "energy": repr(problem.energy),
        "start": repr(problem.start),
        "transport_rate": problem.alpha,
        "reaction_rate": problem.beta,
        "rtol": rtol,
        "flow": repr(problem.flow(best.order)),
        "grid": json.dumps(grid.description()),
        "cells_per_axis": json.dumps([list(best.cells.grid(ratio).shape) for ratio in RATIOS]),
        "n_steps": len(best.steps) - 1,
        "evidence": json.dumps(best.evidence),
        "backend": grid.backend.name,
        "device": grid.backend.device,
        "versions": json.dumps(dict(storage.versions())),
        "commit": storage.commit(),
        "source_hash": source_hash(),
        "wall_time": round(best.work.seconds - best.work.left(), 6),
    }
