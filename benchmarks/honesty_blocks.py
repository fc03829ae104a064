"""Families in any dimension, solved block by block: products, radial laws and mixtures, and what is true of a tree.

What is compared is every node with the answer of its block, and the whole: its KL, and its L1 error from below, as that
of no marginal is larger.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import honesty_families as families
import numpy as np
from honesty_answers import Answer, Array, Line, graded

import wfr_pde as wfr
from wfr_pde import exact

LOWER = 0.5  # times what Pinsker's inequality gives, that the L1 distance of two Gaussians is at least, if it is small
DIGITS = 40  # of the moments of Gaussians


@dataclass(eq=False)
class Blocks(Answer):
    """What is known of the blocks: of block k, whose axes are the columns of a matrix (d, m), `part(k, axes)`."""

    part: Callable[[int, Array], Any]

    def kl(self, t: float) -> float:
        raise NotImplementedError


@dataclass(eq=False)
class Moments:
    """Flow from a Gaussian to a Gaussian in forty digits."""

    target: wfr.Gaussian
    start: wfr.Gaussian
    alpha: float
    beta: float

    def at(self, t: float) -> tuple[Any, Any, Any]:
        """Mean, covariance and KL as numbers of mpmath."""
        import mpmath as mp

        with mp.workdps(DIGITS):
            b, m0, c0 = (mp.matrix(x.tolist()) for x in (self.target.mean, self.start.mean, self.start.covariance))
            pi = mp.matrix(self.target.covariance.tolist())
            values, q = mp.eigsy(pi)
            d = len(values)
            a = [1 / v for v in values]
            alpha, beta, t = mp.mpf(self.alpha), mp.mpf(self.beta), mp.mpf(t)
            rates = [alpha * x + beta / 2 for x in a]
            falls = mp.diag([mp.exp(-g * t) for g in rates])
            z = mp.diag([alpha * (-mp.expm1(-2 * g * t) / g if g else 2 * t) for g in rates])
            precision, inner = mp.diag(a), (q.T * c0 * q) ** -1
            s0, one = inner - precision, mp.eye(d)
            s = falls * s0 * (one + z * s0) ** -1 * falls
            c = (precision + s) ** -1
            off = q.T * (m0 - b)
            off = mp.exp(-beta * t / 2) * c * falls * (one + s0 * z) ** -1 * inner * off
            kl = (sum((precision * c)[i, i] for i in range(d)) - d - mp.log(mp.det(precision * c))) / 2
            kl += (off.T * precision * off)[0] / 2
            return b + q * off, q * c * q.T, kl

    def errors(self, ds: Any, k: int, t: float) -> tuple[float, float]:
        """Errors of the moments at one time: in L1, from below, and of KL."""
        import mpmath as mp

        with mp.workdps(DIGITS):
            mean, covariance, kl = self.at(t)
            d = len(mean)
            inverse = covariance**-1
            given, m = (mp.matrix(ds[name].values[k].tolist()) for name in ("covariance", "mean"))
            ratio, off = inverse * given, m - mean
            apart = (sum(ratio[i, i] for i in range(d)) - d - mp.log(mp.det(ratio)) + (off.T * inverse * off)[0]) / 2
            return LOWER * float(mp.sqrt(2 * abs(apart))), float(abs(mp.mpf(float(ds["kl"].values[k])) - kl))

    def kl(self, t: float) -> float:
        return float(self.at(t)[2])


def errors_of_tree(case: Any, tree: Any, of_grid: Callable[[Any, Any], dict[str, list[float]]]) -> dict[str, Any]:
    """Errors, bounds and doubts of the whole and of every node, one after another; `of_grid` is for those on grids."""
    entries, d = json.loads(tree.attrs["factors"]), case.target.ndim
    rotation = tree["rotation"].values if "rotation" in tree else np.eye(d)
    keys = "l1", "kl", "doubt_l1", "doubt_kl", "kl_value"
    n = len(case.times)
    found: dict[str, list[float]] = {key: [] for key in (*keys, "bound_l1", "bound_kl")}
    whole, seen, place = {key: np.zeros(n) for key in keys}, {}, 0
    for k, entry in enumerate(entries):
        axes = rotation[:, place : place + entry["ndim"]]
        place += entry["ndim"]
        if entry["node"] not in seen:
            ds, part = tree[entry["node"]].to_dataset(), case.answer.part(k, axes)
            seen[entry["node"]] = of_gaussian(case, ds, part) if entry["kind"] == "gaussian" else of_grid(ds, part)
            for key in keys:
                found[key] += list(seen[entry["node"]][key])
            for of in ("l1", "kl"):
                found[f"bound_{of}"] += ds[f"error_{of}"].values.tolist()
        for key in keys:
            one = np.asarray(seen[entry["node"]][key])
            if key.startswith("doubt") and entry["kind"] == "gaussian":
                continue
            whole[key] = np.maximum(whole[key], one) if key == "l1" else whole[key] + one
    whole["kl"] = np.abs(tree["kl"].values - whole["kl_value"])
    for key in keys:
        found[key] += whole[key].tolist()
    for of in ("l1", "kl"):
        found[f"bound_{of}"] += tree[f"error_{of}"].values.tolist()
    return {**found, "times": list(case.times) * (len(seen) + 1)}


def of_gaussian(case: Any, ds: Any, part: Moments) -> dict[str, list[float]]:
    """Errors of moments."""
    since = [float(t - case.times[0]) for t in case.times]
    both = [part.errors(ds, k, t) for k, t in enumerate(since)]
    # the numbers of a block that was turned are rounded: that is in the bound of the whole
    rounded = max(4e-16 * g.ndim * float(np.linalg.cond(g.covariance)) for g in (part.target, part.start))
    doubts = [rounded] * len(since)
    return {"l1": [x for x, _ in both], "kl": [x for _, x in both], "doubt_l1": doubts, "doubt_kl": doubts,
            "kl_value": [part.kl(t) for t in since]}  # fmt: skip


def rng_of(d: Any) -> np.random.Generator:
    """A generator that one coordinate of the point decides."""
    return np.random.default_rng(int(d.unit() * 2**31))


def frame(d: Any, ndim: int) -> tuple[Array | None, Array | None]:
    """A rotation and a shift, or none."""
    rng, kind = rng_of(d), d.choice("given", "turned", "turned", "shifted")
    rotation = np.linalg.qr(rng.standard_normal((ndim, ndim)))[0] if kind == "turned" else None
    return rotation, None if kind == "given" else rng.uniform(-3, 3, ndim)


def correlated(rng: np.random.Generator, m: int, spread: float, mean: float) -> wfr.Gaussian:
    """A Gaussian with variances from 1/spread to spread along any axes."""
    q = np.linalg.qr(rng.standard_normal((m, m)))[0]
    covariance = q @ np.diag(spread ** rng.uniform(-1, 1, m)) @ q.T
    return wfr.Gaussian(rng.uniform(-mean, mean, m), (covariance + covariance.T) / 2)


def any_products(d: Any) -> Any:
    """Up to four different factors, each up to eight times, turned and shifted."""
    mode = d.choice("WFR", "W", "FR")
    alpha, beta, unit = d.rates(mode, 1.0)
    factors: list[wfr.Target] = []
    starts: list[wfr.Target] = []
    parts: list[Any] = []
    for _ in range(d.integer(1, 3)):
        target, start, part = one_factor(d, mode, alpha, beta)
        for _ in range(d.integer(1, 8)):
            factors, starts, parts = [*factors, target], [*starts, start], [*parts, part]
    if d.unit() < 0.6:
        m, rng = d.integer(2, 6), rng_of(d)
        pair = correlated(rng, m, d.log(1.0, 1e3), 2.0), correlated(rng, m, d.log(1.0, 1e2), 2.0)
        factors, starts, parts = [*factors, pair[0]], [*starts, pair[1]], [*parts, Moments(*pair, alpha, beta)]
    ndim = sum(factor.ndim for factor in factors)
    rotation, shift = frame(d, ndim)
    target = wfr.Product(factors, rotation, shift)
    whole = wfr.Product(starts, rotation, shift)
    start: wfr.Target = whole
    if d.unit() < 0.5 and all(isinstance(one, wfr.Gaussian) for one in starts):
        start = wfr.Gaussian(*whole.moments())
    times = d.times(unit, 1e-2, 3.0)
    return families.Case("products, any D", f"{mode}, {ndim}D", target, start, times, alpha, beta, d.rtol(1e-5, 3e-2),
                         Blocks(lambda k, axes: parts[k]))  # fmt: skip


def one_factor(d: Any, mode: str, alpha: float, beta: float) -> tuple[Any, Any, Answer]:
    """A factor on the line, its start and its answer."""
    mean, sd = d.uniform(-2, 2), d.log(0.2, 1.5)
    start: wfr.Target = wfr.Gaussian(mean, sd**2)
    if mode == "FR":
        h = d.log(0.3, 8.0)
        log_pi: Callable[[Array], Array] = lambda x: -h * (x**2 - 1) ** 2  # noqa: E731
        edges = graded([(mean, sd), (-1.0, 0.3), (1.0, 0.3)])
        return (
            wfr.Potential(f"{h!r}*(x**2 - 1)**2"),
            start,
            families.fisher_rao(families.normal(mean, sd), log_pi, beta, edges),
        )
    if mode == "W" and d.unit() < 0.5:
        answer, V, V0 = families._wells(d, alpha)
        return wfr.Potential(V), wfr.Potential(V0), answer
    scale = d.log(0.4, 2.0)
    target = wfr.Potential(f"x**2/(2*{scale!r}**2)")
    normal = wfr.Gaussian(0.0, scale**2)
    return target, start, families.gaussian_answer(normal, wfr.Gaussian(mean, sd**2), alpha, beta)


def any_radial(d: Any) -> Any:
    """Shells |x|^q exp(-a |x|²/2) in 2 to 100 dimensions, one or two of them, or any profiles under FR."""
    mode, kind = d.choice("WFR", "WFR", "W", "FR"), d.choice("alone", "alone", "beside a Gaussian")
    ndim = int(d.log(2, 101))
    q = d.choice(0.0, d.uniform(0.0, 3.0), d.log(1.0, 60.0), -0.5 * (ndim > 2))
    a = d.log(0.1, 10.0)
    s0 = a * (d.log(0.1, 20.0) - 1.0)
    alpha, beta, unit = d.rates(mode, 1 / math.sqrt(a))
    power = q + ndim - 1

    def profile(c: float) -> Any:
        return lambda r: c * r**2 / 2 - (q * np.log(r) if q else 0.0)

    def at(t: float) -> float:
        g = alpha * a + beta / 2
        z = alpha * -math.expm1(-2 * g * t) / g
        return a + math.exp(-2 * g * t) * s0 / (1 + z * s0)

    def edges(t: float) -> Array:
        top = math.sqrt(max(power, 0.2) / at(t))
        return graded([(top, 0.7 / math.sqrt(at(t))), (0.0, top)], [0.0], 0.0)

    line = Line(lambda t, r: power * np.log(np.maximum(r, 1e-300)) - at(t) * r**2 / 2,
                lambda t, r: power * np.log(np.maximum(r, 1e-300)) - a * r**2 / 2, edges)  # fmt: skip
    target: wfr.Target = wfr.Radial(profile(a), ndim)
    start: wfr.Target = wfr.Radial(profile(a + s0), ndim)
    parts: list[Any] = [line]
    if kind != "alone":
        rng, m = rng_of(d), d.integer(1, 4)
        pair = correlated(rng, m, 10.0, 2.0), correlated(rng, m, 10.0, 2.0)
        rotation, shift = frame(d, ndim + m)
        target, start = (wfr.Product([one, g], rotation, shift) for one, g in zip((target, start), pair, strict=True))
        parts.append(Moments(*pair, alpha, beta))
    return families.Case("radial, any D", f"{mode}, {ndim}D, q = {q:.3g}, {kind}", target, start,
                         d.times(unit, 1e-2, 3.0), alpha, beta, d.rtol(1e-7, 3e-2),
                         Blocks(lambda k, axes: parts[k]))  # fmt: skip


def any_mixtures(d: Any) -> Any:
    """Modes on a line in up to 40 dimensions: W from a mixture to a Gaussian, or FR from a Gaussian to a mixture."""
    mode, ndim, count = d.choice("W", "FR"), int(d.log(5, 41)), d.integer(2, 4)
    alpha, beta, unit = d.rates(mode, 1.0)
    rng = rng_of(d)
    direction = np.linalg.qr(rng.standard_normal((ndim, 1)))[0][:, 0]
    centre = rng.uniform(-1, 1, ndim)
    means = centre + np.array([d.uniform(-4, 4) for _ in range(count)])[:, None] * direction
    weights = [d.log(0.05, 1.0) for _ in range(count)]
    variance, other = d.log(0.1, 1.0), d.log(0.3, 2.0)
    mixture = wfr.GaussianMixture(means, weights, variance)
    normal = wfr.Gaussian(rng.uniform(-1, 1, ndim), other)
    if mode == "W":
        target, start = normal, mixture
        whole = functools.cache(lambda t: exact.mixture_transport(target, start, t, alpha))
    else:
        target, start = mixture, normal

    def part(k: int, axes: Array) -> Any:
        along = [shadow(law, axes) for law in (target, start)]
        if k:
            return Moments(*(wfr.Gaussian(law.means[0], law.covariances[0]) for law in along), alpha, beta)
        widths = [(float(m[0]), math.sqrt(float(c[0, 0]))) for law in along
                  for m, c in zip(law.means, law.covariances, strict=True)]  # fmt: skip
        log_pi, log_start = (functools.partial(_log_density, law) for law in along)
        if mode == "FR":
            return families.fisher_rao(log_start, log_pi, beta, graded(widths))
        return Line(lambda t, x: _log_density(shadow(whole(t), axes), x), lambda t, x: log_pi(x), graded(widths))

    return families.Case("mixtures, any D", f"{mode}, {ndim}D, {count} modes", target, start, d.times(unit, 1e-2, 3.0),
                         alpha, beta, d.rtol(1e-6, 3e-2), Blocks(part))  # fmt: skip


def shadow(law: Any, axes: Array) -> wfr.GaussianMixture:
    """The law of axes' x, a Gaussian as a mixture of one."""
    single = isinstance(law, wfr.Gaussian)
    means, covariances, weights = (
        (law.mean[None], law.covariance[None], [1.0]) if single else (law.means, law.covariances, law.weights)
    )
    inner = axes.T @ covariances @ axes
    return wfr.GaussianMixture(means @ axes, weights, (inner + np.swapaxes(inner, 1, 2)) / 2)


def _log_density(law: wfr.GaussianMixture, x: Array) -> Array:
    return law.log_density(x[..., None])
