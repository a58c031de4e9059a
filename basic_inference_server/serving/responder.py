"""Turns one request frame into one reply frame through the endpoint."""

from __future__ import annotations

import sys
import traceback

from basic_inference_server._version import LIB_VER
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import EndpointError, ServiceError
from basic_inference_server.core.logs import EventLog, OutputRecorder
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.calls import EndpointCaller
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.wire.error_body import render_error
from basic_inference_server.wire.frames import (
    MAX_MICROSECONDS,
    FrameError,
    RequestFrame,
    encode_reply,
)
from basic_inference_server.wire.json_codec import decode_object, encode
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker

JSON = b"application/json"


class Responder:
    """Executes requests for one worker, keeping its scoreboard slot true."""

    def __init__(
        self, endpoint: FlaskWorker, spec: ServerSpec, slot: Slot, events: EventLog,
        caller: EndpointCaller,
    ) -> None:  # fmt: skip
        metadata = {"ver": spec.app_version, "ver_lib": LIB_VER}
        recorders = [one for one in (sys.stdout, sys.stderr) if isinstance(one, OutputRecorder)]

        def end_output_lines() -> None:
            """Show what a request printed without a line end as its own, not the next one's."""
            for recorder in recorders:
                if recorder.has_partial_line:
                    recorder.end_line()

        self._executor = Executor(endpoint, metadata, end_output_lines)
        self._version = spec.app_version
        self._timeout_ns = int(spec.timeout_s * NS_PER_S)
        self._slot = slot
        self._caller = caller
        self._events = events

    def serve(self, connection: FrameConnection) -> None:
        """Answer the one request on `connection`; a broken connection is nobody's error."""
        frame = self._receive(connection)
        started_ns = monotonic_ns()
        if frame is None or not self._is_wanted(connection, frame, started_ns):
            return
        self._slot.begin(started_ns, started_ns + self._timeout_ns, frame.sent_ns)
        failed = True
        try:
            reply, failed = self._execute(frame, started_ns)
        finally:
            self._slot.finish(started_ns, monotonic_ns(), failed=failed)
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

    def _send(self, connection: FrameConnection, frame: RequestFrame, reply: bytes) -> None:
        try:
            connection.send(reply)
        except OSError as error:
            self._events.debug("answer_undelivered", request_id=frame.request_id, error=str(error))

    def _execute(self, frame: RequestFrame, started_ns: int) -> tuple[bytes, bool]:
        times = PhaseTimes()
        self._caller.frame = frame
        try:
            result = self._executor.execute(decode_object(frame.body), frame.request_id, times)
            return self._success(frame, started_ns, times, result), False
        except ServiceError as error:
            return self._failure(frame, started_ns, times, error)

    def _success(
        self, frame: RequestFrame, started_ns: int, times: PhaseTimes, result: object,
        call_id: int | None = None,
    ) -> bytes:  # fmt: skip
        """Return the reply with a result.

        Raises:
            EndpointError: it cannot be written as JSON.
        """
        try:
            body = encode(self._executor.answer(result, call_id))
        except Exception as error:
            signature = self._executor.worker.signature
            raise EndpointError(
                f"{signature} returned something that cannot be written as JSON: {error}"
            ) from error
        return encode_reply(200, JSON, body, _phases(frame, started_ns, times))

    def _failure(
        self, frame: RequestFrame, started_ns: int, times: PhaseTimes, error: ServiceError
    ) -> tuple[bytes, bool]:
        """Return the reply with an error, and whether it is the server side's fault."""
        failed = error.status >= 500
        body = render_error(error, frame.request_id, self._version)
        self._log_failure(error, frame.request_id)
        phases = _phases(frame, started_ns, times)
        return encode_reply(error.status, JSON, body, phases, failed=failed), failed

    def _log_failure(self, error: ServiceError, request_id: str) -> None:
        if error.status < 500:
            self._events.debug("refused", code=error.code, error=error.message,
                               request_id=request_id)  # fmt: skip
            return
        cause = error.__cause__ or error
        trace = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
        self._events.error(
            "request_failed", code=error.code, error=error.message,
            request_id=request_id, traceback=trace,
        )  # fmt: skip


def _phases(frame: RequestFrame, started_ns: int, times: PhaseTimes) -> tuple[int, int, int, int]:
    queue_us = min((started_ns - frame.sent_ns) // 1000, MAX_MICROSECONDS)
    return max(queue_us, 0), times.pre_us, times.predict_us, times.post_us
