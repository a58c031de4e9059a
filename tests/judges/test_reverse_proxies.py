"""nginx, HAProxy and Caddy before a gateway, configured as the documentation says."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.endpoint_sources import GATED
from tests.functional.gateways import Gate
from tests.functional.streaming_sources import RAW, STREAMING
from tests.judges.proxies import PROXIES, Proxy, free_port, running_proxy
from tests.support.eventually import eventually
from tests.support.projects import write_project

pytestmark = [pytest.mark.shares_gateway, pytest.mark.timeout(180)]

ENDPOINTS: dict[str, dict[str, Any]] = {"gated": {"NR_WORKERS": 2}, "streaming": {}, "raw": {}}
SOURCES = {"gated": GATED, "streaming": STREAMING, "raw": RAW}
CLIENTS = 8
UPLOAD = bytes(range(256)) * 20_000


class Behind:
    """A gateway, and the port of the proxy before it."""

    def __init__(self, gateway: RunningGateway, port: int, gate: Gate, folder: Path) -> None:
        self.gateway = gateway
        self.url = f"http://127.0.0.1:{port}"
        self.gate = gate
        self.folder = folder


@contextmanager
def behind(proxy: Proxy, folder: Path, arguments: tuple[str, ...] = ()) -> Iterator[Behind]:
    """Run both for the length of a `with` block."""
    project = folder / "project"
    project.mkdir()
    gate = Gate(project)
    write_project(project, ENDPOINTS, SOURCES)
    with (
        running_gateway(project, arguments) as gateway,
        running_proxy(proxy, folder / "proxy", gateway.port) as port,
    ):
        yield Behind(gateway, port, gate, project)


class Load:
    """Clients that ask one thing after another; what came back is by its number."""

    def __init__(self, url: str) -> None:
        self._url = url + "/run/gated"
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.statuses: dict[str, int] = {}

    def _ask(self, client: int) -> None:
        with requests.Session() as session:
            number = 0
            while not self._done.is_set():
                number += 1
                name = f"{client}-{number}"
                answer = session.post(self._url, json={"ID": name}, timeout=60)
                self.statuses[name] = answer.status_code

    def __enter__(self) -> Load:
        self._clients = [self._pool.submit(self._ask, client) for client in range(CLIENTS)]
        self.wait_for(50)
        return self

    def wait_for(self, count: int) -> None:
        """Wait until so many more answers have come."""
        wanted = len(self.statuses) + count
        eventually(lambda: len(self.statuses) >= wanted, timeout_s=60, what="answers come")

    def end(self) -> None:
        """Let the clients finish what they have begun."""
        self._done.set()
        self._pool.shutdown()

    def __exit__(self, *_: object) -> None:
        self.end()
        for client in self._clients:
            client.result()

    def failures(self) -> dict[str, int]:
        """Return what was not answered 200."""
        return {name: status for name, status in self.statuses.items() if status != 200}


@pytest.fixture(params=PROXIES, ids=lambda proxy: proxy.name)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    """Each of them."""
    found: Proxy = request.param
    found.program()
    return found


def test_requests_streams_and_uploads_pass(proxy: Proxy, tmp_path: Path) -> None:
    """Items one by one, a body above nginx's own limit, probes; and no administration."""
    with behind(proxy, tmp_path) as system:
        url = system.url
        answer = requests.post(url + "/run", json={"SIGNATURE": "gated", "ID": "1"}, timeout=60)
        assert (200, "1") == (answer.status_code, answer.json()["id"])
        assert 200 == requests.get(url + "/v1/ready", timeout=60).status_code

        uploaded = requests.post(
            url + "/run/raw", UPLOAD, headers={"Content-Type": "image/png"}, timeout=30
        )
        expected = [len(UPLOAD), hashlib.sha256(UPLOAD).hexdigest(), "image/png", None]
        assert expected == uploaded.json()["got"]["BODY"]
        made = requests.post(url + "/run/raw", json={"DO": "make", "SIZE": 5_000_000}, timeout=30)
        assert 5_000_000 == len(made.content)

        with system.gate.closed():
            fields = {"N": 3, "AT": 1, "DO": "wait"}
            stream = requests.post(url + "/run/streaming", json=fields, stream=True, timeout=60)
            lines = stream.iter_lines()
            assert 0 == json.loads(next(lines))["n"]  # while the second is not there yet
        assert [1, 2] == [json.loads(line)["n"] for line in [next(lines), next(lines)]]

        for path in ("/list_servers", "/shutdown", "/shutdown/", "/run/../shutdown"):
            fields_ = {"SIGNATURE": "SAFE_KILL_SERVER_CMD"}
            assert 404 == requests.post(url + path, json=fields_, timeout=60).status_code
        assert 200 == system.gateway.get("/v1/live").status_code


def test_caller_that_leaves_is_noticed(proxy: Proxy, tmp_path: Path) -> None:
    """The endpoint's generator is closed at its next item."""
    with behind(proxy, tmp_path) as system:
        fields = {"N": 1_000_000, "ID": "left"}
        with requests.post(
            system.url + "/run/streaming", json=fields, stream=True, timeout=60
        ) as stream:
            next(stream.iter_lines())
        eventually(lambda: "closed left" in system.gateway.output)


def test_reload_under_load_loses_nothing(proxy: Proxy, tmp_path: Path) -> None:
    """New processes of the gateway take over the port while the old ones finish."""
    with behind(proxy, tmp_path) as system:
        with Load(system.url) as load:
            for number in range(3):
                write_project(system.folder, ENDPOINTS, SOURCES, MAX_CONNECTIONS=1000 + number)
                answer = system.gateway.post("/reload", {}, timeout_s=60)
                assert (200, ["MAX_CONNECTIONS"]) == (answer.status_code, answer.json()["SETTINGS"])
                load.wait_for(100)
        assert {} == load.failures()
        assert len(system.gate.executed()) == len(load.statuses)


def test_stop_under_load_answers_what_was_taken(proxy: Proxy, tmp_path: Path) -> None:
    """Every request that was executed has its answer; the others are told that nobody is there."""
    with behind(proxy, tmp_path) as system:
        with Load(system.url) as load:
            system.gateway.process.send_signal(signal.SIGTERM)
            assert 0 == system.gateway.process.wait(30)
        failures = load.failures()
        answered = load.statuses.keys() - failures.keys()
        assert sorted(system.gate.executed()) == sorted(answered)
        assert {502, 503} >= set(failures.values())


@pytest.mark.parametrize("proxy", PROXIES[1:], ids=lambda one: one.name)
def test_restart_under_load_is_waited_for(proxy: Proxy, tmp_path: Path) -> None:
    """HAProxy and Caddy try again until the next gateway is there."""
    arguments = ("--port", str(free_port()))
    with behind(proxy, tmp_path, arguments) as system:
        with Load(system.url) as load:
            system.gateway.process.send_signal(signal.SIGTERM)
            assert 0 == system.gateway.process.wait(30)
            with running_gateway(system.folder, arguments):
                load.wait_for(100)
                load.end()
        assert {} == load.failures()
