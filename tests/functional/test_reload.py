"""A new configuration or a new endpoint file comes into force without losing a request (G17)."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.support.eventually import eventually
from tests.support.processes import role
from tests.support.projects import write_project
from tests.support.steady_client import SteadyClient

Launch = Callable[..., RunningGateway]
SLOW = """
import threading

from basic_inference_server import FlaskWorker

_CONFIG = {"GREETING": "hello", "LOAD_S": 0.0}


class DemoWorker(FlaskWorker):
    def _load_model(self):
        threading.Event().wait(self.cfg_load_s)
        if self.cfg_greeting == "broken":
            raise OSError("the weights do not fit")

    def _predict(self, inputs):
        return {"said": self.cfg_greeting, "version": VERSION}


VERSION = 1
"""
ASK = {"SIGNATURE": "demo"}


def configure(
    gateway: RunningGateway, endpoints: dict[str, dict[str, Any]], **settings: Any
) -> None:
    """Write another configuration for a running gateway."""
    config = {"CONFIG_ENDPOINTS": endpoints, **settings}
    (gateway.base_folder / "config_gateway.txt").write_text(json.dumps(config))


def reload(gateway: RunningGateway, expected_status: int = 200) -> dict[str, Any]:
    """Have the configuration read again; return the answer."""
    response = gateway.post("/reload", {}, timeout_s=60)
    assert expected_status == response.status_code, response.text
    answer: dict[str, Any] = response.json()
    return answer


def said(gateway: RunningGateway, signature: str = "demo") -> str:
    """Return what the endpoint says."""
    return str(gateway.run(signature).json()["said"])


def test_changed_section_is_in_force_and_nothing_is_lost(launch: Launch) -> None:
    """Under load, with a model that loads slowly: the old generation serves until then."""
    gateway = launch({"demo": {"NR_WORKERS": 2}}, {"demo": SLOW})
    with SteadyClient(gateway.url + "/run", ASK) as client:
        eventually(lambda: client.sent > 50)
        configure(gateway, {"demo": {"NR_WORKERS": 2, "GREETING": "salut", "LOAD_S": 0.8}})
        sent = client.sent
        answer = reload(gateway)
        assert client.sent > sent + 50
        assert (["demo"], {}) == (answer["REPLACED"], answer["FAILED"])
        assert "salut" == said(gateway)
    assert {"200"} == set(client.outcomes), (client.outcomes, client.failures)


def test_hangup_reloads_changed_files_and_settings(launch: Launch) -> None:
    """SIGHUP, under load and with new connections: endpoint and gateway are replaced."""
    gateway = launch({"demo": {}}, {"demo": SLOW})
    master = role(gateway, "gateway")[0].pid
    with SteadyClient(gateway.url + "/run", ASK, keep_alive=False) as client:
        eventually(lambda: client.sent > 20)
        source = SLOW.replace("VERSION = 1", "VERSION = 2")
        (gateway.base_folder / "endpoints" / "demo.py").write_text(source)
        configure(gateway, {"demo": {}}, MAX_BODY_BYTES=2000, GATEWAY_WORKERS=2)
        gateway.process.send_signal(signal.SIGHUP)
        (reloaded,) = eventually(
            lambda: [event for event in gateway.events if event["event"] == "reloaded"]
        )
        assert {"GATEWAY_WORKERS": 2, "MAX_BODY_BYTES": 2000} == reloaded["values"]
        sent = client.sent
        eventually(lambda: client.sent > sent + 50)
    assert {"200"} == set(client.outcomes), (client.outcomes, client.failures)
    assert 2 == gateway.run("demo").json()["version"]
    assert 413 == gateway.run("demo", TEXT="x" * 2000).status_code
    eventually(lambda: [p.pid for p in role(gateway, "gateway") if p.pid == master] == [])
    assert 3 == len(role(gateway, "gateway"))


def test_hangup_without_a_change_changes_nothing(launch: Launch) -> None:
    """A closed terminal sends SIGHUP too."""
    gateway = launch({"demo": {}}, {"demo": SLOW})
    before = gateway.servers()["demo"]["pid"]
    gateway.process.send_signal(signal.SIGHUP)
    eventually(lambda: "reloaded" in [event["event"] for event in gateway.events])
    assert before == gateway.servers()["demo"]["pid"]


def test_endpoints_come_go_and_change_their_number_of_workers(launch: Launch) -> None:
    """Without a replacement where none is needed."""
    gateway = launch({"demo": {}, "old": {"SERVER_CLASS": "demo"}}, {"demo": SLOW})
    pid = gateway.servers()["demo"]["pid"]
    assert "hello" == said(gateway, "old")
    new = {"SERVER_CLASS": "demo", "GREETING": "new"}
    off = {"SERVER_CLASS": "demo", "DISABLED": True}
    configure(gateway, {"new": new, "demo": {"NR_WORKERS": 3, "DESCRIPTION": "x"}, "off": off})
    answer = reload(gateway)
    assert (["new", "off"], ["old"], ["demo"], []) == (
        answer["ADDED"], answer["REMOVED"], answer["ADJUSTED"], answer["REPLACED"],
    )  # fmt: skip
    assert ("new", 404) == (said(gateway, "new"), gateway.run("old").status_code)
    servers = gateway.servers()
    assert ["new", "demo", "off"] == list(servers)
    assert (pid, "x", "DISABLED") == (
        servers["demo"]["pid"], servers["demo"]["description"], servers["off"]["state"],
    )  # fmt: skip
    eventually(lambda: gateway.servers()["demo"]["ready_workers"] == 3)
    direct = f"http://127.0.0.1:{servers['new']['port']}/run"
    assert (
        "new" == requests.post(direct, json=ASK | {"SIGNATURE": "new"}, timeout=60).json()["said"]
    )


def test_server_can_move_to_another_port(launch: Launch) -> None:
    """The new port answers when the call has been answered; the old one is free again."""
    gateway = launch({"demo": {}}, {"demo": SLOW})
    old = gateway.servers()["demo"]["port"]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        wanted = probe.getsockname()[1]
    configure(gateway, {"demo": {"PORT": wanted}})
    assert ["demo"] == reload(gateway)["ADJUSTED"]
    assert wanted == gateway.servers()["demo"]["port"]
    answer = requests.post(f"http://127.0.0.1:{wanted}/run", json=ASK, timeout=60)
    assert "hello" == answer.json()["said"]
    eventually(lambda: not accepts(old))


def accepts(port: int) -> bool:
    """Say whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("config", "problem"),
    [('{"CONFIG_ENDPOINTS": {"demo": {"NR_WORKERS": "two"}}}', "NR_WORKERS"),
     ('{"CONFIG_ENDPOINTS": ', "config_gateway.txt:1:22"),
     ('{"CONFIG_ENDPOINTS": {"demo": {"GREETING": "x"}, "b": {"PORT": %d}}}', "in use")],
    ids=["value", "syntax", "port"],
)  # fmt: skip
def test_unusable_configuration_changes_nothing(launch: Launch, config: str, problem: str) -> None:
    """It is refused as a whole, with every problem; what runs goes on."""
    gateway = launch({"demo": {}}, {"demo": SLOW})
    pid = gateway.servers()["demo"]["pid"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = config % taken.getsockname()[1] if "%d" in config else config
        (gateway.base_folder / "config_gateway.txt").write_text(text)
        answer = reload(gateway, 422)
    assert "bad_input" == answer["code"]
    assert problem in " ".join(answer["details"])
    assert (pid, "hello") == (gateway.servers()["demo"]["pid"], said(gateway))
    configure(gateway, {"demo": {"GREETING": "fixed"}})
    reload(gateway)
    assert "fixed" == said(gateway)


def test_configuration_that_does_not_load_leaves_the_old_one(launch: Launch) -> None:
    """The error is visible, the old section stays in force, and the next reload tries again."""
    gateway = launch({"demo": {"TIMEOUT": 7}}, {"demo": SLOW})
    with SteadyClient(gateway.url + "/run", ASK) as client:
        configure(gateway, {"demo": {"TIMEOUT": 8, "GREETING": "broken"}})
        answer = reload(gateway, 503)
        assert "the weights do not fit" in answer["FAILED"]["demo"]
        assert "the weights do not fit" in gateway.servers()["demo"]["last_error"]
        assert "hello" == said(gateway)
        assert "the weights" in reload(gateway, 503)["FAILED"]["demo"]
        configure(gateway, {"demo": {"GREETING": "better"}})
        reload(gateway)
        assert ("better", None) == (said(gateway), gateway.servers()["demo"]["last_error"])
    assert {"200"} == set(client.outcomes), (client.outcomes, client.failures)


def test_nothing_old_answers_once_the_call_has_been_answered(launch: Launch) -> None:
    """Not even the first request after it, on a new connection, again and again."""
    gateway = launch({"demo": {"NR_WORKERS": 3, "GREETING": "0"}}, {"demo": SLOW})
    for number in range(1, 9):
        configure(gateway, {"demo": {"NR_WORKERS": 3, "GREETING": str(number)}})
        reload(gateway)
        assert [str(number)] * 4 == [said(gateway) for _ in range(4)]
    assert 200 == gateway.post("/restart_server", ASK).status_code


@pytest.mark.parametrize("greeting", ["broken", "impossible"], ids=["backoff", "failed"])
def test_repaired_section_starts_what_could_not_load(launch: Launch, greeting: str) -> None:
    """An endpoint that has never come up is started with its new section, at once."""
    source = SLOW.replace(
        'if self.cfg_greeting == "broken"',
        'self.cfg_greeting != "impossible" or len(None)\n        if self.cfg_greeting == "broken"',
    )
    gateway = launch({"demo": {"GREETING": greeting}, "other": {"SERVER_CLASS": "demo"}},
                     {"demo": source})  # fmt: skip
    expected = {"broken": "BACKOFF", "impossible": "FAILED"}[greeting]
    eventually(lambda: gateway.servers()["demo"]["state"] == expected)
    configure(gateway, {"demo": {"GREETING": "fixed"}, "other": {"SERVER_CLASS": "demo"}})
    reload(gateway)
    assert "fixed" == said(gateway)


def test_changed_files_are_loaded_by_themselves_where_that_is_wanted(launch: Launch) -> None:
    """Endpoint and configuration: what cannot be loaded is tried once, and the next version again.

    What is unknown in the configuration is warned of anew.
    """
    gateway = launch({"demo": {}}, {"demo": SLOW}, RELOAD_ON_CHANGE=True)
    path = gateway.base_folder / "endpoints" / "demo.py"

    def count(event: str) -> int:
        return [one["event"] for one in gateway.events].count(event)

    path.write_text("this is no Python")
    configure(gateway, {"demo": {"WORKERS": 2}}, RELOAD_ON_CHANGE=True)
    eventually(lambda: count("replace_failed") and count("reload_refused"))
    assert 1 == gateway.run("demo").json()["version"]
    path.write_text(SLOW.replace("VERSION = 1", "VERSION = 3"))
    configure(gateway, {"demo": {"GREETING": "salut"}}, RELOAD_ON_CHANGE=True, MINE=1)
    eventually(lambda: gateway.run("demo").json()["version"] == 3)
    eventually(lambda: count("reloaded"))
    assert "salut" == said(gateway)
    assert {"replace_failed": 1, "reload_refused": 1, "setting_ignored": 1} == {
        event: count(event) for event in ("replace_failed", "reload_refused", "setting_ignored")
    }


def test_worker_that_comes_back_has_the_code_of_its_generation(launch: Launch) -> None:
    """A file that was changed, broken even, and not yet loaded concerns nobody."""
    gateway = launch({"demo": {"NR_WORKERS": 1, "MAX_REQUESTS": 1}}, {"demo": SLOW})
    (gateway.base_folder / "endpoints" / "demo.py").write_text("this is no Python")
    assert [1, 1, 1] == [gateway.run("demo").json()["version"] for _ in range(3)]
    eventually(lambda: gateway.servers()["demo"]["state"] == "READY")


def test_shared_file_belongs_to_the_generation_too(launch: Launch) -> None:
    """A worker that comes back has the old one, a reload brings the new one to everybody."""
    shared = "VERSION = 1"
    source = SLOW.replace("VERSION = 1", "from endpoints._shared import VERSION")
    files = {"demo": source, "_shared": shared}
    gateway = launch({"demo": {"MAX_REQUESTS": 1}}, files)
    (gateway.base_folder / "endpoints" / "_shared.py").write_text("VERSION = 2")
    assert [1, 1, 1] == [gateway.run("demo").json()["version"] for _ in range(3)]
    assert ["demo"] == reload(gateway)["REPLACED"]
    assert 2 == gateway.run("demo").json()["version"]


def test_support_process_is_restarted_with_its_new_section(launch: Launch, tmp_path: Path) -> None:
    """Its configuration is an argument, so it has to start anew."""
    support = """
import pathlib, signal, sys
pathlib.Path("told").write_text(sys.argv[2])
signal.pause()
"""
    endpoints = {"demo": {}, "helper": {"HOST": "NO_HOST", "WORD": "one"}}
    gateway = launch(endpoints, {"demo": SLOW, "helper": support})
    told = gateway.base_folder / "told"
    eventually(lambda: told.exists() and '"one"' in told.read_text())
    configure(gateway, {"demo": {}, "helper": {"HOST": "NO_HOST", "WORD": "two"}})
    reload(gateway)
    eventually(lambda: '"two"' in told.read_text())
    configure(gateway, {"demo": {}})
    assert ["helper"] == reload(gateway)["REMOVED"]
    assert ["demo"] == list(gateway.servers())
    write_project(tmp_path, {"demo": {}}, {"demo": SLOW})
