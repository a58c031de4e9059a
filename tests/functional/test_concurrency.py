"""Several requests at a time in one worker: `THREADS`, with threads and with `async def`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.concurrent_endpoints import FILES, KINDS, sections
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway
ENDPOINTS: dict[str, dict[str, Any]] = {
    **sections(8, WARMUP=[{"DO": "warm"}]),
    "threaded-alone": {"SERVER_CLASS": "threaded"},
    "tasks-alone": {"SERVER_CLASS": "tasks"},
    "other": {"SERVER_CLASS": "threaded", "THREADS": 4},
}
both_kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("concurrency")
    (folder / "said").touch()
    with shared_gateway(folder, ENDPOINTS, FILES) as gateway:
        yield gateway


@pytest.fixture
def until(gateway: RunningGateway) -> Iterator[Path]:
    """Return the file for which those that hold wait; it is there in the end."""
    path = gateway.base_folder / f"until{random.random()}"
    yield path
    path.touch()


def said(gateway: RunningGateway) -> list[str]:
    return (gateway.base_folder / "said").read_text().split()


def wait_until_said(gateway: RunningGateway, *texts: str) -> None:
    eventually(lambda: set(texts) <= set(said(gateway)), what=f"{texts} are said")


@both_kinds
def test_as_many_as_threads_are_executed_at_once(gateway: RunningGateway, kind: str) -> None:
    """One worker: nobody leaves before all eight are inside."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: gateway.run(kind, DO="meet", X=x), range(8)))
    assert [(200, x) for x in range(8)] == [(one.status_code, one.json()["x"]) for one in answers]


@both_kinds
def test_one_at_a_time_is_the_default(gateway: RunningGateway, until: Path, kind: str) -> None:
    """The second waits in the queue while the first one is executed; so does it behind eight."""
    for name, most in ((f"{kind}-alone", 1), (kind, 8)):
        with ThreadPoolExecutor(most + 1) as pool:
            marks = [f"{name}-{until.name}-{number}" for number in range(most + 1)]
            first = [
                pool.submit(gateway.run, name, DO="hold", X=mark, UNTIL=str(until))
                for mark in marks[:most]
            ]
            wait_until_said(gateway, *marks[:most])
            last = pool.submit(gateway.run, name, DO="hold", X=marks[-1], UNTIL=str(until))
            eventually(lambda name=name: gateway.servers()[name]["queue"] == 1)  # type: ignore[misc]
            assert 1 == gateway.servers()[name]["busy_workers"]
            assert marks[-1] not in said(gateway)
            until.touch()
            assert {200} == {one.result().status_code for one in [*first, last]}
        until.unlink()


@both_kinds
def test_answers_never_change_hands(gateway: RunningGateway, kind: str) -> None:
    """16 callers, 8 at a time, waits of all lengths: value and request id are the caller's own."""
    chance = random.Random(1)
    waits = [[chance.choice((0, 0, 1, 3, 9)) for _ in range(25)] for _ in range(16)]

    def ask(caller: int) -> list[Any]:
        wrong = []
        with requests.Session() as session:
            for number, wait_ms in enumerate(waits[caller]):
                mine = f"{caller}.{number}"
                answer = session.post(
                    f"{gateway.url}/run", headers={"X-Request-Id": f"id-{mine}"}, timeout=60,
                    json={"SIGNATURE": kind, "DO": "echo", "X": mine, "MS": wait_ms},
                ).json()  # fmt: skip
                if (mine, f"id-{mine}") != (answer.get("x"), answer.get("id")):
                    wrong.append((mine, answer))
        return wrong

    before = gateway.servers()[kind]
    with ThreadPoolExecutor(16) as pool:
        assert [[]] * 16 == list(pool.map(ask, range(16)))
    after = gateway.servers()[kind]
    assert (400, 0) == tuple(after[key] - before[key] for key in ("executed", "errors"))
    waited_s = sum(map(sum, waits)) / 1000
    assert after["busy_s"] - before["busy_s"] >= waited_s  # added up, although side by side


@both_kinds
def test_lines_and_notifications_are_of_their_requests(gateway: RunningGateway, kind: str) -> None:
    """Eight at a time that print halves of lines: each line is whole, with its request's id."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: gateway.run(kind, DO="tell", X=f"{kind}{x}"), range(8)))
    ids = {f"{kind}{x}": answer.json()["id"] for x, answer in enumerate(answers)}
    wanted = {(f"first {x} second {x}", number) for x, number in ids.items()}

    def lines() -> set[tuple[str, str]]:
        return {
            (event["message"], event.get("request_id", ""))
            for event in gateway.events
            if event["event"] == "output" and event["server"] == kind
        }

    eventually(lambda: wanted <= lines(), what=f"{wanted} in {lines()}")
    assert [] == [line for line, _ in lines() - wanted if line.startswith("first")]

    def told() -> set[tuple[str, str]]:
        found = gateway.post("/notifications", {"SIGNATURE": kind}).json()["CALLS"]
        return {(one["msg"], one["request_id"]) for one in found if one["notif"] == "told"}

    eventually(lambda: set(ids.items()) <= told())


@both_kinds
def test_streams_run_side_by_side(gateway: RunningGateway, kind: str) -> None:
    """Each caller gets the own items, in order, much larger than what a socket holds."""

    def read(x: int) -> list[Any]:
        answer = gateway.run(kind, DO="items", COUNT=20, FILL=50_000, X=x)
        assert 200 == answer.status_code
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert 1 == len({line["id"] for line in lines})
        return [line["n"] for line in lines]

    with ThreadPoolExecutor(8) as pool:
        assert [list(range(20))] * 8 == list(pool.map(read, range(8)))


@both_kinds
def test_stream_that_breaks_off_says_so(gateway: RunningGateway, kind: str) -> None:
    """In its last line; before the first item it is a plain 500."""
    lines = gateway.run(kind, DO="items", COUNT=5, FAIL_AT=2).text.splitlines()
    assert [0, 1] == [json.loads(line)["n"] for line in lines[:2]]
    assert "no more" in json.loads(lines[2])["ERROR"]
    assert 500 == gateway.run(kind, DO="items", COUNT=5, FAIL_AT=0).status_code


@both_kinds
def test_caller_who_leaves_a_stream_closes_it(gateway: RunningGateway, kind: str) -> None:
    """The generator's `finally` runs, although it had any number of items left."""
    number = f"leaves-{kind}"
    body = json.dumps({"SIGNATURE": kind, "DO": "items", "COUNT": 10**9, "FILL": 1000}).encode()
    with RawClient(gateway.port) as client:
        client.send(
            f"POST /run HTTP/1.1\r\nHost: x\r\nX-Request-Id: {number}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        wait_for_bytes(client)
    wait_until_said(gateway, f"closed-{number}")
    eventually(lambda: gateway.servers()[kind]["busy_workers"] == 0)


def wait_for_bytes(client: RawClient) -> None:
    assert client._socket.recv(1000)


@both_kinds
def test_calls_are_made_side_by_side(gateway: RunningGateway, kind: str) -> None:
    """Of eight requests at a time that each call another endpoint twice, at the same time."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: gateway.run(kind, DO="ask", X=x).json(), range(32)))
    assert [[x, x] for x in range(32)] == [answer["x"] for answer in answers]


@both_kinds
def test_large_bodies_pass(gateway: RunningGateway, kind: str) -> None:
    """8 MB there and back, while others are answered."""
    text = "x" * 8_000_000
    with ThreadPoolExecutor(3) as pool:
        large = [pool.submit(gateway.run, kind, DO="echo", X=text) for _ in range(2)]
        small = [gateway.run(kind, DO="echo", X=x).json()["x"] for x in range(10)]
        assert [text] * 2 == [one.result().json()["x"] for one in large]
    assert list(range(10)) == small


@both_kinds
def test_warm_up_is_run(gateway: RunningGateway, kind: str) -> None:
    """On the endpoint's loop where it has one."""
    assert "READY" == gateway.servers()[kind]["state"]
    assert (gateway.base_folder / "warm").exists()


def test_refusal_by_a_coroutine_is_422(gateway: RunningGateway) -> None:
    """As by a plain `_pre_process`."""
    answer = gateway.run("tasks", DO="echo", X="refused")
    assert (422, "bad_input") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("what", ["exit", "cancelled"])
def test_what_a_coroutine_raises_is_500(gateway: RunningGateway, what: str) -> None:
    """Whatever it is; the worker goes on."""
    pids = gateway.servers()["tasks"]["worker_pids"]
    answer = gateway.run("tasks", DO="raises", X=what)
    assert (500, "endpoint_error") == (answer.status_code, answer.json()["code"])
    assert pids == gateway.servers()["tasks"]["worker_pids"]


def test_spoilt_loop_goes_on(gateway: RunningGateway) -> None:
    """`SystemExit` in a task of its own and `loop.stop()` end neither worker nor request."""
    pids = gateway.servers()["tasks"]["worker_pids"]
    assert 5 == gateway.run("tasks", DO="spoils_the_loop", X=5).json()["x"]
    assert pids == gateway.servers()["tasks"]["worker_pids"]


def test_deadline_cancels_a_task(gateway: RunningGateway) -> None:
    """Its `finally` runs; the worker and its other requests live on."""
    pids = gateway.servers()["tasks"]["worker_pids"]
    answer = requests.post(
        f"{gateway.url}/run", json={"SIGNATURE": "tasks", "DO": "wait", "X": "late"},
        headers={"X-Request-Timeout": "1"}, timeout=60,
    )  # fmt: skip
    assert 504 == answer.status_code
    wait_until_said(gateway, "cleaned-late")
    assert pids == gateway.servers()["tasks"]["worker_pids"]


def test_caller_who_leaves_cancels_a_task(gateway: RunningGateway) -> None:
    """At once, long before its deadline."""
    with RawClient(gateway.port) as client:
        client.send_json("/run", {"SIGNATURE": "tasks", "DO": "wait", "X": "left"})
        wait_until_said(gateway, "left")
    wait_until_said(gateway, "cleaned-left")
    eventually(lambda: gateway.servers()["tasks"]["busy_workers"] == 0)
