"""Unit tests of refusing calls that would go in a circle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from basic_inference_server.supervision.call_graph import CallGraph


def test_chain_and_fan_are_no_circles() -> None:
    """However often the same call is asked for."""
    graph = CallGraph()
    for _ in range(2):
        for caller, signature in (("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")):
            assert None is graph.add(caller, signature)


def test_circle_is_named_from_its_caller() -> None:
    """And the call that would close it stays refused."""
    graph = CallGraph()
    graph.add("a", "b")
    graph.add("b", "c")
    for _ in range(2):
        assert ["c", "a", "b", "c"] == graph.add("c", "a")
    assert ["a", "a"] == graph.add("a", "a")


def test_new_code_calls_whom_it_likes() -> None:
    """What an endpoint's old version called does not bind the new one."""
    graph = CallGraph()
    graph.add("a", "b")
    graph.forget("a")
    assert None is graph.add("b", "a")
    graph.forget("nobody")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=40))
def test_accepted_calls_never_hold_a_circle(calls: list[tuple[str, str]]) -> None:
    """So no worker can wait, over however many others, for itself."""
    graph = CallGraph()
    accepted = {call for call in calls if graph.add(*call) is None}
    while accepted:
        called = {signature for _, signature in accepted}
        outer = {call for call in accepted if call[0] not in called}
        assert outer, "everybody who calls is called: a circle"
        accepted -= outer
