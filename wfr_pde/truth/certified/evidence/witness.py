"""The witness: how far a computed flow is from the true one, by what it leaves in the equation.

Let L = log m be computed and l = log mu true, eps = L - l, g = L + V, and

    r = d_t L - alpha (Lap g + grad g . grad L) + beta (g - E g).

Then m solves the equation with the source r, d_t m = (the right-hand side of the flow at m) + m r, from the same start.
A Markov chain on coarser cells moves two densities, one by the flow alone and one by
the flow and the source. Each has the error of the chain; their ratio is e^eps to the relative accuracy of the chain,
however small eps is, and however large. No scheme is trusted for the answer: what is put in are its values at the cell
centres, V, and grad V.

Two more things go along. The equation for eps to first order, with the positive and the negative part of r apart: their
sum is a bound in the sense of |r|. And the share of the mass whose ancestors passed through places where r is above one
nat in a step: of that nothing is known.

Across a ridge mass is at rest in a time far below a step. What the frames are off there is damped as fast as it is put
in, so that a step is cut into smaller ones until the source is small in each, and a transport comes last. And in the
wake of mass that slides down a slope the chain leaves behind more than the answer does. There no reaction matters, the
difference of m and mu obeys the linear equation with the source m r, and r counts as much as the answer has there of
what the chain has. What the answer has too much anywhere is at most e times what it has there; and where chain and
answer are three nats apart at a save time, nothing is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.space.relative_entropy import relative_entropy
from wfr_pde.truth.certified.evidence.cell_balance import CellBalance
from wfr_pde.truth.certified.evidence.residual import Look, Substitution
from wfr_pde.truth.certified.frame_blocks import blocks, cell_axes, spread
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain
from wfr_pde.truth.certified.step_schedule import Nodes

LARGEST = 1.0  # nats of the source in a step, beyond which the answer is no path at all
NOTHING = -80.0  # logarithm of what is added up from zero
MOST_LOST = 1e-3  # share of unknown ancestors, beyond which nothing is known of a cell
CHAIN_TOLERANCE = 1e-10  # of the sweeps: what is compared are two runs of one chain, which have its error alike
SMALL, MOST_PARTS = 0.05, 32  # nats of the source in a part of a step, where ridges are stiff, and parts at most
LARGE_IN = 1e-2  # of the tolerance: mass in cells with more
FAST = 30.0  # times the rate of the reaction, at which mass leaves where it slides down a slope
MORE = 1.0  # nats above the answer, that what it has too much may be
APART = 3.0  # nats between chain and answer at a save time, beyond which the chain is no evidence
FAST_IN = 1e-6  # of the tolerance: mass in cells with a source above LARGEST, that is worth parts of a step
SMALL_RESPONSE = 0.3  # nats, that what a large source leaves behind may be
CANCELLING = 1e8  # times the density, beyond which positive and negative responses that cancel say nothing
LARGEST_DENSITY = 300.0  # its logarithm
# what a chain carries along, and puts back where a step is not made
CARRIED = ("alone", "moved", "above", "below", "lost")
QUARTER = 0.25  # of a part of a step, what is left for the following ones
KL_SHARE = 0.5  # of the difference of KL without signs, which may cancel by chance, that counts at least


@dataclass(frozen=True)
class Testimony:
    """The errors that the witness finds at the save times: arrays (n_times,).

    Attributes
    ----------
    l1 : array
        Estimate of the L1 error.
    kl : array
        Estimate of the error of KL(mu|pi), by the same two densities; half of it without signs, if that is more.
    linear : array
        The estimate to first order.
    residual : array
        2 E ∫ |r|, the bound by the modulus of the source.
    unknown : array
        Share of the mass that passed where the answer is no path.
    time : array
        What of `residual` may be due to the polynomials in time: how densely the frames lie.
    by_panel : array (panels,)
        The same of every panel.
    pointwise : array (n_times, *coarse shape)
        |eps| at the cells of the chain, in nats; infinite where too many ancestors are unknown.
    """

    l1: Array
    kl: Array
    linear: Array
    residual: Array
    unknown: Array
    time: Array
    by_panel: Array
    pointwise: Array


def testify(
    problem: Problem,
    coarse: Grid,
    fine: Grid,
    frames: Sequence[Array] | Array,
    nodes: Nodes,
) -> Testimony:
    """Hold the frames of an answer against the equation.

    Parameters
    ----------
    problem : Problem
        With transport_rate > 0.
    coarse, fine : Grid
        The grid of the chain, and that of the answer, with twice the cells.
    frames : array (n, *shape), or arrays
        log m at the centres of the fine grid, at all nodes.
    nodes : Nodes
    """
    seen = _sources(problem, fine, frames, nodes)
    stiff = problem.given is not None
    chain = _StiffChain(problem, coarse) if stiff else _Chain(problem, coarse)
    rows, pointwise = [(0.0,) * 6], [np.zeros(coarse.shape)]
    time_doubt, by_panel = 0.0, np.zeros(len(nodes.of_panel))
    saved = set(np.asarray(nodes.saved).tolist())
    for k in range(nodes.steps()):
        check_deadline()
        t, dt = float(nodes.times[k]), float(nodes.times[k + 1] - nodes.times[k])
        if isinstance(chain, _StiffChain):
            n = _parts(seen.source[k], seen.mass[k], LARGE_IN * problem.rtol)
            before, after = (values - float(coarse.log_integrate(values)) for values in seen.ends[k])
            for i in range(n):
                chain.answer = before + (i + 0.5) / n * (after - before)
                chain.advance(seen.source[k] / n, t + i * dt / n, dt / n, seen.mass[k])
        else:
            chain.advance(seen.source[k], t, dt, seen.mass[k])
        time_doubt = math.exp(-problem.beta * dt) * time_doubt + seen.doubt[k]
        by_panel[nodes.panel[k]] += seen.doubt[k]
        if k + 1 in saved:
            chain.arrive()  # at the time of the frame
            rows.append((*chain.compared(float(nodes.times[k + 1])), time_doubt))
            pointwise.append(chain.pointwise())
    l1, kl, linear, residual, unknown, time = np.array(rows).T
    return Testimony(l1, kl, linear, residual, unknown, time, by_panel, np.array(pointwise))


def _parts(source: Array, mass: Array, share: float) -> int:
    """Return the number of parts of a step in which next to no mass sees more than a small source."""
    n = 1
    while n < MOST_PARTS and float(mass[~(np.abs(source) <= SMALL * n)].sum()) > share:
        n *= 2
    return n


@dataclass(frozen=True)
class _Sources:
    """What the frames leave in the equation over every step, on joined cells.

    Attributes
    ----------
    source : list of arrays (*coarse shape)
        ∫ r over the step, of mean zero.
    mass : list of arrays (*coarse shape)
        Shares of the cells in the larger of the densities at both ends of the step.
    doubt : list of float
        Mean modulus of what the highest polynomial in time contributes.
    ends : list of pairs of arrays
        On ridges log m at both ends of the step, up to a constant.
    """

    source: list[Array] = field(default_factory=list)
    mass: list[Array] = field(default_factory=list)
    doubt: list[float] = field(default_factory=list)
    ends: list[tuple[Array, Array]] = field(default_factory=list)


def _sources(problem: Problem, fine: Grid, frames: Sequence[Array] | Array, nodes: Nodes) -> _Sources:
    """Compute the sources of all steps, panel by panel."""
    substitution = CellBalance(problem, fine) if fine.ndim == 1 else Substitution(problem, fine)
    found, volumes = _Sources(), _joined_volumes(fine)
    seen: list[Look] = []  # of the frame at the end of the panel before
    for of_panel in nodes.of_panel:
        first, last = int(of_panel[0]), int(of_panel[-1])
        for block in blocks(first + len(seen), last + 1, fine.size):
            check_deadline()
            seen.append(substitution.look(np.asarray(frames[block]), nodes.times[block]))
        looks = Look.concatenated(seen)
        seen = [looks.frames(slice(-1, None))]
        of_nodes, still = looks.frames(of_panel - first), looks.potential[0]
        rates = problem.alpha * of_nodes.transport - problem.beta * (of_nodes.potential - still)
        for block in blocks(first, last, fine.size):
            log_density = looks.log_density[block.start - first : block.stop - first + 1]
            values = _over_steps(problem, nodes, block, log_density + still, rates)
            (source, doubt), heights = substitution.joined(values, np.maximum(log_density[:-1], log_density[1:]))
            mass = np.exp(heights - spread(fine, heights.max(axis=cell_axes(fine)))) * volumes
            mass /= spread(fine, mass.sum(axis=cell_axes(fine)))
            found.mass.extend(mass)
            found.source.extend(_centred(fine, source, mass))
            found.doubt.extend(_mean(fine, np.abs(_centred(fine, doubt, mass)), mass).tolist())
            if problem.given is not None:
                ends = substitution.joined(np.zeros(fine.ndim * (1,)), log_density)[1]
                found.ends.extend(itertools.pairwise(ends))
    return found


def _over_steps(problem: Problem, nodes: Nodes, steps: slice, states: Array, rates: Array) -> Array:
    """Integrate r over steps of a panel, up to a constant, and the part of the highest polynomial in time.

    With V_0 the potential at the beginning of the panel, g = L + V_0 obeys
    d_t g = -beta g + alpha (...) - beta (V - V_0), which is integrated with the factor e^(beta t).

    Parameters
    ----------
    problem : Problem
    nodes : Nodes
    steps : slice
    states : array (steps + 1, *shape)
        g at their ends.
    rates : array (8, *shape)
        d_t g + beta g at the nodes of the panel.

    Returns
    -------
    array (2, steps, *shape)
    """
    _, weights, last = nodes.integral_weights(np.arange(steps.start, steps.stop), problem.beta)
    decay = np.expm1(-problem.beta * np.diff(nodes.times[steps.start : steps.stop + 1]))
    change = states[1:] - states[:-1] - decay.reshape(-1, *[1] * (states.ndim - 1)) * states[:-1]
    return np.stack([change - np.tensordot(weights, rates, 1), np.tensordot(last, rates, 1)])


def _joined_volumes(grid: Grid) -> Array:
    """Return the volumes of the cells joined in pairs along every axis."""
    volumes: Any = 1.0
    for axis in grid.axes:
        volumes = np.multiply.outer(volumes, np.diff(axis.edges).reshape(-1, 2).sum(axis=1))
    return np.asarray(volumes)


def _mean(grid: Grid, values: Array, mass: Array) -> Array:
    """Average frames (n, *shape) over the cells with the weights `mass`; what is not finite counts as zero."""
    return np.asarray((mass * np.where(np.isfinite(values), values, 0.0)).sum(axis=cell_axes(grid)))


def _centred(grid: Grid, values: Array, mass: Array) -> Array:
    """Subtract the mean from values."""
    return values - spread(grid, _mean(grid, values, mass))


def _falling(largest: float) -> list[float]:
    """Cut a step with a source of `largest` nats into falling shares, the last of which sees a small source."""
    left, parts = 1.0, []
    while left * largest > SMALL:
        parts.append(left * (1 - QUARTER))
        left *= QUARTER
    return [*parts, left]


class _Chain:
    """The flow on coarse cells by a Markov chain, with and without the source."""

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.problem, self.grid = problem, grid
        self.chain = RatioChain(problem, grid, CHAIN_TOLERANCE)
        start = np.asarray(grid.log_density(problem.start, "the start", checked=False))
        self.alone, self.moved = start, start.copy()  # log mu up to a constant
        # logarithms of what is carried by the mass: positive and negative source, and whether it was ever lost
        self.above, self.below, self.lost = (np.full(grid.shape, NOTHING) for _ in range(3))

    def advance(self, source: Array, t: float, dt: float, mass: Array) -> None:
        """Make a step: half of source and reaction, the transport, the other half; `mass` is that of the answer."""
        size, least = np.abs(source), FAST_IN * self.problem.rtol
        bad, large = ~(size <= LARGEST), ~(size <= SMALL)
        if large.any():
            out = max(self._mass_in(bad), float(mass[bad].sum())) > least
            if (out or self._mass_in(large) > least) and self._advance_fast(source, t, dt, mass, in_any_case=out):
                return
        source = np.where(bad, 0.0, source)
        self._react(source / 2, bad, t + dt / 4, dt / 2)
        self._transport(t + dt / 2, dt)
        self._react(source / 2, bad, t + 3 * dt / 4, dt / 2)

    def _mass_in(self, cells: np.ndarray) -> float:
        """Return the share of the mass in some of the cells."""
        mass = np.exp(self.alone - self.alone.max()) * self.grid.cell_volume
        return float(mass[cells].sum() / mass.sum())

    def _advance_fast(self, source: Array, t: float, dt: float, mass: Array, in_any_case: bool) -> bool:
        """Make a step in which the transport damps a large source as it comes; return whether it was made.

        With D = m - mu that is d_t D = (transport of D) + m r, which the ends of the step and of its parts, each a
        quarter of the one before, resolve however fast the transport is. There m is the answer, not the chain, so that
        what is taken from a cell and given to the next is the same, however much it is.

        What is not small afterwards is lost; where that is more than next to nothing, the step is not made, and that is
        said, unless it is made `in_any_case`.
        """
        held = [getattr(self, name) for name in CARRIED]
        nothing = np.zeros_like(source)
        no_cells = np.zeros(source.shape, dtype=bool)
        self._react(nothing, no_cells, t + dt / 4, dt / 2)
        self._transport(t + dt / 2, dt)
        self._react(nothing, no_cells, t + 3 * dt / 4, dt / 2)
        finite = np.isfinite(source)
        source = np.where(finite, source, 0.0)
        largest = float(np.abs(source[self._matter()]).max(initial=LARGEST))
        log_pi = self.chain.log_pi(t + dt / 2)
        with np.errstate(divide="ignore"):
            log_mass = np.log(mass) - np.asarray(self.grid.log_cell_volume)
            base = log_mass + float(self.grid.log_integrate(self.alone)) - log_pi
            kicks = [base + np.log(np.maximum(sign * source, 0.0) / 2) for sign in (1, -1)]
        carried = [np.full_like(base, NOTHING + float((self.alone - log_pi).min())) for _ in kicks]
        for share in _falling(largest):
            kick = math.log(share)
            carried = [np.logaddexp(part, more + kick) for part, more in zip(carried, kicks, strict=True)]
            carried = self.chain.transports(carried, t + dt / 2, share * dt)
            carried = [np.logaddexp(part, more + kick) for part, more in zip(carried, kicks, strict=True)]
        after = self.alone - log_pi
        above, below = (np.exp(np.minimum(part - after, 50.0)) for part in carried)
        response = above - below
        bad = ~finite | ~(np.abs(response) <= SMALL_RESPONSE) | ~(np.maximum(above, below) < CANCELLING)
        if not in_any_case and self._mass_in(bad) > FAST_IN * self.problem.rtol:
            for name, values in zip(CARRIED, held, strict=True):
                setattr(self, name, values)
            return False
        with np.errstate(divide="ignore"):  # where the answer has mass and the chain has none, that is what is unknown
            share = np.maximum(np.logaddexp(*(part - after for part in carried)), 0.0)
        self._react(np.log1p(np.where(bad, 0.0, response)), bad, t + dt, 0.0, share)
        return True

    def _matter(self) -> np.ndarray:
        """Return the cells that hold more than a negligible share of the mass."""
        mass = np.exp(self.alone - self.alone.max()) * self.grid.cell_volume
        return np.asarray(mass > FAST_IN * self.problem.rtol * mass.sum() / mass.size)

    def arrive(self) -> None:
        """Do what is left to do at a save time: nothing."""

    def _transport(self, t: float, dt: float) -> None:
        """Move all that is carried over `dt`, with the target as it is at `t`."""
        log_pi = self.chain.log_pi(t)
        g = self.alone - log_pi
        carried = [g + part for part in (self.above, self.below, self.lost)]
        after, moved, *parts = self.chain.transports([g, self.moved - log_pi, *carried], t, dt)
        self.above, self.below, self.lost = (part - after for part in parts)
        self.alone, self.moved = after + log_pi, moved + log_pi

    def _react(self, source: Array, bad: np.ndarray, t: float, dt: float, share: Any = 0.0) -> None:
        """React exactly and add a source; in `bad` cells e^`share` of the mass counts as lost."""
        s = math.exp(-self.problem.beta * dt)
        log_pi = self.chain.log_pi(t)
        alone = s * self.alone + (1 - s) * log_pi
        moved = s * self.moved + (1 - s) * log_pi + source
        self.alone, self.moved = alone - alone.max(), moved - moved.max()  # constants do not matter
        decay = self.problem.beta * dt
        with np.errstate(divide="ignore"):
            self.above = np.logaddexp(self.above - decay, np.log(np.maximum(source, 0.0)))
            self.below = np.logaddexp(self.below - decay, np.log(np.maximum(-source, 0.0)))
        self.lost = np.where(bad, np.maximum(share, self.lost), self.lost)

    def compared(self, t: float) -> tuple[float, float, float, float, float]:
        """Return the L1 distance, the difference of KL, the first-order distance, 2 E ∫ |r|, and the unknown share."""
        one, other = (Density(self.grid, values).normalised() for values in (self.alone, self.moved))
        integrate = self.grid.integrate
        mass = np.asarray(one.values)
        log_pi = np.asarray(self.problem.energy.at(t).log_equilibrium(self.grid))
        kl = [relative_entropy(self.grid, np.asarray(d.log_values), log_pi) for d in (one, other)]
        g = np.asarray(one.log_values) - log_pi
        apart = np.abs(one.values - other.values)
        unsigned = float(integrate(apart * np.where(apart > 0, np.abs(g - kl[0]), 0.0)))
        above, below = (np.exp(np.minimum(part, 50.0)) for part in (self.above, self.below))
        linear = above - below
        linear = linear - float(integrate(mass * linear))
        return (
            float(integrate(np.abs(one.values - other.values))),
            max(abs(kl[1] - kl[0]), KL_SHARE * unsigned),
            float(integrate(mass * np.abs(linear))),
            2 * float(integrate(mass * (above + below))),
            float(integrate(np.exp(np.minimum(np.asarray(one.log_values) + self.lost, LARGEST_DENSITY)))),
        )

    def pointwise(self) -> Array:
        """Compute |eps| at the cells, in nats; infinite where more than a thousandth of the ancestors is unknown."""
        one, other = (Density(self.grid, values).normalised() for values in (self.alone, self.moved))
        known = np.abs(np.asarray(other.log_values) - np.asarray(one.log_values))
        return np.where(self.lost > math.log(MOST_LOST), math.inf, known)


class _StiffChain(_Chain):
    """A chain on ridges: half of the transport, reaction and source, the other half, joined to that of the next step.

    Attributes
    ----------
    answer : array
        log m of the answer on the cells during the step.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        super().__init__(problem, grid)
        self.answer = self.alone
        self._time, self._left = float(problem.times[0]), 0.0  # until when, and for how long, transport has to be made

    @override
    def advance(self, source: Array, t: float, dt: float, mass: Array) -> None:
        """Make a step, but for the second half of the transport."""
        bad = ~(np.abs(source) <= LARGEST)
        source = np.where(bad, 0.0, source)
        self._left, self._time = self._left + dt / 2, t + dt / 2
        before, fallen = self.alone, FAST * self.problem.beta * self._left
        self.arrive()
        slides = self.alone < before - fallen
        share = np.where(slides, np.minimum(self.answer - self.alone, 0.0), 0.0)
        self._react(source * np.exp(share), bad, t + dt / 2, dt, share)
        for values in (self.alone, self.moved):
            values -= float(self.grid.log_integrate(values))
        eps = self.moved - self.alone
        with np.errstate(divide="ignore"):
            surplus = np.minimum(self.alone + np.log(np.expm1(np.maximum(eps, 0.0))), self.answer + MORE)
        self.moved = np.where(eps > 0, np.logaddexp(self.alone, surplus), self.moved)
        self._left, self._time = dt / 2, t + dt

    @override
    def compared(self, t: float) -> tuple[float, float, float, float, float]:
        """Return the distances as other chains do; where chain and answer are far apart, the mass is unknown, too."""
        *known, unknown = super().compared(t)
        logs = [values - float(self.grid.log_integrate(values)) for values in (self.alone, self.answer)]
        apart = np.where(np.abs(logs[0] - logs[1]) > APART, np.exp(np.maximum(*logs)), 0.0)
        return (*known, unknown + float(self.grid.integrate(apart)))  # type: ignore[return-value]

    @override
    def arrive(self) -> None:
        """Make the transport that is left to do."""
        if self._left > 0:
            self._transport(self._time - self._left, self._left)
            self._left = 0.0
