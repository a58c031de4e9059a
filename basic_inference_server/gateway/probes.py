"""Liveness and readiness, answered from the routing table on the event loop.

Neither depends on a thread pool, on a worker or on the supervisor being quick. Liveness says that
this process serves; a crash-looping endpoint never makes it fail.
"""

from __future__ import annotations

from typing import Any

from basic_inference_server.core.clock import local_time_text
from basic_inference_server.core.errors import UnknownSignature
from basic_inference_server.core.topology import RoutingTable
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
    waiting = {
        name: table.routes[name].state.value for name in names if not table.routes[name].is_ready
    }
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
