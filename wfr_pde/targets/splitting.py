"""Splits of Gaussians and mixtures into independent blocks, by subspaces that covariances leave invariant."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.mixture import GaussianMixture
from wfr_pde.targets.product import Product
from wfr_pde.targets.radial import Radial
from wfr_pde.targets.turned import turned

SAME = 1e-12  # of the largest: singular values below it are rounding of the parameters


def split(target: Target) -> Product:
    """Find the split of a distribution into independent blocks; see `Product.of`.

    Raises
    ------
    ValueError
        If no split is known.
    """
    if isinstance(target, Product):
        return target
    if type(target) is Gaussian:
        return Product([target])
    if type(target) is GaussianMixture:
        return along_subspace(target, coupled_subspace([target]))
    radial = Radial.of(target)
    if radial is None:
        raise ValueError(
            f"no split of {target!r} into independent blocks is known: give Product(factors, rotation, shift) where it "
            "is one; found are those of a GaussianMixture, and of what depends on |x| only"
        )
    return Product([radial])


def coupled_subspace(laws: Iterable[Target]) -> Array:
    """Return an orthonormal basis (d, r) of a subspace across which each Gaussian or mixture is a Gaussian.

    It is the smallest subspace that holds the differences of the components of each law, of means and of covariances,
    and that all covariances leave invariant. In its coordinates and those of its complement, every law is a product of
    a mixture and a Gaussian.

    Parameters
    ----------
    laws : Gaussians and GaussianMixtures
        Of one dimension d.

    Returns
    -------
    array (d, r)
        r = 0 if all laws are Gaussians.
    """
    ndim = 0
    matrices: list[Array] = []
    differences: list[Array] = []
    for law in laws:
        ndim = law.ndim
        mixture = isinstance(law, GaussianMixture)
        covariances = law.covariances if mixture else law.covariance[None]  # type: ignore[attr-defined]
        scale = float(np.abs(covariances).max())
        matrices.extend(np.unique(covariances / scale, axis=0))
        means = law.means if mixture else law.mean[None]  # type: ignore[attr-defined]
        apart = means[1:] - means[0]
        differences.append(apart.T / max(float(np.abs(apart).max(initial=0.0)), 1e-300))
        for other in covariances[1:]:
            differences.append((other - covariances[0]) / scale)
    basis = _orthonormal(np.concatenate(differences, axis=1), np.empty((ndim, 0)))
    while 0 < basis.shape[1] < ndim:
        wider = _orthonormal(np.concatenate([matrix @ basis for matrix in matrices], axis=1), basis)
        if wider.shape[1] == basis.shape[1]:
            break
        basis = wider
    return basis


def along_subspace(law: Target, basis: Array) -> Product:
    """Write a Gaussian or mixture as the product of its marginals along a subspace and across it.

    Parameters
    ----------
    law : Gaussian or GaussianMixture
    basis : array (d, r)
        Orthonormal; see `coupled_subspace`.

    Returns
    -------
    Product
        Of a law of dimension r and a Gaussian of dimension d - r; of one of them where the other has no dimension.

    Raises
    ------
    ValueError
        If the law is no such product.
    """
    ndim, r = basis.shape
    if r in (0, ndim):
        return Product([law])
    rotation = np.concatenate([basis, _complement(basis)], axis=1)
    inner = turned(law, rotation, np.zeros(ndim))
    if isinstance(inner, GaussianMixture):
        covariances, means = inner.covariances, inner.means
        first: Target = GaussianMixture(means[:, :r], inner.weights, covariances[:, :r, :r])
    else:
        covariances, means = inner.covariance[None], inner.mean[None]  # type: ignore[attr-defined]
        first = Gaussian(means[0, :r], covariances[0, :r, :r])
    scale = float(np.abs(covariances).max())
    across, coupling = covariances[:, r:, r:], float(np.abs(covariances[:, :r, r:]).max())
    spread = float(np.abs(means[:, r:] - means[0, r:]).max())
    unequal = float(np.abs(across - across[0]).max())
    if max(coupling, unequal) > 1e3 * SAME * scale or spread > 1e3 * SAME * (1 + float(np.abs(means).max())):
        raise ValueError(
            f"{law!r} does not split along {counted(r, 'direction')}: the covariance couples the blocks by "
            f"{coupling:.3g}, and across them the components differ by {max(spread, unequal):.3g}"
        )
    return Product([first, Gaussian(means[0, r:], across[0])], rotation)


def _orthonormal(columns: Array, basis: Array) -> Array:
    """Return the basis (d, r) with as many orthonormal columns more as others (d, n) add to its span."""
    for _ in range(2):  # twice, as rounding leaves a share of the basis in what is almost in its span
        columns = columns - basis @ (basis.T @ columns)
    vectors, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return np.concatenate([basis, vectors[:, sizes > SAME * max(1.0, len(columns))]], axis=1)


def _complement(basis: Array) -> Array:
    """Return an orthonormal basis (d, d - r) of what is orthogonal to a basis (d, r)."""
    vectors, _ = np.linalg.qr(basis, mode="complete")
    return np.asarray(vectors[:, basis.shape[1] :])
