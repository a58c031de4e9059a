"""Answers that come item by item, of an endpoint on an event loop: async generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import AsyncGeneratorType
from typing import Any

from basic_inference_server.core.errors import ServiceError
from basic_inference_server.worker.streams import collected


class AsyncItemStream:
    """The items of one answer, each made ready for the caller when it is asked for.

    Args:
        source: what the endpoint yields.
        finish: makes an item ready.
        failure: makes what is told the caller of what the endpoint has raised.
    """

    __slots__ = ("_failure", "_finish", "_source")

    def __init__(
        self,
        source: AsyncIterator[Any],
        finish: Callable[[Any], Awaitable[Any]],
        failure: Callable[[BaseException], ServiceError],
    ) -> None:
        self._source = source
        self._finish = finish
        self._failure = failure

    def __aiter__(self) -> AsyncItemStream:
        return self

    async def __anext__(self) -> Any:
        """Return the next item.

        Raises:
            StopAsyncIteration: there are no more.
            ServiceError: the endpoint has raised something.
            CancelledError: the task was cancelled.
        """
        try:
            item = await anext(self._source)
        except (StopAsyncIteration, ServiceError, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise self._failure(error) from error
        try:
            return await self._finish(item)
        except (ServiceError, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise self._failure(error) from error

    async def aclose(self) -> None:
        """End the endpoint's generator, where it waits: nobody wants more of it.

        Raises:
            ServiceError: the endpoint has raised something while it cleaned up.
        """
        close = getattr(self._source, "aclose", None)
        if close is not None:
            try:
                await close()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                raise self._failure(error) from error


def is_async_stream(value: Any) -> bool:
    """Say whether an endpoint has returned an async generator."""
    return isinstance(value, AsyncGeneratorType)


async def each(items: Generator[Any, None, None]) -> AsyncIterator[Any]:
    """Yield the items of a plain generator."""
    try:
        for item in items:
            yield item
    finally:
        items.close()


async def collected_async(result: Any) -> Any:
    """Return a result whole: the items of a stream as a list."""
    if not isinstance(result, AsyncItemStream):
        return collected(result)
    try:
        return [item async for item in result]
    finally:
        await result.aclose()
