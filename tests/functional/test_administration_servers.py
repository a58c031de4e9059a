"""Administration: which servers there are; start, stop, restart and scale them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import FLAKY, MIRROR, SUPPORT
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually
from tests.support.steady_client import SteadyClient

Launch = Callable[..., RunningGateway]

pytestmark = pytest.mark.shares_gateway

ENDPOINTS: dict[str, dict[str, Any]] = {
    "zebra": {"SERVER_CLASS": "mirror", "DESCRIPTION": "Says what it was asked."},
    "off": {"SERVER_CLASS": "mirror", "DISABLED": True},
    "watcher": {"HOST": "NO_HOST", "SERVER_CLASS": "support", "PING_INTERVAL": 7},
    "busy": {"SERVER_CLASS": "mirror", "NR_WORKERS": 2, "QUEUE_SIZE": 64},
    "flaky": {},
    "alpha": {"SERVER_CLASS": "mirror"},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Servers of each kind, not in alphabetical order."""
    with shared_gateway(
        tmp_path_factory.mktemp("servers"),
        ENDPOINTS,
        {"mirror": MIRROR, "support": SUPPORT, "flaky": FLAKY},
    ) as running:
        yield running


def state_of(gateway: RunningGateway, signature: str) -> str:
    """Return a server's state."""
    state: str = gateway.servers()[signature]["state"]
    return state


def test_available_servers_are_in_configuration_order(gateway: RunningGateway) -> None:
    """`AVAIL_SERVERS` leaves out what is disabled and what is no server."""
    answer = gateway.get("/list_servers").json()
    assert ["zebra", "busy", "flaky", "alpha"] == answer["AVAIL_SERVERS"]
    assert list(ENDPOINTS) == list(answer["SERVERS"])
    assert {"time", "ver"} <= answer.keys()
    assert answer["SERVERS"].keys() == gateway.post("/list_servers").json()["SERVERS"].keys()


def test_server_is_described_with_state_place_and_counters(gateway: RunningGateway) -> None:
    """Each server's entry has what an operator asks for first."""
    for number in range(3):
        assert 200 == gateway.run("zebra", N=number).status_code
    server = gateway.servers()["zebra"]
    expected = {
        "state": "READY", "host": "127.0.0.1", "port": gateway.server_ports["zebra"],
        "workers": 1, "ready_workers": 1, "restarts": 0, "queue": 0, "errors": 0,
        "last_error": None, "healthy": True, "requests": 3, "executed": 3,
        "description": "Says what it was asked.", "class": "MirrorWorker",
    }  # fmt: skip
    assert expected == {name: server.get(name) for name in expected}
    assert server["pid"] > 1
    assert [gateway.run("zebra").json()["pid"]] == server["worker_pids"]
    assert 0 < server["uptime_s"] < 60


def test_disabled_server_is_described_as_such(gateway: RunningGateway) -> None:
    """A disabled server has a place, but no processes."""
    server = gateway.servers()["off"]
    assert ("DISABLED", None, 0) == (server["state"], server["pid"], server["uptime_s"])


def test_failing_server_is_described_with_its_error(gateway: RunningGateway) -> None:
    """What went wrong stays visible while the server is tried again."""
    eventually(lambda: "the model server is away" in gateway.servers()["flaky"]["last_error"])


def test_alert_names_what_is_wrong(gateway: RunningGateway) -> None:
    """An endpoint that cannot load is an alert, with its state and error."""

    def alerts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = gateway.get("/system_status").json()["SYSTEM_ALERTS"]
        return found

    (alert,) = eventually(alerts)
    assert ("flaky", "BACKOFF") == (alert["server"], alert["state"])
    assert "the model server is away" in alert["error"]


def test_support_process_is_described_with_its_report(gateway: RunningGateway) -> None:
    """What a support process posted is shown, and how long ago that was."""
    watcher = eventually(lambda: gateway.servers()["watcher"].get("report") and gateway.servers())[
        "watcher"
    ]
    report = {"SIGNATURE": "watcher", "msg": "all is well", "interval": 7}
    assert ("READY", report) == (watcher["state"], watcher["report"])
    assert 0 <= watcher["reported_s_ago"] < 60


def test_report_of_no_support_process_is_refused(gateway: RunningGateway) -> None:
    """Only configured support processes can report."""
    for name in ("nobody", "zebra"):
        answer = gateway.post("/support_update_status", {"SIGNATURE": name, "msg": "hello"})
        assert ["watcher"] == check_error("unknown_signature", answer)["available"]
    check_error("bad_input", gateway.post("/support_update_status", {"msg": "hello"}))


def test_server_is_stopped_and_started(gateway: RunningGateway) -> None:
    """Both calls answer when the state is reached."""
    stopped = gateway.post("/kill_server", {"SIGNATURE": "alpha"})
    assert (200, {"alpha": "STOPPED"}) == (stopped.status_code, stopped.json()["STATES"])
    assert ("STOPPED", []) == (
        state_of(gateway, "alpha"),
        gateway.servers()["alpha"]["worker_pids"],
    )
    check_error("not_ready", gateway.run("alpha"))
    started = gateway.post("/start_server", {"SIGNATURE": "alpha"})
    assert (200, "READY") == (started.status_code, started.json()["STATE"])
    assert 200 == gateway.run("alpha").status_code


@pytest.mark.parametrize("path", ["/start_server", "/kill_server"])
def test_repeated_call_changes_nothing(gateway: RunningGateway, path: str) -> None:
    """What is so already is answered like what has just been done."""
    wanted = "READY" if path == "/start_server" else "STOPPED"
    for _ in range(2):
        assert 200 == gateway.post(path, {"SIGNATURE": "alpha"}).status_code
        assert wanted == state_of(gateway, "alpha")
    gateway.post("/start_server", {"SIGNATURE": "alpha"}).raise_for_status()


def test_restart_gives_new_processes(gateway: RunningGateway) -> None:
    """A restart answers when the new processes serve, and is counted."""
    before = gateway.servers()["alpha"]
    answer = gateway.post("/restart_server", {"SIGNATURE": "alpha", "REASON": "a test"})
    assert (200, "READY", 1) == (
        answer.status_code,
        answer.json()["STATE"],
        answer.json()["WORKERS"],
    )
    after = gateway.servers()["alpha"]
    assert before["restarts"] + 1 == after["restarts"]
    assert not {before["pid"], *before["worker_pids"]} & {after["pid"], *after["worker_pids"]}
    assert any("a restart was asked for: a test" in str(event) for event in gateway.events)


def test_start_of_a_server_that_cannot_load_says_why(gateway: RunningGateway) -> None:
    """The call answers with the state that was reached and the reason."""
    answer = gateway.post("/start_server", {"SIGNATURE": "flaky"})
    assert "the model server is away" in check_error("not_ready", answer)["ERROR"]


def test_disabled_server_can_be_started_and_stopped(gateway: RunningGateway) -> None:
    """A disabled server starts when it is asked for, and then takes requests."""
    assert 200 == gateway.post("/start_server", {"SIGNATURE": "off"}).status_code
    assert 200 == gateway.run("off").status_code
    assert "off" in gateway.get("/list_servers").json()["AVAIL_SERVERS"]
    assert 200 == gateway.post("/kill_server", {"SIGNATURE": "off"}).status_code
    check_error("not_ready", gateway.run("off"))


@pytest.mark.parametrize("path", ["/start_server", "/kill_server", "/restart_server"])
def test_unknown_server_is_refused(gateway: RunningGateway, path: str) -> None:
    """The answer lists the servers there are."""
    answer = check_error("unknown_signature", gateway.post(path, {"SIGNATURE": "nobody"}))
    assert ["zebra", "off", "busy", "flaky", "alpha"] == answer["available"]


@pytest.mark.parametrize("signature", [None, 5, "", "a b", "../x", "*"])
def test_signature_that_cannot_be_one_is_refused(
    gateway: RunningGateway, signature: object
) -> None:
    """A name that no server can have is bad input; `*` only stops."""
    fields = {} if signature is None else {"SIGNATURE": signature}
    check_error("bad_input", gateway.post("/restart_server", fields))


def test_workers_are_scaled_up_and_down(gateway: RunningGateway) -> None:
    """The call answers when there are that many; workers that stay are not touched."""
    kept = gateway.servers()["alpha"]["worker_pids"]
    up = gateway.post("/update_workers", {"SIGNATURE": "alpha", "NR_WORKERS": 3}).json()
    assert (3, 3, "READY") == (up["NR_WORKERS"], up["WORKERS"], up["STATE"])
    pids = gateway.servers()["alpha"]["worker_pids"]
    assert 3 == len(pids)
    assert set(kept) < set(pids)
    down = gateway.post("/update_workers", {"SIGNATURE": "alpha", "NR_WORKERS": "1"}).json()
    assert (1, 1) == (down["NR_WORKERS"], down["WORKERS"])
    eventually(lambda: len(gateway.servers()["alpha"]["worker_pids"]) == 1)


@pytest.mark.parametrize("count", [None, 0, -1, 257, 1.5, "two", True, [2], "9" * 30])
def test_number_of_workers_that_makes_no_sense_is_refused(
    gateway: RunningGateway, count: object
) -> None:
    """1 to 256, a whole number."""
    answer = gateway.post("/update_workers", {"SIGNATURE": "alpha", "NR_WORKERS": count})
    assert "from 1 to 256" in check_error("bad_input", answer)["ERROR"]
    assert 1 == gateway.servers()["alpha"]["workers"]


def test_scaling_and_restarting_under_load_drops_no_request(gateway: RunningGateway) -> None:
    """Up, down and a new generation: every request is answered 200."""
    with SteadyClient(gateway.url + "/run", {"SIGNATURE": "busy"}, keep_alive=False) as client:
        for count in (4, 1, 3, 2):
            before = client.sent
            fields = {"SIGNATURE": "busy", "NR_WORKERS": count}
            assert 200 == gateway.post("/update_workers", fields).status_code
            eventually(lambda before=before: client.sent > before + 20)  # type: ignore[misc]
        assert 200 == gateway.post("/restart_server", {"SIGNATURE": "busy"}).status_code
        before = client.sent
        eventually(lambda: client.sent > before + 50)
    assert {"200": client.sent} == dict(client.outcomes), client.failures


def test_all_servers_are_stopped_with_a_star(gateway: RunningGateway) -> None:
    """`*` stops every server; the gateway goes on, and each one can be started again."""
    answer = gateway.post("/kill_server", {"SIGNATURE": "*"})
    stopped = {"zebra": "STOPPED", "off": "STOPPED", "busy": "STOPPED", "flaky": "STOPPED",
               "alpha": "STOPPED"}  # fmt: skip
    assert stopped == {**answer.json()["STATES"], "off": "STOPPED"}
    assert 200 == gateway.get("/v1/live").status_code
    assert 503 == gateway.get("/v1/ready").status_code
    assert [] == gateway.get("/system_status").json()["SYSTEM_ALERTS"]
    for name in ("zebra", "busy", "alpha"):
        assert 200 == gateway.post("/start_server", {"SIGNATURE": name}).status_code
        assert 200 == gateway.run(name).status_code
