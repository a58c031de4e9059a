"""Answers that come item by item, over HTTP: forms, errors, deadlines, clients that leave."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.gateways import Gate, shared_gateway
from tests.functional.open_answer import OpenAnswer, numbers
from tests.functional.raw_client import RawClient, head
from tests.functional.streaming_sources import ASKING, BATCHED, STREAMING
from tests.support.event_stream import parse_events, parse_lines
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway
ENDPOINTS: dict[str, dict[str, Any]] = {
    "streaming": {"NR_WORKERS": 2, "TIMEOUT": 20},
    "lone": {"SERVER_CLASS": "streaming", "TIMEOUT": 20},
    "hasty": {"SERVER_CLASS": "streaming", "TIMEOUT": 2.5, "WARMUP": [{"N": 2, "ID": "warm"}]},
    "again": {"SERVER_CLASS": "streaming", "IDEMPOTENT": True},
    "batched": {"BATCH_SIZE": 2},
    "asking": {},
}
FILES = {"streaming": STREAMING, "batched": BATCHED, "asking": ASKING}
EVENTS = {"Accept": "text/event-stream"}
WHOLE = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with shared_gateway(tmp_path_factory.mktemp("streams"), ENDPOINTS, FILES) as gateway:
        Gate(gateway.base_folder)
        yield gateway


@pytest.fixture
def gate(gateway: RunningGateway) -> Gate:
    return Gate(gateway.base_folder)


def ask(
    gateway: RunningGateway,
    signature: str = "streaming",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> requests.Response:
    """Ask, and read all of the answer."""
    return requests.post(
        f"{gateway.url}/run/{signature}", json=fields, headers=headers, timeout=60
    )  # fmt: skip


def test_items_are_lines_of_json_by_default(gateway: RunningGateway) -> None:
    """In chunks, kept from caches and proxies' buffers, with the request's id and its times."""
    answer = ask(gateway, headers={"X-Request-Id": "my-id"}, N=3)
    assert (200, [0, 1, 2]) == (answer.status_code, numbers(parse_lines(answer.content)))
    expected = {
        "content-type": "application/x-ndjson", "transfer-encoding": "chunked",
        "cache-control": "no-cache", "x-accel-buffering": "no", "x-request-id": "my-id",
    }  # fmt: skip
    assert expected.items() <= {k.lower(): v for k, v in answer.headers.items()}.items()
    assert "queue;dur=" in answer.headers["Server-Timing"]
    assert "content-length" not in answer.headers


def test_items_are_events_for_who_asks_for_them(gateway: RunningGateway) -> None:
    """With a last one that has what other answers have beside their data."""
    answer = ask(gateway, headers=EVENTS, N=2)
    assert "text/event-stream" == answer.headers["Content-Type"]
    *items, (name, end) = parse_events(answer.content)
    assert [("message", 0), ("message", 1)] == [(name, item["n"]) for name, item in items]
    assert ("end", "streaming") == (name, end["signature"])


def test_items_are_one_answer_for_who_takes_only_json(gateway: RunningGateway) -> None:
    """With a length, as other answers."""
    answer = ask(gateway, headers=WHOLE, N=3)
    assert ("application/json", [0, 1, 2]) == (
        answer.headers["Content-Type"], numbers(answer.json()["data"]),
    )  # fmt: skip
    assert str(len(answer.content)) == answer.headers["Content-Length"]
    assert "streaming" == answer.json()["signature"]


def test_old_client_gets_lines_to_the_end_of_the_connection(gateway: RunningGateway) -> None:
    """HTTP/1.0 knows no chunks."""
    with RawClient(gateway.port) as client:
        client.send(b"GET /run/streaming?N=2 HTTP/1.0\r\n\r\n")
        top, _, body = client.read_rest().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in top.lower()
    assert [0, 1] == numbers(parse_lines(body))


@pytest.mark.parametrize("port", ["gateway", "own"])
def test_item_arrives_while_the_next_one_is_made(
    gateway: RunningGateway, gate: Gate, port: str
) -> None:
    """Nothing is kept back on the way; it is the same through the endpoint's own port."""
    number, path = (
        (gateway.port, "/run/streaming")
        if port == "gateway"
        else (gateway.server_ports["streaming"], "/run")
    )
    with gate.closed():
        answer = OpenAnswer(number, path, N=3, AT=2, DO="wait")
        assert [0, 1] == numbers([answer.read_item() for _ in range(2)])
        eventually(lambda: gateway.servers()["streaming"]["busy_workers"] == 1)
    assert [2] == numbers(answer.read_rest())
    answer.close()


def test_connection_serves_more_after_a_stream(gateway: RunningGateway) -> None:
    """Also after one that has failed, and a request that was sent ahead."""
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)) as connection:
        for target in ("N=2", "N=2&AT=1&DO=raise", "N=0", "N=2&AT=0&DO=raise", "N=1"):
            connection.request("GET", f"/run/streaming?{target}")
            sock = connection.sock
            response = connection.getresponse()
            response.read()
            assert sock is connection.sock, target
    with RawClient(gateway.port) as client:
        ahead = head("GET", "/run/streaming?N=2") + head("GET", "/run/streaming?N=4")
        client.send(ahead + head("GET", "/v1/ready", ("Connection", "close")))
        text = client.read_rest()
    assert 3 == text.count(b"HTTP/1.1 200 OK\r\n")
    assert 6 == text.count(b'{"n":')


@pytest.mark.parametrize("headers", [{}, EVENTS, WHOLE], ids=["lines", "events", "whole"])
@pytest.mark.parametrize("deed", ["raise", "object"])
def test_error_before_the_first_item_is_an_error_answer(
    gateway: RunningGateway, headers: dict[str, str], deed: str
) -> None:
    """As of any endpoint."""
    check_error("endpoint_error", ask(gateway, headers=headers, AT=0, DO=deed))


@pytest.mark.parametrize("deed", ["raise", "object"])
def test_error_in_mid_stream_is_the_last_item(gateway: RunningGateway, deed: str) -> None:
    """With all that an error answer has; the body has its end."""
    *items, error = parse_lines(ask(gateway, AT=2, DO=deed).content)
    assert ([0, 1], "endpoint_error", "yes") == (
        numbers(items), error["code"], error["executed"],
    )  # fmt: skip
    *events, (name, error) = parse_events(ask(gateway, headers=EVENTS, AT=2, DO=deed).content)
    assert (2, "error", "endpoint_error") == (len(events), name, error["code"])
    check_error("endpoint_error", ask(gateway, headers=WHOLE, AT=2, DO=deed))


@pytest.mark.parametrize(("deed", "cause"), [("kill", "signal 9"), ("exit", "exit code 7")])
def test_worker_that_dies_in_mid_stream_is_the_last_item(
    gateway: RunningGateway, deed: str, cause: str
) -> None:
    """With the cause; the connection is kept and a new worker serves."""
    *items, error = parse_lines(ask(gateway, AT=2, DO=deed).content)
    assert ([0, 1], "worker_died", "unknown") == (
        numbers(items), error["code"], error["executed"],
    )  # fmt: skip
    assert cause in error["cause"]
    assert "died while it had this request" in error["ERROR"]
    *_, (name, error) = parse_events(ask(gateway, headers=EVENTS, AT=1, DO=deed).content)
    assert ("error", "worker_died") == (name, error["code"])
    eventually(lambda: gateway.servers()["streaming"]["ready_workers"] == 2)


def test_stream_is_begun_again_only_before_its_first_item(gateway: RunningGateway) -> None:
    """What a client has had of it cannot be taken back, `IDEMPOTENT` or not."""
    *items, error = parse_lines(ask(gateway, "again", AT=1, DO="kill").content)
    assert ([0], "worker_died") == (numbers(items), error["code"])
    answer = ask(gateway, "again", N=2, AT=0, DO="die once")
    assert [0, 1] == numbers(parse_lines(answer.content))


def test_worker_that_dies_before_the_first_item_is_an_error_answer(
    gateway: RunningGateway,
) -> None:
    """As of any endpoint."""
    assert "signal 9" in check_error("worker_died", ask(gateway, AT=0, DO="kill"))["cause"]


def test_every_item_has_the_whole_time(gateway: RunningGateway) -> None:
    """Three pauses together are longer than the endpoint's TIMEOUT, and none alone."""
    answer = ask(gateway, "hasty", N=3, AT="each", DO="pause")
    assert [0, 1, 2] == numbers(parse_lines(answer.content))


def test_item_that_is_late_is_the_last_one(gateway: RunningGateway) -> None:
    """With the time that it had: the endpoint's, or the shorter one of the request."""
    *items, error = parse_lines(ask(gateway, "hasty", AT=1, DO="hang").content)
    assert ([0], "deadline_exceeded", "unknown") == (
        numbers(items), error["code"], error["executed"],
    )  # fmt: skip
    assert "hasty did not send its next item within 2.5 s." == error["ERROR"]
    *items, error = parse_lines(
        ask(gateway, headers={"X-Request-Timeout": "0.8"}, AT=1, DO="pause").content
    )
    assert ([0], "streaming did not send its next item within 0.8 s.") == (
        numbers(items), error["ERROR"],
    )  # fmt: skip
    eventually(lambda: gateway.servers()["hasty"]["ready_workers"] == 1)


def test_client_that_leaves_frees_the_worker(gateway: RunningGateway) -> None:
    """At the next item: what the generator has to clean up is done, the next request served."""
    answer = OpenAnswer(gateway.port, "/run/lone", N=2, AT=1, DO="flood", ID="left-1")
    assert 0 == answer.read_item()["n"]
    answer.close()
    assert [0] == numbers(parse_lines(ask(gateway, "lone", N=1).content))
    eventually(lambda: is_closed(gateway, "left-1"))
    assert 0 == gateway.servers()["lone"]["errors"]


def is_closed(gateway: RunningGateway, name: str) -> bool:
    """Say whether a generator has ended; so it has logged."""
    return any(f"closed {name}" in str(event.get("message")) for event in gateway.events)


def test_client_that_does_not_read_holds_back_the_worker_only(gateway: RunningGateway) -> None:
    """Neither the gateway's memory nor other endpoints; what it reads later is whole."""
    with RawClient(gateway.port) as client:
        client.send(head("GET", "/run/lone?N=2&AT=1&DO=flood&ID=left-2"))
        eventually(lambda: gateway.servers()["lone"]["busy_workers"] == 1)
        assert [0] == numbers(parse_lines(ask(gateway, N=1).content))
        assert 1 == gateway.servers()["lone"]["busy_workers"]
        assert not is_closed(gateway, "left-2")
    eventually(lambda: is_closed(gateway, "left-2"))
    assert [0] == numbers(parse_lines(ask(gateway, "lone", N=1).content))


def test_client_that_pauses_gets_all_of_it(gateway: RunningGateway) -> None:
    """For longer than the endpoint's TIMEOUT: neither the stream nor the worker is late."""
    (pid,) = gateway.servers()["hasty"]["worker_pids"]
    answer = OpenAnswer(gateway.port, "/run/hasty", N=2, AT=1, DO="much")
    assert 0 == answer.read_item()["n"]
    clock = ask(gateway, N=4, AT="each", DO="pause")  # 4 s
    assert 4 == len(parse_lines(clock.content))
    assert 1 == gateway.servers()["hasty"]["busy_workers"]
    *items, last = answer.read_rest()
    assert ([100_000] * 400, 1) == ([len(item) for item in items], last["n"])
    assert [pid] == gateway.servers()["hasty"]["worker_pids"]


def test_stream_is_run_to_its_end_for_a_warm_up(gateway: RunningGateway) -> None:
    """Before the first request."""
    assert is_closed(gateway, "warm")


def test_page_of_another_origin_may_read_a_stream(gateway: RunningGateway) -> None:
    """As other answers (CORS)."""
    answer = ask(gateway, headers={"Origin": "https://example.org"})
    assert "*" == answer.headers["Access-Control-Allow-Origin"]


def test_batch_is_not_streamed(gateway: RunningGateway) -> None:
    """The author reads what to do."""
    error = check_error("endpoint_error", ask(gateway, "batched"))
    assert (
        "batched cannot stream the answers of a batch; set BATCH_SIZE to 1, or return a list."
        == error["ERROR"]
    )


def test_endpoint_that_calls_gets_all_items_together(gateway: RunningGateway) -> None:
    """An error among them is the call's."""
    answer = ask(gateway, "asking", TO="streaming", ASK={"N": 3}).json()["answer"]
    assert ([0, 1, 2], "streaming") == (numbers(answer["data"]), answer["signature"])
    failed = ask(gateway, "asking", TO="streaming", ASK={"AT": 2, "DO": "raise"}).json()["failed"]
    assert [500, "endpoint_error"] == failed[:2]


def test_streams_are_counted_as_requests(gateway: RunningGateway) -> None:
    """One each; one that has failed is an error."""
    before = gateway.servers()["lone"]
    ask(gateway, "lone", N=5)
    ask(gateway, "lone", AT=2, DO="raise")

    def counted() -> tuple[int, int]:
        now = gateway.servers()["lone"]
        return now["requests"] - before["requests"], now["errors"] - before["errors"]

    eventually(lambda: counted() == (2, 1))
