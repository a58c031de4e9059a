"""Streams that are cut off, by clients or by the death of the gateway: nothing stays behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import do, executed
from tests.functional.gateways import Gate
from tests.functional.open_answer import OpenAnswer
from tests.support.eventually import eventually
from tests.support.processes import open_descriptors, role

pytestmark = pytest.mark.shares_gateway
CUT_OFF = 200


def open_stream(gateway: RunningGateway, closed: Path, name: str, **fields: str) -> OpenAnswer:
    """Return a stream without end whose first item has come."""
    answer = OpenAnswer(
        gateway.port, "/run/misbehaving",
        DO="stream", WHOLE=1, ID=name, CLOSED=str(closed), **fields,
    )  # fmt: skip
    assert "pid" in answer.read_item()
    return answer


def test_streams_that_clients_cut_off_leave_nothing_behind(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Two hundred: each generator is closed, no descriptor stays, no worker is replaced."""
    closed = tmp_path / "closed"
    pids = sorted(gateway.servers()["misbehaving"]["worker_pids"])
    open_stream(gateway, closed, "first").close()
    eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 0)
    before = {pid: open_descriptors(pid) for pid in pids}
    names = [f"cut-{number}" for number in range(CUT_OFF)]
    for name in names:
        open_stream(gateway, closed, name).close()
    eventually(lambda: {"first", *names} == set(executed(closed)))
    eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 0)
    assert CUT_OFF + 1 == len(executed(closed))
    now = gateway.servers()["misbehaving"]
    assert (pids, 0) == (sorted(now["worker_pids"]), now["errors"])
    eventually(lambda: before == {pid: open_descriptors(pid) for pid in pids})


def test_killed_gateway_process_cuts_its_streams_off(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """The client sees that the body has no end; the generator is closed, its worker serves on."""
    gate, closed = Gate(tmp_path), tmp_path / "closed"
    pids = sorted(gateway.servers()["misbehaving"]["worker_pids"])
    with gate.closed():
        answer = open_stream(gateway, closed, "held", GATE=str(tmp_path / "gate"))
        for process in role(gateway, "gateway")[1:]:
            process.kill()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read_rest()
        assert 200 == do(gateway, "healthy", "answer").status_code
        assert [] == executed(closed)
    eventually(lambda: ["held"] == executed(closed))
    eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 0)
    assert pids == sorted(gateway.servers()["misbehaving"]["worker_pids"])


def test_client_that_stops_reading_does_not_fill_the_gateway(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """The endpoint yields without end, and the gateway has no more of it than its buffers."""
    closed = tmp_path / "closed"
    answer = open_stream(gateway, closed, "unread")
    processes = role(gateway, "gateway")[1:]
    before = sum(process.memory_info().rss for process in processes)
    for _ in range(20):
        assert 200 == do(gateway, "healthy", "answer").status_code
    assert 20 * 2**20 > sum(process.memory_info().rss for process in processes) - before
    assert [] == executed(closed)
    answer.close()
    eventually(lambda: ["unread"] == executed(closed))


def test_worker_that_is_killed_behind_a_client_that_does_not_read(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """What it had sent still arrives, the last item perhaps half, and then that it has died."""
    answer = OpenAnswer(
        gateway.port, "/run/misbehaving",
        DO="stream", WHOLE=1, ID="unread", CLOSED=str(tmp_path / "closed"),
    )  # fmt: skip
    pid = answer.read_item()["pid"]
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING)
    os.kill(pid, signal.SIGKILL)
    *items, half, last = answer.response.read().decode().splitlines()
    answer.close()
    error = json.loads(last)
    item = json.dumps("x" * 10_000)
    assert {item} >= set(items)
    assert item.startswith(half)
    assert "worker_died" == error["code"]
    assert "signal 9" in error["cause"]
    eventually(lambda: 2 == gateway.servers()["misbehaving"]["ready_workers"])
