"""Sends requests at a fixed rate, whatever the server does, and enters each into a ledger."""

from __future__ import annotations

import asyncio
import time

from server_process import Address

from faults.exchange import exchange
from faults.ledger import Ledger

MAX_REQUESTS = 5000


class OpenLoop:
    """A bounded load; leaving the `async with` block waits for the answers still due."""

    def __init__(self, address: Address, request: bytes, rate: float, patience_s: float) -> None:
        self.ledger = Ledger()
        self.patience_s = patience_s
        self._address = address
        self._request = request
        self._interval_s = 1 / rate
        self._began = time.monotonic()
        self._requests: list[asyncio.Task[None]] = []
        self._sender: asyncio.Task[None] | None = None

    async def __aenter__(self) -> OpenLoop:
        self._began = time.monotonic()
        self._sender = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._sender is not None
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        # Each exchange ends by itself within the caller's patience.
        await asyncio.gather(*self._requests)

    @property
    def now_s(self) -> float:
        """Seconds since the load began, as the rows count them."""
        return time.monotonic() - self._began

    async def _send_all(self) -> None:
        for number in range(MAX_REQUESTS):
            planned_s = number * self._interval_s
            await asyncio.sleep(max(0.0, planned_s - self.now_s))
            self._requests.append(asyncio.create_task(self._send(planned_s)))

    async def _send(self, planned_s: float) -> None:
        row = self.ledger.open(planned_s)
        answer = await exchange(self._address, self._request, self.patience_s)
        self.ledger.close(
            row,
            answer.outcome,
            self.now_s,
            status=answer.status,
            worker_pid=answer.worker_pid,
            retry_after=answer.headers.get("retry-after", ""),
            detail=answer.detail,
        )
