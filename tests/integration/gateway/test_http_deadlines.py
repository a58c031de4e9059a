"""Clients that are slow: each wait has an end, and none of it costs the others anything."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.http_connection import HttpConnection
from basic_inference_server.gateway.http_limits import HttpLimits
from basic_inference_server.gateway.unsent_answers import Unsent, UnsentAnswers
from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp, request

CONSTANTS = "basic_inference_server.gateway.http_limits"
SETTINGS = {"HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "IDLE_TIMEOUT_S"}
POST = b"POST /x HTTP/1.1\r\nHost: test\r\n"
SHORT_S = 0.05


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, harness: HttpHarness) -> Callable[[str], None]:
    def shorten(name: str) -> None:
        if name in SETTINGS:
            setattr(harness.limits, name.lower(), SHORT_S)
        else:
            monkeypatch.setattr(f"{CONSTANTS}.{name}", SHORT_S)

    return shorten


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"G", id="a letter"),
        pytest.param(b"GET", id="a method"),
        pytest.param(b"GET /x", id="half a line"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: te", id="half a header"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: test\r\n", id="all but the end"),
        pytest.param(b"\r\n", id="an empty line"),
    ],
)
def test_head_that_does_not_end_times_out(
    short: Callable[[str], None], client: RawHttp, data: bytes
) -> None:
    """Half a head is answered with 408 when its time is over."""
    short("HEAD_TIMEOUT_S")
    assert (408, "request_timeout", "close") == client.ask(data).error
    assert b"" == client.read_rest()


def test_head_that_trickles_times_out(short: Callable[[str], None], client: RawHttp) -> None:
    """A byte now and then does not buy time."""
    short("HEAD_TIMEOUT_S")
    client.send(b"GET /x HTTP/1.1\r\n")
    client.socket.settimeout(0.01)
    answer = b""
    for _ in range(500):
        client.send(b"X: y\r\n")
        try:
            answer = client.socket.recv(1000)
        except TimeoutError:
            continue
        break
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 20\r\n\r\n{}",
        POST + b"Content-Length: 20\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ],
    ids=["half a body", "no body", "no chunk", "half a chunk", "no end"],
)
def test_body_that_does_not_end_times_out(
    short: Callable[[str], None], client: RawHttp, harness: HttpHarness, data: bytes
) -> None:
    """Nothing is executed of a request that never became one."""
    short("BODY_TIMEOUT_S")
    assert (408, "request_timeout", "close") == client.ask(data).error
    assert [] == harness.seen


def test_large_body_gets_more_time(
    short: Callable[[str], None], client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allowance grows with the announced length, so a slow line can send a large body."""
    short("BODY_TIMEOUT_S")
    monkeypatch.setattr(f"{CONSTANTS}.MIN_BODY_BYTES_PER_S", 1000)
    client.send(POST + b"Content-Length: 10000\r\n\r\n")
    client.socket.settimeout(4 * SHORT_S)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(10)
    assert 200 == client.ask(b"x" * 10_000).status


def test_connection_without_a_request_is_closed(
    short: Callable[[str], None], connect: Callable[[], RawHttp]
) -> None:
    """Who connects and says nothing has the time of a head, and gets no answer."""
    short("HEAD_TIMEOUT_S")
    assert b"" == connect().read_rest()


def test_idle_connection_is_closed_quietly(
    short: Callable[[str], None], client: RawHttp, harness: HttpHarness
) -> None:
    """Between requests there is nothing to answer."""
    short("IDLE_TIMEOUT_S")
    assert 200 == client.ask(request()).status
    assert b"" == client.read_rest()
    eventually(lambda: not harness.connection_count(), what="the connection is gone")


def test_idle_time_ends_with_the_next_request(client: RawHttp, harness: HttpHarness) -> None:
    """A connection that is used is not idle, however long it lives."""
    harness.limits.idle_timeout_s = 0.3
    client.ask(request())
    client.send(request("/hold"))
    eventually(lambda: harness.held, what="the request is being worked on")
    client.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(10)
    harness.release()
    assert 200 == client.read().status


@pytest.mark.parametrize("name", ["HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "IDLE_TIMEOUT_S"])
def test_time_of_the_endpoint_is_not_the_clients(
    short: Callable[[str], None], connect: Callable[[], RawHttp], harness: HttpHarness, name: str
) -> None:
    """While a request is being worked on, the client may be silent."""
    short(name)
    client = connect()
    client.send(request("/hold"))
    eventually(lambda: harness.held, what="the request is being worked on")
    client.socket.settimeout(4 * SHORT_S)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(10)
    harness.release()
    assert 200 == client.read().status
    assert [] == harness.abandoned


def test_refused_client_that_sends_on_is_left(
    short: Callable[[str], None], client: RawHttp, harness: HttpHarness
) -> None:
    """What follows a refusal is thrown away for a moment, then the connection ends."""
    short("LINGER_S")
    client.send(POST + b"Content-Length: 1000000000\r\n\r\n")
    assert 413 == client.read().status
    eventually(lambda: not harness.connection_count(), what="the connection is gone")


def test_client_that_does_not_read_is_left(
    short: Callable[[str], None], client: RawHttp, harness: HttpHarness
) -> None:
    """An answer that nobody takes does not stay in memory for ever."""
    short("WRITE_TIMEOUT_S")
    short("IDLE_TIMEOUT_S")
    client.send(request("/big/50000000"))
    eventually(lambda: harness.seen, what="the request is answered")
    eventually(lambda: not harness.connection_count(), what="the connection is gone")


def read_slowly(client: RawHttp, size: int) -> int:
    """Read an answer of `size` in small pieces; return how much came."""
    pause = threading.Event()
    received = 0
    while received < size and (chunk := client.socket.recv(400_000)):
        received += len(chunk)
        pause.wait(0.008)
    return received


def test_client_that_reads_slowly_gets_all_of_it(
    client: RawHttp, harness: HttpHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow is not stuck: as long as some of it goes, an answer is not cut, nor the next one."""
    harness.limits.idle_timeout_s = 0.4
    monkeypatch.setattr(f"{CONSTANTS}.WRITE_TIMEOUT_S", 0.4)
    size = 40_000_000
    for _ in range(2):
        client.send(request(f"/big/{size}"))
        assert size <= read_slowly(client, size)


def test_answers_that_are_not_read_do_not_pile_up(client: RawHttp, harness: HttpHarness) -> None:
    """Requests behind an answer that does not go out wait, and go on when it does."""
    count, size = 60, 1_000_000
    client.send(request(f"/big/{size}") * count)
    known = -1
    while known != len(harness.seen):
        known = len(harness.seen)
        for _ in range(20):
            harness.connection_count()
    unwritten = harness.call(
        lambda: sum(one.transport.get_write_buffer_size() for one in harness.limits.connections)
    )
    answers = [client.read() for _ in range(count)]
    assert [size] * count == [len(answer.body) for answer in answers]
    assert unwritten < 10 * size


def test_slow_clients_cost_the_others_nothing(
    connect: Callable[[], RawHttp], harness: HttpHarness
) -> None:
    """A hundred half requests, and the next client is served as if they were not there."""
    slow = [connect() for _ in range(100)]
    for client in slow:
        client.send(b"GET /x HTTP/1.1\r\nHost: te")
    eventually(lambda: harness.connection_count() == 100, what="all are connected")
    assert 200 == connect().ask(request()).status
    for client in slow:
        client.send(b"st\r\n\r\n")
    assert [200] * 100 == [client.read().status for client in slow]


def test_time_in_which_the_process_stood_still_is_given_to_clients() -> None:
    """Nobody is cut off for what nobody could have sent or read meanwhile."""
    unsent = UnsentAnswers(EventLog(lambda _event: None))
    connection = HttpConnection(HttpLimits(lambda exchange, signature: None, 1000, "1", unsent))
    connection.give_time(17)
    assert connection.deadline_s is None
    connection.deadline_s = connection._room_until_s = 100.0
    connection.give_time(17)
    assert (117, 117) == (connection.deadline_s, connection._room_until_s)


def test_client_that_could_not_read_while_the_process_stood_still_is_not_stalled() -> None:
    """Of two that read as well, the one that began before the pause is not cut for it."""
    unsent = UnsentAnswers(EventLog(lambda _event: None))
    limits = HttpLimits(lambda exchange, signature: None, 1000, "1", unsent)
    connection = HttpConnection(limits)
    waiting = Unsent(held_bytes=10, untaken_bytes=5, taken_bytes=5, progress_s=100.0)
    unsent.waiting[connection] = waiting
    limits.give_time(17)
    assert 0 == waiting.stalled_s(118.0)
    assert 3 == waiting.stalled_s(120.0)
