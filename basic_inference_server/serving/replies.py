"""Makes the reply frames of one endpoint: of results, of errors."""

from __future__ import annotations

from typing import Any, NamedTuple

from basic_inference_server.core.error_detail import class_raised
from basic_inference_server.core.errors import EndpointError, ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.showing import text_of, trace_of
from basic_inference_server.wire.error_body import render_error
from basic_inference_server.wire.frames import (
    JSON_TYPE,
    MAX_MICROSECONDS,
    RequestFrame,
    encode_reply_head,
)
from basic_inference_server.wire.json_codec import encode
from basic_inference_server.worker.binary import Binary, wire_parts
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.execution import Executor, PhaseTimes, describe

JSON = JSON_TYPE.encode()


class Reply(NamedTuple):
    """A reply frame, in two parts so that a large body is not copied."""

    head: bytes
    body: bytes | memoryview
    failed: bool


class Progress(NamedTuple):
    """One request on its way through the worker."""

    frame: RequestFrame
    started_ns: int
    times: PhaseTimes

    def phases_us(self) -> tuple[int, int, int, int]:
        """Return how long it has waited, and how long each hook took."""
        queue_us = min((self.started_ns - self.frame.sent_ns) // 1000, MAX_MICROSECONDS)
        times = self.times
        return max(queue_us, 0), times.pre_us, times.predict_us, times.post_us


class Replies:
    """Makes replies, and logs what failed."""

    def __init__(self, executor: Executor, version: str, events: EventLog) -> None:
        self._executor = executor
        self._version = version
        self._events = events

    def success(self, progress: Progress, result: Any) -> Reply:
        """Return the reply with a result.

        Raises:
            EndpointError: it cannot be sent.
        """
        if isinstance(result, Binary):
            return self._binary(progress, result)
        try:
            body = encode(self._executor.answer(result))
        except BaseException as error:  # of what the endpoint's own classes do, or its iterators
            raise self._unwritable(error) from error
        return Reply(encode_reply_head(200, JSON, len(body), progress.phases_us()), body, False)

    def encoded(self, value: Any) -> bytes:
        """Return something of the endpoint's as JSON.

        Raises:
            EndpointError: it cannot be written as JSON.
        """
        try:
            return encode(value)
        except BaseException as error:  # of what the endpoint's own classes do, or its iterators
            raise self._unwritable(error) from error

    def _unwritable(self, error: BaseException) -> ServiceError:
        if isinstance(error, CallError):  # of an iterator that calls
            return self._executor.failure(error)
        reason = text_of(error) if isinstance(error, TypeError) else describe(error)
        signature = self._executor.worker.signature
        return EndpointError(
            f"{signature} returned something that cannot be written as JSON: {reason}"
        )

    def _binary(self, progress: Progress, result: Binary) -> Reply:
        try:
            body, content_type, file_name = wire_parts(result)
        except Exception as error:
            signature = self._executor.worker.signature
            raise EndpointError(
                f"{signature} returned a Binary that cannot be sent: {error}"
            ) from error
        head = encode_reply_head(
            200, content_type, len(body), progress.phases_us(), file_name=file_name
        )
        return Reply(head, body, False)

    def failure(self, progress: Progress, error: ServiceError) -> Reply:
        """Return the reply with an error; it counts as failed when the server side is at fault."""
        body = self.error_body(progress.frame, error)
        failed = error.status >= 500
        head = encode_reply_head(error.status, JSON, len(body), progress.phases_us(), failed=failed)
        return Reply(head, body, failed)

    def failed_by(self, progress: Progress, error: BaseException) -> Reply:
        """Return the reply with what an object of the endpoint's has raised, whatever it was."""
        return self.failure(progress, self._executor.failure(error))

    def error_body(self, frame: RequestFrame, error: ServiceError) -> bytes:
        """Log an error and return what the caller is told."""
        self.log_failure(error, frame.request_id)
        raised = class_raised(error) if error.status >= 500 else None
        return render_error(error, frame.request_id, self._version, raised)

    def log_failure(self, error: ServiceError, request_id: str) -> None:
        """Log an error, with the traceback of what the endpoint has raised."""
        if error.status < 500:
            self._events.debug("refused", code=error.code, error=error.message,
                               request_id=request_id)  # fmt: skip
            return
        trace = trace_of(error.__cause__ or error)
        self._events.error(
            "request_failed", code=error.code, error=error.message,
            request_id=request_id, traceback=trace,
        )  # fmt: skip
