"""Several requests at once: gathered from the server's socket, executed and answered together.

Gathering is work-conserving: what already waits is taken, and nothing is waited for unless
`BATCH_WAIT_MS` says so. Batches form across all callers, because all of them share the one socket.
"""

from __future__ import annotations

import math
import select
import socket

from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.serving.responder import Responder
from basic_inference_server.wire.frames import RequestFrame
from basic_inference_server.wire.json_codec import decode_object
from basic_inference_server.worker.batch_execution import BatchExecutor, Item
from basic_inference_server.worker.execution import describe
from basic_inference_server.worker.flask_worker import FlaskWorker

NS_PER_MS = 1_000_000


class Gatherer:
    """Adds to the first connection of a batch those that wait behind it."""

    def __init__(self, listener: socket.socket, size: int, wait_ms: float) -> None:
        self._listener = listener
        self._size = size
        self._wait_ns = int(wait_ms * NS_PER_MS)
        self._waiting = select.poll()
        self._waiting.register(listener, select.POLLIN)

    def gather(self, first: socket.socket) -> list[socket.socket]:
        """Return `first` and up to `size - 1` more, within the time to wait."""
        batch = [first]
        until_ns = monotonic_ns() + self._wait_ns if self._wait_ns else 0
        while len(batch) < self._size:
            try:
                batch.append(self._listener.accept()[0])
            except BlockingIOError:
                left_ns = until_ns - monotonic_ns() if until_ns else 0
                if left_ns <= 0:
                    break
                self._waiting.poll(math.ceil(left_ns / NS_PER_MS))
            except OSError:  # no descriptors: go on with those that are here
                break
        return batch


class BatchResponder(Responder):
    """Executes batches for one worker."""

    def __init__(
        self, endpoint: FlaskWorker, spec: ServerSpec, slot: Slot, events: EventLog
    ) -> None:
        super().__init__(endpoint, spec, slot, events)
        self._batches = BatchExecutor(self._executor, self._say_failed_batch)

    def _say_failed_batch(self, error: BaseException) -> None:
        self._events.warning("batch_failed", error=describe(error))

    def serve_batch(self, connections: list[FrameConnection]) -> None:
        """Answer the one request on each connection."""
        frames = [(connection, self._receive(connection)) for connection in connections]
        now_ns = monotonic_ns()
        wanted = [
            (connection, frame)
            for connection, frame in frames
            if frame is not None and self._is_wanted(connection, frame, now_ns)
        ]
        if wanted:
            self._serve_wanted(wanted, now_ns)

    def _serve_wanted(
        self, wanted: list[tuple[FrameConnection, RequestFrame]], started_ns: int
    ) -> None:
        deadline_ns = started_ns + self._timeout_ns
        calls = [frame.sent_ns for _, frame in wanted]
        if len(calls) == 1:
            self._slot.begin(started_ns, deadline_ns, calls[0])
        else:
            self._slot.begin_batch(started_ns, deadline_ns, calls)
        failures = len(wanted)
        try:
            replies = self._execute_all([frame for _, frame in wanted], started_ns)
            failures = sum(failed for _, failed in replies)
        finally:
            self._slot.finish(started_ns, monotonic_ns(), failed=failures, count=len(wanted))
        for (connection, frame), (reply, _) in zip(wanted, replies, strict=True):
            self._send(connection, frame, reply)

    def _execute_all(self, frames: list[RequestFrame], started_ns: int) -> list[tuple[bytes, bool]]:
        items = [_read(frame) for frame in frames]
        self._batches.execute([item for item in items if item.error is None])
        return [
            self._reply(frame, item, started_ns) for frame, item in zip(frames, items, strict=True)
        ]

    def _reply(self, frame: RequestFrame, item: Item, started_ns: int) -> tuple[bytes, bool]:
        try:
            if item.error is not None:
                raise item.error
            return self._success(frame, started_ns, item.times, item.result, item.call_id), False
        except ServiceError as error:
            return self._failure(frame, started_ns, item.times, error)


def _read(frame: RequestFrame) -> Item:
    try:
        return Item(decode_object(frame.body), frame.request_id)
    except ServiceError as error:
        return Item({}, frame.request_id, error=error)
