"""Requests and replies through the hub, against sockets of a made-up worker."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.gateway import hub
from basic_inference_server.gateway.hub import QueueFull, Unreachable, deadline_after
from basic_inference_server.wire.frames import ReplyHeader, encode_reply, encode_request
from tests.support.hub_bench import KIND, LARGE, PATIENCE_S, Bench, Ending, on_a_bench


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


def test_socket_that_lost_its_name_is_reached_by_its_link(tmp_path: Path) -> None:
    """A request does not depend on a file that anybody may remove."""

    async def scenario(bench: Bench) -> None:
        handle = os.open(bench.path, os.O_PATH)
        Path(bench.path).unlink()
        with pytest.raises(Unreachable):
            bench.call()
        bench.link = f"/proc/self/fd/{handle}"
        ending, _ = bench.call()
        worker = await bench.accept()
        await bench.answer(worker, b"[1]")
        assert ("reply", b"[1]") == await ending.wait()
        os.close(handle)

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("dying", [1, 2])
def test_worker_that_dies_before_a_byte_was_sent_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dying: int
) -> None:
    """Another one gets the request, once; when that dies as well, nobody was reached."""

    async def scenario(bench: Bench) -> None:
        connect, dead = hub._connect, list[int]()

        def connect_to_the_dying(sock: socket.SocketType, path: str, link: str) -> None:
            connect(sock, path, link)
            if len(dead) < dying:
                accepted, _ = bench.listener.accept()
                accepted.close()
                dead.append(1)

        monkeypatch.setattr(hub, "_connect", connect_to_the_dying)
        if dying == 2:
            with pytest.raises(Unreachable, match="Broken pipe"):
                bench.call()
            assert 0 == bench.hub.in_flight
            return
        ending, _ = bench.call(b"{}")
        worker = await bench.accept()
        assert b"{}" == await bench.receive(worker)
        await bench.answer(worker, b"[1]")
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
        for _ in range(100):
            with pytest.raises(QueueFull):
                bench.call()
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
