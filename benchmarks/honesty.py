"""Whether the error bars of `ground_truth` hold: its bounds against true errors, on problems with known answers.

    python benchmarks/honesty.py [--quick] [--only WORD] [--out PATH]

Answers are closed forms where there are any; else the other family of schemes, extrapolated Strang steps of
FisherRao and SinkhornKernel on a finer grid, done twice (coarser cells and longer steps) to know how far it can be
trusted itself. True errors are those in L1 over the whole space, with what lies outside the box, and those of KL; where
walls cut through mass, densities are compared as normalised by the sums over the cells. Prints a table (the largest
bound over the save times beside the error there, and the largest ratio of error to bound; "!" is an error above its
bound, "~" a bound far above its error, "?" a bound below what is known of the answer), a summary, and writes
results/benchmarks/honesty.json and the calibration figure honesty.png.

Required: no error exceeds its bound (a true one may exceed it by the rounding of the answer, 1e-14 + 1e-15 of it), and
bounds are at most 30 times the error, or 3e-11, in nine of ten.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde import exact, metrics, plotting, storage
from wfr_pde.data import galaxies
from wfr_pde.energies.kl import relative_entropy
from wfr_pde.errors import NumericalError

Array = np.ndarray[Any, np.dtype[np.float64]]

CALIBRATED, FLOOR = 30.0, 1e-12  # a good bound is at most 30 times max(error, floor)
FINE = {1: 12_000, 2: 700, 3: 120}  # cells per axis of the grids where answers are normalised
SECONDS = 60.0  # for one case
COARSER = 0.75  # cells of the second reference, over those of the first


class Answer:
    """What is known of a case: normalised log-densities, and KL, at a time since the start."""

    doubt = {"l1": 0.0, "kl": 0.0}  # error that the answer may have itself

    def log_density(self, case: Case, t: float, points: Array) -> Array:
        raise NotImplementedError

    def kl(self, case: Case, t: float) -> float:
        raise NotImplementedError


@dataclass
class ClosedForm(Answer):
    """A `Target` for every time; KL in closed form where there is one, else by quadrature on a fine grid."""

    at: Callable[[float], wfr.Target]
    divergence: Callable[[float], float] | None = None

    def log_density(self, case: Case, t: float, points: Array) -> Array:
        target = self.at(t)
        values = target.log_density(points)
        if target.log_normaliser is not None and not case.walls:
            return values - target.log_normaliser
        grid = case.fine_grid
        return values - float(grid.log_integrate(grid.evaluate(target.log_density)))

    def kl(self, case: Case, t: float) -> float:
        if self.divergence is not None:
            return self.divergence(t)
        values = []
        for grid in (case.fine_grid, case.fine_grid.coarsened()):
            p, q = (grid.log_density(target, checked=False) for target in (self.at(t), case.target))
            values.append(relative_entropy(grid, p, q))
        return (4 * values[0] - values[1]) / 3  # of order 2 where walls cut through mass


@dataclass
class OtherFamily(Answer):
    """SinkhornKernel on a grid with `cells` per axis, in steps of dt."""

    cells: Any
    dt: float
    order: int = 8
    lower: Any = None
    upper: Any = None
    frames: dict[str, list[wfr.Density]] = field(default_factory=dict)

    def log_density(self, case: Case, t: float, points: Array) -> Array:
        return self.solved(case)[self._index(case, t)].log_prob(points)

    def kl(self, case: Case, t: float) -> float:
        energy = wfr.KL(case.target, checked=False).at(case.times[0] + t)
        return float(energy.value(self.solved(case)[self._index(case, t)]))

    def _index(self, case: Case, t: float) -> int:
        return int(np.argmin(np.abs(np.asarray(case.times) - case.times[0] - t)))

    def solved(self, case: Case) -> list[wfr.Density]:
        """The densities at the save times; on the way, how far a coarser run is from it."""
        if "fine" not in self.frames:
            self.frames["fine"] = self._run(case, self.cells, self.dt)
            coarse = self._run(case, np.round(COARSER * np.asarray(self.cells)).astype(int), self.dt / COARSER)
            l1, kl = [], []
            for t, one, other in zip(case.times, self.frames["fine"], coarse, strict=True):
                energy = wfr.KL(case.target, checked=False).at(t)
                values = np.exp(other.log_prob(one.grid.points()))
                l1.append(float(one.grid.integrate(np.abs(one.values - values))))
                kl.append(abs(energy.value(one) - energy.value(other)))
            self.doubt = {"l1": max(l1) / 4, "kl": max(kl) / 4}  # at order 8 steps alone gain 10
        return self.frames["fine"]

    def _run(self, case: Case, cells: Any, dt: float) -> list[wfr.Density]:
        if self.lower is not None:
            grid = wfr.Grid(self.lower, self.upper, cells, max_cut=1e-3)
        else:
            grid = wfr.Grid.covering(case.target, case.start, shape=cells, tail=1e-13)
        transport = wfr.SinkhornKernel(case.alpha)
        flow: wfr.Flow = wfr.Strang(wfr.FisherRao(case.beta), transport) if case.beta else transport
        flow = wfr.Extrapolated(flow, self.order)
        ds = wfr.solve(case.target, flow, grid.density(case.start), case.times, dt)
        return [wfr.Density.from_dataset(ds, k) for k in range(len(case.times))]


@dataclass
class Case:
    """One problem, and what is asked of `ground_truth`."""

    family: str
    name: str
    target: wfr.Target
    start: wfr.Target
    times: Sequence[float]
    answer: Answer
    alpha: float = 1.0
    beta: float = 1.0
    rtol: float = 1e-6
    options: dict[str, Any] = field(default_factory=dict)
    quick: bool = False

    @property
    def walls(self) -> bool:
        """Whether the box is part of the problem."""
        return "box" in self.options

    @functools.cached_property
    def fine_grid(self) -> wfr.Grid:
        """Where answers are normalised and integrated."""
        cells = FINE[self.target.ndim]
        if self.walls:
            options = {k: v for k, v in self.options.items() if k == "boundary"}
            return wfr.Grid(*self.options["box"], cells, max_cut=1.0, **options)
        return wfr.Grid.covering(self.target, self.start, shape=cells, tail=1e-15)

    def certified(self) -> Any:
        """What is held against the answer; out of reach counts too, with its own error bar."""
        options = {"transport_rate": self.alpha, "reaction_rate": self.beta, "rtol": self.rtol, **self.options}
        return wfr.ground_truth(self.target, self.start, self.times, seconds=SECONDS, strict=False, **options)


def gaussian(rng: np.random.Generator, d: int, spread: float = 1.5, condition: float = 4.0) -> wfr.Gaussian:
    """A random Gaussian with a random orientation."""
    basis, _ = np.linalg.qr(rng.normal(size=(d, d)))
    widths = np.exp(rng.uniform(-0.5, 0.5, d) * math.log(condition))
    return wfr.Gaussian(spread * rng.uniform(-1, 1, d), basis @ np.diag(widths) @ basis.T)


def of_gaussians(
    name: str, target: wfr.Gaussian, start: wfr.Gaussian, times: Sequence[float], alpha=1.0, beta=1.0, **options: Any
) -> Case:
    """A case between Gaussians."""

    def at(t: float) -> wfr.Gaussian:
        return exact.gaussian_flow(target, start, t, alpha, beta)  # type: ignore[return-value]

    answer = ClosedForm(at, lambda t: exact.gaussian_kl(at(t), target))
    return Case("Gaussian", name, target, start, times, answer, alpha, beta, **options)


def moving() -> list[Case]:
    """Targets on their way from one distribution to another: tempering, and a reference that is not the start."""
    near, wide = wfr.Gaussian(-2, 0.5), wfr.Gaussian(1, 2)
    plane = wfr.Gaussian([0, 0], [[1.0, 0.5], [0.5, 0.8]]), wfr.Gaussian([1, -1], [[0.4, -0.2], [-0.2, 0.6]])
    cases = []
    for name, ends, start, schedule, rates, rtol in (
        ("1D", (near, wide), wfr.Gaussian(-1, 0.3), None, (1, 1), 1e-6),
        ("1D, W", (near, wide), wfr.Gaussian(-1, 0.3), None, (1, 0), 1e-6),
        ("1D, FR", (near, wide), near, math.tanh, (0, 1), 1e-7),
        ("1D, with a kink", (near, wide), near, lambda t: min(t / 0.7, 1.0), (1, 1), 1e-4),
        ("1D, swinging", (near, wide), wide, lambda t: math.sin(4 * t) ** 2, (2, 0.5), 1e-5),
        ("2D", plane, wfr.Gaussian([0, 0.5], 0.5), None, (1, 1), 1e-4),
    ):
        path = wfr.GeometricPath(*ends, schedule)

        def at(t: float, path: Any = path, start: Any = start, rates: Any = rates) -> wfr.Gaussian:
            return exact.gaussian_flow_by_ode(path, start, t, *rates)

        answer = ClosedForm(at, lambda t, at=at, path=path: exact.gaussian_kl(at(t), path.at(t)))
        cases.append(Case("moving target", name, path, start, [0, 0.3, 1.0], answer, *rates, rtol, quick=name == "1D"))
    for name, switches in (("a jump", (0.97,)), ("a short pulse", (0.8301, 0.8321))):
        path = wfr.GeometricPath(near, wide, lambda t, switches=switches: float(sum(t > s for s in switches) % 2))

        def after(t: float, switches: Any = switches) -> wfr.Gaussian:
            state, parts = near, [0.0, *(s for s in switches if s < t), t]
            for k, (low, high) in enumerate(itertools.pairwise(parts)):
                state = exact.gaussian_flow((near, wide)[k % 2], state, high - low)
            return state

        answer = ClosedForm(after, lambda t, after=after, path=path: exact.gaussian_kl(after(t), path.at(t)))
        cases.append(Case("moving target", name, path, near, [0, 0.9, 1.0], answer, rtol=1e-5))
    modes = wfr.GeometricPath(wfr.Gaussian(0, 1), wfr.GaussianMixture([[0.0], [4.0]], [0.5, 0.5], 1.0))
    cases.append(Case("moving target", "to two modes", modes, modes.start, [0, 0.5, 2.0], OtherFamily(400, 0.02),
                      rtol=1e-6))  # fmt: skip
    return cases


def gaussians(rng: np.random.Generator) -> list[Case]:
    """Random ones in one to three dimensions, far, narrow and wide ones, with rates from 0 to 10."""
    cases = []
    for k, rtol in enumerate((1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-6, 1e-5, 1e-6)):
        alpha, beta = np.exp(rng.uniform(-1, 1, 2) * math.log(10)).round(3).tolist()
        times = [0, *np.sort(rng.uniform(0.01, 2, 2)).round(3).tolist()]
        pair = gaussian(rng, 1), gaussian(rng, 1, 3.0)
        cases.append(of_gaussians(f"1D, {k}", *pair, times, alpha, beta, rtol=rtol, quick=k in (0, 6)))
    for k, rtol in enumerate((1e-3, 1e-4, 1e-5, 1e-5, 1e-6, 1e-4)):
        alpha, beta = np.exp(rng.uniform(-1, 1, 2) * math.log(10)).round(3).tolist()
        pair = gaussian(rng, 2), gaussian(rng, 2, 2.0)
        cases.append(of_gaussians(f"2D, {k}", *pair, [0, 0.1, 1.0], alpha, beta, rtol=rtol, quick=k == 1))
    for k, rtol in enumerate((1e-2, 1e-3)):
        pair = gaussian(rng, 3, 0.5, 2.0), gaussian(rng, 3, 0.7, 2.0)
        cases.append(of_gaussians(f"3D, {k}", *pair, [0, 0.3], rtol=rtol))
    far = wfr.Gaussian(0, 1)
    for width, rtol in ((0.25, 1e-6), (1.0, 1e-8), (0.25, 1e-4)):
        start = wfr.Gaussian(-math.sqrt(400 * width), width)
        cases.append(of_gaussians(f"from e^-200, {width}, {rtol:g}", far, start, [0, 0.1, 1, 5], rtol=rtol))
    pair = wfr.Gaussian([0, 0], [[1.0, 0.5], [0.5, 0.8]]), wfr.Gaussian([-4, 2], [[0.4, -0.15], [-0.15, 0.3]])
    cases.append(of_gaussians("2D from e^-60", *pair, [0, 0.1, 1.0], rtol=1e-4))
    for name, widths in (("1:10", (1, 0.1)), ("1:100", (1, 0.01)), ("1:1000", (1, 1e-3)), ("10:1", (0.1, 1))):
        pair = wfr.Gaussian(0, widths[0] ** 2), wfr.Gaussian(-widths[0], widths[1] ** 2)
        scale = widths[0] ** 2
        cases.append(of_gaussians(f"widths {name}", *pair, [0, 0.1 * scale, scale], quick=name == "1:10"))
    pair = wfr.Gaussian([0, 0], np.diag([1.0, 1e-2])), wfr.Gaussian([-1, 0.1], np.diag([0.04, 0.04]))
    cases.append(of_gaussians("widths 10:1 in 2D", *pair, [0, 0.1, 1.0], rtol=1e-4))
    return cases + extremes(rng)


def extremes(rng: np.random.Generator) -> list[Case]:
    """Rates of zero and huge ones, early and close save times, long ones, starts that nearly are the target."""
    near, off = wfr.Gaussian(0, 1), wfr.Gaussian(-1.2, 0.4)
    cases = []
    for name, alpha, beta, rtol in (
        ("W", 1, 0, 1e-8),
        ("W slow", 0.1, 0, 1e-6),
        ("FR", 0, 1, 1e-9),
        ("none", 0, 0, 1e-6),
    ):
        cases.append(of_gaussians(f"pure {name}", near, off, [0, 0.3, 2.0], alpha, beta, rtol=rtol, quick=name == "W"))
    pair = gaussian(rng, 2), gaussian(rng, 2)
    cases.append(of_gaussians("pure W, 2D", *pair, [0, 0.3, 2.0], 1, 0, rtol=1e-5))
    cases.append(of_gaussians("pure FR, 2D", *pair, [0, 0.3, 2.0], 0, 1, rtol=1e-8))
    return [
        *cases,
        of_gaussians("early", near, off, [0, 1e-9, 1e-6, 1e-3, 1], quick=True),
        of_gaussians("early alone", near, off, [0, 1e-9]),
        of_gaussians("close together", near, off, [0, 0.5, 0.5 + 1e-6, 0.5 + 2e-6, 1.0]),
        of_gaussians("clock from 7", near, off, [7, 7.5, 8]),
        of_gaussians("long", near, off, [0, 1, 10, 100]),
        of_gaussians("huge rates", near, off, [0, 0.01, 1], 1000.0, 1000.0),
        of_gaussians("reaction 1000 to 1", near, off, [0, 0.01, 1], 0.1, 100.0),
        of_gaussians("transport 1000 to 1", near, off, [0, 0.01, 1], 100.0, 0.1),
        of_gaussians("near equilibrium", near, wfr.Gaussian(1e-4, 1.0), [0, 0.1, 1, 5]),
        of_gaussians("at equilibrium", near, near, [0, 0.1, 1]),
        of_gaussians("at equilibrium nearly, 1e-9", near, wfr.Gaussian(1e-4, 1.0002), [0, 0.1, 3], rtol=1e-9),
    ]


def mixtures(rng: np.random.Generator) -> list[Case]:
    """W of mixtures under a Gaussian."""
    cases = []
    for k, (d, parts, rtol) in enumerate(((1, 2, 1e-6), (1, 3, 1e-8), (1, 4, 1e-4), (2, 2, 1e-4), (2, 3, 1e-5))):
        target = gaussian(rng, d, 0.5)
        covariances = [0.3 * gaussian(rng, d).covariance for _ in range(parts)]
        start = wfr.GaussianMixture(rng.uniform(-3, 3, (parts, d)), rng.uniform(0.2, 1, parts), covariances)
        answer = ClosedForm(functools.partial(exact.mixture_transport, target, start))
        cases.append(Case("mixture, W", f"{d}D, {parts} components", target, start, [0, 0.05, 0.5, 3], answer, 1, 0,
                          rtol, quick=k == 0))  # fmt: skip
    target = wfr.Gaussian(0, 1)
    start = wfr.GaussianMixture([[-2.0], [1.0]], [0.5, 0.5], [[[0.01]], [[1.0]]])
    answer = ClosedForm(functools.partial(exact.mixture_transport, target, start))
    cases.append(Case("mixture, W", "widths 1:10", target, start, [0, 1e-3, 0.1, 1], answer, 1, 0, 1e-6))
    target = wfr.Gaussian([0, 0], 1)
    start = wfr.GaussianMixture([[0, 0], [1.5, 0.5]], [0.5, 0.5], [np.eye(2), np.eye(2) / 900])
    answer = ClosedForm(functools.partial(exact.mixture_transport, target, start))
    cases.append(Case("mixture, W", "widths 1:30 in 2D", target, start, [0, 1e-3, 0.1, 1], answer, 1, 0, 1e-4))
    return cases


def wells() -> list[Case]:
    """W in the double well with a known gap, alone and times a Gaussian, turned."""
    cases = []
    for gap, k, eps, alpha, rtol in ((0.1, 1.0, 0.9, 1, 1e-6), (1.0, 1.0, -0.5, 3, 1e-8), (1e-3, 2.0, 0.99, 1, 1e-5)):
        target = wfr.CoshDoubleWell(gap, k)
        start = exact.cosh_double_well_flow(target, eps, 0.0)
        answer = ClosedForm(
            lambda t, target=target, eps=eps, alpha=alpha: exact.cosh_double_well_flow(target, eps, t, alpha),
            lambda t, target=target, eps=eps, alpha=alpha: exact.cosh_double_well_kl(target, eps, t, alpha),
        )
        times = [0, 0.1 / gap, 1 / gap]
        cases.append(Case("cosh double well, W", f"gap {gap:g}", target, start, times, answer, alpha, 0, rtol,
                          quick=gap == 0.1))  # fmt: skip
    well, wide, off = wfr.CoshDoubleWell(0.5), wfr.Gaussian(0, 0.5), wfr.Gaussian(0.4, 0.3)
    for angle, rtol in ((0.0, 1e-5), (0.5, 1e-4)):
        c, s = math.cos(angle), math.sin(angle)

        def turned(first: wfr.Target, second: wfr.Target, c: float = c, s: float = s) -> wfr.Potential:
            def potential(x: Array, y: Array) -> Array:
                u, v = c * x + s * y, c * y - s * x
                return -first.log_density(u[..., None]) - second.log_density(v[..., None])

            return wfr.Potential(potential, support=([-5, -5], [5, 5]))

        def at(t: float, turned: Any = turned) -> wfr.Target:
            return turned(exact.cosh_double_well_flow(well, 0.8, t), exact.gaussian_flow(wide, off, t, 1.0, 0.0))

        cases.append(Case("cosh double well, W", f"times a Gaussian, turned by {angle:g}", turned(well, wide), at(0.0),
                          [0, 0.1, 1], ClosedForm(at), 1, 0, rtol))  # fmt: skip
    return cases


def boxes() -> list[Case]:
    """V = 0 and V = cx between walls and on circles, W; half-line Gaussians, WFR."""
    flat, flat2 = wfr.Potential(lambda x: 0.0 * x), wfr.Potential(lambda x, y: 0.0 * x * y)
    wave = 2 * np.pi

    def between(t: float) -> wfr.Target:
        fall = [0.6 * math.exp(-(np.pi**2) * t), 0.3 * math.exp(-4 * np.pi**2 * t)]
        return wfr.Potential(lambda x: -np.log(1 + fall[0] * np.cos(np.pi * x) + fall[1] * np.cos(wave * x)))

    def around(t: float) -> wfr.Target:
        fall = [0.6 * math.exp(-(wave**2) * t), 0.3 * math.exp(-9 * wave**2 * t)]
        return wfr.Potential(lambda x: -np.log(1 + fall[0] * np.cos(wave * x) + fall[1] * np.sin(3 * wave * x)))

    def both(t: float) -> wfr.Target:
        fall = [0.6 * math.exp(-(wave**2) * t), 0.7 * math.exp(-(np.pi**2) * t)]
        return wfr.Potential(lambda x, y: -np.log1p(fall[0] * np.sin(wave * x)) - np.log1p(fall[1] * np.cos(np.pi * y)))

    slope, length = 2.0, 3.0

    def sloping(t: float) -> wfr.Target:
        def potential(x: Array) -> Array:
            total: Array = np.ones_like(x)
            for k, size in ((1, 0.02), (2, -0.02)):
                w = k * np.pi / length
                shape = np.exp(slope * x / 2) * (np.sin(w * x) - 2 * w / slope * np.cos(w * x))
                total = total + size * math.exp(-(slope**2 / 4 + w**2) * t) * shape
            return slope * x - np.log(total)

        return wfr.Potential(potential)

    unit, times = {"box": ([0.0], [1.0])}, [0, 0.01, 0.1, 1.0]
    circle = {**unit, "boundary": "periodic"}
    square = {"box": ([0.0, 0.0], [1.0, 1.0]), "boundary": ["periodic", "no-flux"]}
    sloped = {"box": ([0.0], [length])}
    half, inner = wfr.Gaussian(0, 1), wfr.Gaussian(0, 0.2)
    on_half_line = of_gaussians("half-line Gaussian, WFR", half, inner, [0, 0.1, 1], options={"box": ([0.0], [9.0])})
    quarter = of_gaussians("quarter-plane Gaussian, WFR", wfr.Gaussian([0, 0], 1), wfr.Gaussian([0, 0], [0.3, 0.5]),
                           [0, 0.1, 1], rtol=1e-5, options={"box": ([0.0, -8.0], [8.0, 0.0])})  # fmt: skip
    return [
        Case("box", "V = 0, walls", flat, between(0), times, ClosedForm(between), 1, 0, 1e-8, unit, quick=True),
        Case("box", "V = 0, circle", flat, around(0), times, ClosedForm(around), 1, 0, 1e-7, circle),
        Case("box", "V = 0, circle x walls", flat2, both(0), times, ClosedForm(both), 1, 0, 1e-5, square),
        Case("box", "V = 2x, walls", sloping(1e9), sloping(0), times, ClosedForm(sloping), 1, 0, 1e-7, sloped),
        dataclasses.replace(on_half_line, family="box"),
        dataclasses.replace(quarter, family="box"),
    ]


def pairs() -> list[Case]:
    """FR between any two."""
    two = wfr.GaussianMixture([-2.0, 2.0], [0.3, 0.7], [0.3, 0.2])
    found = [
        ("1D double well", wfr.DoubleWell(3.0), wfr.Gaussian(-1, 0.05), 1e-8),
        ("two modes", two, wfr.Gaussian(3, 0.1), 1e-7),
        ("mixtures", two, wfr.GaussianMixture([-1.0, 3.0], [0.5, 0.5], [0.5, 0.2]), 1e-6),
        ("2D double well", wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5), wfr.Gaussian([-1, 0], 0.04), 1e-5),
        ("banana", wfr.Banana(), wfr.Gaussian([0, 1], 1.0), 1e-4),
        ("ring", wfr.Ring(3.0, 0.5), wfr.Gaussian([2, 0], 0.3), 1e-5),
    ]
    cases = []
    for name, target, start, rtol in found:
        answer = ClosedForm(functools.partial(exact.fisher_rao, target, start))
        cases.append(Case("any pair, FR", name, target, start, [0, 1e-3, 0.5, 3], answer, 0, 1, rtol,
                          quick=name == "two modes"))  # fmt: skip
    return cases


def open_problems() -> list[Case]:
    """No closed form: the other family is the reference."""
    one = [0, 0.2, 1.0]
    logistic = wfr.Potential(lambda x: x**2 / 4 + 0.5 * np.logaddexp(0, x))
    six = wfr.GaussianMixture([0.0, 6.0], [0.5, 0.5], [1.0, 1.0])
    rough = wfr.GaussianMixture([-1.5, 0.0, 1.5], [0.3, 0.3, 0.4], [0.3, 0.1, 0.4])
    modes2 = wfr.GaussianMixture([[-1.5, 0], [1.5, 0.5]], [0.4, 0.6], [0.4 * np.eye(2), [[0.5, 0.2], [0.2, 0.3]]])
    well2 = wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5)
    posterior = wfr.Posterior(wfr.Gaussian([21, 21], 100.0), _log_likelihood, galaxies())
    line = wfr.Gaussian(-1, 0.04)
    close = {"lower": ([-4.5, -4.5]), "upper": ([4.5, 4.5])}
    return [
        Case("open", "double well", wfr.DoubleWell(2.0), line, one, OtherFamily(400, 1 / 160), quick=True),
        Case("open", "double well, high", wfr.DoubleWell(6.0), line, [0, 1, 3], OtherFamily(400, 1 / 400)),
        Case("open", "double well, W", wfr.DoubleWell(2.0), line, [0, 0.5, 5], OtherFamily(400, 1 / 160), 1, 0, 1e-7),
        Case("open", "double well, rates", wfr.DoubleWell(2.0), line, one, OtherFamily(400, 1 / 160), 0.3, 2.0, 1e-8),
        Case("open", "two modes at 0 and 6", six, wfr.Gaussian(0, 1), [0, 0.5, 4], OtherFamily(400, 1 / 40)),
        Case("open", "three modes", rough, wfr.Gaussian(-1.5, 0.3), one, OtherFamily(500, 1 / 160)),
        Case("open", "mixture to mixture", rough, wfr.GaussianMixture([-1.0, 2.0], [0.5, 0.5], [0.2, 0.2]), one,
             OtherFamily(500, 1 / 160), rtol=1e-7),
        Case("open", "sudden: the far mode takes over", wfr.GaussianMixture([0.0, 8.0], [0.1, 0.9], [0.5, 0.5]),
             wfr.Gaussian(0, 0.3), [0, 1, 3, 6], OtherFamily(800, 1 / 320)),
        Case("open", "widths 1:5 in the target", wfr.GaussianMixture([0.0, 3.0], [0.5, 0.5], [1.0, 0.04]),
             wfr.Gaussian(-1, 0.5), one, OtherFamily(800, 1 / 400), rtol=1e-5),
        Case("open", "steep and flat", wfr.Potential(lambda x: x**4 / 4 + np.sin(3 * x)), wfr.Gaussian(0.5, 0.05), one,
             OtherFamily(500, 1 / 200), rtol=1e-9),
        Case("open", "log-concave", logistic, wfr.Gaussian(0, 1), [0, 1, 10], OtherFamily(300, 1 / 40), rtol=1e-8),
        Case("open", "Gaussian to cosh double well", wfr.CoshDoubleWell(0.5), wfr.Gaussian(-1.5, 0.1), one,
             OtherFamily(400, 1 / 160)),
        Case("open", "2D double well", well2, wfr.Gaussian([-1, 0], 0.04), [0, 0.2, 0.5], OtherFamily(180, 1 / 80),
             rtol=1e-5),
        Case("open", "2D double well, W", well2, wfr.Gaussian([-1, 0], 0.06), [0, 0.2, 0.5], OtherFamily(240, 1 / 160),
             1, 0, 1e-4),
        Case("open", "2D two modes", modes2, wfr.Gaussian([-1.5, 0], 0.3), [0, 0.3, 1], OtherFamily(180, 1 / 40),
             rtol=1e-5),
        Case("open", "banana", wfr.Banana(0.5), wfr.Gaussian([0, 0], 1.0), [0, 0.3, 1.0],
             OtherFamily((320, 640), 1 / 60, lower=(-5.5, -8), upper=(6, 32)), rtol=1e-4),
        Case("open", "ring", wfr.Ring(2.0, 0.5), wfr.Gaussian([2, 0], 0.2), [0, 0.2, 0.5],
             OtherFamily(240, 1 / 100, **close), rtol=1e-4),
        Case("open", "funnel", wfr.Funnel(0.25), wfr.Gaussian([0, 0.5], 0.3), [0, 0.2, 0.5],
             OtherFamily((160, 728), 1 / 50, lower=(-4, -24), upper=(4, 24)), rtol=1e-4),
        Case("open", "four modes", wfr.FourModes(), wfr.Gaussian([0, 8], [1.2, 0.05]), [0, 0.05],
             OtherFamily((450, 480), 1 / 290, lower=(-6.5, -2), upper=(6.5, 12)), rtol=1e-3),
        Case("open", "posterior of galaxies", posterior, wfr.Gaussian([16, 25], 0.25), [0, 0.5, 2],
             OtherFamily(220, 1 / 25, lower=(9, 9), upper=(28, 28)), rtol=1e-4),
    ]  # fmt: skip


def _log_likelihood(m1: Array, m2: Array, y: Array) -> Array:
    return np.logaddexp(-(((y - m1) / 3.0) ** 2) / 2, -(((y - m2) / 3.0) ** 2) / 2)


def all_cases() -> list[Case]:
    """Every case, the same in every run."""
    rng = np.random.default_rng(1)
    return [*gaussians(rng), *mixtures(rng), *wells(), *moving(), *boxes(), *pairs(), *open_problems()]


def true_errors(case: Case, ds: Any) -> tuple[Array, Array]:
    """L1 and KL errors at the save times after the first."""
    grid = wfr.Grid.from_dataset(ds)
    points = grid.points()
    l1, kl = [], []
    for k in range(1, len(case.times)):
        t = float(case.times[k] - case.times[0])
        known = wfr.Density(grid, case.answer.log_density(case, t, points))
        outside = 0.0 if case.walls else max(0.0, 1 - known.mass)
        known = known.normalised() if case.walls else known
        l1.append(metrics.l1(known, wfr.Density.from_dataset(ds, k)) + outside)
        kl.append(abs(float(ds["kl"][k]) - case.answer.kl(case, t)))
    return np.array(l1), np.array(kl)


def measure(case: Case) -> list[dict[str, Any]]:
    """A row per save time."""
    began = time.perf_counter()
    same = {"family": case.family, "case": case.name, "rtol": case.rtol}
    try:
        ds = case.certified()
    except (NumericalError, MemoryError) as error:
        return [{**same, "failed": str(error), "seconds": time.perf_counter() - began}]
    seconds = time.perf_counter() - began
    l1, kl = true_errors(case, ds)
    same |= {"cells": "x".join(map(str, ds["log_density"].shape[1:])), "steps": ds.attrs["n_steps"], "seconds": seconds}
    parts = ("time", "space", "domain", "rounding")
    rows = []
    for k in range(1, len(case.times)):
        rows.append(
            {
                **same,
                "t": float(case.times[k]),
                "l1": l1[k - 1],
                "bound_l1": float(ds["error_l1"][k]),
                "kl": kl[k - 1],
                "bound_kl": float(ds["error_kl"][k]),
                "kl_value": float(ds["kl"][k]),
                "doubt_l1": case.answer.doubt["l1"],
                "doubt_kl": case.answer.doubt["kl"],
                **{f"l1_{part}": float(ds[f"error_l1_{part}"][k]) for part in parts},
                **{f"kl_{part}": float(ds[f"error_kl_{part}"][k]) for part in parts},
            }
        )
    return rows


def verdicts(row: dict[str, Any], of: str) -> dict[str, bool]:
    """Whether a bound holds, whether it is close, and whether the answer is good enough to tell."""
    error, bound = row[of], row[f"bound_{of}"]
    rounding = 1e-14 + 1e-15 * (row["kl_value"] if of == "kl" else 0.0)
    doubt = row[f"doubt_{of}"]
    return {
        "honest": error <= bound + rounding + doubt,
        "close": bound <= CALIBRATED * max(error, FLOOR),
        "known": doubt <= bound,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of honest and of close bounds, for L1 and KL, over all save times and over the largest of every case."""
    found: dict[str, Any] = {}
    for of in ("l1", "kl"):
        told = [verdicts(row, of) for row in rows]
        found[of] = {
            "bounds": len(told),
            "honest": sum(v["honest"] for v in told),
            "close": sum(v["close"] for v in told) / max(1, len(told)),
            "known": sum(v["known"] for v in told),
        }
        worst: dict[str, dict[str, Any]] = {}
        for row in rows:
            name = f"{row['family']}: {row['case']}"
            if name not in worst or row[f"bound_{of}"] > worst[name][f"bound_{of}"]:
                worst[name] = row
        found[of] |= {
            "cases": len(worst),
            "cases_close": sum(verdicts(row, of)["close"] for row in worst.values()) / max(1, len(worst)),
        }
    return found


def show(rows: list[dict[str, Any]]) -> None:
    """One line per case."""
    first = rows[0]
    name = f"{first['family']}: {first['case']}"
    if "failed" in first:
        print(f"{name:52} {first['rtol']:5.0e} {first['seconds']:6.1f} s FAILED: {first['failed']}", flush=True)
        return
    text = f"{name:52} {first['rtol']:5.0e} {first['seconds']:6.1f} s {first['cells']:>11} {first['steps']:>5}"
    for of in ("l1", "kl"):
        row = max(rows, key=lambda r: r[f"bound_{of}"])
        ratio = max(r[of] / max(r[f"bound_{of}"], 1e-300) for r in rows)
        mark = " " if all(verdicts(r, of)["honest"] for r in rows) else "!"
        mark += " " if verdicts(row, of)["close"] else "~"
        mark += " " if all(verdicts(r, of)["known"] for r in rows) else "?"
        text += f" | {row[of]:8.1e} {row[f'bound_{of}']:8.1e} {ratio:8.2g}{mark}"
    parts = {part: max(r[f"l1_{part}"] for r in rows) for part in ("time", "space", "domain", "rounding")}
    print(f"{text} | {' '.join(f'{value:.0e}' for value in parts.values())}", flush=True)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Bounds against errors."""
    with plotting.style():
        figure = plotting.new_figure(plotting.PAGE_WIDTH, 3.6)
        for of, axes in zip(("l1", "kl"), figure.subplots(1, 2), strict=True):
            families = list(dict.fromkeys(row["family"] for row in rows))
            for k, family in enumerate(families):
                own = [row for row in rows if row["family"] == family]
                axes.plot(
                    [max(row[of], 1e-17) for row in own], [max(row[f"bound_{of}"], 1e-17) for row in own],
                    linestyle="none", marker=plotting.MARKERS[k], color=plotting.COLOURS[k], label=family, alpha=0.75,
                )  # fmt: skip
            ends = np.array([1e-17, FLOOR, 0.1])
            axes.plot(ends, ends, "-", color="black", lw=0.8)
            axes.plot(ends, CALIBRATED * np.maximum(ends, FLOOR), "--", color=plotting.GREY, lw=0.8)
            axes.annotate("bound = error", (1e-15, 1e-15), (6e-15, 1e-16), fontsize=6.5)
            axes.annotate("30 × error", (1e-15, 3e-11), (3e-17, 6e-11), fontsize=6.5, color=plotting.GREY)
            axes.set(xscale="log", yscale="log", xlim=(1e-17, 0.1), ylim=(1e-17, 0.1))
            axes.set(xlabel={"l1": "true L1 error", "kl": "true error of KL (nats)"}[of], ylabel="certified bound")
        figure.axes[0].legend(loc="lower right", fontsize=6.5, handletextpad=0.2)
        figure.savefig(path, dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="some ten cases")
    parser.add_argument("--only", default="", help="only cases whose family or name holds this word")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/honesty.json"))
    arguments = parser.parse_args()
    head = f"{'case':52} {'rtol':>5} {'time':>8} {'cells':>11} {'steps':>5}"
    print(f"{head} | L1 error    bound  ratio    | KL error    bound  ratio    | time space domain rounding")
    began, rows, failed = time.perf_counter(), [], []
    for case in all_cases():
        if arguments.only not in f"{case.family}: {case.name}" or (arguments.quick and not case.quick):
            continue
        own = measure(case)
        show(own)
        (failed if "failed" in own[0] else rows).extend(own)
    found = summary(rows)
    for of, words in (("l1", "L1"), ("kl", "KL")):
        s = found[of]
        print(
            f"{words}: honest {s['honest']}/{s['bounds']} bounds of {s['cases']} cases; within 30 times the error "
            f"{s['close']:.0%} of bounds, {s['cases_close']:.0%} of cases; "
            f"{s['bounds'] - s['known']} finer than their reference"
        )
    print(f"{len(failed)} without an answer; {time.perf_counter() - began:.0f} s")
    path = storage.write_json(
        {"summary": found, "versions": dict(storage.versions()), "rows": rows, "failed": failed}, arguments.out
    )
    draw(rows, arguments.out.with_suffix(".png"))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
