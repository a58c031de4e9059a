"""Processes die again and again under load: what it costs, in figures (G2, G5 to G8, G10)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.faults.calls import InBackground, do, wait_until_ready
from tests.faults.conftest import SOURCES
from tests.faults.ledger import Ledger, summary_ms
from tests.support.eventually import eventually
from tests.support.processes import expect_gone, role, tree
from tests.support.projects import write_project

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
Launch = Callable[..., RunningGateway]
Figure = Callable[[str], None]

SECONDS = 60.0
RATE = 200.0
KILLS = 3
BACK_WITHIN_S = 1.5  # 1 s, and what loading takes
SUPPORT = "import signal\nsignal.pause()\n"


def kill_a_worker_every_second(
    gateway: RunningGateway, server: str, load: Ledger
) -> tuple[int, list[float]]:
    """Kill one worker a second while the load lasts; return the kills and the times without it."""
    pause, kills, gaps = threading.Event(), 0, []
    end = monotonic() + SECONDS - 2
    while monotonic() < end:
        begin = monotonic()
        victim = gateway.servers()[server]["worker_pids"][kills % 2]
        os.kill(victim, signal.SIGKILL)
        kills += 1
        eventually(lambda victim=victim: is_complete(gateway, server, victim))  # type: ignore[misc]
        gaps.append(monotonic() - begin)
        pause.wait(max(0.0, 1.0 - gaps[-1]))
    assert load.sent > 0
    return kills, gaps


def is_complete(gateway: RunningGateway, server: str, victim: int) -> bool:
    """Say whether all workers take requests, the killed one no more among them."""
    now = gateway.servers()[server]
    return now["ready_workers"] == now["workers"] and victim not in now["worker_pids"]


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "otherwise"])
def test_worker_killed_every_second(
    launch: Launch, tmp_path: Path, figure: Figure, idempotent: bool
) -> None:
    """No failure where a retry is allowed, else at most one for each kill (P1)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2, "IDEMPOTENT": idempotent}})
    count = tmp_path / "count"
    fields = {
        "SIGNATURE": "misbehaving",
        "DO": "sleep",
        "SECONDS": 0.002,
        "COUNT": str(count),
    }
    with Ledger(gateway.port, RATE, fields, SECONDS) as load:
        kills, gaps = kill_a_worker_every_second(gateway, "misbehaving", load)
    load.check(count, most_executions=2 if idempotent else 1)
    figure(
        f"{load.sent} sent, {kills} kills, outcomes {dict(load.outcomes)}, "
        f"complete again after {summary_ms(gaps)}, answers {summary_ms(load.seconds_of('200'))}"
    )
    assert len(load.failures()) <= (0 if idempotent else kills), load.failures()[:5]
    assert {"", "worker_died"} >= {row.code for row in load.rows}
    assert kills >= 0.8 * (SECONDS - 2)
    assert max(gaps) <= BACK_WITHIN_S


def gateway_masters(gateway: RunningGateway) -> list[psutil.Process]:
    """Return the gateway processes that have children; those of a dead master have none."""
    return [process for process in role(gateway, "gateway") if process.children()]


def victims(gateway: RunningGateway) -> dict[str, Callable[[], int]]:
    """Return how the process of each role is found."""
    return {
        "gateway master": lambda: gateway_masters(gateway)[0].pid,
        "gateway process": lambda: gateway_masters(gateway)[0].children()[-1].pid,
        "server's master": lambda: int(gateway.servers()["misbehaving"]["pid"]),
        "support process": lambda: int(gateway.servers()["helper"]["pid"]),
    }


@pytest.mark.parametrize(
    "whom", ["gateway master", "gateway process", "server's master", "support process"]
)
def test_process_killed_again_and_again(tmp_path: Path, figure: Figure, whom: str) -> None:
    """Connecting is never refused; only a gateway process cuts what it holds (P3, P4, P6).

    The first time it is back at once. After that it is not hurried: what comes meanwhile waits,
    or is told to come back.
    """
    endpoints: dict[str, dict[str, Any]] = {
        "misbehaving": {"NR_WORKERS": 2},
        "helper": {"HOST": "NO_HOST"},
    }
    write_project(tmp_path, endpoints, {**SOURCES, "helper": SUPPORT}, GATEWAY_WORKERS=2)
    gaps, outcomes, seconds = [], [], []
    with running_gateway(tmp_path) as gateway:
        find = victims(gateway)[whom]
        for _ in range(KILLS):
            fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.002}
            with Ledger(gateway.port, 100, fields, 30) as load:
                eventually(lambda load=load: load.answered > 50)  # type: ignore[misc]
                victim = psutil.Process(find())
                known = {process.pid for process in tree(gateway)}
                begin = monotonic()
                victim.kill()
                eventually(lambda known=known: another(find, known), 15)  # type: ignore[misc]
                gaps.append(monotonic() - begin)
                wait_until_ready(gateway, "misbehaving")
                answered = load.answered
                eventually(lambda n=answered, load=load: load.answered > n + 50)  # type: ignore[misc]
                load.stop()
            load.check()
            outcomes.append(load.outcomes)
            seconds += load.seconds_of("200")
    figure(
        f"outcomes {', '.join(str(dict(one)) for one in outcomes)}; back after "
        f"{', '.join(f'{gap:.2f}' for gap in gaps)} s; answers {summary_ms(seconds)}"
    )
    cut = {"no answer", "ConnectionResetError"} if whom == "gateway process" else set()
    assert {"200"} | cut >= set(outcomes[0])
    assert all({"200", "503"} | cut >= set(one) for one in outcomes)
    assert all(sum(one[outcome] for outcome in cut) <= 5 for one in outcomes)
    assert gaps[0] <= 2


def another(find: Callable[[], int], known: set[int]) -> bool:
    """Say whether that role's process is there, and one that was not there before."""
    try:
        return find() not in known
    except (IndexError, TypeError, psutil.Error):  # it is not there at the moment
        return False


def pauses_of_the_gateway(gateway: RunningGateway) -> list[float]:
    """Return how long the gateway was told to wait before it started again, each time."""
    return [
        event["retry_in_s"]
        for event in gateway.events
        if event.get("server") == "gateway" and event.get("state") == "BACKOFF"
    ]


def test_stop_while_no_gateway_process_runs_tells_who_was_lost(launch: Launch) -> None:
    """Clients that the kernel has taken, and that nobody can answer any more, are counted."""
    gateway = launch()
    while max(pauses_of_the_gateway(gateway), default=0) < 3:
        known = len(pauses_of_the_gateway(gateway))
        os.killpg(eventually(lambda: gateway_masters(gateway))[0].pid, signal.SIGKILL)
        eventually(lambda known=known: len(pauses_of_the_gateway(gateway)) > known)  # type: ignore[misc]
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10))
        assert 1 == gateway.stop()
    (stopped,) = [event for event in gateway.events if event["event"] == "stopped"]
    assert (False, 3) == (stopped["drained"], stopped["cut"])


def test_killed_supervisor_under_load(tmp_path: Path, figure: Figure) -> None:
    """Nothing is left after 2 s, whatever escaped, and the next start works at once (P5, L5)."""
    write_project(tmp_path, {"misbehaving": {"NR_WORKERS": 2}, "healthy": {}}, SOURCES)
    with running_gateway(tmp_path) as gateway:
        escaped = [psutil.Process(pid) for pid in escape(gateway)]
        spinning = InBackground(lambda: do(gateway, "misbehaving", "spin"))
        with Ledger(gateway.port, 100, {"SIGNATURE": "healthy", "MS": 2}, 20) as load:
            eventually(lambda: load.answered > 100)
            processes = [*tree(gateway), *escaped]
            begin = monotonic()
            gateway.kill()
            expect_gone(processes, timeout_s=2)
            gone = monotonic() - begin
            load.stop()
        load.check()
        del spinning
    begin = monotonic()
    with running_gateway(tmp_path) as again:
        assert 200 == do(again, "healthy", "answer").status_code
        figure(
            f"{len(processes)} processes gone after {gone:.3f} s, "
            f"first answer {monotonic() - begin:.2f} s after the next launch"
        )


def escape(gateway: RunningGateway) -> list[int]:
    """Have an endpoint start what wants to outlive it; return the pids."""
    children = do(gateway, "misbehaving", "fork", TIMES=3).json()["did"]
    return [
        *children,
        do(gateway, "misbehaving", "daemonise").json()["did"],
        do(gateway, "misbehaving", "daemonise", CLOSE=True).json()["did"],
        do(gateway, "misbehaving", "leave_session").json()["pid"],
    ]


def test_crash_loop_follows_its_curve(launch: Launch, tmp_path: Path, figure: Figure) -> None:
    """An endpoint that dies while it loads is tried at once, then after 1, 2, 4 ... s (P7)."""
    starts = tmp_path / "starts"
    gateway = launch({"misbehaving": {}})
    source = SOURCES["misbehaving"].replace(
        "        self.kept: list[Any] = []",
        f"        Path({str(starts)!r}).open('a').write(str(os.times()[4]) + ' ')\n"
        "        os._exit(5)",
    )
    (gateway.base_folder / "endpoints" / "misbehaving.py").write_text(source)
    gateway.post("/kill_server", {"SIGNATURE": "misbehaving"})
    begin = monotonic()
    gateway.post("/start_server", {"SIGNATURE": "misbehaving"})
    with Ledger(gateway.port, 50, {"SIGNATURE": "healthy"}, 40, name="n") as neighbour:
        answers = []
        while monotonic() < begin + 36:
            answer = do(gateway, "misbehaving", "answer")
            answers.append(answer.elapsed.total_seconds())
            assert (503, True) == (answer.status_code, "Retry-After" in answer.headers)
            threading.Event().wait(0.5)
        neighbour.stop()
    assert {"200"} == set(neighbour.outcomes)
    times = [float(text) for text in starts.read_text().split()]
    waits = [later - earlier for earlier, later in pairwise(times)]
    figure(
        f"{len(times)} starts in 36 s, waits {', '.join(f'{wait:.1f}' for wait in waits)} s; "
        f"503 meanwhile {summary_ms(answers)}; neighbour {summary_ms(neighbour.seconds_of())}"
    )
    assert 6 <= len(times) <= 9
    for wait, wanted in zip(waits[1:], (1, 2, 4, 8, 16), strict=False):
        assert 0.75 * wanted <= wait <= 1.25 * wanted + 0.6
    (gateway.base_folder / "endpoints" / "misbehaving.py").write_text(SOURCES["misbehaving"])
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "misbehaving"}).status_code
