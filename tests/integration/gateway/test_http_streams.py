"""Answers in parts on HTTP connections: framing, order, clients that leave or do not read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp, request
from tests.support.streaming_harness import OpenStream, held, read_chunk, read_chunks, read_head

CONSTANTS = "basic_inference_server.gateway.http_limits"
SHORT_S = 0.1


def streamed(harness: HttpHarness, client: RawHttp, *headers: str) -> OpenStream:
    """Ask, and begin to answer in parts."""
    client.send(request("/hold", *headers))
    return OpenStream(harness, held(harness)).begin()


def test_parts_arrive_as_chunks_when_written(harness: HttpHarness, client: RawHttp) -> None:
    """Each at once; nothing waits for the next one."""
    stream = streamed(harness, client)
    headers = read_head(client)
    assert "chunked" == headers["transfer-encoding"]
    assert not {"content-length", "connection"} & headers.keys()
    for part in (b"1\n", b"22\n", bytes(70_000)):
        stream.write(part)
        assert part == read_chunk(client)
    stream.write(b"")  # would be the end of the body
    stream.end(b"3\n")
    assert b"3\n" == read_chunks(client)


def test_connection_is_kept_after_a_stream(harness: HttpHarness, client: RawHttp) -> None:
    """Streams and other answers follow one another."""
    for _ in range(3):
        stream = streamed(harness, client)
        stream.end()
        read_head(client)
        assert b"" == read_chunks(client)
        assert 200 == client.ask(request()).status
    assert 1 == harness.connection_count()


def test_request_behind_a_stream_waits_for_its_end(harness: HttpHarness, client: RawHttp) -> None:
    """Answers come in the order of the requests (RFC 9112, 9.3.2)."""
    stream = streamed(harness, client)
    client.send(request("/second") + request("/third"))
    read_head(client)
    stream.write(b"1\n")
    assert b"1\n" == read_chunk(client)
    assert [b"/hold"] == harness.seen
    stream.end(b"2\n")
    assert b"2\n" == read_chunks(client)
    assert ["/second", "/third"] == [client.read().json["path"] for _ in range(2)]


def test_old_client_gets_it_unchunked_to_the_end_of_the_connection(
    harness: HttpHarness, client: RawHttp
) -> None:
    """HTTP/1.0 knows no chunks; it may have asked to keep the connection."""
    client.send(b"GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    stream = OpenStream(harness, held(harness)).begin()
    headers = read_head(client)
    assert "close" == headers["connection"]
    assert not {"transfer-encoding", "content-length"} & headers.keys()
    stream.write(b"1\n")
    stream.end(b"2\n")
    assert b"1\n2\n" == client.read_rest()


@pytest.mark.parametrize("why", ["the client asks", "the gateway drains"])
def test_connection_that_shall_close_says_so_and_closes_after_the_stream(
    harness: HttpHarness, client: RawHttp, why: str
) -> None:
    """The body is whole, with its end."""
    if why == "the gateway drains":
        client.send(request("/hold"))
        exchange = held(harness)
        harness.call(lambda: setattr(harness.limits, "is_draining", True))
        stream = OpenStream(harness, exchange).begin()
    else:
        stream = streamed(harness, client, "Connection: close")
    assert "close" == read_head(client)["connection"]
    stream.write(b"1\n")
    stream.end(b"2\n")
    assert b"1\n2\n" == read_chunks(client)
    assert b"" == client.read_rest()


def test_connection_that_drains_in_mid_stream_closes_soon_after(
    harness: HttpHarness, client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head did not say so, so it is idle for a moment first."""
    monkeypatch.setattr(f"{CONSTANTS}.DRAIN_IDLE_S", SHORT_S)
    stream = streamed(harness, client)
    harness.call(lambda: setattr(harness.limits, "is_draining", True))
    stream.write(b"1\n")
    stream.end()
    read_head(client)
    assert b"1\n" == read_chunks(client)
    assert b"" == client.read_rest()
    assert ["left"] != stream.said


@pytest.mark.parametrize("pipelined", [b"", request("/next")], ids=["alone", "more behind it"])
def test_client_that_leaves_is_noticed(
    harness: HttpHarness, client: RawHttp, pipelined: bytes
) -> None:
    """At once, or with the next part where the gateway does not read ahead; once."""
    stream = streamed(harness, client)
    client.send(pipelined)
    read_head(client)
    client.close()

    def has_left() -> bool:
        if pipelined:
            stream.write(b"part\n")
        return "left" in stream.said

    eventually(has_left)
    stream.write(b"more\n")
    stream.end(b"end\n")
    assert 1 == stream.said.count("left")
    eventually(lambda: 0 == harness.connection_count())
    assert [b"/hold"] == harness.seen


def test_client_that_does_not_read_stops_the_stream_and_resumes_it(
    harness: HttpHarness, client: RawHttp
) -> None:
    """What is written is bounded by the buffers; nothing of it is lost."""
    stream = streamed(harness, client)
    written = stream.fill()
    assert ["full"] == stream.said
    read_head(client)
    body = bytearray()
    while "room" not in stream.said:
        body += read_chunk(client)
    stream.end(b"end")
    body += read_chunks(client)
    assert bytes(written) + b"end" == bytes(body)
    assert ["full", "room"] == stream.said
    assert 200 == client.ask(request()).status


@pytest.mark.parametrize(
    "sent",
    [b"", request("/next"), b"GET /next HTTP/1.1\r\n",
     b"POST /next HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n{"],
    ids=["nothing", "a request", "half a head", "half a body"],
)  # fmt: skip
def test_client_that_stops_reading_is_cut_off(
    harness: HttpHarness, client: RawHttp, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """It holds a worker; what it sends meanwhile does not buy time."""
    monkeypatch.setattr(f"{CONSTANTS}.WRITE_TIMEOUT_S", SHORT_S)
    stream = streamed(harness, client)
    stream.fill()
    client.send(sent)
    eventually(lambda: "left" in stream.said)
    assert ["full", "left"] == stream.said
    eventually(lambda: 0 == harness.connection_count())


def test_client_that_reads_in_time_is_not_cut_off(
    harness: HttpHarness,
    client: RawHttp,
    connect: Callable[[], RawHttp],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock of another client, which does not, shows that the time has passed."""
    monkeypatch.setattr(f"{CONSTANTS}.WRITE_TIMEOUT_S", SHORT_S)
    stream = streamed(harness, client)
    written = stream.fill()
    read_head(client)
    body = bytearray()
    while "room" not in stream.said:
        body += read_chunk(client)
    clock = streamed(harness, connect())
    clock.fill()
    eventually(lambda: "left" in clock.said)
    stream.end()
    body += read_chunks(client)
    assert written == len(body)


def test_request_that_cannot_be_read_in_mid_stream_ends_the_connection_after_it(
    harness: HttpHarness, client: RawHttp
) -> None:
    """The stream is whole, and what follows is answered by what is wrong with it."""
    stream = streamed(harness, client)
    client.send(b"this is no request\r\n\r\n")
    read_head(client)
    stream.write(b"1\n")
    assert b"1\n" == read_chunk(client)
    stream.end(b"2\n")
    assert b"2\n" == read_chunks(client)
    assert (400, "bad_request", "close") == client.read().error
    assert b"" == client.read_rest()


def test_body_behind_a_stream_has_its_time_again(harness: HttpHarness, client: RawHttp) -> None:
    """Half a request that came in mid-stream, while it was full, is not waited for without end."""
    stream = streamed(harness, client)
    written = stream.fill()
    harness.limits.body_timeout_s = harness.limits.head_timeout_s = SHORT_S
    client.send(b"POST /next HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n{")
    read_head(client)
    body = bytearray()
    while "room" not in stream.said:
        body += read_chunk(client)
    stream.end()
    body += read_chunks(client)
    assert written == len(body)
    assert (408, "request_timeout", "close") == client.read().error
