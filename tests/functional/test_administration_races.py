"""Administration at the wrong moment: while requests wait, while a model loads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from basic_inference_server.core.topology import SHUTDOWN_SIGNATURE
from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import GATED, GATED_LOAD
from tests.functional.gateways import Gate
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import AT_ONCE_S, eventually

Launch = Callable[..., RunningGateway]

LOADING = {"gated_load": GATED_LOAD}
SOON_S = 30.0
PATIENCE_S = 60.0
SETTINGS: dict[str, Any] = {"NO_STARTUP_WAIT": True, "GRACEFUL_TIMEOUT": PATIENCE_S}


def state_of(gateway: RunningGateway, signature: str) -> str:
    """Return a server's state."""
    state: str = gateway.servers()[signature]["state"]
    return state


def test_requests_that_wait_when_their_server_is_stopped_are_told_so(
    launch: Launch, tmp_path: Path
) -> None:
    """What executes is finished; what waits is answered or refused, and nothing hangs."""
    gate = Gate(tmp_path)
    gateway = launch({"gated": {"TIMEOUT": SOON_S}}, {"gated": GATED})
    with ThreadPoolExecutor(3) as pool:
        with gate.closed():
            running = pool.submit(gateway.run, "gated", ID="running")
            gate.wait_for("running")
            waiting = pool.submit(gateway.run, "gated", ID="waiting")
            eventually(lambda: gateway.servers()["gated"]["queue"] == 1)
            stopping = pool.submit(gateway.post, "/kill_server", {"SIGNATURE": "gated"})
            eventually(lambda: state_of(gateway, "gated") == "STOPPING")
            check_error("not_ready", gateway.run("gated", ID="late"))
        assert (200, 200) == (running.result().status_code, stopping.result().status_code)
        if waiting.result().status_code != 200:
            check_error("not_ready", waiting.result())


def test_server_that_loads_is_stopped_at_once(launch: Launch, tmp_path: Path) -> None:
    """A worker that has not loaded yet has nothing to finish."""
    with Gate(tmp_path).closed():
        gateway = launch({"gated_load": {}}, LOADING, **SETTINGS)
        eventually(lambda: state_of(gateway, "gated_load") == "LOADING")
        answer = gateway.post("/kill_server", {"SIGNATURE": "gated_load"}, timeout_s=SOON_S)
        assert {"gated_load": "STOPPED"} == answer.json()["STATES"]


def test_calls_that_wait_for_a_server_hold_up_no_others(launch: Launch, tmp_path: Path) -> None:
    """Twenty starts wait for a model; status, a stop and the end of the gateway do not."""
    started = {"SIGNATURE": "gated_load"}
    with ExitStack() as stack:
        stack.enter_context(Gate(tmp_path).closed())
        gateway = launch({"gated_load": {}}, LOADING, **SETTINGS)
        waiting = [stack.enter_context(RawClient(gateway.port)) for _ in range(20)]
        for client in waiting:
            client.send_json("/start_server", started)
        assert "LOADING" == state_of(gateway, "gated_load")
        answer = gateway.post("/kill_server", started)
        assert {"gated_load": "STOPPED"} == answer.json()["STATES"]
        assert {503} == {client.read_answer().status_code for client in waiting}
        for client in waiting:
            client.send_json("/start_server", started)
        assert 200 == gateway.post("/shutdown", {"SIGNATURE": SHUTDOWN_SIGNATURE}).status_code
        assert 0 == gateway.process.wait(30)


def test_gateway_that_loads_is_stopped_at_once(launch: Launch, tmp_path: Path) -> None:
    """SIGTERM in the middle of the start ends everything soon, with 0."""
    with Gate(tmp_path).closed():
        gateway = launch({"gated_load": {}}, LOADING, **SETTINGS)
        eventually(lambda: state_of(gateway, "gated_load") == "LOADING")
        gateway.process.terminate()
        assert 0 == gateway.process.wait(SOON_S)


def test_server_that_loads_is_scaled_when_it_has_loaded(launch: Launch, tmp_path: Path) -> None:
    """A new number of workers is kept until it can be had, and outlives a restart."""
    with ThreadPoolExecutor(1) as pool:
        with Gate(tmp_path).closed():
            gateway = launch({"gated_load": {}}, LOADING, **SETTINGS)
            eventually(lambda: state_of(gateway, "gated_load") == "LOADING")
            fields = {"SIGNATURE": "gated_load", "NR_WORKERS": 3}
            scaled = gateway.post("/update_workers", fields)
            assert (200, "LOADING") == (scaled.status_code, scaled.json()["STATE"])
            starting = pool.submit(gateway.post, "/start_server", fields)
        assert (200, "READY") == (starting.result().status_code, starting.result().json()["STATE"])
    eventually(lambda: gateway.servers()["gated_load"]["ready_workers"] == 3)
    restarted = gateway.post("/restart_server", {"SIGNATURE": "gated_load"})
    assert (200, 3) == (restarted.status_code, restarted.json()["WORKERS"])


def test_calls_for_one_server_at_once_end_in_one_state(launch: Launch, tmp_path: Path) -> None:
    """Starts, stops and restarts from several places are all answered, and the server works."""
    Gate(tmp_path)
    gateway = launch({"gated": {"NR_WORKERS": 2}}, {"gated": GATED})
    paths = ["/restart_server", "/kill_server", "/start_server", "/restart_server"] * 4
    with ThreadPoolExecutor(len(paths)) as pool:
        answers = list(
            pool.map(lambda path: gateway.post(path, {"SIGNATURE": "gated"}).status_code, paths)
        )
    assert {200, 503} >= set(answers)
    assert 200 == gateway.post("/start_server", {"SIGNATURE": "gated"}).status_code
    assert 200 == gateway.run("gated", ID="afterwards").status_code
    eventually(lambda: len(gateway.servers()["gated"]["worker_pids"]) == 2)


def test_gateway_is_stopped_while_a_stop_waits_for_its_server(
    launch: Launch, tmp_path: Path
) -> None:
    """An administration call that is still waiting does not hold up the end."""
    gate = Gate(tmp_path)
    gateway = launch({"gated": {}}, {"gated": GATED}, GRACEFUL_TIMEOUT=PATIENCE_S)
    with ThreadPoolExecutor(2) as pool:
        with gate.closed():
            running = pool.submit(gateway.run, "gated", ID="running")
            gate.wait_for("running")
            stopping = pool.submit(gateway.post, "/kill_server", {"SIGNATURE": "gated"})
            eventually(lambda: state_of(gateway, "gated") == "STOPPING")
            gateway.process.terminate()
            eventually(lambda: any(event["event"] == "stopping" for event in gateway.events))
        assert 200 == running.result().status_code
        assert stopping.result().status_code in {200, 503}
    assert 0 == gateway.process.wait(SOON_S)


@pytest.mark.parametrize("path", ["/start_server", "/restart_server"])
def test_gateway_is_stopped_while_a_start_waits_for_its_server(
    launch: Launch, tmp_path: Path, path: str
) -> None:
    """Nobody waits for a model to load only because somebody had asked for it."""
    with ThreadPoolExecutor(1) as pool, Gate(tmp_path).closed():
        gateway = launch({"gated_load": {}}, LOADING, **SETTINGS)
        starting = pool.submit(gateway.post, path, {"SIGNATURE": "gated_load"})
        eventually(lambda: state_of(gateway, "gated_load") == "LOADING")
        gateway.process.terminate()
        assert 0 == gateway.process.wait(SOON_S)
        assert 503 == starting.result().status_code


def test_gateway_is_stopped_soon_after_a_request_that_ended_early(launch: Launch) -> None:
    """A connection that both sides have closed is not waited for."""
    gateway = launch({"gated": {}}, {"gated": GATED})
    with RawClient(gateway.port) as client:
        client.send(head("POST", "/run", length=100) + b"{")
        client.end_sending()
        assert 400 == client.read_answer().status_code
    started_s = monotonic()
    assert 0 == gateway.stop()
    assert monotonic() - started_s < AT_ONCE_S  # GRACEFUL_TIMEOUT is 30
