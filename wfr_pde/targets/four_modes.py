"""The four-mode benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from wfr_pde.targets.mixture import GaussianMixture


@dataclass(frozen=True, eq=False, init=False)
class FourModes(GaussianMixture):
    """Four thin, equally weighted Gaussians in the plane: V(x) = -log sum_k N(x; m_k, C_k) / 4.

    The means are (0, 8), (0, 2) with covariance diag(1.2, 0.01) and (-3, 5), (3, 5) with covariance
    diag(0.01, 2). The usual start is the first component, `FourModes().component(0)`.

    References
    ----------
    Lu, Lu and Nolen (2019), arXiv:1905.09863, example 2.

    Examples
    --------
    The four means average to (0, 5):

    >>> import wfr_pde as wfr
    >>> mean, covariance = wfr.FourModes().moments()
    >>> mean.tolist()
    [0.0, 5.0]
    """

    def __init__(self) -> None:
        flat, tall = (1.2, 0.01), (0.01, 2.0)
        super().__init__(
            means=[[0, 8], [0, 2], [-3, 5], [3, 5]], weights=[0.25] * 4, covariances=[flat, flat, tall, tall]
        )

    @override
    def __repr__(self) -> str:
        return "FourModes()"
