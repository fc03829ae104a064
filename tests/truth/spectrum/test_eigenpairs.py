"""Eigenvalues and eigenvectors on one grid: each way to find them, multiplicities, failures; eigenfunctions."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.truth.spectrum import eigenpairs, shifted_inverse
from wfr_pde.truth.spectrum.chain import finite_volume_chain
from wfr_pde.truth.spectrum.eigenpairs import converged_modes, eigenfunctions, lowest_modes, refined, slowest_modes
from wfr_pde.truth.spectrum.shifted_inverse import inverse_of_shifted


def chain_of(target, grid, flux="scharfetter-gummel"):
    return finite_volume_chain(grid, grid.log_density(target, checked=False), flux)


def box(*shape, boundary="periodic"):
    """The chain of nothing but diffusion in a cube."""
    flat = wfr.Potential(" + ".join(f"0*{name}" for name in "xyz"[: len(shape)]))
    return chain_of(flat, wfr.Grid([0] * len(shape), [2 * np.pi] * len(shape), shape, boundary=boundary))


def test_conjugate_gradients_give_what_factors_give(monkeypatch):
    target = wfr.DoubleWell(2, stiffness=(4, 2), coupling=-1)
    chain = chain_of(target, wfr.Grid.covering(target, shape=(16, 20, 14), tail=1e-6))
    direct = lowest_modes(chain, 3)[0]
    monkeypatch.setattr(shifted_inverse, "DIRECT", 600)
    assert lowest_modes(chain, 3)[0] == pytest.approx(direct, rel=1e-11)


def test_a_rough_search_solves_roughly(monkeypatch):
    """The slowest mode to one per cent takes less than half of the work, and the known ones stay outside."""
    chain = box(12, 12, 12)
    monkeypatch.setattr(shifted_inverse, "DIRECT", 600)
    monkeypatch.setattr(shifted_inverse, "COARSEST", 100)
    solve, products = inverse_of_shifted(chain), []
    conjugate_gradients = shifted_inverse._conjugate_gradients

    def counted(matrix, precondition, right, solved):
        def counting(residual):
            products[-1] += 1
            return precondition(residual)

        return conjugate_gradients(matrix, counting, right, solved)

    monkeypatch.setattr(shifted_inverse, "_conjugate_gradients", counted)
    slowest = []
    for tolerance in (eigenpairs.ROUGHLY, eigenpairs.ACCURATE):
        products.append(0)
        slowest.append(converged_modes(solve, chain.root[:, None], 1, tolerance)[0][0])
    assert slowest[0] == pytest.approx(slowest[1], rel=eigenpairs.ROUGHLY)
    assert products[0] < 0.5 * products[1]


def test_lanczos_gives_what_all_modes_give(monkeypatch):
    target = wfr.DoubleWell(3.0)
    chain = chain_of(target, wfr.Grid.covering(target, shape=300))
    dense = lowest_modes(chain, 5)
    monkeypatch.setattr(eigenpairs, "DENSE", 0)
    lanczos = lowest_modes(chain, 5)
    assert lanczos[0] == pytest.approx(dense[0], rel=1e-11)
    assert np.abs(np.sum(lanczos[1] * dense[1], axis=0)) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(("shape", "count"), [((22, 22), 8), ((12, 12, 12), 6), ((12, 12, 12), 18), ((22, 22), 2)])
def test_multiplicities_of_four_six_and_twelve(monkeypatch, shape, count):
    """Of |k|² = 1, 2, ...; more modes than are wanted and to spare, too."""
    chain = box(*shape)
    dense = lowest_modes(chain, count)
    monkeypatch.setattr(eigenpairs, "DENSE", 0)
    values, vectors = lowest_modes(chain, count)
    assert values == pytest.approx(dense[0], rel=1e-11)
    assert vectors.T @ vectors == pytest.approx(np.eye(count), abs=1e-12)


@pytest.mark.parametrize("lost", [[0], [1, 2], [3], [0, 1, 2, 3]])
def test_modes_that_the_search_has_missed_are_found(lost):
    chain = box(22, 22)  # |k|² = 1 four times, 2 four times, 4 four times
    solve, root = inverse_of_shifted(chain), chain.root[:, None]
    slowness, vectors = (array[..., ::-1] for array in converged_modes(solve, root, 8, 0.0))
    others = [k for k in range(8) if k not in lost]
    found = slowest_modes(solve, root, len(others), (slowness[others], vectors[:, others]))
    missed = found[:, len(others) :]
    assert missed.shape[1] == len(lost)
    assert np.linalg.norm(vectors[:, :4].T @ missed, axis=0) == pytest.approx(1.0, abs=1e-10)
    assert slowest_modes(solve, root, 8, (slowness, vectors)) is vectors


def test_refined_eigenvalues_keep_digits_that_a_dense_solver_loses():
    target = wfr.CoshDoubleWell(1e-12)
    chain = chain_of(target, wfr.Grid.covering(target, shape=256))
    plain = np.linalg.eigvalsh(chain.matrix.toarray())[1]
    value = lowest_modes(chain, 2)[0][0]
    assert value == pytest.approx(1e-12, rel=0.01)  # order 2
    assert abs(plain - value) > 0.01 * value
    again = refined(chain, lowest_modes(chain, 4)[1], 2)[0][0]
    assert again == pytest.approx(value, rel=1e-9)


def test_no_convergence_is_an_error(monkeypatch):
    target = wfr.DoubleWell(1.0)
    chain = chain_of(target, wfr.Grid.covering(target, shape=512))
    monkeypatch.setattr(eigenpairs, "MAX_RESTARTS", 1)
    monkeypatch.setattr(eigenpairs, "ACCURATE", 0.0)
    with pytest.raises(wfr.NumericalError, match=r"beside \d known ones none did in 1 restarts on 512"):
        lowest_modes(chain, 3)


def test_modes_that_rounding_hides_beside_slower_ones_are_found(monkeypatch):
    """Three gaps of 1e-9 from four wells, and beside them eigenvalues of 9.5 eight times."""
    target = wfr.GaussianMixture([[3, 0], [0, 3], [-3, 0], [0, -3]], np.full(4, 0.25), 0.096)
    chain = chain_of(target, wfr.Grid.covering(target, shape=46))
    dense = np.linalg.eigvalsh(chain.matrix.toarray())[4:12]
    monkeypatch.setattr(eigenpairs, "ACCURATE", 0.0)
    values = lowest_modes(chain, 9)[0]
    assert values[:3] == pytest.approx([2.8e-9, 2.8e-9, 5.5e-9], rel=0.1)
    assert values[3:] == pytest.approx(dense[:6], rel=1e-11)


def test_modes_that_are_none_are_an_error(monkeypatch):
    target = wfr.DoubleWell(1.0)
    chain = chain_of(target, wfr.Grid.covering(target, shape=512))
    monkeypatch.setattr(eigenpairs, "CONVERGED", 0.0)
    with pytest.raises(wfr.NumericalError, match=r"did not converge: the residual of mode \d is .*e-1\d; use fewer"):
        lowest_modes(chain, 3)


def test_eigenfunctions_of_vectors_have_their_sign():
    target = wfr.Gaussian(0, 1)
    chain = chain_of(target, wfr.Grid.covering(target, shape=64))
    values, vectors = lowest_modes(chain, 3)
    same = eigenfunctions(chain, values, vectors), eigenfunctions(chain, values, -vectors)
    assert np.array_equal(*same)
    assert (same[0][:, 63] > 0).all()


def test_eigenfunctions_where_there_is_no_mass():
    """A box of 20 standard deviations: sqrt(pi) is e^-100 at its ends."""
    target, grid = wfr.Gaussian(0, 1), wfr.Grid(-20, 20, 1024)
    phi = wfr.spectrum(target, grid, 3).eigenfunction.values
    x = grid.axes[0].centres
    inner = slice(4, -4)  # the walls make the slope zero
    assert phi[1, inner] == pytest.approx(x[inner], rel=1e-3)  # order 2 in V' dx = 0.8
    assert phi[2, inner] == pytest.approx((x[inner] ** 2 - 1) / np.sqrt(2), rel=1e-3, abs=1e-3)


def test_eigenfunctions_are_orthonormal():
    target = wfr.DoubleWell(2, stiffness=(4,), coupling=0.5)
    grid = wfr.Grid.covering(target, shape=(48, 40))
    phi = wfr.spectrum(target, grid, 5).eigenfunction.values.reshape(5, -1)
    mass = np.exp(wfr.KL(target).log_equilibrium(grid)).ravel() * grid.cell_volume
    assert (phi * mass) @ phi.T == pytest.approx(np.eye(5), abs=1e-12)
