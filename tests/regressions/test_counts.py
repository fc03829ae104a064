"""Costs of fixed solves, in counts, against those of `counts.json`: none may rise unseen, however fast the machine is.

What was counted is recorded anew by ``python -m pytest -n 0 tests/regressions --record-counts``; the difference of
`counts.json` is then part of the change that made it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from regressions.counting import counts
from regressions.solves import SOLVES

RECORD = Path(__file__).with_name("counts.json")
SLACK = {  # how much more than recorded is allowed, relative; of all others nothing
    "calls": 0.01,  # versions of libraries may change a branch
    "bytes": 0.05,  # among them objects of Python and of libraries
    "points": 0.3,  # searches for modes end where rounding lets them: 23 % between two kinds of processor
}
ADAPTIVE = 0.01  # for solves that choose their grids and steps: rounding may be in it
COUNTED = ("products", "product_cells", "sweeps", "swept_cells", "points", "calls", "bytes")


def recorded() -> dict[str, dict[str, int]]:
    """Read what is recorded, by solve."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def risen(found: dict[str, int], before: dict[str, int], adaptive: bool) -> list[str]:
    """List the counts that are above what is allowed, and those exact ones that are below what is recorded."""
    wrong = []
    for name, count in before.items():
        slack = max(SLACK.get(name, 0.0), ADAPTIVE if adaptive else 0.0)
        fell = found[name] < (count if slack == 0 else (1 - max(slack, 0.1)) * count)
        if found[name] > (1 + slack) * count or fell:
            change = f" ({100 * (found[name] / count - 1):+.1f} %)" if count else ""
            wrong.append(f"{name}: {count} recorded, {found[name]} now{change}")
    return wrong


@pytest.mark.parametrize("name", SOLVES)
def test_no_solve_takes_more_than_recorded(name, pytestconfig):
    solve = SOLVES[name]
    found = counts(solve.make, solve.function)
    if pytestconfig.getoption("record_counts"):
        written = {**recorded(), name: found}
        RECORD.write_text(json.dumps({key: written[key] for key in SOLVES if key in written}, indent=2) + "\n")
        pytest.skip("recorded")
    wrong = risen(found, recorded()[name], solve.adaptive)
    assert not wrong, f"{'; '.join(wrong)}. If this is meant: pytest -n 0 tests/regressions --record-counts, and commit"


def test_all_that_is_counted_is_recorded():
    assert list(recorded()) == list(SOLVES)
    assert all(set(each) == set(COUNTED) for each in recorded().values())
    for kind in COUNTED:
        assert any(each[kind] > 0 for each in recorded().values()), f"{kind} are counted nowhere"


def test_what_rises_and_what_falls_is_told():
    before = {"products": 100, "calls": 1000, "bytes": 1000}
    assert risen({"products": 100, "calls": 1010, "bytes": 1050}, before, adaptive=False) == []
    assert risen({"products": 101, "calls": 1011, "bytes": 1051}, before, adaptive=False) == [
        "products: 100 recorded, 101 now (+1.0 %)",
        "calls: 1000 recorded, 1011 now (+1.1 %)",
        "bytes: 1000 recorded, 1051 now (+5.1 %)",
    ]
    assert risen({"products": 101, "calls": 950, "bytes": 950}, before, adaptive=True) == []
    fallen = risen({"products": 99, "calls": 890, "bytes": 900}, before, adaptive=False)
    assert [text.split(":")[0] for text in fallen] == ["products", "calls"]
