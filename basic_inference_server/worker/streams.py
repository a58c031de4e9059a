"""Answers that come item by item: an endpoint that returns a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any

from basic_inference_server.core.errors import ServiceError


class ItemStream:
    """The items of one answer, each made ready for the caller when it is asked for.

    Args:
        source: what the endpoint yields.
        finish: makes an item ready.
        failure: makes what is told the caller of what the endpoint has raised.
    """

    __slots__ = ("_failure", "_finish", "_source")

    def __init__(
        self,
        source: Iterator[Any],
        finish: Callable[[Any], Any],
        failure: Callable[[BaseException], ServiceError],
    ) -> None:
        self._source = source
        self._finish = finish
        self._failure = failure

    def __iter__(self) -> ItemStream:
        return self

    def __next__(self) -> Any:
        """Return the next item.

        Raises:
            StopIteration: there are no more.
            ServiceError: the endpoint has raised something.
        """
        try:
            item = next(self._source)
        except (StopIteration, ServiceError):
            raise
        except BaseException as error:
            raise self._failure(error) from error
        try:
            return self._finish(item)
        except ServiceError:
            raise
        except BaseException as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """End the endpoint's generator, where it waits: nobody wants more of it.

        Raises:
            ServiceError: the endpoint has raised something while it cleaned up.
        """
        close = getattr(self._source, "close", None)
        if close is not None:
            try:
                close()
            except BaseException as error:
                raise self._failure(error) from error


def is_stream(value: Any) -> bool:
    """Say whether an endpoint has returned something that yields its items one after another."""
    return isinstance(value, GeneratorType)


def collected(result: Any) -> Any:
    """Return a result whole: the items of a stream as a list."""
    return list(result) if isinstance(result, ItemStream) else result
