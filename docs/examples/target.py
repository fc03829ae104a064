"""A new target: the logistic distribution on the line."""

import numpy as np

import wfr_pde as wfr


class Logistic(wfr.Target):
    """Logistic distribution: V(x) = 2 log(2 cosh(x / (2 scale))); tails like exp(-|x| / scale)."""

    ndim = 1

    def __init__(self, scale=1.0):
        if not 0 < scale < np.inf:
            raise ValueError(f"scale must be a finite number > 0, got {scale}")
        self.scale = float(scale)
        self.log_normaliser = np.log(self.scale)  # log of the integral of exp(-V)

    def __repr__(self):
        return f"Logistic(scale={self.scale})"

    def log_density(self, points):
        """-V at points (..., 1), shape (...)."""
        z = self.as_points(points)[..., 0] / self.scale
        return -2 * np.logaddexp(z / 2, -z / 2)

    # This is all that is needed. What follows is known in closed form: faster, and more exact.

    def score(self, points):
        """-grad V at points (..., 1), shape (..., 1)."""
        return -np.tanh(self.as_points(points) / (2 * self.scale)) / self.scale

    def sample(self, n, rng=None):
        """`n` independent draws, shape (n, 1)."""
        return np.random.default_rng(rng).logistic(scale=self.scale, size=(n, 1))

    def moments(self):
        """Mean (1,) and covariance (1, 1)."""
        return np.zeros(1), np.array([[(np.pi * self.scale) ** 2 / 3]])

    def box(self, tail=1e-12):
        """Box outside which the mass is below `tail`."""
        half = self.scale * np.log(2 / tail)
        return np.array([-half]), np.array([half])


if __name__ == "__main__":
    target, start = Logistic(0.5), wfr.Gaussian(mean=-2, covariance=0.25)

    # do the formulas agree with each other?
    x = np.linspace(-5, 5, 11)[:, None]
    numerical = wfr.Target.score(target, x)  # derivatives of log_density
    print(f"score agrees to 1e-8: {np.allclose(target.score(x), numerical, rtol=0, atol=1e-8)}")
    on_grid = wfr.Grid.covering(target, shape=512).density(target)
    exact, summed = target.moments()[1].item(), on_grid.covariance().item()
    print(f"variance: {exact:.8f}, on a grid {summed:.8f}")

    # the flow, certified
    truth = wfr.ground_truth(target, start, t=[0, 0.5, 1, 2, 4], rtol=1e-6)
    print("t   KL(mu|pi)")
    for t, kl in zip(truth.t.values, truth.kl.values, strict=True):
        print(f"{t:<3g} {kl:.6f}")
    print(f"L1 errors are below 1e-6: {bool((truth.error_l1 <= 1e-6).all())}")
