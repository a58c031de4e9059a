"""HTTP requests that are right: every form of them, in any pieces, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp, request

BODY = b'{"SIGNATURE":"demo"}'


def chunked(*parts: bytes, trailer: bytes = b"") -> bytes:
    """Return a request whose body comes in chunks."""
    head = request("/x", "Transfer-Encoding: chunked", method="POST")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + chunks + b"0\r\n" + trailer + b"\r\n"


def test_request_reaches_the_handler_whole(client: RawHttp) -> None:
    """Method, path, query, headers and body arrive as they were sent."""
    answer = client.ask(request("/a/b?c=d%20e", "X-Name: value", method="POST", body=BODY))
    assert 200 == answer.status
    assert {
        "method": "POST", "path": "/a/b", "query": "c=d%20e", "body": BODY.decode(),
        "headers": {"host": "test", "x-name": "value", "content-length": str(len(BODY))},
    } == answer.json  # fmt: skip


def test_connection_is_kept_for_the_next_request(client: RawHttp, harness: HttpHarness) -> None:
    """HTTP/1.1 connections stay open by themselves."""
    for number in range(3):
        answer = client.ask(request(f"/{number}"))
        assert (f"/{number}", None) == (answer.json["path"], answer.headers.get("connection"))
    assert 1 == harness.connection_count()


def test_connection_is_closed_when_the_client_says_so(client: RawHttp) -> None:
    """`Connection: close` is answered and obeyed."""
    answer = client.ask(request("/x", "Connection: close"))
    assert (200, "close") == (answer.status, answer.headers["connection"])
    assert b"" == client.read_rest()


def test_pipelined_requests_are_answered_in_order(client: RawHttp, harness: HttpHarness) -> None:
    """The second waits for the first, however quick it would be."""
    client.send(request("/hold/1") + request("/2", method="POST", body=BODY) + request("/3"))
    eventually(lambda: harness.held, what="the first is being worked on")
    assert [b"/hold/1"] == harness.seen
    harness.release()
    assert ["/hold/1", "/2", "/3"] == [client.read().json["path"] for _ in range(3)]


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (b"this is no request\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (request("/x", "Content-Length: 1000000", method="POST"), 413),
        (request("/" + "x" * 9000), 414),
    ],
    ids=["no request", "no host", "a large body", "a long target"],
)
@pytest.mark.parametrize("first", ["/1", "/hold/1"])
def test_requests_before_one_that_cannot_be_read_are_answered(
    client: RawHttp, harness: HttpHarness, first: str, last: bytes, status: int
) -> None:
    """Each in its turn, then what is wrong with the last; then nothing more."""
    client.send(request(first) + request("/2", method="POST", body=BODY) + last + request("/4"))
    if first.startswith("/hold"):
        eventually(lambda: harness.held, what="the first is being worked on")
        harness.release()
    answers = [client.read() for _ in range(3)]
    assert [200, 200, status] == [answer.status for answer in answers]
    assert [None, None, "close"] == [answer.headers.get("connection") for answer in answers]
    assert b"" == client.read_rest()
    assert [first.encode(), b"/2"] == harness.seen


def test_requests_that_wait_when_a_drain_begins_are_answered(
    client: RawHttp, harness: HttpHarness
) -> None:
    """They had been read; the last one says that it is."""
    client.send(request("/hold") + request("/2") + request("/3"))
    eventually(lambda: harness.held, what="the first is being worked on")
    harness.limits.is_draining = True
    harness.release()
    answers = [client.read() for _ in range(3)]
    assert ["/hold", "/2", "/3"] == [answer.json["path"] for answer in answers]
    assert [None, None, "close"] == [answer.headers.get("connection") for answer in answers]
    assert b"" == client.read_rest()


def test_answers_of_a_drain_survive_what_the_client_still_sends(
    client: RawHttp, harness: HttpHarness
) -> None:
    """A connection that is closed with bytes unread would be reset, answers included."""
    client.send(request("/hold") + request("/2"))
    eventually(lambda: harness.held, what="the first is being worked on")
    client.send(request("/3") * 1000)
    harness.limits.is_draining = True
    harness.release()
    assert ["/hold", "/2"] == [client.read().json["path"] for _ in range(2)]
    assert b"" == client.read_rest()


def test_many_pipelined_requests_behind_a_slow_one_are_all_answered(
    client: RawHttp, harness: HttpHarness
) -> None:
    """A thousand in one packet are no more than one after the other."""
    client.send(request("/hold") + b"".join(request(f"/{n}") for n in range(1000)))
    eventually(lambda: harness.held, what="the first is being worked on")
    harness.release()
    paths = [client.read().json["path"] for _ in range(1001)]
    assert ["/hold", *(f"/{n}" for n in range(1000))] == paths


def test_request_may_come_byte_by_byte(client: RawHttp) -> None:
    """However the network cuts it, it is the same request."""
    for byte in request("/a?b=c", "X-Name: value", method="POST", body=BODY):
        client.send(bytes([byte]))
    answer = client.read().json
    assert ("/a", "b=c", "value", BODY.decode()) == (
        answer["path"], answer["query"], answer["headers"]["x-name"], answer["body"],
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_request_may_be_cut_anywhere(
    connect: Callable[[], RawHttp], harness: HttpHarness, kind: str
) -> None:
    """At every byte: two packets give the same request as one."""
    whole = chunked(BODY[:5], BODY[5:]) if kind == "chunked" else request("/x", method="POST",
                                                                         body=BODY)  # fmt: skip
    client = connect()
    for cut in range(1, len(whole)):
        client.send(whole[:cut])
        client.send(whole[cut:])
        assert BODY.decode() == client.read().json["body"], cut


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([BODY], id="one"),
        pytest.param([BODY[n : n + 1] for n in range(len(BODY))], id="a byte each"),
        pytest.param([BODY, b"x" * 70_000], id="a large one"),
        pytest.param([], id="none"),
    ],
)
def test_chunked_body_is_put_together(client: RawHttp, parts: list[bytes]) -> None:
    """The handler sees one body, and the connection goes on."""
    assert b"".join(parts).decode() == client.ask(chunked(*parts)).json["body"]
    assert 200 == client.ask(request()).status


def test_chunk_extensions_mean_nothing(client: RawHttp) -> None:
    """They may be sent and are ignored (RFC 9112, section 7.1.1)."""
    head = request("/x", "Transfer-Encoding: chunked", method="POST")
    answer = client.ask(head + b'2;name=value;x="y"\r\n{}\r\n0\r\n\r\n')
    assert "{}" == answer.json["body"]


def test_trailer_is_no_header(client: RawHttp) -> None:
    """What comes after the body cannot pass as what came before (RFC 9110, section 6.5.1)."""
    trailer = b"Authorization: Bearer x\r\nX-Late: 1\r\n"
    headers = client.ask(chunked(BODY, trailer=trailer)).json["headers"]
    assert not {"authorization", "x-late"} & headers.keys()


def test_answer_to_head_has_no_body(client: RawHttp) -> None:
    """Its headers are those of a GET, length included, and the next answer follows at once."""
    answer = client.ask(request("/big/5000", method="HEAD"), "HEAD")
    assert (200, "5000", b"") == (answer.status, answer.headers["content-length"], answer.body)
    assert "/next" == client.ask(request("/next")).json["path"]


def test_old_client_is_answered_and_left(client: RawHttp) -> None:
    """HTTP/1.0 needs no `Host` and gets its connection closed."""
    answer = client.ask(b"GET /x HTTP/1.0\r\n\r\n")
    assert (200, "/x", "close") == (
        answer.status, answer.json["path"], answer.headers["connection"],
    )  # fmt: skip
    assert b"" == client.read_rest()


def test_old_client_is_told_that_its_connection_is_kept(client: RawHttp) -> None:
    """It has asked for it, and would wait for the end of the connection otherwise."""
    for _ in range(2):
        answer = client.ask(b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert (200, "keep-alive") == (answer.status, answer.headers["connection"])
    answer = client.ask(b"GET /x HTTP/1.0\r\n\r\n")
    assert "close" == answer.headers["connection"]


def test_client_that_asks_first_is_told_to_continue(client: RawHttp) -> None:
    """`Expect: 100-continue` is answered before the body was sent."""
    head = request("/x", "Expect: 100-continue", f"Content-Length: {len(BODY)}", method="POST")
    assert 100 == client.ask(head).status
    answer = client.ask(BODY)
    assert (200, BODY.decode()) == (answer.status, answer.json["body"])


def test_old_client_is_not_told_to_continue(client: RawHttp) -> None:
    """HTTP/1.0 knows no interim answers (RFC 9110, section 10.1.1)."""
    head = b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert 200 == client.ask(head + b"{}").status


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://test/x?a=1", "/x", "a=1"),
        ("HTTP://other:80/x", "/x", ""),
        ("http://test", "/", ""),
        ("http://test?a=1", "/", "a=1"),
    ],
)
def test_absolute_target_is_its_path(client: RawHttp, target: str, path: str, query: str) -> None:
    """A server must accept it (RFC 9112, section 3.2.2)."""
    answer = client.ask(request(target)).json
    assert (path, query) == (answer["path"], answer["query"])


@pytest.mark.parametrize("target", ["*", "/", "//x", "/a/../b", "/%2e%2e/x", "/a;b=c"])
def test_odd_target_is_passed_on(client: RawHttp, target: str) -> None:
    """What a path means is for the routes to say."""
    assert 200 == client.ask(request(target, method="OPTIONS")).status


@pytest.mark.parametrize(
    "headers",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    ],
    ids=["h2c", "websocket"],
)  # fmt: skip
@pytest.mark.parametrize(
    "method",
    [
        "GET",
        pytest.param("POST"),
    ],
)
def test_upgrade_is_declined_by_serving_http_1(
    client: RawHttp, method: str, headers: tuple[str, ...]
) -> None:
    """A client that would rather speak something else gets its answer in HTTP/1.1."""
    body = BODY if method == "POST" else b""
    answer = client.ask(request("/x", *headers, method=method, body=body))
    assert (200, body.decode()) == (answer.status, answer.json["body"])


def test_empty_lines_before_a_request_are_ignored(client: RawHttp) -> None:
    """Old clients send one after a body (RFC 9112, section 2.2)."""
    assert 200 == client.ask(b"\r\n\r\n" + request()).status
    assert 200 == client.ask(b"\r\n" + request()).status


def test_large_answer_arrives_whole(client: RawHttp) -> None:
    """Nothing of it is lost, and the connection goes on."""
    answer = client.ask(request("/big/8000000"))
    assert (200, bytes(8_000_000)) == (answer.status, answer.body)
    assert 200 == client.ask(request()).status


def test_client_that_leaves_is_noticed(client: RawHttp, harness: HttpHarness) -> None:
    """Whoever works on its request is told, once, and nothing is written any more."""
    client.send(request("/hold"))
    eventually(lambda: harness.held, what="the request is being worked on")
    client.close()
    eventually(lambda: harness.abandoned, what="the request is abandoned")
    harness.release()
    assert [b"/hold"] == harness.abandoned
    assert 0 == harness.connection_count()


def test_answered_request_is_not_abandoned(client: RawHttp, harness: HttpHarness) -> None:
    """A client that leaves after its answer has left nothing behind."""
    client.send(request("/hold"))
    eventually(lambda: harness.held, what="the request is being worked on")
    harness.release()
    client.read()
    client.close()
    eventually(lambda: not harness.connection_count(), what="the connection is gone")
    assert [] == harness.abandoned


def test_exchange_is_answered_once(client: RawHttp, harness: HttpHarness) -> None:
    """A second answer to the same request goes nowhere."""
    client.send(request("/hold"))
    eventually(lambda: harness.held, what="the request is being worked on")
    exchange = harness.held[0]
    harness.release()
    harness.call(lambda: exchange.answer(500, b"{}"))
    assert 200 == client.read().status
    assert "/next" == client.ask(request("/next")).json["path"]


def test_draining_connection_closes_after_its_answer(client: RawHttp, harness: HttpHarness) -> None:
    """What is being worked on is answered, with the word that this was the last."""
    client.send(request("/hold"))
    eventually(lambda: harness.held, what="the request is being worked on")
    harness.limits.is_draining = True
    harness.release()
    answer = client.read()
    assert (200, "close") == (answer.status, answer.headers["connection"])
    assert b"" == client.read_rest()


def test_draining_ends_idle_connections(
    client: RawHttp, harness: HttpHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection on which nothing happens does not hold up a stop."""
    monkeypatch.setattr("basic_inference_server.gateway.http_limits.DRAIN_IDLE_S", 0.05)
    client.ask(request())
    harness.limits.is_draining = True
    assert b"" == client.read_rest()


def test_request_on_its_way_into_a_drain_is_answered(client: RawHttp, harness: HttpHarness) -> None:
    """A client that was just about to send loses nothing."""
    client.ask(request())
    harness.limits.is_draining = True
    answer = client.ask(request("/late"))
    assert ("/late", "close") == (answer.json["path"], answer.headers["connection"])
