"""Turns one request frame into one reply through the endpoint."""

from __future__ import annotations

import sys
from copy import copy
from typing import ClassVar

from basic_inference_server._version import LIB_VER
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.output_recorder import OutputRecorder
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.serving.inputs import read_inputs
from basic_inference_server.serving.replies import Progress, Replies, Reply
from basic_inference_server.serving.streaming import StreamSender
from basic_inference_server.wire.frames import Accepts, FrameError, RequestFrame
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.own_process import own_process
from basic_inference_server.worker.streams import ItemStream, collected


class Responder:
    """Executes requests for one worker, keeping its scoreboard slot true."""

    make_executor: ClassVar[type[Executor]] = Executor

    def __init__(
        self, endpoint: FlaskWorker, spec: ServerSpec, slot: Slot, events: EventLog
    ) -> None:
        metadata = {"ver": spec.app_version, "ver_lib": LIB_VER}
        recorders = [one for one in (sys.stdout, sys.stderr) if isinstance(one, OutputRecorder)]

        def end_output_lines() -> None:
            """Show what a request printed without a line end as its own, not the next one's."""
            if own_process.is_forked:
                own_process.end_child()
            for recorder in recorders:
                if recorder.has_partial_line:
                    recorder.end_line()

        self._executor = self.make_executor(endpoint, metadata, end_output_lines)
        self._replies = Replies(self._executor, spec.app_version, events)
        self._signature = endpoint.signature
        self._timeout_ns = int(spec.timeout_s * NS_PER_S)
        self._streams = StreamSender(self._executor, self._replies, slot, self._timeout_ns)
        self._slot = slot
        self._events = events

    def beside(self, slot: Slot) -> Responder:
        """Return one that executes for the same worker at the same time, with a slot of its own."""
        other = copy(self)
        other._slot = slot  # noqa: SLF001 - its own kind
        other._streams = StreamSender(self._executor, self._replies, slot, self._timeout_ns)  # noqa: SLF001
        return other

    def serve(self, connection: FrameConnection) -> None:
        """Answer the one request on `connection`; a broken connection is nobody's error."""
        frame = self._receive(connection)
        started_ns = monotonic_ns()
        if frame is None or not self._is_wanted(connection, frame, started_ns):
            return
        self._slot.begin(started_ns, started_ns + self._timeout_ns, frame.sent_ns)
        failed = True
        try:
            reply, failed = self._answer(connection, Progress(frame, started_ns, PhaseTimes()))
        finally:
            self._slot.finish(started_ns, monotonic_ns(), failed=failed)
        if reply is not None:
            self._send(connection, frame, reply)

    def _receive(self, connection: FrameConnection) -> RequestFrame | None:
        try:
            return connection.receive()
        except (OSError, FrameError) as error:
            self._events.warning("bad_frame", error=str(error))
            return None

    def _is_wanted(self, connection: FrameConnection, frame: RequestFrame, now_ns: int) -> bool:
        """Say whether somebody still waits for the answer."""
        if now_ns < frame.deadline_ns and not connection.caller_has_left():
            return True
        self._events.debug("dropped_unexecuted", request_id=frame.request_id)
        return False

    def _send(self, connection: FrameConnection, frame: RequestFrame, reply: Reply) -> None:
        try:
            connection.send(reply.head, reply.body)
        except OSError as error:
            self._say_undelivered(frame, error)

    def _say_undelivered(self, frame: RequestFrame, error: OSError) -> None:
        self._events.debug("answer_undelivered", request_id=frame.request_id, error=str(error))

    def _answer(self, connection: FrameConnection, progress: Progress) -> tuple[Reply | None, bool]:
        """Execute the request; return the reply that is still to be sent, and whether it failed."""
        frame, executor = progress.frame, self._executor
        with executor.request(frame.request_id, frame.deadline_ns, frame.depth):
            try:
                inputs = read_inputs(frame, self._signature)
                result = executor.execute(inputs, progress.times)
                if isinstance(result, ItemStream):
                    if frame.accepts != Accepts.WHOLE:
                        return None, self._streams.send(connection, progress, result)
                    result = collected(result)
                reply = self._replies.success(progress, result)
            except ServiceError as error:
                reply = self._replies.failure(progress, error)
            except OSError as error:  # of the connection: the caller has left in mid-stream
                self._say_undelivered(frame, error)
                return None, False
            except BaseException as error:  # noqa: BLE001 - the endpoint's objects may do anything
                reply = self._replies.failed_by(progress, error)
        return reply, reply.failed
