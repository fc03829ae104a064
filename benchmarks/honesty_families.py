"""Families of problems with known answers, drawn at random: `draw(seed, k)` is draw k of a seed, alone reproducible.

A family is a function of a `Draw`, a point of the unit cube that is spent coordinate by coordinate, so that a search
can move through it continuously. A *control* is a problem that must neither be refused nor answered above its
tolerance.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from honesty_answers import (
    DEEP,
    SINGULAR,
    Answer,
    Array,
    Chain,
    Line,
    Mixture,
    Normal,
    Product,
    Relaxation,
    Ring,
    Takeover,
    dry_friction,
    graded,
    kinked_well_mode,
)

import wfr_pde as wfr
from wfr_pde import exact

LENGTH = 48  # coordinates of a draw
TIMES = 1e-8, 1e4
RATES = 1e-4, 1e4


@dataclass(frozen=True, eq=False)
class Case:
    """One problem, what is asked of `ground_truth`, and its answer; times of the answer count from the start."""

    family: str
    name: str
    target: wfr.Target
    start: wfr.Target
    times: Sequence[float]
    alpha: float
    beta: float
    rtol: float
    answer: Answer
    options: dict[str, Any] = field(default_factory=dict)
    control: bool = False
    refusal_right: bool = False  # the input is wrong: to refuse it is right, and so is an answer that holds

    @property
    def walls(self) -> bool:
        """Whether the box is part of the problem."""
        return "box" in self.options and not self.refusal_right

    def __str__(self) -> str:
        options = "".join(f", {k}={v}" for k, v in self.options.items())
        return (
            f"{self.name}: ground_truth({self.target!r}, {self.start!r}, {list(self.times)}, "
            f"transport_rate={self.alpha:.17g}, reaction_rate={self.beta:.17g}, rtol={self.rtol:.17g}{options})"
        )


class Draw:
    """A point of the unit cube, one coordinate per question."""

    def __init__(self, u: Array) -> None:
        self.u, self.used = u, 0

    def unit(self) -> float:
        self.used += 1
        return float(self.u[self.used - 1])

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def log(self, low: float, high: float) -> float:
        return low * (high / low) ** self.unit()

    def integer(self, low: int, high: int) -> int:
        return min(high, low + int(self.unit() * (high - low + 1)))

    def choice(self, *options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def sign(self) -> float:
        return self.choice(-1.0, 1.0)

    def rtol(self, low: float = 1e-9, high: float = 1e-1) -> float:
        return self.log(low, high)

    def times(self, unit: float, low: float = 1e-3, high: float = 6.0) -> list[float]:
        """Two to four save times; the last is some `unit`s after the start, the others are anywhere before."""
        last = float(np.clip(unit * self.log(low, high), *TIMES))
        begin = self.choice(0.0, 0.0, 0.0, 0.0, 7.5, -1000.0)
        middle = [last * self.log(1e-4, 1.0) for _ in range(self.integer(0, 2))]
        return np.unique([begin, *(begin + t for t in middle if t >= TIMES[0]), begin + last]).tolist()

    def rates(self, mode: str, scale: float) -> tuple[float, float, float]:
        """alpha, beta, and the time that is natural: scale²/alpha or 1/beta, the shorter."""
        alpha = 0.0 if mode == "FR" else self.log(*RATES)
        if mode == "W":
            return alpha, 0.0, scale**2 / alpha
        if mode == "FR":
            beta = self.log(*RATES)
            return 0.0, beta, 1 / beta
        beta = float(np.clip(alpha / scale**2 * self.log(1e-2, 1e2), *RATES))
        return alpha, beta, 1 / (alpha / scale**2 + beta)


def potential(V: Any, breaks: Sequence[float] = ()) -> wfr.Potential:
    """A potential that knows its breaks, where `Potential` has a word for that."""
    if breaks and "breaks" in inspect.signature(wfr.Potential).parameters:
        return wfr.Potential(V, breaks=list(breaks))  # type: ignore[call-arg,unused-ignore]
    return wfr.Potential(V)


def written(*texts: str) -> wfr.Potential:
    """The first of several expressions of one V that `Potential` can read."""
    for text in texts[:-1]:
        try:
            return wfr.Potential(text)
        except ValueError:
            continue
    return wfr.Potential(texts[-1])


def between(lower: Any, upper: Any, **options: Any) -> dict[str, Any]:
    """Options for walls that are meant."""
    if "max_cut" in inspect.signature(wfr.ground_truth).parameters:
        options["max_cut"] = 1.0
    return {"box": (lower, upper), **options}


def shown(value: float) -> str:
    """A number as text for an expression, the sign in brackets."""
    return f"({value!r})"


def gaussian_answer(target: wfr.Gaussian, start: wfr.Gaussian, alpha: float, beta: float, **options: Any) -> Normal:
    def at(t: float) -> Any:
        return exact.gaussian_flow(target, start, t, alpha, beta)

    return Normal(at, lambda t: target, **options)


def fisher_rao(
    log_start: Callable[[Array], Array], log_pi: Callable[[Array], Array], beta: float, edges: Array
) -> Line:
    """log mu_t = s log mu_0 + (1 - s) log pi, s = e^{-beta t}."""

    def log_mu(t: float, x: Array) -> Array:
        s = math.exp(-beta * t)
        first = s * log_start(x) if s > 0 else 0.0 * x
        return first - math.expm1(-beta * t) * log_pi(x) if t > 0 else first

    return Line(log_mu, lambda t, x: log_pi(x), edges)


def decay(log_pi: Callable[[Array], Array], f: Callable[[Array], Array], eps: float, rate: float, edges: Array) -> Line:
    """mu_t = pi (1 + eps e^{-rate t} f), f an eigenfunction of the generator."""
    return Line(lambda t, x: log_pi(x) + np.log1p(eps * math.exp(-rate * t) * f(x)), lambda t, x: log_pi(x), edges)


def tilted(V: Callable[[Array], Array], f: Callable[[Array], Array], eps: float, breaks: Sequence[float] = ()) -> Any:
    """The start of a `decay`."""
    return potential(lambda x: V(x) - np.log1p(eps * f(x)), breaks)


def normal(mean: float, sd: float) -> Callable[[Array], Array]:
    return lambda x: -((x - mean) ** 2) / (2 * sd**2) - math.log(sd) - 0.5 * math.log(2 * math.pi)


def gaussians(d: Draw) -> Case:
    """Near, far, narrow, wide and slow ones, any rates."""
    kind, mode = d.choice("near", "near", "far", "narrow", "wide", "slow"), d.choice("WFR", "W", "FR")
    sd, mean = d.log(1e-2, 1e2), d.choice(0.0, 1.0) * d.uniform(-3, 3)
    alpha, beta, unit = d.rates(mode, sd)
    offset, ratio = d.uniform(-3, 3), d.log(0.1, 10.0)
    if kind == "far":
        offset, ratio = d.sign() * math.sqrt(2 * d.log(10, 600)), d.log(1e-2, 1.0)
    elif kind in ("narrow", "wide"):
        ratio = d.log(1e-3, 0.1) if kind == "narrow" else d.log(10.0, 100.0)
    low, high = (1e-6, 1e-2) if kind == "slow" else (1e-3, 6.0)
    target, start = wfr.Gaussian(mean, sd**2), wfr.Gaussian(mean + sd * offset, (sd * ratio) ** 2)
    times, rtol = d.times(unit, low, high), d.rtol()
    answer = gaussian_answer(target, start, alpha, beta)
    return Case("Gaussian", f"{kind}, {mode}", target, start, times, alpha, beta, rtol, answer, control=kind == "near")


def plane_gaussians(d: Draw, ndim: int = 2) -> Case:
    """Correlated ones."""
    mode = d.choice("WFR", "W", "FR")

    def one(spread: float) -> wfr.Gaussian:
        basis = np.eye(ndim)
        for i in range(ndim - 1):
            angle = d.uniform(0, math.pi)
            turn = np.eye(ndim)
            turn[i : i + 2, i : i + 2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            basis = basis @ turn
        widths = np.exp([d.uniform(-0.7, 0.7) for _ in range(ndim)])
        covariance = basis @ np.diag(widths) @ basis.T
        return wfr.Gaussian([d.uniform(-spread, spread) for _ in range(ndim)], (covariance + covariance.T) / 2)

    target, start = one(1.0), one(2.0 if ndim == 2 else 1.0)
    alpha, beta, unit = d.rates(mode, 1.0)
    rtol = d.rtol(1e-4, 1e-1) if ndim == 2 else d.rtol(3e-2, 1e-1)
    answer = gaussian_answer(target, start, alpha, beta)
    family = f"Gaussian, {ndim}D"
    return Case(family, mode, target, start, d.times(unit, 1e-2), alpha, beta, rtol, answer, control=True)


def ridges(d: Draw) -> Case:
    """Narrow ridges, straight ones in any direction and rings, from starts far wider than they are."""
    kind = d.choice("Gaussian", "Gaussian", "wells, W", "ring, W")
    mode = d.choice("WFR", "W", "FR") if kind == "Gaussian" else "W"
    angle, width, rtol = d.uniform(0, math.pi), d.log(1e-3, 0.3), d.rtol(1e-3, 1e-1)
    alpha, beta, unit = d.rates(mode, 1.0)
    if kind == "ring, W":
        return _ring(d, alpha, rtol)
    basis = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if kind == "wells, W":
        mean, sd = d.uniform(-0.5, 0.5), d.log(0.1, 1.0)
        first, V, V0 = _wells(d, alpha)
        second = gaussian_answer(wfr.Gaussian(0.0, width**2), wfr.Gaussian(mean, sd**2), alpha, 0.0)
        target, start = _turned(basis, V, 0.0, width), _turned(basis, V0, mean, sd)
        return Case("ridges", f"wells, W, width {width:.2g}", target, start, d.times(unit, 1e-2, 3.0), alpha, 0.0, rtol,
                    Product([first, second], basis))  # fmt: skip
    along = d.log(max(0.3, width), 3.0)
    covariance = basis @ np.diag([along**2, width**2]) @ basis.T
    centre = basis @ [d.uniform(-2, 2), d.uniform(-1, 1)]
    normal_target = wfr.Gaussian(centre.tolist(), (covariance + covariance.T) / 2)
    normal_start = wfr.Gaussian([0.0, 0.0], d.log(0.05, 1.0))
    answer = gaussian_answer(normal_target, normal_start, alpha, beta)
    name = f"Gaussian, {mode}, widths {along:.2g} and {width:.2g}"
    return Case("ridges", name, normal_target, normal_start, d.times(unit, 1e-3), alpha, beta, rtol, answer)


def _ring(d: Draw, alpha: float, rtol: float) -> Case:
    """A ring around a pole: g(r) cos(theta), g = K + arctan r, decays at the rate lambda where V is as follows.

    V' = (g'' + g'/r - g/r^2 + lambda g)/g', whose integral is elementary. The larger K, the narrower the ring.
    """
    K, rate = d.log(3.0, 300.0), d.log(0.3, 3.0)
    angle, eps = d.uniform(0, 2 * math.pi), d.uniform(-0.9, 0.9) / (K + math.pi / 2)

    def V(r: Array) -> Array:  # noqa: N802
        r = np.maximum(r, 1e-6)
        log, arc = np.log1p(r * r), np.arctan(r)
        own = -log / 2 + (rate - 1) * (r * arc - log / 2) + arc / r + rate * (r**3 * arc / 3 - r**2 / 6 + log / 6)
        return own + K * ((rate - 1) * r + 1 / r + rate * r**3 / 3)

    def start(x: Array, y: Array) -> Array:
        r = np.hypot(x, y)
        cosine = (x * math.cos(angle) + y * math.sin(angle)) / np.maximum(r, 1e-6)
        return V(r) - np.log1p(eps * (K + np.arctan(r)) * cosine)

    answer = Ring(V, lambda r: K + np.arctan(r), angle, eps, alpha * rate)
    return Case("ridges", f"ring, W, K = {K:.3g}", wfr.Potential(lambda x, y: V(np.hypot(x, y))), wfr.Potential(start),
                d.times(1 / (alpha * rate), 1e-2, 3.0), alpha, 0.0, rtol, answer)  # fmt: skip


def space_gaussians(d: Draw) -> Case:
    return plane_gaussians(d, 3)


def mixtures(d: Draw) -> Case:
    """W of a mixture to a Gaussian; weights down to 1e-8."""
    count, kind = d.integer(2, 4), d.choice("any", "tiny weights")
    sd = d.log(1e-2, 1e2)
    alpha, _, unit = d.rates("W", sd)
    means = [sd * d.uniform(-4, 4) for _ in range(count)]
    sds = [sd * (d.log(0.02, 1.5) if kind == "any" else d.log(0.2, 1.2)) for _ in range(count)]
    weights = [1.0] + [d.log(0.1, 1.0) if kind == "any" else d.log(1e-8, 1.0) for _ in range(count - 1)]
    target, start = wfr.Gaussian(0.0, sd**2), wfr.GaussianMixture(means, weights, np.square(sds))

    @functools.cache
    def at(t: float) -> wfr.GaussianMixture:
        return exact.mixture_transport(target, start, t, alpha)

    def edges(t: float) -> Array:
        return graded([(float(m[0]), math.sqrt(c[0, 0])) for m, c in zip(at(t).means, at(t).covariances, strict=True)])

    answer = Line(lambda t, x: at(t).log_density(x[:, None]) if x.ndim == 1 else at(t).log_density(x[..., None]),
                  lambda t, x: -(x**2) / (2 * sd**2), edges)  # fmt: skip
    return Case("mixture, W", kind, target, start, d.times(unit), alpha, 0.0, d.rtol(), answer,
                control=kind != "any")  # fmt: skip


def plane_mixtures(d: Draw) -> Case:
    count = d.integer(2, 3)
    alpha, _, unit = d.rates("W", 1.0)
    means = [[d.uniform(-2.5, 2.5), d.uniform(-2.5, 2.5)] for _ in range(count)]
    covariances = [[d.log(0.1, 1.0), d.log(0.1, 1.0)] for _ in range(count)]
    target = wfr.Gaussian([0.0, 0.0], [1.0, d.log(0.3, 2.0)])
    start = wfr.GaussianMixture(means, [d.log(0.05, 1.0) for _ in range(count)], covariances)
    answer = Mixture(functools.cache(lambda t: exact.mixture_transport(target, start, t, alpha)), target)
    return Case("mixture, 2D", f"{count} components", target, start, d.times(unit, 1e-2), alpha, 0.0,
                d.rtol(1e-4, 1e-1), answer)  # fmt: skip


def pairs(d: Draw) -> Case:
    """FR between any two: double wells, far mixtures, algebraic tails, quartics with ripples."""
    kind = d.choice("double well", "far mixture", "Student", "ripples")
    _, beta, unit = d.rates("FR", 1.0)
    mean, sd = d.uniform(-2, 2), d.log(0.03, 1.0)
    start: wfr.Target = wfr.Gaussian(mean, sd**2)
    log_start, features = normal(mean, sd), [(mean, sd)]
    target: wfr.Target
    control = False
    if kind == "double well":
        h = d.log(0.3, 50.0)
        target, features = wfr.Potential(f"{h!r}*(x**2 - 1)**2"), [*features, (-1.0, 0.3), (1.0, 0.3)]

        def log_pi(x: Array) -> Array:
            return -h * (x**2 - 1) ** 2

        control = h < 10 and sd > 0.2
    elif kind == "far mixture":
        means, sds, weight = (0.0, d.log(3.0, 60.0)), (d.log(0.1, 1.0), d.log(0.1, 1.0)), d.log(1e-6, 0.5)
        target = wfr.GaussianMixture(means, [1 - weight, weight], np.square(sds))
        features += list(zip(means, sds, strict=True))
        parts = [normal(m, s) for m, s in zip(means, sds, strict=True)]

        def log_pi(x: Array) -> Array:
            return np.logaddexp(math.log1p(-weight) + parts[0](x), math.log(weight) + parts[1](x))

    elif kind == "Student":
        nu, other = d.uniform(4.0, 30.0), d.uniform(4.0, 30.0)
        target, features = wfr.Potential(f"{(nu + 1) / 2!r}*log1p(x**2/{nu!r})"), [(0.0, 1.0), (mean, 1.0)]

        def log_pi(x: Array) -> Array:
            return -(nu + 1) / 2 * np.log1p(x**2 / nu)

        start = wfr.Potential(f"{(other + 1) / 2!r}*log1p((x - {shown(mean)})**2/{other!r})")

        def log_start(x: Array) -> Array:
            return -(other + 1) / 2 * np.log1p((x - mean) ** 2 / other)

        control = True
    else:
        q, a, k = d.log(0.05, 2.0), d.uniform(0.1, 2.0), d.log(1.0, 40.0)
        target, features = wfr.Potential(f"{q!r}*x**4 + {a!r}*sin({k!r}*x)"), [*features, (0.0, 1 / k)]

        def log_pi(x: Array) -> Array:
            return -q * x**4 - a * np.sin(k * x)

    rtol = d.rtol()
    answer = fisher_rao(log_start, log_pi, beta, graded(features))
    return Case("any pair, FR", kind, target, start, d.times(unit), 0.0, beta, rtol, answer, control=control)


class Own(wfr.Target):
    """A target as a user writes it: one dimension, and a log-density."""

    ndim = 1

    def __init__(self, V: Callable[[Array], Array]) -> None:
        self.V = V

    def log_density(self, points: Any) -> Array:
        return -self.V(np.asarray(points)[..., 0])


def hidden(d: Draw) -> Case:
    """FR with what hides between cells in the start or in the target: a spike, two breaks, a steep layer."""
    kind, who = d.choice("spike", "two breaks", "layer"), d.choice("start", "target")
    place, width, h, g = d.uniform(-1.5, 1.5), d.log(1e-6, 1e-2), d.uniform(-2, 2), d.uniform(-2, 2)
    rise = d.log(1e-3, 3.0) / width
    at, form = shown(place), d.choice("text", "function", "class", "named")
    breaks, text = [], ""

    def V(x: Array) -> Array:  # noqa: N802
        if kind == "spike":
            return x**2 / 2 - np.log1p(rise * np.exp(-((x - place) ** 2) / (2 * width**2)))
        if kind == "layer":
            return x**2 / 2 + h * np.tanh((x - place) / width)
        return x**2 / 2 + h * (x > place) + g * (x > place + width)

    features = [(place, width), (0.0, 1.0)]
    if kind == "spike":
        text = f"x**2/2 - log1p({rise!r}*exp(-(x - {at})**2/(2*{width!r}**2)))"
    elif kind == "layer":
        text = f"x**2/2 + {shown(h)}*tanh((x - {at})/{width!r})"
    else:
        breaks = [place, place + width]
        text = f"x**2/2 + where(x > {at}, {shown(h)}, 0) + where(x > {shown(place + width)}, {shown(g)}, 0)"
    written_by = {
        "text": lambda: wfr.Potential(text),
        "function": lambda: wfr.Potential(V),
        "class": lambda: Own(V),
        "named": lambda: potential(V, [place + d.log(1e-3, 10.0) * width]),  # a break, but not the right one
    }
    mean, sd = d.uniform(-2, 2), d.log(0.1, 1.5)
    other = wfr.Gaussian(mean, sd**2)
    strange: wfr.Target = written_by[form]()
    edges = graded([*features, (mean, sd)], breaks)
    _, beta, unit = d.rates("FR", 1.0)
    logs = (lambda x: -V(x)), normal(mean, sd)
    log_start, log_pi = logs if who == "start" else logs[::-1]
    target, start = (other, strange) if who == "start" else (strange, other)
    return Case("hidden, FR", f"{kind} {width:.1e} of the {who}, {form}", target, start, d.times(unit), 0.0, beta,
                d.rtol(1e-8, 1e-1), fisher_rao(log_start, log_pi, beta, edges))  # fmt: skip


def bumps(d: Draw) -> Case:
    """FR with a bump of less than half a nat, narrower than the points of quadrature, in the start or in the target."""
    kind, who, form = (
        d.choice("bell", "packet", "sech", "triangle"),
        d.choice("start", "target"),
        d.choice("text", "function", "class"),
    )
    # of functions what is between the places that are looked at is not claimed
    place, width = d.uniform(-1.5, 1.5), d.log(1e-6 if form == "text" and kind != "triangle" else 3e-4, 3e-2)
    height, at = d.log(1e-3, 0.5) * d.choice(-1.0, 1.0), shown(place)
    u = f"((x - {at})/{width!r})"
    texts = {
        "bell": f"exp(-{u}**2)",
        "packet": f"exp(-{u}**2)*cos(4*{u})",
        "sech": f"exp(-logcosh({u}))",
        "triangle": f"max(0, 1 - abs({u}))",
    }

    def shape(u: Array) -> Array:
        if kind == "triangle":
            return np.maximum(0.0, 1 - np.abs(u))
        if kind == "sech":
            return 1 / np.cosh(np.minimum(np.abs(u), 700.0))
        return np.exp(-(u**2)) * (np.cos(4 * u) if kind == "packet" else 1.0)

    def V(x: Array) -> Array:  # noqa: N802
        return x**2 / 2 + height * shape((x - place) / width)

    text = f"x**2/2 + {height!r}*{texts[kind]}"
    written_by = {"text": lambda: wfr.Potential(text), "function": lambda: wfr.Potential(V), "class": lambda: Own(V)}
    mean, sd = d.uniform(-1, 1), d.log(0.3, 1.5)
    strange, other = written_by[form](), wfr.Gaussian(mean, sd**2)
    breaks = [place - width, place, place + width] if kind == "triangle" else []
    edges = graded([(place, width), (place, 10 * width), (0.0, 1.0), (mean, sd)], breaks)
    _, beta, unit = d.rates("FR", 1.0)
    logs = (lambda x: -V(x)), normal(mean, sd)
    log_start, log_pi = logs if who == "start" else logs[::-1]
    target, start = (other, strange) if who == "start" else (strange, other)
    return Case("bumps, FR", f"{kind} {height:.1e} x {width:.1e} of the {who}, {form}", target, start, d.times(unit),
                0.0, beta, d.rtol(1e-8, 1e-1), fisher_rao(log_start, log_pi, beta, edges))  # fmt: skip


def tails(d: Draw) -> Case:
    """FR from a start whose tails V of the target outgrows, so that KL is far out, beyond where the mass is."""
    kind = d.choice("exponential", "logistic", "Student")
    eps, c, power = d.log(1e-6, 1e-1), d.uniform(1.02, 2.5), d.uniform(1.2, 2.5)
    length, nu = d.log(1.0, 100.0), 2 * power + d.uniform(0.6, 4.0)
    if kind == "Student":
        start = wfr.Potential(f"{(nu + 1) / 2!r}*log1p(x**2/{nu!r})")
        target = wfr.Potential(f"(1 + (x/{length!r})**2)**{power!r}")
        features = [(0.0, 1.0), (0.0, length)]

        def log_start(x: Array) -> Array:
            return -(nu + 1) / 2 * np.log1p(x**2 / nu)

        def log_pi(x: Array) -> Array:
            return -((1 + (x / length) ** 2) ** power)

    else:
        text = f"{c!r}*abs(x)" if kind == "exponential" else f"2*logcosh({c / 2!r}*x)"
        start, target = wfr.Potential(text), wfr.Potential(f"x**2/2 + {eps!r}*cosh(x)")
        features = [(0.0, 1 / c), (0.0, 1.0)]

        def log_start(x: Array) -> Array:
            u = np.abs(c * x) / 2
            return -2 * u if kind == "exponential" else -2 * (u + np.log1p(np.exp(-2 * u)))

        def log_pi(x: Array) -> Array:
            return -(x**2) / 2 - eps * np.cosh(np.minimum(np.abs(x), 709.0))

    _, beta, unit = d.rates("FR", 1.0)
    answer = fisher_rao(log_start, log_pi, beta, graded(features, [0.0] if kind == "exponential" else []))
    return Case("tails, FR", kind, target, start, d.times(unit, 1e-6, 3.0), 0.0, beta, d.rtol(1e-8, 1e-1), answer)


def takeovers(d: Draw) -> Case:
    """Two modes, WFR from inside one; the other one takes over."""
    sds = (d.uniform(0.4, 1.0), d.uniform(0.4, 1.0))
    far, weight = d.uniform(3.0, 14.0), d.uniform(0.1, 0.9)
    mean, sd = d.uniform(-0.8, 0.8) * sds[0], d.log(0.08, 0.6) * min(sds)
    speed = d.log(1e-2, 1e2)
    alpha, beta = d.log(0.02, 1.0) * speed, speed
    last = d.uniform(0.5, 7.0)
    times = [0.0, last * d.uniform(0.1, 0.6) / speed, last / speed]
    target = wfr.GaussianMixture([0.0, far], [1 - weight, weight], np.square(sds))
    parts = [normal(m, s) for m, s in zip((0.0, far), sds, strict=True)]
    logs = math.log1p(-weight), math.log(weight)

    def V(x: Array) -> Array:  # noqa: N802
        return -np.logaddexp(logs[0] + parts[0](x), logs[1] + parts[1](x))

    def slope(x: Array) -> Array:
        a, b = logs[0] + parts[0](x), logs[1] + parts[1](x)
        share = 1 / (1 + np.exp(np.clip(a - b, -700, 700)))  # of the far mode
        return (1 - share) * x / sds[0] ** 2 + share * (x - far) / sds[1] ** 2

    lower, upper = -9 * sds[0], far + 9 * sds[1]
    kink = min(sds) ** 2 / far  # width of the pass between the modes
    cells = int(np.clip((upper - lower) / (0.6 * kink), 500, 1800))
    answer = Takeover(V, slope, normal(mean, sd), times, lower, upper, alpha, beta, cells)
    return Case("takeover, WFR", f"{far:.1f} apart", target, wfr.Gaussian(mean, sd**2), times, alpha, beta,
                d.rtol(1e-6, 1e-1), answer)  # fmt: skip


def frictions(d: Draw) -> Case:
    """c|x| under W from a Gaussian: dry friction."""
    c = d.log(0.2, 5.0)
    mean, sd = d.uniform(-3, 3) / c, d.log(0.05, 1.0) / c
    alpha, _, unit = d.rates("W", 1 / c)
    form = d.choice("text", "function", "breaks")
    target = {
        "text": lambda: wfr.Potential(f"{c!r}*abs(x)"),
        "function": lambda: wfr.Potential(lambda x: c * np.abs(x)),
        "breaks": lambda: potential(lambda x: c * np.abs(x), [0.0]),
    }[form]()
    log_mu = dry_friction(c, mean, sd**2, alpha)

    def edges(t: float) -> Array:
        width = math.sqrt(min(2 * alpha * t + sd**2, 4 / c**2))
        return graded([(0.0, width), (mean, width), (mean - math.copysign(c * alpha * t, mean), width), (0.0, 1 / c)])

    answer = Line(log_mu, lambda t, x: -c * np.abs(x), edges)
    return Case("kinked wells, W", f"dry friction, {form}", target, wfr.Gaussian(mean, sd**2),
                d.times(unit, 1e-2, 8.0), alpha, 0.0, d.rtol(), answer)  # fmt: skip


def chains(d: Draw) -> Case:
    """Piecewise linear potentials with jumps between walls: eigenfunctions decay."""
    count = d.integer(1, 4)
    length = d.log(1e-1, 1e1)
    cuts = np.cumsum([d.uniform(0.3, 1.0) for _ in range(count)])
    edges = (d.choice(0.0, 0.37, -1.0) * length + length * np.concatenate([[0.0], cuts / cuts[-1]])).tolist()
    kinks_only = d.choice(True, False)
    slopes, values = [], [0.0]
    for k in range(count):
        slopes.append(d.uniform(-6, 6) / length)
        jump = 0.0 if kinks_only else d.uniform(-2, 2)
        values.append(values[-1] + slopes[-1] * (edges[k + 1] - edges[k]) + jump)
    chain = Chain(tuple(edges), tuple(slopes), tuple(values[:-1]))
    rate, f = chain.mode(d.integer(1, 2))
    eps = d.sign() * d.uniform(0.2, 0.95)
    alpha, _, unit = d.rates("W", 1 / math.sqrt(rate))
    breaks, form = edges[1:-1], d.choice("text", "function", "breaks")
    text = f"{shown(slopes[0])}*(x - {shown(edges[0])})"
    for k in range(1, count):
        gap, at = values[k] - (values[k - 1] + slopes[k - 1] * (edges[k] - edges[k - 1])), shown(edges[k])
        text += f" + {shown((slopes[k] - slopes[k - 1]) / 2)}*(abs(x - {at}) + x - {at})"
        text += "" if kinks_only else f" + {shown(gap / 2)}*(sign(x - {at}) + 1)"
    target = wfr.Potential(text) if form == "text" else potential(chain.V, breaks if form == "breaks" else ())
    panels = np.unique(np.concatenate([np.linspace(a, b, 17) for a, b in itertools.pairwise(edges)]))
    answer = decay(lambda x: -chain.V(x), f, eps, alpha * rate, panels)
    start = tilted(chain.V, f, eps, breaks if form == "breaks" else ())
    name = f"{count} pieces, {'kinks' if kinks_only else 'jumps'}, {form}"
    return Case("step wells, W", name, target, start, d.times(unit, 1e-2, 4.0), alpha, 0.0, d.rtol(), answer,
                between(edges[0], edges[-1]))  # fmt: skip


def kinked_wells(d: Draw) -> Case:
    """x²/2 + c|x| with its second even eigenfunction."""
    c, form = d.log(0.03, 6.0), d.choice("text", "function", "breaks")
    rate, f = kinked_well_mode(c)
    eps = d.uniform(0.1, 0.9)
    alpha, _, unit = d.rates("W", 1.0)

    def V(x: Array) -> Array:  # noqa: N802
        return x**2 / 2 + c * np.abs(x)

    breaks = [0.0] if form == "breaks" else []
    target = wfr.Potential(f"x**2/2 + {c!r}*abs(x)") if form == "text" else potential(V, breaks)
    reach = math.sqrt(2 * 350 + c * c) - c  # exp(-350) is nothing, and U has no overflow
    answer = decay(lambda x: -V(x), f, eps, alpha * rate, graded([(0.0, 1 / (1 + c))], [0.0], -reach, reach))
    return Case("kinked wells, W", f"even mode, {form}", target, tilted(V, f, eps, breaks), d.times(unit, 1e-2, 3.0),
                alpha, 0.0, d.rtol(), answer)  # fmt: skip


def broken(d: Draw) -> Case:
    """Kinks and jumps under FR, or at rest under any rates (t = 0 included)."""
    kind, mode = d.choice("kink", "jump", "both", "clipped"), d.choice("FR", "FR", "rest")
    a, b, c, h = d.uniform(-1, 1), d.uniform(-1, 1), d.log(0.3, 8.0), d.uniform(-4, 4)
    c, h = (0.0 if kind == "jump" else c), (0.0 if kind == "kink" else h)
    q = d.log(0.3, 10.0)
    top = 0.0

    def V(x: Array) -> Array:  # noqa: N802
        if kind == "clipped":
            return q / 2 * np.maximum(np.abs(x - a) - top, 0.0) ** 2 + h * (x > b) + c * np.maximum(x - b, 0)
        return q / 2 * x**2 + c * np.abs(x - a) + h * (x > b)

    if kind == "clipped":
        top = d.uniform(0.05, 1.0)
        old = f"{q / 8!r}*(abs(abs(x - {shown(a)}) - {top!r}) + abs(x - {shown(a)}) - {top!r})**2"
        old += f" + {shown(h / 2)}*(sign(x - {shown(b)}) + 1) + {c / 2!r}*(abs(x - {shown(b)}) + x - {shown(b)})"
        new = f"{q / 2!r}*max(abs(x - {shown(a)}) - {top!r}, 0)**2"
        new += f" + where(x > {shown(b)}, {shown(h)}, 0) + {c!r}*max(x - {shown(b)}, 0)"
        texts = [new, old]
        breaks = [a - top, a + top, b]
    else:
        kink = f"{q / 2!r}*x**2 + {c!r}*abs(x - {shown(a)})"
        at = shown(b)
        texts = [f"{kink} + {shown(h)}*Heaviside(x - {at})", f"{kink} + {shown(h / 2)}*(sign(x - {at}) + 1)"]
        breaks = [a, b]
    form = d.choice("text", "old text", "function", "breaks")
    target = {
        "text": lambda: written(*texts),
        "old text": lambda: wfr.Potential(texts[-1]),
        "function": lambda: potential(V),
        "breaks": lambda: potential(V, breaks),
    }[form]()
    mean, sd = d.uniform(-2, 2), d.log(0.05, 1.5)
    edges = graded([(a, 1 / math.sqrt(q)), (b, 0.1), (mean, sd), (0.0, 1.0)], breaks)
    rtol = d.rtol()
    if mode == "rest":
        alpha, beta, unit = d.rates(d.choice("WFR", "W"), 1.0)
        answer = Line(lambda t, x: -V(x), lambda t, x: -V(x), edges)
        return Case("kinks and jumps", f"at rest, {kind}, {form}", target, target, d.times(unit), alpha, beta, rtol,
                    answer)  # fmt: skip
    _, beta, unit = d.rates("FR", 1.0)
    answer = fisher_rao(normal(mean, sd), lambda x: -V(x), beta, edges)
    return Case("kinks and jumps", f"FR, {kind}, {form}", target, wfr.Gaussian(mean, sd**2), d.times(unit), 0.0, beta,
                rtol, answer)  # fmt: skip


def cosh_wells(d: Draw) -> Case:
    """The double well with a known gap."""
    gap, k = d.log(1e-3, 3.0), d.log(0.3, 3.0)
    gap *= k * k
    eps, form = d.sign() * d.uniform(0.05, 0.98), d.choice("class", "text")
    alpha, _, unit = d.rates("W", 1 / math.sqrt(gap))
    well = wfr.CoshDoubleWell(gap, k)
    text = f"-2*logcosh({k!r}*x) + {gap / (4 * k * k)!r}*cosh({2 * k!r}*x)"
    target = well if form == "class" else wfr.Potential(text)

    def log_pi(x: Array) -> Array:
        u = np.abs(k * x)
        return 2 * (u + np.log1p(np.exp(-2 * u))) - gap / (4 * k * k) * np.cosh(2 * u)

    answer = decay(log_pi, lambda x: np.tanh(k * x), eps, alpha * gap, graded([(w, 0.3 / k) for w in well.wells]))
    start = exact.cosh_double_well_flow(well, eps, 0.0)
    return Case("cosh double well, W", form, target, start, d.times(unit, 1e-2, 4.0), alpha, 0.0, d.rtol(), answer,
                control=True)  # fmt: skip


def spikes(d: Draw) -> Case:
    """A barrier or a pit in a quadratic well, of any width, under W from one side."""
    kind, shape = d.choice("barrier", "barrier", "pit"), d.choice("Gaussian", "block")
    width, place = d.log(1e-4, 1e-1), d.uniform(-1.2, 1.2)
    height = d.uniform(1.0, 8.0) if kind == "barrier" else -d.uniform(0.2, 1.0) * (math.log(1 / width) - 1)
    mean, sd = place + d.sign() * d.uniform(0.3, 1.5), d.log(0.05, 0.25)
    alpha, _, unit = d.rates("W", 1.0)
    at = shown(place)

    def V(x: Array) -> Array:  # noqa: N802
        if shape == "block":
            return x**2 / 2 + height * (np.abs(x - place) < width)
        return x**2 / 2 + height * np.exp(-((x - place) ** 2) / (2 * width**2))

    if shape == "block":
        text = [f"x**2/2 + where(abs(x - {at}) < {width!r}, {shown(height)}, 0)",
                f"x**2/2 + {shown(height / 2)}*(sign({width!r} - abs(x - {at})) + 1)"]  # fmt: skip
        breaks = [place - width, place + width]
    else:
        text, breaks = [f"x**2/2 + {shown(height)}*exp(-(x - {at})**2/(2*{width!r}**2))"], []
    form = d.choice("text", "function")
    target = written(*text) if form == "text" else potential(V)
    reach = math.sqrt(2 * DEEP)
    answer = Relaxation(V, normal(mean, sd), [(place, width), (mean, sd), (0.0, 1.0)], breaks, -reach, reach, alpha,
                        least=1e-3 * width)  # fmt: skip
    return Case("spikes, W", f"{kind} {width:.1e}, {shape}, {form}", target, wfr.Gaussian(mean, sd**2),
                d.times(unit, 1e-1, 4.0), alpha, 0.0, d.rtol(1e-7, 1e-1), answer)  # fmt: skip


def walls(d: Draw) -> Case:
    """Cosines, half-line Gaussians, exponentials to a wall."""
    kind = d.choice("cosines", "half-line", "exponentials", "slopes and quadratics")
    rtol = d.rtol()
    if kind == "cosines":
        length, left = d.log(1e-2, 1e2), d.uniform(-3, 3)
        alpha, _, unit = d.rates("W", length / math.pi)
        a, b = d.uniform(-0.6, 0.6), d.uniform(-0.35, 0.35)

        def log_mu(t: float, x: Array) -> Array:
            u, fall = math.pi * (x - left) / length, alpha * t * (math.pi / length) ** 2
            return np.log1p(a * math.exp(-fall) * np.cos(u) + b * math.exp(-4 * fall) * np.cos(2 * u))

        answer: Answer = Line(log_mu, lambda t, x: 0 * x, np.linspace(left, left + length, 40))
        bent = wfr.Potential(lambda x: -log_mu(0.0, x))
        return Case("walls", kind, wfr.Potential(lambda x: 0.0 * x), bent, d.times(unit), alpha, 0.0, rtol, answer,
                    between(left, left + length), control=True)  # fmt: skip
    if kind == "half-line":
        sd, mean = d.log(1e-1, 1e1), d.choice(0.0, 0.7)
        alpha, beta, unit = d.rates(d.choice("WFR", "W", "FR"), sd)
        ratio = d.log(0.1, 1.2)
        whole = wfr.Gaussian(mean, sd**2), wfr.Gaussian(mean, (sd * ratio) ** 2)
        answer = gaussian_answer(*whole, alpha, beta, mirrored=True)
        return Case("walls", kind, *whole, d.times(unit), alpha, beta, rtol, answer,
                    between(mean, mean + 14 * sd), control=ratio > 0.3)  # fmt: skip
    _, beta, unit = d.rates("FR", 1.0)
    if kind == "exponentials":
        a, b = d.log(0.3, 10.0), d.log(0.3, 10.0)
        upper = d.choice(40.0, 4.0) / min(a, b)
        answer = fisher_rao(lambda x: -a * x, lambda x: -b * x, beta, graded([(0.0, 1 / max(a, b))], (), 0.0, upper))
        target, start = wfr.Potential(f"{b!r}*x"), cast(wfr.Target, wfr.Potential(f"{a!r}*x"))
    else:
        upper = d.uniform(1.0, 4.0)
        c, q, m, s = d.uniform(-5, 5), d.uniform(0, 3), d.uniform(0, upper), d.log(0.1, 2.0)
        target, start = wfr.Potential(f"{shown(c)}*x + {q!r}*x**2"), wfr.Gaussian(m, s * s)
        answer = fisher_rao(normal(m, s), lambda x: -c * x - q * x**2, beta, np.linspace(0, upper, 80))
    return Case("walls", kind, target, start, d.times(unit), 0.0, beta, rtol, answer, between(0.0, upper))


def singular_walls(d: Draw) -> Case:
    """Gamma shapes under FR; chi and Jacobi densities under W, with Laguerre and Jacobi eigenfunctions."""
    from scipy.special import eval_genlaguerre, eval_jacobi

    kind = d.choice("gamma, FR", "chi, W", "Jacobi, W")
    rtol = d.rtol()
    if kind == "gamma, FR":
        _, beta, unit = d.rates("FR", 1.0)
        shape = d.uniform(0.4, 3.0)
        mean, sd = d.uniform(0.3, 3.0), d.log(0.1, 1.0)
        edges = graded([(mean, sd), *SINGULAR], (), 0.0, 60.0)
        answer: Answer = fisher_rao(normal(mean, sd), lambda x: -x + (shape - 1) * np.log(x), beta, edges)
        target = wfr.Potential(f"x - {shown(shape - 1)}*log(x)")
        return Case("singular walls", kind, target, wfr.Gaussian(mean, sd**2), d.times(unit), 0.0, beta, rtol, answer,
                    between(0.0, 60.0))  # fmt: skip
    eps, number = d.uniform(0.1, 0.9), d.integer(1, 2)
    if kind == "chi, W":
        power = d.choice(0.0, 1.0, 2.0, -0.5, d.uniform(-0.5, 3.0))  # half-normal, Rayleigh, Maxwell, singular ones
        order, upper, edges = (power - 1) / 2, 12.0, graded([(1.0, 0.5), *SINGULAR], (), 0.0, 12.0)
        rate = 2.0 * number
        probe = np.linspace(0, upper, 20_001)
        raw = (-1.0) ** number * eval_genlaguerre(number, order, probe**2 / 2)  # grows to +infinity
        low = -float(raw.min())

        def f(x: Array) -> Array:
            return (-1.0) ** number * eval_genlaguerre(number, order, x**2 / 2) / low

        def V(x: Array) -> Array:  # noqa: N802
            return x**2 / 2 - power * np.log(x) if power else x**2 / 2

        target = wfr.Potential("x**2/2" + (f" - {shown(power)}*log(x)" if power else ""))
    else:
        p, q = d.uniform(-0.7, 1.0), d.uniform(-0.7, 1.0)
        upper, rate = math.pi, number * (number + p + q + 1)
        top = float(np.abs(eval_jacobi(number, p, q, np.cos(np.linspace(0, upper, 4001)))).max())
        half = [(0.0, 1.0), *SINGULAR]
        left = graded(half, (), 0.0, math.pi / 2)
        edges = np.concatenate([left, np.unique(math.pi - left[left > 1e-15])])
        edges = np.unique(edges)

        def f(x: Array) -> Array:
            return np.asarray(eval_jacobi(number, p, q, np.cos(x)) / top, dtype=float)

        def V(x: Array) -> Array:  # noqa: N802
            return -(2 * p + 1) * np.log(np.sin(x / 2)) - (2 * q + 1) * np.log(np.abs(np.cos(x / 2)))

        target = wfr.Potential(f"{shown(-(2 * p + 1))}*log(sin(x/2)) - {shown(2 * q + 1)}*log(cos(x/2))")
    alpha, _, unit = d.rates("W", 1 / math.sqrt(rate))
    answer = decay(lambda x: -V(x), f, eps, alpha * rate, edges)
    return Case("singular walls", kind, target, tilted(V, f, eps), d.times(unit, 1e-2), alpha, 0.0, rtol, answer,
                between(0.0, upper))  # fmt: skip


def circles(d: Draw) -> Case:
    """Von Mises densities under FR, cosines under W."""
    kind = d.choice("von Mises, FR", "cosines, W")
    left, turn = d.uniform(-4, 4), 2 * math.pi
    if kind == "von Mises, FR":
        alpha, beta, unit = d.rates("FR", 1.0)
        k, m, a, b = d.log(0.1, 30.0), d.log(0.1, 30.0), d.uniform(0, 6), d.uniform(0, 6)
        target, start = wfr.Potential(f"-{k!r}*cos(x - {a!r})"), wfr.Potential(f"-{m!r}*cos(x - {b!r})")
        edges = np.linspace(left, left + turn, 80)
        answer: Answer = fisher_rao(lambda x: m * np.cos(x - b), lambda x: k * np.cos(x - a), beta, edges)
    else:
        alpha, beta, unit = d.rates("W", 1.0)
        sizes, phases = [d.uniform(-0.3, 0.3) for _ in range(3)], [d.uniform(0, 6) for _ in range(3)]

        def log_mu(t: float, x: Array) -> Array:
            return np.log1p(sum(s * np.exp(-alpha * t * n * n) * np.cos(n * x - p)
                                for n, s, p in zip((1, 2, 5), sizes, phases, strict=True)))  # fmt: skip

        target, start = wfr.Potential(lambda x: 0.0 * x), wfr.Potential(lambda x: -log_mu(0.0, x))
        answer = Line(log_mu, lambda t, x: 0 * x, np.linspace(left, left + turn, 80))
    return Case("circles", kind, target, start, d.times(unit), alpha, beta, d.rtol(), answer,
                between(left, left + turn, boundary="periodic"), control=True)  # fmt: skip


def wrong_input(d: Draw) -> Case:
    """A start that is not periodic on a circle, a box that cuts: to refuse is right; an answer must hold anyway."""
    kind = d.choice("start not periodic", "box cuts the target", "box cuts the start")
    rtol = d.rtol()
    if kind == "start not periodic":
        _, beta, unit = d.rates("FR", 1.0)
        k, turn, sd = d.log(0.1, 10.0), 2 * math.pi, d.log(0.1, 1.0)
        mean = d.uniform(-0.5, 0.5) * sd

        def log_start(x: Array) -> Array:  # as it lies on the circle
            return np.logaddexp.reduce([normal(mean + n * turn, sd)(x) for n in range(-3, 4)])

        answer: Answer = fisher_rao(log_start, lambda x: k * np.cos(x), beta,
                                    graded([(0, sd), (turn, sd)], (), 0.0, turn))  # fmt: skip
        return Case("wrong input", kind, wfr.Potential(f"-{k!r}*cos(x)"), wfr.Gaussian(mean, sd**2), d.times(unit), 0.0,
                    beta, rtol, answer, {"box": (0.0, turn), "boundary": "periodic"},
                    refusal_right=True)  # fmt: skip
    from scipy.special import ndtri

    alpha, beta, unit = d.rates(d.choice("WFR", "W", "FR"), 1.0)
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(d.uniform(-1, 1), d.log(0.05, 1.0))
    cut = target if kind == "box cuts the target" else start
    inside = float(cut.mean[0]) - math.sqrt(cut.covariance[0, 0]) * float(ndtri(d.log(1e-4, 0.9)))
    return Case("wrong input", kind, target, start, d.times(unit), alpha, beta, rtol,
                gaussian_answer(target, start, alpha, beta), {"box": (-14.0, inside)}, refusal_right=True)  # fmt: skip


def products(d: Draw) -> Case:
    """Products of two one-dimensional problems, turned."""
    kind = d.choice("wells, W", "wells, W", "friction, W", "pairs, FR")
    angle = d.choice(0.0, 1.0) * d.uniform(0, math.pi) if kind != "friction, W" else 0.0
    basis = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    alpha, beta, unit = d.rates("FR" if kind == "pairs, FR" else "W", 1.0)
    width, mean, sd = d.log(0.5, 1.5), d.uniform(-1, 1), d.log(0.3, 1.0)
    second = gaussian_answer(wfr.Gaussian(0.0, width**2), wfr.Gaussian(mean, sd**2), alpha, beta)
    if kind == "wells, W":
        first, V, V0 = _wells(d, alpha)
    elif kind == "friction, W":
        c, m, s = d.log(1.0, 3.0), d.uniform(-1, 1), d.log(0.2, 0.6)

        def edges(t: float) -> Array:
            return graded([(0.0, math.sqrt(min(2 * alpha * t + s * s, 1.0))), (m, s), (0.0, 1 / c)])

        first = Line(dry_friction(c, m, s * s, alpha), lambda t, x: -c * np.abs(x), edges)
        V, V0 = lambda u: c * np.abs(u), lambda u: (u - m) ** 2 / (2 * s * s)
    else:
        h, m, s = d.log(0.3, 6.0), d.uniform(-1, 1), d.log(0.2, 1.0)
        first = fisher_rao(normal(m, s), lambda x: -h * (x**2 - 1) ** 2, beta, graded([(m, s), (-1, 0.3), (1, 0.3)]))
        V, V0 = lambda u: h * (u**2 - 1) ** 2, lambda u: (u - m) ** 2 / (2 * s * s)

    target, start = _turned(basis, V, 0.0, width), _turned(basis, V0, mean, sd)
    answer = Product([first, second], basis, smooth=kind != "friction, W")
    return Case("products, 2D", f"{kind}, turned by {angle:.2f}", target, start, d.times(unit, 1e-2, 3.0), alpha, beta,
                d.rtol(1e-4, 1e-1), answer)  # fmt: skip


def _wells(d: Draw, alpha: float) -> tuple[Line, Callable[[Array], Array], Callable[[Array], Array]]:
    """A double well whose eigenfunction tanh decays at a known rate: its answer, V, and that of the start."""
    gap, eps = d.log(0.1, 1.5), d.uniform(-0.9, 0.9)

    def V(u: Array) -> Array:  # noqa: N802
        return -2 * np.log(np.cosh(u)) + gap / 4 * np.cosh(2 * u)

    first = decay(lambda x: -V(x), np.tanh, eps, alpha * gap, graded([(0.0, 1.0)], (), -4.5, 4.5))
    return first, V, lambda u: V(u) - np.log1p(eps * np.tanh(u))


def _turned(basis: Array, f: Callable[[Array], Array], centre: float, scale: float) -> wfr.Potential:
    """f(u) + (v - centre)²/(2 scale²) in coordinates (u, v) = basis' (x, y)."""

    def value(x: Array, y: Array) -> Array:
        u, v = basis[0, 0] * x + basis[1, 0] * y, basis[0, 1] * x + basis[1, 1] * y
        return f(u) + (v - centre) ** 2 / (2 * scale**2)

    return wfr.Potential(value)


def digits(d: Draw) -> Case:
    """Constants added to V, coordinates far from 0: rounding."""
    kind = d.choice("constant", "constant", "shift")
    mode = d.choice("WFR", "W", "FR")
    if kind == "shift":
        far, sd = d.sign() * d.log(1e3, 1e8), d.log(0.1, 10.0)
        alpha, beta, unit = d.rates(mode, sd)
        target = wfr.Gaussian(far, sd**2)
        start = wfr.Gaussian(far + sd * d.uniform(-2, 2), (sd * d.log(0.2, 2.0)) ** 2)
        if d.choice(True, False):
            written_target: wfr.Target = wfr.Potential(f"(x - {shown(far)})**2/{2 * sd**2!r}")
        else:
            written_target = target
        return Case("digits", f"shifted by {far:.1e}, {mode}", written_target, start, d.times(unit), alpha, beta,
                    d.rtol(), gaussian_answer(target, start, alpha, beta))  # fmt: skip
    constant = d.sign() * d.log(1e4, 1e9)
    alpha, beta, unit = d.rates(mode, 1.0)
    start = wfr.Gaussian(d.uniform(-2, 2), d.log(0.05, 2.0))
    answer = gaussian_answer(wfr.Gaussian(0.0, 1.0), start, alpha, beta)
    return Case("digits", f"V + {constant:.1e}, {mode}", wfr.Potential(f"x**2/2 + {shown(constant)}"), start,
                d.times(unit), alpha, beta, d.rtol(), answer)  # fmt: skip


def moving(d: Draw) -> Case:
    """Gaussian targets that move: a mean on its way under W in closed form, paths by the equations of the moments."""
    kind, mode = d.choice("mean, W", "path", "path"), d.choice("WFR", "W", "FR")
    schedules: dict[str, Callable[[float], float]] = {
        "line": lambda t: min(max(t, 0.0), 1.0),
        "tanh": lambda t: math.tanh(2 * max(t, 0.0)),
        "swing": lambda t: math.sin(3 * t) ** 2,
    }
    name = d.choice("line", "tanh", "swing")
    b0, b1, v0, v1 = d.uniform(-2, 2), d.uniform(-2, 2), d.log(0.3, 3.0), d.log(0.3, 3.0)
    start = wfr.Gaussian(d.uniform(-2, 2), d.log(0.1, 2.0))
    last = d.uniform(0.1, 0.95)
    times, rtol = [0.0, last * d.uniform(0.1, 0.9), last], d.rtol(1e-8)
    if kind == "mean, W":
        alpha = d.log(0.1, 10.0)
        k = alpha / v0
        target = wfr.GeometricPath(wfr.Gaussian(b0, v0), wfr.Gaussian(b1, v0), schedules["line"])

        def at(t: float) -> wfr.Gaussian:
            fall, speed = math.exp(-k * t), b1 - b0
            mean = b0 + speed * t + (float(start.mean[0]) - b0) * fall + speed / k * math.expm1(-k * t)
            return wfr.Gaussian(mean, v0 + (float(start.covariance[0, 0]) - v0) * fall**2)

        answer = Normal(at, lambda t: wfr.Gaussian(b0 + (b1 - b0) * t, v0))
        return Case("moving target", kind, target, start, times, alpha, 0.0, rtol, answer, control=True)
    alpha = 0.0 if mode == "FR" else d.log(0.1, 10.0)
    beta = 0.0 if mode == "W" else d.log(0.1, 10.0)
    path = wfr.GeometricPath(wfr.Gaussian(b0, v0), wfr.Gaussian(b1, v1), schedules[name])
    at_time = functools.cache(lambda t: exact.gaussian_flow_by_ode(path, start, t, alpha, beta))
    return Case("moving target", f"{kind}, {name}, {mode}", path, start, times, alpha, beta, rtol,
                Normal(at_time, path.at), control=True)  # fmt: skip


def any_products(d: Draw) -> Case:
    """Products in any dimension."""
    import honesty_blocks  # which makes cases of this file

    return honesty_blocks.any_products(d)


def any_radial(d: Draw) -> Case:
    """Radial laws in any dimension."""
    import honesty_blocks

    return honesty_blocks.any_radial(d)


def any_mixtures(d: Draw) -> Case:
    """Mixtures in any dimension."""
    import honesty_blocks

    return honesty_blocks.any_mixtures(d)


FAMILIES: dict[str, tuple[Callable[[Draw], Case], float]] = {  # and their shares: 86 % 1D, 12 % 2D, 2 % 3D
    "gaussians": (gaussians, 0.11),
    "mixtures": (mixtures, 0.05),
    "pairs": (pairs, 0.07),
    "takeovers": (takeovers, 0.09),
    "frictions": (frictions, 0.05),
    "chains": (chains, 0.06),
    "kinked_wells": (kinked_wells, 0.04),
    "broken": (broken, 0.08),
    "cosh_wells": (cosh_wells, 0.04),
    "spikes": (spikes, 0.07),
    "walls": (walls, 0.05),
    "singular_walls": (singular_walls, 0.04),
    "circles": (circles, 0.03),
    "wrong_input": (wrong_input, 0.02),
    "digits": (digits, 0.03),
    "moving": (moving, 0.02),
    "plane_gaussians": (plane_gaussians, 0.03),
    "ridges": (ridges, 0.02),
    "plane_mixtures": (plane_mixtures, 0.03),
    "products": (products, 0.05),
    "space_gaussians": (space_gaussians, 0.02),
    "hidden": (hidden, 0.06),
    "tails": (tails, 0.03),
    "bumps": (bumps, 0.05),
    "any_products": (any_products, 0.4),
    "any_radial": (any_radial, 0.4),
    "any_mixtures": (any_mixtures, 0.2),
}


LATE, EVERY = (("hidden", "tails"), ("bumps",)), 11  # families that came last, in turns
ANY, SELDOM = ("any_products", "any_radial", "any_mixtures"), 44  # those in any dimension: every fourth turn of these


def point(seed: int, k: int) -> tuple[str, Array]:
    """The family of draw k of a seed, and its point of the unit cube (48,).

    Every eleventh draw is of the families that came last, and every 44th of those in any dimension, so that the others
    of a seed stay what they were.
    """
    rng = np.random.default_rng([seed, k])
    if k % SELDOM == SELDOM - 1:
        names = list(ANY)
    elif k % EVERY == EVERY - 1:
        names = list(LATE[k // EVERY % len(LATE)])
    else:
        names = [name for name in FAMILIES if all(name not in late for late in (*LATE, ANY))]
    shares = np.cumsum([FAMILIES[name][1] for name in names])
    family = names[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
    return family, rng.random(LENGTH)


def case(family: str, u: Array) -> Case:
    """The problem at a point of a family; coordinates that are not given are a half."""
    return FAMILIES[family][0](_at(u))


def spent(family: str, u: Array) -> int:
    """How many coordinates of a point the problem depends on."""
    d = _at(u)
    FAMILIES[family][0](d)
    return d.used


def _at(u: Array) -> Draw:
    return Draw(np.clip(np.concatenate([u, np.full(LENGTH - len(u), 0.5)]), 0.0, 1 - 1e-12))


def draw(seed: int, k: int) -> Case:
    """Draw k of a seed."""
    return case(*point(seed, k))
