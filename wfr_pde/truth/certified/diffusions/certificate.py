"""Certified solutions of weighted diffusions: the search for box, cells and steps."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import CellsTooWideError, CutMassError, MassNotKeptError, NumericalError, UnresolvedError
from wfr_pde.flows.diffusions.equation import HasEquation
from wfr_pde.numerics.arguments import shown
from wfr_pde.numerics.deadline import OutOfTimeError, clock
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage import provenance
from wfr_pde.targets.base import Target, at_rest
from wfr_pde.targets.grid_target import GridTarget
from wfr_pde.truth.certified.diffusions.attempt import LONG_NAMES, DiffusionAttempt, Doubts
from wfr_pde.truth.certified.diffusions.second_opinion import Opinion, second_opinion

if TYPE_CHECKING:
    import xarray as xr

CELLS = {1: 96, 2: 48, 3: 32}  # per axis in the first attempt
WIDER, FINER = 1.3, 1.5  # what a box is multiplied by, and cells
ATTEMPTS = 24
KEEPING = 1.8  # times as many cells per axis are taken to keep an order in dt
DOUBTED = 0.3  # of the residual that differences of order 8 and 10 differ by
MOST_CELLS = 4_000_000
SAME = 3  # times the same refusal is final
CUT_PLACES = 300_000  # at which the share of a start is told that a box cuts off
TAIL = 1e-15  # of the start, that the first box may leave out


@dataclass
class Search:
    """What the next attempt takes: the box, cells per axis, and steps between save times."""

    lower: Array
    upper: Array
    boundary: Any
    cells: Array
    steps: int
    fixed: bool  # the box is part of the problem
    cut: float = 0.0  # share of the start that is outside of a box that is fixed
    log: list[str] = field(default_factory=list)
    last: float | None = None  # the bound before
    in_space: bool = False  # whether the cells were refined last, not the steps

    def grid(self) -> Grid:
        """Return the grid.

        Raises
        ------
        MemoryError
            If it has too many cells.
        """
        if math.prod(self.cells.tolist()) > MOST_CELLS:
            raise MemoryError(f"the next attempt would take {self.cells.tolist()} cells")
        return Grid(self.lower, self.upper, tuple(self.cells.tolist()), boundary=self.boundary)

    def widen(self, by: float = WIDER, along: Array | bool = True) -> None:
        """Take a larger box along some axes, with cells of the same size."""
        factor = np.where(along, by, 1.0)
        middle, half = (self.lower + self.upper) / 2, (self.upper - self.lower) / 2
        self.lower, self.upper = middle - factor * half, middle + factor * half
        self.cells = np.ceil(factor * self.cells).astype(int)

    def attempt(self, flow: Any, start: Target, times: Array) -> DiffusionAttempt:
        """Return the next attempt, with the cells that its steps need."""
        attempt = DiffusionAttempt(flow, start, times, self.grid(), self.steps, self.cut)
        if self.keep_order(attempt):
            attempt = DiffusionAttempt(flow, start, times, self.grid(), self.steps, self.cut)
        return attempt

    def twice_as_wide(self, attempt: DiffusionAttempt) -> DiffusionAttempt:
        """Return an attempt with cells as wide and as many steps as another, in a box twice as wide.

        Of a given box it holds all of the start, too, of which the rate may choose what the box cuts off.
        """
        walls = np.array([not axis.periodic for axis in attempt.grid.axes])
        wider = Search(self.lower, self.upper, self.boundary, self.cells, self.steps, False)
        wider.widen(2.0, walls)
        if self.fixed:
            lower, upper = box_of(attempt.start, attempt.grid)
            lower, upper = np.minimum(lower, wider.lower), np.maximum(upper, wider.upper)
            wider.cells = np.ceil(wider.cells * (upper - lower) / (wider.upper - wider.lower)).astype(int)
            wider.lower, wider.upper = lower, upper
        return DiffusionAttempt(attempt.flow, attempt.start, attempt.times, wider.grid(), self.steps)

    def go_on(self, doubts: Doubts, error: float, rtol: float) -> None:
        """Take more cells, steps, or a larger box, by where the doubts of an attempt are whose bound is too large."""
        if not self.fixed and doubts.walls > 0.1 * rtol and doubts.walls > 0.2 * error:
            self.widen()
            self.last = None
            return
        # cells where the residual depends on the order of differences; else what helped goes on
        if doubts.differences > DOUBTED or doubts.start > DOUBTED * error:
            self.in_space = True
        elif self.last is None or not error < self.last / 2.5:
            self.in_space = not self.in_space if self.last is not None else False
        self.last = error
        (self.refine_cells if self.in_space else self.refine_steps)()

    def refine_cells(self) -> None:
        """Take more cells."""
        self.cells = np.ceil(FINER * self.cells).astype(int)

    def refine_steps(self) -> None:
        """Take twice the steps."""
        self.steps *= 2

    def keep_order(self, attempt: DiffusionAttempt) -> bool:
        """Take the cells that an attempt's steps need for order 8, if these are not many more; else those for order 2.

        Returns
        -------
        bool
            Whether there are more cells now.
        """
        before = self.cells
        for order, most in ((8, KEEPING), (6, KEEPING), (4, KEEPING), (2, math.inf)):
            needed = np.maximum(attempt.cells_for(order), before).astype(int)
            if (needed <= most * before).all():
                self.cells = needed
                break
        return bool((self.cells > before).any())


def diffusion_truth(
    flow: Any, start: Any, times: Array, rtol: float, *, box: Any, boundary: Any, seconds: float, strict: bool
) -> xr.Dataset:
    """Compute a weighted diffusion with a bound of its error; see `ground_truth`.

    Raises
    ------
    NumericalError
        With `strict`, if the tolerance is out of reach, or the second family contradicts.
    """
    start = at_rest("start", GridTarget(start) if isinstance(start, Density) else start)
    best = certify(flow, start, times, rtol, box=box, boundary=boundary, seconds=seconds)
    try:
        best.ask_second_family()
    except OutOfTimeError:
        best.opinion = None
    error = float(best.attempt.bound.max())
    if strict and best.opinion is not None and best.contradicted:
        distance, allowed = best.opinion.distance, best.opinion.allowed
        k = int(np.argmax(distance - allowed))
        raise NumericalError(
            f"two families of schemes differ by {distance[k]:.2g} in L1 at t={times[k]:.6g}, and their errors explain "
            f"{allowed[k]:.2g}: look at both with strict=False, and at the drift between the cells"
        )
    if strict and not error <= rtol:
        parts = {name: float(values.max()) for name, values in best.attempt.solution[1].items()}
        largest = max(parts, key=lambda name: parts[name])
        raise NumericalError(
            f"the tolerance of {rtol:.1e} is out of reach {best.limit}: the bound of the L1 error is {error:.2g}, of "
            f"which {parts[largest]:.2g} is the {LONG_NAMES[largest]}; use a larger rtol, more seconds, a box=, or "
            "strict=False for the best with its honest error"
        )
    return best.dataset(rtol)


def certify(flow: Any, start: Target, times: Array, rtol: float, *, box: Any, boundary: Any, seconds: float) -> Result:
    """Search for an attempt whose bound is within the tolerance; see `ground_truth`.

    Returns
    -------
    Result
        The best attempt, and why there was no better one.
    """
    if not isinstance(flow, HasEquation):
        raise TypeError(
            f"flow must be a weighted diffusion, such as Advected(drift, diffusivity) or ReverseSDE(path), got "
            f"{shown(flow)}"
        )
    lower, upper = (np.asarray(one, float) for one in (start.box(TAIL) if box is None else box))
    cells = np.full(start.ndim, CELLS[start.ndim])
    search = Search(lower, upper, boundary, cells, 8 if len(times) <= 8 else 4, box is not None)
    search.cut = share_cut(start, search.grid()) if search.fixed else 0.0
    began, best, spent, limit = clock(), None, 0.0, f"in {ATTEMPTS} attempts"
    for _ in range(ATTEMPTS):
        this = clock()
        try:
            if best is not None and 2.5 * spent > seconds - (this - began):
                raise OutOfTimeError
            attempt = search.attempt(flow, start, times)
            error = attempt.bound
        except OutOfTimeError:
            limit = f"within seconds={seconds:g}"
            break
        except MemoryError:
            limit = "with so many cells"
            break
        except (NumericalError, ValueError) as problem:
            _mend(search, problem)
            continue
        spent, doubts = clock() - this, attempt.doubts
        may_grow = _may_grow(flow, attempt.grid)
        if may_grow:  # what grows may be outside of the box: the bound holds only if one twice as wide says the same
            attempt.solution[1]["domain"][1:] += 2.0
        if best is None or error.max() < best.bound.max():
            best = attempt
        if not error.max() <= rtol:
            search.go_on(doubts, float(error.max()), rtol)
        elif not may_grow:
            return Result(attempt, "", None)
        else:
            confirmed, limit = _confirmed(attempt, float(error.max()), search, rtol)
            if confirmed is not None:
                return Result(confirmed, "", None)
            if limit:
                break
            limit = f"in {ATTEMPTS} attempts"
    if best is None:
        raise NumericalError(
            f"no grid and steps were found that keep the mass, {limit}; the last attempt said: {search.log[-1]}"
            if search.log
            else f"there was no attempt {limit}"
        )
    return Result(best, limit, None)


def _may_grow(flow: Any, grid: Grid) -> bool:
    """Return whether there may be mass to come outside of the box: with a rate, unless all axes are periodic."""
    return flow.equation.rate is not None and not all(axis.periodic for axis in grid.axes)


def _confirmed(
    attempt: DiffusionAttempt, error: float, search: Search, rtol: float
) -> tuple[DiffusionAttempt | None, str]:
    """Return an attempt that one in a box twice as wide agrees with, or None, and why there is no more use.

    It is the wider one, unless the box is given. Its part of the domain holds the distance of both, and for a given box
    the bound of the other.
    """
    try:
        wide = search.twice_as_wide(attempt)
        apart = [_distance(one, other) for one, other in zip(wide.solution[0], attempt.solution[0], strict=True)]
    except (OutOfTimeError, MemoryError):
        return None, "as there were no means for a box twice as wide"
    except (NumericalError, ValueError) as problem:
        search.log.append(str(problem))
        wide, apart = attempt, [2.0]
    if search.fixed:
        if max(apart) + float(wide.bound.max()) + error <= rtol:
            attempt.solution[1]["domain"][1:] += (np.array(apart) + wide.bound)[1:] - 2.0
            return attempt, ""
        return None, "as a box twice as wide says something else than the one given, where the rate makes mass grow"
    if max(apart) + float(wide.bound.max()) <= rtol:
        wide.solution[1]["domain"][:] += apart
        return wide, ""
    search.widen()
    return None, ""


def _distance(wide: Density, narrow: Density) -> float:
    """Return the L1 distance of two densities, that in a wider box and that in a box within it."""
    with np.errstate(divide="ignore"):
        known = np.exp(narrow.log_prob(wide.grid.points()))
    return float(wide.grid.integrate(np.abs(wide.values - known)))


def _mend(search: Search, problem: Exception) -> None:
    """Change what an attempt failed by.

    Raises
    ------
    ValueError
        The problem itself, if it is that of a given box, or says the same for the third time.
    """
    search.log.append(str(problem))
    in_vain = isinstance(problem, ValueError) and search.log[-SAME:].count(str(problem)) == SAME
    if in_vain or (isinstance(problem, CutMassError) and search.fixed):
        raise problem
    at_walls = isinstance(problem, CutMassError) or (isinstance(problem, MassNotKeptError) and problem.at_walls)
    if isinstance(problem, (CellsTooWideError, UnresolvedError)):
        search.refine_cells()
    elif at_walls and not search.fixed:
        search.widen()
    elif len(search.log) % 2 == 0:
        search.refine_cells()
    else:
        search.refine_steps()


def box_of(start: Target, grid: Grid) -> tuple[Array, Array]:
    """Return the box of a grid, larger where a start has more than `TAIL` beyond it; of heavy tails the grid's own."""
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    try:
        wide = start.box(TAIL)
    except ValueError:  # what is beyond the walls is told by the density there
        return lower, upper
    periodic = [axis.periodic for axis in grid.axes]
    low, high = np.minimum(wide[0], lower), np.maximum(wide[1], upper)
    return np.where(periodic, lower, low), np.where(periodic, upper, high)


def share_cut(start: Target, grid: Grid) -> float:
    """Return about which share of a start a grid cuts off: by values in the box that holds all but `TAIL` of it.

    Examples
    --------
    A twentieth of N(0, 1) is further than 1.96 from its mean:

    >>> import wfr_pde as wfr
    >>> from wfr_pde.truth.certified.diffusions.certificate import share_cut
    >>> round(share_cut(wfr.Gaussian(0.0, 1.0), wfr.Grid(-1.96, 1.96, 64)), 3)
    0.05
    """
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    low, high = box_of(start, grid)
    n = max(16, round(CUT_PLACES ** (1 / grid.ndim)))
    axes = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, grid.ndim)
    with np.errstate(all="ignore"):  # places where the density is not defined hold no mass
        values = np.asarray(start.log_density(points), dtype=np.float64)
        density = np.nan_to_num(np.exp(values - np.nanmax(values)))
    inside = np.all((points >= lower) & (points <= upper), axis=-1)
    return float(density[~inside].sum() / density.sum())


@dataclass
class Result:
    """The best attempt, what kept from a better one, and the second opinion."""

    attempt: DiffusionAttempt
    limit: str
    opinion: Opinion | None

    def ask_second_family(self) -> None:
        """Solve by the second family, where there is one."""
        self.opinion = second_opinion(self.attempt)

    @property
    def contradicted(self) -> bool:
        """Whether the second family is further away than its own error and the bound allow."""
        return self.opinion is not None and bool((self.opinion.distance > self.opinion.allowed).any())

    def dataset(self, rtol: float) -> xr.Dataset:
        """Return the Dataset in the schema of `solve`."""
        import xarray as xr

        attempt, grid = self.attempt, self.attempt.grid
        densities, parts, _ = attempt.solution
        coordinates = {name: one for name, one in densities[0].coordinates().items() if not name.startswith("axis")}
        cells = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
        coordinates["t"] = (("t",), attempt.times, {"long_name": "time", "units": "1"})  # type: ignore[assignment]
        over_time: dict[str, tuple[Any, str, str]] = {
            "log_mass": (
                [one.log_mass or 0.0 for one in densities],
                "log of the mass that normalising took out",
                "nats",
            ),
            "error_log_mass": (attempt.log_mass_bound, "bound of the error of log_mass, to first order", "nats"),
            "error_l1": (attempt.bound, "bound of the L1 error", "1"),
        }
        for name, values in parts.items():
            over_time[f"error_l1_{name}"] = (values, f"bound of the L1 error, {LONG_NAMES[name]}", "1")
        if self.opinion is not None:
            words = "L1 distance to the other family of schemes"
            over_time["disagreement"] = (self.opinion.distance, words, "1")
            over_time["disagreement_allowed"] = (self.opinion.allowed, f"{words}, that its error explains", "1")
        variables: dict[str, Any] = {
            name: (("t",), np.asarray(values, float), {"long_name": words, "units": units})
            for name, (values, words, units) in over_time.items()
        }
        attrs = {"long_name": "log density, normalised", "units": "nats"}
        stacked = np.stack([one.log_values for one in densities])
        variables["log_density"] = (("t", *grid.names), stacked, attrs)
        return xr.Dataset(variables | cells, coords=coordinates, attrs=self._attrs(rtol))

    def _attrs(self, rtol: float) -> dict[str, Any]:
        """Return the attributes that say how the solution was made."""
        attempt, grid = self.attempt, self.attempt.grid
        evidence = ["residual of the equation in L1, which contracts"]
        evidence.append(
            "no second family: there is none for this diffusivity, or it was not ready in time"
            if self.opinion is None
            else self.opinion.words
        )
        return {
            "title": "Ground truth of a weighted diffusion",
            "energy": "NoEnergy()",
            "start": repr(attempt.start),
            "rtol": rtol,
            "flow": repr(attempt.flow_of_order()),
            "grid": json.dumps(grid.description()),
            "n_steps": attempt.steps * (len(attempt.times) - 1),
            "evidence": json.dumps(evidence),
            "backend": grid.backend.name,
            "device": grid.backend.device,
            **provenance.dataset_attrs(),
        }
