"""A block from a Gaussian to a Gaussian: its moments in closed form, and a bound of what rounding does to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Gaussian
from wfr_pde.targets.base import Target
from wfr_pde.targets.turned import turned
from wfr_pde.truth.exact import gaussian_flow, gaussian_flow_by_ode, gaussian_kl

if TYPE_CHECKING:
    import xarray as xr

EPS = float(np.finfo(np.float64).eps)
LOOKS = 3  # frames, turned at random, in which the moments are computed once more
SAFETY = 10.0  # times the largest distance between these and the moments
DIGITS = 16 * EPS  # per coordinate, that no other frame shows
INTEGRATED = 1e-11  # error of the moments of a target that moves, by steps in time, that no other steps show


def gaussian_moments(target: Target, start: Gaussian, times: Array, alpha: float, beta: float) -> xr.Dataset:
    """Compute the moments of the flow from a Gaussian to a Gaussian, which may move, with a bound of their error.

    The closed form is exact but for rounding. What rounding does is measured: the moments are computed in coordinates
    that are turned at random, turned back and compared, in L1 by Pinsker's inequality; ten times the largest distance
    counts. Moments to a target that moves are integrated in time, once in one go and once from save time to save time.

    Parameters
    ----------
    target : Gaussian, or GeometricPath between Gaussians
    start : Gaussian
    times : array (n_t,)
        On the clock of the target.
    alpha, beta : float

    Returns
    -------
    Dataset
        `mean` (t, i), `covariance` (t, i, j), `kl`, `error_l1`, `error_kl` (t); `target_mean` (i), `target_covariance`
        (i, j) of a target at rest.
    """
    import xarray as xr

    laws = _flow(target, start, times, alpha, beta)
    pis: list[Any] = [target.at(t) for t in times.tolist()]
    kl = np.array([gaussian_kl(law, pi) for law, pi in zip(laws, pis, strict=True)])
    l1, off = np.zeros((2, len(times)))
    for again, pis_again in _looks(target, start, times, alpha, beta):
        check_deadline()
        values = np.array([gaussian_kl(law, pi) for law, pi in zip(again, pis_again, strict=True)])
        l1 = np.maximum(l1, [_distance(law, other) for law, other in zip(laws, again, strict=True)])
        off = np.maximum(off, np.abs(values - kl))
    seen = np.array([_digits(law, pi) for law, pi in zip(laws, pis, strict=True)]) + INTEGRATED * target.moving
    l1, off = SAFETY * l1 + seen, SAFETY * off + seen * (1 + kl)
    l1[0] = seen[0]  # the start is given; KL is computed
    words = {"units": "nats"}
    of_target: dict[str, Any] = {}
    if not target.moving:
        of_target["target_mean"] = (("i",), pis[0].mean, {"long_name": "mean of the target"})
        of_target["target_covariance"] = (("i", "j"), pis[0].covariance, {"long_name": "covariance of the target"})
    return xr.Dataset(
        of_target
        | {
            "mean": (("t", "i"), np.stack([law.mean for law in laws]), {"long_name": "mean"}),
            "covariance": (("t", "i", "j"), np.stack([law.covariance for law in laws]), {"long_name": "covariance"}),
            "kl": (("t",), kl, {"long_name": "KL(mu|pi)", **words}),
            "error_l1": (("t",), np.minimum(l1, 2.0), {"long_name": "bound of the L1 error", "units": "1"}),
            "error_kl": (("t",), off, {"long_name": "bound of the error of KL", **words}),
        },
        attrs={"energy": f"KL(target={target!r})", "start": repr(start)},
    )


def _flow(target: Any, start: Gaussian, times: Array, alpha: float, beta: float) -> list[Gaussian]:
    """Return the Gaussians at the save times."""
    if not target.moving:
        return list(gaussian_flow(target, start, times - times[0], alpha, beta))
    laws = [start]
    for before, t in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        check_deadline()
        laws.append(gaussian_flow_by_ode(target, laws[-1], t, alpha, beta, start_time=before))
    return laws


def _looks(
    target: Target, start: Gaussian, times: Array, alpha: float, beta: float
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Give the Gaussians, and the targets at the save times, computed in other ways."""
    rng, zero = np.random.default_rng(0), np.zeros(start.ndim)
    if target.moving:
        first = float(times[0])
        yield (
            [gaussian_flow_by_ode(target, start, t, alpha, beta, start_time=first) for t in times.tolist()],
            [target.at(t) for t in times.tolist()],
        )
    for _ in range(1 if target.moving else LOOKS):
        q = np.linalg.qr(rng.standard_normal((start.ndim, start.ndim)))[0]
        other = turned(target, q, zero)
        laws = _flow(other, turned(start, q, zero), times, alpha, beta)  # type: ignore[arg-type]
        yield [turned(law, q.T, zero) for law in laws], [turned(other.at(t), q.T, zero) for t in times.tolist()]


def _distance(p: Gaussian, q: Gaussian) -> float:
    """Bound the L1 distance of two Gaussians by Pinsker's inequality."""
    return min(2.0, float(np.sqrt(2 * abs(gaussian_kl(q, p)))))


def _digits(law: Gaussian, pi: Target) -> float:
    """Return the L1 error of a Gaussian by the last digits of its moments."""
    whitening = np.abs(np.linalg.inv(np.linalg.cholesky(law.covariance)))
    return float(DIGITS * (law.ndim + np.linalg.norm(whitening @ (np.abs(law.mean) + np.abs(pi.mean)))))  # type: ignore[attr-defined]
