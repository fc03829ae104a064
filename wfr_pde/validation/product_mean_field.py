"""The law of a sampler for infinitely many particles, block by block of a product."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.flows import Flow
from wfr_pde.integrate.truth_arguments import start_time
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.typing import Array, Rng
from wfr_pde.samplers.density_ratio import Oracle
from wfr_pde.samplers.feynman_kac import FeynmanKac
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.validation.finite_population import FinitePopulationCutoff
from wfr_pde.validation.gaussian_laws import gaussian_laws, keeps_gaussians
from wfr_pde.validation.mean_field import Law, mean_field, moves_densities
from wfr_pde.validation.product_parts import GridPart, Part
from wfr_pde.validation.product_problem import BlockProblem, ProductProblem

AXIS_CELLS = 192  # of the grid on which one axis of a Gaussian block is solved
ALONG = 1e-12  # of a covariance: entries below it are rounding


@dataclass(frozen=True, eq=False)
class TruthOfBlock:
    """The law of one block of a truth in any dimension: a `Truth` in the coordinates of the block, or along an axis.

    Attributes
    ----------
    truth : Truth
        Of the whole.
    number : int
        Of the block.
    axis : array (m,), optional
        Direction in a Gaussian block along which the law is taken.
    grid : Grid, optional
        On which that is put.
    """

    truth: Truth
    number: int
    axis: Any = None
    grid: Any = None

    @property
    def times(self) -> Array:
        """Those of the whole."""
        return self.truth.times

    def at(self, t: float) -> Any:
        """Return the law of the block."""
        law: Any = self.truth.at(t)
        factor = law.factors[self.number]
        if self.axis is None:
            return factor
        return self.grid.density(Gaussian(factor.mean @ self.axis, self.axis @ factor.covariance @ self.axis))

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate its log-density at points (..., m), at one time."""
        return np.asarray(self.at(float(np.asarray(t))).log_prob(x))

    def score(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Evaluate its score at points (..., m), at one time."""
        return np.asarray(self.at(float(np.asarray(t))).score(x))

    def sample(self, n: int, t: float, rng: Rng = None) -> Array:
        """Draw from it."""
        return np.asarray(self.at(t).sample(n, rng))

    def error_l1(self, t: ArrayLike) -> Any:
        """Bound its error by that of the whole."""
        return self.truth.error_l1(t)


@dataclass(frozen=True, eq=False)
class Span:
    """Save times, the first being that of the start, the step, and the number of particles that count."""

    times: Array
    dt: float
    n: float


@dataclass(frozen=True, eq=False)
class BlockLaw:
    """Law of one block at the save times: of a flow on two grids, or as Gaussians.

    Attributes
    ----------
    laws : list of Density or Gaussian
        At the times.
    on_grids : Law, optional
        Of a block on a grid, for its error in space.
    """

    laws: list[Any]
    on_grids: Law | None = None

    def expectations(self, index: int, part: Part, order: float = math.inf) -> tuple[Array, Array]:
        """Return the expectations of the statistics of a block at a time, and estimates of their errors.

        Where the flow on grids is of a finite `order` in dx, the two are extrapolated.
        """
        if self.on_grids is not None:
            return self.on_grids.expectations(index, part.means, order)
        found = part.means(self.laws[index])
        return found, np.zeros_like(found)


def splits(flow: Flow, problem: ProductProblem) -> bool:
    """Tell whether the law of a flow is known block by block: if it factorises, and every block can be solved."""
    known = truths_of(flow)
    if not flow.factorises or not all(problem.has_axes_of(truth.at(start_time(truth))) for truth in known):
        return False
    return all(
        (isinstance(block.law, Density) and moves_densities(flow, block.law.ndim))
        or (isinstance(block.law, Gaussian) and isinstance(block.start, Gaussian) and keeps_gaussians(flow))
        for block in problem.blocks
    )


def leaves(flow: Flow) -> list[Any]:
    """Return the parts of a composition that are none themselves."""
    found: list[Any] = []

    def noted(part: Flow) -> Flow:
        found.append(part)
        return part

    flow.map_parts(noted)
    return found


def law_of_block(flow: Flow, block: BlockProblem, times: Array, dt: float, only_coarse: bool = False) -> BlockLaw:
    """Return the law of a flow in one block, at the times, of which the first is that of the start.

    Raises
    ------
    ValueError
        If no grid of a reasonable size holds it.
    """
    number = block.numbers[0]
    if isinstance(block.law, Gaussian):
        known = truths_of(flow)
        truth: Callable[[float], Any] | None = TruthOfBlock(known[0], number).at if known else None
        return BlockLaw(gaussian_laws(flow, block.target, block.start, times, dt, truth))
    own = in_block(flow, number)
    law = mean_field(own, block.target, block.start, times, dt, block.law.grid, only_coarse=only_coarse)
    return BlockLaw([density.normalised() for density in law.fine], law)


def truths_of(flow: Flow) -> list[Truth]:
    """Return the truths that weights of a flow are taken of."""
    densities = [getattr(part, "density", None) for part in leaves(flow)]
    return [density.known for density in densities if isinstance(density, Oracle)]


def in_block(flow: Flow, number: int, axis: Any = None, grid: Grid | None = None) -> Flow:
    """Return the flow of a block, or along an axis of it: weights by a truth are weights by that of the block."""

    def exchanged(part: Flow) -> Flow:
        if isinstance(part, FeynmanKac) and isinstance(part.density, Oracle):
            return replace(part, density=Oracle(TruthOfBlock(part.density.known, number, axis, grid)))
        return part

    return flow.map_parts(exchanged)


def unreached(
    flow: Flow, block: BlockProblem, law: BlockLaw | None, chosen: list[tuple[Part, Any]], setting: Span
) -> list[Array]:
    """Return how far expectations move where places of the block without a single of n particles are emptied.

    Parameters
    ----------
    flow : Flow
        What the runs are compared with.
    block : BlockProblem
    law : BlockLaw, optional
        Of the flow in the block, where it is known.
    chosen : list of (Part, law)
        Statistics of the block at the times after the first, and the laws that they are of.
    setting : Span
        Times, step and number of particles.

    Returns
    -------
    list of arrays (k,)
        At the times after the first; infinite where nothing is known.
    """
    if isinstance(block.law, Density):
        own = in_block(flow, block.numbers[0])
        arguments = (block.target, block.start, setting.times, setting.dt, block.law.grid)
        grids = None if law is None else law.on_grids
        if grids is None:
            grids = mean_field(own, *arguments, only_coarse=True)
        cells = grids.coarse[0].grid.shape[0]
        cut = mean_field(FinitePopulationCutoff(own, setting.n), *arguments, only_coarse=True, cells=cells)
        pairs = zip(grids.coarse[1:], cut.coarse[1:], chosen, strict=True)
        return [np.abs(part.means(emptied) - part.means(whole)) for whole, emptied, (part, _) in pairs]
    if isinstance(block.law, Gaussian) and isinstance(block.start, Gaussian):
        shares = _gaussian_gaps(flow, block, setting)
        return [share * part.deviations(of) for share, (part, of) in zip(shares, chosen, strict=True)]
    return [np.full(len(part.patterns), math.inf) for part, _ in chosen]


def _gaussian_gaps(flow: Flow, block: BlockProblem, setting: Span) -> Array:
    """Return by how many standard deviations (t - 1,) statistics of a Gaussian block move, axis by axis.

    The axes are those of the covariance of pi. Where that of the start has the same axes, the flow is one for every
    axis, and what a sum over axes moves by is at most the root of the sum of squares; else it is an estimate.
    """
    pi: Any = block.target
    start, covariance = block.start, pi.covariance
    scale = float(np.abs(covariance).max())
    off = max(float(np.abs(c - np.diag(np.diag(c))).max()) for c in (covariance, start.covariance))
    axes = np.eye(len(covariance)) if off < ALONG * scale else np.linalg.eigh(covariance)[1]
    known: dict[tuple[float, ...], Array] = {}
    gaps = []
    for axis in axes.T:
        numbers = (pi.mean @ axis, axis @ covariance @ axis, start.mean @ axis, axis @ start.covariance @ axis)
        key = tuple(float(f"{number:.9g}") for number in numbers)
        if key not in known:
            ends = Gaussian(key[0], key[1]), Gaussian(key[2], key[3])
            box = Grid.covering(*ends, shape=AXIS_CELLS)
            known[key] = _gap_on_axis(in_block(flow, block.numbers[0], axis, box), *ends, box, setting)
        gaps.append(known[key])
    each = np.array(gaps)
    return np.asarray(each.max(axis=0) if off < ALONG * scale else np.sqrt(np.sum(each**2, axis=0)))


def _gap_on_axis(flow: Flow, pi: Gaussian, start: Gaussian, box: Grid, setting: Span) -> Array:
    """Return by how many standard deviations moments and regions of a Gaussian on a line move, the most of them."""
    law, cut = (
        mean_field(one, pi, start, setting.times, setting.dt, box, only_coarse=True, cells=AXIS_CELLS)
        for one in (flow, FinitePopulationCutoff(flow, setting.n))
    )
    gaps = []
    for whole, emptied in zip(law.fine[1:], cut.fine[1:], strict=True):
        part = GridPart.of(whole, pi, None)
        gaps.append(float(np.max(np.abs(part.means(emptied) - part.means(whole)) / part.deviations(whole))))
    return np.array(gaps)
