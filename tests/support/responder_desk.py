"""A worker's responder with its endpoint, its slot and its log; a test plays the gateway."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from basic_inference_server import FlaskWorker
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.scoreboard import ServerScoreboard, WorkerState
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.serving.responder import Responder
from basic_inference_server.wire.frames import (
    REPLY_HEADER_BYTES,
    Accepts,
    ChunkReader,
    ReplyHeader,
    decode_reply_header,
    encode_request,
)
from basic_inference_server.wire.stream_layouts import layout_of
from basic_inference_server.worker.flask_worker import WorkerContext

TIMEOUT_S = 30.0
LARGE = 8 * 1024 * 1024
SPEC = ServerSpec(
    signature="demo", server_class="demo", generation=1, nr_workers=1, base_folder="/",
    workers_location="endpoints", workers_suffix="Worker", section={}, timeout_s=TIMEOUT_S,
    graceful_timeout_s=30.0, max_requests=None, max_memory_mb=None, log_level="debug",
    app_version="2.3.2", listen_fd=-1, announce_fd=-1, scoreboard_fd=-1,
)  # fmt: skip


class TellingWorker(FlaskWorker):
    """Does what a test wants."""

    does: Callable[[Any], Any]

    def _predict(self, prep_inputs: Any) -> Any:
        return self.does(prep_inputs)


class Reply:
    """A reply as the gateway receives it, read as far as it has come."""

    def __init__(self, gateway: socket.socket) -> None:
        self.gateway = gateway
        self.header: ReplyHeader | None = None
        self.content_type = ""
        self.body = bytearray()
        self.chunks = ChunkReader()
        self.file_name = ""

    def read_head(self) -> Reply:
        """Read header, content type and file name."""
        head = self._exactly(REPLY_HEADER_BYTES)
        header = self.header = decode_reply_header(head)
        assert header is not None
        self.content_type = self._exactly(header.content_type_length).decode()
        self.file_name = self._exactly(header.file_name_length).decode()
        return self

    def read_until(self, end: bytes) -> bytes:
        """Read on until a streamed body ends so."""
        while not self.body.endswith(end):
            self.read_more()
        return bytes(self.body)

    def read_all(self) -> bytes:
        """Read on to the end of the connection."""
        while self.read_more():
            pass
        assert self.header is not None
        if not self.header.is_stream:
            assert self.header.body_length == len(self.body)
        return bytes(self.body)

    def read_more(self) -> bool:
        """Read what is there; say whether anything came."""
        data = self.gateway.recv(1 << 20)
        assert self.header is not None
        self.body += self.chunks.read(data) if self.header.is_stream else data
        if data and self.chunks.status and self.chunks.error:  # the gateway puts it there
            layout = layout_of(self.content_type.encode())
            self.body += layout.error(self.chunks.error, bytes(self.body))
        return bool(data)

    def _exactly(self, length: int) -> bytes:
        return self.gateway.recv(length, socket.MSG_WAITALL) if length else b""


class Desk:
    """A responder with its endpoint, its slot and its log."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self.board = ServerScoreboard.create("test")
        self.slot = self.board.slot(self.board.free_slot(1))
        self.slot.occupy(os.getpid(), 1, monotonic_ns())
        self.slot.set_state(WorkerState.IDLE, monotonic_ns())
        self.worker = TellingWorker(context=WorkerContext(signature="demo", worker_id=3))
        self.responder = Responder(
            self.worker, SPEC, self.slot, EventLog(self.said.append, "debug")
        )

    @contextmanager
    def serving(
        self,
        does: Callable[[Any], Any],
        accepts: Accepts = Accepts.NDJSON,
        body: bytes = b"{}",
        content_type: bytes = b"application/json",
        fields: bytes = b"",
        patience_s: float = TIMEOUT_S,
    ) -> Iterator[Reply]:
        """Send a request and serve it in a thread; it has to be done soon after the block."""
        self.worker.does = does
        gateway, accepted = socket.socketpair()
        gateway.settimeout(10)

        def serve() -> None:
            with accepted:
                self.responder.serve(FrameConnection(accepted))

        worker = threading.Thread(target=serve)
        worker.start()
        try:
            now_ns = monotonic_ns()
            deadline_ns = now_ns + int(patience_s * NS_PER_S)
            head = encode_request(
                b"id-1", content_type, len(body), deadline_ns, now_ns, 0, accepts, fields
            )
            gateway.sendall(head + body)
            yield Reply(gateway)
        finally:
            gateway.close()
            worker.join(10)
            assert not worker.is_alive()

    def answer(self, does: Callable[[Any], Any], **request: Any) -> Reply:
        """Return a whole reply."""
        with self.serving(does, **request) as reply:
            reply.read_head().read_all()
        return reply

    @property
    def counted(self) -> tuple[int, int]:
        """How many requests, and how many of them have failed."""
        requests, errors, _ = self.board.totals()
        return requests, errors

    def events(self, name: str) -> list[Event]:
        """Return what was logged under a name."""
        return [event for event in self.said if event["event"] == name]


def counting(*items: Any) -> Callable[[Any], Iterator[Any]]:
    """Return what yields these; an exception among them is raised."""

    def predict(_inputs: Any) -> Iterator[Any]:
        for item in items:
            if isinstance(item, BaseException):
                raise item
            yield item

    return predict
