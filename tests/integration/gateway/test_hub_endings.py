"""Every way in which a call through the hub can end without its answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.gateway.hub import Hub
from basic_inference_server.wire.frames import encode_reply, encode_request
from tests.support.hub_bench import KIND, LARGE, PATIENCE_S, Bench, on_a_bench


@pytest.mark.parametrize(
    "sent", [b"", b"B", encode_reply(200, KIND, b"[1,2,3]", (0, 0, 0, 0))[:-1]],
    ids=["nothing", "a byte", "all but a byte"],
)  # fmt: skip
@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
def test_worker_that_goes_away_is_noticed_at_once(
    tmp_path: Path,
    sent: bytes,
    reads: bool,
) -> None:
    """The end of the connection is the news; no time-out is waited for."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call()
        worker = await bench.accept()
        if reads:
            await bench.receive(worker)
        await bench.loop.sock_sendall(worker, sent)
        worker.close()
        assert ("lost", b"") == await ending.wait()
        assert 0 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario)


def test_worker_that_dies_within_a_large_request_is_noticed(tmp_path: Path) -> None:
    """While the rest of the body still waits to be sent."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call(bytes(LARGE))
        worker = await bench.accept()
        await bench.loop.sock_recv(worker, 1000)
        worker.close()
        assert ("lost", b"") == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_reply_before_the_whole_request_was_read_counts(tmp_path: Path) -> None:
    """A worker may refuse a body without reading all of it."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call(bytes(LARGE))
        worker = await bench.accept()
        await bench.answer(worker, b"refused")
        worker.shutdown(socket.SHUT_RD)
        assert ("reply", b"refused") == await ending.wait()

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" * 4, id="another protocol"),
        pytest.param(bytes(100), id="nul bytes"),
        pytest.param(encode_request(b"id", KIND, 0, 1, 1) + bytes(20), id="a request"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 7])
def test_reply_that_is_none_is_a_lost_call(tmp_path: Path, garbage: bytes, pieces: int) -> None:
    """Nothing of it reaches a client."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call()
        worker = await bench.accept()
        step = len(garbage) // pieces + 1
        for start in range(0, len(garbage), step):
            await bench.loop.sock_sendall(worker, garbage[start : start + step])
            await asyncio.sleep(0)
            if ending.done.done():
                break
        assert ("lost", b"") == await ending.wait()

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("state", ["queued", "accepted", "half answered", "half sent"])
def test_deadline_ends_the_call_in_time(tmp_path: Path, state: str) -> None:
    """Not before it, and the connection is closed."""

    async def scenario(bench: Bench) -> None:
        started_s = monotonic_s()
        ending, _ = bench.call(bytes(LARGE if state == "half sent" else 2), timeout_s=0.1)
        worker = None if state == "queued" else await bench.accept()
        if worker is not None and state == "half answered":
            await bench.loop.sock_sendall(worker, b"BISr")
        assert ("deadline", b"") == await ending.wait()
        elapsed_s = monotonic_s() - started_s
        assert elapsed_s >= 0.1
        assert 0 == bench.hub.in_flight
        assert await bench.is_left(worker or await bench.accept())

    on_a_bench(tmp_path, scenario)


def test_late_reply_goes_nowhere(tmp_path: Path) -> None:
    """After its deadline nobody hears of a call again, nor does the next one."""

    async def scenario(bench: Bench) -> None:
        late, _ = bench.call(timeout_s=0.02)
        worker = await bench.accept()
        assert ("deadline", b"") == await late.wait()
        following, _ = bench.call()
        second = await bench.accept()
        with pytest.raises(BrokenPipeError):
            await bench.answer(worker, b"late")
        await bench.answer(second, b"in time")
        assert ("reply", b"in time") == await following.wait()

    on_a_bench(tmp_path, scenario)


def test_deadlines_are_kept_one_by_one(tmp_path: Path) -> None:
    """A short call does not end a long one."""

    async def scenario(bench: Bench) -> None:
        long, _ = bench.call(timeout_s=PATIENCE_S)
        short, _ = bench.call(timeout_s=0.03)
        assert ("deadline", b"") == await short.wait()
        assert not long.done.done()
        await bench.answer(await bench.accept())
        assert ("reply", b"[]") == await long.wait()

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("size", [2, LARGE])
def test_abandoned_call_is_closed_and_silent(tmp_path: Path, size: int) -> None:
    """A worker finds the end of the connection, and nobody is told anything."""

    async def scenario(bench: Bench) -> None:
        ending, call = bench.call(bytes(size), timeout_s=0.05)
        worker = await bench.accept()
        bench.hub.abandon(call)
        bench.hub.abandon(call)
        assert 0 == bench.hub.in_flight
        assert await bench.is_left(worker)
        following, _ = bench.call(timeout_s=0.1)
        assert ("deadline", b"") == await following.wait()
        assert not ending.done.done()

    on_a_bench(tmp_path, scenario)


def test_closed_hub_leaves_nothing_open(tmp_path: Path) -> None:
    """At the end every connection is closed, answered or not."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call()
        worker = await bench.accept()
        bench.hub.close()
        assert await bench.is_left(worker)
        assert not ending.done.done()
        bench.hub = Hub(bench.loop)

    on_a_bench(tmp_path, scenario)


def test_listener_of_every_call_is_known(tmp_path: Path) -> None:
    """Who waits can be asked for, to tell it that nobody will answer."""

    async def scenario(bench: Bench) -> None:
        endings: list[Any] = [bench.call()[0] for _ in range(3)]
        assert endings == list(bench.hub.listeners())

    on_a_bench(tmp_path, scenario)
