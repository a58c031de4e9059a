"""Integration tests of the support process as a program, against a small gateway made here."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 20.0


class SmallGateway(ThreadingHTTPServer):
    """One server that is READY and never answers its ping well; keeps what is posted."""

    daemon_threads = False  # closing the server waits for its threads

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SmallHandler)
        self.posts: queue.Queue[tuple[str, str | None, Any]] = queue.Queue()
        self.is_hanging = False
        self.was_called = threading.Event()
        self.may_answer = threading.Event()

    def next_post(self, path: str) -> tuple[str | None, Any]:
        """Return authorization and content of the next post to `path`."""
        while True:
            found, authorization, content = self.posts.get(timeout=PATIENCE_S)
            if found == path:
                return authorization, content


class SmallHandler(BaseHTTPRequestHandler):
    """Answers as little as the support process needs."""

    server: SmallGateway

    def do_GET(self) -> None:
        if self.server.is_hanging:
            self.server.was_called.set()
            self.server.may_answer.wait(PATIENCE_S)
        if self.path == "/list_servers":
            servers = {"demo": {"state": "READY", "healthy": True, "host": "127.0.0.1"}}
            self._answer(200, {"SERVERS": servers})
        else:
            self._answer(503, {"ERROR": "demo is not ready"})

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.put((self.path, self.headers["Authorization"], content))
        self._answer(200, {})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the support process has ended meanwhile

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[SmallGateway]:
    server = SmallGateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="small-gateway")
    thread.start()
    yield server
    server.may_answer.set()
    server.shutdown()
    thread.join(PATIENCE_S)
    server.server_close()


def command(gateway: SmallGateway, *variables: str) -> list[str]:
    config = {
        "SUPPORT_NAME": "support_process",
        "SERVER": "127.0.0.1",
        "SERVER_PORT": gateway.server_port,
        "SERVER_PATH": "/support_update_status",
        "PING_INTERVAL": 0.05,
        "HOST": "NO_HOST",
        "DESCRIPTION": "test",
    }
    program = str(ROOT / "endpoints" / "support_process.py")
    python = [sys.executable, program, "--config_endpoint", json.dumps(config)]
    return ["env", f"PYTHONPATH={ROOT}", *variables, *python]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
        with (tmp_path / "output").open("ab") as output:
            process = subprocess.Popen(
                arguments, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True
            )
        started.append(process)
        return process

    yield _start
    for process in started:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()


def test_program_reports_and_asks_for_a_restart(gateway: SmallGateway, start: Any) -> None:
    """Started as the supervisor starts it, the program reports and asks for one restart."""
    start(command(gateway))
    _, report = gateway.next_post("/support_update_status")
    assert "support_process" == report["SIGNATURE"]
    assert {"demo": "failed: HTTP 503: demo is not ready"} == report["pings"]
    assert 0 < report["total_memory"]
    _, content = gateway.next_post("/restart_server")
    assert {"SIGNATURE": "demo"} == content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_ends_on_a_signal(
    gateway: SmallGateway, start: Any, number: signal.Signals
) -> None:
    """A stop signal ends the program with exit code 0."""
    process = start(command(gateway))
    gateway.next_post("/support_update_status")
    process.send_signal(number)
    assert 0 == process.wait(PATIENCE_S)


def test_program_ends_on_a_signal_during_a_call(gateway: SmallGateway, start: Any) -> None:
    """A gateway that does not answer does not keep the program from ending."""
    gateway.is_hanging = True
    process = start(command(gateway))
    assert gateway.was_called.wait(PATIENCE_S)
    process.terminate()
    assert 0 == process.wait(2.5)  # less than a call's own timeout of 3 s


def test_program_sends_the_administration_token(
    gateway: SmallGateway, start: Any, tmp_path: Path
) -> None:
    """With BIS_ADMIN_TOKEN_FILE in its environment the program sends that file's token."""
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    start(command(gateway, f"BIS_ADMIN_TOKEN_FILE={token_file}"))
    authorization, _ = gateway.next_post("/restart_server")
    assert "Bearer secret" == authorization


def test_program_works_before_the_token_is_made(
    gateway: SmallGateway, start: Any, tmp_path: Path
) -> None:
    """A token file that does not exist yet is no failure; the call goes without a token."""
    start(command(gateway, f"BIS_ADMIN_TOKEN_FILE={tmp_path / 'absent'}"))
    authorization, _ = gateway.next_post("/support_update_status")
    assert authorization is None


def test_program_ends_when_its_supervisor_is_gone(gateway: SmallGateway, tmp_path: Path) -> None:
    """Left behind by the process that started it, the program ends by itself."""
    script = '"$@" & exec 1>&- 2>&-; read -r _ < "$0"'  # stay the parent until the fifo is written
    fifo = tmp_path / "fifo"
    subprocess.run(["mkfifo", str(fifo)], check=True)
    parent = subprocess.Popen(
        ["sh", "-c", script, str(fifo), *command(gateway)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        start_new_session=True,
    )
    assert parent.stdout is not None
    try:
        gateway.next_post("/support_update_status")
        fifo.write_text("go\n")
        parent.wait(PATIENCE_S)
        # The program holds the other end of this pipe: it closes when the program has ended.
        said = parent.stdout.read()
    finally:
        parent.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    assert b"The supervisor is gone" in said
