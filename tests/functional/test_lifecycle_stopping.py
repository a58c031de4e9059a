"""Stopping: what is in flight finishes, nothing new is taken, the exit code is true (G18)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import requests

from basic_inference_server.testing import RunningGateway, start_gateway
from tests.support.eventually import AT_ONCE_S, eventually
from tests.support.misbehaving import MISBEHAVING
from tests.support.processes import expect_gone, is_refused, role, tree
from tests.support.projects import ECHO, write_project

Launch = Callable[..., RunningGateway]
FILES = {"misbehaving": MISBEHAVING}


class HeldRequest:
    """A request that a worker executes until it is released."""

    def __init__(self, gateway: RunningGateway, release: Path) -> None:
        self._release = release
        self.result: Any = None
        self._thread = threading.Thread(target=self._send, args=(gateway,))
        self._thread.start()
        eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 1)

    def _send(self, gateway: RunningGateway) -> None:
        try:
            self.result = gateway.run("misbehaving", DO="wait_for_file", FILE=str(self._release))
        except requests.RequestException as error:
            self.result = error

    def release(self) -> Any:
        """Let the worker finish and return what the client got."""
        self._release.touch()
        return self.join()

    def join(self) -> Any:
        """Return what the client got."""
        self._thread.join(20)
        return self.result


def test_sigterm_lets_requests_in_flight_finish(launch: Launch, tmp_path: Path) -> None:
    """After SIGTERM the request in flight is answered, then the gateway exits 0."""
    gateway = launch({"misbehaving": {}}, FILES)
    held = HeldRequest(gateway, tmp_path / "release")
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: '"event":"stopping"' in gateway.output)
    gateway.process.send_signal(signal.SIGTERM)  # a second one changes nothing
    answer = held.release()
    assert (200, "released") == (answer.status_code, answer.json()["did"])
    assert 0 == gateway.process.wait(60)


def test_shutdown_route_lets_requests_in_flight_finish(launch: Launch, tmp_path: Path) -> None:
    """`POST /shutdown` answers 200 at once; the request in flight is answered before the end."""
    gateway = launch({"misbehaving": {}}, FILES)
    held = HeldRequest(gateway, tmp_path / "release")
    answer = gateway.post("/shutdown", {"SIGNATURE": "safe_kill_server_cmd"}, timeout_s=2)
    assert 200 == answer.status_code
    assert 200 == held.release().status_code
    assert 0 == gateway.process.wait(60)


def test_stop_longer_than_graceful_timeout_is_forced(launch: Launch, tmp_path: Path) -> None:
    """What does not finish within GRACEFUL_TIMEOUT is killed, and the exit code says so."""
    gateway = launch({"misbehaving": {}}, FILES, GRACEFUL_TIMEOUT=1)
    processes = tree(gateway)
    held = HeldRequest(gateway, tmp_path / "never")
    assert 1 == gateway.stop()
    expect_gone(processes)
    answer = held.join()
    assert (504, "deadline_exceeded") == (answer.status_code, answer.json()["code"])
    assert "had to stop" in answer.json()["ERROR"]


def test_stop_that_loses_a_request_does_not_say_drained(launch: Launch, tmp_path: Path) -> None:
    """A gateway process that dies while it drains takes its requests with it."""
    gateway = launch({"misbehaving": {}}, FILES)
    held = HeldRequest(gateway, tmp_path / "release")
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: is_refused(gateway.port))
    _, process = role(gateway, "gateway")
    process.kill()
    assert isinstance(held.release(), requests.ConnectionError)
    assert 1 == gateway.process.wait(60)
    gateway.stop()
    assert [False] == [e["drained"] for e in gateway.events if e["event"] == "stopped"]


def test_sigint_stops_at_once(launch: Launch, tmp_path: Path) -> None:
    """SIGINT (Ctrl-C) does not wait for requests in flight."""
    gateway = launch({"misbehaving": {}}, FILES)
    processes = tree(gateway)
    held = HeldRequest(gateway, tmp_path / "never")
    started = monotonic()
    gateway.process.send_signal(signal.SIGINT)
    gateway.process.wait(30)
    assert monotonic() - started < AT_ONCE_S  # GRACEFUL_TIMEOUT is 30
    expect_gone(processes)
    held.join()


def test_idle_keep_alive_connection_does_not_delay_a_stop(launch: Launch) -> None:
    """A client that keeps its connection open does not keep the gateway from stopping."""
    gateway = launch({"misbehaving": {}}, FILES)
    with requests.Session() as session:
        session.post(gateway.url + "/run", json={"SIGNATURE": "misbehaving", "DO": "answer"})
        started = monotonic()
        assert 0 == gateway.stop()
        assert monotonic() - started < AT_ONCE_S


def test_second_instance_in_the_same_folder_is_refused(launch: Launch) -> None:
    """A second gateway in one folder exits 4 with one line; the first serves on."""
    gateway = launch({"misbehaving": {}}, FILES)
    second = start_gateway_again(gateway.base_folder, "0")
    assert 4 == second.returncode
    lines = second.stderr.decode().strip().splitlines()
    assert 1 == len(lines)
    assert f"another gateway (pid {gateway.process.pid}) already runs" in lines[0]
    assert 200 == gateway.run("misbehaving", DO="answer").status_code


def test_taken_port_is_refused(launch: Launch, tmp_path: Path) -> None:
    """A taken port is one line with the port and the pid, exit 4, no child left."""
    gateway = launch({"misbehaving": {}}, FILES)
    other = tmp_path / "other"
    other.mkdir()
    write_project(other, {"echo": {}}, {"echo": ECHO})
    second = start_gateway_again(other, str(gateway.port))
    assert 4 == second.returncode
    lines = second.stderr.decode().strip().splitlines()
    assert 1 == len(lines)
    assert f"port {gateway.port} on 127.0.0.1 is in use" in lines[0]
    assert 200 == gateway.run("misbehaving", DO="answer").status_code


def start_gateway_again(folder: Path, port: str) -> subprocess.CompletedProcess[bytes]:
    """Run a gateway in `folder` to its end."""
    root = Path(__file__).resolve().parents[2]
    command = ["-m", "basic_inference_server", "run", "--host", "127.0.0.1", "--port", port]
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_stale_files_of_a_killed_gateway_do_not_matter(launch: Launch, tmp_path: Path) -> None:
    """After SIGKILL of everything the next start in the folder succeeds at once."""
    gateway = launch({"misbehaving": {}}, FILES)
    processes = tree(gateway)
    gateway.kill()
    expect_gone(processes)
    again = start_gateway(tmp_path)
    again.wait_until_open(60)
    assert 200 == again.run("misbehaving", DO="answer").status_code
    history = again.get("/system_status").json()["SYSTEM_HISTORY"]["runs"]
    assert [None, None] == [run["stopped"] for run in history]
    assert 0 == again.stop()
