"""Why a worker died: told to its caller, shown to the operator, and to nobody else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import InBackground, do, wait_until_busy, wait_until_ready
from tests.functional.answers import check_error
from tests.functional.gateways import Gate
from tests.support.eventually import AT_ONCE_S, eventually

Launch = Callable[..., RunningGateway]


def last_death(gateway: RunningGateway, server: str, **headers: str) -> dict[str, Any]:
    """Return what `/list_servers` says about the newest death, to somebody with these headers."""
    answer = requests.get(gateway.url + "/list_servers", headers=headers, timeout=60)
    found: dict[str, Any] = answer.json()["SERVERS"][server]["last_death"]
    return found


def notified(gateway: RunningGateway, server: str) -> dict[str, Any]:
    """Return the newest notification of a worker's death."""
    general = gateway.post("/notifications", {"SIGNATURE": server}).json()["GENERAL"]
    found: dict[str, Any] = [one for one in general if one["notif"] == "worker_died"][-1]
    return found


@pytest.mark.shares_gateway
@pytest.mark.parametrize(
    ("deed", "fields", "code", "cause"),
    [
        pytest.param("segfault", {}, "worker_died", "signal 11 (SIGSEGV)", id="segfault"),
        pytest.param("spin", {}, "deadline_exceeded", "hang: one request took", id="hang"),
    ],
)
def test_death_is_shown_with_its_last_output(
    gateway: RunningGateway, deed: str, fields: dict[str, Any], code: str, cause: str
) -> None:
    """Administrators see the stack, in the listing and in the notification; others do not."""
    pid = do(gateway, "hasty", "answer").json()["pid"]
    check_error(code, do(gateway, "hasty", deed, **fields))
    eventually(lambda: (last_death(gateway, "hasty") or {}).get("pid") == pid)
    wait_until_ready(gateway, "hasty")
    shown = last_death(gateway, "hasty")
    assert {"time", "worker_id", "pid", "cause", "last_output"} == shown.keys()
    assert cause in shown["cause"]
    assert any(f"in do_{deed}" in line for line in shown["last_output"])
    notification = notified(gateway, "hasty")
    assert cause in notification["msg"]
    assert shown["last_output"] == notification["last_output"]
    hidden = last_death(gateway, "hasty", **{"X-Forwarded-For": "192.0.2.1"})
    assert {"time", "worker_id", "pid", "cause"} == hidden.keys()


@pytest.mark.shares_gateway
def test_signal_from_outside_is_named(gateway: RunningGateway, tmp_path: Path) -> None:
    """Who kills a worker reads its own doing in the cause."""
    with Gate(tmp_path).closed():
        held = InBackground(lambda: do(gateway, "lone", "gate", GATE=str(tmp_path / "gate")))
        wait_until_busy(gateway, "lone")
        os.kill(gateway.servers()["lone"]["worker_pids"][0], signal.SIGKILL)
        assert "signal 9 (SIGKILL)" == check_error("worker_died", held.result())["cause"]
    wait_until_ready(gateway, "lone")


@pytest.mark.shares_gateway
def test_cause_reaches_the_caller_whose_request_it_was(gateway: RunningGateway) -> None:
    """Workers that die at the same moment, each in its own way, are not taken for each other."""
    codes = [11 + number for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(
            lambda code: do(gateway, "misbehaving", "exit_now", CODE=code).json(), codes
        )
        causes = [body["cause"] for body in answers]
    assert [f"exit code {code}" for code in codes] == causes
    wait_until_ready(gateway, "misbehaving")


def test_worker_over_its_hard_limit_is_told_so(launch: Launch) -> None:
    """Its caller reads how much it held and how much it might have; nobody else is touched."""
    limits = {"MAX_MEMORY_HARD_MB": 120, "NR_WORKERS": 2}
    gateway = launch({"misbehaving": limits})
    before = set(gateway.servers()["misbehaving"]["worker_pids"])
    answer = do(gateway, "misbehaving", "allocate", MB=200, SECONDS=60)
    assert "more than MAX_MEMORY_HARD_MB (120)" in check_error("worker_died", answer)["cause"]
    assert AT_ONCE_S > answer.elapsed.total_seconds()
    wait_until_ready(gateway, "misbehaving")
    assert 1 == len(before & set(gateway.servers()["misbehaving"]["worker_pids"]))
    assert 200 == do(gateway, "misbehaving", "allocate", MB=40).status_code
