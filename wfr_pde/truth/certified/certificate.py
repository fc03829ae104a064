"""Certified solutions: the problem and a tolerance in, the density with an error bar out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import NumericalError
from wfr_pde.integrate.save_times import save_times
from wfr_pde.numerics.arguments import (
    finite_array,
    flag,
    instance,
    knows_its_arguments,
    not_negative,
    number,
    positive,
    refuse_no_entries,
    shown,
)
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.deadline import OutOfTimeError, deadline
from wfr_pde.numerics.progress import reporting
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.truth.certified.attempt import PARTS, RATIOS, Attempt
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.dataset import dataset
from wfr_pde.truth.certified.diffusions.certificate import diffusion_truth
from wfr_pde.truth.certified.factored.matching import splits
from wfr_pde.truth.certified.factored.solve import factored_plan, factored_truth
from wfr_pde.truth.certified.grids.first_grids import Terrain, first_terrain
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.refinement import ORDERS, Plan, first_order
from wfr_pde.truth.certified.trial_run import schedule_by_trial

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.flows.base import Flow
    from wfr_pde.targets.base import Target


MORE_LOOKS, SHOWING = 3, 1.5  # times that cells are made finer where V hides something between them, and by how much
FASTEST = 1e100  # rates: products with times and second derivatives of V stay below the largest double
ROUNDS = 32  # attempts: budgets and `IN_VAIN` end the search long before
IN_VAIN = 3  # attempts that improve nothing, after which there are no more
MOST_DIVERGED = 9  # refinements of the steps in all
# why there are no more attempts, for messages
GAINLESS = "by refining, as the last attempts gained nothing"


@knows_its_arguments
def ground_truth(
    target: Target | None = None,
    start: Target | None = None,
    t: ArrayLike | None = None,
    *,
    flow: Flow | None = None,
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
    progress: bool | None = None,
) -> Any:
    """Compute the density of the WFR flow at some times, with a bound of its error; everything numerical is chosen.

    d_t mu = alpha div(mu grad g) - beta mu (g - E_mu g), g = log(mu/pi).

    With `flow`, such as `Advected(drift, diffusivity, rate)` or `ReverseSDE(path)`, that of the weighted diffusion
    instead, see Notes.

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
    flow : Flow, optional
        A weighted diffusion, in place of a target and rates: one with an `equation`.
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
        Time budget. A run that would overrun it is not begun, or is stopped within a step. Loops that are compiled, at
        the first use on a machine, do not count.
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
    progress : bool, optional
        Count steps on a bar; by default where stderr is a terminal, and in notebooks.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A DataTree where the problem splits, see Notes. Else in the schema of `solve`: `log_density` (t, x, ...), and
        over t: `error_l1`, the bound, and its parts `error_l1_time`, ...; `error_kl`, ...; `kl`, to the target as it is
        at the time; `error_l1_residual`, a bound to first order by the modulus of what is left in the equation (0 for
        reaction alone). `log_density_error` (t, x, ...) is an estimate of the error of `log_density`, in nats, infinite
        where nothing is known. The attribute `evidence` says in JSON what was found beside the numbers.

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

    *Of a weighted diffusion* (`flow`) the bound is ∫ ||r||_1 dt, r what the computed curve leaves in the equation: the
    equation without the rate c contracts in L1, and with it the error grows at most by exp ∫ max c dt over the box, and
    is relative to the mass that there is. To it come what start, drift and rate do between the cells and the nodes in
    time, what the mass is off, what lies beyond the walls, and rounding. With a rate, a box twice as wide has to agree.
    `FiniteVolume(drift=...)` has to agree, where it applies: walls, and D > 0 along every axis. `error_log_mass` is the
    bound for log Z. There is no KL. `turn`, `names`, `max_cut`, `memory` and the rates do not apply.

    *In any dimension.* Where V = sum_i V_i(y_i) in turned coordinates, x = c + Q y, and the start is a product, too,
    every factor follows the flow of its own. So a target that is a `Product` or a `Radial`, and in more than three
    dimensions a `Gaussian`, a `GaussianMixture` or a `Ring`, is solved factor by factor, equal ones once; `rtol` is of
    the whole law and is shared. Gaussian factors are closed forms, radial ones the flow of the radius, the others of up
    to four dimensions are solved as above. Starts that split along the same blocks, or coarser ones, are products,
    Gaussians with no correlation between blocks, such as isotropic ones, and mixtures whose components differ in one
    block. A mixture splits off what its components share. What does not split is refused, with what couples it. The
    root of the DataTree holds `kl`, `error_l1`, `error_kl` (t) of the whole law, `rotation` (Q) and `shift` (c) unless
    they change nothing, and the attribute `factors`, a JSON list with the node, kind and dimension of every block, in
    the order of y; a node per different factor is its Dataset: of kind "grid" as above, of kind "radial" that of the
    radius, of kind "gaussian" `mean` (t, i) and `covariance` (t, i, j). ``tree.to_netcdf(path)`` stores it. L1 errors
    add up to at most 2 (1 - prod_i (1 - e_i/2)). `box`, `boundary` and `names` do not apply, and no axes are turned:
    `support=` of a factor gives its box.

    What no one can certify is a mode that the box, or the places where the local scales are looked at, do not see: that
    of a black-box potential far from everything else. `support=` of the target and `box=` are how the user vouches.

    Examples
    --------
    From N(1, 1) to N(0, 1), where KL(mu|pi) is exp(-4 t)/2:

    >>> import wfr_pde as wfr
    >>> truth = wfr.ground_truth(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0), [0.0, 0.25, 0.5], rtol=1e-6)
    >>> truth.kl.values.round(4)
    array([0.5   , 0.1839, 0.0677])
    >>> bool((truth.error_l1 <= 1e-6).all())
    True

    Twenty dimensions and 2^19 modes cost one solve on the line:

    >>> target = wfr.Product([wfr.Potential("(x**2 - 1)**2")] * 19 + [wfr.Gaussian(0, 1)])
    >>> tree = wfr.ground_truth(target, wfr.Gaussian([0.5] * 20, 0.25), [0, 0.1], rtol=1e-2)
    >>> list(tree.children), tree.kl.values.round(2)
    (['factor_0', 'factor_1'], array([11.45,  5.33]))
    """
    for name, value in (("strict", strict), ("cross_check", cross_check), ("turn", turn)):
        flag(name, value)
    if t is None or start is None:
        raise TypeError("ground_truth needs a start and save times t: ground_truth(target, start, t)")
    if flow is not None:
        given = (target, transport_rate, reaction_rate, names, max_cut, memory, turn)
        if given != (None, 1.0, 1.0, None, 1e-6, None, True):
            raise ValueError("with flow= there is no target, and rates, names, max_cut, memory and turn do not apply")
        options = {"box": _checked_box(box), "boundary": boundary, "seconds": positive("seconds", seconds, "a budget")}
        with reporting(progress, "ground_truth"), deadline(options["seconds"]):
            return diffusion_truth(flow, start, save_times(t), _tolerance(rtol), strict=strict, **options)
    if target is None:
        raise TypeError("ground_truth needs a target, or a flow: ground_truth(target, start, t)")
    problem, box = _checked(target, start, t, transport_rate, reaction_rate, rtol), _checked_box(box)
    options = {"box": box, "boundary": boundary, "names": names, "max_cut": not_negative("max_cut", max_cut)}
    options |= {"strict": strict, "cross_check": cross_check, "turn": turn, "memory": memory}
    options["seconds"] = _budget(seconds, memory).seconds
    with reporting(progress, "ground_truth"):
        if splits(problem.target, problem.start):
            return factored_truth(problem, save_times(t), _one_factor, options)
        return _on_a_grid(problem, save_times(t), **options)


def _one_factor(target: Target, start: Target, times: Array, **options: Any) -> xr.Dataset:
    """Solve a factor of a problem on a grid; options as of `ground_truth`."""
    rates = (options.pop(name) for name in ("transport_rate", "reaction_rate", "rtol"))
    problem = _checked(target, start, times, *rates)
    options["box"] = _checked_box(options.get("box"))
    return _on_a_grid(problem, times, **{"boundary": "no-flux", "names": None, **options})


def _on_a_grid(
    problem: Problem,
    times: Array,
    *,
    box: tuple[Array, Array] | None,
    boundary: Any,
    names: Any,
    max_cut: float,
    turn: bool,
    seconds: float,
    memory: float | None,
    strict: bool,
    cross_check: bool,
) -> xr.Dataset:
    """Solve a problem on grids of its own axes, or of principal ones."""
    work = _budget(seconds, memory)
    with deadline(work.left()):
        terrain = first_terrain(problem, box, boundary, names, max_cut, turn)
        problem = terrain.problem
        best, limit = _certified(problem, terrain.cells, work, box is None)
    best, limit = _shown(best, limit, terrain, work, box is None)
    if best.needs_a_second_opinion or cross_check:
        with reporting(None, "second family"):
            best.ask_second_family(work.seconds if cross_check else work.left())
    if best.contradicted and strict:
        raise NumericalError(_contradiction(best, times))
    if best.largest_error > problem.rtol and strict:
        raise NumericalError(_out_of_reach(best, problem.rtol, limit))
    return dataset(best, problem.rtol, times)


@knows_its_arguments
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
    """Say what the first attempt of `ground_truth` would take, by its trial run; arguments and errors as there.

    Returns
    -------
    dict
        `lower`, `upper`, `shapes` of the grids, `graded` axes, `n_steps`, `memory_bytes`, `free_bytes`, `seconds`; of a
        problem that splits `factors`, a list of these, with `target`, `kind`, `ndim` and `copies`, and `seconds` and
        `memory_bytes` of all.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> from wfr_pde.truth.certified.certificate import plan
    >>> cost = plan(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0), [0.0, 0.5])
    >>> len(cost["shapes"]), cost["seconds"] < 60
    (5, True)
    """
    flag("turn", turn)
    problem, box = _checked(target, start, t, transport_rate, reaction_rate, rtol), _checked_box(box)
    options = {"box": box, "boundary": boundary, "names": names, "max_cut": not_negative("max_cut", max_cut)}
    options |= {"turn": turn, "seconds": seconds, "memory": memory}
    if splits(problem.target, problem.start):
        return factored_plan(problem, save_times(t), _plan_of_one, options)
    return _plan_on_a_grid(problem, **options)


def _plan_of_one(target: Target, start: Target, times: Array, **options: Any) -> dict[str, Any]:
    """Plan for a factor of a problem; options as of `plan`."""
    rates = (options.pop(name) for name in ("transport_rate", "reaction_rate", "rtol"))
    problem = _checked(target, start, times, *rates)
    options["box"] = _checked_box(options["box"])
    return _plan_on_a_grid(problem, **{"boundary": "no-flux", "names": None, **options})


def _plan_on_a_grid(
    problem: Problem,
    *,
    box: tuple[Array, Array] | None,
    boundary: Any,
    names: Any,
    max_cut: float,
    turn: bool,
    seconds: float,
    memory: float | None,
) -> dict[str, Any]:
    """Say what the first attempt on a grid would take."""
    work = _budget(seconds, memory)
    with deadline(work.left()):
        terrain = first_terrain(problem, box, boundary, names, max_cut, turn)
        problem, cells = terrain.problem, terrain.cells
        order = ORDERS[first_order(problem)]
        attempt = Attempt(problem, cells, schedule_by_trial(problem, cells, work), 1, order, work)
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


def _budget(seconds: Any, memory: Any) -> Budget:
    """Return the budget of time and memory, if the arguments are one."""
    allowed = positive("seconds", seconds, "the time that may be spent")
    return Budget(allowed, math.inf if memory is None else positive("memory", memory, "GiB that may be used"))


def _checked_box(box: Any) -> tuple[Array, Array] | None:
    """Return the two corners of the box, or refuse what is none."""
    if box is None:
        return None
    refuse_no_entries("box", box)
    if isinstance(box, str) or not isinstance(box, Sequence | np.ndarray) or len(box) != 2:
        raise ValueError(f"box must be (lower, upper), two numbers or two lists with one per axis, got {shown(box)}")
    return finite_array("the lower corner of box", box[0]), finite_array("the upper corner of box", box[1])


def _tolerance(rtol: Any) -> float:
    """Return the tolerance, if it is one."""
    tolerance = number("rtol", rtol)
    if not 1e-12 <= tolerance <= 0.1:
        raise ValueError(f"rtol must be between 1e-12 (rounding) and 0.1, got {shown(rtol)}")
    return tolerance


def _checked(target: Any, start: Any, t: Any, alpha: Any, beta: Any, rtol: Any) -> Problem:
    """Make the problem of the arguments, or refuse them."""
    from wfr_pde.targets.arguments import dimension_in_words
    from wfr_pde.targets.base import Target
    from wfr_pde.targets.grid_target import GridTarget

    target, start = (GridTarget(each) if isinstance(each, Density) else each for each in (target, start))
    for name, distribution in (("target", target), ("start", start)):
        instance(name, distribution, Target, "such as Gaussian(0, 1)")
    if start.moving:
        raise ValueError(f"the start moves, {start!r}: give where it is, start.at(t)")
    if target.ndim != start.ndim:
        raise ValueError(f"the target is {dimension_in_words(target)}, but the start is {dimension_in_words(start)}")
    tolerance = _tolerance(rtol)
    rates = not_negative("transport_rate", alpha), not_negative("reaction_rate", beta)
    if max(rates) > FASTEST:
        raise ValueError(
            f"transport_rate and reaction_rate must be at most {FASTEST:g}, got {rates[0]:g} and {rates[1]:g}: use "
            "other units of time"
        )
    times = save_times(t)
    # at rest, time counts from the start, so that times that are close to it are known to all digits
    return Problem(target, start, times if target.moving else times - times[0], *rates, tolerance)


def _certified(problem: Problem, cells: GridFamily, work: Budget, box_may_grow: bool) -> tuple[Attempt, str]:
    """Return the first attempt with an error within the tolerance, or the best one and what kept from a better one."""
    plan = Plan(schedule_by_trial(problem, cells, work), cells, box_may_grow, first_order(problem))
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


def _shown(best: Attempt, limit: str, terrain: Terrain, work: Budget, box_may_grow: bool) -> tuple[Attempt, str]:
    """Look between the cells of the answer, and compute it on more of them while V hides something and time is left.

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


def _contradiction(best: Attempt, times: Array) -> str:
    """Say where the two families of schemes differ by more than both their errors allow."""
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
    """Say what stands in the way of the tolerance, and which one is reachable."""
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
        f"{' x '.join(map(str, best.grid.shape))} cells with {counted(len(best.steps) - 1, 'step')}; what stands in "
        f"the way is {worst}, and what would help is {remedy[worst]}; rtol={1.5 * total:.1e} is reachable, and "
        "strict=False returns the best"
    )
