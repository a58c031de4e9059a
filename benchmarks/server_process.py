"""Starts one server under test, waits for its first answer, and takes all of it down again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import process_tree
import psutil

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.005
LOG_TAIL_CHARS = 2000
FOREIGN_SETTINGS = ("BIS_", "MOSEC_", "GUNICORN_", "FLASK_")

Address = tuple[str, int]


class ServerError(Exception):
    """A server under test did not start, did not answer as expected or died."""


@dataclass(frozen=True)
class Request:
    """One JSON request: where on the server, and what."""

    path: str
    body: bytes


@dataclass(frozen=True)
class StopReport:
    """How a server went down after SIGTERM."""

    seconds: float
    killed_count: int


class ServerProcess:
    """A server in a session of its own; leaving the `with` block leaves no process behind."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        find_address: Callable[[], Address | None],
        extra_environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = folder / "output.log"
        self._find_address = find_address
        self._started_at = time.monotonic()
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=clean_environment() | dict(extra_environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The root of the tree: master, or supervisor."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Seconds since it was launched."""
        return time.monotonic() - self._started_at

    @property
    def address(self) -> Address:
        """Host and port; only when it has opened its port."""
        address = self._find_address()
        if address is None:
            raise self._error("has not said which port it opened")
        return address

    @property
    def url(self) -> str:
        """The same as the beginning of a URL."""
        host, port = self.address
        return f"http://{host}:{port}"

    def wait_for_200(self, request: Request, timeout_s: float = START_TIMEOUT_S) -> float:
        """Ask until the answer is 200; returns the seconds from launch to that answer."""
        last_answer = "no answer"
        while self.age_s < timeout_s:
            if self._process.poll() is not None:
                raise self._error(f"exited with {self._process.returncode} while starting")
            try:
                if self._find_address() is not None:
                    status, body = self.send(request, timeout_s=max(0.1, timeout_s - self.age_s))
                    if status == http.client.OK:
                        return self.age_s
                    last_answer = f"{status} {body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                last_answer = repr(error)
            time.sleep(POLL_INTERVAL_S)
        raise self._error(f"no 200 within {timeout_s:.0f} s; last: {last_answer}")

    def send(self, request: Request, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout_s)
        try:
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", request.path, request.body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self) -> StopReport:
        """SIGTERM to the root, a deadline, then SIGKILL to every process that was in the tree."""
        tree = process_tree.members(self.pid)
        began = time.monotonic()
        alive = tree
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(STOP_TIMEOUT_S)
            _, alive = psutil.wait_procs(tree, timeout=1.0)
        except subprocess.TimeoutExpired:
            pass  # it is killed below; killed_count tells
        finally:
            seconds = time.monotonic() - began
            survivors = [process for process in alive if process.is_running()]
            self._kill(survivors)
        return StopReport(seconds, len(survivors))

    def _kill(self, survivors: list[psutil.Process]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
            os.killpg(self.pid, signal.SIGKILL)
        for process in survivors:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait()

    def _error(self, problem: str) -> ServerError:
        tail = self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:]
        return ServerError(f"{self.name}: {problem}\n--- the end of its output ---\n{tail}")


def clean_environment() -> dict[str, str]:
    """Our own environment less what would configure a server behind the benchmark's back."""
    return {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN_SETTINGS)}


def free_address(host: str = "127.0.0.1") -> Address:
    """A port nobody has just now, for servers that cannot say which port they were given."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return host, int(probe.getsockname()[1])


def announced_address(path: Path) -> Address | None:
    """The address in a server's run file, None while there is no such file."""
    try:
        announced = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return str(announced["host"]), int(announced["port"])
