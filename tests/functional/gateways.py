"""Gateways that many tests share, and what their endpoints are told to do from outside."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from basic_inference_server.testing import RunningGateway, running_gateway, start_gateway
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.projects import write_project


@contextmanager
def shared_gateway(
    folder: Path,
    endpoints: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, str],
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[RunningGateway]:
    """Run a gateway in a folder of its own; it has to end with 0 and leave no process behind."""
    write_project(folder, endpoints, files, **settings)
    with running_gateway(folder, arguments, environment) as gateway:
        yield gateway
    assert 0 == gateway.process.returncode, gateway.output
    eventually(lambda: not processes_in(folder), what=f"nothing runs in {folder}")


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose working folder is that one: a gateway's, adopted ones too."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder.resolve()):
                found.append(f"{process.pid} {process.cmdline()}")
        except psutil.Error:
            continue
    return found


class Gate:
    """Endpoints that were written for it wait while it is closed; see `GATED`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "gate").touch()
        (folder / "executed").touch()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Make the endpoints wait for the length of a `with` block."""
        with (self._folder / "gate").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def executed(self) -> list[str]:
        """Return the `ID` of each request that endpoint code has begun with, in that order."""
        return (self._folder / "executed").read_text().split()

    def wait_for(self, *ids: str) -> None:
        """Wait until endpoint code has begun with each of these requests."""
        eventually(lambda: set(ids) <= set(self.executed()), what=f"{ids} are executed")


def run_to_end(
    folder: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Start a gateway that has to end by itself; return its exit code and its lines."""
    before = set(processes_in(folder))
    gateway = start_gateway(folder, arguments, environment)
    try:
        code = gateway.process.wait(PATIENCE_S)
    finally:
        gateway.kill()
    assert set(processes_in(folder)) <= before
    return code, gateway.output.splitlines()
