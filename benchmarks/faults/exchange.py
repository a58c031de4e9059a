"""One HTTP exchange on a connection of its own, byte for byte, within a caller's patience."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import httptools
from server_process import Address

from faults.ledger import Outcome

CHUNK_BYTES = 65_536
WORKER_PID = re.compile(rb'"pid": ?(\d+)')


@dataclass
class Answer:
    """What came back, if anything."""

    outcome: Outcome
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    detail: str = ""

    @property
    def worker_pid(self) -> int:
        """The worker that says it answered; 0 when none does."""
        found = WORKER_PID.search(self.body)
        return int(found[1]) if found else 0

    @property
    def label(self) -> str:
        """The status, or what came instead of one."""
        return str(self.status) if self.outcome is Outcome.ANSWERED else self.outcome.value


class _Reader:
    """Collects an answer; httptools calls the methods."""

    def __init__(self) -> None:
        self.is_complete = False
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_complete = True


def request_bytes(
    method: str, path: str, body: bytes = b"", announced_bytes: int | None = None
) -> bytes:
    """A request that asks for the connection to be closed; its length may be a lie."""
    length = len(body) if announced_bytes is None else announced_bytes
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def exchange(
    address: Address, request: bytes, patience_s: float, half_close: bool = False
) -> Answer:
    """Send `request` and wait for its answer; with `half_close`, say that no more will come."""
    try:
        return await asyncio.wait_for(_exchange(address, request, half_close), patience_s)
    except asyncio.TimeoutError:
        return Answer(Outcome.HUNG)
    except OSError as error:
        return Answer(Outcome.CUT, detail=repr(error))


async def _exchange(address: Address, request: bytes, half_close: bool) -> Answer:
    try:
        reader, writer = await asyncio.open_connection(*address)
    except OSError as error:
        return Answer(Outcome.REFUSED, detail=repr(error))
    try:
        try:
            writer.write(request)
            await writer.drain()
            if half_close:
                writer.write_eof()
        except OSError:
            pass  # it may have answered before it closed
        return await _read_answer(reader)
    finally:
        writer.transport.abort()


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    collected = _Reader()
    parser = httptools.HttpResponseParser(collected)
    bytes_read = 0
    while not collected.is_complete:
        data = await reader.read(CHUNK_BYTES)
        if not data:
            break
        bytes_read += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            return Answer(Outcome.CUT, detail=f"not HTTP: {error}")
    ends_with_connection = "content-length" not in collected.headers and (
        "chunked" not in collected.headers.get("transfer-encoding", "")
    )
    if not collected.is_complete and not (collected.headers and ends_with_connection):
        return Answer(Outcome.CUT, detail=f"closed after {bytes_read} bytes")
    return Answer(
        Outcome.ANSWERED, parser.get_status_code(), collected.headers, bytes(collected.body)
    )
