"""Administration: what is recorded and reported, and the end of it all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import GATED, MIRROR, NOTIFYING, SUPPORT
from tests.functional.gateways import Gate, shared_gateway
from tests.support.eventually import eventually
from tests.support.projects import write_project

Launch = Callable[..., RunningGateway]

ENDPOINTS: dict[str, dict[str, Any]] = {
    "notifying": {},
    "mirror": {"NR_WORKERS": 2},
    "support": {"HOST": "NO_HOST"},
}
FILES = {"notifying": NOTIFYING, "mirror": MIRROR, "support": SUPPORT}
ROUTES = {
    "/run", "/run/<signature>", "/v1/live", "/v1/ready", "/list_servers", "/system_status",
    "/start_server", "/kill_server", "/restart_server", "/update_workers", "/notifications",
    "/get_paths", "/support_update_status", "/shutdown",
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """An endpoint that notifies, one that does not, and a support process."""
    with shared_gateway(tmp_path_factory.mktemp("records"), ENDPOINTS, FILES) as running:
        yield running


def calls_of(gateway: RunningGateway, signature: str, **fields: Any) -> list[dict[str, Any]]:
    """Return what one endpoint recorded per call."""
    answer = gateway.post("/notifications", {"SIGNATURE": signature, **fields})
    assert 200 == answer.status_code, answer.text
    found: list[dict[str, Any]] = answer.json()["CALLS"]
    return found


@pytest.mark.shares_gateway
def test_notification_of_a_call_names_the_call(gateway: RunningGateway) -> None:
    """What an endpoint records during a request carries the request's id and its own fields."""
    response = gateway.run("notifying", WORD="tree")
    found = eventually(
        lambda: [c for c in calls_of(gateway, "notifying") if c["msg"] == "asked for tree"]
    )
    expected = {
        "notif": "log", "signature": "notifying", "length": 4, "worker_id": 0,
        "request_id": response.headers["X-Request-Id"], "call_id": response.json()["call_id"],
    }  # fmt: skip
    assert expected == {name: found[0][name] for name in expected}
    assert "time" in found[0]


@pytest.mark.shares_gateway
def test_notification_outside_of_calls_is_general(gateway: RunningGateway) -> None:
    """What is recorded while the model loads belongs to no call."""
    answer = gateway.post("/notifications").json()
    assert ["the model is loaded"] == [
        item["msg"] for item in answer["GENERAL"] if item["signature"] == "notifying"
    ]
    assert {"time", "ver", "GENERAL", "CALLS"} <= answer.keys()


@pytest.mark.shares_gateway
def test_notifications_of_one_endpoint_only(gateway: RunningGateway) -> None:
    """`SIGNATURE` and `LIMIT` choose which are shown; the newest come last."""
    for number in range(5):
        assert 200 == gateway.run("notifying", WORD=f"w{number}").status_code
    eventually(lambda: [c for c in calls_of(gateway, "notifying") if c["msg"] == "asked for w4"])
    last = calls_of(gateway, "notifying", LIMIT=2)
    assert ["asked for w3", "asked for w4"] == [call["msg"] for call in last]
    assert [] == calls_of(gateway, "mirror")


@pytest.mark.shares_gateway
def test_system_status_has_the_shape_of_the_seeds(gateway: RunningGateway) -> None:
    """Memory and disk in GB, in all and for each server."""
    answer = gateway.post("/system_status").json()
    assert {"SYSTEM_STATUS", "SYSTEM_ALERTS", "SYSTEM_HISTORY", "time", "ver"} <= answer.keys()
    status = answer["SYSTEM_STATUS"]
    assert {"info", "mem_total", "mem_avail", "mem_used", "mem_sys", "mem_gateway", "mem_servers",
            "disk_total", "disk_avail"} <= status.keys()  # fmt: skip
    assert {"notifying", "mirror", "support"} == status["mem_servers"].keys()
    assert all(0 < size < 2 for size in status["mem_servers"].values())
    assert 0 < status["mem_gateway"] < 2
    assert 0 < status["mem_used"] <= status["mem_total"]
    assert status["mem_total"] <= psutil.virtual_memory().total / 2**30 + 0.01
    assert 0 < status["disk_avail"] <= status["disk_total"]


@pytest.mark.shares_gateway
def test_system_history_has_this_run_and_its_states(gateway: RunningGateway) -> None:
    """The run has begun and not ended; each server's way to READY is there."""
    history = gateway.get("/system_status").json()["SYSTEM_HISTORY"]
    assert (1, None) == (len(history["runs"]), history["runs"][-1]["stopped"])
    states = [item["state"] for item in history["states"] if item["server"] == "mirror"]
    assert ["STARTING", "LOADING", "READY"] == states


@pytest.mark.shares_gateway
def test_announcement_says_where_the_gateway_is(gateway: RunningGateway) -> None:
    """With `--port 0` a file in the cache folder says which ports were taken."""
    path = gateway.base_folder / "_cache" / "run" / "gateway.json"
    found = json.loads(path.read_text())
    assert (gateway.process.pid, gateway.port) == (found["pid"], found["port"])
    ports = {name: gateway.servers()[name]["port"] for name in ("notifying", "mirror")}
    assert ports == found["servers"]


@pytest.mark.shares_gateway
def test_paths_are_listed(gateway: RunningGateway) -> None:
    """`/get_paths` has every route of the data path and of administration."""
    answer = gateway.get("/get_paths").json()
    assert ROUTES <= set(answer["PATHS"])
    assert {"time", "ver"} <= answer.keys()


@pytest.mark.shares_gateway
@pytest.mark.parametrize("signature", [None, "", "mirror", "*", "SAFE_KILL_SERVER", 5, True, []])
def test_shutdown_with_another_signature_does_nothing(
    gateway: RunningGateway, signature: object
) -> None:
    """Only the agreed word stops the gateway."""
    answer = gateway.post("/shutdown", {} if signature is None else {"SIGNATURE": signature})
    assert "SAFE_KILL_SERVER_CMD" in check_error("bad_request", answer)["ERROR"]
    assert 200 == gateway.run("mirror").status_code
    assert gateway.process.poll() is None


def test_shutdown_answers_then_ends_with_zero(launch: Launch, tmp_path: Path) -> None:
    """The right word, in any case: 200 first, then every process ends and the exit code is 0."""
    gateway = launch({"mirror": {}}, {"mirror": MIRROR})
    answer = gateway.post("/shutdown", {"SIGNATURE": "Safe_Kill_Server_Cmd"})
    assert 200 == answer.status_code
    assert 0 == gateway.process.wait(60)
    assert "stopped" == gateway.events[-1]["event"]
    assert not (tmp_path / "_cache" / "run" / "gateway.json").exists()


def test_shutdown_lets_requests_in_flight_finish(launch: Launch, tmp_path: Path) -> None:
    """Who was being served when the word came gets the answer; nobody new is let in."""
    gate = Gate(tmp_path)
    gateway = launch({"gated": {}}, {"gated": GATED})
    with ThreadPoolExecutor(2) as pool:
        with gate.closed():
            running = pool.submit(gateway.run, "gated", ID="running")
            gate.wait_for("running")
            queued = pool.submit(gateway.run, "gated", ID="queued")
            eventually(lambda: gateway.servers()["gated"]["queue"] == 1)
            assert (
                200 == gateway.post("/shutdown", {"SIGNATURE": "SAFE_KILL_SERVER_CMD"}).status_code
            )
            eventually(lambda: any(event["event"] == "stopping" for event in gateway.events))
        assert (200, 200) == (running.result().status_code, queued.result().status_code)
    assert 0 == gateway.process.wait(60)


def test_records_survive_a_restart_of_the_gateway(tmp_path: Path) -> None:
    """Notifications, the earlier run and the token are there when a gateway starts again."""
    write_project(tmp_path, {"notifying": {}}, {"notifying": NOTIFYING})
    token = tmp_path / "_cache" / "admin_token"
    with running_gateway(tmp_path) as first:
        assert 200 == first.run("notifying", WORD="before").status_code
        eventually(lambda: calls_of(first, "notifying"))
        first_token = token.read_text()
        first.post("/shutdown", {"SIGNATURE": "SAFE_KILL_SERVER_CMD"}).raise_for_status()
        assert 0 == first.process.wait(60)
    with running_gateway(tmp_path) as second:
        assert ["asked for before"] == [call["msg"] for call in calls_of(second, "notifying")]
        earlier, current = second.get("/system_status").json()["SYSTEM_HISTORY"]["runs"]
        assert ("/shutdown", None) == (earlier["why"], current["stopped"])
        assert earlier["started"] <= earlier["stopped"] <= current["started"]
        assert earlier["run_time_s"] > 0
        assert first_token == token.read_text()


def test_killed_gateway_leaves_a_run_without_an_end(tmp_path: Path) -> None:
    """After SIGKILL the next start works at once, and the history shows that the run broke off."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    with running_gateway(tmp_path) as first:
        assert 200 == first.run("mirror").status_code
        first.kill()
    with running_gateway(tmp_path) as second:
        assert 200 == second.run("mirror").status_code
        runs = second.get("/system_status").json()["SYSTEM_HISTORY"]["runs"]
        assert [None, None] == [run["stopped"] for run in runs]
