"""Problems that were certified falsely once, with their answers; numbers are those of their mechanisms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from honesty_answers import (
    DEEP,
    SINGULAR,
    Array,
    Line,
    Product,
    Relaxation,
    Takeover,
    dry_friction,
    graded,
)
from honesty_families import Case, between, fisher_rao, gaussian_answer, normal

import wfr_pde as wfr


def two_modes(far: float, weights: tuple[float, float], variances: tuple[float, float], variance: float,
              times: list[float], alpha: float, rtol: float) -> Case:  # fmt: skip
    """Two modes; the far one takes over."""
    sds = np.sqrt(variances)
    parts = [normal(0.0, sds[0]), normal(far, sds[1])]

    def V(x: Array) -> Array:  # noqa: N802
        return -np.logaddexp(math.log(weights[0]) + parts[0](x), math.log(weights[1]) + parts[1](x))

    def slope(x: Array) -> Array:
        odds = math.log(weights[0] / weights[1]) + parts[0](x) - parts[1](x)
        share = 1 / (1 + np.exp(np.clip(odds, -700, 700)))
        return (1 - share) * x / variances[0] + share * (x - far) / variances[1]

    ends = -9 * sds[0], far + 9 * sds[1]
    answer = Takeover(V, slope, normal(0.0, math.sqrt(variance)), times, *ends, alpha, 1.0, 1600)
    target = wfr.GaussianMixture([0, far], list(weights), list(variances))
    return Case("row", "0 two modes", target, wfr.Gaussian(0, variance), times, alpha, 1.0, rtol, answer)


def gaussian(name: str, target: wfr.Gaussian, start: wfr.Gaussian, times: list[float], alpha: float, beta: float,
             rtol: float) -> Case:  # fmt: skip
    return Case("row", name, target, start, times, alpha, beta, rtol, gaussian_answer(target, start, alpha, beta))


def absolute_at_rest() -> Case:
    target = wfr.Potential("abs(x)")
    answer = Line(lambda t, x: -np.abs(x), lambda t, x: -np.abs(x), graded([(0.0, 1.0)], [0.0]))
    return Case("row", "3 |x| at rest", target, target, [0, 0.5], 1.0, 1.0, 1e-6, answer)


def exponentials() -> Case:
    answer = fisher_rao(lambda x: -2 * x, lambda x: -x, 1.0, graded([(0.0, 0.5)], (), 0.0, 40.0))
    return Case("row", "3 exponentials, FR", wfr.Potential("x"), wfr.Potential("2*x"), [0, 0.5], 0.0, 1.0, 1e-8, answer,
                between(0.0, 40.0))  # fmt: skip


def barrier() -> Case:
    def V(x: Array) -> Array:  # noqa: N802
        return x**2 / 2 + 6 * np.exp(-((x - 0.3) ** 2) / (2 * 0.003**2))

    reach = math.sqrt(2 * DEEP)
    answer = Relaxation(V, normal(-0.7, 0.15), [(0.3, 0.003), (-0.7, 0.15), (0.0, 1.0)], [], -reach, reach)
    return Case("row", "4 barrier", wfr.Potential("x**2/2 + 6*exp(-(x - 0.3)**2/(2*0.003**2))"),
                wfr.Gaussian(-0.7, 0.15**2), [0, 1.0], 1.0, 0.0, 1e-6, answer)  # fmt: skip


def friction() -> Case:
    answer = Line(dry_friction(1.0, 1.0, 0.04, 1.0), lambda t, x: -np.abs(x),
                  graded([(0.0, 1.0), (0.0, 0.1), (1.0, 0.2)], [0.0]))  # fmt: skip
    target, start = wfr.Potential("abs(x)"), wfr.Gaussian(1.0, 0.04)
    return Case("row", "5 |x| under W", target, start, [0, 0.3, 1, 3], 1.0, 0.0, 1e-7, answer)


def jump() -> Case:
    def V(x: Array) -> Array:  # noqa: N802
        return x**2 / 2 + 2.0 * (x > 0.37)

    reach, sd = math.sqrt(2 * DEEP), math.sqrt(0.3)
    answer = Relaxation(V, normal(-0.5, sd), [(-0.5, sd), (0.0, 1.0)], [0.37], -reach, reach)
    return Case("row", "5 jump", wfr.Potential("x**2/2 + sign(x - 0.37)"), wfr.Gaussian(-0.5, 0.3), [0, 0.1, 1, 3], 1.0,
                0.0, 1e-2, answer)  # fmt: skip


def kink() -> Case:
    answer = fisher_rao(normal(0.5, 0.1), lambda x: -(x**2) / 2 - 5 * np.abs(x), 1.0,
                        graded([(0.5, 0.1), (0.0, 0.2)], [0.0]))  # fmt: skip
    return Case("row", "5 kl(0) beside a kink", wfr.Potential("x**2/2 + 5*abs(x)"), wfr.Gaussian(0.5, 0.01), [0, 0.5],
                0.0, 1.0, 1e-6, answer)  # fmt: skip


def constant() -> Case:
    start = wfr.Gaussian(-1.0, 0.3)
    answer = gaussian_answer(wfr.Gaussian(0, 1), start, 1.0, 1.0)
    return Case("row", "7 V + 1e8", wfr.Potential("x**2/2 + 1e8"), start, [0, 0.5, 2], 1.0, 1.0, 1e-9, answer)


def gamma() -> Case:
    answer = fisher_rao(normal(1.0, 0.2), lambda x: -x - 0.5 * np.log(x), 1.0,
                        graded([(1.0, 0.2), *SINGULAR], (), 0.0, 30.0))  # fmt: skip
    return Case("row", "8 gamma of shape 1/2", wfr.Potential("x + 0.5*log(x)"), wfr.Gaussian(1.0, 0.04), [0, 0.5, 1],
                0.0, 1.0, 1e-3, answer, between(0.0, 30.0))  # fmt: skip


def circle() -> Case:
    turn = 2 * math.pi

    def log_start(x: Array) -> Array:
        return np.logaddexp(normal(0.0, 0.2)(x), normal(turn, 0.2)(x))

    answer = fisher_rao(log_start, lambda x: -np.cos(x), 1.0, graded([(0.0, 0.2), (turn, 0.2)], (), 0.0, turn))
    return Case("row", "9 start not periodic", wfr.Potential("cos(x)"), wfr.Gaussian(0.0, 0.04), [0, 0.5], 0.0, 1.0,
                1e-6, answer, {"box": (0.0, turn), "boundary": "periodic"}, refusal_right=True)  # fmt: skip


def cut() -> Case:
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-3.0, 0.04)
    return Case("row", "10 a box that cuts 92 %", target, start, [0, 0.5, 2], 1.0, 1.0, 1e-6,
                gaussian_answer(target, start, 1.0, 1.0), {"box": (-8.0, -1.4)}, refusal_right=True)  # fmt: skip


def plane() -> Case:
    target, start = wfr.Gaussian([0, 0], 1.0), wfr.Gaussian([-6, 3], 0.05)
    parts = [gaussian_answer(wfr.Gaussian(0, 1), wfr.Gaussian(m, 0.05), 1.0, 1.0) for m in (-6.0, 3.0)]
    return Case("row", "2 far start in 2D", target, start, [0, 1.0], 1.0, 1.0, 0.1, Product(parts, np.eye(2)))


ROWS: dict[str, Callable[[], Case]] = {
    "0": lambda: two_modes(13.77, (0.57, 0.43), (0.84, 0.59), 0.047, [0, 2, 4, 6], 0.16, 6e-2),
    "1": lambda: gaussian("1 clipped", wfr.Gaussian(0, 1), wfr.Gaussian(-17.4, 0.0105), [0, 1.5], 0.0062, 1.0, 1e-6),
    "2a": lambda: gaussian("2 wide start", wfr.Gaussian(0, 1), wfr.Gaussian(0, 900), [0, 1e-3, 0.1, 1], 1.0, 0.0, 1e-6),
    "2b": lambda: gaussian("2 far", wfr.Gaussian(0, 1), wfr.Gaussian(-9.644, 0.0375), [0, 3.85], 0.0225, 1.0, 0.1),
    "2c": plane,
    "3a": absolute_at_rest,
    "3b": exponentials,
    "4": barrier,
    "5a": friction,
    "5b": jump,
    "5c": kink,
    "7": constant,
    "8": gamma,
    "9": circle,
    "10": cut,
}
