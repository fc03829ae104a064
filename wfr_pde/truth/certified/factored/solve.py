"""Certified solutions of problems that split: every different block solved once, and their bounds put together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.deadline import OutOfTimeError, clock
from wfr_pde.numerics.typing import Array
from wfr_pde.storage import provenance
from wfr_pde.truth.certified.factored.gaussian_block import gaussian_moments
from wfr_pde.truth.certified.factored.matching import Block, Matched, matched
from wfr_pde.truth.certified.factored.radial_block import radial_dataset, radius_problem
from wfr_pde.truth.certified.problem import Problem

if TYPE_CHECKING:
    import xarray as xr

TIGHTEST = 1e-12  # tolerance of a block, below which rounding stands in the way
COSTS = {1: 1.0, 2: 8.0, 3: 64.0, 4: 512.0}  # by dimension: shares of tolerance and time that blocks get
APPLY = "box", "boundary", "names"  # options of `ground_truth` that are of one grid, and their defaults
DEFAULTS = None, "no-flux", None


@dataclass
class Solution:
    """What is known of the different blocks of a problem so far.

    Attributes
    ----------
    solved : dict
        Datasets by their blocks.
    left : float
        Of the tolerance, after those.
    """

    matched: Matched
    left: float
    solved: dict[Block, xr.Dataset] = field(default_factory=dict)

    @property
    def copies(self) -> dict[Block, int]:
        """How often each different block occurs."""
        return {block: self.matched.blocks.count(block) for block in dict.fromkeys(self.matched.blocks)}

    @property
    def waiting(self) -> list[Block]:
        """The different blocks that are not solved yet, the cheapest first."""
        order = {"gaussian": 0, "radial": 1, "grid": 2}
        blocks = [block for block in self.copies if block not in self.solved]
        return sorted(blocks, key=lambda block: (order[block.kind], block.ndim))

    def share(self, block: Block) -> float:
        """Return the tolerance of a block: what is left, shared by all that wait, the costly ones more.

        Different blocks of one cost get as much in all, however often they occur: where work is a power of 1/rtol that
        is as small as 1/8, that is next to the least work.
        """
        if block.kind == "gaussian":
            return self.left
        whole = sum(_cost(other) for other in self.waiting)
        return max(TIGHTEST, self.left * _cost(block) / whole / self.copies[block])

    def add(self, block: Block, found: xr.Dataset) -> None:
        """Take the solution of a block."""
        self.solved[block] = found
        self.left = max(0.0, self.left - self.copies[block] * float(found["error_l1"].max()))


def factored_truth(problem: Problem, times: Array, solve: Callable[..., xr.Dataset], options: dict[str, Any]) -> Any:
    """Solve a problem block by block.

    Parameters
    ----------
    problem : Problem
        With target and start in any dimension.
    times : array (n_t,)
        Save times, as the user knows them.
    solve : function
        `solve(target, start, t, ...)`, with the options of `ground_truth`, on a grid.
    options : dict
        `strict`, `seconds`, `memory`, `max_cut` and others of the blocks, and `box`, `boundary`, `names`, which have to
        be the defaults.

    Returns
    -------
    DataTree
        See the notes of `ground_truth`.

    Raises
    ------
    ValueError
        If the problem does not split, or an option does not apply.
    NumericalError
        If a block cannot be solved to its share of the tolerance.
    """
    began, options = clock(), _of_blocks(options)
    found = matched(problem.target, problem.start)
    solution = Solution(found, problem.rtol - found.departure)
    if solution.left < problem.rtol / 2 and options["strict"]:
        raise NumericalError(
            f"rtol={problem.rtol:g} is out of reach: in the blocks of the frame target and start are known to "
            f"{found.departure:.1e} only, by rounding and couplings that are next to none; use a larger rtol, or "
            "strict=False"
        )
    while solution.waiting:
        block = solution.waiting[0]
        left = options["seconds"] - (clock() - began)
        if left <= 0:
            raise OutOfTimeError(_unsolved(solution, options["seconds"]))
        solution.add(block, _solved(block, problem, times, solution.share(block), {**options, "seconds": left}, solve))
    tree = _tree(problem, times, solution, clock() - began)
    worst = float(tree["error_l1"].max())
    if worst > problem.rtol and options["strict"]:
        raise NumericalError(_too_large(solution, problem.rtol, worst))
    return tree


def factored_plan(problem: Problem, times: Array, plan: Callable[..., dict[str, Any]], options: dict[str, Any]) -> Any:
    """Say what the first attempts of all blocks would take, by `plan(target, start, t, ...)` for those on grids.

    Returns
    -------
    dict
        `factors`, a list of what `plan` says of every different block, with `target`, `kind`, `ndim` and `copies`;
        `seconds` of all together, and the most `memory_bytes` of one.
    """
    options = _of_blocks(options)
    solution = Solution(matched(problem.target, problem.start), problem.rtol)
    found: list[dict[str, Any]] = []
    for block, copies in solution.copies.items():
        about: dict[str, Any] = {"target": repr(block.target), "kind": block.kind, "ndim": block.ndim, "copies": copies}
        cost: dict[str, Any] = {"shapes": [], "n_steps": 0, "memory_bytes": 0, "seconds": 0.0}
        if block.kind != "gaussian":
            laws: Any = block.target, block.start
            box = None
            if block.kind == "radial":
                laws, far = radius_problem(block.target, block.start, solution.share(block))  # type: ignore[arg-type]
                box = None if far is None else ([0.0], [far])
            rates = {"transport_rate": problem.alpha, "reaction_rate": problem.beta}
            cost = plan(*laws, times, rtol=solution.share(block), box=box, **rates, **options)
        found.append(about | cost)
    return {
        "factors": found,
        "seconds": sum(one["seconds"] for one in found),
        "memory_bytes": max(one["memory_bytes"] for one in found),
    }


def _of_blocks(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the blocks; refuse those that are of one grid."""
    for name, default in zip(APPLY, DEFAULTS, strict=True):
        value = options[name]
        if value is not default and not (isinstance(value, str) and value == default):
            raise ValueError(
                f"{name}= is of one grid, but a problem that splits is solved on a grid per block: give the factors "
                "what they need, such as a potential with support=(lower, upper), and leave it out"
            )
    return {name: value for name, value in options.items() if name not in APPLY} | {"turn": False}


def _solved(
    block: Block,
    problem: Problem,
    times: Array,
    rtol: float,
    options: dict[str, Any],
    solve: Callable[..., xr.Dataset],
) -> xr.Dataset:
    """Solve one block, with errors that name it."""
    if block.kind == "gaussian":
        return gaussian_moments(block.target, block.start, times, problem.alpha, problem.beta)  # type: ignore[arg-type]
    flow = partial(solve, transport_rate=problem.alpha, reaction_rate=problem.beta, **options)
    try:
        if block.kind == "radial":
            return radial_dataset(block.target, block.start, times, rtol, flow)  # type: ignore[arg-type]
        return flow(block.target, block.start, times, rtol=rtol)
    except (NumericalError, ValueError, MemoryError) as error:
        named = f"the factor {block.target!r}, from {block.start!r}: {error}"
        raise type(error)(named) from error


def _cost(block: Block) -> float:
    """Return the share that a block has in what is to be divided."""
    return 0.0 if block.kind == "gaussian" else 1.0 if block.kind == "radial" else COSTS[block.ndim]


def _tree(problem: Problem, times: Array, solution: Solution, seconds: float) -> xr.DataTree:
    """Put the solutions of the blocks together."""
    import xarray as xr

    found, copies = solution.matched, solution.copies
    nodes = {block: f"factor_{k}" for k, block in enumerate(copies)}
    l1 = 2 * (1 - math.prod((1 - np.minimum(ds["error_l1"].values, 2) / 2) ** copies[b] for b, ds in _pairs(solution)))
    sums = {name: sum(copies[b] * ds[name].values for b, ds in _pairs(solution)) for name in ("kl", "error_kl")}
    words = "of the whole law"
    variables: dict[str, Any] = {
        "kl": (("t",), sums["kl"], {"long_name": f"KL(mu|pi) {words}", "units": "nats"}),
        "error_l1": (
            ("t",),
            np.minimum(2.0, np.asarray(l1) + found.departure),
            {"long_name": f"bound of the L1 error {words}", "units": "1"},
        ),
        "error_kl": (
            ("t",),
            sums["error_kl"] + found.departure * (1 + sums["kl"]),
            {"long_name": f"bound of the error of KL {words}", "units": "nats"},
        ),
    }
    # names that no axis of a factor has: a tree wants dimensions of one name to have one length
    if not np.array_equal(found.rotation, np.eye(len(found.shift))):
        words = "axes of the blocks, as columns"
        variables["rotation"] = (("axis_x", "axis_y"), found.rotation, {"long_name": words})
    if found.shift.any():
        variables["shift"] = (("axis_x",), found.shift, {"long_name": "place of y = 0"})
    coordinates = {"t": (("t",), times, {"long_name": "time", "units": "1"})}
    factors = [{"node": nodes[block], "kind": block.kind, "ndim": block.ndim} for block in found.blocks]
    attrs = _attrs(problem, json.dumps(factors), seconds)
    root = xr.Dataset(variables, coords=coordinates, attrs=attrs)
    children = {nodes[block]: ds.assign_coords(t=root["t"]) for block, ds in _pairs(solution)}
    return xr.DataTree.from_dict({"/": root, **children})


def _pairs(solution: Solution) -> list[tuple[Block, xr.Dataset]]:
    """Return the different blocks and their solutions, in the order of the blocks."""
    return [(block, solution.solved[block]) for block in solution.copies]


def _attrs(problem: Problem, factors: str, seconds: float) -> dict[str, Any]:
    """Return the attributes of the whole."""
    return {
        "title": "Ground truth of the WFR flow of KL, by independent blocks",
        "energy": repr(problem.energy),
        "start": repr(problem.start),
        "transport_rate": problem.alpha,
        "reaction_rate": problem.beta,
        "rtol": problem.rtol,
        "factors": factors,
        **provenance.dataset_attrs(),
        "wall_time": round(seconds, 6),
    }


def _unsolved(solution: Solution, seconds: float) -> str:
    """Say that time is up, and which factors wait."""
    waiting = ", ".join(repr(block.target) for block in solution.waiting)
    return f"seconds={seconds:g} are spent, and {counted(len(solution.waiting), 'factor')} not solved: {waiting}"


def _too_large(solution: Solution, rtol: float, total: float) -> str:
    """Say which factor has most of a bound that is too large."""
    copies = solution.copies
    errors = {block: copies[block] * float(ds["error_l1"].max()) for block, ds in _pairs(solution)}
    worst = max(errors, key=lambda block: errors[block])
    return (
        f"rtol={rtol:g} is out of reach: the error of the product is at most {total:.1e}, most of it, "
        f"{errors[worst]:.1e}, of {counted(copies[worst], 'block')} {worst.target!r}; rtol={1.5 * total:.1e} is "
        "reachable, and strict=False returns the best"
    )
