"""Bytes that are no request, or not one that the gateway reads: each gets one JSON answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp, request

POST = b"POST /x HTTP/1.1\r\nHost: test\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"SIGNATURE":"demo"}'


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"hello world\r\n\r\n", id="garbage"),
        pytest.param(b"\0\0\0\0\0\0\0\0\r\n\r\n", id="nul bytes"),
        pytest.param(bytes.fromhex("16030100a5010000a10303") + bytes(64), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: test\r\n\r\n", id="version 2.0"),
        pytest.param(b"GET / HTTP/3.7\r\nHost: test\r\n\r\n", id="version 3.7"),
        pytest.param(b"GET / HTTP/1.1x\r\nHost: test\r\n\r\n", id="version with a letter"),
        pytest.param(b"GET / http/1.1\r\nHost: test\r\n\r\n", id="version in lower case"),
        pytest.param(b"GET /\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"get / HTTP/1.1\r\nHost: test\r\n\r\n", id="method in lower case"),
        pytest.param(b"NONSENSE / HTTP/1.1\r\nHost: test\r\n\r\n", id="unknown method"),
        pytest.param(b"GET  HTTP/1.1\r\nHost: test\r\n\r\n", id="no target"),
        pytest.param(b"GET x HTTP/1.1\r\nHost: test\r\n\r\n", id="relative target"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n", id="space in the target"),
        pytest.param(b"GET /\0 HTTP/1.1\r\nHost: test\r\n\r\n", id="nul in the target"),
        pytest.param(b"GET /\xe9 HTTP/1.1\r\nHost: test\r\n\r\n", id="letter in the target"),
        pytest.param(b"GET /x HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(GET + b"host: other\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: a b\r\n\r\n", id="no host name"),
        pytest.param(GET + b"X: a\0b\r\n\r\n", id="nul in a header"),
        pytest.param(GET + b"X: a\x01b\r\n\r\n", id="control character in a header"),
        pytest.param(GET + b"X : a\r\n\r\n", id="space before the colon"),
        pytest.param(GET + b"no colon\r\n\r\n", id="no colon"),
        pytest.param(GET + b": a\r\n\r\n", id="no name"),
        pytest.param(GET + b"X: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(b"GET /x HTTP/1.1\r\n X: a\r\nHost: test\r\n\r\n", id="space before all"),
        pytest.param(b"GET /x HTTP/1.1\nHost: test\n\n", id="no carriage returns"),
        pytest.param(GET + b"X: a\rb\r\n\r\n", id="carriage return alone"),
        pytest.param(GET + b"Authorization: a\r\nAuthorization: b\r\n\r\n", id="two tokens"),
        pytest.param(POST + b"Content-Type: a\r\nContent-Type: b\r\nContent-Length: 2\r\n\r\n{}",
                     id="two types"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_request_are_answered_in_json(
    client: RawHttp, harness: HttpHarness, data: bytes
) -> None:
    """Status 400, an error like all others, and the end of the connection."""
    answer = client.ask(data)
    assert (400, "bad_request", "close") == answer.error
    assert {"ERROR", "request_id", "retryable", "executed", "time", "ver"} <= answer.json.keys()
    assert "no" == answer.json["executed"]
    assert [] == harness.seen


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="length twice"),
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", id="two lengths"),
        pytest.param(POST + b"Content-Length: 2, 2\r\n\r\n{}", id="list of lengths"),
        pytest.param(POST + b"Content-Length: -1\r\n\r\n", id="negative"),
        pytest.param(POST + b"Content-Length: +2\r\n\r\n{}", id="plus sign"),
        pytest.param(POST + b"Content-Length: 0x2\r\n\r\n{}", id="hexadecimal"),
        pytest.param(POST + b"Content-Length: 1_0\r\n\r\n{}", id="underscore"),
        pytest.param(POST + b"Content-Length:\r\n\r\n", id="no number"),
        pytest.param(POST + b"Content-Length: 1%b\r\n\r\n" % (b"0" * 30), id="overflow"),
        pytest.param(POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     id="length and chunks"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                     id="chunks and length"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"0\r\n\r\n", id="chunked twice"),
        pytest.param(POST + b"Transfer-Encoding: gzip\r\n\r\n", id="not chunked"),
        pytest.param(POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
                     id="chunked but not last"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="like chunked"),
        pytest.param(POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", id="hidden"),
        pytest.param(POST + b"Transfer-Encoding: identity\r\n\r\n", id="identity"),
        pytest.param(CHUNKED + b"xyz\r\n", id="size that is no number"),
        pytest.param(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", id="negative size"),
        pytest.param(CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", id="size with a prefix"),
        pytest.param(CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n", id="size overflow"),
        pytest.param(CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n", id="space after a size"),
        pytest.param(CHUNKED + b"2\n{}\n0\n\n", id="no carriage returns"),
        pytest.param(CHUNKED + b"2\r\n{}0\r\n\r\n", id="chunk longer than its size"),
    ],
)  # fmt: skip
def test_body_of_unclear_length_is_refused(
    client: RawHttp, harness: HttpHarness, data: bytes
) -> None:
    """Two servers that read such a request differently can be played against each other."""
    assert (400, "bad_request", "close") == client.ask(data + GET + b"\r\n").error
    assert b"" == client.read_rest()
    assert [] == harness.seen


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip", "x-unknown"])
def test_compressed_body_is_refused_unread(
    client: RawHttp, harness: HttpHarness, encoding: str
) -> None:
    """Nothing is inflated, whatever it claims to become."""
    answer = client.ask(request("/x", f"Content-Encoding: {encoding}", method="POST", body=BODY))
    assert (415, "unsupported_media_type", "close") == answer.error
    assert [] == harness.seen


def test_compressed_transfer_is_refused(client: RawHttp) -> None:
    """A coding below the chunks is compression too."""
    head = POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    assert client.ask(head + b"2\r\n\x1f\x8b\r\n0\r\n\r\n").status in {400, 415, 501}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("packet", [1 << 20, 5000])
def test_target_that_is_too_long_is_refused(client: RawHttp, method: str, packet: int) -> None:
    """8 KiB of target are read, more is `uri_too_long`, in one packet or in many."""
    assert 200 == client.ask(request("/" + "x" * 8000, method=method)).status
    data = request("/" + "x" * 200_000, method=method)
    for start in range(0, 20_000, packet):
        client.send(data[start : start + packet])
    assert (414, "uri_too_long", "close") == client.read().error


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([f"X-Large: {'y' * 70_000}"], id="one"),
        pytest.param([f"X-{number}: {'y' * 100}" for number in range(700)], id="many"),
        pytest.param([f"{'N' * 70_000}: y"], id="long name"),
    ],
)
@pytest.mark.parametrize("packet", [1 << 20, 30_000])
def test_head_that_is_too_large_is_refused(
    client: RawHttp, harness: HttpHarness, headers: list[str], packet: int
) -> None:
    """64 KiB of head are read, more is `headers_too_large`, in one packet or in many."""
    data = request("/x", *headers)
    for start in range(0, len(data), packet):
        client.send(data[start : start + packet])
    assert (431, "headers_too_large", "close") == client.read().error
    assert [] == harness.seen


def test_head_of_an_allowed_size_is_read(client: RawHttp) -> None:
    """Large cookies are a fact of life."""
    cookie = "c" * 60_000
    answer = client.ask(request("/x", f"Cookie: {cookie}"))
    assert (200, cookie) == (answer.status, answer.json["headers"]["cookie"])


def test_head_behind_a_slow_request_is_bounded_too(client: RawHttp, harness: HttpHarness) -> None:
    """What comes meanwhile takes no more memory than at any other time."""
    client.send(request("/hold") + GET)
    eventually(lambda: harness.held, what="the first is being worked on")
    for number in range(100):
        client.send(f"X-{number}: {'y' * 1000}\r\n".encode())
    harness.connection_count()
    harness.release()
    assert 200 == client.read().status
    assert (431, "headers_too_large", "close") == client.read().error


def test_trailer_is_bounded_too(client: RawHttp, harness: HttpHarness) -> None:
    """What may follow a body is no way around the limit of a head."""
    client.send(CHUNKED + b"0\r\n")
    for number in range(100):
        client.send(f"X-{number}: {'y' * 1000}\r\n".encode())
    client.send(b"\r\n")
    assert client.read().status in {400, 431}


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)], ids=["at once", "asked"])
def test_body_that_is_announced_too_large_is_refused_unread(
    client: RawHttp, harness: HttpHarness, expect: tuple[str, ...]
) -> None:
    """A client that asks first never sends it."""
    head = request("/x", *expect, "Content-Length: 1000000000000", method="POST")
    answer = client.ask(head)
    assert (413, "body_too_large", "close") == answer.error
    assert 100_000 == answer.json["max_body_bytes"]
    assert [] == harness.seen


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_body_that_is_too_large_is_refused_while_it_is_sent(
    client: RawHttp, harness: HttpHarness, kind: str
) -> None:
    """The client gets its answer although it sends on: the connection is not reset under it."""
    part = b"x" * 20_000
    if kind == "length":
        client.send(POST + b"Content-Length: 1000000\r\n\r\n")
    else:
        client.send(CHUNKED)
        part = b"4e20\r\n%b\r\n" % part
    for _ in range(50):
        client.send(part)
    assert (413, "body_too_large", "close") == client.read("POST").error
    assert b"" == client.read_rest()
    assert [] == harness.seen


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_body_of_exactly_the_limit_is_read(client: RawHttp, kind: str) -> None:
    """The limit itself is allowed."""
    body = b"x" * 100_000
    if kind == "length":
        answer = client.ask(request("/x", method="POST", body=body))
    else:
        answer = client.ask(CHUNKED + b"186a0\r\n%b\r\n0\r\n\r\n" % body)
    assert (200, 100_000) == (answer.status, len(answer.json["body"]))


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_request_that_ends_early_is_refused(
    connect: Callable[[], RawHttp], harness: HttpHarness, kind: str
) -> None:
    """Cut at any byte and ended: the client is told, and nothing is executed."""
    whole = POST + b"Content-Length: 2\r\n\r\n{}"
    if kind == "chunked":
        whole = CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"
    for cut in range(len(b"POST /"), len(whole)):
        client = connect()
        client.send(whole[:cut])
        client.end_sending()
        assert (400, "bad_request", "close") == client.read().error, cut
        assert b"" == client.read_rest()
    assert [] == harness.seen


@pytest.mark.parametrize("cut", [1, 4, 5])
def test_request_that_ends_within_its_method_is_refused(client: RawHttp, cut: int) -> None:
    """The first bytes of a request are a beginning too."""
    client.send(POST[:cut])
    client.end_sending()
    assert (400, "bad_request", "close") == client.read().error


def test_connection_that_ends_before_a_request_is_closed_quietly(
    client: RawHttp, harness: HttpHarness
) -> None:
    """A port scanner or a load balancer's check gets no answer and makes no noise."""
    client.end_sending()
    assert b"" == client.read_rest()
    eventually(lambda: not harness.connection_count(), what="the connection is gone")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        pytest.param(b"hello"),
    ],
    ids=["no body", "body"],
)
def test_tunnel_is_a_request_like_any_other(client: RawHttp, body: bytes) -> None:
    """`CONNECT` opens nothing: the handler decides, which has no such route."""
    answer = client.ask(request("test:443", method="CONNECT", body=body))
    assert (200, "CONNECT", "test:443") == (
        answer.status, answer.json["method"], answer.json["path"],
    )  # fmt: skip


def test_request_id_of_a_refused_request_is_the_callers(client: RawHttp) -> None:
    """As far as the head was read, the caller finds its own id."""
    data = request("/x", "X-Request-Id: mine", "Content-Encoding: gzip", method="POST", body=BODY)
    answer = client.ask(data)
    assert ("mine", "mine") == (answer.headers["x-request-id"], answer.json["request_id"])


def test_connection_too_many_is_refused_and_room_is_room(
    harness: HttpHarness, connect: Callable[[], RawHttp]
) -> None:
    """One above the limit gets a 503 that says so; when another leaves, the next is served."""
    harness.limits.max_connections = 2
    first, second = connect(), connect()
    assert [200, 200] == [one.ask(request()).status for one in (first, second)]
    third = connect()
    assert (503, "overloaded", "close") == third.ask(request()).error
    assert b"" == third.read_rest()
    assert 200 == first.ask(request()).status
    for one in (second, third):
        one.close()
    eventually(lambda: harness.connection_count() == 1)
    assert 200 == connect().ask(request()).status


def test_flood_of_connections_is_cut(
    harness: HttpHarness, connect: Callable[[], RawHttp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a 503 for each would cost too much."""
    monkeypatch.setattr("basic_inference_server.gateway.http_connection.MAX_REFUSED_AT_ONCE", 0)
    harness.limits.max_connections = 1
    first = connect()
    assert 200 == first.ask(request()).status
    with pytest.raises(ConnectionError):
        connect().ask(request())
    assert 200 == first.ask(request()).status
