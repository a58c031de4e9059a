"""Processes are killed while requests run: what exactly is lost, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import InBackground, do, executed, wait_until_busy, wait_until_ready
from tests.faults.ledger import Ledger
from tests.functional.gateways import Gate
from tests.support.eventually import eventually
from tests.support.processes import role

pytestmark = pytest.mark.shares_gateway


def test_all_workers_killed_at_once_cost_their_own_requests_only(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Those that waited are served, the neighbour notices nothing, and the sum is right (P2)."""
    count = tmp_path / "count"
    fields = {"SIGNATURE": "misbehaving", "DO": "work", "MS": 5, "COUNT": str(count)}
    with (
        Ledger(gateway.port, 60, fields, 10) as load,
        Ledger(gateway.port, 30, {"SIGNATURE": "healthy"}, 10, name="n") as neighbour,
    ):
        eventually(lambda: load.answered > 20)
        for pid in gateway.servers()["misbehaving"]["worker_pids"]:
            os.kill(pid, signal.SIGKILL)
        answered = load.answered
        eventually(lambda: load.answered > answered + 40)
        load.stop()
        neighbour.stop()
    load.check(count)
    neighbour.check()
    assert {"200"} == set(neighbour.outcomes)
    assert len(load.failures()) <= 2
    assert {"worker_died", ""} >= {row.code for row in load.rows}
    wait_until_ready(gateway, "misbehaving")


def test_request_in_flight_outlives_the_gateways_master(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """What a gateway process has begun it finishes, and a new master takes connections (P3)."""
    gate, count = Gate(tmp_path), tmp_path / "count"
    with gate.closed():
        held = InBackground(
            lambda: do(
                gateway, "misbehaving", "gate", GATE=str(tmp_path / "gate"),
                COUNT=str(count), ID="held",
            )
        )  # fmt: skip
        wait_until_busy(gateway, "misbehaving")
        master = role(gateway, "gateway")[0]
        master.kill()
        eventually(lambda: new_gateway(gateway, master))
        assert 200 == do(gateway, "healthy", "answer").status_code
    assert 200 == held.result().status_code
    assert ["held"] == executed(count)


def new_gateway(gateway: RunningGateway, old: psutil.Process) -> bool:
    """Say whether another gateway master runs, with its worker."""
    now = role(gateway, "gateway")
    return len(now) > 1 and now[0].pid != old.pid


def test_request_in_flight_in_a_killed_gateway_process_runs_once(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Its caller is cut off; it is not executed again, and its worker serves on (P4)."""
    gate, count = Gate(tmp_path), tmp_path / "count"
    before = sorted(gateway.servers()["misbehaving"]["worker_pids"])
    with gate.closed():
        held = InBackground(
            lambda: do(
                gateway, "misbehaving", "gate", GATE=str(tmp_path / "gate"),
                COUNT=str(count), ID="held",
            )
        )  # fmt: skip
        wait_until_busy(gateway, "misbehaving")
        role(gateway, "gateway")[1].kill()
        with pytest.raises(requests.ConnectionError):
            held.result()
        assert 200 == do(gateway, "healthy", "answer").status_code
    eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 0)
    assert ["held"] == executed(count)
    assert before == sorted(gateway.servers()["misbehaving"]["worker_pids"])


def test_processes_that_somebody_asks_to_leave_cost_no_request(gateway: RunningGateway) -> None:
    """SIGTERM from outside, the operator's slip: each process leaves, and another one serves."""
    fields = {"SIGNATURE": "misbehaving", "DO": "work", "MS": 2}
    with Ledger(gateway.port, 60, fields, 20) as load:
        for find in (
            lambda: gateway.servers()["misbehaving"]["worker_pids"][0],
            lambda: gateway.servers()["misbehaving"]["pid"],
            lambda: role(gateway, "gateway")[1].pid,
            lambda: role(gateway, "gateway")[0].pid,
        ):
            answered, victim = load.answered, psutil.Process(find())
            victim.terminate()
            eventually(lambda answered=answered: load.answered > answered + 20)  # type: ignore[misc]
            eventually(lambda victim=victim: not alive([victim]))  # type: ignore[misc]
        load.stop()
    load.check()
    assert {"200"} == set(load.outcomes), load.failures()[:3]
    wait_until_ready(gateway, "misbehaving")


def test_children_of_a_dead_worker_end_with_it(gateway: RunningGateway) -> None:
    """A worker that dies takes along what it has started."""
    pids = do(gateway, "lone", "fork", TIMES=3).json()["did"]
    children = [psutil.Process(pid) for pid in pids]
    try:
        do(gateway, "lone", "exit_now", CODE=1)
        wait_until_ready(gateway, "lone")
        eventually(lambda: not alive(children), what="its children have ended")
    finally:
        end(children)


@pytest.mark.parametrize("closes", [False, True], ids=["holds everything", "closes everything"])
def test_daemon_of_an_endpoint_ends_with_its_generation(
    gateway: RunningGateway, closes: bool
) -> None:
    """Who forks twice into a session of its own does not outlive its server."""
    daemon = psutil.Process(do(gateway, "lone", "daemonise", CLOSE=closes).json()["did"])
    try:
        assert 200 == gateway.post("/restart_server", {"SIGNATURE": "lone"}).status_code
        eventually(lambda: not alive([daemon]), what="the daemon has ended")
    finally:
        end([daemon])


def alive(processes: list[psutil.Process]) -> list[int]:
    """Return the pids of those that run; zombies do not."""
    return [p.pid for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def end(processes: list[psutil.Process]) -> None:
    """Kill what a failed test has left behind."""
    for process in processes:
        if process.is_running():
            process.kill()
