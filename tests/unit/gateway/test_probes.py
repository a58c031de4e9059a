"""Unit tests of the liveness and readiness probes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.errors import BadRequest, UnknownSignature
from basic_inference_server.core.topology import Route, RoutingTable, ServerState
from basic_inference_server.gateway.probes import live_body, ready_report

FOLDER = Path(tempfile.gettempdir()) / f"bis-probes-{os.getpid()}"
PATH = FOLDER / "w.sock"


@pytest.fixture(autouse=True)
def listener() -> Iterator[socket.socket]:
    """The socket of every endpoint here; its queue holds one connection."""
    FOLDER.mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(PATH))
        made.listen(0)
        yield made
    shutil.rmtree(FOLDER)


def table(
    *, is_open: bool = True, is_shutting_down: bool = False, **states: tuple[ServerState, int]
) -> RoutingTable:
    routes = {
        name: Route(name, state, str(PATH), 0, 30.0, ready_workers=workers)
        for name, (state, workers) in states.items()
    }
    disabled = tuple(n for n, (state, _) in states.items() if state is ServerState.DISABLED)
    return RoutingTable(routes, disabled, is_open, is_shutting_down)


def report(
    routes: RoutingTable, query: str = "", bound: str | None = None
) -> tuple[int, bool, dict[str, Any]]:
    status, body = ready_report(routes, query.encode("latin-1"), bound, "2.3.2")
    fields = json.loads(body)
    assert "2.3.2" == fields["ver"]
    return status, fields["ready"], fields["not_ready"]


READY = (ServerState.READY, 2)
DEGRADED = (ServerState.DEGRADED, 1)
LOADING = (ServerState.LOADING, 0)
DISABLED = (ServerState.DISABLED, 0)


def test_live_says_that_this_process_serves() -> None:
    """Nothing else is asked for liveness."""
    fields = json.loads(live_body("2.3.2"))
    assert {"live": True, "ver": "2.3.2"}.items() <= fields.items()


def test_gateway_is_ready_when_every_enabled_endpoint_is() -> None:
    """Disabled endpoints do not count, degraded ones serve."""
    assert (200, True, {}) == report(table(a=READY, b=DEGRADED, c=DISABLED))
    assert (200, True, {}) == report(table())


@pytest.mark.parametrize(
    ("state", "workers"),
    [
        (ServerState.STARTING, 0), (ServerState.LOADING, 1), (ServerState.BACKOFF, 0),
        (ServerState.FAILED, 0), (ServerState.STOPPED, 0), (ServerState.STOPPING, 1),
        (ServerState.READY, 0),
    ],
)  # fmt: skip
def test_endpoint_that_does_not_serve_is_named(state: ServerState, workers: int) -> None:
    """Whoever waits reads for what."""
    assert (503, False, {"b": state.value}) == report(table(a=READY, b=(state, workers)))


def test_one_endpoint_can_be_asked_for() -> None:
    """A client that needs one does not wait for the others."""
    routes = table(a=READY, b=LOADING, c=DISABLED)
    assert (200, True, {}) == report(routes, "signature=a")
    assert (503, False, {"b": "LOADING"}) == report(routes, "x=1&signature=b")
    assert (503, False, {"c": "DISABLED"}) == report(routes, "signature=c")
    assert (200, True, {}) == report(routes, "SIGNATURE=a")


def test_several_endpoints_can_be_asked_for() -> None:
    """All of those named count."""
    routes = table(a=READY, b=LOADING, c=READY, d=LOADING)
    assert (200, True, {}) == report(routes, "signature=a&signature=c")
    assert (503, False, {"b": "LOADING"}) == report(routes, "signature=b&signature=a")


def test_port_of_a_server_asks_for_that_server() -> None:
    """On its own port an endpoint stands for itself, unless another is named."""
    routes = table(a=READY, b=LOADING)
    assert (200, True, {}) == report(routes, bound="a")
    assert (503, False, {"b": "LOADING"}) == report(routes, "signature=b", bound="a")


@pytest.mark.parametrize(
    "query",
    ["signature=z", "signature=", "signature", "signature=&signature=a", "signature=a&signature=z",
     "signature=" + "z" * 10_000],
)  # fmt: skip
def test_unknown_endpoint_is_said_with_those_there_are(query: str) -> None:
    """A typing mistake does not wait for ever."""
    with pytest.raises(UnknownSignature) as caught:
        report(table(a=READY, c=DISABLED), query)
    assert {"available": ["a"]} == caught.value.details
    assert len(caught.value.message) < 200


def test_query_that_is_none_is_refused() -> None:
    """As on every other route."""
    with pytest.raises(BadRequest):
        report(table(a=READY), "signature=%FF")


def test_gateway_that_goes_down_is_not_ready() -> None:
    """Readiness ends before serving does, so that a load balancer looks elsewhere."""
    status, body = ready_report(table(is_shutting_down=True, a=READY), b"", None, "1")
    fields = json.loads(body)
    assert (503, False, {}, True) == (
        status, fields["ready"], fields["not_ready"], fields["shutting_down"],
    )  # fmt: skip


def test_gateway_that_is_not_open_is_not_ready() -> None:
    """Before the first table there is nothing to serve."""
    assert (503, False, {}) == report(RoutingTable())


def test_endpoint_whose_socket_cannot_be_reached_is_not_ready(listener: socket.socket) -> None:
    """What its workers say is of no use when no request gets to them."""
    PATH.unlink()
    missing = "READY, but unreachable: No such file or directory"
    assert (503, False, {"a": missing}) == report(table(a=READY))
    PATH.touch()
    refused = "READY, but unreachable: Connection refused"
    assert (503, False, {"a": refused}) == report(table(a=READY))


def test_endpoint_whose_path_is_gone_is_reached_by_its_link(listener: socket.socket) -> None:
    """The supervisor's descriptor leads to a socket that has lost its name."""
    handle = os.open(PATH, os.O_PATH)
    try:
        PATH.unlink()
        route = Route("a", *READY[:1], str(PATH), 0, 30.0, ready_workers=1,
                      socket_link=f"/proc/{os.getpid()}/fd/{handle}")  # fmt: skip
        assert (200, True, {}) == report(RoutingTable({"a": route}, is_open=True))
    finally:
        os.close(handle)


def test_asking_takes_no_place_in_the_queue(listener: socket.socket) -> None:
    """However often it is asked, a full queue is still a reachable one."""
    for _ in range(10):
        assert (200, True, {}) == report(table(a=READY))
    with socket.socket(socket.AF_UNIX) as request:
        request.setblocking(False)
        request.connect(str(PATH))
        assert (200, True, {}) == report(table(a=READY))


def test_process_without_descriptors_is_not_ready() -> None:
    """It could not connect to any worker."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    routes = table(a=READY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        status, _, waiting = report(routes)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (503, {"a": "READY, but unreachable: Too many open files"}) == (status, waiting)
