"""Unit tests of names, states and the routing table."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.topology import (
    SERVING_STATES,
    Route,
    RoutingTable,
    ServerState,
    is_signature,
)

ROUTE = Route("demo", ServerState.READY, "/run/demo.sock", 0, 30.0, ready_workers=1)
NAMES = st.text("abcXYZ019_-.", min_size=1, max_size=12)
ROUTES = st.builds(
    Route,
    signature=NAMES,
    state=st.sampled_from(ServerState),
    socket_path=st.text(max_size=20),
    cell=st.integers(0, 511),
    timeout_s=st.floats(0.1, 86400),
    idempotent=st.booleans(),
    port=st.none() | st.integers(1, 65535),
    ready_workers=st.integers(0, 256),
    last_error=st.none() | st.text(max_size=30),
    restart_at_s=st.none() | st.floats(0, 1e9),
)


@settings(deadline=None, max_examples=50, database=None)
@given(st.lists(ROUTES, max_size=5), st.lists(NAMES, max_size=3), st.booleans(), st.booleans())
def test_routing_table_survives_its_journey(
    routes: list[Route], disabled: list[str], is_open: bool, is_shutting_down: bool
) -> None:
    """What the gateway reads out of the message is what the supervisor put in."""
    table = RoutingTable(
        {route.signature: route for route in routes}, tuple(disabled), is_open, is_shutting_down
    )
    assert table == RoutingTable.from_message(json.loads(json.dumps(table.to_message())))


def test_routing_table_keeps_the_order_of_the_configuration() -> None:
    """Names are listed as the operator wrote them, disabled ones left out."""
    names = ["zebra", "apple", "mango"]
    table = RoutingTable(
        {name: replace(ROUTE, signature=name) for name in names}, disabled=("apple",)
    )
    assert ["zebra", "mango"] == RoutingTable.from_message(table.to_message()).available()


def test_table_of_an_unknown_state_is_refused() -> None:
    """A message of another version does not become a route."""
    message = RoutingTable({"demo": ROUTE}).to_message()
    message["routes"][0]["state"] = "SLEEPING"
    with pytest.raises(ValueError, match="SLEEPING"):
        RoutingTable.from_message(message)


def test_table_is_a_snapshot() -> None:
    """Nobody changes a table or a route that others are reading."""
    table = RoutingTable({"demo": ROUTE})
    with pytest.raises(FrozenInstanceError):
        table.is_open = True  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        ROUTE.ready_workers = 5  # type: ignore[misc]


@pytest.mark.parametrize("state", list(ServerState))
def test_route_is_ready_when_it_serves_with_a_worker(state: ServerState) -> None:
    """READY and DEGRADED serve, and only with at least one worker."""
    assert (state in SERVING_STATES) == replace(ROUTE, state=state).is_ready
    assert not replace(ROUTE, state=state, ready_workers=0).is_ready


def test_states_are_the_nine_of_the_design() -> None:
    """Operators learn these names once."""
    assert [
        "DISABLED", "STARTING", "LOADING", "READY", "DEGRADED", "BACKOFF", "FAILED", "STOPPING",
        "STOPPED",
    ] == [state.value for state in ServerState]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("demo", True, id="letters"),
        pytest.param("dummy_model_demo1-bis", True, id="hyphen"),
        pytest.param("v1.2", True, id="dot"),
        pytest.param("a" * 128, True, id="longest"),
        pytest.param("a" * 129, False, id="too long"),
        pytest.param("", False, id="empty"),
        pytest.param(" a", False, id="space"),
        pytest.param("a\n", False, id="line end"),
        pytest.param("a\0", False, id="nul"),
        pytest.param("a/b", False, id="slash"),
        pytest.param("\uff21\uff22", False, id="full width"),
        pytest.param("\u0661", False, id="digit of another script"),
        pytest.param("\ud800", False, id="half a character"),
    ],
)
def test_signature_has_a_narrow_alphabet(text: str, expected: bool) -> None:
    """Letters, digits, `_`, `-`, `.`; nothing that a path or a log line could stumble over."""
    assert expected is is_signature(text)
