"""Requests of many callers are executed together, and everybody gets the own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import Gate, shared_gateway
from tests.functional.raw_client import RawClient
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway
BATCHED = """
import fcntl
import os

from basic_inference_server import FlaskWorker


class BatchedWorker(FlaskWorker):
    def _pre_process(self, inputs):
        if inputs["X"] == "refused":
            raise ValueError("not that one")
        return inputs

    def _predict_batch(self, prepared):
        with open("executed", "a") as file:
            file.write("".join(f"{one['X']} " for one in prepared))
        with open("gate") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        if any(one["X"] == "die" for one in prepared):
            os._exit(7)
        if any(one["X"] == "raise" for one in prepared):
            raise RuntimeError("cannot do it")
        return [{"x": one["X"], "batch": len(prepared)} for one in prepared]
"""
ENDPOINTS: dict[str, dict[str, Any]] = {
    "batched": {"BATCH_SIZE": 8},
    "waits": {"SERVER_CLASS": "batched", "BATCH_SIZE": 4, "BATCH_WAIT_MS": 2000},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("batching")
    Gate(folder)
    with shared_gateway(folder, ENDPOINTS, {"batched": BATCHED}) as gateway:
        yield gateway


@pytest.fixture
def gate(gateway: RunningGateway) -> Gate:
    return Gate(gateway.base_folder)


def together(gateway: RunningGateway, gate: Gate, *values: Any) -> list[Any]:
    """Send requests that wait behind one that is being executed; return status and body of each."""
    with ThreadPoolExecutor(len(values) + 1) as pool:
        with gate.closed():
            first = pool.submit(gateway.run, "batched", X=f"first{id(values)}")
            gate.wait_for(f"first{id(values)}")
            rest = []
            for number, value in enumerate(values):
                rest.append(pool.submit(gateway.run, "batched", X=value))
                eventually(lambda n=number: queued(gateway) == n + 1)  # type: ignore[misc]
        assert 200 == first.result().status_code
        return [(one.result().status_code, one.result().json()) for one in rest]


def queued(gateway: RunningGateway) -> int:
    """Return how many requests wait for the endpoint."""
    return int(gateway.servers()["batched"]["queue"])


def test_lone_request_is_a_batch_of_one_at_once(gateway: RunningGateway) -> None:
    """Nothing is waited for where `BATCH_WAIT_MS` is 0."""
    answer = gateway.run("batched", X=5).json()
    assert (5, 1, "batched") == (answer["x"], answer["batch"], answer["signature"])


def test_what_waits_is_executed_together(gateway: RunningGateway, gate: Gate) -> None:
    """Across callers, `BATCH_SIZE` at most."""
    answers = together(gateway, gate, *range(10))
    assert list(range(10)) == [body["x"] for _, body in answers]
    assert {200} == {status for status, _ in answers}
    assert [8] * 8 + [2] * 2 == sorted((body["batch"] for _, body in answers), reverse=True)


def test_bad_item_fails_alone(gateway: RunningGateway, gate: Gate) -> None:
    """Refused, raising or nested too deeply: its neighbours do not notice."""
    answers = together(gateway, gate, "a", "refused", "raise", "b")
    assert [200, 422, 500, 200] == [status for status, _ in answers]
    assert ("a", "b") == (answers[0][1]["x"], answers[3][1]["x"])
    assert "cannot do it" in answers[2][1]["ERROR"]


def test_dead_worker_is_explained_to_the_whole_batch(gateway: RunningGateway, gate: Gate) -> None:
    """Nobody can say whose fault it was, so nobody is put into quarantine."""
    for _ in range(2):
        answers = together(gateway, gate, "die", "c")
        assert [(502, "exit code 7")] * 2 == [(status, body["cause"]) for status, body in answers]
        eventually(lambda: gateway.servers()["batched"]["ready_workers"] == 1)
    assert [] == gateway.post("/quarantine", {}).json()["QUARANTINE"]
    assert 200 == together(gateway, gate, "c")[0][0]


def test_item_whose_caller_has_left_is_not_executed(gateway: RunningGateway, gate: Gate) -> None:
    """The others of its batch are."""
    with ThreadPoolExecutor(2) as pool, gate.closed():
        first = pool.submit(gateway.run, "batched", X="before")
        gate.wait_for("before")
        with RawClient(gateway.port) as client:
            client.send_json("/run", {"SIGNATURE": "batched", "X": "left"})
            eventually(lambda: queued(gateway) == 1)
        stays = pool.submit(gateway.run, "batched", X="stays")
        eventually(lambda: queued(gateway) == 1)
    assert (200, 200) == (first.result().status_code, stays.result().status_code)
    assert "left" not in gate.executed()


def test_item_past_its_deadline_is_not_executed(gateway: RunningGateway, gate: Gate) -> None:
    """It has had its 504."""
    with ThreadPoolExecutor(1) as pool, gate.closed():
        first = pool.submit(gateway.run, "batched", X="holds")
        gate.wait_for("holds")
        late = requests.post(
            f"{gateway.url}/run", json={"SIGNATURE": "batched", "X": "late"},
            headers={"X-Request-Timeout": "0.05"}, timeout=60,
        )  # fmt: skip
        assert 504 == late.status_code
    assert 200 == first.result().status_code
    assert "late" not in gate.executed()


def test_batch_waits_for_more_where_it_is_told_to(gateway: RunningGateway) -> None:
    """And goes at once when it is full."""
    with ThreadPoolExecutor(4) as pool:
        answers = [one.json() for one in pool.map(lambda x: gateway.run("waits", X=x), range(4))]
    assert [4] * 4 == [answer["batch"] for answer in answers]


def test_answers_never_change_hands(gateway: RunningGateway) -> None:
    """Under load, with batches of all sizes: every caller gets the own value back."""
    wrong: list[Any] = []

    def ask(caller: int) -> None:
        for number in range(40):
            value = f"{caller}.{number}"
            answer = gateway.run("batched", X=value).json()
            if answer["x"] != value:
                wrong.append((value, answer))

    callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [] == wrong


def test_counters_count_items(gateway: RunningGateway, gate: Gate) -> None:
    """Not batches."""
    eventually(lambda: gateway.servers()["batched"]["busy_workers"] == 0)
    before = gateway.servers()["batched"]
    together(gateway, gate, 1, 2, "raise")

    def counted() -> tuple[int, int]:
        now = gateway.servers()["batched"]
        return now["executed"] - before["executed"], now["errors"] - before["errors"]

    # A worker counts when it has answered.
    eventually(lambda: counted() == (4, 1), what="three items and the one that held are counted")


def test_endpoint_without_the_hook_says_so(launch: Callable[..., RunningGateway]) -> None:
    """A load error that names the method."""
    source = BATCHED.replace("_predict_batch", "_predict")
    gateway = launch({"batched": {"BATCH_SIZE": 2}}, {"batched": source})
    assert "_predict_batch(self, prepared)" in gateway.servers()["batched"]["last_error"]
