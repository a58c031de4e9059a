"""Descriptors, disks and surroundings run out: requests are answered, and all is well again."""

from __future__ import annotations

import resource
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.faults.calls import do
from tests.faults.conftest import ENDPOINTS, SOURCES
from tests.functional.answers import check_error
from tests.functional.raw_client import RawClient
from tests.support.eventually import eventually
from tests.support.processes import role
from tests.support.projects import write_project

FEW = 64
BUSY_LOOP = 0.2
MOST_CONNECTIONS = 16


@pytest.mark.shares_gateway
def test_gateway_without_descriptors_waits_and_recovers(gateway: RunningGateway) -> None:
    """It neither spins nor dies while there are none, and serves as soon as there are (R2)."""
    process = role(gateway, "gateway")[1]
    limits = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (FEW, limits[1]))
    try:
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            eventually(lambda: process.num_fds() >= FEW, what="its descriptors are used up")
            before = sum(process.cpu_times()[:2])
            assert 0 == process_wait(process, 1.0)
            assert BUSY_LOOP > sum(process.cpu_times()[:2]) - before
        eventually(lambda: is_served(gateway), what="it serves again")
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, limits)


def process_wait(process: psutil.Process, seconds: float) -> int:
    """Return 0 when the process still runs after that time."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return 0
    return 1


def is_served(gateway: RunningGateway) -> bool:
    """Say whether a request is answered in time."""
    try:
        return do(gateway, "healthy", "answer", timeout_s=2).status_code == 200
    except requests.RequestException:
        return False


def test_log_on_a_full_disk_costs_no_request(tmp_path: Path) -> None:
    """Lines that cannot be written are dropped; requests and the stop go on (R3)."""
    write_project(tmp_path, ENDPOINTS, SOURCES)
    command = f"exec {sys.executable} -m basic_inference_server run --host 127.0.0.1 --port 0"
    shell = ["/bin/sh", "-c", f"{command} > /dev/full 2>&1"]
    with running_gateway(tmp_path, command=shell) as gateway:
        for _ in range(20):
            assert 200 == do(gateway, "healthy", "answer").status_code
        assert 200 == do(gateway, "lone", "flood", BYTES=3_000_000).status_code
        assert 500 == do(gateway, "lone", "raise", TEXT="not written").status_code
        assert 200 == gateway.get("/system_status").status_code
        assert 0 == gateway.stop()


def test_surroundings_that_are_missing_do_not_matter(tmp_path: Path) -> None:
    """Without HOME, with a TMPDIR that is not there and in another locale, it runs (R10)."""
    write_project(tmp_path, {"healthy": {}}, SOURCES)
    bare = ["/usr/bin/env", "-i", "TMPDIR=/no/such/folder", "LC_ALL=C"]
    root = Path(__file__).resolve().parents[2]
    module = ["-m", "basic_inference_server", "run", "--host", "127.0.0.1", "--port", "0"]
    command = [*bare, f"PYTHONPATH={root}", sys.executable, *module]
    with running_gateway(tmp_path, command=command) as gateway:
        answer = do(gateway, "healthy", "answer", VALUE="\u0219")
        assert (200, "\u0219") == (answer.status_code, answer.json()["answer"])
        assert 0 == gateway.stop()


def test_test_machine_has_descriptors_for_this() -> None:
    """A thousand connections and more need a limit that allows them."""
    assert 4096 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_connection_above_the_limit_is_told_so(tmp_path: Path) -> None:
    """One more than `MAX_CONNECTIONS` is 503 and closed; descriptors are not the limit then."""
    write_project(tmp_path, {"healthy": {}}, SOURCES, MAX_CONNECTIONS=MOST_CONNECTIONS)
    module = "-m basic_inference_server run --host 127.0.0.1 --port 0"
    shell = ["/bin/sh", "-c", f"ulimit -S -n 256; exec {sys.executable} {module}"]
    with running_gateway(tmp_path, command=shell) as gateway:
        soft, hard = role(gateway, "gateway")[1].rlimit(psutil.RLIMIT_NOFILE)
        assert (hard, True) == (soft, soft > 256)
        with ExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                stack.enter_context(RawClient(gateway.port))
            answer = do(gateway, "healthy", "answer", timeout_s=5)
            check_error("overloaded", answer)
            assert "close" == answer.headers["Connection"]
        eventually(lambda: is_served(gateway), what="it serves again")
        assert 0 == gateway.stop()
