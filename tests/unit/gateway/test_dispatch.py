"""Unit tests of how a request to an endpoint ends."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from dataclasses import replace

import pytest

from basic_inference_server.core.scoreboard import (
    ACCEPTED,
    ANSWERED_5XX,
    EXPIRED,
    IN_FLIGHT,
    LOST,
    REFUSED,
)
from basic_inference_server.core.topology import ServerState
from basic_inference_server.gateway.hub import QueueFull, Unreachable
from tests.support.exchanges import FakeConnection
from tests.support.planes import ROUTE, Plane, error_of


def test_full_queue_is_overload(plane: Plane) -> None:
    """Not executed, with the time after which it is worth another try."""
    plane.hub.refusal = QueueFull()
    connection = plane.send()
    assert (503, "overloaded") == error_of(connection)
    assert "1" == connection.headers["retry-after"]
    assert [0, 1, 1] == plane.counted(IN_FLIGHT, ACCEPTED, REFUSED)
    assert [] == plane.said


def test_endpoint_without_a_listener_is_not_ready(plane: Plane) -> None:
    """Whatever the table says; the log has it once, not once for each request."""
    plane.hub.refusal = Unreachable("no such file")
    for _ in range(2):
        assert (503, "not_ready") == error_of(plane.send())
    assert [0, 2] == plane.counted(IN_FLIGHT, REFUSED)
    assert [("endpoint_unreachable", "demo", "no such file")] == [
        (event["event"], event["endpoint"], event["error"]) for event in plane.said
    ]


@pytest.mark.parametrize("cause", ["signal 9 (SIGKILL)", None])
def test_dead_worker_is_told_with_the_cause(plane: Plane, cause: str | None) -> None:
    """Executed or not, nobody knows; it is not sent again."""

    async def scenario() -> FakeConnection:
        connection = plane.send()
        if cause is not None:
            plane.announce_death(plane.hub.frames[-1], cause, blames_request=False)
        plane.hub.open.pop().on_lost()
        await asyncio.sleep(0 if cause else 0.3)
        return connection

    connection = asyncio.run(scenario())
    assert (502, "worker_died") == error_of(connection)
    assert (cause or "unknown", "unknown", False) == (
        connection.json["cause"], connection.json["executed"], connection.json["retryable"],
    )  # fmt: skip
    assert 1 == len(plane.hub.paths)
    assert [0, 1] == plane.counted(IN_FLIGHT, ANSWERED_5XX)
    assert ["worker_died"] == [event["code"] for event in plane.said]


def test_request_that_may_run_twice_is_sent_once_more(plane: Plane) -> None:
    """And never a third time."""
    plane.know(replace(ROUTE, idempotent=True))
    connection = plane.send(X_Request_Id="mine")
    plane.announce_death(plane.hub.frames[0])
    plane.hub.open.pop().on_lost()
    assert ["mine", "mine"] == [frame.request_id for frame in plane.hub.frames]
    assert plane.hub.frames[0].deadline_ns == plane.hub.frames[1].deadline_ns
    plane.announce_death(plane.hub.frames[1])
    plane.hub.open.pop().on_lost()
    assert ["strike", "strike"] == [command for command, _ in plane.told]
    assert (502, "worker_died") == error_of(connection)
    assert [0, 1, 1] == plane.counted(IN_FLIGHT, ACCEPTED, ANSWERED_5XX)


def test_second_try_that_cannot_be_sent_is_told(plane: Plane) -> None:
    """Nothing was executed the second time, and that is what the caller reads."""
    plane.know(replace(ROUTE, idempotent=True))
    connection = plane.send()
    plane.hub.refusal = QueueFull()
    plane.announce_death(plane.hub.frames[0])
    plane.hub.open.pop().on_lost()
    assert (503, "overloaded") == error_of(connection)
    assert [0] == plane.counted(IN_FLIGHT)


def test_deadline_is_told_with_its_length(plane: Plane) -> None:
    """504, counted as expired."""
    connection = plane.send(X_Request_Timeout="0.000001")
    plane.hub.open.pop().on_deadline()
    assert (504, "deadline_exceeded") == error_of(connection)
    assert "demo did not answer within 1e-06 s." == connection.json["ERROR"]
    assert [0, 1, 1] == plane.counted(IN_FLIGHT, ANSWERED_5XX, EXPIRED)


def test_deadline_of_a_request_that_still_waits_is_no_504(plane: Plane) -> None:
    """It was never started, so it is safe to send again."""
    plane.know(replace(ROUTE, state=ServerState.LOADING, ready_workers=0))
    connection = plane.send(X_Request_Timeout="0.000001")
    plane.hub.open.pop().on_deadline()
    assert (503, "not_ready") == error_of(connection)
    assert "demo is still loading; try again later." == connection.json["ERROR"]


def test_client_that_leaves_abandons_its_request(plane: Plane) -> None:
    """Once; what has not started will not be."""
    plane.send()
    assert plane.exchange.on_abandoned is not None
    plane.exchange.on_abandoned()
    plane.exchange.on_abandoned()
    assert (1, []) == (plane.hub.abandoned, plane.hub.open)
    assert [0, 1] == plane.counted(IN_FLIGHT, LOST)


def test_reserved_signature_is_the_system_status(plane: Plane) -> None:
    """As the seeds' clients ask for it."""
    plane.send(fields={"SIGNATURE": "SYSTEM_STATUS"})
    assert [(b"/system_status", None)] == plane.controlled
    assert [] == plane.hub.paths


@pytest.mark.parametrize(
    "target", ["/", "/list_servers", "/runs", "/RUN", "//run", "/v1/live//", "/v1/live%2f"]
)
def test_other_route_is_the_control_planes(plane: Plane, target: str) -> None:
    """It answers, or says that there is no such route."""
    plane.send(target, bound="demo")
    assert "demo" == plane.controlled[0][1]
    assert [] == plane.hub.paths


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_are_answered_here(plane: Plane, method: str) -> None:
    """Without the control plane and its threads."""
    assert 200 == plane.send("/v1/live", method).status
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/w.sock")
        plane.know(replace(ROUTE, socket_path=f"{folder}/w.sock"))
        assert 200 == plane.send("/v1/ready?signature=demo", method).status
    plane.know(replace(ROUTE, state=ServerState.BACKOFF))
    assert 200 == plane.send("/v1/live", method).status
    assert 503 == plane.send("/v1/ready", method).status
    assert [] == plane.controlled


def test_browser_may_ask_first(plane: Plane) -> None:
    """A preflight is answered for any path of the data path, without a body."""
    for target in ("/run", "/run/anything"):
        connection = plane.send(target, "OPTIONS", Origin="https://app.example")
        assert (204, b"") == (connection.status, connection.bodies[0])
        assert "POST" in connection.headers["access-control-allow-methods"]


def test_fault_of_the_gateway_is_answered_and_logged(plane: Plane) -> None:
    """A client never waits for an answer that a bug has eaten."""
    plane.hub.refusal = ZeroDivisionError("bug")
    connection = plane.send()
    assert (500, "internal_error") == error_of(connection)
    assert "bug" not in connection.json["ERROR"]
    assert ["gateway_fault", "request_failed"] == [event["event"] for event in plane.said]


def test_fault_of_the_gateway_leaves_no_request_in_flight(plane: Plane) -> None:
    """The figures are true even then."""
    plane.hub.refusal = ZeroDivisionError("bug")
    plane.send()
    assert [0] == plane.counted(IN_FLIGHT)
