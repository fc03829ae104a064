"""What is particular to each target: values, errors, far tails, fallbacks."""

import math
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr

from wfr_pde import FisherRao, Grid, solve
from wfr_pde.problems.data import galaxies
from wfr_pde.targets import (
    Banana,
    CoshDoubleWell,
    DoubleWell,
    FourModes,
    Funnel,
    Gaussian,
    GaussianMixture,
    GeometricMean,
    GeometricPath,
    GridTarget,
    Posterior,
    Potential,
    Ring,
    Target,
    differentiation,
)


def test_importing_targets_loads_nothing_heavy():
    code = (
        "import sys, wfr_pde.targets\n"
        "print([m for m in ('sympy', 'xarray', 'matplotlib', 'numba', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestGaussian:
    def test_the_three_covariances_agree(self):
        points = np.random.default_rng(0).normal(size=(10, 2))
        forms = [Gaussian([1, 2], c) for c in (0.5, [0.5, 0.5], [[0.5, 0], [0, 0.5]])]
        for form in forms:
            assert form.covariance.tolist() == [[0.5, 0.0], [0.0, 0.5]]
            np.testing.assert_array_equal(form.log_density(points), forms[0].log_density(points))

    def test_log_density_is_minus_half_the_quadratic_form(self):
        target = Gaussian([1, -1], [[2, 0.5], [0.5, 1]])
        point = np.array([3.0, 0.5])
        form = (point - target.mean) @ np.linalg.inv(target.covariance) @ (point - target.mean)
        assert target.log_density(point) == pytest.approx(-form / 2, rel=1e-14)
        np.testing.assert_allclose(target.precision, np.linalg.inv(target.covariance), rtol=1e-14)

    def test_a_number_is_one_dimensional(self):
        target = Gaussian(mean=-2, covariance=4)
        assert target.ndim == 1
        assert target.log_density([2.0]) == -2.0
        assert target.log_normaliser == pytest.approx(np.log(np.sqrt(2 * np.pi * 4)), rel=1e-15)

    def test_repr(self):
        expected = "Gaussian(mean=[-2.0, 0.0], covariance=[[0.16, 0.0], [0.0, 0.16]])"
        assert repr(Gaussian([-2, 0], 0.16)) == expected

    def test_box_holds_exactly_the_tail_in_one_dimension(self):
        from scipy.special import ndtr

        for tail in (1e-2, 1e-12, 1e-200):
            lower, upper = Gaussian(3, 4).box(tail)
            assert 2 * ndtr((lower[0] - 3) / 2) == pytest.approx(tail, rel=1e-9)
            assert upper[0] - 3 == pytest.approx(3 - lower[0], rel=1e-14)

    def test_diagonal_covariances_have_no_cross_terms(self):
        # a large coordinate does not spoil the small one
        target = Gaussian([0, 0], [1e12, 1e-12])
        np.testing.assert_array_equal(target.score([1e6, 1e-6]), [-1e-6, -1e6])

    def test_badly_scaled_axes_are_no_reason_to_refuse(self):
        target = Gaussian([0, 0], [[1e12, 0.5], [0.5, 1e-12]])
        assert target.log_density([1e6, 0]) == pytest.approx(-0.5 / 0.75, rel=1e-12)

    def test_arrays_are_copied_and_read_only(self):
        mean = np.zeros(2)
        target = Gaussian(mean, 1)
        mean[0] = 5
        assert target.mean[0] == 0
        with pytest.raises(ValueError, match="read-only"):
            target.mean[0] = 1

    @pytest.mark.parametrize(
        ("mean", "covariance", "message"),
        [
            ([0, 0], [[1, 2], [2, 1]], "smallest eigenvalue is -1"),
            ([0, 0], [[1, 1], [1, 1]], "positive definite"),
            ([0, 0], [[1, 0.5], [0.2, 1]], r"symmetric.*0.5 and 0.2: use \(C \+ C.T\) / 2"),
            (0, -1, "positive, got -1.0: it holds variances"),
            (0, 0, "positive"),
            ([0, 0], [1, 0], "positive"),
            ([0, 0], [1, 2, 3], r"shape \(3,\), but the mean has 2 components"),
            (0, np.eye(2), "has 1 component:"),
            ([0, np.nan], 1, r"mean\[1\] is nan"),
            (0, np.inf, "covariance is inf"),
            ([[0]], 1, "mean must be a number or have shape"),
            ([], 1, "mean must be a number or have shape"),
            ("zero", 1, "mean must be an array of real numbers, got 'zero'"),
            ([[0, 1], [2]], 1, "mean must be an array of real numbers"),
            (1j, 1, "mean must be an array of real numbers"),
        ],
    )
    def test_errors(self, mean, covariance, message):
        with pytest.raises(ValueError, match=message):
            Gaussian(mean, covariance)


class TestGaussianMixture:
    def test_is_the_sum_of_its_components(self):
        target = GaussianMixture([[0, 0], [1, 1]], [1, 3], [[1, 2], [0.5, 0.5]])
        np.testing.assert_array_equal(target.weights, [0.25, 0.75])
        points = np.random.default_rng(0).normal(size=(10, 2))
        parts = [np.exp(g.log_density(points) - g.log_normaliser) for g in target.components]
        expected = np.log(0.25 * parts[0] + 0.75 * parts[1])
        np.testing.assert_allclose(target.log_density(points), expected, rtol=1e-13)

    def test_thousands_of_nats_away(self):
        target = GaussianMixture([-2, 2], [0.3, 0.7], 0.01)
        x = np.array([[-50.0], [50.0], [1e4]])
        log_density, score = target.log_density(x), target.score(x)
        assert log_density[0] == pytest.approx(np.log(0.3 / np.sqrt(2 * np.pi * 0.01)) - 48**2 / 0.02, rel=1e-14)
        np.testing.assert_allclose(score[:, 0], [4800, -4800, -(1e4 - 2) / 0.01], rtol=1e-14)

    def test_the_leading_axis_is_the_component(self):
        np.testing.assert_array_equal(
            GaussianMixture([[0, 0], [1, 1]], [1, 1], [2, 3]).covariances, [2 * np.eye(2), 3 * np.eye(2)]
        )
        diagonals = GaussianMixture([[0, 0], [1, 1]], [1, 1], [[2, 3], [4, 5]])
        np.testing.assert_array_equal(diagonals.covariances, [np.diag([2, 3]), np.diag([4, 5])])
        assert diagonals.component(1).covariance.tolist() == [[4, 0], [0, 5]]

    def test_many_points_are_taken_in_blocks(self, monkeypatch):
        from wfr_pde.targets import arguments

        target, points = FourModes(), np.random.default_rng(0).normal(size=(30, 7, 2))
        log_density, score = target.log_density(points), target.score(points)
        monkeypatch.setattr(arguments, "_BLOCK", 64)
        np.testing.assert_array_equal(target.log_density(points), log_density)
        np.testing.assert_array_equal(target.score(points), score)

    @pytest.mark.parametrize(
        ("weights", "covariances", "message"),
        [
            ([1, 0], 1, r"weights\[1\] is 0.0: leave such a component out"),
            ([1, -1], 1, "weights must be positive"),
            ([1, np.nan], 1, r"weights\[1\] is nan"),
            ([1], 1, "weights must be one for each of the means, 2, but"),
            ([1, 1], [1, 2, 3], r"give a scalar, or shape \(2,\), \(2, 3\) or \(2, 3, 3\)"),
            ([1, 1], [1, -2], r"covariances\[1\] must be positive, got -2"),
            ([1, 1], np.eye(3), "leading axis is the component"),
        ],
    )
    def test_errors(self, weights, covariances, message):
        with pytest.raises(ValueError, match=message):
            GaussianMixture([[0, 0, 0], [1, 1, 1]], weights, covariances)

    def test_four_modes(self):
        target = FourModes()
        assert target.means.tolist() == [[0, 8], [0, 2], [-3, 5], [3, 5]]
        assert target.component(0).covariance.tolist() == [[1.2, 0], [0, 0.01]]
        assert target.component(3).covariance.tolist() == [[0.01, 0], [0, 2]]
        assert repr(target) == "FourModes()"


class TestDoubleWell:
    def test_is_the_potential_it_says(self):
        target = DoubleWell(2, stiffness=(4,), coupling=0.5)
        x, y = 0.3, -0.7
        expected = -(2 * (x**2 - 1) ** 2 + 2 * y**2 + x * y / 2)
        assert target.log_density([x, y]) == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize("height", [1e-3, 1.0, 50.0, 3000.0])
    @pytest.mark.parametrize("coupling", [0.0, 2.0])
    def test_log_normaliser(self, height, coupling):
        # the marginal in x by the midpoint rule, the Gaussian direction by hand
        target = DoubleWell(height, width=1.5, stiffness=(3,), coupling=coupling)
        x, dx = np.linspace(-90, 90, 1_000_001), 1.8e-4
        exponent = -height * ((x / 1.5) ** 2 - 1) ** 2 + coupling**2 * x**2 / 6
        top = exponent.max()
        expected = top + np.log(np.sum(np.exp(exponent - top)) * dx) + 0.5 * np.log(2 * np.pi / 3)
        assert target.log_normaliser == pytest.approx(expected, rel=1e-12, abs=1e-12)

    def test_repr(self):
        expected = "DoubleWell(height=2.0, width=1.0, stiffness=(4.0,), coupling=0.5)"
        assert repr(DoubleWell(2, stiffness=[4], coupling=0.5)) == expected

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"height": 0}, "height must be positive, got 0.0"),
            ({"height": 1, "width": -1}, "width must be positive"),
            ({"height": 1, "stiffness": (1, 0)}, "stiffness must be positive"),
            ({"height": 1, "coupling": 1}, r"coupling=1.0 needs a second direction"),
            ({"height": [1, 2]}, "height must be a single number"),
        ],
    )
    def test_errors(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            DoubleWell(**arguments)


class TestCoshDoubleWell:
    @pytest.mark.parametrize(("gap", "k"), [(1.0, 1.0), (1e-6, 0.5), (7.0, 2.0), (1e-12, 1.0)])
    def test_barrier_and_wells(self, gap, k):
        target = CoshDoubleWell(gap, k)
        at = target.log_density(np.array([[0.0], *target.wells[:, None]]))
        assert target.barrier == pytest.approx(at[1] - at[0], abs=1e-12)  # logarithms of size 30
        assert np.abs(target.score(target.wells[:, None])).max() < 1e-12 * k / math.sqrt(min(gap, 1))
        assert at[1] > target.log_density(target.wells[:, None] * 1.001)[0]

    def test_one_well(self):
        target = CoshDoubleWell(2.0)
        assert target.barrier == 0
        assert target.wells.tolist() == [0.0]

    @pytest.mark.parametrize(("gap", "k"), [(1e-12, 1.0), (0.3, 2.0), (500.0, 1.0)])
    def test_log_normaliser(self, gap, k):
        # trapezoidal rule on a function that falls like exp(-c cosh): exact to rounding
        target = CoshDoubleWell(gap, k)
        half = target.box(1e-16)[1][0]
        x, dx = np.linspace(-half, half, 4001, retstep=True)
        log_density = target.log_density(x[:, None])
        expected = log_density.max() + math.log(np.sum(np.exp(log_density - log_density.max())) * dx)
        assert target.log_normaliser == pytest.approx(expected, rel=1e-13, abs=1e-13)

    def test_tanh_is_an_eigenfunction(self):
        """L tanh(kx) = -gap tanh(kx), with L f = f'' - V' f'."""
        target = CoshDoubleWell(0.3, 1.7)
        x = np.linspace(-1.5, 1.5, 31)
        tanh = np.tanh(1.7 * x)
        first, second = 1.7 * (1 - tanh**2), -2 * 1.7**2 * tanh * (1 - tanh**2)
        assert second + target.score(x[:, None])[:, 0] * first == pytest.approx(-0.3 * tanh, abs=1e-13)

    def test_far_away_the_density_is_zero(self):
        target = CoshDoubleWell(1e-3)
        assert target.log_density([[300.0], [400.0], [-1e308]]).tolist() == [
            pytest.approx(-0.25e-3 * math.cosh(600.0)), -math.inf, -math.inf,
        ]  # fmt: skip

    @pytest.mark.parametrize("tail", [1e-3, 1e-12])
    def test_box_is_tight(self, tail):
        target = CoshDoubleWell(1e-4)
        half = target.box(tail)[1][0]
        x = np.linspace(half, half + 3, 30001)  # pi falls like exp(-exp): the rest is nothing
        beyond = 2 * np.trapezoid(np.exp(target.log_density(x[:, None]) - target.log_normaliser), x)
        assert 0.99 * tail < beyond <= tail * (1 + 1e-5)  # of the trapezoidal rule

    @pytest.mark.parametrize(("arguments", "message"), [((0,), "gap must be positive"), ((1, -1), "k must be")])
    def test_errors(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            CoshDoubleWell(*arguments)


class TestOtherShapes:
    def test_banana_is_its_formula(self):
        x, y, s2 = 0.4, 1.1, 3.0
        expected = -s2 * (y - x**2) ** 2 / 2 - (1 - x) ** 2 / (2 * s2)
        assert Banana(s2).log_density([x, y]) == pytest.approx(expected, rel=1e-15)

    def test_ring_score_at_the_origin_is_zero(self):
        assert Ring(ndim=3).score([0, 0, 0]).tolist() == [0, 0, 0]

    @pytest.mark.parametrize("ndim", [1, 2, 3, 4, 7])
    @pytest.mark.parametrize("width", [0.01, 1.0, 30.0])
    def test_ring_normaliser_by_radial_quadrature(self, ndim, width):
        from scipy.integrate import quad
        from scipy.special import gamma

        peak = [max(0.0, 2 - 3 * width), 2 + 3 * width]
        radial, _ = quad(
            lambda r: r ** (ndim - 1) * np.exp(-(((r - 2) / width) ** 2)),
            max(0.0, 2 - 12 * width),
            2 + 12 * width,
            points=peak,
            epsabs=0,
            epsrel=1e-12,
            limit=200,
        )
        area = 2 * np.pi ** (ndim / 2) / gamma(ndim / 2)
        assert Ring(2, width, ndim).log_normaliser == pytest.approx(np.log(area * radial), abs=1e-11)

    def test_ring_box_is_tight(self):
        # the radius is nearly Gaussian: half a millionth beyond 5 + 4.9 standard deviations
        _, upper = Ring(5, 0.25).box(5e-7)
        assert upper[0] == pytest.approx(5 + 0.25 / np.sqrt(2) * 4.9, abs=0.05)

    def test_funnel_far_down_its_neck(self):
        target = Funnel()
        assert target.log_density([-100.0, 0.0]) == pytest.approx(-(100**2) / 18 + 50)
        points = np.array([[-5000.0, 0.0], [-5000.0, 1.0], [5000.0, 1e300]])
        assert not np.any(np.isnan(target.log_density(points)))
        assert target.log_density(points)[1] == -np.inf

    def test_funnel_box_is_a_quantile(self):
        target = Funnel(1.0)
        _, upper = target.box(0.02)
        samples = target.sample(200_000, rng=0)
        for axis in (0, 1):
            outside = np.mean(np.abs(samples[:, axis]) > upper[axis])
            assert outside == pytest.approx(0.01, abs=5 * np.sqrt(0.01 / 200_000))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Banana(0), "variance must be positive"),
            (lambda: Ring(radius=-1), "radius must be positive"),
            (lambda: Ring(width=0), "width must be positive"),
            (lambda: Ring(ndim=0), "ndim must be a whole number of at least 1, got 0"),
            (lambda: Ring(ndim=2.5), "ndim must be a whole number of at least 1, got 2.5"),
            (lambda: Funnel(ndim=1), "at least 2, got 1"),
            (lambda: Funnel(variance=np.inf), "variance must be finite"),
        ],
    )
    def test_errors(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()

    @pytest.mark.parametrize("target", [DoubleWell(1), Potential(lambda x: x**2)])
    def test_no_exact_sampler(self, target):
        with pytest.raises(ValueError, match=r"no exact sampler: put it on a grid"):
            target.sample(3)
        assert target.moments() is None


class TestDifferentiation:
    def test_complex_steps_are_exact_to_rounding(self):
        x = np.linspace(0.1, 3, 50)[:, None]
        gradient = differentiation.gradient(lambda p: np.sin(p[..., 0]) * np.exp(p[..., 0]), x)
        expected = (np.sin(x) + np.cos(x)) * np.exp(x)
        np.testing.assert_allclose(gradient, expected, rtol=1e-14, atol=1e-14)

    @pytest.mark.parametrize(
        ("function", "derivative"),
        [
            (np.abs, np.sign),
            (lambda x: np.logaddexp(x, -x), np.tanh),
            (
                lambda x: np.where(x.real > 0, x.real**2, -(np.abs(x) ** 3)),
                lambda x: np.where(x > 0, 2 * x, -3 * x * abs(x)),
            ),
            (lambda x: np.array(x, dtype=float) ** 2, lambda x: 2 * x),
            (lambda x: np.hypot(x, 1), lambda x: x / np.hypot(x, 1)),
        ],
    )
    def test_falls_back_to_differences(self, function, derivative):
        x = np.linspace(-3.05, 3.05, 101)
        x = x[x != 0]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gradient = differentiation.gradient(lambda p: function(p[..., 0]), x[:, None])
        np.testing.assert_allclose(gradient[:, 0], derivative(x), atol=1e-9)

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
    @pytest.mark.parametrize("shift", [0.0, 1e3])
    def test_differences_find_their_step(self, scale, shift):
        u = np.linspace(-3, 3, 31)
        points = (shift + scale * u)[:, None]
        gradient, error = differentiation.differences(lambda p: np.cos((p[..., 0] - shift) / scale), points)
        # the shifted abscissae are rounded to 1e-13: relative to the scale, that is what can be had
        u = (points[:, 0] - shift) / scale
        tolerance = 1e-9 + 1e-12 * shift / scale
        np.testing.assert_allclose(gradient[:, 0] * scale, -np.sin(u), atol=tolerance)
        assert np.all(error * scale < 1e3 * tolerance)

    def test_where_the_function_is_infinite_the_gradient_is_nan(self):
        def function(points):
            return np.where(points[..., 0] > 0, -np.abs(points[..., 0]), -np.inf)

        gradient = differentiation.gradient(function, np.array([[-1.0], [1.0]]))
        assert np.isnan(gradient[0, 0])
        assert gradient[1, 0] == pytest.approx(-1, abs=1e-9)

    def test_check_gradient_names_point_and_values(self):
        points = np.array([[1.0, 2.0]])
        with pytest.raises(ValueError, match=r"at the point \[1.0, 2.0\]: it is \[2.0, 5.0\], but .* \[2.0.*, 4.0"):
            differentiation.check_gradient(lambda p: np.sum(p**2, -1), lambda p: 2 * p + [0, 1], points)
        differentiation.check_gradient(lambda p: np.sum(p**2, -1), lambda p: 2 * p, points)

    def test_a_subclass_needs_only_its_log_density(self):
        class Quartic(Target):
            ndim = 1

            def log_density(self, points):
                return -(self.as_points(points)[..., 0] ** 4)

        np.testing.assert_allclose(Quartic().score([[1.0], [2.0]]), [[-4], [-32]], rtol=1e-14)


class TestPotential:
    def test_dimension_from_the_signature(self):
        assert Potential(lambda x: x**2).ndim == 1
        assert Potential(lambda x, y, z: x**2 + y**2 + z**2).ndim == 3
        assert Potential(lambda x, y, k=2: x**2 + k * y**2).ndim == 2
        assert Potential(lambda *x: sum(c**2 for c in x), ndim=4).ndim == 4

    def test_one_number_for_many_points_is_refused(self):
        for V in (lambda x: np.sum(x**2), lambda x: 3):
            with pytest.raises(ValueError, match="V returned one number for 4 points.* write 0 \\* x"):
                Potential(V).log_density(np.ones((4, 1)))
        assert Potential(lambda x: np.sum(x**2)).log_density(np.ones((1, 1))).tolist() == [-1.0]
        assert Potential("3", ndim=1).log_density(np.ones((4, 1))).tolist() == [-3.0] * 4

    def test_nan_is_passed_on_quietly(self):
        assert np.isnan(Potential(lambda x: np.log(x)).log_density([-1.0]))

    def test_a_wrong_gradient_is_found_at_its_first_use(self):
        target = Potential(lambda x, y: x**2 + y**4, gradient=lambda x, y: (2 * x, 3 * y**3))
        with pytest.raises(ValueError, match=r"gradient given is wrong at the point \[1.0, 1.0\]"):
            target.score([1.0, 1.0])

    def test_support_is_the_box(self):
        target = Potential("x**2 + y**2", support=(-3, [4, 5]))
        np.testing.assert_array_equal(target.box(), [[-3, -3], [4, 5]])

    def test_errors_of_the_function_carry_a_note(self):
        def broken(x):
            raise KeyError("no such thing")

        with pytest.raises(KeyError) as info:
            Potential(broken).log_density([1.0])
        assert "raised by V of Potential(" in info.value.__notes__[0]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Potential(lambda *x: 0), r"any number of coordinates \(\*args\), or does not tell: give ndim"),
            (lambda: Potential(lambda: 0), "no positional parameter"),
            (lambda: Potential(3), "V must be a function of the coordinates or an expression, got 3"),
            (lambda: Potential(lambda x: x, ndim=0), "ndim must be a whole number of at least 1"),
            (lambda: Potential("x", gradient=2), "gradient must be a function"),
            (lambda: Potential("x", support=3), "support must be a pair"),
            (lambda: Potential("x", support=(2, 1)), "empty along axis 0: lower 2.0 is not below upper 1.0"),
            (lambda: Potential("x", support=([1, 2], [2, 3])), "one number per axis"),
        ],
    )
    def test_constructor_errors(self, make, message):
        with pytest.raises((TypeError, ValueError), match=message):
            make()

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (Potential(lambda x, y: np.zeros(7)), r"shape \(4,\), but it returned shape \(7,\)"),
            (Potential(lambda x, y: x[:, None]), r"returned shape \(4, 1\)"),
            (Potential(lambda x, y: "a"), "real numbers"),
            (Potential(lambda x, y: 1j * x), "real numbers, but returned an array of type complex"),
        ],
    )
    def test_wrong_values(self, target, message):
        with pytest.raises(ValueError, match=message):
            target.log_density(np.zeros((4, 2)))

    @pytest.mark.parametrize(
        ("gradient", "message"),
        [
            (lambda x, y: (x,), "must return 2 arrays, one per coordinate, but returned 1 part"),
            (lambda x, y: 3.0, "but returned float"),
            (lambda x, y: (x, np.zeros(9)), r"gradient\[1\] must return one value per point"),
        ],
    )
    def test_wrong_gradients(self, gradient, message):
        with pytest.raises(ValueError, match=message):
            Potential(lambda x, y: x**2, gradient=gradient).score(np.zeros((4, 2)))

    def test_text_survives_pickling(self):
        target = Potential("x**4 + y**2")
        again = pickle.loads(pickle.dumps(target))
        assert again.score([1.0, 2.0]).tolist() == target.score([1.0, 2.0]).tolist() == [-4, -4]

    def test_repr(self):
        assert repr(Potential("x**2", support=(-1, 1))) == "Potential(V='x**2', ndim=1, support=([-1.0], [1.0]))"
        assert "test_targets" in repr(Potential(lambda x: x))


class TestGridTarget:
    @staticmethod
    def centres(n=60):
        edges = np.linspace(-4, 4, n + 1)
        return (edges[1:] + edges[:-1]) / 2

    def test_is_smooth_between_the_cells(self):
        x = self.centres()
        target = GridTarget(np.exp(-np.cosh(x)), -4, 4)
        points = np.linspace(-3, 3, 101)[:, None]
        # O(dx^6) = 5e-6 times the sixth derivative over its constant
        np.testing.assert_allclose(target.log_density(points), -np.cosh(points[:, 0]), atol=1e-6)
        np.testing.assert_allclose(target.score(points), -np.sinh(points), atol=1e-5)

    def test_outside_the_box_there_is_nothing(self):
        target = GridTarget(np.ones(8), 0, 1)
        assert target.log_density([[-0.1], [0.5], [1.1]]).tolist() == [-np.inf, 0, -np.inf]
        assert np.isnan(target.score([2.0]))
        np.testing.assert_array_equal(target.box(), [[0], [1]])

    def test_periodic_axes_wrap(self):
        edges = np.linspace(0, 2 * np.pi, 41)
        x = (edges[1:] + edges[:-1]) / 2
        target = GridTarget(np.sin(x), 0, 2 * np.pi, log=True, periodic=True)
        points = np.array([[0.0], [2 * np.pi], [-1.0], [20.0]])
        np.testing.assert_allclose(target.log_density(points), np.sin(points[:, 0]), atol=1e-6)

    def test_hundreds_of_nats_as_logs(self):
        x = self.centres()
        target = GridTarget(-200 * x**2, -4, 4, log=True)
        np.testing.assert_allclose(target.log_density([3.33]), -200 * 3.33**2, rtol=1e-12)

    @pytest.mark.parametrize("name", ["log_density", "density"])
    def test_from_a_dataarray(self, name):
        x, y = self.centres(40), self.centres(30) / 2 + 1
        logs = -(x[:, None] ** 2) - y**2 / 3
        array = xr.DataArray(logs if name == "log_density" else np.exp(logs), {"x": x, "y": y}, name=name)
        target = GridTarget(array)
        np.testing.assert_allclose(target.box(), [[-4, -1], [4, 3]], atol=1e-12)
        assert target.log_density([1.0, 0.5]) == pytest.approx(-1 - 0.25 / 3, abs=1e-10)

    def test_from_graded_coordinates(self):
        x = np.geomspace(1, 100, 200)
        y = np.sinh(np.linspace(-3, 3, 90))
        logs = -((np.log(x)[:, None] - 2) ** 2) - y**2 / 3
        array = xr.DataArray(logs, {"x": x, "y": y}, name="log_density")
        target = GridTarget(array)
        points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
        np.testing.assert_allclose(target.log_density(points), logs, rtol=1e-12, atol=1e-12)
        # half a step outside the first and last centre
        np.testing.assert_allclose(target.box()[0], [x[0] - (x[1] - x[0]) / 2, y[0] - (y[1] - y[0]) / 2])
        between = np.array([3.21, -0.7])
        exact = -((np.log(3.21) - 2) ** 2) - 0.49 / 3
        assert target.log_density(between) == pytest.approx(exact, abs=1e-9)  # O(dx^6), dx/x = 0.023
        np.testing.assert_allclose(target.score(between), [-2 * (np.log(3.21) - 2) / 3.21, 1.4 / 3], atol=1e-7)
        assert repr(target) != repr(GridTarget(array.assign_coords(x=x**1.01 / x[-1] ** 0.01)))

    def test_from_a_dataset_with_its_edges_and_boundary(self):
        grid = Grid([0, 0], [2 * np.pi, 9], (48, 90), boundary=("periodic", "no-flux"), max_cut=1,
                    grading=(lambda x: 1.5 + np.cos(x), lambda y: 1 / (1 + y)))  # fmt: skip
        ds = solve(Potential("sin(x) + y"), FisherRao(), grid.density(Potential("cos(x) + y")), [0, 1], 1)
        target = GridTarget(ds.isel(t=-1))
        np.testing.assert_array_equal(target.box(), [grid.lower, grid.upper])
        assert target.periodic == (True, False)
        values = target.log_density(grid.points())
        np.testing.assert_allclose(values, ds["log_density"].values[-1], rtol=1e-13, atol=1e-13)
        assert target.log_density([-0.1, 3.0]) == pytest.approx(target.log_density([2 * np.pi - 0.1, 3.0]))

    @pytest.mark.parametrize(
        ("values", "options", "message"),
        [
            (
                [1, 0, 1],
                {},
                r"positive and finite densities, but the value at \[0.5\] \(cell \(1,\)\) is 0.0: give log",
            ),
            ([1, -2, 1], {}, "is -2.0"),
            ([1, np.nan, 1], {"log": True}, "finite log-densities, but the value at .* is nan"),
            ([1, -np.inf, 1], {"log": True}, "is -inf"),
            ([1], {}, "at least two cells"),
            (3.0, {}, "at least two cells"),
            ([1, 1], {"lower": None}, "give lower and upper"),
            ([1, 1], {"lower": 2}, "empty along axis 0"),
            (xr.DataArray([1.0, 1], {"x": [0, 1]}), {}, "leave out lower and upper"),
            (xr.DataArray([1.0, 1], {"x": [1, 0]}), {"lower": None, "upper": None}, r"'x' must rise, .*sortby\('x'\)"),
            (xr.DataArray([1.0, 1, 1], {"x": [0, 1, 1]}), {"lower": None, "upper": None}, "without doubles"),
            (xr.DataArray([1.0, 1, 1], {"x": [0, 1, np.nan]}), {"lower": None, "upper": None}, "'x' must rise"),
            (xr.Dataset({"kl": 1.0}), {"lower": None, "upper": None}, "needs the variable log_density"),
            (
                xr.Dataset({"log_density": (("t", "x"), np.zeros((2, 3)))}),
                {"lower": None, "upper": None},
                r"one frame of a Dataset: give ds.isel\(t=-1\)",
            ),
            (
                xr.DataArray([1.0, 1], dims="x"),
                {"lower": None, "upper": None},
                "at least two cells with coordinates",
            ),
        ],
    )
    def test_errors(self, values, options, message):
        with pytest.raises(ValueError, match=message):
            GridTarget(values, **{"lower": 0, "upper": 1, **options})


class TestPosterior:
    @staticmethod
    def conjugate(n=50, **options):
        data = np.random.default_rng(0).normal(2, 1, n)
        return Posterior(Gaussian(0, 4), lambda m, y: -((y - m) ** 2) / 2, data, **options)

    def test_conjugate_gaussian(self):
        target = self.conjugate()
        precision = 1 / 4 + 50
        mean = target.data.sum() / precision
        x = np.linspace(0, 4, 9)[:, None]
        shifted = target.log_density(x) - target.log_density([mean])
        np.testing.assert_allclose(shifted, -precision * (x[:, 0] - mean) ** 2 / 2, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(target.score(x), -precision * (x - mean), rtol=1e-11)

    def test_blocks_change_nothing(self, monkeypatch):
        from wfr_pde.targets import arguments

        target, x = self.conjugate(), np.linspace(0, 4, 30).reshape(5, 6, 1)
        whole = target.log_density(x)
        monkeypatch.setattr(arguments, "_BLOCK", 200)
        np.testing.assert_array_equal(target.log_density(x), whole)

    def test_galaxies(self):
        velocities = galaxies()
        assert velocities.shape == (82,)
        assert velocities[0] == 9.172
        assert velocities.mean() == pytest.approx(20.83, abs=0.01)

        def log_likelihood(m1, m2, y):
            return np.logaddexp(-((y - m1) ** 2) / 18, -((y - m2) ** 2) / 18)

        target = Posterior(Gaussian([21, 21], 100), log_likelihood, velocities)
        # the labels can be exchanged
        assert target.log_density([19.0, 23.0]) == pytest.approx(target.log_density([23.0, 19.0]), rel=1e-14)

    @pytest.mark.parametrize(
        ("likelihood", "data", "message"),
        [
            (lambda m, y: 0, [1.0, np.nan], r"data\[1\] is nan"),
            (lambda m, y: 0, [], "at least one observation"),
            (lambda m, y: 0, 3.0, "at least one observation"),
            ("m", [1.0], "log_likelihood must be a function"),
        ],
    )
    def test_constructor_errors(self, likelihood, data, message):
        with pytest.raises((TypeError, ValueError), match=message):
            Posterior(Gaussian(0, 1), likelihood, data)

    @pytest.mark.parametrize("likelihood", [lambda m, y: np.sum(y - m, -1), lambda m, y: 0.0, lambda m, y: y])
    def test_one_value_per_datum(self, likelihood):
        target = Posterior(Gaussian(0, 1), likelihood, [1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match=r"of each datum: .* has to be of shape \(4, 3\), got"):
            target.log_density(np.zeros((4, 1)))

    def test_the_prior_is_a_target(self):
        with pytest.raises(TypeError, match="prior must be a Target .*, got 1"):
            Posterior(1, lambda m, y: y, [1.0])


class TestGeometricPath:
    start, end = Gaussian([0, 0], [1, 2]), Gaussian([3, -1], [[1, 0.5], [0.5, 1]])

    def test_between_gaussians_it_is_a_gaussian(self):
        path = GeometricPath(self.start, self.end)
        assert path.moving
        points = np.random.default_rng(0).normal(size=(5, 2))
        for t in (0.0, 0.3, 2.0, 100.0):
            frozen = path.at(t)
            assert isinstance(frozen, Gaussian)
            general = GeometricMean(self.start, self.end, 1 - np.exp(-t))
            difference = frozen.log_density(points) - general.log_density(points)
            np.testing.assert_allclose(difference - difference[0], 0, atol=1e-12)
            np.testing.assert_allclose(frozen.score(points), general.score(points), rtol=1e-11, atol=1e-12)

    def test_schedule(self):
        path = GeometricPath(Banana(), self.end, schedule=lambda t: t / 4)
        x = [0.2, 0.1]
        expected = 0.75 * Banana().log_density(x) + 0.25 * self.end.log_density(x)
        assert path.at(1).log_density(x) == pytest.approx(expected, rel=1e-15)

    def test_an_end_of_weight_zero_does_not_matter_where_it_is_infinite(self):
        walled = GridTarget(np.ones(8), 0, 1)
        path = GeometricPath(walled, Gaussian(0, 1), schedule=lambda t: t)
        assert path.at(1.0).log_density([5.0]) == -12.5
        assert path.at(1.0).score([5.0]) == -5
        assert path.at(0.5).log_density([5.0]) == -np.inf
        assert GeometricPath(Gaussian(0, 1), walled, schedule=lambda t: t).at(0.0).log_density([5.0]) == -12.5

    def test_box_holds_both_ends(self):
        lower, upper = GeometricPath(Gaussian(0, 1), GaussianMixture([10, 20], [1, 1], 1)).box(1e-6)
        assert lower < -4
        assert upper > 24

    def test_box_follows_the_means_of_correlated_gaussians(self):
        start = Gaussian([-10, 0], [[1, 0.99], [0.99, 1]])
        end = Gaussian([10, 0], [[1, -0.99], [-0.99, 1]])
        path = GeometricPath(start, end)
        lower, upper = path.box(1e-3)
        middle = path.at(np.log(2)).mean
        assert np.all((lower < middle) & (middle < upper))

    def test_it_has_no_density_of_its_own(self):
        path = GeometricPath(self.start, self.end)
        for call in (lambda: path.log_density([0, 0]), lambda: path.score([0, 0]), lambda: path.sample(3)):
            with pytest.raises(ValueError, match=r"use path.at\(t\)"):
                call()

    @pytest.mark.parametrize(("value", "spelled"), [(1.5, "1.5"), (-0.1, "-0.1"), (np.nan, "nan")])
    def test_schedules_that_leave_the_interval(self, value, spelled):
        with pytest.raises(ValueError, match=rf"schedule\(2.0\) is {spelled}, but a weight lies between 0"):
            GeometricPath(self.start, self.end, schedule=lambda t: value).at(2.0)

    def test_errors(self):
        with pytest.raises(ValueError, match="start is 1-dimensional, but target is 2-dimensional"):
            GeometricPath(Gaussian(0, 1), self.end)
        with pytest.raises(ValueError, match="start must be a target that does not move"):
            GeometricPath(GeometricPath(self.start, self.end), self.end)
        with pytest.raises(TypeError, match="schedule must be a function"):
            GeometricPath(self.start, self.end, schedule=0.5)

    def test_repr_and_pickle(self):
        path = GeometricPath(self.start, self.end)
        assert repr(path).endswith("schedule=wfr_pde.targets.geometric_path.exponential_schedule)")
        assert repr(pickle.loads(pickle.dumps(path))) == repr(path)
