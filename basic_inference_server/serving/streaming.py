"""Sends a streamed answer: each item when it is there, an error as the last one."""

from __future__ import annotations

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.serving.replies import Progress, Replies
from basic_inference_server.wire.frames import encode_chunk, encode_reply_head
from basic_inference_server.wire.stream_layouts import layout_for
from basic_inference_server.worker.current_request import current_request
from basic_inference_server.worker.execution import Executor
from basic_inference_server.worker.own_process import own_process
from basic_inference_server.worker.streams import ItemStream

# The gateway ends a connection whose client reads nothing for 30 s; this is only for its absence.
SEND_TIMEOUT_S = 45


class StreamSender:
    """Sends streams for one worker; every item has the endpoint's whole time."""

    def __init__(self, executor: Executor, replies: Replies, slot: Slot, timeout_ns: int) -> None:
        self._executor = executor
        self._replies = replies
        self._slot = slot
        self._timeout_ns = timeout_ns

    def send(self, connection: FrameConnection, progress: Progress, stream: ItemStream) -> bool:
        """Send all items; say whether the endpoint has failed.

        Raises:
            ServiceError: it has failed before the first item; nothing was sent.
            OSError: the caller has left.
        """
        layout = layout_for(progress.frame.accepts)
        patience_ns = progress.frame.deadline_ns - progress.frame.sent_ns
        request = current_request()
        has_begun = False

        def push(chunk: bytes) -> None:
            nonlocal has_begun
            own_process.end_child()
            if not has_begun:
                head = encode_reply_head(
                    200, layout.content_type, 0, progress.phases_us(), is_stream=True
                )
                chunk, has_begun = head + chunk, True
            self._push(connection, chunk)

        try:
            for item in stream:
                push(encode_chunk(layout.item(self._replies.encoded(item))))
                now_ns = monotonic_ns()
                self._slot.extend(now_ns + self._timeout_ns)
                request.deadline_ns = now_ns + patience_ns
            metadata = self._replies.encoded(self._executor.answer({}))
            push(encode_chunk(layout.end(metadata), 200))
        except ServiceError as error:
            if not has_begun:
                raise
            body = self._replies.error_body(progress.frame, error)
            push(encode_chunk(body, error.status))
            return error.status >= 500
        finally:
            try:
                stream.close()
            except ServiceError as error:  # nobody is there to be told
                self._replies.log_failure(error, progress.frame.request_id)
        return False

    def _push(self, connection: FrameConnection, chunk: bytes) -> None:
        """Send a chunk; while the caller does not read, the endpoint is not what takes long."""
        left = connection.send_now(chunk)
        while left:
            waited_until_ns = monotonic_ns() + int(SEND_TIMEOUT_S * NS_PER_S)
            self._slot.extend(waited_until_ns + self._timeout_ns)
            left = connection.send_some(left, SEND_TIMEOUT_S)
