"""The error table, row 503: the endpoint cannot take the request, and nothing was executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import FLAKY, GATED, GATED_LOAD, MIRROR, NO_LIBRARY
from tests.functional.gateways import Gate, shared_gateway
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import eventually

Launch = Callable[..., RunningGateway]

QUEUE_SIZE = 2


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint in each state in which it takes no requests, and one with a short queue."""
    folder = tmp_path_factory.mktemp("readiness")
    Gate(folder)
    with shared_gateway(
        folder,
        {
            "broken": {"SERVER_CLASS": "no_library"},
            "flaky": {},
            "off": {"SERVER_CLASS": "mirror", "DISABLED": True},
            "stopped": {"SERVER_CLASS": "mirror"},
            "busy": {"SERVER_CLASS": "gated", "QUEUE_SIZE": QUEUE_SIZE},
        },
        {"no_library": NO_LIBRARY, "flaky": FLAKY, "mirror": MIRROR, "gated": GATED},
    ) as running:
        yield running


@pytest.mark.shares_gateway
def test_endpoint_that_failed_to_load_answers_with_the_load_error(gateway: RunningGateway) -> None:
    """The caller reads why it could not be loaded, and where."""
    body = check_error("not_ready", gateway.run("broken"))
    assert "FAILED" == body["state"]
    assert "broken is FAILED: " in body["ERROR"]
    assert "No module named 'a_library_that_nobody_has'" in body["ERROR"]


@pytest.mark.shares_gateway
@pytest.mark.parametrize("path", ["/run/broken", "/list_servers", "/system_status"])
def test_load_error_shows_no_path_of_the_machine(gateway: RunningGateway, path: str) -> None:
    """What anybody may read names the file, but not where on the machine it lies."""
    text = gateway.post(path).text
    assert "a_library_that_nobody_has" in text
    assert str(gateway.base_folder) not in text


@pytest.mark.shares_gateway
def test_endpoint_in_backoff_says_when_to_come_back(gateway: RunningGateway) -> None:
    """`Retry-After` is the time until the next try."""

    def refused_while_waiting() -> tuple[Any, ...]:
        before = gateway.servers()["flaky"]
        answer = gateway.run("flaky")
        after = gateway.servers()["flaky"]
        is_waiting = before["state"] == after["state"] == "BACKOFF"
        return (before, answer, after) if is_waiting else ()

    before, answer, after = eventually(refused_while_waiting, what="flaky is in backoff")
    body = check_error("not_ready", answer)
    assert "BACKOFF" == body["state"]
    assert "RuntimeError" in body["ERROR"]
    assert after["retry_in_s"] <= int(answer.headers["Retry-After"]) <= before["retry_in_s"] + 1.5


@pytest.mark.shares_gateway
def test_disabled_endpoint_is_not_ready(gateway: RunningGateway) -> None:
    """A disabled endpoint is known, but takes nothing."""
    answer = gateway.run("off")
    assert "DISABLED" == check_error("not_ready", answer)["state"]
    assert "Retry-After" in answer.headers


@pytest.mark.shares_gateway
def test_stopped_endpoint_is_not_ready(gateway: RunningGateway) -> None:
    """An endpoint that was stopped says so, and serves again when it is started."""
    assert 200 == gateway.post("/kill_server", {"SIGNATURE": "stopped"}).status_code
    assert "STOPPED" == check_error("not_ready", gateway.run("stopped"))["state"]
    assert 200 == gateway.post("/start_server", {"SIGNATURE": "stopped"}).status_code
    assert 200 == gateway.run("stopped").status_code


@pytest.mark.shares_gateway
def test_request_beyond_the_queue_is_refused_at_once(gateway: RunningGateway) -> None:
    """One executing, `QUEUE_SIZE` waiting: the next one is told when to come back."""
    gate = Gate(gateway.base_folder)
    with ThreadPoolExecutor(QUEUE_SIZE + 1) as pool, gate.closed():
        accepted = [pool.submit(gateway.run, "busy", ID="running")]
        gate.wait_for("running")
        accepted += [
            pool.submit(gateway.run, "busy", ID=f"waiting-{number}") for number in range(QUEUE_SIZE)
        ]
        eventually(lambda: gateway.servers()["busy"]["queue"] == QUEUE_SIZE)
        answer = gateway.run("busy", ID="surplus")
        check_error("overloaded", answer)
        assert "Retry-After" in answer.headers
    assert [200] * (QUEUE_SIZE + 1) == [future.result().status_code for future in accepted]
    assert "surplus" not in gate.executed()
    eventually(lambda: gateway.servers()["busy"]["queue"] == 0)
    assert 200 == gateway.run("busy", ID="afterwards").status_code


def test_request_past_its_patience_with_a_loading_endpoint_is_not_ready(
    launch: Launch, tmp_path: Path
) -> None:
    """A caller that does not wait for the load to end is told that it still goes on."""
    gate = Gate(tmp_path)
    with gate.closed():
        gateway = launch({"gated_load": {}}, {"gated_load": GATED_LOAD}, NO_STARTUP_WAIT=True)
        answer = requests.post(
            gateway.url + "/run/gated_load",
            json={},
            headers={"X-Request-Timeout": "0.2"},
            timeout=60,
        )
        assert "LOADING" == check_error("not_ready", answer)["state"]
    assert {"loaded": True}.items() <= gateway.run("gated_load").json().items()


def test_request_that_waits_for_an_endpoint_that_then_fails_is_not_ready(
    launch: Launch, tmp_path: Path
) -> None:
    """When the load fails, those who waited for it are told so, and not let wait on."""
    gate = Gate(tmp_path)
    (tmp_path / "broken").touch()
    with ThreadPoolExecutor(1) as pool:
        with gate.closed():
            gateway = launch(
                {"gated_load": {"TIMEOUT": 30}}, {"gated_load": GATED_LOAD}, NO_STARTUP_WAIT=True
            )
            waiting = pool.submit(gateway.run, "gated_load")
            eventually(lambda: gateway.servers()["gated_load"]["queue"] == 1)
        eventually(lambda: gateway.servers()["gated_load"]["state"] == "FAILED")
        body = check_error("not_ready", waiting.result())
    assert "the model is broken" in body["ERROR"]


def test_request_that_is_half_sent_when_the_gateway_stops_is_told_so(launch: Launch) -> None:
    """Who is still sending when the gateway goes down gets an answer, not a broken connection."""
    gateway = launch({"mirror": {}}, {"mirror": MIRROR})
    body = b'{"SIGNATURE": "mirror"}'
    with RawClient(gateway.port) as client:
        client.send(head("POST", "/run", length=len(body)) + body[:5])
        eventually(lambda: gateway.get("/v1/live").status_code == 200)
        gateway.process.terminate()
        eventually(lambda: any(event["event"] == "stopping" for event in gateway.events))
        client.send(body[5:])
        answer = client.read_answer()
    if answer.status_code != 200:
        check_error("shutting_down", answer)
