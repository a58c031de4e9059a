"""Makes HTTP requests in memory, as the parts behind the connection see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.http_connection import HttpConnection


class FakePeer:
    """Stands in for the other end of a connection; `is_ours` is what the kernel says."""

    def __init__(self, *, belongs_to_us: bool = True) -> None:
        self._belongs_to_us = belongs_to_us

    def is_ours(self) -> bool:
        """Say whether it belongs to the user that we run as."""
        return self._belongs_to_us


class FakeConnection:
    """Stands in for a client connection; keeps what was answered."""

    def __init__(self, client: str = "127.0.0.1", local_port: int = 5002) -> None:
        self.client = client
        self.local_port = local_port
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.awaited: Exchange | None = None
        self.peer = FakePeer()

    def awaits(self, exchange: Exchange) -> bool:
        """Say whether the client is still there."""
        return self.awaited is exchange

    def respond(self, exchange: Exchange, head: bytes, body: bytes | memoryview) -> None:
        """Keep one answer."""
        self.heads.append(head)
        self.bodies.append(bytes(body))

    @property
    def status(self) -> int:
        """The status of the only answer."""
        (head,) = self.heads
        return int(head.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        """The header lines of the only answer."""
        (head,) = self.heads
        lines = head.decode("latin-1").split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines if line)

    @property
    def json(self) -> Any:
        """The body of the only answer."""
        (body,) = self.bodies
        return json.loads(body)


def make_exchange(
    method: str = "POST",
    target: str = "/run",
    headers: Mapping[str, str] | None = None,
    body: bytes | bytearray = b"",
    connection: FakeConnection | None = None,
) -> Exchange:
    """Return a complete request; header names are given as clients write them."""
    return Exchange(
        cast("HttpConnection", connection or FakeConnection()),
        method.encode(),
        target.encode("latin-1"),
        {
            name.lower().encode("latin-1"): value.encode("latin-1")
            for name, value in (headers or {}).items()
        },
        body,
        keep_alive=True,
    )
