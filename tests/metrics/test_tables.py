"""Tables of results: pandas, text and LaTeX, with as many digits as the intervals support."""

import math
import re
import shutil
import subprocess

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics, tables
from wfr_pde.metrics.latex import ESCAPED, escaped, tabular
from wfr_pde.metrics.numerals import numerals, plain

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(1, 0.5)
HOSTILE = r"50 % & more_of $x^2$ #1 {~\} [a] * <b> | C:\new"

NAMES = [  # that LaTeX would read as something else, or not at all
    *(
        HOSTILE,
        "[1pt]",
        "*",
        "\\\\",
        "\\end{tabular}",
        "{",
        "}}{{",
        "$",
        "$$",
        "%",
        "#1",
        "^^M",
        "~^",
        "&&&",
        "?`!`",
        "''",
        "<<>>",
    ),
    *(
        "--- --",
        "",
        " ",
        "a\tb\nc",
        "a\0b\x07\u202e",
        "e\u0301 ü ñ ß ø",
        "½ % of 10⁻¹²₃ µm",
        "‘a’ “b”…",
        "∂V ∇V ∫ ∑ → ∈ ≈ ∞ ‖x‖",
    ),
    *("αβγδεζηθικλμνξοπρστυφχψως", "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", "x" * 300, "§ ¶ © ® ™ € £ ¥ °"),
]


@pytest.fixture(scope="module")
def results():
    """What every function returns, small."""
    truth = wfr.ground_truth(TARGET, START, [0, 0.5, 1], rtol=1e-3)
    sampler = wfr.samplers.Langevin()
    runs = [
        wfr.solve(TARGET, sampler, START.sample(n, rng=k), [0, 0.5, 1], 0.1, rng=k) for k in range(3) for n in (20, 40)
    ]
    chosen = [metrics.mean_error, metrics.total_variation]
    grid = wfr.Grid(-9, 9, 120)
    return {
        "compare": wfr.compare(truth, {HOSTILE: runs, "one": runs[:1]}, chosen, floor_draws=3),
        "validate": wfr.validate(sampler, truth, TARGET, dt=0.1, n=20, t=[0.5, 1]),
        "error_budget": wfr.error_budget(sampler, truth, TARGET, dt=0.1, n=[10, 20], t=1.0, seeds=2),
        "convergence_table": wfr.convergence_table(
            lambda h: grid.density(wfr.Gaussian(h**2, 1)), "dt_1", [0.4, 0.2], reference=grid.density(TARGET)
        ),
    }


@pytest.mark.parametrize(
    ("value", "half", "expected"),
    [
        (0.123456, 0.0123, "0.123"),
        (0.123456, 0.00123, "0.1235"),
        (123.456, 12.3, "123"),
        (45678.0, 1234.0, "45700"),
        (1.23456e-5, 1.23e-7, "1.235e-05"),
        (-1.23456e7, 1.23e5, "-1.235e+07"),
        (0.0001, 0.5, "0.00"),
        (0.0, 3e-9, "0"),
        (0.123456, math.nan, "0.123"),
        (123456.0, 0.0, "123000"),
        (math.inf, 1.0, "inf"),
    ],
)
def test_digits_are_those_that_an_interval_supports(value, half, expected):
    (numeral,) = numerals([value], half)
    assert numeral == expected
    if math.isfinite(half) and half > 0 and math.isfinite(value):
        assert abs(float(numeral) - value) <= half / 10  # less than the second digit of the width


def test_numbers_without_an_interval():
    assert [plain(value, 2) for value in (0.0, 9.96, 0.00999, 1234.0, 1e-7, math.inf)] == [
        *("0", "10", "0.010", "1200", "1.0e-07", "inf"),
    ]


def test_dataframes_have_every_number(results):
    ds = results["compare"]
    table = tables.to_dataframe(ds)
    assert list(table.columns[:5]) == ["method", "n", "t", "metric", "mean"]
    assert len(table) == (2 + 1) * 3 * 2  # one run of the second method, of one number only
    last = table[(table.method == "one") & (table.t == 1) & (table.metric == "mean_error")]
    assert last["mean"].item() == float(ds["mean"].sel({"method": "one", "n": 20, "t": 1, "metric": "mean_error"}))
    table = tables.to_dataframe(results["validate"])
    assert list(table.columns[:5]) == ["t", "statistic", "reference", "mean", "deviation"]
    assert len(table) == results["validate"]["score"].size
    ds = results["error_budget"]
    table = tables.to_dataframe(ds)
    assert len(table) == ds["measured"].size
    assert table["time step"].tolist() == ds["part"].sel(parts="time step").values.ravel().tolist()
    assert {"Monte Carlo_half_width", "measured", "measured_half_width", "noise"} <= set(table.columns)
    table = tables.to_dataframe(results["convergence_table"])
    assert table["dt_1"].tolist() == [0.4, 0.2]
    assert table["error"].tolist() == results["convergence_table"]["error"].values.tolist()


def test_text_has_a_column_for_what_is_not_selected(results):
    ds = results["compare"]
    lines = tables.to_text(ds.isel(t=-1)).splitlines()
    assert re.split("  +", lines[0]) == ["method", "n", "metric", "mean", "95 % interval", "floor", "equivalent draws"]
    assert len(lines) == 1 + 3 * 2
    assert re.search(r"one +20  mean_error +[\d.]+ +- ", lines[-2])  # one run has no interval
    one = ds.isel(t=-1, n=0, metric=0).sel({"method": HOSTILE})
    numbers = tables.to_text(one).splitlines()[1].split()
    half = float(one["high"] - one["low"]) / 2
    for numeral, name in zip((numbers[0], numbers[1], numbers[3]), ("mean", "low", "high"), strict=True):
        assert float(numeral) == pytest.approx(float(one[name]), abs=half / 10)
    assert tables.to_text(results["convergence_table"]).splitlines()[1].split()[:3] == ["0.4", "1.27e-01", "-"]
    assert tables.to_text(results["convergence_table"].isel(dt_1=1)).split()[:3] == ["error", "order", "seconds"]
    assert tables.to_text(results["convergence_table"].drop_vars("wall_time")).split()[:3] == ["dt_1", "error", "order"]
    row = tables.to_text(results["error_budget"].isel(dt=0, n=0, statistic=[0])).splitlines()[1]
    assert len(re.findall(r"-?\d\S* ± \d", row)) >= 4


def test_schemes_beside_one_another(results):
    import xarray as xr

    table = results["convergence_table"]
    both = xr.concat([table, table], "scheme").assign_coords(scheme=["Lie", "Strang"])
    lines = tables.to_text(both).splitlines()
    assert [line.split()[0] for line in lines] == ["scheme", "Lie", "Lie", "Strang", "Strang"]


@pytest.mark.parametrize("kind", ["compare", "validate", "error_budget", "convergence_table"])
@pytest.mark.parametrize("last", [False, True], ids=["all", "last time"])
def test_latex_is_balanced_and_escaped(results, kind, last):
    ds = results[kind].isel(t=-1) if last and "t" in results[kind].dims else results[kind]
    text = tables.to_latex(ds, caption=r"With 95\,\% intervals.", label="tab:a" if last else None)
    environments = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert environments == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
    assert text.count(r"\label{tab:a}") == last
    assert [text.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 1, 1]
    plainly = text.replace("{[}", "").replace("{*}", "")
    body = re.search(r"\\toprule\n(.*)\\bottomrule", plainly, re.DOTALL).group(1).replace("\\midrule\n", "")
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text).group(1)
    rows = body.strip().splitlines()
    assert len(rows) == 1 + len(tables.to_text(ds).splitlines()[1:])
    for row in rows:
        assert row.endswith(r" \\")
        cells = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
        assert len(cells) == len(columns)
        assert all(cell.count("$") - cell.count(r"\$") in (0, 2, 4, 6) for cell in cells)
        assert row.count("{") - row.count(r"\{") == row.count("}") - row.count(r"\}")
        words = re.sub(r"(?<!\\)\$.*?(?<!\\)\$", "", row.removesuffix(r"\\"))  # what is not in math mode
        assert not re.search(r"(?<!\\)[%#_^~]|[<>|\"\[*]", words)
    assert "\\begin{table}" not in tables.to_latex(ds)


@pytest.mark.parametrize("kind", ["compare", "validate", "error_budget", "convergence_table"])
def test_formulas_can_be_set(results, kind):
    """By the one reader of TeX that is always here."""
    from matplotlib.mathtext import MathTextParser

    parser, formulas = MathTextParser("path"), set(re.findall(r"(?<!\\)\$.*?(?<!\\)\$", tables.to_latex(results[kind])))
    assert formulas
    for formula in sorted(formulas)[:8]:
        parser.parse(formula)


def test_hostile_names_keep_the_columns_of_a_table():
    text = tabular([["name", "µ"], *([name, ("1",)] for name in NAMES)], None, None)
    rows = text.splitlines()[4:-2]
    assert len(rows) == len(NAMES)
    for row in rows:
        assert re.search(r"(?<!\\) & \$1\$ \\\\$", row)
        assert len(re.findall(r"(?<!\\)&", row)) == 1
        bare = re.sub(r"\\[{}$]", "", row)
        assert bare.count("$") % 2 == 0
        depths = np.cumsum([(mark == "{") - (mark == "}") for mark in bare])
        assert depths.min() >= 0
        assert depths[-1] == 0
        assert not re.search("[\0-\x1f\u202e\u0300-\u03ff]", row)


def test_latex_sets_hostile_names_and_every_table(results, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex here")
    body = tabular([["name", "µ"], *([name, ("1", "-inf")] for name in NAMES)], r"50\,\% of \{$x_1$\}", "tab:a_b")
    body += "\n\n".join(tables.to_latex(ds, caption="A", label="tab:a") for ds in results.values())
    rules = "".join(rf"\let\{rule}rule\hline" for rule in ("top", "mid", "bottom"))
    head = rf"\documentclass{{article}}\IfFileExists{{booktabs.sty}}{{\usepackage{{booktabs}}}}{{{rules}}}"
    (tmp_path / "page.tex").write_text(f"{head}\\begin{{document}}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    log = (tmp_path / "page.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in log


@pytest.mark.parametrize(
    ("latex", "message"),
    [
        ("50 % of it", r"caption is LaTeX, in which % hides the rest of a line, got '50 % of it': write \\%"),
        ("a}", "every brace has its partner"),
        ("{a", "every brace has its partner"),
        ("}{", "every brace has its partner"),
        ("a\\", "must not end with a backslash"),
        ("a\n\nb", "one paragraph"),
    ],
)
def test_captions_that_break_the_document_are_refused(results, latex, message):
    with pytest.raises(ValueError, match=message):
        tables.to_latex(results["validate"], caption=latex)
    with pytest.raises(ValueError, match="label "):
        tables.to_latex(results["validate"], label=latex)


def test_every_mark_is_escaped():
    assert escaped(HOSTILE) == (
        r"50 \% \& more\_of \$x\textasciicircum{}2\$ \#1 \{\textasciitilde{}\textbackslash{}\} {[}a] {*} "
        r"\textless{}b\textgreater{} \textbar{} C:\textbackslash{}new"
    )
    assert escaped("two\nlines") == "two lines"
    assert set("&%$#_{}\\~^") <= ESCAPED.keys()


def test_other_datasets_are_refused(results):
    import xarray as xr

    for function in (tables.to_dataframe, tables.to_text, tables.to_latex):
        with pytest.raises(ValueError, match="as compare, validate, .* return it, but has a$"):
            function(xr.Dataset({"a": 1.0}))
        with pytest.raises(TypeError, match="ds must be a Dataset as compare, "):
            function([1.0])
    with pytest.raises(TypeError, match="caption must be a text, got 3"):
        tables.to_latex(results["validate"], caption=3)


def test_infinite_means_are_shown(results):
    ds = results["compare"].isel(t=-1).copy(deep=True)
    ds["mean"][:] = np.inf
    ds["low"][:] = np.nan
    ds["high"][:] = np.nan
    assert r"$\infty$ & -- " in tables.to_latex(ds)
    assert " inf " in tables.to_text(ds)
