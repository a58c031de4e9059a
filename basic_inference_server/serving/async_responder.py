"""Turns one request frame into one reply through an endpoint on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar, NamedTuple

from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.core.shared_slot import SharedSlot
from basic_inference_server.serving.async_connection import AsyncConnection
from basic_inference_server.serving.async_streaming import AsyncStreamSender
from basic_inference_server.serving.cancellation import Cancellation, HangUps
from basic_inference_server.serving.inputs import read_inputs
from basic_inference_server.serving.replies import Progress, Reply
from basic_inference_server.serving.responder import Responder
from basic_inference_server.wire.frames import Accepts, FrameError, RequestFrame
from basic_inference_server.worker.async_execution import AsyncExecutor
from basic_inference_server.worker.async_streams import AsyncItemStream, collected_async
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker

GATEWAY_GOES_WITHIN_S = 1.0


class Outcome(NamedTuple):
    """How a request has ended.

    Attributes:
        reply: what is still to be sent.
        failed: whether the endpoint has failed.
        is_late: whether it was cancelled at its deadline.
    """

    reply: Reply | None
    failed: bool
    is_late: bool = False


class AsyncResponder(Responder):
    """Executes the requests of one worker, each in a task and in a lane of the worker's slot."""

    make_executor: ClassVar[type[Executor]] = AsyncExecutor
    _executor: AsyncExecutor

    def __init__(
        self,
        endpoint: FlaskWorker,
        spec: ServerSpec,
        slot: Slot,
        shared: SharedSlot,
        events: EventLog,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(endpoint, spec, slot, events)
        self._free = list(reversed(shared.lanes))
        self._loop = loop
        self.hang_ups = HangUps(loop)

    async def serve_async(self, connection: AsyncConnection) -> None:
        """Answer the one request on `connection`; a broken connection is nobody's error."""
        frame = await self._receive_async(connection)
        started_ns = monotonic_ns()
        if frame is None or not self._is_wanted(connection, frame, started_ns):
            return
        lane = self._free.pop()
        lane.begin(started_ns, started_ns + self._timeout_ns, frame.sent_ns)
        failed = True
        try:
            progress = Progress(frame, started_ns, PhaseTimes())
            outcome = await self._answer_async(connection, progress, lane)
            failed = outcome.failed
        finally:
            lane.finish(started_ns, monotonic_ns(), failed=failed)
            self._free.append(lane)
        if outcome.reply is not None:
            try:
                await connection.send_async(outcome.reply.head, outcome.reply.body)
            except OSError as error:
                self._say_undelivered(frame, error)
        elif outcome.is_late:
            # The gateway has the same deadline. Closing first would look like a worker that died.
            await self._until_left(connection)

    async def _until_left(self, connection: AsyncConnection) -> None:
        left = asyncio.Event()
        self.hang_ups.watch(connection, left.set)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(left.wait(), GATEWAY_GOES_WITHIN_S)

    async def _receive_async(self, connection: AsyncConnection) -> RequestFrame | None:
        try:
            return await connection.receive_async()
        except (OSError, FrameError, asyncio.TimeoutError) as error:
            self._events.warning("bad_frame", error=str(error) or "the request did not come")
            return None

    async def _answer_async(
        self, connection: AsyncConnection, progress: Progress, lane: Slot
    ) -> Outcome:
        """Execute the request."""
        frame = progress.frame
        request = self._executor.begin(frame.request_id, frame.deadline_ns, frame.depth)
        cancellation = Cancellation(self._loop, self.hang_ups, connection, request)
        with self._executor.resumed(request), cancellation:
            try:
                inputs = read_inputs(frame, self._executor.worker.signature)
                result = await self._executor.execute_async(inputs, progress.times)
                if isinstance(result, AsyncItemStream) and frame.accepts != Accepts.WHOLE:
                    sender = AsyncStreamSender(
                        connection, progress, cancellation, lane, self._timeout_ns
                    )
                    failed = await sender.send(result, self._executor, self._replies)
                    return Outcome(None, failed)
                reply = self._replies.success(progress, await collected_async(result))
            except ServiceError as error:
                reply = self._replies.failure(progress, error)
            except asyncio.CancelledError as error:
                if not cancellation.has_come:  # the endpoint's own
                    reply = self._replies.failed_by(progress, error)
                    return Outcome(reply, reply.failed)
                reason = "deadline" if cancellation.is_late else "caller left"
                self._events.debug("request_cancelled", request_id=frame.request_id, reason=reason)
                return Outcome(None, cancellation.is_late, cancellation.is_late)
            except OSError as error:  # of the connection: the caller has left in mid-stream
                self._say_undelivered(frame, error)
                return Outcome(None, False)
            except BaseException as error:  # noqa: BLE001 - the endpoint's objects may do anything
                reply = self._replies.failed_by(progress, error)
        return Outcome(reply, reply.failed)
