"""Neither processes nor threads can be started: what runs goes on, and what is refused is (C3)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import GATED_LOAD
from tests.functional.gateways import Gate, shared_gateway
from tests.support.eventually import eventually
from tests.support.process_limits import cannot_fork
from tests.support.processes import masters
from tests.support.projects import ECHO

CANNOT = "a worker process cannot be started: [Errno 11] Resource temporarily unavailable"
REFUSALS = 70  # more than may wait


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway of one process, an endpoint of two workers, and one that loads when it may."""
    folder = tmp_path_factory.mktemp("scarce")
    Gate(folder)
    endpoints: dict[str, dict[str, Any]] = {"echo": {"NR_WORKERS": 2}, "gated_load": {}}
    files = {"echo": ECHO, "gated_load": GATED_LOAD}
    with shared_gateway(folder, endpoints, files, GATEWAY_WORKERS=1) as running:
        yield running


def said(gateway: RunningGateway, event: str, server: str = "echo") -> list[dict[str, Any]]:
    """Return the events of that name and server."""
    return [e for e in gateway.events if e["event"] == event and e.get("server") == server]


def check_served(gateway: RunningGateway) -> None:
    """Check that the endpoint answers, several times."""
    assert [200] * 20 == [gateway.run("echo", INPUT_VALUE=1).status_code for _ in range(20)]


def test_master_that_cannot_fork_keeps_its_workers(gateway: RunningGateway) -> None:
    """The others serve, the state says why one is missing, and it comes back when it can."""
    shown = gateway.servers()["echo"]
    with cannot_fork(psutil.Process(shown["pid"])):
        os.kill(shown["worker_pids"][0], signal.SIGKILL)
        eventually(lambda: said(gateway, "fork_failed"))
        degraded = eventually(
            lambda: (now := gateway.servers()["echo"])["state"] == "DEGRADED" and now
        )
        assert (CANNOT, shown["pid"]) == (degraded["last_error"], degraded["pid"])
        check_served(gateway)
        scaled = gateway.post("/update_workers", {"SIGNATURE": "echo", "NR_WORKERS": 3})
        refusal = check_error("not_ready", scaled)["ERROR"]
        assert f"echo goes on with NR_WORKERS 2: {CANNOT}" == refusal
        assert 2 == gateway.servers()["echo"]["workers"]
        check_served(gateway)
        assert 1 == len(said(gateway, "fork_failed"))
    ready = eventually(lambda: (now := gateway.servers()["echo"])["state"] == "READY" and now)
    assert (2, shown["pid"]) == (ready["ready_workers"], ready["pid"])
    scaled = gateway.post("/update_workers", {"SIGNATURE": "echo", "NR_WORKERS": 3})
    assert (200, 3) == (scaled.status_code, scaled.json()["WORKERS"])


def test_gateway_that_cannot_fork_waits_until_it_can(gateway: RunningGateway) -> None:
    """Its master goes on, and whoever connects meanwhile is served then."""
    (master,) = masters(gateway, "gateway")
    with ThreadPoolExecutor(1) as pool:
        with cannot_fork(master):
            master.children()[0].kill()
            eventually(lambda: said(gateway, "fork_failed", "gateway"))
            waiting = pool.submit(gateway.run, "echo", INPUT_VALUE=1)
        assert 200 == waiting.result().status_code
    assert [master] == masters(gateway, "gateway")
    eventually(lambda: said(gateway, "fork_succeeded", "gateway"))


def test_administration_without_threads_is_refused_and_never_executed(
    gateway: RunningGateway,
) -> None:
    """Each refusal is final, and none is held against later calls."""
    (serving,) = masters(gateway, "gateway")[0].children()
    with ThreadPoolExecutor(8) as pool, ExitStack() as stack:
        stack.enter_context(Gate(gateway.base_folder).closed())
        limits = stack.enter_context(ExitStack())
        limits.enter_context(cannot_fork(serving))
        restart = {"SIGNATURE": "gated_load"}
        slow = [pool.submit(gateway.post, "/restart_server", restart) for _ in range(8)]
        eventually(lambda: any(call.done() for call in slow), what="a thread cannot be started")
        for _ in range(REFUSALS):
            answer = gateway.post("/kill_server", {"SIGNATURE": "echo"})
            assert "No thread can be started" in check_error("overloaded", answer)["ERROR"]
        limits.close()
        assert "READY" == gateway.servers()["echo"]["state"]
    assert {200, 503} >= {call.result().status_code for call in slow}
    assert "READY" == gateway.servers()["echo"]["state"]
    assert "STOPPING" not in [e["state"] for e in said(gateway, "state_changed")]
