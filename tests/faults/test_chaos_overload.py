"""More requests than can be served: who is served, who is refused, and how fast (G4, G13)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from time import monotonic
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import do
from tests.faults.ledger import Ledger, percentile, summary_ms
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import eventually
from tests.support.steady_client import SteadyClient

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
Launch = Callable[..., RunningGateway]
Figure = Callable[[str], None]

WORKERS = 2
EACH_S = 0.1
NOMINAL = WORKERS / EACH_S
QUEUE = 4
REFUSED_WITHIN_S = 0.010
LATE_WITHIN_S = 0.050


def capacity_of(gateway: RunningGateway, fields: dict[str, Any], seconds: float) -> float:
    """Return how many requests/s the endpoint serves when there is always a next one."""
    with SteadyClient(gateway.url + "/run", fields, threads=2 * WORKERS) as client:
        eventually(lambda: client.sent > 2 * WORKERS)
        begin, before = monotonic(), client.sent
        threading.Event().wait(seconds)
        served, took = client.sent - before, monotonic() - begin
    assert {"200"} == set(client.outcomes)
    return served / took


class Refusals:
    """Asks on one kept connection again and again, and keeps how long each refusal took.

    Attributes:
        seconds: the times of the refusals.
        served_at: when it was served instead.
    """

    def __init__(self, port: int, path: str, fields: dict[str, Any]) -> None:
        self.seconds: list[float] = []
        self.served_at: list[float] = []
        self._port = port
        body = json.dumps(fields).encode()
        json_type = ("Content-Type", "application/json")
        self._request = head("POST", path, json_type, length=len(body)) + body

    def ask(self, seconds: float, pause_s: float) -> None:
        """Ask for that long."""
        end, pause = monotonic() + seconds, threading.Event()
        with RawClient(self._port) as client:
            while monotonic() < end:
                begin = monotonic()
                client.send(self._request)
                answer = client.read_answer()
                if answer.status_code == 503:
                    self.seconds.append(monotonic() - begin)
                    assert "overloaded" == answer.json()["code"]
                    assert int(answer.headers["Retry-After"]) >= 1
                else:
                    assert 200 == answer.status_code
                    self.served_at.append(monotonic())
                pause.wait(pause_s)


def test_ten_times_the_capacity(launch: Launch, figure: Figure) -> None:
    """Goodput stays, and who is refused knows at once (R6)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": WORKERS, "QUEUE_SIZE": QUEUE}})
    fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": EACH_S}
    capacity = capacity_of(gateway, fields, 5)
    seconds = 20.0
    refusals = Refusals(gateway.port, "/run", fields)
    with Ledger(gateway.port, 10 * NOMINAL, fields, seconds) as load:
        begin = monotonic()
        refusals.ask(seconds - 2, pause_s=0.02)
    load.check()
    served_at = [row.t1 for row in load.rows if row.outcome == "200"] + refusals.served_at
    first, last = begin + 1, begin + seconds - 3
    goodput = sum(first <= when < last for when in served_at) / (last - first)
    figure(
        f"capacity {capacity:.1f}/s, offered {10 * NOMINAL:.0f}/s, goodput {goodput:.1f}/s "
        f"({goodput / capacity:.1%}), outcomes {dict(load.outcomes)}; 503 on a kept connection "
        f"{summary_ms(refusals.seconds)} ({len(refusals.seconds)}), on new ones "
        f"{summary_ms(load.seconds_of('503'))}; 200 {summary_ms(load.seconds_of('200'))}"
    )
    assert {"200", "503"} == set(load.outcomes)
    assert {"overloaded"} == {row.code for row in load.failures()}
    assert all(int(row.retry_after or 0) >= 1 for row in load.failures())
    assert goodput >= 0.95 * capacity
    assert median(refusals.seconds) < REFUSED_WITHIN_S
    assert percentile(refusals.seconds, 99) < REFUSED_WITHIN_S
    longest = (QUEUE + WORKERS + 1) * EACH_S
    assert percentile(load.seconds_of("200"), 99) < longest + 0.1


def neighbours_p99(gateway: RunningGateway, name: str) -> tuple[float, list[float]]:
    """Return the p99 of an endpoint that computes 20 ms, 10 times a second for 12 s."""
    with Ledger(gateway.port, 10, {"SIGNATURE": "healthy", "MS": 20}, 12, name=name) as load:
        pass
    load.check()
    assert {"200"} == set(load.outcomes), load.failures()[:3]
    return percentile(load.seconds_of(), 99), load.seconds_of()


def test_flood_of_one_endpoint_leaves_its_neighbour(launch: Launch, figure: Figure) -> None:
    """At ten times A's capacity, B (20 ms of computing) stays within twice its p99 (G4)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": WORKERS, "QUEUE_SIZE": QUEUE}})
    fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": EACH_S}
    alone, quiet = neighbours_p99(gateway, "quiet")
    with Ledger(gateway.port, 10 * NOMINAL, fields, 14) as load:
        beside, flooded = neighbours_p99(gateway, "flooded")
        load.stop()
    load.check()
    figure(
        f"B alone {summary_ms(quiet)}; with A at {10 * NOMINAL:.0f}/s {summary_ms(flooded)}: "
        f"p99 x {beside / alone:.2f}"
    )
    assert beside <= 2 * alone


def test_two_hundred_hung_requests_leave_neighbour_and_probes(
    launch: Launch, figure: Figure
) -> None:
    """All places of A are taken by requests that hang; B and the probes do not notice (H5)."""
    gateway = launch(
        {"misbehaving": {"NR_WORKERS": WORKERS, "QUEUE_SIZE": 256, "TIMEOUT": 60}},
        GRACEFUL_TIMEOUT=1,
    )
    alone, quiet = neighbours_p99(gateway, "quiet")
    with ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(RawClient(gateway.port))
            client.send_json("/run/misbehaving", {"DO": "sleep", "SECONDS": 30})
        eventually(lambda: gateway.servers()["misbehaving"]["queue"] == 200 - WORKERS)
        beside, hung = neighbours_p99(gateway, "hung")
        probes = [gateway.get("/v1/ready").elapsed.total_seconds() for _ in range(50)]
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "misbehaving"}).status_code
    figure(
        f"B alone {summary_ms(quiet)}; beside 200 that hang {summary_ms(hung)}: p99 x "
        f"{beside / alone:.2f}; /v1/ready {summary_ms(probes)}"
    )
    assert beside <= 2 * alone
    assert max(probes) <= 0.1


def test_deadline_is_answered_at_the_deadline(launch: Launch, figure: Figure) -> None:
    """504 comes within 50 ms after the deadline, the endpoint's as well as the caller's (G1)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": WORKERS, "TIMEOUT": 0.5}})
    late: dict[str, list[float]] = {"caller's": [], "endpoint's": []}
    for _ in range(40):
        answer = requests.post(
            gateway.url + "/run",
            json={"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.3},
            headers={"X-Request-Timeout": "0.2"},
            timeout=10,
        )
        assert 504 == answer.status_code
        late["caller's"].append(answer.elapsed.total_seconds() - 0.2)
        eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 0)
    for _ in range(15):
        answer = do(gateway, "misbehaving", "sleep", SECONDS=30)
        assert 504 == answer.status_code
        late["endpoint's"].append(answer.elapsed.total_seconds() - 0.5)
        eventually(lambda: gateway.servers()["misbehaving"]["ready_workers"] == WORKERS)
    for whose, seconds in late.items():
        figure(f"after the {whose} deadline {summary_ms(seconds)} ({len(seconds)})")
        assert min(seconds) >= 0
        assert max(seconds) <= LATE_WITHIN_S
