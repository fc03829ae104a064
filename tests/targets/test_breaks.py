"""Break points of potentials: found to the last bit, or said to be elsewhere."""

import numpy as np
import pytest

from wfr_pde.targets import Gaussian, GeometricMean, GeometricPath, Posterior, Potential, Ring
from wfr_pde.targets.breaks import Breaks


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("abs(x)", [0]),
        ("abs(x - 0.3) + sign(x - pi)", [0.3, np.pi]),
        ("x**2/2 + 2*(x > 0.37)", [0.37]),
        ("2*(0.37 >= x)", [0.37]),
        ("min(x**2, (x - 2)**2, 1)", [-1, 1, 3]),
        ("max(x, -x)", [0]),
        ("abs(sin(x))", np.pi * np.array([-2, -1, 0, 1, 2])),
        ("sqrt(x**2)", [0]),
        ("sqrt((x - 0.7)**2)", [0.7]),
        ("sqrt(1 - cos(x))", [-2 * np.pi, 0, 2 * np.pi]),
        ("abs(x)**1.5 + (x - 2)**2.5", [0, 2]),
        ("((x - 2)**2)**0.3", [2]),
        ("x**3 + x**2 + exp(x)", []),
        ("sqrt(x**2 + 1e-3)", []),
        ("abs(exp(-x**2))", []),
        ("abs(x**2 - 2)", [-(2**0.5), 2**0.5]),
        ("abs(x*(x - 1)*(x - 3)**3)", [0, 1, 3]),
        ("abs(max(x, 0))", [0]),
        ("where(0 < x < 1, log(x), 0)", [0, 1]),
        ("Heaviside(exp(x) - 2)", [np.log(2)]),
        ("r**3", [0]),
        ("abs((x - 1)**2 - 1e-14)", [1 - 1e-7, 1 + 1e-7]),
        ("abs(x - 50)", []),
        ("1/x + tan(x/2)", [-np.pi, 0, np.pi]),
    ],
)
def test_places_in_one_dimension(text, places):
    found = Potential(text, ndim=1).breaks([-7.3], [8])
    assert not found.elsewhere
    assert len(found.places) == 1
    # 1 - cos is zero to rounding for 1e-8 around, and (x - 1)**2 - 1e-14 changes sign within rounding of it
    tolerance = 2e-8 if "cos" in text else 1e-9 if "1e-14" in text else 2e-15
    np.testing.assert_allclose(found.places[0], places, rtol=tolerance, atol=0 if "cos" not in text else 2e-8)
    assert found.places[0].shape == np.shape(places)


@pytest.mark.parametrize("place", [0.0, 0.3, 1 / 3, -2.5, 1e-7, 6.123456789012345])
def test_places_are_exact(place):
    (places,) = Potential(f"abs(x - ({place!r}))").breaks(-7.3, 8).places
    assert places.tolist() == [place]


def test_what_has_too_many_breaks_says_so():
    many = Potential("sign(sin(1/x))").breaks(-1, 1.1)
    assert many.elsewhere
    # where roots are apart, all are there
    apart = Potential("abs(sin(100*x))").breaks(-1, 1.1)
    np.testing.assert_allclose(apart.places[0], np.pi / 100 * np.arange(-31, 36), atol=1e-15)
    assert not apart.elsewhere


@pytest.mark.parametrize(
    ("text", "places", "elsewhere"),
    [
        ("abs(x) + y**2", [[0], []], False),
        ("abs(x*y) + (y > 0.5)", [[0], [0, 0.5]], False),
        ("abs(x - y)", [[], []], True),
        ("max(x, y) + abs(x - 1)", [[1], []], True),
        ("abs(r - 1)", [[], []], True),
        ("abs(r - 30)", [[], []], False),
        ("where(x < y + 100, x, y)", [[], []], False),
        ("(r - 1)**2", [[], []], False),
    ],
)
def test_places_in_two_dimensions(text, places, elsewhere):
    found = Potential(text, ndim=2).breaks([-7.3, -2], [8, 3])
    assert [axis.tolist() for axis in found.places] == places
    assert found.elsewhere == elsewhere
    assert bool(found) == (elsewhere or any(places))


def test_given_breaks():
    target = Potential(lambda x: np.abs(x - 1), breaks=[3, 1, 99])
    assert target.breaks(0, 8).places[0].tolist() == [1, 3]
    assert target.breaks(0, 3).places[0].tolist() == [1]  # a wall is none
    assert repr(target).endswith("breaks=[1.0, 3.0, 99.0])")
    plane = Potential(lambda x, y: np.abs(x) + y**2, breaks=[[0], []])
    assert [axis.tolist() for axis in plane.breaks([-1, -1], [1, 1]).places] == [[0], []]
    both = Potential("abs(x)", breaks=[0.5])
    assert both.breaks(-1, 1).places[0].tolist() == [0, 0.5]
    assert repr(Potential("abs(x)")) == "Potential(V='abs(x)', ndim=1)"
    assert Potential("x**2", breaks=[]).breaks(-1, 1).places[0].tolist() == []


@pytest.mark.parametrize(
    ("breaks", "ndim", "message"),
    [
        (1.0, 1, "breaks must be a list of numbers, got 1.0"),
        ("abc", 1, "breaks must be a list of numbers"),
        ([np.nan], 1, "must be finite"),
        ([[1, 2]], 1, "breaks must be a list of numbers"),
        ([1, 2], 2, r"2 lists of numbers, one per axis \(empty where there are none\), but breaks\[0\] is 1"),
        ([[1]], 2, "got 1 for 2 axes"),
        (["a"], 1, "array of real numbers"),
    ],
)
def test_breaks_that_are_none_are_refused(breaks, ndim, message):
    function = (lambda x: x**2) if ndim == 1 else (lambda x, y: x**2 + y**2)
    with pytest.raises(ValueError, match=message):
        Potential(function, breaks=breaks)


def test_other_targets_pass_theirs_on():
    box = np.array([-2.0]), np.array([2.0])
    kink, step, smooth = Potential("abs(x)"), Potential("x**2 + (x > 1)"), Gaussian(0, 1)
    assert not smooth.breaks(*box)
    assert GeometricMean(smooth, kink, 0.5).breaks(*box).places[0].tolist() == [0]
    assert GeometricMean(step, kink, 0.5).breaks(*box).places[0].tolist() == [0, 1]
    assert GeometricMean(step, kink, 1.0).breaks(*box).places[0].tolist() == [0]
    assert GeometricPath(step, kink).breaks(*box).places[0].tolist() == [0, 1]
    assert GeometricPath(step, kink).at(0.3).breaks(*box).places[0].tolist() == [0, 1]
    posterior = Posterior(kink, lambda m, data: -((m - data) ** 2) / 2, [1.0])
    assert posterior.breaks(*box).places[0].tolist() == [0]
    assert Ring(1, 1, 1).breaks(*box).places[0].tolist() == [0]
    assert not Ring(1, 1, 2).breaks([-2, -2], [2, 2])


def test_union_and_inside():
    union = Breaks((np.array([1.0]),)) | Breaks((np.array([0.0, 1.0]),), elsewhere=True)
    assert union.places[0].tolist() == [0, 1]
    assert union.elsewhere
    assert union.inside(np.array([0.0]), np.array([2.0])).places[0].tolist() == [1]
