"""What a certified solution is made of: runs that differ in one thing each, and what they say about the error."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde import metrics
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.richardson import richardson
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.targets.breaks import Breaks
from wfr_pde.truth.certified.between_grids import Moves
from wfr_pde.truth.certified.budget import Budget, Run
from wfr_pde.truth.certified.evidence.cell_quadrature import CellQuadrature
from wfr_pde.truth.certified.evidence.differences import excess_of_first_variation, kl_of_moved_mass, unsigned_kl
from wfr_pde.truth.certified.evidence.error_estimates import (
    SATURATED,
    convergence_factor,
    is_asymptotic,
    single_grid_bound,
)
from wfr_pde.truth.certified.evidence.second_family import Agreement, agreement, second_opinion
from wfr_pde.truth.certified.evidence.tails import FarOut
from wfr_pde.truth.certified.evidence.witness import Testimony, testify
from wfr_pde.truth.certified.frame_blocks import blocks, integrals, log_equilibria, normalised, spread
from wfr_pde.truth.certified.grids.first_grids import Terrain, breaks_of, look_at, searches_breaks
from wfr_pde.truth.certified.grids.grid_family import WIDER, GridFamily
from wfr_pde.truth.certified.preparation.input_checks import (
    coordinate_rounding,
    potential_rounding,
    rounding_in_the_start,
)
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.step_schedule import Nodes, StepSchedule, subdivided

RATIOS = (0.75, 1.0, 1.25, 1.5, 2.0)  # of the numbers of cells; the last four give order 8 in dx, all five order 10
COARSEST, BASE, FINEST = 0, 1, 4  # numbers of the first ratio, of the ratio one, and of the last
NODES, FEWER_NODES = 14, 10  # of the interpolation between grids, and of the one that its error is measured against
REFINED = 2  # ratio of the numbers of steps that are compared
# times the measured differences; benchmarks/honesty.py attacks the bounds that come of them
SAFETY = {"time": 4.0, "interpolation": 3.0, "domain": 4.0, "witness": 2.0, "unknown": 2.0, "mass": 3.0}
RAISED = 4.0  # times as high above the least V as they are, ceilings in the run that tells what they do
MOST_GROWTH = 10.0  # of the error of the steps, from a grid to the next
LARGEST = 1.0  # correction in nats: beyond, far out in a tail, the extrapolation has not begun to converge
MOST_DOUBTFUL = 0.01  # mass that corrections leave in doubt, beyond which extrapolation counts for nothing
LEFT = 4  # power of a correction in nats, that extrapolation over four grids leaves of the mass there
ROUNDING, STEP_ROUNDING = 1e-13, 2e-15  # of one run, and per step
ARRAYS = 40  # of the size of the finest grid, while it is solved on and compared
LOST = 0.5  # bound of the L1 error from which on KL is not known
BREAK_PLACE = 1e-11  # mass beside a break that was searched for, by which its place may be off
SATURATION, BUMP = 2.0, 1e-6  # L1 distance at most, and share of a cell by bumps from which nats are unknown there
MOVES_MASS = "time", "space", "witness"  # parts whose errors may be anywhere in the bulk
# of the error; their sum is the bound
PARTS = ("time", "space", "witness", "mass", "domain", "between", "rounding")


@dataclass(frozen=True)
class _Answer:
    """The answer at a save time.

    Attributes
    ----------
    log_values : array of the shape of the finest grid
        log mu, by sums over the cells.
    l1, kl : float
        Bounds of its errors.
    counts : bool
        Whether the extrapolation in dx counts.
    apart : array of that shape
        Distance of two orders in nats; infinite where extrapolation does not count.
    """

    log_values: Array
    l1: float
    kl: float
    counts: bool
    apart: Array


class Attempt:
    """Solutions on one family of grids, with one schedule of steps, and what they say about their error."""

    def __init__(
        self, problem: Problem, cells: GridFamily, schedule: StepSchedule, parts: int, order: int, work: Budget
    ) -> None:
        self.problem, self.cells, self.order, self.work = problem, cells, order, work
        self.schedule, self.parts = schedule, parts
        self.nodes: Nodes = schedule.nodes(problem.times)
        alone = problem.alpha == 0 and not problem.target.moving  # a reaction to a target at rest needs no other frames
        self.times = problem.times if alone else self.nodes.times  # of the frames on every grid
        self.steps = subdivided(self.times, 1 if problem.exact_in_time else parts)
        self.saved = np.searchsorted(self.times, problem.times)
        self.grid = cells.grid(RATIOS[-1])
        self.l1: dict[str, Array] = {}
        self.kl: dict[str, Array] = {}
        self.runs: dict[int, Array] = {}  # by the number of the grid
        self._beside: list[Array] = []  # made with the finest of them: see `_domain_runs`
        self.result: list[Density] = []
        self.value: Array = np.zeros(len(problem.times))  # KL
        self.evidence: dict[str, Any] = {}
        self.testimony: Testimony | None = None
        self.hidden = False  # whether V was seen to do something between the cells
        self.residual: Array = np.zeros(len(problem.times))
        self.agreement: Agreement | None = None
        self._narrow: Array | None = None  # what the walls change at the centres of the grid with the ratio one
        self._store("between", np.zeros((len(problem.times), 2)))

    def expected_seconds(self) -> float:
        """Return how long all measurements will take, at the speed of the last run."""
        cells = self.cells.grid(1).size
        d = self.grid.ndim
        runs = sum(r**d for r in RATIOS) + (1 + 2 * WIDER) ** d
        runs += 0 if self.problem.exact_in_time else REFINED * (1 + RATIOS[COARSEST] ** d)
        runs += 1.0  # the witness
        return self.work.rate * cells * runs * len(self.steps)

    def needed_memory(self) -> tuple[int, int]:
        """Count the bytes needed at most, and those of them for the frames on all grids."""
        cells, d = self.cells.grid(1).size, self.grid.ndim
        stored = 8 * len(self.times) * (sum(r**d for r in RATIOS) * cells + self.grid.size)
        stored *= 2 if self.problem.target.moving else 1  # the target at every time is held too
        return int(stored + 8 * (ARRAYS + 8 * d) * self.grid.size), int(stored)

    def check_memory(self) -> None:
        """Refuse what would not fit.

        Raises
        ------
        MemoryError
        """
        needed, stored = self.needed_memory()
        free = self.grid.backend.available_memory()
        budget = self.work.memory * 2**30
        if needed > min(budget, math.inf if free is None else free):
            limit = (
                f"memory={self.work.memory:g} allows for less" if needed > budget else f"{free / 2**30:.3g} are free"
            )
            raise MemoryError(
                f"a certified solution at {counted(len(self.times), 'time')} on "
                f"{' x '.join(map(str, self.grid.shape))} cells needs about {needed / 2**30:.3g} GiB, "
                f"{stored / 2**30:.3g} of them for the frames on all grids, but "
                f"{limit}: use fewer save times, a larger rtol, or a smaller box"
            )

    def measure_time(self) -> None:
        """Measure the error in time, by runs on the two coarsest grids with twice the steps.

        Their distance on the finer one counts four times, and more by as much as it has grown from the coarser: what
        the steps miss in places that few cells resolve is larger on more of them.
        """
        if self.problem.exact_in_time:
            self._store("time", np.zeros((len(self.problem.times), 2)))
            return
        steps = subdivided(self.steps, REFINED)
        numbers = COARSEST, BASE
        finer = self.work.run_all([self._of(self.cells.grid(RATIOS[k]), steps, self.problem.times) for k in numbers])
        coarser, base = (self._distances_in_time(k, run) for k, run in zip(numbers, finer, strict=True))
        growth = np.clip(base / np.maximum(coarser, 1e-300), 1.0, MOST_GROWTH)
        self._store("time", SAFETY["time"] * growth * base)

    def _distances_in_time(self, k: int, finer: Array) -> Array:
        """Return the L1 and KL distances (n_times, 2) of the run on grid number k to the one with finer steps."""
        grid, found = self.cells.grid(RATIOS[k]), []
        for t, *pair in zip(self.problem.times.tolist(), self._run(k)[self.saved], finer, strict=True):
            energy = self.problem.energy_at(t)
            a, b = (self.problem.density(grid, log_ratio, t) for log_ratio in pair)
            kl = max(abs(self.problem.kl(a, t) - self.problem.kl(b, t)), unsigned_kl(energy, a, b))
            found.append((metrics.l1(a, b), kl))
        return np.array(found)

    def _of(self, grid: Grid, steps: Array, wanted: Array) -> Run:
        """Describe a run of the problem on a grid; nothing is computed yet."""
        return Run(self.problem, grid, steps, self.order, wanted)

    def _run(self, k: int) -> Array:
        """Return the log-ratios at the times of the frames on grid number k."""
        return self._runs([k])[0]

    def _runs(self, numbers: Sequence[int]) -> list[Array]:
        """Return the log-ratios at the times of the frames on several grids."""
        missing = [k for k in numbers if k not in self.runs]
        if missing:
            runs = [self._of(self.cells.grid(RATIOS[k]), self.steps, self.times) for k in missing]
            # those of the domain are for a second thread, which has little to do beside the finest grid
            beside = self._domain_runs() if numbers[-1] == FINEST and self.grid.ndim > 1 else []
            found = self.work.run_all([*runs, *beside])
            self.runs |= zip(missing, found, strict=False)
            self._beside = found[len(runs) :]
        return [self.runs[k] for k in numbers]

    def _domain_runs(self) -> list[Run]:
        """Describe the runs that tell the error of the domain: in a wider box, and under higher ceilings."""
        grid, (wide, _), ceilings = self.cells.grid(1), self.cells.wider(), self.problem.ceilings
        has_margin = not self.cells.real_walls and wide.shape != grid.shape
        runs = [self._of(wide, self.steps, self.problem.times)] if has_margin else []
        if ceilings is not None:
            higher = replace(self.problem, ceilings=ceilings.raised(RAISED))
            runs.append(Run(higher, self.cells.grid(RATIOS[COARSEST]), self.steps, self.order, self.problem.times))
        return runs

    def measure_domain(self) -> None:
        """Measure the error of the box, by the run with the ratio one in a box wider by an eighth on each side."""
        grid, (wide, window) = self.cells.grid(1), self.cells.wider()
        runs, capped = self._domain_runs(), self.problem.ceilings is not None
        found_all = self._beside or (self.work.run_all(runs) if runs else [])
        of_ceilings = self._of_ceilings(found_all[-1] if capped else None)
        if len(runs) == capped:  # no wider box
            self._store("domain", of_ceilings)
            return
        log_ratio = found_all[0]
        found, changed, far_out = [], [], FarOut(self.problem, wide)
        for t, narrow, other in zip(self.problem.times.tolist(), self._run(BASE)[self.saved], log_ratio, strict=True):
            inside, everywhere = self.problem.density(grid, narrow, t), self.problem.density(wide, other, t)
            extended = np.full(wide.shape, -math.inf)
            extended[window] = inside.log_values
            l1 = metrics.l1(everywhere, Density(wide, extended))
            missed, kl = far_out.changed_by(everywhere, inside, window, t)
            found.append((l1 + missed, kl))
            changed.append(np.abs(np.asarray(everywhere.log_values)[window] - np.asarray(inside.log_values)))
        self._narrow = np.array(changed)
        self._store("domain", SAFETY["domain"] * np.array(found) + of_ceilings)

    def _of_ceilings(self, other: Array | None) -> Array:
        """Bound what ceilings of V, and the mass outside the box, do (n_times, 2); `other` is a run under higher ones.

        Four times the distance of the run on the coarsest grid to one under ceilings four times as high, and twice the
        mass that the pilot had above them: in KL by as many nats as the ceiling of the time.
        """
        problem = self.problem
        result = np.zeros((len(problem.times), 2)) + 2 * problem.outside * np.array([1.0, 0.0])
        if problem.ceilings is None or other is None:
            return result
        grid, higher = self.cells.grid(RATIOS[COARSEST]), replace(problem, ceilings=problem.ceilings.raised(RAISED))
        above, lowest = problem.ceilings.above, problem.ceilings.lowest
        for i, (k, t) in enumerate(zip(self.saved.tolist(), problem.times.tolist(), strict=True)):
            if i == 0:
                continue  # the start is what it is
            one, two = problem.density(grid, self._run(COARSEST)[k], t), higher.density(grid, other[i], t)
            nats = problem.ceilings.level(t) - lowest
            kl = max(abs(problem.kl(one, t) - problem.kl(two, t)), unsigned_kl(problem.energy_at(t), one, two))
            result[i] += SAFETY["domain"] * np.array([metrics.l1(one, two), kl])
            result[i] += 2 * above * np.array([1.0, nats if math.isfinite(nats) else 0.0])
        self.evidence["ceilings"] = {
            "from": problem.ceilings.starts[1:].tolist(),
            "nats above the least V": [None if math.isinf(x) else x - lowest for x in problem.ceilings.levels.tolist()],
            "mass above in the pilot": above,
        }
        return result

    # Space

    def promising(self) -> bool:
        """Return whether distances of the three coarsest grids fall as dx² at every save time."""
        runs = self._runs(range(3))
        if self.problem.alpha == 0:
            return True
        for block in blocks(1, len(self.saved), self.grid.size):
            moved = self._fine.some(runs, self.saved[block])
            apart = self._distances([self._densities(log_ratios, self.problem.times[block]) for log_ratios in moved])
            if not all(is_asymptotic(distances, RATIOS[:3]) for distances in apart.T.tolist()):
                return False
        return True

    def _densities(self, log_ratios: Array, times: Array) -> Array:
        """Return the log-densities on the finest grid of log-ratios (n, *shape) at times (n,)."""
        return normalised(self.grid, log_ratios + log_equilibria(self.problem, self.grid, times))

    def _distances(self, log_densities: Sequence[Array]) -> Array:
        """Return the L1 distances of neighbours in a sequence of densities (m, n): (m - 1, n)."""
        densities = [np.exp(values) for values in log_densities]
        return np.array([integrals(self.grid, np.abs(a - b)) for a, b in itertools.pairwise(densities)])

    @cached_property
    def _fine(self) -> Moves:
        return Moves(self.problem, self._grids, NODES, self.times)

    def _of_moved_mass(self, l1: Array) -> Array:
        """Return by how much KL changes at the save times if L1 errors (n_times,) are mass in a wrong mode."""
        found, grid = np.zeros(len(l1)), self.cells.grid(1)
        for i, (k, t) in enumerate(zip(self.saved.tolist(), self.problem.times.tolist(), strict=True)):
            if l1[i] > 0:
                density = self.problem.density(grid, self._run(BASE)[k], t)
                found[i] = kl_of_moved_mass(self.problem.energy_at(t), density, float(l1[i]))
        return found

    @cached_property
    def _grids(self) -> list[Grid]:
        return [self.cells.grid(r) for r in RATIOS]

    @cached_property
    def _mass(self) -> CellQuadrature:
        return CellQuadrature(self.problem, self.cells, self.grid)

    def _weights(self, first: int) -> Array:
        """Return the weights of the extrapolation over the grids from the number `first` on."""
        return richardson(RATIOS[first:], self.cells.powers)

    def measure_space(self) -> None:
        """Measure the error in dx, by Richardson extrapolation over the four finest grids against that over all five.

        It counts if the distances of the single grids fall as those of their dx², and if next to no mass is in cells
        where the corrections are large; else the answer is that of the finest grid alone, with the bound that
        the slowest power of dx gives.
        """
        start = self.grid.log_density(self.problem.start, "the start", checked=False)
        self._frames: dict[int, Array] = {0: np.asarray(start)}
        self.result, self.value = [], np.zeros(len(self.problem.times))
        found, mass, self._counts = [], [], []
        by_reaction = self.problem.alpha == 0 and not self.problem.target.moving
        answers = iter(()) if by_reaction else self._answers()
        self._apart: list[Array] = []  # nats between two orders, at the centres
        for i, (k, t) in enumerate(zip(self.saved.tolist(), self.problem.times.tolist(), strict=True)):
            if i == 0 or by_reaction:  # exact in every cell: nothing is exchanged between them
                log_values, measured = self._mass.by_reaction(t)
                answer = self._exact(log_values)
            else:
                answer = next(answers)
                measured = self._mass(answer.log_values, t)
            self._counts.append(answer.counts)
            self._apart.append(answer.apart)
            self.value[i] = measured.kl
            self._frames[k] = answer.log_values - measured.log_mass
            self.result.append(Density(self.grid, self._frames[k]))
            found.append((min(answer.l1, SATURATION), answer.kl))
            kl_doubt = measured.kl_doubt + self.problem.normaliser_doubt
            mass.append((SAFETY["mass"] * measured.mass_doubt, SAFETY["mass"] * kl_doubt))
        self._store("space", found)
        self._store("mass", mass)
        box = self.cells.lower, self.cells.upper
        since = self.problem.times - self.problem.times[0]
        moved = -np.expm1(-self.problem.beta * since) if by_reaction else (since > 0).astype(float)
        of_potential = np.maximum(
            potential_rounding(self.problem, *box), moved * rounding_in_the_start(self.problem, *box)
        )
        rounding = ROUNDING + STEP_ROUNDING * len(self.steps) + coordinate_rounding(self.problem, *box) + of_potential
        self._store("rounding", np.stack([rounding, rounding * (1 + self.value)], axis=1))
        self.evidence["single grids"] = {"fall as dx squared": self._counts}

    def _exact(self, log_values: Array) -> _Answer:
        """Make the answer where the log-values are exact in every cell."""
        return _Answer(log_values, 0.0, 0.0, True, np.zeros(self.grid.shape))

    def _answers(self) -> Iterator[_Answer]:
        """Yield the answers at the save times after the first."""
        runs = self._runs(range(len(RATIOS)))
        rough = Moves(self.problem, self._grids, FEWER_NODES, self.times) if self.problem.alpha > 0 else None
        for block in blocks(1, len(self.saved), self.grid.size):
            which, times = self.saved[block], self.problem.times[block]
            if rough is None:
                yield from map(self._exact, self._densities(runs[-1][which], times))
                continue
            fine = self._fine(runs, which)
            singles = [self._densities(log_ratios, times) for log_ratios in fine]
            found = [self._level(fine[first:], first, times) for first in (2, 1, 0)]
            levels = [log_densities for log_densities, _ in found]
            corrections = np.max([np.abs(by) for _, by in found], axis=0)
            with_less = self._level(rough(runs, which)[1:], 1, times)[0]
            apart, distances = self._distances(singles), self._distances(levels)
            interpolation = self._distances([levels[1], with_less])[0]
            for i, t in enumerate(times.tolist()):
                own = [values[i] for values in singles], [values[i] for values in levels]
                yield self._answer(t, *own, apart[:, i], distances[:, i], float(interpolation[i]), corrections[i])

    def _answer(
        self,
        t: float,
        singles: Sequence[Array],
        levels: Sequence[Array],
        apart: Array,
        distances: Array,
        interpolation: float,
        corrections: Array,
    ) -> _Answer:
        """Make the answer at a time, by the single grids, the orders 6, 8 and 10, and the distances of neighbours.

        Differences in KL are by one and the same sum over the cells, whose own error is in all of them.

        If the terms of the error of one grid in dx², dx⁴, ... are like powers of one number, of a correction the fourth
        power is what four grids leave. The distance of two orders does not show that in a far mode, where the
        corrections of both are large.
        """
        energy = self.problem.energy_at(t)
        left = np.minimum(corrections, 1.0) ** LEFT * np.exp(np.maximum(singles[-1], levels[1]))
        doubtful = float(self.grid.integrate(left))
        if is_asymptotic(apart.tolist(), RATIOS) and doubtful <= MOST_DOUBTFUL:
            below, level, above = (Density(self.grid, values) for values in levels)
            factor = convergence_factor(distances.tolist())
            l1 = factor * float(distances[1]) + SAFETY["interpolation"] * interpolation + SATURATION * doubtful
            gaps = [
                abs(b - a) for a, b in itertools.pairwise(energy.value(density) for density in (below, level, above))
            ]
            kl = max(
                factor * unsigned_kl(energy, level, above),
                convergence_factor(gaps) * gaps[1],
                SATURATION * (doubtful + float(self.grid.integrate(left * excess_of_first_variation(energy, level)))),
            )
            nats = factor * np.abs(levels[1] - levels[2]) + SATURATION * np.minimum(corrections**LEFT, corrections)
            return _Answer(levels[1], l1, kl, True, nats)
        alone = [Density(self.grid, values) for values in singles]
        l1 = single_grid_bound(float(apart[-1]), RATIOS) if apart.max() < SATURATED else SATURATION
        values = [energy.value(density) for density in alone]
        gaps = [abs(b - a) for a, b in itertools.pairwise(values)]
        kl = single_grid_bound(max(*gaps, unsigned_kl(energy, *alone[-2:])), RATIOS)
        return _Answer(singles[-1], l1, kl, False, np.full(self.grid.shape, math.inf))

    def _level(self, log_ratios: Sequence[Array], first: int, times: Array) -> tuple[Array, Array]:
        """Extrapolate log-ratios (n, *shape) from grid `first` on: return log-densities, and corrections in nats.

        The corrections are those of the finest grid. Log-ratios are known up to a constant, which may differ from grid
        to grid: the mean of a correction is set to zero.
        """
        weights = self._weights(first)
        finest = log_ratios[-1]
        correction = np.asarray(sum(w * (g - finest) for w, g in zip(weights[:-1], log_ratios[:-1], strict=True)))
        alone = np.exp(self._densities(finest, times))
        correction = correction - spread(self.grid, integrals(self.grid, alone * correction))
        return self._densities(finest + np.clip(correction, -LARGEST, LARGEST), times), correction

    # The witness

    def measure_witness(self) -> None:
        """Measure the error by what the frames of the answer leave in the equation."""
        n = len(self.problem.times)
        if self.problem.alpha == 0:
            self._store("witness", np.zeros((n, 2)))
            return
        frames = self._all_frames()
        self.testimony = found = testify(self.problem, self.cells.grid(1), self.grid, frames, self.nodes)
        unknown = SAFETY["unknown"] * found.unknown
        l1 = np.minimum(SAFETY["witness"] * found.l1 + unknown, SATURATION)
        kl = SAFETY["witness"] * found.kl + unknown * (1 + np.abs(self.value))
        self.residual = found.residual
        self._store("witness", np.stack([l1, kl], axis=1))
        self.evidence["witness"] = {name: getattr(found, name).tolist() for name in ("l1", "linear", "unknown", "time")}

    def _all_frames(self) -> Array:
        """Return the answer at all times of the frames (n, *shape), extrapolated as that of the next save time is."""
        runs = self._runs(range(len(RATIOS)))
        frames = np.empty((len(self.times), *self.grid.shape))
        counts = np.array(self._counts)[np.searchsorted(self.saved, np.arange(len(self.times)))]
        for block in blocks(0, len(self.times), self.grid.size):
            log_ratios, times = self._fine(runs, block), self.times[block]
            extrapolated = self._level(log_ratios[1:], 1, times)[0]
            alone = extrapolated if counts[block].all() else self._densities(log_ratios[-1], times)
            frames[block] = np.where(spread(self.grid, counts[block]), extrapolated, alone)
        for k, values in self._frames.items():
            frames[k] = values
        return frames

    # Evidence beside the five grids

    def look_between(self, terrain: Terrain) -> None:
        """Look at V between the cell centres; a feature that the cells do not show makes the error 2."""
        breaks = terrain.breaks
        if not np.array_equal(self.cells.lower, terrain.cells.lower):  # the box was widened
            breaks = breaks_of(self.problem, self.cells.lower, self.cells.upper)
        seen = terrain.look
        # under ceilings the first look was at more cells than those of the first attempt
        if self.cells is not terrain.cells or terrain.hides or self.problem.ceilings is not None:
            seen = look_at(self.problem, self.cells.grid(1), self.cells, breaks)
        self.evidence["V between the cells"] = {
            "kind": seen.kind if seen.kind == "proved" else f"looked at {seen.places} places",
            "departs by nats": float(seen.depth),
            "places between points of quadrature": self._mass.places_between_points,
            "breaks on edges": [place.tolist() for place in breaks.places],
            "breaks elsewhere": bool(breaks.elsewhere),
        }
        searched = sum(len(places) for places in breaks.places) if searches_breaks(self.problem) else 0
        if searched:  # they are where they are to some 1e-12 of the box
            n = len(self.problem.times)
            self._store("between", np.full((n, 2), BREAK_PLACE * searched))
        self.hidden = seen.hides
        if self.hidden:
            n = len(self.problem.times)
            self._store("between", np.stack([np.full(n, SATURATION), np.full(n, math.inf)], axis=1))
            self.evidence["V between the cells"]["hides at"] = np.asarray(seen.where).tolist()

    @property
    def needs_a_second_opinion(self) -> bool:
        """Whether extrapolation does not count at some time, so that one kind of evidence is missing."""
        return self.problem.alpha > 0 and not self.asymptotic

    def ask_second_family(self, seconds: float) -> None:
        """Hold the answer against the other family of schemes; a contradiction becomes part of the bound."""
        opinion = second_opinion(self.problem, self.cells.lower, self.cells.upper, self.cells.options, seconds)
        breaks = Breaks.none(self.grid.ndim)
        seen = None if opinion.grid is None else look_at(self.problem, opinion.grid, self.cells, breaks)
        if opinion.grid is None or seen is None or seen.hides:
            words = opinion.words if opinion.grid is None else "none: V does more than its cells show"
            self.evidence["second family"] = {"kind": words}
            return
        self.agreement = found = agreement(opinion, self.result, self.total(self.l1))
        self.evidence["second family"] = {
            "kind": opinion.words,
            "distance": np.where(found.compared, found.distance, np.nan).tolist(),
            "allowed": np.where(found.compared, found.allowed, np.nan).tolist(),
        }
        wrong = ~found.agrees
        if wrong.any():
            l1 = np.where(wrong, found.distance + opinion.error_l1, 0.0)
            kl = np.where(wrong, np.abs(opinion.kl - self.value) + opinion.error_kl, 0.0)
            before = np.stack([self.l1["between"], self.kl["between"]], axis=1)
            self._store("between", np.maximum(before, np.stack([np.minimum(l1, SATURATION), kl], axis=1)))

    @property
    def contradicted(self) -> bool:
        """Whether the second family of schemes contradicts the answer."""
        return self.agreement is not None and not bool(self.agreement.agrees.all())

    def pointwise_error(self) -> Array:
        """Estimate the error of log mu at the centres (n_times, *shape), in nats; infinite where it is unknown."""
        n = len(self.problem.times)
        error = np.broadcast_to(self.total(self.l1).reshape(-1, *[1] * self.grid.ndim), (n, *self.grid.shape)).copy()
        unseen = np.where(self._mass.shares_of_bumps > BUMP, math.inf, 0.0)
        bumps = unseen.repeat(2) if self.grid.ndim == 1 else unseen.repeat(2, 0).repeat(2, 1) if unseen.any() else 0.0
        for i in range(n):
            error[i] += self._apart[i] + bumps
            for coarse in (self._narrow, None if self.testimony is None else self.testimony.pointwise):
                if coarse is not None:
                    for axis in range(self.grid.ndim):
                        coarse = np.repeat(coarse, 2, axis=axis + 1)
                    error[i] += SAFETY["witness"] * coarse[i]
        return error

    @property
    def asymptotic(self) -> bool:
        """Whether extrapolation counts at every save time."""
        return all(self._counts)

    @property
    def largest_error(self) -> float:
        """Largest bound of the L1 error over all save times."""
        return float(self.total(self.l1).max())

    def _store(self, part: str, found: Any) -> None:
        """Store a part of the errors in L1 and KL over the save times, (n_times, 2)."""
        l1, kl = np.asarray(found, dtype=np.float64).T
        if part in MOVES_MASS:
            kl = np.maximum(kl, self._of_moved_mass(l1))
        self.l1[part], self.kl[part] = l1, kl

    def total(self, of: dict[str, Array]) -> Array:
        """Sum the parts over the save times; infinite for KL where the L1 error is at least `LOST`."""
        total = np.sum([of[part] for part in PARTS], axis=0)
        lost = of is self.kl and self.total(self.l1) >= LOST
        return np.where(lost, math.inf, total)
