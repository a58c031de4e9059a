"""Streamed replies through the hub, against sockets of a made-up worker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.gateway.hub import NEVER_NS, Call
from basic_inference_server.wire.frames import ReplyHeader, encode_chunk, encode_reply_head
from tests.support.hub_bench import LARGE, PATIENCE_S, Bench, Ending, Items, on_a_bench

HEAD = encode_reply_head(200, b"application/x-ndjson", 0, (1, 2, 3, 4), is_stream=True)
SHORT_NS = NS_PER_S // 20


async def until(probe: Callable[[], object]) -> None:
    """Wait for something that the loop does."""

    async def poll() -> None:
        while not probe():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), PATIENCE_S)


async def begun(
    bench: Bench, *chunks: bytes, patience_ns: int = NS_PER_S
) -> tuple[Ending, Call, socket.socket]:
    """Return a call whose streamed answer has begun with these chunks."""
    ending, call = bench.call()
    ending.patience_ns = patience_ns
    worker = await bench.accept()
    await bench.receive(worker)
    await bench.loop.sock_sendall(worker, HEAD + b"".join(map(encode_chunk, chunks)))
    await until(lambda: ending.items and len(chunks) <= len(b"".join(ending.items.parts)))
    return ending, call, worker


def got(ending: Ending) -> bytes:
    assert ending.items is not None
    return b"".join(ending.items.parts)


def _is_more(ending: Ending, than: bytes) -> bool:
    return got(ending) != than


def test_stream_may_be_cut_anywhere(tmp_path: Path) -> None:
    """At every byte: two pieces give the same items as one."""
    stream = HEAD + encode_chunk(b"1\n") + encode_chunk(b"2\n") + encode_chunk(b"", 200)

    async def scenario(bench: Bench) -> None:
        for cut in range(1, len(stream)):
            ending, _ = bench.call()
            worker = await bench.accept()
            await bench.loop.sock_sendall(worker, stream[:cut])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not ending.done.done()
            await bench.loop.sock_sendall(worker, stream[cut:])
            assert ("end 200", b"1\n2\n") == await ending.wait()
            assert 0 == bench.hub.in_flight
            assert await bench.is_left(worker)

    on_a_bench(tmp_path, scenario)


def test_stream_in_one_piece_with_its_head_arrives(tmp_path: Path) -> None:
    """An endpoint that yields nothing, or everything at once; the status is the last chunk's."""

    async def scenario(bench: Bench) -> None:
        for content, status in ((b"", 200), (b"1\n2\n", 200), (b"error\n", 500)):
            ending, _ = bench.call()
            worker = await bench.accept()
            await bench.loop.sock_sendall(worker, HEAD + encode_chunk(content, status))
            assert (f"end {status}", content) == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_large_items_arrive(tmp_path: Path) -> None:
    """Many times what a socket holds, handed on as it comes."""

    async def scenario(bench: Bench) -> None:
        ending, _, worker = await begun(bench)
        content = bytes(range(256)) * (LARGE // 256)
        await bench.loop.sock_sendall(worker, encode_chunk(content) + encode_chunk(content, 200))
        assert ("end 200", content * 2) == await ending.wait()
        assert ending.items is not None
        assert 10 < len(ending.items.parts)

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize(
    "sent", [b"", b"\7", encode_chunk(b"half")[:-1], encode_chunk(b"whole"),
             encode_chunk(b"last", 200)[:-1]],
    ids=["only a head", "half a header", "half an item", "an item", "all but a byte"],
)  # fmt: skip
def test_worker_that_dies_in_mid_stream_is_noticed_at_once(tmp_path: Path, sent: bytes) -> None:
    """What had come was handed on; the end is told once."""

    async def scenario(bench: Bench) -> None:
        ending, _, worker = await begun(bench, b"first,")
        await bench.loop.sock_sendall(worker, sent)
        worker.close()
        assert ("lost in mid-stream", b"first," + sent[6:]) == await ending.wait()
        assert 0 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario)


def test_bytes_after_the_last_chunk_are_a_lost_stream(tmp_path: Path) -> None:
    """A worker that goes on after its end cannot be believed."""

    async def scenario(bench: Bench) -> None:
        ending, _, worker = await begun(bench, b"first,")
        await bench.loop.sock_sendall(worker, encode_chunk(b"end", 200) + b"more")
        assert ("lost in mid-stream", b"first,") == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_every_item_has_the_whole_time(tmp_path: Path) -> None:
    """From when the one before has come, whatever was left of the first one's."""

    async def scenario(bench: Bench) -> None:
        patience_ns = int(PATIENCE_S * NS_PER_S)
        ending, call, worker = await begun(bench, b"1", patience_ns=patience_ns)
        for _ in range(3):
            known = got(ending)
            before_ns = call.deadline_ns = monotonic_ns() + NS_PER_S
            await bench.loop.sock_sendall(worker, encode_chunk(b"x"))
            await until(partial(_is_more, ending, known))
            assert before_ns < call.deadline_ns <= monotonic_ns() + patience_ns

    on_a_bench(tmp_path, scenario)


def test_item_that_is_late_ends_the_stream(tmp_path: Path) -> None:
    """The first one had ten seconds, the second one has not."""

    async def scenario(bench: Bench) -> None:
        ending, _, worker = await begun(bench, b"1", patience_ns=SHORT_NS)
        assert ("deadline in mid-stream", b"1") == await ending.wait()
        assert await bench.is_left(worker)

    on_a_bench(tmp_path, scenario)


def test_paused_stream_is_not_read_and_its_time_does_not_run(tmp_path: Path) -> None:
    """The worker can write only what the buffers of its socket hold, and then waits."""

    async def scenario(bench: Bench) -> None:
        ending, call, worker = await begun(bench, b"1", patience_ns=SHORT_NS)
        bench.hub.pause(call)
        item = encode_chunk(bytes(LARGE))
        sending = asyncio.ensure_future(bench.loop.sock_sendall(worker, item))
        clock, _ = bench.call(timeout_s=0.2)  # four times what the item would have
        assert ("deadline", b"") == await clock.wait()
        assert (False, False) == (ending.done.done(), sending.done())
        assert b"1" == got(ending)
        bench.hub.resume(call)
        await asyncio.wait_for(sending, PATIENCE_S)
        await bench.loop.sock_sendall(worker, encode_chunk(b"2", 200))
        assert ("end 200", b"1" + bytes(LARGE) + b"2") == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_time_runs_again_when_a_stream_is_resumed(tmp_path: Path) -> None:
    """All of it; resuming twice or what was not paused changes nothing."""

    async def scenario(bench: Bench) -> None:
        ending, call, _ = await begun(bench, b"1", patience_ns=SHORT_NS)
        bench.hub.pause(call)
        assert NEVER_NS == call.deadline_ns
        bench.hub.resume(call)
        deadline_ns = call.deadline_ns
        bench.hub.resume(call)
        assert deadline_ns == call.deadline_ns
        assert ("deadline in mid-stream", b"1") == await ending.wait()
        bench.hub.pause(call)
        bench.hub.resume(call)
        assert 0 == bench.hub.in_flight

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("place", ["head", "first item"])
def test_stream_may_be_paused_from_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The client's buffer may be full as soon as the head is written, or an item."""

    async def scenario(bench: Bench) -> None:
        def on_stream(ending: Ending, header: ReplyHeader, head: bytes) -> Items:
            items = original(ending, header, head)
            assert ending.call is not None
            if place == "head":
                bench.hub.pause(ending.call)
            return items

        def on_content(items: Items, content: bytes) -> None:
            items.parts.append(content)
            if place == "first item" and items.parts == [b"1"]:
                bench.hub.pause(call)

        original = Ending.on_stream
        monkeypatch.setattr(Ending, "on_stream", on_stream)
        monkeypatch.setattr(Items, "on_content", on_content)
        ending, call = bench.call()
        ending.patience_ns = SHORT_NS
        worker = await bench.accept()
        await bench.loop.sock_sendall(worker, HEAD + encode_chunk(b"1"))
        await until(lambda: ending.items and ending.items.parts)
        await bench.loop.sock_sendall(worker, encode_chunk(b"2", 200))
        assert NEVER_NS == call.deadline_ns
        clock, _ = bench.call(timeout_s=0.1)
        assert ("deadline", b"") == await clock.wait()
        assert not ending.done.done()
        bench.hub.resume(call)
        assert ("end 200", b"12") == await ending.wait()

    on_a_bench(tmp_path, scenario)


def test_death_behind_a_paused_stream_is_told_when_it_is_resumed(tmp_path: Path) -> None:
    """What the worker had sent before is not lost."""

    async def scenario(bench: Bench) -> None:
        ending, call, worker = await begun(bench, b"1")
        bench.hub.pause(call)
        await bench.loop.sock_sendall(worker, encode_chunk(b"2"))
        worker.close()
        bench.hub.resume(call)
        assert ("lost in mid-stream", b"12") == await ending.wait()

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("is_paused", [True, False])
def test_abandoned_stream_is_closed_and_nobody_told(tmp_path: Path, *, is_paused: bool) -> None:
    """The worker notices when it sends its next item."""

    async def scenario(bench: Bench) -> None:
        ending, call, worker = await begun(bench, b"1")
        if is_paused:
            bench.hub.pause(call)
        bench.hub.abandon(call)
        assert await bench.is_left(worker)
        with pytest.raises(BrokenPipeError):
            await bench.loop.sock_sendall(worker, encode_chunk(b"2"))
        bench.hub.resume(call)
        assert (0, False) == (bench.hub.in_flight, ending.done.done())

    on_a_bench(tmp_path, scenario)


@pytest.mark.parametrize("is_paused", [True, False])
def test_end_of_the_gateway_ends_streams_too(tmp_path: Path, *, is_paused: bool) -> None:
    """Told as time that is up; and only calls without an answer count as waiting."""

    async def scenario(bench: Bench) -> None:
        ending, call, worker = await begun(bench, b"1")
        assert [] == bench.hub.listeners()
        if is_paused:
            bench.hub.pause(call)
        bench.hub.end_all()
        assert ("deadline in mid-stream", b"1") == await ending.wait()
        assert await bench.is_left(worker)

    on_a_bench(tmp_path, scenario)
