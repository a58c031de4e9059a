"""Starts that must not happen, and stops under load."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway, start_gateway
from tests.faults.ledger import Ledger
from tests.functional.endpoint_sources import GATED_LOAD
from tests.functional.gateways import Gate, run_to_end
from tests.support.eventually import eventually
from tests.support.own_network import free_port
from tests.support.processes import expect_gone, is_refused, tree
from tests.support.projects import ECHO, write_project

Launch = Callable[..., RunningGateway]
EXIT_CONFIG = 78
EXIT_CANNOT_START = 4
TCP_REPAIR = 19


def link_to_itself(path: Path) -> None:
    """Make a link that leads nowhere but to itself."""
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        pytest.param(lambda path: path.write_bytes(b"{\0}"), ":1:2: ", id="NUL"),
        pytest.param(lambda path: path.write_bytes(b"\xef\xbb\xbf{}"), ":1:1: ", id="BOM"),
        pytest.param(lambda path: path.write_bytes(b" " * 11_000_000), "larger", id="11 MB"),
        pytest.param(lambda path: path.mkdir(), "directory", id="folder"),
        pytest.param(link_to_itself, "symbolic links", id="loop of links"),
    ],
)
def test_file_that_is_no_configuration_ends_the_start(
    tmp_path: Path, make: Callable[[Path], None], shown: str
) -> None:
    """Exit code 78 within 3 s, one line that names the file, and no child (C1)."""
    make(tmp_path / "config_gateway.txt")
    code, lines = run_to_end(tmp_path)
    assert EXIT_CONFIG == code, lines
    assert "config_gateway.txt" in lines[1]
    assert shown in lines[1]


@contextmanager
def starting(folder: Path, port: int) -> Iterator[RunningGateway]:
    """Start a gateway that does not open its ports before its endpoint has loaded."""
    write_project(folder, {"gated_load": {}}, {"gated_load": GATED_LOAD})
    gateway = start_gateway(folder, ["--port", str(port)])
    try:
        eventually(lambda: '"state":"LOADING"' in gateway.output)
        yield gateway
    finally:
        gateway.kill()


def test_second_gateway_of_a_port_does_not_start(tmp_path: Path) -> None:
    """Not even while the first one loads, and however its address is written."""
    port = free_port()
    gate = Gate(tmp_path)
    second_folder = tmp_path / "second"
    second_folder.mkdir()
    write_project(second_folder, {"echo": {}}, {"echo": ECHO})
    with ExitStack() as stack:
        with gate.closed():
            first = stack.enter_context(starting(tmp_path, port))
            assert is_refused(port)
            second = start_gateway(second_folder, ["--host", "0.0.0.0", "--port", str(port)])
            assert EXIT_CANNOT_START == second.process.wait(60)
        second.stop()
        taken = f"Cannot start: port {port} on 0.0.0.0 is in use by a program that does not listen"
        assert [taken] == [line[: len(taken)] for line in second.output.splitlines()]
        first.wait_until_open(60)
        assert 200 == first.get("/v1/ready").status_code
        assert 0 == first.stop()


@pytest.fixture
def intruder() -> Iterator[socket.socket]:
    """A socket that can bind what somebody else owns; only root gets one."""
    with socket.socket() as one:
        try:
            one.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError:
            pytest.skip("needs root, and a kernel with TCP_REPAIR")
        yield one


def test_gateway_that_cannot_listen_does_not_say_that_it_is_open(
    tmp_path: Path, intruder: socket.socket
) -> None:
    """Exit code 4 and the reason, at the moment at which it should have opened."""
    port = free_port()
    gate = Gate(tmp_path)
    with ExitStack() as stack:
        with gate.closed():
            gateway = stack.enter_context(starting(tmp_path, port))
            intruder.bind(("127.0.0.1", port))
            intruder.listen(1)
        assert EXIT_CANNOT_START == gateway.process.wait(60)
    line = f"port {port} on 127.0.0.1 is in use by pid {os.getpid()}; stop that or choose another"
    assert f"Cannot start: {line} port" in gateway.output.splitlines()
    events = [event["event"] for event in gateway.events]
    assert ("cannot_start" in events, "gateway_open" in events) == (True, False)


@pytest.mark.chaos  # the intruder has to be quicker than the start of a process
def test_reload_of_a_port_that_cannot_be_opened_is_refused_and_can_be_repeated(
    tmp_path: Path, intruder: socket.socket
) -> None:
    """What was there goes on; the next reload tries again although nothing has changed."""
    port = free_port()
    write_project(tmp_path, {"echo": {}}, {"echo": ECHO})
    with running_gateway(tmp_path) as gateway, ThreadPoolExecutor(1) as background:
        endpoints = {"echo": {}, "new": {"SERVER_CLASS": "echo", "PORT": port}}
        write_project(tmp_path, endpoints, {})
        answer = background.submit(lambda: gateway.post("/reload", timeout_s=60))
        eventually(lambda: is_bound(port))
        intruder.bind(("127.0.0.1", port))
        intruder.listen(1)
        refused = answer.result(60)
        assert 503 == refused.status_code
        assert f"port {port} on 127.0.0.1 is in use" in refused.json()["FAILED"]["gateway"]
        assert 3 == gateway.run("echo", INPUT_VALUE=1).json()["result"]
        intruder.close()
        assert is_refused(port)
        assert 200 == gateway.post("/reload", timeout_s=60).status_code
        assert not is_refused(port)


def is_bound(port: int) -> bool:
    """Say whether somebody has a port, listening or not."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_stop_under_load_answers_everything_that_was_accepted(launch: Launch) -> None:
    """A request gets its answer or finds the port closed; nothing is cut off (L1)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2}})
    processes = tree(gateway)
    fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.1}
    with Ledger(gateway.port, 40, fields, 2.0) as load:
        eventually(lambda: load.answered > 10)
        gateway.process.terminate()
        assert 0 == gateway.process.wait(60)
        load.stop()
    load.check()
    assert {"200", "ConnectionRefusedError", "503"} >= set(load.outcomes), load.failures()[:3]
    assert {"", "shutting_down"} >= {row.code for row in load.rows}
    first_refused = min(row.t0 for row in load.rows if row.outcome == "ConnectionRefusedError")
    assert [] == [row for row in load.rows if row.outcome == "200" and row.t0 > first_refused]
    expect_gone(processes)
