"""Workers that end again and again: said, slowed down, and over as soon as their fault is (G10)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

# Ends its process in the way that FAULT names, as long as there is a file of that name.
ENDING = """
import os
import threading
from pathlib import Path

from basic_inference_server import FlaskWorker

FAULT = os.environ["FAULT"]


def is_on(fault):
    return FAULT == fault and Path(fault).exists()


if is_on("importing"):
    os._exit(0)
if is_on("closing"):
    os.closerange(0, 1024)


class EndingWorker(FlaskWorker):
    def _load_model(self):
        if is_on("loading"):
            os._exit(0)
        if is_on("idle"):
            threading.Timer(0.05, os._exit, [0]).start()
        if is_on("half") and self.worker_id == 1:
            threading.Timer(0.05, os._exit, [3]).start()
        if is_on("replaced"):
            os._exit(0)
        if is_on("growing") and self.worker_id == 1:
            if Path("tried").exists():
                threading.Event().wait(60)
            Path("tried").touch()
            os._exit(0)

    def _predict(self, inputs):
        return {"pid": os.getpid()}
"""
FAULTS = ("importing", "loading", "closing", "idle")
QUIT = "a worker ended with exit code 0 while it loaded (os._exit or sys.exit in the endpoint?)"


def section(fault: str) -> dict[str, Any]:
    """Return the section of an endpoint that has this fault."""
    return {"SERVER_CLASS": "ending", "ENV": {"FAULT": fault}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that opens when every endpoint is settled; one of them is well at first."""
    folder = tmp_path_factory.mktemp("loops")
    for fault in (*FAULTS, "half", "growing"):
        (folder / fault).touch()
    endpoints = {fault: section(fault) for fault in (*FAULTS, "replaced", "growing")}
    endpoints["half"] = {**section("half"), "NR_WORKERS": 2}
    with shared_gateway(folder, endpoints, {"ending": ENDING}, NO_STARTUP_WAIT=False) as running:
        yield running


def in_backoff(gateway: RunningGateway, name: str, failures: int = 1) -> dict[str, Any]:
    """Wait until a server waits for its next try, after so many failures at least."""

    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = gateway.servers()[name]
        waits = [e for e in gateway.events if e.get("server") == name and "retry_in_s" in e]
        return now if now["state"] == "BACKOFF" and len(waits) >= failures else None

    found = eventually(look, what=f"{name} waits for its next try")
    assert found is not None
    return found


def deaths(gateway: RunningGateway, name: str, least: int) -> list[dict[str, Any]]:
    """Return the deaths of a server's workers; none while they are fewer than that."""
    found = [e for e in gateway.events if e["event"] == "worker_died" and e["server"] == name]
    return found if len(found) >= least else []


@pytest.mark.parametrize("fault", ["importing", "loading"])
def test_exit_with_0_while_loading_is_a_failed_load(gateway: RunningGateway, fault: str) -> None:
    """The gateway opens all the same, and state, callers and administrators get the reason."""
    assert QUIT == in_backoff(gateway, fault)["last_error"]
    assert QUIT in check_error("not_ready", gateway.run(fault))["ERROR"]
    for command in ("/restart_server", "/start_server"):
        answer = gateway.post(command, {"SIGNATURE": fault})
        assert QUIT in check_error("not_ready", answer)["ERROR"]


def test_new_generation_that_exits_with_0_leaves_the_old_one(gateway: RunningGateway) -> None:
    """`/restart_server` says why, and the worker that serves goes on."""
    pid = gateway.run("replaced").json()["pid"]
    fault = gateway.base_folder / "replaced"
    fault.touch()
    answer = gateway.post("/restart_server", {"SIGNATURE": "replaced"})
    assert QUIT in check_error("not_ready", answer)["ERROR"]
    assert pid == gateway.run("replaced").json()["pid"]
    fault.unlink()
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "replaced"}).status_code


def test_worker_more_that_exits_with_0_is_refused(gateway: RunningGateway) -> None:
    """`/update_workers` says why instead of waiting, and the worker that serves goes on."""
    pid = gateway.run("growing").json()["pid"]
    answer = gateway.post("/update_workers", {"SIGNATURE": "growing", "NR_WORKERS": 2})
    error = check_error("not_ready", answer)["ERROR"]
    assert f"growing goes on with NR_WORKERS 1: {QUIT}" == error
    eventually(lambda: gateway.servers()["growing"]["worker_pids"] == [pid])
    shown = gateway.servers()["growing"]
    assert (1, 1, "READY") == (shown["workers"], shown["ready_workers"], shown["state"])


def test_idle_worker_that_exits_with_0_has_died(gateway: RunningGateway) -> None:
    """Nobody has asked it to end, so it is logged, shown, and slowed down."""
    shown = in_backoff(gateway, "idle")
    assert "exit code 0" == shown["last_death"]["cause"]
    assert "a worker ended soon after it had loaded: exit code 0" == shown["last_error"]
    first = deaths(gateway, "idle", 1)[0]
    assert ("exit code 0", False) == (first["cause"], first["is_clean"])


@pytest.mark.parametrize("fault", ["idle", "closing"])
def test_crash_loop_after_the_load_is_backed_off(gateway: RunningGateway, fault: str) -> None:
    """At once, then after 1, 2 ... s, and callers get the reason meanwhile."""
    in_backoff(gateway, fault, failures=2)
    waits = [e["retry_in_s"] for e in gateway.events
             if e.get("server") == fault and "retry_in_s" in e]  # fmt: skip
    for expected_s, wait_s in zip((1, 2, 4, 8), waits, strict=False):
        assert 0.7 * expected_s <= wait_s <= 1.3 * expected_s
    assert len(waits) + 2 >= len(deaths(gateway, fault, 1))
    eventually(lambda: "soon after it had loaded" in gateway.run(fault).json().get("ERROR", ""))


def test_worker_that_loops_beside_others_is_backed_off(gateway: RunningGateway) -> None:
    """The others serve; the state says that one is missing, and why."""

    died_at = [
        datetime.fromisoformat(death["time"].rstrip("Z")).timestamp()
        for death in eventually(lambda: deaths(gateway, "half", 3), what="it has died three times")
    ]
    gaps = [later - earlier for earlier, later in pairwise(died_at)]
    for least_s, gap_s in zip((1, 2, 4, 8), gaps[1:], strict=False):
        assert 0.9 * least_s <= gap_s
    shown = eventually(
        lambda: (now := gateway.servers()["half"])["state"] == "DEGRADED" and now,
        what="it is DEGRADED",
    )
    assert "a worker ended soon after it had loaded: exit code 3" == shown["last_error"]
    assert 200 == gateway.run("half").status_code
    (gateway.base_folder / "half").unlink()
    assert "READY" == gateway.post("/restart_server", {"SIGNATURE": "half"}).json()["STATE"]


def test_loop_is_over_as_soon_as_a_file_has_changed(gateway: RunningGateway) -> None:
    """Who mends an endpoint does not wait for the backoff: its next request is answered."""
    assert QUIT == in_backoff(gateway, "loading")["last_error"]
    source = gateway.base_folder / "endpoints" / "ending.py"

    def is_tried_again() -> bool:
        source.touch()
        changes = [e for e in gateway.events if "has changed" in e.get("why", "")]
        return ("loading", "BACKOFF") in [(e["server"], e["before"]) for e in changes]

    eventually(is_tried_again, what="it is tried again before its time")
    (gateway.base_folder / "loading").unlink()
    source.touch()
    eventually(lambda: gateway.run("loading").status_code == 200)
