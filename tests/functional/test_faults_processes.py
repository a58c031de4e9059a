"""Processes die while requests run: what the clients see, and what comes back (G5 to G8)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from basic_inference_server.testing import RunningGateway
from tests.support.eventually import eventually
from tests.support.misbehaving import MISBEHAVING
from tests.support.processes import expect_gone, is_running, masters, role, tree
from tests.support.steady_client import SteadyClient

Launch = Callable[..., RunningGateway]
FILES = {"misbehaving": MISBEHAVING}
ANSWER = {"SIGNATURE": "misbehaving", "DO": "answer"}


def in_background(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run `call` in a thread; its result appears in the list."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def busy(gateway: RunningGateway) -> int:
    """Return how many workers execute a request now."""
    return int(gateway.servers()["misbehaving"]["busy_workers"])


def test_killed_worker_loses_only_its_own_request(launch: Launch, tmp_path: Path) -> None:
    """The request in the killed worker gets a 502 with the cause; a queued one is served."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 1}}, FILES)
    release = tmp_path / "release"
    first, lost = in_background(
        lambda: gateway.run("misbehaving", DO="wait_for_file", FILE=str(release))
    )
    eventually(lambda: busy(gateway) == 1)
    second, served = in_background(lambda: gateway.run("misbehaving", DO="answer", VALUE=7))
    eventually(lambda: gateway.servers()["misbehaving"]["queue"] == 1)
    os.kill(gateway.servers()["misbehaving"]["worker_pids"][0], signal.SIGKILL)
    first.join(10)
    second.join(10)
    body = lost[0].json()
    assert (502, "worker_died", "unknown") == (lost[0].status_code, body["code"], body["executed"])
    assert "signal 9 (SIGKILL)" in body["cause"]
    assert (200, 7) == (served[0].status_code, served[0].json()["did"])


def test_idempotent_endpoint_retries_once_after_a_death(launch: Launch, tmp_path: Path) -> None:
    """An IDEMPOTENT endpoint runs the request a second time, and never a third."""
    gateway = launch({"misbehaving": {"IDEMPOTENT": True}}, FILES)
    count = tmp_path / "count"
    response = gateway.run("misbehaving", DO="exit_now", CODE=7, COUNT_FILE=str(count))
    assert (502, "worker_died") == (response.status_code, response.json()["code"])
    assert "exit code 7" in response.json()["cause"]
    assert 2 == len(count.read_text().splitlines())


def test_worker_killed_under_load_costs_at_most_one_request(launch: Launch) -> None:
    """Each kill loses at most the one request that the worker was executing."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2}}, FILES)
    kills = 5
    with SteadyClient(gateway.url + "/run", ANSWER) as client:
        for _ in range(kills):
            sent = client.sent
            eventually(lambda sent=sent: client.sent > sent + 50)  # type: ignore[misc]
            pids = gateway.servers()["misbehaving"]["worker_pids"]
            os.kill(pids[0], signal.SIGKILL)
            eventually(lambda: gateway.servers()["misbehaving"]["ready_workers"] == 2)
    lost = client.sent - client.outcomes["200"]
    assert lost <= kills, client.outcomes
    assert {"200", "502"} >= set(client.outcomes), client.failures


def test_killed_gateway_master_refuses_nobody(launch: Launch) -> None:
    """After SIGKILL of the gateway's master nothing is refused and a new one is up in 2 s."""
    gateway = launch({"misbehaving": {}}, FILES)
    with SteadyClient(gateway.url + "/run", ANSWER, keep_alive=False) as client:
        eventually(lambda: client.sent > 30)
        master = role(gateway, "gateway")[0]
        os.kill(master.pid, signal.SIGKILL)
        eventually(
            lambda: [p for p in masters(gateway, "gateway") if p.pid != master.pid], timeout_s=2
        )
        sent = client.sent
        eventually(lambda: client.sent > sent + 50)
    assert {"200"} == set(client.outcomes), (client.outcomes, client.failures)


def test_killed_gateway_worker_refuses_nobody(launch: Launch) -> None:
    """SIGKILL of a gateway process cuts its open connections only; connecting always works."""
    gateway = launch({"misbehaving": {}}, FILES, GATEWAY_WORKERS=1)
    worker = role(gateway, "gateway")[1]
    os.kill(worker.pid, signal.SIGKILL)
    assert 200 == requests.post(gateway.url + "/run", json=ANSWER, timeout=60).status_code


def test_killed_server_master_lets_its_workers_finish(launch: Launch, tmp_path: Path) -> None:
    """A request in flight finishes after SIGKILL of its server's master; a new one is up in 2 s."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 1}}, FILES)
    release = tmp_path / "release"
    thread, results = in_background(
        lambda: gateway.run("misbehaving", DO="wait_for_file", FILE=str(release))
    )
    eventually(lambda: busy(gateway) == 1)
    master = gateway.servers()["misbehaving"]["pid"]
    os.kill(master, signal.SIGKILL)
    eventually(lambda: gateway.servers()["misbehaving"]["pid"] not in {None, master})
    release.touch()
    thread.join(10)
    assert (200, "released") == (results[0].status_code, results[0].json()["did"])


def test_killed_server_master_under_load_loses_nothing(launch: Launch) -> None:
    """Nothing is refused or lost when a server's master is killed under load."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2}}, FILES)
    with SteadyClient(gateway.url + "/run", ANSWER) as client:
        eventually(lambda: client.sent > 20)
        os.kill(gateway.servers()["misbehaving"]["pid"], signal.SIGKILL)
        sent = client.sent
        eventually(lambda: client.sent > sent + 50)
    assert {"200"} == set(client.outcomes), (client.outcomes, client.failures)


def test_killed_supervisor_leaves_nothing_behind(launch: Launch) -> None:
    """SIGKILL of the supervisor ends every process, a busy worker's child too; restart works."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2}}, FILES)
    sleeper = psutil.Process(gateway.run("misbehaving", DO="fork_sleeper").json()["did"])
    thread, _ = in_background(lambda: _ignore_errors(lambda: gateway.run("misbehaving", DO="spin")))
    eventually(lambda: busy(gateway) == 1)
    processes = [*tree(gateway), sleeper]
    assert len(processes) >= 6
    gateway.kill()
    expect_gone(processes)
    thread.join(10)
    again = launch({"misbehaving": {}}, FILES)
    assert 200 == again.run("misbehaving", DO="answer").status_code


def _ignore_errors(call: Callable[[], Any]) -> None:
    try:
        call()
    except requests.RequestException:
        return


def test_killed_support_process_comes_back_and_costs_nothing(launch: Launch) -> None:
    """A support process that dies is started again at once."""
    support = "import signal\nsignal.pause()\n"
    gateway = launch(
        {"misbehaving": {}, "helper": {"HOST": "NO_HOST"}}, {**FILES, "helper": support}
    )
    pid = eventually(lambda: gateway.servers()["helper"]["pid"])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: gateway.servers()["helper"]["pid"] not in {None, pid})
    assert 200 == gateway.run("misbehaving", DO="answer").status_code


def test_stopped_supervisor_does_not_stop_the_data_path(launch: Launch) -> None:
    """While the supervisor is stopped (SIGSTOP) requests and probes are answered."""
    gateway = launch({"misbehaving": {}}, FILES)
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        assert 200 == gateway.run("misbehaving", DO="answer").status_code
        assert 200 == gateway.get("/v1/ready").status_code
        slow = gateway.get("/v1/live", timeout_s=1)
        assert 200 == slow.status_code
    finally:
        gateway.process.send_signal(signal.SIGCONT)


def test_sys_exit_in_an_endpoint_is_only_its_own_failure(launch: Launch) -> None:
    """`sys.exit(3)` in a request is a 500, and the same worker answers the next request."""
    gateway = launch({"misbehaving": {}}, FILES)
    before = gateway.run("misbehaving", DO="answer").json()["pid"]
    response = gateway.run("misbehaving", DO="exit", CODE=3)
    assert (500, "endpoint_error") == (response.status_code, response.json()["code"])
    assert before == gateway.run("misbehaving", DO="answer").json()["pid"]
    assert is_running(psutil.Process(before))
