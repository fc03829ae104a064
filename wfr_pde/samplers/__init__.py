"""Particle samplers: flows of `Particles`, composed by the same splittings and run by the same `solve`."""

from wfr_pde.samplers.base import Sampler
from wfr_pde.samplers.birth_death import BirthDeath
from wfr_pde.samplers.feynman_kac import FeynmanKac
from wfr_pde.samplers.langevin import Langevin
from wfr_pde.samplers.log_ratios import KernelDensity, LogRatio, MixtureDensity, Oracle
from wfr_pde.samplers.resample import Resample
from wfr_pde.samplers.smc_wfr import SMCWFR

__all__ = [
    "SMCWFR",
    "BirthDeath",
    "FeynmanKac",
    "KernelDensity",
    "Langevin",
    "LogRatio",
    "MixtureDensity",
    "Oracle",
    "Resample",
    "Sampler",
]
