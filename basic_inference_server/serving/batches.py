"""Several requests at once: gathered from the server's socket, executed and answered together.

Gathering is work-conserving: what already waits is taken, and nothing is waited for unless
`BATCH_WAIT_MS` says so. Batches form across all callers, because all of them share the one socket.
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.connection import FrameConnection, accept
from basic_inference_server.serving.inputs import read_inputs
from basic_inference_server.serving.replies import Progress
from basic_inference_server.serving.responder import Responder
from basic_inference_server.wire.frames import RequestFrame
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

    def gather(self, first: socket.socket) -> Iterator[socket.socket]:
        """Yield `first` and up to `size - 1` more, within the time to wait."""
        until_ns = monotonic_ns() + self._wait_ns if self._wait_ns else 0
        yield first
        gathered = 1
        while gathered < self._size:
            try:
                accepted = accept(self._listener)
            except BlockingIOError:
                left_ns = until_ns - monotonic_ns() if until_ns else 0
                if left_ns <= 0:
                    return
                self._waiting.poll(math.ceil(left_ns / NS_PER_MS))
                continue
            except OSError:  # no descriptors: go on with those that are here
                return
            gathered += 1
            yield accepted


class Member(NamedTuple):
    """One request of a batch, and where its answer goes."""

    connection: FrameConnection
    frame: RequestFrame
    item: Item


class BatchResponder(Responder):
    """Executes batches for one worker."""

    def __init__(
        self, endpoint: FlaskWorker, spec: ServerSpec, slot: Slot, events: EventLog
    ) -> None:
        super().__init__(endpoint, spec, slot, events)
        self._batches = BatchExecutor(self._executor, self._say_failed_batch)

    def _say_failed_batch(self, error: BaseException) -> None:
        self._events.warning("batch_failed", error=describe(error))

    def serve_batch(self, arriving: Iterable[socket.socket]) -> int:
        """Answer the one request on each connection; return how many there were.

        A request is read and prepared while the others are on their way, and answered while theirs
        are being made: the callers' next requests come the sooner.
        """
        started_ns = monotonic_ns()
        members: list[Member] = []
        count, failures = 0, 0
        with ExitStack() as open_connections:
            for accepted in arriving:
                count += 1
                open_connections.enter_context(accepted)
                member = self._admit(FrameConnection(accepted), started_ns, len(members))
                if member is not None:
                    members.append(member)
            if not members:
                return count
            failures = len(members)
            try:
                self._batches.predict([member.item for member in members])
                failures = sum(self._answer_item(member, started_ns) for member in members)
            finally:
                now_ns = monotonic_ns()
                self._slot.finish(started_ns, now_ns, failed=failures, count=len(members))
        return count

    def _admit(self, connection: FrameConnection, started_ns: int, before: int) -> Member | None:
        """Read and prepare one request; `None` when nobody waits for it."""
        frame = self._receive(connection)
        if frame is None or not self._is_wanted(connection, frame, monotonic_ns()):
            return None
        if before:
            self._slot.join(frame.sent_ns)
        else:
            self._slot.begin(started_ns, started_ns + self._timeout_ns, frame.sent_ns)
        item = Item({}, self._executor.begin(frame.request_id, frame.deadline_ns, frame.depth))
        try:
            item.inputs = read_inputs(frame, self._executor.worker.signature)
        except ServiceError as error:
            item.error = error
        else:
            self._batches.prepare(item)
        return Member(connection, frame, item)

    def _answer_item(self, member: Member, started_ns: int) -> bool:
        """Answer one request; say whether it has failed."""
        connection, frame, item = member
        progress = Progress(frame, started_ns, item.times)
        self._batches.finish(item)
        with self._executor.resumed(item.request):
            try:
                reply = (
                    self._replies.success(progress, item.result)
                    if item.error is None
                    else self._replies.failure(progress, item.error)
                )
            except ServiceError as error:
                reply = self._replies.failure(progress, error)
            except BaseException as error:  # noqa: BLE001 - the endpoint's objects may do anything
                reply = self._replies.failed_by(progress, error)
        self._send(connection, frame, reply)
        return reply.failed
