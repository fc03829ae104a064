"""A flow that goes down no energy: advection and diffusion on a circle."""

import math
from dataclasses import dataclass

import numpy as np

import wfr_pde as wfr
from wfr_pde import diagnostics


@dataclass(frozen=True)
class AdvectionDiffusion(wfr.Flow):
    """d_t mu = -speed mu' + rate mu'' on a periodic axis, by Fourier series: exact in time.

    Parameters
    ----------
    speed, rate : float
        Drift, and diffusivity >= 0.
    """

    speed: float = 1.0
    rate: float = 1.0

    energies = ()  # none is needed
    order = math.inf
    preserves = frozenset({"mass"})
    measures = (wfr.Density,)

    def build_step(self, energy, template, dt):
        """Multiply every wave by what the time makes of it; `energy` is not looked at."""
        axis = template.grid.axes[0]
        waves = 2j * np.pi * np.fft.rfftfreq(axis.n, axis.dx)
        factors = np.exp(dt * (self.rate * waves**2 - self.speed * waves))

        def step(state, rng):
            values = np.fft.irfft(np.fft.rfft(state.values) * factors, axis.n)
            return wfr.Density(state.grid, np.log(values))

        return step


if __name__ == "__main__":
    grid = wfr.Grid(0, 2 * np.pi, 64, boundary="periodic")
    start = grid.density(wfr.Potential("-log(1 + cos(x)/2)"))
    flow, times = AdvectionDiffusion(speed=3.0, rate=0.5), np.linspace(0, 1, 5)

    ds = wfr.solve(None, flow, start, times, dt=0.05, record=[diagnostics.entropy])
    exact = (1 + np.exp(-0.5) * np.cos(grid.axes[0].centres - 3.0) / 2) / (2 * np.pi)
    print(f"exact to 1e-13: {np.abs(np.exp(ds.log_density[-1]) - exact).max().item() < 1e-13}")
    print(f"entropy: {ds.entropy[0].item():.4f} at first, {ds.entropy[-1].item():.4f} at t = 1")

    # an energy is recorded where it is given
    target = wfr.Potential("cos(x)")
    ds = wfr.solve(None, flow, start, times, dt=0.05, record=[wfr.KL(target)])
    print(f"KL(mu|pi): {ds.kl[0].item():.4f} at first, {ds.kl[-1].item():.4f} at t = 1")

    # and composed with a flow of an energy, it takes part in solving that
    both = wfr.Strang(wfr.FisherRao(2.0), flow)
    ds = wfr.solve(target, both, start, times, dt=0.05, record=[wfr.KL(target)])
    print(f"with a reaction: {ds.kl[-1].item():.4f} at t = 1")
    try:
        wfr.solve(None, both, start, times, dt=0.05)
    except TypeError as refusal:
        print(refusal)
