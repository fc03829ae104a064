"""What V does between the cell centres: found where it hides, proved absent where it does not."""

import numpy as np
import pytest

from wfr_pde.space.grid import Grid
from wfr_pde.targets import Gaussian, GaussianMixture, GeometricPath, Potential
from wfr_pde.truth.certified.grids.hidden_features import hidden_features, look

LINE = Grid(-8, 8, 100)
PLANE = Grid([-6, -6], [6, 6], [60, 60])


def as_function(text, ndim=1):
    """The potential of a text as a Python function, of which nothing is known but its values."""
    value = Potential(text, ndim=ndim)._compiled.value
    return Potential(lambda *c: value(*c) + 0 * c[0], ndim=ndim)


def spike(width, place=0.3, height=6.0):
    return f"x**2/2 + {height}*exp(-(x - ({place!r}))**2/(2*{width!r}**2))"


@pytest.mark.parametrize("width", [3e-3, 3e-4, 1e-5, 1e-9])
@pytest.mark.parametrize("place", [0.3, 0.3123456789, -5.0000000003])
def test_a_barrier_in_an_expression_is_found(width, place):
    found = look(Potential(spike(width, place)), LINE)
    assert found.kind == "looked"
    assert found.hides
    assert found.depth == pytest.approx(6, abs=0.8)  # to a tenth
    assert abs(found.where[0] - place) < width
    ((lower, upper),) = hidden_features(found)[0]
    # where 6 exp(-z²/2) is .5, and its rim at twice or half as much
    assert lower < place - 2 * width
    assert place + 2 * width < upper
    assert upper - lower < 20 * width
    assert found.places < 2000


@pytest.mark.parametrize("width", [3e-3, 3e-4])
def test_a_barrier_in_a_function_is_found_by_looking(width):
    found = look(as_function(spike(width, 0.3123456789)), LINE)
    assert found.kind == "looked"
    assert found.depth == pytest.approx(6, rel=1e-3)
    assert abs(found.where[0] - 0.3123456789) < 0.1 * width
    ((lower, upper),) = hidden_features(found)[0]
    assert lower < 0.3123456789 - 2 * width
    assert 0.3123456789 + 2 * width < upper
    assert upper - lower < 10 * width


def test_barriers_anywhere_are_found_if_they_matter():
    """Random bumps and holes, against what they are: their height, less what is let pass."""
    rng = np.random.default_rng(11)
    outcomes = set()
    for _ in range(40):
        place, width, height = (
            rng.uniform(-7.9, 7.9),
            10 ** rng.uniform(-7, -2.3),
            rng.choice([-1, 1]) * rng.uniform(0, 8),
        )
        found = look(Potential(spike(float(width), float(place), float(height))), LINE)
        # the cells are .16 wide: V bends by less than .03 nats and changes by less than 1.3 within
        if abs(height) > 0.5 + 0.13 + 0.04:
            assert found.hides
            assert abs(found.where[0] - place) < 4 * width
        if abs(height) < 0.5 - 0.04 and width < 1e-3:
            assert found.kind == "proved"
            assert found.depth >= abs(height) * 0.9 - 0.04  # an upper bound
        outcomes.add(found.kind)
    assert outcomes == {"proved", "looked"}


def test_a_barrier_that_one_centre_shows_is_found():
    place = float(LINE.axes[0].centres[18])
    found = look(Potential(spike(1e-4, place)), LINE)
    assert found.hides  # the centres suggest one that is a cell wide
    assert abs(found.where[0] - place) < 0.1


def test_several_features_have_an_interval_each():
    text = spike(1e-4, -3.01) + " + 3*exp(-(x - 2.005)**2/2e-10) - 2*exp(-(x - 2.3)**2/2e-6)"
    intervals = hidden_features(look(Potential(text), LINE))[0]
    assert intervals.shape == (3, 2)
    for (lower, upper), place in zip(intervals, (-3.01, 2.005, 2.3), strict=True):
        assert lower < place < upper
        assert upper - lower < 0.05


def test_holes_where_no_centre_matters_are_found():
    hole = "x**2 - {}*exp(-(x - 7.3123)**2/2e-8)"  # V = 53.5 there, 13.5 above what matters
    for make in (Potential, as_function):
        deep, shallow = look(make(hole.format(20)), LINE), look(make(hole.format(10)), LINE)
        assert deep.hides
        assert deep.where[0] == pytest.approx(7.3123, abs=3e-4)
        assert deep.depth == pytest.approx(20 - 13.47, abs=0.7)
        assert not shallow.hides
    assert look(Potential(hole.format(10)), LINE).kind == "proved"
    assert look(Potential(hole.format(10)), LINE, within=60).hides


def test_what_repeats_from_cell_to_cell_is_seen():
    """A ripple whose period is a cell: all centres agree that there is none."""
    text = "x**2/2 + 2 - 2*cos(2*pi*(x - 0.08)/0.16)"
    for make in (Potential, as_function):
        found = look(make(text), LINE)
        assert found.hides
        assert found.depth == pytest.approx(4, abs=0.4)


SMOOTH = [
    "x**2/2",
    "2*(x**2 - 1)**2",
    "logcosh(3*x) + x**2/8",
    "abs(x) + 0.5*abs(x - 1.1)",
    "x**2/2 + 2*(x > 0.37)",
    "where(x < 0, x**2, 3*x)",
    "x**2/3 - 3*exp(-(x - 1)**2/0.5) + 0.3*sin(4*x)",
    "-log(0.5*exp(-(x - 2)**2) + 0.5*exp(-(x + 2)**2))",
    "logaddexp(3*x, -x)",
    "max(x**2, 1.5) + min(abs(x), 2)",
    "-log(x + 9)",
    "x**2/2 + exp(5*x)",
    "x**2/2 + 1e8",
]


@pytest.mark.parametrize("text", SMOOTH)
def test_nothing_hides_in_ordinary_expressions(text):
    seen = look(Potential(text), LINE)
    assert seen.kind == "proved"
    assert not seen.hides
    assert seen.places < 2000
    assert hidden_features(seen)[0].shape == (0, 2)
    assert look(as_function(text), LINE, evaluations=20000).depth <= seen.depth + 1e-6 or "where" in text or ">" in text


@pytest.mark.parametrize(
    "text",
    [
        "(x**2 + y**2)/2",
        "2*(x**2 - 1)**2/2 + y**2 + x*y/2",
        "abs(x - y) + y**2/2",
        "x**2 + y**2 + where(x < y, 2, 0)",
        "(r - 3)**2/4",
        "logcosh(x + y) + logcosh(x - y)",
        "x**2/2 + y**2/2 + 2*exp(-(x - 1)**2 - y**2) + 0.3*sin(3*x)*cos(2*y)",
    ],
)
def test_nothing_hides_in_ordinary_expressions_in_the_plane(text):
    seen = look(Potential(text, ndim=2), PLANE)
    assert seen.kind == "proved"
    assert seen.places < 20000
    if "where" not in text:
        assert look(as_function(text, 2), PLANE, evaluations=100000).depth <= seen.depth + 1e-6


@pytest.mark.parametrize("width", [0.03, 1e-3, 1e-6])
def test_a_barrier_in_the_plane_is_found(width):
    text = f"x**2/2 + y**2 + 6*exp(-((x - 0.3123)**2 + (y + 0.207)**2)/(2*{width}**2))"
    found = look(Potential(text), PLANE)
    assert found.hides
    np.testing.assert_allclose(found.where, [0.3123, -0.207], atol=2 * width)
    for (interval,), place in zip(hidden_features(found), (0.3123, -0.207), strict=True):
        assert interval[0] < place < interval[1]
        assert interval[1] - interval[0] < 20 * width
    if width == 0.03:
        assert look(as_function(text, 2), PLANE).depth == pytest.approx(6, abs=0.1)


def test_a_ridge_in_the_plane_is_found_along_its_length():
    found = look(Potential("(x**2 + y**2)/4 + 3*exp(-(x - y - 0.1123)**2/2e-4)"), PLANE, boxes=50000)
    assert found.hides
    assert found.depth == pytest.approx(3, abs=0.6)
    assert hidden_features(found)[0][-1, 1] - hidden_features(found)[0][0, 0] > 5


def test_cells_that_do_not_matter_are_let_pass():
    mask = LINE.points()[..., 0] > 1
    target = Potential(spike(1e-3, 0.3))
    assert look(target, LINE).hides
    assert look(target, LINE, matters=mask).kind == "proved"
    assert look(Potential(spike(1e-3, 0.3, -6.0)), LINE, matters=mask).hides  # a hole is


def test_graded_and_periodic_grids():
    circle = Grid(0, 2 * np.pi, 64, boundary="periodic")
    assert look(Potential("cos(x) + sin(2*x)/2"), circle).kind == "proved"
    edges = np.concatenate([np.linspace(-8, 0, 20), np.geomspace(1e-3, 8, 60)])
    graded = Grid.from_edges(edges)
    assert look(Potential("x**2/8 + abs(x)/4"), graded).kind == "proved"
    found = look(Potential(spike(1e-3, 2.9)), graded)
    assert abs(found.where[0] - 2.9) < 1e-3
    # where the cells are narrow enough it does not hide
    assert look(
        Potential(spike(1e-2, 0.004)), Grid.from_edges(np.append(np.linspace(-0.3, 0.3, 400), 1)), within=3
    ).kind


def test_a_jump_in_the_plane_hides_something_thin_only():
    base = "x**2/4 + y**2/3 + 9*"
    assert look(Potential(base + "(x < y)"), PLANE).kind == "proved"
    disc = look(Potential(base + "((x - 0.37)**2 + (y + 0.23)**2 < 0.001)"), PLANE)
    assert disc.hides
    assert np.hypot(disc.where[0] - 0.37, disc.where[1] + 0.23) < 0.0317
    assert disc.depth == pytest.approx(9, abs=0.2)  # from the range of centres around, which is .2 wide
    assert look(Potential(base + "(abs(x - y - 0.03) < 0.002)"), PLANE).hides


def test_a_jump_of_a_function_is_seen_unless_it_is_named():
    def jump(x):
        return x**2 / 2 + 5 * (x > 0.37)

    unnamed = look(Potential(jump), LINE)
    assert unnamed.hides
    assert abs(unnamed.where[0] - 0.37) < 0.16
    assert not look(Potential(jump, breaks=[0.37]), LINE).hides
    hidden = look(Potential(lambda x: jump(x) + 9 * np.exp(-((x - 0.36) ** 2) / 2e-6), breaks=[0.37]), LINE)
    assert hidden.hides  # beyond the jump


def test_other_targets_are_looked_at():
    seen = look(GaussianMixture([-2, 2], [0.5, 0.5], 0.5), LINE)
    assert seen.kind == "looked"
    assert not seen.hides
    assert seen.places >= 100000
    assert look(Gaussian(0, 1e-4), LINE, within=1e9).hides is False  # a parabola, whatever it is worth
    cube = look(Gaussian([0, 0, 0], 1), Grid([-5] * 3, [5] * 3, [20] * 3), evaluations=50000)
    assert cube.kind == "looked"
    assert not cube.hides


def test_what_is_undefined_between_centres_is_found():
    found = look(Potential("x**2/2 + 1e-9*sqrt(abs(x - 0.3123) - 1e-5)"), LINE)
    assert found.hides
    assert found.depth == np.inf
    assert abs(found.where[0] - 0.3123) < 1e-5


def test_a_budget_that_ends_is_no_proof():
    text = "x**2/2 + 0.2*sin(3000*x)"
    assert look(Potential(text), LINE, boxes=0, evaluations=10000).kind == "looked"
    assert look(Potential(text), LINE, boxes=150, evaluations=10000).kind == "looked"
    assert look(Potential(text), LINE, boxes=3000).kind == "proved"  # it is at most .2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: look(Gaussian([0, 0], 1), LINE), "is 2-dimensional, and the grid is 1-dimensional"),
        (lambda: look(GeometricPath(Gaussian(0, 1), Gaussian(1, 2)), LINE), r"moves: take target.at\(t\)"),
        (lambda: look(Gaussian(0, 1), LINE, slack=0), "slack and within are positive"),
        (lambda: look(Gaussian(0, 1), LINE, matters=np.ones(3, dtype=bool)), "matters must have the shape"),
        (lambda: look(Gaussian(0, 1), LINE, matters=np.zeros(100, dtype=bool)), "mark cells"),
        (lambda: look(Potential("log(x - 20)"), LINE), "has no finite log-density at any centre"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
