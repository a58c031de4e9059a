"""Joins two pieces of news: a connection that broke, and the supervisor's word on why.

Both name the call by the instant at which it was sent, which is in the request's frame and on the
worker's slot of the scoreboard, so a cause never reaches another request's caller.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

PATIENCE_S = 0.25
KEPT = 1024


class DeathNotice(NamedTuple):
    """Why a worker died; `blames_request` when executing its request has caused it."""

    cause: str
    blames_request: bool = False


OnNotice = Callable[[DeathNotice | None], None]


class DeathNotices:
    """Holds notices for a moment, for whoever asks just before or after they arrive."""

    def __init__(self) -> None:
        self._notices: OrderedDict[int, DeathNotice] = OrderedDict()
        self._waiting: dict[int, tuple[OnNotice, asyncio.TimerHandle]] = {}

    def announce(self, call: int, notice: DeathNotice) -> None:
        """Take the supervisor's word on the death of a worker that executed `call`."""
        waiting = self._waiting.pop(call, None)
        if waiting is not None:
            on_notice, timer = waiting
            timer.cancel()
            on_notice(notice)
            return
        self._notices[call] = notice
        if len(self._notices) > KEPT:  # those of other gateway processes' calls
            self._notices.popitem(last=False)

    def when_known(self, call: int, on_notice: OnNotice) -> None:
        """Call `on_notice` with the notice of that call, or with `None` after a moment."""
        notice = self._notices.pop(call, None)
        if notice is not None:
            on_notice(notice)
            return

        def give_up() -> None:
            del self._waiting[call]
            on_notice(None)

        timer = asyncio.get_running_loop().call_later(PATIENCE_S, give_up)
        self._waiting[call] = (on_notice, timer)


def notice_of(message: dict[str, Any]) -> tuple[list[int], DeathNotice]:
    """Return calls and notice of the supervisor's push.

    Raises:
        KeyError: it lacks a field.
    """
    return message["calls"], DeathNotice(message["cause"], message["blames_request"])
