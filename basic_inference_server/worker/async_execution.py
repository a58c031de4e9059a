"""Runs requests through an endpoint whose `_predict` is an `async def`, on the running loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from inspect import iscoroutine
from typing import Any

from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.worker.async_streams import (
    AsyncItemStream,
    collected_async,
    each,
    is_async_stream,
)
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.streams import is_stream


class AsyncExecutor(Executor):
    """Runs requests through a loaded worker; `_pre_process` and `_post_process` may be plain."""

    async def execute_async(self, inputs: dict[str, Any], times: PhaseTimes) -> Any:
        """Return what `execute` would; the result of a generator is an `AsyncItemStream`.

        Raises:
            BadInput, EndpointError: as `execute`.
            CancelledError: the task was cancelled, or the endpoint has raised that itself.
        """
        try:
            prepared = await self._prepared(inputs, times)
            predicted = await self._predicted(prepared, times)
            return await self._post_processed(inputs, predicted, times)
        except (ServiceError, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise self.failure(error) from error

    async def whole_async(self, inputs: dict[str, Any], times: PhaseTimes) -> Any:
        """Return the endpoint's result; the items of a stream as a list.

        Raises:
            BadInput, EndpointError: as `execute`.
        """
        try:
            return await collected_async(await self.execute_async(inputs, times))
        except asyncio.CancelledError as error:
            raise self.failure(error) from error

    async def _prepared(self, inputs: dict[str, Any], times: PhaseTimes) -> Any:
        started_ns = monotonic_ns()
        prepared = self.pre_process(inputs, times)
        if iscoroutine(prepared):
            try:
                prepared = await prepared
            except (ValueError, TypeError, KeyError) as error:
                raise self.refusal(error) from error
            times.pre_us = (monotonic_ns() - started_ns) // 1000
        return prepared

    async def _predicted(self, prepared: Any, times: PhaseTimes) -> Any:
        started_ns = monotonic_ns()
        predicted = self._predict(prepared, times)
        if iscoroutine(predicted):
            try:
                predicted = await predicted
            except (TypeError, AttributeError) as error:
                self._explain_slip(error, prepared)
                raise
            times.predict_us = (monotonic_ns() - started_ns) // 1000
        return predicted

    async def _post_processed(
        self, inputs: dict[str, Any], predicted: Any, times: PhaseTimes
    ) -> Any:
        async def finish(item: Any) -> Any:
            return self._checked(inputs, await self._post(item))

        async def check(item: Any) -> Any:
            return self._checked(inputs, item)

        items = _items_of(predicted)
        if items is not None:
            return AsyncItemStream(items, finish, self.failure)
        started_ns = monotonic_ns()
        result = await self._post(predicted)
        items = _items_of(result)
        if items is not None:
            return AsyncItemStream(items, check, self.failure)
        result = self._whole(inputs, result)
        times.post_us = (monotonic_ns() - started_ns) // 1000
        return result

    async def _post(self, predicted: Any) -> Any:
        result = self.worker._post_process(predicted)  # noqa: SLF001
        return await result if iscoroutine(result) else result


def _items_of(value: Any) -> AsyncIterator[Any] | None:
    """Return what yields the items of an answer, or `None` when it comes whole."""
    if is_async_stream(value):
        items: AsyncIterator[Any] = value
        return items
    return each(value) if is_stream(value) else None
