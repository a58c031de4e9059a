"""Endpoints call other endpoints: in parallel, within the deadline, never in a circle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway
LEAF = """
import os
import threading
from pathlib import Path

from basic_inference_server import FlaskWorker


class LeafWorker(FlaskWorker):
    def _pre_process(self, inputs):
        if inputs["X"] == "refused":
            raise ValueError("not that one")
        return inputs["X"]

    def _predict(self, x):
        if x == "die":
            os._exit(3)
        if isinstance(x, float):
            threading.Event().wait(x)
        if isinstance(x, list):
            mine, other = map(Path, x)
            mine.touch()
            while not other.exists():
                threading.Event().wait(0.01)
        return {"x": x, "id": self.request_id, "size": len(x) if isinstance(x, str) else 0}
"""
CALLER = """
from basic_inference_server import CallError, FlaskWorker


class CallerWorker(FlaskWorker):
    def _predict(self, inputs):
        requests = [(one["TO"], {"X": one.get("X")}) for one in inputs["CALLS"]]
        if not inputs.get("CATCH"):
            return {"answers": self.call_many(requests)}
        outcomes = self.call_many(requests, return_errors=True)
        return {
            "answers": [
                [one.signature, one.status, one.code, str(one)] if isinstance(one, CallError)
                else one["x"]
                for one in outcomes
            ]
        }
"""
MUTUAL = """
from basic_inference_server import FlaskWorker


class MutualWorker(FlaskWorker):
    def _predict(self, inputs):
        return self.call(self.cfg_other, {"X": inputs.get("X")})
"""
ENDPOINTS: dict[str, dict[str, Any]] = {
    "leaf": {"NR_WORKERS": 2},
    "single": {"SERVER_CLASS": "leaf", "QUEUE_SIZE": 1},
    "caller": {"NR_WORKERS": 2, "TIMEOUT": 10},
    "off": {"SERVER_CLASS": "leaf", "DISABLED": True},
    "left": {"SERVER_CLASS": "mutual", "OTHER": "right"},
    "right": {"SERVER_CLASS": "mutual", "OTHER": "left"},
    "self": {"SERVER_CLASS": "mutual", "OTHER": "self"},
}
FILES = {"leaf": LEAF, "caller": CALLER, "mutual": MUTUAL}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with shared_gateway(tmp_path_factory.mktemp("composition"), ENDPOINTS, FILES) as gateway:
        yield gateway


def calls(gateway: RunningGateway, *requests_: tuple[str, Any], catch: bool = True) -> Any:
    """Have the caller make calls; return its answer."""
    sent = [{"TO": signature, "X": x} for signature, x in requests_]
    return gateway.run("caller", CALLS=sent, CATCH=catch).json()


def test_calls_are_answered_in_order_under_the_same_id(gateway: RunningGateway) -> None:
    """To one endpoint or several; large inputs and answers too, and integers beyond 64 bits."""
    big = "y" * 1_000_000
    long = 2**64 + 1
    sent = [{"TO": "leaf", "X": "a"}, {"TO": "single", "X": long}, {"TO": "leaf", "X": big}]
    response = requests.post(
        f"{gateway.url}/run", json={"SIGNATURE": "caller", "CALLS": sent},
        headers={"X-Request-Id": "mine"}, timeout=60,
    )  # fmt: skip
    answers = response.json()["answers"]
    assert ["a", long, big] == [one["x"] for one in answers]
    assert {"mine"} == {one["id"] for one in answers}
    assert ["leaf", "single", "leaf"] == [one["signature"] for one in answers]


def test_calls_run_at_the_same_time(gateway: RunningGateway) -> None:
    """Two workers that wait for each other are both executing."""
    one, other = (str(gateway.base_folder / name) for name in ("one is there", "other is there"))
    meeting = [{"TO": "leaf", "X": [one, other]}, {"TO": "leaf", "X": [other, one]}]
    response = gateway.run("caller", CALLS=meeting)
    assert [[one, other], [other, one]] == [leaf["x"] for leaf in response.json()["answers"]]


def test_failed_call_is_an_exception_that_names_it(gateway: RunningGateway) -> None:
    """Not caught, it is the caller's 500; caught, the others' answers are there."""
    answer = calls(gateway, ("leaf", "refused"), catch=False)
    assert "endpoint_error" == answer["code"]
    assert "CallError: leaf answered 422 bad_input" in answer["ERROR"]
    outcomes = calls(
        gateway, ("leaf", "a"), ("leaf", "refused"), ("nobody", "b"), ("off", "c"), ("leaf", "d")
    )["answers"]
    assert ["a", "d"] == [outcomes[0], outcomes[4]]
    assert [["leaf", 422, "bad_input"], ["nobody", 404, "unknown_signature"],
            ["off", 503, "not_ready"]] == [one[:3] for one in outcomes[1:4]]  # fmt: skip


def test_death_of_the_called_worker_is_told(gateway: RunningGateway) -> None:
    """The caller's own worker lives on."""
    before = gateway.servers()["caller"]["worker_pids"]
    ((signature, status, code, _),) = calls(gateway, ("single", "die"))["answers"]
    assert ("single", 502, "worker_died") == (signature, status, code)
    assert before == gateway.servers()["caller"]["worker_pids"]
    eventually(lambda: gateway.servers()["single"]["ready_workers"] == 1)


@pytest.mark.parametrize("catch", [True, False])
def test_deadline_goes_along(gateway: RunningGateway, catch: bool) -> None:
    """The client's deadline is the called endpoint's too: 504 in time."""
    sent = [{"TO": "single", "X": 20.0}]
    response = requests.post(
        f"{gateway.url}/run", json={"SIGNATURE": "caller", "CALLS": sent, "CATCH": catch},
        headers={"X-Request-Timeout": "0.5"}, timeout=30,
    )  # fmt: skip
    # The gateway's own answer, or the caller's that its call had none, whichever was quicker.
    codes = [one[2] for one in response.json().get("answers", [])]
    assert "deadline_exceeded" in {response.json().get("code"), *codes}
    assert catch or response.status_code == 504
    assert response.elapsed.total_seconds() < 10
    eventually(lambda: gateway.servers()["caller"]["busy_workers"] == 0)
    os.kill(gateway.servers()["single"]["worker_pids"][0], signal.SIGKILL)
    eventually(lambda: gateway.servers()["single"]["ready_workers"] == 1)


def test_full_queue_of_the_called_endpoint_is_told(gateway: RunningGateway) -> None:
    """At once, as a client would be told."""
    many = [("single", 0.5)] * 4
    outcomes = calls(gateway, *many)["answers"]
    refused = [one for one in outcomes if isinstance(one, list)]
    assert {("single", 503, "overloaded")} == {tuple(one[:3]) for one in refused}


def test_circle_is_refused_and_named(gateway: RunningGateway) -> None:
    """Whoever comes second; nobody waits for himself, so nothing can stand still."""
    with ThreadPoolExecutor(8) as pool:
        names = ["left", "right"] * 8
        answers = list(pool.map(lambda name: gateway.run(name, X="a", timeout_s=9), names))
    assert {500} == {answer.status_code for answer in answers}
    errors = " ".join(answer.json()["ERROR"] for answer in answers)
    assert "in a circle: left -> right -> left" in errors or (
        "in a circle: right -> left -> right" in errors
    )
    own = gateway.run("self", X="a").json()["ERROR"]
    assert "in a circle: self -> self" in own
