"""Calls from an endpoint on an event loop to others; its other requests go on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import DeadlineExceeded
from basic_inference_server.serving.calls import (
    LOST_WORKER,
    READ_CHUNK,
    EndpointCaller,
    OutgoingCall,
)
from basic_inference_server.worker.call_error import CallError


class AsyncEndpointCaller(EndpointCaller):
    """Calls other endpoints on the running loop; cancelling the task closes the connections."""

    async def call_async(self, requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
        """Return for each request the answer, or the `CallError` that came instead."""
        deadline_ns, depth, request_id = self._particulars()

        async def one(signature: str, inputs: dict[str, Any]) -> Any:
            try:
                call = OutgoingCall(await self._route_async(signature), 0)
            except CallError as error:
                return error
            try:
                parts, timeout_s = call.begin(request_id, inputs, deadline_ns, depth)
                try:
                    await _send(call, parts, timeout_s)
                except LOST_WORKER:
                    call.begin_again()
                    await _send(call, parts, timeout_s)
            except CallError as error:
                return error
            except OSError as error:
                return call.send_error(error)
            else:
                return await _answer(call)
            finally:
                call.sock.close()

        return await asyncio.gather(*(one(*request) for request in requests))

    async def _route_async(self, signature: str) -> Any:
        """Return how to reach an endpoint; the supervisor is asked in a thread."""
        if self._knows(signature):
            return self._route(signature)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._route, signature)


async def _send(call: OutgoingCall, parts: list[bytes | memoryview], timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    for part in parts:
        try:
            await asyncio.wait_for(loop.sock_sendall(call.sock, part), timeout_s)
        except asyncio.TimeoutError as error:
            raise TimeoutError from error


async def _answer(call: OutgoingCall) -> Any:
    left_s = max(0.0, (call.deadline_ns - monotonic_ns()) / NS_PER_S)
    try:
        return await asyncio.wait_for(_received(call), left_s)
    except asyncio.TimeoutError:
        return call.error(504, DeadlineExceeded.code, "no answer yet")
    except OSError as error:
        return call.error(502, "worker_died", str(error))


async def _received(call: OutgoingCall) -> Any:
    loop = asyncio.get_running_loop()
    while True:
        outcome = call.take(await loop.sock_recv(call.sock, READ_CHUNK))
        if outcome is not None:
            return outcome
