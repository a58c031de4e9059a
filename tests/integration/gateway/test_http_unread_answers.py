"""Answers that clients do not read: what they may hold together, and who is cut first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from basic_inference_server.gateway.unsent_answers import untaken_bytes
from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp, request
from tests.support.streaming_harness import OpenStream, held, read_head

MB = 1024 * 1024
STALLED = "basic_inference_server.gateway.unsent_answers.STALLED_AFTER_S"
ASKED = request(f"/big/{20 * MB}")  # more than the kernel takes, on both sides together


def held_mb(harness: HttpHarness) -> int:
    """Return how much memory unsent answers take."""
    return harness.call(lambda: harness.limits.unsent.held_bytes) // MB


def cut(harness: HttpHarness) -> list[dict[str, Any]]:
    """Return what was said of connections that were cut."""
    return [event for event in harness.said if event["event"] == "slow_client_cut"]


def ask(harness: HttpHarness, client: RawHttp, data: bytes = ASKED) -> None:
    """Send a request, and wait until it has been answered."""
    before = len(harness.seen)
    client.send(data)
    eventually(lambda: len(harness.seen) > before, what="the request is answered")
    harness.connection_count()  # the turn that wrote the answer is over


def test_clients_that_read_nothing_hold_no_more_than_the_limit(
    harness: HttpHarness, connect: Callable[[], RawHttp]
) -> None:
    """However many there are; each that is cut is said once, with what it had not taken."""
    harness.limits.unsent.max_bytes = 50 * MB
    clients = [connect() for _ in range(8)]
    for client in clients:
        ask(harness, client)
        assert held_mb(harness) <= 50
    assert 6 == len(cut(harness))
    eventually(lambda: 2 == harness.connection_count(), what="the others are gone")
    event = cut(harness)[0]
    assert ("warning", "127.0.0.1") == (event["level"], event["client"])
    assert 10 * MB < event["bytes"] <= 21 * MB
    assert event["without_progress_s"] >= 0


def test_client_without_progress_is_cut_before_one_that_reads(
    harness: HttpHarness, connect: Callable[[], RawHttp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that reads gets all of its answer."""
    monkeypatch.setattr(STALLED, 0.0)
    harness.limits.unsent.max_bytes = 90 * MB
    idle, reader, late = connect(), connect(), connect()
    for client in (idle, reader):
        ask(harness, client, request(f"/big/{40 * MB}"))
    read_head(reader)
    received = 0

    def is_seen_to_read() -> bool:
        nonlocal received
        received += len(reader.take(100_000))
        of_idle, of_reader = harness.limits.unsent.waiting.values()
        return of_reader.progress_s > of_idle.progress_s + 0.1

    eventually(is_seen_to_read)
    ask(harness, late, request(f"/big/{40 * MB}"))
    assert 1 == len(cut(harness))
    reader.take(40 * MB - received)
    assert 200 == reader.ask(request()).status
    with pytest.raises(ConnectionError):
        idle.read()


def test_newcomer_is_cut_before_those_that_have_read(
    harness: HttpHarness, connect: Callable[[], RawHttp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all count as reading, the one that has taken the least goes."""
    monkeypatch.setattr(STALLED, 1000.0)
    harness.limits.unsent.max_bytes = 50 * MB
    readers = [connect(), connect()]
    for client in readers:
        ask(harness, client)
        assert str(20 * MB) == read_head(client)["content-length"]
        client.take(4 * MB)
    newcomer = connect()
    ask(harness, newcomer)
    for client in readers:
        client.take(16 * MB)
        assert 200 == client.ask(request()).status
    with pytest.raises(ConnectionError):
        newcomer.read()


def test_answer_above_the_limit_reaches_a_client_that_reads(
    harness: HttpHarness, connect: Callable[[], RawHttp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And costs others nothing meanwhile: it does not count."""
    monkeypatch.setattr(STALLED, 1000.0)
    harness.limits.unsent.max_bytes = 10 * MB
    large, small = connect(), connect()
    ask(harness, large)
    ask(harness, small, request(f"/big/{8 * MB}"))
    assert 8 * MB == len(small.read().body)
    assert 20 * MB == len(large.read().body)
    assert [] == cut(harness)


def test_answer_above_the_limit_that_is_not_read_is_cut(
    harness: HttpHarness, client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the time limit of other answers."""
    monkeypatch.setattr(STALLED, 0.05)
    harness.limits.unsent.max_bytes = 10 * MB
    ask(harness, client)
    eventually(lambda: cut(harness), what="it is cut")
    assert cut(harness)[0]["without_progress_s"] >= 0


@pytest.mark.parametrize("more", [b"", request(), b"garbage"], ids=["alone", "more", "garbage"])
def test_answer_that_ends_its_connection_may_be_cut(
    harness: HttpHarness, connect: Callable[[], RawHttp], more: bytes
) -> None:
    """While the gateway still writes it, and whatever follows it."""
    harness.limits.unsent.max_bytes = 25 * MB
    for client in (connect(), connect()):
        ask(harness, client, request(f"/big/{20 * MB}", "Connection: close") + more)
    assert 1 == len(cut(harness))
    eventually(lambda: 1 == harness.connection_count(), what="it is gone")


def test_small_answers_count_too(
    harness: HttpHarness, connect: Callable[[], RawHttp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is below what one connection may have, but there are many of them."""
    monkeypatch.setattr(STALLED, 1000.0)
    clients = [connect() for _ in range(8)]
    count = 400  # of 60 KB: the kernel is full, and the rest waits here
    for client in clients:
        ask(harness, client, request("/big/60000") * count)
    eventually(lambda: harness.call(lambda: len(harness.limits.unsent.waiting)) == 8)
    harness.call(lambda: setattr(harness.limits.unsent, "max_bytes", 300_000))
    eventually(lambda: 0 < harness.connection_count() < 8, what="some are gone")
    assert harness.call(lambda: harness.limits.unsent.held_bytes) <= 300_000
    assert 8 == harness.connection_count() + len(cut(harness))


def test_memory_is_counted_until_the_last_byte_has_gone(
    harness: HttpHarness, client: RawHttp
) -> None:
    """A client that leaves the end unread holds all of it; one that has read all holds nothing."""
    ask(harness, client, request(f"/big/{60 * MB}"))
    read_head(client)
    client.take(40 * MB)
    assert 60 == held_mb(harness)
    client.take(20 * MB)
    eventually(lambda: 0 == held_mb(harness), what="nothing is held")
    assert 200 == client.ask(request()).status


def test_progress_of_a_stream_is_what_its_client_takes(
    harness: HttpHarness, client: RawHttp
) -> None:
    """The kernel frees its room in large steps, for which a slow reader takes long."""
    client.send(request("/hold"))
    stream = OpenStream(harness, held(harness)).begin()
    stream.fill()
    (connection,) = harness.limits.connections
    before = untaken_bytes(connection.transport)
    client.take(200_000)
    eventually(lambda: untaken_bytes(connection.transport) < before, what="some is confirmed")
    assert ["full"] == stream.said
