"""Certified solutions of weighted diffusions: the search for box, cells and steps."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.flows.diffusions.equation import HasEquation
from wfr_pde.numerics.arguments import shown
from wfr_pde.numerics.deadline import OutOfTimeError, clock
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage import provenance
from wfr_pde.targets.base import Target, at_rest
from wfr_pde.targets.grid_target import GridTarget
from wfr_pde.truth.certified.diffusions.attempt import LONG_NAMES, DiffusionAttempt
from wfr_pde.truth.certified.diffusions.second_opinion import Opinion, second_opinion

if TYPE_CHECKING:
    import xarray as xr

CELLS = {1: 96, 2: 48, 3: 32}  # per axis in the first attempt
WIDER, FINER = 1.3, 1.5  # what a box is multiplied by, and cells
ATTEMPTS = 24
KEEPING = 1.8  # times as many cells per axis are taken to keep an order in dt
DOUBTED = 0.3  # of the residual that differences of order 8 and 10 differ by
MOST_CELLS = 4_000_000
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
    log: list[str] = field(default_factory=list)

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
    lower, upper = start.box(TAIL) if box is None else box
    cells = np.full(start.ndim, CELLS[start.ndim])
    search = Search(
        np.asarray(lower, float),
        np.asarray(upper, float),
        boundary,
        cells,
        8 if len(times) <= 8 else 4,
        box is not None,
    )
    began, best, last, spent = clock(), None, None, 0.0
    limit, in_space = f"in {ATTEMPTS} attempts", False
    for _ in range(ATTEMPTS):
        this = clock()
        try:
            if best is not None and 2.5 * spent > seconds - (this - began):
                raise OutOfTimeError
            attempt = DiffusionAttempt(flow, start, times, search.grid(), search.steps)
            if search.keep_order(attempt):
                attempt = DiffusionAttempt(flow, start, times, search.grid(), search.steps)
            error = attempt.bound
        except OutOfTimeError:
            limit = f"within seconds={seconds:g}"
            break
        except MemoryError:
            limit = "with so many cells"
            break
        except (NumericalError, ValueError) as problem:
            search.log.append(str(problem))
            _mend(search, str(problem))
            continue
        spent = clock() - this
        parts, may_grow = attempt.solution[1], _may_grow(flow, attempt.grid)
        walls = max(parts["domain"].max(), parts["mass"].max())
        if may_grow:  # what grows may be outside of the box: the bound holds only if one twice as wide says the same
            parts["domain"][1:] += 2.0
        if best is None or error.max() < best.bound.max():
            best = attempt
        if error.max() <= rtol:
            if not may_grow:
                return Result(attempt, "", None)
            try:
                confirmed = _confirmed(attempt, search, rtol)
            except (OutOfTimeError, MemoryError):
                limit = "as there were no means for a box twice as wide"
                break
            except (NumericalError, ValueError) as problem:
                search.log.append(str(problem))
                confirmed = None
            if confirmed is not None:
                return Result(confirmed, "", None)
            if search.fixed:
                limit = "as a box twice as wide says something else than the one given, and the rate may be why"
                break
            search.widen()
            continue
        if not search.fixed and walls > 0.1 * rtol and walls > 0.2 * error.max():
            search.widen()
            last = None
            continue
        # cells where the residual depends on the order of differences; else what helped goes on
        if attempt.solution[2] > DOUBTED or attempt.start_error > DOUBTED * error.max():
            in_space = True
        elif last is None or not error.max() < last / 2.5:
            in_space = not in_space if last is not None else False
        last = float(error.max())
        (search.refine_cells if in_space else search.refine_steps)()
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


def _confirmed(attempt: DiffusionAttempt, search: Search, rtol: float) -> DiffusionAttempt | None:
    """Return an attempt that one in a box twice as wide agrees with: the wider one, unless the box is given; or None.

    Its part of the domain holds the distance of both, and for a given box the bound of the other.
    """
    wider = Search(search.lower, search.upper, search.boundary, search.cells, search.steps, False)
    wider.widen(2.0, np.array([not axis.periodic for axis in attempt.grid.axes]))
    wide = DiffusionAttempt(attempt.flow, attempt.start, attempt.times, wider.grid(), search.steps)
    apart = np.array([_distance(one, other) for one, other in zip(wide.solution[0], attempt.solution[0], strict=True)])
    if not search.fixed:
        wide.solution[1]["domain"][:] += apart
        return wide if wide.bound.max() <= rtol else None
    before = attempt.solution[1]["domain"].copy()
    attempt.solution[1]["domain"][1:] += (apart + wide.bound)[1:] - 2.0  # in place of all that was in doubt before
    if attempt.bound.max() <= rtol:
        return attempt
    attempt.solution[1]["domain"][:] = before
    return None


def _distance(wide: Density, narrow: Density) -> float:
    """Return the L1 distance of two densities, that in a wider box and that in a box within it."""
    with np.errstate(divide="ignore"):
        known = np.exp(narrow.log_prob(wide.grid.points()))
    return float(wide.grid.integrate(np.abs(wide.values - known)))


def _mend(search: Search, message: str) -> None:
    """Change what an attempt failed by."""
    if "resolve" in message:
        search.refine_cells()
    elif ("keep the mass" in message or "cut" in message) and not search.fixed and len(search.log) % 3 == 1:
        search.widen()
    elif len(search.log) % 3 == 2:
        search.refine_cells()
    else:
        search.refine_steps()


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
