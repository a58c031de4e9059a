"""The error table, rows 500, 502 and 504: what can go wrong while endpoint code runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import FAULTY, GATED
from tests.functional.gateways import Gate, shared_gateway
from tests.support.eventually import AT_ONCE_S, eventually

pytestmark = pytest.mark.shares_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint that fails as it is told, and two that wait, one of them not for long."""
    folder = tmp_path_factory.mktemp("execution")
    Gate(folder)
    with shared_gateway(
        folder,
        {
            "faulty": {},
            "patient": {"SERVER_CLASS": "gated"},
            "hasty": {"SERVER_CLASS": "gated", "TIMEOUT": 0.3},
        },
        {"faulty": FAULTY, "gated": GATED},
    ) as running:
        yield running


def logged(gateway: RunningGateway, **wanted: str) -> list[dict[str, Any]]:
    """Return the events with these fields."""
    return [e for e in gateway.events if wanted.items() <= e.items()]


@pytest.mark.parametrize(
    ("deed", "shown"),
    [
        pytest.param("raise", "RuntimeError: the model broke", id="exception"),
        pytest.param("post", "ValueError: post-processing broke", id="in post-processing"),
        pytest.param("sys.exit", "SystemExit: 3", id="sys.exit"),
        pytest.param("interrupt", "KeyboardInterrupt", id="KeyboardInterrupt"),
        pytest.param("recurse", "RecursionError: maximum recursion depth", id="recursion"),
    ],
)
def test_exception_in_the_endpoint_is_its_error_and_the_worker_lives_on(
    gateway: RunningGateway, deed: str, shown: str
) -> None:
    """Class and message are in the answer; the traceback is in the log, with the request's id."""
    before = gateway.run("faulty", DO="nothing").json()["pid"]
    answer = gateway.run("faulty", DO=deed)
    body = check_error("endpoint_error", answer)
    assert f"faulty failed: {shown}" in body["ERROR"]
    assert "File " not in answer.text
    assert ".py" not in answer.text
    (event,) = eventually(
        lambda: logged(gateway, event="request_failed", request_id=body["request_id"])
    )
    assert ("error", "faulty") == (event["level"], event["server"])
    assert "in _predict" in event["traceback"] or "in _post_process" in event["traceback"]
    assert before == gateway.run("faulty", DO="nothing").json()["pid"]


def test_result_that_is_no_json_is_an_endpoint_error(gateway: RunningGateway) -> None:
    """A result that cannot be written names the type that is to blame."""
    body = check_error("endpoint_error", gateway.run("faulty", DO="object"))
    assert "cannot be written as JSON" in body["ERROR"]
    assert ": object" in body["ERROR"]


@pytest.mark.parametrize(
    ("deed", "cause"),
    [
        pytest.param("exit 7", "exit code 7", id="os._exit(7)"),
        pytest.param("exit 0", "exit code 0", id="os._exit(0)"),
        pytest.param("kill", "signal 9 (SIGKILL)", id="SIGKILL"),
        pytest.param("segv", "signal 11 (SIGSEGV)", id="SIGSEGV"),
    ],
)
def test_death_of_the_worker_is_answered_with_its_cause(
    gateway: RunningGateway, deed: str, cause: str
) -> None:
    """The caller is told at once that the worker died, and how; the next request is served."""
    started_s = monotonic()
    body = check_error("worker_died", gateway.run("faulty", DO=deed))
    assert cause == body["cause"]
    assert f"The worker of faulty died while it had this request: {cause}." == body["ERROR"]
    assert monotonic() - started_s < AT_ONCE_S
    assert 200 == gateway.run("faulty", DO="nothing").status_code
    eventually(lambda: logged(gateway, event="request_failed", request_id=body["request_id"]))


@pytest.mark.parametrize("deed", ["kill", "exit 0"])
def test_death_of_the_worker_is_logged_and_recorded(gateway: RunningGateway, deed: str) -> None:
    """An operator finds the death in the log and under /notifications."""
    count = len(logged(gateway, event="worker_died"))
    check_error("worker_died", gateway.run("faulty", DO=deed))
    eventually(lambda: len(logged(gateway, event="worker_died")) > count)
    notified = gateway.post("/notifications", {"SIGNATURE": "faulty"}).json()["GENERAL"]
    assert "worker_died" == notified[-1]["notif"]


def test_request_beyond_the_endpoints_timeout_is_deadline_exceeded(
    gateway: RunningGateway,
) -> None:
    """After `TIMEOUT` the caller is told, and the stuck worker is replaced."""
    gate = Gate(gateway.base_folder)
    with gate.closed():
        started_s = monotonic()
        body = check_error("deadline_exceeded", gateway.run("hasty", ID="late"))
        assert 0.3 <= monotonic() - started_s < AT_ONCE_S
        assert "hasty did not answer within 0.3 s." == body["ERROR"]
        eventually(lambda: logged(gateway, event="worker_died", server="hasty"))
    eventually(lambda: gateway.run("hasty", ID="after").status_code == 200)
    assert ["late"] == [one for one in gate.executed() if one == "late"]


def test_request_beyond_the_callers_timeout_is_deadline_exceeded(gateway: RunningGateway) -> None:
    """`X-Request-Timeout` shortens the wait, and costs no worker its life."""
    gate = Gate(gateway.base_folder)
    before = gateway.run("patient", ID="before").json()["pid"]
    with gate.closed():
        started_s = monotonic()
        answer = requests.post(
            gateway.url + "/run",
            json={"SIGNATURE": "patient", "ID": "impatient"},
            headers={"X-Request-Timeout": "0.2"},
            timeout=60,
        )
        assert 0.2 <= monotonic() - started_s < AT_ONCE_S
        check_error("deadline_exceeded", answer)
    assert before == gateway.run("patient", ID="after").json()["pid"]


def test_callers_timeout_never_extends_the_endpoints(gateway: RunningGateway) -> None:
    """A longer `X-Request-Timeout` than `TIMEOUT` changes nothing."""
    with Gate(gateway.base_folder).closed():
        started_s = monotonic()
        answer = requests.post(
            gateway.url + "/run/hasty",
            json={"ID": "greedy"},
            headers={"X-Request-Timeout": "3600"},
            timeout=60,
        )
        check_error("deadline_exceeded", answer)
        assert monotonic() - started_s < AT_ONCE_S
    eventually(lambda: gateway.run("hasty", ID="after greedy").status_code == 200)


def test_request_that_waited_too_long_in_the_queue_is_not_executed(
    gateway: RunningGateway,
) -> None:
    """A request whose deadline passes while it waits is answered, and never begun."""
    gate = Gate(gateway.base_folder)
    with ThreadPoolExecutor(1) as pool, gate.closed():
        first = pool.submit(gateway.run, "patient", ID="first")
        gate.wait_for("first")
        answer = requests.post(
            gateway.url + "/run/patient",
            json={"ID": "expired"},
            headers={"X-Request-Timeout": "0.2"},
            timeout=60,
        )
        check_error("deadline_exceeded", answer)
    assert 200 == first.result().status_code
    assert 200 == gateway.run("patient", ID="last").status_code
    assert "expired" not in gate.executed()
