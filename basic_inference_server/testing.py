"""For an endpoint author's own tests: one worker in this process, or a whole gateway.

from basic_inference_server.testing import run_worker, running_gateway

def test_answer():
    assert {"double": 4} == run_worker(DoubleWorker, {"INPUT_VALUE": 2})

def test_over_http(tmp_path):
    with running_gateway("my_project") as gateway:
        assert 4 == gateway.run("double", INPUT_VALUE=2).json()["double"]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import requests

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing_workers import WorkerHarness, run_worker, run_worker_batch
from basic_inference_server.worker.binary import OCTETS

__all__ = [
    "RunningGateway",
    "WorkerHarness",
    "run_worker",
    "run_worker_batch",
    "running_gateway",
    "start_gateway",
]

PACKAGE_PARENT = str(Path(__file__).resolve().parent.parent)
POLL_S = 0.01


class RunningGateway:
    """A gateway with all its processes, on ports of its own.

    Attributes:
        process: the supervisor.
        base_folder: folder with configuration and endpoints.
        port: the gateway's port.
        server_ports: each endpoint's own HTTP port.
    """

    def __init__(self, process: subprocess.Popen[bytes], base_folder: Path) -> None:
        self.process = process
        self.base_folder = base_folder
        self.port = 0
        self.server_ports: dict[str, int] = {}
        self._lines: list[str] = []
        output = process.stdout
        assert output is not None
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
        output.close()

    @property
    def output(self) -> str:
        """Everything that it has printed so far."""
        return "\n".join(self._lines)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that it has logged so far."""
        return [json.loads(line) for line in list(self._lines) if line.startswith("{")]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_open(self, timeout_s: float) -> None:
        """Wait until the port answers.

        Raises:
            RuntimeError: it ended or took too long; the message has its output.
        """
        announcement = self.base_folder / "_cache" / "run" / "gateway.json"
        pause = threading.Event()
        deadline_s = monotonic_s() + timeout_s
        while not (where := self._announced(announcement)):
            if self.process.poll() is not None:
                self._reader.join(5)
                raise RuntimeError(
                    f"the gateway ended with {self.process.returncode}:\n{self.output}"
                )
            if monotonic_s() > deadline_s:
                raise RuntimeError(f"the gateway is not open after {timeout_s} s:\n{self.output}")
            pause.wait(POLL_S)
        self.port, self.server_ports = where["port"], where["servers"]

    def _announced(self, announcement: Path) -> dict[str, Any]:
        """Return what this process has announced; another one's announcement does not count."""
        try:
            where: dict[str, Any] = json.loads(announcement.read_text())
        except (OSError, ValueError):
            return {}
        return where if where["pid"] == self.process.pid else {}

    def run(self, signature: str, timeout_s: float = 30.0, **fields: Any) -> requests.Response:
        """Send `POST /run` for an endpoint."""
        return self.post("/run", {"SIGNATURE": signature, **fields}, timeout_s)

    def upload(
        self, signature: str, content: bytes, content_type: str = OCTETS,
        timeout_s: float = 30.0, **fields: str,
    ) -> requests.Response:  # fmt: skip
        """Send a raw body to an endpoint, with fields in the query."""
        return requests.post(
            f"{self.url}/run/{signature}", content, params=fields, timeout=timeout_s,
            headers={"Content-Type": content_type},
        )  # fmt: skip

    def stream(self, signature: str, timeout_s: float = 30.0, **fields: Any) -> Iterator[Any]:
        """Yield the items of a streamed answer as they come; an error after the first is one.

        Raises:
            HTTPError: the answer is an error.
        """
        body = {"SIGNATURE": signature, **fields}
        with requests.post(self.url + "/run", json=body, timeout=timeout_s, stream=True) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(chunk_size=None):
                yield json.loads(line)

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, timeout_s: float = 30.0
    ) -> requests.Response:
        """Send a POST with JSON."""
        return requests.post(self.url + path, json=dict(fields or {}), timeout=timeout_s)

    def get(self, path: str, timeout_s: float = 30.0) -> requests.Response:
        """Send a GET."""
        return requests.get(self.url + path, timeout=timeout_s)

    def servers(self) -> dict[str, Any]:
        """Return what `/list_servers` says about each server."""
        found: dict[str, Any] = self.get("/list_servers").json()["SERVERS"]
        return found

    def stop(self, timeout_s: float = 30.0) -> int:
        """Stop it with SIGTERM and return its exit code; kill it when that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._reader.join(5)

    def kill(self) -> None:
        """Kill the supervisor; the kernel ends all its children."""
        self.process.kill()
        self.process.wait(10)
        self._reader.join(5)


def start_gateway(
    base_folder: str | Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> RunningGateway:
    """Start a gateway on free ports without waiting for it.

    Args:
        base_folder: folder with `config_gateway.txt` and `endpoints`.
        arguments: further arguments of `python -m basic_inference_server run`.
        environment: variables beside this process's own.
        command: what to run instead, such as a `run_gateway.py`.
    """
    folder = Path(base_folder).resolve()
    if command is None:
        command = [sys.executable, "-m", "basic_inference_server", "run", "--host", "127.0.0.1",
                   "--port", "0", *arguments]  # fmt: skip
    inherited = process_environment()
    paths = [PACKAGE_PARENT, inherited.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={
            **inherited,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return RunningGateway(process, folder)


@contextmanager
def running_gateway(
    base_folder: str | Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
    timeout_s: float = 60.0,
) -> Iterator[RunningGateway]:
    """Run a gateway on free ports for the length of a `with` block; arguments as above.

    Raises:
        RuntimeError: it did not open; the message has its output.
    """
    gateway = start_gateway(base_folder, arguments, environment, command)
    try:
        gateway.wait_until_open(timeout_s)
        yield gateway
    except BaseException:
        gateway.kill()
        raise
    gateway.stop()
