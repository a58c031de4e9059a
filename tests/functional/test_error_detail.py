"""What exceptions say, which may be a secret, and who is told it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

ADDRESS = "@".join(("postgres://u:pw", "h/db"))  # in one piece it would look like a leak
WORKER = """
from basic_inference_server import FlaskWorker

class {name}Worker(FlaskWorker):
"""
FAILS = (
    WORKER.format(name="Fails")
    + f"""
    def _predict(self, inputs):
        raise ValueError("cannot reach {ADDRESS}")
"""
)
STREAMS = (
    WORKER.format(name="Streams")
    + f"""
    def _predict(self, inputs):
        yield 1
        raise ValueError("cannot reach {ADDRESS}")
"""
)
FLOWS = (
    WORKER.format(name="Flows")
    + f"""
    async def _predict(self, inputs):
        yield 1
        raise ValueError("cannot reach {ADDRESS}")
"""
)
BATCHES = (
    WORKER.format(name="Batches")
    + f"""
    def _predict_batch(self, inputs):
        return [ValueError("cannot reach {ADDRESS}") for _ in inputs]
"""
)
UNWRITABLE = (
    WORKER.format(name="Unwritable")
    + f"""
    def _predict(self, inputs):
        class Odd:
            def __repr__(self): return "cannot reach {ADDRESS}"
            def __class_getitem__(cls, item): raise ValueError("cannot reach {ADDRESS}")
        return {{"value": Odd}}
"""
)
CALLS = (
    WORKER.format(name="Calls")
    + """
    def _predict(self, inputs):
        return self.call("fails", {})
"""
)
REFUSES = (
    WORKER.format(name="Refuses")
    + """
    def _pre_process(self, inputs):
        raise ValueError("TEXT is too long")

    def _predict(self, inputs):
        return {}
"""
)
SINKS = (
    WORKER.format(name="Sinks")
    + f"""
    def _load_model(self):
        raise TypeError("cannot reach {ADDRESS}")

    def _predict(self, inputs):
        return {{}}
"""
)
FILES = {
    "fails": FAILS, "streams": STREAMS, "flows": FLOWS, "batches": BATCHES,
    "unwritable": UNWRITABLE, "calls": CALLS, "refuses": REFUSES, "sinks": SINKS,
}  # fmt: skip
FAILING = {
    "fails": "ValueError", "batches": "ValueError", "streams": "ValueError", "flows": "ValueError",
    "calls": "CallError",
}  # fmt: skip
PATHS = ["/run/fails", "/run/sinks", "/list_servers"]
STRANGER = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Endpoints that fail in every way, with a secret in what they raise."""
    endpoints: dict[str, dict[str, Any]] = {name: {} for name in FILES}
    endpoints["batches"] = {"BATCH_SIZE": 2}
    folder = tmp_path_factory.mktemp("details")
    with shared_gateway(folder, endpoints, FILES) as running:
        yield running


def ask(gateway: RunningGateway, path: str, **headers: str) -> requests.Response:
    """Send a request as somebody who may not administer, or with other headers."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} or STRANGER
    return requests.post(gateway.url + path, json={}, headers=sent, timeout=60)


def administrator(gateway: RunningGateway) -> dict[str, str]:
    """Return the headers of somebody elsewhere who has the token."""
    token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
    return {**STRANGER, "Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("signature", "raised"), FAILING.items())
@pytest.mark.parametrize(
    "accept", ["application/x-ndjson", "text/event-stream", "application/json"]
)
def test_strangers_are_told_the_class(
    gateway: RunningGateway, signature: str, raised: str, accept: str
) -> None:
    """In an answer, as the last item of a stream, and through another endpoint."""
    answer = ask(gateway, f"/run/{signature}", Accept=accept, **STRANGER)
    assert ADDRESS not in answer.text
    request_id = answer.headers["X-Request-Id"]
    expected = f"{raised} in {signature}; the log has the details (request id {request_id})."
    error = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
    assert (expected, "endpoint_error", "yes") == (error["ERROR"], error["code"], error["executed"])
    assert "raised" not in error
    assert eventually(lambda: [
        event for event in gateway.events
        if event.get("request_id") == request_id and ADDRESS in event.get("traceback", "")
    ])  # fmt: skip


@pytest.mark.parametrize("signature", [*FAILING, "unwritable"])
def test_administrators_are_told_everything(gateway: RunningGateway, signature: str) -> None:
    """On this machine, and elsewhere with the token."""
    for headers in ({"Accept": "*/*"}, administrator(gateway)):
        answer = ask(gateway, f"/run/{signature}", **headers)
        assert signature == "unwritable" or ADDRESS in answer.text
        assert "the log has the details" not in answer.text
        assert "raised" not in answer.text


def test_what_cannot_be_written_is_not_shown_to_strangers(gateway: RunningGateway) -> None:
    """The class of what the encoder raised is all that they see."""
    error = ask(gateway, "/run/unwritable").json()
    assert " in unwritable; the log has the details (request id " in error["ERROR"]


def test_wrong_token_on_an_open_endpoint_is_no_attempt(gateway: RunningGateway) -> None:
    """It is not even for us, perhaps: it tells nothing and costs nothing."""
    for _ in range(15):
        answer = ask(gateway, "/run/fails", Authorization="Bearer wrong")
        assert (500, False) == (answer.status_code, ADDRESS in answer.text)
    assert 401 == ask(gateway, "/notifications", Authorization="Bearer wrong").status_code


@pytest.mark.parametrize("path", [*PATHS[1:], "/system_status"])
def test_reasons_for_being_down_are_for_administrators(gateway: RunningGateway, path: str) -> None:
    """Why an endpoint could not be loaded, wherever it is shown."""
    told = ask(gateway, path)
    assert ADDRESS not in told.text
    assert "sinks could not be loaded (TypeError); the log has the details" in told.text
    assert ADDRESS in ask(gateway, path, **administrator(gateway)).text
    assert ADDRESS in ask(gateway, path, Accept="*/*").text


def test_refused_inputs_are_explained_to_everybody(gateway: RunningGateway) -> None:
    """422 is what an endpoint says to its callers."""
    answer = ask(gateway, "/run/refuses")
    assert (422, "refuses refused the inputs: TEXT is too long") == (
        answer.status_code, answer.json()["ERROR"],
    )  # fmt: skip


def answers_when(gateway: RunningGateway, *, shows_secret: bool) -> list[str]:
    """Return what is told once the process that has answered the reload takes no more clients."""

    def told() -> list[str]:
        answers = [ask(gateway, path).text for path in PATHS]
        return answers if [shows_secret] * 3 == [ADDRESS in text for text in answers] else []

    return eventually(told, what="the new ERROR_DETAIL is in force")


def test_nothing_and_everything_can_be_told(gateway: RunningGateway) -> None:
    """`none` and `full`, from a reload on; administrators are told everything still."""
    config: Path = gateway.base_folder / "config_gateway.txt"
    for detail, shows_secret in (("none", False), ("full", True)):
        config.write_text(json.dumps({**json.loads(config.read_text()), "ERROR_DETAIL": detail}))
        assert 200 == gateway.post("/reload").status_code
        answers = answers_when(gateway, shows_secret=shows_secret)
        assert shows_secret is not all("the log has the details" in text for text in answers)
        assert shows_secret is any("Error" in text for text in (answers[0], answers[1]))
        assert ADDRESS in gateway.run("fails").text
