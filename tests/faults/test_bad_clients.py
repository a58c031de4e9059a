"""Clients that leave, do not read or say nothing: they cost the others nothing."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import do, executed, wait_until_busy
from tests.functional.gateways import Gate
from tests.functional.raw_client import RawClient
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

LEAVING = 100
IDLE = 1000


def test_clients_that_leave_leave_nothing_behind(gateway: RunningGateway, tmp_path: Path) -> None:
    """What their clients gave up in the queue is dropped unexecuted, and nobody waits for it."""
    gate, count = Gate(tmp_path), tmp_path / "count"
    fields = {"DO": "gate", "GATE": str(tmp_path / "gate"), "COUNT": str(count)}
    with gate.closed(), ExitStack() as clients:
        for number in range(LEAVING):
            client = clients.enter_context(RawClient(gateway.port))
            client.send_json("/run/misbehaving", {**fields, "ID": f"left-{number}"})
        wait_until_busy(gateway, "misbehaving", 2)
        eventually(lambda: gateway.servers()["misbehaving"]["queue"] == LEAVING - 2)
        clients.close()
        eventually(lambda: gateway.servers()["misbehaving"]["queue"] == 0)
    assert 200 == do(gateway, "misbehaving", "answer").status_code
    eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 0)
    assert 2 == len(executed(count))


def test_thousand_silent_connections_cost_the_others_nothing(gateway: RunningGateway) -> None:
    """Who connects and says nothing is no request; both ports serve as before."""
    with ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
        slowest = max(
            do(gateway, "healthy", "answer").elapsed.total_seconds() for _ in range(20)
        )  # fmt: skip
        assert 0.5 > slowest
        assert 200 == gateway.get("/v1/ready").status_code


def test_pipelined_requests_of_a_client_that_leaves_are_not_all_executed(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Behind the request that was executing one more may be begun: then the gateway knows."""
    gate, count = Gate(tmp_path), tmp_path / "count"
    fields = {"DO": "gate", "GATE": str(tmp_path / "gate"), "COUNT": str(count)}
    bodies = [json.dumps({**fields, "ID": f"piped-{number}"}) for number in range(20)]
    with gate.closed(), RawClient(gateway.port) as client:
        client.send(
            "".join(
                f"POST /run/lone HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
                for body in bodies
            ).encode()
        )
        wait_until_busy(gateway, "lone")
    eventually(lambda: gateway.servers()["lone"]["busy_workers"] == 0)
    assert 200 == do(gateway, "lone", "answer").status_code
    assert {"piped-0", "piped-1"} >= set(executed(count))
