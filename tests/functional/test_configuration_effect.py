"""Where a value comes from, what a broken endpoint does, and who may start where."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from basic_inference_server.testing import RunningGateway, running_gateway, start_gateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import GATED_LOAD, MIRROR, NO_LIBRARY
from tests.functional.gateways import Gate, run_to_end, shared_gateway
from tests.support.eventually import eventually
from tests.support.projects import write_project

Launch = Callable[..., RunningGateway]

EXIT_CANNOT_START = 4
BROKEN_RULES = """
from basic_inference_server import FlaskWorker

_CONFIG = {"WEIGHT": 2.0, "VALIDATION_RULES": {"WEIGHT": {"TYPE": "float", "MAX_VAL": 1}}}


class RuledWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"weight": self.cfg_weight}
"""

TELLING = """
import os

from basic_inference_server import FlaskWorker


class TellWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"password": os.environ.get("DB_PASSWORD")}
"""
GREEDY = """
from basic_inference_server import FlaskWorker

_CONFIG = {"NR_WORKERS": 4, "BATCH_SIZE": 8, "IDEMPOTENT": True, "SIZE": 3}


class GreedyWorker(FlaskWorker):
    def _predict_batch(self, prepared):
        return prepared
"""
BROKEN = {
    "odd": ("def broken(:\n", "odd.py:1: syntax error"),
    "absent": (None, "there is no absent.py in"),
    "no_library": (NO_LIBRARY, "a_library_that_nobody_has"),
    "leaves": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "empty": ("", "empty.py has no class EmptyWorker"),
    "other": (MIRROR, "other.py has no class OtherWorker(FlaskWorker); it has MirrorWorker"),
    "ruled": (BROKEN_RULES, "WEIGHT is 2.0, which breaks MAX_VAL 1"),
}


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Settings from everywhere, secrets among them."""
    with shared_gateway(
        tmp_path_factory.mktemp("configured"),
        {
            "tell": {"ENV": {"DB_PASSWORD": "hunter2-env"}, "API_KEY": "hunter2-key"},
            "plain": {"SERVER_CLASS": "tell"},
            "ruled": {"WEIGHT": 0.5, "MAX_BODY_BYTES": 7},
            "greedy": {"BATCH_SIZE": 2},
        },
        {"tell": TELLING, "ruled": BROKEN_RULES, "greedy": GREEDY},
        arguments=["--set", "GRACEFUL_TIMEOUT=3", "--set", "SERVER_NAME=argued",
                   "--set", "MY_OWN=5"],
        environment={
            "BIS_GRACEFUL_TIMEOUT": "4",
            "BIS_MAX_BODY_BYTES": "4096",
            "BIS_CORS_ORIGINS": '["https://a.example"]',
            "BIS_NOTHING": "1",
        },
        GRACEFUL_TIMEOUT=5,
        MAX_BODY_BYTES=8192,
        LOG_LEVEL="debug",
        UPLOAD_TOKEN="hunter2-token",
        STORE={"USER": "me", "PASSWORD": "hunter2-password"},
        STORES=[{"PASSWORD": "hunter3"}],
    ) as running:  # fmt: skip
        yield running


def settings_of(gateway: RunningGateway) -> dict[str, Any]:
    """Return the one line of the log that has the effective settings."""
    (event,) = [event for event in gateway.events if event["event"] == "settings"]
    return event


@pytest.mark.shares_gateway
def test_settings_are_logged_once_with_their_sources(configured: RunningGateway) -> None:
    """The command line is laid over the environment, that over the file, that over defaults."""
    expected = {
        "GRACEFUL_TIMEOUT": "3.0 (command line; the file has 5)",
        "SERVER_NAME": "argued (command line)",
        "MAX_BODY_BYTES": "4096 (environment BIS_MAX_BODY_BYTES; the file has 8192)",
        "CORS_ORIGINS": "['https://a.example'] (environment BIS_CORS_ORIGINS)",
        "LOG_LEVEL": "debug (file)",
        "NO_STARTUP_WAIT": "False (default)",
    }
    assert expected == {name: settings_of(configured)[name] for name in expected}
    check_error("body_too_large", configured.post("/run", {"X": "x" * 5000}))


@pytest.mark.shares_gateway
def test_secrets_are_masked_in_the_log(configured: RunningGateway) -> None:
    """What is named like a secret is never written out, however deep it lies."""
    settings = settings_of(configured)
    assert "*** (file)" == settings["UPLOAD_TOKEN"]
    assert "'PASSWORD': '***'" in settings["STORE"]
    assert 200 == configured.run("tell").status_code
    assert "hunter2" not in configured.output


@pytest.mark.shares_gateway
def test_secrets_in_a_list_are_masked_in_the_log(configured: RunningGateway) -> None:
    """A list of objects hides its secrets as well as an object does."""
    assert "hunter3" not in configured.output


@pytest.mark.shares_gateway
def test_source_of_a_key_of_the_operators_own_is_told(configured: RunningGateway) -> None:
    """A key that the engine does not know says where it came from, too."""
    assert "5 (command line)" == settings_of(configured)["MY_OWN"]


@pytest.mark.shares_gateway
def test_what_has_no_effect_is_warned_of_once(configured: RunningGateway) -> None:
    """Of the file, the command line, the environment, a section, and an endpoint's own file."""
    warned = [
        event["message"] for event in configured.events if event["event"] == "setting_ignored"
    ]
    assert sorted(
        [
            "BIS_NOTHING: no setting is read from this variable",
            "CONFIG_ENDPOINTS.ruled.MAX_BODY_BYTES: a setting of the top level; "
            "here it is only the endpoint's own",
            "MY_OWN (command line): there is no such setting",
            "NR_WORKERS in _CONFIG of greedy.py is only the endpoint's own; "
            "as a setting write CONFIG_ENDPOINTS.greedy.NR_WORKERS",
            "STORE (file): there is no such setting",
            "STORES (file): there is no such setting",
            "UPLOAD_TOKEN (file): there is no such setting",
        ]
    ) == sorted(warned)


def test_address_of_the_configuration_is_the_gateways(tmp_path: Path) -> None:
    """Without arguments `HOST` and `PORT` say where it listens, and the log where that is from."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR}, HOST="127.0.0.2", PORT=5002)
    command = [sys.executable, "-m", "basic_inference_server", "run"]
    with running_gateway(tmp_path, environment={"BIS_PORT": "0"}, command=command) as gateway:
        (opened,) = eventually(
            lambda: [event for event in gateway.events if event["event"] == "gateway_open"]
        )
        assert ("127.0.0.2", gateway.port) == (opened["host"], opened["port"])
        assert ["127.0.0.2 (file)", "0 (environment BIS_PORT; the file has 5002)"] == [
            settings_of(gateway)[key] for key in ("HOST", "PORT")
        ]
        live = f"http://127.0.0.2:{gateway.port}/v1/live"
        assert 200 == requests.get(live, timeout=60).status_code
        ours = psutil.Process(gateway.process.pid).net_connections("tcp")
        assert ("127.0.0.2", gateway.port) in [tuple(one.laddr) for one in ours]


@pytest.mark.shares_gateway
def test_endpoint_configuration_is_laid_over_its_defaults(configured: RunningGateway) -> None:
    """A section's keys win over `_CONFIG`, and the rules hold for the result."""
    assert 0.5 == configured.run("ruled").json()["weight"]


@pytest.mark.shares_gateway
def test_environment_of_a_section_reaches_its_workers_only(configured: RunningGateway) -> None:
    """`ENV` is for one endpoint's workers."""
    assert "hunter2-env" == configured.run("tell").json()["password"]
    assert configured.run("plain").json()["password"] is None


@pytest.fixture(scope="module")
def crippled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint that works, and one that is broken in each way there is."""
    sources = {name: source for name, (source, _) in BROKEN.items() if source is not None}
    with shared_gateway(
        tmp_path_factory.mktemp("crippled"),
        {**{name: {} for name in BROKEN}, "mirror": {}},
        {**sources, "mirror": MIRROR},
    ) as running:
        yield running


@pytest.mark.shares_gateway
@pytest.mark.parametrize("name", BROKEN)
def test_broken_endpoint_is_parked_with_the_reason(crippled: RunningGateway, name: str) -> None:
    """Only that endpoint is down; callers and operators read why."""
    server = crippled.servers()[name]
    assert "FAILED" == server["state"]
    assert BROKEN[name][1] in server["last_error"]
    assert BROKEN[name][1] in check_error("not_ready", crippled.run(name))["ERROR"]
    assert 200 == crippled.run("mirror").status_code


@pytest.mark.shares_gateway
def test_broken_endpoint_comes_up_when_its_file_is_right(crippled: RunningGateway) -> None:
    """Files are looked at again by themselves; who works is not disturbed."""
    for name in BROKEN:
        class_name = name.title().replace("_", "")
        right = MIRROR.replace("class Mirror", f"class {class_name}").lstrip()
        (crippled.base_folder / "endpoints" / f"{name}.py").write_text(right)
    for name in BROKEN:
        eventually(lambda name=name: crippled.run(name).status_code == 200)  # type: ignore[misc]
    assert 200 == crippled.get("/v1/ready").status_code
    assert 0 == crippled.servers()["mirror"]["restarts"]


def cannot_start(folder: Path, *arguments: str) -> str:
    """Start a gateway that must not come up; return the one line that it says."""
    code, lines = run_to_end(folder, arguments)
    assert (EXIT_CANNOT_START, 1) == (code, len(lines)), lines
    assert lines[0].startswith("Cannot start: ")
    return lines[0]


def test_second_gateway_in_a_folder_is_refused(launch: Launch, tmp_path: Path) -> None:
    """The second one names the first one's pid and leaves it alone."""
    gateway = launch({"mirror": {}}, {"mirror": MIRROR})
    before = gateway.servers()["mirror"]["worker_pids"]
    line = cannot_start(tmp_path)
    assert f"another gateway (pid {gateway.process.pid}) already runs with" in line
    assert before == gateway.servers()["mirror"]["worker_pids"]
    assert 200 == gateway.run("mirror").status_code


def test_taken_port_is_named_with_its_owner(tmp_path: Path) -> None:
    """Who has the port is in the one line that says that it is taken."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        line = cannot_start(tmp_path, "--port", str(port))
    assert f"port {port} on 127.0.0.1 is in use by pid " in line


def test_taken_port_of_a_server_is_named(tmp_path: Path) -> None:
    """A server's own port is needed as much as the gateway's."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        write_project(tmp_path, {"mirror": {"PORT": port}}, {"mirror": MIRROR})
        assert f"port {port} on 127.0.0.1 is in use" in cannot_start(tmp_path)


def test_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    """A host that is not this machine's is named."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    assert "cannot listen on 192.0.2.1" in cannot_start(tmp_path, "--host", "192.0.2.1")


def test_port_of_a_gateway_that_is_still_loading_is_taken(tmp_path: Path) -> None:
    """Two gateways cannot both get a port, even before the first one has opened it."""
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    for folder in (first_folder, second_folder):
        folder.mkdir()
    gate = Gate(first_folder)
    write_project(first_folder, {"gated_load": {}}, {"gated_load": GATED_LOAD})
    write_project(second_folder, {"mirror": {}}, {"mirror": MIRROR})
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    first = start_gateway(first_folder, ["--port", str(port)])
    try:
        with gate.closed():
            eventually(lambda: '"state":"LOADING"' in first.output)
            assert str(port) in cannot_start(second_folder, "--port", str(port))
        first.wait_until_open(60)
        assert 200 == first.run("gated_load").status_code
    finally:
        first.stop()


def test_free_ports_are_taken_when_nobody_cares(launch: Launch) -> None:
    """`--port 0` takes free ports for the gateway and for every server."""
    gateway = launch({"mirror": {}, "twin": {"SERVER_CLASS": "mirror"}}, {"mirror": MIRROR})
    ports = [gateway.port, *gateway.server_ports.values()]
    assert 3 == len(set(ports))
    assert all(port > 1023 for port in ports)
