"""Exit codes that a restarting parent can rely on (G12), and other ways to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway, start_gateway
from tests.support.eventually import eventually
from tests.support.processes import expect_gone, tree
from tests.support.projects import ECHO, write_project

Launch = Callable[..., RunningGateway]

ONE_ENDPOINT = """
from basic_inference_server import FlaskModelServer, Logger

FlaskModelServer(Logger(config_file="config_gateway.txt"), "second", host="127.0.0.1", port=0)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_death_of_the_supervisor_is_no_success(launch: Launch, number: signal.Signals) -> None:
    """A supervisor that dies never exits 0, and takes everything with it."""
    gateway = launch()
    processes = tree(gateway)
    gateway.process.send_signal(number)
    assert 0 != gateway.process.wait(60)
    expect_gone(processes)


def test_application_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file where the application folder should be is exit 4 with one clear line."""
    write_project(tmp_path, {"echo": {}}, {"echo": ECHO})
    (tmp_path / "_cache").write_text("not a folder")
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "basic_inference_server", "run", "--port", "0"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert 4 == ended.returncode
    assert 1 == len(ended.stderr.decode().strip().splitlines())
    assert "cannot make the folder" in ended.stderr.decode()


def test_one_endpoint_runs_as_a_service_of_its_own(tmp_path: Path) -> None:
    """`FlaskModelServer` runs one endpoint of the configuration and no other."""
    write_project(
        tmp_path,
        {"first": {"SERVER_CLASS": "echo"}, "second": {"SERVER_CLASS": "echo"}},
        {"echo": ECHO},
        DEFAULT_SERVER="first",
    )
    (tmp_path / "serve_one.py").write_text(ONE_ENDPOINT)
    with running_gateway(tmp_path, command=[sys.executable, "serve_one.py"]) as gateway:
        assert 5 == gateway.run("second", INPUT_VALUE=2).json()["result"]
        assert ["second"] == gateway.post("/list_servers").json()["AVAIL_SERVERS"]


@pytest.fixture
def in_short_folder() -> Iterator[RunningGateway]:
    """A gateway whose sockets a client reaches by their paths: those of pytest are too long."""
    with tempfile.TemporaryDirectory(prefix="bis-") as folder:
        write_project(Path(folder), {"echo": {}}, {"echo": ECHO})
        with running_gateway(folder) as gateway:
            yield gateway


def test_control_socket_is_private(in_short_folder: RunningGateway) -> None:
    """The folder and the sockets in it are for their owner only; strangers are cut off."""
    folder = in_short_folder.base_folder / "_cache" / "run"
    assert 0o700 == folder.stat().st_mode & 0o777
    for path in folder.glob("*.sock"):
        assert 0o600 == path.stat().st_mode & 0o777
    if os.geteuid() != 0:
        pytest.skip("only root can try as somebody else")
    probe = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "os.setuid(65534); s2 = socket.socket(socket.AF_UNIX)\n"
        "try: s2.connect(sys.argv[1])\n"
        "except PermissionError: print('refused')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", probe, str(folder / "control.sock")],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"refused" == answer.stdout.strip()


def test_garbage_on_the_control_socket_is_harmless(in_short_folder: RunningGateway) -> None:
    """What is no message ends that connection only."""
    gateway = in_short_folder
    path = gateway.base_folder / "_cache" / "run" / "control.sock"
    for garbage in (b"\n", b"[]\n", b"\xff\xfe\n", b'{"command": 7}\n', b"x" * 100_000 + b"\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.settimeout(5)
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                continue
    assert 200 == gateway.run("echo", INPUT_VALUE=1).status_code
    assert "READY" == gateway.servers()["echo"]["state"]


def test_waiting_gateway_is_stopped_before_it_opens(tmp_path: Path) -> None:
    """SIGTERM while endpoints still load ends everything and exits 0."""
    slow = ECHO.replace(
        "    def _predict",
        "    def _load_model(self):\n        import threading\n"
        "        threading.Event().wait(60)\n\n    def _predict",
    )
    write_project(tmp_path, {"echo": {}}, {"echo": slow}, GRACEFUL_TIMEOUT=1)
    gateway = start_gateway(tmp_path)
    eventually(lambda: '"state":"LOADING"' in gateway.output)
    processes = tree(gateway)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(60) in {0, 1}
    expect_gone(processes)
    gateway.kill()
