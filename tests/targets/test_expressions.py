"""Text as potentials and distributions: right values, right gradients, and no way to run code."""

import functools
import time

import numpy as np
import pytest

from wfr_pde.targets import FourModes, Gaussian, GaussianMixture, Potential, Ring, parse_distribution
from wfr_pde.targets.differentiation import differences
from wfr_pde.targets.expressions import compile_expression

FUNCTIONS = {
    name: getattr(np, name) for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "pi", "e")
}
FUNCTIONS |= {name: getattr(np, name) for name in ("abs", "sign", "log1p", "expm1", "logaddexp")}
FUNCTIONS |= {"where": np.where, "Heaviside": lambda u: np.heaviside(u, 0.5)}
FUNCTIONS |= {"min": lambda *u: functools.reduce(np.minimum, u), "max": lambda *u: functools.reduce(np.maximum, u)}
FUNCTIONS |= {"atan": np.arctan, "asinh": np.arcsinh, "logcosh": lambda u: np.log(np.cosh(u))}

GOOD = [
    "2*(x**2 - 1)**2 + 2*y**2 + x*y/2",
    "x**2/4 + log1p(exp(x))/2",
    "-log(0.3*exp(-x**2) + 0.7*exp(-(x - 2)**2)) + y**2",
    "logaddexp(x**2, (y - 2)**2) - logcosh(3*x)",
    "abs(x - y) + sign(z)*x",
    "x**2.5 + y**-2 + z**0.5",
    "2**x + x**y",
    "sin(pi*x)*cos(y) - tan(z/3) + e**x",
    "sinh(x) + cosh(y)*tanh(z) + atan(x*y) + asinh(z) + expm1(-x) + log1p(y)",
    "sqrt(x**2 + 1e-3)",
    "(r - 5)**2 + x",
    "r**4 - log(r)",
    "+x - -y",
    "1/3 + 2**0.5*x - 1e2*y",
    "((((x))))",
    "x*(y +\n   z)",
    "x - x + 2",
    "(x + x)**3*0.1",
    "1_000*x",
    ".5*x",
    "3",
    "min(x, y)",
    "max(x**2, y, 0.5, z - x)",
    "min(x, 0.7)*max(y, z)**2",
    "where(x < 0.8, x**2, exp(y))",
    "where(x >= y, sin(x), 0) + where(z <= 0.6, 1, z**3)",
    "where(x > 9, log(x), y)",
    "y**2/2 + 2*(x > 0.77)*z",
    "Heaviside(x - 0.8)*x**2",
    "where(1 < 2, x, log(x))",
]

# What an attacker, or a slip of the pen, might write
BAD = [
    "__import__('os').system('touch OWNED')",
    "__import__",
    "().__class__.__bases__[0].__subclasses__()",
    "x.__class__",
    "x.real",
    "exp.__globals__",
    "(1).__class__",
    "x[0]",
    "eval('1')",
    "exec(x)",
    "open(x)",
    "getattr(x, y)",
    "globals()",
    "print(x)",
    "breakpoint()",
    "lambda: x",
    "(lambda x: x)(x)",
    "[x for x in y]",
    "{x}",
    "{x: y}",
    "(x, y)",
    "x, y",
    "x if y else z",
    "x and y",
    "not x",
    "x < y",
    "x < y < z",
    "x + (x != y)",
    "x + (x == y)",
    "x + (x is y)",
    "x + (x in y)",
    "where(x, 1, 2)",
    "where(x < 1, 2)",
    "where(x < 1, 2, 3, 4)",
    "where(x + (y < 1), 2, 3)",
    "where",
    "min(x)",
    "max()",
    "min(*x)",
    "less(x, y)",
    "f_where(x, y, z)",
    "x + (x < 'a')",
    "x <",
    "x <> y",
    "x => y",
    "x == y",
    "x := 3",
    "(x := 3)",
    "x = 3",
    "x; y",
    "import os",
    "yield x",
    "await x",
    "f'{x}'",
    "'x'",
    '"x"',
    "b'x'",
    "x # comment",
    "x \\\n + y",
    "exp(*x)",
    "exp(**x)",
    "exp(x=1)",
    "exp(x, y)",
    "exp()",
    "exp",
    "x(y)",
    "exp(x)(y)",
    "(exp)(x).y",
    "x @ y",
    "x // y",
    "x % y",
    "x ^ 2",
    "x | y",
    "x & y",
    "x << 99999999",
    "~x",
    "2x",
    "x y",
    "x +",
    "(x",
    "x)",
    "",
    "   ",
    "True",
    "None",
    "...",
    "2j",
    "1e999",
    "1/0",
    "x/0",
    "0**-1",
    "(-1)**0.5",
    "log(-1)",
    "log(0)",
    "9**9**9**9",
    "9**9**9*x",
    "x**9999999999",
    "x**(9**9)",
    "(9**9)**(9**9)",
    "(x+x)**((x+x)/x)**99",
    "(x+x)**(((x+x)/x)**99)",
    "((((x+x)**1000)**1000)**1000)**1000",
    "((((3*x)**999)**999)**999)**999",
    "exp(exp(exp(exp(exp(9)))))",
    "exp(exp(x - x + 1e300))",
    "1" + "0" * 400,
    "u",
    "os",
    "x\x00y",
    "ｘ",  # a full-width x, which Python itself would read as x
    "𝐱",
    "x²",
    "x × y",
    "х",  # Cyrillic
    "ｅｖａｌ(x)",
    "x\u2028y",
    "(" * 60 + "x" + ")" * 60,
    "(" * 400 + "x",
    "-" * 200 + "x",
    "exp(" * 55 + "x" + ")" * 55,
    "x" + "**x" * 200,
    "x" + "+x" * 600,
    "x*" * 200000 + "x",
]


@pytest.mark.parametrize("text", GOOD)
def test_values_and_gradients(text):
    points = np.random.default_rng(5).uniform(0.3, 1.4, (20, 3))
    x, y, z = points.T
    r = np.sqrt(x**2 + y**2 + z**2)
    expected = eval(text, {"__builtins__": {}, **FUNCTIONS}, {"x": x, "y": y, "z": z, "r": r})
    target = Potential(text, ndim=3)
    np.testing.assert_allclose(-target.log_density(points), np.broadcast_to(expected, 20), rtol=1e-13, atol=1e-13)
    gradient, error = differences(target.log_density, points)
    assert np.all(np.abs(target.score(points) - gradient) < 1e-9 + 10 * error)


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:30]))
@pytest.mark.parametrize("read", [compile_expression, Potential, parse_distribution])
def test_nothing_else_is_read(text, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = time.perf_counter()
    with pytest.raises(ValueError):
        read(text)
    assert not list(tmp_path.iterdir())
    # far above what it takes; a runaway power would never end
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("value", [None, 3, b"x", ["x"]])
def test_only_text_is_read(value):
    with pytest.raises((ValueError, TypeError)):
        compile_expression(value if not isinstance(value, list) else tuple(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x**2 + foo(x)", r"column 8: 'foo' is not a known function; known: exp, log,"),
        ("x**2 + q", r"column 8: 'q' is unknown; known: x, y, z, w, r, t, pi, e"),
        ("x ^ 2", r"column 3: '\^' write \*\* for powers"),
        ("x + y.real", r"column 5: 'y.real' is not allowed"),
        ("2*x**5000", r"column 6: '5000' is too large a power: at most 1000"),
        ("exp(x, x)", r"it takes 1 argument"),
        ("min(x)", r"it takes 2 or more arguments"),
        ("x + where(x, 1, 2)", r"column 11: 'x' is no condition: compare two numbers"),
        ("x < 1", r"is true or false, no potential: write where\(condition, a, b\)"),
        ("x == 1", r"column 3: '=' write the potential alone"),
        ("x*exp", r"'exp' is a function: write its argument in brackets"),
        ("x + 1/0", r"column 5: '1/0' has no finite value \(.*division by zero\)"),
        ("2x", r"a product needs \*"),
        ("x + log(-1)", r"column 5: 'log\(-1\)' is nan"),
        ("x + 'a'", r"column 5: \"'\" is not a character allowed"),
    ],
)
def test_messages_name_the_piece_and_the_column(text, message):
    with pytest.raises(ValueError, match=message):
        compile_expression(text)


@pytest.mark.parametrize(
    ("text", "ndim", "message"),
    [
        (
            "r**2",
            None,
            "r, the distance from the origin, does not tell the dimension of 'r\\*\\*2': give ndim",
        ),
        ("3", None, "a constant does not tell the dimension"),
        ("x + z", 2, "uses z, which needs ndim >= 3, but ndim is 2"),
        ("x", 5, "between 1 and 4 coordinates"),
    ],
)
def test_dimension_errors(text, ndim, message):
    with pytest.raises(ValueError, match=message):
        Potential(text, ndim=ndim)


def test_dimension_is_that_of_the_last_coordinate():
    assert Potential("y**2").ndim == 2
    assert Potential("w**2").ndim == 4
    assert Potential("r**2", ndim=3).ndim == 3


def test_r_has_a_finite_score_at_the_origin():
    target = Potential("(r - 5)**2", ndim=2)
    assert target.score([[0.0, 0.0]]).tolist() == [[0, 0]]
    points = np.random.default_rng(0).normal(size=(9, 2))
    expected = Ring(5, 1).score(points)
    np.testing.assert_allclose(target.score(points), expected, rtol=1e-13)


def test_large_arguments_do_not_overflow():
    target = Potential("logcosh(x)")
    assert -target.log_density([1e4]) == pytest.approx(1e4 - np.log(2), rel=1e-15)
    assert target.score([1e4]) == -1
    softplus = Potential("logaddexp(0, x)")
    np.testing.assert_allclose(softplus.score([[1e4], [-1e4]]), [[-1], [0]])


def test_numbers_keep_all_digits():
    value = 0.1234567890123456789
    assert -Potential(f"{value!r}*x").log_density([1.0]) == value
    assert -Potential("pi*x").log_density([1.0]) == np.pi


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gaussian(mean=-1, covariance=0.04)", Gaussian(-1, 0.04)),
        ("gaussian(-1, 1/25)", Gaussian(-1, 0.04)),
        (" gaussian( mean=[0,1],\n covariance=[[1,.2],[.2,1]] ) ", Gaussian([0, 1], [[1, 0.2], [0.2, 1]])),
        (
            "mixture(means=[-2, 2], weights=[.3, .7], covariances=.25)",
            GaussianMixture([-2, 2], [0.3, 0.7], 0.25),
        ),
        ("gaussian_mixture([(0, 1)], [1], [sqrt(4)])", GaussianMixture([[0, 1]], [1], 2)),
        ("ring(radius=5, width=.25, ndim=3)", Ring(5, 0.25, 3)),
        ("four_modes()", FourModes()),
        ("potential('x**2 + y**4')", Potential("x**2 + y**4")),
        ('potential("r**2", ndim=2)', Potential("r**2", ndim=2)),
    ],
)
def test_distributions(text, expected):
    assert repr(parse_distribution(text)) == repr(expected)


@pytest.mark.parametrize(
    "name", ["double_well(height=2)", "cosh_double_well(gap=1e-3)", "banana()", "funnel(variance=1)"]
)
def test_more_distributions(name):
    assert parse_distribution(name).ndim in (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "normal(0, 1)",
            r"column 1: 'normal' is not a known distribution; known: banana, cosh_double_well, double_well",
        ),
        ("gaussian", r"is not a distribution such as gaussian\(mean=0, covariance=1\)"),
        ("gaussian(mean=0, sd=1)", r"gaussian has no parameter 'sd'; it takes mean, covariance"),
        ("gaussian(mean=0)", r"gaussian: missing .*'covariance'"),
        ("gaussian(0, 1, 2)", r"too many positional arguments; it takes mean, covariance"),
        ("gaussian(mean=x, covariance=1)", r"column 15: 'x' is unknown; known: pi, e"),
        ("gaussian(mean=0, covariance=-1)", r"must be positive, got -1"),
        ("gaussian(mean='os', covariance=1)", r"mean must be an array of real numbers, got 'os'"),
        ("gaussian(**[1])", r"write name=value"),
        ("gaussian(*[1, 2])", r"is not allowed"),
        ("gaussian(mean=[i for i in [1]], covariance=1)", r"is not allowed"),
        ("gaussian(mean=().__class__, covariance=1)", r"is not allowed"),
        ("potential('__import__(1)')", r"'__import__' is not a known function"),
        ("posterior()", r"not a known distribution"),
        ("target()", r"not a known distribution"),
        ("gaussian(mean=0, covariance=1); banana()", r"';' is not a character allowed"),
        ("gaussian(mean=0, mean=1)", r"column 18: 'mean=1' is given twice"),
    ],
)
def test_distribution_errors(text, message):
    with pytest.raises(ValueError, match=message):
        parse_distribution(text)


@pytest.mark.parametrize(
    ("text", "values", "scores"),
    [
        ("where(x > 0, log(x), x**2)", [4, 0.25, np.log(0.3)], [4, 1, -1 / 0.3]),
        ("where(x <= 0, sqrt(-x), x**1.5)", [2**0.5, 0.5**0.5, 0.3**1.5], [2**-1.5, 2**-0.5, -1.5 * 0.3**0.5]),
        ("where(x > 0, x, where(x < -1, log(-x), 1/x))", [np.log(2), -2, 0.3], [0.5, 4, -1]),
        ("max(x, -x)", [2, 0.5, 0.3], [1, 1, -1]),
        ("min(sqrt(x**2), 1)", [1, 0.5, 0.3], [0, 1, -1]),
        ("where(-1 < x < 0, 3*x, 0)", [0, -1.5, 0], [0, -3, 0]),
        ("where(x < 0, exp(-x), 1/where(x < 0, 0, x))", [np.e**2, np.e**0.5, 1 / 0.3], [np.e**2, np.e**0.5, 1 / 0.09]),
    ],
)
def test_the_branch_that_is_not_taken_does_not_matter(text, values, scores):
    points = np.array([[-2.0], [-0.5], [0.3]])
    target = Potential(text)
    np.testing.assert_allclose(-target.log_density(points), values, rtol=1e-14)
    np.testing.assert_allclose(target.score(points)[:, 0], scores, rtol=1e-14)


def test_comparisons_of_what_is_not_a_number_are_not():
    target = Potential("where(log(x) < 0, 1, x) + (2 > log(x))")
    assert np.isnan(target.log_density([-1.0]))
    assert -target.log_density([0.5]) == 2
