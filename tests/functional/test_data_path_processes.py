"""Several gateway processes serve one port as if they were one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import GATED, MIRROR
from tests.functional.gateways import Gate, shared_gateway
from tests.support.eventually import eventually
from tests.support.processes import role

pytestmark = pytest.mark.shares_gateway

PROCESSES = 2
QUEUE_SIZE = 3
CALLERS = 24


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Two gateway processes; an endpoint that answers, and one that waits."""
    folder = tmp_path_factory.mktemp("processes")
    Gate(folder)
    with shared_gateway(
        folder,
        {"mirror": {"NR_WORKERS": 2}, "gated": {"QUEUE_SIZE": QUEUE_SIZE}},
        {"mirror": MIRROR, "gated": GATED},
        GATEWAY_WORKERS=PROCESSES,
    ) as running:
        yield running


def counters(gateway: RunningGateway, signature: str) -> tuple[int, int, int]:
    """Return how many requests a server took, refused, and has waiting."""
    server = gateway.servers()[signature]
    return server["requests"], server["refused"], server["queue"]


def test_every_process_serves(gateway: RunningGateway) -> None:
    """A master and its processes run, and connections reach both of them."""
    assert 1 + PROCESSES == len(role(gateway, "gateway"))
    prefixes = {
        gateway.get("/v1/live").headers["X-Request-Id"].partition("-")[0] for _ in range(200)
    }
    assert PROCESSES == len(prefixes)


def test_requests_are_counted_once_over_all_processes(gateway: RunningGateway) -> None:
    """What each process counted is shown as one number."""
    before, refused, _ = counters(gateway, "mirror")
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda number: gateway.run("mirror", N=number).json(), range(100))
        assert list(range(100)) == [answer["inputs"]["N"] for answer in answers]
    assert (before + 100, refused, 0) == counters(gateway, "mirror")


def test_queue_is_bounded_over_all_processes(gateway: RunningGateway) -> None:
    """One executing and `QUEUE_SIZE` waiting in all, whichever process they came through."""
    gate = Gate(gateway.base_folder)
    with ThreadPoolExecutor(CALLERS + 1) as pool, gate.closed():
        running = pool.submit(gateway.run, "gated", ID="running")
        gate.wait_for("running")
        callers = [pool.submit(gateway.run, "gated", ID=f"c{n}") for n in range(CALLERS)]
        surplus = CALLERS - QUEUE_SIZE
        eventually(lambda: surplus == sum(caller.done() for caller in callers))
        assert (1 + CALLERS, surplus, QUEUE_SIZE) == counters(gateway, "gated")
    answers = [caller.result() for caller in callers]
    assert {200: QUEUE_SIZE, 503: surplus} == Counter(answer.status_code for answer in answers)
    for answer in answers:
        if answer.status_code != 200:
            check_error("overloaded", answer)
    assert 200 == running.result().status_code
    assert 1 + QUEUE_SIZE == len(gate.executed())


def test_change_of_state_reaches_every_process(gateway: RunningGateway) -> None:
    """After a stop or start was answered, every process routes accordingly."""

    def statuses() -> set[int]:
        return {gateway.run("mirror").status_code for _ in range(20)}

    assert 200 == gateway.post("/kill_server", {"SIGNATURE": "mirror"}).status_code
    eventually(lambda: statuses() == {503})
    assert 200 == gateway.post("/start_server", {"SIGNATURE": "mirror"}).status_code
    assert {200} == statuses()
