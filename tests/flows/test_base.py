"""What the class `Flow` refuses, and what it says by default."""

from dataclasses import dataclass

import pytest

import wfr_pde as wfr
from wfr_pde.flows.base import RENAMED, MemoryUse
from wfr_pde.flows.law import Law
from wfr_pde.flows.takes_reactions import TakesReactions


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


@dataclass(frozen=True)
class Taking(wfr.Flow, TakesReactions):
    """A transport that goes nowhere, and only says what it was asked to take along."""

    asked: list
    takes: bool = True

    order = 1
    measures = (wfr.Density,)

    def build_step(self, energy, template, dt):
        return lambda state, rng: state

    def takes_reactions(self, template):
        return self.takes

    def with_reactions(self, energy, template, dt, times):
        self.asked.append((dt, *times))
        return lambda state, n, callback: state


def test_a_splitting_gives_its_reactions_to_a_transport_that_takes_them():
    target, start = wfr.Gaussian(0, 1), wfr.Grid(-6, 6, 32).density(wfr.Gaussian(1, 1))
    energy, reaction, moving = wfr.KL(target), wfr.FisherRao(3.0), wfr.KL(wfr.GeometricPath(wfr.Gaussian(1, 1), target))
    asked = []
    taking = Taking(asked)
    for flow, expected in (
        (wfr.Strang(reaction, taking), [(0.2, 0.3, 0.3)]),
        (wfr.Lie(reaction, taking), [(0.2, 0.6, 0.0)]),
        (wfr.Lie(taking, reaction), [(0.2, 0.0, 0.6)]),
        (wfr.Strang(taking, reaction), []),  # two turns of the transport
        (wfr.Lie(taking, wfr.Lie(reaction, reaction)), []),
        (wfr.Strang(reaction, Taking(asked, takes=False)), []),
        (taking, []),
    ):
        asked.clear()
        flow.make_step(energy, start, 0.2)
        assert [pytest.approx(times) for times in expected] == asked
        asked.clear()
        flow.make_steps(energy, start, 0.2)
        assert [pytest.approx(times) for times in expected] == asked
    asked.clear()
    wfr.Strang(reaction, taking).make_step(moving, start, 0.2)
    assert asked == []


def test_only_transports_that_say_so_are_asked_to_take_reactions():
    assert isinstance(wfr.SinkhornKernel(), TakesReactions)
    assert not hasattr(wfr.Flow, "takes_reactions")
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (wfr.Flow, TakesReactions), {})()
