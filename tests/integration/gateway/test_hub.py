"""The hub against sockets of a made-up worker: every way in which a call can end."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns, monotonic_s
from basic_inference_server.gateway.hub import Call, Hub, QueueFull, Unreachable, deadline_after
from basic_inference_server.wire.frames import (
    ReplyHeader,
    decode_request,
    encode_reply,
    encode_request,
    request_length,
)

PATIENCE_S = 10.0
LARGE = 8 * 1024 * 1024
KIND = b"application/json"


class Ending:
    """Takes note of how a call ended; fails when it ends twice."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()

    def on_reply(self, header: ReplyHeader, frame: bytes | bytearray) -> None:
        self.done.set_result(("reply", bytes(frame[header.body_at :])))

    def on_lost(self) -> None:
        self.done.set_result(("lost", b""))

    def on_deadline(self) -> None:
        self.done.set_result(("deadline", b""))

    async def wait(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(asyncio.shield(self.done), PATIENCE_S)


class Bench:
    """A hub, and the listening socket of a worker that the test plays."""

    def __init__(self, folder: Path, backlog: int = 100) -> None:
        self.loop = asyncio.get_running_loop()
        self.hub = Hub(self.loop)
        self.path = str(folder / "w.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(backlog)
        self.listener.setblocking(False)
        self.accepted: list[socket.socket] = []

    def call(self, body: bytes = b"{}", timeout_s: float = PATIENCE_S) -> tuple[Ending, Call]:
        ending = Ending()
        now_ns = monotonic_ns()
        deadline_ns = deadline_after(timeout_s, now_ns)
        head = encode_request(b"id-1", KIND, len(body), deadline_ns, now_ns)
        return ending, self.hub.call(self.path, head, body, deadline_ns, ending)

    async def accept(self) -> socket.socket:
        connection, _ = await self.loop.sock_accept(self.listener)
        connection.setblocking(False)
        self.accepted.append(connection)
        return connection

    async def receive(self, connection: socket.socket) -> bytes:
        """Return the body of the request on a connection."""
        data = bytearray()
        while not data or request_length(data) != len(data):
            chunk = await self.loop.sock_recv(connection, 1 << 20)
            assert chunk, "the gateway closed the connection"
            data += chunk
        return bytes(decode_request(data).body)

    async def answer(self, connection: socket.socket, body: bytes = b"[]") -> None:
        await self.loop.sock_sendall(connection, encode_reply(200, KIND, body, (1, 2, 3, 4)))

    async def is_left(self, connection: socket.socket) -> bool:
        """Whether the gateway has closed the connection, after what it had sent."""
        try:
            while await asyncio.wait_for(self.loop.sock_recv(connection, 1 << 20), PATIENCE_S):
                pass
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        self.hub.close()
        for one in (self.listener, *self.accepted):
            one.close()


Scenario = Callable[[Bench], Awaitable[None]]


def on_a_bench(folder: Path, scenario: Scenario, backlog: int = 100) -> None:
    async def run() -> None:
        bench = Bench(folder, backlog)
        try:
            await scenario(bench)
        finally:
            bench.close()

    uvloop.run(run())


def test_request_and_reply_arrive_as_they_were_sent(tmp_path: Path) -> None:
    """One connection, one frame each way, and then it is closed."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call(b'{"a":1}')
        assert 1 == bench.hub.in_flight
        worker = await bench.accept()
        assert b'{"a":1}' == await bench.receive(worker)
        await bench.answer(worker, b'{"b":2}')
        assert ("reply", b'{"b":2}') == await ending.wait()
        assert 0 == bench.hub.in_flight
        assert await bench.is_left(worker)

    on_a_bench(tmp_path, scenario)


def test_reply_may_be_cut_anywhere(tmp_path: Path) -> None:
    """At every byte: two pieces give the same reply as one."""
    frame = encode_reply(200, KIND, b"[1]", (1, 2, 3, 4))

    async def scenario(bench: Bench) -> None:
        for cut in range(1, len(frame)):
            ending, _ = bench.call()
            worker = await bench.accept()
            await bench.loop.sock_sendall(worker, frame[:cut])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not ending.done.done()
            await bench.loop.sock_sendall(worker, frame[cut:])
            assert ("reply", b"[1]") == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_reply_may_come_byte_by_byte(tmp_path: Path) -> None:
    """However slowly the worker writes, the reply is whole or not there."""

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call()
        worker = await bench.accept()
        for byte in encode_reply(200, KIND, b"[1]", (1, 2, 3, 4)):
            await bench.loop.sock_sendall(worker, bytes([byte]))
            await asyncio.sleep(0)
        assert ("reply", b"[1]") == await ending.wait()

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("size", [0, 65536, 65537, 300_000, LARGE])
def test_bodies_of_any_size_go_both_ways(tmp_path: Path, size: int) -> None:
    """What is larger than a socket takes goes on when there is room."""
    body = os.urandom(size)

    async def scenario(bench: Bench) -> None:
        ending, _ = bench.call(body)
        worker = await bench.accept()
        assert body == await bench.receive(worker)
        await bench.answer(worker, body)
        assert ("reply", body) == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_calls_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A large body that nobody reads does not hold up the next request."""

    async def scenario(bench: Bench) -> None:
        stuck, _ = bench.call(bytes(LARGE))
        quick, _ = bench.call(b"quick")
        await bench.accept()
        worker = await bench.accept()
        assert b"quick" == await bench.receive(worker)
        await bench.answer(worker)
        assert ("reply", b"[]") == await quick.wait()
        assert not stuck.done.done()

    on_a_bench(tmp_path, scenario)


def test_each_reply_reaches_its_own_caller(tmp_path: Path) -> None:
    """Two hundred calls at once, answered in another order than they were made."""

    async def scenario(bench: Bench) -> None:
        endings = [bench.call(b"%d" % number)[0] for number in range(200)]
        workers = [await bench.accept() for _ in endings]
        for worker in reversed(workers):
            await bench.answer(worker, await bench.receive(worker))
        replies = [await ending.wait() for ending in endings]
        assert [("reply", b"%d" % number) for number in range(200)] == replies
        assert 0 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario, backlog=300)


def test_call_out_of_an_answer_is_a_call_of_its_own(tmp_path: Path) -> None:
    """A new connection may get the number of the one that has just ended."""

    class Chained(Ending):
        def __init__(self, bench: Bench) -> None:
            super().__init__()
            self.bench = bench
            self.following: Ending | None = None

        def on_reply(self, header: ReplyHeader, frame: bytes | bytearray) -> None:
            super().on_reply(header, frame)
            self.following, _ = self.bench.call(b"second")

    async def scenario(bench: Bench) -> None:
        first = Chained(bench)
        now_ns = monotonic_ns()
        deadline_ns = deadline_after(PATIENCE_S, now_ns)
        head = encode_request(b"id", KIND, 5, deadline_ns, now_ns)
        bench.hub.call(bench.path, head, b"first", deadline_ns, first)
        for expected in (b"first", b"second"):
            worker = await bench.accept()
            assert expected == await bench.receive(worker)
            await bench.answer(worker, expected)
        assert ("reply", b"first") == await first.wait()
        assert first.following is not None
        assert ("reply", b"second") == await first.following.wait()

    on_a_bench(tmp_path, scenario)


def test_full_queue_is_said_at_once(tmp_path: Path) -> None:
    """The kernel's queue is the only one: what does not fit is not waited for."""

    async def scenario(bench: Bench) -> None:
        for _ in range(3):  # a backlog of two holds three
            bench.call()
        started_s = monotonic_s()
        for _ in range(100):
            with pytest.raises(QueueFull):
                bench.call()
        assert monotonic_s() - started_s < 0.5
        assert 3 == bench.hub.in_flight
        await bench.accept()
        bench.call()
        assert 4 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario, backlog=2)


@pytest.mark.parametrize("kind", ["no file", "nobody listens", "too long", "no socket"])
def test_socket_without_a_listener_is_unreachable(tmp_path: Path, kind: str) -> None:
    """A server that is not there is told from one that is busy."""

    async def scenario(bench: Bench) -> None:
        if kind == "nobody listens":
            bench.listener.close()
        elif kind == "no socket":
            (tmp_path / "file").write_text("")
            bench.path = str(tmp_path / "file")
        else:
            bench.path = str(tmp_path / ("x" * (200 if kind == "too long" else 1)))
        with pytest.raises(Unreachable):
            bench.call()
        assert 0 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Leave this process without a free file descriptor."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare[0] + 20, limits[1]))
    try:
        while True:
            spare.append(os.dup(spare[0]))
    except OSError:
        try:
            yield
        finally:
            for fd in spare:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_process_without_descriptors_says_so_by_the_same_name(tmp_path: Path) -> None:
    """A request that cannot be sent is not executed, whatever it was that is missing."""

    async def scenario(bench: Bench) -> None:
        ending = Ending()
        with no_descriptors_left(), pytest.raises(Unreachable):
            bench.hub.call(bench.path, b"head", b"", monotonic_ns() + NS_PER_S, ending)
        assert 0 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario)


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
        started_s = monotonic_s()
        worker.close()
        assert ("lost", b"") == await ending.wait()
        assert monotonic_s() - started_s < 1
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
    """Not before it, soon after it, and the connection is closed."""

    async def scenario(bench: Bench) -> None:
        started_s = monotonic_s()
        ending, _ = bench.call(bytes(LARGE if state == "half sent" else 2), timeout_s=0.1)
        worker = None if state == "queued" else await bench.accept()
        if worker is not None and state == "half answered":
            await bench.loop.sock_sendall(worker, b"BISr")
        assert ("deadline", b"") == await ending.wait()
        elapsed_s = monotonic_s() - started_s
        assert 0.1 <= elapsed_s < 0.1 + 0.5
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
