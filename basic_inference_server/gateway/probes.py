"""Liveness and readiness, answered on the event loop.

Readiness is what the routing table says, and that the endpoints' sockets can be reached. Neither
depends on a thread pool, on a worker or on the supervisor being quick. Liveness says that this
process serves; a crash-looping endpoint never makes it fail.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from basic_inference_server.core.clock import local_time_text
from basic_inference_server.core.errors import UnknownSignature
from basic_inference_server.core.topology import Route, RoutingTable
from basic_inference_server.gateway.form_fields import read_fields
from basic_inference_server.wire.json_codec import encode


def live_body(version: str) -> bytes:
    """Return the answer of the liveness probe."""
    return encode({"live": True, "time": local_time_text(), "ver": version})


def ready_report(
    table: RoutingTable, query: bytes, bound_signature: str | None, version: str
) -> tuple[int, bytes]:
    """Return status and body of the readiness probe, for those named or for all enabled endpoints.

    Raises:
        UnknownSignature: the query names an endpoint that does not exist.
        BadRequest: the query cannot be decoded.
    """
    names = _named(query) or ([bound_signature] if bound_signature else table.available())
    for name in names:
        if name not in table.routes:
            raise UnknownSignature(
                f"There is no endpoint {name[:128]!r}.", available=table.available()
            )
    found = {name: _obstacle(table.routes[name]) for name in names}
    waiting = {name: obstacle for name, obstacle in found.items() if obstacle is not None}
    is_ready = not waiting and not table.is_shutting_down and table.is_open
    body: dict[str, Any] = {
        "ready": is_ready,
        "not_ready": waiting,
        "time": local_time_text(),
        "ver": version,
    }
    if table.is_shutting_down:
        body["shutting_down"] = True
    return (200 if is_ready else 503), encode(body)


def _named(query: bytes) -> list[str]:
    """Return the value of each `signature` in a query, an empty one too."""
    names: list[str] = []
    for name, value in read_fields(query).items():
        if name.lower() == "signature":
            names += value if isinstance(value, list) else [value]
    return names


def _obstacle(route: Route) -> str | None:
    """Return why a request would not get to a worker of that endpoint now."""
    if not route.is_ready:
        return route.state.value
    problem = _connection_problem(route)
    return None if problem is None else f"{route.state.value}, but unreachable: {problem}"


def _connection_problem(route: Route) -> str | None:
    """Return why nobody can connect to an endpoint's socket.

    A datagram socket cannot connect to one of streams: EPROTOTYPE says that everything else is as
    it should be, and nothing enters the queue of requests.
    """
    problem = "it has no socket"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            for address in filter(None, (route.socket_path, route.socket_link)):
                try:
                    probe.connect(address)
                except OSError as error:
                    if error.errno == errno.EPROTOTYPE:
                        return None
                    problem = error.strerror or str(error)
    except OSError as error:  # no descriptors: a request needs one, too
        problem = error.strerror or str(error)
    return problem
