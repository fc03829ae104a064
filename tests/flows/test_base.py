"""What the class `Flow` refuses, and what it says by default."""

import pytest

import wfr_pde as wfr
from wfr_pde.flows.base import RENAMED, MemoryUse
from wfr_pde.flows.law import Law


@pytest.mark.parametrize("old", RENAMED)
def test_a_hook_by_its_old_name_is_refused_when_the_class_is_defined(old):
    with pytest.raises(TypeError, match=f"Mine.{old} is a hook by its old name: call it {RENAMED[old]}"):
        type("Mine", (wfr.Flow,), {old: lambda self: None})
    assert hasattr(wfr.Flow, RENAMED[old])
    assert not hasattr(wfr.Flow, old)


def test_as_many_states_while_stepping_as_while_preparing_by_default():
    assert MemoryUse().stepping == MemoryUse().states
    assert MemoryUse(states=3).stepping == 3
    assert MemoryUse(states=3, stepping=2).stepping == 2


def test_a_law_may_be_given_by_its_name():
    assert type("Mine", (wfr.Flow,), {"law": "wfr"}).law is Law.WFR
    with pytest.raises(ValueError, match="law must be one of w, fr, wfr, rest, pi, own, got 'what'"):
        type("Mine", (wfr.Flow,), {"law": "what"})
