"""Decoupled laws for tests and benchmarks of `coupling_error`: Gaussians in closed form, products in turned axes."""

from dataclasses import dataclass, field

import numpy as np

import wfr_pde as wfr


@dataclass(frozen=True)
class GaussianLaw:
    """The flow between two Gaussians in closed form, as a truth."""

    near: wfr.Gaussian
    start: wfr.Gaussian
    transport_rate: float = 1.0
    reaction_rate: float = 1.0
    times: np.ndarray = field(default_factory=lambda: np.array([0.0, 1.0]))
    laws: dict = field(default_factory=dict)

    def at(self, t):
        rates = self.transport_rate, self.reaction_rate
        if t not in self.laws:
            self.laws[t] = wfr.exact.gaussian_flow(self.near, self.start, float(t), *rates)
        return self.laws[t]

    def towards(self, target, t):
        """The law of the flow from the same start towards another target."""
        return wfr.exact.gaussian_flow(target, self.start, float(t), self.transport_rate, self.reaction_rate)

    def log_prob(self, x, t):
        return self.at(t).log_density(x) - self.at(t).log_normaliser

    def score(self, x, t):
        return self.at(t).score(x)

    def sample(self, n, t, rng=None):
        return self.at(t).sample(n, rng)

    def error_l1(self, t):
        return np.zeros(np.shape(t))


@dataclass(frozen=True)
class ProductLaw:
    """A product of truths along the columns of an orthogonal matrix, each of as many coordinates as it is given."""

    parts: tuple
    basis: np.ndarray
    widths: tuple

    @property
    def times(self):
        return self.parts[0].times

    def blocks(self, x):
        return np.split(x @ self.basis, np.cumsum(self.widths)[:-1], axis=-1)

    def log_prob(self, x, t):
        return sum(part.log_prob(y, t) for part, y in zip(self.parts, self.blocks(x), strict=True))

    def score(self, x, t):
        inner = [part.score(y, t) for part, y in zip(self.parts, self.blocks(x), strict=True)]
        return np.concatenate(inner, axis=-1) @ self.basis.T

    def sample(self, n, t, rng=None):
        return np.concatenate([part.sample(n, t, rng) for part in self.parts], axis=-1) @ self.basis.T

    def error_l1(self, t):
        return sum(part.error_l1(t) for part in self.parts)


def l1_by_draws(p, q, n, seed):
    """L1 distance of two Gaussians, and its standard error, by draws from the first."""
    x = p.sample(n, seed)
    ratio = np.exp(q.log_density(x) - q.log_normaliser - p.log_density(x) + p.log_normaliser)
    return float(np.abs(1 - ratio).mean()), float(np.abs(1 - ratio).std() / np.sqrt(n))


def l1_on_grid(p, q, half=7.0, cells=500):
    """L1 distance of two Gaussians in the plane, by a sum over cells."""
    width = half * np.sqrt(np.diag(p.covariance).max())
    axis = np.linspace(-width, width, cells)
    x = p.mean + np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    one, other = (np.exp(law.log_density(x) - law.log_normaliser) for law in (p, q))
    return float(np.abs(one - other).sum() * (axis[1] - axis[0]) ** 2)
