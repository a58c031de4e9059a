"""Memory runs out, processes stop, signals go astray (R1, P10, G8, G14)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import InBackground, do, wait_until_ready
from tests.faults.conftest import ENV
from tests.faults.ledger import Ledger, summary_ms
from tests.functional.answers import check_error
from tests.support.eventually import eventually
from tests.support.processes import role, tree

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
Launch = Callable[..., RunningGateway]
Figure = Callable[[str], None]

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).parent / "shims" / "moved_clock.c"
HOUR_S = 3600
HARD_MB = 256
STANDSTILL_S = 17  # longer than what any watch allows: 10 s for a worker, 15 s for the gateway


def scores(gateway: RunningGateway) -> dict[str, int]:
    """Return how likely the kernel is to take each role when memory runs out."""
    pids = {
        "supervisor": gateway.process.pid,
        "gateway": role(gateway, "gateway")[1].pid,
        "master": gateway.servers()["misbehaving"]["pid"],
        "worker": gateway.servers()["misbehaving"]["worker_pids"][0],
    }
    return {name: int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for name, pid in pids.items()}


@pytest.mark.parametrize(
    ("deed", "fields"),
    [
        pytest.param("allocate", {"MB": 8192, "PAUSE": 0.01}, id="allocates"),
        pytest.param("recurse_without_limit", {}, id="recurses without a limit"),
    ],
)
def test_worker_over_its_hard_limit_is_ended(
    launch: Launch, figure: Figure, deed: str, fields: dict[str, Any]
) -> None:
    """It is killed within 2 s with the cause, and nobody else is touched (R1, P10)."""
    section = {"NR_WORKERS": 2, "MAX_MEMORY_HARD_MB": HARD_MB, "TIMEOUT": 30, **ENV}
    gateway = launch({"misbehaving": section})
    with Ledger(gateway.port, 20, {"SIGNATURE": "healthy"}, 20, name="n") as neighbour:
        begin = monotonic()
        answer = do(gateway, "misbehaving", deed, **fields)
        took = monotonic() - begin
        neighbour.stop()
    body = check_error("worker_died", answer)
    figure(f"after {took:.2f} s: {body['cause']}; neighbour {summary_ms(neighbour.seconds_of())}")
    assert f"MAX_MEMORY_HARD_MB ({HARD_MB})" in body["cause"]
    assert {"200"} == set(neighbour.outcomes)
    wait_until_ready(gateway, "misbehaving")
    assert body["cause"] == gateway.servers()["misbehaving"]["last_death"]["cause"]


def test_leak_is_recycled_between_requests(launch: Launch, figure: Figure) -> None:
    """A worker that leaks leaves after a request, before it is too large: 0 failures (R1)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2, "MAX_MEMORY_MB": 100, **ENV}})
    first = set(gateway.servers()["misbehaving"]["worker_pids"])
    largest = 0.0
    fields = {"SIGNATURE": "misbehaving", "DO": "leak", "MB": 5}
    with Ledger(gateway.port, 20, fields, 10) as load:
        while load.sent < 199:
            for pid in gateway.servers()["misbehaving"]["worker_pids"]:
                largest = max(largest, resident_mb(pid))
            threading.Event().wait(0.05)
    load.check()
    wait_until_ready(gateway, "misbehaving")
    recycled = [event for event in gateway.events if event["event"] == "worker_recycled"]
    figure(
        f"200 leaks of 5 MB: {dict(load.outcomes)}, {len(recycled)} recycled, "
        f"largest worker {largest:.0f} MB"
    )
    assert {"200"} == set(load.outcomes)
    assert len(recycled) >= 3
    assert first.isdisjoint(gateway.servers()["misbehaving"]["worker_pids"])


def resident_mb(pid: int) -> float:
    """Return what a process holds; nothing when it has gone."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def test_worker_is_the_first_to_go_when_memory_runs_out(launch: Launch, figure: Figure) -> None:
    """The kernel is told to take a worker before anything that keeps others alive (G14)."""
    found = scores(launch())
    figure(f"oom_score_adj {found}")
    assert found["worker"] == found["supervisor"] + 500
    assert found["worker"] > max(found["gateway"], found["master"])


def test_gateway_process_that_is_stopped_is_replaced(launch: Launch, figure: Figure) -> None:
    """A process that does not turn any more is found by its master; what waits is served."""
    gateway = launch()
    stuck = role(gateway, "gateway")[1]
    begin = monotonic()
    stuck.suspend()
    answer = do(gateway, "healthy", "answer", timeout_s=40)
    took = monotonic() - begin
    figure(f"the next request was answered after {took:.1f} s")
    assert (200, False) == (answer.status_code, stuck.is_running())
    assert took < 25


def test_stopped_supervisor_and_masters_leave_the_data_path(launch: Launch, figure: Figure) -> None:
    """While supervisor and masters are stopped for 10 s, every request is answered (G8)."""
    gateway = launch()
    stopped = [
        psutil.Process(gateway.process.pid),
        role(gateway, "gateway")[0],
        psutil.Process(gateway.servers()["misbehaving"]["pid"]),
    ]
    fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.002}
    with Ledger(gateway.port, 50, fields, 10) as load:
        for process in stopped:
            process.suspend()
        try:
            threading.Event().wait(9)
            probe = gateway.get("/v1/live", timeout_s=1)
        finally:
            for process in stopped:
                process.resume()
    load.check()
    figure(f"{dict(load.outcomes)}, {summary_ms(load.seconds_of())}")
    assert ({"200"}, 200) == (set(load.outcomes), probe.status_code)


def pids_of(gateway: RunningGateway) -> list[int]:
    """Return the masters, workers and processes of one server and of the gateway."""
    server = gateway.servers()["misbehaving"]
    processes = role(gateway, "gateway")
    return sorted([server["pid"], *server["worker_pids"], *(p.pid for p in processes)])


def test_standstill_of_everything_ends_nobody(launch: Launch, figure: Figure) -> None:
    """A frozen container, SIGSTOP of all: whoever wakes first finds nobody guilty."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2, "TIMEOUT": 60, **ENV}})
    gate = gateway.base_folder / "gate"
    gate.touch()
    before = pids_of(gateway)
    processes = [psutil.Process(gateway.process.pid), *tree(gateway)]
    with gate.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = InBackground(lambda: do(gateway, "misbehaving", "gate", 60, GATE=str(gate)))
        eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 1)
        for process in processes:
            process.suspend()
        try:
            threading.Event().wait(STANDSTILL_S)
        finally:
            for process in processes:
                process.resume()
        fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.002}
        with Ledger(gateway.port, 50, fields, 4) as load:
            pass
        load.check()
    answer = held.result(60)
    said = [event for event in gateway.events if event["event"] == "stood_still"]
    figure(f"{dict(load.outcomes)}, stood still for {said[0]['seconds']} s")
    assert {"200"} == set(load.outcomes), load.failures()[:3]
    assert 200 == answer.status_code
    assert before == pids_of(gateway)


def test_signals_that_masters_know_lose_nothing(launch: Launch, figure: Figure) -> None:
    """Signals that mean something to gunicorn or to log rotation, sent by mistake, end nobody."""
    gateway = launch()
    fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.002}
    before = pids_of(gateway)
    with Ledger(gateway.port, 50, fields, 15) as load:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
            for pid in before:
                os.kill(pid, number)
                answered = load.answered
                eventually(lambda n=answered: load.answered > n + 5)  # type: ignore[misc]
        after = pids_of(gateway)
        for number in (signal.SIGTTIN, signal.SIGTTOU):  # one process more, one less
            for pid in before:
                with contextlib.suppress(ProcessLookupError):  # the one that was too many
                    os.kill(pid, number)
                answered = load.answered
                eventually(lambda n=answered: load.answered > n + 5)  # type: ignore[misc]
        load.stop()
    load.check()
    figure(f"{dict(load.outcomes)}, {len(set(before) - set(after))} of {len(before)} ended")
    assert {"200"} == set(load.outcomes), load.failures()[:3]
    assert before == after
    eventually(lambda: len(pids_of(gateway)) == len(before), what="as many as before")
