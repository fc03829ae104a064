"""Answers that are known without wfr_pde's schemes: closed forms, quadrature, and two reference solvers.

`Line`: any density on the line given up to its normalisation, normalised by adaptive Gauss quadrature between breaks.
`Normal`, `Product`: Gaussians in any dimension; products of independent answers, turned.
`Relaxation`: W on a mesh adapted to the known features of V: spectral elements, exact in time by eigenvectors.
`Takeover`: WFR in 1D: the equation of log(mu/pi) by differences of order 8 and a stiff integrator.
The last two are run at two resolutions; twice their difference is the doubt of the answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde import exact

Array = np.ndarray[Any, np.dtype[np.float64]]
Log = Callable[[float, Array], Array]  # a log-density (t, x) -> (...), up to a constant

GAUSS = np.polynomial.legendre.leggauss(20)
REACH = 2.0 ** np.arange(-4, 44)  # distances of edges from a feature, in its widths
SINGULAR = tuple((0.0, 2.0 ** (-40 * k)) for k in range(4))  # features that lead to a wall at 0, down to 1e-40
DEEP = 46.0  # nats above the lowest V where a reference ends its domain
REFINED = 3  # times that a solve of `Elements` is refined
NARROWER = 0.04  # of the domain, on each side, that the second run of a reference does without


class Answer:
    """What is known of a case: normalised log-densities, KL, the mass outside a box, and how far all that is right."""

    def log_density(self, t: float, points: Array) -> Array:
        """log mu_t at points (..., d), normalised over the whole space; shape (...)."""
        raise NotImplementedError

    def kl(self, t: float) -> float:
        """KL(mu_t|pi) in nats."""
        raise NotImplementedError

    def outside(self, t: float, lower: Array, upper: Array) -> float | None:
        """Mass of mu_t outside the box; None: what the sum over the cells lacks (smooth densities)."""
        return None

    def doubt(self, t: float) -> tuple[float, float]:
        """Error that the answer may have itself, in L1 and KL."""
        return 0.0, 0.0


def graded(
    features: Sequence[tuple[float, float]],
    breaks: Sequence[float] = (),
    lower: float = -math.inf,
    upper: float = math.inf,
) -> Array:
    """Edges of panels, geometric around features (centre, width), with every break on an edge, within the limits."""
    edges = [np.array([b for b in (*breaks, lower, upper) if math.isfinite(b)])]
    for centre, width in features:
        edges += [centre + width * REACH, centre - width * REACH, np.array([centre])]
    found = np.unique(np.concatenate(edges))
    return found[(found >= lower) & (found <= upper)]


def integrals(f: Callable[[Array], Array], edges: Array, tolerance: float = 2e-15, rounds: int = 30) -> Array:
    """Integrals (m,) of f: (n,) -> (m, n) over all panels, each halved until its 20 Gauss points agree with its halves.

    Differences count relative to the sum of the sizes over all panels.
    """

    def panels(low: Array, high: Array) -> Array:
        half = (high - low) / 2
        x = (low + half)[:, None] + half[:, None] * GAUSS[0]
        values = f(x.ravel())
        return np.einsum("mpk,k,p->mp", values.reshape(len(values), *x.shape), GAUSS[1], half)

    low, high = edges[:-1], edges[1:]
    coarse = panels(low, high)
    scale, total = np.abs(coarse).sum(axis=1) + 1e-300, np.zeros(len(coarse))
    for _ in range(rounds):
        middle = (low + high) / 2
        left, right = panels(low, middle), panels(middle, high)
        fine = left + right
        rough = (np.abs(fine - coarse) > tolerance * scale[:, None]).any(axis=0)
        scale = np.maximum(scale, np.abs(total) + np.abs(fine).sum(axis=1))
        total = total + fine[:, ~rough].sum(axis=1)
        if not rough.any():
            return total
        low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
        coarse = np.concatenate([left[:, rough], right[:, rough]], axis=1)
        if low.size > 4_000:
            break
    return total + coarse.sum(axis=1)


@dataclass(eq=False)
class Line(Answer):
    """Densities on the line, or between walls, by quadrature.

    `edges` of panels (or a function of t) must resolve every feature and hold every break, and the walls if there are
    any; the scale of time is that since the start.
    """

    log_mu: Log
    log_pi: Log
    edges: Array | Callable[[float], Array]
    known_kl: Callable[[float], float] | None = None

    def panels(self, t: float) -> Array:
        return self.edges(t) if callable(self.edges) else self.edges

    @functools.cached_property
    def _found(self) -> dict[float, tuple[float, float]]:
        return {}

    def measured(self, t: float) -> tuple[float, float]:
        """log of the integral of exp(log_mu), and KL."""
        if t not in self._found:
            edges = self.panels(t)
            half = np.diff(edges) / 2
            x = ((edges[:-1] + half)[:, None] + half[:, None] * GAUSS[0]).ravel()
            with np.errstate(all="ignore"):
                tops = [float(np.nanmax(log(t, x))) for log in (self.log_mu, self.log_pi)]

            def masses(x: Array) -> Array:
                with np.errstate(all="ignore"):
                    return np.nan_to_num(np.exp([self.log_mu(t, x) - tops[0], self.log_pi(t, x) - tops[1]]))

            logs = [top + math.log(z) for top, z in zip(tops, integrals(masses, edges), strict=True)]

            def divergence(x: Array) -> Array:
                with np.errstate(all="ignore"):
                    log_mu, log_pi = self.log_mu(t, x) - logs[0], self.log_pi(t, x) - logs[1]
                    mu = np.exp(log_mu)
                    return np.where(
                        mu > 0, mu * (log_mu - log_pi) - mu + np.exp(log_pi), np.nan_to_num(np.exp(log_pi))
                    )[None]

            kl = self.known_kl(t) if self.known_kl else float(integrals(divergence, edges)[0])
            self._found[t] = logs[0], kl
        return self._found[t]

    def log_density(self, t: float, points: Array) -> Array:
        with np.errstate(all="ignore"):
            return self.log_mu(t, points[..., 0]) - self.measured(t)[0]

    def kl(self, t: float) -> float:
        return self.measured(t)[1]

    def outside(self, t: float, lower: Array, upper: Array) -> float:
        edges, log_mass, total = self.panels(t), self.measured(t)[0], 0.0
        for low, high in ((edges[0], float(lower[0])), (float(upper[0]), edges[-1])):
            if low < high:
                part = np.unique(np.clip(edges, low, high))

                def mass(x: Array) -> Array:
                    with np.errstate(all="ignore"):
                        return np.nan_to_num(np.exp(self.log_mu(t, x) - log_mass))[None]

                total += float(integrals(mass, part)[0])
        return total


@dataclass(eq=False)
class Normal(Answer):
    """A Gaussian at every time, `at(t)`, and the Gaussian target then."""

    at: Callable[[float], Any]
    target_at: Callable[[float], Any]
    mirrored: bool = False  # half of it, between a wall at its mean and infinity

    def log_density(self, t: float, points: Array) -> Array:
        g = self.at(t)
        return g.log_density(points) - g.log_normaliser + (math.log(2) if self.mirrored else 0.0)

    def kl(self, t: float) -> float:
        return exact.gaussian_kl(self.at(t), self.target_at(t))

    def outside(self, t: float, lower: Array, upper: Array) -> float | None:
        from scipy.special import ndtr

        g = self.at(t)
        sd = np.sqrt(np.diag(g.covariance))
        beyond = ndtr((g.mean - upper) / sd)
        # along the axis where it is most, which is no more than there is
        return float(np.max(2 * beyond if self.mirrored else ndtr((lower - g.mean) / sd) + beyond))

    def turned(self, rotation: Array, centre: Array) -> Normal:
        """The same in coordinates y = Q'(x - c)."""

        def moved(g: Any) -> Any:
            return wfr.Gaussian(rotation.T @ (g.mean - centre), rotation.T @ g.covariance @ rotation)

        return Normal(lambda t: moved(self.at(t)), lambda t: moved(self.target_at(t)), self.mirrored)

    def doubt(self, t: float) -> tuple[float, float]:
        """The mean is rounded to the nearest number: that moves the density by a half of that, and KL with it."""
        g = self.at(t)
        sd = float(np.sqrt(np.linalg.eigvalsh(g.covariance)[0]))
        moved = float(np.abs(np.spacing(g.mean)).max()) / sd
        return moved, moved * math.sqrt(2 * self.kl(t)) * sd / float(
            np.sqrt(np.linalg.eigvalsh(self.target_at(t).covariance)[0])
        )


@dataclass(eq=False)
class Mixture(Answer):
    """A Gaussian mixture `at(t)` relaxing to a Gaussian in two dimensions; KL by the trapezoidal rule."""

    at: Callable[[float], Any]
    target: Any
    cells: int = 500

    def log_density(self, t: float, points: Array) -> Array:
        return self.at(t).log_density(points)

    def kl(self, t: float) -> float:
        mixture, target = self.at(t), self.target
        sds = np.sqrt([np.diag(c) for c in mixture.covariances])
        lower, upper = (mixture.means - 9 * sds).min(axis=0), (mixture.means + 9 * sds).max(axis=0)
        axes = [np.linspace(a, b, self.cells) for a, b in zip(lower, upper, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        log_mu = mixture.log_density(points)
        gap = log_mu - target.log_density(points) + target.log_normaliser
        return float(np.sum(np.exp(log_mu) * gap) * np.prod([x[1] - x[0] for x in axes]))


@dataclass(eq=False)
class Product(Answer):
    """Independent parts, one per coordinate u = points @ basis + shift."""

    parts: Sequence[Answer]
    basis: Array
    smooth: bool = True
    shift: Array | float = 0.0

    def log_density(self, t: float, points: Array) -> Array:
        u = points @ self.basis + self.shift
        return np.sum([part.log_density(t, u[..., k : k + 1]) for k, part in enumerate(self.parts)], axis=0)

    def kl(self, t: float) -> float:
        return sum(part.kl(t) for part in self.parts)

    def outside(self, t: float, lower: Array, upper: Array) -> float | None:
        if np.array_equal(self.basis, np.eye(len(self.parts))):
            beyond = [part.outside(t, lower[k : k + 1], upper[k : k + 1]) for k, part in enumerate(self.parts)]
            return -math.expm1(sum(math.log1p(-float(b or 0.0)) for b in beyond))
        first, second = self.parts[0], self.parts[-1]
        if len(self.parts) == 2 and isinstance(first, Line) and isinstance(second, Normal):
            return self._outside_of_turned(first, second.at(t), t, lower, upper)
        return None if self.smooth else 0.0

    def _outside_of_turned(self, first: Line, second: Any, t: float, lower: Array, upper: Array) -> float:
        """Mass outside a box whose sides are oblique to a line and a Gaussian: by that of the Gaussian on each line."""
        from scipy.special import ndtr

        mean, sd = float(second.mean[0]), math.sqrt(float(second.covariance[0, 0]))

        def mass(x: Array) -> Array:
            u = x - np.broadcast_to(self.shift, 2)[0]
            low, high = np.full(len(x), -np.inf), np.full(len(x), np.inf)
            for k, (a, b) in enumerate(zip(lower, upper, strict=True)):  # a <= (basis (u, v))_k <= b
                slope = self.basis[k, 1]
                if slope == 0:
                    empty = (self.basis[k, 0] * u < a) | (self.basis[k, 0] * u > b)
                    low, high = np.where(empty, np.inf, low), np.where(empty, -np.inf, high)
                else:
                    ends = np.sort([(a - self.basis[k, 0] * u) / slope, (b - self.basis[k, 0] * u) / slope], axis=0)
                    low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
            offset = np.broadcast_to(self.shift, 2)[1] - mean
            outside = ndtr((low + offset) / sd) + ndtr(-(high + offset) / sd)
            return (np.exp(first.log_density(t, x[:, None])) * np.where(low < high, outside, 1.0))[None]

        return float(integrals(mass, first.panels(t), 1e-9)[0])

    def turned(self, rotation: Array, centre: Array) -> Product:
        """The same in coordinates y = Q'(x - c)."""
        return Product(self.parts, rotation.T @ self.basis, self.smooth, centre @ self.basis + self.shift)

    def doubt(self, t: float) -> tuple[float, float]:
        each = [part.doubt(t) for part in self.parts]
        return sum(d[0] for d in each), sum(d[1] for d in each)


@dataclass(eq=False)
class Ring(Answer):
    """pi (1 + eps e^{-rate t} g(r) cos(theta - angle)) in the plane, pi = exp(-V(r))/Z."""

    V: Callable[[Array], Array]
    g: Callable[[Array], Array]
    angle: float
    eps: float
    rate: float

    @functools.cached_property
    def edges(self) -> Array:
        return np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 400)])

    @functools.cached_property
    def log_z(self) -> float:
        r = np.geomspace(1e-3, 30.0, 100_000)
        lowest = float(self.V(r).min())
        found = integrals(lambda r: (r * np.exp(lowest - self.V(r)))[None], self.edges)
        return math.log(2 * math.pi * float(found[0])) - lowest

    def log_density(self, t: float, points: Array) -> Array:
        x, y = points[..., 0], points[..., 1]
        r = np.hypot(x, y)
        cosine = (x * math.cos(self.angle) + y * math.sin(self.angle)) / np.maximum(r, 1e-6)
        return np.log1p(self.eps * math.exp(-self.rate * t) * self.g(r) * cosine) - self.V(r) - self.log_z

    def kl(self, t: float) -> float:
        cosines = np.cos(2 * np.pi * (np.arange(400) + 0.5) / 400)[:, None]

        def mean(r: Array) -> Array:  # of (1 + h) log(1 + h) - h over the angle, times r pi
            h = self.eps * math.exp(-self.rate * t) * self.g(r) * cosines
            return np.mean((1 + h) * np.log1p(h) - h, axis=0) * r * np.exp(-self.V(r) - self.log_z)

        return 2 * math.pi * float(integrals(lambda r: mean(r)[None], self.edges)[0])


def lobatto(p: int) -> tuple[Array, Array, Array]:
    """Nodes, weights and the matrix of derivatives (p + 1, p + 1) of the Gauss-Lobatto rule of p + 1 points."""
    legendre = np.polynomial.legendre.Legendre.basis(p)
    x = np.concatenate([[-1.0], np.sort(legendre.deriv().roots().real), [1.0]])
    for _ in range(3):  # Newton: roots of the derivative to the last digit
        inner = x[1:-1]
        x[1:-1] = inner - legendre.deriv()(inner) / legendre.deriv(2)(inner)
    weights = 2 / (p * (p + 1) * legendre(x) ** 2)
    barycentric = barycentric_weights(x)
    gaps = x[:, None] - x[None, :] + np.eye(p + 1)
    matrix = barycentric[None, :] / barycentric[:, None] / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return x, weights, matrix


def barycentric_weights(x: Array) -> Array:
    """Weights of the barycentric interpolation through nodes x."""
    gaps = 2 * (x[:, None] - x[None, :]) / np.ptp(x) * 2 + np.eye(len(x))
    return 1 / np.prod(gaps, axis=1)


def interpolated(nodes: Array, values: Array, x: Array) -> Array:
    """Polynomials through (nodes (n,), values (..., n)) at x (...)."""
    gaps = x[..., None] - nodes
    hit = np.abs(gaps) < 1e-13 * np.ptp(nodes)
    weights = barycentric_weights(nodes) / np.where(hit, 1.0, gaps)
    weights = np.where(hit.any(axis=-1, keepdims=True), hit.astype(float), weights)
    return np.sum(weights * values, axis=-1) / np.sum(weights, axis=-1)


def contour(count: int = 26) -> tuple[Array, Array]:
    """Poles z and weights c (complex) with exp(A) ~ 2 Re sum c (z - A)⁻¹ for a spectrum on the negative axis.

    The cotangent contour of Trefethen, Weideman and Schmelzer (2006), doi:10.1007/s10543-006-0077-9: the error falls
    like e^{-1.358 count}, the rounding grows like e^{0.18 count}.
    """
    theta = np.pi * np.arange(1, count, 2) / count
    cot = 1 / np.tan(0.6407 * theta)
    z = count * (0.5071 * theta * cot - 0.6122 + 0.2645j * theta)
    slope = count * (0.5071 * cot - 0.5071 * 0.6407 * theta * (1 + cot**2) + 0.2645j)
    return z, np.exp(z) * slope / (1j * count)


class Elements:
    """d_t mu = alpha (mu' + V' mu)' by spectral elements of degree p for w = mu/pi, exact in time.

    The weak form  d/dt int pi w f = -alpha int pi w' f'  holds for kinks and jumps of V on edges as it stands, as w and
    the flux are continuous there, and its natural condition is that of a wall. With the Gauss-Lobatto rule the mass
    matrix M is diagonal; exp(-alpha t M⁻¹K) is taken by a contour integral, banded solves. These, like eigenvectors,
    are wrong by eps |K|: 1e-4 beside a spike of 1e-4. Therefore each is refined by what it leaves in the equation, with
    K applied by differences. Edges are those given, halved until V and log mu_0 change by little over each.
    """

    def __init__(self, V: Callable[[Array], Array], log_start: Callable[[Array], Array], edges: Array, alpha: float,
                 p: int, nats: float) -> None:  # fmt: skip
        self.V, self.alpha, self.p = V, alpha, p
        self.x, w, d = lobatto(p)
        self.edges = self._refined(edges, log_start, nats)
        half = np.diff(self.edges) / 2
        nodes = (self.edges[:-1] + half)[:, None] + half[:, None] * self.x
        first, last = np.nextafter(self.edges[:-1], np.inf), np.nextafter(self.edges[1:], -np.inf)
        inside = np.clip(nodes, first[:, None], last[:, None])  # V on its own side of a jump
        v = V(inside)
        self.shift = float(v.min())
        pi = np.exp(self.shift - v)
        count = len(half)
        self.index = np.arange(count)[:, None] * p + np.arange(p + 1)
        size = count * p + 1
        self.mass, self.load = np.zeros(size), np.zeros(size)
        np.add.at(self.mass, self.index, pi * w * half[:, None])
        np.add.at(self.load, self.index, np.exp(log_start(inside)) * w * half[:, None])
        self.derivative, self.conductance = d, pi * w / half[:, None]
        local = np.einsum("ek,ki,kj->eij", self.conductance, d, d)
        self.stiffness = np.zeros((2 * p + 1, size))
        rows, columns = np.broadcast_arrays(self.index[:, :, None], self.index[:, None, :])
        np.add.at(self.stiffness, (p + rows - columns, columns), local)
        self.log_z, self.begun = math.log(self.mass.sum()), float(self.load.sum())

    def _refined(self, edges: Array, log_start: Callable[[Array], Array], nats: float) -> Array:
        for _ in range(40):
            inside = edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(1e-3, 1 - 1e-3, 9)
            v, start = self.V(inside), log_start(inside)
            start = np.maximum(start, start.max() - 40)  # less than that is nothing
            rough = np.maximum(np.ptp(v, axis=1), np.ptp(start, axis=1)) > nats
            if not rough.any():
                break
            edges = np.sort(np.concatenate([edges, (edges[:-1] + edges[1:])[rough] / 2]))
        return edges

    @functools.cached_property
    def _states(self) -> dict[float, Array]:
        return {}

    def ratio(self, t: float) -> Array:
        """w = mu/pi at the nodes, for pi normalised to the sum of `mass`."""
        if t == 0:
            return self.load / self.mass
        if t not in self._states:
            from scipy.linalg import solve_banded

            found = np.zeros_like(self.load)
            for z, c in zip(*contour(), strict=True):
                matrix = (self.alpha * t) * self.stiffness + 0j
                matrix[self.p] += z * self.mass
                u = np.zeros_like(self.load, dtype=complex)
                for _ in range(1 + REFINED):
                    left = self.load - (self.alpha * t) * self._stiff(u) - z * self.mass * u
                    u += solve_banded((self.p, self.p), matrix, left, check_finite=False)
                found += 2 * np.real(c * u)
            # mass is conserved; rounding goes to the constant first
            self._states[t] = found * (self.begun / float(np.sum(self.mass * found)))
        return self._states[t]

    def _stiff(self, u: Array) -> Array:
        """K u, with a rounding error by the differences of u in an element, not by u."""
        inside = u[self.index]
        flux = self.conductance * ((inside - inside[:, :1]) @ self.derivative.T)
        result = np.zeros_like(u)
        np.add.at(result, self.index, flux @ self.derivative)
        return result

    def ratio_at(self, t: float, x: Array) -> Array:
        """The same anywhere in the domain, by the polynomials."""
        element = np.clip(np.searchsorted(self.edges, x) - 1, 0, len(self.edges) - 2)
        half = np.diff(self.edges)[element] / 2
        return interpolated(self.x, self.ratio(t)[self.index[element]], (x - self.edges[element]) / half - 1)

    def kl(self, t: float) -> float:
        w = np.maximum(self.ratio(t), 1e-300) * math.exp(self.log_z)
        return float(np.sum(self.mass * w * np.log(w)) * math.exp(-self.log_z))


@dataclass(eq=False)
class Relaxation(Answer):
    """W from a normalised start, by `Elements` twice. `features` (centre, width) of V and start, and breaks of V."""

    V: Callable[[Array], Array]
    log_start: Callable[[Array], Array]
    features: Sequence[tuple[float, float]]
    breaks: Sequence[float]
    lower: float
    upper: float
    alpha: float = 1.0
    fine: tuple[int, float] = (14, 4.0)
    coarse: tuple[int, float] = (11, 4.5)
    least: float = 1e-3  # the smallest element beside a break, of its distance to the next feature

    @functools.cached_property
    def solved(self) -> tuple[Elements, Elements]:
        """The fine and the coarse one."""
        found = []
        for p, nats in (self.fine, self.coarse):
            found_edges = [np.array([self.lower, *self.breaks, self.upper])]
            for centre, width in self.features:
                steps = width * 2.0 ** np.arange(-1, math.log2((self.upper - self.lower) / width) + 1)
                found_edges += [centre + width / 2 * np.arange(-8, 9), centre + steps, centre - steps]
            for b in self.breaks:
                finer = self.least * 3.0 ** np.arange(0, 10)
                found_edges += [b + finer, b - finer]
            edges = np.unique(np.concatenate(found_edges))
            edges = edges[(edges >= self.lower) & (edges <= self.upper)]
            fixed = np.isin(edges, [self.lower, self.upper, *self.breaks])
            keep = np.ones(len(edges), dtype=bool)  # of neighbours that nearly coincide one is enough
            widths = [width for _, width in self.features] + [self.least for _ in self.breaks]
            finest = min([*widths, self.upper - self.lower]) / 3
            last = 0
            for k in range(1, len(edges)):
                if edges[k] - edges[last] < finest and not (fixed[k] and fixed[last]):
                    keep[last if fixed[k] else k] = False
                last = k if keep[k] else last
            found.append(Elements(self.V, self.log_start, edges[keep], self.alpha, p, nats))
        return found[0], found[1]

    def log_density(self, t: float, points: Array) -> Array:
        x, fine = points[..., 0], self.solved[0]
        inside = (x >= self.lower) & (x <= self.upper)
        y = np.clip(x, self.lower, self.upper)
        if t == 0:
            return self.log_start(x)
        with np.errstate(all="ignore"):
            value = np.log(np.maximum(fine.ratio_at(t, y), 1e-300)) - self.V(y) + fine.shift
        return np.where(inside, value, -np.inf)

    def kl(self, t: float) -> float:
        return self.solved[0].kl(t)

    def outside(self, t: float, lower: Array, upper: Array) -> float:
        fine, x = self.solved[0], self.solved[0].edges
        total = 0.0
        for low, high in ((x[0], float(lower[0])), (float(upper[0]), x[-1])):
            if low < high:

                def mass(y: Array) -> Array:
                    return np.exp(self.log_density(t, y[:, None]))[None]

                total += float(integrals(mass, np.unique(np.clip(fine.edges, low, high)), 1e-12)[0])
        return total

    def doubt(self, t: float) -> tuple[float, float]:
        if t == 0:
            return 0.0, 2 * abs(self.solved[0].kl(0.0) - self.solved[1].kl(0.0)) + 1e-10
        fine, coarse = self.solved
        x = np.empty(len(fine.mass))
        half = np.diff(fine.edges) / 2
        x[fine.index] = (fine.edges[:-1] + half)[:, None] + half[:, None] * fine.x
        scale = math.exp(fine.shift - coarse.shift)
        l1 = np.sum(fine.mass * np.abs(fine.ratio(t) - coarse.ratio_at(t, x) / scale))
        leak = math.exp(-DEEP / 2)
        lost = abs(1 - fine.begun)  # of the start, outside the domain
        return 2 * float(l1) + leak + lost, 2 * abs(fine.kl(t) - coarse.kl(t)) + leak + lost


FIRST = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0.0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
SECOND = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])


@dataclass(eq=False)
class Takeover(Answer):
    """WFR in one dimension for a start narrower than the target, by the equation of g = log(mu/pi).

    d_t g = alpha (g'' + g'² - V' g') - beta g, up to a constant in space: differences of order 8, LSODA with a banded
    Jacobian; the second run, that tells the doubt, has fewer cells, larger errors in time and a smaller domain. Where
    the start is narrower than the target, characteristics leave at both ends, and beyond them g is continued as the
    parabola that it nearly is.
    """

    V: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    log_start: Callable[[Array], Array]
    times: Sequence[float]  # since the start
    lower: float
    upper: float
    alpha: float
    beta: float
    cells: int = 900
    rtol: float = 1e-10
    found: dict[str, Any] = field(default_factory=dict)

    def solved(self, coarse: bool = False) -> tuple[Array, Array]:
        """Nodes (n,), and g (times, n), normalised."""
        key = "coarse" if coarse else "fine"
        if key not in self.found:
            narrower = NARROWER * (self.upper - self.lower) if coarse else 0.0
            ends = self.lower + narrower, self.upper - narrower
            self.found[key] = self._run(
                ends, int((0.75 if coarse else 1.0) * self.cells), self.rtol * (30 if coarse else 1)
            )
        return self.found[key]

    def _run(self, ends: tuple[float, float], n: int, rtol: float) -> tuple[Array, Array]:
        from scipy.integrate import odeint

        x = np.linspace(*ends, n)
        dx = x[1] - x[0]
        slope, first, second = self.slope(x), FIRST / dx, SECOND / dx**2
        padded = np.empty(n + 8)
        j = np.arange(1, 5)
        ahead = np.stack([(j + 1) * (j + 2) / 2, -j * (j + 2), j * (j + 1) / 2], axis=1)  # parabola through three

        def change(g: Array, t: float) -> Array:
            padded[4:-4] = g
            padded[-4:] = ahead @ g[[-1, -2, -3]]
            padded[:4] = (ahead @ g[:3])[::-1]
            dg = np.convolve(padded, first[::-1], "valid")
            return self.alpha * (np.convolve(padded, second, "valid") + (dg - slope) * dg) - self.beta * g

        g0 = self.log_start(x) + self.V(x)
        g0 -= g0[np.argmax(self.log_start(x))]
        tau = max(self.times) or 1.0
        states, told = odeint(
            change, g0, [0.0, *(t for t in self.times if t > 0)], rtol=rtol, atol=rtol, ml=4, mu=4, mxstep=200_000,
            h0=1e-6 * tau * rtol**0.2, full_output=True,
        )  # fmt: skip
        if told["message"] != "Integration successful." or not np.isfinite(states).all():
            raise ArithmeticError(f"the reference could not be integrated: {told['message']}")
        states = states if 0 in self.times else states[1:]
        v = self.V(x)
        logs = states - v
        top = logs.max(axis=1, keepdims=True)
        log_mu = np.log(np.sum(np.exp(logs - top), axis=1) * dx) + top[:, 0]
        log_pi = np.log(np.sum(np.exp(v.min() - v)) * dx) - v.min()
        return x, states - log_mu[:, None] + log_pi

    def _index(self, t: float) -> int:
        return int(np.argmin(np.abs(np.asarray(self.times) - t)))

    def _interpolated(self, t: float, points: Array, coarse: bool = False) -> Array:
        """G by polynomials of degree 9; beyond the ends by the outermost one's edge."""
        x, states = self.solved(coarse)
        g, dx = states[self._index(t)], x[1] - x[0]
        place = (np.clip(points, x[0], x[-1]) - x[0]) / dx
        base = np.clip(np.floor(place).astype(int) - 4, 0, len(x) - 10)
        return interpolated(np.arange(10.0), g[base[..., None] + np.arange(10)], place - base)

    @functools.cached_property
    def log_z(self) -> float:
        x, _ = self.solved()
        v = self.V(x)
        return float(np.log(np.sum(np.exp(v.min() - v)) * (x[1] - x[0])) - v.min())

    def log_density(self, t: float, points: Array) -> Array:
        x = points[..., 0]
        y = np.clip(x, self.lower, self.upper)
        return np.where(x == y, self._interpolated(t, y) - self.V(y) - self.log_z, -np.inf)

    def kl(self, t: float) -> float:
        return self._kl(t, False)

    def _kl(self, t: float, coarse: bool) -> float:
        x, states = self.solved(coarse)
        g = states[self._index(t)]
        return float(np.sum(np.exp(g - self.V(x) - self.log_z) * g) * (x[1] - x[0]))

    def outside(self, t: float, lower: Array, upper: Array) -> float:
        x, states = self.solved()
        mu = np.exp(states[self._index(t)] - self.V(x) - self.log_z)
        return float(np.sum(mu[(x < lower[0]) | (x > upper[0])]) * (x[1] - x[0]))

    def doubt(self, t: float) -> tuple[float, float]:
        x, states = self.solved()
        g = states[self._index(t)]
        other = self._interpolated(t, x, coarse=True)
        mu = np.exp(np.array([g, other]) - self.V(x) - self.log_z)
        apart = float(np.abs(mu[0] - mu[1]).sum() * (x[1] - x[0]))
        return 2 * apart + 1e-11, 2 * abs(self.kl(t) - self._kl(t, True)) + 1e-10


def dry_friction(c: float, mean: float, variance: float, alpha: float) -> Log:
    """log mu_t for V = c|x| under W from N(mean, variance), by the propagator of Caughey and Dienes (1961).

    With s = alpha t: p(x|y) = exp(-c²s/4 - c(|x| - |y|)/2 - (x - y)²/(4s)) / sqrt(4 pi s)
    + (c/4) e^{-c|x|} [1 + erf((c s - |x| - |y|) / (2 sqrt s))],
    integrated over y by Gauss points on both sides of the kink.
    """
    sd = math.sqrt(variance)

    def rule(s: float) -> tuple[Array, Array]:
        """Points and weights in y, that resolve the width sqrt(s) of the kink too."""
        near = math.sqrt(s) * 2.0 ** np.arange(-1, 40)
        pieces = np.concatenate([mean + sd * np.arange(-9.0, 9.5, 2.25), [0.0], near, -near])
        pieces = np.unique(pieces[np.abs(pieces - mean) <= 9 * sd])
        half = np.diff(pieces) / 2
        y = ((pieces[:-1] + half)[:, None] + half[:, None] * GAUSS[0]).ravel()
        weight = (half[:, None] * GAUSS[1]).ravel() * np.exp(-((y - mean) ** 2) / (2 * variance))
        return y, weight / math.sqrt(2 * math.pi * variance)

    def gaussian_part(s: float, x: Array) -> Array:
        """The first term in closed form, on each side of the kink: Gaussians of y over half-lines."""
        from scipy.special import log_ndtr

        terms = []
        for side in (-1.0, 1.0):
            # exponent in y: side c y/2 - (x - y)²/4s - (y - mean)²/2v; a parabola of precision 1/2s + 1/v
            precision = 1 / (2 * s) + 1 / variance
            centre = (x / (2 * s) + mean / variance + side * c / 2) / precision
            at_centre = side * c * centre / 2 - (x - centre) ** 2 / (4 * s) - (centre - mean) ** 2 / (2 * variance)
            terms.append(at_centre + log_ndtr(side * centre * math.sqrt(precision)))
        constant = -(c**2) * s / 4 - c * np.abs(x) / 2 - 0.5 * math.log(4 * math.pi * s * variance * precision)
        return np.logaddexp(*terms) + constant

    def log_mu(t: float, x: Array) -> Array:
        from scipy.special import erfc

        if t == 0:
            return -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)
        s = alpha * t
        y, weight = rule(s)
        tail = c / 4 * np.exp(-c * np.abs(x))
        seen = tail > 0
        z = (np.abs(x[seen])[..., None] + np.abs(y) - c * s) / (2 * math.sqrt(s))
        tail[seen] *= erfc(z) @ weight
        with np.errstate(divide="ignore"):
            return np.logaddexp(gaussian_part(s, x), np.log(tail))

    return log_mu


@dataclass(frozen=True)
class Chain:
    """V piecewise linear between two walls: edges (n + 1,), slopes (n,), values (n,) at the left ends; it may jump."""

    edges: tuple[float, ...]
    slopes: tuple[float, ...]
    values: tuple[float, ...]

    def V(self, x: Array) -> Array:  # noqa: N802
        k = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.slopes) - 1)
        return np.asarray(self.values)[k] + np.asarray(self.slopes)[k] * (x - np.asarray(self.edges)[k])

    def _shoot(self, rate: float) -> tuple[float, list[tuple[float, float]]]:
        """w' at the right wall from w = 1, w' = 0 at the left one, and (w, w') at the left ends of the pieces.

        On a piece w'' - s w' + rate w = 0; over an edge w and e^{-V} w' are continuous.
        """
        w, dw, states = 1.0, 0.0, []
        for k, s in enumerate(self.slopes):
            if k:
                before = self.values[k - 1] + self.slopes[k - 1] * (self.edges[k] - self.edges[k - 1])
                dw *= math.exp(self.values[k] - before)
            states.append((w, dw))
            w, dw = _carried(s, rate, self.edges[k + 1] - self.edges[k], w, dw)
        return dw, states

    def mode(self, number: int) -> tuple[float, Callable[[Array], Array]]:
        """The eigenvalue and the eigenfunction of the generator with `number` zeros, of largest size 1."""
        from scipy.optimize import brentq

        def flux(rate: float) -> float:
            return self._shoot(rate)[0]

        rates, values = [], []
        step = (math.pi / (self.edges[-1] - self.edges[0])) ** 2 / 200
        rate = 1e-9 * step
        found = 0
        last = flux(rate)
        while found < number:  # the flux changes sign at every eigenvalue; a step may hold one only
            rates, values, rate = [rate], [last], rate + step
            last = flux(rate)
            if last * values[0] < 0:
                found += 1
        root = float(brentq(flux, rates[0], rate, xtol=1e-15, rtol=8.9e-16))
        states = self._shoot(root)[1]

        def raw(x: Array) -> Array:
            k = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.slopes) - 1)
            w = np.empty_like(x)
            for j, s in enumerate(self.slopes):
                here = k == j
                w[here] = _carried(s, root, x[here] - self.edges[j], *states[j])[0]
            return w

        fine = np.concatenate([np.linspace(a, b, 400) for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)])
        top = float(np.abs(raw(fine)).max()) * 1.0001
        return root, lambda x: raw(np.asarray(x, dtype=float)) / top


def _carried(s: float, rate: float, h: Any, w: float, dw: float) -> tuple[Any, Any]:
    """(w, w') a distance h on, for w'' - s w' + rate w = 0."""
    square = rate - s * s / 4
    omega = math.sqrt(abs(square))
    c, sn = (np.cos(omega * h), np.sin(omega * h)) if square > 0 else (np.cosh(omega * h), np.sinh(omega * h))
    ratio = sn / omega if omega > 1e-9 else h
    growth = np.exp(s * h / 2)
    b = dw - s / 2 * w
    return growth * (w * c + b * ratio), growth * (dw * c + (s / 2 * b - (square) * w) * ratio)


def kinked_well_mode(c: float) -> tuple[float, Callable[[Array], Array]]:
    """Second even eigenpair for V = x²/2 + c|x|, c >= 0: f = e^{z²/4} D_lambda(z), z = |x| + c, with no slope at 0.

    D is the parabolic cylinder function; f' = lambda e^{z²/4} D_{lambda-1}(z). f is continuous and e^{-V} f' too, so
    that the kink needs nothing more; scaled to f >= -1.
    """
    from scipy.optimize import brentq
    from scipy.special import pbdv

    def slope(rate: float) -> float:
        return float(pbdv(rate - 1, c)[0])

    grid = np.linspace(0.5, 40.0, 800)
    values = [slope(rate) for rate in grid]
    first = next(k for k in range(len(grid) - 1) if values[k] * values[k + 1] < 0)
    rate = float(brentq(slope, grid[first], grid[first + 1], xtol=1e-15, rtol=8.9e-16))
    rate = float(round(rate)) if abs(rate - round(rate)) < 1e-12 else rate  # beside whole numbers pbdv has no digits

    def raw(x: Array) -> Array:
        z = np.abs(x) + c
        return np.exp(z**2 / 4) * pbdv(rate, z)[0]

    bottom = float(raw(np.array([0.0]))[0])  # the only minimum, as f grows
    return rate, lambda x: raw(np.asarray(x, dtype=float)) / abs(bottom)
