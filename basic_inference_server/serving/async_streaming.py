"""Sends a streamed answer of an endpoint on the event loop."""

from __future__ import annotations

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.scoreboard import Slot
from basic_inference_server.serving.async_connection import AsyncConnection
from basic_inference_server.serving.cancellation import Cancellation
from basic_inference_server.serving.replies import Progress, Replies
from basic_inference_server.serving.streaming import SEND_TIMEOUT_S
from basic_inference_server.wire.frames import encode_chunk, encode_reply_head
from basic_inference_server.wire.stream_layouts import Layout, layout_for
from basic_inference_server.worker.async_execution import AsyncExecutor
from basic_inference_server.worker.async_streams import AsyncItemStream
from basic_inference_server.worker.own_process import own_process


class AsyncStreamSender:
    """Sends one stream; every item has the endpoint's whole time."""

    def __init__(
        self,
        connection: AsyncConnection,
        progress: Progress,
        cancellation: Cancellation,
        lane: Slot,
        timeout_ns: int,
    ) -> None:
        self._connection = connection
        self._progress = progress
        self._cancellation = cancellation
        self._request = cancellation.request
        self._lane = lane
        self._timeout_ns = timeout_ns
        self._patience_ns = progress.frame.deadline_ns - progress.frame.sent_ns
        self._layout: Layout = layout_for(progress.frame.accepts)
        self._has_begun = False

    async def send(
        self, stream: AsyncItemStream, executor: AsyncExecutor, replies: Replies
    ) -> bool:
        """Send all items; say whether the endpoint has failed.

        Raises:
            ServiceError: it has failed before the first item; nothing was sent.
            OSError: the caller has left.
            CancelledError: the caller has left, or the next item did not come in time.
        """
        layout = self._layout
        try:
            async for item in stream:
                await self._push(encode_chunk(layout.item(replies.encoded(item))))
                self._give_time(0)
            metadata = replies.encoded(executor.answer({}))
            await self._push(encode_chunk(layout.end(metadata), 200))
        except ServiceError as error:
            if not self._has_begun:
                raise
            body = replies.error_body(self._progress.frame, error)
            await self._push(encode_chunk(body, error.status))
            return error.status >= 500
        finally:
            try:
                await stream.aclose()
            except ServiceError as error:  # nobody is there to be told
                replies.log_failure(error, self._progress.frame.request_id)
        return False

    async def _push(self, chunk: bytes) -> None:
        """Send a chunk; while the caller does not read, the endpoint is not what takes long."""
        own_process.end_child()
        if not self._has_begun:
            head = encode_reply_head(
                200, self._layout.content_type, 0, self._progress.phases_us(), is_stream=True
            )
            chunk, self._has_begun = head + chunk, True
        try:
            left = self._connection.send_now(chunk)
            while left:
                self._give_time(int(SEND_TIMEOUT_S * NS_PER_S))
                left = await self._connection.send_some_async(left, SEND_TIMEOUT_S)
        except OSError:
            # The generator is closed now; its clean-up must not be cancelled for the same reason.
            self._cancellation.disarm()
            raise

    def _give_time(self, waiting_ns: int) -> None:
        now_ns = monotonic_ns()
        self._lane.extend(now_ns + waiting_ns + self._timeout_ns)
        self._request.deadline_ns = now_ns + waiting_ns + self._patience_ns
