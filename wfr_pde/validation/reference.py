"""What the runs of a sampler are held against: the law of its declared scheme on a grid, or the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wfr_pde.flows import FiniteVolume, FisherRao, Flow, Strang
from wfr_pde.flows.law import Law
from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.space.density import Density
from wfr_pde.validation.finite_population import FinitePopulationCutoff
from wfr_pde.validation.mean_field import mean_field, moves_densities
from wfr_pde.validation.setting import Setting
from wfr_pde.validation.statistics import Observables, observables

Array = np.ndarray[Any, np.dtype[np.float64]]

EXPECTED = 10.0  # particles inside a region, and outside, below which it is not looked at


@dataclass(frozen=True, eq=False)
class Reference:
    """What the runs are held against, over times and statistics."""

    observables: list[Observables]  # one per time
    means: Array  # (t, k)
    deviations: Array  # (t, k), standard deviations of a single draw
    errors: Array  # (t, k), of the means
    unreached: Array  # (t, k), what fewer particles than places cannot follow
    kind: str
    is_law: bool

    @property
    def margins(self) -> Array:
        """Sum of what does not come from runs."""
        return self.errors + self.unreached


def reference_of(setting: Setting, modes: Any, statistics: Any) -> Reference:
    """The law of the declared scheme, or the truth."""
    scheme = setting.scheme
    is_law = scheme is not None and moves_densities(scheme, setting.box.ndim)
    if is_law:
        assert scheme is not None
        assert setting.dt is not None
        flow, dt = scheme, setting.dt
    else:
        flow, dt = _ideal(setting), (setting.dt or float(np.diff(setting.times).min()) / 8)
    later = setting.times[1:]
    interacting = scheme is None or scheme.interacting
    law = None
    if is_law or interacting:
        law = mean_field(flow, setting.target, setting.start, setting.times, dt, setting.box, only_coarse=not is_law)
    if is_law:
        assert law is not None
        references = law.fine[1:]
    else:
        references = [setting.truth if isinstance(setting.truth, Density) else setting.truth.at(t) for t in later]
    chosen = [observables(density.normalised(), setting.target, modes, statistics) for density in references]
    means = np.array([one.means(one.reference) for one in chosen])
    deviations = np.array([one.deviations() for one in chosen])
    errors = np.empty_like(means)
    for i, one in enumerate(chosen):
        if is_law:
            assert law is not None
            means[i], errors[i] = law.expectations(i + 1, one.means)
        else:
            errors[i] = _truth_error(setting.truth, float(later[i]), one)
    unreached = np.zeros_like(means)
    if interacting:
        assert law is not None
        cutoff = mean_field(
            FinitePopulationCutoff(flow, setting.n),
            setting.target,
            setting.start,
            setting.times,
            dt,
            setting.box,
            only_coarse=True,
            cells=law.coarse[0].grid.shape[0],
        )
        for i, one in enumerate(chosen):
            unreached[i] = np.abs(one.means(cutoff.coarse[i + 1]) - one.means(law.coarse[i + 1]))
    kind = f"the law of {scheme!r}" if is_law else "the truth"
    return _observable(Reference(chosen, means, deviations, errors, unreached, kind, is_law), setting.n)


def _ideal(setting: Setting) -> Flow:
    """The flow of densities that a sampler without a law on the grid stands for, if it stands for the truth."""
    if isinstance(setting.truth, Density):
        return FisherRao(0.0)
    law = None if setting.scheme is None else Law(setting.scheme.law)
    alpha, beta = setting.truth.transport_rate, setting.truth.reaction_rate
    if alpha is None or beta is None:
        raise ValueError(
            "the truth does not know its rates: give Trajectory(truth, target, transport_rate, reaction_rate)"
        )
    fits = {Law.W: beta == 0, Law.FR: alpha == 0, Law.WFR: alpha > 0 and beta > 0}
    if law is Law.PI:
        raise ValueError(
            f"{setting.scheme!r} is led to pi on a path of its own, which the truth does not show: hold it against pi, "
            "truth=grid.density(target), which it must keep"
        )
    if law is not None and not fits.get(law, False):
        raise ValueError(
            f"{setting.scheme!r} follows the law {str(law)!r}, which is not that of the truth with "
            f"transport_rate={alpha:g} and reaction_rate={beta:g}: give the truth of the same flow, or scheme="
        )
    transport, reaction = FiniteVolume(alpha), FisherRao(beta)
    return transport if beta == 0 else reaction if alpha == 0 else Strang(reaction, transport)


def _truth_error(truth: Trajectory | Density, t: float, chosen: Observables) -> Array:
    """Bound of the error of expectations by that of the density, where it has mass: L1 error times the largest |f|."""
    if isinstance(truth, Density):
        return np.zeros(len(chosen.names))
    density = chosen.reference
    matters = density.grid.backend.asnumpy(density.log_values > density.grid.max(density.log_values) - 30.0)
    centred = np.abs(chosen.values(density.grid.points()[matters]) - chosen.means(density))
    return float(truth.error_l1(t)) * centred.max(axis=0)


def _observable(reference: Reference, n: int) -> Reference:
    """Without what no particle is expected to tell: statistics that do not vary, regions with next to nobody."""
    last = reference.observables[0]
    varies = np.all(reference.deviations > 1e-12 * (1 + np.abs(reference.means)), axis=0)
    for k, name in enumerate(last.names):
        if " < " in name or name.startswith("mode "):
            least = np.minimum(reference.means[:, k], 1 - reference.means[:, k]).min()
            varies[k] &= n * least >= EXPECTED
    if not varies.any():
        raise ValueError("no statistic varies under the reference: give others, or more particles")
    kept = [name for name, keep in zip(last.names, varies, strict=True) if keep]
    arrays = (reference.means, reference.deviations, reference.errors, reference.unreached)
    means, deviations, errors, unreached = (array[:, varies] for array in arrays)
    chosen = [one.only(kept) for one in reference.observables]
    return Reference(chosen, means, deviations, errors, unreached, reference.kind, reference.is_law)
