"""Lets requests in, fairly between endpoints when the gateway itself is the bottleneck.

A turn of the event loop starts only so many requests. What has been read beyond that waits, by
endpoint, and the following turns take one of each endpoint in rotation. So a flood for one endpoint
makes turns no longer, and another endpoint's request waits for about one of them. Below that load
nothing waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from basic_inference_server.core.errors import ServiceError
from basic_inference_server.gateway.signature_peek import signature_of

if TYPE_CHECKING:
    import asyncio

    from basic_inference_server.gateway.exchange import Exchange

    Handle = Callable[[Exchange, str | None], None]

STARTS_PER_TURN = 32
LONGEST_PEEK = 65536


class Turnstile:
    """Stands between the connections of a gateway process and what answers them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Handle) -> None:
        self._loop = loop
        self._handle = handle
        self._turn_s = -1.0
        self._left = 0
        self._waiting: OrderedDict[str, deque[tuple[Exchange, str | None]]] = OrderedDict()

    def enter(self, exchange: Exchange, bound_signature: str | None) -> None:
        """Handle the request now, or in its turn."""
        # The loop reads its clock once a turn, to the millisecond: asking it is cheaper than a
        # callback at the end of every turn, and quick turns of one millisecond count as one.
        now_s = self._loop.time()
        if now_s != self._turn_s:
            self._turn_s = now_s
            self._left = STARTS_PER_TURN
        if self._left and not self._waiting:
            self._left -= 1
            self._handle(exchange, bound_signature)
            return
        if not self._waiting:
            self._loop.call_soon(self._next_turn)
        key = bound_signature or _endpoint_of(exchange)
        self._waiting.setdefault(key, deque()).append((exchange, bound_signature))

    def _next_turn(self) -> None:
        waiting = self._waiting
        starts = 0
        while waiting and starts < STARTS_PER_TURN:
            key, queue = next(iter(waiting.items()))
            exchange, bound_signature = queue.popleft()
            if queue:
                waiting.move_to_end(key)
            else:
                del waiting[key]
            if exchange.connection.awaits(exchange):
                starts += 1
                self._handle(exchange, bound_signature)
        if waiting:
            self._loop.call_soon(self._next_turn)


def _endpoint_of(exchange: Exchange) -> str:
    """Return whom a request is probably for; one that is wrong in itself is nobody's."""
    path = exchange.path
    if path != b"/run" or not 0 < len(exchange.body) <= LONGEST_PEEK:
        return path.decode("utf-8", "replace")
    try:
        return signature_of(exchange.body)
    except ServiceError:
        return ""
