"""Particle samplers: flows of `Particles`, composed by the same splittings and run by the same `solve`.

Examples
--------
1000 particles, moved for one unit of time from N(3, 1), whose mean falls to 3/e = 1.1:

>>> import wfr_pde as wfr
>>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(3, 1)
>>> ds = wfr.solve(target, wfr.samplers.Langevin(), start.sample(1000, rng=0), t=[0, 1], dt=0.01, rng=0)
>>> bool(abs(ds.position.values[-1].mean() - 1.1) < 0.2)
True
"""

from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.birth_death import BirthDeath
from wfr_pde.samplers.density_ratio import KernelDensity, LogRatio, MixtureDensity, Oracle
from wfr_pde.samplers.external.blackjax import Blackjax
from wfr_pde.samplers.feynman_kac import FeynmanKac
from wfr_pde.samplers.kernel_fisher_rao import KernelFisherRao
from wfr_pde.samplers.langevin import Langevin
from wfr_pde.samplers.mala import MALA
from wfr_pde.samplers.parallel_tempering import ParallelTempering
from wfr_pde.samplers.resample import Resample
from wfr_pde.samplers.reverse_diffusion import ReverseDiffusion
from wfr_pde.samplers.smc_wfr import SMCWFR
from wfr_pde.samplers.svgd import SVGD
from wfr_pde.samplers.teleporting_walkers import TeleportingWalkers
from wfr_pde.samplers.tempering import Tempering
from wfr_pde.samplers.underdamped_langevin import UnderdampedLangevin

__all__ = [
    "MALA",
    "SMCWFR",
    "SVGD",
    "BirthDeath",
    "Blackjax",
    "FeynmanKac",
    "KernelDensity",
    "KernelFisherRao",
    "Langevin",
    "LogRatio",
    "MixtureDensity",
    "Oracle",
    "ParallelTempering",
    "Resample",
    "ReverseDiffusion",
    "Sampler",
    "TeleportingWalkers",
    "Tempering",
    "UnderdampedLangevin",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
