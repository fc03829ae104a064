"""Reference that the runs of a sampler are compared with: the law of its declared scheme on a grid, or the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wfr_pde.flows import FiniteVolume, FisherRao, Flow, Strang
from wfr_pde.flows.law import Law
from wfr_pde.integrate.truth_arguments import density_at, is_stationary, problem_of
from wfr_pde.integrate.truth_protocol import Truth
from wfr_pde.numerics.arguments import finite_array
from wfr_pde.numerics.typing import Array
from wfr_pde.space.quadrature import with_corrected_masses
from wfr_pde.validation.finite_population import FinitePopulationCutoff
from wfr_pde.validation.mean_field import Law as LawOnGrids
from wfr_pde.validation.mean_field import mean_field, moves_densities
from wfr_pde.validation.product_reference import ProductReference
from wfr_pde.validation.setting import Setting
from wfr_pde.validation.statistics import Observables, observables

# particles inside a region, and outside, below which it is not looked at: counts are too skewed for a test of means
EXPECTED = 10.0
TABLES = "means", "deviations", "errors", "unreached", "own_kernel"  # arrays (t, k) of a reference


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """Expectations that the runs are compared with, over times and statistics, and their errors."""

    observables: list[Any]  # Observables or ProductObservables, one per time
    means: Array  # (t, k)
    deviations: Array  # (t, k), standard deviations of a single draw
    errors: Array  # (t, k), of the means
    unreached: Array  # (t, k), what fewer particles than places cannot follow
    kind: str
    is_law: bool
    own_kernel: Array  # (t, k), what estimates of a density may be off by a particle's own kernel

    @property
    def margins(self) -> Array:
        """Sum of what does not come from runs."""
        return self.errors + self.unreached + self.own_kernel


def reference_of(setting: Setting, modes: Any, statistics: Any) -> Reference:
    """Return the law of the declared scheme, where it has one on a grid, or else the truth.

    Parameters
    ----------
    setting : Setting
        What is asked.
    modes, statistics :
        Those of `observables`.

    Returns
    -------
    Reference

    Raises
    ------
    TypeError, ValueError
        If the truth is of another flow, does not know its rates or has no density on a grid; or if no statistic varies.
    """
    if setting.box is None:
        return _of_product(setting, modes, statistics)
    scheme = setting.scheme
    is_law = scheme is not None and moves_densities(scheme, setting.box.ndim)
    interacting = scheme is None or scheme.interacting
    flow, dt = _flow_and_step(setting, is_law)
    law = None
    if is_law or interacting:
        law = mean_field(flow, **_problem(setting), dt=dt, only_coarse=not is_law)
    if is_law and law is not None:
        densities = [density.normalised() for density in law.fine[1:]]
    else:
        truths = [density_at(setting.truth, float(t), "validate") for t in setting.times[1:]]
        densities = [with_corrected_masses(density) for density in truths]
    target, times = setting.target, setting.times[1:].tolist()
    pis = [target.at(t) if target.moving else target for t in times]
    chosen = [observables(density, pi, modes, statistics) for density, pi in zip(densities, pis, strict=True)]
    common = [name for name in chosen[0].names if all(name in one.names for one in chosen)]
    chosen = [one.only(common) for one in chosen]
    means = np.array([one.means(one.reference) for one in chosen])
    errors = np.empty_like(means)
    for i, one in enumerate(chosen):
        if is_law and law is not None:
            means[i], errors[i] = law.expectations(i + 1, one.means)
        else:
            errors[i] = _truth_error(setting.truth, float(setting.times[i + 1]), one)
    found = Reference(
        observables=chosen,
        means=means,
        deviations=np.array([one.deviations() for one in chosen]),
        errors=errors,
        unreached=_unreached(setting, law, flow, dt, chosen)
        if interacting and law is not None
        else np.zeros_like(means),
        kind=f"the law of {scheme!r}" if is_law else "the truth",
        is_law=is_law,
        own_kernel=np.zeros_like(means),  # in few dimensions it falls with n as other biases do
    )
    return _observable(found, setting.n)


def _of_product(setting: Setting, modes: Any, statistics: Any) -> Reference:
    """Return the reference of a sampler in any dimension, block by block.

    Raises
    ------
    ValueError
        For statistics of the user, whose expectations are no sums over blocks.
    """
    if statistics is not None:
        raise ValueError(
            "statistics of your own are not known under a product in many dimensions: leave statistics out (moments, "
            "regions, modes, cross moments and the potential are looked at), or compare draws with metrics of your own"
        )
    scheme = setting.scheme
    dt = setting.dt or float(np.diff(setting.times).min()) / 8
    found = ProductReference.of(setting, None if modes is None else finite_array("modes", modes), dt)
    means, errors = found.means(setting.truth, setting.times)
    flow = scheme if found.is_law and scheme is not None else _ideal(setting)
    unreached = own_kernel = np.zeros_like(means)
    if scheme is None or scheme.interacting:
        unreached, own_kernel = found.unreached(setting, flow, dt)
    result = Reference(
        observables=found.observables,
        means=means,
        deviations=np.array([one.deviations() for one in found.observables]),
        errors=errors,
        unreached=unreached,
        own_kernel=own_kernel,
        kind=f"the law of {scheme!r}, block by block" if found.is_law else "the truth",
        is_law=found.is_law,
    )
    return _observable(result, setting.n)


def _problem(setting: Setting) -> dict[str, Any]:
    """Return the arguments of `mean_field` beside the flow and its step."""
    return {"target": setting.target, "start": setting.start, "times": setting.times, "box": setting.box}


def _flow_and_step(setting: Setting, is_law: bool) -> tuple[Flow, float]:
    """Return the flow of densities that the runs are compared with, and its step."""
    if is_law and setting.scheme is not None and setting.dt is not None:
        return setting.scheme, setting.dt
    return _ideal(setting), setting.dt or float(np.diff(setting.times).min()) / 8


def _unreached(setting: Setting, law: LawOnGrids, flow: Flow, dt: float, chosen: list[Observables]) -> Array:
    """Return how far expectations (t, k) move when places without a single particle are emptied, after every step."""
    cutoff = mean_field(
        FinitePopulationCutoff(flow, setting.n),
        **_problem(setting),
        dt=dt,
        only_coarse=True,
        cells=law.coarse[0].grid.shape[0],
    )
    gaps = [one.means(cutoff.coarse[i + 1]) - one.means(law.coarse[i + 1]) for i, one in enumerate(chosen)]
    return np.abs(gaps)


def _ideal(setting: Setting) -> Flow:
    """Return the flow of densities that a sampler without a law on the grid stands for, if it is that of the truth."""
    if is_stationary(setting.truth):
        return FisherRao(0.0)
    law = None if setting.scheme is None else Law(setting.scheme.law)
    stated = problem_of(setting.truth)
    alpha, beta = stated.transport_rate, stated.reaction_rate
    if alpha is None or beta is None:
        raise ValueError(
            "the truth does not know its rates: give Trajectory(truth, target, transport_rate, reaction_rate), or to a "
            "truth of your own, the attribute problem = StatedProblem(target, start, transport_rate, reaction_rate)"
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


def _truth_error(truth: Truth, t: float, chosen: Observables) -> Array:
    """Bound the error of expectations by that of the density, where it has mass: L1 error times the largest |f|."""
    error = float(truth.error_l1(t))
    if error == 0:
        return np.zeros(len(chosen.names))
    density = chosen.reference
    matters = density.grid.backend.asnumpy(density.log_values > density.grid.max(density.log_values) - 30.0)
    centred = np.abs(chosen.values(density.grid.points()[matters]) - chosen.means(density))
    return error * centred.max(axis=0)


def _observable(reference: Reference, n: int) -> Reference:
    """Return a reference without statistics that do not vary, or regions where hardly a particle is expected."""
    last = reference.observables[0]
    varies = np.all(reference.deviations > 1e-12 * (1 + np.abs(reference.means)), axis=0)
    for k, name in enumerate(last.names):
        if " < " in name or name.startswith("mode "):
            least = np.minimum(reference.means[:, k], 1 - reference.means[:, k]).min()
            varies[k] &= n * least >= EXPECTED
    if not varies.any():
        raise ValueError("no statistic varies under the reference: give others, or more particles")
    kept = [name for name, keep in zip(last.names, varies, strict=True) if keep]
    return replace(
        reference,
        observables=[one.only(kept) for one in reference.observables],
        **{name: getattr(reference, name)[:, varies] for name in TABLES},
    )
