"""What the request is that this thread, or this task of an event loop, executes now."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class CurrentRequest:
    """One request while it is executed.

    Attributes:
        request_id: its id; empty outside of a request, and for several of a batch together.
        call_id: its number in this worker, from 1.
        deadline_ns: until when it waits for an answer; monotonic nanoseconds, 0 for no limit.
        depth: how many endpoints have called one another to get here.
        calls_as: the id under which it calls other endpoints, where it has none of its own.
    """

    request_id: str = ""
    call_id: int = 0
    deadline_ns: int = 0
    depth: int = 0
    calls_as: str = ""


NONE: Final = CurrentRequest()
_current: ContextVar[CurrentRequest] = ContextVar("current_request", default=NONE)
current_request = _current.get


def _nothing() -> None:
    pass


class Executing:
    """Has what is done in a `with` block belong to one request."""

    __slots__ = ("_before_end", "_request", "_token")

    def __init__(self, request: CurrentRequest, before_end: Callable[[], None] = _nothing) -> None:
        self._request = request
        self._before_end = before_end

    def __enter__(self) -> CurrentRequest:
        request = self._request
        self._token = _current.set(request)
        return request

    def __exit__(self, *_: object) -> None:
        self._before_end()
        _current.reset(self._token)
