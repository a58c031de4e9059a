"""Workers that end again and again: said, slowed down, and over as soon as their fault is (G10)."""

from __future__ import annotations

from collections.abc import Iterator
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
        if is_on("replaced"):
            os._exit(0)

    def _predict(self, inputs):
        return {"pid": os.getpid()}
"""
FAULTS = ("importing", "loading")
QUIT = "a worker ended with exit code 0 while it loaded (os._exit or sys.exit in the endpoint?)"


def section(fault: str) -> dict[str, Any]:
    """Return the section of an endpoint that has this fault."""
    return {"SERVER_CLASS": "ending", "ENV": {"FAULT": fault}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that opens when every endpoint is settled; one of them is well at first."""
    folder = tmp_path_factory.mktemp("loops")
    for fault in FAULTS:
        (folder / fault).touch()
    endpoints = {fault: section(fault) for fault in (*FAULTS, "replaced")}
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


@pytest.mark.parametrize("fault", ["importing", "loading"])
def test_exit_with_0_while_loading_is_a_failed_load(gateway: RunningGateway, fault: str) -> None:
    """The gateway opens all the same, and state, callers and administrators get the reason."""
    assert QUIT == in_backoff(gateway, fault)["last_error"]
    assert QUIT in check_error("not_ready", gateway.run(fault))["ERROR"]
    gateway.post("/restart_server", {"SIGNATURE": fault})
    answer = gateway.post("/start_server", {"SIGNATURE": fault})
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
