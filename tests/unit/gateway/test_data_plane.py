"""Unit tests of routing: which requests go where, and which are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns, monotonic_s
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import (
    ACCEPTED,
    ANSWERED_4XX,
    ANSWERED_5XX,
    ANSWERED_OK,
    IN_FLIGHT,
)
from basic_inference_server.core.topology import ServerState
from basic_inference_server.gateway.token_gate import TokenGate
from tests.support.planes import ROUTE, Plane, error_of
from tests.support.secret_files import write_secret


@pytest.mark.parametrize(
    ("target", "bound", "fields"),
    [
        pytest.param("/run", None, {"SIGNATURE": "demo"}, id="by field"),
        pytest.param("/run/demo", None, {}, id="by path"),
        pytest.param("/run/d%65mo", None, {}, id="by escaped path"),
        pytest.param("/run", "demo", {}, id="by port"),
        pytest.param("/run/", None, {"SIGNATURE": "demo"}, id="by field, with a slash"),
        pytest.param("/run/demo/", None, {}, id="by path, with a slash"),
        pytest.param("/run/demo", None, {"SIGNATURE": "other"}, id="path before field"),
        pytest.param("/run", "demo", {"SIGNATURE": "other"}, id="port before field"),
    ],
)
def test_request_goes_to_its_endpoint(
    plane: Plane, target: str, bound: str | None, fields: dict[str, Any]
) -> None:
    """Its body untouched, with its id and a deadline on the machine's own clock."""
    before_ns = monotonic_ns()
    plane.send(target, bound=bound, fields=fields, X_Request_Id="mine")
    (frame,) = plane.hub.frames
    assert (["/run/demo.sock"], "mine", fields, 0) == (
        plane.hub.paths, frame.request_id, json.loads(bytes(frame.body)), frame.depth,
    )  # fmt: skip
    assert before_ns + 30 * NS_PER_S <= frame.deadline_ns <= monotonic_ns() + 30 * NS_PER_S
    assert [1, 1] == plane.counted(IN_FLIGHT, ACCEPTED)


def test_query_of_a_get_is_a_request_too(plane: Plane) -> None:
    """The seeds' clients send both ways."""
    plane.send("/run?SIGNATURE=demo&A=1", "GET")
    assert {"SIGNATURE": "demo", "A": "1"} == json.loads(bytes(plane.hub.frames[0].body))


@pytest.mark.parametrize("status", [200, 422, 500])
def test_answer_of_the_worker_is_passed_on(plane: Plane, status: int) -> None:
    """Status and body as they came, with where the time went."""
    connection = plane.send()
    plane.hub.reply(status, b'{"a":1}')
    assert (status, {"a": 1}) == (connection.status, connection.json)
    assert (
        "queue;dur=1.000, pre;dur=2.000, predict;dur=3.000, post;dur=4.000"
        == (connection.headers["server-timing"])
    )
    assert "*" == connection.headers["access-control-allow-origin"]
    place = {200: ANSWERED_OK, 422: ANSWERED_4XX, 500: ANSWERED_5XX}[status]
    assert [0, 1] == plane.counted(IN_FLIGHT, place)


def test_large_answer_is_passed_on(plane: Plane) -> None:
    """Nothing of it is lost."""
    connection = plane.send()
    plane.hub.reply(200, b"x" * 1_000_000)
    assert b"x" * 1_000_000 == connection.bodies[0]


@pytest.mark.parametrize(
    ("target", "method", "fields", "expected"),
    [
        ("/run", "POST", {}, (400, "missing_signature")),
        ("/run", "POST", {"SIGNATURE": 5}, (400, "missing_signature")),
        ("/run", "POST", {"SIGNATURE": "nobody"}, (404, "unknown_signature")),
        ("/run", "POST", {"SIGNATURE": ""}, (404, "unknown_signature")),
        ("/run/nobody", "POST", {}, (404, "unknown_signature")),
        ("/run/", "POST", {}, (400, "missing_signature")),
        ("/run//", "POST", {}, (404, "unknown_signature")),
        ("/run/demo%2f", "POST", {}, (404, "unknown_signature")),
        ("/run/demo/x", "POST", {}, (404, "unknown_signature")),
        ("/run/%ff", "POST", {}, (404, "unknown_signature")),
        ("/run", "PUT", {}, (405, "method_not_allowed")),
        ("/run", "HEAD", {}, (405, "method_not_allowed")),
        ("/v1/live", "POST", {}, (405, "method_not_allowed")),
    ],
)
def test_request_for_nobody_is_refused(
    plane: Plane, target: str, method: str, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """Nothing is sent and nothing counted."""
    assert expected == error_of(plane.send(target, method, fields=fields))
    assert ([], [0, 0]) == (plane.hub.paths, plane.counted(IN_FLIGHT, ACCEPTED))
    assert [] == plane.said


def test_unknown_endpoint_is_told_with_those_there_are(plane: Plane) -> None:
    """Without the disabled ones."""
    plane.know(ROUTE, replace(ROUTE, signature="off"), disabled=("off",))
    connection = plane.send(fields={"SIGNATURE": "x" * 10_000})
    assert ["demo"] == connection.json["available"]
    assert len(connection.json["ERROR"]) < 200


@pytest.mark.parametrize(
    ("given", "expected_s"), [("1", 1), ("0.5", 0.5), ("1e1", 10), ("31", 30), ("1e9", 30)]
)
def test_caller_may_shorten_its_deadline(plane: Plane, given: str, expected_s: float) -> None:
    """Never lengthen it beyond the endpoint's."""
    plane.send(X_Request_Timeout=given)
    (frame,) = plane.hub.frames
    assert pytest.approx(expected_s, abs=0.1) == (frame.deadline_ns - monotonic_ns()) / NS_PER_S


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "soon", "", "1s"])
def test_deadline_that_makes_no_sense_is_refused(plane: Plane, given: str) -> None:
    """The request is not executed with another one."""
    assert (400, "bad_request") == error_of(plane.send(X_Request_Timeout=given))
    assert [] == plane.hub.paths


@pytest.mark.parametrize("state", [ServerState.STARTING, ServerState.LOADING])
def test_request_waits_for_an_endpoint_on_its_way_up(plane: Plane, state: ServerState) -> None:
    """It lies in the endpoint's own queue, and is served when a worker takes it."""
    plane.know(replace(ROUTE, state=state, ready_workers=0))
    connection = plane.send()
    plane.know(ROUTE)
    plane.hub.reply()
    assert 200 == connection.status


def test_request_whose_endpoint_cannot_start_is_told_at_once(plane: Plane) -> None:
    """It does not wait for its deadline once the reason is known."""
    plane.know(replace(ROUTE, state=ServerState.LOADING, ready_workers=0))
    connections = [plane.send() for _ in range(3)]
    plane.know(replace(ROUTE, state=ServerState.FAILED, ready_workers=0, last_error="no module"))
    for connection in connections:
        assert (503, "not_ready") == error_of(connection)
        assert "demo is FAILED: no module." == connection.json["ERROR"]
    assert 3 == plane.hub.abandoned
    assert [0] == plane.counted(IN_FLIGHT)


@pytest.mark.parametrize(
    "state",
    [ServerState.BACKOFF, ServerState.FAILED, ServerState.STOPPED, ServerState.DISABLED,
     ServerState.STOPPING],
)  # fmt: skip
def test_request_for_an_endpoint_that_is_down_is_refused(plane: Plane, state: ServerState) -> None:
    """With its state, and when to try again."""
    restart_at_s = monotonic_s() + 7.5 if state is ServerState.BACKOFF else None
    plane.know(replace(ROUTE, state=state, ready_workers=0, restart_at_s=restart_at_s))
    connection = plane.send()
    assert (503, "not_ready") == error_of(connection)
    assert (state.value, "no", True) == (
        connection.json["state"], connection.json["executed"], connection.json["retryable"],
    )  # fmt: skip
    assert ("8" if restart_at_s else "5") == connection.headers["retry-after"]
    assert ([], []) == (plane.hub.paths, plane.said)


@pytest.mark.parametrize("state", [ServerState.STOPPED, ServerState.FAILED, ServerState.BACKOFF])
def test_queue_of_an_endpoint_without_processes_is_emptied(
    plane: Plane, state: ServerState
) -> None:
    """When its last process has gone, nobody will take what still waits."""
    connection = plane.send()
    down = replace(ROUTE, state=state, ready_workers=0)
    plane.know(down)
    assert [] == connection.heads, "a worker may still be at it"
    plane.know(replace(down, has_processes=False))
    assert (503, "not_ready") == error_of(connection)
    assert [0] == plane.counted(IN_FLIGHT)


def test_queue_of_an_endpoint_that_starts_again_is_kept(plane: Plane) -> None:
    """Its new workers take what has waited."""
    connection = plane.send()
    plane.know(replace(ROUTE, state=ServerState.STARTING, ready_workers=0, has_processes=False))
    assert [] == connection.heads


def test_queue_of_a_removed_endpoint_is_emptied(plane: Plane) -> None:
    """It is not in the table any more."""
    connection = plane.send()
    plane.know()
    assert (503, "not_ready") == error_of(connection)


def test_gateway_that_goes_down_says_so(plane: Plane) -> None:
    """To new requests for endpoints that serve no more."""
    plane.know(replace(ROUTE, state=ServerState.STOPPING), is_shutting_down=True)
    assert (503, "shutting_down") == error_of(plane.send())


class ClosedPlane:
    """A data plane whose only endpoint is closed, and the tokens that there are."""

    def __init__(self, folder: Path) -> None:
        write_secret(folder / "admin_token", "bis_administration")
        self.gate = TokenGate(folder / "admin_token", EventLog(lambda event: None))
        self.plane = Plane(self.gate)
        self.plane.know(replace(ROUTE, is_public=False))

    def token(self, *scopes: str) -> str:
        """Return a new token."""
        return self.gate.store.create("test", scopes)[1]


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[ClosedPlane]:
    made = ClosedPlane(tmp_path)
    yield made
    os.close(made.plane.board.fd)


WAYS: list[dict[str, Any]] = [
    {"target": "/run"}, {"target": "/run/demo"}, {"target": "/run", "bound": "demo"},
    {"target": "/run?SIGNATURE=demo", "method": "GET"}, {"target": "/run/demo", "method": "GET"},
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_closed_endpoint_needs_a_token_on_every_way(
    closed: ClosedPlane, way: dict[str, Any]
) -> None:
    """Nothing is dispatched or counted before the token was checked."""
    refused = closed.plane.send(**way)
    assert (401, "unauthorized") == error_of(refused)
    assert 'Bearer realm="basic_inference_server"' == refused.headers["www-authenticate"]
    assert "demo needs a token" in refused.json["ERROR"]
    wrong = closed.plane.send(**way, Authorization="Bearer wrong")
    assert (401, "invalid") == (wrong.status, wrong.json["reason"])
    other = closed.plane.send(**way, Authorization=f"Bearer {closed.token('run:other')}")
    assert (403, "forbidden") == error_of(other)
    assert 'scope="run:demo"' in other.headers["www-authenticate"]
    assert [] == closed.plane.hub.frames
    assert [0, 0] == closed.plane.counted(ACCEPTED, IN_FLIGHT)
    for scope in ("run:demo", "run:*", "admin"):
        closed.plane.send(**way, Authorization=f"BackendAI {closed.token(scope)}")
    assert 3 == len(closed.plane.hub.frames)


@pytest.mark.parametrize("state", list(ServerState), ids=str)
def test_closed_endpoint_tells_strangers_nothing_about_its_state(
    closed: ClosedPlane, state: ServerState
) -> None:
    """In every state the token comes first."""
    closed.plane.know(replace(ROUTE, is_public=False, state=state, last_error="secret reason"))
    refused = closed.plane.send()
    assert (401, "unauthorized") == error_of(refused)
    assert "secret reason" not in json.dumps(refused.json)


def test_token_of_a_public_endpoint_is_not_looked_at(plane: Plane) -> None:
    """A wrong one neither hinders nor counts."""
    for _ in range(30):
        plane.send(Authorization="Bearer wrong")
    assert 30 == len(plane.hub.frames)


def test_preflight_of_a_closed_endpoint_needs_no_token(closed: ClosedPlane) -> None:
    """A browser sends none with it; it is told that it may send one then."""
    answer = closed.plane.send("/run/demo", "OPTIONS", Origin="https://shop.example")
    assert 204 == answer.status
    assert "Authorization" in answer.headers["access-control-allow-headers"]
