"""Densities of points for graded axes, from the local scales of distributions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.errors import UnevenCellsError
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array

if TYPE_CHECKING:
    from wfr_pde.space.grid import Grid
    from wfr_pde.targets.base import Target

Density = Callable[[Array], Array]

DRAWS = 100  # places per distribution where the local scale is looked at
LINE_LOOKS, NEAR = 2000, 25.0  # places on a line, and nats below the top, where it is seen what a start passes
MOST_PASSED = 500  # points that these places ask for, at most: refinement sees to the rest
NARROWEST = 1e-10  # of the box, that a scale on a line has: beside a singular wall they have no end
SPREAD = 0.2  # growth of the scale with the distance from a place: what is narrow diffuses through all scales above
SLOPE = 1 / 3  # a slope counts as the curvature of a Gaussian this many standard deviations out
PROBE_CELLS, CELLS_BETWEEN = 2**15, 2**13  # of a grid that is probed, 181² in the plane; 90² for what is between
GRADED_CELLS = 2**12  # along an axis at most, where they are graded by what a first look showed
PROBE_ROUNDS, ROUNDS_BETWEEN = 4, 2  # each is graded by what the one before showed: narrower in every round
DOUBLINGS = 4  # of the cells along an axis, with which a density of points is tried
GOLDEN = 0.6180339887498949  # the golden ratio less one: its multiples mod 1 are even shares, however many
STEP = 1e-6  # of the difference quotient of the score, over the local length


def densities_of_points(
    distributions: Sequence[Target],
    lower: Array,
    upper: Array,
    periodic: Sequence[bool],
    passed: Sequence[tuple[Target, Target]] = (),
    places: Sequence[tuple[Target, Array]] = (),
) -> list[Density]:
    """Make one density of points per axis, for a grid that resolves some distributions and what lies between them.

    At draws y of every distribution p the scale along axis k is s = (|∂_k² log p| + (∂_k log p)²/9)^(-1/2), the
    conditional standard deviation for a Gaussian. The density of points at x is the mean of order 8 over the draws of
    1 / sqrt(s² + (0.2 |x - y|)²): cells grow in proportion to the distance from what is narrow. The geometric means
    of every two distributions, which a flow from one to the other passes through, count as distributions.

    Parameters
    ----------
    distributions : sequence of Target
        Drawn from where they can be (every component of a mixture); else probed on grids that are graded again and
        again, which may miss a mode much narrower than the others.
    lower, upper : arrays (d,)
        The box.
    periodic : sequence of d bools
    passed : sequence of pairs of Target
        The second is resolved where the first has its mass, too, as transport leads from there through it.
    places : sequence of (Target, array (m, d))
        More places where a distribution is to be resolved.

    Raises
    ------
    ValueError
        If a distribution moves, or has no finite log-density in the box.
    """
    _check_still(distributions)
    box = _Box(np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64), tuple(periodic))
    found = []
    for distribution in distributions:
        for part in getattr(distribution, "components", (distribution,)):
            points = box.drawn(part)
            points = box.probed(part) if len(points) == 0 else points
            found.append((points, box.local_scales(part.score, points)))
    for first, second in passed:
        for part in getattr(first, "components", (first,)):
            points = box.drawn(part)
            if len(points) > 1:
                found.append(box.filled(part, second, points))
    found += [(points, box.local_scales(distribution.score, points)) for distribution, points in places]
    between = []
    for pair in itertools.combinations(distributions, 2):
        between.append(box.between(*pair, found))
    return box.densities([*found, *between])


def _check_still(distributions: Sequence[Target]) -> None:
    for distribution in distributions:
        if distribution.moving:
            raise ValueError(
                f"{distribution!r} moves, and has no scale of its own: give where it starts and where it ends, "
                "Grid.covering(path.at(0), path.at(t), start, graded=True, ...)"
            )


class _Box:
    """The box [lower, upper] in which local scales are looked for, and which of its axes wrap."""

    def __init__(self, lower: Array, upper: Array, periodic: tuple[bool, ...]) -> None:
        self.lower, self.upper, self.periodic = lower, upper, periodic
        self.lengths = upper - lower

    def drawn(self, distribution: Target) -> Array:
        """Draw points (m, d) inside the box; none where the distribution has no sampler."""
        try:
            points = np.asarray(distribution.sample(DRAWS, rng=0), dtype=np.float64)
        except (NotImplementedError, ValueError):
            return np.empty((0, len(self.lower)))
        return points[np.all((points > self.lower) & (points < self.upper), axis=-1)]

    def filled(self, first: Target, second: Target, points: Array) -> tuple[Array, Array]:
        """Return places in the mass of the first distribution, on a line all over it, and scales of the second there.

        Draws would leave gaps between them, and end before the mass does. Far out, where V is steep, what the scales
        ask for has no end, though all that starts there may be forgotten early: no more than `MOST_PASSED` points are
        asked for, and refinement sees to the rest.
        """
        if points.shape[1] > 1:
            return points, self.local_scales(second.score, points)
        x = np.linspace(self.lower, self.upper, LINE_LOOKS)[1:-1]
        x = np.sort(np.concatenate([points, x]), axis=0)
        heights = first.log_density(x)
        near = heights > heights.max() - NEAR
        x = x[near]
        scales = self.local_scales(second.score, x)[:, 0]
        told = scales > NARROWEST * self.lengths[0]
        x, scales = x[told], scales[told]
        if len(x) < 2:
            return x, scales[:, None]
        wanted = np.append(0.0, np.cumsum(np.diff(x[:, 0]) / np.minimum(scales[:-1], scales[1:])))
        excess = max(1.0, wanted[-1] / MOST_PASSED)
        n = max(len(points), int(SPREAD * wanted[-1] / excess))
        places = np.interp(np.linspace(0, wanted[-1], n), wanted, x[:, 0])
        return places[:, None], excess * np.exp(np.interp(places, x[:, 0], np.log(scales)))[:, None]

    def probed(self, distribution: Target) -> Array:
        """Draw cell centres by mass from a grid of moderate size, graded by what it showed and probed again."""
        densities: list[Density] | None = None
        for _ in range(PROBE_ROUNDS):
            cells = PROBE_CELLS if densities is None else min(PROBE_CELLS, GRADED_CELLS ** len(self.lower))
            grid = self._grid(densities, cells)
            mass = np.cumsum(np.exp(self._log_masses(distribution, grid)))
            chosen = np.searchsorted(mass, (np.arange(DRAWS) + 0.5) / DRAWS * mass[-1])
            points = _centres(grid, chosen)
            densities = self.densities([(points, self.local_scales(distribution.score, points))])
        return points

    def between(self, first: Target, second: Target, ends: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        """Return a place in each of the geometric means p^(1-s) q^s, s from 0 to 1, and the scales there."""
        shares = (np.arange(DRAWS) + 0.5) / DRAWS  # as in `cells_drawn_between`

        def score(points: Array) -> Array:
            return (1 - shares)[:, None] * first.score(points) + shares[:, None] * second.score(points)

        found = ends
        for _ in range(ROUNDS_BETWEEN):
            densities = self.densities(found)
            grid = self._grid(densities, CELLS_BETWEEN)
            of_first, of_second = (self._log_masses(distribution, grid) for distribution in (first, second))
            chosen = _drawn_between(of_first, of_second, np.asarray((np.arange(DRAWS) + 0.5) * GOLDEN % 1))
            points = _centres(grid, chosen)
            found = [*ends, (points, self.local_scales(score, points))]
        return found[-1]

    def _grid(self, densities: list[Density] | None, cells: int) -> Grid:
        """Make a grid of about so many cells, more where densities of points ask for that."""
        from wfr_pde.space.grid import Grid

        n = int(cells ** (1 / len(self.lower)))
        boundary = ["periodic" if wraps else "no-flux" for wraps in self.periodic]
        for more in range(DOUBLINGS):
            try:
                return Grid(self.lower, self.upper, n * 2**more, boundary=boundary, grading=densities)
            except UnevenCellsError:
                if more == DOUBLINGS - 1:
                    raise
        raise AssertionError

    def _log_masses(self, distribution: Target, grid: Grid) -> Array:
        """Return the logarithms (n,) of the masses of all cells, up to a constant; -inf where they are not finite."""
        with np.errstate(all="ignore"):
            log_masses = np.ravel(np.asarray(grid.evaluate(distribution.log_density) + grid.log_cell_volume))
        finite = np.isfinite(log_masses)
        if not finite.any():
            raise ValueError(
                f"{distribution!r} has no finite log-density in the box from {self.lower.tolist()} to "
                f"{self.upper.tolist()}"
            )
        return np.where(finite, log_masses - log_masses[finite].max(), -np.inf)

    def local_scales(self, score: Callable[[Array], Array], points: Array) -> Array:
        """Return lengths, at most the box, over which the log-density changes along every axis, at points (m, d)."""
        check_deadline()
        scales = np.empty(points.shape)
        with np.errstate(all="ignore"):  # what is not finite, beside singular walls, does not count
            return self._local_scales(score, points, scales)

    def _local_scales(self, score: Callable[[Array], Array], points: Array, scales: Array) -> Array:
        slope = score(points)
        for k, length in enumerate(self.lengths):
            step = STEP * length / (1 + length * np.abs(np.nan_to_num(slope[:, k])))
            above, below = points.copy(), points.copy()
            above[:, k] += step
            below[:, k] -= step
            curvature = np.abs(score(above)[:, k] - score(below)[:, k]) / (above - below)[:, k]
            steepness = curvature + (SLOPE * slope[:, k]) ** 2
            steepness = np.where(np.isfinite(steepness), steepness, 0.0)
            scales[:, k] = 1 / np.sqrt(steepness + length**-2)
        return scales

    def densities(self, found: Sequence[tuple[Array, Array]]) -> list[Density]:
        """Return the density of points of every axis, from places and scales of several distributions."""
        places, scales = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return [
            _density(places[:, k], scales[:, k], float(length), wraps)
            for k, (length, wraps) in enumerate(zip(self.lengths, self.periodic, strict=True))
        ]


def _centres(grid: Grid, cells: Array) -> Array:
    """Return the centres (m, d) of cells by their numbers (m,)."""
    index = np.unravel_index(np.minimum(cells, grid.size - 1), grid.shape)
    return np.stack([axis.centres[i] for axis, i in zip(grid.axes, index, strict=True)], axis=-1)


def _drawn_between(first: Array, second: Array, shares: Array) -> Array:
    """Return the cells (m,) up to which the masses of geometric means, by their logarithms (n,), have given shares."""
    from wfr_pde.numerics.compiled.mesh_density import cells_drawn_between  # here, as it loads numba

    both = np.flatnonzero(np.isfinite(first) & np.isfinite(second))  # elsewhere there is no mass in between
    if len(both) == 0:
        return np.zeros(len(shares), dtype=int)
    return np.asarray(both[cells_drawn_between(first[both], second[both], shares)])


def _density(places: Array, scales: Array, length: float, periodic: bool) -> Density:
    """Make the density of points: the mean of order 8 of 1 / sqrt(s² + (0.2 distance)²) over the places."""
    from wfr_pde.numerics.compiled.mesh_density import mean_of_order_eight  # here, as it loads numba

    arrays = np.ascontiguousarray(places), np.ascontiguousarray(scales)

    def density(x: Array) -> Array:
        values = mean_of_order_eight(np.ravel(x), *arrays, SPREAD, length if periodic else 0.0)
        return np.asarray(values.reshape(np.shape(x)))

    return density
