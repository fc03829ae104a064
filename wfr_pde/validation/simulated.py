"""One run of the sampler that is validated."""

from __future__ import annotations

from wfr_pde.flows import Flow
from wfr_pde.integrate.time_loop import solve
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.validation.runs import Run
from wfr_pde.validation.setting import Setting


def simulated(setting: Setting, seed: int, n: int, dt: float | None) -> Run:
    """Make one run of `n` particles, with all that follows from a seed."""
    positions = setting.start.sample(n, rng=seed)
    if isinstance(setting.sampler, Flow):
        assert dt is not None
        ds = solve(setting.target, setting.sampler, positions, setting.times, dt, rng=seed, progress=False)
    else:
        options = setting.options | ({} if dt is None else {"dt": dt})
        ds = run_sampler(setting.sampler, setting.target, positions, setting.times, rng=seed, **options)
    return Run(setting.name, ds)
