"""Interval enclosures: no value, and no slope, of any expression on any box lies outside of its bounds."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfr_pde.targets.enclosures import enclosure
from wfr_pde.targets.expressions import compile_expression

UNARY = [
    "exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "asinh", "abs", "sign", "log1p",
    "expm1", "logcosh", "Heaviside",
]  # fmt: skip
BINARY = ["min", "max", "logaddexp"]

numbers = st.one_of(
    st.integers(-4, 4).map(str),
    st.floats(-5, 5).map(lambda u: f"({u!r})"),
    st.sampled_from(["0.1", "1e3", "(-1e5)", "1e-6", "pi", "1e9"]),
)


def of_pieces(children):
    return st.one_of(
        st.builds("({} {} {})".format, children, st.sampled_from("+-*/"), children),
        st.builds("{}({})".format, st.sampled_from(UNARY), children),
        st.builds("{}({}, {})".format, st.sampled_from(BINARY), children, children),
        st.builds(
            "({})**{}".format, children, st.sampled_from(["2", "3", "4", "(-1)", "(-2)", "0.5", "1.5", "(-0.7)"])
        ),
        st.builds("({})**({})".format, children, children),
        st.builds("where({} {} {}, {}, {})".format, children, st.sampled_from(["<", "<=", ">", ">="]), *[children] * 3),
        st.builds("{}*({} < {})".format, children, children, children),
    )


def expressions(names):
    return st.recursive(st.one_of(st.sampled_from(names), st.sampled_from(names), numbers), of_pieces, max_leaves=9)


centres = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, 1.0, -1.0, np.pi, 1e-8, 40.0, -900.0, 1e6, -1e12]))
widths = st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1e-15, 1e-9, 1e-3, 10.0, 300.0, 1e5]))


def sampled(low, high, n, seed):
    """Places in a box, its corners among them."""
    rng = np.random.default_rng(seed)
    share = np.concatenate([rng.random((n, len(low))), rng.integers(0, 2, (32, len(low)))])
    share[: n // 4] = share[: n // 4] ** 8  # near a corner, too
    return np.clip(low + share * (high - low), low, high)


def attack(text, low, high, seed):
    """Compare the bounds of a box with the values at many places of it."""
    compiled, bounded = compile_expression(text, len(low)), enclosure(text, len(low))
    points = sampled(low, high, 400, seed)
    values = np.broadcast_to(compiled.value(*points.T), len(points))
    (bottom,), (top,) = bounded(low[None], high[None])
    assert not np.isnan([bottom, top]).any()
    numbers = values[np.isfinite(values)]
    assert (bottom <= numbers).all()
    assert (numbers <= top).all()
    below, above = bounded.tight(low[None], high[None])
    assert (below[0] <= numbers).all()
    assert (numbers <= above[0]).all()


@settings(max_examples=150, deadline=None)
@given(expressions(["x"]), centres, widths, st.integers(0, 99))
def test_bounds_hold_in_one_dimension(text, centre, width, seed):
    try:
        compile_expression(text, 1)
    except ValueError:
        return
    attack(text, np.array([centre - width / 2]), np.array([centre + width / 2]), seed)


@settings(max_examples=100, deadline=None)
@given(expressions(["x", "y", "r"]), *[st.tuples(centres, widths)] * 2, st.integers(0, 99))
def test_bounds_hold_in_two_dimensions(text, along_x, along_y, seed):
    try:
        compile_expression(text, 2)
    except ValueError:
        return
    centre, width = np.array([along_x, along_y]).T
    attack(text, centre - width / 2, centre + width / 2, seed)


PIECES = [
    "x**4/4 - x**2 + x*y",
    "logcosh(3*x) + abs(x - y)",
    "exp(-((x - 0.3)**2 + y**2)/0.02)*6",
    "sin(20*x)*cos(3*y) + x**3",
    "where(x < y, x**2, exp(y)) + max(x, y**2, 0.1)",
    "logaddexp(x, -2*y)/(2 + sin(x))",
    "sqrt(x**2 + y**2 + 0.01) + atan(x*y) + asinh(y) - tanh(x)",
    "(r - 1)**2 + log1p(x**2)",
    "(x**2 + 0.1)**0.3*2**y + min(x, 0)*sinh(y)",
    "r**4 - 1/(1 + x**2) + expm1(-y) + tan(x/4) + cosh(x - y)",
    "where(x > 0, log(x + 1e-3), y) + Heaviside(y - 0.5)",
]


@pytest.mark.parametrize("text", PIECES)
def test_slopes_hold(text):
    rng = np.random.default_rng(3)
    centre, half = rng.uniform(-2, 2, (200, 2)), 10.0 ** rng.uniform(-6, 0, (200, 2))
    low, high = centre - half, centre + half
    bounds = enclosure(text, 2).bounds(low, high)
    finite = np.isfinite(bounds.slope_low) & np.isfinite(bounds.slope_high)
    assert finite.all(axis=-1).sum() > 100  # else nothing would be tested
    for _ in range(50):
        points = low + rng.random(low.shape) * (high - low)
        for k, slope in enumerate(compile_expression(text, 2).gradient(*points.T)):
            rounding = 1e-12 * (1 + np.abs(slope))  # of the formula of the gradient, which is another one
            assert (bounds.slope_low[:, k] <= slope + rounding).all()
            assert (slope - rounding <= bounds.slope_high[:, k]).all()


@pytest.mark.parametrize("text", PIECES)
def test_the_mean_value_form_shrinks_with_the_square_of_the_width(text):
    places = np.random.default_rng(5).uniform(0.6, 0.7, (50, 2)) * [1, -1]
    spreads = []
    for width in (1e-3, 1e-4):
        low, high = enclosure(text, 2).tight(places, places + width)
        values = compile_expression(text, 2).value(
            *(places[:, None] + width * np.indices((9, 9)).reshape(2, -1).T / 8).T
        )
        spreads.append(np.median((high - low) - np.ptp(np.broadcast_to(values, (81, 50)), axis=0)))
    assert -1e-13 < spreads[1] < spreads[0] / 50 + 1e-12  # of order 2: a hundredth


@pytest.mark.parametrize("function", [*UNARY[:-1], "Heaviside"])
def test_points_hold_the_true_value(function):
    """Degenerate boxes against 60 digits: rounding alone, near zeros, over many periods and for large numbers."""
    rng = np.random.default_rng(7)
    places = np.concatenate([rng.normal(size=100), 10.0 ** rng.uniform(-12, 12, 100), np.arange(-20, 20) * np.pi / 2])
    places = np.concatenate([places, -places, [0.0, 1e-320, 1e15, 1e200, -1e200]])
    low, high = enclosure(f"{function}(x)", 1)(places[:, None], places[:, None])
    others = {
        "abs": abs,
        "Heaviside": lambda u: (1 + mpmath.sign(u)) / 2,
        "logcosh": lambda u: mpmath.log(mpmath.cosh(u)),
    }
    with mpmath.workdps(60):
        exact = others.get(function) or getattr(mpmath, function)
        for place, bottom, top in zip(places, low, high, strict=True):
            if function == "log1p":
                value = mpmath.log(1 + mpmath.mpf(place)) if place > -1 else mpmath.nan
            elif abs(place) > 1e4 and function in ("exp", "sinh", "cosh", "expm1", "logcosh"):
                continue  # more digits than there are
            elif (place <= 0 and function == "log") or (place < 0 and function == "sqrt"):
                value = mpmath.nan
            elif function == "expm1":
                value = mpmath.exp(mpmath.mpf(place)) - 1
            else:
                value = mpmath.mpf(exact(mpmath.mpf(place)))
            if mpmath.isnan(value):
                assert (bottom, top) == (-np.inf, np.inf)
            else:
                assert mpmath.mpf(bottom) <= value <= mpmath.mpf(top)
                assert top - bottom <= 1e-13 * (1 + abs(float(value))) or abs(place) > 1e14 or not np.isfinite(top)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("log(x)", -1, 2),
        ("sqrt(x)", -1, 2),
        ("1/x", -1, 2),
        ("x**-2", -1, 2),
        ("x**-2", 0, 2),
        ("x**0.5", -1, 2),
        ("x**-0.5", 0, 2),
        ("log1p(x)", -3, 2),
        ("tan(x)", 1, 2),
        ("atan(log(x))", -1, 2),
        ("min(sqrt(x), -5)", -1, 2),
        ("where(x < 1, log(x), 0)", -1, 2),
        ("(x - 4)**x", 1, 2),
    ],
)
def test_what_is_undefined_has_no_bounds(text, low, high):
    bounds = enclosure(text, 1).bounds([[low]], [[high]])
    assert (bounds.low[0], bounds.high[0]) == (-np.inf, np.inf)
    assert (bounds.slope_low[0, 0], bounds.slope_high[0, 0]) == (-np.inf, np.inf)


def test_branches_that_are_not_taken_do_not_matter():
    bounds = enclosure("where(x > 0, log(x), x**2)", 1).bounds([[-2.0], [1.0], [-1.0]], [[-1.0], [2.0], [1.0]])
    np.testing.assert_allclose(bounds.low, [1, 0, -np.inf], atol=1e-14)
    np.testing.assert_allclose(bounds.high, [4, np.log(2), np.inf], atol=1e-14)
    np.testing.assert_allclose(bounds.slope_low[:, 0], [-4, 0.5, -np.inf], atol=1e-14)
    np.testing.assert_allclose(bounds.slope_high[:, 0], [-2, 1, np.inf], atol=1e-14)
    assert bounds.jumps.tolist() == [False, False, True]


def test_kinks_have_slopes_and_jumps_have_none():
    both = enclosure("max(x, -3*x)", 1).bounds([[-1.0]], [[1.0]])
    assert [both.slope_low[0, 0], both.slope_high[0, 0]] == pytest.approx([-3, 1], rel=1e-14)
    assert not both.jumps[0]
    step = enclosure("x + 2*(x > 0.37)", 1).bounds([[0.3], [0.4]], [[0.4], [0.5]])
    assert step.jumps.tolist() == [True, False]
    assert step.slope_high[0, 0] == np.inf
    assert step.slope_high[1, 0] == pytest.approx(1)


@pytest.mark.parametrize(
    "boxes", [([1.0], [2.0]), ([[2.0]], [[1.0]]), ([[0.0, 1.0]], [[1.0, 2.0]]), ([[np.nan]], [[1]])]
)
def test_boxes_that_are_none_are_refused(boxes):
    with pytest.raises(ValueError, match="boxes"):
        enclosure("x**2", 1)(*boxes)
