"""What a user starts: `./run.sh` without arguments, on the ports that are the defaults.

The other tests let the kernel choose the ports. Where the ports are chosen, two servers could share
one, and a listener could be none; nothing may be lost then either (G17, G18).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing import RunningGateway
from tests.functional.endpoint_sources import GATED
from tests.functional.gateways import Gate, processes_in
from tests.support.eventually import eventually
from tests.support.own_network import free_port, own_network
from tests.support.processes import is_refused
from tests.support.projects import ECHO, write_project
from tests.support.steady_client import SteadyClient

pytestmark = pytest.mark.shares_gateway

ROOT = Path(__file__).resolve().parents[2]
VENV = str(Path(sys.executable).parent.parent)
CONNECTED = 800
SENT_UNDER_LOAD = 1200
ENDPOINTS: dict[str, dict[str, Any]] = {
    "echo": {"NR_WORKERS": 2, "QUEUE_SIZE": CONNECTED},
    "gated": {"NR_WORKERS": 2},
    "twice": {"SERVER_CLASS": "echo"},
    "off": {"SERVER_CLASS": "echo", "DISABLED": True},
}
DEFAULT_PORTS = {"gateway": 5002, "echo": 5003, "gated": 5004, "twice": 5005, "off": 5006}
Start = Callable[[], "Started"]


class Started:
    """A gateway that `run.sh` has started, and the clients that wait for answers."""

    def __init__(self, gateway: RunningGateway, clients: ThreadPoolExecutor) -> None:
        self.gateway = gateway
        self.gate = Gate(gateway.base_folder)
        self._clients = clients

    @property
    def ports(self) -> dict[str, int]:
        """The gateway's port, and each endpoint's own."""
        return {"gateway": self.gateway.port, **self.gateway.server_ports}

    def held(self, id_: str, own_port: bool = False) -> Future[requests.Response]:
        """Begin a request that is executed until the gate opens."""
        port = self.ports["gated" if own_port else "gateway"]
        url, fields = f"http://127.0.0.1:{port}/run", {"SIGNATURE": "gated", "ID": id_}
        answer = self._clients.submit(lambda: requests.post(url, json=fields, timeout=30))
        self.gate.wait_for(id_)
        return answer

    def settings(self, **settings: Any) -> None:
        """Write a configuration with other settings."""
        write_project(self.gateway.base_folder, ENDPOINTS, {}, **settings)


@contextmanager
def arguments_of_run_sh() -> Iterator[list[str]]:
    """Give none where the default ports are ours alone, and elsewhere another gateway port."""
    with own_network() as is_ours:
        yield [] if is_ours else ["--port", str(free_port())]


@pytest.fixture(scope="module")
def arguments() -> Iterator[list[str]]:
    """The arguments for the gateway that the tests share."""
    with arguments_of_run_sh() as them:
        yield them


class ByScript(RunningGateway):
    """A gateway below `run.sh`, which is the process that a user knows."""

    def _announced(self, announcement: Path) -> dict[str, Any]:
        try:
            where: dict[str, Any] = json.loads(announcement.read_text())
        except (OSError, ValueError):
            return {}
        children = psutil.Process(self.process.pid).children()
        return where if where["pid"] in [child.pid for child in children] else {}

    def kill(self) -> None:
        """Kill the supervisor as well."""
        below = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        super().kill()
        for child in below:
            child.kill()


@contextmanager
def started(folder: Path, arguments: list[str]) -> Iterator[Started]:
    """Run `./run.sh` in that folder for the length of a `with` block."""
    write_project(folder, ENDPOINTS, {"echo": ECHO, "gated": GATED})
    for name in ("run.sh", "run_gateway.py", "app_ver.py"):
        shutil.copy(ROOT / name, folder)
    process = subprocess.Popen(
        ["./run.sh", *arguments],
        cwd=folder,
        env={**process_environment(), "RUN_VENV": VENV, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    gateway = ByScript(process, folder)
    try:
        gateway.wait_until_open(60)
        with ThreadPoolExecutor() as clients:
            yield Started(gateway, clients)
    except BaseException:
        gateway.kill()
        raise
    gateway.stop()
    eventually(lambda: not processes_in(folder), what="nothing is left running")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Iterator[Started]:
    """A gateway for the tests that leave it running."""
    with started(tmp_path_factory.mktemp("shipped"), arguments) as one:
        yield one
    assert 0 == one.gateway.process.returncode, one.gateway.output


def test_every_server_has_a_port_of_its_own(shared: Started, arguments: list[str]) -> None:
    """They are counted up from 5003, and `/list_servers` shows them."""
    if not arguments:
        assert DEFAULT_PORTS == shared.ports
    assert len(DEFAULT_PORTS) == len(set(shared.ports.values()))
    shown = {name: server["port"] for name, server in shared.gateway.servers().items()}
    assert shared.gateway.server_ports == shown


def test_log_says_who_can_reach_what(shared: Started) -> None:
    """Every address is shown, and the endpoints that are open to other machines."""
    (opened,) = eventually(
        lambda: [event for event in shared.gateway.events if event["event"] == "gateway_open"]
    )
    assert "0.0.0.0" == opened["host"]
    assert f"http://127.0.0.1:{shared.gateway.port}" in opened["addresses"].split(", ")
    assert "without a token: echo, gated, twice." in opened["message"]


@pytest.mark.parametrize("signature", ["echo", "gated", "twice"])
def test_own_port_is_answered_by_its_own_endpoint(shared: Started, signature: str) -> None:
    """Not by the endpoint that was started first."""
    url = f"http://127.0.0.1:{shared.ports[signature]}/run"
    answer = requests.post(url, json={"ID": "own", "INPUT_VALUE": 1}, timeout=60)
    assert (200, signature.upper()) == (answer.status_code, answer.json()["signature"].upper())


def test_port_of_an_endpoint_that_is_off_says_so(shared: Started) -> None:
    """Its port is its own as well."""
    url = f"http://127.0.0.1:{shared.ports['off']}/run"
    answer = requests.post(url, json={}, timeout=60)
    assert (503, "DISABLED") == (answer.status_code, answer.json()["state"]), answer.text


def test_nothing_is_lost_while_processes_are_replaced(shared: Started) -> None:
    """Reloads that replace the gateway's processes, a new generation, more and fewer workers."""
    gateway, echo = shared.gateway, {"SIGNATURE": "echo"}
    with SteadyClient(gateway.url + "/run", {**echo, "INPUT_VALUE": 1}, keep_alive=False) as client:
        for number in range(4):
            with shared.gate.closed():
                held = [shared.held(f"{number}-a"), shared.held(f"{number}-b", own_port=True)]
                shared.settings(MAX_BODY_BYTES=1_000_000 + number)
                assert 200 == gateway.post("/reload").status_code
            assert [200, 200] == [one.result(30).status_code for one in held]
        for path, fields in (("/restart_server", {}), ("/update_workers", {"NR_WORKERS": 3})):
            answer = gateway.post(path, {**echo, **fields})
            assert 200 == answer.status_code, answer.text
        eventually(lambda: client.sent >= SENT_UNDER_LOAD, timeout_s=40)
    assert {"200"} == set(client.outcomes), (client.outcomes, client.failures)
    assert "drain_" not in gateway.output


def connected(port: int, count: int) -> list[socket.socket]:
    """Return clients that have connected and sent their request."""
    body = json.dumps({"SIGNATURE": "echo", "INPUT_VALUE": 1}).encode()
    head = (
        "POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    clients = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port), 30)
        client.sendall(head.encode() + body)
        clients.append(client)
    return clients


def answer_to(client: socket.socket) -> bytes:
    """Return all that the gateway sends before it closes the connection."""
    answer = b""
    try:
        while part := client.recv(65536):
            answer += part
    except OSError as error:
        return repr(error).encode()
    return answer


def test_stop_answers_everyone_who_had_connected(tmp_path: Path) -> None:
    """Exit code 0 and `drained` are true; the same ports can be had again at once."""
    with ExitStack() as stack:
        arguments = stack.enter_context(arguments_of_run_sh())
        one = stack.enter_context(started(tmp_path, arguments))
        ports = one.ports
        with one.gate.closed():
            held = [one.held("gateway"), one.held("own", own_port=True)]
            clients = [
                stack.enter_context(client) for client in connected(ports["gateway"], CONNECTED)
            ]
            one.gateway.process.terminate()
            eventually(lambda: all(map(is_refused, ports.values())))
        assert [200, 200] == [answer.result(30).status_code for answer in held]
        answers = [answer_to(client) for client in clients]
        assert [] == [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 ")][:3]
        assert 0 == one.gateway.process.wait(60)
        (stopped,) = eventually(
            lambda: [event for event in one.gateway.events if event["event"] == "stopped"]
        )
        assert stopped["drained"]
        with started(tmp_path, arguments) as again:
            assert ports == again.ports
