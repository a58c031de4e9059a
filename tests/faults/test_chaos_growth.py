"""Ten thousand requests, good ones and bad ones: nothing grows (G14, G15)."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import wait_until_ready
from tests.faults.conftest import ENV
from tests.faults.vital_signs import SECRETS, VitalSigns
from tests.functional.raw_client import RawClient, head
from tests.support.processes import role

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
Launch = Callable[..., RunningGateway]
Figure = Callable[[str], None]

REQUESTS = 10_000
WARM_UP = 4_000
THREADS = 4
GROWTH = 0.05
JSON = ("Content-Type", "application/json")


def post(fields: dict[str, Any], path: str = "/run") -> bytes:
    """Return a whole request."""
    body = json.dumps({**fields, "PASSWORD": SECRETS["input"]}).encode()
    return head("POST", path, JSON, length=len(body)) + body


def kinds() -> dict[str, tuple[int, list[bytes]]]:
    """Return requests by kind, each with its weight."""
    good = [post({"SIGNATURE": "healthy", "VALUE": "x" * size}) for size in (1, 100, 20_000)]
    return {
        "good": (60, good),
        "raises": (6, [post({"SIGNATURE": "misbehaving", "DO": "raise", "TEXT": "no"})]),
        "unencodable": (3, [post({"SIGNATURE": "misbehaving", "DO": "reply", "KIND": "object"})]),
        "unknown": (6, [post({"SIGNATURE": "nobody"}), post({}), head("GET", "/nothing")]),
        "no JSON": (6, [head("POST", "/run", JSON, length=9) + b'{"a": NaN']),
        "no request": (4, [b"GET\r\n\r\n", head("POST", "/run", length=None) + b"\x00\r\n\r\n"]),
        "too large": (3, [head("POST", "/run", JSON, length=10**12)]),
        "half": (4, [post({"SIGNATURE": "healthy"})[:-3]]),
        "status": (4, [head("GET", "/list_servers"), head("GET", "/v1/ready")]),
        "forbidden": (3, [head("GET", "/kill_server", ("Authorization", "Bearer wrong"))]),
        "dies": (1, [post({"SIGNATURE": "misbehaving", "DO": "exit_now", "CODE": 9})]),
    }


class Mixture:
    """Sends requests of all kinds from a few threads, each on a connection of its own."""

    def __init__(self, port: int, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port = port
        self._seed = seed
        self._lock = threading.Lock()

    def send(self, count: int) -> None:
        """Send that many and wait for them."""
        threads = [
            threading.Thread(target=self._send, args=(number, count // THREADS))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, thread: int, count: int) -> None:
        chance = random.Random(f"{self._seed} {thread}")
        by_kind = kinds()
        names = list(by_kind)
        weights = [by_kind[name][0] for name in names]
        for _ in range(count):
            name = chance.choices(names, weights)[0]
            outcome = self._exchange(name, chance.choice(by_kind[name][1]))
            with self._lock:
                self.outcomes[f"{name} {outcome}"] += 1

    def _exchange(self, name: str, request: bytes) -> str:
        with RawClient(self._port) as client:
            client.send(request)
            if name == "half":
                return "left"
            return str(client.read_answer().status_code)


def resident_mb(gateway: RunningGateway) -> dict[str, float]:
    """Return the resident memory of the supervisor and of the gateway's processes."""
    master, *workers = role(gateway, "gateway")
    groups = {
        "supervisor": [psutil.Process(gateway.process.pid)],
        "gateway master": [master],
        "gateway process": workers,
    }
    return {
        name: sum(process.memory_info().rss for process in group) / 2**20
        for name, group in groups.items()
    }


def test_ten_thousand_mixed_requests_leave_nothing(launch: Launch, figure: Figure) -> None:
    """Memory grows by less than 5 %, and not one descriptor or thread is left."""
    gateway = launch(
        {"misbehaving": {"NR_WORKERS": 2, "QUARANTINE_WINDOW": 0, **ENV}}, MAX_BODY_BYTES=2**20
    )
    Mixture(gateway.port, seed=1).send(WARM_UP)
    wait_until_ready(gateway, "misbehaving")
    signs = VitalSigns(gateway)
    before = resident_mb(gateway)
    mixture = Mixture(gateway.port, seed=2)
    mixture.send(REQUESTS)
    wait_until_ready(gateway, "misbehaving")
    signs.check()
    after = resident_mb(gateway)
    assert REQUESTS == sum(mixture.outcomes.values())
    shown = [f"{name} {mb:.1f} -> {after[name]:.1f} MB" for name, mb in before.items()]
    statuses = Counter(outcome.rpartition(" ")[2] for outcome in mixture.outcomes.elements())
    figure(f"{REQUESTS} requests, {dict(statuses)}; {', '.join(shown)}; {signs.read()}")
    assert {"good 200"} == {name for name in mixture.outcomes if name.startswith("good")}
    for name, mb in before.items():
        assert after[name] <= mb * (1 + GROWTH), name
