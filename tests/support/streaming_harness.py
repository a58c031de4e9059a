"""Streamed answers on real HTTP connections, written by the test part by part."""

from __future__ import annotations

from dataclasses import dataclass, field

from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.response_stream import ResponseStream
from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp


@dataclass
class OpenStream:
    """One answer that has begun, and what its connection has said of the client."""

    harness: HttpHarness
    exchange: Exchange
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.response = ResponseStream(
            self.exchange, lambda: self.said.append("full"), lambda: self.said.append("room")
        )
        self.exchange.on_abandoned = lambda: self.said.append("left")

    def begin(self) -> OpenStream:
        """Send the head."""
        head = self.exchange.head(200, b"application/x-ndjson")
        self.harness.call(lambda: self.response.begin(head))
        return self

    def write(self, content: bytes) -> None:
        """Send a part."""
        self.harness.call(lambda: self.response.write(content))

    def end(self, content: bytes = b"") -> None:
        """Send the last part."""
        self.harness.call(lambda: self.response.end(content))

    def fill(self) -> int:
        """Write until the client does not keep up; return how much that was."""
        written = 0
        part = bytes(1 << 16)
        while "full" not in self.said:
            self.write(part)
            written += len(part)
            assert written < 1 << 26, "the connection takes everything"
        return written


def held(harness: HttpHarness) -> Exchange:
    """Return the next exchange that is held."""
    eventually(lambda: harness.held, what="the request has arrived")
    return harness.held.pop(0)


def read_head(client: RawHttp) -> dict[str, str]:
    """Return the headers of an answer, its body still to be read."""
    response = client.read("HEAD")
    assert 200 == response.status
    return response.headers


def read_chunk(client: RawHttp) -> bytes:
    """Return the next chunk of a body; the last one is empty."""
    line = b""
    while not line.endswith(b"\r\n"):
        line += client.take(1)
    content = client.take(int(line, 16))
    assert b"\r\n" == client.take(2)
    return content


def read_chunks(client: RawHttp) -> bytes:
    """Return a chunked body to its end."""
    body = bytearray()
    while chunk := read_chunk(client):
        body += chunk
    return bytes(body)
