"""A request that has killed its worker twice is not executed a third time (422 `quarantined`)."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient
from tests.support.eventually import eventually
from tests.support.misbehaving import MISBEHAVING

pytestmark = pytest.mark.shares_gateway
ENDPOINTS: dict[str, dict[str, Any]] = {
    "misbehaving": {"TIMEOUT": 20, "NR_WORKERS": 2},
    "keeps": {"SERVER_CLASS": "misbehaving", "QUARANTINE_KEEP_BODY": True},
    "twice": {"SERVER_CLASS": "misbehaving", "IDEMPOTENT": True},
    "hasty": {"SERVER_CLASS": "misbehaving", "TIMEOUT": 0.3},
    "never": {"SERVER_CLASS": "misbehaving", "QUARANTINE_WINDOW": 0},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("quarantine")
    with shared_gateway(folder, ENDPOINTS, {"misbehaving": MISBEHAVING}) as gateway:
        yield gateway


def entries(gateway: RunningGateway, signature: str) -> list[dict[str, Any]]:
    """Return what is in quarantine for an endpoint."""
    listed: list[dict[str, Any]] = gateway.post("/quarantine", {}).json()["QUARANTINE"]
    return [entry for entry in listed if entry["SIGNATURE"] == signature]


@pytest.mark.parametrize(
    ("deed", "cause"),
    [({"DO": "segfault"}, "signal 11"), ({"DO": "exit_now", "CODE": 7}, "exit code 7"),
     ({"DO": "exit_now", "CODE": 0}, "exit code 0"),
     ({"DO": "kill", "SIGNAL": int(signal.SIGABRT)}, "signal 6")],
    ids=["segfault", "exit 7", "exit 0", "abort"],
)  # fmt: skip
def test_third_time_is_refused_and_can_be_released(
    gateway: RunningGateway, tmp_path: Path, deed: dict[str, Any], cause: str
) -> None:
    """The caller gets a reference; nothing is executed until an administrator releases it."""
    count = tmp_path / "count"
    deadly: dict[str, Any] = {**deed, "COUNT_FILE": str(count)}
    first, second, third = (gateway.run("misbehaving", **deadly) for _ in range(3))
    assert (502, 502, 422) == (first.status_code, second.status_code, third.status_code)
    assert cause in first.json()["cause"]
    assert "quarantine_reference" not in first.json()
    refusal = third.json()
    assert ("quarantined", "no", False) == (
        refusal["code"], refusal["executed"], refusal["retryable"],
    )  # fmt: skip
    reference = refusal["reference"]
    assert reference == second.json()["quarantine_reference"]
    assert 2 == len(count.read_text().splitlines())
    (entry,) = [e for e in entries(gateway, "misbehaving") if e["REFERENCE"] == reference]
    assert [first.json()["request_id"], second.json()["request_id"]] == [
        death["request_id"] for death in entry["DEATHS"]
    ]
    assert all(cause in death["cause"] for death in entry["DEATHS"])
    assert None is entry["BODY"]
    assert {"RELEASED": [reference]}.items() <= (
        gateway.post("/release_quarantine", {"REFERENCE": reference}).json().items()
    )
    assert 502 == gateway.run("misbehaving", **deadly).status_code


def test_other_requests_are_not_concerned(gateway: RunningGateway) -> None:
    """Neither another body of the same length, nor the same body for another endpoint."""
    deadly: dict[str, Any] = {"DO": "exit_now", "CODE": 31}
    for _ in range(2):
        gateway.run("misbehaving", **deadly)
    assert 422 == gateway.run("misbehaving", **deadly).status_code
    assert 502 == gateway.run("misbehaving", DO="exit_now", CODE=32).status_code
    assert 502 == gateway.run("never", **deadly).status_code
    assert 200 == gateway.run("misbehaving", DO="answer").status_code


def test_signal_from_outside_is_not_the_requests_fault(gateway: RunningGateway) -> None:
    """An operator's `kill -9`, however often, puts nothing into quarantine."""
    for _ in range(3):
        response = gateway.run("misbehaving", DO="kill", SIGNAL=int(signal.SIGKILL))
        assert (502, "signal 9 (SIGKILL)") == (response.status_code, response.json()["cause"])


def test_body_is_kept_where_the_endpoint_says_so(gateway: RunningGateway) -> None:
    """An administrator can read what kills it."""
    for _ in range(2):
        gateway.run("keeps", DO="segfault", NOTE="look at me")
    (entry,) = entries(gateway, "keeps")
    body = json.loads(base64.b64decode(entry["BODY"]))
    assert ("keeps", "look at me") == (body["SIGNATURE"], body["NOTE"])
    assert entry["BODY_BYTES"] == len(base64.b64decode(entry["BODY"]))


def test_retry_counts(gateway: RunningGateway) -> None:
    """An IDEMPOTENT endpoint's second try is the second death."""
    assert 502 == gateway.run("twice", DO="segfault").status_code
    assert 422 == gateway.run("twice", DO="segfault").status_code


def test_hang_counts_after_its_caller_was_answered(gateway: RunningGateway) -> None:
    """The 504 comes first, then the worker is ended for what it still does."""
    for _ in range(2):
        assert 504 == gateway.run("hasty", DO="spin").status_code
        eventually(lambda: gateway.servers()["hasty"]["last_death"] is not None)
        eventually(lambda: gateway.run("hasty", DO="answer").status_code == 200)
    eventually(lambda: entries(gateway, "hasty"))
    assert 422 == gateway.run("hasty", DO="spin").status_code


def test_window_of_zero_turns_it_off(gateway: RunningGateway) -> None:
    """Every request is executed, however many workers it has killed."""
    answers = [gateway.run("never", DO="segfault").status_code for _ in range(3)]
    assert [502, 502, 502] == answers


def test_replaced_server_gets_another_chance(gateway: RunningGateway) -> None:
    """Its code may be better now."""
    for _ in range(2):
        gateway.run("keeps", DO="exit_now", CODE=41)
    assert 422 == gateway.run("keeps", DO="exit_now", CODE=41).status_code
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "keeps"}).status_code
    assert [] == entries(gateway, "keeps")
    assert 502 == gateway.run("keeps", DO="exit_now", CODE=41).status_code


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"REFERENCE": "q-0"}, 404), ({}, 422), ({"REFERENCE": 5}, 422), ({"REFERENCE": "*"}, 200)],
)
def test_release_of_what_is_not_there(
    gateway: RunningGateway, fields: dict[str, Any], expected: int
) -> None:
    """Said plainly; `*` releases what there is, were it nothing."""
    assert expected == gateway.post("/release_quarantine", fields).status_code


def test_caller_who_has_left_does_not_hide_a_death(gateway: RunningGateway, tmp_path: Path) -> None:
    """Also where nobody waits for the answer any more, the death counts."""
    started, go = tmp_path / "started", tmp_path / "go"
    body: dict[str, Any] = {"DO": "exit_after", "STARTED": str(started), "FILE": str(go)}
    for _ in range(2):
        with RawClient(gateway.port) as client:
            client.send_json("/run", {"SIGNATURE": "misbehaving", **body})
            eventually(started.exists)
        before = gateway.servers()["misbehaving"]["last_death"]
        go.touch()
        eventually(lambda before=before: last_death(gateway) != before)  # type: ignore[misc]
        started.unlink()
        go.unlink()
    assert 422 == gateway.run("misbehaving", **body).status_code


def last_death(gateway: RunningGateway) -> Any:
    """Return what is said of the newest death."""
    return gateway.servers()["misbehaving"]["last_death"]
