"""Calls that use what they make: numbers that every constructor takes may still break what is done with it."""

import numpy as np

import wfr_pde as wfr
from wfr_pde import metrics, samplers

STEP = 0.1


def used_calls(o):
    """Calls (function, arguments) by name, in which samplers move and metrics measure."""
    particles, start = o["particles"], o["start"]

    def moved(sampler, rng=0):
        return wfr.solve(o["target"], sampler, particles, [0, STEP], STEP, rng=rng)

    def birth_death(rate, bandwidth):
        return moved(samplers.BirthDeath(rate, bandwidth))

    def kernel_fisher_rao(rate, bandwidth, regularisation):
        return moved(samplers.KernelFisherRao(start, rate, bandwidth, regularisation))

    def langevin(rate, rng):
        return moved(samplers.Langevin(rate), rng)

    def smc(rate, reaction_rate, threshold):
        return moved(samplers.SMCWFR(rate, reaction_rate, threshold=threshold))

    def svgd(rate, bandwidth):
        return moved(samplers.SVGD(rate, bandwidth))

    def teleporting(rate, bandwidth):
        return moved(samplers.TeleportingWalkers(bandwidth, rate))

    def mmd(scale):
        return metrics.MMD(scale)(o["other"], particles)

    def ksd(length, power):
        return metrics.KSD(o["target"], length, power)(o["other"], particles)

    def sliced(seed, n_directions):
        return metrics.SlicedWasserstein(n_directions, seed=seed)(o["other"], particles)

    def kernel_kl(variance):
        return metrics.KernelKL(variance)(o["other"], particles)

    def recorded(what):
        return wfr.solve(o["target"], o["flow"], o["density"], [0, STEP], STEP, record={"what": lambda state, g: what})

    def yielded(positions, log_weights):
        def sampler(target, start_positions, times, rng):
            return ((t, positions, log_weights) for t in times)

        return wfr.run_sampler(sampler, o["target"], np.zeros((2, 1)), [0, STEP])

    values = np.linspace(0.0, 1.0, o["grid"].size)
    return {
        "Grid.log_integrate": (o["grid"].log_integrate, {"log_values": values}),
        "BirthDeath used": (birth_death, {"rate": 1.0, "bandwidth": 0.5}),
        "KernelFisherRao used": (kernel_fisher_rao, {"rate": 0.1, "bandwidth": 0.5, "regularisation": 1e-3}),
        "Langevin used": (langevin, {"rate": 1.0, "rng": 0}),
        "SMCWFR used": (smc, {"rate": 1.0, "reaction_rate": 1.0, "threshold": 0.5}),
        "SVGD used": (svgd, {"rate": 1.0, "bandwidth": 0.5}),
        "TeleportingWalkers used": (teleporting, {"rate": 1.0, "bandwidth": 0.5}),
        "MMD used": (mmd, {"scale": 1.0}),
        "KSD used": (ksd, {"length": 1.0, "power": -0.5}),
        "SlicedWasserstein used": (sliced, {"seed": 0, "n_directions": 8}),
        "KernelKL used": (kernel_kl, {"variance": 0.3}),
        "record used": (recorded, {"what": [1.0, 2.0]}),
        "run_sampler used": (yielded, {"positions": [[0.0], [1.0]], "log_weights": [0.0, 0.0]}),
        "Particles.resampled": (particles.resampled, {"which": [0, 1, 1]}),
        **{
            f"Grid.{name}": (getattr(o["grid"], name), {"values": values})
            for name in ("integrate", "sum", "max", "min", "range")
        },
    }
